/* SPDX-License-Identifier: Apache-2.0 */
/* train/parallel.c - see parallel.h. */
#include "train/parallel.h"

#include "base/mem.h"
#include "chip/collective.h"
#include "train/groups.h"

#include <math.h>

/* Weights of one slice that lie this near to each other go in one call: what is between them is
 * the padding of their buffer. */
enum { GAP_BYTES = 256 };

/* Slices begin where a vendor library would let a tensor begin, in f32 and in bf16. */
enum { UNIT = 128 };

/* What one slice has of one parameter: n elements from `from` on; `at` is where their weights lie
 * in the room, in bytes. */
typedef struct piece {
    const mz_param *param;
    int64_t from, n, at;
    int rank;
} piece;

/* Bytes of the weights' buffer that one rank gives to all. */
typedef struct gift {
    size_t offset, bytes;
    int rank;
} gift;

struct mz_team {
    mz_comm *comm;
    const mz_train_config *config;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    int64_t first[MZ_RANKS_MAX + 1];       /* elements of the flat gradients */
    int64_t first_bytes[MZ_RANKS_MAX + 1]; /* of the room for weights */
    piece *pieces;                         /* in the order of the ranks */
    int64_t n_pieces;
    mz_groups groups;
    gift *gifts; /* [n_gifts] where the devices do it all, in the order of the ranks */
    int64_t n_gifts;
    unsigned char *weights; /* room: the weights that train, packed; else */
    float *flat;            /* room: flat gradients, where the host cannot look at the chip's */
};

/* ---- cutting ---- */

/* The multiple of unit that is nearest to n * part / whole, in whole numbers. */
static int64_t cut_at(int64_t n, int64_t part, int64_t whole, int64_t unit)
{
    if (part == whole) return n;
    const int64_t units = n / unit, q = units / whole, rest = units % whole;
    return (q * part + (2 * rest * part + whole) / (2 * whole)) * unit;
}

void mz_cut(const mz_rank_config *ranks, int64_t n_ranks, int64_t r, int64_t n, int64_t unit,
            int64_t *first, int64_t *end)
{
    int64_t whole = 0, before = 0;
    for (int64_t i = 0; i < n_ranks; i++) {
        if (i < r) before += ranks[i].share;
        whole += ranks[i].share;
    }
    *first = cut_at(n, before, whole, unit);
    *end = cut_at(n, before + ranks[r].share, whole, unit);
}

void mz_team_part(const mz_team *t, int64_t global, int64_t *first, int64_t *n)
{
    int64_t end;
    mz_cut(t->config->ranks, t->config->n_ranks, t->comm->rank, global, 1, first, &end);
    *n = end - *first;
}

/* ---- set up ---- */

/* Where a parameter's gradient begins, in elements. */
static int64_t begin_of(const mz_param *p)
{
    return (int64_t)(p->g.offset_bytes / sizeof(float));
}

/* Elements a .. b-1 of parameter p that lie in slice r; false if none do. */
static bool meets(const mz_team *t, const mz_param *p, int r, int64_t *a, int64_t *b)
{
    const int64_t begin = begin_of(p), count = mz_count(&p->g);
    if (!p->g.buf) return false;
    *a = t->first[r] > begin ? t->first[r] - begin : 0;
    *b = t->first[r + 1] - begin < count ? t->first[r + 1] - begin : count;
    return *a < *b;
}

static mz_err list_pieces(mz_team *t)
{
    const mz_params *ps = mz_model_params(t->model);
    int64_t at = 0;
    MZ_TRY(mz_mem_new(&t->pieces, ps->n + t->comm->size, sizeof *t->pieces));
    for (int r = 0; r < t->comm->size; r++) {
        t->first_bytes[r] = at;
        for (int64_t i = 0; i < ps->n; i++) {
            const mz_param *p = &ps->list[i];
            int64_t a, b;
            if (!meets(t, p, r, &a, &b)) continue;
            t->pieces[t->n_pieces++] = (piece){p, a, b - a, at, r};
            at += (b - a) * (int64_t)mz_dtype_bytes(p->dtype);
        }
    }
    t->first_bytes[t->comm->size] = at;
    return MZ_OK;
}

static mz_tensor weights_of(const piece *p)
{
    const size_t at = (size_t)p->from * mz_dtype_bytes(p->param->dtype);
    return mz_view(p->param->w.buf, p->param->w.offset_bytes + at, p->param->dtype, 1, &p->n);
}

/* Pieces of a rank one after the other, as few as they can be. */
static mz_err list_gifts(mz_team *t)
{
    MZ_TRY(mz_mem_new(&t->gifts, t->n_pieces + 1, sizeof *t->gifts));
    for (int64_t i = 0; i < t->n_pieces; i++) {
        const piece *p = &t->pieces[i];
        const mz_tensor w = weights_of(p);
        const size_t end = w.offset_bytes + (size_t)p->n * mz_dtype_bytes(w.dtype);
        gift *last = t->n_gifts > 0 ? &t->gifts[t->n_gifts - 1] : NULL;
        const size_t after = last ? last->offset + last->bytes : 0;
        MZ_NEED(w.buf == mz_model_params(t->model)->weights, "weights lie in another buffer");
        if (last && last->rank == p->rank && w.offset_bytes >= after &&
            w.offset_bytes - after < GAP_BYTES)
            last->bytes = end - last->offset;
        else
            t->gifts[t->n_gifts++] = (gift){w.offset_bytes, end - w.offset_bytes, p->rank};
    }
    return MZ_OK;
}

static mz_err build(mz_team *t)
{
    const mz_params *ps = mz_model_params(t->model);
    const int64_t flat = (int64_t)(ps->grads_bytes / sizeof(float));
    const mz_train_config *c = t->config;
    for (int r = 0; r < t->comm->size; r++)
        mz_cut(c->ranks, c->n_ranks, r, flat, UNIT, &t->first[r], &t->first[r + 1]);
    MZ_TRY(list_pieces(t));
    MZ_TRY(mz_groups_form(&t->groups, t->comm, c, t->queue));
    if (t->groups.is_whole)
        MZ_TRY(list_gifts(t));
    else
        MZ_TRY(mz_mem_new(&t->weights, t->first_bytes[t->comm->size], 1));
    if (!ps->grads->host) MZ_TRY(mz_mem_new(&t->flat, flat, sizeof *t->flat));
    mz_trainer_own(t->trainer, t->first[t->comm->rank], t->first[t->comm->rank + 1]);
    return MZ_OK;
}

mz_err mz_team_new(mz_team **out, mz_comm *comm, const mz_train_config *c, mz_queue *q, mz_model *m,
                   mz_trainer *trainer)
{
    mz_team *t = NULL;
    MZ_NEED(out && comm && c && q && m && trainer, "an argument is NULL");
    MZ_NEED(c->n_ranks == comm->size, "%lld ranks are configured, %d there are",
            (long long)c->n_ranks, comm->size);
    MZ_NEED(mz_dtype_acc(mz_model_params(m)->list[0].dtype) == MZ_F32,
            "gradients between ranks are f32");
    MZ_TRY(mz_mem_new(&t, 1, sizeof *t));
    *t = (mz_team){.comm = comm, .config = c, .queue = q, .model = m, .trainer = trainer};
    const mz_err err = build(t);
    if (err != MZ_OK) {
        mz_team_free(t);
        return err;
    }
    *out = t;
    return MZ_OK;
}

void mz_team_free(mz_team *t)
{
    if (!t) return;
    mz_mem_free(t->pieces);
    mz_mem_free(t->gifts);
    mz_mem_free(t->weights);
    mz_mem_free(t->flat);
    mz_mem_free(t);
}

size_t mz_team_room(size_t grads_bytes, mz_dtype dtype, bool is_host, int64_t size)
{
    const size_t weights = grads_bytes / sizeof(float) * mz_dtype_bytes(dtype);
    return weights + (is_host ? 0 : grads_bytes) + mz_comm_room((int)size);
}

mz_comm *mz_team_comm(const mz_team *t)
{
    return t->comm;
}

int mz_team_rank(const mz_team *t)
{
    return t->comm->rank;
}

/* ---- gradients ---- */

/* Elements first .. end-1 of one of the flat buffers. */
static mz_tensor slice_of(mz_buffer *buf, int64_t first, int64_t end)
{
    const int64_t n = end - first;
    return mz_view(buf, (size_t)first * sizeof(float), MZ_F32, 1, &n);
}

/* A flat buffer's address as the host has it: its own, or the room. */
static float *flat_host(const mz_team *t, const mz_buffer *buf)
{
    return buf->host ? buf->host : t->flat;
}

static mz_err fetch(mz_team *t, mz_buffer *buf, int64_t first, int64_t end)
{
    if (!buf->host) {
        const mz_tensor part = slice_of(buf, first, end);
        MZ_TRY(mz_download(t->queue, t->flat + first, &part));
    }
    return mz_queue_sync(t->queue);
}

static mz_err bring(mz_team *t, mz_buffer *buf, int64_t first, int64_t end)
{
    if (buf->host) return MZ_OK;
    const mz_tensor part = slice_of(buf, first, end);
    MZ_TRY(mz_upload(t->queue, &part, t->flat + first));
    return mz_queue_sync(t->queue);
}

/* Between groups, and ranks that are alone; *squares: of the own slice, which becomes the sum. */
static mz_err reduce_on_host(mz_team *t, double *squares)
{
    const int rank = t->comm->rank;
    mz_buffer *grads = mz_model_params(t->model)->grads;
    const int64_t first = t->first[rank], end = t->first[rank + 1];
    const bool speaks = t->groups.first[rank] == rank; /* to ranks outside of its group */
    float *g = flat_host(t, grads);
    MZ_TRY(speaks ? fetch(t, grads, 0, t->first[t->comm->size]) : fetch(t, grads, first, end));
    MZ_TRY(mz_comm_sum_groups(t->comm, g, t->first, t->groups.first));
    MZ_TRY(bring(t, grads, first, end));
    *squares = mz_reduce_squares(g + first, end - first);
    return MZ_OK;
}

/* All ranks have waited for each other when the loss was added up: what a group waits for on its
 * devices is the sum alone, and a rank that is late or gone is known by name before. */
mz_err mz_team_reduce(mz_team *t, double *norm)
{
    double squares = 0.0;
    if (t->groups.adds) {
        const mz_tensor all =
            slice_of(mz_model_params(t->model)->grads, 0, t->first[t->comm->size]);
        MZ_TRY(mz_collective_sum(t->queue, &all));
    }
    MZ_TRY(t->groups.is_whole ? mz_trainer_squares(t->trainer, &squares)
                              : reduce_on_host(t, &squares));
    MZ_TRY(mz_comm_sum(t->comm, &squares, 1));
    *norm = sqrt(squares);
    return MZ_OK;
}

/* ---- weights ---- */

static mz_err give_all(mz_team *t)
{
    for (int64_t i = 0; i < t->n_gifts; i++) {
        const int64_t bytes = (int64_t)t->gifts[i].bytes;
        const mz_tensor part =
            mz_view(mz_model_params(t->model)->weights, t->gifts[i].offset, MZ_U8, 1, &bytes);
        MZ_TRY(mz_collective_give(t->queue, &part, t->gifts[i].rank));
    }
    return MZ_OK; /* the next step waits before its sums */
}

mz_err mz_team_share(mz_team *t)
{
    if (t->groups.is_whole) return give_all(t);
    for (int64_t i = 0; i < t->n_pieces; i++) {
        const mz_tensor w = weights_of(&t->pieces[i]);
        if (t->pieces[i].rank == t->comm->rank)
            MZ_TRY(mz_download(t->queue, t->weights + t->pieces[i].at, &w));
    }
    MZ_TRY(mz_queue_sync(t->queue));
    MZ_TRY(mz_comm_share(t->comm, t->weights, t->first_bytes));
    for (int64_t i = 0; i < t->n_pieces; i++) {
        const mz_tensor w = weights_of(&t->pieces[i]);
        if (t->pieces[i].rank != t->comm->rank)
            MZ_TRY(mz_upload(t->queue, &w, t->weights + t->pieces[i].at));
    }
    return mz_queue_sync(t->queue);
}

/* ---- state ---- */

static mz_err collect(mz_team *t, mz_buffer *buf)
{
    float *x = flat_host(t, buf);
    const int rank = t->comm->rank, size = t->comm->size;
    if (rank != 0) {
        const int64_t first = t->first[rank], end = t->first[rank + 1];
        MZ_TRY(fetch(t, buf, first, end));
        return mz_comm_send(t->comm, 0, x + first, (size_t)(end - first) * sizeof *x);
    }
    MZ_TRY(mz_queue_sync(t->queue));
    for (int r = 1; r < size; r++)
        MZ_TRY(mz_comm_recv(t->comm, r, x + t->first[r],
                            (size_t)(t->first[r + 1] - t->first[r]) * sizeof *x));
    return bring(t, buf, t->first[1], t->first[size]);
}

mz_err mz_team_collect(mz_team *t)
{
    mz_trainer_state s;
    mz_trainer_state_of(t->trainer, &s);
    if (s.master.buf) MZ_TRY(collect(t, s.master.buf));
    MZ_TRY(collect(t, s.m.buf));
    return collect(t, s.v.buf);
}
