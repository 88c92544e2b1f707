/* SPDX-License-Identifier: Apache-2.0 */
/* train/data.h - which ids sample number c of a run holds.
 *
 * From token shards (file/shards.h), S = seq:
 *   pack            sample i is ids i*S .. i*S + S of all documents laid end to end, S + 1 of them;
 *                   the last is a target and not fed; what is left at the end is left out
 *   not pack        documents one by one, cut where they have more than S + 1 ids: piece j of one
 *                   is its ids j*S .. j*S + S
 *   across          attention and prediction go on from a document to the next; otherwise each
 *                   document in a sample is a sequence of its own
 * From JSONL, one sample a line: {"messages": [...]}, a conversation as the model's template has
 * it, of which the answers are learnt (train/answers.h), or {"ids": [...]}, taken as it is. A
 * sample of n ids has n - 1 next-token positions. All n ids are fed, the last without a target;
 * only where a sample has seq + 1 ids its last one is a target and not fed. Longer samples are
 * refused with their line.
 *
 * One cursor counts samples over the whole run: sample c is sample order(c / n, c mod n) of the n.
 * Without shuffling the order is that of the file, in every epoch; with it, each epoch has a
 * permutation of its own (train/order.h). So a cursor is all there is to save.
 *
 * Floor:  train. May use port, text, file, base.
 * Owner:  ids are borrowed until the next call.   Repeat: bitwise, everywhere.
 * Errors: MZ_ECORRUPT with file, line and byte offset: not JSON, no ids, an id outside 0 .. V-1,
 *         fewer than two ids, more than seq + 1, a damaged shard; MZ_ECONFIG: shards that hold
 *         larger ids than the vocabulary has, or no whole sample; MZ_ENOTSUP for what a template
 *         cannot say; MZ_EIO; MZ_ENOMEM. */
#ifndef MZ_TRAIN_DATA_H
#define MZ_TRAIN_DATA_H

#include "base/sha256.h"
#include "file/shards.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct mz_data mz_data;

typedef struct mz_data_options {
    int64_t seq, vocab;
    bool shuffle;
    uint64_t seed;
    mz_part part;       /* of shards */
    bool pack, across;  /* likewise */
    const char *source; /* of tokenizer and chat template for messages; NULL: none */
    const char *chat;   /* a built-in template instead of the model's own; NULL or "": its own */
} mz_data_options;

/* Reads and checks all of JSONL, and the tables of shards; nothing is allocated afterwards. */
mz_err mz_data_open(mz_data **data, const char *path, const mz_data_options *o);
void mz_data_close(mz_data *data);               /* NULL is legal */
int64_t mz_data_count(const mz_data *data);      /* samples of an epoch */
int64_t mz_data_tokens(const mz_data *data);     /* ids that an epoch has */
const char *mz_data_sha256(const mz_data *data); /* of what it holds, for checkpoints */

typedef struct mz_sample {
    const int32_t *ids; /* [n] */
    int64_t n;
    const int32_t *starts; /* [sequences] in ids, the first 0: they do not see each other */
    int64_t sequences;
    const uint8_t *counts; /* [n] whether id t is to be learnt; NULL: all that follow one */
    int64_t at;            /* line of the file from 1, or number of the sample in its part */
} mz_sample;
mz_err mz_data_sample(mz_data *data, int64_t cursor, mz_sample *sample);
/* Next-token positions of a sample that count. */
int64_t mz_sample_positions(const mz_sample *s);
/* Sequences that `samples` samples hold at most. */
int64_t mz_data_sequences(const mz_data_options *o, bool is_shards, int64_t samples);

#endif
