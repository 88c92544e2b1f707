/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_ranks.c - generate, eval and chat with --ranks: what one chip writes, from folders
 * and GGUF files, with a tied head and with an adapter; and what is refused. */
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char TIED[] =
    "{\"model_type\":\"qwen2\",\"vocab_size\":96,\"hidden_size\":32,\"intermediate_size\":48,"
    "\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":true,\"initializer_range\":0.2,"
    "\"rms_norm_eps\":1e-6,\"rope_theta\":10000,\"hidden_act\":\"silu\"}";
static const char ONE_AND_REST[] = "[{chip: cpu, layers: 1}, {chip: cpu}]";
static const char FAR_LAST[] = "[{chip: cpu}, {chip: far, layers: 1}]";

static const char *ids_file(void)
{
    return small_file("ids.json", "[5, 9, 2, 33, 7, 7, 61]");
}

/* Trains a step, from nothing or with an adapter on what is there; gives the checkpoint. */
static const char *trained(const char *name, const char *model, const char *more)
{
    char text[2048], path[512];
    (void)snprintf(text, sizeof text,
                   "%s\ndata: {path: %s, seq: 8}\nbatch: {global: 1, micro: 1}\noptim.lr: 0.3\n"
                   "run: {dir: %s, steps: 3, checkpoint_every: 0}\n%s",
                   model, small_file("rows.jsonl", "{\"ids\": [11, 12, 13, 14, 15]}\n"),
                   program_path(name), more);
    const char *train[] = {"train", small_file("train.yaml", text), NULL};
    if (program_run(train) != 0) fail_msg("%s", program_text("err"));
    (void)snprintf(path, sizeof path, "%s/checkpoints/step-00000003", name);
    return program_path(path);
}

/* The ids that generate gives, as text; ranks and adapter may be NULL. Free it with json_decref. */
static json_t *generated(const char *model, const char *ranks, const char *adapter)
{
    const char *words[16] = {"generate", model,          "--ids", ids_file(),
                             "--json",   "--max-tokens", "12"};
    int n = 7;
    if (ranks) words[n++] = "--ranks", words[n++] = ranks;
    if (adapter) words[n++] = "--adapter", words[n++] = adapter;
    if (program_run(words) != 0) fail_msg("%s", program_text("err"));
    return program_json();
}

static int64_t layer_sum(const json_t *root)
{
    int64_t sum = 0;
    const json_t *list = json_object_get(root, "ranks");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *rank = json_array_get(list, i);
        assert_true(json_integer_value(json_object_get(rank, "bytes")) > 0);
        sum += json_integer_value(json_object_get(rank, "layers"));
    }
    return sum;
}

static void check_same(const char *model, const char *adapter, int64_t layers)
{
    static const char *const ranks[] = {ONE_AND_REST, FAR_LAST};
    json_t *want = generated(model, NULL, adapter);
    assert_int_equal(layer_sum(want), layers);
    for (int i = 0; i < 2; i++) {
        json_t *got = generated(model, ranks[i], adapter);
        assert_int_equal(json_array_size(json_object_get(got, "ranks")), 2);
        assert_int_equal(layer_sum(got), layers);
        if (!json_equal(json_object_get(got, "ids"), json_object_get(want, "ids")))
            fail_msg("%s with %s writes something else", model, ranks[i]);
        json_decref(got);
    }
    json_decref(want);
}

static void a_tied_head_lies_on_both(void **state)
{
    char key[600];
    (void)state;
    (void)snprintf(key, sizeof key, "model.config: %s", small_file("tied.json", TIED));
    char model[512];
    (void)snprintf(model, sizeof model, "%s", trained("tied", key, ""));
    check_same(model, NULL, 3);
}

static void an_adapter_is_added_on_each(void **state)
{
    char key[600], model[512], adapter[512];
    (void)state;
    (void)snprintf(model, sizeof model, "%s", program_path("tied/checkpoints/step-00000003"));
    (void)snprintf(key, sizeof key, "model.path: %s", model);
    (void)snprintf(adapter, sizeof adapter, "%s",
                   trained("tuned", key, "lora: {rank: 4, alpha: 64}\n"));
    json_t *plain = generated(model, NULL, NULL), *tuned = generated(model, NULL, adapter);
    assert_false(json_equal(json_object_get(plain, "ids"), json_object_get(tuned, "ids")));
    json_decref(plain);
    json_decref(tuned);
    check_same(model, adapter, 3);
}

static void blocks_lie_where_they_are_used(void **state)
{
    (void)state;
    small_model("blocks", "deepseek_v3");
    char model[512], file[512];
    (void)snprintf(model, sizeof model, "%s", program_path("blocks"));
    (void)snprintf(file, sizeof file, "%s", program_path("blocks.gguf"));
    const char *convert[] = {"convert", model, file, "--to", "gguf", "--type", "q8_0", NULL};
    if (program_run(convert) != 0) fail_msg("%s", program_text("err"));
    check_same(file, NULL, 2);
}

static void eval_and_chat_take_ranks_too(void **state)
{
    (void)state;
    char model[512], text[512], one[512];
    (void)snprintf(model, sizeof model, "%s", program_path("blocks"));
    (void)snprintf(text, sizeof text, "%s", small_file("text", "the rain in the other inn\n"));
    const char *eval[] = {"eval", model, "--text", text, "--context", "9", NULL, NULL, NULL};
    assert_int_equal(program_run(eval), 0);
    (void)snprintf(one, sizeof one, "%s", program_text("out"));
    eval[6] = "--ranks", eval[7] = ONE_AND_REST;
    assert_int_equal(program_run(eval), 0);
    assert_string_equal(program_text("out"), one);
    assert_non_null(strstr(program_text("err"), "layers 1 to 1 on cpu"));
}

static void what_is_no_placement_is_refused(void **state)
{
    static const struct {
        const char *ranks, *chip, *says;
    } bad[] = {
        {ONE_AND_REST, "cpu", "twice"},
        {"[{chip: cpu, share: 1}, {chip: cpu}]", NULL, "not a share"},
        {"[]", NULL, "empty"},
        {"cpu, far", NULL, "not a list"},
        {"[{chip: cpu, layers: 0}, {chip: cpu}]", NULL, "layers is \"0\""},
        {"[{chip: cpu, layers: 1}, {chip: gpu}]", NULL, "no chip gpu"},
        {"[{chip: cpu, layers: 2}, {chip: cpu, layers: 1}]", NULL, "ask for 3 layers"},
        {"[{chip: cpu, layers: 2}, {chip: cpu}]", NULL, "3 layers or more"},
    };
    (void)state;
    char model[512];
    (void)snprintf(model, sizeof model, "%s", program_path("blocks"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *words[] = {"generate",
                               model,
                               "--ids",
                               ids_file(),
                               "--ranks",
                               bad[i].ranks,
                               bad[i].chip ? "--chip" : NULL,
                               bad[i].chip,
                               NULL};
        assert_int_equal(program_run(words), 2);
        if (!strstr(program_text("err"), bad[i].says))
            fail_msg("%s: %s", bad[i].ranks, program_text("err"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tied_head_lies_on_both),
        cmocka_unit_test(an_adapter_is_added_on_each),
        cmocka_unit_test(blocks_lie_where_they_are_used),
        cmocka_unit_test(eval_and_chat_take_ranks_too),
        cmocka_unit_test(what_is_no_placement_is_refused),
    };
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
