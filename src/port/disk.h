/* SPDX-License-Identifier: Apache-2.0 */
/* port/disk.h - parameters as files have them, for port/ alone. Floor: port. */
#ifndef MZ_PORT_DISK_H
#define MZ_PORT_DISK_H

#include "model/params.h"

/* Elements first .. first+n-1 of a dense view, as one run. */
static inline mz_tensor mz_disk_run(const mz_tensor *view, int64_t first, int64_t n)
{
    const size_t at = view->offset_bytes + (size_t)first * mz_dtype_bytes(view->dtype);
    return mz_view(view->buf, at, view->dtype, 1, &n);
}

/* Tensors on disk of all parameters. */
static inline int64_t mz_disk_total(const mz_params *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++) n += mz_param_disk_count(&p->list[i]);
    return n;
}

#endif
