/* SPDX-License-Identifier: Apache-2.0 */
/* model/parts.c - the small things that every part of a network is made of: a linear map, a norm,
 * sums, rope, and rows written into the cache.
 *
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/net.h"

#include <stdio.h>
#include <string.h>

static mz_op *bound(const mz_net *n, int op)
{
    return n->ops[op].op;
}

/* What an operator saves, or NULL where it saves nothing. */
static const mz_tensor *saved_of(const mz_net *n, int op, const mz_cell *cell, mz_tensor *view)
{
    if (n->ops[op].support.saved_bytes == 0) return NULL;
    *view = mz_cell_all(n, cell);
    return view;
}

mz_err mz_linear_bind(mz_net *n, mz_linear *l, int64_t rows, mz_dtype out, const mz_param *w)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_MATMUL;
    d.u.matmul.dtype = n->dtype;
    d.u.matmul.out_dtype = out;
    d.u.matmul.M_max = rows;
    d.u.matmul.N_max = w->dim[0];
    d.u.matmul.K_max = w->dim[1];
    d.u.matmul.trans_b = true;
    d.u.matmul.bias = l->bias != NULL;
    d.u.matmul.backward = n->options.train;
    d.u.matmul.stored = mz_net_stored(n, w);
    l->w = w;
    return mz_net_op(n, &l->op, &d);
}

mz_err mz_linear_describe(mz_net *n, mz_linear *l, int64_t rows, mz_dtype out, const char *prefix)
{
    char name[160];
    const mz_param *w = NULL;
    snprintf(name, sizeof name, "%s.bias", prefix);
    l->bias = mz_params_find(&n->params, name);
    MZ_TRY(mz_net_param(n, &w, prefix, ".weight"));
    MZ_TRY(mz_linear_bind(n, l, rows, out, w));
    return mz_lora_describe(n, &l->lora, rows, prefix);
}

/* NULL: the parameter does not learn. */
static const mz_tensor *gradient_of(const mz_param *p)
{
    return p && p->g.buf ? &p->g : NULL;
}

mz_err mz_linear_forward(const mz_net *n, const mz_linear *l, const mz_tensor *y,
                         const mz_tensor *x)
{
    const mz_args args = {
        .matmul = {.c = y, .a = x, .b = &l->w->w, .bias = l->bias ? &l->bias->w : NULL}};
    MZ_TRY(mz_forward(bound(n, l->op), &args));
    return l->lora.a ? mz_lora_forward(n, &l->lora, y, x) : MZ_OK;
}

mz_err mz_linear_backward(const mz_net *n, const mz_linear *l, const mz_tensor *dx,
                          const mz_tensor *dy, const mz_tensor *x)
{
    const mz_args args = {.matmul = {.a = x,
                                     .b = &l->w->w,
                                     .dc = dy,
                                     .da = dx,
                                     .db = gradient_of(l->w),
                                     .dbias = gradient_of(l->bias)}};
    MZ_TRY(mz_backward(bound(n, l->op), &args));
    return l->lora.a ? mz_lora_backward(n, &l->lora, dx, dy, x) : MZ_OK;
}

mz_err mz_norm_describe(mz_net *n, mz_norm *norm, int64_t rows, double eps, const char *name)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_RMSNORM;
    MZ_TRY(mz_net_param(n, &norm->w, name, ".weight"));
    d.u.rmsnorm.dtype = n->dtype;
    d.u.rmsnorm.T_max = rows;
    d.u.rmsnorm.D = norm->w->dim[0];
    d.u.rmsnorm.eps = eps;
    d.u.rmsnorm.backward = n->options.train;
    MZ_TRY(mz_net_op(n, &norm->op, &d));
    return mz_net_saved(n, &norm->saved, norm->op);
}

mz_err mz_norm_forward(const mz_net *n, const mz_norm *norm, const mz_tensor *y, const mz_tensor *x)
{
    mz_tensor saved;
    const mz_args args = {.rmsnorm = {.y = y,
                                      .saved = saved_of(n, norm->op, &norm->saved, &saved),
                                      .x = x,
                                      .w = &norm->w->w}};
    return mz_forward(bound(n, norm->op), &args);
}

mz_err mz_norm_backward(const mz_net *n, const mz_norm *norm, const mz_tensor *dx,
                        const mz_tensor *dy, const mz_tensor *x)
{
    mz_tensor saved;
    const mz_tensor sink = mz_view(n->arena, n->sink.offset, n->acc, 1, norm->w->dim);
    const mz_args args = {.rmsnorm = {.saved = saved_of(n, norm->op, &norm->saved, &saved),
                                      .x = x,
                                      .w = &norm->w->w,
                                      .dy = dy,
                                      .dx = dx,
                                      .dw = norm->w->g.buf ? &norm->w->g : &sink}};
    return mz_backward(bound(n, norm->op), &args);
}

mz_err mz_run_elementwise(const mz_net *n, int op, const mz_tensor *y, const mz_tensor *a,
                          const mz_tensor *b)
{
    return mz_forward(bound(n, op), &(mz_args){.elementwise = {.y = y, .a = a, .b = b}});
}

mz_err mz_run_rope(const mz_net *n, int op, const mz_tensor *y, const mz_tensor *x)
{
    const mz_tensor c = mz_cell_rows(n, &n->cos, n->cos.rows);
    const mz_tensor s = mz_cell_rows(n, &n->sin, n->sin.rows);
    return mz_forward(bound(n, op),
                      &(mz_args){.rope = {.y = y, .x = x, .cos = &c, .sin = &s, .pos = &n->pos}});
}

mz_err mz_run_rope_back(const mz_net *n, int op, const mz_tensor *dx, const mz_tensor *dy)
{
    const mz_tensor c = mz_cell_rows(n, &n->cos, n->cos.rows);
    const mz_tensor s = mz_cell_rows(n, &n->sin, n->sin.rows);
    return mz_backward(
        bound(n, op),
        &(mz_args){.rope = {.cos = &c, .sin = &s, .pos = &n->pos, .dy = dy, .dx = dx}});
}

mz_err mz_run_scatter(const mz_net *n, int op, const mz_tensor *pages, const mz_tensor *x)
{
    return mz_forward(bound(n, op), &(mz_args){.rows = {.y = pages, .x = x, .idx = &n->rows}});
}

/* ---- attention ---- */

mz_err mz_attend_describe(mz_net *n, mz_attend *a, const mz_attend_shape *plain,
                          const mz_attend_shape *paged)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_ATTENTION;
    d.u.attention.dtype = n->dtype;
    d.u.attention.T_max = n->T;
    d.u.attention.sequences_max = n->options.sequences_max;
    d.u.attention.H = plain->H;
    d.u.attention.G = plain->G;
    d.u.attention.K = plain->K;
    d.u.attention.W = plain->W;
    d.u.attention.scale = n->config.scale;
    d.u.attention.causal = true;
    d.u.attention.backward = n->options.train;
    MZ_TRY(mz_net_op(n, &a->plain, &d));
    MZ_TRY(mz_net_saved(n, &a->saved, a->plain));
    if (n->options.cache_pages == 0) return MZ_OK;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_DECODE;
    d.u.decode.dtype = n->dtype;
    d.u.decode.T_max = n->T;
    d.u.decode.B_max = n->options.sequences_max;
    d.u.decode.H = paged->H;
    d.u.decode.G = paged->G;
    d.u.decode.K = paged->K;
    d.u.decode.W = paged->W;
    d.u.decode.page = n->options.page_tokens;
    d.u.decode.pages_per_seq_max = n->options.pages_per_sequence_max;
    d.u.decode.scale = n->config.scale;
    return mz_net_op(n, &a->paged, &d);
}

mz_err mz_attend_forward(const mz_net *n, const mz_attend *a, const mz_tensor *out,
                         const mz_tensor *q, const mz_tensor *k, const mz_tensor *v)
{
    mz_tensor saved;
    const mz_args args = {.attention = {.out = out,
                                        .saved = saved_of(n, a->plain, &a->saved, &saved),
                                        .q = q,
                                        .k = k,
                                        .v = v,
                                        .cu = &n->cu},
                          .k.attention.cu_host = n->cu_host};
    return mz_forward(bound(n, a->plain), &args);
}

mz_err mz_attend_backward(const mz_net *n, const mz_attend *a, const mz_attend_grads *g,
                          const mz_tensor *out, const mz_tensor *const qkv[3])
{
    mz_tensor saved;
    const mz_args args = {.attention = {.out = out,
                                        .saved = saved_of(n, a->plain, &a->saved, &saved),
                                        .q = qkv[0],
                                        .k = qkv[1],
                                        .v = qkv[2],
                                        .cu = &n->cu,
                                        .dout = g->dout,
                                        .dq = g->dq,
                                        .dk = g->dk,
                                        .dv = g->dv},
                          .k.attention.cu_host = n->cu_host};
    return mz_backward(bound(n, a->plain), &args);
}

mz_err mz_attend_paged(const mz_net *n, const mz_attend *a, const mz_tensor *out,
                       const mz_tensor *q, const mz_tensor *k_cache, const mz_tensor *v_cache)
{
    const mz_args args = {.decode = {.out = out,
                                     .q = q,
                                     .k_cache = k_cache,
                                     .v_cache = v_cache,
                                     .table = &n->table,
                                     .lens = &n->lens,
                                     .cu = &n->cu}};
    return mz_forward(bound(n, a->paged), &args);
}
