/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/ops_kernels.h - the table of all kernels but matmul's. Filled by ops.isa.c.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_OPS_KERNELS_H
#define MZ_CHIPS_CPU_OPS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct mz_cpu_ops_table {
    int lanes; /* floats of one vector */
} mz_cpu_ops_table;

#endif
