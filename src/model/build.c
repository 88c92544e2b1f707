/* SPDX-License-Identifier: Apache-2.0 */
/* model/build.c - the description of a network: its distinct operators, and where its memory lies.
 *
 * Floor:  model. May use op, chip, tensor, base. */
#include "base/mem.h"
#include "model/net.h"

#include <stdio.h>
#include <string.h>

enum { ALIGN_BYTES = 256 }; /* of every cell: what the strictest vendor library asks of a pointer */

/* Descriptions are compared by their bytes, so everything that is not a member of this kind must be
 * zero: callers start from a zeroed mz_desc. Padding inside a member could at worst hide a twin. */
static mz_bound *find_op(const mz_net *n, const mz_desc *desc)
{
    for (int i = 0; i < n->n_ops; i++)
        if (memcmp(&n->ops[i].desc, desc, sizeof *desc) == 0) return &n->ops[i];
    return NULL;
}

mz_err mz_net_op(mz_net *n, int *op, const mz_desc *desc)
{
    mz_bound *b = find_op(n, desc);
    if (!b) {
        MZ_TRY(mz_check_desc(desc));
        if (n->n_ops == n->ops_cap) {
            const int cap = n->ops_cap ? 2 * n->ops_cap : 32;
            MZ_TRY(mz_mem_grow(&n->ops, cap, sizeof *n->ops));
            n->ops_cap = cap;
        }
        b = &n->ops[n->n_ops];
        memset(b, 0, sizeof *b);
        memcpy(&b->desc, desc, sizeof *desc);
        if (n->queue) MZ_TRY(mz_op_query(n->queue, desc, &b->support));
        n->n_ops++;
    }
    *op = (int)(b - n->ops);
    return MZ_OK;
}

static mz_err aligned_add(size_t *at, size_t bytes)
{
    const size_t room = SIZE_MAX - *at;
    MZ_NEED(bytes <= room && ALIGN_BYTES <= room - bytes, "the model's memory overflows a size");
    *at += (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    return MZ_OK;
}

mz_err mz_net_cell(mz_net *n, mz_cell *cell, mz_room room, mz_dtype dtype, int64_t rows,
                   int64_t width)
{
    const int64_t dim[2] = {rows, width};
    size_t bytes = 0;
    MZ_TRY(mz_shape_bytes(dtype, 2, dim, &bytes));
    if (room == MZ_ROOM_KEPT && !n->options.train) room = MZ_ROOM_SCRATCH;
    if (room == MZ_ROOM_KEPT && !n->shares_kept) room = MZ_ROOM_HELD;
    size_t *at = room == MZ_ROOM_SCRATCH ? &n->scratch : room == MZ_ROOM_KEPT ? &n->kept : &n->held;
    const size_t offset = *at;
    MZ_TRY(aligned_add(at, bytes));
    if (n->scratch > n->scratch_peak) n->scratch_peak = n->scratch;
    if (n->kept > n->kept_peak) n->kept_peak = n->kept;
    *cell = (mz_cell){offset, rows, width, dtype, room};
    return MZ_OK;
}

mz_err mz_net_saved(mz_net *n, mz_cell *cell, int op)
{
    return mz_net_cell(n, cell, MZ_ROOM_KEPT, MZ_U8, 1, (int64_t)n->ops[op].support.saved_bytes);
}

size_t mz_net_booked(const mz_net *n)
{
    return n->held + n->scratch_peak + n->kept_peak;
}

size_t mz_net_mark(const mz_net *n)
{
    return n->scratch;
}

void mz_net_release(mz_net *n, size_t mark)
{
    n->scratch = mark;
}

mz_err mz_net_cache(mz_net *n, size_t *offset, int64_t width)
{
    const int64_t dim[3] = {n->options.cache_pages, n->options.page_tokens, width};
    size_t bytes = 0;
    MZ_TRY(mz_shape_bytes(n->dtype, 3, dim, &bytes));
    *offset = n->cache;
    return aligned_add(&n->cache, bytes);
}

/* ---- descriptions that several parts ask for ---- */

static mz_desc blank(mz_op_kind kind)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = kind;
    return d;
}

mz_err mz_net_elementwise(mz_net *n, int *op, mz_elementwise_fn fn, int64_t rows, int64_t width)
{
    const int64_t dim[2] = {rows, width};
    int64_t count = 0;
    MZ_TRY(mz_shape_count(2, dim, &count));
    mz_desc d = blank(MZ_OP_ELEMENTWISE);
    d.u.elementwise.dtype = n->dtype;
    d.u.elementwise.fn = fn;
    d.u.elementwise.N_max = count;
    return mz_net_op(n, op, &d);
}

mz_err mz_net_swiglu(mz_net *n, int *op, int64_t rows, int64_t width)
{
    mz_desc d = blank(MZ_OP_SWIGLU);
    d.u.swiglu.dtype = n->dtype;
    d.u.swiglu.T_max = rows;
    d.u.swiglu.F = width;
    d.u.swiglu.backward = n->options.train;
    return mz_net_op(n, op, &d);
}

mz_err mz_net_rope(mz_net *n, int *op, int64_t heads, int64_t width)
{
    mz_desc d = blank(MZ_OP_ROPE);
    d.u.rope.dtype = n->dtype;
    d.u.rope.T_max = n->T;
    d.u.rope.H = heads;
    d.u.rope.K = width;
    d.u.rope.interleaved = n->config.rope.interleaved;
    d.u.rope.backward = n->options.train;
    return mz_net_op(n, op, &d);
}

mz_err mz_net_scatter(mz_net *n, int *op, int64_t width)
{
    mz_desc d = blank(MZ_OP_ROWS);
    d.u.rows.dtype = n->dtype;
    d.u.rows.n_max = n->T;
    d.u.rows.D = width;
    d.u.rows.scatter = true;
    d.u.rows.table_max = n->options.cache_pages * n->options.page_tokens;
    return mz_net_op(n, op, &d);
}

mz_err mz_net_param(const mz_net *n, const mz_param **p, const char *prefix, const char *suffix)
{
    char name[192];
    snprintf(name, sizeof name, "%s%s", prefix, suffix);
    const mz_param *found = mz_params_find(&n->params, name);
    MZ_NEED(found, "the network has no parameter %s", name);
    *p = found;
    return MZ_OK;
}

/* ---- views ---- */

static size_t cell_offset(const mz_net *n, const mz_cell *c)
{
    if (c->room == MZ_ROOM_HELD) return c->offset;
    return n->held + c->offset + (c->room == MZ_ROOM_KEPT ? n->scratch_peak : 0);
}

mz_tensor mz_cell_rows(const mz_net *n, const mz_cell *c, int64_t rows)
{
    const int64_t dim[2] = {rows, c->width};
    return mz_view(n->arena, cell_offset(n, c), c->dtype, 2, dim);
}

mz_tensor mz_cell_flat(const mz_net *n, const mz_cell *c, int64_t elements)
{
    return mz_view(n->arena, cell_offset(n, c), c->dtype, 1, &elements);
}

mz_tensor mz_cell_all(const mz_net *n, const mz_cell *c)
{
    return mz_cell_flat(n, c, c->rows * c->width);
}

mz_tensor mz_heads(const mz_tensor *t, int64_t heads)
{
    mz_tensor h = *t;
    h.rank = 3;
    h.dim[1] = heads;
    h.dim[2] = t->dim[1] / heads;
    h.stride[1] = h.dim[2];
    h.stride[2] = 1;
    return h;
}

mz_tensor mz_columns(const mz_tensor *t, int64_t first, int64_t count)
{
    return mz_slice(t, t->rank - 1, first, count);
}

mz_tensor mz_flip_heads(const mz_tensor *t)
{
    mz_tensor h = *t;
    h.dim[0] = t->dim[1], h.dim[1] = t->dim[0];
    h.stride[0] = t->stride[1], h.stride[1] = t->stride[0];
    return h;
}
