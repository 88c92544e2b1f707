/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_parity.c - every golden model through `mz_probe` (parity.h) on the chips that
 * every machine has. */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/ref/ref.h"
#include "tests/golden/parity.h"
#include "tests/near.h"

static void reference_in_f64(void **state)
{
    (void)state;
    mzt_parity_all(&(mzt_parity_chip){.spec = "ref"}, MZ_F64);
}

static void cpu_in_f32(void **state)
{
    (void)state;
    mzt_parity_all(&(mzt_parity_chip){.spec = "cpu"}, MZ_F32);
}

static void cpu_in_f32_portable(void **state)
{
    (void)state;
    mzt_parity_all(&(mzt_parity_chip){.spec = "cpu", .isa = "portable"}, MZ_F32);
}

static void cpu_in_bf16(void **state)
{
    (void)state;
    mzt_parity_all(&(mzt_parity_chip){.spec = "cpu"}, MZ_BF16);
}

static void far_in_f32(void **state)
{
    (void)state;
    mzt_parity_all(&(mzt_parity_chip){.spec = "far"}, MZ_F32);
}

int main(void)
{
    const mz_chip *const chips[] = {mz_cpu_chip(), &mz_chip_ref, mz_far_chip()};
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_register(chips[i]) != MZ_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_in_f64),    cmocka_unit_test(cpu_in_f32),
        cmocka_unit_test(cpu_in_f32_portable), cmocka_unit_test(cpu_in_bf16),
        cmocka_unit_test(far_in_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
