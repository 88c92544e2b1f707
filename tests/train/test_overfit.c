/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_overfit.c - every family learns two lines by heart in 60 steps, on the cpu chip
 * and on far, in f32 and in bf16; a step that meets NaN changes nothing; the same start gives the
 * same bits for any number of threads. */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/hosted/hosted.h"
#include "chips/ref/ref.h"
#include "model/config.h"
#include "tests/near.h"
#include "train/step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { T = 16, B = 2, TOKENS = T * B, STEPS = 60 };

static const char *const FAMILIES[] = {"llama",       "qwen2",       "qwen3",          "deepseek",
                                       "deepseek_v2", "deepseek_v3", "deepseek_v3_mtp"};

typedef struct run {
    mz_device *device;
    mz_queue *queue;
    mz_config config;
    mz_model *model;
    mz_trainer *trainer;
    int32_t ids[TOKENS], targets[TOKENS], pos[TOKENS], cu[B + 1];
    float weight[TOKENS];
} run;

static void ok(mz_err err)
{
    if (err != MZ_OK) print_error("%s\n", mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
}

static void start(run *r, const char *chip, int threads, const char *family, mz_dtype dtype)
{
    char path[128];
    const mz_chip_options options = {.threads = threads};
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, "tests/golden/%s/config.json", family);
    ok(mz_config_read(&r->config, path));
    r->config.init_std = 0.1;
    ok(mz_device_open(&r->device, chip, &options));
    ok(mz_queue_open(&r->queue, r->device));
    const mz_model_options o = {.dtype = dtype,
                                .tokens_max = TOKENS,
                                .sequences_max = B,
                                .position_max = T,
                                .train = true,
                                .mtp = r->config.mtp_layers > 0};
    ok(mz_model_new(&r->model, r->queue, &r->config, &o));
    ok(mz_params_init(mz_model_params(r->model), NULL, r->queue, &r->config, 7));
    ok(mz_trainer_new(&r->trainer, r->queue, r->model));
    for (int i = 0; i < TOKENS; i++) {
        r->ids[i] = (int32_t)((i * 7 + i * i * 3 + 5 * (i / T)) % r->config.vocab);
        r->pos[i] = i % T;
        r->weight[i] = 1.0f / TOKENS;
    }
    for (int i = 0; i < TOKENS; i++)
        r->targets[i] = i % T + 1 < T ? r->ids[i + 1] : (int32_t)(i / T);
    for (int i = 0; i <= B; i++) r->cu[i] = i * T;
}

static void finish(run *r)
{
    mz_trainer_free(r->trainer);
    mz_model_free(r->model);
    mz_queue_close(r->queue);
    mz_device_close(r->device);
}

static mz_batch batch_of(const run *r)
{
    return (mz_batch){TOKENS, B, r->ids, r->pos, r->cu, r->targets, r->weight};
}

static double step(run *r, double lr)
{
    const mz_batch batch = batch_of(r);
    const mz_loss_options lo = {.backward = true, .balance_alpha = 1e-4, .mtp_weight = 0.0};
    const mz_optim optim = {lr, 0.9, 0.95, 1e-8, 0.0, 1.0};
    double norm;
    ok(mz_trainer_begin(r->trainer));
    ok(mz_trainer_micro(r->trainer, &batch, &lo));
    ok(mz_trainer_update(r->trainer, &optim, &norm));
    return mz_trainer_losses(r->trainer);
}

static void overfit(const char *chip, mz_dtype dtype)
{
    int bad = 0;
    for (int f = 0; f < MZ_COUNT(FAMILIES); f++) {
        run r;
        double first = 0.0, loss = 0.0;
        start(&r, chip, 2, FAMILIES[f], dtype);
        for (int i = 0; i < STEPS; i++) {
            loss = step(&r, i < 5 ? 0.01 * (i + 1) / 5 : 0.01);
            if (i == 0) first = loss;
        }
        print_message("%-8s %-4s %-16s loss %.3f -> %.4f\n", chip, mz_dtype_name(dtype),
                      FAMILIES[f], first, loss);
        bad += !(first > 3.0 && loss < 0.05);
        finish(&r);
    }
    assert_int_equal(bad, 0);
}

static void on_cpu(void **state)
{
    (void)state;
    overfit("cpu", MZ_F32);
}

static void on_cpu_in_bf16(void **state)
{
    (void)state;
    overfit("cpu", MZ_BF16);
}

static void on_far(void **state)
{
    (void)state;
    overfit("far", MZ_F32);
}

static void on_a_chip_that_only_multiplies(void **state)
{
    (void)state;
    overfit("hosted:far:matmul", MZ_F32);
}

static void fetch_weights(run *r, float *out, int64_t n)
{
    const mz_params *p = mz_model_params(r->model);
    const int64_t count = (int64_t)(p->weights_bytes / sizeof(float));
    assert_true(count <= n);
    const mz_tensor all = mz_view(p->weights, 0, MZ_F32, 1, &count);
    ok(mz_download(r->queue, out, &all));
    ok(mz_queue_sync(r->queue));
}

static void same_bits_for_any_number_of_threads(void **state)
{
    enum { MOST = 200000 };
    static float first[MOST], other[MOST];
    (void)state;
    for (int threads = 1; threads <= 8; threads = threads == 3 ? 8 : threads + 1) {
        run r;
        start(&r, "cpu", threads, "deepseek_v3", MZ_F32);
        for (int i = 0; i < 4; i++) step(&r, 0.01);
        fetch_weights(&r, threads == 1 ? first : other, MOST);
        if (threads > 1) assert_memory_equal(first, other, mz_model_params(r.model)->weights_bytes);
        finish(&r);
    }
}

static void a_step_that_meets_nan_changes_nothing(void **state)
{
    enum { MOST = 200000 };
    static float before[MOST], after[MOST];
    const float bad = NAN;
    const int64_t one = 1;
    run r;
    (void)state;
    start(&r, "cpu", 2, "llama", MZ_F32);
    const mz_batch batch = batch_of(&r);
    const mz_loss_options lo = {.backward = true};
    const mz_optim optim = {0.01, 0.9, 0.95, 1e-8, 0.1, 1.0};
    const mz_param *p = mz_params_find(mz_model_params(r.model), "model.norm.weight");
    double norm = 0.0;
    assert_non_null(p);
    const mz_tensor spot = mz_view(p->w.buf, p->w.offset_bytes, MZ_F32, 1, &one);
    ok(mz_upload(r.queue, &spot, &bad));
    fetch_weights(&r, before, MOST);
    ok(mz_trainer_begin(r.trainer));
    ok(mz_trainer_micro(r.trainer, &batch, &lo));
    assert_int_equal(mz_trainer_update(r.trainer, &optim, &norm), MZ_ENUMERIC);
    assert_int_equal(mz_trainer_step(r.trainer), 0);
    fetch_weights(&r, after, MOST);
    assert_memory_equal(before, after, mz_model_params(r.model)->weights_bytes);
    finish(&r);
}

int main(void)
{
    const mz_chip *const chips[] = {mz_cpu_chip(), &mz_chip_ref, mz_far_chip(), mz_hosted_chip()};
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_register(chips[i]) != MZ_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_cpu),
        cmocka_unit_test(on_cpu_in_bf16),
        cmocka_unit_test(on_far),
        cmocka_unit_test(on_a_chip_that_only_multiplies),
        cmocka_unit_test(same_bits_for_any_number_of_threads),
        cmocka_unit_test(a_step_that_meets_nan_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
