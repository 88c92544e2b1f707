/* SPDX-License-Identifier: Apache-2.0 */
/* chips/hosted/hosted.h - a chip whose missing operators run on the host, openly.
 *
 * Spec:   "hosted:SPEC" or "hosted:on=HOST,SPEC": SPEC is the device, HOST the chip that stands in
 *         (default "cpu"; its memory is host memory).
 * What the device has, native or composed, passes through. For the rest, inputs are downloaded into
 * staging copies, the host chip computes, and outputs are uploaded; support says state HOST, the
 * device's reason, the bytes booked, and blocks_host. Nothing is allocated after bind.
 *
 * Strided views are copied piece by piece into dense ones, so that what lies between the pieces is
 * neither read nor written. Tables whose length the description does not bound (rope's cos and sin,
 * the source or target of rows, the pages of decode) are staged by the rows that the indices name.
 *
 * Errors: MZ_ECHIP where an index points outside its table, and whatever the device reports when it
 *         is waited for. Repeat: as the two chips. */
#ifndef MZ_CHIPS_HOSTED_HOSTED_H
#define MZ_CHIPS_HOSTED_HOSTED_H

#include "chip/chip.h"

const mz_chip *mz_hosted_chip(void);

typedef struct mz_hosted_counts {
    int64_t calls;                /* passes that ran on the host */
    int64_t copies;               /* pieces moved in either direction */
    int64_t down_bytes, up_bytes; /* moved from and to the device */
    int64_t booked_bytes;         /* staging of all queues now */
} mz_hosted_counts;
/* Zeros for a device that is not a hosted one. */
mz_hosted_counts mz_hosted_counts_of(const mz_device *device);

#endif
