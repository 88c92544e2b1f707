/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_index.c - elements put, taken, repeated and turned by place: scatter, fill and
 * copy by index, take and put, repeat, roll, flip, triangles, one-hot, and what is found in a
 * sorted row. */
#include "ascend/ops.h"

#include <math.h>

/* ---- Scatter(self, dim, index, src | value, reduction, out) and in place: 0 put, 1 add, 2
 * multiply ---- */

static bool is_in_place(const emu_call *c)
{
    return strncmp(c->op->name, "Inplace", 7) == 0;
}

/* The output: the last argument, or self. */
static emu_tensor *output_of(emu_call *c)
{
    return emu_t(c, is_in_place(c) ? 0 : c->n - 1);
}

/* self into the output, where they are two. */
static void copy_self(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = output_of(c);
    if (is_in_place(c) || x->at == y->at) return;
    for (int64_t e = 0, n = emu_count(x); e < n; e++)
        emu_move(c, y, emu_place(y, 0, e), x, emu_place(x, 0, e));
}

static aclnnStatus check_scatter(emu_call *c)
{
    const int args[] = {0, 2, 3, is_in_place(c) ? 0 : c->n - 1};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2);
    const emu_tensor *src = c->arg[3].kind == 'T' ? emu_t(c, 3) : NULL;
    const int axis = x->rank ? emu_axis(x, c->arg[1].i) : 0;
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (!emu_same(x, output_of(c))) return emu_refuse(c, "the output is unlike self");
    if (!emu_is_index(index) || index->rank != x->rank || (src && src->rank != x->rank))
        return emu_refuse(c, "the index or src has other axes than self, or is no index");
    for (int i = 0; i < x->rank; i++)
        if ((i != axis && index->dim[i] > x->dim[i]) || (src && index->dim[i] > src->dim[i]))
            return emu_refuse(c, "the index is longer than self or src");
    if (src && src->type != x->type) return emu_refuse(c, "src is of another type than self");
    return c->arg[4].i >= 0 && c->arg[4].i <= 2 ? 0 : emu_refuse(c, "there is no such reduction");
}

static void run_scatter(emu_call *c)
{
    const emu_tensor *index = emu_t(c, 2), *y = output_of(c);
    const emu_tensor *src = c->arg[3].kind == 'T' ? emu_t(c, 3) : NULL;
    const int axis = y->rank ? emu_axis(y, c->arg[1].i) : 0;
    emu_tensor part = src ? *src : *index, to = *y;
    for (int i = 0; i < index->rank; i++) part.dim[i] = to.dim[i] = index->dim[i];
    to.stride[axis] = 0; /* the place along the axis is added by itself */
    copy_self(c);
    for (int64_t e = 0, n = emu_count(index); e < n; e++) {
        const int64_t named =
            emu_index(c, index, emu_place(index, 0, e), y->rank ? y->dim[axis] : 1);
        if (named < 0) return;
        const int64_t at = emu_place(&to, 0, e) + (y->rank ? named * y->stride[axis] : 0);
        const int64_t from = src ? emu_place(&part, 0, e) : 0;
        if (src && c->arg[4].i == 0) {
            emu_move(c, y, at, src, from);
            continue;
        }
        const double x = src ? emu_get(src, from) : c->arg[3].d, old = emu_get(y, at);
        emu_put(c, y, at, c->arg[4].i == 0 ? x : c->arg[4].i == 1 ? old + x : old * x);
    }
}

/* ---- IndexFill(self, dim, index, value, out), IndexCopy(self, dim, index, source, out), in place
 * ---- */

/* Index n of a tensor or of a list of integers. */
static int64_t named_by(const emu_call *c, const emu_arg *a, int64_t n, int64_t length)
{
    if (a->kind == 'T') return emu_index(c, a->tensor, emu_place(a->tensor, 0, n), length);
    const int64_t i = a->ints[n] < 0 ? a->ints[n] + length : a->ints[n];
    if (i >= 0 && i < length) return i;
    emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION, "aclnn%s: index %lld of %lld",
                     c->op->name, (long long)a->ints[n], (long long)length);
    return -1;
}

static aclnnStatus check_lines(emu_call *c)
{
    const int args[] = {0, 2, 3, is_in_place(c) ? 0 : c->n - 1};
    const aclnnStatus code = emu_want(c, args, c->arg[2].kind == 'T' ? 4 : 1);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *src = c->arg[3].kind == 'T' ? emu_t(c, 3) : NULL;
    const int axis = x->rank ? emu_axis(x, c->arg[1].i) : -1;
    if (axis < 0) return emu_refuse(c, "there is no such axis");
    if (!emu_same(x, output_of(c))) return emu_refuse(c, "the output is unlike self");
    if (c->arg[2].kind == 'T' && (!emu_is_index(emu_t(c, 2)) || emu_t(c, 2)->rank > 1))
        return emu_refuse(c, "the index is none, or has several axes");
    for (int i = 0; src && i < x->rank; i++)
        if (src->rank != x->rank || src->type != x->type ||
            src->dim[i] != (i == axis ? emu_count(emu_t(c, 2)) : x->dim[i]))
            return emu_refuse(c, "the source has another type or shape than what is put");
    return 0;
}

static void run_lines(emu_call *c)
{
    const emu_tensor *y = output_of(c), *src = c->arg[3].kind == 'T' ? emu_t(c, 3) : NULL;
    const emu_arg *index = &c->arg[2];
    const int axis = emu_axis(y, c->arg[1].i);
    const int64_t lines = index->kind == 'T' ? emu_count(index->tensor) : index->n;
    emu_tensor line = *y, from = src ? *src : *y;
    line.dim[axis] = from.dim[axis] = 1;
    copy_self(c);
    for (int64_t k = 0; k < lines; k++) {
        const int64_t named = named_by(c, index, k, y->dim[axis]);
        if (named < 0) return;
        for (int64_t e = 0, n = emu_count(&line); e < n; e++) {
            const int64_t at = named * y->stride[axis] + emu_place(&line, 0, e);
            if (src)
                emu_move(c, y, at, src, k * src->stride[axis] + emu_place(&from, 0, e));
            else
                emu_put(c, y, at, c->arg[3].d);
        }
    }
}

/* ---- Take(self, index, out), InplacePut(self, index, source, accumulate): self as one row ---- */

static aclnnStatus check_take(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    return emu_is_index(emu_t(c, 1)) && emu_count(emu_t(c, 1)) == emu_count(emu_t(c, 2)) &&
                   emu_t(c, 0)->type == emu_t(c, 2)->type
               ? 0
               : emu_refuse(c, "there is not one element for each index, or of another type");
}

static void run_take(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 1), *other = emu_t(c, 2);
    const bool is_put = is_in_place(c);
    for (int64_t e = 0, n = emu_count(index); e < n; e++) {
        const int64_t named = emu_index(c, index, emu_place(index, 0, e), emu_count(x));
        if (named < 0) return;
        const int64_t at = emu_place(x, 0, named), own = emu_place(other, 0, e);
        if (!is_put)
            emu_move(c, other, own, x, at);
        else if (c->arg[3].i)
            emu_put(c, x, at, emu_get(x, at) + emu_get(other, own));
        else
            emu_move(c, x, at, other, own);
    }
}

/* ---- places that are computed: the output's element e comes from one of self ---- */

/* Repeat(self, repeats, out): axes in front are new. */
static aclnnStatus check_repeat(emu_call *c)
{
    static const int args[] = {0, 2};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 2);
    const int n = c->arg[1].n;
    bool fits = n >= x->rank && y->rank == n && x->type == y->type;
    for (int i = 0; fits && i < n; i++)
        fits = y->dim[i] == c->arg[1].ints[i] * (i < n - x->rank ? 1 : x->dim[i - (n - x->rank)]);
    return fits ? 0 : emu_refuse(c, "the output is not self so many times");
}

static void run_repeat(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 2);
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        int64_t rest = e, from = 0;
        for (int i = y->rank - 1; i >= 0; i--) {
            const int own = i + x->rank - y->rank;
            if (own >= 0) from += rest % y->dim[i] % x->dim[own] * x->stride[own];
            rest /= y->dim[i];
        }
        emu_move(c, y, emu_place(y, 0, e), x, from);
    }
}

/* Roll(self, shifts, dims, out): without dims self as one row. Flip(self, dims, out) */
static aclnnStatus check_turn(emu_call *c)
{
    const int args[] = {0, c->n - 1};
    const emu_arg *dims = &c->arg[c->n - 2];
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    if (!emu_same(emu_t(c, 0), emu_t(c, c->n - 1))) return emu_refuse(c, "self and output differ");
    for (int i = 0; i < dims->n; i++)
        if (emu_axis(emu_t(c, 0), dims->ints[i]) < 0) return emu_refuse(c, "there is no such axis");
    return c->n == 3 || c->arg[1].n == dims->n || (dims->n == 0 && c->arg[1].n == 1)
               ? 0
               : emu_refuse(c, "there are not as many shifts as axes");
}

/* Where index i of an axis comes from. */
static int64_t turned(const emu_call *c, int64_t i, int axis, int64_t length)
{
    const emu_arg *dims = &c->arg[c->n - 2];
    for (int k = 0; k < dims->n; k++) {
        if (emu_axis(c->arg[0].tensor, dims->ints[k]) != axis) continue;
        if (c->n == 3) return length - 1 - i;
        i = ((i - c->arg[1].ints[k]) % length + length) % length;
    }
    return i;
}

static void run_turn(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, c->n - 1);
    const int64_t n = emu_count(y);
    for (int64_t e = 0; e < n; e++) {
        int64_t rest = e, from = 0;
        if (c->n == 4 && c->arg[2].n == 0) {
            from = emu_place(x, 0, ((e - c->arg[1].ints[0]) % n + n) % n);
        } else {
            for (int i = y->rank - 1; i >= 0; i--) {
                from += turned(c, rest % y->dim[i], i, y->dim[i]) * x->stride[i];
                rest /= y->dim[i];
            }
        }
        emu_move(c, y, emu_place(y, 0, e), x, from);
    }
}

/* RepeatInterleave(self, repeats, [axis,] length, out): repeats a tensor or one number */
static bool has_axis(const emu_call *c)
{
    return c->n == 5;
}

static aclnnStatus check_interleave(emu_call *c)
{
    const int args[] = {0, c->n - 1, 1};
    const aclnnStatus code = emu_want(c, args, c->arg[1].kind == 'T' ? 3 : 2);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, c->n - 1);
    if (has_axis(c) && emu_axis(x, c->arg[2].i) < 0) return emu_refuse(c, "there is no such axis");
    if (c->arg[1].kind == 'T' && (!emu_is_index(emu_t(c, 1)) || emu_t(c, 1)->rank > 1))
        return emu_refuse(c, "repeats are no row of integers");
    return x->type == y->type && (has_axis(c) ? y->rank == x->rank : y->rank == 1)
               ? 0
               : emu_refuse(c, "the output has another type or other axes");
}

static void run_interleave(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, c->n - 1);
    emu_tensor from = *x, to = *y;
    const int axis = has_axis(c) ? emu_axis(x, c->arg[2].i) : 0;
    const int64_t length = has_axis(c) ? x->dim[axis] : emu_count(x);
    if (has_axis(c)) from.dim[axis] = to.dim[axis] = 1;
    const int64_t each = has_axis(c) ? emu_count(&from) : 1;
    for (int64_t i = 0, at = 0; i < length; i++) {
        const emu_tensor *repeats = c->arg[1].kind == 'T' ? emu_t(c, 1) : NULL;
        const bool is_one = repeats && emu_count(repeats) == 1;
        const int64_t times = repeats
                                  ? (int64_t)emu_get(repeats, is_one ? 0 : emu_place(repeats, 0, i))
                                  : c->arg[1].i;
        for (int64_t k = 0; k < times && at < y->dim[axis]; k++, at++)
            for (int64_t e = 0; e < each; e++)
                emu_move(c, y, at * y->stride[axis] + (has_axis(c) ? emu_place(&to, 0, e) : 0), x,
                         has_axis(c) ? i * x->stride[axis] + emu_place(&from, 0, e)
                                     : emu_place(x, 0, i));
    }
}

/* ---- Triu, Tril (self, diagonal, out) and in place, Eye(n, m, out), Trace(self, out) ---- */

static aclnnStatus check_triangle(emu_call *c)
{
    const int args[] = {0, is_in_place(c) ? 0 : 2};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    return emu_same(emu_t(c, 0), output_of(c)) && emu_t(c, 0)->rank >= 2
               ? 0
               : emu_refuse(c, "self and output differ, or are no matrices");
}

static void run_triangle(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = output_of(c);
    const bool is_upper = strstr(c->op->name, "Triu") != NULL;
    const int last = x->rank - 1;
    const int64_t columns = x->dim[last], rows = x->dim[last - 1], off = c->arg[1].i;
    for (int64_t e = 0, n = emu_count(x); e < n; e += columns) { /* a row */
        const int64_t turn = e / columns % rows + off + (is_upper ? 0 : 1);
        const int64_t cut = turn < 0 ? 0 : turn > columns ? columns : turn;
        const int64_t from = emu_place(x, 0, e), to = emu_place(y, 0, e);
        for (int64_t i = 0; i < columns; i++) {
            if (is_upper ? i >= cut : i < cut)
                emu_move(c, y, to + i * y->stride[last], x, from + i * x->stride[last]);
            else
                emu_put(c, y, to + i * y->stride[last], 0.0);
        }
    }
}

static aclnnStatus check_eye(emu_call *c)
{
    static const int args[] = {2};
    const aclnnStatus code = emu_want(c, args, 1);
    if (code != 0) return code;
    const emu_tensor *y = emu_t(c, 2);
    return y->rank == 2 && y->dim[0] == c->arg[0].i && y->dim[1] == c->arg[1].i
               ? 0
               : emu_refuse(c, "the output is no matrix of that size");
}

static void run_eye(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 2);
    for (int64_t e = 0, n = emu_count(y); e < n; e++)
        emu_put(c, y, emu_place(y, 0, e), e / y->dim[1] == e % y->dim[1] ? 1.0 : 0.0);
}

static aclnnStatus check_trace(emu_call *c)
{
    static const int args[] = {0, 1};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    return emu_t(c, 0)->rank == 2 && emu_count(emu_t(c, 1)) == 1
               ? 0
               : emu_refuse(c, "self is no matrix, or the output no single number");
}

static void run_trace(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0);
    double sum = 0.0;
    for (int64_t i = 0; i < x->dim[0] && i < x->dim[1]; i++)
        sum += emu_get(x, i * (x->stride[0] + x->stride[1]));
    emu_put(c, emu_t(c, 1), 0, sum);
}

/* ---- OneHot(self, classes, on, off, axis, out), Bincount(self, weights?, least, out) ---- */

static aclnnStatus check_one_hot(emu_call *c)
{
    static const int args[] = {0, 2, 3, 5};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 5);
    if (c->arg[4].i != -1) return emu_refuse(c, "the emulated driver has the last axis alone");
    return emu_is_index(x) && y->rank == x->rank + 1 && y->dim[x->rank] >= c->arg[1].i &&
                   emu_count(y) == emu_count(x) * y->dim[x->rank]
               ? 0
               : emu_refuse(c, "the output has another shape, or self is no index");
}

static void run_one_hot(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 5);
    const int64_t classes = y->dim[x->rank];
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        const bool is_on = (int64_t)emu_get(x, emu_place(x, 0, e / classes)) == e % classes;
        emu_move(c, y, emu_place(y, 0, e), emu_t(c, is_on ? 2 : 3), 0);
    }
}

static aclnnStatus check_bincount(emu_call *c)
{
    static const int args[] = {0, 3};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *w = emu_t(c, 1);
    if (x->rank != 1 || emu_is_float(x->type) || emu_t(c, 3)->rank != 1)
        return emu_refuse(c, "self or the output is no row, or self holds no integers");
    return !w || emu_count(w) == 0 || emu_count(w) == emu_count(x)
               ? 0
               : emu_refuse(c, "there is not one weight for each element");
}

static void run_bincount(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *w = emu_t(c, 1), *y = emu_t(c, 3);
    for (int64_t i = 0; i < y->dim[0]; i++) emu_put(c, y, i * y->stride[0], 0.0);
    for (int64_t i = 0; i < x->dim[0]; i++) {
        const int64_t bin = emu_index(c, x, i * x->stride[0], y->dim[0]);
        if (bin < 0) return;
        const double more = w && emu_count(w) ? emu_get(w, i * w->stride[0]) : 1.0;
        emu_put(c, y, bin * y->stride[0], emu_get(y, bin * y->stride[0]) + more);
    }
}

/* ---- SearchSorted(sorted, self, int32, right, order?, out): in the row, or in the row of self's
 * own ---- */

static aclnnStatus check_search(emu_call *c)
{
    const int args[] = {0, 5, 1};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *s = emu_t(c, 0);
    if (c->arg[4].n) return emu_refuse(c, "the emulated driver has no order beside the row");
    return s->rank >= 1 && emu_is_index(emu_t(c, 5))
               ? 0
               : emu_refuse(c, "there is no row, or the output is no index");
}

static void run_search(emu_call *c)
{
    const emu_tensor *s = emu_t(c, 0), *x = c->arg[1].kind == 'T' ? emu_t(c, 1) : NULL;
    const emu_tensor *y = emu_t(c, 5);
    const int64_t n = s->dim[s->rank - 1], step = s->stride[s->rank - 1];
    emu_tensor rows = *s;
    rows.rank--;
    for (int64_t e = 0, count = emu_count(y); e < count; e++) {
        const int64_t each = y->rank ? y->dim[y->rank - 1] : 1;
        const int64_t from = s->rank == 1 ? 0 : emu_place(&rows, 0, e / each);
        const double v = x ? emu_get(x, emu_place(x, 0, e)) : c->arg[1].d;
        int64_t at = 0;
        while (at < n) {
            const double here = emu_get(s, from + at * step);
            if (c->arg[3].i ? here > v : here >= v) break;
            at++;
        }
        emu_put(c, y, emu_place(y, 0, e), (double)at);
    }
}

/* ---- Linspace(start, end, steps, out), Range(start, end, step, out): the end belongs to both ----
 */

static aclnnStatus check_range(emu_call *c)
{
    static const int args[] = {0, 1, 3};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    return emu_t(c, 3)->rank == 1 ? 0 : emu_refuse(c, "the output is no row");
}

static void run_range(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 3);
    const int64_t n = y->dim[0];
    const double first = c->arg[0].d, last = c->arg[1].d;
    const double step = c->arg[2].kind == 'S' ? c->arg[2].d
                        : n > 1               ? (last - first) / (double)(n - 1)
                                              : 0.0;
    for (int64_t i = 0; i < n; i++) /* from the nearer end */
        emu_put(c, y, i * y->stride[0],
                c->arg[2].kind == 'S' || i < n / 2 || n == 1 ? first + step * (double)i
                                                             : last - step * (double)(n - 1 - i));
}

/* ---- Equal(self, other, out): whether all are ---- */

static aclnnStatus check_equal(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    return emu_t(c, 2)->type == EMU_BOOL && emu_count(emu_t(c, 2)) == 1
               ? 0
               : emu_refuse(c, "the output is not one BOOL");
}

static void run_equal(emu_call *c)
{
    const emu_tensor *a = emu_t(c, 0), *b = emu_t(c, 1);
    bool same = emu_same_shape(a, b);
    for (int64_t e = 0, n = same ? emu_count(a) : 0; same && e < n; e++) {
        const double x = emu_get(a, emu_place(a, 0, e)), y = emu_get(b, emu_place(b, 0, e));
        same = x <= y && x >= y;
    }
    emu_put(c, emu_t(c, 2), 0, same ? 1.0 : 0.0);
}

const emu_op emu_ops_index[] = {
    {"Scatter", check_scatter, run_scatter},
    {"ScatterValue", check_scatter, run_scatter},
    {"InplaceScatter", check_scatter, run_scatter},
    {"InplaceScatterValue", check_scatter, run_scatter},
    {"IndexFill", check_lines, run_lines},
    {"IndexFillTensor", check_lines, run_lines},
    {"InplaceIndexFill", check_lines, run_lines},
    {"InplaceIndexFillTensor", check_lines, run_lines},
    {"IndexCopy", check_lines, run_lines},
    {"InplaceIndexCopy", check_lines, run_lines},
    {"Take", check_take, run_take},
    {"InplacePut", check_take, run_take},
    {"Repeat", check_repeat, run_repeat},
    {"Roll", check_turn, run_turn},
    {"Flip", check_turn, run_turn},
    {"RepeatInterleave", check_interleave, run_interleave},
    {"RepeatInterleaveInt", check_interleave, run_interleave},
    {"RepeatInterleaveWithDim", check_interleave, run_interleave},
    {"RepeatInterleaveIntWithDim", check_interleave, run_interleave},
    {"Triu", check_triangle, run_triangle},
    {"Tril", check_triangle, run_triangle},
    {"InplaceTriu", check_triangle, run_triangle},
    {"InplaceTril", check_triangle, run_triangle},
    {"Eye", check_eye, run_eye},
    {"Trace", check_trace, run_trace},
    {"OneHot", check_one_hot, run_one_hot},
    {"Bincount", check_bincount, run_bincount},
    {"SearchSorted", check_search, run_search},
    {"SearchSorteds", check_search, run_search},
    {"Linspace", check_range, run_range},
    {"Range", check_range, run_range},
    {"Equal", check_equal, run_equal},
    {NULL, NULL, NULL},
};
