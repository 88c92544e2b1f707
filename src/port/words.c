/* SPDX-License-Identifier: Apache-2.0 */
/* port/words.c - see words.h. Source: ggml, docs/gguf.md; transformers' tokenizer files.
 * Floor: port. */
#include "port/words.h"

#include "base/file.h"
#include "base/inside.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

static const size_t CONFIG_MAX = (size_t)16 << 20;

/* ---- reading ---- */

static int64_t id_of(const mz_vocab *v, const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    for (int64_t i = 0; text && i < v->n_added; i++)
        if (v->added[i].bytes == n && memcmp(v->added[i].text, text, n) == 0) return v->added[i].id;
    for (int64_t i = 0; text && i < v->n_tokens; i++)
        if (v->tokens[i].bytes == n && memcmp(v->tokens[i].text, text, n) == 0)
            return v->tokens[i].id;
    return -1;
}

/* "text" or {"content": "text"}. */
static int64_t token_in(const mz_vocab *v, const json_t *config, const char *key)
{
    const json_t *o = json_object_get(config, key);
    return id_of(v, json_string_value(json_is_object(o) ? json_object_get(o, "content") : o));
}

/* A text, or a list of {"name", "template"} of which "default" is the usual one. */
static mz_err read_chat(mz_words *w, const json_t *config)
{
    const json_t *value = json_object_get(config, "chat_template");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && strcmp(name, "default") == 0) {
            value = json_object_get(one, "template");
            break;
        }
    }
    if (!json_is_string(value)) return MZ_OK;
    return mz_str_add(&w->chat, json_string_value(value), json_string_length(value));
}

static mz_err read_chat_file(mz_words *w, const char *folder)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_path_join(path, sizeof path, folder, "chat_template.jinja"));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_inside_check(folder, "chat_template.jinja"));
    MZ_TRY(mz_file_read(path, CONFIG_MAX, &text, &bytes));
    const mz_err err = mz_str_add(&w->chat, text, bytes);
    mz_mem_free(text);
    return err;
}

static mz_err read_folder(mz_words *w, const char *folder)
{
    char path[PATH_MAX];
    json_t *config = NULL;
    mz_err err = MZ_OK;
    MZ_TRY(mz_path_join(path, sizeof path, folder, "tokenizer.json"));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_vocab_open(&w->file, folder));
    w->vocab = mz_vocab_of(w->file);
    MZ_TRY(read_chat_file(w, folder));
    MZ_TRY(mz_path_join(path, sizeof path, folder, "tokenizer_config.json"));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_json_read(&config, path, CONFIG_MAX));
    w->eos = token_in(w->vocab, config, "eos_token");
    w->pad = token_in(w->vocab, config, "pad_token");
    if (w->chat.len == 0) err = read_chat(w, config);
    json_decref(config);
    return err;
}

static mz_err read_gguf(mz_words *w, const mz_gguf *file)
{
    const mz_gguf_key *key = mz_gguf_key_find(file, "tokenizer.chat_template");
    const mz_gguf_key *pad = mz_gguf_key_find(file, "tokenizer.ggml.padding_token_id");
    const char *text = NULL;
    size_t n = 0;
    uint64_t at = 0;
    if (!mz_gguf_key_find(file, "tokenizer.ggml.tokens")) return MZ_OK;
    MZ_TRY(mz_gguf_vocab_open(&w->gguf, file));
    w->vocab = mz_gguf_vocab_of(w->gguf);
    if (w->vocab->n_eos > 0) w->eos = w->vocab->eos[0];
    if (pad && (pad->is_array || !mz_gguf_int(pad, 0, &w->pad))) w->pad = -1;
    if (!key || key->is_array || !mz_gguf_text_next(key, &at, &text, &n)) return MZ_OK;
    return mz_str_add(&w->chat, text, n);
}

static void add_end(mz_generation *g, int64_t id)
{
    if (id < 0 || mz_generation_is_end(g, id) || g->n_ends == MZ_GENERATION_ENDS) return;
    g->ends[g->n_ends++] = id;
}

/* What the generation's settings take from the tokenizer, and it from them. */
static mz_err settle(mz_words *w, mz_err err)
{
    if (err != MZ_OK) {
        mz_words_clear(w);
        return err;
    }
    if (!w->vocab) return MZ_OK;
    for (int64_t i = 0; i < w->vocab->n_eos; i++) add_end(&w->generation, w->vocab->eos[i]);
    if (w->eos < 0 && w->generation.n_ends > 0) w->eos = w->generation.ends[0];
    if (w->pad < 0) w->pad = w->generation.pad;
    return MZ_OK;
}

mz_err mz_words_read(mz_words *w, const mz_source *s)
{
    MZ_NEED(w && s, "no source, or no place for its words");
    w->eos = w->pad = -1;
    mz_err err = mz_generation_read(&w->generation, s);
    if (err == MZ_OK)
        err =
            mz_source_hub(s) ? read_folder(w, mz_source_path(s)) : read_gguf(w, mz_source_gguf(s));
    return settle(w, err);
}

mz_err mz_words_of_gguf(mz_words *w, const mz_gguf *file)
{
    MZ_NEED(w && file, "no file, or no place for its words");
    w->eos = w->pad = -1;
    mz_generation_of_gguf(&w->generation, file);
    return settle(w, read_gguf(w, file));
}

void mz_words_clear(mz_words *w)
{
    mz_str_clear(&w->chat);
    mz_vocab_close(w->file);
    mz_gguf_vocab_close(w->gguf);
    *w = (mz_words){.eos = -1, .pad = -1};
}

/* ---- into a GGUF ---- */

typedef struct table { /* rows of tokenizer.ggml.tokens */
    const char **text;
    size_t *bytes;
    int32_t *type;
    char (*empty)[24]; /* names of rows without a token */
    int64_t rows;
} table;

static void clear_table(table *t)
{
    mz_mem_free(t->text);
    mz_mem_free(t->bytes);
    mz_mem_free(t->type);
    mz_mem_free(t->empty);
}

static mz_err put_row(table *t, const mz_vocab *v, int64_t id, const char *text, size_t bytes)
{
    if (id < 0 || id >= t->rows) {
        const mz_err err = MZ_FAIL(MZ_ECONFIG, "token %lld of %s, and the model has %lld rows",
                                   (long long)id, v->file, (long long)t->rows);
        mz_note_where(v->file, "vocab_size", -1);
        return err;
    }
    t->text[id] = text;
    t->bytes[id] = bytes;
    return MZ_OK;
}

static mz_err fill_table(table *t, const mz_vocab *v)
{
    MZ_TRY(mz_mem_new(&t->text, t->rows, sizeof *t->text));
    MZ_TRY(mz_mem_new(&t->bytes, t->rows, sizeof *t->bytes));
    MZ_TRY(mz_mem_new(&t->type, t->rows, sizeof *t->type));
    MZ_TRY(mz_mem_new(&t->empty, t->rows, sizeof *t->empty));
    for (int64_t i = 0; i < v->n_tokens; i++) {
        MZ_TRY(put_row(t, v, v->tokens[i].id, v->tokens[i].text, v->tokens[i].bytes));
        t->type[v->tokens[i].id] = NORMAL;
    }
    for (int64_t i = 0; i < v->n_added; i++) { /* one that is both is an added one */
        MZ_TRY(put_row(t, v, v->added[i].id, v->added[i].text, v->added[i].bytes));
        t->type[v->added[i].id] = v->added[i].special ? CONTROL : USER_DEFINED;
    }
    for (int64_t id = 0; id < t->rows; id++) {
        if (t->type[id]) continue;
        t->type[id] = UNUSED;
        t->bytes[id] = (size_t)snprintf(t->empty[id], sizeof *t->empty, "[PAD%lld]", (long long)id);
        t->text[id] = t->empty[id];
    }
    return MZ_OK;
}

static mz_err put_merges(mz_gguf_writer *g, const mz_vocab *v)
{
    mz_str all = {0};
    const char **text = NULL;
    size_t *bytes = NULL;
    mz_err err = mz_mem_new(&text, v->n_merges, sizeof *text);
    if (err == MZ_OK) err = mz_mem_new(&bytes, v->n_merges, sizeof *bytes);
    for (int64_t i = 0; err == MZ_OK && i < v->n_merges; i++) {
        const mz_vocab_merge *m = &v->merges[i];
        bytes[i] = m->a_bytes + 1 + m->b_bytes;
        err = mz_str_add(&all, m->a, m->a_bytes);
        if (err == MZ_OK) err = mz_str_add(&all, " ", 1);
        if (err == MZ_OK) err = mz_str_add(&all, m->b, m->b_bytes);
    }
    size_t at = 0; /* only now does the text stand still */
    for (int64_t i = 0; err == MZ_OK && i < v->n_merges; at += bytes[i], i++)
        text[i] = all.text + at;
    if (err == MZ_OK)
        err = mz_gguf_writer_texts(g, "tokenizer.ggml.merges", v->n_merges, text, bytes);
    mz_str_clear(&all);
    mz_mem_free(text);
    mz_mem_free(bytes);
    return err;
}

static mz_err put_id(mz_gguf_writer *g, const char *key, int64_t id)
{
    return id < 0 ? MZ_OK : mz_gguf_writer_u32(g, key, id);
}

/* The end of a turn, and of a message: whatever ends a text beside its end token. */
static mz_err put_other_ends(mz_gguf_writer *g, const mz_words *w)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int used = 0;
    for (int64_t i = 0; i < w->generation.n_ends && used < MZ_COUNT(keys); i++)
        if (w->generation.ends[i] != w->eos)
            MZ_TRY(mz_gguf_writer_u32(g, keys[used++], w->generation.ends[i]));
    return MZ_OK;
}

static mz_err put_special(mz_gguf_writer *g, const mz_words *w)
{
    const mz_vocab *v = w->vocab;
    MZ_TRY(put_id(g, "tokenizer.ggml.bos_token_id", v->bos));
    MZ_TRY(put_id(g, "tokenizer.ggml.eos_token_id", w->eos));
    MZ_TRY(put_other_ends(g, w));
    MZ_TRY(put_id(g, "tokenizer.ggml.unknown_token_id", v->unknown));
    MZ_TRY(put_id(g, "tokenizer.ggml.padding_token_id", w->pad));
    MZ_TRY(mz_gguf_writer_bool(g, "tokenizer.ggml.add_bos_token", v->add_bos));
    return w->chat.len == 0 ? MZ_OK
                            : mz_gguf_writer_text(g, "tokenizer.chat_template", w->chat.text);
}

static void warn_of_losses(const mz_vocab *v, const char *pre)
{
    if (v->nfc != (strcmp(pre, "qwen2") == 0))
        mz_log(MZ_LOG_WARN, "GGUF cannot say that this tokenizer %s normal forms",
               v->nfc ? "makes" : "does not make");
    if (v->ignore_merges != (strcmp(pre, "llama-bpe") == 0))
        mz_log(MZ_LOG_WARN, "GGUF cannot say that this tokenizer %s whole words first",
               v->ignore_merges ? "takes" : "does not take");
    for (int64_t i = 0; i < v->n_added; i++)
        if (v->added[i].left || v->added[i].right) {
            mz_log(MZ_LOG_WARN, "GGUF cannot say which tokens swallow white space (token %lld)",
                   (long long)v->added[i].id);
            return;
        }
}

mz_err mz_words_to_gguf(const mz_words *w, mz_gguf_writer *g, int64_t rows)
{
    MZ_NEED(w && w->vocab && g && rows > 0, "no tokenizer, writer or rows");
    const char *pre = w->vocab->split ? mz_tokenizer_gguf_pre(w->vocab->split) : NULL;
    table t = {.rows = rows};
    if (!pre) return MZ_FAIL(MZ_ENOTSUP, "GGUF has no name for this pre-tokeniser");
    warn_of_losses(w->vocab, pre);
    mz_err err = fill_table(&t, w->vocab);
    if (err == MZ_OK) err = mz_gguf_writer_text(g, "tokenizer.ggml.model", "gpt2");
    if (err == MZ_OK) err = mz_gguf_writer_text(g, "tokenizer.ggml.pre", pre);
    if (err == MZ_OK) err = mz_gguf_writer_texts(g, "tokenizer.ggml.tokens", rows, t.text, t.bytes);
    if (err == MZ_OK)
        err = mz_gguf_writer_array(g, "tokenizer.ggml.token_type", MZ_GGUF_I32, rows, t.type);
    if (err == MZ_OK) err = put_merges(g, w->vocab);
    if (err == MZ_OK) err = put_special(g, w);
    clear_table(&t);
    return err;
}

/* ---- into a folder ---- */

static int put_token(json_t *o, const char *key, const mz_vocab *v, int64_t id)
{
    for (int64_t i = 0; id >= 0 && i < v->n_added; i++)
        if (v->added[i].id == id)
            return json_object_set_new(o, key, json_stringn(v->added[i].text, v->added[i].bytes));
    for (int64_t i = 0; id >= 0 && i < v->n_tokens; i++)
        if (v->tokens[i].id == id)
            return json_object_set_new(o, key, json_stringn(v->tokens[i].text, v->tokens[i].bytes));
    return json_object_set_new(o, key, json_null());
}

static mz_err write_config(const mz_words *w, const char *folder, int64_t positions)
{
    char path[PATH_MAX];
    const mz_vocab *v = w->vocab;
    MZ_TRY(mz_path_join(path, sizeof path, folder, "tokenizer_config.json"));
    json_t *o = json_object();
    int bad = put_token(o, "bos_token", v, v->bos);
    bad |= put_token(o, "eos_token", v, w->eos);
    bad |= put_token(o, "pad_token", v, w->pad);
    bad |= put_token(o, "unk_token", v, v->unknown);
    bad |= json_object_set_new(o, "add_bos_token", json_boolean(v->add_bos));
    bad |= json_object_set_new(o, "clean_up_tokenization_spaces", json_false());
    if (positions > 0) bad |= json_object_set_new(o, "model_max_length", json_integer(positions));
    bad |= json_object_set_new(o, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    if (w->chat.len > 0)
        bad |= json_object_set_new(o, "chat_template", json_stringn(w->chat.text, w->chat.len));
    const mz_err err = bad ? MZ_FAIL(MZ_ENOTSUP, "%s: no memory, or a text that is not UTF-8", path)
                           : mz_json_write(o, path);
    json_decref(o);
    return err;
}

mz_err mz_words_to_folder(const mz_words *w, const char *folder, int64_t positions)
{
    char path[PATH_MAX];
    MZ_NEED(w && folder, "nothing to write, or nowhere");
    if (w->vocab) {
        MZ_TRY(mz_path_join(path, sizeof path, folder, "tokenizer.json"));
        MZ_TRY(mz_vocab_write(w->vocab, path));
        MZ_TRY(write_config(w, folder, positions));
    }
    return mz_generation_write(&w->generation, folder);
}
