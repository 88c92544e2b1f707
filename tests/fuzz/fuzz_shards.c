/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_shards.c - a shard of token ids. Its checksums are made right where they have a
 * place, because nothing gets past wrong ones. */
#include "tests/fuzz/fuzz.h"

#include "file/shards.h"
#include "file/shards_parts.h"

#include <string.h>

enum { MOST = 1 << 16 };

static uint64_t number(const uint8_t *p)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) x = x << 8 | p[i];
    return x;
}

static void put_sum(uint8_t *to, const uint8_t *bytes, size_t n)
{
    uint64_t sum = 0;
    MZF_CHECK(mz_shard_sum(&sum, bytes, n) == MZ_OK);
    for (int i = 0; i < 8; i++) to[i] = (uint8_t)(sum >> 8 * i);
}

/* One block: what is fuzzed is shorter than that. */
static void make_true(uint8_t *bytes, size_t size)
{
    if (size < MZ_SHARD_HEAD + MZ_SHARD_FOOT + 8) return;
    const size_t foot = size - MZ_SHARD_FOOT;
    const uint64_t body = number(bytes + foot + 32);
    if (body + 8 != foot || body > foot) return;
    put_sum(bytes + body, bytes, (size_t)body);
    put_sum(bytes + size - 8, bytes + body, size - 8 - (size_t)body);
}

static void look(mz_shards *s)
{
    int32_t ids[64];
    const int64_t n = mz_shards_ids(s);
    MZF_CHECK(mz_shards_verify(s) == MZ_OK);
    for (int64_t at = 0; at < n; at += 64) {
        const int64_t some = n - at < 64 ? n - at : 64;
        const mz_err err = mz_shards_read(s, at, some, ids);
        mzf_answer(err, MZ_ECORRUPT);
    }
    for (int64_t d = 0; d < mz_shards_documents(s); d++) {
        const int64_t start = mz_shards_document_start(s, d);
        MZF_CHECK(start >= 0 && start < n && mz_shards_document_of(s, start) == d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[MOST];
    static const char about[] = "{\"schema\":1,\"vocab\":1000,\"train\":{\"shards\":[{\"name\":"
                                "\"train-00000.tokens\"}]},\"validation\":{\"shards\":[]}}";
    mz_shards *s = NULL;
    if (size > MOST) return 0;
    mzf_begin();
    if (size > 0) memcpy(bytes, data, size);
    make_true(bytes, size);
    mzf_put("data.json", about, sizeof about - 1);
    mzf_put("train-00000.tokens", bytes, size);
    const mz_err err = mz_shards_open(&s, mzf_folder(), MZ_PART_TRAIN);
    mzf_answer(err, MZ_ENOTSUP);
    if (err == MZ_OK) look(s);
    mz_shards_close(s);
    mzf_end();
    return 0;
}
