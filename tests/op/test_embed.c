/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_embed.c - rows by id, equal ids that add up, ids that are no row, refusals. */
#include "tests/near.h"

enum { T = 4, V = 3, D = 2 };

static const mz_desc DESC = {
    .kind = MZ_OP_EMBED,
    .u.embed = {.dtype = MZ_F64, .T_max = T, .V = V, .D = D, .backward = true}};

static mz_args whole_call(void)
{
    mz_args args = {.embed = {.y = mzt_new(MZ_F64, 2, MZT_DIMS(T, D)),
                              .w = mzt_random(MZ_F64, 2, MZT_DIMS(V, D), 1),
                              .ids = mzt_ints(1, MZT_DIMS(T), (int[]){2, 0, 2, 2}),
                              .dy = mzt_random(MZ_F64, 2, MZT_DIMS(T, D), 2)}};
    args.embed.dw = mzt_like(args.embed.w);
    return args;
}

static void values_by_hand(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &DESC);
    mz_args args = whole_call();
    args.embed.w = mzt_values(MZ_F64, 2, MZT_DIMS(V, D), (double[]){1, 2, 3, 4, 5, 6});
    args.embed.ids = mzt_ints(1, MZT_DIMS(T), (int[]){2, 0, 3, -1});
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    const double want[] = {5, 6, 1, 2};
    for (int i = 0; i < 4; i++) assert_true(mzt_near(mz_at(args.embed.y, i), want[i], 0.0));
    for (int i = 4; i < 8; i++) assert_true(isnan(mz_at(args.embed.y, i)));
    assert_int_equal(mz_backward(op, &args), MZ_OK); /* ids that are no row add nothing */
    for (int i = 0; i < D; i++) {
        assert_true(mzt_near(mz_at(args.embed.dw, i), mz_at(args.embed.dy, D + i), 0.0));
        assert_true(mzt_near(mz_at(args.embed.dw, D + i), 0.0, 0.0));
    }
    mz_op_free(op);
}

static void gradient(void **state)
{
    (void)state;
    mz_args args = whole_call();
    mzt_gradient(&DESC, &args);
}

static void refusals(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &DESC);
    const mz_args args = whole_call();
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mzt_refusals(op, MZ_BACKWARD, &args, "");
    mz_desc bad = DESC;
    bad.u.embed.V = 0, mzt_desc_refused(&bad);
    bad = DESC, bad.u.embed.V = (int64_t)INT32_MAX + 1, mzt_desc_refused(&bad);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(gradient),
        cmocka_unit_test(refusals),
    };
    return MZT_RUN(tests);
}
