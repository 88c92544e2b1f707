/* SPDX-License-Identifier: Apache-2.0 */
/* chip/work.h - how many floating-point operations a queue's operators did, operator by operator,
 * and where: on the device, or on a host chip that stands in for what the device lacks.
 *
 * Who counts: a chip whose table says `counts` tells at every launch what that kernel does, from
 * the shapes of the launch, with what it computes again (scores of attention in backward). For
 * another chip each call counts as what the operator's definition takes (mz_work_of). So the
 * device's numbers are those of what ran there and not of what a model is thought to need.
 *
 * A product with its sum is 2. Tokens that do not see each other, rounding, copies and integers are
 * 0. Wrapping chips hand their queue's counter to the queue behind (chip/wrap.h).
 *
 * Floor:  chip. May use tensor, base.
 * Owner:  who asks owns the counter and keeps it for as long as a queue has it.
 * Time:   a few sums a launch; nothing is allocated. One thread, the queue's. */
#ifndef MZ_CHIP_WORK_H
#define MZ_CHIP_WORK_H

#include "chip/chip.h"

typedef struct mz_work_row {
    double flop;      /* operations done, those of `again` too */
    double again;     /* of them done before and not kept */
    int64_t launches; /* of kernels; calls, where the chip does not count */
} mz_work_row;

struct mz_work {
    mz_work_row device[MZ_OP_COUNT], host[MZ_OP_COUNT];
};

/* To the queue's counter, if it has one. */
void mz_work_add(const mz_queue *q, mz_op_kind kind, double flop, double again);
/* The same for a whole call of op, unless op's chip counts itself. */
void mz_work_call(const mz_op *op, mz_pass pass, const mz_args *args);

/* What one call takes by the operator's definition. */
double mz_work_of(const mz_desc *desc, mz_pass pass, const mz_args *args);
/* Pairs (query, key) that see each other in a call of attention, of one head; where the host does
 * not know the sequences, as if all were of one length. */
double mz_work_pairs(const mz_desc *desc, const mz_args *args);

/* Operations an element. */
double mz_work_elementwise(mz_elementwise_fn fn);

mz_work_row mz_work_sum(const mz_work_row rows[MZ_OP_COUNT]);

#endif
