/* SPDX-License-Identifier: Apache-2.0 */
/* train/whole.h - the state of a network that lies on several ranks, in host memory of rank 0: what
 * a pipeline's checkpoints are written from.
 *
 * Floor:  train. May use model, comm, chip, base.
 * Owner:  borrows comm, queue, model and trainer.
 * Time:   collect waits for all ranks.
 * Errors: of comm and chip; MZ_ENOMEM from new, where all is booked. */
#ifndef MZ_TRAIN_WHOLE_H
#define MZ_TRAIN_WHOLE_H

#include "comm/comm.h"
#include "train/state.h"

typedef struct mz_whole mz_whole;

/* Host bytes that rank 0 books for it. */
mz_err mz_whole_room(size_t *bytes, const mz_config *network);
mz_err mz_whole_new(mz_whole **w, mz_comm *comm, mz_queue *q, mz_model *m, mz_trainer *t);
void mz_whole_free(mz_whole *w); /* NULL is legal */
/* Master weights and moments of every rank to rank 0. */
mz_err mz_whole_collect(mz_whole *w);
/* On rank 0: what was collected. Borrowed. */
void mz_whole_held(mz_whole *w, mz_held *held);

#endif
