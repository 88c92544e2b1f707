/* SPDX-License-Identifier: Apache-2.0 */
/* train/step.h - one optimizer step: micro-batches add gradients, then AdamW moves the weights.
 *
 *   g = sum over micro-batches;  norm = |g|;  g' = g * min(1, clip / (norm + 1e-6))
 *   AdamW on master weights in acc (f32, or f64 for a f64 model), rounded into the model's dtype
 *
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101; clipping as torch.nn.utils.clip_grad_norm_.
 * Floor:  train. May use model, op, chip, base.
 * Time:   micro and apply enqueue and return; norm waits, and with it what was noted of losses is
 *         there: a step waits once. What fails in apply is told by the next wait.
 * Owner:  a trainer owns master weights and moments, borrows model and queue.
 * Errors: MZ_ENUMERIC where the gradient norm is NaN or infinite: nothing was changed. */
#ifndef MZ_TRAIN_STEP_H
#define MZ_TRAIN_STEP_H

#include "model/model.h"

typedef struct mz_trainer mz_trainer;

typedef struct mz_optim {
    double lr, beta1, beta2, eps, weight_decay, clip; /* clip 0 = off */
} mz_optim;

mz_err mz_trainer_new(mz_trainer **t, mz_queue *q, mz_model *m);
/* The same for a model that was just bound, whose gradients are zeros still; masters are zeros too
 * and not the model's weights: for whoever loads or draws both. Begin comes before micro. */
mz_err mz_trainer_bare(mz_trainer **t, mz_queue *q, mz_model *m);
void mz_trainer_free(mz_trainer *t); /* NULL is legal */
/* After the model's weights were loaded or changed from outside: masters follow them. */
mz_err mz_trainer_sync_masters(mz_trainer *t);

/* Zeroes the gradients: the start of a step. */
mz_err mz_trainer_begin(mz_trainer *t);
/* Forward, loss and backward of one micro-batch, whose loss is noted. */
mz_err mz_trainer_micro(mz_trainer *t, const mz_batch *batch, const mz_loss_options *o);
/* Notes a loss that the model gave for this batch. Waits only where more are on their way than
 * there is room for. */
mz_err mz_trainer_note(mz_trainer *t, const mz_batch *batch, const mz_tensor *loss);
/* After a wait: the sum of weight[t] loss[t] over what was noted since the last call. */
double mz_trainer_losses(mz_trainer *t);
/* note, a wait, losses. */
mz_err mz_trainer_sum(mz_trainer *t, const mz_batch *batch, const mz_tensor *loss, double *sum);
/* Clips and steps; *norm is the norm before clipping. */
mz_err mz_trainer_update(mz_trainer *t, const mz_optim *o, double *norm);
/* The two halves of update, for whoever wants to look at the norm (NaN and infinities come out as
 * they are) before deciding whether to step. apply refuses a norm that is not finite. */
mz_err mz_trainer_norm(mz_trainer *t, double *norm);
/* Of the norm; of what mz_trainer_own says. */
mz_err mz_trainer_squares(mz_trainer *t, double *squares);
mz_err mz_trainer_apply(mz_trainer *t, const mz_optim *o, double norm);
/* From now on apply moves only what belongs to elements first .. end-1 of the flat gradients. */
void mz_trainer_own(mz_trainer *t, int64_t first, int64_t end);
/* Books what micro needs on the host for so many batches a step of up to `tokens`, so that no step
 * allocates. */
mz_err mz_trainer_reserve(mz_trainer *t, int64_t tokens, int64_t batches);
int64_t mz_trainer_step(const mz_trainer *t); /* updates made so far */

/* Parameters whose name begins so are not moved any more, not even by weight decay. */
void mz_trainer_freeze(mz_trainer *t, const char *prefix);

/* This parameter is another rank's: its gradient does not count here, and nothing moves it. */
void mz_trainer_lend(mz_trainer *t, const mz_param *p);

/* For checkpoints: the flat state, [params->grads_bytes / acc] elements each, in the layout of the
 * gradients. master's buf is NULL where the model's own weights are the masters. */
typedef struct mz_trainer_state {
    mz_tensor master, m, v;
} mz_trainer_state;
void mz_trainer_state_of(mz_trainer *t, mz_trainer_state *s);
/* Bytes on the chip of masters and moments, for gradients of `grads_bytes` (mz_memory_plan). */
size_t mz_trainer_bytes(mz_dtype dtype, size_t grads_bytes);
void mz_trainer_set_step(mz_trainer *t, int64_t step);

#endif
