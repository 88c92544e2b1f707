/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_text.c - any bytes through every pre-tokeniser and back: what is decoded is what
 * was encoded, a stream of ids gives whole characters only, text in no trusted span is only text.
 */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "text/bpe.h"
#include "text/unicode.h"

#include <string.h>

enum { SPLITS = 7, TOKENS = 256 + 32 };

static const char *const NAMES[SPLITS] = {
    "gpt-2", "smollm", "qwen2", "llama-bpe", "deepseek-v3", "deepseek-llm", "deepseek-coder"};
/* Joined in this order: single bytes, or what stands before. */
static const char *const MERGES[][2] = {
    {"t", "h"},        {"th", "e"},  {" ", "the"},     {" ", " "},           {"1", "2"},
    {"\r", "\n"},      {"\n", "\n"}, {"\xe4", "\xb8"}, {"\xe4\xb8", "\xad"}, {"e", "\xcc"},
    {"e\xcc", "\x81"}, {"'", "s"},   {"a", "a"},       {"aa", "aa"},         {"aaaa", "aaaa"}};

typedef struct words {
    char text[TOKENS][16];
    mz_vocab_token tokens[TOKENS];
    mz_vocab_merge merges[MZ_COUNT(MERGES)];
    mz_vocab vocab;
} words;

static size_t wrap(const char *bytes, size_t n, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += mz_utf8_write(out + len, mz_bpe_letter((unsigned char)bytes[i]));
    return len;
}

static int64_t add(words *w, const char *bytes, size_t n)
{
    const int64_t id = w->vocab.n_tokens++;
    const size_t len = wrap(bytes, n, w->text[id]);
    w->tokens[id] = (mz_vocab_token){.text = w->text[id], .bytes = len, .id = id};
    return id;
}

static const mz_vocab_token *token_of(const words *w, const char *bytes)
{
    char text[32];
    const size_t n = wrap(bytes, strlen(bytes), text);
    for (int64_t i = 0; i < w->vocab.n_tokens; i++)
        if (w->tokens[i].bytes == n && memcmp(w->tokens[i].text, text, n) == 0)
            return &w->tokens[i];
    mzf_check(false, __FILE__, __LINE__, "every part of a merge is a token");
    return NULL;
}

static void make(words *w)
{
    static const mz_vocab_added added[] = {
        {.text = "<s>", .bytes = 3, .id = TOKENS, .special = true},
        {.text = "<|x|>", .bytes = 5, .id = TOKENS + 1, .left = true, .right = true},
        {.text = "caf\xc3\xa9", .bytes = 5, .id = TOKENS + 2, .normalized = true}};
    w->vocab = (mz_vocab){.tokens = w->tokens, .merges = w->merges, .file = "words"};
    w->vocab.bos = TOKENS, w->vocab.unknown = -1;
    w->vocab.added = added, w->vocab.n_added = MZ_COUNT(added);
    for (int b = 0; b < 256; b++) (void)add(w, &(char){(char)b}, 1);
    for (int i = 0; i < MZ_COUNT(MERGES); i++) {
        char both[16];
        const size_t a = strlen(MERGES[i][0]), b = strlen(MERGES[i][1]);
        memcpy(both, MERGES[i][0], a);
        memcpy(both + a, MERGES[i][1], b);
        const mz_vocab_token *left = token_of(w, MERGES[i][0]), *right = token_of(w, MERGES[i][1]);
        w->merges[i] = (mz_vocab_merge){left->text, right->text, left->bytes, right->bytes};
        w->vocab.n_merges++;
        (void)add(w, both, a + b);
    }
}

static const mz_tokenizer *tokenizer(size_t which)
{
    static words w;
    static mz_tokenizer *all[SPLITS];
    if (w.vocab.n_tokens == 0) make(&w);
    w.vocab.split = NAMES[which];
    w.vocab.nfc = which == 2;
    w.vocab.ignore_merges = which == 3;
    if (!all[which]) MZF_CHECK(mz_tokenizer_from_vocab(&all[which], &w.vocab) == MZ_OK);
    return all[which];
}

/* The text that the ids stand for; with normalisation it is another one, the same every time. */
static void round_trip(const mz_tokenizer *t, mz_encoder *e, const char *text, size_t n)
{
    mz_ids ids = {0}, again = {0};
    mz_str back = {0};
    MZF_CHECK(mz_encode(e, text, n, 0, &ids) == MZ_OK);
    MZF_CHECK(mz_decode(t, ids.at, ids.count, false, &back) == MZ_OK);
    for (size_t i = 0; i < ids.count; i++) MZF_CHECK(ids.at[i] >= 0 && ids.at[i] < TOKENS);
    if (strcmp(mz_tokenizer_split(t), "qwen2") != 0)
        MZF_CHECK(back.len == n && (n == 0 || memcmp(back.text, text, n) == 0));
    MZF_CHECK(mz_encode(e, back.text, back.len, 0, &again) == MZ_OK);
    MZF_CHECK(again.count == ids.count);
    MZF_CHECK(ids.count == 0 || memcmp(again.at, ids.at, ids.count * sizeof *ids.at) == 0);
    mz_str_clear(&back);
    mz_ids_clear(&again);
    mz_ids_clear(&ids);
}

static void stream(const mz_tokenizer *t, mz_encoder *e, const char *text, size_t n)
{
    mz_ids ids = {0};
    mz_str out = {0};
    mz_decoder d;
    MZF_CHECK(mz_encode(e, text, n, MZ_ENCODE_SPECIAL | MZ_ENCODE_BOS, &ids) == MZ_OK);
    mz_decoder_init(&d, t, true);
    for (size_t i = 0; i <= ids.count; i++) {
        const size_t before = out.len;
        MZF_CHECK((i < ids.count ? mz_decoder_put(&d, ids.at[i], &out)
                                 : mz_decoder_end(&d, &out)) == MZ_OK);
        for (size_t at = before; at < out.len;) {
            uint32_t point;
            const unsigned char *p = (const unsigned char *)out.text + at;
            const size_t len = mz_utf8_read(p, out.len - at, &point);
            MZF_CHECK(len > 1 || *p < 0x80);
            at += len;
        }
    }
    mz_str_clear(&out);
    mz_ids_clear(&ids);
}

static void spans(mz_encoder *e, const char *text, size_t n)
{
    mz_ids ids = {0};
    const mz_span trusted[2] = {{0, n / 3}, {n - n / 3, n}};
    MZF_CHECK(mz_encode_spans(e, text, n, trusted, 2, &ids) == MZ_OK);
    ids.count = 0;
    MZF_CHECK(mz_encode_spans(e, text, n, trusted, 0, &ids) == MZ_OK);
    for (size_t i = 0; i < ids.count; i++) MZF_CHECK(ids.at[i] < TOKENS);
    mz_ids_clear(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const mz_tokenizer *t = tokenizer(size > 0 ? data[0] % SPLITS : 0);
    const char *text = size > 1 ? (const char *)data + 1 : "";
    const size_t n = size > 1 ? size - 1 : 0;
    static mz_encoder *all[SPLITS]; /* kept: its cache is a large part of an input's time */
    mz_encoder **e = &all[size > 0 ? data[0] % SPLITS : 0];
    if (!*e) MZF_CHECK(mz_encoder_new(e, t) == MZ_OK);
    round_trip(t, *e, text, n);
    stream(t, *e, text, n);
    spans(*e, text, n);
    return 0;
}
