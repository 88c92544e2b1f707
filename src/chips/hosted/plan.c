/* SPDX-License-Identifier: Apache-2.0 */
/* chips/hosted/plan.c - how much host memory the staged arguments of an operator can need.
 *
 * Floor:  chips.   Errors: MZ_EINVAL where sizes overflow. */
#include "chips/hosted/state.h"

#include <stddef.h>

enum { ALIGN = 64 };

/* Place of an argument in mz_args.t. */
#define AT(member) (int)(offsetof(mz_args, member) / sizeof(const mz_tensor *))

/* One argument: at most a*b*c elements. */
typedef struct room {
    int arg;
    mz_dtype dtype;
    int64_t a, b, c;
} room;

static mz_err book(mz_hosted_plan *p, const room *r, int n)
{
    for (int i = 0; i < n; i++)
        MZ_TRY(mz_shape_bytes(r[i].dtype, 3, (const int64_t[]){r[i].a, r[i].b, r[i].c},
                              &p->bytes[r[i].arg]));
    return MZ_OK;
}

static int64_t at_least_one(int64_t n)
{
    return n > 1 ? n : 1;
}

static mz_err matmul(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    const int64_t B = at_least_one(d->batch_max), M = d->M_max, N = d->N_max, K = d->K_max;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const room r[] = {{AT(matmul.c), d->out_dtype, B, M, N},  {AT(matmul.a), d->dtype, B, M, K},
                      {AT(matmul.b), d->dtype, B, K, N},      {AT(matmul.bias), acc, 1, 1, N},
                      {AT(matmul.dc), d->out_dtype, 1, M, N}, {AT(matmul.da), d->dtype, 1, M, K},
                      {AT(matmul.db), acc, 1, K, N},          {AT(matmul.dbias), acc, 1, 1, N}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err experts(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_experts_desc *d = &desc->u.experts;
    const room r[] = {{AT(experts.y), d->dtype, 1, d->T_max, d->N},
                      {AT(experts.x), d->dtype, 1, d->T_max, d->K},
                      {AT(experts.w), d->dtype, d->E, d->N, d->K},
                      {AT(experts.offsets), MZ_I32, 1, 1, d->E + 1},
                      {AT(experts.dy), d->dtype, 1, d->T_max, d->N},
                      {AT(experts.dx), d->dtype, 1, d->T_max, d->K},
                      {AT(experts.dw), mz_dtype_acc(d->dtype), d->E, d->N, d->K}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err rmsnorm(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_rmsnorm_desc *d = &desc->u.rmsnorm;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const room r[] = {{AT(rmsnorm.y), d->dtype, 1, d->T_max, d->D},
                      {AT(rmsnorm.x), d->dtype, 1, d->T_max, d->D},
                      {AT(rmsnorm.w), acc, 1, 1, d->D},
                      {AT(rmsnorm.dy), d->dtype, 1, d->T_max, d->D},
                      {AT(rmsnorm.dx), d->dtype, 1, d->T_max, d->D},
                      {AT(rmsnorm.dw), acc, 1, 1, d->D}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err rope(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_rope_desc *d = &desc->u.rope;
    const room r[] = {{AT(rope.y), d->dtype, d->T_max, d->H, d->K},
                      {AT(rope.x), d->dtype, d->T_max, d->H, d->K},
                      {AT(rope.cos), MZ_F32, 1, d->T_max, d->K / 2},
                      {AT(rope.sin), MZ_F32, 1, d->T_max, d->K / 2},
                      {AT(rope.pos), MZ_I32, 1, 1, d->T_max},
                      {AT(rope.dy), d->dtype, d->T_max, d->H, d->K},
                      {AT(rope.dx), d->dtype, d->T_max, d->H, d->K}};
    p->indices = d->T_max;
    return book(p, r, MZ_COUNT(r));
}

static mz_err attention(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_attention_desc *d = &desc->u.attention;
    const int64_t T = d->T_max;
    const room r[] = {{AT(attention.out), d->dtype, T, d->H, d->W},
                      {AT(attention.q), d->dtype, T, d->H, d->K},
                      {AT(attention.k), d->dtype, T, d->G, d->K},
                      {AT(attention.v), d->dtype, T, d->G, d->W},
                      {AT(attention.cu), MZ_I32, 1, 1, d->sequences_max + 1},
                      {AT(attention.dout), d->dtype, T, d->H, d->W},
                      {AT(attention.dq), d->dtype, T, d->H, d->K},
                      {AT(attention.dk), d->dtype, T, d->G, d->K},
                      {AT(attention.dv), d->dtype, T, d->G, d->W}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err decode(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_decode_desc *d = &desc->u.decode;
    MZ_TRY(mz_shape_count(2, (const int64_t[]){d->B_max, d->pages_per_seq_max}, &p->indices));
    int64_t keys = 0; /* of all the pages that a call can name */
    MZ_TRY(mz_shape_count(2, (const int64_t[]){p->indices, d->page}, &keys));
    const room r[] = {{AT(decode.out), d->dtype, d->T_max, d->H, d->W},
                      {AT(decode.q), d->dtype, d->T_max, d->H, d->K},
                      {AT(decode.k_cache), d->dtype, keys, d->G, d->K},
                      {AT(decode.v_cache), d->dtype, keys, d->G, d->W},
                      {AT(decode.table), MZ_I32, 1, 1, p->indices},
                      {AT(decode.lens), MZ_I32, 1, 1, d->B_max},
                      {AT(decode.cu), MZ_I32, 1, 1, d->B_max + 1}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err swiglu(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_swiglu_desc *d = &desc->u.swiglu;
    room r[6];
    for (int i = 0; i < MZ_COUNT(r); i++) r[i] = (room){i, d->dtype, 1, d->T_max, d->F};
    return book(p, r, MZ_COUNT(r));
}

static mz_err embed(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_embed_desc *d = &desc->u.embed;
    /* Forward stages the rows that the ids name, at most all. */
    const int64_t rows = d->T_max < d->V ? d->T_max : d->V;
    const room r[] = {{AT(embed.y), d->dtype, 1, d->T_max, d->D},
                      {AT(embed.w), d->dtype, 1, rows, d->D},
                      {AT(embed.ids), MZ_I32, 1, 1, d->T_max},
                      {AT(embed.dy), d->dtype, 1, d->backward ? d->T_max : 0, d->D},
                      {AT(embed.dw), mz_dtype_acc(d->dtype), 1, d->backward ? d->V : 0, d->D}};
    p->indices = d->T_max;
    return book(p, r, MZ_COUNT(r));
}

static mz_err router(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_router_desc *d = &desc->u.router;
    const int64_t T = d->T_max;
    const room r[] = {
        {AT(router.weights), d->acc, 1, T, d->k}, {AT(router.ids), MZ_I32, 1, T, d->k},
        {AT(router.probs), d->acc, 1, T, d->E},   {AT(router.logits), d->acc, 1, T, d->E},
        {AT(router.bias), d->acc, 1, 1, d->E},    {AT(router.dweights), d->acc, 1, T, d->k},
        {AT(router.dprobs), d->acc, 1, T, d->E},  {AT(router.dlogits), d->acc, 1, T, d->E}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err balance(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_balance_desc *d = &desc->u.balance;
    const room r[] = {{AT(balance.loss), d->acc, 1, 1, 1},
                      {AT(balance.dprobs), d->acc, 1, d->T_max, d->E},
                      {AT(balance.counts), MZ_I32, 1, 1, d->E},
                      {AT(balance.probs), d->acc, 1, d->T_max, d->E},
                      {AT(balance.ids), MZ_I32, 1, d->T_max, d->k},
                      {AT(balance.cu), MZ_I32, 1, 1, d->sequences_max + 1}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err permute(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_permute_desc *d = &desc->u.permute;
    const room r[] = {{AT(permute.y), d->dtype, d->T_max, d->k, d->D},
                      {AT(permute.offsets), MZ_I32, 1, 1, d->E + 1},
                      {AT(permute.row_of), MZ_I32, 1, d->T_max, d->k},
                      {AT(permute.x), d->dtype, 1, d->T_max, d->D},
                      {AT(permute.ids), MZ_I32, 1, d->T_max, d->k},
                      {AT(permute.dy), d->dtype, d->T_max, d->k, d->D},
                      {AT(permute.dx), d->dtype, 1, d->T_max, d->D}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err unpermute(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_unpermute_desc *d = &desc->u.unpermute;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const room r[] = {{AT(unpermute.y), d->dtype, 1, d->T_max, d->D},
                      {AT(unpermute.z), d->dtype, d->T_max, d->k, d->D},
                      {AT(unpermute.row_of), MZ_I32, 1, d->T_max, d->k},
                      {AT(unpermute.weights), acc, 1, d->T_max, d->k},
                      {AT(unpermute.base), d->dtype, 1, d->T_max, d->D},
                      {AT(unpermute.dy), d->dtype, 1, d->T_max, d->D},
                      {AT(unpermute.dz), d->dtype, d->T_max, d->k, d->D},
                      {AT(unpermute.dweights), acc, 1, d->T_max, d->k}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err xent(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_xent_desc *d = &desc->u.xent;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const room r[] = {{AT(xent.loss), acc, 1, 1, d->T_max},
                      {AT(xent.dlogits), d->dtype, 1, d->gradient ? d->T_max : 0, d->V},
                      {AT(xent.logits), d->dtype, 1, d->T_max, d->V},
                      {AT(xent.targets), MZ_I32, 1, 1, d->T_max},
                      {AT(xent.weight), acc, 1, 1, d->T_max}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err adamw(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_adamw_desc *d = &desc->u.adamw;
    const room r[] = {{AT(adamw.p), d->acc, 1, 1, d->N_max},
                      {AT(adamw.m), d->acc, 1, 1, d->N_max},
                      {AT(adamw.v), d->acc, 1, 1, d->N_max},
                      {AT(adamw.g), d->acc, 1, 1, d->N_max},
                      {AT(adamw.copy), d->copy_dtype, 1, 1, d->N_max}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err sumsq(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_sumsq_desc *d = &desc->u.sumsq;
    const room r[] = {{AT(sumsq.out), mz_dtype_acc(d->dtype), 1, 1, 1},
                      {AT(sumsq.x), d->dtype, 1, 1, d->N_max}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err finite(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_finite_desc *d = &desc->u.finite;
    const room r[] = {{AT(finite.out), MZ_I32, 1, 1, 1}, {AT(finite.x), d->dtype, 1, 1, d->N_max}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err cast(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_cast_desc *d = &desc->u.cast;
    const room r[] = {{AT(cast.y), d->to, 1, d->T_max, d->N_max},
                      {AT(cast.x), d->from, 1, d->T_max, d->N_max}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err elementwise(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_elementwise_desc *d = &desc->u.elementwise;
    room r[3];
    for (int i = 0; i < MZ_COUNT(r); i++) r[i] = (room){i, d->dtype, 1, 1, d->N_max};
    return book(p, r, MZ_COUNT(r));
}

static mz_err reduce(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_reduce_desc *d = &desc->u.reduce;
    const room r[] = {{AT(reduce.y), d->out_dtype, 1, d->A_max, d->C_max},
                      {AT(reduce.x), d->dtype, d->A_max, d->B_max, d->C_max}};
    return book(p, r, MZ_COUNT(r));
}

static mz_err rows(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_rows_desc *d = &desc->u.rows;
    const room r[] = {{AT(rows.y), d->dtype, 1, d->n_max, d->D},
                      {AT(rows.x), d->dtype, 1, d->n_max, d->D},
                      {AT(rows.idx), MZ_I32, 1, 1, d->n_max}};
    p->indices = d->n_max;
    return book(p, r, MZ_COUNT(r));
}

static mz_err sample(mz_hosted_plan *p, const mz_desc *desc)
{
    const mz_sample_desc *d = &desc->u.sample;
    const room r[] = {{AT(sample.ids), MZ_I32, 1, 1, d->B_max},
                      {AT(sample.logits), d->acc, 1, d->B_max, d->V},
                      {AT(sample.history), MZ_I32, 1, d->B_max, d->history_max}};
    return book(p, r, MZ_COUNT(r));
}

typedef mz_err plan_fn(mz_hosted_plan *p, const mz_desc *desc);
#define PLAN(NAME, field) [MZ_OP_##NAME] = field,
static plan_fn *const PLANS[MZ_OP_COUNT] = {MZ_OP_LIST(PLAN)};

mz_err mz_hosted_plan_make(mz_hosted_plan *plan, const mz_desc *desc, size_t saved_bytes)
{
    mz_hosted_plan p = {0};
    MZ_TRY(PLANS[desc->kind](&p, desc));
    if (desc->kind == MZ_OP_RMSNORM) p.bytes[AT(rmsnorm.saved)] = saved_bytes;
    if (desc->kind == MZ_OP_ATTENTION) p.bytes[AT(attention.saved)] = saved_bytes;
    if (desc->kind == MZ_OP_ROUTER) p.bytes[AT(router.saved)] = saved_bytes;
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        const bool used =
            (mz_arg_role(desc, MZ_FORWARD, i) & MZ_ARG_INOUT) ||
            (mz_desc_has_backward(desc) && (mz_arg_role(desc, MZ_BACKWARD, i) & MZ_ARG_INOUT));
        if (!used) p.bytes[i] = 0;
        p.offset[i] = p.total;
        MZ_NEED(p.bytes[i] <= SIZE_MAX / 2 - p.total, "the staging of %s overflows",
                mz_op_name(desc->kind));
        p.total += (p.bytes[i] + ALIGN - 1) / ALIGN * ALIGN;
    }
    *plan = p;
    return MZ_OK;
}

mz_hosted_table mz_hosted_table_of(const mz_desc *desc, mz_pass pass)
{
    if (desc->kind == MZ_OP_ROPE)
        return (mz_hosted_table){AT(rope.pos), {AT(rope.cos), AT(rope.sin)}};
    if (desc->kind == MZ_OP_DECODE)
        return (mz_hosted_table){AT(decode.table), {AT(decode.k_cache), AT(decode.v_cache)}};
    if (desc->kind == MZ_OP_EMBED && pass == MZ_FORWARD)
        return (mz_hosted_table){AT(embed.ids), {AT(embed.w), -1}};
    if (desc->kind == MZ_OP_ROWS && desc->u.rows.scatter)
        return (mz_hosted_table){AT(rows.idx), {AT(rows.y), -1}};
    if (desc->kind == MZ_OP_ROWS) return (mz_hosted_table){AT(rows.idx), {AT(rows.x), -1}};
    return (mz_hosted_table){-1, {-1, -1}};
}
