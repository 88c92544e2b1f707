/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_chain.c - golden models with their layers on several chips: the official
 * implementation's 24 greedy ids, the likelihoods of one chip, and ranks that do not fit. */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/opencl/opencl.h"
#include "chips/ref/ref.h"
#include "infer/eval.h"
#include "infer/generate.h"
#include "tests/golden/golden.h"

#include <math.h>

enum { N = 24, T_MAX = 64, PARTS = 3 };

/* Between them MLA and grouped heads, experts, biases, two layers and three. */
static const char *const MODELS[] = {"llama",    "llama_bias",  "qwen2",       "qwen3",
                                     "deepseek", "deepseek_v2", "deepseek_v3", "deepseek_v3_yarn"};

static int64_t layers_of(const golden *g)
{
    mz_source *s = NULL;
    assert_int_equal(mz_source_open(&s, g->folder), MZ_OK);
    const int64_t layers = mz_source_config(s)->layers;
    mz_source_close(s);
    return layers;
}

/* Empty where a chip is not there. */
static mz_chips open_chips(const char *const names[PARTS], const int64_t layers[PARTS])
{
    mz_chips chips = {0};
    for (int i = 0; i < PARTS && names[i]; i++) {
        mz_device *device = NULL;
        const mz_err err = mz_device_open(&device, names[i], &(mz_chip_options){.threads = 2});
        if (err == MZ_ENOTSUP) {
            printf("  not here: %s\n", mz_err_last()->message);
            while (chips.n > 0) mz_device_close(chips.at[--chips.n].device);
            break;
        }
        assert_int_equal(err, MZ_OK);
        chips.at[chips.n++] = (mz_placed){.device = device, .layers = layers[i]};
    }
    return chips;
}

static void close_chips(mz_chips *chips)
{
    while (chips->n > 0) {
        mz_device *device = chips->at[--chips->n].device;
        assert_int_equal(device->bytes_used, 0);
        mz_device_close(device);
    }
}

static mz_chips one_cpu(void)
{
    return open_chips((const char *const[PARTS]){"cpu"}, (const int64_t[PARTS]){0});
}

static void check_greedy(const golden *g, mz_chips *chips)
{
    mz_generated out;
    const mz_st_tensor *want = mz_st_find(g->want, "greedy.ids");
    const mz_generate_options o = {
        .dtype = MZ_F32, .max_tokens = N, .sampling = {.top_p = 1.0, .repeat_penalty = 1.0}};
    const mz_err err = mz_generate(&out, chips, g->folder, NULL, &g->prompt, &o);
    if (err != MZ_OK) fail_msg("%s: %s", g->folder, mz_err_last()->message);
    assert_true(strcmp(out.stop, "eos") == 0 ? out.ids.count < N : out.ids.count == N);
    for (size_t k = 0; k < out.ids.count; k++)
        assert_int_equal(out.ids.at[k], id_at(want, (int64_t)k));
    mz_generated_clear(&out);
}

static void score(const golden *g, mz_chips *chips, mz_dtype dtype, float out[T_MAX])
{
    mz_eval e;
    const mz_eval_options o = {.dtype = dtype, .as_stored = true, .context = 7};
    const mz_err err =
        mz_eval_run(&e, chips, g->folder, g->prompt.at, (int64_t)g->prompt.count, out, &o);
    if (err != MZ_OK) fail_msg("%s: %s", g->folder, mz_err_last()->message);
}

/* Log-probabilities against those of one cpu: the same bits, or as near as chips are. */
static void check_scores(const golden *g, mz_chips *chips, bool same)
{
    float one[T_MAX], got[T_MAX];
    mz_chips cpu = one_cpu();
    score(g, &cpu, MZ_F32, one);
    score(g, chips, MZ_F32, got);
    close_chips(&cpu);
    for (size_t i = 0; i < g->prompt.count; i++) {
        assert_true(isnan(one[i]) == isnan(got[i]));
        if (isnan(one[i])) continue;
        if (same ? memcmp(&one[i], &got[i], sizeof got[i]) != 0
                 : !(fabsf(one[i] - got[i]) <= 2e-5f))
            fail_msg("%s, token %zu: %.9g on one chip, %.9g", g->folder, i, (double)one[i],
                     (double)got[i]);
    }
}

static void several_chips_write_what_one_writes(void **state)
{
    static const struct {
        const char *const chip[PARTS];
        bool same;
    } on[] = {{{"cpu", "cpu"}, true},
              {{"cpu", "far"}, false},
              {{"opencl:0", "cpu"}, false},
              {{"far", "cpu", "far"}, false}};
    (void)state;
    for (int m = 0; m < MZ_COUNT(MODELS); m++) {
        golden g;
        open_golden(&g, MODELS[m]);
        for (int i = 0; i < MZ_COUNT(on); i++) {
            if (on[i].chip[2] && layers_of(&g) < 3) continue;
            /* 1 and what is left */
            mz_chips chips = open_chips(on[i].chip, (const int64_t[PARTS]){1});
            if (chips.n == 0) continue;
            check_greedy(&g, &chips);
            assert_int_equal(chips.at[0].layers, 1);
            check_scores(&g, &chips, on[i].same);
            close_chips(&chips);
        }
        close_golden(&g);
    }
}

static void bf16_has_the_bits_of_one_chip(void **state)
{
    golden g;
    float one[T_MAX], two[T_MAX];
    (void)state;
    open_golden(&g, "deepseek_v3_yarn");
    mz_chips cpu = one_cpu();
    mz_chips chips =
        open_chips((const char *const[PARTS]){"cpu", "cpu"}, (const int64_t[PARTS]){0});
    score(&g, &cpu, MZ_BF16, one);
    score(&g, &chips, MZ_BF16, two);
    assert_memory_equal(one, two, g.prompt.count * sizeof one[0]);
    close_chips(&cpu);
    close_chips(&chips);
    close_golden(&g);
}

static void layers_have_to_be_those_of_the_network(void **state)
{
    static const int64_t bad[][PARTS] = {{1, 2}, {2, 2}, {2, 0}, {1, 0, 1}};
    (void)state;
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        golden g;
        mz_generated out;
        const mz_generate_options o = {.dtype = MZ_F32, .max_tokens = 1};
        open_golden(&g, "qwen2");
        assert_int_equal(layers_of(&g), 2);
        mz_chips chips =
            open_chips((const char *const[PARTS]){"cpu", "far", bad[i][2] ? "cpu" : NULL}, bad[i]);
        assert_int_equal(mz_generate(&out, &chips, g.folder, NULL, &g.prompt, &o), MZ_EUSAGE);
        assert_non_null(strstr(mz_err_last()->message, "the network has 2"));
        close_chips(&chips);
        close_golden(&g);
    }
}

/* What fails on one of them says which layers and which chip. */
static void a_failure_names_its_chip(void **state)
{
    golden g;
    mz_generated out;
    const mz_generate_options o = {.dtype = MZ_F32, .max_tokens = 1};
    (void)state;
    open_golden(&g, "qwen2");
    mz_chips chips =
        open_chips((const char *const[PARTS]){"cpu", "far:f16"}, (const int64_t[PARTS]){0});
    assert_int_equal(mz_generate(&out, &chips, g.folder, NULL, &g.prompt, &o), MZ_ENOTSUP);
    if (!strstr(mz_err_last()->message, "layers 1 to 1 on far:f16: "))
        fail_msg("%s", mz_err_last()->message);
    close_chips(&chips);
    close_golden(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_chips_write_what_one_writes),
        cmocka_unit_test(bf16_has_the_bits_of_one_chip),
        cmocka_unit_test(layers_have_to_be_those_of_the_network),
        cmocka_unit_test(a_failure_names_its_chip),
    };
    const mz_chip *const chips[] = {mz_cpu_chip(), mz_far_chip(), mz_opencl_chip(), &mz_chip_ref};
    for (int i = 0; i < MZ_COUNT(chips); i++)
        if (mz_chip_register(chips[i]) != MZ_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
