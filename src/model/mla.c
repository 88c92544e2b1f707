/* SPDX-License-Identifier: Apache-2.0 */
/* model/mla.c - multi-head latent attention.
 *
 *   q = q_b(norm(q_a x))  or  q_proj x          [T,H,dn+dr], the last dr columns with rope
 *   [c | kr] = kv_a x;  c = norm(c) [T,r];  kr = rope(kr) [T,dr], one for all heads
 *   plain    [kn | v] = kv_b c by head;  k = [kn ; kr]          y = attention(q, k, v) Wo^T
 *   cached   only [c | kr] is kept, r + dr numbers a token. With kv_b's rows of head h cut into
 *            W_UK [dn,r] and W_UV [dv,r] the scores are (q_n W_UK) . c + q_r . kr, the attention
 *            runs over c itself (G = 1, values are the first r columns of the cache), and W_UV
 *            takes what comes out to the head's dv columns. No key or value of a head exists.
 *
 * Source: DeepSeek-V2 report 2.1.2-2.1.3 and appendix C, arXiv:2405.04434. Rope turns neighbours
 *         (config.rope.interleaved) in every released checkpoint. The inner norms have eps
 *         config.inner_eps whatever the others have.
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/list.h"
#include "model/net.h"

#include <stdio.h>
#include <string.h>

mz_err mz_mla_list(mz_lister *l, int64_t layer)
{
    const mz_config *c = l->config;
    const int64_t D = c->width, Q = c->heads * (c->nope_dim + c->rope_dim);
    const int64_t q[2] = {Q, D}, q_a[2] = {c->q_rank, D}, q_b[2] = {Q, c->q_rank};
    const int64_t kv_a[2] = {c->kv_rank + c->rope_dim, D};
    const int64_t kv_b[2] = {c->heads * (c->nope_dim + c->v_dim), c->kv_rank};
    const int64_t o[2] = {D, c->heads * c->v_dim};
    char at[96];
    snprintf(at, sizeof at, "model.layers.%lld.self_attn", (long long)layer);
    if (c->q_rank > 0) {
        MZ_TRY(mz_list_linear(l, at, "q_a_proj", q_a, c->qkv_bias));
        MZ_TRY(mz_list_norm(l, at, "q_a_layernorm", c->q_rank));
        MZ_TRY(mz_list_linear(l, at, "q_b_proj", q_b, false));
    } else {
        MZ_TRY(mz_list_linear(l, at, "q_proj", q, false));
    }
    MZ_TRY(mz_list_linear(l, at, "kv_a_proj_with_mqa", kv_a, c->qkv_bias));
    MZ_TRY(mz_list_norm(l, at, "kv_a_layernorm", c->kv_rank));
    MZ_TRY(mz_list_linear(l, at, "kv_b_proj", kv_b, false));
    return mz_list_linear(l, at, "o_proj", o, c->o_bias);
}

/* ---- describing ---- */

static mz_err describe_query(mz_net *n, mz_mla *a, const char *at)
{
    const mz_config *c = &n->config;
    char name[128];
    if (c->q_rank > 0) {
        snprintf(name, sizeof name, "%s.q_a_proj", at);
        MZ_TRY(mz_linear_describe(n, &a->q_a, n->T, n->dtype, name));
        snprintf(name, sizeof name, "%s.q_a_layernorm", at);
        MZ_TRY(mz_norm_describe(n, &a->q_norm, n->T, c->inner_eps, name));
        MZ_TRY(mz_net_cell(n, &a->qa, MZ_ROOM_KEPT, n->dtype, n->T, c->q_rank));
        MZ_TRY(mz_net_cell(n, &a->qa_normed, MZ_ROOM_KEPT, n->dtype, n->T, c->q_rank));
    }
    snprintf(name, sizeof name, "%s.%s", at, c->q_rank > 0 ? "q_b_proj" : "q_proj");
    MZ_TRY(mz_linear_describe(n, &a->q_b, n->T, n->dtype, name));
    MZ_TRY(mz_net_rope(n, &a->rope_q, c->heads, c->rope_dim));
    const int64_t Q = c->heads * (c->nope_dim + c->rope_dim);
    return mz_net_cell(n, &a->q_at, MZ_ROOM_KEPT, n->dtype, n->T, Q);
}

static mz_err describe_latent(mz_net *n, mz_mla *a, const char *at)
{
    const mz_config *c = &n->config;
    char name[128];
    snprintf(name, sizeof name, "%s.kv_a_proj_with_mqa", at);
    MZ_TRY(mz_linear_describe(n, &a->kv_a, n->T, n->dtype, name));
    snprintf(name, sizeof name, "%s.kv_a_layernorm", at);
    MZ_TRY(mz_norm_describe(n, &a->kv_norm, n->T, c->inner_eps, name));
    snprintf(name, sizeof name, "%s.kv_b_proj", at);
    MZ_TRY(mz_linear_describe(n, &a->kv_b, n->T, n->dtype, name));
    snprintf(name, sizeof name, "%s.o_proj", at);
    MZ_TRY(mz_linear_describe(n, &a->o, n->T, n->dtype, name));
    MZ_TRY(mz_net_rope(n, &a->rope_k, 1, c->rope_dim));
    MZ_TRY(mz_net_cell(n, &a->kva, MZ_ROOM_KEPT, n->dtype, n->T, c->kv_rank + c->rope_dim));
    MZ_TRY(mz_net_cell(n, &a->latent, MZ_ROOM_KEPT, n->dtype, n->T, c->kv_rank));
    MZ_TRY(mz_net_cell(n, &a->k_rope, MZ_ROOM_SCRATCH, n->dtype, n->T, c->rope_dim));
    return mz_net_cell(n, &a->out, MZ_ROOM_KEPT, n->dtype, n->T, c->heads * c->v_dim);
}

static mz_err describe_plain(mz_net *n, mz_mla *a)
{
    const mz_config *c = &n->config;
    const int64_t T = n->T, H = c->heads;
    MZ_TRY(mz_net_elementwise(n, &a->copy_nope, MZ_EW_COPY, T, H * c->nope_dim));
    MZ_TRY(mz_net_elementwise(n, &a->copy_rope, MZ_EW_COPY, T, H * c->rope_dim));
    MZ_TRY(mz_net_cell(n, &a->kv, MZ_ROOM_KEPT, n->dtype, T, H * (c->nope_dim + c->v_dim)));
    return mz_net_cell(n, &a->k_at, MZ_ROOM_KEPT, n->dtype, T, H * (c->nope_dim + c->rope_dim));
}

/* One matrix a head: [T,K] by W_UK [K,N], or by W_UV [N,K] transposed. */
static mz_err describe_absorb(mz_net *n, int *op, int64_t N, int64_t K, bool transposed)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_MATMUL;
    d.u.matmul.dtype = n->dtype;
    d.u.matmul.out_dtype = n->dtype;
    d.u.matmul.M_max = n->T;
    d.u.matmul.N_max = N;
    d.u.matmul.K_max = K;
    d.u.matmul.batch_max = n->config.heads;
    d.u.matmul.trans_b = transposed;
    return mz_net_op(n, op, &d);
}

static mz_err describe_cached(mz_net *n, mz_mla *a)
{
    const mz_config *c = &n->config;
    const int64_t H = c->heads, r = c->kv_rank;
    if (n->options.cache_pages == 0) return MZ_OK;
    MZ_TRY(describe_absorb(n, &a->absorb_k, r, c->nope_dim, false));
    MZ_TRY(describe_absorb(n, &a->absorb_v, c->v_dim, r, true));
    MZ_TRY(mz_net_scatter(n, &a->scatter_latent, r));
    MZ_TRY(mz_net_scatter(n, &a->scatter_rope, c->rope_dim));
    MZ_TRY(mz_net_cache(n, &a->cache, r + c->rope_dim));
    MZ_TRY(mz_net_cell(n, &a->q_absorbed, MZ_ROOM_SCRATCH, n->dtype, n->T, H * (r + c->rope_dim)));
    return mz_net_cell(n, &a->context, MZ_ROOM_SCRATCH, n->dtype, n->T, H * r);
}

static mz_err describe_sum_heads(mz_net *n, mz_mla *a)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_REDUCE;
    d.u.reduce.dtype = n->dtype;
    d.u.reduce.out_dtype = n->dtype;
    d.u.reduce.A_max = n->T;
    d.u.reduce.B_max = n->config.heads;
    d.u.reduce.C_max = n->config.rope_dim;
    return mz_net_op(n, &a->sum_heads, &d);
}

static mz_err describe_backward(mz_net *n, mz_mla *a)
{
    const mz_config *c = &n->config;
    const int64_t T = n->T, H = c->heads, K = c->nope_dim + c->rope_dim;
    if (!n->options.train) return MZ_OK;
    MZ_TRY(describe_sum_heads(n, a));
    MZ_TRY(mz_net_elementwise(n, &a->add, MZ_EW_ADD, T, c->width));
    MZ_TRY(mz_net_cell(n, &a->dout, MZ_ROOM_SCRATCH, n->dtype, T, H * c->v_dim));
    MZ_TRY(mz_net_cell(n, &a->dq, MZ_ROOM_SCRATCH, n->dtype, T, H * K));
    MZ_TRY(mz_net_cell(n, &a->dk, MZ_ROOM_SCRATCH, n->dtype, T, H * K));
    MZ_TRY(mz_net_cell(n, &a->dkv, MZ_ROOM_SCRATCH, n->dtype, T, H * (c->nope_dim + c->v_dim)));
    MZ_TRY(mz_net_cell(n, &a->dk_rope, MZ_ROOM_SCRATCH, n->dtype, T, c->rope_dim));
    MZ_TRY(mz_net_cell(n, &a->dlatent, MZ_ROOM_SCRATCH, n->dtype, T, c->kv_rank));
    MZ_TRY(mz_net_cell(n, &a->dkva, MZ_ROOM_SCRATCH, n->dtype, T, c->kv_rank + c->rope_dim));
    MZ_TRY(mz_net_cell(n, &a->dqa, MZ_ROOM_SCRATCH, n->dtype, T, c->q_rank));
    return mz_net_cell(n, &a->part, MZ_ROOM_SCRATCH, n->dtype, T, c->width);
}

mz_err mz_mla_describe(mz_net *n, mz_mla *a, int64_t layer)
{
    const mz_config *c = &n->config;
    const mz_attend_shape plain = {c->heads, c->heads, c->nope_dim + c->rope_dim, c->v_dim};
    const mz_attend_shape paged = {c->heads, 1, c->kv_rank + c->rope_dim, c->kv_rank};
    char at[96];
    snprintf(at, sizeof at, "model.layers.%lld.self_attn", (long long)layer);
    MZ_TRY(describe_query(n, a, at));
    MZ_TRY(describe_latent(n, a, at));
    MZ_TRY(mz_attend_describe(n, &a->attend, &plain, &paged));
    const size_t mark = mz_net_mark(n); /* a call takes one of the two ways */
    MZ_TRY(describe_cached(n, a));
    mz_net_release(n, mark);
    MZ_TRY(describe_plain(n, a));
    return describe_backward(n, a);
}

/* ---- running ---- */

/* The q, k, v of a head lie side by side in one row of q, k and kv. */
typedef struct mla_views {
    mz_tensor q, k, k_nope, v, k_rope, k_rope_from; /* [T,H,.]; k_rope is k's part, k_rope_from the
                                                       one row for all heads */
} mla_views;

static mla_views views_of(const mz_net *n, const mz_tensor *q, const mz_tensor *k,
                          const mz_tensor *kv, const mz_tensor *k_rope)
{
    const mz_config *c = &n->config;
    mla_views v = {.q = mz_heads(q, c->heads), .k = mz_heads(k, c->heads)};
    const mz_tensor by_head = mz_heads(kv, c->heads);
    v.k_nope = mz_columns(&by_head, 0, c->nope_dim);
    v.v = mz_columns(&by_head, c->nope_dim, c->v_dim);
    v.k_rope = mz_columns(&v.k, c->nope_dim, c->rope_dim);
    v.k_rope_from = mz_heads(k_rope, 1);
    v.k_rope_from.dim[1] = c->heads;
    v.k_rope_from.stride[1] = 0; /* one row for all heads */
    return v;
}

static mz_err query(const mz_net *n, const mz_mla *a, const mz_tensor *q, const mz_tensor *x)
{
    const mz_config *c = &n->config;
    if (c->q_rank > 0) {
        const mz_tensor qa = mz_cell_rows(n, &a->qa, n->tokens);
        const mz_tensor normed = mz_cell_rows(n, &a->qa_normed, n->tokens);
        MZ_TRY(mz_linear_forward(n, &a->q_a, &qa, x));
        MZ_TRY(mz_norm_forward(n, &a->q_norm, &normed, &qa));
        return mz_linear_forward(n, &a->q_b, q, &normed);
    }
    return mz_linear_forward(n, &a->q_b, q, x);
}

/* The latent after its norm and the rope key after rope. */
static mz_err latent(const mz_net *n, const mz_mla *a, const mz_tensor *x)
{
    const mz_config *c = &n->config;
    const int64_t T = n->tokens;
    const mz_tensor kva = mz_cell_rows(n, &a->kva, T), normed = mz_cell_rows(n, &a->latent, T);
    const mz_tensor raw = mz_columns(&kva, 0, c->kv_rank);
    const mz_tensor key = mz_columns(&kva, c->kv_rank, c->rope_dim);
    const mz_tensor roped = mz_cell_rows(n, &a->k_rope, T);
    const mz_tensor from = mz_heads(&key, 1), to = mz_heads(&roped, 1);
    MZ_TRY(mz_linear_forward(n, &a->kv_a, &kva, x));
    MZ_TRY(mz_norm_forward(n, &a->kv_norm, &normed, &raw));
    return mz_run_rope(n, a->rope_k, &to, &from);
}

static mz_err attend(const mz_net *n, const mz_mla *a, const mz_tensor *out, const mz_tensor *q)
{
    const mz_config *c = &n->config;
    const int64_t T = n->tokens;
    const mz_tensor k = mz_cell_rows(n, &a->k_at, T), kv = mz_cell_rows(n, &a->kv, T);
    const mz_tensor normed = mz_cell_rows(n, &a->latent, T);
    const mz_tensor k_rope = mz_cell_rows(n, &a->k_rope, T);
    const mla_views v = views_of(n, q, &k, &kv, &k_rope);
    const mz_tensor q_rope = mz_columns(&v.q, c->nope_dim, c->rope_dim);
    const mz_tensor k_left = mz_columns(&v.k, 0, c->nope_dim), o = mz_heads(out, c->heads);
    MZ_TRY(mz_run_rope(n, a->rope_q, &q_rope, &q_rope));
    MZ_TRY(mz_linear_forward(n, &a->kv_b, &kv, &normed));
    MZ_TRY(mz_run_elementwise(n, a->copy_nope, &k_left, &v.k_nope, NULL));
    MZ_TRY(mz_run_elementwise(n, a->copy_rope, &v.k_rope, &v.k_rope_from, NULL));
    return mz_attend_forward(n, &a->attend, &o, &v.q, &v.k, &v.v);
}

/* kv_b's rows first .. first+count-1 of every head: [H, count, r]. */
static mz_tensor cut_kv_b(const mz_net *n, const mz_mla *a, int64_t first, int64_t count)
{
    const mz_config *c = &n->config;
    const int64_t dim[3] = {c->heads, c->nope_dim + c->v_dim, c->kv_rank};
    const mz_tensor by_head = mz_reshape(&a->kv_b.w->w, 3, dim);
    return mz_slice(&by_head, 1, first, count);
}

static mz_err batched(const mz_net *n, int op, const mz_tensor *y, const mz_tensor *x,
                      const mz_tensor *w)
{
    const mz_tensor c = mz_flip_heads(y), a = mz_flip_heads(x); /* one matrix a head */
    return mz_forward(n->ops[op].op, &(mz_args){.matmul = {.c = &c, .a = &a, .b = w}});
}

static mz_err write_cache(const mz_net *n, const mz_mla *a, const mz_tensor *pages)
{
    const mz_config *c = &n->config;
    const mz_tensor normed = mz_cell_rows(n, &a->latent, n->tokens);
    const mz_tensor k_rope = mz_cell_rows(n, &a->k_rope, n->tokens);
    const mz_tensor left = mz_columns(pages, 0, c->kv_rank);
    const mz_tensor right = mz_columns(pages, c->kv_rank, c->rope_dim);
    MZ_TRY(mz_run_scatter(n, a->scatter_latent, &left, &normed));
    return mz_run_scatter(n, a->scatter_rope, &right, &k_rope);
}

static mz_err attend_cached(const mz_net *n, const mz_mla *a, const mz_tensor *out,
                            const mz_tensor *q)
{
    const mz_config *c = &n->config;
    const int64_t pages = n->options.cache_pages, page = n->options.page_tokens;
    const int64_t wide = c->kv_rank + c->rope_dim;
    const int64_t rows[2] = {pages * page, wide}, dim[4] = {pages, page, 1, wide};
    const mz_tensor cache = mz_view(n->pages, a->cache, n->dtype, 2, rows);
    const mz_tensor keys = mz_reshape(&cache, 4, dim), values = mz_columns(&keys, 0, c->kv_rank);
    const mz_tensor w_uk = cut_kv_b(n, a, 0, c->nope_dim);
    const mz_tensor w_uv = cut_kv_b(n, a, c->nope_dim, c->v_dim);
    const mz_tensor qa_rows = mz_cell_rows(n, &a->q_absorbed, n->tokens);
    const mz_tensor context_rows = mz_cell_rows(n, &a->context, n->tokens);
    const mz_tensor q_heads = mz_heads(q, c->heads), qa = mz_heads(&qa_rows, c->heads);
    const mz_tensor context = mz_heads(&context_rows, c->heads), o = mz_heads(out, c->heads);
    const mz_tensor q_nope = mz_columns(&q_heads, 0, c->nope_dim);
    const mz_tensor q_rope = mz_columns(&q_heads, c->nope_dim, c->rope_dim);
    const mz_tensor qa_left = mz_columns(&qa, 0, c->kv_rank);
    const mz_tensor qa_right = mz_columns(&qa, c->kv_rank, c->rope_dim);
    MZ_TRY(write_cache(n, a, &cache));
    MZ_TRY(batched(n, a->absorb_k, &qa_left, &q_nope, &w_uk));
    MZ_TRY(mz_run_rope(n, a->rope_q, &qa_right, &q_rope));
    MZ_TRY(mz_attend_paged(n, &a->attend, &context, &qa, &keys, &values));
    return batched(n, a->absorb_v, &o, &context, &w_uv);
}

mz_err mz_mla_forward(const mz_net *n, const mz_mla *a, const mz_tensor *y, const mz_tensor *x)
{
    const mz_tensor q = mz_cell_rows(n, &a->q_at, n->tokens);
    const mz_tensor out = mz_cell_rows(n, &a->out, n->tokens);
    MZ_TRY(query(n, a, &q, x));
    MZ_TRY(latent(n, a, x));
    MZ_TRY(n->cached ? attend_cached(n, a, &out, &q) : attend(n, a, &out, &q));
    return mz_linear_forward(n, &a->o, y, &out);
}

/* ---- backward ---- */

/* dq, dkv and the gradient of the rope key before rope, into the right columns of dkva. */
static mz_err attend_back(const mz_net *n, const mz_mla *a, const mz_tensor *dq,
                          const mz_tensor *dkv, const mz_tensor *dkva)
{
    const mz_config *c = &n->config;
    const int64_t T = n->tokens;
    const mz_tensor q = mz_cell_rows(n, &a->q_at, T), k = mz_cell_rows(n, &a->k_at, T);
    const mz_tensor kv = mz_cell_rows(n, &a->kv, T), dk = mz_cell_rows(n, &a->dk, T);
    const mz_tensor dk_rope = mz_cell_rows(n, &a->dk_rope, T);
    const mz_tensor out_rows = mz_cell_rows(n, &a->out, T), out = mz_heads(&out_rows, c->heads);
    const mz_tensor dout_rows = mz_cell_rows(n, &a->dout, T), dout = mz_heads(&dout_rows, c->heads);
    const mla_views v = views_of(n, &q, &k, &kv, &dk_rope);
    const mla_views d = views_of(n, dq, &dk, dkv, &dk_rope);
    const mz_tensor *const qkv[3] = {&v.q, &v.k, &v.v};
    const mz_attend_grads g = {.dq = &d.q, .dk = &d.k, .dv = &d.v, .dout = &dout};
    const mz_tensor dq_rope = mz_columns(&d.q, c->nope_dim, c->rope_dim);
    const mz_tensor dk_left = mz_columns(&d.k, 0, c->nope_dim);
    const mz_tensor key = mz_columns(dkva, c->kv_rank, c->rope_dim), dkey = mz_heads(&key, 1);
    const mz_tensor one = mz_heads(&dk_rope, 1);
    MZ_TRY(mz_attend_backward(n, &a->attend, &g, &out, qkv));
    MZ_TRY(mz_run_rope_back(n, a->rope_q, &dq_rope, &dq_rope));
    MZ_TRY(mz_run_elementwise(n, a->copy_nope, &d.k_nope, &dk_left, NULL));
    MZ_TRY(
        mz_forward(n->ops[a->sum_heads].op, &(mz_args){.reduce = {.y = &dk_rope, .x = &d.k_rope}}));
    return mz_run_rope_back(n, a->rope_k, &dkey, &one);
}

static mz_err query_back(const mz_net *n, const mz_mla *a, const mz_tensor *dx, const mz_tensor *dq,
                         const mz_tensor *x)
{
    const int64_t T = n->tokens;
    if (n->config.q_rank == 0) return mz_linear_backward(n, &a->q_b, dx, dq, x);
    const mz_tensor qa = mz_cell_rows(n, &a->qa, T), dqa = mz_cell_rows(n, &a->dqa, T);
    const mz_tensor normed = mz_cell_rows(n, &a->qa_normed, T);
    MZ_TRY(mz_linear_backward(n, &a->q_b, &dqa, dq, &normed));
    MZ_TRY(mz_norm_backward(n, &a->q_norm, &dqa, &dqa, &qa));
    return mz_linear_backward(n, &a->q_a, dx, &dqa, x);
}

/* From dkv and the right columns of dkva to the gradient of x that came through the latent. */
static mz_err latent_back(const mz_net *n, const mz_mla *a, const mz_tensor *dx,
                          const mz_tensor *dkv, const mz_tensor *dkva, const mz_tensor *x)
{
    const int64_t T = n->tokens, r = n->config.kv_rank;
    const mz_tensor normed = mz_cell_rows(n, &a->latent, T);
    const mz_tensor dlatent = mz_cell_rows(n, &a->dlatent, T), kva = mz_cell_rows(n, &a->kva, T);
    const mz_tensor raw = mz_columns(&kva, 0, r), draw = mz_columns(dkva, 0, r);
    MZ_TRY(mz_linear_backward(n, &a->kv_b, &dlatent, dkv, &normed));
    MZ_TRY(mz_norm_backward(n, &a->kv_norm, &draw, &dlatent, &raw));
    return mz_linear_backward(n, &a->kv_a, dx, dkva, x);
}

mz_err mz_mla_backward(const mz_net *n, const mz_mla *a, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x)
{
    const int64_t T = n->tokens;
    const mz_tensor out = mz_cell_rows(n, &a->out, T), dout = mz_cell_rows(n, &a->dout, T);
    const mz_tensor dq = mz_cell_rows(n, &a->dq, T), dkv = mz_cell_rows(n, &a->dkv, T);
    const mz_tensor dkva = mz_cell_rows(n, &a->dkva, T), part = mz_cell_rows(n, &a->part, T);
    MZ_TRY(mz_linear_backward(n, &a->o, &dout, dy, &out));
    MZ_TRY(attend_back(n, a, &dq, &dkv, &dkva));
    MZ_TRY(query_back(n, a, dx, &dq, x));
    MZ_TRY(latent_back(n, a, &part, &dkv, &dkva, x));
    return mz_run_elementwise(n, a->add, dx, dx, &part);
}
