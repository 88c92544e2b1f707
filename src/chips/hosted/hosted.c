/* SPDX-License-Identifier: Apache-2.0 */
/* chips/hosted/hosted.c - the table: two devices, and the choice between them.
 *
 * Floor:  chips. */
#include "chips/hosted/hosted.h"

#include "base/mem.h"
#include "base/str.h"
#include "chips/hosted/state.h"

#include <stdio.h>
#include <string.h>

static const char DEFAULT_HOST[] = "cpu";

/* ---- device ---- */

static void free_hosted(mz_hosted_device *h)
{
    mz_device_close(h->host);
    mz_device_close(h->device);
    pthread_mutex_destroy(&h->lock);
    mz_mem_free(h);
}

/* "SPEC" or "on=HOST,SPEC". */
static mz_err split(const char *arg, char *host, size_t host_bytes, const char **spec)
{
    const char *comma = strchr(arg, ',');
    const bool named = mz_str_starts(arg, "on=") && comma;
    const size_t len = named ? (size_t)(comma - arg) - 3 : sizeof DEFAULT_HOST - 1;
    if (len == 0 || len >= host_bytes)
        return MZ_FAIL(MZ_ENOTSUP, "hosted: \"%.64s\" names no host chip", arg);
    memcpy(host, named ? arg + 3 : DEFAULT_HOST, len);
    host[len] = '\0';
    *spec = named ? comma + 1 : arg;
    return **spec ? MZ_OK : MZ_FAIL(MZ_ENOTSUP, "hosted needs a device after the colon");
}

static mz_err open_both(mz_hosted_device *h, const mz_device *device, const char *arg)
{
    char host[64];
    const char *spec = NULL;
    mz_chip_options options = device->options;
    options.sync_each = false; /* the queue in front waits */
    MZ_TRY(split(arg, host, sizeof host, &spec));
    MZ_TRY(mz_device_open(&h->device, spec, &options));
    options.fault_plan = NULL;
    MZ_TRY(mz_device_open(&h->host, host, &options));
    if (!h->host->info.is_host)
        return MZ_FAIL(MZ_ENOTSUP, "hosted: the memory of %s is not host memory", host);
    return MZ_OK;
}

static mz_err open_hosted(mz_device *device, const char *arg)
{
    mz_hosted_device *h = NULL;
    MZ_TRY(mz_mem_new(&h, 1, sizeof *h));
    pthread_mutex_init(&h->lock, NULL);
    const mz_err err = open_both(h, device, arg);
    if (err != MZ_OK) {
        free_hosted(h);
        return err;
    }
    char name[sizeof device->info.name];
    memcpy(name, device->info.name, sizeof name);
    device->info = h->device->info;
    memcpy(device->info.name, name, sizeof name);
    device->info.dtypes |= h->host->info.dtypes;
    device->state = h;
    return MZ_OK;
}

static void close_hosted(mz_device *device)
{
    free_hosted(device->state);
}

static mz_err alloc(mz_device *device, mz_buffer *buf)
{
    return mz_wrap_alloc(((mz_hosted_device *)device->state)->device, buf);
}

static void release(mz_device *device, mz_buffer *buf)
{
    (void)device;
    mz_wrap_free(buf);
}

/* ---- queue ---- */

static void count_booked(mz_hosted_device *h, int64_t bytes)
{
    pthread_mutex_lock(&h->lock);
    h->counts.booked_bytes += bytes;
    pthread_mutex_unlock(&h->lock);
}

static void free_queue(mz_hosted_queue *q)
{
    if (q->staging) count_booked(q->hosted, -(int64_t)q->staging->bytes);
    mz_queue_close(q->host);
    mz_wrap_queue_close(q->device);
    mz_buffer_free(q->staging);
    mz_mem_free(q);
}

static mz_err queue_open(mz_queue *outer)
{
    mz_hosted_queue *q = NULL;
    MZ_TRY(mz_mem_new(&q, 1, sizeof *q));
    q->hosted = outer->device->state;
    mz_err err = mz_queue_open(&q->device, q->hosted->device);
    if (err == MZ_OK) err = mz_queue_open(&q->host, q->hosted->host);
    if (err != MZ_OK) {
        free_queue(q);
        return err;
    }
    q->host->stands_in = true;
    outer->state = q;
    outer->takes_uploads = q->device->takes_uploads;
    return MZ_OK;
}

static void queue_close(mz_queue *outer)
{
    free_queue(outer->state);
}

static mz_queue *behind(const mz_queue *outer)
{
    return ((mz_hosted_queue *)outer->state)->device;
}

static mz_err queue_sync(mz_queue *outer)
{
    mz_hosted_queue *q = outer->state;
    q->pending = false;
    return q->device->chip->queue_sync(q->device);
}

static mz_err upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes)
{
    return behind(q)->chip->upload(behind(q), mz_wrap_buffer(dst), offset, host, bytes);
}

static mz_err download(mz_queue *q, void *host, const mz_buffer *src, size_t offset, size_t bytes)
{
    return behind(q)->chip->download(behind(q), host, mz_wrap_buffer(src), offset, bytes);
}

static mz_err copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes)
{
    return behind(q)->chip->copy(behind(q), mz_wrap_buffer(dst), dst_offset, mz_wrap_buffer(src),
                                 src_offset, bytes);
}

static mz_err zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes)
{
    return behind(q)->chip->zero(behind(q), mz_wrap_buffer(dst), offset, bytes);
}

static mz_err pack_bytes(const mz_queue *q, const mz_matmul_desc *desc, size_t *bytes)
{
    const mz_chip *chip = behind(q)->chip;
    if (chip->pack_bytes) return chip->pack_bytes(behind(q), desc, bytes);
    *bytes = 0;
    return MZ_OK;
}

static mz_err pack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain)
{
    const mz_tensor to = mz_wrap_view(packed), from = mz_wrap_view(plain);
    MZ_NEED(behind(q)->chip->pack, "the device has no packed layout");
    return behind(q)->chip->pack(behind(q), desc, &to, &from);
}

static mz_err unpack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed)
{
    const mz_tensor to = mz_wrap_view(plain), from = mz_wrap_view(packed);
    MZ_NEED(behind(q)->chip->unpack, "the device has no packed layout");
    return behind(q)->chip->unpack(behind(q), desc, &to, &from);
}

/* ---- operators ---- */

/* What it costs on the host; `why` is the device's reason. */
static mz_err query_host(const mz_hosted_queue *q, const mz_desc *desc, const char *why,
                         mz_support *support)
{
    mz_support host = {0};
    mz_hosted_plan plan;
    const char *name = q->hosted->host->info.name;
    /* Packed weights are in the device's own layout. */
    if (desc->kind == MZ_OP_MATMUL && desc->u.matmul.packed) return MZ_FAIL(MZ_ENOTSUP, "%s", why);
    /* Staging books a weight in the dtype that is computed in. */
    if (mz_desc_stored(desc) != MZ_F64) return MZ_FAIL(MZ_ENOTSUP, "%s", why);
    const mz_err err = mz_op_query(q->host, desc, &host);
    if (err == MZ_ENOTSUP)
        return MZ_FAIL(MZ_ENOTSUP, "%s; nor host %s: %s", why, name, host.reason);
    MZ_TRY(err);
    MZ_TRY(mz_hosted_plan_make(&plan, desc, host.saved_bytes));
    *support = (mz_support){.state = MZ_STATE_HOST,
                            .saved_bytes = host.saved_bytes,
                            .staging_bytes = plan.total + host.workspace_bytes,
                            .repeats = host.repeats,
                            .blocks_host = true};
    snprintf(support->reason, sizeof support->reason, "on host %.32s: %.110s", name, why);
    return MZ_OK;
}

static mz_err query(const mz_queue *outer, const mz_desc *desc, mz_support *support)
{
    const mz_hosted_queue *q = outer->state;
    mz_support device = {0};
    const mz_err err = mz_op_query(q->device, desc, &device);
    if (err == MZ_OK) return *support = device, MZ_OK;
    return err == MZ_ENOTSUP ? query_host(q, desc, device.reason, support) : err;
}

/* The block is free to grow only while no upload reads it. */
static mz_err grow_staging(mz_hosted_queue *q, size_t bytes)
{
    mz_buffer *larger = NULL;
    const size_t had = q->staging ? q->staging->bytes : 0;
    if (bytes <= had) return MZ_OK;
    MZ_TRY(mz_buffer_new(&larger, q->hosted->host, bytes));
    const mz_err err = q->pending ? q->device->chip->queue_sync(q->device) : MZ_OK;
    if (err != MZ_OK) {
        mz_buffer_free(larger);
        return err;
    }
    q->pending = false;
    mz_buffer_free(q->staging);
    q->staging = larger;
    count_booked(q->hosted, (int64_t)(bytes - had));
    return MZ_OK;
}

static void free_op(mz_hosted_op *ho)
{
    mz_op_free(ho->host);
    mz_op_free(ho->inner);
    mz_mem_free(ho->rows);
    mz_mem_free(ho);
}

static mz_err bind_host(mz_hosted_op *ho, mz_hosted_queue *q, const mz_desc *desc)
{
    MZ_TRY(mz_op_bind(&ho->host, q->host, desc));
    MZ_TRY(mz_hosted_plan_make(&ho->plan, desc, mz_op_saved(ho->host)));
    MZ_TRY(mz_mem_new(&ho->rows, ho->plan.indices, sizeof *ho->rows));
    return grow_staging(q, ho->plan.total);
}

static mz_err bind(mz_op *op)
{
    mz_hosted_queue *q = op->queue->state;
    mz_hosted_op *ho = NULL;
    MZ_TRY(mz_mem_new(&ho, 1, sizeof *ho));
    const mz_err err = op->support.state == MZ_STATE_HOST
                           ? bind_host(ho, q, &op->desc)
                           : mz_wrap_bind(&ho->inner, q->device, op->queue, &op->desc);
    if (err != MZ_OK) {
        free_op(ho);
        return err;
    }
    op->state = ho;
    return MZ_OK;
}

static void unbind(mz_op *op)
{
    free_op(op->state);
}

static mz_err run(mz_op *op, mz_pass pass, const mz_args *args)
{
    const mz_hosted_op *ho = op->state;
    return ho->inner ? mz_wrap_run(ho->inner, op, pass, args) : mz_hosted_run(op, pass, args);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_FORWARD, args);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_BACKWARD, args);
}

static const char *const VARIANTS[] = {"SPEC", "on=HOST,SPEC", NULL};

#define SLOT(NAME, field)                                                                          \
    [MZ_OP_##NAME] = {                                                                             \
        .query = query, .bind = bind, .unbind = unbind, .forward = forward, .backward = backward},

static const mz_chip CHIP = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "hosted",
    .summary = "any chip, with what it lacks done on the host",
    .variants = VARIANTS,
    .open = open_hosted,
    .close = close_hosted,
    .alloc = alloc,
    .free = release,
    .queue_open = queue_open,
    .queue_close = queue_close,
    .queue_sync = queue_sync,
    .upload = upload,
    .download = download,
    .copy = copy,
    .zero = zero,
    .pack_bytes = pack_bytes,
    .pack = pack,
    .unpack = unpack,
    .inner = behind,
    .counts = true,
    .op = {MZ_OP_LIST(SLOT)},
};

const mz_chip *mz_hosted_chip(void)
{
    return &CHIP;
}

mz_hosted_counts mz_hosted_counts_of(const mz_device *device)
{
    mz_hosted_counts counts = {0};
    if (!device || device->chip != &CHIP) return counts;
    mz_hosted_device *h = device->state;
    pthread_mutex_lock(&h->lock);
    counts = h->counts;
    pthread_mutex_unlock(&h->lock);
    return counts;
}
