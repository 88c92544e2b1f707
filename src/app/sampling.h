/* SPDX-License-Identifier: Apache-2.0 */
/* app/sampling.h - the options of MZ_COMMON_SAMPLING, read. Floor: app. */
#ifndef MZ_APP_SAMPLING_H
#define MZ_APP_SAMPLING_H

#include "app/cli.h"
#include "infer/answer.h"

enum { MZ_STOPS_MAX = 16 };

/* absent: what counts where an option was not given. */
mz_sampling mz_cli_sampling(const mz_cli *cli, const mz_sampling *absent);
/* The texts of --stop, borrowed from the command line; MZ_EUSAGE for more than MZ_STOPS_MAX. */
mz_err mz_cli_stops(const mz_cli *cli, const char *stops[MZ_STOPS_MAX], int *n);

#endif
