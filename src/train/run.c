/* SPDX-License-Identifier: Apache-2.0 */
/* train/run.c - see run.h. */
#include "train/run.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/loop.h"
#include "train/snapshot.h"
#include "train/state.h"
#include "train/validate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct run {
    const mz_train_config *config;
    const mz_train_hooks *hooks;
    mz_device *device;
    mz_lock lock;
    mz_str yaml;
    mz_source *source; /* NULL where the weights are random */
    mz_config network;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    mz_data *data;
    mz_loop *loop;
    mz_validation *validation; /* NULL: none is asked for */
    mz_snapshot *snapshot;     /* NULL: saves are waited for */
    mz_str text;               /* what the model wrote last */
    char request[MZ_CHECKPOINT_PATH];
    mz_appender log;
    mz_progress progress;
    int64_t saved_step; /* of the newest checkpoint, -1: none; it may still be being written */
    int64_t started_ns;
} run;

/* ---- the network ---- */

/* A folder or the file itself. */
static mz_err read_network(mz_config *network, mz_source **source, const mz_train_config *c)
{
    char path[MZ_CHECKPOINT_PATH];
    if (c->model_path[0]) {
        MZ_TRY(mz_source_open(source, c->model_path));
        *network = *mz_source_config(*source);
        return MZ_OK;
    }
    MZ_TRY(mz_path_join(path, sizeof path, c->model_config, "config.json"));
    return mz_config_read(network, mz_file_is_dir(c->model_config) ? path : c->model_config);
}

static mz_err check_network(const mz_train_config *c, const mz_config *n)
{
    if (c->data_seq > n->max_position)
        return MZ_FAIL(MZ_ECONFIG, "data.seq is %lld, this network has positions for %lld",
                       (long long)c->data_seq, (long long)n->max_position);
    return MZ_OK;
}

mz_err mz_train_plan(mz_train_bytes *out, const mz_train_config *c, mz_device *device)
{
    MZ_NEED(out && c && device, "an argument is NULL");
    mz_source *source = NULL;
    mz_queue *q = NULL;
    mz_config network;
    mz_memory_plan plan = {0};
    mz_err err = read_network(&network, &source, c);
    if (err == MZ_OK) err = check_network(c, &network);
    if (err == MZ_OK) err = mz_queue_open(&q, device);
    if (err == MZ_OK) {
        const mz_model_options o = mz_loop_model_options(c, &network);
        err = mz_model_plan(&plan, q, &network, &o);
        mz_train_bytes b = {.weights = plan.weights,
                            .gradients = plan.gradients,
                            .optimizer = mz_trainer_bytes(o.dtype, plan.gradients),
                            .activations = plan.activations,
                            .workspace = plan.workspace,
                            .staging = plan.staging,
                            .snapshot = mz_checkpoint_room()};
        if (c->run_checkpoint_async) b.snapshot += mz_snapshot_bytes(b.weights, b.optimizer);
        b.sum = b.weights + b.gradients + b.optimizer + b.activations + b.workspace + b.staging +
                b.snapshot;
        if (err == MZ_OK) *out = b;
    }
    mz_queue_close(q);
    mz_source_close(source);
    return err;
}

/* ---- start ---- */

/* A run that has a checkpoint keeps what decides its steps; before that nothing can be lost. */
static mz_err settle_config(run *r)
{
    char path[MZ_CHECKPOINT_PATH];
    const mz_train_config *c = r->config;
    mz_train_config *before = NULL;
    bool has_any = false;
    MZ_TRY(mz_config_write(c, &r->yaml));
    MZ_TRY(mz_path_join(path, sizeof path, c->run_dir, "train.yaml"));
    MZ_TRY(mz_checkpoint_any(c->run_dir, &has_any));
    if (has_any && mz_file_exists(path)) {
        MZ_TRY(mz_mem_new(&before, 1, sizeof *before));
        mz_err err = mz_config_load(before, path, NULL, 0);
        if (err == MZ_OK) err = mz_config_same_run(before, c, c->run_dir);
        mz_mem_free(before);
        if (err != MZ_OK) return err;
    }
    return mz_file_write(path, r->yaml.text, r->yaml.len);
}

static mz_err take_folder(run *r)
{
    char path[MZ_CHECKPOINT_PATH];
    const char *dir = r->config->run_dir;
    MZ_TRY(mz_file_mkdirs(dir));
    MZ_TRY(mz_path_join(path, sizeof path, dir, "lock"));
    const mz_err err = mz_lock_take(&r->lock, path);
    if (err == MZ_EBUSY)
        mz_note_fix("one process trains in a run folder; stop it, or use another run.dir");
    if (err != MZ_OK) return err;
    return mz_checkpoint_sweep(dir);
}

static mz_err build(run *r)
{
    const mz_train_config *c = r->config;
    const mz_model_options o = mz_loop_model_options(c, &r->network);
    MZ_TRY(mz_queue_open(&r->queue, r->device));
    MZ_TRY(mz_model_new(&r->model, r->queue, &r->network, &o));
    MZ_TRY(mz_trainer_new(&r->trainer, r->queue, r->model));
    const mz_data_options how = mz_loop_data_options(c, r->network.vocab);
    MZ_TRY(mz_data_open(&r->data, c->data_path, &how));
    MZ_TRY(mz_validation_open(&r->validation, c, r->queue, r->model, r->trainer));
    return mz_loop_new(&r->loop, c, r->queue, r->model, r->trainer, r->data);
}

static mz_checkpointed state_of(const run *r)
{
    const mz_train_config *c = r->config;
    const char *model = c->model_path[0] ? c->model_path : c->model_config;
    return (mz_checkpointed){.run = c->run_dir,
                             .queue = r->queue,
                             .model = r->model,
                             .trainer = r->trainer,
                             .yaml = r->yaml.text,
                             .tokenizer = c->data_tokenizer[0] ? c->data_tokenizer : model};
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
    MZ_TRY(mz_path_join(path, sizeof path, r->config->run_dir, "log.jsonl"));
    if (found) mz_log(MZ_LOG_INFO, "going on after step %lld", (long long)p->step);
    return mz_runlog_open(&r->log, path, p->step, p->step < r->config->run_steps);
}

/* ---- steps ---- */

/* Of one that goes on in the background the failure comes later. */
static mz_err save(run *r)
{
    if (r->saved_step == r->progress.step) return MZ_OK;
    const mz_checkpointed state = state_of(r);
    MZ_TRY(mz_appender_sync(&r->log));
    MZ_TRY(r->snapshot ? mz_snapshot_save(r->snapshot, &r->progress, r->config->run_keep)
                       : mz_checkpoint_save(&state, &r->progress, r->config->run_keep));
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
    if (!mz_file_exists(r->request)) return MZ_OK;
    MZ_TRY(save_and_wait(r));
    mz_log(MZ_LOG_INFO, "saved after step %lld, as asked", (long long)r->progress.step);
    return mz_folder_remove(r->request);
}

/* Why the run ends here although it is not finished; MZ_OK: it does not. */
static mz_err stop_reason(const run *r)
{
    const mz_train_config *c = r->config;
    const double seconds = (double)(mz_clock_ns() - r->started_ns) * 1e-9;
    if (r->progress.spikes.in_a_row >= c->guard_most)
        return MZ_FAIL(MZ_ENUMERIC, "%lld steps in a row were skipped, the last is step %lld",
                       (long long)r->progress.spikes.in_a_row, (long long)r->progress.step);
    if (r->hooks->stops && r->hooks->stops(r->hooks->user))
        return MZ_FAIL(MZ_EINTR, "stopped after step %lld, saved", (long long)r->progress.step);
    if (c->run_stop_after > 0.0 && seconds >= c->run_stop_after)
        return MZ_FAIL(MZ_EINTR, "run.stop_after: stopped after step %lld, saved",
                       (long long)r->progress.step);
    return MZ_OK;
}

/* A failure of the save itself matters more than why it was made. */
static mz_err save_and_stop(run *r, mz_err reason)
{
    const mz_err_info why = *mz_err_last();
    MZ_TRY(save_and_wait(r));
    mz_err_restore(&why);
    mz_note_fix("the same command goes on from there");
    return reason;
}

/* Loss on what is held out, and a text, where they are due. *is_best: lower than ever. */
static mz_err look(run *r, mz_step_record *record, bool *is_best)
{
    mz_progress *p = &r->progress;
    *is_best = false;
    if (mz_validation_wants_loss(r->validation, p->step)) {
        MZ_TRY(mz_validation_loss(r->validation, &record->eval_loss));
        *is_best =
            isfinite(record->eval_loss) && (p->best_step == 0 || record->eval_loss < p->best_loss);
    }
    if (*is_best) {
        p->best_loss = record->eval_loss;
        p->best_step = p->step;
    }
    record->best_step = p->best_step;
    if (p->best_step > 0) record->best_loss = p->best_loss;
    if (!mz_validation_wants_text(r->validation, p->step)) return MZ_OK;
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
    MZ_TRY(mz_loop_step(r->loop, &r->progress, &record));
    MZ_TRY(look(r, &record, &is_best));
    record.is_done = r->progress.step >= c->run_steps;
    record.peak_bytes = peak_bytes(r);
    MZ_TRY(mz_runlog_put(&r->log, &record));
    if (is_best && c->run_keep_best) MZ_TRY(save(r));
    if (record.why_skipped)
        mz_log(MZ_LOG_WARN, "step %lld skipped: %s (loss %g, gradient norm %g)",
               (long long)record.step, record.why_skipped, record.loss, record.grad_norm);
    if (r->hooks->step) r->hooks->step(r->hooks->user, &record);
    return MZ_OK;
}

static mz_err learn(run *r)
{
    const mz_train_config *c = r->config;
    const mz_checkpointed state = state_of(r);
    if (c->run_checkpoint_async) MZ_TRY(mz_snapshot_new(&r->snapshot, &state));
    MZ_TRY(mz_path_join(r->request, sizeof r->request, c->run_dir, "save"));
    MZ_TRY(mz_folder_remove(r->request)); /* of a process that is gone */
    r->started_ns = mz_clock_ns();
    while (r->progress.step < c->run_steps) {
        MZ_TRY(one_step(r));
        const int64_t every = c->run_checkpoint_every, step = r->progress.step;
        const mz_err reason = stop_reason(r);
        if (reason == MZ_ENUMERIC || (reason != MZ_OK && step < c->run_steps))
            return save_and_stop(r, reason);
        if (every > 0 && step % every == 0) MZ_TRY(save(r));
        if (r->snapshot) MZ_TRY(mz_snapshot_check(r->snapshot));
        MZ_TRY(save_on_request(r));
    }
    return save_and_wait(r);
}

static void clear(run *r)
{
    const mz_err_info why = *mz_err_last();
    if (r->queue) (void)mz_queue_sync(r->queue);
    mz_snapshot_free(r->snapshot); /* waits for what is being written */
    mz_validation_close(r->validation);
    mz_str_clear(&r->text);
    mz_loop_free(r->loop);
    mz_data_close(r->data);
    mz_trainer_free(r->trainer);
    mz_model_free(r->model);
    mz_queue_close(r->queue);
    mz_source_close(r->source);
    mz_appender_close(&r->log);
    mz_str_clear(&r->yaml);
    mz_lock_drop(&r->lock);
    mz_mem_free(r);
    if (why.code != MZ_OK) mz_err_restore(&why);
}

mz_err mz_train_run(const mz_train_config *c, mz_device *device, const mz_train_hooks *hooks)
{
    run *r = NULL;
    MZ_NEED(c && device && hooks, "an argument is NULL");
    MZ_TRY(mz_mem_new(&r, 1, sizeof *r));
    r->config = c;
    r->hooks = hooks;
    r->device = device;
    r->lock.fd = r->log.fd = -1;
    mz_err err = read_network(&r->network, &r->source, c);
    if (err == MZ_OK) err = check_network(c, &r->network);
    if (err == MZ_OK) err = take_folder(r);
    if (err == MZ_OK) err = settle_config(r);
    if (err == MZ_OK) err = build(r);
    if (err == MZ_OK) err = resume(r);
    if (err == MZ_OK) err = learn(r);
    clear(r);
    return err;
}
