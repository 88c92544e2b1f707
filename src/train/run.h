/* SPDX-License-Identifier: Apache-2.0 */
/* train/run.h - a training run from its folder and back: started, gone on with, stopped.
 *
 *   RUN/train.yaml     the resolved configuration     RUN/lock    held while a process works on it
 *   RUN/log.jsonl      one object a step              RUN/checkpoints/
 *   RUN/resumed.jsonl  {"after_step", "time"} each time it went on
 *   RUN/tensorboard/   the log once more, as TensorBoard reads it (run.tensorboard)
 *
 * Where the folder holds a run it goes on from the newest whole checkpoint; otherwise it begins. A
 * configuration that would make another run of it is refused.
 *
 * Floor:  train. May use everything below.
 * Time:   blocks until the run is finished or stopped.
 * Errors: MZ_EINTR    stopped by the hook or run.stop_after; everything is saved
 *         MZ_EBUSY    another process works on the folder
 *         MZ_ENUMERIC guard.most steps in a row were skipped; everything is saved
 *         MZ_ECONFIG  the folder holds another run, or the configuration does not fit the network
 *         and what model, data and checkpoint have. */
#ifndef MZ_TRAIN_RUN_H
#define MZ_TRAIN_RUN_H

#include "train/config.h"
#include "train/runlog.h"

#include "chip/chip.h"
#include "comm/comm.h"

typedef struct mz_train_hooks {
    void *user;
    /* once the folder is the run's, in the process that holds it; NULL: not called */
    void (*begun)(void *user);
    bool (*stops)(void *user); /* asked after every step; NULL: never */
    /* of several ranks, after one was lost: whether the run ends with that whatever run.on_fault
     * says. NULL: it does not */
    bool (*gives_up)(void *user);
    /* after every step; NULL: not called. mz_log says what else there is to say. */
    void (*step)(void *user, const mz_step_record *r);
    /* where the time of the run's last operators is written at its end, as chip/profile.h has it;
     * rank N > 0 writes to NAME.rankN. NULL: nowhere */
    const char *profile;
    /* counts what the operators of this process's steps do (chip/work.h), not those of validation
     * and loading; NULL: nobody asks */
    mz_work *work;
} mz_train_hooks;

mz_err mz_train_run(const mz_train_config *c, mz_device *device, const mz_train_hooks *hooks);
/* The same as one of several ranks. The folder's claim is held by whoever started them; rank 0
 * writes, and only its hooks->step is called. */
mz_err mz_train_rank(const mz_train_config *c, mz_device *device, const mz_train_hooks *hooks,
                     mz_comm *comm);

/* What a rank books, before anything is booked. Bytes. */
typedef struct mz_train_bytes {
    size_t weights, gradients, optimizer, activations, workspace, staging, snapshot, sum;
} mz_train_bytes;
mz_err mz_train_plan(mz_train_bytes *bytes, const mz_train_config *c, mz_device *device,
                     int64_t rank);

#endif
