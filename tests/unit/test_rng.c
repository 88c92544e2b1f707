/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rng.c - published vectors of Philox4x32-10, and the draws made of its words. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Random123's known answers: counter words 0..3, key words 0..1, result. */
static void published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t c[4], k[2], want[4];
    } vector[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        const uint32_t *c = vector[i].c, *k = vector[i].k;
        uint32_t got[4];
        mz_philox((uint64_t)k[1] << 32 | k[0], (uint64_t)c[3] << 32 | c[2],
                  (uint64_t)c[1] << 32 | c[0], got);
        assert_memory_equal(got, vector[i].want, sizeof got);
    }
}

static void cursor_walks_the_stream(void **state)
{
    (void)state;
    mz_rng r, copy;
    mz_rng_init(&r, 5, 9);
    for (uint64_t block = 0; block < 10; block++) {
        uint32_t word[4];
        mz_philox(5, 9, block, word);
        for (int i = 0; i < 4; i++) assert_int_equal(mz_rng_u32(&r), word[i]);
    }
    (void)mz_rng_u32(&r);
    copy = r; /* a cursor is plain data: a checkpoint keeps it */
    for (int i = 0; i < 9; i++) assert_int_equal(mz_rng_u32(&r), mz_rng_u32(&copy));
    mz_rng other;
    mz_rng_init(&r, 5, 9);
    mz_rng_init(&other, 5, 10);
    assert_int_not_equal(mz_rng_u32(&r), mz_rng_u32(&other));
    mz_rng_init(&other, 6, 9);
    mz_rng_init(&r, 5, 9);
    assert_int_not_equal(mz_rng_u32(&r), mz_rng_u32(&other));
}

/* In lanes or one by one, from any call on; and the bits that the first version drew. */
static void normals_are_the_stream(void **state)
{
    (void)state;
    enum { N = 4099 };
    static double one[N], many[N];
    uint64_t hash = 0;
    mz_rng r;
    mz_rng_init(&r, 1, 2);
    for (int i = 0; i < N; i++) one[i] = mz_rng_normal(&r);
    mz_normals(1, 2, 0, many, N);
    assert_memory_equal(one, many, sizeof one);
    for (int64_t first = 1; first < 40; first += 3) {
        mz_normals(1, 2, (uint64_t)first, many, 21);
        assert_memory_equal(one + first, many, 21 * sizeof *one);
    }
    for (int i = 0; i < N; i++) {
        uint64_t bits;
        memcpy(&bits, &one[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    assert_true(hash == 0x3fc216cce23c6a2fu);
}

static void below_is_in_range_and_even(void **state)
{
    (void)state;
    mz_rng r;
    int seen[7] = {0};
    mz_rng_init(&r, 1, 2);
    assert_int_equal(mz_rng_below(&r, 1), 0);
    for (int i = 0; i < 70000; i++) seen[mz_rng_below(&r, 7)]++;
    /* sigma of a count is 93; five of them */
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], 10000 - 465, 10000 + 465);
    /* with n = 3 * 2^62 a plain modulo would give the lower third twice as often */
    const uint64_t n = (uint64_t)3 << 62, third = (uint64_t)1 << 62;
    int low = 0;
    for (int i = 0; i < 30000; i++) {
        const uint64_t x = mz_rng_below(&r, n);
        assert_true(x < n);
        low += x < third;
    }
    assert_in_range(low, 10000 - 410, 10000 + 410);
}

static void uniform_has_53_bits_in_range(void **state)
{
    (void)state;
    mz_rng r, words;
    double sum = 0, odd = 0;
    mz_rng_init(&r, 3, 4);
    words = r;
    for (int i = 0; i < 40000; i++) {
        const double x = mz_rng_uniform(&r);
        const uint64_t high = mz_rng_u32(&words), low = mz_rng_u32(&words);
        assert_true(x >= 0.0 && x < 1.0);
        assert_int_equal((uint64_t)ldexp(x, 53), (high << 32 | low) >> 11);
        sum += x;
        odd += fmod(ldexp(x, 53), 2.0);
    }
    assert_true(fabs(sum / 40000 - 0.5) < 5 * 0.2887 / 200);
    assert_true(fabs(odd / 40000 - 0.5) < 5 * 0.5 / 200); /* the last bit is a bit */
    assert_true(mz_u32_to_unit(UINT32_MAX) < 1.0f);
    assert_int_equal((int)(mz_u32_to_unit(0x80000000u) * 2.0f), 1);
}

/* Against the C library's logarithm and cosine, which may differ in their last bits. */
static void normal_is_box_muller(void **state)
{
    (void)state;
    mz_rng r, uniform;
    double m1 = 0, m2 = 0, m4 = 0;
    enum { N = 200000 };
    mz_rng_init(&r, 11, 12);
    uniform = r;
    for (int i = 0; i < N; i++) {
        const double x = mz_rng_normal(&r);
        const double a = 1.0 - mz_rng_uniform(&uniform), b = mz_rng_uniform(&uniform);
        const double radius = sqrt(-2.0 * log(a));
        assert_true(fabs(x - radius * cos(6.283185307179586477 * b)) <= 4e-15 * (radius + 1e-8));
        m1 += x, m2 += x * x, m4 += x * x * x * x;
    }
    assert_true(fabs(m1 / N) < 5 / sqrt(N));
    assert_true(fabs(m2 / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(m4 / N - 3) < 5 * sqrt(96.0 / N));
}

/* Bits, so that another processor, compiler or library that differs is noticed. */
static void normal_is_these_bits(void **state)
{
    (void)state;
    mz_rng r;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a over the bits */
    mz_rng_init(&r, 1, 0);
    for (int i = 0; i < 10000; i++) {
        const double x = mz_rng_normal(&r);
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        for (int k = 0; k < 64; k += 8) hash = (hash ^ (bits >> k & 0xff)) * 0x100000001b3u;
    }
    assert_int_equal(hash, 0xa80d734c35fb22b8u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(cursor_walks_the_stream),
        cmocka_unit_test(normals_are_the_stream),
        cmocka_unit_test(below_is_in_range_and_even),
        cmocka_unit_test(uniform_has_53_bits_in_range),
        cmocka_unit_test(normal_is_box_muller),
        cmocka_unit_test(normal_is_these_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
