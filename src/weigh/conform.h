/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/conform.h - the conformance suite: every operator x dtype on random shapes, forward and
 * backward, against the reference chip in double.
 *
 * Shapes hold 0, 1, primes and long rows; views have free strides where chip/desc.h leaves them
 * free, and start off any alignment but their own; NaN and infinities are sown where the operator's
 * arithmetic says what becomes of them. Margins, gaps between rows and inputs must be untouched.
 * The reference computes in f64 from the very values that the chip got (rounded to its dtype).
 *
 * Bounds (style.md 6.5), by dtype and reduction length n:
 *   limit = max(4 u_out (1 + |want|), 2 u_out |want| + u_acc sqrt(n) |a| |b|)
 * with |a| |b| the largest norms of what is summed (cases*.c say which); and the root mean square
 * of all errors at most half that of the limits.
 *
 * Floor:  weigh. May use op, chip, tensor, base.
 * Owner:  the caller owns the devices and clears the result. */
#ifndef MZ_WEIGH_CONFORM_H
#define MZ_WEIGH_CONFORM_H

#include "chip/chip.h"

typedef struct mz_conform_options {
    uint64_t seed;
    int64_t cases;  /* of each operator and dtype */
    const char *op; /* only this one, or NULL */
    /* These must give the very bytes that the first device gives (other numbers of threads). */
    mz_device *const *same;
    int n_same;
} mz_conform_options;

typedef struct mz_conform_failure {
    const char *op, *dtype, *pass;
    int64_t number; /* of the case, which the seed reproduces */
    char what[256]; /* argument, index, both values, limit; or the chip's own error */
} mz_conform_failure;

typedef struct mz_conform_row {
    const char *op, *dtype;
    int64_t cases, passed, skipped;
    double worst;     /* largest error / limit seen */
    char reason[160]; /* of the last skip */
} mz_conform_row;

typedef struct mz_conform_result {
    int64_t cases, passed, skipped;
    mz_conform_row *rows;
    int64_t n_rows;
    mz_conform_failure *failures; /* the first few of each row */
    int64_t n_failures;
} mz_conform_result;

typedef void mz_conform_progress(void *user, const mz_conform_row *row, int64_t done, int64_t of);

/* MZ_OK even if cases failed: look into the result. Errors are our own: memory, a reference that
 * refuses. */
mz_err mz_conform(mz_conform_result *result, mz_device *chip, mz_device *reference,
                  const mz_conform_options *options, mz_conform_progress *progress, void *user);
void mz_conform_clear(mz_conform_result *result);

#endif
