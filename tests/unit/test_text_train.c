/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_text_train.c - merges by hand, ties, texts that come about twice, and the file
 * that is written. The library itself is the oracle in tools/peers/tokenizers.py. */
#include "base/mem.h"
#include "text/tokenizer.h"
#include "text/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char path[64];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/mz-train-XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

/* Trains on lines, each fed on its own, and reads the result back. */
static mz_tokenizer *learned(const char *const *lines, const mz_bpe_train_options *o,
                             int64_t *merges)
{
    mz_bpe_trainer *trainer = NULL;
    mz_tokenizer *t = NULL;
    assert_int_equal(mz_bpe_trainer_new(&trainer), MZ_OK);
    for (; *lines; lines++)
        assert_int_equal(mz_bpe_trainer_feed(trainer, *lines, strlen(*lines)), MZ_OK);
    assert_int_equal(mz_bpe_trainer_run(trainer, o), MZ_OK);
    *merges = mz_bpe_trainer_merges(trainer);
    assert_int_equal(mz_bpe_trainer_write(trainer, path), MZ_OK);
    assert_int_equal(mz_tokenizer_open(&t, path), MZ_OK);
    assert_int_equal(mz_tokenizer_count(t), mz_bpe_trainer_tokens(trainer));
    mz_bpe_trainer_free(trainer);
    return t;
}

/* Token `id` is `text`. */
static void is_token(const mz_tokenizer *t, int64_t id, const char *text)
{
    const char *bytes;
    size_t n;
    assert_true(mz_tokenizer_bytes(t, id, &bytes, &n));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(bytes, text, n);
}

static void frequent_pairs_come_first(void **state)
{
    (void)state;
    /* words, by count: " low" 3, "er" 2, "low" 1.  pairs: l-o 4, o-w 4, space-l 3, e-r 2 */
    static const char *const lines[] = {"low low", " low low", "er\n", "er", NULL};
    int64_t merges;
    const mz_bpe_train_options o = {.vocab = 1000, .min_frequency = 2};
    mz_tokenizer *t = learned(lines, &o, &merges);
    assert_int_equal(merges, 4);
    is_token(t, 0, "!");    /* letters by code point, bytes that are written as themselves first */
    is_token(t, 256, "lo"); /* a tie of l-o and o-w: l has the smaller id */
    is_token(t, 257, "low");
    is_token(t, 258, " low");
    is_token(t, 259, "er");
    assert_int_equal(mz_tokenizer_count(t), 260);
    mz_tokenizer_free(t);
}

static void the_limits_hold(void **state)
{
    (void)state;
    static const char *const lines[] = {"aaaa aaaa", NULL}, *const none[] = {NULL};
    static const char *const special[] = {"<s>", "</s>", "<s>"};
    int64_t merges;
    mz_bpe_train_options o = {.vocab = 259, .special = special, .n_special = 3};
    mz_tokenizer *t = learned(lines, &o, &merges);
    assert_int_equal(merges, 1); /* 2 special ones (one given twice), 256 bytes, 1 merge */
    is_token(t, 0, "<s>");
    is_token(t, 1, "</s>");
    assert_true(mz_tokenizer_is_special(t, 1));
    is_token(t, 258, "aa");
    mz_tokenizer_free(t);
    o = (mz_bpe_train_options){.vocab = 10}; /* bytes are there in any case */
    t = learned(none, &o, &merges);
    assert_int_equal(merges, 0);
    assert_int_equal(mz_tokenizer_count(t), 256);
    mz_tokenizer_free(t);
    o = (mz_bpe_train_options){.vocab = 1000, .min_frequency = 7};
    t = learned(lines, &o, &merges); /* a-a 6 times */
    assert_int_equal(merges, 0);
    mz_tokenizer_free(t);
}

/* A special token whose text is learned too: no second token of that text. */
static void a_known_text_is_no_new_token(void **state)
{
    (void)state;
    static const char *const lines[] = {"xy xy xy", NULL};
    static const char *const special[] = {"xy"};
    int64_t merges;
    const mz_bpe_train_options o = {
        .vocab = 1000, .min_frequency = 2, .special = special, .n_special = 1};
    mz_tokenizer *t = learned(lines, &o, &merges);
    assert_int_equal(merges, 2); /* x-y, then the space and xy (twice) */
    assert_int_equal(mz_tokenizer_count(t), 258);
    is_token(t, 257, " xy");
    mz_tokenizer_free(t);
}

static void the_file_is_laid_out_as_the_library_does(void **state)
{
    (void)state;
    static const char *const lines[] = {"\"\\ \"\\", NULL}; /* quotes and backslashes in tokens */
    static const char *const special[] = {"a\n\x01\""};
    static const char *const parts[] = {
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n",
        "      \"id\": 0,\n      \"content\": \"a\\n\\u0001\\\"\",\n      \"single_word\": "
        "false,\n",
        "    \"ignore_merges\": false,\n    \"vocab\": {\n      \"a\\n\\u0001\\\"\": 0,\n",
        "      \"\\\"\\\\\": 257\n    },\n    \"merges\": [\n      [\n        \"\\\"\",\n        "
        "\"\\\\\"\n      ]\n    ]\n  }\n}",
    };
    int64_t merges;
    const mz_bpe_train_options o = {.vocab = 258, .special = special, .n_special = 1};
    mz_tokenizer_free(learned(lines, &o, &merges));
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    assert_true(f && text);
    const size_t n = fread(text, 1, (1 << 16) - 1, f);
    assert_int_equal(fclose(f), 0);
    const char *at = text;
    for (int i = 0; i < MZ_COUNT(parts); i++) {
        at = strstr(at, parts[i]);
        if (!at) fail_msg("part %d is not in %s", i, text);
    }
    assert_int_equal(at + strlen(parts[3]) - text, n);
    free(text);
}

static void what_cannot_be_learned_from_is_refused(void **state)
{
    (void)state;
    mz_bpe_trainer *t = NULL;
    const mz_bpe_train_options o = {.vocab = 300};
    assert_int_equal(mz_bpe_trainer_new(&t), MZ_OK);
    assert_int_equal(mz_bpe_trainer_feed(t, "a\xff", 2), MZ_ECORRUPT);
    assert_int_equal(mz_bpe_trainer_write(t, path), MZ_EINVAL); /* it has not run */
    assert_int_equal(mz_bpe_trainer_run(t, &o), MZ_OK);
    assert_int_equal(mz_bpe_trainer_words(t), 0);
    assert_int_equal(mz_bpe_trainer_run(t, &o), MZ_EINVAL);
    assert_int_equal(mz_bpe_trainer_feed(t, "a", 1), MZ_EINVAL);
    mz_bpe_trainer_free(t);
}

static void without_memory(void **state)
{
    (void)state;
    const size_t before = mz_mem_bytes_used();
    const mz_bpe_train_options o = {.vocab = 300};
    for (int64_t n = 1;; n++) {
        mz_bpe_trainer *t = NULL;
        mz_mem_fail_at(n, false);
        mz_err err = mz_bpe_trainer_new(&t);
        if (err == MZ_OK) err = mz_bpe_trainer_feed(t, "aa ab aab abb", 13);
        if (err == MZ_OK) err = mz_bpe_trainer_run(t, &o);
        const bool failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, failed ? MZ_ENOMEM : MZ_OK);
        mz_bpe_trainer_free(t);
        assert_int_equal(mz_mem_bytes_used(), before);
        if (!failed) {
            assert_true(n > 10);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequent_pairs_come_first),
        cmocka_unit_test(the_limits_hold),
        cmocka_unit_test(a_known_text_is_no_new_token),
        cmocka_unit_test(the_file_is_laid_out_as_the_library_does),
        cmocka_unit_test(what_cannot_be_learned_from_is_refused),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
