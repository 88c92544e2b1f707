/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/lanes.h - what the operators' kernels need beyond vec.h: elements of either storage
 * type, exp, and the shuffles of rotations and transpositions. Only for *.isa.c files.
 *
 * Everything follows plain IEEE arithmetic, NaN and infinities included.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_LANES_H
#define MZ_CHIPS_CPU_LANES_H

#include "chips/cpu/vec.h"

#include <stdbool.h>

enum { VL = VF_LANES };

/* Elements i .. i+n-1 of f32 or bf16 storage; the lanes from n on are 0. n >= VL reads a whole
 * vector. `bf16` is a constant where this is inlined. */
MZ_INLINE vf vf_get(const void *p, int64_t i, int64_t n, bool bf16)
{
    if (bf16) {
        const uint16_t *h = (const uint16_t *)p + i;
        return n >= VL ? vf_load_bf16(h) : vf_load_bf16_n(h, n);
    }
    const float *f = (const float *)p + i;
    return n >= VL ? vf_load(f) : vf_load_n(f, n);
}

MZ_INLINE void vf_put(void *p, int64_t i, int64_t n, vf v, bool bf16)
{
    if (bf16) {
        uint16_t *h = (uint16_t *)p + i;
        n >= VL ? vf_store_bf16(h, v) : vf_store_bf16_n(h, v, n);
    } else {
        float *f = (float *)p + i;
        n >= VL ? vf_store(f, v) : vf_store_n(f, v, n);
    }
}

MZ_INLINE float vf_at(const void *p, int64_t i, bool bf16)
{
    return vf_get(p, i, 1, bf16)[0];
}

MZ_INLINE vi vi_iota(void)
{
    vi v;
    for (int i = 0; i < VL; i++) v[i] = i;
    return v;
}

/* Lanes from n on become `fill`. */
MZ_INLINE vf vf_keep(vf v, int64_t n, float fill)
{
    return n >= VL ? v : vf_pick(vi_iota() < (int32_t)n, v, vf_set(fill));
}

/* a where a > b, else b; so a NaN in a is dropped and one in b stays. */
MZ_INLINE vf vf_max(vf a, vf b)
{
    return vf_pick((vi)(a > b), a, b);
}

/* The largest lane; NaN lanes are passed over. */
MZ_INLINE float vf_top(vf v)
{
    float top = -__builtin_inff();
    for (int i = 0; i < VL; i++) top = v[i] > top ? v[i] : top;
    return top;
}

typedef float vf_half __attribute__((vector_size(MZ_VEC_BYTES / 2)));

/* The low and the high lanes as doubles. */
MZ_INLINE void vf_to_double(vf v, vd *low, vd *high)
{
    vf_half part[2];
    memcpy(part, &v, sizeof v);
    *low = __builtin_convertvector(part[0], vd);
    *high = __builtin_convertvector(part[1], vd);
}

MZ_INLINE double vd_sum(vd v)
{
    double sum = 0.0;
    for (int i = 0; i < VD_LANES; i++) sum += v[i];
    return sum;
}

MZ_INLINE vf vf_sqrt(vf x)
{
#if defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__) && defined(__FMA__)
    return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__aarch64__)
    return (vf)vsqrtq_f32((float32x4_t)x);
#else
    for (int i = 0; i < VL; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

/* e^x within about one unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, and a
 * polynomial in r (weighted minimax of our own: 0.03 units). Subnormal results are kept; what is
 * below them is 0, above the largest float infinity. */
MZ_INLINE vf vf_exp(vf x)
{
    const vf shift = vf_set(0x1.8p23f); /* adding it rounds to an integer in the low bits */
    const vf t = vf_fma(x, vf_set(0x1.715476p+0f), shift);
    const vi n = (vi)((vu)t - (vu)shift);
    const vf f = shift - t;
    const vf r = vf_fma(f, vf_set(0x1.7f7d1cp-20f), vf_fma(f, vf_set(0x1.62e4p-1f), x));
    vf p = vf_set(0x1.6a2416p-10f);
    p = vf_fma(p, r, vf_set(0x1.1239f6p-7f));
    p = vf_fma(p, r, vf_set(0x1.5558f2p-5f));
    p = vf_fma(p, r, vf_set(0x1.555492p-3f));
    p = vf_fma(p, r, vf_set(0x1.fffffcp-2f));
    p = vf_fma(p, r * r, r) + 1.0f;
    const vi half = n >> 1; /* 2^n in two factors: 2^128 and 2^-149 are no normal floats */
    p = p * (vf)((vu)(half + 127) << 23) * (vf)((vu)(n - half + 127) << 23);
    p = vf_pick((vi)(x > 89.0f), vf_set(__builtin_inff()), p);
    return vf_pick((vi)(x < -104.0f), vf_set(0.0f), p);
}

/* 1 / (1 + e^-x) */
MZ_INLINE vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

/* Shuffles: zip_low and zip_high interleave the halves of a and b (a0 b0 a1 b1 ...); even and odd
 * take every other lane of a, then of b, which undoes the zips. */
#if MZ_VEC_BYTES == 64
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif MZ_VEC_BYTES == 32
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#else
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else /* gcc has it since 12 */
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

MZ_INLINE vf vf_zip_low(vf a, vf b)
{
    return SHUFFLE(a, b, ZIP_LOW);
}

MZ_INLINE vf vf_zip_high(vf a, vf b)
{
    return SHUFFLE(a, b, ZIP_HIGH);
}

MZ_INLINE vf vf_even(vf a, vf b)
{
    return SHUFFLE(a, b, EVEN);
}

MZ_INLINE vf vf_odd(vf a, vf b)
{
    return SHUFFLE(a, b, ODD);
}

/* Transposes a square of VL rows in place. A round moves the top bit of the row number to the
 * bottom of the lane number, and the top bit of the lane number to the bottom of the row number;
 * log2(VL) rounds swap the two. */
MZ_INLINE void vf_transpose(vf row[VL])
{
    for (int round = 1; round < VL; round *= 2) {
        vf t[VL];
        for (int i = 0; i < VL / 2; i++) {
            t[2 * i] = vf_zip_low(row[i], row[i + VL / 2]);
            t[2 * i + 1] = vf_zip_high(row[i], row[i + VL / 2]);
        }
        memcpy(row, t, sizeof t);
    }
}

#endif
