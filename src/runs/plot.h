/* SPDX-License-Identifier: Apache-2.0 */
/* runs/plot.h - pictures of runs: SVG for paper and screen, text for the terminal.
 *
 * The SVG is small however long the runs are, needs nothing beside it, follows the reader's choice
 * of light or dark, and tells curves apart by colour and by dashes. A number that is none is a gap.
 *
 * Floor:  runs.
 * Owner:  names and series are borrowed; out grows (base/str.h).
 * Errors: MZ_ENOMEM; what mz_series_read has; MZ_EIO from writing. */
#ifndef MZ_RUNS_PLOT_H
#define MZ_RUNS_PLOT_H

#include "base/str.h"
#include "runs/series.h"

typedef struct mz_plot_run {
    const char *name; /* UTF-8, or what is not becomes '?' */
    const mz_series *series;
} mz_plot_run;

/* A set of metrics: bit m for mz_metric m. */
#define MZ_METRIC_BIT(m) (1u << (unsigned)(m))

typedef struct mz_plot {
    const mz_plot_run *runs;
    int n;
    unsigned metrics; /* a panel each; 0: loss, learning rate, gradient norm, tokens per second */
    unsigned log;     /* of these the axis is logarithmic */
    int64_t smooth;   /* mean over so many steps; 0 and 1: as it is */
} mz_plot;

/* The metrics to be drawn, in their order; returns how many. */
int mz_plot_metrics(const mz_plot *p, mz_metric out[MZ_METRIC_COUNT]);

mz_err mz_plot_svg(mz_str *out, const mz_plot *p);

typedef struct mz_plot_screen {
    int columns, rows; /* rows: of a panel, without its title and the line of steps */
    bool unicode, colour;
} mz_plot_screen;
mz_err mz_plot_text(mz_str *out, const mz_plot *p, const mz_plot_screen *screen);

/* What is to be seen of one run, without more ado: the picture to a file, or the curve of its loss
 * to out. */
mz_err mz_run_plot_svg(const char *run, const char *path);
mz_err mz_run_plot_text(mz_str *out, const char *run, const mz_plot_screen *screen);

#endif
