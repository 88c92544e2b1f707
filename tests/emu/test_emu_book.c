/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_book.c - what the emulated driver counts, models, traces, and makes fail on
 * purpose. Each case runs in a process of its own, because a plan is read once. */
#include "ascend/aclnn.h"
#include "tests/near.h"
#include "tests/scratch.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ND = 2, SIDE = 1024, SMALL = 4, SHORT = 200, LONG = 60000 };

/* How long a wait may take, ms: short only for what does not end. */
static int patience = LONG;

/* ---- a client ---- */

typedef struct client {
    aclrtStream stream;
    void *x, *y;
    aclTensor *tx, *ty;
} client;

static aclTensor *square(int type, int64_t n, void *at)
{
    const int64_t dims[2] = {n, n}, storage = n * n;
    return aclCreateTensor(dims, 2, type, NULL, 0, ND, &storage, 1, at);
}

/* 0, or the code of what failed. */
static int begin(client *c, int type, int64_t n)
{
    const size_t bytes = (size_t)(n * n) * (type == EMU_FLOAT ? 4 : 2);
    int code = aclInit(NULL);
    if (code == 0) code = aclrtSetDevice(0);
    if (code == 0) code = aclrtCreateStream(&c->stream);
    if (code == 0) code = aclrtMalloc(&c->x, bytes, 0);
    if (code == 0) code = aclrtMalloc(&c->y, bytes, 0);
    if (code == 0) code = aclrtMemset(c->x, bytes, 0, bytes);
    if (code == 0) code = aclrtMemset(c->y, bytes, 0, bytes);
    c->tx = square(type, n, c->x);
    c->ty = square(type, n, c->y);
    return code;
}

/* y = x x, and the wait. */
static int multiply(const client *c, int *waited)
{
    uint64_t bytes = 0;
    aclOpExecutor *executor = NULL;
    int code = aclnnMmGetWorkspaceSize(c->tx, c->tx, c->ty, 0, &bytes, &executor);
    if (code == 0) code = aclnnMm(NULL, 0, executor, c->stream);
    *waited = code == 0 ? aclrtSynchronizeStreamWithTimeout(c->stream, patience) : 0;
    return code;
}

/* y = 1, and the wait. */
static int fill(const client *c, int *waited)
{
    float one = 1.0F;
    uint64_t bytes = 0;
    aclOpExecutor *executor = NULL;
    aclScalar *s = aclCreateScalar(&one, EMU_FLOAT);
    int code = aclnnInplaceFillScalarGetWorkspaceSize(c->ty, s, &bytes, &executor);
    if (code == 0) code = aclnnInplaceFillScalar(NULL, 0, executor, c->stream);
    *waited = code == 0 ? aclrtSynchronizeStreamWithTimeout(c->stream, patience) : 0;
    return code;
}

/* Runs fn in a child; its result, or 200 + signal. */
static pid_t last_pid;
static int run_apart(int (*fn)(const void *), const void *argument)
{
    int status = 0;
    (void)fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) exit(fn(argument));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    last_pid = pid;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

/* ---- modelled time ---- */

/* 910B2, f16, 1024^3: 2^31 FLOP at 24 x 8192 x 1.8e9 a second are 6,067 ns, the launch 3,000; its 6
 * MiB would take 3,932. Between an event before and one behind it lies that alone. */
static int time_of_a_product(const void *nothing)
{
    client c;
    aclrtEvent before, after;
    int waited = 0;
    float ms = 0;
    (void)nothing;
    int code = begin(&c, EMU_FLOAT16, SIDE);
    code |= aclrtCreateEvent(&before) | aclrtCreateEvent(&after);
    code |= aclrtRecordEvent(before, c.stream) | multiply(&c, &waited) | waited;
    code |= aclrtRecordEvent(after, c.stream) | aclrtSynchronizeEvent(after);
    code |= aclrtEventElapsedTime(&ms, before, after);
    /* the host gave the product two calls after the first event */
    const double ns = (double)ms * 1e6;
    if (!(ns >= 9067 && ns <= 9067 + 8000)) printf("%.0f ns\n", ns);
    return code != 0 ? 1 : ns >= 9067 && ns <= 9067 + 8000 ? 0 : 2;
}

static void time_follows_the_figures(void **state)
{
    (void)state;
    assert_int_equal(run_apart(time_of_a_product, NULL), 0);
}

/* ---- counters and the trace ---- */

static int work(const void *kill_it)
{
    client c;
    int waited = 0;
    const int code = begin(&c, EMU_FLOAT, SMALL) | multiply(&c, &waited) | fill(&c, &waited);
    if (kill_it) (void)raise(SIGKILL);
    return code | waited;
}

static json_t *only_counters(void)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%d.json", (int)last_pid);
    const char *path = scratch_path(name);
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    return all;
}

static void check_number(const json_t *device, const char *name, int want)
{
    const int got = (int)json_integer_value(json_object_get(device, name));
    if (got != want) print_error("%s: %d, not %d\n", name, got, want);
    assert_int_equal(got, want);
}

/* 2 x 4^3 FLOP; three matrices of 64 bytes and one; two allocations of 64 + 32 bytes. */
static void check_counters(void)
{
    json_t *all = only_counters();
    assert_string_equal(json_string_value(json_object_get(all, "soc")), "Ascend910B2");
    const json_t *device = json_array_get(json_object_get(all, "devices"), 0);
    check_number(device, "operators", 2);
    check_number(device, "cube_flop", 128);
    check_number(device, "device_bytes", 256);
    check_number(device, "allocations", 2);
    check_number(device, "bytes_peak", 192);
    check_number(device, "bytes_within", 128);
    check_number(device, "host_waits", 4); /* two fills at once, two waits */
    check_number(device, "faults", 0);
    json_decref(all);
}

static void check_trace(int processes)
{
    const char *trace = scratch_path("trace");
    json_error_t why;
    json_t *all = json_load_file(trace, 0, &why);
    int products = 0, waits = 0;
    if (!all) print_error("%s: line %d: %s\n", trace, why.line, why.text);
    assert_non_null(all);
    assert_non_null(json_object_get(json_object_get(all, "otherData"), "emulated"));
    size_t i;
    const json_t *e;
    json_array_foreach(json_object_get(all, "traceEvents"), i, e)
    {
        const char *name = json_string_value(json_object_get(e, "name"));
        const char *cat = json_string_value(json_object_get(e, "cat"));
        if (cat && strcmp(cat, "device") == 0 && strcmp(name, "aclnnMm") == 0) {
            products++;
            assert_string_equal(
                json_string_value(json_object_get(json_object_get(e, "args"), "tensors")),
                "FLOAT[4,4] FLOAT[4,4] FLOAT[4,4]");
        }
        waits += strcmp(name, "aclrtSynchronizeStream") == 0;
    }
    assert_int_equal(products, processes);
    assert_int_equal(waits, 2 * processes);
    json_decref(all);
}

static void counters_and_trace_outlive_the_process(void **state)
{
    (void)state;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_COUNTERS", scratch_path("."), 1), 0);
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_TRACE", scratch_path("trace"), 1), 0);
    assert_int_equal(run_apart(work, NULL), 0);
    check_counters();
    check_trace(1);
    assert_int_equal(run_apart(work, ""), 200 + SIGKILL);
    check_counters();
    check_trace(2); /* two processes in one file */
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_COUNTERS"), 0);
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_TRACE"), 0);
}

/* ---- faults ---- */

typedef struct fault_row {
    const char *plan;
    int call, wait; /* codes of the first fill and its wait; -1: begin fails with `wait` */
    int call2, wait2;
    float value; /* what the first fill then left, 1 if it was done */
} fault_row;

static const fault_row FAULTS[] = {
    {"out_of_memory", -1, 207001, 0, 0, 0},
    {"out_of_memory at=2", -1, 207001, 0, 0, 0},
    {"out_of_memory at=3", 0, 0, 0, 0, 1},
    {"out_of_memory device=1", 0, 0, 0, 0, 1},
    {"error call=aclrtMemset code=507899", -1, 507899, 0, 0, 0},
    {"error call=aclnnInplaceFillScalarGetWorkspaceSize code=561003", 561003, 0, 0, 0, 0},
    {"error call=aclnnInplaceFillScalar", 361001, 0, 0, 0, 0},
    {"error call=aclnnInplaceFill* code=207001", 207001, 0, 0, 0, 0},
    {"error call=aclnnInplaceFillScalar at=2 code=561103", 0, 0, 561103, 0, 1},
    {"error call=aclrtSynchronizeStream code=507899", 0, 507899, 0, 0, 1},
    {"late", 0, 507015, 0, 0, 0},
    {"late code=507018", 0, 507018, 0, 0, 0},
    {"late times=2", 0, 507015, 0, 507015, 0},
    {"endless", 0, 507046, 0, 507046, 0},
    {"silent", 0, 0, 0, 0, 0},
    {"flip", 0, 0, 0, 0, INFINITY}, /* 1 with all of its exponent */
    {"flip bit=31", 0, 0, 0, 0, -1},
    {"flip bit=22 element=16", 0, 0, 0, 0, 1.5F}, /* element 16 of 16 is 0 again */
    {"flip element=3", 0, 0, 0, 0, 1},
    {"ecc", 0, 507054, 507054, 0, 0},
    {"device_lost", 0, 507010, 507010, 0, 0},
    {"late at=2\necc at=3", 0, 0, 0, 507015, 1},
    {"late\nsilent\n\nendless device=3", 0, 507015, 0, 0, 0},
    {"missing_symbol symbol=aclnnMm\nversion version=1.9.0", 0, 0, 0, 0, 1},
};

static int strike(const void *argument)
{
    const fault_row *row = argument;
    client c;
    int waited = 0;
    float value = 0;
    (void)setenv("MIZAN_EMU_ASCEND_FAULTS", row->plan, 1);
    if (row->wait == 507046) patience = SHORT;
    const int code = begin(&c, EMU_FLOAT, SMALL);
    if (row->call == -1) return code == row->wait ? 0 : 1;
    if (code != 0) return 2;
    if (fill(&c, &waited) != row->call || waited != row->wait) return 3;
    if (waited == 0 || waited == 507015 || waited == 507018) {
        if (aclrtMemcpy(&value, sizeof value, c.y, sizeof value, 2) != 0) return 4;
        if (memcmp(&value, &row->value, sizeof value) != 0) return 5;
    }
    if (fill(&c, &waited) != row->call2 || waited != row->wait2) return 6;
    return aclrtDestroyStreamForce(c.stream) == 0 ? 0 : 7; /* what does not end goes too */
}

static void each_fault_strikes_as_planned(void **state)
{
    (void)state;
    int bad = 0;
    for (int i = 0; i < MZ_COUNT(FAULTS); i++) {
        const int got = run_apart(strike, &FAULTS[i]);
        if (got != 0) print_error("\"%s\": step %d\n", FAULTS[i].plan, got);
        bad += got != 0;
    }
    assert_int_equal(bad, 0);
    print_message("%d plans\n", (int)MZ_COUNT(FAULTS));
}

static int bad_plan_stops_init(const void *nothing)
{
    (void)nothing;
    (void)setenv("MIZAN_EMU_ASCEND_FAULTS", "late\nlate at=0", 1);
    if (aclInit(NULL) != 100000) return 1;
    const char *why = aclGetRecentErrMsg();
    return why && strstr(why, "line 2") && strstr(why, "at is") ? 0 : 2;
}

static void bad_plans_are_judged(void **state)
{
    static const struct {
        const char *plan;
        int line;
        const char *why;
    } rows[] = {
        {"broken", 1, "no kind of fault \"broken\""},
        {"late\n\noom at=3", 3, "no kind of fault \"oom\""},
        {"late at", 1, "not KEY=VALUE"},
        {"late at=x", 1, "want a whole number from 1"},
        {"late at=1.5", 1, "want a whole number"},
        {"late device=8", 1, "device is \"8\""},
        {"late bit=3", 1, "no key \"bit\""},
        {"silent code=7", 1, "no key \"code\""},
        {"error", 1, "names no call"},
        {"error call=a/b", 1, "want the name of a function"},
        {"error call=a*b", 1, "want the name of a function"},
        {"missing_library", 1, "wants the key \"library\""},
        {"missing_library library=../x.so", 1, "is no name"},
        {"missing_symbol library=x", 1, "no key \"library\""},
        {"version version=1.9", 1, "want three numbers"},
        {"missing_symbol symbol=a at=3", 1, "no key \"at\""},
    };
    (void)state;
    int line = 0;
    for (int i = 0; i < MZ_COUNT(rows); i++) {
        const char *why = mizan_emulated_ascend_judge(rows[i].plan, &line);
        if (!why || !strstr(why, rows[i].why))
            print_error("\"%s\": %s\n", rows[i].plan, why ? why : "taken");
        assert_non_null(why);
        assert_non_null(strstr(why, rows[i].why));
        assert_int_equal(line, rows[i].line);
    }
    assert_null(mizan_emulated_ascend_judge("", &line));
    assert_int_equal(run_apart(bad_plan_stops_init, NULL), 0);
}

/* ---- chips ---- */

static int multiply_bf16(const void *soc)
{
    client c;
    int waited = 0;
    (void)setenv("MIZAN_EMU_ASCEND_SOC", soc, 1);
    if (begin(&c, EMU_BF16, SMALL) != 0 || strcmp(aclrtGetSocName(), soc) != 0) return 1;
    return multiply(&c, &waited) == 0 && waited == 0 ? 0 : 2;
}

static void every_chip_of_the_list_starts(void **state)
{
    char names[512], *rest = NULL;
    int n = 0;
    (void)state;
    (void)snprintf(names, sizeof names, "%s", mizan_emulated_ascend_socs());
    for (char *soc = strtok_r(names, " ", &rest); soc; soc = strtok_r(NULL, " ", &rest), n++) {
        const bool has_bf16 = strcmp(soc, "Ascend910A") != 0 && strcmp(soc, "Ascend310P3") != 0;
        assert_int_equal(run_apart(multiply_bf16, soc), has_bf16 ? 0 : 2);
    }
    assert_int_equal(n, 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_follows_the_figures),
        cmocka_unit_test(counters_and_trace_outlive_the_process),
        cmocka_unit_test(each_fault_strikes_as_planned),
        cmocka_unit_test(bad_plans_are_judged),
        cmocka_unit_test(every_chip_of_the_list_starts),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
