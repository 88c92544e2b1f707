/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_str.c - the growing string, strict numbers, near names, byte counts. */
#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void string_grows_and_stays_terminated(void **state)
{
    (void)state;
    const size_t used = mz_mem_bytes_used();
    mz_str s = {0};
    char want[4000] = "";
    size_t len = 0;
    for (int i = 0; i < 500; i++) {
        char number[16];
        assert_int_equal(mz_str_addf(&s, "%d,", i), MZ_OK);
        len += (size_t)sprintf(number, "%d,", i);
        strcat(want, number);
        assert_int_equal(s.len, len);
        assert_true(s.cap > s.len);
        assert_string_equal(s.text, want);
    }
    mz_str_clear(&s);
    assert_true(!s.text && s.len == 0 && s.cap == 0);
    assert_int_equal(mz_str_add(&s, "a\0b", 3), MZ_OK); /* bytes, not a C string */
    assert_int_equal(mz_str_add(&s, NULL, 0), MZ_OK);
    assert_memory_equal(s.text, "a\0b", 4);
    assert_int_equal(s.len, 3);
    assert_int_equal(mz_str_add(&s, NULL, 1), MZ_EINVAL);
    mz_str_clear(&s);
    assert_int_equal(mz_str_add(&s, "", 0), MZ_OK);
    assert_string_equal(s.text, ""); /* terminated after a success, even an empty one */
    mz_str_clear(&s);
    mz_str_clear(NULL);
    assert_int_equal(mz_mem_bytes_used(), used);
}

static void failure_keeps_what_was_there(void **state)
{
    (void)state;
    mz_str s = {0};
    char big[300];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    mz_mem_fail_at(1, false);
    assert_int_equal(mz_str_add(&s, "abc", 3), MZ_ENOMEM);
    assert_null(s.text);
    assert_int_equal(mz_str_add(&s, "abc", 3), MZ_OK);
    mz_mem_fail_at(1, true);
    assert_int_equal(mz_str_add(&s, big, sizeof big - 1), MZ_ENOMEM);
    assert_int_equal(mz_str_addf(&s, "%s", big), MZ_ENOMEM);
    mz_mem_fail_at(0, false);
    assert_int_equal(mz_str_add(&s, "d", SIZE_MAX - 2), MZ_ENOMEM);
    assert_string_equal(s.text, "abc");
    assert_int_equal(s.len, 3);
    mz_str_clear(&s);
}

static void prefixes_and_suffixes(void **state)
{
    (void)state;
    assert_true(mz_str_starts("far:f16", "far:") && mz_str_starts("x", "") &&
                !mz_str_starts("fa", "far"));
    assert_true(mz_str_ends("a.gguf", ".gguf") && mz_str_ends("x", "") &&
                !mz_str_ends("gguf", ".gguf") && !mz_str_ends("a.gguf.x", ".gguf"));
}

static void near_names_are_slips_not_other_words(void **state)
{
    (void)state;
    static const char *const names[] = {"threads", "thread", "chip", "seed", "isa", NULL};
    assert_string_equal(mz_str_nearest("thraeds", names, 5), "threads"); /* a swap */
    assert_string_equal(mz_str_nearest("hcip", names, 5), "chip");       /* which counts once */
    assert_string_equal(mz_str_nearest("thread", names, 5), "thread");
    assert_string_equal(mz_str_nearest("chp", names, 5), "chip");
    assert_string_equal(mz_str_nearest("chipp", names, 5), "chip");
    assert_string_equal(mz_str_nearest("sead", names, 5), "seed");
    assert_string_equal(mz_str_nearest("si", names, 6) ? "some" : "none", "none");
    assert_null(mz_str_nearest("optimizer", names, 5));
    assert_null(mz_str_nearest("", names, 5));
    assert_null(mz_str_nearest("chip", names, 2));
    char word[200];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    const char *const long_names[] = {word, "chip"};
    assert_null(mz_str_nearest(word, names, 5));
    assert_null(mz_str_nearest(word, long_names, 2)); /* names of 64 letters are not compared */
    assert_string_equal(mz_str_nearest("chip", long_names, 2), "chip");
    word[63] = '\0'; /* the longest that is compared */
    assert_ptr_equal(mz_str_nearest(word, long_names, 2), word);
}

static void integers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"007", 7},
                {"-42", -42},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x10",
                                      "1.0",
                                      "1e3",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999999"};
    int64_t n = 77;
    for (int i = 0; i < MZ_COUNT(bad); i++) assert_false(mz_str_to_i64(bad[i], &n));
    assert_int_equal(n, 77);
    for (int i = 0; i < MZ_COUNT(good); i++) {
        assert_true(mz_str_to_i64(good[i].text, &n));
        assert_int_equal(n, good[i].want);
    }
}

static void reals_are_plain_decimals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
    } good[] = {{"0", 0},       {"-1.5", -1.5}, {"+2", 2},        {".5", 0.5},  {"5.", 5},
                {"1e-6", 1e-6}, {"1E+3", 1e3},  {"3e300", 3e300}, {"1e-999", 0}};
    static const char *const bad[] = {"",    ".",   "-",    "e5",    "1e",  "1e+",   " 1",    "1 ",
                                      "nan", "inf", "-inf", "0x1p3", "1,5", "1e999", "1.5.2", "1f"};
    double x = 77;
    for (int i = 0; i < MZ_COUNT(bad); i++) assert_false(mz_str_to_f64(bad[i], &x));
    assert_true(fabs(x - 77) <= 0);
    for (int i = 0; i < MZ_COUNT(good); i++) {
        assert_true(mz_str_to_f64(good[i].text, &x));
        assert_true(fabs(x - good[i].want) <= 0);
    }
}

static void byte_counts_read_alike(void **state)
{
    (void)state;
    static const struct {
        double bytes;
        const char *want;
    } row[] = {{0, "0 B"},
               {1, "1 B"},
               {1023, "1023 B"},
               {1023.9, "1.0 KiB"},
               {1024, "1.0 KiB"},
               {1536, "1.5 KiB"},
               {1024 * 1023.97, "1.0 MiB"},
               {1610612736.0, "1.5 GiB"},
               {-1536, "-1.5 KiB"},
               {0x1p63, "8.0 EiB"},
               {1e300, "8.67e+281 EiB"}};
    char out[32];
    for (int i = 0; i < MZ_COUNT(row); i++)
        assert_string_equal(mz_str_bytes(out, row[i].bytes), row[i].want);
    assert_string_equal(mz_str_bytes(out, (double)NAN), "? B");
    assert_string_equal(mz_str_bytes(out, (double)INFINITY), "? B");
}

static void quoted_text_is_json(void **state)
{
    (void)state;
    mz_str s = {0};
    assert_int_equal(mz_str_add_quoted(&s, "a\"b\\c\n\x01é"), MZ_OK);
    assert_string_equal(s.text, "\"a\\\"b\\\\c\\u000a\\u0001é\"");
    mz_str_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(string_grows_and_stays_terminated),
        cmocka_unit_test(failure_keeps_what_was_there),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(near_names_are_slips_not_other_words),
        cmocka_unit_test(integers_are_whole_and_in_range),
        cmocka_unit_test(reals_are_plain_decimals),
        cmocka_unit_test(byte_counts_read_alike),
        cmocka_unit_test(quoted_text_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
