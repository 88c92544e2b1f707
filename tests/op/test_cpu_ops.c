/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_ops.c - the cpu chip's row operators against the oracle: sizes around vector
 * borders, strides, aliases, both storage types, every instruction set, any number of threads. */
#include "tests/op/twin.h"

static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16};
static const int64_t WIDTHS[] = {1, 2, 7, 8, 31, 64, 97, 1000};

static void rmsnorm_case(mz_dtype dtype, int64_t T, int64_t D, int64_t pad, bool backward)
{
    twin w = {
        .desc = {MZ_OP_RMSNORM, {.rmsnorm = {dtype, T + 3, D, 1e-6, backward}}},
        .arg = {{"x", dtype, 2, {T, D}, .low = -3, .high = 3, .pad = pad, .skew = 1},
                {"y", dtype, 2, {T, D}, .low = KEEP, .pad = 2 * pad},
                {"w", MZ_F32, 1, {D}, .low = 0, .high = 2, .skew = 3}},
        .reach = 3.0 * sqrt((double)D) + 0.6 * pow((double)T, 1.5),
    };
    if (backward) {
        w.arg[3] = (twin_arg){"dy", dtype, 2, {T, D}, .low = -1, .high = 1, .pad = pad};
        w.arg[4] = (twin_arg){"dx", .same = "dy"};
        w.arg[5] = (twin_arg){"dw", MZ_F32, 1, {D}, .low = -1, .high = 1};
    } else {
        w.arg[1] = (twin_arg){"y", .same = "x"};
    }
    twin_check(&w);
}

static void rmsnorm(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(WIDTHS) * MZ_COUNT(DTYPES); i++) {
        const mz_dtype dtype = DTYPES[i % MZ_COUNT(DTYPES)];
        rmsnorm_case(dtype, 5, WIDTHS[i / MZ_COUNT(DTYPES)], i % 3, true);
        rmsnorm_case(dtype, 3, WIDTHS[i / MZ_COUNT(DTYPES)], i % 3, false);
    }
    rmsnorm_case(MZ_F32, 0, 8, 0, true);
    rmsnorm_case(MZ_F32, 301, 33, 1, true); /* several blocks of tokens in dw */
    rmsnorm_case(MZ_BF16, 129, 520, 0, true);
    rmsnorm_case(MZ_F32, 2, 16384, 0, true);
}

static void rope_case(mz_dtype dtype, int64_t T, int64_t H, int64_t K, bool interleaved)
{
    enum { P = 50 };
    twin w = {
        .desc = {MZ_OP_ROPE, {.rope = {dtype, T, H, K, interleaved, true}}},
        .arg = {{"x", dtype, 3, {T, H, K}, .low = -3, .high = 3, .pad = 3},
                {"y", dtype, 3, {T, H, K}, .low = KEEP, .skew = 1},
                {"cos", MZ_F32, 2, {P, K / 2}, .low = -1, .high = 1},
                {"sin", MZ_F32, 2, {P, K / 2}, .low = -1, .high = 1},
                {"pos", MZ_I32, 1, {T}, .low = 0, .high = P - 1},
                {"dy", dtype, 3, {T, H, K}, .low = -1, .high = 1, .pad = 1},
                {"dx", .same = "dy"}},
        .reach = 6,
    };
    if (K == 34) w.arg[1] = (twin_arg){"y", .same = "x"};
    twin_check(&w);
}

static void rope(void **state)
{
    (void)state;
    static const int64_t K[] = {2, 6, 16, 30, 34, 64, 128};
    for (int i = 0; i < MZ_COUNT(K) * 4; i++) rope_case(DTYPES[i % 2], 5, 3, K[i / 4], i % 4 >= 2);
    rope_case(MZ_BF16, 600, 2, 64, true);
    rope_case(MZ_F32, 0, 1, 2, false);
}

static void swiglu_case(mz_dtype dtype, int64_t T, int64_t F, double width)
{
    const twin w = {
        .desc = {MZ_OP_SWIGLU, {.swiglu = {dtype, T, F, true}}},
        .arg = {{"gate", dtype, 2, {T, F}, .low = -width, .high = width, .pad = 1},
                {"up", dtype, 2, {T, F}, .low = -2, .high = 2, .skew = 1},
                {"y", dtype, 2, {T, F}, .low = KEEP, .pad = 5},
                {"dy", dtype, 2, {T, F}, .low = -1, .high = 1},
                {"dgate", .same = "gate"},
                {"dup", .same = "up"}},
        .reach = 4 * width,
    };
    twin_check(&w);
}

static void swiglu(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(WIDTHS) * 2; i++) swiglu_case(DTYPES[i % 2], 3, WIDTHS[i / 2], 6);
    swiglu_case(MZ_F32, 4, 100, 200); /* exp overflows and vanishes */
    swiglu_case(MZ_F32, 50, 2000, 1);
}

static void embed_case(mz_dtype dtype, int64_t T, int64_t V, int64_t D)
{
    const twin w = {
        .desc = {MZ_OP_EMBED,
                 {.embed = {.dtype = dtype, .T_max = T, .V = V, .D = D, .backward = true}}},
        .arg = {{"y", dtype, 2, {T, D}, .low = KEEP},
                {"w", dtype, 2, {V, D}, .low = -1, .high = 1},
                {"ids", MZ_I32, 1, {T}, .low = -1, .high = (double)V}, /* both ends are no row */
                {
                    "dy",
                    dtype,
                    2,
                    {T, D},
                    .low = -1,
                    .high = 1,
                },
                {"dw", MZ_F32, 2, {V, D}, .low = -1, .high = 1}},
        .reach = (double)T,
    };
    twin_check(&w);
}

static void embed(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(WIDTHS) * 2; i++) embed_case(DTYPES[i % 2], 40, 7, WIDTHS[i / 2]);
    embed_case(MZ_F32, 0, 3, 4);
}

static void xent_case(mz_dtype dtype, int64_t T, int64_t V, bool gradient, bool in_place)
{
    int32_t targets[16];
    static const int32_t odd[] = {-100, -1, 1 << 30};
    for (int i = 0; i < 16; i++) targets[i] = i % 5 == 4 ? odd[i / 5] : (int32_t)((i * 7919) % V);
    twin w = {
        .desc = {MZ_OP_XENT, {.xent = {dtype, T, V, gradient}}},
        .arg = {{"logits", dtype, 2, {T, V}, .low = -12, .high = 12, .skew = 1},
                {"targets", MZ_I32, 1, {T}, .ids = targets},
                {"loss", MZ_F32, 1, {T}, .low = KEEP}},
        .units = 0x1p-24,
    };
    if (gradient) {
        w.arg[3] = (twin_arg){"weight", MZ_F32, 1, {T}, .low = 0, .high = 2};
        w.arg[4] = in_place ? (twin_arg){"dlogits", .same = "logits"}
                            : (twin_arg){"dlogits", dtype, 2, {T, V}, .low = KEEP};
    }
    twin_check(&w);
}

static void xent(void **state)
{
    (void)state;
    static const int64_t V[] = {1, 2, 17, 64, 1000, 32003};
    for (int i = 0; i < MZ_COUNT(V) * 4; i++)
        xent_case(DTYPES[i % 2], V[i / 4] > 1000 ? 6 : 15, V[i / 4], i % 4 >= 2, i % 2 == 0);
}

static void adamw_case(int64_t N, mz_dtype copy, int64_t step)
{
    twin w = {
        .desc = {MZ_OP_ADAMW, {.adamw = {MZ_F32, copy, N}}},
        .call = {.k.adamw = {.lr = 1e-2,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .weight_decay = 0.1,
                             .grad_scale = 0.5,
                             .step = step}},
        .arg = {{"p", MZ_F32, 1, {N}, .low = -1, .high = 1},
                {"m", MZ_F32, 1, {N}, .low = -0.1, .high = 0.1, .skew = 1},
                {"v", MZ_F32, 1, {N}, 1e-6, 1e-2, .skew = 2},
                {"g", MZ_F32, 1, {N}, .low = -1, .high = 1, .skew = 3}},
    };
    if (step > 1) w.arg[4] = (twin_arg){"copy", copy, 1, {N}, .low = KEEP, .skew = 1};
    twin_check(&w);
}

static void adamw(void **state)
{
    (void)state;
    static const int64_t N[] = {0, 1, 7, 64, 1001, 70000};
    static const mz_dtype copies[] = {MZ_F32, MZ_BF16, MZ_F16};
    for (int i = 0; i < MZ_COUNT(N) * 3; i++) adamw_case(N[i / 3], copies[i % 3], 1 + i % 4 * 100);
}

static void sums(void **state)
{
    (void)state;
    static const int64_t N[] = {0, 1, 7, 64, 1001, 200003};
    for (int i = 0; i < MZ_COUNT(N) * 2; i++) {
        const mz_dtype dtype = DTYPES[i % 2];
        const int64_t n = N[i / 2];
        const twin sum = {.desc = {MZ_OP_SUMSQ, {.sumsq = {dtype, n}}},
                          .arg = {{"x", dtype, 1, {n}, .low = -2, .high = 2, .skew = 1},
                                  {"out", MZ_F32, 1, {1}, .low = 1, .high = 1}}};
        const twin count = {
            .desc = {MZ_OP_FINITE, {.finite = {dtype, n}}},
            .arg = {{"x", dtype, 1, {n}, .low = -6e38, .high = 6e38}, /* half of them infinite */
                    {"out", MZ_I32, 1, {1}, .low = 5, .high = 5}}};
        twin_check(&sum);
        twin_check(&count);
    }
}

static void cast(void **state)
{
    (void)state;
    static const mz_dtype all[] = {MZ_F32, MZ_BF16, MZ_F16, MZ_F64};
    for (int i = 0; i < 16 * MZ_COUNT(WIDTHS); i++) {
        const mz_dtype from = all[i % 4], to = all[i / 4 % 4];
        const int64_t N = WIDTHS[i / 16];
        const twin w = {
            .desc = {MZ_OP_CAST, {.cast = {from, to, 3, N}}},
            .arg = {{"x", from, 2, {3, N}, .low = -70000, .high = 70000, .pad = 1, .skew = 1},
                    {"y", to, 2, {3, N}, .low = KEEP, .pad = 2}},
            .units = 0x1p-60};
        twin_check(&w);
    }
    const twin row = {.desc = {MZ_OP_CAST, {.cast = {MZ_F32, MZ_BF16, 1, 50000}}},
                      .arg = {{"x", MZ_F32, 2, {1, 50000}, .low = -2, .high = 2},
                              {"y", MZ_BF16, 2, {1, 50000}, .low = KEEP}},
                      .units = 0x1p-60};
    twin_check(&row);
}

/* layout 0: dense; 1: padded rows; 2: a repeats along the last axis, b along the first; 3: y in
 * place of a; 4: all transposed */
static void elementwise_case(mz_dtype dtype, mz_elementwise_fn fn, const int64_t dim[3], int layout)
{
    const int64_t A = dim[0], B = dim[1], C = dim[2];
    const bool two = fn == MZ_EW_ADD || fn == MZ_EW_MUL || fn == MZ_EW_AXPY;
    twin w = {.desc = {MZ_OP_ELEMENTWISE, {.elementwise = {dtype, fn, A * B * C}}},
              .call = {.k.elementwise = {0.75}},
              .arg = {{"y", dtype, 3, {A, B, C}, .low = KEEP, .pad = layout == 1}},
              .reach = 4};
    int n = 1;
    if (fn != MZ_EW_FILL)
        w.arg[n++] = (twin_arg){"a", dtype, 3, {A, B, C}, .low = -2, .high = 2, .pad = layout == 1};
    if (two) w.arg[n++] = (twin_arg){"b", dtype, 3, {A, B, C}, .low = -2, .high = 2, .skew = 1};
    if (layout == 2 && n > 1) {
        w.arg[1].has_stride = w.arg[2].has_stride = true;
        w.arg[1].stride[0] = B, w.arg[1].stride[1] = 1, w.arg[1].stride[2] = 0;
        w.arg[2].stride[0] = 0, w.arg[2].stride[1] = C, w.arg[2].stride[2] = 1;
    }
    if (layout == 3 && n > 1) {
        w.arg[0] = w.arg[1];
        w.arg[1] = (twin_arg){"y", .same = "a"};
    }
    for (int i = 0; layout == 4 && i < n; i++) {
        w.arg[i].has_stride = true;
        w.arg[i].stride[0] = 1, w.arg[i].stride[1] = A * C, w.arg[i].stride[2] = A;
    }
    twin_check(&w);
}

static void elementwise(void **state)
{
    (void)state;
    static const int64_t dims[][3] = {{1, 1, 1}, {2, 3, 5}, {1, 4, 97}, {3, 1, 2050}, {0, 2, 2}};
    for (int i = 0; i < MZ_COUNT(dims) * MZ_EW_COUNT; i++)
        for (int layout = 0; layout < 5; layout++)
            elementwise_case(DTYPES[(i + layout) % 2], (mz_elementwise_fn)(i % MZ_EW_COUNT),
                             dims[i / MZ_EW_COUNT], layout);
}

static void reduce(void **state)
{
    (void)state;
    static const int64_t dims[][3] = {{1, 1, 1}, {2, 9, 5}, {3, 0, 4}, {1, 100, 600}, {4, 3, 300}};
    for (int i = 0; i < MZ_COUNT(dims) * 8; i++) {
        const int64_t A = dims[i / 8][0], B = dims[i / 8][1], C = dims[i / 8][2];
        const mz_dtype from = DTYPES[i % 2], to = DTYPES[i / 2 % 2];
        const twin w = {.desc = {MZ_OP_REDUCE, {.reduce = {from, to, A, B, C, i % 8 >= 4}}},
                        .arg = {{"x", from, 3, {A, B, C}, .low = -1, .high = 1, .pad = 1},
                                {"y", to, 2, {A, C}, .low = -1, .high = 1, .skew = 1}},
                        .reach = (double)B};
        twin_check(&w);
    }
}

static void rows(void **state)
{
    (void)state;
    static const int32_t idx[] = {3, -1, 0, 6, 2, -1, 5};
    for (int i = 0; i < MZ_COUNT(WIDTHS) * 4; i++) {
        const mz_dtype dtype = DTYPES[i % 2];
        const bool scatter = i % 4 >= 2;
        const int64_t D = WIDTHS[i / 4];
        const twin w = {.desc = {MZ_OP_ROWS, {.rows = {dtype, 7, D, scatter, 0}}},
                        .arg = {{"y", dtype, 2, {7, D}, .low = -1, .high = 1, .pad = 1},
                                {"x", dtype, 2, {7, D}, .low = -1, .high = 1, .pad = 2},
                                {"idx", MZ_I32, 1, {7}, .ids = idx}},
                        .units = 0x1p-60};
        twin_check(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm), cmocka_unit_test(rope), cmocka_unit_test(swiglu),
        cmocka_unit_test(embed),   cmocka_unit_test(xent), cmocka_unit_test(adamw),
        cmocka_unit_test(sums),    cmocka_unit_test(cast), cmocka_unit_test(elementwise),
        cmocka_unit_test(reduce),  cmocka_unit_test(rows),
    };
    return cmocka_run_group_tests(tests, twin_setup, NULL);
}
