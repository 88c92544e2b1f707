/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_router.c - who is chosen and with what weight, by hand; gradients of both scores;
 * the balance loss, whose gradient is its slope. */
#include "tests/near.h"

enum { T = 3, E = 6, CHOSEN = 2 };

static mz_desc desc_of(mz_router_score score)
{
    return (mz_desc){.kind = MZ_OP_ROUTER,
                     .u.router = {.acc = MZ_F64,
                                  .T_max = T,
                                  .E = E,
                                  .k = CHOSEN,
                                  .groups = 1,
                                  .groups_kept = 1,
                                  .score = score,
                                  .factor = 1.0}};
}

/* logits that give sigmoid scores s, and softmax scores s if they sum to 1 */
static mz_tensor *logits_of(bool sigmoid, const double *s)
{
    mz_tensor *logits = mzt_new(MZ_F64, 2, MZT_DIMS(1, E));
    for (int e = 0; e < E; e++) mz_put(logits, e, sigmoid ? log(s[e] / (1.0 - s[e])) : log(s[e]));
    return logits;
}

static mz_args call_of(const mz_tensor *logits)
{
    const int64_t n = logits->dim[0];
    return (mz_args){.router = {.weights = mzt_new(MZ_F64, 2, MZT_DIMS(n, CHOSEN)),
                                .ids = mzt_new(MZ_I32, 2, MZT_DIMS(n, CHOSEN)),
                                .probs = mzt_new(MZ_F64, 2, MZT_DIMS(n, E)),
                                .logits = logits}};
}

/* Runs one token; the two ids and weights must be these. */
static mz_args chooses(const mz_desc *d, const mz_tensor *logits, const double *bias,
                       const double *ids, const double *weights)
{
    mz_op *op = mzt_bind(mzt_reference(), d);
    mz_args args = call_of(logits);
    if (bias) args.router.bias = mzt_values(MZ_F64, 1, MZT_DIMS(E), bias);
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.router.ids, 0.0, ids));
    assert_true(mzt_is(args.router.weights, 1e-14, weights));
    mz_op_free(op);
    return args;
}

static void softmax_by_hand(void **state)
{
    (void)state;
    const double s[] = {0.05, 0.3, 0.1, 0.25, 0.2, 0.1};
    mz_desc d = desc_of(MZ_SCORE_SOFTMAX);
    d.u.router.factor = 2.0;
    const mz_args args =
        chooses(&d, logits_of(false, s), NULL, (double[]){1, 3}, (double[]){0.6, 0.5});
    assert_true(mzt_is(args.router.probs, 1e-14, s));
    d.u.router.normalise = true;
    chooses(&d, logits_of(false, s), NULL, (double[]){1, 3}, (double[]){12.0 / 11.0, 10.0 / 11.0});
}

/* The bias chooses, but does not weigh. */
static void sigmoid_with_bias_by_hand(void **state)
{
    (void)state;
    const double s[] = {0.5, 0.1, 0.8, 0.25, 0.75, 0.1}, bias[] = {0, 0, -0.5, 0.6, 0, 0};
    mz_desc d = desc_of(MZ_SCORE_SIGMOID);
    d.u.router.normalise = true, d.u.router.factor = 2.5;
    const mz_args args =
        chooses(&d, logits_of(true, s), bias, (double[]){3, 4}, (double[]){0.625, 1.875});
    const double sum = 2.5;
    for (int e = 0; e < E; e++)
        assert_true(mzt_near(mz_at(args.router.probs, e), s[e] / sum, 1e-14));
}

/* Groups {0,1,2} {3,4,5}: the one with the largest score, or with the larger sum of two. */
static void groups_by_hand(void **state)
{
    (void)state;
    const double s[] = {0.6, 0.5, 0.1, 0.9, 0.1, 0.05};
    mz_desc d = desc_of(MZ_SCORE_SIGMOID);
    d.u.router.groups = 2;
    d.u.router.group = MZ_GROUP_MAX;
    chooses(&d, logits_of(true, s), NULL, (double[]){3, 4}, (double[]){0.9, 0.1});
    d.u.router.group = MZ_GROUP_TOP2_SUM;
    chooses(&d, logits_of(true, s), NULL, (double[]){0, 1}, (double[]){0.6, 0.5});
    /* with negative biases a dropped group would win if it were masked by 0 */
    const double bias[] = {-2, -2, -2, -3, -3, -3};
    chooses(&d, logits_of(true, s), bias, (double[]){0, 1}, (double[]){0.6, 0.5});
    d.u.router.groups_kept = 2;
    chooses(&d, logits_of(true, s), NULL, (double[]){0, 3}, (double[]){0.6, 0.9});
}

static void ties_go_to_the_lower_id(void **state)
{
    (void)state;
    const double s[] = {0.2, 0.5, 0.5, 0.5, 0.5, 0.2};
    mz_desc d = desc_of(MZ_SCORE_SIGMOID);
    chooses(&d, logits_of(true, s), NULL, (double[]){1, 2}, (double[]){0.5, 0.5});
    const double even[] = {0.5, 0.2, 0.3, 0.3, 0.5, 0.2};
    d.u.router.groups = 3;
    chooses(&d, logits_of(true, even), NULL, (double[]){0, 1}, (double[]){0.5, 0.2});
}

/* Whatever comes, k different experts are chosen: NaN comes last, -inf is a score like any other.
 */
static void no_number_chooses_too(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_SCORE_SIGMOID);
    mz_tensor *logits = mzt_new(MZ_F64, 2, MZT_DIMS(1, E));
    for (int e = 0; e < E; e++) mz_put(logits, e, e == 4 ? -(double)INFINITY : (double)NAN);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    const mz_args args = call_of(logits);
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.router.ids, 0.0, (double[]){0, 4}));
    assert_true(isnan(mz_at(args.router.weights, 0)));
    mz_op_free(op);
}

static void forced_ids_keep_their_order(void **state)
{
    (void)state;
    const double s[] = {0.05, 0.3, 0.1, 0.25, 0.2, 0.1};
    mz_desc d = desc_of(MZ_SCORE_SOFTMAX);
    d.u.router.forced = true;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = call_of(logits_of(false, s));
    args.router.ids = mzt_ints(2, MZT_DIMS(1, CHOSEN), (int[]){4, 0});
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.router.weights, 1e-14, (double[]){0.2, 0.05}));
    assert_true(mzt_is(args.router.ids, 0.0, (double[]){4, 0}));
    args.router.ids = mzt_ints(2, MZT_DIMS(1, CHOSEN), (int[]){4, E});
    assert_int_equal(mz_forward(op, &args), MZ_ECHIP);
    mz_op_free(op);
}

/* Both scores, with and without normalising, with and without dprobs; groups and bias only choose.
 */
static void gradients(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        mz_desc d = desc_of(i & 1 ? MZ_SCORE_SIGMOID : MZ_SCORE_SOFTMAX);
        d.u.router.normalise = i & 2;
        d.u.router.factor = 1.7;
        d.u.router.groups = 3, d.u.router.groups_kept = 2;
        d.u.router.backward = true;
        mz_args args = call_of(mzt_random(MZ_F64, 2, MZT_DIMS(T, E), 11));
        args.router.bias = mzt_random(MZ_F64, 1, MZT_DIMS(E), 12);
        if (i & 4) args.router.probs = NULL;
        mzt_gradient(&d, &args);
    }
}

/* The normalised share of a lone expert is 1 whatever its score: no gradient, not even rounding's.
 */
static void lone_expert_has_no_slope(void **state)
{
    (void)state;
    for (int score = MZ_SCORE_SOFTMAX; score <= MZ_SCORE_SIGMOID; score++) {
        mz_desc d = desc_of((mz_router_score)score);
        d.u.router.k = 1, d.u.router.normalise = d.u.router.backward = true;
        d.u.router.factor = 2.5;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_args args = {.router = {.weights = mzt_new(MZ_F64, 2, MZT_DIMS(T, 1)),
                                   .ids = mzt_new(MZ_I32, 2, MZT_DIMS(T, 1)),
                                   .logits = mzt_random(MZ_F64, 2, MZT_DIMS(T, E), 3),
                                   .saved = mzt_saved(op),
                                   .dweights = mzt_random(MZ_F64, 2, MZT_DIMS(T, 1), 4)}};
        args.router.dlogits = mzt_like(args.router.logits);
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_int_equal(mz_backward(op, &args), MZ_OK);
        assert_true(mzt_is(args.router.dlogits, 0.0, (double[T * E]){0}));
        mz_op_free(op);
    }
}

static void refusals(void **state)
{
    (void)state;
    mz_desc d = desc_of(MZ_SCORE_SIGMOID), bad = d;
    d.u.router.backward = true;
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = call_of(mzt_random(MZ_F64, 2, MZT_DIMS(T, E), 1));
    args.router.bias = mzt_new(MZ_F64, 1, MZT_DIMS(E));
    args.router.saved = mzt_saved(op);
    args.router.dweights = mzt_like(args.router.weights);
    args.router.dprobs = mzt_like(args.router.probs);
    args.router.dlogits = mzt_like(args.router.logits);
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mzt_refusals(op, MZ_BACKWARD, &args, "");
    bad.u.router.k = E + 1, mzt_desc_refused(&bad);
    bad = d, bad.u.router.groups = 4, mzt_desc_refused(&bad); /* 6 experts in 4 groups */
    bad = d, bad.u.router.groups = 6, mzt_desc_refused(&bad); /* one kept group has fewer than k */
    bad = d, bad.u.router.groups = 6, bad.u.router.groups_kept = 6;
    bad.u.router.group = MZ_GROUP_TOP2_SUM, mzt_desc_refused(&bad);
    bad = d, bad.u.router.groups_kept = 2, mzt_desc_refused(&bad);
    bad = d, bad.u.router.acc = MZ_BF16, mzt_desc_refused(&bad);
    bad = d, bad.u.router.factor = (double)INFINITY, mzt_desc_refused(&bad);
    mz_op_free(op);
}

/* ---- balance ---- */

static const mz_desc BALANCE = {
    .kind = MZ_OP_BALANCE,
    .u.balance = {.acc = MZ_F64, .T_max = T, .sequences_max = 2, .E = 2, .k = 1}};

static mz_args balance_call(void)
{
    mz_args args = {.balance = {.loss = mzt_new(MZ_F64, 1, MZT_DIMS(1)),
                                .dprobs = mzt_new(MZ_F64, 2, MZT_DIMS(T, 2)),
                                .counts = mzt_ints(1, MZT_DIMS(2), (int[]){10, 20}),
                                .probs = mzt_values(MZ_F64, 2, MZT_DIMS(T, 2),
                                                    (double[]){0.75, 0.25, 0.5, 0.5, 0.25, 0.75}),
                                .ids = mzt_ints(2, MZT_DIMS(T, 1), (int[]){0, 0, 1}),
                                .cu = mzt_ints(1, MZT_DIMS(3), (int[]){0, 2, T})}};
    args.k.balance.alpha = 0.1;
    return args;
}

/* Sequence 1: f = {2, 0}, P = {0.625, ..}: 1.25. Sequence 2: f = {0, 2}, P_1 = 0.75: 1.5. */
static void balance_by_hand(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &BALANCE);
    mz_args args = balance_call();
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.balance.loss, 1e-15, (double[]){0.1 * (1.25 + 1.5) / 2.0}));
    assert_true(mzt_is(args.balance.counts, 0.0, (double[]){12, 21}));
    assert_true(mzt_is(args.balance.dprobs, 1e-15, (double[]){0.05, 0, 0.05, 0, 0, 0.1}));
    mz_op_free(op);
}

static void balance_of_nothing_is_zero(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &BALANCE);
    mz_args args = balance_call();
    args.balance.loss = mzt_values(MZ_F64, 1, MZT_DIMS(1), (double[]){5});
    args.balance.dprobs = args.balance.probs = mzt_new(MZ_F64, 2, MZT_DIMS(0, 2));
    args.balance.ids = mzt_new(MZ_I32, 2, MZT_DIMS(0, 1));
    args.balance.cu = mzt_new(MZ_I32, 1, MZT_DIMS(1));
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.balance.loss, 0.0, (double[]){0}));
    assert_true(mzt_is(args.balance.counts, 0.0, (double[]){10, 20}));
    mz_op_free(op);
}

static void balance_refusals(void **state)
{
    (void)state;
    mz_op *op = mzt_bind(mzt_reference(), &BALANCE);
    mz_args args = balance_call();
    mzt_refusals(op, MZ_FORWARD, &args, "");
    args.k.balance.alpha = (double)NAN;
    mzt_refused(op, MZ_FORWARD, &args);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_by_hand),
        cmocka_unit_test(sigmoid_with_bias_by_hand),
        cmocka_unit_test(groups_by_hand),
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(no_number_chooses_too),
        cmocka_unit_test(forced_ids_keep_their_order),
        cmocka_unit_test(gradients),
        cmocka_unit_test(lone_expert_has_no_slope),
        cmocka_unit_test(refusals),
        cmocka_unit_test(balance_by_hand),
        cmocka_unit_test(balance_of_nothing_is_zero),
        cmocka_unit_test(balance_refusals),
    };
    return MZT_RUN(tests);
}
