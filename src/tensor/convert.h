/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/convert.h - runs of numbers from one element type into another.
 *
 * Floor:  tensor. May use base.
 * Dtypes: float to float: F64, F32, BF16, F16, each rounded once, to nearest, ties to even; the
 *         8-bit formats are read only. Ids: I64, I32, I16, U8 into I32 or I64.
 * Errors: MZ_ENOTSUP for a pair that is not here; MZ_ECORRUPT for an id that does not fit, with
 *         its index as the offset of the note. */
#ifndef MZ_TENSOR_CONVERT_H
#define MZ_TENSOR_CONVERT_H

#include "tensor/dtype.h"

/* src may be unaligned; dst is aligned for its dtype and does not overlap src. */
mz_err mz_convert(void *dst, mz_dtype to, const void *src, mz_dtype from, int64_t n);
bool mz_convert_can(mz_dtype to, mz_dtype from);

#endif
