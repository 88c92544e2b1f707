/* SPDX-License-Identifier: Apache-2.0 */
/* comms/local/watch.c - the supervisor: starts the ranks, notices which one is gone, ends the rest.
 * Floor: comms. Touches no chip and starts no thread. */
#include "base/clock.h"
#include "base/mem.h"
#include "chip/desc.h"
#include "comms/local/seat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_NS = 50 * 1000 * 1000 };
static const double STALL_S = 3.0, GRACE_S = 0.5, SAVE_S = 600.0;

typedef struct watched {
    pid_t pid; /* 0: it has ended */
    int status;
    uint64_t beats, moves, pulse; /* as seen last */
    int64_t still_ns, unmoved_ns; /* for how long they have not changed */
} watched;

typedef struct watch {
    const mz_local *l;
    mz_hall *hall;
    watched *ranks;
    mz_local_report *report;
    int64_t now;
} watch;

/* ---- starting ---- */

static mz_err start(watch *w, int rank)
{
    const pid_t supervisor = getpid();
    const pid_t pid = fork();
    if (pid < 0) return MZ_FAIL(MZ_ENOMEM, "rank %d cannot be started: %s", rank, strerror(errno));
    if (pid == 0) mz_seat_take(w->l, w->hall, rank, supervisor);
    w->ranks[rank].pid = pid;
    return MZ_OK;
}

/* ---- what is said of a rank that is gone ---- */

/* As chip/chip.h says of a queue's pulse. */
static void name_op(char out[48], uint64_t pulse)
{
    const unsigned kind = (unsigned)(pulse >> 1 & 0x7fff);
    if (pulse == 0 || kind >= MZ_OP_COUNT)
        out[0] = '\0';
    else
        (void)snprintf(out, 48, "%s %s", mz_op_name((mz_op_kind)kind),
                       pulse & 1 ? "backward" : "forward");
}

static void note_report(watch *w, int rank, mz_local_end end)
{
    const mz_seat *seat = &w->hall->seats[rank];
    *w->report = (mz_local_report){.end = end,
                                   .rank = rank,
                                   .phase = (mz_phase)atomic_load(&seat->phase),
                                   .step = atomic_load(&seat->step),
                                   .noticed_ns = mz_clock_ns()};
    name_op(w->report->op, __atomic_load_n(&seat->pulse, __ATOMIC_RELAXED));
}

static mz_err say(const watch *w, const char *what)
{
    const mz_local_report *r = w->report;
    return MZ_FAIL(MZ_ETIMEOUT, "rank %d on %s %s, in phase %s of step %lld%s%s", r->rank,
                   w->l->chips[r->rank], what, mz_phase_name(r->phase), (long long)r->step,
                   r->op[0] ? "; its last operator was " : "; no operator had run", r->op);
}

static mz_err say_crash(const watch *w, int status)
{
    char what[96];
    if (WIFSIGNALED(status))
        (void)snprintf(what, sizeof what, "died of signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(what, sizeof what, "ended with code %d and said nothing",
                       WEXITSTATUS(status));
    return say(w, what);
}

/* ---- noticing ---- */

/* Whether the rank has ended; it is reaped then. */
static bool reap(watched *r)
{
    if (r->pid == 0) return true;
    const pid_t got = waitpid(r->pid, &r->status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) return false;
    r->pid = 0;
    return true;
}

/* What a rank that has ended means for the run. */
static mz_err judge_ended(watch *w, int rank)
{
    const mz_seat *seat = &w->hall->seats[rank];
    if (!atomic_load(&seat->has_ended)) {
        note_report(w, rank, MZ_LOCAL_CRASH);
        return say_crash(w, w->ranks[rank].status);
    }
    if (seat->why.code == MZ_OK) return MZ_OK;
    note_report(w, rank, MZ_LOCAL_FAILED);
    mz_err_restore(&seat->why);
    return seat->why.code;
}

static mz_err judge_living(watch *w, int rank, int64_t passed)
{
    watched *r = &w->ranks[rank];
    const mz_seat *seat = &w->hall->seats[rank];
    const uint64_t beats = atomic_load(&seat->beats), moves = atomic_load(&seat->moves);
    const uint64_t pulse = __atomic_load_n(&seat->pulse, __ATOMIC_RELAXED);
    const double stall = w->l->stall_s > 0.0 ? w->l->stall_s : STALL_S;
    const bool waits = atomic_load(&seat->waits_for) >= 0;
    char what[96];
    if (atomic_load(&seat->has_ended)) return MZ_OK; /* much memory takes its time to go away */
    r->still_ns = beats == r->beats ? r->still_ns + passed : 0;
    const bool is_still = moves == r->moves && pulse == r->pulse && !waits;
    r->unmoved_ns = is_still ? r->unmoved_ns + passed : 0;
    r->beats = beats;
    r->moves = moves;
    r->pulse = pulse;
    if ((double)r->still_ns * 1e-9 >= stall) {
        note_report(w, rank, MZ_LOCAL_STALL);
        (void)snprintf(what, sizeof what, "gave no sign of life for %.1f s",
                       (double)r->still_ns * 1e-9);
        return say(w, what);
    }
    if (w->l->stuck_s > 0.0 && (double)r->unmoved_ns * 1e-9 >= w->l->stuck_s) {
        note_report(w, rank, MZ_LOCAL_STUCK);
        (void)snprintf(what, sizeof what, "has been stuck for %.1f s",
                       (double)r->unmoved_ns * 1e-9);
        return say(w, what);
    }
    return MZ_OK;
}

/* One look at every rank. *alive receives how many have not ended. */
static mz_err look(watch *w, int64_t passed, int *alive)
{
    mz_err err = MZ_OK;
    *alive = 0;
    for (int r = 0; r < w->l->size && err == MZ_OK; r++) {
        if (w->ranks[r].pid == 0) continue;
        if (reap(&w->ranks[r]))
            err = judge_ended(w, r);
        else
            err = judge_living(w, r, passed);
        *alive += w->ranks[r].pid != 0;
    }
    return err;
}

/* Sleeps until a child ends, at most a tick. A signal of the user ends it too. */
static void doze(void)
{
    sigset_t child;
    const struct timespec tick = {.tv_nsec = TICK_NS};
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigtimedwait(&child, NULL, &tick);
}

static void pass_on_stop(const watch *w)
{
    if (w->l->stops && w->l->stops(w->l->user)) atomic_store(&w->hall->stops, 1);
}

/* Until all have ended well, or the first has not. Of the time between two looks no more than two
 * ticks count. */
static mz_err watch_all(watch *w)
{
    int alive = 0;
    mz_err err = MZ_OK;
    for (w->now = mz_clock_ns(); err == MZ_OK;) {
        doze();
        const int64_t now = mz_clock_ns(), passed = now - w->now;
        w->now = now;
        err = look(w, passed < 2 * TICK_NS ? passed : 2 * TICK_NS, &alive);
        pass_on_stop(w);
        if (err == MZ_OK && alive == 0) break;
    }
    return err;
}

/* ---- ending ---- */

/* A rank that saves may finish, as long as it lives. */
static bool may_go_on(watch *w, int rank, double waited)
{
    const mz_seat *seat = &w->hall->seats[rank];
    const bool is_saving = atomic_load(&seat->phase) == MZ_PHASE_SAVE;
    const bool is_lost = rank == w->report->rank && w->report->end != MZ_LOCAL_FAILED;
    return !is_lost && waited < (is_saving ? SAVE_S : GRACE_S);
}

static void end_all(watch *w)
{
    const int64_t begun = mz_clock_ns();
    mz_hall_give_up(w->hall, w->report->rank);
    for (int alive = 1; alive > 0;) {
        const double waited = (double)(mz_clock_ns() - begun) * 1e-9;
        alive = 0;
        for (int r = 0; r < w->l->size; r++) {
            watched *one = &w->ranks[r];
            if (reap(one)) continue;
            const uint64_t beats = atomic_load(&w->hall->seats[r].beats);
            one->still_ns = beats == one->beats ? one->still_ns + TICK_NS : 0;
            one->beats = beats;
            if (!may_go_on(w, r, waited) || (double)one->still_ns * 1e-9 > STALL_S)
                (void)kill(one->pid, SIGKILL);
            alive++;
        }
        if (alive > 0) doze();
    }
}

/* ---- the call ---- */

static mz_err run(watch *w)
{
    sigset_t child, before;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, &before); /* for sigtimedwait */
    mz_err err = MZ_OK;
    pass_on_stop(w); /* who was asked before there were ranks does not let a short run end */
    for (int r = 0; r < w->l->size && err == MZ_OK; r++) err = start(w, r);
    if (err == MZ_OK) err = watch_all(w);
    if (err != MZ_OK) {
        const mz_err_info why = *mz_err_last();
        end_all(w);
        mz_err_restore(&why);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return err;
}

mz_err mz_local_run(const mz_local *l, mz_local_report *report)
{
    MZ_NEED(l && report && l->size >= 1 && l->chips && l->body, "no ranks, or nothing to do");
    watch w = {.l = l, .report = report};
    *report = (mz_local_report){.end = MZ_LOCAL_DONE, .rank = -1};
    MZ_TRY(mz_hall_open(&w.hall, l->size));
    mz_err err = mz_mem_new(&w.ranks, l->size, sizeof *w.ranks);
    if (err == MZ_OK) err = run(&w);
    mz_mem_free(w.ranks);
    mz_hall_close(w.hall);
    return err;
}
