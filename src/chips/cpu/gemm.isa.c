/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm.isa.c - kernels of matrix products, compiled once per instruction set. */
#include "chips/cpu/kernels.h"
#include "chips/cpu/vec.h"

const mz_cpu_gemm_table MZ_CPU_TABLE(mz_cpu_gemm) = {0};
