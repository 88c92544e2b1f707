/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_shards.c - token shards: what is written is read, whatever the cut; what is
 * damaged is not; and texts of every kind of file become the same ids. */
#include "tests/scratch.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/rng.h"
#include "file/shards.h"
#include "train/corpus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

static void ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

enum { DOCUMENTS = 300, LONGEST = 2000 };

/* Document d: its length and its ids follow from d. */
static int64_t document(int64_t d, int64_t vocab, int32_t *ids)
{
    mz_rng r;
    mz_rng_init(&r, 11, (uint64_t)d);
    const int64_t n = 1 + (int64_t)mz_rng_below(&r, d % 7 == 0 ? LONGEST : 20);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)mz_rng_below(&r, (uint64_t)vocab);
    return n;
}

static mz_err write_set(const char *folder, int64_t vocab, int64_t shard_ids)
{
    mz_shards_writer *w = NULL;
    static int32_t ids[LONGEST];
    const mz_shards_options o = {
        .folder = folder, .vocab = vocab, .shard_ids = shard_ids, .bos = -1, .eos = 7};
    MZ_TRY(mz_shards_writer_new(&w, &o));
    mz_err err = MZ_OK;
    for (int64_t d = 0; d < DOCUMENTS && err == MZ_OK; d++) {
        const int64_t n = document(d, vocab, ids);
        const mz_part part = d % 10 == 3 ? MZ_PART_VALIDATION : MZ_PART_TRAIN;
        err = mz_shards_writer_put(w, part, ids, n);
    }
    if (err == MZ_OK) return mz_shards_writer_commit(w, 1234);
    mz_shards_writer_abort(w);
    return err;
}

static void check_part(const char *folder, int64_t vocab, mz_part part)
{
    static int32_t want[LONGEST], got[LONGEST];
    mz_shards *s = NULL;
    int64_t at = 0, k = 0;
    ok(mz_shards_open(&s, folder, part));
    for (int64_t d = 0; d < DOCUMENTS; d++) {
        if ((d % 10 == 3) != (part == MZ_PART_VALIDATION)) continue;
        const int64_t n = document(d, vocab, want);
        assert_int_equal(mz_shards_document_start(s, k), at);
        assert_int_equal(mz_shards_document_of(s, at), k);
        assert_int_equal(mz_shards_document_of(s, at + n - 1), k);
        ok(mz_shards_read(s, at, n, got));
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        at += n, k++;
    }
    assert_int_equal(mz_shards_ids(s), at);
    assert_int_equal(mz_shards_documents(s), k);
    assert_int_equal(mz_shards_document_start(s, k), at);
    assert_true(mz_shards_largest(s) < vocab && mz_shards_largest(s) > vocab * 9 / 10);
    int32_t all[64]; /* over the borders of documents and shards */
    for (int64_t i = 0; i + 64 <= at; i += 61) {
        ok(mz_shards_read(s, i, 64, all));
        for (int64_t j = 0; j < 64; j += 21) {
            int32_t one;
            ok(mz_shards_read(s, i + j, 1, &one));
            assert_int_equal(one, all[j]);
        }
    }
    assert_int_equal(mz_shards_read(s, at - 3, 4, all), MZ_EINVAL);
    ok(mz_shards_verify(s));
    mz_shards_close(s);
}

static void test_there_and_back(void **state)
{
    (void)state;
    static const int64_t vocabs[] = {65536, 65537}; /* two bytes an id, and four */
    for (int i = 0; i < 2; i++)
        for (int64_t shard = 1; shard < 1000000; shard *= 37) {
            scratch_clear();
            const char *folder = scratch_path("set");
            assert_false(mz_shards_is(folder));
            ok(write_set(folder, vocabs[i], shard));
            assert_true(mz_shards_is(folder));
            check_part(folder, vocabs[i], MZ_PART_TRAIN);
            check_part(folder, vocabs[i], MZ_PART_VALIDATION);
            assert_int_equal(write_set(folder, vocabs[i], shard), MZ_ECONFIG);
        }
}

/* ---- damage ---- */

static mz_err read_all(const char *folder)
{
    mz_shards *s = NULL;
    static int32_t ids[LONGEST];
    mz_err err = mz_shards_open(&s, folder, MZ_PART_TRAIN);
    for (int64_t at = 0; err == MZ_OK && at < mz_shards_ids(s); at += LONGEST) {
        const int64_t left = mz_shards_ids(s) - at;
        err = mz_shards_read(s, at, left < LONGEST ? left : LONGEST, ids);
    }
    mz_shards_close(s);
    return err;
}

static void rewrite(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Any byte flipped and any length cut: said, and never a crash. The head's zeros are covered by the
 * first block's sum. */
static void test_damage(void **state)
{
    (void)state;
    char *bytes = NULL, path[1024];
    size_t n = 0;
    scratch_clear();
    const char *folder = scratch_path("set");
    ok(write_set(folder, 300, 1 << 20));
    ok(read_all(folder));
    (void)snprintf(path, sizeof path, "%s", scratch_path("set/train-00000.tokens"));
    ok(mz_file_read(path, 1 << 24, &bytes, &n));
    assert_true(n > 20000);
    for (size_t at = 0; at < n; at += at < 128 || at + 256 > n ? 1 : 211) {
        bytes[at] = (char)(bytes[at] ^ 0x04);
        rewrite(path, bytes, n);
        if (read_all(folder) != MZ_ECORRUPT) fail_msg("byte %zu of %zu was not missed", at, n);
        bytes[at] = (char)(bytes[at] ^ 0x04);
    }
    for (size_t cut = 0; cut < n; cut += cut < 200 || cut + 200 > n ? 1 : 173) {
        rewrite(path, bytes, cut);
        if (read_all(folder) != MZ_ECORRUPT) fail_msg("cut to %zu of %zu was not missed", cut, n);
    }
    rewrite(path, bytes, n);
    ok(read_all(folder));
    mz_mem_free(bytes);
}

/* A build of which a file call fails leaves no data set, and one after it is whole. */
static void test_faults(void **state)
{
    (void)state;
    int64_t failed = 0;
    for (int64_t n = 1, quiet = 0; quiet < 3; n++) {
        scratch_clear();
        const char *folder = scratch_path("set");
        mz_file_fail_at(n, n % 2 ? EIO : ENOSPC, true);
        const mz_err err = write_set(folder, 300, 400);
        mz_file_fail_at(0, 0, false);
        quiet = err == MZ_OK ? quiet + 1 : 0;
        failed += err != MZ_OK;
        if (err != MZ_OK && err != MZ_EIO)
            fail_msg("call %lld: %s", (long long)n, mz_err_name(err));
        if (err != MZ_OK && mz_shards_is(folder)) fail_msg("call %lld left a set", (long long)n);
        if (err != MZ_OK) ok(write_set(folder, 300, 400));
        check_part(folder, 300, MZ_PART_TRAIN);
        if (n > 40) n += 17; /* the same few calls a shard */
    }
    assert_true(failed > 40);
}

/* ---- texts ---- */

static mz_tokenizer *tokenizer; /* 256 bytes, bos 256, eos 257 */

static int make_tokenizer(void **state)
{
    static char letters[256][8];
    static mz_vocab_token tokens[256];
    static const mz_vocab_added added[] = {{.text = "<b>", .bytes = 3, .id = 256, .special = true},
                                           {.text = "<e>", .bytes = 3, .id = 257, .special = true}};
    static const int64_t eos = 257;
    int next = 256;
    for (int b = 0; b < 256; b++) { /* the byte-level alphabet */
        const bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        const int c = plain ? b : next++;
        (void)snprintf(letters[b], sizeof letters[b], c < 128 ? "%c" : "%c%c",
                       c < 128 ? c : 0xc0 | c >> 6, 0x80 | (c & 63));
        tokens[b] = (mz_vocab_token){.text = letters[b], .bytes = strlen(letters[b]), .id = b};
    }
    const mz_vocab v = {.tokens = tokens,
                        .n_tokens = 256,
                        .added = added,
                        .n_added = 2,
                        .split = "gpt-2",
                        .unknown = -1,
                        .bos = 256,
                        .add_bos = true,
                        .eos = &eos,
                        .n_eos = 1,
                        .file = "bytes"};
    ok(mz_tokenizer_from_vocab(&tokenizer, &v));
    return scratch_make(state);
}

static int free_tokenizer(void **state)
{
    mz_tokenizer_free(tokenizer);
    return scratch_remove(state);
}

static mz_err build(const char *const *files, int n, const char *out, double validation,
                    int threads, mz_corpus_count *count)
{
    const mz_corpus_options o = {.files = files,
                                 .n_files = n,
                                 .out = out,
                                 .tokenizer = tokenizer,
                                 .tokenizer_name = "bytes",
                                 .field = "text",
                                 .validation = validation,
                                 .shard_ids = 5000,
                                 .threads = threads};
    return mz_corpus_build(&o, count);
}

/* The part as text again, bos as '^' and eos as '$'. */
static char *text_of(const char *folder, mz_part part)
{
    mz_shards *s = NULL;
    ok(mz_shards_open(&s, folder, part));
    const int64_t n = mz_shards_ids(s);
    int32_t *ids = calloc((size_t)n + 1, sizeof *ids);
    char *text = calloc((size_t)n + 1, 1);
    assert_true(ids && text);
    ok(mz_shards_read(s, 0, n, ids));
    for (int64_t i = 0; i < n; i++)
        text[i] = (char)(ids[i] == 256 ? '^' : ids[i] == 257 ? '$' : ids[i]);
    free(ids);
    mz_shards_close(s);
    return text;
}

static const char *write_zstd(const char *name, const char *text, size_t cut)
{
    static char packed[1 << 16];
    const size_t n = strlen(text), half = n / 2; /* two frames */
    const size_t a = ZSTD_compress(packed, sizeof packed, text, half, 3);
    const size_t b = ZSTD_compress(packed + a, sizeof packed - a, text + half, n - half, 3);
    assert_false(ZSTD_isError(a) || ZSTD_isError(b));
    const char *path = scratch_path(name);
    ok(mz_file_write(path, packed, a + b - cut));
    return path;
}

static void test_kinds_of_files(void **state)
{
    (void)state;
    mz_corpus_count c;
    scratch_clear();
    const char *lines = "{\"text\": \"one\\n\\u0041\", \"n\": [1, {\"text\": 2}]}\r\n\n"
                        "{\"a\": null, \"text\": \"\"}\n{\"text\":\"<e>three\"}";
    const char *files[] = {scratch_write("a.jsonl", lines), scratch_write("b.txt", "b\nc\n"),
                           write_zstd("a.jsonl.zst", lines, 0), write_zstd("b.zst", "b\nc\n", 0)};
    ok(build(files, 4, scratch_path("set"), 0.0, 2, &c));
    char *text = text_of(scratch_path("set"), MZ_PART_TRAIN);
    assert_string_equal(text, "^one\nA$^<e>three$^b\nc\n$^one\nA$^<e>three$^b\nc\n$");
    free(text);
    assert_int_equal(c.documents, 6);
    assert_int_equal(c.empty, 2);
    assert_int_equal(c.text_bytes, 2 * (5 + 8 + 4));
    assert_int_equal(c.ids, c.text_bytes + 12);
    assert_int_equal(c.file_bytes, c.file_bytes_all);
}

/* The end of a plain file, from a line's beginning; documents of JSONL by their number alone. */
static void test_validation(void **state)
{
    (void)state;
    mz_corpus_count c;
    static char lines[200 * 20];
    size_t at = 0;
    scratch_clear();
    const char *plain[] = {scratch_write("p.txt", "aaaa\nbbbb\ncccc\ndddd\n")};
    ok(build(plain, 1, scratch_path("plain"), 0.3, 1, &c));
    char *train = text_of(scratch_path("plain"), MZ_PART_TRAIN);
    char *held = text_of(scratch_path("plain"), MZ_PART_VALIDATION);
    assert_string_equal(train, "^aaaa\nbbbb\ncccc\n$");
    assert_string_equal(held, "^dddd\n$");
    free(train);
    free(held);
    for (int i = 0; i < 200; i++)
        at += (size_t)snprintf(lines + at, sizeof lines - at, "{\"text\":\"%03d\"}\n", i);
    const char *json[] = {scratch_write("l.jsonl", lines)};
    ok(build(json, 1, scratch_path("one"), 0.2, 1, &c));
    ok(build(json, 1, scratch_path("two"), 0.2, 3, &c));
    const int64_t drawn = c.part[MZ_PART_VALIDATION].documents;
    assert_int_equal(drawn + c.part[MZ_PART_TRAIN].documents, 200);
    assert_true(drawn > 20 && drawn < 60);
    for (int part = 0; part < MZ_PARTS; part++) {
        char *a = text_of(scratch_path("one"), (mz_part)part);
        char *b = text_of(scratch_path("two"), (mz_part)part);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
}

typedef struct bad {
    const char *name, *text, *says;
    mz_err code;
} bad;

static void test_bad_files(void **state)
{
    (void)state;
    static const bad list[] = {
        {"a.jsonl", "{\"text\": \"x\"}\n{\"txt\": \"y\"}\n", "a.jsonl:2: ", MZ_ECORRUPT},
        {"a.jsonl", "{\"text\": 3}\n", "a.jsonl:1: ", MZ_ECORRUPT},
        {"a.jsonl", "{\"text\": \"x\", \"text\": \"y\"}\n", "a.jsonl:1: ", MZ_ECORRUPT},
        {"a.jsonl", "{\"text\": \"x\"} 1\n", "a.jsonl:1: ", MZ_ECORRUPT},
        {"a.jsonl", "\n\n{\"text\": \"x\n", "a.jsonl:3: ", MZ_ECORRUPT},
        {"a.jsonl", "text\n", "a.jsonl:1: ", MZ_ECORRUPT},
        {"a.jsonl", "\n", "hold no document", MZ_ECORRUPT},
        {"a.txt", "", "hold no document", MZ_ECORRUPT},
    };
    for (int i = 0; i < MZ_COUNT(list); i++) {
        mz_corpus_count c;
        scratch_clear();
        const char *files[] = {scratch_write(list[i].name, list[i].text)};
        const mz_err err = build(files, 1, scratch_path("set"), 0.0, 1, &c);
        if (err != list[i].code || !strstr(mz_err_last()->message, list[i].says))
            fail_msg("case %d: %s (%s)", i, mz_err_name(err), mz_err_last()->message);
        assert_false(mz_shards_is(scratch_path("set")));
    }
    mz_corpus_count c;
    scratch_clear();
    const char *cut[] = {write_zstd("c.zst", "some text that is long enough to be cut", 3)};
    assert_int_equal(build(cut, 1, scratch_path("set"), 0.0, 1, &c), MZ_ECORRUPT);
    assert_non_null(strstr(mz_err_last()->message, "no whole zstd file"));
    const char *none[] = {scratch_path("none.txt")};
    assert_int_equal(build(none, 1, scratch_path("set"), 0.0, 1, &c), MZ_EIO);
    ok(mz_file_write(scratch_path("n.txt"), "a\0b", 3));
    const char *binary[] = {scratch_path("n.txt")};
    assert_int_equal(build(binary, 1, scratch_path("set"), 0.0, 1, &c), MZ_ECORRUPT);
    assert_non_null(strstr(mz_err_last()->message, "NUL"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_faults),         cmocka_unit_test(test_kinds_of_files),
        cmocka_unit_test(test_validation),     cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, make_tokenizer, free_tokenizer);
}
