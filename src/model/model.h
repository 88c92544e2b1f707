/* SPDX-License-Identifier: Apache-2.0 */
/* model/model.h - a network bound to one chip: forward, loss, backward, and cached decode.
 *
 * A model is bound once for a largest call (mz_model_options); all questions to the chip are asked
 * there and all memory is booked there, so that inside a call nothing is allocated and nothing can
 * turn out unsupported. Calls enqueue on the model's queue; where a result is read on the host the
 * function says that it waits.
 *
 * Floor:  model. May use op, chip, tensor, base.
 * Owner:  the caller owns the model and frees it before the queue. Borrowed tensors that come out
 *         live in the model and hold until its next call.
 * Errors: MZ_ENOTSUP from new: this chip cannot carry this model; the note says which operator and
 *         why. MZ_ENOMEM with the bytes. MZ_EINVAL: more tokens than bound for, ids out of range.
 * Not here: reading files (port/), the optimizer (train/), choosing tokens (infer/). */
#ifndef MZ_MODEL_MODEL_H
#define MZ_MODEL_MODEL_H

#include "model/params.h"

typedef struct mz_model mz_model;

typedef struct mz_model_options {
    mz_dtype dtype;        /* f32 | bf16 | f16 | f64 */
    int64_t tokens_max;    /* T of one forward call (packed sequences together) */
    int64_t sequences_max; /* in one call, of either kind */
    int64_t position_max;  /* positions 0 .. position_max - 1 */
    int64_t head_rows;     /* logits are made for at most this many tokens at a time; 0 = chosen */
    bool train;            /* backward is bound and gradients are booked */
    bool recompute;        /* with train: blocks keep their inputs alone and run forward twice; the
                              same bits on a chip that repeats */
    int64_t part_first, part_layers; /* a rank of a pipeline has these layers; 0 layers: all */
    int64_t slots;    /* forward calls of a part that may wait for their backward; 0: one */
    bool mtp;         /* the MTP layers are bound too (needs config.mtp_layers > 0); without it
                         they are no parameters of this model, and mz_model_config says 0 */
    bool keep_hidden; /* every block's output is kept for mz_model_hidden */
    mz_stored_fn
        *stored;       /* how weights lie, where not in `dtype`; NULL = all do. Not when training */
    void *stored_user; /* both are only used while the model is made */
    const mz_params *weights; /* of the same network on the same device, loaded: read here too, not
                                 booked again; they must live as long. NULL: its own. Not when
                                 training, and not with `stored` */
    bool forced_router;       /* expert ids come from mz_model_force_router */
    /* cached decode: 0 pages = none. A page holds page_tokens positions of one sequence. */
    int64_t cache_pages, page_tokens, pages_per_sequence_max;
} mz_model_options;

/* What the model needs on the chip, before anything is booked. Bytes. */
typedef struct mz_memory_plan {
    size_t weights, gradients, activations, workspace, staging, cache, total;
} mz_memory_plan;
mz_err mz_model_plan(mz_memory_plan *plan, mz_queue *q, const mz_config *c,
                     const mz_model_options *o);

mz_err mz_model_new(mz_model **m, mz_queue *q, const mz_config *c, const mz_model_options *o);
void mz_model_free(mz_model *m); /* NULL is legal; syncs the queue first */
mz_params *mz_model_params(mz_model *m);
const mz_config *mz_model_config(const mz_model *m);
int64_t mz_model_tokens_max(const mz_model *m);
const mz_memory_plan *mz_model_memory(const mz_model *m); /* what was really booked */

/* One packed batch. Host arrays; they are copied before a call returns. */
typedef struct mz_batch {
    int64_t tokens, sequences;
    const int32_t *ids;     /* [tokens], 0 .. V-1 */
    const int32_t *pos;     /* [tokens], 0 .. position_max-1 */
    const int32_t *cu;      /* [sequences+1]: sequence i is tokens cu[i] .. cu[i+1]-1 */
    const int32_t *targets; /* [tokens] id that follows, -100 = not counted; NULL without a loss */
    const float *weight;    /* [tokens] of each token's loss in the sum that is differentiated */
} mz_batch;

/* Embedding, blocks, final norm. */
mz_err mz_model_forward(mz_model *m, const mz_batch *batch);
/* After forward: logits of tokens first .. first+count-1, count <= the bound head_rows; acc dtype
 * [count,V], borrowed. */
mz_err mz_model_logits(mz_model *m, int64_t first, int64_t count, mz_tensor *logits);
/* Rows of logits for chosen tokens, index [count] on the host. For decode: last of each sequence.
 */
mz_err mz_model_logits_rows(mz_model *m, const int32_t *index, int64_t count, mz_tensor *logits);
/* After forward: the unweighted loss of each token [tokens] acc (borrowed, on the chip), and, if
 * `backward`, gradients ADDED TO the parameters' g of
 *   sum_t weight[t] loss[t] + moe_alpha * balance + mtp_weight/D * (the same sum for MTP targets).
 * balance is the mean over this call's sequences, summed over the layers with experts. An MTP
 * target brings the weight of its own position: weight[t+k] for depth k at t. The full logits of a
 * long batch never exist: the head runs by chunks of head_rows tokens. Backward spends what forward
 * kept: MZ_EINVAL for a second one, and for another batch than that of the last forward call. */
typedef struct mz_loss_options {
    bool backward;
    double balance_alpha; /* of the sequence-wise balance loss; 0 = off. Where sequences are spread
                             over several calls, alpha times this call's share of them */
    double mtp_weight;    /* lambda; 0 = off */
} mz_loss_options;
mz_err mz_model_loss(mz_model *m, const mz_batch *batch, const mz_loss_options *o, mz_tensor *loss);
/* MTP losses per token of the last mz_model_loss with mtp_weight > 0, [tokens] acc; depth from 1.
 */
mz_err mz_model_mtp_loss(mz_model *m, int64_t depth, mz_tensor *loss);
mz_err mz_model_zero_grads(mz_model *m);

/* hidden i: 0 the embedding, i the output of block i, layers + 1 the final norm. [tokens,D] */
mz_err mz_model_hidden(mz_model *m, int64_t i, mz_tensor *hidden);

/* Routers, by layer number (MZ_EINVAL for a layer without experts). ids [tokens,k] I32 ascending,
 * weights [tokens,k] acc, counts [E] I32: tokens sent to each expert since mz_model_zero_counts, by
 * every forward call of a model bound for training (others keep none: MZ_EINVAL). */
mz_err mz_model_router(mz_model *m, int64_t layer, mz_tensor *ids, mz_tensor *weights);
mz_err mz_model_router_counts(mz_model *m, int64_t layer, mz_tensor *counts);
mz_err mz_model_zero_counts(mz_model *m);
/* With forced_router: ids [tokens,k] on the host for the next forward calls. Waits. */
mz_err mz_model_force_router(mz_model *m, int64_t layer, const int32_t *ids, int64_t tokens);

/* Cached: one chunk of prefill or one token for each of several sequences, after which
 * mz_model_logits works as after forward. batch->pos are the positions in the sequences; table
 * [sequences, pages_per_sequence_max] page numbers; lens [sequences] keys with the new ones. */
typedef struct mz_cached {
    const int32_t *table, *lens; /* host, copied before the call returns */
} mz_cached;
mz_err mz_model_cached(mz_model *m, const mz_batch *batch, const mz_cached *cached);

/* Every operator that the model asks of its chip, for coverage and verdicts: fn is called once for
 * each distinct description. Nothing is bound. */
typedef mz_err mz_model_op_fn(void *arg, const mz_desc *desc);
mz_err mz_model_ops(const mz_config *c, const mz_model_options *o, mz_model_op_fn *fn, void *arg);

#endif
