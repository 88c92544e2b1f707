/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_text_tokenizer.c - byte pair encoding against a literal reading of its rule,
 * added tokens, trusted spans, decoding, and what is refused. */
#include "base/mem.h"
#include "base/rng.h"
#include "tests/text_tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char GPT2[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}";

static mzt_tiny tiny;

static mz_tokenizer *made(const mz_vocab *v)
{
    mz_tokenizer *t = NULL;
    assert_int_equal(mz_tokenizer_from_vocab(&t, v), MZ_OK);
    return t;
}

/* Encodes and holds the ids against `want`, -1 at the end. */
static void expect(const mz_tokenizer *t, const char *text, size_t n, unsigned flags,
                   const int *want)
{
    mz_encoder *e = NULL;
    mz_ids ids = {0};
    assert_int_equal(mz_encoder_new(&e, t), MZ_OK);
    for (int turn = 0; turn < 2; turn++) { /* the second from the cache */
        ids.count = 0;
        assert_int_equal(mz_encode(e, text, n, flags, &ids), MZ_OK);
        size_t count = 0;
        while (want[count] >= 0) count++;
        assert_int_equal(ids.count, count);
        for (size_t i = 0; i < count; i++) assert_int_equal(ids.at[i], want[i]);
    }
    mz_ids_clear(&ids);
    mz_encoder_free(e);
}

/* ---- byte pair encoding ---- */

enum { RULE_IDS = 256 + 60 };

static int rank_of[RULE_IDS][RULE_IDS]; /* -1: not joined */

/* The rule, word for word: join the pair of the lowest rank, leftmost first, until none is left. */
static size_t by_the_rule(const char *piece, size_t n, int *ids)
{
    for (size_t i = 0; i < n; i++) ids[i] = (unsigned char)piece[i];
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++) {
            const int rank = rank_of[ids[i]][ids[i + 1]];
            if (rank >= 0 && (best == n || rank < rank_of[ids[best]][ids[best + 1]])) best = i;
        }
        if (best == n) return n;
        ids[best] = 256 + rank_of[ids[best]][ids[best + 1]];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
    }
}

/* Random merges over three letters; pieces of 1 to 400 letters, so both ways of joining run. */
static void pieces_are_joined_by_the_rule(void **state)
{
    (void)state;
    static char piece[401];
    static int want[401];
    mz_rng rng;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        mz_rng_init(&rng, seed, 0);
        mzt_tiny_init(&tiny);
        for (int i = 0; i < 60; i++) {
            const int pool = 3 + (int)tiny.vocab.n_merges;
            int pick[2];
            for (int k = 0; k < 2; k++) {
                const int x = (int)mz_rng_below(&rng, (uint64_t)pool);
                pick[k] = x < 3 ? 'a' + x : 256 + x - 3;
            }
            (void)mzt_tiny_join(&tiny, pick[0], pick[1]);
        }
        memset(rank_of, -1, sizeof rank_of);
        for (int64_t i = 0; i < tiny.vocab.n_merges; i++)
            rank_of[tiny.left[i]][tiny.right[i]] = (int)i;
        mz_tokenizer *t = made(&tiny.vocab);
        for (int i = 0; i < 40; i++) {
            const size_t n = 1 + (size_t)mz_rng_below(&rng, i % 2 ? 20 : 400);
            for (size_t k = 0; k < n; k++) piece[k] = (char)('a' + mz_rng_below(&rng, 3));
            want[by_the_rule(piece, n, want)] = -1;
            expect(t, piece, n, 0, want);
        }
        mz_tokenizer_free(t);
    }
}

/* A MiB of one letter, and of one space, in far less than a square (which would take hours); with
 * MIZAN_LONG the 16 MiB that a hostile text may have. */
static void one_letter_many_times(void **state)
{
    (void)state;
    const size_t n = (size_t)(getenv("MIZAN_LONG") ? 16 : 1) << 20;
    char *text = malloc(n);
    mz_encoder *e = NULL;
    mz_ids ids = {0};
    assert_non_null(text);
    mzt_tiny_init(&tiny);
    int id = 'a';
    for (int i = 0; i < 4; i++) id = mzt_tiny_join(&tiny, id, id);
    mz_tokenizer *t = made(&tiny.vocab);
    assert_int_equal(mz_encoder_new(&e, t), MZ_OK);
    memset(text, 'a', n);
    assert_int_equal(mz_encode(e, text, n, 0, &ids), MZ_OK);
    assert_int_equal(ids.count, n / 16);
    assert_int_equal(ids.at[0], id);
    assert_int_equal(ids.at[n / 16 - 1], id);
    memset(text, ' ', n);
    ids.count = 0;
    assert_int_equal(mz_encode(e, text, n, 0, &ids), MZ_OK);
    assert_int_equal(ids.count, n);
    mz_ids_clear(&ids);
    mz_encoder_free(e);
    mz_tokenizer_free(t);
    free(text);
}

/* Every word of up to five of eight letters, and every way to make it, as Llama-3's file has it. */
static void every_way_to_make_a_token_may_stand(void **state)
{
    (void)state;
    enum { LETTERS = 8, LONGEST = 5, WORDS = 37440, WAYS = 144448 };
    mz_vocab_token *tokens = calloc(256 + WORDS, sizeof *tokens);
    mz_vocab_merge *merges = calloc(WAYS, sizeof *merges);
    char(*text)[LONGEST + 1] = calloc(WORDS, sizeof *text);
    assert_true(tokens && merges && text);
    mzt_tiny_init(&tiny);
    mz_vocab v = tiny.vocab;
    memcpy(tokens, tiny.tokens, 256 * sizeof *tokens);
    int64_t words = 0, ways = 0;
    for (size_t n = 2, count = LETTERS * LETTERS; n <= LONGEST; n++, count *= LETTERS)
        for (size_t i = 0; i < count; i++, words++) {
            for (size_t k = 0, x = i; k < n; k++, x /= LETTERS)
                text[words][k] = (char)('a' + x % LETTERS);
            tokens[256 + words] = (mz_vocab_token){text[words], n, 256 + words};
            for (size_t k = 1; k < n; k++, ways++)
                merges[ways] = (mz_vocab_merge){text[words], text[words] + k, k, n - k};
        }
    assert_true(words == WORDS && ways == WAYS);
    v.tokens = tokens, v.n_tokens = 256 + words;
    v.merges = merges, v.n_merges = ways;
    mz_tokenizer *t = made(&v);
    expect(t, "bade", 4, 0, (int[]){(int)mz_tokenizer_find(t, "bade", 4), -1});
    mz_tokenizer_free(t);
    free(text);
    free(merges);
    free(tokens);
}

static void whole_pieces_are_taken_where_merges_are_ignored(void **state)
{
    (void)state;
    mzt_tiny_init(&tiny);
    const int ab = mzt_tiny_join(&tiny, 'a', 'b'), bc = mzt_tiny_join(&tiny, 'b', 'c');
    const int abc = mzt_tiny_join(&tiny, 'a', bc);
    mz_tokenizer *t = made(&tiny.vocab);
    expect(t, "abc", 3, 0, (const int[]){ab, 'c', -1});
    mz_tokenizer_free(t);
    tiny.vocab.ignore_merges = true;
    t = made(&tiny.vocab);
    expect(t, "abc", 3, 0, (const int[]){abc, -1});
    expect(t, "abcc", 4, 0, (const int[]){ab, 'c', 'c', -1});
    mz_tokenizer_free(t);
}

static void bytes_without_a_token_are_dropped_or_unknown(void **state)
{
    (void)state;
    mzt_tiny_init(&tiny);
    const int ab = mzt_tiny_join(&tiny, 'a', 'b');
    tiny.tokens['x'] = tiny.tokens[ab]; /* no x; ids leave a hole there */
    tiny.vocab.n_tokens--;
    mz_tokenizer *t = made(&tiny.vocab);
    expect(t, "axb", 3, 0, (const int[]){ab, -1});
    const char *bytes;
    size_t n;
    assert_false(mz_tokenizer_bytes(t, 'x', &bytes, &n));
    mz_tokenizer_free(t);
    tiny.vocab.unknown = '?';
    t = made(&tiny.vocab);
    expect(t, "axb", 3, 0, (const int[]){'a', '?', 'b', -1});
    mz_tokenizer_free(t);
}

/* Every byte string of up to two bytes comes back, UTF-8 or not, and one in 251 of those of three
 * (MIZAN_LONG: all). */
static void any_bytes_come_back(void **state)
{
    (void)state;
    mz_encoder *e = NULL;
    mz_ids ids = {0};
    mz_str out = {0};
    mzt_tiny_init(&tiny);
    (void)mzt_tiny_join(&tiny, 0xc3, 0xa9);
    mz_tokenizer *t = made(&tiny.vocab);
    assert_int_equal(mz_encoder_new(&e, t), MZ_OK);
    for (size_t n = 1; n <= 3; n++)
        for (uint32_t x = 0; x < 1u << 8 * n; x += n < 3 || getenv("MIZAN_LONG") ? 1 : 251) {
            const char text[3] = {(char)(x & 0xff), (char)(x >> 8 & 0xff), (char)(x >> 16)};
            ids.count = out.len = 0;
            assert_int_equal(mz_encode(e, text, n, MZ_ENCODE_SPECIAL, &ids), MZ_OK);
            assert_int_equal(mz_decode(t, ids.at, ids.count, false, &out), MZ_OK);
            assert_int_equal(out.len, n);
            assert_memory_equal(out.text, text, n);
        }
    mz_str_clear(&out);
    mz_ids_clear(&ids);
    mz_encoder_free(e);
    mz_tokenizer_free(t);
}

/* ---- added tokens ---- */

enum { BOS = 1000, LONG, NORMAL, LEFT, RIGHT, MARK };

static const mz_vocab_added ADDED[] = {
    {.text = "<s>", .bytes = 3, .id = BOS, .special = true},
    {.text = "<s><s>!", .bytes = 7, .id = LONG, .special = true},
    {.text = "<n>", .bytes = 3, .id = NORMAL, .normalized = true},
    {.text = "<l>", .bytes = 3, .id = LEFT, .left = true},
    {.text = "<r>", .bytes = 3, .id = RIGHT, .right = true},
    {.text = "e\xcc\x81!", .bytes = 4, .id = MARK, .normalized = true}, /* composed: é! */
};

static mz_tokenizer *with_added(bool nfc)
{
    mzt_tiny_init(&tiny);
    tiny.vocab.added = ADDED;
    tiny.vocab.n_added = MZ_COUNT(ADDED);
    tiny.vocab.nfc = nfc;
    tiny.vocab.bos = BOS;
    return made(&tiny.vocab);
}

static void added_tokens_only_where_asked_for(void **state)
{
    (void)state;
    mz_tokenizer *t = with_added(false);
    static const int plain[] = {'<', 's', '>', -1}, bos[] = {BOS, '<', 's', '>', -1};
    expect(t, "<s>", 3, 0, plain);
    expect(t, "<n>", 3, 0, (const int[]){'<', 'n', '>', -1});
    expect(t, "<s>", 3, MZ_ENCODE_BOS, bos);
    expect(t, "<s>", 3, MZ_ENCODE_SPECIAL, (const int[]){BOS, -1});
    expect(t, "", 0, MZ_ENCODE_BOS | MZ_ENCODE_SPECIAL, (const int[]){BOS, -1});
    mz_tokenizer_free(t);
}

static void the_leftmost_and_longest_is_found(void **state)
{
    (void)state;
    mz_tokenizer *t = with_added(false);
    expect(t, "a<s><s>!<s><s><s><n", 19, MZ_ENCODE_SPECIAL,
           (const int[]){'a', LONG, BOS, BOS, BOS, '<', 'n', -1});
    expect(t, "<n><s>", 6, MZ_ENCODE_SPECIAL, (const int[]){NORMAL, BOS, -1});
    expect(t, "a \t<l> b", 8, MZ_ENCODE_SPECIAL, (const int[]){'a', LEFT, ' ', 'b', -1});
    expect(t, "a <r> \xe3\x80\x80 b", 11, MZ_ENCODE_SPECIAL,
           (const int[]){'a', ' ', RIGHT, 'b', -1});
    mz_tokenizer_free(t);
}

static void normalised_tokens_meet_normalised_text(void **state)
{
    (void)state;
    mz_tokenizer *t = with_added(true);
    expect(t, "\xc3\xa9!", 3, MZ_ENCODE_SPECIAL, (const int[]){MARK, -1});
    expect(t, "e\xcc\x81!", 4, MZ_ENCODE_SPECIAL, (const int[]){MARK, -1});
    expect(t, "e\xcc\x81", 3, MZ_ENCODE_SPECIAL, (const int[]){0xc3, 0xa9, -1});
    mz_tokenizer_free(t);
}

static void spans(const mz_tokenizer *t, const char *text, const mz_span *trusted, int n,
                  const int *want)
{
    mz_encoder *e = NULL;
    mz_ids ids = {0};
    assert_int_equal(mz_encoder_new(&e, t), MZ_OK);
    assert_int_equal(mz_encode_spans(e, text, strlen(text), trusted, n, &ids), MZ_OK);
    for (size_t i = 0; i < ids.count; i++) assert_int_equal(ids.at[i], want[i]);
    assert_int_equal(want[ids.count], -1);
    mz_ids_clear(&ids);
    mz_encoder_free(e);
}

static void only_what_is_trusted_is_special(void **state)
{
    (void)state;
    for (int nfc = 0; nfc < 2; nfc++) {
        mz_tokenizer *t = with_added(nfc != 0);
        static const mz_span first = {0, 3}, second = {3, 6}, all = {0, 6}, cut = {0, 5};
        spans(t, "<s><s>", &first, 1, (const int[]){BOS, '<', 's', '>', -1});
        spans(t, "<s><s>", &second, 1, (const int[]){'<', 's', '>', BOS, -1});
        spans(t, "<s><n>", &second, 1, (const int[]){'<', 's', '>', NORMAL, -1});
        spans(t, "<s><s>", &cut, 1, (const int[]){BOS, '<', 's', '>', -1});
        spans(t, "<s><s>", &all, 1, (const int[]){BOS, BOS, -1});
        spans(t, "<s>", NULL, 0, (const int[]){'<', 's', '>', -1});
        /* Composition moves what follows: not trusted in part. */
        const mz_span late = {3, 6};
        spans(t, "e\xcc\x81<n>", &late, 1,
              nfc ? (const int[]){0xc3, 0xa9, '<', 'n', '>', -1}
                  : (const int[]){'e', 0xcc, 0x81, NORMAL, -1});
        mz_tokenizer_free(t);
    }
}

/* ---- decoding ---- */

static void half_a_character_is_never_given_out(void **state)
{
    (void)state;
    static const char text[] = "a\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac";
    mzt_tiny_init(&tiny);
    mz_tokenizer *t = made(&tiny.vocab);
    mz_decoder d;
    mz_str out = {0};
    mz_decoder_init(&d, t, false);
    static const size_t whole_after[] = {1, 1, 1, 1, 5, 5, 7, 7, 7, 10};
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        assert_int_equal(mz_decoder_put(&d, (unsigned char)text[i], &out), MZ_OK);
        assert_int_equal(out.len, whole_after[i]);
        assert_memory_equal(out.text, text, out.len);
    }
    assert_int_equal(mz_decoder_end(&d, &out), MZ_OK);
    assert_int_equal(out.len, sizeof text - 1);
    mz_str_clear(&out);
    /* What cannot become a character: one U+FFFD for each beginning, one for each stray byte. */
    static const unsigned char broken[] = {0xe2, 0x82, 'x', 0x80, 0xff, 0xf0, 0x9f, 0x98};
    for (int i = 0; i < MZ_COUNT(broken); i++)
        assert_int_equal(mz_decoder_put(&d, broken[i], &out), MZ_OK);
    assert_string_equal(out.text, "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd");
    assert_int_equal(mz_decoder_put(&d, 100000, &out), MZ_OK); /* no token: nothing */
    assert_int_equal(mz_decoder_end(&d, &out), MZ_OK);
    assert_string_equal(out.text, "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    mz_str_clear(&out);
    mz_tokenizer_free(t);
}

static void special_tokens_can_be_left_out(void **state)
{
    (void)state;
    mz_tokenizer *t = with_added(false);
    static const int32_t ids[] = {BOS, 'a', NORMAL, LONG}, stray[] = {500};
    mz_str out = {0};
    assert_int_equal(mz_decode(t, ids, 4, false, &out), MZ_OK);
    assert_string_equal(out.text, "<s>a<n><s><s>!");
    out.len = 0;
    assert_int_equal(mz_decode(t, ids, 4, true, &out), MZ_OK);
    assert_string_equal(out.text, "a<n>");
    assert_int_equal(mz_decode(t, stray, 1, false, &out), MZ_ECORRUPT);
    assert_int_equal(mz_tokenizer_find(t, "<n>", 3), NORMAL);
    assert_int_equal(mz_tokenizer_find(t, "a", 1), 'a');
    assert_int_equal(mz_tokenizer_find(t, "ab", 2), -1);
    mz_str_clear(&out);
    mz_tokenizer_free(t);
}

/* ---- files ---- */

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/mz-text-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w"); /* mz_file_write waits for the disk */
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void remove_file(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)unlink(path);
}

static int tear_down(void **state)
{
    (void)state;
    remove_file("tokenizer.json");
    remove_file("tokenizer_config.json");
    remove_file("generation_config.json");
    return rmdir(folder);
}

static void a_folder_is_opened(void **state)
{
    (void)state;
    static const char added[] = "[{\"id\": 300, \"content\": \"<s>\", \"special\": true, "
                                "\"normalized\": false}, {\"id\": 301, \"content\": \"</s>\"}]";
    mz_str json = {0};
    mz_tokenizer *t = NULL;
    mzt_tiny_init(&tiny);
    const int ab = mzt_tiny_join(&tiny, 'a', 'b');
    mzt_tiny_json(&tiny, added, GPT2, &json);
    write_file("tokenizer.json", json.text);
    assert_int_equal(mz_tokenizer_open(&t, folder), MZ_OK);
    assert_int_equal(mz_tokenizer_bos(t), 300); /* by its name */
    assert_false(mz_tokenizer_adds_bos(t));
    assert_int_equal(mz_tokenizer_count(t), 302);
    assert_string_equal(mz_tokenizer_split(t), "gpt-2");
    expect(t, "ab<s>", 5, MZ_ENCODE_SPECIAL, (const int[]){ab, 300, -1});
    mz_tokenizer_free(t);

    write_file("tokenizer_config.json",
               "{\"add_bos_token\": true, \"bos_token\": {\"content\": \"<s>\"}, "
               "\"eos_token\": \"</s>\"}");
    write_file("generation_config.json", "{\"eos_token_id\": [301, 65]}");
    assert_int_equal(mz_tokenizer_open(&t, folder), MZ_OK);
    assert_int_equal(mz_tokenizer_bos(t), 300);
    assert_true(mz_tokenizer_adds_bos(t));
    assert_int_equal(mz_tokenizer_eos_count(t), 2);
    assert_true(mz_tokenizer_is_eos(t, 301) && mz_tokenizer_is_eos(t, 65));
    assert_false(mz_tokenizer_is_eos(t, 300));
    mz_tokenizer_free(t);
    mz_str_clear(&json);

    write_file("generation_config.json", "{\"eos_token_id\": 302}");
    t = NULL;
    assert_int_equal(mz_tokenizer_open(&t, folder), MZ_ECORRUPT);
    assert_null(t);
    remove_file("tokenizer_config.json");
    remove_file("generation_config.json");
}

static void refused(const char *json, mz_err want, const char *field)
{
    mz_tokenizer *t = NULL;
    write_file("tokenizer.json", json);
    mz_err_clear();
    const mz_err err = mz_tokenizer_open(&t, folder);
    if (err != want || strcmp(mz_err_last()->field, field) != 0)
        print_error("%.200s: %s, field %s: %s\n", json, mz_err_name(err), mz_err_last()->field,
                    mz_err_last()->message);
    assert_int_equal(err, want);
    assert_null(t);
    assert_string_equal(mz_err_last()->field, field);
    assert_non_null(strstr(mz_err_last()->file, "tokenizer.json"));
}

static void bad_files_are_named(void **state)
{
    (void)state;
#define MZT_PRE "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define MZT_MODEL(vocab, merges) "\"model\":{\"vocab\":" vocab ",\"merges\":" merges "}"
#define MZT_AB MZT_MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\"]")
    static const struct {
        const char *json;
        mz_err want;
        const char *field;
    } cases[] = {
        {"", MZ_ECORRUPT, ""},
        {"{", MZ_ECORRUPT, ""},
        {"[]", MZ_ECORRUPT, ""},
        {"{} x", MZ_ECORRUPT, ""},
        {"{}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":{}}}", MZ_ECORRUPT, "model.merges"},
        {"{\"model\":{},\"model\":{}}", MZ_ECORRUPT, "model"},
        {"{\"model\":{\"vocab\":{},\"vocab\":{}}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":[]}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":{\"a\":-1}}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":{\"a\":1.5}}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":{\"a\":99999999999999999999}}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":{\"\xff\":1}}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"vocab\":{\"\\ud800\":1}}}", MZ_ECORRUPT, "model.vocab"},
        {"{\"model\":{\"merges\":[5]}}", MZ_ECORRUPT, "model.merges"},
        {"{\"model\":{\"merges\":[\"ab\"]}}", MZ_ECORRUPT, "model.merges"},
        {"{\"model\":{\"merges\":[\"a b c\"]}}", MZ_ECORRUPT, "model.merges"},
        {"{\"model\":{\"merges\":[[\"a\"]]}}", MZ_ECORRUPT, "model.merges"},
        {"{\"version\":1,\"version\":1}", MZ_ECORRUPT, "version"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":0,\"b\":0}", "[]") "}", MZ_ECORRUPT, "vocab[1]"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":0,\"\\u0061\":1}", "[]") "}", MZ_ECORRUPT, "vocab[1]"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":4000000000}", "[]") "}", MZ_ECORRUPT, "vocab[0]"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":2000000}", "[]") "}", MZ_ECORRUPT, "vocab[0]"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":0}", "[\"a b\"]") "}", MZ_ECORRUPT, "merges[0]"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":0,\"b\":1}", "[\"a b\"]") "}", MZ_ECORRUPT, "merges[0]"},
        {"{" MZT_PRE "," MZT_MODEL("{\"a\":0}", "[[\"a\",\"\xe2\x82\xac\"]]") "}", MZ_ECORRUPT,
         "merges[0]"},
        {"{" MZT_PRE ",\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}]," MZT_AB "}", MZ_ECORRUPT,
         "added_tokens[0]"},
        {"{" MZT_PRE ",\"added_tokens\":[{\"id\":5}]," MZT_AB "}", MZ_ECORRUPT, "added_tokens"},
        {"{" MZT_PRE ",\"added_tokens\":[{\"id\":5,\"content\":\"x\"},"
         "{\"id\":5,\"content\":\"y\"}]," MZT_AB "}",
         MZ_ECORRUPT, "added_tokens[1]"},
        {"{" MZT_AB "}", MZ_ENOTSUP, "pre_tokenizer"},
        {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," MZT_AB "}", MZ_ENOTSUP, "pre_tokenizer"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\".\"},"
         "\"behavior\":\"Isolated\"}," MZT_AB "}",
         MZ_ENOTSUP, "pre_tokenizer"},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true}," MZT_AB "}",
         MZ_ENOTSUP, "pre_tokenizer"},
        {"{\"normalizer\":{\"type\":\"NFKC\"}," MZT_PRE "," MZT_AB "}", MZ_ENOTSUP, "normalizer"},
        {"{\"decoder\":{\"type\":\"WordPiece\"}," MZT_PRE "," MZT_AB "}", MZ_ENOTSUP, "decoder"},
        {"{" MZT_PRE ",\"model\":{\"type\":\"Unigram\",\"vocab\":{},\"merges\":[]}}", MZ_ENOTSUP,
         "model"},
        {"{" MZT_PRE ",\"model\":{\"byte_fallback\":true,\"vocab\":{},\"merges\":[]}}", MZ_ENOTSUP,
         "byte_fallback"},
    };
    for (int i = 0; i < MZ_COUNT(cases); i++) refused(cases[i].json, cases[i].want, cases[i].field);
    assert_non_null(strstr(mz_err_last()->fix, "deepseek-v3"));
}

/* Cut anywhere, a file is damaged, and says so. */
static void a_cut_file_is_refused(void **state)
{
    (void)state;
    mz_str json = {0};
    mzt_tiny_init(&tiny);
    tiny.vocab.n_tokens = 40;
    mzt_tiny_json(&tiny, "[{\"id\": 300, \"content\": \"<s>\"}]", GPT2, &json);
    for (size_t n = json.len - 1; n > 0; n--) {
        mz_tokenizer *t = NULL;
        json.text[n] = '\0';
        write_file("tokenizer.json", json.text);
        assert_int_equal(mz_tokenizer_open(&t, folder), MZ_ECORRUPT);
        assert_null(t);
    }
    mz_str_clear(&json);
}

/* Each allocation fails in turn: an error, nothing left behind. */
static void without_memory(void **state)
{
    (void)state;
    mz_str json = {0};
    mzt_tiny_init(&tiny);
    (void)mzt_tiny_join(&tiny, 'a', 'b');
    mzt_tiny_json(&tiny, "[{\"id\": 300, \"content\": \"<s>\"}]", GPT2, &json);
    write_file("tokenizer.json", json.text);
    const size_t before = mz_mem_bytes_used();
    int64_t n = 1;
    for (;; n++) {
        mz_tokenizer *t = NULL;
        mz_encoder *e = NULL;
        mz_ids ids = {0};
        mz_mem_fail_at(n, false);
        mz_err err = mz_tokenizer_open(&t, folder);
        if (err == MZ_OK) err = mz_encoder_new(&e, t);
        if (err == MZ_OK) err = mz_encode(e, "ab<s>", 5, MZ_ENCODE_SPECIAL, &ids);
        const bool failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        if (failed) assert_int_equal(err, MZ_ENOMEM);
        if (!failed) assert_int_equal(ids.count, 2);
        mz_ids_clear(&ids);
        mz_encoder_free(e);
        mz_tokenizer_free(t);
        assert_int_equal(mz_mem_bytes_used(), before);
        if (!failed) break;
    }
    assert_true(n > 20);
    mz_str_clear(&json);
}

/* A vocabulary through a file of ours: ids with a hole before the added ones, which the library
 * would number on; every allocation failed in turn. */
static void what_is_written_is_read_again(void **state)
{
    (void)state;
    mz_str json = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/again.json", folder);
    mzt_tiny_init(&tiny);
    (void)mzt_tiny_join(&tiny, 'a', 'b');
    mzt_tiny_json(&tiny,
                  "[{\"id\": 300, \"content\": \"<s>\", \"special\": true},"
                  "{\"id\": 257, \"content\": \"a\\n\\u0001\\\"b\"}]",
                  GPT2, &json);
    write_file("tokenizer.json", json.text);
    const size_t before = mz_mem_bytes_used();
    int64_t n = 1;
    for (bool failed = true; failed; n++) {
        mz_vocab_file *f = NULL;
        mz_mem_fail_at(n, false);
        mz_err err = mz_vocab_open(&f, folder);
        if (err == MZ_OK) err = mz_vocab_write(mz_vocab_of(f), path);
        failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, failed ? MZ_ENOMEM : MZ_OK);
        mz_vocab_close(f);
        assert_int_equal(mz_mem_bytes_used(), before);
    }
    assert_true(n > 20);
    mz_tokenizer *t = NULL;
    assert_int_equal(mz_tokenizer_open(&t, path), MZ_OK);
    expect(t, "ab<s>a\n\001\"bab", 12, MZ_ENCODE_SPECIAL, (int[]){256, 300, 257, 256, -1});
    assert_true(mz_tokenizer_is_special(t, 300) && !mz_tokenizer_is_special(t, 257));
    mz_tokenizer_free(t);
    json_t *o = json_load_file(path, 0, NULL);
    const json_t *list = json_object_get(json_object_get(o, "model"), "vocab");
    assert_int_equal(json_integer_value(json_object_get(list, "<s>")), 300);
    json_decref(o);
    remove_file("again.json");
    mz_str_clear(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_joined_by_the_rule),
        cmocka_unit_test(one_letter_many_times),
        cmocka_unit_test(every_way_to_make_a_token_may_stand),
        cmocka_unit_test(whole_pieces_are_taken_where_merges_are_ignored),
        cmocka_unit_test(bytes_without_a_token_are_dropped_or_unknown),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(added_tokens_only_where_asked_for),
        cmocka_unit_test(the_leftmost_and_longest_is_found),
        cmocka_unit_test(normalised_tokens_meet_normalised_text),
        cmocka_unit_test(only_what_is_trusted_is_special),
        cmocka_unit_test(half_a_character_is_never_given_out),
        cmocka_unit_test(special_tokens_can_be_left_out),
        cmocka_unit_test(a_folder_is_opened),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(a_cut_file_is_refused),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
