/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_permute.c - tokens to their experts and home again. */
#include "tests/near.h"

enum { T = 3, D = 2, E = 3, CHOSEN = 2, ROWS = T * CHOSEN };

static const mz_desc OUT = {
    .kind = MZ_OP_PERMUTE,
    .u.permute = {.dtype = MZ_F64, .T_max = T, .D = D, .E = E, .k = CHOSEN, .backward = true}};
static const mz_desc HOME = {
    .kind = MZ_OP_UNPERMUTE,
    .u.unpermute = {.dtype = MZ_F64, .T_max = T, .D = D, .k = CHOSEN, .backward = true}};

static mz_args out_call(void)
{
    mz_args args = {
        .permute = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(ROWS, D)),
                    .offsets = mzt_new(MZ_I32, 1, MZT_DIMS(E + 1)),
                    .row_of = mzt_new(MZ_I32, 2, MZT_DIMS(T, CHOSEN)),
                    .x = mzt_values(MZ_F64, 2, MZT_DIMS(T, D), (double[]){1, 2, 3, 4, 5, 6}),
                    .ids = mzt_ints(2, MZT_DIMS(T, CHOSEN), (int[]){0, 2, 0, 2, 2, 0})}};
    args.permute.dy = mzt_like(args.permute.y);
    args.permute.dx = mzt_like(args.permute.x);
    return args;
}

static mz_args home_call(void)
{
    mz_args args = {
        .unpermute = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(T, D)),
                      .z = mzt_random(MZ_F64, 2, MZT_DIMS(ROWS, D), 1),
                      .row_of = mzt_ints(2, MZT_DIMS(T, CHOSEN), (int[]){0, 3, 1, 4, 5, 2}),
                      .weights = mzt_random(MZ_F64, 2, MZT_DIMS(T, CHOSEN), 2),
                      .base = mzt_random(MZ_F64, 2, MZT_DIMS(T, D), 3)}};
    args.unpermute.dy = mzt_like(args.unpermute.y);
    args.unpermute.dz = mzt_like(args.unpermute.z);
    args.unpermute.dweights = mzt_like(args.unpermute.weights);
    return args;
}

/* Expert 1 has no rows; within an expert rows stand by token. */
static void out_by_hand(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &OUT);
    const mz_args args = out_call();
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.permute.offsets, 0.0, (double[]){0, 3, 3, 6}));
    assert_true(mzt_is(args.permute.row_of, 0.0, (double[]){0, 3, 1, 4, 5, 2}));
    assert_true(mzt_is(args.permute.y, 0.0, (double[]){1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}));
    mz_op_free(op);
}

static void home_by_hand(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &HOME);
    mz_args args = home_call();
    args.unpermute.z =
        mzt_values(MZ_F64, 2, MZT_DIMS(ROWS, D), (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
    args.unpermute.weights =
        mzt_values(MZ_F64, 2, MZT_DIMS(T, CHOSEN), (double[]){1, 10, 1, 0, 0.5, 2});
    args.unpermute.base = NULL;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.unpermute.y, 0.0, (double[]){71, 82, 3, 4, 15.5, 18}));
    args.unpermute.base = args.unpermute.y; /* in place: twice the same */
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.unpermute.y, 0.0, (double[]){142, 164, 6, 8, 31, 36}));
    mz_op_free(op);
}

static void gradients(void **state)
{
    (void)state;
    mz_args out = out_call(), home = home_call();
    mzt_gradient(&OUT, &out);
    mzt_gradient(&HOME, &home);
}

static void offsets_of_no_token_are_written(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &OUT);
    const mz_args args = {.permute = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(0, D)),
                                      .offsets = mzt_ints(1, MZT_DIMS(E + 1), (int[]){9, 9, 9, 9}),
                                      .row_of = mzt_new(MZ_I32, 2, MZT_DIMS(0, CHOSEN)),
                                      .x = mzt_new(MZ_F64, 2, MZT_DIMS(0, D)),
                                      .ids = mzt_new(MZ_I32, 2, MZT_DIMS(0, CHOSEN))}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.permute.offsets, 0.0, (double[]){0, 0, 0, 0}));
    mz_op_free(op);
}

static void refusals(void **state)
{
    (void)state;
    mz_op *out = mzt_bind(mzt_reference(), &OUT), *home = mzt_bind(mzt_reference(), &HOME);
    mz_args out_args = out_call(), home_args = home_call();
    mzt_refusals(out, MZ_FORWARD, &out_args, "");
    mzt_refusals(out, MZ_BACKWARD, &out_args, "");
    mzt_refusals(home, MZ_FORWARD, &home_args, "");
    mzt_refusals(home, MZ_BACKWARD, &home_args, "");
    out_args.permute.ids = mzt_ints(2, MZT_DIMS(T, CHOSEN), (int[]){0, 2, 0, E, 2, 0});
    assert_int_equal(mz_forward(out, &out_args), MZ_ECHIP);
    home_args.unpermute.row_of = mzt_ints(2, MZT_DIMS(T, CHOSEN), (int[]){0, 2, 0, -1, 2, 0});
    assert_int_equal(mz_forward(home, &home_args), MZ_ECHIP);
    mz_desc bad = OUT;
    bad.u.permute.T_max = INT32_MAX, mzt_desc_refused(&bad); /* row numbers would not fit I32 */
    bad = OUT, bad.u.permute.E = 0, mzt_desc_refused(&bad);
    bad = HOME, bad.u.unpermute.k = 0, mzt_desc_refused(&bad);
    mz_op_free(out);
    mz_op_free(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_by_hand), cmocka_unit_test(home_by_hand),
        cmocka_unit_test(gradients),   cmocka_unit_test(offsets_of_no_token_are_written),
        cmocka_unit_test(refusals),
    };
    return MZT_RUN(tests);
}
