/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_swiglu.c - a value by hand, the gradient, gradients in place, refusals. */
#include "tests/near.h"

enum { T = 3, F = 5 };

static const mz_desc DESC = {.kind = MZ_OP_SWIGLU,
                             .u.swiglu = {.dtype = MZ_F64, .T_max = T, .F = F, .backward = true}};

static mz_args whole_call(void)
{
    mz_args args = {.swiglu = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(T, F)),
                               .gate = mzt_random(MZ_F64, 2, MZT_DIMS(T, F), 1),
                               .up = mzt_random(MZ_F64, 2, MZT_DIMS(T, F), 2),
                               .dy = mzt_random(MZ_F64, 2, MZT_DIMS(T, F), 3)}};
    args.swiglu.dgate = mzt_like(args.swiglu.gate);
    args.swiglu.dup = mzt_like(args.swiglu.up);
    return args;
}

/* silu(ln 3) = ln 3 * 3/4; far out it is x or 0. */
static void value_by_hand(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &DESC);
    const double ln3 = 1.0986122886681098;
    mz_args args = whole_call();
    args.swiglu.gate = mzt_values(MZ_F64, 2, MZT_DIMS(1, F), (double[]){ln3, 0, 800, -800, -ln3});
    args.swiglu.up = mzt_values(MZ_F64, 2, MZT_DIMS(1, F), (double[]){2, 5, 3, 3, 4});
    args.swiglu.y = mzt_like(args.swiglu.up);
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.swiglu.y, 1e-14, (double[]){1.5 * ln3, 0, 2400, 0, -ln3}));
    mz_op_free(op);
}

static void gradient(void **state)
{
    (void)state;
    mz_args args = whole_call();
    mz_tensor *gate = mzt_strided(MZ_F64, 2, MZT_DIMS(T, F), MZT_DIMS(2 * F, 1), 1);
    mzt_fill(gate, 4);
    args.swiglu.gate = gate;
    mzt_gradient(&DESC, &args);
}

static void gradients_in_place(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &DESC);
    mz_args args = whole_call(), over = args;
    over.swiglu.dgate = over.swiglu.gate = mzt_copy(args.swiglu.gate);
    over.swiglu.dup = over.swiglu.up = mzt_copy(args.swiglu.up);
    assert_int_equal(mz_backward(op, &args), MZ_OK);
    assert_int_equal(mz_backward(op, &over), MZ_OK);
    assert_true(mzt_same_bits(args.swiglu.dgate, over.swiglu.dgate));
    assert_true(mzt_same_bits(args.swiglu.dup, over.swiglu.dup));
    over.swiglu.dup = over.swiglu.gate; /* both gradients in one place */
    mzt_refused(op, MZ_BACKWARD, &over);
    over = args, over.swiglu.dgate = args.swiglu.up;
    mzt_refused(op, MZ_BACKWARD, &over);
    mz_op_free(op);
}

static void refusals(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &DESC);
    const mz_args args = whole_call();
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mzt_refusals(op, MZ_BACKWARD, &args, "");
    mz_desc bad = DESC;
    bad.u.swiglu.F = 0, mzt_desc_refused(&bad);
    bad = DESC, bad.u.swiglu.T_max = -1, mzt_desc_refused(&bad);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_by_hand),
        cmocka_unit_test(gradient),
        cmocka_unit_test(gradients_in_place),
        cmocka_unit_test(refusals),
    };
    return MZT_RUN(tests);
}
