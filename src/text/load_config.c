/* SPDX-License-Identifier: Apache-2.0 */
/* text/load_config.c - which tokens begin and end a text. DeepSeek's tokenizer.json does not say;
 * tokenizer_config.json beside it does (bos_token, add_bos_token). Floor: text. */
#include "base/file.h"
#include "base/mem.h"
#include "text/load.h"

#include <string.h>

enum { PATH_BYTES = 4096, EOS_MAX = 64 };

static const size_t CONFIG_MAX = (size_t)16 << 20;

/* For a file that stands alone. */
static const char *const BOS_NAMES[] = {"<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>"};
static const char *const EOS_NAMES[] = {"<｜end▁of▁sentence｜>", "<|eot_id|>",
                                        "<|end_of_text|>",       "<|im_end|>",
                                        "<|endoftext|>",         "</s>"};

/* The file `name` beside tokenizer.json; *out stays NULL if there is none. */
static mz_err read_beside(const mz_load *load, const char *name, json_t **out)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    const char *slash = strrchr(load->path, '/');
    const size_t n = slash ? (size_t)(slash - load->path) : 1;
    if (n + 1 > sizeof folder) return MZ_OK;
    memcpy(folder, slash ? load->path : ".", n);
    folder[n] = '\0';
    MZ_TRY(mz_path_join(path, sizeof path, n > 0 ? folder : "/", name));
    return mz_file_exists(path) ? mz_json_read(out, path, CONFIG_MAX) : MZ_OK;
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
    MZ_TRY(mz_mem_new(&load->eos, EOS_MAX, sizeof *load->eos));
    load->vocab.eos = load->eos;
    from_template(load, json_object_get(load->rules, "post_processor"));
    mz_err err = read_beside(load, "tokenizer_config.json", &config);
    if (err == MZ_OK) err = read_beside(load, "generation_config.json", &generation);
    if (err == MZ_OK) {
        if (config) from_tokenizer_config(load, config);
        if (generation) from_generation_config(load, generation);
        if (!config && !generation) from_names(load);
    }
    json_decref(config);
    json_decref(generation);
    return err;
}
