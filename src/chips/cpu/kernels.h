/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/kernels.h - the tables of function pointers that each instruction set's objects export.
 *
 * An *.isa.c file is compiled once per set with MZ_CPU_ISA defined to the set's name, and defines
 *   const mz_cpu_gemm_table MZ_CPU_TABLE(mz_cpu_gemm) = {...};     (mz_cpu_gemm_avx2 ...)
 * It may have no other external symbol and no static state.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_KERNELS_H
#define MZ_CHIPS_CPU_KERNELS_H

#include "chips/cpu/gemm_kernels.h"
#include "chips/cpu/ops_kernels.h"
#include "chips/cpu/stored_kernels.h"

#define MZ_CPU_JOIN_(a, b) a##_##b
#define MZ_CPU_JOIN(a, b) MZ_CPU_JOIN_(a, b)
#define MZ_CPU_TABLE(prefix) MZ_CPU_JOIN(prefix, MZ_CPU_ISA)

#define MZ_CPU_TABLES(isa)                                                                         \
    extern const mz_cpu_gemm_table mz_cpu_gemm_##isa;                                              \
    extern const mz_cpu_ops_table mz_cpu_ops_##isa;                                                \
    extern const mz_cpu_stored_table mz_cpu_stored_##isa;
MZ_CPU_TABLES(portable)
MZ_CPU_TABLES(neon)
MZ_CPU_TABLES(avx2)
MZ_CPU_TABLES(avx512)
MZ_CPU_TABLES(avx512bf16)
MZ_CPU_TABLES(amx)
#undef MZ_CPU_TABLES

#endif
