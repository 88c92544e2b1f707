/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_kernels.c - the texts of the device kernels: whole, found by name, and views in
 * the numbers that they take. */
#include "chips/kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void texts_are_whole(void **state)
{
    (void)state;
    assert_true(mz_kernel_count() > 0);
    for (int i = 0; i < mz_kernel_count(); i++) {
        const mz_kernel_text *t = mz_kernel_get(i);
        assert_int_equal(strlen(t->text), t->bytes);
        assert_null(strstr(t->text, "#include \""));
        assert_non_null(strstr(t->text, "#define KERNEL"));
        assert_non_null(strstr(t->text, "typedef struct mz_kview"));
        assert_non_null(strstr(t->text, "\nKERNEL void "));
        assert_true(t->text[t->bytes - 1] == '\n');
        assert_ptr_equal(mz_kernel_find(t->name), t);
    }
    assert_null(mz_kernel_find("no such kernel"));
}

static void a_view_counts_elements(void **state)
{
    (void)state;
    const int64_t dim[3] = {4, 6, 8};
    const mz_tensor t = mz_view(NULL, 0, MZ_BF16, 3, dim), s = mz_slice(&t, 1, 2, 3);
    const mz_kview v = mz_kernel_view(&s), none = mz_kernel_view(NULL);
    assert_int_equal(v.at, 16);
    assert_int_equal(v.s0, 48);
    assert_int_equal(v.s1, 8);
    assert_int_equal(v.s2, 1);
    assert_int_equal(none.at + none.s0 + none.s1 + none.s2, 0);
    assert_int_equal(mz_kernel_dtype(MZ_BF16), MZ_KERNEL_BF16);
    assert_int_equal(mz_kernel_dtype(MZ_F64), 0);
    assert_int_equal(mz_kernel_dtype(MZ_Q4_0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_whole),
        cmocka_unit_test(a_view_counts_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
