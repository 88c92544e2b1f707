/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_hccl_ascend.c - runs on several emulated NPUs: who adds up their gradients, and
 * what is said where HCCL cannot be had. Nothing of it is a measurement. */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/e2e/program.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 4, ROWS = 60, SEQ = 16, VOCAB = 272 };

#define TWO "ranks=[{chip: ascend:0}, {chip: ascend:1}]"

static const char NETWORK[] =
    "{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":32,"
    "\"intermediate_size\":64,\"vocab_size\":272,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"max_position_embeddings\":64,"
    "\"initializer_range\":0.15,\"rms_norm_eps\":1e-6,\"rope_theta\":10000,"
    "\"tie_word_embeddings\":false,\"hidden_act\":\"silu\",\"bos_token_id\":null,"
    "\"eos_token_id\":null}";

static const char *driver; /* the emulated one's folder */

static const char *put_file(const char *name, const char *text)
{
    const char *path = program_path(name);
    assert_int_equal(mz_file_write(path, text, strlen(text)), MZ_OK);
    return path;
}

static void write_rows(void)
{
    mz_str s = {0};
    mz_rng rng;
    mz_rng_init(&rng, 12, 0);
    for (int row = 0; row < ROWS; row++) {
        for (int t = 0; t <= SEQ; t++)
            assert_int_equal(
                mz_str_addf(&s, "%s%d", t ? "," : "{\"ids\":[", (int)mz_rng_below(&rng, VOCAB)),
                MZ_OK);
        assert_int_equal(mz_str_addf(&s, "]}\n"), MZ_OK);
    }
    (void)put_file("rows.jsonl", s.text);
    mz_str_clear(&s);
}

static int set_up(void **state)
{
    char text[2048];
    driver = getenv("MIZAN_EMU_ASCEND_FOLDER");
    if (!driver) {
        print_message("MIZAN_EMU_ASCEND_FOLDER names no emulated driver: skipped\n");
        exit(77);
    }
    if (program_set_up(state) != 0) return -1;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_DEVICES", "4", 1), 0);
    write_rows();
    const char *network = put_file("network.json", NETWORK);
    (void)snprintf(text, sizeof text,
                   "model.config: %s\ndata: {path: %s, seq: %d}\noptim.lr: 0.003\n"
                   "run: {dir: none, steps: %d, checkpoint_every: 0, tensorboard: false}\n"
                   "batch: {global: 6, micro: 2}\n",
                   network, program_path("rows.jsonl"), SEQ, STEPS);
    (void)put_file("run.yaml", text);
    return 0;
}

/* Trains on these ranks: the exit code. */
static int train(const char *run, const char *ranks, const char *drivers, const char *key)
{
    char dir[PATH_BYTES];
    (void)snprintf(dir, sizeof dir, "run.dir=%s", program_path(run));
    const char *const words[] = {"train", program_path("run.yaml"), dir,     ranks, "--threads",
                                 "1",     "--driver-path",          drivers, key,   NULL};
    return program_run(words);
}

/* What RUN/collectives.json says of the ranks. */
static void assert_decided(const char *run, const char *by, const char *why)
{
    char name[64];
    json_error_t error;
    (void)snprintf(name, sizeof name, "%s/collectives.json", run);
    json_t *o = json_load_file(program_path(name), 0, &error);
    const json_t *one = json_object_iter_value(json_object_iter(json_object_get(o, "ranks")));
    assert_non_null(one);
    assert_string_equal(json_string_value(json_object_get(one, "by")), by);
    const char *said = json_string_value(json_object_get(one, "why"));
    if (!strstr(said, why)) fail_msg("%s: %s", run, said);
    json_decref(o);
}

static void assert_said(const char *what)
{
    const char *said = program_text("err");
    if (!strstr(said, what)) fail_msg("not \"%s\" in: %s", what, said);
}

/* The emulated driver's folder once more, its HCCL left out, or this one in its place. */
static const char *without_hccl(const char *name, const char *instead)
{
    const char *folder = program_path(name);
    const struct dirent *entry;
    char from[PATH_BYTES], to[PATH_BYTES];
    DIR *d = opendir(driver);
    assert_non_null(d);
    assert_int_equal(mz_file_mkdirs(folder), MZ_OK);
    while ((entry = readdir(d))) {
        const bool is_hccl = strcmp(entry->d_name, "libhccl.so") == 0;
        if (entry->d_name[0] == '.' || (is_hccl && !instead)) continue;
        assert_int_equal(mz_path_join(from, sizeof from, driver, entry->d_name), MZ_OK);
        assert_int_equal(mz_path_join(to, sizeof to, folder, entry->d_name), MZ_OK);
        assert_int_equal(symlink(is_hccl ? instead : from, to), 0);
    }
    closedir(d);
    return folder;
}

/* ---- what it is about ---- */

static void says_what_is_missing(void **state)
{
    char folder[PATH_BYTES];
    const char *stub = getenv("MIZAN_STUB_HCCL");
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", without_hccl("bare", NULL));
    assert_int_equal(train("missing", TWO, folder, NULL), 0);
    assert_said("added up through the host: rank 0 on ascend:0: no HCCL");
    assert_decided("missing", "host", "libhccl.so");
    assert_int_equal(train("wanted", TWO, folder, "run.collectives=device"), 69);
    assert_said("run.collectives is device, and rank 0 on ascend:0 cannot: no HCCL");
    if (!stub) return;
    (void)snprintf(folder, sizeof folder, "%s", without_hccl("stub", stub));
    assert_int_equal(train("stubbed", TWO, folder, NULL), 0);
    assert_said("the one to link against, which answers every call with 100039");
    assert_decided("stubbed", "host", "100039");
}

/* Two cpus have none, nor have unlike chips. */
static void says_that_there_is_no_group(void **state)
{
    static const char *const RANKS[] = {"ranks=[{chip: cpu}, {chip: cpu}]",
                                        "ranks=[{chip: cpu}, {chip: ascend:0}]"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(train("alone", RANKS[i], driver, "run.collectives=device"), 69);
        assert_said("no two ranks are chips of one kind");
        assert_int_equal(train("alone", RANKS[i], driver, NULL), 0);
        assert_null(strstr(program_text("err"), "added up"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(says_that_there_is_no_group),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
