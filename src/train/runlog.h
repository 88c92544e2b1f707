/* SPDX-License-Identifier: Apache-2.0 */
/* train/runlog.h - RUN/log.jsonl: one object a step, and no step twice.
 *
 * A run that goes on from step N drops every line after N's. Before a checkpoint the log is synced,
 * so that a checkpoint's lines are all there.
 *
 * Floor:  train. May use base.
 * Errors: MZ_EIO, MZ_ENOMEM; MZ_ECORRUPT where fewer lines are left than the steps it should hold.
 */
#ifndef MZ_TRAIN_RUNLOG_H
#define MZ_TRAIN_RUNLOG_H

#include "base/folder.h"

#include <stdbool.h>

/* step counts from 1: what step 1 logs is the loss before the first update. */
typedef struct mz_step_record {
    int64_t step, steps;     /* steps: of the whole run */
    int64_t samples, tokens; /* so far */
    double loss, lr, grad_norm, tokens_per_s, flops_per_s;
    double flop;              /* of the step, by the network's formula; not logged */
    int64_t skipped;          /* steps so far */
    const char *why_skipped;  /* NULL: the step was taken */
    double time;              /* seconds since 1970 */
    bool is_done, is_resumed; /* is_resumed: the first step since the run went on */
    size_t peak_bytes;        /* so far; logged where is_done */
    /* what was looked at after the step; not logged where NaN or NULL */
    double eval_loss;
    const char *text;
    double load; /* largest load of an expert over the mean one, of the layer where it is worst */
    double best_loss; /* so far, of step best_step; NaN: none */
    int64_t best_step;
} mz_step_record;

/* Cuts the log to `steps` lines and opens it. Where the run goes on, its last line no longer says
 * that it is done. */
mz_err mz_runlog_open(mz_appender *log, const char *path, int64_t steps, bool goes_on);
mz_err mz_runlog_put(mz_appender *log, const mz_step_record *r);

#endif
