/* SPDX-License-Identifier: Apache-2.0 */
/* model/whole.h - the whole model and its staging memory. Private to model/.
 * Floor: model. */
#ifndef MZ_MODEL_WHOLE_H
#define MZ_MODEL_WHOLE_H

#include "model/net.h"

/* Host copies of what one call uploads. A call takes one stage; before a stage is written again
 * there was a sync, unless uploads are read at once: nothing in flight reads what is being
 * overwritten. */
typedef struct mz_stage {
    void *block;                         /* owns all of it */
    int32_t *ids, *pos, *targets, *rows; /* [T] */
    int32_t *learnt;                     /* [T] ids whose rows of the table are trained, else -1 */
    int32_t *cu, *lens;                  /* [sequences_max + 1] */
    int32_t *table;                      /* [sequences_max, pages] */
    int32_t *index;                      /* [head rows] */
    int32_t *shifted_ids, *shifted_targets, *shifted_learnt; /* [mtp_layers, T] */
    void *weight, *shifted_weight;                           /* acc */
    bool is_taken;
    int64_t taken_at; /* the queue's syncs then */
} mz_stage;

enum { MZ_STAGES = 4 };

struct mz_model {
    mz_net net;
    mz_embed embed;
    mz_block *blocks; /* [layers] */
    mz_mtp *mtp;      /* [config.mtp_layers] of the net's config */
    mz_norm norm;
    mz_head head;
    int add;
    mz_memory_plan plan;

    mz_cell first, normed;                 /* hidden 0, and the final norm's output */
    mz_cell dnormed, d, dh;                /* gradients, when training */
    mz_cell ids, pos, cu, targets, weight; /* inputs */
    mz_cell rows, table, lens, loss, learnt;

    /* of a part (model/part.h) */
    mz_buffer **slots; /* [options.slots] arenas, one of them the net's; NULL: one */
    const void *fed;   /* host: what the part before gave for this call */

    mz_stage stage[MZ_STAGES];
    int next_stage;

    /* what the last forward ran on, to refuse a loss of something else */
    int32_t *seen_ids, *seen_cu;
    int64_t seen_tokens, seen_sequences;
    bool can_logits, can_loss, can_backward, has_mtp_loss;
    int64_t *forced_tokens; /* [layers + mtp_layers] ids that force_router was given */
};

/* ---- part.c: arenas of a part ---- */
int64_t mz_part_slots(const mz_net *n); /* at least 1 */
mz_err mz_part_book(mz_model *m);
void mz_part_use(mz_model *m, int64_t slot);
void mz_part_clear(mz_model *m);
/* run.c: from the gradient of the last block's output in the cell d to that of what the first was
 * fed, or into the embedding's. */
mz_err mz_blocks_backward(mz_model *m, const mz_tensor *learnt);

mz_err mz_stage_book(mz_model *m);
void mz_stage_clear(mz_model *m);
/* Waits where every stage is in flight. */
mz_err mz_stage_take(mz_model *m, mz_stage **s);

/* Everything about a batch that the host can see; nothing is enqueued. */
mz_err mz_check_batch(const mz_model *m, const mz_batch *b);
mz_err mz_check_targets(const mz_model *m, const mz_batch *b, bool weighted);
mz_err mz_check_cached(const mz_model *m, const mz_batch *b, const mz_cached *c);

/* Upload, and set the net's views of this call. */
mz_err mz_stage_batch(mz_model *m, mz_stage *s, const mz_batch *b);
/* Only the views, of what a call before has uploaded. */
void mz_stage_views(mz_model *m, const mz_batch *b);
mz_err mz_stage_cached(mz_model *m, mz_stage *s, const mz_batch *b, const mz_cached *c);
mz_err mz_stage_targets(mz_model *m, mz_stage *s, const mz_batch *b);
/* ids: of this call, for the backward of the embedding. */
mz_err mz_stage_learnt(mz_model *m, mz_stage *s, const mz_batch *b, mz_tensor *ids);
mz_err mz_stage_mtp(mz_model *m, mz_stage *s, const mz_batch *b, double share);

#endif
