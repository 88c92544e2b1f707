/* SPDX-License-Identifier: Apache-2.0 */
/* train/bias.h - routers' selection biases, moved after each step against the experts' load.
 *
 *   b[e] += rate * sign(mean(load) - load[e])
 *
 * Source: Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
 *         arXiv:2408.15664; DeepSeek-V3 report 2.1.2, arXiv:2412.19437.
 * Floor:  train. May use model, chip, base.
 * Time:   waits for the queue. Owner: borrows queue and model; cleared by the caller.
 * Errors: MZ_ECONFIG from init where the network has no such bias; MZ_ENOMEM. */
#ifndef MZ_TRAIN_BIAS_H
#define MZ_TRAIN_BIAS_H

#include "model/model.h"

typedef struct mz_bias {
    mz_queue *queue;
    mz_model *model;
    int32_t *counts; /* [E] of one layer */
    double *load;    /* [E] the same, of all who count */
    float *bias;     /* [E] */
} mz_bias;

mz_err mz_bias_init(mz_bias *b, mz_queue *q, mz_model *m, double rate);
void mz_bias_clear(mz_bias *b);

/* Tokens that each expert of a layer got in this step, into load[E]. */
typedef mz_err mz_load_fn(void *user, int64_t layer, int64_t E);
/* The same of this model alone, since mz_model_zero_counts. user: the mz_bias. */
mz_err mz_bias_own_load(void *user, int64_t layer, int64_t E);

/* Every layer with experts that this model has. *worst becomes the largest over the mean load of
 * any, if that is more. */
mz_err mz_bias_move(mz_bias *b, double rate, mz_load_fn *load_of, void *user, double *worst);

#endif
