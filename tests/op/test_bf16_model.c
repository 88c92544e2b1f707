/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_bf16_model.c - the kernels for AMX-BF16 and AVX512-BF16 on any machine, over a
 * model of those instructions in plain C; the whole chip runs on them.
 *
 * Model, after the processor vendor's instruction reference: bf16 products enter an f32 sum by
 * fused multiply-add, rounded to nearest even; subnormal inputs and outputs are zero. VDPBF16PS
 * adds the odd elements' product to the sum, then the even elements' TDPBF16PS  keeps one sum of
 * even and one of odd products over the tile's k, adds the two, and adds that to the tile The model
 * counts uses that would fault: no configuration, a shape beyond it, a missing release. */
#define MZ_CPU_ISA model
#include "chips/cpu/gemm_pack.h"
#include "tests/op/cpu_trial.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- the instructions ---- */

static float flushed(float x)
{
    return fpclassify(x) == FP_SUBNORMAL ? copysignf(0.0f, x) : x;
}

static float fused(float sum, uint16_t x, uint16_t y)
{
    const float a = flushed(mz_bf16_to_f32(x)), b = flushed(mz_bf16_to_f32(y));
    return flushed(fmaf(a, b, flushed(sum)));
}

typedef struct lanes16 {
    uint32_t bits[16];
} lanes16;

static inline lanes16 lanes_zero(void)
{
    return (lanes16){{0}};
}

static inline void lanes_store(float *p, lanes16 v)
{
    memcpy(p, v.bits, sizeof v.bits);
}

static inline lanes16 lanes_plus(const float *p, lanes16 v)
{
    for (int i = 0; i < 16; i++) v.bits[i] = mz_f32_bits(p[i] + mz_f32_from_bits(v.bits[i]));
    return v;
}

static inline lanes16 lanes_pair(const uint16_t *pair)
{
    lanes16 v;
    for (int i = 0; i < 16; i++) memcpy(&v.bits[i], pair, sizeof v.bits[i]);
    return v;
}

static inline lanes16 lanes_dot(lanes16 sum, lanes16 pair, const uint16_t *b)
{
    for (int i = 0; i < 16; i++) {
        uint16_t a[2];
        memcpy(a, &pair.bits[i], sizeof a);
        const float odd = fused(mz_f32_from_bits(sum.bits[i]), a[1], b[2 * i + 1]);
        sum.bits[i] = mz_f32_bits(fused(odd, a[0], b[2 * i]));
    }
    return sum;
}

#include "chips/cpu/gemm_pairs.h"

static _Thread_local struct {
    bool is_on;
    uint8_t rows[8];
    uint16_t row_bytes[8];
    unsigned char data[8][16][64];
} tiles;
static atomic_int faults;

static void model_config(const void *config)
{
    const unsigned char *bytes =
        config;                /* palette, start row, 14 reserved, 16 widths, 16 heights */
    if (tiles.is_on) faults++; /* the last kernel kept them: the next thread's switch costs 8 KiB */
    memset(&tiles, 0, sizeof tiles);
    tiles.is_on = bytes[0] == 1 && bytes[1] == 0;
    for (int t = 0; t < 8; t++) {
        memcpy(&tiles.row_bytes[t], bytes + 16 + 2 * t, sizeof tiles.row_bytes[t]);
        tiles.rows[t] = bytes[48 + t];
        if (tiles.row_bytes[t] > 64 || tiles.rows[t] > 16) faults++;
    }
    if (!tiles.is_on) faults++;
}

static bool usable(int t)
{
    if (tiles.is_on && tiles.rows[t] > 0 && tiles.row_bytes[t] > 0) return true;
    faults++;
    return false;
}

static void model_zero(int t)
{
    if (usable(t)) memset(tiles.data[t], 0, sizeof tiles.data[t]);
}

static void model_load(int t, const void *base, size_t pitch)
{
    model_zero(t);
    for (int i = 0; usable(t) && i < tiles.rows[t]; i++)
        memcpy(tiles.data[t][i], (const unsigned char *)base + (size_t)i * pitch,
               tiles.row_bytes[t]);
}

static void model_store(int t, void *base, size_t pitch)
{
    for (int i = 0; usable(t) && i < tiles.rows[t]; i++)
        memcpy((unsigned char *)base + (size_t)i * pitch, tiles.data[t][i], tiles.row_bytes[t]);
}

static void dot_row(float *sum, int columns, const uint16_t *a, int pairs, int b)
{
    for (int n = 0; n < columns; n++) {
        float even = 0.0f, odd = 0.0f;
        for (int k = 0; k < pairs; k++) {
            uint16_t y[2];
            memcpy(y, tiles.data[b][k] + 4 * n, sizeof y);
            even = fused(even, a[2 * k], y[0]);
            odd = fused(odd, a[2 * k + 1], y[1]);
        }
        sum[n] = flushed(flushed(sum[n]) + flushed(even + odd));
    }
}

static void model_dot(int c, int a, int b)
{
    const int pairs = tiles.row_bytes[a] / 4, columns = tiles.row_bytes[c] / 4;
    if (!usable(c) || !usable(a) || !usable(b)) return;
    if (tiles.rows[c] != tiles.rows[a] || pairs != tiles.rows[b] ||
        tiles.row_bytes[c] != tiles.row_bytes[b]) {
        faults++;
        return;
    }
    for (int m = 0; m < tiles.rows[c]; m++) {
        float sum[16];
        uint16_t row[32];
        memcpy(sum, tiles.data[c][m], sizeof sum);
        memcpy(row, tiles.data[a][m], sizeof row);
        dot_row(sum, columns, row, pairs, b);
        memcpy(tiles.data[c][m], sum, sizeof sum);
    }
}

static void model_release(void)
{
    if (!tiles.is_on) faults++;
    tiles.is_on = false;
}

#define TILE_CONFIG(config) model_config(config)
#define TILE_RELEASE() model_release()
#define TILE_ZERO(t) model_zero(t)
#define TILE_LOAD(t, base, pitch) model_load(t, base, pitch)
#define TILE_STORE(t, base, pitch) model_store(t, base, pitch)
#define TILE_DOT(sum, a, b) model_dot(sum, a, b)
#include "chips/cpu/gemm_tiles.h"

/* ---- tests ---- */

static mz_cpu_gemm_table pairs_table(void)
{
    mz_cpu_gemm_table t = mz_cpu_gemm_portable;
    t.bf16 = (mz_cpu_family)PAIRS_FAMILY;
    return t;
}

static mz_cpu_gemm_table tiles_table(void)
{
    mz_cpu_gemm_table t = mz_cpu_gemm_portable;
    t.bf16 = (mz_cpu_family)TILES_FAMILY;
    return t;
}

static void pairs_round_in_order_and_flush(void **state)
{
    (void)state;
    const uint16_t one = 0x3f80, big = 0x4c00 /* 2^25 */, minus = 0xcc00, tiny = 0x0001;
    uint16_t b[32] = {0};
    float y[16];
    lanes16 sum = lanes_zero();
    sum.bits[0] = sum.bits[1] = mz_f32_bits(1.5f);
    b[0] = minus, b[1] = big; /* (1.5 + 2^25) - 2^25: the 1.5 is less than half a step */
    b[2] = big, b[3] = minus; /* (1.5 - 2^25) + 2^25: steps are half as large below 2^25 */
    b[4] = tiny, b[5] = 0;    /* a subnormal times one */
    b[6] = one, b[7] = one;
    const uint16_t ones[2] = {one, one};
    lanes_store(y, lanes_dot(sum, lanes_pair(ones), b));
    assert_true(mz_f32_bits(y[0]) == 0 && mz_f32_bits(y[2]) == 0);
    assert_true(mz_f32_bits(y[1]) == mz_f32_bits(2.0f));
    assert_true(mz_f32_bits(y[3]) == mz_f32_bits(2.0f));
}

/* Random bf16 numbers of every size down to subnormals, now and then a special one. */
static uint16_t any_bf16(mz_rng *rng)
{
    static const uint16_t ODD[] = {0, 0x8000, 1, 0x807f, 0x7f80, 0xff80, 0x7fc1, 0x0080};
    const uint32_t word = mz_rng_u32(rng);
    if (word % 512 == 0) return ODD[word / 512 % MZ_COUNT(ODD)];
    return (uint16_t)(word >> 16 & 0x8fff) | 0x3000;
}

enum { M_MOST = 70, K_MOST = 512 };
static uint16_t a_plain[M_MOST * K_MOST], b_plain[K_MOST * 32];
static uint16_t a_packed[96 * K_MOST], b_packed[K_MOST * 32];

static float by_pairs(const uint16_t *a, int64_t n, int64_t k, int64_t N)
{
    float sum = 0.0f;
    for (int64_t p = 0; p < k; p += 2) {
        if (p + 1 < k) sum = fused(sum, a[p + 1], b_plain[(p + 1) * N + n]);
        sum = fused(sum, a[p], b_plain[p * N + n]);
    }
    return sum;
}

static float by_tiles(const uint16_t *a, int64_t n, int64_t k, int64_t N)
{
    float sum = 0.0f;
    for (int64_t p = 0; p < k; p += 32) {
        float part[2] = {0.0f, 0.0f};
        for (int64_t i = p; i < p + 32 && i < k; i++)
            part[i % 2] = fused(part[i % 2], a[i], b_plain[i * N + n]);
        sum = flushed(sum + flushed(part[0] + part[1]));
    }
    return sum;
}

static bool same(float x, float y)
{
    return mz_f32_bits(x) == mz_f32_bits(y) || (isnan(x) && isnan(y));
}

typedef float scalar_fn(const uint16_t *a, int64_t n, int64_t k, int64_t N);

/* One panel of random size, packed from either layout, against the scalar formula, to the bit. */
static void check_panel(const mz_cpu_family *f, scalar_fn *scalar, uint64_t seed)
{
    mz_rng rng;
    mz_rng_init(&rng, seed, 4);
    const int64_t m = 1 + (int64_t)mz_rng_below(&rng, M_MOST),
                  n = 1 + (int64_t)mz_rng_below(&rng, 32);
    const int64_t k = 1 + (int64_t)mz_rng_below(&rng, seed % 4 ? 70 : (uint64_t)f->kc);
    const mz_cpu_mat a = {a_plain, k, 1, true}, b = {b_plain, n, 1, true};
    float c[M_MOST * 40], old[M_MOST * 40];
    for (int64_t i = 0; i < m * k; i++) a_plain[i] = any_bf16(&rng);
    for (int64_t i = 0; i < k * n; i++) b_plain[i] = any_bf16(&rng);
    for (int64_t i = 0; i < M_MOST * 40; i++) c[i] = old[i] = (float)(i % 7);
    memset(a_packed, 0xff, sizeof a_packed); /* NaNs where nothing is packed */
    memset(b_packed, 0xff, sizeof b_packed);
    f->pack_a(a_packed, a, m, k);
    f->pack_b(b_packed, 0, b, k, n);
    const mz_cpu_block w = {m, n, k, a_packed, b_packed, c, 40, seed % 2 == 0};
    f->panel(&w);
    for (int64_t i = 0; i < M_MOST * 40; i++) {
        const int64_t row = i / 40, col = i % 40;
        float want = old[i];
        if (row < m && col < n) {
            const float sum = scalar(a_plain + row * k, col, k, n);
            want = w.add ? old[i] + sum : sum;
        }
        assert_true(same(c[i], want));
    }
}

static void panels_have_the_bits_of_the_instructions(void **state)
{
    (void)state;
    const mz_cpu_gemm_table pairs = pairs_table(), wide = tiles_table();
    for (uint64_t seed = 0; seed < 40; seed++) {
        check_panel(&pairs.bf16, by_pairs, seed);
        check_panel(&wide.bf16, by_tiles, seed);
    }
    assert_int_equal(faults, 0);
}

/* The transposed layouts must pack to the same bytes. */
static void both_layouts_pack_alike(void **state)
{
    (void)state;
    const mz_cpu_gemm_table tables[2] = {pairs_table(), tiles_table()};
    for (int i = 0; i < 60; i++) {
        static uint16_t turned[M_MOST * K_MOST], again[96 * K_MOST];
        const mz_cpu_family *f = &tables[i % 2].bf16;
        mz_rng rng;
        mz_rng_init(&rng, (uint64_t)i, 5);
        const int64_t m = 1 + (int64_t)mz_rng_below(&rng, 32),
                      k = 1 + (int64_t)mz_rng_below(&rng, 99);
        for (int64_t j = 0; j < m * k; j++) {
            a_plain[j] = any_bf16(&rng);
            turned[j % k * m + j / k] = a_plain[j];
        }
        memset(a_packed, 0, sizeof a_packed), memset(again, 0, sizeof again);
        f->pack_a(a_packed, (mz_cpu_mat){a_plain, k, 1, true}, m, k);
        f->pack_a(again, (mz_cpu_mat){turned, 1, m, true}, m, k);
        assert_memory_equal(a_packed, again, sizeof again);
        memset(a_packed, 0xff, sizeof a_packed), memset(again, 0xff, sizeof again);
        f->pack_b(a_packed, 0, (mz_cpu_mat){a_plain, 1, k, true}, k, m);
        f->pack_b(again, 0, (mz_cpu_mat){turned, m, 1, true}, k, m);
        assert_memory_equal(a_packed, again, sizeof again);
    }
}

/* The chip with the model in place of its bf16 kernels, through the same cases as the others. */
static void check_chip(const mz_cpu_gemm_table *table)
{
    rig_gemm = table;
    for (uint64_t seed = 0; seed < 60; seed++)
        if (trial_random(seed, false).d.dtype == MZ_BF16) trial_check_forward("portable", seed);
    for (uint64_t seed = 1000; seed < 1024; seed++)
        if (trial_random(seed, true).d.dtype == MZ_BF16) trial_check_backward("portable", seed);
    for (uint64_t seed = 0; seed < 16; seed++) trial_check_unpack("portable", seed);
    trial_check_packed("portable", 1);
    trial_check_packed("portable", 3);
    rig_gemm = NULL;
    assert_int_equal(faults, 0);
}

static void chip_on_pairs_agrees_with_a_double_loop(void **state)
{
    (void)state;
    const mz_cpu_gemm_table table = pairs_table();
    check_chip(&table);
}

static void chip_on_tiles_agrees_with_a_double_loop(void **state)
{
    (void)state;
    const mz_cpu_gemm_table table = tiles_table();
    check_chip(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_round_in_order_and_flush),
        cmocka_unit_test(panels_have_the_bits_of_the_instructions),
        cmocka_unit_test(both_layouts_pack_alike),
        cmocka_unit_test(chip_on_pairs_agrees_with_a_double_loop),
        cmocka_unit_test(chip_on_tiles_agrees_with_a_double_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
