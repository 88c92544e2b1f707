/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/ops.h - between ref.c and the operators' files: their passes, and how they read and
 * write tensors. Floor: chips. */
#ifndef MZ_CHIPS_REF_OPS_H
#define MZ_CHIPS_REF_OPS_H

#include "chip/chip.h"
#include "chip/element.h"

#define MZ_REF_PASS(NAME, field) mz_err mz_ref_##field(mz_op *op, const mz_args *args);
MZ_OP_LIST(MZ_REF_PASS)
#undef MZ_REF_PASS

/* X(ENUM, field): those with a backward pass, and those without. */
#define MZ_REF_BACKWARD_LIST(X)                                                                    \
    X(MATMUL, matmul)                                                                              \
    X(EXPERTS, experts)                                                                            \
    X(RMSNORM, rmsnorm)                                                                            \
    X(ROPE, rope)                                                                                  \
    X(ATTENTION, attention)                                                                        \
    X(SWIGLU, swiglu)                                                                              \
    X(EMBED, embed)                                                                                \
    X(ROUTER, router)                                                                              \
    X(PERMUTE, permute)                                                                            \
    X(UNPERMUTE, unpermute)
#define MZ_REF_FORWARD_LIST(X)                                                                     \
    X(DECODE, decode)                                                                              \
    X(BALANCE, balance)                                                                            \
    X(XENT, xent)                                                                                  \
    X(ADAMW, adamw)                                                                                \
    X(SUMSQ, sumsq)                                                                                \
    X(FINITE, finite)                                                                              \
    X(CAST, cast)                                                                                  \
    X(ELEMENTWISE, elementwise)                                                                    \
    X(REDUCE, reduce)                                                                              \
    X(ROWS, rows)                                                                                  \
    X(SAMPLE, sample)
#define MZ_REF_PASS(NAME, field) mz_err mz_ref_##field##_backward(mz_op *op, const mz_args *args);
MZ_REF_BACKWARD_LIST(MZ_REF_PASS)
#undef MZ_REF_PASS

/* Element e of t, counted from its first: e = sum of index * stride. */
static inline void *ref_address(const mz_tensor *t, int64_t e)
{
    unsigned char *first = (unsigned char *)t->buf->host + t->offset_bytes;
    return first + e * (int64_t)mz_dtype_bytes(t->dtype);
}

static inline double at1(const mz_tensor *t, int64_t i)
{
    return mz_load(t->dtype, ref_address(t, i * t->stride[0]));
}

static inline double at2(const mz_tensor *t, int64_t i, int64_t j)
{
    return mz_load(t->dtype, ref_address(t, i * t->stride[0] + j * t->stride[1]));
}

static inline double at3(const mz_tensor *t, int64_t i, int64_t j, int64_t k)
{
    return mz_load(t->dtype,
                   ref_address(t, i * t->stride[0] + j * t->stride[1] + k * t->stride[2]));
}

static inline void put1(const mz_tensor *t, int64_t i, double x)
{
    mz_store(t->dtype, ref_address(t, i * t->stride[0]), x);
}

static inline void put2(const mz_tensor *t, int64_t i, int64_t j, double x)
{
    mz_store(t->dtype, ref_address(t, i * t->stride[0] + j * t->stride[1]), x);
}

static inline void put3(const mz_tensor *t, int64_t i, int64_t j, int64_t k, double x)
{
    mz_store(t->dtype, ref_address(t, i * t->stride[0] + j * t->stride[1] + k * t->stride[2]), x);
}

static inline int64_t id1(const mz_tensor *t, int64_t i)
{
    return mz_load_int(t->dtype, ref_address(t, i * t->stride[0]));
}

static inline int64_t id2(const mz_tensor *t, int64_t i, int64_t j)
{
    return mz_load_int(t->dtype, ref_address(t, i * t->stride[0] + j * t->stride[1]));
}

static inline void put_id1(const mz_tensor *t, int64_t i, int64_t x)
{
    mz_store_int(t->dtype, ref_address(t, i * t->stride[0]), x);
}

static inline void put_id2(const mz_tensor *t, int64_t i, int64_t j, int64_t x)
{
    mz_store_int(t->dtype, ref_address(t, i * t->stride[0] + j * t->stride[1]), x);
}

/* Row `row` of a weight seen as [rows, n], any dtype or blocks, rounded to dtype, into out. */
void mz_ref_weight_row(const mz_tensor *w, int64_t row, int64_t n, mz_dtype dtype, double *out);

/* cu [n+1] I32 must be 0 <= cu[0] <= ... <= cu[n] = T; offsets of experts likewise. */
mz_err mz_ref_check_offsets(const mz_tensor *cu, int64_t T, const char *name);
/* Every id of a dense I32 tensor must lie in lowest..n-1. */
mz_err mz_ref_check_ids(const mz_tensor *ids, int64_t lowest, int64_t n, const char *name);

/* The doubles of a `saved` tensor and of the op's workspace. */
double *mz_ref_doubles(const mz_tensor *bytes);

#endif
