/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/flash.h - the memory of a block of rows, which attention and decode share.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_FLASH_H
#define MZ_CHIPS_CPU_FLASH_H

#include "chips/cpu/cpu.h"

/* Constants of *f from the description, and its arrays from base on; returns how many floats they
 * are. With base NULL it only counts. */
int64_t mz_cpu_flash_lay_out(mz_cpu_flash *f, const mz_attention_desc *d, float *base);
/* MZ_ENOTSUP for heads so wide that a block of them would not fit any cache, or an address. */
mz_err mz_cpu_flash_need(mz_op_kind kind, mz_dtype dtype, int64_t K, int64_t W);

#endif
