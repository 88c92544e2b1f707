/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/experts.c - one matrix product an expert, over its own rows; see chip/desc.h.
 * Floor: chips. */
#include "chips/ref/ops.h"

/* w in another dtype than the rest. */
static void stored(const mz_op *op, const mz_args *args, int64_t e)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *offsets = args->experts.offsets;
    const mz_tensor workspace = mz_op_workspace(op);
    double *row = mz_ref_doubles(&workspace);
    for (int64_t n = 0; n < d->N; n++) {
        mz_ref_weight_row(args->experts.w, e * d->N + n, d->K, d->dtype, row);
        for (int64_t r = id1(offsets, e); r < id1(offsets, e + 1); r++) {
            double sum = 0.0;
            for (int64_t k = 0; k < d->K; k++) sum += at2(x, r, k) * row[k];
            put2(args->experts.y, r, n, sum);
        }
    }
}

mz_err mz_ref_experts(mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *w = args->experts.w, *offsets = args->experts.offsets;
    MZ_TRY(mz_ref_check_offsets(offsets, x->dim[0], "offsets"));
    for (int64_t e = 0; e < d->E && d->stored != MZ_F64; e++) stored(op, args, e);
    for (int64_t e = 0; e < d->E && d->stored == MZ_F64; e++)
        for (int64_t r = id1(offsets, e); r < id1(offsets, e + 1); r++)
            for (int64_t n = 0; n < d->N; n++) {
                double sum = 0.0;
                for (int64_t k = 0; k < d->K; k++) sum += at2(x, r, k) * at3(w, e, n, k);
                put2(args->experts.y, r, n, sum);
            }
    return MZ_OK;
}

/* dx = dy w of the row's expert */
static void backward_x(const mz_experts_desc *d, const mz_args *args, int64_t e)
{
    const mz_tensor *offsets = args->experts.offsets, *w = args->experts.w, *dy = args->experts.dy;
    for (int64_t r = id1(offsets, e); r < id1(offsets, e + 1); r++)
        for (int64_t k = 0; k < d->K; k++) {
            double sum = 0.0;
            for (int64_t n = 0; n < d->N; n++) sum += at2(dy, r, n) * at3(w, e, n, k);
            put2(args->experts.dx, r, k, sum);
        }
}

/* dw += dy^T x over the expert's rows */
static void backward_w(const mz_experts_desc *d, const mz_args *args, int64_t e)
{
    const mz_tensor *offsets = args->experts.offsets, *x = args->experts.x, *dy = args->experts.dy;
    const mz_tensor *dw = args->experts.dw;
    for (int64_t n = 0; n < d->N; n++)
        for (int64_t k = 0; k < d->K; k++) {
            double sum = 0.0;
            for (int64_t r = id1(offsets, e); r < id1(offsets, e + 1); r++)
                sum += at2(dy, r, n) * at2(x, r, k);
            put3(dw, e, n, k, at3(dw, e, n, k) + sum);
        }
}

mz_err mz_ref_experts_backward(mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    MZ_TRY(mz_ref_check_offsets(args->experts.offsets, args->experts.dy->dim[0], "offsets"));
    for (int64_t e = 0; e < d->E; e++) {
        if (args->experts.dx) backward_x(d, args, e);
        if (args->experts.dw) backward_w(d, args, e);
    }
    return MZ_OK;
}
