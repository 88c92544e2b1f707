/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/test_conform.c - the conformance suite on every chip and instruction set that this
 * machine has; the cpu chip must give the same bits for 1, 2, 3 and 8 threads. A new seed each run,
 * printed; MIZAN_SEED repeats one, MIZAN_CASES sets how many of each operator and dtype (60 of each
 * of up to four dtypes: 200 and more an operator). */
#include "base/clock.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/hosted/hosted.h"
#include "chips/ref/ref.h"
#include "tests/near.h"
#include "weigh/conform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;
static int64_t cases;
static char best[32]; /* the instruction set that the cpu chip chooses here */

static mz_device *open_device(const char *spec, const char *isa, int threads)
{
    mz_device *device = NULL;
    const mz_chip_options options = {.threads = threads, .isa = isa};
    const mz_err err = mz_device_open(&device, spec, &options);
    if (err == MZ_ENOTSUP) return NULL;
    if (err != MZ_OK) print_error("%s: %s\n", spec, mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
    return device;
}

/* least: operators and dtypes that must not be skipped. */
static void conform(const char *spec, const char *isa, bool threads, int64_t least)
{
    const int64_t here = threads ? (cases + 3) / 4 : cases; /* each runs four times */
    mz_device *chip = open_device(spec, isa, threads ? 1 : 2), *reference, *same[3] = {NULL};
    mz_conform_result r;
    double worst = 0.0;
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
    reference = open_device("ref", NULL, 1);
    for (int i = 0; threads && i < 3; i++)
        same[i] = open_device(spec, isa, (const int[]){2, 3, 8}[i]);
    const mz_conform_options o = {
        .seed = seed, .cases = here, .same = same, .n_same = threads ? 3 : 0};
    const mz_err err = mz_conform(&r, chip, reference, &o, NULL, NULL);
    if (err != MZ_OK) print_error("%s: %s\n", spec, mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
    for (int64_t i = 0; i < r.n_failures; i++)
        print_error("%s %s %s: case %lld of %s: %s\n", r.failures[i].op, r.failures[i].dtype,
                    r.failures[i].pass, (long long)r.failures[i].number, spec, r.failures[i].what);
    for (int64_t i = 0; i < r.n_rows; i++)
        if (r.rows[i].worst > worst) worst = r.rows[i].worst;
    print_message(
        "%s %s: %lld cases, %lld passed, %lld skipped, worst %.2f of its limit, seed %llu\n", spec,
        chip->info.isa, (long long)r.cases, (long long)r.passed, (long long)r.skipped, worst,
        (unsigned long long)seed);
    assert_int_equal(r.cases, r.passed + r.skipped);
    assert_true(r.passed >= least * here);
    mz_conform_clear(&r);
    for (int i = 0; i < 3; i++) mz_device_close(same[i]);
    mz_device_close(reference);
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
    const char *given = getenv("MIZAN_SEED"), *many = getenv("MIZAN_CASES");
    const mz_chip *const chips[] = {mz_cpu_chip(), &mz_chip_ref, mz_far_chip(), mz_hosted_chip()};
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)(mz_clock_wall_s() * 1e3);
    cases = many ? strtoll(many, NULL, 10) : mzt_cases(60);
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
