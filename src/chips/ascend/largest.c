/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/largest.c - the tensors of an operator's largest call, for planning. Floor: chips.
 */
#include "chips/ascend/state.h"

#include <stddef.h>
#include <string.h>

#define AT(member) (int)(offsetof(mz_args, member) / sizeof(const mz_tensor *))

typedef struct drawing {
    mz_ascend_call *call;
    mz_buffer *buf;
} drawing;

static void put(const drawing *d, int i, mz_dtype dtype, int rank, const int64_t *dim)
{
    d->call->view[i] = mz_view(d->buf, 0, dtype, rank, dim);
}

static void put1(const drawing *d, int i, mz_dtype dtype, int64_t a)
{
    put(d, i, dtype, 1, (const int64_t[]){a});
}

static void put2(const drawing *d, int i, mz_dtype dtype, int64_t a, int64_t b)
{
    put(d, i, dtype, 2, (const int64_t[]){a, b});
}

static void put3(const drawing *d, int i, mz_dtype dtype, int64_t a, int64_t b, int64_t c)
{
    put(d, i, dtype, 3, (const int64_t[]){a, b, c});
}

static void put_matrix(const drawing *d, int i, mz_dtype dtype, int64_t batch, int64_t rows,
                       int64_t columns)
{
    if (batch > 0)
        put3(d, i, dtype, batch, rows, columns);
    else
        put2(d, i, dtype, rows, columns);
}

static void matmul(const drawing *d, const mz_desc *desc)
{
    const mz_matmul_desc *m = &desc->u.matmul;
    const mz_dtype acc = mz_dtype_acc(m->dtype);
    const int64_t M = m->M_max, N = m->N_max, K = m->K_max, batch = m->batch_max;
    const int64_t a[] = {m->trans_a ? K : M, m->trans_a ? M : K};
    const int64_t b[] = {m->trans_b ? N : K, m->trans_b ? K : N};
    put_matrix(d, AT(matmul.c), m->out_dtype, batch, M, N);
    put_matrix(d, AT(matmul.a), m->dtype, batch, a[0], a[1]);
    put_matrix(d, AT(matmul.b), m->dtype, batch, b[0], b[1]);
    if (m->bias) put1(d, AT(matmul.bias), acc, N);
    put2(d, AT(matmul.dc), m->out_dtype, M, N);
    put2(d, AT(matmul.da), m->dtype, a[0], a[1]);
    put2(d, AT(matmul.db), acc, b[0], b[1]);
    if (m->bias) put1(d, AT(matmul.dbias), acc, N);
}

static void rmsnorm(const drawing *d, const mz_desc *desc)
{
    const mz_rmsnorm_desc *r = &desc->u.rmsnorm;
    const int args[] = {AT(rmsnorm.y), AT(rmsnorm.x), AT(rmsnorm.dy), AT(rmsnorm.dx)};
    for (int i = 0; i < MZ_COUNT(args); i++) put2(d, args[i], r->dtype, r->T_max, r->D);
    put1(d, AT(rmsnorm.w), mz_dtype_acc(r->dtype), r->D);
    put1(d, AT(rmsnorm.dw), mz_dtype_acc(r->dtype), r->D);
    put1(d, AT(rmsnorm.saved), MZ_U8, r->T_max * (int64_t)sizeof(float));
}

static void swiglu(const drawing *d, const mz_desc *desc)
{
    const mz_swiglu_desc *s = &desc->u.swiglu;
    for (int i = AT(swiglu.y); i <= AT(swiglu.dup); i++) put2(d, i, s->dtype, s->T_max, s->F);
}

static void embed(const drawing *d, const mz_desc *desc)
{
    const mz_embed_desc *e = &desc->u.embed;
    put2(d, AT(embed.y), e->dtype, e->T_max, e->D);
    put2(d, AT(embed.w), e->dtype, e->V, e->D);
    put1(d, AT(embed.ids), MZ_I32, e->T_max);
    put2(d, AT(embed.dy), e->dtype, e->T_max, e->D);
    put2(d, AT(embed.dw), mz_dtype_acc(e->dtype), e->V, e->D);
}

static void xent(const drawing *d, const mz_desc *desc)
{
    const mz_xent_desc *x = &desc->u.xent;
    const mz_dtype acc = mz_dtype_acc(x->dtype);
    put1(d, AT(xent.loss), acc, x->T_max);
    put2(d, AT(xent.logits), x->dtype, x->T_max, x->V);
    put1(d, AT(xent.targets), MZ_I32, x->T_max);
    if (x->gradient) put2(d, AT(xent.dlogits), x->dtype, x->T_max, x->V);
    if (x->gradient) put1(d, AT(xent.weight), acc, x->T_max);
}

static void adamw(const drawing *d, const mz_desc *desc)
{
    const mz_adamw_desc *a = &desc->u.adamw;
    for (int i = AT(adamw.p); i <= AT(adamw.g); i++) put1(d, i, a->acc, a->N_max);
    put1(d, AT(adamw.copy), a->copy_dtype, a->N_max);
    d->call->args.k.adamw.step = 1;
    d->call->args.k.adamw.grad_scale = 0.5;
    d->call->args.k.adamw.lr = d->call->args.k.adamw.eps = 1e-3;
    d->call->args.k.adamw.beta1 = d->call->args.k.adamw.beta2 = 0.5;
}

static void elementwise(const drawing *d, const mz_desc *desc)
{
    const mz_elementwise_desc *e = &desc->u.elementwise;
    for (int i = AT(elementwise.y); i <= AT(elementwise.b); i++) put1(d, i, e->dtype, e->N_max);
    d->call->args.k.elementwise.alpha = 0.5;
}

static void reduce(const drawing *d, const mz_desc *desc)
{
    const mz_reduce_desc *r = &desc->u.reduce;
    put2(d, AT(reduce.y), r->out_dtype, r->A_max, r->C_max);
    put3(d, AT(reduce.x), r->dtype, r->A_max, r->B_max, r->C_max);
}

static void put3s(const drawing *d, const int *args, int n, mz_dtype dtype, const int64_t dim[3])
{
    for (int i = 0; i < n; i++) put(d, args[i], dtype, 3, dim);
}

static void rope(const drawing *d, const mz_desc *desc)
{
    const mz_rope_desc *r = &desc->u.rope;
    const int args[] = {AT(rope.y), AT(rope.x), AT(rope.dy), AT(rope.dx)};
    put3s(d, args, MZ_COUNT(args), r->dtype, (const int64_t[]){r->T_max, r->H, r->K});
    put2(d, AT(rope.cos), MZ_F32, r->T_max, r->K / 2);
    put2(d, AT(rope.sin), MZ_F32, r->T_max, r->K / 2);
    put1(d, AT(rope.pos), MZ_I32, r->T_max);
}

static void attention(const drawing *d, const mz_desc *desc)
{
    const mz_attention_desc *a = &desc->u.attention;
    const int wide[] = {AT(attention.q), AT(attention.dq)};
    const int outs[] = {AT(attention.out), AT(attention.dout)};
    const int keys[] = {AT(attention.k), AT(attention.dk)};
    const int values[] = {AT(attention.v), AT(attention.dv)};
    put3s(d, wide, 2, a->dtype, (const int64_t[]){a->T_max, a->H, a->K});
    put3s(d, outs, 2, a->dtype, (const int64_t[]){a->T_max, a->H, a->W});
    put3s(d, keys, 2, a->dtype, (const int64_t[]){a->T_max, a->G, a->K});
    put3s(d, values, 2, a->dtype, (const int64_t[]){a->T_max, a->G, a->W});
    put1(d, AT(attention.cu), MZ_I32, a->sequences_max + 1);
    if (a->backward && a->dtype == MZ_F32)
        put1(d, AT(attention.saved), MZ_U8, (int64_t)sizeof(float));
}

static void decode(const drawing *d, const mz_desc *desc)
{
    const mz_decode_desc *x = &desc->u.decode;
    const int64_t pages = x->B_max * x->pages_per_seq_max;
    put3(d, AT(decode.out), x->dtype, x->T_max, x->H, x->W);
    put3(d, AT(decode.q), x->dtype, x->T_max, x->H, x->K);
    put(d, AT(decode.k_cache), x->dtype, 4, (const int64_t[]){pages, x->page, x->G, x->K});
    put(d, AT(decode.v_cache), x->dtype, 4, (const int64_t[]){pages, x->page, x->G, x->W});
    put2(d, AT(decode.table), MZ_I32, x->B_max, x->pages_per_seq_max);
    put1(d, AT(decode.lens), MZ_I32, x->B_max);
    put1(d, AT(decode.cu), MZ_I32, x->B_max + 1);
}

static void router(const drawing *d, const mz_desc *desc)
{
    const mz_router_desc *r = &desc->u.router;
    put2(d, AT(router.weights), r->acc, r->T_max, r->k);
    put2(d, AT(router.ids), MZ_I32, r->T_max, r->k);
    put2(d, AT(router.probs), r->acc, r->T_max, r->E);
    if (r->backward) put1(d, AT(router.saved), MZ_U8, (int64_t)sizeof(float));
    put2(d, AT(router.logits), r->acc, r->T_max, r->E);
    put1(d, AT(router.bias), r->acc, r->E);
    put2(d, AT(router.dweights), r->acc, r->T_max, r->k);
    put2(d, AT(router.dprobs), r->acc, r->T_max, r->E);
    put2(d, AT(router.dlogits), r->acc, r->T_max, r->E);
}

static void balance(const drawing *d, const mz_desc *desc)
{
    const mz_balance_desc *b = &desc->u.balance;
    put1(d, AT(balance.loss), b->acc, 1);
    put2(d, AT(balance.dprobs), b->acc, b->T_max, b->E);
    put1(d, AT(balance.counts), MZ_I32, b->E);
    put2(d, AT(balance.probs), b->acc, b->T_max, b->E);
    put2(d, AT(balance.ids), MZ_I32, b->T_max, b->k);
    put1(d, AT(balance.cu), MZ_I32, b->sequences_max + 1);
    d->call->args.k.balance.alpha = 0.5;
}

static void permute(const drawing *d, const mz_desc *desc)
{
    const mz_permute_desc *p = &desc->u.permute;
    put2(d, AT(permute.y), p->dtype, p->T_max * p->k, p->D);
    put1(d, AT(permute.offsets), MZ_I32, p->E + 1);
    put2(d, AT(permute.row_of), MZ_I32, p->T_max, p->k);
    put2(d, AT(permute.x), p->dtype, p->T_max, p->D);
    put2(d, AT(permute.ids), MZ_I32, p->T_max, p->k);
    put2(d, AT(permute.dy), p->dtype, p->T_max * p->k, p->D);
    put2(d, AT(permute.dx), p->dtype, p->T_max, p->D);
}

static void unpermute(const drawing *d, const mz_desc *desc)
{
    const mz_unpermute_desc *u = &desc->u.unpermute;
    const mz_dtype acc = mz_dtype_acc(u->dtype);
    put2(d, AT(unpermute.y), u->dtype, u->T_max, u->D);
    put2(d, AT(unpermute.z), u->dtype, u->T_max * u->k, u->D);
    put2(d, AT(unpermute.row_of), MZ_I32, u->T_max, u->k);
    put2(d, AT(unpermute.weights), acc, u->T_max, u->k);
    put2(d, AT(unpermute.base), u->dtype, u->T_max, u->D);
    put2(d, AT(unpermute.dy), u->dtype, u->T_max, u->D);
    put2(d, AT(unpermute.dz), u->dtype, u->T_max * u->k, u->D);
    put2(d, AT(unpermute.dweights), acc, u->T_max, u->k);
}

static void experts(const drawing *d, const mz_desc *desc)
{
    const mz_experts_desc *e = &desc->u.experts;
    put2(d, AT(experts.y), e->dtype, e->T_max, e->N);
    put2(d, AT(experts.x), e->dtype, e->T_max, e->K);
    put3(d, AT(experts.w), e->dtype, e->E, e->N, e->K);
    put1(d, AT(experts.offsets), MZ_I32, e->E + 1);
    put2(d, AT(experts.dy), e->dtype, e->T_max, e->N);
    put2(d, AT(experts.dx), e->dtype, e->T_max, e->K);
    put3(d, AT(experts.dw), mz_dtype_acc(e->dtype), e->E, e->N, e->K);
}

static void rows(const drawing *d, const mz_desc *desc)
{
    const mz_rows_desc *r = &desc->u.rows;
    const int64_t table = r->table_max > r->n_max ? r->table_max : r->n_max;
    put2(d, AT(rows.y), r->dtype, r->scatter ? table : r->n_max, r->D);
    put2(d, AT(rows.x), r->dtype, r->scatter ? r->n_max : table, r->D);
    put1(d, AT(rows.idx), MZ_I32, r->n_max);
}

static void sumsq(const drawing *d, const mz_desc *desc)
{
    put1(d, AT(sumsq.out), mz_dtype_acc(desc->u.sumsq.dtype), 1);
    put1(d, AT(sumsq.x), desc->u.sumsq.dtype, desc->u.sumsq.N_max);
}

static void finite(const drawing *d, const mz_desc *desc)
{
    put1(d, AT(finite.out), MZ_I32, 1);
    put1(d, AT(finite.x), desc->u.finite.dtype, desc->u.finite.N_max);
}

static void cast(const drawing *d, const mz_desc *desc)
{
    const mz_cast_desc *c = &desc->u.cast;
    put2(d, AT(cast.y), c->to, c->T_max, c->N_max);
    put2(d, AT(cast.x), c->from, c->T_max, c->N_max);
}

static void (*const DRAW[MZ_OP_COUNT])(const drawing *d, const mz_desc *desc) = {
    [MZ_OP_MATMUL] = matmul,   [MZ_OP_RMSNORM] = rmsnorm,
    [MZ_OP_SWIGLU] = swiglu,   [MZ_OP_EMBED] = embed,
    [MZ_OP_XENT] = xent,       [MZ_OP_ADAMW] = adamw,
    [MZ_OP_REDUCE] = reduce,   [MZ_OP_ELEMENTWISE] = elementwise,
    [MZ_OP_ROPE] = rope,       [MZ_OP_ATTENTION] = attention,
    [MZ_OP_ROUTER] = router,   [MZ_OP_BALANCE] = balance,
    [MZ_OP_PERMUTE] = permute, [MZ_OP_UNPERMUTE] = unpermute,
    [MZ_OP_EXPERTS] = experts, [MZ_OP_ROWS] = rows,
    [MZ_OP_SUMSQ] = sumsq,     [MZ_OP_FINITE] = finite,
    [MZ_OP_CAST] = cast,       [MZ_OP_DECODE] = decode,
};

/* What may lie in rows of something wider. Weights and their gradients do not, and there is no
 * asking for dense copies of them; nor do the pages of a cache. */
static bool may_be_spread(mz_op_kind kind, int i, int rank)
{
    static const struct {
        mz_op_kind kind;
        int arg;
    } dense[] = {{MZ_OP_MATMUL, AT(matmul.b)},       {MZ_OP_MATMUL, AT(matmul.db)},
                 {MZ_OP_EXPERTS, AT(experts.w)},     {MZ_OP_EXPERTS, AT(experts.dw)},
                 {MZ_OP_EMBED, AT(embed.w)},         {MZ_OP_EMBED, AT(embed.dw)},
                 {MZ_OP_DECODE, AT(decode.k_cache)}, {MZ_OP_DECODE, AT(decode.v_cache)}};
    if (kind == MZ_OP_MATMUL && rank > 2) return true; /* no weight */
    for (int k = 0; k < MZ_COUNT(dense); k++)
        if (dense[k].kind == kind && dense[k].arg == i) return false;
    return true;
}

void mz_ascend_spread(mz_ascend_call *call, const mz_desc *desc)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        mz_tensor *t = &call->view[i];
        if (!t->buf || !may_be_spread(desc->kind, i, t->rank)) continue;
        const int flat = desc->kind == MZ_OP_ELEMENTWISE; /* drawn as one row, given in any shape */
        for (int axis = 0; axis < t->rank - 1 + flat; axis++) t->stride[axis] *= 2;
    }
}

void mz_ascend_largest(mz_ascend_call *call, const mz_desc *desc, mz_pass pass, mz_buffer *buf)
{
    memset(call, 0, sizeof *call);
    const drawing d = {call, buf};
    if (DRAW[desc->kind]) DRAW[desc->kind](&d, desc);
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (call->view[i].buf && mz_arg_role(desc, pass, i) != MZ_ARG_NONE)
            call->args.t[i] = &call->view[i];
}
