/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/sample.c - draws one token a row, by the seven numbered steps of base/draw.h.
 *
 * Not in double like the rest: the steps fix their rounding, so that ids agree between chips.
 * Floor: chips. */
#include "base/draw.h"
#include "base/rng.h"
#include "chips/ref/ops.h"

#include <math.h>

/* One row. l: logits after the penalty; w: weights, 0 once filtered out; rank: how many logits come
 * before it. Doubles hold all three exactly: l is f32 or f64, w and rank are small integers. */
typedef struct row {
    const mz_sample_desc *d;
    const mz_args *args;
    int64_t b, V;
    double *l, *w, *rank;
} row;

static double rounded(const row *r, double x)
{
    return r->d->acc == MZ_F64 ? x : (double)(float)x;
}

static bool is_in_history(const row *r, int64_t id)
{
    const mz_tensor *history = r->args->sample.history;
    for (int64_t i = 0; history && i < history->dim[1]; i++)
        if (id2(history, r->b, i) == id) return true;
    return false;
}

/* Steps 1 and 2; false if the id is decided. A product of two f32 is exact in double, so rounding
 * it once more is the rounding of a single-precision product. */
static bool greedy(const row *r, double *max, int64_t *id)
{
    const double penalty = r->args->k.sample.repeat_penalty;
    const bool is_on = penalty < 1.0 || penalty > 1.0;
    const double up = rounded(r, penalty), down = rounded(r, 1.0 / penalty);
    *max = -(double)INFINITY;
    *id = -1;
    for (int64_t v = 0; v < r->V; v++) {
        const double l = at2(r->args->sample.logits, r->b, v);
        const bool is_hit = is_on && is_in_history(r, v);
        r->l[v] = is_hit ? rounded(r, l > 0.0 ? l * down : l * up) : l;
        if (!(r->l[v] > *max)) continue;
        *max = r->l[v];
        *id = v;
    }
    return *id >= 0 && isfinite(*max) && r->args->k.sample.temperature > 0.0;
}

/* Step 3, and the order of step 4: ascending id among equals, NaN last. */
static void weigh(const row *r, double max)
{
    const double inverse = rounded(r, 1.0 / r->args->k.sample.temperature);
    for (int64_t v = 0; v < r->V; v++) {
        const double d = rounded(r, rounded(r, r->l[v] - max) * inverse);
        r->w[v] = (double)mz_draw_weight((float)d);
        r->rank[v] = 0.0;
        for (int64_t u = 0; u < r->V; u++)
            r->rank[v] += r->l[u] > r->l[v] || (isnan(r->l[v]) && !isnan(r->l[u])) ||
                          (u < v && !(r->l[u] < r->l[v]) && isnan(r->l[u]) == isnan(r->l[v]));
    }
}

static uint64_t total(const row *r)
{
    uint64_t sum = 0;
    for (int64_t v = 0; v < r->V; v++) sum += (uint64_t)r->w[v];
    return sum;
}

/* Steps 4 to 6. */
static void filter(const row *r)
{
    const int64_t k = r->args->k.sample.top_k;
    for (int64_t v = 0; v < r->V; v++)
        if (k > 0 && r->rank[v] >= (double)k) r->w[v] = 0.0;
    const uint64_t stay = mz_draw_share(total(r), r->args->k.sample.top_p);
    const uint64_t least = mz_draw_share(MZ_DRAW_ONE, r->args->k.sample.min_p);
    uint64_t before = 0;
    for (int64_t place = 0; place < r->V; place++)
        for (int64_t v = 0; v < r->V; v++) {
            if (r->rank[v] < (double)place || r->rank[v] > (double)place) continue;
            const uint64_t w = (uint64_t)r->w[v];
            if ((before > 0 && before >= stay) || w < least) r->w[v] = 0.0;
            before += w;
        }
}

/* Step 7. */
static int64_t draw(const row *r)
{
    uint32_t word[4];
    mz_philox(r->args->k.sample.seed, (uint64_t)r->b, r->args->k.sample.counter, word);
    const uint64_t at = mz_draw_point(total(r), word[0]);
    uint64_t sum = 0;
    for (int64_t v = 0; v < r->V; v++) {
        sum += (uint64_t)r->w[v];
        if (sum > at) return v;
    }
    return -1;
}

/* scratch: l, w, rank [V] */
mz_err mz_ref_sample(mz_op *op, const mz_args *args)
{
    const mz_sample_desc *d = &op->desc.u.sample;
    const mz_tensor workspace = mz_op_workspace(op);
    double *l = mz_ref_doubles(&workspace);
    for (int64_t b = 0; b < args->sample.logits->dim[0]; b++) {
        const row r = {
            .d = d, .args = args, .b = b, .V = d->V, .l = l, .w = l + d->V, .rank = l + 2 * d->V};
        double max = 0.0;
        int64_t id = -1;
        if (greedy(&r, &max, &id)) {
            weigh(&r, max);
            filter(&r);
            id = draw(&r);
        }
        put_id1(args->sample.ids, b, id);
    }
    return MZ_OK;
}
