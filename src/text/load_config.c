/* SPDX-License-Identifier: Apache-2.0 */
/* text/load_config.c - which tokens begin and end a text. DeepSeek's tokenizer.json does not say;
 * tokenizer_config.json beside it does (bos_token, add_bos_token). Floor: text. */
#include "base/file.h"
#include "base/inside.h"
#include "base/mem.h"
#include "text/load.h"

#include <string.h>

enum { PATH_BYTES = MZ_INSIDE_BYTES, EOS_MAX = 64 };

static const size_t CONFIG_MAX = (size_t)16 << 20;

/* For a file that stands alone. */
static const char *const BOS_NAMES[] = {"<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>"};
static const char *const EOS_NAMES[] = {"<｜end▁of▁sentence｜>", "<|eot_id|>",
                                        "<|end_of_text|>",       "<|im_end|>",
                                        "<|endoftext|>",         "</s>"};

static mz_err bad(const char *path, const char *field, const char *want)
{
    const mz_err err =
        MZ_FAIL(MZ_ECORRUPT, "%s: %s%sexpected %s", path, field, field[0] ? ": " : "", want);
    mz_note_where(path, field, field[0] ? mz_json_offset(path, &field, 1) : 0);
    return err;
}

/* The file `name` beside tokenizer.json; *out stays NULL if there is none. */
static mz_err read_beside(const mz_load *load, const char *name, char path[PATH_BYTES],
                          json_t **out)
{
    char folder[PATH_BYTES];
    path[0] = '\0';
    const char *slash = strrchr(load->path, '/');
    const size_t n = slash ? (size_t)(slash - load->path) : 1;
    if (n + 1 > sizeof folder) return MZ_OK;
    memcpy(folder, slash ? load->path : ".", n);
    folder[n] = '\0';
    MZ_TRY(mz_path_join(path, PATH_BYTES, n > 0 ? folder : "/", name));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_inside(path, n > 0 ? folder : "/", name, load->path));
    MZ_TRY(mz_json_read(out, path, CONFIG_MAX));
    return json_is_object(*out) ? MZ_OK : bad(path, "", "a JSON object");
}

/* "text" or {"content": "text"}; NULL otherwise. */
static const char *token_text(const json_t *o)
{
    return json_string_value(json_is_object(o) ? json_object_get(o, "content") : o);
}

static void add_eos(mz_load *load, int64_t id)
{
    if (id < 0 || load->vocab.n_eos == EOS_MAX) return;
    for (int64_t i = 0; i < load->vocab.n_eos; i++)
        if (load->eos[i] == id) return;
    load->eos[load->vocab.n_eos++] = id;
}

static bool is_absent(const json_t *value)
{
    return !value || json_is_null(value);
}

static mz_err check_tokenizer_config(const json_t *config, const char *path)
{
    static const char *const tokens[] = {"bos_token", "eos_token"};
    for (int i = 0; i < MZ_COUNT(tokens); i++) {
        const json_t *value = json_object_get(config, tokens[i]);
        if (!is_absent(value) && !token_text(value))
            return bad(path, tokens[i], "a token's text, or an object with its content");
    }
    const json_t *add = json_object_get(config, "add_bos_token");
    return is_absent(add) || json_is_boolean(add) ? MZ_OK
                                                  : bad(path, "add_bos_token", "true or false");
}

static mz_err check_generation_config(const json_t *config, const char *path)
{
    static const char *const ids[] = {"bos_token_id", "eos_token_id"};
    for (int i = 0; i < MZ_COUNT(ids); i++) {
        const json_t *value = json_object_get(config, ids[i]);
        bool good = is_absent(value) || json_is_integer(value) || (i == 1 && json_is_array(value));
        for (size_t k = 0; k < json_array_size(value); k++)
            good = good && json_is_integer(json_array_get(value, k));
        if (!good) return bad(path, ids[i], i == 0 ? "an id" : "an id or a list of ids");
    }
    return MZ_OK;
}

static void from_tokenizer_config(mz_load *load, const json_t *config)
{
    const char *bos = token_text(json_object_get(config, "bos_token"));
    const char *eos = token_text(json_object_get(config, "eos_token"));
    const json_t *add = json_object_get(config, "add_bos_token");
    if (bos) load->vocab.bos = mz_load_id(load, bos);
    if (eos) add_eos(load, mz_load_id(load, eos));
    if (json_is_boolean(add)) load->vocab.add_bos = json_is_true(add);
}

static void from_generation_config(mz_load *load, const json_t *config)
{
    const json_t *bos = json_object_get(config, "bos_token_id");
    const json_t *eos = json_object_get(config, "eos_token_id");
    if (load->vocab.bos < 0 && json_is_integer(bos)) load->vocab.bos = json_integer_value(bos);
    if (json_is_integer(eos)) add_eos(load, json_integer_value(eos));
    for (size_t i = 0; i < json_array_size(eos); i++)
        if (json_is_integer(json_array_get(eos, i)))
            add_eos(load, json_integer_value(json_array_get(eos, i)));
}

/* TemplateProcessing whose text begins with a special token. */
static void from_template(mz_load *load, const json_t *o)
{
    const json_t *list = json_object_get(o, "processors");
    for (size_t i = 0; i < json_array_size(list); i++) from_template(load, json_array_get(list, i));
    const json_t *first = json_array_get(json_object_get(o, "single"), 0);
    const char *name =
        json_string_value(json_object_get(json_object_get(first, "SpecialToken"), "id"));
    const int64_t id = name ? mz_load_id(load, name) : -1;
    if (id < 0) return;
    load->vocab.bos = id;
    load->vocab.add_bos = true;
}

static void from_names(mz_load *load)
{
    for (int i = 0; i < MZ_COUNT(BOS_NAMES) && load->vocab.bos < 0; i++)
        load->vocab.bos = mz_load_id(load, BOS_NAMES[i]);
    for (int i = 0; i < MZ_COUNT(EOS_NAMES) && load->vocab.n_eos == 0; i++)
        add_eos(load, mz_load_id(load, EOS_NAMES[i]));
}

mz_err mz_load_special(mz_load *load)
{
    json_t *config = NULL, *generation = NULL;
    char path[PATH_BYTES];
    MZ_TRY(mz_mem_new(&load->eos, EOS_MAX, sizeof *load->eos));
    load->vocab.eos = load->eos;
    from_template(load, json_object_get(load->rules, "post_processor"));
    mz_err err = read_beside(load, "tokenizer_config.json", path, &config);
    if (err == MZ_OK && config) err = check_tokenizer_config(config, path);
    if (err == MZ_OK) err = read_beside(load, "generation_config.json", path, &generation);
    if (err == MZ_OK && generation) err = check_generation_config(generation, path);
    if (err == MZ_OK) {
        if (config) from_tokenizer_config(load, config);
        if (generation) from_generation_config(load, generation);
        if (!config && !generation) from_names(load);
    }
    json_decref(config);
    json_decref(generation);
    return err;
}
