/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_work.c - counted operations of a training step: where they ran, that the
 * device's counters, the operators' definitions and the network's own formula agree, and that what
 * runs on the host is seen. */
#include "chip/work.h"

#include "base/str.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/hosted/hosted.h"
#include "chips/opencl/opencl.h"
#include "tests/model/tiny_train.h"
#include "tests/near.h"

enum { ROWS = 4, SEQ = 48 };

static tiny_train w; /* large */

/* Wide enough for products to be what a step is made of. */
static mz_config qwen2(void)
{
    mz_config c = tiny_llama();
    c.vocab = 128;
    c.width = 96;
    c.mlp_width = 256;
    c.head_dim = c.rope.dims = 24;
    c.qkv_bias = true;
    c.tied = true;
    return c;
}

static mz_config deepseek_v3(void)
{
    mz_config c = tiny_v3();
    c.vocab = 128;
    c.width = 96;
    c.mlp_width = 256;
    c.heads = c.kv_heads = 4;
    c.nope_dim = 24;
    c.rope_dim = c.rope.dims = 16;
    c.head_dim = 40;
    c.v_dim = 24;
    c.kv_rank = 48;
    c.q_rank = 64;
    c.moe.width = 64;
    return c;
}

static mz_config (*const NETWORKS[])(void) = {qwen2, deepseek_v3};

/* One step; formula: what the network says of it. */
static void step(const char *spec, mz_config (*network)(void), mz_work *work, double *formula)
{
    const mz_config n = network();
    mz_train_config c = tiny_settings(ROWS, ROWS / 2, SEQ);
    mz_str rows = {0};
    if (n.mtp_layers > 0) c.mtp_weight = 0.3;
    for (int i = 0; i < ROWS; i++)
        for (int t = 0, m = SEQ - 7 * i; t < m; t++)
            tiny_ok(mz_str_addf(&rows, "%s%d%s", t ? "," : "{\"ids\":[", (i * 11 + t * 5) % 128,
                                t + 1 < m ? "" : "]}\n"));
    memset(work, 0, sizeof *work);
    tiny_train_open(&w, spec, &n, &c, rows.text, false);
    w.t.queue->work = work;
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    w.t.queue->work = NULL;
    tiny_ok(mz_queue_sync(w.t.queue)); /* the update is done and counted too */
    *formula = w.r.flop;
    mz_str_clear(&rows);
}

static void is_near(double got, double want, double limit, const char *what)
{
    if (!(fabs(got - want) <= limit * want)) fail_msg("%s: %.9g, want %.9g", what, got, want);
}

static double once(const mz_work_row *row)
{
    return row->flop - row->again;
}

/* Of products and attention, each counted once. */
static double products(const mz_work_row rows[MZ_OP_COUNT])
{
    return once(&rows[MZ_OP_MATMUL]) + once(&rows[MZ_OP_EXPERTS]) + once(&rows[MZ_OP_ATTENTION]);
}

static double share(const mz_work *x)
{
    const double device = mz_work_sum(x->device).flop;
    return device / (device + mz_work_sum(x->host).flop);
}

static void the_formula_is_what_operators_do(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(NETWORKS); i++) {
        mz_work x;
        double formula;
        step("cpu", NETWORKS[i], &x, &formula);
        tiny_train_close(&w);
        print_message("%s: %.4g by operators, of them %.4g products; the formula says %.4g\n",
                      i ? "deepseek_v3" : "qwen2", mz_work_sum(x.device).flop, products(x.device),
                      formula);
        is_near(products(x.device), formula, 0.01, "products, against the formula");
    }
}

static void the_host_is_seen(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(NETWORKS); i++) {
        mz_work all, x;
        double formula;
        step("cpu", NETWORKS[i], &all, &formula);
        tiny_train_close(&w);
        step("hosted:far:nobwd", NETWORKS[i], &x, &formula);
        tiny_train_close(&w);
        for (int k = 0; k < MZ_OP_COUNT; k++) {
            const bool hosted = k == MZ_OP_ATTENTION;
            assert_true((x.host[k].launches > 0) == hosted);
            if (hosted) assert_int_equal(x.device[k].launches, 0);
            is_near(x.device[k].flop + x.host[k].flop, all.device[k].flop, 1e-9,
                    mz_op_name((mz_op_kind)k));
        }
        assert_true(share(&x) < 0.99);
        step("hosted:far:matmul", NETWORKS[i], &x, &formula);
        tiny_train_close(&w);
        assert_true(x.device[MZ_OP_MATMUL].flop > 0.0 && x.host[MZ_OP_RMSNORM].flop > 0.0);
    }
}

static bool has_opencl(void)
{
    mz_device *device = NULL;
    if (mzt_is_sanitized()) {
        print_message("no OpenCL driver runs inside a sanitizer\n");
        return false;
    }
    const mz_err err = mz_device_open(&device, "opencl", NULL);
    if (err != MZ_OK) print_message("no OpenCL: %s\n", mz_err_last()->message);
    mz_device_close(device);
    return err == MZ_OK;
}

/* Counters that the device's launches feed: 99 % of a step at least, and its products are those of
 * the formula and, operator by operator, of the definitions. */
static void a_step_runs_on_the_device(void **state)
{
    (void)state;
    if (!has_opencl()) skip();
    for (int i = 0; i < MZ_COUNT(NETWORKS); i++) {
        mz_work x, want;
        double formula;
        mz_opencl_counts done;
        step("cpu", NETWORKS[i], &want, &formula);
        tiny_train_close(&w);
        step("opencl", NETWORKS[i], &x, &formula);
        mz_opencl_count(w.t.device, &done);
        tiny_train_close(&w);
        const mz_work_row sum = mz_work_sum(x.device);
        print_message("%s: %.4g on the device in %lld launches (%.4g of them again), %.4g on the "
                      "host; the formula says %.4g\n",
                      i ? "deepseek_v3" : "qwen2", sum.flop, (long long)sum.launches, sum.again,
                      mz_work_sum(x.host).flop, formula);
        assert_true(share(&x) >= 0.99);
        assert_true(done.kernels >= sum.launches); /* loading launches too */
        is_near(sum.flop, done.flop, 1e-6, "launched, against done");
        is_near(products(x.device), formula, 0.01, "products, against the formula");
        for (int k = 0; k < MZ_OP_COUNT; k++)
            is_near(once(&x.device[k]), want.device[k].flop, 1e-9, mz_op_name((mz_op_kind)k));
    }
}

/* The same device without one operator. */
static void a_hosted_operator_lowers_the_share(void **state)
{
    (void)state;
    static mz_chip less;
    mz_work x;
    double formula;
    if (!has_opencl()) skip();
    less = *mz_opencl_chip();
    less.name = "less";
    less.op[MZ_OP_MATMUL] = (mz_slot){.query = NULL};
    tiny_ok(mz_chip_register(&less));
    step("hosted:less", qwen2, &x, &formula);
    tiny_train_close(&w);
    assert_true(x.host[MZ_OP_MATMUL].flop > 0.0);
    assert_true(share(&x) < 0.99);
    is_near(products(x.device) + products(x.host), formula, 0.01, "products of both");
}

static int set_up(void **state)
{
    const mz_chip *const chips[] = {&mz_chip_ref, mz_cpu_chip(), mz_far_chip(), mz_hosted_chip(),
                                    mz_opencl_chip()};
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_register(chips[i]) != MZ_OK) return -1;
    return scratch_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_formula_is_what_operators_do),
        cmocka_unit_test(the_host_is_seen),
        cmocka_unit_test(a_step_runs_on_the_device),
        cmocka_unit_test(a_hosted_operator_lowers_the_share),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
