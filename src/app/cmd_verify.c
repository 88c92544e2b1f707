/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_verify.c - `mizan verify`: reads every number of a model folder or a weights file and
 * says where the first one stands that is not finite. Opening checks every rule of the formats.
 * Floor: app. */
#include "app/commands.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "file/gguf.h"
#include "file/hub.h"
#include "tensor/convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { CHUNK = 1 << 16 };

typedef struct totals {
    int64_t tensors, values, unread; /* unread: values of integer types, and of types not read */
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
    mz_gguf_close(file);
    return err;
}

static mz_err report(const mz_cli *cli, const char *format, const totals *all)
{
    if (!mz_cli_flag(cli, "json")) {
        char text[32];
        printf("%s: %" PRId64 " numbers in %" PRId64 " tensors (%s), all finite\n",
               mz_cli_argument(cli, 0), all->values - all->unread, all->tensors,
               mz_str_bytes(text, (double)all->bytes));
        if (all->unread > 0)
            printf("%" PRId64 " more are integers or of a type that Mizan does not read\n",
                   all->unread);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "format", json_string(format));
    bad |= json_object_set_new(o, "tensors", json_integer(all->tensors));
    bad |= json_object_set_new(o, "values", json_integer(all->values));
    bad |= json_object_set_new(o, "unread", json_integer(all->unread));
    bad |= json_object_set_new(o, "bytes", json_integer((json_int_t)all->bytes));
    bad |= json_object_set_new(o, "finite", json_true());
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli)
{
    const char *path = mz_cli_argument(cli, 0);
    const bool folder = mz_file_is_dir(path), gguf = !folder && mz_gguf_is(path);
    totals all = {0};
    float *room = NULL;
    MZ_TRY(mz_mem_new(&room, CHUNK, sizeof *room));
    mz_err err = folder ? verify_hub(path, &all, room)
                 : gguf ? verify_gguf(path, &all, room)
                        : verify_st(path, &all, room);
    mz_mem_free(room);
    if (err == MZ_OK) err = report(cli, folder ? "hf" : gguf ? "gguf" : "safetensors", &all);
    return err;
}

const mz_command mz_cmd_verify = {
    .name = "verify",
    .arguments = "PATH",
    .least = 1,
    .most = 1,
    .summary = "read every number of a model and check that it is finite",
    .description = "PATH is a Hugging Face folder, a .safetensors file or a GGUF file.",
    .common = MZ_COMMON_JSON,
    .run = run,
};
