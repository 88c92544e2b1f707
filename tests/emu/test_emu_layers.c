/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_layers.c - the emulated driver's normalisations and their gradients, random
 * numbers, operators whose output is as long as what they find, indices, vectors and lists, beside
 * numbers worked out by hand or by a plain computation. */
#include "tests/emu/makes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID = 161002, ROWS = 4, WIDE = 3, ALL = ROWS * WIDE };
static const int64_t SHAPE[] = {ROWS, WIDE};
#define THESE(...) ((const int64_t[]){__VA_ARGS__})

static const float X[ALL] = {1, -2, 3, 0.5f, 4, -1, 2, 2.5f, -3, 1.5f, 0, 5};
static const float DY[ALL] = {0.3f, -1, 2, 1, 0.7f, -0.2f, 1.1f, -2, 0.4f, 0.9f, 1.3f, -0.6f};
static const float SCALE[] = {0.5f, 2, -1}, SHIFT[] = {0.1f, -0.3f, 0.7f};

static aclTensor *room(int64_t n, void **at)
{
    *at = device((size_t)n * sizeof(float));
    return aclCreateTensor(&n, 1, EMU_FLOAT, NULL, 0, ND, &n, 1, *at);
}

static aclTensor *room_matrix(void **at)
{
    *at = device(sizeof X);
    return tensor(EMU_FLOAT, ROWS, WIDE, NULL, *at);
}

/* What the tests compute: element (r, i) belongs to statistic r, or i where `by_column`. */
static double normed(bool by_column, int r, int i, double *rstd)
{
    double mean = 0, square = 0;
    const int n = by_column ? ROWS : WIDE;
    for (int k = 0; k < n; k++) mean += (double)(by_column ? X[k * WIDE + i] : X[r * WIDE + k]) / n;
    for (int k = 0; k < n; k++)
        square += pow((double)(by_column ? X[k * WIDE + i] : X[r * WIDE + k]) - mean, 2) / n;
    *rstd = 1 / sqrt(square + 0.1);
    return ((double)X[r * WIDE + i] - mean) * *rstd;
}

static void expected(bool by_column, float y[ALL], float dx[ALL], float d_scale[WIDE],
                     float d_shift[WIDE])
{
    memset(d_scale, 0, WIDE * sizeof *d_scale);
    memset(d_shift, 0, WIDE * sizeof *d_shift);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < WIDE; i++) {
            double rstd, g = 0, gh = 0, other;
            const int n = by_column ? ROWS : WIDE;
            const double h = normed(by_column, r, i, &rstd);
            for (int k = 0; k < n; k++) {
                const int e = by_column ? k * WIDE + i : r * WIDE + k;
                const double each = (double)DY[e] * (double)SCALE[e % WIDE];
                g += each / n;
                gh += each * normed(by_column, e / WIDE, e % WIDE, &other) / n;
            }
            y[r * WIDE + i] = (float)(h * (double)SCALE[i] + (double)SHIFT[i]);
            dx[r * WIDE + i] =
                (float)(rstd * ((double)DY[r * WIDE + i] * (double)SCALE[i] - g - h * gh));
            d_scale[i] += (float)((double)DY[r * WIDE + i] * h);
            d_shift[i] += DY[r * WIDE + i];
        }
}

static void norms_and_their_gradients(void **state)
{
    static const bool mask[] = {true, true, true};
    const int64_t wide = WIDE;
    float y[ALL], dx[ALL], d_scale[WIDE], d_shift[WIDE];
    (void)state;
    for (int by_column = 0; by_column < 2; by_column++) {
        void *at[6];
        const int64_t n = by_column ? WIDE : ROWS;
        aclTensor *x = reals(2, SHAPE, X), *dy = reals(2, SHAPE, DY), *w = reals(1, &wide, SCALE);
        aclTensor *b = reals(1, &wide, SHIFT), *out = room_matrix(&at[0]), *mean = room(n, &at[1]);
        aclTensor *rstd = room(n, &at[2]), *grad = room_matrix(&at[3]), *dw = room(WIDE, &at[4]);
        aclTensor *db = room(WIDE, &at[5]);
        expected(by_column, y, dx, d_scale, d_shift);
        if (by_column) {
            aclTensor *running = reals(1, &wide, WANT(0, 0, 0)),
                      *spread = reals(1, &wide, WANT(1, 1, 1));
            CALL(BatchNorm, x, w, b, running, spread, true, 0.5, 0.1, out, mean, rstd);
            CALL(BatchNormBackward, dy, x, w, running, spread, mean, rstd, true, 0.1,
                 aclCreateBoolArray(mask, 3), grad, dw, db);
        } else {
            CALL(LayerNorm, x, aclCreateIntArray(&wide, 1), w, b, 0.1, out, mean, rstd);
            CALL(LayerNormBackward, dy, x, aclCreateIntArray(&wide, 1), mean, rstd, w, b,
                 aclCreateBoolArray(mask, 3), grad, dw, db);
        }
        expect("normed", at[0], ALL, y);
        expect("its gradient", at[3], ALL, dx);
        expect("of the weight", at[4], WIDE, d_scale);
        expect("of the bias", at[5], WIDE, d_shift);
    }
}

/* One group of one channel is a row's norm. */
static void groups_are_normed(void **state)
{
    void *at[3];
    float y[ALL], dx[ALL], d_scale[WIDE], d_shift[WIDE];
    (void)state;
    expected(false, y, dx, d_scale, d_shift);
    for (int i = 0; i < ALL; i++) y[i] = (y[i] - SHIFT[i % WIDE]) / SCALE[i % WIDE];
    CALL(GroupNorm, reals(2, SHAPE, X), NULL, NULL, ROWS, 1, WIDE, 1, 0.1, room_matrix(&at[0]),
         room(ROWS, &at[1]), room(ROWS, &at[2]));
    expect("GroupNorm", at[0], ALL, y);
    /* channels as they are weighted: one row's */
    CALL(GroupNorm, reals(2, SHAPE, X), reals(1, THESE(WIDE), SCALE), reals(1, THESE(WIDE), SHIFT),
         ROWS, WIDE, 1, 1, 0.1, room_matrix(&at[0]), room(ROWS, &at[1]), room(ROWS, &at[2]));
    expected(false, y, dx, d_scale, d_shift);
    expect("GroupNorm, weighted", at[0], ALL, y);
}

/* By running numbers where it does not train, which it makes where it does. */
static void batches_keep_running_numbers(void **state)
{
    const int64_t two[] = {2, 1}, one[] = {1};
    void *at[3];
    void *mean = upload(WANT(2), 4), *spread = upload(WANT(4), 4);
    aclTensor *m = aclCreateTensor(one, 1, EMU_FLOAT, NULL, 0, ND, one, 1, mean);
    aclTensor *v = aclCreateTensor(one, 1, EMU_FLOAT, NULL, 0, ND, one, 1, spread);
    aclTensor *x = reals(2, two, WANT(1, 5)), *out = NULL;
    (void)state;
    at[0] = device(8);
    out = tensor(EMU_FLOAT, 2, 1, NULL, at[0]);
    CALL(BatchNorm, x, NULL, NULL, m, v, false, 0.25, 0.0, out, room(1, &at[1]), room(1, &at[2]));
    expect("BatchNorm, not training", at[0], 2, WANT(-0.5f, 1.5f));
    CALL(BatchNorm, x, NULL, NULL, m, v, true, 0.25, 0.0, out, room(1, &at[1]), room(1, &at[2]));
    expect("BatchNorm, training", at[0], 2, WANT(-1, 1));
    expect("running mean", mean, 1, WANT(2.25f));      /* 0.75 2 + 0.25 3 */
    expect("running variance", spread, 1, WANT(5.0f)); /* 0.75 4 + 0.25 8, which is over one less */
}

/* ---- random numbers ---- */

enum { MANY = 4000 };

static double moments(const float *v, double *deviation)
{
    double sum = 0, square = 0;
    for (int i = 0; i < MANY; i++) sum += (double)v[i] / MANY;
    for (int i = 0; i < MANY; i++) square += pow((double)v[i] - sum, 2) / MANY;
    *deviation = sqrt(square);
    return sum;
}

static void seeds_make_the_same_again(void **state)
{
    static float a[MANY], b[MANY];
    void *at;
    double off;
    aclTensor *y = room(MANY, &at);
    (void)state;
    CALL(InplaceNormal, y, 2.0F, 3.0F, 7, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(a, at, sizeof a);
    CALL(InplaceNormal, y, 2.0F, 3.0F, 7, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(b, at, sizeof b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(fabs(moments(a, &off) - 2) < 0.2 && fabs(off - 3) < 0.2);
    CALL(InplaceNormal, y, 2.0F, 3.0F, 7, 10);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(b, at, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    CALL(InplaceUniform, y, -1.0, 3.0, 5, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(a, at, sizeof a);
    assert_true(fabs(moments(a, &off) - 1) < 0.1 && fabs(off - 4 / sqrt(12)) < 0.1);
    CALL(InplaceBernoulli, y, number(0.2), 5, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(a, at, sizeof a);
    assert_true(fabs(moments(a, &off) - 0.2) < 0.05 && fabs(off - 0.4) < 0.05);
    CALL(InplaceRandom, y, 3, 5, 5, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(a, at, sizeof a);
    assert_true(fabs(moments(a, &off) - 3.5) < 0.05 && fabs(off - 0.5) < 0.05);
}

static void dropout_keeps_what_its_mask_says(void **state)
{
    static float y[MANY], ones[MANY];
    unsigned char bits[MANY / 8];
    const int64_t many = MANY, bytes = MANY / 8;
    void *mask = device(sizeof bits), *at;
    aclTensor *m = aclCreateTensor(&bytes, 1, EMU_UINT8, NULL, 0, ND, &bytes, 1, mask);
    int kept = 0;
    (void)state;
    for (int i = 0; i < MANY; i++) ones[i] = 1;
    CALL(DropoutGenMaskV2, aclCreateIntArray(&many, 1), 0.25, 3, 0, EMU_FLOAT, m);
    CALL(DropoutDoMask, reals(1, &many, ones), m, 0.25, room(MANY, &at));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(bits, mask, sizeof bits);
    download(y, at, sizeof y);
    for (int i = 0; i < MANY; i++) {
        const bool stays = bits[i / 8] >> (i % 8) & 1;
        kept += stays;
        assert_true(is_near(y[i], stays ? 4.0f / 3 : 0, 1e-6));
    }
    assert_true(kept > 2880 && kept < 3120);
}

static void permutes_and_draws(void **state)
{
    int64_t order[16], drawn[16];
    bool seen[16] = {false};
    const int64_t sixteen = 16;
    void *at = device(sizeof order);
    aclTensor *y = aclCreateTensor(&sixteen, 1, EMU_INT64, NULL, 0, ND, &sixteen, 1, at);
    (void)state;
    CALL(Randperm, 16, 5, 0, y);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(order, at, sizeof order);
    for (int i = 0; i < 16; i++) {
        assert_true(order[i] >= 0 && order[i] < 16 && !seen[order[i]]);
        seen[order[i]] = true;
    }
    CALL(Multinomial, reals(1, (const int64_t[]){3}, WANT(0, 2, 1)), 16, true, 5, 0, y);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(drawn, at, sizeof drawn);
    for (int i = 0; i < 16; i++) assert_true(drawn[i] == 1 || drawn[i] == 2);
}

/* ---- outputs as long as what is found ---- */

static void expect_found(const aclTensor *y, const void *at, int n, const int64_t *dims, int rank,
                         const int64_t *want)
{
    int64_t got[MOST], *view = NULL;
    uint64_t axes = 0;
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    assert_int_equal(aclGetViewShape(y, &view, &axes), 0);
    assert_int_equal(axes, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(view[i], dims[i]);
    free(view);
    download(got, at, (size_t)n * sizeof *got);
    for (int i = 0; i < n; i++) assert_int_equal(got[i], want[i]);
}

static aclTensor *longs(int rank, const int64_t *dims, void **at)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dims[i];
    *at = device((size_t)n * sizeof(int64_t));
    return aclCreateTensor(dims, (uint64_t)rank, EMU_INT64, NULL, 0, ND, dims, (uint64_t)rank, *at);
}

static void finds_places_and_kinds(void **state)
{
    void *at, *inverse, *counts;
    aclTensor *x = reals(2, (const int64_t[]){2, 2}, WANT(0, 3, 4, 0));
    aclTensor *y = longs(2, THESE(4, 2), &at);
    (void)state;
    CALL(Nonzero, x, y);
    expect_found(y, at, 4, THESE(2, 2), 2, THESE(0, 1, 1, 0));
    y = longs(2, THESE(2, 4), &at);
    CALL(NonzeroV2, x, y);
    expect_found(y, at, 4, THESE(2, 2), 2, THESE(0, 1, 1, 0));
    aclTensor *v = ids(5, THESE(7, 3, 3, 7, 5));
    aclTensor *places = longs(1, THESE(5), &inverse), *numbers = longs(1, THESE(5), &counts);
    y = longs(1, THESE(5), &at);
    CALL(Unique2, v, true, true, true, y, places, numbers);
    expect_found(y, at, 3, THESE(3), 1, THESE(3, 5, 7));
    expect_found(places, inverse, 5, THESE(5), 1, THESE(2, 0, 0, 2, 1));
    expect_found(numbers, counts, 3, THESE(3), 1, THESE(2, 1, 2));
    y = longs(1, THESE(5), &at);
    numbers = longs(1, THESE(5), &counts);
    CALL(UniqueConsecutive, v, true, true, 1000, y, places, numbers);
    expect_found(y, at, 4, THESE(4), 1, THESE(7, 3, 7, 5));
    expect_found(numbers, counts, 4, THESE(4), 1, THESE(1, 2, 1, 1));
    const int64_t two[] = {3, 2};
    aclTensor *rows = aclCreateTensor(two, 2, EMU_INT64, NULL, 0, ND, two, 2,
                                      upload(THESE(2, 1, 1, 5, 2, 1), 48));
    y = longs(2, two, &at);
    CALL(UniqueDim, rows, true, true, 0, y, places = longs(1, THESE(3), &inverse),
         longs(1, THESE(3), &counts));
    expect_found(y, at, 4, THESE(2, 2), 2, THESE(1, 5, 2, 1));
    expect_found(places, inverse, 3, THESE(3), 1, THESE(1, 0, 1));
}

static void selects_and_scatters_under_a_mask(void **state)
{
    const int64_t three[] = {3};
    void *at = upload(WANT(1, 2, 3), 12), *out;
    aclTensor *mask = aclCreateTensor(three, 1, EMU_BOOL, NULL, 0, ND, three, 1,
                                      upload((const char[]){1, 0, 1}, 3));
    (void)state;
    CALL(MaskedSelect, reals(1, three, WANT(5, 6, 7)), mask, room(3, &out));
    expect("MaskedSelect", out, 2, WANT(5, 7));
    CALL(InplaceMaskedScatter, aclCreateTensor(three, 1, EMU_FLOAT, NULL, 0, ND, three, 1, at),
         mask, reals(1, three, WANT(8, 9, 10)));
    expect("InplaceMaskedScatter", at, 3, WANT(8, 2, 9));
}

/* Axes 1 and 3 are named, which are not side by side: their shape stands in front. */
static void indices_need_not_be_side_by_side(void **state)
{
    const int64_t cube[] = {1, 2, 2, 2}, front[] = {3, 1, 2};
    void *at = upload(WANT(1, 2, 3, 4, 5, 6, 7, 8), 32), *out = device(24);
    aclTensor *x = aclCreateTensor(cube, 4, EMU_FLOAT, NULL, 0, ND, cube, 4, at);
    aclTensor *apart[] = {ids(0, NULL), ids(3, THESE(0, 1, 1)), ids(0, NULL),
                          ids(3, THESE(1, 0, 1))};
    aclTensor *again[] = {ids(0, NULL), ids(2, THESE(0, 1)), ids(0, NULL), ids(2, THESE(1, 0))};
    (void)state;
    CALL(Index, x, aclCreateTensorList((const aclTensor *const *)apart, 4),
         aclCreateTensor(front, 3, EMU_FLOAT, NULL, 0, ND, front, 3, out));
    expect("Index", out, 6, WANT(2, 4, 5, 7, 6, 8));
    CALL(IndexPutImpl, x, aclCreateTensorList((const aclTensor *const *)again, 4),
         reals(1, (const int64_t[]){1}, WANT(9)), true, false); /* one value spreads */
    expect("IndexPutImpl", at, 8, WANT(1, 11, 3, 13, 14, 6, 16, 8));
}

/* ---- vectors and batches ---- */

static void multiplies_vectors(void **state)
{
    const int64_t two[] = {2}, square[] = {2, 2}, batch[] = {2, 2, 2};
    aclTensor *m = reals(2, square, WANT(1, 2, 3, 4)), *v = reals(1, two, WANT(5, 7));
    aclTensor *w = reals(1, two, WANT(10, 20)), *b = reals(3, batch, WANT(1, 2, 3, 4, 5, 6, 7, 8));
    void *one = device(4);
    (void)state;
    void *at;
    aclTensor *y = room(2, &at);
    CALL(Mv, m, v, y, 0);
    expect("Mv", at, 2, WANT(19, 43));
    CALL(Matmul, m, v, y, 0);
    expect("Matmul of a vector", at, 2, WANT(19, 43));
    CALL(Matmul, v, m, y, 0);
    expect("Matmul by a vector", at, 2, WANT(26, 38));
    CALL(Addmv, w, m, v, number(2), number(0.5), y, 0); /* alpha, then beta */
    expect("Addmv", at, 2, WANT(43, 96));
    CALL(Dot, v, w, aclCreateTensor(NULL, 0, EMU_FLOAT, NULL, 0, ND, NULL, 0, one));
    expect("Dot", one, 1, WANT(190));
    MAKES_MATRIX(Addr, 2, 2, WANT(100.5f, 201, 141.5f, 282), m, v, w, number(0.5), number(2));
    void *four = device(16);
    aclTensor *out = tensor(EMU_FLOAT, 2, 2, NULL, four);
    CALL(Addbmm, m, b, b, number(2), number(1), out, 0);
    expect("Addbmm", four, 4, WANT(2 + 7 + 67, 4 + 10 + 78, 6 + 15 + 91, 8 + 22 + 106));
    void *eight = device(32);
    aclTensor *all = aclCreateTensor(batch, 3, EMU_FLOAT, NULL, 0, ND, batch, 3, eight);
    CALL(Baddbmm, b, b, b, number(-1), number(2), all, 0);
    expect("Baddbmm", eight, 8, WANT(13, 18, 27, 40, 129, 150, 175, 204));
}

/* ---- lists ---- */

static aclTensorList *list_of(aclTensor *a, aclTensor *b)
{
    const aclTensor *both[] = {a, b};
    return aclCreateTensorList(both, 2);
}

#define LISTED(name, want, ...)                                                                    \
    do {                                                                                           \
        void *at_, *second_;                                                                       \
        aclTensor *first_ = room(3, &at_);                                                         \
        CALL(name, __VA_ARGS__, list_of(first_, room(1, &second_)));                               \
        expect(#name, at_, 3, want);                                                               \
    } while (0)

static void lists_of_tensors(void **state)
{
    const int64_t three[] = {3}, one[] = {1};
    const aclScalar *both[] = {number(3), number(4)};
    aclTensorList *x = list_of(reals(1, three, WANT(1, 4, -2)), reals(1, one, WANT(9)));
    aclTensorList *y = list_of(reals(1, three, WANT(2, -1, 3)), reals(1, one, WANT(1)));
    aclTensorList *w = list_of(reals(1, three, WANT(0.5f, 2, 1)), reals(1, one, WANT(1)));
    (void)state;
    LISTED(ForeachAddScalar, WANT(8, 11, 5), x, reals(1, one, WANT(7)));
    LISTED(ForeachSubScalarV2, WANT(-1, 2, -4), x, number(2));
    LISTED(ForeachMulScalarList, WANT(3, 12, -6), x, aclCreateScalarList(both, 2));
    LISTED(ForeachDivScalarV2, WANT(0.5f, 2, -1), x, number(2));
    LISTED(ForeachPowScalarV2, WANT(1, 16, 4), x, number(2));
    LISTED(ForeachPowScalarAndTensor, WANT(2, 16, 0.25f), number(2), x);
    LISTED(ForeachMaximumScalarV2, WANT(2, 4, 2), x, number(2));
    LISTED(ForeachMinimumList, WANT(1, -1, -2), x, y);
    LISTED(ForeachAddListV2, WANT(7, 1, 7), x, y, number(3));
    LISTED(ForeachSubListV2, WANT(-5, 7, -11), x, y, number(3));
    LISTED(ForeachMulList, WANT(2, -4, -6), x, y);
    LISTED(ForeachDivList, WANT(0.5f, -4, -2.0f / 3), x, y);
    LISTED(ForeachLerpList, WANT(1.5f, -6, 3), x, y, w);
    LISTED(ForeachAddcdivScalarV2, WANT(9, 3, 4), x, y, w, number(2));
    LISTED(ForeachAddcmulScalarList, WANT(4, -2, 7), x, y, w, aclCreateScalarList(both, 2));
    LISTED(ForeachNeg, WANT(-1, -4, 2), x);
    LISTED(ForeachAbs, WANT(1, 4, 2), x);
    LISTED(ForeachReciprocal, WANT(1, 0.25f, -0.5f), x);
    LISTED(ForeachSign, WANT(1, 1, -1), x);
    LISTED(ForeachExp, WANT(expf(1), expf(4), expf(-2)), x);
    LISTED(ForeachSigmoid, WANT(1 / (1 + expf(-1)), 1 / (1 + expf(-4)), 1 / (1 + expf(2))), x);
    LISTED(ForeachCopy, WANT(1, 4, -2), x);
}

static void gradients_are_unscaled(void **state)
{
    const int64_t three[] = {3}, one[] = {1};
    void *g = upload(WANT(2, 4, 6), 12), *found = upload(WANT(0), 4), *scale = upload(WANT(8), 4),
         *steps = upload(THESE(1), 8);
    aclTensor *f = aclCreateTensor(one, 1, EMU_FLOAT, NULL, 0, ND, one, 1, found);
    aclTensor *s = aclCreateTensor(one, 1, EMU_FLOAT, NULL, 0, ND, one, 1, scale);
    aclTensor *k = aclCreateTensor(one, 1, EMU_INT32, NULL, 0, ND, one, 1, steps);
    const aclTensor *list[] = {aclCreateTensor(three, 1, EMU_FLOAT, NULL, 0, ND, three, 1, g)};
    (void)state;
    CALL(ForeachNonFiniteCheckAndUnscale, aclCreateTensorList(list, 1), f,
         reals(1, one, WANT(0.5f)));
    expect("unscaled", g, 3, WANT(1, 2, 3));
    expect("found nothing", found, 1, WANT(0));
    CALL(AmpUpdateScale, s, k, f, 4.0, 0.25, 2, s, k); /* the second good step */
    expect("grown", scale, 1, WANT(32));
    const aclTensor *bad[] = {reals(1, three, WANT(1, INFINITY, 3))};
    CALL(ForeachNonFiniteCheckAndUnscale, aclCreateTensorList(bad, 1), f,
         reals(1, one, WANT(0.5f)));
    expect("found one", found, 1, WANT(1));
    CALL(AmpUpdateScale, s, k, f, 4.0, 0.25, 2, s, k);
    expect("backed off", scale, 1, WANT(8));
}

static void refusals(void **state)
{
    uint64_t bytes = 0;
    aclOpExecutor *e = NULL;
    void *at;
    const int64_t wide = WIDE, two = 2;
    aclTensor *x = reals(2, SHAPE, X), *y = room_matrix(&at), *r = room(ROWS, &at);
    (void)state;
    assert_int_equal(aclnnLayerNormGetWorkspaceSize(x, aclCreateIntArray(&wide, 1),
                                                    reals(1, &two, WANT(1, 2)), NULL, 0.1, y, r, r,
                                                    &bytes, &e),
                     INVALID);
    assert_int_equal(aclnnNonzeroGetWorkspaceSize(x, y, &bytes, &e), INVALID);
    assert_int_equal(aclnnInplaceRandomGetWorkspaceSize(y, 5, 5, 0, 0, &bytes, &e), INVALID);
    assert_int_equal(aclnnMvGetWorkspaceSize(x, r, y, 0, &bytes, &e), INVALID);
    assert_int_equal(aclnnDropoutDoMaskGetWorkspaceSize(x, x, 0.5, y, &bytes, &e), INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_and_their_gradients),
        cmocka_unit_test(groups_are_normed),
        cmocka_unit_test(batches_keep_running_numbers),
        cmocka_unit_test(seeds_make_the_same_again),
        cmocka_unit_test(dropout_keeps_what_its_mask_says),
        cmocka_unit_test(permutes_and_draws),
        cmocka_unit_test(finds_places_and_kinds),
        cmocka_unit_test(selects_and_scatters_under_a_mask),
        cmocka_unit_test(indices_need_not_be_side_by_side),
        cmocka_unit_test(multiplies_vectors),
        cmocka_unit_test(lists_of_tensors),
        cmocka_unit_test(gradients_are_unscaled),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
