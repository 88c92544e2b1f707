/* SPDX-License-Identifier: Apache-2.0 */
/* runs/events.h - RUN/tensorboard/events.out.tfevents.*: scalars as TensorBoard reads them.
 *
 * A file holds records: length (64 bits), checksum of it, bytes, checksum of them (CRC-32C, turned
 * and shifted), little-endian. The bytes are a protocol buffer, an Event. Each start writes a file
 * of its own whose first event after the version says at which step it starts (SessionLog START),
 * so that a reader drops what an earlier process wrote of that step and later ones; the names sort
 * in the order of the starts, also where the clock went back. A last record that is torn is skipped
 * by every reader.
 *
 * Floor:  runs. May use base.
 * Time:   one write a put; nothing is made durable before mz_events_sync, and nothing allocated.
 * Owner:  the caller closes it.
 * Errors: MZ_EIO, MZ_ENOMEM. After one of put the file is to be closed: a part of a record may
 * stand at its end. */
#ifndef MZ_RUNS_EVENTS_H
#define MZ_RUNS_EVENTS_H

#include "base/folder.h"

#include <stdbool.h>

enum { MZ_SCALARS_MAX = 16, MZ_SCALAR_TAG = 40 };

typedef struct mz_scalar {
    const char *tag; /* shorter than MZ_SCALAR_TAG */
    double value;    /* written in f32 */
} mz_scalar;

typedef struct mz_events {
    mz_appender file; /* fd -1: none */
} mz_events;

/* A process makes the steps after after_step. Of a run that begins anew (`begins`) what older ones
 * left in the folder is removed. */
mz_err mz_events_open(mz_events *e, const char *run, int64_t after_step, bool begins);
mz_err mz_events_put(mz_events *e, int64_t step, double time, const mz_scalar *list, int n);
mz_err mz_events_sync(mz_events *e);
void mz_events_close(mz_events *e);

#endif
