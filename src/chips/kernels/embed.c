/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/embed.c - embed.cl as an operator.
 *
 * Scratch in backward: next [T] I32, then first [T] I32. Floor: chips. */
#include "chips/kernels/args_optim.h"
#include "chips/kernels/ops.h"

#include <stdio.h>

enum { FORWARD, CHAIN, BACKWARD };

static size_t chain_bytes(const mz_embed_desc *d)
{
    return mz_kernel_part_bytes(d->T_max, sizeof(int32_t));
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    const mz_embed_desc *d = &desc->u.embed;
    support->repeats = true;
    support->workspace_bytes = d->backward ? mz_kernel_opaque(2 * chain_bytes(d)) : 0;
    return mz_kernels_need(desc->kind, d->dtype);
}

static mz_err bind(mz_op *op)
{
    const mz_embed_desc *d = &op->desc.u.embed;
    char stored[32];
    snprintf(stored, sizeof stored, "-DSTORED=%d", (int)d->stored);
    const mz_kernel_spec specs[] = {
        [FORWARD] = {.text = "embed",
                     .name = "embed",
                     .dtype = d->dtype,
                     .options = d->stored == MZ_F64 ? NULL : stored},
        [CHAIN] = {.text = "embed", .name = "embed_chain", .dtype = d->dtype},
        [BACKWARD] = {.text = "embed", .name = "embed_backward", .dtype = d->dtype}};
    return mz_kernels_bind(op, specs, d->backward ? MZ_COUNT(specs) : 1);
}

static mz_kembed numbers(const mz_op *op, const mz_args *args, const mz_tensor *y,
                         const mz_tensor *w)
{
    return (mz_kembed){.T = y->dim[0],
                       .V = op->desc.u.embed.V,
                       .D = op->desc.u.embed.D,
                       .y = mz_kernel_view(y),
                       .w = mz_kernel_view(w),
                       .ids = mz_kernel_view(args->embed.ids)};
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_kembed k = numbers(op, args, args->embed.y, args->embed.w);
    const mz_launch l = {.groups = {mz_kernel_groups(k.T * k.D), 1, 1},
                         .tensor = {args->embed.y, args->embed.w, args->embed.ids},
                         .n_tensors = 3,
                         .args = &k,
                         .args_bytes = sizeof k};
    return mz_kernels_run(op, FORWARD, &l);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_kembed k = numbers(op, args, args->embed.dy, args->embed.dw);
    const mz_tensor next = mz_op_workspace(op);
    const mz_tensor first = mz_kernel_part(&next, chain_bytes(&op->desc.u.embed));
    const mz_launch chain = {.groups = {mz_kernel_groups(k.T), 1, 1},
                             .tensor = {&next, &first, args->embed.ids},
                             .n_tensors = 3,
                             .args = &k,
                             .args_bytes = sizeof k};
    const mz_launch sum = {
        .groups = {mz_kernel_groups(k.T * k.D), 1, 1},
        .tensor = {args->embed.dw, args->embed.dy, args->embed.ids, &next, &first},
        .n_tensors = 5,
        .args = &k,
        .args_bytes = sizeof k,
        .flop = (double)(k.T * k.D)};
    MZ_TRY(mz_kernels_run(op, CHAIN, &chain));
    return mz_kernels_run(op, BACKWARD, &sum);
}

const mz_slot mz_kernels_embed = {.query = query,
                                  .bind = bind,
                                  .unbind = mz_kernels_unbind,
                                  .forward = forward,
                                  .backward = backward};
