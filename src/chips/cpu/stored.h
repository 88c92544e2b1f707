/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored.h - products with weights in blocks, or in another dtype than is computed in.
 *
 *   c [M,N] = a [M,K] w [N,K]^T + bias, or c += that; or a list: rows offsets[g] .. offsets[g+1]-1
 *   of a and c with the g-th weight
 *
 * One row of a reads each byte of the weight once and expands in registers; more rows have four
 * rows of the weight at a time expanded into the thread's scratch, at most MZ_CPU_STORED_K numbers
 * of each. No more of a weight than that is ever unpacked. Floor:  chips.   Dtypes: a and c f32 or
 * bf16, sums in f32. Time:   blocks until done; works in the op's workspace. Repeat: bitwise for
 * one instruction set, on any number of threads; a row of c has the same bits whatever the other
 * rows are and how many. */
#ifndef MZ_CHIPS_CPU_STORED_H
#define MZ_CHIPS_CPU_STORED_H

#include "chips/cpu/gemm.h"

typedef struct mz_cpu_stored {
    int64_t M, N, K;
    mz_cpu_mat a; /* col is 1 */
    const unsigned char *w;
    mz_cpu_kind kind;
    size_t w_row_bytes; /* from row to row of the weight */
    void *c;
    int64_t c_row;
    const float *bias; /* [N] or NULL */
    bool c_is_bf16, add;
    int64_t count; /* 0: one product */
    const int32_t *offsets;
    size_t w_step_bytes; /* from weight to weight */
} mz_cpu_stored;

/* MZ_OK for f32 and bf16, else MZ_ENOTSUP with the reason noted. */
mz_err mz_cpu_stored_need(mz_op_kind kind, mz_dtype dtype);
mz_cpu_room mz_cpu_stored_room(int64_t count);
void mz_cpu_stored_run(const mz_op *op, const mz_cpu_stored *p);

mz_cpu_kind mz_cpu_kind_of(mz_dtype dtype);
/* Bytes of `elements`, whole blocks. */
static inline size_t mz_cpu_stored_bytes(mz_dtype dtype, int64_t elements)
{
    return (size_t)(elements / mz_dtype_block(dtype)) * mz_dtype_block_bytes(dtype);
}

#endif
