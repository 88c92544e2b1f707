/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/permute.c - permute.cl as two operators.
 *
 * Scratch of permute: counts [chunks,E] I32. Floor: chips. */
#include "chips/kernels/args_moe.h"
#include "chips/kernels/ops.h"

enum { COUNT, BEGIN, DEAL, ROWS, PERMUTE_BACKWARD };

static int64_t chunks_of(int64_t pairs)
{
    return (pairs + MZ_KPERMUTE_CHUNK - 1) / MZ_KPERMUTE_CHUNK;
}

static mz_err permute_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    const mz_permute_desc *d = &desc->u.permute;
    support->repeats = true;
    support->workspace_bytes =
        mz_kernel_opaque((size_t)(chunks_of(d->T_max * d->k) * d->E) * sizeof(int32_t));
    return mz_kernels_need(desc->kind, d->dtype);
}

static mz_err permute_bind(mz_op *op)
{
    const mz_dtype d = op->desc.u.permute.dtype;
    const mz_kernel_spec specs[] = {
        [COUNT] = {.text = "permute", .name = "permute_count", .dtype = d},
        [BEGIN] = {.text = "permute", .name = "permute_begin", .dtype = d},
        [DEAL] = {.text = "permute", .name = "permute_deal", .dtype = d},
        [ROWS] = {.text = "permute", .name = "permute_rows", .dtype = d},
        [PERMUTE_BACKWARD] = {.text = "permute", .name = "permute_backward", .dtype = d}};
    return mz_kernels_bind(op, specs, op->desc.u.permute.backward ? 5 : 4);
}

static mz_kpermute permute_numbers(const mz_op *op, const mz_args *args, const mz_tensor *x,
                                   const mz_tensor *y)
{
    const mz_permute_desc *d = &op->desc.u.permute;
    return (mz_kpermute){.T = x->dim[0],
                         .D = d->D,
                         .E = d->E,
                         .k = d->k,
                         .chunks = chunks_of(x->dim[0] * d->k),
                         .x = mz_kernel_view(x),
                         .y = mz_kernel_view(y),
                         .ids = mz_kernel_view(args->permute.ids),
                         .row_of = mz_kernel_view(args->permute.row_of),
                         .offsets = mz_kernel_view(args->permute.offsets)};
}

static mz_err permute(mz_op *op, const mz_args *args)
{
    const mz_tensor *ids = args->permute.ids, *row_of = args->permute.row_of;
    const mz_tensor *offsets = args->permute.offsets, counts = mz_op_workspace(op);
    const mz_kpermute k = permute_numbers(op, args, args->permute.x, args->permute.y);
    mz_launch l = {.groups = {mz_kernel_groups(k.chunks), 1, 1},
                   .tensor = {&counts, ids},
                   .n_tensors = 2,
                   .args = &k,
                   .args_bytes = sizeof k};
    MZ_TRY(mz_kernels_run(op, COUNT, &l));
    l.groups[0] = 1;
    l.tensor[1] = offsets;
    MZ_TRY(mz_kernels_run(op, BEGIN, &l));
    l = (mz_launch){.groups = {mz_kernel_groups(k.chunks), 1, 1},
                    .tensor = {&counts, offsets, ids, row_of},
                    .n_tensors = 4,
                    .args = &k,
                    .args_bytes = sizeof k};
    MZ_TRY(mz_kernels_run(op, DEAL, &l));
    l = (mz_launch){.groups = {mz_kernel_groups(k.T * k.k * k.D), 1, 1},
                    .tensor = {args->permute.y, args->permute.x, row_of},
                    .n_tensors = 3,
                    .args = &k,
                    .args_bytes = sizeof k};
    return mz_kernels_run(op, ROWS, &l);
}

static mz_err permute_back(mz_op *op, const mz_args *args)
{
    const mz_kpermute k = permute_numbers(op, args, args->permute.dx, args->permute.dy);
    const mz_launch l = {.groups = {mz_kernel_groups(k.T * k.D), 1, 1},
                         .tensor = {args->permute.dx, args->permute.dy, args->permute.row_of},
                         .n_tensors = 3,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = (double)(k.T * k.k * k.D)};
    return mz_kernels_run(op, PERMUTE_BACKWARD, &l);
}

const mz_slot mz_kernels_permute = {.query = permute_query,
                                    .bind = permute_bind,
                                    .unbind = mz_kernels_unbind,
                                    .forward = permute,
                                    .backward = permute_back};

enum { FORWARD, BACKWARD };

static mz_err unpermute_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.unpermute.dtype);
}

static mz_err unpermute_bind(mz_op *op)
{
    const mz_dtype d = op->desc.u.unpermute.dtype;
    const mz_kernel_spec specs[] = {
        [FORWARD] = {.text = "permute", .name = "unpermute", .dtype = d},
        [BACKWARD] = {.text = "permute", .name = "unpermute_backward", .dtype = d}};
    return mz_kernels_bind(op, specs, op->desc.u.unpermute.backward ? 2 : 1);
}

static mz_kunpermute unpermute_numbers(const mz_op *op, const mz_args *args, const mz_tensor *y)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    return (mz_kunpermute){.T = y->dim[0],
                           .D = d->D,
                           .k = d->k,
                           .y = mz_kernel_view(y),
                           .z = mz_kernel_view(args->unpermute.z),
                           .row_of = mz_kernel_view(args->unpermute.row_of),
                           .weights = mz_kernel_view(args->unpermute.weights),
                           .base = mz_kernel_view(args->unpermute.base),
                           .dz = mz_kernel_view(args->unpermute.dz),
                           .dweights = mz_kernel_view(args->unpermute.dweights),
                           .has_base = args->unpermute.base != NULL};
}

static mz_err unpermute(mz_op *op, const mz_args *args)
{
    const mz_kunpermute k = unpermute_numbers(op, args, args->unpermute.y);
    const mz_launch l = {.groups = {mz_kernel_groups(k.T * k.D), 1, 1},
                         .tensor = {args->unpermute.y, args->unpermute.z, args->unpermute.row_of,
                                    args->unpermute.weights, args->unpermute.base},
                         .n_tensors = 5,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 2.0 * (double)(k.T * k.k * k.D)};
    return mz_kernels_run(op, FORWARD, &l);
}

static mz_err unpermute_back(mz_op *op, const mz_args *args)
{
    const mz_kunpermute k = unpermute_numbers(op, args, args->unpermute.dy);
    const mz_launch l = {.groups = {k.T * k.k, 1, 1},
                         .tensor = {args->unpermute.dz, args->unpermute.dweights,
                                    args->unpermute.dy, args->unpermute.z, args->unpermute.row_of,
                                    args->unpermute.weights},
                         .n_tensors = 6,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 3.0 * (double)(k.T * k.k * k.D)};
    return mz_kernels_run(op, BACKWARD, &l);
}

const mz_slot mz_kernels_unpermute = {.query = unpermute_query,
                                      .bind = unpermute_bind,
                                      .unbind = mz_kernels_unbind,
                                      .forward = unpermute,
                                      .backward = unpermute_back};
