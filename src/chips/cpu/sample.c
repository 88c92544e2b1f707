/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/sample.c - draws one token a row by the seven numbered steps of base/draw.h.
 *
 * top-k and top-p need no sorted row: each is a prefix of the order (largest logit first, then
 * lowest id), and its end is found by halving the candidates around pivots, in time linear in V.
 * The pivots do not show in the result. Floor: chips. */
#include "base/draw.h"
#include "base/rng.h"
#include "chips/cpu/split.h"

#include <math.h>

/* One row. A thread's scratch: l [V], w [V], id [V]. */
typedef struct row {
    const mz_args *args;
    int64_t b, V;
    bool is_f64;
    double *l;    /* logits after the penalty; NaN became -inf */
    uint32_t *w;  /* weights; 0 once filtered out */
    int32_t *id;  /* candidates; those that stay come first */
    int64_t left; /* how many of them are still in */
} row;

static mz_cpu_room room_of(const mz_sample_desc *d)
{
    const size_t bytes = sizeof(double) + sizeof(uint32_t) + sizeof(int32_t);
    return (mz_cpu_room){.thread_bytes = (size_t)d->V * bytes};
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

static void weigh(row *r, double max)
{
    const double inverse = rounded(r, 1.0 / r->args->k.sample.temperature);
    r->left = r->V;
    for (int64_t v = 0; v < r->V; v++) {
        const double d = rounded(r, rounded(r, r->l[v] - max) * inverse);
        r->w[v] = mz_draw_weight((float)d);
        r->id[v] = (int32_t)v;
    }
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
    int64_t low = 0, high = r->left;
    if (k <= 0 || k >= r->left) return;
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
    int64_t low = 0, high = r->left;
    uint64_t before = 0; /* of id[0..low-1], all of which stay */
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

/* Leaves weights of 0 to all that is out. */
static void filter(row *r)
{
    const double top_p = r->args->k.sample.top_p;
    keep_count(r, r->args->k.sample.top_k);
    if (top_p < 1.0) keep_weight(r, mz_draw_share(sum_of(r, 0, r->left), top_p));
    const uint64_t least = mz_draw_share(MZ_DRAW_ONE, r->args->k.sample.min_p);
    for (int64_t i = 0; i < r->V; i++)
        if (i >= r->left || r->w[r->id[i]] < least) r->w[r->id[i]] = 0;
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
    r.w = (uint32_t *)(void *)(r.l + V);
    r.id = (int32_t *)(void *)(r.w + V);
    for (r.b = first; r.b < last; r.b++) {
        for (int64_t v = 0; v < V; v++) {
            const double l = logit_at(&r, v);
            r.l[v] = isnan(l) ? -(double)INFINITY : l;
        }
        punish(&r);
        int64_t id = best_of(&r);
        if (id >= 0 && isfinite(r.l[id]) && args->k.sample.temperature > 0.0) {
            weigh(&r, r.l[id]);
            filter(&r);
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
