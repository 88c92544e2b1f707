/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_rm.c - `mizan runs rm`: a run that is no longer wanted, folder and row. Floor: app.
 */
#include "app/commands.h"
#include "app/run_entry.h"
#include "app/run_name.h"
#include "app/run_view.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const mz_option OPTIONS[] = {
    {.name = "yes", .help = "do not ask"},
    {.name = "gone", .help = "forget every run whose folder is gone"},
    {0},
};

/* On a terminal; whoever calls us from a script has decided. */
static bool is_sure(const mz_run_entry *e)
{
    char plain[MZ_RUN_PATH], answer[16] = "";
    fprintf(stderr, "remove run %s (%s), step %lld, with all that is in %s? [y/N] ", e->name, e->id,
            (long long)e->step, mz_run_plain(plain, sizeof plain, e->path));
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin)) fputc('\n', stderr);
    return answer[0] == 'y' || answer[0] == 'Y';
}

static mz_err busy(const mz_run_entry *e)
{
    const mz_err err = MZ_FAIL(MZ_EBUSY, "a process trains in %s", e->path);
    mz_note_where(e->path, "lock", -1);
    mz_note_fix("stop it first");
    return err;
}

/* A registry that cannot be written to keeps a row whose folder is gone, and says so. */
static void forget(const mz_run_entry *e)
{
    mz_registry *r = NULL;
    if (!e->id[0]) return;
    mz_err err = mz_registry_open(&r, NULL, false);
    if (err == MZ_OK) err = mz_registry_remove(r, e->id);
    mz_registry_close(r);
    if (err != MZ_OK)
        mz_log(MZ_LOG_WARN, "the registry still lists it: %s", mz_err_last()->message);
    mz_err_clear();
}

static mz_err rm_one(const char *word, bool asks)
{
    mz_run_entry e;
    char file[MZ_RUN_PATH];
    mz_lock lock = {-1};
    MZ_TRY(mz_run_pick(word, &e));
    if (mz_run_is_gone(&e)) {
        forget(&e);
        return MZ_OK;
    }
    if (mz_run_is_live(e.path)) return busy(&e); /* before anybody is asked */
    if (asks && !is_sure(&e)) return MZ_FAIL(MZ_EINTR, "%s is kept", e.path);
    MZ_TRY(mz_path_join(file, sizeof file, e.path, "lock"));
    mz_err err = mz_lock_take(&lock, file);
    if (err == MZ_EBUSY) return busy(&e);
    if (err == MZ_OK) err = mz_folder_remove(e.path);
    mz_lock_drop(&lock);
    if (err == MZ_OK) forget(&e);
    return err;
}

/* Nothing is lost: `runs add` finds one that was only moved. */
static mz_err forget_gone(void)
{
    mz_run_entries all = {0};
    int64_t n = 0;
    MZ_TRY(mz_runs_all(&all));
    for (int64_t i = 0; i < all.n; i++) {
        if (!mz_run_is_gone(&all.list[i])) continue;
        forget(&all.list[i]);
        n++;
    }
    mz_run_entries_clear(&all);
    printf("%lld forgotten\n", (long long)n);
    return MZ_OK;
}

static mz_err rm(const mz_cli *cli)
{
    const bool gone = mz_cli_flag(cli, "gone");
    if (gone == (mz_cli_count(cli) > 0))
        return MZ_FAIL(MZ_EUSAGE, "name runs, or give --gone, and not both");
    if (gone) return forget_gone();
    const bool asks =
        !mz_cli_flag(cli, "yes") && isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1;
    for (int i = 0; i < mz_cli_count(cli); i++) MZ_TRY(rm_one(mz_cli_argument(cli, i), asks));
    return MZ_OK;
}

const mz_command mz_cmd_runs_rm = {
    .name = "runs rm",
    .arguments = "RUN...",
    .least = 0,
    .most = -1,
    .summary = "remove runs: their folders, with all that is in them, and their rows",
    .description =
        "Only folders that hold a run, and in which no process trains. Asks on a terminal.\n"
        "Of a run whose folder is gone the row goes; --gone: of all of them.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs rm runs/first\nmizan runs rm first --yes\nmizan runs rm --gone",
    .run = rm,
};
