/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_mem.c - blocks, counts, the guard, the fault hook, the arena, checked sizes. */
#include "base/mem.h"
#include "base/size.h"

#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

/* A sanitizer's calloc ends the program where ours is to return NULL, unless asked not to. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static int64_t sum_of(const unsigned char *p, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += p[i];
    return sum;
}

static void blocks_are_zeroed_aligned_and_counted(void **state)
{
    (void)state;
    const size_t used = mz_mem_bytes_used();
    const int64_t count = mz_mem_count();
    unsigned char *p[200] = {0};
    size_t total = 0;
    for (int round = 0; round < 2; round++) { /* the second gets dirty memory back */
        for (int i = 0; i < 200; i++) {
            const size_t n = i < 150 ? (size_t)i : (size_t)i * 1000;
            assert_int_equal(mz_mem_new(&p[i], (int64_t)n, 1), MZ_OK);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % 64, 0);
            assert_int_equal(sum_of(p[i], n), 0);
            if (n > 0) memset(p[i], 0xff, n);
            total += round == 0 ? n : 0;
        }
        assert_int_equal(mz_mem_bytes_used(), used + total);
        assert_true(mz_mem_bytes_peak() >= used + total);
        for (int i = 0; i < 200; i++) mz_mem_free(p[i]);
        assert_int_equal(mz_mem_bytes_used(), used);
    }
    assert_true(mz_mem_bytes_peak() >= used + total);
    assert_int_equal(mz_mem_count(), count + 400);
    mz_mem_free(NULL);
}

static void wrong_sizes_are_refused_and_write_nothing(void **state)
{
    (void)state;
    char mark, *p = &mark;
    const size_t used = mz_mem_bytes_used();
    assert_int_equal(mz_mem_new(&p, -1, 1), MZ_EINVAL);
    assert_int_equal(mz_mem_new(&p, 1, 0), MZ_EINVAL);
    assert_int_equal(mz_mem_new(NULL, 1, 1), MZ_EINVAL);
    assert_int_equal(mz_mem_new(&p, INT64_MAX, 8), MZ_ENOMEM); /* the product wraps */
    assert_int_equal(mz_mem_new(&p, INT64_MAX / 8 + 2, 16), MZ_ENOMEM);
    assert_int_equal(mz_mem_new(&p, 1, SIZE_MAX - 8), MZ_ENOMEM); /* the header wraps */
    assert_int_equal(mz_mem_new(&p, (int64_t)1 << 60, 1), MZ_ENOMEM);
    assert_int_equal(mz_mem_grow(NULL, 1, 1), MZ_EINVAL);
    assert_ptr_equal(p, &mark);
    assert_int_equal(mz_mem_bytes_used(), used);
}

static void grow_keeps_zeroes_and_survives_failure(void **state)
{
    (void)state;
    const size_t used = mz_mem_bytes_used();
    unsigned char *p = NULL;
    assert_int_equal(mz_mem_grow(&p, 10, 1), MZ_OK); /* from NULL, like realloc */
    memset(p, 7, 10);
    assert_int_equal(mz_mem_grow(&p, 1000, 3), MZ_OK);
    assert_int_equal((uintptr_t)p % 64, 0);
    assert_int_equal(sum_of(p, 10), 70);
    assert_int_equal(sum_of(p, 3000), 70);
    assert_int_equal(mz_mem_bytes_used(), used + 3000);
    unsigned char *const before = p;
    assert_int_equal(mz_mem_grow(&p, INT64_MAX, 2), MZ_ENOMEM);
    mz_mem_fail_at(1, false);
    assert_int_equal(mz_mem_grow(&p, 4000, 1), MZ_ENOMEM);
    assert_ptr_equal(p, before);
    assert_int_equal(sum_of(p, 3000), 70);
    assert_int_equal(mz_mem_grow(&p, 4, 1), MZ_OK); /* and smaller */
    assert_int_equal(sum_of(p, 4), 28);
    assert_int_equal(mz_mem_bytes_used(), used + 4);
    mz_mem_free(p);
}

static void strdup_copies(void **state)
{
    (void)state;
    char *p = NULL;
    assert_int_equal(mz_mem_strdup(&p, "weights"), MZ_OK);
    assert_string_equal(p, "weights");
    mz_mem_free(p);
    assert_int_equal(mz_mem_strdup(&p, ""), MZ_OK);
    assert_string_equal(p, "");
    mz_mem_free(p);
    assert_int_equal(mz_mem_strdup(&p, NULL), MZ_EINVAL);
}

static mz_err try_one(void)
{
    char *p;
    MZ_TRY(mz_mem_new(&p, 8, 1));
    mz_mem_free(p);
    return MZ_OK;
}

static void hook_fails_the_nth(void **state)
{
    (void)state;
    for (int n = 1; n < 6; n++) {
        mz_mem_fail_at(n, false);
        for (int i = 1; i < 10; i++) {
            assert_int_equal(try_one(), i == n ? MZ_ENOMEM : MZ_OK);
            assert_int_equal(mz_mem_has_failed(), i >= n);
        }
        mz_mem_fail_at(n, true);
        for (int i = 1; i < 10; i++) assert_int_equal(try_one(), i >= n ? MZ_ENOMEM : MZ_OK);
    }
    mz_mem_fail_at(0, false);
    assert_int_equal(try_one(), MZ_OK);
    assert_true(mz_mem_has_failed()); /* still known after it was turned off */
    mz_mem_fail_at(5, false);
    assert_false(mz_mem_has_failed());
    mz_mem_fail_at(1, false);
    assert_int_equal(mz_mem_allow(), MZ_ENOMEM); /* other libraries' allocators */
    const int64_t count = mz_mem_count();
    assert_int_equal(mz_mem_allow(), MZ_OK);
    assert_int_equal(mz_mem_count(), count + 1);
}

static void *allocate_elsewhere(void *arg)
{
    *(mz_err *)arg = try_one();
    return NULL;
}

static void guard_forbids_this_thread_only(void **state)
{
    (void)state;
    mz_err elsewhere = MZ_EIO;
    pthread_t id;
    char *p = NULL, *early;
    assert_int_equal(mz_mem_new(&early, 1, 1), MZ_OK);
    mz_guard_enter();
    mz_guard_enter();
    mz_guard_leave();
#ifdef MZ_STEP_GUARD
    const mz_err inside = MZ_EINVAL;
    assert_true(mz_guard_is_on());
#else
    const mz_err inside = MZ_OK;
    assert_false(mz_guard_is_on());
#endif
    const int64_t count = mz_mem_count();
    assert_int_equal(mz_mem_new(&p, 1, 1), inside);
    mz_mem_free(p);
    p = NULL;
    assert_int_equal(mz_mem_grow(&p, 1, 1), inside);
    mz_mem_free(p);
    assert_int_equal(mz_mem_allow(), inside);
    assert_int_equal(mz_mem_count(), count + (inside == MZ_OK ? 3 : 0));
    mz_mem_free(early); /* giving back is not forbidden */
    assert_int_equal(pthread_create(&id, NULL, allocate_elsewhere, &elsewhere), 0);
    assert_int_equal(pthread_join(id, NULL), 0);
    assert_int_equal(elsewhere, MZ_OK);
    mz_guard_leave();
    assert_false(mz_guard_is_on());
    assert_int_equal(try_one(), MZ_OK);
}

static void *churn(void *arg)
{
    unsigned char *p[8] = {0};
    for (int i = 0; i < 2000; i++) {
        unsigned char **at = &p[i % 8];
        mz_mem_free(*at);
        *at = NULL;
        if (mz_mem_new(at, i % 500 + 1, 1) != MZ_OK) return NULL;
        (*at)[i % 500] = 1;
    }
    for (int i = 0; i < 8; i++) mz_mem_free(p[i]);
    return arg;
}

static void counts_hold_under_threads(void **state)
{
    const size_t used = mz_mem_bytes_used();
    const int64_t count = mz_mem_count();
    pthread_t id[4];
    void *result;
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&id[i], NULL, churn, &state), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(id[i], &result), 0);
        assert_non_null(result);
    }
    assert_int_equal(mz_mem_bytes_used(), used);
    assert_int_equal(mz_mem_count(), count + 8000);
}

#ifdef WITH_ASAN
int __asan_address_is_poisoned(const volatile void *p);

static void sanitizer_sees_one_byte_beside_a_block(void **state)
{
    (void)state;
    for (int n = 0; n < 300; n++) {
        unsigned char *p;
        assert_int_equal(mz_mem_new(&p, n, 1), MZ_OK);
        assert_true(__asan_address_is_poisoned(p - 1));
        assert_true(__asan_address_is_poisoned(p + n));
        for (int i = 0; i < n; i++) assert_false(__asan_address_is_poisoned(p + i));
        assert_int_equal(mz_mem_grow(&p, n + 5, 1), MZ_OK);
        assert_true(__asan_address_is_poisoned(p - 1));
        assert_true(__asan_address_is_poisoned(p + n + 5));
        mz_mem_free(p);
    }
}
#endif

static void arena_deals_out_one_block(void **state)
{
    (void)state;
    const size_t used = mz_mem_bytes_used();
    mz_arena a = {0};
    unsigned char *p = NULL, *q = NULL, *none = NULL;
    assert_int_equal(mz_arena_take(&a, &p, 1), MZ_EINVAL); /* not open */
    assert_int_equal(mz_arena_init(&a, 130), MZ_OK);
    const int64_t count = mz_mem_count();
    assert_int_equal(mz_arena_take(&a, &p, 1), MZ_OK);
    assert_int_equal(mz_arena_take(&a, &q, 65), MZ_OK);
    assert_true((uintptr_t)p % 64 == 0 && q == p + 64);
    assert_int_equal(mz_arena_take(&a, &none, 1), MZ_ENOMEM); /* 192 bytes were 64 + 128 */
    assert_int_equal(mz_arena_take(&a, &none, SIZE_MAX), MZ_ENOMEM);
    assert_null(none);
    assert_int_equal(mz_arena_take(&a, &none, 0), MZ_OK);
    assert_int_equal(sum_of(p, 192), 0);
    assert_int_equal(mz_mem_count(), count); /* dealing out allocates nothing */
    mz_arena_clear(&a);
    mz_arena_clear(&a);
    mz_arena_clear(NULL);
    assert_int_equal(mz_mem_bytes_used(), used);
    assert_int_equal(mz_arena_init(&a, SIZE_MAX), MZ_ENOMEM);
    mz_mem_fail_at(1, false);
    assert_int_equal(mz_arena_init(&a, 1), MZ_ENOMEM);
    assert_null(a.base);
}

static void sizes_notice_what_does_not_fit(void **state)
{
    (void)state;
    size_t s = 77;
    int64_t i = 77;
    assert_false(mz_mul(SIZE_MAX, 2, &s) || mz_mul((size_t)1 << 32, (size_t)1 << 32, &s));
    assert_false(mz_add(SIZE_MAX, 1, &s) || mz_align_up(SIZE_MAX - 62, 64, &s));
    assert_false(mz_i64_to_size(-1, &s) || mz_i64_to_size(INT64_MIN, &s));
    assert_int_equal(s, 77);
    assert_false(mz_mul_i64(INT64_MAX, 2, &i) || mz_mul_i64(INT64_MIN, -1, &i));
    assert_false(mz_add_i64(INT64_MAX, 1, &i) || mz_add_i64(INT64_MIN, -1, &i));
    assert_int_equal(i, 77);
    assert_true(mz_mul(SIZE_MAX / 2, 2, &s) && s == SIZE_MAX - 1);
    assert_true(mz_add(SIZE_MAX - 1, 1, &s) && s == SIZE_MAX);
    assert_true(mz_align_up(SIZE_MAX - 63, 64, &s) && s == SIZE_MAX - 63);
    for (size_t a = 0; a < 200; a++)
        assert_true(mz_align_up(a, 64, &s) && s % 64 == 0 && s >= a && s < a + 64);
    assert_true(mz_mul_i64(-3, 4, &i) && i == -12);
    assert_true(mz_add_i64(-3, 4, &i) && i == 1);
    assert_true(mz_i64_to_size(INT64_MAX, &s) && s == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_aligned_and_counted),
        cmocka_unit_test(wrong_sizes_are_refused_and_write_nothing),
        cmocka_unit_test(grow_keeps_zeroes_and_survives_failure),
        cmocka_unit_test(strdup_copies),
        cmocka_unit_test(hook_fails_the_nth),
        cmocka_unit_test(guard_forbids_this_thread_only),
        cmocka_unit_test(counts_hold_under_threads),
#ifdef WITH_ASAN
        cmocka_unit_test(sanitizer_sees_one_byte_beside_a_block),
#endif
        cmocka_unit_test(arena_deals_out_one_block),
        cmocka_unit_test(sizes_notice_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
