/* SPDX-License-Identifier: Apache-2.0 */
/* train/placement.h - a run that was moved to other chips (`mizan runs move`).
 *
 * RUN/placement.json holds the ranks that it has now, and those of the configuration that they
 * stand for; it is kept for every start that still brings that configuration. RUN/move is there
 * while somebody waits for a live run to take it: saved, and begun anew.
 *
 * A configuration whose own ranks were changed since is stronger, and ends the move.
 *
 * Floor:  train. May use base.
 * Errors: those of reading and writing; MZ_ECORRUPT: a placement.json that is none. */
#ifndef MZ_TRAIN_PLACEMENT_H
#define MZ_TRAIN_PLACEMENT_H

#include "train/config.h"

/* c->ranks as the run was moved to; *moved: whether they are others than c's own. */
mz_err mz_placement_use(mz_train_config *c, bool *moved);
/* before: as RUN/train.yaml has them; now: the new ones. */
mz_err mz_placement_write(const mz_train_config *before, const mz_train_config *now);

mz_err mz_placement_ask(const char *run);
bool mz_placement_is_asked(const char *run);
mz_err mz_placement_answer(const char *run); /* it has been taken, or nobody will take it */

#endif
