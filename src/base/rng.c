/* SPDX-License-Identifier: Apache-2.0 */
/* base/rng.c - Philox4x32-10 and what is drawn from it.
 *
 * mz_rng_normal takes its logarithm and cosine from here, not from the C library, whose last bit
 * differs from one library version and processor to the next: weights drawn on an Arm host must be
 * those drawn on x86. Only + - * / and sqrt, which IEEE 754 fixes, in an order that is written. */
#include "base/rng.h"

#include <math.h>

#ifdef __clang__ /* gcc does not fuse under -std=c11 */
#pragma STDC FP_CONTRACT OFF
#endif

static const double LN2_HIGH = 0x1.62e42fefa38p-1, LN2_LOW = 0x1.ef35793c7673p-45;
static const double PI = 3.14159265358979323846;

void mz_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter_lo, c1 = (uint32_t)(counter_lo >> 32);
    uint32_t c2 = (uint32_t)counter_hi, c3 = (uint32_t)(counter_hi >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xd2511f53u * c0, p1 = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void mz_rng_init(mz_rng *r, uint64_t seed, uint64_t stream)
{
    *r = (mz_rng){.seed = seed, .stream = stream};
}

uint32_t mz_rng_u32(mz_rng *r)
{
    if (r->left == 0) {
        mz_philox(r->seed, r->stream, r->counter++, r->word);
        r->left = 4;
    }
    return r->word[4 - r->left--];
}

static uint64_t next_u64(mz_rng *r)
{
    const uint64_t high = mz_rng_u32(r);
    return high << 32 | mz_rng_u32(r);
}

uint64_t mz_rng_below(mz_rng *r, uint64_t n)
{
    if (n == 0) return 0;
    /* 2^64 mod n values at the bottom are one too many for an even split */
    const uint64_t skip = (0 - n) % n;
    uint64_t x;
    do x = next_u64(r);
    while (x < skip);
    return x % n;
}

double mz_rng_uniform(mz_rng *r)
{
    return (double)(next_u64(r) >> 11) * 0x1p-53;
}

/* ln x for 2^-53 <= x <= 1, to about an ulp: x = m 2^e with m near 1, ln m = 2 atanh((m-1)/(m+1)).
 * |s| <= 0.172, so the term left out, 2 s^25/25, is under 1e-20. */
static double log_unit(double x)
{
    int e;
    double m = frexp(x, &e); /* exact */
    if (m < 0.70710678118654752440) {
        m *= 2.0;
        e--;
    }
    const double s = (m - 1.0) / (m + 1.0), ss = s * s;
    double sum = 0.0;
    for (int k = 23; k >= 3; k -= 2) sum = (sum + 1.0 / (double)k) * ss;
    return (double)e * LN2_HIGH + (2.0 * s + (2.0 * s * sum + (double)e * LN2_LOW));
}

/* cos(2 pi u) for 0 <= u < 1. Symmetry folds u, exactly, into 0..1/8 of a turn, where the Taylor
 * terms left out are under 1e-18. */
static double cos_turns(double u)
{
    if (u > 0.5) u = 1.0 - u;
    const double sign = u > 0.25 ? -1.0 : 1.0;
    if (u > 0.25) u = 0.5 - u;
    const int is_sine = u > 0.125;
    const double x = 2.0 * PI * (is_sine ? 0.25 - u : u), xx = x * x;
    double sum = 1.0;
    for (int k = is_sine ? 17 : 16; k > 1; k -= 2) sum = 1.0 - sum * xx / (double)(k * (k - 1));
    return sign * (is_sine ? x * sum : sum);
}

double mz_rng_normal(mz_rng *r)
{
    const double a = 1.0 - mz_rng_uniform(r); /* (0,1] */
    const double b = mz_rng_uniform(r);
    return sqrt(-2.0 * log_unit(a)) * cos_turns(b);
}
