/* SPDX-License-Identifier: Apache-2.0 */
/* chip/wrap.c - buffers, views and workspace of a wrapping chip, seen from the chip behind.
 *
 * Floor:  chip. May use tensor, base. */
#include "chip/wrap.h"

#include "chip/work.h"

mz_err mz_wrap_alloc(mz_device *inner, mz_buffer *buf)
{
    mz_buffer *behind = NULL;
    MZ_TRY(mz_buffer_new(&behind, inner, buf->bytes));
    buf->host = behind->host;
    buf->handle = behind;
    return MZ_OK;
}

void mz_wrap_free(mz_buffer *buf)
{
    mz_buffer_free(buf->handle);
    buf->host = buf->handle = NULL;
}

mz_buffer *mz_wrap_buffer(const mz_buffer *buf)
{
    return buf ? buf->handle : NULL;
}

mz_tensor mz_wrap_view(const mz_tensor *t)
{
    mz_tensor view = *t;
    view.buf = mz_wrap_buffer(t->buf);
    return view;
}

void mz_wrap_args(mz_wrapped_args *w, const mz_desc *desc, mz_pass pass, const mz_args *args)
{
    w->args = *args;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const bool used = mz_arg_role(desc, pass, i) & MZ_ARG_INOUT;
        w->args.t[i] = NULL;
        if (!used || !args->t[i]) continue;
        w->view[i] = mz_wrap_view(args->t[i]);
        w->args.t[i] = &w->view[i];
    }
}

void mz_wrap_lend(mz_queue *inner, const mz_queue *outer)
{
    inner->workspace = mz_wrap_buffer(outer->workspace);
    inner->is_lent = true;
    inner->work = outer->work;
    inner->stands_in = outer->stands_in;
}

void mz_wrap_queue_close(mz_queue *inner)
{
    if (inner) inner->workspace = NULL;
    mz_queue_close(inner);
}

mz_err mz_wrap_bind(mz_op **inner_op, mz_queue *inner, const mz_queue *outer, const mz_desc *desc)
{
    mz_wrap_lend(inner, outer);
    return mz_op_bind(inner_op, inner, desc);
}

mz_err mz_wrap_run(mz_op *inner_op, const mz_op *outer_op, mz_pass pass, const mz_args *args)
{
    const mz_slot *slot = inner_op->slot;
    mz_wrapped_args w;
    MZ_NEED(pass == MZ_FORWARD || slot->backward, "%s has no backward pass",
            mz_op_name(outer_op->desc.kind));
    mz_wrap_args(&w, &outer_op->desc, pass, args);
    mz_wrap_lend(inner_op->queue, outer_op->queue);
    const mz_err err =
        pass == MZ_FORWARD ? slot->forward(inner_op, &w.args) : slot->backward(inner_op, &w.args);
    /* The parts of a composition have been counted. */
    const bool is_own = slot == &inner_op->queue->chip->op[inner_op->desc.kind];
    if (err == MZ_OK && is_own) mz_work_call(inner_op, pass, &w.args);
    return err;
}
