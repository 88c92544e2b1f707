/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_places.c - the emulated driver's operators that fold axes, and those that put,
 * take, repeat and turn by place, beside numbers worked out by hand. */
#include "tests/emu/makes.h"

#include <math.h>
#include <string.h>

enum { INVALID = 161002 };
static const int64_t THREE[] = {3}, WIDE[] = {2, 3};

static aclIntArray *axes(int64_t first)
{
    return aclCreateIntArray(&first, 1);
}

static aclIntArray *pair(int64_t a, int64_t b)
{
    return aclCreateIntArray((const int64_t[]){a, b}, 2);
}

static aclTensor *matrix(void) /* 3 1 2 | -4 6 5 */
{
    return reals(2, WIDE, WANT(3, 1, 2, -4, 6, 5));
}

/* Indices of an axis as an output, and what is to stand there. */
static void expect_ids(const char *name, const void *at, int n, const int64_t *want)
{
    int64_t got[MOST];
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, at, (size_t)n * sizeof *got);
    for (int i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s, %d: %lld, want %lld", name, i, (long long)got[i], (long long)want[i]);
}
#define THESE(...) ((const int64_t[]){__VA_ARGS__})

/* Runs aclnnNAME(..., values, indices), both of n elements in one axis. */
#define MAKES_BOTH(name, n, want, places, ...)                                                     \
    do {                                                                                           \
        const int64_t dims_[] = {n};                                                               \
        void *at_ = device((n) * sizeof(float)), *ids_ = device((n) * sizeof(int64_t));            \
        CALL(name, __VA_ARGS__, aclCreateTensor(dims_, 1, EMU_FLOAT, NULL, 0, ND, dims_, 1, at_),  \
             aclCreateTensor(dims_, 1, EMU_INT64, NULL, 0, ND, dims_, 1, ids_));                   \
        expect(#name, at_, n, want);                                                               \
        expect_ids(#name, ids_, n, places);                                                        \
    } while (0)

static void extremes_and_moments(void **state)
{
    (void)state;
    aclTensor *x = matrix();
    MAKES(Amax, 2, WANT(3, 6), x, axes(1), false);
    MAKES(Amin, 3, WANT(-4, 1, 2), x, axes(0), false);
    MAKES(Amax, 1, WANT(6), x, pair(0, 1), false);
    MAKES(Min, 1, WANT(-4), x);
    MAKES_BOTH(MaxDim, 2, WANT(3, 6), THESE(0, 1), x, 1, false);
    MAKES_BOTH(MinDim, 3, WANT(-4, 1, 2), THESE(1, 0, 0), x, 0, false);
    MAKES(Prod, 1, WANT(-720), x, EMU_FLOAT);
    MAKES(ProdDim, 2, WANT(6, -120), x, -1, false, EMU_FLOAT);
    MAKES(VarCorrection, 2, WANT(1, 30.333333f), x, axes(1), 1, false);
    MAKES(VarCorrection, 3, WANT(12.25f, 6.25f, 2.25f), x, axes(0), 0, false);
    MAKES(Std, 2, WANT(1, 5.5075705f), x, axes(1), 1, false);
    MAKES(LogSumExp, 2, WANT(logf(expf(3) + expf(1) + expf(2)), logf(expf(-4) + expf(6) + expf(5))),
          x, axes(1), false);
    MAKES(ReduceNansum, 2, WANT(1, 7), reals(2, WIDE, WANT(NAN, 3, -2, 4, NAN, 3)), axes(1), false,
          EMU_FLOAT);
    MAKES(Norm, 2, WANT(3, 6), x, number((double)INFINITY), axes(1), false);
    MAKES(LinalgVectorNorm, 2, WANT(1, 4), x, number(-(double)INFINITY), axes(1), false, EMU_FLOAT);
    MAKES(Median, 1, WANT(2), x);
    MAKES(NanMedian, 1, WANT(3), reals(1, THREE, WANT(NAN, 5, 3)));
    MAKES_BOTH(MedianDim, 2, WANT(2, 5), THESE(2, 2), x, 1, false);
    MAKES_BOTH(Kthvalue, 2, WANT(3, 6), THESE(0, 1), x, 3, 1, false);
    MAKES_BOTH(Topk, 2, WANT(3, 2), THESE(0, 2), reals(1, THREE, WANT(3, 1, 2)), 2, 0, true, true);
    MAKES_BOTH(Topk, 2, WANT(1, 2), THESE(1, 2), reals(1, THREE, WANT(3, 1, 2)), 2, -1, false,
               true);
    MAKES_BOTH(Cummax, 3, WANT(3, 3, 4), THESE(0, 0, 2), reals(1, THREE, WANT(3, 1, 4)), 0);
    MAKES_BOTH(Cummin, 3, WANT(3, 1, 1), THESE(0, 1, 1), reals(1, THREE, WANT(3, 1, 4)), 0);
    MAKES_MATRIX(Cumprod, 2, 3, WANT(3, 3, 6, -4, -24, -120), x, number(1), EMU_FLOAT);
}

/* Doubles have not all bits of these. */
static void integers_keep_their_bits(void **state)
{
    const int64_t one[] = {1}, far = (INT64_C(1) << 62) + 1;
    void *at = device(8);
    aclTensor *x = ids(3, THESE(far, far + 2, -3)),
              *y = aclCreateTensor(one, 1, EMU_INT64, NULL, 0, ND, one, 1, at);
    (void)state;
    CALL(Max, x, y);
    expect_ids("Max", at, 1, THESE(far + 2));
    CALL(Min, ids(2, THESE(far + 2, far)), y);
    expect_ids("Min", at, 1, THESE(far));
    CALL(ReduceSum, ids(3, THESE(far, 4, -2)), axes(0), true, EMU_INT64, y);
    expect_ids("ReduceSum", at, 1, THESE(far + 2));
}

static void two_outputs(void **state)
{
    (void)state;
    const int64_t two[] = {2};
    void *a = device(64), *b = device(64);
    aclTensor *x = matrix(), *first = aclCreateTensor(two, 1, EMU_FLOAT, NULL, 0, ND, two, 1, a),
              *second = aclCreateTensor(two, 1, EMU_FLOAT, NULL, 0, ND, two, 1, b);
    CALL(VarMean, x, axes(1), 1, false, first, second);
    expect("VarMean", a, 2, WANT(1, 30.333333f));
    expect("VarMean", b, 2, WANT(2, 2.3333333f));
    CALL(StdMeanCorrection, x, axes(1), 0, false, first, second);
    expect("StdMeanCorrection", a, 2, WANT(0.81649658f, 4.4969125f));
    CALL(Aminmax, x, axes(1), false, first, second);
    expect("Aminmax", a, 2, WANT(1, -4));
    expect("Aminmax", b, 2, WANT(3, 6));
    int64_t best[2];
    const int64_t dims[] = {2};
    CALL(ArgMin, x, 1, false, aclCreateTensor(dims, 1, EMU_INT64, NULL, 0, ND, dims, 1, a));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(best, a, sizeof best);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[1], 0);
}

/* Each of them, their mean, their sum. */
static void losses(void **state)
{
    (void)state;
    aclTensor *x = reals(1, THREE, WANT(0.2f, 0.5f, 0.9f)), *t = reals(1, THREE, WANT(1, 0.5f, 0)),
              *w = reals(1, THREE, WANT(1, 2, 3));
    const float e0 = -logf(0.2f), e1 = -logf(0.5f), e2 = -logf(0.1f);
    MAKES(L1Loss, 3, WANT(0.8f, 0, 0.9f), x, t, 0);
    MAKES(L1Loss, 1, WANT(1.7f), x, t, 2);
    MAKES(SmoothL1Loss, 3, WANT(0.55f, 0, 0.65f), x, t, 0, 0.5F);
    MAKES(KlDiv, 3, WANT(-0.2f, 0.5f * (logf(0.5f) - 0.5f), 0), x, t, 0, false);
    MAKES(KlDiv, 1, WANT((expf(1) * 0.8f + 0 - 0.9f) / 3), x, t, 1, true);
    MAKES(BinaryCrossEntropy, 3, WANT(e0, e1, e2), x, t, NULL, 0);
    MAKES(BinaryCrossEntropy, 1, WANT((e0 + 2 * e1 + 3 * e2) / 3), x, t, w, 1);
    MAKES(BinaryCrossEntropyWithLogits, 1,
          WANT(3 * log1pf(expf(-0.2f)) + 0.9f + log1pf(expf(-0.9f)) +
               0.5f * 3 * log1pf(expf(-0.5f)) + 0.5f * (0.5f + log1pf(expf(-0.5f)))),
          x, t, NULL, reals(1, (const int64_t[]){1}, WANT(3)), 2);
}

static aclTensor *square_ids(int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t two[] = {2, 2}, v[] = {a, b, c, d};
    return aclCreateTensor(two, 2, EMU_INT64, NULL, 0, ND, two, 2, upload(v, sizeof v));
}

static void *address;
static aclTensor *kept(void)
{
    address = upload(WANT(3, 1, 2, -4, 6, 5), 24);
    return tensor(EMU_FLOAT, 2, 3, NULL, address);
}

static void puts_by_index(void **state)
{
    (void)state;
    const int64_t two[] = {2, 2}, one[] = {1, 3};
    aclTensor *x = matrix(), *index = square_ids(2, 0, 1, 1),
              *src = reals(2, two, WANT(7, 8, 9, 10));
    aclTensor *line = reals(2, one, WANT(7, 8, 9));
    MAKES_MATRIX(Scatter, 2, 3, WANT(8, 1, 7, -4, 10, 5), x, 1, index, src, 0);
    MAKES_MATRIX(Scatter, 2, 3, WANT(11, 1, 9, -4, 25, 5), x, 1, index, src, 1);
    MAKES_MATRIX(ScatterValue, 2, 3, WANT(9, 1, 9, -4, 9, 5), x, 1, index, number(9), 0);
    MAKES_MATRIX(ScatterValue, 2, 3, WANT(6, 1, 4, -4, 24, 5), x, 1, index, number(2), 2);
    CALL(InplaceScatter, kept(), 1, index, src, 0);
    expect("InplaceScatter", address, 6, WANT(8, 1, 7, -4, 10, 5));
    CALL(InplaceScatterValue, kept(), 1, index, number(9), 1);
    expect("InplaceScatterValue", address, 6, WANT(12, 1, 11, -4, 24, 5));
    MAKES_MATRIX(IndexFill, 2, 3, WANT(9, 1, 9, 9, 6, 9), x, 1, ids(2, THESE(2, -3)), number(9));
    MAKES_MATRIX(IndexFillTensor, 2, 3, WANT(9, 9, 9, -4, 6, 5), x, 0, axes(0), number(9));
    CALL(InplaceIndexFill, kept(), 1, ids(1, THESE(1)), number(9));
    expect("InplaceIndexFill", address, 6, WANT(3, 9, 2, -4, 9, 5));
    CALL(InplaceIndexFillTensor, kept(), 1, axes(2), number(9));
    expect("InplaceIndexFillTensor", address, 6, WANT(3, 1, 9, -4, 6, 9));
    MAKES_MATRIX(IndexCopy, 2, 3, WANT(3, 1, 2, 7, 8, 9), x, 0, ids(1, THESE(1)), line);
    CALL(InplaceIndexCopy, kept(), 0, ids(1, THESE(0)), line);
    expect("InplaceIndexCopy", address, 6, WANT(7, 8, 9, -4, 6, 5));
    CALL(InplacePut, kept(), ids(2, THESE(4, 4)), reals(1, two, WANT(10, 20)), true);
    expect("InplacePut", address, 6, WANT(3, 1, 2, -4, 36, 5));
    MAKES(Take, 3, WANT(5, 3, 6), x, ids(3, THESE(-1, 0, 4)));
}

static void repeats_and_turns(void **state)
{
    (void)state;
    aclTensor *x = matrix();
    MAKES_MATRIX(Repeat, 2, 6, WANT(3, 1, 2, 3, 1, 2, -4, 6, 5, -4, 6, 5), x, pair(1, 2));
    MAKES_MATRIX(Roll, 2, 3, WANT(2, 3, 1, 5, -4, 6), x, axes(1), axes(1));
    MAKES_MATRIX(Roll, 2, 3, WANT(1, 2, -4, 6, 5, 3), x, axes(-1), aclCreateIntArray(NULL, 0));
    MAKES_MATRIX(Flip, 2, 3, WANT(5, 6, -4, 2, 1, 3), x, pair(0, 1));
    MAKES(RepeatInterleaveInt, 4, WANT(5, 5, 7, 7), reals(1, (const int64_t[]){2}, WANT(5, 7)), 2,
          4);
    MAKES(RepeatInterleave, 4, WANT(5, 7, 7, 7), reals(1, (const int64_t[]){2}, WANT(5, 7)),
          ids(2, THESE(1, 3)), 4);
    MAKES_MATRIX(RepeatInterleaveIntWithDim, 2, 6, WANT(3, 3, 1, 1, 2, 2, -4, -4, 6, 6, 5, 5), x, 2,
                 1, 6);
    MAKES_MATRIX(RepeatInterleaveWithDim, 3, 3, WANT(3, 1, 2, -4, 6, 5, -4, 6, 5), x,
                 ids(2, THESE(1, 2)), 0, 3);
    MAKES_MATRIX(Tril, 2, 3, WANT(3, 1, 0, -4, 6, 5), x, 1);
    CALL(InplaceTriu, kept(), 1);
    expect("InplaceTriu", address, 6, WANT(0, 1, 2, 0, 0, 5));
    CALL(InplaceTril, kept(), -1);
    expect("InplaceTril", address, 6, WANT(0, 0, 0, -4, 0, 0));
    MAKES_MATRIX(Eye, 2, 3, WANT(1, 0, 0, 0, 1, 0), 2, 3);
    MAKES(Trace, 1, WANT(9), x);
}

static void counts_and_finds(void **state)
{
    (void)state;
    const int64_t one[] = {1};
    aclTensor *s = reals(1, THREE, WANT(1, 3, 5));
    aclTensor *on = reals(1, one, WANT(8)), *off = reals(1, one, WANT(-1));
    MAKES_MATRIX(OneHot, 2, 3, WANT(-1, -1, 8, 8, -1, -1), ids(2, THESE(2, 0)), 3, on, off, -1);
    MAKES(Bincount, 3, WANT(0, 2, 1), ids(3, THESE(1, 2, 1)), NULL, 0);
    MAKES(Bincount, 3, WANT(0, 6, 3), ids(3, THESE(1, 2, 1)), s, 0) /* 1 + 5, 3 */;
    void *at = device(24);
    aclTensor *found = aclCreateTensor(THREE, 1, EMU_INT64, NULL, 0, ND, THREE, 1, at);
    CALL(SearchSorted, s, reals(1, THREE, WANT(3, 0, 9)), false, false, NULL, found);
    expect_ids("SearchSorted", at, 3, THESE(1, 0, 3));
    CALL(SearchSorted, s, reals(1, THREE, WANT(3, 0, 9)), false, true, NULL, found);
    expect_ids("SearchSorted", at, 3, THESE(2, 0, 3));
    CALL(SearchSorteds, s, number(4), false, false, NULL,
         aclCreateTensor(one, 1, EMU_INT64, NULL, 0, ND, one, 1, at));
    expect_ids("SearchSorteds", at, 1, THESE(2));
    MAKES(Linspace, 3, WANT(1, 2.5f, 4), number(1), number(4), 3);
    MAKES(Range, 3, WANT(1, 1.5f, 2), number(1), number(2), number(0.5));
    char same = 2;
    CALL(Equal, s, s, aclCreateTensor(one, 1, EMU_BOOL, NULL, 0, ND, one, 1, at));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(&same, at, 1);
    assert_int_equal(same, 1);
    CALL(Equal, s, reals(1, THREE, WANT(1, 3, 4)),
         aclCreateTensor(one, 1, EMU_BOOL, NULL, 0, ND, one, 1, at));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(&same, at, 1);
    assert_int_equal(same, 0);
}

/* The halves of a head turn; interleaved its neighbours do. x 1 2 3 4, dy 5 6 7 8. */
static void rotary_gradients(void **state)
{
    (void)state;
    const int64_t dims[] = {1, 1, 1, 4};
    void *at[3];
    aclTensor *out[3], *dy = reals(4, dims, WANT(5, 6, 7, 8)),
                       *x = reals(4, dims, WANT(1, 2, 3, 4)),
                       *cos = reals(4, dims, WANT(0.1f, 0.2f, 0.3f, 0.4f)),
                       *sin = reals(4, dims, WANT(0.5f, 0.6f, 0.7f, 0.8f));
    for (int i = 0; i < 3; i++) {
        at[i] = device(16);
        out[i] = aclCreateTensor(dims, 4, EMU_FLOAT, NULL, 0, ND, dims, 4, at[i]);
    }
    (void)state;
    CALL(RotaryPositionEmbeddingGrad, dy, cos, sin, x, 0, out[0], out[1], out[2]);
    expect("dx of halves", at[0], 4, WANT(5.4f, 7.6f, -0.4f, -0.4f));
    expect("dcos of halves", at[1], 4, WANT(5, 12, 21, 32));
    expect("dsin of halves", at[2], 4, WANT(-15, -24, 7, 16));
    CALL(RotaryPositionEmbeddingGrad, dy, cos, sin, x, 1, out[0], out[1], out[2]);
    expect("dx of neighbours", at[0], 4, WANT(4.1f, -1.3f, 8.5f, -1.7f));
    expect("dsin of neighbours", at[2], 4, WANT(-10, 6, -28, 24));
}

static void gated_halves(void **state)
{
    (void)state;
    const int64_t whole[] = {1, 4}, half[] = {1, 2};
    aclTensor *x = reals(2, whole, WANT(1, -2, 3, 5)), *dy = reals(2, half, WANT(2, 3));
    const float s1 = 1 / (1 + expf(-1)), s2 = 1 / (1 + expf(2));
    MAKES_MATRIX(SwiGlu, 1, 2, WANT(3 * s1, -10 * s2), x, -1);
    MAKES_MATRIX(SwiGluGrad, 1, 4,
                 WANT(2 * 3 * s1 * (1 + 1 - s1), 3 * 5 * s2 * (1 - 2 * (1 - s2)), 2 * s1, -6 * s2),
                 dy, x, 1);
}

static void refusals(void **state)
{
    uint64_t bytes = 0;
    aclOpExecutor *e = NULL;
    const int64_t one[] = {1}, odd[] = {1, 3};
    aclTensor *x = matrix(), *y = reals(1, one, WANT(0)), *m = kept();
    (void)state;
    assert_int_equal(aclnnAmaxGetWorkspaceSize(x, axes(2), false, y, &bytes, &e), INVALID);
    assert_int_equal(aclnnAmaxGetWorkspaceSize(x, axes(1), false, y, &bytes, &e), INVALID);
    assert_int_equal(aclnnProdDimGetWorkspaceSize(x, 1, false, EMU_INT64, y, &bytes, &e), INVALID);
    assert_int_equal(aclnnL1LossGetWorkspaceSize(x, y, 1, y, &bytes, &e), INVALID);
    assert_int_equal(aclnnScatterValueGetWorkspaceSize(x, 0, x, number(1), 0, m, &bytes, &e),
                     INVALID);
    assert_int_equal(aclnnRepeatGetWorkspaceSize(x, axes(2), m, &bytes, &e), INVALID);
    assert_int_equal(aclnnTopkGetWorkspaceSize(x, 4, 1, true, true, m, m, &bytes, &e), INVALID);
    assert_int_equal(aclnnSwiGluGetWorkspaceSize(reals(2, odd, WANT(1, 2, 3)), 1, y, &bytes, &e),
                     INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extremes_and_moments),
        cmocka_unit_test(two_outputs),
        cmocka_unit_test(integers_keep_their_bits),
        cmocka_unit_test(losses),
        cmocka_unit_test(puts_by_index),
        cmocka_unit_test(repeats_and_turns),
        cmocka_unit_test(counts_and_finds),
        cmocka_unit_test(rotary_gradients),
        cmocka_unit_test(gated_halves),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
