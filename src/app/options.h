/* SPDX-License-Identifier: Apache-2.0 */
/* app/options.h - walking over a command's options, its own and the shared ones. Inside app/. */
#ifndef MZ_APP_OPTIONS_H
#define MZ_APP_OPTIONS_H

#include "app/cli.h"

/* Option i of the command (NULL: of none), its own first; NULL after the last. */
const mz_option *mz_option_at(const mz_command *command, int i);
const mz_option *mz_option_find(const mz_command *command, const char *name);

#endif
