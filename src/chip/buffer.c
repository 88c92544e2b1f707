/* SPDX-License-Identifier: Apache-2.0 */
/* chip/buffer.c - a chip's memory with its books kept, and checked copies in and out of it.
 *
 * Floor:  chip. May use tensor, base. */
#include "base/mem.h"
#include "chip/queue.h"

#include <string.h>

mz_err mz_buffer_new(mz_buffer **buf, mz_device *device, size_t bytes)
{
    MZ_NEED(buf && device, "buf or device is NULL");
    mz_buffer *b = NULL;
    MZ_TRY(mz_mem_new(&b, 1, sizeof *b)); /* refuses inside a step guard */
    b->device = device;
    b->bytes = bytes;
    const mz_err err = bytes ? device->chip->alloc(device, b) : MZ_OK;
    if (err != MZ_OK) {
        mz_mem_free(b);
        return mz_device_report(device, err, "booking memory", NULL);
    }
    device->bytes_used += bytes;
    if (device->bytes_used > device->bytes_peak) device->bytes_peak = device->bytes_used;
    *buf = b;
    return MZ_OK;
}

mz_err mz_buffer_wrap(mz_buffer **buf, mz_device *device, const void *host, size_t bytes)
{
    MZ_NEED(buf && device && host && bytes, "buf, device or host is NULL, or no bytes");
    if (!device->chip->wraps)
        return MZ_FAIL(MZ_ENOTSUP, "chip %s does not compute on memory of the host's",
                       device->info.name);
    mz_buffer *b = NULL;
    MZ_TRY(mz_mem_new(&b, 1, sizeof *b));
    b->device = device;
    b->bytes = bytes;
    memcpy(&b->host, &host, sizeof host); /* nobody writes: uploads and outputs are refused */
    b->is_wrapped = true;
    *buf = b;
    return MZ_OK;
}

void mz_buffer_free(mz_buffer *buf)
{
    if (!buf) return;
    if (!buf->is_wrapped) {
        if (buf->bytes) buf->device->chip->free(buf->device, buf);
        buf->device->bytes_used -= buf->bytes;
    }
    mz_mem_free(buf);
}

static mz_err check_writable(const mz_buffer *buf)
{
    MZ_NEED(!buf->is_wrapped, "the buffer wraps memory that is only read");
    return MZ_OK;
}

/* What every copy of a whole tensor needs: dense, inside its buffer, on the queue's device. */
static mz_err check_dense(const mz_queue *q, const mz_tensor *t, size_t *bytes)
{
    MZ_NEED(q && t && t->buf, "queue, tensor or its buffer is NULL");
    MZ_NEED(t->buf->device == q->device, "the tensor is on another device than the queue");
    MZ_NEED(mz_is_dense(t), "only dense tensors are copied");
    MZ_TRY(mz_shape_bytes(t->dtype, t->rank, t->dim, bytes));
    MZ_NEED(t->offset_bytes <= t->buf->bytes && *bytes <= t->buf->bytes - t->offset_bytes,
            "%zu bytes at %zu do not fit a buffer of %zu", *bytes, t->offset_bytes, t->buf->bytes);
    return MZ_OK;
}

/* A copy that the chip refuses is told as an operator is. */
static mz_err told(const mz_queue *q, mz_err err)
{
    return err == MZ_ECHIP || err == MZ_ENOMEM ? mz_queue_report(q, err) : err;
}

mz_err mz_upload(mz_queue *q, const mz_tensor *dst, const void *host)
{
    size_t bytes = 0;
    MZ_TRY(check_dense(q, dst, &bytes));
    MZ_NEED(host || !bytes, "host is NULL");
    MZ_TRY(check_writable(dst->buf));
    return bytes ? told(q, q->chip->upload(q, dst->buf, dst->offset_bytes, host, bytes)) : MZ_OK;
}

mz_err mz_download(mz_queue *q, void *host, const mz_tensor *src)
{
    size_t bytes = 0;
    MZ_TRY(check_dense(q, src, &bytes));
    MZ_NEED(host || !bytes, "host is NULL");
    return bytes ? told(q, q->chip->download(q, host, src->buf, src->offset_bytes, bytes)) : MZ_OK;
}

mz_err mz_zero(mz_queue *q, const mz_tensor *dense)
{
    size_t bytes = 0;
    MZ_TRY(check_dense(q, dense, &bytes));
    MZ_TRY(check_writable(dense->buf));
    return bytes ? told(q, q->chip->zero(q, dense->buf, dense->offset_bytes, bytes)) : MZ_OK;
}

mz_err mz_copy_bytes(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                     size_t src_offset, size_t bytes)
{
    MZ_NEED(q && dst && src, "queue or buffer is NULL");
    MZ_NEED(dst->device == q->device && src->device == q->device,
            "a buffer is on another device than the queue");
    MZ_NEED(dst_offset <= dst->bytes && bytes <= dst->bytes - dst_offset &&
                src_offset <= src->bytes && bytes <= src->bytes - src_offset,
            "%zu bytes from %zu of %zu to %zu of %zu do not fit", bytes, src_offset, src->bytes,
            dst_offset, dst->bytes);
    MZ_TRY(check_writable(dst));
    MZ_NEED(dst != src || dst_offset + bytes <= src_offset || src_offset + bytes <= dst_offset,
            "source and destination overlap");
    return bytes ? told(q, q->chip->copy(q, dst, dst_offset, src, src_offset, bytes)) : MZ_OK;
}
