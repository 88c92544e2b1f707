/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/texts.h - between kernels.c and the table that cmake/kernels.cmake writes. */
#ifndef MZ_CHIPS_KERNELS_TEXTS_H
#define MZ_CHIPS_KERNELS_TEXTS_H

#include "chips/kernels/kernels.h"

extern const mz_kernel_text mz_kernel_texts[]; /* by name */
extern const int mz_kernel_texts_count;

#endif
