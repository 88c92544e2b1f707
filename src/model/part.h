/* SPDX-License-Identifier: Apache-2.0 */
/* model/part.h - some layers of a network, for a rank of a pipeline.
 *
 * A model bound with part_layers has these layers; the first part has the embedding too, the last
 * one the final norm, the head and the MTP layers. Where the head is the embedding's table, or MTP
 * layers read it, the last part borrows it: it has a copy whose gradient is a part of the first
 * one's, and whose weights are the first one's (train/pipeline.h). What goes from part to part is a
 * hidden state [tokens, width] in the model's dtype, and its gradient the other way, as bytes on
 * the host.
 *
 * Several forward calls may wait for their backward: each has a slot, which is all the memory that
 * activations need once more. Gradients of all slots add up; counts of experts are per slot.
 *
 * Floor:  model. May use chip, base.
 * Time:   the calls wait.
 * Errors: as in model/model.h. */
#ifndef MZ_MODEL_PART_H
#define MZ_MODEL_PART_H

#include "model/model.h"

/* Calls from now on, and what is looked at, are of this slot, 0 .. options.slots - 1. */
mz_err mz_model_slot(mz_model *m, int64_t slot);
int64_t mz_model_slots(const mz_model *m); /* at least 1 */
/* in: what the part before gave, NULL for the first part; out: what the next one is fed, NULL for
 * the last part. */
mz_err mz_part_forward(mz_model *m, const mz_batch *batch, const void *in, void *out);
/* The same for a batch that goes on in the cache (mz_model_cached); cached NULL: as the former. */
mz_err mz_part_cached(mz_model *m, const mz_batch *batch, const mz_cached *cached, const void *in,
                      void *out);
/* dout: the gradient of out, NULL for the last part, which takes the loss instead (*loss as from
 * mz_model_loss; elsewhere untouched); din: the gradient of in, NULL for the first part. batch is
 * that of the slot's forward call. */
typedef struct mz_part_grads {
    const void *dout;
    void *din;
} mz_part_grads;
mz_err mz_part_backward(mz_model *m, const mz_batch *batch, const mz_loss_options *o,
                        const mz_part_grads *g, mz_tensor *loss);

#endif
