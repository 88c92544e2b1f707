/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_matmul.c - the CPU's products against a plain double loop: every instruction
 * set of the machine, random layouts, any number of threads with equal bits, packed weights. */
#include "tests/op/cpu_trial.h"

#include <math.h>
#include <string.h>

static void forward_agrees_with_a_double_loop(void **state)
{
    (void)state;
    for (int i = 0; i < RIG_ISA_COUNT; i++)
        for (uint64_t seed = 0; seed < 96; seed++) trial_check_forward(RIG_ISAS[i], seed);
}

static void backward_agrees_with_a_double_loop(void **state)
{
    (void)state;
    for (int i = 0; i < RIG_ISA_COUNT; i++)
        for (uint64_t seed = 1000; seed < 1048; seed++) trial_check_backward(RIG_ISAS[i], seed);
}

/* Enough rows and columns for strips of b, several blocks of rows and groups of columns. */
static void a_large_product_has_the_bits_of_its_rows(void **state)
{
    (void)state;
    enum { M = 500, N = 700, K = 530 };
    for (int i = 0; i < RIG_ISA_COUNT * 2; i++) {
        const char *isa = RIG_ISAS[i / 2];
        trial all = {.M = M, .N = N, .K = K, .seed = 5};
        all.d = (mz_matmul_desc){.dtype = i % 2 ? MZ_BF16 : MZ_F32,
                                 .out_dtype = MZ_F32,
                                 .M_max = M,
                                 .N_max = N,
                                 .K_max = K,
                                 .trans_b = true};
        rig r;
        if (!rig_open(&r, isa, 2)) continue;
        trial_make(&r, &all);
        trial_run(&r, &all);
        for (int64_t row = 0; row < M; row += 167) {
            trial one = all;
            const int64_t count = row == 0 ? 1 : row % 7 + 1;
            one.a = mz_slice(&all.a, 0, row, count);
            one.c = rig_tensor(&r, MZ_F32, 2, (int64_t[]){count, N}, (rig_layout){0});
            trial_run(&r, &one);
            const mz_tensor part = mz_slice(&all.c, 0, row, count);
            assert_true(rig_same_bits(&one.c, &part));
        }
        trial_check_threads(isa, &all);
        rig_close(&r);
    }
}

/* b is larger than what is packed at a time: the strips must meet without a seam. */
static void several_strips_have_the_bits_of_few_rows(void **state)
{
    (void)state;
    enum { M = 200, N = 1101, K = 4000, FEW = 5 };
    const int64_t dims[3][2] = {{M, K}, {N, K}, {M, N}}, few[2] = {FEW, N};
    const mz_desc desc = {.kind = MZ_OP_MATMUL,
                          .u.matmul = {.dtype = MZ_F32,
                                       .out_dtype = MZ_F32,
                                       .M_max = M,
                                       .N_max = N,
                                       .K_max = K,
                                       .trans_b = true,
                                       .accumulate = true}};
    rig r;
    assert_true(rig_open(&r, "auto", 2));
    mz_tensor t[3];
    for (int i = 0; i < 3; i++) t[i] = rig_tensor(&r, MZ_F32, 2, dims[i], (rig_layout){0});
    for (int i = 0; i < 2; i++) {
        float *x = mz_host(&t[i]);
        uint32_t word = 1;
        for (int64_t j = 0; j < dims[i][0] * K; j++) {
            word = word * 1664525u + 1013904223u;
            x[j] = (float)(word >> 8) * 0x1p-23f - 1.0f;
        }
    }
    mz_op *op = rig_bind(&r, &desc);
    const mz_args all = {.matmul = {.c = &t[2], .a = &t[0], .b = &t[1]}};
    assert_int_equal(mz_op_run(op, MZ_FORWARD, &all), MZ_OK);
    for (int64_t row = 0; row + FEW <= M; row += 39) {
        const mz_tensor a = mz_slice(&t[0], 0, row, FEW), want = mz_slice(&t[2], 0, row, FEW);
        const mz_tensor c = rig_tensor(&r, MZ_F32, 2, few, (rig_layout){0});
        const mz_args some = {.matmul = {.c = &c, .a = &a, .b = &t[1]}};
        assert_int_equal(mz_op_run(op, MZ_FORWARD, &some), MZ_OK);
        assert_true(rig_same_bits(&c, &want));
    }
    mz_op_free(op);
    rig_close(&r);
}

static void nan_and_infinity_stay_in_their_row_and_column(void **state)
{
    (void)state;
    enum { M = 9, N = 37, K = 41 };
    for (int i = 0; i < RIG_ISA_COUNT * 4; i++) {
        trial t = {.M = M, .N = N, .K = K, .seed = 6};
        t.d = (mz_matmul_desc){.dtype = i % 2 ? MZ_BF16 : MZ_F32,
                               .out_dtype = i % 2 ? MZ_BF16 : MZ_F32,
                               .M_max = M,
                               .N_max = N,
                               .K_max = K,
                               .trans_a = i / 2 % 2 == 0,
                               .trans_b = i / 2 % 2 == 1};
        rig r;
        if (!rig_open(&r, RIG_ISAS[i / 4], 1)) continue;
        trial_make(&r, &t);
        const mz_tensor *a = &t.a, *b = &t.b;
        mz_put(a, t.d.trans_a ? 40 * M + 2 : 2 * K + 40,
               (double)NAN); /* the last k, next to the padding */
        mz_put(a, t.d.trans_a ? 3 * M + 8 : 8 * K + 3, (double)INFINITY);
        mz_put(b, t.d.trans_b ? 36 * K + 40 : 40 * N + 36, (double)-INFINITY);
        mz_put(b, t.d.trans_b ? 5 * K + 3 : 3 * N + 5, 0.0); /* 0 times infinity */
        trial_run(&r, &t);
        assert_true(trial_forward_is_right(&t));
        assert_true(isnan(mz_at(&t.c, 2 * N)) && isnan(mz_at(&t.c, 8 * N + 5)));
        assert_true(isinf(mz_at(&t.c, 36)) && isfinite(mz_at(&t.c, 0)));
        rig_close(&r);
    }
}

static void unpack_restores_every_bit(void **state)
{
    (void)state;
    for (int i = 0; i < RIG_ISA_COUNT; i++)
        for (uint64_t seed = 0; seed < 16; seed++) trial_check_unpack(RIG_ISAS[i], seed);
}

static void packed_weights_give_the_bits_of_plain_ones(void **state)
{
    (void)state;
    for (int i = 0; i < RIG_ISA_COUNT; i++)
        for (uint64_t seed = 0; seed < 8; seed++) trial_check_packed(RIG_ISAS[i], seed);
}

static void what_it_cannot_do_is_refused_with_a_reason(void **state)
{
    (void)state;
    rig r;
    assert_true(rig_open(&r, "auto", 1));
    const mz_matmul_desc plain = {
        .dtype = MZ_F32, .out_dtype = MZ_F32, .M_max = 1, .N_max = 1, .K_max = 1};
    mz_desc bad[3] = {{.kind = MZ_OP_MATMUL, .u.matmul = plain},
                      {.kind = MZ_OP_MATMUL, .u.matmul = plain},
                      {.kind = MZ_OP_EXPERTS, .u.experts = {.dtype = MZ_F16, .E = 1}}};
    bad[0].u.matmul.dtype = bad[0].u.matmul.out_dtype = MZ_F16;
    bad[1].u.matmul.packed = bad[1].u.matmul.backward = true;
    static const char *const WHY[3] = {"not in F16", "only for plain forward", "not in F16"};
    for (int i = 0; i < 3; i++) {
        mz_op *op = NULL;
        assert_int_equal(mz_op_bind(&op, r.q, &bad[i]), MZ_ENOTSUP);
        assert_null(op);
        assert_non_null(strstr(mz_err_last()->message, WHY[i]));
    }
    rig_close(&r);
    mz_device *device = NULL;
    const mz_chip_options wrong = {.isa = "mmx"};
    assert_int_equal(mz_device_open(&device, "cpu", &wrong), MZ_ECONFIG);
    assert_int_equal(mz_device_open(&device, "cpu:fast", NULL), MZ_ENOTSUP);
    assert_null(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_a_double_loop),
        cmocka_unit_test(backward_agrees_with_a_double_loop),
        cmocka_unit_test(a_large_product_has_the_bits_of_its_rows),
        cmocka_unit_test(several_strips_have_the_bits_of_few_rows),
        cmocka_unit_test(nan_and_infinity_stay_in_their_row_and_column),
        cmocka_unit_test(unpack_restores_every_bit),
        cmocka_unit_test(packed_weights_give_the_bits_of_plain_ones),
        cmocka_unit_test(what_it_cannot_do_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
