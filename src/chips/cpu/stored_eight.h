/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored_eight.h - products with the block formats where vectors have 8 lanes (AVX2).
 *
 * Numbers go from memory into lanes at once: a byte of nibbles is widened once for the two numbers
 * that it holds, and nothing passes through the stack. Scales of four rows become floats together
 * and are loaded into all lanes. Every bit is that of the other sets. Only stored.isa.c includes
 * this.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_STORED_EIGHT_H
#define MZ_CHIPS_CPU_STORED_EIGHT_H

#include "chips/cpu/vec.h"

/* Scales and offsets of one block of each of four rows. */
typedef struct four_scales {
    float d[4], m[4];
} four_scales;

/* The halves at p of four rows, as floats in memory: kept in a register each would need a shuffle.
 * Gives their bits. */
MZ_INLINE uint64_t four_halves(float out[4], const unsigned char *p, size_t pitch)
{
    uint16_t h[4];
    MZ_UNROLL for (int i = 0; i < 4; i++) memcpy(&h[i], p + (size_t)i * pitch, sizeof h[i]);
    const uint64_t all =
        (uint64_t)h[0] | (uint64_t)h[1] << 16 | (uint64_t)h[2] << 32 | (uint64_t)h[3] << 48;
    _mm_storeu_ps(out, _mm_cvtph_ps(_mm_cvtsi64_si128((long long)all)));
    __asm__("" : "+m"(*(float(*)[4])out));
    return all;
}

/* Whether one of four halves is infinite or no number: then a weight may be no number either. */
MZ_INLINE bool any_wild(uint64_t halves)
{
    const uint64_t exponents = halves & 0x7c007c007c007c00u;
    return ((exponents + 0x0400040004000400u) & 0x8000800080008000u) != 0;
}

/* To the next bf16, ties to even, of what is a finite number: five operations less than the rest
 * would take. */
MZ_INLINE vf rounded_finite(vf v)
{
    const vu u = (vu)v;
    return (vf)((u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u);
}

/* 8 bytes, each in a lane. */
MZ_INLINE __m256i eight(const unsigned char *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadu_si64(p));
}

MZ_INLINE vf number_of(__m256i x)
{
    return (vf)_mm256_cvtepi32_ps(x);
}

/* 16 bytes of nibbles: the low ones are elements 0..15, the high ones 16..31. */
MZ_INLINE void nibbles_32(__m256i out[4], const unsigned char *q)
{
    const __m256i four = _mm256_set1_epi32(15), a = eight(q), b = eight(q + 8);
    out[0] = _mm256_and_si256(a, four);
    out[1] = _mm256_and_si256(b, four);
    out[2] = _mm256_srli_epi32(a, 4);
    out[3] = _mm256_srli_epi32(b, 4);
}

/* Sets bit 4 of element l where bit l of the 32 at `fifth` is set. */
MZ_INLINE void add_fifth(__m256i x[4], const unsigned char *fifth)
{
    int32_t bits;
    memcpy(&bits, fifth, sizeof bits);
    const __m256i all = _mm256_set1_epi32(bits), sixteen = _mm256_set1_epi32(16);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    MZ_UNROLL for (int i = 0; i < 4; i++)
    {
        const __m256i by = _mm256_add_epi32(lane, _mm256_set1_epi32(8 * i));
        const __m256i at = _mm256_slli_epi32(_mm256_srlv_epi32(all, by), 4);
        x[i] = _mm256_or_si256(x[i], _mm256_and_si256(at, sixteen));
    }
}

MZ_INLINE void times_less(vf out[4], const __m256i x[4], int less, float d)
{
    const vf dv = vf_set(d);
    MZ_UNROLL for (int i = 0; i < 4; i++) out[i] =
        number_of(_mm256_sub_epi32(x[i], _mm256_set1_epi32(less))) * dv;
}

MZ_INLINE void times_plus(vf out[4], const __m256i x[4], float d, float m)
{
    const vf dv = vf_set(d), mv = vf_set(m);
    MZ_UNROLL for (int i = 0; i < 4; i++) out[i] = vf_fma(number_of(x[i]), dv, mv);
}

/* ---- a block at b, given its scale and offset ---- */

MZ_INLINE void block_q4_0(vf out[4], const unsigned char *b, float d, float m)
{
    (void)m;
    __m256i x[4];
    nibbles_32(x, b + 2);
    times_less(out, x, 8, d);
}

MZ_INLINE void block_q4_1(vf out[4], const unsigned char *b, float d, float m)
{
    __m256i x[4];
    nibbles_32(x, b + 4);
    times_plus(out, x, d, m);
}

MZ_INLINE void block_q5_0(vf out[4], const unsigned char *b, float d, float m)
{
    (void)m;
    __m256i x[4];
    nibbles_32(x, b + 6);
    add_fifth(x, b + 2);
    times_less(out, x, 16, d);
}

MZ_INLINE void block_q5_1(vf out[4], const unsigned char *b, float d, float m)
{
    __m256i x[4];
    nibbles_32(x, b + 8);
    add_fifth(x, b + 4);
    times_plus(out, x, d, m);
}

MZ_INLINE void block_q8_0(vf out[4], const unsigned char *b, float d, float m)
{
    (void)m;
    const vf dv = vf_set(d);
    MZ_UNROLL for (int i = 0; i < 4; i++) out[i] = from_i8(b + 2 + 8 * i) * dv;
}

/* Four rows at once, their numbers rounded to bf16 where `rounds` (known when this is inlined). */
#define EIGHT_DOT(name, bytes, has_m, kernel, rounds)                                              \
    static void kernel##_##name(float *sum, const unsigned char *row, size_t pitch,                \
                                const float *a, int64_t k0, int64_t n)                             \
    {                                                                                              \
        vf acc[4] = {{0}, {0}, {0}, {0}};                                                          \
        const unsigned char *b = row + (uint64_t)k0 / 32 * (bytes);                                \
        for (int64_t k = 0; k < n; k += 32, b += (bytes)) {                                        \
            four_scales s;                                                                         \
            bool wild = any_wild(four_halves(s.d, b, pitch));                                      \
            if (has_m) wild |= any_wild(four_halves(s.m, b + 2, pitch));                           \
            MZ_UNROLL for (int j = 0; j < 4; j++)                                                  \
            {                                                                                      \
                vf w[4];                                                                           \
                const unsigned char *at = b + (size_t)j * pitch;                                   \
                AHEAD(at, 0);                                                                      \
                block_##name(w, at, s.d[j], (has_m) ? s.m[j] : 0.0f);                              \
                MZ_UNROLL for (int i = 0; (rounds) && i < 4; i++) w[i] =                           \
                    wild ? rounded(w[i]) : rounded_finite(w[i]);                                   \
                MZ_UNROLL for (int i = 0; i < 4; i++) acc[j] =                                     \
                    vf_fma(vf_load(a + k + i * VF_LANES), w[i], acc[j]);                           \
            }                                                                                      \
        }                                                                                          \
        put_sums(sum, acc, k0 > 0);                                                                \
    }

/* bytes: of a block of 32; has_m: an offset follows the scale */
#define EIGHT_KERNELS(name, bytes, has_m)                                                          \
    MZ_INLINE void group_##name(vf out[4], const unsigned char *row, int64_t k)                    \
    {                                                                                              \
        const unsigned char *b = row + (uint64_t)k / 32 * (bytes);                                 \
        block_##name(out, b, half_at(b), (has_m) ? half_at(b + 2) : 0.0f);                         \
    }                                                                                              \
    EIGHT_DOT(name, bytes, has_m, dot, false)                                                      \
    EIGHT_DOT(name, bytes, has_m, dot_rounded, true)

EIGHT_KERNELS(q4_0, 18, false)
EIGHT_KERNELS(q4_1, 20, true)
EIGHT_KERNELS(q5_0, 22, false)
EIGHT_KERNELS(q5_1, 24, true)
EIGHT_KERNELS(q8_0, 34, false)

#endif
