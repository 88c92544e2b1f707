/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/rope.c - see chip/desc.h. Floor: chips. */
#include "chips/cpu/split.h"

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.rope.dtype);
}

static void turn(const mz_op *op, const mz_args *args, int64_t first, int64_t last, bool inverse)
{
    const mz_rope_desc *d = &op->desc.u.rope;
    const mz_tensor *to = inverse ? args->rope.dx : args->rope.y;
    const mz_tensor *from = inverse ? args->rope.dy : args->rope.x;
    const mz_cpu_rotation rotation = {
        .K = d->K, .interleaved = d->interleaved, .inverse = inverse, .bf16 = d->dtype == MZ_BF16};
    for (int64_t t = first; t < last; t++) {
        const int64_t pos = mz_cpu_id_at(args->rope.pos, t, 0);
        const float *cos = mz_cpu_row(args->rope.cos, pos), *sin = mz_cpu_row(args->rope.sin, pos);
        for (int64_t h = 0; h < d->H; h++)
            mz_cpu_ops_of(op)->rotate(
                &rotation, mz_cpu_elem(to, t * to->stride[0] + h * to->stride[1]),
                mz_cpu_elem(from, t * from->stride[0] + h * from->stride[1]), cos, sin);
    }
}

static void forward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    turn(op, args, first, last, false);
}

static void backward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    turn(op, args, first, last, true);
}

static mz_err run(mz_op *op, const mz_args *args, mz_cpu_range_fn *rows)
{
    const mz_rope_desc *d = &op->desc.u.rope;
    MZ_TRY(mz_cpu_check_ids(args->rope.pos, 0, args->rope.cos->dim[0], "pos"));
    mz_cpu_split(op, args, args->rope.pos->dim[0], mz_cpu_items(d->H * d->K), rows);
    return MZ_OK;
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    return run(op, args, forward_rows);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    return run(op, args, backward_rows);
}

const mz_slot mz_cpu_rope = {.query = query, .forward = forward, .backward = backward};
