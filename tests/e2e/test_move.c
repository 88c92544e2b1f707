/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_move.c - `mizan runs move`: a run goes to other chips while it trains and while it
 * is stopped, and ends with the bits of one that was never moved but had the same ranks for the
 * same steps. */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char TWO_KINDS[] = "[{chip: cpu, share: 2}, {chip: far, share: 1}]";
static const char PIPELINE[] = "[{chip: far, layers: 1}, {chip: cpu, layers: 1}]";

static const char *config(void)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "model.path: %s\ndata: {path: %s, seq: 16}\n"
                   "run: {dir: none, steps: 1000000, checkpoint_every: 0, tensorboard: false}\n"
                   "batch: {global: 3, micro: 2}\noptim.lr: 0.001\n",
                   program_path("model"), program_path("rows.jsonl"));
    return small_file("move.yaml", text);
}

static int set_up(void **state)
{
    if (program_set_up(state) != 0) return -1;
    small_model("model", "llama");
    (void)small_file("rows.jsonl",
                     "{\"ids\": [101, 102, 103, 104, 105]}\n{\"ids\": [7, 8, 9]}\n"
                     "{\"ids\": [50, 60, 70, 80, 90, 100, 110]}\n{\"ids\": [1, 2]}\n");
    (void)config();
    return 0;
}

static pid_t start(const char *run, const char *ranks, int64_t steps)
{
    char key[PATH_BYTES + 16], list[256], until[64];
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path(run));
    (void)snprintf(list, sizeof list, "ranks=%s", ranks ? ranks : "[]");
    (void)snprintf(until, sizeof until, "run.steps=%lld", (long long)steps);
    const char *words[] = {"train", program_path("move.yaml"), "--threads", "1", key,
                           list,    steps ? until : NULL,      NULL};
    return program_start(words, 0);
}

static void finish(const char *run, const char *ranks, int64_t steps)
{
    const int code = program_wait(start(run, ranks, steps));
    if (code != 0) fail_msg("%s: exit %d: %s", run, code, program_text("err"));
}

/* Until the run's log has so many lines more than it had. */
static void wait_for_steps(const char *run, int more)
{
    char name[256];
    size_t first = 0;
    (void)snprintf(name, sizeof name, "%s/log.jsonl", run);
    for (int tries = 0; tries < 12000; tries++) {
        char *text = NULL;
        size_t bytes = 0, lines = 0;
        if (mz_file_read(program_path(name), 1 << 28, &text, &bytes) == MZ_OK)
            for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
        mz_mem_free(text);
        if (first == 0) first = lines + 1;
        if (lines + 1 >= first + (size_t)more) return;
        mz_clock_sleep_ns(5000000);
    }
    fail_msg("%s makes no steps", run);
}

/* After which step; live: it was to be. */
static int64_t move(const char *run, const char *ranks, bool live)
{
    const char *words[] = {"runs",      "move", program_path(run), "--ranks", ranks,
                           "--threads", "1",    "--json",          NULL};
    const int code = program_run(words);
    if (code != 0) fail_msg("runs move: exit %d: %s", code, program_text("err"));
    json_t *o = program_json();
    assert_int_equal(json_is_true(json_object_get(o, "live")), live);
    const int64_t step = json_integer_value(json_object_get(o, "after_step"));
    json_decref(o);
    return step;
}

static json_t *hash_of(const char *run)
{
    const char *words[] = {"runs", "hash", program_path(run), "--json", NULL};
    assert_int_equal(program_run(words), 0);
    return program_json();
}

static void a_moved_run_has_the_bits_of_its_ranks(void **state)
{
    (void)state;
    int64_t after[3];
    const pid_t pid = start("moved", NULL, 0);
    wait_for_steps("moved", 3);
    after[0] = move("moved", TWO_KINDS, true);
    wait_for_steps("moved", 3);
    after[1] = move("moved", PIPELINE, true);
    wait_for_steps("moved", 3);
    assert_int_equal(kill(pid, SIGTERM), 0); /* it is still the same process */
    assert_int_equal(program_wait(pid), 75);
    after[2] = move("moved", "[]", false);
    assert_true(0 < after[0] && after[0] < after[1] && after[1] < after[2]);
    finish("moved", NULL, after[2] + 2); /* the same configuration, where it was moved to */
    finish("plain", NULL, after[0]);
    finish("plain", TWO_KINDS, after[1]);
    finish("plain", PIPELINE, after[2]);
    finish("plain", NULL, after[2] + 2);
    json_t *a = hash_of("moved"), *b = hash_of("plain");
    if (!json_equal(a, b))
        fail_msg("moved after %lld, %lld and %lld: other bits", (long long)after[0],
                 (long long)after[1], (long long)after[2]);
    json_decref(a);
    json_decref(b);
}

/* Parent of a process; 0 if it is gone. */
static long parent_of(const char *pid)
{
    char name[300], text[512];
    long parent = 0;
    (void)snprintf(name, sizeof name, "/proc/%s/stat", pid);
    FILE *file = fopen(name, "r");
    const size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) (void)fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')'); /* of the name, which may hold anything */
    return end && sscanf(end + 1, " %*c %ld", &parent) == 1 ? parent : 0;
}

/* A child of it: the first, where numbers of processes go up; 0: it has none. */
static pid_t a_rank(pid_t supervisor)
{
    DIR *all = opendir("/proc");
    long first = 0;
    assert_non_null(all);
    for (struct dirent *e; (e = readdir(all)) != NULL;) {
        const long pid = strtol(e->d_name, NULL, 10);
        if (pid > 0 && (first == 0 || pid < first) && parent_of(e->d_name) == (long)supervisor)
            first = pid;
    }
    (void)closedir(all);
    return (pid_t)first;
}

/* Event number i of that kind; NULL: there are fewer. */
static json_t *event(const char *run, const char *kind, int i)
{
    char name[256];
    json_t *found = NULL;
    (void)snprintf(name, sizeof name, "%s/ranks.jsonl", run);
    FILE *file = fopen(program_path(name), "r");
    for (json_t *o; file && !found && (o = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL));) {
        if (strcmp(json_string_value(json_object_get(o, "event")), kind) == 0 && i-- == 0)
            found = json_incref(o);
        json_decref(o);
    }
    if (file) (void)fclose(file);
    return found;
}

static int64_t after_of(const char *run, int start_number, size_t ranks)
{
    json_t *o = event(run, "start", start_number);
    if (!o) fail_msg("%s has no start number %d", run, start_number);
    assert_int_equal(json_array_size(json_object_get(o, "ranks")), ranks);
    const int64_t step = json_integer_value(json_object_get(o, "after_step"));
    json_decref(o);
    return step;
}

static void wait_for_start(const char *run, int number)
{
    json_t *o = NULL;
    for (int tries = 0; tries < 6000 && !o; tries++) {
        mz_clock_sleep_ns(5000000);
        o = event(run, "start", number);
    }
    if (!o) fail_msg("%s has no start number %d: %s", run, number, program_text("err"));
    json_decref(o);
}

/* Lost each time it is taken back, before anything is saved with it: what was made without it
 * counts, and the run goes on. */
static void a_rank_may_be_lost_again_and_again(void **state)
{
    (void)state;
    char key[PATH_BYTES + 16], list[256];
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path("again"));
    (void)snprintf(list, sizeof list, "ranks=%s", TWO_KINDS);
    const char *words[] = {"train", program_path("move.yaml"), "--threads", "1", key,
                           list,    "run.retake_after=0.3",    NULL};
    const pid_t pid = program_start(words, 0);
    for (int times = 0; times < 4; times++) {
        pid_t rank = 0;
        wait_for_start("again", 2 * times);
        for (int tries = 0; tries < 1000 && rank == 0; tries++) {
            mz_clock_sleep_ns(1000000);
            rank = a_rank(pid);
        }
        assert_true(rank > 0);
        assert_int_equal(kill(rank, SIGKILL), 0);
        wait_for_start("again", 2 * times + 1);
    }
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_wait(pid), 75);
}

/* A rank is killed; the run goes on without it, and with it again once its chip opens. */
static void a_lost_rank_is_taken_back(void **state)
{
    (void)state;
    char key[PATH_BYTES + 16], list[256];
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path("back"));
    (void)snprintf(list, sizeof list, "ranks=%s", TWO_KINDS);
    const char *words[] = {"train",
                           program_path("move.yaml"),
                           "--threads",
                           "1",
                           key,
                           list,
                           "run.retake_after=0.2",
                           "run.checkpoint_every=3",
                           NULL};
    const pid_t pid = program_start(words, 0);
    wait_for_steps("back", 8);
    assert_int_equal(kill(a_rank(pid), SIGKILL), 0);
    wait_for_start("back", 2);
    wait_for_steps("back", 3);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(program_wait(pid), 75);
    const int64_t lost = after_of("back", 1, 1), again = after_of("back", 2, 2);
    json_t *fault = event("back", "fault", 0), *a = hash_of("back");
    const bool cpu = strcmp(json_string_value(json_object_get(fault, "chip")), "cpu") == 0;
    assert_true(lost > 0 && again > lost);
    finish("undisturbed", TWO_KINDS, lost);
    finish("undisturbed", cpu ? "[{chip: far, share: 1}]" : "[{chip: cpu, share: 2}]", again);
    finish("undisturbed", TWO_KINDS, json_integer_value(json_object_get(a, "step")));
    json_t *b = hash_of("undisturbed");
    assert_true(json_equal(a, b));
    json_decref(fault);
    json_decref(a);
    json_decref(b);
}

/* The move stands for the ranks that the configuration had: once those are changed it is over. */
static void a_changed_configuration_ends_the_move(void **state)
{
    (void)state;
    finish("own", NULL, 2);
    assert_int_equal(move("own", TWO_KINDS, false), 2);
    finish("own", NULL, 4);
    assert_non_null(strstr(program_text("err"), "this run was moved"));
    assert_true(mz_file_exists(program_path("own/placement.json")));
    finish("own", PIPELINE, 6);
    assert_null(strstr(program_text("err"), "this run was moved"));
    assert_false(mz_file_exists(program_path("own/placement.json")));
    (void)small_file("own/placement.json", "{\"ranks\": 7}");
    assert_int_equal(program_wait(start("own", PIPELINE, 8)), 76);
    assert_int_equal(move("own", TWO_KINDS, false), 6); /* written anew */
}

static void what_cannot_carry_it_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *ranks;
        int code;
        const char *says;
    } bad[] = {{"[{chip: nochip}]", 69, "nochip"},
               {"[{chip: cpu, layers: 9}, {chip: cpu, layers: 1}]", 78, "layers"},
               {"[{chip: cpu, share: 0}]", 78, "share"},
               {"[{chip: cpu, share: 1}, {chip: cpu, layers: 1}]", 78, "layers"},
               {"cpu", 78, "not a list"}};
    finish("kept", NULL, 2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *words[] = {"runs", "move", program_path("kept"), "--ranks", bad[i].ranks, NULL};
        const int code = program_run(words);
        if (code != bad[i].code || !strstr(program_text("err"), bad[i].says))
            fail_msg("%s: exit %d, %s", bad[i].ranks, code, program_text("err"));
        assert_false(mz_file_exists(program_path("kept/placement.json")));
    }
    const char *none[] = {"runs", "move", program_path("kept"), NULL};
    assert_int_equal(program_run(none), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moved_run_has_the_bits_of_its_ranks),
        cmocka_unit_test(a_lost_rank_is_taken_back),
        cmocka_unit_test(a_rank_may_be_lost_again_and_again),
        cmocka_unit_test(a_changed_configuration_ends_the_move),
        cmocka_unit_test(what_cannot_carry_it_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
