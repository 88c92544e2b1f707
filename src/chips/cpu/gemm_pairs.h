/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm_pairs.h - the panel kernel on vectors that add dot products of bf16 pairs.
 *
 * Written against these functions on 16 floats, which the including file defines before: gemm.isa.c
 * by AVX512-BF16 instructions, tests/op/test_bf16_model.c by a model of them in plain C.
 *   lanes16         the type
 *   lanes_zero()    lanes_store(float *, lanes16)    lanes_plus(const float *, lanes16)
 *   lanes_pair(const uint16_t *)          one bf16 pair in every lane
 *   lanes_dot(sum, pair, const uint16_t *)  sum[j] += pair[1]*b[2j+1], then += pair[0]*b[2j]
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_GEMM_PAIRS_H
#define MZ_CHIPS_CPU_GEMM_PAIRS_H

#include "chips/cpu/gemm_pack.h"

enum { PAIRS_MR = 12, PAIRS_NR = 32, PAIRS_KC = 384, PAIRS_MC = 192, PAIRS_UNIT = 2 };

/* c [rows][32] (+)= a [rows][k] b, rows <= 12 known when this is inlined */
MZ_INLINE void pairs_rows(const int rows, const mz_cpu_block *w, const uint16_t *a, float *c,
                          int64_t ldc, bool add)
{
    const uint16_t *b = w->b;
    lanes16 sum[PAIRS_MR][2];
    MZ_UNROLL for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = lanes_zero();
    for (int64_t p = 0; p < w->k; p += 2, b += 2 * PAIRS_NR) {
        MZ_UNROLL for (int i = 0; i < rows; i++)
        {
            const lanes16 pair = lanes_pair(a + i * PAIRS_KC + p);
            sum[i][0] = lanes_dot(sum[i][0], pair, b);
            sum[i][1] = lanes_dot(sum[i][1], pair, b + PAIRS_NR);
        }
    }
    MZ_UNROLL for (int i = 0; i < rows; i++)
    {
        float *at = c + i * ldc;
        lanes_store(at, add ? lanes_plus(at, sum[i][0]) : sum[i][0]);
        lanes_store(at + 16, add ? lanes_plus(at + 16, sum[i][1]) : sum[i][1]);
    }
}

MZ_INLINE void pairs_group(const mz_cpu_block *w, int64_t i, float *c, int64_t ldc, bool add)
{
    const uint16_t *a = (const uint16_t *)w->a + i * PAIRS_KC;
    switch (w->m - i) {
#define CASE(r)                                                                                    \
    case r:                                                                                        \
        pairs_rows(r, w, a, c, ldc, add);                                                          \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
    default:
        pairs_rows(PAIRS_MR, w, a, c, ldc, add);
#undef CASE
    }
}

static void pairs_panel(const mz_cpu_block *w)
{
    float t[PAIRS_MR * PAIRS_NR];
    for (int64_t i = 0; i < w->m; i += PAIRS_MR) {
        const int64_t rows = w->m - i < PAIRS_MR ? w->m - i : PAIRS_MR;
        float *c = w->c + i * w->ldc;
        const bool whole = w->n == PAIRS_NR; /* else sums go through t, which has room for all */
        pairs_group(w, i, whole ? c : t, whole ? w->ldc : PAIRS_NR, whole && w->add);
        if (!whole) add_block(c, w->ldc, t, PAIRS_NR, rows, w->n, w->add);
    }
}

static void pairs_pack_a(void *a, mz_cpu_mat src, int64_t m, int64_t k)
{
    pack_a_16(a, PAIRS_KC, PAIRS_UNIT, src, m, k);
}

static void pairs_pack_b(void *b, int64_t pitch, mz_cpu_mat src, int64_t k, int64_t n)
{
    pack_b_16(b, PAIRS_NR, pitch, PAIRS_UNIT, src, k, n);
}

#define PAIRS_FAMILY                                                                               \
    {                                                                                              \
        .nr = PAIRS_NR, .kc = PAIRS_KC, .mr = PAIRS_MR, .mc = PAIRS_MC, .k_unit = PAIRS_UNIT,      \
        .row_unit = 1, .elem_bytes = 2, .pack_a = pairs_pack_a, .pack_b = pairs_pack_b,            \
        .panel = pairs_panel                                                                       \
    }

#endif
