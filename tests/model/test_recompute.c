/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_recompute.c - blocks that run forward twice give the bits of blocks that keep
 * what they need, count their experts' load once, and take less memory. */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "tests/model/tiny.h"

enum { LAYERS = 4 };

static void grads(const tiny *t, unsigned char **bytes, size_t *n)
{
    mz_params *p = mz_model_params(t->model);
    const int64_t all = (int64_t)p->grads_bytes;
    const mz_tensor view = mz_view(p->grads, 0, MZ_U8, 1, &all);
    tiny_ok(mz_mem_new(bytes, all, 1));
    tiny_ok(mz_download(t->queue, *bytes, &view));
    tiny_ok(mz_queue_sync(t->queue));
    *n = (size_t)all;
}

static void counts_of(const tiny *t, int32_t counts[LAYERS + 2][8])
{
    for (int64_t i = 0; i < t->config.layers; i++) {
        mz_tensor view;
        if (!mz_config_layer_is_moe(&t->config, i)) continue;
        tiny_ok(mz_model_router_counts(t->model, i, &view));
        tiny_get_ids(t, &view, counts[i]);
    }
}

/* Two batches' worth of gradients, as a step has them. */
static void run(tiny *t, double loss[TINY_T])
{
    const mz_loss_options o = {.backward = true,
                               .balance_alpha = t->config.moe.experts > 0 ? 0.01 : 0.0,
                               .mtp_weight = t->config.mtp_layers > 0 ? 0.3 : 0.0};
    mz_tensor view;
    tiny_ok(mz_model_zero_grads(t->model));
    tiny_ok(mz_model_zero_counts(t->model));
    for (int i = 0; i < 2; i++) {
        tiny_ok(mz_model_forward(t->model, &t->b.batch));
        tiny_ok(mz_model_loss(t->model, &t->b.batch, &o, &view));
        tiny_get(t, &view, loss);
    }
}

static void check(const tiny_case *which, const char *chip, mz_dtype dtype)
{
    mz_config c = which->config();
    mz_model_options o = tiny_options(dtype, true);
    tiny keeps, again;
    double a[TINY_T], b[TINY_T];
    int32_t once[LAYERS + 2][8] = {{0}}, twice[LAYERS + 2][8] = {{0}};
    unsigned char *g1 = NULL, *g2 = NULL;
    size_t n1 = 0, n2 = 0;
    c.layers = LAYERS;
    o.mtp = c.mtp_layers > 0;
    tiny_open_on(&keeps, chip, &c, &o);
    o.recompute = true;
    tiny_open_on(&again, chip, &c, &o);
    run(&keeps, a);
    run(&again, b);
    grads(&keeps, &g1, &n1);
    grads(&again, &g2, &n2);
    counts_of(&keeps, once);
    counts_of(&again, twice);
    if (memcmp(a, b, sizeof a) != 0) fail_msg("%s on %s: another loss", which->name, chip);
    if (n1 != n2 || memcmp(g1, g2, n1) != 0)
        fail_msg("%s on %s: other gradients", which->name, chip);
    if (memcmp(once, twice, sizeof once) != 0) fail_msg("%s: loads counted twice", which->name);
    const size_t full = mz_model_memory(keeps.model)->activations;
    const size_t less = mz_model_memory(again.model)->activations;
    if (less >= full) fail_msg("%s: %zu bytes of activations, %zu kept", which->name, less, full);
    mz_mem_free(g1);
    mz_mem_free(g2);
    tiny_close(&keeps);
    tiny_close(&again);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        check(&TINY[i], "ref", MZ_F64);
        check(&TINY[i], "cpu", MZ_F32);
        check(&TINY[i], "cpu", MZ_BF16);
    }
    check(&TINY[8], "far", MZ_F32);
}

/* Bytes that blocks keep are booked once, whatever their number. */
static void test_memory(void **state)
{
    (void)state;
    size_t bytes[3], kept[3];
    for (int i = 0; i < 3; i++) {
        mz_config c = tiny_v3();
        mz_model_options o = tiny_options(MZ_F32, true);
        mz_memory_plan plan;
        mz_device *device = NULL;
        mz_queue *q = NULL;
        c.layers = 2 + 3 * i;
        tiny_ok(mz_device_open(&device, "ref", NULL));
        tiny_ok(mz_queue_open(&q, device));
        tiny_ok(mz_model_plan(&plan, q, &c, &o));
        kept[i] = plan.activations;
        o.recompute = true;
        tiny_ok(mz_model_plan(&plan, q, &c, &o));
        bytes[i] = plan.activations;
        mz_queue_close(q);
        mz_device_close(device);
    }
    assert_int_equal(bytes[2] - bytes[1], bytes[1] - bytes[0]);
    if (4 * (bytes[1] - bytes[0]) >= kept[1] - kept[0])
        fail_msg("%zu bytes a block, %zu kept", bytes[1] - bytes[0], kept[1] - kept[0]);
}

static int set_up(void **state)
{
    return tiny_setup(state) == 0 && mz_chip_register(mz_cpu_chip()) == MZ_OK &&
                   mz_chip_register(mz_far_chip()) == MZ_OK
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
