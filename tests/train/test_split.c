/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_split.c - whole samples shared out by speeds: no other way to cut them is done
 * sooner. */
#include "base/rng.h"
#include "train/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TRIALS = 2000, RANKS = 4, MOST = 12 };

static double slowest(const int64_t *n, const double *speed, int64_t ranks)
{
    double most = 0.0;
    for (int64_t i = 0; i < ranks; i++)
        most = (double)n[i] / speed[i] > most ? (double)n[i] / speed[i] : most;
    return most;
}

/* The least time of all ways to give `left` samples to ranks i and up, one each at least. */
static double best_of(int64_t *n, const double *speed, int64_t ranks, int64_t i, int64_t left)
{
    double best = 1e300;
    if (i == ranks - 1) {
        n[i] = left;
        return slowest(n, speed, ranks);
    }
    for (n[i] = 1; n[i] <= left - (ranks - 1 - i); n[i]++) {
        const int64_t kept = n[i];
        const double t = best_of(n, speed, ranks, i + 1, left - kept);
        best = t < best ? t : best;
        n[i] = kept;
    }
    return best;
}

static void no_other_cut_is_sooner(void **state)
{
    mz_rng rng;
    (void)state;
    mz_rng_init(&rng, 20, 0);
    for (int trial = 0; trial < TRIALS; trial++) {
        const int64_t ranks = 1 + (int64_t)mz_rng_below(&rng, RANKS);
        const int64_t global = ranks + (int64_t)mz_rng_below(&rng, MOST);
        double speed[RANKS];
        int64_t n[RANKS], other[RANKS], sum = 0;
        for (int64_t i = 0; i < ranks; i++) speed[i] = 0.01 + (double)mz_rng_below(&rng, 1000);
        mz_shares_split(n, speed, ranks, global);
        for (int64_t i = 0; i < ranks; i++) {
            assert_true(n[i] >= 1);
            sum += n[i];
        }
        assert_int_equal(sum, global);
        assert_true(slowest(n, speed, ranks) <=
                    best_of(other, speed, ranks, 0, global) * (1.0 + 1e-12));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_other_cut_is_sooner)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
