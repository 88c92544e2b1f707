/* SPDX-License-Identifier: Apache-2.0 */
/* chips/fault/fault.c - the table: every call is counted, then passed on or struck.
 *
 * Floor:  chips. */
#include "chips/fault/fault.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chip/wrap.h"
#include "chips/fault/state.h"

#include <stdio.h>
#include <string.h>

enum { ELEMENT_MAX = 8 }; /* bytes */

typedef struct fault_queue {
    mz_fault_device *fault;
    mz_queue *inner;
    bool is_late;
    char late[160];
    unsigned char element[ELEMENT_MAX]; /* of a flip, on its way back */
} fault_queue;

/* Counts the call. An error if it fails at once; *struck says whether `hit` is to be dealt with. */
static mz_err meet(mz_fault_device *f, mz_fault_where where, mz_op_kind op, mz_fault *hit,
                   bool *struck)
{
    *struck = mz_fault_strikes(f, where, op, hit);
    if (!*struck) return MZ_OK;
    const bool has_op =
        where == MZ_FAULT_QUERY || where == MZ_FAULT_BIND || where == MZ_FAULT_LAUNCH;
    const char *name = has_op ? mz_op_name(op) : "", *space = has_op ? " " : "";
    if (hit->kind == MZ_FAULT_HANG) mz_clock_sleep_ns((int64_t)(hit->ms * 1e6));
    if (hit->kind == MZ_FAULT_OOM)
        return MZ_FAIL(MZ_ENOMEM, "injected: out of memory at %s %s%s%lld",
                       mz_fault_where_name(where), name, space, (long long)hit->at);
    if (hit->kind == MZ_FAULT_ERROR)
        return MZ_FAIL(MZ_ECHIP, "injected: error at %s %s%s%lld", mz_fault_where_name(where), name,
                       space, (long long)hit->at);
    return MZ_OK;
}

/* For calls on a queue: a late fault waits there. */
static mz_err meet_on(fault_queue *q, mz_fault_where where, mz_op_kind op, mz_fault *hit,
                      bool *struck)
{
    MZ_TRY(meet(q->fault, where, op, hit, struck));
    if (!*struck || hit->kind != MZ_FAULT_LATE || q->is_late) return MZ_OK;
    q->is_late = true;
    const bool has_op = where == MZ_FAULT_LAUNCH;
    snprintf(q->late, sizeof q->late, "injected: late error of %s %s%s%lld",
             mz_fault_where_name(where), has_op ? mz_op_name(op) : "", has_op ? " " : "",
             (long long)hit->at);
    return MZ_OK;
}

/* ---- device ---- */

static void free_device(mz_fault_device *f)
{
    mz_device_close(f->inner);
    pthread_mutex_destroy(&f->lock);
    mz_mem_free(f);
}

static mz_err open_fault(mz_device *device, const char *arg)
{
    mz_fault_device *f = NULL;
    mz_err err;
    mz_chip_options options = device->options;
    options.fault_plan = NULL; /* it is for the outermost one */
    options.sync_each = false;
    if (!arg[0]) return MZ_FAIL(MZ_ENOTSUP, "fault needs a device after the colon");
    MZ_TRY(mz_mem_new(&f, 1, sizeof *f));
    pthread_mutex_init(&f->lock, NULL);
    if (device->options.fault_plan)
        MZ_TRY_GOTO(err, mz_fault_read(f, device->options.fault_plan), fail);
    MZ_TRY_GOTO(err, mz_device_open(&f->inner, arg, &options), fail);
    char name[sizeof device->info.name];
    memcpy(name, device->info.name, sizeof name);
    device->info = f->inner->info;
    memcpy(device->info.name, name, sizeof name);
    device->state = f;
    return MZ_OK;
fail:
    free_device(f);
    return err;
}

static void close_fault(mz_device *device)
{
    free_device(device->state);
}

static mz_err alloc(mz_device *device, mz_buffer *buf)
{
    mz_fault_device *f = device->state;
    mz_fault hit;
    bool struck;
    MZ_TRY(meet(f, MZ_FAULT_ALLOC, MZ_OP_COUNT, &hit, &struck));
    return mz_wrap_alloc(f->inner, buf);
}

static void release(mz_device *device, mz_buffer *buf)
{
    (void)device;
    mz_wrap_free(buf);
}

/* ---- queue ---- */

static mz_err queue_open(mz_queue *outer)
{
    mz_fault_device *f = outer->device->state;
    fault_queue *q = NULL;
    mz_fault hit;
    bool struck;
    MZ_TRY(meet(f, MZ_FAULT_QUEUE, MZ_OP_COUNT, &hit, &struck));
    MZ_TRY(mz_mem_new(&q, 1, sizeof *q));
    q->fault = f;
    const mz_err err = mz_queue_open(&q->inner, f->inner);
    if (err != MZ_OK) {
        mz_mem_free(q);
        return err;
    }
    outer->state = q;
    outer->takes_uploads = q->inner->takes_uploads;
    return MZ_OK;
}

static void queue_close(mz_queue *outer)
{
    fault_queue *q = outer->state;
    mz_wrap_queue_close(q->inner);
    mz_mem_free(q);
}

/* Waits in any case: a failed sync leaves nothing in flight. */
static mz_err queue_sync(mz_queue *outer)
{
    fault_queue *q = outer->state;
    mz_fault hit;
    bool struck;
    const bool was_late = q->is_late;
    q->is_late = false;
    MZ_TRY(q->inner->chip->queue_sync(q->inner));
    MZ_TRY(meet(q->fault, MZ_FAULT_SYNC, MZ_OP_COUNT, &hit, &struck));
    return was_late ? MZ_FAIL(MZ_ECHIP, "%s", q->late) : MZ_OK;
}

static mz_err upload(mz_queue *outer, mz_buffer *dst, size_t offset, const void *host, size_t bytes)
{
    fault_queue *q = outer->state;
    mz_fault hit;
    bool struck;
    MZ_TRY(meet_on(q, MZ_FAULT_UPLOAD, MZ_OP_COUNT, &hit, &struck));
    return q->inner->chip->upload(q->inner, mz_wrap_buffer(dst), offset, host, bytes);
}

static mz_err download(mz_queue *outer, void *host, const mz_buffer *src, size_t offset,
                       size_t bytes)
{
    fault_queue *q = outer->state;
    mz_fault hit;
    bool struck;
    MZ_TRY(meet_on(q, MZ_FAULT_DOWNLOAD, MZ_OP_COUNT, &hit, &struck));
    return q->inner->chip->download(q->inner, host, mz_wrap_buffer(src), offset, bytes);
}

static mz_err copy(mz_queue *outer, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes)
{
    fault_queue *q = outer->state;
    mz_fault hit;
    bool struck;
    MZ_TRY(meet_on(q, MZ_FAULT_COPY, MZ_OP_COUNT, &hit, &struck));
    return q->inner->chip->copy(q->inner, mz_wrap_buffer(dst), dst_offset, mz_wrap_buffer(src),
                                src_offset, bytes);
}

static mz_err zero(mz_queue *outer, mz_buffer *dst, size_t offset, size_t bytes)
{
    fault_queue *q = outer->state;
    mz_fault hit;
    bool struck;
    MZ_TRY(meet_on(q, MZ_FAULT_ZERO, MZ_OP_COUNT, &hit, &struck));
    return q->inner->chip->zero(q->inner, mz_wrap_buffer(dst), offset, bytes);
}

static mz_err pack_bytes(const mz_queue *outer, const mz_matmul_desc *desc, size_t *bytes)
{
    const fault_queue *q = outer->state;
    *bytes = 0;
    return q->inner->chip->pack_bytes ? q->inner->chip->pack_bytes(q->inner, desc, bytes) : MZ_OK;
}

static mz_err pack(mz_queue *outer, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain)
{
    fault_queue *q = outer->state;
    const mz_tensor to = mz_wrap_view(packed), from = mz_wrap_view(plain);
    MZ_NEED(q->inner->chip->pack, "the device has no packed layout");
    return q->inner->chip->pack(q->inner, desc, &to, &from);
}

static mz_err unpack(mz_queue *outer, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed)
{
    fault_queue *q = outer->state;
    const mz_tensor to = mz_wrap_view(plain), from = mz_wrap_view(packed);
    MZ_NEED(q->inner->chip->unpack, "the device has no packed layout");
    return q->inner->chip->unpack(q->inner, desc, &to, &from);
}

/* ---- operators ---- */

static mz_err query(const mz_queue *outer, const mz_desc *desc, mz_support *support)
{
    const fault_queue *q = outer->state;
    mz_fault hit;
    mz_support inner = {0};
    bool struck;
    MZ_TRY(meet(q->fault, MZ_FAULT_QUERY, desc->kind, &hit, &struck));
    MZ_TRY(mz_op_query(q->inner, desc, &inner));
    *support = inner;
    return MZ_OK;
}

static mz_err bind(mz_op *op)
{
    fault_queue *q = op->queue->state;
    mz_fault hit;
    mz_op *inner = NULL;
    bool struck;
    MZ_TRY(meet(q->fault, MZ_FAULT_BIND, op->desc.kind, &hit, &struck));
    MZ_TRY(mz_wrap_bind(&inner, q->inner, op->queue, &op->desc));
    op->state = inner;
    return MZ_OK;
}

static void unbind(mz_op *op)
{
    mz_op_free(op->state);
}

/* The first output with elements, seen from the inner chip; false if there is none. */
static bool first_output(const mz_op *op, mz_pass pass, const mz_args *args, mz_tensor *out)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const mz_tensor *t = args->t[i];
        if (!t || !(mz_arg_role(&op->desc, pass, i) & MZ_ARG_OUT) || mz_count(t) == 0) continue;
        *out = mz_wrap_view(t);
        return true;
    }
    return false;
}

static size_t offset_of(const mz_tensor *t, int64_t element)
{
    int64_t i = element % mz_count(t), at = 0;
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        at += i % t->dim[axis] * t->stride[axis];
        i /= t->dim[axis];
    }
    return t->offset_bytes + (size_t)at * mz_dtype_bytes(t->dtype);
}

/* All ones are a NaN in every float format. */
static mz_err spoil(fault_queue *q, const mz_tensor *t, const mz_fault *hit)
{
    static const unsigned char ones[ELEMENT_MAX] = {255, 255, 255, 255, 255, 255, 255, 255};
    const size_t bytes = mz_dtype_bytes(t->dtype), offset = offset_of(t, hit->element);
    const mz_chip *chip = q->inner->chip;
    if (hit->kind == MZ_FAULT_NAN) return chip->upload(q->inner, t->buf, offset, ones, bytes);
    MZ_TRY(chip->queue_sync(q->inner)); /* an earlier flip may still be on its way */
    MZ_TRY(chip->download(q->inner, q->element, t->buf, offset, bytes));
    MZ_TRY(chip->queue_sync(q->inner));
    const size_t bit = (size_t)hit->bit % (8 * bytes);
    q->element[bit / 8] ^= (unsigned char)(1u << bit % 8);
    return chip->upload(q->inner, t->buf, offset, q->element, bytes);
}

static mz_err run(mz_op *op, mz_pass pass, const mz_args *args)
{
    fault_queue *q = op->queue->state;
    mz_fault hit;
    mz_tensor out;
    bool struck;
    MZ_TRY(meet_on(q, MZ_FAULT_LAUNCH, op->desc.kind, &hit, &struck));
    MZ_TRY(mz_wrap_run(op->state, op, pass, args));
    const bool spoils = struck && (hit.kind == MZ_FAULT_NAN || hit.kind == MZ_FAULT_FLIP);
    return spoils && first_output(op, pass, args, &out) ? spoil(q, &out, &hit) : MZ_OK;
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_FORWARD, args);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_BACKWARD, args);
}

static const char *const VARIANTS[] = {"SPEC", NULL};

#define SLOT(NAME, field)                                                                          \
    [MZ_OP_##NAME] = {                                                                             \
        .query = query, .bind = bind, .unbind = unbind, .forward = forward, .backward = backward},

static const mz_chip CHIP = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "fault",
    .summary = "any chip, failing where a plan says",
    .is_test = true,
    .variants = VARIANTS,
    .open = open_fault,
    .close = close_fault,
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
    .counts = true,
    .op = {MZ_OP_LIST(SLOT)},
};

const mz_chip *mz_fault_chip(void)
{
    return &CHIP;
}

/* ---- for tests ---- */

mz_err mz_fault_plan(mz_device *device, const mz_fault *faults, int n)
{
    MZ_NEED(device && device->chip == &CHIP, "not a device of the fault chip");
    MZ_NEED(n >= 0 && n <= MZ_FAULTS_MAX && (faults || n == 0), "%d faults", n);
    mz_fault_device *f = device->state;
    for (int i = 0; i < n; i++) MZ_TRY(mz_fault_check(&faults[i]));
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < n; i++) f->fault[i] = faults[i];
    memset(f->seen, 0, sizeof f->seen);
    memset(f->calls, 0, sizeof f->calls);
    f->n = n;
    f->struck = 0;
    pthread_mutex_unlock(&f->lock);
    return MZ_OK;
}

int64_t mz_fault_calls(const mz_device *device, mz_fault_where where)
{
    mz_fault_device *f = device->state;
    pthread_mutex_lock(&f->lock);
    const int64_t n = f->calls[where];
    pthread_mutex_unlock(&f->lock);
    return n;
}

int64_t mz_fault_struck(const mz_device *device)
{
    mz_fault_device *f = device->state;
    pthread_mutex_lock(&f->lock);
    const int64_t n = f->struck;
    pthread_mutex_unlock(&f->lock);
    return n;
}
