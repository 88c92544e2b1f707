/* SPDX-License-Identifier: Apache-2.0 */
/* train/groups.h - which data parallel ranks of a run add up their gradients on their own devices.
 *
 * Like chips of one machine that have collectives (chip/collective.h) form a group; ranks that find
 * no other of their kind stay alone, and groups and lone ranks add up through the host. What was
 * decided for a list of ranks stands in RUN/collectives.json:
 *
 *   {"schema": 1, "ranks": {"[{chip: ...}, ...]": {"by": "HCCL", "groups": [[0, 1]], "why": ""}}}
 *
 * and holds for every later start on the same ranks (run.collectives: auto), because sums that are
 * added in another order have other last bits. Where a group cannot be formed the run says why, and
 * adds through the host; with run.collectives: device it ends.
 *
 * Floor:  train. May use comm, chip, base.
 * Owner:  plain data; the queue is in the group until it closes.
 * Time:   waits for the other ranks, which make the same call.
 * Errors: of comm and files; with run.collectives: device those of the chip, alike on all ranks. */
#ifndef MZ_TRAIN_GROUPS_H
#define MZ_TRAIN_GROUPS_H

#include "chip/chip.h"
#include "comm/comm.h"
#include "train/config.h"

typedef struct mz_groups {
    int first[MZ_RANKS_MAX]; /* of each rank: the first of its group; itself where it is alone */
    bool adds;               /* this rank is in a group */
    bool is_whole;           /* which is all of them */
} mz_groups;

mz_err mz_groups_form(mz_groups *groups, mz_comm *comm, const mz_train_config *c, mz_queue *q);

#endif
