/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_thread.c - every part once, on threads of their own, nobody forgotten asleep. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PARTS_MAX = 1000, THREADS_MAX = 8 };

typedef struct {
    int seen[PARTS_MAX]; /* plain: each part is written by one thread, and read after the run */
    atomic_int busy[THREADS_MAX];
    atomic_int clashes, wrong;
    int64_t parts;
    int threads;
} record;

static void note_part(void *arg, int64_t part, int thread)
{
    record *r = arg;
    if (part < 0 || part >= r->parts || thread < 0 || thread >= r->threads) {
        atomic_fetch_add(&r->wrong, 1);
        return;
    }
    if (atomic_exchange(&r->busy[thread], 1) != 0) atomic_fetch_add(&r->clashes, 1);
    r->seen[part]++;
    atomic_store(&r->busy[thread], 0);
}

static void run_and_check(mz_pool *pool, int64_t parts)
{
    static record r;
    memset(&r, 0, sizeof r);
    r.parts = parts;
    r.threads = mz_pool_threads(pool);
    mz_pool_run(pool, parts, note_part, &r);
    for (int64_t i = 0; i < PARTS_MAX; i++) assert_int_equal(r.seen[i], i < parts);
    assert_int_equal(atomic_load(&r.clashes) + atomic_load(&r.wrong), 0);
}

static mz_pool *new_pool(int threads)
{
    mz_pool *pool = NULL;
    assert_int_equal(mz_pool_new(&pool, threads), MZ_OK);
    assert_int_equal(mz_pool_threads(pool), threads);
    return pool;
}

static void every_part_runs_once(void **state)
{
    (void)state;
    static const int64_t parts[] = {0, 1, 2, 3, 7, 64, PARTS_MAX};
    for (int threads = 1; threads <= THREADS_MAX; threads++) {
        mz_pool *pool = new_pool(threads);
        for (int round = 0; round < 20; round++)
            for (int i = 0; i < MZ_COUNT(parts); i++) run_and_check(pool, parts[i]);
        mz_pool_free(pool);
    }
    mz_pool_free(NULL);
}

/* Parts long enough to run at the same time must have threads of their own. */
static void hold_thread(void *arg, int64_t part, int thread)
{
    record *r = arg;
    if (atomic_exchange(&r->busy[thread], 1) != 0) atomic_fetch_add(&r->clashes, 1);
    mz_clock_sleep_ns(200000);
    atomic_store(&r->busy[thread], 0);
    r->seen[part] = thread;
}

static void parts_at_the_same_time_have_different_threads(void **state)
{
    (void)state;
    static record r;
    mz_pool *pool = new_pool(4);
    int parts_of[4] = {0};
    mz_pool_run(pool, 200, hold_thread, &r);
    for (int i = 0; i < 200; i++) parts_of[r.seen[i]]++;
    for (int i = 0; i < 4; i++) assert_true(parts_of[i] > 0); /* sleepers leave room for all */
    assert_int_equal(atomic_load(&r.clashes), 0);
    mz_pool_free(pool);
}

/* Short jobs back to back, and pauses after which the workers sleep. */
static void sleeping_workers_wake_up(void **state)
{
    (void)state;
    mz_pool *pool = new_pool(4);
    for (int i = 0; i < 3000; i++) {
        run_and_check(pool, i % 9);
        if (i % 300 == 0) mz_clock_sleep_ns(2000000);
        if (i % 50 == 0) mz_clock_sleep_ns(20000);
    }
    mz_pool_free(pool);
    for (int i = 0; i < 50; i++) mz_pool_free(new_pool(1 + i % 5)); /* never used */
}

typedef struct {
    atomic_int others;
    atomic_bool gave_up;
    int first_thread, other_thread;
} uneven;

/* Part 0 ends only after all others were done, so another thread must take them. */
static void wait_for_others(void *arg, int64_t part, int thread)
{
    uneven *u = arg;
    if (part != 0) {
        u->other_thread = thread;
        atomic_fetch_add(&u->others, 1);
        return;
    }
    u->first_thread = thread;
    const int64_t until = mz_clock_ns() + (int64_t)20 * 1000000000;
    while (atomic_load(&u->others) < 9 && mz_clock_ns() < until) mz_clock_sleep_ns(10000);
    atomic_store(&u->gave_up, atomic_load(&u->others) < 9);
}

static void free_threads_take_the_next_part(void **state)
{
    (void)state;
    mz_pool *pool = new_pool(2);
    for (int i = 0; i < 20; i++) {
        uneven u = {.first_thread = -1, .other_thread = -1};
        mz_pool_run(pool, 10, wait_for_others, &u);
        assert_false(atomic_load(&u.gave_up));
        assert_int_equal(u.first_thread + u.other_thread, 1); /* 0 and 1 */
    }
    mz_pool_free(pool);
}

typedef struct {
    pthread_t caller;
    int64_t next;
    bool is_in_order;
} inline_run;

static void expect_caller(void *arg, int64_t part, int thread)
{
    inline_run *r = arg;
    r->is_in_order &= pthread_equal(r->caller, pthread_self()) && thread == 0 && part == r->next++;
}

static void one_part_or_one_thread_runs_on_the_caller(void **state)
{
    (void)state;
    mz_pool *one = new_pool(1), *three = new_pool(3);
    inline_run r = {.caller = pthread_self(), .is_in_order = true};
    mz_pool_run(one, 100, expect_caller, &r);
    assert_true(r.is_in_order && r.next == 100);
    r.next = 0;
    mz_pool_run(three, 1, expect_caller, &r);
    assert_true(r.is_in_order && r.next == 1);
    mz_pool_free(one);
    mz_pool_free(three);
}

static void try_to_allocate(void *arg, int64_t part, int thread)
{
    (void)part, (void)thread;
    char *p;
    const mz_err err = mz_mem_new(&p, 1, 1);
    if (err == MZ_OK) mz_mem_free(p);
    atomic_fetch_add((atomic_int *)arg, err == MZ_OK);
    mz_clock_sleep_ns(100000); /* so that the workers get their share */
}

static void guard_of_the_caller_holds_on_the_workers(void **state)
{
    (void)state;
    mz_pool *pool = new_pool(3);
    atomic_int allocated = 0;
    mz_guard_enter();
    const int want = mz_guard_is_on() ? 0 : 30;
    mz_pool_run(pool, 30, try_to_allocate, &allocated);
    mz_guard_leave();
    assert_int_equal(atomic_load(&allocated), want);
    mz_pool_run(pool, 30, try_to_allocate, &allocated);
    assert_int_equal(atomic_load(&allocated), want + 30);
    mz_pool_free(pool);
}

static void running_allocates_nothing(void **state)
{
    (void)state;
    mz_pool *pool = new_pool(3);
    const int64_t count = mz_mem_count();
    run_and_check(pool, 100);
    assert_int_equal(mz_mem_count(), count);
    mz_pool_free(pool);
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    mz_pool *pool = NULL;
    const size_t used = mz_mem_bytes_used();
    assert_int_equal(mz_pool_new(&pool, 0), MZ_EINVAL);
    assert_int_equal(mz_pool_new(NULL, 1), MZ_EINVAL);
    int n = 1;
    for (;; n++) {
        mz_mem_fail_at(n, false);
        const mz_err err = mz_pool_new(&pool, 3);
        if (err == MZ_OK) break;
        assert_int_equal(err, MZ_ENOMEM);
        assert_null(pool);
        assert_int_equal(mz_mem_bytes_used(), used);
    }
    mz_mem_fail_at(0, false);
    assert_true(n > 1);
    mz_pool_free(pool);
    assert_int_equal(mz_mem_bytes_used(), used);
}

static void read_mask(void *arg, int64_t part, int thread)
{
    (void)part;
    sigset_t mask;
    if (thread == 0) { /* leave the rest to the workers */
        mz_clock_sleep_ns(1000000);
        return;
    }
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (sigismember(&mask, SIGINT) != 1) atomic_fetch_add((atomic_int *)arg, 1);
}

static void workers_leave_signals_to_the_caller(void **state)
{
    (void)state;
    mz_pool *pool = new_pool(3);
    atomic_int open = 0;
    sigset_t mask;
    mz_pool_run(pool, 50, read_mask, &open);
    assert_int_equal(atomic_load(&open), 0);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGINT), 0);
    mz_pool_free(pool);
}

static void default_count_obeys_the_affinity(void **state)
{
    (void)state;
    cpu_set_t all, one;
    const int n = mz_thread_default_count();
    assert_true(n >= 1 && n <= sysconf(_SC_NPROCESSORS_CONF));
    if (sched_getaffinity(0, sizeof all, &all) != 0) skip();
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) skip();
    assert_int_equal(mz_thread_default_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(mz_thread_default_count(), n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_runs_once),
        cmocka_unit_test(parts_at_the_same_time_have_different_threads),
        cmocka_unit_test(sleeping_workers_wake_up),
        cmocka_unit_test(free_threads_take_the_next_part),
        cmocka_unit_test(one_part_or_one_thread_runs_on_the_caller),
        cmocka_unit_test(guard_of_the_caller_holds_on_the_workers),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(workers_leave_signals_to_the_caller),
        cmocka_unit_test(default_count_obeys_the_affinity),
    };
    (void)alarm(240); /* a lost wake-up would wait for ever */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
