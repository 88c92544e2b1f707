/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_chain.c - golden models with their layers on several chips: the official
 * implementation's 24 greedy ids, the likelihoods of one chip, and ranks that do not fit. */
#include "base/file.h"
#include "base/mem.h"
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/opencl/opencl.h"
#include "chips/ref/ref.h"
#include "file/safetensors.h"
#include "infer/eval.h"
#include "infer/generate.h"
#include "tests/near.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 24, T_MAX = 64, PARTS = 3 };

/* Between them MLA and grouped heads, experts, biases, two layers and three. */
static const char *const MODELS[] = {"llama",    "llama_bias",  "qwen2",       "qwen3",
                                     "deepseek", "deepseek_v2", "deepseek_v3", "deepseek_v3_yarn"};

typedef struct text {
    char folder[128];
    mz_ids ids; /* row 0 */
    int32_t greedy[N];
    int64_t layers;
} text;

static int64_t id_at(const mz_st_tensor *t, int64_t i)
{
    int64_t x;
    memcpy(&x, (const char *)t->data + i * 8, 8);
    return x;
}

static void read_text(text *t, const char *name)
{
    char path[192];
    mz_st_file *in = NULL, *want = NULL;
    mz_source *s = NULL;
    *t = (text){0};
    snprintf(t->folder, sizeof t->folder, "tests/golden/%s", name);
    snprintf(path, sizeof path, "%s/in.safetensors", t->folder);
    assert_int_equal(mz_st_open(&in, path), MZ_OK);
    snprintf(path, sizeof path, "%s/want.safetensors", t->folder);
    assert_int_equal(mz_st_open(&want, path), MZ_OK);
    const mz_st_tensor *ids = mz_st_find(in, "ids"), *greedy = mz_st_find(want, "greedy.ids");
    assert_true(ids->dim[1] <= T_MAX);
    for (int64_t i = 0; i < ids->dim[1]; i++)
        assert_int_equal(mz_ids_add(&t->ids, id_at(ids, i)), MZ_OK);
    for (int i = 0; i < N; i++) t->greedy[i] = (int32_t)id_at(greedy, i);
    assert_int_equal(mz_source_open(&s, t->folder), MZ_OK);
    t->layers = mz_source_config(s)->layers;
    mz_source_close(s);
    mz_st_close(in);
    mz_st_close(want);
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

static void check_greedy(const text *t, mz_chips *chips)
{
    mz_generated out;
    const mz_generate_options o = {
        .dtype = MZ_F32, .max_tokens = N, .sampling = {.top_p = 1.0, .repeat_penalty = 1.0}};
    const mz_err err = mz_generate(&out, chips, t->folder, NULL, &t->ids, &o);
    if (err != MZ_OK) fail_msg("%s: %s", t->folder, mz_err_last()->message);
    assert_true(strcmp(out.stop, "eos") == 0 ? out.ids.count < N : out.ids.count == N);
    for (size_t k = 0; k < out.ids.count; k++) assert_int_equal(out.ids.at[k], t->greedy[k]);
    mz_generated_clear(&out);
}

static void score(const text *t, mz_chips *chips, mz_dtype dtype, float out[T_MAX])
{
    mz_eval e;
    const mz_eval_options o = {.dtype = dtype, .as_stored = true, .context = 7};
    const mz_err err = mz_eval_run(&e, chips, t->folder, t->ids.at, (int64_t)t->ids.count, out, &o);
    if (err != MZ_OK) fail_msg("%s: %s", t->folder, mz_err_last()->message);
}

/* Log-probabilities against those of one cpu: the same bits, or as near as chips are. */
static void check_scores(const text *t, mz_chips *chips, bool same)
{
    float one[T_MAX], got[T_MAX];
    mz_chips cpu = one_cpu();
    score(t, &cpu, MZ_F32, one);
    score(t, chips, MZ_F32, got);
    close_chips(&cpu);
    for (size_t i = 0; i < t->ids.count; i++) {
        assert_true(isnan(one[i]) == isnan(got[i]));
        if (isnan(one[i])) continue;
        if (same ? memcmp(&one[i], &got[i], sizeof got[i]) != 0
                 : !(fabsf(one[i] - got[i]) <= 2e-5f))
            fail_msg("%s, token %zu: %.9g on one chip, %.9g", t->folder, i, (double)one[i],
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
        text t;
        read_text(&t, MODELS[m]);
        for (int i = 0; i < MZ_COUNT(on); i++) {
            if (on[i].chip[2] && t.layers < 3) continue;
            /* 1 and what is left */
            mz_chips chips = open_chips(on[i].chip, (const int64_t[PARTS]){1});
            if (chips.n == 0) continue;
            check_greedy(&t, &chips);
            assert_int_equal(chips.at[0].layers, 1);
            check_scores(&t, &chips, on[i].same);
            close_chips(&chips);
        }
        mz_ids_clear(&t.ids);
    }
}

static void bf16_has_the_bits_of_one_chip(void **state)
{
    text t;
    float one[T_MAX], two[T_MAX];
    (void)state;
    read_text(&t, "deepseek_v3_yarn");
    mz_chips cpu = one_cpu();
    mz_chips chips =
        open_chips((const char *const[PARTS]){"cpu", "cpu"}, (const int64_t[PARTS]){0});
    score(&t, &cpu, MZ_BF16, one);
    score(&t, &chips, MZ_BF16, two);
    assert_memory_equal(one, two, t.ids.count * sizeof one[0]);
    close_chips(&cpu);
    close_chips(&chips);
    mz_ids_clear(&t.ids);
}

static void layers_have_to_be_those_of_the_network(void **state)
{
    static const int64_t bad[][PARTS] = {{1, 2}, {2, 2}, {2, 0}, {1, 0, 1}};
    (void)state;
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        text t;
        mz_generated out;
        const mz_generate_options o = {.dtype = MZ_F32, .max_tokens = 1};
        read_text(&t, "qwen2");
        assert_int_equal(t.layers, 2);
        mz_chips chips =
            open_chips((const char *const[PARTS]){"cpu", "far", bad[i][2] ? "cpu" : NULL}, bad[i]);
        assert_int_equal(mz_generate(&out, &chips, t.folder, NULL, &t.ids, &o), MZ_EUSAGE);
        assert_non_null(strstr(mz_err_last()->message, "the network has 2"));
        close_chips(&chips);
        mz_ids_clear(&t.ids);
    }
}

/* What fails on one of them says which layers and which chip. */
static void a_failure_names_its_chip(void **state)
{
    text t;
    mz_generated out;
    const mz_generate_options o = {.dtype = MZ_F32, .max_tokens = 1};
    (void)state;
    read_text(&t, "qwen2");
    mz_chips chips =
        open_chips((const char *const[PARTS]){"cpu", "far:f16"}, (const int64_t[PARTS]){0});
    assert_int_equal(mz_generate(&out, &chips, t.folder, NULL, &t.ids, &o), MZ_ENOTSUP);
    if (!strstr(mz_err_last()->message, "layers 1 to 1 on far:f16: "))
        fail_msg("%s", mz_err_last()->message);
    close_chips(&chips);
    mz_ids_clear(&t.ids);
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
