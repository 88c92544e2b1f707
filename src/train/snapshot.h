/* SPDX-License-Identifier: Apache-2.0 */
/* train/snapshot.h - checkpoints that are written while the training goes on.
 *
 * The state is copied into host memory that was booked beforehand, and a thread writes it from
 * there. One save at a time: the next one waits for it. What a save's failure says, the call after
 * it says.
 *
 * Floor:  train. May use port, file, model, chip, base.
 * Owner:  the caller frees it; free waits for the writer.
 * Time:   take waits for the queue and for the copy; the rest is the thread's. All calls from the
 *         thread that owns the queue.
 * Repeat: bitwise: a snapshot is the state between two steps.
 * Errors: MZ_ENOMEM from new; those of a checkpoint, late. */
#ifndef MZ_TRAIN_SNAPSHOT_H
#define MZ_TRAIN_SNAPSHOT_H

#include "train/checkpoint.h"

typedef struct mz_snapshot mz_snapshot;

/* Host bytes of one for these buffers: what a run books for it. */
size_t mz_snapshot_bytes(size_t weights_bytes, size_t optimizer_bytes);
/* c and its texts are borrowed until free. */
mz_err mz_snapshot_new(mz_snapshot **s, const mz_checkpointed *c);
void mz_snapshot_free(mz_snapshot *s); /* NULL is legal */
/* Waits for the save before, copies, and lets the thread write. */
mz_err mz_snapshot_save(mz_snapshot *s, const mz_progress *p, int64_t keep);
/* Whether the last save has failed so far: does not wait. */
mz_err mz_snapshot_check(mz_snapshot *s);
/* Until nothing is being written. */
mz_err mz_snapshot_wait(mz_snapshot *s);

#endif
