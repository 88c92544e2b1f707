/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_ask.c - `mizan runs save|move`: what is asked of a run while it trains: a
 * checkpoint, and other chips. Floor: app. */
#include "app/commands.h"
#include "app/run_name.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/str.h"
#include "train/checkpoint.h"
#include "train/placement.h"
#include "train/ranks.h"

#include <stdio.h>
#include <string.h>

/* *idle: nobody trains in it, and then `lock` is held. */
static mz_err look_at(const char *run, mz_lock *lock, bool *idle)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_path_join(path, sizeof path, run, "lock"));
    const mz_err err = mz_lock_take(lock, path);
    *idle = err == MZ_OK;
    return err == MZ_EBUSY ? MZ_OK : err;
}

/* ---- save ---- */

static const mz_option SAVE_OPTIONS[] = {
    {.name = "wait",
     .kind = MZ_OPTION_REAL,
     .value = "S",
     .help = "seconds to wait for the checkpoint (default 600)",
     .most = 1e9},
    {0}};

/* A process that ends meanwhile has saved everything. */
static mz_err wait_for(const char *run, const char *request, double seconds)
{
    const int64_t end = mz_clock_ns() + (int64_t)(seconds * 1e9);
    while (mz_file_exists(request)) {
        mz_lock lock = {-1};
        bool idle = false;
        if (mz_clock_ns() >= end)
            return MZ_FAIL(MZ_ETIMEOUT, "no checkpoint within %g s; it is still asked for",
                           seconds);
        mz_clock_sleep_ns(50000000);
        MZ_TRY(look_at(run, &lock, &idle));
        const mz_err err = idle ? mz_folder_remove(request) : MZ_OK;
        mz_lock_drop(&lock);
        if (err != MZ_OK) return err;
    }
    return MZ_OK;
}

static mz_err save(const mz_cli *cli)
{
    char request[MZ_CHECKPOINT_PATH];
    char run[MZ_RUN_PATH];
    mz_lock lock = {-1};
    bool idle = false;
    int64_t step = -1;
    MZ_TRY(mz_run_find(mz_cli_argument(cli, 0), run));
    MZ_TRY(look_at(run, &lock, &idle));
    mz_lock_drop(&lock);
    if (idle) {
        const mz_err err = MZ_FAIL(MZ_EIO, "no process trains in %s, so nothing is unsaved", run);
        mz_note_where(run, "lock", -1);
        return err;
    }
    MZ_TRY(mz_path_join(request, sizeof request, run, "save"));
    MZ_TRY(mz_file_write(request, "", 0));
    MZ_TRY(wait_for(run, request, mz_cli_real(cli, "wait", 600.0)));
    MZ_TRY(mz_checkpoint_last(run, &step));
    if (!mz_cli_flag(cli, "json")) {
        printf("saved step %lld\n", (long long)step);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "run", json_string(run));
    bad |= json_object_set_new(o, "step", json_integer(step));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

/* ---- move ---- */

static const int64_t GONE_NS = 3000000000;

static const mz_option MOVE_OPTIONS[] = {
    {.name = "ranks",
     .kind = MZ_OPTION_TEXT,
     .value = "LIST",
     .help = "the new ones: '[{chip: cpu, share: 2}, {chip: opencl:0}]', or with layers"},
    {.name = "wait",
     .kind = MZ_OPTION_REAL,
     .value = "S",
     .help = "seconds to wait for a live run's first step there (default 600)",
     .most = 1e9},
    {0}};

static mz_err pass(void *user, const mz_train_bytes *plans)
{
    (void)user;
    (void)plans;
    return MZ_OK;
}

/* Whether these chips can carry the run: each is opened, and every operator of its part bound. The
 * network is read from the newest checkpoint, which is where it was; an adapter's model is not. */
static mz_err try_ranks(const mz_cli *cli, mz_train_config *c, int64_t step)
{
    const mz_chip_options o = mz_cli_chip_options(cli);
    char folder[MZ_CHECKPOINT_PATH];
    if (c->n_ranks == 0) return MZ_OK;
    if (step >= 0 && c->lora_rank == 0) {
        MZ_TRY(mz_checkpoint_path(folder, c->run_dir, step));
        if (strlen(folder) >= sizeof c->model_config)
            return MZ_FAIL(MZ_EUSAGE, "the path of the run is too long");
        c->model_path[0] = '\0';
        memcpy(c->model_config, folder, strlen(folder) + 1);
    }
    return mz_train_plan_ranks(c, &o, pass, NULL);
}

/* A run that trains may remove the checkpoint that is being read: it has a newer one then. */
static mz_err try_newest(const mz_cli *cli, const mz_train_config *now)
{
    mz_train_config *tried = NULL;
    int64_t step = -1, newest = -1;
    MZ_TRY(mz_mem_new(&tried, 1, sizeof *tried));
    mz_err err = mz_checkpoint_last(now->run_dir, &newest);
    for (int tries = 0; err == MZ_OK && tries < 20; tries++) {
        step = newest;
        *tried = *now;
        err = try_ranks(cli, tried, step);
        if (err != MZ_EIO) break;
        const mz_err_info why = *mz_err_last();
        const bool is_newer = mz_checkpoint_last(now->run_dir, &newest) == MZ_OK && newest != step;
        mz_err_restore(&why);
        if (is_newer && tries < 19) err = MZ_OK;
    }
    mz_mem_free(tried);
    return err;
}

static mz_err read_ranks(const mz_cli *cli, const char *run, mz_train_config *before,
                         mz_train_config *now)
{
    char path[MZ_CHECKPOINT_PATH];
    const char *text = mz_cli_text(cli, "ranks", NULL);
    const mz_place at = {.file = "", .offset = -1};
    if (!text) return MZ_FAIL(MZ_EUSAGE, "--ranks is not given: '[{chip: cpu, share: 1}, ...]'");
    MZ_TRY(mz_path_join(path, sizeof path, run, "train.yaml"));
    MZ_TRY(mz_config_load(before, path, NULL, 0));
    if (strlen(run) >= sizeof before->run_dir)
        return MZ_FAIL(MZ_EUSAGE, "the path of the run is too long");
    memcpy(before->run_dir, run, strlen(run) + 1);
    *now = *before;
    MZ_TRY(mz_config_parse_ranks(now, text, &at));
    return mz_config_check(now, "");
}

static mz_err print_move(const mz_cli *cli, const mz_train_config *now, bool live, int64_t step)
{
    mz_str ranks = {0};
    MZ_TRY(mz_key_write(mz_key_find("ranks"), now, &ranks));
    mz_err err = MZ_OK;
    if (!mz_cli_flag(cli, "json")) {
        printf("%s after step %lld: %s\n", live ? "goes on" : "will go on",
               (long long)(step < 0 ? 0 : step), ranks.text);
    } else {
        json_t *o = mz_cli_document();
        int bad = json_object_set_new(o, "run", json_string(now->run_dir));
        bad |= json_object_set_new(o, "live", json_boolean(live));
        bad |= json_object_set_new(o, "after_step", json_integer(step < 0 ? 0 : step));
        bad |= json_object_set_new(o, "ranks", json_string(ranks.text));
        err = bad == 0 ? mz_cli_print(o) : mz_cli_json_failed();
        if (bad != 0) json_decref(o);
    }
    mz_str_clear(&ranks);
    return err;
}

/* Until the run has made a step there, has gone back, or its process is gone. Between two of its
 * starts a run holds no lock for a moment: only one that holds none for long is gone. */
static mz_err wait_for_step(const char *run, double seconds, bool *gone)
{
    const int64_t end = mz_clock_ns() + (int64_t)(seconds * 1e9);
    int64_t idle_since = 0;
    while (mz_placement_is_asked(run)) {
        mz_lock lock = {-1};
        const int64_t now = mz_clock_ns();
        bool idle = false;
        if (now >= end)
            return MZ_FAIL(MZ_ETIMEOUT,
                           "no step on these ranks within %g s; it is still asked for them",
                           seconds);
        MZ_TRY(look_at(run, &lock, &idle));
        mz_lock_drop(&lock);
        if (!idle) idle_since = 0;
        if (idle && idle_since == 0) idle_since = now;
        *gone = idle && now - idle_since >= GONE_NS;
        if (*gone) return mz_placement_answer(run);
        mz_clock_sleep_ns(50000000);
    }
    return MZ_OK;
}

/* What became of it. *live false: nobody has taken it, the next start does. */
static mz_err follow(const char *run, double seconds, bool *live)
{
    mz_placement state;
    bool gone = false;
    MZ_TRY(wait_for_step(run, seconds, &gone));
    MZ_TRY(mz_placement_state(run, &state));
    *live = !gone;
    if (state.unproven || !state.refused[0]) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECHIP, "not moved: %s", state.refused);
    mz_note_where(run, "ranks", -1);
    mz_note_fix("the run goes on with the ranks that it had");
    return err;
}

/* One at a time: the next begins when the one before is over. */
static mz_err take_turn(mz_lock *turn, const char *run, double seconds)
{
    char path[MZ_CHECKPOINT_PATH];
    const int64_t end = mz_clock_ns() + (int64_t)(seconds * 1e9);
    MZ_TRY(mz_path_join(path, sizeof path, run, "move.lock"));
    for (;;) {
        const mz_err err = mz_lock_take(turn, path);
        if (err != MZ_EBUSY || mz_clock_ns() >= end) return err;
        mz_clock_sleep_ns(50000000);
    }
}

static mz_err move_to(const mz_cli *cli, const char *run, mz_train_config *before,
                      mz_train_config *now)
{
    mz_lock lock = {-1};
    bool idle = false, live = false;
    int64_t step = -1;
    MZ_TRY(read_ranks(cli, run, before, now));
    mz_err err = try_newest(cli, now);
    if (err == MZ_OK) err = look_at(run, &lock, &idle);
    if (err == MZ_OK) err = mz_placement_write(before, now, !idle);
    mz_lock_drop(&lock);
    if (err == MZ_OK && !idle) err = mz_placement_ask(run);
    if (err == MZ_OK && !idle) err = follow(run, mz_cli_real(cli, "wait", 600.0), &live);
    if (err == MZ_OK) err = mz_checkpoint_last(run, &step);
    return err == MZ_OK ? print_move(cli, now, live, step) : err;
}

static mz_err move(const mz_cli *cli)
{
    char run[MZ_RUN_PATH];
    mz_train_config *two = NULL;
    mz_lock turn = {-1};
    MZ_TRY(mz_run_find(mz_cli_argument(cli, 0), run));
    MZ_TRY(take_turn(&turn, run, mz_cli_real(cli, "wait", 600.0)));
    mz_err err = mz_mem_new(&two, 2, sizeof *two);
    if (err == MZ_OK) err = move_to(cli, run, &two[0], &two[1]);
    mz_mem_free(two);
    mz_lock_drop(&turn);
    return err;
}

const mz_command mz_cmd_runs_save = {
    .name = "runs save",
    .arguments = "RUN",
    .least = 1,
    .most = 1,
    .summary = "ask the process that trains in a folder for a checkpoint, and wait for it",
    .options = SAVE_OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs save runs/first",
    .run = save,
};

const mz_command mz_cmd_runs_move = {
    .name = "runs move",
    .arguments = "RUN",
    .least = 1,
    .most = 1,
    .summary = "other chips for a run, between two of its steps",
    .description =
        "The chips are tried first. A run that trains saves its state, begins anew on them and\n"
        "goes on, or goes back to those that it had where they make no step; one that is stopped "
        "begins there with the next `mizan train`. They count until\n"
        "they are moved again or the configuration's own ranks are changed.",
    .options = MOVE_OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP,
    .examples = "mizan runs move RUN --ranks '[{chip: cpu}, {chip: opencl:0, share: 3}]'",
    .run = move,
};
