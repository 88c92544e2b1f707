/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/enqueue.c - on the caller's thread: copies a call into the ring, checks that its
 * buffers are alive, ours, large enough and not in use by another queue. What is wrong becomes a
 * fault of the next sync, and the command is dropped.
 *
 * Floor:  chips.   Time: nothing here allocates. */
#include "chips/far/state.h"

#include <string.h>

/* Another queue's use of the same bytes that was not synced, where one of the two writes. Device
 * locked. */
static bool is_in_conflict(const mz_far_queue *q, const mz_far_memory *m, mz_far_use use)
{
    const uint64_t others = m->touched & ~((uint64_t)1 << q->index);
    for (int i = 0; i < FAR_QUEUES && others >> i; i++) {
        const mz_far_queue *other = q->far->queue[i];
        if (!(others >> i & 1) || !other) continue;
        for (int k = 0; k < other->n_uses; k++) {
            const mz_far_use *u = &other->use[k];
            if (u->memory == m && (u->write || use.write) && u->low < use.high && use.low < u->high)
                return true;
        }
    }
    return false;
}

/* Remembers a use until the next sync. A full list forgets new ones: conflicts may then go
 * unnoticed, none is invented. Device locked. */
static void remember(mz_far_queue *q, mz_far_memory *m, mz_far_use use)
{
    m->touched |= (uint64_t)1 << q->index;
    for (int k = q->n_uses; k-- > 0 && k >= q->n_uses - 16;) {
        const mz_far_use *u = &q->use[k];
        if (u->memory == m && u->low <= use.low && u->high >= use.high && u->write >= use.write)
            return;
    }
    if (q->n_uses < FAR_USES) q->use[q->n_uses++] = use;
}

/* The live memory behind `owner` for bytes low..high, or NULL with the fault recorded. Device
 * locked. */
static mz_far_memory *claim(mz_far_queue *q, const mz_buffer *owner, mz_far_use use, const char *op,
                            const char *what)
{
    mz_far_memory *m = mz_far_find(q->far, owner);
    if (!m) {
        mz_far_fault(q, MZ_EINVAL, "%s: %s stands on a buffer that was freed or is not far's", op,
                     what);
        return NULL;
    }
    if (use.low > use.high || use.high > m->inner.bytes) {
        mz_far_fault(q, MZ_EINVAL, "%s: %s ends at byte %zu of a buffer of %zu", op, what, use.high,
                     m->inner.bytes);
        return NULL;
    }
    use.memory = m;
    if (is_in_conflict(q, m, use)) {
        mz_far_fault(q, MZ_EINVAL, "%s: %s is in use by another queue that was not synced", op,
                     what);
        return NULL;
    }
    remember(q, m, use);
    return m;
}

/* Copies view t into place i of the command. Device locked. */
static bool take_view(mz_far_queue *q, mz_far_command *c, int i, const mz_tensor *t, bool write,
                      const char *op, const char *what)
{
    c->view[i] = *t;
    c->view[i].buf = &q->far->nothing;
    c->present[i] = true;
    c->args.t[i] = &c->view[i];
    const size_t high = mz_extent_bytes(t);
    if (high == 0) return true;
    c->memory[i] = claim(
        q, t->buf, (mz_far_use){.low = t->offset_bytes, .high = high, .write = write}, op, what);
    if (!c->memory[i]) return false;
    c->view[i].buf = &c->memory[i]->inner;
    return true;
}

/* The computing chip is shown the part of `saved` that it asked for; the seal stands behind. */
static bool take_saved(mz_far_queue *q, mz_far_command *c, const char *op)
{
    const int i = c->op->saved;
    if (i < 0 || !c->present[i]) return true;
    mz_tensor *v = &c->view[i];
    if (v->rank != 1 || v->dtype != MZ_U8 || !mz_is_dense(v) ||
        (size_t)v->dim[0] < mz_far_sealed_bytes(c->op->inner_saved)) {
        mz_far_fault(q, MZ_EINVAL, "%s: saved is smaller than the operator asked for", op);
        return false;
    }
    v->dim[0] = (int64_t)c->op->inner_saved;
    if (!c->op->inner_saved) c->args.t[i] = NULL;
    return true;
}

static bool take_args(mz_far_queue *q, mz_far_command *c, const mz_desc *desc, const mz_args *args)
{
    const mz_op_signature *s = mz_op_signature_of(desc->kind);
    const mz_pass pass = c->verb == FAR_FORWARD ? MZ_FORWARD : MZ_BACKWARD;
    const size_t workspace = mz_far_fenced_bytes(c->op->inner.support.workspace_bytes);
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const unsigned role = mz_arg_role(desc, pass, i);
        c->args.t[i] = NULL;
        if (!(role & MZ_ARG_INOUT) || !args->t[i]) continue;
        if (!take_view(q, c, i, args->t[i], role & MZ_ARG_OUT, s->name, s->arg[i].name))
            return false;
    }
    if (workspace) {
        c->workspace = claim(q, q->outer->workspace, (mz_far_use){.high = workspace, .write = true},
                             s->name, "the workspace");
        if (!c->workspace) return false;
    }
    return take_saved(q, c, s->name);
}

static mz_err run(mz_op *op, mz_far_verb verb, const mz_args *args)
{
    mz_far_queue *q = op->queue->state;
    mz_far_op *fo = op->state;
    MZ_NEED(verb == FAR_FORWARD || fo->inner.slot->backward, "%s has no backward pass",
            mz_op_name(op->desc.kind));
    mz_far_command *c = mz_far_reserve(q);
    c->verb = verb;
    c->op = fo;
    c->args = *args;
    if (op->desc.kind == MZ_OP_ATTENTION && args->k.attention.cu_host && args->attention.cu)
        c->hash = mz_far_hash(0, args->k.attention.cu_host,
                              (size_t)args->attention.cu->dim[0] * sizeof(int32_t));
    pthread_mutex_lock(&q->far->lock);
    const bool ok = take_args(q, c, &op->desc, args);
    pthread_mutex_unlock(&q->far->lock);
    if (ok) mz_far_commit(q, c);
    return MZ_OK;
}

mz_err mz_far_run_forward(mz_op *op, const mz_args *args)
{
    return run(op, FAR_FORWARD, args);
}

mz_err mz_far_run_backward(mz_op *op, const mz_args *args)
{
    return run(op, FAR_BACKWARD, args);
}

/* One side of a copy. */
static bool take_bytes(mz_far_queue *q, mz_far_command *c, int i, const mz_buffer *owner,
                       size_t offset, const char *op)
{
    const bool write = i == 0 && c->verb != FAR_DOWNLOAD;
    c->offset[i] = offset;
    pthread_mutex_lock(&q->far->lock);
    c->memory[i] =
        claim(q, owner, (mz_far_use){.low = offset, .high = offset + c->bytes, .write = write}, op,
              i == 0 && write ? "the target" : "the source");
    pthread_mutex_unlock(&q->far->lock);
    return c->memory[i] != NULL;
}

mz_err mz_far_upload(mz_queue *outer, mz_buffer *dst, size_t offset, const void *host, size_t bytes)
{
    mz_far_queue *q = outer->state;
    mz_far_command *c = mz_far_reserve(q);
    c->verb = FAR_UPLOAD;
    c->from = host;
    c->bytes = bytes;
    c->hash = mz_far_hash(0, host, bytes);
    if (take_bytes(q, c, 0, dst, offset, "upload")) mz_far_commit(q, c);
    return MZ_OK;
}

mz_err mz_far_download(mz_queue *outer, void *host, const mz_buffer *src, size_t offset,
                       size_t bytes)
{
    mz_far_queue *q = outer->state;
    mz_far_command *c = mz_far_reserve(q);
    c->verb = FAR_DOWNLOAD;
    c->to = host;
    c->bytes = bytes;
    memset(host, FAR_NAN_BYTE, bytes); /* whoever reads before the sync finds NaN */
    if (take_bytes(q, c, 0, src, offset, "download")) mz_far_commit(q, c);
    return MZ_OK;
}

mz_err mz_far_copy(mz_queue *outer, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes)
{
    mz_far_queue *q = outer->state;
    mz_far_command *c = mz_far_reserve(q);
    c->verb = FAR_COPY;
    c->bytes = bytes;
    if (take_bytes(q, c, 0, dst, dst_offset, "copy") &&
        take_bytes(q, c, 1, src, src_offset, "copy"))
        mz_far_commit(q, c);
    return MZ_OK;
}

mz_err mz_far_zero(mz_queue *outer, mz_buffer *dst, size_t offset, size_t bytes)
{
    mz_far_queue *q = outer->state;
    mz_far_command *c = mz_far_reserve(q);
    c->verb = FAR_ZERO;
    c->bytes = bytes;
    if (take_bytes(q, c, 0, dst, offset, "zero")) mz_far_commit(q, c);
    return MZ_OK;
}

static mz_err repack(mz_queue *outer, mz_far_verb verb, const mz_matmul_desc *desc,
                     const mz_tensor *to, const mz_tensor *from)
{
    mz_far_queue *q = outer->state;
    mz_far_command *c = mz_far_reserve(q);
    const char *name = verb == FAR_PACK ? "pack" : "unpack";
    c->verb = verb;
    c->matmul = *desc;
    pthread_mutex_lock(&q->far->lock);
    const bool ok = take_view(q, c, 0, to, true, name, "the target") &&
                    take_view(q, c, 1, from, false, name, "the source");
    pthread_mutex_unlock(&q->far->lock);
    if (ok) mz_far_commit(q, c);
    return MZ_OK;
}

mz_err mz_far_pack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain)
{
    return repack(q, FAR_PACK, desc, packed, plain);
}

mz_err mz_far_unpack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed)
{
    return repack(q, FAR_UNPACK, desc, plain, packed);
}
