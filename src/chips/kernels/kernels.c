/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/kernels.c - looks texts up; says views and dtypes as kernels take them. Floor:
 * chips. */
#include "chips/kernels/kernels.h"

#include "chips/kernels/texts.h"

#include <string.h>

_Static_assert(MZ_KERNEL_F32 == MZ_F32 && MZ_KERNEL_BF16 == MZ_BF16 && MZ_KERNEL_F16 == MZ_F16,
               "args.h and dtype.h count alike");

_Static_assert(MZ_KERNEL_Q4_0 == MZ_Q4_0 && MZ_KERNEL_Q4_1 == MZ_Q4_1 &&
                   MZ_KERNEL_Q5_0 == MZ_Q5_0 && MZ_KERNEL_Q5_1 == MZ_Q5_1 &&
                   MZ_KERNEL_Q8_0 == MZ_Q8_0 && MZ_KERNEL_Q4_K == MZ_Q4_K &&
                   MZ_KERNEL_Q5_K == MZ_Q5_K && MZ_KERNEL_Q6_K == MZ_Q6_K,
               "args.h and dtype.h count alike");

int mz_kernel_count(void)
{
    return mz_kernel_texts_count;
}

const mz_kernel_text *mz_kernel_get(int i)
{
    return &mz_kernel_texts[i];
}

const mz_kernel_text *mz_kernel_find(const char *name)
{
    for (int i = 0; i < mz_kernel_texts_count; i++)
        if (!strcmp(mz_kernel_texts[i].name, name)) return &mz_kernel_texts[i];
    return NULL;
}

int mz_kernel_dtype(mz_dtype d)
{
    return d == MZ_F32 || d == MZ_BF16 || d == MZ_F16 ? (int)d : 0;
}

mz_kview mz_kernel_view(const mz_tensor *t)
{
    if (!t || !mz_dtype_block_bytes(t->dtype)) return (mz_kview){0, 0, 0, 0};
    const int64_t bytes = (int64_t)mz_dtype_block_bytes(t->dtype);
    return (mz_kview){.at = (int64_t)t->offset_bytes / bytes * mz_dtype_block(t->dtype),
                      .s0 = t->rank > 0 ? t->stride[0] : 0,
                      .s1 = t->rank > 1 ? t->stride[1] : 0,
                      .s2 = t->rank > 2 ? t->stride[2] : 0};
}
