/* SPDX-License-Identifier: Apache-2.0 */
/* app/manual.h - what the table of commands is besides a parser: pages and completions. Inside
 * app/. */
#ifndef MZ_APP_MANUAL_H
#define MZ_APP_MANUAL_H

#include "app/cli.h"
#include "app/sheet.h"

/* Texts of `mizan help TOPIC`, at most 80 columns wide. NULL-terminated by name. */
typedef struct mz_topic {
    const char *name, *summary, *text;
} mz_topic;
extern const mz_topic mz_topics[];

/* mizan.1 (command NULL) or mizan-COMMAND.1. */
void mz_manual_page(mz_sheet *s, const mz_command *const *commands, const mz_command *command);
/* "mizan", "mizan-data-build": the page's name without its section. */
void mz_manual_name(char name[64], const mz_command *command);

/* What a value, an argument or an option stands for, as far as a shell can complete it. */
typedef enum mz_value_kind {
    MZ_VALUE_OTHER,
    MZ_VALUE_FILE,
    MZ_VALUE_FOLDER,
    MZ_VALUE_CHIP,
    MZ_VALUE_COMMAND,
    MZ_VALUE_RUN /* a folder, or a name out of the registry */
} mz_value_kind;
mz_value_kind mz_value_of_option(const mz_option *o);
mz_value_kind mz_value_of_arguments(const mz_command *command);

/* shell: "bash", "zsh" or "fish". */
void mz_completion(mz_sheet *s, const mz_command *const *commands, const char *shell);

#endif
