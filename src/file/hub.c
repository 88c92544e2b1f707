/* SPDX-License-Identifier: Apache-2.0 */
/* file/hub.c - a Hugging Face folder.
 *
 * Which weights: model.safetensors if it is there, else the shards that
 * model.safetensors.index.json names (the order in which transformers looks too). Names lead to
 * files through base/inside alone.
 * Floor:  file. */
#include "file/hub.h"

#include "base/file.h"
#include "base/inside.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20, INDEX_BYTES_MAX = 64 << 20 };
static const char CONFIG[] = "config.json", SINGLE[] = "model.safetensors";
static const char INDEX[] = "model.safetensors.index.json";

typedef struct place { /* one tensor and the file it is in */
    const mz_st_tensor *tensor;
    int64_t file;
} place;

struct mz_hub {
    char *folder, *config_path;
    json_t *config;
    mz_st_file **files;
    int64_t n_files, n;
    place *list;           /* [n] file by file, in each by offset */
    const place **by_name; /* [n] */
};

static mz_err bad(mz_err code, const char *file, const char *field, const char *what)
{
    const mz_err err = field[0] ? MZ_FAIL(code, "%s: %s: %s", file, field, what)
                                : MZ_FAIL(code, "%s: %s", file, what);
    mz_note_where(file, field, -1);
    return err;
}

/* Of an entry of an index's weight_map. */
static int64_t offset_of(const char *index, const char *name)
{
    const char *const steps[2] = {"weight_map", name};
    return mz_json_offset(index, steps, 2);
}

static mz_err bad_entry(const char *index, const char *name, const char *what)
{
    const mz_err err = bad(MZ_ECORRUPT, index, name, what);
    mz_note_where(NULL, NULL, offset_of(index, name));
    return err;
}

static mz_err set_folder(mz_hub *hub, const char *folder)
{
    if (!mz_file_is_dir(folder)) return bad(MZ_EIO, folder, "", "there is no such folder");
    return mz_mem_strdup(&hub->folder, folder);
}

static mz_err read_config(mz_hub *hub)
{
    char path[MZ_INSIDE_BYTES];
    MZ_TRY(mz_path_join(path, sizeof path, hub->folder, CONFIG));
    if (!mz_file_exists(path)) {
        const mz_err err = bad(MZ_EIO, path, "", "this folder has no config.json");
        MZ_TRY(mz_path_join(path, sizeof path, hub->folder, "adapter_config.json"));
        if (mz_file_exists(path))
            mz_note_fix("it holds an adapter: name the model it belongs to, and --adapter %s",
                        hub->folder);
        return err;
    }
    MZ_TRY(mz_inside(path, hub->folder, CONFIG, hub->folder));
    MZ_TRY(mz_mem_strdup(&hub->config_path, path));
    return mz_json_read(&hub->config, path, CONFIG_BYTES_MAX);
}

static mz_err open_file(mz_hub *hub, const char *name, const char *from)
{
    char path[MZ_INSIDE_BYTES];
    MZ_TRY(mz_inside(path, hub->folder, name, from));
    MZ_TRY(mz_mem_grow(&hub->files, hub->n_files + 1, sizeof *hub->files));
    MZ_TRY(mz_st_open(&hub->files[hub->n_files], path));
    hub->n += mz_st_count(hub->files[hub->n_files]);
    hub->n_files++;
    return MZ_OK;
}

static mz_err bad_place(const mz_hub *hub, const place *p, const char *what)
{
    const mz_err err = bad(MZ_ECORRUPT, mz_st_path(hub->files[p->file]), p->tensor->name, what);
    mz_note_where(NULL, NULL, (int64_t)p->tensor->offset);
    return err;
}

static int by_tensor_name(const void *pa, const void *pb)
{
    const place *const *a = pa, *const *b = pb;
    return strcmp((*a)->tensor->name, (*b)->tensor->name);
}

static mz_err list_tensors(mz_hub *hub)
{
    MZ_TRY(mz_mem_new(&hub->list, hub->n, sizeof *hub->list));
    MZ_TRY(mz_mem_new(&hub->by_name, hub->n, sizeof *hub->by_name));
    int64_t at = 0;
    for (int64_t k = 0; k < hub->n_files; k++)
        for (int64_t i = 0; i < mz_st_count(hub->files[k]); i++, at++) {
            hub->list[at] = (place){mz_st_at(hub->files[k], i), k};
            hub->by_name[at] = &hub->list[at];
        }
    qsort(hub->by_name, (size_t)hub->n, sizeof *hub->by_name, by_tensor_name);
    for (int64_t i = 1; i < hub->n; i++)
        if (by_tensor_name(&hub->by_name[i - 1], &hub->by_name[i]) == 0)
            return bad_place(hub, hub->by_name[i], "this tensor stands in two files");
    return MZ_OK;
}

static const place *find(const mz_hub *hub, const char *name)
{
    const mz_st_tensor key = {.name = name};
    const place wanted = {&key, 0}, *pointer = &wanted;
    const place **found = hub->n ? bsearch(&pointer, hub->by_name, (size_t)hub->n,
                                           sizeof *hub->by_name, by_tensor_name)
                                 : NULL;
    return found ? *found : NULL;
}

/* A file's name inside the folder, as it was asked for: paths are folder, slash, name. */
static const char *name_of(const mz_hub *hub, int64_t file)
{
    return mz_st_path(hub->files[file]) + strlen(hub->config_path) - strlen(CONFIG);
}

/* Opens each file that the map names, once. */
static mz_err open_shards(mz_hub *hub, json_t *map, const char *index)
{
    json_t *seen = json_object();
    mz_err err = seen ? MZ_OK : MZ_FAIL(MZ_ENOMEM, "no memory for a list of shards");
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const char *file = json_string_value(value);
        if (err != MZ_OK) break;
        if (!file || json_string_length(value) != strlen(file))
            err = bad_entry(index, name, "expected the name of a file");
        else if (!json_object_get(seen, file)) {
            err = open_file(hub, file, index);
            if (err == MZ_ECORRUPT && strcmp(mz_err_last()->file, index) == 0)
                mz_note_where(NULL, NULL, offset_of(index, name));
            if (err == MZ_OK && json_object_set_new(seen, file, json_true()) != 0)
                err = MZ_FAIL(MZ_ENOMEM, "no memory for a list of shards");
        }
    }
    json_decref(seen);
    return err;
}

/* Index and files must say the same: every tensor where the index puts it, and no other. */
static mz_err check_index(const mz_hub *hub, json_t *map, const char *index)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const place *p = find(hub, name);
        if (!p) return bad_entry(index, name, "no file has this tensor");
        if (strcmp(name_of(hub, p->file), json_string_value(value)) != 0)
            return bad_entry(index, name, "this tensor is in another file than named");
    }
    for (int64_t i = 0; i < hub->n; i++)
        if (!json_object_get(map, hub->list[i].tensor->name))
            return bad_place(hub, &hub->list[i], "a tensor that the index does not name");
    return MZ_OK;
}

static mz_err bad_map(const char *index)
{
    const char *const steps[1] = {"weight_map"};
    const mz_err err =
        bad(MZ_ECORRUPT, index, steps[0], "expected an object of tensor and file names");
    const int64_t at = mz_json_offset(index, steps, 1);
    mz_note_where(NULL, NULL, at < 0 ? 0 : at);
    return err;
}

static mz_err read_index(mz_hub *hub, const char *path)
{
    json_t *json = NULL;
    char real[MZ_INSIDE_BYTES];
    MZ_TRY(mz_inside(real, hub->folder, INDEX, hub->folder));
    MZ_TRY(mz_json_read(&json, path, INDEX_BYTES_MAX));
    json_t *map = json_object_get(json, "weight_map");
    mz_err err = MZ_OK;
    if (!json_is_object(map) || json_object_size(map) == 0) err = bad_map(path);
    if (err == MZ_OK) err = open_shards(hub, map, path);
    if (err == MZ_OK) err = list_tensors(hub);
    if (err == MZ_OK) err = check_index(hub, map, path);
    json_decref(json);
    return err;
}

static mz_err read_weights(mz_hub *hub)
{
    char path[MZ_INSIDE_BYTES];
    MZ_TRY(mz_path_join(path, sizeof path, hub->folder, SINGLE));
    if (mz_file_exists(path)) {
        MZ_TRY(open_file(hub, SINGLE, hub->folder));
        return list_tensors(hub);
    }
    MZ_TRY(mz_path_join(path, sizeof path, hub->folder, INDEX));
    if (mz_file_exists(path)) return read_index(hub, path);
    const mz_err err =
        bad(MZ_EIO, hub->folder, "", "no model.safetensors and no model.safetensors.index.json");
    mz_note_fix("Mizan reads safetensors; convert .bin or .pt weights first");
    return err;
}

mz_err mz_hub_open(mz_hub **hub, const char *folder)
{
    MZ_NEED(hub && folder, "no folder or no place for a hub");
    mz_hub *h = NULL;
    mz_err err = mz_mem_new(&h, 1, sizeof *h);
    if (err != MZ_OK) return err;
    MZ_TRY_GOTO(err, set_folder(h, folder), fail);
    MZ_TRY_GOTO(err, read_config(h), fail);
    MZ_TRY_GOTO(err, read_weights(h), fail);
    *hub = h;
    return MZ_OK;
fail:
    mz_hub_close(h);
    return err;
}

void mz_hub_close(mz_hub *hub)
{
    if (!hub) return;
    for (int64_t i = 0; i < hub->n_files; i++) mz_st_close(hub->files[i]);
    mz_mem_free(hub->files);
    mz_mem_free(hub->by_name);
    mz_mem_free(hub->list);
    json_decref(hub->config);
    mz_mem_free(hub->config_path);
    mz_mem_free(hub->folder);
    mz_mem_free(hub);
}

const char *mz_hub_folder(const mz_hub *hub)
{
    return hub->folder;
}

const char *mz_hub_config_path(const mz_hub *hub)
{
    return hub->config_path;
}

const json_t *mz_hub_config(const mz_hub *hub)
{
    return hub->config;
}

int64_t mz_hub_count(const mz_hub *hub)
{
    return hub->n;
}

const mz_st_tensor *mz_hub_at(const mz_hub *hub, int64_t i, const char **file)
{
    if (i < 0 || i >= hub->n) return NULL;
    if (file) *file = mz_st_path(hub->files[hub->list[i].file]);
    return hub->list[i].tensor;
}

const mz_st_tensor *mz_hub_find(const mz_hub *hub, const char *name)
{
    const place *p = find(hub, name);
    return p ? p->tensor : NULL;
}

const char *mz_hub_file_of(const mz_hub *hub, const mz_st_tensor *t)
{
    const place *p = find(hub, t->name);
    return p ? mz_st_path(hub->files[p->file]) : hub->folder;
}

mz_err mz_hub_intact(const mz_hub *hub)
{
    for (int64_t i = 0; i < hub->n_files; i++) MZ_TRY(mz_st_intact(hub->files[i]));
    return MZ_OK;
}
