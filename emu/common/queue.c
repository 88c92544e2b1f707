/* SPDX-License-Identifier: Apache-2.0 */
/* emu/common/queue.c - an in-order queue of an emulated device: a thread and a list of tasks. */
#include "common/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

typedef struct entry {
    struct entry *next;
    mze_task *task;
    void *data;
} entry;

struct mze_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    entry *first, **last;
    uint64_t put, done;
    bool ends, drops;
};

static entry *next_of(mze_queue *q)
{
    while (!q->first && !q->ends) pthread_cond_wait(&q->changed, &q->lock);
    entry *e = q->first;
    if (!e) return NULL;
    q->first = e->next;
    if (!q->first) q->last = &q->first;
    return e;
}

static void *work(void *data)
{
    mze_queue *q = data;
    pthread_mutex_lock(&q->lock);
    for (entry *e = next_of(q); e; e = next_of(q)) {
        const bool dropped = q->drops;
        pthread_mutex_unlock(&q->lock);
        e->task(e->data, dropped);
        free(e);
        pthread_mutex_lock(&q->lock);
        q->done++;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

mze_queue *mze_queue_new(void)
{
    pthread_condattr_t attributes;
    mze_queue *q = calloc(1, sizeof *q);
    if (!q) return NULL;
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&q->thread, NULL, work, q) == 0) return q;
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
    return NULL;
}

void mze_queue_delete(mze_queue *q, bool drop)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->ends = true;
    q->drops = drop;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool mze_queue_put(mze_queue *q, mze_task *task, void *data)
{
    entry *e = malloc(sizeof *e);
    if (!e) return false;
    *e = (entry){NULL, task, data};
    pthread_mutex_lock(&q->lock);
    *q->last = e;
    q->last = &e->next;
    q->put++;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    return true;
}

static struct timespec deadline(int64_t ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t ns = t.tv_nsec + ms % 1000 * 1000000;
    t.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

bool mze_queue_wait(mze_queue *q, int64_t ms)
{
    const struct timespec end = deadline(ms < 0 ? 0 : ms);
    int code = 0;
    pthread_mutex_lock(&q->lock);
    const uint64_t want = q->put;
    while (q->done < want && code != ETIMEDOUT)
        code = ms < 0 ? pthread_cond_wait(&q->changed, &q->lock)
                      : pthread_cond_timedwait(&q->changed, &q->lock, &end);
    const bool is_done = q->done >= want;
    pthread_mutex_unlock(&q->lock);
    return is_done;
}

bool mze_queue_is_idle(mze_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const bool is_idle = q->done == q->put;
    pthread_mutex_unlock(&q->lock);
    return is_idle;
}
