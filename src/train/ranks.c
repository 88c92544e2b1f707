/* SPDX-License-Identifier: Apache-2.0 */
/* train/ranks.c - see ranks.h. */
#include "train/ranks.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/trial.h"
#include "comms/mpi/mpi.h"
#include "train/checkpoint.h"
#include "train/claim.h"
#include "train/shares.h"

#include <stdio.h>
#include <string.h>

enum { VAIN_MOST = 3 };               /* faults without a checkpoint between them */
static const double PATIENCE_S = 2.0; /* for the ranks of a supervisor that was killed */
static const double TRIAL_S = 20.0;   /* for a chip to open */
static const double RETRY_MOST_S = 3600.0;

typedef struct ranks {
    mz_train_config now; /* ranks: those that are left */
    const mz_ranks_options *o;
    mz_claim claim;
    mz_appender events;
    int64_t saved_step; /* newest checkpoint when the ranks were started, -1: none */
    int vain;
    mz_train_config given;  /* ranks: all of them */
    int64_t retry_ns;       /* when those that are lost are looked at again */
    double retry_s;         /* after how long, the next time */
    int seat[MZ_RANKS_MAX]; /* of `now`: which one of `given` it is */
    mz_trial_run trial;     /* of the chips that are lost */
    bool comes_back;        /* they do: the run is stopping to begin anew with all */
} ranks;

/* ---- in the process of a rank ---- */

static mz_err open_chip(mz_device **device, const mz_train_config *c, const mz_chip_options *given,
                        int rank)
{
    mz_chip_options o = *given;
    const int share = mz_thread_default_count() / (int)c->n_ranks;
    if (o.threads == 0) o.threads = share > 0 ? share : 1;
    return mz_device_open(device, c->ranks[rank].chip, &o);
}

/* What a rank's run asks and tells. */
typedef struct voice {
    const mz_comm *comm;
    const mz_train_hooks *ours;
} voice;

static bool told_to_stop(void *user)
{
    const voice *v = user;
    return mz_local_is_stopping(v->comm);
}

static void tell_step(void *user, const mz_step_record *record)
{
    const voice *v = user;
    if (v->ours->step) v->ours->step(v->ours->user, record);
}

static mz_err work(void *user, mz_comm *comm)
{
    const ranks *r = user;
    voice v = {.comm = comm, .ours = r->o->hooks};
    const mz_train_hooks hooks = {
        .user = &v, .stops = told_to_stop, .step = tell_step, .profile = r->o->hooks->profile};
    mz_device *device = NULL;
    if (comm->rank != 0) mz_log_to(NULL, NULL); /* rank 0 says it for all */
    MZ_TRY(open_chip(&device, &r->now, &r->o->chip, comm->rank));
    const mz_err err = mz_train_rank(&r->now, device, &hooks, comm);
    mz_device_close(device);
    return err;
}

static mz_err measure(void *user, mz_comm *comm)
{
    const ranks *r = user;
    mz_device *device = NULL;
    if (comm->rank != 0) mz_log_to(NULL, NULL);
    MZ_TRY(open_chip(&device, &r->now, &r->o->chip, comm->rank));
    const mz_err err = mz_shares_measure(&r->now, device, comm);
    mz_device_close(device);
    return err;
}

/* ---- what is written down ---- */

static mz_err put_event(ranks *r, json_t *o)
{
    char line[16384];
    const size_t n = o ? json_dumpb(o, line, sizeof line - 1, 0) : 0;
    json_decref(o);
    if (n == 0 || n >= sizeof line) return MZ_FAIL(MZ_ENOMEM, "no memory for an event");
    line[n] = '\n';
    return mz_appender_put(&r->events, line, n + 1);
}

static json_t *rank_json(const mz_rank_config *rank)
{
    const bool has_layers = rank->layers > 0;
    return json_pack("{s:s, s:I}", "chip", rank->chip, has_layers ? "layers" : "share",
                     (json_int_t)(has_layers ? rank->layers : rank->share));
}

static mz_err note_start(ranks *r)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < r->now.n_ranks; i++)
        (void)json_array_append_new(list, rank_json(&r->now.ranks[i]));
    return put_event(r,
                     json_pack("{s:s, s:f, s:I, s:o}", "event", "start", "time", mz_clock_wall_s(),
                               "after_step", (json_int_t)(r->saved_step < 0 ? 0 : r->saved_step),
                               "ranks", list));
}

static const char *kind_of(mz_local_end end)
{
    switch (end) {
    case MZ_LOCAL_CRASH:
        return "crash";
    case MZ_LOCAL_STALL:
        return "stall";
    case MZ_LOCAL_STUCK:
        return "stuck";
    case MZ_LOCAL_FAILED:
        return "chip";
    case MZ_LOCAL_DONE:
        break;
    }
    return "none";
}

static void note_fault(ranks *r, const mz_local_report *report)
{
    const mz_err_info why = *mz_err_last();
    const double since = (double)(mz_clock_ns() - report->noticed_ns) * 1e-9;
    mz_log(MZ_LOG_LOUD, "%s", why.message);
    const mz_err err = put_event(
        r, json_pack("{s:s, s:f, s:s, s:i, s:s, s:s, s:I, s:s, s:s}", "event", "fault", "time",
                     mz_clock_wall_s() - since, "kind", kind_of(report->end), "rank", report->rank,
                     "chip", r->now.ranks[report->rank].chip, "phase", mz_phase_name(report->phase),
                     "step", (json_int_t)report->step, "operator", report->op, "message",
                     why.message));
    if (err != MZ_OK) mz_log(MZ_LOG_LOUD, "ranks.jsonl: %s", mz_err_last()->message);
    mz_err_restore(&why);
}

/* ---- after a fault ---- */

static bool is_fault(const mz_local_report *report, mz_err err)
{
    return report->rank >= 0 && (report->end != MZ_LOCAL_FAILED || err == MZ_ECHIP);
}

/* Its layers go to the one before it, or after it. */
static void leave_out(ranks *r, int rank)
{
    mz_train_config *c = &r->now;
    if (c->n_ranks > 1) c->ranks[rank > 0 ? rank - 1 : 1].layers += c->ranks[rank].layers;
    c->n_ranks--;
    for (int64_t i = rank; i < c->n_ranks; i++) {
        c->ranks[i] = c->ranks[i + 1];
        r->seat[i] = r->seat[i + 1];
    }
    mz_trial_drop(&r->trial); /* it knew nothing of this one */
}

/* Whether the run goes on; else its last error stands. */
static bool goes_on(ranks *r, const mz_local_report *report)
{
    const mz_err_info why = *mz_err_last();
    int64_t saved = -1;
    if (mz_checkpoint_last(r->now.run_dir, &saved) != MZ_OK) return false;
    r->vain = saved > r->saved_step ? 1 : r->vain + 1;
    const bool is_last = r->now.run_on_fault == MZ_FAULT_CONTINUE && r->now.n_ranks == 1;
    const mz_train_hooks *hooks = r->o->hooks;
    mz_err_restore(&why);
    mz_note_fix("everything up to step %lld is saved; the same command goes on from there",
                (long long)(saved < 0 ? 0 : saved));
    if (r->now.run_on_fault == MZ_FAULT_STOP || is_last || r->vain >= VAIN_MOST) return false;
    if (hooks->gives_up && hooks->gives_up(hooks->user)) return false;
    if (r->now.run_on_fault == MZ_FAULT_CONTINUE) {
        leave_out(r, report->rank);
        r->retry_ns = mz_clock_ns() + (int64_t)(r->retry_s * 1e9);
    }
    mz_log(MZ_LOG_LOUD, "going on after step %lld on %lld rank%s",
           (long long)(saved < 0 ? 0 : saved), (long long)r->now.n_ranks,
           r->now.n_ranks == 1 ? "" : "s");
    return true;
}

/* ---- the run ---- */

/* One that is gone has no message; one that cannot be opened ends with a signal of its own. */
static void open_lost(const void *arg)
{
    const ranks *r = arg;
    bool is_here[MZ_RANKS_MAX] = {false};
    for (int64_t i = 0; i < r->now.n_ranks; i++) is_here[r->seat[i]] = true;
    for (int64_t i = 0; i < r->given.n_ranks; i++) {
        mz_device *device = NULL;
        if (is_here[i]) continue;
        if (open_chip(&device, &r->given, &r->o->chip, (int)i) != MZ_OK) mz_trial_failed();
        mz_device_close(device);
    }
}

/* Whether the chips that were lost are there again, tried in a process of its own while the steps
 * go on. */
static bool looks_back(ranks *r)
{
    mz_err how = MZ_OK;
    if (r->now.n_ranks == r->given.n_ranks || !(r->given.run_retake_after > 0.0)) return false;
    if (r->trial.pid == 0) {
        if (mz_clock_ns() < r->retry_ns) return false;
        how = mz_trial_begin(&r->trial, "a chip that was lost", open_lost, r, TRIAL_S);
        if (how == MZ_OK) return false;
    } else if (!mz_trial_is_over(&r->trial, &how)) {
        return false;
    }
    mz_err_clear();
    r->retry_s = r->retry_s < RETRY_MOST_S / 2.0 ? r->retry_s * 2.0 : RETRY_MOST_S;
    r->retry_ns = mz_clock_ns() + (int64_t)(r->retry_s * 1e9);
    return how == MZ_OK;
}

static bool stops_here(void *user)
{
    ranks *r = user;
    const mz_train_hooks *hooks = r->o->hooks;
    if (hooks->stops && hooks->stops(hooks->user)) {
        r->comes_back = false; /* whoever stops the run does not wait for it to begin anew */
        return true;
    }
    if (!r->comes_back) r->comes_back = looks_back(r);
    return r->comes_back;
}

static void pass_phase(void *user, int rank, mz_phase phase, int64_t step)
{
    const mz_ranks_options *o = ((const ranks *)user)->o;
    o->on_phase(o->user, rank, phase, step);
}

static mz_err run_ranks(ranks *r, mz_err (*body)(void *, mz_comm *), mz_local_report *report)
{
    const char *chips[MZ_RANKS_MAX];
    const mz_ranks_options *o = r->o;
    for (int64_t i = 0; i < r->now.n_ranks; i++) chips[i] = r->now.ranks[i].chip;
    const mz_local l = {.size = (int)r->now.n_ranks,
                        .chips = chips,
                        .body = body,
                        .user = r,
                        .stops = stops_here,
                        .stall_s = o->stall_s,
                        .stuck_s = r->now.run_stuck_after,
                        .on_phase = o->on_phase ? pass_phase : NULL};
    return mz_local_run(&l, report);
}

/* Shares that are to be measured: now, or as they were measured when the run began. */
static mz_err settle_shares(ranks *r)
{
    mz_local_report report;
    bool found = false;
    if (!mz_shares_are_auto(&r->now)) return MZ_OK;
    MZ_TRY(mz_shares_recall(&r->now, &found));
    if (!found) {
        MZ_TRY(run_ranks(r, measure, &report));
        MZ_TRY(mz_shares_recall(&r->now, &found));
        MZ_NEED(found, "what was measured is not there");
    }
    r->given = r->now;
    return MZ_OK;
}

static mz_err start_once(ranks *r, mz_local_report *report)
{
    MZ_TRY(mz_checkpoint_sweep(r->now.run_dir));
    MZ_TRY(mz_checkpoint_last(r->now.run_dir, &r->saved_step));
    MZ_TRY(note_start(r));
    return run_ranks(r, work, report);
}

static void take_back(ranks *r)
{
    int64_t saved = -1;
    /* steps were made without it: whatever becomes of it now, they are kept */
    if (mz_checkpoint_last(r->now.run_dir, &saved) == MZ_OK && saved > r->saved_step) r->vain = 0;
    r->comes_back = false;
    r->now.n_ranks = r->given.n_ranks;
    memcpy(r->now.ranks, r->given.ranks, sizeof r->now.ranks);
    for (int i = 0; i < MZ_RANKS_MAX; i++) r->seat[i] = i;
    mz_err_clear();
    mz_log(MZ_LOG_LOUD, "what was lost is there again: going on with all %lld ranks",
           (long long)r->now.n_ranks);
}

static mz_err run_all(ranks *r)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_claim_take(&r->claim, &r->now, PATIENCE_S));
    if (r->o->hooks->begun) r->o->hooks->begun(r->o->hooks->user);
    MZ_TRY(mz_path_join(path, sizeof path, r->now.run_dir, "ranks.jsonl"));
    MZ_TRY(mz_appender_open(&r->events, path));
    MZ_TRY(settle_shares(r));
    for (;;) {
        mz_local_report report;
        const mz_err err = start_once(r, &report);
        if (err == MZ_EINTR && r->comes_back) {
            take_back(r);
            continue;
        }
        if (err == MZ_OK || !is_fault(&report, err)) return err;
        note_fault(r, &report); /* a record that cannot be kept loses no run */
        if (!goes_on(r, &report)) return err;
    }
}

mz_err mz_train_ranks(const mz_train_config *c, const mz_ranks_options *o)
{
    ranks *r = NULL;
    MZ_NEED(c && o && o->hooks && c->n_ranks >= 1, "an argument is NULL, or there are no ranks");
    MZ_TRY(mz_mem_new(&r, 1, sizeof *r));
    r->now = r->given = *c;
    r->retry_s = c->run_retake_after;
    r->o = o;
    r->claim.lock.fd = r->events.fd = -1;
    for (int i = 0; i < MZ_RANKS_MAX; i++) r->seat[i] = i;
    const mz_err err = run_all(r);
    mz_trial_drop(&r->trial);
    mz_appender_close(&r->events);
    mz_claim_drop(&r->claim);
    mz_mem_free(r);
    return err;
}

/* ---- started by others ---- */

/* One of them takes the folder, and all hear whether it could. */
static mz_err claim_together(mz_claim *claim, const mz_train_config *c, mz_comm *comm)
{
    mz_err_info why = {.code = MZ_OK};
    if (comm->rank == 0) {
        const mz_err err = mz_claim_take(claim, c, PATIENCE_S);
        if (err != MZ_OK) why = *mz_err_last();
        why.code = err;
    }
    why.source = __FILE__; /* an address of the other process */
    MZ_TRY(mz_comm_broadcast(comm, 0, &why, sizeof why));
    why.source = __FILE__;
    if (why.code != MZ_OK) mz_err_restore(&why);
    return why.code;
}

/* Every rank reads the file itself: it is not written before all have asked for it. */
static mz_err settle_together(mz_train_config *c, mz_device *device, mz_comm *comm)
{
    bool found = false;
    if (!mz_shares_are_auto(c)) return MZ_OK;
    MZ_TRY(mz_shares_recall(c, &found));
    if (found) return MZ_OK;
    MZ_TRY(mz_shares_measure(c, device, comm));
    return mz_shares_recall(c, &found);
}

static mz_err train_in_mpi(mz_train_config *c, const mz_ranks_options *o, mz_comm *comm)
{
    mz_device *device = NULL;
    mz_claim claim = {.lock = {.fd = -1}};
    if (c->n_ranks != comm->size)
        return MZ_FAIL(MZ_ECONFIG, "ranks lists %lld chips, %d processes were started",
                       (long long)c->n_ranks, comm->size);
    if (comm->rank != 0) mz_log_to(NULL, NULL);
    MZ_TRY(claim_together(&claim, c, comm));
    if (comm->rank == 0 && o->hooks->begun) o->hooks->begun(o->hooks->user);
    mz_err err = mz_device_open(&device, c->ranks[comm->rank].chip, &o->chip);
    if (err == MZ_OK) err = settle_together(c, device, comm);
    if (err == MZ_OK) err = mz_train_rank(c, device, o->hooks, comm);
    mz_device_close(device);
    mz_claim_drop(&claim);
    return err;
}

mz_err mz_train_in_mpi(const mz_train_config *c, const mz_ranks_options *o)
{
    mz_comm *comm = NULL;
    mz_train_config *own = NULL; /* shares may be settled in it */
    MZ_NEED(c && o && o->hooks, "an argument is NULL");
    MZ_TRY(mz_mpi_open(&comm, c->run_stuck_after));
    mz_err err = mz_mem_new(&own, 1, sizeof *own);
    if (err == MZ_OK) {
        *own = *c;
        err = train_in_mpi(own, o, comm);
    }
    mz_mem_free(own);
    /* these come to all ranks at one step */
    if (err == MZ_OK || err == MZ_EINTR || err == MZ_ENUMERIC) mz_mpi_in_order(comm);
    mz_comm_close(comm);
    return err;
}

/* ---- the dry run ---- */

typedef struct planning {
    const mz_train_config *config;
    const mz_chip_options *chip;
    mz_plans_fn *fn;
    void *user;
} planning;

static mz_err plan(void *user, mz_comm *comm)
{
    const planning *p = user;
    mz_device *device = NULL;
    mz_train_bytes mine = {0}, all[MZ_RANKS_MAX];
    MZ_TRY(open_chip(&device, p->config, p->chip, comm->rank));
    mz_err err = mz_train_plan(&mine, p->config, device, comm->rank);
    if (err == MZ_OK) err = mz_comm_gather(comm, 0, &mine, sizeof mine, all);
    if (err == MZ_OK && comm->rank == 0) err = p->fn(p->user, all);
    if (err == MZ_OK) err = mz_comm_barrier(comm);
    mz_device_close(device);
    return err;
}

mz_err mz_train_plan_ranks(const mz_train_config *c, const mz_chip_options *chip, mz_plans_fn *fn,
                           void *user)
{
    const char *chips[MZ_RANKS_MAX];
    mz_local_report report;
    planning p = {.config = c, .chip = chip, .fn = fn, .user = user};
    MZ_NEED(c && chip && fn && c->n_ranks >= 1, "an argument is NULL, or there are no ranks");
    for (int64_t i = 0; i < c->n_ranks; i++) chips[i] = c->ranks[i].chip;
    const mz_local l = {.size = (int)c->n_ranks, .chips = chips, .body = plan, .user = &p};
    return mz_local_run(&l, &report);
}
