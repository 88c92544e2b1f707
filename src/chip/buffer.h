/* SPDX-License-Identifier: Apache-2.0 */
/* chip/buffer.h - memory of a chip, and moving bytes in and out of it.
 *
 * Floor:  chip.
 * Owner:  the caller owns a buffer and frees it after the queue that used it was synced, before the
 * device closes. Errors: MZ_ENOMEM with the bytes asked for; MZ_ECHIP; inside a step guard
 * MZ_EINVAL. */
#ifndef MZ_CHIP_BUFFER_H
#define MZ_CHIP_BUFFER_H

#include "tensor/tensor.h"

typedef struct mz_device mz_device;
typedef struct mz_queue mz_queue;

struct mz_buffer {
    mz_device *device;
    size_t bytes;
    void *host;   /* where the host may read and write it, NULL on chips with memory of their own */
    void *handle; /* the chip's own name for it */
    bool is_wrapped; /* memory of somebody else's, which is only read */
};

/* Zeroed. 0 bytes are legal and do not reach the chip (host and handle stay NULL). */
mz_err mz_buffer_new(mz_buffer **buf, mz_device *device, size_t bytes);
/* Host memory as a buffer of the chip, without a copy; it must outlive the buffer, and nothing may
 * be written through it. MZ_ENOTSUP where the chip has memory of its own. Such bytes are not
 * counted as used: they are the owner's. */
mz_err mz_buffer_wrap(mz_buffer **buf, mz_device *device, const void *host, size_t bytes);
void mz_buffer_free(mz_buffer *buf); /* NULL is legal */
size_t mz_device_bytes_used(const mz_device *device);
size_t mz_device_bytes_peak(const mz_device *device);
/* From now on: what was booked and freed before (to measure the chip, say) no longer counts. */
void mz_device_restart_peak(mz_device *device);

/* Enqueue a copy of a DENSE tensor's bytes; the host memory must live until mz_queue_sync (of an
 * upload only where the queue does not say takes_uploads). */
mz_err mz_upload(mz_queue *q, const mz_tensor *dst, const void *host);
mz_err mz_download(mz_queue *q, void *host, const mz_tensor *src);
mz_err mz_copy_bytes(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                     size_t src_offset, size_t bytes);
mz_err mz_zero(mz_queue *q, const mz_tensor *dense); /* sets the bytes of a dense tensor to 0 */

/* For tensors in host-visible memory: element i in row-major order of the VIEW (strides respected),
 * as double. */
double mz_at(const mz_tensor *t, int64_t i);
void mz_put(const mz_tensor *t, int64_t i, double x);
int64_t mz_at_int(const mz_tensor *t, int64_t i);
void mz_put_int(const mz_tensor *t, int64_t i, int64_t x);
/* Host address of element 0, NULL if the host may not look. */
void *mz_host(const mz_tensor *t);

#endif
