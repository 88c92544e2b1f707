/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/hccl_ops.c - the collectives of the emulated HCCL in which all ranks take part.
 *
 * How long one takes is modelled for devices that all have a link to each other: what is summed and
 * given to all goes over a link in two parts of 1/n, the rest in one. */
#include "ascend/collective.h"

#include <string.h>

static uint64_t per_round(const emu_collective *k)
{
    return EMU_LINK_STAGE / k->size;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What all ranks show in this round, reduced to `to`. */
static void reduce_round(emu_collective *k, void *to, uint64_t n)
{
    const emu_comm *c = k->comm;
    const unsigned char *from[EMU_LINK_RANKS];
    for (int r = 0; r < c->n; r++) from[r] = emu_round_of(k, r);
    emu_hccl_reduce(to, from, c->n, n, k->row.type, k->row.op, c->device->overflow);
}

/* ---- with a sum at every rank, or at one ---- */

static int shape_all(emu_collective *k)
{
    const double n = k->comm->n, count = (double)k->row.count;
    k->n_send = k->n_recv = k->row.count;
    k->on_link = 2.0 * count / n;
    k->sent = 2.0 * count / n * (n - 1.0);
    return 0;
}

static bool run_all_reduce(emu_collective *k)
{
    for (uint64_t at = 0; at < k->row.count; at += per_round(k)) {
        const uint64_t n = least(k->row.count - at, per_round(k));
        if (!emu_round_begin(k, k->from + at * k->size, n * k->size)) return false;
        if (k->n_recv) reduce_round(k, k->to + at * k->size, n);
        emu_round_end(k);
    }
    return true;
}

HcclResult HcclAllReduce(void *send, void *recv, uint64_t count, HcclDataType type, HcclReduceOp op,
                         HcclComm comm, aclrtStream stream)
{
    emu_collective k = {.row = {.call = "HcclAllReduce", .count = count, .type = type, .op = op},
                        .send = send,
                        .recv = recv,
                        .shape = shape_all,
                        .run = run_all_reduce};
    return emu_collective_ask(&k, comm, stream);
}

static int shape_reduce(emu_collective *k)
{
    (void)shape_all(k);
    if (k->row.root != (uint32_t)k->comm->rank) k->n_recv = 0;
    return 0;
}

HcclResult HcclReduce(void *send, void *recv, uint64_t count, HcclDataType type, HcclReduceOp op,
                      uint32_t root, HcclComm comm, aclrtStream stream)
{
    emu_collective k = {
        .row = {.call = "HcclReduce", .count = count, .type = type, .op = op, .root = root},
        .send = send,
        .recv = recv,
        .shape = shape_reduce,
        .run = run_all_reduce};
    return emu_collective_ask(&k, comm, stream);
}

/* ---- a part for every rank ---- */

static int shape_scatter_sum(emu_collective *k)
{
    const double n = k->comm->n, count = (double)k->row.count;
    k->n_send = k->row.count * (uint64_t)k->comm->n;
    k->n_recv = k->row.count;
    k->on_link = count;
    k->sent = count * (n - 1.0);
    return 0;
}

static bool run_reduce_scatter(emu_collective *k)
{
    const emu_comm *c = k->comm;
    for (int r = 0; r < c->n; r++)
        for (uint64_t at = 0; at < k->row.count; at += per_round(k)) {
            const uint64_t n = least(k->row.count - at, per_round(k));
            const unsigned char *part = k->from + ((uint64_t)r * k->row.count + at) * k->size;
            if (!emu_round_begin(k, part, n * k->size)) return false;
            if (r == c->rank) reduce_round(k, k->to + at * k->size, n);
            emu_round_end(k);
        }
    return true;
}

HcclResult HcclReduceScatter(void *send, void *recv, uint64_t count, HcclDataType type,
                             HcclReduceOp op, HcclComm comm, aclrtStream stream)
{
    emu_collective k = {
        .row = {.call = "HcclReduceScatter", .count = count, .type = type, .op = op},
        .send = send,
        .recv = recv,
        .shape = shape_scatter_sum,
        .run = run_reduce_scatter};
    return emu_collective_ask(&k, comm, stream);
}

static int shape_scatter(emu_collective *k)
{
    const bool is_root = k->row.root == (uint32_t)k->comm->rank;
    (void)shape_scatter_sum(k);
    if (!is_root) k->n_send = 0, k->sent = 0.0;
    return 0;
}

static bool run_scatter(emu_collective *k)
{
    const emu_comm *c = k->comm;
    for (int r = 0; r < c->n; r++)
        for (uint64_t at = 0; at < k->row.count; at += per_round(k)) {
            const uint64_t n = least(k->row.count - at, per_round(k));
            const unsigned char *part =
                k->from ? k->from + ((uint64_t)r * k->row.count + at) * k->size : NULL;
            if (!emu_round_begin(k, part, part ? n * k->size : 0)) return false;
            if (r == c->rank)
                memcpy(k->to + at * k->size, emu_round_of(k, (int)k->row.root), n * k->size);
            emu_round_end(k);
        }
    return true;
}

HcclResult HcclScatter(void *send, void *recv, uint64_t count, HcclDataType type, uint32_t root,
                       HcclComm comm, aclrtStream stream)
{
    emu_collective k = {
        .row = {.call = "HcclScatter", .count = count, .type = type, .op = -1, .root = root},
        .send = send,
        .recv = recv,
        .shape = shape_scatter,
        .run = run_scatter};
    return emu_collective_ask(&k, comm, stream);
}

/* ---- of one rank, or of every rank, to all ---- */

static int shape_gather(emu_collective *k)
{
    const double n = k->comm->n, count = (double)k->row.count;
    k->n_send = k->row.count;
    k->n_recv = k->row.count * (uint64_t)k->comm->n;
    k->on_link = count;
    k->sent = count * (n - 1.0);
    return 0;
}

static bool run_all_gather(emu_collective *k)
{
    const emu_comm *c = k->comm;
    for (uint64_t at = 0; at < k->row.count; at += per_round(k)) {
        const uint64_t n = least(k->row.count - at, per_round(k));
        if (!emu_round_begin(k, k->from + at * k->size, n * k->size)) return false;
        for (int r = 0; r < c->n; r++)
            memcpy(k->to + ((uint64_t)r * k->row.count + at) * k->size, emu_round_of(k, r),
                   n * k->size);
        emu_round_end(k);
    }
    return true;
}

HcclResult HcclAllGather(void *send, void *recv, uint64_t count, HcclDataType type, HcclComm comm,
                         aclrtStream stream)
{
    emu_collective k = {.row = {.call = "HcclAllGather", .count = count, .type = type, .op = -1},
                        .send = send,
                        .recv = recv,
                        .shape = shape_gather,
                        .run = run_all_gather};
    return emu_collective_ask(&k, comm, stream);
}

static int shape_broadcast(emu_collective *k)
{
    const double n = k->comm->n, count = (double)k->row.count;
    k->n_send = k->n_recv = k->row.count;
    k->on_link = 2.0 * count / n;
    k->sent = count / n * (n - 1.0) * (k->row.root == (uint32_t)k->comm->rank ? 2.0 : 1.0);
    return 0;
}

static bool run_broadcast(emu_collective *k)
{
    const bool is_root = k->row.root == (uint32_t)k->comm->rank;
    for (uint64_t at = 0; at < k->row.count; at += per_round(k)) {
        const uint64_t n = least(k->row.count - at, per_round(k));
        if (!emu_round_begin(k, k->from + at * k->size, is_root ? n * k->size : 0)) return false;
        if (!is_root) memcpy(k->to + at * k->size, emu_round_of(k, (int)k->row.root), n * k->size);
        emu_round_end(k);
    }
    return true;
}

HcclResult HcclBroadcast(void *at, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,
                         aclrtStream stream)
{
    emu_collective k = {
        .row = {.call = "HcclBroadcast", .count = count, .type = type, .op = -1, .root = root},
        .send = at,
        .recv = at,
        .shape = shape_broadcast,
        .run = run_broadcast};
    return emu_collective_ask(&k, comm, stream);
}

static bool run_barrier(emu_collective *k)
{
    if (!emu_round_begin(k, NULL, 0)) return false;
    emu_round_end(k);
    return true;
}

HcclResult HcclBarrier(HcclComm comm, aclrtStream stream)
{
    emu_collective k = {.row = {.call = "HcclBarrier", .op = -1, .count = 1}, .run = run_barrier};
    return emu_collective_ask(&k, comm, stream);
}
