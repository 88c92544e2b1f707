/* SPDX-License-Identifier: Apache-2.0 */
/* base/rng.c - Philox4x32-10 and what is drawn from it.
 *
 * mz_rng_normal takes its logarithm and cosine from here, not from the C library, whose last bit
 * differs from one library version and processor to the next: weights drawn on an Arm host must be
 * those drawn on x86. Only + - * / and sqrt, which IEEE 754 fixes, in an order that is written. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

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

/* ---- normal numbers ---- */

/* So many at a time, in loops that a compiler turns into vectors: the same operations on each, in
 * the same order, so the same bits as one by one. Their series are long chains: so many hide the
 * time of one operation behind the others'. n of them are used, known when this is inlined. */
enum { LANES = 32 };
#define INLINE static inline __attribute__((always_inline))

/* mz_philox of counters counter .. counter+LANES-1. */
INLINE void philox_lanes(uint64_t key, uint64_t counter_hi, uint64_t counter, uint32_t w[4][LANES])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (unsigned i = 0; i < LANES; i++) {
        w[0][i] = (uint32_t)(counter + i);
        w[1][i] = (uint32_t)((counter + i) >> 32);
        w[2][i] = (uint32_t)counter_hi;
        w[3][i] = (uint32_t)(counter_hi >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            const uint64_t p0 = (uint64_t)0xd2511f53u * w[0][i];
            const uint64_t p1 = (uint64_t)0xcd9e8d57u * w[2][i];
            w[0][i] = (uint32_t)(p1 >> 32) ^ w[1][i] ^ k0;
            w[1][i] = (uint32_t)p1;
            w[2][i] = (uint32_t)(p0 >> 32) ^ w[3][i] ^ k1;
            w[3][i] = (uint32_t)p0;
        }
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
}

INLINE double as_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x below 2^52, without an instruction that few vector units have. */
INLINE double small_to_double(uint64_t x)
{
    return as_double(x | 0x4330000000000000u) - 0x1p52;
}

/* 1 where x < limit, else 0. */
INLINE double is_below(double x, double limit)
{
    return 0.5 - copysign(0.5, x - limit);
}

/* Two words as 53 bits in [0,1). */
INLINE double unit_of(uint32_t high, uint32_t low)
{
    return (small_to_double(high) * 0x1p21 + small_to_double(low >> 11)) * 0x1p-53; /* exact */
}

/* y = ln x for 2^-53 <= x <= 1, to about an ulp: x = m 2^e with m near 1, ln m = 2
 * atanh((m-1)/(m+1)). |s| <= 0.172, so the term left out, 2 s^25/25, is under 1e-20. */
INLINE void log_lanes(const int n, double y[LANES], const double x[LANES])
{
    static const double ODD[] = {1.0 / 23.0, 1.0 / 21.0, 1.0 / 19.0, 1.0 / 17.0,
                                 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0,
                                 1.0 / 7.0,  1.0 / 5.0,  1.0 / 3.0};
    double s[LANES], e[LANES], sum[LANES];
    for (int i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        double m = as_double((bits & 0x000fffffffffffffu) | 0x3fe0000000000000u); /* 1/2 <= m < 1 */
        const double small = is_below(m, 0.70710678118654752440);
        m += m * small; /* times 1 or 2: exact */
        e[i] = small_to_double(bits >> 52) - 1022.0 - small;
        s[i] = (m - 1.0) / (m + 1.0);
        sum[i] = 0.0;
    }
    for (int k = 0; k < 11; k++)
        for (int i = 0; i < n; i++) sum[i] = (sum[i] + ODD[k]) * (s[i] * s[i]);
    for (int i = 0; i < n; i++)
        y[i] = e[i] * LN2_HIGH + (2.0 * s[i] + (2.0 * s[i] * sum[i] + e[i] * LN2_LOW));
}

/* y = cos(2 pi u) for 0 <= u < 1. Symmetry folds u, exactly, into 0..1/8 of a turn, where the
 * Taylor terms left out, of a sine or a cosine, are under 1e-18. */
INLINE void cos_lanes(const int n, double y[LANES], const double u[LANES])
{
    double x[LANES], sum[LANES], sign[LANES], sine[LANES];
    for (int i = 0; i < n; i++) {
        const double half = 0.5 - fabs(u[i] - 0.5);
        const double quarter = 0.25 - fabs(half - 0.25);
        sign[i] = copysign(1.0, 0.25 - half);
        sine[i] = is_below(0.125, quarter);
        x[i] = 2.0 * PI * (0.125 - fabs(quarter - 0.125));
        sum[i] = 1.0;
    }
    for (int k = 16; k > 1; k -= 2) {
        const double even = (double)(k * (k - 1)), odd = (double)(k * (k + 1)) - even;
        for (int i = 0; i < n; i++) sum[i] = 1.0 - sum[i] * (x[i] * x[i]) / (even + sine[i] * odd);
    }
    for (int i = 0; i < n; i++) /* times x of a sine, 1 of a cosine: exact */
        y[i] = sign[i] * ((sine[i] * x[i] + (1.0 - sine[i])) * sum[i]);
}

INLINE void normal_lanes(const int n, double y[LANES], uint32_t w[4][LANES])
{
    double a[LANES], b[LANES], ln[LANES], c[LANES];
    for (int i = 0; i < n; i++) {
        a[i] = 1.0 - unit_of(w[0][i], w[1][i]); /* (0,1] */
        b[i] = unit_of(w[2][i], w[3][i]);
    }
    log_lanes(n, ln, a);
    cos_lanes(n, c, b);
    for (int i = 0; i < n; i++) y[i] = sqrt(-2.0 * ln[i]) * c[i];
}

double mz_rng_normal(mz_rng *r)
{
    uint32_t w[4][LANES];
    double y[LANES];
    for (int i = 0; i < 4; i++) w[i][0] = mz_rng_u32(r);
    normal_lanes(1, y, w);
    return y[0];
}

INLINE void normals(uint64_t seed, uint64_t stream, uint64_t first, double *out, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        uint32_t w[4][LANES];
        double y[LANES];
        philox_lanes(seed, stream, first + (uint64_t)i, w);
        normal_lanes(LANES, y, w);
        memcpy(out + i, y, (size_t)(n - i < LANES ? n - i : LANES) * sizeof *y);
    }
}

#if defined(__x86_64__)
/* Wider vectors. Fused products would change bits: this file is compiled without them. */
__attribute__((target("avx2"))) static void normals_avx2(uint64_t seed, uint64_t stream,
                                                         uint64_t first, double *out, int64_t n)
{
    normals(seed, stream, first, out, n);
}

#if !defined(__clang__) /* which has no word for the width */
__attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512"))) static void
normals_avx512(uint64_t seed, uint64_t stream, uint64_t first, double *out, int64_t n)
{
    normals(seed, stream, first, out, n);
}
#define HAS_AVX512 1
#endif
#endif

void mz_normals(uint64_t seed, uint64_t stream, uint64_t first, double *out, int64_t n)
{
#if defined(HAS_AVX512)
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        normals_avx512(seed, stream, first, out, n);
        return;
    }
#endif
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        normals_avx2(seed, stream, first, out, n);
        return;
    }
#endif
    normals(seed, stream, first, out, n);
}
