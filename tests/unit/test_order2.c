/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_order2.c - the order-2 byte model by hand, and words as a shell reads them. */
#include "app/order2.h"
#include "app/shell.h"
#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Text "abab": after "ab" stood "a" once, after "b" too; "a" is 2 of 4 bytes, 2 kinds. */
static void by_hand(void **state)
{
    (void)state;
    double bits = 0.0;
    const double p0 = (2.0 + 2.0 / 256.0) / (4.0 + 2.0);
    const double p1 = (1.0 + p0) / 2.0, p2 = (1.0 + p1) / 2.0;
    assert_int_equal(mz_order2_bits("abab", 4, "aba", 3, &bits), MZ_OK);
    assert_true(fabs(bits + log2(p2)) < 1e-12);
    /* nothing is known of this context: the shorter ones decide, down to 2/256 of the mixture */
    assert_int_equal(mz_order2_bits("abab", 4, "xyz", 3, &bits), MZ_OK);
    assert_true(fabs(bits + log2(2.0 / 256.0 / 6.0)) < 1e-12);
}

static void too_little(void **state)
{
    (void)state;
    double bits = 7.0;
    assert_int_equal(mz_order2_bits("ab", 2, "abc", 3, &bits), MZ_ECORRUPT);
    assert_int_equal(mz_order2_bits("abc", 3, "ab", 2, &bits), MZ_ECORRUPT);
    assert_true(fabs(bits - 7.0) < 1e-12);
}

/* As a shell takes them apart again. */
static void words_are_quoted(void **state)
{
    static const char *const words[][2] = {
        {"run-1/a.b", "run-1/a.b"}, {"", "''"},         {"a b", "'a b'"}, {"it's", "'it'\\''s'"},
        {"$(x)`y`", "'$(x)`y`'"},   {"a\nb", "'a\nb'"}, {"~", "'~'"},     {"*", "'*'"},
    };
    (void)state;
    for (int i = 0; i < MZ_COUNT(words); i++) {
        mz_str s = {0};
        assert_int_equal(mz_shell_word(&s, words[i][0]), MZ_OK);
        assert_string_equal(s.text, words[i][1]);
        mz_str_clear(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(too_little),
        cmocka_unit_test(words_are_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
