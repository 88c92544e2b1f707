/* SPDX-License-Identifier: Apache-2.0 */
/* train/ranks.h - a run on several ranks of this machine: started, watched, gone on with after a
 * fault.
 *
 *   RUN/ranks.jsonl   {"event": "start", "time", "after_step", "ranks": [...]} for every start,
 *                     {"event": "fault", "time", "kind", "rank", "chip", "phase", "step",
 *                      "operator", "message"} for every rank that was lost
 *
 * Which ranks made which steps can be read from it, and so a run can be repeated to the same bits.
 * Where run.on_fault goes on without a rank, its chip is opened from time to time in a process of
 * its own (run.retake_after); once that works the run saves, and begins anew with all of them.
 *
 * A fault is a rank that died, stalled or was stuck, and a chip that failed; everything else ends
 * the run as it would end that of one rank. After three faults without a checkpoint between them
 * the run ends whatever run.on_fault says.
 *
 * Floor:  train. May use comms, chip, base.
 * Time:   called before this process has touched a driver or started a thread. Blocks until the run
 *         is finished or stopped.
 * Errors: those of train/run.h; MZ_ETIMEOUT and MZ_ECHIP for a fault that ends the run, everything
 *         up to the newest checkpoint saved. */
#ifndef MZ_TRAIN_RANKS_H
#define MZ_TRAIN_RANKS_H

#include "comms/local/local.h"
#include "train/run.h"

typedef struct mz_ranks_options {
    mz_chip_options chip;        /* of every rank; threads 0: the processors are divided */
    const mz_train_hooks *hooks; /* stops: asked here; step: called in the process of rank 0 */
    double stall_s;              /* as in comms/local; 0: its default */
    void *user;
    void (*on_phase)(void *user, int rank, mz_phase phase, int64_t step); /* for tests, or NULL */
} mz_ranks_options;

mz_err mz_train_ranks(const mz_train_config *c, const mz_ranks_options *o);
/* This process is one of them, which mpirun or srun has started: there is no supervisor, and a
 * fault ends the run. */
mz_err mz_train_in_mpi(const mz_train_config *c, const mz_ranks_options *o);

/* What every rank books: body is called in rank 0's process with [n_ranks] plans. */
typedef mz_err mz_plans_fn(void *user, const mz_train_bytes *plans);
mz_err mz_train_plan_ranks(const mz_train_config *c, const mz_chip_options *chip, mz_plans_fn *fn,
                           void *user);

#endif
