/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_name.h - which run is meant: a folder, a name, or the beginning of an id. Floor: app.
 *
 * A folder that holds a run is meant before a run of that name, a name before an id, and a run that
 * is there before those whose folder is gone. Errors: MZ_EIO there is no such run, or its folder is
 * gone; MZ_EUSAGE several are called so. */
#ifndef MZ_APP_RUN_NAME_H
#define MZ_APP_RUN_NAME_H

#include "runs/registry.h"

/* Its row, brought up to date; of a run that is in no registry, what its folder says. The folder
 * may be gone (mz_run_is_gone). */
mz_err mz_run_pick(const char *word, mz_run_entry *e);
/* Its folder, which is there. */
mz_err mz_run_find(const char *word, char path[MZ_RUN_PATH]);

#endif
