/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_golden.c - every network of tests/golden against what the official
 * implementation makes of it in float64: logits, loss, hidden states, routers, all gradients,
 * cached decode, greedy continuation, and the MTP layer. On the oracle in f64 only the rounding of
 * the files is left; on other chips the limits are those that docs/numerics.md promises. */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "file/safetensors.h"
#include "tests/model/tiny.h"

#include <dirent.h>

enum { PAGE = 4 };

typedef struct limits {
    double logits, loss, grads, hidden;
} limits;
static const limits EXACT = {2e-7, 2e-7, 3e-7, 3e-7};
static const limits F32 = {3e-6, 1e-6, 1e-5, 1e-5};

typedef struct golden {
    tiny t;
    char name[256];
    mz_st_file *in, *want, *weights;
    int64_t B, T, V;
    int32_t *ids, *pos, *cu, *targets, *table;
    float *weight;
    mz_batch batch;
    double *got; /* room for the largest array */
    limits limit;
} golden;

static mz_st_file *open_file(const char *folder, const char *file)
{
    char path[512];
    mz_st_file *f = NULL;
    snprintf(path, sizeof path, "tests/golden/%s/%s.safetensors", folder, file);
    tiny_ok(mz_st_open(&f, path));
    return f;
}

/* A tensor of a file as doubles; the caller frees it. */
static double *values_of(const mz_st_file *f, const char *name, int64_t *n)
{
    double *out = NULL;
    const mz_st_tensor *t = mz_st_find(f, name);
    if (!t) fail_msg("there is no %s", name);
    tiny_ok(mz_mem_new(&out, t->count, sizeof *out));
    tiny_ok(mz_convert(out, MZ_F64, t->data, t->dtype, t->count));
    *n = t->count;
    return out;
}

static void read_ids(const mz_st_file *f, const char *name, int32_t *out)
{
    const mz_st_tensor *t = mz_st_find(f, name);
    if (!t) fail_msg("there is no %s", name);
    tiny_ok(mz_convert(out, MZ_I32, t->data, t->dtype, t->count));
}

/* ---- opening ---- */

static void read_batch(golden *g)
{
    const mz_st_tensor *t = mz_st_find(g->in, "ids");
    g->B = t->dim[0];
    g->T = t->dim[1];
    const int64_t n = g->B * g->T;
    int64_t counted = 0;
    tiny_ok(mz_mem_new(&g->ids, n, sizeof *g->ids));
    tiny_ok(mz_mem_new(&g->pos, n, sizeof *g->pos));
    tiny_ok(mz_mem_new(&g->targets, n, sizeof *g->targets));
    tiny_ok(mz_mem_new(&g->weight, n, sizeof *g->weight));
    tiny_ok(mz_mem_new(&g->cu, g->B + 1, sizeof *g->cu));
    read_ids(g->in, "ids", g->ids);
    read_ids(g->in, "labels", g->targets);
    for (int64_t i = 0; i < n; i++) counted += g->targets[i] >= 0;
    for (int64_t i = 0; i < n; i++) {
        g->pos[i] = (int32_t)(i % g->T);
        g->weight[i] = g->targets[i] >= 0 ? 1.0f / (float)counted : 0.0f;
    }
    for (int64_t b = 0; b <= g->B; b++) g->cu[b] = (int32_t)(b * g->T);
    g->batch = (mz_batch){n, g->B, g->ids, g->pos, g->cu, g->targets, g->weight};
}

/* f32 weights of 1/counted would add their own rounding to what is compared, so in the exact runs
 * the sum is taken with weight 1 and divided afterwards. */
static double unit_weights(golden *g)
{
    double counted = 0.0;
    for (int64_t i = 0; i < g->batch.tokens; i++) {
        g->weight[i] = g->targets[i] >= 0 ? 1.0f : 0.0f;
        counted += g->targets[i] >= 0;
    }
    return counted;
}

static void load(const golden *g)
{
    const mz_params *ps = mz_model_params(g->t.model);
    for (int64_t i = 0; i < ps->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&ps->list[i]); e++) {
            char name[160];
            int64_t n = 0;
            void *raw = NULL;
            const mz_param *p = &ps->list[i];
            const mz_tensor view = mz_param_disk_view(p, &p->w, e);
            tiny_ok(mz_param_disk_name(p, e, name, sizeof name));
            double *x = values_of(g->weights, name, &n);
            assert_int_equal(n, mz_count(&view));
            tiny_ok(mz_mem_new(&raw, n, sizeof(double)));
            tiny_ok(mz_convert(raw, p->dtype, x, MZ_F64, n));
            tiny_ok(mz_upload(g->t.queue, &view, raw));
            tiny_ok(mz_queue_sync(g->t.queue));
            mz_mem_free(raw);
            mz_mem_free(x);
        }
}

static bool opened(golden *g, const char *name, const char *chip, mz_dtype dtype)
{
    char path[512];
    *g = (golden){.limit = dtype == MZ_F64 ? EXACT : F32};
    snprintf(g->name, sizeof g->name, "%s", name);
    snprintf(path, sizeof path, "tests/golden/%s/config.json", name);
    tiny_ok(mz_config_read(&g->t.config, path));
    g->in = open_file(name, "in");
    g->want = open_file(name, "want");
    g->weights = open_file(name, "model");
    read_batch(g);
    mz_config *c = &g->t.config;
    const bool rounded = dtype == MZ_BF16; /* compared with router ids forced, main loss only */
    if (!mz_st_find(g->want, "mtp.losses") || rounded) c->mtp_layers = 0;
    const int64_t n = g->B * g->T, each = (g->T + 24 + PAGE - 1) / PAGE;
    const mz_model_options o = {.dtype = dtype,
                                .tokens_max = n,
                                .sequences_max = g->B,
                                .position_max = g->T + 24,
                                .head_rows = 5,
                                .train = true,
                                .mtp = c->mtp_layers > 0,
                                .forced_router = rounded,
                                .cache_pages = g->B * each,
                                .page_tokens = PAGE,
                                .pages_per_sequence_max = each};
    g->t.options = o;
    g->V = c->vocab;
    tiny_ok(mz_device_open(&g->t.device, chip, NULL));
    tiny_ok(mz_queue_open(&g->t.queue, g->t.device));
    tiny_ok(mz_mem_new(&g->got, 1 << 16, sizeof *g->got));
    tiny_ok(mz_mem_new(&g->table, g->B * each, sizeof *g->table));
    for (int64_t i = 0; i < g->B * each; i++) g->table[i] = (int32_t)(g->B * each - 1 - i);
    const mz_err err = mz_model_new(&g->t.model, g->t.queue, c, &o);
    if (err == MZ_ENOTSUP) return false;
    tiny_ok(err);
    load(g);
    return true;
}

static void closed(golden *g)
{
    void *blocks[] = {g->ids, g->pos, g->cu, g->targets, g->weight, g->table, g->got};
    tiny_close(&g->t);
    mz_st_close(g->in);
    mz_st_close(g->want);
    mz_st_close(g->weights);
    for (int i = 0; i < MZ_COUNT(blocks); i++) mz_mem_free(blocks[i]);
}

/* ---- comparing ---- */

static void near_max(const golden *g, const char *name, const double *got, double limit)
{
    char what[512];
    int64_t n = 0;
    double *want = values_of(g->want, name, &n);
    snprintf(what, sizeof what, "%s: %s", g->name, name);
    tiny_within(tiny_apart(got, want, n), limit, what);
    mz_mem_free(want);
}

static void near_l2(const golden *g, const char *name, const double *got, double limit)
{
    char what[512];
    int64_t n = 0;
    double d = 0.0, size = 0.0;
    double *want = values_of(g->want, name, &n);
    for (int64_t i = 0; i < n; i++) {
        d += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    snprintf(what, sizeof what, "%s: %s", g->name, name);
    tiny_within(sqrt(d), limit * sqrt(size), what);
    mz_mem_free(want);
}

/* grads [all parameters one after the other], each against prefix + its name on disk. */
static void compare_gradients(const golden *g, const char *prefix, const double *grads)
{
    const mz_params *ps = mz_model_params(g->t.model);
    int64_t at = 0, compared = 0;
    for (int64_t i = 0; i < ps->n; i++) {
        const mz_param *p = &ps->list[i];
        if (!p->g.buf) continue;
        const int64_t each = mz_count(&p->g) / mz_param_disk_count(p);
        for (int64_t e = 0; e < mz_param_disk_count(p); e++, at += each) {
            char disk[160], name[192];
            tiny_ok(mz_param_disk_name(p, e, disk, sizeof disk));
            snprintf(name, sizeof name, "%s%s", prefix, disk);
            const bool of_mtp = !mz_st_find(g->want, name); /* the main loss has no such gradient */
            if (of_mtp && g->t.options.mtp) continue;
            near_l2(g, name, grads + at, g->limit.grads);
            compared++;
        }
    }
    assert_true(compared >= 10 && at == ps->elements);
}

static double *gradients_of(const golden *g, double scale)
{
    const mz_params *ps = mz_model_params(g->t.model);
    double *all = NULL;
    int64_t at = 0;
    tiny_ok(mz_mem_new(&all, ps->elements, sizeof *all));
    for (int64_t i = 0; i < ps->n; i++) {
        if (!ps->list[i].g.buf) continue;
        tiny_get(&g->t, &ps->list[i].g, all + at);
        at += mz_count(&ps->list[i].g);
    }
    for (int64_t i = 0; i < at; i++) all[i] *= scale;
    return all;
}

static void compare_routers(const golden *g)
{
    const int64_t n = g->batch.tokens * g->t.config.moe.top_k;
    int32_t *got = NULL, *want = NULL;
    tiny_ok(mz_mem_new(&got, n, sizeof *got));
    tiny_ok(mz_mem_new(&want, n, sizeof *want));
    for (int64_t i = 0; i < g->t.config.layers; i++) {
        char name[64];
        mz_tensor ids, weights;
        if (!mz_config_layer_is_moe(&g->t.config, i)) continue;
        tiny_ok(mz_model_router(g->t.model, i, &ids, &weights));
        tiny_get_ids(&g->t, &ids, got);
        tiny_get(&g->t, &weights, g->got);
        snprintf(name, sizeof name, "router.%lld.ids", (long long)i);
        read_ids(g->want, name, want);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        snprintf(name, sizeof name, "router.%lld.weights", (long long)i);
        near_max(g, name, g->got, g->limit.hidden);
    }
    mz_mem_free(got);
    mz_mem_free(want);
}

static void compare_forward(golden *g, double counted)
{
    mz_tensor out;
    double sum = 0.0;
    tiny_ok(mz_model_forward(g->t.model, &g->batch));
    tiny_logits(&g->t, g->batch.tokens, g->got);
    near_max(g, "logits", g->got, g->limit.logits);
    for (int64_t i = 0; i <= g->t.config.layers + 1; i++) {
        char name[32];
        if (i == g->t.config.layers)
            continue; /* transformers has the last block's after the norm */
        tiny_ok(mz_model_hidden(g->t.model, i, &out));
        tiny_get(&g->t, &out, g->got);
        snprintf(name, sizeof name, "hidden.%lld", (long long)i);
        near_max(g, name, g->got, g->limit.hidden);
    }
    compare_routers(g);
    tiny_ok(mz_model_zero_grads(g->t.model));
    tiny_ok(mz_model_loss(g->t.model, &g->batch, &(mz_loss_options){.backward = true}, &out));
    tiny_get(&g->t, &out, g->got);
    for (int64_t i = 0; i < g->batch.tokens; i++) sum += g->got[i] / counted;
    near_max(g, "loss", &sum, g->limit.loss);
    double *grads = gradients_of(g, 1.0 / counted);
    compare_gradients(g, "grad.", grads);
    mz_mem_free(grads);
}

/* The gradient of the MTP losses' sum alone: with both losses minus with the main one. */
static void compare_mtp(golden *g)
{
    mz_tensor out;
    double *grads[2];
    if (!g->t.options.mtp) return;
    for (int64_t i = 0; i < g->batch.tokens; i++) g->weight[i] = 1.0f;
    for (int with = 0; with < 2; with++) {
        const mz_loss_options o = {.backward = true, .mtp_weight = with};
        tiny_ok(mz_model_zero_grads(g->t.model));
        tiny_ok(mz_model_forward(g->t.model, &g->batch));
        tiny_ok(mz_model_loss(g->t.model, &g->batch, &o, &out));
        grads[with] = gradients_of(g, 1.0);
    }
    tiny_ok(mz_model_mtp_loss(g->t.model, 1, &out));
    tiny_get(&g->t, &out, g->got);
    for (int64_t b = 1; b < g->B; b++) /* the file has T - 1 positions a sequence */
        memmove(g->got + b * (g->T - 1), g->got + b * g->T, (size_t)(g->T - 1) * sizeof *g->got);
    near_max(g, "mtp.losses", g->got, 10.0 * g->limit.loss);
    const int64_t n = mz_model_params(g->t.model)->elements;
    for (int64_t i = 0; i < n; i++) grads[1][i] -= grads[0][i];
    compare_gradients(g, "mtp.grad.", grads[1]);
    mz_mem_free(grads[0]);
    mz_mem_free(grads[1]);
}

/* ---- decoding ---- */

static void cached_step(golden *g, const int32_t *ids, int64_t at, double *logits)
{
    int32_t pos[8], cu[9] = {0}, lens[8];
    for (int64_t b = 0; b < g->B; b++) {
        pos[b] = (int32_t)at;
        cu[b + 1] = (int32_t)b + 1;
        lens[b] = (int32_t)at + 1;
    }
    const mz_batch one = {.tokens = g->B, .sequences = g->B, .ids = ids, .pos = pos, .cu = cu};
    const mz_cached cached = {.table = g->table, .lens = lens};
    tiny_ok(mz_model_cached(g->t.model, &one, &cached));
    tiny_logits(&g->t, g->B, logits);
}

static void compare_decode(golden *g)
{
    double *all = g->got, *step = NULL;
    int32_t ids[8], want[8 * 24];
    assert_true(g->B <= 8);
    tiny_ok(mz_mem_new(&step, g->B * g->V, sizeof *step));
    for (int64_t at = 0; at < g->T + 24; at++) {
        for (int64_t b = 0; b < g->B; b++)
            if (at < g->T) ids[b] = g->ids[b * g->T + at];
        cached_step(g, ids, at, step);
        for (int64_t b = 0; b < g->B; b++) {
            const double *row = step + b * g->V;
            if (at < g->T) memcpy(all + (b * g->T + at) * g->V, row, (size_t)g->V * sizeof *row);
            int32_t best = 0;
            for (int32_t v = 1; v < g->V; v++) best = row[v] > row[best] ? v : best;
            ids[b] = best;
        }
        if (at < g->T - 1 || at == g->T + 23) continue;
        read_ids(g->want, "greedy.ids", want);
        for (int64_t b = 0; b < g->B; b++) assert_int_equal(ids[b], want[b * 24 + at - (g->T - 1)]);
    }
    near_max(g, "logits", all, g->limit.logits);
    mz_mem_free(step);
}

/* ---- bf16: at most 1.25 times the error that the official implementation's own bf16 has ---- */

static void force_routers(const golden *g)
{
    int32_t *ids = NULL;
    tiny_ok(mz_mem_new(&ids, g->batch.tokens * g->t.config.moe.top_k, sizeof *ids));
    for (int64_t i = 0; i < g->t.config.layers; i++) {
        char name[64];
        if (!mz_config_layer_is_moe(&g->t.config, i)) continue;
        snprintf(name, sizeof name, "router.%lld.ids", (long long)i);
        read_ids(g->want, name, ids);
        tiny_ok(mz_model_force_router(g->t.model, i, ids, g->batch.tokens));
    }
    mz_mem_free(ids);
}

static double official(const golden *g, const char *measure)
{
    char path[512];
    json_t *all = NULL;
    snprintf(path, sizeof path, "tests/golden/%s/errors.json", g->name);
    tiny_ok(mz_json_read(&all, path, 1 << 20));
    const json_t *x = json_object_get(json_object_get(all, "bfloat16"), measure);
    assert_true(json_is_real(x));
    const double value = json_real_value(x);
    json_decref(all);
    return value;
}

/* Sums of squares of the difference and of what is wanted. */
static void add_squares(const double *got, const double *want, int64_t n, double sum[2])
{
    for (int64_t i = 0; i < n; i++) {
        sum[0] += (got[i] - want[i]) * (got[i] - want[i]);
        sum[1] += want[i] * want[i];
    }
}

static double all_gradients_apart(const golden *g, const double *grads)
{
    const mz_params *ps = mz_model_params(g->t.model);
    double sum[2] = {0.0, 0.0};
    for (int64_t i = 0; i < ps->n; i++) {
        const mz_param *p = &ps->list[i];
        if (!p->g.buf) continue;
        for (int64_t e = 0; e < mz_param_disk_count(p); e++) {
            char name[192] = "grad.";
            int64_t n = 0;
            tiny_ok(mz_param_disk_name(p, e, name + 5, sizeof name - 5));
            double *want = values_of(g->want, name, &n);
            add_squares(grads, want, n, sum);
            grads += n;
            mz_mem_free(want);
        }
    }
    return sqrt(sum[0] / sum[1]);
}

static void compare_rounded(golden *g, double counted)
{
    mz_tensor out;
    int64_t n = 0;
    double sum[2] = {0.0, 0.0};
    force_routers(g);
    tiny_ok(mz_model_forward(g->t.model, &g->batch));
    tiny_logits(&g->t, g->batch.tokens, g->got);
    double *want = values_of(g->want, "logits", &n);
    add_squares(g->got, want, n, sum);
    mz_mem_free(want);
    tiny_ok(mz_model_zero_grads(g->t.model));
    tiny_ok(mz_model_loss(g->t.model, &g->batch, &(mz_loss_options){.backward = true}, &out));
    double *grads = gradients_of(g, 1.0 / counted);
    const double logits = sqrt(sum[0] / sum[1]) / official(g, "logits_l2");
    const double gradients = all_gradients_apart(g, grads) / official(g, "gradients_l2");
    char what[512];
    snprintf(what, sizeof what, "%s: logits, in errors of the official bf16", g->name);
    tiny_within(logits, 1.25, what);
    snprintf(what, sizeof what, "%s: gradients, in errors of the official bf16", g->name);
    tiny_within(gradients, 1.25, what);
    mz_mem_free(grads);
}

/* ---- tests ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int folders_only(const struct dirent *d)
{
    return d->d_name[0] != '.' && d->d_type == DT_DIR;
}

/* All fixtures on one chip; how many of how many it could carry. */
static int every_fixture(const char *chip, mz_dtype dtype, int *seen)
{
    struct dirent **list = NULL;
    const int n = scandir("tests/golden", &list, folders_only, by_name);
    int carried = 0;
    for (int i = 0; i < n; i++) {
        golden g;
        if (opened(&g, list[i]->d_name, chip, dtype)) {
            if (dtype == MZ_BF16) {
                compare_rounded(&g, unit_weights(&g));
            } else {
                compare_forward(&g, unit_weights(&g));
                compare_decode(&g);
                compare_mtp(&g);
            }
            carried++;
        }
        closed(&g);
        free(list[i]);
    }
    free(list);
    *seen = n;
    return carried;
}

static void the_oracle_in_f64(void **state)
{
    (void)state;
    int seen = 0;
    const int carried = every_fixture("ref", MZ_F64, &seen);
    assert_true(carried == seen && seen >= 20);
}

static void far_in_f32(void **state)
{
    (void)state;
    int seen = 0;
    const int carried = every_fixture("far:on=ref", MZ_F32, &seen);
    assert_int_equal(carried, seen);
}

static void the_oracle_in_bf16(void **state)
{
    (void)state;
    int seen = 0;
    const int carried = every_fixture("ref", MZ_BF16, &seen);
    assert_int_equal(carried, seen);
}

/* What the chip carries is compared; a chip that lacks an operator some network needs is named. */
static void on_cpu(mz_dtype dtype)
{
    int seen = 0;
    const int carried = every_fixture("cpu", dtype, &seen);
    if (carried == seen) return;
    print_message("%d of %d networks: %s\n", carried, seen, mz_err_last()->message);
    skip();
}

static void cpu_in_f32(void **state)
{
    (void)state;
    on_cpu(MZ_F32);
}

static void cpu_in_bf16(void **state)
{
    (void)state;
    on_cpu(MZ_BF16);
}

static int setup(void **state)
{
    if (tiny_setup(state) != 0) return -1;
    if (mz_chip_register(mz_far_chip()) != MZ_OK) return -1;
    return mz_chip_register(mz_cpu_chip()) == MZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_in_f64),  cmocka_unit_test(far_in_f32),
        cmocka_unit_test(the_oracle_in_bf16), cmocka_unit_test(cpu_in_f32),
        cmocka_unit_test(cpu_in_bf16),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
