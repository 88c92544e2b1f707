/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_json.c - what is refused and where, numbers beyond 64 bits, failures in turn. */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

#include <errno.h>
#include <math.h>
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
    (void)snprintf(path, sizeof path, "/tmp/mz-json-XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static json_t *parsed(const char *text)
{
    json_t *value = NULL;
    assert_int_equal(mz_json_parse(&value, text, strlen(text), "t.json"), MZ_OK);
    assert_non_null(value);
    return value;
}

static void good_json_is_read(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"a\": [1, 2.5, -3], \"b\": {\"c\": null, \"d\": true}}",
        "[]",
        "{}",
        "5",
        "\"x\"",
        "[\"\xc3\xa4\", \"\\\"[{\\\\\"]",
        "[9223372036854775807]",
        "[-9223372036854775808]",
        "[\"1000000000000000019884624838656\"]", /* a string is left alone */
    };
    for (int i = 0; i < MZ_COUNT(same); i++) {
        json_t *value = parsed(same[i]);
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        assert_string_equal(text, same[i]);
        free(text); /* jansson's memory stays malloc's */
        json_decref(value);
    }
}

static void bad_json_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, from, to; /* the offset lies in from..to */
        const char *why;
    } bad[] = {
        {"", 1, 0, 0, "empty"},
        {"{\"a\":1,\n\"a\":2}", 2, 8, 12, "duplicate"},
        {"{\"a\":1,\n \"b\":}", 2, 12, 14, "unexpected"},
        {"[1,2", 1, 4, 4, "end of file"},
        {"[1] x", 1, 4, 5, "end of file"},
        {"[\"\xff\"]", 1, 1, 3, "0xff"},
        {"[\"\xed\xa0\x80\"]", 1, 1, 5, "decode"}, /* a surrogate in UTF-8 */
        {"\n\n[nan]", 3, 2, 6, "token"},
        {"[1e999]", 1, 1, 6, "overflow"},
        {"[01]", 1, 1, 3, "token"},
        {"{'a':1}", 1, 1, 2, "expected"},
        {"[1,]", 1, 3, 4, "unexpected"},
        {"[1]]", 1, 3, 4, "end of file"},
        {"[\"\\u0000\"]", 1, 1, 9, "0000"},
        {"[\"abc", 1, 1, 5, "end of input"},
        {"[\"abc\\", 1, 1, 6, "escape"},
        /* after two integers that are read as reals, the place is still that of the text */
        {"[1000000000000000019884624838656,\n 99999999999999999999, x]", 2, 57, 59, "token"},
        {"[1000000000000000019884624838656 1]", 1, 33, 34, "expected"},
    };
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        json_t *value = NULL;
        char line[16];
        assert_int_equal(mz_json_parse(&value, bad[i].text, strlen(bad[i].text), "t.json"),
                         MZ_ECORRUPT);
        assert_null(value);
        const mz_err_info *e = mz_err_last();
        (void)snprintf(line, sizeof line, "line %d:", bad[i].line);
        assert_non_null(strstr(e->message, line));
        assert_non_null(strstr(e->message, bad[i].why));
        assert_string_equal(e->file, "t.json");
        assert_true(e->offset >= bad[i].from && e->offset <= bad[i].to);
    }
    json_t *value = NULL;
    assert_int_equal(mz_json_parse(&value, "[1]\0", 4, "t.json"), MZ_ECORRUPT);
    assert_int_equal(mz_json_parse(&value, "[\"a\0b\"]", 7, "t.json"), MZ_ECORRUPT);
    assert_int_equal(mz_json_parse(&value, NULL, 3, "t.json"), MZ_EINVAL);
    assert_null(value);
}

static void nesting_ends_at_512(void **state)
{
    (void)state;
    static char text[3000];
    for (int depth = 510; depth < 516; depth++) {
        json_t *value = NULL;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        const mz_err err = mz_json_parse(&value, text, 2 * (size_t)depth, "t.json");
        assert_int_equal(err, depth <= 512 ? MZ_OK : MZ_ECORRUPT);
        if (err != MZ_OK) assert_int_equal(mz_err_last()->offset, 512);
        json_decref(value);
    }
    /* brackets in strings do not nest */
    memset(text, '[', 1000);
    text[0] = text[999] = '"';
    json_t *value = NULL;
    assert_int_equal(mz_json_parse(&value, text, 1000, "t.json"), MZ_OK);
    json_decref(value);
    memset(text, ']', sizeof text);
    assert_int_equal(mz_json_parse(&value, text, sizeof text, "t.json"), MZ_ECORRUPT);
}

static double real_at(const char *text)
{
    json_t *value = parsed(text);
    const json_t *first = json_array_get(value, 0);
    assert_true(json_is_real(first));
    const double x = json_real_value(first);
    json_decref(value);
    return x;
}

static json_int_t int_at(const char *text)
{
    json_t *value = parsed(text);
    const json_t *first = json_array_get(value, 0);
    assert_true(json_is_integer(first));
    const json_int_t x = json_integer_value(first);
    json_decref(value);
    return x;
}

static bool equals(double a, double b)
{
    return !(a < b) && !(a > b) && !isnan(a) && !isnan(b);
}

static void integers_beyond_64_bits_are_reals(void **state)
{
    (void)state;
    assert_true(equals(real_at("[1000000000000000019884624838656]"), 1e30));
    assert_true(equals(real_at("[-1000000000000000019884624838656 , 1]"), -1e30));
    assert_true(equals(real_at("[9223372036854775808]"), 0x1p63));
    assert_true(equals(real_at("[-9223372036854775809]"), -0x1p63));
    assert_true(equals(real_at("[18446744073709551616, 1000000000000000019884624838656]"), 0x1p64));
    assert_true(int_at("[9223372036854775807]") == INT64_MAX);
    assert_true(int_at("[-9223372036854775808]") == INT64_MIN);
    assert_true(int_at("[1, 99999999999999999999, \"99999999999999999999\"]") == 1);
    /* long digits that are no integer of their own */
    assert_true(equals(real_at("[0.1000000000000000000000000001]"), 0.1));
    assert_true(equals(real_at("[1e0000000000000000000000000001]"), 10));
    assert_true(equals(real_at("[1E-0000000000000000000000000001]"), 0.1));
    assert_true(equals(real_at("[1.5e+0000000000000000000000000001]"), 15));
    assert_true(equals(real_at("[1e-99999999999999999999]"), 0));
    assert_true(equals(real_at("[99999999999999999999.5e1]"), 1e21));
}

static json_t *sample(void)
{
    json_t *value = json_pack("{s:i, s:[f,b,n], s:s, s:o}", "step", 3, "list", 0.1, 1, "text",
                              "\xc3\xa4\n", "loss", mz_json_number((double)NAN));
    assert_non_null(value);
    return value;
}

static void written_is_what_is_read(void **state)
{
    (void)state;
    json_t *value = sample(), *again = NULL;
    assert_int_equal(mz_json_write(value, path), MZ_OK);
    assert_int_equal(mz_json_read(&again, path, 1 << 20), MZ_OK);
    assert_true(json_equal(value, again));
    json_decref(again);
    char *text = NULL;
    size_t bytes;
    assert_int_equal(mz_file_read(path, 1 << 20, &text, &bytes), MZ_OK);
    assert_non_null(strstr(text, "{\n  \"step\": 3,\n"));
    assert_int_equal(text[bytes - 1], '\n');
    mz_mem_free(text);
    again = NULL;
    assert_int_equal(mz_json_read(&again, path, bytes - 1), MZ_ECORRUPT);
    assert_int_equal(mz_json_read(&again, "/tmp/no/such/file", 1 << 20), MZ_EIO);
    assert_null(again);
    assert_int_equal(mz_file_write(path, "{\n,", 3), MZ_OK);
    assert_int_equal(mz_json_read(&again, path, 1 << 20), MZ_ECORRUPT);
    assert_string_equal(mz_err_last()->file, path);
    json_decref(value);
}

static void numbers_that_json_lacks_are_null(void **state)
{
    (void)state;
    const double none[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (int i = 0; i < 3; i++) {
        json_t *value = mz_json_number(none[i]);
        assert_true(json_is_null(value));
        json_decref(value);
    }
    json_t *value = mz_json_number(-2.5);
    assert_true(json_is_real(value) && equals(json_real_value(value), -2.5));
    json_decref(value);
}

static void what_cannot_be_written_leaves_the_old_file(void **state)
{
    (void)state;
    json_t *value = sample(), *again = NULL;
    json_t *text = json_string_nocheck("\xff"), *ring = json_array();
    json_array_append(ring, ring); /* refused by jansson: nothing is appended */
    assert_int_equal(mz_json_write(value, path), MZ_OK);
    assert_int_equal(mz_json_write(text, path), MZ_EINVAL);
    assert_int_equal(mz_json_write(NULL, path), MZ_EINVAL);
    for (int n = 1;; n++) {
        mz_file_fail_at(n, EIO, false);
        const mz_err err = mz_json_write(ring, path);
        mz_file_fail_at(0, 0, false);
        if (err == MZ_OK) break;
        assert_int_equal(err, MZ_EIO);
        assert_int_equal(mz_json_read(&again, path, 1 << 20), MZ_OK);
        assert_true(json_equal(value, again));
        json_decref(again);
    }
    json_decref(value);
    json_decref(text);
    json_decref(ring);
}

static void any_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [1000000000000000019884624838656, \"\\u00e4\", "
                               "{\"b\": 2.5}], \"c\": 7, \"a long key that needs room\": []}";
    const size_t used = mz_mem_bytes_used();
    int n = 1;
    for (;; n++) {
        json_t *value = NULL;
        mz_mem_fail_at(n, false);
        const mz_err err = mz_json_parse(&value, text, sizeof text - 1, "t.json");
        const bool has_failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(mz_mem_bytes_used(), used);
        /* jansson alone would read the long integer without one of its digits and call it done */
        assert_int_equal(err, has_failed ? MZ_ENOMEM : MZ_OK);
        json_decref(value);
        if (!has_failed) break;
    }
    assert_true(n > 20); /* jansson's own allocations are among them */
    json_t *value = sample();
    for (n = 1;; n++) {
        mz_mem_fail_at(n, false);
        const mz_err err = mz_json_write(value, path);
        const bool has_failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, has_failed ? MZ_ENOMEM : MZ_OK);
        assert_int_equal(mz_mem_bytes_used(), used);
        if (!has_failed) break;
    }
    json_decref(value);
}

static void in_a_step_json_is_our_own_mistake(void **state)
{
    (void)state;
    json_t *value = NULL;
    /* mz_mem_new itself is not called for this text: jansson's allocator must see the guard */
    mz_guard_enter();
    const bool is_on = mz_guard_is_on();
    const mz_err err = mz_json_parse(&value, "[1]", 3, "t.json");
    mz_guard_leave();
    assert_int_equal(err, is_on ? MZ_EINVAL : MZ_OK);
    if (is_on) assert_non_null(strstr(mz_err_last()->message, "inside a step"));
    json_decref(value);
}

/* Whatever bytes: no crash, and where no integer is long and nothing deep, jansson's own answer. */
static void damaged_text_is_read_as_jansson_does(void **state)
{
    (void)state;
    static const char seed_text[] =
        "{\"a\": [1, -2.5e-3, true, null, \"\\u00e4\\n\"], \"b\": {\"\xc3\xa4\": "
        "123456789012345678901234567890}, \"c\": [[], {}, \"\\\"[\"]}";
    static const char alphabet[] = "\"\\{}[],:0123456789.eE+-tfnu \n\xff\xc3";
    char text[sizeof seed_text];
    mz_rng r;
    int accepted = 0;
    mz_rng_init(&r, 3, 1);
    for (int round = 0; round < 8000; round++) {
        const uint64_t changes = mz_rng_below(&r, 4);
        memcpy(text, seed_text, sizeof text);
        for (uint64_t k = 0; k < changes; k++)
            text[mz_rng_below(&r, sizeof text - 1)] =
                alphabet[mz_rng_below(&r, sizeof alphabet - 1)];
        const size_t bytes = round % 3 == 0 ? mz_rng_below(&r, sizeof text) : sizeof text - 1;
        json_t *got = NULL;
        json_error_t error;
        json_t *want = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
        const mz_err err = mz_json_parse(&got, text, bytes, "t.json");
        assert_true(err == MZ_OK || (err == MZ_ECORRUPT && !got));
        if (err != MZ_OK) assert_in_range(mz_err_last()->offset, 0, bytes);
        if (want) assert_true(got && json_equal(got, want));
        if (!want && got) assert_non_null(strstr(error.text, "too big"));
        accepted += got != NULL;
        json_decref(want);
        json_decref(got);
    }
    assert_in_range(accepted, 800, 7200); /* the test saw both */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_json_is_read),
        cmocka_unit_test(bad_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_ends_at_512),
        cmocka_unit_test(integers_beyond_64_bits_are_reals),
        cmocka_unit_test(written_is_what_is_read),
        cmocka_unit_test(numbers_that_json_lacks_are_null),
        cmocka_unit_test(what_cannot_be_written_leaves_the_old_file),
        cmocka_unit_test(any_failed_allocation_is_an_error_without_a_leak),
        cmocka_unit_test(in_a_step_json_is_our_own_mistake),
        cmocka_unit_test(damaged_text_is_read_as_jansson_does),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
