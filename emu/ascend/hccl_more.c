/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/hccl_more.c - communicators made of others, suspended ones, their own settings, and
 * what the emulated HCCL does not have, which says so by name. */
#include "ascend/collective.h"

#include <stdio.h>
#include <string.h>

/* ---- of some ranks of another ---- */

enum { WRITTEN = 1, FOUND = 2, STATE = 3, TAKEN = 4 };

/* An offer as it was seen; another may lie there since. */
typedef struct offer {
    emu_link_sub *at;
    uint32_t state;
    emu_link_place place;
} offer;

static bool find_sub(emu_link_shared *parent, uint64_t id, offer *out)
{
    for (int i = 0; i < EMU_LINK_SUBS; i++) {
        emu_link_sub *s = &parent->sub[i];
        const uint32_t state = atomic_load(&s->state);
        if ((state & STATE) != FOUND || s->id != id) continue;
        *out = (offer){s, state, s->place};
        if (atomic_load(&s->state) == state) return true;
    }
    return false;
}

/* Every rank that has come does so, before it can look for the next of that number. */
static void withdraw(const offer *o)
{
    uint32_t seen = o->state;
    if (o->at) (void)atomic_compare_exchange_strong(&o->at->state, &seen, seen & ~(uint32_t)STATE);
}

/* Rank 0 of it makes it, and says in the other where. */
static int make_offer(emu_link_shared *parent, uint64_t id, offer *out)
{
    for (int i = 0; i < EMU_LINK_SUBS; i++) {
        emu_link_sub *s = &parent->sub[i];
        uint32_t before = atomic_load(&s->state);
        if ((before & STATE) != 0) continue;
        const uint32_t mine = before + TAKEN;
        if (!atomic_compare_exchange_strong(&s->state, &before, mine | WRITTEN)) continue;
        const int code = emu_link_make(&s->place);
        s->id = id;
        *out = (offer){s, mine | FOUND, s->place};
        atomic_store(&s->state, code == 0 ? mine | FOUND : mine);
        emu_link_ring(parent);
        return code;
    }
    return emu_fail(EMU_HCCL_MEMORY, "more than %d communicators are being made of one",
                    EMU_LINK_SUBS);
}

typedef struct looking {
    uint64_t id;
    unsigned rank; /* of the other, that makes it */
    offer found;
} looking;

static unsigned not_offered(emu_link_shared *parent, void *data)
{
    looking *l = data;
    return find_sub(parent, l->id, &l->found) ? 0 : 1U << l->rank;
}

static int await_offer(emu_comm *c, looking *l, const char *call)
{
    unsigned who = 0;
    const emu_link_end end =
        emu_link_wait(c->shared, NULL, emu_comm_connect_seconds(), not_offered, l, &who);
    if (end == EMU_LINK_THERE) return 0;
    return emu_fail(EMU_HCCL_TIMEOUT, "EI0006: %s: rank %u does not make communicator %llu", call,
                    l->rank, (unsigned long long)l->id);
}

static int check_ids(const emu_comm *c, uint32_t n, const uint32_t *ids, uint32_t rank,
                     const char *call)
{
    if (n == 0 || n > (uint32_t)c->n || rank >= n)
        return emu_fail(EMU_HCCL_PARA, "EI0003: %s: rank %u of %u, of a communicator of %d", call,
                        rank, n, c->n);
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] >= (uint32_t)c->n)
            return emu_fail(EMU_HCCL_PARA, "EI0003: %s: there is no rank %u", call, ids[i]);
        for (uint32_t k = 0; k < i; k++)
            if (ids[i] == ids[k])
                return emu_fail(EMU_HCCL_PARA, "EI0003: %s: rank %u twice", call, ids[i]);
    }
    return ids[rank] == (uint32_t)c->rank
               ? 0
               : emu_fail(EMU_HCCL_PARA, "EI0003: %s: rank %u of it is %u, not %d", call, rank,
                          ids[rank], c->rank);
}

static int split(HcclComm *parent, uint32_t n, const uint32_t *ids, uint64_t id, uint32_t rank,
                 const HcclCommConfig *config, HcclComm *sub)
{
    const char *call = "HcclCreateSubCommConfig";
    emu_comm *c = NULL, *made = NULL;
    if (!parent || !sub || !config)
        return emu_fail(EMU_HCCL_PTR, "EI0003: %s: comm, config or subComm is NULL", call);
    int code = emu_comm_of(*parent, call, &c);
    if (code == 0) code = emu_gate_hccl(call);
    if (code == 0) code = emu_gate_connect(call);
    if (code != 0) return code;
    *sub = NULL;
    if (!ids && id == UINT32_MAX) return 0; /* a rank that is not to be in it */
    if (!ids && id == UINT64_MAX) return 0;
    if (!ids) return emu_fail(EMU_HCCL_PTR, "EI0003: %s: rankIds is NULL", call);
    code = check_ids(c, n, ids, rank, call);
    if (code != 0) return code;
    looking l = {id, ids[0], {NULL, 0, {{0}, {0}, 0, 0}}};
    code = rank == 0 ? make_offer(c->shared, id, &l.found) : await_offer(c, &l, call);
    if (code == 0)
        code =
            emu_comm_join(&made, &l.found.place, n, rank, config, call, emu_comm_connect_seconds());
    withdraw(&l.found);
    if (code == 0) *sub = made;
    return code;
}

HcclResult HcclCreateSubCommConfig(HcclComm *comm, uint32_t n, uint32_t *ids, uint64_t id,
                                   uint32_t rank, HcclCommConfig *config, HcclComm *sub)
{
    const int64_t begin = emu_call_begin();
    const int code = split(comm, n, ids, id, rank, config, sub);
    emu_call_end("HcclCreateSubCommConfig", begin);
    return code;
}

/* ---- suspended ---- */

static int suspend(HcclComm comm, const char *call, bool is_suspended)
{
    emu_comm *c = NULL;
    const int code = emu_comm_of(comm, call, &c);
    if (code != 0) return code;
    pthread_mutex_lock(&c->lock);
    c->is_suspended = is_suspended;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

HcclResult HcclCommSuspend(HcclComm comm)
{
    return suspend(comm, "HcclCommSuspend", true);
}

HcclResult HcclCommResume(HcclComm comm)
{
    return suspend(comm, "HcclCommResume", false);
}

/* ---- settings of one ---- */

HcclResult HcclSetCommConfig(HcclComm comm, HcclConfig config, HcclConfigValue value)
{
    emu_comm *c = NULL;
    const int code = emu_comm_of(comm, "HcclSetCommConfig", &c);
    if (code != 0) return code;
    if (config != 0)
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: HcclSetCommConfig: there is no setting %d",
                        config);
    if (value.value < 0 || value.value > 2)
        return emu_fail(EMU_HCCL_PARA, "EI0003: HcclSetCommConfig: %d is none of 0, 1, 2",
                        value.value);
    c->deterministic = value.value;
    return 0;
}

HcclResult HcclGetCommConfig(HcclComm comm, HcclConfig config, HcclConfigValue *value)
{
    emu_comm *c = NULL;
    if (!value) return emu_fail(EMU_HCCL_PTR, "EI0003: HcclGetCommConfig: NULL");
    const int code = emu_comm_of(comm, "HcclGetCommConfig", &c);
    if (code != 0) return code;
    if (config != 0)
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "EI0003: HcclGetCommConfig: there is no setting %d",
                        config);
    value->value = c->deterministic;
    return 0;
}

HcclResult HcclGetRootInfoScalable(HcclRootInfo *root)
{
    return HcclGetRootInfo(root);
}

/* ---- not emulated ---- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter" /* which nobody looks at */
#define EMU_HCCL_LACK(name, parameters)                                                            \
    HcclResult name parameters                                                                     \
    {                                                                                              \
        return emu_fail(EMU_HCCL_NOT_SUPPORT, "%s is not emulated", #name);                        \
    }
EMU_HCCL_LACKING(EMU_HCCL_LACK)
#pragma GCC diagnostic pop
