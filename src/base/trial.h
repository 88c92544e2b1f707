/* SPDX-License-Identifier: Apache-2.0 */
/* base/trial.h - runs a piece of somebody else's code in a process of its own first, so that one
 * that aborts, faults or hangs takes nothing else along.
 *
 * Floor:  base.
 * Time:   of one fork, and of fn; what fn opens is opened once more by who then trusts it.
 * Errors: MZ_ENOTSUP: fn did not come back; MZ_ENOMEM: no process could be made. */
#ifndef MZ_BASE_TRIAL_H
#define MZ_BASE_TRIAL_H

#include "base/err.h"

/* what: for the message, as in "the OpenCL driver". fn may open libraries and start threads; what
 * it writes to the standard streams is dropped. seconds: after which it counts as hanging. */
mz_err mz_trial(const char *what, void (*fn)(const void *arg), const void *arg, double seconds);

/* Called by fn: ends the trial as one that failed. */
_Noreturn void mz_trial_failed(void);

#endif
