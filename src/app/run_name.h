/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_name.h - which run folder is meant. Floor: app. */
#ifndef MZ_APP_RUN_NAME_H
#define MZ_APP_RUN_NAME_H

#include "runs/series.h"

/* The folder of the run that is called `word` on a command line. MZ_EIO if there is none. */
mz_err mz_run_find(const char *word, char path[MZ_RUN_PATH]);

#endif
