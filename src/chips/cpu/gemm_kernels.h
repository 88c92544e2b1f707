/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm_kernels.h - the inner kernels of matrix products, per instruction set.
 *
 * A family computes c[m,NR] (+)= a[m,k] b[k,NR] on packed operands, sums in f32 over ascending k:
 *   a  rows of KC elements one after the other (row i at i*kc elements), zero from k on up to the
 *      next multiple of k_unit
 *   b  one panel of NR columns: f32 [k][NR]; bf16 [k/2][NR][2], zero beyond k and beyond n
 * The order of a sum depends on k alone, not on m, n or where the element lies.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_GEMM_KERNELS_H
#define MZ_CHIPS_CPU_GEMM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Element (i, j) of a matrix at data + i*row + j*col elements; one of the two is 1. */
typedef struct mz_cpu_mat {
    const void *data;
    int64_t row, col;
    bool is_bf16;
} mz_cpu_mat;

typedef struct mz_cpu_gemm_family {
    int nr;         /* columns of a panel */
    int mr;         /* rows that one pass over a panel keeps in registers */
    int kc;         /* longest k of one call; a multiple of k_unit */
    int mc;         /* rows of packed a that should stay in the second cache */
    int k_unit;     /* packed k is a multiple of it */
    int row_unit;   /* packed a holds a multiple of it of rows */
    int elem_bytes; /* of packed a and b */
    /* rows i0.. of a: m x k elements from src */
    void (*pack_a)(void *dst, mz_cpu_mat src, int64_t m, int64_t k);
    /* one panel: k x n elements, n <= nr */
    void (*pack_b)(void *dst, mz_cpu_mat src, int64_t k, int64_t n);
    /* c f32, row stride ldc, n <= nr columns of it are written; add: c += instead of c = */
    void (*panel)(int64_t m, int64_t n, int64_t k, const void *a, const void *b, float *c,
                  int64_t ldc, bool add);
} mz_cpu_gemm_family;

typedef struct mz_cpu_gemm_table {
    const mz_cpu_gemm_family *f32;
    const mz_cpu_gemm_family *bf16; /* both operands bf16, dot products of pairs; NULL without */
    /* One row of a result: y[n] = (add ? y : 0) + sum[n] + bias[n] (bias may be NULL), rounded to
     * nearest. */
    void (*finish_bf16)(uint16_t *y, const float *sum, const float *bias, int64_t n, bool add);
    void (*finish_f32)(float *y, const float *sum, const float *bias, int64_t n, bool add);
    void (*widen)(float *y, const uint16_t *x, int64_t n); /* bf16 to f32 */
} mz_cpu_gemm_table;

#endif
