/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_safetensors.c - every rule of the format broken once, a valid file cut and
 * flipped at every byte, hostile sizes within their bounds, and what the writer writes. */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "file/safetensors.h"
#include "tests/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mz_st_XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void put_bytes(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A file with this header (length in front) and n bytes of data. */
static size_t build(unsigned char *out, const char *header, size_t n)
{
    const size_t length = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(out + 8, header, length);
    for (size_t i = 0; i < n; i++) out[8 + length + i] = (unsigned char)i;
    return 8 + length + n;
}

/* ' stands for " in header. */
static mz_err open_header(const char *header, size_t data_bytes, mz_st_file **file)
{
    static unsigned char bytes[1 << 16];
    char text[4096];
    snprintf(text, sizeof text, "%s", header);
    for (char *p = text; *p; p++)
        if (*p == '\'') *p = '"';
    put_bytes(bytes, build(bytes, text, data_bytes));
    mz_err_clear();
    return mz_st_open(file, path);
}

static const char VALID[] = "{'__metadata__':{'format':'pt','k':'v\\u00e9'},"
                            "'b':{'dtype':'F32','shape':[2,3],'data_offsets':[0,24]},"
                            "'empty':{'shape':[0,7],'dtype':'I64','data_offsets':[24,24]},"
                            "'a\\u0041\\n':{'dtype':'BF16','shape':[],'data_offsets':[24,26],"
                            "'other':[1,{'x':null}]}}   ";

static void reads_what_is_there(void **state)
{
    (void)state;
    mz_st_file *f = NULL;
    assert_int_equal(open_header(VALID, 26, &f), MZ_OK);
    assert_int_equal(mz_st_count(f), 3);
    const mz_st_tensor *b = mz_st_find(f, "b"), *a = mz_st_find(f, "aA\n");
    assert_true(b && b == mz_st_at(f, 0) && b->dtype == MZ_F32 && b->rank == 2 && b->count == 6);
    assert_true(b->dim[0] == 2 && b->dim[1] == 3 && b->bytes == 24);
    assert_int_equal(((const unsigned char *)b->data)[23], 23);
    assert_true(a && a == mz_st_at(f, 2) && a->rank == 0 && a->count == 1 && a->bytes == 2);
    assert_int_equal(((const unsigned char *)a->data)[1], 25);
    assert_int_equal(mz_st_at(f, 1)->count, 0);
    assert_null(mz_st_find(f, "c"));
    assert_null(mz_st_at(f, 3));
    const char *key, *value;
    assert_int_equal(mz_st_meta_count(f), 2);
    mz_st_meta_at(f, 1, &key, &value);
    assert_string_equal(key, "k");
    assert_string_equal(value, "v\xc3\xa9");
    mz_st_close(f);
    assert_int_equal(open_header("{}", 0, &f), MZ_OK);
    assert_int_equal(mz_st_count(f), 0);
    mz_st_close(f);
}

#define T(dtype, shape, offsets)                                                                   \
    "{'t':{'dtype':'" dtype "','shape':" shape ",'data_offsets':" offsets "}}"

static const struct {
    const char *header;
    size_t data_bytes;
    const char *says; /* in the note */
} BAD[] = {
    /* S2, S3: the JSON */
    {" {}", 0, "first byte"},
    {"[]", 0, "first byte"},
    {"{", 0, "string"},
    {"{}x", 0, "after the end"},
    {"{} {}", 0, "after the end"},
    {"{'t'}", 0, "colon"},
    {"{'t':{}", 0, ""},
    {"{'t':5}", 0, "object"},
    {"{'t':{}}", 0, "without"},
    {"{'t':{'dtype':'F32','shape':[]}}", 0, "without"},
    {"{'t':{'dtype':'F32','dtype':'F32','shape':[],'data_offsets':[0,4]}}", 4, "twice"},
    {"{'t':{'dtype':'F32','shape':[],'data_offsets':[0,4]},}", 4, "string"},
    {"{'t':{'dtype':'F32','shape':[],'data_offsets':[0,4]},'t':{'dtype':'F32','shape':[],"
     "'data_offsets':[4,8]}}",
     8, "twice"},
    {"{'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]},'\\u0061':{'dtype':'F32','shape':[],"
     "'data_offsets':[4,8]}}",
     8, "twice"},
    {"{'__metadata__':{'a':1}}", 0, "string"},
    {"{'__metadata__':{'a':'1','a':'2'}}", 0, "twice"},
    {"{'__metadata__':{'a':null}}", 0, "string"},
    {"{'__metadata__':[]}", 0, "object"},
    {"{'__metadata__':{},'__metadata__':{}}", 0, "twice"},
    {"{'__metadata__':{},'\\u005f_metadata__':{}}", 0, "twice"},
    {"{'\x80':{}}", 0, "UTF-8"},
    {"{'\xc0\xaf':{}}", 0, "UTF-8"},
    {"{'\xed\xa0\x80':{}}", 0, "UTF-8"},
    {"{'\xf4\x90\x80\x80':{}}", 0, "UTF-8"},
    {"{'\n':{}}", 0, "control"},
    {"{'\\x':{}}", 0, "escape"},
    {"{'\\ud800':{}}", 0, "surrogate"},
    {"{'\\udc00':{}}", 0, "surrogate"},
    {"{'\\u0000':{}}", 0, "NUL"},
    {"{'t':{'x':01,'dtype':'F32','shape':[],'data_offsets':[0,4]}}", 4, "expected"},
    {"{'t':{'x':tru,'dtype':'F32','shape':[],'data_offsets':[0,4]}}", 4, "expected a value"},
    /* S4: offsets */
    {T("F32", "[1]", "[-4,0]"), 4, "whole number"},
    {T("F32", "[1]", "[4,0]"), 4, "before they begin"},
    {T("F32", "[1]", "[4,8]"), 8, "hole"},
    {T("F32", "[1]", "[0,4,8]"), 8, "two offsets"},
    {T("F32", "[1]", "[0]"), 8, "two offsets"},
    {T("F32", "[1]", "[0,8]"), 8, "do not fit"},
    {T("F32", "[1]", "[0,4]"), 5, "the file has 5"},
    {T("F32", "[1]", "[0,4]"), 3, "the file has 3"},
    {T("F32", "[1]", "[0,18446744073709551616]"), 4, "63 bits"},
    {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],"
     "'data_offsets':[2,6]}}",
     6, "overlap"},
    {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],"
     "'data_offsets':[0,4]}}",
     4, "overlap"},
    {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],"
     "'data_offsets':[5,9]}}",
     9, "hole"},
    {"{'a':{'dtype':'U8','shape':[0],'data_offsets':[9,9]}}", 0, "hole"},
    /* S5: shapes and dtypes */
    {T("F32", "[9223372036854775808]", "[0,4]"), 4, "63 bits"},
    {T("F32", "[4294967296,4294967296]", "[0,4]"), 4, "more elements"},
    {T("F32", "[4611686018427387905]", "[0,4]"), 4, "more bytes"},
    {T("F64", "[2305843009213693952]", "[0,0]"), 0, "more bytes"},
    {T("F32", "[1.0]", "[0,4]"), 4, "point or exponent"},
    {T("F32", "[1e0]", "[0,4]"), 4, "point or exponent"},
    {T("F32", "[-1]", "[0,4]"), 4, "whole number"},
    {T("F32", "[01]", "[0,4]"), 4, "leading zero"},
    {T("F32", "1", "[0,4]"), 4, "list of sizes"},
    {T("F32", "['1']", "[0,4]"), 4, "whole number"},
    {T("f32", "[1]", "[0,4]"), 4, "unknown dtype"},
    {T("Q4_0", "[1]", "[0,4]"), 4, "unknown dtype"},
    {T("BFLOAT16BFLOAT16", "[1]", "[0,4]"), 4, "unknown dtype"},
    {T("F4", "[1]", "[0,1]"), 1, "whole bytes"},
    {T("F6_E2M3", "[2]", "[0,2]"), 2, "whole bytes"},
};

static void every_broken_rule_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(BAD); i++) {
        mz_st_file *f = NULL;
        const mz_err err = open_header(BAD[i].header, BAD[i].data_bytes, &f);
        const mz_err_info *info = mz_err_last();
        if (err != MZ_ECORRUPT || f || !strstr(info->message, BAD[i].says) ||
            strcmp(info->file, path) != 0 || info->offset < 0)
            fail_msg("case %d %s: %s: %s, file %s, offset %lld", i, BAD[i].header, mz_err_name(err),
                     info->message, info->file, (long long)info->offset);
    }
}

static void subbyte_and_shared_empty_are_legal(void **state)
{
    (void)state;
    mz_st_file *f = NULL;
    assert_int_equal(open_header("{'e':{'dtype':'F32','shape':[0],'data_offsets':[3,3]},"
                                 "'a':{'dtype':'F4','shape':[2,3],'data_offsets':[0,3]},"
                                 "'d':{'dtype':'U8','shape':[3,0],'data_offsets':[3,3]},"
                                 "'z':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}",
                                 3, &f),
                     MZ_OK);
    assert_string_equal(mz_st_at(f, 0)->name, "z");
    assert_string_equal(mz_st_at(f, 1)->name, "a");
    assert_string_equal(mz_st_at(f, 3)->name, "e");
    mz_st_close(f);
}

static void header_lengths(void **state) /* S1 */
{
    (void)state;
    static const uint64_t lengths[] = {33 - 8, 100000001, 1 << 20, UINT64_MAX, INT64_MAX};
    mz_st_file *f = NULL;
    for (int i = 0; i < MZ_COUNT(lengths); i++) {
        unsigned char bytes[64];
        build(bytes, "{}                      ", 0);
        for (int k = 0; k < 8; k++) bytes[k] = (unsigned char)(lengths[i] >> (8 * k));
        put_bytes(bytes, 32);
        if (mz_st_open(&f, path) != MZ_ECORRUPT ||
            strcmp(mz_err_last()->field, "header length") != 0)
            fail_msg("length %llu: %s", (unsigned long long)lengths[i], mz_err_last()->message);
    }
    unsigned char bytes[64];
    put_bytes(bytes, build(bytes, "", 0)); /* length 0, and one that cuts the object */
    assert_int_equal(mz_st_open(&f, path), MZ_ECORRUPT);
    put_bytes(bytes, build(bytes, "{'t':{}", 0));
    assert_int_equal(mz_st_open(&f, path), MZ_ECORRUPT);
    put_bytes("", 0);
    assert_int_equal(mz_st_open(&f, path), MZ_ECORRUPT);
    assert_int_equal(mz_st_open(&f, folder), MZ_EIO);
    assert_null(f);
}

static void cut_and_flipped_everywhere(void **state)
{
    (void)state;
    static unsigned char whole[4096], bytes[4096];
    mz_st_file *f = NULL;
    assert_int_equal(open_header(VALID, 26, &f), MZ_OK);
    mz_st_close(f);
    FILE *in = fopen(path, "rb");
    const size_t n = fread(whole, 1, sizeof whole, in);
    fclose(in);
    for (size_t cut = 0; cut < n; cut++) {
        put_bytes(whole, cut);
        if (mz_st_open(&f, path) != MZ_ECORRUPT) fail_msg("cut at %zu was taken", cut);
    }
    for (size_t i = 0; i < n * 8; i++) {
        memcpy(bytes, whole, n);
        bytes[i / 8] ^= (unsigned char)(1u << (i % 8));
        put_bytes(bytes, n);
        const mz_err err = mz_st_open(&f, path);
        assert_true(err == MZ_OK || err == MZ_ECORRUPT);
        if (err != MZ_OK) continue;
        assert_true(mz_st_count(f) <= 3);
        mz_st_close(f); /* still a valid file: another name, say */
    }
}

/* Opens a header made of `head`, n times `unit` and `tail`; holds it to the bounds of the format.
 */
static mz_err open_big(const char *head, const char *unit, int64_t n, const char *tail)
{
    mz_str s = {0};
    assert_int_equal(mz_str_add(&s, "........", 8), MZ_OK);
    assert_int_equal(mz_str_add(&s, head, strlen(head)), MZ_OK);
    for (int64_t i = 0; i < n; i++) { /* %lld in unit: a number that makes it unique */
        const char *star = strchr(unit, '*');
        if (star) {
            assert_int_equal(mz_str_add(&s, unit, (size_t)(star - unit)), MZ_OK);
            assert_int_equal(mz_str_addf(&s, "%lld%s", (long long)i, star + 1), MZ_OK);
        } else
            assert_int_equal(mz_str_add(&s, unit, strlen(unit)), MZ_OK);
    }
    assert_int_equal(mz_str_add(&s, tail, strlen(tail)), MZ_OK);
    for (size_t i = 8; i < s.len; i++)
        if (s.text[i] == '\'') s.text[i] = '"';
    const size_t length = s.len - 8;
    for (int i = 0; i < 8; i++) s.text[i] = (char)(length >> (8 * i) & 0xff);
    put_bytes(s.text, s.len);
    mz_str_clear(&s);
    mz_st_file *f = NULL;
    mz_err err = MZ_OK;
    size_t bytes = 0;
    double ms = 1e9;
    const double mb = (double)length / 1e6;
    for (int i = 0; i < 3; i++) { /* the best of three: a busy machine takes the caches away too */
        mz_st_close(f);
        f = NULL;
        const size_t before = mz_mem_bytes_used();
        const double start = mz_clock_cpu_s();
        err = mz_st_open(&f, path);
        const double took = 1e3 * (mz_clock_cpu_s() - start);
        if (took < ms) ms = took;
        bytes = mz_mem_bytes_used() - before;
    }
    const double slow = mzt_slowness();
    if (!(ms <= slow * (50.0 + 30.0 * mb))) fail_msg("%.1f ms for %.1f MB", ms, mb);
    if (!(bytes <= (16u << 20) + 12 * length)) fail_msg("%zu bytes for %.1f MB", bytes, mb);
    if (f) mz_st_close(f);
    return err;
}

static void hostile_headers_stay_in_bounds(void **state)
{
    (void)state;
    assert_int_equal(open_big("{'t':{'x':", "[", 10000, ""), MZ_ECORRUPT);
    assert_non_null(strstr(mz_err_last()->message, "deep"));
    assert_int_equal(open_big("{'t':{'x':", "{'a':", 10000, ""), MZ_ECORRUPT);
    assert_int_equal(open_big("{", "'*':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},", 100000,
                              "'x':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}"),
                     MZ_OK);
    assert_int_equal(
        open_big("{'t':{'dtype':'U8','data_offsets':[0,0],'shape':[", "1,", 1000000, "0]}}"),
        MZ_OK);
    assert_int_equal(open_big("{'__metadata__':{", "'*':'',", 200000, "'':''}}"), MZ_OK);
    assert_int_equal(open_big("{", "'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},", 100000,
                              "'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}"),
                     MZ_ECORRUPT);
    assert_int_equal(open_big("{", " ", 4000000, "}"), MZ_OK);
}

static void writer_writes_what_upstream_would(void **state)
{
    (void)state;
    mz_st_writer *w = NULL;
    mz_st_file *f = NULL;
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    assert_int_equal(mz_st_writer_meta(w, "k", "a \"quoted\"\tvalue \\ \xc3\xa9"), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "z", MZ_BF16, 1, (const int64_t[]){3}), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "b", MZ_F32, 0, NULL), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "a", MZ_F32, 2, (const int64_t[]){2, 1}), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "none", MZ_I64, 1, (const int64_t[]){0}), MZ_OK);
    assert_int_equal(mz_st_writer_begin(w), MZ_OK);
    unlink(path); /* of the test before */
    static const char *const order[] = {"none", "a", "b", "z"};
    assert_int_equal(mz_st_writer_count(w), 4);
    for (int i = 0; i < 4; i++) assert_string_equal(mz_st_writer_at(w, i)->name, order[i]);
    assert_int_equal(mz_st_writer_put(w, "12345678", 8), MZ_OK);
    assert_int_equal(mz_st_writer_put(w, "abcde", 5), MZ_EINVAL); /* b has only 4 */
    assert_int_equal(mz_st_writer_put(w, "ab", 2), MZ_OK);
    assert_int_equal(mz_st_writer_put(w, "cd", 2), MZ_OK);
    assert_false(mz_file_exists(path)); /* nothing there before commit */
    assert_int_equal(mz_st_writer_put(w, "zzzzzz", 6), MZ_OK);
    assert_int_equal(mz_st_writer_commit(w), MZ_OK);
    assert_int_equal(mz_st_open(&f, path), MZ_OK);
    const char *key, *value;
    mz_st_meta_at(f, 0, &key, &value);
    assert_string_equal(key, "format");
    mz_st_meta_at(f, 1, &key, &value);
    assert_string_equal(value, "a \"quoted\"\tvalue \\ \xc3\xa9");
    assert_memory_equal(mz_st_find(f, "b")->data, "abcd", 4);
    assert_memory_equal(mz_st_find(f, "z")->data, "zzzzzz", 6);
    assert_int_equal(mz_st_at(f, 0)->offset % 8, 0);
    mz_st_close(f);
}

static void data_begin_aligned(void **state)
{
    (void)state;
    for (int n = 1; n <= 9; n++) {
        mz_st_writer *w = NULL;
        mz_st_file *f = NULL;
        char name[16] = "";
        memset(name, 'n', (size_t)n);
        assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
        assert_int_equal(mz_st_writer_declare(w, name, MZ_U8, 0, NULL), MZ_OK);
        assert_int_equal(mz_st_writer_begin(w), MZ_OK);
        assert_int_equal(mz_st_writer_put(w, "x", 1), MZ_OK);
        assert_int_equal(mz_st_writer_commit(w), MZ_OK);
        assert_int_equal(mz_st_open(&f, path), MZ_OK);
        assert_int_equal(mz_st_at(f, 0)->offset % 8, 0);
        mz_st_close(f);
    }
}

static void writer_refuses_nonsense(void **state)
{
    (void)state;
    mz_st_writer *w = NULL;
    unlink(path);
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "a", MZ_F4, 1, (const int64_t[]){3}), MZ_EINVAL);
    assert_int_equal(mz_st_writer_declare(w, "a", MZ_F32, 1, (const int64_t[]){-1}), MZ_EINVAL);
    assert_int_equal(mz_st_writer_declare(w, "a", MZ_F32, 0, NULL), MZ_OK);
    assert_int_equal(mz_st_writer_put(w, "abcd", 4), MZ_EINVAL);
    assert_int_equal(mz_st_writer_declare(w, "a", MZ_U8, 0, NULL), MZ_OK);
    assert_int_equal(mz_st_writer_begin(w), MZ_EINVAL); /* a name twice */
    mz_st_writer_abort(w);
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "\x80", MZ_F32, 0, NULL), MZ_OK);
    assert_int_equal(mz_st_writer_begin(w), MZ_EINVAL); /* not UTF-8 */
    mz_st_writer_abort(w);
    assert_int_equal(mz_st_writer_new(&w, path), MZ_OK);
    assert_int_equal(mz_st_writer_declare(w, "a", MZ_F32, 0, NULL), MZ_OK);
    assert_int_equal(mz_st_writer_begin(w), MZ_OK);
    assert_int_equal(mz_st_writer_commit(w), MZ_EINVAL); /* 4 bytes are missing */
    assert_false(mz_file_exists(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there),
        cmocka_unit_test(every_broken_rule_is_named),
        cmocka_unit_test(subbyte_and_shared_empty_are_legal),
        cmocka_unit_test(header_lengths),
        cmocka_unit_test(cut_and_flipped_everywhere),
        cmocka_unit_test(hostile_headers_stay_in_bounds),
        cmocka_unit_test(writer_writes_what_upstream_would),
        cmocka_unit_test(data_begin_aligned),
        cmocka_unit_test(writer_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
