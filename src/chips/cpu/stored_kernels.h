/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored_kernels.h - the inner kernels of products with weights that lie in blocks, or in
 * another dtype than is computed in, per instruction set.
 *
 *   c[i,j] (+)= sum_k a[i,k] w[j,k]      a f32, w a row of the weight, expanded in registers;
 *                                        or a bf16 and w rounded to it, multiplied by pairs
 *
 * Every number of a weight becomes the f32 that the format's reference code gives, to the bit
 * (tensor/quant.h): scale times integer is exact in f32 in every format but Q6_K, whose only
 * rounding is that product's, so a fused sum rounds where the reference does.
 * Repeat: bitwise. Lane l of the sum takes k = l, l + lanes ... of MZ_CPU_STORED_K elements, then
 *         the lanes are added in one order, then those pieces of K: neither the number of rows of
 *         a nor which of the kernels runs changes a bit.
 * Floor:  chips. */
#ifndef MZ_CHIPS_CPU_STORED_KERNELS_H
#define MZ_CHIPS_CPU_STORED_KERNELS_H

#include "tensor/quant.h"

enum {
    MZ_CPU_STORED_K =
        768, /* elements of K that one call takes, at most; whole blocks of each type */
    MZ_CPU_STORED_COLS = 4,  /* rows of the weight that are taken together */
    MZ_CPU_STORED_GROUP = 32 /* elements: a's and panels' rows are filled up to it with zeros */
};

/* What a weight can lie in: the block types in their order, then plain numbers. */
typedef enum mz_cpu_kind {
    MZ_CPU_KIND_F16 = MZ_QUANT_COUNT,
    MZ_CPU_KIND_BF16,
    MZ_CPU_KIND_F32,
    MZ_CPU_KIND_COUNT
} mz_cpu_kind;

/* Elements k0 .. k0+n-1 of rows; k0 is a multiple of the group, n <= MZ_CPU_STORED_K. In blocks n
 * is a multiple of the group too. */
typedef struct mz_cpu_stored_kernel {
    /* out [n up to the next multiple of the group] */
    void (*expand)(float *out, const unsigned char *row, int64_t k0, int64_t n);
    /* sum [4] = (or += where k0 > 0) one row of a with four rows that begin `pitch` bytes apart;
     * a[0] goes with k0 */
    void (*dot)(float *sum, const unsigned char *row, size_t pitch, const float *a, int64_t k0,
                int64_t n);
    /* The same with each number of the rows rounded to bf16; NULL where there are pairs, and for
     * weights of bf16. */
    void (*dot_rounded)(float *sum, const unsigned char *row, size_t pitch, const float *a,
                        int64_t k0, int64_t n);
    /* Both in bf16; NULL where the set has no products of pairs, and for weights of bf16. */
    void (*round)(uint16_t *out, const unsigned char *row, int64_t k0, int64_t n);
    void (*dot_round)(float *sum, const unsigned char *row, size_t pitch, const uint16_t *a,
                      int64_t k0, int64_t n);
} mz_cpu_stored_kernel;

/* sum [m][4] = (or += if `add`) a [m][n] panel [4][MZ_CPU_STORED_K]^T; n is a multiple of the group
 */
typedef struct mz_cpu_stored_tile {
    int64_t m, n;
    const float *a, *panel;
    int64_t a_pitch; /* elements from row to row */
    float *sum;
    int64_t ld; /* elements from row to row */
    bool add;
} mz_cpu_stored_tile;

/* sum [m][4] = (or += if `add`) a [m][n] w [4][n]^T, both bf16 and where they lie; n is a multiple
 * of the group */
typedef struct mz_cpu_stored_pairs {
    int64_t m, n;
    const uint16_t *a;
    int64_t a_pitch; /* elements from row to row */
    const uint16_t *w[MZ_CPU_STORED_COLS];
    float *sum;
    int64_t ld; /* elements from row to row */
    bool add;
} mz_cpu_stored_pairs;

typedef struct mz_cpu_stored_table {
    mz_cpu_stored_kernel kernel[MZ_CPU_KIND_COUNT];
    void (*tile)(const mz_cpu_stored_tile *t);
    void (*to_bf16)(float *x, int64_t n); /* each to the next bf16; n is a multiple of the group */
    void (*pairs)(const mz_cpu_stored_pairs *t); /* NULL where the set does not multiply pairs */
    bool plain_first; /* also for plain bf16: the set has nothing better for it */
} mz_cpu_stored_table;

#endif
