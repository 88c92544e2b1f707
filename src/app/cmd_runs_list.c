/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_list.c - `mizan runs list|add`: the registry as a table, and made from folders.
 * Floor: app. */
#include "app/commands.h"
#include "app/run_entry.h"
#include "app/run_view.h"
#include "app/terminal.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- runs below a folder ---- */

enum { DEPTH = 4 }; /* folders in folders, down to which runs are looked for */

typedef struct found {
    mz_run_entries *out;
    int64_t cap;
} found;

static mz_err take(found *f, const char *path)
{
    mz_run_entries *o = f->out;
    if (o->n == f->cap) {
        const int64_t cap = f->cap > 0 ? 2 * f->cap : 16;
        MZ_TRY(mz_mem_grow(&o->list, cap, sizeof *o->list));
        f->cap = cap;
    }
    MZ_TRY(mz_run_of_folder(&o->list[o->n], path));
    o->n++;
    return MZ_OK;
}

static mz_err look_in(found *f, const char *folder, int depth)
{
    mz_names names = {0};
    if (mz_run_is_folder(folder)) return take(f, folder);
    if (depth == 0) return MZ_OK;
    MZ_TRY(mz_folder_list(&names, folder));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        char path[MZ_RUN_PATH];
        if (names.list[i][0] == '.') continue;
        err = mz_path_join(path, sizeof path, folder, names.list[i]);
        if (err == MZ_OK && mz_file_is_dir(path)) err = look_in(f, path, depth - 1);
    }
    mz_names_clear(&names);
    return err;
}

static mz_err runs_below(mz_run_entries *out, const char *folder, int depth)
{
    found f = {.out = out};
    if (mz_file_is_dir(folder)) return look_in(&f, folder, depth);
    const mz_err err = MZ_FAIL(MZ_EIO, "%s is not a folder", folder);
    mz_note_where(folder, NULL, -1);
    return err;
}

/* ---- list ---- */

static const mz_option LIST_OPTIONS[] = {
    {.name = "state",
     .kind = MZ_OPTION_TEXT,
     .value = "STATE",
     .help = "only runs in this state",
     .choices = "running|finished|stopped|failed|gone"},
    {.name = "name",
     .kind = MZ_OPTION_TEXT,
     .value = "TEXT",
     .help = "only runs whose name holds TEXT"},
    {.name = "model",
     .kind = MZ_OPTION_TEXT,
     .value = "TEXT",
     .help = "only runs of a model family whose name holds TEXT"},
    {.name = "sort",
     .kind = MZ_OPTION_TEXT,
     .value = "KEY",
     .help = "the newest first (default), or by name, or the lowest first",
     .choices = "started|name|loss|best|step"},
    {.name = "limit",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "at most N runs",
     .least = 1,
     .most = 1e9},
    {0}};

static bool is_wanted(const mz_cli *cli, const mz_run_entry *e)
{
    const char *state = mz_cli_text(cli, "state", NULL), *name = mz_cli_text(cli, "name", NULL);
    const char *model = mz_cli_text(cli, "model", NULL);
    if (state && strcmp(mz_run_state_now(e), state) != 0) return false;
    if (name && !strstr(e->name, name)) return false;
    return !model || strstr(e->family, model);
}

/* What is not known comes last. */
static int by_number(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

static int by_started(const void *a, const void *b)
{
    const mz_run_entry *x = a, *y = b;
    const int order =
        isnan(x->started) || isnan(y->started) ? 1 : -1; /* the newest first, the unknown last */
    const int by = order * by_number(x->started, y->started);
    return by ? by : strcmp(x->path, y->path);
}

static int by_name(const void *a, const void *b)
{
    const mz_run_entry *x = a, *y = b;
    const int by = strcmp(x->name, y->name);
    return by ? by : by_started(a, b);
}

static int by_loss(const void *a, const void *b)
{
    const mz_run_entry *x = a, *y = b;
    const int by = by_number(x->loss, y->loss);
    return by ? by : by_started(a, b);
}

static int by_best(const void *a, const void *b)
{
    const mz_run_entry *x = a, *y = b;
    const int by = by_number(x->best_loss, y->best_loss);
    return by ? by : by_started(a, b);
}

static int by_step(const void *a, const void *b)
{
    const mz_run_entry *x = a, *y = b;
    const int by = (x->step > y->step) - (x->step < y->step);
    return by ? by : by_started(a, b);
}

static void sort(mz_run_entries *all, const char *key)
{
    static const struct {
        const char *key;
        int (*by)(const void *, const void *);
    } orders[] = {{"started", by_started},
                  {"name", by_name},
                  {"loss", by_loss},
                  {"best", by_best},
                  {"step", by_step}};
    for (int i = 0; i < MZ_COUNT(orders) && all->n > 0; i++)
        if (strcmp(orders[i].key, key) == 0)
            qsort(all->list, (size_t)all->n, sizeof *all->list, orders[i].by);
}

/* ---- the table ---- */

enum { REST = 65, MODEL = 14, NAME_LEAST = 8 }; /* columns beside the name, without the model */

typedef struct table {
    int name;       /* columns */
    bool has_model; /* where there is room */
} table;

static table plan_table(const mz_run_entries *all, int columns)
{
    table t = {.name = NAME_LEAST};
    for (int64_t i = 0; i < all->n; i++) {
        const int n = mz_run_columns(all->list[i].name);
        t.name = n > t.name ? n : t.name;
    }
    t.has_model = columns >= REST + MODEL + t.name;
    const int room = columns - REST - (t.has_model ? MODEL : 0);
    if (t.name > room) t.name = room > NAME_LEAST ? room : NAME_LEAST;
    return t;
}

static void print_row(const table *t, const mz_run_entry *e)
{
    char name[4 * MZ_RUN_NAME], step[32], loss[16], best[16], size[16], age[16];
    int n = snprintf(step, sizeof step, "%lld", (long long)e->step);
    if (e->steps > 0)
        (void)snprintf(step + n, sizeof step - (size_t)n, "/%lld", (long long)e->steps);
    printf("%s  %-6.6s  %-8s  %13s  %7s  %7s  %5s",
           mz_run_cell(name, sizeof name, e->name, t->name), e->id, mz_run_state_now(e), step,
           mz_run_number(loss, e->loss), mz_run_number(best, e->best_loss),
           mz_run_size(size, e->parameters));
    if (t->has_model) printf("  %-12.12s", e->family[0] ? e->family : "-");
    printf("  %s\n", mz_run_age(age, e->started));
}

static void print_table(const mz_run_entries *all, int columns)
{
    const table t = plan_table(all, columns);
    if (all->n == 0) return;
    printf("%-*s  %-6s  %-8s  %13s  %7s  %7s  %5s", t.name, "name", "id", "state", "step", "loss",
           "best", "size");
    if (t.has_model) printf("  %-12s", "model");
    printf("  age\n");
    for (int64_t i = 0; i < all->n; i++) print_row(&t, &all->list[i]);
}

static mz_err print_rows(const mz_run_entries *all)
{
    json_t *o = mz_cli_document(), *runs = json_array();
    int bad = 0;
    for (int64_t i = 0; i < all->n; i++) {
        json_t *one = mz_run_json(&all->list[i]);
        json_t *last = mz_run_last_record(all->list[i].path);
        bad |= json_object_set_new(one, "last", last ? last : json_null());
        bad |= json_array_append_new(runs, one);
    }
    bad |= json_object_set_new(o, "runs", runs);
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err list(const mz_cli *cli)
{
    mz_run_entries all = {0};
    const bool of_folder = mz_cli_count(cli) > 0;
    mz_err err = of_folder ? runs_below(&all, mz_cli_argument(cli, 0), 1) : mz_runs_all(&all);
    if (err == MZ_OK) {
        int64_t n = 0;
        const int64_t limit = mz_cli_int(cli, "limit", INT64_MAX);
        sort(&all, mz_cli_text(cli, "sort", of_folder ? "name" : "started"));
        for (int64_t i = 0; i < all.n && n < limit; i++)
            if (is_wanted(cli, &all.list[i])) all.list[n++] = all.list[i];
        const bool was_empty = all.n == 0;
        all.n = n;
        if (mz_cli_flag(cli, "json")) {
            err = print_rows(&all);
        } else {
            print_table(&all, mz_terminal_of_stdout().columns);
            if (was_empty && !of_folder)
                fprintf(stderr, "mizan: no runs yet; `mizan demo` makes one, `mizan runs add DIR` "
                                "finds those in a folder\n");
        }
    }
    mz_run_entries_clear(&all);
    return err;
}

/* ---- add ---- */

static mz_err put_all(mz_run_entries *all)
{
    mz_registry *r = NULL;
    MZ_TRY(mz_registry_open(&r, NULL, true));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < all->n && err == MZ_OK; i++) {
        mz_run_entry row, *e = &all->list[i];
        bool is_known = false, changed;
        err = mz_run_identify(r, e);
        if (err == MZ_OK) err = mz_registry_find(r, e->id, &row, &is_known);
        if (err == MZ_OK && is_known) { /* what only it knows */
            (void)snprintf(row.path, sizeof row.path, "%s", e->path);
            (void)snprintf(row.name, sizeof row.name, "%s", e->name);
            row.seen = (double)NAN;
            *e = row;
            err = mz_run_look(e, &changed);
        }
        if (err == MZ_OK) err = mz_registry_put(r, e);
    }
    mz_registry_close(r);
    return err;
}

static mz_err add(const mz_cli *cli)
{
    mz_run_entries all = {0};
    mz_err err = MZ_OK;
    int64_t n = 0;
    json_t *o = mz_cli_flag(cli, "json") ? mz_cli_document() : NULL, *runs = json_array();
    int bad = 0;
    for (int i = 0; i < mz_cli_count(cli) && err == MZ_OK; i++) {
        err = runs_below(&all, mz_cli_argument(cli, i), DEPTH);
        if (err == MZ_OK) err = put_all(&all);
        for (int64_t k = 0; k < all.n && err == MZ_OK; k++, n++) {
            bad |= json_array_append_new(runs, mz_run_json(&all.list[k]));
            if (!o) printf("%s  %s\n", all.list[k].id, all.list[k].path);
        }
        mz_run_entries_clear(&all);
    }
    if (err == MZ_OK && n == 0) {
        err = MZ_FAIL(MZ_EIO, "there is no run in %s", mz_cli_argument(cli, 0));
        mz_note_where(mz_cli_argument(cli, 0), "train.yaml", -1);
        mz_note_fix(
            "a run folder holds train.yaml and log.jsonl; they are looked for %d folders deep",
            DEPTH);
    }
    if (o) bad |= json_object_set(o, "runs", runs);
    json_decref(runs);
    if (err == MZ_OK && bad != 0) err = mz_cli_json_failed();
    if (err == MZ_OK && o) return mz_cli_print(o);
    json_decref(o);
    return err;
}

/* ---- names ---- */

/* As the rows are: no folder is looked at, which may lie on a machine that does not answer. */
static mz_err names(const mz_cli *cli)
{
    mz_registry *r = NULL;
    mz_run_entries all = {0};
    (void)cli;
    MZ_TRY(mz_registry_open(&r, NULL, false));
    const mz_err err = mz_registry_list(r, &all);
    mz_registry_close(r);
    sort(&all, "name");
    for (int64_t i = 0; i < all.n; i++) {
        char plain[MZ_RUN_NAME];
        const char *name = all.list[i].name;
        const bool is_shared = (i > 0 && strcmp(all.list[i - 1].name, name) == 0) ||
                               (i + 1 < all.n && strcmp(all.list[i + 1].name, name) == 0);
        printf("%s\n", is_shared ? all.list[i].id : mz_run_plain(plain, sizeof plain, name));
    }
    mz_run_entries_clear(&all);
    return err;
}

const mz_command mz_cmd_runs_names = {
    .name = "runs names",
    .arguments = "",
    .summary = "a word for every run, for completion in shells",
    .description =
        "Its name; where several have one, the id. One a line, out of the registry alone.",
    .examples = "mizan runs names",
    .hidden = true,
    .run = names,
};

const mz_command mz_cmd_runs_list = {
    .name = "runs list",
    .arguments = "[DIR]",
    .least = 0,
    .most = 1,
    .summary = "every run of yours, or the runs in a folder",
    .description =
        "Out of the registry that `mizan train` and `mizan demo` write "
        "(XDG_STATE_HOME/mizan/runs.db,\n"
        "else ~/.local/state/mizan/runs.db), brought up to date from the run folders. States:\n"
        "running, finished, stopped (the same command goes on), failed, gone (so is the folder).",
    .options = LIST_OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs list\n"
                "mizan runs list --state running --json\n"
                "mizan runs list --sort best --limit 5",
    .run = list,
};

const mz_command mz_cmd_runs_add = {
    .name = "runs add",
    .arguments = "DIR...",
    .least = 1,
    .most = -1,
    .summary = "put the runs below a folder into the registry",
    .description =
        "Runs that were moved, that came from another machine, or all of them where the\n"
        "registry was lost: each keeps its id, which lies in its folder.",
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs add runs",
    .run = add,
};
