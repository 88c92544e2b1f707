/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/tile.h - products of small tiles, which attention.cl and decode.cl are made of.
 *
 * A group of 64 items holds a tile of 32 rows x 64 columns: item (r, c) = (ITEM / 8, ITEM % 8) has
 * rows 4r..4r+3 and columns 8c..8c+7, so that an item's columns are one vector of a processor. The
 * second product's tile has 64 UNITS columns, 8 UNITS an item (a build option: 1 or 2).
 *
 * Where a row of an operand begins is looked up in local memory, so that rows may lie anywhere
 * (heads, pages); -1 is a row of zeros. Sums run along the inner axis, one fused step a term, so
 * that the same two rows give the same bits in every kernel. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_TILE_H
#define MZ_CHIPS_KERNELS_TILE_H

#include "chips/kernels/args_attention.h"
#include "chips/kernels/lang.h"

#ifndef UNITS
#define UNITS 1
#endif
#define ROWS MZ_KTILE_ROWS
#define COLUMNS MZ_KTILE_COLUMNS
#define WIDTH (64 * UNITS)
#define STEP 16
#define A_STRIDE (STEP + 4)
#define B_STRIDE (COLUMNS + 4)
#define P_STRIDE (COLUMNS + 4)
/* Local memory of the two products, one after the other. */
#define SCRATCH                                                                                    \
    (ROWS * A_STRIDE + STEP * B_STRIDE > STEP * WIDTH ? ROWS * A_STRIDE + STEP * B_STRIDE          \
                                                      : STEP * WIDTH)

#define MY_ROW (ITEM / 8 * 4)
#define MY_COLUMN (ITEM % 8 * 8)
#define MY_WIDE_COLUMN (ITEM % 8 * 8 * UNITS)
#define MY_P(i) ((MY_ROW + (i)) * P_STRIDE + MY_COLUMN)
#define EACH_ROW UNROLL for (int i = 0; i < 4; i++)

/* Elements x..x+7 of a row of n; zeros outside it, and in row -1. */
HELPER vec8 load_row(GLOBAL const store *a, i64 row, i64 x, i64 n)
{
    float v[8];
    if (row < 0 || x >= n) return VEC_SPLAT(0.0f);
    if (x + 8 <= n) return LOAD8(a, row + x);
    UNROLL for (int j = 0; j < 8; j++) v[j] = x + j < n ? LOAD(a, row + x + j) : 0.0f;
    return VEC_LOAD(v);
}

/* s[i] = 8 products of row a_row[i] of a with rows b_row[j] of b, over n. 32 and 64 rows. */
HELPER void tile_dot(vec8 s[4], GLOBAL const store *a, LOCAL_PTR const i64 *a_row,
                     GLOBAL const store *b, LOCAL_PTR const i64 *b_row, i64 n,
                     LOCAL_PTR float *scratch)
{
    LOCAL_PTR float *la = scratch, *lb = scratch + ROWS * A_STRIDE;
    const int r = ITEM / 2, x0 = ITEM % 2 * 8; /* two items load a row */
    EACH_ROW s[i] = VEC_SPLAT(0.0f);
    for (i64 first = 0; first < n; first += STEP) {
        BARRIER;
        VEC_STORE(la + r * A_STRIDE + x0, load_row(a, a_row[r], first + x0, n));
        UNROLL for (int part = 0; part < 2; part++)
        {
            float v[8];
            VEC_STORE(v, load_row(b, b_row[r + 32 * part], first + x0, n));
            UNROLL for (int j = 0; j < 8; j++) lb[(x0 + j) * B_STRIDE + r + 32 * part] = v[j];
        }
        BARRIER;
        for (int x = 0; x < STEP; x++) {
            const vec8 bx = VEC_LOAD(lb + x * B_STRIDE + MY_COLUMN);
            EACH_ROW s[i] = VEC_FMA(la[(MY_ROW + i) * A_STRIDE + x], bx, s[i]);
        }
    }
}

/* sum[i] += p[i][.] columns (column0 + ...) of the rows b_row of b, of which there are n columns. p
 * [32][P_STRIDE] is in local memory, 64 of it used. */
HELPER void tile_add(vec8 sum[4 * UNITS], LOCAL_PTR const float *p, GLOBAL const store *b,
                     LOCAL_PTR const i64 *b_row, i64 column0, i64 n, LOCAL_PTR float *scratch)
{
    for (int first = 0; first < COLUMNS; first += STEP) {
        BARRIER;
        for (int e = ITEM; e < STEP * WIDTH / 8; e += GROUP) {
            const int r = e / (WIDTH / 8), x = e % (WIDTH / 8) * 8;
            VEC_STORE(scratch + r * WIDTH + x, load_row(b, b_row[first + r], column0 + x, n));
        }
        BARRIER;
        for (int x = 0; x < STEP; x++) {
            UNROLL for (int u = 0; u < UNITS; u++)
            {
                const vec8 bx = VEC_LOAD(scratch + x * WIDTH + MY_WIDE_COLUMN + 8 * u);
                EACH_ROW sum[4 * u + i] =
                    VEC_FMA(p[(MY_ROW + i) * P_STRIDE + first + x], bx, sum[4 * u + i]);
            }
        }
    }
}

HELPER void tile_zero(vec8 sum[4 * UNITS])
{
    UNROLL for (int i = 0; i < 4 * UNITS; i++) sum[i] = VEC_SPLAT(0.0f);
}

/* A running softmax. max: the largest score of each of an item's rows so far; total: the sum of
 * exp(score - max) over this item's columns (tile_totals adds up items). One more tile of scores s
 * (-INFINITE where there is none) becomes p = exp(s - max) in local memory; sum is scaled to the
 * new max. room [32 * 8]. */
HELPER void tile_softmax(float max[4], float total[4], vec8 s[4], vec8 sum[4 * UNITS],
                         LOCAL_PTR float *p, LOCAL_PTR float *room)
{
    BARRIER;
    EACH_ROW room[(MY_ROW + i) * 8 + ITEM % 8] = vec_max(s[i]);
    BARRIER;
    EACH_ROW
    {
        const float most = fmax(max[i], vec_max(VEC_LOAD(room + (MY_ROW + i) * 8)));
        const float base = most > -INFINITE ? most : 0.0f, scale = exp(max[i] - base);
        const vec8 x = exp(s[i] - base);
        VEC_STORE(p + MY_P(i), x);
        UNROLL for (int u = 0; u < UNITS; u++) sum[4 * u + i] = sum[4 * u + i] * scale;
        max[i] = most;
        total[i] = total[i] * scale + vec_sum(x);
    }
}

/* total over all columns of a row, in every item of it. */
HELPER void tile_totals(float total[4], LOCAL_PTR float *room)
{
    BARRIER;
    EACH_ROW room[(MY_ROW + i) * 8 + ITEM % 8] = total[i];
    BARRIER;
    EACH_ROW total[i] = vec_sum(VEC_LOAD(room + (MY_ROW + i) * 8));
}

/* An item's part of the tile, rows times `factor`, to rows row[.] of out, n columns from column0.
 */
HELPER void tile_store(GLOBAL store *out, LOCAL_PTR const i64 *row, vec8 sum[4 * UNITS],
                       const float factor[4], i64 column0, i64 n)
{
    EACH_ROW
    {
        const i64 at = row[MY_ROW + i];
        for (int u = 0; u < UNITS && at >= 0; u++) {
            const i64 column = column0 + MY_WIDE_COLUMN + 8 * u;
            float v[8];
            VEC_STORE(v, sum[4 * u + i] * factor[i]);
            for (int j = 0; j < 8 && column + j < n; j++) STORE(out, at + column + j, v[j]);
        }
    }
}

#endif
