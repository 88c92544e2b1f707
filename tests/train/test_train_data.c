/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_train_data.c - which ids a sample holds, in which order, and which lines are
 * refused.
 */
#include "tests/train/scratch.h"
#include "train/data.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static mz_err open_with(mz_data **d, const char *text, mz_data_options o)
{
    return mz_data_open(d, scratch_write("d.jsonl", text), &o);
}

static void test_order(void **state)
{
    (void)state;
    mz_data *d = NULL;
    mz_sample s;
    const char *text =
        "{\"ids\": [1, 2]}\n\n  \n{\"ids\": [3, 4, 5], \"more\": 1}\r\n{\"ids\":[6,7]}";
    assert_int_equal(open_with(&d, text, (mz_data_options){.seq = 4, .vocab = 10}), MZ_OK);
    assert_int_equal(mz_data_count(d), 3);
    assert_int_equal(mz_data_tokens(d), 7);
    static const int64_t lines[] = {1, 4, 5}, lengths[] = {2, 3, 2};
    for (int64_t c = 0; c < 10; c++) { /* wraps round epochs */
        mz_data_sample(d, c, &s);
        assert_int_equal(s.line, lines[c % 3]);
        assert_int_equal(s.n, lengths[c % 3]);
    }
    mz_data_sample(d, 4, &s);
    assert_memory_equal(s.ids, ((int32_t[]){3, 4, 5}), 3 * sizeof(int32_t));
    assert_int_equal(strlen(mz_data_sha256(d)), 64);
    mz_data_close(d);
}

enum { MANY = 50 };

static void make_many(char *text, size_t bytes)
{
    size_t at = 0;
    for (int i = 0; i < MANY; i++)
        at += (size_t)snprintf(text + at, bytes - at, "{\"ids\": [%d, 0]}\n", i);
}

/* Every epoch holds every sample once, in an order of its own that seed and epoch alone decide. */
static void test_shuffle(void **state)
{
    (void)state;
    static char text[MANY * 20];
    int32_t order[3 * MANY];
    mz_data *d = NULL, *again = NULL, *other = NULL;
    mz_sample s;
    make_many(text, sizeof text);
    const mz_data_options o = {.seq = 2, .vocab = MANY, .shuffle = true, .seed = 5};
    mz_data_options o6 = o;
    o6.seed = 6;
    assert_int_equal(open_with(&d, text, o), MZ_OK);
    assert_int_equal(open_with(&again, text, o), MZ_OK);
    assert_int_equal(open_with(&other, text, o6), MZ_OK);
    for (int64_t e = 0; e < 3; e++) {
        bool seen[MANY] = {false};
        for (int64_t i = 0; i < MANY; i++) {
            mz_data_sample(d, e * MANY + i, &s);
            order[e * MANY + i] = s.ids[0];
            assert_false(seen[s.ids[0]]);
            seen[s.ids[0]] = true;
        }
    }
    assert_memory_not_equal(order, order + MANY, MANY * sizeof *order);
    int same = 0, moved = 0;
    for (int64_t c = 3 * MANY - 1; c >= 0; c--) { /* backwards: only the cursor counts */
        mz_data_sample(again, c, &s);
        assert_int_equal(s.ids[0], order[c]);
        mz_data_sample(other, c, &s);
        same += s.ids[0] == order[c];
        moved += order[c] != c % MANY;
    }
    assert_true(same < 3 * MANY / 4 && moved > 3 * MANY / 4);
    mz_data_close(d);
    mz_data_close(again);
    mz_data_close(other);
}

typedef struct bad {
    const char *text;
    mz_err code;
    const char *says;
} bad;

static void test_bad(void **state)
{
    (void)state;
    static const bad list[] = {
        {"", MZ_ECORRUPT, "holds no sample"},
        {"\n\n", MZ_ECORRUPT, "holds no sample"},
        {"{\"ids\": [1, 2]}\n{\"ids\": [1, 2}\n", MZ_ECORRUPT, "d.jsonl:2: "},
        {"{\"ids\": [1, 2]} {}\n", MZ_ECORRUPT, "d.jsonl:1: "},
        {"[1, 2]\n", MZ_ECORRUPT, "d.jsonl:1: the line is not {\"ids\""},
        {"{\"id\": [1, 2]}\n", MZ_ECORRUPT, "d.jsonl:1: the line is not {\"ids\""},
        {"{\"ids\": 3}\n", MZ_ECORRUPT, "d.jsonl:1: the line is not {\"ids\""},
        {"{\"ids\": []}\n", MZ_ECORRUPT, "d.jsonl:1: a sample of fewer than two"},
        {"\n{\"ids\": [1]}\n", MZ_ECORRUPT, "d.jsonl:2: a sample of fewer than two"},
        {"{\"ids\": [1, 10]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, -1]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, 2.0]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, 4294967297]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, 2, 3, 4, 5, 6]}\n", MZ_ECORRUPT, "d.jsonl:1: the sample is longer"},
        {"{\"messages\": []}\n", MZ_ENOTSUP, "d.jsonl:1: chat messages"},
    };
    for (int i = 0; i < MZ_COUNT(list); i++) {
        mz_data *d = NULL;
        const mz_err err = open_with(&d, list[i].text, (mz_data_options){.seq = 4, .vocab = 10});
        if (err != list[i].code || !strstr(mz_err_last()->message, list[i].says))
            fail_msg("case %d: %s (%s)", i, mz_err_name(err), mz_err_last()->message);
        assert_null(d);
    }
    mz_data *d = NULL;
    const mz_data_options o = {.seq = 4, .vocab = 10};
    assert_int_equal(mz_data_open(&d, scratch_path("."), &o), MZ_ENOTSUP);
    assert_int_equal(mz_data_open(&d, scratch_path("none"), &o), MZ_EIO);
    /* seq + 1 ids: the last is a target only */
    assert_int_equal(open_with(&d, "{\"ids\": [1, 2, 3, 4, 5]}\n", o), MZ_OK);
    mz_data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
