/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/suite.h - what the programs of the conformance suite share: a seed of this run, how
 * many cases, and one chip held against the reference. */
#ifndef MZ_TESTS_WEIGH_SUITE_H
#define MZ_TESTS_WEIGH_SUITE_H

#include "chip/chip.h"

typedef struct mzt_suite {
    uint64_t seed; /* MIZAN_SEED, or another each run */
    int64_t cases; /* of each operator and dtype: MIZAN_CASES, or as many as were asked for */
} mzt_suite;
void mzt_suite_begin(mzt_suite *suite, int cases);

typedef struct mzt_conform {
    const char *spec, *isa, *op; /* isa, op: NULL = the best there is, all */
    int64_t cases;
    const int *same; /* numbers of threads that must give the same bits, or NULL */
    int n_same;
    int64_t least; /* operators and dtypes that must not be skipped */
} mzt_conform;

/* NULL where there is no such chip here. */
mz_device *mzt_open_device(const char *spec, const char *isa, int threads);
/* Holds it against the reference; chip is open, and stays so. */
void mzt_conform_run(const mzt_suite *suite, const mzt_conform *c, mz_device *chip);

#endif
