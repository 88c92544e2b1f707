/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_experts.c - grouped products of the CPU: each expert's rows against a plain
 * double loop, experts without rows, equal bits on any number of threads, hostile offsets. */
#include "base/mem.h"
#include "tests/op/cpu_rig.h"

#include <string.h>

static const int THREADS[] = {1, 2, 3, 8};

typedef struct trial {
    mz_experts_desc d;
    int64_t T;
    uint64_t seed;
    mz_tensor x, w, y, dy, dx, dw, offsets;
} trial;

static trial any_trial(uint64_t seed)
{
    static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16, MZ_F64};
    static const int64_t DIMS[] = {1, 2, 5, 16, 17, 40, 64, 97}, ROWS[] = {0, 1, 3, 30, 250, 600};
    mz_rng rng;
    mz_rng_init(&rng, seed, 1);
    trial t = {.seed = seed};
    t.T = ROWS[mz_rng_below(&rng, MZ_COUNT(ROWS))];
    t.d = (mz_experts_desc){.dtype = DTYPES[mz_rng_below(&rng, MZ_COUNT(DTYPES))],
                            .T_max = t.T + 7,
                            .E = 1 + (int64_t)mz_rng_below(&rng, 9),
                            .N = DIMS[mz_rng_below(&rng, MZ_COUNT(DIMS))],
                            .K = DIMS[mz_rng_below(&rng, MZ_COUNT(DIMS))],
                            .backward = true};
    return t;
}

static void set_offset(const mz_tensor *offsets, int64_t e, int64_t row)
{
    mz_put_int(offsets, e, row);
}

/* Rising, with runs of equal ones; sometimes one expert has every row. */
static void fill_offsets(const trial *t, mz_rng *rng)
{
    const bool is_one = mz_rng_below(rng, 4) == 0;
    const int64_t owner = (int64_t)mz_rng_below(rng, (uint64_t)t->d.E);
    int64_t row = 0;
    set_offset(&t->offsets, 0, 0);
    for (int64_t e = 0; e < t->d.E; e++) {
        const int64_t left = t->T - row;
        int64_t take = mz_rng_below(rng, 3) ? (int64_t)mz_rng_below(rng, (uint64_t)left + 1) : 0;
        if (is_one) take = e == owner ? left : 0;
        if (e == t->d.E - 1) take = left;
        row += take;
        set_offset(&t->offsets, e + 1, row);
    }
}

static void make_tensors(rig *r, trial *t)
{
    const mz_experts_desc *d = &t->d;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const rig_layout loose = {.lead = 3, .pad = 5, .gap = 2}, dense = {0};
    const int64_t tk[2] = {t->T, d->K}, tn[2] = {t->T, d->N}, enk[3] = {d->E, d->N, d->K};
    const int64_t e1 = d->E + 1;
    mz_rng rng;
    mz_rng_init(&rng, t->seed, 2);
    t->x = rig_tensor(r, d->dtype, 2, tk, loose);
    t->w = rig_tensor(r, d->dtype, 3, enk, dense);
    t->y = rig_tensor(r, d->dtype, 2, tn, loose);
    t->dy = rig_tensor(r, d->dtype, 2, tn, loose);
    t->dx = rig_tensor(r, d->dtype, 2, tk, loose);
    t->dw = rig_tensor(r, acc, 3, enk, dense);
    t->offsets = rig_tensor(r, MZ_I32, 1, &e1, dense);
    fill_offsets(t, &rng);
    rig_fill(&t->x, &rng), rig_fill(&t->w, &rng), rig_fill(&t->dy, &rng), rig_fill(&t->dw, &rng);
}

static mz_err run(rig *r, trial *t)
{
    const mz_desc desc = {.kind = MZ_OP_EXPERTS, .u.experts = t->d};
    mz_op *op = rig_bind(r, &desc);
    const mz_args args = {.experts = {.y = &t->y,
                                      .x = &t->x,
                                      .w = &t->w,
                                      .offsets = &t->offsets,
                                      .dy = &t->dy,
                                      .dx = &t->dx,
                                      .dw = &t->dw}};
    const int64_t allocations = mz_mem_count();
    rig_spoil_workspace(r);
    mz_err err = mz_op_run(op, MZ_FORWARD, &args);
    if (err == MZ_OK) err = mz_op_run(op, MZ_BACKWARD, &args);
    assert_int_equal(mz_mem_count(), allocations);
    mz_op_free(op);
    return err;
}

/* All elements, for the loops below. */
static double *doubles_of(const mz_tensor *t)
{
    double *x = test_malloc((size_t)(mz_count(t) + 1) * sizeof *x);
    for (int64_t i = 0; i < mz_count(t); i++) x[i] = mz_at(t, i);
    return x;
}

typedef struct dot {
    double sum, xx, yy;
    int64_t n;
} dot;

static void dot_add(dot *s, double x, double y)
{
    s->sum += x * y;
    s->xx += x * x;
    s->yy += y * y;
    s->n++;
}

static bool dot_near(const mz_tensor *got, int64_t i, const dot *s)
{
    return rig_near(mz_at(got, i), s->sum, got->dtype, s->n, s->xx * s->yy);
}

static bool rows_are_right(const trial *t, const double *x, const double *w, const double *dy)
{
    const int64_t N = t->d.N, K = t->d.K;
    bool ok = true;
    for (int64_t row = 0, e = 0; ok && row < t->T; row++) {
        while (row >= mz_at_int(&t->offsets, e + 1)) e++;
        const double *we = w + e * N * K;
        for (int64_t n = 0; n < N; n++) {
            dot s = {0};
            for (int64_t k = 0; k < K; k++) dot_add(&s, x[row * K + k], we[n * K + k]);
            ok = ok && dot_near(&t->y, row * N + n, &s);
        }
        for (int64_t k = 0; k < K; k++) {
            dot s = {0};
            for (int64_t n = 0; n < N; n++) dot_add(&s, dy[row * N + n], we[n * K + k]);
            ok = ok && dot_near(&t->dx, row * K + k, &s);
        }
    }
    return ok;
}

static bool dw_is_right(const trial *t, const double *x, const double *dy, const double *old)
{
    const int64_t N = t->d.N, K = t->d.K;
    bool ok = true;
    for (int64_t i = 0; ok && i < t->d.E * N * K; i++) {
        const int64_t e = i / (N * K), n = i / K % N, k = i % K;
        dot s = {0};
        for (int64_t row = mz_at_int(&t->offsets, e); row < mz_at_int(&t->offsets, e + 1); row++)
            dot_add(&s, dy[row * N + n], x[row * K + k]);
        dot_add(&s, old[i], 1.0);
        ok = dot_near(&t->dw, i, &s);
    }
    return ok;
}

static void check_threads(const char *isa, const trial *first)
{
    for (int i = 1; i < MZ_COUNT(THREADS); i++) {
        rig r;
        trial t = *first;
        assert_true(rig_open(&r, isa, THREADS[i]));
        make_tensors(&r, &t);
        assert_int_equal(run(&r, &t), MZ_OK);
        assert_true(rig_same_bits(&t.y, &first->y) && rig_same_bits(&t.dx, &first->dx));
        assert_true(rig_same_bits(&t.dw, &first->dw));
        rig_close(&r);
    }
}

static void check(const char *isa, uint64_t seed)
{
    rig r;
    trial t = any_trial(seed);
    if (!rig_open(&r, isa, THREADS[0])) return;
    make_tensors(&r, &t);
    double *x = doubles_of(&t.x), *w = doubles_of(&t.w), *dy = doubles_of(&t.dy);
    double *old = doubles_of(&t.dw);
    assert_int_equal(run(&r, &t), MZ_OK);
    const bool ok = rows_are_right(&t, x, w, dy) && dw_is_right(&t, x, dy, old) &&
                    rig_gaps_untouched(&t.y) && rig_gaps_untouched(&t.dx) &&
                    rig_gaps_untouched(&t.dw);
    if (!ok)
        print_error("seed %llu on %s: %s T %lld E %lld N %lld K %lld\n", (unsigned long long)seed,
                    isa, mz_dtype_name(t.d.dtype), (long long)t.T, (long long)t.d.E,
                    (long long)t.d.N, (long long)t.d.K);
    assert_true(ok);
    test_free(x), test_free(w), test_free(dy), test_free(old);
    if (seed % 4 == 0) check_threads(isa, &t);
    rig_close(&r);
}

static void every_expert_agrees_with_a_double_loop(void **state)
{
    (void)state;
    for (int i = 0; i < RIG_ISA_COUNT; i++)
        for (uint64_t seed = 0; seed < 48; seed++) check(RIG_ISAS[i], seed);
}

/* Offsets come from memory: a wrong one must not write outside of y. */
static void wrong_offsets_are_refused(void **state)
{
    (void)state;
    rig r;
    trial t = {.T = 4,
               .d = {.dtype = MZ_F32, .T_max = 4, .E = 3, .N = 2, .K = 2, .backward = true}};
    static const int64_t BAD[][4] = {{0, 1, 2, 5}, {0, 3, 2, 4}, {-1, 1, 2, 4}, {0, 9, 9, 4}};
    assert_true(rig_open(&r, "auto", 1));
    make_tensors(&r, &t);
    for (int i = 0; i < MZ_COUNT(BAD); i++) {
        for (int64_t e = 0; e < 4; e++) set_offset(&t.offsets, e, BAD[i][e]);
        assert_int_equal(run(&r, &t), MZ_EINVAL);
        assert_non_null(strstr(mz_err_last()->message, "offsets"));
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expert_agrees_with_a_double_loop),
        cmocka_unit_test(wrong_offsets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
