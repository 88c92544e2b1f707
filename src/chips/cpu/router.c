/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/router.c - router and balance: see chip/desc.h.
 *
 * In double throughout, although the logits are f32: it is a few thousandths of a layer's work, and
 * so the same experts are chosen as by the oracle, to the last tie. backward computes the scores
 * again, so nothing is saved.
 * Sources: DeepSeek-V2 report (softmax, groups by their largest), arXiv:2405.04434; DeepSeek-V3
 * report (sigmoid, selection bias, groups by the sum of their two largest), arXiv:2412.19437.
 * Floor: chips. */
#include "chips/cpu/split.h"

#include <math.h>
#include <string.h>

static double get(const mz_tensor *t, int64_t i)
{
    const void *p = mz_cpu_elem(t, i);
    return t->dtype == MZ_F64 ? *(const double *)p : (double)*(const float *)p;
}

static void put(const mz_tensor *t, int64_t i, double x)
{
    void *p = mz_cpu_elem(t, i);
    if (t->dtype == MZ_F64)
        *(double *)p = x;
    else
        *(float *)p = (float)x;
}

/* ---- scores and choice ---- */

/* Scratch of a thread. */
typedef struct desk {
    double *s;     /* [E] scores */
    double *c;     /* [E] what experts are chosen by; backward: gradients of the scores */
    double *value; /* [groups] */
    int32_t *best; /* [k] or [groups_kept], the larger */
    bool *is_out;  /* [groups] */
} desk;

static mz_cpu_room router_room(const mz_router_desc *d)
{
    const int64_t best = d->k > d->groups_kept ? d->k : d->groups_kept;
    return (mz_cpu_room){.thread_bytes = (size_t)(2 * d->E + d->groups) * sizeof(double) +
                                         (size_t)best * sizeof(int32_t) +
                                         (size_t)d->groups * sizeof(bool)};
}

static desk desk_of(const mz_router_desc *d, void *scratch)
{
    const int64_t best = d->k > d->groups_kept ? d->k : d->groups_kept;
    desk k = {.s = scratch};
    k.c = k.s + d->E;
    k.value = k.c + d->E;
    k.best = (int32_t *)(void *)(k.value + d->groups);
    k.is_out = (bool *)(k.best + best);
    return k;
}

static mz_err router_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, router_room(&desc->u.router));
    return MZ_OK;
}

static void score(const mz_router_desc *d, const mz_tensor *logits, int64_t t, double *s)
{
    double max = -(double)INFINITY, sum = 0.0;
    for (int64_t e = 0; e < d->E; e++) {
        s[e] = get(logits, t * d->E + e);
        if (s[e] > max) max = s[e];
    }
    if (d->score == MZ_SCORE_SIGMOID) {
        for (int64_t e = 0; e < d->E; e++) s[e] = 1.0 / (1.0 + exp(-s[e]));
        return;
    }
    for (int64_t e = 0; e < d->E; e++) sum += s[e] = exp(s[e] - max);
    for (int64_t e = 0; e < d->E; e++) s[e] /= sum;
}

/* NaN is lower than everything, so that k different experts are chosen whatever comes. */
static bool beats(double a, double b)
{
    return a > b || (isnan(b) && !isnan(a));
}

/* Puts i into best[0..n-1], best first, of at most k; equals stay in order of arrival. */
static int64_t insert(int32_t *best, int64_t n, int64_t k, const double *value, int64_t i)
{
    if (n == k && !beats(value[i], value[best[k - 1]])) return n;
    int64_t at = n < k ? n : k - 1;
    for (; at > 0 && beats(value[i], value[best[at - 1]]); at--) best[at] = best[at - 1];
    best[at] = (int32_t)i;
    return n < k ? n + 1 : k;
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

/* desk->best becomes the k chosen experts, ascending. */
static void choose(const mz_router_desc *d, const desk *k)
{
    const int64_t size = d->E / d->groups;
    int64_t n = 0;
    for (int64_t g = 0; g < d->groups; g++) {
        k->is_out[g] = true;
        k->value[g] = group_value(d, k->c + g * size, size);
        n = insert(k->best, n, d->groups_kept, k->value, g);
    }
    for (int64_t i = 0; i < n; i++) k->is_out[k->best[i]] = false;
    n = 0;
    for (int64_t e = 0; e < d->E; e++)
        if (!k->is_out[e / size]) n = insert(k->best, n, d->k, k->c, e);
    for (int64_t i = 1; i < d->k; i++) {
        const int32_t id = k->best[i];
        int64_t at = i;
        for (; at > 0 && k->best[at - 1] > id; at--) k->best[at] = k->best[at - 1];
        k->best[at] = id;
    }
}

/* ---- router ---- */

static void router_tokens(const mz_op *op, const mz_args *args, int64_t first, int64_t last,
                          void *scratch)
{
    const mz_router_desc *d = &op->desc.u.router;
    const mz_tensor *bias = args->router.bias, *probs = args->router.probs;
    const desk k = desk_of(d, scratch);
    int32_t *ids = mz_cpu_data(args->router.ids);
    for (int64_t t = first; t < last; t++) {
        double all = 0.0, sum = 0.0;
        score(d, args->router.logits, t, k.s);
        for (int64_t e = 0; e < d->E; e++) {
            k.c[e] = bias ? k.s[e] + get(bias, e) : k.s[e];
            all += k.s[e];
        }
        if (!d->forced) {
            choose(d, &k);
            memcpy(ids + t * d->k, k.best, (size_t)d->k * sizeof *ids);
        }
        for (int64_t j = 0; j < d->k; j++) sum += k.s[ids[t * d->k + j]];
        for (int64_t j = 0; j < d->k; j++) {
            const double w = k.s[ids[t * d->k + j]];
            put(args->router.weights, t * d->k + j,
                d->factor * (d->normalise ? w / (sum + 1e-20) : w));
        }
        const double share = d->score == MZ_SCORE_SOFTMAX ? 1.0 : all;
        for (int64_t e = 0; probs && e < d->E; e++) put(probs, t * d->E + e, k.s[e] / share);
    }
}

static mz_err router(mz_op *op, const mz_args *args)
{
    const mz_router_desc *d = &op->desc.u.router;
    if (d->forced) MZ_TRY(mz_cpu_check_ids(args->router.ids, 0, d->E, "ids"));
    mz_cpu_split_scratch(op, args, args->router.logits->dim[0], mz_cpu_items(32 * d->E),
                         router_room(d), router_tokens);
    return MZ_OK;
}

/* k->c becomes dloss/ds of one token, from its weights and from its probs. */
static void slope_of_scores(const mz_router_desc *d, const mz_args *args, int64_t t, const desk *k)
{
    const int32_t *ids = (const int32_t *)mz_cpu_data(args->router.ids) + t * d->k;
    const mz_tensor *dprobs = args->router.dprobs;
    double sum = 1e-20, dot = 0.0, all = 0.0, dot_all = 0.0;
    for (int64_t j = 0; j < d->k; j++) sum += k->s[ids[j]];
    /* by shares: a lone expert's is 1, and its score's gradient 0, not what rounding leaves */
    for (int64_t j = 0; j < d->k; j++)
        dot += get(args->router.dweights, t * d->k + j) * (k->s[ids[j]] / sum);
    for (int64_t e = 0; e < d->E; e++) {
        k->c[e] = dprobs ? get(dprobs, t * d->E + e) : 0.0;
        all += k->s[e];
        dot_all += k->c[e] * k->s[e];
    }
    for (int64_t e = 0; e < d->E && d->score == MZ_SCORE_SIGMOID; e++)
        k->c[e] = k->c[e] / all - dot_all / (all * all);
    for (int64_t j = 0; j < d->k; j++) {
        const double dw = get(args->router.dweights, t * d->k + j);
        k->c[ids[j]] += d->factor * (d->normalise ? (dw - dot) / sum : dw);
    }
}

/* softmax: dl = s (ds - sum_e ds s); sigmoid: dl = ds s (1 - s). */
static void router_tokens_back(const mz_op *op, const mz_args *args, int64_t first, int64_t last,
                               void *scratch)
{
    const mz_router_desc *d = &op->desc.u.router;
    const desk k = desk_of(d, scratch);
    for (int64_t t = first; t < last; t++) {
        double dot = 0.0;
        score(d, args->router.logits, t, k.s);
        slope_of_scores(d, args, t, &k);
        for (int64_t e = 0; e < d->E; e++) dot += k.c[e] * k.s[e];
        for (int64_t e = 0; e < d->E; e++)
            put(args->router.dlogits, t * d->E + e,
                k.s[e] * (d->score == MZ_SCORE_SOFTMAX ? k.c[e] - dot : k.c[e] * (1.0 - k.s[e])));
    }
}

static mz_err router_back(mz_op *op, const mz_args *args)
{
    const mz_router_desc *d = &op->desc.u.router;
    MZ_TRY(mz_cpu_check_ids(args->router.ids, 0, d->E, "ids"));
    mz_cpu_split_scratch(op, args, args->router.logits->dim[0], mz_cpu_items(32 * d->E),
                         router_room(d), router_tokens_back);
    return MZ_OK;
}

const mz_slot mz_cpu_router = {.query = router_query, .forward = router, .backward = router_back};

/* ---- balance ---- */

/* Shared: the loss of each sequence. A thread: f [E], then P [E]. */
static mz_cpu_room balance_room(const mz_balance_desc *d)
{
    return (mz_cpu_room){.shared_bytes = (size_t)d->sequences_max * sizeof(double),
                         .thread_bytes = (size_t)(2 * d->E) * sizeof(double)};
}

static mz_err balance_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, balance_room(&desc->u.balance));
    return MZ_OK;
}

static void balance_sequences(const mz_op *op, const mz_args *args, int64_t first, int64_t last,
                              void *scratch)
{
    const mz_balance_desc *d = &op->desc.u.balance;
    const mz_tensor *dprobs = args->balance.dprobs, *cu = args->balance.cu;
    const double scale = args->k.balance.alpha / (double)(cu->dim[0] - 1);
    double *losses = mz_cpu_room_shared(op), *f = scratch, *P = f + d->E;
    for (int64_t i = first; i < last; i++) {
        const int64_t start = mz_cpu_id_at(cu, i, 0), end = mz_cpu_id_at(cu, i + 1, 0);
        const double n = (double)(end - start);
        for (int64_t e = 0; e < d->E; e++) f[e] = P[e] = 0.0;
        losses[i] = 0.0;
        for (int64_t t = start; t < end; t++) {
            for (int64_t j = 0; j < d->k; j++) f[mz_cpu_id_at(args->balance.ids, t, j)] += 1.0;
            for (int64_t e = 0; e < d->E; e++) P[e] += get(args->balance.probs, t * d->E + e) / n;
        }
        for (int64_t e = 0; e < d->E && n > 0.0; e++) {
            f[e] *= (double)d->E / ((double)d->k * n);
            losses[i] += scale * f[e] * P[e];
        }
        for (int64_t t = start; t < end && dprobs; t++)
            for (int64_t e = 0; e < d->E; e++) put(dprobs, t * d->E + e, scale * f[e] / n);
    }
}

static mz_err balance(mz_op *op, const mz_args *args)
{
    const mz_balance_desc *d = &op->desc.u.balance;
    const int64_t T = args->balance.probs->dim[0], sequences = args->balance.cu->dim[0] - 1;
    const double *losses = mz_cpu_room_shared(op);
    int32_t *counts = args->balance.counts ? mz_cpu_data(args->balance.counts) : NULL;
    double loss = 0.0;
    MZ_TRY(mz_cpu_check_cu(args->balance.cu, T));
    MZ_TRY(mz_cpu_check_ids(args->balance.ids, 0, d->E, "ids"));
    mz_cpu_split_scratch(op, args, sequences, 1, balance_room(d), balance_sequences);
    for (int64_t i = 0; i < sequences; i++) loss += losses[i];
    put(args->balance.loss, 0, loss);
    for (int64_t i = 0; counts && i < T * d->k; i++)
        counts[mz_cpu_id_at(args->balance.ids, i / d->k, i % d->k)]++;
    return MZ_OK;
}

const mz_slot mz_cpu_balance = {.query = balance_query, .forward = balance};
