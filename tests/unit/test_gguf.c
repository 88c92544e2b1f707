/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_gguf.c - every rule of the format broken once, with the field and the byte that
 * the error must name; a valid file cut and changed at every byte; hostile sizes within their
 * bounds; what the writer writes is read back. */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "file/gguf.h"
#include "tests/near.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mz_gguf_XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.gguf", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void put_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- files in a small language ----
 * M        "GGUF"                     s:TEXT   length and bytes
 * 4:N 8:N  u32, u64                   t:TEXT   the bytes alone
 * 1:N      one byte                   z:N      N zeros          a:N  zeros up to a multiple of N */

static void word(mz_str *s, uint64_t x, size_t bytes)
{
    char raw[8];
    for (size_t i = 0; i < bytes; i++) raw[i] = (char)(x >> 8 * i & 0xff);
    assert_int_equal(mz_str_add(s, raw, bytes), MZ_OK);
}

static void one(mz_str *s, const char *token, size_t n)
{
    const char *value = token + 2;
    const size_t bytes = n > 2 ? n - 2 : 0;
    const uint64_t x = n > 2 ? strtoull(value, NULL, 0) : 0;
    switch (token[0]) {
    case 'M':
        assert_int_equal(mz_str_add(s, "GGUF", 4), MZ_OK);
        break;
    case '1':
        word(s, x, 1);
        break;
    case '4':
        word(s, x, 4);
        break;
    case '8':
        word(s, x, 8);
        break;
    case 's':
        word(s, bytes, 8);
        assert_int_equal(mz_str_add(s, value, bytes), MZ_OK);
        break;
    case 't':
        assert_int_equal(mz_str_add(s, value, bytes), MZ_OK);
        break;
    case 'z':
        for (uint64_t i = 0; i < x; i++) word(s, 0, 1);
        break;
    case 'a':
        while (s->len % x != 0) word(s, 0, 1);
        break;
    default:
        fail_msg("token %s", token);
    }
}

static void build(mz_str *s, const char *text)
{
    while (*text) {
        const size_t n = strcspn(text, " ");
        if (n > 0) one(s, text, n);
        text += n + (text[n] == ' ');
    }
}

static mz_err open_text(const char *text, mz_gguf **file)
{
    mz_str s = {0};
    build(&s, text);
    put_file(s.text ? s.text : "", s.len);
    mz_str_clear(&s);
    mz_err_clear();
    return mz_gguf_open(file, path);
}

#define HEAD(tensors, keys) "M 4:3 8:" #tensors " 8:" #keys " "
#define ARCH "s:general.architecture 4:8 s:llama " /* bytes 24 .. 68 */
#define ONE "s:a 4:1 8:32 4:0 8:0 "                /* bytes 69 .. 101 */
#define DATA "a:32 z:128"
#define PLAIN HEAD(1, 1) ARCH ONE DATA

static const struct refusal {
    const char *text, *field;
    long long offset;
} REFUSALS[] = {
    /* G1 too short for a header (cut at every byte below) */
    {"", "header", 0},
    {"M", "header", 4},
    {"M 4:3 8:1", "header", 16},
    /* G2 magic and version */
    {"t:GGUG 4:3 8:1 8:1 " ARCH ONE DATA, "header", 0},
    {"t:FUGG 4:3 8:1 8:1 " ARCH ONE DATA, "header", 0},
    {"M 4:0 8:1 8:1 " ARCH ONE DATA, "header", 4},
    {"M 4:1 8:1 8:1 " ARCH ONE DATA, "header", 4},
    {"M 4:4 8:1 8:1 " ARCH ONE DATA, "header", 4},
    {"M 4:0x80000000 8:1 8:1 " ARCH ONE DATA, "header", 4},
    {"M 4:0x03000000 8:1 8:1 " ARCH ONE DATA, "header", 4},
    /* G3 counts */
    {HEAD(0, 1) ARCH, "data", 8},
    {HEAD(1, 0) ONE DATA, "header", 16},
    {HEAD(0x80000000, 1) ARCH ONE DATA, "header", 8},
    {HEAD(0x8000000000000000, 1) ARCH ONE DATA, "header", 8},
    {HEAD(0xffffffffffffffff, 1) ARCH ONE DATA, "header", 8},
    {HEAD(1, 0x80000000) ARCH ONE DATA, "header", 16},
    {HEAD(1, 0x8000000000000000) ARCH ONE DATA, "header", 16},
    {HEAD(1, 0xffffffffffffffff) ARCH ONE DATA, "header", 16},
    {HEAD(1, 2) ARCH ONE DATA, "tensor 0", 83}, /* the tensor read as a key of type i8 */
    /* G4 key lengths */
    {HEAD(1, 1) "8:0 4:4 4:1 " ONE DATA, "key 0", 24},
    {HEAD(1, 1) "8:65536 z:65536 4:4 4:1 " ONE DATA, "key 0", 32},
    {HEAD(1, 1) "8:0xffffffffffffffff t:abc 4:4 4:1 " ONE DATA, "key 0", 24},
    {HEAD(1, 1) "8:0x7fffffffffffffff t:abc 4:4 4:1 " ONE DATA, "key 0", 24},
    /* G5 types of values */
    {HEAD(1, 1) "s:k 4:13 4:1 " ONE DATA, "k", 33},
    {HEAD(1, 1) "s:k 4:255 4:1 " ONE DATA, "k", 33},
    {HEAD(1, 1) "s:k 4:0x80000008 4:1 " ONE DATA, "k", 33},
    {HEAD(1, 1) "s:k 4:9 4:9 8:1 4:4 8:1 4:1 " ONE DATA, "k", 37},
    {HEAD(1, 1) "s:k 4:9 4:13 8:1 4:1 " ONE DATA, "k", 37},
    {HEAD(1, 1) "s:k 4:9 4:4 8:0x10000000000 4:1 " ONE DATA, "k", 49},
    {HEAD(1, 1) "s:k 4:9 4:4 8:0x4000000000000001 4:1 " ONE DATA, "k", 49},
    {HEAD(1, 1) "s:k 4:9 4:8 8:0x10000000000 s:x " ONE DATA, "k", 49},
    {HEAD(1, 1) "s:k 4:9 4:8 8:0x2000000000000000 s:x " ONE DATA, "k", 49},
    {HEAD(1, 1) "s:k 4:7 1:2 " ONE DATA, "k", 37},
    {HEAD(1, 1) "s:k 4:9 4:7 8:3 1:0 1:1 1:7 " ONE DATA, "k", 51},
    /* G6 texts */
    {HEAD(1, 1) "s:k 4:8 8:5000 t:abc " ONE DATA, "k", 37},
    {HEAD(1, 1) "s:k 4:8 8:0xffffffffffffffff t:abc " ONE DATA, "k", 37},
    {HEAD(1, 1) "s:k 4:8 8:3 t:ab 1:0 " ONE DATA, "k", 47},
    {HEAD(1, 1) "s:k 4:8 8:3 t:ab 1:0xff " ONE DATA, "k", 47},
    {HEAD(1, 1) "s:k 4:8 8:3 t:a 1:0xc0 1:0x80 " ONE DATA, "k", 46},
    {HEAD(1, 1) "s:k 4:8 8:3 1:0xed 1:0xa0 1:0x80 " ONE DATA, "k", 45},
    {HEAD(1, 1) "8:2 t:k 1:0 4:4 4:1 " ONE DATA, "key 0", 33},
    {HEAD(1, 1) "8:2 t:k 1:0xe9 4:4 4:1 " ONE DATA, "key 0", 33},
    {HEAD(1, 1) "s:k 4:9 4:8 8:2 s:ok 8:2 t:a 1:0 " ONE DATA, "k", 68},
    {HEAD(1, 1) ARCH "8:2 t:a 1:0 4:1 8:32 4:0 8:0 " DATA, "tensor 0", 78},
    /* G7 duplicates */
    {HEAD(1, 3) ARCH "s:k 4:4 4:1 s:k 4:4 4:2 " ONE DATA, "k", 99},
    {HEAD(2, 1) ARCH ONE "s:a 4:1 8:32 4:0 8:128 a:32 z:256", "a", 288},
    /* G8 alignment */
    {HEAD(1, 1) "s:general.alignment 4:4 4:0 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:4 4:3 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:4 4:48 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:4 4:0x80000000 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:10 8:32 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:5 4:32 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:8 s:32 " ONE DATA, "general.alignment", 53},
    {HEAD(1, 1) "s:general.alignment 4:9 4:4 8:1 4:32 " ONE DATA, "general.alignment", 65},
    /* G9 ranks */
    {HEAD(1, 1) ARCH "s:a 4:0 4:0 8:0 " DATA " z:64", "a", 78},
    {HEAD(1, 1) ARCH "s:a 4:5 8:2 8:2 8:2 8:2 8:2 4:0 8:0 " DATA, "a", 78},
    {HEAD(1, 1) ARCH "s:a 4:0xffffffff 8:32 4:0 8:0 " DATA, "a", 78},
    /* G10 shapes */
    {HEAD(1, 1) ARCH "s:a 4:1 8:0 4:0 8:0 " DATA, "a", 82},
    {HEAD(1, 1) ARCH "s:a 4:1 8:0xffffffffffffffff 4:0 8:0 " DATA, "a", 82},
    {HEAD(1, 1) ARCH "s:a 4:2 8:0x100000000 8:0x100000000 4:0 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:2 8:0x7fffffffffffffff 8:2 4:0 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:3 8:0x80000001 8:0x80000001 8:4 4:0 8:0 " DATA, "a", 98},
    {HEAD(1, 1) ARCH "s:a 4:1 8:0x4000000000000001 4:0 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:1 8:0x4000000000000020 4:8 8:0 " DATA, "a", 256},
    /* G11 types of numbers */
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:4 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:31 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:36 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:1000 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:0xffffffff 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:1 8:33 4:8 8:0 " DATA, "a", 90},
    {HEAD(1, 1) ARCH "s:a 4:2 8:16 8:2 4:2 8:0 " DATA, "a", 98},
    {HEAD(1, 1) ARCH "s:a 4:1 8:128 4:12 8:0 " DATA, "a", 90},
    /* G12 offsets */
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:0 8:1 " DATA, "a", 94},
    {HEAD(1, 1) ARCH "s:a 4:1 8:32 4:0 8:32 " DATA " z:32", "a", 94},
    {HEAD(2, 1) ARCH ONE "s:b 4:1 8:32 4:0 8:0 a:32 z:256", "b", 127},
    {HEAD(2, 1) ARCH ONE "s:b 4:1 8:32 4:0 8:96 a:32 z:256", "b", 127},
    {HEAD(2, 1) ARCH ONE "s:b 4:1 8:32 4:0 8:160 a:32 z:288", "b", 127},
    {HEAD(2, 1) ARCH ONE "s:b 4:1 8:32 4:0 8:0xffffffffffffff80 a:32 z:256", "b", 127},
    {HEAD(1, 1) ARCH "s:a 4:1 8:0x7fffffffffffffff 4:24 8:0 " DATA, "a", 256},
    {HEAD(3, 1) ARCH "s:a 4:1 8:0x7fffffffffffffe0 4:24 8:0 "
                     "s:b 4:1 8:0x7fffffffffffffe0 4:24 8:0x7fffffffffffffe0 "
                     "s:c 4:1 8:61 4:24 8:0xffffffffffffffc0 " DATA,
     "c", 160},
    /* G13 data */
    {HEAD(1, 1) ARCH ONE, "a", 102},
    {HEAD(1, 1) ARCH ONE "a:32 z:127", "a", 255},
    {HEAD(1, 1) ARCH ONE "a:32 z:129", "data", 256},
    {HEAD(1, 1) ARCH "s:a 4:1 8:33 4:24 8:0 a:32 z:65", "data", 192},
};

static void every_rule_is_kept(void **state)
{
    (void)state;
    mz_gguf *file = NULL;
    assert_int_equal(open_text(PLAIN, &file), MZ_OK);
    mz_gguf_close(file);
    for (int i = 0; i < MZ_COUNT(REFUSALS); i++) {
        const struct refusal *r = &REFUSALS[i];
        const size_t before = mz_mem_bytes_used();
        file = NULL;
        const mz_err err = open_text(r->text, &file);
        const mz_err_info *info = mz_err_last();
        if (err != MZ_ECORRUPT || file || strcmp(info->field, r->field) != 0 ||
            info->offset != r->offset || strcmp(info->file, path) != 0)
            fail_msg("%s: %s, field %s, byte %lld, want %s, %lld: %s", r->text, mz_err_name(err),
                     info->field, (long long)info->offset, r->field, r->offset, info->message);
        assert_int_equal(mz_mem_bytes_used(), before);
    }
}

static void what_is_legal_is_read(void **state)
{
    (void)state;
    static const char *const legal[] = {
        PLAIN,
        "M 4:2 8:1 8:1 " ARCH ONE DATA,
        HEAD(1, 1) ARCH "s:a 4:4 8:2 8:2 8:2 8:4 4:0 8:0 " DATA,
        HEAD(1, 1) ARCH "s:a 4:1 8:33 4:24 8:0 a:32 z:33", /* no padding behind the last */
        HEAD(1, 1) ARCH "s:a 4:1 8:33 4:24 8:0 a:32 z:64", /* all of it */
        HEAD(1, 1) "s:general.alignment 4:4 4:64 " ONE "a:64 z:128",
        HEAD(1, 1) "s:k 4:9 4:4 8:0 " ONE DATA,               /* an empty array */
        HEAD(0, 1) "s:tokenizer.ggml.tokens 4:9 4:8 8:1 s:x", /* a vocabulary alone */
        HEAD(1, 1) ARCH "s:a 4:1 8:256 4:10 8:0 a:32 z:84", /* Q2_K: has a size, is not expanded */
    };
    for (int i = 0; i < MZ_COUNT(legal); i++) {
        mz_gguf *file = NULL;
        if (open_text(legal[i], &file) != MZ_OK)
            fail_msg("%s: %s", legal[i], mz_err_last()->message);
        mz_gguf_close(file);
    }
    float y[256];
    mz_gguf *file = NULL;
    assert_int_equal(open_text(legal[MZ_COUNT(legal) - 1], &file), MZ_OK);
    const mz_gguf_tensor *t = mz_gguf_at(file, 0);
    assert_false(mz_ggml_can_expand(t->type));
    assert_int_equal(mz_ggml_expand(t->type, y, t->data, t->count), MZ_ENOTSUP);
    mz_gguf_close(file);
}

/* ---- values, and what the writer writes ---- */

static void set_keys(mz_gguf_writer *w)
{
    static const char *const texts[] = {"one", "", "z\xc3\xa9ro"};
    assert_int_equal(mz_gguf_writer_text(w, "general.architecture", "llama"), MZ_OK);
    assert_int_equal(mz_gguf_writer_u32(w, "u32", 4000000000), MZ_OK);
    assert_int_equal(mz_gguf_writer_f32(w, "f32", 0.1), MZ_OK);
    assert_int_equal(mz_gguf_writer_bool(w, "yes", true), MZ_OK);
    assert_int_equal(
        mz_gguf_writer_array(w, "i16", MZ_GGUF_I16, 3, (const int16_t[]){-1, 0, -32768}), MZ_OK);
    assert_int_equal(
        mz_gguf_writer_array(w, "u64", MZ_GGUF_U64, 2, (const uint64_t[]){7, UINT64_MAX}), MZ_OK);
    assert_int_equal(mz_gguf_writer_array(w, "f64", MZ_GGUF_F64, 1, (const double[]){0.1}), MZ_OK);
    assert_int_equal(mz_gguf_writer_texts(w, "texts", 3, texts, NULL), MZ_OK);
}

static mz_err write_sample(const char *to)
{
    mz_gguf_writer *w = NULL;
    const float three[3] = {1.0f, -2.0f, 0.5f};
    const unsigned char blocks[2 * 34] = {0, 0x3c, 1, 2, 3};
    mz_err err = mz_gguf_writer_new(&w, to);
    if (err != MZ_OK) return err;
    MZ_TRY_GOTO(err, mz_gguf_writer_text(w, "general.architecture", "llama"), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_u32(w, "k", 3), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_declare(w, "three", MZ_GGML_F32, 1, (int64_t[]){3}), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_declare(w, "q", MZ_GGML_Q8_0, 2, (int64_t[]){2, 32}), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_begin(w), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_put(w, three, 4), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_put(w, three + 1, 8), fail);
    MZ_TRY_GOTO(err, mz_gguf_writer_put(w, blocks, sizeof blocks), fail);
    return mz_gguf_writer_commit(w);
fail:
    mz_gguf_writer_abort(w);
    return err;
}

static void values_come_back(void **state)
{
    (void)state;
    mz_gguf_writer *w = NULL;
    mz_gguf *f = NULL;
    int64_t x = 0;
    double r = 0.0;
    bool yes = false;
    assert_int_equal(mz_gguf_writer_new(&w, path), MZ_OK);
    set_keys(w);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_F16, 3, (int64_t[]){2, 1, 3}), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_OK);
    assert_int_equal(mz_gguf_writer_put(w, (uint16_t[]){0x3c00, 0, 0, 0, 0, 0xc000}, 12), MZ_OK);
    assert_int_equal(mz_gguf_writer_commit(w), MZ_OK);
    assert_int_equal(mz_gguf_open(&f, path), MZ_OK);
    assert_int_equal(mz_gguf_version(f), 3);
    assert_int_equal(mz_gguf_key_count(f), 8);
    assert_true(mz_gguf_int(mz_gguf_key_find(f, "u32"), 0, &x) && x == 4000000000);
    assert_true(mz_gguf_real(mz_gguf_key_find(f, "f32"), 0, &r) && !(fabs(r - (double)0.1f) > 0));
    assert_true(mz_gguf_real(mz_gguf_key_find(f, "f64"), 0, &r) && !(fabs(r - 0.1) > 0));
    assert_true(mz_gguf_bool(mz_gguf_key_find(f, "yes"), &yes) && yes);
    const mz_gguf_key *key = mz_gguf_key_find(f, "i16");
    assert_true(mz_gguf_int(key, 0, &x) && x == -1 && mz_gguf_int(key, 2, &x) && x == -32768);
    assert_false(mz_gguf_int(key, 3, &x));
    key = mz_gguf_key_find(f, "u64");
    assert_true(mz_gguf_int(key, 0, &x) && x == 7);
    assert_false(mz_gguf_int(key, 1, &x)); /* does not fit */
    assert_false(mz_gguf_int(mz_gguf_key_find(f, "f32"), 0, &x));
    assert_false(mz_gguf_bool(mz_gguf_key_find(f, "u32"), &yes));
    assert_null(mz_gguf_key_find(f, "none"));
    const char *text = NULL;
    size_t bytes = 0, all = 0;
    key = mz_gguf_key_find(f, "texts");
    for (uint64_t at = 0; mz_gguf_text_next(key, &at, &text, &bytes);) all = 10 * all + bytes;
    assert_int_equal(all, 305);
    assert_memory_equal(text, "z\xc3\xa9ro", 5);
    const mz_gguf_tensor *t = mz_gguf_find(f, "t");
    float y[6];
    assert_true(t == mz_gguf_at(f, 0) && t->rank == 3 && t->type == MZ_GGML_F16);
    assert_true(t->dim[0] == 2 && t->dim[1] == 1 && t->dim[2] == 3 && t->offset % 32 == 0);
    assert_int_equal(mz_ggml_expand(t->type, y, t->data, t->count), MZ_OK);
    assert_memory_equal(y, ((float[]){1.0f, 0, 0, 0, 0, -2.0f}), sizeof y);
    mz_gguf_close(f);
}

static void keys_are_copied(void **state)
{
    (void)state;
    char other[80];
    mz_gguf_writer *w = NULL;
    mz_gguf *f = NULL, *g = NULL;
    snprintf(other, sizeof other, "%s/b.gguf", folder);
    assert_int_equal(mz_gguf_writer_new(&w, path), MZ_OK);
    set_keys(w);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_I8, 1, (int64_t[]){1}), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_OK);
    assert_int_equal(mz_gguf_writer_put(w, "x", 1), MZ_OK);
    assert_int_equal(mz_gguf_writer_commit(w), MZ_OK);
    assert_int_equal(mz_gguf_open(&f, path), MZ_OK);
    assert_int_equal(mz_gguf_writer_new(&w, other), MZ_OK);
    for (int64_t i = 0; i < mz_gguf_key_count(f); i++)
        assert_int_equal(mz_gguf_writer_copy(w, mz_gguf_key_at(f, i)), MZ_OK);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_I8, 1, (int64_t[]){1}), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_OK);
    assert_int_equal(mz_gguf_writer_put(w, "x", 1), MZ_OK);
    assert_int_equal(mz_gguf_writer_commit(w), MZ_OK);
    assert_int_equal(mz_gguf_open(&g, other), MZ_OK);
    for (int64_t i = 0; i < mz_gguf_key_count(f); i++) {
        const mz_gguf_key *a = mz_gguf_key_at(f, i), *b = mz_gguf_key_at(g, i);
        assert_string_equal(a->name, b->name);
        assert_true(a->type == b->type && a->is_array == b->is_array && a->count == b->count);
        assert_int_equal(a->bytes, b->bytes);
        if (a->bytes > 0) assert_memory_equal(a->data, b->data, a->bytes);
    }
    mz_gguf_close(g);
    mz_gguf_close(f);
    unlink(other);
}

static void the_writer_refuses_nonsense(void **state)
{
    (void)state;
    mz_gguf_writer *w = NULL;
    unlink(path);
    const char *const long_name =
        "0123456789012345678901234567890123456789012345678901234567890123";
    assert_int_equal(mz_gguf_writer_new(&w, path), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_EINVAL); /* no keys */
    assert_int_equal(mz_gguf_writer_u32(w, "k", -1), MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_u32(w, "", 1), MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_u32(w, "k", 1), MZ_OK);
    assert_int_equal(mz_gguf_writer_declare(w, long_name, MZ_GGML_F32, 1, (int64_t[]){1}),
                     MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_Q8_0, 1, (int64_t[]){33}), MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_F32, 1, (int64_t[]){0}), MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_F32, 2, (int64_t[]){INT64_MAX, 2}),
                     MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_F32, 1, (int64_t[]){1}), MZ_OK);
    assert_int_equal(mz_gguf_writer_begin(w), MZ_OK);
    assert_int_equal(mz_gguf_writer_put(w, "12345", 5), MZ_EINVAL);
    assert_int_equal(mz_gguf_writer_commit(w), MZ_EINVAL); /* frees it */
    assert_false(mz_file_exists(path));
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(mz_gguf_writer_new(&w, path), MZ_OK);
        assert_int_equal(mz_gguf_writer_u32(w, "k", 1), MZ_OK);
        if (twice == 0) assert_int_equal(mz_gguf_writer_u32(w, "k", 1), MZ_OK);
        for (int i = 0; i < 1 + twice; i++)
            assert_int_equal(mz_gguf_writer_declare(w, "t", MZ_GGML_F32, 1, (int64_t[]){1}), MZ_OK);
        assert_int_equal(mz_gguf_writer_begin(w), MZ_EINVAL);
        mz_gguf_writer_abort(w);
    }
}

/* ---- damage at every byte ---- */

/* Looks at everything that a file offers; what it holds does not matter. */
static void look(const mz_gguf *f)
{
    float y[256];
    double sum = 0.0, r;
    for (int64_t i = 0; i < mz_gguf_key_count(f); i++) {
        const mz_gguf_key *key = mz_gguf_key_at(f, i);
        const char *text;
        size_t bytes;
        for (uint64_t at = 0; mz_gguf_text_next(key, &at, &text, &bytes);)
            for (size_t k = 0; k < bytes; k++) sum += text[k];
        for (uint64_t k = 0; k < key->count && mz_gguf_real(key, k, &r); k++) sum += r;
    }
    for (int64_t i = 0; i < mz_gguf_count(f); i++) {
        const mz_gguf_tensor *t = mz_gguf_at(f, i);
        const unsigned char *p = t->data;
        for (uint64_t k = 0; k < t->bytes; k++) sum += p[k];
        const int64_t block = mz_ggml_block(t->type);
        const int64_t n = t->count < 256 / block * block ? t->count : 256 / block * block;
        if (mz_ggml_can_expand(t->type))
            assert_int_equal(mz_ggml_expand(t->type, y, t->data, n), MZ_OK);
    }
    assert_true(!(fabs(sum) < 0.0)); /* so that the sum is needed */
}

static unsigned char *sample(size_t *bytes)
{
    char *text = NULL;
    assert_int_equal(write_sample(path), MZ_OK);
    assert_int_equal(mz_file_read(path, 1 << 20, &text, bytes), MZ_OK);
    return (unsigned char *)text;
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    size_t bytes = 0;
    unsigned char *whole = sample(&bytes);
    const size_t padding = 28; /* behind the last tensor: may be missing */
    for (size_t n = 0; n < bytes; n++) {
        mz_gguf *f = NULL;
        put_file(whole, n);
        mz_err_clear();
        const mz_err err = mz_gguf_open(&f, path);
        if (err != (n < bytes - padding ? MZ_ECORRUPT : MZ_OK) ||
            (err != MZ_OK && (mz_err_last()->offset < 0 || !mz_err_last()->field[0])))
            fail_msg("cut at %zu of %zu: %s, %s", n, bytes, mz_err_name(err),
                     mz_err_last()->message);
        mz_gguf_close(f);
    }
    mz_mem_free(whole);
}

static void a_byte_changed_anywhere_does_no_harm(void **state)
{
    (void)state;
    size_t bytes = 0;
    static const unsigned char change[] = {0x01, 0x80, 0xff, 0x10};
    unsigned char *whole = sample(&bytes);
    for (size_t i = 0; i < bytes; i++)
        for (int k = 0; k < MZ_COUNT(change); k++) {
            mz_gguf *f = NULL;
            const size_t before = mz_mem_bytes_used();
            whole[i] ^= change[k];
            put_file(whole, bytes);
            whole[i] ^= change[k];
            const mz_err err = mz_gguf_open(&f, path);
            assert_true(err == MZ_OK || err == MZ_ECORRUPT);
            if (f) look(f);
            mz_gguf_close(f);
            assert_int_equal(mz_mem_bytes_used(), before);
        }
    mz_mem_free(whole);
}

/* 50 ms and 30 ms a MB of metadata; 16 MiB and 12 times the metadata (reliability.md 2.5). */
static void large_metadata_stay_within_their_bounds(void **state)
{
    (void)state;
    mz_str s = {0};
    const int n = 60000;
    build(&s, "M 4:3");
    word(&s, (uint64_t)n, 8), word(&s, (uint64_t)n, 8);
    for (int i = 0; i < n; i++) {
        word(&s, 6, 8);
        assert_int_equal(mz_str_addf(&s, "%06d", i * 7919 % n), MZ_OK);
        word(&s, 0, 4), word(&s, 1, 1);
    }
    for (int i = 0; i < n; i++) {
        word(&s, 6, 8);
        assert_int_equal(mz_str_addf(&s, "%06d", i * 7907 % n), MZ_OK);
        word(&s, 1, 4), word(&s, 1, 8), word(&s, 24, 4), word(&s, 32 * (uint64_t)i, 8);
    }
    const double mb = (double)s.len / 1e6;
    build(&s, "a:32");
    for (int i = 0; i < n; i++) build(&s, "z:32");
    put_file(s.text, s.len);
    mz_str_clear(&s);
    mz_gguf *f = NULL;
    const size_t used = mz_mem_bytes_used();
    const double start = mz_clock_cpu_s(); /* the machine may be busy */
    assert_int_equal(mz_gguf_open(&f, path), MZ_OK);
    const double ms = 1e3 * (mz_clock_cpu_s() - start);
    const double grown = (double)(mz_mem_bytes_used() - used);
    mz_gguf_close(f);
    if (!(grown <= 16.0 * 1048576 + 12e6 * mb)) fail_msg("%.0f bytes for %.1f MB", grown, mb);
    const double slow = mzt_slowness();
    if (!(ms <= slow * (50.0 + 30.0 * mb))) fail_msg("%.0f ms for %.1f MB", ms, mb);
}

/* ---- faults ---- */

static mz_err write_and_read(void)
{
    mz_gguf *f = NULL;
    MZ_TRY(write_sample(path));
    MZ_TRY(mz_gguf_open(&f, path));
    mz_gguf_close(f);
    return MZ_OK;
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    mz_err err = MZ_EINVAL;
    for (int64_t n = 1; err != MZ_OK; n++) {
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        err = write_and_read();
        mz_mem_fail_at(0, false);
        assert_true(err == MZ_OK || err == MZ_ENOMEM);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 1000);
    }
}

static void every_failed_file_call_is_an_error(void **state)
{
    (void)state;
    mz_err err = MZ_EINVAL;
    for (int64_t n = 1; err != MZ_OK; n++) {
        mz_file_fail_at(n, ENOSPC, false);
        err = write_and_read();
        mz_file_fail_at(0, 0, false);
        assert_true(err == MZ_OK || err == MZ_EIO);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_is_kept),
        cmocka_unit_test(what_is_legal_is_read),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(the_writer_refuses_nonsense),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_byte_changed_anywhere_does_no_harm),
        cmocka_unit_test(large_metadata_stay_within_their_bounds),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(every_failed_file_call_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
