/* SPDX-License-Identifier: Apache-2.0 */
/* app/source.h - opens the tokenizer and the chat template of what a command line names.
 * Floor: app. */
#ifndef MZ_APP_SOURCE_H
#define MZ_APP_SOURCE_H

#include "text/chat.h"
#include "text/tokenizer.h"

/* source: a folder, a tokenizer.json or a GGUF file. */
mz_err mz_app_open_tokenizer(mz_tokenizer **t, const char *source);
mz_err mz_app_open_chat(mz_chat_template *t, const char *source);

#endif
