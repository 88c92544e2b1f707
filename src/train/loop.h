/* SPDX-License-Identifier: Apache-2.0 */
/* train/loop.h - one step of training: batch, gradients, guard, update, selection bias.
 *
 *   loss of a step = mean over its samples of the mean over each sample's next-token positions
 *
 * so the weight of a position is 1 / (batch.global * positions of its sample), and the gradient of
 * the step does not depend on how samples are cut into micro-batches. Nothing attends across
 * samples, nor across the sequences of one.
 *
 * Selection bias (moe.bias_rate): after a step that was taken, b[e] += rate * sign(mean - load[e])
 * over the loads of the whole step, in every layer with experts.
 *
 * Source: Wang et al. 2024, arXiv:2408.15664, for the bias.
 * Floor:  train. May use model, chip, base.
 * Time:   waits for the queue.   Repeat: bitwise on a chip that repeats.
 * Owner:  the caller owns the loop; it borrows model, trainer and data.
 * Errors: of the chip. Inside a step nothing is allocated. */
#ifndef MZ_TRAIN_LOOP_H
#define MZ_TRAIN_LOOP_H

#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"
#include "train/parallel.h"
#include "train/pipeline.h"
#include "train/runlog.h"

typedef struct mz_loop mz_loop;

mz_err mz_loop_new(mz_loop **loop, const mz_train_config *c, mz_queue *q, mz_model *m,
                   mz_trainer *t, mz_data *data);
void mz_loop_free(mz_loop *loop); /* NULL is legal */
/* From now on a step is made together with the other ranks: all of the network on each, or a part.
 */
void mz_loop_join(mz_loop *loop, mz_team *team);
void mz_loop_join_pipe(mz_loop *loop, mz_comm *comm, mz_pipe *pipe);
/* Makes step p->step + 1 and moves p on. r gets everything but done and peak_bytes. The update is
 * on its way when it returns: what fails there is told by the next wait, of the next step or of a
 * checkpoint, which is not written then. */
mz_err mz_loop_step(mz_loop *loop, mz_progress *p, mz_step_record *r);
/* Forward and backward of samples first .. first + n - 1 alone, to see how long they take: the
 * gradients are there until the next step. Waits. */
mz_err mz_loop_try(mz_loop *loop, int64_t first, int64_t n);
/* What one step of the configuration binds its model for. MTP layers that come with the weights are
 * bound also where mtp.weight is 0: then they are kept as they are. */
mz_model_options mz_loop_model_options(const mz_train_config *c, const mz_config *network);
/* And what it reads. */
mz_data_options mz_loop_data_options(const mz_train_config *c, int64_t vocab);

#endif
