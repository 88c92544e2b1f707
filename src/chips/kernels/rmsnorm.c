/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/rmsnorm.c - root-mean-square normalisation; saved: 1/rms of each token. Floor:
 * chips. */
#include "chips/kernels/args_dense.h"
#include "chips/kernels/ops.h"

enum { FORWARD, DX, DW };

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_rmsnorm_desc *d = &desc->u.rmsnorm;
    (void)q;
    support->repeats = true;
    if (d->backward) support->saved_bytes = mz_kernel_opaque((size_t)d->T_max * sizeof(float));
    return mz_kernels_need(desc->kind, d->dtype);
}

static mz_err bind(mz_op *op)
{
    const mz_rmsnorm_desc *d = &op->desc.u.rmsnorm;
    const mz_kernel_spec specs[] = {
        [FORWARD] = {.text = "rmsnorm", .name = "rmsnorm", .dtype = d->dtype},
        [DX] = {.text = "rmsnorm", .name = "rmsnorm_dx", .dtype = d->dtype},
        [DW] = {.text = "rmsnorm", .name = "rmsnorm_dw", .dtype = d->dtype},
    };
    return mz_kernels_bind(op, specs, d->backward ? MZ_COUNT(specs) : 1);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_tensor *y = args->rmsnorm.y, *x = args->rmsnorm.x, *w = args->rmsnorm.w;
    const mz_krmsnorm k = {.T = x->dim[0],
                           .D = x->dim[1],
                           .y = mz_kernel_view(y),
                           .x = mz_kernel_view(x),
                           .w = mz_kernel_view(w),
                           .eps = (float)op->desc.u.rmsnorm.eps,
                           .has_saved = args->rmsnorm.saved != NULL};
    return mz_kernels_run(op, FORWARD,
                          &(mz_launch){.groups = {k.T, 1, 1},
                                       .tensor = {y, args->rmsnorm.saved, x, w},
                                       .n_tensors = 4,
                                       .args = &k,
                                       .args_bytes = sizeof k,
                                       .flop = 4.0 * (double)(k.T * k.D)});
}

/* dw goes first because dx may overwrite dy. */
static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *x = args->rmsnorm.x, *w = args->rmsnorm.w, *dy = args->rmsnorm.dy;
    const mz_tensor *dx = args->rmsnorm.dx, *dw = args->rmsnorm.dw, *saved = args->rmsnorm.saved;
    const mz_krmsnorm k = {.T = x->dim[0],
                           .D = x->dim[1],
                           .y = mz_kernel_view(dy),
                           .x = mz_kernel_view(x),
                           .w = mz_kernel_view(w),
                           .dx = mz_kernel_view(dx),
                           .dw = mz_kernel_view(dw)};
    MZ_TRY(mz_kernels_run(op, DW,
                          &(mz_launch){.groups = {mz_kernel_groups(k.D), 1, 1},
                                       .tensor = {dw, saved, x, dy},
                                       .n_tensors = 4,
                                       .args = &k,
                                       .args_bytes = sizeof k,
                                       .flop = 3.0 * (double)(k.T * k.D)}));
    return mz_kernels_run(op, DX,
                          &(mz_launch){.groups = {k.T, 1, 1},
                                       .tensor = {dx, saved, x, w, dy},
                                       .n_tensors = 5,
                                       .args = &k,
                                       .args_bytes = sizeof k,
                                       .flop = 8.0 * (double)(k.T * k.D)});
}

const mz_slot mz_kernels_rmsnorm = {.query = query,
                                    .bind = bind,
                                    .unbind = mz_kernels_unbind,
                                    .forward = forward,
                                    .backward = backward};
