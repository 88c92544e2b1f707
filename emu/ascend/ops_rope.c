/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_rope.c - RotaryPositionEmbedding and its gradient: halves or neighbours of a head
 * turn by angles whose cosines and sines are spread over the batch and the heads. SwiGlu. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

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

static aclnnStatus check_limits(const emu_call *c, const emu_tensor *x, const emu_tensor *cos,
                                int64_t mode)
{
    const int axis = place_axis(cos);
    int64_t heads = 1;
    for (int i = 0; i < x->rank - 1; i++) {
        if (i == axis || x->rank == 3) continue;
        if (mode == HALF && x->dim[i] >= HEADS) return emu_refuse(c, "1000 heads or more");
        heads *= x->dim[i];
    }
    return mode == INTERLEAVE && heads >= HEADS ? emu_refuse(c, "1000 heads or more") : 0;
}

static aclnnStatus check_turn(emu_call *c, const emu_tensor *y, int64_t mode)
{
    const emu_tensor *x = emu_t(c, 0), *cos = emu_t(c, 1), *sin = emu_t(c, 2);
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
    return check_limits(c, x, cos, mode);
}

static aclnnStatus check_rope(emu_call *c)
{
    static const int args[] = {0, 1, 2, 4};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    return check_turn(c, emu_t(c, 4), c->arg[3].i);
}

/* The gradient's places: x may be absent where cos and sin want none. */
static aclnnStatus check_rope_grad(emu_call *c)
{
    static const int args[] = {0, 1, 2, 5, 6, 7};
    const emu_tensor *x = emu_t(c, 3);
    const aclnnStatus code = emu_want(c, args, x ? 6 : 4);
    if (code != 0) return code;
    if (x && (!emu_same(x, emu_t(c, 0)) || !emu_same(emu_t(c, 1), emu_t(c, 6)) ||
              !emu_same(emu_t(c, 2), emu_t(c, 7))))
        return emu_refuse(c, "x is unlike dy, or dcos or dsin unlike cos or sin");
    return check_turn(c, emu_t(c, 5), c->arg[4].i);
}

/* Element 0 of row e of x's shape, in t. */
static int64_t row_of(const emu_tensor *t, const emu_tensor *x, int64_t e)
{
    return emu_spread_place(t, x, e * x->dim[x->rank - 1]);
}

static void run_rope(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *cos = emu_t(c, 1), *sin = emu_t(c, 2), *y = emu_t(c, 4);
    const int last = x->rank - 1;
    const bool is_half = c->arg[3].i == HALF;
    const int64_t D = x->dim[last], rows = D ? emu_count(x) / D : 0;
    for (int64_t e = 0; e < rows; e++) {
        const int64_t from = row_of(x, x, e), to = row_of(y, x, e);
        const int64_t at_cos = row_of(cos, x, e), at_sin = row_of(sin, x, e);
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

/* ---- RotaryPositionEmbeddingGrad(dy, cos, sin, x, mode, dx, dcos, dsin) ---- */

/* The other element of the pair of e, of heads of D; above: whether e is the first of the two. */
static int64_t partner_of(int64_t e, int64_t D, bool is_half, bool *first)
{
    const int64_t i = e % D, far = is_half ? D / 2 : 1;
    *first = is_half ? i < far : i % 2 == 0;
    return *first ? e + far : e - far;
}

/* dcos and dsin are sums over all that cos and sin are spread over, rounded once. */
static void give_angles(emu_call *c, const double *sum, const emu_tensor *t)
{
    for (int64_t e = 0, n = emu_count(t); e < n; e++) emu_put(c, t, emu_place(t, 0, e), sum[e]);
}

static void run_rope_grad(emu_call *c)
{
    const emu_tensor *dy = emu_t(c, 0), *cos = emu_t(c, 1), *sin = emu_t(c, 2), *x = emu_t(c, 3),
                     *dx = emu_t(c, 5);
    const int64_t D = dy->dim[dy->rank - 1], angles = emu_count(cos), n = emu_count(dy);
    emu_tensor dense = *cos;
    for (int64_t i = dense.rank - 1, step = 1; i >= 0; step *= dense.dim[i--])
        dense.stride[i] = step;
    double *sum = x ? calloc((size_t)(2 * angles + 1), sizeof *sum) : NULL;
    for (int64_t e = 0; e < n; e++) {
        bool is_first;
        const int64_t p = partner_of(e, D, c->arg[4].i == HALF, &is_first);
        const double sign = is_first ? 1.0 : -1.0, y = emu_get(dy, emu_place(dy, 0, e));
        emu_put(c, dx, emu_place(dx, 0, e),
                y * emu_get(cos, emu_spread_place(cos, dy, e)) +
                    sign * emu_get(dy, emu_place(dy, 0, p)) *
                        emu_get(sin, emu_spread_place(sin, dy, p)));
        if (!sum) continue;
        const int64_t angle = emu_spread_place(&dense, dy, e);
        sum[angle] += y * emu_get(x, emu_place(x, 0, e));
        sum[angles + angle] -= sign * y * emu_get(x, emu_place(x, 0, p));
    }
    if (sum) {
        give_angles(c, sum, emu_t(c, 6));
        give_angles(c, sum + angles, emu_t(c, 7));
    }
    free(sum);
}

/* ---- SwiGlu(x, axis, out), SwiGluGrad(dy, x, axis, dx): silu of the first half times the second
 * ---- */

static aclnnStatus check_glu(const emu_call *c, const emu_tensor *x, int64_t dim,
                             const emu_tensor *half, const emu_tensor *like)
{
    const int axis = emu_axis(x, dim);
    if (axis < 0 || x->dim[axis] % 2 != 0)
        return emu_refuse(c, "there is no such axis, or it is of odd length");
    if (!emu_is_dense(x)) return emu_refuse(c, "x is not contiguous");
    if (!emu_is_float(x->type) || x->type == EMU_DOUBLE || half->type != x->type)
        return emu_refuse(c, "neither FLOAT, FLOAT16 nor BF16, or of several types");
    for (int i = 0; i < x->rank; i++)
        if (half->rank != x->rank || half->dim[i] != (i == axis ? x->dim[i] / 2 : x->dim[i]))
            return emu_refuse(c, "the output is not half of x");
    return !like || emu_same(like, x) ? 0 : emu_refuse(c, "dx is unlike x");
}

static aclnnStatus check_swiglu(emu_call *c)
{
    static const int args[] = {0, 2};
    const aclnnStatus code = emu_want(c, args, 2);
    return code != 0 ? code : check_glu(c, emu_t(c, 0), c->arg[1].i, emu_t(c, 2), NULL);
}

static aclnnStatus check_swiglu_grad(emu_call *c)
{
    static const int args[] = {0, 1, 3};
    const aclnnStatus code = emu_want(c, args, 3);
    return code != 0 ? code : check_glu(c, emu_t(c, 1), c->arg[2].i, emu_t(c, 0), emu_t(c, 3));
}

static void run_swiglu(emu_call *c)
{
    const bool is_grad = c->n == 4;
    const emu_tensor *x = emu_t(c, is_grad ? 1 : 0), *half = emu_t(c, is_grad ? 0 : 2);
    const int axis = emu_axis(x, c->arg[is_grad ? 2 : 1].i);
    emu_tensor first = *x, to = *emu_t(c, c->n - 1);
    first.dim[axis] = to.dim[axis] = half->dim[axis];
    const int64_t further = half->dim[axis] * x->stride[axis];
    for (int64_t e = 0, n = emu_count(half); e < n; e++) {
        const int64_t at = emu_place(&first, 0, e), y = emu_place(&to, 0, e);
        const double a = emu_get(x, at), b = emu_get(x, at + further), s = 1.0 / (1.0 + exp(-a));
        if (!is_grad) {
            emu_put(c, &to, y, a * s * b);
            continue;
        }
        const double g = emu_get(half, emu_place(half, 0, e));
        emu_put(c, &to, y, g * b * s * (1.0 + a * (1.0 - s)));
        emu_put(c, &to, y + half->dim[axis] * to.stride[axis], g * a * s);
    }
}

const emu_op emu_ops_rope[] = {
    {"RotaryPositionEmbedding", check_rope, run_rope},
    {"RotaryPositionEmbeddingGrad", check_rope_grad, run_rope_grad},
    {"SwiGlu", check_swiglu, run_swiglu},
    {"SwiGluGrad", check_swiglu_grad, run_swiglu},
    {NULL, NULL, NULL},
};
