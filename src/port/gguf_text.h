/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_text.h - the tokenizer and the chat template that a GGUF file carries.
 *
 * Only byte-level BPE (tokenizer.ggml.model "gpt2"). Control and user-defined tokens are added
 * tokens, unused ones are none. What the file cannot say follows from tokenizer.ggml.pre: Qwen's
 * text is normalised, Llama-3's pieces that are tokens are taken whole.
 * Source: ggml, docs/gguf.md.
 * Floor:  port. May use text, file, base.
 * Errors: MZ_ECORRUPT with file, key and offset; MZ_ENOTSUP no tokenizer, or of another kind. */
#ifndef MZ_PORT_GGUF_TEXT_H
#define MZ_PORT_GGUF_TEXT_H

#include "file/gguf.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* The arrays that a tokenizer is made of, borrowed from the file. */
typedef struct mz_gguf_vocab mz_gguf_vocab;
mz_err mz_gguf_vocab_open(mz_gguf_vocab **v, const mz_gguf *file);
const mz_vocab *mz_gguf_vocab_of(const mz_gguf_vocab *v);
void mz_gguf_vocab_close(mz_gguf_vocab *v); /* NULL is legal */

mz_err mz_gguf_to_tokenizer(mz_tokenizer **t, const mz_gguf *file);
mz_err mz_gguf_to_chat(mz_chat_template *t, const mz_gguf *file);

#endif
