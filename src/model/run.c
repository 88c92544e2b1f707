/* SPDX-License-Identifier: Apache-2.0 */
/* model/run.c - the calls: forward, cached, logits, loss and backward, and what can be looked at.
 *
 * Every public call checks first, then runs inside a step guard: nothing is allocated.
 * Floor:  model. May use op, chip, tensor, base. */
#include "base/mem.h"
#include "model/model.h"
#include "model/whole.h"

#include <math.h>
#include <string.h>

/* ---- forward ---- */

static mz_err run_network(mz_model *m)
{
    const mz_net *n = &m->net;
    const int64_t T = n->tokens, end = mz_config_end(&n->config);
    const mz_tensor first = mz_cell_rows(n, &m->first, T);
    const mz_tensor out = mz_cell_rows(n, &m->blocks[end - 1].out, T);
    const mz_tensor normed = mz_cell_rows(n, &m->normed, T);
    MZ_TRY(mz_config_has_embed(&n->config) ? mz_embed_forward(n, &m->embed, &first, &n->ids)
                                           : mz_upload(n->queue, &first, m->fed));
    for (int64_t i = mz_config_first(&n->config); i < end; i++)
        MZ_TRY(mz_block_forward(n, &m->blocks[i]));
    return mz_config_has_head(&n->config) ? mz_norm_forward(n, &m->norm, &normed, &out) : MZ_OK;
}

static mz_err check_forced(const mz_model *m, int64_t tokens)
{
    if (!m->net.options.forced_router) return MZ_OK;
    for (int64_t i = 0; i < m->net.config.layers; i++)
        MZ_NEED(!m->blocks[i].is_moe || m->forced_tokens[i] >= tokens,
                "layer %lld was given expert ids for %lld of %lld tokens", (long long)i,
                (long long)m->forced_tokens[i], (long long)tokens);
    return MZ_OK;
}

/* What later calls may ask for. */
static void remember(mz_model *m, const mz_batch *b, bool cached)
{
    m->can_logits = true;
    m->can_loss = !cached;
    m->can_backward = !cached && m->net.options.train;
    m->has_mtp_loss = false;
    m->seen_tokens = b->tokens;
    m->seen_sequences = b->sequences;
    if (b->tokens > 0) memcpy(m->seen_ids, b->ids, (size_t)b->tokens * sizeof *b->ids);
    memcpy(m->seen_cu, b->cu, (size_t)(b->sequences + 1) * sizeof *b->cu);
}

static mz_err run_batch(mz_model *m, const mz_batch *b, const mz_cached *cached)
{
    mz_stage *s = NULL;
    MZ_TRY(mz_stage_take(m, &s));
    MZ_TRY(cached ? mz_stage_cached(m, s, b, cached) : mz_stage_batch(m, s, b));
    return b->tokens > 0 ? run_network(m) : MZ_OK;
}

static mz_err run_guarded(mz_model *m, const mz_batch *b, const mz_cached *cached)
{
    m->can_logits = m->can_loss = m->can_backward = m->has_mtp_loss = false;
    mz_guard_enter();
    const mz_err err = run_batch(m, b, cached);
    mz_guard_leave();
    if (err == MZ_OK) remember(m, b, cached != NULL);
    return err;
}

mz_err mz_model_forward(mz_model *m, const mz_batch *batch)
{
    MZ_NEED(m && batch, "model or batch is NULL");
    MZ_NEED(m->fed || mz_config_has_embed(&m->net.config), "this part is fed by the one before");
    MZ_TRY(mz_check_batch(m, batch));
    MZ_TRY(check_forced(m, batch->tokens));
    return run_guarded(m, batch, NULL);
}

mz_err mz_model_cached(mz_model *m, const mz_batch *batch, const mz_cached *cached)
{
    MZ_NEED(m && batch && cached, "model, batch or cached is NULL");
    MZ_NEED(m->fed || mz_config_has_embed(&m->net.config), "this part is fed by the one before");
    MZ_TRY(mz_check_batch(m, batch));
    MZ_TRY(mz_check_cached(m, batch, cached));
    MZ_TRY(check_forced(m, batch->tokens));
    return run_guarded(m, batch, cached);
}

/* ---- logits ---- */

mz_err mz_model_logits(mz_model *m, int64_t first, int64_t count, mz_tensor *logits)
{
    MZ_NEED(m && logits && m->can_logits && mz_config_has_head(&m->net.config),
            "model or logits is NULL, or nothing was run");
    MZ_NEED(count >= 0 && count <= m->head.rows && first >= 0 && first <= m->seen_tokens - count,
            "logits of %lld tokens from %lld on, of %lld, %lld at a time", (long long)count,
            (long long)first, (long long)m->seen_tokens, (long long)m->head.rows);
    const mz_net *n = &m->net;
    const mz_tensor normed = mz_cell_rows(n, &m->normed, m->seen_tokens);
    const mz_tensor hidden = mz_slice(&normed, 0, first, count);
    const mz_tensor out = mz_cell_rows(n, &m->head.logits, count);
    mz_guard_enter();
    const mz_err err = mz_head_logits(n, &m->head, &hidden, &out);
    mz_guard_leave();
    if (err == MZ_OK) *logits = out;
    return err;
}

static mz_err logits_of_rows(mz_model *m, const int32_t *index, const mz_tensor *out)
{
    const mz_net *n = &m->net;
    const int64_t count = out->dim[0];
    const mz_tensor normed = mz_cell_rows(n, &m->normed, m->seen_tokens);
    const mz_tensor rows = mz_cell_rows(n, &m->head.gathered, count);
    const mz_tensor idx = mz_cell_flat(n, &m->head.index, count);
    mz_stage *s = NULL;
    MZ_TRY(mz_stage_take(m, &s));
    memcpy(s->index, index, (size_t)count * sizeof *index);
    MZ_TRY(mz_upload(n->queue, &idx, s->index));
    MZ_TRY(mz_head_gather(n, &m->head, &rows, &normed));
    return mz_head_logits(n, &m->head, &rows, out);
}

mz_err mz_model_logits_rows(mz_model *m, const int32_t *index, int64_t count, mz_tensor *logits)
{
    MZ_NEED(m && logits && m->can_logits && mz_config_has_head(&m->net.config),
            "model or logits is NULL, or nothing was run");
    MZ_NEED(count >= 0 && count <= m->head.rows && (index || count == 0),
            "logits of %lld rows, %lld at a time", (long long)count, (long long)m->head.rows);
    for (int64_t i = 0; i < count; i++)
        MZ_NEED(index[i] >= 0 && index[i] < m->seen_tokens, "index[%lld] is %d of %lld tokens",
                (long long)i, index[i], (long long)m->seen_tokens);
    const mz_tensor out = mz_cell_rows(&m->net, &m->head.logits, count);
    mz_guard_enter();
    const mz_err err = count > 0 ? logits_of_rows(m, index, &out) : MZ_OK;
    mz_guard_leave();
    if (err == MZ_OK) *logits = out;
    return err;
}

/* ---- loss ---- */

static mz_tensor fed_to(const mz_model *m, int64_t depth)
{
    const mz_net *n = &m->net;
    return mz_cell_rows(n, depth == 1 ? &m->normed : &m->mtp[depth - 2].block.out, n->tokens);
}

static mz_err mtp_forward(mz_model *m, int64_t depth)
{
    const mz_tensor h = fed_to(m, depth);
    return mz_mtp_forward(&m->net, &m->mtp[depth - 1], &m->embed, &h);
}

static mz_err mtp_loss(mz_model *m, int64_t depth, bool backward)
{
    const mz_net *n = &m->net;
    const mz_tensor h = fed_to(m, depth), dh = mz_cell_rows(n, &m->dh, n->tokens);
    const mz_tensor d = mz_cell_rows(n, &m->d, n->tokens);
    const mz_mtp_call call = {.embed = &m->embed,
                              .head = &m->head,
                              .h = &h,
                              .dh = &dh,
                              .scratch = &d,
                              .is_last = depth == n->config.mtp_layers,
                              .backward = backward};
    return mz_mtp_loss(n, &m->mtp[depth - 1], &call);
}

/* Without backward a depth's loss is taken before the next depth reuses its scratch; with it, all
 * run first and the way back goes from the deepest up, into the gradient of the final norm. */
static mz_err run_mtp(mz_model *m, bool backward, const mz_tensor *dnormed)
{
    const mz_net *n = &m->net;
    const int64_t depths = n->config.mtp_layers;
    for (int64_t k = 1; k <= depths; k++) {
        MZ_TRY(mtp_forward(m, k));
        if (!backward) MZ_TRY(mtp_loss(m, k, false));
    }
    if (!backward) return MZ_OK;
    for (int64_t k = depths; k >= 1; k--) MZ_TRY(mtp_loss(m, k, true));
    const mz_tensor dh = mz_cell_rows(n, &m->dh, n->tokens);
    return mz_run_elementwise(n, m->add, dnormed, dnormed, &dh);
}

static mz_err run_again(mz_model *m, int64_t i)
{
    if (!m->net.options.recompute) return MZ_OK;
    m->net.again = true;
    const mz_err err = mz_block_forward(&m->net, &m->blocks[i]);
    m->net.again = false;
    return err;
}

mz_err mz_blocks_backward(mz_model *m, const mz_tensor *learnt)
{
    const mz_net *n = &m->net;
    const int64_t first = mz_config_first(&n->config), last = mz_config_end(&n->config) - 1;
    const mz_tensor d = mz_cell_rows(n, &m->d, n->tokens);
    for (int64_t i = last; i >= first; i--) {
        /* what the last block keeps still stands: no block ran after it */
        if (i < last) MZ_TRY(run_again(m, i));
        MZ_TRY(mz_block_backward(n, &m->blocks[i], &d));
    }
    return mz_config_has_embed(&n->config) ? mz_embed_backward(n, &m->embed, &d, learnt) : MZ_OK;
}

static mz_err run_backward(mz_model *m, const mz_tensor *dnormed, const mz_tensor *learnt)
{
    const mz_net *n = &m->net;
    const mz_cell *last = &m->blocks[mz_config_end(&n->config) - 1].out;
    const mz_tensor out = mz_cell_rows(n, last, n->tokens);
    const mz_tensor d = mz_cell_rows(n, &m->d, n->tokens);
    MZ_TRY(mz_norm_backward(n, &m->norm, &d, dnormed, &out));
    return mz_blocks_backward(m, learnt);
}

static mz_err run_loss(mz_model *m, const mz_batch *b, const mz_loss_options *o)
{
    mz_net *n = &m->net;
    const int64_t T = b->tokens;
    const bool mtp = o->mtp_weight > 0.0;
    const mz_tensor hidden = mz_cell_rows(n, &m->normed, T), loss = mz_cell_flat(n, &m->loss, T);
    const mz_tensor targets = mz_cell_flat(n, &m->targets, T);
    const mz_tensor weight = mz_cell_flat(n, &m->weight, T);
    const mz_tensor dnormed = mz_cell_rows(n, &m->dnormed, T);
    mz_tensor learnt;
    const mz_head_call head = {.hidden = &hidden,
                               .targets = &targets,
                               .weight = &weight,
                               .loss = &loss,
                               .dhidden = o->backward ? &dnormed : NULL};
    mz_stage *s = NULL;
    MZ_TRY(mz_stage_take(m, &s));
    memcpy(s->cu, b->cu, (size_t)(b->sequences + 1) * sizeof *b->cu);
    n->cu_host = s->cu; /* the stage that forward used may be another call's by now */
    n->balance_alpha = o->balance_alpha;
    MZ_TRY(mz_stage_targets(m, s, b));
    if (mtp) {
        const double depths = (double)n->config.mtp_layers;
        MZ_TRY(mz_stage_mtp(m, s, b, o->mtp_weight / depths));
    }
    if (o->backward) MZ_TRY(mz_stage_learnt(m, s, b, &learnt));
    MZ_TRY(mz_head_loss(n, &m->head, &head));
    if (mtp) MZ_TRY(run_mtp(m, o->backward, &dnormed));
    return o->backward ? run_backward(m, &dnormed, &learnt) : MZ_OK;
}

static mz_err check_loss(const mz_model *m, const mz_batch *b, const mz_loss_options *o)
{
    MZ_NEED(m->can_loss, "a loss is asked for without a forward call before it");
    MZ_NEED(!o->backward || m->can_backward,
            "backward is asked for twice, or of a model that was not bound for training");
    MZ_NEED(b->tokens == m->seen_tokens && b->sequences == m->seen_sequences && b->cu &&
                memcmp(b->cu, m->seen_cu, (size_t)(b->sequences + 1) * sizeof *b->cu) == 0 &&
                (b->tokens == 0 ||
                 (b->ids && memcmp(b->ids, m->seen_ids, (size_t)b->tokens * sizeof *b->ids) == 0)),
            "the batch is not the one of the last forward call");
    MZ_NEED(o->balance_alpha >= 0.0 && isfinite(o->balance_alpha) && o->mtp_weight >= 0.0 &&
                isfinite(o->mtp_weight),
            "balance_alpha is %g, mtp_weight %g", o->balance_alpha, o->mtp_weight);
    MZ_NEED(!(o->mtp_weight > 0.0) || m->net.config.mtp_layers > 0,
            "mtp_weight is given to a model bound without MTP");
    MZ_NEED(!(o->mtp_weight > 0.0) || !m->net.options.forced_router,
            "a forced router has no ids for the MTP layers");
    return mz_check_targets(m, b, o->backward);
}

mz_err mz_model_loss(mz_model *m, const mz_batch *batch, const mz_loss_options *o, mz_tensor *loss)
{
    MZ_NEED(m && batch && o && loss, "model, batch, options or loss is NULL");
    MZ_NEED(mz_config_has_head(&m->net.config), "this part of a network has no head");
    MZ_TRY(check_loss(m, batch, o));
    if (o->backward) m->can_backward = false; /* it spends what forward kept, also if it fails */
    mz_guard_enter();
    const mz_err err = batch->tokens > 0 ? run_loss(m, batch, o) : MZ_OK;
    mz_guard_leave();
    if (err != MZ_OK) return err;
    m->has_mtp_loss = o->mtp_weight > 0.0;
    *loss = mz_cell_flat(&m->net, &m->loss, batch->tokens);
    return MZ_OK;
}

mz_err mz_model_mtp_loss(mz_model *m, int64_t depth, mz_tensor *loss)
{
    MZ_NEED(m && loss && m->has_mtp_loss, "model or loss is NULL, or no MTP loss was taken");
    MZ_NEED(depth >= 1 && depth <= m->net.config.mtp_layers, "depth %lld of %lld", (long long)depth,
            (long long)m->net.config.mtp_layers);
    *loss = mz_cell_flat(&m->net, &m->mtp[depth - 1].loss, m->seen_tokens);
    return MZ_OK;
}

mz_err mz_model_zero_grads(mz_model *m)
{
    MZ_NEED(m && m->net.params.grads, "the model was not bound for training");
    const int64_t bytes = (int64_t)m->net.params.grads_bytes;
    const mz_tensor all = mz_view(m->net.params.grads, 0, MZ_U8, 1, &bytes);
    return mz_zero(m->net.queue, &all);
}

/* ---- looking inside ---- */

mz_err mz_model_hidden(mz_model *m, int64_t i, mz_tensor *hidden)
{
    MZ_NEED(m && hidden && m->can_logits, "model or hidden is NULL, or nothing was run");
    const mz_net *n = &m->net;
    const int64_t layers = n->config.layers;
    MZ_NEED(i >= 0 && i <= layers + 1, "hidden %lld of 0 .. %lld", (long long)i,
            (long long)layers + 1);
    MZ_NEED(i == layers + 1 || n->options.keep_hidden || n->options.train,
            "the model was bound without keep_hidden");
    const mz_cell *c = i == 0 ? &m->first : i > layers ? &m->normed : &m->blocks[i - 1].out;
    *hidden = mz_cell_rows(n, c, m->seen_tokens);
    return MZ_OK;
}

static mz_err find_moe(mz_model *m, int64_t layer, const mz_moe **moe)
{
    MZ_NEED(m, "model is NULL");
    const int64_t layers = m->net.config.layers, depths = m->net.config.mtp_layers;
    MZ_NEED(layer >= 0 && layer < layers + depths, "there is no layer %lld", (long long)layer);
    const mz_block *b = layer < layers ? &m->blocks[layer] : &m->mtp[layer - layers].block;
    MZ_NEED(b->is_moe, "layer %lld has no experts", (long long)layer);
    *moe = &b->mlp.moe;
    return MZ_OK;
}

mz_err mz_model_router(mz_model *m, int64_t layer, mz_tensor *ids, mz_tensor *weights)
{
    const mz_moe *moe = NULL;
    MZ_TRY(find_moe(m, layer, &moe));
    MZ_NEED(ids && weights && m->can_logits, "ids or weights is NULL, or nothing was run");
    *ids = mz_cell_rows(&m->net, &moe->ids, m->seen_tokens);
    *weights = mz_cell_rows(&m->net, &moe->weights, m->seen_tokens);
    return MZ_OK;
}

mz_err mz_model_router_counts(mz_model *m, int64_t layer, mz_tensor *counts)
{
    const mz_moe *moe = NULL;
    MZ_TRY(find_moe(m, layer, &moe));
    MZ_NEED(counts && m->net.options.train, "counts are kept by a model bound for training");
    *counts = mz_cell_all(&m->net, &moe->counts);
    return MZ_OK;
}

mz_err mz_model_zero_counts(mz_model *m)
{
    MZ_NEED(m && m->net.options.train, "counts are kept by a model bound for training");
    const int64_t layers = m->net.config.layers + m->net.config.mtp_layers;
    for (int64_t i = 0; i < layers; i++) {
        const mz_block *b =
            i < m->net.config.layers ? &m->blocks[i] : &m->mtp[i - m->net.config.layers].block;
        if (!b->is_moe) continue;
        const mz_tensor counts = mz_cell_all(&m->net, &b->mlp.moe.counts);
        MZ_TRY(mz_zero(m->net.queue, &counts));
    }
    return MZ_OK;
}

mz_err mz_model_force_router(mz_model *m, int64_t layer, const int32_t *ids, int64_t tokens)
{
    const mz_moe *moe = NULL;
    MZ_TRY(find_moe(m, layer, &moe));
    const mz_moe_config *e = &m->net.config.moe;
    MZ_NEED(m->net.options.forced_router, "the model was bound without forced_router");
    MZ_NEED(ids && tokens >= 0 && tokens <= m->net.T, "ids is NULL, or %lld tokens of %lld",
            (long long)tokens, (long long)m->net.T);
    for (int64_t i = 0; i < tokens * e->top_k; i++)
        MZ_NEED(ids[i] >= 0 && ids[i] < e->experts && (i % e->top_k == 0 || ids[i] > ids[i - 1]),
                "expert id %d of token %lld is out of range or not above the one before", ids[i],
                (long long)(i / e->top_k));
    const mz_tensor view = mz_cell_rows(&m->net, &moe->ids, tokens);
    MZ_TRY(mz_upload(m->net.queue, &view, ids));
    MZ_TRY(mz_queue_sync(m->net.queue));
    m->forced_tokens[layer] = tokens;
    return MZ_OK;
}
