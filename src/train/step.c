/* SPDX-License-Identifier: Apache-2.0 */
/* train/step.c - see step.h. Masters and moments have the layout of the gradient buffer, so that
 * every parameter is found at its gradient's offset in each of them. */
#include "train/step.h"

#include "base/mem.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

/* Micro-batches whose losses may be on their way at once. */
enum { MZ_NOTES = 32 };

struct mz_trainer {
    mz_queue *queue;
    mz_model *model;
    mz_params *params;
    mz_dtype acc;
    int64_t step, tokens_max;
    int64_t first, end;               /* what apply moves, in elements of the flat gradients */
    mz_buffer *master, *m, *v, *norm; /* master NULL where every parameter is in acc already */
    mz_op *adamw_copy, *adamw, *sumsq, *cast;
    bool *frozen;         /* [params->n] */
    bool is_clean;        /* nothing was added to the gradients since they were bound as zeros */
    const mz_param *lent; /* NULL: none */
    double *norm_host;    /* [params->n] sums of squares as they come, acc */
    /* what was noted of the step's micro-batches, their losses one behind the other */
    unsigned char *loss_host; /* as they come, acc */
    float *weight_host;
    int64_t noted[MZ_NOTES]; /* tokens of each */
    int64_t n_noted, noted_tokens, batches_max;
    double loss_sum; /* of those that made room for others */
};

static mz_err bind_ops(mz_trainer *t, int64_t largest, mz_dtype dtype)
{
    mz_desc d = {.kind = MZ_OP_ADAMW, .u.adamw = {t->acc, t->acc, largest}};
    MZ_TRY(mz_bind(&t->adamw, t->queue, &d));
    d = (mz_desc){.kind = MZ_OP_SUMSQ, .u.sumsq = {t->acc, largest}};
    MZ_TRY(mz_bind(&t->sumsq, t->queue, &d));
    if (dtype == t->acc) return MZ_OK;
    d = (mz_desc){.kind = MZ_OP_ADAMW, .u.adamw = {t->acc, dtype, largest}};
    MZ_TRY(mz_bind(&t->adamw_copy, t->queue, &d));
    d = (mz_desc){.kind = MZ_OP_CAST, .u.cast = {dtype, t->acc, 1, largest}};
    return mz_bind(&t->cast, t->queue, &d);
}

static mz_err build(mz_trainer *t)
{
    int64_t largest = 1;
    mz_dtype dtype = t->acc;
    for (int64_t i = 0; i < t->params->n; i++) {
        const mz_param *p = &t->params->list[i];
        const int64_t n = mz_count(&p->w);
        if (n > largest) largest = n;
        if (p->dtype != t->acc) dtype = p->dtype;
    }
    const size_t bytes = t->params->grads_bytes;
    const int64_t flat = (int64_t)(bytes / mz_dtype_bytes(t->acc));
    mz_device *device = t->queue->device;
    t->end = flat;
    if (dtype != t->acc) MZ_TRY(mz_buffer_new(&t->master, device, bytes));
    MZ_TRY(mz_buffer_new(&t->m, device, bytes));
    MZ_TRY(mz_buffer_new(&t->v, device, bytes));
    MZ_TRY(mz_buffer_new(&t->norm, device, (size_t)t->params->n * sizeof(double)));
    MZ_TRY(mz_mem_new(&t->norm_host, t->params->n, sizeof *t->norm_host));
    MZ_TRY(mz_mem_new(&t->frozen, t->params->n, sizeof *t->frozen));
    return bind_ops(t, largest, dtype);
}

mz_err mz_trainer_bare(mz_trainer **out, mz_queue *q, mz_model *m)
{
    mz_trainer *t = NULL;
    MZ_NEED(out && q && m, "an argument is NULL");
    MZ_NEED(mz_model_params(m)->grads, "the model was not bound for training");
    MZ_TRY(mz_mem_new(&t, 1, sizeof *t));
    t->queue = q;
    t->model = m;
    t->params = mz_model_params(m);
    t->acc = mz_dtype_acc(t->params->list[0].dtype);
    const mz_err err = build(t);
    if (err != MZ_OK) {
        mz_trainer_free(t);
        return err;
    }
    t->is_clean = true;
    mz_queue_tell(q);
    *out = t;
    return MZ_OK;
}

mz_err mz_trainer_new(mz_trainer **out, mz_queue *q, mz_model *m)
{
    mz_trainer *t = NULL;
    MZ_TRY(mz_trainer_bare(&t, q, m));
    t->is_clean = false; /* the model may have learnt before */
    const mz_err err = mz_trainer_sync_masters(t);
    if (err != MZ_OK) {
        mz_trainer_free(t);
        return err;
    }
    *out = t;
    return MZ_OK;
}

void mz_trainer_free(mz_trainer *t)
{
    if (!t) return;
    mz_op_free(t->adamw);
    mz_op_free(t->adamw_copy);
    mz_op_free(t->sumsq);
    mz_op_free(t->cast);
    mz_buffer_free(t->master);
    mz_buffer_free(t->m);
    mz_buffer_free(t->v);
    mz_buffer_free(t->norm);
    mz_mem_free(t->frozen);
    mz_mem_free(t->loss_host);
    mz_mem_free(t->weight_host);
    mz_mem_free(t->norm_host);
    mz_mem_free(t);
}

/* Elements from .. from+n-1 of a parameter. */
typedef struct range {
    int64_t from, n;
} range;

static range all_of(const mz_param *p)
{
    return (range){0, mz_count(&p->w)};
}

/* Of them, what this trainer owns. */
static range own_of(const mz_trainer *t, const mz_param *p)
{
    const int64_t begin = (int64_t)(p->g.offset_bytes / mz_dtype_bytes(t->acc));
    const int64_t count = mz_count(&p->g);
    const int64_t a = t->first > begin ? t->first - begin : 0;
    const int64_t b = t->end - begin < count ? t->end - begin : count;
    return (range){a, b > a ? b - a : 0};
}

/* A parameter's part of one of the flat buffers, as [n]. */
static mz_tensor part(const mz_param *p, mz_buffer *buf, mz_dtype acc, range r)
{
    const size_t at = p->g.offset_bytes + (size_t)r.from * mz_dtype_bytes(acc);
    return mz_view(buf, at, acc, 1, &r.n);
}

static mz_tensor flat_weights(const mz_param *p, range r)
{
    const size_t at = p->w.offset_bytes + (size_t)r.from * mz_dtype_bytes(p->dtype);
    return mz_view(p->w.buf, at, p->dtype, 1, &r.n);
}

mz_err mz_trainer_sync_masters(mz_trainer *t)
{
    if (!t->master) return MZ_OK;
    for (int64_t i = 0; i < t->params->n; i++) {
        const mz_param *p = &t->params->list[i];
        if (!p->g.buf || p->dtype == t->acc) continue;
        const mz_tensor w = flat_weights(p, all_of(p));
        const mz_tensor master = part(p, t->master, t->acc, all_of(p));
        const int64_t row[2] = {1, w.dim[0]};
        const mz_tensor x = mz_reshape(&w, 2, row), y = mz_reshape(&master, 2, row);
        MZ_TRY(mz_forward(t->cast, &(mz_args){.cast = {.y = &y, .x = &x}}));
    }
    return mz_queue_sync(t->queue);
}

mz_err mz_trainer_begin(mz_trainer *t)
{
    t->n_noted = t->noted_tokens = 0;
    t->loss_sum = 0.0;
    const bool is_clean = t->is_clean;
    t->is_clean = false;
    return is_clean ? MZ_OK : mz_model_zero_grads(t->model);
}

/* ---- losses ---- */

mz_err mz_trainer_reserve(mz_trainer *t, int64_t tokens, int64_t batches)
{
    const int64_t many = batches < MZ_NOTES ? batches : MZ_NOTES;
    if (tokens <= t->tokens_max && many <= t->batches_max) return MZ_OK;
    const int64_t more = many > t->batches_max ? many : t->batches_max;
    const int64_t wide = tokens > t->tokens_max ? tokens : t->tokens_max;
    MZ_NEED(t->n_noted == 0, "losses are on their way");
    MZ_TRY(mz_mem_grow(&t->loss_host, wide * more, mz_dtype_bytes(t->acc)));
    MZ_TRY(mz_mem_grow(&t->weight_host, wide * more, sizeof *t->weight_host));
    t->tokens_max = wide;
    t->batches_max = more;
    return MZ_OK;
}

/* Each by itself first: the bits of a step do not depend on how many were noted at once. */
static void fold(mz_trainer *t)
{
    const double *wide = (const double *)(const void *)t->loss_host;
    const float *narrow = (const float *)(const void *)t->loss_host;
    int64_t at = 0;
    for (int64_t i = 0; i < t->n_noted; i++) {
        double sum = 0.0;
        for (const int64_t end = at + t->noted[i]; at < end; at++)
            sum += (double)t->weight_host[at] * (t->acc == MZ_F64 ? wide[at] : (double)narrow[at]);
        t->loss_sum += sum;
    }
    t->n_noted = t->noted_tokens = 0;
}

mz_err mz_trainer_note(mz_trainer *t, const mz_batch *batch, const mz_tensor *loss)
{
    MZ_NEED(t && batch && loss && loss->dtype == t->acc, "an argument is NULL, or other losses");
    if (t->n_noted > 0 && (t->n_noted == t->batches_max || batch->tokens > t->tokens_max)) {
        MZ_TRY(mz_queue_sync(t->queue));
        fold(t);
    }
    MZ_TRY(mz_trainer_reserve(t, batch->tokens, 1));
    const size_t n = (size_t)batch->tokens, at = (size_t)t->noted_tokens;
    if (n > 0) memcpy(t->weight_host + at, batch->weight, n * sizeof *batch->weight);
    t->noted[t->n_noted++] = batch->tokens;
    t->noted_tokens += batch->tokens;
    return mz_download(t->queue, t->loss_host + at * mz_dtype_bytes(t->acc), loss);
}

double mz_trainer_losses(mz_trainer *t)
{
    fold(t);
    const double sum = t->loss_sum;
    t->loss_sum = 0.0;
    return sum;
}

mz_err mz_trainer_sum(mz_trainer *t, const mz_batch *batch, const mz_tensor *loss, double *sum)
{
    MZ_TRY(mz_trainer_note(t, batch, loss));
    MZ_TRY(mz_queue_sync(t->queue));
    *sum = mz_trainer_losses(t);
    return MZ_OK;
}

mz_err mz_trainer_micro(mz_trainer *t, const mz_batch *batch, const mz_loss_options *o)
{
    mz_tensor loss;
    MZ_TRY(mz_model_forward(t->model, batch));
    MZ_TRY(mz_model_loss(t->model, batch, o, &loss));
    return mz_trainer_note(t, batch, &loss);
}

/* ---- the update ---- */

/* Of each parameter by itself on the chip, then added up here: so the sum has the same bits whether
 * the parameters lie on one rank or on the parts of a pipeline. */
mz_err mz_trainer_squares(mz_trainer *t, double *squares)
{
    MZ_NEED(t && squares, "trainer or squares is NULL");
    const int64_t one = 1, n = t->params->n;
    const size_t size = mz_dtype_bytes(t->acc);
    const mz_tensor all = mz_view(t->norm, 0, t->acc, 1, &n);
    MZ_TRY(mz_zero(t->queue, &all));
    for (int64_t i = 0; i < n; i++) {
        const mz_param *p = &t->params->list[i];
        if (!p->g.buf || p == t->lent) continue;
        const range r = own_of(t, p);
        if (r.n == 0) continue;
        const mz_tensor out = mz_view(t->norm, (size_t)i * size, t->acc, 1, &one);
        const mz_tensor g = part(p, t->params->grads, t->acc, r);
        MZ_TRY(mz_forward(t->sumsq, &(mz_args){.sumsq = {.out = &out, .x = &g}}));
    }
    MZ_TRY(mz_download(t->queue, t->norm_host, &all));
    MZ_TRY(mz_queue_sync(t->queue));
    const float *as_float = (const float *)(const void *)t->norm_host;
    *squares = 0.0;
    for (int64_t i = 0; i < n; i++)
        *squares += t->acc == MZ_F64 ? t->norm_host[i] : (double)as_float[i];
    return MZ_OK;
}

mz_err mz_trainer_norm(mz_trainer *t, double *norm)
{
    double squares = 0.0;
    MZ_NEED(norm, "norm is NULL");
    MZ_TRY(mz_trainer_squares(t, &squares));
    *norm = sqrt(squares);
    return MZ_OK;
}

mz_err mz_trainer_update(mz_trainer *t, const mz_optim *o, double *norm)
{
    MZ_TRY(mz_trainer_norm(t, norm));
    return mz_trainer_apply(t, o, *norm);
}

mz_err mz_trainer_apply(mz_trainer *t, const mz_optim *o, double norm)
{
    MZ_NEED(t && o, "trainer or options is NULL");
    if (!isfinite(norm)) return MZ_FAIL(MZ_ENUMERIC, "the gradient norm is %g", norm);
    const double limit = o->clip > 0.0 ? o->clip / (norm + 1e-6) : 1.0;
    mz_args args = {.k.adamw = {.lr = o->lr,
                                .beta1 = o->beta1,
                                .beta2 = o->beta2,
                                .eps = o->eps,
                                .grad_scale = limit < 1.0 ? limit : 1.0,
                                .step = t->step + 1}};
    for (int64_t i = 0; i < t->params->n; i++) {
        const mz_param *x = &t->params->list[i];
        if (!x->g.buf || t->frozen[i] || x == t->lent) continue;
        const range r = own_of(t, x);
        if (r.n == 0) continue;
        const bool own = x->dtype == t->acc;
        const mz_tensor w = flat_weights(x, r), g = part(x, t->params->grads, t->acc, r);
        const mz_tensor p = own ? w : part(x, t->master, t->acc, r);
        const mz_tensor m = part(x, t->m, t->acc, r), v = part(x, t->v, t->acc, r);
        args.adamw.p = &p, args.adamw.m = &m, args.adamw.v = &v, args.adamw.g = &g;
        args.adamw.copy = own ? NULL : &w;
        const bool decays =
            x->kind == MZ_PARAM_MATRIX || x->kind == MZ_PARAM_EMBED || x->kind == MZ_PARAM_ADAPTER;
        args.k.adamw.weight_decay = decays ? o->weight_decay : 0.0;
        MZ_TRY(mz_forward(own ? t->adamw : t->adamw_copy, &args));
    }
    t->step++;
    return MZ_OK;
}

void mz_trainer_own(mz_trainer *t, int64_t first, int64_t end)
{
    t->first = first;
    t->end = end;
}

int64_t mz_trainer_step(const mz_trainer *t)
{
    return t->step;
}

void mz_trainer_freeze(mz_trainer *t, const char *prefix)
{
    for (int64_t i = 0; i < t->params->n; i++)
        if (strncmp(t->params->list[i].name, prefix, strlen(prefix)) == 0) t->frozen[i] = true;
}

void mz_trainer_lend(mz_trainer *t, const mz_param *p)
{
    t->lent = p;
}

void mz_trainer_set_step(mz_trainer *t, int64_t step)
{
    t->step = step;
}

void mz_trainer_state_of(mz_trainer *t, mz_trainer_state *s)
{
    const int64_t n = (int64_t)(t->params->grads_bytes / mz_dtype_bytes(t->acc));
    *s = (mz_trainer_state){.m = mz_view(t->m, 0, t->acc, 1, &n),
                            .v = mz_view(t->v, 0, t->acc, 1, &n)};
    if (t->master) s->master = mz_view(t->master, 0, t->acc, 1, &n);
}

size_t mz_trainer_bytes(mz_dtype dtype, size_t grads_bytes)
{
    return grads_bytes * (mz_dtype_acc(dtype) == dtype ? 2 : 3) + sizeof(double);
}
