/* SPDX-License-Identifier: Apache-2.0 */
/* op/op.c - the three calls, over the table of doors. Floor: op. May use chip, tensor, base. */
#include "op/op.h"

#include "op/check.h"

mz_err mz_check_desc(const mz_desc *desc)
{
    MZ_NEED(desc, "desc is NULL");
    switch (desc->kind) {
#define CASE(NAME, field)                                                                          \
    case MZ_OP_##NAME:                                                                             \
        return mz_door_##field##_desc(&desc->u.field);
        MZ_OP_LIST(CASE)
#undef CASE
    case MZ_OP_COUNT:
        break;
    }
    return MZ_FAIL(MZ_EINVAL, "there is no operator of kind %d", (int)desc->kind);
}

static mz_err check_call(mz_call *c)
{
    switch (c->desc->kind) {
#define CASE(NAME, field)                                                                          \
    case MZ_OP_##NAME:                                                                             \
        MZ_TRY(mz_door_##field##_args(c));                                                         \
        break;
        MZ_OP_LIST(CASE)
#undef CASE
    case MZ_OP_COUNT:
        return MZ_FAIL(MZ_EINVAL, "there is no operator of that kind");
    }
    return mz_call_apart(c);
}

static mz_err check_pass(const mz_desc *desc, mz_pass pass)
{
    MZ_NEED(pass == MZ_FORWARD || (pass == MZ_BACKWARD && mz_desc_has_backward(desc)),
            "%s was bound without backward", mz_op_name(desc->kind));
    return MZ_OK;
}

mz_err mz_check_args(const mz_desc *desc, mz_pass pass, size_t saved_bytes, const mz_args *args)
{
    MZ_NEED(desc && args, "desc or args is NULL");
    MZ_TRY(check_pass(desc, pass));
    mz_call c = {.desc = desc, .pass = pass, .saved_bytes = saved_bytes, .args = args};
    return check_call(&c);
}

mz_err mz_bind(mz_op **op, mz_queue *q, const mz_desc *desc)
{
    MZ_NEED(op && q, "op or queue is NULL");
    MZ_TRY(mz_check_desc(desc));
    return mz_op_bind(op, q, desc);
}

/* All arguments are on one device by now, so one of them speaks for all. */
static mz_err check_device(const mz_op *op, const mz_call *c)
{
    const mz_op_signature *s = mz_op_signature_of(c->desc->kind);
    for (int i = 0; i < s->n_args; i++) {
        const mz_tensor *t = mz_arg_role(c->desc, c->pass, i) == MZ_ARG_NONE ? NULL : c->args->t[i];
        if (!t) continue;
        MZ_NEED(t->buf->device == op->queue->device, "%s: %s is on another device than the queue",
                s->name, s->arg[i].name);
        return MZ_OK;
    }
    return MZ_OK;
}

static mz_err run(mz_op *op, mz_pass pass, const mz_args *args)
{
    MZ_NEED(op && args, "op or args is NULL");
    MZ_TRY(check_pass(&op->desc, pass));
    mz_call c = {.desc = &op->desc, .pass = pass, .saved_bytes = mz_op_saved(op), .args = args};
    MZ_TRY(check_call(&c));
    MZ_TRY(check_device(op, &c));
    return c.is_idle ? MZ_OK : mz_op_run(op, pass, args);
}

mz_err mz_forward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_FORWARD, args);
}

mz_err mz_backward(mz_op *op, const mz_args *args)
{
    return run(op, MZ_BACKWARD, args);
}
