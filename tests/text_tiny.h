/* SPDX-License-Identifier: Apache-2.0 */
/* tests/text_tiny.h - small vocabularies for the tests of text/. */
#ifndef MZ_TESTS_TEXT_TINY_H
#define MZ_TESTS_TEXT_TINY_H

#include "base/str.h"
#include "text/tokenizer.h"

enum { MZT_TINY_MAX = 2048 };

/* 256 bytes (id = byte) and merges whose ids follow from 256 on. */
typedef struct mzt_tiny {
    char text[MZT_TINY_MAX][64]; /* in the byte-level alphabet */
    mz_vocab_token tokens[MZT_TINY_MAX];
    mz_vocab_merge merges[MZT_TINY_MAX];
    int left[MZT_TINY_MAX], right[MZT_TINY_MAX]; /* of merge i */
    mz_vocab vocab;                              /* without added tokens, GPT-2's pieces */
} mzt_tiny;

void mzt_tiny_init(mzt_tiny *t);
/* Joins two ids. Returns the new id, -1 if the text exists already or is too long. */
int mzt_tiny_join(mzt_tiny *t, int left, int right);
/* A tokenizer.json of it. added: the list's text, "[]" for none; pre_tokenizer likewise. */
void mzt_tiny_json(const mzt_tiny *t, const char *added, const char *pre_tokenizer, mz_str *out);

#endif
