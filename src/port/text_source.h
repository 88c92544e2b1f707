/* SPDX-License-Identifier: Apache-2.0 */
/* port/text_source.h - tokenizer and chat template wherever they come from: a folder, a
 * tokenizer.json or a GGUF file.
 *
 * Floor:  port. May use text, file, base.
 * Errors: those of text/tokenizer.h, text/chat.h and port/gguf_text.h. */
#ifndef MZ_PORT_TEXT_SOURCE_H
#define MZ_PORT_TEXT_SOURCE_H

#include "text/chat.h"
#include "text/tokenizer.h"

mz_err mz_source_tokenizer(mz_tokenizer **t, const char *source);
mz_err mz_source_chat(mz_chat_template *t, const char *source);

#endif
