/* SPDX-License-Identifier: Apache-2.0 */
/* train/extras.c - see extras.h. */
#include "train/extras.h"

#include "base/file.h"
#include "base/inside.h"
#include "base/mem.h"
#include "base/str.h"
#include "port/words.h"
#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>

enum { EXTRA_MAX = 256 << 20 };

const char *const mz_extras[MZ_EXTRAS] = {"tokenizer.json",      "tokenizer_config.json",
                                          "vocab.json",          "merges.txt",
                                          "chat_template.jinja", "special_tokens_map.json",
                                          "added_tokens.json",   "generation_config.json"};

/* The folder that a tokenizer lies in; "" where it lies in none. */
static void folder_with(char out[MZ_CHECKPOINT_PATH], const char *from)
{
    static const char name[] = "tokenizer.json";
    const size_t n = from ? strlen(from) : 0;
    out[0] = '\0';
    if (n == 0 || n >= MZ_CHECKPOINT_PATH - 2) return;
    if (mz_file_is_dir(from)) {
        memcpy(out, from, n + 1);
    } else if (mz_str_ends(from, name)) {
        (void)snprintf(out, MZ_CHECKPOINT_PATH, "./%.*s", (int)(n - (sizeof name - 1)), from);
        if (from[0] == '/') memmove(out, out + 2, strlen(out + 2) + 1);
    }
}

static bool is_gguf(const char *from)
{
    return from && from[0] && !mz_file_is_dir(from) && mz_gguf_is(from);
}

bool mz_extras_has(const char *tokenizer)
{
    char folder[MZ_CHECKPOINT_PATH], path[MZ_CHECKPOINT_PATH];
    folder_with(folder, tokenizer);
    if (!folder[0]) return is_gguf(tokenizer);
    return mz_path_join(path, sizeof path, folder, mz_extras[0]) == MZ_OK && mz_file_exists(path);
}

const char *mz_extras_of(const mz_train_config *c)
{
    const char *model = c->model_path[0] ? c->model_path : c->model_config;
    if (c->data_tokenizer[0]) return c->data_tokenizer;
    return !mz_extras_has(model) && mz_extras_has(c->data_path) ? c->data_path : model;
}

static mz_err write_gguf(const char *from, const char *folder, int64_t positions)
{
    mz_gguf *file = NULL;
    mz_words words = {0};
    MZ_TRY(mz_gguf_open(&file, from));
    mz_err err = mz_words_of_gguf(&words, file);
    if (err == MZ_OK && words.vocab) err = mz_words_to_folder(&words, folder, positions);
    mz_words_clear(&words);
    mz_gguf_close(file);
    return err;
}

static mz_err copy(const char *from, const char *folder, const char *name)
{
    char path[MZ_CHECKPOINT_PATH];
    char *text = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_path_join(path, sizeof path, from, name));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_inside_check(from, name));
    MZ_TRY(mz_file_read(path, EXTRA_MAX, &text, &bytes));
    mz_err err = mz_path_join(path, sizeof path, folder, name);
    if (err == MZ_OK) err = mz_file_write(path, text, bytes);
    mz_mem_free(text);
    return err;
}

mz_err mz_extras_copy(const char *tokenizer, const char *folder, int64_t positions,
                      bool has[MZ_EXTRAS])
{
    char from[MZ_CHECKPOINT_PATH], path[MZ_CHECKPOINT_PATH];
    folder_with(from, tokenizer);
    if (is_gguf(tokenizer)) MZ_TRY(write_gguf(tokenizer, folder, positions));
    for (int i = 0; i < MZ_EXTRAS; i++) {
        if (from[0]) MZ_TRY(copy(from, folder, mz_extras[i]));
        MZ_TRY(mz_path_join(path, sizeof path, folder, mz_extras[i]));
        has[i] = mz_file_exists(path);
    }
    return MZ_OK;
}
