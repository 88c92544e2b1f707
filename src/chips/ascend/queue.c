/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/queue.c - a stream, and copies through pinned memory.
 *
 * Only copies from and to pinned memory run beside the host. Uploads are written into it at once,
 * part after part; an event says when the device has read a part, which is waited for only where
 * the host is a round ahead of it. Downloads land there and are handed on by the next sync; one too
 * large goes directly, and the runtime waits for it.
 *
 * Floor:  chips.   Time: a wait takes at most chip->wait_ms. */
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

static unsigned char *landing_room(const mz_ascend_queue *q)
{
    return q->pinned + MZ_ASCEND_STAGE;
}

/* ---- opening, closing ---- */

static mz_err check(mz_ascend_queue *q, int code, const char *call)
{
    return code == 0 ? MZ_OK : mz_ascend_fail(q->chip, code, call);
}

static mz_err build(mz_ascend_queue *q)
{
    const mz_acl *acl = q->chip->acl;
    void *pinned = NULL;
    MZ_TRY(check(q, acl->aclrtMallocHost(&pinned, (size_t)2 * MZ_ASCEND_STAGE), "aclrtMallocHost"));
    q->pinned = pinned;
    for (int i = 0; i < MZ_ASCEND_PARTS; i++)
        MZ_TRY(check(q, acl->aclrtCreateEventExWithFlag(&q->left[i], ACL_EVENT_SYNC),
                     "aclrtCreateEventExWithFlag"));
    return check(q, acl->aclrtCreateStream(&q->stream), "aclrtCreateStream");
}

static void free_queue(mz_ascend_queue *q)
{
    const mz_acl *acl = q->chip->acl;
    for (int i = 0; i < MZ_ASCEND_PARTS; i++)
        if (q->left[i]) (void)acl->aclrtDestroyEvent(q->left[i]);
    if (q->spare) (void)acl->aclrtFree(q->spare);
    if (q->pinned) (void)acl->aclrtFreeHost(q->pinned);
    mz_mem_free(q);
}

mz_err mz_ascend_queue_open(mz_queue *outer)
{
    mz_ascend *chip = outer->device->state;
    mz_ascend_queue *q = NULL;
    MZ_TRY(mz_ascend_here(chip));
    MZ_TRY(mz_mem_new(&q, 1, sizeof *q));
    q->chip = chip;
    const mz_err err = build(q);
    if (err != MZ_OK) {
        free_queue(q);
        return err;
    }
    outer->state = q;
    outer->takes_uploads = true;
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
    free_queue(q);
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
    q->landed = q->part_used = 0;
    memset(q->is_left, 0, sizeof q->is_left);
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

mz_err mz_ascend_read_ids(mz_ascend_queue *q, const mz_tensor *t, int64_t count,
                          const int32_t **ids)
{
    const size_t bytes = (size_t)count * sizeof(int32_t);
    MZ_NEED(bytes <= MZ_ASCEND_STAGE, "more than %d sequences in a call",
            (int)(MZ_ASCEND_STAGE / sizeof(int32_t)));
    MZ_TRY(mz_ascend_drain(q));
    MZ_TRY(copy(q, landing_room(q), address(t->buf, t->offset_bytes), bytes,
                ACL_MEMCPY_DEVICE_TO_HOST));
    *ids = (const int32_t *)(const void *)landing_room(q);
    return mz_ascend_drain(q);
}

/* On to the next part, which the device may still read from. */
static mz_err next_part(mz_ascend_queue *q)
{
    const mz_acl *acl = q->chip->acl;
    aclrtEventRecordedStatus status = ACL_EVENT_RECORDED_STATUS_COMPLETE;
    MZ_TRY(check(q, acl->aclrtRecordEvent(q->left[q->part], q->stream), "aclrtRecordEvent"));
    q->is_left[q->part] = true;
    q->part = (q->part + 1) % MZ_ASCEND_PARTS;
    q->part_used = 0;
    if (!q->is_left[q->part]) return MZ_OK;
    MZ_TRY(
        check(q, acl->aclrtQueryEventStatus(q->left[q->part], &status), "aclrtQueryEventStatus"));
    q->is_left[q->part] = status != ACL_EVENT_RECORDED_STATUS_COMPLETE;
    if (!q->is_left[q->part]) return MZ_OK;
    const int code = acl->aclrtSynchronizeEventWithTimeout(q->left[q->part], q->chip->wait_ms);
    q->is_stuck = code == ACL_ERROR_RT_EVENT_SYNC_TIMEOUT;
    q->is_left[q->part] = code != 0;
    return check(q, code, "aclrtSynchronizeEventWithTimeout");
}

mz_err mz_ascend_upload(mz_queue *outer, mz_buffer *dst, size_t offset, const void *host,
                        size_t bytes)
{
    enum { PART = MZ_ASCEND_STAGE / MZ_ASCEND_PARTS, ALIGN = 64 };
    mz_ascend_queue *q = queue_of(outer);
    const unsigned char *from = host;
    MZ_TRY(mz_ascend_here(q->chip));
    q->counts.bytes_up += (int64_t)bytes;
    while (bytes > 0) {
        if (q->part_used >= PART || (bytes > PART - q->part_used && bytes <= PART))
            MZ_TRY(next_part(q));
        const size_t left = PART - q->part_used, n = bytes < left ? bytes : left;
        unsigned char *room = q->pinned + (size_t)q->part * PART + q->part_used;
        memcpy(room, from, n);
        MZ_TRY(copy(q, address(dst, offset), room, n, ACL_MEMCPY_HOST_TO_DEVICE));
        q->part_used += (n + ALIGN - 1) / ALIGN * ALIGN;
        from += n, offset += n, bytes -= n;
    }
    return MZ_OK;
}

/* Where it lands, after a sync if need be; NULL for what is too large. */
static mz_err stage(mz_ascend_queue *q, size_t bytes, unsigned char **room)
{
    const size_t aligned = (bytes + 63) / 64 * 64;
    *room = NULL;
    if (aligned > MZ_ASCEND_STAGE) return MZ_OK;
    if (aligned > MZ_ASCEND_STAGE - q->landed || q->n_landings == MZ_ASCEND_LANDINGS)
        MZ_TRY(mz_ascend_drain(q));
    *room = landing_room(q) + q->landed;
    q->landed += aligned;
    return MZ_OK;
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
