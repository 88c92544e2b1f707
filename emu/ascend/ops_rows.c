/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_rows.c - slices by index, RMS norms, AdamW: computed in double,
 * rounded once. An index that names nothing ends in a fault of the vector core. */
#include "ascend/ops.h"

#include <math.h>

/* ---- IndexSelect(self, dim, index, out), IndexAdd(self, dim, index, source, alpha, out) ---- */

/* Whether `rows` are slices of `of` along the axis, one for each index. */
static bool are_slices(const emu_tensor *rows, const emu_tensor *index, const emu_tensor *of,
                       int axis)
{
    if (rows->rank != of->rank || rows->type != of->type) return false;
    for (int i = 0; i < of->rank; i++)
        if (i != axis && rows->dim[i] != of->dim[i]) return false;
    return index->rank == 1 && emu_is_index(index) && index->dim[0] == rows->dim[axis];
}

static aclnnStatus check_select(emu_call *c)
{
    static const int args[] = {0, 2, 3};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const int axis = emu_axis(emu_t(c, 0), c->arg[1].i);
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    return are_slices(emu_t(c, 3), emu_t(c, 2), emu_t(c, 0), axis)
               ? 0
               : emu_refuse(c, "shapes or types do not fit together");
}

/* One slice of a tensor: its axis is 1 long. */
static emu_tensor slice_of(const emu_tensor *t, int axis)
{
    emu_tensor slice = *t;
    slice.dim[axis] = 1;
    return slice;
}

static void run_select(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *y = emu_t(c, 3);
    const int axis = emu_axis(x, c->arg[1].i);
    const emu_tensor from = slice_of(x, axis), to = slice_of(y, axis);
    const int64_t length = emu_count(&to);
    for (int64_t i = 0; length > 0 && i < y->dim[axis]; i++) {
        const int64_t row = emu_index(c, index, i * index->stride[0], x->dim[axis]);
        for (int64_t j = 0; row >= 0 && j < length; j++)
            emu_move(c, y, i * y->stride[axis] + emu_place(&to, 0, j), x,
                     row * x->stride[axis] + emu_place(&from, 0, j));
    }
}

static aclnnStatus check_add(emu_call *c)
{
    static const int args[] = {0, 2, 3, 4, 5};
    const aclnnStatus code = emu_want(c, args, 5);
    if (code != 0) return code;
    const int axis = emu_axis(emu_t(c, 0), c->arg[1].i);
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (!emu_same(emu_t(c, 0), emu_t(c, 5))) return emu_refuse(c, "the output is unlike self");
    return are_slices(emu_t(c, 3), emu_t(c, 2), emu_t(c, 0), axis)
               ? 0
               : emu_refuse(c, "shapes or types do not fit together");
}

static void run_add(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *rows = emu_t(c, 3), *y = emu_t(c, 5);
    const int axis = emu_axis(x, c->arg[1].i);
    const emu_tensor from = slice_of(rows, axis), to = slice_of(y, axis);
    const int64_t length = emu_count(&from);
    if (y->at != x->at)
        for (int64_t e = 0, n = emu_count(y); e < n; e++)
            emu_move(c, y, emu_place(y, 0, e), x, emu_place(x, 0, e));
    const bool is_turned = emu_turns_round(c);
    for (int64_t turn = 0, n = rows->dim[axis]; length > 0 && turn < n; turn++) {
        const int64_t i = is_turned ? n - 1 - turn : turn;
        const int64_t row = emu_index(c, index, i * index->stride[0], y->dim[axis]);
        for (int64_t j = 0; row >= 0 && j < length; j++) {
            const int64_t at = row * y->stride[axis] + emu_place(&to, 0, j);
            const double more = emu_get(rows, i * rows->stride[axis] + emu_place(&from, 0, j));
            emu_put(c, y, at, emu_get(y, at) + c->arg[4].d * more);
        }
    }
}

/* ---- RmsNorm(x, gamma, eps, y, rstd), RmsNormGrad(dy, x, rstd, gamma, dx, dgamma) ----
 * Over the last axes, as many as gamma has. */

static bool is_gamma(const emu_tensor *gamma, const emu_tensor *x)
{
    const int skip = x->rank - gamma->rank;
    if (skip < 0 || gamma->rank < 1) return false;
    for (int i = 0; i < gamma->rank; i++)
        if (gamma->dim[i] != x->dim[skip + i]) return false;
    return gamma->type == EMU_FLOAT || gamma->type == x->type;
}

/* x's shape with 1 for the axes that are normed. */
static bool is_rstd(const emu_tensor *rstd, const emu_tensor *x, int normed)
{
    if (rstd->type != EMU_FLOAT || rstd->rank != x->rank) return false;
    for (int i = 0; i < x->rank; i++)
        if (rstd->dim[i] != (i < x->rank - normed ? x->dim[i] : 1)) return false;
    return true;
}

static aclnnStatus check_norm(emu_call *c)
{
    static const int args[] = {0, 1, 3, 4};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *gamma = emu_t(c, 1);
    if (!is_gamma(gamma, x)) return emu_refuse(c, "gamma is unlike the last axes of x");
    if (!emu_same(emu_t(c, 3), x)) return emu_refuse(c, "y is unlike x");
    return is_rstd(emu_t(c, 4), x, gamma->rank) ? 0 : emu_refuse(c, "rstd does not fit x");
}

/* The part of a tensor that is one row, or that counts the rows: the last n axes, or the others. */
static emu_tensor last_axes(const emu_tensor *t, int n)
{
    emu_tensor part = *t;
    part.rank = n;
    for (int i = 0; i < n; i++) {
        part.dim[i] = t->dim[t->rank - n + i];
        part.stride[i] = t->stride[t->rank - n + i];
    }
    return part;
}

static emu_tensor first_axes(const emu_tensor *t, int n)
{
    emu_tensor part = *t;
    part.rank = n;
    return part;
}

/* Element j of row t. */
static int64_t row_place(const emu_tensor *x, int normed, int64_t t, int64_t j)
{
    const emu_tensor rows = first_axes(x, x->rank - normed), row = last_axes(x, normed);
    return emu_place(&rows, 0, t) + emu_place(&row, 0, j);
}

static int64_t rows_of(const emu_tensor *x, int normed)
{
    const emu_tensor rows = first_axes(x, x->rank - normed);
    return emu_count(&rows);
}

static void run_norm(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *gamma = emu_t(c, 1), *y = emu_t(c, 3), *r = emu_t(c, 4);
    const int normed = gamma->rank;
    const int64_t D = emu_count(gamma);
    for (int64_t t = 0, T = rows_of(x, normed); t < T; t++) {
        double sum = 0.0;
        for (int64_t j = 0; j < D; j++) {
            const double v = emu_get(x, row_place(x, normed, t, j));
            sum += v * v;
        }
        const double rstd = 1.0 / sqrt(sum / (double)D + c->arg[2].d);
        emu_put(c, r, row_place(r, normed, t, 0), rstd);
        for (int64_t j = 0; j < D; j++)
            emu_put(c, y, row_place(y, normed, t, j),
                    emu_get(x, row_place(x, normed, t, j)) * rstd *
                        emu_get(gamma, emu_place(gamma, 0, j)));
    }
}

static aclnnStatus check_norm_grad(emu_call *c)
{
    static const int args[] = {0, 1, 2, 3, 4, 5};
    const aclnnStatus code = emu_want(c, args, 6);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 1), *gamma = emu_t(c, 3), *dgamma = emu_t(c, 5);
    if (!is_gamma(gamma, x)) return emu_refuse(c, "gamma is unlike the last axes of x");
    if (!emu_same(emu_t(c, 0), x) || !emu_same(emu_t(c, 4), x))
        return emu_refuse(c, "dy or dx is unlike x");
    if (!is_rstd(emu_t(c, 2), x, gamma->rank)) return emu_refuse(c, "rstd does not fit x");
    return emu_same_shape(dgamma, gamma) && dgamma->type == EMU_FLOAT
               ? 0
               : emu_refuse(c, "dgamma is not FLOAT of gamma's shape");
}

static void norm_grad_row(emu_call *c, int64_t t, int64_t D)
{
    const emu_tensor *dy = emu_t(c, 0), *x = emu_t(c, 1), *gamma = emu_t(c, 3), *dx = emu_t(c, 4);
    const int normed = gamma->rank;
    const double rstd = emu_get(emu_t(c, 2), row_place(emu_t(c, 2), normed, t, 0));
    double dot = 0.0;
    for (int64_t j = 0; j < D; j++)
        dot += emu_get(dy, row_place(dy, normed, t, j)) * emu_get(gamma, emu_place(gamma, 0, j)) *
               emu_get(x, row_place(x, normed, t, j));
    dot *= rstd * rstd / (double)D;
    for (int64_t j = 0; j < D; j++) {
        const double v = emu_get(x, row_place(x, normed, t, j));
        const double d = emu_get(dy, row_place(dy, normed, t, j));
        emu_put(c, dx, row_place(dx, normed, t, j),
                rstd * (d * emu_get(gamma, emu_place(gamma, 0, j)) - v * dot));
    }
}

static void run_norm_grad(emu_call *c)
{
    const emu_tensor *dy = emu_t(c, 0), *x = emu_t(c, 1), *r = emu_t(c, 2), *dgamma = emu_t(c, 5);
    const int normed = dgamma->rank;
    const int64_t D = emu_count(dgamma), T = rows_of(x, normed);
    for (int64_t j = 0; j < D; j++) { /* before dx, which may lie on dy */
        double sum = 0.0;
        for (int64_t t = 0; t < T; t++)
            sum += emu_get(dy, row_place(dy, normed, t, j)) *
                   emu_get(x, row_place(x, normed, t, j)) * emu_get(r, row_place(r, normed, t, 0));
        emu_put(c, dgamma, emu_place(dgamma, 0, j), sum);
    }
    for (int64_t t = 0; t < T; t++) norm_grad_row(c, t, D);
}

/* ---- ApplyAdamWV2(var, m, v, max?, grad, step, lr, beta1, beta2, decay, eps, amsgrad, maximize)
 * step counts the updates before this one: the kernel adds 1, as Huawei's sources do and its
 * PyTorch adapter expects. */

static aclnnStatus check_adamw(emu_call *c)
{
    static const int args[] = {0, 1, 2, 4, 5};
    const aclnnStatus code = emu_want(c, args, 5);
    if (code != 0) return code;
    const emu_tensor *p = emu_t(c, 0), *g = emu_t(c, 4), *step = emu_t(c, 5), *most = emu_t(c, 3);
    if (!emu_same(emu_t(c, 1), p) || !emu_same(emu_t(c, 2), p) || !emu_same_shape(g, p))
        return emu_refuse(c, "m, v or grad is unlike var");
    if (g->type != p->type &&
        !(p->type == EMU_FLOAT && (g->type == EMU_FLOAT16 || g->type == EMU_BF16)))
        return emu_refuse(c, "grad is neither of var's type nor 16 bits beside FLOAT");
    if (emu_count(step) != 1 || (step->type != EMU_FLOAT && step->type != EMU_INT64))
        return emu_refuse(c, "step is not one FLOAT or INT64");
    if (c->arg[11].i && (!most || !emu_same_shape(most, p) || most->type != g->type))
        return emu_refuse(c, "amsgrad without a maxGradNorm of grad's type and shape");
    return 0;
}

static void run_adamw(emu_call *c)
{
    const emu_tensor *p = emu_t(c, 0), *m = emu_t(c, 1), *v = emu_t(c, 2), *g = emu_t(c, 4);
    const emu_tensor *most = c->arg[11].i ? emu_t(c, 3) : NULL;
    const double lr = c->arg[6].d, beta1 = c->arg[7].d, beta2 = c->arg[8].d,
                 step = emu_get(emu_t(c, 5), 0) + 1.0, sign = c->arg[12].i ? -1.0 : 1.0;
    const double first = 1.0 - pow(beta1, step), second = 1.0 - pow(beta2, step);
    for (int64_t e = 0, n = emu_count(p); e < n; e++) {
        const double grad = sign * emu_get(g, emu_place(g, 0, e));
        const double m1 = beta1 * emu_get(m, emu_place(m, 0, e)) + (1.0 - beta1) * grad;
        const double v1 = beta2 * emu_get(v, emu_place(v, 0, e)) + (1.0 - beta2) * grad * grad;
        const double old = emu_get(p, emu_place(p, 0, e)) * (1.0 - lr * c->arg[9].d);
        const double size = most ? fmax(v1, emu_get(most, emu_place(most, 0, e))) : v1;
        emu_put(c, m, emu_place(m, 0, e), m1);
        emu_put(c, v, emu_place(v, 0, e), v1);
        if (most) emu_put(c, most, emu_place(most, 0, e), size);
        emu_put(c, p, emu_place(p, 0, e),
                old - lr * (m1 / first) / (sqrt(size / second) + c->arg[10].d));
    }
}

const emu_op emu_ops_rows[] = {
    {"IndexSelect", check_select, run_select}, {"IndexAdd", check_add, run_add},
    {"RmsNorm", check_norm, run_norm},         {"RmsNormGrad", check_norm_grad, run_norm_grad},
    {"ApplyAdamWV2", check_adamw, run_adamw},  {NULL, NULL, NULL},
};
