/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/memory.c - the emulated driver's allocations and copies.
 *
 * The direction of a copy follows from its addresses, as the documentation says. One that touches
 * memory of a host which was not pinned is over when the call returns. */
#include "ascend/book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct pinned {
    struct pinned *next;
    unsigned char *at;
    size_t bytes;
} pinned;
static pinned *all_pinned;
static pthread_mutex_t pinned_lock = PTHREAD_MUTEX_INITIALIZER;

/* TAIL: what an allocation gets beyond what was asked for, which vector instructions may read. */
enum { ALIGN = 64, UNIT = 32, TAIL = 32 };

void emu_count_memory(const emu_device *d, int64_t allocations)
{
    size_t used = 0, total = 0, blocks = 0;
    mze_memory_used(d->memory, &used, &total, &blocks);
    emu_tally(d->number, EMU_COUNT_allocations, allocations);
    emu_tally_set(d->number, EMU_COUNT_bytes_in_use, (int64_t)used);
    emu_tally_to(d->number, EMU_COUNT_bytes_peak, (int64_t)used);
}

static aclError allocate(void **at, size_t bytes, aclrtMemMallocPolicy policy)
{
    const emu_context *here = emu_here();
    if (!here) return EMU_RT_CONTEXT_NULL;
    if (!at || !bytes) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtMalloc: NULL or no bytes");
    if (policy < 0) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtMalloc: policy %d", policy);
    const size_t want =
        bytes <= SIZE_MAX - UNIT - TAIL ? (bytes + UNIT - 1) / UNIT * UNIT + TAIL : 0;
    const int gate = emu_gate("aclrtMalloc");
    if (gate != 0) return gate;
    if (!want || !mze_memory_alloc(here->device->memory, want, ALIGN, at))
        return emu_fail(EMU_RT_MEMORY_ALLOCATION,
                        "aclrtMalloc: %zu bytes do not fit into device %d", bytes,
                        here->device->number);
    emu_count_memory(here->device, 1);
    return 0;
}

aclError aclrtMalloc(void **at, size_t bytes, aclrtMemMallocPolicy policy)
{
    const int64_t begin = emu_call_begin();
    const aclError code = allocate(at, bytes, policy);
    emu_call_end("aclrtMalloc", begin);
    return code;
}

aclError aclrtMallocAlign32(void **at, size_t bytes, aclrtMemMallocPolicy policy)
{
    return aclrtMalloc(at, bytes, policy);
}

static aclError give_back(void *at)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    emu_device *d = emu_owner(at);
    if (d && mze_memory_free(d->memory, at)) {
        emu_count_memory(d, 0);
        return 0;
    }
    return emu_fail(EMU_RT_PARAM_INVALID, "aclrtFree: no allocation of a device begins at %p", at);
}

aclError aclrtFree(void *at)
{
    const int64_t begin = emu_call_begin();
    const aclError code = give_back(at);
    emu_call_end("aclrtFree", begin);
    return code;
}

static aclError allocate_pinned(void **at, size_t bytes)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    if (!at || !bytes) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtMallocHost: NULL or no bytes");
    const int gate = emu_gate("aclrtMallocHost");
    if (gate != 0) return gate;
    pinned *p = malloc(sizeof *p);
    const size_t want = bytes <= SIZE_MAX - ALIGN ? (bytes + ALIGN - 1) / ALIGN * ALIGN : 0;
    if (p) *p = (pinned){NULL, want ? aligned_alloc(ALIGN, want) : NULL, bytes};
    if (!p || !p->at) {
        free(p);
        return emu_fail(EMU_RT_MEMORY_ALLOCATION, "aclrtMallocHost: %zu bytes", bytes);
    }
    pthread_mutex_lock(&pinned_lock);
    p->next = all_pinned;
    all_pinned = p;
    pthread_mutex_unlock(&pinned_lock);
    *at = p->at;
    return 0;
}

aclError aclrtMallocHost(void **at, size_t bytes)
{
    const int64_t begin = emu_call_begin();
    const aclError code = allocate_pinned(at, bytes);
    emu_call_end("aclrtMallocHost", begin);
    return code;
}

aclError aclrtFreeHost(void *at)
{
    pthread_mutex_lock(&pinned_lock);
    pinned **p = &all_pinned;
    while (*p && (*p)->at != at) p = &(*p)->next;
    pinned *found = *p;
    if (found) *p = found->next;
    pthread_mutex_unlock(&pinned_lock);
    if (!found) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtFreeHost: not pinned memory: %p", at);
    free(found->at);
    free(found);
    return 0;
}

bool emu_is_pinned(const void *at)
{
    bool is_pinned = false;
    const uintptr_t want = (uintptr_t)at;
    pthread_mutex_lock(&pinned_lock);
    for (const pinned *p = all_pinned; p && !is_pinned; p = p->next)
        is_pinned = want >= (uintptr_t)p->at && want < (uintptr_t)p->at + p->bytes;
    pthread_mutex_unlock(&pinned_lock);
    return is_pinned;
}

aclError aclrtGetMemInfo(aclrtMemAttr attr, size_t *free_bytes, size_t *total)
{
    size_t used = 0, blocks = 0;
    emu_context *here = emu_here();
    if (!here) return EMU_RT_CONTEXT_NULL;
    if (!free_bytes || !total) return emu_fail(EMU_INVALID_PARAM, "aclrtGetMemInfo: NULL");
    *free_bytes = *total = 0;
    if (attr != 1 && attr != 4 && attr != 5) return 0; /* memory of a kind that is not there */
    mze_memory_used(here->device->memory, &used, total, &blocks);
    *free_bytes = *total - used;
    return 0;
}

/* ---- copies ---- */

typedef struct move {
    emu_stream *stream;
    unsigned char *dst;
    const unsigned char *src; /* NULL: fill with value */
    size_t bytes;
    int value;
    int64_t since; /* when the host gave it, modelled */
    const emu_fault *fault;
} move;

static int64_t book_move(const move *m, int device, const char **name)
{
    const bool up = m->src && !emu_owner(m->src), down = !emu_owner(m->dst);
    *name = up ? "copy from the host" : down ? "copy to the host" : m->src ? "copy" : "fill";
    emu_tally(device,
              up     ? EMU_COUNT_bytes_up
              : down ? EMU_COUNT_bytes_down
                     : EMU_COUNT_bytes_within,
              (int64_t)m->bytes);
    return emu_time_of_copy((int64_t)m->bytes, up || down);
}

/* Our view of an address of either kind; NULL: device memory that is not allocated. */
static void *view_of(const void *at, size_t bytes)
{
    emu_device *d = emu_owner(at);
    if (d) return mze_memory_view(d->memory, at, bytes);
    return mze_ranges_own(NULL, at) ? NULL : (void *)(uintptr_t)at;
}

static void run_move(void *data, bool dropped)
{
    move *m = data;
    unsigned char *dst = dropped ? NULL : view_of(m->dst, m->bytes);
    const unsigned char *src = m->src ? view_of(m->src, m->bytes) : m->dst;
    if (dst && src &&
        !emu_survives(m->fault, m->stream, m->src ? "aclrtMemcpyAsync" : "aclrtMemsetAsync")) {
        free(m);
        return;
    }
    if (!dropped && (!dst || !src))
        emu_stream_fault(m->stream, EMU_RT_SYS_DMA,
                         "a copy of %zu bytes reaches device memory that is not allocated",
                         m->bytes);
    else if (!dropped && m->src)
        memmove(dst, src, m->bytes);
    else if (!dropped)
        memset(dst, m->value, m->bytes);
    if (dst && src && m->fault) emu_flip_bytes(dst, m->bytes, m->fault);
    if (dst && src) {
        char detail[64];
        const char *name = "";
        const int64_t ns = book_move(m, m->stream->context->device->number, &name);
        const int64_t begin = emu_stream_spend(m->stream, m->since, ns);
        (void)snprintf(detail, sizeof detail, "\"bytes\": %zu", m->bytes);
        emu_trace_task(m->stream, name, begin, ns, detail);
    }
    free(m);
}

static int check_move(const move *m, size_t room, const char *call)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    if (!m->dst || !m->src) return emu_fail(EMU_RT_PARAM_INVALID, "%s: NULL", call);
    if (m->bytes > room)
        return emu_fail(EMU_RT_PARAM_INVALID, "%s: %zu bytes where %zu have room", call, m->bytes,
                        room);
    return 0;
}

static int put_move(move m, aclrtStream handle, bool waits)
{
    const int code = emu_stream_of(handle, &m.stream);
    if (code != 0) return code;
    move *kept = malloc(sizeof *kept);
    if (!kept) return emu_fail(EMU_BAD_ALLOC, "no host memory");
    *kept = m;
    kept->since = emu_host_now();
    kept->fault = emu_fault_next(m.src ? "aclrtMemcpyAsync" : "aclrtMemsetAsync",
                                 emu_here()->device->number, EMU_FAULTS_TASK);
    if (!mze_queue_put(m.stream->queue, run_move, kept)) {
        free(kept);
        return emu_fail(EMU_BAD_ALLOC, "no host memory");
    }
    return waits ? emu_stream_wait(m.stream, -1) : 0;
}

/* Not on a stream: what other streams have to do is not waited for. */
static int move_now(const move *m, const char *call)
{
    unsigned char *dst = view_of(m->dst, m->bytes);
    const unsigned char *src = view_of(m->src, m->bytes);
    if (!dst || !src)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "%s: %zu bytes reach device memory that is not "
                        "allocated",
                        call, m->bytes);
    memmove(dst, src, m->bytes);
    const char *name = "";
    const int device = emu_here()->device->number;
    emu_host_until(emu_host_now() + book_move(m, device, &name));
    emu_tally(device, EMU_COUNT_host_waits, 1);
    emu_counters_write();
    return 0;
}

aclError aclrtMemcpy(void *dst, size_t room, const void *src, size_t bytes, aclrtMemcpyKind kind)
{
    const move m = {.dst = dst, .src = src, .bytes = bytes};
    (void)kind;
    const int64_t begin = emu_call_begin();
    int code = check_move(&m, room, "aclrtMemcpy");
    if (code == 0) code = emu_gate("aclrtMemcpy");
    if (code == 0) code = move_now(&m, "aclrtMemcpy");
    emu_call_end("aclrtMemcpy", begin);
    return code;
}

static aclError put_copy(void *dst, size_t room, const void *src, size_t bytes, aclrtStream stream)
{
    const move m = {.dst = dst, .src = src, .bytes = bytes};
    int code = check_move(&m, room, "aclrtMemcpyAsync");
    if (code == 0) code = emu_gate("aclrtMemcpyAsync");
    if (code != 0) return code;
    const bool to_host = !emu_owner(dst), from_host = !emu_owner(src);
    if (to_host && from_host)
        return emu_fail(EMU_RT_FEATURE_NOT_SUPPORT, "aclrtMemcpyAsync: from host to host");
    const bool waits = (to_host && !emu_is_pinned(dst)) || (from_host && !emu_is_pinned(src));
    return put_move(m, stream, waits);
}

aclError aclrtMemcpyAsync(void *dst, size_t room, const void *src, size_t bytes,
                          aclrtMemcpyKind kind, aclrtStream stream)
{
    (void)kind;
    const int64_t begin = emu_call_begin();
    const aclError code = put_copy(dst, room, src, bytes, stream);
    emu_call_end("aclrtMemcpyAsync", begin);
    return code;
}

aclError aclrtMemset(void *at, size_t room, int32_t value, size_t bytes)
{
    const move m = {.dst = at, .src = at, .bytes = bytes};
    int code = check_move(&m, room, "aclrtMemset");
    if (code == 0) code = emu_gate("aclrtMemset");
    if (code == 0) code = move_now(&m, "aclrtMemset");
    if (code == 0) memset(view_of(at, bytes), value, bytes);
    return code;
}

aclError aclrtMemsetAsync(void *at, size_t room, int32_t value, size_t bytes, aclrtStream stream)
{
    move m = {.dst = at, .src = at, .bytes = bytes, .value = value};
    const int64_t begin = emu_call_begin();
    int code = check_move(&m, room, "aclrtMemsetAsync");
    if (code == 0) code = emu_gate("aclrtMemsetAsync");
    m.src = NULL;
    if (code == 0) code = put_move(m, stream, false);
    emu_call_end("aclrtMemsetAsync", begin);
    return code;
}
