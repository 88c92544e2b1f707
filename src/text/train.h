/* SPDX-License-Identifier: Apache-2.0 */
/* text/train.h - learns a byte-level BPE vocabulary from text.
 *
 * The result is, token for token and merge for merge, what the tokenizers library's BpeTrainer
 * makes of the same lines with its ByteLevel pre-tokeniser (GPT-2's expression, no prefix space)
 * and alphabet: special tokens get the first ids, the 256 bytes follow, then the most frequent pair
 * is joined, of equally frequent ones that of the smaller ids.
 *
 * Source: Sennrich, Haddow & Birch 2016, arXiv:1508.07909.
 * Floor:  text. May use base.
 * Repeat: bitwise; the order of the lines does not matter.
 * Owner:  the caller frees the trainer; texts are borrowed for the call.
 * Errors: MZ_ECORRUPT a text that is not UTF-8; MZ_ENOTSUP more than 2^32 symbols; MZ_ENOMEM. */
#ifndef MZ_TEXT_TRAIN_H
#define MZ_TEXT_TRAIN_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mz_bpe_trainer mz_bpe_trainer;

mz_err mz_bpe_trainer_new(mz_bpe_trainer **t);
void mz_bpe_trainer_free(mz_bpe_trainer *t); /* NULL is legal */

/* Counts the words of one line, its end included: words do not cross calls. */
mz_err mz_bpe_trainer_feed(mz_bpe_trainer *t, const char *line, size_t bytes);

typedef struct mz_bpe_train_options {
    int64_t vocab;         /* tokens to stop at, special ones and bytes included */
    int64_t min_frequency; /* a pair that is seen less often is not joined */
    const char *const *special;
    int64_t n_special;
} mz_bpe_train_options;
/* Once, after the last line. */
mz_err mz_bpe_trainer_run(mz_bpe_trainer *t, const mz_bpe_train_options *o);

int64_t mz_bpe_trainer_tokens(const mz_bpe_trainer *t);
int64_t mz_bpe_trainer_merges(const mz_bpe_trainer *t);
int64_t mz_bpe_trainer_words(const mz_bpe_trainer *t); /* different ones */
/* Writes a tokenizer.json, byte for byte as the library's save() does, whole or not at all. */
mz_err mz_bpe_trainer_write(const mz_bpe_trainer *t, const char *path);

#endif
