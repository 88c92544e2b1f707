/* SPDX-License-Identifier: Apache-2.0 */
/* tests/cases.h - a small valid call of every operator, made from a seed, for tests that run the
 * same call on two devices and compare bytes. Rows are padded where the operator leaves strides
 * free, and the padding is compared too: nobody may write there. */
#ifndef MZ_TESTS_CASES_H
#define MZ_TESTS_CASES_H

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "op/op.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef enum case_fill {
    CASE_ABSENT,
    CASE_REAL,     /* normal numbers */
    CASE_POSITIVE, /* and their squares */
    CASE_INDEX,    /* uniform in low..high-1 */
    CASE_DISTINCT, /* a permutation of 0..n-1, or its first n out of `high` */
    CASE_CHOICE,   /* per row: distinct, ascending, 0..high-1 */
    CASE_LIST,     /* the numbers of `list` */
    CASE_SAVED
} case_fill;

typedef struct case_arg {
    mz_dtype dtype;
    case_fill fill;
    int rank;
    int64_t dim[MZ_RANK_MAX];
    int64_t low, high;
    int64_t pad; /* elements behind each row */
    const int32_t *list;
} case_arg;

typedef struct op_case {
    mz_desc desc;
    case_arg arg[MZ_ARGS_MAX];
    mz_args k; /* only .k counts */
} op_case;

/* What a call left in the whole buffer of each argument. */
typedef struct case_image {
    unsigned char *bytes[MZ_ARGS_MAX];
    size_t n[MZ_ARGS_MAX];
} case_image;

#define CASE_AT(member) (offsetof(mz_args, member) / sizeof(const mz_tensor *))

enum { CASE_T = 7, CASE_VARIANTS = 3 };

static inline case_arg case_rows(mz_dtype dtype, int64_t T, int64_t D)
{
    return (case_arg){.dtype = dtype, .fill = CASE_REAL, .rank = 2, .dim = {T, D}, .pad = 3};
}

static inline case_arg case_heads(mz_dtype dtype, int64_t T, int64_t H, int64_t K)
{
    return (case_arg){.dtype = dtype, .fill = CASE_REAL, .rank = 3, .dim = {T, H, K}, .pad = 2};
}

static inline case_arg case_line(mz_dtype dtype, int64_t n)
{
    return (case_arg){.dtype = dtype, .fill = CASE_REAL, .rank = 1, .dim = {n}};
}

static inline case_arg case_list(int64_t n, const int32_t *list)
{
    return (case_arg){.dtype = MZ_I32, .fill = CASE_LIST, .rank = 1, .dim = {n}, .list = list};
}

static inline case_arg case_ids(int64_t T, int64_t k, int64_t E)
{
    return (case_arg){.dtype = MZ_I32, .fill = CASE_CHOICE, .rank = 2, .dim = {T, k}, .high = E};
}

static inline case_arg case_saved(void)
{
    return (case_arg){.dtype = MZ_U8, .fill = CASE_SAVED, .rank = 1};
}

static const int32_t CASE_CU[] = {0, 2, 7}, CASE_OFFSETS[] = {0, 3, 3, 5, 7};

static inline bool case_matmul(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t M = CASE_T, N = 5, K = 4;
    mz_matmul_desc *m = &c->desc.u.matmul;
    *m = (mz_matmul_desc){
        .dtype = d, .out_dtype = variant == 2 ? acc : d, .M_max = M, .N_max = N, .K_max = K};
    m->trans_b = m->bias = m->backward = variant == 0;
    m->accumulate = variant == 2;
    m->trans_a = variant == 2;
    m->batch_max = variant == 1 ? 3 : 0;
    c->arg[CASE_AT(matmul.c)] = case_rows(m->out_dtype, M, N);
    c->arg[CASE_AT(matmul.a)] = m->trans_a ? case_rows(d, K, M) : case_rows(d, M, K);
    c->arg[CASE_AT(matmul.b)] = m->trans_b ? case_rows(d, N, K) : case_rows(d, K, N);
    for (int i = 0; i < 3 && variant == 1; i++) {
        case_arg *a = &c->arg[i];
        *a = case_heads(a->dtype, 3, a->dim[0], a->dim[1]);
    }
    if (variant) return true;
    c->arg[CASE_AT(matmul.bias)] = case_line(acc, N);
    c->arg[CASE_AT(matmul.dc)] = case_rows(d, M, N);
    c->arg[CASE_AT(matmul.da)] = case_rows(d, M, K);
    c->arg[CASE_AT(matmul.db)] = case_rows(acc, N, K);
    c->arg[CASE_AT(matmul.dbias)] = case_line(acc, N);
    return true;
}

static inline bool case_experts(op_case *c, mz_dtype d, int variant)
{
    const int64_t E = 4, N = 3, K = 5;
    const case_arg w = case_heads(d, E, N, K);
    c->desc.u.experts = (mz_experts_desc){
        .dtype = d, .T_max = CASE_T, .E = E, .N = N, .K = K, .backward = variant == 0};
    c->arg[CASE_AT(experts.y)] = case_rows(d, CASE_T, N);
    c->arg[CASE_AT(experts.x)] = case_rows(d, CASE_T, K);
    c->arg[CASE_AT(experts.w)] = w;
    c->arg[CASE_AT(experts.offsets)] = case_list(E + 1, CASE_OFFSETS);
    c->arg[CASE_AT(experts.dy)] = case_rows(d, CASE_T, N);
    c->arg[CASE_AT(experts.dx)] = case_rows(d, CASE_T, K);
    c->arg[CASE_AT(experts.dw)] = w;
    c->arg[CASE_AT(experts.dw)].dtype = mz_dtype_acc(d);
    return variant < 2;
}

static inline bool case_rmsnorm(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t D = 6;
    c->desc.u.rmsnorm = (mz_rmsnorm_desc){
        .dtype = d, .T_max = CASE_T + 2, .D = D, .eps = 1e-6, .backward = variant == 0};
    c->arg[CASE_AT(rmsnorm.y)] = case_rows(d, CASE_T, D);
    c->arg[CASE_AT(rmsnorm.x)] = case_rows(d, CASE_T, D);
    c->arg[CASE_AT(rmsnorm.w)] = case_line(acc, D);
    if (variant) return variant < 2;
    c->arg[CASE_AT(rmsnorm.saved)] = case_saved();
    c->arg[CASE_AT(rmsnorm.dy)] = case_rows(d, CASE_T, D);
    c->arg[CASE_AT(rmsnorm.dx)] = case_rows(d, CASE_T, D);
    c->arg[CASE_AT(rmsnorm.dw)] = case_line(acc, D);
    return true;
}

/* Tables longer (0, 1) and shorter (2) than the call. */
static inline bool case_rope(op_case *c, mz_dtype d, int variant)
{
    const int64_t H = 3, K = 4, P = variant == 2 ? 5 : 40;
    const case_arg table = {.dtype = MZ_F32, .fill = CASE_REAL, .rank = 2, .dim = {P, K / 2}};
    c->desc.u.rope = (mz_rope_desc){.dtype = d, .T_max = CASE_T, .H = H, .K = K};
    c->desc.u.rope.interleaved = variant == 1;
    c->desc.u.rope.backward = variant != 2;
    c->arg[CASE_AT(rope.y)] = case_heads(d, CASE_T, H, K);
    c->arg[CASE_AT(rope.x)] = case_heads(d, CASE_T, H, K);
    c->arg[CASE_AT(rope.cos)] = c->arg[CASE_AT(rope.sin)] = table;
    c->arg[CASE_AT(rope.pos)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_INDEX, .rank = 1, .dim = {CASE_T}, .high = P};
    c->arg[CASE_AT(rope.dy)] = case_heads(d, CASE_T, H, K);
    c->arg[CASE_AT(rope.dx)] = case_heads(d, CASE_T, H, K);
    return true;
}

static inline bool case_attention(op_case *c, mz_dtype d, int variant)
{
    const int64_t T = CASE_T, H = 4, G = 2, K = 4, W = 3;
    c->desc.u.attention = (mz_attention_desc){.dtype = d,
                                              .T_max = T + 1,
                                              .sequences_max = 3,
                                              .H = H,
                                              .G = G,
                                              .K = K,
                                              .W = W,
                                              .scale = 0.5,
                                              .causal = true,
                                              .backward = variant == 0};
    c->arg[CASE_AT(attention.out)] = case_heads(d, T, H, W);
    c->arg[CASE_AT(attention.q)] = case_heads(d, T, H, K);
    c->arg[CASE_AT(attention.k)] = case_heads(d, T, G, K);
    c->arg[CASE_AT(attention.v)] = case_heads(d, T, G, W);
    c->arg[CASE_AT(attention.cu)] = case_list(3, CASE_CU);
    c->k.k.attention.cu_host = CASE_CU;
    if (variant) return variant < 2;
    c->arg[CASE_AT(attention.saved)] = case_saved();
    c->arg[CASE_AT(attention.dout)] = case_heads(d, T, H, W);
    c->arg[CASE_AT(attention.dq)] = case_heads(d, T, H, K);
    c->arg[CASE_AT(attention.dk)] = case_heads(d, T, G, K);
    c->arg[CASE_AT(attention.dv)] = case_heads(d, T, G, W);
    return true;
}

/* A cache with more pages than the call can name (0), and with fewer (1). */
static inline bool case_decode(op_case *c, mz_dtype d, int variant)
{
    static const int32_t table[] = {8, 2, 0, 9, 1, 5}, small[] = {1, 2, 0, 3, 0, 1};
    static const int32_t lens[] = {5, 9}, cu[] = {0, 1, 3};
    const int64_t B = 2, H = 4, G = 2, K = 4, W = 3, page = 4, per_seq = 3;
    const int64_t P = variant ? 5 : 11;
    c->desc.u.decode = (mz_decode_desc){.dtype = d,
                                        .T_max = 4,
                                        .B_max = B,
                                        .H = H,
                                        .G = G,
                                        .K = K,
                                        .W = W,
                                        .page = page,
                                        .pages_per_seq_max = per_seq,
                                        .scale = 0.5};
    c->arg[CASE_AT(decode.out)] = case_heads(d, 3, H, W);
    c->arg[CASE_AT(decode.q)] = case_heads(d, 3, H, K);
    c->arg[CASE_AT(decode.k_cache)] =
        (case_arg){.dtype = d, .fill = CASE_REAL, .rank = 4, .dim = {P, page, G, K}, .pad = 1};
    c->arg[CASE_AT(decode.v_cache)] =
        (case_arg){.dtype = d, .fill = CASE_REAL, .rank = 4, .dim = {P, page, G, W}, .pad = 1};
    c->arg[CASE_AT(decode.table)] = case_list(0, variant ? small : table);
    c->arg[CASE_AT(decode.table)].rank = 2;
    c->arg[CASE_AT(decode.table)].dim[0] = B;
    c->arg[CASE_AT(decode.table)].dim[1] = per_seq;
    c->arg[CASE_AT(decode.lens)] = case_list(B, lens);
    c->arg[CASE_AT(decode.cu)] = case_list(B + 1, cu);
    return variant < 2;
}

static inline bool case_swiglu(op_case *c, mz_dtype d, int variant)
{
    c->desc.u.swiglu =
        (mz_swiglu_desc){.dtype = d, .T_max = CASE_T, .F = 5, .backward = variant == 0};
    for (int i = 0; i < 6; i++) c->arg[i] = case_rows(d, CASE_T, 5);
    return variant < 2;
}

/* More rows than ids (0, 1), fewer (2); an id outside gives NaN. */
static inline bool case_embed(op_case *c, mz_dtype d, int variant)
{
    static const int32_t ids[] = {3, 0, 3, -1, 1, 2, 0};
    const int64_t V = variant == 2 ? 4 : 30, D = 5;
    c->desc.u.embed =
        (mz_embed_desc){.dtype = d, .T_max = CASE_T, .V = V, .D = D, .backward = variant == 0};
    c->arg[CASE_AT(embed.y)] = case_rows(d, CASE_T, D);
    c->arg[CASE_AT(embed.w)] = case_rows(d, V, D);
    c->arg[CASE_AT(embed.ids)] = case_list(CASE_T, ids);
    c->arg[CASE_AT(embed.dy)] = case_rows(d, CASE_T, D);
    c->arg[CASE_AT(embed.dw)] = case_rows(mz_dtype_acc(d), V, D);
    return true;
}

static inline bool case_router(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t T = CASE_T, E = 8, k = 3;
    c->desc.u.router = (mz_router_desc){.acc = acc,
                                        .T_max = T,
                                        .E = E,
                                        .k = k,
                                        .groups = 4,
                                        .groups_kept = 2,
                                        .normalise = true,
                                        .backward = true,
                                        .factor = 2.5};
    c->desc.u.router.score = variant == 1 ? MZ_SCORE_SOFTMAX : MZ_SCORE_SIGMOID;
    c->desc.u.router.group = variant == 1 ? MZ_GROUP_MAX : MZ_GROUP_TOP2_SUM;
    c->desc.u.router.forced = variant == 2;
    for (int i = 0; i < 9; i++) c->arg[i] = case_rows(acc, T, E);
    c->arg[CASE_AT(router.weights)].dim[1] = c->arg[CASE_AT(router.dweights)].dim[1] = k;
    c->arg[CASE_AT(router.ids)] = case_ids(T, k, E);
    c->arg[CASE_AT(router.saved)] = case_saved();
    c->arg[CASE_AT(router.bias)] = case_line(acc, E);
    return true;
}

static inline bool case_balance(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t T = CASE_T, E = 8, k = 3;
    c->desc.u.balance =
        (mz_balance_desc){.acc = acc, .T_max = T, .sequences_max = 4, .E = E, .k = k};
    c->arg[CASE_AT(balance.loss)] = case_line(acc, 1);
    c->arg[CASE_AT(balance.dprobs)] = c->arg[CASE_AT(balance.probs)] = case_rows(acc, T, E);
    c->arg[CASE_AT(balance.counts)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_INDEX, .rank = 1, .dim = {E}, .high = 100};
    c->arg[CASE_AT(balance.ids)] = case_ids(T, k, E);
    c->arg[CASE_AT(balance.cu)] = case_list(3, CASE_CU);
    c->k.k.balance.alpha = 0.01;
    return variant < 1;
}

static inline bool case_permute(op_case *c, mz_dtype d, int variant)
{
    const int64_t T = CASE_T, D = 5, E = 6, k = 2;
    c->desc.u.permute =
        (mz_permute_desc){.dtype = d, .T_max = T, .D = D, .E = E, .k = k, .backward = variant == 0};
    c->arg[CASE_AT(permute.y)] = case_rows(d, T * k, D);
    c->arg[CASE_AT(permute.offsets)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_INDEX, .rank = 1, .dim = {E + 1}, .high = 9};
    c->arg[CASE_AT(permute.row_of)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_INDEX, .rank = 2, .dim = {T, k}, .high = 9};
    c->arg[CASE_AT(permute.x)] = case_rows(d, T, D);
    c->arg[CASE_AT(permute.ids)] = case_ids(T, k, E);
    c->arg[CASE_AT(permute.dy)] = case_rows(d, T * k, D);
    c->arg[CASE_AT(permute.dx)] = case_rows(d, T, D);
    return variant < 2;
}

static inline bool case_unpermute(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t T = CASE_T, D = 5, k = 2;
    c->desc.u.unpermute =
        (mz_unpermute_desc){.dtype = d, .T_max = T, .D = D, .k = k, .backward = variant == 0};
    c->arg[CASE_AT(unpermute.y)] = case_rows(d, T, D);
    c->arg[CASE_AT(unpermute.z)] = case_rows(d, T * k, D);
    c->arg[CASE_AT(unpermute.row_of)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_DISTINCT, .rank = 2, .dim = {T, k}, .high = T * k};
    c->arg[CASE_AT(unpermute.weights)] = case_rows(acc, T, k);
    if (variant != 1) c->arg[CASE_AT(unpermute.base)] = case_rows(d, T, D);
    c->arg[CASE_AT(unpermute.dy)] = case_rows(d, T, D);
    c->arg[CASE_AT(unpermute.dz)] = case_rows(d, T * k, D);
    c->arg[CASE_AT(unpermute.dweights)] = c->arg[CASE_AT(unpermute.weights)];
    return variant < 2;
}

static inline bool case_xent(op_case *c, mz_dtype d, int variant)
{
    static const int32_t targets[] = {3, 0, -100, 8, 1, -100, 5};
    const mz_dtype acc = mz_dtype_acc(d);
    c->desc.u.xent = (mz_xent_desc){.dtype = d, .T_max = CASE_T, .V = 9, .gradient = variant == 0};
    c->arg[CASE_AT(xent.loss)] = case_line(acc, CASE_T);
    c->arg[CASE_AT(xent.logits)] = case_rows(d, CASE_T, 9);
    c->arg[CASE_AT(xent.targets)] = case_list(CASE_T, targets);
    if (variant) return variant < 2;
    c->arg[CASE_AT(xent.dlogits)] = case_rows(d, CASE_T, 9);
    c->arg[CASE_AT(xent.weight)] = case_line(acc, CASE_T);
    return true;
}

static inline bool case_adamw(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype acc = mz_dtype_acc(d);
    c->desc.u.adamw = (mz_adamw_desc){.acc = acc, .copy_dtype = d, .N_max = 40};
    for (int i = 0; i < 4; i++) c->arg[i] = case_line(acc, 37);
    c->arg[CASE_AT(adamw.v)].fill = CASE_POSITIVE;
    if (variant == 0) c->arg[CASE_AT(adamw.copy)] = case_line(d, 37);
    c->k.k.adamw.lr = 0.01;
    c->k.k.adamw.beta1 = 0.9;
    c->k.k.adamw.beta2 = 0.99;
    c->k.k.adamw.eps = 1e-8;
    c->k.k.adamw.weight_decay = 0.1;
    c->k.k.adamw.grad_scale = 0.5;
    c->k.k.adamw.step = 3;
    return variant < 2;
}

static inline bool case_sumsq(op_case *c, mz_dtype d, int variant)
{
    c->desc.u.sumsq = (mz_sumsq_desc){.dtype = d, .N_max = 40};
    c->arg[CASE_AT(sumsq.out)] = case_line(mz_dtype_acc(d), 1);
    c->arg[CASE_AT(sumsq.x)] = case_line(d, 37);
    return variant < 1;
}

static inline bool case_finite(op_case *c, mz_dtype d, int variant)
{
    c->desc.u.finite = (mz_finite_desc){.dtype = d, .N_max = 40};
    c->arg[CASE_AT(finite.out)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_INDEX, .rank = 1, .dim = {1}, .high = 9};
    c->arg[CASE_AT(finite.x)] = case_line(d, 37);
    return variant < 1;
}

static inline bool case_cast(op_case *c, mz_dtype d, int variant)
{
    const mz_dtype other = d == MZ_F32 ? MZ_BF16 : MZ_F32;
    const mz_dtype from = variant ? other : d, to = variant ? d : other;
    c->desc.u.cast = (mz_cast_desc){.from = from, .to = to, .T_max = CASE_T, .N_max = 6};
    c->arg[CASE_AT(cast.y)] = case_rows(to, CASE_T, 6);
    c->arg[CASE_AT(cast.x)] = case_rows(from, CASE_T, 6);
    return variant < 2;
}

static inline bool case_elementwise(op_case *c, mz_dtype d, int variant)
{
    static const mz_elementwise_fn fn[] = {MZ_EW_AXPY, MZ_EW_COPY, MZ_EW_FILL};
    c->desc.u.elementwise = (mz_elementwise_desc){.dtype = d, .fn = fn[variant], .N_max = 60};
    for (int i = 0; i < 3 - variant; i++) c->arg[i] = case_heads(d, 3, 4, 5);
    c->k.k.elementwise.alpha = 0.75;
    return true;
}

static inline bool case_reduce(op_case *c, mz_dtype d, int variant)
{
    c->desc.u.reduce = (mz_reduce_desc){.dtype = d,
                                        .out_dtype = variant ? mz_dtype_acc(d) : d,
                                        .A_max = 3,
                                        .B_max = 4,
                                        .C_max = 5,
                                        .accumulate = variant == 1};
    c->arg[CASE_AT(reduce.y)] = case_rows(c->desc.u.reduce.out_dtype, 3, 5);
    c->arg[CASE_AT(reduce.x)] = case_heads(d, 3, 4, 5);
    return variant < 2;
}

/* Gather from more rows (0) than are named, scatter into more (1), into as many (2). */
static inline bool case_rows_op(op_case *c, mz_dtype d, int variant)
{
    static const int32_t idx[] = {5, -1, 0, 2, 6, 1, 3};
    const int64_t many = variant == 2 ? CASE_T : 25;
    c->desc.u.rows = (mz_rows_desc){.dtype = d, .n_max = CASE_T, .D = 4, .scatter = variant != 0};
    c->arg[CASE_AT(rows.y)] = case_rows(d, variant ? many : CASE_T, 4);
    c->arg[CASE_AT(rows.x)] = case_rows(d, variant ? CASE_T : many, 4);
    c->arg[CASE_AT(rows.idx)] = case_list(CASE_T, idx);
    return true;
}

static inline bool case_sample(op_case *c, mz_dtype d, int variant)
{
    static const int32_t history[] = {1, 4, -1, 2, 2, 0, -1, -1, -1};
    const mz_dtype acc = mz_dtype_acc(d);
    c->desc.u.sample = (mz_sample_desc){.acc = acc, .B_max = 4, .V = 12, .history_max = 3};
    c->arg[CASE_AT(sample.ids)] =
        (case_arg){.dtype = MZ_I32, .fill = CASE_INDEX, .rank = 1, .dim = {3}, .high = 5};
    c->arg[CASE_AT(sample.logits)] = case_rows(acc, 3, 12);
    if (variant == 0) {
        c->arg[CASE_AT(sample.history)] = case_list(0, history);
        c->arg[CASE_AT(sample.history)].rank = 2;
        c->arg[CASE_AT(sample.history)].dim[0] = c->arg[CASE_AT(sample.history)].dim[1] = 3;
    }
    c->k.k.sample.temperature = 0.8;
    c->k.k.sample.top_p = 0.9;
    c->k.k.sample.repeat_penalty = 1.2;
    c->k.k.sample.top_k = 6;
    c->k.k.sample.seed = 11;
    return variant < 2;
}

/* Operators whose tensors have no free strides. */
static inline bool case_is_dense(mz_op_kind kind)
{
    return kind == MZ_OP_EXPERTS || kind == MZ_OP_EMBED || kind == MZ_OP_PERMUTE ||
           kind == MZ_OP_UNPERMUTE || kind == MZ_OP_XENT || kind == MZ_OP_SAMPLE ||
           kind == MZ_OP_ROUTER || kind == MZ_OP_BALANCE;
}

/* False if there is no such variant. */
static inline bool case_make(op_case *c, mz_op_kind kind, mz_dtype dtype, int variant)
{
    static bool (*const make[MZ_OP_COUNT])(op_case *, mz_dtype, int) = {
        [MZ_OP_MATMUL] = case_matmul,       [MZ_OP_EXPERTS] = case_experts,
        [MZ_OP_RMSNORM] = case_rmsnorm,     [MZ_OP_ROPE] = case_rope,
        [MZ_OP_ATTENTION] = case_attention, [MZ_OP_DECODE] = case_decode,
        [MZ_OP_SWIGLU] = case_swiglu,       [MZ_OP_EMBED] = case_embed,
        [MZ_OP_ROUTER] = case_router,       [MZ_OP_BALANCE] = case_balance,
        [MZ_OP_PERMUTE] = case_permute,     [MZ_OP_UNPERMUTE] = case_unpermute,
        [MZ_OP_XENT] = case_xent,           [MZ_OP_ADAMW] = case_adamw,
        [MZ_OP_SUMSQ] = case_sumsq,         [MZ_OP_FINITE] = case_finite,
        [MZ_OP_CAST] = case_cast,           [MZ_OP_ELEMENTWISE] = case_elementwise,
        [MZ_OP_REDUCE] = case_reduce,       [MZ_OP_ROWS] = case_rows_op,
        [MZ_OP_SAMPLE] = case_sample};
    memset(c, 0, sizeof *c);
    c->desc.kind = kind;
    const bool exists = make[kind](c, dtype, variant);
    if (kind == MZ_OP_REDUCE) c->arg[CASE_AT(reduce.y)].pad = 0;
    for (int i = 0; case_is_dense(kind) && i < MZ_ARGS_MAX; i++) c->arg[i].pad = 0;
    return exists;
}

/* The view, and the bytes of its buffer with the padding. */
static inline mz_tensor case_view(const case_arg *a, mz_buffer *buf, size_t *bytes)
{
    mz_tensor t = mz_view(buf, 0, a->dtype, a->rank, a->dim);
    const int row = a->rank - 2; /* the axis of rows */
    for (int axis = row; axis >= 0; axis--)
        t.stride[axis] =
            axis == row ? a->dim[a->rank - 1] + a->pad : t.stride[axis + 1] * a->dim[axis + 1];
    const int64_t n = a->rank > 1 ? t.stride[0] * a->dim[0] : a->dim[0];
    *bytes = (size_t)n * mz_dtype_bytes(a->dtype);
    return t;
}

static inline void case_put_number(unsigned char *at, mz_dtype dtype, double x)
{
    const float f = (float)x;
    const uint16_t half = dtype == MZ_F16 ? mz_f32_to_f16(f) : mz_f32_to_bf16(f);
    if (dtype == MZ_F64) memcpy(at, &x, sizeof x);
    if (dtype == MZ_F32) memcpy(at, &f, sizeof f);
    if (dtype == MZ_F16 || dtype == MZ_BF16) memcpy(at, &half, sizeof half);
}

static inline int32_t case_integer(const case_arg *a, const int32_t *out, int64_t i, mz_rng *r)
{
    if (a->fill == CASE_LIST) return a->list[i];
    if (a->fill == CASE_INDEX)
        return (int32_t)(a->low + (int64_t)mz_rng_below(r, (uint64_t)(a->high - a->low)));
    /* A stride that shares no factor with 2, 7 or 8 walks through every number once. */
    if (a->fill == CASE_DISTINCT) return (int32_t)(i * 11 % a->high);
    const int64_t k = a->dim[1], j = i % k, least = j ? out[i - 1] + 1 : 0;
    return (int32_t)(least + (int64_t)mz_rng_below(r, (uint64_t)(a->high - k + j - least + 1)));
}

/* Every element of the buffer, the padding included. */
static inline void case_fill_bytes(const case_arg *a, unsigned char *bytes, size_t n, mz_rng *r)
{
    const size_t size = mz_dtype_bytes(a->dtype);
    for (size_t i = 0; i < n / size; i++) {
        if (a->fill == CASE_REAL || a->fill == CASE_POSITIVE) {
            const double x = mz_rng_normal(r);
            case_put_number(bytes + i * size, a->dtype, a->fill == CASE_REAL ? x : x * x);
        } else if (a->fill != CASE_SAVED) {
            int32_t *out = (int32_t *)(void *)bytes;
            out[i] = case_integer(a, out, (int64_t)i, r);
        }
    }
}

static inline void case_image_clear(case_image *image)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) mz_mem_free(image->bytes[i]);
    memset(image, 0, sizeof *image);
}

/* Everything that one run owns. */
typedef struct case_run {
    mz_op *op;
    mz_buffer *buf[MZ_ARGS_MAX];
    mz_tensor t[MZ_ARGS_MAX];
    mz_args args;
} case_run;

static inline mz_err case_place(case_run *run, mz_queue *q, const op_case *c, case_image *image,
                                uint64_t seed)
{
    run->args.k = c->k.k;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        case_arg a = c->arg[i];
        if (a.fill == CASE_ABSENT) continue;
        if (a.fill == CASE_SAVED) a.dim[0] = (int64_t)mz_op_saved(run->op);
        mz_rng r;
        mz_rng_init(&r, seed, (uint64_t)i);
        (void)case_view(&a, NULL, &image->n[i]);
        MZ_TRY(mz_mem_new(&image->bytes[i], (int64_t)image->n[i], 1));
        case_fill_bytes(&a, image->bytes[i], image->n[i], &r);
        MZ_TRY(mz_buffer_new(&run->buf[i], q->device, image->n[i]));
        run->t[i] = case_view(&a, run->buf[i], &image->n[i]);
        run->args.t[i] = &run->t[i];
        const int64_t n = (int64_t)image->n[i];
        const mz_tensor all = mz_view(run->buf[i], 0, MZ_U8, 1, &n);
        if (a.fill != CASE_SAVED) MZ_TRY(mz_upload(q, &all, image->bytes[i]));
    }
    return mz_queue_sync(q);
}

static inline mz_err case_passes(case_run *run, mz_queue *q, const op_case *c, case_image *image)
{
    mz_args forward = run->args;
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (!mz_arg_role(&c->desc, MZ_FORWARD, i)) forward.t[i] = NULL;
    MZ_TRY(mz_forward(run->op, &forward));
    if (mz_desc_has_backward(&c->desc)) {
        mz_args backward = run->args;
        for (int i = 0; i < MZ_ARGS_MAX; i++)
            if (!mz_arg_role(&c->desc, MZ_BACKWARD, i)) backward.t[i] = NULL;
        MZ_TRY(mz_backward(run->op, &backward));
    }
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const int64_t n = (int64_t)image->n[i];
        if (!run->buf[i] || c->arg[i].fill == CASE_SAVED) continue;
        const mz_tensor all = mz_view(run->buf[i], 0, MZ_U8, 1, &n);
        MZ_TRY(mz_download(q, image->bytes[i], &all));
    }
    return MZ_OK;
}

/* Runs the call, forward and backward where the description has one, through the front doors.
 * MZ_ENOTSUP if the device does not have it; *image is the caller's to clear. *support may be NULL.
 */
static inline mz_err case_do(mz_queue *q, const op_case *c, uint64_t seed, case_image *image,
                             mz_support *support)
{
    case_run run = {0};
    memset(image, 0, sizeof *image);
    mz_err err = mz_bind(&run.op, q, &c->desc);
    if (err != MZ_OK) return err;
    if (support) *support = run.op->support;
    err = case_place(&run, q, c, image, seed);
    if (err == MZ_OK) err = case_passes(&run, q, c, image);
    const mz_err late = mz_queue_sync(q);
    mz_op_free(run.op);
    for (int i = 0; i < MZ_ARGS_MAX; i++) mz_buffer_free(run.buf[i]);
    return err != MZ_OK ? err : late;
}

/* ---- comparing ---- */

static inline double case_unit(mz_dtype d)
{
    if (d == MZ_F64) return 0x1p-53;
    if (d == MZ_F32) return 0x1p-24;
    return d == MZ_F16 ? 0x1p-11 : 0x1p-8;
}

/* Every number of an argument's buffer, padding included, within 8 units relative to 1 + |want|;
 * NaN agrees with NaN only. Says what does not. */
static inline bool case_agrees(const op_case *c, int i, const case_image *got,
                               const case_image *want)
{
    const mz_dtype d = c->arg[i].dtype;
    const int64_t n = (int64_t)(want->n[i] / mz_dtype_bytes(d));
    mz_buffer g = {.bytes = got->n[i], .host = got->bytes[i]};
    mz_buffer w = {.bytes = want->n[i], .host = want->bytes[i]};
    const mz_tensor a = mz_view(&g, 0, d, 1, &n), b = mz_view(&w, 0, d, 1, &n);
    if (got->n[i] != want->n[i]) return false;
    if (!mz_dtype_is_float(d)) return memcmp(got->bytes[i], want->bytes[i], got->n[i]) == 0;
    for (int64_t k = 0; k < n; k++) {
        const double x = mz_at(&a, k), y = mz_at(&b, k);
        if (isnan(x) && isnan(y)) continue;
        if (fabs(x - y) <= 8.0 * case_unit(d) * (1.0 + fabs(y))) continue;
        fprintf(stderr, "%s %s of %s: [%lld] is %.9g, want %.9g\n", mz_dtype_name(d),
                mz_op_signature_of(c->desc.kind)->arg[i].name, mz_op_name(c->desc.kind),
                (long long)k, x, y);
        return false;
    }
    return true;
}

#endif
