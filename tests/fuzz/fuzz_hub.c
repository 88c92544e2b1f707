/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_hub.c - model.safetensors.index.json of a folder with two shards. */
#include "tests/fuzz/fuzz.h"

#include "file/hub.h"
#include "port/source.h"

#include <string.h>

static const char CONFIG[] =
    "{\"model_type\":\"llama\",\"hidden_size\":2,\"intermediate_size\":2,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":1,\"vocab_size\":2,\"tie_word_embeddings\":true}";

/* One tensor of two F32. */
static void put_shard(const char *file, char tensor)
{
    unsigned char bytes[128] = {0};
    char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    const size_t n = sizeof header - 1;
    header[2] = tensor;
    bytes[0] = (unsigned char)n;
    memcpy(bytes + 8, header, n);
    mzf_put(file, bytes, 8 + n + 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    mz_hub *hub = NULL;
    if (!ready) {
        mzf_put("config.json", CONFIG, sizeof CONFIG - 1);
        put_shard("a", 'a');
        put_shard("b", 'b');
        ready = true;
    }
    mzf_begin();
    mzf_put("model.safetensors.index.json", data, size);
    const mz_err err = mz_hub_open(&hub, mzf_folder());
    mzf_answer(err, MZ_EIO);
    for (int64_t i = 0; err == MZ_OK && i < mz_hub_count(hub); i++) {
        const char *file = NULL;
        const mz_st_tensor *t = mz_hub_at(hub, i, &file);
        MZF_CHECK(strncmp(file, mzf_folder(), strlen(mzf_folder())) == 0 && !strstr(file, "/.."));
        MZF_CHECK(mz_hub_find(hub, t->name) == t);
    }
    mz_hub_close(hub);
    mzf_end();
    return 0;
}
