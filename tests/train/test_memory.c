/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_memory.c - every allocation of a trainer's binding, of a checkpoint's save and
 * of its load fails in turn: an error, nothing lost on the host or the chip, the older state still
 * there.
 */
#include "tests/model/tiny.h"
#include "tests/near.h"
#include "tests/scratch.h"

#include "base/file.h"
#include "train/checkpoint.h"

#include <errno.h>

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

enum { MOST = 20000 };

typedef struct world {
    tiny t;
    mz_trainer *trainer;
    mz_checkpointed at;
    mz_progress p;
} world;

static mz_config config_of(mz_config (*make)(void))
{
    mz_config c = make();
    if (c.mla) c.family = MZ_FAMILY_DEEPSEEK_V3;
    (void)snprintf(c.architecture, sizeof c.architecture, "%s",
                   c.mla ? "DeepseekV3ForCausalLM" : "LlamaForCausalLM");
    return c;
}

static void open_world(world *w, mz_config (*make)(void), mz_dtype dtype)
{
    const mz_config c = config_of(make);
    mz_model_options o = tiny_options(dtype, true);
    o.mtp = c.mtp_layers > 0;
    *w = (world){0};
    tiny_open(&w->t, &c, &o);
    tiny_ok(mz_trainer_new(&w->trainer, w->t.queue, w->t.model));
    w->at = (mz_checkpointed){.run = scratch_path("run"),
                              .queue = w->t.queue,
                              .model = w->t.model,
                              .trainer = w->trainer,
                              .yaml = "run.steps: 10\n"};
    w->p.spikes.window = 4;
    w->p.spikes.sigmas = 6.0;
    memcpy(w->p.data_sha256, SUM, sizeof SUM);
}

static void close_world(world *w)
{
    mz_trainer_free(w->trainer);
    tiny_close(&w->t);
}

/* What the n-th failure came to: true while there was an allocation to fail. */
static bool is_over(mz_err err, int64_t n, size_t before)
{
    const bool failed = mz_mem_has_failed();
    mz_mem_fail_at(0, false);
    if (failed ? err != MZ_ENOMEM : err != MZ_OK)
        fail_msg("allocation %lld: %s: %s", (long long)n, mz_err_name(err), mz_err_last()->message);
    if (mz_mem_bytes_used() != before)
        fail_msg("allocation %lld: %zu bytes before, %zu after", (long long)n, before,
                 mz_mem_bytes_used());
    assert_true(n < MOST);
    return !failed;
}

static void bind_all(mz_config (*make)(void), mz_dtype dtype)
{
    const mz_config c = config_of(make);
    mz_model_options o = tiny_options(dtype, true);
    mz_device *device = NULL;
    o.mtp = c.mtp_layers > 0;
    tiny_ok(mz_device_open(&device, "ref", NULL));
    int64_t n = 1;
    for (;; n++) {
        mz_queue *q = NULL;
        mz_model *m = NULL;
        mz_trainer *t = NULL;
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        mz_err err = mz_queue_open(&q, device);
        if (err == MZ_OK) err = mz_model_new(&m, q, &c, &o);
        if (err == MZ_OK) err = mz_trainer_new(&t, q, m);
        if (err == MZ_OK) err = mz_trainer_reserve(t, TINY_T, 2);
        mz_trainer_free(t);
        mz_model_free(m);
        mz_queue_close(q);
        if (is_over(err, n, before)) break;
        assert_int_equal(mz_device_bytes_used(device), 0);
    }
    assert_true(n > 40);
    mz_device_close(device);
}

/* All of them where all random cases are asked for, else every third, or so. */
static int64_t stride_of(void)
{
    const int cases = mzt_cases(30);
    return cases >= 30 ? 1 : cases >= 7 ? 3 : 11;
}

static void binding(void **state)
{
    (void)state;
    bind_all(tiny_llama, MZ_BF16);
    bind_all(tiny_v3, MZ_F32);
}

static void saving(void **state)
{
    (void)state;
    world w;
    json_t *s = NULL;
    char path[MZ_CHECKPOINT_PATH];
    scratch_clear();
    open_world(&w, tiny_llama, MZ_BF16);
    w.p.step = 1;
    tiny_ok(mz_checkpoint_save(&w.at, &w.p, 2));
    w.p.step = 2;
    const int64_t stride = stride_of();
    int64_t n = 1;
    for (;; n += stride) {
        const size_t before = mz_mem_bytes_used();
        mz_mem_fail_at(n, false);
        const mz_err err = mz_checkpoint_save(&w.at, &w.p, 2);
        if (is_over(err, n, before)) break;
        tiny_ok(mz_checkpoint_newest(w.at.run, path, &s));
        const json_int_t step = json_integer_value(json_object_get(s, "step"));
        assert_true(step == 1 || step == 2);
        json_decref(s);
    }
    assert_true(n > 50);
    close_world(&w);
}

static void loading(void **state)
{
    (void)state;
    world w;
    scratch_clear();
    open_world(&w, tiny_v3, MZ_BF16);
    w.p.step = 7;
    tiny_ok(mz_checkpoint_save(&w.at, &w.p, 1));
    const int64_t stride = stride_of();
    int64_t n = 1;
    for (;; n += stride) {
        bool found = false;
        const size_t before = mz_mem_bytes_used();
        w.p.step = 0;
        mz_mem_fail_at(n, false);
        const mz_err err = mz_checkpoint_load(&w.at, &w.p, &found);
        if (is_over(err, n, before)) break;
        assert_false(found); /* never a state that is half loaded and called whole */
    }
    assert_int_equal(w.p.step, 7);
    close_world(&w);
}

static int set_up(void **state)
{
    return tiny_setup(state) == 0 ? scratch_make(state) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binding),
        cmocka_unit_test(saving),
        cmocka_unit_test(loading),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
