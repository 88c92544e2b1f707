/* SPDX-License-Identifier: Apache-2.0 */
/* tests/lib/test_library.c - libmizan.so through mizan.h alone: the texts of `mizan generate`,
 * eight threads at a time, steps that learn, checkpoints, and refusals that say why. */
#include "mizan.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 8, TOKENS = 24 };
static const char PROMPT[] = "the inner thing";

static void ok(mz_lm_status status)
{
    if (status != MZ_LM_OK) fail_msg("%s: %s", mz_lm_status_name(status), mz_lm_error_message());
}

static mz_lm *opened_at(const char *path)
{
    mz_lm *lm = NULL;
    mz_lm_options o = MZ_LM_OPTIONS_INIT;
    o.threads = 2;
    ok(mz_lm_open(&lm, path, &o));
    return lm;
}

static mz_lm *opened(const char *name)
{
    return opened_at(program_path(name));
}

static mz_lm_generate_options sampled(uint64_t seed)
{
    mz_lm_generate_options o = MZ_LM_GENERATE_INIT;
    o.max_tokens = TOKENS;
    o.temperature = 1.5;
    o.top_p = 0.9;
    o.repeat_penalty = 1.2;
    o.seed = seed;
    return o;
}

/* ---- the same text as the program ---- */

typedef struct heard { /* of the callback */
    char text[4096];
    size_t bytes;
    int tokens, most;
} heard;

static int hear(void *user, int32_t id, const char *text, size_t bytes)
{
    heard *h = user;
    assert_true(h->bytes + bytes < sizeof h->text);
    memcpy(h->text + h->bytes, text, bytes);
    h->bytes += bytes;
    h->tokens += id >= 0;
    return h->most > 0 && h->tokens >= h->most;
}

static mz_lm_answer said(mz_lm_session *s, const mz_lm *lm, const char *prompt,
                         const mz_lm_generate_options *o)
{
    int32_t *ids = NULL;
    size_t n = 0;
    mz_lm_answer a = MZ_LM_ANSWER_INIT;
    ok(mz_lm_encode(mz_lm_vocab_of(lm), prompt, strlen(prompt), MZ_LM_BOS_WANTED, &ids, &n));
    ok(mz_lm_generate(s, ids, n, o, &a));
    mz_lm_free(ids);
    return a;
}

static void is_what_the_program_said(const mz_lm_answer *a)
{
    static const char *const ends[] = {"length", "eos", "stop"};
    json_t *o = program_json(), *ids = json_object_get(o, "ids");
    assert_int_equal(json_array_size(ids), a->n_ids);
    for (size_t i = 0; i < a->n_ids; i++)
        assert_int_equal(json_integer_value(json_array_get(ids, i)), a->ids[i]);
    assert_string_equal(json_string_value(json_object_get(o, "text")), a->text);
    assert_string_equal(json_string_value(json_object_get(o, "stop")), ends[a->ended]);
    json_decref(o);
}

static void texts_are_those_of_the_program(void **state)
{
    static const char *const families[] = {"llama", "qwen3", "deepseek_v3"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        mz_lm_session *s = NULL;
        heard h = {.most = 0};
        small_model(families[i], families[i]);
        mz_lm *lm = opened(families[i]);
        ok(mz_lm_session_new(&s, lm, NULL));
        const char *const greedy[] = {"generate",     program_path(families[i]),
                                      "--prompt",     PROMPT,
                                      "--max-tokens", "24",
                                      "--json",       NULL};
        assert_int_equal(program_run(greedy), 0);
        mz_lm_generate_options o = MZ_LM_GENERATE_INIT;
        o.max_tokens = TOKENS;
        mz_lm_answer a = said(s, lm, PROMPT, &o);
        is_what_the_program_said(&a);
        const char *const drawn[] = {"generate",         program_path(families[i]),
                                     "--prompt",         PROMPT,
                                     "--max-tokens",     "24",
                                     "--temperature",    "1.5",
                                     "--top-p",          "0.9",
                                     "--repeat-penalty", "1.2",
                                     "--seed",           "5",
                                     "--json",           NULL};
        assert_int_equal(program_run(drawn), 0);
        o = sampled(5);
        o.on_token = hear;
        o.user = &h;
        a = said(s, lm, PROMPT, &o);
        is_what_the_program_said(&a);
        assert_int_equal(h.tokens, a.n_ids);
        assert_int_equal(h.bytes, a.text_bytes);
        assert_memory_equal(h.text, a.text, h.bytes);
        h = (heard){.most = 0};
        a = said(s, lm, PROMPT, &o); /* the same once more, not what follows */
        is_what_the_program_said(&a);
        mz_lm_close(lm); /* the session keeps it */
        ok(mz_lm_generate(s, &(int32_t){1}, 1, &o, NULL));
        mz_lm_session_free(s);
    }
}

static void the_caller_stops_a_text_and_a_cache_is_used_again(void **state)
{
    (void)state;
    mz_lm_session *s = NULL;
    mz_lm *lm = opened("llama");
    heard h = {.most = 3};
    mz_lm_generate_options o = MZ_LM_GENERATE_INIT;
    const char *stops[] = {"a", "e", "i", "o", "u", " ", "t"};
    ok(mz_lm_session_new(&s, lm, NULL));
    o.on_token = hear;
    o.user = &h;
    mz_lm_answer a = said(s, lm, PROMPT, &o);
    assert_int_equal(a.ended, MZ_LM_BY_CALLER);
    assert_int_equal(a.n_ids, 3);
    assert_int_equal(a.kept_tokens, 0);
    o = (mz_lm_generate_options)MZ_LM_GENERATE_INIT;
    o.reuse = 1;
    o.stops = stops;
    o.n_stops = 7;
    a = said(s, lm, PROMPT, &o);
    assert_int_equal(a.kept_tokens, a.prompt_tokens - 1);
    for (int i = 0; i < 7; i++) assert_null(strstr(a.text, stops[i]));
    mz_lm_session_free(s);
    mz_lm_close(lm);
}

/* ---- eight at a time ---- */

typedef struct job {
    mz_lm *lm; /* NULL: one of its own, from this path */
    char path[PATH_BYTES];
    uint64_t seed;
    char text[1024];
    double loss;
    mz_lm_status wrong;
    char message[128];
} job;

static void *work(void *arg)
{
    job *j = arg;
    mz_lm *lm = j->lm ? j->lm : opened_at(j->path);
    mz_lm_session *s = NULL;
    const int32_t bad = 1 << 20, ids[4] = {1, 2, 3, (int32_t)j->seed};
    const mz_lm_generate_options o = sampled(j->seed);
    ok(mz_lm_session_new(&s, lm, NULL));
    const mz_lm_answer a = said(s, lm, PROMPT, &o);
    (void)snprintf(j->text, sizeof j->text, "%s", a.text);
    ok(mz_lm_probe(lm, ids, NULL, 1, 4, NULL, &j->loss));
    j->wrong = mz_lm_generate(s, &bad, 1, &o, NULL); /* errors are a thread's own */
    (void)snprintf(j->message, sizeof j->message, "%s", mz_lm_error_message());
    mz_lm_session_free(s);
    if (!j->lm) mz_lm_close(lm);
    return NULL;
}

static void run_all(job *jobs, mz_lm *lm)
{
    pthread_t id[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){.lm = lm, .seed = (uint64_t)i};
        (void)snprintf(jobs[i].path, PATH_BYTES, "%s", program_path("deepseek_v3"));
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&id[i], NULL, work, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(id[i], NULL), 0);
}

static void eight_threads_get_what_one_gets(void **state)
{
    static job alone[THREADS], shared[THREADS], own[THREADS];
    (void)state;
    mz_lm *lm = opened("deepseek_v3");
    for (int i = 0; i < THREADS; i++) {
        alone[i] = (job){.lm = lm, .seed = (uint64_t)i};
        (void)work(&alone[i]);
    }
    run_all(shared, lm);
    mz_lm_close(lm);
    run_all(own, NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_true(strlen(alone[i].text) > 0);
        assert_string_equal(shared[i].text, alone[i].text);
        assert_string_equal(own[i].text, alone[i].text);
        assert_true(isfinite(alone[i].loss));
        assert_memory_equal(&shared[i].loss, &alone[i].loss, sizeof(double));
        assert_memory_equal(&own[i].loss, &alone[i].loss, sizeof(double));
        assert_int_equal(shared[i].wrong, MZ_LM_ECORRUPT);
        assert_non_null(strstr(shared[i].message, "1048576"));
    }
}

/* ---- numbers and learning ---- */

enum { B = 5, T = 12 };

static void rows(int32_t *ids)
{
    for (int i = 0; i < B * T; i++) ids[i] = (i * 7 + i / T * 3) % 250;
}

static void losses_agree_and_steps_learn(void **state)
{
    (void)state;
    int32_t ids[B * T], labels[B * T];
    float *logits = malloc(sizeof(float) * B * T * SMALL_ROWS);
    double loss = 0.0, sum = 0.0;
    mz_lm_trainer *t = NULL;
    mz_lm *lm = opened("llama");
    mz_lm_trainer_options o = MZ_LM_TRAINER_INIT;
    mz_lm_step first = MZ_LM_STEP_INIT, step = MZ_LM_STEP_INIT;
    rows(ids);
    for (int i = 0; i < B * T; i++) labels[i] = i % 3 == 0 ? -100 : ids[(i + 1) % (B * T)];
    ok(mz_lm_probe(lm, ids, labels, B, T, logits, &loss));
    int counted = 0;
    for (int i = 0; i < B * T; i++) { /* the loss is what the logits say */
        const float *row = logits + i * SMALL_ROWS;
        double all = 0.0;
        if (labels[i] == -100) continue;
        for (int v = 0; v < SMALL_ROWS; v++) all += exp((double)row[v]);
        sum += log(all) - (double)row[labels[i]];
        counted++;
    }
    assert_true(fabs(sum / counted - loss) < 1e-5);
    o.rows = 2; /* 5 rows: three micro-batches */
    o.seq = T;
    o.threads = 2;
    ok(mz_lm_trainer_open(&t, program_path("llama"), &o));
    ok(mz_lm_trainer_step(t, ids, labels, B, T, NULL, &first));
    assert_int_equal(first.counted, counted);
    assert_true(fabs(first.loss - loss) < 1e-5);
    assert_true(first.grad_norm > 0.0);
    for (int i = 0; i < 20; i++) ok(mz_lm_trainer_step(t, ids, labels, B, T, NULL, &step));
    assert_int_equal(step.step, 21);
    assert_true(step.loss < 0.9 * first.loss);
    mz_lm_trainer_close(t);
    mz_lm_close(lm);
    free(logits);
}

static void a_checkpoint_goes_on_to_the_same_bits_and_is_a_model(void **state)
{
    (void)state;
    int32_t ids[B * T];
    mz_lm_trainer *a = NULL, *b = NULL;
    mz_lm_step one = MZ_LM_STEP_INIT, two = MZ_LM_STEP_INIT;
    mz_lm_trainer_options o = MZ_LM_TRAINER_INIT;
    double loss = 0.0;
    char folder[PATH_BYTES];
    (void)snprintf(folder, sizeof folder, "%s", program_path("saved"));
    rows(ids);
    o.seq = T;
    o.threads = 2;
    o.dtype = "bf16";
    ok(mz_lm_trainer_open(&a, program_path("deepseek_v3"), &o));
    ok(mz_lm_trainer_step(a, ids, NULL, B, T, NULL, NULL));
    ok(mz_lm_trainer_save(a, folder));
    ok(mz_lm_trainer_save(a, folder)); /* a checkpoint is replaced */
    ok(mz_lm_trainer_step(a, ids, NULL, B, T, NULL, &one));
    ok(mz_lm_trainer_open(&b, program_path("deepseek_v3"), &o));
    ok(mz_lm_trainer_load(b, folder));
    ok(mz_lm_trainer_step(b, ids, NULL, B, T, NULL, &two));
    assert_memory_equal(&one, &two, sizeof one);
    mz_lm *lm = opened("saved");
    ok(mz_lm_probe(lm, ids, NULL, B, T, NULL, &loss));
    assert_true(fabs(loss - one.loss) < 0.02 * one.loss); /* bf16 against f32 */
    assert_non_null(mz_lm_vocab_of(lm));
    mz_lm_close(lm);
    const char *const verify[] = {"verify", folder, NULL};
    assert_int_equal(program_run(verify), 0);
    (void)small_file("mine", "not a folder");
    assert_int_equal(mz_lm_trainer_save(a, program_path("mine")), MZ_LM_EBUSY);
    assert_int_equal(mz_lm_trainer_save(a, program_path("llama")), MZ_LM_EBUSY);
    mz_lm_close(opened("llama")); /* still there */
    mz_lm_trainer_close(a);
    mz_lm_trainer_close(b);
}

/* ---- text ---- */

static void text_goes_there_and_back(void **state)
{
    (void)state;
    const char text[] = "the <|im_end|> in \xd9\x85\xd9\x8a\xd8\xb2\xd8\xa7\xd9\x86";
    mz_lm_vocab *v = NULL;
    int32_t *ids = NULL;
    size_t n = 0, bytes = 0;
    char *back = NULL;
    ok(mz_lm_vocab_open(&v, program_path("qwen3")));
    for (uint32_t flags = 0; flags <= MZ_LM_SPECIAL; flags++) {
        int special = 0;
        ok(mz_lm_encode(v, text, sizeof text - 1, flags, &ids, &n));
        for (size_t i = 0; i < n; i++) special += mz_lm_vocab_is_special(v, ids[i]);
        assert_int_equal(special, flags == MZ_LM_SPECIAL);
        ok(mz_lm_decode(v, ids, n, 0, &back, &bytes));
        assert_int_equal(bytes, sizeof text - 1);
        assert_string_equal(back, text);
        mz_lm_free(back);
        mz_lm_free(ids);
    }
    assert_int_equal(mz_lm_vocab_find(v, "<|im_end|>", 10), SMALL_END);
    assert_true(mz_lm_vocab_is_end(v, SMALL_END));
    ok(mz_lm_encode(v, NULL, 0, 0, &ids, &n)); /* nothing is something too */
    assert_non_null(ids);
    assert_int_equal(n, 0);
    mz_lm_free(ids);
    const mz_lm_message messages[] = {{"user", "hi <|im_end|>", NULL}};
    (void)small_file("m.json", "[{\"role\":\"user\",\"content\":\"hi <|im_end|>\"}]");
    const char *const words[] = {"template", program_path("qwen3"), "--messages",
                                 program_path("m.json"), NULL};
    assert_int_equal(program_run(words), 0);
    ok(mz_lm_chat_text(v, messages, 1, NULL, &back, &bytes));
    assert_string_equal(back, program_text("out"));
    ok(mz_lm_chat_encode(v, messages, 1, NULL, &ids, &n));
    int ends = 0;
    for (size_t i = 0; i < n; i++) ends += ids[i] == SMALL_END;
    assert_int_equal(ends, 1); /* the template's, not the one that was typed */
    mz_lm_free(ids);
    mz_lm_free(back);
    mz_lm_vocab_close(v);
}

/* ---- refusals ---- */

static int lines;

static void listen(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    lines += line[0] != '\0';
}

static void wrong_calls_are_told_so(void **state)
{
    (void)state;
    mz_lm *lm = NULL;
    mz_lm_session *s = NULL;
    mz_lm_options o = MZ_LM_OPTIONS_INIT;
    struct {
        mz_lm_options now;
        int64_t later;
    } newer = {.now = MZ_LM_OPTIONS_INIT};
    mz_lm_generate_options g = MZ_LM_GENERATE_INIT;
    mz_lm_log_to(listen, NULL);
    assert_int_equal(mz_lm_open(NULL, "x", NULL), MZ_LM_EINVAL);
    assert_int_equal(mz_lm_open(&lm, program_path("nothing"), NULL), MZ_LM_EIO);
    assert_int_equal(mz_lm_error_status(), MZ_LM_EIO);
    assert_non_null(strstr(mz_lm_error_message(), "nothing"));
    o.chip = "abacus";
    assert_int_equal(mz_lm_open(&lm, program_path("llama"), &o), MZ_LM_ENOTSUP);
    assert_true(strlen(mz_lm_error_advice()) > 0);
    o = (mz_lm_options)MZ_LM_OPTIONS_INIT;
    o.dtype = "f17";
    assert_int_equal(mz_lm_open(&lm, program_path("llama"), &o), MZ_LM_EUSAGE);
    o.size = 0;
    assert_int_equal(mz_lm_open(&lm, program_path("llama"), &o), MZ_LM_EINVAL);
    assert_null(lm);
    newer.now.size = sizeof newer; /* of a later version, whose new field is not used */
    ok(mz_lm_open(&lm, program_path("llama"), &newer.now));
    mz_lm_close(lm);
    newer.later = 1;
    assert_int_equal(mz_lm_open(&lm, program_path("llama"), &newer.now), MZ_LM_EINVAL);
    lm = opened("llama");
    ok(mz_lm_session_new(&s, lm, &(mz_lm_session_options){sizeof(mz_lm_session_options), 8, 0}));
    const int32_t ids[9] = {0};
    assert_int_equal(mz_lm_generate(s, ids, 9, NULL, NULL), MZ_LM_EUSAGE);
    assert_int_equal(mz_lm_generate(s, ids, 0, NULL, NULL), MZ_LM_EINVAL);
    g.temperature = (double)NAN;
    assert_int_equal(mz_lm_generate(s, ids, 1, &g, NULL), MZ_LM_EINVAL);
    mz_lm_answer a = MZ_LM_ANSWER_INIT;
    ok(mz_lm_generate(s, ids, 8, NULL, &a)); /* fills the context: one token more is chosen */
    assert_int_equal(a.n_ids + (a.ended == MZ_LM_BY_END), 1);
    mz_lm_session_free(s);
    mz_lm_close(lm);
    mz_lm_log_to(NULL, NULL);
    assert_string_equal(mz_lm_version(), MIZAN_VERSION);
    assert_int_equal(mz_lm_abi(), MIZAN_ABI);
    assert_string_equal(mz_lm_chip_name(0), "cpu");
    assert_null(mz_lm_chip_name(mz_lm_chip_count()));
    mz_lm_chip chip = MZ_LM_CHIP_INIT;
    ok(mz_lm_chip_ask("cpu", &chip));
    assert_true(chip.threads >= 1 && chip.isa[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_those_of_the_program),
        cmocka_unit_test(the_caller_stops_a_text_and_a_cache_is_used_again),
        cmocka_unit_test(eight_threads_get_what_one_gets),
        cmocka_unit_test(losses_agree_and_steps_learn),
        cmocka_unit_test(a_checkpoint_goes_on_to_the_same_bits_and_is_a_model),
        cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(wrong_calls_are_told_so),
    };
    return cmocka_run_group_tests(tests, program_set_up, program_tear_down);
}
