/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_quant.c - every block format against a slow formula that picks one element out of
 * the bits, and the two encoders against numbers made by hand and another way of rounding. */
#include "base/num.h"
#include "base/rng.h"
#include "tensor/quant.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 400, MOST_BYTES = 210, MOST = 256 };

/* Bits first .. first + n - 1 of the bytes, bit 0 the lowest of byte 0. */
static int bits(const unsigned char *p, int first, int n)
{
    int x = 0;
    for (int i = 0; i < n; i++) x |= (p[(first + i) / 8] >> (first + i) % 8 & 1) << i;
    return x;
}

static double half(const unsigned char *p)
{
    return (double)mz_f16_to_f32((uint16_t)bits(p, 0, 16));
}

/* One f32 operation each: a product of two floats is exact in double, and a sum of two rounded to
 * double and then to float is the float sum. */
static float times(double a, double b)
{
    return (float)(a * b);
}

static float plus(double a, double b)
{
    return (float)(a + b);
}

/* ---- blocks of 32 ---- */

static int nibble_at(const unsigned char *q, int i) /* element i < 16 low, i >= 16 high */
{
    return bits(q, 8 * (i % 16) + (i < 16 ? 0 : 4), 4);
}

static float slow_32(mz_quant q, const unsigned char *b, int i)
{
    const double d = half(b), m = half(b + 2);
    switch (q) {
    case MZ_QUANT_Q4_0:
        return times(nibble_at(b + 2, i) - 8, d);
    case MZ_QUANT_Q4_1:
        return plus((double)times(nibble_at(b + 4, i), d), m);
    case MZ_QUANT_Q5_0:
        return times(nibble_at(b + 6, i) + 16 * bits(b + 2, i, 1) - 16, d);
    case MZ_QUANT_Q5_1:
        return plus((double)times(nibble_at(b + 8, i) + 16 * bits(b + 4, i, 1), d), m);
    case MZ_QUANT_Q8_0:
    case MZ_QUANT_Q4_K:
    case MZ_QUANT_Q5_K:
    case MZ_QUANT_Q6_K:
    case MZ_QUANT_COUNT:
        break;
    }
    const int x = bits(b + 2, 8 * i, 8);
    return times(x > 127 ? x - 256 : x, d);
}

/* ---- blocks of 256 ---- */

/* The 6-bit numbers of the K formats: entry k of 16 (8 scales, then 8 minima). */
static int packed(const unsigned char *s, int k)
{
    const int j = k % 8, least = k / 8;
    if (j < 4) return bits(s, 8 * (j + 4 * least), 6);
    const int low = bits(s, 8 * (j + 4) + 4 * least, 4);
    return low + 16 * bits(s, 8 * (j - 4 + 4 * least) + 6, 2);
}

static float slow_k(mz_quant q, const unsigned char *b, int i)
{
    const int sub = i / 32, l = i % 32;
    const unsigned char *nibbles = b + (q == MZ_QUANT_Q4_K ? 16 : 48);
    int n = bits(nibbles, 8 * (32 * (sub / 2) + l) + 4 * (sub % 2), 4);
    if (q == MZ_QUANT_Q5_K) n += 16 * bits(b + 16, 8 * l + sub, 1);
    const double scale = (double)times(half(b), packed(b + 4, sub));
    const double least = (double)times(half(b + 2), packed(b + 4, 8 + sub));
    return plus((double)times(scale, n), -least);
}

static float slow_6(const unsigned char *b, int i)
{
    const int part = i / 128, r = i % 128, quarter = r / 32, l = r % 32;
    const int low = bits(b, 8 * (64 * part + 32 * (quarter % 2) + l) + 4 * (quarter / 2), 4);
    const int high = bits(b + 128, 8 * (32 * part + l) + 2 * quarter, 2);
    const int s = bits(b + 192, 8 * (8 * part + r / 16), 8);
    return times((double)times(half(b + 208), s > 127 ? s - 256 : s), low + 16 * high - 32);
}

static float slow(mz_quant q, const unsigned char *b, int i)
{
    if (mz_quant_block(q) == 32) return slow_32(q, b, i);
    return q == MZ_QUANT_Q6_K ? slow_6(b, i) : slow_k(q, b, i);
}

static bool same(float a, float b)
{
    return mz_f32_bits(a) == mz_f32_bits(b);
}

/* Random bytes; a half that is not finite becomes one that is. */
static void random_block(mz_rng *rng, mz_quant q, unsigned char *b)
{
    for (size_t i = 0; i < mz_quant_block_bytes(q); i++)
        b[i] = (unsigned char)(mz_rng_u32(rng) & 0xff);
    const int halves[3] = {0, 2, 208};
    for (int k = 0; k < 3; k++)
        if ((size_t)halves[k] < mz_quant_block_bytes(q) && (b[halves[k] + 1] & 0x7c) == 0x7c)
            b[halves[k] + 1] ^= 0x40;
}

static void every_format_expands_as_written(void **state)
{
    (void)state;
    mz_rng rng;
    mz_rng_init(&rng, 1, 2);
    for (int q = 0; q < MZ_QUANT_COUNT; q++)
        for (int round = 0; round < ROUNDS; round++) {
            unsigned char room[2 * MOST_BYTES + 1];
            float y[2 * MOST];
            unsigned char *b = room + round % 2; /* unaligned too */
            const int n = (int)mz_quant_block((mz_quant)q);
            const size_t bytes = mz_quant_block_bytes((mz_quant)q);
            random_block(&rng, (mz_quant)q, b);
            random_block(&rng, (mz_quant)q, b + bytes);
            assert_int_equal(mz_quant_expand((mz_quant)q, y, b, 2 * n), MZ_OK);
            for (int i = 0; i < 2 * n; i++) {
                const float want = slow((mz_quant)q, b + (i < n ? 0 : bytes), i % n);
                if (!same(y[i], want))
                    fail_msg("%s element %d: %.9g, want %.9g", mz_quant_name((mz_quant)q), i,
                             (double)y[i], (double)want);
            }
        }
}

static void numbers_by_hand(void **state)
{
    (void)state;
    float x[32], y[32];
    unsigned char b[34];
    for (int i = 0; i < 32; i++) x[i] = (float)(i % 16 - 8); /* -8 is the largest: d is 1 */
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q4_0, b, x, 32), MZ_OK);
    assert_int_equal(b[0] | b[1] << 8, 0x3c00);
    for (int j = 0; j < 16; j++) assert_int_equal(b[2 + j], j | j << 4);
    assert_int_equal(mz_quant_expand(MZ_QUANT_Q4_0, y, b, 32), MZ_OK);
    assert_memory_equal(x, y, sizeof x);
    x[0] = 8.0f; /* now +8 comes first: d is -1, and 8 - (-8) is 0 */
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q4_0, b, x, 32), MZ_OK);
    assert_int_equal(b[0] | b[1] << 8, 0xbc00);
    assert_int_equal(b[2] & 15, 0);
    assert_int_equal(b[2] >> 4, 15); /* -8 / -1 + 8 = 16 is one too many */
    for (int i = 0; i < 32; i++) x[i] = (float)(4 * i) + 0.5f; /* the largest 124.5: d 0.980.. */
    x[31] = 127.0f;                                            /* d is 1 */
    x[1] = -4.5f;
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q8_0, b, x, 32), MZ_OK);
    assert_int_equal(b[0] | b[1] << 8, 0x3c00);
    assert_int_equal(b[2], 1);               /* 0.5 goes away from 0 */
    assert_int_equal((signed char)b[3], -5); /* -4.5 too */
    assert_int_equal(b[2 + 30], 121);        /* 120.5 */
    memset(x, 0, sizeof x);
    for (int q = MZ_QUANT_Q4_0; q <= MZ_QUANT_Q8_0; q++) {
        if (!mz_quant_can_encode((mz_quant)q)) continue;
        assert_int_equal(mz_quant_encode((mz_quant)q, b, x, 32), MZ_OK);
        assert_int_equal(mz_quant_expand((mz_quant)q, y, b, 32), MZ_OK);
        for (int i = 0; i < 32; i++) assert_true(!(fabsf(y[i]) > 0.0f));
    }
}

/* The same rounding by comparing distances in f32: the numbers that come out are the nearest. */
static void encoders_choose_the_nearest(void **state)
{
    (void)state;
    mz_rng rng;
    mz_rng_init(&rng, 3, 4);
    for (int round = 0; round < ROUNDS; round++) {
        float x[32];
        unsigned char b[34];
        float most = 0.0f, largest = 0.0f;
        const double size = pow(10.0, round % 9 - 4);
        for (int i = 0; i < 32; i++) {
            x[i] = (float)(size * mz_rng_normal(&rng));
            if (fabsf(x[i]) > most) most = fabsf(x[i]), largest = x[i];
        }
        assert_int_equal(mz_quant_encode(MZ_QUANT_Q8_0, b, x, 32), MZ_OK);
        float d = (float)((double)most / 127.0), id = (float)(1.0 / (double)d);
        assert_int_equal(bits(b, 0, 16), mz_f32_to_f16(d));
        for (int i = 0; i < 32; i++) {
            const double v = (double)times((double)x[i], (double)id);
            const int want = (int)(v < 0 ? -floor(0.5 - v) : floor(v + 0.5));
            assert_int_equal((signed char)b[2 + i], want);
        }
        assert_int_equal(mz_quant_encode(MZ_QUANT_Q4_0, b, x, 32), MZ_OK);
        d = largest / -8.0f, id = (float)(1.0 / (double)d);
        assert_int_equal(bits(b, 0, 16), mz_f32_to_f16(d));
        for (int i = 0; i < 32; i++) {
            const double v = (double)plus((double)times((double)x[i], (double)id), 8.5);
            assert_int_equal(nibble_at(b + 2, i), v >= 16.0 ? 15 : (int)floor(v));
        }
    }
}

static void refusals(void **state)
{
    (void)state;
    float x[32] = {0};
    unsigned char b[256] = {0};
    assert_int_equal(mz_quant_expand(MZ_QUANT_Q8_0, x, b, 31), MZ_EINVAL);
    assert_int_equal(mz_quant_expand(MZ_QUANT_COUNT, x, b, 32), MZ_EINVAL);
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q8_0, b, x, 16), MZ_EINVAL);
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q4_1, b, x, 32), MZ_ENOTSUP);
    const float wrong[] = {NAN, INFINITY, -INFINITY, 1e30f};
    for (int i = 0; i < 4; i++) {
        x[7] = wrong[i];
        mz_err_clear();
        assert_int_equal(mz_quant_encode(MZ_QUANT_Q8_0, b, x, 32), MZ_ENUMERIC);
        assert_int_equal(mz_err_last()->offset, 7);
        assert_int_equal(mz_quant_encode(MZ_QUANT_Q4_0, b, x, 32), MZ_ENUMERIC);
    }
    x[7] = 1e-42f; /* 1 / d is too large for a float */
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q8_0, b, x, 32), MZ_OK);
    assert_int_equal(mz_quant_encode(MZ_QUANT_Q4_0, b, x, 32), MZ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_expands_as_written),
        cmocka_unit_test(numbers_by_hand),
        cmocka_unit_test(encoders_choose_the_nearest),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
