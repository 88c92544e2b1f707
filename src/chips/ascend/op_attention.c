/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_attention.c - rope and attention, a sequence a call.
 *
 * saved of attention: for each sequence the largest score and the sum of each row, as the operator
 * leaves them: [H, length, 8] f32 each, all largest ones first.
 *
 * Floor:  chips. */
#include "chips/ascend/state.h"

/* ---- rope ---- */

enum { HALF = 0, INTERLEAVED = 1, ROPE_WIDTH = 896, ROPE_HEADS = 1000 };

/* The table's rows of these positions, each number at both places of its pair: [1,T,1,K]. */
static mz_nv angles_of(mz_npu *n, const mz_rope_desc *d, mz_nv table, mz_nv pos)
{
    const int64_t T = pos.dim[0], half[] = {T, d->K / 2}, full[] = {1, T, 1, d->K};
    const int64_t halves[] = {T, 2, d->K / 2}, pairs[] = {T, d->K / 2, 2};
    const mz_nv rows = mz_npu_new(n, ACL_FLOAT, 2, half), out = mz_npu_new(n, ACL_FLOAT, 4, full);
    mz_npu_select(n, table, pos, rows);
    if (d->interleaved)
        mz_npu_copy(n, mz_nv_shape(out, 3, pairs), mz_nv_insert(rows, 2, 2));
    else
        mz_npu_copy(n, mz_nv_shape(out, 3, halves), mz_nv_insert(rows, 1, 2));
    return out;
}

static void rotate(mz_npu *n, const mz_rope_desc *d, const mz_args *args, mz_nv x, mz_nv y,
                   double direction)
{
    const mz_nv pos = mz_nv_of(args->rope.pos);
    if (mz_nv_count(&y) == 0) return;
    const mz_nv cos = angles_of(n, d, mz_nv_of(args->rope.cos), pos);
    const mz_nv sin = angles_of(n, d, mz_nv_of(args->rope.sin), pos);
    const mz_nv in = mz_nv_insert(mz_npu_f32(n, x), 0, 1);
    const mz_nv out = mz_npu_like(n, &in, ACL_FLOAT);
    if (direction < 0.0) mz_npu_scale(n, sin, direction, sin);
    MZ_NPU(n, RotaryPositionEmbedding, mz_npu_t(n, &in), mz_npu_t(n, &cos), mz_npu_t(n, &sin),
           d->interleaved ? INTERLEAVED : HALF, mz_npu_t(n, &out));
    mz_npu_cast(n, mz_nv_shape(out, 3, x.dim), y);
}

static void rope(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    rotate(n, &desc->u.rope, args, mz_nv_of(args->rope.x), mz_nv_of(args->rope.y), 1.0);
}

static void rope_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    rotate(n, &desc->u.rope, args, mz_nv_of(args->rope.dy), mz_nv_of(args->rope.dx), -1.0);
}

static mz_err refuse_rope(const mz_desc *desc)
{
    if (desc->u.rope.K < ROPE_WIDTH && desc->u.rope.H < ROPE_HEADS) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "CANN rotates fewer than %d heads narrower than %d", ROPE_HEADS,
                   ROPE_WIDTH);
}

const mz_ascend_op mz_ascend_rope = {
    .forward = rope, .backward = rope_backward, .refuse = refuse_rope};

/* ---- attention ---- */

enum {
    EACH_ROW = 8,
    ALL = 0,
    CAUSAL = 2,
    FAR_TOKENS = 2147483647,
    HEAD_MAX = 768,
    HEADS_MAX = 256
};

typedef struct sequences {
    const int32_t *cu;
    int64_t count;
} sequences;

/* The numbers of cu on the host; a call without them waits for the device's. */
static sequences sequences_of(mz_npu *n, const mz_args *args, int32_t lone[2])
{
    const mz_tensor *cu = args->attention.cu;
    const int64_t count = cu->dim[0];
    lone[0] = 0;
    lone[1] = (int32_t)args->attention.q->dim[0];
    if (!n->queue) return (sequences){lone, 1};
    if (args->k.attention.cu_host) return (sequences){args->k.attention.cu_host, count - 1};
    n->err = mz_ascend_read_ids(n->queue, cu, count);
    return (sequences){(const int32_t *)(const void *)n->queue->pinned, n->err ? 0 : count - 1};
}

/* Tokens start .. end-1 of t [T,H,K] as [1,length,H,K]. */
static mz_nv part_of(const mz_tensor *t, int32_t start, int32_t end)
{
    return mz_nv_insert(mz_nv_slice(mz_nv_of(t), 0, start, end - start), 0, 1);
}

/* v itself, or a copy in this type whose rows go on with zeros up to `width`. */
static mz_nv widened(mz_npu *n, mz_nv v, aclDataType type, int64_t width)
{
    const int64_t own = v.dim[3], dims[] = {1, v.dim[1], v.dim[2], width};
    if (own == width && v.type == type) return v;
    const mz_nv copy = mz_npu_new(n, type, 4, dims);
    if (own < width) mz_npu_fill(n, copy, 0.0);
    mz_npu_cast(n, v, mz_nv_slice(copy, 3, 0, own));
    return copy;
}

/* One call's arguments: heads of keys no narrower than those of values, as the operators ask. */
typedef struct heads {
    mz_nv q, k, v, largest, sums, mask;
    const mz_attention_desc *desc;
} heads;

/* [1,H,length,8] of the `which`-th half of saved. */
static mz_nv rows_of(const mz_attention_desc *d, mz_nv saved, int which, int32_t start, int32_t end)
{
    const int64_t dims[] = {1, d->H, end - start, EACH_ROW};
    saved.type = ACL_FLOAT;
    saved.at = saved.at / (int64_t)sizeof(float) + (which * d->T_max + start) * d->H * EACH_ROW;
    return mz_nv_shape(saved, 4, dims);
}

static heads heads_of(mz_npu *n, const mz_desc *desc, const mz_args *args, aclDataType type,
                      const int32_t ends[2])
{
    const mz_attention_desc *d = &desc->u.attention;
    const int64_t width = d->K > d->W ? d->K : d->W;
    const int64_t rows[] = {1, d->H, ends[1] - ends[0], EACH_ROW};
    const int64_t square[] = {MZ_ASCEND_MASK, MZ_ASCEND_MASK};
    const mz_nv saved = mz_nv_of(args->attention.saved);
    const bool is_kept = saved.base && n->queue; /* a plan books for a call without saved too */
    heads h = {.desc = d};
    h.q = widened(n, part_of(args->attention.q, ends[0], ends[1]), type, width);
    h.k = widened(n, part_of(args->attention.k, ends[0], ends[1]), type, width);
    h.v = widened(n, part_of(args->attention.v, ends[0], ends[1]), type, d->W);
    h.largest =
        is_kept ? rows_of(d, saved, 0, ends[0], ends[1]) : mz_npu_new(n, ACL_FLOAT, 4, rows);
    h.sums = is_kept ? rows_of(d, saved, 1, ends[0], ends[1]) : mz_npu_new(n, ACL_FLOAT, 4, rows);
    if (d->causal)
        h.mask = mz_nv_shape((mz_nv){.base = n->chip->mask, .type = ACL_BOOL}, 2, square);
    return h;
}

static void attend(mz_npu *n, const heads *h, mz_nv out)
{
    const mz_nv nothing = mz_nv_shape(out, 1, (const int64_t[]){0});
    char layout[] = "BSND";
    MZ_NPU(n, FlashAttentionScore, mz_npu_t(n, &h->q), mz_npu_t(n, &h->k), mz_npu_t(n, &h->v), NULL,
           NULL, NULL, mz_npu_t(n, &h->mask), NULL, h->desc->scale, 1.0, FAR_TOKENS, FAR_TOKENS,
           h->desc->H, layout, 0, h->desc->causal ? CAUSAL : ALL, mz_npu_t(n, &h->largest),
           mz_npu_t(n, &h->sums), mz_npu_t(n, &nothing), mz_npu_t(n, &out));
}

static void attention(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    int32_t lone[2];
    const sequences s = sequences_of(n, args, lone);
    const size_t mark = n->used;
    for (int64_t i = 0; i < s.count; i++) {
        if (s.cu[i] == s.cu[i + 1]) continue;
        const mz_nv y = part_of(args->attention.out, s.cu[i], s.cu[i + 1]);
        const heads h = heads_of(n, desc, args, y.type, &s.cu[i]);
        const mz_nv out = mz_npu_out(n, y, false);
        attend(n, &h, out);
        mz_npu_land(n, y, out);
        n->used = mark;
    }
}

typedef struct gradients {
    mz_nv y, dy, dq, dk, dv;
} gradients;

static void attend_backward(mz_npu *n, const heads *h, const gradients *g)
{
    const mz_nv nothing = mz_nv_shape(g->dq, 1, (const int64_t[]){0});
    char layout[] = "BSND";
    MZ_NPU(n, FlashAttentionScoreGrad, mz_npu_t(n, &h->q), mz_npu_t(n, &h->k), mz_npu_t(n, &h->v),
           mz_npu_t(n, &g->dy), NULL, NULL, NULL, mz_npu_t(n, &h->mask), mz_npu_t(n, &h->largest),
           mz_npu_t(n, &h->sums), NULL, mz_npu_t(n, &g->y), NULL, h->desc->scale, 1.0, FAR_TOKENS,
           FAR_TOKENS, h->desc->H, layout, 0, h->desc->causal ? CAUSAL : ALL, mz_npu_t(n, &g->dq),
           mz_npu_t(n, &g->dk), mz_npu_t(n, &g->dv), mz_npu_t(n, &nothing));
}

/* The operator takes the sum over dout * out from out as it is stored. Rounded to bf16 that is off
 * by more than everything else, so that in bf16 the pass is made again in f32, out included. */
static void one_backward(mz_npu *n, const mz_desc *desc, const mz_args *args, const int32_t ends[2])
{
    const mz_attention_desc *d = &desc->u.attention;
    const mz_nv y = part_of(args->attention.out, ends[0], ends[1]);
    const mz_nv dy = part_of(args->attention.dout, ends[0], ends[1]);
    const mz_nv dq = part_of(args->attention.dq, ends[0], ends[1]);
    const mz_nv dk = part_of(args->attention.dk, ends[0], ends[1]);
    const mz_nv dv = part_of(args->attention.dv, ends[0], ends[1]);
    const heads h = heads_of(n, desc, args, ACL_FLOAT, ends);
    const gradients g = {
        .y = y.type == ACL_FLOAT ? y : mz_npu_like(n, &y, ACL_FLOAT),
        .dy = widened(n, dy, ACL_FLOAT, d->W),
        .dq = mz_npu_like(n, &h.q, ACL_FLOAT),
        .dk = mz_npu_like(n, &h.k, ACL_FLOAT),
        .dv = mz_npu_like(n, &h.v, ACL_FLOAT),
    };
    if (y.type != ACL_FLOAT) attend(n, &h, g.y);
    attend_backward(n, &h, &g);
    mz_npu_cast(n, mz_nv_slice(g.dq, 3, 0, d->K), dq);
    mz_npu_cast(n, mz_nv_slice(g.dk, 3, 0, d->K), dk);
    mz_npu_cast(n, g.dv, dv);
}

static void attention_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    int32_t lone[2];
    const sequences s = sequences_of(n, args, lone);
    const size_t mark = n->used;
    for (int64_t i = 0; i < s.count; i++) {
        if (s.cu[i] < s.cu[i + 1]) one_backward(n, desc, args, &s.cu[i]);
        n->used = mark;
    }
}

static size_t attention_saved(const mz_desc *desc)
{
    const mz_attention_desc *d = &desc->u.attention;
    if (d->dtype != MZ_F32) return 0;
    return (size_t)(2 * d->T_max * d->H * EACH_ROW) * sizeof(float);
}

static mz_err refuse_attention(const mz_desc *desc)
{
    const mz_attention_desc *d = &desc->u.attention;
    if (d->K > 0 && d->K <= HEAD_MAX && d->W > 0 && d->W <= HEAD_MAX && d->H <= HEADS_MAX)
        return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "CANN attends with at most %d heads of 1 to %d numbers", HEADS_MAX,
                   HEAD_MAX);
}

const mz_ascend_op mz_ascend_attention = {.forward = attention,
                                          .backward = attention_backward,
                                          .saved = attention_saved,
                                          .refuse = refuse_attention};
