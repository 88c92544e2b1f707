/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/trial.c - see trial.h. Memory that nobody set holds 0xff bytes: NaN in every float format,
 * -1 as an id. */
#include "weigh/trial.h"

#include "base/mem.h"
#include "tensor/convert.h"

#include <string.h>

enum { POISON = 0xff };

static mz_dtype doubled(mz_dtype d)
{
    return mz_dtype_is_float(d) || mz_dtype_is_blocks(d) ? MZ_F64 : d;
}

static void double_desc(mz_desc *d)
{
    switch (d->kind) {
    case MZ_OP_MATMUL:
        d->u.matmul.dtype = d->u.matmul.out_dtype = d->u.matmul.stored = MZ_F64;
        break;
    case MZ_OP_ADAMW:
        d->u.adamw.acc = d->u.adamw.copy_dtype = MZ_F64;
        break;
    case MZ_OP_CAST:
        d->u.cast.from = d->u.cast.to = MZ_F64;
        break;
    case MZ_OP_REDUCE:
        d->u.reduce.dtype = d->u.reduce.out_dtype = MZ_F64;
        break;
    case MZ_OP_EXPERTS:
        d->u.experts.dtype = d->u.experts.stored = MZ_F64;
        break;
    case MZ_OP_EMBED:
        d->u.embed.dtype = d->u.embed.stored = MZ_F64;
        break;
    case MZ_OP_RMSNORM:
    case MZ_OP_ROPE:
    case MZ_OP_ATTENTION:
    case MZ_OP_DECODE:
    case MZ_OP_SWIGLU:
    case MZ_OP_ROUTER:
    case MZ_OP_BALANCE:
    case MZ_OP_PERMUTE:
    case MZ_OP_UNPERMUTE:
    case MZ_OP_XENT:
    case MZ_OP_SUMSQ:
    case MZ_OP_FINITE:
    case MZ_OP_ELEMENTWISE:
    case MZ_OP_ROWS:
    case MZ_OP_SAMPLE:
    case MZ_OP_COUNT:
        d->u.sumsq.dtype = MZ_F64; /* every other description starts with its dtype */
        break;
    }
}

/* Rope tables are F32 for every dtype. A drawn id hangs on each rounding (base/draw.h), so sampling
 * is asked in the chip's own dtype. */
static bool keeps_dtype(const mz_case *c, int i)
{
    const bool is_table = i == MZ_ARG(rope.cos) || i == MZ_ARG(rope.sin);
    return c->desc.kind == MZ_OP_SAMPLE || (c->desc.kind == MZ_OP_ROPE && is_table);
}

mz_err mz_case_for_reference(mz_case *out, const mz_case *c)
{
    *out = *c;
    if (c->desc.kind != MZ_OP_SAMPLE) double_desc(&out->desc);
    if (c->desc.kind == MZ_OP_ATTENTION && c->k.k.attention.cu_host)
        out->k.k.attention.cu_host = out->host_cu;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        mz_case_arg *a = &out->arg[i];
        int64_t step = 1;
        if (!a->present) continue;
        if (!keeps_dtype(c, i)) a->dtype = doubled(a->dtype);
        for (int k = a->rank - 1; k >= 0; k--) {
            a->stride[k] = step;
            step *= a->dim[k];
        }
        a->alias = 0;
        a->skip = 0;
        a->span = a->count > 0 ? a->count : 1;
    }
    return MZ_OK;
}

void mz_case_release_reference(mz_case *c)
{
    memset(c, 0, sizeof *c); /* values are borrowed from the case it was made of */
}

static unsigned role(const mz_case *c, int i)
{
    return mz_arg_role(&c->desc, MZ_FORWARD, i) |
           (c->backward ? mz_arg_role(&c->desc, MZ_BACKWARD, i) : 0u);
}

bool mz_case_writes(const mz_case *c, int i)
{
    return (role(c, i) & MZ_ARG_OUT) != 0;
}

/* Whether what the argument holds before the first pass matters. */
static bool starts_with_values(const mz_case *c, int i)
{
    const unsigned forward = mz_arg_role(&c->desc, MZ_FORWARD, i);
    const unsigned first =
        (forward & 3u) != 0 || !c->backward ? forward : mz_arg_role(&c->desc, MZ_BACKWARD, i);
    return (first & (MZ_ARG_IN | MZ_ARG_PARTIAL)) != 0;
}

/* Where logical element j lies, in elements from the start of the buffer. */
static int64_t place_of(const mz_case_arg *a, int64_t j)
{
    int64_t at = a->skip;
    for (int k = a->rank - 1; k >= 0; k--) {
        at += j % a->dim[k] * a->stride[k];
        j /= a->dim[k];
    }
    return at;
}

static size_t bytes_of(mz_dtype dtype, int64_t elements)
{
    return (size_t)(elements / mz_dtype_block(dtype)) * mz_dtype_block_bytes(dtype);
}

/* Row by row: a row is whole blocks. */
static void fill_blocks(unsigned char *to, const mz_case_arg *a)
{
    const int64_t width = a->dim[a->rank - 1];
    const size_t row = bytes_of(a->dtype, width);
    for (int64_t j = 0; j < a->count; j += width)
        memcpy(to + bytes_of(a->dtype, place_of(a, j)), a->blocks + bytes_of(a->dtype, j), row);
}

/* x in the argument's dtype. What the reference multiplies is not the number that a weight is
 * stored as, but that one rounded to what is computed in (chip/desc.h). */
static mz_err put(unsigned char *to, const mz_case_arg *a, double x)
{
    unsigned char rounded[sizeof x];
    if (a->dtype == MZ_F64 && a->computed != MZ_F64) {
        MZ_TRY(mz_convert(rounded, a->computed, &x, MZ_F64, 1));
        MZ_TRY(mz_convert(&x, MZ_F64, rounded, a->computed, 1));
    }
    return mz_convert(to, a->dtype, &x, MZ_F64, 1);
}

static mz_err fill(mz_trial *t, const mz_case *c, int i)
{
    const mz_case_arg *a = &c->arg[i];
    const size_t each = mz_dtype_bytes(a->dtype);
    memset(t->before[i], POISON, t->bytes[i]);
    if (a->is_saved || !a->values || !starts_with_values(c, i)) return MZ_OK;
    if (mz_dtype_is_blocks(a->dtype)) return fill_blocks(t->before[i], a), MZ_OK;
    for (int64_t j = 0; j < a->count; j++) {
        unsigned char *to = t->before[i] + (size_t)place_of(a, j) * each;
        const int32_t id = a->dtype == MZ_I32 ? (int32_t)a->values[j] : 0;
        if (a->dtype == MZ_I32)
            memcpy(to, &id, sizeof id);
        else
            MZ_TRY(put(to, a, a->values[j]));
    }
    return MZ_OK;
}

typedef struct setup {
    mz_buffer *buf[MZ_ARGS_MAX];
    mz_tensor tensor[MZ_ARGS_MAX];
    mz_op *op;
} setup;

static mz_err book(mz_trial *t, setup *s, mz_queue *q, const mz_case *c, int i)
{
    const mz_case_arg *a = &c->arg[i];
    t->bytes[i] = a->is_saved ? mz_op_saved(s->op) : bytes_of(a->dtype, a->span);
    if (a->is_saved && t->bytes[i] == 0) return MZ_OK; /* this chip keeps nothing */
    MZ_TRY(mz_mem_new(&t->before[i], (int64_t)t->bytes[i], 1));
    MZ_TRY(mz_mem_new(&t->after[i], (int64_t)t->bytes[i], 1));
    MZ_TRY(mz_buffer_new(&s->buf[i], q->device, t->bytes[i]));
    return fill(t, c, i);
}

static void view(setup *s, const mz_trial *t, const mz_case *c, int i)
{
    const mz_case_arg *a = &c->arg[i];
    const int from = a->alias > 0 ? a->alias - 1 : i;
    const int64_t saved = (int64_t)t->bytes[i];
    if (!s->buf[from]) return;
    s->tensor[i] = mz_view(s->buf[from], bytes_of(a->dtype, a->skip), a->dtype, a->rank,
                           a->is_saved ? &saved : a->dim);
    for (int k = 0; k < a->rank && !a->is_saved; k++) s->tensor[i].stride[k] = a->stride[k];
}

static mz_err copy_all(mz_queue *q, const mz_trial *t, const setup *s, bool up)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const int64_t n = (int64_t)t->bytes[i];
        if (!s->buf[i]) continue;
        const mz_tensor whole = mz_view(s->buf[i], 0, MZ_U8, 1, &n);
        MZ_TRY(up ? mz_upload(q, &whole, t->before[i]) : mz_download(q, t->after[i], &whole));
    }
    return mz_queue_sync(q);
}

static mz_err pass(const setup *s, const mz_case *c, mz_pass which)
{
    mz_args args = c->k;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const bool is_used = (mz_arg_role(&c->desc, which, i) & 3u) != 0;
        args.t[i] = is_used && s->tensor[i].buf ? &s->tensor[i] : NULL;
    }
    return which == MZ_FORWARD ? mz_forward(s->op, &args) : mz_backward(s->op, &args);
}

static mz_err run(mz_trial *t, setup *s, mz_queue *q, const mz_case *c)
{
    MZ_TRY(mz_bind(&s->op, q, &c->desc));
    t->support = s->op->support;
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (c->arg[i].present && c->arg[i].alias == 0) MZ_TRY(book(t, s, q, c, i));
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (c->arg[i].present) view(s, t, c, i);
    MZ_TRY(copy_all(q, t, s, true));
    MZ_TRY(pass(s, c, MZ_FORWARD));
    if (c->backward) MZ_TRY(pass(s, c, MZ_BACKWARD));
    return copy_all(q, t, s, false);
}

mz_err mz_trial_run(mz_trial *t, mz_queue *q, const mz_case *c)
{
    setup s;
    memset(&s, 0, sizeof s);
    const mz_err err = run(t, &s, q, c);
    const mz_err_info note = *mz_err_last(); /* the clean-up must not hide what happened */
    const mz_err late = err == MZ_OK ? MZ_OK : mz_queue_sync(q);
    if (late != MZ_OK) mz_err_restore(&note);
    mz_op_free(s.op);
    for (int i = 0; i < MZ_ARGS_MAX; i++) mz_buffer_free(s.buf[i]);
    return err;
}

void mz_trial_clear(mz_trial *t)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        mz_mem_free(t->before[i]);
        mz_mem_free(t->after[i]);
    }
    memset(t, 0, sizeof *t);
}

static int owner(const mz_case *c, int i)
{
    return c->arg[i].alias > 0 ? c->arg[i].alias - 1 : i;
}

double mz_trial_value(const mz_trial *t, const mz_case *c, int i, int64_t j)
{
    const mz_case_arg *a = &c->arg[i];
    const unsigned char *at =
        t->after[owner(c, i)] + (size_t)place_of(a, j) * mz_dtype_bytes(a->dtype);
    double x = 0.0;
    int32_t id;
    if (a->dtype == MZ_I32) {
        memcpy(&id, at, sizeof id);
        return id;
    }
    return mz_convert(&x, MZ_F64, at, a->dtype, 1) == MZ_OK ? x : 0.0;
}

/* Whether the byte at `offset` of argument i's buffer belongs to an element of any view on it that
 * the call writes. */
static void mark_own(unsigned char *own, const mz_case *c, int i)
{
    const size_t each = mz_dtype_bytes(c->arg[i].dtype);
    for (int64_t j = 0; j < c->arg[i].count; j++)
        memset(own + (size_t)place_of(&c->arg[i], j) * each, 1, each);
}

int64_t mz_trial_stray(const mz_trial *t, const mz_case *c, int i)
{
    unsigned char *own = NULL;
    int64_t stray = -1;
    if (!t->after[i] || c->arg[i].is_saved) return -1;
    if (mz_mem_new(&own, (int64_t)t->bytes[i], 1) != MZ_OK) return -1;
    for (int k = 0; k < MZ_ARGS_MAX; k++)
        if (c->arg[k].present && owner(c, k) == i && mz_case_writes(c, k)) mark_own(own, c, k);
    for (size_t b = 0; b < t->bytes[i] && stray < 0; b++)
        if (!own[b] && t->before[i][b] != t->after[i][b]) stray = (int64_t)b;
    mz_mem_free(own);
    return stray;
}
