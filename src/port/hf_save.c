/* SPDX-License-Identifier: Apache-2.0 */
/* port/hf_save.c - a model's parameters into a Hugging Face folder, in one file or in shards.
 *
 * Every file appears whole or not at all; config.json comes last. Floor: port. */
#include "port/hf.h"

#include "base/file.h"
#include "base/mem.h"
#include "port/disk.h"
#include "tensor/convert.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 19, NAME_BYTES = 160 };

typedef struct named { /* one tensor on disk */
    char name[NAME_BYTES];
    const mz_param *param;
    int64_t e;
} named;

static int by_name(const void *pa, const void *pb)
{
    const named *a = pa, *b = pb;
    return strcmp(a->name, b->name);
}

/* A selection bias is moved by small steps that bf16 would swallow: it stays in f32. */
static mz_dtype disk_dtype(const mz_param *p, mz_dtype dtype)
{
    return p->kind == MZ_PARAM_ROUTER_BIAS ? MZ_F32 : dtype;
}

/* Fills list [n] in the order of the parameters. */
static mz_err name_all(const mz_params *p, named *list)
{
    for (int64_t i = 0, at = 0; i < p->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++, at++) {
            list[at].param = &p->list[i];
            list[at].e = e;
            MZ_TRY(mz_param_disk_name(&p->list[i], e, list[at].name, sizeof list[at].name));
        }
    return MZ_OK;
}

/* room: CHUNK doubles as they come from the chip, then CHUNK doubles as they go to the file */
static mz_err save_one(mz_st_writer *w, mz_queue *q, const named *one, mz_dtype dtype,
                       unsigned char *room)
{
    const mz_tensor view = mz_param_disk_view(one->param, &one->param->w, one->e);
    const mz_dtype to = disk_dtype(one->param, dtype);
    const int64_t count = mz_count(&view);
    unsigned char *out = room + CHUNK * sizeof(double);
    for (int64_t at = 0; at < count; at += CHUNK) {
        const int64_t n = count - at < CHUNK ? count - at : CHUNK;
        const mz_tensor part = mz_disk_run(&view, at, n);
        MZ_TRY(mz_download(q, room, &part));
        MZ_TRY(mz_queue_sync(q));
        MZ_TRY(mz_convert(out, to, room, view.dtype, n));
        MZ_TRY(mz_st_writer_put(w, out, (size_t)n * mz_dtype_bytes(to)));
    }
    return MZ_OK;
}

/* n tensors into one file. Sorts the list by name. */
static mz_err save_file(named *list, int64_t n, mz_queue *q, const char *path, mz_dtype dtype)
{
    mz_st_writer *w = NULL;
    unsigned char *room = NULL;
    mz_err err = mz_st_writer_new(&w, path);
    if (err == MZ_OK) err = mz_mem_new(&room, 2 * CHUNK, sizeof(double));
    for (int64_t i = 0; err == MZ_OK && i < n; i++) {
        const mz_tensor view = mz_param_disk_view(list[i].param, &list[i].param->w, list[i].e);
        err = mz_st_writer_declare(w, list[i].name, disk_dtype(list[i].param, dtype), view.rank,
                                   view.dim);
    }
    if (err == MZ_OK) err = mz_st_writer_begin(w);
    if (err == MZ_OK) qsort(list, (size_t)n, sizeof *list, by_name);
    for (int64_t i = 0; err == MZ_OK && i < n; i++) {
        named key = {.e = 0};
        snprintf(key.name, sizeof key.name, "%s", mz_st_writer_at(w, i)->name);
        const named *one = bsearch(&key, list, (size_t)n, sizeof *list, by_name);
        err = one ? save_one(w, q, one, dtype, room)
                  : MZ_FAIL(MZ_EINVAL, "%s was declared and is not there", key.name);
    }
    if (err == MZ_OK)
        err = mz_st_writer_commit(w);
    else
        mz_st_writer_abort(w);
    mz_mem_free(room);
    return err;
}

/* ---- shards ---- */

static int64_t bytes_of(const named *one, mz_dtype dtype)
{
    const mz_tensor view = mz_param_disk_view(one->param, &one->param->w, one->e);
    return mz_count(&view) * (int64_t)mz_dtype_bytes(disk_dtype(one->param, dtype));
}

/* Tensors from `first` on that go into one file: at least one, then while they fit. */
static int64_t shard_end(const named *list, int64_t n, int64_t first, mz_dtype dtype, int64_t most)
{
    int64_t at = first, sum = 0;
    while (at < n) {
        const int64_t bytes = bytes_of(&list[at], dtype);
        if (at > first && bytes > most - sum) break;
        sum += bytes;
        at++;
        if (sum > most) break; /* one larger than a shard */
    }
    return at;
}

static int64_t shard_count(const named *list, int64_t n, mz_dtype dtype, int64_t most)
{
    int64_t shards = 0;
    for (int64_t at = 0; at < n; shards++) at = shard_end(list, n, at, dtype, most);
    return shards;
}

static mz_err save_index(const json_t *map, int64_t bytes, const char *folder)
{
    char path[PATH_MAX];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "model.safetensors.index.json"));
    json_t *o =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)bytes, "weight_map", map);
    const mz_err err = o ? mz_json_write(o, path) : MZ_FAIL(MZ_ENOMEM, "no memory for an index");
    json_decref(o);
    return err;
}

/* Writes the shards, and each tensor's file into map. */
static mz_err save_shards(named *list, int64_t n, mz_queue *q, const char *folder, mz_dtype dtype,
                          int64_t most, json_t *map)
{
    const int64_t shards = shard_count(list, n, dtype, most);
    char name[64], path[PATH_MAX];
    for (int64_t at = 0, k = 1; at < n; k++) {
        const int64_t end = shard_end(list, n, at, dtype, most);
        snprintf(name, sizeof name, "model-%05lld-of-%05lld.safetensors", (long long)k,
                 (long long)shards);
        for (int64_t i = at; i < end; i++)
            if (json_object_set_new(map, list[i].name, json_string(name)) != 0)
                return MZ_FAIL(MZ_ENOMEM, "no memory for an index");
        MZ_TRY(mz_path_join(path, sizeof path, folder, name));
        MZ_TRY(save_file(list + at, end - at, q, path, dtype));
        at = end;
    }
    return MZ_OK;
}

/* An old model.safetensors would be read in place of the shards. */
static mz_err check_no_single(const char *path)
{
    if (!mz_file_exists(path)) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_EIO, "%s is there, and would be read in place of shards", path);
    mz_note_where(path, "", -1);
    mz_note_fix("write shards into a new folder");
    return err;
}

static mz_err save_weights(const mz_params *p, mz_queue *q, const char *folder, mz_dtype dtype,
                           int64_t shard_bytes)
{
    named *list = NULL;
    char path[PATH_MAX];
    const int64_t n = mz_disk_total(p);
    int64_t bytes = 0;
    MZ_TRY(mz_path_join(path, sizeof path, folder, "model.safetensors"));
    MZ_TRY(mz_mem_new(&list, n, sizeof *list));
    mz_err err = name_all(p, list);
    for (int64_t i = 0; err == MZ_OK && i < n; i++) bytes += bytes_of(&list[i], dtype);
    if (err == MZ_OK && bytes <= shard_bytes)
        err = save_file(list, n, q, path, dtype);
    else if (err == MZ_OK) {
        json_t *map = json_object();
        err = map ? check_no_single(path) : MZ_FAIL(MZ_ENOMEM, "no memory for an index");
        if (err == MZ_OK) err = save_shards(list, n, q, folder, dtype, shard_bytes, map);
        if (err == MZ_OK) err = save_index(map, bytes, folder);
        json_decref(map);
    }
    mz_mem_free(list);
    return err;
}

static const char *torch_name(mz_dtype d)
{
    return d == MZ_F32 ? "float32" : d == MZ_BF16 ? "bfloat16" : "float16";
}

static mz_err save_config(const mz_config *c, const char *path, mz_dtype dtype)
{
    json_t *json = NULL;
    MZ_TRY(mz_config_to_json(&json, c));
    mz_err err = MZ_OK;
    if (json_object_set_new(json, "torch_dtype", json_string(torch_name(dtype))) != 0)
        err = MZ_FAIL(MZ_ENOMEM, "no memory for a config");
    if (err == MZ_OK) err = mz_json_write(json, path);
    json_decref(json);
    return err;
}

mz_err mz_hf_save_shards(const mz_params *p, mz_queue *q, const mz_config *c, const char *folder,
                         mz_dtype dtype, int64_t shard_bytes)
{
    MZ_NEED(p && q && c && folder && p->weights, "no parameters with buffers, queue or folder");
    MZ_NEED(dtype == MZ_F32 || dtype == MZ_BF16 || dtype == MZ_F16, "weights cannot be saved as %s",
            mz_dtype_name(dtype));
    MZ_NEED(shard_bytes > 0, "shards of %lld bytes", (long long)shard_bytes);
    char path[PATH_MAX];
    MZ_TRY(mz_file_mkdirs(folder));
    MZ_TRY(save_weights(p, q, folder, dtype, shard_bytes));
    MZ_TRY(mz_path_join(path, sizeof path, folder, "config.json"));
    return save_config(c, path, dtype); /* last: without it the folder is no model */
}

mz_err mz_hf_save(const mz_params *p, mz_queue *q, const mz_config *c, const char *folder,
                  mz_dtype dtype)
{
    return mz_hf_save_shards(p, q, c, folder, dtype, INT64_MAX);
}
