/* SPDX-License-Identifier: Apache-2.0 */
/* comms/local/local.h - the ranks of a run as processes of one machine, and the one that watches
 * them.
 *
 * mz_local_run forks one process a rank and becomes their supervisor. It is called before this
 * process has touched a driver or started a thread, and it touches none itself: so it can always
 * end a rank that hangs, and start ranks anew. What the ranks share is one mapping that they
 * inherit from it: a ring of bytes for each ordered pair, and a seat for each rank with what it
 * last said.
 *
 *   crash  the system says so (SIGCHLD): noticed within milliseconds
 *   stall  a thread of every rank beats ten times a second; a rank whose beats stay away for
 *          stall_s is stopped, whatever its driver does. Time in which the supervisor itself did
 *          not run (a machine that slept) does not count.
 *   stuck  the process lives, but for stuck_s it has neither called an operator nor entered a
 *          phase, and does not wait for another rank: a driver call that does not come back
 *
 * After a fault the others are told to give up: their calls fail, they end by themselves (one that
 * writes a checkpoint finishes it first), and what has not ended half a second later is ended.
 * A rank whose supervisor is gone is ended by the system.
 *
 * Floor:  comms. May use comm, chip, base.
 * Time:   mz_local_run waits for all ranks.
 * Errors: that of the rank that failed first; MZ_ETIMEOUT for a rank that died or stalled, with its
 *         chip, phase, step and last operator. */
#ifndef MZ_COMMS_LOCAL_LOCAL_H
#define MZ_COMMS_LOCAL_LOCAL_H

#include "comm/comm.h"

typedef enum mz_local_end {
    MZ_LOCAL_DONE,   /* every rank returned MZ_OK */
    MZ_LOCAL_FAILED, /* a rank returned an error */
    MZ_LOCAL_CRASH,
    MZ_LOCAL_STALL,
    MZ_LOCAL_STUCK
} mz_local_end;

typedef struct mz_local {
    int size;
    const char *const *chips;                  /* [size] for reports */
    mz_err (*body)(void *user, mz_comm *comm); /* in each rank's process */
    void *user;
    bool (*stops)(void *user); /* asked by the supervisor; true reaches mz_local_is_stopping */
    double stall_s, stuck_s;   /* 0: 3 seconds; never */
    /* In the rank's process, when it enters a phase: for tests. NULL: not called. */
    void (*on_phase)(void *user, int rank, mz_phase phase, int64_t step);
} mz_local;

typedef struct mz_local_report {
    mz_local_end end;
    int rank; /* that ended so, -1 for DONE */
    mz_phase phase;
    int64_t step;
    char op[48];        /* last operator, "" if none */
    int64_t noticed_ns; /* mz_clock_ns */
} mz_local_report;

mz_err mz_local_run(const mz_local *l, mz_local_report *report);

/* In a rank: whether the supervisor wants the run to end in order. */
bool mz_local_is_stopping(const mz_comm *comm);

#endif
