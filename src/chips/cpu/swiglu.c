/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/swiglu.c - see chip/desc.h. Floor: chips. */
#include "chips/cpu/split.h"

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.swiglu.dtype);
}

static void forward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *y = args->swiglu.y, *gate = args->swiglu.gate, *up = args->swiglu.up;
    for (int64_t t = first; t < last; t++)
        mz_cpu_ops_of(op)->swiglu(mz_cpu_row(y, t), mz_cpu_row(gate, t), mz_cpu_row(up, t),
                                  op->desc.u.swiglu.F, mz_cpu_is_bf16(y));
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, args->swiglu.y->dim[0], mz_cpu_items(op->desc.u.swiglu.F), forward_rows);
    return MZ_OK;
}

static void backward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *dgate = args->swiglu.dgate, *dup = args->swiglu.dup, *dy = args->swiglu.dy;
    const mz_tensor *gate = args->swiglu.gate, *up = args->swiglu.up;
    for (int64_t t = first; t < last; t++)
        mz_cpu_ops_of(op)->swiglu_back(mz_cpu_row(dgate, t), mz_cpu_row(dup, t), mz_cpu_row(dy, t),
                                       mz_cpu_row(gate, t), mz_cpu_row(up, t), op->desc.u.swiglu.F,
                                       mz_cpu_is_bf16(dy));
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, args->swiglu.dy->dim[0], mz_cpu_items(op->desc.u.swiglu.F),
                 backward_rows);
    return MZ_OK;
}

const mz_slot mz_cpu_swiglu = {.query = query, .forward = forward, .backward = backward};
