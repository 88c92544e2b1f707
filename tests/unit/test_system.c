/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_system.c - clock, log and options: what the process is told from outside. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/options.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void clocks_go_forward(void **state)
{
    (void)state;
    int64_t last = mz_clock_ns();
    for (int i = 0; i < 1000; i++) {
        const int64_t now = mz_clock_ns();
        assert_true(now >= last);
        last = now;
    }
    const double wall = mz_clock_wall_s();
    assert_true(wall >= (double)time(NULL) - 2 && wall <= (double)time(NULL) + 2);
    const int64_t start = mz_clock_ns();
    mz_clock_sleep_ns(3000000);
    const int64_t slept = mz_clock_ns() - start;
    assert_true(slept >= 3000000 && slept < (int64_t)10 * 1000000000);
    mz_clock_sleep_ns(0);
    mz_clock_sleep_ns(-5);
    const double cpu = mz_clock_cpu_s();
    const int64_t until = mz_clock_ns() + (int64_t)20 * 1000000000;
    while (!(mz_clock_cpu_s() > cpu) && mz_clock_ns() < until) {
    }
    assert_true(mz_clock_cpu_s() > cpu);
}

typedef struct {
    int lines, mark;
    mz_log_level level;
    char last[4096];
    atomic_int inside, clashes;
} book;

static void keep(void *user, mz_log_level level, const char *line)
{
    book *b = user;
    if (atomic_fetch_add(&b->inside, 1) != 0) atomic_fetch_add(&b->clashes, 1);
    b->lines++;
    b->level = level;
    (void)snprintf(b->last, sizeof b->last, "%s", line);
    mz_log(MZ_LOG_LOUD, "from inside"); /* dropped; must not wait for itself */
    atomic_fetch_sub(&b->inside, 1);
}

static void log_goes_to_one_sink(void **state)
{
    (void)state;
    static book b;
    mz_log(MZ_LOG_INFO, "nobody listens");
    mz_log_to(keep, &b);
    const int64_t count = mz_mem_count();
    mz_log(MZ_LOG_WARN, "step %d", 3);
    assert_int_equal(mz_mem_count(), count); /* may be called inside a step */
    assert_string_equal(b.last, "step 3");
    assert_true(b.lines == 1 && b.level == MZ_LOG_WARN);
    char text[5000];
    for (int i = 0; i + 1 < 5000; i += 2) memcpy(text + i, "\xc3\xa4", 2);
    text[4998] = '\0';
    for (int lead = 0; lead < 2; lead++) { /* cut between two characters wherever they begin */
        mz_log(MZ_LOG_INFO, "%s%s", lead ? "a" : "", text);
        const size_t kept = strlen(b.last) - 3;
        assert_string_equal(b.last + kept, "...");
        assert_true(kept > 2000 && kept % 2 == (size_t)lead);
    }
    mz_log_to(NULL, NULL);
    mz_log(MZ_LOG_INFO, "nobody listens");
    assert_int_equal(b.lines, 3);
}

static void keep_slowly(void *user, mz_log_level level, const char *line)
{
    book *b = user;
    if (atomic_fetch_add(&b->inside, 1) != 0) atomic_fetch_add(&b->clashes, 1);
    mz_clock_sleep_ns(20000); /* long enough for others to come */
    b->lines += level == MZ_LOG_DEBUG && *line;
    atomic_fetch_sub(&b->inside, 1);
}

static void *talk(void *arg)
{
    for (int i = 0; i < 100; i++) mz_log(MZ_LOG_DEBUG, "%d", i);
    return arg;
}

static void sink_is_called_by_one_thread_at_a_time(void **state)
{
    (void)state;
    static book b;
    pthread_t id[3];
    mz_log_to(keep_slowly, &b);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&id[i], NULL, talk, NULL), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_join(id[i], NULL), 0);
    mz_log_to(NULL, NULL);
    assert_int_equal(b.lines, 300);
    assert_int_equal(atomic_load(&b.clashes), 0);
}

static const char *const NAMES[] = {"MIZAN_THREADS",     "MIZAN_ISA",        "MIZAN_CHIP",
                                    "MIZAN_DRIVER_PATH", "MIZAN_FAULT_PLAN", "MIZAN_SYNC_EACH",
                                    "NO_COLOR"};

static mz_options options_with(const char *name, const char *value)
{
    mz_options o;
    memset(&o, 0xff, sizeof o);
    for (int i = 0; i < MZ_COUNT(NAMES); i++) (void)unsetenv(NAMES[i]);
    if (name) (void)setenv(name, value, 1);
    mz_options_init(&o);
    return o;
}

static void options_are_defaults_then_environment(void **state)
{
    (void)state;
    const mz_options o = options_with(NULL, NULL);
    assert_true(o.threads == 0 && !o.driver_path && !o.fault_plan && !o.sync_each && !o.no_color);
    assert_string_equal(o.isa, "auto");
    assert_string_equal(o.chip, "cpu");
    assert_int_equal(options_with("MIZAN_THREADS", "3").threads, 3);
    assert_string_equal(options_with("MIZAN_ISA", "avx2").isa, "avx2");
    assert_string_equal(options_with("MIZAN_ISA", "").isa, "auto"); /* empty is none */
    assert_string_equal(options_with("MIZAN_CHIP", "far:f16").chip, "far:f16");
    assert_string_equal(options_with("MIZAN_DRIVER_PATH", "/d").driver_path, "/d");
    assert_string_equal(options_with("MIZAN_FAULT_PLAN", "/f").fault_plan, "/f");
    assert_true(options_with("MIZAN_SYNC_EACH", "1").sync_each);
    assert_false(options_with("MIZAN_SYNC_EACH", "0").sync_each);
    assert_true(options_with("NO_COLOR", "1").no_color);
    assert_false(options_with("NO_COLOR", "").no_color);
}

static void bad_thread_count_is_said_aloud(void **state)
{
    (void)state;
    static const char *const bad[] = {"two", "-1", "1.5", "99999999999999999999", "5000"};
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        static book b;
        memset(&b, 0, sizeof b);
        mz_log_to(keep, &b);
        assert_int_equal(options_with("MIZAN_THREADS", bad[i]).threads, 0);
        mz_log_to(NULL, NULL);
        assert_true(b.lines == 1 && b.level == MZ_LOG_WARN);
        assert_non_null(strstr(b.last, bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(log_goes_to_one_sink),
        cmocka_unit_test(sink_is_called_by_one_thread_at_a_time),
        cmocka_unit_test(options_are_defaults_then_environment),
        cmocka_unit_test(bad_thread_count_is_said_aloud),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
