/* SPDX-License-Identifier: Apache-2.0 */
/* runs/panel.c - see panel.h; and one run's picture by name. */
#include "runs/panel.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"

#include <math.h>
#include <string.h>

int mz_plot_metrics(const mz_plot *p, mz_metric out[MZ_METRIC_COUNT])
{
    const unsigned all = MZ_METRIC_BIT(MZ_METRIC_LOSS) | MZ_METRIC_BIT(MZ_METRIC_LR) |
                         MZ_METRIC_BIT(MZ_METRIC_GRAD_NORM) | MZ_METRIC_BIT(MZ_METRIC_SPEED);
    const unsigned set = p->metrics ? p->metrics : all;
    int n = 0;
    for (int m = 0; m < MZ_METRIC_COUNT; m++)
        if (set & MZ_METRIC_BIT(m)) out[n++] = (mz_metric)m;
    return n;
}

const char *mz_plot_name(const char *name, char *out, size_t bytes)
{
    size_t at = 0, left = strlen(name);
    while (left > 0) {
        const unsigned char *c = (const unsigned char *)name;
        size_t n = mz_scan_utf8(c, left);
        const bool is_bad = n == 0 || *c < 0x20 || *c == 0x7f;
        if (n == 0) n = 1;
        const size_t need = is_bad ? 1 : n;
        if (at + need + 4 > bytes) { /* the ellipsis and the end */
            memcpy(out + at, "\xe2\x80\xa6", 3);
            at += 3;
            break;
        }
        memcpy(out + at, is_bad ? "?" : name, need);
        at += need;
        name += n;
        left -= n;
    }
    out[at] = '\0';
    return out;
}

/* ---- ranges ---- */

typedef struct range {
    double low, high;
} range;

static void widen(range *r, const mz_points *t, bool is_log)
{
    for (int64_t i = 0; i < t->n; i++) {
        const double y = t->y[i];
        if (!isfinite(y) || (is_log && y <= 0.0)) continue;
        r->low = fmin(r->low, y);
        r->high = fmax(r->high, y);
    }
}

static void set_x(mz_panel *panel, const mz_plot *p, int ticks)
{
    int64_t low = INT64_MAX, high = 0;
    for (int i = 0; i < p->n; i++) {
        const mz_series *s = p->runs[i].series;
        if (s->n == 0) continue;
        low = s->list[0].step < low ? s->list[0].step : low;
        high = mz_series_last(s)->step > high ? mz_series_last(s)->step : high;
    }
    if (low > high) low = 0, high = 1;
    mz_axis_set_steps(&panel->x, low, high, ticks);
}

static mz_err add_run(mz_panel *panel, const mz_plot *p, int i, mz_thin how)
{
    const mz_series *s = p->runs[i].series;
    MZ_TRY(mz_points_make(&panel->plain[i], s, &how));
    how.smooth = p->smooth;
    if (panel->smooth) MZ_TRY(mz_points_make(&panel->smooth[i], s, &how));
    how.metric = MZ_METRIC_EVAL;
    how.smooth = 0;
    return panel->eval ? mz_points_make(&panel->eval[i], s, &how) : MZ_OK;
}

mz_err mz_panel_make(mz_panel *out, const mz_plot *p, mz_metric m, const mz_panel_room *room)
{
    mz_panel panel = {.metric = m, .n = p->n};
    const bool is_log = (p->log & MZ_METRIC_BIT(m)) != 0;
    mz_err err = mz_mem_new(&panel.plain, p->n, sizeof *panel.plain);
    if (err == MZ_OK && p->smooth > 1) err = mz_mem_new(&panel.smooth, p->n, sizeof *panel.smooth);
    if (err == MZ_OK && m == MZ_METRIC_LOSS)
        err = mz_mem_new(&panel.eval, p->n, sizeof *panel.eval);
    set_x(&panel, p, room->x_ticks);
    const mz_thin how = {
        .metric = m, .columns = room->columns, .low = panel.x.low, .high = panel.x.high};
    range y = {HUGE_VAL, -HUGE_VAL};
    for (int i = 0; i < p->n && err == MZ_OK; i++) {
        err = add_run(&panel, p, i, how);
        if (err != MZ_OK) break;
        widen(&y, &panel.plain[i], is_log);
        if (panel.eval) widen(&y, &panel.eval[i], is_log);
    }
    if (err != MZ_OK) {
        mz_panel_clear(&panel);
        return err;
    }
    mz_axis_set(&panel.y, y.low, y.high, is_log, room->y_ticks);
    *out = panel;
    return MZ_OK;
}

static void clear_traces(mz_points *list, int n)
{
    for (int i = 0; i < n && list; i++) mz_points_clear(&list[i]);
    mz_mem_free(list);
}

void mz_panel_clear(mz_panel *panel)
{
    clear_traces(panel->plain, panel->n);
    clear_traces(panel->smooth, panel->n);
    clear_traces(panel->eval, panel->n);
    *panel = (mz_panel){0};
}

/* ---- one run ---- */

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

mz_err mz_run_plot_svg(const char *run, const char *path)
{
    mz_series s = {0};
    mz_str svg = {0};
    MZ_NEED(run && path, "no run or no path");
    const mz_plot_run one = {.name = last_name(run), .series = &s};
    mz_err err = mz_series_read(&s, run);
    if (err == MZ_OK) err = mz_plot_svg(&svg, &(mz_plot){.runs = &one, .n = 1});
    if (err == MZ_OK) err = mz_file_write(path, svg.text, svg.len);
    mz_str_clear(&svg);
    mz_series_clear(&s);
    return err;
}

mz_err mz_run_plot_text(mz_str *out, const char *run, const mz_plot_screen *screen)
{
    mz_series s = {0};
    MZ_NEED(out && run && screen, "an argument is NULL");
    const mz_plot_run one = {.name = last_name(run), .series = &s};
    mz_err err = mz_series_read(&s, run);
    if (err == MZ_OK)
        err = mz_plot_text(
            out, &(mz_plot){.runs = &one, .n = 1, .metrics = MZ_METRIC_BIT(MZ_METRIC_LOSS)},
            screen);
    mz_series_clear(&s);
    return err;
}
