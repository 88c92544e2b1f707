/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose.c - what can be built from a chip's other operators: asking for the parts, booking
 * their workspace and the scratch between them, binding and freeing.
 *
 * Workspace of a composed op: [ the largest of its parts | scratch 0 | scratch 1 ... ]
 *
 * Floor:  chip. May use tensor, base. */
#include "chip/compose.h"

#include "base/mem.h"

#include <stdio.h>

enum { ALIGN = 64 };

static const mz_composition *const COMPOSITIONS[MZ_OP_COUNT] = {
    [MZ_OP_MATMUL] = &mz_compose_matmul, [MZ_OP_EXPERTS] = &mz_compose_experts,
    [MZ_OP_ROPE] = &mz_compose_rope,     [MZ_OP_EMBED] = &mz_compose_embed,
    [MZ_OP_SUMSQ] = &mz_compose_sumsq,   [MZ_OP_UNPERMUTE] = &mz_compose_unpermute,
    [MZ_OP_REDUCE] = &mz_compose_reduce,
};

static size_t round_up(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- recipes ---- */

void mz_recipe_part(mz_recipe *r, int i, const mz_desc *desc)
{
    r->part[i] = *desc;
    r->wanted[i] = true;
}

mz_err mz_recipe_scratch(mz_recipe *r, int i, mz_dtype dtype, int64_t a, int64_t b, int64_t c)
{
    return mz_shape_bytes(dtype, 3, (const int64_t[]){a, b, c}, &r->scratch[i]);
}

mz_desc mz_desc_elementwise(mz_dtype dtype, mz_elementwise_fn fn, int64_t n)
{
    return (mz_desc){.kind = MZ_OP_ELEMENTWISE,
                     .u.elementwise = {.dtype = dtype, .fn = fn, .N_max = n}};
}

mz_desc mz_desc_cast(mz_dtype from, mz_dtype to, int64_t T, int64_t n)
{
    return (mz_desc){.kind = MZ_OP_CAST,
                     .u.cast = {.from = from, .to = to, .T_max = T, .N_max = n}};
}

/* The recipe for desc, or MZ_ENOTSUP. */
static mz_err look_up(const mz_desc *desc, mz_recipe *r)
{
    const mz_composition *c = COMPOSITIONS[desc->kind];
    *r = (mz_recipe){0};
    if (!c) return MZ_FAIL(MZ_ENOTSUP, "there is no composition of %s", mz_op_name(desc->kind));
    MZ_TRY(c->recipe(desc, r));
    if (mz_desc_has_backward(desc) && !c->slot.backward)
        return MZ_FAIL(MZ_ENOTSUP, "%s is composed forward only", mz_op_name(desc->kind));
    return MZ_OK;
}

/* Adds one part's demands; *largest is the largest workspace of a part. */
static mz_err ask_part(const mz_queue *q, const mz_desc *part, mz_support *sum, size_t *largest)
{
    mz_support s = {0};
    MZ_TRY(mz_op_query(q, part, &s));
    if (s.workspace_bytes > *largest) *largest = s.workspace_bytes;
    sum->staging_bytes += s.staging_bytes;
    sum->repeats = sum->repeats && s.repeats;
    sum->blocks_host = sum->blocks_host || s.blocks_host;
    return MZ_OK;
}

/* at may be NULL. */
static mz_err lay_out(const mz_recipe *r, size_t largest, size_t *at, size_t *total)
{
    size_t end = largest;
    for (int i = 0; i < MZ_SCRATCH_MAX; i++) {
        if (r->scratch[i]) end = round_up(end);
        if (at) at[i] = end;
        MZ_NEED(r->scratch[i] <= SIZE_MAX / 2 - end, "the scratch of a composition overflows");
        end += r->scratch[i];
    }
    *total = end;
    return MZ_OK;
}

static mz_err demand(const mz_queue *q, const mz_recipe *r, mz_support *support, size_t *at)
{
    mz_support s = {.state = MZ_STATE_COMPOSED, .repeats = true};
    size_t largest = 0;
    for (int i = 0; i < MZ_PARTS_MAX; i++)
        if (r->wanted[i]) MZ_TRY(ask_part(q, &r->part[i], &s, &largest));
    MZ_TRY(lay_out(r, largest, at, &s.workspace_bytes));
    s.staging_bytes += r->host_bytes;
    s.blocks_host = s.blocks_host || r->blocks_host;
    snprintf(s.reason, sizeof s.reason, "%s", r->reason);
    *support = s;
    return MZ_OK;
}

mz_err mz_compose_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    mz_recipe r;
    MZ_TRY(look_up(desc, &r));
    return demand(q, &r, support, NULL);
}

/* ---- bound compositions ---- */

static void release(mz_composed *c)
{
    for (int i = 0; i < MZ_PARTS_MAX; i++) mz_op_free(c->part[i]);
    mz_buffer_free(c->constant);
    mz_mem_free(c->host);
    mz_mem_free(c);
}

static mz_err build(mz_op *op, mz_composed *c)
{
    const mz_composition *how = COMPOSITIONS[op->desc.kind];
    mz_support support;
    mz_recipe r;
    MZ_TRY(look_up(&op->desc, &r));
    MZ_TRY(demand(op->queue, &r, &support, c->at));
    for (int i = 0; i < MZ_PARTS_MAX; i++)
        if (r.wanted[i]) MZ_TRY(mz_op_bind(&c->part[i], op->queue, &r.part[i]));
    if (r.host_bytes) MZ_TRY(mz_mem_new(&c->host, (int64_t)r.host_bytes, 1));
    op->state = c;
    return how->prepare ? how->prepare(op, c) : MZ_OK;
}

static mz_err bind(mz_op *op)
{
    mz_composed *c = NULL;
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    const mz_err err = build(op, c);
    if (err != MZ_OK) release(c);
    return err;
}

static void unbind(mz_op *op)
{
    release(op->state);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    return COMPOSITIONS[op->desc.kind]->slot.forward(op, args);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    return COMPOSITIONS[op->desc.kind]->slot.backward(op, args);
}

const mz_slot *mz_compose_slot(mz_op_kind kind)
{
    static const mz_slot both = {
        .bind = bind, .unbind = unbind, .forward = forward, .backward = backward};
    static const mz_slot one_way = {.bind = bind, .unbind = unbind, .forward = forward};
    const mz_composition *c = (unsigned)kind < MZ_OP_COUNT ? COMPOSITIONS[kind] : NULL;
    if (!c) return NULL;
    return c->slot.backward ? &both : &one_way;
}

/* ---- for the compositions ---- */

mz_tensor mz_scratch(const mz_op *op, int i, mz_dtype dtype, int rank, const int64_t *dim)
{
    const mz_composed *c = op->state;
    return mz_view(mz_op_workspace(op).buf, c->at[i], dtype, rank, dim);
}

mz_tensor mz_restride(const mz_tensor *t, int64_t shift, const int64_t dim[3],
                      const int64_t stride[3])
{
    mz_tensor v = *t;
    v.offset_bytes += (size_t)shift * mz_dtype_bytes(t->dtype);
    v.rank = 3;
    for (int i = 0; i < 3; i++) {
        v.dim[i] = dim[i];
        v.stride[i] = stride[i];
    }
    return v;
}

mz_err mz_part_run(const mz_op *op, int i, mz_pass pass, const mz_args *args)
{
    const mz_composed *c = op->state;
    return mz_op_run(c->part[i], pass, args);
}

mz_err mz_part_elementwise(const mz_op *op, int i, const mz_tensor *y, const mz_tensor *a,
                           const mz_tensor *b)
{
    const mz_composed *c = op->state;
    mz_args args = {.elementwise = {.y = y, .a = a, .b = b}};
    /* a - b is the only AXPY that compositions need */
    if (c->part[i]->desc.u.elementwise.fn == MZ_EW_AXPY) args.k.elementwise.alpha = -1.0;
    return mz_op_run(c->part[i], MZ_FORWARD, &args);
}

mz_err mz_part_cast(const mz_op *op, int i, const mz_tensor *y, const mz_tensor *x)
{
    return mz_part_run(op, i, MZ_FORWARD, &(mz_args){.cast = {.y = y, .x = x}});
}
