/* SPDX-License-Identifier: Apache-2.0 */
/* app/commands.h - every command of the program, each in its cmd_*.c; main.c holds the table. */
#ifndef MZ_APP_COMMANDS_H
#define MZ_APP_COMMANDS_H

#include "app/cli.h"

extern const mz_command mz_cmd_chips;
extern const mz_command mz_cmd_chips_check;
extern const mz_command mz_cmd_demo;
extern const mz_command mz_cmd_inspect;
extern const mz_command mz_cmd_probe;
extern const mz_command mz_cmd_tokenizer_decode;
extern const mz_command mz_cmd_tokenizer_encode;

#endif
