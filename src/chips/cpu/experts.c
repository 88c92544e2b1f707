/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/experts.c - EXPERTS: one product per expert over the rows it owns, in one go over the
 * threads. Nothing is padded to a common number of rows; an expert without rows costs nothing. */
#include "chips/cpu/gemm.h"
#include "chips/cpu/stored.h"

static mz_cpu_room room_of(const mz_cpu *cpu, const mz_experts_desc *d)
{
    mz_cpu_room r = mz_cpu_product_room(cpu, d->T_max, d->N, d->K, d->E);
    if (!d->backward) return r;
    r = mz_cpu_room_max(r, mz_cpu_product_room(cpu, d->T_max, d->K, d->N, d->E));
    return mz_cpu_room_max(r, mz_cpu_product_room(cpu, d->N, d->K, d->T_max, d->E));
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *s)
{
    const mz_experts_desc *d = &desc->u.experts;
    MZ_TRY(mz_cpu_need_dtype(desc->kind, d->dtype));
    s->repeats = true;
    if (d->stored != MZ_F64) {
        MZ_TRY(mz_cpu_stored_need(desc->kind, d->dtype));
        s->workspace_bytes = mz_cpu_room_bytes(q, mz_cpu_stored_room(d->E));
        return MZ_OK;
    }
    if (d->dtype != MZ_F64) s->workspace_bytes = mz_cpu_room_bytes(q, room_of(mz_cpu_of(q), d));
    return MZ_OK;
}

/* The offsets rise from 0 to T: a wrong one would write outside of y. */
static mz_err check_offsets(const mz_tensor *offsets, int64_t E, int64_t T)
{
    const int32_t *o = mz_cpu_data(offsets);
    MZ_NEED(o[0] == 0 && o[E] == T, "offsets run from %d to %d, want 0 to %lld", (int)o[0],
            (int)o[E], (long long)T);
    for (int64_t e = 0; e < E; e++)
        MZ_NEED(o[e] <= o[e + 1], "offsets[%lld] = %d is larger than the next, %d", (long long)e,
                (int)o[e], (int)o[e + 1]);
    return MZ_OK;
}

static void run(mz_op *op, mz_cpu_product p, const mz_tensor *offsets)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    p.count = d->E;
    p.offsets = mz_cpu_data(offsets);
    p.is_f64 = d->dtype == MZ_F64;
    if (d->E > 0) mz_cpu_product_run(op, room_of(mz_cpu_of(op->queue), d), &p);
}

static void forward_stored(const mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *w = args->experts.w, *y = args->experts.y;
    const mz_cpu_stored p = {.M = x->dim[0],
                             .N = d->N,
                             .K = d->K,
                             .a = mz_cpu_mat_of(x, false),
                             .w = mz_cpu_data(w),
                             .kind = mz_cpu_kind_of(w->dtype),
                             .w_row_bytes = mz_cpu_stored_bytes(w->dtype, w->stride[1]),
                             .c = mz_cpu_data(y),
                             .c_row = y->stride[0],
                             .c_is_bf16 = y->dtype == MZ_BF16,
                             .count = d->E,
                             .offsets = mz_cpu_data(args->experts.offsets),
                             .w_step_bytes = mz_cpu_stored_bytes(w->dtype, w->stride[0])};
    mz_cpu_stored_run(op, &p);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *w = args->experts.w, *y = args->experts.y;
    MZ_TRY(check_offsets(args->experts.offsets, d->E, x->dim[0]));
    if (d->stored != MZ_F64) return forward_stored(op, args), MZ_OK;
    run(op,
        (mz_cpu_product){.N = d->N,
                         .K = d->K,
                         .a = mz_cpu_mat_of(x, false),
                         .b = mz_cpu_mat_of(w, true),
                         .c = mz_cpu_data(y),
                         .c_row = y->stride[0],
                         .c_is_bf16 = y->dtype == MZ_BF16,
                         .b_step = w->stride[0],
                         .cut = MZ_CPU_CUT_M},
        args->experts.offsets);
    return MZ_OK;
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *w = args->experts.w, *dy = args->experts.dy;
    const mz_tensor *dx = args->experts.dx, *dw = args->experts.dw;
    MZ_TRY(check_offsets(args->experts.offsets, d->E, dy->dim[0]));
    if (dx)
        run(op,
            (mz_cpu_product){.N = d->K,
                             .K = d->N,
                             .a = mz_cpu_mat_of(dy, false),
                             .b = mz_cpu_mat_of(w, false),
                             .c = mz_cpu_data(dx),
                             .c_row = dx->stride[0],
                             .c_is_bf16 = dx->dtype == MZ_BF16,
                             .b_step = w->stride[0],
                             .cut = MZ_CPU_CUT_M},
            args->experts.offsets);
    if (dw)
        run(op,
            (mz_cpu_product){.M = d->N,
                             .N = d->K,
                             .a = mz_cpu_mat_of(dy, true),
                             .b = mz_cpu_mat_of(x, false),
                             .c = mz_cpu_data(dw),
                             .c_row = dw->stride[1],
                             .add = true,
                             .c_step = dw->stride[0],
                             .cut = MZ_CPU_CUT_K},
            args->experts.offsets);
    return MZ_OK;
}

const mz_slot mz_cpu_experts = {.query = query, .forward = forward, .backward = backward};
