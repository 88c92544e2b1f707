/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_files.c - models between folders and GGUFs with all that belongs to them, as a
 * user does it: convert, verify, inspect, tokenizer, template, generate, eval; and how failures
 * end. */
#include "base/file.h"
#include "base/mem.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const FAMILIES[] = {"llama", "qwen2", "qwen3", "deepseek_v3"};

static void run(const char *const *words, int want)
{
    const int got = program_run(words);
    if (got != want)
        fail_msg("%s ended with %d, want %d: %s", words[0], got, want, program_text("err"));
}

static void convert(const char *from, const char *to, const char *format)
{
    const char *words[] = {
        "convert", program_path(from), program_path(to), "--to", format, "--threads", "1", "--json",
        NULL};
    run(words, 0);
    json_t *o = program_json();
    assert_string_equal(json_string_value(json_object_get(o, "format")), format);
    assert_true(json_integer_value(json_object_get(o, "parameters")) > 0);
    assert_true(json_is_true(json_object_get(o, "tokenizer")));
    json_decref(o);
    const char *check[] = {"verify", program_path(to), NULL};
    run(check, 0);
}

static char *bytes_of(const char *name, size_t *n)
{
    char *text = NULL;
    assert_int_equal(mz_file_read(program_path(name), 1 << 26, &text, n), MZ_OK);
    return text;
}

static void same_bytes(const char *a, const char *b)
{
    size_t na, nb;
    char *ta = bytes_of(a, &na), *tb = bytes_of(b, &nb);
    if (na != nb || memcmp(ta, tb, na) != 0) fail_msg("%s and %s differ", a, b);
    mz_mem_free(ta);
    mz_mem_free(tb);
}

/* What a command says of one model must be what it says of another: {"ids"} or {"text"} and so on.
 */
static void same_answer(const char *const *words, const char *a, const char *b)
{
    const char *with[WORDS_MAX] = {NULL};
    char path[2][PATH_BYTES], messages[PATH_BYTES];
    char *said[2];
    int n = 0;
    while (words[n]) with[n] = words[n], n++;
    (void)snprintf(path[0], sizeof path[0], "%s", program_path(a));
    (void)snprintf(path[1], sizeof path[1], "%s", program_path(b));
    (void)snprintf(messages, sizeof messages, "%s", program_path("talk.json"));
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < n; k++) {
            if (strcmp(words[k], "MODEL") == 0) with[k] = path[i];
            if (strcmp(words[k], "TALK") == 0) with[k] = messages;
        }
        run(with, 0);
        said[i] = strdup(program_text("out"));
        assert_non_null(said[i]);
    }
    assert_true(strlen(said[0]) > 8);
    assert_string_equal(said[0], said[1]);
    free(said[0]);
    free(said[1]);
}

static void same_words(const char *a, const char *b)
{
    const char *encode[] = {"tokenizer", "encode", "MODEL", "--jsonl", NULL};
    const char *special[] = {"tokenizer", "encode", "MODEL", "--jsonl", "--special", NULL};
    const char *decode[] = {"tokenizer", "decode", "MODEL", "--jsonl", NULL};
    const char *show[] = {"template", "MODEL", "--messages", "TALK", NULL};
    (void)small_file("talk.json", "[{\"role\":\"user\",\"content\":\"in <|im_end|> the\"}]");
    program_input(small_file("in", "{\"text\":\"the inner other \xc3\xa9 <|im_end|>\\u0000\\n\"}\n"
                                   "{\"b64\":\"/wCA\"}\n{\"text\":\"\"}\n"));
    same_answer(encode, a, b);
    same_answer(special, a, b);
    program_input(small_file("in", "{\"ids\":[116,260,262,195,169,0,263]}\n{\"ids\":[255]}\n"));
    same_answer(decode, a, b);
    program_input(NULL);
    same_answer(show, a, b);
}

static void check_control_tokens(const char *name)
{
    json_t *o = json_load_file(program_path(name), 0, NULL);
    const json_t *added = json_object_get(o, "added_tokens");
    assert_int_equal(json_array_size(added), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(json_is_true(json_object_get(json_array_get(added, i), "special")));
    json_decref(o);
}

/* Folder -> GGUF -> folder -> GGUF: the second of each has the first one's bits. */
static void models_go_round(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof FAMILIES / sizeof FAMILIES[0]; i++) {
        char first[32], gguf[64], back[64], again[80], a[128], b[128];
        snprintf(first, sizeof first, "%s", FAMILIES[i]);
        snprintf(gguf, sizeof gguf, "%s.gguf", first);
        snprintf(back, sizeof back, "back/%s", first);
        snprintf(again, sizeof again, "back/%s.gguf", first);
        small_model(first, first);
        convert(first, gguf, "gguf");
        convert(gguf, back, "hf");
        convert(back, again, "gguf");
        snprintf(a, sizeof a, "%s/model.safetensors", first);
        snprintf(b, sizeof b, "%s/model.safetensors", back);
        same_bytes(a, b);
        snprintf(a, sizeof a, "%s/generation_config.json", back);
        size_t n;
        char *generation = bytes_of(a, &n);
        assert_non_null(strstr(generation, "262,"));
        assert_non_null(strstr(generation, "263"));
        mz_mem_free(generation);
        snprintf(a, sizeof a, "%s/tokenizer.json", back);
        check_control_tokens(a);
        same_words(first, gguf);
        same_words(first, back);
        const char *go_on[] = {"generate", "MODEL",     "--prompt", "the inner", "--max-tokens",
                               "12",       "--threads", "1",        NULL};
        same_answer(go_on, first, back);
        same_answer(go_on, gguf, again);
        program_input(NULL);
    }
}

static json_t *error_of(int exit)
{
    char *err = program_text("err"), *last = err;
    for (char *p = err; *p; p++)
        if (*p == '\n' && p[1]) last = p + 1;
    json_error_t why;
    json_t *o = json_loads(last, 0, &why);
    if (!o) fail_msg("the last line on stderr is no JSON: %s", last);
    json_t *e = json_object_get(o, "error");
    assert_int_equal(json_integer_value(json_object_get(e, "exit")), exit);
    static const char *const keys[] = {"code", "exit", "message", "file", "field", "offset", "fix"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!json_object_get(e, keys[i])) fail_msg("no %s in %s", keys[i], last);
    return o;
}

static void expect_error(const char *const *words, int exit, const char *says)
{
    run(words, exit);
    json_decref(error_of(exit));
    if (!strstr(program_text("err"), says)) fail_msg("no %s in %s", says, program_text("err"));
}

static void damage_is_found(void **state)
{
    (void)state;
    size_t n;
    small_model("whole", "llama");
    convert("whole", "whole.gguf", "gguf");
    char *text = bytes_of("whole.gguf", &n);
    assert_int_equal(mz_file_write(program_path("cut.gguf"), text, n - 40), MZ_OK);
    memset(text + n - 64, 0xff, 64); /* NaN as bf16 */
    assert_int_equal(mz_file_write(program_path("nan.gguf"), text, n), MZ_OK);
    mz_mem_free(text);
    const char *cut[] = {"verify", program_path("cut.gguf"), "--json", NULL};
    expect_error(cut, 76, "cut.gguf");
    const char *nan[] = {"verify", program_path("nan.gguf"), "--json", NULL};
    expect_error(nan, 76, "nan.gguf");
    const char *inspect[] = {"inspect", program_path("cut.gguf"), "--json", NULL};
    expect_error(inspect, 76, "offset");
    const char *go_on[] = {"generate", program_path("cut.gguf"), "--prompt", "x", "--json", NULL};
    expect_error(go_on, 76, "cut.gguf");
    const char *evaluate[] = {
        "eval", program_path("nowhere"), "--text", program_path("in"), "--context", "8", "--json",
        NULL};
    expect_error(evaluate, 74, "nowhere");
    const char *usage[] = {"generate", program_path("whole"), "--json", NULL};
    expect_error(usage, 2, "--prompt");
    const char *option[] = {"generate", program_path("whole"), "--promt", "x", "--json", NULL};
    expect_error(option, 2, "--prompt");
    const char *chip[] = {
        "generate", program_path("whole"), "--prompt", "x", "--chip", "nochip", "--json", NULL};
    expect_error(chip, 2, "nochip");
    const char *same[] = {"convert", program_path("whole"), program_path("whole"), "--to", "hf",
                          NULL};
    run(same, 2);
}

static void inspect_says_what_is_there(void **state)
{
    (void)state;
    small_model("seen", "deepseek_v3");
    convert("seen", "seen.gguf", "gguf");
    for (int i = 0; i < 2; i++) {
        const char *words[] = {"inspect", program_path(i ? "seen.gguf" : "seen"), "--tensors",
                               "--json", NULL};
        run(words, 0);
        json_t *o = program_json();
        assert_int_equal(json_integer_value(json_object_get(o, "schema")), 1);
        assert_string_equal(json_string_value(json_object_get(o, "format")), i ? "gguf" : "hf");
        assert_non_null(json_string_value(json_object_get(o, "family")));
        const json_t *tensors = json_object_get(o, "tensors");
        assert_true(json_array_size(tensors) > 20);
        int64_t numbers = 0;
        for (size_t k = 0; k < json_array_size(tensors); k++) {
            const json_t *t = json_array_get(tensors, k), *shape = json_object_get(t, "shape");
            int64_t each = 1;
            for (size_t d = 0; d < json_array_size(shape); d++)
                each *= json_integer_value(json_array_get(shape, d));
            numbers += each;
            assert_non_null(json_string_value(json_object_get(t, "dtype")));
            assert_true(json_is_integer(json_object_get(t, "offset")));
        }
        assert_int_equal(json_integer_value(json_object_get(o, "parameters")), numbers);
        json_decref(o);
    }
}

static json_t *generated(const char *from, const char *prompt, const char *more, const char *value)
{
    const char *words[] = {
        "generate", program_path("told"), from, prompt, "--max-tokens", "24", "--json", more, value,
        NULL};
    run(words, 0);
    return program_json();
}

static void stop_texts_end_a_text(const char *text)
{
    char stop[3] = {0};
    memcpy(stop, text + 4, 2);
    if (((unsigned char)stop[0] | (unsigned char)stop[1]) >= 0x80) return;
    json_t *stopped = generated("--prompt", "the", "--stop", stop);
    const char *kept = json_string_value(json_object_get(stopped, "text"));
    assert_string_equal(json_string_value(json_object_get(stopped, "stop")), "stop");
    assert_null(strstr(kept, stop));
    assert_memory_equal(kept, text, strlen(kept));
    json_decref(stopped);
}

/* An id of the list in generation_config.json ends a text, and so does a text of --stop. */
static void texts_end_where_they_are_told(void **state)
{
    (void)state;
    small_model("told", "qwen2");
    json_t *all = generated("--ids", small_file("prompt.json", "[116, 104, 101]"), NULL, NULL);
    const json_t *ids = json_object_get(all, "ids");
    assert_int_equal(json_array_size(ids), 24);
    assert_string_equal(json_string_value(json_object_get(all, "stop")), "length");
    assert_true(json_integer_value(json_object_get(all, "peak_bytes")) > 1 << 20);
    json_t *text = generated("--prompt", "the", NULL, NULL);
    stop_texts_end_a_text(json_string_value(json_object_get(text, "text")));
    json_decref(text);
    size_t at = 3; /* a token that did not come before */
    for (bool seen = true; seen && at < 23;) {
        seen = false;
        for (size_t k = 0; k < at; k++)
            seen = seen || json_integer_value(json_array_get(ids, k)) ==
                               json_integer_value(json_array_get(ids, at));
        at += seen ? 1 : 0;
    }
    char config[128];
    snprintf(config, sizeof config, "{\"eos_token_id\": [262, %d]}",
             (int)json_integer_value(json_array_get(ids, at)));
    for (int i = 0; i < 2; i++) { /* the tokenizer knows of it, and without one the model does */
        if (i == 1) assert_int_equal(unlink(program_path("told/tokenizer.json")), 0);
        (void)small_file("told/generation_config.json", config);
        json_t *ended = generated("--ids", program_path("prompt.json"), NULL, NULL);
        assert_string_equal(json_string_value(json_object_get(ended, "stop")), "eos");
        assert_int_equal(json_array_size(json_object_get(ended, "ids")), at);
        json_decref(ended);
    }
    json_decref(all);
}

static void repetitions_are_printed_one_by_one(void **state)
{
    (void)state;
    static const char *const keys[] = {"load_ns", "encode_lines_ns", "encode_ns", "decode_ns"};
    small_model("timed", "llama");
    const char *text = small_file("text", "the inner other\nin the end\n");
    const char *words[] = {"bench",  "tokenizer", program_path("timed"),
                           "--text", text,        "--repetitions",
                           "3",      "--json",    NULL};
    run(words, 0);
    json_t *o = program_json();
    assert_int_equal(json_integer_value(json_object_get(o, "bytes")), 27);
    assert_int_equal(json_integer_value(json_object_get(o, "tokens")), 17);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *list = json_object_get(o, keys[i]);
        assert_int_equal(json_array_size(list), 3);
        for (size_t k = 0; k < 3; k++) assert_true(json_integer_value(json_array_get(list, k)) > 0);
    }
    json_decref(o);
    const char *other[] = {"bench", "tokeniser", program_path("timed"), "--json", NULL};
    expect_error(other, 2, "did you mean tokenizer");
    const char *none[] = {"bench", "tokenizer", "--json", NULL};
    expect_error(none, 2, "arguments");
}

static void products_and_reading_are_timed(void **state)
{
    (void)state;
    const char *gemm[] = {"bench", "gemm", "17", "9", "33", "--repetitions", "2", "--json", NULL};
    run(gemm, 0);
    json_t *o = program_json();
    const json_t *all = json_object_get(o, "gemm");
    assert_int_equal(json_array_size(all), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *g = json_array_get(all, i), *ns = json_object_get(g, "ns");
        assert_string_equal(json_string_value(json_object_get(g, "dtype")), i ? "BF16" : "F32");
        assert_int_equal(json_integer_value(json_object_get(g, "n")), 9);
        assert_int_equal(json_array_size(ns), 2);
        for (size_t k = 0; k < 2; k++) assert_true(json_integer_value(json_array_get(ns, k)) > 0);
    }
    json_decref(o);
    const char *reading[] = {"bench", "bandwidth", "--repetitions", "1", "--json", NULL};
    run(reading, 0);
    o = program_json();
    const json_t *ns = json_object_get(o, "read_ns");
    const double rate = (double)json_integer_value(json_object_get(o, "bytes")) /
                        (double)json_integer_value(json_array_get(ns, 0));
    assert_true(json_array_size(ns) == 1 && rate > 1e-3 && rate < 1e4); /* GB/s */
    json_decref(o);
    const char *two[] = {"bench", "gemm", "17", "9", "--json", NULL};
    expect_error(two, 2, "M, N and K");
    const char *zero[] = {"bench", "gemm", "17", "0", "9", "--json", NULL};
    expect_error(zero, 2, "no size");
}

static void operators_are_timed(void **state)
{
    (void)state;
    enum { OPS = 21 }; /* all of the table, so that what a new one wants is not forgotten */
    const char *words[] = {"bench", "ops", "--repetitions", "1", "--json", NULL};
    run(words, 0);
    json_t *o = program_json(), *seen = json_object();
    size_t i;
    const json_t *x;
    json_array_foreach(json_object_get(o, "ops"), i, x)
    {
        const json_t *ns = json_object_get(x, "ns");
        assert_true(json_array_size(ns) == 1 && json_integer_value(json_array_get(ns, 0)) > 0);
        assert_string_equal(json_string_value(json_object_get(x, "state")), "native");
        assert_true(json_object_size(json_object_get(x, "shapes")) >= 2);
        assert_true(json_integer_value(json_object_get(x, "bytes")) > 0);
        json_object_set_new(seen, json_string_value(json_object_get(x, "op")), json_true());
    }
    assert_int_equal(json_object_size(seen), OPS);
    json_decref(seen);
    json_decref(o);
    const char *unknown[] = {"bench", "ops", "matmull", "--json", NULL};
    expect_error(unknown, 2, "matmull");
}

/* Of one product of 2048 x 768 x 768 and its gradients: what it multiplies and moves. */
static void operators_say_what_they_do(void **state)
{
    (void)state;
    const char *words[] = {"bench", "ops", "matmul", "--repetitions", "1", "--json", NULL};
    run(words, 0);
    json_t *o = program_json();
    const json_t *all = json_object_get(o, "ops");
    const json_int_t bytes = 4 * (2 * 2048 * 768 + 768 * 768);
    for (size_t i = 0; i < 2; i++) { /* forward; backward, which makes two products */
        const json_t *x = json_array_get(all, i);
        const double flop = json_real_value(json_object_get(x, "flop"));
        assert_int_equal((long long)flop, (long long)(i + 1) * 2 * 2048 * 768 * 768);
        if (i == 0) assert_int_equal(json_integer_value(json_object_get(x, "bytes")), bytes);
    }
    const json_t *peaks = json_object_get(o, "gemm_flop_per_s");
    assert_true(json_real_value(json_object_get(peaks, "BF16")) > 1e6);
    json_decref(o);
}

/* Products of a size of one's own, of experts too; sizes that make no sense are refused. */
static void products_of_any_size_are_timed(void **state)
{
    (void)state;
    const char *experts[] = {"bench", "ops",           "experts", "12",     "5", "7",
                             "3",     "--repetitions", "1",       "--json", NULL};
    run(experts, 0);
    json_t *o = program_json();
    const json_t *x = json_array_get(json_object_get(o, "ops"), 0);
    assert_int_equal((long long)json_real_value(json_object_get(x, "flop")), 2 * 12 * 5 * 7);
    const json_t *w = json_object_get(json_object_get(x, "shapes"), "w");
    assert_int_equal(json_integer_value(json_array_get(w, 0)), 3);
    json_decref(o);
    const char *few[] = {"bench", "ops", "matmul", "12", "5", NULL};
    run(few, 2);
    const char *other[] = {"bench", "ops", "rope", "12", "5", "7", NULL};
    run(other, 2);
    const char *none[] = {"bench", "ops", "matmul", "12", "0", "7", NULL};
    run(none, 2);
}

static void steps_are_timed(void **state)
{
    (void)state;
    char config[900];
    small_model("stepped", "deepseek_v3");
    char rows[64];
    (void)snprintf(rows, sizeof rows, "%s",
                   small_file("rows.jsonl", "{\"ids\": [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n"
                                            "{\"ids\": [9, 8, 7, 6, 5, 4, 3, 2, 1]}\n"));
    (void)snprintf(config, sizeof config,
                   "model: {config: %s}\ndata: {path: %s, seq: 8}\nrun: {dir: %s, steps: 1}\n"
                   "batch: {global: 2, micro: 1}\noptim: {lr: 1e-3}\n",
                   program_path("stepped"), rows, program_path("not-made"));
    const char *file = small_file("step.yaml", config);
    const char *words[] = {"bench",         "step", file,     "run.seed=3",
                           "--repetitions", "2",    "--json", NULL};
    run(words, 0);
    json_t *o = program_json();
    const json_t *ns = json_object_get(o, "step_ns");
    assert_true(json_array_size(ns) == 2 && json_integer_value(json_array_get(ns, 1)) > 0);
    assert_int_equal(json_integer_value(json_object_get(o, "tokens")), 16);
    assert_true(json_real_value(json_object_get(o, "gemm_share")) > 0.0);
    json_decref(o);
    assert_int_equal(access(program_path("not-made"), F_OK), -1); /* nothing was kept */
    const char *ranks[] = {"bench", "step", file, "ranks=[{chip: cpu, share: 1}]", "--json", NULL};
    expect_error(ranks, 2, "ranks");
    const char *none[] = {"bench", "step", "--json", NULL};
    expect_error(none, 2, "arguments");
}

static void texts_that_grow_are_timed(void **state)
{
    (void)state;
    static const char *const kinds[][2] = {{"prefill", "prefill_ns"}, {"decode", "decode_ns"}};
    small_model("grown", "llama");
    for (int i = 0; i < 2; i++) {
        const char *words[] = {
            "bench",     kinds[i][0], program_path("grown"), "--positions", "40",
            "--streams", "3",         "--repetitions",       "2",           "--json",
            NULL};
        run(words, 0);
        json_t *o = program_json();
        const json_t *ns = json_object_get(o, kinds[i][1]);
        assert_int_equal(json_array_size(ns), 2);
        for (size_t k = 0; k < 2; k++) assert_true(json_integer_value(json_array_get(ns, k)) > 0);
        assert_int_equal(json_integer_value(json_object_get(o, "streams")), i ? 3 : 1);
        assert_int_equal(json_integer_value(json_object_get(o, "positions")), 40);
        assert_true(json_integer_value(json_object_get(o, "weight_bytes")) > 0);
        assert_true(json_array_size(json_object_get(o, "read_ns")) > 0);
        const double share = json_real_value(json_object_get(o, "read_share"));
        assert_true(i ? share > 0.0 && share < 100.0 : !json_object_get(o, "read_share"));
        json_decref(o);
    }
    const char *none[] = {"bench", "decode", "--json", NULL};
    expect_error(none, 2, "arguments");
}

/* A reader that goes away: the program ends by itself, and says nothing. */
static void a_reader_that_left_is_no_noise(void **state)
{
    (void)state;
    small_model("piped", "llama");
    (void)small_file("in", "{\"text\": \"the inner\"}\n");
    (void)small_file("said", "the\nother\n");
    static const char *const cases[][8] = {
        {"inspect", "MODEL", "--tensors", "--json"},
        {"generate", "MODEL", "--prompt", "the", "--max-tokens", "9"},
        {"generate", "MODEL", "--prompt", "the", "--max-tokens", "9", "--json"},
        {"tokenizer", "encode", "MODEL", "--jsonl"},
        {"chat", "MODEL", "--max-tokens", "9"},
        {"chips", "--json"},
        {"--help"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *words[9] = {NULL};
        int ends[2];
        for (int k = 0; k < 8 && cases[i][k]; k++)
            words[k] = strcmp(cases[i][k], "MODEL") == 0 ? program_path("piped") : cases[i][k];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(close(ends[0]), 0);
        program_input(program_path(strcmp(words[0], "chat") == 0 ? "said" : "in"));
        program_output(ends[1]);
        const int got = program_run(words);
        program_output(-1);
        assert_int_equal(close(ends[1]), 0);
        if (got != 74 || program_text("err")[0])
            fail_msg("%s: exit %d, %s", words[0], got, program_text("err"));
    }
    program_input(NULL);
}

static void eval_is_the_same_in_either_form(void **state)
{
    (void)state;
    small_model("judged", "llama");
    convert("judged", "judged.gguf", "gguf");
    const char *text =
        small_file("text", "the inner winter then the thin end of it, \xc3\xa9 and in the end");
    double nll[2];
    for (int i = 0; i < 2; i++) {
        const char *words[] = {"eval",      program_path(i ? "judged.gguf" : "judged"),
                               "--text",    text,
                               "--context", "16",
                               "--json",    NULL};
        run(words, 0);
        json_t *o = program_json();
        nll[i] = json_number_value(json_object_get(o, "nll"));
        assert_true(json_integer_value(json_object_get(o, "tokens")) > 20 && nll[i] > 20.0);
        assert_true(json_number_value(json_object_get(o, "perplexity")) > 1.0);
        assert_true(json_number_value(json_object_get(o, "bits_per_byte")) > 0.0);
        json_decref(o);
    }
    assert_true(nll[0] - nll[1] < 1e-4 * nll[0] && nll[1] - nll[0] < 1e-4 * nll[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_go_round),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(inspect_says_what_is_there),
        cmocka_unit_test(texts_end_where_they_are_told),
        cmocka_unit_test(repetitions_are_printed_one_by_one),
        cmocka_unit_test(products_and_reading_are_timed),
        cmocka_unit_test(operators_are_timed),
        cmocka_unit_test(operators_say_what_they_do),
        cmocka_unit_test(products_of_any_size_are_timed),
        cmocka_unit_test(steps_are_timed),
        cmocka_unit_test(texts_that_grow_are_timed),
        cmocka_unit_test(a_reader_that_left_is_no_noise),
        cmocka_unit_test(eval_is_the_same_in_either_form),
    };
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
