/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_params.c - names and shapes as the files have them, and the random start. */
#include "base/mem.h"
#include "tests/model/tiny.h"

static void names_are_those_of_the_files(void **state)
{
    (void)state;
    tiny t;
    char name[128];
    const mz_config c = tiny_v3();
    mz_model_options o = tiny_options(MZ_BF16, true);
    o.mtp = true;
    static const char *const wanted[] = {
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_a_proj.weight",
        "model.layers.0.self_attn.q_a_layernorm.weight",
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias",
        "model.layers.1.mlp.shared_experts.down_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
        "model.layers.2.eh_proj.weight",
        "model.layers.2.enorm.weight",
        "model.layers.2.hnorm.weight",
        "model.layers.2.shared_head.norm.weight",
        "model.layers.2.mlp.experts.{e}.up_proj.weight",
        "model.layers.2.self_attn.o_proj.weight",
    };
    tiny_open(&t, &c, &o);
    mz_params *ps = mz_model_params(t.model);
    for (int i = 0; i < MZ_COUNT(wanted); i++) {
        if (!mz_params_find(ps, wanted[i])) fail_msg("there is no %s", wanted[i]);
    }
    assert_null(mz_params_find(ps, "model.layers.2.embed_tokens.weight"));
    assert_null(mz_params_find(ps, "model.layers.0.mlp.gate.weight"));
    const mz_param *up = mz_params_find(ps, "model.layers.1.mlp.experts.{e}.up_proj.weight");
    assert_int_equal(mz_param_disk_count(up), 8);
    tiny_ok(mz_param_disk_name(up, 3, name, sizeof name));
    assert_string_equal(name, "model.layers.1.mlp.experts.3.up_proj.weight");
    assert_int_equal(mz_param_disk_name(up, 8, name, sizeof name), MZ_EINVAL);
    assert_int_equal(mz_param_disk_name(up, 3, name, 20), MZ_EINVAL);
    const mz_tensor third = mz_param_disk_view(up, &up->g, 3);
    assert_true(third.rank == 2 && third.dim[0] == 5 && third.dim[1] == 12);
    assert_true(third.offset_bytes == up->g.offset_bytes + 3 * 5 * 12 * sizeof(float));
    assert_true(up->dtype == MZ_BF16 && up->g.dtype == MZ_F32);
    assert_true(mz_params_find(ps, "model.norm.weight")->dtype == MZ_F32);
    tiny_close(&t);
}

static double mean_square(const tiny *t, const char *name, double *values)
{
    const mz_param *p = mz_params_find(mz_model_params(t->model), name);
    double sum = 0.0;
    tiny_get(t, &p->w, values);
    for (int64_t i = 0; i < mz_count(&p->w); i++) sum += values[i] * values[i];
    return sum / (double)mz_count(&p->w);
}

/* Deviation as asked, norms 1, biases 0; a tensor's values follow from its name and the seed, not
 * from what else the network has. */
static void start_is_random_by_name(void **state)
{
    (void)state;
    tiny a, b;
    mz_config c = tiny_v3();
    mz_model_options o = tiny_options(MZ_F32, false);
    double x[2048], y[2048];
    static const char *const up = "model.layers.1.mlp.experts.{e}.up_proj.weight";
    tiny_open(&a, &c, &o);
    tiny_ok(mz_params_init(mz_model_params(a.model), NULL, a.queue, &c, 3));
    const double ms = mean_square(&a, up, x);
    assert_true(fabs(sqrt(ms) / c.init_std - 1.0) < 0.12);
    assert_true(fabs(mean_square(&a, "model.norm.weight", y) - 1.0) <= 0.0);
    assert_true(mean_square(&a, "model.layers.1.mlp.gate.e_score_correction_bias", y) <= 0.0);
    c.q_rank = 0, c.tied = true; /* another list with fewer experts */
    c.moe.experts = 4, c.moe.groups = c.moe.groups_kept = 1;
    tiny_open(&b, &c, &o);
    tiny_ok(mz_params_init(mz_model_params(b.model), NULL, b.queue, &c, 3));
    (void)mean_square(&b, up, y);
    assert_memory_equal(x, y, 4 * 5 * 12 * sizeof *x);
    tiny_ok(mz_params_init(mz_model_params(b.model), NULL, b.queue, &c, 4));
    (void)mean_square(&b, up, y);
    assert_memory_not_equal(x, y, 4 * 5 * 12 * sizeof *x);
    tiny_close(&a);
    tiny_close(&b);
}

/* Weights and masters are one draw: each the numbers that it would have got alone. */
static void masters_are_drawn_with_the_weights(void **state)
{
    (void)state;
    tiny both, alone, wide;
    double x[2048], y[2048];
    const mz_config c = tiny_v3();
    mz_model_options o = tiny_options(MZ_BF16, true);
    static const char *const names[] = {"model.embed_tokens.weight", "model.norm.weight",
                                        "model.layers.1.mlp.experts.{e}.up_proj.weight"};
    tiny_open(&both, &c, &o);
    tiny_open(&alone, &c, &o);
    o.dtype = MZ_F32;
    tiny_open(&wide, &c, &o);
    mz_params *p = mz_model_params(both.model), masters = *p;
    tiny_ok(mz_mem_new(&masters.list, p->n, sizeof *masters.list));
    for (int64_t i = 0; i < p->n; i++) { /* where the gradients will be */
        masters.list[i] = p->list[i];
        if (!p->list[i].g.buf || p->list[i].dtype == p->list[i].g.dtype) continue;
        masters.list[i].w = p->list[i].g;
        masters.list[i].dtype = MZ_F32;
    }
    tiny_ok(mz_params_init(p, &masters, both.queue, &c, 3));
    tiny_ok(mz_params_init(mz_model_params(alone.model), NULL, alone.queue, &c, 3));
    tiny_ok(mz_params_init(mz_model_params(wide.model), NULL, wide.queue, &c, 3));
    for (int i = 0; i < MZ_COUNT(names); i++) {
        const mz_param *w = mz_params_find(p, names[i]);
        const mz_param *want = mz_params_find(mz_model_params(alone.model), names[i]);
        const size_t bytes = (size_t)mz_count(&w->w) * sizeof *x;
        assert_true(bytes <= sizeof x);
        tiny_get(&both, &w->w, x), tiny_get(&alone, &want->w, y);
        assert_memory_equal(x, y, bytes);
        want = mz_params_find(mz_model_params(wide.model), names[i]);
        tiny_get(&both, &masters.list[w - p->list].w, x), tiny_get(&wide, &want->w, y);
        assert_memory_equal(x, y, bytes);
    }
    mz_mem_free(masters.list);
    tiny_close(&both), tiny_close(&alone), tiny_close(&wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_files),
        cmocka_unit_test(start_is_random_by_name),
        cmocka_unit_test(masters_are_drawn_with_the_weights),
    };
    return cmocka_run_group_tests(tests, tiny_setup, NULL);
}
