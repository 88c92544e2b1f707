/* SPDX-License-Identifier: Apache-2.0 */
/* chip/collective.h - what like devices of one machine do among themselves: sums over a group, and
 * bytes from one of it to all, on the devices' own links and without host memory in between.
 *
 * A vendor's library of collectives (HCCL, NCCL ...) behind one table, which a chip may have
 * (mz_chip.collective). It is a part of the chip and not a transport of comm: it works on the
 * chip's buffers, in the order of the chip's queue, and needs bytes that its ranks tell each other
 * over whatever transport the run has.
 *
 *   ready   every rank by itself: can it?       root   the group's first: where the group meets
 *   join    all of them, with its bytes          sum, give   enqueued;  leave   before the queue
 * ends
 *
 * A queue is in one group at a time. Behind a wrapping chip (chip/wrap.h) it is the inner queue.
 *
 * Floor:  chip. May use tensor, base.
 * Owner:  the queue, which leaves its group when it closes.
 * Time:   join waits for the others of the group. sum and give only enqueue: all ranks of the group
 *         make the same calls in the same order, and the wait is mz_queue_sync's.
 * Repeat: bitwise, for the same group on the same devices.
 * Errors: MZ_ENOTSUP from ready with what is missing; MZ_ECHIP from the others, and from the sync
 *         for what failed later: a rank that did not come, a link that broke. */
#ifndef MZ_CHIP_COLLECTIVE_H
#define MZ_CHIP_COLLECTIVE_H

#include "chip/chip.h"

enum { MZ_COLLECTIVE_ROOT = 8192 }; /* bytes that any library's root fits into */

typedef struct mz_collective {
    const char *name; /* "HCCL" */
    mz_err (*ready)(mz_queue *q);
    mz_err (*root)(mz_queue *q, void *root);
    mz_err (*join)(mz_queue *q, const void *root, int rank, int size);
    /* f32 [n] at `offset`, in place: the sum over the group, the same bits on each. */
    mz_err (*sum)(mz_queue *q, mz_buffer *buf, size_t offset, int64_t n);
    /* The bytes as rank `from` of the group has them. */
    mz_err (*give)(mz_queue *q, mz_buffer *buf, size_t offset, size_t bytes, int from);
    void (*leave)(mz_queue *q); /* no group: nothing to do */
} mz_collective;

const char *mz_collective_name(const mz_queue *q); /* NULL: the chip has none */
/* Appends to text what two ranks of a group have alike: chip, model and driver. */
void mz_collective_kind(const mz_queue *q, char *text, size_t bytes);
mz_err mz_collective_ready(mz_queue *q);
mz_err mz_collective_root(mz_queue *q, void *root); /* MZ_COLLECTIVE_ROOT bytes */
mz_err mz_collective_join(mz_queue *q, const void *root, int rank, int size);
void mz_collective_leave(mz_queue *q);
/* dense: F32. */
mz_err mz_collective_sum(mz_queue *q, const mz_tensor *dense);
mz_err mz_collective_give(mz_queue *q, const mz_tensor *dense, int from);

#endif
