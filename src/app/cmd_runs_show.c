/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_show.c - `mizan runs show`: all that is known of one run. Floor: app. */
#include "app/commands.h"
#include "app/progress.h"
#include "app/run_entry.h"
#include "app/run_name.h"
#include "app/run_view.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FAULTS_SHOWN = 5, DEPTH = 8 };

/* ---- sizes ---- */

/* Bytes of all files below; links are not followed. */
static double bytes_below(const char *path, int depth)
{
    struct stat st;
    mz_names names = {0};
    double sum = 0.0;
    if (lstat(path, &st) != 0) return 0.0;
    if (!S_ISDIR(st.st_mode)) return S_ISREG(st.st_mode) ? (double)st.st_size : 0.0;
    if (depth == 0 || mz_folder_list(&names, path) != MZ_OK) return 0.0;
    for (int64_t i = 0; i < names.n; i++) {
        char below[MZ_RUN_PATH];
        if (mz_path_join(below, sizeof below, path, names.list[i]) == MZ_OK)
            sum += bytes_below(below, depth - 1);
    }
    mz_names_clear(&names);
    return sum;
}

/* Those that are whole by their name, the oldest first: [{"path", "step", "bytes", "best"}]. */
static json_t *checkpoints_json(const mz_run_entry *e)
{
    char folder[MZ_RUN_PATH], path[MZ_RUN_PATH];
    mz_names names = {0};
    json_t *list = json_array();
    if (mz_path_join(folder, sizeof folder, e->path, "checkpoints") != MZ_OK ||
        mz_folder_list(&names, folder) != MZ_OK)
        return list;
    for (int64_t i = 0; i < names.n; i++) {
        int64_t step = 0;
        if (!mz_str_starts(names.list[i], "step-") || !mz_str_to_i64(names.list[i] + 5, &step) ||
            mz_path_join(path, sizeof path, folder, names.list[i]) != MZ_OK)
            continue;
        (void)json_array_append_new(list, json_pack("{s:o, s:I, s:I, s:b}", "path",
                                                    json_string(path), "step", (json_int_t)step,
                                                    "bytes", (json_int_t)bytes_below(path, 1),
                                                    "best", step == e->best_step));
    }
    mz_names_clear(&names);
    return list;
}

/* ---- as text ---- */

static const char *date_of(char out[32], double when)
{
    const time_t seconds = isfinite(when) ? (time_t)when : 0;
    struct tm parts;
    if (!isfinite(when) || !localtime_r(&seconds, &parts) ||
        strftime(out, 32, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        (void)snprintf(out, 32, "-");
    return out;
}

static void print_progress(const mz_run_entry *e, const json_t *last)
{
    char loss[16], best[16];
    printf("progress    step %lld", (long long)e->step);
    if (e->steps > 0)
        printf(" of %lld (%.0f %%)", (long long)e->steps,
               100.0 * (double)e->step / (double)e->steps);
    if (e->tokens > 0) printf(", %lld tokens", (long long)e->tokens);
    printf("\n");
    if (e->step == 0) return;
    printf("loss        %s", mz_run_number(loss, e->loss));
    if (e->best_step > 0)
        printf(", best validation %s at step %lld", mz_run_number(best, e->best_loss),
               (long long)e->best_step);
    printf("\n");
    const json_t *speed = json_object_get(last, "tokens_per_s");
    const json_int_t skipped = json_integer_value(json_object_get(last, "skipped"));
    if (json_is_number(speed)) printf("speed       %.0f tokens/s\n", json_number_value(speed));
    if (skipped > 0) printf("skipped     %lld steps\n", (long long)skipped);
}

static void print_checkpoints(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        char size[32];
        const json_t *c = json_array_get(list, i);
        printf("%-11s step %lld, %s%s\n", i == 0 ? "checkpoints" : "",
               (long long)json_integer_value(json_object_get(c, "step")),
               mz_str_bytes(size, json_number_value(json_object_get(c, "bytes"))),
               json_is_true(json_object_get(c, "best")) ? ", the best" : "");
    }
    if (json_array_size(list) == 0) printf("checkpoints none yet\n");
}

static void print_faults(const json_t *faults, const json_t *resumed)
{
    const size_t n = json_array_size(faults), went_on = json_array_size(resumed);
    if (went_on > 0) printf("went on     %zu time%s\n", went_on, went_on == 1 ? "" : "s");
    for (size_t i = n > FAULTS_SHOWN ? n - FAULTS_SHOWN : 0; i < n; i++) {
        char plain[160], when[32];
        const json_t *f = json_array_get(faults, i);
        const char *message = json_string_value(json_object_get(f, "message"));
        date_of(when, json_number_value(json_object_get(f, "time")));
        printf("fault       %s  %s\n", when,
               mz_run_plain(plain, sizeof plain, message ? message : ""));
    }
}

static void print_entry(const mz_run_entry *e)
{
    char plain[MZ_RUN_PATH], size[16], from[32], to[32];
    printf("%s%s%s%s\n", mz_run_plain(plain, sizeof plain, e->name), e->id[0] ? " (" : "", e->id,
           e->id[0] ? ")" : "");
    printf("folder      %s\n", mz_run_plain(plain, sizeof plain, e->path));
    printf("state       %s", mz_run_state_now(e));
    if (e->state == MZ_RUN_RUNNING && e->pid > 0)
        printf(", process %lld on %s", (long long)e->pid, e->host);
    if (e->reason[0]) printf(": %s", mz_run_plain(plain, sizeof plain, e->reason));
    printf("\n");
    if (e->family[0])
        printf("model       %s, %s parameters\n", e->family, mz_run_size(size, e->parameters));
    if (e->chips[0]) printf("chips       %s\n", mz_run_plain(plain, sizeof plain, e->chips));
    printf("started     %s", date_of(from, e->started));
    if (isfinite(e->ended) && e->state != MZ_RUN_RUNNING)
        printf(", ended %s", date_of(to, e->ended));
    printf("\n");
    if (e->config[0]) printf("config      %.12s\n", e->config);
}

/* As text, or as a number: 1e-08 is 1e-8. */
static bool is_default(const mz_key *key, const char *text)
{
    double a, b;
    const char *otherwise = key->otherwise && *key->otherwise ? key->otherwise : "\"\"";
    if (strcmp(text, otherwise) == 0) return true;
    return mz_str_to_f64(text, &a) && mz_str_to_f64(otherwise, &b) && !(a < b) && !(a > b);
}

/* The keys that are not as they are by default. */
static void print_config(const mz_run_entry *e)
{
    char yaml[MZ_RUN_PATH];
    mz_train_config *c = NULL;
    if (mz_path_join(yaml, sizeof yaml, e->path, "train.yaml") != MZ_OK ||
        mz_mem_new(&c, 1, sizeof *c) != MZ_OK)
        return;
    const bool is_read = mz_config_load(c, yaml, NULL, 0) == MZ_OK;
    for (int i = 0; i < mz_key_count() && is_read; i++) {
        mz_str text = {0};
        char plain[200];
        if (mz_key_write(&mz_keys[i], c, &text) == MZ_OK && text.text &&
            !is_default(&mz_keys[i], text.text))
            printf("  %s: %s\n", mz_keys[i].name, mz_run_plain(plain, sizeof plain, text.text));
        mz_str_clear(&text);
    }
    mz_mem_free(c);
    mz_err_clear();
}

/* ---- the command ---- */

typedef struct shown {
    mz_run_entry entry;
    char checkpoint[MZ_CHECKPOINT_PATH];
    json_t *last, *state, *checkpoints, *faults, *resumed; /* state: of the newest checkpoint */
    double bytes;
} shown;

static void clear(shown *s)
{
    json_decref(s->last);
    json_decref(s->state);
    json_decref(s->checkpoints);
    json_decref(s->faults);
    json_decref(s->resumed);
}

static mz_err collect(shown *s)
{
    mz_run_entry *e = &s->entry;
    s->checkpoints = checkpoints_json(e);
    s->faults = mz_run_events(e->path, "ranks.jsonl", "fault");
    s->resumed = mz_run_events(e->path, "resumed.jsonl", NULL);
    s->last = mz_run_last_record(e->path);
    s->bytes = bytes_below(e->path, DEPTH);
    return mz_run_is_gone(e) ? MZ_OK : mz_checkpoint_newest(e->path, s->checkpoint, &s->state);
}

static void print_text(const shown *s)
{
    char size[32];
    print_entry(&s->entry);
    print_progress(&s->entry, s->last);
    if (mz_run_is_gone(&s->entry)) return;
    print_faults(s->faults, s->resumed);
    print_checkpoints(s->checkpoints);
    printf("on disk     %s\n", mz_str_bytes(size, s->bytes));
    printf("keys that are not by default:\n");
    print_config(&s->entry);
}

static mz_err print_json(const shown *s)
{
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "run", json_string(s->entry.path));
    bad |= json_object_set_new(o, "entry", mz_run_json(&s->entry));
    bad |= json_object_set_new(o, "last", s->last ? json_incref(s->last) : json_null());
    bad |=
        json_object_set_new(o, "checkpoint", s->state ? json_string(s->checkpoint) : json_null());
    bad |= json_object_set_new(o, "state", s->state ? json_incref(s->state) : json_null());
    bad |= json_object_set(o, "checkpoints", s->checkpoints);
    bad |= json_object_set(o, "faults", s->faults);
    bad |= json_object_set(o, "resumed", s->resumed);
    bad |= json_object_set_new(o, "bytes", json_real(s->bytes));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err show(const mz_cli *cli)
{
    shown s = {0};
    const bool as_json = mz_cli_flag(cli, "json");
    MZ_TRY(mz_run_pick(mz_cli_argument(cli, 0), &s.entry));
    mz_err err = collect(&s);
    if (err == MZ_OK && as_json) err = print_json(&s);
    if (err == MZ_OK && !as_json) print_text(&s);
    clear(&s);
    return err;
}

const mz_command mz_cmd_runs_show = {
    .name = "runs show",
    .arguments = "RUN",
    .least = 1,
    .most = 1,
    .summary = "all about a run: state, progress, faults, checkpoints, configuration",
    .description = "RUN is a folder, a name, or the beginning of an id (`mizan runs list`).",
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs show runs/first\nmizan runs show first --json",
    .run = show,
};
