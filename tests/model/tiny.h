/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/tiny.h - networks small enough to differentiate by hand: one for every feature, with
 * random weights that depend only on the parameters' names, and a packed batch to run on them. */
#ifndef MZ_TESTS_MODEL_TINY_H
#define MZ_TESTS_MODEL_TINY_H

#include "base/mem.h"
#include "base/rng.h"
#include "chips/ref/ref.h"
#include "model/model.h"
#include "tensor/convert.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- configurations ---- */

static inline mz_config tiny_llama(void)
{
    return (mz_config){
        .family = MZ_FAMILY_LLAMA,
        .vocab = 37,
        .width = 12,
        .mlp_width = 20,
        .layers = 2,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 6, /* not width / heads */
        .max_position = 64,
        .rms_eps = 1e-5,
        .inner_eps = 1e-6,
        .init_std = 0.25,
        .rope = {.dims = 6, .theta = 1e4, .factor = 1.0, .original_max_position = 64},
        .scale = 0.4082482904638631,
        .moe = {.groups = 1, .groups_kept = 1, .layer_freq = 1, .factor = 1.0},
        .bos = -1,
        .eos = -1,
        .pad = -1,
    };
}

static inline mz_config tiny_tied(void)
{
    mz_config c = tiny_llama();
    c.tied = true;
    return c;
}

static inline mz_config tiny_biased(void)
{
    mz_config c = tiny_llama();
    c.qkv_bias = c.o_bias = c.mlp_bias = true;
    return c;
}

static inline mz_config tiny_qk_norm(void)
{
    mz_config c = tiny_llama();
    c.qk_norm = true;
    c.kv_heads = 1;
    return c;
}

/* MoE-16B: llama attention, softmax experts not normalised, one dense layer, shared experts. */
static inline mz_config tiny_moe(void)
{
    mz_config c = tiny_llama();
    c.kv_heads = c.heads;
    c.moe = (mz_moe_config){.experts = 6,
                            .shared = 2,
                            .top_k = 2,
                            .width = 7,
                            .groups = 1,
                            .groups_kept = 1,
                            .first_dense = 1,
                            .layer_freq = 1,
                            .factor = 1.0};
    return c;
}

static inline mz_config tiny_mla(void)
{
    mz_config c = tiny_llama();
    c.mla = true;
    c.kv_heads = c.heads = 3;
    c.nope_dim = 6;
    c.rope_dim = 4;
    c.v_dim = 5;
    c.kv_rank = 8;
    c.head_dim = 10;
    c.scale = 0.31622776601683794;
    c.rope.dims = 4;
    c.rope.interleaved = true;
    return c;
}

static inline mz_config tiny_mla_lora(void)
{
    mz_config c = tiny_mla();
    c.q_rank = 9;
    return c;
}

/* V2: softmax, group-limited by the largest, factor 16 in the real one. */
static inline mz_config tiny_v2(void)
{
    mz_config c = tiny_mla();
    c.moe = (mz_moe_config){.experts = 8,
                            .shared = 1,
                            .top_k = 2,
                            .width = 5,
                            .groups = 4,
                            .groups_kept = 2,
                            .first_dense = 1,
                            .layer_freq = 1,
                            .factor = 4.0};
    return c;
}

/* V3: sigmoid with selection bias, groups by their two largest, normalised, one MTP layer. */
static inline mz_config tiny_v3(void)
{
    mz_config c = tiny_mla_lora();
    c.moe = (mz_moe_config){.experts = 8,
                            .shared = 1,
                            .top_k = 3,
                            .width = 5,
                            .groups = 4,
                            .groups_kept = 2,
                            .first_dense = 1,
                            .layer_freq = 1,
                            .sigmoid = true,
                            .group_top2 = true,
                            .selection_bias = true,
                            .normalise = true,
                            .factor = 2.5};
    c.mtp_layers = 1;
    return c;
}

/* Experts alone (no shared one, no dense layer), two MTP layers, tied. */
static inline mz_config tiny_mtp2(void)
{
    mz_config c = tiny_moe();
    c.moe.shared = 0;
    c.moe.first_dense = 0;
    c.moe.normalise = true;
    c.layers = 1;
    c.mtp_layers = 2;
    c.tied = true;
    return c;
}

typedef struct tiny_case {
    const char *name;
    mz_config (*config)(void);
} tiny_case;

static const tiny_case TINY[] = {
    {"llama", tiny_llama},       {"tied", tiny_tied}, {"biased", tiny_biased},
    {"qk_norm", tiny_qk_norm},   {"moe", tiny_moe},   {"mla", tiny_mla},
    {"mla_lora", tiny_mla_lora}, {"v2", tiny_v2},     {"v3", tiny_v3},
    {"mtp2", tiny_mtp2},
};

/* ---- a batch: packed sequences of 5, 1 and 6 tokens ---- */

enum { TINY_T = 12, TINY_B = 3, TINY_P = 24 };

typedef struct tiny_batch {
    int32_t ids[TINY_T], pos[TINY_T], cu[TINY_B + 1], targets[TINY_T];
    float weight[TINY_T];
    mz_batch batch;
} tiny_batch;

static inline void tiny_batch_fill(tiny_batch *b, int64_t vocab)
{
    static const int32_t ends[TINY_B + 1] = {0, 5, 6, 12};
    mz_rng rng;
    mz_rng_init(&rng, 11, 0);
    memcpy(b->cu, ends, sizeof ends);
    for (int32_t t = 0; t < TINY_T; t++) {
        b->ids[t] = (int32_t)mz_rng_below(&rng, (uint64_t)vocab);
        b->weight[t] = (float)(0.02 + 0.1 * mz_rng_uniform(&rng)); /* uneven: none hides another */
    }
    for (int i = 0; i < TINY_B; i++)
        for (int32_t t = ends[i]; t < ends[i + 1]; t++) {
            b->pos[t] = t - ends[i];
            b->targets[t] =
                t + 1 < ends[i + 1] ? b->ids[t + 1] : (int32_t)mz_rng_below(&rng, (uint64_t)vocab);
        }
    b->targets[2] = b->targets[11] = -100;
    b->batch = (mz_batch){TINY_T, TINY_B, b->ids, b->pos, b->cu, b->targets, b->weight};
}

/* ---- a chip, a queue, a model ---- */

typedef struct tiny {
    mz_device *device;
    mz_queue *queue;
    mz_model *model;
    mz_config config;
    mz_model_options options;
    mz_dtype acc;
    tiny_batch b;
} tiny;

static inline mz_model_options tiny_options(mz_dtype dtype, bool train)
{
    return (mz_model_options){.dtype = dtype,
                              .tokens_max = TINY_T + 3,
                              .sequences_max = TINY_B + 1,
                              .position_max = TINY_P,
                              .head_rows = 5, /* several chunks, the last one short */
                              .train = train};
}

static inline void tiny_ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

/* Values of one tensor on disk: norms near 1, biases small, matrices normal. */
static inline void tiny_fill_one(const tiny *t, const mz_param *p, int64_t e)
{
    double values[2048];
    double as_dtype[2048];
    char name[160];
    uint64_t stream = 7;
    mz_rng rng;
    const mz_tensor view = mz_param_disk_view(p, &p->w, e);
    const int64_t n = mz_count(&view);
    assert_true(n <= MZ_COUNT(values));
    tiny_ok(mz_param_disk_name(p, e, name, sizeof name));
    for (const char *c = name; *c; c++) stream = stream * 131 + (unsigned char)*c;
    mz_rng_init(&rng, 5, stream);
    for (int64_t i = 0; i < n; i++) {
        const double x = mz_rng_normal(&rng);
        values[i] = p->kind == MZ_PARAM_NORM ? 1.0 + 0.2 * x : 0.3 * x;
        if (p->kind == MZ_PARAM_EMBED) values[i] = 0.8 * x;
        if (p->kind == MZ_PARAM_ROUTER_BIAS) values[i] = 0.05 * x;
        values[i] = (double)(float)values[i]; /* the same in f32 and in f64 */
    }
    tiny_ok(mz_convert(as_dtype, p->dtype, values, MZ_F64, n));
    tiny_ok(mz_upload(t->queue, &view, as_dtype));
    tiny_ok(mz_queue_sync(t->queue));
}

static inline void tiny_fill(const tiny *t)
{
    const mz_params *ps = mz_model_params(t->model);
    for (int64_t i = 0; i < ps->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&ps->list[i]); e++)
            tiny_fill_one(t, &ps->list[i], e);
}

static inline void tiny_open_on(tiny *t, const char *chip, const mz_config *c,
                                const mz_model_options *o)
{
    *t = (tiny){.config = *c, .options = *o, .acc = mz_dtype_acc(o->dtype)};
    tiny_ok(mz_device_open(&t->device, chip, NULL));
    tiny_ok(mz_queue_open(&t->queue, t->device));
    tiny_ok(mz_model_new(&t->model, t->queue, c, o));
    tiny_fill(t);
    tiny_batch_fill(&t->b, c->vocab);
}

static inline void tiny_open(tiny *t, const mz_config *c, const mz_model_options *o)
{
    tiny_open_on(t, "ref", c, o);
}

static inline void tiny_close(tiny *t)
{
    mz_model_free(t->model);
    mz_queue_close(t->queue);
    assert_int_equal(mz_device_bytes_used(t->device), 0);
    mz_device_close(t->device);
}

/* ---- numbers ---- */

static inline void tiny_get(const tiny *t, const mz_tensor *x, double *out)
{
    double raw[8192];
    const int64_t n = mz_count(x);
    assert_true(n <= MZ_COUNT(raw));
    tiny_ok(mz_download(t->queue, raw, x));
    tiny_ok(mz_queue_sync(t->queue));
    tiny_ok(mz_convert(out, MZ_F64, raw, x->dtype, n));
}

static inline void tiny_get_ids(const tiny *t, const mz_tensor *x, int32_t *out)
{
    tiny_ok(mz_download(t->queue, out, x));
    tiny_ok(mz_queue_sync(t->queue));
}

/* Logits of all tokens of the last call, [tokens,V]. */
static inline void tiny_logits(const tiny *t, int64_t tokens, double *out)
{
    for (int64_t first = 0; first < tokens; first += 5) {
        mz_tensor logits;
        const int64_t n = tokens - first < 5 ? tokens - first : 5;
        tiny_ok(mz_model_logits(t->model, first, n, &logits));
        tiny_get(t, &logits, out + first * t->config.vocab);
    }
}

/* Largest difference over the largest magnitude of want; NaN counts as infinitely far. */
static inline double tiny_apart(const double *got, const double *want, int64_t n)
{
    double most = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(got[i] - want[i]);
        if (!(d <= most)) most = isnan(d) ? HUGE_VAL : d;
        if (fabs(want[i]) > size) size = fabs(want[i]);
    }
    return size > 0.0 ? most / size : most;
}

static inline void tiny_within(double far, double limit, const char *what)
{
    if (!(far <= limit)) fail_msg("%s: %.3g, want at most %.3g", what, far, limit);
}

/* The registry is filled once for the whole program. */
static inline int tiny_setup(void **state)
{
    (void)state;
    return mz_chip_register(&mz_chip_ref) == MZ_OK ? 0 : -1;
}

#endif
