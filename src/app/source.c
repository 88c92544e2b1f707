/* SPDX-License-Identifier: Apache-2.0 */
/* app/source.c - a folder, a tokenizer.json or a GGUF file. Floor: app. */
#include "app/source.h"
#include "port/text_source.h"

mz_err mz_app_open_tokenizer(mz_tokenizer **t, const char *source)
{
    return mz_source_tokenizer(t, source);
}

mz_err mz_app_open_chat(mz_chat_template *t, const char *source)
{
    return mz_source_chat(t, source);
}
