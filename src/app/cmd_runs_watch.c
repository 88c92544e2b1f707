/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_watch.c - `mizan runs watch`: follows a run while it trains. Floor: app. */
#include "app/commands.h"
#include "app/run_entry.h"
#include "app/run_name.h"
#include "app/watch.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_NS = 200000000, GRACE_NS = 1000000000 };

static const mz_option OPTIONS[] = {{.name = "once", .help = "show it as it is now, and end"},
                                    {.name = "every",
                                     .kind = MZ_OPTION_REAL,
                                     .value = "S",
                                     .help = "seconds between two looks (default 1)",
                                     .least = 0.05,
                                     .most = 3600.0},
                                    {0}};

typedef struct watching {
    mz_watch now;
    mz_terminal terminal;
    const char *word;
    bool in_place, as_json;
    int lines; /* of the last screen, that stand above the cursor */
    int64_t shown_step;
    double every_s;
} watching;

/* ---- showing ---- */

static mz_err put(mz_sheet *s)
{
    MZ_TRY(mz_sheet_end(s, NULL));
    return fflush(stdout) == 0 ? MZ_OK : MZ_FAIL(MZ_EIO, "stdout: %s", strerror(errno));
}

/* Over the one before: line by line, so that nothing flickers, then what is left of it. */
static mz_err show_screen(watching *w)
{
    mz_sheet screen = {0}, s = {0};
    w->terminal = mz_terminal_of_stdout(); /* it may have been made larger */
    mz_watch_screen(&screen, &w->now, &w->terminal);
    if (w->lines > 0) mz_sheet_addf(&s, "\033[%dA\r", w->lines);
    w->lines = 0;
    for (const char *at = screen.str.text, *end; at && (end = strchr(at, '\n')); at = end + 1) {
        if (s.err == MZ_OK) s.err = mz_str_add(&s.str, at, (size_t)(end - at));
        mz_sheet_add(&s, "\033[K\n");
        w->lines++;
    }
    mz_sheet_add(&s, "\033[J");
    if (screen.err != MZ_OK) s.err = screen.err;
    mz_str_clear(&screen.str);
    return put(&s);
}

static mz_err show_json(const mz_watch *now)
{
    json_t *o = mz_watch_json(now);
    const bool is_written = o && json_dumpf(o, stdout, JSON_COMPACT) == 0;
    json_decref(o);
    if (!o) return mz_cli_json_failed();
    if (is_written && fputc('\n', stdout) != EOF && fflush(stdout) == 0) return MZ_OK;
    return MZ_FAIL(MZ_EIO, "stdout: %s", strerror(errno ? errno : EIO));
}

/* Lines only where there is something new. */
static mz_err show(watching *w, bool is_last)
{
    const mz_record *last = mz_series_last(&w->now.series);
    const int64_t step = last ? last->step : 0;
    const bool is_new = step != w->shown_step;
    mz_sheet s = {0};
    if (w->in_place) return show_screen(w);
    w->shown_step = step;
    if (w->as_json) return is_new || is_last ? show_json(&w->now) : MZ_OK;
    if (!is_new) return MZ_OK;
    mz_watch_line(&s, &w->now);
    return put(&s);
}

/* ---- following ---- */

/* Its process writes how it ended after it has let the folder go: a moment later. */
static mz_err settle(watching *w)
{
    const int64_t end = mz_clock_ns() + GRACE_NS;
    mz_run_entry row;
    bool found = true;
    mz_run_row(w->now.entry.id, &row, &found);
    while (found && row.state == MZ_RUN_RUNNING && mz_clock_ns() < end) {
        mz_clock_sleep_ns(LOOK_NS / 4);
        mz_run_row(w->now.entry.id, &row, &found);
    }
    mz_err_clear();
    char path[MZ_RUN_PATH];
    memcpy(path, w->now.entry.path, sizeof path);
    if (mz_run_is_gone(&w->now.entry)) return MZ_OK;
    MZ_TRY(mz_run_pick(path, &w->now.entry)); /* the folder: two may have one name by now */
    return mz_watch_read(&w->now);
}

static mz_err ended(watching *w)
{
    const mz_run_entry *e = &w->now.entry;
    mz_sheet s = {0};
    MZ_TRY(show(w, true));
    if (!w->as_json) {
        mz_watch_end(&s, &w->now);
        MZ_TRY(put(&s));
    }
    if (e->state == MZ_RUN_FINISHED) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_EINTR, "run %s %s", e->name,
                               e->state == MZ_RUN_STOPPED ? "was stopped" : "has failed");
    mz_note_where(e->path, NULL, -1);
    mz_note_fix("what is saved is gone on with by the same `mizan train`");
    return err;
}

/* Until `every` is over, or the run. */
static void wait(const watching *w)
{
    const int64_t end = mz_clock_ns() + (int64_t)(w->every_s * 1e9);
    while (mz_clock_ns() < end && mz_run_is_live(w->now.entry.path)) {
        const int64_t left = end - mz_clock_ns();
        mz_clock_sleep_ns(left > LOOK_NS ? LOOK_NS : left > 1000000 ? left : 1000000);
    }
}

static mz_err follow(watching *w)
{
    for (;;) {
        MZ_TRY(mz_watch_read(&w->now));
        if (!w->now.is_live) {
            MZ_TRY(settle(w));
            if (!w->now.is_live) return ended(w);
        }
        MZ_TRY(show(w, false));
        wait(w);
    }
}

static mz_err once(watching *w)
{
    mz_sheet s = {0};
    MZ_TRY(mz_watch_read(&w->now));
    if (w->as_json) return show_json(&w->now);
    mz_watch_screen(&s, &w->now, &w->terminal);
    if (!w->now.is_live && w->now.entry.reason[0]) mz_watch_end(&s, &w->now);
    return put(&s);
}

static mz_err watch(const mz_cli *cli)
{
    watching w = {.word = mz_cli_argument(cli, 0),
                  .terminal = mz_terminal_of_stdout(),
                  .as_json = mz_cli_flag(cli, "json"),
                  .shown_step = -1,
                  .every_s = mz_cli_real(cli, "every", 1.0)};
    char path[MZ_RUN_PATH];
    w.in_place = w.terminal.is_terminal && w.terminal.colour && !w.as_json;
    MZ_TRY(mz_run_find(w.word, path)); /* it is there */
    MZ_TRY(mz_run_pick(w.word, &w.now.entry));
    const mz_err err = mz_cli_flag(cli, "once") ? once(&w) : follow(&w);
    mz_watch_clear(&w.now);
    return err;
}

const mz_command mz_cmd_runs_watch = {
    .name = "runs watch",
    .arguments = "RUN",
    .least = 1,
    .most = 1,
    .summary = "follow a run while it trains, until it ends",
    .description =
        "One screen in place on a terminal: progress, time left, loss, validation, ranks, curve.\n"
        "A line for each look elsewhere, or an object with --json. Ends with the run: 0 it is\n"
        "finished, 75 it was stopped, failed, or its process died. Ctrl-C ends the watching only.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs watch first\n"
                "mizan runs watch runs/first --json --every 10\n"
                "mizan runs watch first --once",
    .run = watch,
};
