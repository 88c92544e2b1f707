/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_stored.c - products with stored weights on the CPU: what weigh/ does not ask. A
 * row of c has the same bits alone and among others, on any number of threads; an embedding is the
 * reference expansion to the bit; sums over more than one piece of K; refusals of the door. */
#include "base/num.h"
#include "op/op.h"
#include "tensor/quant.h"
#include "tests/op/cpu_rig.h"

#include <math.h>
#include <string.h>

static const mz_dtype STORED[] = {MZ_Q4_0, MZ_Q4_1, MZ_Q5_0, MZ_Q5_1, MZ_Q8_0,
                                  MZ_Q4_K, MZ_Q5_K, MZ_Q6_K, MZ_F16,  MZ_BF16};
enum {
    M = 101,
    N = 70,
    K = 1792,
    /* two pieces and a third of one */ N_STORED = (int)(sizeof STORED / sizeof STORED[0])
};

/* Bytes of a weight [rows,K]: random, with scales (or numbers) that are finite and not large. */
static mz_tensor weight(rig *r, mz_dtype dtype, int64_t rows, uint64_t seed)
{
    const int64_t dim[2] = {rows, K}, block = mz_dtype_block(dtype);
    const int64_t each = (int64_t)mz_dtype_block_bytes(dtype), bytes = rows * K / block * each;
    const mz_tensor raw = rig_tensor(r, MZ_U8, 1, &bytes, (rig_layout){0});
    unsigned char *b = mz_host(&raw);
    const int scale = dtype == MZ_Q6_K ? 208 : 0;
    mz_rng rng;
    mz_rng_init(&rng, seed, 7);
    for (int64_t i = 0; i < bytes; i++) b[i] = (unsigned char)mz_rng_below(&rng, 256);
    for (int64_t i = 0; i < bytes / each; i++) {
        unsigned char *at = b + i * each + scale;
        if (dtype == MZ_BF16) at[1] = (unsigned char)((at[1] & 0x80) | 0x3f);
        if (dtype != MZ_BF16) at[1] &= 0xbf; /* a half below 2 */
        if (dtype != MZ_BF16 && scale == 0 && each > 3) at[3] &= 0xbf;
    }
    return mz_view(raw.buf, raw.offset_bytes, dtype, 2, dim);
}

static double weight_at(const mz_tensor *w, int64_t row, double out[K])
{
    const int64_t block = mz_dtype_block(w->dtype);
    const unsigned char *b = mz_host(w);
    mz_quant quant;
    float x[K];
    double norm2 = 0.0;
    b += (size_t)(row * K / block) * mz_dtype_block_bytes(w->dtype);
    if (mz_dtype_quant(w->dtype, &quant)) {
        assert_int_equal(mz_quant_expand(quant, x, b, K), MZ_OK);
        for (int64_t k = 0; k < K; k++) out[k] = (double)x[k];
    } else {
        for (int64_t k = 0; k < K; k++) out[k] = mz_at(w, row * K + k);
    }
    for (int64_t k = 0; k < K; k++) norm2 += out[k] * out[k];
    return norm2;
}

static mz_desc matmul_desc(mz_dtype dtype, mz_dtype stored)
{
    return (mz_desc){.kind = MZ_OP_MATMUL,
                     .u.matmul = {.dtype = dtype,
                                  .out_dtype = dtype,
                                  .M_max = M,
                                  .N_max = N,
                                  .K_max = K,
                                  .trans_b = true,
                                  .stored = stored}};
}

static mz_tensor multiply(rig *r, const mz_tensor *a, const mz_tensor *w)
{
    const mz_desc desc = matmul_desc(a->dtype, a->dtype == w->dtype ? MZ_F64 : w->dtype);
    const int64_t dim[2] = {a->dim[0], N};
    const mz_tensor c = rig_tensor(r, a->dtype, 2, dim, (rig_layout){.lead = 1, .pad = 3});
    mz_op *op = NULL;
    assert_int_equal(mz_bind(&op, r->q, &desc), MZ_OK);
    rig_spoil_workspace(r);
    const mz_args args = {.matmul = {.c = &c, .a = a, .b = w}};
    if (mz_forward(op, &args) != MZ_OK) fail_msg("%s", mz_err_last()->message);
    mz_op_free(op);
    assert_true(rig_gaps_untouched(&c));
    return c;
}

static void near_the_double_loop(const mz_tensor *c, const mz_tensor *a, const mz_tensor *w)
{
    double row[K];
    for (int64_t n = 0; n < N; n += 23) {
        const double norm2 = weight_at(w, n, row);
        for (int64_t m = 0; m < a->dim[0]; m += 25) {
            double sum = 0.0, a2 = 0.0;
            for (int64_t k = 0; k < K; k++) {
                const double x = mz_at(a, m * K + k);
                float y = (float)row[k];
                if (a->dtype == MZ_BF16) y = mz_bf16_to_f32(mz_f32_to_bf16(y)); /* desc.h */
                sum += x * (double)y;
                a2 += x * x;
            }
            assert_true(rig_near(mz_at(c, m * N + n), sum, a->dtype, K, norm2 * a2));
        }
    }
}

static void rows_do_not_see_each_other(void **state)
{
    (void)state;
    static const int64_t ROWS[] = {1, 2, 5, M};
    const int64_t dim[2] = {M, K};
    for (int isa = 0; isa < RIG_ISA_COUNT; isa++)
        for (int i = 0; i < 2 * N_STORED; i++) { /* the last: both are bf16 */
            const mz_dtype dtype = i < N_STORED ? MZ_F32 : MZ_BF16;
            const mz_dtype stored = STORED[i % N_STORED];
            rig r;
            mz_rng rng;
            if (!rig_open(&r, RIG_ISAS[isa], 1 + i % 3)) continue;
            mz_rng_init(&rng, (uint64_t)i, 3);
            const mz_tensor w = weight(&r, stored, N, (uint64_t)i);
            const mz_tensor a = rig_tensor(&r, dtype, 2, dim, (rig_layout){.pad = i % 2 ? 5 : 0});
            rig_fill(&a, &rng);
            const mz_tensor all = multiply(&r, &a, &w);
            near_the_double_loop(&all, &a, &w);
            for (int k = 0; k < MZ_COUNT(ROWS) - 1; k++) {
                const mz_tensor some = mz_slice(&a, 0, M - ROWS[k], ROWS[k]);
                const mz_tensor got = multiply(&r, &some, &w);
                const mz_tensor want = mz_slice(&all, 0, M - ROWS[k], ROWS[k]);
                if (!rig_same_bits(&got, &want))
                    fail_msg("%s %s: other bits for %lld rows", RIG_ISAS[isa],
                             mz_dtype_name(stored), (long long)ROWS[k]);
            }
            rig_close(&r);
        }
}

/* A scale that is no number makes its row's products none, in bf16 as in f32: also the one whose
 * bits, rounded without a look, would become zero. */
static void no_number_stays_none(void **state)
{
    (void)state;
    enum { BAD_ROW = 3 };
    const int64_t dim[2] = {4, K};
    for (int isa = 0; isa < RIG_ISA_COUNT; isa++)
        for (int i = 0; i < 2 * N_STORED; i++) {
            const mz_dtype stored = STORED[i / 2];
            rig r;
            mz_rng rng;
            if (mz_dtype_block(stored) == 1 || !rig_open(&r, RIG_ISAS[isa], 1)) continue;
            mz_rng_init(&rng, (uint64_t)i, 3);
            const mz_tensor w = weight(&r, stored, N, (uint64_t)i);
            const mz_tensor a = rig_tensor(&r, i % 2 ? MZ_BF16 : MZ_F32, 2, dim, (rig_layout){0});
            rig_fill(&a, &rng);
            const int64_t row_bytes =
                K / mz_dtype_block(stored) * (int64_t)mz_dtype_block_bytes(stored);
            unsigned char *scale =
                (unsigned char *)mz_host(&w) + BAD_ROW * row_bytes + (stored == MZ_Q6_K ? 208 : 0);
            scale[0] = 0xff, scale[1] = 0x7f;
            for (int64_t rows = 1; rows <= 4; rows += 3) {
                const mz_tensor some = mz_slice(&a, 0, 0, rows);
                const mz_tensor c = multiply(&r, &some, &w);
                for (int64_t n = 0; n < N; n++)
                    if (isnan(mz_at(&c, n)) != (n == BAD_ROW))
                        fail_msg("%s %s: %lld rows, column %lld is %g", RIG_ISAS[isa],
                                 mz_dtype_name(stored), (long long)rows, (long long)n,
                                 mz_at(&c, n));
            }
            rig_close(&r);
        }
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    static const int THREADS[] = {1, 2, 3, 8};
    static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16};
    const int64_t dim[2] = {M, K};
    float first[M * N];
    for (int kind = 0; kind < 4; kind++)
        for (int t = 0; t < MZ_COUNT(THREADS); t++) {
            const int64_t rows = kind % 2 ? M : 1;
            rig r;
            mz_rng rng;
            assert_true(rig_open(&r, NULL, THREADS[t]));
            mz_rng_init(&rng, 5, 3);
            const mz_tensor w = weight(&r, MZ_Q4_K, N, 5);
            const mz_tensor whole = rig_tensor(&r, DTYPES[kind / 2], 2, dim, (rig_layout){0});
            rig_fill(&whole, &rng);
            const mz_tensor a = mz_slice(&whole, 0, 0, rows), c = multiply(&r, &a, &w);
            for (int64_t i = 0; i < mz_count(&c); i++) {
                const float x = (float)mz_at(&c, i);
                if (t == 0) first[i] = x;
                assert_memory_equal(&x, &first[i], sizeof x);
            }
            rig_close(&r);
        }
}

static void an_embedding_is_the_expansion(void **state)
{
    (void)state;
    const int64_t T = 5, dim[2] = {T, K};
    static const int64_t IDS[] = {0, N - 1, 17, -1, N};
    for (int isa = 0; isa < RIG_ISA_COUNT; isa++)
        for (int i = 0; i < N_STORED; i++) {
            rig r;
            double row[K];
            mz_op *op = NULL;
            if (!rig_open(&r, RIG_ISAS[isa], 2)) continue;
            const mz_tensor w = weight(&r, STORED[i], N, 11);
            const mz_tensor ids = rig_tensor(&r, MZ_I32, 1, &T, (rig_layout){0});
            const mz_tensor y = rig_tensor(&r, MZ_F32, 2, dim, (rig_layout){0});
            for (int64_t t = 0; t < T; t++) mz_put_int(&ids, t, IDS[t]);
            const mz_desc desc = {
                .kind = MZ_OP_EMBED,
                .u.embed = {.dtype = MZ_F32, .T_max = T, .V = N, .D = K, .stored = STORED[i]}};
            assert_int_equal(mz_bind(&op, r.q, &desc), MZ_OK);
            assert_int_equal(mz_forward(op, &(mz_args){.embed = {.y = &y, .w = &w, .ids = &ids}}),
                             MZ_OK);
            for (int64_t t = 0; t < 3; t++) {
                (void)weight_at(&w, IDS[t], row);
                for (int64_t k = 0; k < K; k++) {
                    const double got = mz_at(&y, t * K + k);
                    if (memcmp(&got, &row[k], sizeof got) != 0)
                        fail_msg("%s %s: element %lld is %.9g, want %.9g", RIG_ISAS[isa],
                                 mz_dtype_name(STORED[i]), (long long)k, got, row[k]);
                }
            }
            assert_true(isnan(mz_at(&y, 3 * K)) && isnan(mz_at(&y, 5 * K - 1)));
            mz_op_free(op);
            rig_close(&r);
        }
}

static void refused(rig *r, mz_desc desc)
{
    mz_op *op = NULL;
    assert_int_equal(mz_bind(&op, r->q, &desc), MZ_EINVAL);
}

static void the_door_refuses(void **state)
{
    (void)state;
    rig r;
    mz_op *op = NULL;
    assert_true(rig_open(&r, NULL, 1));
    mz_desc d = matmul_desc(MZ_F32, MZ_Q4_K);
    d.u.matmul.K_max = 128; /* half a block */
    refused(&r, d);
    d = matmul_desc(MZ_F32, MZ_Q8_0), d.u.matmul.trans_b = false, refused(&r, d);
    d = matmul_desc(MZ_F32, MZ_Q8_0), d.u.matmul.trans_a = true, refused(&r, d);
    d = matmul_desc(MZ_F32, MZ_Q8_0), d.u.matmul.batch_max = 2, refused(&r, d);
    d = matmul_desc(MZ_F32, MZ_Q8_0), d.u.matmul.backward = true, refused(&r, d);
    d = matmul_desc(MZ_F32, MZ_Q8_0), d.u.matmul.packed = true, refused(&r, d);
    refused(&r, matmul_desc(MZ_F32, MZ_F32)); /* that is not another dtype */
    refused(&r, matmul_desc(MZ_F32, MZ_I8));
    refused(&r, matmul_desc(MZ_F32, MZ_F8_E4M3));
    d = matmul_desc(MZ_F64, MZ_Q8_0);
    assert_int_equal(mz_bind(&op, r.q, &d), MZ_ENOTSUP);

    const mz_desc good = matmul_desc(MZ_F32, MZ_Q8_0);
    const int64_t mk[2] = {M, K}, mn[2] = {M, N};
    const mz_tensor a = rig_tensor(&r, MZ_F32, 2, mk, (rig_layout){0});
    const mz_tensor c = rig_tensor(&r, MZ_F32, 2, mn, (rig_layout){0});
    mz_tensor w = weight(&r, MZ_Q8_0, N, 1), wrong = w;
    assert_int_equal(mz_bind(&op, r.q, &good), MZ_OK);
    mz_args args = {.matmul = {.c = &c, .a = &a, .b = &wrong}};
    wrong.dtype = MZ_Q4_0;
    assert_int_equal(mz_forward(op, &args), MZ_EINVAL);
    wrong = w, wrong.stride[0] = K + 16; /* rows that begin inside a block */
    assert_int_equal(mz_forward(op, &args), MZ_EINVAL);
    wrong = w, wrong.offset_bytes += 68; /* over the end and its guard */
    assert_int_equal(mz_forward(op, &args), MZ_EINVAL);
    wrong = w, wrong.stride[0] = K - 32; /* rows that overlap */
    assert_int_equal(mz_forward(op, &args), MZ_EINVAL);
    wrong = w;
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    mz_op_free(op);
    rig_close(&r);
}

/* Another's memory as a buffer: read by operators, written by nothing. */
static void wrapped_memory_is_only_read(void **state)
{
    (void)state;
    rig r;
    mz_buffer *wrap = NULL;
    mz_op *op = NULL;
    assert_true(rig_open(&r, NULL, 1));
    const mz_tensor w = weight(&r, MZ_Q8_0, N, 1);
    const size_t bytes = w.buf->bytes, used = mz_device_bytes_used(r.device);
    assert_int_equal(mz_buffer_wrap(&wrap, r.device, w.buf->host, bytes), MZ_OK);
    assert_int_equal(mz_device_bytes_used(r.device), used);
    mz_tensor v = w;
    v.buf = wrap;
    const int64_t mk[2] = {1, K}, mn[2] = {1, N};
    mz_rng rng;
    mz_rng_init(&rng, 1, 1);
    const mz_tensor a = rig_tensor(&r, MZ_F32, 2, mk, (rig_layout){0});
    rig_fill(&a, &rng);
    const mz_tensor one = multiply(&r, &a, &w), two = multiply(&r, &a, &v);
    assert_true(rig_same_bits(&one, &two));
    const mz_desc good = matmul_desc(MZ_F32, MZ_Q8_0);
    const mz_tensor c = mz_view(wrap, 0, MZ_F32, 2, mn);
    assert_int_equal(mz_bind(&op, r.q, &good), MZ_OK);
    assert_int_equal(mz_forward(op, &(mz_args){.matmul = {.c = &c, .a = &a, .b = &w}}), MZ_EINVAL);
    assert_int_equal(mz_upload(r.q, &c, w.buf->host), MZ_EINVAL);
    assert_int_equal(mz_zero(r.q, &c), MZ_EINVAL);
    assert_int_equal(mz_copy_bytes(r.q, wrap, 0, w.buf, 0, 8), MZ_EINVAL);
    mz_op_free(op);
    mz_buffer_free(wrap);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_do_not_see_each_other),
        cmocka_unit_test(no_number_stays_none),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(an_embedding_is_the_expansion),
        cmocka_unit_test(the_door_refuses),
        cmocka_unit_test(wrapped_memory_is_only_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
