/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_runs_hash.c - `mizan runs hash`: checksums of a run's newest checkpoint. Floor: app. */
#include "app/commands.h"
#include "app/run_name.h"
#include "base/file.h"
#include "base/sha256.h"
#include "train/checkpoint.h"

#include <stdio.h>

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
