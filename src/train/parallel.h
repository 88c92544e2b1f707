/* SPDX-License-Identifier: Apache-2.0 */
/* train/parallel.h - data parallel ranks of unequal shares: one step made by several chips.
 *
 * Every rank holds the whole model. The samples of a step are cut by shares; gradients are added up
 * on the host in the order of the ranks (comm/comm.h); each rank owns a slice of the flat gradients
 * and of what AdamW keeps for them, updates that slice, and gives its weights to the others as
 * bytes. So the replicas are equal bit by bit however unlike the chips are, and the sums are those
 * of one rank up to their rounding.
 *
 * Source: Rajbhandari et al. 2020, "ZeRO", arXiv:1910.02054, for the sliced optimizer.
 * Floor:  train. May use model, comm, chip, base.
 * Owner:  borrows comm, queue, model and trainer.
 * Time:   every call waits for the queue and for the other ranks, which make the same calls.
 * Repeat: bitwise, for the same ranks in the same order on chips that repeat.
 * Errors: of comm and chip. Inside a step nothing is allocated. */
#ifndef MZ_TRAIN_PARALLEL_H
#define MZ_TRAIN_PARALLEL_H

#include "comm/comm.h"
#include "train/config.h"
#include "train/step.h"

typedef struct mz_team mz_team;

/* c->ranks are those of comm, in order. The trainer updates only its slice from now on. */
mz_err mz_team_new(mz_team **team, mz_comm *comm, const mz_train_config *c, mz_queue *q,
                   mz_model *m, mz_trainer *t);
void mz_team_free(mz_team *team); /* NULL is legal */
mz_comm *mz_team_comm(const mz_team *team);
int mz_team_rank(const mz_team *team);

/* Which samples of a step's `global` ones are this rank's: *first, counted from the step's first,
 * and *n, which may be 0. */
void mz_team_part(const mz_team *team, int64_t global, int64_t *first, int64_t *n);
/* Part r of n cut at the multiples of `unit` that come nearest to the shares: from *first to *end.
 */
void mz_cut(const mz_rank_config *ranks, int64_t n_ranks, int64_t r, int64_t n, int64_t unit,
            int64_t *first, int64_t *end);

/* After backward: the own slice of the gradients becomes the sum; *norm is that of all slices. */
mz_err mz_team_reduce(mz_team *team, double *norm);
/* After the update: every slice's weights to every rank. */
mz_err mz_team_share(mz_team *team);
/* Before a save: master weights and moments of every slice to rank 0. */
mz_err mz_team_collect(mz_team *team);

/* Host bytes that a rank books for it, with flat gradients of these bytes. */
size_t mz_team_room(size_t grads_bytes, mz_dtype dtype, bool is_host, int64_t size);

#endif
