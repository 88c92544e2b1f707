/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_train_config.c - what a configuration says, and forty bad ones with position and
 * hint.
 */
#include "tests/scratch.h"
#include "train/config.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOOD                                                                                       \
    "model:\n  path: m\ndata: {path: d.jsonl, seq: 16}\nrun: {dir: r, steps: 10}\n"                \
    "batch: {global: 4}\noptim: {lr: 1e-3}\n"

static mz_train_config config; /* large */

static mz_err load(const char *text, const char *override)
{
    const char *path = scratch_write("c.yaml", text);
    return mz_config_load(&config, path, &override, override ? 1 : 0);
}

static void test_layers(void **state)
{
    (void)state;
    assert_int_equal(load(GOOD, NULL), MZ_OK);
    assert_string_equal(config.model_path, "m");
    assert_int_equal(config.data_seq, 16);
    assert_true(config.data_shuffle);
    assert_true(config.lr > 0.00099999 && config.lr < 0.00100001);
    assert_int_equal(config.batch_micro, 1); /* default */
    assert_int_equal(config.schedule_kind, MZ_SCHEDULE_CONSTANT);
    assert_int_equal(config.n_ranks, 0);
    assert_int_equal(load(GOOD, "optim.lr=0.5"), MZ_OK); /* beats the file */
    assert_true(config.lr > 0.49 && config.lr < 0.51);
    assert_int_equal(load(GOOD, "ranks=[{chip: far, share: 3}]"), MZ_OK);
    assert_int_equal(config.n_ranks, 1);
    assert_string_equal(config.ranks[0].chip, "far");
    assert_int_equal(config.ranks[0].share, 3);
    assert_int_equal(load(GOOD "ranks: [{chip: far, share: auto}]\n", NULL), MZ_OK);
    assert_int_equal(config.ranks[0].share, 0);
    mz_str written = {0};
    assert_int_equal(mz_config_write(&config, &written), MZ_OK);
    assert_non_null(strstr(written.text, "ranks: [{chip: \"far\", share: auto}]\n"));
    mz_str_clear(&written);
    assert_int_equal(load(GOOD "optim.beta1: 0.5\nrun.steps: 2e3\n", NULL), MZ_ECONFIG); /* twice */
    assert_int_equal(load(GOOD "optim.beta1: 0.5\nschedule: {kind: wsd}\n", NULL), MZ_OK);
    assert_true(config.beta1 > 0.49 && config.beta1 < 0.51); /* dotted */
    assert_int_equal(config.schedule_kind, MZ_SCHEDULE_WSD);
    const char *json =
        "{\"model\": {\"config\": \"m\"}, \"data\": {\"path\": \"d\", \"seq\": 2},"
        " \"run\": {\"dir\": \"a \\\"b\\\"\", \"steps\": 1e1}, \"optim\": {\"lr\": 1},"
        " \"batch\": {\"global\": 1}, \"ranks\": [{\"chip\": \"cpu\"}]}";
    assert_int_equal(load(json, NULL), MZ_OK); /* JSON is YAML */
    assert_string_equal(config.run_dir, "a \"b\"");
    assert_int_equal(config.run_steps, 10);
    assert_int_equal(config.ranks[0].share, 1);
}

/* Names of linear maps: as PEFT's users write them, or in one text; always kept the same way. */
static void test_names(void **state)
{
    (void)state;
    static const char *const same[] = {
        "lora.targets: [q_proj, v_proj]\n", "lora: {targets: [\"q_proj\", 'v_proj']}\n",
        "lora:\n  targets:\n  - q_proj\n  - v_proj\n", "lora.targets: q_proj, v_proj\n"};
    static const char *const given[] = {"lora.targets=[q_proj,v_proj]",
                                        "lora.targets=q_proj,v_proj",
                                        "lora.targets=[\"q_proj\", 'v_proj']"};
    char text[4096];
    for (int i = 0; i < MZ_COUNT(same); i++) {
        (void)snprintf(text, sizeof text, "%s%s", GOOD, same[i]);
        assert_int_equal(load(text, NULL), MZ_OK);
        assert_string_equal(config.lora_targets, "q_proj,v_proj");
    }
    for (int i = 0; i < MZ_COUNT(given); i++) {
        assert_int_equal(load(GOOD, given[i]), MZ_OK);
        assert_string_equal(config.lora_targets, "q_proj,v_proj");
    }
    assert_int_equal(load(GOOD "lora.targets: all-linear\n", NULL), MZ_OK);
    assert_string_equal(config.lora_targets, "");
    assert_int_equal(load(GOOD "lora.targets: []\n", NULL), MZ_OK);
    assert_string_equal(config.lora_targets, "");
}

/* What is written reads back to the same, whatever the values. */
static void test_round_trip(void **state)
{
    (void)state;
    mz_str first = {0}, second = {0};
    assert_int_equal(
        load(GOOD "ranks: [{chip: 'far:f16', share: 7}]\n", "optim.lr=0.1234567890123"), MZ_OK);
    memcpy(config.run_sample_prompt, "a\"\\\n\tb", 7);
    config.eps = 1.0 / 3.0;
    assert_int_equal(mz_config_write(&config, &first), MZ_OK);
    assert_int_equal(load(first.text, NULL), MZ_OK);
    assert_int_equal(mz_config_write(&config, &second), MZ_OK);
    assert_string_equal(first.text, second.text);
    assert_string_equal(config.run_sample_prompt, "a\"\\\n\tb");
    assert_memory_equal(&config.eps, &(double){1.0 / 3.0}, sizeof(double));
    assert_non_null(strstr(second.text, "optim.lr: 0.1234567890123\n"));
    assert_non_null(strstr(second.text, "ranks: [{chip: \"far:f16\", share: 7}]\n"));
    mz_str_clear(&first);
    mz_str_clear(&second);
}

static void test_same_run(void **state)
{
    (void)state;
    mz_train_config *now = NULL;
    assert_int_equal(mz_mem_new(&now, 1, sizeof *now), MZ_OK);
    assert_int_equal(load(GOOD, NULL), MZ_OK);
    *now = config;
    now->run_keep = 9; /* changes no bit of any step */
    now->run_steps = 99;
    now->batch_micro = 2;
    assert_int_equal(mz_config_same_run(&config, now, "r"), MZ_OK);
    now->lr = 0.5;
    assert_int_equal(mz_config_same_run(&config, now, "r"), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->message, "the run in r has optim.lr 0.001"));
    *now = config;
    now->run_steps = 99;
    now->schedule_kind = config.schedule_kind = MZ_SCHEDULE_COSINE; /* steps bend the curve */
    assert_int_equal(mz_config_same_run(&config, now, "r"), MZ_ECONFIG);
    mz_mem_free(now);
}

/* ---- bad ones ---- */

typedef struct bad {
    const char *text;     /* of the file; NULL: GOOD */
    const char *override; /* or NULL */
    mz_err code;
    const char
        *position;    /* "4:9" in the file, "10" in the override; NULL: nowhere, it is missing */
    const char *says; /* in the message */
} bad;

static const bad BAD[] = {
    {"", NULL, MZ_ECONFIG, NULL, "nothing in it"},
    {"[1, 2]\n", NULL, MZ_ECONFIG, NULL, "list of keys"},
    {"just text\n", NULL, MZ_ECONFIG, NULL, "list of keys"},
    {"model: {path: m\n", NULL, MZ_ECONFIG, "2:1", "not YAML"},
    {"a: 'b\n", NULL, MZ_ECONFIG, "1:", "not YAML"},
    {"\ttab: 1\n", NULL, MZ_ECONFIG, "1:", "not YAML"},
    {GOOD "modle: {path: x}\n", NULL, MZ_ECONFIG, "7:1", "there is no key modle"},
    {GOOD "schedule: {kindd: cosine}\n", NULL, MZ_ECONFIG, "7:12", "did you mean schedule.kind?"},
    {GOOD "schedule:\n  warmpu: 3\n", NULL, MZ_ECONFIG, "8:3", "did you mean schedule.warmup?"},
    {GOOD "optim.weight_decai: 3\n", NULL, MZ_ECONFIG, "7:1", "did you mean optim.weight_decay?"},
    {GOOD "lr: 3\n", NULL, MZ_ECONFIG, "7:1", "did you mean optim.lr?"},
    {GOOD "dtyp: f32\n", NULL, MZ_ECONFIG, "7:1", "did you mean dtype?"},
    {GOOD "dtype: f16\n", NULL, MZ_ECONFIG, "7:8", "want one of f32|bf16"},
    {GOOD "dtype: [f32]\n", NULL, MZ_ECONFIG, "7:1", "not a plain value"},
    {GOOD "dtype: f32\ndtype: f32\n", NULL, MZ_ECONFIG, "8:", ""},
    {GOOD "batch.global: 4\n", NULL, MZ_ECONFIG, "7:1", "stands twice"},
    {GOOD "schedule: cosine\n", NULL, MZ_ECONFIG, "7:1", "section"},
    {GOOD "moe: {bias_rate: fast}\n", NULL, MZ_ECONFIG, "7:18", "want a number"},
    {GOOD "moe: {bias_rate: -1}\n", NULL, MZ_ECONFIG, "7:18", "want 0 to 1"},
    {GOOD "moe: {bias_rate: .nan}\n", NULL, MZ_ECONFIG, "7:18", ""},
    {GOOD "batch.micro: 1.5\n", NULL, MZ_ECONFIG, "7:14", "whole number"},
    {GOOD "batch.micro: 0\n", NULL, MZ_ECONFIG, "7:14", "want 1 to"},
    {GOOD "batch.micro: 99999999999999999999\n", NULL, MZ_ECONFIG, "7:14", ""},
    {GOOD "data.shuffle: yes\n", NULL, MZ_ECONFIG, "7:15", "want true or false"},
    {GOOD "data.shuffle: False\n", NULL, MZ_ECONFIG, "7:15", "want true or false"},
    {GOOD "ranks: cpu\n", NULL, MZ_ECONFIG, "7:1", "not a list"},
    {GOOD "ranks: [cpu]\n", NULL, MZ_ECONFIG, "7:1", "{chip: NAME, share: N}"},
    {GOOD "ranks: [{share: 1}]\n", NULL, MZ_ECONFIG, "7:1", "names no chip"},
    {GOOD "ranks:\n- chip: cpu\n  share: 0\n", NULL, MZ_ECONFIG, "9:3", "want 1 to"},
    {GOOD "ranks:\n- chip: cpu\n  shares: 2\n", NULL, MZ_ECONFIG, "9:3", "not shares"},
    {GOOD "? {a: b}\n: 1\n", NULL, MZ_ECONFIG, "7:1", "question mark"},
    {GOOD "{a: b}: 1\n", NULL, MZ_ECONFIG, NULL, "plain name"},
    {GOOD "lora.targets: [q_proj, [v_proj]]\n", NULL, MZ_ECONFIG, "7:1",
     "list of short plain names"},
    {GOOD "lora.targets: {q_proj: 1}\n", NULL, MZ_ECONFIG, "7:1", "not a plain value"},
    {NULL, "lora.targets=[q_proj,[v_proj]]", MZ_ECONFIG, NULL, "not a list of names"},
    {NULL, "lora.targets=[q_proj,,v_proj]", MZ_ECONFIG, NULL, "not a list of names"},
    {NULL, "optim.lr", MZ_ECONFIG, NULL, "not KEY=VALUE"},
    {NULL, "=3", MZ_ECONFIG, NULL, "not KEY=VALUE"},
    {NULL, "optim.rl=3", MZ_ECONFIG, NULL, "did you mean optim.lr?"},
    {NULL, "optim.lr=", MZ_ECONFIG, NULL, "want a number"},
    {NULL, "optim.lr=inf", MZ_ECONFIG, NULL, ""},
    {NULL, "optim.beta1=1", MZ_ECONFIG, NULL, "below 1"},
    {NULL, "optim.eps=0", MZ_ECONFIG, NULL, "above 0"},
    {NULL, "schedule.min_lr=1", MZ_ECONFIG, NULL, "more than optim.lr"},
    {NULL, "schedule.warmup=11", MZ_ECONFIG, NULL, "more than run.steps"},
    {NULL, "batch.micro=5", MZ_ECONFIG, NULL, "more than batch.global"},
    {NULL, "model.config=x", MZ_ECONFIG, NULL, "both given"},
    {NULL, "model.path=", MZ_ECONFIG, NULL, "neither"},
    {NULL, "data.path=", MZ_ECONFIG, NULL, "data.path is empty"},
    {NULL, "ranks=[", MZ_ECONFIG, NULL, "not YAML"},
    {NULL, "lora.rank=-1", MZ_ECONFIG, NULL, "want 0 to"},
    {NULL, "lora.adapter=a", MZ_ECONFIG, NULL, "lora.rank is 0"},
    {GOOD "lora: {rank: 4, alpha: 0}\n", NULL, MZ_ECONFIG, NULL, "lora.alpha has to be above 0"},
    {"model.config: c\nlora.rank: 4\ndata: {path: d, seq: 2}\nrun: {dir: r, steps: 1}\n"
     "batch.global: 1\noptim.lr: 1\n",
     NULL, MZ_ECONFIG, NULL, "adapters stand beside a trained model"},
    {"model.path: m\n", NULL, MZ_ECONFIG, NULL, "data.path is not given"},
    {"model.path: m\ndata: {path: d, seq: 2}\n", NULL, MZ_ECONFIG, NULL, "run.dir is not given"},
    {GOOD "---\nrun.seed: 3\n", NULL, MZ_ECONFIG, "7:1", "a second document"},
    {"---\n" GOOD "...\nrun.seed: 3\n", NULL, MZ_ECONFIG, "9:1", "a second document"},
    {GOOD "<<: {dtype: f32}\n", NULL, MZ_ECONFIG, "7:1", "merge keys"},
    {GOOD "schedule: {<<: {kind: wsd}}\n", NULL, MZ_ECONFIG, "7:12", "merge keys"},
    {"a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n", NULL, MZ_ECONFIG, "1:1", "no key a"},
    {GOOD "dtype: &x f32\nrun.seed: *x\n", NULL, MZ_ECONFIG, "8:", "not a plain value"},
    {GOOD "dtype: *nobody\n", NULL, MZ_ECONFIG, "7:", ""},
    {GOOD "\x01\x02\n", NULL, MZ_ECONFIG, "7:1", "a byte that is no text"},
    {"\x7f"
     "ELF\x02\n",
     NULL, MZ_ECONFIG, "1:1", "a byte that is no text"},
    {GOOD "run.seed: \xff\n", NULL, MZ_ECONFIG, "7:11", "a byte that is no text"},
    {"%YAML 1.1\n---\n" GOOD, NULL, MZ_ECONFIG, "1:1", "a directive"},
    {GOOD "schedule:\n\tkind: wsd\n", NULL, MZ_ECONFIG, "8:", "not YAML"},
    {GOOD "schedule:\n  kind: wsd\n kind: wsd\n", NULL, MZ_ECONFIG, "9:", "not YAML"},
    {GOOD "schedule.warmup: 11\n", NULL, MZ_ECONFIG, "7:18", "more than run.steps"},
    {GOOD "schedule:\n  min_lr: 1\n", NULL, MZ_ECONFIG, "8:11", "more than optim.lr"},
    {GOOD "batch.micro: 5\n", NULL, MZ_ECONFIG, "7:14", "more than batch.global"},
    {GOOD "optim.beta2: 1\n", NULL, MZ_ECONFIG, "7:14", "below 1"},
    {GOOD "ranks: [{chip: cpu, share: 0}, {chip: far, share: 0}]\n", NULL, MZ_ECONFIG, "7:21",
     "want 1 to"},
    {GOOD "ranks: [{chip: cpu, share: 1, layers: 1}]\n", NULL, MZ_ECONFIG, "7:1", "not both"},
    {GOOD "ranks: [{chip: cpu, layers: 1}, {chip: far, share: 1}]\n", NULL, MZ_ECONFIG, "7:1",
     "some have none"},
    {GOOD "lora:\n ? rank:\t?\n", NULL, MZ_ECONFIG, "8:1", "question mark"},
    {GOOD "- ? a\n", NULL, MZ_ECONFIG, "7:1", "question mark"},
    {GOOD "x: y\r? a:\t-\n", NULL, MZ_ECONFIG, "7:6", "question mark"},
    {GOOD "ranks: [{chip: cpu, share: automatic}]\n", NULL, MZ_ECONFIG, "7:21", "or auto"},
    {GOOD "ranks: [{chip: cpu, share: auto}, {chip: far}]\n", NULL, MZ_ECONFIG, "7:1",
     "some shares are auto"},
    {NULL, "ranks=[{chip: cpu, share: auto, layers: 2}]", MZ_ECONFIG, NULL, "not both"},
    {GOOD "ranks: [{chip: a, share: auto}, {chip: b, share: auto}, {chip: c, share: auto}, "
          "{chip: d, share: auto}, {chip: e, share: auto}]\n",
     NULL, MZ_ECONFIG, "7:1", "a step has 4 samples"},
    {GOOD "ranks: [{chip: cpu, layers: -1}]\n", NULL, MZ_ECONFIG, "7:21", "want 1 to"},
    {GOOD "lora: {targets: [q_proj, [v_proj]]}\n", NULL, MZ_ECONFIG, "7:", "plain names"},
    {"{\"model\": {}} {\"run\": {}}\n", NULL, MZ_ECONFIG, "1:", "not YAML"},
    {"{\"model\": {}} ]\n", NULL, MZ_ECONFIG, "1:", "not YAML"},
    {NULL, "model=", MZ_ECONFIG, "1", "no key model"},
    {NULL, "optim.lr=1e-3 # fast", MZ_ECONFIG, "10", "want a number"},
    {NULL, "ranks=[{chip: cpu}] [", MZ_ECONFIG, "7", "not YAML"},
};

/* Says what is wrong and goes on, so that one run shows all. */
static bool is_refused_well(int i)
{
    const bad *b = &BAD[i];
    char where[600] = "";
    mz_err_clear();
    const mz_err err = load(b->text ? b->text : GOOD, b->override);
    const mz_err_info *info = mz_err_last();
    bool good = err == b->code && strstr(info->message, b->says) && info->fix[0];
    (void)snprintf(where, sizeof where, "%s%s%s",
                   b->override ? b->override : scratch_path("c.yaml"), b->position ? ":" : "",
                   b->position ? b->position : "");
    good = good && strncmp(info->message, where, strlen(where)) == 0 &&
           strcmp(info->file, b->override ? "" : scratch_path("c.yaml")) == 0;
    if (!good)
        print_error("case %d: %s %s (%s), want %s %s \"%s\"\n", i, mz_err_name(err), info->message,
                    info->fix, mz_err_name(b->code), where, b->says);
    return good;
}

static void test_bad(void **state)
{
    (void)state;
    int wrong = 0;
    assert_true(MZ_COUNT(BAD) >= 40);
    for (int i = 0; i < MZ_COUNT(BAD); i++) wrong += !is_refused_well(i);
    assert_int_equal(wrong, 0);
}

/* Nothing that is cut off or bent is taken for more than it is, and nothing crashes. */
static void test_bytes(void **state)
{
    (void)state;
    const char *text = GOOD "ranks: [{chip: cpu, share: 2}]\nschedule: {kind: wsd}\n";
    char copy[512];
    const size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, text, n + 1);
        copy[i] = '\0'; /* cut */
        (void)load(copy, NULL);
        memcpy(copy, text, n + 1);
        copy[i] = (char)(copy[i] ^ (i % 2 ? 0x20 : 0x07));
        if (copy[i] != '\0') (void)load(copy, NULL);
    }
}

static void test_no_file(void **state)
{
    (void)state;
    assert_int_equal(mz_config_load(&config, scratch_path("none.yaml"), NULL, 0), MZ_EIO);
    const char *all[] = {"model.config=m", "data.path=d", "data.seq=4",    "run.dir=r",
                         "run.steps=1",    "optim.lr=1",  "batch.global=1"};
    assert_int_equal(mz_config_load(&config, NULL, all, MZ_COUNT(all)), MZ_OK);
    assert_int_equal(config.batch_global, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_same_run),
        cmocka_unit_test(test_bad),        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
