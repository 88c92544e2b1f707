/* SPDX-License-Identifier: Apache-2.0 */
/* tests/lib/test_library_train.c - what a trainer of libmizan can beyond a plain step: MTP layers,
 * selection biases and adapters, each to the bits of `mizan train`. */
#include "base/file.h"
#include "base/mem.h"
#include "mizan.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { B = 4, T = 12, STEPS = 3, SEED = 5 };

static void ok(mz_lm_status status)
{
    if (status != MZ_LM_OK) fail_msg("%s: %s", mz_lm_status_name(status), mz_lm_error_message());
}

static int32_t id_at(int step, int row, int i)
{
    return (int32_t)((step * 31 + row * 17 + i * i * 7 + i * 3) % 250);
}

/* The rows of all steps as JSONL, a sample a line. */
static void write_rows(const char *name)
{
    char text[STEPS * B * (T * 4 + 16)];
    size_t n = 0;
    for (int line = 0; line < STEPS * B; line++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "{\"ids\":[");
        for (int i = 0; i <= T; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", i ? "," : "",
                                  id_at(line / B, line % B, i));
        n += (size_t)snprintf(text + n, sizeof text - n, "]}\n");
    }
    (void)small_file(name, text);
}

/* `mizan train` on them, with what is given besides. */
static void train(const char *run, const char *const pairs[4])
{
    char yaml[1024], data[PATH_BYTES], dir[PATH_BYTES];
    write_rows("rows.jsonl");
    (void)snprintf(data, sizeof data, "data.path=%s", program_path("rows.jsonl"));
    (void)snprintf(dir, sizeof dir, "run.dir=%s", program_path(run));
    (void)snprintf(yaml, sizeof yaml,
                   "{data: {seq: %d, shuffle: false}, run: {steps: %d, seed: %d},\n"
                   " batch: {global: %d, micro: 2}, optim: {lr: 2e-3}}\n",
                   T, STEPS, SEED, B);
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s", small_file("train.yaml", yaml));
    const char *const words[] = {"train",  path,     data,        dir, pairs[0], pairs[1],
                                 pairs[2], pairs[3], "--threads", "2", NULL};
    if (program_run(words) != 0) fail_msg("%s", program_text("err"));
}

/* The same steps through the library. */
static void steps(mz_lm_trainer *t, int first, int end)
{
    mz_lm_optim optim = MZ_LM_OPTIM_INIT;
    optim.lr = 2e-3;
    for (int s = first; s < end; s++) {
        int32_t ids[B * T], labels[B * T];
        for (int i = 0; i < B * T; i++) {
            ids[i] = id_at(s, i / T, i % T);
            labels[i] = id_at(s, i / T, i % T + 1);
        }
        ok(mz_lm_trainer_step(t, ids, labels, B, T, &optim, NULL));
    }
}

static mz_lm_trainer_options options(void)
{
    mz_lm_trainer_options o = MZ_LM_TRAINER_INIT;
    o.rows = 2;
    o.seq = T;
    o.seed = SEED;
    o.threads = 2;
    return o;
}

static void same_bytes(const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    assert_int_equal(mz_file_read(program_path(a), 1 << 24, &x, &n), MZ_OK);
    assert_int_equal(mz_file_read(program_path(b), 1 << 24, &y, &m), MZ_OK);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    mz_mem_free(x);
    mz_mem_free(y);
}

static const char NETWORK[] =
    "{\"model_type\":\"deepseek_v3\",\"vocab_size\":272,\"hidden_size\":32,"
    "\"intermediate_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":4,\"max_position_embeddings\":64,\"initializer_range\":0.15,"
    "\"kv_lora_rank\":16,\"q_lora_rank\":null,\"qk_nope_head_dim\":8,\"qk_rope_head_dim\":4,"
    "\"v_head_dim\":8,\"n_routed_experts\":4,\"num_experts_per_tok\":2,\"n_group\":2,"
    "\"topk_group\":1,\"n_shared_experts\":1,\"moe_intermediate_size\":16,"
    "\"first_k_dense_replace\":1,\"num_nextn_predict_layers\":1}";

static void mtp_and_biases_are_those_of_the_program(void **state)
{
    (void)state;
    char config[PATH_BYTES], key[PATH_BYTES + 16];
    mz_lm_trainer *t = NULL;
    mz_lm_trainer_options o = options();
    (void)snprintf(config, sizeof config, "%s", small_file("v3.json", NETWORK));
    (void)snprintf(key, sizeof key, "model.config=%s", config);
    train("run",
          (const char *const[]){key, "mtp.weight=0.3", "moe.bias_rate=0.01", "moe.balance=0.001"});
    o.mtp = 0.3;
    o.bias_rate = 0.01;
    o.balance = 0.001;
    ok(mz_lm_trainer_open(&t, config, &o));
    steps(t, 0, STEPS);
    ok(mz_lm_trainer_save(t, program_path("saved")));
    mz_lm_trainer_close(t);
    same_bytes("saved/model.safetensors", "run/checkpoints/step-00000003/model.safetensors");
    o.mtp = 0.0; /* left out, then: another model */
    ok(mz_lm_trainer_open(&t, config, &o));
    steps(t, 0, STEPS);
    ok(mz_lm_trainer_save(t, program_path("without")));
    mz_lm_trainer_close(t);
    const char *const inspect[] = {"inspect", program_path("without"), "--tensors", NULL};
    assert_int_equal(program_run(inspect), 0);
    assert_null(strstr(program_text("out"), "layers.2."));
}

static void adapters_are_those_of_the_program(void **state)
{
    (void)state;
    char key[PATH_BYTES + 16], model[PATH_BYTES], folder[PATH_BYTES];
    mz_lm_trainer *t = NULL;
    mz_lm_trainer_options o = options();
    small_model("llama", "llama");
    (void)snprintf(model, sizeof model, "%s", program_path("llama"));
    (void)snprintf(key, sizeof key, "model.path=%s", model);
    train("lora", (const char *const[]){key, "lora.rank=3", "lora.alpha=6",
                                        "lora.targets=q_proj,down_proj"});
    o.lora_rank = 3;
    o.lora_alpha = 6.0;
    o.lora_targets = "q_proj,down_proj";
    ok(mz_lm_trainer_open(&t, model, &o));
    steps(t, 0, 2);
    (void)snprintf(folder, sizeof folder, "%s", program_path("adapter"));
    ok(mz_lm_trainer_save(t, folder));
    mz_lm_trainer_close(t);
    ok(mz_lm_trainer_open(&t, model, &o)); /* goes on from there */
    ok(mz_lm_trainer_load(t, folder));
    steps(t, 2, STEPS);
    ok(mz_lm_trainer_save(t, folder));
    mz_lm_trainer_close(t);
    same_bytes("adapter/adapter_model.safetensors",
               "lora/checkpoints/step-00000003/adapter_model.safetensors");
    same_bytes("adapter/adapter_config.json", "lora/checkpoints/step-00000003/adapter_config.json");
    o.adapter = folder; /* as a start, its optimizer anew */
    ok(mz_lm_trainer_open(&t, model, &o));
    mz_lm_trainer_close(t);
    mz_lm *lm = NULL; /* and beside the model, to be used */
    mz_lm_options how = MZ_LM_OPTIONS_INIT;
    how.adapter = folder;
    ok(mz_lm_open(&lm, model, &how));
    mz_lm_close(lm);
}

static void what_a_network_has_not_is_refused(void **state)
{
    (void)state;
    mz_lm_trainer *t = NULL;
    mz_lm_trainer_options o = options();
    char model[PATH_BYTES];
    (void)snprintf(model, sizeof model, "%s", program_path("llama"));
    small_model("llama", "llama");
    o.mtp = 0.1;
    assert_int_equal(mz_lm_trainer_open(&t, model, &o), MZ_LM_ECONFIG);
    o = options();
    o.bias_rate = 0.1;
    assert_int_equal(mz_lm_trainer_open(&t, model, &o), MZ_LM_ECONFIG);
    o = options();
    o.adapter = model;
    assert_int_equal(mz_lm_trainer_open(&t, model, &o), MZ_LM_EINVAL);
    o.adapter = NULL;
    o.lora_rank = 2;
    o.lora_targets = "no_proj";
    assert_int_equal(mz_lm_trainer_open(&t, model, &o), MZ_LM_ECONFIG);
    o.lora_targets = NULL;
    assert_int_equal(mz_lm_trainer_open(&t, small_file("v3.json", NETWORK), &o), MZ_LM_EUSAGE);
    assert_null(t);
    o = options(); /* of an older program: its struct ends before what is new */
    o.size = offsetof(mz_lm_trainer_options, mtp);
    o.mtp = 7.0;
    ok(mz_lm_trainer_open(&t, model, &o));
    mz_lm_trainer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mtp_and_biases_are_those_of_the_program),
        cmocka_unit_test(adapters_are_those_of_the_program),
        cmocka_unit_test(what_a_network_has_not_is_refused),
    };
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
