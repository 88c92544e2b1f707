/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_network.c - what must hold of any network: memory as planned and none taken in a
 * step, packing, chunks of the head, positions, refusals. */
#include "model/whole.h"
#include "tests/model/tiny.h"

/* ---- memory ---- */

static mz_model_options all_options(const mz_config *c, mz_dtype dtype, int variant)
{
    mz_model_options o = tiny_options(dtype, variant % 2 == 0);
    o.mtp = c->mtp_layers > 0;
    o.keep_hidden = variant == 3;
    if (variant < 2) {
        o.cache_pages = 8;
        o.page_tokens = 4;
        o.pages_per_sequence_max = 4;
    }
    return o;
}

static void plan_is_what_is_booked(void **state)
{
    (void)state;
    static const mz_dtype dtypes[] = {MZ_F64, MZ_F32, MZ_BF16, MZ_F16};
    for (int i = 0; i < MZ_COUNT(TINY) * 4; i++) {
        tiny t;
        mz_memory_plan plan;
        const mz_config c = TINY[i / 4].config();
        const mz_model_options o = all_options(&c, dtypes[i % 4], i % 4);
        tiny_open(&t, &c, &o);
        tiny_ok(mz_model_plan(&plan, t.queue, &c, &o));
        assert_memory_equal(&plan, mz_model_memory(t.model), sizeof plan);
        assert_int_equal(plan.total, mz_device_bytes_used(t.device));
        assert_int_equal(plan.total, plan.weights + plan.gradients + plan.activations +
                                         plan.workspace + plan.staging + plan.cache);
        assert_true(o.train == (plan.gradients > 0) && (o.cache_pages > 0) == (plan.cache > 0));
        tiny_close(&t);
    }
}

static void run_everything(const tiny *t)
{
    mz_tensor out;
    const mz_loss_options lo = {.backward = t->options.train,
                                .balance_alpha = 0.1,
                                .mtp_weight = t->options.mtp ? 0.3 : 0.0};
    const int32_t table[TINY_B][4] = {{0, 1}, {2}, {3, 4}}, lens[TINY_B] = {5, 1, 6};
    const int32_t last[TINY_B] = {4, 5, 11};
    const mz_cached cached = {.table = &table[0][0], .lens = lens};
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_ok(mz_model_loss(t->model, &t->b.batch, &lo, &out));
    tiny_ok(mz_model_cached(t->model, &t->b.batch, &cached));
    tiny_ok(mz_model_logits_rows(t->model, last, TINY_B, &out));
}

static void steps_allocate_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY) * 2; i++) {
        tiny t;
        const mz_config c = TINY[i / 2].config();
        const mz_model_options o = all_options(&c, MZ_F64, i % 2);
        tiny_open(&t, &c, &o);
        const int64_t count = mz_mem_count();
        const size_t used = mz_device_bytes_used(t.device);
        for (int call = 0; call < 3; call++) run_everything(&t);
        tiny_ok(mz_queue_sync(t.queue));
        assert_int_equal(mz_mem_count(), count);
        assert_int_equal(mz_device_bytes_used(t.device), used);
        assert_false(mz_guard_is_on());
        tiny_close(&t);
    }
}

typedef struct op_list {
    mz_desc desc[128];
    int n;
} op_list;

static mz_err collect(void *arg, const mz_desc *desc)
{
    op_list *l = arg;
    for (int i = 0; i < l->n; i++) assert_memory_not_equal(&l->desc[i], desc, sizeof *desc);
    assert_true(l->n < MZ_COUNT(l->desc));
    memcpy(&l->desc[l->n++], desc, sizeof *desc);
    return MZ_OK;
}

static void list_is_what_is_bound(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny t;
        op_list list = {.n = 0};
        const mz_config c = TINY[i].config();
        const mz_model_options o = all_options(&c, MZ_F64, 0);
        tiny_open(&t, &c, &o);
        tiny_ok(mz_model_ops(&c, &o, collect, &list));
        assert_int_equal(list.n, t.queue->n_ops);
        for (int k = 0; k < list.n; k++)
            assert_memory_equal(&list.desc[k], &t.model->net.ops[k].op->desc, sizeof(mz_desc));
        tiny_close(&t);
    }
}

static mz_err check_norm(void *arg, const mz_desc *desc)
{
    const mz_config *c = &((const tiny *)arg)->config;
    if (desc->kind != MZ_OP_RMSNORM) return MZ_OK;
    const mz_rmsnorm_desc *d = &desc->u.rmsnorm;
    const double want = d->D == c->width ? c->rms_eps : c->inner_eps;
    assert_true(d->D == c->width || d->D == c->kv_rank || d->D == c->q_rank);
    assert_true(fabs(d->eps - want) <= 0.0);
    return MZ_OK;
}

/* The norms inside the latent attention have an eps of their own, whatever the others have. */
static void inner_norms_have_their_own_eps(void **state)
{
    (void)state;
    tiny t = {.config = tiny_mla_lora()};
    const mz_model_options o = tiny_options(MZ_F64, true);
    assert_true(t.config.inner_eps < t.config.rms_eps);
    tiny_ok(mz_model_ops(&t.config, &o, check_norm, &t));
}

static size_t activations(mz_config c, int64_t layers, bool train)
{
    mz_memory_plan plan;
    tiny t;
    const mz_model_options o = tiny_options(MZ_F64, train);
    c.layers = layers;
    tiny_open(&t, &c, &o);
    tiny_ok(mz_model_plan(&plan, t.queue, &c, &o));
    tiny_close(&t);
    return plan.activations;
}

/* Serving, all layers share one block's memory; training, each layer keeps its own. */
static void layers_share_memory_when_serving(void **state)
{
    (void)state;
    assert_int_equal(activations(tiny_llama(), 2, false), activations(tiny_llama(), 6, false));
    assert_int_equal(activations(tiny_mla(), 2, false), activations(tiny_mla(), 6, false));
    const size_t two = activations(tiny_llama(), 2, true),
                 four = activations(tiny_llama(), 4, true);
    assert_true(four > two && activations(tiny_llama(), 6, true) - four == four - two);
}

/* ---- one batch, other ways ---- */

static double *logits_of(const tiny *t, const mz_batch *b)
{
    double *out = NULL;
    tiny_ok(mz_mem_new(&out, TINY_T * t->config.vocab, sizeof *out));
    tiny_ok(mz_model_forward(t->model, b));
    tiny_logits(t, b->tokens, out);
    return out;
}

static void packed_is_separate(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny t;
        const mz_config c = TINY[i].config();
        const mz_model_options o = tiny_options(MZ_F64, i % 2 == 0);
        tiny_open(&t, &c, &o);
        double *want = logits_of(&t, &t.b.batch);
        for (int k = 0; k < TINY_B; k++) {
            const int32_t at = t.b.cu[k], n = t.b.cu[k + 1] - at, cu[2] = {0, n};
            const mz_batch one = {
                .tokens = n, .sequences = 1, .ids = t.b.ids + at, .pos = t.b.pos + at, .cu = cu};
            double *got = logits_of(&t, &one);
            tiny_within(tiny_apart(got, want + at * c.vocab, n * c.vocab), 1e-13, TINY[i].name);
            mz_mem_free(got);
        }
        mz_mem_free(want);
        tiny_close(&t);
    }
}

/* Only differences of positions count. The tables are f32, so this holds to f32. */
static void positions_are_relative(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny t;
        const mz_config c = TINY[i].config();
        const mz_model_options o = tiny_options(MZ_F64, false);
        tiny_open(&t, &c, &o);
        double *want = logits_of(&t, &t.b.batch);
        for (int k = 0; k < TINY_T; k++) t.b.pos[k] += 9;
        double *shifted = logits_of(&t, &t.b.batch);
        for (int k = 0; k < TINY_T; k++) t.b.pos[k] = 2 * (t.b.pos[k] - 9);
        double *stretched = logits_of(&t, &t.b.batch);
        tiny_within(tiny_apart(shifted, want, TINY_T * c.vocab), 1e-6, TINY[i].name);
        assert_true(tiny_apart(stretched, want, TINY_T * c.vocab) > 1e-3);
        mz_mem_free(want);
        mz_mem_free(shifted);
        mz_mem_free(stretched);
        tiny_close(&t);
    }
}

/* Every token's loss from the logits themselves, whatever the chunk; logits of chosen rows. */
static void head_runs_by_chunks(void **state)
{
    (void)state;
    static const int64_t chunks[] = {5, 1, 12, 100, 0};
    for (int i = 0; i < MZ_COUNT(chunks); i++) {
        tiny t;
        mz_tensor loss, rows;
        const mz_config c = i % 2 ? tiny_tied() : tiny_biased();
        mz_model_options o = tiny_options(MZ_F64, i == 1);
        double each[TINY_T], one[64];
        const int32_t index[1] = {7};
        o.head_rows = 5;
        tiny_open(&t, &c, &o);
        double *logits = logits_of(&t, &t.b.batch);
        tiny_close(&t);
        o.head_rows = chunks[i];
        tiny_open(&t, &c, &o);
        tiny_ok(mz_model_forward(t.model, &t.b.batch));
        tiny_ok(mz_model_loss(t.model, &t.b.batch, &(mz_loss_options){0}, &loss));
        tiny_get(&t, &loss, each);
        for (int k = 0; k < TINY_T; k++) {
            double sum = 0.0;
            const double *row = logits + k * c.vocab;
            for (int64_t v = 0; v < c.vocab; v++) sum += exp(row[v]);
            const double want = t.b.targets[k] < 0 ? 0.0 : log(sum) - row[t.b.targets[k]];
            assert_true(fabs(each[k] - want) <= 1e-13 * (1.0 + fabs(want)));
        }
        tiny_ok(mz_model_logits_rows(t.model, index, 1, &rows));
        tiny_get(&t, &rows, one);
        tiny_within(tiny_apart(one, logits + 7 * c.vocab, c.vocab), 0.0, "logits of a row");
        mz_mem_free(logits);
        tiny_close(&t);
    }
}

static void hidden_states_are_the_same_serving_and_training(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny a, b;
        const mz_config c = TINY[i].config();
        mz_model_options o = tiny_options(MZ_F64, true);
        double x[TINY_T * 12], y[TINY_T * 12];
        tiny_open(&a, &c, &o);
        o.train = false, o.keep_hidden = true;
        tiny_open(&b, &c, &o);
        tiny_ok(mz_model_forward(a.model, &a.b.batch));
        tiny_ok(mz_model_forward(b.model, &b.b.batch));
        for (int64_t k = 0; k <= c.layers + 1; k++) {
            mz_tensor p, q;
            tiny_ok(mz_model_hidden(a.model, k, &p));
            tiny_ok(mz_model_hidden(b.model, k, &q));
            tiny_get(&a, &p, x);
            tiny_get(&b, &q, y);
            assert_memory_equal(x, y, sizeof x);
        }
        tiny_close(&a);
        tiny_close(&b);
    }
}

/* ---- refusals ---- */

static void expect_refused(const tiny *t, const char *what)
{
    const int64_t seq = t->queue->seq;
    if (mz_model_forward(t->model, &t->b.batch) != MZ_EINVAL || t->queue->seq != seq)
        fail_msg("%s was let through", what);
}

static void wrong_batches_enqueue_nothing(void **state)
{
    (void)state;
    tiny t;
    mz_tensor out;
    const mz_config c = tiny_llama();
    const mz_model_options o = tiny_options(MZ_F64, true);
    const mz_loss_options lo = {.backward = true};
    tiny_open(&t, &c, &o);
    tiny_batch *b = &t.b;
    assert_int_equal(mz_model_logits(t.model, 0, 1, &out), MZ_EINVAL); /* nothing was run */
    assert_int_equal(mz_model_loss(t.model, &b->batch, &lo, &out), MZ_EINVAL);
    b->ids[3] = (int32_t)c.vocab, expect_refused(&t, "an id past the vocabulary");
    b->ids[3] = -1, expect_refused(&t, "a negative id");
    b->ids[3] = 0, b->pos[11] = TINY_P, expect_refused(&t, "a position past the tables");
    b->pos[11] = 5, b->cu[1] = 7, expect_refused(&t, "sequence bounds that fall");
    b->cu[1] = 5, b->cu[3] = 11, expect_refused(&t, "sequences that miss a token");
    b->cu[3] = 12, b->batch.tokens = o.tokens_max + 1, expect_refused(&t, "too many tokens");
    b->batch.tokens = TINY_T;
    tiny_ok(mz_model_forward(t.model, &b->batch));
    assert_int_equal(mz_model_logits(t.model, 0, 6, &out), MZ_EINVAL); /* head_rows is 5 */
    assert_int_equal(mz_model_logits(t.model, 10, 3, &out), MZ_EINVAL);
    assert_int_equal(mz_model_router(t.model, 0, &out, &out), MZ_EINVAL);
    b->targets[0] = (int32_t)c.vocab;
    assert_int_equal(mz_model_loss(t.model, &b->batch, &lo, &out), MZ_EINVAL);
    b->targets[0] = 1, b->weight[1] = (float)NAN;
    assert_int_equal(mz_model_loss(t.model, &b->batch, &lo, &out), MZ_EINVAL);
    b->weight[1] = 0.0f, b->ids[0] ^= 1;
    assert_int_equal(mz_model_loss(t.model, &b->batch, &lo, &out), MZ_EINVAL); /* another batch */
    b->ids[0] ^= 1;
    tiny_ok(mz_model_loss(t.model, &b->batch, &lo, &out));
    assert_int_equal(mz_model_loss(t.model, &b->batch, &lo, &out), MZ_EINVAL); /* spent */
    tiny_close(&t);
}

static void no_tokens_are_no_work(void **state)
{
    (void)state;
    tiny t;
    mz_tensor out;
    const mz_config c = tiny_v3();
    const mz_model_options o = tiny_options(MZ_F64, true);
    const int32_t cu[1] = {0};
    const mz_batch none = {.cu = cu};
    tiny_open(&t, &c, &o);
    tiny_ok(mz_model_forward(t.model, &none));
    tiny_ok(mz_model_loss(t.model, &none, &(mz_loss_options){.backward = true}, &out));
    assert_int_equal(out.dim[0], 0);
    tiny_close(&t);
}

static void wrong_options_book_nothing(void **state)
{
    (void)state;
    tiny t;
    mz_model *m = NULL;
    mz_config c = tiny_llama();
    mz_model_options o = tiny_options(MZ_F64, true);
    tiny_open(&t, &c, &o);
    const size_t used = mz_device_bytes_used(t.device);
    o.mtp = true;
    assert_int_equal(mz_model_new(&m, t.queue, &c, &o), MZ_EINVAL);
    o.mtp = false, o.dtype = MZ_I32;
    assert_int_equal(mz_model_new(&m, t.queue, &c, &o), MZ_EINVAL);
    o.dtype = MZ_F64, c.scale = (double)NAN;
    assert_int_equal(mz_model_new(&m, t.queue, &c, &o), MZ_EINVAL);
    c = tiny_llama(), c.rope.dims = 4;
    assert_int_equal(mz_model_new(&m, t.queue, &c, &o), MZ_EINVAL);
    assert_null(m);
    assert_int_equal(mz_device_bytes_used(t.device), used);
    tiny_close(&t);
}

/* Every allocation on the way to a model fails once: an error, and nothing stays behind. */
static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    mz_device *device = NULL;
    mz_queue *q = NULL;
    const mz_config c = tiny_v3();
    mz_model_options o = all_options(&c, MZ_F32, 0);
    tiny_ok(mz_device_open(&device, "ref", NULL));
    tiny_ok(mz_queue_open(&q, device));
    bool struck = true;
    for (int64_t n = 1; struck; n++) {
        mz_model *m = NULL;
        const size_t used = mz_mem_bytes_used();
        const size_t workspace = q->workspace ? q->workspace->bytes : 0;
        mz_mem_fail_at(n, false);
        const mz_err err = mz_model_new(&m, q, &c, &o);
        struck = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_true(struck ? err == MZ_ENOMEM && !m : err == MZ_OK && n > 20);
        mz_model_free(m);
        const size_t grown = (q->workspace ? q->workspace->bytes : 0) - workspace;
        assert_int_equal(mz_device_bytes_used(device), q->workspace ? q->workspace->bytes : 0);
        assert_true(grown > 0 || mz_mem_bytes_used() == used);
    }
    mz_queue_close(q);
    mz_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_is_what_is_booked),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(list_is_what_is_bound),
        cmocka_unit_test(inner_norms_have_their_own_eps),
        cmocka_unit_test(layers_share_memory_when_serving),
        cmocka_unit_test(packed_is_separate),
        cmocka_unit_test(positions_are_relative),
        cmocka_unit_test(head_runs_by_chunks),
        cmocka_unit_test(hidden_states_are_the_same_serving_and_training),
        cmocka_unit_test(wrong_batches_enqueue_nothing),
        cmocka_unit_test(no_tokens_are_no_work),
        cmocka_unit_test(wrong_options_book_nothing),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, tiny_setup, NULL);
}
