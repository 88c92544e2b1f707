/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/attention.c - softmax attention over packed sequences.
 *
 *   p[t,h,s] = softmax_s(scale q[t,h].k[s,g])    out[t,h] = sum_s p[t,h,s] v[s,g]    g = h / (H/G)
 *
 * s runs over the tokens of t's own sequence, up to t if causal.
 * saved holds log(sum_s exp(scale q.k)) of each (t,h). Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

/* One call: the tensors and the numbers that every step needs. */
typedef struct attention {
    const mz_attention_desc *d;
    const mz_tensor *q, *k, *v;
    int64_t group; /* heads that share a key */
    int64_t start, end;
} attention;

static double score(const attention *a, int64_t t, int64_t h, int64_t s)
{
    double sum = 0.0;
    for (int64_t i = 0; i < a->d->K; i++) sum += at3(a->q, t, h, i) * at3(a->k, s, h / a->group, i);
    return a->d->scale * sum;
}

/* One past the last token that t sees. */
static int64_t seen_by(const attention *a, int64_t t)
{
    return a->d->causal ? t + 1 : a->end;
}

/* out[t,h]; p is scratch for one row of probabilities. Returns the logarithm of the denominator. */
static double forward_row(const attention *a, const mz_tensor *out, int64_t t, int64_t h, double *p)
{
    const int64_t n = seen_by(a, t) - a->start;
    double max = -(double)INFINITY, sum = 0.0;
    for (int64_t s = 0; s < n; s++) {
        p[s] = score(a, t, h, a->start + s);
        if (p[s] > max) max = p[s];
    }
    for (int64_t s = 0; s < n; s++) sum += p[s] = exp(p[s] - max);
    for (int64_t w = 0; w < a->d->W; w++) {
        double x = 0.0;
        for (int64_t s = 0; s < n; s++) x += p[s] * at3(a->v, a->start + s, h / a->group, w);
        put3(out, t, h, w, x / sum);
    }
    return max + log(sum);
}

static attention of_call(const mz_op *op, const mz_args *args)
{
    const mz_attention_desc *d = &op->desc.u.attention;
    return (attention){.d = d,
                       .q = args->attention.q,
                       .k = args->attention.k,
                       .v = args->attention.v,
                       .group = d->H / d->G};
}

/* scratch: p [T] */
mz_err mz_ref_attention(mz_op *op, const mz_args *args)
{
    attention a = of_call(op, args);
    const mz_tensor *cu = args->attention.cu, workspace = mz_op_workspace(op);
    double *p = mz_ref_doubles(&workspace);
    double *saved = a.d->backward ? mz_ref_doubles(args->attention.saved) : NULL;
    MZ_TRY(mz_ref_check_offsets(cu, a.q->dim[0], "cu"));
    for (int64_t i = 0; i + 1 < cu->dim[0]; i++) {
        a.start = id1(cu, i);
        a.end = id1(cu, i + 1);
        for (int64_t t = a.start; t < a.end; t++)
            for (int64_t h = 0; h < a.d->H; h++) {
                const double lse = forward_row(&a, args->attention.out, t, h, p);
                if (saved) saved[t * a.d->H + h] = lse;
            }
    }
    return MZ_OK;
}

/* What the backward pass of one sequence reads besides the forward's tensors. */
typedef struct gradient {
    const mz_tensor *dout;
    const double *lse; /* [T,H] */
    double *delta;     /* [T,H]: sum_s p dp */
    double *row;       /* [K+W] */
} gradient;

static double p_of(const attention *a, const gradient *g, int64_t t, int64_t h, int64_t s)
{
    return exp(score(a, t, h, s) - g->lse[t * a->d->H + h]);
}

static double dp_of(const attention *a, const gradient *g, int64_t t, int64_t h, int64_t s)
{
    double sum = 0.0;
    for (int64_t w = 0; w < a->d->W; w++)
        sum += at3(g->dout, t, h, w) * at3(a->v, s, h / a->group, w);
    return sum;
}

/* dq = scale sum_s ds k[s] with ds = p (dp - delta); leaves delta[t,h] for backward_kv. */
static void backward_q(const attention *a, const gradient *g, const mz_tensor *dq, int64_t t,
                       int64_t h)
{
    double delta = 0.0;
    for (int64_t s = a->start; s < seen_by(a, t); s++)
        delta += p_of(a, g, t, h, s) * dp_of(a, g, t, h, s);
    g->delta[t * a->d->H + h] = delta;
    for (int64_t i = 0; i < a->d->K; i++) g->row[i] = 0.0;
    for (int64_t s = a->start; s < seen_by(a, t); s++) {
        const double ds = p_of(a, g, t, h, s) * (dp_of(a, g, t, h, s) - delta);
        for (int64_t i = 0; i < a->d->K; i++)
            g->row[i] += a->d->scale * ds * at3(a->k, s, h / a->group, i);
    }
    for (int64_t i = 0; i < a->d->K; i++) put3(dq, t, h, i, g->row[i]);
}

/* dk[s,j] = scale sum_(t,h) ds q[t,h] and dv[s,j] = sum_(t,h) p dout[t,h], over the heads of group
 * j and the tokens that see s. */
static void backward_kv(const attention *a, const gradient *g, const mz_args *args, int64_t s,
                        int64_t j)
{
    double *dk = g->row, *dv = g->row + a->d->K;
    for (int64_t i = 0; i < a->d->K + a->d->W; i++) g->row[i] = 0.0;
    for (int64_t t = a->d->causal ? s : a->start; t < a->end; t++)
        for (int64_t h = j * a->group; h < (j + 1) * a->group; h++) {
            const double p = p_of(a, g, t, h, s);
            const double ds = p * (dp_of(a, g, t, h, s) - g->delta[t * a->d->H + h]);
            for (int64_t i = 0; i < a->d->K; i++) dk[i] += a->d->scale * ds * at3(a->q, t, h, i);
            for (int64_t i = 0; i < a->d->W; i++) dv[i] += p * at3(g->dout, t, h, i);
        }
    for (int64_t i = 0; i < a->d->K; i++) put3(args->attention.dk, s, j, i, dk[i]);
    for (int64_t i = 0; i < a->d->W; i++) put3(args->attention.dv, s, j, i, dv[i]);
}

/* scratch: delta [T,H], row [K+W]. delta comes from p and dp and not from `out`, which was rounded.
 */
mz_err mz_ref_attention_backward(mz_op *op, const mz_args *args)
{
    attention a = of_call(op, args);
    const mz_tensor *cu = args->attention.cu, workspace = mz_op_workspace(op);
    double *scratch = mz_ref_doubles(&workspace);
    const gradient g = {.dout = args->attention.dout,
                        .lse = mz_ref_doubles(args->attention.saved),
                        .delta = scratch,
                        .row = scratch + a.d->T_max * a.d->H};
    MZ_TRY(mz_ref_check_offsets(cu, a.q->dim[0], "cu"));
    for (int64_t i = 0; i + 1 < cu->dim[0]; i++) {
        a.start = id1(cu, i);
        a.end = id1(cu, i + 1);
        for (int64_t t = a.start; t < a.end; t++)
            for (int64_t h = 0; h < a.d->H; h++) backward_q(&a, &g, args->attention.dq, t, h);
        for (int64_t s = a.start; s < a.end; s++)
            for (int64_t j = 0; j < a.d->G; j++) backward_kv(&a, &g, args, s, j);
    }
    return MZ_OK;
}
