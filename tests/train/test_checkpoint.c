/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_checkpoint.c - a state comes back bit for bit, or an older one does, said aloud:
 * whichever file call fails, whichever byte is flipped. */
#include "tests/model/tiny.h"
#include "tests/scratch.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/str.h"
#include "train/checkpoint.h"
#include "train/snapshot.h"

#include <errno.h>

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

typedef struct world {
    tiny t;
    mz_trainer *trainer;
    mz_checkpointed at;
    mz_progress p;
    char run[1024];
} world;

static int loud; /* lines that were said aloud */

static void count_loud(void *user, mz_log_level level, const char *line)
{
    (void)user;
    (void)line;
    loud += level == MZ_LOG_LOUD;
}

static void open_world(world *w, mz_config (*config)(void), mz_dtype dtype)
{
    mz_config c = config();
    if (c.mla) c.family = MZ_FAMILY_DEEPSEEK_V3; /* the folder is read as what it says it is */
    (void)snprintf(c.architecture, sizeof c.architecture, "%s",
                   c.family == MZ_FAMILY_LLAMA ? "LlamaForCausalLM" : "DeepseekV3ForCausalLM");
    mz_model_options o = tiny_options(dtype, true);
    o.mtp = c.mtp_layers > 0;
    *w = (world){0};
    tiny_open(&w->t, &c, &o);
    tiny_ok(mz_trainer_new(&w->trainer, w->t.queue, w->t.model));
    (void)snprintf(w->run, sizeof w->run, "%s", scratch_path("run"));
    w->at = (mz_checkpointed){.run = w->run,
                              .queue = w->t.queue,
                              .model = w->t.model,
                              .trainer = w->trainer,
                              .yaml = "run.steps: 10\n"};
    w->p.spikes.window = 4;
    w->p.spikes.sigmas = 6.0;
    memcpy(w->p.data_sha256, SUM, sizeof SUM);
    w->p.seed = 17;
}

static void close_world(world *w)
{
    mz_trainer_free(w->trainer);
    tiny_close(&w->t);
}

/* One step on the tiny batch: weights, masters and moments all move. */
static void step(world *w)
{
    const mz_optim o = {1e-2, 0.9, 0.95, 1e-8, 0.1, 1.0};
    const mz_loss_options lo = {.backward = true};
    double norm = 0.0;
    tiny_ok(mz_trainer_begin(w->trainer));
    tiny_ok(mz_trainer_micro(w->trainer, &w->t.b.batch, &lo));
    tiny_ok(mz_trainer_update(w->trainer, &o, &norm));
    mz_spikes_took(&w->p.spikes, mz_trainer_losses(w->trainer), norm);
    w->p.step++;
    w->p.samples += 3;
    w->p.tokens += TINY_T;
}

/* ---- one hash of all that a checkpoint is to bring back ---- */

static void add_buffer(const world *w, mz_buffer *buf, mz_str *all)
{
    const int64_t bytes = buf ? (int64_t)buf->bytes : 0;
    void *host = NULL;
    if (bytes == 0) return;
    const mz_tensor view = mz_view(buf, 0, MZ_U8, 1, &bytes);
    tiny_ok(mz_mem_new(&host, bytes, 1));
    tiny_ok(mz_download(w->t.queue, host, &view));
    tiny_ok(mz_queue_sync(w->t.queue));
    tiny_ok(mz_str_add(all, host, (size_t)bytes));
    mz_mem_free(host);
}

static void hash_world(const world *w, char hex[MZ_SHA256_HEX])
{
    mz_str all = {0};
    mz_trainer_state s;
    const mz_spikes *g = &w->p.spikes;
    mz_trainer_state_of(w->trainer, &s);
    add_buffer(w, mz_model_params(w->t.model)->weights, &all);
    add_buffer(w, s.master.buf, &all);
    add_buffer(w, s.m.buf, &all);
    add_buffer(w, s.v.buf, &all);
    const int64_t numbers[] = {w->p.step, w->p.samples, w->p.tokens, (int64_t)w->p.seed,
                               g->taken,  g->skipped,   g->in_a_row, mz_trainer_step(w->trainer)};
    tiny_ok(mz_str_add(&all, (const char *)numbers, sizeof numbers));
    tiny_ok(mz_str_add(&all, (const char *)g->loss, (size_t)g->window * sizeof(double)));
    tiny_ok(mz_str_add(&all, (const char *)g->norm, (size_t)g->window * sizeof(double)));
    tiny_ok(mz_str_add(&all, w->p.data_sha256, 64));
    tiny_ok(mz_sha256(hex, all.text, all.len));
    mz_str_clear(&all);
}

/* ---- there and back ---- */

static void round_trip(mz_config (*config)(void), mz_dtype dtype)
{
    world a, b;
    bool found = true;
    char want[MZ_SHA256_HEX], got[MZ_SHA256_HEX];
    scratch_clear();
    open_world(&a, config, dtype);
    open_world(&b, config, dtype);
    tiny_ok(mz_checkpoint_load(&b.at, &b.p, &found));
    assert_false(found);
    for (int i = 0; i < 6; i++) step(&a); /* the rings of 4 have gone round */
    tiny_ok(mz_checkpoint_save(&a.at, &a.p, 2));
    tiny_ok(mz_checkpoint_load(&b.at, &b.p, &found));
    assert_true(found);
    hash_world(&a, want);
    hash_world(&b, got);
    assert_string_equal(got, want);
    step(&a);
    step(&b); /* and they go on alike */
    hash_world(&a, want);
    hash_world(&b, got);
    assert_string_equal(got, want);
    close_world(&a);
    close_world(&b);
}

static void test_round_trip(void **state)
{
    (void)state;
    round_trip(tiny_llama, MZ_F32);
    round_trip(tiny_llama, MZ_BF16);
    round_trip(tiny_tied, MZ_BF16);
    round_trip(tiny_v3, MZ_F32);
    round_trip(tiny_v3, MZ_BF16);
}

static void test_keep(void **state)
{
    (void)state;
    world w;
    mz_names names = {0};
    json_t *s = NULL;
    char path[MZ_CHECKPOINT_PATH];
    scratch_clear();
    open_world(&w, tiny_llama, MZ_F32);
    for (int i = 0; i < 4; i++) {
        step(&w);
        tiny_ok(mz_checkpoint_save(&w.at, &w.p, 2));
    }
    tiny_ok(mz_folder_list(&names, scratch_path("run/checkpoints")));
    assert_int_equal(names.n, 2);
    assert_string_equal(names.list[0], "step-00000003");
    assert_string_equal(names.list[1], "step-00000004");
    mz_names_clear(&names);
    tiny_ok(mz_checkpoint_newest(w.at.run, path, &s));
    assert_true(mz_str_ends(path, "run/checkpoints/step-00000004"));
    assert_int_equal(json_integer_value(json_object_get(s, "step")), 4);
    json_decref(s);
    /* what is no checkpoint is left alone, what was cut short is swept */
    tiny_ok(mz_file_mkdirs(scratch_path("run/checkpoints/step-00000009.tmp")));
    tiny_ok(mz_file_mkdirs(scratch_path("run/checkpoints/step-00000003.old.tmp")));
    tiny_ok(mz_file_mkdirs(scratch_path("run/checkpoints/step-9x")));
    scratch_write("run/checkpoints/step-00000009.tmp/manifest.json", "{}");
    tiny_ok(mz_checkpoint_sweep(w.at.run));
    tiny_ok(mz_folder_list(&names, scratch_path("run/checkpoints")));
    assert_int_equal(names.n, 3);
    mz_names_clear(&names);
    tiny_ok(mz_checkpoint_save(&w.at, &w.p, 1)); /* over one of the same step */
    tiny_ok(mz_checkpoint_newest(w.at.run, path, &s));
    json_decref(s);
    close_world(&w);
}

/* ---- in the background ---- */

static void same_files(const char *a, const char *b)
{
    mz_names names = {0};
    tiny_ok(mz_folder_list(&names, a));
    assert_true(names.n >= 6);
    for (int64_t i = 0; i < names.n; i++) {
        char path[1100], one[MZ_SHA256_HEX], two[MZ_SHA256_HEX];
        (void)snprintf(path, sizeof path, "%s/%s", a, names.list[i]);
        tiny_ok(mz_sha256_file(one, path, NULL));
        (void)snprintf(path, sizeof path, "%s/%s", b, names.list[i]);
        tiny_ok(mz_sha256_file(two, path, NULL));
        if (strcmp(one, two) != 0) fail_msg("%s differs", names.list[i]);
    }
    mz_names_clear(&names);
}

/* What is written is the state at the save, whatever the training does meanwhile. */
static void background(mz_config (*config)(void), mz_dtype dtype)
{
    world w;
    mz_snapshot *s = NULL;
    char other[1024];
    scratch_clear();
    open_world(&w, config, dtype);
    tiny_ok(mz_file_mkdirs(scratch_path("model")));
    scratch_write("model/tokenizer.json", "{}");
    (void)snprintf(other, sizeof other, "%s", scratch_path("other"));
    w.at.tokenizer = scratch_path("model");
    tiny_ok(mz_snapshot_new(&s, &w.at));
    for (int i = 1; i <= 4; i++) {
        mz_checkpointed direct = w.at;
        direct.run = other;
        step(&w);
        w.p.best_step = 1;
        tiny_ok(mz_checkpoint_save(&direct, &w.p, 1));
        tiny_ok(mz_snapshot_save(s, &w.p, 1));
        for (int k = 0; k < 3; k++) step(&w); /* while the thread writes */
        w.p.step = i;
    }
    tiny_ok(mz_snapshot_wait(s));
    same_files(scratch_path("run/checkpoints/step-00000004"),
               scratch_path("other/checkpoints/step-00000004"));
    same_files(scratch_path("run/checkpoints/step-00000001"), /* the best one */
               scratch_path("other/checkpoints/step-00000001"));
    assert_true(mz_file_exists(scratch_path("run/checkpoints/step-00000004/tokenizer.json")));
    assert_false(mz_file_exists(scratch_path("run/checkpoints/step-00000003")));
    mz_snapshot_free(s);
    close_world(&w);
}

static void test_background(void **state)
{
    (void)state;
    background(tiny_llama, MZ_F32);
    background(tiny_v3, MZ_BF16);
}

/* A failure is said by the call after it; what was whole stays. */
static void test_background_fault(void **state)
{
    (void)state;
    world w;
    mz_snapshot *s = NULL;
    bool found = false;
    scratch_clear();
    open_world(&w, tiny_llama, MZ_F32);
    tiny_ok(mz_snapshot_new(&s, &w.at));
    step(&w);
    tiny_ok(mz_snapshot_save(s, &w.p, 2));
    tiny_ok(mz_snapshot_wait(s));
    step(&w);
    mz_file_fail_at(20, ENOSPC, true);
    const mz_err err = mz_snapshot_save(s, &w.p, 2);
    assert_true(err == MZ_OK);
    assert_int_equal(mz_snapshot_wait(s), MZ_EIO);
    assert_int_equal(mz_snapshot_check(s), MZ_EIO);
    mz_file_fail_at(0, 0, false);
    assert_int_equal(mz_snapshot_save(s, &w.p, 2), MZ_EIO);
    tiny_ok(mz_checkpoint_load(&w.at, &w.p, &found));
    assert_true(found);
    assert_int_equal(w.p.step, 1);
    mz_snapshot_free(s);
    close_world(&w);
}

/* ---- every file call ---- */

/* Checkpoints of steps 1 and 2 as they are without a fault. */
static void two_states(char first[MZ_SHA256_HEX], char second[MZ_SHA256_HEX])
{
    world w;
    open_world(&w, tiny_llama, MZ_F32);
    step(&w);
    hash_world(&w, first);
    step(&w);
    hash_world(&w, second);
    close_world(&w);
}

/* What a fresh process finds. "" where it refuses to go on. */
static mz_err what_is_there(char hex[MZ_SHA256_HEX])
{
    world w;
    bool found = false;
    open_world(&w, tiny_llama, MZ_F32);
    hex[0] = '\0';
    const mz_err err = mz_checkpoint_load(&w.at, &w.p, &found);
    if (err == MZ_OK && found) hash_world(&w, hex);
    close_world(&w);
    return err;
}

/* Saves state 2 over state 1 with call n failing; false once no call was left to fail. */
static bool save_with_fault(int64_t n, int error, bool for_good, const char *first,
                            const char *second)
{
    world w;
    char hex[MZ_SHA256_HEX];
    scratch_clear();
    open_world(&w, tiny_llama, MZ_F32);
    step(&w);
    tiny_ok(mz_checkpoint_save(&w.at, &w.p, 2));
    step(&w);
    mz_file_fail_at(n, error, for_good);
    const mz_err err = mz_checkpoint_save(&w.at, &w.p, 2);
    mz_file_fail_at(0, 0, false);
    close_world(&w);
    if (err != MZ_OK && err != MZ_EIO) fail_msg("call %lld: %s", (long long)n, mz_err_name(err));
    tiny_ok(what_is_there(hex));
    const bool is_old = strcmp(hex, first) == 0, is_new = strcmp(hex, second) == 0;
    if (!is_old && !is_new) fail_msg("call %lld: neither the old state nor the new", (long long)n);
    if (err == MZ_OK && !is_new) fail_msg("call %lld: said to be saved, is not", (long long)n);
    return err != MZ_OK;
}

/* After so many calls in a row that changed nothing, the save has no more of them. */
enum { QUIET = 12 };

static void fail_all(int error, bool for_good)
{
    char first[MZ_SHA256_HEX], second[MZ_SHA256_HEX];
    int64_t failures = 0;
    scratch_clear();
    two_states(first, second);
    for (int64_t n = 1, quiet = 0; quiet < QUIET; n++) {
        const bool struck = save_with_fault(n, error, for_good, first, second);
        quiet = struck ? 0 : quiet + 1;
        failures += struck;
    }
    assert_true(failures > 60);
}

static void test_save_faults(void **state)
{
    (void)state;
    fail_all(EIO, false);
    fail_all(ENOSPC, true);
    char first[MZ_SHA256_HEX], second[MZ_SHA256_HEX];
    two_states(first, second);
    assert_false(save_with_fault(1, 0, true, first, second)); /* short writes do no harm */
}

static void test_load_faults(void **state)
{
    (void)state;
    char first[MZ_SHA256_HEX], second[MZ_SHA256_HEX], hex[MZ_SHA256_HEX];
    scratch_clear();
    two_states(first, second);
    (void)save_with_fault(0, 0, false, first, second);
    int64_t n = 1, refused = 0, older = 0;
    for (int64_t quiet = 0; quiet < QUIET; n++) {
        for (int for_good = 0; for_good < 2; for_good++) {
            mz_file_fail_at(n, EIO, for_good == 1);
            const mz_err err = what_is_there(hex);
            mz_file_fail_at(0, 0, false);
            const bool is_old = strcmp(hex, first) == 0, is_new = strcmp(hex, second) == 0;
            if (err == MZ_OK && !is_old && !is_new)
                fail_msg("call %lld: neither state and no error", (long long)n);
            refused += err != MZ_OK;
            older += is_old;
            quiet = is_new ? quiet + for_good : 0;
        }
    }
    assert_true(refused > 10 && older > 5);
    tiny_ok(what_is_there(hex)); /* and nothing was touched */
    assert_string_equal(hex, second);
}

/* ---- damage ---- */

static void flip(const char *path, size_t at)
{
    char *text = NULL;
    size_t bytes = 0;
    tiny_ok(mz_file_read(path, 1 << 24, &text, &bytes));
    assert_true(at < bytes);
    text[at] = (char)(text[at] ^ 0x10);
    FILE *f = fopen(path, "wb"); /* in place: as a disk would do it */
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
    mz_mem_free(text);
}

static void check_falls_back(const char *what, const char *first)
{
    char hex[MZ_SHA256_HEX];
    loud = 0;
    mz_log_to(count_loud, NULL);
    const mz_err err = what_is_there(hex);
    mz_log_to(NULL, NULL);
    if (err != MZ_OK || strcmp(hex, first) != 0 || loud < 2)
        fail_msg("%s: %s, %s state, %d loud lines", what, mz_err_name(err),
                 strcmp(hex, first) == 0 ? "older" : "another", loud);
}

static void test_damage(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json", "model.safetensors", "optimizer.safetensors",
                                        "state.json",  "train.yaml",        "manifest.json"};
    char first[MZ_SHA256_HEX], second[MZ_SHA256_HEX], hex[MZ_SHA256_HEX], name[128];
    scratch_clear();
    two_states(first, second);
    (void)save_with_fault(0, 0, false, first, second);
    for (int i = 0; i < MZ_COUNT(files); i++) {
        mz_map map = {0};
        (void)snprintf(name, sizeof name, "run/checkpoints/step-00000002/%s", files[i]);
        char path[1024];
        (void)snprintf(path, sizeof path, "%s", scratch_path(name));
        tiny_ok(mz_map_open(&map, path));
        const size_t bytes = map.bytes, stride = bytes / 40 + 1;
        mz_map_close(&map);
        for (size_t at = 0; at < bytes; at += stride) {
            flip(path, at);
            if (i + 1 < MZ_COUNT(files)) {
                check_falls_back(files[i], first);
            } else { /* white space of the manifest may change; the state it lists may not */
                tiny_ok(what_is_there(hex));
                assert_true(strcmp(hex, first) == 0 || strcmp(hex, second) == 0);
            }
            flip(path, at);
        }
        assert_int_equal(rename(path, scratch_path("aside")), 0);
        check_falls_back(files[i], first);
        assert_int_equal(rename(scratch_path("aside"), path), 0);
    }
    tiny_ok(what_is_there(hex));
    assert_string_equal(hex, second);
    flip(scratch_path("run/checkpoints/step-00000002/state.json"), 3);
    flip(scratch_path("run/checkpoints/step-00000001/state.json"), 3);
    assert_int_equal(what_is_there(hex), MZ_ECORRUPT); /* never taken for a new run */
}

static void test_lock(void **state)
{
    (void)state;
    mz_lock a = {-1}, b = {-1};
    scratch_clear();
    tiny_ok(mz_lock_take(&a, scratch_path("lock")));
    assert_int_equal(mz_lock_take(&b, scratch_path("lock")), MZ_EBUSY);
    mz_lock_drop(&a);
    tiny_ok(mz_lock_take(&b, scratch_path("lock")));
    mz_lock_drop(&b);
}

static int set_up(void **state)
{
    return tiny_setup(state) == 0 ? scratch_make(state) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_keep),
        cmocka_unit_test(test_save_faults), cmocka_unit_test(test_load_faults),
        cmocka_unit_test(test_damage),      cmocka_unit_test(test_lock),
        cmocka_unit_test(test_background),  cmocka_unit_test(test_background_fault),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
