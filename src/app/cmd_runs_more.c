/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_more.c - `mizan runs compare`: runs beside each other. Floor: app. */
#include "app/commands.h"
#include "app/run_name.h"
#include "app/run_view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- compare ---- */

typedef struct run_log {
    char run[MZ_RUN_PATH];
    mz_train_config *config;
    double *loss; /* [n] of step i + 1; NaN where it was not finite */
    int64_t n, cap;
    double best_eval, tokens_per_s; /* NaN: none; tokens_per_s: what it came to in the end */
    bool is_done;
} run_log;

static double number(const json_t *o, const char *name)
{
    const json_t *x = json_object_get(o, name);
    return json_is_number(x) ? json_number_value(x) : (double)NAN;
}

static mz_err take_line(run_log *l, const json_t *o)
{
    if (l->n == l->cap) {
        const int64_t cap = l->cap ? 2 * l->cap : 256;
        MZ_TRY(mz_mem_grow(&l->loss, cap, sizeof *l->loss));
        l->cap = cap;
    }
    const double eval = number(o, "eval_loss");
    l->loss[l->n++] = number(o, "loss");
    if (eval < l->best_eval || (isnan(l->best_eval) && !isnan(eval))) l->best_eval = eval;
    l->is_done = json_is_true(json_object_get(o, "done"));
    const double rate = number(o, "tokens_per_s");
    if (!isnan(rate)) /* a mean that forgets */
        l->tokens_per_s = isnan(l->tokens_per_s) ? rate : 0.9 * l->tokens_per_s + 0.1 * rate;
    return MZ_OK;
}

static mz_err read_log(run_log *l)
{
    char path[MZ_CHECKPOINT_PATH];
    mz_map map = {0};
    mz_err err = MZ_OK;
    l->best_eval = l->tokens_per_s = (double)NAN;
    MZ_TRY(mz_path_join(path, sizeof path, l->run, "log.jsonl"));
    if (!mz_file_exists(path)) return MZ_OK; /* no step yet */
    MZ_TRY(mz_map_open(&map, path));
    const char *text = (const char *)map.data, *end = text + map.bytes;
    while (text && text < end && err == MZ_OK) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        if (!newline) break; /* a line that is being written */
        json_t *o = NULL;
        err = mz_json_parse(&o, text, (size_t)(newline - text), path);
        if (err == MZ_OK) err = take_line(l, o);
        json_decref(o);
        text = newline + 1;
    }
    mz_map_close(&map);
    return err;
}

static mz_err read_run(run_log *l, const char *word)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_run_find(word, l->run));
    MZ_TRY(mz_mem_new(&l->config, 1, sizeof *l->config));
    MZ_TRY(mz_path_join(path, sizeof path, l->run, "train.yaml"));
    MZ_TRY(mz_config_load(l->config, path, NULL, 0));
    return read_log(l);
}

/* The values of a key in every run, where they are not all the same; else NULL. */
static mz_err differing(const mz_key *key, const run_log *l, int n, json_t **out)
{
    json_t *values = json_array();
    bool differ = false;
    mz_err err = MZ_OK;
    for (int i = 0; i < n && err == MZ_OK; i++) {
        mz_str text = {0};
        err = mz_key_write(key, l[i].config, &text);
        if (err == MZ_OK && json_array_append_new(values, json_string(text.text)) != 0)
            err = mz_cli_json_failed();
        mz_str_clear(&text);
        if (err == MZ_OK &&
            !json_equal(json_array_get(values, 0), json_array_get(values, (size_t)i)))
            differ = true;
    }
    *out = differ && err == MZ_OK ? values : NULL;
    if (!*out) json_decref(values);
    return err;
}

static double last_loss(const run_log *l)
{
    return l->n > 0 ? l->loss[l->n - 1] : (double)NAN;
}

/* The first step whose loss is not that of the first run, 0: none; and the largest difference. */
static void apart(const run_log *a, const run_log *b, int64_t *first, double *most)
{
    *first = 0;
    *most = 0.0;
    for (int64_t i = 0; i < a->n && i < b->n; i++) {
        const double d = fabs(a->loss[i] - b->loss[i]);
        if (!(d <= 0.0) && *first == 0) *first = i + 1;
        if (d > *most) *most = d;
    }
}

static json_t *run_json(const run_log *l, const run_log *first)
{
    int64_t step;
    double most;
    apart(first, l, &step, &most);
    json_t *o = json_object();
    int bad = json_object_set_new(o, "run", json_string(l->run));
    bad |= json_object_set_new(o, "step", json_integer(l->n));
    bad |= json_object_set_new(o, "done", json_boolean(l->is_done));
    bad |= json_object_set_new(o, "loss", mz_json_number(last_loss(l)));
    bad |= json_object_set_new(o, "best_eval_loss", mz_json_number(l->best_eval));
    bad |= json_object_set_new(o, "tokens_per_s", mz_json_number(l->tokens_per_s));
    bad |= json_object_set_new(o, "first_step_apart", step ? json_integer(step) : json_null());
    bad |= json_object_set_new(o, "largest_loss_apart", mz_json_number(most));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

/* runs: run_json's. */
static void print_rows(const run_log *l, int n, const json_t *runs)
{
    int wide = 4;
    for (int i = 0; i < n; i++) wide = (int)strlen(l[i].run) > wide ? (int)strlen(l[i].run) : wide;
    printf("%-*s  %7s  %8s  %8s  %9s  %s\n", wide, "run", "step", "loss", "best", "tokens/s",
           "apart from the first");
    for (int i = 0; i < n; i++) {
        const json_t *r = json_array_get(runs, (size_t)i);
        const json_t *step = json_object_get(r, "first_step_apart");
        char loss[16], best[16], apart[64] = "in no step";
        if (json_is_integer(step))
            (void)snprintf(apart, sizeof apart, "from step %lld, at most %.3g",
                           (long long)json_integer_value(step),
                           json_number_value(json_object_get(r, "largest_loss_apart")));
        printf("%-*s  %7lld  %8s  %8s  %9.0f  %s\n", wide, l[i].run, (long long)l[i].n,
               mz_run_number(loss, last_loss(&l[i])), mz_run_number(best, l[i].best_eval),
               l[i].tokens_per_s, i == 0 ? "-" : apart);
    }
}

static mz_err print_comparison(const run_log *l, int n, bool as_json)
{
    json_t *o = as_json ? mz_cli_document() : NULL;
    json_t *keys = json_object(), *runs = json_array();
    mz_err err = MZ_OK;
    int bad = 0;
    for (int i = 0; i < n; i++) bad |= json_array_append_new(runs, run_json(&l[i], &l[0]));
    if (!as_json) print_rows(l, n, runs);
    for (int k = 0; k < mz_key_count() && err == MZ_OK; k++) {
        json_t *values = NULL;
        err = differing(&mz_keys[k], l, n, &values);
        if (!values) continue;
        if (!as_json) printf("  %-22s", mz_keys[k].name);
        for (size_t i = 0; i < json_array_size(values) && !as_json; i++)
            printf(" %s %s", i ? "|" : "", json_string_value(json_array_get(values, i)));
        if (!as_json) printf("\n");
        bad |= json_object_set_new(keys, mz_keys[k].name, values);
    }
    if (as_json) bad |= json_object_set(o, "runs", runs) | json_object_set(o, "differences", keys);
    json_decref(keys);
    json_decref(runs);
    if (err == MZ_OK && bad != 0) err = mz_cli_json_failed();
    if (!as_json || err != MZ_OK) {
        json_decref(o);
        return err;
    }
    return mz_cli_print(o);
}

static mz_err compare(const mz_cli *cli)
{
    run_log *l = NULL;
    const int n = mz_cli_count(cli);
    MZ_TRY(mz_mem_new(&l, n, sizeof *l));
    mz_err err = MZ_OK;
    for (int i = 0; i < n && err == MZ_OK; i++) err = read_run(&l[i], mz_cli_argument(cli, i));
    if (err == MZ_OK) err = print_comparison(l, n, mz_cli_flag(cli, "json"));
    for (int i = 0; i < n; i++) {
        mz_mem_free(l[i].config);
        mz_mem_free(l[i].loss);
    }
    mz_mem_free(l);
    return err;
}

const mz_command mz_cmd_runs_compare = {
    .name = "runs compare",
    .arguments = "RUN RUN...",
    .least = 2,
    .most = -1,
    .summary = "runs beside each other: losses, speed, and where their configurations differ",
    .description = "Losses are held against those of the first run, step by step.",
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs compare runs/first runs/second",
    .run = compare,
};
