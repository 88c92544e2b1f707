/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo_text.c - what the demonstration trains on, and the network that it trains. Floor: app.
 */
#include "app/demo.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "train/bytes.h"

#include <stdio.h>
#include <string.h>

static const char *const TEXTS[] = {"/usr/share/games/fortunes", "/usr/share/fortune",
                                    "/usr/share/games/fortune"};

/* In the fortunes' files a line of '%' stands between two; a blank line reads better. */
static size_t without_marks(char *text, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        const bool begins = i == 0 || text[i - 1] == '\n';
        if (begins && text[i] == '%' && i + 1 < n && text[i + 1] == '\n') continue;
        if (text[i] == '\r' || text[i] == '\b') continue;
        text[to++] = text[i];
    }
    return to;
}

/* SHA-256 of the text that the folder's tokenizer, shards and held-out part were made from. */
static const char SUM[] = "text.sha256";

/* The tokenizer and what it made of the text stay: another text would be judged by pieces of it
 * that the network has seen. */
static mz_err must_be_the_same(const mz_demo *d, const char *path, const char *text, size_t n)
{
    char hex[MZ_SHA256_HEX] = "", *was = NULL;
    size_t length = 0;
    MZ_TRY(mz_sha256(hex, text, n));
    MZ_TRY(mz_file_read(mz_demo_path(d, SUM), MZ_SHA256_HEX, &was, &length));
    const bool same = strcmp(was, hex) == 0;
    mz_mem_free(was);
    if (same) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "%s was begun with another text than %s", d->out, path);
    mz_note_fix("name another folder with --out, or leave --text out to go on with its text");
    return err;
}

/* Every twentieth piece of 4 KiB, cut at ends of lines, is held out: the text is of many kinds, one
 * file after the other, and its end would be of one. */
static mz_err split(const mz_demo *d, const char *text, size_t n)
{
    enum { PIECE = 4096, EVERY = 20, AT = 7 };
    mz_str part[2] = {{0}, {0}};
    mz_err err = MZ_OK;
    for (size_t at = 0, piece = 0; at < n && err == MZ_OK; piece++) {
        size_t end = at + PIECE < n ? at + PIECE : n;
        while (end < n && text[end - 1] != '\n') end++;
        err = mz_str_add(&part[piece % EVERY == AT], text + at, end - at);
        at = end;
    }
    if (err == MZ_OK && part[1].len < PIECE)
        err = MZ_FAIL(MZ_ECORRUPT, "%zu bytes of text are too few to train on", n);
    if (err == MZ_OK) err = mz_file_write(mz_demo_path(d, "held.txt"), part[1].text, part[1].len);
    char hex[MZ_SHA256_HEX] = "";
    if (err == MZ_OK) err = mz_sha256(hex, text, n);
    if (err == MZ_OK) err = mz_file_write(mz_demo_path(d, SUM), hex, strlen(hex));
    if (err == MZ_OK) err = mz_file_write(mz_demo_path(d, "train.txt"), part[0].text, part[0].len);
    mz_str_clear(&part[0]);
    mz_str_clear(&part[1]);
    return err;
}

const char *mz_demo_text_place(void)
{
    for (int i = 0; i < MZ_COUNT(TEXTS); i++)
        if (mz_file_is_dir(TEXTS[i])) return TEXTS[i];
    return NULL;
}

mz_err mz_demo_text(const mz_demo *d)
{
    const char *path = d->text;
    mz_bytes b = {0};
    if (mz_demo_has(d, "train.txt") && !d->text) return MZ_OK;
    if (!path) path = mz_demo_text_place();
    if (!path) {
        const mz_err err = MZ_FAIL(MZ_EIO, "no English text was found to train on");
        mz_note_fix("`scripts/setup demo` installs some, or name a file with --text");
        return err;
    }
    mz_err err = mz_bytes_add(&b, path);
    if (err == MZ_OK) {
        const size_t n = without_marks((char *)b.text, b.len);
        err = mz_demo_has(d, "train.txt") ? must_be_the_same(d, path, (char *)b.text, n)
                                          : split(d, (char *)b.text, n);
        if (err == MZ_OK)
            fprintf(stderr, "text       %.1f MB of English from %s\n", (double)n / 1e6, path);
    }
    mz_bytes_clear(&b);
    return err;
}

/* 4.7 million parameters. */
static const char NETWORK[] =
    "{\"architectures\": [\"DeepseekV3ForCausalLM\"], \"model_type\": \"deepseek_v3\",\n"
    " \"vocab_size\": %d, \"hidden_size\": 256, \"intermediate_size\": 512,\n"
    " \"moe_intermediate_size\": 128, \"num_hidden_layers\": 3, \"first_k_dense_replace\": 1,\n"
    " \"n_routed_experts\": 8, \"num_experts_per_tok\": 2, \"n_shared_experts\": 1,\n"
    " \"n_group\": 1, \"topk_group\": 1, \"norm_topk_prob\": true, \"routed_scaling_factor\": "
    "1.0,\n"
    " \"scoring_func\": \"sigmoid\", \"topk_method\": \"noaux_tc\",\n"
    " \"num_attention_heads\": 4, \"num_key_value_heads\": 4, \"q_lora_rank\": null,\n"
    " \"kv_lora_rank\": 64, \"qk_nope_head_dim\": 32, \"qk_rope_head_dim\": 16,\n"
    " \"v_head_dim\": 32, \"num_nextn_predict_layers\": 1, \"attention_bias\": false,\n"
    " \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0,\n"
    " \"rope_interleave\": true, \"max_position_embeddings\": 1024, \"initializer_range\": 0.02,\n"
    " \"tie_word_embeddings\": false, \"eos_token_id\": 0, \"bos_token_id\": null,\n"
    " \"torch_dtype\": \"float32\"}\n";

mz_err mz_demo_network(const mz_demo *d)
{
    char text[sizeof NETWORK + 32];
    const int n = snprintf(text, sizeof text, NETWORK, MZ_DEMO_VOCAB);
    return mz_file_write(mz_demo_path(d, "config.json"), text, (size_t)n);
}
