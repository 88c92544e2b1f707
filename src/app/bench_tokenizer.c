/* SPDX-License-Identifier: Apache-2.0 */
/* app/bench_tokenizer.c - `mizan bench tokenizer SRC`. One thread; an encoder is new for every
 * repetition, so that none finds in its cache what another left there. Floor: app. */
#include "app/bench.h"
#include "app/source.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

enum { TEXT_BYTES = 2 << 20, TEXT_MOST = 1 << 30, REPETITIONS = 7 };

typedef struct trial {
    const char *source;
    mz_tokenizer *tokenizer;
    mz_str text;
    mz_ids ids;
    mz_str decoded;
} trial;

/* Words of the vocabulary at random, what is common among them no more often than the rest. */
static mz_err make_text(trial *t, uint64_t seed)
{
    const int64_t count = mz_tokenizer_count(t->tokenizer);
    mz_rng rng;
    mz_rng_init(&rng, seed, 0);
    for (int64_t words = 1; t->text.len < TEXT_BYTES; words++) {
        const int64_t id = (int64_t)mz_rng_below(&rng, (uint64_t)count);
        const char *bytes;
        size_t n;
        if (mz_tokenizer_is_special(t->tokenizer, id)) continue;
        if (mz_tokenizer_bytes(t->tokenizer, id, &bytes, &n))
            MZ_TRY(mz_str_add(&t->text, bytes, n));
        if (words % 12 == 0) MZ_TRY(mz_str_add(&t->text, "\n", 1));
    }
    return MZ_OK;
}

static mz_err read_text(trial *t, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_file_read(path, TEXT_MOST, &text, &bytes));
    const mz_err err = mz_str_add(&t->text, text, bytes);
    mz_mem_free(text);
    return err;
}

static mz_err load(trial *t)
{
    mz_tokenizer *again = NULL;
    MZ_TRY(mz_app_open_tokenizer(&again, t->source));
    mz_tokenizer_free(again);
    return MZ_OK;
}

static mz_err encode(trial *t, bool by_lines)
{
    const char *at = t->text.text, *end = at + t->text.len;
    mz_encoder *e = NULL;
    t->ids.count = 0;
    MZ_TRY(mz_encoder_new(&e, t->tokenizer));
    mz_err err = MZ_OK;
    while (err == MZ_OK && at < end) {
        const char *line = by_lines ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        const char *stop = line ? line + 1 : end;
        err = mz_encode(e, at, (size_t)(stop - at), 0, &t->ids);
        at = stop;
    }
    mz_encoder_free(e);
    return err;
}

static mz_err encode_lines(trial *t)
{
    return encode(t, true);
}

static mz_err encode_whole(trial *t)
{
    return encode(t, false);
}

static mz_err decode(trial *t)
{
    t->decoded.len = 0;
    return mz_decode(t->tokenizer, t->ids.at, t->ids.count, false, &t->decoded);
}

/* The nanoseconds of each repetition, as an array under that key. */
static mz_err repeat(json_t *o, const char *key, trial *t, mz_err (*what)(trial *t), int64_t times)
{
    json_t *list = json_array();
    if (!list || json_object_set_new(o, key, list) != 0) return mz_cli_json_failed();
    for (int64_t i = 0; i < times; i++) {
        const int64_t start = mz_clock_ns();
        MZ_TRY(what(t));
        if (json_array_append_new(list, json_integer(mz_clock_ns() - start)) != 0)
            return mz_cli_json_failed();
    }
    return MZ_OK;
}

static mz_err measure(trial *t, json_t *o, int64_t times)
{
    int bad = json_object_set_new(o, "kind", json_string("tokenizer"));
    bad |= json_object_set_new(o, "source", json_string(t->source));
    bad |= json_object_set_new(o, "vocabulary", json_integer(mz_tokenizer_count(t->tokenizer)));
    bad |= json_object_set_new(o, "bytes", json_integer((json_int_t)t->text.len));
    if (bad) return mz_cli_json_failed();
    MZ_TRY(repeat(o, "load_ns", t, load, times));
    MZ_TRY(repeat(o, "encode_lines_ns", t, encode_lines, times));
    MZ_TRY(repeat(o, "encode_ns", t, encode_whole, times));
    MZ_TRY(repeat(o, "decode_ns", t, decode, times));
    if (t->decoded.len != t->text.len || memcmp(t->decoded.text, t->text.text, t->text.len) != 0)
        return MZ_FAIL(MZ_ENUMERIC, "the text did not come back from its ids");
    return json_object_set_new(o, "tokens", json_integer((json_int_t)t->ids.count)) == 0
               ? MZ_OK
               : mz_cli_json_failed();
}

mz_err mz_bench_tokenizer(const mz_cli *cli)
{
    const char *path = mz_cli_text(cli, "text", NULL);
    trial t = {.source = mz_cli_argument(cli, 1)};
    json_t *o = mz_cli_document();
    mz_err err = o ? mz_app_open_tokenizer(&t.tokenizer, t.source) : mz_cli_json_failed();
    if (err == MZ_OK)
        err = path ? read_text(&t, path) : make_text(&t, (uint64_t)mz_cli_int(cli, "seed", 0));
    if (err == MZ_OK) err = measure(&t, o, mz_bench_repetitions(cli, REPETITIONS));
    mz_str_clear(&t.text);
    mz_str_clear(&t.decoded);
    mz_ids_clear(&t.ids);
    mz_tokenizer_free(t.tokenizer);
    if (err == MZ_OK) return mz_bench_print(cli, o);
    json_decref(o);
    return err;
}
