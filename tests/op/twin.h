/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/twin.h - one call of any operator on the cpu chip and on the oracle, with the same
 * inputs, compared element by element; and on the cpu chip with several numbers of threads,
 * compared bit by bit.
 *
 * A case says what each argument looks like; names and roles come from the operator's signature.
 * Every argument has a buffer of its own (or shares one, `same`), stands `skew` elements after its
 * start and has `pad` elements between rows; whatever is not an element of an output must come back
 * untouched.
 * Limits: 4 u_out relative to 1 + |want|, plus `reach` u_acc, where `reach` is sqrt(n) |a| |b| of
 * the longest sum behind an output, as the case knows it. */
#ifndef MZ_TESTS_OP_TWIN_H
#define MZ_TESTS_OP_TWIN_H

#include "op/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const double KEEP = (double)NAN; /* low of an argument that is not filled */

typedef struct twin_arg {
    const char *name;
    mz_dtype dtype;
    int rank;
    int64_t dim[MZ_RANK_MAX];
    double low, high;   /* uniform; for I32 both may occur; low KEEP fills nothing */
    const int32_t *ids; /* given numbers instead */
    const char
        *same; /* the view of that argument, named earlier; if rank > 0, with dims of its own */
    int64_t pad, skew;
    int64_t stride[MZ_RANK_MAX]; /* if has_stride */
    bool has_stride;
    int64_t odd_first, odd_rows; /* every element of these rows is `odd` */
    double odd;
} twin_arg;

typedef struct twin {
    mz_desc desc;
    mz_args call; /* its k */
    twin_arg arg[MZ_ARGS_MAX];
    double reach;
    double units; /* u_out; 0: from the output's dtype */
} twin;

/* The oracle against every instruction set of this machine, with 1, 2, 3 and 8 threads. */
void twin_check(const twin *w);
/* For cmocka_run_group_tests: registers the chips. */
int twin_setup(void **state);

#endif
