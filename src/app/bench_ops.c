/* SPDX-License-Identifier: Apache-2.0 */
/* app/bench_ops.c - `mizan bench ops [NAME]`: every operator alone at one usual size, forward and
 * backward, with the shapes of its arguments, so that another program can time the same; products
 * of other sizes too: `ops matmul M N K`, `ops experts ROWS N K EXPERTS`.
 *
 * Numbers are in [-1,1), ids spread evenly; attention is of 4 texts, decoding of 8. Floor: app. */
#include "app/bench.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/str.h"
#include "chip/work.h"
#include "op/op.h"

#include <stddef.h>
#include <string.h>

enum { REPETITIONS = 7 };
/* Tokens, width, hidden, vocabulary, experts, choices, rows by expert, heads, head width. */
enum {
    T = 2048,
    D = 768,
    F = 2048,
    V = 32000,
    E = 32,
    C = 4,
    R = T * C,
    H = 12,
    K = 64,
    N = 1 << 22
};
enum {
    TEXTS = 4,
    STREAMS = 8,
    KEYS = 1024,
    PAGE = 32,
    PAGES = KEYS / PAGE,
    POOL = STREAMS * PAGES
};

/* What an argument holds; the number of the table below. */
typedef enum fill { ABSENT, REAL, RESULT, IDS, EVEN, FULL } fill;

typedef struct part {
    int arg;
    mz_dtype dtype; /* MZ_F64: that of the operator */
    fill fill;
    int64_t most; /* of IDS: their number; of EVEN: the last one; of FULL: all of them */
    int64_t dim[MZ_RANK_MAX];
} part;

typedef struct task {
    mz_desc desc;
    bool f32_only;
    part part[MZ_ARGS_MAX];
} task;

#define ARG(member) ((int)(offsetof(mz_args, member) / sizeof(const mz_tensor *)))
#define X(member, ...)                                                                             \
    {                                                                                              \
        ARG(member), MZ_F64, REAL, 0,                                                              \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define Y(member, ...)                                                                             \
    {                                                                                              \
        ARG(member), MZ_F64, RESULT, 0,                                                            \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ACC(member, how, ...)                                                                      \
    {                                                                                              \
        ARG(member), MZ_F32, how, 0,                                                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define INT(member, how, most, ...)                                                                \
    {                                                                                              \
        ARG(member), MZ_I32, how, most,                                                            \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* Every description starts with its dtype, which is filled in. */
static const task TASKS[] = {
    {.desc = {MZ_OP_MATMUL,
              .u.matmul = {.M_max = T, .N_max = D, .K_max = D, .trans_b = true, .backward = true}},
     .part = {X(matmul.a, T, D), X(matmul.b, D, D), Y(matmul.c, T, D), X(matmul.dc, T, D),
              Y(matmul.da, T, D), ACC(matmul.db, RESULT, D, D)}},
    {.desc = {MZ_OP_EXPERTS, .u.experts = {.T_max = R, .E = E, .N = 256, .K = D, .backward = true}},
     .part = {X(experts.x, R, D), X(experts.w, E, 256, D), INT(experts.offsets, EVEN, R, E + 1),
              Y(experts.y, R, 256), X(experts.dy, R, 256), Y(experts.dx, R, D),
              ACC(experts.dw, RESULT, E, 256, D)}},
    {.desc = {MZ_OP_RMSNORM, .u.rmsnorm = {.T_max = T, .D = D, .eps = 1e-6, .backward = true}},
     .part = {X(rmsnorm.x, T, D), ACC(rmsnorm.w, REAL, D), Y(rmsnorm.y, T, D), X(rmsnorm.dy, T, D),
              Y(rmsnorm.dx, T, D), ACC(rmsnorm.dw, RESULT, D)}},
    {.desc = {MZ_OP_ROPE, .u.rope = {.T_max = T, .H = H, .K = K, .backward = true}},
     .part = {X(rope.x, T, H, K), ACC(rope.cos, REAL, T, K / 2), ACC(rope.sin, REAL, T, K / 2),
              INT(rope.pos, IDS, T, T), Y(rope.y, T, H, K), X(rope.dy, T, H, K),
              Y(rope.dx, T, H, K)}},
    {.desc = {MZ_OP_ATTENTION, .u.attention = {.T_max = T,
                                               .sequences_max = TEXTS,
                                               .H = H,
                                               .G = H,
                                               .K = K,
                                               .W = K,
                                               .scale = 0.125,
                                               .causal = true,
                                               .backward = true}},
     .part = {X(attention.q, T, H, K), X(attention.k, T, H, K), X(attention.v, T, H, K),
              INT(attention.cu, EVEN, T, TEXTS + 1), Y(attention.out, T, H, K),
              X(attention.dout, T, H, K), Y(attention.dq, T, H, K), Y(attention.dk, T, H, K),
              Y(attention.dv, T, H, K)}},
    {.desc = {MZ_OP_DECODE, .u.decode = {.T_max = STREAMS,
                                         .B_max = STREAMS,
                                         .H = H,
                                         .G = 4,
                                         .K = K,
                                         .W = K,
                                         .page = PAGE,
                                         .pages_per_seq_max = PAGES,
                                         .scale = 0.125}},
     .part = {X(decode.q, STREAMS, H, K), X(decode.k_cache, POOL, PAGE, 4, K),
              X(decode.v_cache, POOL, PAGE, 4, K), INT(decode.table, IDS, POOL, STREAMS, PAGES),
              INT(decode.lens, FULL, KEYS, STREAMS), INT(decode.cu, EVEN, STREAMS, STREAMS + 1),
              Y(decode.out, STREAMS, H, K)}},
    {.desc = {MZ_OP_SWIGLU, .u.swiglu = {.T_max = T, .F = F, .backward = true}},
     .part = {X(swiglu.gate, T, F), X(swiglu.up, T, F), Y(swiglu.y, T, F), X(swiglu.dy, T, F),
              Y(swiglu.dgate, T, F), Y(swiglu.dup, T, F)}},
    {.desc = {MZ_OP_EMBED, .u.embed = {.T_max = T, .V = V, .D = D, .backward = true}},
     .part = {INT(embed.ids, IDS, V, T), X(embed.w, V, D), Y(embed.y, T, D), X(embed.dy, T, D),
              ACC(embed.dw, RESULT, V, D)}},
    {.desc = {MZ_OP_ROUTER, .u.router = {.T_max = T,
                                         .E = E,
                                         .k = C,
                                         .groups = 1,
                                         .groups_kept = 1,
                                         .normalise = true,
                                         .backward = true,
                                         .factor = 1.0}},
     .f32_only = true,
     .part = {X(router.logits, T, E), Y(router.weights, T, C), INT(router.ids, RESULT, 0, T, C),
              X(router.dweights, T, C), Y(router.dlogits, T, E)}},
    {.desc = {MZ_OP_BALANCE, .u.balance = {.T_max = T, .sequences_max = TEXTS, .E = E, .k = C}},
     .f32_only = true,
     .part = {X(balance.probs, T, E), INT(balance.ids, IDS, E, T, C),
              INT(balance.cu, EVEN, T, TEXTS + 1), Y(balance.loss, 1), Y(balance.dprobs, T, E)}},
    {.desc = {MZ_OP_PERMUTE, .u.permute = {.T_max = T, .D = D, .E = E, .k = C, .backward = true}},
     .part = {X(permute.x, T, D), INT(permute.ids, IDS, E, T, C), Y(permute.y, R, D),
              INT(permute.offsets, RESULT, 0, E + 1), INT(permute.row_of, RESULT, 0, T, C),
              X(permute.dy, R, D), Y(permute.dx, T, D)}},
    {.desc = {MZ_OP_UNPERMUTE, .u.unpermute = {.T_max = T, .D = D, .k = C, .backward = true}},
     .part = {X(unpermute.z, R, D), INT(unpermute.row_of, IDS, R, T, C),
              ACC(unpermute.weights, REAL, T, C), Y(unpermute.y, T, D), X(unpermute.dy, T, D),
              Y(unpermute.dz, R, D), ACC(unpermute.dweights, RESULT, T, C)}},
    {.desc = {MZ_OP_XENT, .u.xent = {.T_max = 512, .V = V, .gradient = true}},
     .part = {X(xent.logits, 512, V), INT(xent.targets, IDS, V, 512), ACC(xent.weight, REAL, 512),
              ACC(xent.loss, RESULT, 512), Y(xent.dlogits, 512, V)}},
    {.desc = {MZ_OP_ADAMW, .u.adamw = {.copy_dtype = MZ_F32, .N_max = N}},
     .f32_only = true,
     .part = {X(adamw.p, N), Y(adamw.m, N), Y(adamw.v, N), X(adamw.g, N)}},
    {.desc = {MZ_OP_SUMSQ, .u.sumsq = {.N_max = N}},
     .part = {X(sumsq.x, N), ACC(sumsq.out, RESULT, 1)}},
    {.desc = {MZ_OP_FINITE, .u.finite = {.N_max = N}},
     .part = {X(finite.x, N), INT(finite.out, RESULT, 0, 1)}},
    {.desc = {MZ_OP_CAST, .u.cast = {.to = MZ_BF16, .T_max = T, .N_max = F}},
     .f32_only = true,
     .part = {X(cast.x, T, F), {ARG(cast.y), MZ_BF16, RESULT, 0, {T, F}}}},
    {.desc = {MZ_OP_ELEMENTWISE, .u.elementwise = {.fn = MZ_EW_ADD, .N_max = N}},
     .part = {X(elementwise.a, N), X(elementwise.b, N), Y(elementwise.y, N)}},
    {.desc = {MZ_OP_REDUCE, .u.reduce = {.out_dtype = MZ_F32, .A_max = 1, .B_max = T, .C_max = F}},
     .part = {X(reduce.x, 1, T, F), ACC(reduce.y, RESULT, 1, F)}},
    {.desc = {MZ_OP_ROWS, .u.rows = {.n_max = T, .D = D}},
     .part = {X(rows.x, V, D), INT(rows.idx, IDS, V, T), Y(rows.y, T, D)}},
    {.desc = {MZ_OP_SAMPLE, .u.sample = {.B_max = STREAMS, .V = V}},
     .f32_only = true,
     .part = {X(sample.logits, STREAMS, V), INT(sample.ids, RESULT, 0, STREAMS)}},
};

typedef struct call {
    mz_queue *q;
    mz_op *op;
    mz_buffer *buf[MZ_ARGS_MAX + 1];
    mz_tensor t[MZ_ARGS_MAX + 1]; /* of each part, then saved */
    mz_args args;
    int32_t cu[TEXTS + 1];
} call;

static int rank_of(const part *p)
{
    int n = 0;
    while (n < MZ_RANK_MAX && p->dim[n] > 0) n++;
    return n;
}

static int32_t number(const part *p, int64_t i, int64_t n)
{
    if (p->fill == EVEN) return (int32_t)(p->most * i / (n - 1));
    if (p->fill == FULL) return (int32_t)p->most;
    return (int32_t)(i * 7919 % p->most); /* each once, of a power of two and as many */
}

enum { SOME = 4093 };

static mz_err fill_part(call *c, const part *p, const mz_tensor *t)
{
    const int64_t n = mz_count(t);
    const bool is_int = t->dtype == MZ_I32, is_wide = mz_dtype_bytes(t->dtype) == 4;
    int32_t *x = NULL;
    float some[SOME]; /* drawing each anew would take longer than all that is timed */
    mz_rng rng;
    if (p->fill == RESULT) return MZ_OK;
    mz_rng_init(&rng, 0, (uint64_t)p->arg);
    for (int i = 0; i < SOME; i++) some[i] = 2.0f * mz_u32_to_unit(mz_rng_u32(&rng)) - 1.0f;
    MZ_TRY(mz_mem_new(&x, n, sizeof *x));
    float *wide = (float *)(void *)x;
    uint16_t *half = (uint16_t *)(void *)x;
    for (int64_t i = 0; i < n; i++) {
        const float y = some[i % SOME];
        if (is_int)
            x[i] = number(p, i, n);
        else if (is_wide)
            wide[i] = y;
        else
            half[i] = mz_f64_to_bf16((double)y);
    }
    mz_err err = mz_upload(c->q, t, x);
    if (err == MZ_OK) err = mz_queue_sync(c->q);
    mz_mem_free(x);
    return err;
}

static mz_err make_part(call *c, const task *k, int i, mz_dtype dtype)
{
    const part *p = &k->part[i];
    const int rank = rank_of(p);
    size_t bytes = 0;
    const mz_dtype own = p->dtype == MZ_F64 ? dtype : p->dtype;
    MZ_TRY(mz_shape_bytes(own, rank, p->dim, &bytes));
    MZ_TRY(mz_buffer_new(&c->buf[i], c->q->device, bytes));
    c->t[i] = mz_view(c->buf[i], 0, own, rank, p->dim);
    c->args.t[p->arg] = &c->t[i];
    return fill_part(c, p, &c->t[i]);
}

/* Which argument `saved` is; -1 for operators that have none. */
static int saved_of(mz_op_kind kind)
{
    const mz_op_signature *s = mz_op_signature_of(kind);
    for (int i = 0; i < s->n_args; i++)
        if (strcmp(s->arg[i].name, "saved") == 0) return i;
    return -1;
}

static mz_err make_saved(call *c, const task *k)
{
    const int64_t bytes = (int64_t)mz_op_saved(c->op);
    const int at = saved_of(k->desc.kind);
    if (bytes == 0 || at < 0) return MZ_OK;
    MZ_TRY(mz_buffer_new(&c->buf[MZ_ARGS_MAX], c->q->device, (size_t)bytes));
    c->t[MZ_ARGS_MAX] = mz_view(c->buf[MZ_ARGS_MAX], 0, MZ_U8, 1, &bytes);
    c->args.t[at] = &c->t[MZ_ARGS_MAX];
    return MZ_OK;
}

static void set_scalars(call *c, const task *k)
{
    if (k->desc.kind == MZ_OP_ADAMW) {
        c->args.k.adamw.lr = 1e-4;
        c->args.k.adamw.beta1 = 0.9;
        c->args.k.adamw.beta2 = 0.95;
        c->args.k.adamw.eps = 1e-8;
        c->args.k.adamw.weight_decay = 0.1;
        c->args.k.adamw.grad_scale = 1.0;
        c->args.k.adamw.step = 1;
    } else if (k->desc.kind == MZ_OP_BALANCE) {
        c->args.k.balance.alpha = 0.01;
    } else if (k->desc.kind == MZ_OP_SAMPLE) {
        c->args.k.sample.temperature = c->args.k.sample.repeat_penalty = 1.0;
        c->args.k.sample.top_p = 0.9;
        c->args.k.sample.top_k = 40;
    } else if (k->desc.kind == MZ_OP_ATTENTION) {
        for (int i = 0; i <= TEXTS; i++) c->cu[i] = i * (T / TEXTS);
        c->args.k.attention.cu_host = c->cu;
    }
}

static mz_err make(call *c, const task *k, mz_dtype dtype)
{
    mz_desc desc = k->desc;
    desc.u.sumsq.dtype = dtype; /* every description starts with it */
    if (desc.kind == MZ_OP_MATMUL) desc.u.matmul.out_dtype = dtype;
    MZ_TRY(mz_bind(&c->op, c->q, &desc));
    for (int i = 0; i < MZ_ARGS_MAX && k->part[i].fill; i++) MZ_TRY(make_part(c, k, i, dtype));
    set_scalars(c, k);
    return make_saved(c, k);
}

/* Arguments that a pass does not have must be absent. */
static mz_args args_of(const call *c, mz_pass pass)
{
    mz_args args = c->args;
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (!(mz_arg_role(&c->op->desc, pass, i) & MZ_ARG_INOUT)) args.t[i] = NULL;
    return args;
}

static mz_err time_pass(const call *c, mz_pass pass, int64_t times, json_t *list)
{
    const mz_args args = args_of(c, pass);
    for (int64_t i = -1; i < times; i++) { /* the first touches memory and wakes threads */
        const int64_t start = mz_clock_ns();
        MZ_TRY(pass == MZ_FORWARD ? mz_forward(c->op, &args) : mz_backward(c->op, &args));
        MZ_TRY(mz_queue_sync(c->q));
        if (i >= 0 && json_array_append_new(list, json_integer(mz_clock_ns() - start)) != 0)
            return mz_cli_json_failed();
    }
    return MZ_OK;
}

static json_t *shapes_json(const task *k)
{
    json_t *o = json_object();
    for (int i = 0; i < MZ_ARGS_MAX && k->part[i].fill; i++) {
        const part *p = &k->part[i];
        json_t *dims = json_array();
        int bad = json_object_set_new(o, mz_op_signature_of(k->desc.kind)->arg[p->arg].name, dims);
        for (int d = 0; d < rank_of(p); d++)
            bad |= json_array_append_new(dims, json_integer(p->dim[d]));
        if (bad == 0) continue;
        json_decref(o);
        return NULL;
    }
    return o;
}

/* Of the tensors that a pass is given, once each: what it has to move at least. */
static int64_t bytes_of(const mz_args *args)
{
    int64_t bytes = 0;
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (args->t[i]) bytes += mz_count(args->t[i]) * (int64_t)mz_dtype_bytes(args->t[i]->dtype);
    return bytes;
}

static mz_err add_pass(json_t *all, const task *k, const call *c, mz_pass pass, int64_t times)
{
    const mz_args args = args_of(c, pass);
    json_t *list = json_array();
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:f, s:I, s:o}", "op", mz_op_name(k->desc.kind), "pass",
        pass == MZ_FORWARD ? "forward" : "backward", "dtype",
        mz_dtype_name(mz_desc_dtype(&c->op->desc)), "state", mz_state_name(c->op->support.state),
        "shapes", shapes_json(k), "flop", mz_work_of(&c->op->desc, pass, &args), "bytes",
        (json_int_t)bytes_of(&args), "ns", list);
    if (json_array_append_new(all, o) != 0) return mz_cli_json_failed();
    return time_pass(c, pass, times, list);
}

static void clear(call *c)
{
    mz_op_free(c->op);
    for (int i = 0; i <= MZ_ARGS_MAX; i++) mz_buffer_free(c->buf[i]);
}

static mz_err one(json_t *all, mz_queue *q, const task *k, mz_dtype dtype, int64_t times)
{
    call c = {.q = q};
    mz_err err = make(&c, k, dtype);
    if (err == MZ_OK) err = add_pass(all, k, &c, MZ_FORWARD, times);
    if (err == MZ_OK && mz_desc_has_backward(&k->desc))
        err = add_pass(all, k, &c, MZ_BACKWARD, times);
    clear(&c);
    return err == MZ_ENOTSUP ? MZ_OK : err; /* chips coverage says what is missing */
}

/* A product's own sizes, where the command names them. */
static mz_err resize(const mz_cli *cli, task *k)
{
    enum { SIZE_MOST = 1 << 17 };
    int64_t s[4] = {0};
    const int n = mz_cli_count(cli) - 2, want = k->desc.kind == MZ_OP_EXPERTS ? 4 : 3;
    if (n == 0) return MZ_OK;
    if ((k->desc.kind != MZ_OP_MATMUL && want == 3) || n != want)
        return MZ_FAIL(MZ_EUSAGE,
                       "bench ops takes sizes as matmul M N K or experts ROWS N K EXPERTS");
    for (int i = 0; i < n; i++)
        if (!mz_str_to_i64(mz_cli_argument(cli, i + 2), &s[i]) || s[i] < 1 || s[i] > SIZE_MOST)
            return MZ_FAIL(MZ_EUSAGE, "bench ops: \"%.40s\" is no size from 1 to %d",
                           mz_cli_argument(cli, i + 2), SIZE_MOST);
    const int64_t m = s[0], w = s[1], d = s[2], e = s[3];
    if (want == 3) {
        *k = (task){.desc = {MZ_OP_MATMUL, .u.matmul = {.M_max = m,
                                                        .N_max = w,
                                                        .K_max = d,
                                                        .trans_b = true,
                                                        .backward = true}},
                    .part = {X(matmul.a, m, d), X(matmul.b, w, d), Y(matmul.c, m, w),
                             X(matmul.dc, m, w), Y(matmul.da, m, d), ACC(matmul.db, RESULT, w, d)}};
        return MZ_OK;
    }
    *k = (task){.desc = {MZ_OP_EXPERTS,
                         .u.experts = {.T_max = m, .E = e, .N = w, .K = d, .backward = true}},
                .part = {X(experts.x, m, d), X(experts.w, e, w, d),
                         INT(experts.offsets, EVEN, m, e + 1), Y(experts.y, m, w),
                         X(experts.dy, m, w), Y(experts.dx, m, d),
                         ACC(experts.dw, RESULT, e, w, d)}};
    return MZ_OK;
}

mz_err mz_bench_ops_on(mz_queue *q, const mz_cli *cli, json_t *o)
{
    static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16};
    const char *name = mz_cli_count(cli) > 1 ? mz_cli_argument(cli, 1) : NULL;
    json_t *all = json_array();
    if (json_object_set_new(o, "ops", all) != 0) return mz_cli_json_failed();
    for (int i = 0; i < MZ_COUNT(TASKS); i++)
        for (int d = 0; d < MZ_COUNT(DTYPES); d++) {
            if (name && strcmp(name, mz_op_name(TASKS[i].desc.kind)) != 0) continue;
            if (TASKS[i].f32_only && DTYPES[d] != MZ_F32) continue;
            if (!(q->device->info.dtypes & 1u << DTYPES[d])) continue;
            task k = TASKS[i];
            if (name) MZ_TRY(resize(cli, &k));
            MZ_TRY(one(all, q, &k, DTYPES[d], mz_bench_repetitions(cli, REPETITIONS)));
        }
    if (name && json_array_size(all) == 0)
        return MZ_FAIL(MZ_EUSAGE, "bench ops: there is no \"%.40s\" here", name);
    return MZ_OK;
}
