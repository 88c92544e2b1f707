/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_balance.c - a router that does not learn and prefers some experts: the selection
 * bias alone evens their loads out, at 160 tokens an expert and a rate of 0.01, in 500 steps.
 *
 * It takes seconds because it is the figure that counts: what it comes to, not that it moves. */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "file/safetensors.h"
#include "tests/e2e/program.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 500, LAST = 50, EXPERTS = 16, TOP = 4, EACH = 160, SEQ = 64, VOCAB = 512 };
enum { ROWS = EXPERTS * EACH / TOP / SEQ };

static const char NETWORK[] =
    "{\"model_type\":\"deepseek_v3\",\"architectures\":[\"DeepseekV3ForCausalLM\"],"
    "\"vocab_size\":512,\"hidden_size\":24,\"intermediate_size\":32,\"moe_intermediate_size\":8,"
    "\"num_hidden_layers\":2,\"first_k_dense_replace\":1,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":2,\"n_routed_experts\":16,\"n_shared_experts\":1,"
    "\"num_experts_per_tok\":4,\"n_group\":1,\"topk_group\":1,\"routed_scaling_factor\":1.0,"
    "\"norm_topk_prob\":true,\"q_lora_rank\":null,\"kv_lora_rank\":8,\"qk_nope_head_dim\":8,"
    "\"qk_rope_head_dim\":4,\"v_head_dim\":8,\"scoring_func\":\"sigmoid\","
    "\"topk_method\":\"noaux_tc\",\"num_nextn_predict_layers\":0,"
    "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,\"rope_theta\":10000,"
    "\"tie_word_embeddings\":false,\"initializer_range\":0.4,\"hidden_act\":\"silu\","
    "\"bos_token_id\":null,\"eos_token_id\":null}";

static void put_file(const char *name, const char *text)
{
    assert_int_equal(mz_file_write(program_path(name), text, strlen(text)), MZ_OK);
}

/* New rows in every step. */
static void write_rows(void)
{
    mz_str s = {0};
    mz_rng rng;
    mz_rng_init(&rng, 3, 0);
    for (int row = 0; row < ROWS * 100; row++)
        for (int t = 0; t <= SEQ; t++)
            assert_int_equal(mz_str_addf(&s, "%s%d%s", t ? "," : "{\"ids\":[",
                                         (int)mz_rng_below(&rng, VOCAB), t < SEQ ? "" : "]}\n"),
                             MZ_OK);
    put_file("rows.jsonl", s.text);
    mz_str_clear(&s);
}

/* model: a key and its value; more: further lines. */
static void train(const char *model, const char *run, const char *more)
{
    mz_str s = {0};
    assert_int_equal(mz_str_addf(&s,
                                 "%s\ndata: {path: %s, seq: %d}\nbatch: {global: %d, micro: %d}\n"
                                 "run: {dir: %s, checkpoint_every: 0}\noptim.lr: 0\n%s",
                                 model, program_path("rows.jsonl"), SEQ, ROWS, ROWS,
                                 program_path(run), more),
                     MZ_OK);
    put_file("m.yaml", s.text);
    mz_str_clear(&s);
    const char *words[] = {"train", program_path("m.yaml"), "--threads", "2", NULL};
    if (program_run(words) != 0) fail_msg("%s", program_text("err"));
}

/* A checkpoint of random weights whose router has a liking: up to 1.5 on top of scores below 1, so
 * that at first the same four experts get every token. */
static void skew(void)
{
    char key[PATH_BYTES + 32];
    mz_st_file *file = NULL;
    put_file("network.json", NETWORK);
    (void)snprintf(key, sizeof key, "model.config: %s", program_path("network.json"));
    train(key, "first", "run.steps: 1\n");
    const char *path = program_path("first/checkpoints/step-00000001/model.safetensors");
    assert_int_equal(mz_st_open(&file, path), MZ_OK);
    const mz_st_tensor *t = mz_st_find(file, "model.layers.1.mlp.gate.e_score_correction_bias");
    assert_non_null(t);
    assert_true(t->dtype == MZ_F32 && t->count == EXPERTS);
    const long at = (long)t->offset;
    mz_st_close(file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    for (int e = 0; e < EXPERTS; e++) {
        const float x = 1.5f * (float)(e * 7 % EXPERTS) / (float)(EXPERTS - 1);
        assert_int_equal(fwrite(&x, sizeof x, 1, f), 1);
    }
    assert_int_equal(fclose(f), 0);
}

static void test_balance(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    double load[STEPS] = {0}, last = 0.0, most = 0.0;
    char key[PATH_BYTES + 32];
    write_rows();
    skew();
    (void)snprintf(key, sizeof key, "model.path: %s",
                   program_path("first/checkpoints/step-00000001"));
    train(key, "run", "run.steps: 500\nmoe.bias_rate: 0.01\n");
    assert_int_equal(mz_file_read(program_path("run/log.jsonl"), 1 << 24, &text, &bytes), MZ_OK);
    const char *at = text;
    for (int i = 0; i < STEPS; i++) {
        json_t *o = json_loadb(at, strcspn(at, "\n"), 0, NULL);
        const json_t *x = json_object_get(o, "expert_load");
        assert_true(json_is_number(x));
        load[i] = json_number_value(x);
        json_decref(o);
        at += strcspn(at, "\n") + 1;
    }
    mz_mem_free(text);
    for (int i = STEPS - LAST; i < STEPS; i++) {
        last += load[i] / LAST;
        most = fmax(most, load[i]);
    }
    /* Of the last steps' loads taken together it is no more than that mean: the largest of sums is
     * at most the sum of the largest, and each step has as many tokens. */
    print_message("largest over mean load: %.2f in the first step, %.3f over the last %d (at most "
                  "%.3f in one)\n",
                  load[0], last, LAST, most);
    if (!(load[0] > 2.5 && last <= 1.3)) fail_msg("it was to fall from above 2.5 to 1.3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_balance)};
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
