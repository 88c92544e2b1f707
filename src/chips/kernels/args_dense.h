/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args_dense.h - what elementwise.cl, rows.cl and rmsnorm.cl are told. Floor: chips.
 */
#ifndef MZ_CHIPS_KERNELS_ARGS_DENSE_H
#define MZ_CHIPS_KERNELS_ARGS_DENSE_H

#include "chips/kernels/args.h"

/* Elements that one item of an elementwise kernel does, GROUP apart. */
#define MZ_KERNEL_EACH 8

/* Values of fn: those of mz_elementwise_fn (elementwise.c holds that). */
#define MZ_KERNEL_ADD 0
#define MZ_KERNEL_MUL 1
#define MZ_KERNEL_AXPY 2
#define MZ_KERNEL_SCALE 3
#define MZ_KERNEL_COPY 4
#define MZ_KERNEL_FILL 5

typedef struct mz_kelementwise {
    mz_i64 n, d1, d2; /* elements; of the second and third axis, 1 where there is none */
    mz_kview y, a, b;
    float alpha;
    int fn;
} mz_kelementwise;

typedef struct mz_kcast {
    mz_i64 T, N;
    mz_kview y, x;
} mz_kcast;

typedef struct mz_kreduce {
    mz_i64 A, B, C;
    mz_kview y, x;
    int accumulate, zero;
} mz_kreduce;

typedef struct mz_krows {
    mz_i64 n, D, rows; /* rows: of the side that idx points into */
    mz_kview y, x, idx;
    int scatter, zero;
} mz_krows;

typedef struct mz_krmsnorm {
    mz_i64 T, D;
    mz_kview y, x, w; /* y is dy in backward */
    mz_kview dx, dw;
    float eps;
    int has_saved;
} mz_krmsnorm;

#endif
