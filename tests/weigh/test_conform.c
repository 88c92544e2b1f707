/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/test_conform.c - the conformance suite on every chip and instruction set that this
 * machine has; the cpu chip must give the same bits for 1, 2, 3 and 8 threads. A new seed each run,
 * printed; MIZAN_SEED repeats one, MIZAN_CASES sets how many of each operator and dtype (60 of each
 * of up to four dtypes: 200 and more an operator). */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/hosted/hosted.h"
#include "chips/ref/ref.h"
#include "tests/near.h"
#include "tests/weigh/suite.h"

#include <stdio.h>
#include <string.h>

static mzt_suite suite;
static char best[32]; /* the instruction set that the cpu chip chooses here */

static void conform(const char *spec, const char *isa, bool threads, int64_t least)
{
    mz_device *chip = mzt_open_device(spec, isa, threads ? 1 : 2);
    if (!chip) {
        print_message("%s %s: %s\n", spec, isa ? isa : "", mz_err_last()->message);
        skip();
    }
    if (isa && strcmp(chip->info.isa, best) == 0) { /* cpu_best has run it */
        mz_device_close(chip);
        skip();
    }
    if (!isa && !threads && strcmp(spec, "cpu") == 0)
        snprintf(best, sizeof best, "%s", chip->info.isa);
    mzt_conform_run(&suite,
                    &(mzt_conform){.spec = spec,
                                   .isa = isa,
                                   /* with threads each case runs four times */
                                   .cases = threads ? (suite.cases + 3) / 4 : suite.cases,
                                   .same = (const int[]){2, 3, 8},
                                   .n_same = threads ? 3 : 0,
                                   .least = least},
                    chip);
    mz_device_close(chip);
}

static void reference_in_its_own_dtypes(void **state)
{
    (void)state;
    conform("ref", NULL, false, 70);
}

static void cpu_best(void **state)
{
    (void)state;
    conform("cpu", NULL, false, 39);
}

static void cpu_with_1_2_3_and_8_threads(void **state)
{
    (void)state;
    conform("cpu", NULL, true, 39);
}

static void cpu_avx512(void **state)
{
    (void)state;
    conform("cpu", "avx512", false, 39);
}

static void cpu_avx2(void **state)
{
    (void)state;
    conform("cpu", "avx2", false, 39);
}

static void cpu_portable(void **state)
{
    (void)state;
    conform("cpu", "portable", false, 39);
}

static void far_whole(void **state)
{
    (void)state;
    conform("far", NULL, false, 39);
}

static void far_hosted(void **state)
{
    (void)state;
    conform("hosted:far:matmul", NULL, false, 39);
}

int main(void)
{
    const mz_chip *const chips[] = {mz_cpu_chip(), &mz_chip_ref, mz_far_chip(), mz_hosted_chip()};
    mzt_suite_begin(&suite, 60);
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_register(chips[i]) != MZ_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_in_its_own_dtypes),
        cmocka_unit_test(cpu_best),
        cmocka_unit_test(cpu_with_1_2_3_and_8_threads),
        cmocka_unit_test(cpu_avx512),
        cmocka_unit_test(cpu_avx2),
        cmocka_unit_test(cpu_portable),
        cmocka_unit_test(far_whole),
        cmocka_unit_test(far_hosted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
