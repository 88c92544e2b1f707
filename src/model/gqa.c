/* SPDX-License-Identifier: Apache-2.0 */
/* model/gqa.c - attention with grouped key and value heads: llama, qwen2 (biases), qwen3 (a norm on
 * every head before rope), MoE-16B.
 *
 *   q = rope(norm(x Wq^T)) [T,H,K]   k = rope(norm(x Wk^T)) [T,G,K]   v = x Wv^T [T,G,K]
 *   y = attention(q, k, v) Wo^T
 *
 * Cached: keys after rope and values are written into pages [pages, page_tokens, G, K].
 * Source: Ainslie et al. 2023, "GQA", arXiv:2305.13245; names and order as transformers has them.
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/list.h"
#include "model/net.h"

#include <stdio.h>

mz_err mz_gqa_list(mz_lister *l, int64_t layer)
{
    const mz_config *c = l->config;
    const int64_t q[2] = {c->heads * c->head_dim, c->width};
    const int64_t kv[2] = {c->kv_heads * c->head_dim, c->width}, o[2] = {q[1], q[0]};
    char at[96];
    snprintf(at, sizeof at, "model.layers.%lld.self_attn", (long long)layer);
    MZ_TRY(mz_list_linear(l, at, "q_proj", q, c->qkv_bias));
    MZ_TRY(mz_list_linear(l, at, "k_proj", kv, c->qkv_bias));
    MZ_TRY(mz_list_linear(l, at, "v_proj", kv, c->qkv_bias));
    MZ_TRY(mz_list_linear(l, at, "o_proj", o, c->o_bias));
    if (!c->qk_norm) return MZ_OK;
    MZ_TRY(mz_list_norm(l, at, "q_norm", c->head_dim));
    return mz_list_norm(l, at, "k_norm", c->head_dim);
}

static mz_err describe_projections(mz_net *n, mz_gqa *a, const char *at)
{
    char name[128];
    snprintf(name, sizeof name, "%s.q_proj", at);
    MZ_TRY(mz_linear_describe(n, &a->q, n->T, n->dtype, name));
    snprintf(name, sizeof name, "%s.k_proj", at);
    MZ_TRY(mz_linear_describe(n, &a->k, n->T, n->dtype, name));
    snprintf(name, sizeof name, "%s.v_proj", at);
    MZ_TRY(mz_linear_describe(n, &a->v, n->T, n->dtype, name));
    snprintf(name, sizeof name, "%s.o_proj", at);
    return mz_linear_describe(n, &a->o, n->T, n->dtype, name);
}

/* The norms' inputs have cells of their own when training: backward reads them. */
static mz_err describe_norms(mz_net *n, mz_gqa *a, const char *at)
{
    const mz_config *c = &n->config;
    char name[128];
    a->q_raw = a->q_at, a->k_raw = a->k_at;
    if (!c->qk_norm) return MZ_OK;
    if (n->options.train) {
        MZ_TRY(mz_net_cell(n, &a->q_raw, MZ_ROOM_KEPT, n->dtype, n->T, a->q_at.width));
        MZ_TRY(mz_net_cell(n, &a->k_raw, MZ_ROOM_KEPT, n->dtype, n->T, a->k_at.width));
    }
    snprintf(name, sizeof name, "%s.q_norm", at);
    MZ_TRY(mz_norm_describe(n, &a->q_norm, n->T * c->heads, c->rms_eps, name));
    snprintf(name, sizeof name, "%s.k_norm", at);
    return mz_norm_describe(n, &a->k_norm, n->T * c->kv_heads, c->rms_eps, name);
}

static mz_err describe_backward(mz_net *n, mz_gqa *a)
{
    if (!n->options.train) return MZ_OK;
    const int64_t T = n->T, Q = a->q_at.width, KV = a->k_at.width;
    MZ_TRY(mz_net_cell(n, &a->dout, MZ_ROOM_SCRATCH, n->dtype, T, Q));
    MZ_TRY(mz_net_cell(n, &a->dq, MZ_ROOM_SCRATCH, n->dtype, T, Q));
    MZ_TRY(mz_net_cell(n, &a->dk, MZ_ROOM_SCRATCH, n->dtype, T, KV));
    MZ_TRY(mz_net_cell(n, &a->dv, MZ_ROOM_SCRATCH, n->dtype, T, KV));
    MZ_TRY(mz_net_cell(n, &a->part, MZ_ROOM_SCRATCH, n->dtype, T, n->config.width));
    return mz_net_elementwise(n, &a->add, MZ_EW_ADD, T, n->config.width);
}

mz_err mz_gqa_describe(mz_net *n, mz_gqa *a, int64_t layer)
{
    const mz_config *c = &n->config;
    const int64_t T = n->T, K = c->head_dim, Q = c->heads * K, KV = c->kv_heads * K;
    const mz_attend_shape shape = {c->heads, c->kv_heads, K, K};
    char at[96];
    snprintf(at, sizeof at, "model.layers.%lld.self_attn", (long long)layer);
    MZ_TRY(describe_projections(n, a, at));
    MZ_TRY(mz_net_cell(n, &a->q_at, MZ_ROOM_KEPT, n->dtype, T, Q));
    MZ_TRY(mz_net_cell(n, &a->k_at, MZ_ROOM_KEPT, n->dtype, T, KV));
    MZ_TRY(mz_net_cell(n, &a->v_at, MZ_ROOM_KEPT, n->dtype, T, KV));
    MZ_TRY(mz_net_cell(n, &a->out, MZ_ROOM_KEPT, n->dtype, T, Q));
    MZ_TRY(describe_norms(n, a, at));
    MZ_TRY(mz_net_rope(n, &a->rope_q, c->heads, K));
    MZ_TRY(mz_net_rope(n, &a->rope_k, c->kv_heads, K));
    MZ_TRY(mz_attend_describe(n, &a->attend, &shape, &shape));
    if (n->options.cache_pages > 0) {
        MZ_TRY(mz_net_scatter(n, &a->scatter, KV));
        MZ_TRY(mz_net_cache(n, &a->k_cache, KV));
        MZ_TRY(mz_net_cache(n, &a->v_cache, KV));
    }
    return describe_backward(n, a);
}

/* [T,H*K] as one row a head, [T*H,K], which is what a norm on heads works on. */
static mz_tensor head_rows(const mz_tensor *t, int64_t heads)
{
    const int64_t dim[2] = {t->dim[0] * heads, t->dim[1] / heads};
    return mz_reshape(t, 2, dim);
}

static mz_err norm_heads(const mz_net *n, const mz_norm *norm, const mz_tensor *y,
                         const mz_tensor *x, int64_t heads)
{
    const mz_tensor y_rows = head_rows(y, heads), x_rows = head_rows(x, heads);
    return mz_norm_forward(n, norm, &y_rows, &x_rows);
}

static mz_err attend_cached(const mz_net *n, const mz_gqa *a, const mz_tensor *out,
                            const mz_tensor qkv[3])
{
    const mz_config *c = &n->config;
    const int64_t pages = n->options.cache_pages, page = n->options.page_tokens;
    const int64_t rows[2] = {pages * page, c->kv_heads * c->head_dim};
    const int64_t dim[4] = {pages, page, c->kv_heads, c->head_dim};
    const mz_tensor k_rows = mz_view(n->pages, a->k_cache, n->dtype, 2, rows);
    const mz_tensor v_rows = mz_view(n->pages, a->v_cache, n->dtype, 2, rows);
    const mz_tensor k_pages = mz_reshape(&k_rows, 4, dim), v_pages = mz_reshape(&v_rows, 4, dim);
    MZ_TRY(mz_run_scatter(n, a->scatter, &k_rows, &qkv[1]));
    MZ_TRY(mz_run_scatter(n, a->scatter, &v_rows, &qkv[2]));
    const mz_tensor q_heads = mz_heads(&qkv[0], c->heads), out_heads = mz_heads(out, c->heads);
    return mz_attend_paged(n, &a->attend, &out_heads, &q_heads, &k_pages, &v_pages);
}

static mz_err attend(const mz_net *n, const mz_gqa *a, const mz_tensor *out, const mz_tensor qkv[3])
{
    const mz_config *c = &n->config;
    const mz_tensor q = mz_heads(&qkv[0], c->heads), k = mz_heads(&qkv[1], c->kv_heads);
    const mz_tensor v = mz_heads(&qkv[2], c->kv_heads), o = mz_heads(out, c->heads);
    return mz_attend_forward(n, &a->attend, &o, &q, &k, &v);
}

mz_err mz_gqa_forward(const mz_net *n, const mz_gqa *a, const mz_tensor *y, const mz_tensor *x)
{
    const mz_config *c = &n->config;
    const int64_t T = n->tokens;
    const mz_tensor q_raw = mz_cell_rows(n, &a->q_raw, T), k_raw = mz_cell_rows(n, &a->k_raw, T);
    const mz_tensor qkv[3] = {mz_cell_rows(n, &a->q_at, T), mz_cell_rows(n, &a->k_at, T),
                              mz_cell_rows(n, &a->v_at, T)};
    const mz_tensor out = mz_cell_rows(n, &a->out, T);
    MZ_TRY(mz_linear_forward(n, &a->q, &q_raw, x));
    MZ_TRY(mz_linear_forward(n, &a->k, &k_raw, x));
    MZ_TRY(mz_linear_forward(n, &a->v, &qkv[2], x));
    if (c->qk_norm) {
        MZ_TRY(norm_heads(n, &a->q_norm, &qkv[0], &q_raw, c->heads));
        MZ_TRY(norm_heads(n, &a->k_norm, &qkv[1], &k_raw, c->kv_heads));
    }
    const mz_tensor q = mz_heads(&qkv[0], c->heads), k = mz_heads(&qkv[1], c->kv_heads);
    MZ_TRY(mz_run_rope(n, a->rope_q, &q, &q));
    MZ_TRY(mz_run_rope(n, a->rope_k, &k, &k));
    MZ_TRY(n->cached ? attend_cached(n, a, &out, qkv) : attend(n, a, &out, qkv));
    return mz_linear_forward(n, &a->o, y, &out);
}

/* In place: a norm's dx may be its dy. */
static mz_err norm_heads_back(const mz_net *n, const mz_norm *norm, const mz_tensor *d,
                              const mz_cell *raw, int64_t heads)
{
    const mz_tensor x = mz_cell_rows(n, raw, d->dim[0]);
    const mz_tensor d_rows = head_rows(d, heads), x_rows = head_rows(&x, heads);
    return mz_norm_backward(n, norm, &d_rows, &d_rows, &x_rows);
}

/* dq, dk, dv of the attention, taken back through rope and the norms, in place. */
static mz_err attend_back(const mz_net *n, const mz_gqa *a, const mz_tensor d[3],
                          const mz_tensor *dout)
{
    const mz_config *c = &n->config;
    const int64_t T = n->tokens;
    const mz_tensor q_at = mz_cell_rows(n, &a->q_at, T), k_at = mz_cell_rows(n, &a->k_at, T);
    const mz_tensor v_at = mz_cell_rows(n, &a->v_at, T), out_at = mz_cell_rows(n, &a->out, T);
    const mz_tensor q = mz_heads(&q_at, c->heads), k = mz_heads(&k_at, c->kv_heads);
    const mz_tensor v = mz_heads(&v_at, c->kv_heads), out = mz_heads(&out_at, c->heads);
    const mz_tensor dq = mz_heads(&d[0], c->heads), dk = mz_heads(&d[1], c->kv_heads);
    const mz_tensor dv = mz_heads(&d[2], c->kv_heads), dout_h = mz_heads(dout, c->heads);
    const mz_tensor *const qkv[3] = {&q, &k, &v};
    const mz_attend_grads g = {.dq = &dq, .dk = &dk, .dv = &dv, .dout = &dout_h};
    MZ_TRY(mz_attend_backward(n, &a->attend, &g, &out, qkv));
    MZ_TRY(mz_run_rope_back(n, a->rope_q, &dq, &dq));
    MZ_TRY(mz_run_rope_back(n, a->rope_k, &dk, &dk));
    if (!c->qk_norm) return MZ_OK;
    MZ_TRY(norm_heads_back(n, &a->q_norm, &d[0], &a->q_raw, c->heads));
    return norm_heads_back(n, &a->k_norm, &d[1], &a->k_raw, c->kv_heads);
}

mz_err mz_gqa_backward(const mz_net *n, const mz_gqa *a, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x)
{
    const int64_t T = n->tokens;
    const mz_tensor out = mz_cell_rows(n, &a->out, T), dout = mz_cell_rows(n, &a->dout, T);
    const mz_tensor d[3] = {mz_cell_rows(n, &a->dq, T), mz_cell_rows(n, &a->dk, T),
                            mz_cell_rows(n, &a->dv, T)};
    const mz_tensor part = mz_cell_rows(n, &a->part, T);
    MZ_TRY(mz_linear_backward(n, &a->o, &dout, dy, &out));
    MZ_TRY(attend_back(n, a, d, &dout));
    MZ_TRY(mz_linear_backward(n, &a->q, dx, &d[0], x));
    MZ_TRY(mz_linear_backward(n, &a->k, &part, &d[1], x));
    MZ_TRY(mz_run_elementwise(n, a->add, dx, dx, &part));
    MZ_TRY(mz_linear_backward(n, &a->v, &part, &d[2], x));
    return mz_run_elementwise(n, a->add, dx, dx, &part);
}
