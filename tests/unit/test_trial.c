/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_trial.c - code tried in a process of its own: what ends well, ends badly, dies
 * and hangs; and that nobody waits who does not want to. */
#include "base/clock.h"
#include "base/trial.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void well(const void *arg)
{
    (void)arg;
}

static void badly(const void *arg)
{
    (void)arg;
    mz_trial_failed();
}

static void dies(const void *arg)
{
    (void)arg;
    (void)raise(SIGKILL);
}

static void hangs(const void *arg)
{
    (void)arg;
    for (;;) (void)pause();
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(mz_trial("it", well, NULL, 20.0), MZ_OK);
    assert_int_equal(mz_trial("it", badly, NULL, 20.0), MZ_ENOTSUP);
    assert_non_null(strstr(mz_err_last()->message, "exit code 1"));
    assert_int_equal(mz_trial("it", dies, NULL, 20.0), MZ_ENOTSUP);
    assert_non_null(strstr(mz_err_last()->message, "signal 9"));
    assert_int_equal(mz_trial("it", hangs, NULL, 0.1), MZ_ENOTSUP);
    assert_non_null(strstr(mz_err_last()->message, "does not come back"));
}

static mz_err wait_until_over(mz_trial_run *t)
{
    mz_err how = MZ_OK;
    for (int tries = 0; tries < 20000; tries++) {
        if (mz_trial_is_over(t, &how)) return how;
        mz_clock_sleep_ns(1000000);
    }
    fail_msg("it is never over");
    return how;
}

static void test_nobody_waits(void **state)
{
    (void)state;
    mz_err how = MZ_OK;
    mz_trial_run t = {0};
    mz_trial_drop(&t); /* nothing is being tried */
    assert_int_equal(mz_trial_begin(&t, "it", hangs, NULL, 600.0), MZ_OK);
    for (int i = 0; i < 100; i++) assert_false(mz_trial_is_over(&t, &how));
    const pid_t pid = t.pid;
    mz_trial_drop(&t);
    assert_int_equal(t.pid, 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* it was waited for */
    assert_int_equal(errno, ECHILD);
    assert_int_equal(mz_trial_begin(&t, "it", well, NULL, 20.0), MZ_OK);
    assert_int_equal(wait_until_over(&t), MZ_OK);
    assert_int_equal(mz_trial_begin(&t, "it", hangs, NULL, 0.05), MZ_OK);
    assert_int_equal(wait_until_over(&t), MZ_ENOTSUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_nobody_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
