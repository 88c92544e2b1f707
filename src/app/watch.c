/* SPDX-License-Identifier: Apache-2.0 */
/* app/watch.c - see watch.h. Floor: app. */
#include "app/watch.h"

#include "app/progress.h"
#include "app/run_entry.h"
#include "app/run_view.h"
#include "base/clock.h"
#include "base/json.h"
#include "runs/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LINE = 512, CURVE_LEAST = 4, CURVE_MOST = 14, CURVE_REST = 4, QUIET_S = 10 };

/* ---- what is known ---- */

mz_err mz_watch_read(mz_watch *w)
{
    const char *path = w->entry.path;
    w->is_live = mz_run_is_live(path); /* before the log: what ended meanwhile has written it all */
    MZ_TRY(mz_series_read(&w->series, path));
    json_decref(w->faults);
    json_decref(w->starts);
    w->faults = mz_run_events(path, "ranks.jsonl", "fault");
    w->starts = mz_run_events(path, "ranks.jsonl", "start");
    return MZ_OK;
}

void mz_watch_clear(mz_watch *w)
{
    mz_series_clear(&w->series);
    json_decref(w->faults);
    json_decref(w->starts);
    *w = (mz_watch){0};
}

double mz_watch_left(const mz_watch *w)
{
    const mz_record *last = mz_series_last(&w->series);
    const double pace = mz_series_pace(&w->series);
    if (!last || w->entry.steps <= 0 || isnan(pace)) return (double)NAN;
    return last->step < w->entry.steps ? pace * (double)(w->entry.steps - last->step) : 0.0;
}

/* Seconds since the last step, where that is much longer than a step takes; else NaN. */
static double quiet(const mz_watch *w)
{
    const mz_record *last = mz_series_last(&w->series);
    const double pace = mz_series_pace(&w->series);
    if (!last || !w->is_live || isnan(last->time)) return (double)NAN;
    const double gone = mz_clock_wall_s() - last->time;
    return gone > QUIET_S && (isnan(pace) || gone > 10.0 * pace) ? gone : (double)NAN;
}

/* The last validation; NaN: none yet. */
static double last_eval(const mz_series *s, int64_t *step)
{
    for (int64_t i = s->n - 1; i >= 0; i--)
        if (isfinite(s->list[i].value[MZ_METRIC_EVAL])) {
            *step = s->list[i].step;
            return s->list[i].value[MZ_METRIC_EVAL];
        }
    return (double)NAN;
}

/* ---- lines ---- */

/* At most so many characters of UTF-8, then the line's end. */
static void put_line(mz_sheet *s, const char *line, int columns)
{
    int n = 0;
    size_t at = 0;
    while (line[at]) {
        if (((unsigned char)line[at] & 0xc0) != 0x80 && n++ == columns) break;
        at++;
    }
    mz_sheet_addf(s, "%.*s\n", (int)at, line);
}

static void add_numbers(char *line, size_t bytes, const mz_record *r, double speed)
{
    char text[16];
    const size_t at = strlen(line);
    (void)snprintf(line + at, bytes - at, "loss %s  lr %.3g  norm %.3g",
                   mz_run_number(text, r->value[MZ_METRIC_LOSS]), r->value[MZ_METRIC_LR],
                   r->value[MZ_METRIC_GRAD_NORM]);
    const size_t then = strlen(line);
    if (isfinite(speed)) (void)snprintf(line + then, bytes - then, "  %.0f tokens/s", speed);
}

static void add_steps(char *line, size_t bytes, const mz_watch *w, const mz_record *r)
{
    char left[32];
    size_t at = strlen(line);
    const double seconds = mz_watch_left(w), silent = quiet(w);
    if (w->entry.steps > 0)
        (void)snprintf(line + at, bytes - at, "%5.1f %%  step %lld/%lld",
                       100.0 * (double)r->step / (double)w->entry.steps, (long long)r->step,
                       (long long)w->entry.steps);
    else
        (void)snprintf(line + at, bytes - at, "step %lld", (long long)r->step);
    at = strlen(line);
    if (isfinite(silent))
        (void)snprintf(line + at, bytes - at, "  no step for %s", mz_progress_time(left, silent));
    else if (isfinite(seconds) && w->is_live)
        (void)snprintf(line + at, bytes - at, "  %s left", mz_progress_time(left, seconds));
}

static void add_validation(char *line, size_t bytes, const mz_watch *w)
{
    char a[16], b[16];
    int64_t step = 0, best_step = 0;
    const double eval = last_eval(&w->series, &step);
    const double best = mz_series_best(&w->series, &best_step);
    const size_t at = strlen(line);
    if (isnan(eval)) return;
    (void)snprintf(line + at, bytes - at, "validation %s at step %lld", mz_run_number(a, eval),
                   (long long)step);
    const size_t then = strlen(line);
    (void)snprintf(line + then, bytes - then,
                   best_step == step ? ", the best so far" : ", best %s at step %lld",
                   mz_run_number(b, best), (long long)best_step);
}

void mz_watch_line(mz_sheet *s, const mz_watch *w)
{
    char line[LINE] = "";
    const mz_record *r = mz_series_last(&w->series);
    if (!r) {
        mz_sheet_add(s, "no step yet\n");
        return;
    }
    add_steps(line, sizeof line, w, r);
    (void)snprintf(line + strlen(line), sizeof line - strlen(line), "  ");
    add_numbers(line, sizeof line, r, mz_series_speed(&w->series));
    if (isfinite(r->value[MZ_METRIC_EVAL])) {
        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "  ");
        add_validation(line, sizeof line, w);
    }
    put_line(s, line, LINE);
}

void mz_watch_end(mz_sheet *s, const mz_watch *w)
{
    char plain[sizeof w->entry.reason];
    mz_sheet_addf(s, "%s%s%s\n", mz_run_state_now(&w->entry), w->entry.reason[0] ? ": " : "",
                  mz_run_plain(plain, sizeof plain, w->entry.reason));
}

/* ---- the screen ---- */

static void put_title(mz_sheet *s, const mz_watch *w, int columns)
{
    char line[LINE], name[MZ_RUN_NAME], chips[256], size[16];
    const mz_run_entry *e = &w->entry;
    mz_run_plain(name, sizeof name, e->name);
    (void)snprintf(line, sizeof line, "%s%s%.6s%s  %s", name, e->id[0] ? " (" : "", e->id,
                   e->id[0] ? ")" : "", w->is_live ? "running" : mz_run_state_now(e));
    size_t at = strlen(line);
    if (e->chips[0])
        (void)snprintf(line + at, sizeof line - at, " on %s",
                       mz_run_plain(chips, sizeof chips, e->chips));
    at = strlen(line);
    if (e->family[0])
        (void)snprintf(line + at, sizeof line - at, "  %s, %s parameters", e->family,
                       mz_run_size(size, e->parameters));
    put_line(s, line, columns);
}

static void put_bar(mz_sheet *s, const mz_watch *w, const mz_terminal *t)
{
    char line[LINE] = "", steps[128] = "";
    const mz_record *r = mz_series_last(&w->series);
    size_t at = 0;
    add_steps(steps, sizeof steps, w, r);
    const int room = t->columns - (int)strlen(steps) - 3;
    const int wide = room < 40 ? room : 40;
    const double part = w->entry.steps > 0 ? (double)r->step / (double)w->entry.steps : 0.0;
    const int full = (int)(fmin(fmax(part, 0.0), 1.0) * wide);
    for (int i = 0; i < wide && w->entry.steps > 0 && at + 4 < sizeof line; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s",
                               i < full ? (t->unicode ? "█" : "#") : (t->unicode ? "░" : "."));
    (void)snprintf(line + at, sizeof line - at, "%s%s", at > 0 ? " " : "", steps);
    put_line(s, line, t->columns);
}

static void put_ranks(mz_sheet *s, const mz_watch *w, int columns)
{
    char line[LINE], plain[300];
    const size_t faults = json_array_size(w->faults), starts = json_array_size(w->starts);
    if (starts == 0) return;
    const json_t *now = json_array_get(w->starts, starts - 1);
    const size_t n = json_array_size(json_object_get(now, "ranks"));
    (void)snprintf(line, sizeof line, "%zu rank%s, %zu fault%s", n, n == 1 ? "" : "s", faults,
                   faults == 1 ? "" : "s");
    const char *why = json_string_value(
        json_object_get(faults > 0 ? json_array_get(w->faults, faults - 1) : NULL, "message"));
    const size_t at = strlen(line);
    if (why)
        (void)snprintf(line + at, sizeof line - at, ", the last: %s",
                       mz_run_plain(plain, sizeof plain, why));
    put_line(s, line, columns);
}

static void put_curve(mz_sheet *s, const mz_watch *w, const mz_terminal *t, int used)
{
    const mz_plot_run run = {w->entry.name, &w->series};
    const mz_plot plot = {.runs = &run, .n = 1, .metrics = MZ_METRIC_BIT(MZ_METRIC_LOSS)};
    int rows = t->rows - used - CURVE_REST - 1;
    if (rows > CURVE_MOST) rows = CURVE_MOST;
    if (rows < CURVE_LEAST || s->err != MZ_OK) return;
    const mz_plot_screen screen = {
        .columns = t->columns, .rows = rows, .unicode = t->unicode, .colour = t->colour};
    s->err = mz_plot_text(&s->str, &plot, &screen);
}

static int lines_of(const mz_sheet *s)
{
    int n = 0;
    for (size_t i = 0; i < s->str.len; i++) n += s->str.text[i] == '\n';
    return n;
}

void mz_watch_screen(mz_sheet *s, const mz_watch *w, const mz_terminal *t)
{
    char line[LINE] = "";
    const mz_record *r = mz_series_last(&w->series);
    put_title(s, w, t->columns);
    if (!r) {
        put_line(s, "no step yet", t->columns);
        return;
    }
    put_bar(s, w, t);
    add_numbers(line, sizeof line, r, mz_series_speed(&w->series));
    put_line(s, line, t->columns);
    line[0] = '\0';
    add_validation(line, sizeof line, w);
    if (r->skipped > 0)
        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s%lld skipped",
                       line[0] ? "  " : "", (long long)r->skipped);
    if (line[0]) put_line(s, line, t->columns);
    put_ranks(s, w, t->columns);
    put_curve(s, w, t, lines_of(s));
}

/* ---- JSON ---- */

json_t *mz_watch_json(const mz_watch *w)
{
    const mz_record *r = mz_series_last(&w->series);
    int64_t step = 0, best_step = 0;
    const double eval = last_eval(&w->series, &step);
    const double best = mz_series_best(&w->series, &best_step);
    const size_t starts = json_array_size(w->starts);
    const json_t *now = starts > 0 ? json_array_get(w->starts, starts - 1) : NULL;
    json_t *o = json_pack("{s:i}", "schema", 1), *reason;
    int bad = json_object_set_new(
        o, "state", json_string(w->is_live ? "running" : mz_run_state_name(w->entry.state)));
    reason = w->entry.reason[0] && !w->is_live ? json_string(w->entry.reason) : json_null();
    bad |= json_object_set_new(o, "reason", reason ? reason : json_null());
    bad |= json_object_set_new(o, "step", json_integer(r ? r->step : 0));
    bad |= json_object_set_new(o, "steps",
                               w->entry.steps > 0 ? json_integer(w->entry.steps) : json_null());
    bad |= json_object_set_new(o, "tokens", json_integer(r ? r->tokens : 0));
    bad |= json_object_set_new(o, "seconds_left", mz_json_number(mz_watch_left(w)));
    for (int m = 0; m < MZ_METRIC_EVAL; m++)
        bad |= json_object_set_new(o, mz_metric_key((mz_metric)m),
                                   mz_json_number(r ? r->value[m] : (double)NAN));
    bad |= json_object_set_new(o, "eval_loss", mz_json_number(eval));
    bad |= json_object_set_new(o, "eval_step", step > 0 ? json_integer(step) : json_null());
    bad |= json_object_set_new(o, "best_eval_loss", mz_json_number(best));
    bad |= json_object_set_new(o, "best_eval_step",
                               best_step > 0 ? json_integer(best_step) : json_null());
    bad |= json_object_set_new(o, "skipped", json_integer(r ? r->skipped : 0));
    bad |= json_object_set_new(o, "faults", json_integer((json_int_t)json_array_size(w->faults)));
    bad |= json_object_set_new(
        o, "ranks",
        json_integer(now ? (json_int_t)json_array_size(json_object_get(now, "ranks")) : 1));
    bad |= json_object_set_new(o, "time", mz_json_number(r ? r->time : (double)NAN));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}
