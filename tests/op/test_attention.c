/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_attention.c - attention by hand, its gradient over packed sequences, and decode
 * that agrees with it through scattered pages. */
#include "tests/near.h"

enum { T = 5, H = 4, G = 2, K = 3, W = 2, SEQUENCES = 3 };

static mz_desc desc_of(bool causal, bool backward)
{
    return (mz_desc){.kind = MZ_OP_ATTENTION,
                     .u.attention = {.dtype = MZ_F64,
                                     .T_max = T,
                                     .sequences_max = SEQUENCES,
                                     .H = H,
                                     .G = G,
                                     .K = K,
                                     .W = W,
                                     .scale = 0.7,
                                     .causal = causal,
                                     .backward = backward}};
}

/* Three tokens in two sequences. Token 1 weighs keys 0 and 1 by exp(0) : exp(ln 3) = 1 : 3. */
static void values_by_hand(void **state)
{
    (void)state;
    const double ln3 = 1.0986122886681098;
    for (int causal = 0; causal < 2; causal++) {
        mz_desc d = desc_of(causal, false);
        d.u.attention.H = d.u.attention.G = d.u.attention.K = d.u.attention.W = 1;
        d.u.attention.scale = 2.0;
        mz_op *op = mzt_bind(mzt_reference(), &d);
        mz_tensor *out = mzt_new(MZ_F64, 3, MZT_DIMS(3, 1, 1));
        const mz_args args = {
            .attention = {.out = out,
                          .q = mzt_values(MZ_F64, 3, MZT_DIMS(3, 1, 1), (double[]){1, 1, 1}),
                          .k =
                              mzt_values(MZ_F64, 3, MZT_DIMS(3, 1, 1), (double[]){0, ln3 / 2.0, 9}),
                          .v = mzt_values(MZ_F64, 3, MZT_DIMS(3, 1, 1), (double[]){4, 8, 100}),
                          .cu = mzt_ints(1, MZT_DIMS(3), (int[]){0, 2, 3})}};
        assert_int_equal(mz_forward(op, &args), MZ_OK);
        assert_true(mzt_is(out, 1e-14, causal ? (double[]){4, 7, 100} : (double[]){7, 7, 100}));
        mz_op_free(op);
    }
}

static mz_tensor *packed(void)
{
    return mzt_ints(1, MZT_DIMS(SEQUENCES + 1), (int[]){0, 3, 3, T});
}

static mz_args whole_call(void)
{
    return (mz_args){.attention = {.out = mzt_new(MZ_F64, 3, MZT_DIMS(T, H, W)),
                                   .q = mzt_random(MZ_F64, 3, MZT_DIMS(T, H, K), 1),
                                   .k = mzt_random(MZ_F64, 3, MZT_DIMS(T, G, K), 2),
                                   .v = mzt_random(MZ_F64, 3, MZT_DIMS(T, G, W), 3),
                                   .cu = packed()}};
}

static void gradients(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        const mz_desc d = desc_of(causal, true);
        mz_args args = whole_call();
        mz_tensor *k = mzt_strided(MZ_F64, 3, MZT_DIMS(T, G, K), MZT_DIMS(20, 7, 1), 1);
        mzt_fill(k, 4);
        args.attention.k = k;
        mzt_gradient(&d, &args);
    }
}

static void refusals(void **state)
{
    (void)state;
    const mz_desc d = desc_of(true, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args args = whole_call(), bad;
    args.attention.saved = mzt_saved(op);
    args.attention.dout = mzt_like(args.attention.out);
    args.attention.dq = mzt_like(args.attention.q);
    args.attention.dk = mzt_like(args.attention.k);
    args.attention.dv = mzt_like(args.attention.v);
    args.k.attention.cu_host = (const int32_t[]){0, 3, 3, T};
    mzt_refusals(op, MZ_FORWARD, &args, "");
    mzt_refusals(op, MZ_BACKWARD, &args, "");
    bad = args, bad.k.attention.cu_host = (const int32_t[]){0, 3, 2, T};
    mzt_refused(op, MZ_FORWARD, &bad);
    bad.k.attention.cu_host = (const int32_t[]){0, 3, 3, T - 1};
    mzt_refused(op, MZ_BACKWARD, &bad);
    bad.k.attention.cu_host = (const int32_t[]){1, 3, 3, T};
    mzt_refused(op, MZ_FORWARD, &bad);
    bad = args, bad.attention.cu = mzt_ints(1, MZT_DIMS(1), (int[]){0}); /* tokens of no sequence */
    mzt_refused(op, MZ_FORWARD, &bad);
    mz_desc wrong = d;
    wrong.u.attention.H = 3, mzt_desc_refused(&wrong);
    wrong = d, wrong.u.attention.scale = (double)NAN, mzt_desc_refused(&wrong);
    wrong = d, wrong.u.attention.W = 0, mzt_desc_refused(&wrong);
    mz_op_free(op);
}

/* Columns of one matrix, told apart though their byte ranges cross: q, k and v of a fused
 * projection, and dq, dk, dv written into another. */
static void fused_columns_do_not_overlap(void **state)
{
    (void)state;
    enum { ALL = H * K + G * K + G * W };
    const mz_desc d = desc_of(true, true);
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_tensor *qkv = mzt_random(MZ_F64, 2, MZT_DIMS(T, ALL), 1), *dqkv = mzt_like(qkv);
    mz_args args = whole_call();
    args.attention.saved = mzt_saved(op);
    args.attention.dout = mzt_random(MZ_F64, 3, MZT_DIMS(T, H, W), 5);
    mz_tensor view[6];
    const int64_t heads[] = {H, G, G}, width[] = {K, K, W}, at[] = {0, H * K, H * K + G * K};
    for (int i = 0; i < 6; i++) {
        const mz_tensor *whole = i < 3 ? qkv : dqkv;
        view[i] = mz_view(whole->buf, whole->offset_bytes + (size_t)at[i % 3] * sizeof(double),
                          MZ_F64, 3, MZT_DIMS(T, heads[i % 3], width[i % 3]));
        view[i].stride[0] = ALL;
    }
    args.attention.q = &view[0], args.attention.k = &view[1], args.attention.v = &view[2];
    args.attention.dq = &view[3], args.attention.dk = &view[4], args.attention.dv = &view[5];
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_backward(op, &args), MZ_OK);
    mz_args bad = args;
    mz_tensor shifted = view[4];
    shifted.offset_bytes -= sizeof(double); /* its first column is dq's last */
    bad.attention.dk = &shifted;
    mzt_refused(op, MZ_BACKWARD, &bad);
    mz_op_free(op);
}

enum { PAGE = 2, PAGES = 7, PER_SEQUENCE = 3 };

static mz_desc decode_desc(void)
{
    return (mz_desc){.kind = MZ_OP_DECODE,
                     .u.decode = {.dtype = MZ_F64,
                                  .T_max = T,
                                  .B_max = SEQUENCES,
                                  .H = H,
                                  .G = G,
                                  .K = K,
                                  .W = W,
                                  .page = PAGE,
                                  .pages_per_seq_max = PER_SEQUENCE,
                                  .scale = 0.7}};
}

/* Two sequences of 3 and 2 tokens in scattered pages; an empty one between them. */
static const int TABLE[] = {5, 2, -1, -1, -1, -1, 0, -1, -1};

static mz_tensor *cache_of(const mz_tensor *dense)
{
    mz_tensor *cache = mzt_new(MZ_F64, 4, MZT_DIMS(PAGES, PAGE, dense->dim[1], dense->dim[2]));
    const int64_t n = dense->dim[1] * dense->dim[2];
    for (int64_t i = 0; i < mz_count(cache); i++) mz_put(cache, i, (double)NAN);
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < n; i++) {
            const int64_t b = t < 3 ? 0 : 2, s = t < 3 ? t : t - 3;
            const int64_t row = TABLE[b * PER_SEQUENCE + s / PAGE] * PAGE + s % PAGE;
            mz_put(cache, row * n + i, mz_at(dense, t * n + i));
        }
    return cache;
}

static mz_args decode_call(const mz_args *whole, const mz_tensor *q, const int *cu)
{
    return (mz_args){.decode = {.out = mzt_new(MZ_F64, 3, MZT_DIMS(q->dim[0], H, W)),
                                .q = q,
                                .k_cache = cache_of(whole->attention.k),
                                .v_cache = cache_of(whole->attention.v),
                                .table = mzt_ints(2, MZT_DIMS(SEQUENCES, PER_SEQUENCE), TABLE),
                                .lens = mzt_ints(1, MZT_DIMS(SEQUENCES), (int[]){3, 0, 2}),
                                .cu = mzt_ints(1, MZT_DIMS(SEQUENCES + 1), cu)}};
}

/* All tokens at once, and only the last ones, get what attention gives them. What stands in the
 * cache beyond a sequence is NaN and must not be read. */
static void decode_is_attention_through_pages(void **state)
{
    (void)state;
    const mz_desc d = decode_desc(), a = desc_of(true, false);
    mz_op *op = mzt_bind(mzt_reference(), &d), *attend = mzt_bind(mzt_reference(), &a);
    mz_args whole = whole_call();
    assert_int_equal(mz_forward(attend, &whole), MZ_OK);
    mz_args all = decode_call(&whole, whole.attention.q, (int[]){0, 3, 3, T});
    assert_int_equal(mz_forward(op, &all), MZ_OK);
    assert_true(mzt_all_near(all.decode.out, whole.attention.out, 1e-14));
    const mz_tensor *q = whole.attention.q;
    mz_tensor *last = mzt_new(MZ_F64, 3, MZT_DIMS(3, H, K)),
              *want = mzt_new(MZ_F64, 3, MZT_DIMS(3, H, W));
    const int64_t tokens[] = {1, 2, 4};
    for (int64_t i = 0; i < 3 * H * K; i++)
        mz_put(last, i, mz_at(q, tokens[i / (H * K)] * H * K + i % (H * K)));
    for (int64_t i = 0; i < 3 * H * W; i++)
        mz_put(want, i, mz_at(whole.attention.out, tokens[i / (H * W)] * H * W + i % (H * W)));
    mz_args some = decode_call(&whole, last, (int[]){0, 2, 2, 3});
    assert_int_equal(mz_forward(op, &some), MZ_OK);
    assert_true(mzt_all_near(some.decode.out, want, 1e-14));
    mzt_refusals(op, MZ_FORWARD, &all, "");
    mz_op_free(op);
    mz_op_free(attend);
}

/* MLA in absorbed form: the values are the first columns of the keys. */
static void values_may_be_columns_of_keys(void **state)
{
    (void)state;
    const mz_desc d = decode_desc();
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args whole = whole_call();
    mz_args call = decode_call(&whole, whole.attention.q, (int[]){0, 3, 3, T}), copied = call;
    const mz_tensor columns = mz_slice(call.decode.k_cache, 3, 0, W);
    mz_tensor *apart = mzt_like(&columns);
    for (int64_t i = 0; i < mz_count(apart); i++) mz_put(apart, i, mz_at(&columns, i));
    call.decode.v_cache = &columns;
    copied.decode.v_cache = apart;
    copied.decode.out = mzt_like(call.decode.out);
    assert_int_equal(mz_forward(op, &call), MZ_OK);
    assert_int_equal(mz_forward(op, &copied), MZ_OK);
    assert_true(mzt_same_bits(call.decode.out, copied.decode.out));
    mz_op_free(op);
}

static void wild_pages_are_a_fault(void **state)
{
    (void)state;
    const mz_desc d = decode_desc();
    mz_op *op = mzt_bind(mzt_reference(), &d);
    mz_args whole = whole_call();
    mz_args call = decode_call(&whole, whole.attention.q, (int[]){0, 3, 3, T});
    mz_args bad = call;
    bad.decode.lens = mzt_ints(1, MZT_DIMS(SEQUENCES), (int[]){2, 0, 2}); /* fewer than are new */
    assert_int_equal(mz_forward(op, &bad), MZ_ECHIP);
    bad = call, bad.decode.lens = mzt_ints(1, MZT_DIMS(SEQUENCES), (int[]){5, 0, 2}); /* page -1 */
    assert_int_equal(mz_forward(op, &bad), MZ_ECHIP);
    bad = call, bad.decode.lens = mzt_ints(1, MZT_DIMS(SEQUENCES), (int[]){7, 0, 2});
    assert_int_equal(mz_forward(op, &bad), MZ_ECHIP);
    mz_op_free(op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(gradients),
        cmocka_unit_test(refusals),
        cmocka_unit_test(fused_columns_do_not_overlap),
        cmocka_unit_test(decode_is_attention_through_pages),
        cmocka_unit_test(values_may_be_columns_of_keys),
        cmocka_unit_test(wild_pages_are_a_fault),
    };
    return MZT_RUN(tests);
}
