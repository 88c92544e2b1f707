/* SPDX-License-Identifier: Apache-2.0 */
/* train/claim.h - a run folder taken by one process: locked, swept, and its configuration settled.
 *
 * Floor:  train. May use base.
 * Owner:  the caller drops it. Processes forked while it is held hold the lock too, until the last
 *         of them has ended.
 * Errors: MZ_EBUSY another process works on the folder; MZ_ECONFIG it holds another run; MZ_EIO. */
#ifndef MZ_TRAIN_CLAIM_H
#define MZ_TRAIN_CLAIM_H

#include "base/folder.h"
#include "train/config.h"

typedef struct mz_claim {
    mz_lock lock;
    mz_str yaml; /* the resolved configuration */
} mz_claim;

/* Waits up to patience_s for a process that is ending. */
mz_err mz_claim_take(mz_claim *claim, const mz_train_config *c, double patience_s);
void mz_claim_drop(mz_claim *claim);

#endif
