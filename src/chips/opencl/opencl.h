/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/opencl.h - any OpenCL 1.2 device with a compiler, found at run time through the
 * vendor-neutral loader.
 *
 * Spec:   "opencl", which is "opencl:0", "opencl:1" ...: devices of all platforms in the loader's
 *         order. options.driver_path: a folder whose libOpenCL.so.1 goes first. options.cache_path:
 *         where compiled programs are kept, opencl/ in it; NULL: nowhere. PoCL keeps them itself.
 * Kernels: chips/kernels, compiled when an operator is bound.
 * Queue:  one in-order command queue of the driver's each. A command that failed on the device is
 *         reported by the next sync with the driver's name for the code; up to 256 commands run
 *         ahead of the host.
 * Repeat: bit for bit on one device: no atomics, sums in an order of the shapes alone.
 * Errors: MZ_ENOTSUP from open with what is missing and the package that has it; MZ_ENOMEM for
 *         device memory; MZ_ECHIP else. After the device was lost every call says so at once.
 * A process must not fork after it opened one: mz_device_open refuses in the child. */
#ifndef MZ_CHIPS_OPENCL_OPENCL_H
#define MZ_CHIPS_OPENCL_OPENCL_H

#include "chip/chip.h"

const mz_chip *mz_opencl_chip(void);

/* What the device did since it was opened, as of the last sync of each queue. */
typedef struct mz_opencl_counts {
    int64_t kernels;              /* launches that are done */
    int64_t bytes_up, bytes_down; /* copies from and to the host */
    int64_t kernel_ns;            /* the device's own clock, inside kernels */
    int64_t built, from_cache;    /* programs compiled; read from cache_path */
    double flop;                  /* of those launches, as chip/work.h counts them */
} mz_opencl_counts;
void mz_opencl_count(const mz_device *device, mz_opencl_counts *counts);

/* Test hook: devices opened from now on use cache_path whatever their driver keeps by itself. */
void mz_opencl_keep_all(bool on);

#endif
