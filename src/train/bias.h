/* SPDX-License-Identifier: Apache-2.0 */
/* train/bias.h - routers' selection biases, moved after each step against the experts' load.
 *
 *   b[e] += rate * sign(mean(load) - load[e])
 *
 * Source: Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
 *         arXiv:2408.15664; DeepSeek-V3 report 2.1.2, arXiv:2412.19437.
 * Floor:  train. May use comm, model, chip, base.
 * Time:   everything is enqueued; between fetch and move the caller waits, as a step does anyway.
 * Owner:  borrows queue and model; cleared by the caller.
 * Errors: MZ_ECONFIG from init where the network has no such bias; MZ_ENOMEM. */
#ifndef MZ_TRAIN_BIAS_H
#define MZ_TRAIN_BIAS_H

#include "comm/comm.h"
#include "model/model.h"

typedef struct mz_bias_layer {
    int64_t layer;
    const mz_param *param;
} mz_bias_layer;

typedef struct mz_bias {
    mz_queue *queue;
    mz_model *model;
    double rate;
    mz_bias_layer *layers; /* [n] with experts that this model has; n is 0 where rate is */
    int64_t n;
    int32_t *counts; /* [n, slots, E] */
    double *load;    /* [E] of one layer, of all who count */
    float *bias;     /* [n, E] */
} mz_bias;

mz_err mz_bias_init(mz_bias *b, mz_queue *q, mz_model *m, double rate);
void mz_bias_clear(mz_bias *b);

/* After the last backward of a step: tokens that each expert got since mz_model_zero_counts. */
mz_err mz_bias_fetch(mz_bias *b);
/* After a wait. comm: whose counts are added up; NULL: this model's alone. *worst becomes the
 * largest over the mean load of any layer, if that is more. */
mz_err mz_bias_move(mz_bias *b, mz_comm *comm, double *worst);

#endif
