/* SPDX-License-Identifier: Apache-2.0 */
/* app/completion_keys.c - what stands behind a colon or an equals sign: profiles of chips, and keys
 * of a training configuration with their values. Floor: app. */
#include "app/completion.h"

#include "train/config.h"

#include <stdio.h>
#include <string.h>

/* ---- chips ---- */

/* "slow=SEED" is to be filled in. */
static bool is_pattern(const char *variant)
{
    while (*variant && !(*variant >= 'A' && *variant <= 'Z')) variant++;
    return *variant != '\0';
}

static void add_chip(mz_sheet *s, const mz_chip *chip, const char *before, const char *colon)
{
    mz_sheet_addf(s, "%s%s%s", s->str.len > 0 ? " " : "", before, chip->name);
    for (int k = 0; chip->variants && chip->variants[k]; k++)
        if (!is_pattern(chip->variants[k]))
            mz_sheet_addf(s, " %s%s%s%s", before, chip->name, colon, chip->variants[k]);
}

bool mz_complete_is_around(const mz_chip *chip)
{
    return chip->variants && chip->variants[0] && strcmp(chip->variants[0], "SPEC") == 0;
}

void mz_complete_chips(mz_sheet *s, const char *colon)
{
    mz_sheet all = {0};
    for (int i = 0; i < mz_chip_count(); i++) {
        const mz_chip *chip = mz_chip_get(i);
        char before[64];
        (void)snprintf(before, sizeof before, "%s%s", chip->name, colon);
        if (!mz_complete_is_around(chip)) add_chip(&all, chip, "", colon);
        for (int k = 0; mz_complete_is_around(chip) && k < mz_chip_count(); k++)
            if (!mz_complete_is_around(mz_chip_get(k)))
                add_chip(&all, mz_chip_get(k), before, colon);
    }
    mz_sheet_add(s, all.str.text ? all.str.text : "");
    if (s->err == MZ_OK) s->err = all.err;
    mz_str_clear(&all.str);
}

/* ---- keys ---- */

bool mz_complete_has_keys(const mz_command *command)
{
    return command->arguments && strstr(command->arguments, "KEY=VALUE") != NULL;
}

static bool is_path(const mz_key *key)
{
    static const char *const paths[] = {"model.path",     "model.config", "data.path",
                                        "data.tokenizer", "run.dir",      "lora.adapter",
                                        "data.validation"};
    for (int i = 0; i < MZ_COUNT(paths); i++)
        if (strcmp(paths[i], key->name) == 0) return true;
    return false;
}

/* The values that are the only ones, with '|' between them; NULL: any. */
static const char *values(const mz_key *key)
{
    return key->kind == MZ_KEY_BOOL ? "true|false" : key->choices;
}

static void add_paths(mz_sheet *s, const char *gap)
{
    bool any = false;
    for (int i = 0; i < mz_key_count(); i++) {
        if (!is_path(&mz_keys[i])) continue;
        mz_sheet_addf(s, "%s%s", any ? gap : "", mz_keys[i].name);
        any = true;
    }
}

void mz_complete_keys_bash(mz_sheet *s)
{
    mz_sheet_add(s, "_mizan_key()\n{\n    local key=${1%%=*} value=${1#*=}\n"
                    "    if [[ $1 != *=* ]]; then\n        compopt -o nospace 2>/dev/null\n"
                    "        COMPREPLY=($(compgen -W '");
    for (int i = 0; i < mz_key_count(); i++)
        mz_sheet_addf(s, "%s%s=", i ? " " : "", mz_keys[i].name);
    mz_sheet_add(s, "' -- \"$1\"))\n        return\n    fi\n    case $key in\n");
    for (int i = 0; i < mz_key_count(); i++) {
        if (!values(&mz_keys[i])) continue;
        mz_sheet_addf(s, "    %s) COMPREPLY=($(compgen -P \"$key=\" -W '", mz_keys[i].name);
        mz_complete_choices(s, values(&mz_keys[i]));
        mz_sheet_add(s, "' -- \"$value\")) ;;\n");
    }
    mz_sheet_add(s, "    ");
    add_paths(s, " | ");
    mz_sheet_add(s, ")\n        compopt -o filenames 2>/dev/null\n"
                    "        mapfile -t COMPREPLY < <(compgen -P \"$key=\" -f -- \"$value\") ;;\n"
                    "    esac\n}\n");
}

void mz_complete_keys_zsh(mz_sheet *s)
{
    mz_sheet_add(s, "_mizan_key() {\n    local -a keys=(");
    for (int i = 0; i < mz_key_count(); i++) {
        mz_sheet_addf(s, "\n        '%s:", mz_keys[i].name);
        mz_complete_zsh_text(s, mz_keys[i].help);
        mz_sheet_add(s, "'");
    }
    mz_sheet_add(s, ")\n    if compset -P '*='; then\n        case ${IPREFIX%=} in\n");
    for (int i = 0; i < mz_key_count(); i++) {
        if (!values(&mz_keys[i])) continue;
        mz_sheet_addf(s, "        %s) compadd -- ", mz_keys[i].name);
        mz_complete_choices(s, values(&mz_keys[i]));
        mz_sheet_add(s, " ;;\n");
    }
    mz_sheet_add(s, "        ");
    add_paths(s, "|");
    mz_sheet_add(s, ") _files ;;\n        esac\n    else\n"
                    "        _describe key keys -S =\n    fi\n}\n");
}

void mz_complete_keys_fish(mz_sheet *s)
{
    mz_sheet_add(s, "function __mizan_keys\n    switch (commandline -ct)\n");
    for (int i = 0; i < mz_key_count(); i++) {
        if (!values(&mz_keys[i])) continue;
        mz_sheet_addf(s, "    case '%s=*'\n        printf '%s=%%s\\n' ", mz_keys[i].name,
                      mz_keys[i].name);
        mz_complete_choices(s, values(&mz_keys[i]));
        mz_sheet_add(s, "\n");
    }
    mz_sheet_add(s, "    case '*'\n        printf '%s=\\t%s\\n'");
    for (int i = 0; i < mz_key_count(); i++) {
        mz_sheet_addf(s, " \\\n            %s ", mz_keys[i].name);
        mz_complete_fish_text(s, mz_keys[i].help);
    }
    mz_sheet_add(s, "\n    end\nend\n"
                    "function __mizan_more\n"
                    "    test (count (commandline -opc)) -gt $argv[1]\nend\n");
}
