/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/router.cl - which experts a token goes to, and with what weights; one item a token.
 *
 * Sources: DeepSeek-V2 report (softmax, groups by their largest), arXiv:2405.04434; DeepSeek-V3
 * report (sigmoid, selection bias, groups by the sum of their two largest), arXiv:2412.19437.
 * Scores s and marks lie [E,T], so that neighbouring items read neighbours; the first are what
 * forward saves for backward. NaN counts as lower than everything, so that k different experts are
 * chosen whatever comes. Groups: T / GROUP, rounded up. Floor: chips. */
#include "chips/kernels/args_moe.h"
#include "chips/kernels/lang.h"

enum { FREE = 0, CHOSEN = 1, OUT_OF_GROUP = 2 };

HELPER int beats(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

/* What expert e is chosen by. */
HELPER float candidate(GLOBAL const float *s, GLOBAL const float *bias, mz_krouter k, i64 t, i64 e)
{
    const float x = s[e * k.T + t];
    return k.has_bias ? x + bias[k.bias.at + e * k.bias.s0] : x;
}

/* s[.,t]; returns what probs divide by. */
HELPER float scores(GLOBAL float *s, GLOBAL const float *logits, mz_krouter k, i64 t)
{
    const i64 at = k.logits.at + t * k.logits.s0;
    float max = -INFINITE, sum = 0.0f;
    for (i64 e = 0; e < k.E; e++) max = fmax(max, logits[at + e * k.logits.s1]);
    for (i64 e = 0; e < k.E; e++) {
        const float x = logits[at + e * k.logits.s1];
        const float y = k.sigmoid ? 1.0f / (1.0f + exp(-x)) : exp(x - max);
        s[e * k.T + t] = y;
        sum += y;
    }
    if (k.sigmoid) return sum;
    for (i64 e = 0; e < k.E; e++) s[e * k.T + t] /= sum;
    return 1.0f;
}

/* Its largest candidate, or the sum of the two largest. */
HELPER float group_value(GLOBAL const float *s, GLOBAL const float *bias, mz_krouter k, i64 t,
                         i64 group)
{
    const i64 n = k.E / k.groups;
    float first = candidate(s, bias, k, t, group * n), second = -INFINITE;
    for (i64 i = 1; i < n; i++) {
        const float c = candidate(s, bias, k, t, group * n + i);
        const int is_first = beats(c, first);
        if (is_first || beats(c, second) || i == 1) second = is_first ? first : c;
        if (is_first) first = c;
    }
    return k.top2 ? first + second : first;
}

/* Frees the experts of the best group that is still out; values [groups,T]. */
HELPER void keep_group(GLOBAL int *mark, GLOBAL const float *values, mz_krouter k, i64 t)
{
    const i64 n = k.E / k.groups;
    i64 best = -1;
    for (i64 g = 0; g < k.groups; g++)
        if (mark[g * n * k.T + t] == OUT_OF_GROUP &&
            (best < 0 || beats(values[g * k.T + t], values[best * k.T + t])))
            best = g;
    for (i64 i = 0; best >= 0 && i < n; i++) mark[(best * n + i) * k.T + t] = FREE;
}

HELPER void choose_best(GLOBAL int *mark, GLOBAL const float *s, GLOBAL const float *bias,
                        mz_krouter k, i64 t)
{
    i64 best = -1;
    float value = 0.0f;
    for (i64 e = 0; e < k.E; e++) {
        const float c = candidate(s, bias, k, t, e);
        if (mark[e * k.T + t] != FREE || (best >= 0 && !beats(c, value))) continue;
        best = e;
        value = c;
    }
    if (best >= 0) mark[best * k.T + t] = CHOSEN;
}

/* ids[t,.], ascending. */
HELPER void choose(GLOBAL int *ids, GLOBAL int *mark, GLOBAL float *values, GLOBAL const float *s,
                   GLOBAL const float *bias, mz_krouter k, i64 t)
{
    for (i64 e = 0; e < k.E; e++) mark[e * k.T + t] = OUT_OF_GROUP;
    for (i64 g = 0; g < k.groups; g++) values[g * k.T + t] = group_value(s, bias, k, t, g);
    for (i64 i = 0; i < k.groups_kept; i++) keep_group(mark, values, k, t);
    for (i64 j = 0; j < k.k; j++) choose_best(mark, s, bias, k, t);
    i64 j = 0;
    for (i64 e = 0; e < k.E; e++)
        if (mark[e * k.T + t] == CHOSEN) ids[k.ids.at + t * k.ids.s0 + j++ * k.ids.s1] = (int)e;
}

/* The score of choice j; NaN for an id that is no expert. */
HELPER float chosen_score(GLOBAL const int *ids, GLOBAL const float *s, mz_krouter k, i64 t, i64 j)
{
    const i64 e = ids[k.ids.at + t * k.ids.s0 + j * k.ids.s1];
    return e >= 0 && e < k.E ? s[e * k.T + t] : NOT_A_NUMBER;
}

/* s [E,T] is saved or scratch; mark [E,T] and values [groups,T] are scratch. */
KERNEL void router(GLOBAL float *weights, GLOBAL int *ids, GLOBAL float *probs, GLOBAL float *s,
                   GLOBAL int *mark, GLOBAL float *values, GLOBAL const float *logits,
                   GLOBAL const float *bias, mz_krouter k)
{
    const i64 t = GLOBAL_ITEM;
    if (t >= k.T) return;
    const float all = scores(s, logits, k, t);
    float sum = 0.0f;
    if (!k.forced) choose(ids, mark, values, s, bias, k, t);
    for (i64 j = 0; j < k.k; j++) sum += chosen_score(ids, s, k, t, j);
    for (i64 j = 0; j < k.k; j++) {
        const float w = chosen_score(ids, s, k, t, j);
        weights[k.weights.at + t * k.weights.s0 + j * k.weights.s1] =
            k.factor * (k.normalise ? w / (sum + 1e-20f) : w);
    }
    for (i64 e = 0; k.has_probs && e < k.E; e++)
        probs[k.probs.at + t * k.probs.s0 + e * k.probs.s1] = s[e * k.T + t] / all;
}

/* ds [E,T] is scratch. softmax: dl = s (ds - sum_e ds s); sigmoid: dl = ds s (1 - s). Weights go by
 * shares: a lone expert's is 1, and its score's gradient 0, not what rounding leaves. */
KERNEL void router_backward(GLOBAL float *dlogits, GLOBAL float *ds, GLOBAL const float *s,
                            GLOBAL const int *ids, GLOBAL const float *dweights,
                            GLOBAL const float *dprobs, mz_krouter k)
{
    const i64 t = GLOBAL_ITEM;
    if (t >= k.T) return;
    const i64 dw_at = k.dweights.at + t * k.dweights.s0, dp_at = k.dprobs.at + t * k.dprobs.s0;
    float sum = 1e-20f, dot = 0.0f, all = 0.0f, dot_all = 0.0f, dot_s = 0.0f;
    for (i64 j = 0; j < k.k; j++) sum += chosen_score(ids, s, k, t, j);
    for (i64 j = 0; j < k.k; j++)
        dot += dweights[dw_at + j * k.dweights.s1] * (chosen_score(ids, s, k, t, j) / sum);
    for (i64 e = 0; e < k.E; e++) {
        all += s[e * k.T + t];
        dot_all += k.has_dprobs ? dprobs[dp_at + e * k.dprobs.s1] * s[e * k.T + t] : 0.0f;
    }
    for (i64 e = 0; e < k.E; e++) {
        const float dp = k.has_dprobs ? dprobs[dp_at + e * k.dprobs.s1] : 0.0f;
        ds[e * k.T + t] = k.sigmoid ? dp / all - dot_all / (all * all) : dp;
    }
    for (i64 j = 0; j < k.k; j++) {
        const i64 e = ids[k.ids.at + t * k.ids.s0 + j * k.ids.s1];
        const float dw = dweights[dw_at + j * k.dweights.s1];
        if (e >= 0 && e < k.E) ds[e * k.T + t] += k.factor * (k.normalise ? (dw - dot) / sum : dw);
    }
    for (i64 e = 0; e < k.E; e++) dot_s += ds[e * k.T + t] * s[e * k.T + t];
    for (i64 e = 0; e < k.E; e++) {
        const float x = s[e * k.T + t], d = ds[e * k.T + t];
        dlogits[k.dlogits.at + t * k.dlogits.s0 + e * k.dlogits.s1] =
            x * (k.sigmoid ? d * (1.0f - x) : d - dot_s);
    }
}
