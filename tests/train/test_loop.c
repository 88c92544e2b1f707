/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_loop.c - one step: what its loss is the mean of, that cutting it into
 * micro-batches changes nothing, which way the selection bias moves, what a skipped step leaves. */
#include "tests/model/tiny_train.h"

#include "base/str.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"

enum { ROWS = 6, SEQ = 9 };

static tiny_train w; /* large */

static mz_train_config settings(int64_t micro)
{
    return tiny_settings(ROWS, micro, SEQ);
}

/* Lengths 3 .. 10: the longest has a target that is not fed. */
static void open_on(const char *spec, mz_config (*network)(void), const mz_train_config *c)
{
    mz_str s = {0};
    for (int i = 0; i < ROWS; i++)
        for (int t = 0, n = 3 + (i * 3) % 8; t < n; t++)
            tiny_ok(mz_str_addf(&s, "%s%d%s", t ? "," : "{\"ids\":[", (i * 11 + t * 5) % 37,
                                t + 1 < n ? "" : "]}\n"));
    const mz_config n = network();
    tiny_train_open(&w, spec, &n, c, s.text, true);
    mz_str_clear(&s);
}

static void open_world(mz_config (*network)(void), const mz_train_config *c)
{
    open_on("ref", network, c);
}

static void close_world(void)
{
    tiny_train_close(&w);
}

static void get_param(const char *name, double *out)
{
    const mz_param *p = mz_params_find(mz_model_params(w.t.model), name);
    assert_non_null(p);
    tiny_get(&w.t, &p->w, out);
}

/* ---- the loss ---- */

/* Sample by sample through the model alone. */
static double mean_of_means(void)
{
    double total = 0.0;
    for (int64_t i = 0; i < ROWS; i++) {
        int32_t pos[SEQ], targets[SEQ], cu[2] = {0, 0};
        float weight[SEQ] = {0};
        double each[SEQ], sum = 0.0;
        mz_sample s;
        mz_tensor loss;
        tiny_ok(mz_data_sample(w.data, i, &s));
        const int32_t fed = (int32_t)(s.n < SEQ ? s.n : SEQ);
        for (int32_t t = 0; t < fed; t++) {
            pos[t] = t;
            targets[t] = t + 1 < s.n ? s.ids[t + 1] : -100;
        }
        cu[1] = fed;
        const mz_batch b = {fed, 1, s.ids, pos, cu, targets, weight};
        const mz_loss_options o = {.backward = false};
        tiny_ok(mz_model_forward(w.t.model, &b));
        tiny_ok(mz_model_loss(w.t.model, &b, &o, &loss));
        tiny_get(&w.t, &loss, each);
        for (int32_t t = 0; t < s.n - 1; t++) sum += each[t];
        total += sum / (double)(s.n - 1);
    }
    return total / ROWS;
}

static void is_near(double got, double want, double limit, const char *what)
{
    if (!(fabs(got - want) <= limit * (1.0 + fabs(want))))
        fail_msg("%s: %.9g, want %.9g", what, got, want);
}

static void test_micro_batches(void **state)
{
    (void)state;
    double loss = 0.0, norm = 0.0, weights[64], first[64] = {0};
    for (int64_t micro = 1; micro <= ROWS; micro++) { /* 4 and 5 leave a short one */
        mz_train_config c = settings(micro);
        open_world(tiny_llama, &c);
        const double want = mean_of_means();
        tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
        is_near(w.r.loss, want, 1e-6, "loss");
        if (micro == 1) loss = w.r.loss, norm = w.r.grad_norm;
        is_near(w.r.loss, loss, 1e-6, "loss of another micro-batch");
        is_near(w.r.grad_norm, norm, 1e-6, "gradient norm of another micro-batch");
        get_param("model.norm.weight", weights);
        if (micro == 1) memcpy(first, weights, sizeof first);
        for (int i = 0; i < 12; i++) is_near(weights[i], first[i], 1e-6, "weight after the step");
        assert_int_equal(w.r.step, 1);
        assert_int_equal(w.r.samples, ROWS);
        assert_int_equal(w.p.samples, ROWS);
        assert_int_equal(w.r.tokens, w.p.tokens);
        assert_true(w.r.flops_per_s > 0.0 && w.r.tokens_per_s > 0.0);
        close_world();
    }
}

/* More micro-batches than a model has memory for inputs on their way, on a chip that reads them
 * late and sees what changed before. */
static void test_late_reads(void **state)
{
    (void)state;
    double want[3] = {0.0};
    const mz_train_config c = settings(1);
    for (int on_far = 0; on_far < 2; on_far++) {
        open_on(on_far ? "far" : "ref", tiny_llama, &c);
        for (int i = 0; i < 3; i++) {
            tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
            if (on_far) is_near(w.r.loss, want[i], 1e-5, "loss of a step on far");
            want[i] = w.r.loss;
        }
        tiny_ok(mz_queue_sync(w.t.queue));
        close_world();
    }
}

/* ---- experts ---- */

#define BIAS "model.layers.1.mlp.gate.e_score_correction_bias"

static void test_bias(void **state)
{
    (void)state;
    mz_train_config c = settings(4);
    double before[8], after[8];
    int32_t counts[8];
    mz_tensor t;
    c.moe_bias_rate = 0.125; /* exact in f32 */
    c.mtp_weight = 0.3;
    open_world(tiny_v3, &c);
    get_param(BIAS, before);
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    get_param(BIAS, after);
    tiny_ok(mz_model_router_counts(w.t.model, 1, &t));
    tiny_get_ids(&w.t, &t, counts);
    int64_t sum = 0, moved = 0;
    for (int e = 0; e < 8; e++) sum += counts[e];
    assert_int_equal(sum, 3 * w.r.tokens); /* the whole step, both micro-batches */
    for (int e = 0; e < 8; e++) {
        const double way = 8 * counts[e] < sum ? 0.125 : 8 * counts[e] > sum ? -0.125 : 0.0;
        is_near(after[e] - before[e], way, 1e-6, "bias");
        moved += fabs(way) > 0.0;
    }
    assert_true(moved > 4);
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r)); /* counts begin anew */
    tiny_get_ids(&w.t, &t, counts);
    sum = 0;
    for (int e = 0; e < 8; e++) sum += counts[e];
    assert_int_equal(sum, 3 * (w.r.tokens / 2));
    close_world();
}

/* A router that does not learn and likes some experts: the bias alone evens the loads. */
static void test_balance(void **state)
{
    (void)state;
    mz_train_config c = settings(ROWS);
    c.lr = 0.0;
    c.moe_bias_rate = 0.01;
    open_world(tiny_v3, &c);
    double first = 0.0, last = 0.0;
    int32_t counts[8];
    mz_tensor t;
    const mz_param *bias = mz_params_find(mz_model_params(w.t.model), BIAS);
    const float skewed[8] = {1.0f, 0.0f, 0.7f, 0.0f, 0.0f, 0.4f, 0.0f, 0.0f};
    tiny_ok(mz_upload(w.t.queue, &bias->w, skewed));
    for (int i = 0; i < 160; i++) {
        tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
        tiny_ok(mz_model_router_counts(w.t.model, 1, &t));
        tiny_get_ids(&w.t, &t, counts);
        double most = 0.0, sum = 0.0;
        for (int e = 0; e < 8; e++) most = fmax(most, counts[e]), sum += counts[e];
        if (i == 0) first = 8.0 * most / sum;
        if (i >= 140) last += 8.0 * most / sum / 20.0;
    }
    if (!(first > 2.5 && last < 1.3))
        fail_msg("max/mean load %.2f at first, %.2f at last", first, last);
    close_world();
}

/* MTP layers with mtp.weight 0 are carried along as they are, weight decay or not. */
static void test_frozen(void **state)
{
    (void)state;
    mz_train_config c = settings(3);
    double before[64], after[64], norm[64], norm_after[64];
    const char *mtp = "model.layers.2.enorm.weight", *proj = "model.layers.2.eh_proj.weight";
    double matrix[512], matrix_after[512];
    open_world(tiny_v3, &c);
    get_param(mtp, before);
    get_param(proj, matrix);
    get_param("model.norm.weight", norm);
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    get_param(mtp, after);
    get_param(proj, matrix_after);
    get_param("model.norm.weight", norm_after);
    for (int i = 0; i < 12; i++) assert_memory_equal(&before[i], &after[i], sizeof *after);
    for (int i = 0; i < 12 * 24; i++)
        assert_memory_equal(&matrix[i], &matrix_after[i], sizeof *matrix);
    assert_true(fabs(norm[0] - norm_after[0]) > 0.0);
    close_world();
    c.mtp_weight = 0.3;
    open_world(tiny_v3, &c);
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    get_param(proj, matrix_after);
    assert_true(fabs(matrix[0] - matrix_after[0]) > 0.0);
    close_world();
}

/* ---- the guard ---- */

static void spoil(float value)
{
    const mz_param *p = mz_params_find(mz_model_params(w.t.model), "model.norm.weight");
    const mz_tensor one = mz_slice(&p->w, 0, 0, 1);
    tiny_ok(mz_upload(w.t.queue, &one, &value));
    tiny_ok(mz_queue_sync(w.t.queue));
}

static void test_skips(void **state)
{
    (void)state;
    mz_train_config c = settings(3);
    double before[64], after[64];
    c.guard_sigma = 6.0;
    open_world(tiny_llama, &c);
    for (int i = 0; i < 3; i++) tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    assert_null(w.r.why_skipped);
    get_param("model.norm.weight", before);
    spoil(NAN);
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    assert_non_null(w.r.why_skipped);
    assert_true(isnan(w.r.loss));
    spoil(1e4f); /* finite and far out */
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    assert_non_null(w.r.why_skipped);
    assert_int_equal(w.r.skipped, 2);
    assert_int_equal(w.p.spikes.in_a_row, 2);
    assert_int_equal(w.p.samples, 5 * ROWS); /* their samples are spent */
    spoil((float)before[0]);
    get_param("model.norm.weight", after);
    assert_memory_equal(before, after, 12 * sizeof *before); /* and nothing was moved */
    assert_int_equal(mz_trainer_step(w.trainer), 3);
    tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
    assert_null(w.r.why_skipped);
    assert_int_equal(w.p.spikes.in_a_row, 0);
    assert_int_equal(mz_trainer_step(w.trainer), 4);
    close_world();
}

static void refuse(mz_config (*network)(void), const mz_train_config *c, const char *says)
{
    mz_train_config plain = settings(1);
    mz_loop *loop = NULL;
    open_world(network, &plain);
    assert_int_equal(mz_loop_new(&loop, c, w.t.queue, w.t.model, w.trainer, w.data), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->message, says));
    assert_null(loop);
    close_world();
}

static void test_refusals(void **state)
{
    (void)state;
    mz_train_config c = settings(1);
    c.moe_bias_rate = 0.1;
    refuse(tiny_llama, &c, "no selection bias");
    refuse(tiny_v2, &c, "no selection bias");
    c = settings(1);
    c.moe_balance = 0.1;
    refuse(tiny_llama, &c, "no experts");
    c = settings(1);
    c.mtp_weight = 0.1;
    refuse(tiny_moe, &c, "no MTP layers");
}

static int set_up(void **state)
{
    if (tiny_setup(state) != 0 || mz_chip_register(mz_cpu_chip()) != MZ_OK ||
        mz_chip_register(mz_far_chip()) != MZ_OK)
        return -1;
    return scratch_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_micro_batches), cmocka_unit_test(test_late_reads),
        cmocka_unit_test(test_bias),          cmocka_unit_test(test_balance),
        cmocka_unit_test(test_frozen),        cmocka_unit_test(test_skips),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
