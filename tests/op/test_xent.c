/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_xent.c - loss by hand, dlogits against the slope of the weighted loss, tokens that
 * do not count, dlogits in place, refusals. */
#include "tests/near.h"

enum { T = 4, V = 3 };

static mz_desc desc_of(mz_dtype dtype, bool gradient)
{
    return (mz_desc){.kind = MZ_OP_XENT,
                     .u.xent = {.dtype = dtype, .T_max = T, .V = V, .gradient = gradient}};
}

static mz_args whole_call(mz_dtype dtype)
{
    const mz_dtype acc = mz_dtype_acc(dtype);
    return (mz_args){
        .xent = {.loss = mzt_new(acc, 1, MZT_DIMS(T)),
                 .dlogits = mzt_new(dtype, 2, MZT_DIMS(T, V)),
                 .logits = mzt_random(dtype, 2, MZT_DIMS(T, V), 1),
                 .targets = mzt_ints(1, MZT_DIMS(T), (int[]){2, -100, 0, 1}),
                 .weight = mzt_values(acc, 1, MZT_DIMS(T), (double[]){0.5, (double)NAN, 2, -1})}};
}

/* softmax of ln 1, ln 2, ln 5 is 1/8, 2/8, 5/8, also a thousand higher up */
static void value_by_hand(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = whole_call(MZ_F64);
    const double l[] = {0, log(2), log(5)};
    mz_tensor *logits = mzt_new(MZ_F64, 2, MZT_DIMS(T, V));
    for (int i = 0; i < T * V; i++) mz_put(logits, i, l[i % V] + (i / V == 3 ? 1000.0 : 0.0));
    args.xent.logits = logits;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.xent.loss, 1e-12, (double[]){log(1.6), 0, log(8), log(4)}));
    assert_true(mzt_is(
        args.xent.dlogits, 1e-12,
        (double[]){0.0625, 0.125, -0.1875, 0, 0, 0, -1.75, 0.5, 1.25, -0.125, 0.75, -0.625}));
    mz_op_free(op);
}

static double weighted_loss(mz_op *op, const mz_args *args)
{
    double sum = 0.0;
    assert_int_equal(mz_forward(op, args), MZ_OK);
    for (int64_t t = 0; t < T; t++)
        if (mz_at_int(args->xent.targets, t) >= 0)
            sum += mz_at(args->xent.weight, t) * mz_at(args->xent.loss, t);
    return sum;
}

static void gradient_is_the_slope(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    const mz_args args = whole_call(MZ_F64);
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    const mz_tensor *got = mzt_copy(args.xent.dlogits);
    for (int64_t i = 0; i < T * V; i++) {
        const double h = 1e-5, x = mz_at(args.xent.logits, i);
        mz_put(args.xent.logits, i, x + h);
        const double up = weighted_loss(op, &args);
        mz_put(args.xent.logits, i, x - h);
        const double down = weighted_loss(op, &args);
        mz_put(args.xent.logits, i, x);
        assert_true(mzt_near(mz_at(got, i), (up - down) / (2.0 * h), 1e-8));
    }
    mz_op_free(op);
}

static void dlogits_in_place(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_BF16, true), loss_only = desc_of(MZ_BF16, false);
    mz_op *op = mzt_bind(mzt_reference(), &d), *plain = mzt_bind(mzt_reference(), &loss_only);
    mz_args args = whole_call(MZ_BF16), over = args, without = args;
    over.xent.logits = over.xent.dlogits = mzt_copy(args.xent.logits);
    over.xent.loss = mzt_like(args.xent.loss);
    without.xent.loss = mzt_like(args.xent.loss);
    without.xent.dlogits = NULL;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_forward(op, &over), MZ_OK);
    assert_int_equal(mz_forward(plain, &without), MZ_OK);
    assert_true(mzt_same_bits(args.xent.dlogits, over.xent.dlogits));
    assert_true(mzt_same_bits(args.xent.loss, over.xent.loss));
    assert_true(mzt_same_bits(args.xent.loss, without.xent.loss));
    mzt_refused(plain, MZ_FORWARD, &args); /* dlogits, and the op was bound without */
    mz_op_free(op);
    mz_op_free(plain);
}

static void targets_outside_give_nan(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = whole_call(MZ_F64);
    args.xent.targets = mzt_ints(1, MZT_DIMS(T), (int[]){V, -1, 0, -100});
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(isnan(mz_at(args.xent.loss, 0)) && isnan(mz_at(args.xent.loss, 1)));
    assert_true(isnan(mz_at(args.xent.dlogits, 0)) && isnan(mz_at(args.xent.dlogits, V)));
    assert_true(isfinite(mz_at(args.xent.loss, 2)));
    mz_op_free(op);
}

static void refusals(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    const mz_args args = whole_call(MZ_F64);
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mz_args bad = args;
    bad.xent.weight = NULL, mzt_refused(op, MZ_FORWARD, &bad);
    mz_desc wrong = d;
    wrong.u.xent.V = 0, mzt_desc_refused(&wrong);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_by_hand),    cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(dlogits_in_place), cmocka_unit_test(targets_outside_give_nan),
        cmocka_unit_test(refusals),
    };
    return MZT_RUN(tests);
}
