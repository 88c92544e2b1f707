/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/npu.c - views of device memory, scratch, descriptors, and both phases of a call.
 * Floor: chips. */
#include "chips/ascend/npu.h"

#include "base/size.h"
#include "chips/ascend/map.h"
#include "chips/ascend/state.h"

enum { ALIGN = 64, TAIL = 32, ADDRESS = 32, WORKSPACE_ALIGN = 512 };

static size_t bytes_of(aclDataType type)
{
    switch (type) {
    case ACL_BOOL:
    case ACL_UINT8:
    case ACL_INT8:
        return 1;
    case ACL_FLOAT16:
    case ACL_BF16:
        return 2;
    case ACL_INT64:
        return 8;
    default:
        return 4;
    }
}

static aclDataType type_of(mz_dtype d)
{
    if (d == MZ_F32) return ACL_FLOAT;
    if (d == MZ_BF16) return ACL_BF16;
    if (d == MZ_F16) return ACL_FLOAT16;
    return d == MZ_I32 ? ACL_INT32 : ACL_UINT8;
}

/* ---- views ---- */

mz_nv mz_nv_of(const mz_tensor *t)
{
    mz_nv v = {.base = NULL};
    if (!t || !t->buf) return v;
    v.type = type_of(t->dtype);
    v.base = t->buf->handle;
    v.at = (int64_t)(t->offset_bytes / bytes_of(v.type));
    v.rank = t->rank;
    for (int i = 0; i < t->rank; i++) {
        v.dim[i] = t->dim[i];
        v.stride[i] = t->stride[i];
    }
    return v;
}

int64_t mz_nv_count(const mz_nv *v)
{
    int64_t n = v->base ? 1 : 0;
    for (int i = 0; i < v->rank; i++) n *= v->dim[i];
    return n;
}

mz_nv mz_nv_swap(mz_nv v, int i, int j)
{
    const int64_t dim = v.dim[i], stride = v.stride[i];
    v.dim[i] = v.dim[j];
    v.stride[i] = v.stride[j];
    v.dim[j] = dim;
    v.stride[j] = stride;
    return v;
}

mz_nv mz_nv_shape(mz_nv v, int rank, const int64_t *dim)
{
    int64_t stride = 1;
    v.rank = rank;
    for (int i = rank - 1; i >= 0; i--) {
        v.dim[i] = dim[i];
        v.stride[i] = stride;
        stride *= dim[i] > 0 ? dim[i] : 1;
    }
    return v;
}

bool mz_nv_is_dense(const mz_nv *v)
{
    int64_t stride = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        if (v->dim[i] > 1 && v->stride[i] != stride) return false;
        stride *= v->dim[i];
    }
    return true;
}

mz_nv mz_nv_insert(mz_nv v, int axis, int64_t n)
{
    for (int i = v.rank; i > axis; i--) {
        v.dim[i] = v.dim[i - 1];
        v.stride[i] = v.stride[i - 1];
    }
    v.dim[axis] = n;
    v.stride[axis] = 0;
    v.rank++;
    return v;
}

mz_nv mz_nv_slice(mz_nv v, int axis, int64_t start, int64_t count)
{
    v.at += start * v.stride[axis];
    v.dim[axis] = count;
    return v;
}

/* A piece of a larger block begins at a multiple of 64 and ends 32 bytes early, as CANN asks. */
mz_nv mz_npu_new(mz_npu *n, aclDataType type, int rank, const int64_t *dim)
{
    const mz_nv v = mz_nv_shape((mz_nv){.base = n->scratch, .type = type}, rank, dim);
    size_t count = 0, bytes = 0, end = 0;
    if (n->err != MZ_OK) return v;
    if (!mz_i64_to_size(mz_nv_count(&v), &count) || !mz_mul(count, bytes_of(type), &bytes) ||
        !mz_add(bytes, TAIL + n->used, &end) || !mz_align_up(end, ALIGN, &end)) {
        n->err = MZ_FAIL(MZ_EINVAL, "an operator's scratch is too large");
        return v;
    }
    if (n->queue && end > n->room) {
        n->err = MZ_FAIL(MZ_EINVAL, "an operator wants %zu bytes of scratch where %zu were booked",
                         end, n->room);
        return v;
    }
    mz_nv made = v;
    if (n->queue) made.base = n->scratch + n->used;
    n->used = end;
    if (end > n->most) n->most = end;
    return made;
}

/* ---- descriptors ---- */

/* Elements from the first to the last of a view, which are not all its own. */
static int64_t extent_of(const mz_nv *v)
{
    int64_t last = 0;
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] > 0) last += (v->dim[i] - 1) * v->stride[i];
    return last + 1;
}

static mz_err no_descriptor(const mz_npu *n)
{
    (void)n;
    return MZ_FAIL(MZ_ENOMEM, "CANN makes no descriptor of an operator's argument");
}

/* The address must be a multiple of 32 bytes: what lies behind it is the view's offset. */
aclTensor *mz_npu_t(mz_npu *n, const mz_nv *v)
{
    if (!v->base || n->err != MZ_OK) return NULL;
    const size_t size = bytes_of(v->type);
    unsigned char *first = v->base + (size_t)v->at * size;
    const size_t behind = n->queue ? (size_t)((uintptr_t)first % ADDRESS) : 0;
    const int64_t offset = (int64_t)(behind / size), storage = offset + extent_of(v);
    if (n->n_tensors == MZ_NPU_OBJECTS) {
        n->err = MZ_FAIL(MZ_EINVAL, "a call with too many tensors");
        return NULL;
    }
    aclTensor *t = mz_npu_acl(n)->aclCreateTensor(v->dim, (uint64_t)v->rank, v->type, v->stride,
                                                  offset, ACL_FORMAT_ND, &storage, 1,
                                                  n->queue ? first - behind : v->base);
    if (!t)
        n->err = no_descriptor(n);
    else
        n->tensor[n->n_tensors++] = t;
    return t;
}

static aclScalar *keep_scalar(mz_npu *n, aclScalar *s)
{
    if (s && n->n_scalars < MZ_NPU_OBJECTS) return n->scalar[n->n_scalars++] = s, s;
    n->err = no_descriptor(n);
    return NULL;
}

aclScalar *mz_npu_s(mz_npu *n, double x, aclDataType type)
{
    if (n->err != MZ_OK) return NULL;
    int32_t whole = (int32_t)x;
    float real = (float)x;
    if (type == ACL_INT32) return keep_scalar(n, mz_npu_acl(n)->aclCreateScalar(&whole, type));
    return keep_scalar(n, mz_npu_acl(n)->aclCreateScalar(&real, ACL_FLOAT));
}

aclIntArray *mz_npu_i(mz_npu *n, const int64_t *v, int64_t count)
{
    if (n->err != MZ_OK) return NULL;
    aclIntArray *a = mz_npu_acl(n)->aclCreateIntArray(v, (uint64_t)count);
    if (a && n->n_arrays < MZ_NPU_OBJECTS) return n->array[n->n_arrays++] = a, a;
    n->err = no_descriptor(n);
    return NULL;
}

/* A list takes its tensor over. */
aclTensorList *mz_npu_l(mz_npu *n, const mz_nv *v)
{
    const aclTensor *t = mz_npu_t(n, v);
    if (!t) return NULL;
    aclTensorList *l =
        n->n_lists < MZ_NPU_OBJECTS ? mz_npu_acl(n)->aclCreateTensorList(&t, 1) : NULL;
    if (!l) return n->err = no_descriptor(n), NULL;
    n->list[n->n_lists++] = l;
    n->n_tensors--;
    return l;
}

/* CANN lets go of descriptors as soon as phase 2 returned. */
static void drop(mz_npu *n)
{
    const mz_acl *acl = mz_npu_acl(n);
    while (n->n_tensors > 0) (void)acl->aclDestroyTensor(n->tensor[--n->n_tensors]);
    while (n->n_scalars > 0) (void)acl->aclDestroyScalar(n->scalar[--n->n_scalars]);
    while (n->n_arrays > 0) (void)acl->aclDestroyIntArray(n->array[--n->n_arrays]);
    while (n->n_lists > 0) (void)acl->aclDestroyTensorList(n->list[--n->n_lists]);
}

/* ---- calls ---- */

const mz_acl *mz_npu_acl(const mz_npu *n)
{
    return n->chip->acl;
}

bool mz_npu_begin(mz_npu *n, const char *name, bool is_there)
{
    if (n->err != MZ_OK) return false;
    if (!n->queue && !mz_ascend_row_has(n->row, name)) {
        n->err = MZ_FAIL(MZ_EINVAL, "the operator map does not name %s", name);
        return false;
    }
    if (is_there) return true;
    n->err = MZ_FAIL(MZ_ENOTSUP, "CANN's operator libraries have no %s", name);
    mz_note_fix("install CANN 8.1 or newer with the operators of this chip");
    return false;
}

/* Without phase 2 nobody would free an executor, but one that may be used again is its caller's. */
static void book(mz_npu *n, size_t workspace, aclOpExecutor *executor)
{
    size_t at = 0, end = 0;
    (void)mz_npu_acl(n)->aclSetAclOpExecutorRepeatable(executor);
    (void)mz_npu_acl(n)->aclDestroyAclOpExecutor(executor);
    if (!workspace) return;
    if (!mz_align_up(n->used, WORKSPACE_ALIGN, &at) || !mz_add(at, workspace, &end) ||
        !mz_add(end, TAIL, &end)) {
        n->err = MZ_FAIL(MZ_ENOMEM, "an operator of CANN's wants %zu bytes", workspace);
        return;
    }
    if (end > n->most) n->most = end;
}

/* A smaller shape may want more than the largest did: then the queue keeps a block for such. */
static mz_err grow_spare(mz_npu *n, size_t bytes)
{
    mz_ascend_queue *q = n->queue;
    const mz_acl *acl = mz_npu_acl(n);
    if (bytes <= q->spare_bytes) return MZ_OK;
    MZ_TRY(mz_ascend_drain(q));
    if (q->spare) (void)acl->aclrtFree(q->spare);
    q->spare = NULL;
    q->spare_bytes = 0;
    const int code = acl->aclrtMalloc(&q->spare, bytes, ACL_MEM_MALLOC_HUGE_FIRST);
    if (code != 0) return q->spare = NULL, mz_ascend_fail(q->chip, code, "aclrtMalloc");
    q->spare_bytes = bytes;
    q->counts.grown++;
    return MZ_OK;
}

static mz_err find_workspace(mz_npu *n, size_t bytes, void **workspace)
{
    size_t at = 0, end = 0;
    *workspace = NULL;
    if (!bytes) return MZ_OK;
    if (mz_align_up(n->used, WORKSPACE_ALIGN, &at) && mz_add(at, bytes, &end) && end <= n->room)
        return *workspace = n->scratch + at, MZ_OK;
    MZ_TRY(grow_spare(n, bytes));
    *workspace = n->queue->spare;
    return MZ_OK;
}

static void launch(mz_npu *n, const char *name, size_t bytes, aclOpExecutor *executor,
                   mz_aclnn_run *run)
{
    void *workspace = NULL;
    n->err = find_workspace(n, bytes, &workspace);
    if (n->err != MZ_OK) return;
    const int code = run(workspace, bytes, executor, n->queue->stream);
    if (code != 0)
        n->err = mz_ascend_fail(n->chip, code, name);
    else
        n->queue->counts.calls++;
}

/* While planning, what phase 1 refuses is what the device does not have; what fails in the runtime
 * below it is no refusal. */
static mz_err refused(const mz_npu *n, int code, const char *name)
{
    enum { ARGUMENTS = 161, KERNELS = 561 }; /* thousands of aclnn's own codes */
    const bool is_own = code / 1000 == ARGUMENTS || code / 1000 == KERNELS;
    if (n->queue || !is_own) return mz_ascend_fail(n->chip, code, name);
    (void)mz_acl_fail(mz_npu_acl(n), code, name);
    return MZ_FAIL(MZ_ENOTSUP, "%.300s", mz_err_last()->message);
}

void mz_npu_finish(mz_npu *n, const char *name, int code, uint64_t workspace,
                   aclOpExecutor *executor, mz_aclnn_run *run)
{
    if (n->err == MZ_OK && code != 0)
        n->err = refused(n, code, name);
    else if (n->err == MZ_OK && n->queue)
        launch(n, name, (size_t)workspace, executor, run);
    else if (code == 0)
        book(n, (size_t)workspace, executor);
    drop(n);
}
