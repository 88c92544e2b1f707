/* SPDX-License-Identifier: Apache-2.0 */
/* train/checkpoint.c - see checkpoint.h: the folder, its manifest, which one is the newest. What
 * the files hold is in state.c. */
#include "train/checkpoint.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/inside.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/str.h"
#include "train/extras.h"
#include "train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX = 16 << 20 };

/* In the order in which they are written: of a run that trains all weights, and of adapters. */
enum { N_FILES = 5 };
static const char *const FILES[2][N_FILES] = {
    {"config.json", "model.safetensors", "optimizer.safetensors", "state.json", "train.yaml"},
    {"adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "state.json",
     "train.yaml"}};

static mz_err join(char out[MZ_CHECKPOINT_PATH], const char *a, const char *b)
{
    return mz_path_join(out, MZ_CHECKPOINT_PATH, a, b);
}

static mz_err folder_of(char out[MZ_CHECKPOINT_PATH], const char *run)
{
    return join(out, run, "checkpoints");
}

/* ---- the manifest ---- */

static mz_err list_file(json_t *files, const char *folder, const char *name)
{
    char path[MZ_CHECKPOINT_PATH], sum[MZ_SHA256_HEX];
    size_t bytes = 0;
    MZ_TRY(join(path, folder, name));
    MZ_TRY(mz_sha256_file(sum, path, &bytes));
    json_t *file =
        json_pack("{s:s, s:I, s:s}", "name", name, "bytes", (json_int_t)bytes, "sha256", sum);
    if (json_array_append_new(files, file) != 0)
        return MZ_FAIL(MZ_ENOMEM, "no memory for a manifest");
    return MZ_OK;
}

/* has_extra: of mz_extras. */
static mz_err write_manifest(const char *folder, int64_t step, bool adapters, const bool *has_extra)
{
    char path[MZ_CHECKPOINT_PATH];
    json_t *files = json_array();
    json_t *root =
        json_pack("{s:i, s:I, s:O}", "schema", 1, "step", (json_int_t)step, "files", files);
    mz_err err = root ? MZ_OK : MZ_FAIL(MZ_ENOMEM, "no memory for a manifest");
    for (int i = 0; i < N_FILES && err == MZ_OK; i++)
        err = list_file(files, folder, FILES[adapters][i]);
    for (int i = 0; i < MZ_EXTRAS && err == MZ_OK; i++)
        if (has_extra[i]) err = list_file(files, folder, mz_extras[i]);
    if (err == MZ_OK) err = join(path, folder, "manifest.json");
    if (err == MZ_OK) err = mz_json_write(root, path);
    json_decref(files);
    json_decref(root);
    return err;
}

static mz_err damaged(const char *folder, const char *name, const char *what)
{
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s/%s %s", folder, name, what);
    mz_note_where(folder, name, -1);
    return err;
}

static const json_t *find_file(const json_t *files, const char *name)
{
    size_t i;
    const json_t *file;
    json_array_foreach(files, i, file)
    {
        const char *text = json_string_value(json_object_get(file, "name"));
        if (text && strcmp(text, name) == 0) return file;
    }
    return NULL;
}

static mz_err verify_file(const char *folder, const char *name, const json_t *file)
{
    char path[MZ_CHECKPOINT_PATH], sum[MZ_SHA256_HEX];
    size_t bytes = 0;
    const char *want = json_string_value(json_object_get(file, "sha256"));
    if (!want) return damaged(folder, name, "is not in the manifest");
    MZ_TRY(join(path, folder, name));
    MZ_TRY(mz_sha256_file(sum, path, &bytes));
    if ((json_int_t)bytes != json_integer_value(json_object_get(file, "bytes")))
        return damaged(folder, name, "has another length than the manifest says");
    if (strcmp(sum, want) != 0)
        return damaged(folder, name, "does not have the checksum of the manifest");
    return MZ_OK;
}

mz_err mz_checkpoint_verify(const char *folder, int64_t *checked)
{
    MZ_NEED(folder, "no folder");
    char path[MZ_CHECKPOINT_PATH];
    json_t *root = NULL;
    int64_t n = 0;
    MZ_TRY(join(path, folder, "manifest.json"));
    MZ_TRY(mz_json_read(&root, path, JSON_MAX));
    const json_t *files = json_object_get(root, "files");
    const bool adapters = find_file(files, FILES[1][0]) != NULL;
    mz_err err = MZ_OK;
    for (int i = 0; i < N_FILES && err == MZ_OK; i++, n++)
        err = verify_file(folder, FILES[adapters][i], find_file(files, FILES[adapters][i]));
    for (int i = 0; i < MZ_EXTRAS && err == MZ_OK; i++) {
        const json_t *file = find_file(files, mz_extras[i]);
        if (file) err = verify_file(folder, mz_extras[i], file);
        n += file != NULL;
    }
    json_decref(root);
    if (err == MZ_OK && checked) *checked = n;
    return err;
}

/* ---- which ones there are ---- */

/* The step of "step-00000500", -1 for any other name. */
static int64_t step_of(const char *name)
{
    int64_t step;
    if (!mz_str_starts(name, "step-") || strlen(name) < 13 ||
        strspn(name + 5, "0123456789") != strlen(name + 5))
        return -1;
    return mz_str_to_i64(name + 5, &step) ? step : -1;
}

static int by_step(const void *pa, const void *pb)
{
    const int64_t *a = pa, *b = pb;
    return *a > *b ? -1 : *a < *b;
}

/* Steps of the whole checkpoints, newest first. */
static mz_err list_steps(const char *run, int64_t **steps, int64_t *n)
{
    char folder[MZ_CHECKPOINT_PATH];
    mz_names names = {0};
    *n = 0;
    MZ_TRY(folder_of(folder, run));
    MZ_TRY(mz_folder_list(&names, folder));
    const mz_err err = mz_mem_new(steps, names.n, sizeof **steps);
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        const int64_t step = step_of(names.list[i]);
        if (step >= 0) (*steps)[(*n)++] = step;
    }
    mz_names_clear(&names);
    if (err == MZ_OK && *n > 0) qsort(*steps, (size_t)*n, sizeof **steps, by_step);
    return err;
}

mz_err mz_checkpoint_path(char out[MZ_CHECKPOINT_PATH], const char *run, int64_t step)
{
    char folder[MZ_CHECKPOINT_PATH], name[64];
    (void)snprintf(name, sizeof name, "step-%08" PRId64, step);
    MZ_TRY(folder_of(folder, run));
    return join(out, folder, name);
}

static mz_err with_suffix(char out[MZ_CHECKPOINT_PATH], const char *path, const char *suffix)
{
    const int n = snprintf(out, MZ_CHECKPOINT_PATH, "%s%s", path, suffix);
    MZ_NEED(n >= 0 && n < MZ_CHECKPOINT_PATH, "the path of a checkpoint is too long");
    return MZ_OK;
}

/* Out of the way first, so that a removal that is cut short leaves no name without .tmp. */
static mz_err remove_whole(const char *path)
{
    char old[MZ_CHECKPOINT_PATH];
    MZ_TRY(with_suffix(old, path, ".old.tmp"));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_folder_remove(old));
    MZ_TRY(mz_folder_rename(path, old));
    return mz_folder_remove(old);
}

mz_err mz_checkpoint_sweep(const char *run)
{
    char folder[MZ_CHECKPOINT_PATH], path[MZ_CHECKPOINT_PATH];
    mz_names names = {0};
    MZ_TRY(folder_of(folder, run));
    MZ_TRY(mz_folder_list(&names, folder));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        if (!mz_str_ends(names.list[i], ".tmp")) continue;
        err = join(path, folder, names.list[i]);
        if (err == MZ_OK) err = mz_folder_remove(path);
    }
    mz_names_clear(&names);
    return err;
}

static mz_err newest(const char *run, char path[MZ_CHECKPOINT_PATH], bool *found)
{
    int64_t *steps = NULL, n = 0;
    mz_err err = list_steps(run, &steps, &n);
    *found = false;
    for (int64_t i = 0; i < n && err == MZ_OK && !*found; i++) {
        err = mz_checkpoint_path(path, run, steps[i]);
        if (err == MZ_OK) err = mz_checkpoint_verify(path, NULL);
        *found = err == MZ_OK;
        if (err != MZ_ECORRUPT && err != MZ_EIO) continue; /* whole, or no memory */
        mz_log(MZ_LOG_LOUD, "CHECKPOINT NOT WHOLE: %s", mz_err_last()->message);
        if (i + 1 < n) {
            mz_log(MZ_LOG_LOUD, "going back from step %" PRId64 " to step %" PRId64, steps[i],
                   steps[i + 1]);
            err = MZ_OK;
        }
    }
    mz_mem_free(steps);
    return err;
}

/* ---- the calls ---- */

static mz_err write_files(const mz_checkpointed *c, const mz_held *h, const mz_progress *p,
                          const char *folder)
{
    char path[MZ_CHECKPOINT_PATH];
    bool has_extra[MZ_EXTRAS];
    MZ_TRY(mz_state_save_weights(h, c->base_name, folder));
    MZ_TRY(join(path, folder, "optimizer.safetensors"));
    MZ_TRY(mz_state_save_optimizer(h, path));
    MZ_TRY(join(path, folder, "state.json"));
    MZ_TRY(mz_state_save_progress(h->updates, p, path));
    MZ_TRY(join(path, folder, "train.yaml"));
    MZ_TRY(mz_file_write(path, c->yaml, strlen(c->yaml)));
    MZ_TRY(mz_extras_copy(c->tokenizer, folder, h->config->max_position, has_extra));
    return write_manifest(folder, p->step, h->config->lora.rank > 0, has_extra);
}

static mz_err prune(const char *run, int64_t keep, int64_t best)
{
    int64_t *steps = NULL, n = 0;
    mz_err err = list_steps(run, &steps, &n);
    for (int64_t i = keep; i < n && err == MZ_OK; i++) {
        char path[MZ_CHECKPOINT_PATH];
        if (steps[i] == best) continue;
        err = mz_checkpoint_path(path, run, steps[i]);
        if (err == MZ_OK) err = remove_whole(path);
    }
    mz_mem_free(steps);
    return err;
}

mz_err mz_checkpoint_put(const mz_checkpointed *c, const mz_held *h, const mz_progress *p,
                         const char *folder)
{
    MZ_NEED(c && h && p && folder, "no state, no progress, or no folder");
    char temp[MZ_CHECKPOINT_PATH];
    MZ_TRY(with_suffix(temp, folder, ".tmp"));
    MZ_TRY(mz_folder_remove(temp));
    MZ_TRY(mz_file_mkdirs(temp));
    mz_err err = write_files(c, h, p, temp);
    if (err == MZ_OK) err = remove_whole(folder); /* a damaged one of the same name */
    if (err == MZ_OK) err = mz_folder_rename(temp, folder);
    if (err != MZ_OK) {
        const mz_err_info why = *mz_err_last();
        (void)mz_folder_remove(temp); /* what stays is swept at the next start */
        mz_err_restore(&why);
    }
    return err;
}

mz_err mz_checkpoint_write(const mz_checkpointed *c, const mz_held *h, const mz_progress *p,
                           int64_t keep)
{
    MZ_NEED(c && h && p && keep >= 1, "no run, no progress, or nothing is to be kept");
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_checkpoint_path(path, c->run, p->step));
    MZ_TRY(mz_checkpoint_put(c, h, p, path));
    return prune(c->run, keep, p->best_step);
}

mz_err mz_checkpoint_save(const mz_checkpointed *c, const mz_progress *p, int64_t keep)
{
    mz_held h;
    MZ_NEED(c && p, "no run or no progress");
    mz_held_of(&h, c);
    return mz_checkpoint_write(c, &h, p, keep);
}

static mz_err take_files(const mz_checkpointed *c, mz_progress *p, const char *folder)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(join(path, folder, "state.json"));
    MZ_TRY(mz_state_load_progress(c, p, path));
    MZ_TRY(mz_state_load_weights(c, folder));
    MZ_TRY(join(path, folder, "optimizer.safetensors"));
    return mz_state_load_optimizer(c, path);
}

mz_err mz_checkpoint_get(const mz_checkpointed *c, mz_progress *p, const char *folder)
{
    MZ_NEED(c && p && folder, "no state, no progress, or no folder");
    MZ_TRY(mz_checkpoint_verify(folder, NULL));
    return take_files(c, p, folder);
}

mz_err mz_checkpoint_load(const mz_checkpointed *c, mz_progress *p, bool *found)
{
    MZ_NEED(c && p && found, "no run, no progress, or no place for the answer");
    char folder[MZ_CHECKPOINT_PATH];
    bool is_there = false;
    MZ_TRY(newest(c->run, folder, &is_there));
    if (is_there) MZ_TRY(take_files(c, p, folder));
    *found = is_there;
    return MZ_OK;
}

mz_err mz_checkpoint_any(const char *run, bool *any)
{
    int64_t *steps = NULL, n = 0;
    MZ_NEED(run && any, "no run or no place for the answer");
    MZ_TRY(list_steps(run, &steps, &n));
    mz_mem_free(steps);
    *any = n > 0;
    return MZ_OK;
}

mz_err mz_checkpoint_last(const char *run, int64_t *step)
{
    int64_t *steps = NULL, n = 0;
    MZ_NEED(run && step, "no run or no place for the answer");
    MZ_TRY(list_steps(run, &steps, &n));
    *step = n > 0 ? steps[0] : -1;
    mz_mem_free(steps);
    return MZ_OK;
}

mz_err mz_checkpoint_newest(const char *run, char path[MZ_CHECKPOINT_PATH], json_t **state)
{
    MZ_NEED(run && path && state, "no run or no place for the answer");
    char folder[MZ_CHECKPOINT_PATH], name[MZ_CHECKPOINT_PATH];
    bool found = false;
    json_t *root = NULL;
    MZ_TRY(newest(run, folder, &found));
    if (found) {
        MZ_TRY(join(name, folder, "state.json"));
        MZ_TRY(mz_json_read(&root, name, JSON_MAX));
        memcpy(path, folder, sizeof folder);
    }
    *state = root;
    return MZ_OK;
}
