/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_plot.c - `mizan runs plot`: curves of runs as a picture, in the terminal, or as
 * numbers. Floor: app. */
#include "app/commands.h"
#include "app/run_name.h"
#include "app/terminal.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "runs/axis.h"
#include "runs/plot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { JSON_POINTS = 500, TERM_ROWS = 14 };

static const mz_option OPTIONS[] = {
    {.name = "out", .kind = MZ_OPTION_TEXT, .value = "FILE.svg", .help = "write the picture there"},
    {.name = "term", .help = "draw in the terminal"},
    {.name = "metric",
     .kind = MZ_OPTION_TEXT,
     .value = "LIST",
     .help = "of loss,lr,grad_norm,tokens_per_s,eval_loss (default: the first four; --term: loss)"},
    {.name = "log",
     .kind = MZ_OPTION_TEXT,
     .value = "LIST",
     .help = "metrics whose axis is logarithmic"},
    {.name = "smooth",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "draw the mean of N steps (default 1: none)",
     .least = 1,
     .most = 1e9},
    {0}};

/* "loss,lr" -> a set. */
static mz_err read_metrics(const mz_cli *cli, const char *option, unsigned *set)
{
    const char *list = mz_cli_text(cli, option, "");
    *set = 0;
    while (*list) {
        const int n = (int)strcspn(list, ",");
        char key[32];
        mz_metric m;
        (void)snprintf(key, sizeof key, "%.*s", n, list);
        if (n >= (int)sizeof key || !mz_metric_find(key, &m)) {
            const char *keys[MZ_METRIC_COUNT];
            for (int i = 0; i < MZ_METRIC_COUNT; i++) keys[i] = mz_metric_key((mz_metric)i);
            const char *near = mz_str_nearest(key, keys, MZ_METRIC_COUNT);
            const mz_err err = MZ_FAIL(MZ_EUSAGE, "--%s: there is no metric %.*s", option, n, list);
            mz_note_fix(near ? "did you mean %s?" : "%s, lr, grad_norm, tokens_per_s, eval_loss",
                        near ? near : "loss");
            return err;
        }
        *set |= MZ_METRIC_BIT(m);
        list += n + (list[n] == ',');
    }
    return MZ_OK;
}

typedef struct drawn {
    mz_plot_run *runs;
    mz_series *series;
    char (*paths)[MZ_RUN_PATH];
    int n;
} drawn;

static mz_err read_runs(drawn *d, const mz_cli *cli)
{
    const int n = mz_cli_count(cli);
    MZ_TRY(mz_mem_new(&d->runs, n, sizeof *d->runs));
    MZ_TRY(mz_mem_new(&d->paths, n, sizeof *d->paths));
    MZ_TRY(mz_mem_new(&d->series, n, sizeof *d->series));
    for (; d->n < n; d->n++) {
        MZ_TRY(mz_run_find(mz_cli_argument(cli, d->n), d->paths[d->n]));
        MZ_TRY(mz_series_read(&d->series[d->n], d->paths[d->n]));
        d->runs[d->n] = (mz_plot_run){mz_cli_argument(cli, d->n), &d->series[d->n]};
    }
    return MZ_OK;
}

static void clear(drawn *d)
{
    for (int i = 0; i < d->n; i++) mz_series_clear(&d->series[i]);
    mz_mem_free(d->runs);
    mz_mem_free(d->paths);
    mz_mem_free(d->series);
}

/* ---- numbers ---- */

static json_t *points_json(const mz_plot *plot, int run, mz_metric m)
{
    const mz_series *s = plot->runs[run].series;
    mz_points t = {0};
    json_t *list = json_array();
    if (s->n == 0) return list;
    const mz_thin how = {.metric = m,
                         .smooth = plot->smooth,
                         .columns = JSON_POINTS,
                         .low = (double)s->list[0].step - 0.5,
                         .high = (double)mz_series_last(s)->step + 0.5};
    int bad = mz_points_make(&t, s, &how) != MZ_OK;
    for (int64_t i = 0; i < t.n && !bad; i++)
        bad = json_array_append_new(
            list, json_pack("[I, o]", (json_int_t)t.x[i], mz_json_number(t.y[i])));
    mz_points_clear(&t);
    if (!bad) return list;
    json_decref(list);
    return NULL;
}

static json_t *run_json(const mz_plot *plot, int run, const mz_metric *metrics, int n)
{
    const mz_series *s = plot->runs[run].series;
    const mz_record *last = mz_series_last(s);
    json_t *o = json_object(), *curves = json_object(), *restarts = json_array();
    int bad = json_object_set_new(o, "run", json_string(plot->runs[run].name));
    bad |= json_object_set_new(o, "step", json_integer(last ? last->step : 0));
    bad |= json_object_set_new(o, "skipped", json_integer(last ? last->skipped : 0));
    for (int64_t i = 0; i < s->n; i++)
        if (s->list[i].is_resumed)
            bad |= json_array_append_new(restarts, json_integer(s->list[i].step));
    bad |= json_object_set_new(o, "restarts", restarts);
    for (int i = 0; i < n; i++)
        bad |= json_object_set_new(curves, mz_metric_key(metrics[i]),
                                   points_json(plot, run, metrics[i]));
    bad |= json_object_set_new(o, "points", curves);
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

static mz_err print_json(const mz_plot *plot, const char *out)
{
    mz_metric metrics[MZ_METRIC_COUNT];
    const int n = mz_plot_metrics(plot, metrics);
    json_t *o = mz_cli_document(), *runs = json_array();
    int bad = json_object_set_new(o, "out", out ? json_string(out) : json_null());
    for (int i = 0; i < plot->n; i++)
        bad |= json_array_append_new(runs, run_json(plot, i, metrics, n));
    bad |= json_object_set_new(o, "runs", runs);
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

/* ---- pictures ---- */

static mz_err print(const mz_str *s)
{
    if (s->len == 0 || fwrite(s->text, 1, s->len, stdout) == s->len) return MZ_OK;
    return MZ_FAIL(MZ_EIO, "stdout: %s", strerror(errno ? errno : EIO));
}

static mz_err draw_svg(const mz_plot *plot, const char *path)
{
    mz_str svg = {0};
    mz_err err = mz_plot_svg(&svg, plot);
    if (err == MZ_OK) err = path ? mz_file_write(path, svg.text, svg.len) : print(&svg);
    mz_str_clear(&svg);
    return err;
}

static mz_err draw_text(mz_plot plot, const mz_terminal *t)
{
    mz_str text = {0};
    const mz_plot_screen screen = {
        .columns = t->columns, .rows = TERM_ROWS, .unicode = t->unicode, .colour = t->colour};
    if (plot.metrics == 0) plot.metrics = MZ_METRIC_BIT(MZ_METRIC_LOSS);
    mz_err err = mz_plot_text(&text, &plot, &screen);
    if (err == MZ_OK) err = print(&text);
    mz_str_clear(&text);
    return err;
}

static mz_err draw(const mz_cli *cli, const mz_plot *plot)
{
    const mz_terminal t = mz_terminal_of_stdout();
    const char *out = mz_cli_text(cli, "out", NULL);
    const bool as_json = mz_cli_flag(cli, "json"), term = mz_cli_flag(cli, "term");
    if (as_json && term) return MZ_FAIL(MZ_EUSAGE, "--json and --term both want stdout");
    if (out) MZ_TRY(draw_svg(plot, out));
    if (as_json) return print_json(plot, out);
    if (term || (!out && t.is_terminal)) return draw_text(*plot, &t);
    return out ? MZ_OK : draw_svg(plot, NULL);
}

static mz_err run(const mz_cli *cli)
{
    drawn d = {0};
    mz_plot plot = {.smooth = mz_cli_int(cli, "smooth", 1)};
    MZ_TRY(read_metrics(cli, "metric", &plot.metrics));
    MZ_TRY(read_metrics(cli, "log", &plot.log));
    mz_err err = read_runs(&d, cli);
    plot.runs = d.runs;
    plot.n = d.n;
    if (err == MZ_OK) err = draw(cli, &plot);
    clear(&d);
    return err;
}

const mz_command mz_cmd_runs_plot = {
    .name = "runs plot",
    .arguments = "RUN...",
    .least = 1,
    .most = -1,
    .summary = "curves of runs: loss, learning rate, gradient norm, speed",
    .description =
        "An SVG file with --out; with --term, or on a terminal, a curve of characters; else the\n"
        "SVG on stdout. Several runs share one picture. Skipped steps, restarts and validations\n"
        "are marked; a number that is none is a gap.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs plot runs/first --out first.svg\n"
                "mizan runs plot runs/first runs/second --term --metric loss,grad_norm\n"
                "mizan runs plot runs/first --out first.svg --log loss --smooth 20",
    .run = run,
};
