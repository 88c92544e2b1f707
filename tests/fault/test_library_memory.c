/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_library_memory.c - every allocation that the calls of mizan.h make fails once:
 * the call says so, leaves its out-parameters alone, and gives everything back. */
#include "base/file.h"
#include "base/mem.h"
#include "mizan.h"
#include "tests/scratch.h"
#include "tests/text_tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 20000, PATH = 512 };
static const char PROMPT[] = "the thin inner thing";
static char config[PATH], folder[PATH], adapter[PATH];

static void write_tokenizer(void)
{
    static mzt_tiny t;
    char path[PATH + 32];
    mz_str s = {0};
    mzt_tiny_init(&t);
    const int th = mzt_tiny_join(&t, 't', 'h');
    (void)mzt_tiny_join(&t, th, 'e');
    mzt_tiny_json(&t,
                  "[{\"id\":258,\"content\":\"<|im_start|>\",\"special\":true},"
                  "{\"id\":259,\"content\":\"<|im_end|>\",\"special\":true}]",
                  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}", &s);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(mz_file_write(path, s.text, s.len), MZ_OK);
    mz_str_clear(&s);
}

static mz_lm_trainer_options small(void)
{
    mz_lm_trainer_options o = MZ_LM_TRAINER_INIT;
    o.rows = 1;
    o.seq = 8;
    o.threads = 1;
    return o;
}

static const int32_t IDS[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static int set_up(void **state)
{
    static const char text[] =
        "{\"model_type\":\"deepseek_v3\",\"vocab_size\":264,\"hidden_size\":16,"
        "\"intermediate_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
        "\"num_key_value_heads\":2,\"max_position_embeddings\":64,\"kv_lora_rank\":8,"
        "\"q_lora_rank\":null,\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":4,\"v_head_dim\":4,"
        "\"n_routed_experts\":2,\"num_experts_per_tok\":1,\"n_group\":1,\"topk_group\":1,"
        "\"n_shared_experts\":1,\"moe_intermediate_size\":8,\"first_k_dense_replace\":1,"
        "\"num_nextn_predict_layers\":1}";
    mz_lm_trainer *t = NULL;
    const mz_lm_trainer_options o = small();
    if (scratch_make(state) != 0) return -1;
    (void)snprintf(config, sizeof config, "%s", scratch_write("config.json", text));
    (void)snprintf(folder, sizeof folder, "%s", scratch_path("model"));
    (void)snprintf(adapter, sizeof adapter, "%s", scratch_path("adapter"));
    assert_int_equal(mz_lm_trainer_open(&t, config, &o), MZ_LM_OK);
    assert_int_equal(mz_lm_trainer_save(t, folder), MZ_LM_OK);
    mz_lm_trainer_close(t);
    write_tokenizer();
    return 0;
}

/* ---- what is called ---- */

static mz_lm_status open_and_close(void)
{
    mz_lm *lm = NULL;
    mz_lm_options o = MZ_LM_OPTIONS_INIT;
    o.threads = 1;
    const mz_lm_status status = mz_lm_open(&lm, folder, &o);
    if (status != MZ_LM_OK) assert_null(lm);
    mz_lm_close(lm);
    return status;
}

static mz_lm *shared; /* opened before the faults begin */

static mz_lm_status generate(void)
{
    mz_lm_session *s = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    const char *stops[] = {"zzz"};
    mz_lm_generate_options o = MZ_LM_GENERATE_INIT;
    mz_lm_answer a = MZ_LM_ANSWER_INIT;
    o.max_tokens = 4;
    o.temperature = 1.0;
    o.top_p = 0.9;
    o.repeat_penalty = 1.1;
    o.stops = stops;
    o.n_stops = 1;
    mz_lm_status status = mz_lm_session_new(&s, shared, NULL);
    if (status == MZ_LM_OK)
        status = mz_lm_encode(mz_lm_vocab_of(shared), PROMPT, strlen(PROMPT), 0, &ids, &n);
    if (status == MZ_LM_OK) status = mz_lm_generate(s, ids, n, &o, &a);
    if (status == MZ_LM_OK) assert_true(a.n_ids > 0 || a.ended == MZ_LM_BY_END);
    mz_lm_free(ids);
    mz_lm_session_free(s);
    return status;
}

static mz_lm_status probe(void)
{
    double loss = -1.0;
    static float logits[8 * 264];
    const mz_lm_status status = mz_lm_probe(shared, IDS, NULL, 1, 8, logits, &loss);
    assert_true(status == MZ_LM_OK ? loss > 0.0 : !(loss > 0.0));
    return status;
}

static mz_lm_status talk(void)
{
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    const mz_lm_message messages[] = {{"user", "the thing", NULL}};
    mz_lm_chat_options o = MZ_LM_CHAT_INIT;
    o.chat_template = "chatml";
    mz_lm_vocab *v = NULL;
    mz_lm_status status = mz_lm_vocab_open(&v, folder);
    if (status == MZ_LM_OK) status = mz_lm_chat_encode(v, messages, 1, &o, &ids, &n);
    if (status == MZ_LM_OK) status = mz_lm_decode(v, ids, n, 0, &text, &n);
    mz_lm_free(ids);
    mz_lm_free(text);
    text = NULL;
    if (status == MZ_LM_OK) status = mz_lm_chat_text(v, messages, 1, &o, &text, &n);
    if (status != MZ_LM_OK) assert_null(text);
    mz_lm_free(text);
    mz_lm_vocab_close(v);
    return status;
}

static mz_lm_status learn_on(const char *source, const mz_lm_trainer_options *o, const char *to)
{
    mz_lm_trainer *t = NULL;
    mz_lm_step step = MZ_LM_STEP_INIT;
    mz_lm_status status = mz_lm_trainer_open(&t, source, o);
    if (status == MZ_LM_OK) status = mz_lm_trainer_step(t, IDS, NULL, 1, 8, NULL, &step);
    if (status == MZ_LM_OK) status = mz_lm_trainer_save(t, to);
    if (status == MZ_LM_OK) status = mz_lm_trainer_load(t, to);
    assert_int_equal(step.step, status == MZ_LM_OK || step.step == 1);
    mz_lm_trainer_close(t);
    return status;
}

static mz_lm_status learn(void)
{
    mz_lm_trainer_options o = small();
    o.mtp = 0.3;
    o.bias_rate = 0.01;
    return learn_on(config, &o, scratch_path("learnt"));
}

static mz_lm_status adapt(void)
{
    mz_lm_trainer_options o = small();
    o.lora_rank = 2;
    return learn_on(folder, &o, adapter);
}

/* ---- the loop ---- */

/* The first ones, and then every `stride`-th. */
static int64_t every(mz_lm_status (*call)(void), int64_t stride)
{
    enum { FIRST = 50 };
    assert_int_equal(call(), MZ_LM_OK); /* what is kept for good is kept from here on */
    for (int64_t n = 1; n < MOST; n += n < FIRST ? 1 : stride) {
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        const mz_lm_status status = call();
        const bool struck = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        if (status != (struck ? MZ_LM_ENOMEM : MZ_LM_OK))
            fail_msg("allocation %lld: %s: %s", (long long)n, mz_lm_status_name(status),
                     mz_lm_error_message());
        if (mz_mem_bytes_used() != before)
            fail_msg("allocation %lld: %zu bytes before, %zu after", (long long)n, before,
                     mz_mem_bytes_used());
        if (!struck) return n;
    }
    fail_msg("more than %d allocations", MOST);
    return 0;
}

static void models_and_texts(void **state)
{
    (void)state;
    mz_lm_options o = MZ_LM_OPTIONS_INIT;
    o.threads = 1;
    assert_true(every(open_and_close, 1) > 50);
    assert_int_equal(mz_lm_open(&shared, folder, &o), MZ_LM_OK);
    assert_true(every(generate, 1) > 50);
    assert_true(every(probe, 1) > 20);
    assert_true(every(talk, 1) > 20);
    mz_lm_close(shared);
}

/* Each writes files and waits for the disk. */
static void trainers(void **state)
{
    (void)state;
    assert_true(every(learn, 7) > 100);
    assert_true(every(adapt, 7) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_and_texts),
        cmocka_unit_test(trainers),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
