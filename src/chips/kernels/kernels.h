/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/kernels.h - the texts of the device kernels, as chips hand them to a compiler.
 *
 * Each .cl file of this folder is in the program as one whole text, its includes put in place, that
 * compiles as OpenCL C 1.2 and as CUDA C with the options of lang.h (-DDTYPE=2 -DOUT_DTYPE=1).
 * Floor: chips, seen by chips. */
#ifndef MZ_CHIPS_KERNELS_KERNELS_H
#define MZ_CHIPS_KERNELS_KERNELS_H

#include "chips/kernels/args.h"
#include "tensor/tensor.h"

typedef struct mz_kernel_text {
    const char *name; /* "swiglu" of swiglu.cl */
    const char *text; /* ends with a NUL, which bytes does not count */
    size_t bytes;
} mz_kernel_text;

/* By name; NULL if there is no such file. */
const mz_kernel_text *mz_kernel_find(const char *name);
/* All of them, by name: 0 <= i < mz_kernel_count(). */
int mz_kernel_count(void);
const mz_kernel_text *mz_kernel_get(int i);

/* The value of DTYPE or OUT_DTYPE for a dtype; 0 if kernels do not compute in it. */
int mz_kernel_dtype(mz_dtype d);

/* t as kernels see it, with strides 0 for what it has not; all 0 for NULL. at is in elements of t.
 */
mz_kview mz_kernel_view(const mz_tensor *t);

#endif
