/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_chat.c - `mizan chat` through a pipe: the answers are those of `generate` on the
 * text of `template`, what stays in the cache, what no longer fits, commands, an interrupt. */
#include "base/str.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TURNS_MAX = 8 };

/* Lines of JSON that a chat prints; how many. The caller frees them. */
static int talk(const char *input, const char *more, const char *value, int want,
                json_t *turn[TURNS_MAX])
{
    const char *words[] = {
        "chat", program_path("chat"), "--json", "--max-tokens", "9", "--threads", "1", more, value,
        NULL};
    int n = 0;
    program_input(small_file("in", input));
    const int got = program_run(words);
    program_input(NULL);
    if (got != want) fail_msg("chat ended with %d, want %d: %s", got, want, program_text("err"));
    for (char *line = program_text("out"); *line && n < TURNS_MAX; n++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        turn[n] = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(turn[n]);
        line = end + 1;
    }
    return n;
}

static const char *text_of(const json_t *o)
{
    const char *text = json_string_value(json_object_get(o, "text"));
    assert_non_null(text);
    return text;
}

static int64_t number(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

static void drop(json_t *turn[], int n)
{
    for (int i = 0; i < n; i++) json_decref(turn[i]);
}

/* What `generate` makes of the messages in a file. adapter: or NULL. */
static json_t *generated(const json_t *messages, const char *adapter)
{
    assert_int_equal(json_dump_file(messages, program_path("messages.json"), 0), 0);
    const char *show[] = {"template",   program_path("chat"),
                          "--messages", program_path("messages.json"),
                          "--json",     NULL};
    assert_int_equal(program_run(show), 0);
    json_t *shown = program_json(),
           *line = json_pack("{s:O}", "text", json_object_get(shown, "text"));
    char *text = json_dumps(line, JSON_COMPACT);
    program_input(small_file("in", text));
    const char *encode[] = {"tokenizer", "encode",    program_path("chat"),
                            "--jsonl",   "--special", NULL};
    assert_int_equal(program_run(encode), 0);
    program_input(NULL);
    const char *ids = small_file("ids.json", program_text("out"));
    const char *go_on[] = {
        "generate", program_path("chat"),         "--ids", ids, "--max-tokens", "9",
        "--json",   adapter ? "--adapter" : NULL, adapter, NULL};
    assert_int_equal(program_run(go_on), 0);
    free(text);
    json_decref(line);
    json_decref(shown);
    return program_json();
}

static void answers_are_those_of_the_rendered_text(void **state)
{
    (void)state;
    json_t *turn[TURNS_MAX];
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "system", "content", "in the inner");
    const char *said[] = {"the first", "another \xc3\xa9\xe2\x82\xac", "/and this"};
    const int n = talk("the first\nanother \xc3\xa9\xe2\x82\xac\n//and this\n", "--system",
                       "in the inner", 0, turn);
    assert_int_equal(n, 3);
    for (int i = 0; i < n; i++) {
        json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "user", "content", said[i]));
        json_t *want = generated(messages, NULL);
        assert_string_equal(text_of(turn[i]), text_of(want));
        assert_int_equal(number(turn[i], "prompt_tokens"), number(want, "prefill_tokens"));
        json_array_append_new(messages, json_pack("{s:s,s:O}", "role", "assistant", "content",
                                                  json_object_get(turn[i], "text")));
        /* all up to the last answer's beginning is in the cache */
        if (i > 0)
            assert_true(number(turn[i], "kept_tokens") >= number(turn[i - 1], "prompt_tokens"));
        json_decref(want);
    }
    assert_int_equal(number(turn[0], "kept_tokens"), 0);
    json_decref(messages);
    drop(turn, n);
}

static void an_adapter_changes_the_answers(void **state)
{
    (void)state;
    char model[512], run[512], adapter[512];
    (void)snprintf(model, sizeof model, "model.path=%s", program_path("chat"));
    (void)snprintf(run, sizeof run, "run.dir=%s", program_path("tuned"));
    (void)snprintf(adapter, sizeof adapter, "%s", program_path("tuned/checkpoints/step-00000009"));
    const char *yaml = small_file("tune.yaml", "run.steps: 9\nbatch.global: 1\ndata.seq: 8\n"
                                               "lora: {rank: 4, alpha: 64}\noptim.lr: 0.3\n");
    char data[512];
    (void)snprintf(data, sizeof data, "data.path=%s",
                   small_file("rows.jsonl", "{\"ids\": [101, 102, 103, 104, 105]}\n"));
    const char *train[] = {"train", yaml, model, run, data, NULL};
    if (program_run(train) != 0) fail_msg("%s", program_text("err"));
    json_t *turn[TURNS_MAX], *plain[TURNS_MAX];
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "the first");
    assert_int_equal(talk("the first\n", "--adapter", adapter, 0, turn), 1);
    assert_int_equal(talk("the first\n", NULL, NULL, 0, plain), 1);
    json_t *want = generated(messages, adapter);
    assert_string_equal(text_of(turn[0]), text_of(want));
    assert_string_not_equal(text_of(turn[0]), text_of(plain[0]));
    json_decref(want);
    json_decref(messages);
    drop(turn, 1);
    drop(plain, 1);
}

static void commands_change_the_conversation(void **state)
{
    (void)state;
    json_t *plain[TURNS_MAX], *turn[TURNS_MAX];
    assert_int_equal(talk("one\ntwo\n", NULL, NULL, 0, plain), 2);
    const int n = talk("one\n/retry\nwrong\n/undo\ntwo\n/reset\none\n/nonsense\n/quit\nnever\n",
                       NULL, NULL, 0, turn);
    assert_int_equal(n, 5);
    assert_string_equal(text_of(turn[0]), text_of(plain[0]));
    assert_string_equal(text_of(turn[1]), text_of(plain[0])); /* the likeliest again */
    assert_int_equal(number(turn[1], "kept_tokens"), number(turn[1], "prompt_tokens") - 1);
    assert_string_equal(text_of(turn[3]), text_of(plain[1]));
    assert_string_equal(text_of(turn[4]), text_of(plain[0]));
    assert_non_null(strstr(program_text("err"), "no such command"));
    drop(plain, 2);
    drop(turn, n);
    assert_int_equal(talk("one\\\ntwo\n/help\n", NULL, NULL, 0, turn),
                     1); /* a message of two lines */
    assert_non_null(strstr(program_text("err"), "/retry"));
    drop(turn, 1);
}

static void what_no_longer_fits_is_said(void **state)
{
    (void)state;
    json_t *turn[TURNS_MAX];
    const int n = talk("aaaaaaaaaaaa\nbbbbbbbbbbbb\ncccccccccccc\n", "--context", "100", 0, turn);
    assert_int_equal(n, 3);
    assert_int_equal(number(turn[0], "left_out"), 0);
    assert_true(number(turn[2], "left_out") >= 2);
    assert_non_null(strstr(program_text("err"), "no longer fit"));
    for (int i = 0; i < n; i++) assert_true(number(turn[i], "prompt_tokens") + 9 <= 100);
    drop(turn, n);
    mz_str s = {0};
    for (int i = 0; i < 400; i++) assert_int_equal(mz_str_add(&s, "x", 1), MZ_OK);
    assert_int_equal(mz_str_addf(&s, "\nshort\n"), MZ_OK);
    assert_int_equal(talk(s.text, NULL, NULL, 2, turn), 1); /* refused, and the talk goes on */
    assert_non_null(strstr(program_text("err"), "context of 256"));
    drop(turn, 1);
    mz_str_clear(&s);
}

/* Whole characters only: what is streamed is UTF-8 whenever it is looked at. */
static void streamed_text_is_plain(void **state)
{
    (void)state;
    const char *words[] = {"chat", program_path("chat"), "--max-tokens", "60", "--temperature", "3",
                           NULL};
    program_input(small_file("in", "one\ntwo\n"));
    assert_int_equal(program_run(words), 0);
    program_input(NULL);
    const char *out = program_text("out");
    json_t *whole = json_string(out); /* refuses what is not UTF-8 */
    assert_non_null(whole);
    assert_true(strlen(out) > 20 && out[strlen(out) - 1] == '\n');
    assert_null(strstr(out, "<|im_end|>"));
    assert_non_null(strstr(program_text("err"), "prefill"));
    json_decref(whole);
}

static void refusals_have_their_exit_codes(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value;
        int exit;
        const char *says;
    } cases[] = {{"--chat-template", "nothing", 69, "chatml"},
                 {"--thinking", "on", 69, "thinking"},
                 {"--context", "5", 2, "context"},
                 {"--thinkin", "on", 2, "--thinking"}};
    program_input(small_file("in", "hello\n"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *words[] = {
            "chat", program_path("chat"), cases[i].option, cases[i].value, "--json", NULL};
        const int got = program_run(words);
        const char *err = program_text("err");
        if (got != cases[i].exit || !strstr(err, cases[i].says))
            fail_msg("%s: exit %d, want %d; %s", cases[i].option, got, cases[i].exit, err);
        assert_non_null(strstr(err, "{\"error\":{\"code\":\""));
    }
    const char *words[] = {"chat", program_path("nowhere"), NULL};
    assert_int_equal(program_run(words), 74);
    program_input(NULL);
}

static int set_up(void **state)
{
    if (program_set_up(state) != 0) return -1;
    small_model("chat", "llama");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_rendered_text),
        cmocka_unit_test(an_adapter_changes_the_answers),
        cmocka_unit_test(commands_change_the_conversation),
        cmocka_unit_test(what_no_longer_fits_is_said),
        cmocka_unit_test(streamed_text_is_plain),
        cmocka_unit_test(refusals_have_their_exit_codes),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
