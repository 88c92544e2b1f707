/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args.h - what host and kernel agree on: structs that are passed by value, numbers
 * of dtypes, size of a group.
 *
 * Read as C, OpenCL C and CUDA C. A struct has 8-byte members first, 4-byte members in pairs after
 * them, so that it lies the same in all three. No pointers: OpenCL C 1.2 takes none in a struct,
 * they are parameters of their own. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_ARGS_H
#define MZ_CHIPS_KERNELS_ARGS_H

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define MZ_KERNEL_OPENCL
typedef long mz_i64;
#elif defined(__CUDACC__) || defined(__CUDACC_RTC__)
typedef long long mz_i64;
#else
#include <stdint.h>
typedef int64_t mz_i64;
#endif

/* Values of the build options DTYPE and OUT_DTYPE: those of mz_dtype (kernels.c holds that). */
#define MZ_KERNEL_F32 1
#define MZ_KERNEL_BF16 2
#define MZ_KERNEL_F16 3

/* The block types, for the build option STORED. */
#define MZ_KERNEL_Q4_0 22
#define MZ_KERNEL_Q4_1 23
#define MZ_KERNEL_Q5_0 24
#define MZ_KERNEL_Q5_1 25
#define MZ_KERNEL_Q8_0 26
#define MZ_KERNEL_Q4_K 27
#define MZ_KERNEL_Q5_K 28
#define MZ_KERNEL_Q6_K 29

/* Work-items of a group (threads of a block), in every kernel; groups are counted in up to three
 * dimensions, items in one. */
#define MZ_KERNEL_GROUP 64

/* A tensor inside its buffer, in elements: where it begins, and its strides. */
typedef struct mz_kview {
    mz_i64 at, s0, s1, s2;
} mz_kview;

#endif
