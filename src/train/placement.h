/* SPDX-License-Identifier: Apache-2.0 */
/* train/placement.h - a run that was moved to other chips (`mizan runs move`).
 *
 * RUN/placement.json holds the ranks that it has now, and those of the configuration that they
 * stand for; it is kept for every start that still brings that configuration. RUN/move is there
 * while somebody waits for a live run to take it: saved, and begun anew.
 *
 * A live run has to make a step on its new ranks first: until then the move is unproven, and
 * placement.json has the ranks `before` it. A start that fails meanwhile goes back to them, and
 * `refused` tells why; nothing is lost, since the state was saved.
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
/* Whether it was moved since c was given its ranks by mz_placement_use; false where that cannot be
 * read. */
bool mz_placement_is_newer(const mz_train_config *c);
/* before: as RUN/train.yaml has them; now: the new ones. is_live: unproven. */
mz_err mz_placement_write(const mz_train_config *before, const mz_train_config *now, bool is_live);

typedef struct mz_placement {
    bool unproven;
    char refused[512]; /* why the last move was taken back; "" */
} mz_placement;
mz_err mz_placement_state(const char *run, mz_placement *state);
/* A step was made on the new ranks; nothing happens where nothing is unproven. Answers. */
mz_err mz_placement_prove(const char *run);
/* It goes back to the ranks before, of a move that is unproven; why. Answers. */
mz_err mz_placement_refuse(const char *run, const char *why);

mz_err mz_placement_ask(const char *run);
bool mz_placement_is_asked(const char *run);
mz_err mz_placement_answer(const char *run); /* it is over, or nobody will take it */

#endif
