/* SPDX-License-Identifier: Apache-2.0 */
/* train/snapshot.c - see snapshot.h.
 *
 * To those who write files a snapshot looks like a chip whose memory can only be read: the same
 * code writes the live state and a copy of it. */
#include "train/snapshot.h"

#include "base/mem.h"
#include "train/state.h"

#include <pthread.h>
#include <string.h>

enum { WEIGHTS, MASTER, M, V, COPIES };

struct mz_snapshot {
    mz_checkpointed c;
    mz_device device;
    mz_queue queue;
    mz_buffer copy[COPIES]; /* bytes 0: the live state has none */
    mz_params params;       /* those of the model, their places in the copies */
    mz_held held;
    mz_progress progress;
    int64_t keep;

    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool has_thread, is_writing, ends; /* under the mutex, like err */
    mz_err err;
    mz_err_info why;
};

/* ---- the chip that can only be read ---- */

static mz_err copy_out(mz_queue *q, void *host, const mz_buffer *src, size_t offset, size_t bytes)
{
    (void)q;
    memcpy(host, (const char *)src->host + offset, bytes);
    return MZ_OK;
}

static mz_err sync_nothing(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static const mz_chip HOST_COPY = {.abi = MZ_CHIP_ABI,
                                  .bytes = sizeof(mz_chip),
                                  .name = "snapshot",
                                  .download = copy_out,
                                  .queue_sync = sync_nothing};

/* ---- booking ---- */

size_t mz_snapshot_bytes(size_t weights_bytes, size_t optimizer_bytes)
{
    return weights_bytes + optimizer_bytes;
}

static mz_err book(mz_snapshot *s, int which, const mz_buffer *live)
{
    mz_buffer *copy = &s->copy[which];
    *copy = (mz_buffer){.device = &s->device};
    if (!live || live->bytes == 0) return MZ_OK;
    MZ_TRY(mz_mem_new(&copy->host, (int64_t)live->bytes, 1));
    copy->bytes = live->bytes;
    return MZ_OK;
}

static mz_tensor moved(const mz_tensor *live, mz_buffer *copy)
{
    mz_tensor t = *live;
    t.buf = live->buf ? copy : NULL;
    return t;
}

static mz_err build(mz_snapshot *s)
{
    const mz_params *p = mz_model_params(s->c.model);
    mz_held live;
    mz_held_of(&live, &s->c);
    s->device = (mz_device){.chip = &HOST_COPY};
    s->queue = (mz_queue){.chip = &HOST_COPY, .device = &s->device};
    MZ_TRY(book(s, WEIGHTS, p->weights));
    MZ_TRY(book(s, MASTER, live.state.master.buf));
    MZ_TRY(book(s, M, live.state.m.buf));
    MZ_TRY(book(s, V, live.state.v.buf));
    s->params = *p;
    s->params.weights = &s->copy[WEIGHTS];
    MZ_TRY(mz_mem_new(&s->params.list, p->n, sizeof *s->params.list));
    for (int64_t i = 0; i < p->n; i++) {
        s->params.list[i] = p->list[i];
        s->params.list[i].w.buf = &s->copy[WEIGHTS];
    }
    s->held = live;
    s->held.queue = &s->queue;
    s->held.params = &s->params;
    s->held.state.master = moved(&live.state.master, &s->copy[MASTER]);
    s->held.state.m = moved(&live.state.m, &s->copy[M]);
    s->held.state.v = moved(&live.state.v, &s->copy[V]);
    return MZ_OK;
}

/* ---- the thread ---- */

static void *write_when_asked(void *arg)
{
    mz_snapshot *s = arg;
    (void)pthread_mutex_lock(&s->mutex);
    for (;;) {
        while (!s->is_writing && !s->ends) (void)pthread_cond_wait(&s->changed, &s->mutex);
        if (!s->is_writing) break;
        (void)pthread_mutex_unlock(&s->mutex);
        const mz_err err = mz_checkpoint_write(&s->c, &s->held, &s->progress, s->keep);
        (void)pthread_mutex_lock(&s->mutex);
        s->err = err;
        if (err != MZ_OK) s->why = *mz_err_last(); /* notes belong to their thread */
        s->is_writing = false;
        (void)pthread_cond_broadcast(&s->changed);
    }
    (void)pthread_mutex_unlock(&s->mutex);
    return NULL;
}

mz_err mz_snapshot_new(mz_snapshot **out, const mz_checkpointed *c)
{
    mz_snapshot *s = NULL;
    MZ_NEED(out && c && c->model && c->trainer && c->queue, "an argument is NULL");
    MZ_TRY(mz_mem_new(&s, 1, sizeof *s));
    s->c = *c;
    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    mz_err err = build(s);
    if (err == MZ_OK) {
        s->has_thread = pthread_create(&s->thread, NULL, write_when_asked, s) == 0;
        if (!s->has_thread) err = MZ_FAIL(MZ_ENOMEM, "no thread to write checkpoints");
    }
    if (err != MZ_OK) {
        mz_snapshot_free(s);
        return err;
    }
    *out = s;
    return MZ_OK;
}

void mz_snapshot_free(mz_snapshot *s)
{
    if (!s) return;
    if (s->has_thread) {
        (void)pthread_mutex_lock(&s->mutex);
        s->ends = true; /* after what it is writing */
        (void)pthread_cond_broadcast(&s->changed);
        (void)pthread_mutex_unlock(&s->mutex);
        (void)pthread_join(s->thread, NULL);
    }
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->mutex);
    for (int i = 0; i < COPIES; i++) mz_mem_free(s->copy[i].host);
    mz_mem_free(s->params.list);
    mz_mem_free(s);
}

/* ---- the calls ---- */

static mz_err result(mz_snapshot *s)
{
    const mz_err err = s->err;
    if (err != MZ_OK) mz_err_restore(&s->why);
    return err;
}

mz_err mz_snapshot_check(mz_snapshot *s)
{
    MZ_NEED(s, "no snapshot");
    (void)pthread_mutex_lock(&s->mutex);
    const mz_err err = s->is_writing ? MZ_OK : result(s);
    (void)pthread_mutex_unlock(&s->mutex);
    return err;
}

mz_err mz_snapshot_wait(mz_snapshot *s)
{
    MZ_NEED(s, "no snapshot");
    (void)pthread_mutex_lock(&s->mutex);
    while (s->is_writing) (void)pthread_cond_wait(&s->changed, &s->mutex);
    const mz_err err = result(s);
    (void)pthread_mutex_unlock(&s->mutex);
    return err;
}

static mz_err take(mz_snapshot *s, int which, mz_buffer *live)
{
    mz_buffer *copy = &s->copy[which];
    const int64_t bytes = (int64_t)copy->bytes;
    if (bytes == 0) return MZ_OK;
    const mz_tensor all = mz_view(live, 0, MZ_U8, 1, &bytes);
    return mz_download(s->c.queue, copy->host, &all);
}

mz_err mz_snapshot_save(mz_snapshot *s, const mz_progress *p, int64_t keep)
{
    MZ_NEED(s && p && keep >= 1, "no snapshot, no progress, or nothing is to be kept");
    mz_held live;
    MZ_TRY(mz_snapshot_wait(s));
    mz_held_of(&live, &s->c);
    mz_err err = take(s, WEIGHTS, live.params->weights);
    if (err == MZ_OK) err = take(s, MASTER, live.state.master.buf);
    if (err == MZ_OK) err = take(s, M, live.state.m.buf);
    if (err == MZ_OK) err = take(s, V, live.state.v.buf);
    const mz_err waited = mz_queue_sync(s->c.queue); /* also where a copy was refused */
    if (err != MZ_OK) return err;
    MZ_TRY(waited);
    s->held.updates = live.updates;
    s->progress = *p;
    s->keep = keep;
    (void)pthread_mutex_lock(&s->mutex);
    s->is_writing = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->mutex);
    return MZ_OK;
}
