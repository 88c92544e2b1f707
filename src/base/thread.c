/* SPDX-License-Identifier: Apache-2.0 */
/* base/thread.c - the pool.
 *
 * Invariants
 *  1  `state` is 2 * (workers inside) + (1 while a job is open). A worker goes in by adding 2 and
 *     touches the job only if it saw the open bit, so the caller may change the job whenever it has
 *     closed it and seen state 0.
 *  2  The caller waits for workers that are inside, not for those asleep: a short loop does not pay
 *     for their waking up.
 *  3  `generation` grows after a job was opened; a worker sleeps only while it equals the last one
 *     it saw, and checks that after it counted itself into `sleepers`. The caller reads `sleepers`
 *     after it raised `generation`. Both are sequentially consistent, so no wake-up is lost. */
#include "base/thread.h"
#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Spinning bridges the gap between two operators, also what a decoded token has the caller do alone
 * (tens of microseconds). Who finds that the processor was taken away while it spun is not alone on
 * the machine, and spins briefly for a while: what it waits for may need that very processor. */
enum {
    SPIN_NS = 50000,
    SPIN_CROWDED_NS = 5000,
    LOST_NS = 200000, /* between two looks at the clock: more than an interrupt takes */
    CROWDED_NS = 1000000000,
    SPIN_BATCH = 16
};

typedef struct {
    mz_pool *pool;
    int index; /* 1.. */
    pthread_t id;
} worker;

struct mz_pool {
    int threads;
    int64_t spin_ns;
    worker *worker; /* [threads - 1] */

    /* the job; see invariant 1 */
    int64_t parts;
    mz_part_fn *fn;
    void *arg;
    bool is_guarded;
    _Alignas(64) atomic_llong next;
    _Alignas(64) atomic_long state;
    _Alignas(64) atomic_ullong generation;
    atomic_llong crowded_until; /* mz_clock_ns */
    atomic_int sleepers;
    atomic_bool stop;

    pthread_mutex_t lock;
    pthread_cond_t wake, done;
};

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void work(mz_pool *pool, int thread)
{
    for (;;) {
        const int64_t part = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (part >= pool->parts) return;
        pool->fn(pool->arg, part, thread);
    }
}

static bool is_news(mz_pool *pool, unsigned long long seen)
{
    return atomic_load(&pool->generation) != seen || atomic_load(&pool->stop);
}

static bool is_empty(mz_pool *pool, unsigned long long seen)
{
    (void)seen;
    return atomic_load(&pool->state) == 0;
}

/* Whether what is waited for came while it spun. */
static bool spin(mz_pool *pool, bool (*is_over)(mz_pool *, unsigned long long),
                 unsigned long long seen)
{
    if (is_over(pool, seen)) return true;
    if (pool->spin_ns == 0) return false;
    const int64_t begun = mz_clock_ns();
    const bool is_crowded =
        begun < atomic_load_explicit(&pool->crowded_until, memory_order_relaxed);
    const int64_t most = is_crowded ? SPIN_CROWDED_NS : pool->spin_ns;
    for (int64_t last = begun;;) {
        bool over = false;
        for (int i = 0; i < SPIN_BATCH && !over; i++) {
            pause_cpu();
            over = is_over(pool, seen);
        }
        const int64_t now = mz_clock_ns();
        if (now - last > LOST_NS)
            atomic_store_explicit(&pool->crowded_until, now + CROWDED_NS, memory_order_relaxed);
        if (over || now - begun >= most) return over;
        last = now;
    }
}

/* Until there is a job after `seen`, or the end. */
static void wait_for_news(mz_pool *pool, unsigned long long seen)
{
    if (spin(pool, is_news, seen)) return;
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!is_news(pool, seen)) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *run_worker(void *arg)
{
    const worker *self = arg;
    mz_pool *pool = self->pool;
    unsigned long long seen = 0;
    while (!atomic_load(&pool->stop)) {
        wait_for_news(pool, seen);
        seen = atomic_load(&pool->generation);
        if ((atomic_fetch_add(&pool->state, 2) & 1) != 0) {
            const bool is_guarded = pool->is_guarded;
            if (is_guarded) mz_guard_enter();
            work(pool, self->index);
            if (is_guarded) mz_guard_leave();
        }
        if (atomic_fetch_sub(&pool->state, 2) != 2) continue;
        pthread_mutex_lock(&pool->lock); /* closed and empty: the caller may be asleep */
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
    return NULL;
}

static void wake_workers(mz_pool *pool, int64_t wanted)
{
    const int asleep = atomic_load(&pool->sleepers);
    if (asleep == 0) return;
    pthread_mutex_lock(&pool->lock);
    if (wanted >= asleep) {
        pthread_cond_broadcast(&pool->wake);
    } else {
        for (int64_t i = 0; i < wanted; i++) pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
}

static void wait_until_empty(mz_pool *pool)
{
    if (spin(pool, is_empty, 0)) return;
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->state) != 0) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void mz_pool_run(mz_pool *pool, int64_t parts, mz_part_fn *fn, void *arg)
{
    if (pool->threads == 1 || parts <= 1) {
        for (int64_t i = 0; i < parts; i++) fn(arg, i, 0);
        return;
    }
    pool->parts = parts;
    pool->fn = fn;
    pool->arg = arg;
    pool->is_guarded = mz_guard_is_on();
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_fetch_or(&pool->state, 1);
    atomic_fetch_add(&pool->generation, 1);
    wake_workers(pool, parts - 1);
    work(pool, 0);
    atomic_fetch_and(&pool->state, ~1L);
    wait_until_empty(pool);
}

static void join(mz_pool *pool, int started)
{
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < started; i++) (void)pthread_join(pool->worker[i].id, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    mz_mem_free(pool->worker);
    mz_mem_free(pool);
}

/* Starts the workers with all signals blocked: Ctrl-C belongs to the thread that asked for work. */
static int start(mz_pool *pool)
{
    sigset_t all, old;
    int i = 0;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    for (; i < pool->threads - 1; i++) {
        worker *w = &pool->worker[i];
        char name[32];
        *w = (worker){.pool = pool, .index = i + 1};
        if (pthread_create(&w->id, NULL, run_worker, w) != 0) break;
        (void)snprintf(name, sizeof name, "mz-%d", i + 1); /* 15 bytes are what Linux keeps */
        (void)pthread_setname_np(w->id, name);
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return i;
}

mz_err mz_pool_new(mz_pool **pool, int threads)
{
    MZ_NEED(pool && threads >= 1, "pool is NULL or %d threads", threads);
    mz_pool *p;
    MZ_TRY(mz_mem_new(&p, 1, sizeof *p));
    const mz_err err = mz_mem_new(&p->worker, threads, sizeof *p->worker);
    if (err != MZ_OK) {
        mz_mem_free(p);
        return err;
    }
    p->threads = threads;
    /* More threads than processors: whoever spins keeps the one it waits for from running. */
    p->spin_ns = threads <= mz_thread_default_count() ? SPIN_NS : 0;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->wake, NULL);
    (void)pthread_cond_init(&p->done, NULL);
    const int started = start(p);
    if (started < threads - 1) {
        join(p, started);
        return MZ_FAIL(MZ_ENOMEM, "the system gave %d of %d threads", started + 1, threads);
    }
    *pool = p;
    return MZ_OK;
}

void mz_pool_free(mz_pool *pool)
{
    if (pool) join(pool, pool->threads - 1);
}

int mz_pool_threads(const mz_pool *pool)
{
    return pool->threads;
}

/* Reads up to two numbers of a control file into value; "max" reads as -1. False if it is absent.
 */
static bool read_numbers(const char *path, long long value[2])
{
    char text[64];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0) return false;
    text[n] = '\0';
    if (strncmp(text, "max", 3) == 0) return value[0] = -1, true;
    return sscanf(text, "%lld %lld", &value[0], &value[1]) >= 1;
}

/* Processors' worth of time that the control group grants; 0 = no limit, or unknown. */
static int64_t quota(void)
{
    long long v2[2] = {-1, 100000}, limit[2] = {-1, 0}, period[2] = {100000, 0};
    if (read_numbers("/sys/fs/cgroup/cpu.max", v2)) {
        limit[0] = v2[0], period[0] = v2[1];
    } else if (!read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", limit) ||
               !read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period)) {
        return 0;
    }
    return limit[0] > 0 && period[0] > 0 ? (limit[0] + period[0] - 1) / period[0] : 0;
}

int mz_thread_default_count(void)
{
    cpu_set_t set[16]; /* 16,384 processors: the kernel refuses a mask shorter than its own */
    int n = 1;
    memset(set, 0, sizeof set);
    if (sched_getaffinity(0, sizeof set, set) == 0) n = CPU_COUNT_S(sizeof set, set);
    const int64_t granted = quota();
    if (granted > 0 && granted < n) n = (int)granted;
    return n < 1 ? 1 : n;
}
