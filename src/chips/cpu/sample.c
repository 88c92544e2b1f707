/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/sample.c - draws one token a row by the seven numbered steps of base/draw.h.
 *
 * top-k and top-p need no sorted row: each is a prefix of the order (largest logit first, then
 * lowest id). Ids are dealt into bins by their distance from the best, and in the one bin where the
 * prefix ends the end is found by halving around pivots: time linear in V. Neither bins nor pivots
 * show in the result. Floor: chips. */
#include "base/draw.h"
#include "base/rng.h"
#include "chips/cpu/split.h"

#include <math.h>
#include <string.h>

enum {
    BINS = 2048,
    BINS_PER_UNIT = 64
}; /* of a logit's distance; what is further is in the last */

/* One row. A thread's scratch: l [V], bin [BINS+1], w [V], id [V]. */
typedef struct row {
    const mz_args *args;
    int64_t b, V;
    bool is_f64;
    double *l;    /* logits after the penalty; NaN became -inf */
    int64_t *bin; /* where in id each of the first `bins` begins, and where the last ends */
    int64_t bins;
    uint32_t *w;  /* weights; 0 once filtered out */
    int32_t *id;  /* candidates, bin by bin; those that stay come first */
    int64_t left; /* how many of them are still in */
} row;

static mz_cpu_room room_of(const mz_sample_desc *d)
{
    const size_t bytes = sizeof(double) + sizeof(uint32_t) + sizeof(int32_t);
    return (mz_cpu_room){.thread_bytes = (size_t)d->V * bytes + (BINS + 1) * sizeof(int64_t)};
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, room_of(&desc->u.sample));
    return MZ_OK;
}

/* ---- steps 1 to 3 ---- */

static double logit_at(const row *r, int64_t v)
{
    const mz_tensor *t = r->args->sample.logits;
    const void *p = mz_cpu_elem(t, r->b * t->stride[0] + v);
    return r->is_f64 ? *(const double *)p : (double)*(const float *)p;
}

/* A product of two f32 is exact in double, so rounding it is the rounding of an f32 product. */
static double rounded(const row *r, double x)
{
    return r->is_f64 ? x : (double)(float)x;
}

/* Takes every logit as it was, so an id that stands in the history twice is punished once. */
static void punish(const row *r)
{
    const mz_tensor *history = r->args->sample.history;
    const double penalty = r->args->k.sample.repeat_penalty;
    if (!history || !(penalty < 1.0 || penalty > 1.0)) return;
    const double up = rounded(r, penalty), down = rounded(r, 1.0 / penalty);
    for (int64_t i = 0; i < history->dim[1]; i++) {
        const int64_t v = mz_cpu_id_at(history, r->b, i);
        if (v < 0 || v >= r->V) continue;
        const double l = logit_at(r, v);
        if (!isnan(l)) r->l[v] = rounded(r, l > 0.0 ? l * down : l * up);
    }
}

/* The lowest id of the largest logit, -1 if there is none above -inf. */
static int64_t best_of(const row *r)
{
    double max = -(double)INFINITY;
    int64_t best = -1;
    for (int64_t v = 0; v < r->V; v++) {
        if (!(r->l[v] > max)) continue;
        max = r->l[v];
        best = v;
    }
    return best;
}

static void weigh(const row *r, const mz_cpu_ops_table *ops, double max)
{
    const double inverse = rounded(r, 1.0 / r->args->k.sample.temperature);
    if (!r->is_f64) {
        ops->draw_weights(r->w, r->l, r->V, (float)max, (float)inverse);
        return;
    }
    for (int64_t v = 0; v < r->V; v++) r->w[v] = mz_draw_weight((float)((r->l[v] - max) * inverse));
}

/* ---- steps 4 to 6 ---- */

static bool comes_first(const row *r, int32_t a, int32_t b)
{
    return r->l[a] > r->l[b] || (!(r->l[a] < r->l[b]) && a < b);
}

static void swap(int32_t *a, int32_t *b)
{
    const int32_t t = *a;
    *a = *b;
    *b = t;
}

/* A larger logit is never in a later bin, and equal ones are in the same. */
static int64_t bin_of(double below_best)
{
    return below_best < (double)(BINS - 1) / BINS_PER_UNIT ? (int64_t)(below_best * BINS_PER_UNIT)
                                                           : BINS - 1;
}

/* Deals the ids of the first bins, as many bins as `k` ids need (0: as weights of `stay` need). */
static void deal(row *r, double max, int64_t k, uint64_t stay)
{
    int64_t n[BINS], last = 0, sum = 0;
    uint64_t mass[BINS], weight = 0;
    memset(n, 0, sizeof n);
    memset(mass, 0, sizeof mass);
    for (int64_t v = 0; v < r->V; v++) {
        const int64_t b = bin_of(max - r->l[v]);
        n[b]++;
        mass[b] += r->w[v];
    }
    for (; last < BINS && (k > 0 ? sum < k : weight < stay); last++) {
        weight += mass[last];
        r->bin[last] = sum;
        sum += n[last];
        n[last] = r->bin[last];
    }
    r->bins = last;
    r->bin[last] = r->left = sum;
    for (int64_t v = 0; v < r->V; v++) {
        const int64_t b = bin_of(max - r->l[v]);
        if (b < last) r->id[n[b]++] = (int32_t)v;
    }
}

/* Orders id[low..high-1] around one of them, the median of three; returns where that one ends. */
static int64_t part(const row *r, int64_t low, int64_t high)
{
    int32_t *id = r->id, *middle = &id[low + (high - low) / 2], *last = &id[high - 1];
    if (comes_first(r, *middle, id[low])) swap(middle, &id[low]);
    if (comes_first(r, *last, id[low])) swap(last, &id[low]);
    if (comes_first(r, *middle, *last)) swap(middle, last); /* the median is last now */
    int64_t end = low;
    for (int64_t i = low; i < high - 1; i++)
        if (comes_first(r, id[i], *last)) swap(&id[i], &id[end++]);
    swap(&id[end], last);
    return end;
}

static uint64_t sum_of(const row *r, int64_t low, int64_t high)
{
    uint64_t sum = 0;
    for (int64_t i = low; i < high; i++) sum += r->w[r->id[i]];
    return sum;
}

/* Keeps the k first of the order. */
static void keep_count(row *r, int64_t k)
{
    if (k <= 0 || k >= r->left) return;
    const int64_t b = mz_cpu_owner(r->bin, r->bins, k);
    int64_t low = r->bin[b], high = r->bin[b + 1];
    while (low < high) { /* the k-th border lies in low..high */
        const int64_t at = part(r, low, high);
        if (at < k)
            low = at + 1;
        else
            high = at;
    }
    r->left = k;
}

/* Keeps the prefix of the order before whose members the weights sum to less than `stay`. */
static void keep_weight(row *r, uint64_t stay)
{
    uint64_t before = 0; /* of id[0..low-1], all of which stay */
    int64_t low = 0, high = 0;
    for (int64_t b = 0; b < r->bins && low == high && low < r->left; b++) {
        high = r->bin[b + 1] < r->left ? r->bin[b + 1] : r->left;
        const uint64_t all = sum_of(r, low, high);
        if (before + all >= stay) break; /* the last that stays is in this bin */
        before += all;
        low = high;
    }
    while (low < high) {
        const int64_t at = part(r, low, high);
        const uint64_t first = sum_of(r, low, at);
        if (before + first < stay) {
            before += first + r->w[r->id[at]];
            low = at + 1;
        } else {
            high = at;
        }
    }
    r->left = low;
}

/* Of top-p; the best id stays whatever the share is. */
static uint64_t stay_of(const row *r, uint64_t total)
{
    const uint64_t stay = mz_draw_share(total, r->args->k.sample.top_p);
    return stay > 0 ? stay : 1;
}

/* The one of the candidates that stay behind which everything is out. */
static int32_t last_in(const row *r)
{
    int32_t last = r->id[r->left - 1];
    for (int64_t i = r->bin[mz_cpu_owner(r->bin, r->bins, r->left - 1)]; i < r->left; i++)
        if (comes_first(r, last, r->id[i])) last = r->id[i];
    return last;
}

/* Leaves weights of 0 to all that is out. */
static void filter(row *r, double max)
{
    const double top_p = r->args->k.sample.top_p;
    const uint64_t least = mz_draw_share(MZ_DRAW_ONE, r->args->k.sample.min_p);
    int64_t k = r->args->k.sample.top_k;
    uint64_t total = 0;
    if (k >= r->V) k = 0;
    for (int64_t v = 0; v < r->V; v++) total += r->w[v];
    if (top_p < 1.0 || k > 0) {
        deal(r, max, k, stay_of(r, total));
        keep_count(r, k);
        if (k > 0) total = sum_of(r, 0, r->left);
        if (top_p < 1.0) keep_weight(r, stay_of(r, total));
        const int32_t last = last_in(r);
        for (int64_t v = 0; v < r->V; v++)
            if (comes_first(r, last, (int32_t)v)) r->w[v] = 0;
    }
    for (int64_t v = 0; v < r->V && least > 0; v++)
        if (r->w[v] < least) r->w[v] = 0;
}

/* ---- step 7 ---- */

static int64_t draw(const row *r)
{
    uint32_t word[4];
    uint64_t total = 0, sum = 0;
    mz_philox(r->args->k.sample.seed, (uint64_t)r->b, r->args->k.sample.counter, word);
    for (int64_t v = 0; v < r->V; v++) total += r->w[v];
    const uint64_t at = mz_draw_point(total, word[0]);
    for (int64_t v = 0; v < r->V; v++) {
        sum += r->w[v];
        if (sum > at) return v;
    }
    return -1;
}

static void sample_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last,
                        void *scratch)
{
    const int64_t V = op->desc.u.sample.V;
    row r = {.args = args, .V = V, .is_f64 = op->desc.u.sample.acc == MZ_F64, .l = scratch};
    int32_t *ids = mz_cpu_data(args->sample.ids);
    r.bin = (int64_t *)(void *)(r.l + V);
    r.w = (uint32_t *)(void *)(r.bin + BINS + 1);
    r.id = (int32_t *)(void *)(r.w + V);
    for (r.b = first; r.b < last; r.b++) {
        for (int64_t v = 0; v < V; v++) {
            const double l = logit_at(&r, v);
            r.l[v] = isnan(l) ? -(double)INFINITY : l;
        }
        punish(&r);
        int64_t id = best_of(&r);
        if (id >= 0 && isfinite(r.l[id]) && args->k.sample.temperature > 0.0) {
            const double max = r.l[id];
            weigh(&r, mz_cpu_ops_of(op), max);
            filter(&r, max);
            id = draw(&r);
        }
        ids[r.b] = (int32_t)id;
    }
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    mz_cpu_split_scratch(op, args, args->sample.logits->dim[0], 1, room_of(&op->desc.u.sample),
                         sample_rows);
    return MZ_OK;
}

const mz_slot mz_cpu_sample = {.query = query, .forward = forward};
