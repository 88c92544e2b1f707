/* SPDX-License-Identifier: Apache-2.0 */
/* port/generation.c - see generation.h. Floor: port. */
#include "port/generation.h"

#include "base/file.h"
#include "base/inside.h"
#include "base/json.h"
#include "model/fields.h"

#include <limits.h>

static const size_t FILE_MAX = (size_t)16 << 20;

static void add_end(mz_generation *g, int64_t id)
{
    if (id < 0 || g->n_ends == MZ_GENERATION_ENDS || mz_generation_is_end(g, id)) return;
    g->ends[g->n_ends++] = id;
}

bool mz_generation_is_end(const mz_generation *g, int64_t id)
{
    for (int64_t i = 0; i < g->n_ends; i++)
        if (g->ends[i] == id) return true;
    return false;
}

/* An id or a list of ids; whether the key was there at all. */
static bool read_ends(mz_generation *g, const json_t *o)
{
    const json_t *value = json_object_get(o, "eos_token_id");
    if (json_is_integer(value)) add_end(g, (int64_t)json_integer_value(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        add_end(g, (int64_t)json_integer_value(json_array_get(value, i)));
    return value && !json_is_null(value);
}

static mz_err read_sampling(mz_generation *g, const mz_fields *f)
{
    MZ_TRY(mz_field_bool(f, "do_sample", false, &g->samples));
    MZ_TRY(mz_field_real(f, "temperature", 1.0, 0.0, 100.0, &g->temperature));
    MZ_TRY(mz_field_real(f, "top_p", 1.0, 0.0, 1.0, &g->top_p));
    MZ_TRY(mz_field_real(f, "min_p", 0.0, 0.0, 1.0, &g->min_p));
    MZ_TRY(mz_field_real(f, "repetition_penalty", 1.0, 0.01, 100.0, &g->repeat_penalty));
    MZ_TRY(mz_field_int(f, "top_k", 0, -1, INT32_MAX, &g->top_k));
    if (g->top_k < 0) g->top_k = 0; /* off, as some have it */
    MZ_TRY(mz_field_int(f, "bos_token_id", g->bos, -1, INT32_MAX, &g->bos));
    return mz_field_int(f, "pad_token_id", g->pad, -1, INT32_MAX, &g->pad);
}

static mz_err read_folder(mz_generation *g, const mz_hub *hub)
{
    char path[PATH_MAX];
    json_t *o = NULL;
    mz_err err = MZ_OK;
    bool says_ends = false;
    MZ_TRY(mz_path_join(path, sizeof path, mz_hub_folder(hub), "generation_config.json"));
    if (mz_file_exists(path)) {
        MZ_TRY(mz_inside_check(mz_hub_folder(hub), "generation_config.json"));
        MZ_TRY(mz_json_read(&o, path, FILE_MAX));
        const mz_fields f = {o, path, ""};
        err = json_is_object(o) ? read_sampling(g, &f)
                                : MZ_FAIL(MZ_ECORRUPT, "%s is no JSON object", path);
        if (err == MZ_OK) says_ends = read_ends(g, o);
        if (err != MZ_OK) mz_note_where(path, NULL, -1);
        json_decref(o);
    }
    if (err == MZ_OK && !says_ends) (void)read_ends(g, mz_hub_config(hub));
    return err;
}

/* llama.cpp takes any of these keys for the end of a text. */
static void read_gguf(mz_generation *g, const mz_gguf *file)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id",
                                       "tokenizer.ggml.eog_token_id"};
    for (int i = 0; i < MZ_COUNT(keys); i++) {
        const mz_gguf_key *key = mz_gguf_key_find(file, keys[i]);
        int64_t id;
        if (key && !key->is_array && mz_gguf_int(key, 0, &id)) add_end(g, id);
    }
}

static const mz_generation PLAIN = {
    .bos = -1, .pad = -1, .temperature = 1.0, .top_p = 1.0, .repeat_penalty = 1.0};

void mz_generation_of_gguf(mz_generation *g, const mz_gguf *file)
{
    *g = PLAIN;
    read_gguf(g, file);
}

mz_err mz_generation_read(mz_generation *g, const mz_source *s)
{
    MZ_NEED(g && s, "no source, or no place");
    const mz_config *c = mz_source_config(s);
    mz_generation read = PLAIN;
    read.bos = c->bos;
    read.pad = c->pad;
    if (mz_source_hub(s)) MZ_TRY(read_folder(&read, mz_source_hub(s)));
    if (mz_source_gguf(s)) read_gguf(&read, mz_source_gguf(s));
    if (read.n_ends == 0) add_end(&read, c->eos); /* a family's usual one */
    *g = read;
    return MZ_OK;
}

/* ---- the other way ---- */

static int put_ends(json_t *o, const mz_generation *g)
{
    if (g->n_ends == 1) return json_object_set_new(o, "eos_token_id", json_integer(g->ends[0]));
    json_t *list = json_array();
    int bad = list ? 0 : 1;
    for (int64_t i = 0; i < g->n_ends; i++)
        bad |= json_array_append_new(list, json_integer(g->ends[i]));
    if (g->n_ends > 0) return bad | json_object_set_new(o, "eos_token_id", list);
    json_decref(list);
    return bad;
}

static int put_sampling(json_t *o, const mz_generation *g)
{
    int bad = json_object_set_new(o, "do_sample", json_true());
    bad |= json_object_set_new(o, "temperature", json_real(g->temperature));
    bad |= json_object_set_new(o, "top_p", json_real(g->top_p));
    if (g->top_k > 0) bad |= json_object_set_new(o, "top_k", json_integer(g->top_k));
    if (g->min_p > 0.0) bad |= json_object_set_new(o, "min_p", json_real(g->min_p));
    if (g->repeat_penalty < 1.0 || g->repeat_penalty > 1.0)
        bad |= json_object_set_new(o, "repetition_penalty", json_real(g->repeat_penalty));
    return bad;
}

mz_err mz_generation_write(const mz_generation *g, const char *folder)
{
    MZ_NEED(g && folder, "nothing to write, or nowhere");
    char path[PATH_MAX];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "generation_config.json"));
    json_t *o = json_object();
    int bad = o ? put_ends(o, g) : 1;
    if (o && g->bos >= 0) bad |= json_object_set_new(o, "bos_token_id", json_integer(g->bos));
    if (o && g->pad >= 0) bad |= json_object_set_new(o, "pad_token_id", json_integer(g->pad));
    if (o && g->samples) bad |= put_sampling(o, g);
    const mz_err err = bad ? MZ_FAIL(MZ_ENOMEM, "no memory for %s", path) : mz_json_write(o, path);
    json_decref(o);
    return err;
}
