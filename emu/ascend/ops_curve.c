/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_curve.c - functions of one number, what networks use as activations, and gradients
 * of both and of losses, element by element. */
#include "ascend/map.h"

#include <string.h>

#define A x[0][i]
#define B x[1][i]
#define C x[2][i]

enum { MEAN = 1 };

static double logistic(double a)
{
    return a < 0.0 ? exp(a) / (1.0 + exp(a)) : 1.0 / (1.0 + exp(-a));
}

static double soft_plus(double a)
{
    return a > 0.0 ? a + log1p(exp(-a)) : log1p(exp(a));
}

/* By bisection and Newton's steps: erf is steep where the result is small. */
static double inverse_erf(double y)
{
    double low = -6.0, high = 6.0;
    if (!(fabs(y) < 1.0)) return fabs(y) <= 1.0 ? copysign(HUGE_VAL, y) : (double)NAN;
    for (int k = 0; k < 60; k++) {
        const double middle = (low + high) / 2.0;
        if (erf(middle) < y)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2.0;
}

/* The normal distribution and its density. */
static double normal(double a)
{
    return 0.5 * erfc(-a * 0.70710678118654752440);
}

static double density(double a)
{
    return exp(-0.5 * a * a) * 0.39894228040143267794;
}

static double gelu_inner(double a)
{
    return 0.79788456080286535588 * (a + 0.044715 * a * a * a);
}

static double gelu_tanh(double a)
{
    return 0.5 * a * (1.0 + tanh(gelu_inner(a)));
}

static double gelu_tanh_slope(double a)
{
    const double t = tanh(gelu_inner(a));
    return 0.5 * (1.0 + t) +
           0.5 * a * (1.0 - t * t) * 0.79788456080286535588 * (1.0 + 3.0 * 0.044715 * a * a);
}

static double gelu(const emu_call *c, double a)
{
    return c->arg[1].i ? gelu_tanh(a) : a * normal(a);
}

static double gelu_slope(const emu_call *c, double a)
{
    return strcmp(c->arg[2].text, "tanh") == 0 ? gelu_tanh_slope(a) : normal(a) + a * density(a);
}

static double mish_slope(double a)
{
    const double t = tanh(soft_plus(a));
    return t + a * (1.0 - t * t) * logistic(a);
}

/* scale (max(x, 0) + alpha (exp(input_scale x) - 1)) below 0 */
static double elu(double a, double alpha, double scale, double inner)
{
    return a > 0.0 ? scale * a : scale * alpha * expm1(inner * a);
}

static double elu_slope(const emu_call *c, double a)
{
    const double alpha = c->arg[1].d, scale = c->arg[2].d, inner = c->arg[3].d;
    if (a > 0.0) return scale;
    return c->arg[4].i ? inner * (a + alpha * scale) : inner * alpha * scale * exp(inner * a);
}

static double log_add(double a, double b)
{
    const double most = fmax(a, b);
    return isinf(most) ? most : most + log(exp(a - most) + exp(b - most));
}

/* Not nearer to 0 and 1 than eps; where that is negative, as near as it is. */
static double logit(double x, double eps)
{
    const double kept = eps < 0.0 ? x : x < eps ? eps : x > 1.0 - eps ? 1.0 - eps : x;
    return log(kept / (1.0 - kept));
}

/* ---- functions of one number ---- */

EMU_REAL(silu, A / (1.0 + exp(-A)))
EMU_REAL(sigmoid, logistic(A))
EMU_REAL(tanh, tanh(A))
EMU_REAL(relu, A < 0.0 ? 0.0 : A)
EMU_WHOLE(relu, A < 0 ? 0 : A)
EMU_REAL(reciprocal, 1.0 / A)
EMU_REAL(sqrt, sqrt(A))
EMU_REAL(rsqrt, 1.0 / sqrt(A))
EMU_REAL(exp, exp(A))
EMU_REAL(exp2, exp2(A))
EMU_REAL(expm1, expm1(A))
EMU_REAL(log, log(A))
EMU_REAL(log2, log2(A))
EMU_REAL(log10, log10(A))
EMU_REAL(log1p, log1p(A))
EMU_REAL(sin, sin(A))
EMU_REAL(cos, cos(A))
EMU_REAL(tan, tan(A))
EMU_REAL(sinh, sinh(A))
EMU_REAL(cosh, cosh(A))
EMU_REAL(asin, asin(A))
EMU_REAL(acos, acos(A))
EMU_REAL(atan, atan(A))
EMU_REAL(asinh, asinh(A))
EMU_REAL(acosh, acosh(A))
EMU_REAL(atanh, atanh(A))
EMU_REAL(erf, erf(A))
EMU_REAL(erfc, erfc(A))
EMU_REAL(erfinv, inverse_erf(A))
EMU_REAL(sinc, A<0.0 || A> 0.0 ? sin(M_PI *A) / (M_PI * A) : 1.0)
EMU_REAL(gelu, A *normal(A))
EMU_REAL(gelu_v2, gelu(c, A))
EMU_REAL(mish, A *tanh(soft_plus(A)))
EMU_REAL(hardswish, A *fmin(fmax(A + 3.0, 0.0), 6.0) / 6.0)
EMU_REAL(hardsigmoid, fmin(fmax(A + 3.0, 0.0), 6.0) / 6.0)
EMU_REAL(hardtanh, A<S[1] ? S[1] : A> S[2] ? S[2] : A)
EMU_REAL(leaky, A > 0.0 ? A : A * S[1])
EMU_REAL(elu, elu(A, S[1], S[2], S[3]))
EMU_REAL(celu, A > 0.0 ? A : S[1] * expm1(A / S[1]))
EMU_REAL(softplus, A *S[1] > S[2] ? A : soft_plus(A * S[1]) / S[1])
EMU_REAL(threshold, A > S[1] || isnan(A) ? A : S[2])
EMU_REAL(softshrink, A > S[1] ? A - S[1] : A < -S[1] ? A + S[1] : A * 0.0)
EMU_REAL(hardshrink, A >= -S[1] && A <= S[1] ? 0.0 : A)
EMU_REAL(log_sigmoid, -soft_plus(-A))
EMU_REAL(logit, logit(A, c->arg[1].d))
EMU_REAL(atan2, atan2(A, B))
EMU_REAL(log_add, log_add(A, B))
EMU_REAL(xlogy, A <= 0.0 && A >= 0.0 && !isnan(B) ? 0.0 : A * log(B))

/* ---- their gradients: A comes from above ---- */

EMU_REAL(sigmoid_back, A *B *(1.0 - B))
EMU_REAL(tanh_back, A *(1.0 - B * B))
EMU_REAL(silu_back, A *logistic(B) * (1.0 + B * (1.0 - logistic(B))))
EMU_REAL(gelu_back, A *(normal(B) + B * density(B)))
EMU_REAL(gelu_v2_back, A *gelu_slope(c, B))
EMU_REAL(mish_back, A *mish_slope(B))
EMU_REAL(hardswish_back, B < -3.0 ? 0.0 : B <= 3.0 ? A * (B / 3.0 + 0.5) : A)
EMU_REAL(hardsigmoid_back, B > -3.0 && B < 3.0 ? A / 6.0 : 0.0)
EMU_REAL(hardtanh_back, B <= S[2] || B >= S[3] ? 0.0 : A)
EMU_REAL(leaky_back, B > 0.0 ? A : A * S[2])
EMU_REAL(elu_back, A *elu_slope(c, B))
EMU_REAL(softplus_back, B *S[2] > S[3] ? A : A * logistic(B * S[2]))
EMU_REAL(threshold_back, B <= S[2] ? 0.0 : A)
EMU_REAL(softshrink_back, B >= -S[2] && B <= S[2] ? 0.0 : A)
EMU_REAL(log_sigmoid_back, A *logistic(-B))

/* ---- gradients of losses: of the mean by the number of elements ---- */

static double share(const emu_call *c, int reduction)
{
    return c->arg[reduction].i == MEAN ? 1.0 / (double)emu_count(c->arg[1].tensor) : 1.0;
}

/* Of -w (p t log s(x) + (1 - t) log(1 - s(x))), s the logistic function. */
static double logits_slope(double at, double target, double weight, double positive)
{
    return weight * ((positive * target + 1.0 - target) * logistic(at) - positive * target);
}

EMU_REAL(mse_back, A * 2.0 * (B - C) * share(c, 3))
EMU_REAL(l1_back, A *((B > C) - (B < C)) * share(c, 3))
EMU_REAL(kl_back, -A *(c->arg[4].i ? exp(C) : C > 0.0 ? C : 0.0) * share(c, 3))
EMU_REAL(kl_target_back, A *share(c, 3) * (c->arg[4].i ? exp(C) * (C - B + 1.0)
                                           : C > 0.0   ? log(C) + 1.0 - B
                                                       : 0.0))
EMU_REAL(smooth_l1_back, A *(fabs(B - C) < S[4] ? (B - C) / S[4] : (B > C) - (B < C)) * share(c, 3))
EMU_REAL(bce_back,
         A *(c->arg[3].n ? x[3][i] : 1.0) * (B - C) / fmax((1.0 - B) * B, 1e-12) * share(c, 4))
EMU_REAL(logits_back,
         A *logits_slope(B, C, c->arg[3].n ? x[3][i] : 1.0, c->arg[4].n ? x[4][i] : 1.0) *
             share(c, 5))

/* X(name, where the output stands, flags, function, its form for integers, inputs...) */
#define CURVE EMU_MAP_CURVE
#define BOTH_WAYS(X, name, f) X(name, 1, 0, f, none, 0) X(Inplace##name, 0, 0, f, none, 0)
#define CURVE_LIST(X)                                                                              \
    X(Silu, 1, CURVE, silu, none, 0)                                                               \
    X(SiluBackward, 2, CURVE, silu_back, none, 0, 1)                                               \
    X(Sigmoid, 1, CURVE, sigmoid, none, 0)                                                         \
    X(InplaceSigmoid, 0, 0, sigmoid, none, 0)                                                      \
    X(SigmoidBackward, 2, CURVE, sigmoid_back, none, 0, 1)                                         \
    BOTH_WAYS(X, Tanh, tanh)                                                                       \
    X(TanhBackward, 2, 0, tanh_back, none, 0, 1)                                                   \
    X(Relu, 1, 0, relu, relu, 0)                                                                   \
    X(InplaceRelu, 0, 0, relu, relu, 0)                                                            \
    BOTH_WAYS(X, Reciprocal, reciprocal)                                                           \
    BOTH_WAYS(X, Sqrt, sqrt)                                                                       \
    BOTH_WAYS(X, Rsqrt, rsqrt)                                                                     \
    BOTH_WAYS(X, Exp, exp)                                                                         \
    BOTH_WAYS(X, Exp2, exp2)                                                                       \
    BOTH_WAYS(X, Expm1, expm1)                                                                     \
    BOTH_WAYS(X, Log, log)                                                                         \
    BOTH_WAYS(X, Log2, log2)                                                                       \
    BOTH_WAYS(X, Log10, log10)                                                                     \
    BOTH_WAYS(X, Log1p, log1p)                                                                     \
    BOTH_WAYS(X, Sin, sin)                                                                         \
    BOTH_WAYS(X, Cos, cos)                                                                         \
    BOTH_WAYS(X, Tan, tan)                                                                         \
    BOTH_WAYS(X, Sinh, sinh)                                                                       \
    BOTH_WAYS(X, Cosh, cosh)                                                                       \
    BOTH_WAYS(X, Asin, asin)                                                                       \
    BOTH_WAYS(X, Acos, acos)                                                                       \
    BOTH_WAYS(X, Atan, atan)                                                                       \
    BOTH_WAYS(X, Asinh, asinh)                                                                     \
    BOTH_WAYS(X, Acosh, acosh)                                                                     \
    BOTH_WAYS(X, Atanh, atanh)                                                                     \
    BOTH_WAYS(X, Erf, erf)                                                                         \
    BOTH_WAYS(X, Erfc, erfc)                                                                       \
    BOTH_WAYS(X, Erfinv, erfinv)                                                                   \
    BOTH_WAYS(X, Sinc, sinc)                                                                       \
    X(Gelu, 1, CURVE, gelu, none, 0)                                                               \
    X(GeluBackward, 2, CURVE, gelu_back, none, 0, 1)                                               \
    X(GeluV2, 2, CURVE, gelu_v2, none, 0)                                                          \
    X(GeluBackwardV2, 3, CURVE, gelu_v2_back, none, 0, 1)                                          \
    BOTH_WAYS(X, Mish, mish)                                                                       \
    X(MishBackward, 2, 0, mish_back, none, 0, 1)                                                   \
    BOTH_WAYS(X, Hardswish, hardswish)                                                             \
    X(HardswishBackward, 2, 0, hardswish_back, none, 0, 1)                                         \
    BOTH_WAYS(X, Hardsigmoid, hardsigmoid)                                                         \
    X(HardsigmoidBackward, 2, 0, hardsigmoid_back, none, 0, 1)                                     \
    X(Hardtanh, 3, 0, hardtanh, none, 0)                                                           \
    X(InplaceHardtanh, 0, 0, hardtanh, none, 0)                                                    \
    X(HardtanhBackward, 4, 0, hardtanh_back, none, 0, 1)                                           \
    X(LeakyRelu, 2, 0, leaky, none, 0)                                                             \
    X(InplaceLeakyRelu, 0, 0, leaky, none, 0)                                                      \
    X(LeakyReluBackward, 4, 0, leaky_back, none, 0, 1)                                             \
    X(Elu, 4, 0, elu, none, 0)                                                                     \
    X(InplaceElu, 0, 0, elu, none, 0)                                                              \
    X(EluBackward, 6, 0, elu_back, none, 0, 5)                                                     \
    X(Celu, 2, 0, celu, none, 0)                                                                   \
    X(InplaceCelu, 0, 0, celu, none, 0)                                                            \
    X(Softplus, 3, 0, softplus, none, 0)                                                           \
    X(SoftplusBackward, 4, 0, softplus_back, none, 0, 1)                                           \
    X(Threshold, 3, 0, threshold, none, 0)                                                         \
    X(InplaceThreshold, 0, 0, threshold, none, 0)                                                  \
    X(ThresholdBackward, 3, 0, threshold_back, none, 0, 1)                                         \
    X(Softshrink, 2, 0, softshrink, none, 0)                                                       \
    X(SoftshrinkBackward, 3, 0, softshrink_back, none, 0, 1)                                       \
    X(Hardshrink, 2, 0, hardshrink, none, 0)                                                       \
    X(HardshrinkBackward, 3, 0, softshrink_back, none, 0, 1)                                       \
    X(LogSigmoidForward, 1, 0, log_sigmoid, none, 0)                                               \
    X(LogSigmoid, 1, 0, log_sigmoid, none, 0)                                                      \
    X(LogSigmoidBackward, 3, 0, log_sigmoid_back, none, 0, 1)                                      \
    X(Logit, 2, 0, logit, none, 0)                                                                 \
    X(Atan2, 2, 0, atan2, none, 0, 1)                                                              \
    X(LogAddExp, 2, 0, log_add, none, 0, 1)                                                        \
    X(XLogYTensor, 2, 0, xlogy, none, 0, 1)                                                        \
    X(MseLossBackward, 4, 0, mse_back, none, 0, 1, 2)                                              \
    X(L1LossBackward, 4, 0, l1_back, none, 0, 1, 2)                                                \
    X(KlDivBackward, 5, 0, kl_back, none, 0, 1, 2)                                                 \
    X(KlDivTargetBackward, 5, 0, kl_target_back, none, 0, 1, 2)                                    \
    X(SmoothL1LossBackward, 5, 0, smooth_l1_back, none, 0, 1, 2)

CURVE_LIST(EMU_MAP_DEFINE)
EMU_MAP_DEFINE_(BinaryCrossEntropyBackward, 5, 3, 0, bce_back, none, 0, 1, 2, 3)
EMU_MAP_DEFINE_(BinaryCrossEntropyWithLogitsBackward, 6, 3, 0, logits_back, none, 0, 1, 2, 3, 4)

const emu_op emu_ops_curve[] = {
    CURVE_LIST(EMU_MAP_ROW) EMU_MAP_ROW(BinaryCrossEntropyBackward, 5)
        EMU_MAP_ROW(BinaryCrossEntropyWithLogitsBackward, 6){NULL, NULL, NULL}};
