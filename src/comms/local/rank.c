/* SPDX-License-Identifier: Apache-2.0 */
/* comms/local/rank.c - the life of a rank's process: sit down, beat, do the work, say how it ended.
 * Floor: comms. */
#include "base/clock.h"
#include "base/mem.h"
#include "comms/local/seat.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { BEAT_NS = 100 * 1000 * 1000 };

static void *beat(void *arg)
{
    mz_seat *seat = arg;
    for (;;) {
        (void)atomic_fetch_add(&seat->beats, 1);
        mz_clock_sleep_ns(BEAT_NS);
    }
    return NULL;
}

/* Detached: it beats for as long as the process lives. */
static mz_err start_beating(mz_seat *seat)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, beat, seat) != 0)
        return MZ_FAIL(MZ_ENOMEM, "no thread for a rank's heart");
    (void)pthread_detach(thread);
    return MZ_OK;
}

/* What the terminal sends to all of us is for the supervisor, which lets the run end in order. */
static void settle_signals(void)
{
    sigset_t none;
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void mz_seat_take(const mz_local *l, mz_hall *hall, int rank, pid_t supervisor)
{
    mz_seat *seat = &hall->seats[rank];
    mz_sitting s = {.hall = hall, .seat = seat, .local = l};
    s.comm = (mz_comm){.table = &mz_local_table,
                       .rank = rank,
                       .size = hall->size,
                       .state = &s,
                       .pulse = &seat->pulse};
    settle_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) _exit(1); /* it went before we could ask to hear of it */
    mz_err err = start_beating(seat);
    if (err == MZ_OK) err = mz_comm_book(&s.comm);
    mz_comm_phase(&s.comm, MZ_PHASE_START, 0);
    if (err == MZ_OK) err = l->body(l->user, &s.comm);
    seat->why = *mz_err_last();
    seat->why.code = err;
    if (err == MZ_OK) mz_comm_phase(&s.comm, MZ_PHASE_END, atomic_load(&seat->step));
    atomic_store(&seat->has_ended, 1);
    _exit(err == MZ_OK ? 0 : 1);
}
