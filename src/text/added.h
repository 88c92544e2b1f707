/* SPDX-License-Identifier: Apache-2.0 */
/* text/added.h - finds added tokens in a text: leftmost, of those the longest.
 * Floor:  text. May use base. Inside text/ only.
 * Time:   O(text x longest token) at worst; one table look-up a byte where none begins. */
#ifndef MZ_TEXT_ADDED_H
#define MZ_TEXT_ADDED_H

#include "text/tokenizer.h"
#include "text/unicode.h"

typedef struct mz_added_token {
    size_t start, length; /* in mz_added.bytes */
    int32_t id;
    bool special, normalized, left, right;
} mz_added_token;

/* A node of a trie: children are a list by `next`. */
typedef struct mz_added_node {
    uint32_t child, next; /* 0: none (0 is the root) */
    int32_t token;        /* -1: none ends here */
    unsigned char byte;
} mz_added_node;

typedef struct mz_added_trie {
    mz_added_node *nodes;
    uint32_t count, cap;
    uint32_t first[256]; /* the root's children, 0: none */
} mz_added_trie;

typedef struct mz_added {
    mz_added_token *tokens;
    int64_t count;
    char *bytes;
    mz_added_trie raw, normalized; /* looked for before and after normalisation */
    int32_t *by_id;                /* [n_ids] index into tokens, -1 */
    int64_t n_ids;                 /* ids of added tokens are below */
} mz_added;

mz_err mz_added_init(mz_added *a, const mz_unicode *u, const mz_vocab *v);
void mz_added_clear(mz_added *a);

/* Looks in text[at..bytes) for the next token that lies in one of the spans (NULL: anywhere).
 * False if there is none; else *first and *end are what it covers. */
typedef struct mz_added_search {
    const mz_added *added;
    const mz_added_trie *trie;
    const mz_unicode *unicode;
    const char *text;
    size_t at, bytes;
    const mz_span *spans;
    int64_t n_spans;
    size_t shift; /* where text[0] lies in what the spans speak of */
} mz_added_search;
bool mz_added_next(mz_added_search *s, const mz_added_token **token, size_t *first, size_t *end);

#endif
