/* SPDX-License-Identifier: Apache-2.0 */
/* train/fill.h - samples as one packed batch.
 *
 * The weight of a position is 1 / (of * positions of its sample): summed over `of` samples, in
 * however many batches, the loss is the mean over samples of the mean over each one's positions.
 *
 * Floor:  train. May use model, base.
 * Owner:  the caller clears it; a batch points into it until the next fill.
 * Errors: of the data. mz_fill allocates nothing. */
#ifndef MZ_TRAIN_FILL_H
#define MZ_TRAIN_FILL_H

#include "model/model.h"
#include "train/data.h"

typedef struct mz_filler {
    int64_t seq, tokens_max, sequences_max;
    int32_t *ids, *pos, *targets; /* [tokens_max] */
    float *weight;
    int32_t *cu;   /* [sequences_max + 1] */
    double square; /* sum of squared lengths of the last batch's sequences */
} mz_filler;

mz_err mz_filler_init(mz_filler *f, int64_t seq, int64_t tokens_max, int64_t sequences_max);
void mz_filler_clear(mz_filler *f);
/* Samples first .. first+n-1. */
mz_err mz_fill(mz_filler *f, mz_data *data, int64_t first, int64_t n, int64_t of, mz_batch *batch);

#endif
