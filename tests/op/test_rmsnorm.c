/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_rmsnorm.c - a value by hand, the gradient, dtypes, strides, every refusal. */
#include "tests/near.h"

enum { T = 3, D = 5 };

static mz_desc desc_of(mz_dtype dtype, bool backward)
{
    return (mz_desc){
        .kind = MZ_OP_RMSNORM,
        .u.rmsnorm = {.dtype = dtype, .T_max = T, .D = D, .eps = 1e-6, .backward = backward}};
}

static void value_by_hand(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_F64, false);
    d.u.rmsnorm.D = 2;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *x = mzt_values(MZ_F64, 2, MZT_DIMS(1, 2), (double[]){3, 4});
    mz_tensor *w = mzt_values(MZ_F64, 1, MZT_DIMS(2), (double[]){1, 2}), *y = mzt_like(x);
    const mz_args args = {.rmsnorm = {.y = y, .x = x, .w = w}};
    assert_int_equal(mz_forward(op, &args), MZ_OK); /* mean square 12.5, r = 0.2828427 */
    assert_true(mzt_is(y, 1e-7, (double[]){0.8485281, 2.2627417}));
    mz_op_free(op);
}

static void gradient(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, true);
    mz_tensor *x = mzt_strided(MZ_F64, 2, MZT_DIMS(T, D), MZT_DIMS(D + 3, 1), 1);
    mzt_fill(x, 1);
    mz_args args = {.rmsnorm = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(T, D)),
                                .x = x,
                                .w = mzt_random(MZ_F64, 1, MZT_DIMS(D), 2)}};
    mzt_gradient(&d, &args);
}

/* dx may be dy, and y may be x when serving: same bits as apart. */
static void in_place(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F32, true), serving = desc_of(MZ_F32, false);
    mz_op *op = mzt_bind(mzt_reference(), &d), *serve = mzt_bind(mzt_reference(), &serving);
    mz_tensor *x = mzt_random(MZ_F32, 2, MZT_DIMS(T, D), 3);
    mz_tensor *w = mzt_random(MZ_F32, 1, MZT_DIMS(D), 4), *y = mzt_like(x), *dx = mzt_like(x);
    mz_tensor *dy = mzt_random(MZ_F32, 2, MZT_DIMS(T, D), 5), *saved = mzt_saved(op);
    mz_tensor *over = mzt_copy(x);
    mz_args args = {
        .rmsnorm = {.y = y, .saved = saved, .x = x, .w = w, .dy = dy, .dx = dx, .dw = mzt_like(w)}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_backward(op, &args), MZ_OK);
    assert_int_equal(mz_forward(serve, &(mz_args){.rmsnorm = {.y = over, .x = over, .w = w}}),
                     MZ_OK);
    assert_true(mzt_same_bits(over, y));
    args.rmsnorm.dx = dy;
    assert_int_equal(mz_backward(op, &args), MZ_OK);
    assert_true(mzt_same_bits(dx, dy));
    mz_op_free(op);
    mz_op_free(serve);
}

static void refusals_write_nothing(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, true), serving = desc_of(MZ_F64, false);
    mz_op *op = mzt_bind(mzt_reference(), &d), *serve = mzt_bind(mzt_reference(), &serving);
    mz_tensor *x = mzt_random(MZ_F64, 2, MZT_DIMS(T, D), 7);
    mz_tensor *w = mzt_random(MZ_F64, 1, MZT_DIMS(D), 8), *y = mzt_like(x);
    const mz_args good = {.rmsnorm = {.y = y,
                                      .saved = mzt_saved(op),
                                      .x = x,
                                      .w = w,
                                      .dy = mzt_like(x),
                                      .dx = mzt_like(x),
                                      .dw = mzt_like(w)}};
    mz_args bad = good;
    mzt_refusals(op, MZ_FORWARD, &good, "");
    mzt_refusals(op, MZ_BACKWARD, &good, "");
    bad.rmsnorm.y = x, mzt_refused(op, MZ_FORWARD, &bad); /* backward will want x */
    bad = good, bad.rmsnorm.saved = NULL, mzt_refused(op, MZ_FORWARD, &bad);
    mzt_refused(serve, MZ_FORWARD, &good); /* saved without backward */
    mzt_refused(serve, MZ_BACKWARD, &bad);
    assert_int_equal(mz_forward(NULL, &good), MZ_EINVAL);
    assert_int_equal(mz_forward(op, NULL), MZ_EINVAL);
    mz_op_free(op);
    mz_op_free(serve);
}

/* Views that reach outside, start askew, overlap themselves or stand on no buffer. */
static void bad_views_are_refused(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, false);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *x = mzt_random(MZ_F64, 2, MZT_DIMS(T, D), 7), *y = mzt_like(x);
    mz_tensor *w = mzt_random(MZ_F64, 1, MZT_DIMS(D), 8);
    const mz_args good = {.rmsnorm = {.y = y, .x = x, .w = w}};
    mz_tensor v = *y;
    mz_args bad = good;
    bad.rmsnorm.y = &v;
    v.offset_bytes += 4, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.stride[0] = 1000, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.stride[0] = INT64_MAX / 2, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.stride[0] = -D, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.stride[0] = D - 1, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.stride[0] = 0, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.stride[1] = 2, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.buf = NULL, mzt_refused(op, MZ_FORWARD, &bad);
    v = *y, v.rank = 3, mzt_refused(op, MZ_FORWARD, &bad);
    v = *x, v.offset_bytes += sizeof(double) * 2, v.stride[0] = D,
    mzt_refused(op, MZ_FORWARD, &bad);
    mz_op_free(op);
}

static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_F64, true);
    d.u.rmsnorm.eps = (double)NAN, mzt_desc_refused(&d);
    d.u.rmsnorm.eps = 0.0, mzt_desc_refused(&d);
    d = desc_of(MZ_I32, true), mzt_desc_refused(&d);
    d = desc_of(MZ_F64, true), d.u.rmsnorm.D = 0, mzt_desc_refused(&d);
    d = desc_of(MZ_F64, true), d.u.rmsnorm.T_max = -1, mzt_desc_refused(&d);
    d = desc_of(MZ_F64, true), d.u.rmsnorm.T_max = INT64_MAX / 4, mzt_desc_refused(&d);
    d.kind = MZ_OP_COUNT, mzt_desc_refused(&d);
}

static void nothing_to_do_reaches_no_chip(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, false);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    const int64_t seq = op->queue->seq;
    mz_tensor *x = mzt_new(MZ_F64, 2, MZT_DIMS(0, D)), *y = mzt_like(x);
    mz_tensor *w = mzt_new(MZ_F64, 1, MZT_DIMS(D));
    assert_int_equal(mz_forward(op, &(mz_args){.rmsnorm = {.y = y, .x = x, .w = w}}), MZ_OK);
    assert_true(op->queue->seq == seq);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_by_hand),
        cmocka_unit_test(gradient),
        cmocka_unit_test(in_place),
        cmocka_unit_test(refusals_write_nothing),
        cmocka_unit_test(bad_views_are_refused),
        cmocka_unit_test(bad_descriptions_are_refused),
        cmocka_unit_test(nothing_to_do_reaches_no_chip),
    };
    return MZT_RUN(tests);
}
