/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/queue.c - commands in flight: their events, what they ended with, copies.
 *
 * The driver runs a queue's commands in order. Each command's event is kept until the command is
 * done, because an event is the only place where a failure after enqueueing shows.
 *
 * Floor:  chips.   Time: enqueueing waits only while MZ_OPENCL_AHEAD commands are in flight. */
#include "base/mem.h"
#include "chips/opencl/state.h"

enum { FLUSH_EACH = 16 };

static mz_opencl_queue *queue_of(const mz_queue *q)
{
    return q->state;
}

static bool says_lost(int32_t code)
{
    return code == CL_DEVICE_NOT_AVAILABLE || code == CL_INVALID_CONTEXT ||
           code == CL_INVALID_COMMAND_QUEUE || code == CL_UNKNOWN_LOST;
}

static mz_err lost_error(int32_t code)
{
    const mz_err err =
        MZ_FAIL(MZ_ECHIP, "the OpenCL device is lost: %s (%d)", mz_cl_name(code), (int)code);
    mz_note_fix("start again; the system's log may say what became of the device");
    return err;
}

mz_err mz_opencl_fail(mz_opencl *chip, int32_t code, const char *what)
{
    if (!says_lost(code)) return mz_cl_fail(code, what);
    pthread_mutex_lock(&chip->lock);
    if (!chip->lost) chip->lost = code;
    pthread_mutex_unlock(&chip->lock);
    return lost_error(code);
}

mz_err mz_opencl_check(mz_opencl *chip)
{
    pthread_mutex_lock(&chip->lock);
    const int32_t code = chip->lost;
    pthread_mutex_unlock(&chip->lock);
    return code ? lost_error(code) : MZ_OK;
}

/* ---- commands in flight ---- */

/* Nanoseconds between two of the event's times; 0 where the driver does not say. */
static int64_t time_of(const mz_cl *cl, cl_event event)
{
    uint64_t start = 0, end = 0;
    if (cl->GetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) ||
        cl->GetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL))
        return 0;
    return end > start ? (int64_t)(end - start) : 0;
}

/* Waits for the oldest command and forgets it. */
static void look_after(mz_opencl_queue *q)
{
    const mz_cl *cl = q->chip->cl;
    const mz_opencl_command c = q->ahead[q->taken++ % MZ_OPENCL_AHEAD];
    int32_t status = 0;
    const int32_t code = cl->WaitForEvents(1, &c.event);
    if (cl->GetEventInfo(c.event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL))
        status = 0;
    if (status >= 0 && code != CL_SUCCESS) status = code;
    if (status < 0 && !q->late) {
        q->late = status;
        q->late_name = c.name;
    }
    if (c.is_kernel && status >= 0) {
        q->counts.kernels++;
        q->counts.flop += c.flop;
        q->counts.kernel_ns += time_of(cl, c.event);
    }
    (void)cl->ReleaseEvent(c.event);
}

mz_err mz_opencl_begin(mz_opencl_queue *q, cl_event **event)
{
    MZ_TRY(mz_opencl_check(q->chip));
    if (q->put - q->taken == MZ_OPENCL_AHEAD) look_after(q);
    *event = &q->ahead[q->put % MZ_OPENCL_AHEAD].event;
    return MZ_OK;
}

mz_err mz_opencl_end(mz_opencl_queue *q, int32_t code, const char *name, const mz_launch *kernel)
{
    if (code != CL_SUCCESS) return mz_opencl_fail(q->chip, code, name);
    mz_opencl_command *c = &q->ahead[q->put++ % MZ_OPENCL_AHEAD];
    c->name = name;
    c->is_kernel = kernel != NULL;
    c->flop = kernel ? kernel->flop : 0.0;
    if (q->put % FLUSH_EACH == 0) (void)q->chip->cl->Flush(q->queue);
    return MZ_OK;
}

/* ---- queues ---- */

mz_err mz_opencl_queue_open(mz_queue *outer)
{
    mz_opencl *chip = outer->device->state;
    mz_opencl_queue *q = NULL;
    int32_t code = CL_SUCCESS;
    MZ_TRY(mz_opencl_check(chip));
    MZ_TRY(mz_mem_new(&q, 1, sizeof *q));
    q->driver = &mz_opencl_driver;
    q->chip = chip;
    q->queue =
        chip->cl->CreateCommandQueue(chip->context, chip->device, CL_QUEUE_PROFILING_ENABLE, &code);
    if (!q->queue) {
        mz_mem_free(q);
        return mz_opencl_fail(chip, code, "clCreateCommandQueue");
    }
    outer->state = q;
    return MZ_OK;
}

static void add_counts(mz_opencl_queue *q)
{
    mz_opencl_counts *sum = &q->chip->counts;
    pthread_mutex_lock(&q->chip->lock);
    sum->kernels += q->counts.kernels;
    sum->kernel_ns += q->counts.kernel_ns;
    sum->bytes_up += q->counts.bytes_up;
    sum->bytes_down += q->counts.bytes_down;
    sum->flop += q->counts.flop;
    pthread_mutex_unlock(&q->chip->lock);
    q->counts = (mz_opencl_counts){0};
}

static int32_t drain(mz_opencl_queue *q)
{
    const int32_t code = q->chip->cl->Finish(q->queue);
    while (q->taken < q->put) look_after(q);
    add_counts(q);
    return code;
}

void mz_opencl_queue_close(mz_queue *outer)
{
    mz_opencl_queue *q = queue_of(outer);
    (void)drain(q);
    mz_opencl_kernels_free(q);
    (void)q->chip->cl->ReleaseCommandQueue(q->queue);
    mz_mem_free(q);
}

mz_err mz_opencl_queue_sync(mz_queue *outer)
{
    mz_opencl_queue *q = queue_of(outer);
    const int32_t code = drain(q), late = q->late;
    q->late = 0;
    if (late) return mz_opencl_fail(q->chip, late, q->late_name);
    if (code != CL_SUCCESS) return mz_opencl_fail(q->chip, code, "clFinish");
    return mz_opencl_check(q->chip);
}

/* ---- copies ---- */

mz_err mz_opencl_upload(mz_queue *outer, mz_buffer *dst, size_t offset, const void *host,
                        size_t bytes)
{
    mz_opencl_queue *q = queue_of(outer);
    cl_event *event = NULL;
    MZ_TRY(mz_opencl_begin(q, &event));
    q->counts.bytes_up += (int64_t)bytes;
    return mz_opencl_end(q,
                         q->chip->cl->EnqueueWriteBuffer(q->queue, dst->handle, 0, offset, bytes,
                                                         host, 0, NULL, event),
                         "upload", NULL);
}

mz_err mz_opencl_download(mz_queue *outer, void *host, const mz_buffer *src, size_t offset,
                          size_t bytes)
{
    mz_opencl_queue *q = queue_of(outer);
    cl_event *event = NULL;
    MZ_TRY(mz_opencl_begin(q, &event));
    q->counts.bytes_down += (int64_t)bytes;
    return mz_opencl_end(q,
                         q->chip->cl->EnqueueReadBuffer(q->queue, src->handle, 0, offset, bytes,
                                                        host, 0, NULL, event),
                         "download", NULL);
}

mz_err mz_opencl_copy(mz_queue *outer, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                      size_t src_offset, size_t bytes)
{
    mz_opencl_queue *q = queue_of(outer);
    cl_event *event = NULL;
    MZ_TRY(mz_opencl_begin(q, &event));
    return mz_opencl_end(q,
                         q->chip->cl->EnqueueCopyBuffer(q->queue, src->handle, dst->handle,
                                                        src_offset, dst_offset, bytes, 0, NULL,
                                                        event),
                         "copy", NULL);
}

mz_err mz_opencl_zero(mz_queue *outer, mz_buffer *dst, size_t offset, size_t bytes)
{
    static const unsigned char nothing = 0;
    mz_opencl_queue *q = queue_of(outer);
    cl_event *event = NULL;
    MZ_TRY(mz_opencl_begin(q, &event));
    return mz_opencl_end(q,
                         q->chip->cl->EnqueueFillBuffer(q->queue, dst->handle, &nothing,
                                                        sizeof nothing, offset, bytes, 0, NULL,
                                                        event),
                         "zero", NULL);
}
