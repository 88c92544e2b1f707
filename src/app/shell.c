/* SPDX-License-Identifier: Apache-2.0 */
/* app/shell.c - see shell.h. Floor: app. */
#include "app/shell.h"

#include "app/options.h"

#include <errno.h> /* program_invocation_name */
#include <string.h>

mz_err mz_shell_word(mz_str *s, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
    const size_t n = strlen(word);
    if (n > 0 && strspn(word, plain) == n) return mz_str_add(s, word, n);
    MZ_TRY(mz_str_add(s, "'", 1));
    for (const char *c = word; *c; c++)
        MZ_TRY(*c == '\'' ? mz_str_add(s, "'\\''", 4) : mz_str_add(s, c, 1));
    return mz_str_add(s, "'", 1);
}

mz_err mz_shell_again(mz_str *s, const mz_cli *cli)
{
    const mz_command *command = mz_cli_command(cli);
    const mz_option *o;
    MZ_TRY(mz_shell_word(s, program_invocation_name)); /* after `make run` it is in no PATH */
    MZ_TRY(mz_str_addf(s, " %s", command->name));
    for (int i = 0; (o = mz_option_at(command, i)); i++) {
        if (strcmp(o->name, "help") == 0) continue;
        for (int k = 0; k < mz_cli_texts(cli, o->name); k++) {
            MZ_TRY(mz_str_addf(s, " --%s", o->name));
            if (o->kind == MZ_OPTION_FLAG) continue;
            MZ_TRY(mz_str_add(s, " ", 1));
            MZ_TRY(mz_shell_word(s, mz_cli_text_at(cli, o->name, k)));
        }
    }
    return MZ_OK;
}
