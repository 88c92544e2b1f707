/* SPDX-License-Identifier: Apache-2.0 */
/* app/bench_step.c - `mizan bench step CONFIG [KEY=VALUE...]`: whole steps of a training, beside
 * products of matrices alone.
 *
 * The run's folder is not touched: weights are drawn, or taken from the model that is named, and
 * nothing is kept. One chip, no ranks. Floor: app. */
#include "app/bench.h"
#include "app/commands.h"
#include "app/gauge.h"
#include "base/clock.h"
#include "base/mem.h"
#include "train/loop.h"
#include "train/network.h"
#include "train/state.h"

enum { REPETITIONS = 5, GAUGE_NS = 200000000 };

typedef struct steps {
    const mz_train_config *config;
    mz_device *device;
    mz_queue *queue;
    mz_config network;
    mz_source *source;
    mz_model *model;
    mz_trainer *trainer;
    mz_data *data;
    mz_loop *loop;
    mz_progress progress;
} steps;

static mz_err build(steps *s)
{
    const mz_train_config *c = s->config;
    MZ_TRY(mz_network_read(&s->network, &s->source, c));
    const mz_model_options o = mz_loop_model_options(c, &s->network);
    const mz_data_options how = mz_loop_data_options(c, s->network.vocab);
    MZ_TRY(mz_queue_open(&s->queue, s->device));
    MZ_TRY(mz_model_new(&s->model, s->queue, &s->network, &o));
    MZ_TRY(mz_trainer_bare(&s->trainer, s->queue, s->model));
    MZ_TRY(mz_data_open(&s->data, c->data_path, &how));
    MZ_TRY(mz_loop_new(&s->loop, c, s->queue, s->model, s->trainer, s->data));
    const mz_checkpointed state = {.queue = s->queue,
                                   .model = s->model,
                                   .trainer = s->trainer,
                                   .base = s->source,
                                   .base_name = c->model_path,
                                   .adapter = c->lora_adapter,
                                   .seed = (uint64_t)c->run_seed};
    s->progress.spikes.window = c->guard_window;
    s->progress.spikes.sigmas = c->guard_sigma;
    s->progress.seed = state.seed;
    return s->source ? mz_state_take_weights(&state, s->source)
                     : mz_state_draw_weights(&state, state.seed);
}

static void clear(steps *s)
{
    mz_loop_free(s->loop);
    mz_data_close(s->data);
    mz_trainer_free(s->trainer);
    mz_model_free(s->model);
    mz_source_close(s->source);
    mz_queue_close(s->queue);
    mz_device_close(s->device);
}

/* After one that touches memory and wakes threads. */
static mz_err time_steps(steps *s, int64_t times, json_t *o)
{
    mz_step_record r = {0};
    json_t *list = json_array();
    if (json_object_set_new(o, "step_ns", list) != 0) return mz_cli_json_failed();
    for (int64_t i = -1; i < times; i++) {
        const int64_t start = mz_clock_ns();
        MZ_TRY(mz_loop_step(s->loop, &s->progress, &r));
        MZ_TRY(mz_queue_sync(s->queue)); /* the update too */
        if (i >= 0 && json_array_append_new(list, json_integer(mz_clock_ns() - start)) != 0)
            return mz_cli_json_failed();
    }
    const int bad = json_object_set_new(o, "tokens", json_integer(r.tokens / r.step)) |
                    json_object_set_new(o, "flop", json_real(r.flop));
    return bad == 0 ? MZ_OK : mz_cli_json_failed();
}

/* How fast the step's operations went by, of how fast products alone do, both at their best. */
static mz_err add_share(steps *s, json_t *o)
{
    double gemm = 0.0;
    const double flop = json_real_value(json_object_get(o, "flop"));
    const double ns = (double)mz_bench_best(json_object_get(o, "step_ns"));
    MZ_TRY(mz_gauge_gemm(s->queue, s->config->dtype == 1 ? MZ_BF16 : MZ_F32, GAUGE_NS, &gemm));
    const int bad = json_object_set_new(o, "gemm_flop_per_s", json_real(gemm)) |
                    json_object_set_new(o, "gemm_share", json_real(flop / ns * 1e9 / gemm));
    return bad == 0 ? MZ_OK : mz_cli_json_failed();
}

static mz_err describe(const steps *s, json_t *o)
{
    const mz_device_info *info = &s->device->info;
    int bad = json_object_set_new(o, "kind", json_string("step"));
    bad |= json_object_set_new(o, "chip", json_string(info->name));
    bad |= json_object_set_new(o, "model", json_string(info->model));
    bad |= json_object_set_new(o, "isa", json_string(info->isa));
    bad |= json_object_set_new(o, "threads", json_integer(info->threads));
    return bad == 0 ? MZ_OK : mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli, mz_train_config *c, json_t *o)
{
    steps s = {.config = c};
    MZ_TRY(mz_cli_train_config(cli, 1, c));
    if (c->n_ranks > 0) {
        const mz_err err = MZ_FAIL(MZ_EUSAGE,
                                   "bench step times one chip, and the configuration "
                                   "has %lld ranks",
                                   (long long)c->n_ranks);
        mz_note_fix("leave `ranks` out and name the chip with --chip; `mizan train` shows the "
                    "tokens/s of a run with ranks");
        return err;
    }
    mz_err err = mz_cli_open_chip(cli, &s.device);
    if (err == MZ_OK) err = build(&s);
    if (err == MZ_OK) err = describe(&s, o);
    if (err == MZ_OK) err = time_steps(&s, mz_bench_repetitions(cli, REPETITIONS), o);
    if (err == MZ_OK) err = add_share(&s, o);
    clear(&s);
    return err;
}

mz_err mz_bench_step(const mz_cli *cli)
{
    mz_train_config *c = NULL;
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    json_t *o = mz_cli_document();
    const mz_err err = o ? run(cli, c, o) : mz_cli_json_failed();
    mz_mem_free(c);
    if (err == MZ_OK) return mz_bench_print(cli, o);
    json_decref(o);
    return err;
}
