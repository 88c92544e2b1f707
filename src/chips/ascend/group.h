/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/group.h - between queue.c and group.c: the communicator of a queue. Floor: chips. */
#ifndef MZ_CHIPS_ASCEND_GROUP_H
#define MZ_CHIPS_ASCEND_GROUP_H

#include "chip/collective.h"
#include "chips/ascend/state.h"

extern const mz_collective mz_ascend_collective;

/* After a wait that had collectives in it ended with `err`, whose note is made: what HCCL itself
 * says is added to the note, or is the error where the wait ended well. */
mz_err mz_ascend_group_fail(const mz_ascend_queue *q, mz_err err);
/* Destroys the communicator, if there is one. */
void mz_ascend_group_leave(mz_ascend_queue *q);

#endif
