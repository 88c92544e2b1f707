/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/queue.c - a ring of commands and the thread that works it off; faults wait for a sync.
 *
 * Floor:  chips.   Time: enqueueing waits only while the ring is full. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "chips/far/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void mz_far_fault(mz_far_queue *q, mz_err code, const char *fmt, ...)
{
    pthread_mutex_lock(&q->lock);
    if (q->fault == MZ_OK) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(q->fault_text, sizeof q->fault_text, fmt, ap);
        va_end(ap);
        q->fault = code;
    }
    pthread_mutex_unlock(&q->lock);
}

/* Up to 0.3 ms, the same for the same seed, queue and command. */
static void delay(const mz_far_queue *q, int64_t number)
{
    if (!q->far->profile.slow) return;
    uint32_t word[4];
    mz_philox(q->far->profile.seed, (uint64_t)q->index, (uint64_t)number, word);
    mz_clock_sleep_ns(word[0] % 300000);
}

/* Whether the worker may begin the next command. Queue locked. */
static bool may_begin(const mz_far_queue *q)
{
    return q->taken < q->put && (!q->far->profile.lazy || q->waiting || q->quit);
}

static void *work(void *arg)
{
    mz_far_queue *q = arg;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!may_begin(q) && !(q->quit && q->taken == q->put))
            pthread_cond_wait(&q->filled, &q->lock);
        if (q->taken == q->put) break;
        mz_far_command *c = &q->ring[q->taken++ % FAR_RING];
        pthread_mutex_unlock(&q->lock);
        delay(q, c->number);
        mz_far_execute(q, c);
        pthread_mutex_lock(&q->lock);
        q->done++;
        pthread_cond_broadcast(&q->emptied);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Until at most `left` commands are unfinished. */
static void wait_until(mz_far_queue *q, int64_t left)
{
    pthread_mutex_lock(&q->lock);
    q->waiting++;
    pthread_cond_broadcast(&q->filled);
    while (q->put - q->done > left) pthread_cond_wait(&q->emptied, &q->lock);
    q->waiting--;
    pthread_mutex_unlock(&q->lock);
}

void mz_far_wait_empty(mz_far_queue *q)
{
    wait_until(q, 0);
}

mz_far_command *mz_far_reserve(mz_far_queue *q)
{
    wait_until(q, FAR_RING - 1);
    mz_far_command *c = &q->ring[q->put % FAR_RING]; /* only this thread moves put */
    memset(c, 0, sizeof *c);
    return c;
}

void mz_far_commit(mz_far_queue *q, mz_far_command *c)
{
    pthread_mutex_lock(&q->lock);
    c->number = ++q->put;
    if (c->op) c->op->last = c->number;
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

static void free_queue(mz_far_queue *q)
{
    pthread_cond_destroy(&q->emptied);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
    mz_mem_free(q->ring);
    mz_mem_free(q->use);
    mz_mem_free(q);
}

/* Gives the queue its bit. */
static mz_err enlist(mz_far_queue *q)
{
    mz_far_device *far = q->far;
    pthread_mutex_lock(&far->lock);
    q->index = 0;
    while (q->index < FAR_QUEUES && far->queue[q->index]) q->index++;
    if (q->index < FAR_QUEUES) far->queue[q->index] = q;
    pthread_mutex_unlock(&far->lock);
    return q->index < FAR_QUEUES
               ? MZ_OK
               : MZ_FAIL(MZ_ENOTSUP, "far has at most %d queues", (int)FAR_QUEUES);
}

static void delist(mz_far_queue *q)
{
    pthread_mutex_lock(&q->far->lock);
    q->far->queue[q->index] = NULL;
    pthread_mutex_unlock(&q->far->lock);
}

mz_err mz_far_queue_open(mz_queue *outer)
{
    mz_far_queue *q = NULL;
    mz_err err;
    MZ_TRY(mz_mem_new(&q, 1, sizeof *q));
    q->far = outer->device->state;
    q->outer = outer;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, NULL);
    pthread_cond_init(&q->emptied, NULL);
    MZ_TRY_GOTO(err, mz_mem_new(&q->ring, FAR_RING, sizeof *q->ring), no_memory);
    MZ_TRY_GOTO(err, mz_mem_new(&q->use, FAR_USES, sizeof *q->use), no_memory);
    MZ_TRY_GOTO(err, mz_queue_open(&q->inner, q->far->inner), no_memory);
    MZ_TRY_GOTO(err, enlist(q), no_place);
    if (pthread_create(&q->worker, NULL, work, q) != 0) {
        err = MZ_FAIL(MZ_ENOMEM, "far cannot start a worker thread");
        goto no_thread;
    }
    outer->state = q;
    return MZ_OK;
no_thread:
    delist(q);
no_place:
    mz_queue_close(q->inner);
no_memory:
    free_queue(q);
    return err;
}

void mz_far_queue_close(mz_queue *outer)
{
    mz_far_queue *q = outer->state;
    if (outer->n_ops)
        mz_far_misuse("a queue was closed with %d operators still bound", outer->n_ops);
    pthread_mutex_lock(&q->lock);
    q->quit = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->worker, NULL);
    delist(q);
    mz_queue_close(q->inner);
    free_queue(q);
}

/* Forgets what this queue used, now that it was waited for. */
static void release_memory(mz_far_queue *q)
{
    mz_far_device *far = q->far;
    const uint64_t bit = (uint64_t)1 << q->index;
    pthread_mutex_lock(&far->lock);
    q->n_uses = 0;
    for (int i = 0; i < FAR_BUCKETS; i++)
        for (mz_far_memory *m = far->bucket[i]; m; m = m->next) {
            if (!(m->touched & bit)) continue;
            m->touched &= ~bit;
            if (!mz_far_check_canaries(m))
                mz_far_fault(q, MZ_ECHIP, "an operator wrote outside a buffer of %zu bytes",
                             m->inner.bytes);
        }
    pthread_mutex_unlock(&far->lock);
}

mz_err mz_far_queue_sync(mz_queue *outer)
{
    mz_far_queue *q = outer->state;
    mz_far_wait_empty(q);
    release_memory(q);
    char text[sizeof q->fault_text];
    pthread_mutex_lock(&q->lock);
    const mz_err fault = q->fault;
    memcpy(text, q->fault_text, sizeof text);
    q->fault = MZ_OK;
    q->synced = q->put;
    pthread_mutex_unlock(&q->lock);
    return fault == MZ_OK ? MZ_OK : MZ_FAIL(fault, "%s", text);
}
