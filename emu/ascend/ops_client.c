/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_client.c - operators of networks that Huawei's PyTorch adapter calls and Mizan
 * does not: embedding, joined tensors, pads, the loss on log-softmax. */
#include "ascend/ops.h"

#include <math.h>

/* ---- Embedding(weight, indices, out), EmbeddingDenseBackward(grad, indices, rows, padding,
 *      scale_by_freq, out) ---- */

static aclnnStatus check_embedding(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *w = emu_t(c, 0), *ids = emu_t(c, 1), *y = emu_t(c, 2);
    if (!emu_is_index(ids) || w->type != y->type || w->rank != 2)
        return emu_refuse(c, "weight is no matrix of the output's type, or indices are none");
    if (emu_count(y) != emu_count(ids) * w->dim[1])
        return emu_refuse(c, "the output has another shape than rows of the weight");
    return 0;
}

static void run_embedding(emu_call *c)
{
    const emu_tensor *w = emu_t(c, 0), *ids = emu_t(c, 1), *y = emu_t(c, 2);
    const int64_t D = w->dim[1];
    for (int64_t t = 0, n = emu_count(ids); t < n; t++) {
        const int64_t row = emu_index(c, ids, emu_place(ids, 0, t), w->dim[0]);
        if (row < 0) return;
        for (int64_t i = 0; i < D; i++)
            emu_move(c, y, emu_place(y, 0, t * D + i), w, emu_place(w, 0, row * D + i));
    }
}

static aclnnStatus check_embedding_back(emu_call *c)
{
    static const int args[] = {0, 1, 5};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *dy = emu_t(c, 0), *ids = emu_t(c, 1), *dw = emu_t(c, 5);
    if (c->arg[4].i != 0) return emu_refuse(c, "scaleGradByFreq is not emulated");
    if (!emu_is_index(ids) || dw->rank != 2 || dw->dim[0] != c->arg[2].i || dw->type != dy->type)
        return emu_refuse(c, "the output is no matrix of so many rows, or indices are none");
    return emu_count(dy) == emu_count(ids) * dw->dim[1]
               ? 0
               : emu_refuse(c, "the gradient has another shape than rows of the output");
}

/* In the order of the indices, each sum rounded to the output's type. Padding learns nothing. */
static void run_embedding_back(emu_call *c)
{
    const emu_tensor *dy = emu_t(c, 0), *ids = emu_t(c, 1), *dw = emu_t(c, 5);
    const int64_t D = dw->dim[1], n = emu_count(ids);
    for (int64_t e = 0; e < dw->dim[0] * D; e++) emu_put(c, dw, emu_place(dw, 0, e), 0.0);
    for (int64_t t = 0; t < n; t++) {
        const int64_t row = emu_index(c, ids, emu_place(ids, 0, t), dw->dim[0]);
        if (row < 0) return;
        for (int64_t i = 0; i < D && row != c->arg[3].i; i++) {
            const int64_t to = emu_place(dw, 0, row * D + i);
            emu_put(c, dw, to, emu_get(dw, to) + emu_get(dy, emu_place(dy, 0, t * D + i)));
        }
    }
}

/* ---- Cat(tensors, dim, out) ---- */

static aclnnStatus check_cat(emu_call *c)
{
    static const int args[] = {0, 2};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    const emu_tensor *y = emu_t(c, 2);
    const int axis = emu_axis(y, c->arg[1].i);
    int64_t sum = 0;
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        if (x->rank != y->rank || x->type != y->type)
            return emu_refuse(c, "a tensor has another type or other axes than the output");
        for (int i = 0; i < y->rank; i++)
            if (i != axis && x->dim[i] != y->dim[i])
                return emu_refuse(c, "a tensor differs in another axis than the one joined");
        sum += x->dim[axis];
    }
    return sum == y->dim[axis] ? 0 : emu_refuse(c, "the output is not as long as the tensors");
}

static void run_cat(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 2);
    const int axis = emu_axis(y, c->arg[1].i);
    int64_t from = 0;
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        emu_tensor part = *y; /* of the output, as large as x */
        for (int i = 0; i < y->rank; i++) part.dim[i] = x->dim[i];
        for (int64_t e = 0, n = emu_count(x); e < n; e++)
            emu_move(c, y, from * y->stride[axis] + emu_place(&part, 0, e), x, emu_place(x, 0, e));
        from += x->dim[axis];
    }
}

/* ---- NLLLoss(self, target, weight, reduction, ignored, out, total),
 *      NLLLossBackward(grad, self, target, weight, reduction, ignored, total, out) ---- */

typedef struct nll {
    const emu_tensor *x, *target, *weight;
    int64_t reduction, ignored;
} nll;

static nll nll_of(emu_call *c, int first)
{
    return (nll){emu_t(c, first), emu_t(c, first + 1), emu_t(c, first + 2), c->arg[first + 3].i,
                 c->arg[first + 4].i};
}

static aclnnStatus check_nll(emu_call *c, int first, int total)
{
    const int args[] = {first, first + 1, first + 2, total, c->n - 1};
    const aclnnStatus code = emu_want(c, args, 5);
    if (code != 0) return code;
    const nll l = nll_of(c, first);
    if (l.x->rank != 2 || l.target->rank != 1 || l.target->dim[0] != l.x->dim[0] ||
        !emu_is_index(l.target))
        return emu_refuse(c, "self is no matrix, or target is not an index for each of its rows");
    if (l.weight->rank != 1 || l.weight->dim[0] != l.x->dim[1])
        return emu_refuse(c, "weight is not a number for each class");
    return l.reduction >= 0 && l.reduction <= 2 ? 0 : emu_refuse(c, "there is no such reduction");
}

/* The class of a row and its weight; -1 where it is ignored, -2 with a fault where it is none. */
static int64_t class_of(const emu_call *c, const nll *l, int64_t row, double *weight)
{
    const int64_t at = row * l->target->stride[0];
    if ((int64_t)emu_get(l->target, at) == l->ignored) return -1;
    const int64_t k = emu_index(c, l->target, at, l->x->dim[1]);
    if (k < 0) return -2;
    *weight = emu_get(l->weight, k * l->weight->stride[0]);
    return k;
}

static aclnnStatus check_nll_loss(emu_call *c)
{
    return check_nll(c, 0, 6);
}

static void run_nll_loss(emu_call *c)
{
    const nll l = nll_of(c, 0);
    const emu_tensor *y = emu_t(c, 5), *total = emu_t(c, 6);
    double sum = 0.0, weights = 0.0;
    for (int64_t r = 0; r < l.x->dim[0]; r++) {
        double w = 0.0;
        const int64_t k = class_of(c, &l, r, &w);
        if (k < -1) return;
        const double loss =
            k < 0 ? 0.0 : -w * emu_get(l.x, r * l.x->stride[0] + k * l.x->stride[1]);
        if (l.reduction == 0) emu_put(c, y, r * y->stride[0], loss);
        sum += loss;
        weights += w;
    }
    if (l.reduction > 0) emu_put(c, y, 0, l.reduction == 1 ? sum / weights : sum);
    emu_put(c, total, 0, weights);
}

static aclnnStatus check_nll_back(emu_call *c)
{
    return check_nll(c, 1, 6);
}

static void run_nll_back(emu_call *c)
{
    const nll l = nll_of(c, 1);
    const emu_tensor *dy = emu_t(c, 0), *dx = emu_t(c, 7);
    const double by = l.reduction == 1 ? emu_get(emu_t(c, 6), 0) : 1.0;
    for (int64_t e = 0, n = emu_count(dx); e < n; e++) emu_put(c, dx, emu_place(dx, 0, e), 0.0);
    for (int64_t r = 0; r < l.x->dim[0]; r++) {
        double w = 0.0;
        const int64_t k = class_of(c, &l, r, &w);
        if (k < -1) return;
        const double g = emu_get(dy, l.reduction == 0 ? r * dy->stride[0] : 0);
        if (k >= 0) emu_put(c, dx, r * dx->stride[0] + k * dx->stride[1], -w * g / by);
    }
}

/* One row of a tensor along an axis: its first element, and the step. */
static int64_t row_place(const emu_tensor *t, int axis, int64_t row)
{
    emu_tensor rest = *t;
    if (t->rank) rest.dim[axis] = 1;
    return emu_place(&rest, 0, row);
}

/* ---- Stack(tensors, dim, out), Cumsum, Cumprod (self, dim, type, out), Cummax, Cummin
 *      (self, dim, values, places) ---- */

static aclnnStatus check_stack(emu_call *c)
{
    static const int args[] = {0, 2};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    const emu_tensor *y = emu_t(c, 2);
    const int axis = emu_axis(y, c->arg[1].i);
    if (axis < 0 || y->dim[axis] != c->arg[0].n)
        return emu_refuse(c, "the output has no such axis, or not one place for each tensor");
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        bool fits = x->rank == y->rank - 1 && x->type == y->type;
        for (int i = 0; fits && i < x->rank; i++) fits = x->dim[i] == y->dim[i + (i >= axis)];
        if (!fits) return emu_refuse(c, "a tensor has another type or shape");
    }
    return 0;
}

static void run_stack(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 2);
    const int axis = emu_axis(y, c->arg[1].i);
    emu_tensor part = *y; /* without the new axis */
    part.rank--;
    for (int i = axis; i < part.rank; i++)
        part.dim[i] = y->dim[i + 1], part.stride[i] = y->stride[i + 1];
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        for (int64_t e = 0, n = emu_count(x); e < n; e++)
            emu_move(c, y, k * y->stride[axis] + emu_place(&part, 0, e), x, emu_place(x, 0, e));
    }
}

/* The axis is an integer, or a number of any type. */
static int64_t running_dim(const emu_call *c)
{
    return c->arg[1].kind == 'S' ? (int64_t)c->arg[1].d : c->arg[1].i;
}

static aclnnStatus check_running(emu_call *c)
{
    static const int args[] = {0, 3, 1}, both[] = {0, 2, 3};
    const bool has_place = c->arg[2].kind == 'O';
    const aclnnStatus code =
        has_place ? emu_want(c, both, 3) : emu_want(c, args, c->arg[1].kind == 'S' ? 3 : 2);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, has_place ? 2 : 3);
    if ((x->rank && emu_axis(x, running_dim(c)) < 0) || !emu_same_shape(x, y) ||
        (has_place && !emu_same_shape(x, emu_t(c, 3))))
        return emu_refuse(c, "there is no such axis, or the output has another shape");
    return has_place || y->type == c->arg[2].i
               ? 0
               : emu_refuse(c, "the output is not of the type that is named");
}

/* The sum, product, largest or smallest of those so far: which, by a letter of the name. */
static double so_far(char which, double old, double x, bool *is_new)
{
    const double most = which == 'a' ? 1.0 : -1.0;
    *is_new = which != 's' && which != 'p' && (most * x >= most * old || isnan(x)) && !isnan(old);
    if (which == 's') return old + x;
    return which == 'p' ? old * x : *is_new ? x : old;
}

static void run_running(emu_call *c)
{
    const char *name = c->op->name, which = strncmp(name, "Cumm", 4) == 0 ? name[4] : name[3];
    const emu_tensor *x = emu_t(c, 0), *places = c->arg[2].kind == 'O' ? emu_t(c, 3) : NULL;
    const emu_tensor *y = emu_t(c, places ? 2 : 3);
    const int axis = x->rank ? emu_axis(x, running_dim(c)) : 0;
    const int64_t n = x->rank ? x->dim[axis] : 1, rows = n ? emu_count(x) / n : 0;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t from = row_place(x, axis, r), to = row_place(y, axis, r);
        double value = which == 'p' ? 1.0 : 0.0;
        int64_t place = 0;
        for (int64_t i = 0; i < n; i++) {
            const double v = emu_get(x, from + i * x->stride[axis]);
            bool is_new = false;
            value = places && i == 0 ? v : so_far(which, value, v, &is_new);
            if (is_new) place = i;
            emu_put(c, y, to + i * y->stride[axis], value);
            if (places)
                emu_put(c, places, row_place(places, axis, r) + i * places->stride[axis],
                        (double)place);
        }
    }
}

/* ---- ConstantPadNd(self, pads, value, out): before and after, the last axis first; below 0 cuts
 *      ---- */

static int64_t pad_of(const emu_call *c, int rank, int axis, int side)
{
    const int at = 2 * (rank - 1 - axis) + side;
    return at < c->arg[1].n ? c->arg[1].ints[at] : 0;
}

static aclnnStatus check_pad(emu_call *c)
{
    static const int args[] = {0, 2, 3};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 3);
    bool fits = x->type == y->type && x->rank == y->rank && c->arg[1].n <= 2 * x->rank;
    for (int i = 0; fits && i < x->rank; i++)
        fits = y->dim[i] == x->dim[i] + pad_of(c, x->rank, i, 0) + pad_of(c, x->rank, i, 1);
    return fits ? 0 : emu_refuse(c, "the output is not as large as self with its pads");
}

static void run_pad(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 3);
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        int64_t rest = e, from = 0;
        bool is_inside = true;
        for (int i = y->rank - 1; i >= 0; i--) {
            const int64_t at = rest % y->dim[i] - pad_of(c, x->rank, i, 0);
            rest /= y->dim[i];
            is_inside = is_inside && at >= 0 && at < x->dim[i];
            from += at * x->stride[i];
        }
        emu_put(c, y, emu_place(y, 0, e), is_inside ? emu_get(x, from) : c->arg[2].d);
    }
}

const emu_op emu_ops_client[] = {
    {"Embedding", check_embedding, run_embedding},
    {"EmbeddingDenseBackward", check_embedding_back, run_embedding_back},
    {"Cat", check_cat, run_cat},
    {"Stack", check_stack, run_stack},
    {"Cumsum", check_running, run_running},
    {"Cumprod", check_running, run_running},
    {"Cummax", check_running, run_running},
    {"Cummin", check_running, run_running},
    {"ConstantPadNd", check_pad, run_pad},
    {"NLLLoss", check_nll_loss, run_nll_loss},
    {"NLLLossBackward", check_nll_back, run_nll_back},
    {NULL, NULL, NULL},
};
