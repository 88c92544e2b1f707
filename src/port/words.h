/* SPDX-License-Identifier: Apache-2.0 */
/* port/words.h - what travels with a model's weights beside them: its tokenizer, the chat template
 * and the tokens that begin, end and fill texts, out of a folder or a GGUF and into the other.
 *
 * What a GGUF cannot say (tokens that swallow white space, a normalisation that its pre-tokeniser
 * does not imply) is said in the log.
 * Floor:  port. May use text, file, model, base.
 * Owner:  mz_words borrows from the source, which must stay open; clear frees the rest.
 * Errors: those of reading; MZ_ECONFIG: more tokens than the model has rows. */
#ifndef MZ_PORT_WORDS_H
#define MZ_PORT_WORDS_H

#include "port/generation.h"
#include "port/gguf_text.h"

typedef struct mz_words {
    const mz_vocab *vocab; /* NULL: the model brings no tokenizer */
    mz_generation generation;
    int64_t eos, pad; /* of the tokenizer, -1 = none; eos also among generation.ends */
    mz_str chat;      /* its template's text; empty if there is none */
    mz_vocab_file *file;
    mz_gguf_vocab *gguf;
} mz_words;

/* Zero it before. */
mz_err mz_words_read(mz_words *w, const mz_source *s);
/* Of a GGUF that may hold no model. */
mz_err mz_words_of_gguf(mz_words *w, const mz_gguf *file);
void mz_words_clear(mz_words *w);

/* tokenizer.* keys for a model with so many rows; rows without a token are unused ones. */
mz_err mz_words_to_gguf(const mz_words *w, mz_gguf_writer *g, int64_t rows);
/* tokenizer.json, tokenizer_config.json and generation_config.json. positions: of the model, 0 =
 * unknown. */
mz_err mz_words_to_folder(const mz_words *w, const char *folder, int64_t positions);

#endif
