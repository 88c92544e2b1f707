/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/rows.c - reduce, rows: see chip/desc.h. Floor: chips. */
#include "chips/cpu/split.h"

#include <string.h>

/* ---- reduce ---- */

static mz_err reduce_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    MZ_TRY(mz_cpu_need_f32_or_bf16(desc->kind, desc->u.reduce.out_dtype));
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.reduce.dtype);
}

static int64_t column_chunks(int64_t C)
{
    return (C + MZ_CPU_COLUMNS - 1) / MZ_CPU_COLUMNS;
}

/* Items are (a, chunk of columns): the sum over b stays in one small f32 row. */
static void reduce_items(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_cpu_ops_table *ops = mz_cpu_ops_of(op);
    const mz_tensor *y = args->reduce.y, *x = args->reduce.x;
    const int64_t C = y->dim[1], chunks = column_chunks(C);
    const bool y_bf16 = mz_cpu_is_bf16(y), x_bf16 = mz_cpu_is_bf16(x);
    float sum[MZ_CPU_COLUMNS];
    for (int64_t item = first; item < last; item++) {
        const int64_t a = item / chunks, c = item % chunks * MZ_CPU_COLUMNS;
        const int64_t n = C - c < MZ_CPU_COLUMNS ? C - c : MZ_CPU_COLUMNS;
        void *to = mz_cpu_elem(y, a * y->stride[0] + c);
        memset(sum, 0, sizeof sum);
        for (int64_t b = 0; b < x->dim[1]; b++)
            ops->add(sum, mz_cpu_elem(x, a * x->stride[0] + b * x->stride[1] + c), n, x_bf16);
        if (op->desc.u.reduce.accumulate) ops->add(sum, to, n, y_bf16);
        ops->cast(to, y_bf16, sum, false, n);
    }
}

static mz_err reduce(mz_op *op, const mz_args *args)
{
    const mz_tensor *y = args->reduce.y, *x = args->reduce.x;
    const int64_t C = y->dim[1], wide = C < MZ_CPU_COLUMNS ? C : MZ_CPU_COLUMNS;
    mz_cpu_split(op, args, y->dim[0] * column_chunks(C), mz_cpu_items(wide * x->dim[1]),
                 reduce_items);
    return MZ_OK;
}

const mz_slot mz_cpu_reduce = {.query = reduce_query, .forward = reduce};

/* ---- rows ---- */

static mz_err rows_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    (void)desc;
    support->repeats = true;
    return MZ_OK; /* rows are bytes to it */
}

static void move_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *y = args->rows.y, *x = args->rows.x;
    const size_t bytes = (size_t)op->desc.u.rows.D * mz_dtype_bytes(x->dtype);
    const bool scatter = op->desc.u.rows.scatter;
    for (int64_t i = first; i < last; i++) {
        const int64_t row = mz_cpu_id_at(args->rows.idx, i, 0);
        if (row < 0) continue;
        memcpy(mz_cpu_row(y, scatter ? row : i), mz_cpu_row(x, scatter ? i : row), bytes);
    }
}

static mz_err rows(mz_op *op, const mz_args *args)
{
    const mz_tensor *indexed = op->desc.u.rows.scatter ? args->rows.y : args->rows.x;
    MZ_TRY(mz_cpu_check_ids(args->rows.idx, -1, indexed->dim[0], "idx"));
    mz_cpu_split(op, args, args->rows.idx->dim[0], mz_cpu_items(op->desc.u.rows.D), move_rows);
    return MZ_OK;
}

const mz_slot mz_cpu_rows = {.query = rows_query, .forward = rows};
