/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_found.c - operators whose output is as long as what they find: places that are not
 * 0, elements under a mask, elements that differ. The client gives room for all, and asks for the
 * shape (aclGetViewShape) when it has waited for the stream. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

static bool is_true(double x)
{
    return x < 0.0 || x > 0.0 || isnan(x);
}

/* Output `arg` has this shape now. */
static void shape_output(emu_call *c, int arg, int rank, const int64_t *dims)
{
    emu_tensor_shape(c->arg[arg].object, c->arg[arg].id, rank, dims);
}

/* ---- Nonzero(self, out [n, axes]), NonzeroV2(self, out [axes, n]) ---- */

static aclnnStatus check_nonzero(emu_call *c)
{
    static const int args[] = {0, 1};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 1);
    return y->type == EMU_INT64 && emu_is_dense(y) && emu_count(y) >= emu_count(x) * x->rank
               ? 0
               : emu_refuse(c, "the output is not INT64 with room for the places of all elements");
}

static void run_nonzero(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 1);
    const bool is_turned = strcmp(c->op->name, "NonzeroV2") == 0;
    const int64_t n = emu_count(x);
    int64_t all = 0, found = 0;
    for (int64_t e = 0; e < n; e++) all += is_true(emu_get(x, emu_place(x, 0, e)));
    for (int64_t e = 0; e < n; e++) {
        int64_t rest = e;
        if (!is_true(emu_get(x, emu_place(x, 0, e)))) continue;
        for (int i = x->rank - 1; i >= 0; i--) {
            emu_put(c, y, is_turned ? i * all + found : found * x->rank + i,
                    (double)(rest % x->dim[i]));
            rest /= x->dim[i];
        }
        found++;
    }
    shape_output(c, 1, 2,
                 is_turned ? (const int64_t[]){x->rank, all} : (const int64_t[]){all, x->rank});
}

/* ---- MaskedSelect(self, mask, out), InplaceMaskedScatter(self, mask, source) ---- */

/* The shape that two tensors spread to. False: they do not. */
static bool spread_of(const emu_tensor *a, const emu_tensor *b, emu_tensor *both)
{
    *both = a->rank >= b->rank ? *a : *b;
    for (int i = 0; i < both->rank; i++) {
        const int ia = i + a->rank - both->rank, ib = i + b->rank - both->rank;
        const int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) return false;
        both->dim[i] = da == 1 ? db : da;
    }
    return true;
}

static aclnnStatus check_masked(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *mask = emu_t(c, 1), *y = emu_t(c, 2);
    const bool is_put = c->arg[2].kind == 'T';
    emu_tensor both;
    int64_t stride[EMU_RANK];
    if (mask->type != EMU_BOOL && mask->type != EMU_UINT8)
        return emu_refuse(c, "the mask is neither BOOL nor UINT8");
    if (x->type != y->type) return emu_refuse(c, "of several types");
    if (is_put ? !emu_spread(mask, x, stride) : !spread_of(x, mask, &both))
        return emu_refuse(c, "the mask does not spread to self");
    return is_put || emu_count(y) >= emu_count(&both)
               ? 0
               : emu_refuse(c, "the output has no room for all elements");
}

static void run_masked(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *mask = emu_t(c, 1), *y = emu_t(c, 2);
    const bool is_put = c->arg[2].kind == 'T';
    emu_tensor both;
    (void)spread_of(x, mask, &both);
    int64_t found = 0;
    for (int64_t e = 0, n = emu_count(&both), most = emu_count(y); e < n; e++) {
        if (!is_true(emu_get(mask, emu_spread_place(mask, &both, e)))) continue;
        const int64_t at = emu_spread_place(x, &both, e),
                      other = found < most ? emu_place(y, 0, found) : 0;
        if (found++ >= most)
            emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION,
                             "aclnn%s: more places than elements for them", c->op->name);
        else if (is_put)
            emu_move(c, x, at, y, other);
        else
            emu_move(c, y, other, x, at);
    }
    if (!is_put) shape_output(c, 2, 1, &found);
}

/* ---- Unique2(self, sorted, inverse, counts, y, places, numbers), UniqueConsecutive(self, inverse,
 *      counts, dim, y, places, numbers), UniqueDim(self, sorted, inverse, dim, y, places, numbers):
 *      slices of an axis, or single elements ---- */

typedef struct slices {
    const emu_tensor *x;
    emu_tensor rest; /* one slice */
    int axis;        /* -1: elements */
    int64_t n, each;
} slices;

enum { NO_AXIS = 1000 };

static slices slices_of(const emu_call *c)
{
    const emu_tensor *x = c->arg[0].tensor;
    slices s = {.x = x, .rest = *x, .axis = -1, .n = emu_count(x), .each = 1};
    if (strcmp(c->op->name, "Unique2") == 0 || c->arg[3].i == NO_AXIS) return s;
    s.axis = emu_axis(x, c->arg[3].i);
    if (s.axis < 0) return s;
    s.n = x->dim[s.axis];
    s.rest.dim[s.axis] = 1;
    s.each = emu_count(&s.rest);
    return s;
}

/* Element j of slice i. */
static int64_t slice_place(const slices *s, int64_t i, int64_t j)
{
    return s->axis < 0 ? emu_place(s->x, 0, i)
                       : i * s->x->stride[s->axis] + emu_place(&s->rest, 0, j);
}

static int compare(const slices *s, int64_t a, int64_t b)
{
    for (int64_t j = 0; j < s->each; j++) {
        const double x = emu_get(s->x, slice_place(s, a, j)),
                     y = emu_get(s->x, slice_place(s, b, j));
        if (x < y || x > y) return x < y ? -1 : 1;
        if (isnan(x) || isnan(y)) return isnan(x) ? 1 : -1; /* no two of those are the same */
    }
    return 0;
}

/* Numbers of the slices in order: as they come, or sorted, equal ones as they come. */
static int64_t *ordered(const emu_call *c, const slices *s)
{
    int64_t *order = malloc((size_t)(2 * s->n + 1) * sizeof *order);
    if (!order) return NULL;
    for (int64_t i = 0; i < s->n; i++) order[i] = i;
    if (strcmp(c->op->name, "UniqueConsecutive") == 0) return order;
    for (int64_t width = 1; width < s->n; width *= 2) {
        int64_t *room = order + s->n;
        for (int64_t i = 0; i < s->n; i++) room[i] = order[i];
        for (int64_t from = 0; from < s->n; from += 2 * width) {
            const int64_t middle = from + width < s->n ? from + width : s->n;
            const int64_t end = middle + width < s->n ? middle + width : s->n;
            for (int64_t a = from, b = middle, to = from; to < end; to++)
                order[to] = b == end || (a < middle && compare(s, room[a], room[b]) <= 0)
                                ? room[a++]
                                : room[b++];
        }
    }
    return order;
}

static aclnnStatus check_unique(emu_call *c)
{
    static const int args[] = {0, 4, 5, 6};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const slices s = slices_of(c);
    const bool has_axis = strcmp(c->op->name, "Unique2") != 0 && c->arg[3].i != NO_AXIS;
    if (has_axis && s.axis < 0) return emu_refuse(c, "there is no such axis");
    return emu_t(c, 4)->type == s.x->type && emu_count(emu_t(c, 4)) >= emu_count(s.x) &&
                   emu_t(c, 5)->type == EMU_INT64 && emu_t(c, 6)->type == EMU_INT64
               ? 0
               : emu_refuse(c, "an output has another type, or no room for all elements");
}

/* Slice i as number `found` of the output, which is dense. */
static void keep_slice(emu_call *c, const slices *s, int64_t i, int64_t found)
{
    emu_tensor y = *emu_t(c, 4);
    if (s->axis >= 0) y = *s->x;
    int64_t step = 1;
    for (int d = y.rank - 1; d >= 0; step *= y.dim[d--]) y.stride[d] = step;
    y.at = emu_t(c, 4)->at;
    emu_tensor rest = y;
    if (s->axis >= 0) rest.dim[s->axis] = 1;
    for (int64_t j = 0; j < s->each; j++)
        emu_move(c, &y, s->axis < 0 ? found : found * y.stride[s->axis] + emu_place(&rest, 0, j),
                 s->x, slice_place(s, i, j));
}

/* The slices lie as a tensor of `found` of them does: with another axis in front their places move.
 */
static void close_ranks(emu_call *c, const slices *s, int64_t found)
{
    const emu_tensor *y = emu_t(c, 4);
    if (s->axis <= 0) return;
    const size_t size = emu_size_of(y->type);
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < s->x->rank; i++)
        if (i != s->axis) *(i < s->axis ? &outer : &inner) *= s->x->dim[i];
    for (int64_t o = 1; o < outer; o++)
        memmove(y->at + (size_t)(o * found * inner) * size,
                y->at + (size_t)(o * s->n * inner) * size, (size_t)(found * inner) * size);
}

static void run_unique(emu_call *c)
{
    const slices s = slices_of(c);
    const emu_tensor *places = emu_t(c, 5), *numbers = emu_t(c, 6);
    int64_t *order = ordered(c, &s), found = 0, dims[EMU_RANK], count = 0;
    for (int64_t k = 0; order && k < s.n; k++) {
        const bool is_new = k == 0 || compare(&s, order[k - 1], order[k]) != 0;
        if (is_new) {
            keep_slice(c, &s, order[k], found++);
            count = 0;
        }
        count++;
        if (emu_count(places) > 0)
            emu_put(c, places, emu_place(places, 0, order[k]), (double)(found - 1));
        if (emu_count(numbers) >= found)
            emu_put(c, numbers, emu_place(numbers, 0, found - 1), (double)count);
    }
    free(order);
    close_ranks(c, &s, found);
    for (int i = 0; i < s.x->rank; i++) dims[i] = i == s.axis ? found : s.x->dim[i];
    shape_output(c, 4, s.axis < 0 ? 1 : s.x->rank, s.axis < 0 ? &found : dims);
    if (emu_count(numbers) > 0) shape_output(c, 6, 1, &found);
}

const emu_op emu_ops_found[] = {
    {"Nonzero", check_nonzero, run_nonzero},    {"NonzeroV2", check_nonzero, run_nonzero},
    {"MaskedSelect", check_masked, run_masked}, {"InplaceMaskedScatter", check_masked, run_masked},
    {"Unique2", check_unique, run_unique},      {"UniqueConsecutive", check_unique, run_unique},
    {"UniqueDim", check_unique, run_unique},    {NULL, NULL, NULL},
};
