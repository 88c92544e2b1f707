/* SPDX-License-Identifier: Apache-2.0 */
/* chip/work.c - see work.h. Floor: chip. */
#include "chip/work.h"

void mz_work_add(const mz_queue *q, mz_op_kind kind, double flop, double again)
{
    if (!q->work) return;
    mz_work_row *row = q->stands_in ? &q->work->host[kind] : &q->work->device[kind];
    row->flop += flop;
    row->again += again;
    row->launches++;
}

void mz_work_call(const mz_op *op, mz_pass pass, const mz_args *args)
{
    const mz_queue *q = op->queue;
    if (!q->work || q->chip->counts) return;
    mz_work_add(q, op->desc.kind, mz_work_of(&op->desc, pass, args), 0.0);
}

mz_work_row mz_work_sum(const mz_work_row rows[MZ_OP_COUNT])
{
    mz_work_row sum = {.launches = 0};
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        sum.flop += rows[i].flop;
        sum.again += rows[i].again;
        sum.launches += rows[i].launches;
    }
    return sum;
}

double mz_work_pairs(const mz_desc *desc, const mz_args *args)
{
    const int32_t *cu = args->k.attention.cu_host;
    const int64_t n = args->attention.cu->dim[0] - 1;
    double pairs = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double even = (double)args->attention.q->dim[0] / (double)n;
        const double length = cu ? (double)(cu[i + 1] - cu[i]) : even;
        pairs += desc->u.attention.causal ? length * (length + 1.0) / 2.0 : length * length;
    }
    return pairs;
}

static double count(const mz_tensor *t)
{
    return t ? (double)mz_count(t) : 0.0;
}

/* Each gradient of a product is a product of the same three sizes. */
static double matmul(const mz_desc *desc, mz_pass pass, const mz_args *a)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    if (pass == MZ_FORWARD) {
        const mz_tensor *x = a->matmul.a;
        return 2.0 * count(a->matmul.c) * (double)x->dim[d->trans_a ? x->rank - 2 : x->rank - 1];
    }
    const double N = (double)a->matmul.dc->dim[1], M = (double)a->matmul.dc->dim[0];
    return 2.0 * count(a->matmul.da) * N + 2.0 * count(a->matmul.db) * M +
           count(a->matmul.dbias) * M;
}

static double experts(const mz_desc *desc, mz_pass pass, const mz_args *a)
{
    const double each = 2.0 * (double)desc->u.experts.N * (double)desc->u.experts.K;
    if (pass == MZ_FORWARD) return each * (double)a->experts.x->dim[0];
    return each * (double)a->experts.dy->dim[0] *
           (double)((a->experts.dx != NULL) + (a->experts.dw != NULL));
}

static double attention(const mz_desc *desc, mz_pass pass, const mz_args *a)
{
    const mz_attention_desc *d = &desc->u.attention;
    const double both = mz_work_pairs(desc, a) * (double)(d->H * (d->K + d->W));
    return pass == MZ_FORWARD ? 2.0 * both : 4.0 * both;
}

/* As if every text filled its pages: how many keys there are is known on the device. */
static double decode(const mz_desc *desc, const mz_args *a)
{
    const mz_decode_desc *d = &desc->u.decode;
    const double keys = (double)(a->decode.table->dim[1] * d->page);
    return 2.0 * (double)(a->decode.q->dim[0] * d->H * (d->K + d->W)) * keys;
}

double mz_work_elementwise(mz_elementwise_fn fn)
{
    return fn == MZ_EW_AXPY ? 2.0 : fn == MZ_EW_COPY || fn == MZ_EW_FILL ? 0.0 : 1.0;
}

/* What is no product of matrices is some operations an element, and all of it a small part of a
 * step, so that what a root or an exponential costs does not matter: it is 1. */
double mz_work_of(const mz_desc *desc, mz_pass pass, const mz_args *a)
{
    const bool forward = pass == MZ_FORWARD;
    switch (desc->kind) {
    case MZ_OP_MATMUL:
        return matmul(desc, pass, a);
    case MZ_OP_EXPERTS:
        return experts(desc, pass, a);
    case MZ_OP_ATTENTION:
        return attention(desc, pass, a);
    case MZ_OP_DECODE:
        return decode(desc, a);
    case MZ_OP_RMSNORM:
        return forward ? 4.0 * count(a->rmsnorm.x) : 11.0 * count(a->rmsnorm.x);
    case MZ_OP_ROPE:
        return 3.0 * count(forward ? a->rope.x : a->rope.dy);
    case MZ_OP_SWIGLU:
        return forward ? 5.0 * count(a->swiglu.y) : 12.0 * count(a->swiglu.dy);
    case MZ_OP_EMBED:
        return forward ? 0.0 : count(a->embed.dy);
    case MZ_OP_ROUTER:
        return forward ? count(a->router.logits) * (4.0 + (double)desc->u.router.k)
                       : count(a->router.dlogits) * 10.0;
    case MZ_OP_BALANCE:
        return 2.0 * count(a->balance.probs);
    case MZ_OP_PERMUTE:
        return forward ? 0.0 : count(a->permute.dy);
    case MZ_OP_UNPERMUTE:
        return forward ? 2.0 * count(a->unpermute.z) : 3.0 * count(a->unpermute.dz);
    case MZ_OP_XENT:
        return count(a->xent.logits) * (a->xent.dlogits ? 8.0 : 4.0);
    case MZ_OP_ADAMW:
        return 15.0 * count(a->adamw.p);
    case MZ_OP_SUMSQ:
        return 2.0 * count(a->sumsq.x);
    case MZ_OP_REDUCE:
        return count(a->reduce.x);
    case MZ_OP_ELEMENTWISE:
        return count(a->elementwise.y) * mz_work_elementwise(desc->u.elementwise.fn);
    case MZ_OP_FINITE:
    case MZ_OP_CAST:
    case MZ_OP_ROWS:
    case MZ_OP_SAMPLE:
    case MZ_OP_COUNT:
        break;
    }
    return 0.0;
}
