/* SPDX-License-Identifier: Apache-2.0 */
/* chip/coverage.h - which operators a device has, in which dtype and direction, and how: asked, not
 * tried.
 *
 * Floor:  chip. May use tensor, base.   Time: opens a queue, asks, closes it.
 * Errors: MZ_ENOTSUP never: it becomes a row of state none. MZ_ENOMEM, MZ_ECHIP. */
#ifndef MZ_CHIP_COVERAGE_H
#define MZ_CHIP_COVERAGE_H

#include "chip/chip.h"

typedef struct mz_coverage_row {
    mz_op_kind kind;
    mz_dtype dtype;    /* that is computed in; of a weight in blocks, the block type */
    mz_pass direction; /* forward: bound for serving; backward: bound for training, both passes */
    mz_state state;
    bool repeats, blocks_host;
    char reason[160]; /* why it is not native, "" if it is */
} mz_coverage_row;

/* What `descs` need of the device, or with n = 0 a usual description of every operator in f32,
 * bf16, f16 and f64. One row for each operator, dtype and direction among them, in that order;
 * several descriptions of one row give the worst answer, none before host before composed before
 * native. A weight in blocks has rows of its own, under the block type: what is computed in is then
 * f32, or what `descs` say. Compute dtypes of router, balance, adamw and sample are f32 and f64
 * only. rows  out  memory of mz_mem_new, the caller frees; untouched on failure */
mz_err mz_coverage_of(mz_device *device, const mz_desc *descs, int n, mz_coverage_row **rows,
                      int *n_rows);

#endif
