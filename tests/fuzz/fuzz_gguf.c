/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_gguf.c - a GGUF: opened, every value looked at, its network, its tokenizer and
 * its chat template read. */
#include "tests/fuzz/fuzz.h"

#include "file/gguf.h"
#include "port/gguf.h"
#include "port/gguf_text.h"

static uint64_t look_at_keys(const mz_gguf *f)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < mz_gguf_key_count(f); i++) {
        const mz_gguf_key *key = mz_gguf_key_at(f, i);
        const char *text;
        size_t bytes;
        int64_t whole;
        double real;
        MZF_CHECK(mz_gguf_key_find(f, key->name) == key);
        for (uint64_t at = 0; mz_gguf_text_next(key, &at, &text, &bytes);)
            for (size_t k = 0; k < bytes; k++) sum += (unsigned char)text[k];
        for (uint64_t k = 0; k < key->count && mz_gguf_real(key, k, &real); k++) sum += real > 0.0;
        for (uint64_t k = 0; k < key->count && mz_gguf_int(key, k, &whole); k++) sum += whole > 0;
    }
    return sum;
}

static void look(const mz_gguf *f, size_t size)
{
    uint64_t sum = look_at_keys(f);
    for (int64_t i = 0; i < mz_gguf_count(f); i++) {
        const mz_gguf_tensor *t = mz_gguf_at(f, i);
        float y[256];
        MZF_CHECK(mz_gguf_find(f, t->name) == t);
        MZF_CHECK(t->offset <= size && t->bytes <= size - t->offset && t->count > 0);
        const unsigned char *p = t->data;
        for (uint64_t k = 0; k < t->bytes; k++) sum += p[k];
        const int64_t block = mz_ggml_block(t->type), most = 256 / block * block;
        if (mz_ggml_can_expand(t->type))
            MZF_CHECK(mz_ggml_expand(t->type, y, t->data, t->count < most ? t->count : most) ==
                      MZ_OK);
    }
    MZF_CHECK(sum != UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mz_gguf *f = NULL;
    mz_config c;
    mz_tokenizer *t = NULL;
    mz_chat_template chat;
    mzf_begin();
    const mz_err err = mz_gguf_open(&f, mzf_file(0, data, size));
    mzf_answer(err, MZ_ECORRUPT);
    if (err == MZ_OK) {
        look(f, size);
        mzf_answer(mz_gguf_to_config(&c, f), MZ_ENOTSUP);
        mzf_answer(mz_gguf_to_tokenizer(&t, f), MZ_ENOTSUP);
        mzf_answer(mz_gguf_to_chat(&chat, f), MZ_ENOTSUP);
    } else {
        MZF_CHECK(mz_err_last()->offset >= 0);
    }
    mz_tokenizer_free(t);
    mz_gguf_close(f);
    mzf_end();
    return 0;
}
