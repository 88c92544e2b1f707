/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_order.c - sorting, and elements moved by index.
 *
 * What the documentation leaves open is done in an unlikely way, so that no client relies on it:
 * equal elements of a sort that is not stable come in reverse, and what is added at one place comes
 * in either order. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

bool emu_turns_round(const emu_call *c)
{
    static _Atomic unsigned calls;
    return !c->device->option[EMU_OPT_DETERMINISTIC] && calls++ % 2 == 1;
}

/* ---- Sort(self, stable, dim, descending, values, indices) ---- */

typedef struct item {
    double x;
    int64_t i;
} item;

typedef struct order {
    bool is_stable, is_descending;
} order;

/* What is no number is larger than all others. */
static int compare_numbers(double a, double b)
{
    if (isnan(a) || isnan(b)) return (isnan(a) != 0) - (isnan(b) != 0);
    return (a > b) - (a < b);
}

static bool comes_first(const order *o, const item *a, const item *b)
{
    const int by_number = compare_numbers(a->x, b->x);
    if (by_number != 0) return o->is_descending ? by_number > 0 : by_number < 0;
    return o->is_stable ? a->i < b->i : a->i > b->i;
}

/* Merges halves of `n` items that are sorted already; room: as many. */
static void sort_items(const order *o, item *v, item *room, int64_t n)
{
    const int64_t half = n / 2;
    if (n < 2) return;
    sort_items(o, v, room, half);
    sort_items(o, v + half, room, n - half);
    for (int64_t i = 0; i < n; i++) room[i] = v[i];
    for (int64_t a = 0, b = half, to = 0; to < n; to++) {
        const bool is_left = b == n || (a < half && !comes_first(o, &room[b], &room[a]));
        v[to] = is_left ? room[a++] : room[b++];
    }
}

static aclnnStatus check_sort(emu_call *c)
{
    static const int args[] = {0, 4, 5};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0);
    const int axis = emu_axis(x, c->arg[2].i);
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (!emu_same(x, emu_t(c, 4))) return emu_refuse(c, "values are unlike what is sorted");
    if (!emu_same_shape(x, emu_t(c, 5)) || emu_t(c, 5)->type != EMU_INT64)
        return emu_refuse(c, "indices are not INT64 of the same shape");
    if (x->type == EMU_BF16 && x->dim[axis] == 1)
        return emu_refuse(c, "BF16 along an axis of one element");
    return x->type == EMU_BOOL || x->type == EMU_DOUBLE ? emu_refuse(c, "a type it does not sort")
                                                        : 0;
}

/* The first of each row in order into the outputs, as many as those are long. */
static void run_ordered(emu_call *c, const order *o, int axis, int out)
{
    const emu_tensor *x = emu_t(c, 0), *values = emu_t(c, out), *indices = emu_t(c, out + 1);
    const int64_t n = x->dim[axis], k = values->dim[axis];
    emu_tensor rows[3] = {*x, *values, *indices};
    item *v = malloc((size_t)(2 * n + 1) * sizeof *v);
    for (int t = 0; t < 3; t++) rows[t].dim[axis] = 1;
    for (int64_t e = 0, count = emu_count(&rows[0]); v && n > 0 && e < count; e++) {
        const int64_t from = emu_place(&rows[0], 0, e), to = emu_place(&rows[1], 0, e),
                      id = emu_place(&rows[2], 0, e);
        for (int64_t i = 0; i < n; i++) v[i] = (item){emu_get(x, from + i * x->stride[axis]), i};
        sort_items(o, v, v + n, n);
        for (int64_t i = 0; i < k; i++) {
            emu_move(c, values, to + i * values->stride[axis], x, from + v[i].i * x->stride[axis]);
            emu_put(c, indices, id + i * indices->stride[axis], (double)v[i].i);
        }
    }
    free(v);
}

static void run_sort(emu_call *c)
{
    const order o = {c->arg[1].i != 0, c->arg[3].i != 0};
    const emu_tensor *x = emu_t(c, 0);
    if (x->rank > 0) run_ordered(c, &o, emu_axis(x, c->arg[2].i), 4);
}

static void run_topk(emu_call *c)
{
    const order o = {true, c->arg[3].i != 0};
    run_ordered(c, &o, emu_axis(emu_t(c, 0), c->arg[2].i), 5);
}

/* ---- Topk(self, k, dim, largest, sorted, values, indices) ---- */

static aclnnStatus check_topk(emu_call *c)
{
    static const int args[] = {0, 5, 6};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *values = emu_t(c, 5), *indices = emu_t(c, 6);
    const int axis = x->rank ? emu_axis(x, c->arg[2].i) : -1;
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (c->arg[1].i < 0 || c->arg[1].i > x->dim[axis])
        return emu_refuse(c, "k is more than there are");
    if (values->type != x->type || indices->type != EMU_INT64 || !emu_same_shape(values, indices))
        return emu_refuse(c, "values are of another type, or indices not INT64 of their shape");
    for (int i = 0; i < x->rank; i++)
        if (values->rank != x->rank || values->dim[i] != (i == axis ? c->arg[1].i : x->dim[i]))
            return emu_refuse(c, "values have another shape than the k largest");
    return x->type == EMU_BOOL || x->type == EMU_DOUBLE ? emu_refuse(c, "a type it does not sort")
                                                        : 0;
}

/* ---- Gather(self, dim, index, out), ScatterAdd(self, dim, index, src, out) ---- */

/* `index` names elements of `of` along axis, and is no longer than it along the others. */
static bool is_index_into(const emu_tensor *index, const emu_tensor *of, int axis)
{
    if (!emu_is_index(index) || index->rank != of->rank) return false;
    for (int i = 0; i < of->rank; i++)
        if (i != axis && index->dim[i] > of->dim[i]) return false;
    return true;
}

static aclnnStatus check_gather(emu_call *c)
{
    static const int args[] = {0, 2, 3};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *y = emu_t(c, 3);
    const int axis = emu_axis(x, c->arg[1].i);
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (!is_index_into(index, x, axis)) return emu_refuse(c, "the index does not fit");
    return emu_same_shape(y, index) && y->type == x->type
               ? 0
               : emu_refuse(c, "the output has not the index's shape and the input's type");
}

/* Where element `e` of index points in t. -1: nowhere, which is a fault. */
static int64_t pointed(const emu_call *c, const emu_tensor *index, const emu_tensor *t, int axis,
                       int64_t e)
{
    const int64_t named = emu_index(c, index, emu_place(index, 0, e), t->dim[axis]);
    int64_t at = named < 0 ? -1 : named * t->stride[axis];
    for (int i = index->rank - 1; at >= 0 && i >= 0; i--) {
        if (i != axis) at += e % index->dim[i] * t->stride[i];
        e /= index->dim[i];
    }
    return at;
}

static void run_gather(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *y = emu_t(c, 3);
    const int axis = emu_axis(x, c->arg[1].i);
    for (int64_t e = 0, n = emu_count(index); e < n; e++) {
        const int64_t at = pointed(c, index, x, axis, e);
        if (at >= 0) emu_move(c, y, emu_place(y, 0, e), x, at);
    }
}

static aclnnStatus check_scatter_add(emu_call *c)
{
    static const int args[] = {0, 2, 3, 4};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *src = emu_t(c, 3), *y = emu_t(c, 4);
    const int axis = emu_axis(x, c->arg[1].i);
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (!is_index_into(index, x, axis)) return emu_refuse(c, "the index does not fit");
    if (src->type != x->type || src->rank != x->rank) return emu_refuse(c, "src is unlike self");
    for (int i = 0; i < src->rank; i++)
        if (index->dim[i] > src->dim[i]) return emu_refuse(c, "the index is longer than src");
    return emu_same(x, y) ? 0 : emu_refuse(c, "the output is unlike self");
}

static void run_scatter_add(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *y = emu_t(c, 4);
    const int axis = emu_axis(x, c->arg[1].i);
    emu_tensor src = *emu_t(c, 3); /* only as much of it as the index has */
    for (int i = 0; i < src.rank; i++) src.dim[i] = index->dim[i];
    for (int64_t e = 0, n = emu_count(y); e < n; e++)
        emu_move(c, y, emu_place(y, 0, e), x, emu_place(x, 0, e));
    for (int64_t e = 0, n = emu_count(index); e < n; e++) {
        const int64_t at = pointed(c, index, y, axis, e);
        if (at >= 0) emu_put(c, y, at, emu_get(y, at) + emu_get(&src, emu_place(&src, 0, e)));
    }
}

/* ---- IndexPutImpl(self, indices, values, accumulate, unsafe) ---- */

/* values has the shape of the indices and then of what is behind the axes that they name. */
static aclnnStatus check_put(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *y = emu_t(c, 0), *values = emu_t(c, 2), *index = c->arg[1].tensor;
    const int n = c->arg[1].n, rank = index->rank + y->rank - n;
    if (n > y->rank) return emu_refuse(c, "more indices than axes");
    for (int i = 0; i < n; i++)
        if (!emu_is_index(&index[i]) || !emu_same(&index[i], index))
            return emu_refuse(c, "the emulated driver takes INT32 or INT64 indices of one shape");
    if (values->type != y->type || values->rank != rank)
        return emu_refuse(c, "values have another type or rank than what they are put into");
    for (int i = 0; i < rank; i++)
        if (values->dim[i] != (i < index->rank ? index->dim[i] : y->dim[i - index->rank + n]))
            return emu_refuse(c, "values have another shape than what is put");
    return 0;
}

static void run_put(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 0), *values = emu_t(c, 2), *index = c->arg[1].tensor;
    const int n = c->arg[1].n;
    int64_t each = 1;
    for (int i = n; i < y->rank; i++) each *= y->dim[i];
    const bool is_turned = emu_turns_round(c);
    for (int64_t turn = 0, count = emu_count(index); turn < count; turn++) {
        const int64_t e = is_turned ? count - 1 - turn : turn;
        int64_t at = 0;
        for (int i = 0; i < n && at >= 0; i++) {
            const int64_t named = emu_index(c, &index[i], emu_place(&index[i], 0, e), y->dim[i]);
            at = named < 0 ? -1 : at + named * y->stride[i];
        }
        for (int64_t j = 0; at >= 0 && j < each; j++) {
            const int64_t to = at + emu_place(y, n, j);
            const double x = emu_get(values, emu_place(values, 0, e * each + j));
            emu_put(c, y, to, c->arg[3].i ? emu_get(y, to) + x : x);
        }
    }
}

/* ---- Index(self, indices, out): one index for each of some axes side by side, which spread
 *      together; an index of nothing leaves its axis as it is ---- */

typedef struct taking {
    const emu_tensor *x, *y, *index; /* index [n] of axes first .. first + n - 1 */
    int first, n, rank;              /* rank: axes of the output that the indices make */
} taking;

static taking taking_of(const emu_call *c)
{
    taking t = {.x = c->arg[0].tensor, .y = c->arg[2].tensor, .index = c->arg[1].tensor};
    t.n = c->arg[1].n;
    while (t.n > 1 && emu_count(&t.index[t.n - 1]) == 0) t.n--;
    while (t.n > 1 && emu_count(t.index) == 0) t.index++, t.first++, t.n--;
    t.rank = t.y->rank - (t.x->rank - t.n);
    return t;
}

static aclnnStatus check_index(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const taking t = taking_of(c);
    bool fits = t.first + t.n <= t.x->rank && t.rank >= 0 && t.x->type == t.y->type;
    for (int i = 0; fits && i < t.n; i++) {
        const emu_tensor *index = &t.index[i];
        if (!emu_is_index(index) || index->rank > t.rank)
            return emu_refuse(c,
                              "the emulated driver takes INT32 or INT64 indices of axes that are "
                              "side by side");
        for (int d = 0; fits && d < index->rank; d++)
            fits =
                index->dim[d] == 1 || index->dim[d] == t.y->dim[t.first + d + t.rank - index->rank];
    }
    for (int i = 0; fits && i < t.x->rank; i++) {
        if (i >= t.first && i < t.first + t.n) continue;
        fits = t.x->dim[i] == t.y->dim[i < t.first ? i : i + t.rank - t.n];
    }
    return fits ? 0 : emu_refuse(c, "the output has another type or shape than what is taken");
}

/* Where element e of the indices' common shape stands in one of them. */
static int64_t spread_place(const emu_tensor *index, const taking *t, int64_t e)
{
    int64_t at = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        const int own = d + index->rank - t->rank;
        if (own >= 0 && index->dim[own] > 1) at += e % t->y->dim[t->first + d] * index->stride[own];
        e /= t->y->dim[t->first + d];
    }
    return at;
}

/* Of x's element 0 that the indices name at e; -1 with a fault. */
static int64_t named_place(const emu_call *c, const taking *t, int64_t e)
{
    int64_t at = 0;
    for (int i = 0; i < t->n; i++) {
        const int axis = t->first + i;
        const int64_t named =
            emu_index(c, &t->index[i], spread_place(&t->index[i], t, e), t->x->dim[axis]);
        if (named < 0) return -1;
        at += named * t->x->stride[axis];
    }
    return at;
}

static void run_index(emu_call *c)
{
    const taking t = taking_of(c);
    emu_tensor before = *t.x; /* the axes in front of those that are named */
    before.rank = t.first;
    int64_t each = 1, count = 1;
    for (int i = t.first + t.n; i < t.x->rank; i++) each *= t.x->dim[i];
    for (int i = 0; i < t.rank; i++) count *= t.y->dim[t.first + i];
    for (int64_t o = 0, outer = emu_count(&before); o < outer; o++)
        for (int64_t e = 0; e < count; e++) {
            const int64_t named = named_place(c, &t, e);
            if (named < 0) return;
            const int64_t at = named + emu_place(&before, 0, o);
            for (int64_t j = 0; j < each; j++)
                emu_move(c, t.y, emu_place(t.y, 0, (o * count + e) * each + j), t.x,
                         at + emu_place(t.x, t.first + t.n, j));
        }
}

/* ---- Arange(start, end, step, out) ---- */

static aclnnStatus check_arange(emu_call *c)
{
    static const int args[] = {0, 1, 2, 3};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const double start = c->arg[0].d, end = c->arg[1].d, step = c->arg[2].d;
    const emu_tensor *y = emu_t(c, 3);
    if (!(step < 0) && !(step > 0)) return emu_refuse(c, "a step of 0");
    if ((end - start) / step < 0) return emu_refuse(c, "a step away from the end");
    if (y->rank != 1 || y->dim[0] != (int64_t)ceil((end - start) / step))
        return emu_refuse(c, "the output has not as many elements as there are steps");
    return y->type == EMU_BOOL ? emu_refuse(c, "BOOL") : 0;
}

static void run_arange(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 3);
    for (int64_t i = 0; i < y->dim[0]; i++)
        emu_put(c, y, i * y->stride[0], c->arg[0].d + (double)i * c->arg[2].d);
}

const emu_op emu_ops_order[] = {
    {"Sort", check_sort, run_sort},       {"Topk", check_topk, run_topk},
    {"Gather", check_gather, run_gather}, {"ScatterAdd", check_scatter_add, run_scatter_add},
    {"IndexPutImpl", check_put, run_put}, {"Index", check_index, run_index},
    {"Arange", check_arange, run_arange}, {NULL, NULL, NULL},
};
