/* SPDX-License-Identifier: Apache-2.0 */
/* tests/runs/test_series.c - a run's log read whole, from its end, and followed while it grows, is
 * torn, and is rewritten. */
#include "tests/scratch.h"

#include "base/file.h"
#include "base/folder.h"
#include "runs/series.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void write_log(const char *text)
{
    assert_int_equal(mz_file_mkdirs(scratch_path("run")), MZ_OK);
    (void)scratch_write("run/log.jsonl", text);
}

static void append(const char *text)
{
    mz_appender a = {-1, ""};
    assert_int_equal(mz_appender_open(&a, scratch_path("run/log.jsonl")), MZ_OK);
    assert_int_equal(mz_appender_put(&a, text, strlen(text)), MZ_OK);
    mz_appender_close(&a);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fabs(b);
}

static void every_member_is_read(void **state)
{
    (void)state;
    mz_series s = {0};
    int64_t step;
    scratch_clear();
    write_log(
        "{\"step\": 1, \"samples\": 8, \"tokens\": 64, \"loss\": 2.5, \"lr\": 1e-3, "
        "\"grad_norm\": 0.5, \"tokens_per_s\": 100, \"flops_per_s\": 1, \"skipped\": 0, "
        "\"time\": 10.0}\n"
        "{\"step\": 2, \"loss\": null, \"skipped\": 1, \"time\": 12.0, \"sample\": \"a\\u0000, "
        "\\\"loss\\\": 9\", \"more\": {\"loss\": [7]}, \"eval_loss\": 2.25}\n"
        "{\"step\": 3, \"loss\": 2, \"skipped\": 1, \"time\": 14.5, "
        "\"eval_loss\": 2.75}\n"
        "{\"step\": 4, \"loss\": 1.75, \"skipped\": 1, \"time\": 15, \"done\": true}\n");
    (void)scratch_write("run/resumed.jsonl",
                        "{\"after_step\": 3, \"time\": 1}\n"
                        "{\"after_step\": 2, \"time\": 2}\n{\"after_step\": 1");
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_int_equal(s.n, 4);
    const mz_record *r = s.list;
    assert_true(r[0].samples == 8 && r[0].tokens == 64 && near(r[0].value[MZ_METRIC_LOSS], 2.5));
    assert_true(near(r[0].value[MZ_METRIC_LR], 1e-3) && near(r[0].value[MZ_METRIC_SPEED], 100.0));
    assert_true(near(r[0].value[MZ_METRIC_GRAD_NORM], 0.5) && isnan(r[0].value[MZ_METRIC_EVAL]));
    assert_true(isnan(r[1].value[MZ_METRIC_LOSS]) && near(r[1].value[MZ_METRIC_EVAL], 2.25));
    assert_true(!mz_series_skipped(&s, 0) && mz_series_skipped(&s, 1) && !mz_series_skipped(&s, 2));
    assert_true(!r[1].is_resumed && r[2].is_resumed && !r[2].is_done && r[3].is_done);
    assert_true(!r[3].is_resumed); /* step 4 was made again by the process that made step 3 */
    assert_true(near(mz_series_best(&s, &step), 2.25) && step == 2);
    assert_true(near(mz_series_pace(&s), 0.5)); /* not over the pause before the resume */
    mz_series_clear(&s);
}

static void the_end_alone(void **state)
{
    (void)state;
    mz_series s = {0};
    scratch_clear();
    write_log("{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n{\"step\": 4");
    assert_int_equal(mz_series_read_tail(&s, scratch_path("run"), 2), MZ_OK);
    assert_true(s.n == 2 && s.list[0].step == 2 && s.list[1].step == 3);
    assert_int_equal(mz_series_read_tail(&s, scratch_path("run"), 9), MZ_OK);
    assert_true(s.n == 3 && s.list[0].step == 1);
    write_log("{\"step\":");
    assert_int_equal(mz_series_read_tail(&s, scratch_path("run"), 9), MZ_OK);
    assert_int_equal(s.n, 0);
    write_log("");
    assert_int_equal(mz_series_read_tail(&s, scratch_path("run"), 9), MZ_OK);
    assert_int_equal(s.n, 0);
    mz_series_clear(&s);
}

static void a_growing_log_is_followed(void **state)
{
    (void)state;
    mz_series s = {0};
    scratch_clear();
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK); /* not there yet */
    write_log("{\"step\": 1, \"loss\": 4}\n{\"step\": 2, \"lo");
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_int_equal(s.n, 1);
    append("ss\": 3}\n{\"step\": 3, \"loss\": 2}\n");
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_true(s.n == 3 && near(s.list[1].value[MZ_METRIC_LOSS], 3.0));
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK); /* nothing new */
    assert_int_equal(s.n, 3);
    mz_series_clear(&s);
}

/* What a resume does: the log is replaced by a shorter one, then grows beyond what was read. */
static void a_rewritten_log_begins_anew(void **state)
{
    (void)state;
    mz_series s = {0};
    scratch_clear();
    write_log("{\"step\": 1, \"loss\": 4}\n{\"step\": 2, \"loss\": 3}\n");
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_int_equal(s.n, 2);
    write_log("{\"step\": 1, \"loss\": 4}\n");
    append("{\"step\": 2, \"loss\": 5}\n{\"step\": 3, \"loss\": 6}\n");
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_true(s.n == 3 && near(s.list[1].value[MZ_METRIC_LOSS], 5.0));
    /* the same file, as an inode that was used again would be: other bytes where it was read to */
    s.tail[s.n_tail - 2] ^= 1;
    s.list[0].value[MZ_METRIC_LOSS] = 99.0;
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_true(s.n == 3 && near(s.list[0].value[MZ_METRIC_LOSS], 4.0));
    assert_int_equal(mz_folder_remove(scratch_path("run/log.jsonl")), MZ_OK);
    assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_OK);
    assert_int_equal(s.n, 0);
    mz_series_clear(&s);
}

static void a_damaged_line_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"step\": 1}\nnothing\n", "{\"step\": 1}\n{\"loss\": 1}\n",
                                      "{\"step\": 1}\n{\"step\": 2} {}\n", "{\"step\": 1}\n\n",
                                      "{\"step\": 1}\n{\"step\": 2, \"loss\": nan}\n"};
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        mz_series s = {0};
        scratch_clear();
        write_log(bad[i]);
        assert_int_equal(mz_series_read(&s, scratch_path("run")), MZ_ECORRUPT);
        assert_non_null(strstr(mz_err_last()->file, "log.jsonl"));
        assert_true(mz_err_last()->offset >= 12);
        mz_series_clear(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_read),      cmocka_unit_test(the_end_alone),
        cmocka_unit_test(a_growing_log_is_followed), cmocka_unit_test(a_rewritten_log_begins_anew),
        cmocka_unit_test(a_damaged_line_is_named),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
