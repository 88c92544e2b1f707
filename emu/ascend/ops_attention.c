/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_attention.c - FlashAttentionScore and its gradient, without dropout, shift and
 * prefix.
 *
 * Numbers as the device has them: factors of f16, bf16 or f32, products and their sums in f32, the
 * softmax in f32. What goes back into the cube unit (the probabilities, and their gradients) is
 * rounded to the factors' type first. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16, EACH_ROW = 8, HEAD_MAX = 768, HEADS_MAX = 256, COMPRESSED = 2048 };
enum { SPARSE_DEFAULT = 0, SPARSE_ALL = 1, SPARSE_LEFT_UP = 2, SPARSE_RIGHT_DOWN = 3, BAND = 4 };

/* ---- heads of a tensor, whatever its layout ---- */

typedef struct heads {
    const emu_tensor *t;
    int64_t B, N, S, D;
    int64_t by_b, by_n, by_s, by_d; /* strides */
} heads;

/* n: heads of a layout that has heads and width on one axis. False: no such layout. */
static bool heads_of(heads *h, const emu_tensor *t, const char *layout, int64_t n)
{
    const int64_t *dim = t->dim, *stride = t->stride;
    const bool is_bsnd = strcmp(layout, "BSND") == 0, is_bsh = strcmp(layout, "BSH") == 0;
    if (is_bsnd || strcmp(layout, "BNSD") == 0) {
        const int s = is_bsnd ? 1 : 2, own = is_bsnd ? 2 : 1;
        if (t->rank != 4) return false;
        *h = (heads){t,         dim[0],      dim[own],  dim[s],   dim[3],
                     stride[0], stride[own], stride[s], stride[3]};
        return true;
    }
    if ((!is_bsh && strcmp(layout, "SBH") != 0) || t->rank != 3 || n < 1 || dim[2] % n != 0)
        return false;
    const int s = is_bsh ? 1 : 0, b = is_bsh ? 0 : 1;
    *h = (heads){t,         dim[b],   n, dim[s], dim[2] / n, stride[b], stride[2] * (dim[2] / n),
                 stride[s], stride[2]};
    return true;
}

/* One head as dense floats [S,D]. */
static void take(float *to, const heads *h, int64_t b, int64_t n)
{
    for (int64_t s = 0; s < h->S; s++)
        for (int64_t d = 0; d < h->D; d++)
            *to++ = (float)emu_get(h->t, b * h->by_b + n * h->by_n + s * h->by_s + d * h->by_d);
}

static void give(const emu_call *c, const float *from, const heads *h, int64_t b, int64_t n)
{
    for (int64_t s = 0; s < h->S; s++)
        for (int64_t d = 0; d < h->D; d++)
            emu_put(c, h->t, b * h->by_b + n * h->by_n + s * h->by_s + d * h->by_d,
                    (double)*from++);
}

/* ---- what both directions check ---- */

/* Where the arguments stand that differ between the calls; V2 has two lists behind the prefix and a
 * number behind the sparse mode. */
typedef struct places {
    int mask, prefix, first; /* first: of the numbers from scale on */
    int most, out;           /* softmaxMax, before softmaxSum; the first output that has heads */
    bool is_v2;
} places;
static const places FORWARD = {6, 7, 8, 16, 19, false}, FORWARD_V2 = {6, 7, 10, 19, 22, true};
static const places BACKWARD = {7, 12, 13, 8, 21, false}, BACKWARD_V2 = {7, 12, 15, 8, 24, true};

static const places *places_of(const emu_call *c)
{
    const char *name = c->op->name;
    const bool is_v2 = strcmp(name + strlen(name) - 2, "V2") == 0;
    if (strncmp(name, "FlashAttentionScoreGrad", 23) == 0) return is_v2 ? &BACKWARD_V2 : &BACKWARD;
    return is_v2 ? &FORWARD_V2 : &FORWARD;
}

typedef struct problem {
    heads q, k, v;
    const emu_tensor *mask;
    double scale;
    int64_t before, after, heads, inner, sparse;
    const char *layout;
} problem;

static void read_numbers(emu_call *c, const places *at, problem *p)
{
    const emu_arg *a = &c->arg[at->first]; /* scale keep before after heads layout inner sparse */
    *p = (problem){.mask = emu_t(c, at->mask),
                   .scale = a[0].d,
                   .before = a[2].i,
                   .after = a[3].i,
                   .heads = a[4].i,
                   .layout = a[5].text,
                   .inner = a[6].i,
                   .sparse = a[7].i};
}

static bool read_heads(emu_call *c, problem *p)
{
    return heads_of(&p->q, emu_t(c, 0), p->layout, p->heads) && p->q.D > 0 &&
           heads_of(&p->k, emu_t(c, 1), p->layout, emu_t(c, 1)->dim[2] / p->q.D) &&
           heads_of(&p->v, emu_t(c, 2), p->layout, p->k.N);
}

static aclnnStatus check_mask(const emu_call *c, const problem *p)
{
    const emu_tensor *m = p->mask;
    if (p->sparse < SPARSE_DEFAULT || p->sparse > BAND)
        return emu_refuse(c, "the emulated driver has sparse modes 0 to 4");
    if (!m) return 0;
    if (m->type != EMU_BOOL && m->type != EMU_UINT8)
        return emu_refuse(c, "the mask is neither BOOL nor UINT8");
    const bool is_packed = p->sparse >= SPARSE_LEFT_UP;
    const int64_t rows = is_packed ? COMPRESSED : p->q.S, keys = is_packed ? COMPRESSED : p->k.S;
    const int last = m->rank - 1;
    if ((m->rank != 2 && m->rank != 4) || m->dim[last - 1] != rows || m->dim[last] != keys)
        return emu_refuse(c, is_packed ? "the mask of this sparse mode is not [2048,2048]"
                                       : "the mask has another shape than the scores");
    if (m->rank == 4 &&
        ((m->dim[0] != 1 && m->dim[0] != p->q.B) || (m->dim[1] != 1 && m->dim[1] != p->q.N)))
        return emu_refuse(c, "the mask has another shape than the scores");
    return 0;
}

/* Arguments that the emulated driver has nothing for: absent, or empty. */
static bool is_left_out(emu_call *c, int i)
{
    return !c->arg[i].n || (c->arg[i].tensor && emu_count(c->arg[i].tensor) == 0);
}

static aclnnStatus check_shapes(const emu_call *c, const problem *p)
{
    const heads *q = &p->q, *k = &p->k, *v = &p->v;
    const int type = q->t->type;
    if (type != EMU_FLOAT && type != EMU_FLOAT16 && type != EMU_BF16)
        return emu_refuse(c, "the query is neither FLOAT, FLOAT16 nor BF16");
    if (k->t->type != type || v->t->type != type)
        return emu_refuse(c, "query, key and value are of different types");
    if (q->N != p->heads) return emu_refuse(c, "headNum is not how many heads the query has");
    if (k->N < 1 || q->N % k->N != 0 || v->N != k->N || q->N > HEADS_MAX)
        return emu_refuse(c, "heads of query, key and value do not go together");
    if (q->D != k->D || v->D > k->D || q->D > HEAD_MAX || v->D < 1)
        return emu_refuse(c, "heads are not 1 to 768 wide, values no wider than keys");
    return q->B == k->B && q->B == v->B && k->S == v->S
               ? 0
               : emu_refuse(c, "batch or length of query, key and value differ");
}

/* FLOAT [B,N,S,8] */
static bool is_row_numbers(const emu_tensor *t, const problem *p)
{
    return t->type == EMU_FLOAT && t->rank == 4 && t->dim[0] == p->q.B && t->dim[1] == p->q.N &&
           t->dim[2] == p->q.S && t->dim[3] == EACH_ROW;
}

/* As wide as the values, for each head of the query. */
static bool is_output(const emu_tensor *t, const problem *p)
{
    heads h;
    return t->type == p->q.t->type && heads_of(&h, t, p->layout, p->heads) && h.B == p->q.B &&
           h.N == p->q.N && h.S == p->q.S && h.D == p->v.D;
}

static aclnnStatus check_common(emu_call *c, const places *at, problem *p)
{
    if (!c->arg[at->first + 5].n)
        return emu_fail(EMU_NN_NULLPTR, "aclnn%s: no layout", c->op->name);
    read_numbers(c, at, p);
    if (p->heads < 1 || !read_heads(c, p)) return emu_refuse(c, "a layout that the shapes are not");
    if (!(c->arg[at->first + 1].d >= 1.0) || !(c->arg[at->first + 1].d <= 1.0))
        return emu_refuse(c, "the emulated driver has no dropout: keepProb 1");
    for (int i = at->prefix; i < at->first; i++)
        if (c->arg[i].n) return emu_refuse(c, "the emulated driver has neither prefix nor start");
    if (at->is_v2 && (c->arg[at->first + 8].i < 0 || c->arg[at->first + 8].i > 3))
        return emu_refuse(c, "pseType is not 0 to 3");
    for (int i = at->mask - 3; i < at->mask; i++)
        if (!is_left_out(c, i)) return emu_refuse(c, "the emulated driver has no shift or dropout");
    const aclnnStatus code = check_shapes(c, p);
    return code == 0 ? check_mask(c, p) : code;
}

/* ---- scores ---- */

/* Whether query i does not see key j. */
static bool is_masked(const problem *p, int64_t b, int64_t n, int64_t i, int64_t j)
{
    const emu_tensor *m = p->mask;
    if (!m) return false; /* then neither mode nor tokens matter */
    const int last = m->rank - 1;
    int64_t at = 0, ahead = j - i;
    if (m->rank == 4)
        at = (m->dim[0] > 1 ? b * m->stride[0] : 0) + (m->dim[1] > 1 ? n * m->stride[1] : 0);
    if (p->sparse == SPARSE_RIGHT_DOWN || p->sparse == BAND) ahead -= p->k.S - p->q.S;
    if (p->sparse == BAND) return ahead > p->after || -ahead > p->before;
    if (p->sparse >= SPARSE_LEFT_UP) { /* the packed mask, at a place as far from its diagonal */
        const int64_t far = COMPRESSED - 1;
        i = ahead < 0 ? (-ahead < far ? -ahead : far) : 0;
        j = ahead > 0 ? (ahead < far ? ahead : far) : 0;
    } else if (p->sparse == SPARSE_DEFAULT && (ahead > p->after || -ahead > p->before)) {
        return true;
    }
    const double x = emu_get(m, at + i * m->stride[last - 1] + j * m->stride[last]);
    return x > 0;
}

/* As the cube unit adds: a block's products, then block after block. */
static float dot(const float *a, const float *b, int64_t n)
{
    float sum = 0.0F;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = start + BLOCK < n ? start + BLOCK : n;
        float block = 0.0F;
        for (int64_t i = start; i < end; i++) block += a[i] * b[i];
        sum += block;
    }
    return sum;
}

/* y += a x */
static void add_row(float *y, float a, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static float rounded(int type, float x)
{
    unsigned char stored[sizeof(double)];
    double wide = (double)x;
    if (type == EMU_FLOAT) return x;
    emu_store(type, stored, 1, &wide, 1, EMU_INFNAN);
    emu_load(&wide, type, stored, 1, 1);
    return (float)wide;
}

/* Scores of query i with every key: -inf where it does not see it. */
static void scores_of(const problem *p, const int64_t bn[2], int64_t i, const float *q,
                      const float *k, float *s)
{
    for (int64_t j = 0; j < p->k.S; j++)
        s[j] = is_masked(p, bn[0], bn[1], i, j)
                   ? -(float)INFINITY
                   : (float)p->scale * dot(q + i * p->q.D, k + j * p->q.D, p->q.D);
}

static float *room(const emu_call *c, int64_t n)
{
    float *made = calloc((size_t)(n > 0 ? n : 1), sizeof *made);
    if (!made)
        emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION, "aclnn%s: no host memory",
                         c->op->name);
    return made;
}

/* ---- forward ---- */

static aclnnStatus check_score(emu_call *c)
{
    const places *at = places_of(c);
    const int args[] = {0, 1, 2, at->most, at->most + 1, at->most + 2, at->out};
    problem p;
    aclnnStatus code = emu_want(c, args, 7);
    if (code == 0) code = check_common(c, at, &p);
    if (code != 0) return code;
    if (!is_row_numbers(emu_t(c, at->most), &p) || !is_row_numbers(emu_t(c, at->most + 1), &p))
        return emu_refuse(c, "softmaxMax or softmaxSum is not FLOAT [B,N,S,8]");
    return is_output(emu_t(c, at->out), &p) ? 0
                                            : emu_refuse(c, "the output does not fit the heads");
}

/* A row that sees no key is 0 where innerPrecise is 2, and else not defined: not a number. */
static void attend_row(const problem *p, float *s, const float *v, float *y, float most_sum[2])
{
    const int64_t n = p->k.S, W = p->v.D;
    float most = -(float)INFINITY, sum = 0.0F;
    memset(y, 0, (size_t)W * sizeof *y);
    for (int64_t j = 0; j < n; j++) most = fmaxf(most, s[j]);
    const bool is_blind = isinf(most) && most < 0;
    for (int64_t j = 0; !is_blind && j < n; j++) {
        s[j] = expf(s[j] - most);
        sum += s[j];
        if (s[j] > 0 || isnan(s[j])) add_row(y, rounded(p->q.t->type, s[j]), v + j * W, W);
    }
    for (int64_t w = 0; w < W; w++)
        y[w] = !is_blind ? y[w] / sum : p->inner == 2 ? 0.0F : (float)NAN;
    most_sum[0] = most;
    most_sum[1] = sum;
}

static void run_score(emu_call *c)
{
    problem p;
    heads out;
    const places *at = places_of(c);
    const emu_tensor *most = emu_t(c, at->most), *sum = emu_t(c, at->most + 1);
    read_numbers(c, at, &p);
    (void)read_heads(c, &p);
    (void)heads_of(&out, emu_t(c, at->out), p.layout, p.heads);
    float *q = room(c, p.q.S * p.q.D + p.k.S * (p.q.D + p.v.D + 1) + p.q.S * p.v.D);
    float *k = q + p.q.S * p.q.D, *v = k + p.k.S * p.q.D, *s = v + p.k.S * p.v.D, *y = s + p.k.S;
    for (int64_t e = 0; q && e < p.q.B * p.q.N; e++) {
        const int64_t bn[2] = {e / p.q.N, e % p.q.N}, kept = bn[1] / (p.q.N / p.k.N);
        take(q, &p.q, bn[0], bn[1]);
        take(k, &p.k, bn[0], kept);
        take(v, &p.v, bn[0], kept);
        for (int64_t i = 0; i < p.q.S; i++) {
            float row[2];
            scores_of(&p, bn, i, q, k, s);
            attend_row(&p, s, v, y + i * p.v.D, row);
            for (int64_t x = 0; x < EACH_ROW; x++) {
                const int64_t place = (e * p.q.S + i) * EACH_ROW + x;
                emu_put(c, most, emu_place(most, 0, place), (double)row[0]);
                emu_put(c, sum, emu_place(sum, 0, place), (double)row[1]);
            }
        }
        give(c, y, &out, bn[0], bn[1]);
    }
    free(q);
}

/* ---- backward ---- */

static aclnnStatus check_score_grad(emu_call *c)
{
    const places *at = places_of(c);
    const int args[] = {0, 1, 2, 3, 8, 9, 11, at->out, at->out + 1, at->out + 2};
    problem p;
    aclnnStatus code = emu_want(c, args, 10);
    if (code == 0) code = check_common(c, at, &p);
    if (code != 0) return code;
    if (!is_row_numbers(emu_t(c, 8), &p) || !is_row_numbers(emu_t(c, 9), &p))
        return emu_refuse(c, "softmaxMax or softmaxSum is not FLOAT [B,N,S,8]");
    if (!is_output(emu_t(c, 3), &p) || !is_output(emu_t(c, 11), &p))
        return emu_refuse(c, "dy or attentionIn does not fit the heads");
    for (int i = 0; i < 3; i++)
        if (!emu_same(emu_t(c, i), emu_t(c, at->out + i)))
            return emu_refuse(c, "dq, dk or dv is unlike what it is the gradient of");
    return 0;
}

/* One head of the query: everything as dense floats. */
typedef struct head {
    float *q, *k, *v, *dy, *y, *dq, *dk, *dv, *s;
    double most, sum; /* of the row at hand */
} head;

static void row_backward(const problem *p, const int64_t bn[2], int64_t i, const head *h)
{
    const int64_t D = p->q.D, W = p->v.D;
    const int type = p->q.t->type;
    const float *dy = h->dy + i * W, *q = h->q + i * D;
    const float own = dot(dy, h->y + i * W, W);
    scores_of(p, bn, i, h->q, h->k, h->s);
    for (int64_t j = 0; j < p->k.S; j++) {
        const float x = expf(h->s[j] - (float)h->most) / (float)h->sum;
        if (!(x > 0) && !isnan(x)) continue;
        const float ds = rounded(type, x * (dot(dy, h->v + j * W, W) - own));
        add_row(h->dq + i * D, (float)p->scale * ds, h->k + j * D, D);
        add_row(h->dk + j * D, (float)p->scale * ds, q, D);
        add_row(h->dv + j * W, rounded(type, x), dy, W);
    }
}

static void run_heads_backward(emu_call *c, const problem *p, head *h)
{
    const int64_t each = p->q.N / p->k.N;
    const int first = places_of(c)->out;
    const bool is_turned = emu_turns_round(c);
    const emu_tensor *most = emu_t(c, 8), *sum = emu_t(c, 9);
    heads dy, y, dq, dk, dv;
    (void)heads_of(&dy, emu_t(c, 3), p->layout, p->heads);
    (void)heads_of(&y, emu_t(c, 11), p->layout, p->heads);
    (void)heads_of(&dq, emu_t(c, first), p->layout, p->heads);
    (void)heads_of(&dk, emu_t(c, first + 1), p->layout, p->k.N);
    (void)heads_of(&dv, emu_t(c, first + 2), p->layout, p->k.N);
    for (int64_t e = 0; e < p->q.B * p->q.N; e++) {
        const int64_t bn[2] = {e / p->q.N, e % p->q.N}, kept = bn[1] / each;
        take(h->q, &p->q, bn[0], bn[1]);
        take(h->k, &p->k, bn[0], kept);
        take(h->v, &p->v, bn[0], kept);
        take(h->dy, &dy, bn[0], bn[1]);
        take(h->y, &y, bn[0], bn[1]);
        memset(h->dq, 0, (size_t)(p->q.S * p->q.D) * sizeof *h->dq);
        if (bn[1] % each == 0) { /* a key's gradient is the sum over its queries' heads */
            memset(h->dk, 0, (size_t)(p->k.S * p->k.D) * sizeof *h->dk);
            memset(h->dv, 0, (size_t)(p->k.S * p->v.D) * sizeof *h->dv);
        }
        for (int64_t turn = 0; turn < p->q.S; turn++) {
            const int64_t i = is_turned ? p->q.S - 1 - turn : turn;
            const int64_t place = (e * p->q.S + i) * EACH_ROW;
            h->most = emu_get(most, emu_place(most, 0, place));
            h->sum = emu_get(sum, emu_place(sum, 0, place));
            row_backward(p, bn, i, h);
        }
        give(c, h->dq, &dq, bn[0], bn[1]);
        if (bn[1] % each != each - 1) continue;
        give(c, h->dk, &dk, bn[0], kept);
        give(c, h->dv, &dv, bn[0], kept);
    }
}

static void run_score_grad(emu_call *c)
{
    problem p;
    read_numbers(c, places_of(c), &p);
    (void)read_heads(c, &p);
    const int64_t q = p.q.S * p.q.D, k = p.k.S * p.k.D, v = p.k.S * p.v.D, y = p.q.S * p.v.D;
    head h = {.q = room(c, 2 * (q + k + v + y) + p.k.S)};
    if (!h.q) return;
    h.k = h.q + q;
    h.v = h.k + k;
    h.dy = h.v + v;
    h.y = h.dy + y;
    h.dq = h.y + y;
    h.dk = h.dq + q;
    h.dv = h.dk + k;
    h.s = h.dv + v;
    run_heads_backward(c, &p, &h);
    free(h.q);
}

const emu_op emu_ops_attention[] = {
    {"FlashAttentionScore", check_score, run_score},
    {"FlashAttentionScoreGrad", check_score_grad, run_score_grad},
    {"FlashAttentionScoreV2", check_score, run_score},
    {"FlashAttentionScoreGradV2", check_score_grad, run_score_grad},
    {NULL, NULL, NULL},
};
