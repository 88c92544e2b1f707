/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose_rows.c - embed and rope by gathering rows of a table.
 *
 * Floor:  chip. */
#include "chip/compose.h"

#include <math.h>

/* ---- embed, forward only: y filled with NaN, then gathered over; the id -1 leaves its NaN ---- */

enum { FILL, GATHER };

static mz_err embed_recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_embed_desc *d = &desc->u.embed;
    int64_t n = 0;
    if (d->stored != MZ_F64)
        return MZ_FAIL(MZ_ENOTSUP, "rows of %s are not gathered", mz_dtype_name(d->stored));
    MZ_TRY(mz_shape_count(2, (const int64_t[]){d->T_max, d->D}, &n));
    const mz_desc fill = mz_desc_elementwise(d->dtype, MZ_EW_FILL, n);
    const mz_desc gather = {.kind = MZ_OP_ROWS,
                            .u.rows = {.dtype = d->dtype, .n_max = d->T_max, .D = d->D}};
    mz_recipe_part(r, FILL, &fill);
    mz_recipe_part(r, GATHER, &gather);
    r->reason = "rows gathered by id; ids must be -1 or in the table";
    return MZ_OK;
}

static mz_err embed(mz_op *op, const mz_args *args)
{
    const mz_tensor *y = args->embed.y;
    mz_args fill = {.elementwise = {.y = y}};
    fill.k.elementwise.alpha = (double)NAN;
    MZ_TRY(mz_part_run(op, FILL, MZ_FORWARD, &fill));
    return mz_part_run(op, GATHER, MZ_FORWARD,
                       &(mz_args){.rows = {.y = y, .x = args->embed.w, .idx = args->embed.ids}});
}

/* ---- rope: four products of halves, one difference, one sum; in acc, rounded once ---- */

enum { TABLE, PRODUCT, MINUS, PLUS, CONVERT, BACK };
/* Scratch: x0 c, x1 s, x1 c, x0 s; cos and sin of the tokens; x in acc. f64 has no scratch left for
 * widened tables: it is not composed. */
enum { X0C, X1S, X1C, X0S, ANGLES, WIDE };

static mz_err rope_recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_rope_desc *d = &desc->u.rope;
    const int64_t half = d->K / 2;
    int64_t n = 0;
    if (mz_dtype_acc(d->dtype) != MZ_F32)
        return MZ_FAIL(MZ_ENOTSUP, "rope is composed in f32, as its tables are");
    MZ_TRY(mz_shape_count(3, (const int64_t[]){d->T_max, d->H, half}, &n));
    const mz_desc table = {.kind = MZ_OP_ROWS,
                           .u.rows = {.dtype = MZ_F32, .n_max = d->T_max, .D = half}};
    const mz_desc product = mz_desc_elementwise(MZ_F32, MZ_EW_MUL, n);
    const mz_desc minus = mz_desc_elementwise(MZ_F32, MZ_EW_AXPY, n);
    const mz_desc plus = mz_desc_elementwise(MZ_F32, MZ_EW_ADD, n);
    mz_recipe_part(r, TABLE, &table);
    mz_recipe_part(r, PRODUCT, &product);
    mz_recipe_part(r, MINUS, &minus);
    mz_recipe_part(r, PLUS, &plus);
    for (int i = X0C; i <= X0S; i++) MZ_TRY(mz_recipe_scratch(r, i, MZ_F32, d->T_max, d->H, half));
    MZ_TRY(mz_recipe_scratch(r, ANGLES, MZ_F32, 2, d->T_max, half));
    r->reason = "table rows gathered, then products and sums";
    if (d->dtype == MZ_F32) return MZ_OK;
    const mz_desc widen = mz_desc_cast(d->dtype, MZ_F32, d->T_max, d->K);
    const mz_desc narrow = mz_desc_cast(MZ_F32, d->dtype, d->T_max, d->K);
    mz_recipe_part(r, CONVERT, &widen);
    mz_recipe_part(r, BACK, &narrow);
    return mz_recipe_scratch(r, WIDE, MZ_F32, d->T_max, d->H, d->K);
}

/* Head h of a [T,H,K] view as rows. */
static mz_tensor head(const mz_tensor *t, int64_t h)
{
    mz_tensor v = *t;
    v.offset_bytes += (size_t)(h * t->stride[1]) * mz_dtype_bytes(t->dtype);
    v.rank = 2;
    v.dim[1] = t->dim[2];
    v.stride[1] = t->stride[2];
    return v;
}

static mz_err cast_heads(const mz_op *op, int part, const mz_tensor *to, const mz_tensor *from)
{
    for (int64_t h = 0; h < from->dim[1]; h++) {
        const mz_tensor y = head(to, h), x = head(from, h);
        MZ_TRY(mz_part_cast(op, part, &y, &x));
    }
    return MZ_OK;
}

/* The first (0) or second (1) numbers of all pairs. */
static mz_tensor pairs(const mz_tensor *t, bool interleaved, int which)
{
    const int64_t half = t->dim[2] / 2;
    return mz_restride(t, which * (interleaved ? 1 : half),
                       (const int64_t[]){t->dim[0], t->dim[1], half},
                       (const int64_t[]){t->stride[0], t->stride[1], interleaved ? 2 : 1});
}

/* cos (0) or sin (1) of each token, the same for all heads. */
static mz_err angles(const mz_op *op, const mz_args *args, int which, const mz_tensor *x,
                     mz_tensor *out)
{
    const int64_t T = x->dim[0], half = x->dim[2] / 2;
    mz_tensor rows = mz_scratch(op, ANGLES, MZ_F32, 2, (const int64_t[]){T, half});
    rows.offset_bytes += (size_t)(which * T * half) * sizeof(float);
    MZ_TRY(mz_part_run(op, TABLE, MZ_FORWARD,
                       &(mz_args){.rows = {.y = &rows,
                                           .x = which ? args->rope.sin : args->rope.cos,
                                           .idx = args->rope.pos}}));
    *out =
        mz_restride(&rows, 0, (const int64_t[]){T, x->dim[1], half}, (const int64_t[]){half, 0, 1});
    return MZ_OK;
}

/* to = from rotated; all four products are made before `to` is written, which may be `from`. */
static mz_err rotate(const mz_op *op, const mz_args *args, const mz_tensor *to,
                     const mz_tensor *from, bool backwards)
{
    const mz_rope_desc *d = &op->desc.u.rope;
    mz_tensor c, s, product[4], wide = *from;
    if (mz_count(from) == 0) return MZ_OK;
    MZ_TRY(angles(op, args, 0, from, &c));
    MZ_TRY(angles(op, args, 1, from, &s));
    if (d->dtype != MZ_F32) {
        wide = mz_scratch(op, WIDE, MZ_F32, 3, from->dim);
        MZ_TRY(cast_heads(op, CONVERT, &wide, from));
    }
    const mz_tensor x0 = pairs(&wide, d->interleaved, 0), x1 = pairs(&wide, d->interleaved, 1);
    for (int i = 0; i < 4; i++) product[i] = mz_scratch(op, X0C + i, MZ_F32, 3, x0.dim);
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &product[X0C], &x0, &c));
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &product[X1S], &x1, &s));
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &product[X1C], &x1, &c));
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &product[X0S], &x0, &s));
    const mz_tensor *result = d->dtype == MZ_F32 ? to : &wide;
    const mz_tensor y0 = pairs(result, d->interleaved, 0), y1 = pairs(result, d->interleaved, 1);
    MZ_TRY(mz_part_elementwise(op, backwards ? PLUS : MINUS, &y0, &product[X0C], &product[X1S]));
    MZ_TRY(mz_part_elementwise(op, backwards ? MINUS : PLUS, &y1, &product[X1C], &product[X0S]));
    return d->dtype == MZ_F32 ? MZ_OK : cast_heads(op, BACK, to, &wide);
}

static mz_err rope(mz_op *op, const mz_args *args)
{
    return rotate(op, args, args->rope.y, args->rope.x, false);
}

static mz_err rope_backward(mz_op *op, const mz_args *args)
{
    return rotate(op, args, args->rope.dx, args->rope.dy, true);
}

const mz_composition mz_compose_embed = {.recipe = embed_recipe, .slot = {.forward = embed}};
const mz_composition mz_compose_rope = {.recipe = rope_recipe,
                                        .slot = {.forward = rope, .backward = rope_backward}};
