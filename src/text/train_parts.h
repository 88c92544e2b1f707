/* SPDX-License-Identifier: Apache-2.0 */
/* text/train_parts.h - what train.c (the loop) and train_write.c share. Floor: text. Inside text/
 * only. */
#ifndef MZ_TEXT_TRAIN_PARTS_H
#define MZ_TEXT_TRAIN_PARTS_H

#include "base/str.h"
#include "text/train.h"
#include "text/unicode.h"

#include <stdbool.h>

/* Different byte strings, numbered in the order in which they came. */
typedef struct mz_strings {
    mz_str text;
    size_t *end;     /* of string i in text; it begins where i - 1 ends */
    uint32_t *slots; /* number + 1 */
    int64_t count, cap;
    uint32_t mask; /* slots - 1 */
} mz_strings;

mz_err mz_strings_add(mz_strings *s, const char *bytes, size_t n, int64_t *number);
const char *mz_strings_at(const mz_strings *s, int64_t number, size_t *n);
void mz_strings_clear(mz_strings *s);

typedef struct mz_bpe_train_merge {
    uint32_t left, right;
} mz_bpe_train_merge;

struct mz_bpe_trainer {
    mz_unicode unicode;
    mz_strings words;
    int64_t *counts; /* of word i */
    int64_t counts_cap;
    mz_strings tokens; /* in the byte-level alphabet; number = id */
    int64_t n_special;
    mz_bpe_train_merge *merges;
    int64_t n_merges, merges_cap;
};

#endif
