/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_ascend.c - the chip ascend where there is no NPU: what it says, and that its page
 * shows the table that the code keeps to. */
#include "base/file.h"
#include "base/mem.h"
#include "chips/ascend/ascend.h"
#include "chips/ascend/calls.h"
#include "chips/ascend/map.h"
#include "chips/ascend/soc.h"
#include "tests/near.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const CALLS[] = {
#define NAME(name) "aclnn" #name,
    MZ_ACLNN_LIST(NAME)
#undef NAME
};

static void page_shows_the_map(void **state)
{
    char *page = NULL, line[1024];
    size_t bytes = 0;
    (void)state;
    assert_int_equal(mz_file_read("docs/ascend.md", 1 << 20, &page, &bytes), MZ_OK);
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        mz_ascend_row_text((mz_op_kind)i, line, sizeof line);
        if (!strstr(page, line)) print_error("docs/ascend.md lacks the line\n%s\n", line);
        assert_non_null(strstr(page, line));
    }
    mz_mem_free(page);
}

/* Every call that is looked up has an operator that names it. */
static void no_call_is_looked_up_in_vain(void **state)
{
    (void)state;
    for (int c = 0; c < MZ_COUNT(CALLS); c++) {
        int n = 0;
        for (int i = 0; i < MZ_OP_COUNT; i++)
            n += mz_ascend_row_has(mz_ascend_row_of((mz_op_kind)i), CALLS[c]);
        if (n == 0) print_error("no operator names %s\n", CALLS[c]);
        assert_true(n > 0);
    }
}

/* Every word of a row is a call that is looked up. */
static void rows_name_known_calls(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        const mz_ascend_row *row = mz_ascend_row_of((mz_op_kind)i);
        char words[1024], *rest = words;
        (void)snprintf(words, sizeof words, "%s %s", row->forward, row->backward);
        for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
            int n = 0;
            for (int c = 0; c < MZ_COUNT(CALLS); c++) n += strcmp(CALLS[c] + 5, word) == 0;
            if (n != 1) print_error("%s: %s is not looked up\n", mz_op_name((mz_op_kind)i), word);
            assert_int_equal(n, 1);
        }
    }
}

static void chips_by_name(void **state)
{
    const uint32_t bf16 = 1u << MZ_BF16;
    (void)state;
    assert_string_equal(mz_ascend_soc_of("Ascend910B3")->family, "A2");
    assert_string_equal(mz_ascend_soc_of("Ascend910_9392")->family, "A3");
    assert_string_equal(mz_ascend_soc_of("Ascend950PR_9589")->family, "950");
    assert_string_equal(mz_ascend_soc_of("Ascend910A")->family, "910A");
    assert_string_equal(mz_ascend_soc_of("Ascend310P3")->family, "310P");
    assert_true(mz_ascend_soc_of("Ascend910B3")->dtypes & bf16);
    assert_false(mz_ascend_soc_of("Ascend910A")->dtypes & bf16);
    assert_non_null(mz_ascend_soc_of("Ascend310P3")->reason);
}

static void refuse(const char *spec, const char *driver_path, const char *why)
{
    mz_device *device = NULL;
    const mz_chip_options options = {.driver_path = driver_path};
    assert_int_equal(mz_device_open(&device, spec, &options), MZ_ENOTSUP);
    if (!strstr(mz_err_last()->message, why)) print_error("%s\n", mz_err_last()->message);
    assert_non_null(strstr(mz_err_last()->message, why));
    assert_true(mz_err_last()->fix[0] != '\0');
}

static void says_what_is_missing(void **state)
{
    const char *stubs = getenv("MIZAN_STUB_ACL");
    (void)state;
    refuse("ascend:none", NULL, "no device \"none\"");
    if (stubs) refuse("ascend", stubs, "the driver of the NPU is not installed");
}

int main(void)
{
    if (mz_chip_register(mz_ascend_chip()) != MZ_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_shows_the_map),    cmocka_unit_test(no_call_is_looked_up_in_vain),
        cmocka_unit_test(rows_name_known_calls), cmocka_unit_test(chips_by_name),
        cmocka_unit_test(says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
