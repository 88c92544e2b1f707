/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/swiglu.c - swiglu.cl as an operator. Floor: chips. */
#include "chips/kernels/args_token.h"
#include "chips/kernels/ops.h"

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.swiglu.dtype);
}

enum { FORWARD, BACKWARD };

static mz_err bind(mz_op *op)
{
    const mz_dtype d = op->desc.u.swiglu.dtype;
    const mz_kernel_spec specs[] = {
        [FORWARD] = {.text = "swiglu", .name = "swiglu", .dtype = d},
        [BACKWARD] = {.text = "swiglu", .name = "swiglu_backward", .dtype = d}};
    return mz_kernels_bind(op, specs, op->desc.u.swiglu.backward ? 2 : 1);
}

static mz_kswiglu numbers(const mz_op *op, const mz_args *args, const mz_tensor *y)
{
    return (mz_kswiglu){.T = args->swiglu.gate->dim[0],
                        .F = op->desc.u.swiglu.F,
                        .y = mz_kernel_view(y),
                        .gate = mz_kernel_view(args->swiglu.gate),
                        .up = mz_kernel_view(args->swiglu.up),
                        .dgate = mz_kernel_view(args->swiglu.dgate),
                        .dup = mz_kernel_view(args->swiglu.dup)};
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_kswiglu k = numbers(op, args, args->swiglu.y);
    const mz_launch l = {.groups = {mz_kernel_groups(k.T * k.F), 1, 1},
                         .tensor = {args->swiglu.y, args->swiglu.gate, args->swiglu.up},
                         .n_tensors = 3,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 5.0 * (double)(k.T * k.F)};
    return mz_kernels_run(op, FORWARD, &l);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_kswiglu k = numbers(op, args, args->swiglu.dy);
    const mz_launch l = {.groups = {mz_kernel_groups(k.T * k.F), 1, 1},
                         .tensor = {args->swiglu.dgate, args->swiglu.dup, args->swiglu.dy,
                                    args->swiglu.gate, args->swiglu.up},
                         .n_tensors = 5,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 12.0 * (double)(k.T * k.F)};
    return mz_kernels_run(op, BACKWARD, &l);
}

const mz_slot mz_kernels_swiglu = {.query = query,
                                   .bind = bind,
                                   .unbind = mz_kernels_unbind,
                                   .forward = forward,
                                   .backward = backward};
