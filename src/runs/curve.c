/* SPDX-License-Identifier: Apache-2.0 */
/* runs/curve.c - curves of runs as text: dots of braille, or letters where the terminal has no
 * Unicode. See plot.h. */
#include "runs/panel.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LABEL = 9, COLUMNS_LEAST = 24, ROWS_LEAST = 3, COLOURS = 6 };
static const char *const COLOUR[COLOURS] = {"36", "33", "35", "32", "34", "31"};

/* One cell of the terminal: dots (2 by 4 of braille) or a letter, of the run that drew last. */
typedef struct cell {
    unsigned char dots;
    char letter; /* 0: none */
    short run;
} cell;

typedef struct canvas {
    const mz_plot *plot;
    const mz_plot_screen *screen;
    int columns, rows; /* cells */
    int wide, high;    /* dots */
    bool has_dots;
    cell *cells;
} canvas;

/* ---- drawing ---- */

/* Bits of U+2800 by row and column of a cell. */
static const unsigned char BRAILLE[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

static char letter_of(const canvas *c, int run)
{
    return c->plot->n == 1 ? '*' : (char)('a' + run % 26);
}

static void dot(canvas *c, int x, int y, int run)
{
    if (x < 0 || y < 0 || x >= c->wide || y >= c->high) return;
    cell *at =
        c->has_dots ? &c->cells[(y / 4) * c->columns + x / 2] : &c->cells[y * c->columns + x];
    if (c->has_dots)
        at->dots |= BRAILLE[y % 4][x % 2];
    else
        at->letter = letter_of(c, run);
    at->run = (short)run;
}

/* Every dot on the way, by the longer side. */
static void line(canvas *c, const int from[2], const int to[2], int run)
{
    const int dx = to[0] - from[0], dy = to[1] - from[1];
    const int ax = dx < 0 ? -dx : dx, ay = dy < 0 ? -dy : dy, n = ax > ay ? ax : ay;
    for (int i = 0; i <= n; i++) {
        const double part = n > 0 ? (double)i / (double)n : 0.0;
        dot(c, from[0] + (int)lround(part * dx), from[1] + (int)lround(part * dy), run);
    }
}

static bool place(const canvas *c, const mz_panel *panel, const mz_points *t, int64_t i, int out[2])
{
    const double x = mz_axis_at(&panel->x, t->x[i]), y = mz_axis_at(&panel->y, t->y[i]);
    if (!isfinite(x) || !isfinite(y)) return false;
    out[0] = (int)lround(x * (c->wide - 1));
    out[1] = (int)lround((1.0 - y) * (c->high - 1));
    return true;
}

static void draw(canvas *c, const mz_panel *panel, int run)
{
    const mz_points *t = panel->smooth ? &panel->smooth[run] : &panel->plain[run];
    bool is_down = false;
    int before[2] = {0, 0};
    for (int64_t i = 0; i < t->n; i++) {
        int now[2];
        const bool is_there = place(c, panel, t, i, now);
        if (is_there) line(c, is_down ? before : now, now, run);
        is_down = is_there;
        if (is_there) memcpy(before, now, sizeof before);
    }
}

static void draw_eval(canvas *c, const mz_panel *panel, int run)
{
    for (int64_t i = 0; i < panel->eval[run].n; i++) {
        int at[2];
        if (!place(c, panel, &panel->eval[run], i, at)) continue;
        cell *to = c->has_dots ? &c->cells[(at[1] / 4) * c->columns + at[0] / 2]
                               : &c->cells[at[1] * c->columns + at[0]];
        to->letter = 'o';
        to->run = (short)run;
    }
}

/* ---- writing ---- */

static mz_err put_colour(mz_str *out, const canvas *c, int run)
{
    if (!c->screen->colour) return MZ_OK;
    if (run < 0) return mz_str_add(out, "\033[0m", 4);
    return mz_str_addf(out, "\033[%sm", COLOUR[run % COLOURS]);
}

static mz_err put_cell(mz_str *out, const cell *at)
{
    if (at->letter) return mz_str_add(out, &at->letter, 1);
    if (!at->dots) return mz_str_add(out, " ", 1);
    const unsigned code = 0x2800u + at->dots;
    const char text[3] = {(char)(0xe0u | code >> 12), (char)(0x80u | (code >> 6 & 0x3fu)),
                          (char)(0x80u | (code & 0x3fu))};
    return mz_str_add(out, text, 3);
}

/* Without blanks at its end. */
static mz_err put_cells(mz_str *out, const canvas *c, int row)
{
    const cell *cells = &c->cells[row * c->columns];
    int n = c->columns, run = -1;
    while (n > 0 && !cells[n - 1].letter && !cells[n - 1].dots) n--;
    for (int i = 0; i < n; i++) {
        const bool is_empty = !cells[i].letter && !cells[i].dots;
        if (!is_empty && cells[i].run != run) MZ_TRY(put_colour(out, c, run = cells[i].run));
        MZ_TRY(put_cell(out, &cells[i]));
    }
    if (run >= 0) MZ_TRY(put_colour(out, c, -1));
    return mz_str_add(out, "\n", 1);
}

/* The tick that lies in this row, "" if there is none. */
static const char *label_of(const canvas *c, const mz_axis *y, int row, char out[32])
{
    for (int i = 0; i < y->n; i++) {
        const int at = (int)lround((1.0 - mz_axis_at(y, y->tick[i])) * (c->rows - 1));
        if (at == row) return mz_axis_label(y, y->tick[i], out);
    }
    out[0] = '\0';
    return out;
}

static mz_err put_rows(mz_str *out, const canvas *c, const mz_panel *panel)
{
    const bool is_unicode = c->screen->unicode;
    for (int row = 0; row < c->rows; row++) {
        char text[32];
        const char *label = label_of(c, &panel->y, row, text);
        const char *edge = !is_unicode ? (label[0] ? "+" : "|") : label[0] ? "┤" : "│";
        MZ_TRY(mz_str_addf(out, "%*s %s", LABEL - 2, label, edge));
        MZ_TRY(put_cells(out, c, row));
    }
    return MZ_OK;
}

/* The line of steps: labels where they belong, as many as have room. */
static mz_err put_steps(mz_str *out, const canvas *c, const mz_panel *panel)
{
    const bool is_unicode = c->screen->unicode;
    int end = 0;
    MZ_TRY(mz_str_addf(out, "%*s%s", LABEL - 1, "", is_unicode ? "└" : "+"));
    for (int i = 0; i < c->columns; i++)
        MZ_TRY(mz_str_add(out, is_unicode ? "─" : "-", is_unicode ? 3 : 1));
    MZ_TRY(mz_str_addf(out, "\n%*s", LABEL, ""));
    for (int i = 0; i < panel->x.n; i++) {
        char text[32];
        const int wide = (int)strlen(mz_axis_label(&panel->x, panel->x.tick[i], text));
        const double x = mz_axis_at(&panel->x, panel->x.tick[i]);
        int at = (int)lround(x * (c->columns - 1)) - wide / 2;
        if (at + wide > c->columns) at = c->columns - wide;
        if (at < 0) at = 0;
        if (i > 0 && at < end + 2) continue;
        MZ_TRY(mz_str_addf(out, "%*s%s", at - end, "", text));
        end = at + wide;
    }
    return mz_str_add(out, "\n", 1);
}

/* ---- a panel ---- */

static mz_err put_panel(mz_str *out, canvas *c, mz_metric m)
{
    const mz_panel_room room = {.columns = c->wide,
                                .x_ticks = c->columns / 12 > 1 ? c->columns / 12 : 2,
                                .y_ticks = c->rows / 3 > 2 ? c->rows / 3 : 2};
    mz_panel panel;
    memset(c->cells, 0, (size_t)c->columns * (size_t)c->rows * sizeof *c->cells);
    MZ_TRY(mz_panel_make(&panel, c->plot, m, &room));
    for (int run = 0; run < c->plot->n; run++) draw(c, &panel, run);
    for (int run = 0; run < c->plot->n && panel.eval; run++) draw_eval(c, &panel, run);
    bool is_empty = true;
    for (int i = 0; i < c->columns * c->rows; i++)
        if (c->cells[i].dots || c->cells[i].letter) is_empty = false;
    mz_err err = mz_str_addf(out, "%*s%s%s%s\n", LABEL, "", mz_metric_title(m),
                             panel.y.is_log ? " (logarithmic)" : "",
                             is_empty ? ": nothing to show yet" : "");
    if (err == MZ_OK) err = put_rows(out, c, &panel);
    if (err == MZ_OK) err = put_steps(out, c, &panel);
    mz_panel_clear(&panel);
    return err;
}

static bool has_eval(const mz_plot *p)
{
    for (int run = 0; run < p->n; run++) {
        int64_t step;
        (void)mz_series_best(p->runs[run].series, &step);
        if (step > 0) return true;
    }
    return false;
}

static mz_err put_legend(mz_str *out, const canvas *c, bool of_loss)
{
    if (c->plot->n == 1 && !(of_loss && has_eval(c->plot))) return MZ_OK;
    MZ_TRY(mz_str_addf(out, "%*s", LABEL, ""));
    for (int run = 0; run < c->plot->n && c->plot->n > 1; run++) {
        char name[48];
        MZ_TRY(put_colour(out, c, run));
        if (c->has_dots)
            MZ_TRY(mz_str_add(out, "⠒⠒", 6));
        else
            MZ_TRY(mz_str_addf(out, "%c", letter_of(c, run)));
        MZ_TRY(put_colour(out, c, -1));
        mz_plot_name(c->plot->runs[run].name, name, sizeof name);
        for (char *b = name; *b && !c->screen->unicode; b++)
            if ((signed char)*b < 0) *b = '?';
        MZ_TRY(mz_str_addf(out, " %s   ", name));
    }
    if (of_loss && has_eval(c->plot)) MZ_TRY(mz_str_addf(out, "o validation"));
    while (out->len > 0 && out->text[out->len - 1] == ' ') out->text[--out->len] = '\0';
    return mz_str_add(out, "\n", 1);
}

mz_err mz_plot_text(mz_str *out, const mz_plot *p, const mz_plot_screen *screen)
{
    mz_metric metrics[MZ_METRIC_COUNT];
    MZ_NEED(out && p && p->n > 0 && p->runs && screen, "no runs to be drawn, or no screen");
    const int n = mz_plot_metrics(p, metrics);
    canvas c = {.plot = p, .screen = screen};
    c.columns = (screen->columns > COLUMNS_LEAST ? screen->columns : COLUMNS_LEAST) - LABEL;
    c.rows = screen->rows > ROWS_LEAST ? screen->rows : ROWS_LEAST;
    c.has_dots = screen->unicode && (p->n == 1 || screen->colour); /* dots have no name */
    c.wide = c.has_dots ? 2 * c.columns : c.columns;
    c.high = c.has_dots ? 4 * c.rows : c.rows;
    MZ_TRY(mz_mem_new(&c.cells, (int64_t)c.columns * c.rows, sizeof *c.cells));
    mz_err err = MZ_OK;
    for (int i = 0; i < n && err == MZ_OK; i++) err = put_panel(out, &c, metrics[i]);
    if (err == MZ_OK) err = put_legend(out, &c, metrics[0] == MZ_METRIC_LOSS);
    mz_mem_free(c.cells);
    return err;
}
