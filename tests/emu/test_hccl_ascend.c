/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_hccl_ascend.c - runs on several emulated NPUs, whose gradients the emulated HCCL
 * adds up: against one cpu, what crosses the host, ranks that are killed, collectives that do not
 * end, and what is said where there is no HCCL. Nothing of it is a measurement. */
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/emu/families.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 6, LONG = 48, ROWS = 160, SEQ = 16, VOCAB = 272, KEYS = 5 };

#define TWO "ranks=[{chip: ascend:0}, {chip: ascend:1}]"
#define FOUR                                                                                       \
    "ranks=[{chip: ascend:0, share: 2}, {chip: ascend:1}, {chip: ascend:2}, "                      \
    "{chip: ascend:3, share: 2}]"

static const small_family FAMILIES[] = FAMILY_LIST("2", "");

static const char *driver; /* the emulated one's folder */

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
    driver = driver_folder();
    if (program_set_up(state) != 0) return -1;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_DEVICES", "4", 1), 0);
    write_rows();
    for (int i = 0; i < (int)(sizeof FAMILIES / sizeof *FAMILIES); i++)
        put_family(&FAMILIES[i], SEQ, STEPS, 6);
    return 0;
}

typedef struct training {
    const char *family; /* NULL: qwen2 */
    const char *run, *ranks, *driver;
    const char *keys[KEYS];
} training;

static pid_t start(const training *t)
{
    char dir[PATH_BYTES], config[64];
    const char *words[WORDS_MAX] = {"train", NULL, "--threads", "1", "--driver-path"};
    int n = 5;
    (void)snprintf(config, sizeof config, "%s.yaml", t->family ? t->family : "qwen2");
    (void)snprintf(dir, sizeof dir, "run.dir=%s", program_path(t->run));
    words[1] = program_path(config);
    words[n++] = t->driver ? t->driver : driver;
    words[n++] = dir;
    if (t->ranks) words[n++] = t->ranks;
    for (int i = 0; i < KEYS && t->keys[i]; i++) words[n++] = t->keys[i];
    return program_start(words, 0);
}

static void train(const training *t, int code)
{
    const int got = program_wait(start(t));
    if (got != code) fail_msg("%s: exit %d and not %d: %s", t->run, got, code, program_text("err"));
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

/* SHA-256 of all that a checkpoint holds; the caller frees it. */
static char *hash_of(const char *run)
{
    const char *const words[] = {"runs", "hash", program_path(run), "--json", NULL};
    assert_int_equal(program_run(words), 0);
    json_t *o = program_json();
    (void)json_object_del(o, "run");
    char *text = json_dumps(o, JSON_SORT_KEYS);
    json_decref(o);
    assert_non_null(text);
    return text;
}

/* What the steps that stand in the log say of `key`: how many there are. */
static int read_log(const char *run, const char *key, double value[LONG])
{
    char name[128], *text = NULL;
    size_t bytes = 0;
    int n = 0;
    (void)snprintf(name, sizeof name, "%s/log.jsonl", run);
    if (mz_file_read(program_path(name), 1 << 20, &text, &bytes) != MZ_OK) return 0;
    for (const char *at = text; n < LONG && strchr(at, '\n'); at = strchr(at, '\n') + 1) {
        json_t *o = json_loadb(at, strcspn(at, "\n"), 0, NULL);
        value[n++] = json_number_value(json_object_get(o, key));
        json_decref(o);
    }
    mz_mem_free(text);
    return n;
}

/* Losses and norms of the gradients. limit: of the difference; of its share where that is asked. */
static void compare(const char *run, const char *with, double limit, bool is_share)
{
    static const char *const VALUES[] = {"loss", "grad_norm"};
    double got[LONG], want[LONG], worst[2] = {0.0};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(read_log(run, VALUES[k], got), STEPS);
        assert_int_equal(read_log(with, VALUES[k], want), STEPS);
        for (int i = 0; i < STEPS; i++) {
            const double off = fabs(got[i] - want[i]) / (is_share ? want[i] : 1.0);
            if (!(off <= limit))
                fail_msg("%s: %s of step %d: %.9g, want %.9g", run, VALUES[k], i + 1, got[i],
                         want[i]);
            worst[k] = off > worst[k] ? off : worst[k];
        }
    }
    print_message("%s: %d steps, loss %.2g and norm %.2g of %.2g%s (emulated)\n", run, STEPS,
                  worst[0], worst[1], limit, is_share ? ", as shares" : "");
}

/* ---- what it is about ---- */

/* Two and four NPUs, two behind hosted, two beside a cpu: each step's loss is that of one cpu. */
static void as_one_cpu(void **state)
{
    static const struct {
        const char *name, *ranks, *said;
    } TEAMS[] = {
        {"two", TWO, "HCCL adds up the gradients of ranks 0, 1 on their devices\n"},
        {"four", FOUR, "HCCL adds up the gradients of ranks 0, 1, 2, 3 on their devices\n"},
        {"hosted", "ranks=[{chip: hosted:ascend:0}, {chip: hosted:ascend:1}]",
         "HCCL adds up the gradients of ranks 0, 1 on their devices\n"},
        {"mixed", "ranks=[{chip: ascend:0}, {chip: cpu, share: 3}, {chip: ascend:1, share: 2}]",
         "HCCL adds up the gradients of ranks 0, 2 on their devices; between them and others"},
    };
    (void)state;
    for (int i = 0; i < 2 * MZ_COUNT(FAMILIES); i++) {
        const char *family = FAMILIES[i / 2].name, *dtype = i % 2 ? "dtype=bf16" : "dtype=f32";
        char cpu[64], run[64];
        (void)snprintf(cpu, sizeof cpu, "%s-%s-cpu", family, dtype);
        train(&(training){.family = family, .run = cpu, .keys = {dtype}}, 0);
        for (int k = 0; k < MZ_COUNT(TEAMS); k++) {
            (void)snprintf(run, sizeof run, "%s-%s-%s", family, dtype, TEAMS[k].name);
            train(&(training){.family = family,
                              .run = run,
                              .ranks = TEAMS[k].ranks,
                              .keys = {dtype, "run.collectives=device"}},
                  0);
            assert_said(TEAMS[k].said);
            compare(run, cpu, i % 2 ? 1e-2 : 1e-4, i % 2);
            assert_decided(run, "HCCL", "");
        }
    }
}

/* Two steps on a cpu, two on four NPUs, two beside a cpu: one run's steps. */
static void moved(void **state)
{
    static const char *const RANKS[STEPS / 2] = {
        NULL, FOUR, "ranks=[{chip: cpu}, {chip: ascend:2}, {chip: ascend:1}]"};
    (void)state;
    for (int i = 0; i < MZ_COUNT(FAMILIES); i++) {
        char run[64], until[64];
        (void)snprintf(run, sizeof run, "%s-moved", FAMILIES[i].name);
        for (int k = 0; k < STEPS / 2; k++) {
            (void)snprintf(until, sizeof until, "run.steps=%d", 2 * k + 2);
            train(
                &(training){
                    .family = FAMILIES[i].name, .run = run, .ranks = RANKS[k], .keys = {until}},
                0);
            if (RANKS[k]) assert_said("HCCL adds up the gradients");
        }
        (void)snprintf(until, sizeof until, "%s-dtype=f32-cpu", FAMILIES[i].name);
        compare(run, until, 1e-4, false);
    }
}

/* What trains lies between what does not: each rank gives its adapters in many small calls. */
static void adapters(void **state)
{
    char model[PATH_BYTES];
    (void)state;
    (void)snprintf(model, sizeof model, "model.path=%s/checkpoints/step-%08d",
                   program_path("qwen2-dtype=f32-cpu"), STEPS);
    training t = {.run = "adapters-cpu", .keys = {"model.config=", model, "lora.rank=4"}};
    train(&t, 0);
    t.run = "adapters-four";
    t.ranks = FOUR;
    t.keys[3] = "run.collectives=device";
    train(&t, 0);
    compare("adapters-four", "adapters-cpu", 1e-4, false);
}

static void same_bits_again(void **state)
{
    (void)state;
    char *first = NULL, *again = NULL;
    train(&(training){.run = "first", .ranks = FOUR, .family = "deepseek_v3"}, 0);
    train(&(training){.run = "again", .ranks = FOUR, .family = "deepseek_v3"}, 0);
    first = hash_of("first");
    again = hash_of("again");
    assert_string_equal(first, again);
    free(first);
    free(again);
}

/* What the emulated driver counted on all devices. */
typedef struct counted {
    int64_t copied, collectives, operators;
} counted;

static int64_t counter(const json_t *device, const char *name)
{
    assert_true(json_is_integer(json_object_get(device, name)));
    return json_integer_value(json_object_get(device, name));
}

static void add_counters(counted *n, const char *path)
{
    json_t *o = json_load_file(path, 0, NULL);
    const json_t *devices = json_object_get(o, "devices"), *device;
    size_t i = 0;
    json_array_foreach(devices, i, device)
    {
        n->copied += counter(device, "bytes_up") + counter(device, "bytes_down");
        n->collectives += counter(device, "collectives");
        n->operators += counter(device, "operators");
    }
    json_decref(o);
}

static counted count(const char *ranks, const char *way, int steps)
{
    char many[32], path[PATH_BYTES];
    const char *folder = program_path("counters");
    const struct dirent *entry;
    counted n = {0};
    (void)snprintf(many, sizeof many, "run.steps=%d", steps);
    assert_int_equal(mz_file_mkdirs(folder), MZ_OK);
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_COUNTERS", folder, 1), 0);
    train(&(training){.run = "counted", .ranks = ranks, .keys = {way, many}}, 0);
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_COUNTERS"), 0);
    DIR *d = opendir(program_path("counters"));
    assert_non_null(d);
    while ((entry = readdir(d))) {
        if (entry->d_name[0] == '.') continue;
        assert_int_equal(mz_path_join(path, sizeof path, program_path("counters"), entry->d_name),
                         MZ_OK);
        add_counters(&n, path);
    }
    closedir(d);
    assert_int_equal(mz_folder_remove(program_path("counters")), MZ_OK);
    assert_int_equal(mz_folder_remove(program_path("counted")), MZ_OK);
    return n;
}

/* Of ten steps, on all devices. Parameters of these networks have 4 bytes in gradients and in
 * weights: through the host all of both cross it; by HCCL what is left are ids, losses and norms,
 * and a collective a rank sums up and one for each rank's weights gives. */
static void nothing_crosses_the_host(void **state)
{
    enum { PARAMETERS = 36128 };
    static const struct {
        const char *ranks;
        int64_t n;
    } TEAMS[] = {{TWO, 2}, {FOUR, 4}};
    (void)state;
    for (int k = 0; k < MZ_COUNT(TEAMS); k++) {
        const char *ranks = TEAMS[k].ranks;
        const int64_t n = TEAMS[k].n;
        counted moved[2];
        for (int by_host = 0; by_host < 2; by_host++) {
            const char *way = by_host ? "run.collectives=host" : "run.collectives=device";
            const counted few = count(ranks, way, 2), many = count(ranks, way, 12);
            moved[by_host] = (counted){many.copied - few.copied, many.collectives - few.collectives,
                                       many.operators - few.operators};
            print_message("%lld ranks, %s: %.0f bytes to and from the host, %.1f collectives and "
                          "%.0f operators a step (emulated)\n",
                          (long long)n, way, (double)moved[by_host].copied / 10.0,
                          (double)moved[by_host].collectives / 10.0,
                          (double)moved[by_host].operators / 10.0);
        }
        assert_int_equal(moved[0].collectives, 10 * n * (1 + n));
        assert_int_equal(moved[1].collectives, 0);
        assert_true(moved[0].copied < 10 * n * PARAMETERS * 4 / 16);
        assert_true(moved[1].copied > 10 * n * PARAMETERS * 4);
    }
}

/* ---- faults ---- */

static void wait_for_steps(const char *run, int steps)
{
    double loss[LONG];
    for (int i = 0; i < 6000 && read_log(run, "loss", loss) < steps; i++)
        mz_clock_sleep_ns(10000000);
    assert_true(read_log(run, "loss", loss) >= steps);
}

static void wait_for_text(const char *what)
{
    for (int i = 0; i < 6000 && !strstr(program_text("err"), what); i++)
        mz_clock_sleep_ns(10000000);
    assert_said(what);
}

/* The process of a rank: the supervisor's children, in the order of the ranks. */
static pid_t rank_of(pid_t supervisor, int rank)
{
    char path[64], text[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)supervisor,
                   (int)supervisor);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_int_equal(fclose(f), 0);
    char *at = text;
    for (int r = 0; r < rank; r++) (void)strtol(at, &at, 10);
    const pid_t pid = (pid_t)strtol(at, NULL, 10);
    assert_true(pid > 0);
    return pid;
}

/* A rank is killed in mid-run and all begin again from the last checkpoint; then the supervisor is
 * killed, and the same command goes on: the bits of a run that nothing happened to. And without the
 * lost rank three go on, as another group. */
static void killed_ranks(void **state)
{
    static const char *const KEYS_OF[] = {"run.steps=48", "run.checkpoint_every=4",
                                          "run.on_fault=restart"};
    training whole = {.run = "whole", .ranks = FOUR, .keys = {KEYS_OF[0], KEYS_OF[1], KEYS_OF[2]}};
    training hurt = whole;
    (void)state;
    train(&whole, 0);
    hurt.run = "hurt";
    pid_t pid = start(&hurt);
    wait_for_steps("hurt", 6);
    assert_int_equal(kill(rank_of(pid, 2), SIGKILL), 0);
    wait_for_text("rank 2 on ascend:2 died of signal 9");
    wait_for_text("going on after step");
    wait_for_steps("hurt", 12);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(program_wait(pid), 128 + SIGKILL);
    train(&hurt, 0);
    assert_said("HCCL adds up the gradients of ranks 0, 1, 2, 3");
    char *want = hash_of("whole"), *got = hash_of("hurt");
    assert_string_equal(got, want);
    free(want);
    free(got);
    hurt.run = "fewer";
    hurt.keys[2] = "run.retake_after=0";
    pid = start(&hurt);
    wait_for_steps("fewer", 6);
    assert_int_equal(kill(rank_of(pid, 1), SIGKILL), 0);
    const int code = program_wait(pid);
    if (code != 0) fail_msg("exit %d: %s", code, program_text("err"));
    assert_said("on 3 ranks");
    assert_said("HCCL adds up the gradients of ranks 0, 1, 2 on");
}

/* By HCCL's own limit, by the chip's wait, and one that cannot begin: named, exit 75, and the run
 * goes on to the same bits. */
static void collectives_that_do_not_end(void **state)
{
    static const struct {
        const char *plan, *said[4];
    } FAULTS[] = {
        {"hccl_timeout call=HcclAllReduce at=5 device=1",
         {"507048", "HCCL's communicator says", "chip ascend:", "last sumsq"}},
        {"endless call=HcclAllReduce at=5",
         {"507046", "did not finish in time", "chip ascend:", "last sumsq"}},
        {"error call=HcclAllReduce at=5 device=1",
         {"HcclAllReduce", "HCCL code 4", "chip ascend:1", "last collective sum"}},
        {"error call=HcclBroadcast at=9 device=0",
         {"HcclBroadcast", "HCCL code 4", "chip ascend:0", "last collective give"}},
    };
    (void)state;
    training t = {
        .run = "quiet", .ranks = TWO, .keys = {"run.checkpoint_every=2", "run.on_fault=stop"}};
    train(&t, 0);
    char *want = hash_of("quiet");
    assert_int_equal(setenv("MIZAN_DEVICE_WAIT", "3", 1), 0);
    for (int i = 0; i < MZ_COUNT(FAULTS); i++) {
        char run[32];
        (void)snprintf(run, sizeof run, "fault%d", i);
        t.run = run;
        const int64_t begun = mz_clock_ns();
        assert_int_equal(setenv("MIZAN_EMU_ASCEND_FAULTS", FAULTS[i].plan, 1), 0);
        train(&t, 75);
        assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_FAULTS"), 0);
        assert_true(mz_clock_ns() - begun < 60000000000);
        for (int k = 0; k < 4; k++) assert_said(FAULTS[i].said[k]);
        train(&t, 0);
        char *got = hash_of(run);
        assert_string_equal(got, want);
        free(got);
    }
    assert_int_equal(unsetenv("MIZAN_DEVICE_WAIT"), 0);
    free(want);
}

static void says_what_is_missing(void **state)
{
    char folder[PATH_BYTES];
    const char *stub = getenv("MIZAN_STUB_HCCL");
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", without_hccl("bare", NULL));
    train(&(training){.run = "missing", .ranks = TWO, .driver = folder}, 0);
    assert_said("added up through the host: rank 0 on ascend:0: no HCCL");
    assert_decided("missing", "host", "libhccl.so");
    train(
        &(training){
            .run = "wanted", .ranks = TWO, .driver = folder, .keys = {"run.collectives=device"}},
        69);
    assert_said("run.collectives is device, and rank 0 on ascend:0 cannot: no HCCL");
    if (!stub) return;
    (void)snprintf(folder, sizeof folder, "%s", without_hccl("stub", stub));
    train(&(training){.run = "stubbed", .ranks = TWO, .driver = folder}, 0);
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
        training t = {.run = "alone", .ranks = RANKS[i], .keys = {"run.collectives=device"}};
        train(&t, 69);
        assert_said("no two ranks are chips of one kind");
        t.keys[0] = NULL;
        train(&t, 0);
        assert_null(strstr(program_text("err"), "added up"));
    }
}

/* How a run once began it goes on, also when HCCL is there again, unless it is told to. */
static void goes_on_as_it_began(void **state)
{
    char folder[PATH_BYTES], *host, *began;
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", without_hccl("none", NULL));
    train(&(training){.run = "host", .ranks = FOUR, .keys = {"run.collectives=host"}}, 0);
    assert_said("through the host, as run.collectives says");
    train(&(training){.run = "began", .ranks = FOUR, .driver = folder, .keys = {"run.steps=3"}}, 0);
    train(&(training){.run = "began", .ranks = FOUR}, 0);
    assert_said("through the host, as they were until now");
    host = hash_of("host");
    began = hash_of("began");
    assert_string_equal(began, host);
    free(began);
    train(&(training){.run = "other", .ranks = FOUR, .driver = folder, .keys = {"run.steps=3"}}, 0);
    train(&(training){.run = "other", .ranks = FOUR, .keys = {"run.collectives=device"}}, 0);
    assert_said("HCCL adds up the gradients of ranks 0, 1, 2, 3");
    began = hash_of("other");
    assert_string_not_equal(began, host);
    free(began);
    train(&(training){.run = "lost", .ranks = FOUR, .keys = {"run.steps=3"}}, 0);
    train(&(training){.run = "lost", .ranks = FOUR, .driver = folder}, 0);
    assert_said("until now their devices did: the last bits may be others");
    free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_one_cpu),
        cmocka_unit_test(moved),
        cmocka_unit_test(adapters),
        cmocka_unit_test(same_bits_again),
        cmocka_unit_test(nothing_crosses_the_host),
        cmocka_unit_test(killed_ranks),
        cmocka_unit_test(collectives_that_do_not_end),
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(says_that_there_is_no_group),
        cmocka_unit_test(goes_on_as_it_began),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
