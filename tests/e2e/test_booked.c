/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_booked.c - what a run takes is what --dry-run said: the process's largest resident
 * memory within 10 % of the sum, for networks whose weights, whose experts and whose activations
 * weigh the most, the checkpoint's snapshot and its checksums included. */
#include "base/file.h"
#include "base/str.h"
#include "tests/e2e/program.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

#define COMMON                                                                                     \
    "\"max_position_embeddings\":2048,\"rms_norm_eps\":1e-6,\"rope_theta\":10000,"                 \
    "\"tie_word_embeddings\":false,\"initializer_range\":0.02,\"hidden_act\":\"silu\","            \
    "\"bos_token_id\":null,\"eos_token_id\":0}"
#define LLAMA(v, d, f, l)                                                                          \
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":" v         \
    ",\"hidden_size\":" d ",\"intermediate_size\":" f ",\"num_hidden_layers\":" l                  \
    ",\"num_attention_heads\":4,\"num_key_value_heads\":2," COMMON

static const struct {
    const char *name, *network;
    int seq, rows;
} SHAPES[] = {
    {"weights", LLAMA("16000", "256", "512", "2"), 32, 2},
    {"activations", LLAMA("600", "192", "1024", "10"), 512, 2},
    {"experts",
     "{\"model_type\":\"deepseek_v3\",\"architectures\":[\"DeepseekV3ForCausalLM\"],"
     "\"vocab_size\":600,\"hidden_size\":128,\"intermediate_size\":256,"
     "\"moe_intermediate_size\":192,\"num_hidden_layers\":3,\"first_k_dense_replace\":1,"
     "\"num_attention_heads\":4,\"num_key_value_heads\":4,\"n_routed_experts\":64,"
     "\"n_shared_experts\":1,\"num_experts_per_tok\":4,\"n_group\":4,\"topk_group\":2,"
     "\"routed_scaling_factor\":2.5,\"norm_topk_prob\":true,\"q_lora_rank\":48,"
     "\"kv_lora_rank\":32,\"qk_nope_head_dim\":16,\"qk_rope_head_dim\":16,\"v_head_dim\":16,"
     "\"scoring_func\":\"sigmoid\",\"topk_method\":\"noaux_tc\",\"num_nextn_predict_layers\":"
     "0," COMMON,
     128, 4},
};

static void write_inputs(int i)
{
    char name[64];
    mz_str s = {0};
    (void)snprintf(name, sizeof name, "%s.json", SHAPES[i].name);
    assert_int_equal(
        mz_file_write(program_path(name), SHAPES[i].network, strlen(SHAPES[i].network)), MZ_OK);
    for (int row = 0; row < SHAPES[i].rows; row++)
        for (int t = 0; t <= SHAPES[i].seq; t++)
            assert_int_equal(mz_str_addf(&s, "%s%d%s", t ? "," : "{\"ids\":[", (row + 7 * t) % 600,
                                         t < SHAPES[i].seq ? "" : "]}\n"),
                             MZ_OK);
    assert_int_equal(mz_file_write(program_path("rows.jsonl"), s.text, s.len), MZ_OK);
    s.len = 0;
    assert_int_equal(mz_str_addf(&s,
                                 "model.config: %s\ndata: {path: %s, seq: %d}\n"
                                 "run: {dir: %s, steps: 1}\nbatch: {global: %d, micro: %d}\n"
                                 "optim.lr: 1e-3\n",
                                 program_path(name), program_path("rows.jsonl"), SHAPES[i].seq,
                                 program_path(SHAPES[i].name), SHAPES[i].rows, SHAPES[i].rows),
                     MZ_OK);
    assert_int_equal(mz_file_write(program_path("m.yaml"), s.text, s.len), MZ_OK);
    mz_str_clear(&s);
}

static double planned(void)
{
    const char *words[] = {"train", program_path("m.yaml"), "--threads", "2", "--dry-run", "--json",
                           NULL};
    if (program_run(words) != 0) fail_msg("%s", program_text("err"));
    json_t *o = program_json();
    const double sum = json_number_value(json_object_get(o, "sum"));
    json_decref(o);
    return sum;
}

static double taken(void)
{
    const char *words[] = {"train", program_path("m.yaml"), "--threads", "2", NULL};
    int status = 0;
    struct rusage usage;
    const pid_t pid = program_start(words, 0);
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("%s", program_text("err"));
    return 1024.0 * (double)usage.ru_maxrss;
}

static void test_dry_run(void **state)
{
    (void)state;
#ifdef IS_SANITIZED
    print_message("a sanitizer takes memory of its own: not measured\n");
    skip();
#endif
    for (int i = 0; i < MZ_COUNT(SHAPES); i++) {
        write_inputs(i);
        const double plan = planned(), real = taken();
        print_message("%-12s %.1f MiB planned, %.1f taken: %+.1f %%\n", SHAPES[i].name,
                      plan / 1048576.0, real / 1048576.0, 100.0 * (real / plan - 1.0));
        if (!(fabs(real - plan) <= 0.1 * plan)) fail_msg("%s: more than 10 %% off", SHAPES[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dry_run)};
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
