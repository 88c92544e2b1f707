/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs.c - `mizan runs list|show|hash`: what run folders hold. Floor: app. */
#include "app/commands.h"
#include "app/run_name.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/sha256.h"
#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The newest whole checkpoint, which has to be there. */
static mz_err newest(const char *word, char path[MZ_CHECKPOINT_PATH], json_t **state)
{
    char run[MZ_RUN_PATH];
    MZ_TRY(mz_run_find(word, run));
    MZ_TRY(mz_checkpoint_newest(run, path, state));
    if (*state) return MZ_OK;
    return MZ_FAIL(MZ_EIO, "%s has no checkpoint yet", run);
}

/* ---- hash ---- */

/* Of the compact JSON with sorted keys. */
static mz_err hash_json(char hex[MZ_SHA256_HEX], const json_t *value)
{
    char text[1024];
    const size_t n = json_dumpb(value, text, sizeof text, JSON_COMPACT | JSON_SORT_KEYS);
    if (n == 0 || n > sizeof text) return MZ_FAIL(MZ_ECORRUPT, "the state of the run is damaged");
    return mz_sha256(hex, text, n);
}

static mz_err hash_file(char hex[MZ_SHA256_HEX], const char *folder, const char *name)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_path_join(path, sizeof path, folder, name));
    return mz_sha256_file(hex, path, NULL);
}

static mz_err print_hashes(const json_t *state, const char *folder, bool as_json)
{
    static const char *const names[] = {"weights", "optimizer", "rng", "cursor"};
    char hex[MZ_COUNT(names)][MZ_SHA256_HEX];
    char adapter[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_path_join(adapter, sizeof adapter, folder, "adapter_model.safetensors"));
    const bool has_all = !mz_file_exists(adapter); /* of a run that trains adapters: theirs */
    MZ_TRY(hash_file(hex[0], folder, has_all ? "model.safetensors" : "adapter_model.safetensors"));
    MZ_TRY(hash_file(hex[1], folder, "optimizer.safetensors"));
    MZ_TRY(hash_json(hex[2], json_object_get(state, "rng")));
    MZ_TRY(hash_json(hex[3], json_object_get(state, "cursor")));
    json_t *o = as_json ? mz_cli_document() : NULL;
    int bad = 0;
    if (as_json)
        bad = json_object_set_new(o, "step",
                                  json_integer(json_integer_value(json_object_get(state, "step"))));
    for (int i = 0; i < MZ_COUNT(names); i++) {
        if (as_json)
            bad |= json_object_set_new(o, names[i], json_string(hex[i]));
        else
            printf("%-10s %s\n", names[i], hex[i]);
    }
    if (!as_json) return MZ_OK;
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err hash(const mz_cli *cli)
{
    char folder[MZ_CHECKPOINT_PATH];
    json_t *state = NULL;
    MZ_TRY(newest(mz_cli_argument(cli, 0), folder, &state));
    const mz_err err = print_hashes(state, folder, mz_cli_flag(cli, "json"));
    json_decref(state);
    return err;
}

/* ---- show and list ---- */

/* The last whole line of the log as JSON, NULL if there is none. */
static json_t *last_record(const char *run)
{
    char path[MZ_CHECKPOINT_PATH];
    mz_map map = {0};
    json_t *record = NULL;
    if (mz_path_join(path, sizeof path, run, "log.jsonl") != MZ_OK || !mz_file_exists(path) ||
        mz_map_open(&map, path) != MZ_OK)
        return NULL;
    const char *text = (const char *)map.data;
    size_t end = map.bytes;
    while (end > 0 && text[end - 1] != '\n') end--; /* a line that is being written */
    size_t from = end > 0 ? end - 1 : 0;
    while (from > 0 && text[from - 1] != '\n') from--;
    if (end > from) record = json_loadb(text + from, end - from, 0, NULL);
    mz_map_close(&map);
    return record;
}

static void print_record(const char *run, const json_t *r)
{
    if (!r) {
        printf("%-30s no step yet\n", run);
        return;
    }
    printf("%-30s step %lld  loss %.4f  %s\n", run,
           (long long)json_integer_value(json_object_get(r, "step")),
           json_number_value(json_object_get(r, "loss")),
           json_is_true(json_object_get(r, "done")) ? "done" : "not finished");
}

static mz_err show(const mz_cli *cli)
{
    char folder[MZ_CHECKPOINT_PATH] = "";
    char run[MZ_RUN_PATH];
    json_t *state = NULL;
    MZ_TRY(mz_run_find(mz_cli_argument(cli, 0), run));
    MZ_TRY(mz_checkpoint_newest(run, folder, &state));
    json_t *last = last_record(run);
    if (!mz_cli_flag(cli, "json")) {
        print_record(run, last);
        printf("checkpoint: %s\n", state ? folder : "none");
        json_decref(last);
        json_decref(state);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "run", json_string(run));
    bad |= json_object_set_new(o, "last", last ? last : json_null());
    bad |= json_object_set_new(o, "checkpoint", state ? json_string(folder) : json_null());
    bad |= json_object_set_new(o, "state", state ? state : json_null());
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err list_one(const char *run, json_t *runs)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_path_join(path, sizeof path, run, "train.yaml"));
    if (!mz_file_exists(path)) return MZ_OK;
    json_t *last = last_record(run);
    if (runs) {
        json_t *o = json_object();
        int bad = json_object_set_new(o, "run", json_string(run));
        bad |= json_object_set_new(o, "last", last ? last : json_null());
        bad |= json_array_append_new(runs, o);
        return bad == 0 ? MZ_OK : mz_cli_json_failed();
    }
    print_record(run, last);
    json_decref(last);
    return MZ_OK;
}

static mz_err list(const mz_cli *cli)
{
    const char *folder = mz_cli_count(cli) > 0 ? mz_cli_argument(cli, 0) : ".";
    const bool as_json = mz_cli_flag(cli, "json");
    mz_names names = {0};
    if (!mz_file_is_dir(folder)) return MZ_FAIL(MZ_EIO, "%s is not a folder", folder);
    MZ_TRY(mz_folder_list(&names, folder));
    json_t *runs = as_json ? json_array() : NULL;
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        char path[MZ_CHECKPOINT_PATH];
        err = mz_path_join(path, sizeof path, folder, names.list[i]);
        if (err == MZ_OK) err = list_one(path, runs);
    }
    mz_names_clear(&names);
    if (!as_json) return err;
    json_t *o = mz_cli_document();
    if (json_object_set_new(o, "runs", runs) != 0 && err == MZ_OK) err = mz_cli_json_failed();
    if (err == MZ_OK) return mz_cli_print(o);
    json_decref(o);
    return err;
}

const mz_command mz_cmd_runs_hash = {
    .name = "runs hash",
    .arguments = "RUN",
    .least = 1,
    .most = 1,
    .summary = "SHA-256 of weights, optimizer, random numbers and cursor",
    .description =
        "Of the newest whole checkpoint. Two runs that made the same bits print the same.",
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs hash runs/first --json",
    .run = hash,
};

const mz_command mz_cmd_runs_show = {
    .name = "runs show",
    .arguments = "RUN",
    .least = 1,
    .most = 1,
    .summary = "last step and newest checkpoint of a run",
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs show runs/first",
    .run = show,
};

const mz_command mz_cmd_runs_list = {
    .name = "runs list",
    .arguments = "[DIR]",
    .least = 0,
    .most = 1,
    .summary = "the runs in a folder",
    .common = MZ_COMMON_JSON,
    .examples = "mizan runs list runs",
    .run = list,
};
