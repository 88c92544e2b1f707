/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_moe.c - router, permute, unpermute, experts.
 *
 * Equal scores go to the lower id, which the fused gate does not promise: the choice is made by
 * stable sorts. Ids are sorted as f32, which holds them exactly below 2^24.
 *
 * Floor:  chips. */
#include "chips/ascend/soc.h"
#include "chips/ascend/state.h"

#include <math.h>

enum { EXACT = 1 << 24 };

/* ---- router; saved: the scores [T,E] ---- */

/* For each element its place in the descending order of the last axis. */
static mz_nv ranks_of(mz_npu *n, mz_nv x)
{
    const mz_nv values = mz_npu_like(n, &x, ACL_FLOAT), order = mz_npu_like(n, &x, ACL_INT64);
    const mz_nv rank = mz_npu_like(n, &x, ACL_INT64);
    mz_npu_sort(n, x, true, values, order);
    const mz_nv places = mz_npu_f32(n, order);
    mz_npu_sort(n, places, false, values, rank);
    return rank;
}

/* c [T,E] with the scores of groups that are not kept at -inf. */
static mz_nv keep_groups(mz_npu *n, const mz_router_desc *d, mz_nv c)
{
    const int64_t T = c.dim[0], size = d->E / d->groups;
    const int64_t grouped[] = {T, d->groups, size}, one[] = {1};
    const mz_nv c3 = mz_nv_shape(c, 3, grouped);
    const mz_nv sorted = mz_npu_like(n, &c3, ACL_FLOAT), order = mz_npu_like(n, &c3, ACL_INT64);
    const mz_nv value = mz_npu_new(n, ACL_FLOAT, 2, grouped),
                low = mz_npu_new(n, ACL_FLOAT, 1, one);
    const mz_nv out = mz_npu_like(n, &c3, ACL_FLOAT), kept = mz_npu_new(n, ACL_BOOL, 2, grouped);
    mz_npu_sort(n, c3, true, sorted, order);
    mz_nv first = mz_nv_slice(sorted, 2, 0, 1), second = sorted;
    first.rank = 2;
    mz_npu_copy(n, value, first);
    if (d->group == MZ_GROUP_TOP2_SUM && size > 1) {
        second = mz_nv_slice(sorted, 2, 1, 1);
        second.rank = 2;
        mz_npu_add_to(n, value, second);
    }
    const mz_nv rank = ranks_of(n, value);
    MZ_NPU(n, LtScalar, mz_npu_t(n, &rank), mz_npu_s(n, (double)d->groups_kept, ACL_INT32),
           mz_npu_t(n, &kept));
    mz_npu_fill(n, low, -(double)INFINITY);
    const mz_nv wide = mz_nv_insert(kept, 2, size);
    MZ_NPU(n, SWhere, mz_npu_t(n, &wide), mz_npu_t(n, &c3), mz_npu_t(n, &low), mz_npu_t(n, &out));
    return mz_nv_shape(out, 2, c.dim);
}

static void choose(mz_npu *n, const mz_router_desc *d, mz_nv c, mz_nv ids)
{
    const mz_nv from = d->groups > 1 ? keep_groups(n, d, c) : c;
    const mz_nv sorted = mz_npu_like(n, &c, ACL_FLOAT), order = mz_npu_like(n, &c, ACL_INT64);
    const mz_nv best = mz_npu_like(n, &ids, ACL_FLOAT), rising = mz_npu_like(n, &ids, ACL_FLOAT);
    const mz_nv unused = mz_npu_like(n, &ids, ACL_INT64);
    mz_npu_sort(n, from, true, sorted, order);
    mz_npu_cast(n, mz_nv_slice(order, 1, 0, d->k), best);
    mz_npu_sort(n, best, false, rising, unused);
    mz_npu_cast(n, rising, ids);
}

/* w[t,j] = s[t, ids[t,j]], where there is no Gather: a sum over all with one that counts. */
static void pick_by_sums(mz_npu *n, mz_nv s, mz_nv ids, mz_nv w)
{
    const int64_t E = s.dim[1], dims[] = {ids.dim[0], ids.dim[1], E};
    const mz_nv e = mz_npu_new(n, ACL_INT32, 1, &E), is = mz_npu_new(n, ACL_BOOL, 3, dims);
    const mz_nv part = mz_npu_new(n, ACL_FLOAT, 3, dims);
    const mz_nv left = mz_nv_insert(ids, 2, E);
    const mz_nv right = mz_nv_insert(mz_nv_insert(e, 0, dims[1]), 0, dims[0]);
    mz_npu_count_up(n, e);
    MZ_NPU(n, EqTensor, mz_npu_t(n, &left), mz_npu_t(n, &right), mz_npu_t(n, &is));
    mz_npu_cast(n, is, part);
    mz_npu_mul(n, part, mz_nv_insert(s, 1, dims[1]), part);
    mz_npu_sum(n, part, 2, w);
}

/* The chosen scores [T,k], and their sums [T,1] + 1e-20, repeated k times. */
static mz_nv chosen_of(mz_npu *n, mz_nv s, mz_nv ids, mz_nv *sum)
{
    const mz_nv index = mz_npu_like(n, &ids, ACL_INT64), w = mz_npu_like(n, &ids, ACL_FLOAT);
    const mz_nv all = mz_npu_new(n, ACL_FLOAT, 1, ids.dim);
    if (n->chip->soc->is_next) {
        pick_by_sums(n, s, ids, w);
    } else {
        mz_npu_cast(n, ids, index);
        MZ_NPU(n, Gather, mz_npu_t(n, &s), 1, mz_npu_t(n, &index), mz_npu_t(n, &w));
    }
    mz_npu_sum(n, w, 1, all);
    MZ_NPU(n, Adds, mz_npu_t(n, &all), mz_npu_s(n, 1e-20, ACL_FLOAT), mz_npu_s(n, 1.0, ACL_FLOAT),
           mz_npu_t(n, &all));
    *sum = mz_nv_insert(all, 1, ids.dim[1]);
    return w;
}

static void divide(mz_npu *n, mz_nv a, mz_nv b, mz_nv out)
{
    MZ_NPU(n, Div, mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &out));
}

static mz_nv scores_of(mz_nv saved, int64_t T, int64_t E)
{
    saved.type = ACL_FLOAT;
    saved.at /= (int64_t)sizeof(float);
    return mz_nv_shape(saved, 2, (const int64_t[]){T, E});
}

static void router(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_router_desc *d = &desc->u.router;
    const mz_nv logits = mz_nv_of(args->router.logits), bias = mz_nv_of(args->router.bias);
    const mz_nv ids = mz_nv_of(args->router.ids), probs = mz_nv_of(args->router.probs);
    const mz_nv weights = mz_nv_of(args->router.weights), saved = mz_nv_of(args->router.saved);
    const int64_t T = logits.dim[0];
    const bool is_kept = saved.base && n->queue; /* a plan books for a call without saved too */
    const mz_nv s = is_kept ? scores_of(saved, T, d->E) : mz_npu_like(n, &logits, ACL_FLOAT);
    const mz_nv c = bias.base ? mz_npu_like(n, &s, ACL_FLOAT) : s;
    mz_nv sum = s;
    if (d->score == MZ_SCORE_SOFTMAX)
        MZ_NPU(n, Softmax, mz_npu_t(n, &logits), 1, mz_npu_t(n, &s));
    else
        MZ_NPU(n, Sigmoid, mz_npu_t(n, &logits), mz_npu_t(n, &s));
    if (bias.base) mz_npu_add(n, s, bias, 1.0, c);
    if (!d->forced) choose(n, d, c, ids);
    const mz_nv w = chosen_of(n, s, ids, &sum);
    if (d->normalise) divide(n, w, sum, w);
    mz_npu_scale(n, w, d->factor, weights);
    if (!probs.base) return;
    if (d->score == MZ_SCORE_SOFTMAX) {
        mz_npu_copy(n, probs, s);
        return;
    }
    const mz_nv all = mz_npu_new(n, ACL_FLOAT, 1, &T);
    mz_npu_sum(n, s, 1, all);
    divide(n, s, mz_nv_insert(all, 1, d->E), probs);
}

/* ds from probs: dprobs, for sigmoid (dprobs - sum dprobs s / sum s) / sum s. */
static mz_nv from_probs(mz_npu *n, const mz_router_desc *d, mz_nv s, mz_nv dprobs)
{
    const mz_nv ds = mz_npu_like(n, &s, ACL_FLOAT);
    if (!dprobs.base) {
        mz_npu_fill(n, ds, 0.0);
        return ds;
    }
    if (d->score == MZ_SCORE_SOFTMAX) {
        mz_npu_copy(n, ds, dprobs);
        return ds;
    }
    const mz_nv all = mz_npu_new(n, ACL_FLOAT, 1, s.dim), dot = mz_npu_new(n, ACL_FLOAT, 1, s.dim);
    mz_npu_sum(n, s, 1, all);
    mz_npu_mul(n, dprobs, s, ds);
    mz_npu_sum(n, ds, 1, dot);
    divide(n, dot, all, dot);
    mz_npu_add(n, dprobs, mz_nv_insert(dot, 1, d->E), -1.0, ds);
    divide(n, ds, mz_nv_insert(all, 1, d->E), ds);
    return ds;
}

/* d of the chosen scores: (dw - sum dw share) factor / sum, or dw factor. */
static mz_nv from_weights(mz_npu *n, const mz_router_desc *d, mz_nv s, mz_nv ids, mz_nv dw)
{
    const mz_nv out = mz_npu_like(n, &ids, ACL_FLOAT), dot = mz_npu_new(n, ACL_FLOAT, 1, ids.dim);
    mz_nv sum = s;
    if (!d->normalise) {
        mz_npu_scale(n, dw, d->factor, out);
        return out;
    }
    const mz_nv w = chosen_of(n, s, ids, &sum);
    divide(n, w, sum, w);
    mz_npu_mul(n, dw, w, w);
    mz_npu_sum(n, w, 1, dot);
    mz_npu_add(n, dw, mz_nv_insert(dot, 1, d->k), -1.0, out);
    divide(n, out, sum, out);
    mz_npu_scale(n, out, d->factor, out);
    return out;
}

static void router_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_router_desc *d = &desc->u.router;
    const mz_nv ids = mz_nv_of(args->router.ids), dlogits = mz_nv_of(args->router.dlogits);
    const mz_nv dweights = mz_nv_of(args->router.dweights);
    const mz_nv s = scores_of(mz_nv_of(args->router.saved), dlogits.dim[0], d->E);
    const mz_nv ds = from_probs(n, d, s, mz_nv_of(args->router.dprobs));
    const mz_nv index = mz_npu_like(n, &ids, ACL_INT64), sum = mz_npu_like(n, &ds, ACL_FLOAT);
    const mz_nv part = from_weights(n, d, s, ids, dweights);
    mz_npu_cast(n, ids, index);
    MZ_NPU(n, ScatterAdd, mz_npu_t(n, &ds), 1, mz_npu_t(n, &index), mz_npu_t(n, &part),
           mz_npu_t(n, &sum));
    if (d->score == MZ_SCORE_SOFTMAX)
        MZ_NPU(n, SoftmaxBackward, mz_npu_t(n, &sum), mz_npu_t(n, &s), 1, mz_npu_t(n, &dlogits));
    else
        MZ_NPU(n, SigmoidBackward, mz_npu_t(n, &sum), mz_npu_t(n, &s), mz_npu_t(n, &dlogits));
}

static size_t router_saved(const mz_desc *desc)
{
    return (size_t)(desc->u.router.T_max * desc->u.router.E) * sizeof(float);
}

static mz_err refuse_router(const mz_desc *desc)
{
    const mz_router_desc *d = &desc->u.router;
    if (d->group == MZ_GROUP_MAX || d->groups == 1 || d->E / d->groups > 1) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "ascend sums the two largest of groups of two experts or more");
}

const mz_ascend_op mz_ascend_router = {
    .forward = router, .backward = router_backward, .saved = router_saved, .refuse = refuse_router};

/* ---- permute ---- */

/* The inverse of a permutation of n INT64 numbers. */
static mz_nv inverse_of(mz_npu *n, mz_nv order)
{
    const mz_nv places = mz_npu_f32(n, order), unused = mz_npu_like(n, &order, ACL_FLOAT);
    const mz_nv inverse = mz_npu_like(n, &order, ACL_INT64);
    mz_npu_sort(n, places, false, unused, inverse);
    return inverse;
}

/* offsets[e] = how many ids are below e. */
static void count_below(mz_npu *n, mz_nv flat, mz_nv offsets)
{
    const int64_t E1 = offsets.dim[0], dims[] = {E1, flat.dim[0]};
    const mz_nv e = mz_npu_new(n, ACL_INT32, 1, &E1), below = mz_npu_new(n, ACL_BOOL, 2, dims);
    const mz_nv ones = mz_npu_new(n, ACL_INT32, 2, dims);
    const mz_nv left = mz_nv_insert(flat, 0, E1), right = mz_nv_insert(e, 1, flat.dim[0]);
    mz_npu_count_up(n, e);
    MZ_NPU(n, LtTensor, mz_npu_t(n, &left), mz_npu_t(n, &right), mz_npu_t(n, &below));
    mz_npu_cast(n, below, ones);
    mz_npu_sum(n, ones, 1, offsets);
}

static void permute(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv x = mz_nv_of(args->permute.x), y = mz_nv_of(args->permute.y);
    const mz_nv ids = mz_nv_of(args->permute.ids), row_of = mz_nv_of(args->permute.row_of);
    const int64_t T = x.dim[0], pairs = T * desc->u.permute.k;
    const mz_nv offsets = mz_nv_of(args->permute.offsets), flat = mz_nv_shape(ids, 1, &pairs);
    if (pairs == 0) {
        mz_npu_fill(n, offsets, 0.0);
        return;
    }
    const mz_nv sorted = mz_npu_new(n, ACL_FLOAT, 1, &pairs);
    const mz_nv order = mz_npu_new(n, ACL_INT64, 1, &pairs),
                table = mz_npu_like(n, &ids, ACL_INT32);
    const mz_nv tokens = mz_npu_new(n, ACL_INT32, 1, &T),
                token = mz_npu_new(n, ACL_INT32, 1, &pairs);
    mz_npu_sort(n, mz_npu_f32(n, flat), false, sorted, order);
    mz_npu_count_up(n, tokens);
    mz_npu_copy(n, table, mz_nv_insert(tokens, 1, desc->u.permute.k));
    mz_npu_select(n, mz_nv_shape(table, 1, &pairs), order, token);
    mz_npu_select(n, x, token, y);
    mz_npu_cast(n, inverse_of(n, order), mz_nv_shape(row_of, 1, &pairs));
    count_below(n, flat, offsets);
}

/* Rows of z for each pair, f32 [T,k,D]. */
static mz_nv rows_for_pairs(mz_npu *n, mz_nv z, mz_nv row_of)
{
    const int64_t pairs = mz_nv_count(&row_of), D = z.dim[1], dims[] = {pairs, D};
    const int64_t split[] = {row_of.dim[0], row_of.dim[1], D};
    const mz_nv rows = mz_npu_new(n, z.type, 2, dims);
    mz_npu_select(n, z, mz_nv_shape(row_of, 1, &pairs), rows);
    return mz_nv_shape(mz_npu_f32(n, rows), 3, split);
}

static void permute_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv dx = mz_nv_of(args->permute.dx), dy = mz_nv_of(args->permute.dy);
    const mz_nv sum = mz_npu_like(n, &dx, ACL_FLOAT);
    (void)desc;
    if (mz_nv_count(&dx) == 0) return;
    mz_npu_sum(n, rows_for_pairs(n, dy, mz_nv_of(args->permute.row_of)), 1, sum);
    mz_npu_cast(n, sum, dx);
}

static mz_err refuse_permute(const mz_desc *desc)
{
    const mz_permute_desc *d = &desc->u.permute;
    if (d->T_max * d->k < EXACT) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "ascend sorts fewer than 2^24 pairs of token and expert at once");
}

const mz_ascend_op mz_ascend_permute = {
    .forward = permute, .backward = permute_backward, .refuse = refuse_permute};

/* ---- unpermute ---- */

static void unpermute(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv y = mz_nv_of(args->unpermute.y), base = mz_nv_of(args->unpermute.base);
    const mz_nv weights = mz_nv_of(args->unpermute.weights), z = mz_nv_of(args->unpermute.z);
    const mz_nv sum = mz_npu_like(n, &y, ACL_FLOAT);
    (void)desc;
    if (mz_nv_count(&y) == 0) return;
    const mz_nv rows = rows_for_pairs(n, z, mz_nv_of(args->unpermute.row_of));
    mz_npu_mul(n, rows, mz_nv_insert(weights, 2, z.dim[1]), rows);
    mz_npu_sum(n, rows, 1, sum);
    if (base.base) mz_npu_add_to(n, sum, mz_npu_f32(n, base));
    mz_npu_cast(n, sum, y);
}

static void unpermute_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv dy = mz_npu_f32(n, mz_nv_of(args->unpermute.dy)), z = mz_nv_of(args->unpermute.z);
    const mz_nv dz = mz_nv_of(args->unpermute.dz), weights = mz_nv_of(args->unpermute.weights);
    const mz_nv row_of = mz_nv_of(args->unpermute.row_of);
    const mz_nv dweights = mz_nv_of(args->unpermute.dweights);
    const int64_t pairs = mz_nv_count(&row_of), D = z.dim[1], flat[] = {pairs, D};
    (void)desc;
    if (pairs == 0) return;
    const mz_nv rows = rows_for_pairs(n, z, row_of), dy3 = mz_nv_insert(dy, 1, row_of.dim[1]);
    mz_npu_mul(n, rows, dy3, rows);
    if (dweights.base) mz_npu_sum(n, rows, 2, dweights);
    if (!dz.base || D == 0) return;
    mz_npu_mul(n, mz_nv_insert(weights, 2, D), dy3, rows);
    const mz_nv index = mz_npu_new(n, ACL_INT64, 1, &pairs),
                out = mz_npu_new(n, ACL_FLOAT, 2, flat);
    mz_npu_cast(n, mz_nv_shape(row_of, 1, &pairs), index);
    mz_npu_select(n, mz_nv_shape(rows, 2, flat), inverse_of(n, index), out);
    mz_npu_cast(n, out, dz);
}

static mz_err refuse_unpermute(const mz_desc *desc)
{
    const mz_unpermute_desc *d = &desc->u.unpermute;
    if (d->T_max * d->k < EXACT) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "ascend sorts fewer than 2^24 pairs of token and expert at once");
}

const mz_ascend_op mz_ascend_unpermute = {
    .forward = unpermute, .backward = unpermute_backward, .refuse = refuse_unpermute};

/* ---- experts ---- */

enum { SPLIT_ROWS = 0, SPLIT_SUMS = 2, ONE_OUTPUT = 3, CUMULATIVE = 0 };

static void grouped(mz_npu *n, mz_nv x, mz_nv w, mz_nv ends, int64_t type, mz_nv y)
{
    MZ_NPU(n, GroupedMatmulV4, mz_npu_l(n, &x), mz_npu_l(n, &w), NULL, NULL, NULL, NULL, NULL, NULL,
           mz_npu_t(n, &ends), NULL, NULL, NULL, ONE_OUTPUT, type, CUMULATIVE, 0, mz_npu_l(n, &y),
           NULL, NULL);
}

/* offsets[1 ..] as the operator wants them. */
static mz_nv ends_of(mz_npu *n, mz_nv offsets)
{
    const mz_nv tail = mz_nv_slice(offsets, 0, 1, offsets.dim[0] - 1);
    const mz_nv ends = mz_npu_like(n, &tail, ACL_INT64);
    mz_npu_cast(n, tail, ends);
    return ends;
}

static void experts(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv y = mz_nv_of(args->experts.y), x = mz_nv_of(args->experts.x);
    const mz_nv w = mz_nv_of(args->experts.w);
    const mz_nv ends = ends_of(n, mz_nv_of(args->experts.offsets)), out = mz_npu_out(n, y, false);
    (void)desc;
    if (mz_nv_count(&y) == 0) return;
    grouped(n, x, mz_nv_swap(w, 1, 2), ends, SPLIT_ROWS, out);
    mz_npu_land(n, y, out);
}

/* dw in f32 whatever the dtype: bf16 sums would be rounded before they are added. */
static void experts_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv dy = mz_nv_of(args->experts.dy), x = mz_nv_of(args->experts.x);
    const mz_nv w = mz_nv_of(args->experts.w), dx = mz_nv_of(args->experts.dx);
    const mz_nv dw = mz_nv_of(args->experts.dw);
    const mz_nv ends = ends_of(n, mz_nv_of(args->experts.offsets));
    (void)desc;
    if (mz_nv_count(&dx) > 0) {
        const mz_nv out = mz_npu_out(n, dx, false);
        grouped(n, dy, w, ends, SPLIT_ROWS, out);
        mz_npu_land(n, dx, out);
    }
    if (mz_nv_count(&dw) == 0 || mz_nv_count(&x) == 0) return;
    const mz_nv sum = mz_npu_like(n, &dw, ACL_FLOAT);
    mz_npu_fill(n, sum, 0.0);
    grouped(n, mz_nv_swap(mz_npu_f32(n, dy), 0, 1), mz_npu_f32(n, x), ends, SPLIT_SUMS, sum);
    mz_npu_add_to(n, dw, sum);
}

static mz_err refuse_experts(const mz_desc *desc)
{
    const mz_experts_desc *d = &desc->u.experts;
    if (d->E <= 1024 && d->N < 65536 && d->K < 65536 && d->N > 0 && d->K > 0 && d->E > 0)
        return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "CANN's grouped product takes 1 to 1024 experts of widths from 1 to "
                               "65535");
}

const mz_ascend_op mz_ascend_experts = {
    .forward = experts, .backward = experts_backward, .refuse = refuse_experts};
