/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_sample.c - the steps of base/draw.h one by one: penalty, greedy, filters, the draw,
 * and that its frequencies are the softmax. */
#include "base/rng.h"
#include "tests/near.h"

enum { V = 5 };

static mz_desc desc_of(mz_dtype acc, int64_t B)
{
    return (mz_desc){.kind = MZ_OP_SAMPLE,
                     .u.sample = {.acc = acc, .B_max = B, .V = V, .history_max = 3}};
}

static mz_args plain(const mz_tensor *logits)
{
    mz_args args = {
        .sample = {.ids = mzt_new(MZ_I32, 1, MZT_DIMS(logits->dim[0])), .logits = logits}};
    args.k.sample.temperature = 1.0;
    args.k.sample.top_p = args.k.sample.repeat_penalty = 1.0;
    args.k.sample.seed = 42;
    return args;
}

/* Which ids come up in 400 draws of one row, as bits. */
static unsigned drawn(const mz_args *args)
{
    const mz_desc d = desc_of(MZ_F32, 1);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args a = *args;
    unsigned bits = 0;
    for (uint64_t i = 0; i < 400; i++) {
        a.k.sample.counter = i;
        assert_int_equal(mz_forward(op, &a), MZ_OK);
        const int64_t id = mz_at_int(a.sample.ids, 0);
        assert_in_range(id, 0, V - 1);
        bits |= 1u << id;
    }
    mz_op_free(op);
    return bits;
}

/* Probabilities 0.4, 0.1, 0.2, 0.2, 0.1 */
static mz_tensor *five(void)
{
    return mzt_values(MZ_F32, 2, MZT_DIMS(1, V),
                      (double[]){log(4), log(1), log(2), log(2), log(1)});
}

static void filters_keep_what_they_should(void **state)
{
    (void)state;
    const mz_args all = plain(five());
    mz_args a = all;
    assert_int_equal(drawn(&a), 0x1f);
    a.k.sample.top_k = 2, assert_int_equal(drawn(&a), 0x05); /* of the equal 2 and 3, the lower */
    a.k.sample.top_k = 7, assert_int_equal(drawn(&a), 0x1f);
    a = all, a.k.sample.top_p = 0.39, assert_int_equal(drawn(&a), 0x01);
    a.k.sample.top_p = 0.5, assert_int_equal(drawn(&a), 0x05);
    a.k.sample.top_p = 0.61, assert_int_equal(drawn(&a), 0x0d);
    a.k.sample.top_p = 1e-12, assert_int_equal(drawn(&a), 0x01); /* the best always stays */
    a = all, a.k.sample.min_p = 0.3, assert_int_equal(drawn(&a), 0x0d);
    a.k.sample.min_p = 0.6, assert_int_equal(drawn(&a), 0x01);
    /* top-p counts what top-k left: 4/6 and 2/6 */
    a = all, a.k.sample.top_k = 2, a.k.sample.top_p = 0.6, assert_int_equal(drawn(&a), 0x01);
    a.k.sample.top_p = 0.7, assert_int_equal(drawn(&a), 0x05);
}

static void greedy_takes_the_lowest_of_the_best(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F32, 4);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    const double inf = (double)INFINITY, nan = (double)NAN;
    mz_tensor *logits = mzt_values(MZ_F32, 2, MZT_DIMS(4, V),
                                   (double[]){1,    3,    3,    nan,  2,      /* a tie */
                                              -inf, nan,  -inf, -5,   -inf,   /* the only number */
                                              1,    inf,  2,    inf,  3,      /* infinite */
                                              nan,  -inf, nan,  -inf, -inf}); /* none */
    mz_args args = plain(logits);
    args.k.sample.temperature = 0.0;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.sample.ids, 0.0, (double[]){1, 3, 1, -1}));
    args.k.sample.temperature = 1.0; /* a draw decides only the first row */
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_at_int(args.sample.ids, 1), 3);
    assert_int_equal(mz_at_int(args.sample.ids, 2), 1);
    assert_int_equal(mz_at_int(args.sample.ids, 3), -1);
    mz_op_free(op);
}

/* Divides what is positive and multiplies the rest, once an id however often it occurred. */
static void penalty_by_hand(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F64, 2);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = plain(mzt_values(MZ_F64, 2, MZT_DIMS(2, V),
                                    (double[]){4, 3, 2.1, -9, -9, -1, -1.5, -2.5, -9, -9}));
    args.k.sample.temperature = 0.0, args.k.sample.repeat_penalty = 2.0;
    args.sample.history = mzt_ints(2, MZT_DIMS(2, 3), (int[]){0, 0, -1, 0, -1, -1});
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_true(mzt_is(args.sample.ids, 0.0, (double[]){1, 1}));
    args.sample.history = mzt_ints(2, MZT_DIMS(2, 3), (int[]){0, 1, 0, 0, 1, -1});
    assert_int_equal(mz_forward(op, &args), MZ_OK); /* 2, 1.5, 2.1 and -2, -3, -2.5 */
    assert_true(mzt_is(args.sample.ids, 0.0, (double[]){2, 0}));
    mz_op_free(op);
}

/* chi-squared with 4 degrees of freedom stays below 18.5 in 999 of 1000 runs; the seed is fixed. */
static void frequencies_are_the_softmax(void **state)
{
    (void)state;
    enum { DRAWS = 6000 };
    const mz_desc d = desc_of(MZ_F64, 1);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args =
        plain(mzt_values(MZ_F64, 2, MZT_DIMS(1, V), (double[]){0.3, -0.2, 1.0, 0.0, -1.5}));
    args.k.sample.temperature = 0.8;
    double sum = 0.0, count[V] = {0}, chi = 0.0;
    for (int v = 0; v < V; v++) sum += exp(mz_at(args.sample.logits, v) / 0.8);
    for (uint64_t i = 0; i < DRAWS; i++) {
        args.k.sample.counter = i;
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        count[mz_at_int(args.sample.ids, 0)] += 1.0;
    }
    for (int v = 0; v < V; v++) {
        const double want = DRAWS * exp(mz_at(args.sample.logits, v) / 0.8) / sum;
        chi += (count[v] - want) * (count[v] - want) / want;
    }
    assert_true(chi < 18.5);
    mz_op_free(op);
}

/* The number drawn is that of Philox(seed, row, counter), laid over the ids in ascending order. */
static void draws_follow_the_counter(void **state)
{
    (void)state;
    enum { B = 8 };
    const mz_desc d = desc_of(MZ_F32, B);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = plain(mzt_new(MZ_F32, 2, MZT_DIMS(B, V))); /* five equal ids */
    args.k.sample.counter = 77;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    for (int b = 0; b < B; b++) {
        uint32_t word[4];
        mz_philox(42, (uint64_t)b, 77, word);
        const int want = (int)((double)mz_u32_to_unit(word[0]) * V);
        assert_int_equal(mz_at_int(args.sample.ids, b), want);
    }
    mz_op_free(op);
}

/* Two equal ids, and a number that is exactly one half: the first sum does not exceed it. */
static void the_border_belongs_to_the_next(void **state)
{
    (void)state;
    enum { HALF = 38698082 }; /* Philox(42, 0, HALF) begins with 0x800000 */
    const double low = -(double)INFINITY;
    const mz_desc d = desc_of(MZ_F32, 1);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = plain(mzt_values(MZ_F32, 2, MZT_DIMS(1, V), (double[]){low, 0, low, 0, low}));
    args.k.sample.counter = HALF;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_at_int(args.sample.ids, 0), 3);
    mz_op_free(op);
}

static void refusals(void **state)
{
    (void)state;
    const mz_desc d = desc_of(MZ_F32, 1);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = plain(five()), bad;
    args.sample.history = mzt_ints(2, MZT_DIMS(1, 3), (int[]){-1, -1, -1});
    mzt_refusals(op, MZ_FORWARD, &args, "");
    bad = args, bad.k.sample.temperature = -1.0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.temperature = (double)NAN, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.temperature = 1e-30, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.top_p = 0.0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.top_p = 1.5, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.min_p = -0.1, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.repeat_penalty = 0.0, mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.k.sample.top_k = -1, mzt_refused(op, MZ_FORWARD, &bad);
    mz_desc wrong = d;
    wrong.u.sample.V = 0, mzt_desc_refused(&wrong);
    wrong = d, wrong.u.sample.acc = MZ_F16, mzt_desc_refused(&wrong);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_keep_what_they_should),
        cmocka_unit_test(greedy_takes_the_lowest_of_the_best),
        cmocka_unit_test(penalty_by_hand),
        cmocka_unit_test(frequencies_are_the_softmax),
        cmocka_unit_test(draws_follow_the_counter),
        cmocka_unit_test(the_border_belongs_to_the_next),
        cmocka_unit_test(refusals),
    };
    return MZT_RUN(tests);
}
