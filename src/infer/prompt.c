/* SPDX-License-Identifier: Apache-2.0 */
/* infer/prompt.c - see prompt.h. */
#include "infer/prompt.h"

mz_err mz_prompt_text(const mz_tokenizer *t, const char *text, size_t bytes, mz_ids *ids)
{
    mz_encoder *e = NULL;
    MZ_NEED(t && (text || bytes == 0) && ids, "no tokenizer, text or place for ids");
    const unsigned flags = mz_tokenizer_adds_bos(t) ? MZ_ENCODE_BOS : 0u;
    MZ_TRY(mz_encoder_new(&e, t));
    const mz_err err = mz_encode(e, text, bytes, flags, ids);
    mz_encoder_free(e);
    return err;
}

mz_err mz_prompt_bos(const mz_tokenizer *t, mz_str *out)
{
    const char *bytes;
    size_t n;
    out->len = 0;
    MZ_TRY(mz_str_add(out, "", 0));
    if (!mz_tokenizer_bytes(t, mz_tokenizer_bos(t), &bytes, &n)) return MZ_OK;
    return mz_str_add(out, bytes, n);
}

mz_err mz_prompt_chat(mz_encoder *e, const mz_chat_template *template_of,
                      const mz_chat_message *messages, int64_t n, const mz_chat_options *o,
                      mz_ids *ids)
{
    mz_chat_text text = {0};
    mz_err err = mz_chat_render(template_of, messages, n, o, &text);
    if (err == MZ_OK)
        err = mz_encode_spans(e, text.text.text, text.text.len, text.trusted, text.n_trusted, ids);
    mz_chat_clear(&text);
    return err;
}
