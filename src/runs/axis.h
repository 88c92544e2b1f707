/* SPDX-License-Identifier: Apache-2.0 */
/* runs/axis.h - a scale for numbers, with ticks where people would put them, and a curve thinned
 * out to what a picture can show. Floor: runs. */
#ifndef MZ_RUNS_AXIS_H
#define MZ_RUNS_AXIS_H

#include "runs/series.h"

enum { MZ_TICKS_MAX = 16 };

typedef struct mz_axis {
    double low, high; /* low < high; of a logarithmic one both above 0 */
    bool is_log;
    int n;
    double tick[MZ_TICKS_MAX];
    double step; /* between ticks; of a logarithmic one 0 */
} mz_axis;

/* Around low..high, which may be equal, or no numbers at all (then 0..1), with about `ticks` ticks.
 */
void mz_axis_set(mz_axis *a, double low, double high, bool is_log, int ticks);
/* Whole numbers only, and nothing around them. */
void mz_axis_set_steps(mz_axis *a, int64_t low, int64_t high, int ticks);
/* 0 at low, 1 at high; NaN where x is none, or not above 0 on a logarithmic axis. */
double mz_axis_at(const mz_axis *a, double x);
/* "0.25", "20k", "3e-4": as short as the ticks allow. */
const char *mz_axis_label(const mz_axis *a, double x, char out[32]);

/* Points of a curve; y NaN: the curve has a gap here. */
typedef struct mz_points {
    double *x, *y;
    int64_t n;
} mz_points;

/* Metric m of a series: where there are more steps than twice the columns between low and high, the
 * lowest and the highest of each column, in the order in which they came. smooth > 1: means
 * of so many numbers around each. */
typedef struct mz_thin {
    mz_metric metric;
    int64_t smooth, columns;
    double low, high; /* steps */
} mz_thin;
mz_err mz_points_make(mz_points *t, const mz_series *s, const mz_thin *how);
void mz_points_clear(mz_points *t);

#endif
