/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/router.c - which experts a token goes to, and with what weights; see chip/desc.h.
 *
 * Sources: DeepSeek-V2 report (softmax, groups by their largest), arXiv:2405.04434; DeepSeek-V3
 * report (sigmoid, selection bias, groups by the sum of their two largest), arXiv:2412.19437.
 * An expert of a dropped group is never chosen; NaN counts as lower than everything, so that k
 * different experts are chosen whatever comes. saved holds the scores s [T,E]. Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

static bool beats(double a, double b)
{
    return a > b || (isnan(b) && !isnan(a));
}

static void scores(const mz_router_desc *d, const mz_tensor *logits, int64_t t, double *s)
{
    double max = -(double)INFINITY, sum = 0.0;
    for (int64_t e = 0; e < d->E; e++)
        if (at2(logits, t, e) > max) max = at2(logits, t, e);
    for (int64_t e = 0; e < d->E; e++) {
        const double x = at2(logits, t, e);
        s[e] = d->score == MZ_SCORE_SOFTMAX ? exp(x - max) : 1.0 / (1.0 + exp(-x));
        sum += s[e];
    }
    for (int64_t e = 0; d->score == MZ_SCORE_SOFTMAX && e < d->E; e++) s[e] /= sum;
}

/* The lowest index of the best value among those not yet taken; -1 if all are. */
static int64_t best_of(const double *value, const double *taken, int64_t n)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (taken[i] <= 0.0 && (best < 0 || beats(value[i], value[best]))) best = i;
    return best;
}

static double group_value(const mz_router_desc *d, const double *c, int64_t n)
{
    double first = c[0], second = -(double)INFINITY;
    for (int64_t i = 1; i < n; i++) {
        const bool is_first = beats(c[i], first);
        if (is_first || beats(c[i], second) || i == 1) second = is_first ? first : c[i];
        if (is_first) first = c[i];
    }
    return d->group == MZ_GROUP_MAX ? first : first + second;
}

/* Marks the k chosen experts by 1 in chosen[E]. c[E]: what they are chosen by; value[groups]. */
static void choose(const mz_router_desc *d, const double *c, double *chosen, double *value)
{
    const int64_t n = d->E / d->groups;
    for (int64_t e = 0; e < d->E; e++) chosen[e] = 2.0; /* out, until its group is kept */
    for (int64_t g = 0; g < d->groups; g++) value[g] = group_value(d, c + g * n, n);
    for (int64_t kept = 0; kept < d->groups_kept; kept++) {
        int64_t best = -1;
        for (int64_t g = 0; g < d->groups; g++)
            if (chosen[g * n] >= 2.0 && (best < 0 || beats(value[g], value[best]))) best = g;
        for (int64_t i = 0; i < n; i++) chosen[best * n + i] = 0.0;
    }
    for (int64_t j = 0; j < d->k; j++) chosen[best_of(c, chosen, d->E)] = 1.0;
}

/* scratch: s [E], c [E], chosen [E], value [groups] */
mz_err mz_ref_router(mz_op *op, const mz_args *args)
{
    const mz_router_desc *d = &op->desc.u.router;
    const mz_tensor *logits = args->router.logits, *bias = args->router.bias;
    const mz_tensor *ids = args->router.ids, *probs = args->router.probs;
    const mz_tensor workspace = mz_op_workspace(op);
    double *s = mz_ref_doubles(&workspace), *c = s + d->E, *chosen = c + d->E;
    double *saved = d->backward ? mz_ref_doubles(args->router.saved) : NULL;
    if (d->forced) MZ_TRY(mz_ref_check_ids(ids, 0, d->E, "ids"));
    for (int64_t t = 0; t < logits->dim[0]; t++) {
        double all = 0.0, sum = 0.0;
        scores(d, logits, t, s);
        for (int64_t e = 0; e < d->E; e++) {
            c[e] = bias ? s[e] + at1(bias, e) : s[e];
            all += s[e];
            if (saved) saved[t * d->E + e] = s[e];
        }
        if (!d->forced) choose(d, c, chosen, chosen + d->E);
        for (int64_t e = 0, j = 0; !d->forced && e < d->E; e++)
            if (chosen[e] > 0.0 && chosen[e] < 2.0) put_id2(ids, t, j++, e);
        for (int64_t j = 0; j < d->k; j++) sum += s[id2(ids, t, j)];
        for (int64_t j = 0; j < d->k; j++) {
            const double w = s[id2(ids, t, j)];
            put2(args->router.weights, t, j, d->factor * (d->normalise ? w / (sum + 1e-20) : w));
        }
        const double share = d->score == MZ_SCORE_SOFTMAX ? 1.0 : all;
        for (int64_t e = 0; probs && e < d->E; e++) put2(probs, t, e, s[e] / share);
    }
    return MZ_OK;
}

/* ds[E] of one token, from its weights and from its probs. */
static void backward_scores(const mz_router_desc *d, const mz_args *args, int64_t t,
                            const double *s, double *ds)
{
    const mz_tensor *ids = args->router.ids, *dweights = args->router.dweights;
    const mz_tensor *dprobs = args->router.dprobs;
    double sum = 1e-20, dot = 0.0, all = 0.0, dot_all = 0.0;
    for (int64_t j = 0; j < d->k; j++) sum += s[id2(ids, t, j)];
    /* by shares: a lone expert's is 1, and its score's gradient 0, not what rounding leaves */
    for (int64_t j = 0; j < d->k; j++) dot += at2(dweights, t, j) * (s[id2(ids, t, j)] / sum);
    for (int64_t e = 0; e < d->E; e++) {
        all += s[e];
        dot_all += dprobs ? at2(dprobs, t, e) * s[e] : 0.0;
    }
    for (int64_t e = 0; e < d->E; e++) {
        const double dp = dprobs ? at2(dprobs, t, e) : 0.0;
        ds[e] = d->score == MZ_SCORE_SOFTMAX ? dp : dp / all - dot_all / (all * all);
    }
    for (int64_t j = 0; j < d->k; j++) {
        const double dw = at2(dweights, t, j);
        ds[id2(ids, t, j)] += d->factor * (d->normalise ? (dw - dot) / sum : dw);
    }
}

/* scratch: ds [E]. softmax: dl = s (ds - sum_e ds s); sigmoid: dl = ds s (1 - s). */
mz_err mz_ref_router_backward(mz_op *op, const mz_args *args)
{
    const mz_router_desc *d = &op->desc.u.router;
    const mz_tensor *dlogits = args->router.dlogits, workspace = mz_op_workspace(op);
    const double *saved = mz_ref_doubles(args->router.saved);
    double *ds = mz_ref_doubles(&workspace);
    MZ_TRY(mz_ref_check_ids(args->router.ids, 0, d->E, "ids"));
    for (int64_t t = 0; t < dlogits->dim[0]; t++) {
        const double *s = saved + t * d->E;
        double dot = 0.0;
        backward_scores(d, args, t, s, ds);
        for (int64_t e = 0; e < d->E; e++) dot += ds[e] * s[e];
        for (int64_t e = 0; e < d->E; e++)
            put2(dlogits, t, e,
                 s[e] * (d->score == MZ_SCORE_SOFTMAX ? ds[e] - dot : ds[e] * (1.0 - s[e])));
    }
    return MZ_OK;
}
