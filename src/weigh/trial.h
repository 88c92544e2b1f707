/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/trial.h - runs one case on one device and keeps what is in every argument's memory after.
 * Private to weigh/. Floor: weigh. */
#ifndef MZ_WEIGH_TRIAL_H
#define MZ_WEIGH_TRIAL_H

#include "weigh/cases.h"

typedef struct mz_trial {
    unsigned char *before[MZ_ARGS_MAX], *after[MZ_ARGS_MAX]; /* whole buffers; NULL where shared */
    size_t bytes[MZ_ARGS_MAX];
    mz_support support;
} mz_trial;

/* The same call in f64, dense, without sharing: what the reference is asked. */
mz_err mz_case_for_reference(mz_case *out, const mz_case *c);
void mz_case_release_reference(mz_case *c);

/* MZ_ENOTSUP: the device lacks it (the note says why). */
mz_err mz_trial_run(mz_trial *t, mz_queue *q, const mz_case *c);
void mz_trial_clear(mz_trial *t);

/* Whether the case writes argument i in one of its passes. */
bool mz_case_writes(const mz_case *c, int i);
/* Logical element j of argument i after the call. */
double mz_trial_value(const mz_trial *t, const mz_case *c, int i, int64_t j);
/* First byte of argument i's memory that is not its own and was written, -1 if none. */
int64_t mz_trial_stray(const mz_trial *t, const mz_case *c, int i);

#endif
