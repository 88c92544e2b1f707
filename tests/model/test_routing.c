/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_routing.c - routers and multi-token prediction: what the selection bias may do,
 * how it evens the load, and which positions MTP counts. */
#include "model/whole.h" /* what MTP joins has no public reader */
#include "tests/model/tiny.h"

/* ---- routers ---- */

enum { K3 = 3, CHOICES = TINY_T * K3 };

static void routed(const tiny *t, int32_t *ids, double *weights)
{
    mz_tensor i, w;
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_ok(mz_model_router(t->model, 1, &i, &w));
    tiny_get_ids(t, &i, ids);
    tiny_get(t, &w, weights);
}

static mz_param *router_bias(const tiny *t)
{
    mz_param *p = mz_params_find(mz_model_params(t->model),
                                 "model.layers.1.mlp.gate.e_score_correction_bias");
    assert_non_null(p);
    return p;
}

/* V3: the bias chooses; the weights are those of the chosen ids without it, and sum to factor. */
static void bias_changes_ids_never_weights(void **state)
{
    (void)state;
    tiny t, f;
    const mz_config c = tiny_v3();
    mz_model_options o = tiny_options(MZ_F64, false);
    int32_t plain[CHOICES], biased[CHOICES], ids[CHOICES];
    double w[CHOICES], with_bias[CHOICES], forced[CHOICES];
    tiny_open(&t, &c, &o);
    o.forced_router = true;
    tiny_open(&f, &c, &o);
    routed(&t, plain, w);
    mz_put(&router_bias(&t)->w, 5, 2.0);
    routed(&t, biased, with_bias);
    assert_memory_not_equal(plain, biased, sizeof plain);
    for (int i = 0; i < TINY_T; i++) {
        double sum = 0.0;
        bool has = false;
        for (int k = 0; k < K3; k++) {
            has |= biased[i * K3 + k] == 5;
            sum += with_bias[i * K3 + k];
            assert_true(k == 0 || biased[i * K3 + k] > biased[i * K3 + k - 1]);
        }
        assert_true(has && fabs(sum - c.moe.factor) < 1e-12);
    }
    for (int64_t e = 0; e < c.moe.experts; e++) mz_put(&router_bias(&f)->w, e, 0.0);
    assert_int_equal(mz_model_forward(f.model, &f.b.batch), MZ_EINVAL); /* no ids yet */
    tiny_ok(mz_model_force_router(f.model, 1, biased, TINY_T));
    routed(&f, ids, forced);
    assert_memory_equal(ids, biased, sizeof ids);
    assert_memory_equal(forced, with_bias, sizeof forced);
    assert_int_equal(mz_model_force_router(f.model, 0, biased, TINY_T), MZ_EINVAL); /* dense */
    biased[1] = biased[0];
    assert_int_equal(mz_model_force_router(f.model, 1, biased, TINY_T), MZ_EINVAL);
    tiny_close(&t);
    tiny_close(&f);
}

static void loads(const tiny *t, int32_t counts[8])
{
    mz_tensor view;
    tiny_ok(mz_model_zero_counts(t->model));
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_ok(mz_model_router_counts(t->model, 1, &view));
    tiny_get_ids(t, &view, counts);
}

static int32_t spread(const int32_t counts[8])
{
    int32_t least = counts[0], most = counts[0];
    for (int e = 1; e < 8; e++) {
        if (counts[e] < least) least = counts[e];
        if (counts[e] > most) most = counts[e];
    }
    return most - least;
}

/* b += rate sign(mean load - load), the update of the V3 report, on a router that starts askew. */
static void bias_evens_the_load(void **state)
{
    (void)state;
    tiny t;
    mz_config c = tiny_v3();
    c.moe.groups = c.moe.groups_kept = 1;
    const mz_model_options o = tiny_options(MZ_F64, true);
    int32_t counts[8], sum = 0;
    tiny_open(&t, &c, &o);
    const mz_tensor *b = &router_bias(&t)->w;
    mz_put(b, 0, 3.0);
    mz_put(b, 1, -3.0);
    loads(&t, counts);
    for (int e = 0; e < 8; e++) sum += counts[e];
    assert_int_equal(sum, CHOICES);
    assert_int_equal(counts[0], TINY_T);
    assert_int_equal(counts[1], 0);
    double rate = 0.05;
    for (int step = 0; step < 240 && spread(counts) > 1; step++) {
        for (int e = 0; e < 8; e++) {
            const double over = 8.0 * counts[e] - CHOICES;
            mz_put(b, e, mz_at(b, e) - rate * (over > 0.0) + rate * (over < 0.0));
        }
        if (step % 80 == 79) rate *= 0.3;
        loads(&t, counts);
    }
    assert_true(spread(counts) <= 2);
    tiny_close(&t);
}

/* ---- MTP ---- */

static void flat_grads(const tiny *t, double *out)
{
    const mz_params *ps = mz_model_params(t->model);
    tiny_ok(mz_queue_sync(t->queue));
    memcpy(out, ps->grads->host, ps->grads_bytes);
}

static void mtp_without_weight_is_the_base(void **state)
{
    (void)state;
    tiny base, both;
    mz_tensor loss;
    const mz_config c = tiny_v3();
    mz_model_options o = tiny_options(MZ_F64, true);
    const mz_loss_options lo = {.backward = true};
    tiny_open(&base, &c, &o);
    o.mtp = true;
    tiny_open(&both, &c, &o);
    const mz_params *p = mz_model_params(base.model), *q = mz_model_params(both.model);
    double x[TINY_T], y[TINY_T], *gx = NULL, *gy = NULL;
    tiny_ok(mz_mem_new(&gx, (int64_t)p->grads_bytes, 1));
    tiny_ok(mz_mem_new(&gy, (int64_t)q->grads_bytes, 1));
    assert_true(q->n > p->n && mz_model_config(base.model)->mtp_layers == 0);
    tiny_ok(mz_model_forward(base.model, &base.b.batch));
    tiny_ok(mz_model_loss(base.model, &base.b.batch, &lo, &loss));
    tiny_get(&base, &loss, x);
    flat_grads(&base, gx);
    tiny_ok(mz_model_forward(both.model, &both.b.batch));
    tiny_ok(mz_model_loss(both.model, &both.b.batch, &lo, &loss));
    tiny_get(&both, &loss, y);
    flat_grads(&both, gy);
    assert_memory_equal(x, y, sizeof x);
    assert_memory_equal(gx, gy, p->grads_bytes); /* the MTP layers come last in the list */
    for (size_t i = p->grads_bytes; i < q->grads_bytes; i += sizeof(double))
        assert_true(fabs(gy[i / sizeof(double)]) <= 0.0);
    assert_int_equal(mz_model_mtp_loss(both.model, 1, &loss), MZ_EINVAL);
    mz_mem_free(gx);
    mz_mem_free(gy);
    tiny_close(&base);
    tiny_close(&both);
}

/* Depth k's loss is 0 exactly where its target leaves the sequence or is not counted, and it does
 * not depend on whether backward runs. */
static void mtp_stays_inside_its_sequence(void **state)
{
    (void)state;
    tiny t;
    mz_tensor loss, view;
    const mz_config c = tiny_mtp2();
    mz_model_options o = tiny_options(MZ_F64, true);
    double first[2][TINY_T], each[TINY_T];
    o.mtp = true;
    tiny_open(&t, &c, &o);
    for (int pass = 0; pass < 2; pass++) {
        const mz_loss_options lo = {.backward = pass == 1, .mtp_weight = 0.3};
        tiny_ok(mz_model_forward(t.model, &t.b.batch));
        tiny_ok(mz_model_loss(t.model, &t.b.batch, &lo, &loss));
        for (int64_t k = 1; k <= 2; k++) {
            tiny_ok(mz_model_mtp_loss(t.model, k, &view));
            tiny_get(&t, &view, pass ? each : first[k - 1]);
            if (pass) assert_memory_equal(each, first[k - 1], sizeof each);
        }
    }
    for (int k = 1; k <= 2; k++)
        for (int i = 0; i < TINY_B; i++)
            for (int32_t at = t.b.cu[i]; at < t.b.cu[i + 1]; at++) {
                const bool counted = at + k < t.b.cu[i + 1] && t.b.targets[at + k] >= 0;
                assert_true(counted == (first[k - 1][at] > 0.0));
            }
    tiny_close(&t);
}

static void read_param(const tiny *t, const char *name, double *out)
{
    const mz_param *p = mz_params_find(mz_model_params(t->model), name);
    if (!p) fail_msg("there is no %s", name);
    tiny_get(t, &p->w, out);
}

/* y [D] = norm of one row */
static void norm_by_hand(double *y, const double *x, const double *w, int64_t D, double eps)
{
    double square = 0.0;
    for (int64_t i = 0; i < D; i++) square += x[i] * x[i] / (double)D;
    for (int64_t i = 0; i < D; i++) y[i] = x[i] / sqrt(square + eps) * w[i];
}

/* The input of depth k's block at every position, by hand: the embedding of the token k places on
 * comes first, what was fed (fed [T,D]) second. */
static void check_join(const tiny *t, int k, const double *fed)
{
    enum { D = 12 };
    double table[40 * D], enorm[D], hnorm[D], join[2 * D * D], got[TINY_T * D];
    char name[96];
    const mz_mtp *m = &t->model->mtp[k - 1];
    const mz_tensor joined = mz_cell_rows(&t->model->net, &m->joined, TINY_T);
    const long long layer = (long long)t->config.layers + k - 1;
    read_param(t, "model.embed_tokens.weight", table);
    snprintf(name, sizeof name, "model.layers.%lld.enorm.weight", layer);
    read_param(t, name, enorm);
    snprintf(name, sizeof name, "model.layers.%lld.hnorm.weight", layer);
    read_param(t, name, hnorm);
    snprintf(name, sizeof name, "model.layers.%lld.eh_proj.weight", layer);
    read_param(t, name, join);
    tiny_get(t, &joined, got);
    for (int i = 0; i < TINY_B; i++)
        for (int32_t at = t->b.cu[i]; at + k < t->b.cu[i + 1]; at++) {
            double cat[2 * D];
            norm_by_hand(cat, table + t->b.ids[at + k] * D, enorm, D, t->config.rms_eps);
            norm_by_hand(cat + D, fed + at * D, hnorm, D, t->config.rms_eps);
            for (int row = 0; row < D; row++) {
                double want = 0.0;
                for (int j = 0; j < 2 * D; j++) want += join[row * 2 * D + j] * cat[j];
                assert_true(fabs(got[at * D + row] - want) <= 1e-12 * (1.0 + fabs(want)));
            }
        }
}

/* Depth 1 is fed the final norm's output, depth 2 the block of depth 1 before its last norm. */
static void mtp_joins_embedding_then_hidden(void **state)
{
    (void)state;
    tiny t;
    mz_tensor out;
    double fed[TINY_T * 12];
    const mz_config c = tiny_mtp2();
    mz_model_options o = tiny_options(MZ_F64, true);
    o.mtp = true;
    tiny_open(&t, &c, &o);
    tiny_ok(mz_model_forward(t.model, &t.b.batch));
    tiny_ok(mz_model_loss(t.model, &t.b.batch, &(mz_loss_options){.mtp_weight = 0.3}, &out));
    tiny_ok(mz_model_hidden(t.model, c.layers + 1, &out));
    tiny_get(&t, &out, fed);
    check_join(&t, 1, fed);
    out = mz_cell_rows(&t.model->net, &t.model->mtp[0].block.out, TINY_T);
    tiny_get(&t, &out, fed);
    check_join(&t, 2, fed);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bias_changes_ids_never_weights),
        cmocka_unit_test(bias_evens_the_load),
        cmocka_unit_test(mtp_without_weight_is_the_base),
        cmocka_unit_test(mtp_stays_inside_its_sequence),
        cmocka_unit_test(mtp_joins_embedding_then_hidden),
    };
    return cmocka_run_group_tests(tests, tiny_setup, NULL);
}
