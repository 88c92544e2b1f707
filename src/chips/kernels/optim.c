/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/optim.c - optim.cl as three operators. Scratch of sums: one number a chunk.
 * Floor: chips. */
#include "chips/kernels/args_optim.h"
#include "chips/kernels/ops.h"

#include <math.h>

/* ---- adamw ---- */

static mz_err adamw_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    MZ_TRY(mz_kernels_need(desc->kind, desc->u.adamw.acc));
    return mz_kernels_need(desc->kind, desc->u.adamw.copy_dtype);
}

static mz_err adamw_bind(mz_op *op)
{
    const mz_adamw_desc *d = &op->desc.u.adamw;
    const mz_kernel_spec spec = {
        .text = "optim", .name = "adamw", .dtype = d->acc, .out_dtype = d->copy_dtype};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err adamw(mz_op *op, const mz_args *args)
{
    const double lr = args->k.adamw.lr, beta1 = args->k.adamw.beta1, beta2 = args->k.adamw.beta2;
    const double steps = (double)args->k.adamw.step;
    const mz_kadamw k = {.N = args->adamw.p->dim[0],
                         .p = mz_kernel_view(args->adamw.p),
                         .m = mz_kernel_view(args->adamw.m),
                         .v = mz_kernel_view(args->adamw.v),
                         .g = mz_kernel_view(args->adamw.g),
                         .copy = mz_kernel_view(args->adamw.copy),
                         .kept = (float)(1.0 - lr * args->k.adamw.weight_decay),
                         .lr = (float)lr,
                         .beta1 = (float)beta1,
                         .fresh1 = (float)(1.0 - beta1),
                         .beta2 = (float)beta2,
                         .fresh2 = (float)(1.0 - beta2),
                         .correct1 = (float)(1.0 / (1.0 - pow(beta1, steps))),
                         .correct2 = (float)(1.0 / (1.0 - pow(beta2, steps))),
                         .eps = (float)args->k.adamw.eps,
                         .grad_scale = (float)args->k.adamw.grad_scale,
                         .has_copy = args->adamw.copy != NULL};
    const mz_launch l = {
        .groups = {mz_kernel_groups(k.N), 1, 1},
        .tensor = {args->adamw.p, args->adamw.m, args->adamw.v, args->adamw.g, args->adamw.copy},
        .n_tensors = 5,
        .args = &k,
        .args_bytes = sizeof k,
        .flop = 15.0 * (double)k.N};
    return mz_kernels_run(op, 0, &l);
}

const mz_slot mz_kernels_adamw = {
    .query = adamw_query, .bind = adamw_bind, .unbind = mz_kernels_unbind, .forward = adamw};

/* ---- sumsq, finite ---- */

enum { CHUNKS, SUM };

static int64_t chunks_of(int64_t N)
{
    return (N + MZ_KSUM_CHUNK - 1) / MZ_KSUM_CHUNK;
}

static mz_err sum_query(const mz_desc *desc, mz_support *support, mz_dtype dtype, int64_t N_max)
{
    support->repeats = true;
    support->workspace_bytes = mz_kernel_opaque((size_t)chunks_of(N_max) * sizeof(float));
    return mz_kernels_need(desc->kind, dtype);
}

static mz_err sum_bind(mz_op *op, mz_dtype dtype, const char *chunks, const char *sum)
{
    const mz_kernel_spec specs[] = {[CHUNKS] = {.text = "optim", .name = chunks, .dtype = dtype},
                                    [SUM] = {.text = "optim", .name = sum, .dtype = dtype}};
    return mz_kernels_bind(op, specs, MZ_COUNT(specs));
}

/* flop: of an element. */
static mz_err sum(mz_op *op, const mz_tensor *out, const mz_tensor *x, double flop)
{
    const mz_tensor part = mz_op_workspace(op);
    const mz_ksum k = {.N = x->dim[0],
                       .chunks = chunks_of(x->dim[0]),
                       .x = mz_kernel_view(x),
                       .out = mz_kernel_view(out)};
    mz_launch l = {.groups = {k.chunks, 1, 1},
                   .tensor = {&part, x},
                   .n_tensors = 2,
                   .args = &k,
                   .args_bytes = sizeof k,
                   .flop = flop * (double)k.N};
    MZ_TRY(mz_kernels_run(op, CHUNKS, &l));
    l = (mz_launch){.groups = {1, 1, 1},
                    .tensor = {out, &part},
                    .n_tensors = 2,
                    .args = &k,
                    .args_bytes = sizeof k};
    return mz_kernels_run(op, SUM, &l);
}

static mz_err sumsq_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    return sum_query(desc, support, desc->u.sumsq.dtype, desc->u.sumsq.N_max);
}

static mz_err sumsq_bind(mz_op *op)
{
    return sum_bind(op, op->desc.u.sumsq.dtype, "sumsq", "sumsq_sum");
}

static mz_err sumsq(mz_op *op, const mz_args *args)
{
    return sum(op, args->sumsq.out, args->sumsq.x, 2.0);
}

const mz_slot mz_kernels_sumsq = {
    .query = sumsq_query, .bind = sumsq_bind, .unbind = mz_kernels_unbind, .forward = sumsq};

static mz_err finite_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    return sum_query(desc, support, desc->u.finite.dtype, desc->u.finite.N_max);
}

static mz_err finite_bind(mz_op *op)
{
    return sum_bind(op, op->desc.u.finite.dtype, "finite_count", "finite_sum");
}

static mz_err finite_run(mz_op *op, const mz_args *args)
{
    return sum(op, args->finite.out, args->finite.x, 0.0);
}

const mz_slot mz_kernels_finite = {
    .query = finite_query, .bind = finite_bind, .unbind = mz_kernels_unbind, .forward = finite_run};
