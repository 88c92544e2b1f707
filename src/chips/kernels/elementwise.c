/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/elementwise.c - elementwise functions, casts, sums over an axis, rows by index.
 * Floor: chips. */
#include "chip/work.h"
#include "chips/kernels/args_dense.h"
#include "chips/kernels/ops.h"

_Static_assert(MZ_KERNEL_ADD == MZ_EW_ADD && MZ_KERNEL_MUL == MZ_EW_MUL &&
                   MZ_KERNEL_AXPY == MZ_EW_AXPY && MZ_KERNEL_SCALE == MZ_EW_SCALE &&
                   MZ_KERNEL_COPY == MZ_EW_COPY && MZ_KERNEL_FILL == MZ_EW_FILL,
               "args_dense.h and desc.h count alike");

static int64_t groups_of_each(int64_t n)
{
    return mz_kernel_groups((n + MZ_KERNEL_EACH - 1) / MZ_KERNEL_EACH);
}

/* ---- elementwise ---- */

static mz_err elementwise_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.elementwise.dtype);
}

static mz_err elementwise_bind(mz_op *op)
{
    const mz_kernel_spec spec = {
        .text = "elementwise", .name = "elementwise", .dtype = op->desc.u.elementwise.dtype};
    return mz_kernels_bind(op, &spec, 1);
}

static bool is_run(const mz_tensor *t)
{
    return !t || mz_is_dense(t);
}

static mz_err elementwise(mz_op *op, const mz_args *args)
{
    const mz_tensor *y = args->elementwise.y, *a = args->elementwise.a, *b = args->elementwise.b;
    mz_kelementwise k = {.n = mz_count(y),
                         .d1 = y->rank > 1 ? y->dim[1] : 1,
                         .d2 = y->rank > 2 ? y->dim[2] : 1,
                         .y = mz_kernel_view(y),
                         .a = mz_kernel_view(a),
                         .b = mz_kernel_view(b),
                         .alpha = (float)args->k.elementwise.alpha,
                         .fn = (int)op->desc.u.elementwise.fn};
    if (is_run(y) && is_run(a) && is_run(b)) {
        k.d1 = k.d2 = 1;
        k.y.s0 = k.a.s0 = k.b.s0 = 1;
    }
    return mz_kernels_run(
        op, 0,
        &(mz_launch){.groups = {groups_of_each(k.n), 1, 1},
                     .tensor = {y, a, b},
                     .n_tensors = 3,
                     .args = &k,
                     .args_bytes = sizeof k,
                     .flop = mz_work_elementwise(op->desc.u.elementwise.fn) * (double)k.n});
}

const mz_slot mz_kernels_elementwise = {.query = elementwise_query,
                                        .bind = elementwise_bind,
                                        .unbind = mz_kernels_unbind,
                                        .forward = elementwise};

/* ---- cast ---- */

static mz_err need_dtypes(mz_op_kind kind, mz_dtype a, mz_dtype b)
{
    if (mz_kernel_dtype(a) && mz_kernel_dtype(b)) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "the kernels have %s of f32, bf16 and f16, not of %s",
                   mz_op_name(kind), mz_dtype_name(mz_kernel_dtype(a) ? b : a));
}

static mz_err cast_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return need_dtypes(desc->kind, desc->u.cast.from, desc->u.cast.to);
}

static mz_err cast_bind(mz_op *op)
{
    const mz_kernel_spec spec = {.text = "elementwise",
                                 .name = "cast",
                                 .dtype = op->desc.u.cast.from,
                                 .out_dtype = op->desc.u.cast.to};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err cast(mz_op *op, const mz_args *args)
{
    const mz_tensor *y = args->cast.y, *x = args->cast.x;
    const mz_kcast k = {
        .T = x->dim[0], .N = x->dim[1], .y = mz_kernel_view(y), .x = mz_kernel_view(x)};
    return mz_kernels_run(op, 0,
                          &(mz_launch){.groups = {groups_of_each(k.T * k.N), 1, 1},
                                       .tensor = {y, x},
                                       .n_tensors = 2,
                                       .args = &k,
                                       .args_bytes = sizeof k});
}

const mz_slot mz_kernels_cast = {
    .query = cast_query, .bind = cast_bind, .unbind = mz_kernels_unbind, .forward = cast};

/* ---- reduce ---- */

static mz_err reduce_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    MZ_TRY(mz_kernels_need(desc->kind, desc->u.reduce.dtype));
    return need_dtypes(desc->kind, desc->u.reduce.dtype, desc->u.reduce.out_dtype);
}

static mz_err reduce_bind(mz_op *op)
{
    const mz_kernel_spec spec = {.text = "elementwise",
                                 .name = "reduce",
                                 .dtype = op->desc.u.reduce.dtype,
                                 .out_dtype = op->desc.u.reduce.out_dtype};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err reduce(mz_op *op, const mz_args *args)
{
    const mz_tensor *y = args->reduce.y, *x = args->reduce.x;
    const mz_kreduce k = {.A = y->dim[0],
                          .B = x->dim[1],
                          .C = y->dim[1],
                          .y = mz_kernel_view(y),
                          .x = mz_kernel_view(x),
                          .accumulate = op->desc.u.reduce.accumulate};
    return mz_kernels_run(op, 0,
                          &(mz_launch){.groups = {mz_kernel_groups(k.A * k.C), 1, 1},
                                       .tensor = {y, x},
                                       .n_tensors = 2,
                                       .args = &k,
                                       .args_bytes = sizeof k,
                                       .flop = (double)(k.A * k.B * k.C)});
}

const mz_slot mz_kernels_reduce = {
    .query = reduce_query, .bind = reduce_bind, .unbind = mz_kernels_unbind, .forward = reduce};

/* ---- rows ---- */

static mz_err rows_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const size_t bytes = mz_dtype_bytes(desc->u.rows.dtype);
    (void)q;
    support->repeats = true;
    if (bytes == 2 || bytes == 4) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "the kernels move rows of 2 or 4 bytes an element, not of %s",
                   mz_dtype_name(desc->u.rows.dtype));
}

static mz_err rows_bind(mz_op *op)
{
    const bool narrow = mz_dtype_bytes(op->desc.u.rows.dtype) == 2;
    const mz_kernel_spec spec = {.text = "rows",
                                 .name = "rows",
                                 .dtype = MZ_F32,
                                 .options = narrow ? "-DBYTES=2" : "-DBYTES=4"};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err rows(mz_op *op, const mz_args *args)
{
    const mz_rows_desc *desc = &op->desc.u.rows;
    const mz_tensor *y = args->rows.y, *x = args->rows.x, *idx = args->rows.idx;
    const mz_krows k = {.n = idx->dim[0],
                        .D = desc->D,
                        .rows = desc->scatter ? y->dim[0] : x->dim[0],
                        .y = mz_kernel_view(y),
                        .x = mz_kernel_view(x),
                        .idx = mz_kernel_view(idx),
                        .scatter = desc->scatter};
    return mz_kernels_run(op, 0,
                          &(mz_launch){.groups = {mz_kernel_groups(k.D), k.n, 1},
                                       .tensor = {y, x, idx},
                                       .n_tensors = 3,
                                       .args = &k,
                                       .args_bytes = sizeof k});
}

const mz_slot mz_kernels_rows = {
    .query = rows_query, .bind = rows_bind, .unbind = mz_kernels_unbind, .forward = rows};
