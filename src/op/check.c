/* SPDX-License-Identifier: Apache-2.0 */
/* op/check.c - see check.h. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SAVED_ALIGN = 64 };

mz_err mz_need_float(mz_dtype dtype, const char *name)
{
    MZ_NEED((unsigned)dtype < MZ_DTYPE_COUNT && mz_dtype_is_float(dtype),
            "%s must be f64, f32, bf16 or f16", name);
    return MZ_OK;
}

mz_err mz_need_acc(mz_dtype dtype)
{
    MZ_NEED(dtype == MZ_F32 || dtype == MZ_F64, "acc must be f32 or f64");
    return MZ_OK;
}

mz_err mz_need_stored(mz_dtype stored, mz_dtype dtype, int64_t width, bool backward)
{
    if (stored == MZ_F64) return MZ_OK;
    MZ_NEED(stored == MZ_F32 || stored == MZ_BF16 || stored == MZ_F16 || mz_dtype_is_blocks(stored),
            "a weight is not stored as %s",
            (unsigned)stored < MZ_DTYPE_COUNT ? mz_dtype_name(stored) : "what is no dtype");
    MZ_NEED(stored != dtype, "stored is %s, as dtype: say 0", mz_dtype_name(stored));
    MZ_NEED(!backward, "a weight stored as %s has no backward pass", mz_dtype_name(stored));
    MZ_NEED(width % mz_dtype_block(stored) == 0, "rows of %lld are not whole blocks of %s",
            (long long)width, mz_dtype_name(stored));
    return MZ_OK;
}

mz_err mz_need_in(int64_t x, int64_t least, int64_t most, const char *name)
{
    MZ_NEED(x >= least && x <= most, "%s is %" PRId64 ", want %" PRId64 "..%" PRId64, name, x,
            least, most);
    return MZ_OK;
}

mz_err mz_need_shape(int rank, const int64_t *dim)
{
    size_t bytes;
    return mz_shape_bytes(MZ_F64, rank, dim, &bytes);
}

/* "rmsnorm forward: w is F32 [5], want F32 [6]" */
MZ_PRINTF(3, 4)
static mz_err refuse(const mz_call *c, const char *name, const char *fmt, ...)
{
    char why[256];
    va_list list;
    va_start(list, fmt);
    vsnprintf(why, sizeof why, fmt, list);
    va_end(list);
    return MZ_FAIL(MZ_EINVAL, "%s %s: %s %s", mz_op_name(c->desc->kind),
                   c->pass == MZ_FORWARD ? "forward" : "backward", name, why);
}

static int index_of(const mz_call *c, const char *name)
{
    const mz_op_signature *s = mz_op_signature_of(c->desc->kind);
    for (int i = 0; i < s->n_args; i++)
        if (strcmp(s->arg[i].name, name) == 0) return i;
    return -1;
}

static const mz_tensor *used(const mz_call *c, int i)
{
    return mz_arg_role(c->desc, c->pass, i) == MZ_ARG_NONE ? NULL : c->args->t[i];
}

const mz_tensor *mz_call_arg(const mz_call *c, const char *name)
{
    const int i = index_of(c, name);
    return i < 0 ? NULL : used(c, i);
}

mz_err mz_call_dim(const mz_call *c, const char *name, int rank, int axis, int64_t most, int64_t *n)
{
    const mz_tensor *t = mz_call_arg(c, name);
    if (!t) return refuse(c, name, "is NULL");
    if (t->rank != rank) return refuse(c, name, "has rank %d, want %d", t->rank, rank);
    if (!(t->dim[axis] >= 0 && t->dim[axis] <= most))
        return refuse(c, name, "has dim %d of %" PRId64 ", the operator was bound for 0..%" PRId64,
                      axis, t->dim[axis], most);
    *n = t->dim[axis];
    return MZ_OK;
}

/* "[3,5]" */
static const char *shape_text(int rank, const int64_t *dim, char out[96])
{
    int at = snprintf(out, 96, "[");
    for (int i = 0; i < rank && i < MZ_RANK_MAX; i++)
        at += snprintf(out + at, 96 - (size_t)at, i ? ",%" PRId64 : "%" PRId64, dim[i]);
    snprintf(out + at, 96 - (size_t)at, "]");
    return out;
}

static mz_err check_type_and_shape(const mz_call *c, const mz_want *w, const mz_tensor *t)
{
    char is[96], want[96];
    bool is_same = t->rank == w->rank && t->dtype == w->dtype;
    for (int i = 0; i < w->rank && is_same; i++) is_same = t->dim[i] == w->dim[i];
    if (is_same) return MZ_OK;
    return refuse(c, w->name, "is %s %s, want %s %s",
                  (unsigned)t->dtype < MZ_DTYPE_COUNT ? mz_dtype_name(t->dtype) : "of no dtype",
                  shape_text(t->rank, t->dim, is), mz_dtype_name(w->dtype),
                  shape_text(w->rank, w->dim, want));
}

/* Whether no two elements share an address: taken from the smallest stride up, each axis steps over
 * all that the smaller ones span. Sufficient, and true of every layout anyone has a use for. */
static bool is_apart_from_itself(const mz_tensor *t, unsigned repeats)
{
    int64_t span = 1, before = -1;
    int before_axis = -1;
    for (;;) {
        int next = -1;
        for (int i = 0; i < t->rank; i++) {
            if (t->dim[i] <= 1 || (t->stride[i] == 0 && repeats >> i & 1)) continue;
            const bool is_later =
                t->stride[i] > before || (t->stride[i] == before && i > before_axis);
            if (is_later && (next < 0 || t->stride[i] < t->stride[next])) next = i;
        }
        if (next < 0) return true;
        if (t->stride[next] < span) return false;
        span += (t->dim[next] - 1) * t->stride[next]; /* the extent was found to fit */
        before = t->stride[next];
        before_axis = next;
    }
}

static mz_err check_layout(const mz_call *c, const mz_want *w, const mz_tensor *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->stride[i] < 0) return refuse(c, w->name, "has stride %" PRId64, t->stride[i]);
    if (w->layout == MZ_DENSE && !mz_is_dense(t)) return refuse(c, w->name, "is not dense");
    if (w->layout == MZ_ROWS && !mz_rows_are_dense(t))
        return refuse(c, w->name, "has a last axis that is not contiguous");
    const int64_t block = mz_dtype_block(t->dtype);
    if (block == 1 || mz_count(t) == 0) return MZ_OK;
    if (!mz_rows_are_dense(t)) return refuse(c, w->name, "has blocks that are not contiguous");
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] > 1 && (i == t->rank - 1 ? t->dim[i] : t->stride[i]) % block != 0)
            return refuse(c, w->name, "has rows that are not whole blocks of %s",
                          mz_dtype_name(t->dtype));
    return MZ_OK;
}

static mz_err check_place(const mz_call *c, const mz_want *w, const mz_tensor *t)
{
    const mz_tensor plain = mz_as_bytes(t);
    const size_t size = mz_dtype_bytes(plain.dtype), end = mz_extent_bytes(t);
    if (!t->buf) return refuse(c, w->name, "has no buffer");
    if (t->offset_bytes % size != 0)
        return refuse(c, w->name, "starts at byte %zu, which is not a multiple of its element",
                      t->offset_bytes);
    const int i = index_of(c, w->name);
    if (t->buf->is_wrapped && (mz_arg_role(c->desc, c->pass, i) & MZ_ARG_OUT))
        return refuse(c, w->name, "lies in memory that is only read");
    if (end > t->buf->bytes)
        return refuse(c, w->name, "ends at byte %zu of a buffer of %zu", end, t->buf->bytes);
    if (mz_count(t) > 0 && !is_apart_from_itself(&plain, w->repeats))
        return refuse(c, w->name, "has strides by which its elements overlap");
    return MZ_OK;
}

static mz_err check_want(const mz_call *c, const mz_want *w)
{
    const int i = index_of(c, w->name);
    MZ_NEED(i >= 0, "%s has no argument %s", mz_op_name(c->desc->kind), w->name);
    const unsigned role = mz_arg_role(c->desc, c->pass, i);
    const mz_tensor *t = c->args->t[i];
    if (role == MZ_ARG_NONE) return MZ_OK;
    if (!t) return role & MZ_ARG_OPTIONAL ? MZ_OK : refuse(c, w->name, "is NULL");
    MZ_TRY(check_type_and_shape(c, w, t));
    MZ_TRY(check_layout(c, w, t));
    return check_place(c, w, t);
}

/* Forward fills it and backward reads it, if the operator was bound for backward and saves. */
static mz_err check_saved(const mz_call *c)
{
    const int i = index_of(c, "saved");
    if (i < 0) return MZ_OK;
    const mz_tensor *t = c->args->t[i];
    const bool is_wanted = mz_desc_has_backward(c->desc) && c->saved_bytes > 0;
    if (!t)
        return is_wanted ? refuse(c, "saved", "is NULL, want %zu bytes", c->saved_bytes) : MZ_OK;
    if (!mz_desc_has_backward(c->desc))
        return refuse(c, "saved", "is given to an operator bound without backward");
    const mz_want want = {"saved", MZ_U8, MZ_DENSE, 1, {(int64_t)c->saved_bytes}, 0};
    MZ_TRY(check_type_and_shape(c, &want, t));
    if (t->offset_bytes % SAVED_ALIGN != 0)
        return refuse(c, "saved", "starts at byte %zu, want a multiple of %d", t->offset_bytes,
                      (int)SAVED_ALIGN);
    return check_place(c, &want, t);
}

mz_err mz_call_wants(const mz_call *c, const mz_want *wants, int n)
{
    for (int i = 0; i < n; i++) MZ_TRY(check_want(c, &wants[i]));
    return check_saved(c);
}

void mz_call_may_alias(mz_call *c, const char *out, const char *in)
{
    if (c->n_aliases == MZ_COUNT(c->alias)) return;
    c->alias[c->n_aliases].out = out;
    c->alias[c->n_aliases].in = in;
    c->n_aliases++;
}

mz_err mz_call_absent(const mz_call *c, const mz_tensor *t, const char *name)
{
    return t ? refuse(c, name, "is given, and the operator was bound without it") : MZ_OK;
}

/* Bytes from a view's first address to one past its last, over the axes whose stride is no multiple
 * of `period` bytes (all of them for period 0). */
static size_t inner_span(const mz_tensor *t, size_t period)
{
    const size_t size = mz_dtype_bytes(t->dtype);
    size_t span = size;
    for (int i = 0; i < t->rank; i++) {
        const size_t step = (size_t)t->stride[i] * size;
        if (period == 0 || step % period != 0) span += (size_t)(t->dim[i] - 1) * step;
    }
    return span;
}

/* Two views that both repeat every `period` bytes, each within a window of it: disjoint if the
 * windows are. This is what tells the columns of one matrix apart. */
static bool windows_are_apart(const mz_tensor *a, const mz_tensor *b, size_t period)
{
    if (period == 0) return false;
    const size_t span_a = inner_span(a, period), span_b = inner_span(b, period);
    const size_t start_a = a->offset_bytes % period, start_b = b->offset_bytes % period;
    if (span_a > period || span_b > period) return false;
    const size_t from_a_to_b = (start_b + period - start_a) % period;
    return from_a_to_b >= span_a && period - from_a_to_b >= span_b;
}

static bool are_apart(const mz_tensor *one, const mz_tensor *other)
{
    const mz_tensor bytes_a = mz_as_bytes(one), bytes_b = mz_as_bytes(other);
    const mz_tensor *a = &bytes_a, *b = &bytes_b;
    if (a->buf != b->buf || mz_count(a) == 0 || mz_count(b) == 0) return true;
    if (mz_extent_bytes(a) <= b->offset_bytes || mz_extent_bytes(b) <= a->offset_bytes) return true;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] > 1 &&
            windows_are_apart(a, b, (size_t)a->stride[i] * mz_dtype_bytes(a->dtype)))
            return true;
    for (int i = 0; i < b->rank; i++)
        if (b->dim[i] > 1 &&
            windows_are_apart(a, b, (size_t)b->stride[i] * mz_dtype_bytes(b->dtype)))
            return true;
    return false;
}

static bool are_one_view(const mz_tensor *a, const mz_tensor *b)
{
    bool is_same = a->buf == b->buf && a->offset_bytes == b->offset_bytes && a->dtype == b->dtype &&
                   a->rank == b->rank;
    for (int i = 0; i < a->rank && is_same; i++)
        is_same = a->dim[i] == b->dim[i] && (a->dim[i] <= 1 || a->stride[i] == b->stride[i]);
    return is_same;
}

static bool may_alias(const mz_call *c, const char *out, const char *in)
{
    for (int i = 0; i < c->n_aliases; i++)
        if (strcmp(c->alias[i].out, out) == 0 && strcmp(c->alias[i].in, in) == 0) return true;
    return false;
}

static mz_err check_pair(const mz_call *c, int out, int other)
{
    const mz_op_signature *s = mz_op_signature_of(c->desc->kind);
    const mz_tensor *a = used(c, out), *b = used(c, other);
    if (!a || !b || out == other) return MZ_OK;
    if (a->buf->device != b->buf->device)
        return refuse(c, s->arg[out].name, "is on another device than %s", s->arg[other].name);
    if (!(mz_arg_role(c->desc, c->pass, out) & MZ_ARG_OUT) || are_apart(a, b)) return MZ_OK;
    const bool is_allowed =
        may_alias(c, s->arg[out].name, s->arg[other].name) && are_one_view(a, b);
    return is_allowed ? MZ_OK : refuse(c, s->arg[out].name, "overlaps %s", s->arg[other].name);
}

mz_err mz_call_apart(const mz_call *c)
{
    const int n = mz_op_signature_of(c->desc->kind)->n_args;
    for (int out = 0; out < n; out++)
        for (int other = 0; other < n; other++) MZ_TRY(check_pair(c, out, other));
    return MZ_OK;
}
