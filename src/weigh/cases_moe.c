/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/cases_moe.c - router, balance, permute, unpermute.
 *
 * A router's choice must not hang on a rounding: rows are drawn again until the k-th and the next
 * candidate, and the last kept group and the next, are apart. Exact ties are sown on purpose. */
#include "weigh/cases.h"

#include <math.h>
#include <stddef.h>

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

enum { EXPERTS = 64, TRIES = 200 };
static const double MARGIN = 1e-4;

/* What the experts of one row are chosen by. */
static void candidates(const mz_router_desc *r, const double *logits, const double *bias, double *s)
{
    double max = -(double)INFINITY, sum = 0.0;
    for (int64_t e = 0; e < r->E; e++) max = logits[e] > max ? logits[e] : max;
    for (int64_t e = 0; e < r->E; e++) {
        s[e] = r->score == MZ_SCORE_SOFTMAX ? exp(logits[e] - max) : 1.0 / (1.0 + exp(-logits[e]));
        sum += s[e];
    }
    for (int64_t e = 0; e < r->E; e++)
        s[e] = (r->score == MZ_SCORE_SOFTMAX ? s[e] / sum : s[e]) + (bias ? bias[e] : 0.0);
}

static double largest_of(const double *x, int64_t n, double below)
{
    double best = -(double)INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (x[i] < below && x[i] > best) best = x[i];
    return best;
}

/* The distance between the k-th largest of n and the next smaller value; equal ones are one value,
 * because a tie goes to the lower id whatever the rounding. */
static double gap(const double *x, int64_t n, int64_t k)
{
    double at = (double)INFINITY;
    for (int64_t taken = 0; taken < k;) {
        at = largest_of(x, n, at);
        for (int64_t i = 0; i < n; i++) taken += !(x[i] < at) && !(x[i] > at);
    }
    return at - largest_of(x, n, at);
}

static double group_value(const mz_router_desc *r, const double *s, int64_t n)
{
    const double first = largest_of(s, n, (double)INFINITY);
    int64_t equal = 0;
    for (int64_t i = 0; i < n; i++) equal += !(s[i] < first);
    const double second = equal > 1 ? first : largest_of(s, n, first);
    return r->group == MZ_GROUP_MAX ? first : first + (n > 1 ? second : 0.0);
}

static bool is_clear(const mz_router_desc *r, const double *logits, const double *bias)
{
    double s[EXPERTS] = {0}, value[EXPERTS], kept[EXPERTS];
    const int64_t n = r->E / r->groups;
    int64_t n_kept = 0;
    candidates(r, logits, bias, s);
    for (int64_t g = 0; g < r->groups; g++) value[g] = group_value(r, s + g * n, n);
    if (r->groups_kept < r->groups && !(gap(value, r->groups, r->groups_kept) > MARGIN))
        return false;
    double limit = (double)INFINITY;
    int64_t taken = 0;
    while (taken < r->groups_kept) {
        limit = largest_of(value, r->groups, limit);
        for (int64_t g = 0; g < r->groups; g++) taken += !(value[g] < limit) && !(value[g] > limit);
    }
    if (taken > r->groups_kept) return false; /* tied groups at the border: the sum may round */
    for (int64_t g = 0; g < r->groups; g++)
        for (int64_t i = 0; !(value[g] < limit) && i < n; i++) kept[n_kept++] = s[g * n + i];
    return r->k == n_kept || gap(kept, n_kept, r->k) > MARGIN;
}

static void draw_row(mz_case *c, const mz_router_desc *r, double *row, const double *bias)
{
    for (int i = 0; i < TRIES; i++) {
        for (int64_t e = 0; e < r->E; e++) row[e] = (double)(float)(1.5 * mz_rng_normal(&c->rng));
        if (!bias && r->groups == 1 && mz_case_chance(c, 0.2)) /* a tie */
            row[mz_case_some(c, 0, r->E - 1)] = row[mz_case_some(c, 0, r->E - 1)];
        if (is_clear(r, row, bias)) return;
    }
}

/* k rising ids below E in each of T rows. */
static mz_err rising_ids(mz_case *c, int i, int64_t T, int64_t k, int64_t E)
{
    MZ_TRY(mz_case_ids(c, i, 2, DIMS(T, k), 0, E));
    for (int64_t t = 0; t < T; t++)
        for (int64_t e = 0, j = 0; j < k; e++)
            if (E - e == k - j || mz_case_chance(c, (double)(k - j) / (double)(E - e)))
                c->arg[i].values[t * k + j++] = (double)e;
    return MZ_OK;
}

static void describe_router(mz_case *c, mz_dtype d)
{
    static const int64_t groups[] = {1, 1, 2, 4, 8};
    mz_router_desc *r = &c->desc.u.router;
    const int64_t g = groups[mz_rng_below(&c->rng, MZ_COUNT(groups))];
    const int64_t E = g * mz_case_some(c, g > 1 ? 2 : 1, EXPERTS / g);
    const int64_t kept = mz_case_some(c, 1, g), most = kept * (E / g);
    *r = (mz_router_desc){.acc = d,
                          .T_max = mz_case_dim(c, 40),
                          .E = E,
                          .k = mz_case_some(c, 1, most < 8 ? most : 8),
                          .groups = g,
                          .groups_kept = kept,
                          .score = mz_case_chance(c, 0.5) ? MZ_SCORE_SOFTMAX : MZ_SCORE_SIGMOID,
                          .group = mz_case_chance(c, 0.5) ? MZ_GROUP_MAX : MZ_GROUP_TOP2_SUM,
                          .normalise = mz_case_chance(c, 0.5),
                          .forced = mz_case_chance(c, 0.2),
                          .backward = mz_case_chance(c, 0.6),
                          .factor = mz_case_chance(c, 0.5) ? 1.0 : 2.5};
}

static mz_err router_backward(mz_case *c, const mz_router_desc *r, double least)
{
    const int64_t T = r->T_max;
    const int dw = MZ_ARG(router.dweights), dp = MZ_ARG(router.dprobs);
    mz_case_saved(c, MZ_ARG(router.saved));
    MZ_TRY(mz_case_real(c, dw, r->acc, 2, DIMS(T, r->k), 1.0));
    const bool has_probs = mz_case_chance(c, 0.5);
    if (has_probs) MZ_TRY(mz_case_real(c, dp, r->acc, 2, DIMS(T, r->E), 1.0));
    MZ_TRY(mz_case_out(c, MZ_ARG(router.dlogits), r->acc, 2, DIMS(T, r->E)));
    /* a normalised weight divides by the sum of what was chosen */
    const double size = r->factor * mz_case_row_norm(c, dw) / least +
                        (has_probs ? mz_case_row_norm(c, dp) / least : 0.0);
    mz_case_bound(c, MZ_ARG(router.dlogits), 16.0 + (double)r->E, 4.0 * size);
    return MZ_OK;
}

static mz_err router(mz_case *c, mz_dtype d)
{
    mz_router_desc *r = &c->desc.u.router;
    if (d != MZ_F32 && d != MZ_F64) return MZ_ENOTSUP;
    describe_router(c, d);
    c->backward = r->backward;
    const int64_t T = r->T_max, E = r->E;
    const int logits = MZ_ARG(router.logits), bias = MZ_ARG(router.bias);
    const bool has_bias = mz_case_chance(c, 0.4);
    if (has_bias) MZ_TRY(mz_case_real(c, bias, d, 1, DIMS(E), 0.1));
    MZ_TRY(mz_case_real(c, logits, d, 2, DIMS(T, E), 1.0));
    for (int64_t t = 0; t < T; t++)
        draw_row(c, r, c->arg[logits].values + t * E, has_bias ? c->arg[bias].values : NULL);
    MZ_TRY(r->forced ? rising_ids(c, MZ_ARG(router.ids), T, r->k, E)
                     : mz_case_out(c, MZ_ARG(router.ids), MZ_I32, 2, DIMS(T, r->k)));
    MZ_TRY(mz_case_out(c, MZ_ARG(router.weights), d, 2, DIMS(T, r->k)));
    mz_case_bound(c, MZ_ARG(router.weights), 64.0 + (double)E, 2.0 * r->factor);
    if (mz_case_chance(c, 0.5)) {
        MZ_TRY(mz_case_out(c, MZ_ARG(router.probs), d, 2, DIMS(T, E)));
        mz_case_bound(c, MZ_ARG(router.probs), 64.0 + (double)E, 2.0);
    }
    /* the least that k scores can add up to, for the size of a division's error */
    double spread = mz_case_largest(c, logits), least;
    least =
        r->score == MZ_SCORE_SIGMOID ? 1.0 / (1.0 + exp(spread)) : exp(-2.0 * spread) / (double)E;
    return r->backward ? router_backward(c, r, least < 0.02 ? 0.02 : least) : MZ_OK;
}

static mz_err balance(mz_case *c, mz_dtype d)
{
    mz_balance_desc *b = &c->desc.u.balance;
    if (d != MZ_F32 && d != MZ_F64) return MZ_ENOTSUP;
    const int64_t T = mz_case_dim(c, 60), E = mz_case_some(c, 1, 20);
    *b = (mz_balance_desc){d, T, 4, E, mz_case_some(c, 1, E < 6 ? E : 6)};
    c->k.k.balance.alpha = mz_case_chance(c, 0.5) ? 1.0 : 1e-3;
    const int64_t n = mz_case_cu(c, T, 4, c->host_cu);
    const int probs = MZ_ARG(balance.probs), counts = MZ_ARG(balance.counts);
    MZ_TRY(mz_case_real(c, probs, d, 2, DIMS(T, E), 1.0 / (double)E));
    for (int64_t i = 0; i < c->arg[probs].count; i++)
        c->arg[probs].values[i] = fabs(c->arg[probs].values[i]);
    MZ_TRY(rising_ids(c, MZ_ARG(balance.ids), T, b->k, E));
    MZ_TRY(mz_case_list(c, MZ_ARG(balance.cu), 1, DIMS(n + 1), c->host_cu));
    MZ_TRY(mz_case_out(c, MZ_ARG(balance.loss), d, 1, DIMS(1)));
    mz_case_bound(c, MZ_ARG(balance.loss), (double)(T * E) + 1.0,
                  4.0 * (double)E * mz_case_largest(c, probs) + 1.0);
    if (mz_case_chance(c, 0.7)) {
        MZ_TRY(mz_case_out(c, MZ_ARG(balance.dprobs), d, 2, DIMS(T, E)));
        mz_case_bound(c, MZ_ARG(balance.dprobs), 4.0, (double)E);
    }
    return mz_case_chance(c, 0.7) ? mz_case_ids(c, counts, 1, DIMS(E), 0, 100) : MZ_OK;
}

static mz_err permute(mz_case *c, mz_dtype d)
{
    mz_permute_desc *p = &c->desc.u.permute;
    const int64_t T = mz_case_dim(c, 50), E = mz_case_some(c, 1, 12), D = mz_case_some(c, 1, 70);
    *p = (mz_permute_desc){d, T, D, E, mz_case_some(c, 1, E < 5 ? E : 5), false};
    c->backward = p->backward = mz_case_chance(c, 0.6);
    MZ_TRY(mz_case_real(c, MZ_ARG(permute.x), d, 2, DIMS(T, D), 1.0));
    if (!p->backward) mz_case_sow(c, MZ_ARG(permute.x), true);
    MZ_TRY(rising_ids(c, MZ_ARG(permute.ids), T, p->k, E));
    MZ_TRY(mz_case_out(c, MZ_ARG(permute.y), d, 2, DIMS(T * p->k, D)));
    MZ_TRY(mz_case_out(c, MZ_ARG(permute.offsets), MZ_I32, 1, DIMS(E + 1)));
    MZ_TRY(mz_case_out(c, MZ_ARG(permute.row_of), MZ_I32, 2, DIMS(T, p->k)));
    if (!p->backward) return MZ_OK;
    MZ_TRY(mz_case_real(c, MZ_ARG(permute.dy), d, 2, DIMS(T * p->k, D), 1.0));
    MZ_TRY(mz_case_out(c, MZ_ARG(permute.dx), d, 2, DIMS(T, D)));
    mz_case_bound(c, MZ_ARG(permute.dx), (double)p->k,
                  mz_case_largest(c, MZ_ARG(permute.dy)) * (double)p->k);
    return MZ_OK;
}

static mz_err unpermute(mz_case *c, mz_dtype d)
{
    mz_unpermute_desc *u = &c->desc.u.unpermute;
    const int64_t T = mz_case_dim(c, 40), D = mz_case_some(c, 1, 70), k = mz_case_some(c, 1, 5);
    *u = (mz_unpermute_desc){d, T, D, k, false};
    c->backward = u->backward = mz_case_chance(c, 0.6);
    const int z = MZ_ARG(unpermute.z), w = MZ_ARG(unpermute.weights), y = MZ_ARG(unpermute.y);
    const int dy = MZ_ARG(unpermute.dy), rows = MZ_ARG(unpermute.row_of);
    MZ_TRY(mz_case_real(c, z, d, 2, DIMS(T * k, D), 1.0));
    MZ_TRY(mz_case_real(c, w, mz_dtype_acc(d), 2, DIMS(T, k), 1.0));
    MZ_TRY(mz_case_ids(c, rows, 2, DIMS(T, k), 0, 1));
    for (int64_t i = 0; i < T * k; i++) { /* a shuffle, from the inside out */
        const int64_t j = mz_case_some(c, 0, i);
        c->arg[rows].values[i] = c->arg[rows].values[j];
        c->arg[rows].values[j] = (double)i;
    }
    MZ_TRY(mz_case_out(c, y, d, 2, DIMS(T, D)));
    mz_case_bound(c, y, (double)k + 1.0,
                  mz_case_row_norm(c, w) * mz_case_largest(c, z) * sqrt((double)k) + 4.0);
    if (mz_case_chance(c, 0.6)) {
        MZ_TRY(mz_case_real(c, MZ_ARG(unpermute.base), d, 2, DIMS(T, D), 1.0));
        if (mz_case_chance(c, 0.4)) c->arg[y].alias = MZ_ARG(unpermute.base) + 1;
    }
    if (!u->backward) return MZ_OK;
    MZ_TRY(mz_case_real(c, dy, d, 2, DIMS(T, D), 1.0));
    MZ_TRY(mz_case_out(c, MZ_ARG(unpermute.dz), d, 2, DIMS(T * k, D)));
    mz_case_bound(c, MZ_ARG(unpermute.dz), 1.0, mz_case_largest(c, w) * mz_case_largest(c, dy));
    MZ_TRY(mz_case_out(c, MZ_ARG(unpermute.dweights), mz_dtype_acc(d), 2, DIMS(T, k)));
    mz_case_bound(c, MZ_ARG(unpermute.dweights), (double)D,
                  mz_case_row_norm(c, dy) * mz_case_row_norm(c, z));
    return MZ_OK;
}

mz_err mz_cases_moe(mz_case *c, mz_dtype d)
{
    if (c->desc.kind == MZ_OP_ROUTER) return router(c, d);
    if (c->desc.kind == MZ_OP_BALANCE) return balance(c, d);
    return c->desc.kind == MZ_OP_PERMUTE ? permute(c, d) : unpermute(c, d);
}
