/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/xent.c - xent.cl as an operator. Floor: chips. */
#include "chips/kernels/args_token.h"
#include "chips/kernels/ops.h"

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.xent.dtype);
}

static mz_err bind(mz_op *op)
{
    const mz_kernel_spec spec = {.text = "xent", .name = "xent", .dtype = op->desc.u.xent.dtype};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const bool has_gradient = op->desc.u.xent.gradient && args->xent.dlogits;
    const mz_kxent k = {.T = args->xent.logits->dim[0],
                        .V = op->desc.u.xent.V,
                        .loss = mz_kernel_view(args->xent.loss),
                        .logits = mz_kernel_view(args->xent.logits),
                        .dlogits = mz_kernel_view(args->xent.dlogits),
                        .targets = mz_kernel_view(args->xent.targets),
                        .weight = mz_kernel_view(args->xent.weight),
                        .has_gradient = has_gradient};
    const mz_launch l = {.groups = {k.T, 1, 1},
                         .tensor = {args->xent.loss, args->xent.dlogits, args->xent.logits,
                                    args->xent.targets, args->xent.weight},
                         .n_tensors = 5,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = (has_gradient ? 8.0 : 4.0) * (double)(k.T * k.V)};
    return mz_kernels_run(op, 0, &l);
}

const mz_slot mz_kernels_xent = {
    .query = query, .bind = bind, .unbind = mz_kernels_unbind, .forward = forward};
