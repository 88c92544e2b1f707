/* SPDX-License-Identifier: Apache-2.0 */
/* runs/panel.h - what a panel of a picture shows, before it is known how it is drawn. Inside runs.
 */
#ifndef MZ_RUNS_PANEL_H
#define MZ_RUNS_PANEL_H

#include "runs/axis.h"
#include "runs/plot.h"

typedef struct mz_panel {
    mz_metric metric;
    mz_axis x, y;
    int n;             /* runs */
    mz_points *plain;  /* [n] as logged; with smoothing the faint ones behind */
    mz_points *smooth; /* [n] or NULL */
    mz_points *eval;   /* [n] validation points, of the loss; else NULL */
} mz_panel;

/* `columns`: how many of them can be told apart; ticks: about how many. */
typedef struct mz_panel_room {
    int64_t columns;
    int x_ticks, y_ticks;
} mz_panel_room;
mz_err mz_panel_make(mz_panel *panel, const mz_plot *p, mz_metric m, const mz_panel_room *room);
void mz_panel_clear(mz_panel *panel);

/* The name as UTF-8 without control characters, cut to what fits. */
const char *mz_plot_name(const char *name, char *out, size_t bytes);

#endif
