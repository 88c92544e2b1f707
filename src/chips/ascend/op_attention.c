/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_attention.c - rope, attention and decode, a sequence a call.
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
    BLIND_ROWS = 2, /* innerPrecise: a row that sees no key is 0 */
    NO_SHIFT = 1,   /* pseType, of a shift that is not given */
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
    const int32_t *read = NULL;
    n->err = mz_ascend_read_ids(n->queue, cu, count, &read);
    return (sequences){read, n->err ? 0 : count - 1};
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
    double scale;
    int64_t H, sparse, inner;
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
    heads h = {.scale = d->scale, .H = d->H, .sparse = d->causal ? CAUSAL : ALL};
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
    if (n->chip->soc->is_next)
        MZ_NPU(n, FlashAttentionScoreV2, mz_npu_t(n, &h->q), mz_npu_t(n, &h->k), mz_npu_t(n, &h->v),
               NULL, NULL, NULL, mz_npu_t(n, &h->mask), NULL, NULL, NULL, h->scale, 1.0, FAR_TOKENS,
               FAR_TOKENS, h->H, layout, h->inner, h->sparse, NO_SHIFT, mz_npu_t(n, &h->largest),
               mz_npu_t(n, &h->sums), mz_npu_t(n, &nothing), mz_npu_t(n, &out));
    else
        MZ_NPU(n, FlashAttentionScore, mz_npu_t(n, &h->q), mz_npu_t(n, &h->k), mz_npu_t(n, &h->v),
               NULL, NULL, NULL, mz_npu_t(n, &h->mask), NULL, h->scale, 1.0, FAR_TOKENS, FAR_TOKENS,
               h->H, layout, h->inner, h->sparse, mz_npu_t(n, &h->largest), mz_npu_t(n, &h->sums),
               mz_npu_t(n, &nothing), mz_npu_t(n, &out));
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
    if (n->chip->soc->is_next)
        MZ_NPU(n, FlashAttentionScoreGradV2, mz_npu_t(n, &h->q), mz_npu_t(n, &h->k),
               mz_npu_t(n, &h->v), mz_npu_t(n, &g->dy), NULL, NULL, NULL, mz_npu_t(n, &h->mask),
               mz_npu_t(n, &h->largest), mz_npu_t(n, &h->sums), NULL, mz_npu_t(n, &g->y), NULL,
               NULL, NULL, h->scale, 1.0, FAR_TOKENS, FAR_TOKENS, h->H, layout, h->inner, h->sparse,
               NO_SHIFT, mz_npu_t(n, &g->dq), mz_npu_t(n, &g->dk), mz_npu_t(n, &g->dv),
               mz_npu_t(n, &nothing));
    else
        MZ_NPU(n, FlashAttentionScoreGrad, mz_npu_t(n, &h->q), mz_npu_t(n, &h->k),
               mz_npu_t(n, &h->v), mz_npu_t(n, &g->dy), NULL, NULL, NULL, mz_npu_t(n, &h->mask),
               mz_npu_t(n, &h->largest), mz_npu_t(n, &h->sums), NULL, mz_npu_t(n, &g->y), NULL,
               h->scale, 1.0, FAR_TOKENS, FAR_TOKENS, h->H, layout, h->inner, h->sparse,
               mz_npu_t(n, &g->dq), mz_npu_t(n, &g->dk), mz_npu_t(n, &g->dv),
               mz_npu_t(n, &nothing));
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

static mz_err refuse_heads(int64_t H, int64_t K, int64_t W)
{
    if (K > 0 && K <= HEAD_MAX && W > 0 && W <= HEAD_MAX && H <= HEADS_MAX) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "CANN attends with at most %d heads of 1 to %d numbers", HEADS_MAX,
                   HEAD_MAX);
}

static mz_err refuse_attention(const mz_desc *desc)
{
    const mz_attention_desc *d = &desc->u.attention;
    return refuse_heads(d->H, d->K, d->W);
}

const mz_ascend_op mz_ascend_attention = {.forward = attention,
                                          .backward = attention_backward,
                                          .saved = attention_saved,
                                          .refuse = refuse_attention};

/* ---- decode ----
 *
 * How many tokens and keys a sequence has stands on the device only. So each sequence's keys are
 * gathered, all tokens attend to them, and those that are not its own are left out: of two rows for
 * a token the later sequence's counts, from the sequence's first token on. */

typedef struct paged {
    mz_nv table, lens, cu, ahead,
        first; /* ahead [T,S]: key - token; first [P]: keys before a page */
    int64_t T, S;
    heads h;
} paged;

/* Element i of a list of numbers, for each of n. */
static mz_nv number_of(mz_nv list, int64_t i, int64_t n)
{
    mz_nv one = mz_nv_slice(list, 0, i, 1);
    one.dim[0] = n;
    one.stride[0] = 0;
    return one;
}

static mz_nv less(mz_npu *n, mz_nv a, mz_nv b)
{
    const mz_nv is = mz_npu_like(n, &a, ACL_BOOL);
    MZ_NPU(n, LtTensor, mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &is));
    return is;
}

static mz_nv where(mz_npu *n, mz_nv is, mz_nv a, mz_nv b, mz_nv out)
{
    MZ_NPU(n, SWhere, mz_npu_t(n, &is), mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &out));
    return out;
}

static paged paged_of(mz_npu *n, const mz_decode_desc *d, const mz_args *args)
{
    paged p = {.table = mz_nv_of(args->decode.table),
               .lens = mz_nv_of(args->decode.lens),
               .cu = mz_nv_of(args->decode.cu),
               .T = args->decode.q->dim[0],
               .S = args->decode.table->dim[1] * d->page,
               .h = {.scale = d->scale, .H = d->H, .sparse = ALL, .inner = BLIND_ROWS}};
    const int64_t both[] = {p.T, p.S};
    const int64_t width = d->K > d->W ? d->K : d->W, rows[] = {1, d->H, p.T, EACH_ROW};
    const mz_nv token = mz_npu_new(n, ACL_INT32, 1, &p.T), key = mz_npu_new(n, ACL_INT32, 1, &p.S);
    p.ahead = mz_npu_new(n, ACL_INT32, 2, both);
    mz_npu_count_up(n, token);
    mz_npu_count_up(n, key);
    mz_npu_add(n, mz_nv_insert(key, 0, p.T), mz_nv_insert(token, 1, p.S), -1.0, p.ahead);
    p.first = key;
    p.first.dim[0] = args->decode.table->dim[1];
    p.first.stride[0] = d->page;
    p.h.q = widened(n, mz_nv_insert(mz_nv_of(args->decode.q), 0, 1), mz_nv_of(args->decode.q).type,
                    width);
    p.h.largest = mz_npu_new(n, ACL_FLOAT, 4, rows);
    p.h.sums = mz_npu_new(n, ACL_FLOAT, 4, rows);
    return p;
}

/* The keys of a sequence's pages, [1,S,G,width]; what the table says of pages that hold none is
 * not looked at. */
static mz_nv keys_of(mz_npu *n, const paged *p, mz_nv cache, mz_nv pages, int64_t width)
{
    const int64_t dims[] = {pages.dim[0], cache.dim[1], cache.dim[2], cache.dim[3]};
    const int64_t all[] = {1, p->S, cache.dim[2], cache.dim[3]};
    const mz_nv keys = mz_npu_new(n, cache.type, 4, dims);
    mz_npu_select(n, cache, pages, keys);
    return widened(n, mz_nv_shape(keys, 4, all), cache.type, width);
}

/* Whether the values are the first columns of the keys: then they need not be gathered, which might
 * copy all of a cache whose rows lie apart. A plan books for the other case. */
static bool is_part_of(const mz_npu *n, const mz_nv *v, const mz_nv *k)
{
    bool is = n->queue && v->base == k->base && v->at == k->at;
    for (int i = 0; i < 3; i++) is = is && v->stride[i] == k->stride[i];
    return is;
}

static mz_nv values_of(mz_npu *n, mz_nv keys, int64_t W)
{
    const mz_nv part = mz_nv_slice(keys, 3, 0, W);
    const mz_nv values = mz_npu_like(n, &part, part.type);
    mz_npu_copy(n, values, part);
    return values;
}

static mz_nv pages_of(mz_npu *n, const paged *p, int64_t b)
{
    const int64_t P = p->table.dim[1];
    mz_nv own = mz_nv_slice(p->table, 0, b, 1);
    const mz_nv none = mz_npu_new(n, ACL_INT32, 1, &P), pages = mz_npu_new(n, ACL_INT32, 1, &P);
    own.dim[0] = P;
    own.stride[0] = own.stride[1];
    own.rank = 1;
    mz_npu_fill(n, none, 0.0);
    return where(n, less(n, p->first, number_of(p->lens, b, P)), own, none, pages);
}

/* Token t sees key s of sequence b where s - t <= lens[b] - cu[b+1]. */
static void attend_sequence(mz_npu *n, const mz_decode_desc *d, const mz_args *args, paged *p,
                            int64_t b, mz_nv out)
{
    const int64_t one = 1, width = d->K > d->W ? d->K : d->W;
    const mz_nv last = mz_npu_new(n, ACL_INT32, 1, &one), pages = pages_of(n, p, b);
    mz_npu_add(n, number_of(p->lens, b, 1), number_of(p->cu, b + 1, 1), -1.0, last);
    p->h.mask = mz_npu_like(n, &p->ahead, ACL_BOOL);
    const mz_nv limit = mz_nv_insert(number_of(last, 0, p->S), 0, p->T);
    MZ_NPU(n, LtTensor, mz_npu_t(n, &limit), mz_npu_t(n, &p->ahead), mz_npu_t(n, &p->h.mask));
    const mz_nv k = mz_nv_of(args->decode.k_cache), v = mz_nv_of(args->decode.v_cache);
    p->h.k = keys_of(n, p, k, pages, width);
    p->h.v = is_part_of(n, &v, &k) ? values_of(n, p->h.k, d->W) : keys_of(n, p, v, pages, d->W);
    attend(n, &p->h, out);
}

static void decode(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_decode_desc *d = &desc->u.decode;
    const mz_nv y = mz_nv_of(args->decode.out);
    const int64_t dims[] = {1, y.dim[0], d->H, d->W};
    if (mz_nv_count(&y) == 0) return;
    paged p = paged_of(n, d, args);
    const mz_nv fresh = mz_npu_new(n, y.type, 4, dims), token = mz_npu_new(n, ACL_INT32, 1, &p.T);
    mz_nv so_far = mz_npu_new(n, y.type, 4, dims), next = mz_npu_new(n, y.type, 4, dims);
    const size_t mark = n->used;
    mz_npu_count_up(n, token);
    mz_npu_fill(n, so_far, 0.0);
    for (int64_t b = 0; b < p.lens.dim[0]; b++) {
        attend_sequence(n, d, args, &p, b, fresh);
        const mz_nv is = less(n, token, number_of(p.cu, b, p.T)), last = so_far;
        const mz_nv before = mz_nv_insert(mz_nv_insert(mz_nv_insert(is, 1, d->H), 2, d->W), 0, 1);
        so_far = where(n, before, so_far, fresh, next);
        next = last;
        n->used = mark;
    }
    mz_npu_copy(n, y, mz_nv_shape(so_far, 3, dims + 1));
}

static mz_err refuse_decode(const mz_desc *desc)
{
    const mz_decode_desc *d = &desc->u.decode;
    return refuse_heads(d->H, d->K, d->W);
}

const mz_ascend_op mz_ascend_decode = {.forward = decode, .refuse = refuse_decode};
