/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/ops.isa.c - kernels of all operators but matmul, compiled once per instruction set. */
#include "chips/cpu/kernels.h"
#include "chips/cpu/vec.h"

const mz_cpu_ops_table MZ_CPU_TABLE(mz_cpu_ops) = {.lanes = VF_LANES};
