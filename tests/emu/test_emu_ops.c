/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_ops.c - operators of the emulated driver against numbers worked out by hand,
 * and what each of them refuses. */
#include "tests/emu/client.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    INVALID = 161002,
    MISSING = 161001,
    NO_KERNEL = 561003,
    CORE_FAULT = 507015,
    VECTOR_FAULT = 507035
};

static int start(void **state)
{
    (void)state;
    assert_int_equal(aclInit(NULL), 0);
    assert_int_equal(aclrtSetDevice(0), 0);
    return 0;
}

static aclTensor *of(int type, const void *numbers, size_t bytes, int rank, const int64_t *dims)
{
    aclTensor *t = aclCreateTensor(dims, (uint64_t)rank, type, NULL, 0, ND, dims, (uint64_t)rank,
                                   upload(numbers, bytes));
    assert_non_null(t);
    return t;
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define REALS(rank, dims, ...)                                                                     \
    of(EMU_FLOAT, ((const float[]){__VA_ARGS__}), sizeof((const float[]){__VA_ARGS__}), rank, dims)
#define WHOLE(rank, dims, ...)                                                                     \
    of(EMU_INT64, ((const int64_t[]){__VA_ARGS__}), sizeof((const int64_t[]){__VA_ARGS__}), rank,  \
       dims)

/* An output, whose numbers are -1 before, and its memory. */
typedef struct output {
    aclTensor *t;
    void *at;
    int n;
} output;

static output out(int rank, const int64_t *dims)
{
    output o = {.n = 1};
    float before[64];
    for (int i = 0; i < rank; i++) o.n *= (int)dims[i];
    for (int i = 0; i < o.n; i++) before[i] = -1;
    o.at = o.n ? upload(before, (size_t)o.n * sizeof *before) : device(64);
    o.t = aclCreateTensor(dims, (uint64_t)rank, EMU_FLOAT, NULL, 0, ND, dims, (uint64_t)rank, o.at);
    assert_non_null(o.t);
    return o;
}

static void expect(const output *o, const float *want)
{
    float got[64];
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, o->at, (size_t)o->n * sizeof *got);
    for (int i = 0; i < o->n; i++) {
        if (!is_near(got[i], want[i], 1e-6))
            print_error("%d: %.8g, want %.8g\n", i, (double)got[i], (double)want[i]);
        assert_true(is_near(got[i], want[i], 1e-6));
    }
}

#define EXPECT(o, ...) expect(&(o), (const float[]){__VA_ARGS__})

/* Phase 1 says this code. */
#define REFUSED(code, name, ...)                                                                   \
    do {                                                                                           \
        uint64_t bytes_ = 0;                                                                       \
        aclOpExecutor *x_ = NULL;                                                                  \
        assert_int_equal(aclnn##name##GetWorkspaceSize(__VA_ARGS__, &bytes_, &x_), code);          \
    } while (0)

static aclScalar *number(double x)
{
    return aclCreateScalar(&x, EMU_DOUBLE);
}

/* ---- sums, slices ---- */

static void sums_over_several_axes(void **state)
{
    (void)state;
    aclTensor *x = REALS(3, DIMS(2, 2, 3), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    output a = out(1, DIMS(2)), b = out(3, DIMS(1, 2, 1)), c = out(0, DIMS(0));
    CALL(ReduceSum, x, aclCreateIntArray(DIMS(0, -1), 2), false, EMU_FLOAT, a.t);
    EXPECT(a, 30, 48);
    CALL(ReduceSum, x, aclCreateIntArray(DIMS(2, 0), 2), true, EMU_FLOAT, b.t);
    EXPECT(b, 30, 48);
    CALL(ReduceSum, x, aclCreateIntArray(NULL, 0), false, EMU_FLOAT, c.t);
    EXPECT(c, 78);
    REFUSED(INVALID, ReduceSum, x, aclCreateIntArray(DIMS(0, 0), 2), false, EMU_FLOAT, a.t);
    REFUSED(INVALID, ReduceSum, x, aclCreateIntArray(DIMS(3), 1), false, EMU_FLOAT, a.t);
    REFUSED(INVALID, ReduceSum, x, aclCreateIntArray(DIMS(1, 2), 2), true, EMU_FLOAT, a.t);
}

static void takes_slices_of_any_axis(void **state)
{
    (void)state;
    aclTensor *x = REALS(2, DIMS(2, 3), 1, 2, 3, 4, 5, 6), *index = WHOLE(1, DIMS(2), 2, 0);
    output y = out(2, DIMS(2, 2)), sum = out(2, DIMS(2, 3));
    CALL(IndexSelect, x, 1, index, y.t);
    EXPECT(y, 3, 1, 6, 4);
    CALL(IndexAdd, x, -1, index, REALS(2, DIMS(2, 2), 10, 20, 30, 40), number(0.5), sum.t);
    EXPECT(sum, 11, 2, 8, 24, 5, 21);
    REFUSED(INVALID, IndexSelect, x, 2, index, y.t);
    CALL(IndexSelect, x, 1, WHOLE(1, DIMS(2), 3, 0), y.t);
    assert_int_equal(aclrtSynchronizeStream(NULL), VECTOR_FAULT);
}

/* ---- order ---- */

static void sorts(void **state)
{
    (void)state;
    aclTensor *x = REALS(1, DIMS(5), 2, NAN, 1, 2, -3);
    output values = out(1, DIMS(5));
    int64_t order[5];
    void *at = device(sizeof order);
    aclTensor *ids = aclCreateTensor(DIMS(5), 1, EMU_INT64, NULL, 0, ND, DIMS(5), 1, at);
    CALL(Sort, x, true, 0, true, values.t, ids);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(order, at, sizeof order);
    const int64_t falling[5] = {1, 0, 3, 2, 4}, rising[5] = {4, 2, 3, 0, 1};
    assert_memory_equal(order, falling, sizeof order); /* none is larger than what is no number */
    CALL(Sort, x, false, -1, false, values.t, ids);    /* not stable: the other way round */
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(order, at, sizeof order);
    assert_memory_equal(order, rising, sizeof order);
    REFUSED(INVALID, Sort, x, true, 0, true, values.t, values.t);
    REFUSED(INVALID, Sort, x, true, 1, true, values.t, ids);
    REFUSED(MISSING, Sort, x, true, 0, true, values.t, NULL);
}

static void gathers_scatters_and_puts(void **state)
{
    (void)state;
    aclTensor *x = REALS(2, DIMS(2, 3), 1, 2, 3, 4, 5, 6);
    aclTensor *index = WHOLE(2, DIMS(2, 2), 2, 2, 0, -1);
    output y = out(2, DIMS(2, 2)), sum = out(2, DIMS(2, 3)), rows = out(2, DIMS(3, 2));
    CALL(Gather, x, 1, index, y.t);
    EXPECT(y, 3, 3, 4, 6);
    CALL(ScatterAdd, x, 1, index, REALS(2, DIMS(2, 2), 10, 20, 30, 40), sum.t);
    EXPECT(sum, 1, 2, 33, 34, 5, 46);
    const aclTensor *one[1] = {WHOLE(1, DIMS(2), 2, 0)};
    aclTensorList *list = aclCreateTensorList(one, 1);
    aclTensor *values = REALS(2, DIMS(2, 2), 1, 2, 3, 4);
    CALL(IndexPutImpl, rows.t, list, values, false, true);
    EXPECT(rows, 3, 4, -1, -1, 1, 2);
    CALL(IndexPutImpl, rows.t, list, values, true, true);
    EXPECT(rows, 6, 8, -1, -1, 2, 4);
    REFUSED(INVALID, Gather, x, 1, index, sum.t);
    REFUSED(INVALID, Gather, x, 0, WHOLE(2, DIMS(1, 4), 0, 0, 0, 0), out(2, DIMS(1, 4)).t);
    REFUSED(INVALID, ScatterAdd, x, 1, index, REALS(2, DIMS(1, 2), 1, 2), sum.t);
    REFUSED(INVALID, IndexPutImpl, rows.t, list, x, false, true);
    CALL(Gather, x, 1, WHOLE(2, DIMS(2, 2), 3, 0, 0, 0), y.t);
    assert_int_equal(aclrtSynchronizeStream(NULL), VECTOR_FAULT);
}

static void counts_up(void **state)
{
    (void)state;
    output y = out(1, DIMS(3));
    CALL(Arange, number(1), number(2.2), number(0.5), y.t);
    EXPECT(y, 1, 1.5F, 2);
    REFUSED(INVALID, Arange, number(0), number(4), number(1), y.t);
    REFUSED(INVALID, Arange, number(0), number(3), number(-1), y.t);
    REFUSED(INVALID, Arange, number(0), number(3), number(0), y.t);
}

/* ---- products ---- */

#define NO_LISTS NULL, NULL, NULL, NULL, NULL, NULL

static aclTensorList *alone(const aclTensor *t)
{
    return aclCreateTensorList(&t, 1);
}

/* Two groups of one and two rows; the fourth row belongs to none and stays. */
static void multiplies_groups(void **state)
{
    (void)state;
    aclTensor *x = REALS(2, DIMS(4, 2), 1, 2, 3, 4, 5, 6, 7, 8);
    aclTensor *w = REALS(3, DIMS(2, 2, 1), 1, 10, 2, 20), *ends = WHOLE(1, DIMS(2), 1, 3);
    output y = out(2, DIMS(4, 1)), dw = out(3, DIMS(2, 2, 1));
    CALL(GroupedMatmulV4, alone(x), alone(w), NO_LISTS, ends, NULL, NULL, NULL, 3, 0, 0, 0,
         alone(y.t), NULL, NULL);
    EXPECT(y, 21, 86, 130, -1);
    const int64_t across[2] = {1, 2};
    const float rows[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    aclTensor *turned = tensor(EMU_FLOAT, 2, 4, across, upload(rows, sizeof rows));
    aclTensor *dy = REALS(2, DIMS(4, 1), 1, 1, 2, 9);
    aclTensor *lengths = WHOLE(1, DIMS(2), 1, 2);
    CALL(GroupedMatmulV4, alone(turned), alone(dy), NO_LISTS, lengths, NULL, NULL, NULL, 3, 2, 1, 0,
         alone(dw.t), NULL, NULL);
    EXPECT(dw, 1, 2, 13, 16);
    REFUSED(INVALID, GroupedMatmulV4, alone(turned), alone(w), NO_LISTS, ends, NULL, NULL, NULL, 3,
            0, 0, 0, alone(y.t), NULL, NULL);
    REFUSED(INVALID, GroupedMatmulV4, alone(x), alone(dy), NO_LISTS, lengths, NULL, NULL, NULL, 3,
            2, 1, 0, alone(dw.t), NULL, NULL);
    REFUSED(INVALID, GroupedMatmulV4, alone(x), alone(w), NO_LISTS, ends, NULL, NULL, NULL, 3, 0, 0,
            5, alone(y.t), NULL, NULL);
    REFUSED(MISSING, GroupedMatmulV4, alone(x), alone(w), NO_LISTS, NULL, NULL, NULL, NULL, 3, 0, 0,
            0, alone(y.t), NULL, NULL);
}

/* ---- rope, attention ---- */

static void turns_pairs(void **state)
{
    (void)state;
    aclTensor *x = REALS(4, DIMS(1, 1, 1, 4), 1, 2, 3, 4);
    aclTensor *cos = REALS(4, DIMS(1, 1, 1, 4), 0.6F, 0.6F, 1, 1);
    aclTensor *sin = REALS(4, DIMS(1, 1, 1, 4), 0.8F, 0.8F, 0, 0);
    output y = out(4, DIMS(1, 1, 1, 4));
    CALL(RotaryPositionEmbedding, x, cos, sin, 1, y.t); /* (1,2) by the angle of 0.6, 0.8 */
    EXPECT(y, 0.6F - 1.6F, 1.2F + 0.8F, 3, 4);
    CALL(RotaryPositionEmbedding, x, cos, sin, 0, y.t); /* (1,3), and (2,4); each its own angle */
    EXPECT(y, 0.6F - 2.4F, 1.2F - 3.2F, 3, 4);
    REFUSED(INVALID, RotaryPositionEmbedding, x, cos, sin, 2, y.t);
    REFUSED(INVALID, RotaryPositionEmbedding, x, REALS(2, DIMS(1, 2), 1, 1), sin, 1, y.t);
}

enum { FAR = 2147483647 };

/* Two queries of one head, q = k = {0, ln 3}, v = {1, 5}; the second sees both: weights of its
 * scores {0, (ln 3)^2}. Causal, by the packed mask. */
static void attends_and_back(void **state)
{
    (void)state;
    const float ln3 = 1.0986123F, p = 1 / (1 + expf(-ln3 * ln3)); /* of the second key */
    unsigned char *packed = malloc((size_t)2048 * 2048);
    assert_non_null(packed);
    for (int i = 0; i < 2048 * 2048; i++) packed[i] = i % 2048 > i / 2048;
    aclTensor *mask = of(EMU_BOOL, packed, (size_t)2048 * 2048, 2, DIMS(2048, 2048));
    free(packed);
    aclTensor *q = REALS(4, DIMS(1, 2, 1, 1), 0, ln3), *v = REALS(4, DIMS(1, 2, 1, 1), 1, 5);
    output y = out(4, DIMS(1, 2, 1, 1)), most = out(4, DIMS(1, 1, 2, 8)),
           sum = out(4, DIMS(1, 1, 2, 8)), none = out(1, DIMS(0));
    char bsnd[] = "BSND", bnsd[] = "BNSD", tnd[] = "TND";
    CALL(FlashAttentionScore, q, q, v, NULL, NULL, NULL, mask, NULL, 1.0, 1.0, FAR, FAR, 1, bsnd, 0,
         2, most.t, sum.t, none.t, y.t);
    EXPECT(y, 1, 1 + 4 * p);
    output dq = out(4, DIMS(1, 2, 1, 1)), dk = out(4, DIMS(1, 2, 1, 1)),
           dv = out(4, DIMS(1, 2, 1, 1));
    aclTensor *dy = REALS(4, DIMS(1, 2, 1, 1), 2, 1);
    CALL(FlashAttentionScoreGrad, q, q, v, dy, NULL, NULL, NULL, mask, most.t, sum.t, NULL, y.t,
         NULL, 1.0, 1.0, FAR, FAR, 1, bsnd, 0, 2, dq.t, dk.t, dv.t, none.t);
    /* of the second row: ds of key 1 = p (5 - y) = 4 p (1 - p) = -ds of key 0 */
    const float ds = 4 * p * (1 - p);
    EXPECT(dv, 2 + 1 - p, p);
    EXPECT(dq, 0, ds * ln3);
    EXPECT(dk, -ds * ln3, ds * ln3);
    CALL(FlashAttentionScore, q, q, v, NULL, NULL, NULL, NULL, NULL, 1.0, 1.0, FAR, FAR, 1, bsnd, 0,
         2, most.t, sum.t, none.t, y.t); /* without a mask everything is seen, whatever the mode */
    EXPECT(y, 3, 1 + 4 * p);
    REFUSED(INVALID, FlashAttentionScore, q, q, v, NULL, NULL, NULL, NULL, NULL, 1.0, 0.9, FAR, FAR,
            1, bsnd, 0, 0, most.t, sum.t, none.t, y.t);
    REFUSED(INVALID, FlashAttentionScore, q, q, v, NULL, NULL, NULL, q, NULL, 1.0, 1.0, FAR, FAR, 1,
            bsnd, 0, 2, most.t, sum.t, none.t, y.t);
    REFUSED(INVALID, FlashAttentionScore, q, q, v, NULL, NULL, NULL, NULL, NULL, 1.0, 1.0, FAR, FAR,
            2, bsnd, 0, 0, most.t, sum.t, none.t, y.t);
    REFUSED(INVALID, FlashAttentionScore, q, q, v, NULL, NULL, NULL, NULL, NULL, 1.0, 1.0, FAR, FAR,
            1, bnsd, 0, 0, most.t, sum.t, none.t, y.t);
    REFUSED(INVALID, FlashAttentionScore, q, q, v, NULL, NULL, NULL, NULL, NULL, 1.0, 1.0, FAR, FAR,
            1, tnd, 0, 0, most.t, sum.t, none.t, y.t);
}

/* ---- loss, optimiser ---- */

/* softmax {1/4, 3/4} in both rows that count; the third is ignored. */
static void cross_entropy_and_back(void **state)
{
    (void)state;
    const float ln3 = 1.0986123F, ln4 = 1.3862944F, ln43 = 0.2876821F; /* ln 4/3 */
    aclTensor *x = REALS(2, DIMS(3, 2), 0, ln3, 0, ln3, 5, 6);
    aclTensor *target = WHOLE(1, DIMS(3), 0, 1, -100);
    output each = out(1, DIMS(3)), one = out(1, DIMS(1)), logs = out(2, DIMS(3, 2)),
           dx = out(2, DIMS(3, 2)), unused = out(1, DIMS(3));
    char none[] = "none", mean[] = "mean", odd[] = "median";
    CALL(CrossEntropyLoss, x, target, NULL, none, -100, 0.0, 0.0, false, each.t, logs.t, unused.t,
         unused.t);
    EXPECT(each, ln4, ln43, 0);
    CALL(CrossEntropyLossGrad, REALS(1, DIMS(3), 1, 2, 3), logs.t, target, NULL, NULL, NULL, none,
         -100, 0.0, 0.0, dx.t);
    EXPECT(dx, -0.75F, 0.75F, 0.5F, -0.5F, 0, 0);
    CALL(CrossEntropyLoss, x, target, REALS(1, DIMS(2), 3, 1), mean, -100, 0.0, 0.0, false, one.t,
         logs.t, unused.t, unused.t);
    EXPECT(one, (3 * ln4 + ln43) / 4);
    CALL(CrossEntropyLossGrad, REALS(1, DIMS(1), 8), logs.t, target, REALS(1, DIMS(2), 3, 1), NULL,
         NULL, mean, -100, 0.0, 0.0, dx.t);
    EXPECT(dx, -4.5F, 4.5F, 0.5F, -0.5F, 0, 0);
    CALL(CrossEntropyLoss, x, target, NULL, mean, -100, 0.2, 0.0, false, one.t, logs.t, unused.t,
         unused.t); /* smoothed: 0.8 of the own, 0.1 of every class */
    EXPECT(one, 0.5F * (0.8F * (ln4 + ln43) + 0.2F * (ln4 + ln43)));
    REFUSED(INVALID, CrossEntropyLoss, x, target, NULL, odd, -100, 0.0, 0.0, false, each.t, logs.t,
            unused.t, unused.t);
    REFUSED(INVALID, CrossEntropyLoss, x, target, NULL, mean, -100, 0.0, 0.0, false, each.t, logs.t,
            unused.t, unused.t);
    REFUSED(INVALID, CrossEntropyLoss, x, each.t, NULL, none, -100, 0.0, 0.0, false, each.t, logs.t,
            unused.t, unused.t);
    CALL(CrossEntropyLoss, x, WHOLE(1, DIMS(3), 0, 2, 0), NULL, none, -100, 0.0, 0.0, false, each.t,
         logs.t, unused.t, unused.t);
    assert_int_equal(aclrtSynchronizeStream(NULL), VECTOR_FAULT);
}

/* The first update, whose step is 0: m / (1 - beta1) = g and sqrt(v / (1 - beta2)) = |g|, so that
 * the number moves by lr whatever g is. */
static void adamw_counts_from_nothing(void **state)
{
    (void)state;
    output p = out(1, DIMS(2));
    aclTensor *m = REALS(1, DIMS(2), 0, 0), *v = REALS(1, DIMS(2), 0, 0);
    CALL(ApplyAdamWV2, p.t, m, v, NULL, REALS(1, DIMS(2), 4, -0.5F), REALS(1, DIMS(1), 0), 0.125F,
         0.9F, 0.99F, 0.5F, 0.0F, false, false);
    EXPECT(p, -1 * (1 - 0.0625F) - 0.125F, -1 * (1 - 0.0625F) + 0.125F);
    REFUSED(INVALID, ApplyAdamWV2, p.t, m, v, NULL, REALS(1, DIMS(1), 4), REALS(1, DIMS(1), 0),
            0.1F, 0.9F, 0.9F, 0.0F, 0.1F, false, false);
    REFUSED(INVALID, ApplyAdamWV2, p.t, m, v, NULL, m, m, 0.1F, 0.9F, 0.9F, 0.0F, 0.1F, false,
            false);
    REFUSED(INVALID, ApplyAdamWV2, p.t, m, v, NULL, m, REALS(1, DIMS(1), 0), 0.1F, 0.9F, 0.9F, 0.0F,
            0.1F, true, false);
}

static void element_by_element_by_type(void **state)
{
    (void)state;
    static const unsigned char flags[2] = {1, 0};
    aclTensor *x = REALS(1, DIMS(2), 1, 2), *ids = WHOLE(1, DIMS(2), 1, 2);
    aclTensor *is = of(EMU_BOOL, flags, sizeof flags, 1, DIMS(2));
    const uint16_t halves[2] = {0};
    aclTensor *half = of(EMU_FLOAT16, halves, sizeof halves, 1, DIMS(2));
    aclTensor *one_place =
        aclCreateTensor(DIMS(2), 1, EMU_FLOAT, DIMS(0), 0, ND, DIMS(1), 1, device(64));
    REFUSED(0, LtScalar, x, number(1), is);
    REFUSED(INVALID, LtScalar, x, number(1), x);
    REFUSED(INVALID, LtTensor, x, x, ids);
    REFUSED(INVALID, EqTensor, x, x, x);
    REFUSED(INVALID, IsFinite, x, x);
    REFUSED(0, SWhere, is, x, x, x);
    REFUSED(INVALID, SWhere, x, x, x, x);
    REFUSED(0, Cast, x, EMU_FLOAT16, half);
    REFUSED(INVALID, Cast, x, EMU_BF16, half);
    REFUSED(INVALID, Silu, x, half);
    REFUSED(INVALID, SigmoidBackward, x, half, x);
    REFUSED(INVALID, Silu, ids, ids);
    REFUSED(INVALID, InplaceCopy, one_place, x);
    REFUSED(0, InplaceCopy, x, one_place);
}

/* Twice 100 million and 1 on the way there and back: 1 in order, 0 the other way round, as FLOAT
 * has no 100000001. Which of both comes is not certain, until it is asked to be. */
static void adds_in_order_if_asked_to(void **state)
{
    (void)state;
    aclTensor *rows = REALS(2, DIMS(3, 1), 1e8F, -1e8F, 1), *index = WHOLE(1, DIMS(3), 0, 0, 0);
    aclTensor *zero = REALS(2, DIMS(1, 1), 0);
    for (int mode = 0; mode < 2; mode++) {
        float sum = 0;
        assert_int_equal(aclrtSetSysParamOpt(0, mode), 0);
        for (int i = 0; i < 4; i++) {
            float got = -1;
            output y = out(2, DIMS(1, 1));
            CALL(IndexAdd, zero, 0, index, rows, number(1), y.t);
            assert_int_equal(aclrtSynchronizeStream(NULL), 0);
            download(&got, y.at, sizeof got);
            sum += got;
        }
        assert_true(is_near(sum, mode ? 4 : 2, 0));
    }
    assert_int_equal(aclrtSetSysParamOpt(0, 0), 0);
}

/* Phase 1 says how much; too little is refused, what is no device memory is told at the wait. */
static void works_in_device_memory(void **state)
{
    (void)state;
    aclTensor *x = REALS(1, DIMS(4), 3, 1, 2, 4), *ids = WHOLE(1, DIMS(4), 0, 0, 0, 0);
    output y = out(1, DIMS(4));
    float host[256];
    void *freed = device(512);
    assert_int_equal(aclrtFree(freed), 0);
    void *const places[3] = {host, freed, (unsigned char *)device(1024) + 8};
    for (int i = 0; i < 4; i++) {
        uint64_t bytes = 0;
        aclOpExecutor *run = NULL;
        assert_int_equal(aclnnSortGetWorkspaceSize(x, true, 0, false, y.t, ids, &bytes, &run), 0);
        assert_int_equal(bytes, 512);
        if (i == 3) {
            assert_int_equal(aclnnSort(device(512), bytes - 1, run, NULL), INVALID);
            assert_int_equal(aclnnSort(NULL, bytes, run, NULL), INVALID);
            assert_int_equal(aclnnSort(device(512), bytes, run, NULL), 0);
            EXPECT(y, 1, 2, 3, 4);
            return;
        }
        assert_int_equal(aclnnSort(places[i], bytes, run, NULL), 0);
        assert_int_equal(aclrtSynchronizeStream(NULL), CORE_FAULT);
        EXPECT(y, -1, -1, -1, -1);
    }
}

/* Whoever keeps numbers in a workspace loses them. */
static void uses_its_workspace_up(void **state)
{
    (void)state;
    const float numbers[128] = {1, 2};
    void *at = upload(numbers, sizeof numbers);
    aclTensor *x = tensor(EMU_FLOAT, 1, 2, NULL, at);
    output y = out(1, DIMS(1));
    uint64_t bytes = 0;
    float got = 0;
    aclOpExecutor *run = NULL;
    assert_int_equal(aclnnReduceSumGetWorkspaceSize(x, aclCreateIntArray(DIMS(1), 1), false,
                                                    EMU_FLOAT, y.t, &bytes, &run),
                     0);
    assert_int_equal(aclnnReduceSum(at, bytes, run, NULL), 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(&got, y.at, sizeof got);
    assert_true(isnan(got));
}

/* What a chip has no kernel of is refused by its name. */
static void chips_lack_operators(void **state)
{
    (void)state;
    aclTensor *x = REALS(2, DIMS(1, 2), 1, 2), *index = WHOLE(2, DIMS(1, 1), 1);
    output y = out(2, DIMS(1, 1)), sum = out(2, DIMS(1, 2));
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_SOC", "Ascend950PR_9589", 1), 0);
    REFUSED(NO_KERNEL, Gather, x, 1, index, y.t);
    assert_non_null(strstr(aclGetRecentErrMsg(), "aclnnGather"));
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_SOC", "Ascend310P3", 1), 0);
    REFUSED(NO_KERNEL, Add, x, x, number(1), sum.t);
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_SOC"), 0);
    CALL(Gather, x, 1, index, y.t);
    EXPECT(y, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_several_axes),
        cmocka_unit_test(takes_slices_of_any_axis),
        cmocka_unit_test(sorts),
        cmocka_unit_test(gathers_scatters_and_puts),
        cmocka_unit_test(counts_up),
        cmocka_unit_test(multiplies_groups),
        cmocka_unit_test(turns_pairs),
        cmocka_unit_test(attends_and_back),
        cmocka_unit_test(cross_entropy_and_back),
        cmocka_unit_test(adamw_counts_from_nothing),
        cmocka_unit_test(adds_in_order_if_asked_to),
        cmocka_unit_test(element_by_element_by_type),
        cmocka_unit_test(works_in_device_memory),
        cmocka_unit_test(uses_its_workspace_up),
        cmocka_unit_test(chips_lack_operators),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
