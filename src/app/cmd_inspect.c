/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_inspect.c - `mizan inspect`: what is in a model folder or a weights file. Only headers
 * are read, never the weights. Floor: app. */
#include "app/commands.h"
#include "base/file.h"
#include "base/str.h"
#include "file/hub.h"
#include "model/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const mz_option OPTIONS[] = {{.name = "tensors", .help = "list every tensor"}, {0}};

/* What is being looked at: a folder or one file. */
typedef struct subject {
    mz_hub *hub;
    mz_st_file *file;
    mz_config config; /* of a folder */
    bool known;       /* whether its family is one of ours */
    char reason[512]; /* else why not */
} subject;

static int64_t count(const subject *s)
{
    return s->hub ? mz_hub_count(s->hub) : mz_st_count(s->file);
}

static const mz_st_tensor *tensor_at(const subject *s, int64_t i, const char **file)
{
    if (s->hub) return mz_hub_at(s->hub, i, file);
    *file = mz_st_path(s->file);
    return mz_st_at(s->file, i);
}

static const char *family_of(const subject *s)
{
    return s->hub ? json_string_value(json_object_get(mz_hub_config(s->hub), "model_type")) : NULL;
}

static void totals(const subject *s, int64_t *elements, uint64_t *bytes)
{
    const char *file;
    *elements = 0, *bytes = 0;
    for (int64_t i = 0; i < count(s); i++) {
        const mz_st_tensor *t = tensor_at(s, i, &file);
        *elements += t->count;
        *bytes += t->bytes;
    }
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- for people ---- */

static void print_tensors(const subject *s)
{
    const char *file;
    for (int64_t i = 0; i < count(s); i++) {
        const mz_st_tensor *t = tensor_at(s, i, &file);
        printf("%-5s [", mz_dtype_name(t->dtype));
        for (int k = 0; k < t->rank; k++) printf("%s%" PRId64, k ? ", " : "", t->dim[k]);
        printf("]  %s  (%s, byte %" PRIu64 ", %" PRIu64 " bytes)\n", t->name, last_part(file),
               t->offset, t->bytes);
    }
}

static void print_config(const mz_config *c)
{
    printf("layers:      %" PRId64 " of width %" PRId64 ", %" PRId64 " heads of %" PRId64,
           c->layers, c->width, c->heads, c->head_dim);
    if (c->mla)
        printf(", latent %" PRId64 "\n", c->kv_rank);
    else
        printf(", %" PRId64 " key/value heads\n", c->kv_heads);
    if (c->moe.experts > 0)
        printf("experts:     %" PRId64 " of width %" PRId64 ", %" PRId64 " a token, %" PRId64
               " shared, from layer %" PRId64 "\n",
               c->moe.experts, c->moe.width, c->moe.top_k, c->moe.shared, c->moe.first_dense);
    printf("vocabulary:  %" PRId64 "%s\n", c->vocab, c->tied ? ", tied" : "");
    printf("positions:   %" PRId64 "\n", c->max_position);
    if (c->mtp_layers > 0) printf("mtp:         %" PRId64 " layer(s) announced\n", c->mtp_layers);
}

static mz_err print_text(const subject *s, bool tensors)
{
    char text[32];
    int64_t elements;
    uint64_t bytes;
    totals(s, &elements, &bytes);
    printf("format:      %s\n", s->hub ? "Hugging Face folder" : "safetensors file");
    if (s->hub)
        printf("family:      %s%s\n", family_of(s) ? family_of(s) : "?",
               s->known ? "" : " (Mizan cannot run it)");
    if (s->known)
        print_config(&s->config);
    else if (s->hub)
        printf("reason:      %s\n", s->reason);
    printf("parameters:  %" PRId64 " in %" PRId64 " tensors\n", elements, count(s));
    printf("data:        %s\n", mz_str_bytes(text, (double)bytes));
    if (tensors) print_tensors(s);
    return MZ_OK;
}

/* ---- for programs ---- */

static json_t *tensor_json(const mz_st_tensor *t, const char *file)
{
    json_t *shape = json_array();
    for (int k = 0; shape && k < t->rank; k++)
        if (json_array_append_new(shape, json_integer(t->dim[k])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:s}", "name", t->name, "dtype",
                     mz_dtype_name(t->dtype), "shape", shape, "offset", (json_int_t)t->offset,
                     "bytes", (json_int_t)t->bytes, "file", last_part(file));
}

static json_t *tensors_json(const subject *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < count(s); i++) {
        const char *file;
        const mz_st_tensor *t = tensor_at(s, i, &file);
        if (json_array_append_new(list, tensor_json(t, file)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *metadata_json(const subject *s)
{
    json_t *o = json_object();
    for (int64_t i = 0; o && s->file && i < mz_st_meta_count(s->file); i++) {
        const char *key, *value;
        mz_st_meta_at(s->file, i, &key, &value);
        if (json_object_set_new(o, key, json_string(value)) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static mz_err print_json(const subject *s)
{
    int64_t elements;
    uint64_t bytes;
    totals(s, &elements, &bytes);
    json_t *o = mz_cli_document();
    const char *family = family_of(s);
    int bad = json_object_set_new(o, "format", json_string(s->hub ? "hf" : "safetensors"));
    bad |= json_object_set_new(o, "family", family ? json_string(family) : json_null());
    bad |= json_object_set_new(o, "parameters", json_integer(elements));
    bad |= json_object_set_new(o, "bytes", json_integer((json_int_t)bytes));
    bad |= json_object_set_new(o, "tensors", tensors_json(s));
    bad |= json_object_set_new(o, "metadata", metadata_json(s));
    if (s->hub) {
        bad |= json_object_set_new(o, "config", json_deep_copy(mz_hub_config(s->hub)));
        bad |= json_object_set_new(o, "runs", json_boolean(s->known));
        bad |= json_object_set_new(o, "reason", s->known ? json_null() : json_string(s->reason));
    }
    if (bad != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    return mz_cli_print(o);
}

/* ---- */

static mz_err refuse_gguf(const char *path)
{
    mz_map map = {0};
    MZ_TRY(mz_map_open(&map, path));
    const bool is_gguf = map.bytes >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    mz_map_close(&map);
    if (!is_gguf) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "%s is a GGUF file, which Mizan does not read yet", path);
    mz_note_where(path, "", 0);
    return err;
}

static mz_err open_subject(subject *s, const char *path)
{
    if (!mz_file_is_dir(path)) {
        MZ_TRY(refuse_gguf(path));
        return mz_st_open(&s->file, path);
    }
    MZ_TRY(mz_hub_open(&s->hub, path));
    const mz_err err =
        mz_config_from_json(&s->config, mz_hub_config(s->hub), mz_hub_config_path(s->hub));
    if (err == MZ_ENOMEM) return err;
    s->known = err == MZ_OK;
    if (!s->known) snprintf(s->reason, sizeof s->reason, "%s", mz_err_last()->message);
    return MZ_OK;
}

static mz_err run(const mz_cli *cli)
{
    subject s = {0};
    mz_err err = open_subject(&s, mz_cli_argument(cli, 0));
    if (err == MZ_OK)
        err =
            mz_cli_flag(cli, "json") ? print_json(&s) : print_text(&s, mz_cli_flag(cli, "tensors"));
    mz_st_close(s.file);
    mz_hub_close(s.hub);
    return err;
}

const mz_command mz_cmd_inspect = {
    .name = "inspect",
    .arguments = "PATH",
    .least = 1,
    .most = 1,
    .summary = "show what is in a model folder or a weights file",
    .description = "PATH is a Hugging Face folder or a .safetensors file. Only headers are read.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .run = run,
};
