/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_safetensors.c - a file of weights: opened, and what it then promises. */
#include "tests/fuzz/fuzz.h"

#include "file/safetensors.h"

#include <string.h>

static void look(const mz_st_file *f, size_t size)
{
    uint64_t at = 0, sum = 0;
    for (int64_t i = 0; i < mz_st_count(f); i++) {
        const mz_st_tensor *t = mz_st_at(f, i);
        int64_t n = 1;
        MZF_CHECK(mz_st_find(f, t->name) == t);
        for (int k = 0; k < t->rank; k++) n *= t->dim[k];
        MZF_CHECK(n == t->count && t->offset <= size && t->bytes <= size - t->offset);
        MZF_CHECK(i == 0 || t->offset == at);
        MZF_CHECK((uint64_t)n * (uint64_t)mz_dtype_bits(t->dtype) == t->bytes * 8);
        at = t->offset + t->bytes;
        const unsigned char *p = t->data;
        for (uint64_t k = 0; k < t->bytes; k++) sum += p[k];
    }
    MZF_CHECK(mz_st_count(f) == 0 || at == size);
    for (int64_t i = 0; i < mz_st_meta_count(f); i++) {
        const char *key, *value;
        mz_st_meta_at(f, i, &key, &value);
        sum += strlen(key) + strlen(value);
    }
    MZF_CHECK(sum != UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mz_st_file *f = NULL;
    mzf_begin();
    const mz_err err = mz_st_open(&f, mzf_file(0, data, size));
    mzf_answer(err, MZ_ECORRUPT);
    if (err == MZ_OK)
        look(f, size);
    else
        MZF_CHECK(mz_err_last()->offset >= 0);
    mz_st_close(f);
    mzf_end();
    return 0;
}
