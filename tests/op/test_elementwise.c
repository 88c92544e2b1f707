/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_elementwise.c - elementwise functions, casts, sums over an axis and rows by index,
 * by hand, with strides. */
#include "tests/near.h"

static mz_desc ew_desc(mz_elementwise_fn fn, int64_t n)
{
    return (mz_desc){.kind = MZ_OP_ELEMENTWISE,
                     .u.elementwise = {.dtype = MZ_F32, .fn = fn, .N_max = n}};
}

static void every_function(void **state)
{
    (void)state;
    static const double want[MZ_EW_COUNT][3] = {
        [MZ_EW_ADD] = {11, 22, 33},    [MZ_EW_MUL] = {10, 40, 90}, [MZ_EW_AXPY] = {6, 12, 18},
        [MZ_EW_SCALE] = {0.5, 1, 1.5}, [MZ_EW_COPY] = {1, 2, 3},   [MZ_EW_FILL] = {0.5, 0.5, 0.5},
    };
    for (int fn = 0; fn < MZ_EW_COUNT; fn++) {
        const mz_desc d = ew_desc((mz_elementwise_fn)fn, 3);
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_tensor *a = mzt_values(MZ_F32, 1, MZT_DIMS(3), (double[]){1, 2, 3});
        mz_tensor *b = mzt_values(MZ_F32, 1, MZT_DIMS(3), (double[]){10, 20, 30});
        mz_args args = {.elementwise = {.y = mzt_new(MZ_F32, 1, MZT_DIMS(3))}};
        if (fn != MZ_EW_FILL) args.elementwise.a = a;
        if (fn <= MZ_EW_AXPY) args.elementwise.b = b;
        args.k.elementwise.alpha = 0.5;
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_true(mzt_is(args.elementwise.y, 0.0, want[fn]));
        mzt_refusals(op, MZ_FORWARD, &args, fn == MZ_EW_FILL ? "y+" : "");
        mz_args extra = args;
        extra.elementwise.b = b; /* what the function does not read is not taken in silence */
        if (fn > MZ_EW_AXPY) mzt_refused(op, MZ_FORWARD, &extra);
        mz_op_free(op);
    }
}

/* y [2,3] column by column; a row repeated; in place. */
static void strides(void **state)
{
    (void)state;
    const mz_desc d = ew_desc(MZ_EW_ADD, 6);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *y = mzt_strided(MZ_F32, 2, MZT_DIMS(2, 3), MZT_DIMS(2, 4), 1);
    mz_tensor *row = mzt_values(MZ_F32, 1, MZT_DIMS(3), (double[]){1, 2, 3}), repeated = *row;
    repeated.rank = 2;
    repeated.dim[0] = 2, repeated.dim[1] = 3;
    repeated.stride[0] = 0, repeated.stride[1] = 1;
    for (int i = 0; i < 6; i++) mz_put(y, i, 10.0 * i);
    const mz_args args = {.elementwise = {.y = y, .a = y, .b = &repeated}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(y, 0.0, (double[]){1, 12, 23, 31, 42, 53}));
    assert_true(mzt_margins_untouched(y));
    mz_op_free(op);
}

static void casts_round_once(void **state)
{
    (void)state;
    const mz_desc d = {.kind = MZ_OP_CAST,
                       .u.cast = {.from = MZ_F64, .to = MZ_BF16, .T_max = 2, .N_max = 2}};
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *x = mzt_strided(MZ_F64, 2, MZT_DIMS(2, 2), MZT_DIMS(3, 1), 0);
    /* just above half way between two bf16, so near that f32 would fall on the half and go down */
    mz_put(x, 0, 1.0 + 0x1p-8 + 0x1p-40), mz_put(x, 1, -1e300);
    mz_put(x, 2, 1.0 + 0x1p-8), mz_put(x, 3, 0.1);
    mz_tensor *y = mzt_new(MZ_BF16, 2, MZT_DIMS(2, 2));
    const mz_args args = {.cast = {.y = y, .x = x}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_near(mz_at(y, 0), 1.0 + 0x1p-7, 0.0));
    assert_true(isinf(mz_at(y, 1)) && mz_at(y, 1) < 0.0);
    assert_true(mzt_near(mz_at(y, 2), 1.0, 0.0));
    assert_true(mzt_near(mz_at(y, 3), 0.10009765625, 0.0));
    const mz_args dense = {.cast = {.y = y, .x = mzt_new(MZ_F64, 2, MZT_DIMS(2, 2))}};
    mzt_refusals(op, MZ_FORWARD, &dense, "");
    mz_desc wrong = d;
    wrong.u.cast.to = MZ_F8_E4M3, mzt_desc_refused(&wrong);
    mz_op_free(op);
}

static void sums_over_an_axis(void **state)
{
    (void)state;
    mz_desc d = {
        .kind = MZ_OP_REDUCE,
        .u.reduce = {.dtype = MZ_F32, .out_dtype = MZ_F64, .A_max = 2, .B_max = 3, .C_max = 2}};
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        d.u.reduce.accumulate = accumulate;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_tensor *x = mzt_values(MZ_F32, 3, MZT_DIMS(2, 3, 2),
                                  (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
        mz_tensor *y = mzt_values(MZ_F64, 2, MZT_DIMS(2, 2), (double[]){100, 100, 100, 100});
        const mz_args args = {.reduce = {.y = y, .x = x}};
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_true(mzt_is(
            y, 0.0, accumulate ? (double[]){109, 112, 127, 130} : (double[]){9, 12, 27, 30}));
        mzt_refusals(op, MZ_FORWARD, &args, "x1"); /* B may be less, and nothing else shows it */
        const mz_args none = {.reduce = {.y = y, .x = mzt_new(MZ_F32, 3, MZT_DIMS(2, 0, 2))}};
        assert_int_equal(mz_forward(op, &none), MZ_OK);
        assert_true(
            mzt_is(y, 0.0, accumulate ? (double[]){109, 112, 127, 130} : (double[]){0, 0, 0, 0}));
        mz_op_free(op);
    }
}

static void rows_by_index(void **state)
{
    (void)state;
    mz_desc d = {.kind = MZ_OP_ROWS, .u.rows = {.dtype = MZ_F64, .n_max = 3, .D = 2}};
    mz_tensor *idx = mzt_ints(1, MZT_DIMS(3), (int[]){3, -1, 0});
    for (int scatter = 0; scatter < 2; scatter++) {
        d.u.rows.scatter = scatter;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_tensor *many = mzt_values(MZ_F64, 2, MZT_DIMS(4, 2), (double[]){1, 2, 3, 4, 5, 6, 7, 8});
        mz_tensor *few = mzt_values(MZ_F64, 2, MZT_DIMS(3, 2), (double[]){10, 20, 30, 40, 50, 60});
        mz_args args = {.rows = {.y = scatter ? many : few, .x = scatter ? few : many, .idx = idx}};
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_true(mzt_is(args.rows.y, 0.0,
                           scatter ? (double[]){50, 60, 3, 4, 5, 6, 10, 20}
                                   : (double[]){7, 8, 30, 40, 1, 2}));
        mzt_refusals(op, MZ_FORWARD, &args, scatter ? "y0" : "x0");
        args.rows.idx = mzt_ints(1, MZT_DIMS(3), (int[]){4, -1, 0});
        assert_int_equal(mz_forward(op, &args), MZ_ECHIP);
        mz_op_free(op);
    }
}

static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    mz_desc d = ew_desc(MZ_EW_COUNT, 3);
    mzt_desc_refused(&d);
    d = ew_desc(MZ_EW_ADD, -1), mzt_desc_refused(&d);
    d = (mz_desc){.kind = MZ_OP_ROWS, .u.rows = {.dtype = MZ_F64, .n_max = 3}},
    mzt_desc_refused(&d);
    d = (mz_desc){.kind = MZ_OP_REDUCE,
                  .u.reduce = {.dtype = MZ_F32, .out_dtype = MZ_I32, .A_max = 1}};
    mzt_desc_refused(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function),   cmocka_unit_test(strides),
        cmocka_unit_test(casts_round_once), cmocka_unit_test(sums_over_an_axis),
        cmocka_unit_test(rows_by_index),    cmocka_unit_test(bad_descriptions_are_refused),
    };
    return MZT_RUN(tests);
}
