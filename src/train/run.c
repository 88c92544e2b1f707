/* SPDX-License-Identifier: Apache-2.0 */
/* train/run.c - see run.h. */
#include "train/run.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "chip/profile.h"
#include "train/board.h"
#include "train/claim.h"
#include "train/extras.h"
#include "train/loop.h"
#include "train/network.h"
#include "train/snapshot.h"
#include "train/state.h"
#include "train/validate.h"
#include "train/whole.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PROFILE_SPANS = 1 << 17 };     /* the last hundred steps of a small model, in 19 MiB */
static const double PATIENCE_S = 0.2; /* for one that only looks whether the folder is in use */

typedef struct run {
    const mz_train_config *config;
    const mz_train_hooks *hooks;
    mz_device *device;
    mz_claim claim;    /* alone; of several ranks their supervisor has it */
    mz_str yaml;       /* of the ranks as they are */
    mz_comm *comm;     /* NULL: nobody watches */
    mz_team *team;     /* NULL: alone, or a pipeline */
    mz_pipe *pipe;     /* NULL: the whole network is here */
    mz_whole *whole;   /* likewise */
    mz_source *source; /* NULL where the weights are random */
    mz_config network;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    mz_data *data;
    mz_loop *loop;
    mz_validation *validation; /* NULL: none is asked for */
    mz_snapshot *snapshot;     /* NULL: saves are waited for */
    mz_profile *profile;       /* NULL: none is asked for */
    mz_str text;               /* what the model wrote last */
    char request[MZ_CHECKPOINT_PATH];
    mz_appender log;
    mz_board board;
    mz_progress progress;
    int64_t saved_step; /* of the newest checkpoint, -1: none; it may still be being written */
    int64_t started_ns;
} run;

/* ---- what it takes ---- */

typedef struct placed {
    const mz_train_config *config;
    const mz_config *network;
    const mz_model_options *options;
    int64_t rank;
    bool is_host;
} placed;

/* What goes with being one of several ranks, the first of which writes. */
static mz_err plan_rank(mz_train_bytes *b, const placed *p)
{
    const mz_train_config *c = p->config;
    const bool is_pipe = c->n_ranks > 1 && c->ranks[0].layers > 0;
    size_t whole = 0;
    mz_config bound = *p->network;
    if (!p->options->mtp) bound.mtp_layers = 0;
    if (p->rank > 0)
        b->snapshot = 0;
    else if (is_pipe)
        MZ_TRY(mz_whole_room(&whole, &bound));
    else if (c->run_checkpoint_async)
        b->snapshot += mz_snapshot_bytes(b->weights, b->optimizer);
    b->snapshot += whole;
    if (is_pipe)
        b->staging += mz_pipe_room(p->options, p->network, c->n_ranks);
    else if (c->n_ranks > 1)
        b->staging += mz_team_room(b->gradients, p->options->dtype, p->is_host, c->n_ranks);
    return MZ_OK;
}

mz_err mz_train_plan(mz_train_bytes *out, const mz_train_config *c, mz_device *device, int64_t rank)
{
    MZ_NEED(out && c && device, "an argument is NULL");
    mz_source *source = NULL;
    mz_queue *q = NULL;
    mz_config network;
    mz_memory_plan plan = {0};
    mz_err err = mz_network_read(&network, &source, c);
    if (err == MZ_OK) err = mz_queue_open(&q, device);
    if (err == MZ_OK) {
        mz_model_options o = mz_loop_model_options(c, &network);
        mz_pipe_options(c, rank, &o);
        err = mz_model_plan(&plan, q, &network, &o);
        const placed here = {c, &network, &o, rank, device->info.is_host};
        mz_train_bytes b = {.weights = plan.weights,
                            .gradients = plan.gradients,
                            .optimizer = mz_trainer_bytes(o.dtype, plan.gradients),
                            .activations = plan.activations,
                            .workspace = plan.workspace,
                            .staging = plan.staging,
                            .snapshot = mz_checkpoint_room()};
        if (err == MZ_OK) err = plan_rank(&b, &here);
        b.sum = b.weights + b.gradients + b.optimizer + b.activations + b.workspace + b.staging +
                b.snapshot;
        if (err == MZ_OK) *out = b;
    }
    mz_queue_close(q);
    mz_source_close(source);
    return err;
}

/* ---- start ---- */

/* The other ranks. */
static mz_err join(run *r)
{
    const mz_train_config *c = r->config;
    if (c->ranks[0].layers > 0) {
        mz_model_options o = {0};
        mz_pipe_options(c, r->comm->rank, &o);
        MZ_TRY(mz_pipe_new(&r->pipe, r->comm, r->queue, r->model, r->trainer, o.slots));
        MZ_TRY(mz_whole_new(&r->whole, r->comm, r->queue, r->model, r->trainer));
        mz_loop_join_pipe(r->loop, r->comm, r->pipe);
        mz_validation_join_pipe(r->validation, r->comm, r->pipe);
        return MZ_OK;
    }
    MZ_TRY(mz_team_new(&r->team, r->comm, c, r->queue, r->model, r->trainer));
    mz_loop_join(r->loop, r->team);
    return MZ_OK;
}

static mz_err build(run *r)
{
    const mz_train_config *c = r->config;
    mz_model_options o = mz_loop_model_options(c, &r->network);
    if (r->comm) mz_pipe_options(c, r->comm->rank, &o);
    MZ_TRY(mz_queue_open(&r->queue, r->device));
    if (r->comm) {
        r->queue->rank = r->comm->rank;
        r->queue->pulse = r->comm->pulse;
    }
    if (r->hooks->profile) MZ_TRY(mz_profile_new(&r->profile, PROFILE_SPANS));
    r->queue->profile = r->profile;
    MZ_TRY(mz_model_new(&r->model, r->queue, &r->network, &o));
    MZ_TRY(mz_trainer_bare(&r->trainer, r->queue, r->model));
    const mz_data_options how = mz_loop_data_options(c, r->network.vocab);
    MZ_TRY(mz_data_open(&r->data, c->data_path, &how));
    MZ_TRY(mz_validation_open(&r->validation, c, r->queue, r->model, r->trainer));
    MZ_TRY(mz_loop_new(&r->loop, c, r->queue, r->model, r->trainer, r->data));
    return r->comm && r->comm->size > 1 ? join(r) : MZ_OK;
}

/* Whether this process writes checkpoints and the log. */
static bool writes(const run *r)
{
    return !r->comm || r->comm->rank == 0;
}

static void enter(const run *r, mz_phase phase)
{
    if (r->comm) mz_comm_phase(r->comm, phase, r->progress.step);
}

static mz_checkpointed state_of(const run *r)
{
    const mz_train_config *c = r->config;
    return (mz_checkpointed){.run = c->run_dir,
                             .queue = r->queue,
                             .model = r->model,
                             .trainer = r->trainer,
                             .yaml = r->yaml.text,
                             .base = r->source,
                             .base_name = c->model_path,
                             .adapter = c->lora_adapter,
                             .seed = (uint64_t)c->run_seed,
                             .tokenizer = mz_extras_of(c)};
}

/* Ranks that have read one folder at one time have read the same. */
static mz_err agree_on_start(run *r)
{
    double mean = (double)r->progress.step;
    if (!r->comm) return MZ_OK;
    MZ_TRY(mz_comm_sum(r->comm, &mean, 1));
    mean /= (double)r->comm->size;
    if (fabs(mean - (double)r->progress.step) > 0.0)
        return MZ_FAIL(MZ_EIO, "rank %d read the checkpoint of step %lld, others another one",
                       r->comm->rank, (long long)r->progress.step);
    return MZ_OK;
}

/* RUN/resumed.jsonl: after which steps the run went on, for its pictures. The log itself is that of
 * a run that was never stopped. */
static mz_err note_start(run *r, bool goes_on)
{
    char path[MZ_CHECKPOINT_PATH], line[96];
    mz_appender a = {.fd = -1};
    MZ_TRY(mz_path_join(path, sizeof path, r->config->run_dir, "resumed.jsonl"));
    if (!goes_on) return mz_folder_remove(path);
    if (r->progress.step >= r->config->run_steps) return MZ_OK; /* nothing is left to do */
    const int n = snprintf(line, sizeof line, "{\"after_step\": %lld, \"time\": %.3f}\n",
                           (long long)r->progress.step, mz_clock_wall_s());
    MZ_TRY(mz_appender_open(&a, path));
    const mz_err err = mz_appender_put(&a, line, (size_t)n);
    mz_appender_close(&a);
    return err;
}

/* A run that had several ranks before goes on without: their record says so. */
static mz_err note_alone(run *r)
{
    char path[MZ_CHECKPOINT_PATH], line[512];
    mz_appender a = {.fd = -1};
    MZ_TRY(mz_path_join(path, sizeof path, r->config->run_dir, "ranks.jsonl"));
    if (r->comm || !mz_file_exists(path)) return MZ_OK;
    json_t *o = json_pack("{s:s, s:f, s:I, s:[{s:s, s:i}]}", "event", "start", "time",
                          mz_clock_wall_s(), "after_step", (json_int_t)r->progress.step, "ranks",
                          "chip", r->device->info.name, "share", 1);
    const size_t n = o ? json_dumpb(o, line, sizeof line - 1, 0) : 0;
    json_decref(o);
    if (n == 0 || n >= sizeof line) return MZ_FAIL(MZ_ENOMEM, "no memory for an event");
    line[n] = '\n';
    MZ_TRY(mz_appender_open(&a, path));
    const mz_err err = mz_appender_put(&a, line, n + 1);
    mz_appender_close(&a);
    return err;
}

/* Weights, progress and log as the newest checkpoint has them, or as a run begins. */
static mz_err resume(run *r)
{
    char path[MZ_CHECKPOINT_PATH];
    bool found = false;
    mz_progress *p = &r->progress;
    const mz_checkpointed state = state_of(r);
    p->spikes.window = r->config->guard_window;
    p->spikes.sigmas = r->config->guard_sigma;
    MZ_TRY(mz_checkpoint_load(&state, p, &found));
    r->saved_step = found ? p->step : -1;
    if (found && strcmp(p->data_sha256, mz_data_sha256(r->data)) != 0) {
        const mz_err err = MZ_FAIL(MZ_ECONFIG, "%s is not the data that the run in %s began with",
                                   r->config->data_path, r->config->run_dir);
        mz_note_where(r->config->data_path, "data.path", -1);
        return err;
    }
    if (!found) /* how a run begins */
        MZ_TRY(r->source ? mz_state_take_weights(&state, r->source)
                         : mz_state_draw_weights(&state, (uint64_t)r->config->run_seed));
    p->seed = (uint64_t)r->config->run_seed;
    memcpy(p->data_sha256, mz_data_sha256(r->data), sizeof p->data_sha256);
    MZ_TRY(agree_on_start(r));
    if (!writes(r)) return MZ_OK;
    MZ_TRY(mz_path_join(path, sizeof path, r->config->run_dir, "log.jsonl"));
    MZ_TRY(note_start(r, found));
    MZ_TRY(note_alone(r));
    mz_board_open(&r->board, r->config, p->step, found);
    if (found) mz_log(MZ_LOG_INFO, "going on after step %lld", (long long)p->step);
    return mz_runlog_open(&r->log, path, p->step, p->step < r->config->run_steps);
}

/* ---- steps ---- */

/* Of one that goes on in the background the failure comes later. */
static mz_err write_whole(run *r, const mz_checkpointed *state)
{
    mz_held held;
    mz_whole_held(r->whole, &held);
    return mz_checkpoint_write(state, &held, &r->progress, r->config->run_keep);
}

static mz_err save(run *r)
{
    if (r->saved_step == r->progress.step) return MZ_OK;
    if (r->team) {
        enter(r, MZ_PHASE_COLLECT);
        MZ_TRY(mz_team_collect(r->team));
    }
    if (r->whole) {
        enter(r, MZ_PHASE_COLLECT);
        MZ_TRY(mz_whole_collect(r->whole));
    }
    enter(r, MZ_PHASE_SAVE);
    if (writes(r)) {
        const mz_checkpointed state = state_of(r);
        MZ_TRY(mz_appender_sync(&r->log));
        mz_board_sync(&r->board);
        MZ_TRY(r->whole      ? write_whole(r, &state)
               : r->snapshot ? mz_snapshot_save(r->snapshot, &r->progress, r->config->run_keep)
                             : mz_checkpoint_save(&state, &r->progress, r->config->run_keep));
    }
    r->saved_step = r->progress.step;
    return MZ_OK;
}

static mz_err save_and_wait(run *r)
{
    MZ_TRY(save(r));
    return r->snapshot ? mz_snapshot_wait(r->snapshot) : MZ_OK;
}

/* Someone asked for a checkpoint by making a file (`mizan runs save`): it is gone once there is
 * one. */
static mz_err save_on_request(run *r)
{
    MZ_TRY(save_and_wait(r));
    if (!writes(r)) return MZ_OK;
    mz_log(MZ_LOG_INFO, "saved after step %lld, as asked", (long long)r->progress.step);
    return mz_folder_remove(r->request);
}

/* Why the run ends here although it is not finished, MZ_OK if it does not, and whether someone
 * asked for a checkpoint: alike on every rank. */
static mz_err stop_reason(run *r, mz_err *reason, bool *saves)
{
    const mz_train_config *c = r->config;
    const long long step = (long long)r->progress.step;
    const double seconds = (double)(mz_clock_ns() - r->started_ns) * 1e-9;
    double told = r->hooks->stops && r->hooks->stops(r->hooks->user) ? 1.0 : 0.0;
    double late = c->run_stop_after > 0.0 && seconds >= c->run_stop_after ? 1.0 : 0.0;
    double asked = writes(r) && mz_file_exists(r->request) ? 1.0 : 0.0;
    if (r->comm) {
        double votes[3] = {told, late, asked};
        MZ_TRY(mz_comm_sum(r->comm, votes, 3));
        told = votes[0];
        late = votes[1];
        asked = votes[2];
    }
    *saves = asked > 0.0;
    *reason = MZ_OK;
    if (r->progress.spikes.in_a_row >= c->guard_most)
        *reason = MZ_FAIL(MZ_ENUMERIC, "%lld steps in a row were skipped, the last is step %lld",
                          (long long)r->progress.spikes.in_a_row, step);
    else if (told > 0.0)
        *reason = MZ_FAIL(MZ_EINTR, "stopped after step %lld, saved", step);
    else if (late > 0.0)
        *reason = MZ_FAIL(MZ_EINTR, "run.stop_after: stopped after step %lld, saved", step);
    return MZ_OK;
}

/* The last save, after which no rank leaves before the others are there: one that has gone ends the
 * run for all. */
static mz_err save_at_last(run *r)
{
    MZ_TRY(save_and_wait(r));
    return r->comm ? mz_comm_barrier(r->comm) : MZ_OK;
}

/* A failure of the save itself matters more than why it was made. */
static mz_err save_and_stop(run *r, mz_err reason)
{
    const mz_err_info why = *mz_err_last();
    MZ_TRY(save_at_last(r));
    mz_err_restore(&why);
    mz_note_fix("the same command goes on from there");
    return reason;
}

/* One of several replicas is enough; of a pipeline every rank takes part. */
static bool looks(const run *r)
{
    return r->pipe || writes(r);
}

/* Loss on what is held out, and a text, where they are due. *is_best: lower than ever. */
static mz_err look(run *r, mz_step_record *record, bool *is_best)
{
    mz_progress *p = &r->progress;
    *is_best = false;
    if (mz_validation_wants_loss(r->validation, p->step)) {
        if (looks(r)) MZ_TRY(mz_validation_loss(r->validation, &record->eval_loss));
        if (r->comm)
            MZ_TRY(mz_comm_broadcast(r->comm, 0, &record->eval_loss, sizeof record->eval_loss));
        *is_best =
            isfinite(record->eval_loss) && (p->best_step == 0 || record->eval_loss < p->best_loss);
    }
    if (*is_best) {
        p->best_loss = record->eval_loss;
        p->best_step = p->step;
    }
    record->best_step = p->best_step;
    if (p->best_step > 0) record->best_loss = p->best_loss;
    if (!looks(r) || !mz_validation_wants_text(r->validation, p->step)) return MZ_OK;
    r->text.len = 0;
    MZ_TRY(mz_str_add(&r->text, "", 0));
    MZ_TRY(mz_validation_text(r->validation, p->step, &r->text));
    record->text = r->text.text;
    return MZ_OK;
}

static size_t peak_bytes(const run *r)
{
    const mz_params *p = mz_model_params(r->model);
    const mz_dtype dtype = r->config->dtype == 1 ? MZ_BF16 : MZ_F32;
    const size_t optimizer = mz_trainer_bytes(dtype, p->grads_bytes);
    return mz_device_bytes_peak(r->device) + mz_checkpoint_room() +
           (r->snapshot ? mz_snapshot_bytes(p->weights_bytes, optimizer) : 0);
}

static mz_err one_step(run *r)
{
    mz_step_record record;
    bool is_best = false;
    const mz_train_config *c = r->config;
    const int64_t begun_ns = mz_clock_ns();
    r->queue->work = r->hooks->work;
    const mz_err err = mz_loop_step(r->loop, &r->progress, &record);
    r->queue->work = NULL;
    MZ_TRY(err);
    if (r->profile) mz_profile_note(r->profile, "step", r->progress.step, begun_ns);
    MZ_TRY(look(r, &record, &is_best));
    record.is_done = r->progress.step >= c->run_steps;
    record.peak_bytes = peak_bytes(r);
    if (writes(r)) MZ_TRY(mz_runlog_put(&r->log, &record));
    if (writes(r)) mz_board_put(&r->board, &record);
    if (is_best && c->run_keep_best) MZ_TRY(save(r));
    if (!writes(r)) return MZ_OK;
    if (record.why_skipped)
        mz_log(MZ_LOG_WARN, "step %lld skipped: %s (loss %g, gradient norm %g)",
               (long long)record.step, record.why_skipped, record.loss, record.grad_norm);
    if (r->hooks->step) r->hooks->step(r->hooks->user, &record);
    return MZ_OK;
}

static mz_err get_ready(run *r)
{
    const mz_train_config *c = r->config;
    const mz_checkpointed state = state_of(r);
    if (!writes(r)) return MZ_OK;
    if (c->run_checkpoint_async && !r->whole) MZ_TRY(mz_snapshot_new(&r->snapshot, &state));
    /* one that is there already may be meant for this process: it is answered after a step */
    return mz_path_join(r->request, sizeof r->request, c->run_dir, "save");
}

static mz_err learn(run *r)
{
    const mz_train_config *c = r->config;
    MZ_TRY(get_ready(r));
    r->started_ns = mz_clock_ns();
    while (r->progress.step < c->run_steps) {
        mz_err reason = MZ_OK;
        bool is_asked = false;
        MZ_TRY(one_step(r));
        MZ_TRY(stop_reason(r, &reason, &is_asked));
        const int64_t every = c->run_checkpoint_every, step = r->progress.step;
        if (reason == MZ_ENUMERIC || (reason != MZ_OK && step < c->run_steps))
            return save_and_stop(r, reason);
        if (every > 0 && step % every == 0) MZ_TRY(save(r));
        if (r->snapshot) MZ_TRY(mz_snapshot_check(r->snapshot));
        if (is_asked) MZ_TRY(save_on_request(r));
    }
    return save_at_last(r);
}

static void clear(run *r)
{
    const mz_err_info why = *mz_err_last();
    if (r->queue) (void)mz_queue_sync(r->queue);
    if (r->snapshot) enter(r, MZ_PHASE_SAVE);
    mz_snapshot_free(r->snapshot); /* waits for what is being written */
    mz_validation_close(r->validation);
    mz_str_clear(&r->text);
    mz_team_free(r->team);
    mz_whole_free(r->whole);
    mz_pipe_free(r->pipe);
    mz_loop_free(r->loop);
    mz_data_close(r->data);
    mz_trainer_free(r->trainer);
    mz_model_free(r->model);
    mz_queue_close(r->queue);
    mz_profile_free(r->profile);
    mz_source_close(r->source);
    mz_appender_close(&r->log);
    mz_board_close(&r->board);
    mz_str_clear(&r->yaml);
    mz_claim_drop(&r->claim);
    mz_mem_free(r);
    if (why.code != MZ_OK) mz_err_restore(&why);
}

static mz_err train(run *r)
{
    const mz_train_config *c = r->config;
    MZ_TRY(mz_network_read(&r->network, &r->source, c));
    if (!r->comm) {
        MZ_TRY(mz_claim_take(&r->claim, c, PATIENCE_S));
        if (r->hooks->begun) r->hooks->begun(r->hooks->user);
    }
    MZ_TRY(mz_config_write(c, &r->yaml));
    MZ_TRY(build(r));
    enter(r, MZ_PHASE_LOAD);
    MZ_TRY(resume(r));
    mz_source_close(r->source); /* what was read of its files goes back */
    r->source = NULL;
    return learn(r);
}

/* Also of a run that failed: what it did last may tell why. */
static mz_err write_profile(const run *r, mz_err err)
{
    char path[MZ_CHECKPOINT_PATH + 16];
    const int rank = r->comm ? r->comm->rank : 0;
    if (!r->profile) return err;
    if (rank == 0)
        (void)snprintf(path, sizeof path, "%s", r->hooks->profile);
    else
        (void)snprintf(path, sizeof path, "%s.rank%d", r->hooks->profile, rank);
    const mz_err_info why = *mz_err_last();
    const mz_err written = mz_profile_write(r->profile, path, rank);
    if (err == MZ_OK) return written;
    mz_err_restore(&why);
    return err;
}

mz_err mz_train_rank(const mz_train_config *c, mz_device *device, const mz_train_hooks *hooks,
                     mz_comm *comm)
{
    run *r = NULL;
    MZ_NEED(c && device && hooks, "an argument is NULL");
    MZ_TRY(mz_mem_new(&r, 1, sizeof *r));
    r->config = c;
    r->hooks = hooks;
    r->device = device;
    r->comm = comm;
    r->claim.lock.fd = r->log.fd = r->board.events.file.fd = -1;
    const mz_err err = write_profile(r, train(r));
    clear(r);
    return err;
}

mz_err mz_train_run(const mz_train_config *c, mz_device *device, const mz_train_hooks *hooks)
{
    return mz_train_rank(c, device, hooks, NULL);
}
