/* SPDX-License-Identifier: Apache-2.0 */
/* app/commands.h - every command of the program, each in its cmd_*.c; commands.c holds the table.
 */
#ifndef MZ_APP_COMMANDS_H
#define MZ_APP_COMMANDS_H

#include "app/cli.h"
#include "train/config.h"

extern const mz_command mz_cmd_bench;
extern const mz_command mz_cmd_chat;
extern const mz_command mz_cmd_chips;
extern const mz_command mz_cmd_chips_check;
extern const mz_command mz_cmd_chips_coverage;
extern const mz_command mz_cmd_completion;
extern const mz_command mz_cmd_config_check;
extern const mz_command mz_cmd_config_schema;
extern const mz_command mz_cmd_config_show;
extern const mz_command mz_cmd_convert;
extern const mz_command mz_cmd_data_build;
extern const mz_command mz_cmd_data_show;
extern const mz_command mz_cmd_demo;
extern const mz_command mz_cmd_doctor;
extern const mz_command mz_cmd_emu;
extern const mz_command mz_cmd_eval;
extern const mz_command mz_cmd_generate;
extern const mz_command mz_cmd_help;
extern const mz_command mz_cmd_inspect;
extern const mz_command mz_cmd_probe;
extern const mz_command mz_cmd_runs_add;
extern const mz_command mz_cmd_runs_compare;
extern const mz_command mz_cmd_runs_hash;
extern const mz_command mz_cmd_runs_list;
extern const mz_command mz_cmd_runs_move;
extern const mz_command mz_cmd_runs_names;
extern const mz_command mz_cmd_runs_plot;
extern const mz_command mz_cmd_runs_rm;
extern const mz_command mz_cmd_runs_save;
extern const mz_command mz_cmd_runs_show;
extern const mz_command mz_cmd_runs_watch;
extern const mz_command mz_cmd_template;
extern const mz_command mz_cmd_tokenizer_decode;
extern const mz_command mz_cmd_tokenizer_encode;
extern const mz_command mz_cmd_tokenizer_train;
extern const mz_command mz_cmd_train;
extern const mz_command mz_cmd_verify;
extern const mz_command mz_cmd_version;

const mz_command *const *mz_app_commands(void); /* NULL-terminated */

/* What `train`, `config` and `bench step` take: CONFIG.yaml, from argument `first` on, then
 * KEY=VALUE. In cmd_config.c. */
mz_err mz_cli_train_config(const mz_cli *cli, int first, mz_train_config *c);

#endif
