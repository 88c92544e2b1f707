/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_name.c - see run_name.h. */
#include "app/run_name.h"

#include "app/run_entry.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

enum { ID_LEAST = 4 }; /* digits */

/* How well a word fits: 3 the whole id, 2 the name, 1 the beginning of the id. */
static int fit(const mz_run_entry *e, const char *word)
{
    if (strcmp(e->id, word) == 0) return 3;
    if (strcmp(e->name, word) == 0) return 2;
    return strlen(word) >= ID_LEAST && mz_str_starts(e->id, word) ? 1 : 0;
}

static mz_err none_fits(const mz_run_entries *all, const char *word)
{
    const char **names = NULL;
    const bool has_room = mz_mem_new(&names, all->n > 0 ? all->n : 1, sizeof *names) == MZ_OK;
    for (int64_t i = 0; i < all->n && has_room; i++) names[i] = all->list[i].name;
    const char *near = has_room ? mz_str_nearest(word, names, (int)all->n) : NULL;
    const mz_err err = MZ_FAIL(
        MZ_EIO, "%s is no run folder (with train.yaml and log.jsonl), and no name or id of a run",
        word);
    mz_note_where(word, "train.yaml", -1);
    if (near)
        mz_note_fix("did you mean %s?", near);
    else
        mz_note_fix("`mizan runs list` shows what there is");
    mz_mem_free(names);
    return err;
}

static mz_err several_fit(const mz_run_entries *all, const char *word, int how)
{
    char list[400] = "";
    int n = 0, at = 0;
    for (int64_t i = 0; i < all->n; i++) {
        const mz_run_entry *e = &all->list[i];
        if (fit(e, word) != how) continue;
        if (n++ < 4 && at < (int)sizeof list)
            at += snprintf(list + at, sizeof list - (size_t)at, "%s%s (%s)", n > 1 ? ", " : "",
                           e->id, e->path);
    }
    const mz_err err =
        MZ_FAIL(MZ_EUSAGE, "%d runs are called %s: %s%s", n, word, list, n > 4 ? ", ..." : "");
    mz_note_fix("give the id, or the folder");
    return err;
}

/* Of several that fit the only one that is still there; -1: there is none such. */
static int64_t only_present(const mz_run_entries *all, const char *word, int how)
{
    int64_t at = -1;
    for (int64_t i = 0; i < all->n; i++) {
        if (fit(&all->list[i], word) != how || mz_run_is_gone(&all->list[i])) continue;
        if (at >= 0) return -1;
        at = i;
    }
    return at;
}

static mz_err pick_registered(const char *word, mz_run_entry *out)
{
    mz_run_entries all = {0};
    int best = 0, n = 0;
    int64_t at = 0, present;
    MZ_TRY(mz_runs_all(&all));
    for (int64_t i = 0; i < all.n; i++) {
        const int f = fit(&all.list[i], word);
        if (f > best) best = f, n = 0;
        if (f == best && f > 0) at = i, n++;
    }
    mz_err err = MZ_OK;
    if (n > 1 && (present = only_present(&all, word, best)) >= 0) at = present, n = 1;
    if (n == 1)
        *out = all.list[at];
    else
        err = n == 0 ? none_fits(&all, word) : several_fit(&all, word, best);
    mz_run_entries_clear(&all);
    return err;
}

/* The row of that folder, if there is one that is of it. */
static bool pick_by_folder(mz_run_entry *e)
{
    mz_run_entry row;
    bool found, changed;
    mz_run_row(e->id, &row, &found);
    mz_err_clear(); /* a folder is enough */
    if (!found || strcmp(row.path, e->path) != 0 || mz_run_look(&row, &changed) != MZ_OK)
        return false;
    *e = row;
    return true;
}

mz_err mz_run_pick(const char *word, mz_run_entry *e)
{
    if (!mz_run_is_folder(word)) return pick_registered(word, e);
    MZ_TRY(mz_run_of_folder(e, word));
    (void)pick_by_folder(e);
    return MZ_OK;
}

mz_err mz_run_find(const char *word, char path[MZ_RUN_PATH])
{
    mz_run_entry e;
    if (mz_run_is_folder(word)) { /* as it was given: messages show it */
        (void)snprintf(path, MZ_RUN_PATH, "%s", word);
        return MZ_OK;
    }
    MZ_TRY(pick_registered(word, &e));
    (void)snprintf(path, MZ_RUN_PATH, "%s", e.path);
    if (!mz_run_is_gone(&e)) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_EIO, "the folder of run %s is gone: %s", e.name, e.path);
    mz_note_where(e.path, "train.yaml", -1);
    mz_note_fix("`mizan runs rm %s` forgets it; `mizan runs add DIR` finds one that was moved",
                e.id);
    return err;
}
