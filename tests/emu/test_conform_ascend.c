/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_conform_ascend.c - the conformance suite on the emulated device, another seed each
 * run, and what is refused on a chip that has no bf16. */
#include "chips/ascend/ascend.h"
#include "chips/ascend/map.h"
#include "chips/ref/ref.h"
#include "op/op.h"
#include "tests/near.h"
#include "tests/weigh/suite.h"

#include <stdlib.h>
#include <string.h>

static mzt_suite suite;

/* The folder of the emulated driver, which ctest says. */
static mz_device *open_emulated(void)
{
    mz_device *chip = NULL;
    const char *folder = getenv("MIZAN_EMU_ASCEND_FOLDER");
    const mz_chip_options options = {.driver_path = folder};
    assert_non_null(folder);
    if (mz_device_open(&chip, "ascend", &options) != MZ_OK)
        print_error("%s\n", mz_err_last()->message);
    assert_non_null(chip);
    assert_true(chip->info.emulated);
    assert_non_null(strstr(chip->info.model, "emulated"));
    return chip;
}

/* Every operator that the chip's page says it has: a row without one is refused by the query, which
 * mzt_conform_run counts as skipped. */
static void agrees_with_the_reference(void **state)
{
    (void)state;
    mz_device *chip = open_emulated();
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        if (mz_ascend_row_of((mz_op_kind)i)->state == MZ_STATE_NONE) continue;
        mzt_conform_run(
            &suite,
            &(mzt_conform){.spec = "ascend", .op = mz_op_name((mz_op_kind)i), .cases = suite.cases},
            chip);
    }
    /* how many of few cases an operator takes is chance; all of them together take about 20 */
    mz_ascend_counts counts;
    mz_ascend_count(chip, &counts);
    assert_true(counts.calls > 10 * suite.cases && counts.bytes_up > 0 && counts.bytes_down > 0);
    assert_true(counts.flop > 0);
    mz_device_close(chip);
}

static mz_err bind_in(mz_queue *q, mz_dtype dtype)
{
    const mz_desc desc = {
        .kind = MZ_OP_MATMUL,
        .u.matmul = {.dtype = dtype, .out_dtype = dtype, .M_max = 4, .N_max = 4, .K_max = 4}};
    mz_op *op = NULL;
    const mz_err err = mz_bind(&op, q, &desc);
    mz_op_free(op);
    return err;
}

/* MIZAN_EMU_ASCEND_SOC names the chip, or none of it does. */
static void bf16_where_the_chip_has_it(void **state)
{
    const char *soc = getenv("MIZAN_EMU_ASCEND_SOC");
    const bool has_bf16 = !soc || strstr(soc, "910B");
    mz_queue *q = NULL;
    (void)state;
    mz_device *chip = open_emulated();
    assert_int_equal(mz_queue_open(&q, chip), MZ_OK);
    assert_int_equal(bind_in(q, MZ_BF16), has_bf16 ? MZ_OK : MZ_ENOTSUP);
    if (!has_bf16) assert_non_null(strstr(mz_err_last()->message, "multiplies no bf16"));
    mz_queue_close(q);
    mz_device_close(chip);
}

int main(void)
{
    const char *soc = getenv("MIZAN_EMU_ASCEND_SOC");
    mzt_suite_begin(&suite, 20);
    if (mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_ascend_chip()) != MZ_OK)
        return 1;
    const struct CMUnitTest all[] = {cmocka_unit_test(agrees_with_the_reference),
                                     cmocka_unit_test(bf16_where_the_chip_has_it)};
    const struct CMUnitTest refusals[] = {cmocka_unit_test(bf16_where_the_chip_has_it)};
    return soc ? cmocka_run_group_tests(refusals, NULL, NULL)
               : cmocka_run_group_tests(all, NULL, NULL);
}
