/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_rank_faults.c - SIGKILL and SIGSTOP of each rank in each phase of a step and of
 * a save, in a run on unlike chips: noticed in time, named, never a hang, and the run ends with the
 * bits of an undisturbed one that had the same ranks at the same steps; by each policy in turn. One
 * that stops ends with 75, everything saved, and the same command goes on.
 *
 * The same with an OpenCL device as the one that is lost, by its process's death and stall and by
 * an error of the device itself, where there is one.
 *
 * MIZAN_FAULTS is how many there are (12, of OpenCL 5, whose stalls are told after half a second;
 * where it is given, after three as users have it). MIZAN_FAULT_STATE=64 takes a model with 64 MiB
 * of state, for the time from a fault to the next step. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/trial.h"
#include "tests/near.h"
#include "tests/team.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 9, EVERY = 2, FAULTS_MAX = 4096, NO_SIGNAL = 0 };

static const char FAR[] = "far", OPENCL[] = "opencl:0", FAILING[] = "fault:opencl:0";
#define UNLIKE "ranks=[{chip: cpu, share: 2}, {chip: far, share: 1}]"

static const mz_phase PHASES[] = {MZ_PHASE_LOAD,    MZ_PHASE_COMPUTE, MZ_PHASE_REDUCE,
                                  MZ_PHASE_JUDGE,   MZ_PHASE_UPDATE,  MZ_PHASE_SHARE,
                                  MZ_PHASE_COLLECT, MZ_PHASE_SAVE};

/* Shared with the ranks' processes. */
typedef struct aim {
    const char *chip; /* of rank 1; that of rank 0 is cpu */
    int rank, signal; /* NO_SIGNAL: the plan that the chip reads as it is opened */
    int loads;        /* how often the rank has begun */
    mz_phase phase;
    int64_t step;    /* -1: any */
    int left;        /* how often it strikes */
    int64_t at_ns;   /* when it struck last */
    int64_t next_ns; /* when the first step after it was made */
} aim;
static aim *target;

static void put_plan(const char *text)
{
    assert_int_equal(mz_file_write(team_path("plan.json"), text, strlen(text)), MZ_OK);
}

/* What fails is inside a phase: it struck after that began. Once is enough, so whoever opens the
 * chip after this process reads a plan in which nothing fails. */
static void expect_failure(aim *a, mz_phase phase)
{
    a->loads += phase == MZ_PHASE_START;
    if (phase == MZ_PHASE_LOAD) put_plan("[]");
    if (a->loads == 1) a->at_ns = mz_clock_ns();
}

static void strike(void *user, int rank, mz_phase phase, int64_t step)
{
    aim *a = user;
    if (rank == 0 && phase == MZ_PHASE_LOAD) a->next_ns = 0; /* what follows is a new start's */
    if (a->signal == NO_SIGNAL && rank == a->rank && a->left > 0) expect_failure(a, phase);
    if (a->signal == NO_SIGNAL) return;
    if (a->left == 0 || rank != a->rank || phase != a->phase || (a->step >= 0 && step != a->step))
        return;
    a->left--;
    a->at_ns = mz_clock_ns();
    a->next_ns = 0;
    (void)kill(getpid(), a->signal);
}

static void note_step(void *user, const mz_step_record *record)
{
    aim *a = user;
    (void)record;
    if (a->at_ns != 0 && a->next_ns == 0) a->next_ns = mz_clock_ns();
}

/* ---- how many, on what ---- */

static int faults_wanted(bool *is_long)
{
    int64_t n = 0;
    const char *text = getenv("MIZAN_FAULTS");
    *is_long = text && mz_str_to_i64(text, &n) && n > 0;
    return *is_long ? (int)(n < FAULTS_MAX ? n : FAULTS_MAX) : 12;
}

/* 5.6 million parameters, each with two moments. */
static void take_large_network(void)
{
    static const char json[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": "
        "\"silu\", \"hidden_size\": 256, \"intermediate_size\": 768, \"num_hidden_layers\": 6, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 64, "
        "\"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-06, \"rope_theta\": 10000.0, "
        "\"tie_word_embeddings\": false, \"vocab_size\": 1024, \"initializer_range\": 0.02, "
        "\"bos_token_id\": 0, \"eos_token_id\": 1}";
    char line[TEAM_TEXT + 32];
    FILE *f = fopen(team_path("large.json"), "w");
    assert_non_null(f);
    assert_true(fputs(json, f) >= 0 && fclose(f) == 0);
    (void)snprintf(line, sizeof line, "model.config: %s", team_path("large.json"));
    team_network(line);
}

/* ---- one run ---- */

static void unlike_key(const char *chip, char out[128])
{
    (void)snprintf(out, 128, "ranks=[{chip: cpu, share: 2}, {chip: \"%s\", share: 1}]", chip);
}

static mz_err run(const char *name, const char *on_fault, double stall_s)
{
    char policy[64], every[64], unlike[128];
    const bool fails = target->signal == NO_SIGNAL;
    unlike_key(target->chip, unlike);
    (void)snprintf(policy, sizeof policy, "run.on_fault=%s", on_fault);
    (void)snprintf(every, sizeof every, "run.checkpoint_every=%d", EVERY);
    const char *keys[] = {unlike, policy, every, NULL};
    const mz_train_config c = team_config(name, STEPS, keys);
    const mz_train_hooks hooks = {.user = target, .step = note_step};
    const mz_ranks_options o = {.chip = {.fault_plan = fails ? team_path("plan.json") : NULL},
                                .hooks = &hooks,
                                .stall_s = stall_s,
                                .user = target,
                                .on_phase = strike};
    return team_run(&c, &o);
}

/* The events of a run; a new reference to a list. */
static json_t *events(const char *name)
{
    char file[TEAM_TEXT + 16], line[4096];
    json_t *list = json_array();
    (void)snprintf(file, sizeof file, "%s/ranks.jsonl", team_path(name));
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        json_t *o = json_loads(line, 0, NULL);
        assert_non_null(o);
        assert_int_equal(json_array_append_new(list, o), 0);
    }
    assert_int_equal(fclose(f), 0);
    return list;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    assert_non_null(text);
    return text;
}

static bool is_event(const json_t *o, const char *kind)
{
    return strcmp(text_of(o, "event"), kind) == 0;
}

/* ranks=[...] of a start. */
static void ranks_key(const json_t *start, char out[512])
{
    char list[480];
    const size_t n = json_dumpb(json_object_get(start, "ranks"), list, sizeof list - 1, 0);
    assert_true(n > 0 && n < sizeof list);
    list[n] = '\0';
    (void)snprintf(out, 512, "ranks=%s", list);
}

/* What an undisturbed run does that changes its ranks where this one did: stops and starts. */
static void replay(const json_t *list, const char *name, const char *const *more)
{
    char key[512] = "";
    size_t i;
    const json_t *o;
    const char *keys[] = {key, more[0], NULL};
    json_array_foreach(list, i, o)
    {
        if (!is_event(o, "start")) continue;
        const int after = (int)json_integer_value(json_object_get(o, "after_step"));
        if (key[0] && after > 0) team_must_run(name, after, keys);
        ranks_key(o, key);
    }
    team_must_run(name, STEPS, keys);
}

/* ---- checks ---- */

static void check_named(const json_t *list)
{
    const char *chip = target->rank == 0 ? "cpu" : target->chip;
    const char *kind = target->signal == SIGKILL   ? "crash"
                       : target->signal == SIGSTOP ? "stall"
                                                   : "chip";
    size_t i;
    const json_t *o, *fault = NULL;
    json_array_foreach(list, i, o) if (is_event(o, "fault")) fault = o;
    assert_non_null(fault);
    assert_int_equal(json_integer_value(json_object_get(fault, "rank")), target->rank);
    assert_string_equal(text_of(fault, "chip"), chip);
    assert_string_equal(text_of(fault, "kind"), kind);
    if (target->signal == NO_SIGNAL) return;
    assert_string_equal(text_of(fault, "phase"), mz_phase_name(target->phase));
    const bool is_first = target->phase == MZ_PHASE_COMPUTE && target->step == 1;
    if (target->phase != MZ_PHASE_LOAD && !is_first)
        assert_true(text_of(fault, "operator")[0] != '\0');
}

/* By turns; the number of aims and that of policies have no common divisor. */
static const char *const POLICIES[] = {"continue", "restart", "stop"};

/* Runs into the fault that is aimed at; what stops is started again. */
static void run_into_it(int i, const char *policy, double stall)
{
    const bool stops = strcmp(policy, "stop") == 0;
    mz_err err = run("struck", policy, stall);
    const bool fails = target->signal == NO_SIGNAL;
    if (fails) target->left = 0; /* what has begun by now reads an empty plan */
    if (stops && err == (fails ? MZ_ECHIP : MZ_ETIMEOUT) && target->left == 0)
        err = run("struck", policy, stall);
    else if (stops)
        fail_msg("fault %d did not stop the run: %s", i, mz_err_last()->message);
    if (err != MZ_OK)
        fail_msg("fault %d (%s), rank %d, phase %s of step %lld: %s", i, policy, target->rank,
                 mz_phase_name(target->phase), (long long)target->step, mz_err_last()->message);
    if (target->left != 0) fail_msg("fault %d did not strike", i);
}

/* The last start has the ranks that are left, or all of them. */
static void check_left(const json_t *list, bool restarts)
{
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    const json_t *ranks = json_object_get(last, "ranks");
    assert_true(is_event(last, "start"));
    assert_int_equal(json_array_size(ranks), restarts ? 2 : 1);
    if (!restarts)
        assert_string_equal(text_of(json_array_get(ranks, 0), "chip"),
                            target->rank == 0 ? target->chip : "cpu");
}

static double noticed_after(const json_t *list, double struck_wall)
{
    size_t i;
    const json_t *o;
    json_array_foreach(list, i, o) if (is_event(o, "fault")) return json_real_value(
        json_object_get(o, "time")) -
        struck_wall;
    return 1e9;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void say(const char *what, double *x, int n)
{
    if (n == 0) return;
    qsort(x, (size_t)n, sizeof *x, by_size);
    print_message("%-28s n %4d  p50 %6.3f s  p99 %6.3f s\n", what, n, x[(n - 1) / 2],
                  x[(int)(0.99 * (n - 1) + 0.5)]);
}

static double crash_s[FAULTS_MAX], stall_s[FAULTS_MAX], chip_s[FAULTS_MAX], next_s[FAULTS_MAX];

/* ---- the storm ---- */

/* Fault number i: every rank, phase and signal comes by before one comes again. */
static void take_aim(int i, mz_rng *rng)
{
    const int kinds = 2 * 2 * MZ_COUNT(PHASES);
    const int k = (i * 13 + 5) % kinds; /* 13 and 32 have no common divisor */
    *target = (aim){.chip = FAR,
                    .rank = k % 2,
                    .signal = k / 2 % 2 ? SIGSTOP : SIGKILL,
                    .phase = PHASES[k / 4],
                    .step = 1 + (int64_t)mz_rng_below(rng, STEPS - 1),
                    .left = 1};
    if (target->phase == MZ_PHASE_LOAD) target->step = -1;
    if (target->phase == MZ_PHASE_COLLECT || target->phase == MZ_PHASE_SAVE)
        target->step -= target->step % EVERY - EVERY * (target->step < EVERY);
    if (target->step > STEPS - 1) target->step = STEPS - 1;
}

/* The device itself is lost, at a call that comes by in the first steps. */
static void plan_failure(mz_rng *rng)
{
    static const struct {
        const char *op;
        uint64_t most;
    } ops[] = {{"xent", 8}, {"rmsnorm", 40}, {"attention", 16}, {"matmul", 80}};
    const uint64_t which = mz_rng_below(rng, MZ_COUNT(ops));
    char text[256];
    (void)snprintf(text, sizeof text,
                   "[{\"where\": \"launch\", \"op\": \"%s\", \"at\": %d, \"kind\": \"%s\"}]",
                   ops[which].op, 1 + (int)mz_rng_below(rng, ops[which].most),
                   mz_rng_below(rng, 2) ? "late" : "error");
    put_plan(text);
}

/* The rank on OpenCL: every phase and kind of loss comes by before one comes again. */
static void take_aim_at_opencl(int i, mz_rng *rng)
{
    static const int signals[] = {SIGKILL, SIGSTOP, NO_SIGNAL};
    const int k = (i * 7 + 5) % (3 * MZ_COUNT(PHASES)); /* 7 and 24 have no common divisor */
    take_aim(i, rng);
    target->chip = signals[k % 3] == NO_SIGNAL ? FAILING : OPENCL;
    target->rank = 1;
    target->signal = signals[k % 3];
    if (target->signal == NO_SIGNAL) plan_failure(rng);
}

typedef struct storm {
    const char *chip;
    void (*take_aim)(int i, mz_rng *rng);
    int each; /* so many faults in turn have one policy */
    bool is_long;
    char undisturbed[160];
} storm;

/* What became of the run, against one that nothing befell. */
static void check_bits(const storm *s, int i, const json_t *list, bool all_go_on)
{
    const char *no_more = NULL;
    char want[160], got[160];
    team_hash("struck", got);
    memcpy(want, s->undisturbed, sizeof want);
    check_left(list, all_go_on);
    if (!all_go_on) {
        replay(list, "replayed", &no_more);
        team_hash("replayed", want);
        team_remove("replayed");
    }
    if (strcmp(want, got) != 0)
        fail_msg("fault %d, rank %d on %s, phase %s of step %lld: other bits", i, target->rank,
                 target->chip, mz_phase_name(target->phase), (long long)target->step);
}

/* Fault number i; the time until it was noticed. */
static double endure(const storm *s, int i, mz_rng *rng)
{
    const char *policy = POLICIES[i / s->each % MZ_COUNT(POLICIES)];
    s->take_aim(i, rng);
    const double offset = mz_clock_wall_s() - (double)mz_clock_ns() * 1e-9;
    run_into_it(i, policy, s->is_long ? 0.0 : 0.5);
    json_t *list = events("struck");
    check_named(list);
    const double after = noticed_after(list, (double)target->at_ns * 1e-9 + offset);
    if (!(after < (target->signal == SIGSTOP ? 4.0 : 1.0)))
        fail_msg("fault %d was noticed after %.3f s", i, after);
    check_bits(s, i, list, strcmp(policy, "continue") != 0);
    json_decref(list);
    team_remove("struck");
    return after;
}

static void rage(storm *s, int wanted)
{
    int crashes = 0, stalls = 0, failures = 0, nexts = 0;
    char unlike[128];
    mz_rng rng;
    mz_rng_init(&rng, (uint64_t)getpid(), 0); /* other steps every time */
    unlike_key(s->chip, unlike);
    const char *keys[] = {unlike, NULL};
    if (getenv("MIZAN_FAULT_STATE")) take_large_network();
    team_must_run("undisturbed", STEPS, keys);
    team_hash("undisturbed", s->undisturbed);
    for (int i = 0; i < wanted; i++) {
        const double after = endure(s, i, &rng);
        if (target->signal == SIGKILL)
            crash_s[crashes++] = after;
        else if (target->signal == SIGSTOP)
            stall_s[stalls++] = after;
        else
            chip_s[failures++] = after;
        if (target->next_ns > 0) next_s[nexts++] = (double)(target->next_ns - target->at_ns) * 1e-9;
    }
    say("a crash is noticed after", crash_s, crashes);
    say("a stall is noticed after", stall_s, stalls);
    say("a failure is noticed within", chip_s, failures);
    say("from fault to next step", next_s, nexts);
    team_remove("undisturbed");
}

static void test_faults(void **state)
{
    (void)state;
    storm s = {.chip = FAR, .take_aim = take_aim, .each = 1};
    const int wanted = faults_wanted(&s.is_long);
    rage(&s, wanted);
}

static void open_opencl(const void *arg)
{
    (void)arg;
    mz_device *device = NULL;
    if (mz_device_open(&device, OPENCL, NULL) != MZ_OK) mz_trial_failed();
    mz_device_close(device);
}

/* This process may not open the driver itself. */
static void test_opencl_faults(void **state)
{
    (void)state;
    storm s = {.chip = OPENCL, .take_aim = take_aim_at_opencl, .each = 3};
    const int wanted = faults_wanted(&s.is_long);
    if (mzt_is_sanitized()) {
        print_message("no OpenCL driver runs inside a sanitizer\n");
        skip();
    }
    if (mz_trial("OpenCL", open_opencl, NULL, 60.0) != MZ_OK) {
        print_message("no OpenCL: %s\n", mz_err_last()->message);
        skip();
    }
    rage(&s, s.is_long ? wanted : 5);
}

/* ---- policies ---- */

static void test_stop(void **state)
{
    (void)state;
    char want[160], got[160];
    const char *keys[] = {UNLIKE, NULL};
    team_must_run("undisturbed", STEPS, keys);
    team_hash("undisturbed", want);
    *target = (aim){
        .chip = FAR, .rank = 1, .signal = SIGKILL, .phase = MZ_PHASE_UPDATE, .step = 5, .left = 1};
    assert_int_equal(run("stopped", "stop", 0.5), MZ_ETIMEOUT);
    assert_int_equal(mz_err_exit(MZ_ETIMEOUT), 75);
    if (!strstr(mz_err_last()->message, "rank 1 on far died of signal 9 (Killed), in phase update "
                                        "of step 5; its last operator was ") ||
        !strstr(mz_err_last()->fix, "everything up to step 4 is saved"))
        fail_msg("%s / %s", mz_err_last()->message, mz_err_last()->fix);
    assert_int_equal(run("stopped", "stop", 0.5), MZ_OK); /* the same command goes on */
    team_hash("stopped", got);
    assert_string_equal(want, got);
    team_remove("stopped");
    team_remove("undisturbed");
}

/* A chip that fails, and one whose driver does not come back, told by a plan. */
static void check_chip(const char *plan, const char *kind, const char *phase, const char *says)
{
    char file[TEAM_TEXT];
    (void)snprintf(file, sizeof file, "%s", team_path("plan.json"));
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(plan, f) >= 0 && fclose(f) == 0);
    const char *keys[] = {"ranks=[{chip: cpu, share: 2}, {chip: fault:far}]",
                          "run.checkpoint_every=2", "run.stuck_after=0.5", NULL};
    const mz_train_config c = team_config("struck", STEPS, keys);
    const mz_ranks_options o = {.chip = {.fault_plan = file}};
    if (team_run(&c, &o) != MZ_OK) fail_msg("%s", mz_err_last()->message);
    json_t *list = events("struck");
    const json_t *fault = json_array_get(list, 1);
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(text_of(fault, "kind"), kind);
    assert_int_equal(json_integer_value(json_object_get(fault, "rank")), 1);
    if (strcmp(text_of(fault, "phase"), phase) != 0 || !strstr(text_of(fault, "message"), says))
        fail_msg("phase %s: %s", text_of(fault, "phase"), text_of(fault, "message"));
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 2), "ranks")), 1);
    json_decref(list);
    team_remove("struck");
}

static void test_chip(void **state)
{
    (void)state;
    check_chip("[{\"where\": \"launch\", \"op\": \"adamw\", \"at\": 30, \"kind\": \"late\"}]",
               "chip", "share", "adamw");
    check_chip("[{\"where\": \"launch\", \"op\": \"rmsnorm\", \"at\": 30, \"kind\": "
               "\"hang_ms\", \"ms\": 30000}]",
               "stuck", "compute", "has been stuck for");
}

/* The layers of a rank that is lost go to its neighbour. */
static void test_pipeline(void **state)
{
    (void)state;
    char line[TEAM_TEXT + 32], want[160], got[160];
    (void)snprintf(line, sizeof line, "model.config: %s", team_four_layers(false, 0));
    team_network(line);
    for (int lost = 0; lost < 3; lost++) {
        const char *keys[] = {"ranks=[{chip: cpu, layers: 1}, {chip: far, layers: 2}, {chip: cpu, "
                              "layers: 1}]",
                              "run.checkpoint_every=2", "moe.bias_rate=0.001", NULL};
        const mz_train_config c = team_config("struck", STEPS, keys);
        const mz_train_hooks hooks = {.user = target, .step = note_step};
        const mz_ranks_options o = {
            .hooks = &hooks, .stall_s = 0.5, .user = target, .on_phase = strike};
        *target = (aim){.chip = FAR,
                        .rank = lost,
                        .signal = SIGKILL,
                        .phase = lost == 1 ? MZ_PHASE_COLLECT : MZ_PHASE_COMPUTE,
                        .step = 4,
                        .left = 1};
        const mz_err err = team_run(&c, &o);
        if (err != MZ_OK) fail_msg("%s", mz_err_last()->message);
        json_t *list = events("struck");
        const json_t *ranks =
            json_object_get(json_array_get(list, json_array_size(list) - 1), "ranks");
        static const int layers[3][2] = {{3, 1}, {3, 1}, {1, 3}};
        assert_int_equal(json_array_size(ranks), 2);
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(
                json_integer_value(json_object_get(json_array_get(ranks, i), "layers")),
                layers[lost][i]);
        const char *more[] = {"moe.bias_rate=0.001", NULL};
        replay(list, "replayed", more);
        team_hash("struck", got);
        team_hash("replayed", want);
        assert_string_equal(want, got);
        json_decref(list);
        team_remove("replayed");
        team_remove("struck");
    }
    team_network("model.path: tests/golden/llama");
}

/* What strikes at every start is not tried for ever; and the last rank's death is the end. */
static void test_in_vain(void **state)
{
    (void)state;
    size_t i;
    int faults = 0;
    const json_t *o;
    *target = (aim){
        .chip = FAR, .rank = 0, .signal = SIGKILL, .phase = MZ_PHASE_LOAD, .step = -1, .left = 100};
    assert_int_equal(run("vain", "restart", 0.5), MZ_ETIMEOUT);
    json_t *list = events("vain");
    json_array_foreach(list, i, o) faults += is_event(o, "fault");
    assert_int_equal(faults, 3);
    json_decref(list);
    team_remove("vain");
    *target = (aim){
        .chip = FAR, .rank = 0, .signal = SIGKILL, .phase = MZ_PHASE_LOAD, .step = -1, .left = 100};
    assert_int_equal(run("vain", "continue", 0.5), MZ_ETIMEOUT);
    assert_int_equal(target->left, 98); /* both */
    team_remove("vain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop),   cmocka_unit_test(test_in_vain),
        cmocka_unit_test(test_chip),   cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_opencl_faults),
    };
    target = mmap(NULL, sizeof *target, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (target == MAP_FAILED) return 1;
    return cmocka_run_group_tests(tests, team_set_up, team_tear_down);
}
