/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_draw.c - weights are e^d to the promised precision, shares and points are exact.
 */
#include "base/draw.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void weights_are_exponentials(void **state)
{
    (void)state;
    assert_int_equal(mz_draw_weight(0.0f), MZ_DRAW_ONE);
    assert_int_equal(mz_draw_weight(-INFINITY), 0);
    assert_int_equal(mz_draw_weight(NAN), 0);
    assert_int_equal(mz_draw_weight(-30.0f), 0);
    for (int i = 1; i < 3000; i++) {
        const float d = -0.007f * (float)i;
        const double want = 0x1p30 * exp((double)d), got = (double)mz_draw_weight(d);
        /* y = d log2(e) is off by up to half a unit of y, besides the polynomial's 1.4 * 2^-24 */
        const double bound = want * (2.0 + fabs((double)d) * 1.5) * 0x1p-24 + 1.0;
        assert_true(fabs(got - want) <= bound);
    }
}

/* What other chips write down in their own language: these are the exact numbers. */
static void weights_are_these_numbers(void **state)
{
    (void)state;
    static const struct {
        float d;
        uint32_t w;
    } known[] = {{-0x1p-30f, 1073741824}, {-0.125f, 947573824}, {-1.0f, 395007552}, {-20.0f, 2}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(mz_draw_weight(known[i].d), known[i].w);
    uint64_t sum = 0; /* of 8192 weights, as another implementation of the same steps has it */
    for (int i = 0; i < 8192; i++) sum += mz_draw_weight((float)i / -256.0f);
    assert_true(sum == 275415130454u);
}

static void shares_and_points_are_exact(void **state)
{
    (void)state;
    assert_int_equal(mz_draw_share(12345678901234567u, 1.0), 12345678901234567u);
    assert_int_equal(mz_draw_share(12345678901234567u, 0.5), 6172839450617283u);
    assert_int_equal(mz_draw_share(MZ_DRAW_ONE, 0.0), 0);
    assert_int_equal(mz_draw_point(1000, 0xffffffffu), 999);
    assert_int_equal(mz_draw_point((uint64_t)1 << 49, 0x80000000u), (uint64_t)1 << 48);
    assert_int_equal(mz_draw_point(7, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_exponentials),
        cmocka_unit_test(weights_are_these_numbers),
        cmocka_unit_test(shares_and_points_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
