/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/ref.h - the oracle: every operator, forward and backward, in double, on host memory.
 *
 * Slow and obvious on purpose; every other chip is held to it. It takes every float dtype, computes
 * in double and rounds once where it stores. NaN and Inf go through as in plain arithmetic. It is
 * compiled without fused multiply-add, uses no threads and repeats bit for bit.
 * Floor:  chips. May use chip, tensor, base.
 * Errors: MZ_ECHIP where numbers in memory (ids, offsets, positions) point outside a tensor; other
 *         chips may do anything then. MZ_ENOTSUP for packed weights: it has no layout of its own.
 */
#ifndef MZ_CHIPS_REF_REF_H
#define MZ_CHIPS_REF_REF_H

#include "chip/chip.h"

extern const mz_chip mz_chip_ref;

#endif
