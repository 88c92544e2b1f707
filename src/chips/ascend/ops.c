/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/ops.c - the slots: asking and binding plan a pass, a call runs it. Floor: chips. */
#include "chip/work.h"
#include "chips/ascend/map.h"
#include "chips/ascend/state.h"

#include <stdio.h>

/* NULL: the chip does not have it (docs/ascend.md says why). */
static const mz_ascend_op *const OPS[MZ_OP_COUNT] = {
    [MZ_OP_MATMUL] = &mz_ascend_matmul,   [MZ_OP_RMSNORM] = &mz_ascend_rmsnorm,
    [MZ_OP_SWIGLU] = &mz_ascend_swiglu,   [MZ_OP_EMBED] = &mz_ascend_embed,
    [MZ_OP_XENT] = &mz_ascend_xent,       [MZ_OP_ADAMW] = &mz_ascend_adamw,
    [MZ_OP_SUMSQ] = &mz_ascend_sumsq,     [MZ_OP_FINITE] = &mz_ascend_finite,
    [MZ_OP_CAST] = &mz_ascend_cast,       [MZ_OP_ELEMENTWISE] = &mz_ascend_elementwise,
    [MZ_OP_REDUCE] = &mz_ascend_reduce,   [MZ_OP_ROWS] = &mz_ascend_rows,
    [MZ_OP_ROPE] = &mz_ascend_rope,       [MZ_OP_ATTENTION] = &mz_ascend_attention,
    [MZ_OP_ROUTER] = &mz_ascend_router,   [MZ_OP_BALANCE] = &mz_ascend_balance,
    [MZ_OP_PERMUTE] = &mz_ascend_permute, [MZ_OP_UNPERMUTE] = &mz_ascend_unpermute,
    [MZ_OP_EXPERTS] = &mz_ascend_experts, [MZ_OP_DECODE] = &mz_ascend_decode,
};

/* ---- asking ---- */

static mz_err plan_call(mz_ascend *chip, const mz_desc *desc, mz_pass pass, const mz_args *args,
                        size_t *most)
{
    const mz_ascend_op *op = OPS[desc->kind];
    mz_npu n = {.chip = chip, .row = mz_ascend_row_of(desc->kind), .scratch = chip->nowhere};
    (pass == MZ_FORWARD ? op->forward : op->backward)(&n, desc, args);
    if (n.most > *most) *most = n.most;
    return n.err;
}

/* Phase 1 of every call at the largest shapes; *most: the scratch it takes, with rows apart too,
 * where what is refused is no matter: such calls may not come. */
static mz_err plan(mz_ascend *chip, const mz_desc *desc, mz_pass pass, size_t *most)
{
    mz_buffer nowhere = {.bytes = SIZE_MAX, .handle = chip->nowhere};
    mz_ascend_call call;
    mz_ascend_largest(&call, desc, pass, &nowhere);
    MZ_TRY(plan_call(chip, desc, pass, &call.args, most));
    mz_ascend_spread(&call, desc);
    const mz_err err = plan_call(chip, desc, pass, &call.args, most);
    return err == MZ_ENOTSUP ? MZ_OK : err;
}

/* Dtypes that the operator works on. */
static mz_err check_dtypes(const mz_queue *q, const mz_desc *desc)
{
    const mz_dtype d = mz_desc_dtype(desc), stored = mz_desc_stored(desc);
    const mz_ascend *chip = q->device->state;
    if (d != MZ_F32 && d != MZ_BF16)
        return MZ_FAIL(MZ_ENOTSUP, "ascend computes in f32 and bf16, not in %s", mz_dtype_name(d));
    if (!(chip->soc->dtypes & 1u << d))
        return MZ_FAIL(MZ_ENOTSUP, "%s does not train in %s: %s", q->device->info.model,
                       mz_dtype_name(d), chip->soc->reason);
    if (stored != MZ_F64 && stored != d)
        return MZ_FAIL(MZ_ENOTSUP, "ascend multiplies weights in the dtype it computes in, not %s",
                       mz_dtype_name(stored));
    return MZ_OK;
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_ascend_op *op = OPS[desc->kind];
    mz_ascend *chip = q->device->state;
    size_t most = 0;
    MZ_TRY(check_dtypes(q, desc));
    if (op->refuse) MZ_TRY(op->refuse(desc));
    MZ_TRY(mz_ascend_here(chip));
    MZ_TRY(plan(chip, desc, MZ_FORWARD, &most));
    if (mz_desc_has_backward(desc)) {
        MZ_TRY(plan(chip, desc, MZ_BACKWARD, &most));
        if (op->saved) support->saved_bytes = op->saved(desc);
    }
    support->workspace_bytes = most;
    support->repeats = true;
    support->state = mz_ascend_row_of(desc->kind)->state;
    if (support->state == MZ_STATE_COMPOSED)
        (void)snprintf(support->reason, sizeof support->reason, "%s",
                       mz_ascend_row_of(desc->kind)->why);
    return MZ_OK;
}

/* ---- running ---- */

static bool is_product(mz_op_kind kind)
{
    return kind == MZ_OP_MATMUL || kind == MZ_OP_EXPERTS || kind == MZ_OP_ATTENTION ||
           kind == MZ_OP_DECODE;
}

static mz_err run(mz_op *op, mz_pass pass, const mz_args *args)
{
    const mz_ascend_op *own = OPS[op->desc.kind];
    mz_ascend_queue *q = op->queue->state;
    const mz_tensor workspace = mz_op_workspace(op);
    mz_npu n = {.chip = q->chip, .queue = q};
    MZ_TRY(mz_ascend_here(q->chip));
    if (workspace.buf) {
        n.scratch = workspace.buf->handle;
        n.room = op->support.workspace_bytes;
    }
    (pass == MZ_FORWARD ? own->forward : own->backward)(&n, &op->desc, args);
    if (is_product(op->desc.kind)) q->counts.flop += mz_work_of(&op->desc, pass, args);
    return n.err;
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_FORWARD, args);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_BACKWARD, args);
}

void mz_ascend_fill_slots(mz_slot slots[MZ_OP_COUNT])
{
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        if (!OPS[i]) continue;
        slots[i] = (mz_slot){.query = query, .forward = forward};
        if (OPS[i]->backward) slots[i].backward = backward;
    }
}
