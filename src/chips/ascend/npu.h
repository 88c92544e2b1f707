/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/npu.h - one pass of an operator as calls of aclnn: views, scratch, both phases.
 *
 * A pass runs in one of two ways. When its operator is asked about or bound it PLANS: every call's
 * phase 1 runs at the largest shapes, which says whether the device has it and how much workspace
 * it wants; nothing is enqueued. Later it RUNS: phase 1 with the real views, phase 2 at once, in
 * scratch that was booked by the plan. The first error stays in `err`, and calls after it do
 * nothing, so that a pass is written straight down.
 *
 * Floor:  chips.   Owner: descriptors live for one call; scratch for one pass, until `used` is set
 * back (the stream runs in order, so memory may be used again at once). */
#ifndef MZ_CHIPS_ASCEND_NPU_H
#define MZ_CHIPS_ASCEND_NPU_H

#include "chip/chip.h"
#include "chips/ascend/api.h"

enum { MZ_NPU_RANK = 5, MZ_NPU_OBJECTS = 16 };

typedef struct mz_npu {
    struct mz_ascend *chip;
    struct mz_ascend_queue *queue;   /* NULL while planning */
    const struct mz_ascend_row *row; /* of the operator: what it may call */
    mz_err err;
    unsigned char *scratch;
    size_t room, used, most; /* of scratch; most: what a plan found */
    const aclTensor *tensor[MZ_NPU_OBJECTS];
    const aclScalar *scalar[MZ_NPU_OBJECTS];
    const aclIntArray *array[MZ_NPU_OBJECTS];
    const aclTensorList *list[MZ_NPU_OBJECTS];
    int n_tensors, n_scalars, n_arrays, n_lists;
} mz_npu;

/* A view of device memory. */
typedef struct mz_nv {
    unsigned char *base; /* NULL: there is none */
    int64_t at;          /* of element 0, in elements */
    aclDataType type;
    int rank;
    int64_t dim[MZ_NPU_RANK], stride[MZ_NPU_RANK];
} mz_nv;

/* ---- views ---- */
mz_nv mz_nv_of(const mz_tensor *t); /* of NULL: none */
int64_t mz_nv_count(const mz_nv *v);
mz_nv mz_nv_swap(mz_nv v, int i, int j); /* axes */
mz_nv mz_nv_shape(mz_nv dense, int rank, const int64_t *dim);
mz_nv mz_nv_insert(mz_nv v, int axis, int64_t n); /* an axis of n equal slices */
bool mz_nv_is_dense(const mz_nv *v);
mz_nv mz_nv_slice(mz_nv v, int axis, int64_t start, int64_t n);
/* Scratch, dense; not cleared. */
mz_nv mz_npu_new(mz_npu *n, aclDataType type, int rank, const int64_t *dim);
static inline mz_nv mz_npu_like(mz_npu *n, const mz_nv *v, aclDataType type)
{
    return mz_npu_new(n, type, v->rank, v->dim);
}

/* ---- descriptors of one call ---- */
aclTensor *mz_npu_t(mz_npu *n, const mz_nv *v); /* NULL for none */
aclScalar *mz_npu_s(mz_npu *n, double x, aclDataType type);
aclIntArray *mz_npu_i(mz_npu *n, const int64_t *v, int64_t count);
aclTensorList *mz_npu_l(mz_npu *n, const mz_nv *v); /* of this one */

/* Ends one call: phase 2, or its booking. `code` is what phase 1 returned. */
void mz_npu_finish(mz_npu *n, const char *name, int code, uint64_t workspace,
                   aclOpExecutor *executor, mz_aclnn_run *run);
/* Whether to make the call at all; notes a function that CANN does not have. */
bool mz_npu_begin(mz_npu *n, const char *name, bool is_there);
const mz_acl *mz_npu_acl(const mz_npu *n);

#define MZ_NPU(n, name, ...)                                                                       \
    do {                                                                                           \
        const mz_acl *acl_ = mz_npu_acl(n);                                                        \
        uint64_t workspace_ = 0;                                                                   \
        aclOpExecutor *executor_ = NULL;                                                           \
        if (!mz_npu_begin((n), "aclnn" #name, acl_->nn.name.size != NULL)) break;                  \
        const int code_ = acl_->nn.name.size(__VA_ARGS__, &workspace_, &executor_);                \
        mz_npu_finish((n), "aclnn" #name, code_, workspace_, executor_, acl_->nn.name.run);        \
    } while (0)

/* ---- what passes are made of (prims.c); an output of no elements makes no call ---- */
void mz_npu_mm(mz_npu *n, mz_nv a, mz_nv b, mz_nv out);    /* rank 2 or 3; K = 0 gives 0 */
void mz_npu_addmm(mz_npu *n, mz_nv a, mz_nv b, mz_nv out); /* out += a b, rank 2 */
void mz_npu_add(mz_npu *n, mz_nv a, mz_nv b, double alpha, mz_nv out); /* a + alpha b */
void mz_npu_add_to(mz_npu *n, mz_nv y, mz_nv x);                       /* y += x */
void mz_npu_mul(mz_npu *n, mz_nv a, mz_nv b, mz_nv out);
void mz_npu_scale(mz_npu *n, mz_nv a, double alpha, mz_nv out);
void mz_npu_copy(mz_npu *n, mz_nv to, mz_nv from);
void mz_npu_cast(mz_npu *n, mz_nv from, mz_nv to); /* a copy where the types are equal */
void mz_npu_fill(mz_npu *n, mz_nv y, double x);
void mz_npu_sum(mz_npu *n, mz_nv x, int axis, mz_nv out);      /* over one axis, which out lacks */
void mz_npu_select(mz_npu *n, mz_nv x, mz_nv rows, mz_nv out); /* out[i] = x[rows[i]] */
void mz_npu_sort(mz_npu *n, mz_nv x, bool descending, mz_nv values, mz_nv order); /* last axis */
void mz_npu_count_up(mz_npu *n, mz_nv y);                                         /* 0, 1, 2 ... */
/* What a call writes that wants dense memory of its own, and its way from there to y. */
mz_nv mz_npu_out(mz_npu *n, mz_nv y, bool may_overlap);
void mz_npu_land(mz_npu *n, mz_nv y, mz_nv out);
mz_nv mz_npu_f32(mz_npu *n, mz_nv v); /* v itself, or a dense copy in f32; none of none */

#endif
