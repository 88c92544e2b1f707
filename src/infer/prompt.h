/* SPDX-License-Identifier: Apache-2.0 */
/* infer/prompt.h - what people say as the ids that a model is fed: a text, or a conversation.
 *
 * Floor:  infer. May use text, base.
 * Errors: those of text/tokenizer.h and text/chat.h. On failure ids are as before. */
#ifndef MZ_INFER_PROMPT_H
#define MZ_INFER_PROMPT_H

#include "text/chat.h"
#include "text/tokenizer.h"

/* Appends the ids of a text to go on with: special tokens in it are only text; the model's begin
 * token is put first where it wants one. */
mz_err mz_prompt_text(const mz_tokenizer *t, const char *text, size_t bytes, mz_ids *ids);

/* The begin token's text, "" if there is none. Overwrites out. */
mz_err mz_prompt_bos(const mz_tokenizer *t, mz_str *out);
/* Appends the ids of a conversation: what the template writes is special, what people wrote is only
 * text. o->bos is of mz_prompt_bos. */
mz_err mz_prompt_chat(mz_encoder *e, const mz_chat_template *template_of,
                      const mz_chat_message *messages, int64_t n, const mz_chat_options *o,
                      mz_ids *ids);

#endif
