/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm_kernels.h - the inner kernels of matrix products, per instruction set.
 *
 * A family computes c[m,n] (+)= a[m,k] b[k,n] on packed operands, k <= kc, n <= nr:
 *   a  rows one after the other, kc elements apart whatever k is; zero from k up to the next
 *      multiple of k_unit. Rows up to the next multiple of row_unit exist, their values do not
 *      matter.
 *   b  one panel of nr columns: f32 [k][nr], bf16 [k/2][nr][2]; zero from k up to the next multiple
 *      of k_unit and from column n on
 * Repeat: bitwise. How the sum of an element is taken depends on k alone, never on m, n or where
 *         the element lies, so cutting a product into blocks of rows and columns cannot change it.
 * Floor:  chips. */
#ifndef MZ_CHIPS_CPU_GEMM_KERNELS_H
#define MZ_CHIPS_CPU_GEMM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Element (i, j) of a matrix lies at data + i*row + j*col elements; one of the two is 1. */
typedef struct mz_cpu_mat {
    const void *data;
    int64_t row, col;
    bool is_bf16; /* else f32 */
} mz_cpu_mat;

/* One call of a panel kernel: c [m,n] (+)= a [m,k] b [k,n]. */
typedef struct mz_cpu_block {
    int64_t m, n, k;
    const void *a, *b; /* packed */
    float *c;
    int64_t ldc; /* elements from row to row of c */
    bool add;    /* c += instead of c = */
} mz_cpu_block;

typedef struct mz_cpu_family {
    int nr, kc;
    int mr;         /* rows whose sums stay in registers: blocks should be multiples of it */
    int mc;         /* rows of packed a that fit the second cache; a multiple of mr */
    int k_unit;     /* divides kc */
    int row_unit;   /* divides mr */
    int elem_bytes; /* of packed a and b */
    /* m x k elements of src, k <= kc */
    void (*pack_a)(void *a, mz_cpu_mat src, int64_t m, int64_t k);
    /* k x n elements of src, as panels that begin `pitch` elements apart; the last may be narrow */
    void (*pack_b)(void *b, int64_t pitch, mz_cpu_mat src, int64_t k, int64_t n);
    void (*panel)(const mz_cpu_block *w);
    /* f32 only: the same where b is bf16 [k][nr]. Worth it for few rows: for many, widen first. */
    void (*panel_widening)(const mz_cpu_block *w);
} mz_cpu_family;

typedef struct mz_cpu_gemm_table {
    mz_cpu_family f32;  /* operands f32 or bf16, products of f32 */
    mz_cpu_family bf16; /* both operands bf16, dot products of pairs; nr is 0 where the set has no
                           such instruction */
    /* y = (add ? y : 0) + sum + bias, rounded to nearest; bias may be NULL, sum may be y in f32. */
    void (*finish_f32)(float *y, const float *sum, const float *bias, int64_t n, bool add);
    void (*finish_bf16)(uint16_t *y, const float *sum, const float *bias, int64_t n, bool add);
    void (*widen)(float *y, const uint16_t *x, int64_t n); /* bf16 to f32 */
    /* sum[j] += src[i,j] for n columns and i = 0..m-1 in order; src.col is 1 */
    void (*sum_rows)(float *sum, mz_cpu_mat src, int64_t m, int64_t n);
} mz_cpu_gemm_table;

#endif
