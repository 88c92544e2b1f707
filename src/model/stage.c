/* SPDX-License-Identifier: Apache-2.0 */
/* model/stage.c - a call's host arrays: checked, copied into booked memory, and uploaded.
 *
 * They are copied because the caller's arrays may go away before the chip has read them, and
 * because some are made here: cache rows, shifted targets, weights in acc.
 * Floor:  model. May use chip, tensor, base. */
#include "base/mem.h"
#include "model/whole.h"

#include <math.h>
#include <string.h>

/* ---- booking ---- */

typedef struct carver {
    unsigned char *base; /* NULL: only counting */
    size_t at;
} carver;

static void *carve(carver *c, int64_t count, size_t size)
{
    void *p = c->base ? c->base + c->at : NULL;
    c->at += ((size_t)count * size + 63) / 64 * 64;
    return p;
}

static void carve_stage(const mz_model *m, mz_stage *s, carver *c)
{
    const mz_net *n = &m->net;
    const mz_model_options *o = &n->options;
    const size_t id = sizeof(int32_t), acc = mz_dtype_bytes(n->acc);
    const int64_t T = n->T, depths = n->config.mtp_layers;
    s->ids = carve(c, T, id);
    s->pos = carve(c, T, id);
    s->targets = carve(c, T, id);
    s->learnt = carve(c, T, id);
    s->rows = carve(c, T, id);
    s->cu = carve(c, o->sequences_max + 1, id);
    s->lens = carve(c, o->sequences_max + 1, id);
    s->table = carve(c, o->sequences_max * o->pages_per_sequence_max, id);
    s->index = carve(c, m->head.rows, id);
    s->shifted_ids = carve(c, depths * T, id);
    s->shifted_targets = carve(c, depths * T, id);
    s->shifted_learnt = carve(c, depths * T, id);
    s->weight = carve(c, T, acc);
    s->shifted_weight = carve(c, depths * T, acc);
}

mz_err mz_stage_book(mz_model *m)
{
    for (int i = 0; i < MZ_STAGES; i++) {
        mz_stage *s = &m->stage[i];
        carver c = {0};
        carve_stage(m, s, &c);
        MZ_TRY(mz_mem_new(&s->block, (int64_t)c.at, 1));
        c = (carver){.base = s->block};
        carve_stage(m, s, &c);
    }
    MZ_TRY(mz_mem_new(&m->seen_ids, m->net.T, sizeof *m->seen_ids));
    MZ_TRY(mz_mem_new(&m->seen_cu, m->net.options.sequences_max + 1, sizeof *m->seen_cu));
    const int64_t layers = m->net.config.layers + m->net.config.mtp_layers;
    return mz_mem_new(&m->forced_tokens, layers, sizeof *m->forced_tokens);
}

void mz_stage_clear(mz_model *m)
{
    for (int i = 0; i < MZ_STAGES; i++) mz_mem_free(m->stage[i].block);
    mz_mem_free(m->seen_ids);
    mz_mem_free(m->seen_cu);
    mz_mem_free(m->forced_tokens);
}

mz_err mz_stage_take(mz_model *m, mz_stage **s)
{
    mz_queue *q = m->net.queue;
    *s = &m->stage[m->next_stage];
    if (!q->takes_uploads && (*s)->is_taken && (*s)->taken_at == q->syncs) MZ_TRY(mz_queue_sync(q));
    (*s)->is_taken = true;
    (*s)->taken_at = q->syncs;
    m->next_stage = (m->next_stage + 1) % MZ_STAGES;
    return MZ_OK;
}

/* ---- checking ---- */

static mz_err check_cu(const mz_batch *b)
{
    MZ_NEED(b->cu[0] == 0 && b->cu[b->sequences] == b->tokens,
            "cu runs from %d to %d, want 0 to %lld", b->cu[0], b->cu[b->sequences],
            (long long)b->tokens);
    for (int64_t i = 0; i < b->sequences; i++)
        MZ_NEED(b->cu[i] <= b->cu[i + 1], "cu falls from %d to %d at sequence %lld", b->cu[i],
                b->cu[i + 1], (long long)i);
    return MZ_OK;
}

mz_err mz_check_batch(const mz_model *m, const mz_batch *b)
{
    const mz_model_options *o = &m->net.options;
    MZ_NEED(b->tokens >= 0 && b->tokens <= o->tokens_max, "%lld tokens, bound for %lld",
            (long long)b->tokens, (long long)o->tokens_max);
    MZ_NEED(b->sequences >= 0 && b->sequences <= o->sequences_max, "%lld sequences, bound for %lld",
            (long long)b->sequences, (long long)o->sequences_max);
    MZ_NEED(b->cu && ((b->ids && b->pos) || b->tokens == 0), "ids, pos or cu is NULL");
    MZ_TRY(check_cu(b));
    for (int64_t t = 0; t < b->tokens; t++) {
        MZ_NEED(b->ids[t] >= 0 && b->ids[t] < m->net.config.vocab,
                "ids[%lld] is %d, want 0 .. %lld", (long long)t, b->ids[t],
                (long long)m->net.config.vocab - 1);
        MZ_NEED(b->pos[t] >= 0 && b->pos[t] < o->position_max, "pos[%lld] is %d, want 0 .. %lld",
                (long long)t, b->pos[t], (long long)o->position_max - 1);
    }
    return MZ_OK;
}

mz_err mz_check_targets(const mz_model *m, const mz_batch *b, bool weighted)
{
    MZ_NEED(b->targets || b->tokens == 0, "targets is NULL");
    MZ_NEED(b->weight || b->tokens == 0 || !weighted, "weight is NULL");
    for (int64_t t = 0; t < b->tokens; t++) {
        const int32_t id = b->targets[t];
        MZ_NEED(id == -100 || (id >= 0 && id < m->net.config.vocab),
                "targets[%lld] is %d, want 0 .. %lld or -100", (long long)t, id,
                (long long)m->net.config.vocab - 1);
        MZ_NEED(!b->weight || isfinite(b->weight[t]), "weight[%lld] is not finite", (long long)t);
    }
    return MZ_OK;
}

static mz_err check_one_cached(const mz_model *m, const mz_batch *b, const mz_cached *c, int64_t i)
{
    const mz_model_options *o = &m->net.options;
    const int64_t fresh = b->cu[i + 1] - b->cu[i], len = c->lens[i];
    const int64_t pages = (len + o->page_tokens - 1) / o->page_tokens;
    const int32_t *table = c->table + i * o->pages_per_sequence_max;
    MZ_NEED(len >= fresh && len <= o->pages_per_sequence_max * o->page_tokens,
            "lens[%lld] is %lld, want %lld new tokens .. %lld", (long long)i, (long long)len,
            (long long)fresh, (long long)(o->pages_per_sequence_max * o->page_tokens));
    for (int64_t p = 0; p < pages; p++)
        MZ_NEED(table[p] >= 0 && table[p] < o->cache_pages, "table[%lld,%lld] is page %d of %lld",
                (long long)i, (long long)p, table[p], (long long)o->cache_pages);
    for (int64_t j = 0; j < fresh; j++)
        MZ_NEED(b->pos[b->cu[i] + j] == len - fresh + j,
                "pos[%lld] is %d, but sequence %lld has %lld keys before it",
                (long long)(b->cu[i] + j), b->pos[b->cu[i] + j], (long long)i,
                (long long)(len - fresh + j));
    return MZ_OK;
}

mz_err mz_check_cached(const mz_model *m, const mz_batch *b, const mz_cached *c)
{
    MZ_NEED(m->net.options.cache_pages > 0, "the model was bound without a cache");
    MZ_NEED(c->table && c->lens, "table or lens is NULL");
    for (int64_t i = 0; i < b->sequences; i++) MZ_TRY(check_one_cached(m, b, c, i));
    return MZ_OK;
}

/* ---- uploading ---- */

static mz_err send(const mz_net *n, const mz_tensor *view, void *staged, const void *from)
{
    size_t bytes = 0;
    MZ_TRY(mz_shape_bytes(view->dtype, view->rank, view->dim, &bytes));
    if (bytes == 0) return MZ_OK;
    if (from) memcpy(staged, from, bytes);
    return mz_upload(n->queue, view, staged);
}

void mz_stage_views(mz_model *m, const mz_batch *b)
{
    mz_net *n = &m->net;
    n->tokens = b->tokens;
    n->sequences = b->sequences;
    n->cached = false;
    n->ids = mz_cell_flat(n, &m->ids, b->tokens);
    n->pos = mz_cell_flat(n, &m->pos, b->tokens);
    n->cu = mz_cell_flat(n, &m->cu, b->sequences + 1);
}

mz_err mz_stage_batch(mz_model *m, mz_stage *s, const mz_batch *b)
{
    mz_net *n = &m->net;
    mz_stage_views(m, b);
    n->cu_host = s->cu;
    MZ_TRY(send(n, &n->ids, s->ids, b->ids));
    MZ_TRY(send(n, &n->pos, s->pos, b->pos));
    return send(n, &n->cu, s->cu, b->cu);
}

mz_err mz_stage_cached(mz_model *m, mz_stage *s, const mz_batch *b, const mz_cached *c)
{
    mz_net *n = &m->net;
    const mz_model_options *o = &n->options;
    const int64_t page = o->page_tokens, shape[2] = {b->sequences, o->pages_per_sequence_max};
    const mz_tensor flat = mz_cell_flat(n, &m->table, shape[0] * shape[1]);
    MZ_TRY(mz_stage_batch(m, s, b));
    n->cached = true;
    n->rows = mz_cell_flat(n, &m->rows, b->tokens);
    n->lens = mz_cell_flat(n, &m->lens, b->sequences);
    n->table = mz_reshape(&flat, 2, shape);
    for (int64_t i = 0; i < b->sequences; i++) {
        /* The chip never reads a page past lens, but a table entry there is still an index. */
        const int64_t used = (c->lens[i] + page - 1) / page;
        int32_t *row = s->table + i * shape[1];
        for (int64_t p = 0; p < shape[1]; p++) row[p] = p < used ? c->table[i * shape[1] + p] : 0;
        for (int64_t t = b->cu[i]; t < b->cu[i + 1]; t++)
            s->rows[t] = (int32_t)(row[b->pos[t] / page] * page + b->pos[t] % page);
    }
    MZ_TRY(send(n, &n->rows, s->rows, NULL));
    MZ_TRY(send(n, &n->table, s->table, NULL));
    return send(n, &n->lens, s->lens, c->lens);
}

static void put_acc(const mz_net *n, void *array, int64_t i, double x)
{
    if (n->acc == MZ_F64)
        ((double *)array)[i] = x;
    else
        ((float *)array)[i] = (float)x;
}

mz_err mz_stage_targets(mz_model *m, mz_stage *s, const mz_batch *b)
{
    const mz_net *n = &m->net;
    const mz_tensor targets = mz_cell_flat(n, &m->targets, b->tokens);
    const mz_tensor weight = mz_cell_flat(n, &m->weight, b->tokens);
    for (int64_t t = 0; t < b->tokens; t++)
        put_acc(n, s->weight, t, b->weight ? (double)b->weight[t] : 0.0);
    MZ_TRY(send(n, &targets, s->targets, b->targets));
    return send(n, &weight, s->weight, NULL);
}

/* The row of the pad token learns nothing as an input, as transformers has it (padding_idx). */
static int32_t learnt(const mz_net *n, int32_t id)
{
    return id == n->config.pad ? -1 : id;
}

mz_err mz_stage_learnt(mz_model *m, mz_stage *s, const mz_batch *b, mz_tensor *ids)
{
    *ids = mz_cell_flat(&m->net, &m->learnt, b->tokens);
    for (int64_t t = 0; t < b->tokens; t++) s->learnt[t] = learnt(&m->net, b->ids[t]);
    return send(&m->net, ids, s->learnt, NULL);
}

/* Ids, targets and weights of depth k, `at` elements into the stage's arrays. */
static void shift(const mz_net *n, mz_stage *s, const mz_batch *b, int64_t k, double share)
{
    const int64_t at = (k - 1) * n->T;
    for (int64_t i = 0; i < b->sequences; i++)
        for (int64_t t = b->cu[i]; t < b->cu[i + 1]; t++) {
            const int64_t from = t + k;
            const bool inside = from < b->cu[i + 1];
            const double w = inside && b->weight ? (double)b->weight[from] : 0.0;
            s->shifted_ids[at + t] = inside ? b->ids[from] : 0;
            s->shifted_learnt[at + t] = learnt(n, s->shifted_ids[at + t]);
            s->shifted_targets[at + t] = inside ? b->targets[from] : -100;
            put_acc(n, s->shifted_weight, at + t, share * w);
        }
}

mz_err mz_stage_mtp(mz_model *m, mz_stage *s, const mz_batch *b, double share)
{
    const mz_net *n = &m->net;
    const size_t acc = mz_dtype_bytes(n->acc);
    for (int64_t k = 1; k <= n->config.mtp_layers; k++) {
        const mz_mtp *mtp = &m->mtp[k - 1];
        const int64_t at = (k - 1) * n->T;
        const mz_tensor ids = mz_cell_flat(n, &mtp->ids, b->tokens);
        const mz_tensor targets = mz_cell_flat(n, &mtp->targets, b->tokens);
        const mz_tensor weight = mz_cell_flat(n, &mtp->weight, b->tokens);
        shift(n, s, b, k, share);
        MZ_TRY(send(n, &ids, s->shifted_ids + at, NULL));
        if (n->options.train) {
            const mz_tensor trained = mz_cell_flat(n, &mtp->learnt, b->tokens);
            MZ_TRY(send(n, &trained, s->shifted_learnt + at, NULL));
        }
        MZ_TRY(send(n, &targets, s->shifted_targets + at, NULL));
        MZ_TRY(send(n, &weight, (unsigned char *)s->shifted_weight + (size_t)at * acc, NULL));
    }
    return MZ_OK;
}
