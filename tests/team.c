/* SPDX-License-Identifier: Apache-2.0 */
/* tests/team.c - see team.h. */
#include "tests/team.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "lib/chips.h"
#include "train/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 60, WORDS = 50 };

static char folder[512], network[TEAM_TEXT];

static void ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

const char *team_path(const char *name)
{
    static char path[8][TEAM_TEXT];
    static unsigned turn;
    char *p = path[turn++ % 8];
    ok(mz_path_join(p, sizeof path[0], folder, name));
    return p;
}

/* Lengths 4 .. 16. */
static void write_rows(void)
{
    mz_str s = {0};
    mz_rng rng;
    mz_rng_init(&rng, 3, 0);
    for (int i = 0; i < ROWS; i++) {
        const int n = 4 + (int)mz_rng_below(&rng, 13);
        for (int t = 0; t < n; t++)
            ok(mz_str_addf(&s, "%s%d", t ? ", " : "{\"ids\": [", (int)mz_rng_below(&rng, WORDS)));
        ok(mz_str_addf(&s, "]}\n"));
    }
    ok(mz_file_write(team_path("rows.jsonl"), s.text, s.len));
    mz_str_clear(&s);
}

int team_set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    const char *fast = mz_file_is_dir("/dev/shm") ? "/dev/shm" : "/tmp"; /* fsync costs nothing */
    (void)snprintf(folder, sizeof folder, "%s/mz-team-XXXXXX", tmp && *tmp ? tmp : fast);
    if (!mkdtemp(folder)) return -1;
    ok(mz_lib_register_chips());
    write_rows();
    team_network("model.path: tests/golden/llama");
    return 0;
}

int team_tear_down(void **state)
{
    (void)state;
    return mz_folder_remove(folder) == MZ_OK ? 0 : -1;
}

void team_network(const char *line)
{
    (void)snprintf(network, sizeof network, "%s", line);
}

const char *team_four_layers(bool tied, int mtp)
{
    static const char form[] =
        "{\"architectures\": [\"DeepseekV3ForCausalLM\"], \"model_type\": \"deepseek_v3\", "
        "\"attention_bias\": false, \"bos_token_id\": 0, \"eos_token_id\": 1, "
        "\"first_k_dense_replace\": 1, \"hidden_act\": \"silu\", \"hidden_size\": 28, "
        "\"initializer_range\": 0.08, \"intermediate_size\": 29, \"kv_lora_rank\": 12, "
        "\"max_position_embeddings\": 128, \"moe_intermediate_size\": 6, \"n_group\": 2, "
        "\"n_routed_experts\": 8, \"n_shared_experts\": 1, \"norm_topk_prob\": true, "
        "\"num_attention_heads\": 4, \"num_experts_per_tok\": 2, \"num_hidden_layers\": 4, "
        "\"num_key_value_heads\": 4, \"q_lora_rank\": 18, \"qk_nope_head_dim\": 8, "
        "\"qk_rope_head_dim\": 4, \"rms_norm_eps\": 1e-06, \"rope_scaling\": null, "
        "\"rope_theta\": 10000.0, \"routed_scaling_factor\": 2.5, \"scoring_func\": \"sigmoid\", "
        "\"tie_word_embeddings\": %s, \"num_nextn_predict_layers\": %d, \"topk_group\": 1, "
        "\"topk_method\": \"noaux_tc\", "
        "\"v_head_dim\": 8, \"vocab_size\": 53}";
    mz_str json = {0};
    ok(mz_str_addf(&json, form, tied ? "true" : "false", mtp));
    ok(mz_file_write(team_path("four.json"), json.text, json.len));
    mz_str_clear(&json);
    return team_path("four.json");
}

mz_train_config team_config(const char *name, int steps, const char *const *keys)
{
    static mz_train_config c; /* large */
    const char *words[16];
    char dir[TEAM_TEXT + 16], many[40];
    mz_str s = {0};
    int n = 0;
    ok(mz_str_addf(&s,
                   "%s\ndata: {path: %s, seq: 16}\nrun: {dir: none, checkpoint_every: 0, seed: 5}\n"
                   "batch: {global: 6, micro: 2}\noptim: {lr: 0.01}\n",
                   network, team_path("rows.jsonl")));
    ok(mz_file_write(team_path("train.yaml"), s.text, s.len));
    mz_str_clear(&s);
    (void)snprintf(dir, sizeof dir, "run.dir=%s", team_path(name));
    (void)snprintf(many, sizeof many, "run.steps=%d", steps);
    words[n++] = dir;
    words[n++] = many;
    for (; keys && *keys && n < 16; keys++) words[n++] = *keys;
    ok(mz_config_load(&c, team_path("train.yaml"), words, n));
    return c;
}

mz_err team_run(const mz_train_config *c, const mz_ranks_options *given)
{
    static const mz_train_hooks quiet;
    mz_ranks_options o = {.hooks = &quiet};
    if (given) o = *given;
    if (!o.hooks) o.hooks = &quiet;
    o.chip.threads = 1;
    return mz_train_ranks(c, &o);
}

void team_must_run(const char *name, int steps, const char *const *keys)
{
    const mz_train_config c = team_config(name, steps, keys);
    ok(team_run(&c, NULL));
}

int team_losses(const char *name, double *out, int most)
{
    char file[TEAM_TEXT], line[1024];
    int n = 0;
    (void)snprintf(file, sizeof file, "%s/log.jsonl", team_path(name));
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (n < most && fgets(line, sizeof line, f)) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        assert_int_equal(json_integer_value(json_object_get(o, "step")), n + 1);
        out[n++] = json_number_value(json_object_get(o, "loss"));
        json_decref(o);
    }
    assert_int_equal(fclose(f), 0);
    return n;
}

void team_hash(const char *name, char out[160])
{
    static const char *const files[] = {"model.safetensors", "optimizer.safetensors"};
    char step[MZ_CHECKPOINT_PATH], path[MZ_CHECKPOINT_PATH], hex[2][MZ_SHA256_HEX];
    json_t *state = NULL;
    ok(mz_checkpoint_newest(team_path(name), step, &state));
    assert_non_null(state);
    json_decref(state);
    for (int i = 0; i < 2; i++) {
        ok(mz_path_join(path, sizeof path, step, files[i]));
        if (!mz_file_exists(path))
            ok(mz_path_join(path, sizeof path, step, "adapter_model.safetensors"));
        ok(mz_sha256_file(hex[i], path, NULL));
    }
    (void)snprintf(out, 160, "%s %s", hex[0], hex[1]);
}

static void copy_file(const char *from, const char *to)
{
    mz_map map;
    ok(mz_map_open(&map, from));
    ok(mz_file_write(to, map.data ? (const void *)map.data : "", map.bytes));
    mz_map_close(&map);
}

static void copy_folder(const char *from, const char *to)
{
    mz_names names;
    ok(mz_file_mkdirs(to));
    ok(mz_folder_list(&names, from));
    for (int64_t i = 0; i < names.n; i++) {
        char a[TEAM_TEXT * 2], b[TEAM_TEXT * 2];
        ok(mz_path_join(a, sizeof a, from, names.list[i]));
        ok(mz_path_join(b, sizeof b, to, names.list[i]));
        if (mz_file_is_dir(a))
            copy_folder(a, b);
        else
            copy_file(a, b);
    }
    mz_names_clear(&names);
}

void team_copy(const char *from, const char *to)
{
    char a[TEAM_TEXT], b[TEAM_TEXT];
    (void)snprintf(a, sizeof a, "%s", team_path(from));
    (void)snprintf(b, sizeof b, "%s", team_path(to));
    copy_folder(a, b);
}

void team_remove(const char *name)
{
    ok(mz_folder_remove(team_path(name)));
}
