/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose_sum.c - sums by matmul: sumsq is a row times itself, reduce is a row of ones times
 * the terms. The order of the sum is then the chip's matmul's.
 *
 * Floor:  chip. */
#include "base/mem.h"
#include "base/num.h"
#include "chip/compose.h"

#include <string.h>

enum { DOT };

/* Long dots are cut so that sums in acc keep their accuracy and a chip's own limit on K is met.
 * Squares of half precision are cut short: they have so few bits that the roundings of a running
 * sum are no longer by chance, mostly down (a small square is often half a unit of the sum, and
 * ties go to even), and their error grows with the terms, not with the root of them. */
static int64_t dot_max(mz_dtype dtype)
{
    return dtype == MZ_BF16 || dtype == MZ_F16 ? 64 : 1 << 20;
}

static mz_err sumsq_recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_sumsq_desc *d = &desc->u.sumsq;
    const int64_t most = dot_max(d->dtype);
    const mz_desc dot = {.kind = MZ_OP_MATMUL,
                         .u.matmul = {.dtype = d->dtype,
                                      .out_dtype = mz_dtype_acc(d->dtype),
                                      .M_max = 1,
                                      .N_max = 1,
                                      .K_max = d->N_max < most ? d->N_max : most,
                                      .trans_b = true,
                                      .accumulate = true}};
    mz_recipe_part(r, DOT, &dot);
    r->reason = "matmul of the numbers with themselves";
    return MZ_OK;
}

static mz_err sumsq(mz_op *op, const mz_args *args)
{
    const mz_tensor *x = args->sumsq.x;
    const mz_tensor c = mz_reshape(args->sumsq.out, 2, (const int64_t[]){1, 1});
    const int64_t most = dot_max(x->dtype);
    for (int64_t from = 0; from < x->dim[0]; from += most) {
        const int64_t left = x->dim[0] - from, n = left < most ? left : most;
        const mz_tensor part = mz_slice(x, 0, from, n);
        const mz_tensor row = mz_reshape(&part, 2, (const int64_t[]){1, n});
        MZ_TRY(mz_part_run(op, DOT, MZ_FORWARD,
                           &(mz_args){.matmul = {.c = &c, .a = &row, .b = &row}}));
    }
    return MZ_OK;
}

static mz_err reduce_recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_reduce_desc *d = &desc->u.reduce;
    if (d->out_dtype != d->dtype && d->out_dtype != mz_dtype_acc(d->dtype))
        return MZ_FAIL(MZ_ENOTSUP, "matmul does not sum %s into %s", mz_dtype_name(d->dtype),
                       mz_dtype_name(d->out_dtype));
    if (!mz_dtype_is_float(d->dtype)) return MZ_FAIL(MZ_ENOTSUP, "matmul sums floats");
    const mz_desc dot = {.kind = MZ_OP_MATMUL,
                         .u.matmul = {.dtype = d->dtype,
                                      .out_dtype = d->out_dtype,
                                      .M_max = 1,
                                      .N_max = d->C_max,
                                      .K_max = d->B_max,
                                      .batch_max = d->A_max > 1 ? d->A_max : 0,
                                      .accumulate = d->accumulate}};
    mz_recipe_part(r, DOT, &dot);
    r->reason = "matmul with a row of ones";
    return MZ_OK;
}

static void put_one(unsigned char *at, mz_dtype dtype)
{
    const double one = 1.0;
    const float one_f = 1.0f;
    const uint16_t half = dtype == MZ_F16 ? mz_f32_to_f16(one_f) : mz_f32_to_bf16(one_f);
    if (dtype == MZ_F64)
        memcpy(at, &one, sizeof one);
    else if (dtype == MZ_F32)
        memcpy(at, &one_f, sizeof one_f);
    else
        memcpy(at, &half, sizeof half);
}

/* The ones are device memory of their own: a workspace would not keep them between calls. */
static mz_err make_ones(mz_op *op, mz_composed *c)
{
    const mz_reduce_desc *d = &op->desc.u.reduce;
    const int64_t n =
        d->B_max > 0 ? d->B_max : 1; /* a view needs a buffer even where it is empty */
    const size_t size = mz_dtype_bytes(d->dtype);
    unsigned char *ones = NULL;
    MZ_TRY(mz_mem_new(&ones, n, size));
    for (int64_t i = 0; i < n; i++) put_one(ones + (size_t)i * size, d->dtype);
    mz_err err = mz_buffer_new(&c->constant, op->queue->device, (size_t)n * size);
    if (err == MZ_OK) {
        const mz_tensor t = mz_view(c->constant, 0, d->dtype, 1, &n);
        err = mz_upload(op->queue, &t, ones);
        const mz_err late = mz_queue_sync(op->queue); /* ones is read until then */
        if (err == MZ_OK) err = late;
    }
    mz_mem_free(ones);
    return err;
}

static mz_err reduce(mz_op *op, const mz_args *args)
{
    const mz_tensor *x = args->reduce.x, *y = args->reduce.y;
    const mz_composed *state = op->state;
    const int64_t A = x->dim[0], B = x->dim[1], C = x->dim[2];
    const mz_tensor ones = mz_view(state->constant, 0, x->dtype, 2, (const int64_t[]){1, B});
    if (op->desc.u.reduce.A_max > 1) {
        const mz_tensor a =
            mz_restride(&ones, 0, (const int64_t[]){A, 1, B}, (const int64_t[]){0, B, 1});
        const mz_tensor c = mz_reshape(y, 3, (const int64_t[]){A, 1, C});
        return mz_part_run(op, DOT, MZ_FORWARD, &(mz_args){.matmul = {.c = &c, .a = &a, .b = x}});
    }
    mz_tensor b = *x;
    b.rank = 2;
    for (int axis = 0; axis < 2; axis++) {
        b.dim[axis] = x->dim[axis + 1];
        b.stride[axis] = x->stride[axis + 1];
    }
    return mz_part_run(op, DOT, MZ_FORWARD, &(mz_args){.matmul = {.c = y, .a = &ones, .b = &b}});
}

const mz_composition mz_compose_sumsq = {.recipe = sumsq_recipe, .slot = {.forward = sumsq}};
const mz_composition mz_compose_reduce = {
    .recipe = reduce_recipe, .prepare = make_ones, .slot = {.forward = reduce}};
