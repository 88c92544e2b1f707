/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_help.c - `mizan help`, `version` and `completion`: what the table of commands tells.
 * Floor: app. */
#include "app/commands.h"
#include "app/manual.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>

static const mz_option OPTIONS[] = {
    {.name = "man", .help = "print a man page: of COMMAND, without one mizan.1"},
    {.name = "out",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "with --man: write every page into this folder instead"},
    {0}};

static const mz_topic *topic_of(const char *name)
{
    for (const mz_topic *t = mz_topics; t->name; t++)
        if (strcmp(t->name, name) == 0) return t;
    return NULL;
}

static mz_err unknown(const char *name)
{
    enum { NAMES_MAX = 96 };
    const char *names[NAMES_MAX];
    int n = 0;
    for (const mz_topic *t = mz_topics; t->name && n < NAMES_MAX; t++) names[n++] = t->name;
    for (const mz_command *const *c = mz_app_commands(); *c && n < NAMES_MAX; c++)
        names[n++] = (*c)->name;
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "there is no command and no topic %s", name);
    const char *near = mz_str_nearest(name, names, n);
    if (near)
        mz_note_fix("did you mean `mizan help %s`?", near);
    else
        mz_note_fix("`mizan help` lists both");
    return err;
}

static mz_err write_pages(const char *folder)
{
    const mz_command *const *commands = mz_app_commands();
    MZ_TRY(mz_file_mkdirs(folder));
    for (int i = -1; i < 0 || commands[i]; i++) {
        const mz_command *c = i < 0 ? NULL : commands[i];
        char name[64], file[80], path[1024];
        mz_sheet s = {0};
        mz_manual_name(name, c);
        (void)snprintf(file, sizeof file, "%s.1", name);
        MZ_TRY(mz_path_join(path, sizeof path, folder, file));
        mz_manual_page(&s, commands, c);
        MZ_TRY(mz_sheet_end(&s, path));
    }
    return MZ_OK;
}

static mz_err help(const mz_cli *cli)
{
    const mz_command *const *commands = mz_app_commands();
    const char *one = mz_cli_argument(cli, 0), *two = mz_cli_argument(cli, 1);
    const char *folder = mz_cli_text(cli, "out", NULL);
    char name[128];
    mz_sheet s = {0};
    if (mz_cli_flag(cli, "man") && folder) return write_pages(folder);
    if (folder) return MZ_FAIL(MZ_EUSAGE, "--out goes with --man");
    (void)snprintf(name, sizeof name, "%s%s%s", one ? one : "", two ? " " : "", two ? two : "");
    const mz_command *found = NULL;
    for (int i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0) found = commands[i];
    const mz_topic *topic = topic_of(name);
    if (one && !found && !topic) return unknown(name);
    if (mz_cli_flag(cli, "man"))
        mz_manual_page(&s, commands, found);
    else if (!one)
        mz_help_all(&s, commands);
    else if (topic) /* "chips" is both: the topic is what --help does not say */
        mz_sheet_add(&s, topic->text);
    else
        mz_help_command(&s, found);
    return mz_sheet_end(&s, NULL);
}

static mz_err version(const mz_cli *cli)
{
    if (!mz_cli_flag(cli, "json")) {
        printf("mizan %s\n", MIZAN_VERSION);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    if (json_object_set_new(o, "version", json_string(MIZAN_VERSION)) == 0 &&
        json_object_set_new(o, "compiler", json_string(__VERSION__)) == 0)
        return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err completion(const mz_cli *cli)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    const char *shell = mz_cli_argument(cli, 0);
    mz_sheet s = {0};
    for (int i = 0; i < MZ_COUNT(shells); i++) {
        if (strcmp(shell, shells[i]) != 0) continue;
        mz_completion(&s, mz_app_commands(), shell);
        return mz_sheet_end(&s, NULL);
    }
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "no completion is known for %s", shell);
    mz_note_fix("bash, zsh and fish are");
    return err;
}

const mz_command mz_cmd_help = {
    .name = "help",
    .arguments = "[TOPIC|COMMAND]",
    .most = 2,
    .summary = "about a command or a topic: chips, placement, files, runs, numbers",
    .description = "Without an argument: the commands and the topics.",
    .options = OPTIONS,
    .examples = "mizan help placement\nmizan help --man train",
    .run = help,
};

const mz_command mz_cmd_version = {
    .name = "version",
    .arguments = "",
    .summary = "which Mizan this is",
    .examples = "mizan version --json",
    .common = MZ_COMMON_JSON,
    .run = version,
};

const mz_command mz_cmd_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .least = 1,
    .most = 1,
    .summary = "print a shell's completion of commands, options and values",
    .examples = "mizan completion bash > ~/.local/share/bash-completion/completions/mizan\n"
                "mizan completion zsh > ~/.zfunc/_mizan\n"
                "mizan completion fish > ~/.config/fish/completions/mizan.fish",
    .hidden = true,
    .run = completion,
};
