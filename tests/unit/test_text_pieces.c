/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_text_pieces.c - UTF-8, composition and the pre-tokenisers. The expected pieces
 * and compositions are what the tokenizers library 0.23.3 gives. */
#include "base/mem.h"
#include "base/rng.h"
#include "text/split.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PIECES_MAX = 32, RANDOM_BYTES = 4096 };

static mz_unicode unicode;

static int set_up(void **state)
{
    (void)state;
    mz_unicode_init(&unicode);
    return 0;
}

static void utf8_is_read_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        uint32_t point;
    } cases[] = {
        {"a", 1, 'a'},
        {"\xc3\xa9", 2, 0xe9},
        {"\xe2\x82\xac", 3, 0x20ac},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\xc0\x80", 1, 0xfffd},         /* overlong */
        {"\xe0\x9f\xbf", 1, 0xfffd},     /* overlong */
        {"\xed\xa0\x80", 1, 0xfffd},     /* a surrogate */
        {"\xf4\x90\x80\x80", 1, 0xfffd}, /* beyond the last */
        {"\xe2\x82", 1, 0xfffd},         /* cut off */
        {"\x80", 1, 0xfffd},
        {"\xff", 1, 0xfffd},
    };
    for (int i = 0; i < MZ_COUNT(cases); i++) {
        uint32_t point = 0;
        const size_t left = strlen(cases[i].bytes);
        assert_int_equal(mz_utf8_read((const unsigned char *)cases[i].bytes, left, &point),
                         cases[i].n);
        assert_int_equal(point, cases[i].point);
        assert_int_equal(mz_utf8_valid(cases[i].bytes, left), point != 0xfffd);
    }
}

/* For every code point and every cut: the open end is exactly what was begun. */
static void half_characters_are_known(void **state)
{
    (void)state;
    for (uint32_t point = 1; point < 0x110000; point += point < 0x900 ? 1 : 61) {
        char bytes[5] = "x";
        uint32_t again;
        if (point >= 0xd800 && point < 0xe000) continue;
        const size_t n = mz_utf8_write(bytes + 1, point);
        assert_int_equal(mz_utf8_read((unsigned char *)bytes + 1, n, &again), n);
        assert_int_equal(again, point);
        for (size_t cut = 0; cut <= n; cut++)
            assert_int_equal(mz_utf8_open_end(bytes, 1 + cut), cut < n ? cut : 0);
    }
    assert_int_equal(mz_utf8_open_end("\xe0\x80", 2), 0); /* nothing can come of it */
    assert_int_equal(mz_utf8_open_end("\xed\xa0", 2), 0);
    assert_int_equal(mz_utf8_open_end("\xf4\x90\x80", 3), 0);
    assert_int_equal(mz_utf8_open_end("\xc1", 1), 0);
    assert_int_equal(mz_utf8_open_end("\x80\x80\x80\x80", 4), 0);
}

static void classes_are_unicode_16(void **state)
{
    (void)state;
    static const struct {
        uint32_t point;
        unsigned bits;
    } cases[] = {
        {'a', MZ_LETTER},
        {'5', MZ_NUMBER},
        {'_', MZ_PUNCTUATION},
        {'$', MZ_SYMBOL},
        {'\n', MZ_SPACE},
        {0x1c, 0},
        {0x3000, MZ_SPACE},
        {0x200b, 0},
        {0x0301, MZ_MARK | MZ_REORDERS | MZ_RECOMPOSES},
        {0x4e00, MZ_LETTER},
        {0x105c0, MZ_LETTER},
        {0x1f600, MZ_SYMBOL},
        {0x20000, MZ_LETTER},
        {0x2a6e0, 0},
        {0xe0100, MZ_MARK},
        {0x10ffff, 0},
        {0x11de0, 0},
        {0x212b, MZ_LETTER | MZ_RECOMPOSES},
        {0x2f800, MZ_LETTER | MZ_RECOMPOSES},
        {0x0897, MZ_MARK},
    };
    for (int i = 0; i < MZ_COUNT(cases); i++)
        assert_int_equal(mz_unicode_entry(&unicode, cases[i].point) & 0xff, cases[i].bits);
    assert_true(mz_unicode_is_late_digit(0x11de0) && mz_unicode_is_late_digit(0x16ff6));
    assert_false(mz_unicode_is_late_digit(0x11dea) || mz_unicode_is_late_digit('1'));
}

static const struct {
    const char *text, *nfc;
} COMPOSED[] = {
    {"a\xcc\x85\xcc\x81", "a\xcc\x85\xcc\x81"}, /* blocked by one of its own class */
    {"e\xcc\x81", "\xc3\xa9"},
    {"\xe2\x84\xab", "\xc3\x85"},
    {"a\xcc\xa3\xcc\x81\xcc\x87", "\xe1\xba\xa1\xcc\x81\xcc\x87"},
    {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"},
    {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},
    {"\xe1\xba\x9b\xcc\xa3", "\xe1\xba\x9b\xcc\xa3"},
    {"\xcd\x84", "\xcc\x88\xcc\x81"},
    {"q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},
    {"\xea\xb0\x80\xe1\x86\xa8x", "\xea\xb0\x81x"},
    {"\xe0\xa7\x87\xe0\xa6\xbe", "\xe0\xa7\x8b"},
    {"\xcc\x81"
     "e\xcc\x81",
     "\xcc\x81\xc3\xa9"},
    {"\xf0\x9d\x85\x9e", "\xf0\x9d\x85\x97\xf0\x9d\x85\xa5"},
    {"\xe0\xa2\x97\xcc\x81\xcc\xa3", "\xe0\xa2\x97\xcc\xa3\xcc\x81"},
    {"a\xcc\x95\xcc\x80\xd6\xae"
     "b",
     "\xc3\xa0\xd6\xae\xcc\x95"
     "b"},
    {"\xef\xa4\x80", "\xe8\xb1\x88"},
    {"\xe0\xad\x87\xcc\x80\xe0\xac\xbe", "\xe0\xad\x87\xcc\x80\xe0\xac\xbe"},
    {"\xf0\x90\x97\x92\xcc\x87", "\xf0\x90\x97\x92\xcc\x87"},
};

static void text_is_composed(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(COMPOSED); i++) {
        mz_str out = {0};
        bool same;
        const char *text = COMPOSED[i].text;
        assert_int_equal(mz_nfc(&unicode, text, strlen(text), &out, NULL), MZ_OK);
        assert_string_equal(out.text, COMPOSED[i].nfc);
        mz_str_clear(&out);
        assert_int_equal(mz_nfc(&unicode, text, strlen(text), &out, &same), MZ_OK);
        if (!same) assert_string_equal(out.text, COMPOSED[i].nfc);
        if (same) assert_string_equal(text, COMPOSED[i].nfc);
        assert_true(!same || out.len == 0);
        mz_str_clear(&out);
    }
}

/* Bytes that are no characters stay, and stand between what would compose. */
static void broken_bytes_stay(void **state)
{
    (void)state;
    mz_str out = {0};
    static const char text[] = "e\x80\xcc\x81 e\xcc\x81\xff\xcc\x81";
    static const char want[] = "e\x80\xcc\x81 \xc3\xa9\xff\xcc\x81";
    assert_int_equal(mz_nfc(&unicode, text, sizeof text - 1, &out, NULL), MZ_OK);
    assert_int_equal(out.len, sizeof want - 1);
    assert_memory_equal(out.text, want, out.len);
    mz_str_clear(&out);
}

/* A megabyte of marks in falling order, sorted and not lost. */
static void many_marks_are_sorted(void **state)
{
    (void)state;
    enum { N = 1 << 19 };
    char *text = malloc(2 * N + 1);
    mz_str out = {0};
    assert_non_null(text);
    text[0] = 'q';
    for (size_t i = 0; i < N; i++) memcpy(text + 1 + 2 * i, i % 2 ? "\xcc\xa7" : "\xcc\x81", 2);
    assert_int_equal(mz_nfc(&unicode, text, 2 * N + 1, &out, NULL), MZ_OK);
    assert_int_equal(out.len, 2 * N + 1);
    assert_memory_equal(out.text, "q\xcc\xa7", 3);
    assert_memory_equal(out.text + N - 1, "\xcc\xa7\xcc\x81", 4); /* the seam */
    assert_memory_equal(out.text + 2 * N - 1, "\xcc\x81", 2);
    mz_str_clear(&out);
    free(text);
}

static const struct {
    mz_split_kind kind;
    const char *pieces[PIECES_MAX];
} CUT[] = {
    {MZ_SPLIT_DEEPSEEK3, {"Hello", ",", " world", "!!", "  \x0a\x0a", " x"}},
    {MZ_SPLIT_DEEPSEEK3, {"a", "123", "456", "7", "b"}},
    {MZ_SPLIT_DEEPSEEK3, {"$foo", "_bar", "\xc3\xa9", " (", "x", ")"}},
    {MZ_SPLIT_DEEPSEEK3,
     {"\xe4\xbb\x8a\xe6\x97\xa5\xe3\x81\xaf", "\xe3\x80\x81", "\xe6\x99\xb4\xe3\x82\x8c",
      "\xe3\x80\x82", "12"}},
    {MZ_SPLIT_DEEPSEEK3,
     {"\x01",
      "\x02"
      "a",
      "\x01\x02"}},
    {MZ_SPLIT_DEEPSEEK3, {"\xe3\x82\x99", "\xe3\x83\xbb", "\xe3\x81\x82", "\xcc\x81"}},
    {MZ_SPLIT_DEEPSEEK3,
     {"\x09", "\x09if", " (", "x", ")", " {\x0d\x0a", " ", " y", ";\x0d\x0a", "}", "  "}},
    {MZ_SPLIT_DEEPSEEK3, {"  "}},
    {MZ_SPLIT_DEEPSEEK3,
     {"\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85\xd9\x8c", " \xd8\xaf\xd9\x86\xdb\x8c\xd8\xa7"}},
    {MZ_SPLIT_DEEPSEEK3, {"x", "\xc2\xa0y", " \xc2\xa0", " z"}},
    {MZ_SPLIT_DEEPSEEK3, {"!a", "\xc3\xa9", " !", "1", " \xe3\x80\x80", "\xe4\xb8\x80"}},
    {MZ_SPLIT_QWEN2,
     {"I", "'ll", " DON", "'T", " we", "'Ve", " '", "S", " '", "\xc5\xbf", " '", "x"}},
    {MZ_SPLIT_QWEN2, {"abc", "1", "2", "3", " ", "4", "5"}},
    {MZ_SPLIT_QWEN2, {"  \x0a \x0a", " ", " x", " !!\x0a\x0a"}},
    {MZ_SPLIT_QWEN2,
     {"a",
      "\xcc\x81"
      "b",
      " \xcc\x81", "c"}},
    {MZ_SPLIT_QWEN2, {"\xe4\xbb\x8a\xe6\x97\xa5\xe3\x81\xaf", "\xe3\x80\x81"}},
    {MZ_SPLIT_QWEN2, {"\x0d\x0a", "\x09", " x"}},
    {MZ_SPLIT_QWEN2, {"don", "''", "t", "  "}},
    {MZ_SPLIT_LLAMA3, {"abc", "123", "45", " ", "6"}},
    {MZ_SPLIT_LLAMA3, {"x", " '", "LL", " ", " y"}},
    {MZ_SPLIT_SMOLLM, {"I", "'ll", " don", "'", "T", " ", "1", "2", "3", " abc"}},
    {MZ_SPLIT_SMOLLM,
     {"\x0a", "\x0a", "x", "  ", "1", "2", "\xd9\xa3", " ", "\xf0\x91\xb7\xa0", "y"}},
    {MZ_SPLIT_SMOLLM, {"a", "\x0a", " b", "!!", "\x0a"}},
    {MZ_SPLIT_DEEPSEEK_LLM, {"Hello", " world", "!!", "  ", "\x0a", "\x0a", " x", "1", "2"}},
    {MZ_SPLIT_DEEPSEEK_LLM,
     {"\xc3\xa9", "t", "\xc3\xa9", " \xce\xb1\xce\xb2", " \xd7\x90\xd7\x91 ",
      "\xe4\xbb\x8a\xe6\x97\xa5", "\xef\xbc\x8c", "\xe3\x81\xaf", "\xe3\x80\x80", "\xef\xbc\x81",
      "a"}},
    {MZ_SPLIT_DEEPSEEK_LLM, {"a", "   "}},
    {MZ_SPLIT_DEEPSEEK_LLM, {" ", " a", " ", " b", "\x09\x09"}},
    {MZ_SPLIT_DEEPSEEK_LLM, {"$", "5", " ", "\xe1\xbe\xbe\xe2\x84\xa6", "x", " \xc6\xbb", "z"}},
    {MZ_SPLIT_DEEPSEEK_CODER,
     {"def", " f", "(", "x", "):", " ", " #", " \xc3\xa9", "\x0a", "\x09return", " x", "+", "1",
      "2"}},
    {MZ_SPLIT_DEEPSEEK_CODER,
     {"\xe4\xbb\x8a\xe6\x97\xa5\xe3\x81\xaf", "\xe3\x80\x81", "a", " \xc2\xab\xc2\xbb", "  "}},
    {MZ_SPLIT_DEEPSEEK_CODER, {"a", "\xcc\x81 ", "\xd9\xa3"}},
    {MZ_SPLIT_GPT2, {"a", " ", " b", " 12", "\x0a", "\x0a", "x"}},
    {MZ_SPLIT_GPT2, {"I", "'ll", " don", "'", "T", " 123", " abc", "   ", "\n", "x", "\n"}},
};

static void texts_are_cut(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(CUT); i++) {
        mz_str text = {0};
        mz_split s;
        for (int k = 0; k < PIECES_MAX && CUT[i].pieces[k]; k++)
            assert_int_equal(mz_str_add(&text, CUT[i].pieces[k], strlen(CUT[i].pieces[k])), MZ_OK);
        mz_split_begin(&s, CUT[i].kind, &unicode, text.text, text.len);
        for (int k = 0; k < PIECES_MAX && CUT[i].pieces[k]; k++) {
            const size_t at = s.at, n = strlen(CUT[i].pieces[k]);
            assert_int_equal(mz_split_next(&s) - at, n);
            assert_memory_equal(text.text + at, CUT[i].pieces[k], n);
        }
        assert_int_equal(s.at, text.len);
        mz_str_clear(&text);
    }
}

/* Whatever the bytes, every kind goes on and ends at the end. */
static void any_bytes_are_cut(void **state)
{
    (void)state;
    static const char likely[] = " \n\r'a1!\xc3\xa9\xe3\x81\x82\xe4\xb8\x80\xcc\x81";
    char text[RANDOM_BYTES];
    for (uint64_t seed = 1; seed <= 40; seed++) {
        mz_rng rng;
        mz_rng_init(&rng, seed, 0);
        for (size_t i = 0; i < sizeof text; i++) {
            const uint32_t x = mz_rng_u32(&rng);
            text[i] = x % 4 ? likely[(x >> 2) % (sizeof likely - 1)] : (char)(x >> 2);
        }
        for (int kind = 0; kind < MZ_SPLIT_COUNT; kind++) {
            mz_split s;
            mz_split_begin(&s, (mz_split_kind)kind, &unicode, text, sizeof text);
            while (s.at < s.end) {
                const size_t at = s.at;
                assert_true(mz_split_next(&s) > at && s.at <= s.end);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_read_strictly),  cmocka_unit_test(half_characters_are_known),
        cmocka_unit_test(classes_are_unicode_16), cmocka_unit_test(text_is_composed),
        cmocka_unit_test(broken_bytes_stay),      cmocka_unit_test(many_marks_are_sorted),
        cmocka_unit_test(texts_are_cut),          cmocka_unit_test(any_bytes_are_cut),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
