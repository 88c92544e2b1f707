/* SPDX-License-Identifier: Apache-2.0 */
/* app/commands.c - the one table of commands, in the order of the list that help shows. Floor: app.
 */
#include "app/commands.h"

static const mz_command *const COMMANDS[] = {&mz_cmd_demo,
                                             &mz_cmd_doctor,
                                             &mz_cmd_data_build,
                                             &mz_cmd_data_show,
                                             &mz_cmd_train,
                                             &mz_cmd_config_check,
                                             &mz_cmd_config_show,
                                             &mz_cmd_config_schema,
                                             &mz_cmd_runs_list,
                                             &mz_cmd_runs_show,
                                             &mz_cmd_runs_watch,
                                             &mz_cmd_runs_compare,
                                             &mz_cmd_runs_plot,
                                             &mz_cmd_runs_save,
                                             &mz_cmd_runs_move,
                                             &mz_cmd_runs_rm,
                                             &mz_cmd_runs_add,
                                             &mz_cmd_runs_names,
                                             &mz_cmd_runs_hash,
                                             &mz_cmd_generate,
                                             &mz_cmd_chat,
                                             &mz_cmd_eval,
                                             &mz_cmd_inspect,
                                             &mz_cmd_convert,
                                             &mz_cmd_verify,
                                             &mz_cmd_probe,
                                             &mz_cmd_chips,
                                             &mz_cmd_chips_check,
                                             &mz_cmd_chips_coverage,
                                             &mz_cmd_emu,
                                             &mz_cmd_tokenizer_encode,
                                             &mz_cmd_tokenizer_decode,
                                             &mz_cmd_tokenizer_train,
                                             &mz_cmd_template,
                                             &mz_cmd_bench,
                                             &mz_cmd_help,
                                             &mz_cmd_version,
                                             &mz_cmd_completion,
                                             NULL};

const mz_command *const *mz_app_commands(void)
{
    return COMMANDS;
}
