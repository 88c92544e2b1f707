/* SPDX-License-Identifier: Apache-2.0 */
/* app/shell.h - command lines that a person can paste into a shell. Floor: app. */
#ifndef MZ_APP_SHELL_H
#define MZ_APP_SHELL_H

#include "app/cli.h"
#include "base/str.h"

/* The word as any POSIX shell reads it back: in single quotes where it needs some. */
mz_err mz_shell_word(mz_str *s, const char *word);
/* What was typed: program, command, and the options that were given, on one line. */
mz_err mz_shell_again(mz_str *s, const mz_cli *cli);

#endif
