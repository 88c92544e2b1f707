/* SPDX-License-Identifier: Apache-2.0 */
/* train/guard.h - whether a step is taken or skipped.
 *
 * A step whose loss or gradient norm is NaN or infinite is never taken. A finite one is skipped
 * where its loss or its norm lies above mean + sigmas * max(s, |mean| / 1000) of the last `window`
 * steps that were taken (s their standard deviation), once half the window is filled. The floor
 * under s keeps rounding in a flat curve from being a spike.
 *
 * Source: OLMo-core's skip-step optimizer (window 128, 6 sigma).
 * Floor:  train.   Owner: a plain value; it is part of a checkpoint. */
#ifndef MZ_TRAIN_GUARD_H
#define MZ_TRAIN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum { MZ_GUARD_MAX = 4096 };

typedef struct mz_spikes {
    int64_t window; /* <= MZ_GUARD_MAX */
    double sigmas;  /* 0: only NaN and infinities */
    int64_t taken;  /* steps seen by mz_spikes_took */
    int64_t skipped, in_a_row;
    double loss[MZ_GUARD_MAX], norm[MZ_GUARD_MAX]; /* rings, slot taken % window is next */
} mz_spikes;

/* NULL: take the step. Else why not, static text. */
const char *mz_spikes_judge(const mz_spikes *g, double loss, double norm);
void mz_spikes_took(mz_spikes *g, double loss, double norm);
void mz_spikes_skipped(mz_spikes *g);

#endif
