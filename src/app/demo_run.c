/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo_run.c - the demonstration's processes: commands of this program, started as a user would
 * start them, one of them killed on the way. Floor: app. */
#include "app/demo.h"

#include "app/progress.h"
#include "app/terminal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/mem.h"
#include "runs/plot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 32, WARM_STEPS = 12, LOG_MOST = 1 << 28 };

static volatile sig_atomic_t was_told;

static void on_signal(int number)
{
    was_told = number;
}

void mz_demo_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool mz_demo_stopped(void)
{
    return was_told != 0;
}

const char *mz_demo_path(const mz_demo *d, const char *name)
{
    static char paths[64][MZ_DEMO_PATH];
    static int at;
    at = (at + 1) % MZ_COUNT(paths);
    (void)snprintf(paths[at], MZ_DEMO_PATH, "%s/%s", d->out, name);
    return paths[at];
}

bool mz_demo_has(const mz_demo *d, const char *name)
{
    return mz_file_exists(mz_demo_path(d, name));
}

/* In the child: what it inherits would end it otherwise, or outlive us. */
static void become(const mz_demo *d, const char *const *words, const char *to)
{
    char *argv[WORDS] = {"mizan"};
    for (int i = 0; words[i] && i < WORDS - 2; i++) memcpy(&argv[i + 1], &words[i], sizeof *argv);
    const int log = open(mz_demo_path(d, "commands.log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int out = to ? open(mz_demo_path(d, to), O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
    if (to && (out < 0 || dup2(out, STDOUT_FILENO) < 0)) _exit(74);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0) _exit(74);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)execv("/proc/self/exe", argv);
    _exit(74);
}

static mz_err start(const mz_demo *d, const char *const *words, const char *to, pid_t *pid)
{
    fflush(NULL);
    *pid = fork();
    if (*pid == 0) become(d, words, to);
    if (*pid < 0) return MZ_FAIL(MZ_EIO, "no process could be started: %s", strerror(errno));
    return MZ_OK;
}

static mz_err ended(const mz_demo *d, const char *command, int status)
{
    if (mz_demo_stopped()) return MZ_FAIL(MZ_EINTR, "stopped");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return MZ_OK;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const mz_err kind = code == 75 ? MZ_EINTR : code == 76 ? MZ_ECORRUPT : MZ_EIO;
    const mz_err err = MZ_FAIL(kind, "`mizan %s` ended with %d", command, code);
    mz_note_fix("the end of %s says why", mz_demo_path(d, "commands.log"));
    return err;
}

mz_err mz_demo_command(const mz_demo *d, const char *const *words, const char *to)
{
    pid_t pid;
    int status = 0;
    if (mz_demo_stopped()) return MZ_FAIL(MZ_EINTR, "stopped");
    MZ_TRY(start(d, words, to, &pid));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return ended(d, words[0], status);
}

/* ---- the log of a run ---- */

typedef void line_fn(void *user, const json_t *record);

static mz_err each_line(const mz_demo *d, const char *run, line_fn *fn, void *user)
{
    char path[MZ_DEMO_PATH], *text = NULL;
    size_t n = 0;
    MZ_TRY(mz_path_join(path, sizeof path, mz_demo_path(d, run), "log.jsonl"));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_file_read(path, LOG_MOST, &text, &n));
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *o = json_loadb(at, (size_t)(end - at), 0, NULL);
        if (o) fn(user, o);
        json_decref(o);
    }
    mz_mem_free(text);
    return MZ_OK;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

typedef struct seen {
    int64_t step, steps;
    double loss, best_speed;
} seen;

static void look(void *user, const json_t *o)
{
    seen *s = user;
    const double speed = number(o, "tokens_per_s");
    s->step = (int64_t)number(o, "step");
    s->loss = number(o, "loss");
    s->best_speed = speed > s->best_speed ? speed : s->best_speed;
    s->steps++;
}

/* ---- plan ---- */

static mz_err write_yaml(const mz_demo *d, const char *ranks, int64_t steps)
{
    mz_str s = {0};
    const int64_t every = steps / 5 > 0 ? steps / 5 : 1, warmup = steps / 20 + 1;
    mz_err err = mz_str_addf(
        &s,
        "# written by `mizan demo`; `mizan train` reads it\n"
        "model: {config: config.json}\n"
        "data: {path: shards, tokenizer: tokenizer.json, seq: %d, across: true}\n"
        "run: {dir: run, steps: %lld, seed: %lld, checkpoint_every: %lld, keep: 1, keep_best: "
        "false}\n"
        "batch: {global: %d, micro: %d}\n"
        "optim: {lr: 4e-3}\n"
        "schedule: {kind: cosine, warmup: %lld, min_lr: 1e-4}\n"
        "moe: {bias_rate: 0.001}\nmtp: {weight: 0.1}\n%s",
        MZ_DEMO_SEQ, (long long)steps, (long long)d->seed, (long long)every, MZ_DEMO_ROWS,
        MZ_DEMO_ROWS, (long long)warmup, ranks);
    if (err == MZ_OK) err = mz_file_write(mz_demo_path(d, "train.yaml"), s.text, s.len);
    mz_str_clear(&s);
    return err;
}

static bool opens(void *user, const char *spec)
{
    mz_device *device = NULL;
    char name[64];
    (void)user;
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(spec, ":"), spec);
    if (!mz_chip_find(name)) return false;
    const bool is_usable = mz_device_open(&device, spec, NULL) == MZ_OK;
    mz_device_close(device);
    mz_err_clear();
    return is_usable;
}

/* `mizan train` with paths of OUT, whatever the current folder is. */
static void train_words(const mz_demo *d, const char *run, const char *words[WORDS])
{
    static char pairs[4][MZ_DEMO_PATH + 32], threads[32];
    const char *const keys[4][2] = {{"model.config", "config.json"},
                                    {"data.path", "shards"},
                                    {"data.tokenizer", "tokenizer.json"},
                                    {"run.dir", run}};
    int n = 0;
    words[n++] = "train";
    words[n++] = mz_demo_path(d, "train.yaml");
    for (int i = 0; i < 4; i++) {
        (void)snprintf(pairs[i], sizeof pairs[i], "%s=%s", keys[i][0], mz_demo_path(d, keys[i][1]));
        words[n++] = pairs[i];
    }
    if (d->threads > 0) {
        (void)snprintf(threads, sizeof threads, "%lld", (long long)d->threads);
        words[n++] = "--threads", words[n++] = threads;
    }
    if (d->chip) words[n++] = "--chip", words[n++] = d->chip;
    if (d->isa) words[n++] = "--isa", words[n++] = d->isa;
    if (d->driver_path) words[n++] = "--driver-path", words[n++] = d->driver_path;
    if (d->fault_plan) words[n++] = "--fault-plan", words[n++] = d->fault_plan;
    words[n] = NULL;
}

mz_err mz_demo_plan(const mz_demo *d)
{
    const char *words[WORDS] = {NULL};
    const char *rm[] = {"runs", "rm", mz_demo_path(d, "warmup"), NULL};
    mz_str ranks = {0};
    seen s = {0};
    if (mz_demo_has(d, "warmup/train.yaml")) MZ_TRY(mz_demo_command(d, rm, "out"));
    mz_err err = d->chip ? MZ_OK : mz_demo_ranks(&ranks, opens, NULL);
    if (err == MZ_OK) err = write_yaml(d, ranks.text ? ranks.text : "", WARM_STEPS);
    train_words(d, "warmup", words);
    if (err == MZ_OK) err = mz_demo_command(d, words, "out");
    if (err == MZ_OK) err = each_line(d, "warmup", look, &s);
    if (err == MZ_OK) err = mz_demo_command(d, rm, "out");
    /* A twentieth of the time goes to checkpoints and to what is lost when it is killed. */
    const double each = MZ_DEMO_SEQ * MZ_DEMO_ROWS / (s.best_speed > 1.0 ? s.best_speed : 1.0);
    const int64_t steps = (int64_t)(0.9 * d->minutes * 60.0 / each);
    if (err == MZ_OK) err = write_yaml(d, ranks.text ? ranks.text : "", steps > 20 ? steps : 20);
    mz_str_clear(&ranks);
    if (err == MZ_OK)
        fprintf(stderr, "plan       %lld steps of %d tokens at %.0f tokens/s: %.1f minutes\n",
                (long long)(steps > 20 ? steps : 20), MZ_DEMO_SEQ * MZ_DEMO_ROWS, s.best_speed,
                each * (double)(steps > 20 ? steps : 20) / 60.0);
    return err;
}

/* ---- training ---- */

static mz_err planned_steps(const mz_demo *d, int64_t *steps)
{
    char *text = NULL;
    size_t n = 0;
    long long found = 0;
    MZ_TRY(mz_file_read(mz_demo_path(d, "train.yaml"), 1 << 16, &text, &n));
    const char *at = strstr(text, "steps: ");
    const bool good = at && sscanf(at, "steps: %lld", &found) == 1 && found > 0;
    mz_mem_free(text);
    *steps = found;
    return good ? MZ_OK : MZ_FAIL(MZ_ECORRUPT, "%s has no steps", mz_demo_path(d, "train.yaml"));
}

static void show(mz_progress_line *p, const seen *s, int64_t steps, int64_t from)
{
    char line[80], left[32];
    const double gone = (double)(mz_clock_ns() - p->begun_ns) * 1e-9;
    const double each = s->step > from ? gone / (double)(s->step - from) : 0.0;
    if (s->step == 0 || !mz_progress_is_due(p)) return;
    (void)snprintf(line, sizeof line, "training   %3lld %%  step %lld/%lld  loss %.3f  %s left",
                   (long long)(100 * s->step / steps), (long long)s->step, (long long)steps,
                   s->loss, mz_progress_time(left, each * (double)(steps - s->step)));
    mz_progress_show(p, s->step == steps, line);
}

/* Follows the process until it ends. Killed where `kills` and two fifths are made and saved. */
static mz_err follow(const mz_demo *d, pid_t pid, int64_t steps, bool kills, bool *killed)
{
    mz_progress_line p;
    int status = 0;
    seen s = {0};
    char checkpoint[MZ_DEMO_PATH];
    bool told = false;
    pid_t gone;
    MZ_TRY(each_line(d, "run", look, &s));
    const int64_t from = s.step;
    mz_progress_begin(&p);
    *killed = false;
    while ((gone = waitpid(pid, &status, WNOHANG)) == 0 || (gone < 0 && errno == EINTR)) {
        if (each_line(d, "run", look, &s) == MZ_OK) show(&p, &s, steps, from);
        if (mz_demo_stopped() && !told) told = kill(pid, SIGTERM) == 0;
        if (kills && !*killed && s.step * 5 >= steps * 2 &&
            mz_demo_checkpoint(d, checkpoint) == MZ_OK)
            *killed = kill(pid, SIGKILL) == 0;
        mz_clock_sleep_ns(50000000);
    }
    if (each_line(d, "run", look, &s) == MZ_OK && s.step == steps) {
        p.shown_ns = 0;
        show(&p, &s, steps, from);
    }
    mz_progress_end(&p);
    mz_err_clear();
    if (*killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !mz_demo_stopped())
        return MZ_OK;
    *killed = false;
    return ended(d, "train", status);
}

mz_err mz_demo_train(const mz_demo *d)
{
    const char *words[WORDS] = {NULL};
    int64_t steps;
    bool killed;
    pid_t pid;
    MZ_TRY(planned_steps(d, &steps));
    for (;;) {
        train_words(d, "run", words); /* their paths live for a short time */
        const bool kills = !mz_demo_has(d, "killed");
        MZ_TRY(start(d, words, "out", &pid));
        MZ_TRY(follow(d, pid, steps, kills, &killed));
        if (!killed) return MZ_OK;
        seen s = {0};
        MZ_TRY(mz_file_write(mz_demo_path(d, "killed"), "once\n", 5));
        MZ_TRY(each_line(d, "run", look, &s));
        fprintf(stderr,
                "killed     the training process at step %lld (SIGKILL): it goes on from\n"
                "           its checkpoint, to the same bits\n",
                (long long)s.step);
    }
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
    mz_err err = planned_steps(d, steps);
    if (err == MZ_OK) err = mz_series_read(&s, mz_demo_path(d, "run"));
    if (err == MZ_OK) ends(&s, first, last);
    mz_series_clear(&s);
    if (err == MZ_OK) err = mz_run_plot_svg(mz_demo_path(d, "run"), mz_demo_path(d, "loss.svg"));
    if (err == MZ_OK) err = mz_run_plot_text(&text, mz_demo_path(d, "run"), &screen);
    if (err == MZ_OK) fprintf(stderr, "\n%s\n", text.text);
    mz_str_clear(&text);
    return err;
}
