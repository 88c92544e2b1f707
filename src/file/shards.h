/* SPDX-License-Identifier: Apache-2.0 */
/* file/shards.h - a data set of token ids: many documents in a few files that are read mapped.
 *
 *   DIR/data.json                what it was made of; written last: without it there is no data set
 *   DIR/train-00000.tokens       shards, cut between documents
 *   DIR/validation-00000.tokens
 *
 * One shard, numbers little-endian:
 *   0   "MZTOKENS", u32 version 1, u32 bytes of an id (2 or 4), zeros up to byte 64
 *   64  ids [N], then zeros up to a multiple of 8
 *       u64 end[documents]: ids up to the end of each document
 *       u64 sum[blocks]: of every 256 KiB of what stands before it (the last block may be short)
 *       foot, 64 bytes: u64 documents, ids, largest id + 1, blocks, bytes before sum[], zero, zero,
 *       and the sum of sum[] and of the foot before this number
 * A sum is the first eight bytes of SHA-256. Foot and sum[] are checked by open, a block when it is
 * first read: a start does not wait for a terabyte, and nothing that is damaged is ever used.
 *
 * Floor:  file. May use base.
 * Owner:  the caller closes readers and commits or aborts writers.
 * Time:   one thread a reader (it remembers which blocks are good).   Repeat: bitwise.
 * Errors: MZ_ECORRUPT with file, field and offset; MZ_EIO; MZ_ENOMEM. Reading allocates nothing. */
#ifndef MZ_FILE_SHARDS_H
#define MZ_FILE_SHARDS_H

#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

enum { MZ_SHARD_PATH = 1024, MZ_PARTS = 2 };

typedef enum mz_part { MZ_PART_TRAIN, MZ_PART_VALIDATION } mz_part;
const char *mz_part_name(mz_part part);

/* ---- writing ---- */

typedef struct mz_shards_writer mz_shards_writer;

typedef struct mz_shards_options {
    const char *folder;  /* made if it is not there; MZ_ECONFIG where it holds a data set already */
    int64_t vocab;       /* ids are below */
    int64_t shard_ids;   /* a shard that has as many is full */
    int64_t bos, eos;    /* begin and end every document, -1: none; only kept in data.json */
    const char *made_by; /* likewise: the tokenizer's name */
} mz_shards_options;

typedef struct mz_shards_count {
    int64_t documents, ids, shards;
} mz_shards_count;

mz_err mz_shards_writer_new(mz_shards_writer **w, const mz_shards_options *o);
mz_err mz_shards_writer_put(mz_shards_writer *w, mz_part part, const int32_t *ids, int64_t n);
void mz_shards_writer_count(const mz_shards_writer *w, mz_part part, mz_shards_count *count);
/* Makes all of it durable, data.json last, and frees w whatever happens. text_bytes: of the text
 * that the documents held, for data.json. */
mz_err mz_shards_writer_commit(mz_shards_writer *w, int64_t text_bytes);
void mz_shards_writer_abort(mz_shards_writer *w); /* NULL is legal */

/* ---- reading ---- */

typedef struct mz_shards mz_shards;

bool mz_shards_is(const char *folder); /* whether it holds a data.json */
/* One part of a data set; it may be empty. */
mz_err mz_shards_open(mz_shards **s, const char *folder, mz_part part);
void mz_shards_close(mz_shards *s); /* NULL is legal */
int64_t mz_shards_ids(const mz_shards *s);
int64_t mz_shards_documents(const mz_shards *s);
int64_t mz_shards_largest(const mz_shards *s);     /* id, -1 where there is none */
const char *mz_shards_sha256(const mz_shards *s);  /* of all that the part holds */
const json_t *mz_shards_about(const mz_shards *s); /* data.json, borrowed */
/* ids first .. first+n-1 of all documents laid end to end. */
mz_err mz_shards_read(mz_shards *s, int64_t first, int64_t n, int32_t *ids);
/* The document that holds id `at`, and where it starts; document may be the count: the end. */
int64_t mz_shards_document_of(const mz_shards *s, int64_t at);
int64_t mz_shards_document_start(const mz_shards *s, int64_t document);
/* Every block. */
mz_err mz_shards_verify(mz_shards *s);

#endif
