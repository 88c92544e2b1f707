/* SPDX-License-Identifier: Apache-2.0 */
/* text/train_write.c - a trained vocabulary as tokenizer.json, laid out as the tokenizers library
 * lays it out, so that two files can be compared with cmp. Floor: text. */
#include "base/file.h"
#include "base/mem.h"
#include "text/hash.h"
#include "text/train_parts.h"

#include <string.h>

static const char HEAD[] = "{\n"
                           "  \"version\": \"1.0\",\n"
                           "  \"truncation\": null,\n"
                           "  \"padding\": null,\n"
                           "  \"added_tokens\": [";
static const char RULES[] = "],\n"
                            "  \"normalizer\": null,\n"
                            "  \"pre_tokenizer\": {\n"
                            "    \"type\": \"ByteLevel\",\n"
                            "    \"add_prefix_space\": false,\n"
                            "    \"trim_offsets\": true,\n"
                            "    \"use_regex\": true\n"
                            "  },\n"
                            "  \"post_processor\": null,\n"
                            "  \"decoder\": {\n"
                            "    \"type\": \"ByteLevel\",\n"
                            "    \"add_prefix_space\": true,\n"
                            "    \"trim_offsets\": true,\n"
                            "    \"use_regex\": true\n"
                            "  },\n"
                            "  \"model\": {\n"
                            "    \"type\": \"BPE\",\n"
                            "    \"dropout\": null,\n"
                            "    \"unk_token\": null,\n"
                            "    \"continuing_subword_prefix\": null,\n"
                            "    \"end_of_word_suffix\": null,\n"
                            "    \"fuse_unk\": false,\n"
                            "    \"byte_fallback\": false,\n"
                            "    \"ignore_merges\": false,\n"
                            "    \"vocab\": {";

static mz_err put(mz_str *out, const char *text)
{
    return mz_str_add(out, text, strlen(text));
}

static mz_err put_quoted(mz_str *out, const mz_strings *s, int64_t number)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    size_t n;
    const char *text = mz_strings_at(s, number, &n);
    MZ_TRY(put(out, "\""));
    for (size_t i = 0; i < n; i++) {
        const char *escape = text[i] ? strchr(from, text[i]) : NULL;
        if (escape)
            MZ_TRY(mz_str_addf(out, "\\%c", to[escape - from]));
        else if ((unsigned char)text[i] < 0x20)
            MZ_TRY(mz_str_addf(out, "\\u%04x", text[i]));
        else
            MZ_TRY(mz_str_add(out, text + i, 1));
    }
    return put(out, "\"");
}

static mz_err put_special(mz_str *out, const mz_bpe_trainer *t)
{
    for (int64_t i = 0; i < t->n_special; i++) {
        MZ_TRY(mz_str_addf(out, "%s\n    {\n      \"id\": %lld,\n      \"content\": ",
                           i > 0 ? "," : "", (long long)i));
        MZ_TRY(put_quoted(out, &t->tokens, i));
        MZ_TRY(put(out, ",\n      \"single_word\": false,\n      \"lstrip\": false,\n"
                        "      \"rstrip\": false,\n      \"normalized\": false,\n"
                        "      \"special\": true\n    }"));
    }
    return t->n_special > 0 ? put(out, "\n  ") : MZ_OK;
}

static mz_err put_vocab(mz_str *out, const mz_bpe_trainer *t)
{
    for (int64_t i = 0; i < t->tokens.count; i++) {
        MZ_TRY(put(out, i > 0 ? ",\n      " : "\n      "));
        MZ_TRY(put_quoted(out, &t->tokens, i));
        MZ_TRY(mz_str_addf(out, ": %lld", (long long)i));
    }
    return put(out, "\n    },\n    \"merges\": [");
}

static mz_err put_merge(mz_str *out, const mz_bpe_trainer *t, int64_t i, bool first)
{
    MZ_TRY(put(out, first ? "\n      [\n        " : ",\n      [\n        "));
    MZ_TRY(put_quoted(out, &t->tokens, t->merges[i].left));
    MZ_TRY(put(out, ",\n        "));
    MZ_TRY(put_quoted(out, &t->tokens, t->merges[i].right));
    return put(out, "\n      ]");
}

/* Merges by rank. One that was made twice counts by its last place and stands only there; `last`
 * holds for each pair the place + 1, open addressing. */
static mz_err put_merges(mz_str *out, const mz_bpe_trainer *t, uint32_t *last, uint32_t mask)
{
    bool first = true;
    for (int turn = 0; turn < 2; turn++)
        for (int64_t i = 0; i < t->n_merges; i++) {
            const mz_bpe_train_merge m = t->merges[i];
            uint32_t slot = mz_hash_pair((uint64_t)m.left << 32 | m.right) & mask;
            while (last[slot] && memcmp(&t->merges[last[slot] - 1], &m, sizeof m) != 0)
                slot = (slot + 1) & mask;
            if (turn == 0) last[slot] = (uint32_t)i + 1;
            if (turn == 0 || last[slot] != (uint32_t)i + 1) continue;
            MZ_TRY(put_merge(out, t, i, first));
            first = false;
        }
    return put(out, first ? "]\n  }\n}" : "\n    ]\n  }\n}");
}

static mz_err put_all(mz_str *out, const mz_bpe_trainer *t)
{
    uint32_t *last = NULL, slots = 64;
    while (slots < 2 * t->n_merges) slots *= 2;
    MZ_TRY(put(out, HEAD));
    MZ_TRY(put_special(out, t));
    MZ_TRY(put(out, RULES));
    MZ_TRY(put_vocab(out, t));
    MZ_TRY(mz_mem_new(&last, slots, sizeof *last));
    const mz_err err = put_merges(out, t, last, slots - 1);
    mz_mem_free(last);
    return err;
}

mz_err mz_bpe_trainer_write(const mz_bpe_trainer *t, const char *path)
{
    MZ_NEED(t && path && t->tokens.count > 0, "the trainer has not run");
    MZ_NEED(t->n_merges < INT32_MAX, "too many merges");
    mz_str out = {0};
    mz_err err = put_all(&out, t);
    if (err == MZ_OK) err = mz_file_write(path, out.text, out.len);
    mz_str_clear(&out);
    return err;
}
