/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored_lookup.h - products with the block formats where vectors have 16 lanes.
 *
 * A block has only 16 or 32 different numbers. They are made first, by the same operation that the
 * other sets use for each element, so that every bit is theirs; then an element's bits choose its
 * lane of that table, which saves widening, converting and scaling. Shuffles are what there is most
 * of, so scales become floats in memory, four rows at once, and are loaded into all lanes. Only
 * stored.isa.c includes this, on AVX-512.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_STORED_LOOKUP_H
#define MZ_CHIPS_CPU_STORED_LOOKUP_H

#include "chips/cpu/vec.h"

/* Scales and offsets of one block of each of four rows. */
typedef struct lookup_scales {
    float d[4], m[4];
} lookup_scales;

/* from, from+1 ... in lanes */
MZ_INLINE vf ramp(float from)
{
    return (vf){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + from;
}

/* 16 bytes, each in a lane. */
MZ_INLINE __m512i spread(const unsigned char *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)p));
}

MZ_INLINE __m512i upper(__m512i bits)
{
    return _mm512_srli_epi32(bits, 4);
}

/* The lane of the table that the low four bits say. */
MZ_INLINE vf choose(vf table, __m512i bits)
{
    return (vf)_mm512_permutexvar_ps(bits, (__m512)table);
}

/* The same of 32 numbers; bit l of `fifth` belongs to lane l. */
MZ_INLINE vf choose_32(vf low, vf high, __m512i bits, __mmask16 fifth)
{
    const __m512 a = _mm512_permutexvar_ps(bits, (__m512)low);
    return (vf)_mm512_mask_permutexvar_ps(a, fifth, bits, (__m512)high);
}

MZ_INLINE uint64_t half_bits(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

/* The halves at p of four rows, as floats in memory: the compiler must not keep them in a register,
 * or it needs a shuffle for each. */
MZ_INLINE void four_halves(float out[4], const unsigned char *p, size_t pitch)
{
    const uint64_t h = half_bits(p) | half_bits(p + pitch) << 16 | half_bits(p + 2 * pitch) << 32 |
                       half_bits(p + 3 * pitch) << 48;
    _mm_storeu_ps(out, _mm_cvtph_ps(_mm_cvtsi64_si128((long long)h)));
    __asm__("" : "+m"(*(float(*)[4])out));
}

/* 16 bytes of nibbles: the low ones are elements 0..15, the high ones 16..31. */
MZ_INLINE void choose_both(vf out[2], vf table, const unsigned char *q)
{
    const __m512i bits = spread(q);
    out[0] = choose(table, bits);
    out[1] = choose(table, upper(bits));
}

MZ_INLINE void choose_both_32(vf out[2], vf low, vf high, const unsigned char *fifth,
                              const unsigned char *q)
{
    const __m512i bits = spread(q);
    out[0] = choose_32(low, high, bits, (__mmask16)half_bits(fifth));
    out[1] = choose_32(low, high, upper(bits), (__mmask16)half_bits(fifth + 2));
}

/* ---- a block at b, given its scale and offset ---- */

MZ_INLINE void block_q4_0(vf out[2], const unsigned char *b, float d, float m)
{
    (void)m;
    choose_both(out, ramp(-8.0f) * vf_set(d), b + 2);
}

MZ_INLINE void block_q4_1(vf out[2], const unsigned char *b, float d, float m)
{
    choose_both(out, vf_fma(ramp(0.0f), vf_set(d), vf_set(m)), b + 4);
}

MZ_INLINE void block_q5_0(vf out[2], const unsigned char *b, float d, float m)
{
    (void)m;
    choose_both_32(out, ramp(-16.0f) * vf_set(d), ramp(0.0f) * vf_set(d), b + 2, b + 6);
}

MZ_INLINE void block_q5_1(vf out[2], const unsigned char *b, float d, float m)
{
    choose_both_32(out, vf_fma(ramp(0.0f), vf_set(d), vf_set(m)),
                   vf_fma(ramp(16.0f), vf_set(d), vf_set(m)), b + 4, b + 8);
}

MZ_INLINE void block_q8_0(vf out[2], const unsigned char *b, float d, float m)
{
    (void)m;
    for (int i = 0; i < 2; i++) out[i] = from_i8(b + 2 + i * VF_LANES) * vf_set(d);
}

/* bytes: of a block of 32; has_m: an offset follows the scale */
#define LOOKUP_KERNELS(name, bytes, has_m)                                                         \
    MZ_INLINE void group_##name(vf out[2], const unsigned char *row, int64_t k)                    \
    {                                                                                              \
        const unsigned char *b = row + (uint64_t)k / 32 * (bytes);                                 \
        block_##name(out, b, half_at(b), (has_m) ? half_at(b + 2) : 0.0f);                         \
    }                                                                                              \
    static void dot_##name(float *sum, const unsigned char *row, size_t pitch, const float *a,     \
                           int64_t k0, int64_t n)                                                  \
    {                                                                                              \
        vf acc[4] = {{0}, {0}, {0}, {0}};                                                          \
        const unsigned char *b = row + (uint64_t)k0 / 32 * (bytes);                                \
        for (int64_t k = 0; k < n; k += 32, b += (bytes)) {                                        \
            const vf av[2] = {vf_load(a + k), vf_load(a + k + VF_LANES)};                          \
            lookup_scales s;                                                                       \
            four_halves(s.d, b, pitch);                                                            \
            if (has_m) four_halves(s.m, b + 2, pitch);                                             \
            MZ_UNROLL for (int j = 0; j < 4; j++)                                                  \
            {                                                                                      \
                vf w[2];                                                                           \
                const unsigned char *at = b + (size_t)j * pitch;                                   \
                AHEAD(at, 0);                                                                      \
                block_##name(w, at, s.d[j], (has_m) ? s.m[j] : 0.0f);                              \
                acc[j] = vf_fma(av[1], w[1], vf_fma(av[0], w[0], acc[j]));                         \
            }                                                                                      \
        }                                                                                          \
        put_sums(sum, acc, k0 > 0);                                                                \
    }

LOOKUP_KERNELS(q4_0, 18, false)
LOOKUP_KERNELS(q4_1, 20, true)
LOOKUP_KERNELS(q5_0, 22, false)
LOOKUP_KERNELS(q5_1, 24, true)
LOOKUP_KERNELS(q8_0, 34, false)

/* ---- sub-block j of Q4_K and Q5_K: the low or the high nibbles of 32 bytes ---- */

MZ_INLINE void scales_k(vf *d, vf *m, const unsigned char *b, int j)
{
    int scale, least;
    six_bits(b + 4, j, &scale, &least);
    *d = vf_set(half_at(b) * (float)scale);
    *m = vf_set(-(half_at(b + 2) * (float)least));
}

MZ_INLINE __m512i spread_k(const unsigned char *q, int j, int i)
{
    return _mm512_srl_epi32(spread(q + j / 2 * 32 + 16 * i), _mm_cvtsi32_si128(j % 2 * 4));
}

MZ_INLINE void group_q4_k(vf out[2], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 256 * 144;
    const int j = (int)((uint64_t)k / 32 % 8);
    vf d, m;
    scales_k(&d, &m, b, j);
    const vf table = vf_fma(ramp(0.0f), d, m);
    for (int i = 0; i < 2; i++) out[i] = choose(table, spread_k(b + 16, j, i));
}

MZ_INLINE void group_q5_k(vf out[2], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 256 * 176;
    const int j = (int)((uint64_t)k / 32 % 8);
    vf d, m;
    scales_k(&d, &m, b, j);
    const vf low = vf_fma(ramp(0.0f), d, m), high = vf_fma(ramp(16.0f), d, m);
    const __m128i fifth = _mm_set1_epi8((char)(1 << j));
    for (int i = 0; i < 2; i++) {
        const __m128i set = _mm_loadu_si128((const __m128i_u *)(b + 16 + 16 * i));
        out[i] = choose_32(low, high, spread_k(b + 48, j, i), _mm_test_epi8_mask(set, fifth));
    }
}

#endif
