/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_tokenizer.c - a tokenizer.json, and what is encoded with one that was accepted.
 */
#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "text/tokenizer.h"

#include <string.h>

static const char TEXT[] = "The quick <s>brown\tfox 12345 caf\xc3\xa9\xff \xe4\xb8\xad\xe6\x96\x87"
                           "\r\n  jumped, it's \xf0\x9f\x98\x80 e\xcc\x81";

static void use(const mz_tokenizer *t)
{
    mz_encoder *e = NULL;
    mz_ids ids = {0};
    mz_str text = {0};
    MZF_CHECK(mz_encoder_new(&e, t) == MZ_OK);
    MZF_CHECK(mz_encode(e, TEXT, sizeof TEXT - 1, MZ_ENCODE_SPECIAL, &ids) == MZ_OK);
    for (size_t i = 0; i < ids.count; i++)
        MZF_CHECK(ids.at[i] >= 0 && ids.at[i] < mz_tokenizer_count(t));
    MZF_CHECK(mz_decode(t, ids.at, ids.count, false, &text) == MZ_OK);
    mz_str_clear(&text);
    mz_ids_clear(&ids);
    mz_encoder_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mz_tokenizer *t = NULL;
    mzf_begin();
    const mz_err err = mz_tokenizer_open(&t, mzf_file(0, data, size));
    mzf_answer(err, MZ_ENOTSUP);
    if (err == MZ_OK) {
        for (int64_t id = 0; id < mz_tokenizer_count(t) && id < 4096; id++) {
            const char *bytes;
            size_t n;
            if (mz_tokenizer_bytes(t, id, &bytes, &n)) (void)mz_tokenizer_find(t, bytes, n);
        }
        use(t);
    }
    mz_tokenizer_free(t);
    mzf_end();
    return 0;
}
