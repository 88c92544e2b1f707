/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_rope.c - a quarter turn by hand in both pairings, the gradient, refusals. */
#include "tests/near.h"

enum { T = 3, H = 2, K = 4, P = 6 };

static mz_desc desc_of(bool interleaved, bool backward)
{
    return (mz_desc){.kind = MZ_OP_ROPE,
                     .u.rope = {.dtype = MZ_F64,
                                .T_max = T,
                                .H = H,
                                .K = K,
                                .interleaved = interleaved,
                                .backward = backward}};
}

/* Position 1 turns the first pair by 90 degrees and the second by 180. */
static void values_by_hand(void **state)
{
    (void)state;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        mz_desc d = desc_of(interleaved, false);
        d.u.rope.H = 1;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_tensor *x = mzt_values(MZ_F64, 3, MZT_DIMS(2, 1, 4), (double[]){1, 2, 3, 4, 1, 2, 3, 4});
        const mz_args args = {
            .rope = {.y = x, /* in place */
                     .x = x,
                     .cos = mzt_values(MZ_F32, 2, MZT_DIMS(2, 2), (double[]){1, 1, 0, -1}),
                     .sin = mzt_values(MZ_F32, 2, MZT_DIMS(2, 2), (double[]){0, 0, 1, 0}),
                     .pos = mzt_ints(1, MZT_DIMS(2), (int[]){1, 0})}};
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_true(mzt_is(x, 0.0,
                           interleaved ? (double[]){-2, 1, -3, -4, 1, 2, 3, 4}
                                       : (double[]){-3, -2, 1, -4, 1, 2, 3, 4}));
        mz_op_free(op);
    }
}

static mz_args whole_call(void)
{
    mz_tensor *x = mzt_strided(MZ_F64, 3, MZT_DIMS(T, H, K), MZT_DIMS(H * K + 6, K + 2, 1), 3);
    mzt_fill(x, 1);
    return (mz_args){.rope = {.y = mzt_new(MZ_F64, 3, MZT_DIMS(T, H, K)),
                              .x = x,
                              .cos = mzt_random(MZ_F32, 2, MZT_DIMS(P, K / 2), 2),
                              .sin = mzt_random(MZ_F32, 2, MZT_DIMS(P, K / 2), 3),
                              .pos = mzt_ints(1, MZT_DIMS(T), (int[]){5, 0, 2})}};
}

/* The tables are random: backward must be the transpose of forward whatever stands in them. */
static void gradients(void **state)
{
    (void)state;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        const mz_desc d = desc_of(interleaved, true);
        mz_args args = whole_call();
        mzt_gradient(&d, &args);
    }
}

static void refusals(void **state)
{
    (void)state;
    const mz_desc d = desc_of(false, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = whole_call();
    args.rope.x = mzt_like(args.rope.y);
    args.rope.dy = mzt_like(args.rope.y);
    args.rope.dx = mzt_like(args.rope.y);
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mzt_refusals(op, MZ_BACKWARD, &args, "");
    mz_desc bad = d;
    bad.u.rope.K = 3, mzt_desc_refused(&bad);
    bad = d, bad.u.rope.H = 0, mzt_desc_refused(&bad);
    args.rope.pos = mzt_ints(1, MZT_DIMS(T), (int[]){5, 0, P});
    assert_int_equal(mz_forward(op, &args), MZ_ECHIP);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(gradients),
        cmocka_unit_test(refusals),
    };
    return MZT_RUN(tests);
}
