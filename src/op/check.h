/* SPDX-License-Identifier: Apache-2.0 */
/* op/check.h - what the doors of the operators share: each kind says which description it takes and
 * what its tensors must look like; the looking is done here once.
 *
 * Floor:  op. May use chip, tensor, base.
 * Errors: MZ_EINVAL with operator, pass and argument named. */
#ifndef MZ_OP_CHECK_H
#define MZ_OP_CHECK_H

#include "op/op.h"

/* How a tensor may lie in its buffer. No layout lets two elements of a tensor share an address, but
 * for axes that may repeat. */
typedef enum mz_layout {
    MZ_DENSE,
    MZ_ROWS, /* last axis contiguous, other strides free */
    MZ_FREE  /* all strides free */
} mz_layout;

/* What one argument must be. Looked at only in the passes in which it has a role. */
typedef struct mz_want {
    const char *name;
    mz_dtype dtype;
    mz_layout layout;
    int rank;
    int64_t dim[MZ_RANK_MAX];
    unsigned repeats; /* bit i: stride[i] may be 0 */
} mz_want;

/* One call under check. A door sets is_idle if the call has nothing to write. */
typedef struct mz_call {
    const mz_desc *desc;
    mz_pass pass;
    size_t saved_bytes;
    const mz_args *args;
    bool is_idle;
    int n_aliases;
    struct {
        const char *out, *in;
    } alias[2];
} mz_call;

/* Each kind's door: the description alone, and the arguments of a call. */
#define MZ_DOOR(NAME, field)                                                                       \
    mz_err mz_door_##field##_desc(const mz_##field##_desc *d);                                     \
    mz_err mz_door_##field##_args(mz_call *c);
MZ_OP_LIST(MZ_DOOR)
#undef MZ_DOOR

/* ---- for descriptions ---- */
mz_err mz_need_float(mz_dtype dtype, const char *name);
mz_err mz_need_acc(mz_dtype dtype); /* f32 | f64 */
/* What a weight whose rows have `width` elements may be stored in; 0 is always right. */
mz_err mz_need_stored(mz_dtype stored, mz_dtype dtype, int64_t width, bool backward);
mz_err mz_need_in(int64_t x, int64_t least, int64_t most, const char *name);
/* The largest tensors of the operator must have an address: bytes of f64 that fit a size_t. */
mz_err mz_need_shape(int rank, const int64_t *dim);

/* ---- for arguments ---- */
/* NULL where the argument has no role in this pass or was not given. */
const mz_tensor *mz_call_arg(const mz_call *c, const char *name);
/* *n = dim `axis` of an argument of rank `rank` that must be there, checked to be 0..most. */
mz_err mz_call_dim(const mz_call *c, const char *name, int rank, int axis, int64_t most,
                   int64_t *n);
/* All arguments but `saved`, which needs no want of its own. */
mz_err mz_call_wants(const mz_call *c, const mz_want *wants, int n);
/* From here on `out` may be exactly the view `in`. */
void mz_call_may_alias(mz_call *c, const char *out, const char *in);
/* No output shares memory with another argument, but for the allowed pairs. */
mz_err mz_call_apart(const mz_call *c);
/* An argument that this description has no use for must not be given, lest it be ignored. */
mz_err mz_call_absent(const mz_call *c, const mz_tensor *t, const char *name);

#endif
