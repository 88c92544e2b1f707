/* SPDX-License-Identifier: Apache-2.0 */
/* tests/shims/crashing_opencl.c - an OpenCL loader that aborts while it is opened, as PoCL does
 * where it cannot read how the machine is built. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void crash(void)
{
    fputs("Not enough memory to run on this device.\n", stderr);
    abort();
}
