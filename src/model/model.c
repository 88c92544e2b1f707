/* SPDX-License-Identifier: Apache-2.0 */
/* model/model.c - what a model needs, and booking it: describe once, then list, plan, or bind.
 *
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/model.h"

#include "base/mem.h"
#include "model/whole.h"

#include <math.h>

/* ---- what the network can be at all ---- */

static mz_err check_config(const mz_config *c)
{
    const int64_t rotated = c->mla ? c->rope_dim : c->head_dim;
    MZ_NEED(c->vocab > 0 && c->width > 0 && c->layers > 0 && c->heads > 0,
            "vocab, width, layers or heads is not positive");
    MZ_NEED(c->mla || (c->kv_heads > 0 && c->heads % c->kv_heads == 0 && c->head_dim > 0),
            "%lld heads do not share %lld key heads", (long long)c->heads, (long long)c->kv_heads);
    MZ_NEED(!c->mla || (c->kv_rank > 0 && c->nope_dim > 0 && c->rope_dim > 0 && c->v_dim > 0 &&
                        c->q_rank >= 0 && c->inner_eps > 0.0),
            "a size of the latent attention is not positive");
    MZ_NEED(c->rope.dims == rotated && rotated % 2 == 0, "rope turns %lld of %lld columns",
            (long long)c->rope.dims, (long long)rotated);
    MZ_NEED(c->scale > 0.0 && isfinite(c->scale) && c->rms_eps > 0.0,
            "scale %g or rms_eps %g is not positive", c->scale, c->rms_eps);
    MZ_NEED(c->vocab <= INT32_MAX, "vocab %lld is past 2^31", (long long)c->vocab);
    return MZ_OK;
}

static mz_err check_options(const mz_config *c, const mz_model_options *o)
{
    MZ_NEED(mz_dtype_is_float(o->dtype), "%s is not a compute dtype", mz_dtype_name(o->dtype));
    MZ_NEED(o->tokens_max > 0 && o->tokens_max <= INT32_MAX && o->sequences_max > 0 &&
                o->position_max > 0 && o->head_rows >= 0,
            "tokens_max, sequences_max, position_max or head_rows is out of range");
    MZ_NEED(!o->stored || !o->train, "stored weights are not trained");
    MZ_NEED(!o->weights || (!o->train && !o->stored), "shared weights are not trained");
    MZ_NEED(o->part_layers >= 0 && o->part_first >= 0 &&
                o->part_first + o->part_layers <= c->layers,
            "layers %lld and %lld more, of %lld", (long long)o->part_first,
            (long long)o->part_layers, (long long)c->layers);
    MZ_NEED(o->slots >= 0 && o->slots <= 64, "%lld slots", (long long)o->slots);
    MZ_NEED(!o->mtp || c->mtp_layers > 0, "mtp is asked of a network without MTP layers");
    if (o->cache_pages == 0) return MZ_OK;
    MZ_NEED(o->cache_pages > 0 && o->page_tokens > 0 && o->pages_per_sequence_max > 0,
            "the sizes of the cache are not positive");
    MZ_NEED(o->cache_pages <= INT32_MAX / o->page_tokens, "the cache has more than 2^31 rows");
    return MZ_OK;
}

/* ---- the description ---- */

static mz_err describe_inputs(mz_model *m)
{
    mz_net *n = &m->net;
    const mz_model_options *o = &n->options;
    const int64_t T = n->T, B = o->sequences_max, half = n->config.rope.dims / 2;
    MZ_TRY(mz_net_cell(n, &m->ids, MZ_ROOM_HELD, MZ_I32, T, 1));
    MZ_TRY(mz_net_cell(n, &m->pos, MZ_ROOM_HELD, MZ_I32, T, 1));
    MZ_TRY(mz_net_cell(n, &m->cu, MZ_ROOM_HELD, MZ_I32, B + 1, 1));
    MZ_TRY(mz_net_cell(n, &m->targets, MZ_ROOM_HELD, MZ_I32, T, 1));
    if (o->train) MZ_TRY(mz_net_cell(n, &m->learnt, MZ_ROOM_HELD, MZ_I32, T, 1));
    MZ_TRY(mz_net_cell(n, &m->weight, MZ_ROOM_HELD, n->acc, T, 1));
    MZ_TRY(mz_net_cell(n, &m->loss, MZ_ROOM_HELD, n->acc, T, 1));
    MZ_TRY(mz_net_cell(n, &n->cos, MZ_ROOM_HELD, MZ_F32, o->position_max, half));
    MZ_TRY(mz_net_cell(n, &n->sin, MZ_ROOM_HELD, MZ_F32, o->position_max, half));
    if (o->cache_pages == 0) return MZ_OK;
    MZ_TRY(mz_net_cell(n, &m->rows, MZ_ROOM_HELD, MZ_I32, T, 1));
    MZ_TRY(mz_net_cell(n, &m->table, MZ_ROOM_HELD, MZ_I32, B, o->pages_per_sequence_max));
    return mz_net_cell(n, &m->lens, MZ_ROOM_HELD, MZ_I32, B, 1);
}

/* Norms give a gradient always; where they do not learn it goes where nobody looks. */
static mz_err describe_sink(mz_net *n)
{
    int64_t width = 1;
    for (int64_t i = 0; i < n->params.n; i++) {
        const mz_param *p = &n->params.list[i];
        if (p->kind == MZ_PARAM_NORM && p->dim[0] > width) width = p->dim[0];
    }
    return n->config.lora.rank > 0 ? mz_net_cell(n, &n->sink, MZ_ROOM_HELD, n->acc, 1, width)
                                   : MZ_OK;
}

/* The gradients that cross the blocks lie below the blocks' own scratch. */
static mz_err describe_stream(mz_model *m)
{
    mz_net *n = &m->net;
    const int64_t T = n->T, D = n->config.width;
    MZ_TRY(mz_net_cell(n, &m->first, MZ_ROOM_HELD, n->dtype, T, D));
    MZ_TRY(mz_net_cell(n, &m->normed, MZ_ROOM_HELD, n->dtype, T, D));
    if (!n->options.train) return MZ_OK;
    MZ_TRY(mz_lora_describe_room(n));
    MZ_TRY(describe_sink(n));
    MZ_TRY(mz_net_elementwise(n, &m->add, MZ_EW_ADD, T, D));
    MZ_TRY(mz_net_cell(n, &m->dnormed, MZ_ROOM_SCRATCH, n->dtype, T, D));
    MZ_TRY(mz_net_cell(n, &m->d, MZ_ROOM_SCRATCH, n->dtype, T, D));
    return n->config.mtp_layers > 0 ? mz_net_cell(n, &m->dh, MZ_ROOM_SCRATCH, n->dtype, T, D)
                                    : MZ_OK;
}

static mz_err describe_network(mz_model *m)
{
    mz_net *n = &m->net;
    const mz_cell *stream = &m->first;
    const bool has_mtp = mz_config_has_head(&n->config) && n->config.mtp_layers > 0;
    if (mz_config_has_embed(&n->config) || has_mtp) MZ_TRY(mz_embed_describe(n, &m->embed));
    n->shares_kept = n->options.train && n->options.recompute;
    for (int64_t i = mz_config_first(&n->config); i < mz_config_end(&n->config); i++) {
        n->kept = 0; /* each block's lie where those of the one before it did */
        MZ_TRY(mz_block_describe(n, &m->blocks[i], i, stream));
        stream = &m->blocks[i].out;
    }
    n->shares_kept = false;
    if (!mz_config_has_head(&n->config)) return MZ_OK;
    MZ_TRY(mz_norm_describe(n, &m->norm, n->T, n->config.rms_eps, "model.norm"));
    MZ_TRY(mz_head_describe(n, &m->head));
    for (int64_t k = 1; k <= n->config.mtp_layers; k++)
        MZ_TRY(mz_mtp_describe(n, &m->mtp[k - 1], k));
    return MZ_OK;
}

/* A model that knows what it needs and has booked nothing on the chip. q may be NULL: then no chip
 * is asked, and what operators save is not known. */
static mz_err describe(mz_model *m, mz_queue *q, const mz_config *c, const mz_model_options *o)
{
    mz_net *n = &m->net;
    MZ_TRY(check_config(c));
    MZ_TRY(check_options(c, o));
    n->queue = q;
    n->config = *c;
    n->options = *o;
    if (o->part_layers > 0 && o->part_layers < c->layers) {
        n->config.part_first = o->part_first;
        n->config.part_end = o->part_first + o->part_layers;
    }
    n->dtype = o->dtype;
    n->acc = mz_dtype_acc(o->dtype);
    n->T = o->tokens_max;
    if (!o->mtp) n->config.mtp_layers = 0; /* a layer that is not bound has no parameters here */
    if (o->weights)
        MZ_TRY(mz_params_list_shared(&n->params, &n->config, o->dtype, o->weights));
    else
        MZ_TRY(mz_params_list_stored(&n->params, &n->config, o->dtype, o->stored, o->stored_user));
    MZ_TRY(mz_mem_new(&m->blocks, n->config.layers, sizeof *m->blocks));
    MZ_TRY(mz_mem_new(&m->mtp, n->config.mtp_layers, sizeof *m->mtp));
    MZ_TRY(describe_inputs(m));
    MZ_TRY(describe_stream(m));
    return describe_network(m);
}

static void add_up(mz_model *m)
{
    const mz_net *n = &m->net;
    mz_memory_plan p = {.weights = n->params.weights_bytes,
                        .gradients = n->options.train ? n->params.grads_bytes : 0,
                        .activations = mz_net_booked(n) * (size_t)mz_part_slots(n),
                        .cache = n->cache};
    for (int i = 0; i < n->n_ops; i++) {
        const mz_support *s = &n->ops[i].support;
        if (s->workspace_bytes > p.workspace) p.workspace = s->workspace_bytes;
        p.staging += s->staging_bytes;
    }
    p.total = p.weights + p.gradients + p.activations + p.workspace + p.staging + p.cache;
    m->plan = p;
}

/* ---- booking ---- */

/* The operator with the largest workspace goes first, so that the queue's block is made once. */
static mz_err bind_ops(mz_net *n)
{
    int first = 0;
    for (int i = 0; i < n->n_ops; i++)
        if (n->ops[i].support.workspace_bytes > n->ops[first].support.workspace_bytes) first = i;
    MZ_TRY(mz_bind(&n->ops[first].op, n->queue, &n->ops[first].desc));
    for (int i = 0; i < n->n_ops; i++)
        if (i != first) MZ_TRY(mz_bind(&n->ops[i].op, n->queue, &n->ops[i].desc));
    return MZ_OK;
}

static mz_err upload_tables(mz_net *n)
{
    const mz_tensor c = mz_cell_rows(n, &n->cos, n->cos.rows);
    const mz_tensor s = mz_cell_rows(n, &n->sin, n->sin.rows);
    float *cosines = NULL, *sines = NULL;
    mz_err err = mz_mem_new(&cosines, mz_count(&c), sizeof *cosines);
    if (err == MZ_OK) err = mz_mem_new(&sines, mz_count(&s), sizeof *sines);
    if (err == MZ_OK) err = mz_rope_tables(&n->config.rope, n->cos.rows, cosines, sines);
    if (err == MZ_OK) err = mz_upload(n->queue, &c, cosines);
    if (err == MZ_OK) err = mz_upload(n->queue, &s, sines);
    const mz_err waited = mz_queue_sync(n->queue); /* before the arrays go away, whatever failed */
    mz_mem_free(sines);
    mz_mem_free(cosines);
    return err != MZ_OK ? err : waited;
}

static mz_err book(mz_model *m)
{
    mz_net *n = &m->net;
    mz_device *device = n->queue->device;
    MZ_TRY(mz_params_alloc(&n->params, device, n->options.train));
    MZ_TRY(mz_part_book(m));
    if (n->cache > 0) MZ_TRY(mz_buffer_new(&n->pages, device, n->cache));
    MZ_TRY(bind_ops(n));
    MZ_TRY(mz_stage_book(m));
    for (int64_t i = mz_part_slots(n) - 1; i >= 0; i--) { /* ends with the first in place */
        mz_part_use(m, i);
        MZ_TRY(upload_tables(n));
    }
    return MZ_OK;
}

static void clear(mz_model *m)
{
    mz_net *n = &m->net;
    for (int i = 0; i < n->n_ops; i++) mz_op_free(n->ops[i].op);
    mz_mem_free(n->ops);
    mz_buffer_free(n->pages);
    mz_part_clear(m);
    mz_params_clear(&n->params);
    mz_stage_clear(m);
    mz_mem_free(m->blocks);
    mz_mem_free(m->mtp);
    mz_mem_free(m);
}

mz_err mz_model_new(mz_model **out, mz_queue *q, const mz_config *c, const mz_model_options *o)
{
    mz_model *m = NULL;
    mz_err err;
    MZ_NEED(out && q && c && o, "model, queue, config or options is NULL");
    MZ_TRY(mz_mem_new(&m, 1, sizeof *m));
    MZ_TRY_GOTO(err, describe(m, q, c, o), fail);
    add_up(m);
    MZ_TRY_GOTO(err, book(m), fail);
    mz_queue_tell(q);
    *out = m;
    return MZ_OK;
fail:
    clear(m);
    return err;
}

void mz_model_free(mz_model *m)
{
    if (!m) return;
    const mz_err_info why = *mz_err_last(); /* what failed before is what is told */
    (void)mz_queue_sync(m->net.queue);      /* the memory goes anyway */
    if (why.code != MZ_OK) mz_err_restore(&why);
    clear(m);
}

/* ---- asking without booking ---- */

mz_err mz_model_plan(mz_memory_plan *plan, mz_queue *q, const mz_config *c,
                     const mz_model_options *o)
{
    mz_model *m = NULL;
    MZ_NEED(plan && q && c && o, "plan, queue, config or options is NULL");
    MZ_TRY(mz_mem_new(&m, 1, sizeof *m));
    const mz_err err = describe(m, q, c, o);
    if (err == MZ_OK) {
        add_up(m);
        *plan = m->plan;
    }
    clear(m);
    return err;
}

mz_err mz_model_ops(const mz_config *c, const mz_model_options *o, mz_model_op_fn *fn, void *arg)
{
    mz_model *m = NULL;
    MZ_NEED(c && o && fn, "config, options or fn is NULL");
    MZ_TRY(mz_mem_new(&m, 1, sizeof *m));
    mz_err err = describe(m, NULL, c, o);
    for (int i = 0; i < m->net.n_ops && err == MZ_OK; i++) err = fn(arg, &m->net.ops[i].desc);
    clear(m);
    return err;
}

mz_params *mz_model_params(mz_model *m)
{
    return &m->net.params;
}

const mz_config *mz_model_config(const mz_model *m)
{
    return &m->net.config;
}

int64_t mz_model_tokens_max(const mz_model *m)
{
    return m->net.T;
}

const mz_memory_plan *mz_model_memory(const mz_model *m)
{
    return &m->plan;
}
