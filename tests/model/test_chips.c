/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_chips.c - whole networks on every chip that this build has, against the oracle
 * in f64: logits, losses, gradients, router ids, and the cached pass. */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/hosted/hosted.h"
#include "tests/model/tiny.h"

static const double LOGITS = 3e-6, LOSS = 1e-6, GRADS = 1e-5;

enum { PAGE = 3, EACH = 2, PAGES = 7 };
static const int32_t TABLE[TINY_B][EACH] = {{6, 2}, {5, 0}, {0, 4}}, LENS[TINY_B] = {5, 1, 6};

typedef struct outcome {
    double logits[TINY_T * 40], cached[TINY_T * 40], loss[TINY_T], mtp[TINY_T];
    int32_t ids[TINY_T * 3];
    double *grads; /* of all parameters, one after the other */
    int64_t n_grads;
} outcome;

static mz_model_options options_of(const mz_config *c, mz_dtype dtype, bool train)
{
    mz_model_options o = tiny_options(dtype, train);
    o.mtp = c->mtp_layers > 0;
    o.cache_pages = PAGES;
    o.page_tokens = PAGE;
    o.pages_per_sequence_max = EACH;
    return o;
}

static void take_gradients(const tiny *t, outcome *out)
{
    const mz_params *ps = mz_model_params(t->model);
    tiny_ok(mz_mem_new(&out->grads, ps->elements, sizeof *out->grads));
    for (int64_t i = 0; i < ps->n; i++) {
        if (!ps->list[i].g.buf) continue;
        tiny_get(t, &ps->list[i].g, out->grads + out->n_grads);
        out->n_grads += mz_count(&ps->list[i].g);
    }
    assert_int_equal(out->n_grads, ps->elements);
}

static void run(const tiny *t, outcome *out)
{
    mz_tensor loss, weights, ids;
    const bool train = t->options.train;
    const mz_loss_options lo = {
        .backward = train, .balance_alpha = 0.2, .mtp_weight = t->options.mtp ? 0.3 : 0.0};
    const mz_cached cached = {.table = &TABLE[0][0], .lens = LENS};
    *out = (outcome){.n_grads = 0};
    if (train) tiny_ok(mz_model_zero_grads(t->model));
    tiny_ok(mz_model_cached(t->model, &t->b.batch, &cached));
    tiny_logits(t, TINY_T, out->cached);
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_logits(t, TINY_T, out->logits);
    const int64_t last = t->config.layers - 1;
    if (mz_config_layer_is_moe(&t->config, last)) {
        tiny_ok(mz_model_router(t->model, last, &ids, &weights));
        tiny_get_ids(t, &ids, out->ids);
    }
    tiny_ok(mz_model_loss(t->model, &t->b.batch, &lo, &loss));
    tiny_get(t, &loss, out->loss);
    if (t->options.mtp) {
        tiny_ok(mz_model_mtp_loss(t->model, 1, &loss));
        tiny_get(t, &loss, out->mtp);
    }
    if (train) take_gradients(t, out);
}

static void run_on(const char *spec, const mz_config *c, mz_dtype dtype, bool train, outcome *out)
{
    tiny t;
    const mz_model_options o = options_of(c, dtype, train);
    tiny_open_on(&t, spec, c, &o);
    run(&t, out);
    tiny_close(&t);
}

static bool can_run(const char *spec, const mz_config *c, mz_dtype dtype, bool train)
{
    mz_device *device = NULL;
    mz_queue *q = NULL;
    mz_memory_plan plan;
    const mz_model_options o = options_of(c, dtype, train);
    tiny_ok(mz_device_open(&device, spec, NULL));
    tiny_ok(mz_queue_open(&q, device));
    const mz_err err = mz_model_plan(&plan, q, c, &o);
    mz_queue_close(q);
    mz_device_close(device);
    if (err != MZ_ENOTSUP) tiny_ok(err);
    return err == MZ_OK;
}

/* Distance in the L2 norm of each parameter's own gradient. */
static double grads_apart(const mz_config *c, bool mtp, const outcome *got, const outcome *want)
{
    mz_params list;
    mz_config own = *c;
    double most = 0.0;
    int64_t at = 0;
    if (!mtp) own.mtp_layers = 0;
    tiny_ok(mz_params_list(&list, &own, MZ_F64));
    for (int64_t i = 0; i < list.n; i++) {
        double d = 0.0, size = 0.0;
        if (list.list[i].kind == MZ_PARAM_ROUTER_BIAS) continue;
        for (const int64_t end = at + mz_count(&list.list[i].w); at < end; at++) {
            d += (got->grads[at] - want->grads[at]) * (got->grads[at] - want->grads[at]);
            size += want->grads[at] * want->grads[at];
        }
        if (!(sqrt(d) <= most * sqrt(size))) most = size > 0.0 ? sqrt(d / size) : HUGE_VAL;
    }
    assert_int_equal(at, want->n_grads);
    mz_params_clear(&list);
    return most;
}

static void compare(const tiny_case *which, const outcome *got, const outcome *want, double loose)
{
    const mz_config c = which->config();
    const int64_t n = TINY_T * c.vocab;
    char what[96];
    snprintf(what, sizeof what, "%s: logits", which->name);
    tiny_within(tiny_apart(got->logits, want->logits, n), loose * LOGITS, what);
    snprintf(what, sizeof what, "%s: cached logits", which->name);
    tiny_within(tiny_apart(got->cached, want->logits, n), loose * LOGITS, what);
    snprintf(what, sizeof what, "%s: loss", which->name);
    tiny_within(tiny_apart(got->loss, want->loss, TINY_T), loose * LOSS, what);
    tiny_within(tiny_apart(got->mtp, want->mtp, TINY_T), loose * LOSS, what);
    assert_memory_equal(got->ids, want->ids, sizeof got->ids);
    if (!got->grads) return;
    snprintf(what, sizeof what, "%s: gradients", which->name);
    tiny_within(grads_apart(&c, c.mtp_layers > 0, got, want), loose * GRADS, what);
}

/* Every network on one chip in one dtype. Returns how many it could carry. */
static int networks_on(const char *spec, mz_dtype dtype, double loose)
{
    int carried = 0;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        outcome got, want;
        const mz_config c = TINY[i].config();
        if (!can_run(spec, &c, dtype, true)) continue;
        run_on("ref", &c, MZ_F64, true, &want);
        run_on(spec, &c, dtype, true, &got);
        compare(&TINY[i], &got, &want, loose);
        mz_mem_free(got.grads);
        mz_mem_free(want.grads);
        carried++;
    }
    return carried;
}

static void ref_in_f32(void **state)
{
    (void)state;
    assert_int_equal(networks_on("ref", MZ_F32, 1.0), MZ_COUNT(TINY));
}

static void cpu_in_f32(void **state)
{
    (void)state;
    if (networks_on("cpu", MZ_F32, 1.0) == 0) {
        print_message("%s\n", mz_err_last()->message);
        skip();
    }
}

/* The far chip computes with the oracle, so memory, order and lifetimes are all that can differ:
 * every bit is the same, with its outputs spoiled before each operator. */
static void far_has_the_same_bits(void **state)
{
    (void)state;
    static const char *const specs[] = {"far:on=ref", "far:lazy,on=ref", "far:slow=3,on=ref"};
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        outcome got, want;
        const mz_config c = TINY[i].config();
        const char *spec = specs[i % MZ_COUNT(specs)];
        run_on("ref", &c, MZ_F64, true, &want);
        run_on(spec, &c, MZ_F64, true, &got);
        assert_memory_equal(got.logits, want.logits, sizeof got.logits);
        assert_memory_equal(got.cached, want.cached, sizeof got.cached);
        assert_memory_equal(got.loss, want.loss, sizeof got.loss);
        assert_memory_equal(got.mtp, want.mtp, sizeof got.mtp);
        assert_memory_equal(got.grads, want.grads, (size_t)got.n_grads * sizeof *got.grads);
        mz_mem_free(got.grads);
        mz_mem_free(want.grads);
    }
    char text[256];
    mz_far_last_misuse(text, sizeof text);
    if (mz_far_misuses() != 0) fail_msg("%s", text);
}

/* A chip that only multiplies, the rest on the host: strides, repeated rows, partial writes and
 * indices all pass through staging copies, and the numbers stay those of the oracle. */
static void a_chip_that_only_multiplies(void **state)
{
    (void)state;
    static const char *const spec = "hosted:on=ref,far:matmul,on=ref";
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        outcome got, want;
        const mz_config c = TINY[i].config();
        assert_false(can_run("far:matmul,on=ref", &c, MZ_F64, false));
        run_on("ref", &c, MZ_F64, true, &want);
        run_on(spec, &c, MZ_F64, true, &got);
        assert_memory_equal(got.logits, want.logits, sizeof got.logits);
        assert_memory_equal(got.cached, want.cached, sizeof got.cached);
        assert_memory_equal(got.loss, want.loss, sizeof got.loss);
        assert_memory_equal(got.mtp, want.mtp, sizeof got.mtp);
        assert_memory_equal(got.grads, want.grads, (size_t)got.n_grads * sizeof *got.grads);
        mz_mem_free(got.grads);
        mz_mem_free(want.grads);
    }
}

/* Micro-batches without a wait between them: host copies must stand until the chip has read them,
 * although the next calls stage theirs. */
static void accumulate(const char *spec, const mz_config *c, outcome *out)
{
    tiny t;
    mz_tensor loss;
    const mz_loss_options lo = {.backward = true};
    const mz_model_options o = options_of(c, MZ_F64, true);
    *out = (outcome){.n_grads = 0};
    tiny_open_on(&t, spec, c, &o);
    tiny_ok(mz_model_zero_grads(t.model));
    for (int call = 0; call < 7; call++) {
        for (int i = 0; i < TINY_T; i++) t.b.ids[i] = (t.b.ids[i] * 5 + call) % (int32_t)c->vocab;
        for (int i = 0; i < TINY_T; i++) t.b.weight[i] = 0.01f * (float)(call + i);
        tiny_ok(mz_model_forward(t.model, &t.b.batch));
        tiny_ok(mz_model_loss(t.model, &t.b.batch, &lo, &loss));
    }
    take_gradients(&t, out);
    tiny_close(&t);
}

static void staged_copies_outlive_the_call(void **state)
{
    (void)state;
    outcome got, want;
    const mz_config c = tiny_biased();
    accumulate("ref", &c, &want);
    accumulate("far:lazy,on=ref", &c, &got);
    assert_memory_equal(got.grads, want.grads, (size_t)got.n_grads * sizeof *got.grads);
    mz_mem_free(got.grads);
    mz_mem_free(want.grads);
}

/* Serving asks for no backward attention, so a chip without it serves. */
static void a_chip_without_backward_serves(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        outcome got, want;
        const mz_config c = TINY[i].config();
        assert_false(can_run("far:nobwd,on=ref", &c, MZ_F64, true));
        run_on("ref", &c, MZ_F64, false, &want);
        run_on("far:nobwd,on=ref", &c, MZ_F64, false, &got);
        assert_memory_equal(got.logits, want.logits, sizeof got.logits);
        assert_memory_equal(got.cached, want.cached, sizeof got.cached);
    }
}

static const mz_param *param_of(const tiny *t, const char *name)
{
    const mz_param *p = mz_params_find(mz_model_params(t->model), name);
    assert_non_null(p);
    return p;
}

/* Gradients of one step of c on cpu; `lone`: every token is a sequence of its own. */
static void step_on_cpu(tiny *t, const mz_config *c, bool lone)
{
    mz_tensor loss;
    mz_model_options o = options_of(c, MZ_F32, true);
    o.sequences_max = TINY_T;
    tiny_open_on(t, "cpu", c, &o);
    int32_t cu[TINY_T + 1], pos[TINY_T];
    for (int32_t i = 0; i <= TINY_T; i++) cu[i] = i;
    for (int32_t i = 0; i < TINY_T; i++) pos[i] = i % 3; /* rotated, some of them */
    mz_batch batch = t->b.batch;
    if (lone) batch.sequences = TINY_T, batch.cu = cu, batch.pos = pos;
    const mz_loss_options lo = {.backward = true, .mtp_weight = o.mtp ? 0.3 : 0.0};
    tiny_ok(mz_model_zero_grads(t->model));
    tiny_ok(mz_model_forward(t->model, &batch));
    tiny_ok(mz_model_loss(t->model, &batch, &lo, &loss));
    tiny_ok(mz_queue_sync(t->queue));
}

/* The weight of the only key is 1 whatever q and k are; what it weighs still learns. */
static void a_lone_key_has_no_gradient(void **state)
{
    (void)state;
    static const char *const still[] = {"q_proj", "k_proj"};
    tiny t;
    double g[512];
    char name[96];
    const mz_config c = tiny_llama();
    step_on_cpu(&t, &c, true);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "model.layers.1.self_attn.%s.weight",
                 i < 2 ? still[i] : "v_proj");
        const mz_param *p = param_of(&t, name);
        double most = 0.0;
        tiny_get(&t, &p->g, g);
        for (int64_t k = 0; k < mz_count(&p->g); k++) most = fmax(most, fabs(g[k]));
        assert_true(i < 2 ? !(most > 0.0) : most > 1e-3);
    }
    tiny_close(&t);
}

/* transformers' padding_idx: as an input the pad token's row stays as it is, in MTP layers too. */
static void the_pad_token_learns_nothing_as_an_input(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        tiny with, without;
        double a[37 * 12], b[37 * 12];
        mz_config c = i == 0 ? tiny_llama() : tiny_v3();
        step_on_cpu(&without, &c, false);
        c.pad = without.b.ids[3];
        step_on_cpu(&with, &c, false);
        tiny_get(&without, &param_of(&without, "model.embed_tokens.weight")->g, a);
        tiny_get(&with, &param_of(&with, "model.embed_tokens.weight")->g, b);
        double moved = 0.0;
        for (int64_t k = 0; k < c.vocab * c.width; k++) {
            const bool is_pad = k / c.width == c.pad;
            if (is_pad) moved = fmax(moved, fabs(a[k]));
            assert_true(is_pad ? !(fabs(b[k]) > 0.0) : !(fabs(a[k] - b[k]) > 0.0));
        }
        assert_true(moved > 1e-3);
        tiny_close(&with);
        tiny_close(&without);
    }
}

static int setup(void **state)
{
    if (tiny_setup(state) != 0) return -1;
    if (mz_chip_register(mz_far_chip()) != MZ_OK) return -1;
    if (mz_chip_register(mz_hosted_chip()) != MZ_OK) return -1;
    return mz_chip_register(mz_cpu_chip()) == MZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_in_f32),
        cmocka_unit_test(cpu_in_f32),
        cmocka_unit_test(far_has_the_same_bits),
        cmocka_unit_test(a_chip_that_only_multiplies),
        cmocka_unit_test(staged_copies_outlive_the_call),
        cmocka_unit_test(a_chip_without_backward_serves),
        cmocka_unit_test(a_lone_key_has_no_gradient),
        cmocka_unit_test(the_pad_token_learns_nothing_as_an_input),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
