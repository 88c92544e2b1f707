/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/execute.c - on the worker: one command after the other.
 *
 * Host memory of copies is reached through pread and pwrite on the memory file: where the caller
 * has unmapped it already, the system says so instead of ending the process.
 *
 * Floor:  chips.   Time: nothing here allocates, and the computing chip must not either. */
#include "base/mem.h"
#include "chips/far/state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

size_t mz_far_fenced_bytes(size_t bytes)
{
    return bytes ? (bytes + FAR_FENCE - 1) / FAR_FENCE * FAR_FENCE + FAR_FENCE : 0;
}

static mz_pass pass_of(const mz_far_command *c)
{
    return c->verb == FAR_FORWARD ? MZ_FORWARD : MZ_BACKWARD;
}

static const char *verb_name(mz_far_verb verb)
{
    static const char *const name[] = {"forward", "backward", "upload", "download",
                                       "copy",    "zero",     "pack",   "unpack"};
    return name[verb];
}

/* Free waits for this command, but what it would compute is no longer anybody's. */
static bool is_freed(mz_far_queue *q, const mz_far_command *c)
{
    bool freed = false;
    pthread_mutex_lock(&q->far->lock);
    for (int i = 0; i < MZ_ARGS_MAX; i++) freed = freed || (c->memory[i] && c->memory[i]->freed);
    freed = freed || (c->workspace && c->workspace->freed);
    pthread_mutex_unlock(&q->far->lock);
    return freed;
}

static unsigned char *bytes_of(const mz_far_command *c, int i)
{
    return (unsigned char *)c->memory[i]->inner.host + c->offset[i];
}

static off_t file_offset(const mz_far_command *c, int i)
{
    return c->memory[i]->at + (off_t)(bytes_of(c, i) - c->memory[i]->room);
}

static bool overlap(const mz_far_command *c, int a, int b)
{
    return c->memory[a] == c->memory[b] && c->memory[a] &&
           c->view[a].offset_bytes < mz_extent_bytes(&c->view[b]) &&
           c->view[b].offset_bytes < mz_extent_bytes(&c->view[a]);
}

static void fill_piece(void *user, unsigned char *piece, size_t bytes)
{
    memset(piece, *(const int *)user, bytes);
}

static void poison(const mz_tensor *view)
{
    const bool is_number = !mz_dtype_is_float(view->dtype) && view->dtype != MZ_U8;
    int byte = is_number ? FAR_INT_BYTE : FAR_NAN_BYTE;
    mz_far_each_piece(view, fill_piece, &byte);
}

/* Fills what the operator promises to overwrite, unless the same bytes are read too. */
static void poison_outputs(const mz_far_command *c)
{
    const mz_desc *desc = &c->op->inner.desc;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const unsigned role = mz_arg_role(desc, pass_of(c), i);
        if (!c->memory[i] || (role & MZ_ARG_INOUT) != MZ_ARG_OUT || (role & MZ_ARG_PARTIAL))
            continue;
        bool is_read = false;
        for (int j = 0; j < MZ_ARGS_MAX; j++)
            if (j != i && c->memory[j] && (mz_arg_role(desc, pass_of(c), j) & MZ_ARG_IN))
                is_read = is_read || overlap(c, i, j);
        if (!is_read) poison(&c->view[i]);
    }
}

static void spoil_outputs(const mz_far_command *c)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (c->memory[i] && (mz_arg_role(&c->op->inner.desc, pass_of(c), i) & MZ_ARG_OUT))
            poison(&c->view[i]);
}

/* The operator's share is the front of the block, as chip.h says: what stands behind may belong to
 * a composition. It holds NaN, and canaries up to the end of what far booked for it. */
static void lend_workspace(mz_far_queue *q, const mz_far_command *c)
{
    q->inner->workspace = NULL;
    if (!c->workspace) return;
    const mz_buffer *whole = &c->workspace->inner;
    const size_t bytes = c->op->inner.support.workspace_bytes;
    unsigned char *share = whole->host;
    memset(share, FAR_NAN_BYTE, bytes);
    memset(share + bytes, FAR_CANARY, mz_far_fenced_bytes(bytes) - bytes);
    q->workspace = (mz_buffer){
        .device = whole->device, .bytes = bytes, .host = whole->host, .handle = whole->host};
    q->inner->workspace = &q->workspace;
}

static bool is_fence_whole(const mz_far_command *c)
{
    if (!c->workspace) return true;
    const unsigned char *share = c->workspace->inner.host;
    size_t i = c->op->inner.support.workspace_bytes;
    const size_t end = mz_far_fenced_bytes(i);
    while (i < end && share[i] == FAR_CANARY) i++;
    return i == end;
}

static void run_op(mz_far_queue *q, const mz_far_command *c)
{
    mz_far_op *fo = c->op;
    const char *name = mz_op_name(fo->inner.desc.kind), *verb = verb_name(c->verb);
    const bool has_saved = fo->saved >= 0 && c->present[fo->saved];
    const char *broken = c->verb == FAR_BACKWARD && has_saved ? mz_far_check_seal(c) : NULL;
    if (broken) {
        mz_far_fault(q, MZ_EINVAL, "%s %s: %s", name, verb, broken);
        spoil_outputs(c);
        return;
    }
    poison_outputs(c);
    lend_workspace(q, c);
    const mz_slot *slot = fo->inner.slot;
    mz_guard_enter();
    mz_err err = (c->verb == FAR_FORWARD ? slot->forward : slot->backward)(&fo->inner, &c->args);
    if (err == MZ_OK) err = q->inner->chip->queue_sync(q->inner);
    mz_guard_leave();
    q->inner->workspace = NULL;
    if (!is_fence_whole(c))
        mz_far_fault(q, MZ_ECHIP, "%s %s: wrote behind the workspace it asked for", name, verb);
    if (err != MZ_OK) {
        mz_far_fault(q, MZ_ECHIP, "%s %s: %s", name, verb, mz_err_last()->message);
        spoil_outputs(c);
    } else if (c->verb == FAR_FORWARD && has_saved) {
        mz_far_seal(c);
    }
    const mz_args *a = &c->args;
    if (fo->inner.desc.kind == MZ_OP_ATTENTION && a->k.attention.cu_host && a->attention.cu &&
        c->hash != mz_far_hash(0, a->k.attention.cu_host,
                               (size_t)a->attention.cu->dim[0] * sizeof(int32_t)))
        mz_far_fault(q, MZ_EINVAL, "attention %s: cu_host changed before it ran", verb);
}

/* All of the command's bytes between host memory and the memory file, or false with errno. */
static bool move(const mz_far_queue *q, const mz_far_command *c)
{
    for (size_t n = 0; n < c->bytes;) {
        const off_t at = file_offset(c, 0) + (off_t)n;
        const ssize_t moved =
            c->verb == FAR_UPLOAD
                ? pwrite(q->far->memfd, (const unsigned char *)c->from + n, c->bytes - n, at)
                : pread(q->far->memfd, (unsigned char *)c->to + n, c->bytes - n, at);
        if (moved < 0 && errno == EINTR) continue;
        if (moved <= 0) return false;
        n += (size_t)moved;
    }
    return true;
}

static void run_move(mz_far_queue *q, const mz_far_command *c)
{
    if (!move(q, c))
        mz_far_fault(q, errno == EFAULT ? MZ_EINVAL : MZ_ECHIP, "%s: host memory at %s: %s",
                     verb_name(c->verb), c->verb == FAR_UPLOAD ? "the source" : "the target",
                     strerror(errno));
    else if (c->verb == FAR_UPLOAD && mz_far_hash(0, bytes_of(c, 0), c->bytes) != c->hash)
        mz_far_fault(q, MZ_EINVAL, "upload: host memory changed before the sync");
}

static void run_repack(mz_far_queue *q, const mz_far_command *c)
{
    const mz_chip *chip = q->inner->chip;
    if (c->memory[0]) poison(&c->view[0]);
    mz_guard_enter();
    mz_err err = (c->verb == FAR_PACK ? chip->pack : chip->unpack)(q->inner, &c->matmul,
                                                                   &c->view[0], &c->view[1]);
    if (err == MZ_OK) err = chip->queue_sync(q->inner);
    mz_guard_leave();
    if (err != MZ_OK)
        mz_far_fault(q, MZ_ECHIP, "%s: %s", verb_name(c->verb), mz_err_last()->message);
}

void mz_far_execute(mz_far_queue *q, mz_far_command *c)
{
    if (is_freed(q, c)) return; /* free has reported it */
    switch (c->verb) {
    case FAR_FORWARD:
    case FAR_BACKWARD:
        run_op(q, c);
        return;
    case FAR_UPLOAD:
    case FAR_DOWNLOAD:
        run_move(q, c);
        return;
    case FAR_COPY:
        memmove(bytes_of(c, 0), bytes_of(c, 1), c->bytes);
        return;
    case FAR_ZERO:
        memset(bytes_of(c, 0), 0, c->bytes);
        return;
    case FAR_PACK:
    case FAR_UNPACK:
        run_repack(q, c);
        return;
    }
}
