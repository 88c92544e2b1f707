/* SPDX-License-Identifier: Apache-2.0 */
/* train/placement.c - see placement.h. */
#include "train/placement.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "train/shares.h"

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, FILE_MAX = 1 << 20 };

static mz_err path_of(char out[PATH_BYTES], const char *run, const char *name)
{
    return mz_path_join(out, PATH_BYTES, run, name);
}

static mz_err write_ranks(const mz_train_config *c, mz_str *out)
{
    return mz_key_write(mz_key_find("ranks"), c, out);
}

static bool same_ranks(const mz_train_config *a, const mz_train_config *b)
{
    bool same = a->n_ranks == b->n_ranks;
    for (int64_t i = 0; same && i < a->n_ranks; i++)
        same = strcmp(a->ranks[i].chip, b->ranks[i].chip) == 0 &&
               a->ranks[i].share == b->ranks[i].share && a->ranks[i].layers == b->ranks[i].layers;
    return same;
}

static mz_err take(mz_train_config *c, const json_t *root, const char *key, const char *path)
{
    const char *text = json_string_value(json_object_get(root, key));
    const mz_place at = {.file = path, .offset = -1};
    if (text && mz_config_parse_ranks(c, text, &at) == MZ_OK) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s holds no %s", path, key);
    mz_note_where(path, key, -1);
    mz_note_fix("`mizan runs move` writes it anew; without it the configuration's ranks count");
    return err;
}

/* What stands in placement.json; *found false where there is none. */
static mz_err read(const char *run, mz_train_config *instead_of, mz_train_config *ranks,
                   bool *found)
{
    char path[PATH_BYTES];
    json_t *root = NULL;
    MZ_TRY(path_of(path, run, "placement.json"));
    *found = mz_file_exists(path);
    if (!*found) return MZ_OK;
    MZ_TRY(mz_json_read(&root, path, FILE_MAX));
    mz_err err = take(instead_of, root, "instead_of", path);
    if (err == MZ_OK) err = take(ranks, root, "ranks", path);
    json_decref(root);
    return err;
}

static mz_err forget(const char *run)
{
    char path[PATH_BYTES];
    MZ_TRY(path_of(path, run, "placement.json"));
    return mz_folder_remove(path);
}

mz_err mz_placement_use(mz_train_config *c, bool *moved)
{
    mz_train_config *two = NULL;
    bool found = false;
    *moved = false;
    MZ_TRY(mz_mem_new(&two, 2, sizeof *two));
    mz_err err = read(c->run_dir, &two[0], &two[1], &found);
    if (err == MZ_OK && found && same_ranks(c, &two[0])) {
        *moved = !same_ranks(c, &two[1]);
        c->n_ranks = two[1].n_ranks;
        memcpy(c->ranks, two[1].ranks, sizeof c->ranks);
        err = mz_config_check(c, c->run_dir);
    } else if (err == MZ_OK && found) {
        err = forget(c->run_dir);
    }
    mz_mem_free(two);
    return err;
}

bool mz_placement_is_newer(const mz_train_config *c)
{
    mz_train_config *two = NULL;
    bool found = false;
    mz_err err = mz_mem_new(&two, 2, sizeof *two);
    if (err == MZ_OK) err = read(c->run_dir, &two[0], &two[1], &found);
    const bool is_newer = err == MZ_OK && found && !same_ranks(c, &two[1]);
    if (err != MZ_OK) mz_err_clear();
    mz_mem_free(two);
    return is_newer;
}

/* "before" of a move that nothing has proved yet stays what is known to work; empty: nothing to go
 * back to. */
static mz_err write_before(const mz_train_config *before, bool is_live, mz_str *out)
{
    char path[PATH_BYTES];
    json_t *root = NULL;
    if (!is_live) return MZ_OK;
    MZ_TRY(path_of(path, before->run_dir, "placement.json"));
    if (mz_file_exists(path) && mz_json_read(&root, path, FILE_MAX) != MZ_OK) mz_err_clear();
    const char *known = json_string_value(json_object_get(root, "before"));
    const mz_err err = known ? mz_str_add(out, known, strlen(known)) : write_ranks(before, out);
    json_decref(root);
    return err;
}

mz_err mz_placement_write(const mz_train_config *before, const mz_train_config *now, bool is_live)
{
    mz_train_config *two = NULL;
    mz_str own = {0}, ranks = {0}, back = {0};
    char path[PATH_BYTES];
    bool found = false;
    MZ_TRY(mz_mem_new(&two, 2, sizeof *two));
    mz_err err = read(before->run_dir, &two[0], &two[1], &found);
    if (err == MZ_ECORRUPT) { /* it is about to be written anew */
        mz_err_clear();
        found = false;
        err = MZ_OK;
    }
    /* a run that was moved before still stands for the configuration that it began with */
    const bool again = found && same_ranks(before, &two[1]);
    if (err == MZ_OK) err = write_ranks(again ? &two[0] : before, &own);
    if (err == MZ_OK) err = write_ranks(now, &ranks);
    if (err == MZ_OK) err = write_before(before, is_live, &back);
    json_t *o = err == MZ_OK ? json_pack("{s:i, s:s, s:s}", "schema", 1, "instead_of", own.text,
                                         "ranks", ranks.text)
                             : NULL;
    if (o && back.text && json_object_set_new(o, "before", json_string(back.text)) != 0) {
        json_decref(o);
        o = NULL;
    }
    if (err == MZ_OK && !o) err = MZ_FAIL(MZ_ENOMEM, "no memory for a placement");
    if (err == MZ_OK && mz_shares_are_auto(now)) err = mz_shares_forget(before->run_dir);
    if (err == MZ_OK) err = path_of(path, before->run_dir, "placement.json");
    if (err == MZ_OK) err = mz_json_write(o, path);
    json_decref(o);
    mz_str_clear(&own);
    mz_str_clear(&ranks);
    mz_str_clear(&back);
    mz_mem_free(two);
    return err;
}

/* *root NULL where the run was never moved. */
static mz_err read_file(const char *run, char path[PATH_BYTES], json_t **root)
{
    *root = NULL;
    MZ_TRY(path_of(path, run, "placement.json"));
    return mz_file_exists(path) ? mz_json_read(root, path, FILE_MAX) : MZ_OK;
}

mz_err mz_placement_state(const char *run, mz_placement *state)
{
    char path[PATH_BYTES];
    json_t *root = NULL;
    *state = (mz_placement){.unproven = false};
    MZ_TRY(read_file(run, path, &root));
    const char *why = json_string_value(json_object_get(root, "refused"));
    state->unproven = json_object_get(root, "before") != NULL;
    (void)snprintf(state->refused, sizeof state->refused, "%s", why ? why : "");
    json_decref(root);
    return MZ_OK;
}

/* One that is not unproven stays as it is. why NULL: the new ranks have worked. */
static mz_err settle(const char *run, const char *why)
{
    char path[PATH_BYTES];
    json_t *root = NULL;
    int bad = 0;
    MZ_TRY(read_file(run, path, &root));
    json_t *before = json_object_get(root, "before");
    if (before) {
        if (why) {
            bad |= json_object_set(root, "ranks", before);
            bad |= json_object_set_new(root, "refused", json_string(why));
        }
        bad |= json_object_del(root, "before");
        const mz_err err =
            bad ? MZ_FAIL(MZ_ENOMEM, "no memory for a placement") : mz_json_write(root, path);
        json_decref(root);
        MZ_TRY(err);
    } else {
        json_decref(root);
    }
    return mz_placement_answer(run);
}

mz_err mz_placement_prove(const char *run)
{
    return settle(run, NULL);
}

mz_err mz_placement_refuse(const char *run, const char *why)
{
    return settle(run, why);
}

mz_err mz_placement_ask(const char *run)
{
    char path[PATH_BYTES];
    MZ_TRY(path_of(path, run, "move"));
    return mz_file_write(path, "", 0);
}

bool mz_placement_is_asked(const char *run)
{
    char path[PATH_BYTES];
    return path_of(path, run, "move") == MZ_OK && mz_file_exists(path);
}

mz_err mz_placement_answer(const char *run)
{
    char path[PATH_BYTES];
    MZ_TRY(path_of(path, run, "move"));
    return mz_folder_remove(path);
}
