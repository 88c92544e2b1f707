/* SPDX-License-Identifier: Apache-2.0 */
/* runs/svg.c - a picture of runs as SVG: a panel a metric, one legend. See plot.h. */
#include "runs/panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Eight colours that people who see few can tell apart (Okabe and Ito's order, some made darker on
 * white and lighter on dark so that thin lines stand out), and dashes besides. */
enum { COLOURS = 8, DASHES = 5 };
static const char *const LIGHT[COLOURS] = {"#0068a8", "#c44e00", "#007a55", "#a8508a",
                                           "#8a6a00", "#2a8fc4", "#333333", "#7a3b8f"};
static const char *const DARK[COLOURS] = {"#6cb8f0", "#ff9a5c", "#4fd0a5", "#f0a3d4",
                                          "#e8c547", "#9ad8ff", "#e6e6e6", "#c9a0e8"};
static const char *const DASH[DASHES] = {"", "7 3", "2 3", "9 3 2 3", "14 4"};

/* The whole picture, and a panel in it: its frame is inside the margins. */
enum {
    WIDE = 960,
    HEAD = 44,
    LEGEND_LINE = 20,
    PANEL_HIGH = 250,
    LEFT = 64,
    RIGHT = 16,
    TOP = 30,
    BOTTOM = 40
};

typedef struct picture {
    mz_str *out;
    const mz_plot *plot;
    int columns, panel_wide; /* panels beside each other */
    bool has_eval, has_skipped, has_restart;
} picture;

typedef struct frame {
    double left, top, wide, high;
} frame;

/* ---- text ---- */

static mz_err add(picture *p, const char *text)
{
    return mz_str_add(p->out, text, strlen(text));
}

static mz_err add_escaped(picture *p, const char *text)
{
    for (; *text; text++) {
        const char *as = *text == '&'   ? "&amp;"
                         : *text == '<' ? "&lt;"
                         : *text == '>' ? "&gt;"
                         : *text == '"' ? "&quot;"
                                        : NULL;
        MZ_TRY(as ? add(p, as) : mz_str_add(p->out, text, 1));
    }
    return MZ_OK;
}

static mz_err add_name(picture *p, int run)
{
    char name[64];
    return add_escaped(p, mz_plot_name(p->plot->runs[run].name, name, sizeof name));
}

/* Letters, not bytes. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0u) != 0x80u;
    return n;
}

static mz_err add_style(picture *p)
{
    MZ_TRY(add(p,
               "<style>\n"
               "text{font:12px system-ui,'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#1d1d1f}\n"
               ".h{font-size:16px;font-weight:600}.p{font-weight:600}.t{font-size:11px;fill:#555}\n"
               ".bg{fill:#fff}.g{stroke:#e3e3e6;stroke-width:1}.f{stroke:#8a8a8f;fill:none}\n"
               ".c{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}\n"
               ".raw{stroke-opacity:.28;stroke-width:1;stroke-dasharray:none}\n"
               ".o{stroke-width:2.6;fill:none}.e{stroke-width:1.6;fill:#fff}.k{stroke:#b00020;"
               "stroke-width:1.2}\n"
               ".r{stroke:#777;stroke-width:1;stroke-dasharray:1 3}\n"));
    for (int i = 0; i < COLOURS; i++) MZ_TRY(mz_str_addf(p->out, ".s%d{stroke:%s}\n", i, LIGHT[i]));
    for (int i = 1; i < DASHES; i++)
        MZ_TRY(mz_str_addf(p->out, ".d%d{stroke-dasharray:%s}\n", i, DASH[i]));
    MZ_TRY(add(p, "@media screen and (prefers-color-scheme:dark){\n"
                  "text{fill:#ececf0}.t{fill:#a5a5ad}.bg{fill:#17181c}.g{stroke:#2e3036}\n"
                  ".f{stroke:#70737c}.e{fill:#17181c}.k{stroke:#ff6b7d}.r{stroke:#999}\n"));
    for (int i = 0; i < COLOURS; i++) MZ_TRY(mz_str_addf(p->out, ".s%d{stroke:%s}\n", i, DARK[i]));
    return add(p, "}\n</style>\n");
}

/* ---- a panel ---- */

static double at_x(const frame *f, const mz_axis *a, double x)
{
    return f->left + f->wide * mz_axis_at(a, x);
}

static double at_y(const frame *f, const mz_axis *a, double y)
{
    return f->top + f->high * (1.0 - mz_axis_at(a, y));
}

static mz_err add_axes(picture *p, const frame *f, const mz_panel *panel)
{
    char text[32];
    MZ_TRY(mz_str_addf(p->out, "<text class=\"p\" x=\"%.1f\" y=\"%.1f\">%s%s</text>\n", f->left,
                       f->top - 10.0, mz_metric_title(panel->metric),
                       panel->y.is_log ? " (logarithmic)" : ""));
    for (int i = 0; i < panel->y.n; i++) {
        const double y = at_y(f, &panel->y, panel->y.tick[i]);
        MZ_TRY(
            mz_str_addf(p->out,
                        "<path class=\"g\" d=\"M%.1f %.1fh%.1f\"/>"
                        "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                        f->left, y, f->wide, f->left - 7.0, y + 4.0,
                        mz_axis_label(&panel->y, panel->y.tick[i], text)));
    }
    for (int i = 0; i < panel->x.n; i++) {
        const double x = at_x(f, &panel->x, panel->x.tick[i]);
        MZ_TRY(mz_str_addf(
            p->out,
            "<path class=\"g\" d=\"M%.1f %.1fv%.1f\"/>"
            "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            x, f->top, f->high, x, f->top + f->high + 16.0,
            mz_axis_label(&panel->x, panel->x.tick[i], text)));
    }
    return mz_str_addf(p->out,
                       "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">step</text>\n"
                       "<rect class=\"f\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                       f->left + f->wide, f->top + f->high + 31.0, f->left, f->top, f->wide,
                       f->high);
}

static bool is_drawn(const mz_panel *panel, const mz_points *t, int64_t i)
{
    return i >= 0 && i < t->n && isfinite(mz_axis_at(&panel->y, t->y[i]));
}

/* A point that stands alone between gaps is no curve but a dot. */
static mz_err add_curve(picture *p, const frame *f, const mz_panel *panel, const mz_points *t)
{
    for (int64_t i = 0; i < t->n; i++) {
        const bool before = is_drawn(panel, t, i - 1), after = is_drawn(panel, t, i + 1);
        if (!is_drawn(panel, t, i) || (!before && !after)) continue;
        MZ_TRY(mz_str_addf(p->out, "%s%.1f %.1f", before ? "L" : "M", at_x(f, &panel->x, t->x[i]),
                           at_y(f, &panel->y, t->y[i])));
    }
    return MZ_OK;
}

static mz_err add_dots(picture *p, const frame *f, const mz_panel *panel, const mz_points *t,
                       int run)
{
    for (int64_t i = 0; i < t->n; i++) {
        if (!is_drawn(panel, t, i) || is_drawn(panel, t, i - 1) || is_drawn(panel, t, i + 1))
            continue;
        MZ_TRY(mz_str_addf(p->out, "<circle class=\"o s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"1\"/>\n",
                           run % COLOURS, at_x(f, &panel->x, t->x[i]),
                           at_y(f, &panel->y, t->y[i])));
    }
    return MZ_OK;
}

static mz_err add_path(picture *p, const frame *f, const mz_panel *panel, const mz_points *t,
                       const char *style)
{
    if (t->n == 0) return MZ_OK;
    MZ_TRY(mz_str_addf(p->out, "<path class=\"c %s\" d=\"", style));
    MZ_TRY(add_curve(p, f, panel, t));
    return add(p, "\"/>\n");
}

static mz_err add_points(picture *p, const frame *f, const mz_panel *panel, int run)
{
    const mz_points *t = &panel->eval[run];
    for (int64_t i = 0; i < t->n; i++) {
        const double y = at_y(f, &panel->y, t->y[i]);
        if (!isfinite(y)) continue;
        MZ_TRY(mz_str_addf(p->out, "<circle class=\"e s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n",
                           run % COLOURS, at_x(f, &panel->x, t->x[i]), y));
    }
    return MZ_OK;
}

/* Below the curves, at most one mark every other unit of the picture. */
static mz_err add_marks(picture *p, const frame *f, const mz_panel *panel, bool of_skips)
{
    bool is_open = false;
    for (int run = 0; run < p->plot->n; run++) {
        const mz_series *s = p->plot->runs[run].series;
        double before = -9.0;
        for (int64_t i = 0; i < s->n; i++) {
            const bool is_it = of_skips ? mz_series_skipped(s, i) : s->list[i].is_resumed;
            const double x = is_it ? at_x(f, &panel->x, (double)s->list[i].step) : before;
            if (!(x - before >= 2.0)) continue;
            if (!is_open)
                MZ_TRY(mz_str_addf(p->out, "<path class=\"%s\" d=\"", of_skips ? "k" : "r"));
            is_open = true;
            before = x;
            MZ_TRY(mz_str_addf(p->out, "M%.1f %.1fv%.1f", x, of_skips ? f->top + f->high : f->top,
                               of_skips ? -7.0 : f->high));
        }
    }
    return is_open ? add(p, "\"/>\n") : MZ_OK;
}

static mz_err add_nothing(picture *p, const frame *f, const mz_panel *panel)
{
    for (int run = 0; run < p->plot->n; run++)
        for (int64_t i = 0; i < panel->plain[run].n; i++)
            if (is_drawn(panel, &panel->plain[run], i)) return MZ_OK;
    return mz_str_addf(p->out,
                       "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">nothing to "
                       "show yet</text>\n",
                       f->left + f->wide / 2.0, f->top + f->high / 2.0);
}

static mz_err add_panel(picture *p, int i, mz_metric m, int top)
{
    const frame f = {.left = (i % p->columns) * p->panel_wide + LEFT,
                     .top = top + (i / p->columns) * PANEL_HIGH + TOP,
                     .wide = p->panel_wide - LEFT - RIGHT,
                     .high = PANEL_HIGH - TOP - BOTTOM};
    const mz_panel_room room = {
        .columns = (int64_t)f.wide, .x_ticks = p->columns > 1 ? 5 : 10, .y_ticks = 5};
    mz_panel panel;
    MZ_TRY(mz_panel_make(&panel, p->plot, m, &room));
    mz_err err = add_axes(p, &f, &panel);
    if (err == MZ_OK) err = add_marks(p, &f, &panel, false);
    for (int run = 0; run < p->plot->n && err == MZ_OK; run++) {
        char style[32], raw[40];
        (void)snprintf(style, sizeof style, "s%d d%d", run % COLOURS, run % DASHES);
        (void)snprintf(raw, sizeof raw, "raw s%d", run % COLOURS);
        err = add_path(p, &f, &panel, &panel.plain[run], panel.smooth ? raw : style);
        if (err == MZ_OK && panel.smooth) err = add_path(p, &f, &panel, &panel.smooth[run], style);
        if (err == MZ_OK) err = add_dots(p, &f, &panel, &panel.plain[run], run);
    }
    for (int run = 0; run < p->plot->n && err == MZ_OK && panel.eval; run++)
        err = add_points(p, &f, &panel, run);
    if (err == MZ_OK) err = add_marks(p, &f, &panel, true);
    if (err == MZ_OK) err = add_nothing(p, &f, &panel);
    mz_panel_clear(&panel);
    return err;
}

/* ---- the legend ---- */

typedef struct entry {
    int run; /* -1: a mark */
    const char *mark, *text;
} entry;

/* Gives the lines that were wanted; draws nothing where p->out is NULL. */
static mz_err add_entry(picture *p, const entry *e, int x, int y)
{
    if (e->run >= 0)
        MZ_TRY(mz_str_addf(p->out, "<path class=\"c s%d d%d\" d=\"M%d %dh26\"/>", e->run % COLOURS,
                           e->run % DASHES, x, y - 4));
    else
        MZ_TRY(mz_str_addf(p->out, "<g transform=\"translate(%d %d)\">%s</g>", x, y - 4, e->mark));
    MZ_TRY(mz_str_addf(p->out, "<text x=\"%d\" y=\"%d\">", x + 32, y));
    MZ_TRY(e->run >= 0 ? add_name(p, e->run) : add(p, e->text));
    return add(p, "</text>\n");
}

static int wide_of(const picture *p, const entry *e)
{
    char name[64];
    const char *text =
        e->run >= 0 ? mz_plot_name(p->plot->runs[e->run].name, name, sizeof name) : e->text;
    return 32 + 7 * width_of(text) + 20;
}

static void look_for_marks(picture *p)
{
    for (int run = 0; run < p->plot->n; run++) {
        const mz_series *s = p->plot->runs[run].series;
        for (int64_t i = 0; i < s->n; i++) {
            if (!isnan(s->list[i].value[MZ_METRIC_EVAL])) p->has_eval = true;
            if (s->list[i].is_resumed) p->has_restart = true;
            if (mz_series_skipped(s, i)) p->has_skipped = true;
        }
    }
    if (p->plot->metrics && !(p->plot->metrics & MZ_METRIC_BIT(MZ_METRIC_LOSS)))
        p->has_eval = false;
}

/* Returns its height; `draws`: otherwise it is only measured. */
static mz_err add_legend(picture *p, bool draws, int *high)
{
    const entry marks[] = {
        {-1, "<circle class=\"e s0\" cx=\"13\" cy=\"0\" r=\"3\"/>", "validation loss"},
        {-1, "<path class=\"k\" d=\"M13 4v-8\"/>", "skipped step"},
        {-1, "<path class=\"r\" d=\"M13 6v-12\"/>", "restart"}};
    const bool has[] = {p->has_eval, p->has_skipped, p->has_restart};
    int x = LEFT, y = HEAD + LEGEND_LINE / 2;
    *high = 0;
    for (int i = 0; i < p->plot->n + MZ_COUNT(marks); i++) {
        const bool is_run = i < p->plot->n;
        const entry e = is_run ? (entry){.run = i} : marks[i - p->plot->n];
        if (is_run ? p->plot->n == 1 : !has[i - p->plot->n]) continue; /* one is named above */
        const int wide = wide_of(p, &e);
        if (x > LEFT && x + wide > WIDE - RIGHT) x = LEFT, y += LEGEND_LINE;
        if (draws) MZ_TRY(add_entry(p, &e, x, y));
        x += wide;
        *high = y - HEAD + LEGEND_LINE;
    }
    return MZ_OK;
}

/* ---- the whole ---- */

static mz_err add_title(picture *p)
{
    MZ_TRY(add(p, "<title>"));
    for (int i = 0; i < p->plot->n && i < 4; i++) {
        if (i > 0) MZ_TRY(add(p, ", "));
        MZ_TRY(add_name(p, i));
    }
    if (p->plot->n > 4) MZ_TRY(mz_str_addf(p->out, " and %d more", p->plot->n - 4));
    return add(p, "</title>\n");
}

static mz_err add_description(picture *p, const mz_metric *metrics, int n)
{
    MZ_TRY(add(p, "<desc>Curves over steps of"));
    for (int i = 0; i < n; i++)
        MZ_TRY(mz_str_addf(p->out, "%s %s", i > 0 ? "," : "", mz_metric_title(metrics[i])));
    MZ_TRY(add(p, "."));
    for (int i = 0; i < p->plot->n && i < 16; i++) {
        const mz_record *last = mz_series_last(p->plot->runs[i].series);
        MZ_TRY(add(p, " "));
        MZ_TRY(add_name(p, i));
        MZ_TRY(last ? mz_str_addf(p->out, ": step %lld, loss %.4g.", (long long)last->step,
                                  last->value[MZ_METRIC_LOSS])
                    : add(p, ": no step yet."));
    }
    return add(p, "</desc>\n");
}

mz_err mz_plot_svg(mz_str *out, const mz_plot *plot)
{
    mz_metric metrics[MZ_METRIC_COUNT];
    int legend = 0;
    MZ_NEED(out && plot && plot->n > 0 && plot->runs, "no runs to be drawn");
    const int n = mz_plot_metrics(plot, metrics), columns = n > 1 ? 2 : 1;
    picture p = {.out = out, .plot = plot, .columns = columns, .panel_wide = WIDE / columns};
    look_for_marks(&p);
    MZ_TRY(add_legend(&p, false, &legend));
    const int top = HEAD + legend, high = top + (n + columns - 1) / columns * PANEL_HIGH;
    MZ_TRY(mz_str_addf(out,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                       "width=\"%d\" height=\"%d\" role=\"img\">\n",
                       WIDE, high, WIDE, high));
    MZ_TRY(add_title(&p));
    MZ_TRY(add_description(&p, metrics, n));
    MZ_TRY(add_style(&p));
    MZ_TRY(mz_str_addf(out, "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", WIDE, high));
    MZ_TRY(mz_str_addf(out, "<text class=\"h\" x=\"%d\" y=\"28\">", LEFT));
    MZ_TRY(plot->n == 1 ? add_name(&p, 0) : mz_str_addf(out, "%d runs", plot->n));
    MZ_TRY(add(&p, "</text>\n"));
    MZ_TRY(add_legend(&p, true, &legend));
    for (int i = 0; i < n; i++) MZ_TRY(add_panel(&p, i, metrics[i], top));
    return add(&p, "</svg>\n");
}
