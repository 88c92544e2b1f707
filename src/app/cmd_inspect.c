/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_inspect.c - `mizan inspect`: what is in a model folder or a weights file. Only headers
 * are read, never the weights. Floor: app. */
#include "app/commands.h"
#include "base/file.h"
#include "base/str.h"
#include "file/gguf.h"
#include "file/hub.h"
#include "model/config.h"
#include "port/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const mz_option OPTIONS[] = {{.name = "tensors", .help = "list every tensor"}, {0}};

enum {
    SHOWN_MOST = 64
}; /* elements of an array that metadata show; a longer one gives its length */

/* What is being looked at: a folder, a safetensors file or a GGUF. */
typedef struct subject {
    mz_hub *hub;
    mz_st_file *file;
    mz_gguf *gguf;
    mz_config config; /* of a folder or a GGUF */
    bool known;       /* whether its family is one of ours */
    char reason[512]; /* else why not */
} subject;

/* One tensor, of whichever format. */
typedef struct line {
    const char *name, *type, *file;
    int rank;
    const int64_t *dim;
    int64_t count;
    uint64_t offset, bytes;
} line;

static int64_t count(const subject *s)
{
    return s->hub ? mz_hub_count(s->hub) : s->gguf ? mz_gguf_count(s->gguf) : mz_st_count(s->file);
}

static line tensor_at(const subject *s, int64_t i)
{
    const char *file = s->gguf ? mz_gguf_path(s->gguf) : s->file ? mz_st_path(s->file) : NULL;
    if (s->gguf) {
        const mz_gguf_tensor *t = mz_gguf_at(s->gguf, i);
        return (line){t->name, mz_ggml_name(t->type), file, t->rank, t->dim, t->count, t->offset,
                      t->bytes};
    }
    const mz_st_tensor *t = s->hub ? mz_hub_at(s->hub, i, &file) : mz_st_at(s->file, i);
    return (line){t->name, mz_dtype_name(t->dtype), file, t->rank, t->dim, t->count, t->offset,
                  t->bytes};
}

/* A copy; "" if there is none. */
static const char *family_of(const subject *s, char out[64])
{
    const char *text = NULL;
    size_t n = 0;
    uint64_t at = 0;
    out[0] = '\0';
    if (s->hub) text = json_string_value(json_object_get(mz_hub_config(s->hub), "model_type"));
    if (text) n = strlen(text);
    if (s->gguf) {
        const mz_gguf_key *key = mz_gguf_key_find(s->gguf, "general.architecture");
        if (!key || !mz_gguf_text_next(key, &at, &text, &n)) n = 0;
    }
    if (n > 0) snprintf(out, 64, "%.*s", (int)(n < 63 ? n : 63), text);
    return out;
}

static const char *format_of(const subject *s)
{
    return s->hub ? "hf" : s->gguf ? "gguf" : "safetensors";
}

static void totals(const subject *s, int64_t *elements, uint64_t *bytes)
{
    *elements = 0, *bytes = 0;
    for (int64_t i = 0; i < count(s); i++) {
        const line t = tensor_at(s, i);
        *elements += t.count;
        *bytes += t.bytes;
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
    for (int64_t i = 0; i < count(s); i++) {
        const line t = tensor_at(s, i);
        printf("%-5s [", t.type);
        for (int k = 0; k < t.rank; k++) printf("%s%" PRId64, k ? ", " : "", t.dim[k]);
        printf("]  %s  (%s, byte %" PRIu64 ", %" PRIu64 " bytes)\n", t.name, last_part(t.file),
               t.offset, t.bytes);
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
    char text[32], family[64];
    int64_t elements;
    uint64_t bytes;
    totals(s, &elements, &bytes);
    printf("format:      %s\n", s->hub    ? "Hugging Face folder"
                                : s->gguf ? "GGUF file"
                                          : "safetensors file");
    if (!s->file)
        printf("family:      %s%s\n", family_of(s, family)[0] ? family : "?",
               s->known ? "" : " (Mizan cannot run it)");
    if (s->known)
        print_config(&s->config);
    else if (!s->file)
        printf("reason:      %s\n", s->reason);
    printf("parameters:  %" PRId64 " in %" PRId64 " tensors\n", elements, count(s));
    printf("data:        %s\n", mz_str_bytes(text, (double)bytes));
    if (s->gguf) printf("keys:        %" PRId64 "\n", mz_gguf_key_count(s->gguf));
    if (tensors) print_tensors(s);
    return MZ_OK;
}

/* ---- for programs ---- */

static json_t *tensor_json(const line *t)
{
    json_t *shape = json_array();
    for (int k = 0; shape && k < t->rank; k++)
        if (json_array_append_new(shape, json_integer(t->dim[k])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:s}", "name", t->name, "dtype", t->type, "shape",
                     shape, "offset", (json_int_t)t->offset, "bytes", (json_int_t)t->bytes, "file",
                     last_part(t->file));
}

static json_t *tensors_json(const subject *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < count(s); i++) {
        const line t = tensor_at(s, i);
        if (json_array_append_new(list, tensor_json(&t)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Element i of a key that holds no texts. */
static json_t *number_json(const mz_gguf_key *key, uint64_t i)
{
    int64_t n = 0;
    double x = 0.0;
    if (key->type == MZ_GGUF_BOOL) return json_boolean(key->data[i] != 0);
    if (mz_gguf_int(key, i, &n)) return json_integer(n);
    return mz_gguf_real(key, i, &x) ? mz_json_number(x) : json_null(); /* a u64 past 2^63 */
}

static json_t *key_json(const mz_gguf_key *key)
{
    const char *text = NULL;
    size_t bytes = 0;
    uint64_t at = 0;
    if (!key->is_array && mz_gguf_text_next(key, &at, &text, &bytes))
        return json_stringn(text, bytes);
    if (!key->is_array) return number_json(key, 0);
    if (key->count > SHOWN_MOST)
        return json_pack("{s:s, s:I}", "array", mz_gguf_type_name(key->type), "length",
                         (json_int_t)key->count);
    json_t *list = json_array();
    for (uint64_t i = 0; list && i < key->count; i++) {
        json_t *one = mz_gguf_text_next(key, &at, &text, &bytes) ? json_stringn(text, bytes)
                                                                 : number_json(key, i);
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *metadata_json(const subject *s)
{
    json_t *o = json_object();
    int bad = 0;
    for (int64_t i = 0; o && s->gguf && i < mz_gguf_key_count(s->gguf); i++) {
        const mz_gguf_key *key = mz_gguf_key_at(s->gguf, i);
        bad |= json_object_set_new(o, key->name, key_json(key));
    }
    for (int64_t i = 0; o && s->file && i < mz_st_meta_count(s->file); i++) {
        const char *key, *value;
        mz_st_meta_at(s->file, i, &key, &value);
        bad |= json_object_set_new(o, key, json_string(value));
    }
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

static mz_err print_json(const subject *s)
{
    int64_t elements;
    uint64_t bytes;
    totals(s, &elements, &bytes);
    json_t *o = mz_cli_document();
    char family[64];
    family_of(s, family);
    int bad = json_object_set_new(o, "format", json_string(format_of(s)));
    bad |= json_object_set_new(o, "family", family[0] ? json_string(family) : json_null());
    bad |= json_object_set_new(o, "parameters", json_integer(elements));
    bad |= json_object_set_new(o, "bytes", json_integer((json_int_t)bytes));
    bad |= json_object_set_new(o, "tensors", tensors_json(s));
    bad |= json_object_set_new(o, "metadata", metadata_json(s));
    if (s->hub) bad |= json_object_set_new(o, "config", json_deep_copy(mz_hub_config(s->hub)));
    if (!s->file) {
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

static mz_err open_subject(subject *s, const char *path)
{
    mz_err err = MZ_OK;
    if (mz_file_is_dir(path)) {
        MZ_TRY(mz_hub_open(&s->hub, path));
        err = mz_config_from_json(&s->config, mz_hub_config(s->hub), mz_hub_config_path(s->hub));
    } else if (mz_gguf_is(path)) {
        MZ_TRY(mz_gguf_open(&s->gguf, path));
        err = mz_gguf_to_config(&s->config, s->gguf);
    } else
        return mz_st_open(&s->file, path);
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
    mz_gguf_close(s.gguf);
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
    .description = "PATH is a Hugging Face folder, a .safetensors file or a GGUF file. Only "
                   "headers are read.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan inspect model.gguf --tensors",
    .run = run,
};
