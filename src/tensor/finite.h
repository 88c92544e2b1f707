/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/finite.h - whether numbers are numbers, by their bits and without converting them.
 *
 * Floor:  tensor. May use base.
 * Time:   reads memory about as fast as copying it would. */
#ifndef MZ_TENSOR_FINITE_H
#define MZ_TENSOR_FINITE_H

#include "tensor/dtype.h"

/* Index of the first of n elements at x (unaligned) that is infinite or not a number, -1 if there
 * is none; types that cannot hold such have none. */
int64_t mz_first_not_finite(const void *x, mz_dtype dtype, int64_t n);

#endif
