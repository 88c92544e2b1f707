/* SPDX-License-Identifier: Apache-2.0 */
/* train/data.h - which ids sample number c of a run holds.
 *
 * From JSONL, one sample a line, {"ids": [...]}, taken as it is. A sample of n ids has n - 1
 * next-token positions. All n ids are fed, the last without a target; only where a sample has
 * seq + 1 ids its last one is a target and not fed. Longer samples are refused with their line.
 *
 * One cursor counts samples over the whole run: sample c is line order(c / n)[c mod n] of the n
 * lines. Without shuffling the order is that of the file, in every epoch; with it, epoch e has the
 * Fisher-Yates permutation drawn from Philox(seed, stream of e). So a cursor is all there is to
 * save.
 *
 * Floor:  train. May use base.
 * Owner:  ids are borrowed until close.   Repeat: bitwise, everywhere.
 * Errors: MZ_ECORRUPT with file, line and byte offset: not JSON, no ids, an id outside 0 .. V-1,
 *         fewer than two ids, more than seq + 1; MZ_ENOTSUP for chat messages and for folders;
 *         MZ_EIO; MZ_ENOMEM. */
#ifndef MZ_TRAIN_DATA_H
#define MZ_TRAIN_DATA_H

#include "base/sha256.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct mz_data mz_data;

typedef struct mz_data_options {
    int64_t seq, vocab;
    bool shuffle;
    uint64_t seed;
} mz_data_options;

/* Reads and checks all of it; nothing is allocated afterwards. */
mz_err mz_data_open(mz_data **data, const char *path, const mz_data_options *o);
void mz_data_close(mz_data *data);               /* NULL is legal */
int64_t mz_data_count(const mz_data *data);      /* samples of an epoch */
int64_t mz_data_tokens(const mz_data *data);     /* ids of an epoch */
const char *mz_data_sha256(const mz_data *data); /* of the file, for checkpoints */

typedef struct mz_sample {
    const int32_t *ids;
    int64_t n;    /* ids */
    int64_t line; /* of the file, from 1 */
} mz_sample;
void mz_data_sample(mz_data *data, int64_t cursor, mz_sample *sample);

#endif
