/* SPDX-License-Identifier: Apache-2.0 */
/* train/pipeline.h - one network over several ranks, each with some of its layers.
 *
 * A step's micro-batches go through the ranks one after the other: one forward, one backward
 * (1F1B). Rank s of P works ahead by at most P - s - 1 forward calls, whose activations wait in
 * slots of their own (model/part.h). Every rank reads the same samples; the last one takes the
 * loss.
 *
 * A table that the last rank borrows (model/part.h) is the first rank's: before the norm the last
 * one's gradient is added to it there, after the update the weights go back as bytes, so that both
 * are equal on unlike chips too.
 *
 * Source: Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters",
 *         arXiv:2104.04473, for the schedule.
 * Floor:  train. May use model, comm, chip, base.
 * Owner:  borrows comm, model and trainer.
 * Time:   every call waits for the other ranks.
 * Repeat: bitwise; gradients add up in the order of the micro-batches, as on one rank, but for a
 *         borrowed table: there those of the head and of the embedding are added up first.
 * Errors: of comm and chip. Inside a step nothing is allocated. */
#ifndef MZ_TRAIN_PIPELINE_H
#define MZ_TRAIN_PIPELINE_H

#include "comm/comm.h"
#include "train/config.h"
#include "train/step.h"

typedef struct mz_pipe mz_pipe;

/* What rank r of c->ranks binds its model for: layers and slots are set in *o. */
void mz_pipe_options(const mz_train_config *c, int64_t r, mz_model_options *o);

/* Host bytes that a rank books for it; dtype: of the model. */
size_t mz_pipe_room(const mz_model_options *o, const mz_config *network, int64_t size);
mz_err mz_pipe_new(mz_pipe **pipe, mz_comm *comm, mz_queue *q, mz_model *m, mz_trainer *t,
                   int64_t slots);
void mz_pipe_free(mz_pipe *pipe); /* NULL is legal */

/* Micro-batch i of n, asked for twice: before its forward and before its backward. */
typedef mz_err mz_pipe_fill(void *user, int64_t i, mz_batch *batch, mz_loss_options *o);
/* All forward and backward calls of a step; the last rank's trainer notes the losses. */
mz_err mz_pipe_run(mz_pipe *pipe, int64_t n, mz_pipe_fill *fill, void *user);
/* One batch, the same on every rank, forward alone from rank to rank; on the last one the model is
 * as after mz_model_forward. Between two steps. */
mz_err mz_pipe_forward(mz_pipe *pipe, const mz_batch *batch);
/* Brings the gradients of a borrowed table together; the norm of all ranks' gradients. */
mz_err mz_pipe_norm(mz_pipe *pipe, double *norm);
/* After the update: a borrowed table's weights to the last rank. */
mz_err mz_pipe_share(mz_pipe *pipe);
/* Counts of experts, of all slots. */
mz_err mz_pipe_zero_counts(mz_pipe *pipe);

#endif
