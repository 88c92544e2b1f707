/* SPDX-License-Identifier: Apache-2.0 */
/* train/shares.h - `share: auto`: how many samples of a step each chip is to make, by measuring.
 *
 * All ranks at the same time, as in the run, compute forward and backward of samples of the run
 * with its network (random weights, which nobody keeps) for a second or two: first of equal parts,
 * then of what came out. What takes the slowest rank the least time is kept:
 *
 *   RUN/shares.json   {"schema": 1, "ranks": as the configuration has them, "shares": [...],
 *                      "samples_per_s": [...]}
 *
 * It is read at every later start with these ranks, so that a run goes on to the same bits; a run
 * that is moved (`mizan runs move`) to auto shares is measured anew.
 *
 * Floor:  train. May use model, comm, chip, base.
 * Time:   blocks for some seconds, longer where a micro-batch takes long.
 * Errors: those of binding the network; MZ_ECORRUPT: a shares.json that is none. */
#ifndef MZ_TRAIN_SHARES_H
#define MZ_TRAIN_SHARES_H

#include "chip/chip.h"
#include "comm/comm.h"
#include "train/config.h"

bool mz_shares_are_auto(const mz_train_config *c);
/* Of what was measured before, if it was: sets c's shares. */
mz_err mz_shares_recall(mz_train_config *c, bool *found);
/* On every rank, each with its own device; rank 0 writes the file. Waits for the others. */
mz_err mz_shares_measure(const mz_train_config *c, mz_device *device, mz_comm *comm);
mz_err mz_shares_forget(const char *run);

/* Shares n whole samples out so that the slowest of the ranks, speed[i] samples a second, is done
 * soonest; each gets one at least. */
void mz_shares_split(int64_t *out, const double *speed, int64_t ranks, int64_t n);

#endif
