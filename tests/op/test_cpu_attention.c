/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_cpu_attention.c - the cpu chip's attention and decode against the oracle, and what
 * the oracle cannot say: a token that may not be seen cannot be felt, not even as NaN. */
#include "tests/op/twin.h"

typedef struct shape {
    int64_t H, G, K, W;
} shape;

/* Sequences end at cu[1..n]. */
static void attention_case(mz_dtype dtype, shape s, int n, const int32_t *cu, bool causal)
{
    const int64_t T = cu[n];
    const twin w = {
        .desc = {MZ_OP_ATTENTION,
                 {.attention = {dtype, T + 1, n + 1, s.H, s.G, s.K, s.W, 1.0 / sqrt((double)s.K),
                                causal, true}}},
        .arg = {{"q", dtype, 3, {T, s.H, s.K}, .low = -2, .high = 2, .pad = 3, .skew = 1},
                {"k", dtype, 3, {T, s.G, s.K}, .low = -2, .high = 2, .pad = 1},
                {"v", dtype, 3, {T, s.G, s.W}, .low = -1, .high = 1, .skew = 2},
                {"cu", MZ_I32, 1, {n + 1}, .ids = cu},
                {"out", dtype, 3, {T, s.H, s.W}, .low = KEEP, .pad = 2},
                {"dout", dtype, 3, {T, s.H, s.W}, .low = -1, .high = 1, .pad = 1},
                {"dq", dtype, 3, {T, s.H, s.K}, .low = KEEP, .pad = 1},
                {"dk", dtype, 3, {T, s.G, s.K}, .low = KEEP, .skew = 3},
                {"dv", dtype, 3, {T, s.G, s.W}, .low = KEEP, .pad = 4}},
        .reach = 4.0 * (double)s.K + sqrt((double)(T * s.H / s.G)),
    };
    twin_check(&w);
}

static void attention(void **state)
{
    (void)state;
    static const int32_t one[] = {0, 1}, short_ones[] = {0, 3, 3, 8, 9, 26}, none[] = {0, 0};
    static const int32_t blocks[] = {0, 64, 65, 161, 290};
    static const shape shapes[] = {{1, 1, 1, 1},   {2, 2, 8, 8},   {4, 2, 7, 5},    {3, 1, 16, 33},
                                   {2, 2, 24, 16}, {6, 3, 64, 64}, {1, 1, 192, 128}};
    for (int i = 0; i < MZ_COUNT(shapes) * 4; i++) {
        const mz_dtype dtype = i % 2 ? MZ_BF16 : MZ_F32;
        attention_case(dtype, shapes[i / 4], 1, one, i % 4 < 2);
        attention_case(dtype, shapes[i / 4], 5, short_ones, i % 4 < 2);
    }
    attention_case(MZ_F32, shapes[1], 1, none, true);
    for (int i = 0; i < 4; i++) {
        attention_case(i % 2 ? MZ_BF16 : MZ_F32, (shape){2, 1, 16, 12}, 4, blocks, i < 2);
        attention_case(i % 2 ? MZ_BF16 : MZ_F32, (shape){1, 1, 9, 20}, 1, (int32_t[]){0, 401},
                       i < 2);
    }
}

/* Of a sequence of one token the weight is 1 and dq and dk are 0: what is left of a difference of
 * large numbers must not be the rounding of `out`. */
static void large_values(void **state)
{
    (void)state;
    static const int32_t cu[] = {0, 1, 2, 3, 20};
    enum { T = 20, H = 2, K = 8, W = 64 };
    for (int i = 0; i < 2; i++) {
        const mz_dtype dtype = i ? MZ_BF16 : MZ_F32;
        const twin w = {
            .desc = {MZ_OP_ATTENTION, {.attention = {dtype, T, 4, H, 1, K, W, 0.3, true, true}}},
            .arg = {{"q", dtype, 3, {T, H, K}, .low = -2, .high = 2},
                    {"k", dtype, 3, {T, 1, K}, .low = -2, .high = 2},
                    {"v", dtype, 3, {T, 1, W}, .low = -30, .high = 30},
                    {"dout", dtype, 3, {T, H, W}, .low = -30, .high = 30},
                    {"cu", MZ_I32, 1, {5}, .ids = cu},
                    {"out", dtype, 3, {T, H, W}, .low = KEEP},
                    {"dq", dtype, 3, {T, H, K}, .low = KEEP},
                    {"dk", dtype, 3, {T, 1, K}, .low = KEEP},
                    {"dv", dtype, 3, {T, 1, W}, .low = KEEP}},
            .reach = 1e6,
        };
        twin_check(&w);
    }
}

/* One argument of one token is all NaN or infinite: exactly what sees it may show it. */
static void odd_tokens(void **state)
{
    (void)state;
    static const char *const names[] = {"q", "k", "v", "dout"};
    static const int32_t cu[] = {0, 45, 52};
    enum { T = 52, H = 2, K = 9, W = 10 };
    for (int i = 0; i < MZ_COUNT(names) * 4; i++) {
        const mz_dtype dtype = i % 2 ? MZ_BF16 : MZ_F32;
        twin w = {
            .desc = {MZ_OP_ATTENTION, {.attention = {dtype, T, 2, H, 1, K, W, 0.3, true, true}}},
            .arg = {{"q", dtype, 3, {T, H, K}, .low = -2, .high = 2},
                    {"k", dtype, 3, {T, 1, K}, .low = -2, .high = 2},
                    {"v", dtype, 3, {T, 1, W}, .low = -1, .high = 1},
                    {"dout", dtype, 3, {T, H, W}, .low = -1, .high = 1},
                    {"cu", MZ_I32, 1, {3}, .ids = cu},
                    {"out", dtype, 3, {T, H, W}, .low = KEEP},
                    {"dq", dtype, 3, {T, H, K}, .low = KEEP},
                    {"dk", dtype, 3, {T, 1, K}, .low = KEEP},
                    {"dv", dtype, 3, {T, 1, W}, .low = KEEP}},
            .reach = 100,
        };
        w.arg[i / 4].odd_first = 21, w.arg[i / 4].odd_rows = 1;
        w.arg[i / 4].odd = i % 4 < 2 ? (double)NAN : (double)INFINITY;
        twin_check(&w);
    }
}

/* A score of -inf is a weight of 0, whether other keys came before or come after, and even where a
 * whole tile of keys has nothing else. */
static void scores_of_minus_infinity(void **state)
{
    (void)state;
    static const int32_t cu[] = {0, 250};
    static const int64_t odd[][2] = {{0, 1}, {120, 1}, {0, 200}, {60, 140}};
    for (int i = 0; i < MZ_COUNT(odd); i++) {
        const twin w = {
            .desc = {MZ_OP_ATTENTION, {.attention = {MZ_F32, 250, 1, 1, 1, 1, 3, 1, true, false}}},
            .arg = {{"q", MZ_F32, 3, {250, 1, 1}, .low = 0.5, .high = 2},
                    {"k",
                     MZ_F32,
                     3,
                     {250, 1, 1},
                     .low = -2,
                     .high = 2,
                     .odd_first = odd[i][0],
                     .odd_rows = odd[i][1],
                     .odd = -(double)INFINITY},
                    {"v", MZ_F32, 3, {250, 1, 3}, .low = -1, .high = 1},
                    {"cu", MZ_I32, 1, {2}, .ids = cu},
                    {"out", MZ_F32, 3, {250, 1, 3}, .low = KEEP}},
            .reach = 20,
        };
        twin_check(&w);
    }
}

/* Sequences of `lens` keys, of which the new tokens are cu[b]..cu[b+1]-1. Pages are dealt out in an
 * odd order. absorbed: keys and values are one, the narrower the first columns of the wider. */
static void decode_case(mz_dtype dtype, shape s, int n, const int32_t *cu, const int32_t *lens,
                        int64_t page, bool absorbed)
{
    enum { COLUMNS = 160, SEQUENCES = 4 };
    static int32_t table[SEQUENCES * COLUMNS];
    int64_t columns = 1, pages = 1;
    for (int b = 0; b < n; b++)
        columns = lens[b] / page + 1 > columns ? lens[b] / page + 1 : columns;
    assert_true(columns <= COLUMNS && n <= SEQUENCES);
    pages = n * columns + 3;
    for (int64_t i = 0; i < n * columns; i++) table[i] = (int32_t)((i * 7 + 2) % pages);
    const int64_t T = cu[n];
    twin w = {
        .desc = {MZ_OP_DECODE,
                 {.decode = {dtype, T + 2, n + 1, s.H, s.G, s.K, s.W, page, columns + 1, 0.3}}},
        .arg = {{"q", dtype, 3, {T, s.H, s.K}, .low = -2, .high = 2, .pad = 1},
                {"k_cache", dtype, 4, {pages, page, s.G, s.K}, .low = -2, .high = 2, .skew = 1},
                {"v_cache", dtype, 4, {pages, page, s.G, s.W}, .low = -1, .high = 1, .pad = 3},
                {"table", MZ_I32, 2, {n, columns}, .ids = table},
                {"lens", MZ_I32, 1, {n}, .ids = lens},
                {"cu", MZ_I32, 1, {n + 1}, .ids = cu},
                {"out", dtype, 3, {T, s.H, s.W}, .low = KEEP, .pad = 2}},
        .reach = 6.0 * (double)s.K,
    };
    if (absorbed && s.W <= s.K)
        w.arg[2] =
            (twin_arg){"v_cache", .rank = 4, .dim = {pages, page, s.G, s.W}, .same = "k_cache"};
    if (absorbed && s.W > s.K) {
        w.arg[1] = w.arg[2];
        w.arg[2] =
            (twin_arg){"k_cache", .rank = 4, .dim = {pages, page, s.G, s.K}, .same = "v_cache"};
    }
    twin_check(&w);
}

static void decode(void **state)
{
    (void)state;
    static const int32_t ones[] = {0, 1, 2, 3, 4}, mixed[] = {0, 3, 3, 4, 74}, single[] = {0, 1};
    static const int32_t lens[] = {1, 17, 130, 97}, more[] = {5, 0, 300, 70}, large[] = {1500};
    for (int i = 0; i < 4; i++) {
        const mz_dtype dtype = i % 2 ? MZ_BF16 : MZ_F32;
        const int64_t page = i < 2 ? 16 : 5;
        decode_case(dtype, (shape){2, 2, 16, 16}, 4, ones, lens, page, false);
        decode_case(dtype, (shape){6, 2, 12, 20}, 4, mixed, more, page == 5 ? 7 : page, false);
        decode_case(dtype, (shape){2, 1, 9, 14}, 4, ones, lens, page, true);
        decode_case(dtype, (shape){20, 1, 24, 17}, 4, mixed, more, page == 5 ? 7 : page, true);
    }
    decode_case(MZ_F32, (shape){3, 1, 8, 9}, 1, single, large, 64, false); /* keys in chunks */
    decode_case(MZ_BF16, (shape){72, 1, 20, 16}, 1, single, large, 48, true);
    decode_case(MZ_F32, (shape){4, 4, 8, 8}, 1, (int32_t[]){0, 40}, large, 64, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention),
        cmocka_unit_test(large_values),
        cmocka_unit_test(odd_tokens),
        cmocka_unit_test(decode),
        cmocka_unit_test(scores_of_minus_infinity),
    };
    return cmocka_run_group_tests(tests, twin_setup, NULL);
}
