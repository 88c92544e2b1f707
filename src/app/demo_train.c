/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo_train.c - the demonstration's training: followed, killed once on the way, gone on with,
 * and ended by the clock if the machine has become slower than it was. Floor: app. */
#include "app/demo.h"

#include "app/progress.h"
#include "app/terminal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "runs/plot.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* What became of a training process. */
typedef enum end { DONE, KILLED, TOO_SLOW, TIME_IS_UP } end;

typedef struct training {
    const mz_demo *d;
    mz_series log;
    int64_t steps;           /* planned */
    double limit_s, spent_s; /* of the clock; spent by processes before this one */
    int64_t begun_ns, from;  /* of this process: its start, and the step that it went on after */
    int64_t shown;           /* the step of the last line */
    bool is_fresh;           /* it may still be planned anew */
} training;

static double used(const training *t)
{
    return t->spent_s + (double)(mz_clock_ns() - t->begun_ns) * 1e-9;
}

static int64_t step_of(const training *t)
{
    const mz_record *last = mz_series_last(&t->log);
    return last ? last->step : 0;
}

/* Seconds a step of this process, its start included; 0: unknown. */
static double pace(const training *t)
{
    const int64_t made = step_of(t) - t->from;
    return made > 0 ? (used(t) - t->spent_s) / (double)made : 0.0;
}

static void show(training *t, mz_progress_line *p)
{
    char line[80], time[32];
    const mz_record *last = mz_series_last(&t->log);
    if (!last || last->step <= t->from || last->step == t->shown || !mz_progress_is_due(p)) return;
    const bool is_last = last->step == t->steps;
    const double rest = fmin(pace(t) * (double)(t->steps - last->step), t->limit_s - used(t));
    t->shown = last->step;
    (void)snprintf(line, sizeof line, "training   %3lld %%  step %lld/%lld  loss %.3f  %s%s%s",
                   (long long)(100 * last->step / t->steps), (long long)last->step,
                   (long long)t->steps, last->value[MZ_METRIC_LOSS], is_last ? "in " : "",
                   mz_progress_time(time, is_last ? used(t) : rest), is_last ? "" : " left");
    mz_progress_show(p, is_last, line);
}

/* Whether the plan cannot be kept: seen early, it costs little to begin anew with fewer steps. */
static bool is_too_slow(const training *t)
{
    const double gone = used(t) - t->spent_s;
    return t->is_fresh && t->from == 0 && step_of(t) >= 2 && gone > 0.1 * t->limit_s &&
           gone < 0.3 * t->limit_s &&
           gone + pace(t) * (double)(t->steps - step_of(t)) > 1.2 * t->limit_s;
}

/* Two fifths of the steps or of the time are made, and there is something to go on from. */
static bool is_to_be_killed(const training *t)
{
    char checkpoint[MZ_DEMO_PATH];
    if (mz_demo_has(t->d, "killed")) return false;
    const bool is_due = step_of(t) * 5 >= t->steps * 2 || used(t) > 0.4 * t->limit_s;
    const bool is_saved = is_due && mz_demo_checkpoint(t->d, checkpoint) == MZ_OK;
    mz_err_clear();
    return is_saved;
}

/* Follows the process until it ends, and says how it was made to. */
static mz_err follow(training *t, int pid, const char *const *words, end *how)
{
    mz_progress_line p;
    int status = 0;
    bool told = false;
    pid_t gone;
    *how = DONE;
    mz_progress_begin(&p);
    while ((gone = waitpid(pid, &status, WNOHANG)) == 0 || (gone < 0 && errno == EINTR)) {
        if (mz_series_read(&t->log, mz_demo_path(t->d, "run")) == MZ_OK) show(t, &p);
        mz_err_clear();
        if (!told && mz_demo_stopped()) told = kill(pid, SIGTERM) == 0;
        if (!told && is_to_be_killed(t)) told = kill(pid, SIGKILL) == 0, *how = KILLED;
        if (!told && is_too_slow(t)) told = kill(pid, SIGKILL) == 0, *how = TOO_SLOW;
        if (!told && used(t) > t->limit_s) told = kill(pid, SIGTERM) == 0, *how = TIME_IS_UP;
        mz_clock_sleep_ns(50000000);
    }
    if (mz_series_read(&t->log, mz_demo_path(t->d, "run")) == MZ_OK && step_of(t) == t->steps) {
        p.shown_ns = 0;
        show(t, &p);
    }
    mz_progress_end(&p);
    mz_err_clear();
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    const bool saved = WIFEXITED(status) && (WEXITSTATUS(status) == 75 || WEXITSTATUS(status) == 0);
    if (!mz_demo_stopped() && *how == TIME_IS_UP && saved) {
        if (step_of(t) == t->steps) *how = DONE; /* just in time */
        return MZ_OK;
    }
    if (!mz_demo_stopped() && (*how == KILLED || *how == TOO_SLOW) && killed) return MZ_OK;
    *how = DONE; /* it had ended before it heard of it */
    return mz_demo_ended(t->d, words, status);
}

/* The step of the newest checkpoint, 0 without one: the log may be further. */
static int64_t checkpointed(const training *t)
{
    char path[MZ_DEMO_PATH];
    long long step = 0;
    const bool is_saved = mz_demo_checkpoint(t->d, path) == MZ_OK;
    const char *name = is_saved ? strrchr(path, '/') : NULL;
    mz_err_clear();
    return name && sscanf(name, "/step-%lld", &step) == 1 ? step : 0;
}

static mz_err once(training *t, end *how)
{
    const char *words[MZ_DEMO_WORDS] = {NULL};
    int pid = 0;
    MZ_TRY(mz_demo_planned(t->d, &t->steps));
    MZ_TRY(mz_series_read(&t->log, mz_demo_path(t->d, "run")));
    t->from = checkpointed(t);
    t->shown = step_of(t);
    mz_demo_train_words(t->d, "run", words);
    t->begun_ns = mz_clock_ns();
    MZ_TRY(mz_demo_start(t->d, words, "out", &pid));
    const mz_err err = follow(t, pid, words, how);
    t->spent_s = used(t);
    return err;
}

static mz_err after_kill(const training *t)
{
    fprintf(stderr,
            "killed     the training process at step %lld (SIGKILL): it goes on from\n"
            "           its checkpoint, to the same bits\n",
            (long long)step_of(t));
    return mz_file_write(mz_demo_path(t->d, "killed"), "once\n", 5);
}

/* The run goes, and a shorter one takes its place. */
static mz_err plan_anew(training *t)
{
    const char *rm[] = {"runs", "rm", mz_demo_path(t->d, "run"), NULL};
    const double each = (t->spent_s > 0.0 ? t->spent_s : 1.0) / (double)step_of(t);
    const int64_t fit = (int64_t)(0.9 * (t->limit_s - t->spent_s) / each);
    const int64_t steps = fit > 20 ? fit : 20;
    t->is_fresh = false;
    fprintf(stderr,
            "plan       it trains more slowly than it did when measured: begun anew with\n"
            "           %lld steps\n",
            (long long)steps);
    MZ_TRY(mz_demo_command(t->d, rm, "out"));
    mz_series_clear(&t->log);
    return mz_demo_yaml(t->d, t->d->ranks, steps);
}

/* Seconds that the steps of before took, by the log. */
static double seconds_of(const mz_series *s)
{
    double sum = 0.0;
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t tokens = s->list[i].tokens - (i > 0 ? s->list[i - 1].tokens : 0);
        const double speed = s->list[i].value[MZ_METRIC_SPEED];
        if (speed > 0.0) sum += (double)tokens / speed;
    }
    return sum;
}

static mz_err train(training *t)
{
    MZ_TRY(mz_series_read(&t->log, mz_demo_path(t->d, "run")));
    t->is_fresh = t->log.n == 0;
    t->spent_s = seconds_of(&t->log);
    for (end how = KILLED; how != DONE && how != TIME_IS_UP;) {
        MZ_TRY(once(t, &how));
        if (how == KILLED) MZ_TRY(after_kill(t));
        if (how == TOO_SLOW) MZ_TRY(plan_anew(t));
        if (how == TIME_IS_UP)
            fprintf(stderr,
                    "time is up after %lld of %lld steps: the machine was slower than planned\n",
                    (long long)step_of(t), (long long)t->steps);
    }
    return mz_file_write(mz_demo_path(t->d, "trained"), "once\n", 5);
}

mz_err mz_demo_train(const mz_demo *d)
{
    training t = {.d = d, .limit_s = d->steps > 0 ? (double)INFINITY : d->minutes * 60.0};
    if (mz_demo_has(d, "trained")) return MZ_OK;
    const mz_err err = train(&t);
    mz_series_clear(&t.log);
    return err;
}

mz_err mz_demo_checkpoint(const mz_demo *d, char path[MZ_DEMO_PATH])
{
    mz_names names = {0};
    const char *folder = mz_demo_path(d, "run/checkpoints"), *newest = NULL;
    if (!mz_file_is_dir(folder)) return MZ_FAIL(MZ_EIO, "%s is not there yet", folder);
    MZ_TRY(mz_folder_list(&names, folder));
    for (int64_t i = 0; i < names.n; i++)
        if (mz_str_starts(names.list[i], "step-") && !strchr(names.list[i], '.') &&
            (!newest || strcmp(names.list[i], newest) > 0))
            newest = names.list[i];
    const mz_err err = newest ? mz_path_join(path, MZ_DEMO_PATH, folder, newest)
                              : MZ_FAIL(MZ_EIO, "%s holds no checkpoint yet", folder);
    mz_names_clear(&names);
    return err;
}

/* ---- the curve ---- */

/* Means of the first and of the last steps; a single one says little. */
static void ends(const mz_series *s, double *first, double *last)
{
    const int64_t n = s->n == 0 ? 0 : s->n < 80 ? (s->n + 3) / 4 : 20;
    *first = *last = 0.0;
    for (int64_t i = 0; i < n; i++) {
        *first += s->list[i].value[MZ_METRIC_LOSS] / (double)n;
        *last += s->list[s->n - 1 - i].value[MZ_METRIC_LOSS] / (double)n;
    }
}

mz_err mz_demo_curve(const mz_demo *d, double *first, double *last, int64_t *steps)
{
    const mz_terminal t = mz_terminal_of_stdout();
    const mz_plot_screen screen = {.columns = 80, .rows = 10, .unicode = t.unicode};
    mz_series s = {0};
    mz_str text = {0};
    mz_err err = mz_series_read(&s, mz_demo_path(d, "run"));
    if (err == MZ_OK) ends(&s, first, last);
    const mz_record *last_one = mz_series_last(&s);
    if (err == MZ_OK) *steps = last_one ? last_one->step : 0;
    mz_series_clear(&s);
    if (err == MZ_OK) err = mz_run_plot_svg(mz_demo_path(d, "run"), mz_demo_path(d, "loss.svg"));
    if (err == MZ_OK) err = mz_run_plot_text(&text, mz_demo_path(d, "run"), &screen);
    if (err == MZ_OK) fprintf(stderr, "\n%s\n", text.text);
    mz_str_clear(&text);
    return err;
}
