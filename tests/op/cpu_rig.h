/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/cpu_rig.h - a CPU device for one test: tensors with strides, offsets and watched gaps.
 * Asserts instead of returning errors. */
#ifndef MZ_TESTS_OP_CPU_RIG_H
#define MZ_TESTS_OP_CPU_RIG_H

#include "base/rng.h"
#include "chips/cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RIG_TENSORS = 16 };

typedef struct rig {
    mz_device *device;
    mz_queue *q;
    mz_buffer *buf[RIG_TENSORS];
    int n;
} rig;

/* Instruction sets that --isa knows. */
extern const char *const RIG_ISAS[];
extern const int RIG_ISA_COUNT;

/* Not NULL: what devices opened from now on multiply with, instead of the set's own kernels. */
extern const mz_cpu_gemm_table *rig_gemm;
bool rig_open(rig *r, const char *isa, int threads); /* false: this machine lacks the set */
void rig_close(rig *r);

/* How a tensor lies in its buffer, in elements: `lead` before it, `pad` after each row, and `gap`
 * after each matrix; `repeat`: all matrices are one. */
typedef struct rig_layout {
    int64_t lead, pad, gap;
    bool repeat;
} rig_layout;

/* Every byte of the buffer is set to a pattern first. */
mz_tensor rig_tensor(rig *r, mz_dtype dtype, int rank, const int64_t *dim, rig_layout at);
void rig_fill(const mz_tensor *t, mz_rng *rng); /* -2..2, most near 0 */
bool rig_gaps_untouched(const mz_tensor *t);    /* every byte outside of the view */
bool rig_same_bits(const mz_tensor *a, const mz_tensor *b);
mz_op *rig_bind(rig *r, const mz_desc *desc);
void rig_spoil_workspace(rig *r); /* with NaNs: an operator must not read what it did not write */
/* |got - want| within 2 u_out |want| + u_acc sqrt(n) |a| |b|, where norms2 is |a|^2 |b|^2; a NaN
 * or an infinity wants its like. Prints both sides if not. */
bool rig_near(double got, double want, mz_dtype out, int64_t n, double norms2);

#endif
