/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/matmul.cl - matrix products in tiles, plain, in stacks, and by expert.
 *
 * A group makes 8 R rows x 64 columns (R is a build option: 8, or 1 for few rows); item (r, c) =
 * (ITEM / 8, ITEM % 8) has R rows and 8 columns of them. Both operands pass through local memory,
 * 16 steps of the sum at a time, laid [step][row or column] whatever their strides. Each element is
 * one chain of fused steps along the sum, so that a row has the same bits alone and among others.
 *
 * Build options: A_TYPE, B_TYPE, C_TYPE (args_matmul.h); STORED (stored.h) with MZ_KMATMUL_STORED,
 * for a b whose rows are summed over: blocks are expanded on their way into local memory. Floor:
 * chips.
 *
 * Tried with: -DR=1
 * Tried with: -DA_TYPE=1 -DB_TYPE=0 -DC_TYPE=0
 * Tried with: -DA_TYPE=0 -DB_TYPE=1 -DC_TYPE=2
 * Tried with: -DA_TYPE=0 -DB_TYPE=3 -DC_TYPE=1 -DSTORED=3
 * Tried with: -DA_TYPE=0 -DB_TYPE=3 -DC_TYPE=1 -DSTORED=22
 * Tried with: -DA_TYPE=0 -DB_TYPE=3 -DC_TYPE=1 -DSTORED=26
 * Tried with: -DA_TYPE=0 -DB_TYPE=3 -DC_TYPE=1 -DSTORED=28
 * Tried with: -DA_TYPE=0 -DB_TYPE=3 -DC_TYPE=1 -DSTORED=29 */
#include "chips/kernels/args_matmul.h"
#include "chips/kernels/lang.h"
#include "chips/kernels/stored.h"

#ifndef R
#define R 8
#endif
#ifndef A_TYPE
#define A_TYPE MZ_KMATMUL_STORE
#define B_TYPE MZ_KMATMUL_STORE
#define C_TYPE MZ_KMATMUL_STORE
#endif

#if A_TYPE == MZ_KMATMUL_STORE
typedef store a_store;
#define LOAD_A LOAD
#define LOAD8_A LOAD8
#else
typedef out_store a_store;
#define LOAD_A LOAD_OUT
#define LOAD8_A LOAD8_OUT
#endif
#if B_TYPE == MZ_KMATMUL_STORED
typedef stored_unit b_store;
#define LOAD_B WEIGHT
#define LOAD8_B WEIGHT8
#elif B_TYPE == MZ_KMATMUL_STORE
typedef store b_store;
#define LOAD_B LOAD
#define LOAD8_B LOAD8
#else
typedef out_store b_store;
#define LOAD_B LOAD_OUT
#define LOAD8_B LOAD8_OUT
#endif
#if C_TYPE == MZ_KMATMUL_STORE
typedef store c_store;
#define LOAD_C LOAD
#define STORE_C STORE
#elif C_TYPE == MZ_KMATMUL_OUT
typedef out_store c_store;
#define LOAD_C LOAD_OUT
#define STORE_C STORE_OUT
#else
typedef float c_store;
#define LOAD_C(p, i) ((p)[i])
#define STORE_C(p, i, x) ((p)[i] = (x))
#endif

#define STEP 16
#define ROWS (8 * R)
#define COLUMNS MZ_KMATMUL_COLUMNS
#define A_STRIDE (ROWS + 4)
#define B_STRIDE (COLUMNS + 4)
#define SCRATCH (STEP * (A_STRIDE + B_STRIDE))
#define MY_ROW (ITEM / 8 * R)
#define MY_COLUMN (ITEM % 8 * 8)
#define EACH_ROW UNROLL for (int i = 0; i < R; i++)

/* Elements x..x+7 of a run of n that begins at `at`; zeros behind its end. */
HELPER vec8 run_of_a(GLOBAL const a_store *a, i64 at, i64 x, i64 n)
{
    float v[8];
    if (x + 8 <= n) return LOAD8_A(a, at + x);
    for (int j = 0; j < 8; j++) v[j] = x + j < n ? LOAD_A(a, at + x + j) : 0.0f;
    return VEC_LOAD(v);
}

HELPER vec8 run_of_b(GLOBAL const b_store *b, i64 at, i64 x, i64 n)
{
    float v[8];
    if (x + 8 <= n) return LOAD8_B(b, at + x);
    for (int j = 0; j < 8; j++) v[j] = x + j < n ? LOAD_B(b, at + x + j) : 0.0f;
    return VEC_LOAD(v);
}

HELPER void scatter(LOCAL_PTR float *to, int stride, vec8 v)
{
    float x[8];
    VEC_STORE(x, v);
    UNROLL for (int j = 0; j < 8; j++) to[j * stride] = x[j];
}

/* la[x][row] = a(row, first + x) for `rows` rows, zeros elsewhere; of K steps. */
HELPER void fetch_a(LOCAL_PTR float *la, GLOBAL const a_store *a, mz_koperand o, i64 rows,
                    i64 first, i64 K)
{
    for (int e = ITEM; e < STEP * R; e += GROUP) {
        if (o.inner == 1) {
            const int row = e / 2, x = e % 2 * 8;
            const i64 n = row < rows ? K : 0;
            scatter(la + x * A_STRIDE + row, A_STRIDE,
                    run_of_a(a, o.at + row * o.outer, first + x, n));
        } else {
            const int x = e / R, row = e % R * 8;
            const i64 n = first + x < K ? rows : 0;
            VEC_STORE(la + x * A_STRIDE + row, run_of_a(a, o.at + (first + x) * o.inner, row, n));
        }
    }
}

/* lb[x][column] = b(column, first + x), likewise. */
HELPER void fetch_b(LOCAL_PTR float *lb, GLOBAL const b_store *b, mz_koperand o, i64 columns,
                    i64 first, i64 K)
{
    UNROLL for (int part = 0; part < 2; part++)
    {
        const int e = ITEM + part * GROUP;
        if (o.inner == 1) {
            const int column = e / 2, x = e % 2 * 8;
            const i64 n = column < columns ? K : 0;
            scatter(lb + x * B_STRIDE + column, B_STRIDE,
                    run_of_b(b, o.at + column * o.outer, first + x, n));
        } else {
            const int x = e / 8, column = e % 8 * 8;
            const i64 n = first + x < K ? columns : 0;
            VEC_STORE(lb + x * B_STRIDE + column,
                      run_of_b(b, o.at + (first + x) * o.inner, column, n));
        }
    }
}

/* s += the tile whose rows and columns begin at row and column, summed over 0..k.K-1. */
HELPER void multiply(vec8 s[R], GLOBAL const a_store *a, GLOBAL const b_store *b, mz_kmatmul k,
                     i64 row, i64 column, LOCAL_PTR float *scratch)
{
    LOCAL_PTR float *la = scratch, *lb = scratch + STEP * A_STRIDE;
    k.a.at += row * k.a.outer;
    k.b.at += column * k.b.outer;
    EACH_ROW s[i] = VEC_SPLAT(0.0f);
    for (i64 first = 0; first < k.K; first += STEP) {
        BARRIER;
        fetch_a(la, a, k.a, k.M - row, first, k.K);
        fetch_b(lb, b, k.b, k.N - column, first, k.K);
        BARRIER;
        for (int x = 0; x < STEP; x++) {
            const vec8 bx = VEC_LOAD(lb + x * B_STRIDE + MY_COLUMN);
            EACH_ROW s[i] = VEC_FMA(la[x * A_STRIDE + MY_ROW + i], bx, s[i]);
        }
    }
}

/* The tile into c, with what is added to it. */
HELPER void put_tile(GLOBAL c_store *c, vec8 s[R], GLOBAL const float *bias, mz_kmatmul k, i64 row0,
                     i64 column0)
{
    EACH_ROW
    {
        const i64 row = row0 + MY_ROW + i, column = column0 + MY_COLUMN;
        float v[8];
        VEC_STORE(v, s[i]);
        for (int j = 0; j < 8 && row < k.M && column + j < k.N; j++) {
            const i64 at = k.c_at + row * k.c_row + column + j;
            float x = v[j];
            if (k.has_bias) x += bias[k.bias.at + (column + j) * k.bias.s0];
            if (k.accumulate) x += LOAD_C(c, at);
            STORE_C(c, at, x);
        }
    }
}

/* Groups: (N / 64, M / ROWS, batch). */
KERNEL void matmul(GLOBAL c_store *c, GLOBAL const a_store *a, GLOBAL const b_store *b,
                   GLOBAL const float *bias, mz_kmatmul call)
{
    LOCAL float scratch[SCRATCH];
    mz_kmatmul k = call; /* which must stay as it is: lang.h */
    const i64 row = GROUP_OF(1) * ROWS, column = GROUP_OF(0) * COLUMNS;
    vec8 s[R];
    k.a.at += GROUP_OF(2) * k.a.batch;
    k.b.at += GROUP_OF(2) * k.b.batch;
    k.c_at += GROUP_OF(2) * k.c_batch;
    multiply(s, a, b, k, row, column, scratch);
    put_tile(c, s, bias, k, row, column);
}

/* dbias [N] += sum over rows of dc [M,N], whose place k.a is, in their order. Groups: N / GROUP. */
KERNEL void matmul_dbias(GLOBAL float *dbias, GLOBAL const out_store *dc, mz_kmatmul k)
{
    const i64 n = GLOBAL_ITEM;
    if (n >= k.N) return;
    float sum = 0.0f;
    for (i64 m = 0; m < k.M; m++) sum += LOAD_OUT(dc, k.a.at + m * k.a.outer + n);
    dbias[k.bias.at + n * k.bias.s0] += sum;
}

/* Rows of a and c by expert, a matrix of b each. Groups: (N / 64, M / ROWS + E); a group finds its
 * tile in offsets. */
KERNEL void experts(GLOBAL c_store *c, GLOBAL const a_store *a, GLOBAL const b_store *b,
                    GLOBAL const int *offsets, mz_kmatmul call)
{
    LOCAL float scratch[SCRATCH];
    mz_kmatmul k = call;
    const i64 column = GROUP_OF(0) * COLUMNS;
    i64 tile = GROUP_OF(1), e = 0, row = 0, end = 0;
    for (; e < k.E; e++) {
        row = offsets[k.offsets.at + e * k.offsets.s0];
        end = offsets[k.offsets.at + (e + 1) * k.offsets.s0];
        const i64 tiles = end > row ? (end - row + ROWS - 1) / ROWS : 0;
        if (tile < tiles) break;
        tile -= tiles;
    }
    vec8 s[R];
    if (e == k.E) return;
    k.M = end;
    k.b.at += e * k.b.batch;
    multiply(s, a, b, k, row + tile * ROWS, column, scratch);
    put_tile(c, s, (GLOBAL const float *)0, k, row + tile * ROWS, column);
}

/* c of expert GROUP_OF(2) += the sum over its rows. Groups: (N / 64, M / ROWS, E). */
KERNEL void experts_weights(GLOBAL c_store *c, GLOBAL const a_store *a, GLOBAL const b_store *b,
                            GLOBAL const int *offsets, mz_kmatmul call)
{
    LOCAL float scratch[SCRATCH];
    mz_kmatmul k = call;
    const i64 e = GROUP_OF(2), row = GROUP_OF(1) * ROWS, column = GROUP_OF(0) * COLUMNS;
    const i64 begin = offsets[k.offsets.at + e * k.offsets.s0];
    vec8 s[R];
    k.K = offsets[k.offsets.at + (e + 1) * k.offsets.s0] - begin;
    k.a.at += begin * k.a.inner;
    k.b.at += begin * k.b.inner;
    k.c_at += e * k.c_batch;
    multiply(s, a, b, k, row, column, scratch);
    put_tile(c, s, (GLOBAL const float *)0, k, row, column);
}
