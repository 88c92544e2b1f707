/* SPDX-License-Identifier: Apache-2.0 */
/* tests/near.h - numerics on top of cmocka: tensors with guarded margins, repeatable data, nearness
 * that prints both sides and refuses NaN, and a gradient test that works on any operator.
 *
 * Tensors are made on the reference chip, whose memory the test may look at; mzt_on carries one to
 * another chip and mzt_back fetches it. All live until mzt_clear or the end of the group. */
#ifndef MZ_TESTS_NEAR_H
#define MZ_TESTS_NEAR_H

#include "op/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MZT_DIMS(...) ((const int64_t[]){__VA_ARGS__})
/* Runs a group and frees what it made. */
#define MZT_RUN(tests) cmocka_run_group_tests(tests, NULL, mzt_teardown)

int mzt_teardown(void **state);
void mzt_clear(void); /* frees all tensors; queues stay */

/* How many of `full` random cases to run: all of them, or the percentage in MIZAN_TEST_SHARE, which
 * the presets set that run under an emulator or a sanitizer (at least 1). */
int mzt_cases(int full);
/* How many times longer than the released program this build may take where a bound of time is
 * tested: more than once if it is not optimised, or runs under a sanitizer or an emulator; never
 * the factor of a thousand that one quadratic step would cost. */
double mzt_slowness(void);
/* Whether a sanitizer watches: drivers that are not built for one cannot run inside it. */
bool mzt_is_sanitized(void);

/* ---- queues ---- */
mz_queue *mzt_reference(void);
/* The queue of a device opened once as `spec`; chip is registered if it is not yet. */
mz_queue *mzt_queue(const mz_chip *chip, const char *spec);
/* Binds through the front door; NULL if the chip does not have it; any other error fails the test.
 */
mz_op *mzt_bind(mz_queue *q, const mz_desc *desc);

/* ---- tensors ---- */
mz_tensor *mzt_new(mz_dtype dtype, int rank, const int64_t *dim); /* dense, zero */
/* stride NULL: dense. skip: elements before the first, so that it starts off any alignment but its
 * own. */
mz_tensor *mzt_strided(mz_dtype dtype, int rank, const int64_t *dim, const int64_t *stride,
                       int64_t skip);
void mzt_fill(mz_tensor *t, uint64_t seed);                                         /* normal */
mz_tensor *mzt_random(mz_dtype dtype, int rank, const int64_t *dim, uint64_t seed); /* dense */
mz_tensor *mzt_values(mz_dtype dtype, int rank, const int64_t *dim, const double *values);
mz_tensor *mzt_ints(int rank, const int64_t *dim, const int *values); /* I32 */
mz_tensor *mzt_like(const mz_tensor *t);                              /* dense zero of that shape */
mz_tensor *mzt_copy(const mz_tensor *t); /* same strides, bytes and margins */
/* What op's forward saves, on op's device; NULL if it saves nothing. */
mz_tensor *mzt_saved(const mz_op *op);
mz_tensor *mzt_on(mz_queue *q, const mz_tensor *host);
mz_tensor *mzt_back(mz_queue *q, const mz_tensor *t); /* syncs */

/* Fills the whole buffer with a pattern; asks whether it still stands everywhere, or everywhere
 * outside the view's own elements (margins and gaps between rows, set so by every constructor). */
void mzt_poison(mz_tensor *t);
bool mzt_untouched(const mz_tensor *t);
bool mzt_margins_untouched(const mz_tensor *t);
bool mzt_same_bits(const mz_tensor *a, const mz_tensor *b);

/* ---- nearness: all print what differs and are false for NaN ---- */
/* |got - want| <= limit (1 + |want|) */
bool mzt_near(double got, double want, double limit);
bool mzt_all_near(const mz_tensor *got, const mz_tensor *want, double limit);
/* Against values written in the test. */
bool mzt_is(const mz_tensor *got, double limit, const double *want);

/* How far a chip may be from the oracle (style.md 6.5): for a sum of n products of vectors with
 * these norms 2 u_out |want| + u_acc sqrt(n) |a| |b|, for everything else (n = 0) 4 u_out (1 +
 * |want|). */
typedef struct mzt_bound {
    mz_dtype out;
    int64_t n;
    double norms; /* largest |a| |b| */
} mzt_bound;
double mzt_unit(mz_dtype dtype); /* 2^-53, 2^-24, 2^-11, 2^-8 */
double mzt_limit(const mzt_bound *bound, double want);
/* Element by element, NaN and infinities at the same places; then all together: the root mean
 * square error at most half that of the limits, and no zeros where the oracle has none. */
bool mzt_agree(const mz_tensor *got, const mz_tensor *want, const mzt_bound *bound);

/* ---- gradients ---- */
/* args: forward's tensors (f64, on the reference chip; `saved` is made here) and scalars. Checks
 * every gradient that the operator's backward gives of a float input against central differences
 * (h = 1e-5, limit 1e-8 relative to 1 + |g|), that gradients of activations are overwritten, that
 * those of weights add up, and that nothing else is written. */
void mzt_gradient(const mz_desc *desc, mz_args *args);

/* ---- refusals: MZ_EINVAL, every tensor as it was, and the chip not reached ---- */
void mzt_refused(mz_op *op, mz_pass pass, const mz_args *args);
void mzt_desc_refused(const mz_desc *desc);
/* Takes a good call of dense tensors at the largest shape, and spoils one argument after the other:
 * NULL, another dtype, one more on each axis, outside its buffer, off its alignment, on another
 * device, over another argument. free_axes: "x0 y+" names axes (or the rank) that another call may
 * choose freely, "" if none. */
void mzt_refusals(mz_op *op, mz_pass pass, const mz_args *args, const char *free_axes);

#endif
