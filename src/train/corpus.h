/* SPDX-License-Identifier: Apache-2.0 */
/* train/corpus.h - text files to token shards.
 *
 * A JSONL file (.jsonl, .ndjson, also with .zst behind it) holds one document a line, in one field
 * of an object; any other file is one document. Both may be packed with zstd. A document becomes
 * bos (where the model wants one), its ids, eos (where the tokenizer has one); text is only text,
 * whatever special tokens it spells. Empty documents are left out.
 *
 * For validation a document of JSONL is drawn by Philox(seed, its number), so that it does not
 * depend on what else is in the data; of a plain file the end is taken, from a beginning of a line.
 *
 * Floor:  train. May use port, text, file, base.
 * Repeat: bitwise: the threads only encode, one document each.
 * Errors: MZ_ECORRUPT with file, line and offset; MZ_EIO; MZ_ENOMEM; no data set is left behind. */
#ifndef MZ_TRAIN_CORPUS_H
#define MZ_TRAIN_CORPUS_H

#include "file/shards.h"
#include "text/tokenizer.h"

typedef struct mz_corpus_count {
    int64_t documents, empty, ids, text_bytes; /* of both parts */
    int64_t file_bytes, file_bytes_all;        /* read so far, as they are on disk; to be read */
    mz_shards_count part[MZ_PARTS];
} mz_corpus_count;

typedef struct mz_corpus_options {
    const char *const *files;
    int n_files;
    const char *out;
    const mz_tokenizer *tokenizer;
    const char *tokenizer_name; /* for data.json; its files go along with the shards */
    const char *field;          /* of JSONL */
    double validation;          /* share, below 1 */
    uint64_t seed;
    int64_t shard_ids;
    int threads;
    void *user;
    void (*progress)(void *user, const mz_corpus_count *count); /* NULL: not called */
} mz_corpus_options;

mz_err mz_corpus_build(const mz_corpus_options *o, mz_corpus_count *count);

#endif
