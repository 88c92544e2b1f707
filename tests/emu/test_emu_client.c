/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_client.c - what the emulated driver has for Huawei's PyTorch adapter: its
 * operators against numbers worked out by hand, its settings, and that the operator interface
 * which is not emulated leaves no device that goes on. The adapter itself: tools/check_npu. */
#include "tests/emu/makes.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { INVALID = 161002, UNSUPPORTED = 207000 };

int aclSetCompileopt(int option, const char *value);
size_t aclGetCompileoptSize(int option);
int aclGetCompileopt(int option, char *value, size_t bytes);
int aclopCompileAndExecute(const char *name);
void *aclCreateTensorDesc(void);

static const int64_t THREE[] = {3};

static void numbers_beside_tensors(void **state)
{
    (void)state;
    aclTensor *a = reals(1, THREE, WANT(-2, 0.5f, 3)), *b = reals(1, THREE, WANT(4, 2, -1));
    MAKES(Sub, 3, WANT(-14, -5.5f, 6), a, b, number(3));
    MAKES(Subs, 3, WANT(-3.5f, -1, 1.5f), a, number(0.5), number(3));
    MAKES(Rsubs, 3, WANT(11, 3.5f, -4), a, number(5), number(3));
    MAKES(Divs, 3, WANT(-0.5f, 0.125f, 0.75f), a, number(4));
    MAKES(Clamp, 3, WANT(-1, 0.5f, 2), a, number(-1), number(2));
    MAKES(PowTensorScalar, 3, WANT(4, 0.25f, 9), a, number(2));
    MAKES(PowScalarTensor, 3, WANT(0.0625f, 2, 64), number(4), a);
    MAKES(Maximum, 3, WANT(4, 2, 3), a, b);
    MAKES(Minimum, 3, WANT(-2, 0.5f, -1), a, b);
    MAKES(Neg, 3, WANT(2, -0.5f, -3), a);
    MAKES(Abs, 3, WANT(2, 0.5f, 3), a);
    MAKES(Reciprocal, 3, WANT(0.25f, 0.5f, -1), b);
    MAKES(Relu, 3, WANT(0, 0.5f, 3), a);
    MAKES(Round, 3, WANT(-2, 0, 3), a); /* half goes to even */
    MAKES(MseLossBackward, 3, WANT(-8, -2, 16.0f / 3), reals(1, THREE, WANT(2, 2, 2)), a, b, 1);
}

static void losses_and_means(void **state)
{
    (void)state;
    const int64_t one[] = {1}, wide[] = {2, 3}, all = 0;
    aclTensor *a = reals(1, THREE, WANT(-2, 0.5f, 3)), *b = reals(1, THREE, WANT(4, 2, -1));
    MAKES(MseLoss, 3, WANT(36, 2.25f, 16), a, b, 0);
    MAKES(MseLoss, 1, WANT(54.25f / 3), a, b, 1);
    MAKES(MseLoss, 1, WANT(54.25f), a, b, 2);
    MAKES(Mean, 3, WANT(2.5f, 3.5f, 4.5f), reals(2, wide, WANT(1, 2, 3, 4, 5, 6)),
          aclCreateIntArray(&all, 1), false, EMU_FLOAT);
    uint64_t bytes = 0;
    aclOpExecutor *x = NULL;
    assert_int_equal(aclnnMseLossGetWorkspaceSize(a, b, 3, reals(1, one, WANT(0)), &bytes, &x),
                     INVALID);
}

/* 0.5 self + 2 a b; self is one row. */
static void a_product_is_added_to_what_spreads(void **state)
{
    (void)state;
    const int64_t row[] = {2}, left[] = {2, 1}, right[] = {1, 2}, out[] = {2, 2};
    void *at = device(4 * sizeof(float));
    aclTensor *y = aclCreateTensor(out, 2, EMU_FLOAT, NULL, 0, ND, out, 2, at);
    aclTensor *self = reals(1, row, WANT(10, 20)), *wrong = reals(1, THREE, WANT(1, 2, 3));
    aclTensor *a = reals(2, left, WANT(1, 3)), *b = reals(2, right, WANT(5, 7));
    CALL(Addmm, self, a, b, number(0.5), number(2), y, 0);
    expect("Addmm", at, 4, WANT(15, 24, 35, 52));
    uint64_t bytes = 0;
    aclOpExecutor *x = NULL;
    assert_int_equal(
        aclnnAddmmGetWorkspaceSize(wrong, a, b, number(1), number(1), y, 0, &bytes, &x), INVALID);
}

static void embeds_joins_and_cuts(void **state)
{
    (void)state;
    const int64_t wide[] = {3, 2}, two[] = {2, 2}, row[] = {1, 2};
    aclTensor *w = reals(2, wide, WANT(1, 2, 3, 4, 5, 6)), *a = reals(2, two, WANT(1, 2, 3, 4));
    aclTensor *list[] = {a, reals(2, row, WANT(7, 8))};
    aclTensor *index = ids(2, (const int64_t[]){2, 0}), *same = ids(2, (const int64_t[]){1, 1});
    MAKES_MATRIX(Embedding, 2, 2, WANT(5, 6, 1, 2), w, index);
    MAKES_MATRIX(EmbeddingDenseBackward, 3, 2, WANT(0, 0, 4, 6, 0, 0), a, same, 3, UINT64_MAX,
                 false);
    MAKES_MATRIX(EmbeddingDenseBackward, 3, 2, WANT(3, 4, 0, 0, 0, 0), a, index, 3, 2, false);
    MAKES_MATRIX(Cat, 3, 2, WANT(1, 2, 3, 4, 7, 8),
                 aclCreateTensorList((const aclTensor *const *)list, 2), 0);
    aclTensor *twice[] = {reals(1, row + 1, WANT(1, 2)), reals(1, row + 1, WANT(3, 4))};
    aclTensor *again[] = {reals(1, row + 1, WANT(1, 2)), reals(1, row + 1, WANT(3, 4))};
    MAKES_MATRIX(Stack, 2, 2, WANT(1, 2, 3, 4),
                 aclCreateTensorList((const aclTensor *const *)again, 2), 0);
    MAKES_MATRIX(Stack, 2, 2, WANT(1, 3, 2, 4),
                 aclCreateTensorList((const aclTensor *const *)twice, 2), 1);
    aclTensor *where[] = {ids(2, (const int64_t[]){2, 0}), ids(1, (const int64_t[]){1})};
    MAKES(Index, 2, WANT(6, 2), w, aclCreateTensorList((const aclTensor *const *)where, 2));
    aclTensor *rows[] = {ids(2, (const int64_t[]){-1, 1})};
    MAKES_MATRIX(Index, 2, 2, WANT(5, 6, 3, 4), w,
                 aclCreateTensorList((const aclTensor *const *)rows, 1));
    aclTensor *second[] = {ids(0, NULL), ids(2, (const int64_t[]){1, 1})}; /* nowhere, column 1 */
    MAKES_MATRIX(Index, 2, 2, WANT(2, 2, 4, 4), a,
                 aclCreateTensorList((const aclTensor *const *)second, 2));
    const int64_t pads[] = {1, -1, 0, 1};
    MAKES_MATRIX(ConstantPadNd, 3, 2, WANT(9, 1, 9, 3, 9, 9), a, aclCreateIntArray(pads, 4),
                 number(9));
    MAKES_MATRIX(Triu, 2, 2, WANT(0, 2, 0, 0), a, 1);
}

static void folds_axes(void **state)
{
    (void)state;
    const int64_t wide[] = {2, 3}, last[] = {-1}, first[] = {0};
    aclTensor *x = reals(2, wide, WANT(3, -4, 0, 0, 0, 0)),
              *y = reals(2, wide, WANT(1, 5, 2, 4, 4, 9));
    MAKES(Any, 2, WANT(1, 0), x, aclCreateIntArray(last, 1), false);
    MAKES(All, 3, WANT(0, 0, 0), x, aclCreateIntArray(first, 1), false);
    MAKES(All, 2, WANT(1, 1), y, aclCreateIntArray(last, 1), false);
    MAKES(LinalgVectorNorm, 2, WANT(5, 0), x, number(2), aclCreateIntArray(last, 1), false,
          EMU_FLOAT);
    MAKES(LinalgVectorNorm, 2, WANT(7, 0), x, number(1), aclCreateIntArray(last, 1), false,
          EMU_FLOAT);
    MAKES(Max, 1, WANT(9), y);
    MAKES_MATRIX(Cumsum, 2, 3, WANT(1, 6, 8, 4, 8, 17), y, 1, EMU_FLOAT);
    int64_t best[2];
    const int64_t two[] = {2};
    void *at = device(sizeof best);
    aclTensor *ids_of = aclCreateTensor(two, 1, EMU_INT64, NULL, 0, ND, two, 1, at);
    CALL(ArgMax, y, 1, false, ids_of);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(best, at, sizeof best);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[1], 2);
}

static aclTensorList *list_of(aclTensor *a, aclTensor *b)
{
    const aclTensor *both[] = {a, b};
    return aclCreateTensorList(both, 2);
}

/* Lists of a tensor of three and one of one; CALL makes the output's. */
static void optimizers_take_lists(void **state)
{
    (void)state;
    const int64_t one[] = {1};
    void *at = device(3 * sizeof(float)), *at2 = device(sizeof(float));
    aclTensorList *x = list_of(reals(1, THREE, WANT(1, 4, 9)), reals(1, one, WANT(16)));
    aclTensorList *t = list_of(reals(1, THREE, WANT(2, 2, 3)), reals(1, one, WANT(-1)));
    aclTensorList *out = list_of(aclCreateTensor(THREE, 1, EMU_FLOAT, NULL, 0, ND, THREE, 1, at),
                                 aclCreateTensor(one, 1, EMU_FLOAT, NULL, 0, ND, one, 1, at2));
    const aclScalar *both[] = {number(2), number(-4)};
    CALL(ForeachDivScalarList, x, aclCreateScalarList(both, 2), out);
    expect("ForeachDivScalarList", at, 3, WANT(0.5f, 2, 4.5f));
    expect("ForeachDivScalarList", at2, 1, WANT(-4));
    CALL(ForeachAddScalarV2, x, number(0.5), out);
    expect("ForeachAddScalarV2", at, 3, WANT(1.5f, 4.5f, 9.5f));
    CALL(ForeachMulScalarV2, x, number(3), out);
    expect("ForeachMulScalarV2", at2, 1, WANT(48));
    CALL(ForeachLerpScalar, x, t, number(0.25), out);
    expect("ForeachLerpScalar", at, 3, WANT(1.25f, 3.5f, 7.5f));
    CALL(ForeachAddcmulScalarV2, x, t, t, number(0.5), out);
    expect("ForeachAddcmulScalarV2", at, 3, WANT(3, 6, 13.5f));
    CALL(ForeachSqrt, x, out);
    expect("ForeachSqrt", at2, 1, WANT(4));
    uint64_t bytes = 0;
    aclOpExecutor *executor = NULL;
    assert_int_equal(aclnnForeachDivScalarListGetWorkspaceSize(x, aclCreateScalarList(both, 1), out,
                                                               &bytes, &executor),
                     INVALID);
}

/* log(e^0 + e^log 3) = log 4 */
static void takes_the_loss_of_log_softmax(void **state)
{
    (void)state;
    const int64_t two[] = {2, 2}, pair[] = {2}, one[] = {1};
    const float l3 = logf(3), l4 = logf(4);
    aclTensor *x = reals(2, two, WANT(0, l3, 5, 5)), *w = reals(1, pair, WANT(1, 0.5f));
    aclTensor *y = reals(2, two, WANT(-l4, l3 - l4, -logf(2), -logf(2)));
    aclTensor *dy = reals(2, two, WANT(1, 0, 2, 2)), *target = ids(2, (const int64_t[]){1, 0});
    aclTensor *left_out = ids(2, (const int64_t[]){1, -100}), *total = reals(1, one, WANT(1.5f));
    MAKES_MATRIX(LogSoftmax, 2, 2, WANT(-l4, l3 - l4, -logf(2), -logf(2)), x, -1);
    MAKES_MATRIX(LogSoftmaxBackward, 2, 2, WANT(0.75f, -0.75f, 0, 0), dy, y, 1);
    void *at = device(2 * sizeof(float));
    aclTensor *loss = aclCreateTensor(one, 1, EMU_FLOAT, NULL, 0, ND, one, 1, at);
    CALL(NLLLoss, y, target, w, 1, -100, loss, total);
    expect("NLLLoss", at, 1, WANT((0.5f * (l4 - l3) + logf(2)) / 1.5f));
    CALL(NLLLoss, y, left_out, w, 2, -100, loss, reals(1, one, WANT(0)));
    expect("NLLLoss", at, 1, WANT(0.5f * (l4 - l3)));
    MAKES_MATRIX(NLLLossBackward, 2, 2, WANT(0, -1, -2, 0), reals(1, one, WANT(3)), y, target, w, 1,
                 -100, total);
}

/* Two matrices of a batch times one that has no batch. */
static void multiplies_what_spreads(void **state)
{
    (void)state;
    const int64_t left[] = {2, 1, 1, 2}, right[] = {2, 1}, out[] = {2, 1, 1, 1};
    void *at = device(2 * sizeof(float));
    aclTensor *y = aclCreateTensor(out, 4, EMU_FLOAT, NULL, 0, ND, out, 4, at);
    CALL(Matmul, reals(4, left, WANT(1, 2, 3, 4)), reals(2, right, WANT(10, 1)), y, 0);
    expect("Matmul", at, 2, WANT(12, 34));
}

static void settings_are_taken(void **state)
{
    char text[4] = "?";
    (void)state;
    assert_int_equal(aclSetCompileopt(7, "enable"), 0);
    assert_int_equal(aclGetCompileoptSize(10), 1);
    assert_int_equal(aclGetCompileopt(10, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(aclGetCompileopt(10, NULL, 0), 100000);
}

/* Some clients go on after such a failure: nothing that they could read is to come back. */
static void what_is_not_emulated_ends_the_device(void **state)
{
    (void)state;
    assert_non_null(aclCreateTensorDesc()); /* an operator's name is known when it is run */
    assert_int_equal(aclopCompileAndExecute("Round"), UNSUPPORTED);
    assert_int_equal(aclrtSynchronizeDevice(), UNSUPPORTED);
    assert_int_equal(aclrtSynchronizeDevice(), UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_beside_tensors),
        cmocka_unit_test(losses_and_means),
        cmocka_unit_test(a_product_is_added_to_what_spreads),
        cmocka_unit_test(embeds_joins_and_cuts),
        cmocka_unit_test(folds_axes),
        cmocka_unit_test(optimizers_take_lists),
        cmocka_unit_test(takes_the_loss_of_log_softmax),
        cmocka_unit_test(multiplies_what_spreads),
        cmocka_unit_test(settings_are_taken),
        cmocka_unit_test(what_is_not_emulated_ends_the_device), /* the last: nothing works then */
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
