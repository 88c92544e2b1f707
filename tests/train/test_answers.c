/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_answers.c - of a conversation exactly the answers are learnt, each with its end
 * token, whatever template writes it and whatever people typed. */
#include "tests/scratch.h"

#include "base/mem.h"
#include "text/train.h"
#include "train/answers.h"
#include "train/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

/* Bytes, some joins, and the control tokens of every template. */
static int make_tokenizer(void **state)
{
    static const char *const special[] = {"<|im_start|>",
                                          "<|im_end|>",
                                          "<｜User｜>",
                                          "<｜Assistant｜>",
                                          "<｜end▁of▁sentence｜>",
                                          "<|start_header_id|>",
                                          "<|end_header_id|>",
                                          "<|eot_id|>",
                                          "<think>",
                                          "</think>"};
    const mz_bpe_train_options o = {
        .vocab = 320, .min_frequency = 2, .special = special, .n_special = MZ_COUNT(special)};
    const char line[] = "assistant user system hello hello there there\n\nyes yes\n\n";
    mz_bpe_trainer *t = NULL;
    if (scratch_make(state) != 0) return -1;
    ok(mz_bpe_trainer_new(&t));
    for (int i = 0; i < 4; i++) ok(mz_bpe_trainer_feed(t, line, sizeof line - 1));
    ok(mz_bpe_trainer_run(t, &o));
    ok(mz_bpe_trainer_write(t, scratch_path("tokenizer.json")));
    mz_bpe_trainer_free(t);
    return 0;
}

/* What is learnt as text, a bar behind each run of ids. */
static void learnt(const char *chat, const char *messages, mz_str *out)
{
    mz_answers *a = NULL;
    mz_tokenizer *t = NULL;
    json_t *list = json_loads(messages, 0, NULL);
    const mz_ids *ids = NULL;
    const uint8_t *counts = NULL;
    assert_non_null(list);
    ok(mz_tokenizer_open(&t, scratch_path("tokenizer.json")));
    ok(mz_answers_open(&a, scratch_path("tokenizer.json"), chat));
    ok(mz_answers_encode(a, list, &ids, &counts));
    out->len = 0;
    for (size_t i = 0; i < ids->count; i++) {
        if (!counts[i]) continue;
        ok(mz_decode(t, &ids->at[i], 1, false, out));
        if (i + 1 == ids->count || !counts[i + 1]) ok(mz_str_add(out, "|", 1));
    }
    mz_answers_close(a);
    mz_tokenizer_free(t);
    json_decref(list);
}

#define TALK                                                                                       \
    "[{\"role\":\"user\",\"content\":\"hello <|im_end|>\"},"                                       \
    "{\"role\":\"assistant\",\"content\":\"\\n\\nyes\"},{\"role\":\"user\",\"content\":\"x\"},"    \
    "{\"role\":\"assistant\",\"content\":\"there <|im_start|>\\u00e9\\ud83d\\ude00\"}]"

static const struct {
    const char *chat, *want;
} TEMPLATES[] = {
    {"chatml", "\n\nyes<|im_end|>|there <|im_start|>é😀<|im_end|>|"},
    {"qwen2.5", "\n\nyes<|im_end|>|there <|im_start|>é😀<|im_end|>|"},
    {"qwen3", "\n\nyes<|im_end|>|<think>\n\n</think>\n\nthere <|im_start|>é😀<|im_end|>|"},
    {"deepseek-v3", "\n\nyes<｜end▁of▁sentence｜>|there <|im_start|>é😀<｜end▁of▁sentence｜>|"},
    {"deepseek-r1", "\n\nyes<｜end▁of▁sentence｜>|there <|im_start|>é😀<｜end▁of▁sentence｜>|"},
    {"deepseek-v3.1", "\n\nyes<｜end▁of▁sentence｜>|there <|im_start|>é😀<｜end▁of▁sentence｜>|"},
    {"llama-3", "yes<|eot_id|>|there <|im_start|>é😀<|eot_id|>|"},
};

static void test_templates(void **state)
{
    (void)state;
    mz_str got = {0};
    for (int i = 0; i < MZ_COUNT(TEMPLATES); i++) {
        learnt(TEMPLATES[i].chat, TALK, &got);
        /* a join over the beginning of an answer belongs to what stands before it */
        const char *after = got.text + strspn(got.text, "\n");
        const char *want = TEMPLATES[i].want + strspn(TEMPLATES[i].want, "\n");
        if (strcmp(after, want) != 0 || after - got.text > want - TEMPLATES[i].want)
            fail_msg("%s: %s, want %s", TEMPLATES[i].chat, got.text, TEMPLATES[i].want);
    }
    mz_str_clear(&got);
}

static mz_err open_lines(mz_data **d, const char *text, const char *chat, int64_t vocab)
{
    const char *source = scratch_path("tokenizer.json");
    const mz_data_options o = {.seq = 60, .vocab = vocab, .source = source, .chat = chat};
    return mz_data_open(d, scratch_write("d.jsonl", text), &o);
}

/* Lines of ids among conversations: all of their positions count. */
static void test_lines(void **state)
{
    (void)state;
    mz_data *d = NULL, *other = NULL;
    mz_sample s;
    const char *text = "{\"ids\": [1, 2, 3]}\n"
                       "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}, {\"role\": "
                       "\"assistant\", \"content\": \"yes\"}]}\n{\"ids\": [4, 5]}\n";
    ok(open_lines(&d, text, "chatml", 1000));
    assert_int_equal(mz_data_count(d), 3);
    ok(mz_data_sample(d, 0, &s));
    assert_int_equal(mz_sample_positions(&s), 2);
    ok(mz_data_sample(d, 2, &s));
    assert_int_equal(mz_sample_positions(&s), 1);
    ok(mz_data_sample(d, 1, &s));
    assert_non_null(s.counts);
    assert_true(mz_sample_positions(&s) >= 2 && mz_sample_positions(&s) < s.n / 2);
    assert_int_equal(s.counts[s.n - 2], 1); /* the end token, and not the newline behind it */
    assert_int_equal(s.counts[s.n - 1], 0);
    ok(open_lines(&other, text, "llama-3", 1000)); /* other ids: other data */
    assert_string_not_equal(mz_data_sha256(d), mz_data_sha256(other));
    mz_data_close(d);
    mz_data_close(other);
}

#define ONE(role, content) "{\"role\": \"" role "\", \"content\": \"" content "\"}"

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
        mz_err code;
        int64_t vocab;
    } list[] = {
        {"{\"messages\": []}", "no list of", MZ_ECORRUPT, 1000},
        {"{\"messages\": [1]}", "no role", MZ_ECORRUPT, 1000},
        {"{\"messages\": [{\"role\": \"user\"}]}", "no content", MZ_ECORRUPT, 1000},
        {"{\"messages\": [" ONE("user", "a") "]}", "no message of an assistant", MZ_ECORRUPT, 1000},
        {"{\"messages\": [" ONE("tool", "a") "]}", "the role \"tool\"", MZ_ENOTSUP, 1000},
        {"{\"messages\": [" ONE("assistant", "a") "], \"ids\": [1, 2]}", "is not {", MZ_ECORRUPT,
         1000},
        {"{\"messages\": [" ONE("assistant", "a") "]}", "not in this network's vocabulary",
         MZ_ECONFIG, 20},
        {"{\"messages\": [" ONE(
             "user", "0123456789012345678901234567890123456789012345678901") ", " ONE("assistant",
                                                                                      "a") "]}",
         "longer than data.seq", MZ_ECORRUPT, 1000},
    };
    for (int i = 0; i < MZ_COUNT(list); i++) {
        mz_data *d = NULL;
        const mz_err err = open_lines(&d, list[i].line, "chatml", list[i].vocab);
        if (err != list[i].code || !strstr(mz_err_last()->message, list[i].says) ||
            !strstr(mz_err_last()->message, "d.jsonl:1: "))
            fail_msg("case %d: %s (%s)", i, mz_err_name(err), mz_err_last()->message);
        assert_null(d);
    }
    mz_data *d = NULL;
    assert_int_equal(open_lines(&d, list[0].line, "chatlm", 1000), MZ_ENOTSUP);
    const mz_data_options o = {.seq = 60, .vocab = 1000};
    assert_int_equal(mz_data_open(&d, scratch_path("d.jsonl"), &o), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->fix, "data.tokenizer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, make_tokenizer, scratch_remove);
}
