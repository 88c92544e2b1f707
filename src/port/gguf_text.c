/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_text.c - arrays of a GGUF as a vocabulary. Floor: port. */
#include "port/gguf_text.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 }; /* 0: undefined */
enum { EOS_MAX = 16, NAME_BYTES = 64 };

struct mz_gguf_vocab {
    const mz_gguf *file;
    mz_vocab vocab;
    mz_vocab_token *tokens;
    mz_vocab_added *added;
    mz_vocab_merge *merges;
    int64_t ids; /* the file's tokens */
    int64_t eos[EOS_MAX];
    char pre[NAME_BYTES];
};

typedef struct mz_gguf_vocab reader;

static mz_err missing(const mz_gguf *file, const char *key)
{
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "%s has no %s", mz_gguf_path(file), key);
    mz_note_where(mz_gguf_path(file), key, -1);
    return err;
}

/* That the last error is about this key, if the file has it. */
static void note_key(const mz_gguf *file, const char *name)
{
    const mz_gguf_key *key = mz_gguf_key_find(file, name);
    if (key) mz_note_where(NULL, name, (int64_t)key->offset);
}

/* The text of a key, "" if there is none or it does not fit. */
static void short_text(const mz_gguf *file, const char *name, char out[NAME_BYTES])
{
    const mz_gguf_key *key = mz_gguf_key_find(file, name);
    uint64_t at = 0;
    const char *text;
    size_t n;
    out[0] = '\0';
    if (!key || key->is_array || !mz_gguf_text_next(key, &at, &text, &n) || n >= NAME_BYTES) return;
    memcpy(out, text, n);
    out[n] = '\0';
}

/* The id of a key, -1 if there is none. */
static mz_err id_of(const reader *r, const char *name, int64_t *out)
{
    const mz_gguf_key *key = mz_gguf_key_find(r->file, name);
    int64_t id = -1;
    if (key && (key->is_array || !mz_gguf_int(key, 0, &id) || id < 0 || id >= r->ids))
        return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "is no token of the vocabulary");
    *out = id;
    return MZ_OK;
}

/* Nothing here needs them; a file whose numbers are broken is not to be trusted with the rest. */
static mz_err check_scores(const reader *r)
{
    const mz_gguf_key *key = mz_gguf_key_find(r->file, "tokenizer.ggml.scores");
    double x = 0.0;
    if (!key) return MZ_OK;
    if (!key->is_array || key->count != (uint64_t)r->ids)
        return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "is not as long as the tokens");
    for (uint64_t i = 0; i < key->count; i++)
        if (!mz_gguf_real(key, i, &x) || !isfinite(x))
            return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "a score that is no finite number");
    return MZ_OK;
}

/* At most so many are added tokens: most are not, and files are not to be trusted with memory. */
static int64_t count_added(const mz_gguf_key *types)
{
    int64_t n = 0, type;
    for (uint64_t i = 0; types && i < types->count && mz_gguf_int(types, i, &type); i++)
        n += type == CONTROL || type == USER_DEFINED;
    return n;
}

/* Control and user-defined tokens stand in the text as they are; the others are in the byte-level
 * alphabet. */
static mz_err read_tokens(reader *r, const mz_gguf_key *texts, const mz_gguf_key *types)
{
    mz_vocab *v = &r->vocab;
    uint64_t at = 0;
    if (!texts->is_array || texts->type != MZ_GGUF_TEXT || texts->count > INT32_MAX)
        return mz_gguf_bad_key(r->file, texts, MZ_ECORRUPT, "is no array of texts");
    if (texts->count == 0) return mz_gguf_bad_key(r->file, texts, MZ_ECORRUPT, "is empty");
    r->ids = (int64_t)texts->count;
    if (types && (!types->is_array || types->count != texts->count))
        return mz_gguf_bad_key(r->file, types, MZ_ECORRUPT, "is not as long as the tokens");
    MZ_TRY(mz_mem_new(&r->tokens, (int64_t)texts->count, sizeof *r->tokens));
    MZ_TRY(mz_mem_new(&r->added, count_added(types), sizeof *r->added));
    for (int64_t id = 0; id < (int64_t)texts->count; id++) {
        int64_t type = NORMAL;
        const char *text;
        size_t n;
        if (!mz_gguf_text_next(texts, &at, &text, &n))
            return mz_gguf_bad_key(r->file, texts, MZ_ECORRUPT, "ends early");
        if (types && !mz_gguf_int(types, (uint64_t)id, &type))
            return mz_gguf_bad_key(r->file, types, MZ_ECORRUPT, "holds no whole numbers");
        if (type < 0 || type > BYTE)
            return mz_gguf_bad_key(r->file, types, MZ_ECORRUPT, "holds a type that is none");
        if (type == UNUSED) continue;
        if ((type == CONTROL || type == USER_DEFINED) && n > 0)
            r->added[v->n_added++] =
                (mz_vocab_added){.text = text, .bytes = n, .id = id, .special = type == CONTROL};
        else
            r->tokens[v->n_tokens++] = (mz_vocab_token){.text = text, .bytes = n, .id = id};
    }
    v->tokens = r->tokens;
    v->added = r->added;
    return MZ_OK;
}

/* "a b", where neither part has a space, as the alphabet has none. */
static mz_err read_merges(reader *r, const mz_gguf_key *key)
{
    uint64_t at = 0;
    if (!key->is_array || key->type != MZ_GGUF_TEXT || key->count > INT32_MAX)
        return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "is no array of texts");
    MZ_TRY(mz_mem_new(&r->merges, (int64_t)key->count, sizeof *r->merges));
    for (uint64_t i = 0; i < key->count; i++) {
        const char *text;
        size_t n;
        if (!mz_gguf_text_next(key, &at, &text, &n))
            return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "ends early");
        const char *space = memchr(text, ' ', n);
        if (!space) return mz_gguf_bad_key(r->file, key, MZ_ECORRUPT, "a merge without a space");
        const size_t a = (size_t)(space - text);
        r->merges[i] =
            (mz_vocab_merge){.a = text, .a_bytes = a, .b = space + 1, .b_bytes = n - a - 1};
    }
    r->vocab.merges = r->merges;
    r->vocab.n_merges = (int64_t)key->count;
    return MZ_OK;
}

static void add_end(reader *r, int64_t id)
{
    mz_vocab *v = &r->vocab;
    if (id < 0 || v->n_eos == EOS_MAX) return;
    for (int64_t i = 0; i < v->n_eos; i++)
        if (r->eos[i] == id) return;
    r->eos[v->n_eos++] = id;
}

/* Control tokens that end a turn by their name, whatever the keys say, as llama.cpp has it. */
static void add_known_ends(reader *r)
{
    static const char *const names[] = {"<|eot_id|>",      "<|eom_id|>",           "<|im_end|>",
                                        "<|end|>",         "<|endoftext|>",        "<end_of_turn>",
                                        "<|end_of_text|>", "<｜end▁of▁sentence｜>"};
    for (int64_t k = 0; k < r->vocab.n_added; k++)
        for (int i = 0; i < MZ_COUNT(names); i++) {
            const mz_vocab_added *a = &r->added[k];
            const size_t n = strlen(names[i]);
            if (a->special && a->bytes == n && memcmp(a->text, names[i], n) == 0) add_end(r, a->id);
        }
}

static mz_err read_special(reader *r)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id",
                                       "tokenizer.ggml.eog_token_id"};
    mz_vocab *v = &r->vocab;
    const mz_gguf_key *add = mz_gguf_key_find(r->file, "tokenizer.ggml.add_bos_token");
    int64_t
        unknown; /* byte-level BPE has none; one that is no token is a broken file all the same */
    MZ_TRY(id_of(r, "tokenizer.ggml.bos_token_id", &v->bos));
    MZ_TRY(id_of(r, "tokenizer.ggml.unknown_token_id", &unknown));
    if (add && !mz_gguf_bool(add, &v->add_bos))
        return mz_gguf_bad_key(r->file, add, MZ_ECORRUPT, "is no bool");
    if (!add) v->add_bos = strcmp(r->pre, "llama-bpe") == 0;
    for (int i = 0; i < MZ_COUNT(ends); i++) {
        int64_t id = -1;
        MZ_TRY(id_of(r, ends[i], &id));
        add_end(r, id);
    }
    add_known_ends(r);
    v->eos = r->eos;
    return MZ_OK;
}

/* What the tokenizer refuses is counted in its own lists; here it becomes a key and a byte. */
static void name_key(const reader *r)
{
    static const struct {
        const char *list, *key;
    } LISTS[] = {{"vocab[", "tokenizer.ggml.tokens"},
                 {"added_tokens[", "tokenizer.ggml.tokens"},
                 {"merges[", "tokenizer.ggml.merges"}};
    const mz_err_info *info = mz_err_last();
    for (int i = 0; i < MZ_COUNT(LISTS); i++) {
        const mz_gguf_key *key = mz_gguf_key_find(r->file, LISTS[i].key);
        if (!mz_str_starts(info->field, LISTS[i].list) || !key) continue;
        const int64_t at = strtoll(info->field + strlen(LISTS[i].list), NULL, 10);
        const int64_t most = i == 0   ? r->vocab.n_tokens
                             : i == 1 ? r->vocab.n_added
                                      : r->vocab.n_merges;
        const char *text = !(at >= 0 && at < most) ? NULL
                           : i == 0                ? r->tokens[at].text
                           : i == 1                ? r->added[at].text
                                                   : r->merges[at].a;
        const int64_t behind = text ? text - (const char *)key->data - 8 : 0;
        mz_note_where(NULL, key->name, (int64_t)key->offset + behind);
        return;
    }
}

static mz_err read_all(reader *r)
{
    const mz_gguf_key *texts = mz_gguf_key_find(r->file, "tokenizer.ggml.tokens");
    const mz_gguf_key *merges = mz_gguf_key_find(r->file, "tokenizer.ggml.merges");
    char model[NAME_BYTES], what[2 * NAME_BYTES];
    short_text(r->file, "tokenizer.ggml.model", model);
    if (!texts) return missing(r->file, "tokenizer.ggml.tokens");
    if (strcmp(model, "gpt2") != 0) {
        const mz_gguf_key *key = mz_gguf_key_find(r->file, "tokenizer.ggml.model");
        (void)snprintf(what, sizeof what, "\"%s\" is no byte-level BPE (\"gpt2\")", model);
        return key ? mz_gguf_bad_key(r->file, key, MZ_ENOTSUP, what)
                   : missing(r->file, "tokenizer.ggml.model");
    }
    if (!merges) return missing(r->file, "tokenizer.ggml.merges");
    short_text(r->file, "tokenizer.ggml.pre", r->pre);
    if (!r->pre[0]) return missing(r->file, "tokenizer.ggml.pre");
    r->vocab.split = r->pre;
    r->vocab.nfc = strcmp(r->pre, "qwen2") == 0;
    r->vocab.ignore_merges = strcmp(r->pre, "llama-bpe") == 0;
    MZ_TRY(read_tokens(r, texts, mz_gguf_key_find(r->file, "tokenizer.ggml.token_type")));
    MZ_TRY(read_merges(r, merges));
    MZ_TRY(check_scores(r));
    return read_special(r);
}

mz_err mz_gguf_vocab_open(mz_gguf_vocab **v, const mz_gguf *file)
{
    MZ_NEED(v && file, "no file, or no place for a vocabulary");
    reader *r = NULL;
    MZ_TRY(mz_mem_new(&r, 1, sizeof *r));
    *r = (reader){.file = file, .vocab = {.bos = -1, .unknown = -1, .file = mz_gguf_path(file)}};
    const mz_err err = read_all(r);
    if (err != MZ_OK) {
        if (err == MZ_ECORRUPT) name_key(r);
        mz_gguf_vocab_close(r);
        return err;
    }
    *v = r;
    return MZ_OK;
}

const mz_vocab *mz_gguf_vocab_of(const mz_gguf_vocab *v)
{
    return &v->vocab;
}

void mz_gguf_vocab_close(mz_gguf_vocab *v)
{
    if (!v) return;
    mz_mem_free(v->tokens);
    mz_mem_free(v->added);
    mz_mem_free(v->merges);
    mz_mem_free(v);
}

mz_err mz_gguf_to_tokenizer(mz_tokenizer **t, const mz_gguf *file)
{
    mz_gguf_vocab *v = NULL;
    MZ_NEED(t && file, "tokenizer or file is NULL");
    MZ_TRY(mz_gguf_vocab_open(&v, file));
    const mz_err err = mz_tokenizer_from_vocab(t, &v->vocab);
    if (err == MZ_ECORRUPT) name_key(v);
    if (err == MZ_ENOTSUP) note_key(file, "tokenizer.ggml.pre");
    mz_gguf_vocab_close(v);
    return err;
}

mz_err mz_gguf_to_chat(mz_chat_template *t, const mz_gguf *file)
{
    MZ_NEED(t && file, "template or file is NULL");
    const mz_gguf_key *key = mz_gguf_key_find(file, "tokenizer.chat_template");
    uint64_t at = 0;
    const char *text = NULL;
    size_t n = 0;
    mz_str copy = {0};
    if (!key || key->is_array || !mz_gguf_text_next(key, &at, &text, &n))
        return missing(file, "tokenizer.chat_template");
    mz_err err = mz_str_add(&copy, text, n);
    if (err == MZ_OK) err = mz_chat_recognise(t, copy.text, mz_gguf_path(file));
    mz_str_clear(&copy);
    if (err == MZ_ENOTSUP) note_key(file, key->name);
    return err;
}
