/* SPDX-License-Identifier: Apache-2.0 */
/* runs/axis.c - see axis.h. */
#include "runs/axis.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* ---- ticks ---- */

static bool is_zero(double x)
{
    return !(x < 0.0) && !(x > 0.0);
}

/* 1, 2 or 5 times a power of ten, so that about `ticks` of them make up the span. */
static double nice_step(double span, int ticks)
{
    const double rough = span / (double)(ticks > 0 ? ticks : 1);
    const double ten = pow(10.0, floor(log10(rough)));
    const double head = rough / ten;
    return ten * (head < 1.25 ? 1.0 : head < 3.0 ? 2.0 : head < 7.5 ? 5.0 : 10.0);
}

static void put_ticks(mz_axis *a, int ticks)
{
    a->n = 0;
    a->step = nice_step(a->high - a->low, ticks);
    const double first = ceil(a->low / a->step - 1e-9);
    for (int i = 0; i < MZ_TICKS_MAX; i++) {
        const double x = (first + (double)i) * a->step;
        if (x > a->high + 1e-9 * a->step) break;
        a->tick[a->n++] = fabs(x) < 1e-9 * a->step ? 0.0 : x;
    }
}

/* Powers of ten; between them 2 and 5 where there are few. False: too few to be of use. */
static bool put_powers(mz_axis *a, int ticks)
{
    static const double few[] = {1.0, 2.0, 5.0}, many[] = {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0};
    const double decades = log10(a->high) - log10(a->low); /* their ratio may be no number */
    const double *heads = decades < 1.0 ? many : few;
    const int each = decades < 1.0 ? MZ_COUNT(many) : decades < 2.5 ? MZ_COUNT(few) : 1;
    const double stride = fmax(1.0, ceil(decades / (double)(ticks > 0 ? ticks : 1)));
    a->n = 0, a->step = 0.0;
    for (double p = floor(log10(a->low)); p <= log10(a->high); p += 1.0) {
        if (!is_zero(fmod(p, stride))) continue;
        for (int i = 0; i < each && a->n < MZ_TICKS_MAX; i++) {
            const double x = heads[i] * pow(10.0, p);
            if (x >= a->low * 0.999999 && x <= a->high * 1.000001) a->tick[a->n++] = x;
        }
    }
    return a->n >= 2;
}

void mz_axis_set(mz_axis *a, double low, double high, bool is_log, int ticks)
{
    *a = (mz_axis){.low = low, .high = high, .is_log = is_log && low > 0.0};
    if (!isfinite(low) || !isfinite(high) || low > high) {
        a->low = 0.0, a->high = 1.0, a->is_log = false;
    } else if (a->is_log) {
        const double around = low < high ? pow(10.0, 0.04 * (log10(high) - log10(low))) : 2.0;
        a->low = fmax(low / around, DBL_MIN), a->high = fmin(high * around, DBL_MAX);
    } else {
        const double flat = is_zero(low) ? 1.0 : 0.1 * fabs(low);
        const double around = low < high ? 0.04 * (high - low) : flat;
        a->low = fmax(low - around, -DBL_MAX / 4), a->high = fmin(high + around, DBL_MAX / 4);
        if (low >= 0.0 && a->low < 0.0) a->low = 0.0;
        if (!(a->low < a->high)) a->high = a->low + fmax(1.0, fabs(a->low) * 1e-12);
    }
    if (!a->is_log || !put_powers(a, ticks)) put_ticks(a, ticks);
}

void mz_axis_set_steps(mz_axis *a, int64_t low, int64_t high, int ticks)
{
    const bool is_flat = low >= high;
    *a = (mz_axis){.low = (double)low - (is_flat ? 1.0 : 0.0),
                   .high = (double)(is_flat ? low : high) + (is_flat ? 1.0 : 0.0)};
    put_ticks(a, ticks);
    if (a->step >= 1.0) return;
    a->n = 0, a->step = 1.0; /* a few steps: each of them */
    for (double x = a->low; x <= a->high && a->n < MZ_TICKS_MAX; x += 1.0) a->tick[a->n++] = x;
}

double mz_axis_at(const mz_axis *a, double x)
{
    if (!a->is_log) return (x - a->low) / (a->high - a->low);
    if (!(x > 0.0)) return (double)NAN;
    return (log(x) - log(a->low)) / (log(a->high) - log(a->low));
}

/* Without zeros at the end, and without "e+0". */
static const char *scientific(double x, char out[32])
{
    const double p = floor(log10(fabs(x)) + 1e-9);
    (void)snprintf(out, 32, "%.3ge%.0f", x / pow(10.0, p), p);
    return out;
}

const char *mz_axis_label(const mz_axis *a, double x, char out[32])
{
    static const struct {
        double unit;
        const char *name;
    } LARGE[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    const double most = fmax(fabs(a->low), fabs(a->high));
    if (is_zero(x)) {
        (void)snprintf(out, 32, "0");
        return out;
    }
    const double size = a->is_log ? fabs(x) : most;
    if (size < (a->is_log ? 1e-2 : 2e-3) || size >= 1e15) return scientific(x, out);
    for (int i = 0; i < MZ_COUNT(LARGE); i++) {
        if (size < LARGE[i].unit || size < 1e4) continue; /* 2000, 20k, 0.2M */
        (void)snprintf(out, 32, "%.6g%s", x / LARGE[i].unit, LARGE[i].name);
        return out;
    }
    const double places = a->step > 0.0 ? ceil(-log10(a->step) - 1e-9) : 0.0;
    if (a->step > 0.0 && places >= 0.0 && places < 12.0)
        (void)snprintf(out, 32, "%.*f", (int)places, x);
    else
        (void)snprintf(out, 32, "%.6g", x);
    return out;
}

/* ---- curves ---- */

/* A running mean over what is finite, as many records before as after; a number that is not leaves
 * a gap and counts for nothing. */
typedef struct mean {
    const mz_series *series;
    const mz_thin *how;
    double sum;
    int64_t n, from, to; /* records of the sum */
} mean;

static void count(mean *m, int64_t i, int sign)
{
    const double x = m->series->list[i].value[m->how->metric];
    if (!isfinite(x)) return;
    m->sum += sign * x;
    m->n += sign;
}

static double next(mean *m, int64_t i)
{
    const double x = m->series->list[i].value[m->how->metric];
    const int64_t wide = m->how->smooth;
    if (!isfinite(x)) return (double)NAN;
    if (wide <= 1) return x;
    while (m->to < m->series->n && m->to <= i + wide / 2) count(m, m->to++, 1);
    while (m->from < i - (wide - 1) / 2) count(m, m->from++, -1);
    return m->sum / (double)m->n;
}

/* What a column holds so far. */
typedef struct column {
    int64_t at;        /* which */
    double x[2], y[2]; /* lowest, highest; NaN: none */
    bool gap_before, gap_after;
} column;

static void put(mz_points *t, double x, double y)
{
    t->x[t->n] = x;
    t->y[t->n++] = y;
}

static void put_column(mz_points *t, const column *c)
{
    const int first = c->x[0] <= c->x[1] ? 0 : 1;
    const bool is_empty = isnan(c->y[0]);
    if (c->gap_before || (is_empty && c->gap_after)) put(t, c->x[0], (double)NAN);
    if (is_empty) return;
    put(t, c->x[first], c->y[first]);
    if (c->x[0] < c->x[1] || c->x[1] < c->x[0]) put(t, c->x[1 - first], c->y[1 - first]);
    if (c->gap_after) put(t, c->x[1 - first], (double)NAN);
}

static void take(column *c, double x, double y)
{
    if (isnan(y)) {
        if (isnan(c->y[0]))
            c->gap_before = true;
        else
            c->gap_after = true;
        return;
    }
    c->gap_after = false; /* narrower than a column: not seen */
    if (isnan(c->y[0]) || y < c->y[0]) c->x[0] = x, c->y[0] = y;
    if (isnan(c->y[1]) || y > c->y[1]) c->x[1] = x, c->y[1] = y;
}

static void thin(mz_points *t, mean *m, const mz_thin *how)
{
    const double wide = (how->high - how->low) / (double)how->columns;
    column c = {.at = -1};
    for (int64_t i = 0; i < m->series->n; i++) {
        const double x = (double)m->series->list[i].step;
        const double at = floor((x - how->low) / wide);
        const int64_t column_of = at < 0.0                     ? 0
                                  : at >= (double)how->columns ? how->columns - 1
                                                               : (int64_t)at;
        if (column_of != c.at) {
            if (c.at >= 0) put_column(t, &c);
            c = (column){.at = column_of, .x = {x, x}, .y = {(double)NAN, (double)NAN}};
        }
        take(&c, x, next(m, i));
    }
    if (c.at >= 0) put_column(t, &c);
}

mz_err mz_points_make(mz_points *t, const mz_series *s, const mz_thin *how)
{
    mean m = {.series = s, .how = how};
    MZ_NEED(t && s && how && how->columns > 0 && how->low < how->high, "no room to draw in");
    const bool is_thin = s->n > 2 * how->columns;
    const int64_t most = is_thin ? 4 * how->columns + 4 : s->n;
    *t = (mz_points){0};
    mz_err err = mz_mem_new(&t->x, most, sizeof *t->x);
    if (err == MZ_OK) err = mz_mem_new(&t->y, most, sizeof *t->y);
    if (err != MZ_OK) {
        mz_points_clear(t);
        return err;
    }
    if (is_thin) thin(t, &m, how);
    for (int64_t i = 0; i < s->n && !is_thin; i++) put(t, (double)s->list[i].step, next(&m, i));
    return MZ_OK;
}

void mz_points_clear(mz_points *t)
{
    mz_mem_free(t->x);
    mz_mem_free(t->y);
    *t = (mz_points){0};
}
