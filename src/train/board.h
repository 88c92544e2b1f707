/* SPDX-License-Identifier: Apache-2.0 */
/* train/board.h - a run's log for TensorBoard, beside log.jsonl and out of the same records.
 *
 * It is a view: where it cannot be written the run goes on without it, with one warning.
 * Floor:  train. May use runs, base.
 * Time:   one write a step. */
#ifndef MZ_TRAIN_BOARD_H
#define MZ_TRAIN_BOARD_H

#include "runs/events.h"
#include "train/config.h"
#include "train/runlog.h"

typedef struct mz_board {
    mz_events events; /* file.fd -1: none */
} mz_board;

/* For the steps after after_step; nothing where run.tensorboard is false or no step is left. */
void mz_board_open(mz_board *b, const mz_train_config *c, int64_t after_step, bool goes_on);
void mz_board_put(mz_board *b, const mz_step_record *r);
void mz_board_sync(mz_board *b); /* before a checkpoint */
void mz_board_close(mz_board *b);

#endif
