/* SPDX-License-Identifier: Apache-2.0 */
/* app/work.h - what a run's operators did and where, for people and programs. Floor: app. */
#ifndef MZ_APP_WORK_H
#define MZ_APP_WORK_H

#include "app/cli.h"
#include "chip/work.h"

/* Share of the operations that the device did; 1 where nothing was counted. */
double mz_work_share(const mz_work *w);
/* device_flop, host_flop, device_share, recomputed_flop, formula_flop (what the network's own
 * formula gives for the same steps), and of each operator that ran: name, device_flop, host_flop,
 * recomputed_flop, launches. NULL where there is no memory. */
json_t *mz_work_json(const mz_work *w, double formula);
/* One line to stderr where something ran on the host: how much, and which operators. */
void mz_work_tell(const mz_work *w);

#endif
