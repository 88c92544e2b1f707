/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/queue.c - a stream, and copies through pinned memory.
 *
 * Only copies from and to pinned memory run beside the host. Uploads are written into the queue's
 * pinned block at once; downloads land there and are handed on by the next sync. A copy too large
 * for the block goes directly, and the runtime waits for it.
 *
 * Floor:  chips.   Time: a sync waits at most chip->wait_ms. */
#include "base/mem.h"
#include "chips/ascend/group.h"

#include <string.h>

static mz_ascend_queue *queue_of(const mz_queue *q)
{
    return q->state;
}

static unsigned char *address(const mz_buffer *buf, size_t offset)
{
    return (unsigned char *)buf->handle + offset;
}

/* ---- opening, closing ---- */

mz_err mz_ascend_queue_open(mz_queue *outer)
{
    mz_ascend *chip = outer->device->state;
    mz_ascend_queue *q = NULL;
    void *pinned = NULL;
    MZ_TRY(mz_ascend_here(chip));
    MZ_TRY(mz_mem_new(&q, 1, sizeof *q));
    q->chip = chip;
    int code = chip->acl->aclrtMallocHost(&pinned, MZ_ASCEND_STAGE);
    if (code != 0) {
        mz_mem_free(q);
        return mz_ascend_fail(chip, code, "aclrtMallocHost");
    }
    q->pinned = pinned;
    code = chip->acl->aclrtCreateStream(&q->stream);
    if (code != 0) {
        (void)chip->acl->aclrtFreeHost(pinned);
        mz_mem_free(q);
        return mz_ascend_fail(chip, code, "aclrtCreateStream");
    }
    outer->state = q;
    return MZ_OK;
}

static int wait(mz_ascend_queue *q)
{
    const int code = q->chip->acl->aclrtSynchronizeStreamWithTimeout(
        q->stream, q->is_stuck ? 1 : q->chip->wait_ms);
    q->is_stuck = code == ACL_ERROR_RT_STREAM_SYNC_TIMEOUT;
    return code;
}

void mz_ascend_queue_close(mz_queue *outer)
{
    mz_ascend_queue *q = queue_of(outer);
    const mz_acl *acl = q->chip->acl;
    (void)acl->aclrtSetCurrentContext(q->chip->context);
    const int code = wait(q);
    mz_ascend_group_leave(q);
    if (code == 0)
        (void)acl->aclrtDestroyStream(q->stream);
    else
        (void)acl->aclrtDestroyStreamForce(q->stream); /* the other one would wait */
    if (q->spare) (void)acl->aclrtFree(q->spare);
    (void)acl->aclrtFreeHost(q->pinned);
    mz_mem_free(q);
}

/* ---- waiting ---- */

static void add_counts(mz_ascend_queue *q)
{
    mz_ascend_counts *sum = &q->chip->counts;
    pthread_mutex_lock(&q->chip->lock);
    sum->calls += q->counts.calls;
    sum->bytes_up += q->counts.bytes_up;
    sum->bytes_down += q->counts.bytes_down;
    sum->grown += q->counts.grown;
    sum->flop += q->counts.flop;
    sum->bytes_group += q->counts.bytes_group;
    pthread_mutex_unlock(&q->chip->lock);
    q->counts = (mz_ascend_counts){0};
}

mz_err mz_ascend_drain(mz_ascend_queue *q)
{
    const int code = wait(q);
    const int n = q->n_landings;
    q->n_landings = 0;
    q->pinned_used = 0;
    add_counts(q);
    const bool had_collective = q->has_collective;
    q->has_collective = false;
    const mz_err err =
        code == 0 ? MZ_OK : mz_ascend_fail(q->chip, code, "aclrtSynchronizeStreamWithTimeout");
    if (had_collective) MZ_TRY(mz_ascend_group_fail(q, err));
    MZ_TRY(err);
    for (int i = 0; i < n; i++)
        memcpy(q->landing[i].host, q->landing[i].pinned, q->landing[i].bytes);
    return MZ_OK;
}

mz_err mz_ascend_queue_sync(mz_queue *outer)
{
    mz_ascend_queue *q = queue_of(outer);
    MZ_TRY(mz_ascend_here(q->chip));
    return mz_ascend_drain(q);
}

/* ---- copies ---- */

static mz_err copy(mz_ascend_queue *q, void *dst, const void *src, size_t bytes,
                   aclrtMemcpyKind kind)
{
    const int code = q->chip->acl->aclrtMemcpyAsync(dst, bytes, src, bytes, kind, q->stream);
    return code == 0 ? MZ_OK : mz_ascend_fail(q->chip, code, "aclrtMemcpyAsync");
}

mz_err mz_ascend_read_ids(mz_ascend_queue *q, const mz_tensor *t, int64_t count)
{
    const size_t bytes = (size_t)count * sizeof(int32_t);
    MZ_NEED(bytes <= MZ_ASCEND_STAGE, "more than %d sequences in a call",
            (int)(MZ_ASCEND_STAGE / sizeof(int32_t)));
    MZ_TRY(mz_ascend_drain(q));
    MZ_TRY(copy(q, q->pinned, address(t->buf, t->offset_bytes), bytes, ACL_MEMCPY_DEVICE_TO_HOST));
    return mz_ascend_drain(q);
}

/* Room in the pinned block, after a sync if need be; NULL for what is too large for it. */
static mz_err stage(mz_ascend_queue *q, size_t bytes, unsigned char **room)
{
    const size_t aligned = (bytes + 63) / 64 * 64;
    *room = NULL;
    if (aligned > MZ_ASCEND_STAGE) return MZ_OK;
    if (aligned > MZ_ASCEND_STAGE - q->pinned_used || q->n_landings == MZ_ASCEND_LANDINGS)
        MZ_TRY(mz_ascend_drain(q));
    *room = q->pinned + q->pinned_used;
    q->pinned_used += aligned;
    return MZ_OK;
}

mz_err mz_ascend_upload(mz_queue *outer, mz_buffer *dst, size_t offset, const void *host,
                        size_t bytes)
{
    mz_ascend_queue *q = queue_of(outer);
    unsigned char *room = NULL;
    MZ_TRY(mz_ascend_here(q->chip));
    MZ_TRY(stage(q, bytes, &room));
    if (room) memcpy(room, host, bytes);
    q->counts.bytes_up += (int64_t)bytes;
    return copy(q, address(dst, offset), room ? room : host, bytes, ACL_MEMCPY_HOST_TO_DEVICE);
}

mz_err mz_ascend_download(mz_queue *outer, void *host, const mz_buffer *src, size_t offset,
                          size_t bytes)
{
    mz_ascend_queue *q = queue_of(outer);
    unsigned char *room = NULL;
    MZ_TRY(mz_ascend_here(q->chip));
    MZ_TRY(stage(q, bytes, &room));
    q->counts.bytes_down += (int64_t)bytes;
    MZ_TRY(copy(q, room ? room : host, address(src, offset), bytes, ACL_MEMCPY_DEVICE_TO_HOST));
    if (room) q->landing[q->n_landings++] = (mz_ascend_landing){host, room, bytes};
    return MZ_OK;
}

mz_err mz_ascend_copy(mz_queue *outer, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                      size_t src_offset, size_t bytes)
{
    mz_ascend_queue *q = queue_of(outer);
    MZ_TRY(mz_ascend_here(q->chip));
    return copy(q, address(dst, dst_offset), address(src, src_offset), bytes,
                ACL_MEMCPY_DEVICE_TO_DEVICE);
}

mz_err mz_ascend_zero(mz_queue *outer, mz_buffer *dst, size_t offset, size_t bytes)
{
    mz_ascend_queue *q = queue_of(outer);
    MZ_TRY(mz_ascend_here(q->chip));
    const int code =
        q->chip->acl->aclrtMemsetAsync(address(dst, offset), bytes, 0, bytes, q->stream);
    return code == 0 ? MZ_OK : mz_ascend_fail(q->chip, code, "aclrtMemsetAsync");
}
