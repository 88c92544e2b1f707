/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_route.c - the cpu chip's router, balance, permute, unpermute and sample against
 * the oracle: the same ids to the last tie, and no id out of range whatever comes. */
#include "tests/op/twin.h"

/* ---- router ---- */

typedef struct choice {
    int64_t E, k, groups, kept;
} choice;

/* width 0: all logits equal, every choice is a tie. */
static twin router_case(choice c, int i, double width)
{
    enum { T = 37 };
    const bool has_bias = i & 1, forced = i & 2, backward = !(i & 4);
    const mz_dtype acc = i & 8 ? MZ_F64 : MZ_F32;
    const mz_router_score score = i & 16 ? MZ_SCORE_SIGMOID : MZ_SCORE_SOFTMAX;
    const mz_router_group group = i & 32 ? MZ_GROUP_TOP2_SUM : MZ_GROUP_MAX;
    twin w = {
        .desc = {MZ_OP_ROUTER,
                 {.router = {acc, T, c.E, c.k, c.groups, c.kept, score, group, i & 64, forced,
                             backward, 1.5}}},
        .arg = {{"logits", acc, 2, {T, c.E}, .low = -width, .high = width, .skew = 1},
                {"weights", acc, 2, {T, c.k}, .low = KEEP},
                {"ids", MZ_I32, 2, {T, c.k}, .low = 0, .high = (double)c.E - 1},
                {"probs", acc, 2, {T, c.E}, .low = KEEP}},
        .reach = 20,
    };
    int n = 4;
    if (has_bias) w.arg[n++] = (twin_arg){"bias", acc, 1, {c.E}, .low = -0.2, .high = 0.2};
    if (!backward) return w;
    w.arg[n++] = (twin_arg){"dweights", acc, 2, {T, c.k}, .low = -1, .high = 1};
    w.arg[n++] = (twin_arg){"dlogits", acc, 2, {T, c.E}, .low = KEEP};
    if (i & 128) w.arg[n++] = (twin_arg){"dprobs", acc, 2, {T, c.E}, .low = -1, .high = 1};
    return w;
}

static void router(void **state)
{
    (void)state;
    static const choice choices[] = {{1, 1, 1, 1},  {6, 2, 1, 1},  {16, 4, 4, 2},
                                     {64, 6, 8, 3}, {12, 4, 6, 2}, {60, 60, 1, 1}};
    for (int i = 0; i < 256; i++) {
        const choice c = choices[i % MZ_COUNT(choices)];
        if (c.E / c.groups < 2 && c.groups > 1) continue;
        const twin w = router_case(c, i, i % 5 == 0 ? 0.0 : 3.0);
        twin_check(&w);
    }
}

/* k different ids come out of a row of NaN too (the oracle's), and NaN is never chosen before a
 * number. */
static void router_and_nan(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i += 16) {
        twin w = router_case((choice){16, 4, 4, 2}, i | 4, 3.0);
        w.arg[0].odd_first = 5, w.arg[0].odd_rows = 2, w.arg[0].odd = (double)NAN;
        twin_check(&w);
    }
}

static void balance(void **state)
{
    (void)state;
    static const int32_t cu[] = {0, 5, 5, 30, 31}, none[] = {0, 0, 0, 0, 0};
    for (int i = 0; i < 8; i++) {
        const mz_dtype acc = i & 1 ? MZ_F64 : MZ_F32;
        const int64_t T = i & 2 ? 31 : 0, E = 7, k = 3;
        twin w = {
            .desc = {MZ_OP_BALANCE, {.balance = {acc, T, 4, E, k}}},
            .call = {.k.balance = {0.3}},
            .arg = {{"probs", acc, 2, {T, E}, .low = 0, .high = 1},
                    {"ids", MZ_I32, 2, {T, k}, .low = 0, .high = (double)E - 1},
                    {"cu", MZ_I32, 1, {5}, .ids = T ? cu : none},
                    {"loss", acc, 1, {1}, .low = KEEP}},
        };
        if (i & 4) {
            w.arg[4] = (twin_arg){"dprobs", acc, 2, {T, E}, .low = KEEP};
            w.arg[5] = (twin_arg){"counts", MZ_I32, 1, {E}, .low = 0, .high = 9};
        }
        twin_check(&w);
    }
}

/* ---- permute, unpermute ---- */

static void permute(void **state)
{
    (void)state;
    static const int64_t D[] = {1, 7, 64, 300};
    for (int i = 0; i < MZ_COUNT(D) * 4; i++) {
        const mz_dtype dtype = i & 1 ? MZ_BF16 : MZ_F32;
        const int64_t T = i & 2 ? 53 : 1, k = 3, E = 5, d = D[i / 4];
        const twin w = {
            .desc = {MZ_OP_PERMUTE, {.permute = {dtype, T, d, E, k, true}}},
            .arg = {{"x", dtype, 2, {T, d}, .low = -1, .high = 1, .skew = 1},
                    {"ids", MZ_I32, 2, {T, k}, .low = 0, .high = (double)E - 1},
                    {"y", dtype, 2, {T * k, d}, .low = KEEP},
                    {"offsets", MZ_I32, 1, {E + 1}, .low = 0, .high = 1},
                    {"row_of", MZ_I32, 2, {T, k}, .low = 0, .high = 1},
                    {"dy", dtype, 2, {T * k, d}, .low = -1, .high = 1},
                    {"dx", dtype, 2, {T, d}, .low = KEEP}},
            .reach = 4,
        };
        twin_check(&w);
    }
}

static void unpermute(void **state)
{
    (void)state;
    static const int64_t D[] = {1, 7, 64, 300};
    enum { T = 23, k = 4, ROWS = T * k };
    int32_t row_of[ROWS];
    for (int i = 0; i < ROWS; i++) row_of[i] = i * 7 % ROWS; /* 7 and 92 share no factor */
    for (int i = 0; i < MZ_COUNT(D) * 6; i++) {
        const mz_dtype dtype = i & 1 ? MZ_BF16 : MZ_F32;
        const int64_t d = D[i / 6];
        twin w = {
            .desc = {MZ_OP_UNPERMUTE, {.unpermute = {dtype, T, d, k, true}}},
            .arg = {{"z", dtype, 2, {ROWS, d}, .low = -1, .high = 1, .skew = 1},
                    {"row_of", MZ_I32, 2, {T, k}, .ids = row_of},
                    {"weights", MZ_F32, 2, {T, k}, .low = 0, .high = 1},
                    {"y", dtype, 2, {T, d}, .low = -1, .high = 1},
                    {"dy", dtype, 2, {T, d}, .low = -1, .high = 1},
                    {"dz", dtype, 2, {ROWS, d}, .low = KEEP},
                    {"dweights", MZ_F32, 2, {T, k}, .low = KEEP}},
            .reach = 4.0 + 0.4 * pow((double)d, 1.5),
        };
        if (i % 6 / 2 == 1) w.arg[7] = (twin_arg){"base", dtype, 2, {T, d}, .low = -1, .high = 1};
        if (i % 6 / 2 == 2) w.arg[7] = (twin_arg){"base", .same = "y"};
        twin_check(&w);
    }
}

/* ---- sample ---- */

static void sample_case(mz_dtype acc, int64_t V, const mz_args *call, double width, bool history)
{
    enum { B = 5, N = 9 };
    twin w = {
        .desc = {MZ_OP_SAMPLE, {.sample = {acc, B, V, N}}},
        .call = *call,
        .arg = {{"logits", acc, 2, {B, V}, .low = -width, .high = width, .skew = 1},
                {"ids", MZ_I32, 1, {B}, .low = 0, .high = 0}},
    };
    w.arg[0].odd_first = 2, w.arg[0].odd_rows = 1; /* a row of nothing: id -1 */
    w.arg[0].odd = V % 2 ? (double)NAN : -(double)INFINITY;
    if (history) w.arg[2] = (twin_arg){"history", MZ_I32, 2, {B, N}, .low = -1, .high = (double)V};
    twin_check(&w);
}

static void sample(void **state)
{
    (void)state;
    static const double temperatures[] = {0.0, 0.3, 1.0, 5.0}, top_p[] = {1.0, 0.9, 0.5, 1e-9};
    static const int64_t V[] = {1, 2, 33, 400}, top_k[] = {0, 1, 7, 1000};
    for (int i = 0; i < 256; i++) {
        const mz_args call = {.k.sample = {.temperature = temperatures[i % 4],
                                           .top_p = top_p[i / 4 % 4],
                                           .top_k = top_k[i / 16 % 4],
                                           .min_p = i % 11 == 0  ? 1.0
                                                    : i % 3 == 0 ? 0.05
                                                                 : 0.0,
                                           .repeat_penalty = i % 5 ? 1.3 : 1.0,
                                           .seed = 42,
                                           .counter = (uint64_t)i}};
        const double width = i % 7 == 0 ? 0.0 : i % 7 == 1 ? 60.0 : 4.0; /* 0: all are ties */
        sample_case(i % 2 ? MZ_F64 : MZ_F32, V[i / 64], &call, width, i % 4 < 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(router),  cmocka_unit_test(router_and_nan), cmocka_unit_test(balance),
        cmocka_unit_test(permute), cmocka_unit_test(unpermute),      cmocka_unit_test(sample),
    };
    return cmocka_run_group_tests(tests, twin_setup, NULL);
}
