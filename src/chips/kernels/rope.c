/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/rope.c - rope.cl as an operator. Floor: chips. */
#include "chips/kernels/args_attention.h"
#include "chips/kernels/ops.h"

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.rope.dtype);
}

static mz_err bind(mz_op *op)
{
    const mz_kernel_spec spec = {.text = "rope", .name = "rope", .dtype = op->desc.u.rope.dtype};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err turn(mz_op *op, const mz_args *args, const mz_tensor *to, const mz_tensor *from,
                   float sign)
{
    const mz_rope_desc *d = &op->desc.u.rope;
    const int64_t T = from->dim[0], pairs = d->K / 2, P = args->rope.cos->dim[0];
    const mz_krope k = {T,
                        d->H,
                        pairs,
                        P,
                        mz_kernel_view(to),
                        mz_kernel_view(from),
                        mz_kernel_view(args->rope.cos),
                        mz_kernel_view(args->rope.sin),
                        mz_kernel_view(args->rope.pos),
                        sign,
                        d->interleaved};
    const mz_launch l = {.groups = {mz_kernel_groups(T * d->H * pairs), 1, 1},
                         .tensor = {to, from, args->rope.cos, args->rope.sin, args->rope.pos},
                         .n_tensors = 5,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 6.0 * (double)(T * d->H * pairs)};
    return mz_kernels_run(op, 0, &l);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    return turn(op, args, args->rope.y, args->rope.x, 1.0f);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    return turn(op, args, args->rope.dx, args->rope.dy, -1.0f);
}

const mz_slot mz_kernels_rope = {.query = query,
                                 .bind = bind,
                                 .unbind = mz_kernels_unbind,
                                 .forward = forward,
                                 .backward = backward};
