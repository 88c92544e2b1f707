/* SPDX-License-Identifier: Apache-2.0 */
/* train/bytes.h - plain text as training data without a tokenizer: every byte is its own id.
 *
 * Floor:  train. May use base.
 * Owner:  the caller clears it.   Repeat: a row depends on seed and row number only.
 * Errors: MZ_EIO for a file that cannot be read; MZ_ECORRUPT for one that holds NUL bytes. */
#ifndef MZ_TRAIN_BYTES_H
#define MZ_TRAIN_BYTES_H

#include "base/err.h"

#include <stddef.h>

typedef struct mz_bytes {
    unsigned char *text;
    size_t len;
    size_t held_out; /* this many bytes at the end are never trained on */
    int64_t files;
} mz_bytes;

/* Appends one file, or every plain text file of a folder, in order of their names (hidden files,
 * links and files with NUL bytes are passed over in a folder). */
mz_err mz_bytes_add(mz_bytes *b, const char *path);
/* Sets held_out to this share of the text. */
void mz_bytes_hold_out(mz_bytes *b, double share);
void mz_bytes_clear(mz_bytes *b);

/* Row number `row` of a training run: T ids and the T ids that follow them, from a place drawn by
 * Philox(seed, row). The text must hold more than T + held_out bytes. */
void mz_bytes_row(const mz_bytes *b, uint64_t seed, uint64_t row, int64_t T, int32_t *ids,
                  int32_t *targets);
/* Row i of the held-out part, one after the other; false after the last whole one. */
int mz_bytes_held_row(const mz_bytes *b, int64_t i, int64_t T, int32_t *ids, int32_t *targets);

#endif
