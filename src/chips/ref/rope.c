/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/rope.c - rotary positions: pairs of the last axis turned by an angle from a table.
 *
 * Source: Su et al. 2021, "RoFormer", arXiv:2104.09864. Floor: chips. */
#include "chips/ref/ops.h"

/* Turns every pair of `from` by sign times its angle into `to`, which may be `from`. */
static mz_err rotate(const mz_op *op, const mz_args *args, const mz_tensor *to,
                     const mz_tensor *from, double sign)
{
    const mz_rope_desc *d = &op->desc.u.rope;
    const int64_t half = d->K / 2, pairs = d->H * half;
    MZ_TRY(mz_ref_check_ids(args->rope.pos, 0, args->rope.cos->dim[0], "pos"));
    for (int64_t i = 0; i < from->dim[0] * pairs; i++) {
        const int64_t t = i / pairs, h = i % pairs / half, j = i % half;
        const int64_t j0 = d->interleaved ? 2 * j : j, j1 = d->interleaved ? 2 * j + 1 : j + half;
        const int64_t p = id1(args->rope.pos, t);
        const double c = at2(args->rope.cos, p, j), s = sign * at2(args->rope.sin, p, j);
        const double x0 = at3(from, t, h, j0), x1 = at3(from, t, h, j1);
        put3(to, t, h, j0, x0 * c - x1 * s);
        put3(to, t, h, j1, x1 * c + x0 * s);
    }
    return MZ_OK;
}

mz_err mz_ref_rope(mz_op *op, const mz_args *args)
{
    return rotate(op, args, args->rope.y, args->rope.x, 1.0);
}

mz_err mz_ref_rope_backward(mz_op *op, const mz_args *args)
{
    return rotate(op, args, args->rope.dx, args->rope.dy, -1.0);
}
