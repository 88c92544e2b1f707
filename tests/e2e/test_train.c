/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_train.c - from texts to a trained model with the program alone: data build, train
 * with validation and texts, the best state kept, a save on request, and what `runs` says. */
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/e2e/program.h"
#include "text/train.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 24, EVERY = 6 };

static void ok(mz_err err)
{
    if (err != MZ_OK) fail_msg("%s: %s", mz_err_name(err), mz_err_last()->message);
}

static void put_file(const char *name, const char *text)
{
    ok(mz_file_write(program_path(name), text, strlen(text)));
}

static const char NETWORK[] =
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":300,"
    "\"hidden_size\":16,\"intermediate_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":2,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-6,"
    "\"rope_theta\":10000,\"tie_word_embeddings\":false,\"initializer_range\":0.05,"
    "\"hidden_act\":\"silu\",\"bos_token_id\":null,\"eos_token_id\":0}";

static void write_tokenizer(void)
{
    static const char *const special[] = {"<e>"};
    const mz_bpe_train_options o = {
        .vocab = 300, .min_frequency = 2, .special = special, .n_special = 1};
    mz_bpe_trainer *t = NULL;
    const char line[] = "the cat sat on the mat and the dog sat on the log ";
    ok(mz_bpe_trainer_new(&t));
    for (int i = 0; i < 5; i++) ok(mz_bpe_trainer_feed(t, line, sizeof line - 1));
    ok(mz_bpe_trainer_run(t, &o));
    ok(mz_bpe_trainer_write(t, program_path("model/tokenizer.json")));
    mz_bpe_trainer_free(t);
    put_file("model/tokenizer_config.json", "{\"eos_token\": \"<e>\"}");
}

static int set_up(void **state)
{
    static const char *const what[] = {"the cat", "a dog", "the mat", "the log"};
    mz_str s = {0};
    if (program_set_up(state) != 0) return -1;
    ok(mz_file_mkdirs(program_path("model")));
    put_file("model/config.json", NETWORK);
    write_tokenizer();
    for (int i = 0; i < 120; i++)
        ok(mz_str_addf(&s, "{\"text\": \"%s sat on %s and %s sat on it\"}\n", what[i % 4],
                       what[i / 4 % 4], what[i / 16 % 4]));
    put_file("texts.jsonl", s.text);
    s.len = 0;
    ok(mz_str_addf(&s,
                   "model.config: %s\ndata: {path: %s, seq: 16}\n"
                   "run: {dir: none, steps: %d, checkpoint_every: 100, keep: 1, eval_every: %d}\n"
                   "batch: {global: 4, micro: 3}\noptim: {lr: 0.02}\n",
                   program_path("model"), program_path("set"), STEPS, EVERY));
    put_file("train.yaml", s.text);
    mz_str_clear(&s);
    return 0;
}

static json_t *run_json(const char *const *words)
{
    const int code = program_run(words);
    if (code != 0) fail_msg("exit %d: %s", code, program_text("err"));
    return program_json();
}

static int64_t whole(const json_t *o, const char *name)
{
    const json_t *x = json_object_get(o, name);
    if (!json_is_integer(x)) fail_msg("no whole number %s", name);
    return json_integer_value(x);
}

static void test_build(void **state)
{
    (void)state;
    const char *build[] = {"data",
                           "build",
                           program_path("texts.jsonl"),
                           "--tokenizer",
                           program_path("model"),
                           "--out",
                           program_path("set"),
                           "--validation",
                           "0.2",
                           "--json",
                           NULL};
    json_t *o = run_json(build);
    assert_int_equal(whole(o, "documents"), 120);
    const int64_t tokens = whole(json_object_get(o, "train"), "tokens");
    assert_int_equal(tokens + whole(json_object_get(o, "validation"), "tokens"),
                     whole(o, "tokens"));
    json_decref(o);
    const char *show[] = {
        "data",   "show", program_path("set"), "--from", "2", "--count", "3", "--seq", "16",
        "--json", NULL};
    o = run_json(show);
    assert_int_equal(whole(o, "epoch_samples"), (tokens - 1) / 16);
    const json_t *samples = json_object_get(o, "samples");
    assert_int_equal(json_array_size(samples), 3);
    const json_t *first = json_object_get(json_array_get(samples, 0), "ids");
    const json_t *second = json_object_get(json_array_get(samples, 1), "ids");
    assert_int_equal(json_array_size(first), 17);
    assert_true(json_equal(json_array_get(first, 16), json_array_get(second, 0)));
    json_decref(o);
    const char *again[] = {"data",
                           "build",
                           program_path("texts.jsonl"),
                           "--tokenizer",
                           program_path("model"),
                           "--out",
                           program_path("set"),
                           NULL};
    assert_int_equal(program_run(again), 78); /* it is there */
}

/* Line `step` of a run's log. */
static json_t *record(const char *run, int64_t step)
{
    char name[256];
    json_t *o = NULL;
    char *text = NULL;
    size_t bytes = 0;
    (void)snprintf(name, sizeof name, "%s/log.jsonl", run);
    ok(mz_file_read(program_path(name), 1 << 24, &text, &bytes));
    const char *at = text;
    for (int64_t i = 1; i < step && at; i++) at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
    if (at && *at) o = json_loadb(at, strcspn(at, "\n"), 0, NULL);
    mz_mem_free(text);
    if (!o) fail_msg("%s has no line %lld", run, (long long)step);
    return o;
}

static int train(const char *run, const char *more, const char *and_more)
{
    char key[PATH_BYTES];
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path(run));
    const char *words[] = {
        "train", program_path("train.yaml"), "--threads", "1", key, more, and_more, NULL};
    return program_run(words);
}

/* Every EVERY steps and after the last; the lowest is kept although keep is 1; a stop in between
 * changes nothing of it. */
static void test_validation(void **state)
{
    (void)state;
    const char *prompt = "run.sample_prompt=the cat";
    char name[256];
    double best = (double)INFINITY;
    int64_t best_step = 0;
    assert_int_equal(train("one", "run.sample_every=12", prompt), 0);
    for (int tries = 0, code = 75; code == 75; tries++) {
        assert_true(tries < STEPS + 2);
        code = train("two", "run.stop_after=0.000001", NULL);
        assert_true(code == 75 || code == 0);
    }
    for (int64_t step = 1; step <= STEPS; step++) {
        json_t *a = record("one", step), *b = record("two", step);
        const json_t *loss = json_object_get(a, "eval_loss");
        assert_int_equal(json_is_real(loss), step % EVERY == 0);
        assert_int_equal(json_is_string(json_object_get(a, "sample")), step % 12 == 0);
        assert_true(!loss || json_equal(loss, json_object_get(b, "eval_loss")));
        if (loss && json_real_value(loss) < best) {
            best = json_real_value(loss);
            best_step = step;
        }
        json_decref(a);
        json_decref(b);
    }
    assert_true(best_step > 0 && best < 5.0);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "%s/checkpoints/step-%08lld/tokenizer.json",
                       i ? "two" : "one", (long long)best_step);
        assert_true(mz_file_exists(program_path(name)));
        (void)snprintf(name, sizeof name, "%s/checkpoints/step-%08lld/model.safetensors",
                       i ? "two" : "one", (long long)best_step);
        assert_true(mz_file_exists(program_path(name)));
    }
    const char *show[] = {"runs", "show", program_path("two"), "--json", NULL};
    json_t *o = run_json(show);
    const json_t *kept = json_object_get(json_object_get(o, "state"), "best");
    assert_int_equal(whole(kept, "step"), best_step);
    json_decref(o);
    (void)snprintf(name, sizeof name, "%s", "run.eval_every=5"); /* decides no step */
    assert_int_equal(train("one", name, NULL), 0);
}

static bool has_tokenizer(const char *run)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s/checkpoints/step-00000002/tokenizer.json", run);
    return mz_file_exists(program_path(name));
}

/* Where the model brings no tokenizer the shards do; where it is a GGUF, that becomes files. What
 * was trained writes text by itself. */
static void test_tokenizer_goes_along(void **state)
{
    (void)state;
    char network[PATH_BYTES], folder[PATH_BYTES], gguf[PATH_BYTES], key[PATH_BYTES + 32];
    ok(mz_file_mkdirs(program_path("bare")));
    put_file("bare/network.json", NETWORK);
    (void)snprintf(network, sizeof network, "model.config=%s", program_path("bare/network.json"));
    assert_int_equal(train("from_shards", network, "run.steps=2"), 0);
    assert_true(has_tokenizer("from_shards"));
    (void)snprintf(folder, sizeof folder, "%s",
                   program_path("from_shards/checkpoints/step-00000002"));
    (void)snprintf(gguf, sizeof gguf, "%s", program_path("bare/it.gguf"));
    const char *convert[] = {"convert", folder, gguf, "--to", "gguf", NULL};
    assert_int_equal(program_run(convert), 0);
    (void)snprintf(key, sizeof key, "model.path=%s", gguf);
    const char *words[] = {
        "train", program_path("train.yaml"), key, "model.config=", network, "run.steps=2", NULL};
    (void)snprintf(network, sizeof network, "run.dir=%s", program_path("from_gguf"));
    assert_int_equal(program_run(words), 0);
    assert_true(has_tokenizer("from_gguf"));
    const char *generate[] = {"generate",     program_path("from_gguf/checkpoints/step-00000002"),
                              "--prompt",     "the cat",
                              "--max-tokens", "4",
                              "--json",       NULL};
    json_t *o = run_json(generate);
    assert_true(json_is_string(json_object_get(o, "text")));
    json_decref(o);
}

/* Two ranks, a file each: operators of both directions and the steps, with the same bits as
 * without.
 */
static void test_profile(void **state)
{
    (void)state;
    char run[PATH_BYTES];
    (void)snprintf(run, sizeof run, "run.dir=%s", program_path("traced"));
    const char *const words[] = {
        "train",       program_path("train.yaml"),
        run,           "run.eval_every=0",
        "run.steps=3", "ranks=[{chip: cpu, share: 2},{chip: cpu, share: 2}]",
        "--profile",   program_path("trace.json"),
        NULL};
    if (program_run(words) != 0) fail_msg("%s", program_text("err"));
    for (int rank = 0; rank < 2; rank++) {
        json_error_t why;
        int steps = 0, backward = 0;
        size_t i;
        const json_t *span;
        json_t *all =
            json_load_file(program_path(rank ? "trace.json.rank1" : "trace.json"), 0, &why);
        if (!all) fail_msg("rank %d: %s", rank, why.text);
        json_array_foreach(json_object_get(all, "traceEvents"), i, span)
        {
            assert_int_equal(whole(span, "pid"), rank);
            const char *name = json_string_value(json_object_get(span, "name"));
            const char *kind = json_string_value(json_object_get(span, "cat"));
            steps += strcmp(name, "step") == 0;
            backward += kind && strcmp(name, "matmul") == 0 && strcmp(kind, "backward") == 0;
        }
        assert_int_equal(steps, 3);
        assert_true(backward >= 3 * 8); /* seven of the block and the head, for each sample set */
        json_decref(all);
    }
}

/* ---- runs ---- */

static void test_compare(void **state)
{
    (void)state;
    assert_int_equal(train("three", "optim.lr=0.01", NULL), 0);
    const char *words[] = {
        "runs",   "compare", program_path("one"), program_path("two"), program_path("three"),
        "--json", NULL};
    json_t *o = run_json(words);
    const json_t *runs = json_object_get(o, "runs"), *keys = json_object_get(o, "differences");
    assert_int_equal(json_array_size(runs), 3);
    assert_true(json_is_null(json_object_get(json_array_get(runs, 1), "first_step_apart")));
    assert_int_equal(whole(json_array_get(runs, 2), "first_step_apart"), 2); /* after one update */
    assert_non_null(json_object_get(keys, "optim.lr"));
    assert_null(json_object_get(keys, "batch.global"));
    json_decref(o);
    /* as a table; what a run never had is no number */
    assert_int_equal(train("four", "run.steps=1", "run.eval_every=0"), 0);
    const char *plain[] = {
        "runs", "compare", program_path("one"), program_path("two"), program_path("four"), NULL};
    assert_int_equal(program_run(plain), 0);
    assert_null(strstr(program_text("out"), "nan"));
    assert_non_null(strstr(program_text("out"), "in no step"));
}

/* A run that has far to go: asked for a checkpoint, not removed while it lasts, stopped, removed.
 */
static void test_save_and_rm(void **state)
{
    (void)state;
    char key[PATH_BYTES + 8], run[PATH_BYTES], name[256]; /* program_path's turn round */
    int code = 74;
    (void)snprintf(run, sizeof run, "%s", program_path("far"));
    (void)snprintf(key, sizeof key, "run.dir=%s", run);
    const char *words[] = {
        "train", program_path("train.yaml"), "--threads",        "1",
        key,     "run.steps=10000000",       "run.eval_every=0", "run.checkpoint_every=0",
        NULL};
    const char *save[] = {"runs", "save", run, "--json", NULL};
    const char *rm[] = {"runs", "rm", run, NULL};
    const pid_t pid = program_start(words, 0);
    for (int tries = 0; code == 74 && tries < 200; tries++) { /* until it has begun */
        mz_clock_sleep_ns(20000000);
        code = program_run(save);
    }
    if (code != 0) fail_msg("exit %d: %s", code, program_text("err"));
    json_t *o = program_json();
    (void)snprintf(name, sizeof name, "far/checkpoints/step-%08lld/manifest.json",
                   (long long)whole(o, "step"));
    json_decref(o);
    assert_true(mz_file_exists(program_path(name)));
    assert_int_equal(program_run(rm), 75);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_wait(pid), 75);
    assert_int_equal(program_run(save), 74); /* nobody is there to ask */
    assert_int_equal(program_run(rm), 0);
    assert_false(mz_file_exists(program_path("far")));
    const char *no_run[] = {"runs", "rm", program_path("model"), NULL};
    assert_int_equal(program_run(no_run), 74);
    assert_true(mz_file_exists(program_path("model/config.json")));
}

static void date(const char *name, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, program_path(name), times, 0), 0);
}

/* The clock went back between two starts: what is newest is told by the steps alone. */
static void test_clock(void **state)
{
    (void)state;
    assert_int_equal(train("clock", "run.checkpoint_every=4", "run.keep=2"), 0);
    date("clock/checkpoints/step-00000020", 4000000000);
    date("clock/checkpoints/step-00000024", 86400);
    date("clock/log.jsonl", 4000000000);
    const char *words[] = {"runs", "show", program_path("clock"), "--json", NULL};
    json_t *o = run_json(words);
    assert_int_equal(whole(json_object_get(o, "state"), "step"), STEPS);
    json_decref(o);
    assert_int_equal(train("clock", "run.steps=26", NULL), 0);
    o = record("clock", 26);
    assert_true(json_is_true(json_object_get(o, "done")));
    json_decref(o);
}

static json_t *hash_of(const char *run)
{
    const char *words[] = {"runs", "hash", program_path(run), "--json", NULL};
    return run_json(words);
}

/* It goes back by a day while a run is under way: the same steps, no pace or time that is none. */
static void test_clock_back(void **state)
{
    (void)state;
    const char *shim = getenv("MIZAN_CLOCK_BACK"), *asan = getenv("ASAN_OPTIONS");
    char options[512];
    if (!shim) skip();
    (void)snprintf(options, sizeof options, "%s:verify_asan_link_order=0", asan ? asan : "");
    assert_int_equal(train("forth", "run.checkpoint_every=5", NULL), 0);
    assert_int_equal(setenv("LD_PRELOAD", shim, 1) | setenv("ASAN_OPTIONS", options, 1), 0);
    const int code = train("back", "run.checkpoint_every=5", NULL);
    assert_int_equal(unsetenv("LD_PRELOAD") | setenv("ASAN_OPTIONS", asan ? asan : "", 1), 0);
    assert_int_equal(code, 0);
    double before = 0.0;
    int back = 0;
    for (int64_t step = 1; step <= STEPS; step++) {
        json_t *o = record("back", step);
        const double time = json_number_value(json_object_get(o, "time"));
        back += time < before;
        before = time;
        assert_true(json_number_value(json_object_get(o, "tokens_per_s")) > 0.0);
        assert_true(json_number_value(json_object_get(o, "tokens_per_s")) < 1e9);
        json_decref(o);
    }
    assert_int_equal(back, 1);
    json_t *a = hash_of("forth"), *b = hash_of("back");
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    static const char *const views[] = {"show", "watch"};
    for (int i = 0; i < 2; i++) {
        const char *words[] = {"runs", views[i], program_path("back"), NULL};
        assert_int_equal(program_run(words), 0);
        assert_null(strstr(program_text("out"), "nan"));
        assert_null(strstr(program_text("out"), " -"));
    }
}

/* Nothing to validate on, and a prompt that nobody can read, are said before the first step. */
static void test_refusals(void **state)
{
    (void)state;
    put_file("rows.jsonl", "{\"ids\": [1, 2, 3]}\n");
    char key[PATH_BYTES];
    (void)snprintf(key, sizeof key, "data.path=%s", program_path("rows.jsonl"));
    assert_int_equal(train("bad", key, NULL), 78);
    assert_non_null(strstr(program_text("err"), "no validation part"));
    assert_int_equal(train("bad", "run.sample_every=1", "data.tokenizer=/none"), 74);
    assert_int_equal(train("bad", "run.sample_every=1",
                           "run.sample_prompt=the the the the the the the the the the the the the "
                           "the the the the the the the"),
                     78);
    assert_non_null(strstr(program_text("err"), "run.sample_prompt has"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_tokenizer_goes_along),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_save_and_rm),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_clock_back),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
