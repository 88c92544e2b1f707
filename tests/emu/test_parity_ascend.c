/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_parity_ascend.c - every golden model on the emulated Ascend, against transformers:
 * all families, forward, backward, decode and greedy tokens (tests/golden/parity.h). */
#include "chips/ascend/ascend.h"
#include "tests/golden/parity.h"
#include "tests/near.h"

#include <stdlib.h>

static mzt_parity_chip emulated(void)
{
    const mzt_parity_chip chip = {.spec = "ascend",
                                  .driver_path = getenv("MIZAN_EMU_ASCEND_FOLDER")};
    assert_non_null(chip.driver_path);
    return chip;
}

static void in_f32(void **state)
{
    const mzt_parity_chip chip = emulated();
    (void)state;
    mzt_parity_all(&chip, MZ_F32);
}

static void in_bf16(void **state)
{
    const mzt_parity_chip chip = emulated();
    (void)state;
    mzt_parity_all(&chip, MZ_BF16);
}

int main(void)
{
    if (mz_chip_register(mz_ascend_chip()) != MZ_OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_f32), cmocka_unit_test(in_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
