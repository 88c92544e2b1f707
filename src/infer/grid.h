/* SPDX-License-Identifier: Apache-2.0 */
/* infer/grid.h - B sequences of T tokens as one packed batch, with what should follow each token;
 * and the two things that are mostly wanted of them, logits and mean loss.
 *
 * Floor:  infer. May use model, chip, base.
 * Owner:  the caller clears it; a batch points into it. Time: logits and loss wait.
 * Errors: MZ_ENOMEM; MZ_ENOTSUP for 2^31 tokens or more; those of the model. */
#ifndef MZ_INFER_GRID_H
#define MZ_INFER_GRID_H

#include "model/model.h"

typedef struct mz_grid {
    int64_t B, T, counted;        /* targets that are not -100 */
    int32_t *ids, *pos, *targets; /* [B*T] */
    int32_t *cu;                  /* [B+1] */
    float *weight;                /* [B*T] 1/counted where counted, so that a loss is their mean */
} mz_grid;

/* ids and targets are zero, to be filled. */
mz_err mz_grid_new(mz_grid *r, int64_t B, int64_t T);
void mz_grid_clear(mz_grid *r);
/* The rest, once ids are there. has_targets: they were filled too; else they are the ids shifted by
 * one, the last position of a row not counted. */
void mz_grid_finish(mz_grid *r, bool has_targets);
/* The same weights as of a part of a batch in which so many targets are counted in all. */
void mz_grid_weigh(mz_grid *r, int64_t counted);
mz_batch mz_grid_batch(const mz_grid *r);
/* Logits of so many tokens at a time, which is what a model has to be bound for (head_rows). */
int64_t mz_grid_at_once(const mz_grid *r);
/* After a forward call with the batch: out [B,T,V]. */
mz_err mz_grid_logits(const mz_grid *r, mz_model *m, mz_queue *q, float *out);
/* The mean of what mz_model_loss gave; NaN where nothing is counted. */
mz_err mz_grid_mean(const mz_grid *r, mz_queue *q, const mz_tensor *loss, double *mean);

#endif
