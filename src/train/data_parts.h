/* SPDX-License-Identifier: Apache-2.0 */
/* train/data_parts.h - the two kinds of data behind data.h. Inside train/. */
#ifndef MZ_TRAIN_DATA_PARTS_H
#define MZ_TRAIN_DATA_PARTS_H

#include "train/data.h"

/* data_rows.c: JSONL, all of it in memory. */
typedef struct mz_rows {
    int32_t *ids;    /* of all samples, one after the other */
    uint8_t *counts; /* [cap_ids] which are learnt; NULL: all */
    int64_t n_ids, cap_ids;
    int64_t *start; /* [n+1] into ids */
    int64_t *line;  /* [n] */
    int64_t n, cap;
} mz_rows;
mz_err mz_rows_read(mz_rows *rows, const char *path, const mz_data_options *o,
                    char sha256[MZ_SHA256_HEX]);
void mz_rows_clear(mz_rows *rows);
void mz_rows_sample(const mz_rows *rows, int64_t i, mz_sample *sample);

/* data_shards.c */
typedef struct mz_pieces {
    mz_shards *shards;
    mz_data_options o;
    int64_t n;
    int64_t *first;  /* [documents+1] pieces before a document; NULL with o.pack */
    int32_t *ids;    /* [seq+1] the sample that was asked for last */
    int32_t *starts; /* [seq+1] */
} mz_pieces;
mz_err mz_pieces_open(mz_pieces *p, const char *folder, const mz_data_options *o);
void mz_pieces_clear(mz_pieces *p);
mz_err mz_pieces_sample(mz_pieces *p, int64_t i, mz_sample *sample);

#endif
