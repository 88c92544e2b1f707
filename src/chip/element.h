/* SPDX-License-Identifier: Apache-2.0 */
/* chip/element.h - one element of host memory, of any dtype, to and from double or int64_t.
 *
 * Floor:  chip. May use tensor, base.
 * Stores round once, to nearest, ties to even. Types that Mizan does not read by element (less than
 * a byte, complex, FNUZ) load as NaN and are not stored.
 * memcpy instead of typed loads: a view may stand at any multiple of its element, and the bytes
 * behind it have no declared type. */
#ifndef MZ_CHIP_ELEMENT_H
#define MZ_CHIP_ELEMENT_H

#include "tensor/dtype.h"

double mz_load(mz_dtype dtype, const void *p);
void mz_store(mz_dtype dtype, void *p, double x);
int64_t mz_load_int(mz_dtype dtype, const void *p);
void mz_store_int(mz_dtype dtype, void *p, int64_t x);

#endif
