/* SPDX-License-Identifier: Apache-2.0 */
/* chip/queue.h - between queue.c and op.c. Floor: chip. */
#ifndef MZ_CHIP_QUEUE_H
#define MZ_CHIP_QUEUE_H

#include "chip/chip.h"

/* Puts code, rank, chip and the operators since the last good sync around the chip's own note, and
 * returns err. */
mz_err mz_queue_report(const mz_queue *q, mz_err err);
/* Puts the chip, and what was done with it, before its own note of what failed there, unless a chip
 * is named already; returns err. what may be NULL. */
mz_err mz_device_report(const mz_device *device, mz_err err, const char *doing, const char *what);
/* Notes in the trace what is enqueued. `what` is static. */
void mz_queue_note(mz_queue *q, const char *what, mz_pass pass);

#endif
