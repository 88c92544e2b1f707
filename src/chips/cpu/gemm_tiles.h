/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm_tiles.h - the panel kernel on tile registers (AMX-BF16).
 *
 * Four tiles of 16x16 sums, two of a (16 rows of 32 bf16), two of b (16 pairs of rows, 16 columns).
 * Written against five macros, which the including file defines before: gemm.isa.c by the
 * instructions, tests/op/test_bf16_model.c by a model of them in plain C.
 *   TILE_CONFIG(const tile_config *)  TILE_RELEASE()  TILE_ZERO(t)
 *   TILE_LOAD(t, base, pitch_bytes)   TILE_STORE(t, base, pitch_bytes)   TILE_DOT(sum, a, b)
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_GEMM_TILES_H
#define MZ_CHIPS_CPU_GEMM_TILES_H

#include "chips/cpu/gemm_pack.h"

enum { TILES_MR = 32, TILES_NR = 32, TILES_KC = 512, TILES_MC = 192, TILES_UNIT = 32 };

/* The 64 bytes that LDTILECFG reads. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* t [32][32] = a b; `two`: rows 16 and up are wanted too */
MZ_INLINE void tiles_rows(bool two, int64_t k, const uint16_t *a, const uint16_t *b, float *t)
{
    const uint16_t *a2 = a + 16 * TILES_KC;
    const size_t a_pitch = TILES_KC * sizeof *a, b_pitch = 2 * TILES_NR * sizeof *b;
    const size_t t_pitch = TILES_NR * sizeof *t;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t p = 0; p < k; p += TILES_UNIT, b += TILES_UNIT * TILES_NR) {
        TILE_LOAD(4, a + p, a_pitch);
        TILE_LOAD(6, b, b_pitch);
        TILE_LOAD(7, b + TILES_NR, b_pitch);
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 4, 7);
        if (!two) continue;
        TILE_LOAD(5, a2 + p, a_pitch);
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
    }
    TILE_STORE(0, t, t_pitch);
    TILE_STORE(1, t + 16, t_pitch);
    if (!two) return;
    TILE_STORE(2, t + 16 * TILES_NR, t_pitch);
    TILE_STORE(3, t + 16 * TILES_NR + 16, t_pitch);
}

static void tiles_panel(const mz_cpu_block *w)
{
    static const tile_config CONFIG = {.palette = 1,
                                       .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                       .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    const uint16_t *a = w->a, *b = w->b;
    float t[TILES_MR * TILES_NR];
    TILE_CONFIG(&CONFIG);
    for (int64_t i = 0; i < w->m; i += TILES_MR) {
        const int64_t rows = w->m - i < TILES_MR ? w->m - i : TILES_MR;
        tiles_rows(rows > 16, w->k, a + i * TILES_KC, b, t);
        add_block(w->c + i * w->ldc, w->ldc, t, TILES_NR, rows, w->n, w->add);
    }
    TILE_RELEASE();
}

static void tiles_pack_a(void *a, mz_cpu_mat src, int64_t m, int64_t k)
{
    pack_a_16(a, TILES_KC, TILES_UNIT, src, m, k);
}

static void tiles_pack_b(void *b, int64_t pitch, mz_cpu_mat src, int64_t k, int64_t n)
{
    pack_b_16(b, TILES_NR, pitch, TILES_UNIT, src, k, n);
}

#define TILES_FAMILY                                                                               \
    {                                                                                              \
        .nr = TILES_NR, .kc = TILES_KC, .mr = TILES_MR, .mc = TILES_MC, .k_unit = TILES_UNIT,      \
        .row_unit = 16, .elem_bytes = 2, .pack_a = tiles_pack_a, .pack_b = tiles_pack_b,           \
        .panel = tiles_panel                                                                       \
    }

#endif
