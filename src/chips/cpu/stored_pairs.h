/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored_pairs.h - products in bf16 with stored weights, where the set multiplies bf16 by
 * pairs.
 *
 * A number of a weight is the f32 that the format's reference gives, rounded to bf16 once: what
 * unpacking to bf16 would have made of it. The 16 or 32 numbers of a block of nibbles are rounded
 * as a table, from which an element's bits choose, 32 elements at once. Lanes run along K, so that
 * rows of a, panels and plain bf16 weights are read as they lie. Only stored.isa.c includes this,
 * on AVX-512 with BF16.
 * Repeat: bitwise, as stored_kernels.h says. Floor: chips. */
#ifndef MZ_CHIPS_CPU_STORED_PAIRS_H
#define MZ_CHIPS_CPU_STORED_PAIRS_H

#include "chips/cpu/vec.h"

enum { PAIR_ROWS = 6, PAIR_AHEAD = 2048 /* elements */ };

MZ_INLINE __m512i round_32(vf low, vf high)
{
    return (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

/* 16 bytes of nibbles in 16-bit lanes: the low ones are elements 0..15, the high ones 16..31. The
 * other four bits of a byte stay above its nibble, where a table of 16 that stands twice does not
 * see them and a table of 32 has them cut off. */
MZ_INLINE __m512i nibbles_32(const unsigned char *q)
{
    const __m128i both = _mm_loadu_si128((const __m128i_u *)q);
    const __m128i high = _mm_srli_epi16(both, 4);
    return _mm512_cvtepu8_epi16(_mm256_set_m128i(high, both));
}

/* table: 16 numbers, rounded, twice */
MZ_INLINE __m512i choose_of_16(vf table, const unsigned char *q)
{
    return _mm512_permutexvar_epi16(nibbles_32(q), round_32(table, table));
}

MZ_INLINE __m512i choose_of_32(vf low, vf high, const unsigned char *fifth, const unsigned char *q)
{
    uint32_t set;
    memcpy(&set, fifth, sizeof set);
    const __m512i four = _mm512_and_si512(nibbles_32(q), _mm512_set1_epi16(15));
    const __m512i five = _mm512_mask_add_epi16(four, (__mmask32)set, four, _mm512_set1_epi16(16));
    return _mm512_permutexvar_epi16(five, round_32(low, high));
}

/* ---- elements k .. k+31 of a row, rounded ---- */

MZ_INLINE __m512i pair_q4_0(const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 18;
    return choose_of_16(ramp(-8.0f) * vf_set(half_at(b)), b + 2);
}

MZ_INLINE __m512i pair_q4_1(const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 20;
    return choose_of_16(vf_fma(ramp(0.0f), vf_set(half_at(b)), vf_set(half_at(b + 2))), b + 4);
}

MZ_INLINE __m512i pair_q5_0(const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 22;
    const vf d = vf_set(half_at(b));
    return choose_of_32(ramp(-16.0f) * d, ramp(0.0f) * d, b + 2, b + 6);
}

MZ_INLINE __m512i pair_q5_1(const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 24;
    const vf d = vf_set(half_at(b)), m = vf_set(half_at(b + 2));
    return choose_of_32(vf_fma(ramp(0.0f), d, m), vf_fma(ramp(16.0f), d, m), b + 4, b + 8);
}

/* What no table of 32 numbers holds: made as f32, then rounded. */
#define PAIR_OF_GROUP(name)                                                                        \
    MZ_INLINE __m512i pair_##name(const unsigned char *row, int64_t k)                             \
    {                                                                                              \
        vf w[VECS];                                                                                \
        group_##name(w, row, k);                                                                   \
        return round_32(w[0], w[1]);                                                               \
    }

PAIR_OF_GROUP(q8_0)
PAIR_OF_GROUP(q4_k)
PAIR_OF_GROUP(q5_k)
PAIR_OF_GROUP(q6_k)
PAIR_OF_GROUP(f16)
PAIR_OF_GROUP(f32)

MZ_INLINE void put_pair_sums(float *sum, const __m512 acc[COLS], bool add)
{
    vf v[COLS];
    MZ_UNROLL for (int j = 0; j < COLS; j++) v[j] = (vf)acc[j];
    put_sums(sum, v, add);
}

/* bits: of an element */
#define PAIR_KERNELS(name, bits)                                                                   \
    static void round_##name(uint16_t *out, const unsigned char *row, int64_t k0, int64_t n)       \
    {                                                                                              \
        for (int64_t k = 0; k < n; k += GROUP) {                                                   \
            AHEAD(row, (k0 + k) * (bits) / 8);                                                     \
            _mm512_storeu_si512(out + k, pair_##name(row, k0 + k));                                \
        }                                                                                          \
    }                                                                                              \
    static void dot_round_##name(float *sum, const unsigned char *row, size_t pitch,               \
                                 const uint16_t *a, int64_t k0, int64_t n)                         \
    {                                                                                              \
        __m512 acc[COLS];                                                                          \
        MZ_UNROLL for (int j = 0; j < COLS; j++) acc[j] = _mm512_setzero_ps();                     \
        for (int64_t k = 0; k < n; k += GROUP) {                                                   \
            const __m512i av = _mm512_loadu_si512(a + k);                                          \
            MZ_UNROLL for (int j = 0; j < COLS; j++)                                               \
            {                                                                                      \
                const unsigned char *at = row + (size_t)j * pitch;                                 \
                AHEAD(at, (k0 + k) * (bits) / 8);                                                  \
                acc[j] =                                                                           \
                    _mm512_dpbf16_ps(acc[j], (__m512bh)av, (__m512bh)pair_##name(at, k0 + k));     \
            }                                                                                      \
        }                                                                                          \
        put_pair_sums(sum, acc, k0 > 0);                                                           \
    }

PAIR_KERNELS(q4_0, 5)
PAIR_KERNELS(q4_1, 5)
PAIR_KERNELS(q5_0, 6)
PAIR_KERNELS(q5_1, 6)
PAIR_KERNELS(q8_0, 8)
PAIR_KERNELS(q4_k, 5)
PAIR_KERNELS(q5_k, 6)
PAIR_KERNELS(q6_k, 7)
PAIR_KERNELS(f16, 16)
PAIR_KERNELS(f32, 32)

/* ---- bf16 by bf16 ---- */

/* rows <= PAIR_ROWS, known when this is inlined. One row costs no more than its weights' way from
 * memory. */
MZ_INLINE void pair_rows(const int rows, const mz_cpu_stored_pairs *t, int64_t first)
{
    const uint16_t *a = t->a + first * t->a_pitch;
    __m512 acc[PAIR_ROWS][COLS];
    MZ_UNROLL for (int i = 0; i < rows; i++)
    {
        MZ_UNROLL for (int j = 0; j < COLS; j++) acc[i][j] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < t->n; k += GROUP) {
        __m512i w[COLS];
        MZ_UNROLL for (int j = 0; j < COLS; j++)
        {
            if (rows <= 2) __builtin_prefetch(t->w[j] + k + PAIR_AHEAD);
            w[j] = _mm512_loadu_si512(t->w[j] + k);
        }
        MZ_UNROLL for (int i = 0; i < rows; i++)
        {
            const __m512i av = _mm512_loadu_si512(a + i * t->a_pitch + k);
            MZ_UNROLL for (int j = 0; j < COLS; j++) acc[i][j] =
                _mm512_dpbf16_ps(acc[i][j], (__m512bh)av, (__m512bh)w[j]);
        }
    }
    MZ_UNROLL for (int i = 0; i < rows; i++)
        put_pair_sums(t->sum + (first + i) * t->ld, acc[i], t->add);
}

static void pairs(const mz_cpu_stored_pairs *t)
{
    int64_t i = 0;
    for (; i + PAIR_ROWS <= t->m; i += PAIR_ROWS) pair_rows(PAIR_ROWS, t, i);
    if (i + 4 <= t->m) pair_rows(4, t, i), i += 4;
    if (i + 2 <= t->m) pair_rows(2, t, i), i += 2;
    if (i < t->m) pair_rows(1, t, i);
}

#endif
