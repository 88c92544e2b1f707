/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_matmul.c - products by hand in every orientation, gradients, empty sizes, stacks,
 * refusals. */
#include "tests/near.h"

enum { M = 3, N = 4, K = 5 };

static mz_desc desc_of(mz_dtype dtype, bool trans_a, bool trans_b)
{
    return (mz_desc){.kind = MZ_OP_MATMUL,
                     .u.matmul = {.dtype = dtype,
                                  .out_dtype = dtype,
                                  .M_max = M,
                                  .N_max = N,
                                  .K_max = K,
                                  .trans_a = trans_a,
                                  .trans_b = trans_b}};
}

/* The same product, 2x3 by 3x2, with its operands stored plain and transposed. */
static void values_by_hand(void **state)
{
    (void)state;
    const double a_plain[] = {1, 2, 3, 4, 5, 6}, a_turned[] = {1, 4, 2, 5, 3, 6};
    const double b_plain[] = {7, 8, 9, 10, 11, 12}, b_turned[] = {7, 9, 11, 8, 10, 12};
    for (int i = 0; i < 4; i++) {
        const bool ta = i & 1, tb = i >> 1;
        mz_desc d = desc_of(MZ_F32, ta, tb);
        d.u.matmul.bias = true;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_tensor *a =
            mzt_values(MZ_F32, 2, ta ? MZT_DIMS(3, 2) : MZT_DIMS(2, 3), ta ? a_turned : a_plain);
        mz_tensor *b =
            mzt_values(MZ_F32, 2, tb ? MZT_DIMS(2, 3) : MZT_DIMS(3, 2), tb ? b_turned : b_plain);
        mz_tensor *bias = mzt_values(MZ_F32, 1, MZT_DIMS(2), (double[]){0.5, -0.5});
        mz_tensor *c = mzt_strided(MZ_F32, 2, MZT_DIMS(2, 2), MZT_DIMS(5, 1), 3);
        const mz_args args = {.matmul = {.c = c, .a = a, .b = b, .bias = bias}};
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_true(mzt_is(c, 0.0, (double[]){58.5, 63.5, 139.5, 153.5}));
        assert_true(mzt_margins_untouched(c));
        mz_op_free(op);
    }
}

static void accumulates_on_demand(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_F32, false, false);
    d.u.matmul.accumulate = true;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *a = mzt_values(MZ_F32, 2, MZT_DIMS(1, 2), (double[]){2, 3});
    mz_tensor *b = mzt_values(MZ_F32, 2, MZT_DIMS(2, 1), (double[]){10, 100});
    mz_tensor *c = mzt_values(MZ_F32, 2, MZT_DIMS(1, 1), (double[]){7});
    assert_int_equal(mz_forward(op, &(mz_args){.matmul = {.c = c, .a = a, .b = b}}), MZ_OK);
    assert_true(mzt_is(c, 0.0, (double[]){327}));
    mz_op_free(op);
}

/* bf16 in, f32 out: the sum is rounded to f32 only. */
static void short_in_long_out(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_BF16, false, true);
    d.u.matmul.out_dtype = MZ_F32;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *a = mzt_values(MZ_BF16, 2, MZT_DIMS(1, 2), (double[]){256, 1});
    mz_tensor *c = mzt_new(MZ_F32, 2, MZT_DIMS(1, 1));
    assert_int_equal(mz_forward(op, &(mz_args){.matmul = {.c = c, .a = a, .b = a}}), MZ_OK);
    assert_true(mzt_is(c, 0.0, (double[]){65537}));
    mz_op_free(op);
}

static void gradients(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool ta = i & 1, tb = i >> 1;
        mz_desc d = desc_of(MZ_F64, ta, tb);
        d.u.matmul.bias = d.u.matmul.backward = true;
        mz_tensor *a =
            mzt_strided(MZ_F64, 2, ta ? MZT_DIMS(K, M) : MZT_DIMS(M, K), MZT_DIMS(9, 1), 1);
        mzt_fill(a, 1);
        mz_args args = {
            .matmul = {.c = mzt_new(MZ_F64, 2, MZT_DIMS(M, N)),
                       .a = a,
                       .b = mzt_random(MZ_F64, 2, tb ? MZT_DIMS(N, K) : MZT_DIMS(K, N), 2),
                       .bias = mzt_random(MZ_F64, 1, MZT_DIMS(N), 3)}};
        mzt_gradient(&d, &args);
    }
}

/* One a for the whole stack, and a b whose matrices are interleaved. */
static void stacks(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_F64, false, false);
    d.u.matmul.batch_max = 2;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *a = mzt_values(MZ_F64, 3, MZT_DIMS(1, 1, 2), (double[]){1, 10});
    mz_tensor *b = mzt_values(MZ_F64, 3, MZT_DIMS(2, 2, 1), (double[]){1, 2, 3, 4});
    mz_tensor *c = mzt_new(MZ_F64, 3, MZT_DIMS(2, 1, 1)), all = *a, turned = *b;
    all.dim[0] = 2, all.stride[0] = 0;
    turned.stride[0] = 1, turned.stride[1] = 2;
    mz_args args = {.matmul = {.c = c, .a = &all, .b = &turned}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(c, 0.0, (double[]){31, 42}));
    mz_tensor flat = *c;
    flat.stride[0] = 0; /* an output may not repeat */
    args.matmul.c = &flat;
    mzt_refused(op, MZ_FORWARD, &args);
    mz_op_free(op);
}

/* A sum of nothing is 0, and is written; what is added to stays. */
static void empty_sizes(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_F64, false, false);
    d.u.matmul.backward = true;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *c = mzt_random(MZ_F64, 2, MZT_DIMS(2, 2), 1);
    mz_args args = {.matmul = {.c = c,
                               .a = mzt_new(MZ_F64, 2, MZT_DIMS(2, 0)),
                               .b = mzt_new(MZ_F64, 2, MZT_DIMS(0, 2))}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(c, 0.0, (double[]){0, 0, 0, 0}));
    mz_tensor *da = mzt_random(MZ_F64, 2, MZT_DIMS(1, 2), 2);
    args = (mz_args){.matmul = {.a = mzt_new(MZ_F64, 2, MZT_DIMS(1, 2)),
                                .b = mzt_new(MZ_F64, 2, MZT_DIMS(2, 0)),
                                .dc = mzt_new(MZ_F64, 2, MZT_DIMS(1, 0)),
                                .da = da}};
    assert_int_equal(mz_backward(op, &args), MZ_OK);
    assert_true(mzt_is(da, 0.0, (double[]){0, 0}));
    const int64_t seq = op->queue->seq;
    args = (mz_args){.matmul = {.a = mzt_new(MZ_F64, 2, MZT_DIMS(0, 2)),
                                .b = mzt_new(MZ_F64, 2, MZT_DIMS(2, 2)),
                                .dc = mzt_new(MZ_F64, 2, MZT_DIMS(0, 2)),
                                .da = mzt_new(MZ_F64, 2, MZT_DIMS(0, 2)),
                                .db = mzt_new(MZ_F64, 2, MZT_DIMS(2, 2))}};
    assert_int_equal(mz_backward(op, &args), MZ_OK);
    assert_true(op->queue->seq == seq);
    mz_op_free(op);
}

static void refusals(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool ta = i & 1, tb = i >> 1;
        mz_desc d = desc_of(MZ_F64, ta, tb);
        d.u.matmul.bias = d.u.matmul.backward = true;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_args args = {.matmul = {.c = mzt_new(MZ_F64, 2, MZT_DIMS(M, N)),
                                   .a = mzt_new(MZ_F64, 2, ta ? MZT_DIMS(K, M) : MZT_DIMS(M, K)),
                                   .b = mzt_new(MZ_F64, 2, tb ? MZT_DIMS(N, K) : MZT_DIMS(K, N)),
                                   .bias = mzt_new(MZ_F64, 1, MZT_DIMS(N))}};
        args.matmul.dc = mzt_like(args.matmul.c);
        args.matmul.da = mzt_like(args.matmul.a);
        args.matmul.db = mzt_like(args.matmul.b);
        args.matmul.dbias = mzt_like(args.matmul.bias);
        mzt_refusals(op, MZ_FORWARD, &args, "");
        mzt_refusals(op, MZ_BACKWARD, &args, "");
        mz_args bad = args;
        bad.matmul.a = NULL, mzt_refused(op, MZ_BACKWARD, &bad); /* db needs it */
        bad = args, bad.matmul.b = NULL, mzt_refused(op, MZ_BACKWARD, &bad);
        mz_op_free(op);
    }
}

/* What was not bound is not taken in silence. */
static void unbound_extras_are_refused(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_F64, false, false);
    d.u.matmul.backward = true;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = {.matmul = {.c = mzt_new(MZ_F64, 2, MZT_DIMS(M, N)),
                               .a = mzt_new(MZ_F64, 2, MZT_DIMS(M, K)),
                               .b = mzt_new(MZ_F64, 2, MZT_DIMS(K, N)),
                               .dc = mzt_new(MZ_F64, 2, MZT_DIMS(M, N))}};
    args.matmul.bias = mzt_new(MZ_F64, 1, MZT_DIMS(N)), mzt_refused(op, MZ_FORWARD, &args);
    args.matmul.bias = NULL;
    args.matmul.dbias = mzt_new(MZ_F64, 1, MZT_DIMS(N)), mzt_refused(op, MZ_BACKWARD, &args);
    mz_op_free(op);
}

static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_BF16, false, false), bad = d;
    bad.u.matmul.out_dtype = MZ_F16, mzt_desc_refused(&bad);
    bad = d, bad.u.matmul.M_max = -1, mzt_desc_refused(&bad);
    bad = d, bad.u.matmul.M_max = bad.u.matmul.K_max = INT64_MAX / 2, mzt_desc_refused(&bad);
    bad = d, bad.u.matmul.batch_max = -1, mzt_desc_refused(&bad);
    bad = d, bad.u.matmul.batch_max = 2, bad.u.matmul.backward = true, mzt_desc_refused(&bad);
    bad = d, bad.u.matmul.accumulate = bad.u.matmul.backward = true, mzt_desc_refused(&bad);
    d.u.matmul.packed = true;
    assert_null(mzt_bind(mzt_reference(), &d)); /* well formed, but this chip packs nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(accumulates_on_demand),
        cmocka_unit_test(short_in_long_out),
        cmocka_unit_test(gradients),
        cmocka_unit_test(stacks),
        cmocka_unit_test(empty_sizes),
        cmocka_unit_test(refusals),
        cmocka_unit_test(unbound_extras_are_refused),
        cmocka_unit_test(bad_descriptions_are_refused),
    };
    return MZT_RUN(tests);
}
