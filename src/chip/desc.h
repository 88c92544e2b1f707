/* SPDX-License-Identifier: Apache-2.0 */
/* chip/desc.h - what each operator is told when it is bound, and which tensors it is given when it
 * runs.
 *
 * One list (MZ_OP_LIST) makes the enum, the chip table's slots and the coverage report. For each
 * kind: mz_<kind>_desc   constants of the bound operator: dtypes and LARGEST shapes (a call may use
 * less) mz_args.<kind>   the tensors of a call, by name; absent optional ones are NULL mz_args.k
 * per-call scalars mz_op_signature  each argument's name and role in both directions, so that
 * wrappers (staging, far memory, fault injection, gradient tests) work on any operator without
 * knowing it
 *
 * Letters: T tokens of this call, B sequences, S cached positions, D model width, H heads, G
 * key/value heads, K query/key head width, W value head width, F expert width, E experts, V
 * vocabulary, N elements.
 *
 * Dtypes: `dtype` is the compute dtype (f32 | bf16 | f16 | f64). acc = mz_dtype_acc(dtype): f32, or
 * f64 if dtype is f64. Norm weights, biases, router inputs, rope tables, losses and ALL weight
 * gradients are acc. Sums are kept in acc or wider. Ids, offsets and positions are I32.
 *
 * `stored` of a weight: the dtype it lies in, where that is not the compute dtype: F32, BF16, F16
 * or a block type. 0 (MZ_F64) says that it is the compute dtype. Forward only; what is computed
 * with is the number that is stored, rounded to dtype, made while the operator runs and never for
 * the whole weight at once.
 *
 * Gradients of activations are OVERWRITTEN, gradients of weights are ADDED TO.
 * Floor:  chip. May use tensor, base.   Compiles as C++ too. */
#ifndef MZ_CHIP_DESC_H
#define MZ_CHIP_DESC_H

#include "tensor/tensor.h"

/* X(ENUM, field): every operator of the table. */
#define MZ_OP_LIST(X)                                                                              \
    X(MATMUL, matmul)                                                                              \
    X(EXPERTS, experts)                                                                            \
    X(RMSNORM, rmsnorm)                                                                            \
    X(ROPE, rope)                                                                                  \
    X(ATTENTION, attention)                                                                        \
    X(DECODE, decode)                                                                              \
    X(SWIGLU, swiglu)                                                                              \
    X(EMBED, embed)                                                                                \
    X(ROUTER, router)                                                                              \
    X(BALANCE, balance)                                                                            \
    X(PERMUTE, permute)                                                                            \
    X(UNPERMUTE, unpermute)                                                                        \
    X(XENT, xent)                                                                                  \
    X(ADAMW, adamw)                                                                                \
    X(SUMSQ, sumsq)                                                                                \
    X(FINITE, finite)                                                                              \
    X(CAST, cast)                                                                                  \
    X(ELEMENTWISE, elementwise)                                                                    \
    X(REDUCE, reduce)                                                                              \
    X(ROWS, rows)                                                                                  \
    X(SAMPLE, sample)

typedef enum mz_op_kind {
#define MZ_OP_ENUM(NAME, field) MZ_OP_##NAME,
    MZ_OP_LIST(MZ_OP_ENUM)
#undef MZ_OP_ENUM
        MZ_OP_COUNT
} mz_op_kind;

/* forward   c = op(a) op(b) + bias, or c += that if `accumulate`
 *           a [M,K] or [K,M] if trans_a, b [K,N] or [N,K] if trans_b (a Hugging Face weight), c
 * [M,N]; with `batch` > 0 all have a leading axis of up to `batch` matrices (its stride may be 0 in
 * a, b). Last axes contiguous, other strides free. M, N, K may be 0: K = 0 gives bias (or 0). a, b:
 * dtype; c: out_dtype; bias [N]: acc, NULL unless desc.bias. backward  from dc (out_dtype): da
 * OVERWRITTEN (dtype), db ADDED TO (acc), dbias ADDED TO (acc); each may be NULL. Only with batch =
 * 0 and without accumulate. */
typedef struct mz_matmul_desc {
    mz_dtype dtype, out_dtype; /* out_dtype: dtype or acc */
    int64_t M_max, N_max, K_max;
    int64_t batch_max; /* 0: plain matrices */
    bool trans_a, trans_b, accumulate, bias, backward;
    bool
        packed; /* b is what the chip's pack made of [N,K] or [K,N]; only where the chip has pack */
    mz_dtype stored; /* of b [N,K]: only with trans_b, without trans_a, batch, backward, packed */
} mz_matmul_desc;

/* Rows of x sorted by expert; expert e owns rows offsets[e] .. offsets[e+1]-1 (Shazeer et al.
 * 2017). forward   y[r] = x[r] w[e]^T      x [T,K] dtype, w [E,N,K] dtype, offsets [E+1] I32, y
 * [T,N] dtype backward  dx OVERWRITTEN [T,K] (may be NULL), dw ADDED TO [E,N,K] acc (may be NULL),
 * from dy [T,N] */
typedef struct mz_experts_desc {
    mz_dtype dtype;
    int64_t T_max, E, N, K;
    bool backward;
    mz_dtype stored; /* of w */
} mz_experts_desc;

/* See op/rmsnorm.h. x, y, dx, dy [T,D] with free row stride; w, dw [D] acc. dx may be dy. y may be
 * x when serving. */
typedef struct mz_rmsnorm_desc {
    mz_dtype dtype;
    int64_t T_max, D;
    double eps; /* > 0 */
    bool backward;
} mz_rmsnorm_desc;

/* Rotates pairs of the last axis: x, y [T,H,K] (strides of T and H free, last contiguous), K even.
 * half:        pair (j, j+K/2)     interleaved: pair (2j, 2j+1)      by the angle of pos[t] and j
 * cos, sin  [P,K/2] F32 tables of P positions; pos [T] I32 in 0..P-1. y may be x.
 * backward  rotates dy by the negative angle into dx; dx may be dy. */
typedef struct mz_rope_desc {
    mz_dtype dtype;
    int64_t T_max, H, K;
    bool interleaved, backward;
} mz_rope_desc;

/* Causal attention over packed sequences: token t sees itself and earlier tokens of its own
 * sequence. forward   q [T,H,K], k [T,G,K], v [T,G,W], out [T,H,W], last axis contiguous, other
 * strides free; H % G == 0, head h reads group h / (H/G); softmax(scale q.k) in acc. cu [n+1] I32:
 * sequence i is tokens cu[i]..cu[i+1]-1; cu[0] = 0, cu[n] = T. Host copy in k.attention.cu_host for
 * libraries that want it. backward  dq, dk, dv OVERWRITTEN from dout and q, k, v, out, saved. */
typedef struct mz_attention_desc {
    mz_dtype dtype;
    int64_t T_max, sequences_max, H, G, K, W;
    double scale;
    bool causal, backward;
} mz_attention_desc;

/* Attention of new tokens against a paged cache that already holds them (prefill in chunks, decode,
 * MLA in absorbed form with G = 1 and v a view of the first W columns of k). q [T,H,K], out
 * [T,H,W]; k_cache [pages,page,G,K], v_cache [pages,page,G,W] with free strides but the last; table
 * [B,pages_per_seq_max] I32 page numbers; lens [B] I32 keys of each sequence, the new tokens
 * included; cu [B+1] I32 as in attention: token i of sequence b stands at position lens[b] -
 * (cu[b+1]-cu[b]) + i - cu[b]. */
typedef struct mz_decode_desc {
    mz_dtype dtype;
    int64_t T_max, B_max, H, G, K, W, page, pages_per_seq_max;
    double scale;
} mz_decode_desc;

/* y = silu(gate) * up; all [T,F], free row strides. backward: dgate, dup OVERWRITTEN (may be gate,
 * up). */
typedef struct mz_swiglu_desc {
    mz_dtype dtype;
    int64_t T_max, F;
    bool backward;
} mz_swiglu_desc;

/* y[t] = w[ids[t]]; y [T,D], w [V,D] dtype; ids [T] I32 in 0..V-1 (others give a row of NaN: the
 * front door's callers check). backward: dw [V,D] acc ADDED TO, equal ids summed in token order; a
 * token whose id is no row adds nothing. */
typedef struct mz_embed_desc {
    mz_dtype dtype;
    int64_t T_max, V, D;
    bool backward;
    mz_dtype stored; /* of w */
} mz_embed_desc;

typedef enum mz_router_score { MZ_SCORE_SOFTMAX, MZ_SCORE_SIGMOID } mz_router_score;
typedef enum mz_router_group { MZ_GROUP_MAX, MZ_GROUP_TOP2_SUM } mz_router_group;
/* forward   s = score(logits) [T,E]; chosen by s + bias: the best `groups_kept` of `groups` groups
 * of E/groups neighbours (group value: max, or sum of its two largest), others out (-inf), then the
 * best k of what is left; ties go to the lower id. ids [T,k] I32 ASCENDING, weights [T,k] acc in
 * that order: s (never the bias), divided by (their sum + 1e-20) if `normalise`, times `factor`.
 *           bias [E] acc or NULL. `forced`: ids is an input. probs [T,E] acc or NULL: s for
 * softmax, s / sum_E s for sigmoid (what the balance loss wants). logits acc. backward  dlogits
 * [T,E] OVERWRITTEN from dweights [T,k] and dprobs [T,E] (may be NULL), ids, saved. */
typedef struct mz_router_desc {
    mz_dtype acc;                             /* f32 | f64 */
    int64_t T_max, E, k, groups, groups_kept; /* groups 1 = none */
    mz_router_score score;
    mz_router_group group;
    bool normalise, forced, backward;
    double factor;
} mz_router_desc;

/* Sequence-wise balance loss (DeepSeek-V3 report eq. 17-20; V2 report eq. 23 with softmax probs):
 *   per sequence of T_i tokens  f_e = E/(k T_i) #chosen, P_e = mean probs, L_i = alpha sum_e f_e
 * P_e loss [1] acc OVERWRITTEN by mean_i L_i; dprobs [T,E] OVERWRITTEN by dloss/dprobs (f has no
 * gradient), may be NULL; counts [E] I32 ADDED TO by #chosen of all tokens (for the selection
 * bias), may be NULL. in: probs [T,E], ids [T,k], cu [n+1]. k.balance.alpha. Forward only: it
 * returns its gradient. */
typedef struct mz_balance_desc {
    mz_dtype acc;
    int64_t T_max, sequences_max, E, k;
} mz_balance_desc;

/* forward   sorts the T*k (token, choice) pairs by expert, within an expert by token:
 *           offsets [E+1] I32, row_of [T,k] I32 (where pair (t,j) went), y [T*k,D] = x of its token
 * backward  dx [T,D] OVERWRITTEN = sum_j dy[row_of[t,j]], in order of j */
typedef struct mz_permute_desc {
    mz_dtype dtype;
    int64_t T_max, D, E, k;
    bool backward;
} mz_permute_desc;

/* forward   y[t] = base[t] + sum_j weights[t,j] z[row_of[t,j]], in order of j; base may be NULL or
 * y itself backward  dz [T*k,D] OVERWRITTEN = weights * dy, dweights [T,k] acc OVERWRITTEN = dy . z
 * (d base is dy) */
typedef struct mz_unpermute_desc {
    mz_dtype dtype;
    int64_t T_max, D, k;
    bool backward;
} mz_unpermute_desc;

/* logits [T,V] dtype; targets [T] I32, -100 = not counted; loss [T] acc OVERWRITTEN by logsumexp -
 * logit[target] (0 where not counted), unweighted. dlogits [T,V] dtype OVERWRITTEN (may be logits
 * itself, may be NULL): weight[t] * (softmax - onehot), 0 where not counted; weight [T] acc. */
typedef struct mz_xent_desc {
    mz_dtype dtype;
    int64_t T_max, V;
    bool gradient;
} mz_xent_desc;

/* AdamW with decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101), as torch.optim.AdamW:
 *   g' = grad_scale g;  p *= 1 - lr weight_decay;  m = beta1 m + (1-beta1) g';  v = beta2 v +
 * (1-beta2) g'^2 p -= lr (m/(1-beta1^step)) / (sqrt(v/(1-beta2^step)) + eps) p, m, v IN-OUT and g
 * in: [N] acc; copy [N] copy_dtype OVERWRITTEN by p rounded, or NULL. Scalars in k.adamw. */
typedef struct mz_adamw_desc {
    mz_dtype acc, copy_dtype;
    int64_t N_max;
} mz_adamw_desc;

/* out [1] acc ADDED TO by sum x^2; x [N] dense. */
typedef struct mz_sumsq_desc {
    mz_dtype dtype;
    int64_t N_max;
} mz_sumsq_desc;

/* out [1] I32 ADDED TO by the number of elements of x [N] that are NaN or infinite. */
typedef struct mz_finite_desc {
    mz_dtype dtype;
    int64_t N_max;
} mz_finite_desc;

/* y [T,N] = x [T,N] in another float dtype, free row strides. */
typedef struct mz_cast_desc {
    mz_dtype from, to;
    int64_t T_max, N_max;
} mz_cast_desc;

/* X(NAME, what y becomes); alpha is k.elementwise.alpha */
#define MZ_ELEMENTWISE_LIST(X)                                                                     \
    X(ADD, "a + b")                                                                                \
    X(MUL, "a * b")                                                                                \
    X(AXPY, "a + alpha b")                                                                         \
    X(SCALE, "alpha a")                                                                            \
    X(COPY, "a")                                                                                   \
    X(FILL, "alpha")
typedef enum mz_elementwise_fn {
#define MZ_ELEMENTWISE_ENUM(NAME, text) MZ_EW_##NAME,
    MZ_ELEMENTWISE_LIST(MZ_ELEMENTWISE_ENUM)
#undef MZ_ELEMENTWISE_ENUM
        MZ_EW_COUNT
} mz_elementwise_fn;
/* y, a, b of one shape, rank 1 to 3, free strides (0 repeats in a and b); y may be a or b. */
typedef struct mz_elementwise_desc {
    mz_dtype dtype;
    mz_elementwise_fn fn;
    int64_t N_max; /* elements */
} mz_elementwise_desc;

/* y [A,C] = (or += if accumulate) sum_b x[A,B,C], in order of b. x: dtype, free strides but the
 * last; y: out_dtype. */
typedef struct mz_reduce_desc {
    mz_dtype dtype, out_dtype;
    int64_t A_max, B_max, C_max;
    bool accumulate;
} mz_reduce_desc;

/* gather: y[i] = x[idx[i]], idx [n];  scatter: y[idx[i]] = x[i] (indices differ; index -1 is
 * skipped, both ways). y, x [rows,D] of one dtype with free row strides, idx I32. */
typedef struct mz_rows_desc {
    mz_dtype dtype;
    int64_t n_max, D;
    bool scatter;
    int64_t table_max; /* rows that indices choose from; 0: any number */
} mz_rows_desc;

/* Chooses ids [B] I32 from logits [B,V] acc: repeat penalty on the ids of history [B,n] I32 (-1 =
 * empty; may be NULL), then temperature (0: the largest, ties to the lower id), top-k, top-p,
 * min-p, then one uniform number of Philox(seed, stream = row, counter). Scalars in k.sample. The
 * steps to the bit, which every chip follows: base/draw.h. */
typedef struct mz_sample_desc {
    mz_dtype acc;
    int64_t B_max, V, history_max;
} mz_sample_desc;

typedef struct mz_desc {
    mz_op_kind kind;
    union {
#define MZ_DESC_MEMBER(NAME, field) mz_##field##_desc field;
        MZ_OP_LIST(MZ_DESC_MEMBER)
#undef MZ_DESC_MEMBER
    } u;
} mz_desc;

enum { MZ_ARGS_MAX = 12 };

/* Views are copied when the call is enqueued; the buffers they point to must live until
 * mz_queue_sync. Host pointers in k too. Views of outputs are const because a view is only an
 * address; the buffer behind it is written. */
typedef struct mz_args {
    union {
        const mz_tensor *t[MZ_ARGS_MAX];
        struct {
            const mz_tensor *c, *a, *b, *bias, *dc, *da, *db, *dbias;
        } matmul;
        struct {
            const mz_tensor *y, *x, *w, *offsets, *dy, *dx, *dw;
        } experts;
        struct {
            const mz_tensor *y, *saved, *x, *w, *dy, *dx, *dw;
        } rmsnorm;
        struct {
            const mz_tensor *y, *x, *cos, *sin, *pos, *dy, *dx;
        } rope;
        struct {
            const mz_tensor *out, *saved, *q, *k, *v, *cu, *dout, *dq, *dk, *dv;
        } attention;
        struct {
            const mz_tensor *out, *q, *k_cache, *v_cache, *table, *lens, *cu;
        } decode;
        struct {
            const mz_tensor *y, *gate, *up, *dy, *dgate, *dup;
        } swiglu;
        struct {
            const mz_tensor *y, *w, *ids, *dy, *dw;
        } embed;
        struct {
            const mz_tensor *weights, *ids, *probs, *saved, *logits, *bias, *dweights, *dprobs,
                *dlogits;
        } router;
        struct {
            const mz_tensor *loss, *dprobs, *counts, *probs, *ids, *cu;
        } balance;
        struct {
            const mz_tensor *y, *offsets, *row_of, *x, *ids, *dy, *dx;
        } permute;
        struct {
            const mz_tensor *y, *z, *row_of, *weights, *base, *dy, *dz, *dweights;
        } unpermute;
        struct {
            const mz_tensor *loss, *dlogits, *logits, *targets, *weight;
        } xent;
        struct {
            const mz_tensor *p, *m, *v, *g, *copy;
        } adamw;
        struct {
            const mz_tensor *out, *x;
        } sumsq, finite;
        struct {
            const mz_tensor *y, *x;
        } cast, reduce;
        struct {
            const mz_tensor *y, *a, *b;
        } elementwise;
        struct {
            const mz_tensor *y, *x, *idx;
        } rows;
        struct {
            const mz_tensor *ids, *logits, *history;
        } sample;
    };
    union {
        struct {
            double lr, beta1, beta2, eps, weight_decay, grad_scale;
            int64_t step; /* 1 for the first */
        } adamw;
        struct {
            double alpha;
        } elementwise, balance;
        struct {
            const int32_t *cu_host; /* the numbers of cu, or NULL */
        } attention;
        struct {
            double temperature, top_p, min_p, repeat_penalty; /* 0, 1, 0, 1 = off */
            int64_t top_k;                                    /* 0 = off */
            uint64_t seed, counter;
        } sample;
    } k;
} mz_args;

typedef enum mz_pass { MZ_FORWARD, MZ_BACKWARD } mz_pass;

/* Roles of an argument in one direction. */
enum {
    MZ_ARG_NONE = 0,     /* not used */
    MZ_ARG_IN = 1,       /* read */
    MZ_ARG_OUT = 2,      /* overwritten (only the elements of the view) */
    MZ_ARG_INOUT = 3,    /* read and written: ADDED TO, or updated */
    MZ_ARG_OPTIONAL = 4, /* may be NULL */
    MZ_ARG_PARTIAL =
        8 /* out, but not every element is written: a staged copy must hold the old ones */
};

typedef struct mz_op_signature {
    const char *name; /* "rmsnorm" */
    int n_args;
    bool has_backward;
    struct {
        const char *name;
        unsigned char forward, backward; /* roles */
    } arg[MZ_ARGS_MAX];
} mz_op_signature;

/* Never NULL for kind < MZ_OP_COUNT. */
const mz_op_signature *mz_op_signature_of(mz_op_kind kind);
const char *mz_op_name(mz_op_kind kind);
/* The role of argument i of an operator in one direction (rows.y is OUT in gather, PARTIAL in
 * scatter; matmul.c is INOUT with accumulate; router.ids is IN when forced ...). */
unsigned mz_arg_role(const mz_desc *desc, mz_pass pass, int i);
/* Whether this description announces a backward pass. */
bool mz_desc_has_backward(const mz_desc *desc);
/* The dtype that the operator's weight lies in where it is not the compute dtype, else MZ_F64. */
mz_dtype mz_desc_stored(const mz_desc *desc);
/* `stored`, or dtype where it is 0. */
static inline mz_dtype mz_stored_dtype(mz_dtype stored, mz_dtype dtype)
{
    return stored == MZ_F64 ? dtype : stored;
}
/* The compute dtype that the coverage report lists it under. */
mz_dtype mz_desc_dtype(const mz_desc *desc);

#endif
