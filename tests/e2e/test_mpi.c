/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_mpi.c - two ranks that mpirun has started make the bits of two that Mizan starts
 * itself, go on from each other's checkpoints, stop in order, and hang nowhere. */
#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/e2e/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TWO "ranks=[{chip: cpu, share: 2}, {chip: far}]"

static char config[PATH_BYTES];

static void write_inputs(void)
{
    mz_str s = {0};
    mz_rng rng;
    mz_rng_init(&rng, 4, 0);
    for (int i = 0; i < 30; i++)
        for (int t = 0, n = 4 + (int)mz_rng_below(&rng, 12); t < n; t++)
            assert_int_equal(mz_str_addf(&s, "%s%d%s", t ? ", " : "{\"ids\": [",
                                         (int)mz_rng_below(&rng, 53), t + 1 < n ? "" : "]}\n"),
                             MZ_OK);
    assert_int_equal(mz_file_write(program_path("rows.jsonl"), s.text, s.len), MZ_OK);
    s.len = 0;
    assert_int_equal(mz_str_addf(&s,
                                 "model.path: %s/tests/golden/deepseek_v3_mtp\n"
                                 "data: {path: %s, seq: 16}\n"
                                 "run: {dir: none, steps: 20, checkpoint_every: 6, seed: 5}\n"
                                 "batch: {global: 6, micro: 2}\nmoe.bias_rate: 0.001\n"
                                 "mtp.weight: 0.3\noptim: {lr: 0.003}\n",
                                 program_root(), program_path("rows.jsonl")),
                     MZ_OK);
    (void)snprintf(config, sizeof config, "%s", program_path("train.yaml"));
    assert_int_equal(mz_file_write(config, s.text, s.len), MZ_OK);
    mz_str_clear(&s);
}

static int set_up(void **state)
{
    if (program_set_up(state) != 0) return -1;
    if (system("mpirun --allow-run-as-root --oversubscribe -n 2 true >/dev/null 2>&1") != 0) {
        (void)program_tear_down(state);
        print_message(
            "mpirun is not installed (openmpi-bin), or starts nothing here (it wants /sys): "
            "skipped\n");
        exit(77);
    }
    write_inputs();
    return 0;
}

/* `mizan train` of that run, started n times by mpirun; its exit code. Open MPI keeps memory to its
 * end and takes two of its locks in either order, which checkers would lay to our charge. */
static int by_mpi(int n, const char *run, const char *more)
{
    char command[4 * PATH_BYTES];
    (void)snprintf(command, sizeof command,
                   "ASAN_OPTIONS=\"$ASAN_OPTIONS:detect_leaks=0\" "
                   "TSAN_OPTIONS=\"$TSAN_OPTIONS:detect_deadlocks=0\" timeout 60 mpirun "
                   "--allow-run-as-root --oversubscribe --bind-to none -n %d %s train "
                   "%s --threads 1 run.dir=%s '" TWO "' %s >%s 2>%s </dev/null",
                   n, getenv("MIZAN_PROGRAM"), config, program_path(run), more, program_path("out"),
                   program_path("err"));
    const int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int by_itself(const char *run, const char *more)
{
    char key[PATH_BYTES + 16];
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path(run));
    const char *words[] = {"train", config, "--threads", "1", key, TWO, more, NULL};
    return program_run(words);
}

static void must(int code, int want)
{
    if (code != want) fail_msg("exit %d, want %d: %s", code, want, program_text("err"));
}

static json_t *hashes(const char *run)
{
    const char *words[] = {"runs", "hash", program_path(run), "--json", NULL};
    must(program_run(words), 0);
    return program_json();
}

static void check_same(const char *a, const char *b)
{
    json_t *x = hashes(a), *y = hashes(b);
    if (!json_equal(x, y)) fail_msg("%s and %s have other bits", a, b);
    json_decref(x);
    json_decref(y);
}

static void test_same_bits(void **state)
{
    (void)state;
    must(by_itself("local", NULL), 0);
    must(by_mpi(2, "mpi", ""), 0);
    check_same("local", "mpi");
    must(by_mpi(2, "mixed", "run.steps=7"), 0); /* a constant schedule may be made longer */
    must(by_itself("mixed", NULL), 0);
    check_same("local", "mixed");
    must(by_mpi(2, "stopped", "run.stop_after=0.000001"), 75);
    must(by_mpi(2, "stopped", ""), 0);
    check_same("local", "stopped");
}

static void test_refusals(void **state)
{
    (void)state;
    must(by_mpi(3, "none", ""), 78);
    assert_non_null(strstr(program_text("err"), "ranks lists 2 chips, 3 processes were started"));
    must(by_mpi(2, "local", "optim.lr=0.5"), 78); /* rank 0 says it, all of them end */
    assert_non_null(strstr(program_text("err"), "has optim.lr"));
}

/* Only what has started its ranks could start others. It says so, and the run goes on. */
static void test_no_move(void **state)
{
    (void)state;
    const char *words[] = {"runs", "move", program_path("kept"), "--ranks", "[{chip: cpu}]", NULL};
    char log[PATH_BYTES];
    (void)snprintf(log, sizeof log, "%s", program_path("kept/log.jsonl"));
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(by_mpi(2, "kept", "run.steps=1000000 run.stop_after=8 optim.lr=1e-7"));
    for (int tries = 0; tries < 4000 && !mz_file_exists(log); tries++) mz_clock_sleep_ns(5000000);
    const int code = program_run(words);
    if (code == 0 || !strstr(program_text("err"), "started by mpirun"))
        fail_msg("exit %d: %s", code, program_text("err"));
    assert_false(mz_file_exists(program_path("kept/move")));
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 75); /* it was not disturbed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_move),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
