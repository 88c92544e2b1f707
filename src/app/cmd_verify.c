/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_verify.c - `mizan verify`: reads every number of what a path holds and says where the
 * first one stands that is not finite; checks every checksum that there is (a checkpoint's
 * manifest, token shards, the names of a hub cache's files). Opening checks every rule of the
 * formats. Floor: app. */
#include "app/commands.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/str.h"
#include "file/gguf.h"
#include "file/hub.h"
#include "file/shards.h"
#include "tensor/convert.h"
#include "train/checkpoint.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16 };

typedef struct totals {
    const char *format;
    int64_t tensors, values, unread; /* unread: values of integer types, and of types not read */
    int64_t checksums;
    uint64_t bytes;
} totals;

/* A run of numbers somewhere in a file. */
typedef struct run {
    const char *file, *name;
    const unsigned char *data;
    uint64_t offset; /* of data in the file */
    int64_t count, block;
    size_t block_bytes;
} run_of;

static mz_err not_finite(const run_of *r, int64_t i, float x)
{
    const uint64_t at = r->offset + (uint64_t)(i / r->block) * r->block_bytes;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: number %" PRId64 " is %g, at byte %" PRIu64,
                               r->name, i, (double)x, at);
    mz_note_where(r->file, r->name, (int64_t)at);
    return err;
}

/* dtype or, if it is MZ_GGML_COUNT, ggml. */
static mz_err check_run(const run_of *r, mz_dtype dtype, mz_ggml ggml, float *room)
{
    const int64_t step = CHUNK / r->block * r->block;
    for (int64_t at = 0; at < r->count; at += step) {
        const int64_t n = r->count - at < step ? r->count - at : step;
        const unsigned char *from = r->data + (size_t)(at / r->block) * r->block_bytes;
        MZ_TRY(ggml == MZ_GGML_COUNT ? mz_convert(room, MZ_F32, from, dtype, n)
                                     : mz_ggml_expand(ggml, room, from, n));
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(room[i])) return not_finite(r, at + i, room[i]);
    }
    return MZ_OK;
}

static mz_err check_tensor(const mz_st_tensor *t, const char *file, totals *all, float *room)
{
    const run_of r = {file, t->name, t->data, t->offset, t->count, 1, mz_dtype_bytes(t->dtype)};
    all->tensors++;
    all->values += t->count;
    all->bytes += t->bytes;
    if (!mz_convert_can(MZ_F32, t->dtype)) {
        all->unread += t->count;
        return MZ_OK;
    }
    return check_run(&r, t->dtype, MZ_GGML_COUNT, room);
}

static mz_err verify_hub(const char *path, totals *all, float *room)
{
    mz_hub *hub = NULL;
    MZ_TRY(mz_hub_open(&hub, path));
    mz_err err = MZ_OK;
    for (int64_t i = 0; err == MZ_OK && i < mz_hub_count(hub); i++) {
        const char *file = NULL;
        const mz_st_tensor *t = mz_hub_at(hub, i, &file);
        err = check_tensor(t, file, all, room);
    }
    if (err == MZ_OK) err = mz_hub_intact(hub);
    mz_hub_close(hub);
    return err;
}

static mz_err verify_st(const char *path, totals *all, float *room)
{
    mz_st_file *file = NULL;
    MZ_TRY(mz_st_open(&file, path));
    mz_err err = MZ_OK;
    for (int64_t i = 0; err == MZ_OK && i < mz_st_count(file); i++)
        err = check_tensor(mz_st_at(file, i), path, all, room);
    if (err == MZ_OK) err = mz_st_intact(file);
    mz_st_close(file);
    return err;
}

static mz_err verify_gguf(const char *path, totals *all, float *room)
{
    mz_gguf *file = NULL;
    MZ_TRY(mz_gguf_open(&file, path));
    mz_err err = MZ_OK;
    for (int64_t i = 0; err == MZ_OK && i < mz_gguf_count(file); i++) {
        const mz_gguf_tensor *t = mz_gguf_at(file, i);
        const run_of r = {path,
                          t->name,
                          t->data,
                          t->offset,
                          t->count,
                          mz_ggml_block(t->type),
                          mz_ggml_block_bytes(t->type)};
        all->tensors++;
        all->values += t->count;
        all->bytes += t->bytes;
        if (mz_ggml_can_expand(t->type))
            err = check_run(&r, MZ_F32, t->type, room);
        else
            all->unread += t->count;
    }
    if (err == MZ_OK) err = mz_gguf_intact(file);
    mz_gguf_close(file);
    return err;
}

/* ---- folders and their checksums ---- */

static bool holds(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return mz_path_join(path, sizeof path, folder, name) == MZ_OK && mz_file_exists(path);
}

/* In a hub cache a file is a link to a blob, and a large one's name is the SHA-256 of its bytes. */
static mz_err check_blob(const char *path, totals *all)
{
    char real[PATH_MAX], sum[MZ_SHA256_HEX];
    const char *name = realpath(path, real) ? strrchr(real, '/') + 1 : "";
    if (strlen(name) != 64 || strspn(name, "0123456789abcdef") != 64) return MZ_OK;
    MZ_TRY(mz_sha256_file(sum, path, NULL));
    all->checksums++;
    if (strcmp(sum, name) == 0) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT,
                               "%s does not have the checksum that its blob is named "
                               "by",
                               path);
    mz_note_where(path, "checksum", -1);
    return err;
}

static mz_err check_blobs(const char *folder, totals *all)
{
    char path[PATH_MAX];
    mz_names names = {0};
    MZ_TRY(mz_folder_list(&names, folder));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        err = mz_path_join(path, sizeof path, folder, names.list[i]);
        if (err == MZ_OK) err = check_blob(path, all);
    }
    mz_names_clear(&names);
    return err;
}

static mz_err verify_checkpoint(const char *folder, totals *all, float *room)
{
    static const char *const weights[] = {"model.safetensors", "optimizer.safetensors"};
    char path[PATH_MAX];
    int64_t checked = 0;
    MZ_TRY(mz_checkpoint_verify(folder, &checked));
    all->checksums += checked;
    for (int i = 0; i < MZ_COUNT(weights); i++) {
        if (!holds(folder, weights[i])) continue;
        MZ_TRY(mz_path_join(path, sizeof path, folder, weights[i]));
        MZ_TRY(verify_st(path, all, room));
    }
    return MZ_OK;
}

/* Every checkpoint of a run that is not being written or removed. */
static mz_err verify_run(const char *run, totals *all, float *room)
{
    char folder[PATH_MAX], path[PATH_MAX];
    mz_names names = {0};
    MZ_TRY(mz_path_join(folder, sizeof folder, run, "checkpoints"));
    MZ_TRY(mz_folder_list(&names, folder));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        if (!mz_str_starts(names.list[i], "step-") || mz_str_ends(names.list[i], ".tmp")) continue;
        err = mz_path_join(path, sizeof path, folder, names.list[i]);
        if (err == MZ_OK) err = verify_checkpoint(path, all, room);
    }
    mz_names_clear(&names);
    return err;
}

static mz_err verify_tokens(const char *folder, totals *all)
{
    for (int part = 0; part < MZ_PARTS; part++) {
        mz_shards *s = NULL;
        MZ_TRY(mz_shards_open(&s, folder, (mz_part)part));
        const mz_err err = mz_shards_verify(s);
        all->values += mz_shards_ids(s);
        all->unread += mz_shards_ids(s);
        all->checksums++; /* a part's: of all its blocks */
        mz_shards_close(s);
        MZ_TRY(err);
    }
    return MZ_OK;
}

static mz_err verify_folder(const char *path, totals *all, float *room)
{
    if (holds(path, "manifest.json")) {
        all->format = "checkpoint";
        return verify_checkpoint(path, all, room);
    }
    if (holds(path, "checkpoints")) {
        all->format = "run";
        return verify_run(path, all, room);
    }
    if (mz_shards_is(path)) {
        all->format = "tokens";
        return verify_tokens(path, all);
    }
    all->format = "hf";
    MZ_TRY(verify_hub(path, all, room));
    return check_blobs(path, all);
}

static mz_err verify_path(const char *path, totals *all, float *room)
{
    if (mz_file_is_dir(path)) return verify_folder(path, all, room);
    const bool gguf = mz_gguf_is(path);
    all->format = gguf ? "gguf" : "safetensors";
    return gguf ? verify_gguf(path, all, room) : verify_st(path, all, room);
}

static mz_err report(const mz_cli *cli, const totals *all)
{
    if (!mz_cli_flag(cli, "json")) {
        char text[32];
        printf("%s: %" PRId64 " numbers in %" PRId64 " tensors (%s), all finite\n",
               mz_cli_argument(cli, 0), all->values - all->unread, all->tensors,
               mz_str_bytes(text, (double)all->bytes));
        if (all->unread > 0)
            printf("%" PRId64 " more are integers or of a type that Mizan does not read\n",
                   all->unread);
        if (all->checksums > 0)
            printf("%" PRId64 " checksums, all as they should be\n", all->checksums);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "format", json_string(all->format));
    bad |= json_object_set_new(o, "tensors", json_integer(all->tensors));
    bad |= json_object_set_new(o, "values", json_integer(all->values));
    bad |= json_object_set_new(o, "unread", json_integer(all->unread));
    bad |= json_object_set_new(o, "bytes", json_integer((json_int_t)all->bytes));
    bad |= json_object_set_new(o, "checksums", json_integer(all->checksums));
    bad |= json_object_set_new(o, "finite", json_true());
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli)
{
    totals all = {0};
    float *room = NULL;
    MZ_TRY(mz_mem_new(&room, CHUNK, sizeof *room));
    const mz_err err = verify_path(mz_cli_argument(cli, 0), &all, room);
    mz_mem_free(room);
    return err == MZ_OK ? report(cli, &all) : err;
}

const mz_command mz_cmd_verify = {
    .name = "verify",
    .arguments = "PATH",
    .least = 1,
    .most = 1,
    .summary = "read every number of a model, check that it is finite, and every checksum",
    .description = "PATH is a Hugging Face folder, a .safetensors file, a GGUF file, a run, a "
                   "checkpoint or a folder of token shards.",
    .common = MZ_COMMON_JSON,
    .examples = "mizan verify MODEL",
    .run = run,
};
