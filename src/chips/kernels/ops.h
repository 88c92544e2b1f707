/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/ops.h - the slots that a chip which runs these kernels puts into its table, each
 * defined in the file of its operator; and what their glue shares. Floor: chips, seen by chips. */
#ifndef MZ_CHIPS_KERNELS_OPS_H
#define MZ_CHIPS_KERNELS_OPS_H

#include "chips/kernels/launch.h"

#define MZ_KERNELS_SLOT(NAME, field) extern const mz_slot mz_kernels_##field;
MZ_OP_LIST(MZ_KERNELS_SLOT)
#undef MZ_KERNELS_SLOT

/* Bytes of one of several parts of a U8 tensor, so that the next begins where a kernel's may. */
static inline size_t mz_kernel_part_bytes(int64_t n, size_t each)
{
    const size_t bytes = (size_t)n * each, align = MZ_KERNEL_ALIGN;
    return (bytes + align - 1) / align * align;
}

/* What of a U8 tensor stands from `at` on, a sum of such bytes. */
static inline mz_tensor mz_kernel_part(const mz_tensor *t, size_t at)
{
    return mz_slice(t, 0, (int64_t)at, t->dim[0] - (int64_t)at);
}

#endif
