/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo_plan.c - how the demonstration trains: how many steps on which chips, and that a run
 * that goes on is the one that was begun. Floor: app. */
#include "app/demo.h"

#include "app/shell.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "runs/series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_STEPS = 12, WARM_SECOND = 4, LEAST_STEPS = 20, FILE_MOST = 1 << 20 };

/* ---- plan.json ---- */

/* What may not change in the middle of a run (is_fixed), and what is only remembered. */
static const struct {
    const char *name; /* of the option, and of the key */
    size_t at;
    bool is_fixed;
} TEXTS[] = {{"chip", offsetof(mz_demo, chip), true},
             {"second", offsetof(mz_demo, second), true},
             {"isa", offsetof(mz_demo, isa), false},
             {"driver-path", offsetof(mz_demo, driver_path), false},
             {"fault-plan", offsetof(mz_demo, fault_plan), false}};

static const char **field(mz_demo *d, int i)
{
    return (const char **)((char *)d + TEXTS[i].at);
}

static mz_err write_plan(mz_demo *d)
{
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "minutes", mz_json_number(d->minutes));
    bad |= json_object_set_new(o, "seed", json_integer(d->seed));
    bad |= json_object_set_new(o, "steps", json_integer(d->steps));
    bad |= json_object_set_new(o, "ranks", json_string(d->ranks ? d->ranks : ""));
    for (int i = 0; i < MZ_COUNT(TEXTS); i++) {
        const char *text = *field(d, i);
        bad |= json_object_set_new(o, TEXTS[i].name, text ? json_string(text) : json_null());
    }
    const mz_err err =
        bad == 0 ? mz_json_write(o, mz_demo_path(d, "plan.json")) : mz_cli_json_failed();
    json_decref(o);
    return err;
}

static mz_err differs(const mz_demo *d, const mz_cli *cli, const char *name, const char *was)
{
    mz_str again = {0};
    const char *out = mz_cli_text(cli, "out", NULL);
    const mz_err err =
        MZ_FAIL(MZ_EUSAGE, "%s holds an unfinished demonstration that was begun with --%s %s",
                d->out, name, was);
    mz_err bad = mz_str_addf(&again, "%s", out ? " --out " : "");
    if (bad == MZ_OK && out) bad = mz_shell_word(&again, out);
    mz_note_fix("`mizan demo%s` goes on with it; another --out begins another",
                bad == MZ_OK && again.text ? again.text : "");
    mz_str_clear(&again);
    return err;
}

static double plan_number(const mz_demo *d, const char *key)
{
    return json_number_value(json_object_get(d->plan, key));
}

static mz_err recall_numbers(mz_demo *d, const mz_cli *cli)
{
    const struct {
        const char *name;
        double given;
    } all[] = {{"minutes", d->minutes}, {"seed", (double)d->seed}, {"steps", (double)d->steps}};
    for (int i = 0; i < MZ_COUNT(all); i++) {
        char was[32];
        const double planned = plan_number(d, all[i].name);
        (void)snprintf(was, sizeof was, "%.10g", planned);
        if (mz_cli_texts(cli, all[i].name) > 0 && fabs(planned - all[i].given) > 0.0)
            return differs(d, cli, all[i].name,
                           planned > 0.0 || i == 1 ? was : "as the time has it");
    }
    d->minutes = plan_number(d, "minutes");
    d->seed = (int64_t)plan_number(d, "seed");
    d->steps = (int64_t)plan_number(d, "steps");
    return MZ_OK;
}

mz_err mz_demo_recall(mz_demo *d, const mz_cli *cli)
{
    if (!mz_demo_has(d, "run/train.yaml") || !mz_demo_has(d, "plan.json")) return MZ_OK;
    MZ_TRY(mz_json_read(&d->plan, mz_demo_path(d, "plan.json"), FILE_MOST));
    MZ_TRY(recall_numbers(d, cli));
    for (int i = 0; i < MZ_COUNT(TEXTS); i++) {
        const char *was = json_string_value(json_object_get(d->plan, TEXTS[i].name));
        const char **now = field(d, i);
        if (*now && TEXTS[i].is_fixed && (!was || strcmp(*now, was) != 0))
            return differs(d, cli, TEXTS[i].name, was ? was : "left out");
        if (!*now) *now = was;
    }
    d->ranks = json_string_value(json_object_get(d->plan, "ranks"));
    return MZ_OK;
}

/* ---- train.yaml ---- */

mz_err mz_demo_yaml(const mz_demo *d, const char *ranks, int64_t steps)
{
    mz_str s = {0};
    const int64_t every = steps / 8 > 0 ? steps / 8 : 1, warmup = steps / 20 + 1;
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
        MZ_DEMO_ROWS, (long long)warmup, ranks ? ranks : "");
    if (err == MZ_OK) err = mz_file_write(mz_demo_path(d, "train.yaml"), s.text, s.len);
    mz_str_clear(&s);
    return err;
}

mz_err mz_demo_planned(const mz_demo *d, int64_t *steps)
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

void mz_demo_train_words(const mz_demo *d, const char *run, const char *words[MZ_DEMO_WORDS])
{
    static char pairs[4][MZ_DEMO_PATH + 32];
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
    mz_demo_chip_words(d, words, n, d->ranks && d->ranks[0]);
}

/* ---- measuring ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The middle one: the best says what the machine could do if it were alone, and the first steps
 * are slower than all others. */
static double speed_of(const mz_series *s)
{
    double all[WARM_STEPS];
    int n = 0;
    for (int64_t i = s->n > 2 ? 2 : 0; i < s->n && n < WARM_STEPS; i++)
        if (s->list[i].value[MZ_METRIC_SPEED] > 0.0) all[n++] = s->list[i].value[MZ_METRIC_SPEED];
    qsort(all, (size_t)n, sizeof *all, by_size);
    return n > 0 ? all[n / 2] : 1.0;
}

/* A short run with these ranks, or on this chip alone; then it is removed. On a slow chip it is
 * stopped by the clock, and what it made until then says how slow. */
static mz_err measure(const mz_demo *d, const char *ranks, const char *chip, int64_t steps,
                      double *speed)
{
    const char *words[MZ_DEMO_WORDS] = {NULL};
    const char *rm[] = {"runs", "rm", mz_demo_path(d, "warmup"), NULL};
    mz_demo one = *d;
    mz_series s = {0};
    int n = 0;
    one.ranks = ranks;
    if (chip) one.chip = chip;
    if (mz_demo_has(d, "warmup/train.yaml")) MZ_TRY(mz_demo_command(d, rm, "out"));
    MZ_TRY(mz_demo_yaml(d, ranks, steps));
    mz_demo_train_words(&one, "warmup", words);
    while (words[n]) n++;
    words[n] = "run.stop_after=30";
    mz_err err = mz_demo_command(d, words, "out");
    if (err == MZ_EBUSY) err = MZ_OK; /* 75: the clock; a folder in use has no steps below */
    if (err == MZ_OK) err = mz_series_read(&s, mz_demo_path(d, "warmup"));
    if (err == MZ_OK && s.n == 0)
        err = MZ_FAIL(MZ_ETIMEOUT, "%s makes no step in half a minute", one.chip ? one.chip : "it");
    if (err == MZ_OK) *speed = speed_of(&s);
    mz_series_clear(&s);
    rm[2] = mz_demo_path(d, "warmup");
    return err == MZ_OK ? mz_demo_command(d, rm, "out") : err;
}

/* ---- a second rank ---- */

/* The usual one is to be another piece of silicon than the processor that the first rank has. */
static mz_err opens(const mz_demo *d, const char *spec)
{
    mz_device *device = NULL;
    const mz_chip_options o = {.driver_path = d->driver_path};
    MZ_TRY(mz_device_open(&device, spec, &o));
    const bool is_processor = device->info.threads > 0;
    mz_device_close(device);
    if (d->second || !is_processor) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "it is the processor itself");
}

/* The samples of a step for each by what each makes alone: at least one. */
static mz_err share(mz_demo *d, const char *second, double *speed)
{
    double other = 1.0;
    char ranks[400];
    MZ_TRY(opens(d, second));
    MZ_TRY(measure(d, NULL, second, WARM_SECOND, &other));
    const double part = MZ_DEMO_ROWS * other / (*speed + other);
    const int k = part < 1.0 ? 1 : part > MZ_DEMO_ROWS - 1 ? MZ_DEMO_ROWS - 1 : (int)lround(part);
    const int n =
        snprintf(ranks, sizeof ranks,
                 "ranks: [{chip: \"%.120s\", share: %d}, {chip: \"%.120s\", share: %d}]\n",
                 d->chip ? d->chip : "cpu", MZ_DEMO_ROWS - k, second, k);
    MZ_NEED(n > 0 && n < (int)sizeof ranks, "the line of ranks is cut");
    MZ_TRY(measure(d, ranks, NULL, WARM_STEPS, speed));
    fprintf(stderr, "ranks      %s and %s, %d and %d samples of each step\n",
            d->chip ? d->chip : "cpu", second, MZ_DEMO_ROWS - k, k);
    json_decref(d->plan);
    d->plan = json_object();
    if (json_object_set_new(d->plan, "ranks", json_string(ranks)) != 0) return mz_cli_json_failed();
    d->ranks = json_string_value(json_object_get(d->plan, "ranks"));
    return MZ_OK;
}

/* Whether a second rank is to be tried: one that was asked for, or the usual one where this program
 * knows such a chip. */
static bool tries_second(const mz_demo *d)
{
    if (d->second) return strcmp(d->second, "none") != 0;
    return !d->chip && mz_chip_find("opencl");
}

/* One that was asked for must be there; the usual one is taken where it works, and else it is said
 * why not. */
static mz_err find_second(mz_demo *d, double *speed)
{
    static const char usual[] = "opencl:0";
    if (!tries_second(d)) return MZ_OK;
    const mz_err err = share(d, d->second ? d->second : usual, speed);
    if (d->second) return err;
    if (err == MZ_OK || err == MZ_EINTR || err == MZ_ENOMEM) return err;
    fprintf(stderr, "ranks      one: %s is not used here\n           %.68s\n", usual,
            mz_err_last()->message);
    mz_err_clear();
    return MZ_OK;
}

mz_err mz_demo_plan(mz_demo *d)
{
    double speed = 1.0;
    if (d->steps == 0 || tries_second(d)) {
        fprintf(stderr, "measuring  how fast it trains here\n");
        MZ_TRY(measure(d, NULL, NULL, WARM_STEPS, &speed));
        MZ_TRY(find_second(d, &speed));
    }
    /* A tenth of the time goes to checkpoints and to what is lost when it is killed. */
    const double each = MZ_DEMO_SEQ * MZ_DEMO_ROWS / (speed > 1.0 ? speed : 1.0);
    const int64_t fit = (int64_t)(0.9 * d->minutes * 60.0 / each);
    const int64_t steps = d->steps > 0 ? d->steps : fit > LEAST_STEPS ? fit : LEAST_STEPS;
    MZ_TRY(mz_demo_yaml(d, d->ranks, steps));
    MZ_TRY(write_plan(d));
    if (d->steps > 0)
        fprintf(stderr, "plan       %lld steps of %d tokens\n", (long long)steps,
                MZ_DEMO_SEQ * MZ_DEMO_ROWS);
    else
        fprintf(stderr, "plan       %lld steps of %d tokens at %.0f tokens/s: %.1f minutes\n",
                (long long)steps, MZ_DEMO_SEQ * MZ_DEMO_ROWS, speed, each * (double)steps / 60.0);
    return MZ_OK;
}
