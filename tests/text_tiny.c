/* SPDX-License-Identifier: Apache-2.0 */
/* tests/text_tiny.c - small vocabularies for the tests of text/. */
#include "tests/text_tiny.h"
#include "text/bpe.h"
#include "text/unicode.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void name(mzt_tiny *t, int id)
{
    t->tokens[id] = (mz_vocab_token){.text = t->text[id], .bytes = strlen(t->text[id]), .id = id};
    t->vocab.n_tokens = id + 1;
}

void mzt_tiny_init(mzt_tiny *t)
{
    memset(t, 0, sizeof *t);
    t->vocab = (mz_vocab){.tokens = t->tokens,
                          .merges = t->merges,
                          .split = "gpt-2",
                          .bos = -1,
                          .unknown = -1,
                          .file = "tiny"};
    for (int b = 0; b < 256; b++) {
        (void)mz_utf8_write(t->text[b], mz_bpe_letter((unsigned char)b));
        name(t, b);
    }
}

int mzt_tiny_join(mzt_tiny *t, int left, int right)
{
    const int id = (int)t->vocab.n_tokens, merge = (int)t->vocab.n_merges;
    if (id == MZT_TINY_MAX) return -1;
    const size_t a = t->tokens[left].bytes, b = t->tokens[right].bytes;
    if (a + b >= sizeof t->text[0]) return -1;
    memcpy(t->text[id], t->text[left], a);
    memcpy(t->text[id] + a, t->text[right], b);
    t->text[id][a + b] = '\0';
    for (int i = 0; i < id; i++)
        if (strcmp(t->text[i], t->text[id]) == 0) return -1;
    name(t, id);
    t->left[merge] = left, t->right[merge] = right;
    t->merges[merge] = (mz_vocab_merge){.a = t->text[left],
                                        .b = t->text[right],
                                        .a_bytes = t->tokens[left].bytes,
                                        .b_bytes = t->tokens[right].bytes};
    t->vocab.n_merges++;
    return id;
}

static void put(mz_str *out, const char *text)
{
    assert_int_equal(mz_str_add(out, text, strlen(text)), MZ_OK);
}

static void put_quoted(mz_str *out, const char *text, size_t n)
{
    put(out, "\"");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"' || text[i] == '\\') put(out, "\\");
        assert_int_equal(mz_str_add(out, text + i, 1), MZ_OK);
    }
    put(out, "\"");
}

void mzt_tiny_json(const mzt_tiny *t, const char *added, const char *pre_tokenizer, mz_str *out)
{
    put(out, "{\"version\": \"1.0\", \"added_tokens\": ");
    put(out, added);
    put(out, ", \"normalizer\": null, \"pre_tokenizer\": ");
    put(out, pre_tokenizer);
    put(out,
        ", \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {");
    for (int64_t i = 0; i < t->vocab.n_tokens; i++) {
        put_quoted(out, t->tokens[i].text, t->tokens[i].bytes);
        assert_int_equal(mz_str_addf(out, ":%d%s", (int)i, i + 1 < t->vocab.n_tokens ? "," : ""),
                         MZ_OK);
    }
    put(out, "}, \"merges\": [");
    for (int64_t i = 0; i < t->vocab.n_merges; i++) {
        const mz_vocab_merge *m = &t->merges[i];
        put(out, i > 0 ? ",[" : "[");
        put_quoted(out, m->a, m->a_bytes);
        put(out, ",");
        put_quoted(out, m->b, m->b_bytes);
        put(out, "]");
    }
    put(out, "]}}");
}
