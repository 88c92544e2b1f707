/* SPDX-License-Identifier: Apache-2.0 */
/* tests/runs/test_events.c - the bytes of event files against those that every such file begins
 * with, their order, and what is left of older ones. e2e_runs reads values back. */
#include "runs/events.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static mz_events opened(int64_t after, bool begins)
{
    mz_events e = {.file.fd = -1};
    if (mz_events_open(&e, scratch_path("run"), after, begins) != MZ_OK)
        fail_msg("%s", mz_err_last()->message);
    return e;
}

static void begins_as_every_such_file(void **state)
{
    (void)state;
    scratch_clear();
    /* a length of 24 and its checksum, as TensorFlow's own files begin */
    static const unsigned char first[] = {0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22, 9};
    static const char version[] = "\x1a\x0d"
                                  "brain.Event:2";
    static const unsigned char start[] = {0x10, 0x91, 0x4e, 0x3a, 2, 8, 1}; /* step 10001, START */
    static const char loss[] = "\x10\x91\x4e\x2a\x0d\x0a\x0b\x0a\x04"
                               "loss\x15\0\0\x80\x3f\x0a";
    char *text = NULL;
    size_t n = 0;
    const mz_scalar list[] = {{"loss", 1.0}, {"lr", -1e300}};
    mz_events e = opened(10000, true);
    assert_int_equal(mz_events_put(&e, 10001, 1.5, list, 1), MZ_OK);
    assert_int_equal(mz_events_sync(&e), MZ_OK);
    assert_int_equal(mz_file_read(e.file.path, 4096, &text, &n), MZ_OK);
    assert_int_equal(n, 3 * 16 + 24 + 16 + 27);
    assert_memory_equal(text, first, sizeof first);
    assert_memory_equal(text + 12 + 9, version, sizeof version - 1);
    assert_memory_equal(text + 40 + 12 + 9, start, sizeof start);
    assert_memory_equal(text + 72 + 12 + 9, loss, sizeof loss - 2);
    assert_memory_equal(text + 72 + 12, "\x09\0\0\0\0\0\0\xf8\x3f", 9); /* 1.5 s */
    mz_mem_free(text);
    assert_int_equal(mz_events_put(&e, 10002, 1.5, &list[1], 1), MZ_OK);
    assert_int_equal(mz_file_read(e.file.path, 4096, &text, &n), MZ_OK);
    assert_memory_equal(text + n - 8, "\0\0\x80\xff", 4); /* beyond f32: minus infinity */
    mz_mem_free(text);
    assert_int_equal(mz_events_put(&e, 1, 0.0, list, MZ_SCALARS_MAX + 1), MZ_EINVAL);
    mz_events_close(&e);
}

/* Three starts in one second, one of them after one whose clock was ahead: names sort as they came.
 */
static void names_sort_as_processes_came(void **state)
{
    (void)state;
    scratch_clear();
    char before[1024] = "";
    assert_int_equal(mz_file_mkdirs(scratch_path("run/tensorboard")), MZ_OK);
    for (int i = 0; i < 3; i++) {
        mz_events e = opened(i, false);
        assert_true(strcmp(e.file.path, before) > 0);
        memcpy(before, e.file.path, strlen(e.file.path) + 1);
        mz_events_close(&e);
    }
    (void)scratch_write("run/tensorboard/events.out.tfevents.4000000000.ahead.1.0", "");
    mz_events e = opened(3, false);
    assert_non_null(strstr(e.file.path, "tfevents.4000000001."));
    mz_events_close(&e);
}

static int64_t count(void)
{
    mz_names names = {0};
    assert_int_equal(mz_folder_list(&names, scratch_path("run/tensorboard")), MZ_OK);
    const int64_t n = names.n;
    mz_names_clear(&names);
    return n;
}

static void one_that_begins_anew_leaves_nothing_of_before(void **state)
{
    (void)state;
    scratch_clear();
    mz_events e = opened(0, true);
    mz_events_close(&e);
    e = opened(5, false);
    mz_events_close(&e);
    (void)scratch_write("run/tensorboard/notes.txt", "mine");
    assert_int_equal(count(), 3);
    e = opened(0, true);
    mz_events_close(&e);
    assert_int_equal(count(), 2);
    assert_true(mz_file_exists(scratch_path("run/tensorboard/notes.txt")));
}

/* Whatever fails, nothing stays open. */
static void every_failure_is_told(void **state)
{
    (void)state;
    int failures = 0;
    for (int i = 1; i < 48; i++) {
        scratch_clear();
        mz_events e = {.file.fd = -1};
        mz_file_fail_at(i, 28, false); /* ENOSPC */
        const mz_err err = mz_events_open(&e, scratch_path("run"), 0, true);
        mz_file_fail_at(0, 0, false);
        if (err == MZ_OK) { /* a folder was there already, or nothing was left to fail */
            mz_events_close(&e);
            continue;
        }
        failures++;
        assert_int_equal(err, MZ_EIO);
        assert_int_equal(e.file.fd, -1);
    }
    assert_in_range(failures, 6, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_as_every_such_file),
        cmocka_unit_test(names_sort_as_processes_came),
        cmocka_unit_test(one_that_begins_anew_leaves_nothing_of_before),
        cmocka_unit_test(every_failure_is_told),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
