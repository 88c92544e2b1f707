/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops.h - what operators are written with: single elements, places, and what phase 1
 * says of arguments that do not fit. */
#ifndef MZ_EMU_ASCEND_OPS_H
#define MZ_EMU_ASCEND_OPS_H

#include "ascend/state.h"

#include <string.h>

/* The element `at` elements behind the first. */
static inline double emu_get(const emu_tensor *t, int64_t at)
{
    double x = 0.0;
    emu_load(&x, t->type, t->at + at * (int64_t)emu_size_of(t->type), 1, 1);
    return x;
}

static inline void emu_put(const emu_call *c, const emu_tensor *t, int64_t at, double x)
{
    emu_store(t->type, t->at + at * (int64_t)emu_size_of(t->type), 1, &x, 1, c->device->overflow);
}

/* Where element `e`, counted row by row, of axes `from` .. stands. */
static inline int64_t emu_place(const emu_tensor *t, int from, int64_t e)
{
    int64_t at = 0;
    for (int i = t->rank - 1; i >= from; i--) {
        at += e % t->dim[i] * t->stride[i];
        e /= t->dim[i];
    }
    return at;
}

/* Where element `e` of the shape of `of`, counted row by row, stands in t, which spreads to it. */
static inline int64_t emu_spread_place(const emu_tensor *t, const emu_tensor *of, int64_t e)
{
    int64_t at = 0;
    for (int i = of->rank - 1; i >= 0; i--) {
        const int own = i + t->rank - of->rank;
        if (own >= 0 && t->dim[own] != 1) at += e % of->dim[i] * t->stride[own];
        e /= of->dim[i];
    }
    return at;
}

/* Copies an element; one of the same type as it is. */
static inline void emu_move(const emu_call *c, const emu_tensor *y, int64_t to, const emu_tensor *x,
                            int64_t from)
{
    const size_t size = emu_size_of(x->type);
    if (x->type == y->type)
        memcpy(y->at + to * (int64_t)size, x->at + from * (int64_t)size, size);
    else
        emu_put(c, y, to, emu_get(x, from));
}

static inline bool emu_same_shape(const emu_tensor *a, const emu_tensor *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static inline bool emu_same(const emu_tensor *a, const emu_tensor *b) /* type too */
{
    return a->type == b->type && emu_same_shape(a, b);
}

/* The strides of t under the shape of y; false where it does not spread to it. */
static inline bool emu_spread(const emu_tensor *t, const emu_tensor *y, int64_t stride[EMU_RANK])
{
    const int skip = y->rank - t->rank;
    if (skip < 0) return false;
    for (int i = 0; i < y->rank; i++) {
        const int64_t dim = i < skip ? 1 : t->dim[i - skip];
        if (dim != 1 && dim != y->dim[i]) return false;
        stride[i] = dim == 1 ? 0 : t->stride[i - skip];
    }
    return true;
}

static inline bool emu_is_dense(const emu_tensor *t)
{
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0 && emu_count(t) > 0; i--) {
        if (t->dim[i] > 1 && t->stride[i] != stride) return false;
        stride *= t->dim[i];
    }
    return true;
}

static inline bool emu_is_index(const emu_tensor *t)
{
    return t->type == EMU_INT32 || t->type == EMU_INT64;
}

/* An axis counted from the front, or -1: there is none. */
static inline int emu_axis(const emu_tensor *t, int64_t dim)
{
    const int64_t axis = dim < 0 ? dim + t->rank : dim;
    return axis >= 0 && axis < t->rank ? (int)axis : -1;
}

/* ---- refusals ---- */

static inline aclnnStatus emu_refuse(const emu_call *c, const char *why)
{
    return emu_fail(EMU_NN_INVALID, "aclnn%s: %s", c->op->name, why);
}

/* 0 where each of these arguments was given. */
static inline aclnnStatus emu_want(const emu_call *c, const int *args, int n)
{
    for (int i = 0; i < n; i++)
        if (!c->arg[args[i]].n)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name,
                            args[i] + 1);
    return 0;
}

/* Whether this call adds what it adds in the other order: every second one does, of operators whose
 * order is not certain unless the deterministic mode is on. */
bool emu_turns_round(const emu_call *c);

/* The index as it stands in the tensor, from 0; -1 with a fault of the vector core where it is none
 * of n. From the end where it is negative. */
static inline int64_t emu_index(const emu_call *c, const emu_tensor *index, int64_t at, int64_t n)
{
    const int64_t i = (int64_t)emu_get(index, at), from_start = i < 0 ? i + n : i;
    if (from_start >= 0 && from_start < n) return from_start;
    emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION, "aclnn%s: index %lld of %lld",
                     c->op->name, (long long)i, (long long)n);
    return -1;
}

#endif
