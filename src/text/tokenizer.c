/* SPDX-License-Identifier: Apache-2.0 */
/* text/tokenizer.c - made from a description; ids and their text; decoding. Floor: text. */
#include "base/mem.h"
#include "text/whole.h"

#include <stdio.h>
#include <string.h>

/* ---- the names of pre-tokenisers ---- */

static const struct {
    const char *name, *gguf, *families;
} SPLITS[MZ_SPLIT_COUNT] = {
#define MZ_SPLIT_ROW(enum_name, text, gguf, families) {text, gguf, families},
    MZ_SPLIT_LIST(MZ_SPLIT_ROW)
#undef MZ_SPLIT_ROW
};

#define MZ_SPLIT_TEXT(enum_name, text, gguf, families) ", " text
static const char NAMES[] = MZ_SPLIT_LIST(MZ_SPLIT_TEXT);
#undef MZ_SPLIT_TEXT

/* Whether `name` is one of "a|b|c". */
static bool is_one_of(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = list; p && n > 0; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (strncmp(p, name, n) == 0 && (p[n] == '|' || p[n] == '\0')) return true;
    return false;
}

bool mz_split_parse(const char *name, mz_split_kind *kind)
{
    for (int i = 0; i < MZ_SPLIT_COUNT; i++)
        if (strcmp(SPLITS[i].name, name) == 0 || is_one_of(SPLITS[i].gguf, name)) {
            *kind = (mz_split_kind)i;
            return true;
        }
    return false;
}

const char *mz_split_name(mz_split_kind kind)
{
    return SPLITS[kind].name;
}

const char *mz_tokenizer_gguf_pre(const char *split)
{
    static const char *const usual[MZ_SPLIT_COUNT] = {
        [MZ_SPLIT_GPT2] = "gpt-2",
        [MZ_SPLIT_SMOLLM] = "smollm",
        [MZ_SPLIT_QWEN2] = "qwen2",
        [MZ_SPLIT_LLAMA3] = "llama-bpe",
        [MZ_SPLIT_DEEPSEEK3] = "deepseek-v3",
        [MZ_SPLIT_DEEPSEEK_LLM] = "deepseek-llm",
        [MZ_SPLIT_DEEPSEEK_CODER] = "deepseek-coder",
    };
    mz_split_kind kind;
    return mz_split_parse(split, &kind) ? usual[kind] : NULL;
}

const char *mz_tokenizer_splits(void)
{
    return NAMES + 2;
}

mz_err mz_split_unknown(const char *what, const char *file, const char *field)
{
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "%s: %s is not built in", file ? file : "vocabulary", what);
    mz_note_where(file, field, -1);
    mz_note_fix("built in are byte-level BPE with the pre-tokenisers %s", mz_tokenizer_splits());
    return err;
}

/* ---- making ---- */

static mz_err check_special(const mz_vocab *v, int64_t count)
{
    if (v->bos >= count) return MZ_FAIL(MZ_ECORRUPT, "bos %lld is no token", (long long)v->bos);
    for (int64_t i = 0; i < v->n_eos; i++)
        if (v->eos[i] < 0 || v->eos[i] >= count)
            return MZ_FAIL(MZ_ECORRUPT, "eos %lld is no token", (long long)v->eos[i]);
    return MZ_OK;
}

static mz_err fill(mz_tokenizer *t, const mz_vocab *v)
{
    mz_unicode_init(&t->unicode);
    MZ_TRY(mz_bpe_init(&t->bpe, v));
    MZ_TRY(mz_added_init(&t->added, &t->unicode, v));
    t->count = t->bpe.count > t->added.n_ids ? t->bpe.count : t->added.n_ids;
    t->nfc = v->nfc;
    t->bos = v->bos;
    t->add_bos = v->add_bos && v->bos >= 0;
    const mz_err err = check_special(v, t->count);
    if (err != MZ_OK) {
        mz_note_where(v->file, "special tokens", -1);
        return err;
    }
    MZ_TRY(mz_mem_new(&t->eos, v->n_eos, sizeof *t->eos));
    for (int64_t i = 0; i < v->n_eos; i++) t->eos[i] = v->eos[i];
    t->n_eos = v->n_eos;
    return MZ_OK;
}

mz_err mz_tokenizer_from_vocab(mz_tokenizer **out, const mz_vocab *v)
{
    MZ_NEED(out && v && v->split, "tokenizer, vocabulary or its split is NULL");
    MZ_NEED(v->n_tokens >= 0 && v->n_merges >= 0 && v->n_added >= 0, "a negative count");
    mz_tokenizer *t = NULL;
    mz_split_kind kind;
    if (!mz_split_parse(v->split, &kind)) {
        char what[160];
        (void)snprintf(what, sizeof what, "the pre-tokeniser \"%s\"", v->split);
        return mz_split_unknown(what, v->file, "pre_tokenizer");
    }
    MZ_TRY(mz_mem_new(&t, 1, sizeof *t));
    t->split = kind;
    const mz_err err = fill(t, v);
    if (err != MZ_OK) {
        mz_tokenizer_free(t);
        return err;
    }
    *out = t;
    return MZ_OK;
}

void mz_tokenizer_free(mz_tokenizer *t)
{
    if (!t) return;
    mz_bpe_clear(&t->bpe);
    mz_added_clear(&t->added);
    mz_mem_free(t->eos);
    mz_mem_free(t);
}

/* ---- what is in it ---- */

int64_t mz_tokenizer_count(const mz_tokenizer *t)
{
    return t->count;
}

static const mz_added_token *added_of(const mz_tokenizer *t, int64_t id)
{
    if (id < 0 || id >= t->added.n_ids || t->added.by_id[id] < 0) return NULL;
    return &t->added.tokens[t->added.by_id[id]];
}

bool mz_tokenizer_bytes(const mz_tokenizer *t, int64_t id, const char **bytes, size_t *n)
{
    const mz_added_token *added = added_of(t, id);
    if (added) {
        *bytes = t->added.bytes + added->start;
        *n = added->length;
        return true;
    }
    if (id < 0 || id >= t->bpe.count || t->bpe.texts[id].start == UINT32_MAX) return false;
    *bytes = t->bpe.bytes + t->bpe.texts[id].start;
    *n = t->bpe.texts[id].length & ~(uint32_t)MZ_BPE_LITERAL;
    return true;
}

int64_t mz_tokenizer_find(const mz_tokenizer *t, const char *bytes, size_t n)
{
    for (int64_t i = 0; i < t->added.count; i++) {
        const mz_added_token *a = &t->added.tokens[i];
        if (a->length == n && memcmp(t->added.bytes + a->start, bytes, n) == 0) return a->id;
    }
    return mz_bpe_find(&t->bpe, bytes, n);
}

bool mz_tokenizer_is_special(const mz_tokenizer *t, int64_t id)
{
    const mz_added_token *added = added_of(t, id);
    return added && added->special;
}

int64_t mz_tokenizer_bos(const mz_tokenizer *t)
{
    return t->bos;
}

bool mz_tokenizer_adds_bos(const mz_tokenizer *t)
{
    return t->add_bos;
}

int64_t mz_tokenizer_eos_count(const mz_tokenizer *t)
{
    return t->n_eos;
}

int64_t mz_tokenizer_eos(const mz_tokenizer *t, int64_t i)
{
    return t->eos[i];
}

bool mz_tokenizer_is_eos(const mz_tokenizer *t, int64_t id)
{
    for (int64_t i = 0; i < t->n_eos; i++)
        if (t->eos[i] == id) return true;
    return false;
}

const char *mz_tokenizer_split(const mz_tokenizer *t)
{
    return SPLITS[t->split].name;
}

/* ---- decoding ---- */

mz_err mz_decode(const mz_tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                 mz_str *out)
{
    MZ_NEED(t && out && (ids || count == 0), "tokenizer, ids or out is NULL");
    for (size_t i = 0; i < count; i++) {
        const char *bytes;
        size_t n;
        if (!mz_tokenizer_bytes(t, ids[i], &bytes, &n))
            return MZ_FAIL(MZ_ECORRUPT, "id %ld is no token of this tokenizer", (long)ids[i]);
        if (skip_special && mz_tokenizer_is_special(t, ids[i])) continue;
        MZ_TRY(mz_str_add(out, bytes, n));
    }
    return MZ_OK;
}

void mz_decoder_init(mz_decoder *d, const mz_tokenizer *t, bool skip_special)
{
    *d = (mz_decoder){.tokenizer = t, .skip_special = skip_special};
}

/* Appends text, each byte that is no part of a character as U+FFFD (one for the beginning of a
 * character that something else cut off, as the library does it). */
static mz_err add_lossy(mz_str *out, const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        uint32_t point;
        const size_t n = mz_utf8_read((const unsigned char *)text + at, bytes - at, &point);
        const bool broken = n == 1 && (unsigned char)text[at] >= 0x80;
        if (!broken) {
            MZ_TRY(mz_str_add(out, text + at, n));
            at += n;
            continue;
        }
        size_t part = 1;
        while (part < 3 && at + part < bytes && mz_utf8_open_end(text + at, part + 1) == part + 1)
            part++;
        MZ_TRY(mz_str_add(out, "\xef\xbf\xbd", 3));
        at += part;
    }
    return MZ_OK;
}

mz_err mz_decoder_put(mz_decoder *d, int64_t id, mz_str *out)
{
    const char *bytes;
    size_t n;
    MZ_NEED(d && d->tokenizer && out, "decoder or out is NULL");
    if (!mz_tokenizer_bytes(d->tokenizer, id, &bytes, &n)) return MZ_OK;
    if (d->skip_special && mz_tokenizer_is_special(d->tokenizer, id)) return MZ_OK;
    mz_str text = {0};
    mz_err err = mz_str_add(&text, d->held, (size_t)d->held_bytes);
    if (err == MZ_OK) err = mz_str_add(&text, bytes, n);
    if (err == MZ_OK) {
        const size_t open = mz_utf8_open_end(text.text, text.len);
        err = add_lossy(out, text.text, text.len - open);
        if (err == MZ_OK) {
            memcpy(d->held, text.text + text.len - open, open);
            d->held_bytes = (int)open;
        }
    }
    mz_str_clear(&text);
    return err;
}

mz_err mz_decoder_end(mz_decoder *d, mz_str *out)
{
    MZ_NEED(d && out, "decoder or out is NULL");
    if (d->held_bytes == 0) return MZ_OK;
    d->held_bytes = 0;
    return mz_str_add(out, "\xef\xbf\xbd", 3);
}
