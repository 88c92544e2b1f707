/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/suite.c - see suite.h. */
#include "tests/weigh/suite.h"

#include "base/clock.h"
#include "tests/near.h"
#include "weigh/conform.h"

#include <stdlib.h>

enum { SAME_MAX = 4 };

void mzt_suite_begin(mzt_suite *suite, int cases)
{
    const char *seed = getenv("MIZAN_SEED"), *many = getenv("MIZAN_CASES");
    suite->seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)(mz_clock_wall_s() * 1e3);
    suite->cases = many ? strtoll(many, NULL, 10) : mzt_cases(cases);
}

mz_device *mzt_open_device(const char *spec, const char *isa, int threads)
{
    mz_device *device = NULL;
    const mz_chip_options options = {.threads = threads, .isa = isa};
    const mz_err err = mz_device_open(&device, spec, &options);
    if (err == MZ_ENOTSUP) return NULL;
    if (err != MZ_OK) print_error("%s: %s\n", spec, mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
    return device;
}

void mzt_conform_run(const mzt_suite *suite, const mzt_conform *c, mz_device *chip)
{
    mz_device *reference = mzt_open_device("ref", NULL, 1), *same[SAME_MAX] = {NULL};
    mz_conform_result r;
    double worst = 0.0;
    for (int i = 0; i < c->n_same; i++) same[i] = mzt_open_device(c->spec, c->isa, c->same[i]);
    const mz_conform_options o = {
        .seed = suite->seed, .cases = c->cases, .op = c->op, .same = same, .n_same = c->n_same};
    const mz_err err = mz_conform(&r, chip, reference, &o, NULL, NULL);
    if (err != MZ_OK) print_error("%s: %s\n", c->spec, mz_err_last()->message);
    assert_int_equal(err, MZ_OK);
    for (int64_t i = 0; i < r.n_failures; i++)
        print_error("%s %s %s: case %lld of %s: %s\n", r.failures[i].op, r.failures[i].dtype,
                    r.failures[i].pass, (long long)r.failures[i].number, c->spec,
                    r.failures[i].what);
    for (int64_t i = 0; i < r.n_rows; i++)
        if (r.rows[i].worst > worst) worst = r.rows[i].worst;
    print_message(
        "%s %s: %lld cases, %lld passed, %lld skipped, worst %.2f of its limit, seed %llu\n",
        c->spec, chip->info.isa, (long long)r.cases, (long long)r.passed, (long long)r.skipped,
        worst, (unsigned long long)suite->seed);
    assert_int_equal(r.cases, r.passed + r.skipped);
    assert_true(r.passed >= c->least * c->cases);
    mz_conform_clear(&r);
    for (int i = 0; i < c->n_same; i++) mz_device_close(same[i]);
    mz_device_close(reference);
}
