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

/* ---- Index(self, indices, out), IndexPutImpl(self, indices, values, accumulate, unsafe): an index
 * for each of some axes, which spread together to one shape; one of nothing leaves its axis as it
 * is. That shape stands where the axes stood, or in front where they are not side by side. ---- */

typedef struct taking {
    const emu_tensor *x;
    const emu_tensor *index[EMU_RANK]; /* NULL: none for this axis */
    emu_tensor shape;                  /* of all indices together */
    int front;                         /* axes of the result before that shape */
    emu_tensor rest, result;           /* axes without an index; all of the result */
} taking;

/* One index among several of a shape that spreads. False: it does not. */
static bool join_shape(emu_tensor *shape, const emu_tensor *index)
{
    emu_tensor wider = *shape;
    if (index->rank > wider.rank) {
        const int more = index->rank - wider.rank;
        for (int i = index->rank - 1; i >= 0; i--)
            wider.dim[i] = i < more ? 1 : shape->dim[i - more];
        wider.rank = index->rank;
    }
    for (int i = 0; i < index->rank; i++) {
        int64_t *to = &wider.dim[i + wider.rank - index->rank];
        if (*to != 1 && index->dim[i] != 1 && *to != index->dim[i]) return false;
        if (*to == 1) *to = index->dim[i];
    }
    *shape = wider;
    return true;
}

static bool is_none(const emu_tensor *index)
{
    return index->rank <= 1 && emu_count(index) == 0;
}

/* False: an index is none, or they do not go together. An index of nothing among others that have
 * elements leaves its axis; where all are of nothing, so is the result along the first. */
static bool taking_of(const emu_call *c, taking *t)
{
    const emu_arg *list = &c->arg[1];
    *t = (taking){.x = c->arg[0].tensor, .rest = *c->arg[0].tensor};
    bool some = false, is_apart = false, fits = list->n <= t->x->rank;
    int last = -1, first = -1;
    for (int i = 0; i < list->n; i++) some = some || !is_none(&list->tensor[i]);
    for (int i = 0; fits && i < list->n; i++) {
        const emu_tensor *index = &list->tensor[i];
        if (some ? is_none(index) : i > 0) continue;
        t->index[i] = index;
        if (last >= 0 && last != i - 1) is_apart = true;
        if (first < 0) first = i;
        last = i;
        fits = emu_is_index(index) && join_shape(&t->shape, index);
    }
    t->front = is_apart || first < 0 ? 0 : first;
    t->rest.rank = 0;
    for (int i = 0; i < t->x->rank; i++) {
        if (t->index[i]) continue;
        t->rest.dim[t->rest.rank] = t->x->dim[i];
        t->rest.stride[t->rest.rank++] = t->x->stride[i];
    }
    t->result = t->rest;
    t->result.rank = t->rest.rank + t->shape.rank;
    if (t->result.rank > EMU_RANK) return false;
    for (int i = 0; i < t->result.rank; i++) {
        const int own = i - t->front;
        t->result.dim[i] = own < 0               ? t->rest.dim[i]
                           : own < t->shape.rank ? t->shape.dim[own]
                                                 : t->rest.dim[i - t->shape.rank];
    }
    return fits;
}

/* Where element e of the result stands in x; -1 with a fault. */
static int64_t taken_from(const emu_call *c, const taking *t, int64_t e)
{
    int64_t named = 0, at = 0, step = 1, rest = 0, rest_step = 1;
    for (int i = t->result.rank - 1; i >= 0; i--) {
        const int64_t own = e % t->result.dim[i];
        e /= t->result.dim[i];
        if (i >= t->front && i < t->front + t->shape.rank) {
            named += own * step;
            step *= t->result.dim[i];
        } else {
            rest += own * rest_step;
            rest_step *= t->result.dim[i];
        }
    }
    for (int i = 0; i < t->x->rank; i++) {
        if (!t->index[i]) continue;
        const int64_t from = emu_spread_place(t->index[i], &t->shape, named);
        const int64_t line = emu_index(c, t->index[i], from, t->x->dim[i]);
        if (line < 0) return -1;
        at += line * t->x->stride[i];
    }
    return at + emu_place(&t->rest, 0, rest);
}

static aclnnStatus check_index(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    taking t;
    int64_t stride[EMU_RANK];
    const emu_tensor *y = emu_t(c, 2);
    if (!taking_of(c, &t))
        return emu_refuse(c,
                          "indices are neither INT32 nor INT64, too many, or do not go together");
    if (y->type != t.x->type) return emu_refuse(c, "of several types");
    if (c->op->name[5] == 'P')
        return emu_spread(y, &t.result, stride)
                   ? 0
                   : emu_refuse(c, "values have another shape than what is put");
    return emu_same_shape(y, &t.result)
               ? 0
               : emu_refuse(c, "the output has another shape than what is taken");
}

static void run_index(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 2);
    taking t;
    (void)taking_of(c, &t);
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        const int64_t from = taken_from(c, &t, e);
        if (from < 0) return;
        emu_move(c, y, emu_place(y, 0, e), t.x, from);
    }
}

static void run_put(emu_call *c)
{
    const emu_tensor *values = emu_t(c, 2);
    const bool is_turned = emu_turns_round(c);
    taking t;
    (void)taking_of(c, &t);
    for (int64_t turn = 0, n = emu_count(&t.result); turn < n; turn++) {
        const int64_t e = is_turned ? n - 1 - turn : turn, to = taken_from(c, &t, e);
        const int64_t from = emu_spread_place(values, &t.result, e);
        if (to < 0) return;
        if (c->arg[3].i)
            emu_put(c, t.x, to, emu_get(t.x, to) + emu_get(values, from));
        else
            emu_move(c, t.x, to, values, from);
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
    {"Sort", check_sort, run_sort},         {"Topk", check_topk, run_topk},
    {"Gather", check_gather, run_gather},   {"ScatterAdd", check_scatter_add, run_scatter_add},
    {"IndexPutImpl", check_index, run_put}, {"Index", check_index, run_index},
    {"Arange", check_arange, run_arange},   {NULL, NULL, NULL},
};
