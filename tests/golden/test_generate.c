/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_generate.c - text out of golden models: the 24 greedy ids of the official
 * implementation, an end at the model's end token, and the likelihood of the input against the
 * official logits. */
#include "base/mem.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "file/safetensors.h"
#include "infer/eval.h"
#include "infer/generate.h"
#include "infer/served.h"
#include "tests/golden/golden.h"
#include "tests/near.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const MODELS[] = {"llama_tied", "qwen3", "deepseek", "deepseek_v2",
                                     "deepseek_v3_yarn"};
enum { N = 24 };

static mz_device *open_chip(const char *name)
{
    mz_device *device = NULL;
    assert_int_equal(mz_device_open(&device, name, &(mz_chip_options){.threads = 2}), MZ_OK);
    return device;
}

static void greedy_goes_on_as_the_official_model(void **state)
{
    static const char *const chips[] = {"cpu", "far"};
    (void)state;
    for (int i = 0; i < MZ_COUNT(MODELS) * MZ_COUNT(chips); i++) {
        golden g;
        mz_generated out;
        mz_device *device = open_chip(chips[i % 2]);
        mz_chips on = mz_one_chip(device);
        open_golden(&g, MODELS[i / 2]);
        const mz_generate_options o = {
            .dtype = MZ_F32,
            .max_tokens = N,
            .sampling = {.top_p = 1.0, .repeat_penalty = 1.0},
        };
        assert_int_equal(mz_generate(&out, &on, g.folder, NULL, &g.prompt, &o), MZ_OK);
        const mz_st_tensor *want = mz_st_find(g.want, "greedy.ids");
        const bool ended = strcmp(out.stop, "eos") == 0;
        assert_true(ended ? out.ids.count < N : out.ids.count == N);
        for (size_t k = 0; k < out.ids.count; k++)
            assert_int_equal(out.ids.at[k], id_at(want, (int64_t)k));
        mz_generated_clear(&out);
        close_golden(&g);
        mz_device_close(device);
    }
}

/* -log softmax(logits[t])[ids[t + 1]], summed over t < T - 1 of row 0. */
static double official_nll(const golden *g)
{
    const mz_st_tensor *logits = mz_st_find(g->want, "logits");
    const int64_t V = logits->dim[2];
    double sum = 0.0;
    for (int64_t t = 0; t + 1 < g->T; t++) {
        double all = 0.0, chosen = 0.0;
        for (int64_t v = 0; v < V; v++) {
            float x;
            memcpy(&x, (const char *)logits->data + (t * V + v) * 4, 4);
            all += exp((double)x);
            if (v == g->prompt.at[t + 1]) chosen = (double)x;
        }
        sum += log(all) - chosen;
    }
    return sum;
}

static void eval_counts_what_the_official_logits_say(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(MODELS); i++) {
        golden g;
        mz_eval e;
        float logprobs[128];
        double sum = 0.0;
        mz_device *device = open_chip("cpu");
        mz_chips on = mz_one_chip(device);
        open_golden(&g, MODELS[i]);
        const mz_eval_options o = {.dtype = MZ_F32, .context = 64};
        assert_int_equal(mz_eval_run(&e, &on, g.folder, g.prompt.at, g.T, logprobs, &o), MZ_OK);
        assert_int_equal(e.tokens, g.T - 1);
        assert_true(mzt_near(e.nll, official_nll(&g), 1e-5));
        assert_true(isnan(logprobs[0]));
        for (int64_t t = 1; t < g.T; t++) sum -= (double)logprobs[t];
        assert_true(mzt_near(sum, e.nll, 1e-6));
        const mz_eval_options small = {.dtype = MZ_F32, .context = 4};
        float by_four[128];
        assert_int_equal(mz_eval_run(&e, &on, g.folder, g.prompt.at, g.T, by_four, &small), MZ_OK);
        for (int64_t t = 0; t < g.T; t++) assert_int_equal(isnan(by_four[t]) != 0, t % 4 == 0);
        for (int64_t t = 1; t < 4; t++) /* the first window sees what the long one sees */
            assert_true(mzt_near((double)by_four[t], (double)logprobs[t], 1e-5));
        assert_int_equal(e.tokens, g.T - (g.T + 3) / 4); /* a first position a window */
        close_golden(&g);
        mz_device_close(device);
    }
}

static void choose(mz_session *s, int32_t *id)
{
    assert_int_equal(mz_session_choose(s, id), MZ_OK);
}

/* A text that was cut and went on otherwise is the text that it then is. */
static void a_rewound_session_has_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(MODELS); i++) {
        enum { MANY = 9, KEEP = 4 };
        golden g;
        mz_served s = {0};
        int32_t id = -1, want[5], other[MANY];
        mz_device *device = open_chip("cpu");
        mz_chips on = mz_one_chip(device);
        const mz_sampling sampling = {.top_p = 1.0, .repeat_penalty = 1.7, .repeat_last = 6};
        open_golden(&g, MODELS[i]);
        assert_int_equal(mz_served_open(&s, &on, g.folder), MZ_OK);
        const mz_served_options how = {
            .dtype = MZ_F32, .positions = 64, .chunk = 7, .sampling = sampling};
        assert_int_equal(mz_served_load(&s, &how), MZ_OK);
        assert_int_equal(mz_session_feed(s.session, g.prompt.at, MANY), MZ_OK);
        for (int k = 0; k < MZ_COUNT(want); k++) {
            choose(s.session, &want[k]);
            assert_int_equal(mz_session_feed(s.session, &want[k], 1), MZ_OK);
        }
        assert_int_equal(mz_session_shared(s.session, g.prompt.at, MANY), MANY);
        for (int k = 0; k < MANY; k++) other[k] = g.prompt.at[k < KEEP ? k : MANY - k + KEEP - 1];
        if (other[KEEP] == g.prompt.at[KEEP]) other[KEEP] = (other[KEEP] + 1) % 53;
        assert_int_equal(mz_session_shared(s.session, other, MANY), KEEP);
        assert_int_equal(mz_session_rewind(s.session, KEEP), MZ_OK);
        assert_int_equal(mz_session_length(s.session), KEEP);
        assert_int_equal(mz_session_choose(s.session, &id), MZ_EINVAL); /* nothing was fed yet */
        assert_int_equal(mz_session_feed(s.session, other + KEEP, MANY - KEEP), MZ_OK);
        assert_int_equal(mz_session_rewind(s.session, KEEP), MZ_OK);
        assert_int_equal(mz_session_feed(s.session, g.prompt.at + KEEP, MANY - KEEP), MZ_OK);
        for (int k = 0; k < MZ_COUNT(want); k++) { /* with what the penalty looks back on */
            choose(s.session, &id);
            assert_int_equal(id, want[k]);
            assert_int_equal(mz_session_feed(s.session, &id, 1), MZ_OK);
        }
        assert_int_equal(mz_session_rewind(s.session, 63), MZ_EINVAL);
        mz_served_close(&s);
        close_golden(&g);
        mz_device_close(device);
    }
}

static void a_session_refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    golden g;
    mz_generated out;
    mz_device *device = open_chip("cpu");
    mz_chips on = mz_one_chip(device);
    const mz_ids empty = {0};
    open_golden(&g, "llama_tied");
    const mz_generate_options o = {
        .dtype = MZ_F32, .max_tokens = 1, .sampling = {.top_p = 1.0, .repeat_penalty = 1.0}};
    assert_int_equal(mz_generate(&out, &on, g.folder, NULL, &empty, &o), MZ_EUSAGE);
    g.prompt.at[2] = 1 << 20;
    assert_int_equal(mz_generate(&out, &on, g.folder, NULL, &g.prompt, &o), MZ_ECORRUPT);
    close_golden(&g);
    mz_device_close(device);
}

int main(void)
{
    const mz_chip *const chips[] = {mz_cpu_chip(), mz_far_chip()};
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_register(chips[i]) != MZ_OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_goes_on_as_the_official_model),
        cmocka_unit_test(eval_counts_what_the_official_logits_say),
        cmocka_unit_test(a_rewound_session_has_forgotten),
        cmocka_unit_test(a_session_refuses_what_it_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
