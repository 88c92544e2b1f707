/* SPDX-License-Identifier: Apache-2.0 */
/* model/head.c - both ends of the network: the embedding, and logits with their loss.
 *
 * The logits of a long batch never exist: at most `rows` tokens at a time go through the head, and
 * their loss, the gradient of the hidden state and the gradient of the weight are taken before the
 * next chunk overwrites them. Logits are acc; their gradients are rounded to the model's dtype
 * before they are multiplied, as are those of every other linear map.
 * Tied: head and embedding are one parameter, and both gradients add up in its g.
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/net.h"

#include <string.h>

/* Of one chunk, where the caller leaves it to us: so many bytes, and rows that products take whole.
 */
enum { LOGITS_BYTES = 32 << 20, ROWS_UNIT = 128 };

int64_t mz_head_rows(const mz_config *c, const mz_model_options *o)
{
    const int64_t row = c->vocab * (int64_t)mz_dtype_bytes(mz_dtype_acc(o->dtype));
    int64_t rows = o->head_rows > 0 ? o->head_rows : LOGITS_BYTES / row;
    if (o->head_rows == 0 && rows > ROWS_UNIT) rows -= rows % ROWS_UNIT;
    if (o->head_rows == 0 && rows < o->sequences_max) rows = o->sequences_max; /* decode */
    if (rows > o->tokens_max) rows = o->tokens_max;
    return rows > 0 ? rows : 1;
}

static mz_err describe_ops(mz_net *n, mz_head *h)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_XENT;
    d.u.xent.dtype = n->acc;
    d.u.xent.T_max = h->rows;
    d.u.xent.V = n->config.vocab;
    d.u.xent.gradient = n->options.train;
    MZ_TRY(mz_net_op(n, &h->xent, &d));
    if (h->rounds) {
        memset(&d, 0, sizeof d);
        d.kind = MZ_OP_CAST;
        d.u.cast.from = n->acc;
        d.u.cast.to = n->dtype;
        d.u.cast.T_max = h->rows;
        d.u.cast.N_max = n->config.vocab;
        MZ_TRY(mz_net_op(n, &h->cast, &d));
    }
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_ROWS;
    d.u.rows.dtype = n->dtype;
    d.u.rows.n_max = h->rows;
    d.u.rows.D = n->config.width;
    d.u.rows.table_max = n->T;
    return mz_net_op(n, &h->gather, &d);
}

mz_err mz_head_describe(mz_net *n, mz_head *h)
{
    const mz_config *c = &n->config;
    const mz_param *w = NULL;
    h->rows = mz_head_rows(c, &n->options);
    MZ_TRY(mz_net_param(n, &w, c->tied ? "model.embed_tokens" : "lm_head", ".weight"));
    MZ_TRY(mz_linear_bind(n, &h->linear, h->rows, n->acc, w));
    h->rounds = n->options.train && n->dtype != n->acc;
    if (h->rounds) {
        const size_t mark = mz_net_mark(n); /* no block runs while a chunk lasts */
        MZ_TRY(mz_linear_bind(n, &h->back, h->rows, n->dtype, w));
        MZ_TRY(mz_net_cell(n, &h->dlogits, MZ_ROOM_SCRATCH, n->dtype, h->rows, c->vocab));
        if (c->mtp_layers == 0) mz_net_release(n, mark);
    }
    MZ_TRY(describe_ops(n, h));
    MZ_TRY(mz_net_cell(n, &h->logits, MZ_ROOM_HELD, n->acc, h->rows, c->vocab));
    MZ_TRY(mz_net_cell(n, &h->index, MZ_ROOM_HELD, MZ_I32, h->rows, 1));
    return mz_net_cell(n, &h->gathered, MZ_ROOM_HELD, n->dtype, h->rows, c->width);
}

mz_err mz_head_logits(const mz_net *n, const mz_head *h, const mz_tensor *hidden,
                      const mz_tensor *logits)
{
    return mz_linear_forward(n, &h->linear, logits, hidden);
}

mz_err mz_head_gather(const mz_net *n, const mz_head *h, const mz_tensor *rows,
                      const mz_tensor *hidden)
{
    const mz_tensor idx = mz_cell_flat(n, &h->index, rows->dim[0]);
    return mz_forward(n->ops[h->gather].op,
                      &(mz_args){.rows = {.y = rows, .x = hidden, .idx = &idx}});
}

static mz_err chunk_loss(const mz_net *n, const mz_head *h, const mz_head_call *call, int64_t first,
                         int64_t count)
{
    const mz_tensor logits = mz_cell_rows(n, &h->logits, count);
    const mz_tensor hidden = mz_slice(call->hidden, 0, first, count);
    const mz_tensor targets = mz_slice(call->targets, 0, first, count);
    const mz_tensor weight = mz_slice(call->weight, 0, first, count);
    const mz_tensor loss = mz_slice(call->loss, 0, first, count);
    MZ_TRY(mz_head_logits(n, h, &hidden, &logits));
    const mz_args args = {.xent = {.loss = &loss,
                                   .dlogits = call->dhidden ? &logits : NULL,
                                   .logits = &logits,
                                   .targets = &targets,
                                   .weight = n->options.train ? &weight : NULL}};
    MZ_TRY(mz_forward(n->ops[h->xent].op, &args));
    if (!call->dhidden) return MZ_OK;
    const mz_tensor dhidden = mz_slice(call->dhidden, 0, first, count);
    if (!h->rounds) return mz_linear_backward(n, &h->linear, &dhidden, &logits, &hidden);
    const mz_tensor dlogits = mz_cell_rows(n, &h->dlogits, count);
    MZ_TRY(mz_forward(n->ops[h->cast].op, &(mz_args){.cast = {.y = &dlogits, .x = &logits}}));
    return mz_linear_backward(n, &h->back, &dhidden, &dlogits, &hidden);
}

mz_err mz_head_loss(const mz_net *n, const mz_head *h, const mz_head_call *call)
{
    const int64_t T = call->hidden->dim[0];
    for (int64_t first = 0; first < T; first += h->rows) {
        const int64_t left = T - first;
        MZ_TRY(chunk_loss(n, h, call, first, left < h->rows ? left : h->rows));
    }
    return MZ_OK;
}

/* ---- the embedding ---- */

mz_err mz_embed_describe(mz_net *n, mz_embed *e)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_EMBED;
    d.u.embed.dtype = n->dtype;
    d.u.embed.T_max = n->T;
    d.u.embed.V = n->config.vocab;
    d.u.embed.D = n->config.width;
    d.u.embed.backward = n->options.train;
    MZ_TRY(mz_net_param(n, &e->w, "model.embed_tokens", ".weight"));
    d.u.embed.stored = mz_net_stored(n, e->w);
    return mz_net_op(n, &e->op, &d);
}

mz_err mz_embed_forward(const mz_net *n, const mz_embed *e, const mz_tensor *y,
                        const mz_tensor *ids)
{
    return mz_forward(n->ops[e->op].op, &(mz_args){.embed = {.y = y, .w = &e->w->w, .ids = ids}});
}

mz_err mz_embed_backward(const mz_net *n, const mz_embed *e, const mz_tensor *dy,
                         const mz_tensor *ids)
{
    if (!e->w->g.buf) return MZ_OK; /* it does not learn */
    return mz_backward(n->ops[e->op].op,
                       &(mz_args){.embed = {.ids = ids, .dy = dy, .dw = &e->w->g}});
}
