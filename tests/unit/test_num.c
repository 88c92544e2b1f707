/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_num.c - the short float formats against a slow oracle: the list of a format's
 * numbers, each by ldexp, and the nearest one to x by bisection. */
#include "base/num.h"
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct {
    int exponent_bits, mantissa_bits, bias;
    unsigned n_finite; /* non-negative finite numbers are the bits 0..n_finite-1 */
    bool has_infinity;
} format;

static const format BF16 = {8, 7, 127, 0x7f80, true}, F16 = {5, 10, 15, 0x7c00, true};
static const format E5M2 = {5, 2, 15, 0x7c, true}, E4M3 = {4, 3, 7, 0x7f, false};

/* The value of non-negative finite bits, once slowly, then from a list. */
static double slow_value(const format *f, unsigned bits)
{
    const int exponent = (int)(bits >> f->mantissa_bits);
    const double fraction = ldexp(bits & ((1u << f->mantissa_bits) - 1), -f->mantissa_bits);
    return exponent == 0 ? ldexp(fraction, 1 - f->bias) : ldexp(1.0 + fraction, exponent - f->bias);
}

static double value(const format *f, unsigned bits)
{
    static double list[4][0x7f80];
    double *row = list[f == &BF16 ? 0 : f == &F16 ? 1 : f == &E5M2 ? 2 : 3];
    if (bits > 0 && !(row[bits] > 0)) row[bits] = slow_value(f, bits);
    return row[bits]; /* 0 for 0 */
}

static unsigned sign_bit(const format *f)
{
    return 1u << (f->exponent_bits + f->mantissa_bits);
}

/* Nearest, ties to even bits; x is not NaN. Above the largest number the next one, were there a
 * larger exponent, takes part. */
static unsigned nearest(const format *f, double x)
{
    const unsigned sign = signbit(x) ? sign_bit(f) : 0, top = f->n_finite;
    const double a = fabs(x);
    unsigned low = 0, high = top; /* value(low) <= a < value(high), or high == top */
    while (high - low > 1) {
        const unsigned middle = low + (high - low) / 2;
        if (value(f, middle) <= a)
            low = middle;
        else
            high = middle;
    }
    const double step = value(f, low) - value(f, low == 0 ? 0 : low - 1);
    const double next = high < top ? value(f, high) : value(f, low) + step;
    const double down = a - value(f, low), up = next - a; /* exact near a tie */
    const bool rises = up < down || (!(down < up) && low % 2 == 1);
    if (!rises) return sign | low;
    return sign | (high < top || f->has_infinity ? high : low);
}

typedef unsigned encode_fn(double x);
static unsigned bf16_of_f64(double x)
{
    return mz_f64_to_bf16(x);
}
static unsigned f16_of_f64(double x)
{
    return mz_f64_to_f16(x);
}
static unsigned bf16_of_f32(double x)
{
    return mz_f32_to_bf16((float)x);
}
static unsigned f16_of_f32(double x)
{
    return mz_f32_to_f16((float)x);
}
static unsigned e5m2_of_f32(double x)
{
    return mz_f32_to_e5m2((float)x);
}
static unsigned e4m3_of_f32(double x)
{
    return mz_f32_to_e4m3((float)x);
}

static const struct {
    const format *f;
    encode_fn *encode;
    bool from_f64;
} ENCODERS[] = {
    {&BF16, bf16_of_f64, true}, {&F16, f16_of_f64, true},    {&BF16, bf16_of_f32, false},
    {&F16, f16_of_f32, false},  {&E5M2, e5m2_of_f32, false}, {&E4M3, e4m3_of_f32, false},
};
enum { N_ENCODERS = (int)(sizeof ENCODERS / sizeof ENCODERS[0]) };

static void check(int k, double x)
{
    if (!ENCODERS[k].from_f64) x = (double)(float)x;
    assert_int_equal(ENCODERS[k].encode(x), nearest(ENCODERS[k].f, x));
    assert_int_equal(ENCODERS[k].encode(-x), nearest(ENCODERS[k].f, -x));
}

static bool is_same(float a, float b)
{
    return mz_f32_bits(a) == mz_f32_bits(b);
}

static void every_pattern_decodes_to_its_value(void **state)
{
    (void)state;
    const struct {
        const format *f;
        int bits;
    } formats[] = {{&BF16, 16}, {&F16, 16}, {&E5M2, 8}, {&E4M3, 8}};
    for (int k = 0; k < 4; k++) {
        const format *f = formats[k].f;
        for (unsigned b = 0; b < 1u << formats[k].bits; b++) {
            const float x = k == 0   ? mz_bf16_to_f32((uint16_t)b)
                            : k == 1 ? mz_f16_to_f32((uint16_t)b)
                            : k == 2 ? mz_e5m2_to_f32((uint8_t)b)
                                     : mz_e4m3_to_f32((uint8_t)b);
            const unsigned magnitude = b & (sign_bit(f) - 1);
            assert_int_equal(signbit(x) != 0, (b & sign_bit(f)) != 0);
            if (magnitude < f->n_finite)
                assert_true(is_same(fabsf(x), (float)value(f, magnitude)));
            else if (magnitude == f->n_finite && f->has_infinity)
                assert_true(isinf(x));
            else
                assert_true(isnan(x));
        }
    }
    assert_true(is_same(mz_e8m0_to_f32(0), ldexpf(1.0f, -127)));
    for (int b = 0; b < 255; b++)
        assert_true(is_same(mz_e8m0_to_f32((uint8_t)b), ldexpf(1.0f, b - 127)));
    assert_true(isnan(mz_e8m0_to_f32(255)));
}

static void every_pattern_survives_the_round_trip(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 1u << 16; b++) {
        const float h = mz_f16_to_f32((uint16_t)b), t = mz_bf16_to_f32((uint16_t)b);
        if (!isnan(h)) assert_int_equal(mz_f32_to_f16(h), b);
        if (!isnan(t)) assert_int_equal(mz_f32_to_bf16(t), b);
        if (!isnan(h)) assert_int_equal(mz_f64_to_f16((double)h), b);
        if (!isnan(t)) assert_int_equal(mz_f64_to_bf16((double)t), b);
    }
    for (unsigned b = 0; b < 256; b++) {
        const float e = mz_e5m2_to_f32((uint8_t)b), m = mz_e4m3_to_f32((uint8_t)b);
        if (!isnan(e)) assert_int_equal(mz_f32_to_e5m2(e), b);
        if (!isnan(m)) assert_int_equal(mz_f32_to_e4m3(m), b);
    }
}

/* Around every tie of every format: the tie, and the closest f32 or f64 beside it; and, from f64,
 * a neighbour so close that f32 would round it onto the tie. */
static void ties_go_to_even_and_their_neighbours_do_not(void **state)
{
    (void)state;
    for (int k = 0; k < N_ENCODERS; k++) {
        const format *f = ENCODERS[k].f;
        for (unsigned b = 0; b < f->n_finite; b++) {
            const double here = value(f, b), below = b == 0 ? 0.0 : value(f, b - 1);
            const double next = b + 1 < f->n_finite ? value(f, b + 1) : here + (here - below);
            const double tie = here + (next - here) / 2;
            check(k, here);
            check(k, tie);
            check(k, (double)nextafterf((float)tie, INFINITY));
            check(k, (double)nextafterf((float)tie, 0.0f));
            check(k, tie * (1 + 0x1p-40));
            check(k, tie * (1 - 0x1p-40));
        }
    }
}

static void random_numbers_agree_with_the_oracle(void **state)
{
    (void)state;
    mz_rng r;
    mz_rng_init(&r, 2024, 1);
    for (int i = 0; i < 20000; i++) {
        const double x = (double)mz_f32_from_bits(mz_rng_u32(&r)); /* any exponent */
        const double y = ldexp(mz_rng_uniform(&r), (int)mz_rng_below(&r, 60) - 40);
        for (int k = 0; k < N_ENCODERS; k++) {
            if (isnan(x)) continue;
            check(k, x);
            check(k, y);
        }
    }
}

static void inline_bf16_is_the_same_function(void **state)
{
    (void)state;
    mz_rng r;
    mz_rng_init(&r, 7, 1);
    for (int i = 0; i < 200000; i++) {
        const float x = mz_f32_from_bits(mz_rng_u32(&r));
        if (isnan(x)) /* the hardware conversion float -> double quiets it first */
            assert_true(isnan(mz_bf16_to_f32(mz_f64_to_bf16((double)x))));
        else
            assert_int_equal(mz_f32_to_bf16(x), mz_f64_to_bf16((double)x));
    }
}

static void nan_stays_nan_and_extremes_end_where_promised(void **state)
{
    (void)state;
    static const uint32_t payloads[] = {1, 0x1000, 0x2000, 0x200000, 0x3fffff, 0x400000, 0x7fffff};
    for (int i = 0; i < 14; i++) { /* quiet, signalling, payload in any bit, both signs */
        const float x = mz_f32_from_bits(0x7f800000u | payloads[i / 2] | (i % 2 ? 0x80000000u : 0));
        assert_true(isnan(mz_f16_to_f32(mz_f32_to_f16(x))));
        assert_true(isnan(mz_bf16_to_f32(mz_f32_to_bf16(x))));
        assert_true(isnan(mz_f16_to_f32(mz_f64_to_f16((double)x))));
        assert_true(isnan(mz_bf16_to_f32(mz_f64_to_bf16((double)x))));
        assert_true(isnan(mz_e5m2_to_f32(mz_f32_to_e5m2(x))));
        assert_true(isnan(mz_e4m3_to_f32(mz_f32_to_e4m3(x))));
        assert_int_equal(mz_f32_to_e4m3(x) & 0x80, i % 2 ? 0x80 : 0);
    }
    assert_int_equal(mz_f32_to_e4m3(INFINITY), 0x7e); /* 448 */
    assert_int_equal(mz_f32_to_e4m3(-INFINITY), 0xfe);
    assert_int_equal(mz_f32_to_e4m3(1e30f), 0x7e);
    assert_int_equal(mz_f32_to_e5m2(INFINITY), 0x7c);
    assert_int_equal(mz_f32_to_e5m2(-61440.0f), 0xfc); /* the tie above 57344 */
    assert_int_equal(mz_f32_to_e5m2(61439.0f), 0x7b);
    assert_int_equal(mz_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(mz_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(mz_f32_to_bf16(3.4028235e38f), 0x7f80);
    assert_int_equal(mz_f64_to_bf16(1e300), 0x7f80);
    assert_int_equal(mz_f64_to_f16(-1e300), 0xfc00);
    assert_int_equal(mz_f64_to_f16(-5e-324), 0x8000); /* a subnormal double */
    assert_int_equal(mz_f64_to_bf16(0x1p-134), 0);    /* half of the smallest: to even */
    assert_int_equal(mz_f64_to_bf16(0x1.0000000000001p-134), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_decodes_to_its_value),
        cmocka_unit_test(every_pattern_survives_the_round_trip),
        cmocka_unit_test(ties_go_to_even_and_their_neighbours_do_not),
        cmocka_unit_test(random_numbers_agree_with_the_oracle),
        cmocka_unit_test(inline_bf16_is_the_same_function),
        cmocka_unit_test(nan_stays_nan_and_extremes_end_where_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
