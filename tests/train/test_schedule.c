/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_schedule.c - learning rates against numbers worked out apart from the code. */
#include "train/guard.h"
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void is_near(double got, double want)
{
    if (fabs(got - want) <= 1e-15 + 1e-12 * fabs(want)) return;
    fail_msg("%.17g, want %.17g", got, want);
}

static mz_train_config config(mz_schedule_kind kind)
{
    mz_train_config c;
    memset(&c, 0, sizeof c);
    c.lr = 2e-3;
    c.schedule_min_lr = 1e-4;
    c.run_steps = 100;
    c.schedule_warmup = 10;
    c.schedule_decay = 0.2;
    c.schedule_kind = (int64_t)kind;
    return c;
}

static void test_warmup(void **state)
{
    (void)state;
    for (int kind = MZ_SCHEDULE_CONSTANT; kind <= MZ_SCHEDULE_STEP; kind++) {
        const mz_train_config c = config((mz_schedule_kind)kind);
        is_near(mz_schedule_lr(&c, 0), 2e-4);
        is_near(mz_schedule_lr(&c, 4), 1e-3);
        is_near(mz_schedule_lr(&c, 9), 2e-3);
        is_near(mz_schedule_lr(&c, 10), 2e-3);
    }
    mz_train_config c = config(MZ_SCHEDULE_CONSTANT);
    is_near(mz_schedule_lr(&c, 99), 2e-3);
    c.schedule_warmup = 0;
    is_near(mz_schedule_lr(&c, 0), 2e-3);
}

/* cos(pi/3) = 1/2, cos(pi/2) = 0 */
static void test_cosine(void **state)
{
    (void)state;
    const mz_train_config c = config(MZ_SCHEDULE_COSINE);
    is_near(mz_schedule_lr(&c, 10 + 30), 1e-4 + 1.9e-3 * 0.75);
    is_near(mz_schedule_lr(&c, 10 + 45), 1e-4 + 1.9e-3 * 0.5);
    is_near(mz_schedule_lr(&c, 10 + 60), 1e-4 + 1.9e-3 * 0.25);
    is_near(mz_schedule_lr(&c, 100), 1e-4);
    for (int64_t s = 10; s < 100; s++)
        assert_true(mz_schedule_lr(&c, s + 1) < mz_schedule_lr(&c, s));
}

static void test_wsd(void **state)
{
    (void)state;
    const mz_train_config c = config(MZ_SCHEDULE_WSD);
    is_near(mz_schedule_lr(&c, 79), 2e-3);
    is_near(mz_schedule_lr(&c, 80), 2e-3);
    is_near(mz_schedule_lr(&c, 90), 1e-4 + 1.9e-3 * 0.5);
    is_near(mz_schedule_lr(&c, 99), 1e-4 + 1.9e-3 * 0.05);
    mz_train_config none = c;
    none.schedule_decay = 0.0;
    is_near(mz_schedule_lr(&none, 99), 2e-3);
}

static void test_step(void **state)
{
    (void)state;
    mz_train_config c = config(MZ_SCHEDULE_STEP);
    is_near(mz_schedule_lr(&c, 79), 2e-3);
    is_near(mz_schedule_lr(&c, 80), 2e-3 * 0.316);
    is_near(mz_schedule_lr(&c, 89), 2e-3 * 0.316);
    is_near(mz_schedule_lr(&c, 90), 2e-3 * 0.099856);
    c.schedule_min_lr = 1e-3;
    is_near(mz_schedule_lr(&c, 95), 1e-3);
    for (int64_t steps = 1; steps < 400; steps++) { /* no rounding moves the edge */
        c.run_steps = steps;
        for (int64_t s = c.schedule_warmup; s < steps; s++)
            assert_int_equal(10 * s >= 8 * steps, mz_schedule_lr(&c, s) < c.lr);
    }
}

/* ---- the guard ---- */

static mz_spikes guard; /* large */

static void fill_guard(int64_t n)
{
    guard = (mz_spikes){.window = 8, .sigmas = 6.0};
    for (int64_t i = 0; i < n; i++) mz_spikes_took(&guard, i % 2 ? 3.0 : 1.0, 1.0);
}

static void test_guard_counts(void **state)
{
    (void)state;
    fill_guard(3); /* less than half the window: nothing finite is a spike */
    assert_null(mz_spikes_judge(&guard, 1e30, 1e30));
    assert_non_null(mz_spikes_judge(&guard, (double)NAN, 1.0));
    assert_non_null(mz_spikes_judge(&guard, 1.0, (double)INFINITY));
    fill_guard(8); /* mean 2, s = sqrt(8/7) = 1.0690 */
    assert_null(mz_spikes_judge(&guard, 2.0 + 6.0 * 1.0690, 1.0));
    assert_non_null(mz_spikes_judge(&guard, 2.0 + 6.0 * 1.0691, 1.0));
    assert_null(mz_spikes_judge(&guard, -1e9, -1e9));      /* only what is too large */
    assert_non_null(mz_spikes_judge(&guard, 2.0, 1.0061)); /* flat: the floor is 1 / 1000 */
    assert_null(mz_spikes_judge(&guard, 2.0, 1.0059));
}

static void test_guard_forgets(void **state)
{
    (void)state;
    fill_guard(8);
    for (int i = 0; i < 8; i++) mz_spikes_took(&guard, 100.0, 50.0);
    assert_null(mz_spikes_judge(&guard, 100.5, 50.2));
    assert_non_null(mz_spikes_judge(&guard, 101.0, 50.2));
    mz_spikes_skipped(&guard);
    mz_spikes_skipped(&guard);
    assert_int_equal(guard.in_a_row, 2);
    mz_spikes_took(&guard, 100.0, 50.0);
    assert_int_equal(guard.in_a_row, 0);
    assert_int_equal(guard.skipped, 2);
    guard.sigmas = 0.0;
    assert_null(mz_spikes_judge(&guard, 1e9, 1e9));
    assert_non_null(mz_spikes_judge(&guard, (double)INFINITY, 1e9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup),       cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_wsd),          cmocka_unit_test(test_step),
        cmocka_unit_test(test_guard_counts), cmocka_unit_test(test_guard_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
