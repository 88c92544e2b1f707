/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_foreach.c - the same for each tensor of a list, as optimizers of PyTorch ask for.
 */
#include "ascend/ops.h"

#include <math.h>

enum { LISTS = 3 };

/* Where the lists, the numbers and the output stand. */
typedef struct each {
    int n_lists, number, out; /* number -1: none */
    double (*fn)(const double x[LISTS], double s);
} each;

/* Functions of the elements A B C at one place of the lists, and of the number S. */
#define A x[0]
#define B x[1]
#define C x[2]
#define FUNCTION(name, expression)                                                                 \
    static double name(const double x[LISTS], double S)                                            \
    {                                                                                              \
        (void)x, (void)S;                                                                          \
        return (expression);                                                                       \
    }
FUNCTION(add, A + S)
FUNCTION(subtract, A - S)
FUNCTION(multiply, A *S)
FUNCTION(divide, A / S)
FUNCTION(power, pow(A, S))
FUNCTION(power_of, pow(S, A))
FUNCTION(larger, isnan(A) || A > S ? A : S)
FUNCTION(smaller, isnan(A) || A < S ? A : S)
FUNCTION(add_list, A + S * B)
FUNCTION(subtract_list, A - S * B)
FUNCTION(multiply_list, A *B)
FUNCTION(divide_list, A / B)
FUNCTION(power_list, pow(A, B))
FUNCTION(larger_list, isnan(A) || A > B ? A : B)
FUNCTION(smaller_list, isnan(A) || A < B ? A : B)
FUNCTION(lerp, A + S * (B - A))
FUNCTION(lerp_list, A + C * (B - A))
FUNCTION(addcmul, A + S * B * C)
FUNCTION(addcdiv, A + S * B / C)
FUNCTION(root, sqrt(A))
FUNCTION(copy, A)
FUNCTION(zero, 0.0)
FUNCTION(negative, -A)
FUNCTION(magnitude, fabs(A))
FUNCTION(inverse, 1.0 / A)
FUNCTION(sign, (A > 0.0) - (A < 0.0))
FUNCTION(exponential, exp(A))
FUNCTION(exponential_less, expm1(A))
FUNCTION(logarithm, log(A))
FUNCTION(logarithm_2, log2(A))
FUNCTION(logarithm_10, log10(A))
FUNCTION(logarithm_more, log1p(A))
FUNCTION(sine, sin(A))
FUNCTION(cosine, cos(A))
FUNCTION(tangent, tan(A))
FUNCTION(sine_h, sinh(A))
FUNCTION(cosine_h, cosh(A))
FUNCTION(tangent_h, tanh(A))
FUNCTION(arc_sine, asin(A))
FUNCTION(arc_cosine, acos(A))
FUNCTION(arc_tangent, atan(A))
FUNCTION(error, erf(A))
FUNCTION(error_left, erfc(A))
FUNCTION(logistic, 1.0 / (1.0 + exp(-A)))

/* A list of numbers has one for each tensor. */
static aclnnStatus check_each(const emu_call *c, const each *e)
{
    const emu_arg *out = &c->arg[e->out], *number = e->number < 0 ? NULL : &c->arg[e->number];
    if (number && !number->n) return emu_refuse(c, "the number is missing");
    if (number && number->kind == 'N' && number->n != out->n)
        return emu_refuse(c, "there are not as many numbers as tensors");
    for (int i = 0; i < e->n_lists; i++) {
        const emu_arg *list = &c->arg[i + (e->number == 0)];
        if (list->n != out->n) return emu_refuse(c, "the lists are not of one length");
        for (int k = 0; k < out->n; k++)
            if (!emu_same_shape(&list->tensor[k], &out->tensor[k]))
                return emu_refuse(c, "tensors at one place of the lists differ in shape");
    }
    return 0;
}

static void run_each(emu_call *c, const each *e)
{
    const emu_arg *out = &c->arg[e->out];
    for (int k = 0; k < out->n; k++) {
        const emu_arg *number = e->number < 0 ? NULL : &c->arg[e->number];
        const double s = !number               ? 0.0
                         : number->kind == 'T' ? emu_get(number->tensor, 0)
                         : number->kind == 'N' ? number->reals[k]
                                               : number->d;
        const emu_tensor *y = &out->tensor[k];
        for (int64_t i = 0, n = emu_count(y); i < n; i++) {
            double x[LISTS] = {0};
            for (int l = 0; l < e->n_lists; l++) {
                const emu_tensor *t = &c->arg[l + (e->number == 0)].tensor[k];
                x[l] = emu_get(t, emu_place(t, 0, i));
            }
            emu_put(c, y, emu_place(y, 0, i), e->fn(x, s));
        }
    }
}

/* X(name, lists, where the numbers stand, where the output, function) */
#define FOREACH_LIST(X)                                                                            \
    X(ForeachAddScalarV2, 1, 1, 2, add)                                                            \
    X(ForeachAddScalarList, 1, 1, 2, add)                                                          \
    X(ForeachAddScalar, 1, 1, 2, add)                                                              \
    X(ForeachSubScalarV2, 1, 1, 2, subtract)                                                       \
    X(ForeachSubScalarList, 1, 1, 2, subtract)                                                     \
    X(ForeachSubScalar, 1, 1, 2, subtract)                                                         \
    X(ForeachMulScalarV2, 1, 1, 2, multiply)                                                       \
    X(ForeachMulScalarList, 1, 1, 2, multiply)                                                     \
    X(ForeachMulScalar, 1, 1, 2, multiply)                                                         \
    X(ForeachDivScalarV2, 1, 1, 2, divide)                                                         \
    X(ForeachDivScalarList, 1, 1, 2, divide)                                                       \
    X(ForeachDivScalar, 1, 1, 2, divide)                                                           \
    X(ForeachPowScalarV2, 1, 1, 2, power)                                                          \
    X(ForeachPowScalarList, 1, 1, 2, power)                                                        \
    X(ForeachPowScalar, 1, 1, 2, power)                                                            \
    X(ForeachMaximumScalarV2, 1, 1, 2, larger)                                                     \
    X(ForeachMaximumScalarList, 1, 1, 2, larger)                                                   \
    X(ForeachMaximumScalar, 1, 1, 2, larger)                                                       \
    X(ForeachMinimumScalarV2, 1, 1, 2, smaller)                                                    \
    X(ForeachMinimumScalarList, 1, 1, 2, smaller)                                                  \
    X(ForeachMinimumScalar, 1, 1, 2, smaller)                                                      \
    X(ForeachMulList, 2, -1, 2, multiply_list)                                                     \
    X(ForeachDivList, 2, -1, 2, divide_list)                                                       \
    X(ForeachPowList, 2, -1, 2, power_list)                                                        \
    X(ForeachMaximumList, 2, -1, 2, larger_list)                                                   \
    X(ForeachMinimumList, 2, -1, 2, smaller_list)                                                  \
    X(ForeachAddList, 2, 2, 3, add_list)                                                           \
    X(ForeachAddListV2, 2, 2, 3, add_list)                                                         \
    X(ForeachSubList, 2, 2, 3, subtract_list)                                                      \
    X(ForeachSubListV2, 2, 2, 3, subtract_list)                                                    \
    X(ForeachLerpScalar, 2, 2, 3, lerp)                                                            \
    X(ForeachLerpList, 3, -1, 3, lerp_list)                                                        \
    X(ForeachAddcmulScalarV2, 3, 3, 4, addcmul)                                                    \
    X(ForeachAddcmulScalarList, 3, 3, 4, addcmul)                                                  \
    X(ForeachAddcmulScalar, 3, 3, 4, addcmul)                                                      \
    X(ForeachAddcdivScalarV2, 3, 3, 4, addcdiv)                                                    \
    X(ForeachAddcdivScalarList, 3, 3, 4, addcdiv)                                                  \
    X(ForeachAddcdivScalar, 3, 3, 4, addcdiv)                                                      \
    X(ForeachSqrt, 1, -1, 1, root)                                                                 \
    X(ForeachCopy, 1, -1, 1, copy)                                                                 \
    X(ForeachNeg, 1, -1, 1, negative)                                                              \
    X(ForeachAbs, 1, -1, 1, magnitude)                                                             \
    X(ForeachReciprocal, 1, -1, 1, inverse)                                                        \
    X(ForeachSign, 1, -1, 1, sign)                                                                 \
    X(ForeachExp, 1, -1, 1, exponential)                                                           \
    X(ForeachExpm1, 1, -1, 1, exponential_less)                                                    \
    X(ForeachLog, 1, -1, 1, logarithm)                                                             \
    X(ForeachLog2, 1, -1, 1, logarithm_2)                                                          \
    X(ForeachLog10, 1, -1, 1, logarithm_10)                                                        \
    X(ForeachLog1p, 1, -1, 1, logarithm_more)                                                      \
    X(ForeachSin, 1, -1, 1, sine)                                                                  \
    X(ForeachCos, 1, -1, 1, cosine)                                                                \
    X(ForeachTan, 1, -1, 1, tangent)                                                               \
    X(ForeachSinh, 1, -1, 1, sine_h)                                                               \
    X(ForeachCosh, 1, -1, 1, cosine_h)                                                             \
    X(ForeachTanh, 1, -1, 1, tangent_h)                                                            \
    X(ForeachAsin, 1, -1, 1, arc_sine)                                                             \
    X(ForeachAcos, 1, -1, 1, arc_cosine)                                                           \
    X(ForeachAtan, 1, -1, 1, arc_tangent)                                                          \
    X(ForeachErf, 1, -1, 1, error)                                                                 \
    X(ForeachErfc, 1, -1, 1, error_left)                                                           \
    X(ForeachSigmoid, 1, -1, 1, logistic)                                                          \
    X(ForeachZeroInplace, 1, -1, 0, zero)                                                          \
    X(ForeachPowScalarAndTensor, 1, 0, 2, power_of)

#define FOREACH_DEFINE(name, lists, number, out, f)                                                \
    static const each each_##name = {lists, number, out, f};                                       \
    static aclnnStatus check_##name(emu_call *c)                                                   \
    {                                                                                              \
        return check_each(c, &each_##name);                                                        \
    }                                                                                              \
    static void run_##name(emu_call *c)                                                            \
    {                                                                                              \
        run_each(c, &each_##name);                                                                 \
    }
FOREACH_LIST(FOREACH_DEFINE)

/* ---- ForeachNorm(tensors, order, out): order 1 or 2, or the largest ---- */

static aclnnStatus check_norm(emu_call *c)
{
    const emu_arg *x = &c->arg[0], *p = &c->arg[1], *y = &c->arg[2];
    if (!p->n || !((p->d <= 1.0 && p->d >= 1.0) || (p->d <= 2.0 && p->d >= 2.0) || isinf(p->d)))
        return emu_refuse(c, "an order other than 1, 2 and infinite");
    if (x->n != y->n) return emu_refuse(c, "the lists are not of one length");
    for (int k = 0; k < y->n; k++)
        if (emu_count(&y->tensor[k]) != 1) return emu_refuse(c, "a norm is one number");
    return 0;
}

static void run_norm(emu_call *c)
{
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        double sum = 0.0;
        for (int64_t i = 0, n = emu_count(x); i < n; i++) {
            const double v = emu_get(x, emu_place(x, 0, i));
            if (isinf(c->arg[1].d))
                sum = fabs(v) > sum || isnan(v) ? fabs(v) : sum;
            else
                sum += c->arg[1].d > 1.5 ? v * v : fabs(v);
        }
        const bool is_root = c->arg[1].d > 1.5 && !isinf(c->arg[1].d);
        emu_put(c, &c->arg[2].tensor[k], 0, is_root ? sqrt(sum) : sum);
    }
}

/* ---- ForeachNonFiniteCheckAndUnscale(gradients, found, factor): each times the factor; found
 * becomes 1 where one of them is infinite or no number. AmpUpdateScale(scale, steps, found, growth,
 * backoff, interval, scale out, steps out): the scale of a training in f16 ---- */

static aclnnStatus check_unscale(emu_call *c)
{
    static const int args[] = {1, 2};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    return emu_count(emu_t(c, 1)) == 1 && emu_count(emu_t(c, 2)) == 1
               ? 0
               : emu_refuse(c, "found or factor is no single number");
}

static void run_unscale(emu_call *c)
{
    const double by = emu_get(emu_t(c, 2), 0);
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        for (int64_t e = 0, n = emu_count(x); e < n; e++) {
            const int64_t at = emu_place(x, 0, e);
            const double v = emu_get(x, at);
            if (!isfinite(v)) emu_put(c, emu_t(c, 1), 0, 1.0);
            emu_put(c, x, at, v * by);
        }
    }
}

static aclnnStatus check_update(emu_call *c)
{
    static const int args[] = {0, 1, 2, 6, 7};
    const aclnnStatus code = emu_want(c, args, 5);
    if (code != 0) return code;
    for (int i = 0; i < 5; i++)
        if (emu_count(emu_t(c, args[i])) != 1) return emu_refuse(c, "one is no single number");
    return 0;
}

static void run_update(emu_call *c)
{
    double scale = emu_get(emu_t(c, 0), 0), steps = emu_get(emu_t(c, 1), 0) + 1.0;
    if (emu_get(emu_t(c, 2), 0) > 0.0) {
        scale *= c->arg[4].d;
        steps = 0.0;
    } else if (steps >= (double)c->arg[5].i) {
        if (isfinite(scale * c->arg[3].d)) scale *= c->arg[3].d;
        steps = 0.0;
    }
    emu_put(c, emu_t(c, 6), 0, scale);
    emu_put(c, emu_t(c, 7), 0, steps);
}

#define FOREACH_ROW(name, lists, number, out, f) {#name, check_##name, run_##name},
const emu_op emu_ops_foreach[] = {
    FOREACH_LIST(FOREACH_ROW){"ForeachNorm", check_norm, run_norm},
    {"ForeachNonFiniteCheckAndUnscale", check_unscale, run_unscale},
    {"AmpUpdateScale", check_update, run_update},
    {NULL, NULL, NULL},
};
