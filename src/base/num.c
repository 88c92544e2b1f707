/* SPDX-License-Identifier: Apache-2.0 */
/* base/num.c - one rounding and one widening for all short formats; the formats are rows of data.
 *
 * Every f32 is a double, so a conversion from f32 goes through double without a second rounding. */
#include "base/num.h"

#include <math.h>
#include <stdbool.h>

typedef struct {
    int mantissa;      /* stored bits */
    int bias;          /* of the exponent */
    unsigned largest;  /* bits of the largest finite number */
    unsigned infinity; /* what a number above it becomes */
    unsigned nan;      /* bits that make a NaN, the quiet bit among them */
} format;

static const format BF16 = {7, 127, 0x7f7f, 0x7f80, 0x7fc0};
static const format F16 = {10, 15, 0x7bff, 0x7c00, 0x7e00};
static const format E5M2 = {2, 15, 0x7b, 0x7c, 0x7e};
static const format E4M3 = {3, 7, 0x7e, 0x7e, 0x7f}; /* no infinity: saturates */

static inline unsigned narrow(double x, const format *f)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    const int field = (int)(u >> 52 & 0x7ff);
    const uint64_t fraction = u & 0xfffffffffffffu;
    if (field == 0x7ff && fraction != 0)
        return f->nan | (unsigned)(fraction >> (52 - f->mantissa)); /* keeps the payload's top */
    if (field == 0x7ff) return f->infinity;

    /* The unit in the last place is that of the smallest normal number, or larger. */
    const int above = field - 1023 - (1 - f->bias); /* binades above the smallest normal one */
    const int shift = 52 - f->mantissa + (above < 0 ? -above : 0);
    if (shift > 53) return 0; /* under half of the smallest number; also all subnormal doubles */
    const uint64_t whole = fraction | (uint64_t)1 << 52, half = (uint64_t)1 << (shift - 1);
    const uint64_t rest = whole & ((half << 1) - 1);
    uint64_t q = whole >> shift;
    if (rest > half || (rest == half && (q & 1) != 0)) q++;
    /* q holds the leading 1 of a normal number, which adds one to the exponent field; a carry out
     * of the mantissa does the same. */
    const uint64_t bits = ((uint64_t)(above < 0 ? 0 : above) << f->mantissa) + q;
    return bits > f->largest ? f->infinity : (unsigned)bits;
}

static inline unsigned sign_of(double x, unsigned bit)
{
    return __builtin_signbit(x) != 0 ? bit : 0;
}

/* `bits` without its sign. */
static inline float widen(unsigned bits, const format *f)
{
    const unsigned exponent = bits >> f->mantissa, fraction = bits & ((1u << f->mantissa) - 1);
    if (exponent == 0) { /* exact: an integer of few bits times a power of two */
        return (float)fraction *
               mz_f32_from_bits((unsigned)(1 - f->bias - f->mantissa + 127) << 23);
    }
    return mz_f32_from_bits((exponent + 127 - (unsigned)f->bias) << 23 | fraction
                                                                             << (23 - f->mantissa));
}

static inline float signed_f32(float magnitude, bool negative)
{
    return mz_f32_from_bits(mz_f32_bits(magnitude) | (negative ? 0x80000000u : 0));
}

/* Rounding to f32 first changes nothing, unless that ends half-way between two bf16. */
uint16_t mz_f64_to_bf16(double x)
{
    const float near = (float)x;
    if ((mz_f32_bits(near) & 0xffffu) != 0x8000u && !isnan(x)) return mz_f32_to_bf16(near);
    return (uint16_t)(narrow(x, &BF16) | sign_of(x, 0x8000));
}

uint16_t mz_f64_to_f16(double x)
{
    return (uint16_t)(narrow(x, &F16) | sign_of(x, 0x8000));
}

uint16_t mz_f32_to_f16(float x)
{
    return mz_f64_to_f16((double)x);
}

float mz_f16_to_f32(uint16_t h)
{
    const unsigned bits = h & 0x7fffu, fraction = h & 0x3ffu;
    const float magnitude = bits < 0x7c00u  ? widen(bits, &F16)
                            : fraction != 0 ? mz_f32_from_bits(0x7fc00000u | fraction << 13)
                                            : mz_f32_from_bits(0x7f800000u);
    return signed_f32(magnitude, (h & 0x8000u) != 0);
}

uint8_t mz_f32_to_e4m3(float x)
{
    const double d = (double)x;
    return (uint8_t)((narrow(d, &E4M3) & 0x7f) | sign_of(d, 0x80));
}

float mz_e4m3_to_f32(uint8_t b)
{
    const unsigned bits = b & 0x7fu;
    const float magnitude = bits == 0x7fu ? mz_f32_from_bits(0x7fc00000u) : widen(bits, &E4M3);
    return signed_f32(magnitude, (b & 0x80u) != 0);
}

uint8_t mz_f32_to_e5m2(float x)
{
    const double d = (double)x;
    return (uint8_t)(narrow(d, &E5M2) | sign_of(d, 0x80));
}

float mz_e5m2_to_f32(uint8_t b)
{
    return mz_f16_to_f32((uint16_t)(b << 8)); /* the upper byte of an f16 */
}

float mz_e8m0_to_f32(uint8_t b)
{
    if (b == 255) return mz_f32_from_bits(0x7fc00000u);
    return mz_f32_from_bits(b == 0 ? 0x00400000u : (uint32_t)b << 23); /* 2^-127 is subnormal */
}
