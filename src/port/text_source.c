/* SPDX-License-Identifier: Apache-2.0 */
/* port/text_source.c - see text_source.h. */
#include "port/text_source.h"

#include "base/file.h"
#include "port/gguf_text.h"

static bool is_gguf(const char *source)
{
    return !mz_file_is_dir(source) && mz_gguf_is(source);
}

/* A file whose very first byte is wrong may have been meant as a model too. */
static mz_err open_json(mz_tokenizer **t, const char *source)
{
    mz_err err = mz_tokenizer_open(t, source);
    if (err != MZ_ECORRUPT || mz_err_last()->offset != 0 || mz_file_is_dir(source)) return err;
    err = MZ_FAIL(MZ_ECORRUPT, "%s begins neither as a GGUF file nor as a tokenizer.json", source);
    mz_note_where(source, "header", 0);
    return err;
}

mz_err mz_source_tokenizer(mz_tokenizer **t, const char *source)
{
    mz_gguf *file = NULL;
    if (!is_gguf(source)) return open_json(t, source);
    MZ_TRY(mz_gguf_open(&file, source));
    const mz_err err = mz_gguf_to_tokenizer(t, file);
    mz_gguf_close(file);
    return err;
}

mz_err mz_source_chat(mz_chat_template *t, const char *source)
{
    mz_gguf *file = NULL;
    if (!is_gguf(source)) return mz_chat_open(t, source);
    MZ_TRY(mz_gguf_open(&file, source));
    const mz_err err = mz_gguf_to_chat(t, file);
    mz_gguf_close(file);
    return err;
}
