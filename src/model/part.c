/* SPDX-License-Identifier: Apache-2.0 */
/* model/part.c - see part.h. Floor: model. */
#include "model/part.h"

#include "base/mem.h"
#include "model/whole.h"

#include <stdlib.h>
#include <string.h>

/* ---- what a part has ---- */

int64_t mz_config_first(const mz_config *c)
{
    return c->part_end > 0 ? c->part_first : 0;
}

int64_t mz_config_end(const mz_config *c)
{
    return c->part_end > 0 ? c->part_end : c->layers;
}

bool mz_config_has_embed(const mz_config *c)
{
    return mz_config_first(c) == 0;
}

bool mz_config_has_head(const mz_config *c)
{
    return mz_config_end(c) == c->layers;
}

bool mz_config_borrows_embed(const mz_config *c)
{
    return !mz_config_has_embed(c) && mz_config_has_head(c) && (c->tied || c->mtp_layers > 0);
}

bool mz_config_has_param(const mz_config *c, const char *name)
{
    static const char layers[] = "model.layers.";
    if (c->part_end == 0) return true;
    if (strncmp(name, layers, sizeof layers - 1) == 0) {
        const long layer = strtol(name + sizeof layers - 1, NULL, 10);
        if (layer >= c->layers) return mz_config_has_head(c); /* MTP */
        return layer >= c->part_first && layer < c->part_end;
    }
    return strncmp(name, "model.embed_tokens", 18) == 0
               ? mz_config_has_embed(c) || mz_config_borrows_embed(c)
               : mz_config_has_head(c);
}

/* ---- arenas ---- */

int64_t mz_part_slots(const mz_net *n)
{
    return n->options.slots > 1 ? n->options.slots : 1;
}

mz_err mz_part_book(mz_model *m)
{
    mz_net *n = &m->net;
    const int64_t slots = mz_part_slots(n);
    MZ_TRY(mz_mem_new(&m->slots, slots, sizeof *m->slots));
    for (int64_t i = 0; i < slots; i++)
        MZ_TRY(mz_buffer_new(&m->slots[i], n->queue->device, mz_net_booked(n)));
    mz_part_use(m, 0);
    return MZ_OK;
}

void mz_part_use(mz_model *m, int64_t slot)
{
    m->net.arena = m->slots[slot];
}

void mz_part_clear(mz_model *m)
{
    for (int64_t i = 0; m->slots && i < mz_part_slots(&m->net); i++) mz_buffer_free(m->slots[i]);
    mz_mem_free(m->slots);
}

int64_t mz_model_slots(const mz_model *m)
{
    return mz_part_slots(&m->net);
}

mz_err mz_model_slot(mz_model *m, int64_t slot)
{
    MZ_NEED(m && slot >= 0 && slot < mz_part_slots(&m->net), "there is no slot %lld",
            (long long)slot);
    mz_part_use(m, slot);
    return MZ_OK;
}

/* ---- the calls ---- */

mz_err mz_part_cached(mz_model *m, const mz_batch *batch, const mz_cached *cached, const void *in,
                      void *out)
{
    MZ_NEED(m && batch, "model or batch is NULL");
    const mz_net *n = &m->net;
    MZ_NEED(!in == mz_config_has_embed(&n->config) && !out == mz_config_has_head(&n->config),
            "what a part is fed, or what it gives, is missing or too much");
    m->fed = in;
    mz_err err = cached ? mz_model_cached(m, batch, cached) : mz_model_forward(m, batch);
    m->fed = NULL;
    if (err == MZ_OK && out && batch->tokens > 0) {
        const mz_cell *last = &m->blocks[mz_config_end(&n->config) - 1].out;
        const mz_tensor hidden = mz_cell_rows(n, last, batch->tokens);
        err = mz_download(n->queue, out, &hidden);
    }
    const mz_err waited = mz_queue_sync(n->queue); /* `in` may go away now, whatever failed */
    return err != MZ_OK ? err : waited;
}

mz_err mz_part_forward(mz_model *m, const mz_batch *batch, const void *in, void *out)
{
    return mz_part_cached(m, batch, NULL, in, out);
}

/* Without a head: the gradient comes from the next part. */
static mz_err backward(mz_model *m, const mz_batch *b, const mz_loss_options *o, const void *dout)
{
    mz_net *n = &m->net;
    mz_stage *s = NULL;
    mz_tensor learnt;
    mz_stage_views(m, b);
    MZ_TRY(mz_stage_take(m, &s));
    memcpy(s->cu, b->cu, (size_t)(b->sequences + 1) * sizeof *b->cu);
    n->cu_host = s->cu;
    n->balance_alpha = o->balance_alpha;
    const mz_tensor d = mz_cell_rows(n, &m->d, b->tokens);
    MZ_TRY(mz_upload(n->queue, &d, dout));
    if (mz_config_has_embed(&n->config)) MZ_TRY(mz_stage_learnt(m, s, b, &learnt));
    return mz_blocks_backward(m, &learnt);
}

static mz_err run(mz_model *m, const mz_batch *batch, const mz_loss_options *o,
                  const mz_part_grads *g, mz_tensor *loss)
{
    const mz_net *n = &m->net;
    if (mz_config_has_head(&n->config))
        MZ_TRY(mz_model_loss(m, batch, o, loss));
    else if (batch->tokens > 0)
        MZ_TRY(backward(m, batch, o, g->dout));
    if (!g->din || batch->tokens == 0) return MZ_OK;
    const mz_tensor d = mz_cell_rows(n, &m->d, batch->tokens);
    return mz_download(n->queue, g->din, &d);
}

mz_err mz_part_backward(mz_model *m, const mz_batch *batch, const mz_loss_options *o,
                        const mz_part_grads *g, mz_tensor *loss)
{
    MZ_NEED(m && batch && o && g && loss, "an argument is NULL");
    const mz_net *n = &m->net;
    MZ_NEED(!g->din == mz_config_has_embed(&n->config) &&
                !g->dout == mz_config_has_head(&n->config),
            "a gradient is missing or too much");
    MZ_TRY(mz_check_batch(m, batch));
    mz_guard_enter();
    const mz_err err = run(m, batch, o, g, loss);
    mz_guard_leave();
    const mz_err waited = mz_queue_sync(n->queue);
    return err != MZ_OK ? err : waited;
}
