/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/elementwise.c - elementwise, cast: see chip/desc.h. Floor: chips. */
#include "chips/cpu/split.h"
#include "tensor/convert.h"

#include <string.h>

/* ---- elementwise ---- */

enum { CHUNK = 1024 }; /* elements of one kernel call */

/* One shape for all three views, the fewest axes that describe them. */
typedef struct layout {
    int64_t dim[3];
    int64_t stride[3][3]; /* of y, a, b */
    int64_t chunks;       /* of the last axis */
} layout;

static mz_err elementwise_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.elementwise.dtype);
}

/* Joins an axis to the last one if every view steps over both as over one. */
static bool join(layout *l, int axis)
{
    for (int v = 0; v < 3 && l->dim[axis] != 1 && l->dim[2] != 1; v++)
        if (l->stride[v][axis] != l->dim[2] * l->stride[v][2]) return false;
    for (int v = 0; v < 3 && l->dim[2] == 1; v++) l->stride[v][2] = l->stride[v][axis];
    l->dim[2] *= l->dim[axis];
    l->dim[axis] = 1;
    return true;
}

static layout layout_of(const mz_tensor *const view[3])
{
    layout l = {.dim = {1, 1, 1}};
    const mz_tensor *y = view[0];
    for (int axis = 0; axis < y->rank; axis++) {
        const int to = 3 - y->rank + axis;
        l.dim[to] = y->dim[axis];
        /* An absent view steps like y, so that it never hinders a join. */
        for (int v = 0; v < 3; v++) l.stride[v][to] = (view[v] ? view[v] : y)->stride[axis];
    }
    if (join(&l, 1)) (void)join(&l, 0);
    l.chunks = (l.dim[2] + CHUNK - 1) / CHUNK;
    return l;
}

/* The views that the function reads or writes; the others are NULL. */
static void views_of(const mz_op *op, const mz_args *args, const mz_tensor *view[3])
{
    const mz_elementwise_fn fn = op->desc.u.elementwise.fn;
    view[0] = args->elementwise.y;
    view[1] = fn != MZ_EW_FILL ? args->elementwise.a : NULL;
    view[2] = fn == MZ_EW_ADD || fn == MZ_EW_MUL || fn == MZ_EW_AXPY ? args->elementwise.b : NULL;
}

/* n elements of `bytes` each between a strided place and a dense one. */
static void copy_strided(void *to, int64_t to_stride, const void *from, int64_t from_stride,
                         int64_t n, int64_t bytes)
{
    unsigned char *dst = to;
    const unsigned char *src = from;
    for (int64_t i = 0; i < n; i++)
        memcpy(dst + i * to_stride * bytes, src + i * from_stride * bytes, (size_t)bytes);
}

/* Items are chunks of the last axis; what is not dense goes through small dense copies. */
static void elementwise_chunks(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *view[3];
    views_of(op, args, view);
    const layout l = layout_of(view);
    const bool bf16 = mz_cpu_is_bf16(view[0]);
    const mz_cpu_map map = {
        .fn = op->desc.u.elementwise.fn, .alpha = (float)args->k.elementwise.alpha, .bf16 = bf16};
    float dense[3][CHUNK];
    for (int64_t item = first; item < last; item++) {
        const int64_t from = item % l.chunks * CHUNK, row = item / l.chunks;
        const int64_t n = l.dim[2] - from < CHUNK ? l.dim[2] - from : CHUNK;
        const int64_t i = row / l.dim[1], j = row % l.dim[1];
        void *at[3] = {NULL, NULL, NULL}, *use[3] = {NULL, NULL, NULL};
        for (int v = 0; v < 3; v++) {
            const int64_t *stride = l.stride[v];
            if (!view[v]) continue;
            at[v] = mz_cpu_elem(view[v], i * stride[0] + j * stride[1] + from * stride[2]);
            use[v] = stride[2] == 1 ? at[v] : dense[v];
            if (v > 0 && stride[2] != 1)
                copy_strided(dense[v], 1, at[v], stride[2], n, bf16 ? 2 : 4);
        }
        mz_cpu_ops_of(op)->map(&map, use[0], use[1], use[2], n);
        if (use[0] != at[0]) copy_strided(at[0], l.stride[0][2], dense[0], 1, n, bf16 ? 2 : 4);
    }
}

static mz_err elementwise(mz_op *op, const mz_args *args)
{
    const mz_tensor *view[3];
    views_of(op, args, view);
    const layout l = layout_of(view);
    const int64_t cost = l.dim[2] < CHUNK ? l.dim[2] : CHUNK;
    mz_cpu_split(op, args, l.dim[0] * l.dim[1] * l.chunks, mz_cpu_items(cost), elementwise_chunks);
    return MZ_OK;
}

const mz_slot mz_cpu_elementwise = {.query = elementwise_query, .forward = elementwise};

/* ---- cast ---- */

static mz_err cast_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_dtype from = desc->u.cast.from, to = desc->u.cast.to;
    (void)q;
    support->repeats = true;
    if (mz_convert_can(to, from) && mz_dtype_is_float(from) && mz_dtype_is_float(to)) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "cpu has no cast from %s to %s", mz_dtype_name(from),
                   mz_dtype_name(to));
}

enum { CAST_CHUNK = 1 << 14 };

static int64_t cast_chunks(int64_t N)
{
    return (N + CAST_CHUNK - 1) / CAST_CHUNK;
}

/* Items are chunks of rows: a whole parameter may be one row. */
static void cast_items(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *x = args->cast.x, *y = args->cast.y;
    const int64_t N = x->dim[1], chunks = cast_chunks(N);
    const bool from_short = mz_cpu_is_bf16(x), to_short = mz_cpu_is_bf16(y);
    const bool quick = (from_short || x->dtype == MZ_F32) && (to_short || y->dtype == MZ_F32);
    for (int64_t item = first; item < last; item++) {
        const int64_t t = item / chunks, at = item % chunks * CAST_CHUNK;
        const int64_t n = N - at < CAST_CHUNK ? N - at : CAST_CHUNK;
        void *to = mz_cpu_elem(y, t * y->stride[0] + at);
        const void *from = mz_cpu_elem(x, t * x->stride[0] + at);
        if (quick)
            mz_cpu_ops_of(op)->cast(to, to_short, from, from_short, n);
        else
            (void)mz_convert(to, y->dtype, from, x->dtype, n); /* query asked whether it can */
    }
}

static mz_err cast(mz_op *op, const mz_args *args)
{
    const int64_t T = args->cast.x->dim[0], N = args->cast.x->dim[1];
    mz_cpu_split(op, args, T * cast_chunks(N), mz_cpu_items(N < CAST_CHUNK ? N : CAST_CHUNK),
                 cast_items);
    return MZ_OK;
}

const mz_slot mz_cpu_cast = {.query = cast_query, .forward = cast};
