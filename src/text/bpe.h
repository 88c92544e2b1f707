/* SPDX-License-Identifier: Apache-2.0 */
/* text/bpe.h - a byte-level vocabulary and its merges, and the ids of one piece of text.
 *
 * Source: Sennrich, Haddow & Birch 2016, arXiv:1508.07909 (byte pair encoding); Radford et al. 2019
 *         (bytes as the alphabet). What a piece becomes is defined by the tokenizers library:
 *         repeatedly join the pair of the lowest rank, leftmost first.
 * Floor:  text. May use base. Inside text/ only.
 * Time:   mz_bpe_piece: O(n^2) up to MZ_BPE_SHORT bytes, O(n log n) beyond. A made mz_bpe is
 *         read-only: any number of threads, each with a mz_bpe_work of its own.
 * Errors: MZ_ECORRUPT with the field: two tokens of one id or one text, a merge of something that
 *         is no token. */
#ifndef MZ_TEXT_BPE_H
#define MZ_TEXT_BPE_H

#include "base/err.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MZ_BPE_SHORT = 96 }; /* bytes of a piece that is joined in place */

/* Pairs stand in tables by their left side, one behind the other: texts are made of few different
 * tokens, so that the lines of memory that one of them needs serve many pairs. */
typedef struct mz_bpe_pair {
    uint32_t right;    /* UINT32_MAX where empty */
    uint32_t rank, id; /* what they become */
} mz_bpe_pair;

typedef struct mz_bpe_left {
    uint32_t filter; /* one bit of 32 for each right side that there is: most pairs end here */
    uint32_t where;  /* its table's first pair << 5 | log2 of the table's size */
} mz_bpe_left;

enum { MZ_BPE_LITERAL = 1 << 30 };

/* Where a token's text lies in mz_bpe.bytes; start is UINT32_MAX where an id has no token. length
 * has MZ_BPE_LITERAL where the text is not of the byte-level alphabet. */
typedef struct mz_bpe_text {
    uint32_t start, length;
} mz_bpe_text;

/* A text of up to 8 bytes stands in its slot, so that finding it is one access to memory. */
typedef struct mz_bpe_slot {
    uint64_t word;       /* the text, or its hash */
    uint32_t length, id; /* id + 1, 0 where empty */
} mz_bpe_slot;

typedef struct mz_bpe {
    int64_t count; /* ids are below */
    char *bytes;   /* the text of all tokens, as bytes that they stand for */
    size_t bytes_used, bytes_cap;
    mz_bpe_text *texts; /* [count] */
    mz_bpe_slot *slots; /* text -> id */
    uint32_t slot_mask;
    mz_bpe_left *lefts; /* [count] */
    mz_bpe_pair *pairs;
    uint64_t *byte_joins; /* what two bytes next to each other become, as of bpe.c's joins() */
    int32_t byte_id[256]; /* -1 where a byte has no token: it is dropped */
    bool ignore_merges;   /* a piece that is a token is that token */
} mz_bpe;

/* tokens, merges of a description; `file` and the names are for messages. */
mz_err mz_bpe_init(mz_bpe *bpe, const mz_vocab *vocab);
void mz_bpe_clear(mz_bpe *bpe);

/* The bytes that a token's written form stands for (the byte-level alphabet), into out, which has
 * room for `bytes`. False if a character is not of that alphabet: the token is then literal and no
 * text ever becomes it. */
bool mz_bpe_unwrap(const char *text, size_t bytes, char *out, size_t *out_bytes);
/* The code point that a byte is written as. */
uint32_t mz_bpe_letter(unsigned char byte);

/* The id of exactly these bytes, -1 if they are no token. */
int32_t mz_bpe_find(const mz_bpe *bpe, const char *bytes, size_t n);

typedef struct mz_bpe_work {
    uint32_t *symbols;
    uint32_t *before, *after; /* these and the heap: of a long piece */
    struct mz_bpe_join *heap;
    size_t cap;
    /* of a short piece; not on the stack, where hardening zeroes them for each one */
    int32_t key[MZ_BPE_SHORT + 8];
    uint32_t id[MZ_BPE_SHORT];
    unsigned char next[MZ_BPE_SHORT + 1], last[MZ_BPE_SHORT + 1];
} mz_bpe_work;
void mz_bpe_work_clear(mz_bpe_work *work);

/* The ids of a piece of n > 0 bytes, into out, which has room for n. */
mz_err mz_bpe_piece(const mz_bpe *bpe, mz_bpe_work *work, const char *bytes, size_t n, int32_t *out,
                    size_t *count);

#endif
