/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_train_ascend.c - small models of two families trained on the emulated Ascend,
 * alone and beside unlike chips, against the same steps on one cpu; where the operations ran, and
 * how often the host waited. Nothing of it is a measurement. */
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/emu/families.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 3, STEPS = 6, MICROS = 3, ROWS = 120, SEQ = 16, VOCAB = 272 };

static const small_family FAMILIES[] = FAMILY_LIST("3", ",\"num_nextn_predict_layers\":1");

static const char *driver; /* the emulated one's folder */

static void write_rows(void)
{
    mz_str s = {0};
    mz_rng rng;
    mz_rng_init(&rng, 11, 0);
    for (int row = 0; row < ROWS; row++) {
        const int even = (int)mz_rng_below(&rng, VOCAB);
        for (int t = 0; t <= SEQ; t++) {
            const int id = row % 3 ? (int)mz_rng_below(&rng, VOCAB) : even;
            assert_int_equal(mz_str_addf(&s, "%s%d", t ? "," : "{\"ids\":[", id), MZ_OK);
        }
        assert_int_equal(mz_str_addf(&s, "]}\n"), MZ_OK);
    }
    (void)put_file("rows.jsonl", s.text);
    mz_str_clear(&s);
}

static int set_up(void **state)
{
    driver = driver_folder();
    if (program_set_up(state) != 0) return -1;
    write_rows();
    for (int i = 0; i < (int)(sizeof FAMILIES / sizeof *FAMILIES); i++)
        put_family(&FAMILIES[i], SEQ, STEPS, 2 * MICROS);
    return 0;
}

/* Trains the family with these keys on a chip (NULL: what the keys say), --json. */
static void train(const char *family, const char *run, const char *chip,
                  const char *const keys[KEYS])
{
    char dir[PATH_BYTES], config[64];
    const char *words[WORDS_MAX] = {"train", NULL, "--threads", "1", "--json", "--driver-path"};
    int n = 6;
    (void)snprintf(config, sizeof config, "%s.yaml", family);
    (void)snprintf(dir, sizeof dir, "run.dir=%s", program_path(run));
    words[1] = program_path(config);
    words[n++] = driver;
    words[n++] = dir;
    if (chip) words[n++] = "--chip", words[n++] = chip;
    for (int i = 0; i < KEYS; i++)
        if (keys[i]) words[n++] = keys[i];
    const int code = program_run(words);
    if (code != 0) fail_msg("%s: exit %d: %s", run, code, program_text("err"));
}

static void read_losses(const char *run, double loss[STEPS])
{
    char name[128], *text = NULL;
    size_t bytes = 0;
    (void)snprintf(name, sizeof name, "%s/log.jsonl", run);
    assert_int_equal(mz_file_read(program_path(name), 1 << 20, &text, &bytes), MZ_OK);
    const char *at = text;
    for (int i = 0; i < STEPS; i++, at = strchr(at, '\n') + 1) {
        assert_true(at && *at);
        json_t *o = json_loadb(at, strcspn(at, "\n"), 0, NULL);
        assert_true(json_is_number(json_object_get(o, "loss")));
        loss[i] = json_number_value(json_object_get(o, "loss"));
        json_decref(o);
    }
    mz_mem_free(text);
}

/* limit: of the difference; of its share where that is what is asked. */
static void compare(const char *run, const double want[STEPS], double limit, bool is_share)
{
    double got[STEPS], worst = 0.0;
    read_losses(run, got);
    for (int i = 0; i < STEPS; i++) {
        const double off = fabs(got[i] - want[i]) / (is_share ? want[i] : 1.0);
        if (!(off <= limit)) print_error("%s: step %d: %.9g, want %.9g\n", run, i, got[i], want[i]);
        assert_true(off <= limit);
        worst = off > worst ? off : worst;
    }
    print_message("%s: %d steps, worst %.2g of %.2g%s\n", run, STEPS, worst, limit,
                  is_share ? ", as shares" : "");
}

/* ---- what it is about ---- */

static void alone(void **state)
{
    static const char *const plain[KEYS] = {NULL}, *const bf16[KEYS] = {"dtype=bf16"};
    (void)state;
    for (int i = 0; i < (int)(sizeof FAMILIES / sizeof *FAMILIES); i++) {
        const char *family = FAMILIES[i].name;
        double want[STEPS];
        char cpu[64], ascend[64];
        for (int wide = 1; wide >= 0; wide--) {
            const char *const *keys = wide ? plain : bf16;
            (void)snprintf(cpu, sizeof cpu, "%s-%s-cpu", family, wide ? "f32" : "bf16");
            (void)snprintf(ascend, sizeof ascend, "%s-%s-ascend", family, wide ? "f32" : "bf16");
            train(family, cpu, NULL, keys);
            train(family, ascend, "ascend:0", keys);
            assert_non_null(strstr(program_text("err"), "EMULATED"));
            read_losses(cpu, want);
            compare(ascend, want, wide ? 1e-4 : 1e-2, !wide);
        }
    }
}

/* One cpu, one OpenCL device where there is one, one Ascend: each takes its share of the rows, or
 * its layers. */
static void beside_other_chips(void **state)
{
    (void)state;
    const bool opencl = program_has_chip("opencl");
    const char *const shares = opencl ? "ranks=[{chip: cpu}, {chip: opencl:0}, {chip: ascend:0}]"
                                      : "ranks=[{chip: cpu, share: 2}, {chip: ascend:0}]";
    const char *const layers = opencl
                                   ? "ranks=[{chip: cpu, layers: 1}, {chip: opencl:0, layers: 1}, "
                                     "{chip: ascend:0, layers: 1}]"
                                   : "ranks=[{chip: cpu, layers: 2}, {chip: ascend:0, layers: 1}]";
    const char *const keys[2][KEYS] = {{shares}, {layers}}, *const names[2] = {"data", "pipeline"};
    if (!opencl) print_message("no OpenCL driver here: two kinds of chip instead of three\n");
    for (int i = 0; i < (int)(sizeof FAMILIES / sizeof *FAMILIES); i++) {
        double want[STEPS];
        char run[64];
        (void)snprintf(run, sizeof run, "%s-f32-cpu", FAMILIES[i].name);
        read_losses(run, want);
        for (int k = 0; k < 2; k++) {
            (void)snprintf(run, sizeof run, "%s-%s", FAMILIES[i].name, names[k]);
            train(FAMILIES[i].name, run, NULL, keys[k]);
            compare(run, want, 1e-4, false);
        }
    }
}

/* A step on each kind of chip in turn, from checkpoint to checkpoint, is one run's steps. */
static void from_chip_to_chip(void **state)
{
    (void)state;
    const bool opencl = program_has_chip("opencl");
    const struct {
        const char *chip, *ranks;
    } walk[STEPS] = {
        {"cpu", NULL},
        {"ascend:0", NULL},
        {opencl ? "opencl:0" : "cpu", NULL},
        {NULL, "ranks=[{chip: ascend:0}, {chip: cpu, share: 2}]"},
        {"ascend:0", NULL},
        {NULL, "ranks=[{chip: cpu, layers: 1}, {chip: ascend:0, layers: 2}]"},
    };
    for (int i = 0; i < (int)(sizeof FAMILIES / sizeof *FAMILIES); i++) {
        double want[STEPS];
        char run[64], until[64];
        (void)snprintf(run, sizeof run, "%s-walk", FAMILIES[i].name);
        for (int k = 0; k < STEPS; k++) {
            (void)snprintf(until, sizeof until, "run.steps=%d", k + 1);
            const char *const keys[KEYS] = {until, walk[k].ranks};
            train(FAMILIES[i].name, run, walk[k].chip, keys);
        }
        (void)snprintf(until, sizeof until, "%s-f32-cpu", FAMILIES[i].name);
        read_losses(until, want);
        compare(run, want, 1e-4, false);
    }
}

/* What the emulated driver counted in these runs, as one process each. */
typedef struct counted {
    int64_t waits, calls, cube_flop, allocations;
} counted;

static int64_t counter(const json_t *device, const char *name)
{
    assert_true(json_is_integer(json_object_get(device, name)));
    return json_integer_value(json_object_get(device, name));
}

static counted read_counters(const char *folder)
{
    char *text = NULL, path[PATH_BYTES];
    size_t bytes = 0;
    const struct dirent *entry;
    counted n = {0};
    DIR *d = opendir(folder);
    assert_non_null(d);
    while ((entry = readdir(d))) {
        if (entry->d_name[0] == '.') continue;
        assert_int_equal(n.calls, 0); /* there is one */
        assert_int_equal(mz_path_join(path, sizeof path, folder, entry->d_name), MZ_OK);
        assert_int_equal(mz_file_read(path, 1 << 20, &text, &bytes), MZ_OK);
        json_t *o = json_loads(text, 0, NULL);
        const json_t *device = json_array_get(json_object_get(o, "devices"), 0);
        n = (counted){counter(device, "host_waits"), counter(device, "operators"),
                      counter(device, "cube_flop"), counter(device, "allocations")};
        json_decref(o);
        mz_mem_free(text);
    }
    closedir(d);
    return n;
}

/* A run of so many steps. As a rank, because a run without ranks measures products first, as often
 * as it takes. */
static counted count(const char *family, int steps, bool has_experts)
{
    char many[32];
    const char *const keys[KEYS] = {"ranks=[{chip: ascend:0}]", many,
                                    has_experts ? "moe.bias_rate=0.001" : NULL};
    const char *folder = program_path("counters");
    (void)snprintf(many, sizeof many, "run.steps=%d", steps);
    assert_int_equal(mz_file_mkdirs(folder), MZ_OK);
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_COUNTERS", folder, 1), 0);
    train(family, "counted", NULL, keys);
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_COUNTERS"), 0);
    const counted n = read_counters(program_path("counters"));
    assert_int_equal(mz_folder_remove(program_path("counters")), MZ_OK);
    assert_int_equal(mz_folder_remove(program_path("counted")), MZ_OK);
    return n;
}

/* By the backend's account and by the emulated driver's. The host waits once a step, for the losses
 * of its micro-batches, the norm of the gradients and the experts' loads together; no operator
 * makes it wait, and no step asks for memory. */
static void on_the_device_without_waiting(void **state)
{
    static const char *const plain[KEYS] = {NULL};
    (void)state;
    for (int i = 0; i < (int)(sizeof FAMILIES / sizeof *FAMILIES); i++) {
        train(FAMILIES[i].name, "whole", "ascend:0", plain);
        json_t *o = program_json();
        const json_t *work = json_object_get(o, "work");
        const double share = json_number_value(json_object_get(work, "device_share"));
        const double flop = json_number_value(json_object_get(work, "device_flop")) / STEPS;
        const bool has_experts = strstr(FAMILIES[i].network, "experts");
        const counted few = count(FAMILIES[i].name, 2, has_experts);
        const counted many = count(FAMILIES[i].name, 12, has_experts);
        const int64_t waits = many.waits - few.waits, calls = many.calls - few.calls;
        print_message("%s: %.1f %% of %.3g FLOP a step on the device, %.1f waits and %.0f calls a "
                      "step (emulated)\n",
                      FAMILIES[i].name, 100 * share, flop, (double)waits / 10.0,
                      (double)calls / 10.0);
        assert_true(share >= 0.99 && flop > 0);
        assert_true((double)(many.cube_flop - few.cube_flop) > 5 * flop);
        assert_true(calls > 10 * 100);
        assert_int_equal(waits, 10);
        assert_int_equal(many.allocations, few.allocations);
        json_decref(o);
        assert_int_equal(mz_folder_remove(program_path("whole")), MZ_OK);
    }
}

/* A runtime that fails while operators are bound is a fault of the chip, and not taken for an
 * operator that it lacks. */
static void faults_are_no_lack(void **state)
{
    char dir[PATH_BYTES];
    (void)snprintf(dir, sizeof dir, "run.dir=%s", program_path("faulty"));
    const char *const words[] = {
        "train", program_path("qwen2.yaml"), dir, "--chip", "ascend:0", "--driver-path", driver,
        NULL};
    (void)state;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_FAULTS", "error call=aclnnFlashAttention* at=1", 1),
                     0);
    const int code = program_run(words);
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_FAULTS"), 0);
    const char *said = program_text("err");
    if (code != 75 || !strstr(said, "361001")) fail_msg("exit %d: %s", code, said);
    assert_null(strstr(said, "cannot do"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),
        cmocka_unit_test(beside_other_chips),
        cmocka_unit_test(from_chip_to_chip),
        cmocka_unit_test(on_the_device_without_waiting),
        cmocka_unit_test(faults_are_no_lack),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
