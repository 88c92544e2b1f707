/* SPDX-License-Identifier: Apache-2.0 */
/* train/pipeline.c - see pipeline.h. */
#include "train/pipeline.h"

#include "base/mem.h"
#include "model/part.h"

#include <math.h>

struct mz_pipe {
    mz_comm *comm;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    int64_t slots;
    size_t row; /* bytes of one token's hidden state */
    /* one micro-batch's: what goes in and comes out, and their gradients */
    unsigned char *in, *out, *dout, *din;
    const mz_param *table;        /* one that the last rank borrows of the first; NULL elsewhere */
    float *table_own, *table_got; /* its gradient here and from there, then its weights */
    /* of the step that runs */
    mz_pipe_fill *fill;
    void *user;
};

void mz_pipe_options(const mz_train_config *c, int64_t r, mz_model_options *o)
{
    const int64_t batches = (c->batch_global + c->batch_micro - 1) / c->batch_micro;
    const int64_t slots = c->n_ranks - r;
    if (c->n_ranks < 2 || c->ranks[0].layers == 0) return;
    o->part_first = 0;
    for (int64_t i = 0; i < r; i++) o->part_first += c->ranks[i].layers;
    o->part_layers = c->ranks[r].layers;
    o->slots = slots < batches ? slots : batches;
}

size_t mz_pipe_room(const mz_model_options *o, const mz_config *network, int64_t size)
{
    const bool is_first = o->part_first == 0;
    const bool is_last = o->part_first + o->part_layers == network->layers;
    const bool borrows = network->tied || (o->mtp && network->mtp_layers > 0);
    const size_t table = (size_t)network->vocab * (size_t)network->width * sizeof(float);
    const size_t tables = borrows && is_first ? 2 * table : borrows && is_last ? table : 0;
    return 4 * (size_t)o->tokens_max * (size_t)network->width * mz_dtype_bytes(o->dtype) +
           mz_comm_room((int)size) + tables;
}

static bool is_first(const mz_pipe *p)
{
    return p->comm->rank == 0;
}

static bool is_last(const mz_pipe *p)
{
    return p->comm->rank == p->comm->size - 1;
}

/* The first rank sees from the network alone whether the last one borrows its table. */
static mz_err find_table(mz_pipe *p)
{
    mz_config end = *mz_model_config(p->model);
    end.part_first = end.layers - 1; /* a last part, whichever layers it begins with */
    end.part_end = end.layers;
    if ((!is_first(p) && !is_last(p)) || !mz_config_borrows_embed(&end)) return MZ_OK;
    const mz_param *w = mz_params_find(mz_model_params(p->model), "model.embed_tokens.weight");
    MZ_NEED(w, "there is no embedding");
    if (!w->g.buf) return MZ_OK; /* it does not learn */
    MZ_NEED(w->g.dtype == MZ_F32, "gradients that are not f32");
    p->table = w;
    if (is_last(p)) mz_trainer_lend(p->trainer, w);
    MZ_TRY(mz_mem_new(&p->table_own, mz_count(&w->g), sizeof(float)));
    return is_first(p) ? mz_mem_new(&p->table_got, mz_count(&w->g), sizeof(float)) : MZ_OK;
}

mz_err mz_pipe_new(mz_pipe **out, mz_comm *comm, mz_queue *q, mz_model *m, mz_trainer *t,
                   int64_t slots)
{
    mz_pipe *p = NULL;
    MZ_NEED(out && comm && q && m && t && comm->size > 1, "an argument is NULL, or one rank");
    const mz_config *c = mz_model_config(m);
    const mz_params *ps = mz_model_params(m);
    size_t size = mz_dtype_bytes(ps->list[0].dtype); /* the model's: no norm's is smaller */
    for (int64_t i = 0; i < ps->n; i++)
        if (mz_dtype_bytes(ps->list[i].dtype) < size) size = mz_dtype_bytes(ps->list[i].dtype);
    MZ_TRY(mz_mem_new(&p, 1, sizeof *p));
    *p = (mz_pipe){.comm = comm, .queue = q, .model = m, .trainer = t, .slots = slots};
    p->row = (size_t)c->width * size;
    const int64_t tokens = mz_model_tokens_max(m);
    mz_err err = mz_mem_new(&p->in, tokens, p->row);
    if (err == MZ_OK) err = mz_mem_new(&p->out, tokens, p->row);
    if (err == MZ_OK) err = mz_mem_new(&p->dout, tokens, p->row);
    if (err == MZ_OK) err = mz_mem_new(&p->din, tokens, p->row);
    if (err == MZ_OK) err = find_table(p);
    if (err != MZ_OK) {
        mz_pipe_free(p);
        return err;
    }
    *out = p;
    return MZ_OK;
}

void mz_pipe_free(mz_pipe *p)
{
    if (!p) return;
    mz_mem_free(p->in);
    mz_mem_free(p->out);
    mz_mem_free(p->dout);
    mz_mem_free(p->din);
    mz_mem_free(p->table_own);
    mz_mem_free(p->table_got);
    mz_mem_free(p);
}

/* ---- neighbours ---- */

static mz_err tokens_of(mz_pipe *p, int64_t i, size_t *bytes)
{
    mz_batch batch;
    mz_loss_options o;
    MZ_TRY(p->fill(p->user, i, &batch, &o));
    *bytes = (size_t)batch.tokens * p->row;
    return MZ_OK;
}

/* With the next rank: micro-batch `sent` forward, the gradient of `got` back; -1: none. */
static mz_err with_next(mz_pipe *p, int64_t sent, int64_t got)
{
    mz_exchange x = {.to = p->comm->rank + 1, .from = p->comm->rank + 1};
    if (is_last(p)) return MZ_OK;
    x.out = p->out;
    x.in = p->dout;
    if (sent >= 0) MZ_TRY(tokens_of(p, sent, &x.out_bytes));
    if (got >= 0) MZ_TRY(tokens_of(p, got, &x.in_bytes));
    return p->comm->table->exchange(p->comm, &x);
}

/* With the one before: the gradient of `sent` back, micro-batch `got` forward. */
static mz_err with_before(mz_pipe *p, int64_t sent, int64_t got)
{
    mz_exchange x = {.to = p->comm->rank - 1, .from = p->comm->rank - 1};
    if (is_first(p)) return MZ_OK;
    x.out = p->din;
    x.in = p->in;
    if (sent >= 0) MZ_TRY(tokens_of(p, sent, &x.out_bytes));
    if (got >= 0) MZ_TRY(tokens_of(p, got, &x.in_bytes));
    return p->comm->table->exchange(p->comm, &x);
}

/* ---- the schedule ---- */

static mz_err forward(mz_pipe *p, int64_t i)
{
    mz_batch batch;
    mz_loss_options o;
    MZ_TRY(p->fill(p->user, i, &batch, &o));
    MZ_TRY(mz_model_slot(p->model, i % p->slots));
    return mz_part_forward(p->model, &batch, is_first(p) ? NULL : p->in,
                           is_last(p) ? NULL : p->out);
}

static mz_err backward(mz_pipe *p, int64_t i)
{
    mz_batch batch;
    mz_loss_options o;
    mz_tensor loss;
    const mz_part_grads g = {.dout = is_last(p) ? NULL : p->dout,
                             .din = is_first(p) ? NULL : p->din};
    MZ_TRY(p->fill(p->user, i, &batch, &o));
    MZ_TRY(mz_model_slot(p->model, i % p->slots));
    MZ_TRY(mz_part_backward(p->model, &batch, &o, &g, &loss));
    return is_last(p) && batch.tokens > 0 ? mz_trainer_note(p->trainer, &batch, &loss) : MZ_OK;
}

/* Each line of the middle part meets one of the next rank's: a forward goes on while a gradient
 * comes back, in one exchange, so that neither waits for the other to listen. */
mz_err mz_pipe_run(mz_pipe *p, int64_t n, mz_pipe_fill *fill, void *user)
{
    const int64_t behind = p->comm->size - 1 - p->comm->rank;
    const int64_t ahead = behind < n ? behind : n;
    p->fill = fill;
    p->user = user;
    for (int64_t i = 0; i < ahead; i++) {
        MZ_TRY(with_before(p, -1, i));
        MZ_TRY(forward(p, i));
        MZ_TRY(with_next(p, i, -1));
    }
    if (ahead < n) MZ_TRY(with_before(p, -1, ahead));
    for (int64_t i = ahead; i < n; i++) {
        MZ_TRY(forward(p, i));
        MZ_TRY(with_next(p, i, i - ahead));
        MZ_TRY(backward(p, i - ahead));
        MZ_TRY(with_before(p, i - ahead, i + 1 < n ? i + 1 : -1));
    }
    for (int64_t i = n - ahead; i < n; i++) {
        MZ_TRY(with_next(p, -1, i));
        MZ_TRY(backward(p, i));
        MZ_TRY(with_before(p, i, -1));
    }
    return MZ_OK;
}

mz_err mz_pipe_forward(mz_pipe *p, const mz_batch *batch)
{
    MZ_NEED(p && batch, "pipe or batch is NULL");
    const size_t bytes = (size_t)batch->tokens * p->row;
    MZ_TRY(mz_model_slot(p->model, 0));
    if (!is_first(p)) MZ_TRY(mz_comm_recv(p->comm, p->comm->rank - 1, p->in, bytes));
    MZ_TRY(
        mz_part_forward(p->model, batch, is_first(p) ? NULL : p->in, is_last(p) ? NULL : p->out));
    return is_last(p) ? MZ_OK : mz_comm_send(p->comm, p->comm->rank + 1, p->out, bytes);
}

/* ---- over ranks and slots ---- */

/* The last rank's part of the table's gradient to the first one. */
static mz_err add_table(mz_pipe *p)
{
    const int last = p->comm->size - 1;
    if (!p->table) return MZ_OK;
    const mz_tensor *g = &p->table->g;
    const int64_t n = mz_count(g);
    MZ_TRY(mz_download(p->queue, p->table_own, g));
    MZ_TRY(mz_queue_sync(p->queue));
    if (is_last(p)) return mz_comm_send(p->comm, 0, p->table_own, (size_t)n * sizeof(float));
    MZ_TRY(mz_comm_recv(p->comm, last, p->table_got, (size_t)n * sizeof(float)));
    for (int64_t i = 0; i < n; i++) p->table_own[i] += p->table_got[i];
    MZ_TRY(mz_upload(p->queue, g, p->table_own));
    return mz_queue_sync(p->queue);
}

mz_err mz_pipe_share(mz_pipe *p)
{
    const int last = p->comm->size - 1;
    if (!p->table) return MZ_OK;
    const mz_tensor *w = &p->table->w; /* no wider than its gradient */
    const size_t bytes = (size_t)mz_count(w) * mz_dtype_bytes(w->dtype);
    if (is_first(p)) {
        MZ_TRY(mz_download(p->queue, p->table_own, w));
        MZ_TRY(mz_queue_sync(p->queue));
        return mz_comm_send(p->comm, last, p->table_own, bytes);
    }
    MZ_TRY(mz_comm_recv(p->comm, 0, p->table_own, bytes));
    MZ_TRY(mz_upload(p->queue, w, p->table_own));
    return mz_queue_sync(p->queue);
}

mz_err mz_pipe_norm(mz_pipe *p, double *norm)
{
    double squares = 0.0;
    MZ_TRY(add_table(p));
    MZ_TRY(mz_trainer_squares(p->trainer, &squares));
    MZ_TRY(mz_comm_sum(p->comm, &squares, 1));
    *norm = sqrt(squares);
    return MZ_OK;
}

mz_err mz_pipe_zero_counts(mz_pipe *p)
{
    for (int64_t i = 0; i < p->slots; i++) {
        MZ_TRY(mz_model_slot(p->model, i));
        MZ_TRY(mz_model_zero_counts(p->model));
    }
    return MZ_OK;
}
