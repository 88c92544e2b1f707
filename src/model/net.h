/* SPDX-License-Identifier: Apache-2.0 */
/* model/net.h - what the parts of a network (gqa, mla, mlp, moe, block, mtp, head) share: one
 * description of operators and memory, and the call that runs on it. Private to model/.
 *
 * Every part has a `describe`, which names its operators (mz_net_op) and its memory (mz_net_cell).
 * mz_model_ops lists what was described, mz_model_plan adds it up, mz_model_new binds and books it:
 * there is no second list that could differ.
 *
 * Memory of one model is one buffer, dealt out as cells:
 *   HELD     stands from bind to free: hidden states asked for, router ids, inputs, tables
 *   KEPT     from forward to backward when training; when serving it is scratch. With recompute the
 *            blocks share the bytes of one, and each but the last runs forward once more before its
 *            backward
 *   SCRATCH  until the part that took it is done: a stack (mz_net_mark, mz_net_release), whose
 *            deepest point is booked, behind the held bytes
 *
 * Floor:  model. May use op, chip, tensor, base.
 * Errors: describe passes on what query and the checks say. Running functions only enqueue. */
#ifndef MZ_MODEL_NET_H
#define MZ_MODEL_NET_H

#include "model/model.h"
#include "op/op.h"

typedef enum mz_room { MZ_ROOM_HELD, MZ_ROOM_KEPT, MZ_ROOM_SCRATCH } mz_room;

typedef struct mz_cell {
    size_t offset; /* in the bytes of its room */
    int64_t rows, width;
    mz_dtype dtype;
    mz_room room; /* where it lies: KEPT only in a block that is computed twice */
} mz_cell;

/* One distinct description; layers with equal shapes share its operator. */
typedef struct mz_bound {
    mz_desc desc;
    mz_support support;
    mz_op *op; /* NULL until bound */
} mz_bound;

typedef struct mz_net {
    /* the description */
    mz_queue *queue; /* NULL: operators are only listed, no chip is asked */
    mz_config config;
    mz_model_options options;
    mz_dtype dtype, acc;
    int64_t T; /* tokens_max */
    mz_params params;
    mz_bound *ops;
    int n_ops, ops_cap;
    size_t held, scratch, scratch_peak, cache; /* bytes */
    size_t kept, kept_peak;                    /* of the block that is computed twice now */
    bool shares_kept;                          /* such a block is being described */
    mz_cell cos, sin;                          /* [position_max, dims/2] F32 */
    mz_cell lora_dx, lora_dh;                  /* scratch of all adapters */
    mz_cell sink; /* [1, widest norm] acc: gradients of norms that do not learn */

    /* booked */
    mz_buffer *arena, *pages;

    /* the call that runs now */
    int64_t tokens, sequences;
    bool cached;
    const int32_t *cu_host; /* staged: lives until the queue was synced */
    mz_tensor ids, pos, cu, rows, table, lens;
    double balance_alpha;
    bool again; /* a block runs forward for the second time: what it counts was counted */
} mz_net;

/* ---- describing (build.c) ---- */
/* *op receives the index of this description in net->ops. Dedupes. */
mz_err mz_net_op(mz_net *n, int *op, const mz_desc *desc);
mz_err mz_net_cell(mz_net *n, mz_cell *cell, mz_room room, mz_dtype dtype, int64_t rows,
                   int64_t width);
/* The bytes that the operator saves for its backward pass; no bytes when serving. */
mz_err mz_net_saved(mz_net *n, mz_cell *cell, int op);
size_t mz_net_booked(const mz_net *n); /* bytes of all rooms together */
size_t mz_net_mark(const mz_net *n);
void mz_net_release(mz_net *n, size_t mark);
/* Bytes of the paged cache: *offset is where a layer's [cache_pages, page_tokens, width] starts. */
mz_err mz_net_cache(mz_net *n, size_t *offset, int64_t width);
mz_err mz_net_elementwise(mz_net *n, int *op, mz_elementwise_fn fn, int64_t rows, int64_t width);
mz_err mz_net_swiglu(mz_net *n, int *op, int64_t rows, int64_t width);
mz_err mz_net_rope(mz_net *n, int *op, int64_t heads, int64_t width);
mz_err mz_net_scatter(mz_net *n, int *op, int64_t width);
/* The parameter, or MZ_EINVAL with its name. */
/* What a description says of how this weight lies. */
static inline mz_dtype mz_net_stored(const mz_net *n, const mz_param *w)
{
    return w->dtype == n->dtype ? MZ_F64 : w->dtype;
}
mz_err mz_net_param(const mz_net *n, const mz_param **p, const char *prefix, const char *suffix);

/* ---- views of cells (build.c) ---- */
mz_tensor mz_cell_rows(const mz_net *n, const mz_cell *c, int64_t rows);     /* [rows, width] */
mz_tensor mz_cell_flat(const mz_net *n, const mz_cell *c, int64_t elements); /* [elements] */
mz_tensor mz_cell_all(const mz_net *n, const mz_cell *c);                    /* [rows * width] */
mz_tensor mz_heads(const mz_tensor *t, int64_t heads); /* [T,H*K] as [T,H,K], any row stride */
mz_tensor mz_columns(const mz_tensor *t, int64_t first, int64_t count); /* of the last axis */
mz_tensor mz_flip_heads(const mz_tensor *t);                            /* [T,H,K] as [H,T,K] */

/* ---- adapters of linear maps (lora.c) ---- */
typedef struct mz_lora {
    const mz_param *a, *b;             /* NULL: this map has none */
    int down, up, up_back, scale, add; /* operators */
    mz_cell h;                         /* scale x A^T */
} mz_lora;
mz_err mz_lora_describe_room(mz_net *n);
/* Finds "prefix.lora_A.weight" and B, if the list has them. */
mz_err mz_lora_describe(mz_net *n, mz_lora *l, int64_t rows, const char *prefix);
/* y and dx ADDED TO, gradients of A and B too. */
mz_err mz_lora_forward(const mz_net *n, const mz_lora *l, const mz_tensor *y, const mz_tensor *x);
mz_err mz_lora_backward(const mz_net *n, const mz_lora *l, const mz_tensor *dx, const mz_tensor *dy,
                        const mz_tensor *x);

/* ---- y = x w^T + bias, and its gradients (parts.c) ---- */
typedef struct mz_linear {
    int op;
    const mz_param *w, *bias; /* bias NULL = none */
    mz_lora lora;
} mz_linear;
/* Finds "prefix.weight" and, where the list has it, "prefix.bias". rows: largest number of rows. */
mz_err mz_linear_describe(mz_net *n, mz_linear *l, int64_t rows, mz_dtype out, const char *prefix);
mz_err mz_linear_bind(mz_net *n, mz_linear *l, int64_t rows, mz_dtype out, const mz_param *w);
mz_err mz_linear_forward(const mz_net *n, const mz_linear *l, const mz_tensor *y,
                         const mz_tensor *x);
/* dx OVERWRITTEN, gradients of weights that learn ADDED TO. */
mz_err mz_linear_backward(const mz_net *n, const mz_linear *l, const mz_tensor *dx,
                          const mz_tensor *dy, const mz_tensor *x);

typedef struct mz_norm {
    int op;
    const mz_param *w;
    mz_cell saved;
} mz_norm;
mz_err mz_norm_describe(mz_net *n, mz_norm *norm, int64_t rows, double eps, const char *name);
mz_err mz_norm_forward(const mz_net *n, const mz_norm *norm, const mz_tensor *y,
                       const mz_tensor *x);
mz_err mz_norm_backward(const mz_net *n, const mz_norm *norm, const mz_tensor *dx,
                        const mz_tensor *dy, const mz_tensor *x);

/* y = a + b, or y = a where b is NULL; op is that of mz_net_elementwise. */
mz_err mz_run_elementwise(const mz_net *n, int op, const mz_tensor *y, const mz_tensor *a,
                          const mz_tensor *b);
mz_err mz_run_rope(const mz_net *n, int op, const mz_tensor *y, const mz_tensor *x);
mz_err mz_run_rope_back(const mz_net *n, int op, const mz_tensor *dx, const mz_tensor *dy);
mz_err mz_run_scatter(const mz_net *n, int op, const mz_tensor *pages, const mz_tensor *x);

/* ---- attention: causal over packed sequences, or over the cache (parts.c) ---- */
typedef struct mz_attend {
    int plain, paged; /* operators; paged only with a cache */
    mz_cell saved;
} mz_attend;
typedef struct mz_attend_shape {
    int64_t H, G, K, W; /* of the two forms: they differ for MLA */
} mz_attend_shape;
mz_err mz_attend_describe(mz_net *n, mz_attend *a, const mz_attend_shape *plain,
                          const mz_attend_shape *paged);
mz_err mz_attend_forward(const mz_net *n, const mz_attend *a, const mz_tensor *out,
                         const mz_tensor *q, const mz_tensor *k, const mz_tensor *v);
typedef struct mz_attend_grads {
    const mz_tensor *dq, *dk, *dv, *dout; /* dq, dk, dv OVERWRITTEN */
} mz_attend_grads;
mz_err mz_attend_backward(const mz_net *n, const mz_attend *a, const mz_attend_grads *g,
                          const mz_tensor *out, const mz_tensor *const qkv[3]);
mz_err mz_attend_paged(const mz_net *n, const mz_attend *a, const mz_tensor *out,
                       const mz_tensor *q, const mz_tensor *k_cache, const mz_tensor *v_cache);

/* ---- the parts ----
 * describe  operators and memory; the caller releases the scratch that was taken
 * forward   y [T,D] OVERWRITTEN from x [T,D], plain or cached as net->cached says
 * backward  dx [T,D] OVERWRITTEN from dy and the x of forward; weight gradients ADDED TO; spends
 *           what forward kept */
typedef struct mz_gqa {
    mz_linear q, k, v, o;
    mz_norm q_norm, k_norm; /* with config.qk_norm */
    mz_attend attend;
    int rope_q, rope_k, scatter, add;
    mz_cell q_raw, k_raw; /* before q_norm, k_norm; the cells of q and k without them */
    mz_cell q_at, k_at, v_at, out;
    mz_cell dout, dq, dk, dv, part;
    size_t k_cache, v_cache; /* byte offsets */
} mz_gqa;
mz_err mz_gqa_describe(mz_net *n, mz_gqa *a, int64_t layer);
mz_err mz_gqa_forward(const mz_net *n, const mz_gqa *a, const mz_tensor *y, const mz_tensor *x);
mz_err mz_gqa_backward(const mz_net *n, const mz_gqa *a, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x);

typedef struct mz_mla {
    mz_linear q_a, q_b, kv_a, kv_b, o; /* q_b is q_proj without query LoRA */
    mz_norm q_norm, kv_norm;
    mz_attend attend;
    int rope_q, rope_k, copy_nope, copy_rope, sum_heads, add;
    int absorb_k, absorb_v, scatter_latent, scatter_rope; /* cached */
    mz_cell qa, qa_normed, q_at, kva, latent, k_rope, kv, k_at, out;
    mz_cell q_absorbed, context; /* cached */
    mz_cell dout, dq, dk, dkv, dk_rope, dlatent, dkva, dqa, part;
    size_t cache; /* byte offset; [pages, page_tokens, kv_rank + rope_dim] */
} mz_mla;
mz_err mz_mla_describe(mz_net *n, mz_mla *a, int64_t layer);
mz_err mz_mla_forward(const mz_net *n, const mz_mla *a, const mz_tensor *y, const mz_tensor *x);
mz_err mz_mla_backward(const mz_net *n, const mz_mla *a, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x);

typedef struct mz_mlp {
    mz_linear gate, up, down;
    int swiglu, add;
    mz_cell gate_at, up_at, act;
    mz_cell dact, part;
} mz_mlp;
/* prefix: "model.layers.3.mlp" or "model.layers.3.mlp.shared_experts". */
mz_err mz_mlp_describe(mz_net *n, mz_mlp *m, const char *prefix);
mz_err mz_mlp_forward(const mz_net *n, const mz_mlp *m, const mz_tensor *y, const mz_tensor *x);
mz_err mz_mlp_backward(const mz_net *n, const mz_mlp *m, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x);

typedef struct mz_moe {
    mz_linear router_in; /* gate.weight */
    const mz_param *bias, *gate, *up, *down;
    bool has_shared;
    mz_mlp shared;
    int router, balance, permute, unpermute, widen, narrow, swiglu, add, add_rows;
    mz_cell logits, ids, weights, probs, router_saved, offsets, row_of;
    mz_cell sorted, gate_at, up_at, act, z;
    mz_cell counts, balance_loss;
    mz_cell dz, dact, dsorted, dweights, dprobs, dlogits, part;
} mz_moe;
mz_err mz_moe_describe(mz_net *n, mz_moe *m, int64_t layer);
mz_err mz_moe_forward(const mz_net *n, const mz_moe *m, const mz_tensor *y, const mz_tensor *x);
mz_err mz_moe_backward(const mz_net *n, const mz_moe *m, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x);

/* x += attention(norm(x));  x += mlp or experts(norm(x)) */
typedef struct mz_block {
    int64_t layer;
    bool is_moe;
    mz_norm before_attention, before_mlp;
    union {
        mz_gqa gqa;
        mz_mla mla;
    } attention;
    union {
        mz_mlp mlp;
        mz_moe moe;
    } mlp;
    int add;
    mz_cell in, normed1, mid, normed2, out; /* in is the out of the block before */
    mz_cell branch;
} mz_block;
mz_err mz_block_describe(mz_net *n, mz_block *b, int64_t layer, const mz_cell *in);
mz_err mz_block_forward(const mz_net *n, const mz_block *b);
/* d [T,D] IN-OUT: gradient of the block's output, then of its input. */
mz_err mz_block_backward(const mz_net *n, const mz_block *b, const mz_tensor *d);

/* Logits by chunks, loss and its gradient. */
typedef struct mz_head {
    mz_linear linear; /* lm_head, or the embedding where they are tied */
    mz_linear back;   /* the same weight for rounded gradients of the logits */
    int64_t rows;     /* largest chunk */
    bool rounds;      /* training in a dtype that is not acc */
    int gather, xent, cast;
    mz_cell logits, dlogits, index, gathered;
} mz_head;
mz_err mz_head_describe(mz_net *n, mz_head *h);
int64_t mz_head_rows(const mz_config *c, const mz_model_options *o);
typedef struct mz_head_call {
    const mz_tensor *hidden, *targets, *weight, *loss; /* [T,D], [T], [T], [T] */
    const mz_tensor *dhidden;                          /* [T,D] OVERWRITTEN, NULL = no backward */
} mz_head_call;
/* logits [C,V] acc of hidden [C,D]; rows [C,D] = hidden[index], the index cell's first C. */
mz_err mz_head_logits(const mz_net *n, const mz_head *h, const mz_tensor *hidden,
                      const mz_tensor *logits);
mz_err mz_head_gather(const mz_net *n, const mz_head *h, const mz_tensor *rows,
                      const mz_tensor *hidden);
mz_err mz_head_loss(const mz_net *n, const mz_head *h, const mz_head_call *call);

/* The embedding, shared by the main model and its MTP layers. */
typedef struct mz_embed {
    int op;
    const mz_param *w;
} mz_embed;
mz_err mz_embed_describe(mz_net *n, mz_embed *e);
mz_err mz_embed_forward(const mz_net *n, const mz_embed *e, const mz_tensor *y,
                        const mz_tensor *ids);
mz_err mz_embed_backward(const mz_net *n, const mz_embed *e, const mz_tensor *dy,
                         const mz_tensor *ids);

/* Multi-token prediction, depth k = 1 .. mtp_layers, in the layers after the last; see mtp.c. */
typedef struct mz_mtp {
    int64_t depth;
    mz_norm enorm, hnorm, norm;
    mz_linear join; /* eh_proj */
    mz_block block;
    int add;
    mz_cell emb, cat, joined, normed;
    mz_cell ids, learnt, targets, weight, loss; /* of this depth: shifted by it; HELD */
    mz_cell dcat;
} mz_mtp;
typedef struct mz_mtp_call {
    const mz_embed *embed;
    const mz_head *head;
    const mz_tensor *h;       /* [T,D] what this depth was fed */
    const mz_tensor *dh;      /* [T,D] IN-OUT: gradient of its output h^k from the next depth (not
                                 read where `is_last`), then of what it was fed */
    const mz_tensor *scratch; /* [T,D] */
    bool is_last, backward;
} mz_mtp_call;
mz_err mz_mtp_describe(mz_net *n, mz_mtp *m, int64_t depth);
mz_err mz_mtp_forward(const mz_net *n, const mz_mtp *m, const mz_embed *e, const mz_tensor *h);
/* Loss, and with `backward` the way back. */
mz_err mz_mtp_loss(const mz_net *n, const mz_mtp *m, const mz_mtp_call *call);

#endif
