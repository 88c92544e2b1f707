/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_optim.c - AdamW by hand over two steps, sums of squares, counts of what is not
 * finite, refusals. */
#include "tests/near.h"

enum { N = 2 };

static const mz_desc ADAMW = {.kind = MZ_OP_ADAMW,
                              .u.adamw = {.acc = MZ_F64, .copy_dtype = MZ_BF16, .N_max = N}};

static mz_args adamw_call(void)
{
    mz_args args = {.adamw = {.p = mzt_values(MZ_F64, 1, MZT_DIMS(N), (double[]){1, -2}),
                              .m = mzt_new(MZ_F64, 1, MZT_DIMS(N)),
                              .v = mzt_new(MZ_F64, 1, MZT_DIMS(N)),
                              .g = mzt_values(MZ_F64, 1, MZT_DIMS(N), (double[]){4, 0}),
                              .copy = mzt_new(MZ_BF16, 1, MZT_DIMS(N))}};
    args.k.adamw.lr = 0.1, args.k.adamw.beta1 = 0.5, args.k.adamw.beta2 = 0.75;
    args.k.adamw.eps = 1.0, args.k.adamw.weight_decay = 0.5, args.k.adamw.grad_scale = 0.5;
    args.k.adamw.step = 1;
    return args;
}

/* Step 1, g' = 2: m = 1, v = 1, corrected 2 and 4: p = 0.95 - 0.1 * 2 / (2 + 1).
 * Step 2, g' = -1: m = 0, v = 1, corrected 0: only the decay is left. */
static void adamw_by_hand(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &ADAMW);
    mz_args args = adamw_call();
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    const double first = 0.95 - 0.2 / 3.0;
    assert_true(mzt_is(args.adamw.p, 1e-15, (double[]){first, -1.9}));
    assert_true(mzt_is(args.adamw.m, 1e-15, (double[]){1, 0}));
    assert_true(mzt_is(args.adamw.v, 1e-15, (double[]){1, 0}));
    assert_true(mzt_is(args.adamw.copy, 0.0, (double[]){0.8828125, -1.8984375}));
    mz_put(args.adamw.g, 0, -2.0);
    args.k.adamw.step = 2;
    args.adamw.copy = NULL;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.adamw.m, 1e-15, (double[]){0, 0}));
    assert_true(mzt_is(args.adamw.v, 1e-15, (double[]){1, 0}));
    assert_true(mzt_is(args.adamw.p, 1e-15, (double[]){first * 0.95, -1.9 * 0.95}));
    mz_op_free(op);
}

/* The copy is the stored weight rounded, not the double before it was stored. */
static void copy_rounds_the_master(void **state)
{
    (void)state;
    mz_desc d = ADAMW;
    d.u.adamw.acc = MZ_F32;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = adamw_call();
    mz_tensor *p = mzt_new(MZ_F32, 1, MZT_DIMS(1));
    args.adamw.p = p, args.adamw.m = mzt_like(p), args.adamw.v = mzt_like(p);
    args.adamw.g = mzt_like(p), args.adamw.copy = mzt_new(MZ_BF16, 1, MZT_DIMS(1));
    /* The double is 1 + 2^-8 + 2^-26, above half way between two bf16; the master stored as f32 is
     * half way, and goes to the even one. */
    const double before = 1.0 + 0x1p-8 + 0x1p-23;
    args.k.adamw.lr = 1.0, args.k.adamw.weight_decay = (0x1p-23 - 0x1p-26) / before;
    mz_put(p, 0, before);
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_near(mz_at(p, 0), 1.0 + 0x1p-8, 0.0));
    assert_true(mzt_near(mz_at(args.adamw.copy, 0), 1.0, 0.0));
    mz_op_free(op);
}

static void adamw_refusals(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &ADAMW);
    const mz_args args = adamw_call();
    mz_args bad = args;
    mzt_refusals(op, MZ_FORWARD, &args, "");
    bad.k.adamw.step = 0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.adamw.lr = (double)NAN, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.adamw.beta1 = 1.0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.adamw.beta2 = -0.1, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.adamw.eps = 0.0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.adamw.weight_decay = -1.0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.adamw.grad_scale = (double)INFINITY, mzt_refused(op, MZ_FORWARD, &bad);
    mz_desc wrong = ADAMW;
    wrong.u.adamw.acc = MZ_BF16, mzt_desc_refused(&wrong);
    wrong = ADAMW, wrong.u.adamw.N_max = -1, mzt_desc_refused(&wrong);
    mz_op_free(op);
}

static void sums_of_squares(void **state)
{
    (void)state;
    const mz_desc d = {.kind = MZ_OP_SUMSQ, .u.sumsq = {.dtype = MZ_F16, .N_max = 3}};
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *out = mzt_values(MZ_F32, 1, MZT_DIMS(1), (double[]){100});
    mz_tensor *x = mzt_values(MZ_F16, 1, MZT_DIMS(3), (double[]){1, -2, 300});
    const mz_args args = {.sumsq = {.out = out, .x = x}};
    assert_int_equal(mz_forward(op, &args), MZ_OK); /* 300^2 would not fit f16 */
    assert_true(mzt_is(out, 0.0, (double[]){90105}));
    mzt_refusals(op, MZ_FORWARD, &args, "");
    assert_int_equal(
        mz_forward(op, &(mz_args){.sumsq = {.out = out, .x = mzt_new(MZ_F16, 1, MZT_DIMS(0))}}),
        MZ_OK);
    assert_true(mzt_is(out, 0.0, (double[]){90105}));
    mz_op_free(op);
}

static void finite_counts_the_rest(void **state)
{
    (void)state;
    const mz_desc d = {.kind = MZ_OP_FINITE, .u.finite = {.dtype = MZ_BF16, .N_max = 4}};
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *out = mzt_ints(1, MZT_DIMS(1), (int[]){7});
    mz_tensor *x =
        mzt_values(MZ_BF16, 1, MZT_DIMS(4), (double[]){1, (double)NAN, -(double)INFINITY, 3e38});
    const mz_args args = {.finite = {.out = out, .x = x}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_at_int(out, 0), 9);
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mz_desc wrong = d;
    wrong.u.finite.N_max = (int64_t)INT32_MAX + 1, mzt_desc_refused(&wrong);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_by_hand),          cmocka_unit_test(copy_rounds_the_master),
        cmocka_unit_test(adamw_refusals),         cmocka_unit_test(sums_of_squares),
        cmocka_unit_test(finite_counts_the_rest),
    };
    return MZT_RUN(tests);
}
