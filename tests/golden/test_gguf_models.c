/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_gguf_models.c - every golden network is written as GGUF and read back: the same
 * config, the same parameters, the same logits; and what a GGUF may not say is refused. */
#include "base/file.h"
#include "base/mem.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/ref/ref.h"
#include "infer/probe.h"
#include "port/gguf.h"
#include "port/hf.h"
#include "port/source.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATH_BYTES = 512, MODELS_LEAST = 18 };
static const char GOLDEN[] = "tests/golden";
static char base[] = "/tmp/mz_ggm_XXXXXX";

typedef struct loaded {
    mz_device *device;
    mz_queue *q;
    mz_source *source;
    mz_params params;
} loaded;

static void clear(loaded *l)
{
    mz_params_clear(&l->params);
    mz_source_close(l->source);
    mz_queue_close(l->q);
    mz_device_close(l->device);
}

static mz_err load(loaded *l, const char *chip, const char *path, mz_dtype dtype)
{
    memset(l, 0, sizeof *l);
    MZ_TRY(mz_device_open(&l->device, chip, NULL));
    MZ_TRY(mz_queue_open(&l->q, l->device));
    MZ_TRY(mz_source_open(&l->source, path));
    MZ_TRY(mz_params_list(&l->params, mz_source_config(l->source), dtype));
    MZ_TRY(mz_params_alloc(&l->params, l->device, false));
    return mz_source_load(l->source, &l->params, l->q);
}

static void loads(loaded *l, const char *chip, const char *path, mz_dtype dtype)
{
    if (load(l, chip, path, dtype) != MZ_OK) fail_msg("%s: %s", path, mz_err_last()->message);
}

static mz_err save(const loaded *l, const char *path, mz_ggml type)
{
    const mz_gguf_export o = {.type = type, .name = "golden"};
    return mz_gguf_save_params(&l->params, l->q, mz_source_config(l->source), path, &o);
}

static void saves(const loaded *l, const char *path, mz_ggml type)
{
    if (save(l, path, type) != MZ_OK) fail_msg("%s: %s", path, mz_err_last()->message);
}

/* ---- same ---- */

static double *numbers(const loaded *l, const mz_param *p, int64_t *n)
{
    unsigned char *raw = NULL;
    double *out = NULL;
    *n = mz_count(&p->w);
    assert_int_equal(mz_mem_new(&raw, *n, sizeof(double)), MZ_OK);
    assert_int_equal(mz_mem_new(&out, *n, sizeof *out), MZ_OK);
    assert_int_equal(mz_download(l->q, raw, &p->w), MZ_OK);
    assert_int_equal(mz_queue_sync(l->q), MZ_OK);
    const mz_dtype dtype = p->w.dtype;
    for (int64_t i = 0; i < *n; i++) {
        float f;
        if (dtype == MZ_F32)
            memcpy(&f, raw + 4 * i, 4), out[i] = (double)f;
        else
            memcpy(&out[i], raw + 8 * i, 8);
    }
    mz_mem_free(raw);
    return out;
}

/* Largest difference of any parameter of b from the same one of a, relative to its own largest. */
static double difference(const loaded *a, const loaded *b)
{
    double worst = 0.0;
    for (int64_t i = 0; i < b->params.n; i++) {
        const mz_param *p = mz_params_find(&a->params, b->params.list[i].name);
        int64_t n, m;
        if (!p) fail_msg("%s is new", b->params.list[i].name);
        double *x = numbers(a, p, &n), *y = numbers(b, &b->params.list[i], &m);
        double most = 0.0, far = 0.0;
        assert_int_equal(n, m);
        for (int64_t k = 0; k < n; k++) {
            if (fabs(x[k]) > most) most = fabs(x[k]);
            if (!(fabs(x[k] - y[k]) <= far)) far = fabs(x[k] - y[k]);
        }
        if (!(far / most <= worst)) worst = far / most;
        mz_mem_free(x);
        mz_mem_free(y);
    }
    return worst;
}

static void same_config(const char *name, const mz_config *a, const mz_config *b)
{
    mz_config x = *a, y = *b;
    x.mtp_layers = y.mtp_layers = 0; /* left out */
    x.init_std = y.init_std = 0.0;   /* of training, as is: */
    x.moe.aux_alpha = y.moe.aux_alpha = 0.0;
    x.bos = y.bos = x.eos = y.eos = x.pad = y.pad = -1; /* of the tokenizer, not there */
    if (memcmp(&x.rope, &y.rope, sizeof x.rope) != 0 && x.rope.scaling == MZ_ROPE_YARN && x.mla) {
        /* the factor on cosines is in the weights, and rope is interleaved */
        assert_true(y.rope.interleaved && !(fabs(mz_rope_attention_factor(&y.rope) - 1.0) > 1e-12));
        y.rope = x.rope;
    }
    json_t *one = NULL, *two = NULL;
    assert_int_equal(mz_config_to_json(&one, &x), MZ_OK);
    assert_int_equal(mz_config_to_json(&two, &y), MZ_OK);
    char *s = json_dumps(one, JSON_SORT_KEYS), *t = json_dumps(two, JSON_SORT_KEYS);
    if (strcmp(s, t) != 0) fail_msg("%s: %s\nbecame %s", name, s, t);
    assert_true(!(fabs(x.scale - y.scale) > 1e-12 * x.scale));
    free(s), free(t);
    json_decref(one);
    json_decref(two);
}

/* Largest difference of the logits, relative to the largest. */
static double logits(mz_device *device, const char *folder, const char *model)
{
    const mz_probe_options o = {.dtype = MZ_F32};
    char in[PATH_BYTES + 32], one[PATH_BYTES + 32], two[PATH_BYTES + 32];
    mz_st_file *a = NULL, *b = NULL;
    snprintf(in, sizeof in, "%s/in.safetensors", folder);
    snprintf(one, sizeof one, "%s/one.safetensors", base);
    snprintf(two, sizeof two, "%s/two.safetensors", base);
    if (mz_probe(device, folder, in, one, &o) != MZ_OK) fail_msg("%s", mz_err_last()->message);
    if (mz_probe(device, model, in, two, &o) != MZ_OK) fail_msg("%s", mz_err_last()->message);
    assert_int_equal(mz_st_open(&a, one), MZ_OK);
    assert_int_equal(mz_st_open(&b, two), MZ_OK);
    const mz_st_tensor *x = mz_st_find(a, "logits"), *y = mz_st_find(b, "logits");
    double most = 0.0, far = 0.0;
    assert_int_equal(x->count, y->count);
    for (int64_t i = 0; i < x->count; i++) {
        float u, v;
        memcpy(&u, (const char *)x->data + 4 * i, 4);
        memcpy(&v, (const char *)y->data + 4 * i, 4);
        if (fabs((double)u) > most) most = fabs((double)u);
        if (!(fabs((double)u - (double)v) <= far)) far = fabs((double)u - (double)v);
    }
    mz_st_close(a);
    mz_st_close(b);
    return far / most;
}

static bool is_moved(const mz_config *c)
{
    return c->mla && (!c->rope.interleaved || fabs(mz_rope_attention_factor(&c->rope) - 1.0) > 0.0);
}

static void round_trip(const char *name)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    loaded a, b;
    snprintf(folder, sizeof folder, "%s/%s", GOLDEN, name);
    snprintf(path, sizeof path, "%s/%s.gguf", base, name);
    loads(&a, "ref", folder, MZ_F32);
    saves(&a, path, MZ_GGML_F32);
    loads(&b, "far", path, MZ_F32); /* a chip without host memory */
    const bool moved = is_moved(mz_source_config(a.source));
    same_config(name, mz_source_config(a.source), mz_source_config(b.source));
    if (!moved && difference(&a, &b) > 0.0) fail_msg("%s: parameters differ", name);
    clear(&b);
    const double far = logits(a.device, folder, path);
    if (!(far <= (moved ? 2e-6 : 0.0))) fail_msg("%s: logits differ by %g", name, far);
    clear(&a);
}

static void no_round_trip(const char *name)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    loaded a;
    snprintf(folder, sizeof folder, "%s/%s", GOLDEN, name);
    snprintf(path, sizeof path, "%s/%s.gguf", base, name);
    loads(&a, "ref", folder, MZ_F32);
    assert_int_equal(save(&a, path, MZ_GGML_F32), MZ_ENOTSUP);
    clear(&a);
}

static void every_model_goes_round(void **state)
{
    (void)state;
    int n = 0;
    DIR *dir = opendir(GOLDEN);
    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir));) {
        char path[PATH_BYTES];
        mz_config c;
        snprintf(path, sizeof path, "%s/%s/want.safetensors", GOLDEN, d->d_name);
        if (!mz_file_exists(path)) continue;
        snprintf(path, sizeof path, "%s/%s/config.json", GOLDEN, d->d_name);
        assert_int_equal(mz_config_read(&c, path), MZ_OK);
        /* not one of the four architectures; biases that llama.cpp has in llama and qwen2 only */
        const bool may_bias = c.family == MZ_FAMILY_LLAMA || c.family == MZ_FAMILY_QWEN2;
        if (c.family == MZ_FAMILY_DEEPSEEK || (c.qkv_bias && !may_bias))
            no_round_trip(d->d_name);
        else
            round_trip(d->d_name);
        n++;
    }
    closedir(dir);
    assert_true(n >= MODELS_LEAST);
}

/* ---- where things stand in the file ---- */

static float at(const void *data, int64_t i)
{
    float f;
    memcpy(&f, (const char *)data + 4 * i, 4);
    return f;
}

static void same_number(float a, float b)
{
    if (memcmp(&a, &b, sizeof a) != 0) fail_msg("%g, want %g", (double)a, (double)b);
}

/* Both must be F32. */
static void open_both(const char *name, mz_hub **hub, mz_gguf **file)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    loaded a;
    snprintf(folder, sizeof folder, "%s/%s", GOLDEN, name);
    snprintf(path, sizeof path, "%s/%s.gguf", base, name);
    loads(&a, "ref", folder, MZ_F32);
    saves(&a, path, MZ_GGML_F32);
    clear(&a);
    assert_int_equal(mz_hub_open(hub, folder), MZ_OK);
    assert_int_equal(mz_gguf_open(file, path), MZ_OK);
}

static void rows_of_llama_are_interleaved(void **state)
{
    (void)state;
    mz_hub *hub = NULL;
    mz_gguf *file = NULL;
    open_both("llama_llama3", &hub, &file); /* 4 heads of 8 on width 32, 2 key heads */
    const mz_gguf_tensor *q = mz_gguf_find(file, "blk.0.attn_q.weight");
    const mz_gguf_tensor *k = mz_gguf_find(file, "blk.0.attn_k.weight");
    const mz_gguf_tensor *v = mz_gguf_find(file, "blk.0.attn_v.weight");
    const void *hq = mz_hub_find(hub, "model.layers.0.self_attn.q_proj.weight")->data;
    const void *hk = mz_hub_find(hub, "model.layers.0.self_attn.k_proj.weight")->data;
    const void *hv = mz_hub_find(hub, "model.layers.0.self_attn.v_proj.weight")->data;
    assert_true(q->dim[0] == 32 && k->dim[0] == 16);
    for (int64_t row = 0; row < 32; row++)
        for (int64_t i = 0; i < 32; i++) {
            const int64_t j = row % 8, from = row - j + (j % 2 == 0 ? j / 2 : j / 2 + 4);
            same_number(at(q->data, row * 32 + i), at(hq, from * 32 + i));
            if (row < 16) same_number(at(k->data, row * 32 + i), at(hk, from * 32 + i));
            if (row < 16) same_number(at(v->data, row * 32 + i), at(hv, row * 32 + i));
        }
    /* theta 20: wavelengths 6.3, 13.3, 28.1, 59.4 of an original context of 32: below 8 nothing is
     * divided, above 32 by the factor 8, between by 1 / ((1 - s) / 8 + s), s = (32/wave - 1) / 3 */
    const mz_gguf_tensor *d = mz_gguf_find(file, "rope_freqs.weight");
    const double two_pi = 6.283185307179586;
    assert_int_equal(d->count, 4);
    same_number(at(d->data, 0), 1.0f);
    same_number(at(d->data, 3), 8.0f);
    for (int64_t j = 1; j < 3; j++) {
        const double s = (32.0 / (two_pi * pow(20.0, (double)j / 4.0)) - 1.0) / 3.0;
        const double want = 1.0 / ((1.0 - s) / 8.0 + s);
        assert_true(fabs((double)at(d->data, j) / want - 1.0) < 1e-5);
    }
    mz_gguf_close(file);
    mz_hub_close(hub);
}

static void deepseek_is_split_and_stacked(void **state)
{
    (void)state;
    mz_hub *hub = NULL;
    mz_gguf *file = NULL;
    mz_config c;
    char name[96];
    open_both("deepseek_v3", &hub, &file);
    assert_int_equal(mz_config_from_json(&c, mz_hub_config(hub), "test"), MZ_OK);
    const mz_gguf_tensor *k = mz_gguf_find(file, "blk.0.attn_k_b.weight");
    const mz_gguf_tensor *v = mz_gguf_find(file, "blk.0.attn_v_b.weight");
    const void *kv = mz_hub_find(hub, "model.layers.0.self_attn.kv_b_proj.weight")->data;
    const int64_t n = c.nope_dim, m = c.v_dim, R = c.kv_rank;
    assert_true(k->rank == 3 && k->dim[0] == c.heads && k->dim[1] == R && k->dim[2] == n);
    assert_true(v->rank == 3 && v->dim[0] == c.heads && v->dim[1] == m && v->dim[2] == R);
    for (int64_t h = 0; h < c.heads; h++)
        for (int64_t r = 0; r < R; r++) {
            for (int64_t i = 0; i < n; i++)
                same_number(at(k->data, (h * R + r) * n + i), at(kv, (h * (n + m) + i) * R + r));
            for (int64_t i = 0; i < m; i++)
                same_number(at(v->data, (h * m + i) * R + r),
                            at(kv, (h * (n + m) + n + i) * R + r));
        }
    const mz_gguf_tensor *down = mz_gguf_find(file, "blk.1.ffn_down_exps.weight");
    const int64_t each = c.width * c.moe.width;
    assert_true(down->rank == 3 && down->dim[0] == c.moe.experts && down->dim[1] == c.width);
    for (int64_t e = 0; e < c.moe.experts; e++) {
        snprintf(name, sizeof name, "model.layers.1.mlp.experts.%lld.down_proj.weight",
                 (long long)e);
        assert_memory_equal((const char *)down->data + 4 * e * each, mz_hub_find(hub, name)->data,
                            (size_t)(4 * each));
    }
    mz_gguf_close(file);
    mz_hub_close(hub);
}

/* The keys that llama.cpp computes something else without, and does not say so. */
static void the_silent_keys_are_there(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        double value;
    } want[] = {{"expert_gating_func", 2},        {"expert_weights_norm", 1},
                {"expert_weights_scale", 2.5},    {"rope.scaling.yarn_log_multiplier", 0.1},
                {"rope.scaling.factor", 4},       {"rope.scaling.original_context_length", 16},
                {"attention.head_count_kv", 1},   {"attention.key_length", 20},     /* 16 + 4 */
                {"attention.value_length", 16},   {"attention.key_length_mla", 12}, /* 8 + 4 */
                {"attention.value_length_mla", 8}};
    mz_hub *hub = NULL;
    mz_gguf *file = NULL;
    char name[96];
    open_both("deepseek_v3_yarn", &hub, &file);
    for (int i = 0; i < MZ_COUNT(want); i++) {
        double x = 0.0;
        bool yes = false;
        snprintf(name, sizeof name, "deepseek2.%s", want[i].key);
        const mz_gguf_key *key = mz_gguf_key_find(file, name);
        if (!key) fail_msg("%s is missing", name);
        if (mz_gguf_bool(key, &yes))
            x = yes;
        else
            assert_true(mz_gguf_real(key, 0, &x));
        if (!(fabs(x - want[i].value) < 1e-6)) fail_msg("%s is %g", name, x);
    }
    mz_gguf_close(file);
    mz_hub_close(hub);
}

/* ---- rounding ---- */

/* How far a parameter may be from what was written, by type: half a step of its blocks. */
static void short_types_round_as_far_as_they_must(void **state)
{
    (void)state;
    static const struct {
        mz_ggml type;
        double limit;
    } types[] = {{MZ_GGML_F16, 0x1p-11},
                 {MZ_GGML_BF16, 0x1p-8},
                 {MZ_GGML_Q8_0, 1.0 / 254 + 0x1p-11},
                 {MZ_GGML_Q4_0, 1.0 / 8 + 0x1p-11}};
    static const char *const names[] = {"llama_wide", "qwen2", "deepseek_v3"};
    for (int k = 0; k < MZ_COUNT(names); k++)
        for (int i = 0; i < MZ_COUNT(types); i++) {
            char folder[PATH_BYTES], path[PATH_BYTES];
            loaded a, b;
            snprintf(folder, sizeof folder, "%s/%s", GOLDEN, names[k]);
            snprintf(path, sizeof path, "%s/short.gguf", base);
            loads(&a, "ref", folder, MZ_F32);
            saves(&a, path, types[i].type);
            loads(&b, "ref", path, MZ_F64); /* through another dtype */
            const double far = difference(&a, &b);
            if (!(far <= types[i].limit) || !(far > 0.0))
                fail_msg("%s %s: %g", names[k], mz_ggml_name(types[i].type), far);
            for (int64_t t = 0; t < mz_gguf_count(mz_source_gguf(b.source)); t++) {
                const mz_gguf_tensor *one = mz_gguf_at(mz_source_gguf(b.source), t);
                const bool small = one->rank == 1 || strstr(one->name, "ffn_gate_inp");
                const int64_t over = one->dim[one->rank - 1] % mz_ggml_block(types[i].type);
                assert_int_equal(one->type, small  ? MZ_GGML_F32
                                            : over ? MZ_GGML_F16
                                                   : types[i].type);
            }
            clear(&b);
            clear(&a);
        }
}

/* ---- what must be refused ---- */

typedef struct change {
    const char *skip;   /* a key or a tensor */
    const char *key;    /* set to ... */
    int64_t value;      /* ... as u32 */
    const char *text;   /* ... as text, if not NULL */
    const char *add;    /* one more tensor [32] */
    const char *narrow; /* give it one row less */
    const char *nan;    /* its first number becomes NaN */
} change;

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static void copy_keys(mz_gguf_writer *w, const mz_gguf *f, const change *c)
{
    for (int64_t i = 0; i < mz_gguf_key_count(f); i++) {
        const mz_gguf_key *key = mz_gguf_key_at(f, i);
        if (is(c->skip, key->name) || is(c->key, key->name)) continue;
        assert_int_equal(mz_gguf_writer_copy(w, key), MZ_OK);
    }
    if (!c->key) return;
    assert_int_equal(c->text ? mz_gguf_writer_text(w, c->key, c->text)
                             : mz_gguf_writer_u32(w, c->key, c->value),
                     MZ_OK);
}

static uint64_t bytes_of(const mz_gguf_tensor *t, const change *c)
{
    return is(c->narrow, t->name) ? t->bytes / (uint64_t)t->dim[0] * (uint64_t)(t->dim[0] - 1)
                                  : t->bytes;
}

static mz_err open_changed(const char *path, const change *c)
{
    char to[PATH_BYTES];
    const float extra[32] = {0.0f}, nan_value = NAN;
    mz_gguf *f = NULL;
    mz_gguf_writer *w = NULL;
    snprintf(to, sizeof to, "%s/changed.gguf", base);
    assert_int_equal(mz_gguf_open(&f, path), MZ_OK);
    assert_int_equal(mz_gguf_writer_new(&w, to), MZ_OK);
    copy_keys(w, f, c);
    for (int64_t i = 0; i < mz_gguf_count(f); i++) {
        const mz_gguf_tensor *t = mz_gguf_at(f, i);
        int64_t dim[4] = {t->dim[0], t->dim[1], t->dim[2], t->dim[3]};
        if (is(c->narrow, t->name)) dim[0]--;
        if (!is(c->skip, t->name))
            assert_int_equal(mz_gguf_writer_declare(w, t->name, t->type, t->rank, dim), MZ_OK);
    }
    if (c->add)
        assert_int_equal(mz_gguf_writer_declare(w, c->add, MZ_GGML_F32, 1, (int64_t[]){32}), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_OK);
    for (int64_t i = 0; i < mz_gguf_count(f); i++) {
        const mz_gguf_tensor *t = mz_gguf_at(f, i);
        const size_t skip = is(c->nan, t->name) ? 4 : 0;
        if (is(c->skip, t->name)) continue;
        assert_int_equal(mz_gguf_writer_put(w, &nan_value, skip), MZ_OK);
        assert_int_equal(
            mz_gguf_writer_put(w, (const char *)t->data + skip, (size_t)bytes_of(t, c) - skip),
            MZ_OK);
    }
    if (c->add) assert_int_equal(mz_gguf_writer_put(w, extra, sizeof extra), MZ_OK);
    assert_int_equal(mz_gguf_writer_commit(w), MZ_OK);
    mz_gguf_close(f);
    loaded l;
    mz_err_clear();
    const mz_err err = load(&l, "ref", to, MZ_F32);
    clear(&l);
    return err;
}

static void refuses(const char *name, change c, mz_err want, const char *field)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s.gguf", base, name);
    const mz_err err = open_changed(path, &c);
    const mz_err_info *info = mz_err_last();
    if (err != want || strcmp(info->field, field) != 0 || !info->file[0])
        fail_msg("%s, %s: %s in %s, field %s, byte %lld: %s", name, field, mz_err_name(err),
                 info->file, info->field, (long long)info->offset, info->message);
    if (!c.skip && info->offset < 0) fail_msg("%s, %s: no byte", name, field);
}

static void takes(const char *name, change c)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s.gguf", base, name);
    if (open_changed(path, &c) != MZ_OK) fail_msg("%s: %s", name, mz_err_last()->message);
}

static void make(const char *name)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    loaded a;
    snprintf(folder, sizeof folder, "%s/%s", GOLDEN, name);
    snprintf(path, sizeof path, "%s/%s.gguf", base, name);
    loads(&a, "ref", folder, MZ_F32);
    saves(&a, path, MZ_GGML_F32);
    clear(&a);
}

/* Every key without which a network would be another one. */
static void a_missing_key_is_named(void **state)
{
    (void)state;
    static const char *const keys[] = {"context_length",
                                       "embedding_length",
                                       "block_count",
                                       "feed_forward_length",
                                       "attention.head_count",
                                       "attention.layer_norm_rms_epsilon",
                                       "attention.kv_lora_rank",
                                       "rope.dimension_count",
                                       "expert_count",
                                       "expert_used_count",
                                       "expert_feed_forward_length",
                                       "expert_shared_count",
                                       "leading_dense_block_count",
                                       "attention.value_length_mla"};
    make("deepseek_v3_yarn");
    make("llama_linear");
    char key[96];
    for (int i = 0; i < MZ_COUNT(keys); i++) {
        snprintf(key, sizeof key, "deepseek2.%s", keys[i]);
        refuses("deepseek_v3_yarn", (change){.skip = key}, MZ_ECORRUPT, key);
    }
    refuses("deepseek_v3_yarn", (change){.skip = "general.architecture"}, MZ_ECORRUPT,
            "general.architecture");
    refuses("deepseek_v3_yarn", (change){.skip = "deepseek2.rope.scaling.factor"}, MZ_ECORRUPT,
            "deepseek2.rope.scaling.factor");
    refuses("deepseek_v3_yarn", (change){.skip = "deepseek2.rope.scaling.original_context_length"},
            MZ_ECORRUPT, "deepseek2.rope.scaling.original_context_length");
    refuses("llama_linear", (change){.skip = "llama.rope.scaling.factor"}, MZ_ECORRUPT,
            "llama.rope.scaling.factor");
    takes("llama_linear", (change){.skip = "llama.vocab_size"});
    takes("llama_linear", (change){.skip = "llama.rope.freq_base"});
}

/* G14 and what the keys may not say */
static void a_wrong_key_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t value[4]; /* -1 ends it */
    } wrong[] = {{"block_count", {0, 4097, 1000000000, -1}},
                 {"attention.head_count", {0, 1000000000, -1}},
                 {"attention.head_count_kv", {0, 3, 1000000000, -1}},
                 {"embedding_length", {0, 4294967295, -1}},
                 {"feed_forward_length", {0, 4294967295, -1}},
                 {"vocab_size", {0, 4294967295, -1}},
                 {"context_length", {0, 4294967295, -1}}},
      experts[] = {{"expert_count", {0, 1000000000, -1}},
                   {"expert_used_count", {0, 513, 1000000000, -1}},
                   {"expert_shared_count", {1000000000, -1}},
                   {"expert_group_count", {3, 1000000000, -1}},
                   {"expert_group_used_count", {0, 1000, -1}},
                   {"attention.kv_lora_rank", {0, 4294967295, -1}},
                   {"rope.dimension_count", {0, 5, -1}}};
    char key[96];
    make("llama");
    make("qwen3");
    make("deepseek_v3");
    for (int i = 0; i < MZ_COUNT(wrong); i++)
        for (int k = 0; wrong[i].value[k] >= 0; k++) {
            snprintf(key, sizeof key, "llama.%s", wrong[i].key);
            refuses("llama", (change){.key = key, .value = wrong[i].value[k]}, MZ_ECORRUPT, key);
        }
    for (int i = 0; i < MZ_COUNT(experts); i++)
        for (int k = 0; experts[i].value[k] >= 0; k++) {
            snprintf(key, sizeof key, "deepseek2.%s", experts[i].key);
            refuses("deepseek_v3", (change){.key = key, .value = experts[i].value[k]}, MZ_ECORRUPT,
                    key);
        }
    static const char *const widths[] = {
        "qwen3.attention.key_length", "qwen3.attention.value_length", "qwen3.rope.dimension_count"};
    static const int64_t no_width[] = {0, 65537, 1000000000};
    for (int i = 0; i < MZ_COUNT(widths) * MZ_COUNT(no_width); i++)
        refuses("qwen3", (change){.key = widths[i / 3], .value = no_width[i % 3]}, MZ_ECORRUPT,
                widths[i / 3]);
    refuses("llama", (change){.key = "llama.attention.head_count", .value = 5}, MZ_ECORRUPT,
            "llama.attention.head_count_kv"); /* 2 do not divide 5 */
    refuses("llama", (change){.key = "llama.block_count", .value = 513}, MZ_ECORRUPT,
            "llama.block_count");
    refuses("llama", (change){.key = "llama.block_count", .text = "2"}, MZ_ECORRUPT,
            "llama.block_count");
    refuses("llama", (change){.key = "general.architecture", .text = "gpt2"}, MZ_ENOTSUP,
            "general.architecture");
    refuses("llama", (change){.key = "llama.attention.sliding_window", .value = 128}, MZ_ENOTSUP,
            "llama.attention.sliding_window");
    takes("llama", (change){.key = "llama.attention.sliding_window", .value = 0});
    refuses("llama", (change){.key = "llama.expert_count", .value = 8}, MZ_ENOTSUP,
            "llama.expert_count"); /* Mixtral's kind */
    refuses("llama", (change){.key = "llama.expert_used_count", .value = 2}, MZ_ENOTSUP,
            "llama.expert_used_count");
    takes("llama", (change){.key = "llama.expert_count", .value = 0});
    refuses("llama", (change){.key = "llama.rope.scaling.type", .text = "longrope"}, MZ_ENOTSUP,
            "llama.rope.scaling.type");
    refuses("llama", (change){.key = "llama.rope.dimension_count", .value = 4}, MZ_ENOTSUP,
            "llama.rope.dimension_count");
    refuses("llama", (change){.key = "tokenizer.ggml.bos_token_id", .value = 97}, MZ_ECORRUPT,
            "tokenizer.ggml.bos_token_id"); /* G15 */
    refuses("llama", (change){.key = "tokenizer.ggml.tokens", .value = 1}, MZ_ECORRUPT,
            "tokenizer.ggml.tokens");
    refuses("deepseek_v3", (change){.key = "deepseek2.expert_gating_func", .value = 3}, MZ_ENOTSUP,
            "deepseek2.expert_gating_func");
    refuses("deepseek_v3", (change){.key = "deepseek2.expert_gating_func", .value = 1}, MZ_ENOTSUP,
            "deepseek2.expert_weights_norm");
}

static void a_wrong_tensor_is_named(void **state)
{
    (void)state;
    static const char table[] = "token_embd.weight", q[] = "blk.0.attn_q.weight";
    static const char down[] = "blk.0.ffn_down.weight", k_b[] = "blk.0.attn_k_b.weight";
    static const char experts[] = "blk.1.ffn_up_exps.weight", freqs[] = "rope_freqs.weight";
    make("llama");
    make("llama_llama3");
    make("deepseek_v3");
    const char *const here[] = {table, q, down, "output_norm.weight"};
    for (int i = 0; i < MZ_COUNT(here); i++) {
        refuses("llama", (change){.skip = here[i]}, MZ_ECORRUPT, here[i]);
        refuses("llama", (change){.narrow = here[i]}, MZ_ECORRUPT, here[i]);
        refuses("llama", (change){.nan = here[i]}, MZ_ECORRUPT, here[i]); /* G18 */
    }
    refuses("llama", (change){.add = "blk.0.attn_q_norm.weight"}, MZ_ECORRUPT,
            "blk.0.attn_q_norm.weight");
    refuses("llama", (change){.add = "blk.7.attn_norm.weight"}, MZ_ECORRUPT,
            "blk.7.attn_norm.weight");
    takes("deepseek_v3", (change){.add = "blk.9.nextn.enorm.weight"}); /* an MTP layer */
    refuses("deepseek_v3", (change){.skip = k_b}, MZ_ECORRUPT, k_b);
    refuses("deepseek_v3", (change){.nan = k_b}, MZ_ECORRUPT, k_b);
    refuses("deepseek_v3", (change){.narrow = experts}, MZ_ECORRUPT, experts);
    refuses("llama_llama3", (change){.nan = freqs}, MZ_ECORRUPT, freqs);
    refuses("llama_llama3", (change){.narrow = freqs}, MZ_ECORRUPT, freqs);
}

/* ---- faults, and what cannot be written ---- */

static void what_has_no_place_is_not_written(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    loaded a;
    snprintf(path, sizeof path, "%s/none.gguf", base);
    loads(&a, "ref", "tests/golden/deepseek", MZ_F32);
    assert_int_equal(save(&a, path, MZ_GGML_F32), MZ_ENOTSUP);
    clear(&a);
    loads(&a, "ref", "tests/golden/llama", MZ_F32);
    assert_int_equal(save(&a, path, MZ_GGML_Q6_K), MZ_EINVAL);
    mz_param *w = mz_params_find(&a.params, "model.layers.0.mlp.up_proj.weight");
    const float large = 1e5f; /* no half */
    mz_tensor one = mz_view(w->w.buf, w->w.offset_bytes, w->w.dtype, 1, (int64_t[]){1});
    assert_int_equal(mz_upload(a.q, &one, &large), MZ_OK);
    assert_int_equal(save(&a, path, MZ_GGML_F16), MZ_ENUMERIC);
    assert_string_equal(mz_err_last()->field, "blk.0.ffn_up.weight");
    clear(&a);
    assert_false(mz_file_exists(path));
}

static mz_err save_and_load(const char *from, const char *to)
{
    loaded l;
    mz_err err = load(&l, "ref", from, MZ_F32);
    if (err == MZ_OK) err = save(&l, to, MZ_GGML_Q8_0);
    clear(&l);
    if (err == MZ_OK) {
        err = load(&l, "ref", to, MZ_F32);
        clear(&l);
    }
    return err;
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    char to[PATH_BYTES];
    snprintf(to, sizeof to, "%s/allocation.gguf", base);
    mz_err err = MZ_EINVAL;
    for (int64_t n = 1; err != MZ_OK; n += n < 300 ? 1 : 7) {
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        err = save_and_load("tests/golden/llama_llama3", to);
        mz_mem_fail_at(0, false);
        if (err != MZ_OK && err != MZ_ENOMEM)
            fail_msg("allocation %lld: %s", (long long)n, mz_err_last()->message);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 5000);
    }
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(base)) return -1;
    return mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_cpu_chip()) != MZ_OK ||
           mz_chip_register(mz_far_chip()) != MZ_OK; /* far computes on cpu */
}

static int end(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_goes_round),
        cmocka_unit_test(rows_of_llama_are_interleaved),
        cmocka_unit_test(deepseek_is_split_and_stacked),
        cmocka_unit_test(the_silent_keys_are_there),
        cmocka_unit_test(short_types_round_as_far_as_they_must),
        cmocka_unit_test(a_missing_key_is_named),
        cmocka_unit_test(a_wrong_key_is_named),
        cmocka_unit_test(a_wrong_tensor_is_named),
        cmocka_unit_test(what_has_no_place_is_not_written),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
