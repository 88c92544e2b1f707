/* SPDX-License-Identifier: Apache-2.0 */
/* infer/probe.c - see probe.h. The whole batch is one packed call: B sequences of T tokens. */
#include "infer/probe.h"

#include "base/mem.h"
#include "infer/grid.h"
#include "infer/outputs.h"
#include "model/model.h"
#include "port/source.h"
#include "tensor/convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_TOKENS = 16 };

typedef struct probe {
    const mz_probe_options *options;
    mz_queue *queue;
    mz_source *source;
    mz_config config;
    mz_model *model;
    mz_st_file *in, *forced;
    mz_grid grid;
    int32_t *step_ids, *step_pos, *step_cu, *table, *lens; /* one cached token a sequence */
    int64_t pages_each;
    int32_t *chosen; /* forced ids of one layer, [B*T,k] */
    mz_outputs out;
} probe;

/* A rank-2 or rank-3 id tensor of a file as I32, with every id checked. */
static mz_err read_ids(const mz_st_file *file, const char *name, int rank, const int64_t *dim,
                       int32_t *out)
{
    const mz_st_tensor *t = mz_st_find(file, name);
    mz_err err = MZ_OK;
    if (!t) {
        err = MZ_FAIL(MZ_ECORRUPT, "there is no tensor %s", name);
    } else if (!mz_convert_can(MZ_I32, t->dtype)) {
        err = MZ_FAIL(MZ_ECORRUPT, "%s is %s, want I64", name, mz_dtype_name(t->dtype));
    } else if (t->rank != rank) {
        err = MZ_FAIL(MZ_ECORRUPT, "%s has rank %d, want %d", name, t->rank, rank);
    } else {
        for (int i = 0; i < rank && err == MZ_OK; i++)
            if (t->dim[i] != dim[i])
                err = MZ_FAIL(MZ_ECORRUPT, "%s has %lld in dimension %d, want %lld", name,
                              (long long)t->dim[i], i, (long long)dim[i]);
        if (err == MZ_OK) err = mz_convert(out, MZ_I32, t->data, t->dtype, t->count);
    }
    if (err != MZ_OK) mz_note_where(mz_st_path(file), name, t ? (int64_t)t->offset : -1);
    return err;
}

static mz_err check_range(const probe *p, const int32_t *ids, const char *name, bool may_skip)
{
    for (int64_t i = 0; i < p->grid.B * p->grid.T; i++) {
        if ((may_skip && ids[i] == -100) || (ids[i] >= 0 && ids[i] < p->config.vocab)) continue;
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s[%lld,%lld] is %d, want 0 .. %lld%s", name,
                                   (long long)(i / p->grid.T), (long long)(i % p->grid.T), ids[i],
                                   (long long)p->config.vocab - 1, may_skip ? " or -100" : "");
        mz_note_where(mz_st_path(p->in), name, -1);
        return err;
    }
    return MZ_OK;
}

static mz_err shape_of_input(const probe *p, int64_t *B, int64_t *T)
{
    const mz_st_tensor *t = mz_st_find(p->in, "ids");
    const char *path = mz_st_path(p->in);
    if (!t || t->rank != 2 || t->dim[0] < 1 || t->dim[1] < 1) {
        const mz_err err = MZ_FAIL(
            MZ_ECORRUPT, "%s", t ? "ids is not [B,T] with B, T >= 1" : "there is no tensor ids");
        mz_note_where(path, "ids", t ? (int64_t)t->offset : -1);
        mz_note_fix("write the token ids as an I64 tensor `ids` of shape [B,T]");
        return err;
    }
    *B = t->dim[0];
    *T = t->dim[1];
    if (*T > INT32_MAX / *B - p->options->greedy)
        return MZ_FAIL(MZ_ENOTSUP, "ids has more than 2^31 tokens");
    return MZ_OK;
}

static mz_err read_input(probe *p)
{
    int64_t dim[2];
    MZ_TRY(shape_of_input(p, &dim[0], &dim[1]));
    MZ_TRY(mz_grid_new(&p->grid, dim[0], dim[1]));
    MZ_TRY(read_ids(p->in, "ids", 2, dim, p->grid.ids));
    MZ_TRY(check_range(p, p->grid.ids, "ids", false));
    const bool labels = mz_st_find(p->in, "labels") != NULL;
    if (labels) {
        MZ_TRY(read_ids(p->in, "labels", 2, dim, p->grid.targets));
        MZ_TRY(check_range(p, p->grid.targets, "labels", true));
    }
    mz_grid_finish(&p->grid, labels);
    return MZ_OK;
}

static mz_err bind(probe *p)
{
    const mz_probe_options *o = p->options;
    const int64_t n = p->grid.B * p->grid.T, rows = mz_grid_at_once(&p->grid);
    const int64_t positions = p->grid.T + o->greedy;
    const bool cached = o->decode || o->greedy > 0;
    p->pages_each = (positions + PAGE_TOKENS - 1) / PAGE_TOKENS;
    const mz_model_options mo = {.dtype = o->dtype,
                                 .tokens_max = n,
                                 .sequences_max = p->grid.B,
                                 .position_max = positions,
                                 .head_rows = rows > p->grid.B ? rows : p->grid.B,
                                 .train = o->gradients,
                                 .mtp = p->config.mtp_layers > 0,
                                 .keep_hidden = o->hidden,
                                 .forced_router = o->forced != NULL,
                                 .cache_pages = cached ? p->grid.B * p->pages_each : 0,
                                 .page_tokens = cached ? PAGE_TOKENS : 0,
                                 .pages_per_sequence_max = cached ? p->pages_each : 0};
    MZ_TRY(mz_source_model(&p->model, p->source, p->queue, &mo, o->as_stored));
    if (!cached) return MZ_OK;
    MZ_TRY(mz_mem_new(&p->step_ids, p->grid.B, sizeof *p->step_ids));
    MZ_TRY(mz_mem_new(&p->step_pos, p->grid.B, sizeof *p->step_pos));
    MZ_TRY(mz_mem_new(&p->step_cu, p->grid.B + 1, sizeof *p->step_cu));
    MZ_TRY(mz_mem_new(&p->lens, p->grid.B, sizeof *p->lens));
    MZ_TRY(mz_mem_new(&p->table, p->grid.B * p->pages_each, sizeof *p->table));
    for (int64_t i = 0; i < p->grid.B * p->pages_each; i++) p->table[i] = (int32_t)i;
    for (int64_t b = 0; b <= p->grid.B; b++) p->step_cu[b] = (int32_t)b;
    return MZ_OK;
}

/* Expert ids of one layer from the FORCED file, for all tokens (t < 0) or for position t. */
static mz_err force_layer(probe *p, int64_t layer, int64_t t)
{
    char name[64];
    const int64_t k = p->config.moe.top_k, dim[3] = {p->grid.B, p->grid.T, k};
    snprintf(name, sizeof name, "router.%lld.ids", (long long)layer);
    if (!p->chosen) MZ_TRY(mz_mem_new(&p->chosen, p->grid.B * p->grid.T * k, sizeof *p->chosen));
    MZ_TRY(read_ids(p->forced, name, 3, dim, p->chosen));
    for (int64_t i = 0; i < p->grid.B * p->grid.T * k; i++) {
        const bool rises = i % k == 0 || p->chosen[i] > p->chosen[i - 1];
        if (rises && p->chosen[i] >= 0 && p->chosen[i] < p->config.moe.experts) continue;
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s holds %d, want rising ids 0 .. %lld", name,
                                   p->chosen[i], (long long)p->config.moe.experts - 1);
        mz_note_where(mz_st_path(p->forced), name, -1);
        return err;
    }
    if (t < 0) return mz_model_force_router(p->model, layer, p->chosen, p->grid.B * p->grid.T);
    for (int64_t b = 0; b < p->grid.B; b++)
        memmove(p->chosen + b * k, p->chosen + (b * p->grid.T + t) * k,
                (size_t)k * sizeof *p->chosen);
    return mz_model_force_router(p->model, layer, p->chosen, p->grid.B);
}

static mz_err force(probe *p, int64_t t)
{
    for (int64_t i = 0; p->forced && i < p->config.layers; i++)
        if (mz_config_layer_is_moe(&p->config, i)) MZ_TRY(force_layer(p, i, t));
    return MZ_OK;
}

static mz_err take_logits(probe *p)
{
    float *out = NULL;
    const int64_t dim[3] = {p->grid.B, p->grid.T, p->config.vocab};
    MZ_TRY(mz_outputs_add(&p->out, "logits", MZ_F32, 3, dim, &out));
    return mz_grid_logits(&p->grid, p->model, p->queue, out);
}

static mz_err take_hidden(probe *p)
{
    const int64_t dim[3] = {p->grid.B, p->grid.T, p->config.width};
    for (int64_t i = 0; i <= p->config.layers + 1; i++) {
        char name[64];
        float *out = NULL;
        mz_tensor hidden;
        snprintf(name, sizeof name, "hidden.%lld", (long long)i);
        MZ_TRY(mz_outputs_add(&p->out, name, MZ_F32, 3, dim, &out));
        MZ_TRY(mz_model_hidden(p->model, i, &hidden));
        MZ_TRY(mz_fetch_f32(p->queue, &hidden, out));
    }
    return MZ_OK;
}

static mz_err take_routers(probe *p)
{
    const int64_t dim[3] = {p->grid.B, p->grid.T, p->config.moe.top_k};
    for (int64_t i = 0; i < p->config.layers; i++) {
        char name[64];
        int64_t *ids = NULL;
        float *weights = NULL;
        mz_tensor t_ids, t_weights;
        if (!mz_config_layer_is_moe(&p->config, i)) continue;
        MZ_TRY(mz_model_router(p->model, i, &t_ids, &t_weights));
        snprintf(name, sizeof name, "router.%lld.ids", (long long)i);
        MZ_TRY(mz_outputs_add(&p->out, name, MZ_I64, 3, dim, &ids));
        MZ_TRY(mz_fetch_i64(p->queue, &t_ids, ids));
        snprintf(name, sizeof name, "router.%lld.weights", (long long)i);
        MZ_TRY(mz_outputs_add(&p->out, name, MZ_F32, 3, dim, &weights));
        MZ_TRY(mz_fetch_f32(p->queue, &t_weights, weights));
    }
    return MZ_OK;
}

static mz_err take_gradients(probe *p)
{
    const mz_params *params = mz_model_params(p->model);
    for (int64_t i = 0; i < params->n; i++) {
        const mz_param *x = &params->list[i];
        if (!x->g.buf) continue;
        for (int64_t e = 0; e < mz_param_disk_count(x); e++) {
            char name[160] = "grad.";
            float *out = NULL;
            const mz_tensor g = mz_param_disk_view(x, &x->g, e);
            MZ_TRY(mz_param_disk_name(x, e, name + 5, sizeof name - 5));
            MZ_TRY(mz_outputs_add(&p->out, name, MZ_F32, g.rank, g.dim, &out));
            MZ_TRY(mz_fetch_f32(p->queue, &g, out));
        }
    }
    return MZ_OK;
}

/* The whole batch at once: everything but decode and greedy. */
static mz_err take_batch(probe *p)
{
    const mz_probe_options *o = p->options;
    const mz_batch batch = mz_grid_batch(&p->grid);
    const mz_loss_options lo = {.backward = o->gradients};
    float *loss = NULL;
    double mean = 0.0;
    mz_tensor t;
    MZ_TRY(force(p, -1));
    if (o->gradients) MZ_TRY(mz_model_zero_grads(p->model));
    MZ_TRY(mz_model_forward(p->model, &batch));
    MZ_TRY(take_logits(p));
    if (o->hidden) MZ_TRY(take_hidden(p));
    if (o->router_out) MZ_TRY(take_routers(p));
    MZ_TRY(mz_outputs_add(&p->out, "loss", MZ_F32, 0, NULL, &loss));
    MZ_TRY(mz_model_loss(p->model, &batch, &lo, &t));
    MZ_TRY(mz_grid_mean(&p->grid, p->queue, &t, &mean));
    loss[0] = (float)mean;
    return o->gradients ? take_gradients(p) : MZ_OK;
}

/* One token of every sequence, at position t, through the cache. */
static mz_err cached_step(probe *p, int64_t t, mz_tensor *logits)
{
    for (int64_t b = 0; b < p->grid.B; b++) {
        p->step_pos[b] = (int32_t)t;
        p->lens[b] = (int32_t)t + 1;
    }
    const mz_batch batch = {p->grid.B, p->grid.B, p->step_ids, p->step_pos, p->step_cu, NULL, NULL};
    MZ_TRY(mz_model_cached(p->model, &batch, &(mz_cached){.table = p->table, .lens = p->lens}));
    return mz_model_logits(p->model, 0, p->grid.B, logits);
}

static mz_err take_decode(probe *p)
{
    float *out = NULL, *rows = NULL;
    const int64_t V = p->config.vocab, dim[3] = {p->grid.B, p->grid.T, V};
    mz_err err = MZ_OK;
    MZ_TRY(mz_outputs_add(&p->out, "decode.logits", MZ_F32, 3, dim, &out));
    MZ_TRY(mz_mem_new(&rows, p->grid.B * V, sizeof *rows));
    for (int64_t t = 0; t < p->grid.T; t++) {
        mz_tensor logits;
        for (int64_t b = 0; b < p->grid.B; b++) p->step_ids[b] = p->grid.ids[b * p->grid.T + t];
        MZ_TRY_GOTO(err, force(p, t), done);
        MZ_TRY_GOTO(err, cached_step(p, t, &logits), done);
        MZ_TRY_GOTO(err, mz_fetch_f32(p->queue, &logits, rows), done);
        for (int64_t b = 0; b < p->grid.B; b++)
            memcpy(out + (b * p->grid.T + t) * V, rows + b * V, (size_t)V * sizeof *rows);
    }
done:
    mz_mem_free(rows);
    return err;
}

/* The largest logit of each row, ties to the lower id, into step_ids and column i of out. */
static mz_err choose(probe *p, const float *rows, int64_t *out, int64_t i)
{
    const int64_t V = p->config.vocab;
    for (int64_t b = 0; b < p->grid.B; b++) {
        int64_t best = -1;
        for (int64_t v = 0; v < V; v++) {
            const float x = rows[b * V + v];
            if (!isnan(x) && (best < 0 || x > rows[b * V + best])) best = v;
        }
        if (best < 0)
            return MZ_FAIL(MZ_ENUMERIC, "every logit of sequence %lld is NaN", (long long)b);
        p->step_ids[b] = (int32_t)best;
        out[b * p->options->greedy + i] = best;
    }
    return MZ_OK;
}

static mz_err take_greedy(probe *p)
{
    int64_t *out = NULL;
    float *rows = NULL;
    const int64_t N = p->options->greedy, dim[2] = {p->grid.B, N};
    mz_err err = MZ_OK;
    mz_tensor logits;
    MZ_TRY(mz_outputs_add(&p->out, "greedy.ids", MZ_I64, 2, dim, &out));
    MZ_TRY(mz_mem_new(&rows, p->grid.B * p->config.vocab, sizeof *rows));
    for (int64_t b = 0; b < p->grid.B; b++) {
        p->lens[b] = (int32_t)p->grid.T;
        p->step_ids[b] = (int32_t)((b + 1) * p->grid.T - 1); /* row of its last token */
    }
    const mz_batch batch = {
        p->grid.B * p->grid.T, p->grid.B, p->grid.ids, p->grid.pos, p->grid.cu, NULL, NULL};
    const mz_cached cached = {.table = p->table, .lens = p->lens};
    MZ_TRY_GOTO(err, mz_model_cached(p->model, &batch, &cached), done);
    MZ_TRY_GOTO(err, mz_model_logits_rows(p->model, p->step_ids, p->grid.B, &logits), done);
    for (int64_t i = 0; i < N; i++) {
        MZ_TRY_GOTO(err, mz_fetch_f32(p->queue, &logits, rows), done);
        MZ_TRY_GOTO(err, choose(p, rows, out, i), done);
        if (i + 1 < N) MZ_TRY_GOTO(err, cached_step(p, p->grid.T + i, &logits), done);
    }
done:
    mz_mem_free(rows);
    return err;
}

static mz_err run(probe *p, const char *model, const char *in)
{
    const mz_probe_options *o = p->options;
    MZ_TRY(mz_source_open(&p->source, model));
    mz_source_adapt(p->source, o->adapter);
    p->config = *mz_source_config(p->source);
    MZ_TRY(mz_st_open(&p->in, in));
    if (o->forced) MZ_TRY(mz_st_open(&p->forced, o->forced));
    MZ_TRY(read_input(p));
    MZ_TRY(bind(p));
    MZ_TRY(take_batch(p));
    if (o->decode) MZ_TRY(take_decode(p));
    return o->greedy > 0 ? take_greedy(p) : MZ_OK;
}

static void clear(probe *p)
{
    mz_model_free(p->model);
    mz_source_close(p->source);
    mz_st_close(p->in);
    mz_st_close(p->forced);
    void *blocks[] = {p->step_ids, p->step_pos, p->step_cu, p->table, p->lens, p->chosen};
    for (int i = 0; i < MZ_COUNT(blocks); i++) mz_mem_free(blocks[i]);
    mz_grid_clear(&p->grid);
    mz_outputs_clear(&p->out);
    mz_queue_close(p->queue);
}

mz_err mz_probe(mz_device *device, const char *model, const char *in, const char *out,
                const mz_probe_options *options)
{
    probe p = {.options = options};
    MZ_NEED(device && model && in && out && options, "an argument is NULL");
    MZ_NEED(options->greedy >= 0, "greedy is %lld", (long long)options->greedy);
    if (options->forced && options->greedy > 0)
        return MZ_FAIL(MZ_EUSAGE, "--router names the experts of IN's tokens only, so it cannot go "
                                  "with --greedy");
    mz_err err = mz_queue_open(&p.queue, device);
    if (err == MZ_OK) err = run(&p, model, in);
    if (err == MZ_OK) err = mz_outputs_write(&p.out, out);
    clear(&p);
    return err;
}
