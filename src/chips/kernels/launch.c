/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/launch.c - what every operator's glue does alike. Floor: chips. */
#include "chips/kernels/launch.h"

#include "base/mem.h"
#include "chip/work.h"

static const mz_kernel_driver *driver_of(const mz_queue *q)
{
    return *(const mz_kernel_driver *const *)q->state;
}

mz_err mz_kernels_bind(mz_op *op, const mz_kernel_spec *specs, int n)
{
    mz_kernel **kernels = NULL;
    MZ_TRY(mz_mem_new(&kernels, n, sizeof(mz_kernel *)));
    for (int i = 0; i < n; i++) {
        const mz_err err = driver_of(op->queue)->get(op->queue, &specs[i], &kernels[i]);
        if (err == MZ_OK) continue;
        mz_mem_free(kernels);
        return err;
    }
    op->state = kernels;
    return MZ_OK;
}

void mz_kernels_unbind(mz_op *op)
{
    mz_mem_free(op->state);
    op->state = NULL;
}

mz_err mz_kernels_run(mz_op *op, int i, const mz_launch *launch)
{
    mz_kernel *const *kernels = op->state;
    for (int d = 0; d < 3; d++)
        if (launch->groups[d] <= 0) return MZ_OK;
    MZ_TRY(driver_of(op->queue)->launch(op->queue, kernels[i], launch));
    mz_work_add(op->queue, op->desc.kind, launch->flop, launch->again);
    return MZ_OK;
}

mz_err mz_kernels_need(mz_op_kind kind, mz_dtype d)
{
    if (d == MZ_F32 || d == MZ_BF16) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "the kernels compute %s in f32 and bf16, not in %s",
                   mz_op_name(kind), mz_dtype_name(d));
}

size_t mz_kernel_opaque(size_t bytes)
{
    return bytes ? bytes + MZ_KERNEL_ALIGN : 0;
}
