/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_gradients.c - the gradient of every parameter of every kind of network against
 * central differences, in f64 on the oracle. The differentiated number is what mz_model_loss
 * says: weighted losses, MTP losses, balance losses. */
#include "model/whole.h" /* the routers' probabilities have no public reader */
#include "tests/model/tiny.h"

static const double H = 1e-5, LIMIT = 1e-8;

static double weighted(const tiny *t, const mz_tensor *loss, int64_t depth, double factor)
{
    double each[TINY_T], sum = 0.0;
    const tiny_batch *b = &t->b;
    tiny_get(t, loss, each);
    for (int i = 0; i < TINY_B; i++)
        for (int32_t at = b->cu[i]; at + depth < b->cu[i + 1]; at++)
            sum += factor * (double)b->weight[at + depth] * each[at];
    return sum;
}

/* alpha times the mean over sequences of sum_e f_e P_e, from the router's own outputs. */
static double balance_of(const tiny *t, const mz_block *block, double alpha)
{
    double probs[TINY_T * 8], sum = 0.0;
    int32_t ids[TINY_T * 3];
    if (!block->is_moe) return 0.0;
    const mz_net *n = &t->model->net;
    const int64_t E = t->config.moe.experts, k = t->config.moe.top_k;
    const mz_tensor p = mz_cell_rows(n, &block->mlp.moe.probs, TINY_T);
    const mz_tensor i = mz_cell_rows(n, &block->mlp.moe.ids, TINY_T);
    tiny_get(t, &p, probs);
    tiny_get_ids(t, &i, ids);
    for (int s = 0; s < TINY_B; s++)
        for (int64_t e = 0; e < E; e++) {
            const int32_t from = t->b.cu[s], to = t->b.cu[s + 1];
            const double len = (double)(to - from);
            double chosen = 0.0, mean = 0.0;
            for (int64_t at = from * k; at < to * k; at++) chosen += ids[at] == e;
            for (int64_t at = from; at < to; at++) mean += probs[at * E + e] / len;
            sum += (double)E / ((double)k * len) * chosen * mean;
        }
    return alpha * sum / TINY_B;
}

static double objective(const tiny *t, mz_loss_options o)
{
    mz_tensor loss;
    const int64_t depths = t->model->net.config.mtp_layers;
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_ok(mz_model_loss(t->model, &t->b.batch, &o, &loss));
    double sum = weighted(t, &loss, 0, 1.0);
    for (int64_t k = 1; k <= depths; k++) {
        tiny_ok(mz_model_mtp_loss(t->model, k, &loss));
        sum += weighted(t, &loss, k, o.mtp_weight / (double)depths);
    }
    const double alpha = o.balance_alpha;
    for (int64_t i = 0; i < t->config.layers; i++)
        sum += balance_of(t, &t->model->blocks[i], alpha);
    for (int64_t k = 0; k < depths; k++) sum += balance_of(t, &t->model->mtp[k].block, alpha);
    return sum;
}

/* A step along `dir`, whose length is 1, on all elements of w. */
static void move(const mz_tensor *w, const double *was, const double *dir, double h)
{
    for (int64_t i = 0; i < mz_count(w); i++) mz_put(w, i, was[i] + h * dir[i]);
}

static void check_direction(const tiny *t, const mz_loss_options *o, const mz_param *p,
                            const double *grads, const double *dir)
{
    double was[2048] = {0}, got = 0.0;
    const mz_loss_options forward = {.balance_alpha = o->balance_alpha,
                                     .mtp_weight = o->mtp_weight};
    const int64_t n = mz_count(&p->w);
    assert_true(n <= MZ_COUNT(was));
    for (int64_t i = 0; i < n; i++) was[i] = mz_at(&p->w, i);
    move(&p->w, was, dir, H);
    const double up = objective(t, forward);
    move(&p->w, was, dir, -H);
    const double down = objective(t, forward);
    move(&p->w, was, dir, 0.0);
    const double want = (up - down) / (2.0 * H);
    for (int64_t i = 0; i < n; i++) got += grads[i] * dir[i];
    if (!(fabs(got - want) <= LIMIT * (1.0 + fabs(want))))
        fail_msg("the gradient of %s gives %.12g, the slope is %.12g", p->name, got, want);
}

/* Every element at once with random signs; of the embedding also one of a row that the batch uses,
 * because most rows have no gradient. */
static void check_parameter(const tiny *t, const mz_loss_options *o, const mz_param *p,
                            const double *grads, int64_t salt)
{
    double dir[2048];
    const int64_t n = mz_count(&p->w);
    mz_rng rng;
    mz_rng_init(&rng, 17, (uint64_t)salt);
    assert_true(n <= MZ_COUNT(dir));
    for (int64_t i = 0; i < n; i++) dir[i] = (mz_rng_u32(&rng) & 1 ? 1.0 : -1.0) / sqrt((double)n);
    check_direction(t, o, p, grads, dir);
    if (p->kind != MZ_PARAM_EMBED) return;
    memset(dir, 0, sizeof dir);
    dir[t->b.ids[7] * t->config.width + 5] = 1.0;
    check_direction(t, o, p, grads, dir);
}

/* only: check the parameters whose names hold it. rank: of adapters, 0 for none. */
static void check_network(const tiny_case *which, double alpha, double mtp, const char *only,
                          int64_t rank)
{
    tiny t;
    mz_config c = which->config();
    mz_model_options o = tiny_options(MZ_F64, true);
    c.lora = (mz_lora_config){.rank = rank, .scale = 0.7};
    o.recompute = rank > 0;
    o.mtp = c.mtp_layers > 0;
    const mz_loss_options lo = {.backward = true,
                                .balance_alpha = c.moe.experts > 0 ? alpha : 0.0,
                                .mtp_weight = o.mtp ? mtp : 0.0};
    tiny_open(&t, &c, &o);
    tiny_ok(mz_model_zero_grads(t.model));
    (void)objective(&t, lo);
    const mz_params *ps = mz_model_params(t.model);
    const int64_t n = (int64_t)(ps->grads_bytes / sizeof(double));
    double *grads = NULL;
    tiny_ok(mz_mem_new(&grads, n, sizeof *grads));
    memcpy(grads, ps->grads->host, ps->grads_bytes); /* later passes add to the buffer */
    int64_t seen = 0;
    for (int64_t i = 0; i < ps->n; i++) {
        const mz_param *p = &ps->list[i];
        assert_int_equal(p->trained, rank > 0 ? i >= ps->n_base : p->kind != MZ_PARAM_ROUTER_BIAS);
        if (!p->trained) {
            assert_null(p->g.buf);
            continue;
        }
        if (only && !strstr(p->name, only)) continue;
        check_parameter(&t, &lo, p, grads + p->g.offset_bytes / sizeof(double), i);
        seen++;
    }
    assert_true(seen >= (only ? 1 : 12));
    mz_mem_free(grads);
    tiny_close(&t);
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) check_network(&TINY[i], 0.0, 0.3, NULL, 0);
}

/* With adapters nothing else has a gradient. */
static void adapters_learn(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) check_network(&TINY[i], 0.3, 0.3, "lora_", 3);
}

static void balance_reaches_the_router(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        if (TINY[i].config().moe.experts == 0) continue;
        check_network(&TINY[i], 0.7, 0.3, "mlp.gate.weight", 0);
        check_network(&TINY[i], 0.7, 0.3, "embed_tokens", 0);
    }
}

static void micro_batches_add_up(void **state)
{
    (void)state;
    tiny t;
    const mz_config c = tiny_v3();
    mz_model_options o = tiny_options(MZ_F64, true);
    const mz_loss_options lo = {.backward = true};
    double once[4096], twice[4096];
    tiny_open(&t, &c, &o);
    const mz_param *p =
        mz_params_find(mz_model_params(t.model), "model.layers.1.mlp.experts.{e}.up_proj.weight");
    assert_non_null(p);
    tiny_ok(mz_model_zero_grads(t.model));
    for (int call = 0; call < 2; call++) {
        (void)objective(&t, lo);
        tiny_get(&t, &p->g, call ? twice : once);
    }
    double size = 0.0;
    for (int64_t i = 0; i < mz_count(&p->g); i++) {
        assert_true(fabs(twice[i] - 2.0 * once[i]) <= 1e-13);
        size += fabs(once[i]);
    }
    assert_true(size > 0.01);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(adapters_learn),
        cmocka_unit_test(balance_reaches_the_router),
        cmocka_unit_test(micro_batches_add_up),
    };
    return cmocka_run_group_tests(tests, tiny_setup, NULL);
}
