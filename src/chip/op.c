/* SPDX-License-Identifier: Apache-2.0 */
/* chip/op.c - ask, bind, run: choosing who carries an operator out, booking its workspace, and
 * keeping the trace that a fault's report is made of.
 *
 * Floor:  chip. May use tensor, base. */
#include "base/clock.h"
#include "base/mem.h"
#include "chip/profile.h"
#include "chip/queue.h"
#include "chip/work.h"

#include <stdio.h>
#include <string.h>

const char *mz_state_name(mz_state s)
{
    switch (s) {
    case MZ_STATE_NATIVE:
        return "native";
    case MZ_STATE_COMPOSED:
        return "composed";
    case MZ_STATE_HOST:
        return "host";
    case MZ_STATE_NONE:
        break;
    }
    return "none";
}

/* The chip's own slot, or NULL with the reason why it does not serve; other errors come back. */
static mz_err ask_chip(const mz_queue *q, const mz_desc *desc, mz_support *support,
                       const mz_slot **slot)
{
    const mz_slot *own = &q->chip->op[desc->kind];
    const char *why = "the chip has no such operator";
    *support = (mz_support){.state = MZ_STATE_NATIVE};
    if (own->query) {
        const mz_err err = own->query(q, desc, support);
        if (err != MZ_OK && err != MZ_ENOTSUP)
            return mz_device_report(q->device, err, "asking for", mz_op_name(desc->kind));
        if (err == MZ_ENOTSUP)
            why = mz_err_last()->message;
        else if (support->state == MZ_STATE_NONE)
            why = support->reason;
        else if (mz_desc_has_backward(desc) && !own->backward)
            why = "forward only";
        else
            return *slot = own, MZ_OK;
    }
    mz_support none = {.state = MZ_STATE_NONE};
    snprintf(none.reason, sizeof none.reason, "%.159s", why);
    *support = none;
    *slot = NULL;
    return MZ_OK;
}

static mz_err choose(const mz_queue *q, const mz_desc *desc, mz_support *support,
                     const mz_slot **slot)
{
    MZ_NEED(q && desc && support && (unsigned)desc->kind < MZ_OP_COUNT,
            "queue, desc or support is NULL, or there is no such operator");
    const mz_slot *own = NULL;
    MZ_TRY(ask_chip(q, desc, support, &own));
    if (own) return *slot = own, MZ_OK;
    mz_support composed = {.state = MZ_STATE_COMPOSED};
    const mz_err err = mz_compose_query(q, desc, &composed);
    if (err == MZ_OK) return *support = composed, *slot = mz_compose_slot(desc->kind), MZ_OK;
    if (err != MZ_ENOTSUP) return err;
    (void)MZ_FAIL(MZ_ENOTSUP, "chip %s cannot do %s: %s", q->device->info.name,
                  mz_op_name(desc->kind), support->reason);
    if (strncmp(q->device->info.name, "hosted:", 7) != 0)
        mz_note_fix("hosted:%s has what the chip lacks done on the host", q->device->info.name);
    return MZ_ENOTSUP;
}

mz_err mz_op_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_slot *slot = NULL;
    return choose(q, desc, support, &slot);
}

/* Work in flight may use the old block, so it is freed only after a sync. */
static mz_err grow_workspace(mz_queue *q, size_t bytes)
{
    if (bytes <= (q->workspace ? q->workspace->bytes : 0)) return MZ_OK;
    if (q->is_lent)
        return MZ_FAIL(MZ_ECHIP,
                       "chip %s wants %zu bytes of workspace now, and not when it was asked",
                       q->device->info.name, bytes);
    mz_buffer *larger = NULL;
    MZ_TRY(mz_buffer_new(&larger, q->device, bytes));
    const mz_err err = q->workspace ? mz_queue_sync(q) : MZ_OK;
    if (err != MZ_OK) {
        mz_buffer_free(larger);
        return err;
    }
    mz_buffer_free(q->workspace);
    q->workspace = larger;
    return MZ_OK;
}

mz_err mz_op_bind(mz_op **op, mz_queue *q, const mz_desc *desc)
{
    MZ_NEED(op, "op is NULL");
    mz_support support = {0};
    const mz_slot *slot = NULL;
    MZ_TRY(choose(q, desc, &support, &slot));
    MZ_TRY(grow_workspace(q, support.workspace_bytes));
    mz_op *n = NULL;
    MZ_TRY(mz_mem_new(&n, 1, sizeof *n));
    n->queue = q;
    n->slot = slot;
    n->desc = *desc;
    n->support = support;
    const mz_err err = slot->bind ? slot->bind(n) : MZ_OK;
    if (err != MZ_OK) {
        mz_mem_free(n);
        return mz_device_report(q->device, err, "binding", mz_op_name(desc->kind));
    }
    q->n_ops++;
    if (support.state == MZ_STATE_COMPOSED) q->composed |= 1u << desc->kind;
    if (support.state == MZ_STATE_HOST) q->hosted |= 1u << desc->kind;
    *op = n;
    return MZ_OK;
}

void mz_op_free(mz_op *op)
{
    if (!op) return;
    if (op->slot->unbind) op->slot->unbind(op);
    op->queue->n_ops--;
    mz_mem_free(op);
}

static void record(mz_queue *q, const mz_op *op, mz_pass pass)
{
    const uint64_t what = (uint64_t)op->desc.kind << 1 | (uint64_t)pass;
    mz_queue_note(q, mz_op_name(op->desc.kind), pass);
    if (q->pulse) __atomic_store_n(q->pulse, (uint64_t)q->seq << 16 | what, __ATOMIC_RELAXED);
}

mz_err mz_op_run(mz_op *op, mz_pass pass, const mz_args *args)
{
    MZ_NEED(op && args, "op or args is NULL");
    mz_queue *q = op->queue;
    MZ_NEED(pass == MZ_FORWARD || op->slot->backward, "%s has no backward pass",
            mz_op_name(op->desc.kind));
    record(q, op, pass);
    const int64_t begun_ns = q->profile ? mz_clock_ns() : 0;
    mz_err err = pass == MZ_FORWARD ? op->slot->forward(op, args) : op->slot->backward(op, args);
    /* The parts of a composition came through here themselves and have told their story. */
    const bool is_composed = op->slot != &q->chip->op[op->desc.kind];
    if (err != MZ_OK) return err == MZ_ECHIP && !is_composed ? mz_queue_report(q, err) : err;
    if (!is_composed) mz_work_call(op, pass, args);
    if (q->device->options.sync_each) err = mz_queue_sync(q);
    if (q->profile && err == MZ_OK) mz_profile_op(q->profile, op, pass, args, begun_ns);
    return err;
}

size_t mz_op_saved(const mz_op *op)
{
    return op->support.saved_bytes;
}

mz_tensor mz_op_workspace(const mz_op *op)
{
    const int64_t bytes = (int64_t)op->support.workspace_bytes;
    return mz_view(bytes ? op->queue->workspace : NULL, 0, MZ_U8, 1, &bytes);
}
