/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_norm.c - LayerNorm, GroupNorm and BatchNorm with their gradients: elements are
 * taken from by the mean of those that belong together, divided by their deviation, and scaled by
 * numbers of their own. Computed in double, rounded once. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

/* Element e, counted row by row, belongs to statistic e / each % statistics of those that lie so,
 * and has scale e / same % scales. */
typedef struct norming {
    const emu_tensor *x, *scale, *shift;
    int64_t each, statistics, same, scales, members; /* members: of one statistic */
} norming;

/* Where arguments stand; -1: there is no such one. */
typedef struct places {
    int x, scale, shift, eps, out, mean, training;
} places;
static const places LAYER = {0, 2, 3, 4, 5, 6, -1}, LAYER_BACK = {1, 5, 6, -1, 8, 3, -1},
                    GROUP = {0, 1, 2, 7, 8, 9, -1}, GROUP_BACK = {1, 4, -1, -1, 10, 2, -1},
                    BATCH = {0, 1, 2, 7, 8, 9, 5}, BATCH_BACK = {1, 2, -1, 8, 10, 5, 7};

static const places *places_of(const emu_call *c)
{
    const bool is_back = strstr(c->op->name, "Backward") != NULL;
    if (c->op->name[0] == 'L') return is_back ? &LAYER_BACK : &LAYER;
    if (c->op->name[0] == 'G') return is_back ? &GROUP_BACK : &GROUP;
    return is_back ? &BATCH_BACK : &BATCH;
}

/* An optional tensor that is absent or empty is none. */
static const emu_tensor *given(emu_call *c, int i)
{
    const emu_tensor *t = i < 0 ? NULL : emu_t(c, i);
    return t && emu_count(t) > 0 ? t : NULL;
}

static norming norming_of(emu_call *c)
{
    const places *p = places_of(c);
    norming n = {.x = emu_t(c, p->x), .scale = given(c, p->scale), .shift = given(c, p->shift)};
    const int64_t count = emu_count(n.x);
    if (c->op->name[0] == 'L') { /* over the last axes */
        const emu_arg *shape = &c->arg[p == &LAYER ? 1 : 2];
        n.each = n.scales = 1;
        for (int i = 0; i < shape->n; i++) n.each *= shape->ints[i];
        n.scales = n.each;
        n.same = 1;
        n.statistics = n.each ? count / n.each : 0;
    } else if (c->op->name[0] == 'G') { /* N, C, HxW, groups */
        const emu_arg *a = &c->arg[p == &GROUP ? 3 : 5];
        n.scales = a[1].i;
        n.same = a[2].i;
        n.statistics = a[0].i * a[3].i;
        n.each = a[3].i ? a[1].i / a[3].i * a[2].i : 0;
    } else { /* by the second axis */
        n.statistics = n.scales = n.x->rank > 1 ? n.x->dim[1] : 1;
        n.each = n.same = 1;
        for (int i = 2; i < n.x->rank; i++) n.each = n.same *= n.x->dim[i];
    }
    n.members = n.statistics ? count / n.statistics : 0;
    return n;
}

static int64_t statistic_of(const norming *n, int64_t e)
{
    return e / n->each % n->statistics;
}

static int64_t scale_of(const norming *n, int64_t e)
{
    return e / n->same % n->scales;
}

static double scaled_by(const norming *n, int64_t e)
{
    return n->scale ? emu_get(n->scale, emu_place(n->scale, 0, scale_of(n, e))) : 1.0;
}

/* ---- phase 1 ---- */

static aclnnStatus check_norm(emu_call *c)
{
    const places *p = places_of(c);
    const bool is_back = strstr(c->op->name, "Backward") != NULL;
    const int args[] = {p->x, is_back ? 0 : p->out, p->mean};
    const aclnnStatus code = emu_want(c, args, p->training >= 0 ? 2 : 3);
    if (code != 0) return code;
    const norming n = norming_of(c);
    const emu_tensor *y = is_back ? emu_t(c, 0) : emu_t(c, p->out);
    if (!emu_is_float(n.x->type) || n.x->type == EMU_DOUBLE || !emu_same_shape(n.x, y))
        return emu_refuse(c, "x is no float, or the output or its gradient of another shape");
    if (n.each * n.statistics <= 0 && emu_count(n.x) > 0)
        return emu_refuse(c, "there is no such shape");
    if (n.members * n.statistics != emu_count(n.x))
        return emu_refuse(c, "x is not made of parts of that shape");
    if ((n.scale && emu_count(n.scale) != n.scales) || (n.shift && emu_count(n.shift) != n.scales))
        return emu_refuse(c, "there is not one weight or bias for each that is scaled");
    const emu_tensor *mean = given(c, p->mean), *rstd = given(c, p->mean + 1);
    return (!mean || emu_count(mean) == n.statistics) && (!rstd || emu_count(rstd) == n.statistics)
               ? 0
               : emu_refuse(c, "mean or rstd has another shape than the statistics");
}

/* ---- forward ---- */

/* Means, and in place of what follows them the variances. */
static void measure(const norming *n, double *mean, double *variance)
{
    const int64_t count = emu_count(n->x);
    for (int64_t e = 0; e < count; e++)
        mean[statistic_of(n, e)] += emu_get(n->x, emu_place(n->x, 0, e)) / (double)n->members;
    for (int64_t e = 0; e < count; e++) {
        const double off = emu_get(n->x, emu_place(n->x, 0, e)) - mean[statistic_of(n, e)];
        variance[statistic_of(n, e)] += off * off / (double)n->members;
    }
}

static void take_running(emu_call *c, const norming *n, double *mean, double *variance)
{
    const emu_tensor *m = emu_t(c, 3), *v = emu_t(c, 4);
    for (int64_t s = 0; s < n->statistics; s++) {
        mean[s] = emu_get(m, emu_place(m, 0, s));
        variance[s] = emu_get(v, emu_place(v, 0, s));
    }
}

/* By the momentum, argument 6; the variance over one less. */
static void give_running(emu_call *c, const norming *n, const double *mean, const double *variance)
{
    const double part = c->arg[6].d,
                 more = n->members > 1 ? (double)n->members / (double)(n->members - 1) : 1.0;
    for (int k = 0; k < 2; k++) {
        const emu_tensor *t = given(c, 3 + k);
        for (int64_t s = 0; t && s < n->statistics; s++) {
            const int64_t at = emu_place(t, 0, s);
            const double now = k == 0 ? mean[s] : variance[s] * more;
            emu_put(c, t, at, (1.0 - part) * emu_get(t, at) + part * now);
        }
    }
}

static void run_norm(emu_call *c)
{
    const places *p = places_of(c);
    const norming n = norming_of(c);
    const bool is_training = p->training < 0 || c->arg[p->training].i;
    const emu_tensor *y = emu_t(c, p->out), *mean_out = given(c, p->mean),
                     *rstd_out = given(c, p->mean + 1);
    double *mean = calloc((size_t)(2 * n.statistics + 1), sizeof *mean),
           *rstd = mean + n.statistics;
    if (!mean) return;
    if (is_training)
        measure(&n, mean, rstd);
    else
        take_running(c, &n, mean, rstd);
    if (is_training && p == &BATCH) give_running(c, &n, mean, rstd);
    for (int64_t s = 0; s < n.statistics; s++) {
        rstd[s] = 1.0 / sqrt(rstd[s] + c->arg[p->eps].d);
        if (mean_out) emu_put(c, mean_out, emu_place(mean_out, 0, s), mean[s]);
        if (rstd_out) emu_put(c, rstd_out, emu_place(rstd_out, 0, s), rstd[s]);
    }
    for (int64_t e = 0, count = emu_count(n.x); e < count; e++) {
        const int64_t s = statistic_of(&n, e);
        const double x =
            (emu_get(n.x, emu_place(n.x, 0, e)) - mean[s]) * rstd[s] * scaled_by(&n, e);
        const double shift =
            n.shift ? emu_get(n.shift, emu_place(n.shift, 0, scale_of(&n, e))) : 0.0;
        emu_put(c, y, emu_place(y, 0, e), x + shift);
    }
    free(mean);
}

/* ---- backward: with h the normed x and g = dy * scale, dx = rstd (g - mean g - h mean(g h)) ----
 */

typedef struct sums {
    double *mean, *rstd, *g, *gh; /* of each statistic */
    double *d_scale, *d_shift;    /* of each scale */
} sums;

static void take_statistics(emu_call *c, const norming *n, const sums *s, bool is_training)
{
    const places *p = places_of(c);
    const emu_tensor *mean = emu_t(c, is_training ? p->mean : 3),
                     *rstd = emu_t(c, is_training ? p->mean + 1 : 4);
    for (int64_t i = 0; i < n->statistics; i++) {
        s->mean[i] = emu_get(mean, emu_place(mean, 0, i));
        s->rstd[i] = emu_get(rstd, emu_place(rstd, 0, i));
        if (!is_training) s->rstd[i] = 1.0 / sqrt(s->rstd[i] + c->arg[p->eps].d);
    }
}

static double normed(const norming *n, const sums *s, int64_t e)
{
    const int64_t i = statistic_of(n, e);
    return (emu_get(n->x, emu_place(n->x, 0, e)) - s->mean[i]) * s->rstd[i];
}

static void add_sums(const norming *n, const sums *s, const emu_tensor *dy)
{
    for (int64_t e = 0, count = emu_count(n->x); e < count; e++) {
        const double h = normed(n, s, e), d = emu_get(dy, emu_place(dy, 0, e)),
                     g = d * scaled_by(n, e);
        s->g[statistic_of(n, e)] += g / (double)n->members;
        s->gh[statistic_of(n, e)] += g * h / (double)n->members;
        s->d_scale[scale_of(n, e)] += d * h;
        s->d_shift[scale_of(n, e)] += d;
    }
}

static void run_norm_back(emu_call *c)
{
    const places *p = places_of(c);
    const norming n = norming_of(c);
    const bool is_training = p->training < 0 || c->arg[p->training].i;
    const emu_tensor *dy = emu_t(c, 0), *dx = given(c, p->out);
    double *room = calloc((size_t)(4 * n.statistics + 2 * n.scales + 1), sizeof *room);
    if (!room) return;
    const sums s = {room,
                    room + n.statistics,
                    room + 2 * n.statistics,
                    room + 3 * n.statistics,
                    room + 4 * n.statistics,
                    room + 4 * n.statistics + n.scales};
    take_statistics(c, &n, &s, is_training);
    add_sums(&n, &s, dy);
    for (int64_t e = 0, count = emu_count(n.x); dx && e < count; e++) {
        const int64_t i = statistic_of(&n, e);
        const double g = emu_get(dy, emu_place(dy, 0, e)) * scaled_by(&n, e);
        const double less = is_training ? s.g[i] + normed(&n, &s, e) * s.gh[i] : 0.0;
        emu_put(c, dx, emu_place(dx, 0, e), s.rstd[i] * (g - less));
    }
    for (int k = 1; k <= 2; k++) {
        const emu_tensor *t = given(c, p->out + k);
        for (int64_t i = 0; t && i < n.scales; i++)
            emu_put(c, t, emu_place(t, 0, i), k == 1 ? s.d_scale[i] : s.d_shift[i]);
    }
    free(room);
}

const emu_op emu_ops_norm[] = {
    {"LayerNorm", check_norm, run_norm},
    {"LayerNormBackward", check_norm, run_norm_back},
    {"GroupNorm", check_norm, run_norm},
    {"GroupNormBackward", check_norm, run_norm_back},
    {"BatchNorm", check_norm, run_norm},
    {"BatchNormBackward", check_norm, run_norm_back},
    {NULL, NULL, NULL},
};
