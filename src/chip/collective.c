/* SPDX-License-Identifier: Apache-2.0 */
/* chip/collective.c - see collective.h. What is enqueued stands in the queue's trace, so that a
 * fault's report names it. */
#include "chip/collective.h"

#include "chip/queue.h"
#include "chip/wrap.h"

#include <stdio.h>

/* The queue whose chip computes. */
static mz_queue *innermost(mz_queue *q)
{
    while (q->chip->inner) q = q->chip->inner(q);
    return q;
}

static const mz_collective *table_of(const mz_queue *q)
{
    while (q->chip->inner) q = q->chip->inner(q);
    return q->chip->collective;
}

static mz_buffer *innermost_buffer(const mz_queue *q, mz_buffer *buf)
{
    for (; q->chip->inner; q = q->chip->inner(q)) buf = mz_wrap_buffer(buf);
    return buf;
}

const char *mz_collective_name(const mz_queue *q)
{
    const mz_collective *c = table_of(q);
    return c ? c->name : NULL;
}

void mz_collective_kind(const mz_queue *q, char *text, size_t bytes)
{
    while (q->chip->inner) q = q->chip->inner(q);
    const mz_device_info *info = &q->device->info;
    (void)snprintf(text, bytes, "%s, %s, %s", q->chip->name, info->model, info->driver);
}

mz_err mz_collective_ready(mz_queue *q)
{
    MZ_NEED(q, "queue is NULL");
    const mz_collective *c = table_of(q);
    if (!c) return MZ_FAIL(MZ_ENOTSUP, "chip %s has no collectives", q->device->info.name);
    return c->ready(innermost(q));
}

mz_err mz_collective_root(mz_queue *q, void *root)
{
    MZ_NEED(q && root && table_of(q), "queue or root is NULL, or the chip has no collectives");
    return table_of(q)->root(innermost(q), root);
}

mz_err mz_collective_join(mz_queue *q, const void *root, int rank, int size)
{
    MZ_NEED(q && root && table_of(q), "queue or root is NULL, or the chip has no collectives");
    MZ_NEED(size >= 2 && rank >= 0 && rank < size, "rank %d in a group of %d", rank, size);
    return table_of(q)->join(innermost(q), root, rank, size);
}

void mz_collective_leave(mz_queue *q)
{
    if (q && table_of(q)) table_of(q)->leave(innermost(q));
}

/* What the chip refuses at once is reported like an operator's launch, and waited for like one. */
static mz_err told(mz_queue *q, mz_err err)
{
    if (err == MZ_OK && q->device->options.sync_each) return mz_queue_sync(q);
    return err == MZ_ECHIP ? mz_queue_report(q, err) : err;
}

mz_err mz_collective_sum(mz_queue *q, const mz_tensor *dense)
{
    MZ_NEED(q && dense && table_of(q), "queue or tensor is NULL, or the chip has no collectives");
    MZ_NEED(dense->dtype == MZ_F32 && mz_is_dense(dense), "a sum over a group is of dense F32");
    const int64_t n = mz_count(dense);
    if (n == 0) return MZ_OK;
    mz_queue_note(q, "collective sum", MZ_FORWARD);
    return told(
        q, table_of(q)->sum(innermost(q), innermost_buffer(q, dense->buf), dense->offset_bytes, n));
}

mz_err mz_collective_give(mz_queue *q, const mz_tensor *dense, int from)
{
    MZ_NEED(q && dense && table_of(q), "queue or tensor is NULL, or the chip has no collectives");
    MZ_NEED(mz_is_dense(dense), "what a group is given is dense");
    const size_t bytes = (size_t)mz_count(dense) * mz_dtype_bytes(dense->dtype);
    if (bytes == 0) return MZ_OK;
    mz_queue_note(q, "collective give", MZ_FORWARD);
    return told(q, table_of(q)->give(innermost(q), innermost_buffer(q, dense->buf),
                                     dense->offset_bytes, bytes, from));
}
