/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/moves.c - what goes from one rank to another: sending, receiving, several of both at
 * once, and the collectives in which every rank has another part for every other.
 *
 * A sender is done when the receiver has taken all: two ranks that both send first wait for ever,
 * as they may on a chip. Of moves between the same two ranks the first comes first. */
#include "ascend/collective.h"

#include <stdlib.h>
#include <string.h>

/* ---- all moves of a task, as far as they go ---- */

typedef struct going {
    emu_collective *k;
    int set;
    bool has_failed;
} going;

static emu_link_pair *pair_of(const going *g, const emu_move *m)
{
    const emu_comm *c = g->k->comm;
    return m->sends ? &c->shared->pair[g->set][c->rank][m->peer]
                    : &c->shared->pair[g->set][m->peer][c->rank];
}

static bool push(const going *g, emu_move *m)
{
    emu_link_pair *p = pair_of(g, m);
    emu_comm *c = g->k->comm;
    const uint64_t all = m->n * m->size;
    if (atomic_load(&p->put) != atomic_load(&p->taken)) return false;
    if (m->has_begun && m->moved == all) {
        m->is_over = true; /* the last piece was taken */
        if (p->clock[1] > g->k->clock) g->k->clock = p->clock[1];
        return true;
    }
    const uint64_t n = all - m->moved < EMU_LINK_PAIR ? all - m->moved : EMU_LINK_PAIR;
    if (n) memcpy(emu_link_piece(c->shared, g->set, c->rank, m->peer), m->view + m->moved, n);
    p->bytes = n, p->all = all, p->type = m->type, p->clock[0] = g->k->since;
    m->moved += n;
    m->has_begun = true;
    atomic_fetch_add(&p->put, 1);
    emu_link_ring(c->shared);
    return true;
}

static bool pull(going *g, emu_move *m)
{
    emu_link_pair *p = pair_of(g, m);
    emu_collective *k = g->k;
    emu_comm *c = k->comm;
    if (atomic_load(&p->put) == atomic_load(&p->taken)) return false;
    if (p->all != m->n * m->size || p->type != m->type) {
        g->has_failed = true;
        return emu_collective_fail(
            k, EMU_RT_PEER_TIMEOUT, EMU_HCCL_PARA,
            "EI0005: %s: rank %d sends %llu bytes of dataType %d, rank %d takes %llu of %d",
            k->row.call, m->peer, (unsigned long long)p->all, p->type, c->rank,
            (unsigned long long)(m->n * m->size), m->type);
    }
    if (m->view)
        memcpy(m->view + m->moved, emu_link_piece(c->shared, g->set, m->peer, c->rank), p->bytes);
    m->moved += p->bytes;
    m->is_over = m->moved == m->n * m->size;
    if (p->clock[0] > k->clock) k->clock = p->clock[0];
    p->clock[1] = k->since;
    atomic_fetch_add(&p->taken, 1);
    emu_link_ring(c->shared);
    return true;
}

/* Whether an earlier move of the task has the same pair. */
static bool is_behind(const emu_collective *k, int i)
{
    for (int j = 0; j < i; j++)
        if (!k->moves[j].is_over && k->moves[j].sends == k->moves[i].sends &&
            k->moves[j].peer == k->moves[i].peer)
            return true;
    return false;
}

/* The ranks that something is still to go to or to come from. */
static unsigned go_on(emu_link_shared *shared, void *data)
{
    going *g = data;
    emu_collective *k = g->k;
    unsigned who = 0;
    bool is_moving = true;
    (void)shared;
    while (is_moving && !g->has_failed) {
        is_moving = false;
        who = 0;
        for (int i = 0; i < k->n_moves && !g->has_failed; i++) {
            emu_move *m = &k->moves[i];
            if (m->is_over) continue;
            if (!is_behind(k, i)) is_moving |= m->sends ? push(g, m) : pull(g, m);
            if (!m->is_over) who |= 1U << m->peer;
        }
    }
    return g->has_failed ? 0 : who;
}

bool emu_moves_run(emu_collective *k, int set)
{
    going g = {k, set, false};
    unsigned who = 0;
    const emu_link_end end =
        emu_link_wait(k->comm->shared, k->stream, k->comm->exec_seconds, go_on, &g, &who);
    if (end != EMU_LINK_THERE) return emu_collective_fail_waiting(k, end, who);
    return !g.has_failed;
}

/* ---- sending and receiving ---- */

static bool run_sends(emu_collective *k)
{
    const bool is_silent = k->fault && k->fault->kind == EMU_FAULT_SILENT;
    for (int i = 0; i < k->n_moves; i++) {
        emu_move *m = &k->moves[i];
        if (m->n == 0) continue;
        m->view = mze_memory_view(k->comm->device->memory, m->at, m->n * m->size);
        if (!m->view)
            return emu_collective_fail(k, EMU_RT_SYS_DMA, EMU_HCCL_REMOTE,
                                       "%s: memory of rank %d was freed before the stream came to "
                                       "it",
                                       k->row.call, k->comm->rank);
        if (m->sends) continue;
        if (is_silent) m->view = NULL;
        k->to = m->view; /* what a flip is of */
        k->n_recv = m->n;
        k->size = m->size;
    }
    return emu_moves_run(k, 0);
}

static int shape_sends(emu_collective *k)
{
    double sent[EMU_LINK_RANKS] = {0};
    k->size = 1; /* what is booked are bytes */
    for (int i = 0; i < k->n_moves; i++) {
        const emu_move *m = &k->moves[i];
        if (m->peer < 0 || m->peer >= k->comm->n)
            return emu_fail(EMU_HCCL_PARA, "EI0003: %s: rank %d of %d ranks", k->row.call, m->peer,
                            k->comm->n);
        if (m->peer == k->comm->rank && k->n_moves == 1)
            return emu_fail(EMU_HCCL_PARA, "EI0003: %s: from rank %d to itself", k->row.call,
                            m->peer);
        k->lanes |= 1U << ((m->sends ? EMU_LANE_SEND : EMU_LANE_RECV) + m->peer);
        if (m->peer == k->comm->rank) continue;
        sent[m->peer] += (double)(m->n * m->size);
        if (m->sends) k->sent += (double)(m->n * m->size);
        if (sent[m->peer] > k->on_link) k->on_link = sent[m->peer];
    }
    return 0;
}

/* Takes the moves, NULL where there was no memory for them. */
static HcclResult ask_moves(const char *call, emu_move *moves, int n, HcclComm comm,
                            aclrtStream stream)
{
    emu_collective k = {.row = {.op = -1, .count = 1}, .moves = moves, .n_moves = n};
    strncpy(k.row.call, call, sizeof k.row.call - 1);
    if (!moves) return emu_fail(EMU_HCCL_MEMORY, "%s: no host memory", call);
    for (int i = 0; i < n; i++) {
        const emu_hccl_type *t = emu_hccl_type_of(moves[i].type);
        if (!t) {
            const int type = moves[i].type;
            free(moves);
            return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: %s: %s has no dataType %d", call,
                            emu_soc_here()->name, type);
        }
        moves[i].size = t->size;
    }
    k.row.type = moves[0].type;
    k.shape = shape_sends;
    k.run = run_sends;
    return emu_collective_ask(&k, comm, stream);
}

/* ---- a group of calls ---- */

/* What this thread has given since the first HcclGroupStart. */
typedef struct grouped {
    emu_move move;
    HcclComm comm;
    aclrtStream stream;
} grouped;
static _Thread_local grouped *group;
static _Thread_local int n_group, depth;

HcclResult HcclGroupStart(void)
{
    depth++;
    return 0;
}

/* All of one communicator and stream, as one task. */
static HcclResult give_group(int first)
{
    int n = 0;
    const HcclComm comm = group[first].comm;
    const aclrtStream stream = group[first].stream;
    emu_move *moves = calloc((size_t)n_group, sizeof *moves);
    for (int i = first; i < n_group; i++) {
        if (group[i].comm != comm || group[i].stream != stream) continue;
        if (moves) moves[n++] = group[i].move;
        group[i].comm = NULL;
    }
    return ask_moves("HcclGroupEnd", moves, n, comm, stream);
}

HcclResult HcclGroupEnd(void)
{
    HcclResult code = 0;
    if (depth == 0) return emu_fail(EMU_HCCL_PARA, "HcclGroupEnd without HcclGroupStart");
    if (--depth > 0) return 0;
    for (int i = 0; i < n_group; i++) {
        const HcclResult one = group[i].comm ? give_group(i) : 0;
        if (code == 0) code = one;
    }
    free(group);
    group = NULL;
    n_group = 0;
    return code;
}

static HcclResult ask_one(const char *call, emu_move move, HcclComm comm, aclrtStream stream)
{
    emu_comm *c = NULL;
    if (move.n == 0) return 0;
    if (depth == 0) {
        emu_move *own = malloc(sizeof *own);
        if (own) *own = move;
        return ask_moves(call, own, 1, comm, stream);
    }
    const int code = emu_comm_of(comm, call, &c);
    if (code != 0) return code;
    grouped *more = realloc(group, (size_t)(n_group + 1) * sizeof *more);
    if (!more) return emu_fail(EMU_HCCL_MEMORY, "%s: no host memory", call);
    group = more;
    group[n_group++] = (grouped){move, comm, stream};
    return 0;
}

HcclResult HcclSend(void *at, uint64_t count, HcclDataType type, uint32_t to, HcclComm comm,
                    aclrtStream stream)
{
    const emu_move m = {.sends = true, .peer = (int)to, .type = type, .at = at, .n = count};
    return ask_one("HcclSend", m, comm, stream);
}

HcclResult HcclRecv(void *at, uint64_t count, HcclDataType type, uint32_t from, HcclComm comm,
                    aclrtStream stream)
{
    const emu_move m = {.peer = (int)from, .type = type, .at = at, .n = count};
    return ask_one("HcclRecv", m, comm, stream);
}

struct HcclSendRecvItemDef {
    int receives;
    void *at;
    uint64_t count;
    int type;
    uint32_t peer;
};

HcclResult HcclBatchSendRecv(HcclSendRecvItem *items, uint32_t n, HcclComm comm, aclrtStream stream)
{
    int used = 0;
    if (n == 0) return 0;
    if (!items) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclBatchSendRecv: sendRecvInfo is NULL");
    emu_move *moves = calloc(n, sizeof *moves);
    for (uint32_t i = 0; moves && i < n; i++) {
        if (items[i].receives != 0 && items[i].receives != 1) {
            free(moves);
            return emu_fail(EMU_HCCL_PARA, "EI0003: HcclBatchSendRecv: item %u has type %d", i,
                            items[i].receives);
        }
        if (items[i].count)
            moves[used++] = (emu_move){.sends = !items[i].receives,
                                       .peer = (int)items[i].peer,
                                       .type = items[i].type,
                                       .at = items[i].at,
                                       .n = items[i].count};
    }
    if (moves && !used) {
        free(moves);
        return 0;
    }
    return ask_moves("HcclBatchSendRecv", moves, used, comm, stream);
}

/* ---- a part for every other ---- */

static bool run_exchange(emu_collective *k)
{
    const emu_comm *c = k->comm;
    emu_move moves[2 * EMU_LINK_RANKS] = {{0}};
    if (!emu_round_begin(k, NULL, 0)) return false; /* what all must agree on */
    emu_round_end(k);
    for (int i = 0; i < 2 * c->n; i++) {
        const int peer = i / 2;
        emu_move *m = &moves[i];
        *m = (emu_move){.sends = i % 2 == 0, .peer = peer, .type = k->row.type, .size = k->size};
        m->n = m->sends ? k->out_n[peer] : k->in_n[peer];
        if (m->n)
            m->view = m->sends ? (unsigned char *)(uintptr_t)k->from + k->out_at[peer] * k->size
                               : k->to + k->in_at[peer] * k->size;
    }
    k->moves = moves;
    k->n_moves = 2 * c->n;
    const bool is_good = emu_moves_run(k, 1);
    k->moves = NULL;
    k->n_moves = 0;
    return is_good;
}

/* From the parts: how far the buffers go, and what goes over links. */
static int shape_exchange(emu_collective *k)
{
    const emu_comm *c = k->comm;
    for (int r = 0; r < c->n; r++) {
        const uint64_t parts = k->out_n[r] | k->out_at[r] | k->in_n[r] | k->in_at[r];
        if (parts > UINT64_MAX / 8)
            return emu_fail(EMU_HCCL_PARA, "EI0003: %s: the part of rank %d is too large",
                            k->row.call, r);
        if (k->out_n[r] && k->out_at[r] + k->out_n[r] > k->n_send)
            k->n_send = k->out_at[r] + k->out_n[r];
        if (k->in_n[r] && k->in_at[r] + k->in_n[r] > k->n_recv)
            k->n_recv = k->in_at[r] + k->in_n[r];
        if (r == c->rank) continue;
        k->sent += (double)k->out_n[r];
        if ((double)k->out_n[r] > k->on_link) k->on_link = (double)k->out_n[r];
        if ((double)k->in_n[r] > k->on_link) k->on_link = (double)k->in_n[r];
    }
    if (k->n_send && k->send == k->recv)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: sendBuf and recvBuf are the same", k->row.call);
    return 0;
}

static int check_types(const char *call, HcclDataType send, HcclDataType recv)
{
    return send == recv
               ? 0
               : emu_fail(EMU_HCCL_PARA, "EI0003: %s: sendType %d, recvType %d", call, send, recv);
}

static void *own(const void *at)
{
    return (void *)(uintptr_t)at; /* what is received is written, though declared const */
}

static int shape_all_to_all(emu_collective *k)
{
    for (int r = 0; r < k->comm->n; r++) {
        k->out_n[r] = k->in_n[r] = k->row.count;
        k->out_at[r] = k->in_at[r] = (uint64_t)r * k->row.count;
    }
    return shape_exchange(k);
}

HcclResult HcclAlltoAll(const void *send, uint64_t n_send, HcclDataType send_type, const void *recv,
                        uint64_t n_recv, HcclDataType recv_type, HcclComm comm, aclrtStream stream)
{
    emu_collective k = {
        .row = {.call = "HcclAlltoAll", .op = -1, .type = send_type, .count = n_send},
        .send = own(send),
        .recv = own(recv),
        .shape = shape_all_to_all,
        .run = run_exchange};
    if (n_send == 0 && n_recv == 0) return 0;
    if (n_send != n_recv)
        return emu_fail(EMU_HCCL_PARA, "EI0003: HcclAlltoAll: sendCount %llu, recvCount %llu",
                        (unsigned long long)n_send, (unsigned long long)n_recv);
    const int code = check_types(k.row.call, send_type, recv_type);
    return code ? code : emu_collective_ask(&k, comm, stream);
}

/* Copies the parts of all ranks. */
static void take_parts(uint64_t *to, const void *from, const emu_comm *c)
{
    memcpy(to, from, (size_t)c->n * sizeof *to);
}

HcclResult HcclAlltoAllV(const void *send, const void *send_counts, const void *send_at,
                         HcclDataType send_type, const void *recv, const void *recv_counts,
                         const void *recv_at, HcclDataType recv_type, HcclComm comm,
                         aclrtStream stream)
{
    emu_comm *c = NULL;
    emu_collective k = {.row = {.call = "HcclAlltoAllV", .op = -1, .type = send_type, .count = 1},
                        .send = own(send),
                        .recv = own(recv),
                        .shape = shape_exchange,
                        .run = run_exchange};
    if (!send_counts || !send_at || !recv_counts || !recv_at)
        return emu_fail(EMU_HCCL_PTR, "EI0003: HcclAlltoAllV: counts or displacements are NULL");
    int code = check_types(k.row.call, send_type, recv_type);
    if (code == 0) code = emu_comm_of(comm, k.row.call, &c);
    if (code != 0) return code;
    take_parts(k.out_n, send_counts, c);
    take_parts(k.out_at, send_at, c);
    take_parts(k.in_n, recv_counts, c);
    take_parts(k.in_at, recv_at, c);
    return emu_collective_ask(&k, comm, stream);
}

/* Row i of the matrix: what rank i sends to each. Parts lie one behind another. */
HcclResult HcclAlltoAllVC(const void *send, const void *matrix, HcclDataType send_type,
                          const void *recv, HcclDataType recv_type, HcclComm comm,
                          aclrtStream stream)
{
    emu_comm *c = NULL;
    const uint64_t *counts = matrix;
    emu_collective k = {.row = {.call = "HcclAlltoAllVC", .op = -1, .type = send_type, .count = 1},
                        .send = own(send),
                        .recv = own(recv),
                        .shape = shape_exchange,
                        .run = run_exchange};
    if (!matrix) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclAlltoAllVC: sendCountMatrix is NULL");
    int code = check_types(k.row.call, send_type, recv_type);
    if (code == 0) code = emu_comm_of(comm, k.row.call, &c);
    if (code != 0) return code;
    uint64_t out = 0, in = 0;
    for (int r = 0; r < c->n; r++) {
        k.out_n[r] = counts[c->rank * c->n + r];
        k.in_n[r] = counts[r * c->n + c->rank];
        k.out_at[r] = out, k.in_at[r] = in;
        out += k.out_n[r], in += k.in_n[r];
    }
    return emu_collective_ask(&k, comm, stream);
}

/* ---- parts of several sizes, the same for all ranks ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A number that ranks with other parts do not have. */
static uint64_t digest(const uint64_t *n, int ranks)
{
    uint64_t x = 0xCBF29CE484222325U;
    for (int r = 0; r < ranks; r++) x = (x ^ n[r]) * 0x100000001B3U;
    return (x & 0xFFFFFFFFFFFF) | 1;
}

static bool run_gather_parts(emu_collective *k)
{
    const emu_comm *c = k->comm;
    const uint64_t most = EMU_LINK_STAGE / k->size;
    uint64_t all = 0;
    for (int r = 0; r < c->n; r++)
        if (k->in_n[r] > all) all = k->in_n[r];
    for (uint64_t at = 0; at < all; at += most) {
        const uint64_t own_n = k->in_n[c->rank];
        const uint64_t n = own_n > at ? least(own_n - at, most) : 0;
        if (!emu_round_begin(k, n ? k->from + at * k->size : NULL, n * k->size)) return false;
        for (int r = 0; r < c->n; r++)
            if (k->in_n[r] > at)
                memcpy(k->to + (k->in_at[r] + at) * k->size, emu_round_of(k, r),
                       least(k->in_n[r] - at, most) * k->size);
        emu_round_end(k);
    }
    return true;
}

static int shape_gather_parts(emu_collective *k)
{
    const int rank = k->comm->rank;
    const uint64_t n = k->in_n[rank];
    k->row.count = digest(k->in_n, k->comm->n);
    const int code = shape_exchange(k);
    k->n_send = n;
    k->sent = (double)n * (k->comm->n - 1);
    if ((double)n > k->on_link && k->comm->n > 1) k->on_link = (double)n;
    return code;
}

HcclResult HcclAllGatherV(void *send, uint64_t n_send, void *recv, const void *counts,
                          const void *at, HcclDataType type, HcclComm comm, aclrtStream stream)
{
    emu_comm *c = NULL;
    emu_collective k = {.row = {.call = "HcclAllGatherV", .op = -1, .type = type},
                        .send = send,
                        .recv = recv,
                        .shape = shape_gather_parts,
                        .run = run_gather_parts};
    if (!counts || !at)
        return emu_fail(EMU_HCCL_PTR, "EI0003: HcclAllGatherV: recvCounts or recvDispls is NULL");
    const int code = emu_comm_of(comm, k.row.call, &c);
    if (code != 0) return code;
    take_parts(k.in_n, counts, c);
    take_parts(k.in_at, at, c);
    if (k.in_n[c->rank] == n_send) return emu_collective_ask(&k, comm, stream);
    return emu_fail(EMU_HCCL_PARA, "EI0003: HcclAllGatherV: sendCount %llu, recvCounts says %llu",
                    (unsigned long long)n_send, (unsigned long long)k.in_n[c->rank]);
}

static bool run_sum_parts(emu_collective *k)
{
    const emu_comm *c = k->comm;
    const uint64_t most = EMU_LINK_STAGE / k->size;
    for (int r = 0; r < c->n; r++)
        for (uint64_t at = 0; at < k->out_n[r]; at += most) {
            const unsigned char *from[EMU_LINK_RANKS];
            const uint64_t n = least(k->out_n[r] - at, most);
            if (!emu_round_begin(k, k->from + (k->out_at[r] + at) * k->size, n * k->size))
                return false;
            for (int i = 0; i < c->n; i++) from[i] = emu_round_of(k, i);
            if (r == c->rank)
                emu_hccl_reduce(k->to + at * k->size, from, c->n, n, k->row.type, k->row.op,
                                c->device->overflow);
            emu_round_end(k);
        }
    return true;
}

static int shape_sum_parts(emu_collective *k)
{
    k->row.count = digest(k->out_n, k->comm->n);
    const int code = shape_exchange(k);
    k->n_recv = k->out_n[k->comm->rank];
    return code;
}

HcclResult HcclReduceScatterV(void *send, const void *counts, const void *at, void *recv,
                              uint64_t n_recv, HcclDataType type, HcclReduceOp op, HcclComm comm,
                              aclrtStream stream)
{
    emu_comm *c = NULL;
    emu_collective k = {.row = {.call = "HcclReduceScatterV", .op = op, .type = type},
                        .send = send,
                        .recv = recv,
                        .shape = shape_sum_parts,
                        .run = run_sum_parts};
    if (!counts || !at)
        return emu_fail(EMU_HCCL_PTR,
                        "EI0003: HcclReduceScatterV: sendCounts or sendDispls is NULL");
    const int code = emu_comm_of(comm, k.row.call, &c);
    if (code != 0) return code;
    take_parts(k.out_n, counts, c);
    take_parts(k.out_at, at, c);
    if (k.out_n[c->rank] == n_recv) return emu_collective_ask(&k, comm, stream);
    return emu_fail(EMU_HCCL_PARA,
                    "EI0003: HcclReduceScatterV: recvCount %llu, sendCounts says %llu",
                    (unsigned long long)n_recv, (unsigned long long)k.out_n[c->rank]);
}
