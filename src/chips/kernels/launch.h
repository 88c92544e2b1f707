/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/launch.h - between the operators' glue (this folder's .c files, from a description
 * to launches) and the chips that compile and run the kernels (opencl, nvidia).
 *
 * A kernel's parameters are pointers, then one struct of args*.h by value. A pointer stands for a
 * tensor: the start of its buffer, because views (mz_kview.at) count from there. A U8 tensor, which
 * is `saved` or scratch, is given as its own first byte, moved up to a multiple of
 * MZ_KERNEL_ALIGN inside its buffer (what a driver may want of a part of a buffer): ask for
 * mz_kernel_opaque(bytes) and begin parts of it at multiples of MZ_KERNEL_ALIGN.
 *
 * The table of a chip with these operators `counts`: run tells chip/work.h what was launched.
 *
 * Floor:  chips, seen by chips.
 * Owner:  kernels belong to the queue; the glue keeps pointers in op->state.
 * Time:   getting a kernel compiles and may take seconds (bind); running one only enqueues. */
#ifndef MZ_CHIPS_KERNELS_LAUNCH_H
#define MZ_CHIPS_KERNELS_LAUNCH_H

#include "chip/chip.h"
#include "chips/kernels/kernels.h"

enum { MZ_KERNEL_ALIGN = 512, MZ_LAUNCH_TENSORS = 12 };

typedef struct mz_kernel mz_kernel; /* compiled; each chip has its own */

typedef struct mz_kernel_spec {
    const char *text;          /* "swiglu": the file */
    const char *name;          /* "swiglu_backward": the kernel in it */
    mz_dtype dtype, out_dtype; /* F32, BF16 or F16; out_dtype 0 (MZ_F64): as dtype */
    const char *options;       /* more build options, "-DUNITS=2", or NULL */
} mz_kernel_spec;

typedef struct mz_launch {
    int64_t groups[3]; /* of MZ_KERNEL_GROUP items; one that is 0 launches nothing. Fill all
                          three. */
    const mz_tensor *tensor[MZ_LAUNCH_TENSORS]; /* in the order of the parameters; may be NULL */
    int n_tensors;
    const void *args; /* the struct */
    size_t args_bytes;
    double flop, again; /* chip/work.h */
} mz_launch;

/* What a chip offers. Its queues' state starts with a pointer to one. */
typedef struct mz_kernel_driver {
    mz_err (*get)(mz_queue *q, const mz_kernel_spec *spec, mz_kernel **kernel);
    mz_err (*launch)(mz_queue *q, mz_kernel *kernel, const mz_launch *launch);
} mz_kernel_driver;

/* For slots: bind gets n kernels into op->state, unbind forgets them, run launches number i. */
mz_err mz_kernels_bind(mz_op *op, const mz_kernel_spec *specs, int n);
void mz_kernels_unbind(mz_op *op);
mz_err mz_kernels_run(mz_op *op, int i, const mz_launch *launch);

/* MZ_ENOTSUP with the reason where kernels do not compute in d. */
mz_err mz_kernels_need(mz_op_kind kind, mz_dtype d);
/* Bytes to ask for where `bytes` are needed; 0 for 0. */
size_t mz_kernel_opaque(size_t bytes);
/* Groups of one item an element. */
static inline int64_t mz_kernel_groups(int64_t items)
{
    return (items + MZ_KERNEL_GROUP - 1) / MZ_KERNEL_GROUP;
}

#endif
