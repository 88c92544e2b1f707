/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_conv.c - the emulated driver's convolutions, pools and routing of experts,
 * beside numbers worked out by hand or by a plain computation. */
#include "tests/emu/makes.h"

#include <math.h>
#include <string.h>

enum { INVALID = 161002 };
#define THESE(...) ((const int64_t[]){__VA_ARGS__})
#define LIST(...)                                                                                  \
    aclCreateIntArray(THESE(__VA_ARGS__), sizeof(THESE(__VA_ARGS__)) / sizeof(int64_t))

/* Runs aclnnNAME(..., y, last...) for an output of these dims, and checks it. */
static aclTensor *output(int rank, const int64_t *dims, int type, void **at)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dims[i];
    *at = device((size_t)n * sizeof(float));
    return aclCreateTensor(dims, (uint64_t)rank, type, NULL, 0, ND, dims, (uint64_t)rank, *at);
}

/* Two channels of five, a kernel of three, each second place, one pad, groups of one channel. */
static void rows_are_convolved(void **state)
{
    void *at, *dx, *dw, *db;
    static const bool all[] = {true, true, true};
    aclTensor *x = reals(3, THESE(1, 2, 5), WANT(1, 2, 3, 4, 5, -1, 0, 2, 1, 3));
    aclTensor *w = reals(3, THESE(2, 1, 3), WANT(1, 0, -1, 2, 1, 0.5f));
    aclTensor *b = reals(1, THESE(2), WANT(10, 20)), *y = output(3, THESE(1, 2, 3), EMU_FLOAT, &at);
    (void)state;
    CALL(Convolution, x, w, b, LIST(2), LIST(1), LIST(1), false, LIST(0), 2, y, 0);
    expect("Convolution", at, 6, WANT(8, 8, 14, 19, 22.5f, 25));
    aclTensor *dy = reals(3, THESE(1, 2, 3), WANT(1, 2, 3, 4, 5, 6));
    CALL(ConvolutionBackward, dy, x, w, LIST(2), LIST(2), LIST(1), LIST(1), false, LIST(0), 2,
         aclCreateBoolArray(all, 3), 0, output(3, THESE(1, 2, 5), EMU_FLOAT, &dx),
         output(3, THESE(2, 1, 3), EMU_FLOAT, &dw), output(1, THESE(2), EMU_FLOAT, &db));
    expect("dx", dx, 10, WANT(0, 1, 0, 1, 0, 4, 12, 5, 14.5f, 6));
    expect("dw", dw, 6, WANT(16, 22, 10, 6, 24, 5));
    expect("db", db, 2, WANT(6, 15));
}

/* A transposed convolution spreads each input over a window of the output. */
static void pictures_are_convolved_and_spread(void **state)
{
    void *at, *dx, *dw;
    static const bool two[] = {true, true, false};
    aclTensor *x = reals(4, THESE(1, 1, 2, 2), WANT(1, 2, 3, 4)),
              *w = reals(4, THESE(1, 1, 2, 2), WANT(1, 10, 100, 1000));
    (void)state;
    CALL(Convolution, x, w, NULL, LIST(1, 1), LIST(0, 0), LIST(1, 1), false, LIST(0, 0), 1,
         output(4, THESE(1, 1, 1, 1), EMU_FLOAT, &at), 0);
    expect("Convolution", at, 1, WANT(4321));
    CALL(Convolution, x, w, NULL, LIST(1, 1), LIST(0, 0), LIST(1, 1), true, LIST(0, 0), 1,
         output(4, THESE(1, 1, 3, 3), EMU_FLOAT, &at), 0);
    expect("transposed", at, 9, WANT(1, 12, 20, 103, 1234, 2040, 300, 3400, 4000));
    aclTensor *dy = reals(4, THESE(1, 1, 3, 3), WANT(1, 0, 0, 0, 2, 0, 0, 0, 3));
    CALL(ConvolutionBackward, dy, x, w, LIST(1), LIST(1, 1), LIST(0, 0), LIST(1, 1), true,
         LIST(0, 0), 1, aclCreateBoolArray(two, 3), 0, output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &dx),
         output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &dw), NULL);
    expect("dx, transposed", dx, 4, WANT(2001, 200, 20, 3002));
    expect("dw, transposed", dw, 4, WANT(9, 6, 4, 14));
}

static void pools(void **state)
{
    void *at;
    aclTensor *x = reals(4, THESE(1, 1, 3, 3), WANT(1, 5, 2, 7, 3, 4, 6, 9, 8));
    aclTensor *dy = reals(4, THESE(1, 1, 2, 2), WANT(1, 2, 3, 4)),
              *mask = output(1, THESE(64), EMU_INT8, &at);
    (void)state;
    CALL(MaxPool2dWithMask, x, LIST(2, 2), LIST(1, 1), LIST(0, 0), LIST(1, 1), false,
         output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &at), mask);
    expect("MaxPool2dWithMask", at, 4, WANT(7, 5, 9, 9));
    CALL(MaxPool2dWithMaskBackward, dy, x, mask, LIST(2, 2), LIST(1, 1), LIST(0, 0), LIST(1, 1),
         false, output(4, THESE(1, 1, 3, 3), EMU_FLOAT, &at));
    expect("its gradient", at, 9, WANT(0, 2, 0, 1, 0, 0, 0, 7, 0));
    CALL(AvgPool2d, x, LIST(2, 2), LIST(2, 2), LIST(1, 1), false, true, 0, 0,
         output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &at));
    expect("AvgPool2d, pads count", at, 4, WANT(0.25f, 1.75f, 3.25f, 6));
    CALL(AvgPool2d, x, LIST(2, 2), LIST(2, 2), LIST(1, 1), false, false, 0, 0,
         output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &at));
    expect("AvgPool2d", at, 4, WANT(1, 3.5f, 6.5f, 6));
    CALL(AvgPool2d, x, LIST(2, 2), LIST(2, 2), LIST(1, 1), false, false, 5, 0,
         output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &at));
    expect("AvgPool2d, divided by five", at, 4, WANT(0.2f, 1.4f, 2.6f, 4.8f));
    CALL(AvgPool2dBackward, dy, x, LIST(2, 2), LIST(2, 2), LIST(1, 1), false, true, 0, 0,
         output(4, THESE(1, 1, 3, 3), EMU_FLOAT, &at));
    expect("its gradient", at, 9, WANT(0.25f, 0.5f, 0.5f, 0.75f, 1, 1, 0.75f, 1, 1));
    CALL(AdaptiveAvgPool2d, x, LIST(2, 2), output(4, THESE(1, 1, 2, 2), EMU_FLOAT, &at));
    expect("AdaptiveAvgPool2d", at, 4, WANT(4, 3.5f, 6.25f, 6));
    CALL(AdaptiveAvgPool2dBackward, dy, x, output(4, THESE(1, 1, 3, 3), EMU_FLOAT, &at));
    expect("its gradient", at, 9, WANT(0.25f, 0.75f, 0.5f, 1, 2.5f, 1.5f, 0.75f, 1.75f, 1));
}

static void expect_experts(const char *name, const void *at, int n, const int32_t *want)
{
    int32_t got[MOST];
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, at, (size_t)n * sizeof *got);
    for (int i = 0; i < n; i++)
        if (got[i] != want[i]) fail_msg("%s, %d: %d, want %d", name, i, got[i], want[i]);
}
#define EXPERTS(...) ((const int32_t[]){__VA_ARGS__})

static float unit(float x)
{
    return 1 / (1 + expf(-x));
}

static void gates(void **state)
{
    void *y, *e, *rows, *scores;
    aclTensor *x = reals(2, THESE(2, 4), WANT(0, logf(3), logf(2), 0, logf(5), 0, 0, logf(4)));
    aclTensor *out = output(2, THESE(2, 2), EMU_FLOAT, &y),
              *experts = output(2, THESE(2, 2), EMU_INT32, &e);
    (void)state;
    CALL(MoeGatingTopKSoftmax, x, NULL, 2, out, experts, output(2, THESE(2, 2), EMU_INT32, &rows));
    expect("MoeGatingTopKSoftmax", y, 4, WANT(3 / 7.0f, 2 / 7.0f, 5 / 11.0f, 4 / 11.0f));
    expect_experts("experts", e, 4, EXPERTS(1, 2, 0, 3));
    expect_experts("rows", rows, 4, EXPERTS(0, 2, 1, 3));
    /* Two groups of two, of which one stays: by the sum of both, with a bias that comes out of
     * nothing. */
    aclTensor *z = reals(2, THESE(1, 4), WANT(2, -2, 0.5f, 0.4f)),
              *bias = reals(1, THESE(4), WANT(0, 0, 0, 0.2f));
    const float a = unit(0.5f), b = unit(0.4f);
    CALL(MoeGatingTopK, z, bias, 2, 1, 2, 1, 0, 1, true, 2.5, 0.25,
         output(2, THESE(1, 2), EMU_FLOAT, &y), output(2, THESE(1, 2), EMU_INT32, &e),
         output(2, THESE(1, 4), EMU_FLOAT, &scores));
    expect("MoeGatingTopK", y, 2, WANT(2.5f * b / (a + b + 0.25f), 2.5f * a / (a + b + 0.25f)));
    expect_experts("experts", e, 2, EXPERTS(3, 2));
    expect("scores", scores, 4, WANT(unit(2), unit(-2), a, b));
    /* By the largest alone the first group stays. */
    CALL(MoeGatingTopK, z, NULL, 1, 1, 2, 0, 0, 0, false, 1.0, 0.0,
         output(2, THESE(1, 1), EMU_FLOAT, &y), output(2, THESE(1, 1), EMU_INT32, &e),
         output(2, THESE(1, 4), EMU_FLOAT, &scores));
    expect_experts("experts", e, 1, EXPERTS(0));
}

/* Tokens 1 2 and 3 4 with experts 1 0 and 0 2: in order 1 2, 3 4, 1 2, 3 4 of choices 1, 2, 0, 3.
 */
static void tokens_are_permuted_and_back(void **state)
{
    void *at, *p, *dw;
    aclTensor *x = reals(2, THESE(2, 2), WANT(1, 2, 3, 4)),
              *w = reals(2, THESE(2, 2), WANT(0.5f, 1, 2, 4));
    aclTensor *experts = aclCreateTensor(THESE(2, 2), 2, EMU_INT64, NULL, 0, ND, THESE(2, 2), 2,
                                         upload(THESE(1, 0, 0, 2), 32));
    aclTensor *places = output(1, THESE(4), EMU_INT32, &p);
    (void)state;
    CALL(MoeTokenPermute, x, experts, 0, false, output(2, THESE(4, 2), EMU_FLOAT, &at), places);
    expect("MoeTokenPermute", at, 8, WANT(1, 2, 3, 4, 1, 2, 3, 4));
    expect_experts("places", p, 4, EXPERTS(2, 0, 1, 3));
    aclTensor *rows = reals(2, THESE(4, 2), WANT(1, 10, 2, 20, 3, 30, 4, 40));
    CALL(MoeTokenUnpermute, rows, places, w, false, NULL, output(2, THESE(2, 2), EMU_FLOAT, &at));
    expect("MoeTokenUnpermute", at, 4, WANT(2.5f, 25, 20, 200));
    CALL(MoeTokenPermuteGrad, rows, places, 2, false, output(2, THESE(2, 2), EMU_FLOAT, &at));
    expect("MoeTokenPermuteGrad", at, 4, WANT(4, 40, 6, 60));
    CALL(MoeTokenUnpermuteGrad, rows, x, places, w, false, NULL,
         output(2, THESE(4, 2), EMU_FLOAT, &at), output(2, THESE(2, 2), EMU_FLOAT, &dw));
    expect("MoeTokenUnpermuteGrad", at, 8, WANT(1, 2, 6, 8, 0.5f, 1, 12, 16));
    expect("of the weights", dw, 4, WANT(63, 21, 86, 172));
}

static void refusals(void **state)
{
    uint64_t bytes = 0;
    aclOpExecutor *e = NULL;
    void *at;
    aclTensor *x = reals(3, THESE(1, 2, 5), WANT(1, 2, 3, 4, 5, -1, 0, 2, 1, 3));
    aclTensor *w = reals(3, THESE(2, 2, 3), WANT(1, 0, -1, 2, 1, 0.5f, 0, 0, 0, 0, 0, 0));
    aclTensor *y = output(3, THESE(1, 2, 4), EMU_FLOAT, &at),
              *m = reals(2, THESE(2, 2), WANT(1, 2, 3, 4));
    (void)state;
    assert_int_equal(aclnnConvolutionGetWorkspaceSize(x, w, NULL, LIST(1), LIST(0), LIST(1), false,
                                                      LIST(0), 1, y, 0, &bytes, &e),
                     INVALID);
    assert_int_equal(aclnnMoeGatingTopKSoftmaxGetWorkspaceSize(m, NULL, 3, m, m, m, &bytes, &e),
                     INVALID);
    assert_int_equal(aclnnMoeTokenPermuteGetWorkspaceSize(m, m, 0, false, m, m, &bytes, &e),
                     INVALID);
    assert_int_equal(aclnnAdaptiveAvgPool2dGetWorkspaceSize(x, LIST(1, 1), m, &bytes, &e), INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_convolved),
        cmocka_unit_test(pictures_are_convolved_and_spread),
        cmocka_unit_test(pools),
        cmocka_unit_test(gates),
        cmocka_unit_test(tokens_are_permuted_and_back),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
