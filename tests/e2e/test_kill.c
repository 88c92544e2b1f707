/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_kill.c - nothing is lost: a run that is killed at random moments ends with the
 * bits and the log of one that never was; and what stops a run in order.
 *
 * MIZAN_KILLS is how many SIGKILLs there are for one rank, and how many for two (30; `make
 * check-long` gives 1000). */
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/e2e/program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 40, ROWS = 30 };

static char run_key[PATH_BYTES], config[PATH_BYTES];

/* A run of the tiny llama of tests/golden, shuffled, on rows of several lengths. */
static void write_inputs(void)
{
    mz_str s = {0};
    mz_rng rng;
    mz_rng_init(&rng, 3, 0);
    for (int i = 0; i < ROWS; i++) {
        const int n = 4 + (int)mz_rng_below(&rng, 12);
        for (int t = 0; t < n; t++)
            assert_int_equal(
                mz_str_addf(&s, "%s%d", t ? ", " : "{\"ids\": [", (int)mz_rng_below(&rng, 97)),
                MZ_OK);
        assert_int_equal(mz_str_addf(&s, "]}\n"), MZ_OK);
    }
    assert_int_equal(mz_file_write(program_path("rows.jsonl"), s.text, s.len), MZ_OK);
    s.len = 0;
    assert_int_equal(mz_str_addf(&s,
                                 "model.path: %s/tests/golden/llama\n"
                                 "data: {path: %s, seq: 16}\n"
                                 "run: {dir: none, steps: %d, checkpoint_every: 3, seed: 5}\n"
                                 "batch: {global: 3, micro: 2}\n"
                                 "optim: {lr: 0.01}\nschedule: {kind: cosine, warmup: 5}\n",
                                 program_root(), program_path("rows.jsonl"), STEPS),
                     MZ_OK);
    (void)snprintf(config, sizeof config, "%s", program_path("train.yaml"));
    assert_int_equal(mz_file_write(config, s.text, s.len), MZ_OK);
    mz_str_clear(&s);
}

/* `mizan train` of the run of that name, with up to two more words. */
static pid_t start(const char *run, const char *more, const char *and_more, long file_bytes)
{
    (void)snprintf(run_key, sizeof run_key, "run.dir=%s", program_path(run));
    const char *words[] = {"train", config, "--threads", "1", run_key, more, and_more, NULL};
    return program_start(words, file_bytes);
}

static pid_t start_with(const char *run, const char *a, const char *b, const char *c)
{
    (void)snprintf(run_key, sizeof run_key, "run.dir=%s", program_path(run));
    const char *words[] = {"train", config, "--threads", "1", run_key, a, b, c, NULL};
    return program_start(words, 0);
}

static void train(const char *run, const char *more, int want)
{
    const int got = program_wait(start(run, more, NULL, 0));
    if (got != want) fail_msg("exit %d, want %d: %s", got, want, program_text("err"));
}

static json_t *hashes(const char *run)
{
    const char *words[] = {"runs", "hash", program_path(run), "--json", NULL};
    const int got = program_run(words);
    if (got != 0) fail_msg("runs hash ended with %d: %s", got, program_text("err"));
    return program_json();
}

/* The log without what a clock decides. */
static json_t *log_of(const char *run)
{
    static const char *const clocks[] = {"time", "tokens_per_s", "flops_per_s"};
    char name[PATH_BYTES], line[1024];
    json_t *all = json_array();
    (void)snprintf(name, sizeof name, "%s/log.jsonl", run);
    FILE *f = fopen(program_path(name), "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        for (int i = 0; i < MZ_COUNT(clocks); i++) (void)json_object_del(o, clocks[i]);
        assert_int_equal(json_array_append_new(all, o), 0);
    }
    assert_int_equal(fclose(f), 0);
    return all;
}

static void check_like(const char *whole, const char *run)
{
    json_t *want = hashes(whole), *got = hashes(run);
    json_t *want_log = log_of(whole), *got_log = log_of(run);
    if (!json_equal(want, got)) fail_msg("%s ended with other bits", run);
    assert_int_equal(json_array_size(want_log), STEPS);
    if (!json_equal(want_log, got_log)) fail_msg("%s has another log", run);
    for (size_t i = 0; i < STEPS; i++) {
        const json_t *o = json_array_get(got_log, i);
        assert_int_equal(json_integer_value(json_object_get(o, "step")), i + 1);
        assert_int_equal(json_is_true(json_object_get(o, "done")), i + 1 == STEPS);
    }
    json_decref(want);
    json_decref(got);
    json_decref(want_log);
    json_decref(got_log);
}

static void check_same(const char *run)
{
    check_like("whole", run);
}

static void remove_run(const char *run)
{
    assert_int_equal(mz_folder_remove(program_path(run)), MZ_OK);
}

static int64_t whole_ns; /* what the undisturbed run took */

static int set_up(void **state)
{
    if (program_set_up(state) != 0) return -1;
    write_inputs();
    const int64_t begun = mz_clock_ns();
    train("whole", NULL, 0);
    whole_ns = mz_clock_ns() - begun;
    return 0;
}

/* ---- kills ---- */

static int kills_wanted(void)
{
    int64_t n = 0;
    const char *text = getenv("MIZAN_KILLS");
    return text && mz_str_to_i64(text, &n) && n > 0 ? (int)n : 30;
}

/* Kills after `delay`, unless it ended before; the exit code then, else -1. */
static int kill_after(pid_t pid, int64_t delay)
{
    const int64_t begun = mz_clock_ns();
    for (;;) {
        int status = 0;
        const pid_t ended = waitpid(pid, &status, WNOHANG);
        assert_true(ended >= 0);
        if (ended == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        const int64_t left = delay - (mz_clock_ns() - begun);
        if (left <= 0) break;
        mz_clock_sleep_ns(left < 1000000 ? left : 1000000);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    const int code = program_wait(pid); /* it may have ended just before the signal */
    return code == 128 + SIGKILL ? -1 : code;
}

/* Whom to kill of a run on two ranks: the supervisor or one of those that it has started. */
static pid_t one_of(pid_t supervisor, mz_rng *rng)
{
    char path[64], text[256] = "";
    long list[3] = {supervisor};
    int n = 1;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", supervisor, supervisor);
    FILE *f = fopen(path, "r");
    if (f && fgets(text, sizeof text, f))
        for (char *at = text; n < 3; n++) {
            char *end = at;
            list[n] = strtol(at, &end, 10);
            if (end == at) break;
            at = end;
        }
    if (f) (void)fclose(f);
    return (pid_t)list[mz_rng_below(rng, (uint64_t)n)];
}

/* Like kill_after, but a rank that is killed ends nothing: the run starts again by itself, and what
 * comes back is how it ended. */
static int kill_one_after(pid_t pid, int64_t delay, mz_rng *rng, int *kills)
{
    const int64_t begun = mz_clock_ns();
    while (mz_clock_ns() - begun < delay) {
        int status = 0;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        mz_clock_sleep_ns(1000000);
    }
    *kills += kill(one_of(pid, rng), SIGKILL) == 0;
    return program_wait(pid);
}

#define TWO "ranks=[{chip: cpu, share: 2}, {chip: far}]"

/* On one rank, or on two of which any or their supervisor is killed. */
static void kill_many(bool on_two)
{
    const int wanted = kills_wanted();
    const char *ranks = on_two ? TWO : NULL, *policy = on_two ? "run.on_fault=restart" : NULL;
    int kills = 0, finished = 0;
    mz_rng rng;
    mz_rng_init(&rng, (uint64_t)getpid(), on_two); /* another moment every time */
    while (kills < wanted) {
        const int64_t delay = (int64_t)(mz_rng_uniform(&rng) * 0.5 * (double)whole_ns);
        const pid_t pid = start("killed", ranks, policy, 0);
        const int before = kills;
        int code = on_two ? kill_one_after(pid, delay, &rng, &kills) : kill_after(pid, delay);
        if (on_two && (code == 128 + SIGKILL || (code == 75 && kills > before)))
            code = -1; /* its supervisor, or a rank three times before there was a checkpoint */
        kills += !on_two && code < 0;
        if (code < 0) continue;
        if (code != 0) fail_msg("after %d kills: exit %d: %s", kills, code, program_text("err"));
        check_like(on_two ? "whole2" : "whole", "killed");
        remove_run("killed");
        finished++;
    }
    const int code = program_wait(start("killed", ranks, policy, 0));
    if (code != 0) fail_msg("exit %d: %s", code, program_text("err"));
    check_like(on_two ? "whole2" : "whole", "killed");
    remove_run("killed");
    print_message(
        "%d kills on %d rank%s, %d runs finished, all with the bits of the undisturbed one\n",
        kills, on_two ? 2 : 1, on_two ? "s" : "", finished + 1);
}

static void test_kill(void **state)
{
    (void)state;
    kill_many(false);
}

/* The supervisor is told to stop; its ranks save and end together. */
static void stop_two(void)
{
    int code = 75, stopped = 0;
    for (int tries = 0; code == 75 && tries < 50; tries++) {
        const pid_t pid = start("told", TWO, NULL, 0);
        mz_clock_sleep_ns(whole_ns / 3);
        (void)kill(pid, SIGTERM);
        code = program_wait(pid);
        if (code == 128 + SIGTERM) code = 75; /* before the handler was there */
        if (code == 75 && strstr(program_text("err"), "saved")) stopped++;
    }
    if (code != 0) fail_msg("exit %d: %s", code, program_text("err"));
    assert_true(stopped > 0);
    check_like("whole2", "told");
    remove_run("told");
}

static void test_kill_two(void **state)
{
    (void)state;
    train("whole2", TWO, 0);
    kill_many(true);
    stop_two();
    const int code = program_wait(
        start("full", "ranks=[{chip: cpu}, {chip: cpu}]", NULL, 40000)); /* test_disk_full */
    if (code != 74) fail_msg("exit %d: %s", code, program_text("err"));
    remove_run("full");
    train("stopped", TWO, 0); /* and other ranks may go on */
    const int again = program_wait(start("stopped", "ranks=[]", NULL, 0));
    if (again != 0) fail_msg("exit %d: %s", again, program_text("err"));
    check_like("whole2", "stopped");
    remove_run("stopped");
}

/* ---- stops ---- */

static void test_signal(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    int stopped = 0;
    for (int i = 0; i < 2; i++) {
        int code = 75;
        for (int tries = 0; code == 75 && tries < 50; tries++) {
            const pid_t pid = start("stopped", NULL, NULL, 0);
            mz_clock_sleep_ns(whole_ns / 3);
            (void)kill(pid, signals[i]);
            code = program_wait(pid);
            if (code == 128 + signals[i]) code = 75; /* before the handler was there */
            stopped += code == 75;
        }
        if (code != 0) fail_msg("exit %d: %s", code, program_text("err"));
        check_same("stopped");
        remove_run("stopped");
    }
    assert_true(stopped > 0);
}

static void test_stop_after(void **state)
{
    (void)state;
    train("after", "run.stop_after=0.000001", 75);
    train("after", "run.stop_after=0.000001", 75);
    json_t *log = log_of("after");
    assert_int_equal(json_array_size(log), 2); /* one step each */
    json_decref(log);
    train("after", NULL, 0);
    check_same("after");
    train("after", NULL, 0); /* finished: nothing more to do */
    check_same("after");
    remove_run("after");
}

/* A thousandfold decay at a rate of a million blows the weights up within a few steps. */
static void test_divergence(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) { /* nothing gets better by going on */
        const int code =
            program_wait(start("diverged", "optim.lr=1000000", "optim.weight_decay=1000", 0));
        if (code != 77) fail_msg("exit %d, want 77: %s", code, program_text("err"));
        assert_non_null(strstr(program_text("err"), "steps in a row were skipped"));
    }
    json_t *log = log_of("diverged"), *saved = hashes("diverged");
    const size_t n = json_array_size(log);
    assert_true(n >= 11 && n < STEPS);
    for (size_t i = 0; i < n; i++) {
        const json_t *o = json_array_get(log, i);
        const bool is_skipped = i + 11 >= n; /* ten, and the one of the second try */
        if (is_skipped)
            assert_false(json_is_number(json_object_get(o, "loss")) &&
                         json_is_number(json_object_get(o, "grad_norm")));
    }
    assert_int_equal(json_integer_value(json_object_get(json_array_get(log, n - 1), "skipped")),
                     11);
    assert_int_equal(json_integer_value(json_object_get(saved, "step")), n);
    json_decref(log);
    json_decref(saved);
    remove_run("diverged");
}

/* Blocks that run twice make the bits of blocks that keep everything. */
static void test_recompute(void **state)
{
    (void)state;
    train("again", "recompute=true", 0);
    json_t *want = hashes("whole"), *got = hashes("again");
    assert_true(json_equal(want, got));
    json_decref(want);
    json_decref(got);
    remove_run("again");
}

/* Adapters alone: stopped and gone on with to the same bits, the model beside them untouched, and
 * nothing of it in the checkpoint. */
static void test_adapters(void **state)
{
    (void)state;
    const char *rank = "lora.rank=4", *targets = "lora.targets=q_proj,down_proj";
    assert_int_equal(program_wait(start("lora", rank, targets, 0)), 0);
    int code = 75;
    for (int tries = 0; code == 75 && tries < 2 * STEPS; tries++)
        code = program_wait(start_with("lora2", rank, targets, "run.stop_after=0.000001"));
    assert_int_equal(code, 0);
    json_t *want = hashes("lora"), *got = hashes("lora2");
    assert_true(json_equal(want, got));
    json_decref(want);
    json_decref(got);
    char name[PATH_BYTES];
    (void)snprintf(name, sizeof name, "lora/checkpoints/step-%08d/model.safetensors", STEPS);
    assert_false(mz_file_exists(program_path(name)));
    (void)snprintf(name, sizeof name, "lora/checkpoints/step-%08d/adapter_config.json", STEPS);
    assert_true(mz_file_exists(program_path(name)));
    assert_int_equal(program_wait(start("lora", "lora.rank=3", targets, 0)), 78);
    assert_int_equal(program_wait(start("lora3", rank, "lora.targets=q_prj", 0)), 78);
    assert_non_null(strstr(program_text("err"), "no linear map of this network is q_prj"));
    remove_run("lora");
    remove_run("lora2");
    remove_run("lora3");
}

/* ---- refusals ---- */

static void test_other_config(void **state)
{
    (void)state;
    train("whole", "optim.lr=0.02", 78);
    assert_non_null(strstr(program_text("err"), "has optim.lr 0.01, this configuration 0.02"));
    train("whole", "batch.global=4", 78);
    train("whole", "run.steps=41", 78); /* bends the cosine */
    train("whole", "dtype=bf16", 78);
    train("whole", "run.keep=5", 0);
    check_same("whole");
    /* the same name, other rows */
    const char row[] = "{\"ids\": [1, 2, 3]}\n";
    assert_int_equal(mz_file_write(program_path("other.jsonl"), row, sizeof row - 1), MZ_OK);
    char key[PATH_BYTES];
    (void)snprintf(key, sizeof key, "data.path=%s", program_path("other.jsonl"));
    train("whole", key, 78);
    assert_non_null(strstr(program_text("err"), "is not the data that the run"));
    check_same("whole");
}

static void test_second_process(void **state)
{
    (void)state;
    mz_lock lock = {-1};
    assert_int_equal(mz_lock_take(&lock, program_path("whole/lock")), MZ_OK);
    train("whole", NULL, 75);
    assert_non_null(strstr(program_text("err"), "held by another process"));
    mz_lock_drop(&lock);
    train("whole", NULL, 0);
}

/* A full disk, as far as one process can make one: no file may grow beyond 40 KB (the weights take
 * 80). The run says so, loses nothing, and goes on when there is room again. */
static void test_disk_full(void **state)
{
    (void)state;
    train("full", "run.stop_after=0.000001", 75);
    const int code = program_wait(start("full", NULL, NULL, 40000));
    if (code != 74) fail_msg("exit %d, want 74: %s", code, program_text("err"));
    train("full", NULL, 0);
    check_same("full");
    remove_run("full");
    assert_int_equal(program_wait(start("none", NULL, NULL, 1)), 74);
    remove_run("none");
}

static void test_read_only(void **state)
{
    (void)state;
    if (geteuid() == 0) { /* whom nothing is refused */
        print_message("run by root: a folder that may not be written is not tried\n");
        return;
    }
    assert_int_equal(mz_file_mkdirs(program_path("closed")), MZ_OK);
    assert_int_equal(chmod(program_path("closed"), 0555), 0);
    train("closed/run", NULL, 74);
    assert_int_equal(chmod(program_path("closed"), 0755), 0);
}

/* A finished run that is made longer: its old last line no longer says that it is done. */
static void test_longer(void **state)
{
    (void)state;
    train("long", "schedule.kind=constant", 0);
    const pid_t pid = start("long", "schedule.kind=constant", "run.steps=45", 0);
    assert_int_equal(program_wait(pid), 0);
    json_t *log = log_of("long");
    assert_int_equal(json_array_size(log), 45);
    assert_null(json_object_get(json_array_get(log, STEPS - 1), "done"));
    assert_non_null(json_object_get(json_array_get(log, 44), "done"));
    json_decref(log);
    remove_run("long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),         cmocka_unit_test(test_kill_two),
        cmocka_unit_test(test_signal),       cmocka_unit_test(test_stop_after),
        cmocka_unit_test(test_other_config), cmocka_unit_test(test_second_process),
        cmocka_unit_test(test_disk_full),    cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_longer),       cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_recompute),    cmocka_unit_test(test_adapters),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
