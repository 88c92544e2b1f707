/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args_matmul.h - what matmul.cl is told. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_ARGS_MATMUL_H
#define MZ_CHIPS_KERNELS_ARGS_MATMUL_H

#include "chips/kernels/args.h"

/* Columns of a tile; its rows are 8 R, R being a build option. */
#define MZ_KMATMUL_COLUMNS 64

/* Values of the build options A_TYPE, B_TYPE and C_TYPE. */
#define MZ_KMATMUL_STORE 0 /* DTYPE */
#define MZ_KMATMUL_OUT 1   /* OUT_DTYPE */
#define MZ_KMATMUL_F32 2
#define MZ_KMATMUL_STORED 3 /* of b: what STORED says, stored.h */

/* An operand: element (outer, inner) of matrix z at + z batch + outer s_outer + inner s_inner. The
 * inner axis is the one that is summed over; one of the two strides is 1. */
typedef struct mz_koperand {
    mz_i64 at, outer, inner, batch;
} mz_koperand;

/* c [M,N] = sum over K. Of experts: E of them, rows of a and c are split by offsets (or, for
 * gradients of weights, what is summed over); b or c have a matrix each. */
typedef struct mz_kmatmul {
    mz_i64 M, N, K, E;
    mz_koperand a, b;
    mz_i64 c_at, c_row, c_batch;
    mz_kview bias, offsets;
    int accumulate, has_bias;
} mz_kmatmul;

#endif
