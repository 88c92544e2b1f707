/* SPDX-License-Identifier: Apache-2.0 */
/* train/validate.h - looks at a model between two steps: its loss on data that is held out, and
 * what it writes after a prompt.
 *
 *   loss = mean over the samples of the mean over each one's next-token positions, as in training
 *
 * The samples are the first run.eval_samples of data.validation, or of the validation part of
 * data.path, in their order: the same ones every time.
 *
 * Floor:  train. May use model, port, text, base.
 * Time:   waits for the queue.   Repeat: bitwise, whatever was evaluated before.
 * Owner:  the caller owns it; it borrows the trainer's model.
 * Errors: MZ_ECONFIG where there is nothing to validate on; of data, tokenizer and chip. */
#ifndef MZ_TRAIN_VALIDATE_H
#define MZ_TRAIN_VALIDATE_H

#include "base/str.h"
#include "train/config.h"
#include "train/pipeline.h"
#include "train/step.h"

typedef struct mz_validation mz_validation;

/* *v NULL, which every call takes, where neither run.eval_every nor run.sample_every is set. */
mz_err mz_validation_open(mz_validation **v, const mz_train_config *c, mz_queue *q, mz_model *m,
                          mz_trainer *t);
/* From now on the model is a part of a network, and every rank makes the same calls: all receive
 * the loss and the text. *v may be NULL. */
void mz_validation_join_pipe(mz_validation *v, mz_comm *comm, mz_pipe *pipe);
void mz_validation_close(mz_validation *v);
/* Whether this step is followed by the one or the other; the last step is always looked at. */
bool mz_validation_wants_loss(const mz_validation *v, int64_t step);
bool mz_validation_wants_text(const mz_validation *v, int64_t step);
mz_err mz_validation_loss(mz_validation *v, double *loss);
/* Appends what follows run.sample_prompt: run.sample_tokens tokens drawn with temperature 0.8 by
 * Philox(run.seed, step). */
mz_err mz_validation_text(mz_validation *v, int64_t step, mz_str *text);

#endif
