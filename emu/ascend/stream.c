/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/stream.c - the emulated driver's streams and events. */
#include "ascend/book.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- streams ---- */

emu_stream *emu_stream_new(emu_context *context)
{
    emu_stream *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->queue = mze_queue_new();
    if (!s->queue) {
        free(s);
        return NULL;
    }
    s->context = context;
    s->number = context->device->n_made++;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->next = context->device->streams;
    context->device->streams = s;
    context->device->n_streams++;
    (void)emu_object_new(s);
    return s;
}

void emu_stream_delete(emu_stream *s, bool drop)
{
    if (!s) return;
    (void)emu_object_end(s);
    pthread_mutex_lock(&emu_lock);
    emu_device *d = s->context->device;
    emu_stream **p = &d->streams;
    while (*p && *p != s) p = &(*p)->next;
    if (*p) *p = s->next;
    d->n_streams--;
    pthread_mutex_unlock(&emu_lock);
    pthread_mutex_lock(&s->lock);
    s->is_ending = drop; /* else what does not end is waited for, as on a device */
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    mze_queue_delete(s->queue, drop);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void emu_stream_hang(emu_stream *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->is_ending) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

int64_t emu_stream_spend(emu_stream *s, int64_t earliest, int64_t ns)
{
    pthread_mutex_lock(&s->lock);
    const int64_t begin = s->clock > earliest ? s->clock : earliest;
    s->clock = begin + ns;
    pthread_mutex_unlock(&s->lock);
    emu_tally_to(s->context->device->number, EMU_COUNT_modelled_ns, begin + ns);
    return begin;
}

int emu_stream_of(aclrtStream stream, emu_stream **out)
{
    emu_context *here = emu_here();
    if (!here) return EMU_RT_CONTEXT_NULL;
    *out = stream;
    if (!stream) {
        pthread_mutex_lock(&emu_lock);
        if (!here->stream) here->stream = emu_stream_new(here);
        *out = here->stream;
        pthread_mutex_unlock(&emu_lock);
        return *out ? 0 : emu_fail(EMU_BAD_ALLOC, "no memory for the default stream");
    }
    if (!emu_object_of(stream)) return emu_fail(EMU_RT_INVALID_HANDLE, "%p is no stream", stream);
    if ((*out)->context == here) return 0;
    return emu_fail(EMU_RT_STREAM_CONTEXT, "the stream belongs to another context");
}

void emu_stream_fault(emu_stream *s, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&s->lock);
    if (!s->fault) {
        s->fault = code;
        (void)vsnprintf(s->message, sizeof s->message, format, arguments);
    }
    pthread_mutex_unlock(&s->lock);
    va_end(arguments);
}

int emu_stream_wait(emu_stream *s, int64_t ms)
{
    if (!s) return 0;
    emu_device *d = s->context->device;
    emu_tally(d->number, EMU_COUNT_host_waits, 1);
    const bool is_done = mze_queue_wait(s->queue, ms);
    emu_counters_write();
    if (!is_done)
        return emu_fail(EMU_RT_STREAM_SYNC_TIMEOUT, "the stream is not done after %d ms", (int)ms);
    const int lost = emu_told_lost(d);
    pthread_mutex_lock(&s->lock);
    const int code = s->fault ? s->fault : lost;
    if (code) (void)emu_fail(code, "%s", s->fault ? s->message : "the device is lost");
    s->fault = 0;
    const int64_t clock = s->clock;
    pthread_mutex_unlock(&s->lock);
    emu_host_until(clock);
    return code;
}

aclError aclrtCreateStream(aclrtStream *stream)
{
    emu_context *here = emu_here();
    if (!here) return EMU_RT_CONTEXT_NULL;
    if (!stream) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtCreateStream: NULL");
    const int gate = emu_gate("aclrtCreateStream");
    if (gate != 0) return gate;
    pthread_mutex_lock(&emu_lock);
    const bool is_full = here->device->n_streams >= emu_soc_here()->streams;
    *stream = is_full ? NULL : emu_stream_new(here);
    pthread_mutex_unlock(&emu_lock);
    return *stream
               ? 0
               : emu_fail(EMU_RT_NO_STREAM, "device %d has no stream left", here->device->number);
}

aclError aclrtCreateStreamWithConfig(aclrtStream *stream, uint32_t priority, uint32_t flag)
{
    (void)priority, (void)flag;
    return aclrtCreateStream(stream);
}

static int destroy(aclrtStream stream, bool drop)
{
    emu_stream *s = NULL;
    if (!stream) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtDestroyStream: NULL");
    const int code = emu_stream_of(stream, &s);
    if (code != 0) return code;
    emu_stream_delete(s, drop);
    return 0;
}

aclError aclrtDestroyStream(aclrtStream stream)
{
    return destroy(stream, false);
}

aclError aclrtDestroyStreamForce(aclrtStream stream)
{
    return destroy(stream, true);
}

aclError aclrtSynchronizeStream(aclrtStream stream)
{
    return aclrtSynchronizeStreamWithTimeout(stream, -1);
}

aclError aclrtSynchronizeStreamWithTimeout(aclrtStream stream, int32_t ms)
{
    emu_stream *s = NULL;
    if (ms == 0 || ms < -1) return emu_fail(EMU_RT_PARAM_INVALID, "a wait of %d ms", ms);
    const int64_t begin = emu_call_begin();
    int code = emu_stream_of(stream, &s);
    if (code == 0) code = emu_gate("aclrtSynchronizeStream");
    if (code == 0) code = emu_stream_wait(s, ms);
    emu_call_end("aclrtSynchronizeStream", begin);
    return code;
}

aclError aclrtStreamQuery(aclrtStream stream, aclrtStreamStatus *status)
{
    emu_stream *s = NULL;
    if (!status) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtStreamQuery: NULL");
    const int code = emu_stream_of(stream, &s);
    if (code == 0) *status = mze_queue_is_idle(s->queue) ? 0 : 1;
    return code;
}

/* ---- events ---- */

typedef struct event {
    uint64_t recorded, passed; /* how many records were put, and done */
    int64_t clock;             /* modelled, of the last one done */
    int users;                 /* tasks that know it; it goes with the last */
    bool ended;
} event;

static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t events_changed = PTHREAD_COND_INITIALIZER;

typedef struct mark {
    event *event;
    uint64_t number;
    emu_stream *stream;
    int64_t since; /* when the host gave it, modelled */
} mark;

static void leave(event *e) /* under the lock */
{
    if (--e->users == 0 && e->ended) free(e);
}

static void run_record(void *data, bool dropped)
{
    mark *m = data;
    (void)dropped; /* whoever waits must not wait for ever */
    pthread_mutex_lock(&events_lock);
    if (m->number > m->event->passed) m->event->passed = m->number;
    m->event->clock = emu_stream_spend(m->stream, m->since, 0);
    pthread_cond_broadcast(&events_changed);
    leave(m->event);
    pthread_mutex_unlock(&events_lock);
    free(m);
}

static void run_await(void *data, bool dropped)
{
    mark *m = data;
    pthread_mutex_lock(&events_lock);
    while (!dropped && m->event->passed < m->number)
        pthread_cond_wait(&events_changed, &events_lock);
    (void)emu_stream_spend(m->stream, m->event->clock, 0);
    leave(m->event);
    pthread_mutex_unlock(&events_lock);
    free(m);
}

static int put_mark(event *e, aclrtStream stream, bool records)
{
    emu_stream *s = NULL;
    mark *m = malloc(sizeof *m);
    const char *call = records ? "aclrtRecordEvent" : "aclrtStreamWaitEvent";
    const int64_t begin = emu_call_begin();
    int code = !m                        ? emu_fail(EMU_BAD_ALLOC, "no host memory")
               : !e || !emu_object_of(e) ? emu_fail(EMU_RT_INVALID_HANDLE, "no event")
                                         : emu_stream_of(stream, &s);
    if (code == 0) code = emu_gate(call);
    emu_call_end(call, begin);
    if (code != 0) {
        free(m);
        return code;
    }
    pthread_mutex_lock(&events_lock);
    if (records) e->recorded++;
    *m = (mark){e, e->recorded, s, emu_host_now()};
    e->users++;
    pthread_mutex_unlock(&events_lock);
    if (mze_queue_put(s->queue, records ? run_record : run_await, m)) return 0;
    run_record(m, true);
    return emu_fail(EMU_BAD_ALLOC, "no host memory");
}

aclError aclrtCreateEvent(aclrtEvent *out)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    event *e = out ? calloc(1, sizeof *e) : NULL;
    if (!e) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtCreateEvent: NULL or no memory");
    (void)emu_object_new(e);
    *out = e;
    return 0;
}

aclError aclrtCreateEventWithFlag(aclrtEvent *out, uint32_t flag)
{
    (void)flag;
    return aclrtCreateEvent(out);
}

aclError aclrtCreateEventExWithFlag(aclrtEvent *out, uint32_t flag)
{
    (void)flag;
    return aclrtCreateEvent(out);
}

aclError aclrtDestroyEvent(aclrtEvent handle)
{
    event *e = handle;
    if (!e || !emu_object_end(e)) return emu_fail(EMU_RT_INVALID_HANDLE, "no event: %p", handle);
    pthread_mutex_lock(&events_lock);
    e->ended = true;
    e->users++;
    leave(e);
    pthread_mutex_unlock(&events_lock);
    return 0;
}

aclError aclrtRecordEvent(aclrtEvent handle, aclrtStream stream)
{
    return put_mark(handle, stream, true);
}

aclError aclrtStreamWaitEvent(aclrtStream stream, aclrtEvent handle)
{
    return put_mark(handle, stream, false);
}

aclError aclrtQueryEventStatus(aclrtEvent handle, aclrtEventRecordedStatus *status)
{
    const event *e = handle;
    if (!e || !emu_object_of(e) || !status) return emu_fail(EMU_RT_INVALID_HANDLE, "no event");
    pthread_mutex_lock(&events_lock);
    *status = e->passed >= e->recorded ? 1 : 0;
    pthread_mutex_unlock(&events_lock);
    return 0;
}

aclError aclrtSynchronizeEvent(aclrtEvent handle)
{
    return aclrtSynchronizeEventWithTimeout(handle, -1);
}

aclError aclrtSynchronizeEventWithTimeout(aclrtEvent handle, int32_t ms)
{
    const event *e = handle;
    struct timespec end;
    int code = 0;
    if (!e || !emu_object_of(e)) return emu_fail(EMU_RT_INVALID_HANDLE, "no event");
    const int64_t begin = emu_call_begin();
    code = emu_gate("aclrtSynchronizeEvent");
    if (code != 0) return code;
    emu_tally(emu_here()->device->number, EMU_COUNT_host_waits, 1);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ms / 1000;
    pthread_mutex_lock(&events_lock);
    const uint64_t want = e->recorded;
    while (e->passed < want && code != ETIMEDOUT)
        code = ms < 0 ? pthread_cond_wait(&events_changed, &events_lock)
                      : pthread_cond_timedwait(&events_changed, &events_lock, &end);
    const bool is_done = e->passed >= want;
    if (is_done) emu_host_until(e->clock);
    pthread_mutex_unlock(&events_lock);
    emu_call_end("aclrtSynchronizeEvent", begin);
    return is_done ? 0
                   : emu_fail(EMU_RT_EVENT_SYNC_TIMEOUT, "the event is not there after %d ms", ms);
}

/* Modelled, as the trace has it. */
aclError aclrtEventElapsedTime(float *ms, aclrtEvent start, aclrtEvent end)
{
    const event *a = start, *b = end;
    if (!a || !b || !ms || !emu_object_of(a) || !emu_object_of(b))
        return emu_fail(EMU_RT_INVALID_HANDLE, "no event");
    pthread_mutex_lock(&events_lock);
    const bool is_there = a->passed && b->passed;
    *ms = (float)((double)(b->clock - a->clock) * 1e-6);
    pthread_mutex_unlock(&events_lock);
    return is_there ? 0 : emu_fail(EMU_RT_PARAM_INVALID, "an event was not recorded");
}
