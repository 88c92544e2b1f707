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

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* what: for the message, as in "the OpenCL driver". fn may open libraries and start threads; what
 * it writes to the standard streams is dropped. seconds: after which it counts as hanging. */
mz_err mz_trial(const char *what, void (*fn)(const void *arg), const void *arg, double seconds);

/* The same for those who have other things to do meanwhile. Zero: nothing is being tried. `what`
 * has to live until it is over. */
typedef struct mz_trial_run {
    pid_t pid; /* 0: none */
    const char *what;
    double seconds;
    int64_t until_ns;
    bool is_killed;
} mz_trial_run;
mz_err mz_trial_begin(mz_trial_run *t, const char *what, void (*fn)(const void *arg),
                      const void *arg, double seconds);
/* Whether it is over, and how it went; never waits. One that cannot even be killed is never over.
 */
bool mz_trial_is_over(mz_trial_run *t, mz_err *how);
void mz_trial_drop(mz_trial_run *t); /* nobody wants to know any more */

/* Called by fn: ends the trial as one that failed. */
_Noreturn void mz_trial_failed(void);

#endif
