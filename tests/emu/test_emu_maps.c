/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_maps.c - the emulated driver's operators of single elements, each beside a
 * plain computation; integers that wrap; what such calls refuse. */
#include "tests/emu/makes.h"

#include <math.h>
#include <string.h>

enum { INVALID = 161002, NULLPTR = 161001, N = 5 };
static const int64_t FIVE[] = {N};

/* Five numbers from `low` on, and five others. */
static aclTensor *row(double low, double step)
{
    float v[N];
    for (int i = 0; i < N; i++) v[i] = (float)(low + step * i);
    return reals(1, FIVE, v);
}

static void *address;
static aclTensor *kept(double low, double step)
{
    float v[N];
    for (int i = 0; i < N; i++) v[i] = (float)(low + step * i);
    address = upload(v, sizeof v);
    return aclCreateTensor(FIVE, 1, EMU_FLOAT, NULL, 0, ND, FIVE, 1, address);
}

/* `expression` of x (and y, z) is what comes out. */
#define WANTED(low, step, expression)                                                              \
    float want[N];                                                                                 \
    for (int i = 0; i < N; i++) {                                                                  \
        const double x = (double)(float)((low) + (step)*i), y = (double)(float)(0.7 + 0.3 * i),    \
                     z = (double)(float)(1.9 - 0.6 * i);                                           \
        (void)x, (void)y, (void)z;                                                                 \
        want[i] = (float)(expression);                                                             \
    }
#define ROW_Y row(0.7, 0.3)
#define ROW_Z row(1.9, -0.6)
#define IS(name, low, step, expression, ...)                                                       \
    do {                                                                                           \
        WANTED(low, step, expression)                                                              \
        MAKES(name, N, want, __VA_ARGS__);                                                         \
    } while (0)
#define BECOMES(name, low, step, expression, ...)                                                  \
    do {                                                                                           \
        WANTED(low, step, expression)                                                              \
        CALL(Inplace##name, __VA_ARGS__);                                                          \
        expect("Inplace" #name, address, N, want);                                                 \
    } while (0)
/* aclnnNAME(x, out) and aclnnInplaceNAME(x). */
#define OF_ONE(name, low, step, expression)                                                        \
    do {                                                                                           \
        IS(name, low, step, expression, row(low, step));                                           \
        BECOMES(name, low, step, expression, kept(low, step));                                     \
    } while (0)

static void functions_of_one_number(void **state)
{
    (void)state;
    OF_ONE(Exp, -2, 0.9, exp(x));
    OF_ONE(Exp2, -2, 0.9, exp2(x));
    OF_ONE(Expm1, -2, 0.9, expm1(x));
    OF_ONE(Log, 0.2, 0.9, log(x));
    OF_ONE(Log2, 0.2, 0.9, log2(x));
    OF_ONE(Log10, 0.2, 0.9, log10(x));
    OF_ONE(Log1p, -0.8, 0.9, log1p(x));
    OF_ONE(Sin, -2, 0.9, sin(x));
    OF_ONE(Cos, -2, 0.9, cos(x));
    OF_ONE(Tan, -1.2, 0.5, tan(x));
    OF_ONE(Sinh, -2, 0.9, sinh(x));
    OF_ONE(Cosh, -2, 0.9, cosh(x));
    OF_ONE(Tanh, -2, 0.9, tanh(x));
    OF_ONE(Asin, -0.9, 0.4, asin(x));
    OF_ONE(Acos, -0.9, 0.4, acos(x));
    OF_ONE(Atan, -2, 0.9, atan(x));
    OF_ONE(Asinh, -2, 0.9, asinh(x));
    OF_ONE(Acosh, 1.1, 0.9, acosh(x));
    OF_ONE(Atanh, -0.9, 0.4, atanh(x));
    OF_ONE(Erf, -2, 0.9, erf(x));
    OF_ONE(Erfc, -2, 0.9, erfc(x));
    OF_ONE(Sqrt, 0.2, 0.9, sqrt(x));
    OF_ONE(Rsqrt, 0.2, 0.9, 1 / sqrt(x));
    OF_ONE(Reciprocal, 0.2, 0.9, 1 / x);
    OF_ONE(Floor, -2.5, 1.1, floor(x));
    OF_ONE(Ceil, -2.5, 1.1, ceil(x));
    IS(Trunc, -2.5, 1.1, trunc(x), row(-2.5, 1.1));
    OF_ONE(Frac, -2.5, 1.1, x - trunc(x));
    OF_ONE(Sinc, -2, 0.9, sin(3.14159265358979 * x) / (3.14159265358979 * x));
    IS(Sign, -2, 1, (x > 0) - (x < 0), row(-2, 1));
    MAKES(Erfinv, 3, WANT(-0.47693628f, 0, 0.47693628f),
          reals(1, (const int64_t[]){3}, WANT(-0.5f, 0, 0.5f)));
    IS(LogSigmoid, -2, 0.9, -log1p(exp(-x)), row(-2, 0.9));
    IS(Logit, 0.1, 0.2, log(x / (1 - x)), row(0.1, 0.2), -1.0);
    IS(Logit, 0.02, 0.97, x < 0.5 ? log(0.1 / 0.9) : log(0.9 / 0.1), row(0.02, 0.97), 0.1);
    IS(RoundDecimals, -2.53, 1.17, rint(x * 10) / 10, row(-2.53, 1.17), 1);
}

static double unit(double x) /* the logistic function */
{
    return 1 / (1 + exp(-x));
}

static double bell(double x) /* the normal distribution */
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static double elu_of(double x)
{
    return x > 0 ? 3 * x : 3 * 0.5 * (exp(2 * x) - 1);
}

static void activations(void **state)
{
    (void)state;
    OF_ONE(Sigmoid, -2, 0.9, unit(x));
    OF_ONE(Relu, -2, 0.9, x > 0 ? x : 0);
    OF_ONE(Mish, -2, 0.9, x * tanh(log1p(exp(x))));
    OF_ONE(Hardswish, -4, 1.9, x * fmin(fmax(x + 3, 0), 6) / 6);
    OF_ONE(Hardsigmoid, -4, 1.9, fmin(fmax(x + 3, 0), 6) / 6);
    IS(Gelu, -2, 0.9, x * bell(x), row(-2, 0.9));
    IS(GeluV2, -2, 0.9, x * bell(x), row(-2, 0.9), 0);
    IS(GeluV2, -2, 0.9,
       0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x))), row(-2, 0.9),
       1);
    IS(Hardtanh, -2, 0.9, fmin(fmax(x, -0.7), 1.1), row(-2, 0.9), number(-0.7), number(1.1));
    IS(LeakyRelu, -2, 0.9, x > 0 ? x : 0.3 * x, row(-2, 0.9), number(0.3));
    IS(Elu, -2, 0.9, elu_of(x), row(-2, 0.9), number(0.5), number(3), number(2));
    IS(Celu, -2, 0.9, x > 0 ? x : 0.5 * (exp(x / 0.5) - 1), row(-2, 0.9), number(0.5));
    IS(Softplus, -2, 0.9, 2 * x > 1 ? x : log1p(exp(2 * x)) / 2, row(-2, 0.9), number(2),
       number(1));
    IS(Threshold, -2, 0.9, x > 0.2 ? x : -5, row(-2, 0.9), number(0.2), number(-5));
    IS(Softshrink, -2, 0.9, x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : 0, row(-2, 0.9), number(0.5));
    IS(Hardshrink, -2, 0.9, fabs(x) > 0.5 ? x : 0, row(-2, 0.9), number(0.5));
    BECOMES(Hardtanh, -2, 0.9, fmin(fmax(x, -0.7), 1.1), kept(-2, 0.9), number(-0.7), number(1.1));
    BECOMES(LeakyRelu, -2, 0.9, x > 0 ? x : 0.3 * x, kept(-2, 0.9), number(0.3));
    BECOMES(Elu, -2, 0.9, elu_of(x), kept(-2, 0.9), number(0.5), number(3), number(2));
    BECOMES(Celu, -2, 0.9, x > 0 ? x : 0.5 * (exp(x / 0.5) - 1), kept(-2, 0.9), number(0.5));
    BECOMES(Threshold, -2, 0.9, x > 0.2 ? x : -5, kept(-2, 0.9), number(0.2), number(-5));
}

/* y from above, x of the activation: y times the slope between two near points. */
#define SLOPE(f, x) ((f((x) + 1e-6) - f((x)-1e-6)) / 2e-6)

static double gelu_of(double x)
{
    return x * bell(x);
}

static double gelu_tanh_of(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
}

static double mish_of(double x)
{
    return x * tanh(log1p(exp(x)));
}

static double silu_of(double x)
{
    return x * unit(x);
}

static double hardswish_of(double x)
{
    return x * fmin(fmax(x + 3, 0), 6) / 6;
}

static void gradients_of_activations(void **state)
{
    (void)state;
    IS(GeluBackward, -2, 0.9, y * SLOPE(gelu_of, x), ROW_Y, row(-2, 0.9));
    IS(GeluBackwardV2, -2, 0.9, y * SLOPE(gelu_of, x), ROW_Y, row(-2, 0.9), "none");
    IS(GeluBackwardV2, -2, 0.9, y * SLOPE(gelu_tanh_of, x), ROW_Y, row(-2, 0.9), "tanh");
    IS(MishBackward, -2, 0.9, y * SLOPE(mish_of, x), ROW_Y, row(-2, 0.9));
    IS(SiluBackward, -2, 0.9, y * SLOPE(silu_of, x), ROW_Y, row(-2, 0.9));
    IS(HardswishBackward, -4, 1.9, y * SLOPE(hardswish_of, x), ROW_Y, row(-4, 1.9));
    IS(HardsigmoidBackward, -4, 1.9, fabs(x) < 3 ? y / 6 : 0, ROW_Y, row(-4, 1.9));
    IS(TanhBackward, -0.9, 0.4, y * (1 - x * x), ROW_Y, row(-0.9, 0.4));
    IS(HardtanhBackward, -2, 0.9, x > -0.7 && x < 1.1 ? y : 0, ROW_Y, row(-2, 0.9), number(-0.7),
       number(1.1));
    IS(LeakyReluBackward, -2, 0.9, x > 0 ? y : 0.3 * y, ROW_Y, row(-2, 0.9), number(0.3), false);
    IS(EluBackward, -2, 0.9, y * SLOPE(elu_of, x), ROW_Y, number(0.5), number(3), number(2), false,
       row(-2, 0.9));
    IS(SoftplusBackward, -2, 0.9, 2 * x > 1 ? y : y * unit(2 * x), ROW_Y, row(-2, 0.9), number(2),
       number(1));
    IS(ThresholdBackward, -2, 0.9, x > 0.2 ? y : 0, ROW_Y, row(-2, 0.9), number(0.2));
    IS(SoftshrinkBackward, -2, 0.9, fabs(x) > 0.5 ? y : 0, ROW_Y, row(-2, 0.9), number(0.5));
    IS(HardshrinkBackward, -2, 0.9, fabs(x) > 0.5 ? y : 0, ROW_Y, row(-2, 0.9), number(0.5));
    IS(LogSigmoidBackward, -2, 0.9, y * unit(-x), ROW_Y, row(-2, 0.9), row(0, 0));
}

/* z from above, x and y of the loss; of the mean a fifth. */
static void gradients_of_losses(void **state)
{
    (void)state;
    IS(L1LossBackward, -2, 0.9, z * ((x > y) - (x < y)) / 5, ROW_Z, row(-2, 0.9), ROW_Y, 1);
    IS(L1LossBackward, -2, 0.9, z * ((x > y) - (x < y)), ROW_Z, row(-2, 0.9), ROW_Y, 2);
    IS(SmoothL1LossBackward, -2, 0.9, z * fmin(fmax((x - y) / 2.0, -1), 1), ROW_Z, row(-2, 0.9),
       ROW_Y, 0, 2.0F);
    IS(KlDivBackward, -2, 0.9, -z * y / 5, ROW_Z, row(-2, 0.9), ROW_Y, 1, false);
    IS(KlDivBackward, -2, 0.9, -z * exp(y), ROW_Z, row(-2, 0.9), ROW_Y, 2, true);
    IS(KlDivTargetBackward, -2, 0.9, z * (log(y) + 1 - x), ROW_Z, row(-2, 0.9), ROW_Y, 2, false);
    IS(KlDivTargetBackward, -2, 0.9, z * exp(y) * (y - x + 1) / 5, ROW_Z, row(-2, 0.9), ROW_Y, 1,
       true);
    IS(BinaryCrossEntropyBackward, 0.1, 0.2, z * (x - y) / (x * (1 - x)), ROW_Z, row(0.1, 0.2),
       ROW_Y, NULL, 2);
    IS(BinaryCrossEntropyBackward, 0.1, 0.2, y * z * (x - y) / (x * (1 - x)) / 5, ROW_Z,
       row(0.1, 0.2), ROW_Y, ROW_Y, 1);
    IS(BinaryCrossEntropyWithLogitsBackward, -2, 0.9, z * (unit(x) - y), ROW_Z, row(-2, 0.9), ROW_Y,
       NULL, NULL, 2);
    IS(BinaryCrossEntropyWithLogitsBackward, -2, 0.9, z * y * ((3 * y + 1 - y) * unit(x) - 3 * y),
       ROW_Z, row(-2, 0.9), ROW_Y, ROW_Y, row(3, 0), 0);
}

static double down(double a, double b)
{
    return floor(a / b);
}

static void of_two_numbers(void **state)
{
    (void)state;
    aclTensor *a = row(-2, 0.9);
    BECOMES(Sub, -2, 0.9, x - 3 * y, kept(-2, 0.9), ROW_Y, number(3));
    BECOMES(Subs, -2, 0.9, x - 3 * 0.5, kept(-2, 0.9), number(0.5), number(3));
    BECOMES(Div, -2, 0.9, x / y, kept(-2, 0.9), ROW_Y);
    BECOMES(Divs, -2, 0.9, x / 4, kept(-2, 0.9), number(4));
    IS(DivMod, -2, 0.9, x / y, a, ROW_Y, 0);
    IS(DivMod, -2, 0.9, trunc(x / y), a, ROW_Y, 1);
    IS(DivMod, -2, 0.9, down(x, y), a, ROW_Y, 2);
    IS(DivMods, -2, 0.9, trunc(x / 0.3), a, number(0.3), 1);
    BECOMES(DivMod, -2, 0.9, down(x, y), kept(-2, 0.9), ROW_Y, 2);
    BECOMES(DivMods, -2, 0.9, down(x, 0.3), kept(-2, 0.9), number(0.3), 2);
    IS(FloorDivide, -2, 0.9, down(x, y), a, ROW_Y);
    IS(FloorDivides, -2, 0.9, down(x, -0.3), a, number(-0.3));
    BECOMES(FloorDivide, -2, 0.9, down(x, y), kept(-2, 0.9), ROW_Y);
    BECOMES(FloorDivides, -2, 0.9, down(x, 0.3), kept(-2, 0.9), number(0.3));
    IS(RemainderTensorTensor, -2, 0.9, x - y * down(x, y), a, ROW_Y);
    IS(RemainderTensorScalar, -2, 0.9, x - 0.3 * down(x, 0.3), a, number(0.3));
    IS(RemainderScalarTensor, -2, 0.9, 5 - x * down(5, x), number(5), a);
    BECOMES(RemainderTensorTensor, -2, 0.9, x - y * down(x, y), kept(-2, 0.9), ROW_Y);
    BECOMES(RemainderTensorScalar, -2, 0.9, x - 0.3 * down(x, 0.3), kept(-2, 0.9), number(0.3));
    IS(FmodTensor, -2, 0.9, fmod(x, y), a, ROW_Y);
    IS(FmodScalar, -2, 0.9, fmod(x, 0.3), a, number(0.3));
    BECOMES(FmodTensor, -2, 0.9, fmod(x, y), kept(-2, 0.9), ROW_Y);
    BECOMES(FmodScalar, -2, 0.9, fmod(x, 0.3), kept(-2, 0.9), number(0.3));
    IS(PowTensorTensor, 0.2, 0.9, pow(x, z), row(0.2, 0.9), ROW_Z);
    BECOMES(PowTensorTensor, 0.2, 0.9, pow(x, z), kept(0.2, 0.9), ROW_Z);
    BECOMES(PowTensorScalar, 0.2, 0.9, pow(x, 2.5), kept(0.2, 0.9), number(2.5));
    IS(Lerp, -2, 0.9, x + z * (y - x), a, ROW_Y, ROW_Z);
    BECOMES(Lerp, -2, 0.9, x + z * (y - x), kept(-2, 0.9), ROW_Y, ROW_Z);
    IS(Addcmul, -2, 0.9, x + 0.4 * y * z, a, ROW_Y, ROW_Z, number(0.4));
    IS(Addcdiv, -2, 0.9, x + 0.4 * z / y, a, ROW_Z, ROW_Y, number(0.4));
    IS(Atan2, -2, 0.9, atan2(x, z), a, ROW_Z);
    IS(LogAddExp, -2, 0.9, log(exp(x) + exp(z)), a, ROW_Z);
    IS(XLogYTensor, -2, 1, x * log(y), row(-2, 1), ROW_Y);
}

static void bounds(void **state)
{
    (void)state;
    aclTensor *a = row(-2, 0.9);
    IS(ClampMin, -2, 0.9, fmax(x, 0.1), a, number(0.1));
    IS(ClampMax, -2, 0.9, fmin(x, 0.1), a, number(0.1));
    BECOMES(ClampMax, -2, 0.9, fmin(x, 0.1), kept(-2, 0.9), number(0.1));
    IS(ClampMinTensor, -2, 0.9, fmax(x, z), a, ROW_Z);
    IS(ClampMaxTensor, -2, 0.9, fmin(x, z), a, ROW_Z);
    BECOMES(ClampMinTensor, -2, 0.9, fmax(x, z), kept(-2, 0.9), ROW_Z);
    BECOMES(ClampMaxTensor, -2, 0.9, fmin(x, z), kept(-2, 0.9), ROW_Z);
    IS(ClampTensor, -2, 0.9, fmin(fmax(x, z), y), a, ROW_Z, ROW_Y);
    IS(ClampTensor, -2, 0.9, fmin(x, y), a, NULL, ROW_Y);
    IS(ClampTensor, -2, 0.9, fmax(x, z), a, ROW_Z, NULL);
    float odd[N] = {NAN, INFINITY, -INFINITY, 2, -3};
    MAKES(NanToNum, N, WANT(0.5f, 7, -8, 2, -3), reals(1, FIVE, odd), 0.5F, 7.0F, -8.0F);
    BECOMES(MaskedFillTensor, -2, 0.9, i == 3 ? 9 : x, kept(-2, 0.9),
            aclCreateTensor(FIVE, 1, EMU_BOOL, NULL, 0, ND, FIVE, 1,
                            upload((const char[]){0, 0, 0, 1, 0}, N)),
            reals(1, FIVE, (const float[]){9, 9, 9, 9, 9}));
}

/* Runs aclnnNAME(..., y) for an output of N integers of a type that is `wide` bytes. */
#define COUNTS(name, type, T, want, ...)                                                           \
    do {                                                                                           \
        void *at_ = device(N * sizeof(T));                                                         \
        T got_[N];                                                                                 \
        CALL(name, __VA_ARGS__, aclCreateTensor(FIVE, 1, type, NULL, 0, ND, FIVE, 1, at_));        \
        assert_int_equal(aclrtSynchronizeStream(NULL), 0);                                         \
        download(got_, at_, sizeof got_);                                                          \
        for (int i_ = 0; i_ < N; i_++)                                                             \
            if ((int64_t)got_[i_] != (want)[i_])                                                   \
                fail_msg("%s, %d: %lld, want %lld", #name, i_, (long long)got_[i_],                \
                         (long long)(want)[i_]);                                                   \
    } while (0)
#define THESE(...) ((const int64_t[]){__VA_ARGS__})

static aclTensor *integers(int type, const void *v, size_t size)
{
    return aclCreateTensor(FIVE, 1, type, NULL, 0, ND, FIVE, 1, upload(v, N * size));
}

static aclScalar *integer(int64_t i)
{
    return aclCreateScalar(&i, EMU_INT64);
}

static void integers_wrap_and_keep_all_bits(void **state)
{
    (void)state;
    const int64_t far = (INT64_C(1) << 62) + 1, v[N] = {far, -7, 7, 5, 0}, w[N] = {3, 2, -2, 0, 5};
    const uint8_t u[N] = {250, 1, 2, 3, 4};
    aclTensor *a = integers(EMU_INT64, v, 8), *b = integers(EMU_INT64, w, 8);
    COUNTS(Adds, EMU_INT64, int64_t, THESE(far + 2, -5, 9, 7, 2), a, integer(2), integer(1));
    COUNTS(Mul, EMU_INT64, int64_t, THESE((int64_t)(UINT64_C(3) * (uint64_t)far), -14, -14, 0, 0),
           a, b);
    COUNTS(FloorDivide, EMU_INT64, int64_t, THESE(far / 3, -4, -4, 0, 0), a, b);
    COUNTS(DivMod, EMU_INT64, int64_t, THESE(far / 3, -3, -3, 0, 0), a, b, 1);
    COUNTS(RemainderTensorTensor, EMU_INT64, int64_t, THESE(far % 3, 1, -1, 0, 0), a, b);
    COUNTS(FmodTensor, EMU_INT64, int64_t, THESE(far % 3, -1, 1, 0, 0), a, b);
    COUNTS(Cast, EMU_INT8, int8_t, THESE(1, -7, 7, 5, 0), a, EMU_INT8);
    COUNTS(EqScalar, EMU_BOOL, uint8_t, THESE(0, 0, 0, 0, 0), a, integer(far + 1));
    COUNTS(Adds, EMU_UINT8, uint8_t, THESE(4, 11, 12, 13, 14), integers(EMU_UINT8, u, 1),
           integer(10), integer(1));
    COUNTS(PowTensorScalar, EMU_INT64, int64_t, THESE(far * 0 + 1, 49, 49, 25, 0),
           integers(EMU_INT64, THESE(-1, -7, 7, 5, 0), 8), integer(2));
    COUNTS(LeftShifts, EMU_INT64, int64_t, THESE(12, 8, -8, 0, 20), b, integer(2));
    COUNTS(RightShift, EMU_INT64, int64_t, THESE(far / 2, -4, 3, 2, 0), a,
           integers(EMU_INT64, THESE(1, 1, 1, 1, 1), 8));
    COUNTS(BitwiseXorTensor, EMU_INT64, int64_t, THESE(far ^ 3, -7 ^ 2, 7 ^ -2, 5, 5), a, b);
    COUNTS(BitwiseXorScalar, EMU_INT64, int64_t, THESE(3 ^ 6, 2 ^ 6, -2 ^ 6, 6, 5 ^ 6), b,
           integer(6));
    COUNTS(LogicalXor, EMU_BOOL, uint8_t, THESE(0, 0, 0, 1, 1), a, b);
}

static void refusals(void **state)
{
    uint64_t bytes = 0;
    aclOpExecutor *x = NULL;
    const int64_t four[] = {4};
    aclTensor *a = row(-2, 0.9), *y = kept(0, 0);
    aclTensor *short_one = aclCreateTensor(four, 1, EMU_FLOAT, NULL, 0, ND, four, 1, device(64));
    (void)state;
    assert_int_equal(aclnnErfGetWorkspaceSize(a, short_one, &bytes, &x), INVALID);
    assert_int_equal(aclnnErfGetWorkspaceSize(NULL, y, &bytes, &x), NULLPTR);
    assert_int_equal(aclnnLerpGetWorkspaceSize(a, a, NULL, y, &bytes, &x), NULLPTR);
    assert_int_equal(aclnnLogicalXorGetWorkspaceSize(a, a, y, &bytes, &x), INVALID);
    assert_int_equal(aclnnFmodScalarGetWorkspaceSize(a, NULL, y, &bytes, &x), NULLPTR);
    assert_int_equal(
        aclnnGeluGetWorkspaceSize(integers(EMU_INT64, THESE(1, 2, 3, 4, 5), 8), y, &bytes, &x),
        INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_one_number),
        cmocka_unit_test(activations),
        cmocka_unit_test(gradients_of_activations),
        cmocka_unit_test(gradients_of_losses),
        cmocka_unit_test(of_two_numbers),
        cmocka_unit_test(bounds),
        cmocka_unit_test(integers_wrap_and_keep_all_bits),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
