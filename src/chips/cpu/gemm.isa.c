/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm.isa.c - kernels of matrix products, compiled once per instruction set.
 *
 * The f32 panel kernel keeps MR x NR sums in registers and walks down k once: per step NV vectors
 * of b and one broadcast element of each of the MR rows of a. Source of the blocking: Goto & van
 * de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication". */
#include "chips/cpu/gemm_pack.h"
#include "chips/cpu/kernels.h"

/* MR*NV sums, NV vectors of b and one of a fit the registers (32 of them, else 16). KC x NR floats
 * of b should leave room in a first cache of 32 KiB. */
#if defined(__AVX512F__)
enum { MR = 12, NV = 2, KC = 192, MC = 192 };
#elif defined(__AVX2__) && defined(__FMA__)
enum { MR = 6, NV = 2, KC = 256, MC = 192 };
#elif defined(__aarch64__)
enum { MR = 6, NV = 4, KC = 256, MC = 192 };
#else
enum { MR = 4, NV = 2, KC = 256, MC = 192 };
#endif
enum { NR = NV * VF_LANES, PREFETCH = 1024 /* elements of b ahead of few rows' use */ };

/* A block of c comes from memory while its sums are being made. A row of it is a line of cache
 * where vectors have 32 bytes. */
#if MZ_VEC_BYTES == 32
#define PREFETCH_C(rows, c, ldc)                                                                   \
    MZ_UNROLL for (int i = 0; i < (rows); i++) __builtin_prefetch((c) + i * (ldc), 1)
#else
#define PREFETCH_C(rows, c, ldc) (void)0
#endif

/* c [rows,NR] (+)= a [rows][k] b [k][NR]; rows <= MR and the dtype of b are known when this is
 * inlined */
MZ_INLINE void block(const int rows, const bool is_bf16, const mz_cpu_block *w, const float *a,
                     float *c, int64_t ldc, bool add)
{
    const float *b = w->b;
    const uint16_t *b16 = w->b;
    vf sum[MR][NV];
    MZ_UNROLL for (int i = 0; i < rows; i++)
    {
        MZ_UNROLL for (int j = 0; j < NV; j++) sum[i][j] = (vf){0};
    }
    PREFETCH_C(rows, c, ldc);
    for (int64_t p = 0; p < w->k; p++, b += NR, b16 += NR) {
        vf bv[NV];
        if (rows <= 4) __builtin_prefetch(is_bf16 ? (const void *)(b16 + PREFETCH) : b + PREFETCH);
        MZ_UNROLL for (int j = 0; j < NV; j++) bv[j] =
            is_bf16 ? vf_load_bf16(b16 + j * VF_LANES) : vf_load(b + j * VF_LANES);
        MZ_UNROLL for (int i = 0; i < rows; i++)
        {
            const vf av = vf_set(a[i * KC + p]);
            MZ_UNROLL for (int j = 0; j < NV; j++) sum[i][j] = vf_fma(av, bv[j], sum[i][j]);
        }
    }
    MZ_UNROLL for (int i = 0; i < rows; i++)
    {
        MZ_UNROLL for (int j = 0; j < NV; j++)
        {
            float *at = c + i * ldc + j * VF_LANES;
            vf_store(at, add ? vf_load(at) + sum[i][j] : sum[i][j]);
        }
    }
}

MZ_INLINE void block_of(const bool is_bf16, const mz_cpu_block *w, int64_t i, float *c, int64_t ldc,
                        bool add)
{
    const float *a = (const float *)w->a + i * KC;
    switch (w->m - i) {
#define CASE(r)                                                                                    \
    case r:                                                                                        \
        block(r < MR ? r : MR, is_bf16, w, a, c, ldc, add);                                        \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
#if defined(__AVX2__) || defined(__aarch64__)
        CASE(4)
        CASE(5)
#endif
#if defined(__AVX512F__)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
#endif
    default:
        block(MR, is_bf16, w, a, c, ldc, add);
#undef CASE
    }
}

MZ_INLINE void panel_of(const bool is_bf16, const mz_cpu_block *w)
{
    float t[MR * NR];
    for (int64_t i = 0; i < w->m; i += MR) {
        const int64_t rows = w->m - i < MR ? w->m - i : MR;
        float *c = w->c + i * w->ldc;
        if (w->n == NR) {
            block_of(is_bf16, w, i, c, w->ldc, w->add);
        } else {
            block_of(is_bf16, w, i, t, NR, false);
            add_block(c, w->ldc, t, NR, rows, w->n, w->add);
        }
    }
}

static void panel_f32(const mz_cpu_block *w)
{
    panel_of(false, w);
}

static void panel_widening(const mz_cpu_block *w)
{
    panel_of(true, w);
}

static void pack_a_f32(void *a, mz_cpu_mat src, int64_t m, int64_t k)
{
    if (src.is_bf16)
        pack_a_32(a, KC, src, m, k, true);
    else
        pack_a_32(a, KC, src, m, k, false);
}

static void pack_b_f32(void *b, int64_t pitch, mz_cpu_mat src, int64_t k, int64_t n)
{
    if (src.is_bf16)
        pack_b_32(b, NR, pitch, src, k, n, true);
    else
        pack_b_32(b, NR, pitch, src, k, n, false);
}

/* ---- after the sums ---- */

static void finish_f32(float *y, const float *sum, const float *bias, int64_t n, bool add)
{
    int64_t j = 0;
    for (; j + VF_LANES <= n; j += VF_LANES) {
        vf v = vf_load(sum + j);
        if (add) v = vf_load(y + j) + v;
        if (bias) v += vf_load(bias + j);
        vf_store(y + j, v);
    }
    for (; j < n; j++) {
        float v = sum[j];
        if (add) v = y[j] + v;
        if (bias) v += bias[j];
        y[j] = v;
    }
}

static void finish_bf16(uint16_t *y, const float *sum, const float *bias, int64_t n, bool add)
{
    int64_t j = 0;
    for (; j + VF_LANES <= n; j += VF_LANES) {
        vf v = vf_load(sum + j);
        if (add) v = vf_load_bf16(y + j) + v;
        if (bias) v += vf_load(bias + j);
        vf_store_bf16(y + j, v);
    }
    for (; j < n; j++) {
        float v = sum[j];
        if (add) v = mz_bf16_to_f32(y[j]) + v;
        if (bias) v += bias[j];
        y[j] = mz_f32_to_bf16(v);
    }
}

static void widen(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256) {
        const int64_t some = n - i < 256 ? n - i : 256;
        for (int64_t j = 0; j < some; j += 32) __builtin_prefetch(x + i + j + 2048);
        copy_row(y + i, x + i, some, true);
    }
}

MZ_INLINE void sum_rows_of(float *sum, mz_cpu_mat src, int64_t m, int64_t n, const bool is_bf16)
{
    for (int64_t i = 0; i < m; i++) {
        const void *row = mat_at(src, i, 0);
        int64_t j = 0;
        for (; j + VF_LANES <= n; j += VF_LANES) {
            const vf v =
                is_bf16 ? vf_load_bf16((const uint16_t *)row + j) : vf_load((const float *)row + j);
            vf_store(sum + j, vf_load(sum + j) + v);
        }
        for (; j < n; j++) sum[j] += mz_f32_from_bits(bits_at(row, j, is_bf16));
    }
}

static void sum_rows(float *sum, mz_cpu_mat src, int64_t m, int64_t n)
{
    if (src.is_bf16)
        sum_rows_of(sum, src, m, n, true);
    else
        sum_rows_of(sum, src, m, n, false);
}

/* ---- dot products of bf16 pairs, where the set has them ---- */

#if defined(__AMX_BF16__)
#define TILE_CONFIG(config) _tile_loadconfig(config)
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, base, pitch) _tile_loadd(t, base, pitch)
#define TILE_STORE(t, base, pitch) _tile_stored(t, base, pitch)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)
#include "chips/cpu/gemm_tiles.h"
#define BF16_FAMILY TILES_FAMILY
#elif defined(__AVX512BF16__)
typedef __m512 lanes16;
MZ_INLINE lanes16 lanes_zero(void)
{
    return _mm512_setzero_ps();
}
MZ_INLINE void lanes_store(float *p, lanes16 v)
{
    _mm512_storeu_ps(p, v);
}
MZ_INLINE lanes16 lanes_plus(const float *p, lanes16 v)
{
    return _mm512_add_ps(_mm512_loadu_ps(p), v);
}
MZ_INLINE lanes16 lanes_pair(const uint16_t *pair)
{
    int32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}
MZ_INLINE lanes16 lanes_dot(lanes16 sum, lanes16 pair, const uint16_t *b)
{
    const __m512i bits = _mm512_loadu_si512(b);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(pair), (__m512bh)bits);
}
#include "chips/cpu/gemm_pairs.h"
#define BF16_FAMILY PAIRS_FAMILY
#else
#define BF16_FAMILY                                                                                \
    {                                                                                              \
        0                                                                                          \
    }
#endif

const mz_cpu_gemm_table MZ_CPU_TABLE(mz_cpu_gemm) = {
    .f32 = {.nr = NR,
            .kc = KC,
            .mr = MR,
            .mc = MC,
            .k_unit = 1,
            .row_unit = 1,
            .elem_bytes = 4,
            .pack_a = pack_a_f32,
            .pack_b = pack_b_f32,
            .panel = panel_f32,
            .panel_widening = panel_widening},
    .bf16 = BF16_FAMILY,
    .finish_f32 = finish_f32,
    .finish_bf16 = finish_bf16,
    .widen = widen,
    .sum_rows = sum_rows,
};
