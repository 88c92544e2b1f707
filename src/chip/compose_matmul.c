/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose_matmul.c - matmul from plainer matmuls: a batch one by one; bias and accumulation by
 * elementwise sums in acc, rounded once at the end.
 *
 * Floor:  chip. */
#include "chip/compose.h"

/* Parts. A batch has ONE only. */
enum { ONE, BACK, ADD, WIDEN, NARROW, SUM };
/* Scratch: the product, and c widened. */
enum { PRODUCT, WIDE };

static mz_err batch_recipe(const mz_matmul_desc *d, mz_recipe *r)
{
    mz_desc one = {.kind = MZ_OP_MATMUL, .u.matmul = *d};
    one.u.matmul.batch_max = 0;
    mz_recipe_part(r, ONE, &one);
    r->reason = "one matmul for each matrix of the batch";
    return MZ_OK;
}

static bool is_wide(const mz_matmul_desc *d)
{
    return d->out_dtype == mz_dtype_acc(d->dtype);
}

static mz_err epilogue_recipe(const mz_matmul_desc *d, mz_recipe *r)
{
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const int64_t M = d->M_max, N = d->N_max;
    int64_t n = 0;
    mz_desc one = {.kind = MZ_OP_MATMUL, .u.matmul = *d};
    one.u.matmul.bias = one.u.matmul.accumulate = false;
    mz_desc back = one;
    one.u.matmul.backward = false;
    one.u.matmul.out_dtype = acc;
    MZ_TRY(mz_shape_count(2, (const int64_t[]){M, N}, &n));
    mz_recipe_part(r, ONE, &one);
    const mz_desc add = mz_desc_elementwise(acc, MZ_EW_ADD, n);
    const mz_desc widen = mz_desc_cast(d->out_dtype, acc, M, N);
    const mz_desc narrow = mz_desc_cast(acc, d->out_dtype, M, N);
    mz_recipe_part(r, ADD, &add);
    if (d->backward) mz_recipe_part(r, BACK, &back);
    if (!is_wide(d)) mz_recipe_part(r, NARROW, &narrow);
    if (!is_wide(d) && d->accumulate) mz_recipe_part(r, WIDEN, &widen);
    if (d->bias && d->backward) {
        const mz_desc sum = {.kind = MZ_OP_REDUCE,
                             .u.reduce = {.dtype = d->out_dtype,
                                          .out_dtype = acc,
                                          .A_max = 1,
                                          .B_max = M,
                                          .C_max = N,
                                          .accumulate = true}};
        mz_recipe_part(r, SUM, &sum);
    }
    if (!is_wide(d) || d->accumulate) MZ_TRY(mz_recipe_scratch(r, PRODUCT, acc, 1, M, N));
    if (!is_wide(d) && d->accumulate) MZ_TRY(mz_recipe_scratch(r, WIDE, acc, 1, M, N));
    r->reason =
        d->accumulate ? "a plain matmul, then elementwise sums" : "a plain matmul, then bias";
    return MZ_OK;
}

static mz_err recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    if (d->packed) return MZ_FAIL(MZ_ENOTSUP, "packed weights are the chip's own");
    if (d->batch_max > 0) return batch_recipe(d, r);
    if (d->bias || d->accumulate) return epilogue_recipe(d, r);
    return MZ_FAIL(MZ_ENOTSUP, "a plain matmul is composed of nothing");
}

/* Matrix i of a batch. */
static mz_tensor matrix(const mz_tensor *t, int64_t i)
{
    mz_tensor m = *t;
    m.offset_bytes += (size_t)(i * t->stride[0]) * mz_dtype_bytes(t->dtype);
    m.rank = 2;
    for (int axis = 0; axis < 2; axis++) {
        m.dim[axis] = t->dim[axis + 1];
        m.stride[axis] = t->stride[axis + 1];
    }
    return m;
}

static mz_err run_batch(mz_op *op, const mz_args *args)
{
    for (int64_t i = 0; i < args->matmul.c->dim[0]; i++) {
        const mz_tensor c = matrix(args->matmul.c, i), a = matrix(args->matmul.a, i),
                        b = matrix(args->matmul.b, i);
        MZ_TRY(mz_part_run(
            op, ONE, MZ_FORWARD,
            &(mz_args){.matmul = {.c = &c, .a = &a, .b = &b, .bias = args->matmul.bias}}));
    }
    return MZ_OK;
}

/* sum += bias on every row */
static mz_err add_bias(const mz_op *op, const mz_tensor *sum, const mz_tensor *bias)
{
    mz_tensor rows = *sum;
    rows.buf = bias->buf;
    rows.offset_bytes = bias->offset_bytes;
    rows.stride[0] = 0;
    rows.stride[1] = 1;
    return mz_part_elementwise(op, ADD, sum, sum, &rows);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *c = args->matmul.c;
    if (d->batch_max > 0) return run_batch(op, args);
    const bool direct = is_wide(d) && !d->accumulate;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const mz_tensor sum = direct ? *c : mz_scratch(op, PRODUCT, acc, 2, c->dim);
    MZ_TRY(
        mz_part_run(op, ONE, MZ_FORWARD,
                    &(mz_args){.matmul = {.c = &sum, .a = args->matmul.a, .b = args->matmul.b}}));
    if (d->bias) MZ_TRY(add_bias(op, &sum, args->matmul.bias));
    if (direct) return MZ_OK;
    if (is_wide(d)) return mz_part_elementwise(op, ADD, c, c, &sum);
    if (d->accumulate) {
        const mz_tensor was = mz_scratch(op, WIDE, acc, 2, c->dim);
        MZ_TRY(mz_part_cast(op, WIDEN, &was, c));
        MZ_TRY(mz_part_elementwise(op, ADD, &sum, &was, &sum));
    }
    return mz_part_cast(op, NARROW, c, &sum);
}

/* dbias += the sum of dc's rows; the rest is a plain matmul's. */
static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *dc = args->matmul.dc, *dbias = args->matmul.dbias;
    const mz_tensor *da = args->matmul.da, *db = args->matmul.db;
    if ((da && mz_count(da)) || (db && mz_count(db))) {
        mz_args plain = *args;
        plain.matmul.bias = plain.matmul.dbias = NULL;
        MZ_TRY(mz_part_run(op, BACK, MZ_BACKWARD, &plain));
    }
    if (!dbias || mz_count(dc) == 0) return MZ_OK;
    const int64_t N = dc->dim[1];
    const mz_tensor y = mz_reshape(dbias, 2, (const int64_t[]){1, N});
    const mz_tensor x = mz_restride(dc, 0, (const int64_t[]){1, dc->dim[0], N},
                                    (const int64_t[]){0, dc->stride[0], 1});
    return mz_part_run(op, SUM, MZ_FORWARD, &(mz_args){.reduce = {.y = &y, .x = &x}});
}

const mz_composition mz_compose_matmul = {.recipe = recipe,
                                          .slot = {.forward = forward, .backward = backward}};
