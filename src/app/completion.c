/* SPDX-License-Identifier: Apache-2.0 */
/* app/completion.c - completions for bash, zsh and fish out of the table of commands. Floor: app.
 *
 * Each shell gets a script that needs nothing but the shell: names, options and fixed values stand
 * in it. bash cuts the line at ':' and '=' too; its script joins such words again, and gives back
 * what follows the cut. */
#include "app/completion.h"

#include "app/manual.h"

#include "app/options.h"

#include <string.h>

mz_value_kind mz_value_of_option(const mz_option *o)
{
    if (o->kind != MZ_OPTION_TEXT || o->choices || !o->value) return MZ_VALUE_OTHER;
    if (strcmp(o->name, "chip") == 0) return MZ_VALUE_CHIP;
    if (strcmp(o->value, "DIR") == 0) return MZ_VALUE_FOLDER;
    static const char *const files[] = {"FILE", "PATH", "SRC", "M", "RUN", "MODEL"};
    for (int i = 0; i < MZ_COUNT(files); i++)
        if (strcmp(o->value, files[i]) == 0) return MZ_VALUE_FILE;
    return strchr(o->value, '.') ? MZ_VALUE_FILE : MZ_VALUE_OTHER; /* "IN.safetensors" */
}

mz_value_kind mz_value_of_arguments(const mz_command *command)
{
    const char *a = command->arguments;
    if (!a || !a[0]) return MZ_VALUE_OTHER;
    if (strstr(a, "COMMAND")) return MZ_VALUE_COMMAND;
    if (strchr(a, '|')) return MZ_VALUE_OTHER;
    if (strcmp(a, "CHIP") == 0) return MZ_VALUE_CHIP;
    if (mz_str_starts(a, "RUN")) return MZ_VALUE_RUN;
    if (mz_str_starts(a, "DIR") || strcmp(a, "[DIR]") == 0) return MZ_VALUE_FOLDER;
    return MZ_VALUE_FILE;
}

void mz_complete_choices(mz_sheet *s, const char *choices)
{
    for (; *choices; choices++) mz_sheet_addf(s, "%c", *choices == '|' ? ' ' : *choices);
}

/* The first words of all commands, each once; `after`: the second words of those that begin so. */
static void add_words(mz_sheet *s, const mz_command *const *commands, const char *after)
{
    const char *gap = "";
    for (int i = 0; commands[i]; i++) {
        const char *name = commands[i]->name;
        size_t n = strcspn(name, " ");
        if (after && !(strlen(after) == n && memcmp(after, name, n) == 0 && name[n])) continue;
        if (after) name += n + 1, n = strlen(name);
        bool is_known = false;
        for (int k = 0; k < i && !after; k++)
            is_known |=
                strcspn(commands[k]->name, " ") == n && memcmp(commands[k]->name, name, n) == 0;
        if (is_known) continue;
        mz_sheet_addf(s, "%s%.*s", gap, (int)n, name);
        gap = " ";
    }
}

static void add_topics(mz_sheet *s)
{
    for (const mz_topic *t = mz_topics; t->name; t++) mz_sheet_addf(s, " %s", t->name);
}

/* Whether `word` begins a command of two words, for the first command that does. */
static bool begins_group(const mz_command *const *commands, int i)
{
    const size_t n = strcspn(commands[i]->name, " ");
    if (commands[i]->name[n] == '\0') return false;
    for (int k = 0; k < i; k++)
        if (strncmp(commands[k]->name, commands[i]->name, n + 1) == 0) return false;
    return true;
}

/* "a b" of all commands of two words, or all of one word, as the pattern of a `case`. */
static void add_pattern(mz_sheet *s, const mz_command *const *commands, bool of_two)
{
    const char *gap = "";
    for (int i = 0; commands[i]; i++) {
        if ((strchr(commands[i]->name, ' ') != NULL) != of_two) continue;
        mz_sheet_addf(s, "%s'%s'", gap, commands[i]->name);
        gap = "|";
    }
}

/* ---- bash ---- */

static void bash_values(mz_sheet *s, const mz_command *c)
{
    const mz_option *o;
    mz_sheet_addf(s, "    '%s')\n        case $prev in\n", c->name);
    for (int i = 0; (o = mz_option_at(c, i)); i++) {
        if (o->kind == MZ_OPTION_FLAG) continue;
        const mz_value_kind kind = mz_value_of_option(o);
        mz_sheet_addf(s, "        --%s) ", o->name);
        if (o->choices) {
            mz_sheet_add(s, "words='");
            mz_complete_choices(s, o->choices);
            mz_sheet_add(s, "'; kind=words");
        } else
            mz_sheet_add(s, kind == MZ_VALUE_FILE     ? "kind='file'"
                            : kind == MZ_VALUE_FOLDER ? "kind=folder"
                            : kind == MZ_VALUE_CHIP   ? "words=$chips; kind=words"
                                                      : "kind=none");
        mz_sheet_add(s, " ;;\n");
    }
    mz_sheet_add(s, "        esac\n        options='");
    for (int i = 0; (o = mz_option_at(c, i)); i++)
        mz_sheet_addf(s, "%s--%s", i ? " " : "", o->name);
    mz_sheet_add(s, "'\n        rest=");
    const mz_value_kind kind = mz_value_of_arguments(c);
    if (mz_complete_has_keys(c))
        mz_sheet_add(s, "KEYS");
    else if (kind == MZ_VALUE_CHIP || kind == MZ_VALUE_COMMAND)
        mz_sheet_add(s, kind == MZ_VALUE_CHIP ? "$chips" : "\"$commands $topics\"");
    else if (c->arguments && strchr(c->arguments, '|')) {
        mz_sheet_add(s, "'");
        mz_complete_choices(s, c->arguments);
        mz_sheet_add(s, "'");
    } else
        mz_sheet_add(s, kind == MZ_VALUE_FILE     ? "FILE"
                        : kind == MZ_VALUE_FOLDER ? "DIR"
                        : kind == MZ_VALUE_RUN    ? "RUN"
                                                  : "''");
    mz_sheet_add(s, " ;;\n");
}

/* The line as it was typed: bash has cut it at ':' and '=', which are words of their own then. */
static const char BASH_LINE[] =
    "    local -a line=()\n"
    "    local i word glue='' cur prev last cut\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ -n $glue || ($word == [:=]* && ${#line[@]} -gt 1) ]]; then\n"
    "            line[${#line[@]} - 1]+=$word\n"
    "        else\n            line+=(\"$word\")\n        fi\n"
    "        glue=''\n"
    "        [[ $word != *[:=] ]] || glue=1\n"
    "    done\n"
    "    cur=${line[${#line[@]} - 1]} prev=${line[${#line[@]} - 2]}\n"
    "    last=${COMP_WORDS[COMP_CWORD]}\n"
    "    [[ $last != [:=] ]] || last=''\n"
    "    cut=${cur%\"$last\"}\n";

/* What is given for the word that stands last. `seconds` is set where a group's name stands. */
static const char BASH_WORDS[] =
    "    if [[ -z $kind && $cur == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
    "        return\n    fi\n"
    "    if [[ -z $kind ]]; then\n"
    "        case $rest in\n"
    "        FILE) kind='file' ;;\n"
    "        DIR) kind=folder ;;\n"
    "        RUN) kind=run ;;\n"
    "        KEYS)\n"
    "            kind='file'\n"
    "            for word in \"${line[@]:first:${#line[@]} - first - 1}\"; do\n"
    "                [[ $word == -* ]] || kind=keys\n"
    "            done ;;\n"
    "        *) kind=words words=$rest ;;\n"
    "        esac\n    fi\n"
    "    case $kind in\n"
    "    file)\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "    folder)\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
    "    run)\n" /* compgen -W would run what stands in a name */
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
    "        while IFS= read -r word; do\n"
    "            [[ $word != \"$cur\"* ]] || COMPREPLY+=(\"$word\")\n"
    "        done < <(mizan runs names 2>/dev/null) ;;\n"
    "    keys) _mizan_key \"$cur\" ;;\n"
    "    words) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
    "    esac\n"
    "    for i in \"${!COMPREPLY[@]}\"; do\n"
    "        COMPREPLY[i]=${COMPREPLY[i]#\"$cut\"}\n"
    "    done\n"
    "}\ncomplete -F _mizan mizan\n";

static void bash_groups(mz_sheet *s, const mz_command *const *commands)
{
    mz_sheet_add(s, "    case ${line[1]} in\n");
    for (int i = 0; commands[i]; i++) {
        if (!begins_group(commands, i)) continue;
        const int n = (int)strcspn(commands[i]->name, " ");
        char first[64];
        (void)memcpy(first, commands[i]->name, (size_t)n);
        first[n] = '\0';
        mz_sheet_addf(s, "    '%s') seconds='", first);
        add_words(s, commands, first);
        mz_sheet_add(s, "' ;;\n");
    }
    mz_sheet_add(s, "    esac\n    case \"${line[1]} ${line[2]}\" in\n    ");
    add_pattern(s, commands, true);
    mz_sheet_add(s, ") command=\"${line[1]} ${line[2]}\" first=3 ;;\n    *)\n"
                    "        case ${line[1]} in\n        ");
    add_pattern(s, commands, false);
    mz_sheet_add(s, ") command=${line[1]} ;;\n        esac ;;\n    esac\n");
}

static void bash(mz_sheet *s, const mz_command *const *commands)
{
    mz_sheet_add(s, "# SPDX-License-Identifier: Apache-2.0\n"
                    "# bash completion of mizan, made by `mizan completion bash`\n"
                    "# shellcheck shell=bash disable=SC2034,SC2207\n");
    mz_complete_keys_bash(s);
    mz_sheet_add(s, "_mizan()\n{\n");
    mz_sheet_add(s, BASH_LINE);
    mz_sheet_add(s, "    local command='' kind='' words='' options='' rest='' seconds='' first=2\n"
                    "    local chips='");
    mz_complete_chips(s, ":");
    mz_sheet_add(s, "'\n    local commands='");
    add_words(s, commands, NULL);
    mz_sheet_add(s, "'\n    local topics='");
    add_topics(s);
    mz_sheet_add(s, "'\n");
    bash_groups(s, commands);
    mz_sheet_add(s, "    COMPREPLY=()\n"
                    "    if [[ ${#line[@]} -eq 2 ]]; then\n"
                    "        COMPREPLY=($(compgen -W \"$commands --help --version\" -- \"$cur\"))\n"
                    "        return\n    fi\n"
                    "    if [[ ${#line[@]} -eq 3 && -n $seconds && $cur != -* ]]; then\n"
                    "        COMPREPLY=($(compgen -W \"$seconds\" -- \"$cur\"))\n"
                    "        return\n    fi\n    case $command in\n");
    for (int i = 0; commands[i]; i++) bash_values(s, commands[i]);
    mz_sheet_add(s, "    esac\n");
    mz_sheet_add(s, BASH_WORDS);
}

/* ---- zsh ---- */

void mz_complete_zsh_text(mz_sheet *s, const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            mz_sheet_add(s, "'\\''");
        else
            mz_sheet_addf(s, "%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
}

static void zsh_action(mz_sheet *s, mz_value_kind kind, const char *choices)
{
    if (choices) {
        mz_sheet_add(s, "(");
        mz_complete_choices(s, choices);
        mz_sheet_add(s, ")");
    } else if (kind == MZ_VALUE_CHIP) {
        mz_sheet_add(s, "(");
        mz_complete_chips(s, "\\:");
        mz_sheet_add(s, ")");
    } else
        mz_sheet_add(s, kind == MZ_VALUE_FILE      ? "_files"
                        : kind == MZ_VALUE_FOLDER  ? "_files -/"
                        : kind == MZ_VALUE_COMMAND ? "_mizan_words"
                        : kind == MZ_VALUE_RUN     ? "_mizan_runs"
                                                   : " ");
}

static void zsh_command(mz_sheet *s, const mz_command *c)
{
    const mz_option *o;
    mz_sheet_addf(s, "    '%s')\n        _arguments", c->name);
    for (int i = 0; (o = mz_option_at(c, i)); i++) {
        mz_sheet_addf(s, " \\\n            '%s--%s[", o->many ? "*" : "", o->name);
        mz_complete_zsh_text(s, o->help);
        mz_sheet_add(s, "]");
        if (o->kind != MZ_OPTION_FLAG) {
            mz_sheet_add(s, ":");
            mz_complete_zsh_text(s, o->value ? o->value : "value");
            mz_sheet_add(s, ":");
            zsh_action(s, mz_value_of_option(o), o->choices);
        }
        mz_sheet_add(s, "'");
    }
    if (mz_complete_has_keys(c)) {
        mz_sheet_add(s, " \\\n            '1:CONFIG.yaml:_files'"
                        " \\\n            '*:KEY=VALUE:_mizan_key'");
    } else if (c->arguments && c->arguments[0]) {
        mz_sheet_add(s, " \\\n            '*:");
        mz_complete_zsh_text(s, c->arguments);
        mz_sheet_add(s, ":");
        zsh_action(s, mz_value_of_arguments(c),
                   strchr(c->arguments, '|') && !strstr(c->arguments, "COMMAND") ? c->arguments
                                                                                 : NULL);
        mz_sheet_add(s, "'");
    }
    mz_sheet_add(s, " ;;\n");
}

/* 'word:summary' of each first word, or of each second word after `after`. */
static void zsh_described(mz_sheet *s, const mz_command *const *commands, const char *after)
{
    const size_t n = after ? strlen(after) : 0;
    for (int i = 0; commands[i]; i++) {
        const char *name = commands[i]->name;
        const char *second = strchr(name, ' ');
        if (after && !(second && (size_t)(second - name) == n && memcmp(name, after, n) == 0))
            continue;
        if (!after && second && !begins_group(commands, i)) continue;
        mz_sheet_add(s, " \\\n            '");
        if (!after && second)
            mz_sheet_addf(s, "%.*s:", (int)(second - name), name);
        else {
            mz_sheet_addf(s, "%s:", after ? second + 1 : name);
            mz_complete_zsh_text(s, commands[i]->summary);
        }
        mz_sheet_add(s, "'");
    }
}

static void zsh(mz_sheet *s, const mz_command *const *commands)
{
    mz_sheet_add(s, "#compdef mizan\n"
                    "# SPDX-License-Identifier: Apache-2.0\n"
                    "# zsh completion of mizan, made by `mizan completion zsh`\n");
    mz_complete_keys_zsh(s);
    mz_sheet_add(s, "_mizan_words() {\n    local -a first=(");
    add_words(s, commands, NULL);
    add_topics(s);
    mz_sheet_add(s, ")\n    compadd -a first\n}\n"
                    "_mizan_runs() {\n"
                    "    local -a runs=(${(f)\"$(mizan runs names 2>/dev/null)\"})\n"
                    "    _alternative 'runs:run:compadd -a runs' 'folders:folder:_files -/'\n}\n"
                    "_mizan() {\n    local -a list\n    local command=\n"
                    "    if (( CURRENT == 2 )); then\n        list=(");
    zsh_described(s, commands, NULL);
    mz_sheet_add(s, ")\n        _describe command list\n"
                    "        compadd -- --help --version\n        return\n    fi\n"
                    "    if (( CURRENT == 3 )) && [[ $words[3] != -* ]]; then\n"
                    "        case $words[2] in\n");
    for (int i = 0; commands[i]; i++) {
        if (!begins_group(commands, i)) continue;
        const int n = (int)strcspn(commands[i]->name, " ");
        char first[64];
        (void)memcpy(first, commands[i]->name, (size_t)n);
        first[n] = '\0';
        mz_sheet_addf(s, "        '%s') list=(", first);
        zsh_described(s, commands, first);
        mz_sheet_add(s, ")\n            _describe command list\n            return ;;\n");
    }
    mz_sheet_add(s, "        esac\n    fi\n    case \"$words[2] $words[3]\" in\n    ");
    add_pattern(s, commands, true);
    mz_sheet_add(s, ")\n        command=\"$words[2] $words[3]\"\n"
                    "        shift 2 words; (( CURRENT -= 2 )) ;;\n"
                    "    *)\n        command=$words[2]\n"
                    "        shift words; (( CURRENT -= 1 )) ;;\n"
                    "    esac\n    case $command in\n");
    for (int i = 0; commands[i]; i++) zsh_command(s, commands[i]);
    mz_sheet_add(s, "    esac\n}\n"
                    "if [ \"$funcstack[1]\" = _mizan ]; then\n    _mizan \"$@\"\nelse\n"
                    "    compdef _mizan mizan\nfi\n");
}

/* ---- fish ---- */

void mz_complete_fish_text(mz_sheet *s, const char *text)
{
    mz_sheet_add(s, "'");
    mz_sheet_escape(s, text, "'\\", "\\");
    mz_sheet_add(s, "'");
}

static void fish_values(mz_sheet *s, mz_value_kind kind, const char *choices)
{
    if (choices || kind == MZ_VALUE_CHIP) {
        mz_sheet_add(s, " -x -a '");
        if (choices)
            mz_complete_choices(s, choices);
        else
            mz_complete_chips(s, ":");
        mz_sheet_add(s, "'");
    } else
        mz_sheet_add(s, kind == MZ_VALUE_FILE     ? " -r -F"
                        : kind == MZ_VALUE_FOLDER ? " -x -a '(__fish_complete_directories)'"
                        : kind == MZ_VALUE_RUN
                            ? " -x -a '(mizan runs names 2>/dev/null; __fish_complete_directories)'"
                            : " -x");
}

static void fish_command(mz_sheet *s, const mz_command *c)
{
    const mz_option *o;
    for (int i = 0; (o = mz_option_at(c, i)); i++) {
        mz_sheet_addf(s, "complete -c mizan -n '__mizan_at \"%s\"' -l %s", c->name, o->name);
        if (o->kind != MZ_OPTION_FLAG) fish_values(s, mz_value_of_option(o), o->choices);
        mz_sheet_add(s, " -d ");
        mz_complete_fish_text(s, o->help);
        mz_sheet_add(s, "\n");
    }
    const mz_value_kind kind = mz_value_of_arguments(c);
    const bool is_list = c->arguments && strchr(c->arguments, '|') && kind != MZ_VALUE_COMMAND;
    if (!is_list && kind == MZ_VALUE_OTHER) return;
    if (mz_complete_has_keys(c)) /* behind the words of the command and the file */
        mz_sheet_addf(s,
                      "complete -c mizan -n '__mizan_at \"%s\"; and __mizan_more %d' -a "
                      "'(__mizan_keys)'\n",
                      c->name, strchr(c->name, ' ') ? 3 : 2);
    mz_sheet_addf(s, "complete -c mizan -n '__mizan_at \"%s\"'", c->name);
    if (kind == MZ_VALUE_COMMAND)
        mz_sheet_add(s, " -a '$__mizan_first $__mizan_topics'\n");
    else if (kind == MZ_VALUE_FILE)
        mz_sheet_add(s, " -F\n");
    else {
        fish_values(s, kind, is_list ? c->arguments : NULL);
        mz_sheet_add(s, "\n");
    }
}

static void fish(mz_sheet *s, const mz_command *const *commands)
{
    mz_sheet_add(s, "# SPDX-License-Identifier: Apache-2.0\n"
                    "# fish completion of mizan, made by `mizan completion fish`\n"
                    "set -g __mizan_first ");
    add_words(s, commands, NULL);
    mz_sheet_add(s, "\nset -g __mizan_topics");
    add_topics(s);
    mz_sheet_add(s, "\n");
    mz_complete_keys_fish(s);
    mz_sheet_add(s, "# Which command stands on the line, the longest name that fits.\n"
                    "function __mizan_at\n"
                    "    set -l words (commandline -opc)\n"
                    "    set -l two \"$words[2] $words[3]\"\n"
                    "    set -l command $words[2]\n"
                    "    contains -- $two");
    for (int i = 0; commands[i]; i++)
        if (strchr(commands[i]->name, ' ')) mz_sheet_addf(s, " '%s'", commands[i]->name);
    mz_sheet_add(s, "; and set command $two\n"
                    "    test \"$command\" = \"$argv[1]\"\nend\n"
                    "function __mizan_words\n    test (count (commandline -opc)) -eq $argv[1]\n"
                    "end\n"
                    "function __mizan_group\n    set -l words (commandline -opc)\n"
                    "    test (count $words) -eq 2; and test \"$words[2]\" = \"$argv[1]\"\nend\n"
                    "complete -c mizan -f\n"
                    "complete -c mizan -n '__mizan_words 1' -l version -d 'show the version'\n"
                    "complete -c mizan -n '__mizan_words 1' -l help -d 'list the commands'\n");
    for (int i = 0; commands[i]; i++) {
        const char *name = commands[i]->name, *second = strchr(name, ' ');
        const int n = (int)strcspn(name, " ");
        if (!second || begins_group(commands, i))
            mz_sheet_addf(s, "complete -c mizan -n '__mizan_words 1' -a %.*s", n, name);
        if (!second) {
            mz_sheet_add(s, " -d ");
            mz_complete_fish_text(s, commands[i]->summary);
        }
        if (!second || begins_group(commands, i)) mz_sheet_add(s, "\n");
        if (!second) continue;
        mz_sheet_addf(s, "complete -c mizan -n '__mizan_group %.*s' -a %s -d ", n, name,
                      second + 1);
        mz_complete_fish_text(s, commands[i]->summary);
        mz_sheet_add(s, "\n");
    }
    for (int i = 0; commands[i]; i++) fish_command(s, commands[i]);
}

void mz_completion(mz_sheet *s, const mz_command *const *commands, const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        bash(s, commands);
    else if (strcmp(shell, "zsh") == 0)
        zsh(s, commands);
    else
        fish(s, commands);
}
