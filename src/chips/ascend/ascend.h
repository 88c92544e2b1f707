/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/ascend.h - Huawei's Ascend NPUs through CANN's C interface (ACL and aclnn), which is
 * found at run time.
 *
 * Spec:   "ascend", which is "ascend:0", "ascend:1" ... options.driver_path: a folder whose
 *         libraries go first.
 * Queue:  one stream each. Uploads and downloads go through pinned host memory. What failed on the
 *         device is reported by the next sync, which waits no longer than
 *         MZ_ASCEND_WAIT_MS, or options.wait_s.
 * Memory: an operator's scratch, CANN's workspace included, is asked for when it is bound, by
 *         phase 1 of every call at the largest shapes.
 * Repeat: bit for bit on one device: CANN's deterministic mode is on.
 * Errors: MZ_ENOTSUP from open with what is missing; MZ_ENOMEM for device memory; MZ_ECHIP else.
 *         After the device was lost every call says so at once.
 * A process must not fork after it opened one: mz_device_open refuses in the child. */
#ifndef MZ_CHIPS_ASCEND_ASCEND_H
#define MZ_CHIPS_ASCEND_ASCEND_H

#include "chip/chip.h"

enum { MZ_ASCEND_WAIT_MS = 600000 };

const mz_chip *mz_ascend_chip(void);

/* What the device was given to do since it was opened, as of the last sync of each queue. */
typedef struct mz_ascend_counts {
    int64_t calls;                /* of aclnn operators, phase 2 */
    int64_t bytes_up, bytes_down; /* copies from and to the host */
    int64_t bytes_group;          /* of buffers that collectives worked on */
    int64_t grown;                /* times that a call wanted more workspace than was booked */
    double flop;                  /* of products and attention, counted as 2 a product */
} mz_ascend_counts;
void mz_ascend_count(const mz_device *device, mz_ascend_counts *counts);

#endif
