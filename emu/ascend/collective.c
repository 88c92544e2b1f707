/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/collective.c - what every collective has in common: its checks, its turn among the
 * collectives of its communicator, rounds with the other ranks, planned faults, and what is booked.
 *
 * A rank that fails breaks the communicator, so that the others need not wait for what will not
 * come. On a chip they would, for HCCL_EXEC_TIMEOUT. */
#include "ascend/collective.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURN_MS = 20 };
static const uint64_t COUNT_MAX = UINT64_C(1) << 48;

bool emu_collective_fail(emu_collective *k, int code, int error, const char *format, ...)
{
    char why[EMU_LINK_WHY];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    emu_stream_fault(k->stream, code, "%s", why);
    pthread_mutex_lock(&k->comm->lock);
    if (!k->comm->error) k->comm->error = error;
    pthread_cond_broadcast(&k->comm->changed);
    pthread_mutex_unlock(&k->comm->lock);
    emu_link_break(k->comm->shared, why);
    return false;
}

/* ---- rounds ---- */

static unsigned behind(emu_link_shared *shared, void *data)
{
    const emu_comm *c = data;
    unsigned who = 0;
    for (int r = 0; r < c->n; r++)
        if ((int32_t)(atomic_load(&shared->seat[r].step) - c->step) < 0) who |= 1U << r;
    return who;
}

bool emu_collective_fail_waiting(emu_collective *k, emu_link_end end, unsigned who)
{
    const emu_comm *c = k->comm;
    char names[64] = "";
    emu_link_names(who, names, sizeof names);
    switch (end) {
    case EMU_LINK_LATE:
        return emu_collective_fail(
            k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_TIMEOUT,
            "EI0002: %s: rank %d waited %lld s (HCCL_EXEC_TIMEOUT) for rank %s", k->row.call,
            c->rank, (long long)c->exec_seconds, names);
    case EMU_LINK_GONE:
        return emu_collective_fail(k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_REMOTE,
                                   "EI0002: %s: the process of rank %s has ended", k->row.call,
                                   names);
    case EMU_LINK_BROKEN:
        return emu_collective_fail(k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_REMOTE, "%s",
                                   atomic_load(&c->shared->broken) == 2 ? c->shared->why
                                                                        : "a rank has failed");
    case EMU_LINK_THERE:
    case EMU_LINK_LEFT:
    default:
        return emu_collective_fail(k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_REMOTE,
                                   "EI0002: %s: the stream of rank %d was destroyed before its end",
                                   k->row.call, c->rank);
    }
}

static bool wait_for_all(emu_collective *k)
{
    unsigned who = 0;
    emu_comm *c = k->comm;
    const emu_link_end end = emu_link_wait(c->shared, k->stream, c->exec_seconds, behind, c, &who);
    return end == EMU_LINK_THERE || emu_collective_fail_waiting(k, end, who);
}

static bool disagree(emu_collective *k, int rank, const char *what, const char *own,
                     const char *other)
{
    return emu_collective_fail(k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_PARA,
                               "EI0005: %s: the ranks disagree: %s is %s on rank %d, %s on rank %d",
                               k->row.call, what, own, k->comm->rank, other, rank);
}

/* Every rank sees every row, so all come to the same verdict. */
static bool check_rows(emu_collective *k)
{
    const emu_comm *c = k->comm;
    for (int r = 0; r < c->n; r++) {
        const emu_link_row *a = &k->row, *b = &c->shared->seat[r].row;
        char own[32], other[32];
        if (strncmp(a->call, b->call, sizeof a->call) != 0)
            return disagree(k, r, "the call", a->call, b->call);
        const struct {
            const char *name;
            uint64_t own, other;
        } rows[] = {{"count", a->count, b->count},
                    {"dataType", (uint64_t)a->type, (uint64_t)b->type},
                    {"op", (uint64_t)a->op, (uint64_t)b->op},
                    {"root", a->root, b->root}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (rows[i].own == rows[i].other) continue;
            (void)snprintf(own, sizeof own, "%llu", (unsigned long long)rows[i].own);
            (void)snprintf(other, sizeof other, "%llu", (unsigned long long)rows[i].other);
            return disagree(k, r, rows[i].name, own, other);
        }
        if (c->shared->seat[r].clock > k->clock) k->clock = c->shared->seat[r].clock;
    }
    return true;
}

static void step_on(emu_collective *k)
{
    emu_comm *c = k->comm;
    c->step++;
    atomic_store(&c->shared->seat[c->rank].step, c->step);
    emu_link_ring(c->shared);
}

bool emu_round_begin(emu_collective *k, const void *bytes, size_t n)
{
    emu_comm *c = k->comm;
    emu_link_seat *seat = &c->shared->seat[c->rank];
    if (!wait_for_all(k)) return false; /* until all have read the round before */
    if (n) memcpy(emu_link_stage(c->shared, c->rank), bytes, n);
    seat->row = k->row;
    seat->clock = k->clock;
    step_on(k);
    return wait_for_all(k) && check_rows(k);
}

const unsigned char *emu_round_of(const emu_collective *k, int rank)
{
    return emu_link_stage(k->comm->shared, rank);
}

void emu_round_end(emu_collective *k)
{
    step_on(k);
}

/* ---- the task ---- */

static bool is_ending(emu_stream *s)
{
    pthread_mutex_lock(&s->lock);
    const bool is = s->is_ending;
    pthread_mutex_unlock(&s->lock);
    return is;
}

/* Under the communicator's lock: whether all that was given before it in its lanes is done. */
static bool is_first(const emu_collective *k)
{
    for (int i = 0; i < EMU_LANES; i++)
        if (k->lanes & 1U << i && k->comm->done[i] != k->number[i]) return false;
    return true;
}

/* False: the communicator has failed. */
static bool take_turn(emu_collective *k)
{
    emu_comm *c = k->comm;
    bool is_good = true;
    pthread_mutex_lock(&c->lock);
    while (!is_first(k) && !c->error) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += TURN_MS * 1000000L;
        t.tv_sec += t.tv_nsec / 1000000000L;
        t.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&c->changed, &c->lock, &t);
        if (is_ending(k->stream)) break;
    }
    is_good = is_first(k) && !c->error;
    const int error = c->error;
    pthread_mutex_unlock(&c->lock);
    if (is_good) return true;
    if (!error) return emu_collective_fail_waiting(k, EMU_LINK_LEFT, 0);
    emu_stream_fault(k->stream, EMU_RT_PEER_TIMEOUT,
                     "EI0002: %s: the communicator failed before (HcclResult %d)", k->row.call,
                     error);
    return false;
}

/* What a planned fault makes of it. False: it does not run. */
static bool survives(emu_collective *k)
{
    const emu_fault *f = k->fault;
    emu_device *d = k->comm->device;
    if (emu_is_dying(d))
        return emu_collective_fail(k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_REMOTE,
                                   "EI0002: %s: device %d is lost", k->row.call, d->number);
    if (atomic_load(&k->comm->shared->broken))
        return emu_collective_fail_waiting(k, EMU_LINK_BROKEN, 0);
    if (!f || f->kind == EMU_FAULT_FLIP || f->kind == EMU_FAULT_SILENT) return true;
    if (f->kind == EMU_FAULT_HCCL)
        return emu_collective_fail(k, EMU_RT_PEER_TIMEOUT, f->code,
                                   "EI0002: %s on rank %d does not end in time (planned)",
                                   k->row.call, k->comm->rank);
    if (f->kind == EMU_FAULT_ENDLESS) {
        emu_stream_hang(k->stream);
        return emu_collective_fail_waiting(k, EMU_LINK_LEFT, 0);
    }
    if (f->kind == EMU_FAULT_ECC || f->kind == EMU_FAULT_LOST) emu_lose(d, f->code);
    return emu_collective_fail(k, f->code, EMU_HCCL_REMOTE, "%s on device %d fails (planned)",
                               k->row.call, d->number);
}

static bool resolve(emu_collective *k)
{
    mze_memory *m = k->comm->device->memory;
    const size_t out = k->n_send * k->size, in = k->n_recv * k->size;
    k->from = out ? mze_memory_view(m, k->send, out) : NULL;
    k->to = in ? mze_memory_view(m, k->recv, in) : NULL;
    if ((!out || k->from) && (!in || k->to)) return true;
    return emu_collective_fail(k, EMU_RT_SYS_DMA, EMU_HCCL_REMOTE,
                               "%s: memory of rank %d was freed before the stream came to it",
                               k->row.call, k->comm->rank);
}

static void flip(const emu_collective *k)
{
    const emu_fault *f = k->fault;
    const uint64_t bits = 8 * (uint64_t)k->size;
    if (!k->to || !k->n_recv) return;
    const uint64_t bit = f->bit >= 0 ? (uint64_t)f->bit % bits : bits - 2;
    const uint64_t at = (uint64_t)f->element % k->n_recv * bits + bit;
    k->to[at / 8] ^= (unsigned char)(1U << at % 8);
}

static void book(const emu_collective *k)
{
    char detail[160];
    const emu_comm *c = k->comm;
    const double sent = k->sent * (double)k->size;
    const int64_t ns = emu_time_of_link((int64_t)(k->on_link * (double)k->size));
    const int64_t begin = emu_stream_spend(k->stream, k->clock, ns);
    emu_tally(c->device->number, EMU_COUNT_collectives, 1);
    emu_tally(c->device->number, EMU_COUNT_link_bytes, (int64_t)sent);
    if (!emu_trace_is_on()) return;
    const emu_hccl_type *t = emu_hccl_type_of(k->row.type);
    (void)snprintf(detail, sizeof detail,
                   "\"count\": %llu, \"type\": \"%s\", \"rank\": %d, \"ranks\": %d, "
                   "\"link_bytes\": %.0f",
                   (unsigned long long)k->row.count, t ? t->name : "", c->rank, c->n, sent);
    emu_trace_task(k->stream, k->row.call, begin, ns, detail);
}

static bool run_it(emu_collective *k)
{
    unsigned char *to = NULL;
    if (!survives(k) || !resolve(k)) return false;
    k->clock = emu_stream_spend(k->stream, k->since, 0);
    const bool is_silent = k->fault && k->fault->kind == EMU_FAULT_SILENT;
    if (is_silent && k->to) {
        to = malloc(k->n_recv * k->size);
        if (!to) return emu_collective_fail(k, EMU_BAD_ALLOC, EMU_HCCL_MEMORY, "no host memory");
        memcpy(to, k->to, k->n_recv * k->size);
        k->to = to;
    }
    const bool is_good = k->run(k);
    free(to);
    if (is_good && k->fault && !is_silent) flip(k);
    if (is_good) book(k);
    return is_good;
}

static void run_task(void *data, bool dropped)
{
    emu_collective *k = data;
    emu_comm *c = k->comm;
    if (dropped)
        (void)emu_collective_fail_waiting(k, EMU_LINK_LEFT, 0);
    else if (take_turn(k))
        (void)run_it(k);
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < EMU_LANES; i++)
        if (k->lanes & 1U << i) c->done[i]++;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    emu_comm_leave(c);
    free(k->moves);
    free(k);
}

/* ---- the call ---- */

static int check_address(const emu_collective *k, const char *name, const void *at, uint64_t n,
                         size_t size)
{
    const emu_comm *c = k->comm;
    const char *call = k->row.call;
    if (n == 0) return 0;
    if (!at) return emu_fail(EMU_HCCL_PTR, "EI0003: %s: %s is NULL", call, name);
    const emu_device *owner = emu_owner(at);
    if (!owner)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: %s, %p, is not memory of a device", call, name,
                        at);
    if (owner != c->device)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: %s is of device %d, the communicator of %d",
                        call, name, owner->number, c->device->number);
    if (n > SIZE_MAX / size / 2 || !mze_memory_view(c->device->memory, at, n * size))
        return emu_fail(EMU_HCCL_PARA,
                        "EI0003: %s: %llu elements from %s on are not all in one allocation", call,
                        (unsigned long long)n, name);
    return 0;
}

/* Their ranks and types were looked at before. */
static int check_moves(const emu_collective *k)
{
    int code = 0;
    for (int i = 0; i < k->n_moves && code == 0; i++)
        code = check_address(k, k->moves[i].sends ? "sendBuf" : "recvBuf", k->moves[i].at,
                             k->moves[i].n, k->moves[i].size);
    return code;
}

static int check_memory(const emu_collective *k)
{
    int code = check_address(k, "sendBuf", k->send, k->n_send, k->size);
    if (code == 0) code = check_address(k, "recvBuf", k->recv, k->n_recv, k->size);
    return code == 0 ? check_moves(k) : code;
}

static int check_stream(emu_collective *k, aclrtStream stream)
{
    const char *call = k->row.call;
    if (!stream) return emu_fail(EMU_HCCL_PTR, "EI0003: %s: stream is NULL", call);
    if (!emu_object_of(stream))
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: %p is no stream", call, stream);
    k->stream = stream;
    if (k->stream->context->device == k->comm->device) return 0;
    return emu_fail(EMU_HCCL_PARA, "EI0003: %s: the stream is of device %d, the communicator of %d",
                    call, k->stream->context->device->number, k->comm->device->number);
}

static int check_row(const emu_collective *k)
{
    const emu_link_row *row = &k->row;
    const emu_hccl_type *t = emu_hccl_type_of(row->type);
    if (!t)
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: %s: %s has no dataType %d", row->call,
                        emu_soc_here()->name, row->type);
    const char *why = row->op >= 0 ? emu_hccl_cannot(row->type, row->op) : NULL;
    if (why)
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: %s: dataType %s, op %d: %s", row->call,
                        t->name, row->op, why);
    if (row->count > COUNT_MAX)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: count %llu is too large", row->call,
                        (unsigned long long)row->count);
    if (row->root >= (uint32_t)k->comm->n)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: rank %u of %d ranks", row->call, row->root,
                        k->comm->n);
    return 0;
}

/* What HCCL takes of the device's memory once it is needed. */
static int take_buffer(emu_comm *c, const char *call)
{
    int code = 0;
    pthread_mutex_lock(&c->lock);
    if (!c->buffer && c->room && !mze_memory_alloc(c->device->memory, c->room, 64, &c->buffer))
        code = emu_fail(EMU_HCCL_MEMORY,
                        "EL0004: %s: %zu bytes of buffers do not fit into device "
                        "%d (HCCL_BUFFSIZE)",
                        call, c->room, c->device->number);
    else
        emu_count_memory(c->device, 0);
    pthread_mutex_unlock(&c->lock);
    return code;
}

static int put(const emu_collective *k)
{
    emu_comm *c = k->comm;
    emu_collective *kept = malloc(sizeof *kept);
    if (!kept) return emu_fail(EMU_HCCL_MEMORY, "no host memory");
    *kept = *k;
    kept->fault =
        emu_fault_next(k->row.call, c->device->number, EMU_FAULTS_TASK | 1U << EMU_FAULT_HCCL);
    kept->since = emu_host_now();
    pthread_mutex_lock(&c->lock);
    if (!kept->lanes) kept->lanes = 1U << EMU_LANE_ALL;
    for (int i = 0; i < EMU_LANES; i++)
        if (kept->lanes & 1U << i) kept->number[i] = c->put[i]++;
    c->users++;
    const bool is_put = mze_queue_put(k->stream->queue, run_task, kept);
    pthread_mutex_unlock(&c->lock);
    if (is_put) return 0;
    kept->moves = NULL; /* still the caller's */
    run_task(kept, true);
    return emu_fail(EMU_HCCL_MEMORY, "no host memory");
}

static int ask(emu_collective *k, HcclComm comm, aclrtStream stream)
{
    const char *call = k->row.call;
    int code = emu_comm_of(comm, call, &k->comm);
    if (code == 0) code = emu_gate_hccl(call);
    if (code == 0 && k->comm->is_suspended)
        code = emu_fail(EMU_HCCL_SUSPENDING, "%s: the communicator is suspended", call);
    if (code == 0) code = check_row(k);
    if (code == 0) code = check_stream(k, stream);
    if (code != 0) return code;
    k->size = emu_hccl_type_of(k->row.type)->size;
    code = k->shape ? k->shape(k) : 0;
    if (code == 0) code = check_memory(k);
    if (code == 0) code = take_buffer(k->comm, call);
    return code == 0 ? put(k) : code;
}

HcclResult emu_collective_ask(emu_collective *k, HcclComm comm, aclrtStream stream)
{
    const int64_t begin = emu_call_begin();
    const int code = ask(k, comm, stream);
    emu_call_end(k->row.call, begin);
    if (code != 0) free(k->moves);
    return code;
}
