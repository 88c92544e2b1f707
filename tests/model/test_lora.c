/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_lora.c - adapters: which maps have one, that they change nothing at first, and
 * that a network with them is the network with them added to its weights. */
#include "model/lora.h"
#include "tests/model/tiny.h"

static mz_config adapted(mz_config (*config)(void), const char *targets)
{
    mz_config c = config();
    c.lora = (mz_lora_config){.rank = 3, .scale = 0.7};
    (void)snprintf(c.lora.targets, sizeof c.lora.targets, "%s", targets);
    return c;
}

static void names(const mz_config *c, char out[2000])
{
    mz_params p;
    out[0] = '\0';
    tiny_ok(mz_params_list(&p, c, MZ_F32));
    for (int64_t i = p.n_base; i < p.n; i++) {
        const size_t at = strlen(out);
        (void)snprintf(out + at, 2000 - at, "%s ", p.list[i].name);
    }
    mz_params_clear(&p);
}

#define AT0(x) "model.layers.0." x ".lora_A.weight model.layers.0." x ".lora_B.weight "
#define AT1(x) "model.layers.1." x ".lora_A.weight model.layers.1." x ".lora_B.weight "

static void test_targets(void **state)
{
    (void)state;
    char got[2000];
    mz_config c = adapted(tiny_llama, "q_proj, down_proj");
    names(&c, got);
    assert_string_equal(got, AT0("self_attn.q_proj") AT0("mlp.down_proj") AT1("self_attn.q_proj")
                                 AT1("mlp.down_proj"));
    c = adapted(tiny_v3, ""); /* no router, no routed expert, no MTP layer, no head */
    names(&c, got);
    assert_null(strstr(got, "gate.lora"));
    assert_null(strstr(got, "experts.{e}"));
    assert_null(strstr(got, "layers.2."));
    assert_null(strstr(got, "lm_head"));
    assert_non_null(strstr(got, AT1("mlp.shared_experts.up_proj")));
    assert_non_null(strstr(got, AT1("self_attn.kv_a_proj_with_mqa")));
    mz_params p;
    c = adapted(tiny_llama, "q_proj,k_prj");
    assert_int_equal(mz_params_list(&p, &c, MZ_F32), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->message, "k_prj"));
    assert_non_null(strstr(mz_err_last()->fix, "q_proj, k_proj, v_proj, o_proj"));
}

static void loss_of(const tiny *t, double *each)
{
    const mz_loss_options o = {.backward = false};
    mz_tensor loss;
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_ok(mz_model_loss(t->model, &t->b.batch, &o, &loss));
    tiny_get(t, &loss, each);
}

/* As they start they add zeros; A lies within its edge, and differs from map to map. */
static void test_start(void **state)
{
    (void)state;
    tiny plain, lora;
    double a[TINY_T], b[TINY_T], values[64];
    const mz_config c = tiny_v3(), with = adapted(tiny_v3, "");
    const mz_model_options o = tiny_options(MZ_F64, true);
    tiny_open(&plain, &c, &o);
    tiny_open(&lora, &with, &o);
    mz_params *p = mz_model_params(lora.model);
    tiny_ok(mz_params_init_adapters(p, NULL, lora.queue, &with, 5));
    loss_of(&plain, a);
    loss_of(&lora, b);
    assert_memory_equal(a, b, sizeof a);
    for (int64_t i = p->n_base; i < p->n; i += 2) {
        const double edge = 1.0 / sqrt((double)p->list[i].dim[1]);
        double most = 0.0;
        tiny_get(&lora, &p->list[i].w, values);
        for (int64_t k = 0; k < mz_count(&p->list[i].w); k++) most = fmax(most, fabs(values[k]));
        assert_true(most > 0.7 * edge && most <= edge);
    }
    const size_t full = mz_model_params(plain.model)->grads_bytes;
    assert_true(p->grads_bytes < full / 2);
    tiny_close(&plain);
    tiny_close(&lora);
}

/* W + scale B A */
static void merge(const tiny *lora, const tiny *into)
{
    const mz_params *p = mz_model_params(lora->model);
    for (int64_t i = p->n_base; i < p->n; i += 2) {
        const mz_param *a = &p->list[i], *b = &p->list[i + 1];
        char name[160];
        (void)snprintf(name, sizeof name, "%.*s.weight", (int)(strlen(a->name) - 14), a->name);
        const mz_param *w = mz_params_find(mz_model_params(into->model), name);
        assert_non_null(w);
        for (int64_t row = 0; row < w->dim[0]; row++)
            for (int64_t col = 0; col < w->dim[1]; col++) {
                double sum = 0.0;
                for (int64_t k = 0; k < a->dim[0]; k++)
                    sum += mz_at(&b->w, row * a->dim[0] + k) * mz_at(&a->w, k * w->dim[1] + col);
                const int64_t at = row * w->dim[1] + col;
                mz_put(&w->w, at, mz_at(&w->w, at) + lora->config.lora.scale * sum);
            }
    }
}

static void test_merged(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny plain, lora;
        double a[TINY_T], b[TINY_T];
        const mz_config c = TINY[i].config(), with = adapted(TINY[i].config, "");
        const mz_model_options o = tiny_options(MZ_F64, true);
        tiny_open(&plain, &c, &o);
        tiny_open(&lora, &with, &o);
        loss_of(&plain, a);
        loss_of(&lora, b);
        assert_true(tiny_apart(b, a, TINY_T) > 1e-3); /* they do something */
        merge(&lora, &plain);
        loss_of(&plain, a);
        tiny_within(tiny_apart(b, a, TINY_T), 1e-12, TINY[i].name);
        tiny_close(&plain);
        tiny_close(&lora);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_merged),
    };
    return cmocka_run_group_tests(tests, tiny_setup, NULL);
}
