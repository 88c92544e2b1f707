/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_checkpoint_matrix.c - a checkpoint made on one placement and gone on with on
 * another, for every ordered pair of cpu, far, and where there is one an OpenCL device, alone and
 * beside the cpu; two families, f32 and bf16. What the second chip saves straight after loading has
 * the bits that it was given; the step after the move has the loss of the one that never moved. */
#include "base/file.h"
#include "base/sha256.h"
#include "base/trial.h"
#include "tests/near.h"
#include "tests/team.h"
#include "train/checkpoint.h"
#include "train/loop.h"
#include "train/network.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MADE = 3, STEPS = 5 };

static const struct {
    const char *name, *chip, *ranks; /* chip NULL: more than one */
    bool needs_opencl;
} PLACES[] = {
    {"cpu", "cpu", "ranks=[{chip: cpu}]", false},
    {"far", "far", "ranks=[{chip: far}]", false},
    {"opencl", "opencl:0", "ranks=[{chip: opencl:0}]", true},
    {"mixed", NULL, "ranks=[{chip: cpu, share: 2}, {chip: opencl:0, share: 1}]", true},
};
enum { PLACES_N = MZ_COUNT(PLACES) };

static void open_opencl(const void *arg)
{
    (void)arg;
    mz_device *device = NULL;
    if (mz_device_open(&device, "opencl:0", NULL) != MZ_OK) mz_trial_failed();
    mz_device_close(device);
}

/* This process may not open the driver itself. */
static bool has_opencl(void)
{
    static int known = -1;
    if (known < 0) {
        known = !mzt_is_sanitized() && mz_trial("OpenCL", open_opencl, NULL, 60.0) == MZ_OK;
        if (!known) print_message("without OpenCL: there is none, or a sanitizer watches\n");
    }
    return known == 1;
}

static const char *run_name(int from, int to)
{
    static char name[4][64]; /* as many may be in use at a time */
    static unsigned turn;
    char *n = name[turn++ % 4];
    (void)snprintf(n, sizeof name[0], "%s-%s", PLACES[from].name, PLACES[to].name);
    return n;
}

/* ---- saved straight after loading ---- */

typedef struct loading {
    const mz_train_config *config; /* its run is where to save */
    const char *from, *chip;
} loading;

static mz_err load_and_save(const loading *l, mz_device *device)
{
    mz_config network;
    mz_source *source = NULL;
    mz_queue *q = NULL;
    mz_model *model = NULL;
    mz_trainer *trainer = NULL;
    mz_progress p = {0};
    bool found = false;
    MZ_TRY(mz_network_read(&network, &source, l->config));
    const mz_model_options o = mz_loop_model_options(l->config, &network);
    MZ_TRY(mz_queue_open(&q, device));
    MZ_TRY(mz_model_new(&model, q, &network, &o));
    MZ_TRY(mz_trainer_new(&trainer, q, model));
    mz_checkpointed state = {
        .run = l->from, .queue = q, .model = model, .trainer = trainer, .yaml = ""};
    p.spikes.window = l->config->guard_window;
    p.spikes.sigmas = l->config->guard_sigma;
    MZ_TRY(mz_checkpoint_load(&state, &p, &found));
    MZ_NEED(found, "there is no checkpoint to load");
    state.run = l->config->run_dir;
    return mz_checkpoint_save(&state, &p, 1);
}

/* In a process of its own, which ends with it. */
static void in_child(const void *arg)
{
    const loading *l = arg;
    const mz_chip_options o = {.threads = 1};
    mz_device *device = NULL;
    if (mz_device_open(&device, l->chip, &o) != MZ_OK) mz_trial_failed();
    if (load_and_save(l, device) != MZ_OK) mz_trial_failed();
}

/* Random numbers and the place in the data. */
static void get_rest(const char *run, char out[2048])
{
    char path[MZ_CHECKPOINT_PATH];
    json_t *state = NULL;
    assert_int_equal(mz_checkpoint_newest(team_path(run), path, &state), MZ_OK);
    assert_non_null(state);
    json_t *two = json_pack("[O, O, O]", json_object_get(state, "rng"),
                            json_object_get(state, "cursor"), json_object_get(state, "step"));
    const size_t n = json_dumpb(two, out, 2047, JSON_COMPACT | JSON_SORT_KEYS);
    assert_true(n > 0 && n < 2048);
    out[n] = '\0';
    json_decref(two);
    json_decref(state);
}

static void check_saved_again(int from, int to, const char *dtype)
{
    char a[160], b[160], rest_a[2048], rest_b[2048];
    const char *keys[] = {PLACES[to].ranks, dtype, NULL};
    const mz_train_config c = team_config("again", STEPS, keys);
    const loading l = {
        .config = &c, .from = team_path(run_name(from, from)), .chip = PLACES[to].chip};
    assert_int_equal(mz_file_mkdirs(team_path("again")), MZ_OK);
    if (mz_trial("loading and saving", in_child, &l, 100.0) != MZ_OK)
        fail_msg("%s, %s: %s", run_name(from, to), dtype, mz_err_last()->message);
    team_hash(run_name(from, from), a);
    team_hash("again", b);
    get_rest(run_name(from, from), rest_a);
    get_rest("again", rest_b);
    if (strcmp(a, b) != 0 || strcmp(rest_a, rest_b) != 0)
        fail_msg("%s, %s: saved straight after loading, other bits", run_name(from, to), dtype);
    team_remove("again");
}

/* ---- gone on with ---- */

/* The worst difference of a loss after the move. */
static double check_goes_on(int from, int to, const char *dtype, const double *want, double limit)
{
    double got[STEPS], worst = 0.0;
    const char *keys[] = {PLACES[to].ranks, dtype, NULL};
    team_copy(run_name(from, from), run_name(from, to));
    team_must_run(run_name(from, to), STEPS, keys);
    assert_int_equal(team_losses(run_name(from, to), got, STEPS), STEPS);
    for (int i = 0; i < STEPS; i++) {
        const double off = fabs(got[i] - want[i]);
        if (!(off <= limit) || (i < MADE && off > 0.0))
            fail_msg("%s, %s: step %d has loss %.9g, not moved %.9g", run_name(from, to), dtype,
                     i + 1, got[i], want[i]);
        if (off > worst) worst = off;
    }
    team_remove(run_name(from, to));
    return worst;
}

/* limit: of a loss after the move. */
static void go_through(const char *what, const char *dtype, double limit)
{
    double worst = 0.0;
    int pairs = 0;
    for (int from = 0; from < PLACES_N; from++) {
        double want[STEPS];
        const char *keys[] = {PLACES[from].ranks, dtype, NULL};
        if (PLACES[from].needs_opencl && !has_opencl()) continue;
        team_must_run(run_name(from, from), MADE, keys);
        team_copy(run_name(from, from), "stays");
        team_must_run("stays", STEPS, keys);
        assert_int_equal(team_losses("stays", want, STEPS), STEPS);
        for (int to = 0; to < PLACES_N; to++) {
            if (PLACES[to].needs_opencl && !has_opencl()) continue;
            if (PLACES[to].chip) check_saved_again(from, to, dtype);
            if (to == from) continue;
            const double off = check_goes_on(from, to, dtype, want, limit);
            if (off > worst) worst = off;
            pairs++;
        }
        team_remove("stays");
        team_remove(run_name(from, from));
    }
    print_message("%s, %s: %d pairs, worst difference of a loss %.2g of %.2g\n", what, dtype, pairs,
                  worst, limit);
}

/* One dtype a family takes half the time; MIZAN_LONG=1: both. */
static bool takes_all(void)
{
    return getenv("MIZAN_LONG") != NULL;
}

static void test_deepseek(void **state)
{
    (void)state;
    char line[TEAM_TEXT + 32];
    (void)snprintf(line, sizeof line, "model.config: %s", team_four_layers(false, 0));
    team_network(line);
    go_through("deepseek_v3", "dtype=f32", 1e-5);
    if (takes_all()) go_through("deepseek_v3", "dtype=bf16", 1e-2);
}

static void test_qwen(void **state)
{
    (void)state;
    team_network("model.path: tests/golden/qwen2");
    go_through("qwen2", "dtype=bf16", 1e-2);
    if (takes_all()) go_through("qwen2", "dtype=f32", 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deepseek),
        cmocka_unit_test(test_qwen),
    };
    return cmocka_run_group_tests(tests, team_set_up, team_tear_down);
}
