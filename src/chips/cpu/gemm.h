/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm.h - matrix products of any layout on the device's threads.
 *
 *   c = a b + bias      or c += that      for one product, a batch of them, or a list of unequal
 * ones
 *
 * Floor:  chips.
 * Shapes: a [M,K], b [K,N], c [M,N]; any may be 0. K = 0 gives bias, or 0.
 * Dtypes: f32 and bf16 operands in any mix, sums in f32, c f32 or bf16; or all f64 (plain loops).
 *         Two bf16 operands use dot-product instructions where the instruction set has them.
 * Time:   blocks until done. Allocates nothing: works in the op's workspace.
 * Repeat: bitwise for one instruction set, on any number of threads. What is more, a row of c has
 *         the same bits whatever the other rows are and how many. */
#ifndef MZ_CHIPS_CPU_GEMM_H
#define MZ_CHIPS_CPU_GEMM_H

#include "chips/cpu/cpu.h"

/* Which dimension the offsets of unequal products cut: rows of a and c, or columns of a and rows of
 * b. */
typedef enum mz_cpu_cut { MZ_CPU_CUT_NONE, MZ_CPU_CUT_M, MZ_CPU_CUT_K } mz_cpu_cut;

typedef struct mz_cpu_product {
    int64_t M, N, K; /* the cut dimension is not read */
    mz_cpu_mat a, b;
    const void *packed; /* b as pack.c lays it out, or NULL; b.is_bf16 tells its dtype */
    void *c;
    int64_t c_row;    /* elements from row to row */
    const void *bias; /* [N] f32 (f64), or NULL */
    bool c_is_bf16, add;
    bool is_f64;                    /* everything is f64 */
    int64_t count;                  /* 0: one product; else a list of this many */
    int64_t a_step, b_step, c_step; /* elements from one product of the list to the next */
    mz_cpu_cut cut;
    const int32_t *offsets; /* [count+1] of the cut dimension; product g owns offsets[g]..[g+1]-1 */
} mz_cpu_product;

/* Scratch for products of at most these sizes; count as above. */
mz_cpu_room mz_cpu_product_room(const mz_cpu *cpu, int64_t M, int64_t N, int64_t K, int64_t count);
mz_cpu_room mz_cpu_room_max(mz_cpu_room a, mz_cpu_room b);
void mz_cpu_product_run(const mz_op *op, mz_cpu_room room, const mz_cpu_product *p);
/* sum [N] += the M rows of x (x.col is 1), in blocks of rows whose size is fixed. */
void mz_cpu_sum_rows(const mz_op *op, void *sum, mz_cpu_mat x, bool is_f64, int64_t M, int64_t N);

/* The family that computes a packed b of this dtype, and the bytes of that b. */
const mz_cpu_family *mz_cpu_packed_family(const mz_cpu *cpu, bool is_bf16);
size_t mz_cpu_packed_bytes(const mz_cpu *cpu, bool is_bf16, int64_t N, int64_t K);

/* The view of a matrix whose last axis is contiguous; `swap` for its transpose. */
static inline mz_cpu_mat mz_cpu_mat_of(const mz_tensor *t, bool swap)
{
    const int64_t pitch = t->stride[t->rank - 2];
    return (mz_cpu_mat){.data = mz_cpu_data(t),
                        .row = swap ? 1 : pitch,
                        .col = swap ? pitch : 1,
                        .is_bf16 = t->dtype == MZ_BF16};
}

#endif
