/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/test_shares.c - `share: auto`: what is measured is kept, also by a run that was killed;
 * the run has the bits of one whose shares were written so; a move measures anew. */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "tests/e2e/program.h"
#include "tests/e2e/small.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char AUTO[] = "[{chip: cpu, share: auto}, {chip: far, share: auto}]";
enum { GLOBAL = 6 };

static int set_up(void **state)
{
    char text[2048];
    if (program_set_up(state) != 0) return -1;
    small_model("model", "deepseek_v3");
    (void)small_file("rows.jsonl",
                     "{\"ids\": [101, 102, 103, 104, 105]}\n{\"ids\": [7, 8, 9]}\n"
                     "{\"ids\": [50, 60, 70, 80, 90, 100, 110]}\n{\"ids\": [1, 2]}\n");
    (void)snprintf(text, sizeof text,
                   "model.path: %s\ndata: {path: %s, seq: 16}\n"
                   "run: {dir: none, steps: 400, checkpoint_every: 3, tensorboard: false}\n"
                   "batch: {global: %d, micro: 2}\noptim.lr: 0.001\n",
                   program_path("model"), program_path("rows.jsonl"), GLOBAL);
    (void)small_file("train.yaml", text);
    return 0;
}

static pid_t start(const char *run, const char *ranks, int64_t steps)
{
    char key[PATH_BYTES + 16], list[256], until[64];
    (void)snprintf(key, sizeof key, "run.dir=%s", program_path(run));
    (void)snprintf(list, sizeof list, "ranks=%s", ranks);
    (void)snprintf(until, sizeof until, "run.steps=%lld", (long long)steps);
    const char *words[] = {"train", program_path("train.yaml"), "--threads", "1", key, list, until,
                           NULL};
    return program_start(words, 0);
}

static void finish(const char *run, const char *ranks, int64_t steps)
{
    const int code = program_wait(start(run, ranks, steps));
    if (code != 0) fail_msg("%s: exit %d: %s", run, code, program_text("err"));
}

static bool is_there(const char *run, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", run, name);
    return mz_file_exists(program_path(path));
}

/* The bytes of a file in a run. Free them. */
static char *text_of(const char *run, const char *name)
{
    char path[256], *text = NULL;
    size_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/%s", run, name);
    assert_int_equal(mz_file_read(program_path(path), 1 << 20, &text, &bytes), MZ_OK);
    return text;
}

static json_t *hash_of(const char *run)
{
    const char *words[] = {"runs", "hash", program_path(run), "--json", NULL};
    assert_int_equal(program_run(words), 0);
    return program_json();
}

/* The ranks that shares.json stands for, with its numbers. */
static void written_ranks(const char *run, char out[256])
{
    char *text = text_of(run, "shares.json");
    json_t *o = json_loads(text, 0, NULL);
    const json_t *list = json_object_get(o, "shares");
    const long long a = json_integer_value(json_array_get(list, 0));
    const long long b = json_integer_value(json_array_get(list, 1));
    assert_int_equal(json_array_size(list), 2);
    assert_true(a >= 1 && b >= 1 && a + b == GLOBAL);
    for (size_t i = 0; i < 2; i++) {
        const json_t *speed = json_array_get(json_object_get(o, "samples_per_s"), i);
        assert_true(json_number_value(speed) > 0.0);
    }
    (void)snprintf(out, 256, "[{chip: cpu, share: %lld}, {chip: far, share: %lld}]", a, b);
    json_decref(o);
    mz_mem_free(text);
}

static void a_killed_run_keeps_what_was_measured(void **state)
{
    char ranks[256];
    (void)state;
    /* while it measures, and while it learns: the second start finds what the first one left */
    const pid_t first = start("auto", AUTO, 400);
    mz_clock_sleep_ns(300000000);
    assert_int_equal(kill(first, SIGKILL), 0);
    (void)program_wait(first);
    const pid_t second = start("auto", AUTO, 400);
    for (int tries = 0; tries < 6000 && !is_there("auto", "checkpoints/step-00000006"); tries++)
        mz_clock_sleep_ns(5000000);
    assert_int_equal(kill(second, SIGKILL), 0);
    (void)program_wait(second);
    char *before = text_of("auto", "shares.json");
    finish("auto", AUTO, 400);
    char *after = text_of("auto", "shares.json");
    assert_string_equal(before, after);
    written_ranks("auto", ranks);
    finish("plain", ranks, 400);
    json_t *a = hash_of("auto"), *b = hash_of("plain");
    if (!json_equal(a, b)) fail_msg("other bits than with %s", ranks);
    json_decref(a);
    json_decref(b);
    mz_mem_free(before);
    mz_mem_free(after);
}

static void a_move_measures_anew(void **state)
{
    static const char other[] = "[{chip: far, share: auto}, {chip: cpu, share: auto}]";
    (void)state;
    char *before = text_of("auto", "shares.json");
    const char *move[] = {"runs", "move", program_path("auto"), "--ranks", other, NULL};
    if (program_run(move) != 0) fail_msg("%s", program_text("err"));
    finish("auto", AUTO, 403);
    char *after = text_of("auto", "shares.json");
    assert_string_not_equal(before, after);
    assert_non_null(strstr(after, "far\\\", share: auto}, {chip"));
    mz_mem_free(before);
    mz_mem_free(after);
}

static void a_damaged_record_is_said(void **state)
{
    (void)state;
    finish("bad", AUTO, 3);
    (void)small_file("bad/shares.json", "{\"schema\": 1, \"shares\": [6, 1]}");
    assert_int_equal(program_wait(start("bad", AUTO, 5)), 76);
    assert_non_null(strstr(program_text("err"), "shares.json"));
    (void)small_file("bad/shares.json", "{\"schema\": 1, \"sha");
    assert_int_equal(program_wait(start("bad", AUTO, 5)), 76);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_keeps_what_was_measured),
        cmocka_unit_test(a_move_measures_anew),
        cmocka_unit_test(a_damaged_record_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, program_tear_down);
}
