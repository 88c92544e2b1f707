/* SPDX-License-Identifier: Apache-2.0 */
/* text/vocab_write.c - a vocabulary as tokenizer.json, as the tokenizers library reads it.
 *
 * The library takes no id of an added token from the file: one that the model's list knows has the
 * id that stands there, the others are numbered on from the list's length. So an added token is
 * kept out of the list (as the families' own files have it) only where that numbering gives its id.
 * Floor: text. */
#include "base/file.h"
#include "base/mem.h"
#include "text/load.h"

#include <stdlib.h>
#include <string.h>

typedef struct word { /* of the list, or added */
    const char *text;
    size_t bytes;
    int64_t id;
    const mz_vocab_added *added;
} word;

typedef struct plan {
    const mz_vocab *vocab;
    word *list, *added; /* both by id */
    int64_t n_list, n_added;
} plan;

static int by_id(const void *pa, const void *pb)
{
    const word *a = pa, *b = pb;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Whether the added tokens from `first` on get their ids by being numbered on. */
static bool is_numbered_on(const plan *p, int64_t n_list, int64_t first)
{
    if (n_list > 0 && p->list[n_list - 1].id != n_list - 1)
        return false; /* holes, or the same id */
    for (int64_t i = first; i < p->n_added; i++)
        if (p->added[i].id != n_list + i - first) return false;
    return true;
}

static mz_err make_plan(plan *p)
{
    const mz_vocab *v = p->vocab;
    MZ_TRY(mz_mem_new(&p->list, v->n_tokens + v->n_added, sizeof *p->list));
    MZ_TRY(mz_mem_new(&p->added, v->n_added, sizeof *p->added));
    for (int64_t i = 0; i < v->n_tokens; i++)
        p->list[p->n_list++] = (word){v->tokens[i].text, v->tokens[i].bytes, v->tokens[i].id, NULL};
    for (int64_t i = 0; i < v->n_added; i++)
        p->added[p->n_added++] =
            (word){v->added[i].text, v->added[i].bytes, v->added[i].id, &v->added[i]};
    qsort(p->list, (size_t)p->n_list, sizeof *p->list, by_id);
    qsort(p->added, (size_t)p->n_added, sizeof *p->added, by_id);
    const int64_t n = p->n_list, top = n > 0 ? p->list[n - 1].id : -1;
    int64_t below = 0;
    while (below < p->n_added && p->added[below].id < top) below++;
    for (int64_t i = 0; i < below; i++) p->list[p->n_list++] = p->added[i];
    qsort(p->list, (size_t)p->n_list, sizeof *p->list, by_id);
    if (is_numbered_on(p, p->n_list, below)) return MZ_OK;
    for (int64_t i = below; i < p->n_added; i++) p->list[p->n_list++] = p->added[i];
    return MZ_OK;
}

/* ---- text ---- */

static mz_err put(mz_str *out, const char *text)
{
    return mz_str_add(out, text, strlen(text));
}

/* The byte-level alphabet is UTF-8; an added token is so, or cannot stand in JSON. */
static mz_err put_quoted(mz_str *out, const char *text, size_t bytes)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    if (!mz_utf8_valid(text, bytes))
        return MZ_FAIL(MZ_ENOTSUP, "a token that is not UTF-8 cannot stand in tokenizer.json");
    MZ_TRY(put(out, "\""));
    for (size_t i = 0; i < bytes; i++) {
        const char *escape = text[i] ? strchr(from, text[i]) : NULL;
        if (escape)
            MZ_TRY(mz_str_addf(out, "\\%c", to[escape - from]));
        else if ((unsigned char)text[i] < 0x20)
            MZ_TRY(mz_str_addf(out, "\\u%04x", (unsigned)text[i]));
        else
            MZ_TRY(mz_str_add(out, text + i, 1));
    }
    return put(out, "\"");
}

static const char *truth(bool x)
{
    return x ? "true" : "false";
}

static mz_err put_added(mz_str *out, const plan *p)
{
    MZ_TRY(put(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                    "  \"added_tokens\": ["));
    for (int64_t i = 0; i < p->n_added; i++) {
        const mz_vocab_added *a = p->added[i].added;
        MZ_TRY(mz_str_addf(out, "%s\n    {\n      \"id\": %lld,\n      \"content\": ",
                           i > 0 ? "," : "", (long long)a->id));
        MZ_TRY(put_quoted(out, a->text, a->bytes));
        MZ_TRY(mz_str_addf(out,
                           ",\n      \"single_word\": false,\n      \"lstrip\": %s,\n"
                           "      \"rstrip\": %s,\n      \"normalized\": %s,\n"
                           "      \"special\": %s\n    }",
                           truth(a->left), truth(a->right), truth(a->normalized),
                           truth(a->special)));
    }
    return put(out, p->n_added > 0 ? "\n  ],\n" : "],\n");
}

static mz_err put_step(mz_str *out, const char *step)
{
    if (strcmp(step, MZ_STEP_DIGITS) == 0)
        return put(out, "{ \"type\": \"Digits\", \"individual_digits\": true }");
    const bool regex = strcmp(step, MZ_STEP_BYTES_GPT2) == 0;
    if (regex || strcmp(step, MZ_STEP_BYTES) == 0)
        return mz_str_addf(out,
                           "{ \"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                           "\"trim_offsets\": true, \"use_regex\": %s }",
                           truth(regex));
    MZ_TRY(put(out, "{ \"type\": \"Split\", \"pattern\": { \"Regex\": "));
    MZ_TRY(put_quoted(out, step, strlen(step)));
    return put(out, " }, \"behavior\": \"Isolated\", \"invert\": false }");
}

static mz_err put_rules(mz_str *out, const mz_vocab *v)
{
    mz_split_kind kind;
    if (!v->split || !mz_split_parse(v->split, &kind))
        return mz_split_unknown(v->split ? v->split : "no pre-tokeniser", v->file, "split");
    const char *const *steps = mz_load_steps(kind);
    MZ_TRY(put(out, v->nfc ? "  \"normalizer\": { \"type\": \"NFC\" },\n"
                           : "  \"normalizer\": null,\n"));
    MZ_TRY(put(out, "  \"pre_tokenizer\": "));
    if (steps[1]) MZ_TRY(put(out, "{\n    \"type\": \"Sequence\",\n    \"pretokenizers\": [\n"));
    for (int i = 0; steps[i]; i++) {
        if (steps[1]) MZ_TRY(put(out, i > 0 ? ",\n      " : "      "));
        MZ_TRY(put_step(out, steps[i]));
    }
    return put(out, steps[1] ? "\n    ]\n  },\n" : ",\n");
}

/* The begin token before a text, where the model wants one. */
static mz_err put_processor(mz_str *out, const mz_vocab *v)
{
    mz_str name = {0};
    mz_err err = mz_str_add(&name, "", 0);
    for (int64_t i = 0; err == MZ_OK && i < v->n_added; i++)
        if (v->added[i].id == v->bos && name.len == 0)
            err = put_quoted(&name, v->added[i].text, v->added[i].bytes);
    if (err == MZ_OK && v->add_bos && name.len > 0)
        err = mz_str_addf(out,
                          "  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n"
                          "    \"single\": [\n"
                          "      { \"SpecialToken\": { \"id\": %s, \"type_id\": 0 } },\n"
                          "      { \"Sequence\": { \"id\": \"A\", \"type_id\": 0 } }\n    ],\n"
                          "    \"pair\": [\n"
                          "      { \"SpecialToken\": { \"id\": %s, \"type_id\": 0 } },\n"
                          "      { \"Sequence\": { \"id\": \"A\", \"type_id\": 0 } },\n"
                          "      { \"SpecialToken\": { \"id\": %s, \"type_id\": 1 } },\n"
                          "      { \"Sequence\": { \"id\": \"B\", \"type_id\": 1 } }\n    ],\n"
                          "    \"special_tokens\": {\n      %s: { \"id\": %s, \"ids\": [ %lld ], "
                          "\"tokens\": [ %s ] }\n    }\n  },\n",
                          name.text, name.text, name.text, name.text, name.text, (long long)v->bos,
                          name.text);
    else if (err == MZ_OK)
        err = put(out, "  \"post_processor\": { \"type\": \"ByteLevel\", \"add_prefix_space\": "
                       "true, \"trim_offsets\": false, \"use_regex\": true },\n");
    mz_str_clear(&name);
    return err;
}

static mz_err put_unknown(mz_str *out, const plan *p)
{
    for (int64_t i = 0; p->vocab->unknown >= 0 && i < p->n_list; i++)
        if (p->list[i].id == p->vocab->unknown)
            return put_quoted(out, p->list[i].text, p->list[i].bytes);
    return put(out, "null");
}

static mz_err put_model(mz_str *out, const plan *p)
{
    const mz_vocab *v = p->vocab;
    MZ_TRY(put(out, "  \"decoder\": { \"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                    "\"trim_offsets\": true, \"use_regex\": true },\n"
                    "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n"
                    "    \"unk_token\": "));
    MZ_TRY(put_unknown(out, p));
    MZ_TRY(mz_str_addf(out,
                       ",\n    \"continuing_subword_prefix\": null,\n"
                       "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
                       "    \"byte_fallback\": false,\n    \"ignore_merges\": %s,\n"
                       "    \"vocab\": {",
                       truth(v->ignore_merges)));
    for (int64_t i = 0; i < p->n_list; i++) {
        MZ_TRY(put(out, i > 0 ? ",\n      " : "\n      "));
        MZ_TRY(put_quoted(out, p->list[i].text, p->list[i].bytes));
        MZ_TRY(mz_str_addf(out, ": %lld", (long long)p->list[i].id));
    }
    MZ_TRY(put(out, "\n    },\n    \"merges\": ["));
    for (int64_t i = 0; i < v->n_merges; i++) {
        const mz_vocab_merge *m = &v->merges[i];
        MZ_TRY(put(out, i > 0 ? ",\n      [ " : "\n      [ "));
        MZ_TRY(put_quoted(out, m->a, m->a_bytes));
        MZ_TRY(put(out, ", "));
        MZ_TRY(put_quoted(out, m->b, m->b_bytes));
        MZ_TRY(put(out, " ]"));
    }
    return put(out, "\n    ]\n  }\n}\n");
}

mz_err mz_vocab_write(const mz_vocab *vocab, const char *path)
{
    MZ_NEED(vocab && path, "no vocabulary, or no path");
    plan p = {.vocab = vocab};
    mz_str out = {0};
    mz_err err = make_plan(&p);
    if (err == MZ_OK) err = put_added(&out, &p);
    if (err == MZ_OK) err = put_rules(&out, vocab);
    if (err == MZ_OK) err = put_processor(&out, vocab);
    if (err == MZ_OK) err = put_model(&out, &p);
    if (err == MZ_OK) err = mz_file_write(path, out.text, out.len);
    mz_str_clear(&out);
    mz_mem_free(p.list);
    mz_mem_free(p.added);
    return err;
}
