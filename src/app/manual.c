/* SPDX-License-Identifier: Apache-2.0 */
/* app/manual.c - man pages out of the table of commands, in the man macros that man-db and mandoc
 * both read. Floor: app. */
#include "app/manual.h"

#include "app/options.h"

#include <stdio.h>
#include <string.h>

void mz_manual_name(char name[64], const mz_command *command)
{
    (void)snprintf(name, 64, "mizan%s%s", command ? "-" : "", command ? command->name : "");
    for (char *c = name; *c; c++)
        if (*c == ' ') *c = '-';
}

/* Text of a line: a hyphen that is typed stays one, and nothing is taken for a macro. */
static void put(mz_sheet *s, const char *text)
{
    if (*text == '.' || *text == '\'') mz_sheet_add(s, "\\&");
    for (; *text; text++) {
        const char one[2] = {*text, '\0'};
        mz_sheet_add(s, *text == '\\' ? "\\e" : *text == '-' ? "\\-" : one);
    }
}

/* A sentence a line, as troff wants it: it knows then where sentences end. */
static void sentences(mz_sheet *s, const char *text)
{
    while (*text) {
        char one[512];
        const char *end = strstr(text, ". ");
        const int n = end ? (int)(end - text) + 1 : (int)strlen(text);
        (void)snprintf(one, sizeof one, "%.*s", n, text);
        put(s, one);
        mz_sheet_add(s, "\n");
        text += n;
        text += strspn(text, " ");
    }
}

/* Running text; lines that begin with a blank stand as they are. */
static void paragraph(mz_sheet *s, const char *text)
{
    bool as_is = false, is_new = true;
    while (*text) {
        char line[512];
        const int n = (int)strcspn(text, "\n");
        (void)snprintf(line, sizeof line, "%.*s", n, text);
        text += n + (text[n] == '\n');
        if ((line[0] == ' ') != as_is && line[0]) {
            as_is = !as_is;
            mz_sheet_add(s, !as_is ? ".fi\n" : is_new ? ".nf\n" : ".PP\n.nf\n");
        }
        if (line[0] == '\0') {
            if (!as_is && *text && *text != ' ') mz_sheet_add(s, ".PP\n");
            if (as_is && *text && *text != ' ') mz_sheet_add(s, ".fi\n.PP\n"), as_is = false;
        } else if (as_is) { /* two blanks less: the page is indented already */
            put(s, line + (line[0] == ' ' && line[1] == ' ' ? 2 : 0));
            mz_sheet_add(s, "\n");
        } else
            sentences(s, line);
        is_new = false;
    }
    if (as_is) mz_sheet_add(s, ".fi\n");
}

static void option(mz_sheet *s, const mz_option *o)
{
    mz_sheet_add(s, ".TP\n\\fB\\-\\-");
    put(s, o->name);
    mz_sheet_add(s, "\\fR");
    if (o->kind != MZ_OPTION_FLAG) {
        mz_sheet_add(s, " \\fI");
        put(s, o->choices ? o->choices : o->value ? o->value : "VALUE");
        mz_sheet_addf(s, "\\fR%s", o->many ? " ..." : "");
    }
    mz_sheet_add(s, "\n");
    put(s, o->help);
    if (o->many) mz_sheet_add(s, " (may be given more than once)");
    mz_sheet_add(s, "\n");
}

static const char EXIT_STATUS[] =
    ".SH EXIT STATUS\n"
    ".TP\n.B 0\nDone.\n"
    ".TP\n.B 1\nA mistake in Mizan itself.\n"
    ".TP\n.B 2\nThe command line is wrong.\n"
    ".TP\n.B 69\nThis chip, build or format cannot.\n"
    ".TP\n.B 74\nA file or the network could not be read or written.\n"
    ".TP\n.B 75\nInterrupted, or try again; the state is saved.\n"
    ".TP\n.B 76\nBad data: a damaged or hostile file.\n"
    ".TP\n.B 77\nNumbers: NaN, divergence, a failed check.\n"
    ".TP\n.B 78\nThe configuration is wrong.\n";

static const char ENVIRONMENT[] =
    ".SH ENVIRONMENT\n"
    "An option on the command line wins over the variable.\n"
    ".TP\n.B MIZAN_CHIP\nThe chip to use, as \\fB\\-\\-chip\\fR.\n"
    ".TP\n.B MIZAN_THREADS\nThreads of the cpu chip, as \\fB\\-\\-threads\\fR.\n"
    ".TP\n.B MIZAN_ISA\nInstruction set of the cpu chip, as \\fB\\-\\-isa\\fR.\n"
    ".TP\n.B MIZAN_DRIVER_PATH\nWhere to look for vendor libraries first.\n"
    ".TP\n.B MIZAN_DEVICE_WAIT\nSeconds that a wait for a device may take (ascend: 600), after "
    "which it counts as hanging.\n"
    ".TP\n.B MIZAN_SYNC_EACH\nOther than 0: wait after every operator, to find a faulty one.\n"
    ".TP\n.B NO_COLOR\nSet to anything: no colour.\n";

static void examples(mz_sheet *s, const char *lines)
{
    mz_sheet_add(s, ".SH EXAMPLES\n.nf\n");
    for (; *lines; lines += strcspn(lines, "\n"), lines += *lines == '\n') {
        char line[512];
        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(lines, "\n"), lines);
        put(s, line);
        mz_sheet_add(s, "\n");
    }
    mz_sheet_add(s, ".fi\n");
}

static void head(mz_sheet *s, const mz_command *command, const char *summary)
{
    char name[64];
    mz_manual_name(name, command);
    mz_sheet_add(s, ".\\\" SPDX-License-Identifier: Apache-2.0\n"
                    ".\\\" Made by `mizan help --man`; change the table of commands instead.\n"
                    ".TH \"");
    for (const char *c = name; *c; c++) {
        const char upper = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        mz_sheet_addf(s, "%s%c", upper == '-' ? "\\" : "", upper);
    }
    mz_sheet_addf(s, "\" 1 %s \"Mizan %s\" \"Mizan\"\n.SH NAME\n", MIZAN_DATE, MIZAN_VERSION);
    put(s, name);
    mz_sheet_add(s, " \\- ");
    put(s, summary);
    mz_sheet_add(s, "\n");
}

static void command_page(mz_sheet *s, const mz_command *c)
{
    head(s, c, c->summary);
    mz_sheet_add(s, ".SH SYNOPSIS\n.B mizan ");
    put(s, c->name);
    mz_sheet_add(s, "\n");
    if (c->arguments && c->arguments[0]) {
        mz_sheet_add(s, ".I ");
        put(s, c->arguments);
        mz_sheet_add(s, "\n");
    }
    mz_sheet_add(s, ".RI [ OPTIONS ]\n.SH DESCRIPTION\n");
    paragraph(s, c->description ? c->description : c->summary);
    mz_sheet_add(s, ".SH OPTIONS\n");
    const mz_option *o;
    for (int i = 0; (o = mz_option_at(c, i)); i++) option(s, o);
    if (c->examples) examples(s, c->examples);
    if (c->files) {
        mz_sheet_add(s, ".SH FILES\n");
        paragraph(s, c->files);
    }
    mz_sheet_add(s, EXIT_STATUS);
    if (c->common & MZ_COMMON_CHIP) mz_sheet_add(s, ENVIRONMENT);
    mz_sheet_add(s, ".SH SEE ALSO\n.BR mizan (1)\n");
}

void mz_manual_page(mz_sheet *s, const mz_command *const *commands, const mz_command *command)
{
    if (command) {
        command_page(s, command);
        return;
    }
    head(s, NULL, "trains, distils and serves language models on unlike chips");
    mz_sheet_add(
        s, ".SH SYNOPSIS\n.B mizan\n.I COMMAND\n.RI [ ARGUMENTS ]\n.RI [ OPTIONS ]\n"
           ".SH DESCRIPTION\n"
           "Every chip is a table of operators, and every operator of every chip is held\n"
           "against a slow reference in double precision.\n"
           "Data goes to standard output, talk to standard error.\n"
           "With \\fB\\-\\-json\\fR data is JSON, and a failure is the last line of standard\n"
           "error as JSON too.\n"
           ".SH COMMANDS\n");
    for (int i = 0; commands[i]; i++) {
        mz_sheet_add(s, ".TP\n.B ");
        put(s, commands[i]->name);
        mz_sheet_add(s, "\n");
        put(s, commands[i]->summary);
        mz_sheet_add(s, "\n");
    }
    for (const mz_topic *t = mz_topics; t->name; t++) {
        mz_sheet_add(s, ".SH ");
        for (const char *c = t->name; *c; c++) mz_sheet_addf(s, "%c", *c - 'a' + 'A');
        mz_sheet_add(s, "\n");
        paragraph(s, t->text);
    }
    examples(s, "mizan demo\nmizan chips\nmizan help files\n"
                "mizan generate MODEL --prompt \"Once upon a time\"\n"
                "mizan completion bash > ~/.local/share/bash-completion/completions/mizan");
    mz_sheet_add(s, EXIT_STATUS);
    mz_sheet_add(s, ENVIRONMENT);
    mz_sheet_add(s, ".SH SEE ALSO\n");
    for (int i = 0; commands[i]; i++) {
        char name[64];
        mz_manual_name(name, commands[i]);
        mz_sheet_add(s, ".BR ");
        put(s, name);
        mz_sheet_addf(s, " (1)%s\n", commands[i + 1] ? "," : "");
    }
}
