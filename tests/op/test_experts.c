/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_experts.c - grouped products: each row meets its own expert, one of which has none.
 */
#include "tests/near.h"

enum { T = 5, E = 3, N = 2, K = 4 };

static mz_desc desc_of(bool backward)
{
    return (mz_desc){
        .kind = MZ_OP_EXPERTS,
        .u.experts = {.dtype = MZ_F64, .T_max = T, .E = E, .N = N, .K = K, .backward = backward}};
}

static mz_tensor *offsets(void)
{
    return mzt_ints(1, MZT_DIMS(E + 1), (int[]){0, 2, 2, T});
}

static void value_by_hand(void **state)
{
    (void)state;
    mz_desc d = desc_of(false);
    d.u.experts.E = 2, d.u.experts.N = 1, d.u.experts.K = 2;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *y = mzt_new(MZ_F64, 2, MZT_DIMS(3, 1));
    const mz_args args = {
        .experts = {.y = y,
                    .x = mzt_values(MZ_F64, 2, MZT_DIMS(3, 2), (double[]){1, 2, 3, 4, 5, 6}),
                    .w = mzt_values(MZ_F64, 3, MZT_DIMS(2, 1, 2), (double[]){1, 1, 10, 100}),
                    .offsets = mzt_ints(1, MZT_DIMS(3), (int[]){0, 1, 3})}};
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(y, 0.0, (double[]){3, 430, 650}));
    mz_op_free(op);
}

static mz_args whole_call(void)
{
    return (mz_args){.experts = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(T, N)),
                                 .x = mzt_random(MZ_F64, 2, MZT_DIMS(T, K), 1),
                                 .w = mzt_random(MZ_F64, 3, MZT_DIMS(E, N, K), 2),
                                 .offsets = offsets()}};
}

static void gradient(void **state)
{
    (void)state;
    const mz_desc d = desc_of(true);
    mz_args args = whole_call();
    mzt_gradient(&d, &args);
}

static void refusals(void **state)
{
    (void)state;
    const mz_desc d = desc_of(true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = whole_call();
    args.experts.dy = mzt_like(args.experts.y);
    args.experts.dx = mzt_like(args.experts.x);
    args.experts.dw = mzt_like(args.experts.w);
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mzt_refusals(op, MZ_BACKWARD, &args, "");
    mz_desc bad = d;
    bad.u.experts.E = 0, mzt_desc_refused(&bad);
    bad = d, bad.u.experts.K = INT64_MAX / 2, mzt_desc_refused(&bad);
    bad = d, bad.u.experts.dtype = MZ_U8, mzt_desc_refused(&bad);
    mz_op_free(op);
}

/* Numbers on the device that point outside are the chip's to report; the oracle does. */
static void wild_offsets_are_a_fault(void **state)
{
    (void)state;
    const mz_desc d = desc_of(false);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = whole_call();
    args.experts.offsets = mzt_ints(1, MZT_DIMS(E + 1), (int[]){0, 2, 1, T});
    assert_int_equal(mz_forward(op, &args), MZ_ECHIP);
    args.experts.offsets = mzt_ints(1, MZT_DIMS(E + 1), (int[]){0, 2, 2, T + 1});
    assert_int_equal(mz_forward(op, &args), MZ_ECHIP);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_by_hand),
        cmocka_unit_test(gradient),
        cmocka_unit_test(refusals),
        cmocka_unit_test(wild_offsets_are_a_fault),
    };
    return MZT_RUN(tests);
}
