/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/cpu_trial.c - see cpu_trial.h. */
#include "tests/op/cpu_trial.h"

#include "base/mem.h"

static const int THREADS[] = {1, 2, 3, 8};

int64_t trial_dim(mz_rng *rng)
{
    static const int64_t DIMS[] = {0, 1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 32, 33, 64, 97, 130};
    return DIMS[mz_rng_below(rng, MZ_COUNT(DIMS))];
}

static rig_layout any_layout(mz_rng *rng)
{
    rig_layout at = {0};
    if (mz_rng_below(rng, 2)) at.lead = (int64_t)mz_rng_below(rng, 8);
    if (mz_rng_below(rng, 2)) at.pad = (int64_t)mz_rng_below(rng, 9);
    if (mz_rng_below(rng, 2)) at.gap = (int64_t)mz_rng_below(rng, 5);
    return at;
}

static bool coin(mz_rng *rng)
{
    return mz_rng_below(rng, 2) == 0;
}

trial trial_random(uint64_t seed, bool backward)
{
    static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16, MZ_F64};
    mz_rng rng;
    mz_rng_init(&rng, seed, 1);
    trial t = {.seed = seed, .M = trial_dim(&rng), .N = trial_dim(&rng), .K = trial_dim(&rng)};
    const uint64_t long_axis = mz_rng_below(&rng, 8); /* past the blocks of any instruction set */
    if (long_axis == 0) t.M = 200 + (int64_t)mz_rng_below(&rng, 400);
    if (long_axis == 1) t.K = 500 + (int64_t)mz_rng_below(&rng, 700);
    if (long_axis == 2) t.N = 500 + (int64_t)mz_rng_below(&rng, 200);
    if (seed % 12 == 11) t.K = 0; /* an empty sum */
    const bool is_list = !backward && mz_rng_below(&rng, 4) == 0;
    if (is_list) t.B = (int64_t)mz_rng_below(&rng, 4);
    t.d = (mz_matmul_desc){.dtype = DTYPES[mz_rng_below(&rng, MZ_COUNT(DTYPES))],
                           .M_max = t.M + (int64_t)mz_rng_below(&rng, 3) * 100,
                           .N_max = t.N,
                           .K_max = t.K,
                           .batch_max = is_list ? 4 : 0,
                           .trans_a = coin(&rng),
                           .trans_b = coin(&rng),
                           .accumulate = !backward && coin(&rng),
                           .bias = coin(&rng),
                           .backward = backward};
    t.d.out_dtype = coin(&rng) ? t.d.dtype : mz_dtype_acc(t.d.dtype);
    for (int i = 0; i < MZ_COUNT(t.at); i++) t.at[i] = any_layout(&rng);
    t.at[3] = t.at[7] = (rig_layout){.lead = t.at[3].lead};
    if (is_list) t.at[0].repeat = coin(&rng), t.at[1].repeat = coin(&rng);
    return t;
}

static mz_tensor matrix(rig *r, const trial *t, mz_dtype dtype, int64_t rows, int64_t cols, int at)
{
    const int64_t dim[3] = {t->B, rows, cols};
    const int skip = t->d.batch_max ? 0 : 1;
    return rig_tensor(r, dtype, 3 - skip, dim + skip, t->at[at]);
}

void trial_make(rig *r, trial *t)
{
    const mz_matmul_desc *d = &t->d;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    mz_rng rng;
    mz_rng_init(&rng, t->seed, 2);
    t->a = matrix(r, t, d->dtype, d->trans_a ? t->K : t->M, d->trans_a ? t->M : t->K, 0);
    t->b = matrix(r, t, d->dtype, d->trans_b ? t->N : t->K, d->trans_b ? t->K : t->N, 1);
    t->bias = rig_tensor(r, acc, 1, &t->N, t->at[3]);
    rig_fill(&t->a, &rng), rig_fill(&t->b, &rng), rig_fill(&t->bias, &rng);
    if (!d->backward) {
        t->c = matrix(r, t, d->out_dtype, t->M, t->N, 2);
        rig_fill(&t->c, &rng);
        return;
    }
    t->dc = matrix(r, t, d->out_dtype, t->M, t->N, 4);
    t->da = matrix(r, t, d->dtype, t->a.dim[0], t->a.dim[1], 5);
    t->db = matrix(r, t, acc, t->b.dim[0], t->b.dim[1], 6);
    t->dbias = rig_tensor(r, acc, 1, &t->N, t->at[7]);
    rig_fill(&t->dc, &rng), rig_fill(&t->db, &rng), rig_fill(&t->dbias, &rng);
}

static mz_tensor copy_of(rig *r, const mz_tensor *t)
{
    mz_tensor y = rig_tensor(r, t->dtype, t->rank, t->dim, (rig_layout){0});
    for (int64_t i = 0; i < mz_count(t); i++) mz_put(&y, i, mz_at(t, i));
    return y;
}

void trial_run(rig *r, trial *t)
{
    const mz_desc desc = {.kind = MZ_OP_MATMUL, .u.matmul = t->d};
    mz_op *op = rig_bind(r, &desc);
    const mz_args forward = {
        .matmul = {.c = &t->c, .a = &t->a, .b = &t->b, .bias = t->d.bias ? &t->bias : NULL}};
    const mz_args backward = {.matmul = {.a = &t->a,
                                         .b = &t->b,
                                         .dc = &t->dc,
                                         .da = &t->da,
                                         .db = &t->db,
                                         .dbias = t->d.bias ? &t->dbias : NULL}};
    const int64_t allocations = mz_mem_count();
    rig_spoil_workspace(r);
    mz_guard_enter();
    const mz_err err =
        t->d.backward ? mz_op_run(op, MZ_BACKWARD, &backward) : mz_op_run(op, MZ_FORWARD, &forward);
    mz_guard_leave();
    assert_int_equal(err, MZ_OK);
    assert_int_equal(mz_mem_count(), allocations);
    assert_int_equal(mz_queue_sync(r->q), MZ_OK);
    mz_op_free(op);
}

/* A tensor's elements as doubles: the oracle below is a plain loop over these. */
typedef struct grid {
    double *x;
    int64_t rows, cols;
    bool swap; /* read as the transpose */
} grid;

static grid grid_of(const mz_tensor *t, bool swap)
{
    const int64_t n = mz_count(t);
    grid g = {test_malloc((size_t)(n + 1) * sizeof *g.x), t->rank > 1 ? t->dim[t->rank - 2] : 1,
              t->dim[t->rank - 1], swap};
    for (int64_t i = 0; i < n; i++) g.x[i] = mz_at(t, i);
    return g;
}

/* Element (i, j) of matrix m of the list. */
static double at(const grid *g, int64_t m, int64_t i, int64_t j)
{
    return g->x[m * g->rows * g->cols + (g->swap ? j * g->cols + i : i * g->cols + j)];
}

/* Sum of x*y and of the squares of both, one product after the other. */
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

static bool dot_near(double got, const dot *s, mz_dtype out)
{
    return rig_near(got, s->sum, out, s->n, s->xx * s->yy);
}

bool trial_forward_is_right(const trial *t)
{
    const grid a = grid_of(&t->a, t->d.trans_a), b = grid_of(&t->b, t->d.trans_b);
    const grid c = grid_of(&t->c, false);
    const int64_t lists = t->d.batch_max ? t->B : 1;
    bool ok = true;
    for (int64_t i = 0; ok && i < lists * t->M * t->N; i++) {
        const int64_t m = i / (t->M * t->N), row = i / t->N % t->M, col = i % t->N;
        dot s = {0};
        for (int64_t k = 0; k < t->K; k++) dot_add(&s, at(&a, m, row, k), at(&b, m, k, col));
        if (t->d.bias) dot_add(&s, mz_at(&t->bias, col), 1.0);
        if (t->d.accumulate) dot_add(&s, mz_at(&t->old, i), 1.0);
        ok = dot_near(c.x[i], &s, t->d.out_dtype);
    }
    test_free(a.x), test_free(b.x), test_free(c.x);
    return ok;
}

static bool da_is_right(const trial *t)
{
    const grid dc = grid_of(&t->dc, false), b = grid_of(&t->b, t->d.trans_b);
    const grid da = grid_of(&t->da, t->d.trans_a);
    bool ok = true;
    for (int64_t i = 0; ok && i < t->M * t->K; i++) {
        dot s = {0};
        for (int64_t n = 0; n < t->N; n++)
            dot_add(&s, at(&dc, 0, i / t->K, n), at(&b, 0, i % t->K, n));
        ok = dot_near(at(&da, 0, i / t->K, i % t->K), &s, t->da.dtype);
    }
    test_free(dc.x), test_free(b.x), test_free(da.x);
    return ok;
}

/* db holds what was there, old_b, plus the gradient. */
static bool db_is_right(const trial *t, const mz_tensor *old_b)
{
    const grid dc = grid_of(&t->dc, false), a = grid_of(&t->a, t->d.trans_a);
    const grid db = grid_of(&t->db, t->d.trans_b), old = grid_of(old_b, t->d.trans_b);
    bool ok = true;
    for (int64_t i = 0; ok && i < t->N * t->K; i++) {
        const int64_t n = i % t->N, k = i / t->N;
        dot s = {0};
        for (int64_t m = 0; m < t->M; m++) dot_add(&s, at(&a, 0, m, k), at(&dc, 0, m, n));
        dot_add(&s, at(&old, 0, k, n), 1.0);
        ok = dot_near(at(&db, 0, k, n), &s, t->db.dtype);
    }
    test_free(dc.x), test_free(a.x), test_free(db.x), test_free(old.x);
    return ok;
}

static bool dbias_is_right(const trial *t, const mz_tensor *old_bias)
{
    const grid dc = grid_of(&t->dc, false);
    bool ok = true;
    for (int64_t n = 0; ok && t->d.bias && n < t->N; n++) {
        dot s = {0};
        for (int64_t m = 0; m < t->M; m++) dot_add(&s, at(&dc, 0, m, n), 1.0);
        dot_add(&s, mz_at(old_bias, n), 1.0);
        ok = dot_near(mz_at(&t->dbias, n), &s, t->dbias.dtype);
    }
    test_free(dc.x);
    return ok;
}

static void describe(const trial *t, const char *isa)
{
    const mz_matmul_desc *d = &t->d;
    print_error("seed %llu on %s: %s -> %s, M %lld N %lld K %lld B %lld%s%s%s%s\n",
                (unsigned long long)t->seed, isa, mz_dtype_name(d->dtype),
                mz_dtype_name(d->out_dtype), (long long)t->M, (long long)t->N, (long long)t->K,
                (long long)t->B, d->trans_a ? " aT" : "", d->trans_b ? " bT" : "",
                d->accumulate ? " +=" : "", d->bias ? " bias" : "");
}

/* Several numbers of threads must give the bits of the first. */
void trial_check_threads(const char *isa, const trial *first)
{
    const bool back = first->d.backward;
    for (int i = 1; i < MZ_COUNT(THREADS); i++) {
        rig r;
        trial t = *first;
        assert_true(rig_open(&r, isa, THREADS[i]));
        trial_make(&r, &t);
        trial_run(&r, &t);
        const bool same = back ? rig_same_bits(&t.da, &first->da) &&
                                     rig_same_bits(&t.db, &first->db) &&
                                     rig_same_bits(&t.dbias, &first->dbias)
                               : rig_same_bits(&t.c, &first->c);
        if (!same) describe(&t, isa);
        assert_true(same);
        rig_close(&r);
    }
}

void trial_check_forward(const char *isa, uint64_t seed)
{
    rig r;
    trial t = trial_random(seed, false);
    if (!rig_open(&r, isa, THREADS[0])) return;
    trial_make(&r, &t);
    t.old = copy_of(&r, &t.c);
    trial_run(&r, &t);
    const bool ok = trial_forward_is_right(&t) && rig_gaps_untouched(&t.c);
    if (!ok) describe(&t, isa);
    assert_true(ok);
    if (seed % 4 == 0) trial_check_threads(isa, &t);
    rig_close(&r);
}

void trial_check_backward(const char *isa, uint64_t seed)
{
    rig r;
    trial t = trial_random(seed, true);
    if (!rig_open(&r, isa, THREADS[0])) return;
    trial_make(&r, &t);
    const mz_tensor old_b = copy_of(&r, &t.db), old_bias = copy_of(&r, &t.dbias);
    trial_run(&r, &t);
    const bool ok = da_is_right(&t) && db_is_right(&t, &old_b) && dbias_is_right(&t, &old_bias) &&
                    rig_gaps_untouched(&t.da) && rig_gaps_untouched(&t.db) &&
                    rig_gaps_untouched(&t.dbias);
    if (!ok) describe(&t, isa);
    assert_true(ok);
    if (seed % 4 == 0) trial_check_threads(isa, &t);
    rig_close(&r);
}

/* Random bits, so that a NaN's payload counts too. */
static void fill_bits(const mz_tensor *t, mz_rng *rng)
{
    unsigned char *bytes = t->buf->host;
    for (size_t i = 0; i < t->buf->bytes; i++) bytes[i] = (unsigned char)mz_rng_u32(rng);
}

void trial_check_unpack(const char *isa, uint64_t seed)
{
    rig r;
    mz_rng rng;
    mz_rng_init(&rng, seed, 3);
    if (!rig_open(&r, isa, 2)) return;
    const int64_t N = trial_dim(&rng), K = trial_dim(&rng);
    const bool swap = seed % 2 == 0;
    const int64_t dim[2] = {swap ? N : K, swap ? K : N};
    const mz_dtype dtype = seed / 2 % 2 ? MZ_BF16 : MZ_F32;
    const mz_matmul_desc d = {.dtype = dtype, .N_max = N, .K_max = K, .trans_b = swap};
    size_t bytes = 0;
    assert_int_equal(r.device->chip->pack_bytes(r.q, &d, &bytes), MZ_OK);
    assert_true(bytes >= (size_t)(N * K) * mz_dtype_bytes(dtype));
    const int64_t packed_dim = (int64_t)bytes;
    const mz_tensor plain = rig_tensor(&r, dtype, 2, dim, (rig_layout){0});
    const mz_tensor back = rig_tensor(&r, dtype, 2, dim, (rig_layout){.lead = 3, .pad = 5});
    const mz_tensor packed = rig_tensor(&r, MZ_U8, 1, &packed_dim, (rig_layout){.lead = 64});
    fill_bits(&plain, &rng);
    assert_int_equal(r.device->chip->pack(r.q, &d, &packed, &plain), MZ_OK);
    assert_int_equal(r.device->chip->unpack(r.q, &d, &back, &packed), MZ_OK);
    assert_true(rig_gaps_untouched(&packed) && rig_gaps_untouched(&back));
    const unsigned char *x = mz_host(&plain), *y = mz_host(&back);
    const size_t element = mz_dtype_bytes(dtype), row = (size_t)dim[1] * element;
    for (int64_t j = 0; j < dim[0]; j++)
        assert_memory_equal(x + (size_t)j * row, y + (size_t)(j * back.stride[0]) * element, row);
    rig_close(&r);
}

void trial_check_packed(const char *isa, uint64_t seed)
{
    static const int64_t ROWS[] = {1, 7, 300};
    rig r;
    trial t = {
        .M = ROWS[seed % 3], .N = 530 + (int64_t)seed, .K = 600 + (int64_t)seed, .seed = seed};
    t.d = (mz_matmul_desc){.dtype = seed % 2 ? MZ_BF16 : MZ_F32,
                           .out_dtype = MZ_F32,
                           .M_max = 300,
                           .N_max = t.N,
                           .K_max = t.K,
                           .trans_b = seed / 2 % 2 == 0};
    if (!rig_open(&r, isa, 2)) return;
    trial_make(&r, &t);
    trial_run(&r, &t);
    trial u = t;
    size_t bytes = 0;
    assert_int_equal(r.device->chip->pack_bytes(r.q, &t.d, &bytes), MZ_OK);
    u.b = rig_tensor(&r, MZ_U8, 1, (int64_t[]){(int64_t)bytes}, (rig_layout){0});
    u.c = rig_tensor(&r, MZ_F32, 2, t.c.dim, (rig_layout){0});
    assert_int_equal(r.device->chip->pack(r.q, &t.d, &u.b, &t.b), MZ_OK);
    u.d.packed = true;
    trial_run(&r, &u);
    assert_true(rig_same_bits(&t.c, &u.c));
    rig_close(&r);
}
