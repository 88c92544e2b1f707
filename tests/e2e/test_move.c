/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_move.c - `mizan runs move`: a run goes to other chips while it trains and while it
 * is stopped, and ends with the bits of one that was never moved but had the same ranks for the
 * same steps. */
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"
#include "tests/near.h"

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

/* A child of it: the first or the last, where numbers of processes go up; 0: it has none. */
static pid_t a_rank(pid_t supervisor, bool is_last)
{
    DIR *all = opendir("/proc");
    long found = 0;
    assert_non_null(all);
    for (struct dirent *e; (e = readdir(all)) != NULL;) {
        const long pid = strtol(e->d_name, NULL, 10);
        if (pid > 0 && (found == 0 || (pid < found) != is_last) &&
            parent_of(e->d_name) == (long)supervisor)
            found = pid;
    }
    (void)closedir(all);
    return (pid_t)found;
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
            rank = a_rank(pid, false);
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
    assert_int_equal(kill(a_rank(pid, false), SIGKILL), 0);
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

/* ---- what can go wrong ---- */

static pid_t start_with(const char *run, const char *ranks, const char *const *more)
{
    char key[PATH_BYTES + 16], list[256];
    const char *words[WORDS_MAX] = {"train", program_path("move.yaml"), "--threads", "1"};
    int n = 4;
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path(run));
    (void)snprintf(list, sizeof list, "ranks=%s", ranks);
    words[n++] = key;
    words[n++] = list;
    for (; *more; more++) words[n++] = *more;
    return program_start(words, 0);
}

static void stop(pid_t pid)
{
    assert_int_equal(kill(pid, SIGTERM), 0);
    const int code = program_wait(pid);
    if (code != 75) fail_msg("exit %d: %s", code, program_text("err"));
}

/* The same steps on the same ranks, from what ranks.jsonl holds, undisturbed. */
static void check_bits(const char *run)
{
    char list[512] = "";
    json_t *a = hash_of(run), *o;
    for (int i = 0; (o = event(run, "start", i)) != NULL; i++) {
        const int64_t after = json_integer_value(json_object_get(o, "after_step"));
        if (list[0] && after > 0) finish("replayed", list, after);
        const size_t n =
            json_dumpb(json_object_get(o, "ranks"), list, sizeof list - 1, JSON_COMPACT);
        assert_true(n > 0 && n < sizeof list);
        list[n] = '\0';
        json_decref(o);
    }
    finish("replayed", list, json_integer_value(json_object_get(a, "step")));
    json_t *b = hash_of("replayed");
    if (!json_equal(a, b)) fail_msg("%s: other bits than its ranks make", run);
    json_decref(a);
    json_decref(b);
    assert_int_equal(mz_folder_remove(program_path("replayed")), MZ_OK);
}

/* The new chips can be opened and bound, and fail in their first step: the run goes on with the old
 * ones, whatever run.on_fault says of its own, and whoever moved it hears why. */
static void chips_that_fail_at_once_lose_nothing(void **state)
{
    (void)state;
    static const char *const plans[] = {
        "[{\"where\": \"launch\", \"at\": 1, \"kind\": \"error\"}]",
        "[{\"where\": \"alloc\", \"at\": 1, \"kind\": \"oom\", \"for_good\": true}]"};
    const char *more[] = {"--fault-plan", program_path("plan.json"), "run.on_fault=continue", NULL};
    for (int i = 0; i < 2; i++) {
        char run[16];
        (void)snprintf(run, sizeof run, "fails%d", i);
        (void)small_file("plan.json", plans[i]);
        const pid_t pid = start_with(run, "[{chip: cpu}]", more);
        wait_for_steps(run, 3);
        const char *words[] = {"runs",
                               "move",
                               program_path(run),
                               "--ranks",
                               "[{chip: cpu, share: 2}, {chip: \"fault:far\", share: 1}]",
                               NULL};
        const int code = program_run(words);
        if (code == 0 || !strstr(program_text("err"), "not moved") ||
            !strstr(program_text("err"), "goes on with the ranks that it had"))
            fail_msg("exit %d: %s", code, program_text("err"));
        wait_for_steps(run, 3);
        assert_int_equal(after_of(run, 2, 1), after_of(run, 1, 2));
        assert_true(move(run, TWO_KINDS, true) > 0); /* and may be moved again */
        stop(pid);
        check_bits(run);
    }
}

/* Each takes its turn, and the last one stands; amid validation and checkpoints of every step. */
static void two_moves_at_once(void **state)
{
    (void)state;
    char held_out[PATH_BYTES + 32];
    (void)snprintf(held_out, sizeof held_out, "data.validation=%s", program_path("rows.jsonl"));
    const char *more[] = {held_out, "run.eval_every=1", "run.checkpoint_every=1", NULL};
    const pid_t pid = start_with("both", "[{chip: cpu}]", more);
    wait_for_steps("both", 3);
    pid_t movers[2];
    for (int i = 0; i < 2; i++) {
        const char *words[] = {
            "runs", "move", program_path("both"), "--ranks", i ? PIPELINE : TWO_KINDS, NULL};
        movers[i] = program_start(words, 0);
    }
    for (int i = 0; i < 2; i++) assert_int_equal(program_wait(movers[i]), 0);
    assert_true(after_of("both", 2, 2) > after_of("both", 1, 2));
    json_t *one = event("both", "start", 1), *two = event("both", "start", 2);
    assert_false(json_equal(json_object_get(one, "ranks"), json_object_get(two, "ranks")));
    json_decref(one);
    json_decref(two);
    stop(pid);
    check_bits("both");
}

/* An OpenCL device that is lost, gone on without, and taken back. */
static void opencl_is_taken_back(void **state)
{
    (void)state;
    static const char *const more[] = {"run.checkpoint_every=3", "run.retake_after=0.3", NULL};
    if (mzt_is_sanitized() || !program_has_chip("opencl")) {
        print_message("no OpenCL here, or a sanitizer, inside which none runs\n");
        skip();
    }
    const pid_t pid =
        start_with("device", "[{chip: cpu, share: 2}, {chip: \"opencl:0\", share: 1}]", more);
    wait_for_steps("device", 8);
    assert_int_equal(kill(a_rank(pid, true), SIGKILL), 0);
    wait_for_start("device", 2);
    wait_for_steps("device", 3);
    stop(pid);
    json_t *fault = event("device", "fault", 0);
    assert_string_equal(json_string_value(json_object_get(fault, "chip")), "opencl:0");
    json_decref(fault);
    assert_true(after_of("device", 1, 1) > 0);
    assert_true(after_of("device", 2, 2) > after_of("device", 1, 1)); /* steps meanwhile */
    check_bits("device");
}

static void a_run_that_lost_a_rank_is_moved(void **state)
{
    (void)state;
    static const char *const more[] = {"run.checkpoint_every=1", NULL};
    const pid_t pid = start_with("less", TWO_KINDS, more);
    wait_for_steps("less", 3);
    assert_int_equal(kill(a_rank(pid, false), SIGKILL), 0);
    wait_for_start("less", 1);
    assert_true(move("less", PIPELINE, true) > 0);
    assert_true(after_of("less", 2, 2) >= after_of("less", 1, 1));
    stop(pid);
    check_bits("less");
}

/* The process that trains does not come to take it, and dies: the next start does. */
static void a_move_that_nobody_took_counts_at_the_next_start(void **state)
{
    (void)state;
    static const char *const more[] = {"run.checkpoint_every=1", NULL};
    const pid_t pid = start_with("late", "[{chip: cpu}]", more);
    wait_for_steps("late", 3);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    const char *words[] = {"runs", "move", program_path("late"), "--ranks", TWO_KINDS, "--wait",
                           "0.2",  NULL};
    assert_int_equal(program_run(words), 75);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(program_wait(pid), 128 + SIGKILL);
    const pid_t again = start_with("late", "[{chip: cpu}]", more);
    wait_for_start("late", 1);
    wait_for_steps("late", 2);
    assert_false(mz_file_exists(program_path("late/move")));
    stop(again);
    assert_true(after_of("late", 1, 2) > 0);
    check_bits("late");
}

/* Killed at any moment of a move, and started again by the same command. */
static void killed_while_it_moves(void **state)
{
    (void)state;
    static const char *const more[] = {"run.checkpoint_every=1", NULL};
    static const char *const to[] = {TWO_KINDS, PIPELINE};
    pid_t pid = start_with("torn", "[{chip: cpu}]", more);
    for (int i = 0; i < 6; i++) {
        wait_for_steps("torn", 3);
        const char *words[] = {"runs", "move", program_path("torn"), "--ranks", to[i % 2], NULL};
        const pid_t mover = program_start(words, 0);
        mz_clock_sleep_ns(20000000 + 50000000 * (int64_t)i);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(program_wait(pid), 128 + SIGKILL);
        pid = start_with("torn", "[{chip: cpu}]", more);
        const int code = program_wait(mover);
        if (code != 0) fail_msg("move %d: exit %d: %s", i, code, program_text("err"));
    }
    wait_for_steps("torn", 3);
    assert_false(mz_file_exists(program_path("torn/move")));
    char *placement = NULL;
    size_t bytes = 0;
    assert_int_equal(mz_file_read(program_path("torn/placement.json"), 1 << 20, &placement, &bytes),
                     MZ_OK);
    assert_null(strstr(placement, "before"));
    mz_mem_free(placement);
    stop(pid);
    int last = 0;
    for (json_t *o; (o = event("torn", "start", last)) != NULL; last++) json_decref(o);
    json_t *o = event("torn", "start", last - 1), *ranks = json_object_get(o, "ranks");
    assert_int_equal(json_array_size(ranks), 2); /* the last move stands */
    assert_non_null(json_object_get(json_array_get(ranks, 0), "layers"));
    json_decref(o);
    check_bits("torn");
}

/* A run that is alone again says so where the others were said. */
static void a_rank_alone_has_its_line(void **state)
{
    (void)state;
    finish("alone", TWO_KINDS, 2);
    assert_int_equal(move("alone", "[]", false), 2);
    finish("alone", TWO_KINDS, 4);
    assert_int_equal(after_of("alone", 1, 1), 2);
    check_bits("alone");
    finish("never", NULL, 1);
    assert_false(mz_file_exists(program_path("never/ranks.jsonl")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moved_run_has_the_bits_of_its_ranks),
        cmocka_unit_test(a_lost_rank_is_taken_back),
        cmocka_unit_test(a_rank_may_be_lost_again_and_again),
        cmocka_unit_test(a_changed_configuration_ends_the_move),
        cmocka_unit_test(what_cannot_carry_it_is_refused),
        cmocka_unit_test(chips_that_fail_at_once_lose_nothing),
        cmocka_unit_test(two_moves_at_once),
        cmocka_unit_test(a_run_that_lost_a_rank_is_moved),
        cmocka_unit_test(opencl_is_taken_back),
        cmocka_unit_test(a_move_that_nobody_took_counts_at_the_next_start),
        cmocka_unit_test(killed_while_it_moves),
        cmocka_unit_test(a_rank_alone_has_its_line),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
