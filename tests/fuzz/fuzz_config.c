/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_config.c - JSON and config.json: the parser against the scanner, which was
 * written apart from it; a config that is read is written and read back to the same. */
#include "tests/fuzz/fuzz.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/scan.h"
#include "model/config.h"

#include <string.h>

/* Both follow RFC 8259. The parser refuses more (keys that stand twice, reals past a double). */
static void compare(const uint8_t *data, size_t size, bool parsed)
{
    mz_scan s = {.text = data, .end = size, .path = "input", .field = "", .nul = true};
    const bool scanned = mz_scan_skip(&s, 512) == MZ_OK && mz_scan_done(&s);
    MZF_CHECK(scanned || !parsed);
}

static void there_and_back(const mz_config *c)
{
    json_t *json = NULL;
    mz_config again;
    memset(&again, 0, sizeof again);
    MZF_CHECK(mz_config_to_json(&json, c) == MZ_OK);
    MZF_CHECK(mz_config_from_json(&again, json, "again") == MZ_OK);
    MZF_CHECK(again.family == c->family && again.width == c->width && again.layers == c->layers);
    MZF_CHECK(again.heads == c->heads && again.kv_heads == c->kv_heads);
    MZF_CHECK(again.head_dim == c->head_dim && again.vocab == c->vocab && again.tied == c->tied);
    MZF_CHECK(again.moe.experts == c->moe.experts && again.moe.top_k == c->moe.top_k);
    MZF_CHECK(again.rope.scaling == c->rope.scaling && again.rope.dims == c->rope.dims);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = NULL;
    mz_config c;
    mzf_begin();
    memset(&c, 0, sizeof c);
    mz_err err = mz_json_parse(&json, (const char *)data, size, "input");
    mzf_answer(err, MZ_ECORRUPT);
    compare(data, size, err == MZ_OK);
    if (err == MZ_OK) {
        err = mz_config_from_json(&c, json, "input");
        mzf_answer(err, MZ_ECONFIG);
        if (err == MZ_OK) there_and_back(&c);
    }
    json_decref(json);
    mzf_end();
    return 0;
}
