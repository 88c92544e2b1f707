/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose_moe.c - a mixture's operators from plainer ones: experts as one matmul for each
 * expert, unpermute from rows, products and sums.
 *
 * Floor:  chip. */
#include "chip/compose.h"

/* ---- experts: the host has to know the offsets, so it waits for them ---- */

enum { ONE };

static mz_err experts_recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_experts_desc *d = &desc->u.experts;
    const mz_desc one = {.kind = MZ_OP_MATMUL,
                         .u.matmul = {.dtype = d->dtype,
                                      .out_dtype = d->dtype,
                                      .M_max = d->T_max,
                                      .N_max = d->N,
                                      .K_max = d->K,
                                      .trans_b = true,
                                      .backward = d->backward,
                                      .stored = d->stored}};
    mz_recipe_part(r, ONE, &one);
    MZ_TRY(mz_shape_bytes(MZ_I32, 1, (const int64_t[]){d->E + 1}, &r->host_bytes));
    r->blocks_host = true;
    r->reason = "one matmul for each expert; the host waits for the offsets";
    return MZ_OK;
}

static mz_err read_offsets(mz_op *op, const mz_tensor *offsets, int64_t T, const int32_t **out)
{
    const mz_composed *c = op->state;
    const int64_t E = op->desc.u.experts.E;
    const int32_t *at = c->host;
    MZ_TRY(mz_download(op->queue, c->host, offsets));
    MZ_TRY(mz_queue_sync(op->queue));
    for (int64_t e = 0; e <= E; e++)
        if (at[e] < (e ? at[e - 1] : 0) || at[e] > T || (e == E && at[e] != T) || at[0] != 0)
            return MZ_FAIL(MZ_ECHIP, "offsets[%lld] is %d, with %lld rows", (long long)e,
                           (int)at[e], (long long)T);
    *out = at;
    return MZ_OK;
}

/* Rows of expert e; its weights [N,K]. */
static mz_tensor rows_of(const mz_tensor *t, const int32_t *at, int64_t e)
{
    return mz_slice(t, 0, at[e], at[e + 1] - at[e]);
}

static mz_tensor weights_of(const mz_tensor *w, int64_t e)
{
    const mz_tensor one = mz_slice(w, 0, e, 1);
    return mz_reshape(&one, 2, &w->dim[1]);
}

static mz_err experts(mz_op *op, const mz_args *args)
{
    const int32_t *at = NULL;
    MZ_TRY(read_offsets(op, args->experts.offsets, args->experts.x->dim[0], &at));
    for (int64_t e = 0; e < op->desc.u.experts.E; e++) {
        if (at[e] == at[e + 1]) continue;
        const mz_tensor y = rows_of(args->experts.y, at, e), x = rows_of(args->experts.x, at, e),
                        w = weights_of(args->experts.w, e);
        MZ_TRY(mz_part_run(op, ONE, MZ_FORWARD, &(mz_args){.matmul = {.c = &y, .a = &x, .b = &w}}));
    }
    return MZ_OK;
}

static mz_err experts_backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *dx = args->experts.dx, *dw = args->experts.dw;
    const int32_t *at = NULL;
    MZ_TRY(read_offsets(op, args->experts.offsets, args->experts.x->dim[0], &at));
    for (int64_t e = 0; e < op->desc.u.experts.E && (dx || dw); e++) {
        if (at[e] == at[e + 1]) continue;
        const mz_tensor dy = rows_of(args->experts.dy, at, e), x = rows_of(args->experts.x, at, e),
                        w = weights_of(args->experts.w, e);
        mz_tensor dxe, dwe;
        mz_args one = {.matmul = {.dc = &dy, .a = &x, .b = &w}};
        if (dx) dxe = rows_of(dx, at, e), one.matmul.da = &dxe;
        if (dw) dwe = weights_of(dw, e), one.matmul.db = &dwe;
        MZ_TRY(mz_part_run(op, ONE, MZ_BACKWARD, &one));
    }
    return MZ_OK;
}

/* ---- unpermute: everything between the rows is in acc ---- */

enum { GATHER, PRODUCT, SUM, ADD, SCATTER, DOTS, WIDEN, NARROW };
/* Scratch: T*k rows in dtype and in acc, T rows in acc, twice. Where dtype is acc, the first and
 * the last are not needed. */
enum { PAIRS, WIDE_PAIRS, TOKENS, BASE };

static bool is_wide(const mz_unpermute_desc *d)
{
    return d->dtype == mz_dtype_acc(d->dtype);
}

static mz_desc sum_of(mz_dtype acc, int64_t A, int64_t B, int64_t C)
{
    return (mz_desc){
        .kind = MZ_OP_REDUCE,
        .u.reduce = {.dtype = acc, .out_dtype = acc, .A_max = A, .B_max = B, .C_max = C}};
}

static mz_desc rows_of_pairs(const mz_unpermute_desc *d, bool scatter)
{
    return (mz_desc){
        .kind = MZ_OP_ROWS,
        .u.rows = {.dtype = d->dtype, .n_max = d->T_max * d->k, .D = d->D, .scatter = scatter}};
}

static mz_err unpermute_recipe(const mz_desc *desc, mz_recipe *r)
{
    const mz_unpermute_desc *d = &desc->u.unpermute;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    int64_t n = 0;
    MZ_TRY(mz_shape_count(3, (const int64_t[]){d->T_max, d->k, d->D}, &n));
    const mz_desc gather = rows_of_pairs(d, false), scatter = rows_of_pairs(d, true);
    const mz_desc product = mz_desc_elementwise(acc, MZ_EW_MUL, n);
    const mz_desc add = mz_desc_elementwise(acc, MZ_EW_ADD, d->T_max * d->D);
    const mz_desc sum = sum_of(acc, d->T_max, d->k, d->D),
                  dots = sum_of(acc, d->T_max * d->k, d->D, 1);
    const mz_desc widen = mz_desc_cast(d->dtype, acc, d->T_max * d->k, d->D);
    const mz_desc narrow = mz_desc_cast(acc, d->dtype, d->T_max * d->k, d->D);
    mz_recipe_part(r, GATHER, &gather);
    mz_recipe_part(r, PRODUCT, &product);
    mz_recipe_part(r, SUM, &sum);
    mz_recipe_part(r, ADD, &add);
    if (d->backward) mz_recipe_part(r, SCATTER, &scatter);
    if (d->backward) mz_recipe_part(r, DOTS, &dots);
    if (!is_wide(d)) mz_recipe_part(r, WIDEN, &widen);
    if (!is_wide(d)) mz_recipe_part(r, NARROW, &narrow);
    r->reason = "rows gathered, weighted and summed one after the other";
    MZ_TRY(mz_recipe_scratch(r, WIDE_PAIRS, acc, d->T_max, d->k, d->D));
    MZ_TRY(mz_recipe_scratch(r, TOKENS, acc, 1, d->T_max, d->D));
    if (is_wide(d)) return MZ_OK;
    MZ_TRY(mz_recipe_scratch(r, PAIRS, d->dtype, d->T_max, d->k, d->D));
    return mz_recipe_scratch(r, BASE, acc, 1, d->T_max, d->D);
}

/* One call's views. */
typedef struct pairs {
    mz_tensor wide;     /* [T*k,D] acc */
    mz_tensor by_token; /* the same as [T,k,D] */
    mz_tensor weights;  /* [T,k,D], each weight repeated D times */
    mz_tensor idx;      /* row_of as [T*k] */
} pairs;

static pairs pairs_of(const mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    const mz_tensor *row_of = args->unpermute.row_of;
    const int64_t T = row_of->dim[0], k = d->k, D = d->D, TkD[3] = {T, k, D};
    pairs p;
    p.wide = mz_scratch(op, WIDE_PAIRS, mz_dtype_acc(d->dtype), 2, (const int64_t[]){T * k, D});
    p.by_token = mz_reshape(&p.wide, 3, TkD);
    p.weights = mz_restride(args->unpermute.weights, 0, TkD, (const int64_t[]){k, 1, 0});
    p.idx = mz_reshape(row_of, 1, (const int64_t[]){T * k});
    return p;
}

/* p.wide = the rows of z, in acc. */
static mz_err gather_wide(const mz_op *op, const mz_args *args, const pairs *p)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    const mz_tensor rows = is_wide(d) ? p->wide : mz_scratch(op, PAIRS, d->dtype, 2, p->wide.dim);
    MZ_TRY(mz_part_run(op, GATHER, MZ_FORWARD,
                       &(mz_args){.rows = {.y = &rows, .x = args->unpermute.z, .idx = &p->idx}}));
    return is_wide(d) ? MZ_OK : mz_part_cast(op, WIDEN, &p->wide, &rows);
}

/* y = base + sum_j weights z; base in acc only while it is added. */
static mz_err unpermute(mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    const mz_tensor *y = args->unpermute.y, *base = args->unpermute.base;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const pairs p = pairs_of(op, args);
    const mz_tensor sum = mz_scratch(op, TOKENS, acc, 2, y->dim);
    MZ_TRY(gather_wide(op, args, &p));
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &p.by_token, &p.by_token, &p.weights));
    const mz_tensor *to = is_wide(d) && !base ? y : &sum;
    MZ_TRY(mz_part_run(op, SUM, MZ_FORWARD, &(mz_args){.reduce = {.y = to, .x = &p.by_token}}));
    if (is_wide(d)) return base ? mz_part_elementwise(op, ADD, y, base, &sum) : MZ_OK;
    if (base) {
        const mz_tensor wide_base = mz_scratch(op, BASE, acc, 2, y->dim);
        MZ_TRY(mz_part_cast(op, WIDEN, &wide_base, base));
        MZ_TRY(mz_part_elementwise(op, ADD, &sum, &wide_base, &sum));
    }
    return mz_part_cast(op, NARROW, y, &sum);
}

/* dz[row_of] = weights dy;  dweights = dy . z */
static mz_err unpermute_backward(mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    const mz_tensor *dy = args->unpermute.dy, *dz = args->unpermute.dz;
    const pairs p = pairs_of(op, args);
    const int64_t D = d->D, n = p.wide.dim[0];
    mz_tensor tokens = *dy;
    if (!is_wide(d)) {
        tokens = mz_scratch(op, TOKENS, mz_dtype_acc(d->dtype), 2, dy->dim);
        MZ_TRY(mz_part_cast(op, WIDEN, &tokens, dy));
    }
    const mz_tensor repeated =
        mz_restride(&tokens, 0, p.by_token.dim, (const int64_t[]){tokens.stride[0], 0, 1});
    const mz_tensor terms =
        mz_restride(&p.wide, 0, (const int64_t[]){n, D, 1}, (const int64_t[]){D, 1, 1});
    const mz_tensor dots = mz_reshape(args->unpermute.dweights, 2, (const int64_t[]){n, 1});
    MZ_TRY(gather_wide(op, args, &p)); /* dz may stand on z: it is read first */
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &p.by_token, &p.by_token, &repeated));
    MZ_TRY(mz_part_run(op, DOTS, MZ_FORWARD, &(mz_args){.reduce = {.y = &dots, .x = &terms}}));
    MZ_TRY(mz_part_elementwise(op, PRODUCT, &p.by_token, &repeated, &p.weights));
    mz_tensor rows = p.wide;
    if (!is_wide(d)) {
        rows = mz_scratch(op, PAIRS, d->dtype, 2, p.wide.dim);
        MZ_TRY(mz_part_cast(op, NARROW, &rows, &p.wide));
    }
    return mz_part_run(op, SCATTER, MZ_FORWARD,
                       &(mz_args){.rows = {.y = dz, .x = &rows, .idx = &p.idx}});
}

const mz_composition mz_compose_experts = {
    .recipe = experts_recipe, .slot = {.forward = experts, .backward = experts_backward}};
const mz_composition mz_compose_unpermute = {
    .recipe = unpermute_recipe, .slot = {.forward = unpermute, .backward = unpermute_backward}};
