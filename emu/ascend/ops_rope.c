/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_rope.c - RotaryPositionEmbedding: halves or neighbours of a head turn by angles
 * whose cosines and sines are spread over the batch and the heads. */
#include "ascend/ops.h"

enum { HALF = 0, INTERLEAVE = 1, WIDTH = 896, HEADS = 1000 };

/* The axis along which the angles change, of the first ones: -1 where all are 1 long. */
static int place_axis(const emu_tensor *cos)
{
    int axis = -1;
    for (int i = 0; i < cos->rank - 1; i++)
        if (cos->dim[i] != 1) axis = i;
    return axis;
}

/* How many axes are longer than 1, the last left out; all must spread to x. -1: one does not. */
static int long_axes(const emu_tensor *cos, const emu_tensor *x)
{
    int n = 0;
    for (int i = 0; i < x->rank; i++) {
        if (cos->dim[i] != x->dim[i] && (cos->dim[i] != 1 || i == x->rank - 1)) return -1;
        n += i < x->rank - 1 && cos->dim[i] != 1;
    }
    return n;
}

static aclnnStatus check_limits(const emu_call *c, const emu_tensor *x, const emu_tensor *cos)
{
    const int axis = place_axis(cos);
    int64_t heads = 1;
    for (int i = 0; i < x->rank - 1; i++) {
        if (i == axis || x->rank == 3) continue;
        if (c->arg[3].i == HALF && x->dim[i] >= HEADS) return emu_refuse(c, "1000 heads or more");
        heads *= x->dim[i];
    }
    return c->arg[3].i == INTERLEAVE && heads >= HEADS ? emu_refuse(c, "1000 heads or more") : 0;
}

static aclnnStatus check_rope(emu_call *c)
{
    static const int args[] = {0, 1, 2, 4};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *cos = emu_t(c, 1), *sin = emu_t(c, 2), *y = emu_t(c, 4);
    const int64_t mode = c->arg[3].i;
    if (mode != HALF && mode != INTERLEAVE)
        return emu_refuse(c, "the emulated driver has the modes half and interleave");
    if (x->type != EMU_FLOAT && x->type != EMU_FLOAT16 && x->type != EMU_BF16)
        return emu_refuse(c, "neither FLOAT, FLOAT16 nor BF16");
    if (x->rank != 3 && x->rank != 4) return emu_refuse(c, "x has neither 3 nor 4 axes");
    if (!emu_same(x, y)) return emu_refuse(c, "the output is unlike x");
    if (!emu_same(cos, sin) || cos->type != x->type || cos->rank != x->rank)
        return emu_refuse(c, "cos or sin is of another type or has other axes than x");
    const int64_t D = x->dim[x->rank - 1];
    if (D % 2 != 0 || D >= WIDTH) return emu_refuse(c, "a head that is odd, or 896 wide or more");
    const int axes = long_axes(cos, x);
    if (axes < 0 || (mode == INTERLEAVE && axes > 1))
        return emu_refuse(c, "cos does not spread to x as the mode wants it");
    return check_limits(c, x, cos);
}

static int64_t spread_place(const emu_tensor *t, const emu_tensor *x, int64_t e)
{
    int64_t at = 0;
    for (int i = x->rank - 2; i >= 0; i--) {
        if (t->dim[i] != 1) at += e % x->dim[i] * t->stride[i];
        e /= x->dim[i];
    }
    return at;
}

static void run_rope(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *cos = emu_t(c, 1), *sin = emu_t(c, 2), *y = emu_t(c, 4);
    const int last = x->rank - 1;
    const bool is_half = c->arg[3].i == HALF;
    const int64_t D = x->dim[last], rows = D ? emu_count(x) / D : 0;
    for (int64_t e = 0; e < rows; e++) {
        const int64_t from = spread_place(x, x, e), to = spread_place(y, x, e);
        const int64_t at_cos = spread_place(cos, x, e), at_sin = spread_place(sin, x, e);
        for (int64_t i = 0; i < D / 2; i++) {
            const int64_t a = is_half ? i : 2 * i, b = is_half ? i + D / 2 : 2 * i + 1;
            const double xa = emu_get(x, from + a * x->stride[last]),
                         xb = emu_get(x, from + b * x->stride[last]);
            emu_put(c, y, to + a * y->stride[last],
                    xa * emu_get(cos, at_cos + a * cos->stride[last]) -
                        xb * emu_get(sin, at_sin + a * sin->stride[last]));
            emu_put(c, y, to + b * y->stride[last],
                    xb * emu_get(cos, at_cos + b * cos->stride[last]) +
                        xa * emu_get(sin, at_sin + b * sin->stride[last]));
        }
    }
}

const emu_op emu_ops_rope[] = {
    {"RotaryPositionEmbedding", check_rope, run_rope},
    {NULL, NULL, NULL},
};
