/* SPDX-License-Identifier: Apache-2.0 */
/* text/tokenizer.h - text to token ids and back.
 *
 *   mz_tokenizer   the vocabulary; read-only once opened, shared by any number of threads
 *   mz_encoder     one thread's memory for encoding (a cache of pieces, scratch)
 *   mz_decoder     one stream of ids; gives out whole characters only
 *
 * Byte-level byte pair encoding as the tokenizers library does it, from a tokenizer.json or from
 * the arrays of a GGUF. Any bytes are text: what is not UTF-8 goes through unchanged.
 * Floor:  text. May use tensor, base.
 * Time:   encoding is O(n log n) in the worst case, whatever the text.
 * Repeat: bitwise.
 * Errors: MZ_ECORRUPT damaged, with file, field and offset; MZ_ENOTSUP a kind of tokenizer that is
 *         not built in (the message lists what is); MZ_EIO; MZ_ENOMEM. */
#ifndef MZ_TEXT_TOKENIZER_H
#define MZ_TEXT_TOKENIZER_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mz_tokenizer mz_tokenizer;
typedef struct mz_encoder mz_encoder;

/* ---- opening ---- */

/* path: a folder that holds tokenizer.json, or that file. Beside it are read, where they exist:
 * tokenizer_config.json (bos_token, eos_token, add_bos_token) and generation_config.json
 * (bos_token_id, eos_token_id). */
mz_err mz_tokenizer_open(mz_tokenizer **t, const char *path);

/* A vocabulary as plain arrays, written in the byte-level alphabet (as GGUF and tokenizer.json
 * have it). Everything is borrowed for the call. */
typedef struct mz_vocab_token {
    const char *text;
    size_t bytes;
    int64_t id;
} mz_vocab_token;

typedef struct mz_vocab_merge { /* by rank; a and b are tokens, and so is ab */
    const char *a, *b;
    size_t a_bytes, b_bytes;
} mz_vocab_merge;

typedef struct mz_vocab_added { /* matched in the text before anything is cut */
    const char *text;           /* as it stands in the text, not in the byte-level alphabet */
    size_t bytes;
    int64_t id;
    bool special;     /* control, not content */
    bool normalized;  /* looked for after normalisation */
    bool left, right; /* swallows white space on that side */
} mz_vocab_added;

typedef struct mz_vocab {
    const mz_vocab_token *tokens;
    const mz_vocab_merge *merges;
    const mz_vocab_added *added;
    int64_t n_tokens, n_merges, n_added;
    const char *split; /* a name of mz_tokenizer_splits, or of tokenizer.ggml.pre */
    bool nfc;          /* normalise to NFC first */
    bool ignore_merges;
    int64_t unknown;    /* the id of bytes that are no token; -1: they are dropped */
    int64_t bos;        /* -1: none */
    bool add_bos;       /* the model wants bos first */
    const int64_t *eos; /* ids that end a text */
    int64_t n_eos;
    const char *file; /* for messages */
} mz_vocab;
mz_err mz_tokenizer_from_vocab(mz_tokenizer **t, const mz_vocab *vocab);
void mz_tokenizer_free(mz_tokenizer *t); /* NULL is legal */

/* What a tokenizer.json says as such arrays. path: as for mz_tokenizer_open. The vocabulary is
 * borrowed until close. */
typedef struct mz_vocab_file mz_vocab_file;
mz_err mz_vocab_open(mz_vocab_file **f, const char *path);
const mz_vocab *mz_vocab_of(const mz_vocab_file *f);
void mz_vocab_close(mz_vocab_file *f); /* NULL is legal */
/* The other way: a tokenizer.json that the tokenizers library reads to the same ids. MZ_ENOTSUP for
 * a token whose text is not UTF-8. */
mz_err mz_vocab_write(const mz_vocab *vocab, const char *path);

/* ---- what is in it ---- */

int64_t mz_tokenizer_count(const mz_tokenizer *t); /* ids are below; not each need be a token */
/* The bytes that an id stands for; false if it is no token. Borrowed. Special ones give their
 * name. */
bool mz_tokenizer_bytes(const mz_tokenizer *t, int64_t id, const char **bytes, size_t *n);
/* The id of exactly these bytes (an added token, else one of the vocabulary), -1 if none. */
int64_t mz_tokenizer_find(const mz_tokenizer *t, const char *bytes, size_t n);
bool mz_tokenizer_is_special(const mz_tokenizer *t, int64_t id);
int64_t mz_tokenizer_bos(const mz_tokenizer *t); /* -1: none */
bool mz_tokenizer_adds_bos(const mz_tokenizer *t);
bool mz_tokenizer_is_eos(const mz_tokenizer *t, int64_t id);
int64_t mz_tokenizer_eos_count(const mz_tokenizer *t);
int64_t mz_tokenizer_eos(const mz_tokenizer *t, int64_t i);
const char *mz_tokenizer_split(const mz_tokenizer *t); /* the pre-tokeniser's name */
/* What a GGUF calls that pre-tokeniser (tokenizer.ggml.pre), given any of its names; NULL if it is
 * not built in. */
const char *mz_tokenizer_gguf_pre(const char *split);
/* "gpt-2, smollm, ...": what is built in. */
const char *mz_tokenizer_splits(void);

/* ---- encoding ---- */

typedef struct mz_ids {
    int32_t *at; /* of mz_mem_new; NULL while empty */
    size_t count, cap;
} mz_ids;
mz_err mz_ids_add(mz_ids *ids, int64_t id);
void mz_ids_clear(mz_ids *ids);

/* Bytes [first,end) of a text. */
typedef struct mz_span {
    size_t first, end;
} mz_span;

enum {
    MZ_ENCODE_SPECIAL = 1, /* added tokens in the text are what they say; else text is only text */
    MZ_ENCODE_BOS = 2,     /* bos first; MZ_ENOTSUP if the tokenizer has none */
};

/* The tokenizer must live as long. */
mz_err mz_encoder_new(mz_encoder **e, const mz_tokenizer *t);
void mz_encoder_free(mz_encoder *e); /* NULL is legal */
/* Appends to ids. On failure ids are as before. */
mz_err mz_encode(mz_encoder *e, const char *text, size_t bytes, unsigned flags, mz_ids *ids);
/* Added tokens are seen only where they lie inside one of the spans (ascending, apart): what a
 * template wrote is trusted, what a user typed between is only text. */
mz_err mz_encode_spans(mz_encoder *e, const char *text, size_t bytes, const mz_span *trusted,
                       int64_t n_trusted, mz_ids *ids);

/* ---- decoding ---- */

/* Appends the bytes of ids to out, whatever they are. skip_special leaves special tokens out. An
 * id that is no token is MZ_ECORRUPT. */
mz_err mz_decode(const mz_tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                 mz_str *out);

typedef struct mz_decoder {
    const mz_tokenizer *tokenizer;
    bool skip_special;
    int held_bytes;
    char held[4]; /* the beginning of a character */
} mz_decoder;
void mz_decoder_init(mz_decoder *d, const mz_tokenizer *t, bool skip_special);
/* Appends the characters that are whole now; bytes that can never become one are U+FFFD. An id
 * that is no token (padding of a model's vocabulary) adds nothing. */
mz_err mz_decoder_put(mz_decoder *d, int64_t id, mz_str *out);
/* What is left at the end is U+FFFD. */
mz_err mz_decoder_end(mz_decoder *d, mz_str *out);

#endif
