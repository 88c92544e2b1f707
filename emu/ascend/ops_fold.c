/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_fold.c - operators that make one or two numbers of all elements along some axes:
 * sums, extremes, moments, norms, medians; and losses. Computed in double, rounded once. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

/* Where the axes (-1: all), whether they stay, the type of the output and the outputs stand; -1:
 * there is no such argument. */
typedef struct fold {
    int dims, keep, type, out[2];
    bool is_of_some; /* of nothing there is none */
    void (*fn)(const emu_call *c, double *v, int64_t n, double y[2]);
} fold;

/* ---- what they make of n elements ---- */

static void sum(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    for (int64_t i = 0; i < n; i++) y[0] += v[i];
}

static void sum_of_numbers(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    for (int64_t i = 0; i < n; i++) y[0] += isnan(v[i]) ? 0.0 : v[i];
}

static void mean(const emu_call *c, double *v, int64_t n, double y[2])
{
    sum(c, v, n, y);
    y[0] /= (double)n;
}

static void product(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    y[0] = 1.0;
    for (int64_t i = 0; i < n; i++) y[0] *= v[i];
}

static bool is_true(double x)
{
    return x < 0.0 || x > 0.0 || isnan(x);
}

static void any(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    for (int64_t i = 0; i < n; i++) y[0] = is_true(v[i]) ? 1.0 : y[0];
}

static void all(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    y[0] = 1.0;
    for (int64_t i = 0; i < n; i++) y[0] = is_true(v[i]) ? y[0] : 0.0;
}

/* The first of the largest, or smallest; what is no number is both. */
static void extreme(const double *v, int64_t n, double sign, double y[2])
{
    int64_t best = 0;
    for (int64_t i = 1; i < n && !isnan(v[best]); i++)
        if (isnan(v[i]) || sign * v[i] > sign * v[best]) best = i;
    y[0] = v[best];
    y[1] = (double)best;
}

static void largest(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    extreme(v, n, 1.0, y);
}

static void smallest(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    extreme(v, n, -1.0, y);
}

static void place_of_largest(const emu_call *c, double *v, int64_t n, double y[2])
{
    largest(c, v, n, y);
    y[0] = y[1];
}

static void place_of_smallest(const emu_call *c, double *v, int64_t n, double y[2])
{
    smallest(c, v, n, y);
    y[0] = y[1];
}

static void both_extremes(const emu_call *c, double *v, int64_t n, double y[2])
{
    double most[2];
    largest(c, v, n, most);
    smallest(c, v, n, y);
    y[1] = most[0];
}

/* Over n less the correction, argument 2; the mean goes along. */
static void variance(const emu_call *c, double *v, int64_t n, double y[2])
{
    const double by = (double)n - (double)c->arg[2].i;
    double squares = 0.0;
    sum(c, v, n, y);
    y[1] = y[0] / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (v[i] - y[1]) * (v[i] - y[1]);
    y[0] = squares / (by > 0.0 ? by : 0.0);
}

static void deviation(const emu_call *c, double *v, int64_t n, double y[2])
{
    variance(c, v, n, y);
    y[0] = sqrt(y[0]);
}

static void log_sum_exp(const emu_call *c, double *v, int64_t n, double y[2])
{
    double most[2] = {-HUGE_VAL, 0.0};
    if (n) largest(c, v, n, most);
    if (isinf(most[0])) most[0] = most[0] > 0.0 ? most[0] : 0.0;
    for (int64_t i = 0; i < n; i++)
        y[0] += isinf(v[i]) && v[i] > 0.0 ? HUGE_VAL : exp(v[i] - most[0]);
    y[0] = log(y[0]) + (isinf(most[0]) ? 0.0 : most[0]);
}

/* Of the order in argument 1: infinite ones are the extremes, 0 counts. */
static void norm(const emu_call *c, double *v, int64_t n, double y[2])
{
    const double order = c->arg[1].n ? c->arg[1].d : 2.0;
    for (int64_t i = 0; i < n; i++) v[i] = fabs(v[i]);
    if (isinf(order) && n > 0) {
        extreme(v, n, order > 0.0 ? 1.0 : -1.0, y);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        y[0] += order > 0.0 || order < 0.0 ? pow(v[i], order) : (double)is_true(v[i]);
    if (order > 0.0 || order < 0.0) y[0] = pow(y[0], 1.0 / order);
}

/* Element `rank` of those in order, and the first place where it stands. */
static void ranked(const double *v, int64_t n, int64_t rank, double y[2])
{
    for (int64_t i = 0; i < n; i++) {
        int64_t less = 0, same = 0;
        for (int64_t j = 0; j < n; j++) {
            less += v[j] < v[i] || (isnan(v[i]) && !isnan(v[j]));
            same += (v[j] <= v[i] && v[j] >= v[i]) || (isnan(v[i]) && isnan(v[j]));
        }
        if (rank < less || rank >= less + same) continue;
        y[0] = v[i];
        y[1] = (double)i;
        return;
    }
}

static void median(const emu_call *c, double *v, int64_t n, double y[2])
{
    (void)c;
    for (int64_t i = 0; i < n; i++) {
        if (!isnan(v[i])) continue;
        y[0] = v[i];
        y[1] = (double)i;
        return;
    }
    ranked(v, n, (n - 1) / 2, y);
}

static void median_of_numbers(const emu_call *c, double *v, int64_t n, double y[2])
{
    int64_t numbers = 0;
    (void)c;
    for (int64_t i = 0; i < n; i++) numbers += !isnan(v[i]);
    ranked(v, n, numbers ? (numbers - 1) / 2 : 0, y);
}

static void kth(const emu_call *c, double *v, int64_t n, double y[2])
{
    ranked(v, n, c->arg[1].i - 1, y);
}

/* ---- phase 1 ---- */

/* Which axes are folded, as bits. -1: one is none, or named twice. */
static int folded_axes(const emu_call *c, const fold *f, const emu_tensor *x)
{
    const emu_arg *dims = f->dims < 0 ? NULL : &c->arg[f->dims];
    int bits = 0;
    if (!dims || (dims->kind == 'A' && dims->n == 0)) return (1 << x->rank) - 1;
    if (x->rank == 0) return 0;
    for (int i = 0; i < (dims->kind == 'A' ? dims->n : 1); i++) {
        const int axis = emu_axis(x, dims->kind == 'A' ? dims->ints[i] : dims->i);
        if (axis < 0 || bits >> axis & 1) return -1;
        bits |= 1 << axis;
    }
    return bits;
}

static aclnnStatus check_shape(const emu_call *c, const emu_tensor *y, bool is_kept, int bits)
{
    const emu_tensor *x = c->arg[0].tensor;
    int at = 0;
    for (int i = 0; i < x->rank; i++) {
        const bool is_folded = bits >> i & 1;
        if (is_folded && !is_kept) continue;
        if (at == y->rank || y->dim[at++] != (is_folded ? 1 : x->dim[i]))
            return emu_refuse(c, "the output has another shape than the sum");
    }
    return at == y->rank || emu_count(y) == 1
               ? 0
               : emu_refuse(c, "the output has more axes than the sum");
}

static aclnnStatus check_fold(const emu_call *c, const fold *f)
{
    const int args[] = {0, f->out[0], f->out[1]};
    aclnnStatus code = emu_want(c, args, f->out[1] < 0 ? 2 : 3);
    if (code != 0) return code;
    const emu_tensor *x = c->arg[0].tensor;
    const int bits = folded_axes(c, f, x);
    if (f->dims >= 0 && c->arg[f->dims].kind == 'A' && !c->arg[f->dims].object)
        return emu_fail(EMU_NN_NULLPTR, "aclnn%s: dims is NULL", c->op->name);
    if (bits < 0) return emu_refuse(c, "there is no such axis, or it is named twice");
    if (f->type >= 0 && c->arg[f->out[0]].tensor->type != c->arg[f->type].i)
        return emu_refuse(c, "the output is not of the type that is named");
    if (f->is_of_some && emu_count(x) == 0 && emu_count(c->arg[f->out[0]].tensor) > 0)
        return emu_refuse(c, "there is nothing along these axes");
    for (int i = 0; i < 2 && code == 0; i++)
        if (f->out[i] >= 0)
            code =
                check_shape(c, c->arg[f->out[i]].tensor, f->keep >= 0 && c->arg[f->keep].i, bits);
    return code;
}

/* ---- the loop ---- */

/* x with the axes that are kept in front of those that are folded. */
static void sort_axes(const emu_tensor *x, int bits, emu_tensor *kept, emu_tensor *folded)
{
    *kept = *folded = *x;
    kept->rank = folded->rank = 0;
    for (int i = 0; i < x->rank; i++) {
        emu_tensor *to = bits >> i & 1 ? folded : kept;
        to->dim[to->rank] = x->dim[i];
        to->stride[to->rank++] = x->stride[i];
    }
}

/* Sums and extremes of integers keep all their bits; sums wrap. False: another operator. */
static bool fold_whole(const emu_tensor *x, int64_t at, const emu_tensor *folded, const fold *f,
                       int64_t *y)
{
    const bool is_sum = f->fn == sum, is_most = f->fn == largest;
    if (emu_is_float(x->type) || (!is_sum && !is_most && f->fn != smallest)) return false;
    uint64_t total = 0;
    for (int64_t i = 0, n = emu_count(folded); i < n; i++) {
        int64_t v;
        const int64_t from = at + emu_place(folded, 0, i);
        emu_load_whole(&v, x->type, x->at + from * (int64_t)emu_size_of(x->type), 1, 1);
        total += (uint64_t)v;
        if (i == 0 || (is_most ? v > *y : v < *y)) *y = v;
    }
    if (is_sum) *y = (int64_t)total;
    return true;
}

static void run_fold(emu_call *c, const fold *f)
{
    const emu_tensor *x = emu_t(c, 0);
    emu_tensor kept, folded;
    sort_axes(x, folded_axes(c, f, x), &kept, &folded);
    const int64_t each = emu_count(&folded);
    double *v = malloc((size_t)(each + 1) * sizeof *v);
    for (int64_t e = 0, n = emu_count(&kept); v && e < n; e++) {
        const int64_t at = emu_place(&kept, 0, e);
        double y[2] = {0.0, 0.0};
        for (int64_t i = 0; i < each; i++) v[i] = emu_get(x, at + emu_place(&folded, 0, i));
        f->fn(c, v, each, y);
        for (int i = 0; i < 2; i++) {
            const emu_tensor *out = f->out[i] < 0 ? NULL : emu_t(c, f->out[i]);
            int64_t whole = 0;
            if (!out) continue;
            const int64_t to = emu_place(out, 0, e);
            if (i == 0 && !emu_is_float(out->type) && fold_whole(x, at, &folded, f, &whole))
                emu_store_whole(out->type, out->at + to * (int64_t)emu_size_of(out->type), 1,
                                &whole, 1);
            else
                emu_put(c, out, to, y[i]);
        }
    }
    free(v);
}

/* X(name, dims, keep, type, outputs, is_of_some, function) */
#define FOLD_LIST(X)                                                                               \
    X(ReduceSum, 1, 2, 3, 4, -1, false, sum)                                                       \
    X(ReduceNansum, 1, 2, 3, 4, -1, false, sum_of_numbers)                                         \
    X(Mean, 1, 2, 3, 4, -1, false, mean)                                                           \
    X(Prod, -1, -1, 1, 2, -1, false, product)                                                      \
    X(ProdDim, 1, 2, 3, 4, -1, false, product)                                                     \
    X(Any, 1, 2, -1, 3, -1, false, any)                                                            \
    X(All, 1, 2, -1, 3, -1, false, all)                                                            \
    X(Max, -1, -1, -1, 1, -1, true, largest)                                                       \
    X(Min, -1, -1, -1, 1, -1, true, smallest)                                                      \
    X(Amax, 1, 2, -1, 3, -1, true, largest)                                                        \
    X(Amin, 1, 2, -1, 3, -1, true, smallest)                                                       \
    X(MaxDim, 1, 2, -1, 3, 4, true, largest)                                                       \
    X(MinDim, 1, 2, -1, 3, 4, true, smallest)                                                      \
    X(ArgMax, 1, 2, -1, 3, -1, true, place_of_largest)                                             \
    X(ArgMin, 1, 2, -1, 3, -1, true, place_of_smallest)                                            \
    X(Aminmax, 1, 2, -1, 3, 4, true, both_extremes)                                                \
    X(AminmaxDim, 1, 2, -1, 3, 4, true, both_extremes)                                             \
    X(AminmaxAll, -1, -1, -1, 1, 2, true, both_extremes)                                           \
    X(VarCorrection, 1, 3, -1, 4, -1, false, variance)                                             \
    X(VarMean, 1, 3, -1, 4, 5, false, variance)                                                    \
    X(Std, 1, 3, -1, 4, -1, false, deviation)                                                      \
    X(StdMeanCorrection, 1, 3, -1, 4, 5, false, deviation)                                         \
    X(LogSumExp, 1, 2, -1, 3, -1, false, log_sum_exp)                                              \
    X(LinalgVectorNorm, 2, 3, 4, 5, -1, false, norm)                                               \
    X(Norm, 2, 3, -1, 4, -1, false, norm)                                                          \
    X(Median, -1, -1, -1, 1, -1, true, median)                                                     \
    X(NanMedian, -1, -1, -1, 1, -1, true, median_of_numbers)                                       \
    X(MedianDim, 1, 2, -1, 3, 4, true, median)                                                     \
    X(Kthvalue, 2, 3, -1, 4, 5, true, kth)

#define FOLD_DEFINE(name, dims_, keep_, type_, out0, out1, some, f)                                \
    static const fold fold_##name = {.dims = dims_,                                                \
                                     .keep = keep_,                                                \
                                     .type = type_,                                                \
                                     .out = {out0, out1},                                          \
                                     .is_of_some = some,                                           \
                                     .fn = f};                                                     \
    static aclnnStatus check_##name(emu_call *c)                                                   \
    {                                                                                              \
        return check_fold(c, &fold_##name);                                                        \
    }                                                                                              \
    static void run_##name(emu_call *c)                                                            \
    {                                                                                              \
        run_fold(c, &fold_##name);                                                                 \
    }
FOLD_LIST(FOLD_DEFINE)

/* ---- losses of an element and its target, their weights: each (0), their mean (1), their sum (2)
 * ---- */

typedef struct loss {
    int reduction, weight, positive, out; /* weights: -1 where there are none */
    double (*fn)(const emu_call *c, double x, double target, double positive);
} loss;

static double square(const emu_call *c, double x, double target, double positive)
{
    (void)c, (void)positive;
    return (x - target) * (x - target);
}

static double distance(const emu_call *c, double x, double target, double positive)
{
    (void)c, (void)positive;
    return fabs(x - target);
}

static double smooth(const emu_call *c, double x, double target, double positive)
{
    const double far = fabs(x - target), sigma = c->arg[3].d;
    (void)positive;
    return far < sigma ? 0.5 * far * far / sigma : far - 0.5 * sigma;
}

/* The target may be a logarithm. */
static double divergence(const emu_call *c, double x, double target, double positive)
{
    (void)positive;
    if (c->arg[3].i) return exp(target) * (target - x);
    return target > 0.0 ? target * (log(target) - x) : target * 0.0;
}

static double limited_log(double x)
{
    return fmax(log(x), -100.0);
}

static double entropy(const emu_call *c, double x, double target, double positive)
{
    (void)c, (void)positive;
    return -(target * limited_log(x) + (1.0 - target) * limited_log(1.0 - x));
}

static double entropy_of_logits(const emu_call *c, double x, double target, double positive)
{
    const double below = fmax(-x, 0.0) + log1p(exp(-fabs(x))); /* log(1 + exp(-x)) */
    (void)c;
    return (1.0 - target) * x + (1.0 + (positive - 1.0) * target) * below;
}

static aclnnStatus check_loss(const emu_call *c, const loss *l)
{
    const int args[] = {0, 1, l->out};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = c->arg[0].tensor, *y = c->arg[l->out].tensor;
    const int64_t reduction = c->arg[l->reduction].i;
    int64_t stride[EMU_RANK];
    if (reduction < 0 || reduction > 2) return emu_refuse(c, "there is no such reduction");
    if (!emu_same_shape(x, c->arg[1].tensor) || c->arg[1].tensor->type != x->type)
        return emu_refuse(c, "self, target and output differ");
    if (x->type != y->type && l->weight < 0) return emu_refuse(c, "self, target and output differ");
    for (int i = 2; i <= 3; i++)
        if ((i == l->weight || i == l->positive) && c->arg[i].n &&
            !emu_spread(c->arg[i].tensor, x, stride))
            return emu_refuse(c, "a weight does not spread to self");
    return (reduction == 0 ? emu_same_shape(x, y) : emu_count(y) == 1)
               ? 0
               : emu_refuse(c, "the output has another shape than the loss");
}

static double weight_at(const emu_call *c, int i, int64_t e)
{
    const emu_tensor *w = i >= 0 && c->arg[i].n ? c->arg[i].tensor : NULL;
    return w ? emu_get(w, emu_spread_place(w, c->arg[0].tensor, e)) : 1.0;
}

static void run_loss(emu_call *c, const loss *l)
{
    const emu_tensor *x = emu_t(c, 0), *t = emu_t(c, 1), *y = emu_t(c, l->out);
    const int64_t n = emu_count(x), reduction = c->arg[l->reduction].i;
    double total = 0.0;
    for (int64_t e = 0; e < n; e++) {
        const double each = weight_at(c, l->weight, e) * l->fn(c, emu_get(x, emu_place(x, 0, e)),
                                                               emu_get(t, emu_place(t, 0, e)),
                                                               weight_at(c, l->positive, e));
        if (reduction == 0) emu_put(c, y, emu_place(y, 0, e), each);
        total += each;
    }
    if (reduction > 0) emu_put(c, y, 0, reduction == 1 ? total / (double)n : total);
}

/* X(name, reduction, weight, weight of what is true, output, function) */
#define LOSS_LIST(X)                                                                               \
    X(MseLoss, 2, -1, -1, 3, square)                                                               \
    X(L1Loss, 2, -1, -1, 3, distance)                                                              \
    X(SmoothL1Loss, 2, -1, -1, 4, smooth)                                                          \
    X(KlDiv, 2, -1, -1, 4, divergence)                                                             \
    X(BinaryCrossEntropy, 3, 2, -1, 4, entropy)                                                    \
    X(BinaryCrossEntropyWithLogits, 4, 2, 3, 5, entropy_of_logits)

#define LOSS_DEFINE(name, reduction_, weight_, positive_, out_, f)                                 \
    static const loss loss_##name = {reduction_, weight_, positive_, out_, f};                     \
    static aclnnStatus check_##name(emu_call *c)                                                   \
    {                                                                                              \
        return check_loss(c, &loss_##name);                                                        \
    }                                                                                              \
    static void run_##name(emu_call *c)                                                            \
    {                                                                                              \
        run_loss(c, &loss_##name);                                                                 \
    }
LOSS_LIST(LOSS_DEFINE)

#define FOLD_ROW(name, ...) {#name, check_##name, run_##name},
const emu_op emu_ops_fold[] = {FOLD_LIST(FOLD_ROW) LOSS_LIST(FOLD_ROW){NULL, NULL, NULL}};
