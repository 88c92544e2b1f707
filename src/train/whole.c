/* SPDX-License-Identifier: Apache-2.0 */
/* train/whole.c - see whole.h. */
#include "train/whole.h"

#include "base/mem.h"

#include <string.h>

enum { MASTER, M, V, KINDS };

struct mz_whole {
    mz_comm *comm;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    void *room; /* the largest parameter of this rank, f32 */

    /* rank 0 */
    mz_config config;
    mz_device device;
    mz_queue host; /* a chip that can only be read */
    mz_params params;
    mz_buffer buf[KINDS];
};

/* ---- the chip that can only be read ---- */

static mz_err copy_out(mz_queue *q, void *to, const mz_buffer *src, size_t offset, size_t bytes)
{
    (void)q;
    memcpy(to, (const char *)src->host + offset, bytes);
    return MZ_OK;
}

static mz_err sync_nothing(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static const mz_chip HOST = {.abi = MZ_CHIP_ABI,
                             .bytes = sizeof(mz_chip),
                             .name = "host",
                             .summary = "state that is written",
                             .queue_sync = sync_nothing,
                             .download = copy_out};

/* ---- set up ---- */

/* Everything in f32, so that the weights are their own masters. */
static mz_err book_whole(mz_whole *w)
{
    w->config = *mz_model_config(w->model);
    w->config.part_first = w->config.part_end = 0;
    w->device = (mz_device){.chip = &HOST};
    w->host = (mz_queue){.chip = &HOST, .device = &w->device};
    MZ_TRY(mz_params_list(&w->params, &w->config, MZ_F32));
    const size_t bytes[KINDS] = {w->params.weights_bytes, w->params.grads_bytes,
                                 w->params.grads_bytes};
    for (int i = 0; i < KINDS; i++) {
        w->buf[i] = (mz_buffer){.device = &w->device, .bytes = bytes[i]};
        MZ_TRY(mz_mem_new(&w->buf[i].host, (int64_t)bytes[i], 1));
    }
    w->params.weights = &w->buf[MASTER];
    for (int64_t i = 0; i < w->params.n; i++) {
        mz_param *p = &w->params.list[i];
        p->w.buf = &w->buf[MASTER];
        if (p->trained) p->g.buf = &w->buf[M];
    }
    return MZ_OK;
}

mz_err mz_whole_room(size_t *bytes, const mz_config *network)
{
    mz_params list = {0};
    MZ_TRY(mz_params_list(&list, network, MZ_F32));
    /* beside adapters the rest is booked and never touched */
    *bytes =
        (network->lora.rank > 0 ? list.grads_bytes : list.weights_bytes) + 2 * list.grads_bytes;
    mz_params_clear(&list);
    return MZ_OK;
}

mz_err mz_whole_new(mz_whole **out, mz_comm *comm, mz_queue *q, mz_model *m, mz_trainer *t)
{
    mz_whole *w = NULL;
    int64_t most = 1;
    MZ_NEED(out && comm && q && m && t, "an argument is NULL");
    const mz_params *ps = mz_model_params(m);
    MZ_TRY(mz_mem_new(&w, 1, sizeof *w));
    w->comm = comm;
    w->queue = q;
    w->model = m;
    w->trainer = t;
    for (int64_t i = 0; i < ps->n; i++)
        if (mz_count(&ps->list[i].w) > most) most = mz_count(&ps->list[i].w);
    mz_err err = mz_mem_new(&w->room, most, sizeof(float));
    if (err == MZ_OK && comm->rank == 0) err = book_whole(w);
    if (err != MZ_OK) {
        mz_whole_free(w);
        return err;
    }
    *out = w;
    return MZ_OK;
}

void mz_whole_free(mz_whole *w)
{
    if (!w) return;
    for (int i = 0; i < KINDS; i++) mz_mem_free(w->buf[i].host);
    mz_mem_free(w->params.list);
    mz_mem_free(w->room);
    mz_mem_free(w);
}

/* ---- collecting ---- */

/* Whether a part gives this parameter: a table that it borrows is another one's, and what stands
 * beside adapters is in no checkpoint. */
static bool gives(const mz_config *part, const mz_param *p)
{
    if (part->lora.rank > 0 && !p->trained) return false;
    return mz_config_has_param(part, p->name) &&
           !(mz_config_borrows_embed(part) && p->kind == MZ_PARAM_EMBED);
}

/* One kind of a parameter of this rank; .buf NULL where it has none. All are f32. */
static mz_tensor view_of(const mz_whole *w, const mz_param *p, int kind)
{
    mz_trainer_state s;
    mz_trainer_state_of(w->trainer, &s);
    mz_tensor t = p->g;
    if (kind == MASTER && (!s.master.buf || !p->g.buf || p->dtype == p->g.dtype)) return p->w;
    if (!p->g.buf) return (mz_tensor){0};
    t.buf = kind == MASTER ? s.master.buf : kind == M ? s.m.buf : s.v.buf;
    return t;
}

/* Where the whole has it. */
static void *place_of(const mz_whole *w, const mz_param *p, int kind)
{
    const size_t at = kind == MASTER ? p->w.offset_bytes : p->g.offset_bytes;
    return (unsigned char *)w->buf[kind].host + at;
}

/* A rank's own parameters: sent, or on rank 0 put in their place. */
static mz_err give(mz_whole *w)
{
    const mz_params *ps = mz_model_params(w->model);
    for (int64_t i = 0; i < ps->n; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            const mz_param *p = &ps->list[i];
            const mz_tensor t = view_of(w, p, kind);
            if (!t.buf || !gives(mz_model_config(w->model), p)) continue;
            const size_t bytes = (size_t)mz_count(&t) * sizeof(float);
            MZ_NEED(t.dtype == MZ_F32, "%s is not kept in f32", p->name);
            MZ_TRY(mz_download(w->queue, w->room, &t));
            MZ_TRY(mz_queue_sync(w->queue));
            if (w->comm->rank != 0) {
                MZ_TRY(mz_comm_send(w->comm, 0, w->room, bytes));
                continue;
            }
            const mz_param *mine = mz_params_find(&w->params, p->name);
            MZ_NEED(mine, "%s is in no whole network", p->name);
            memcpy(place_of(w, mine, kind), w->room, bytes);
        }
    return MZ_OK;
}

/* What rank r has, in the order in which it gives it. */
static mz_err take(mz_whole *w, const mz_config *part, int r)
{
    for (int64_t i = 0; i < w->params.n; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            const mz_param *p = &w->params.list[i];
            if (!gives(part, p)) continue;
            if (kind != MASTER && !p->g.buf) continue;
            const size_t bytes = (size_t)mz_count(&p->w) * sizeof(float);
            MZ_TRY(mz_comm_recv(w->comm, r, place_of(w, p, kind), bytes));
        }
    return MZ_OK;
}

mz_err mz_whole_collect(mz_whole *w)
{
    const mz_config *c = mz_model_config(w->model);
    const int64_t mine[2] = {c->part_first, c->part_end};
    int64_t all[2 * 64];
    MZ_TRY(mz_comm_gather(w->comm, 0, mine, sizeof mine, all));
    MZ_TRY(give(w));
    if (w->comm->rank != 0) return MZ_OK;
    for (int r = 1; r < w->comm->size; r++) {
        mz_config part = w->config;
        part.part_first = all[2 * r];
        part.part_end = all[2 * r + 1];
        MZ_TRY(take(w, &part, r));
    }
    return MZ_OK;
}

void mz_whole_held(mz_whole *w, mz_held *held)
{
    const int64_t n = (int64_t)(w->params.grads_bytes / sizeof(float));
    *held = (mz_held){.queue = &w->host,
                      .params = &w->params,
                      .config = &w->config,
                      .state = {.m = mz_view(&w->buf[M], 0, MZ_F32, 1, &n),
                                .v = mz_view(&w->buf[V], 0, MZ_F32, 1, &n)},
                      .updates = mz_trainer_step(w->trainer)};
}
