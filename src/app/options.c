/* SPDX-License-Identifier: Apache-2.0 */
/* app/options.c - the options that commands share, and the help that the tables make. Floor: app.
 */
#include "app/options.h"

#include "app/manual.h"

#include <stdio.h>
#include <string.h>

static const mz_option HELP[] = {{.name = "help", .help = "show this and stop"}, {0}};
static const mz_option JSON[] = {
    {.name = "json", .help = "print JSON; a failure is the last line on stderr, as JSON too"}, {0}};
static const mz_option CHIP[] = {
    {.name = "chip",
     .kind = MZ_OPTION_TEXT,
     .value = "NAME",
     .help = "the chip to use (default cpu; `mizan chips` lists them)"},
    {.name = "threads",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "threads of the cpu chip (default: all processors)",
     .least = 1,
     .most = 4096},
    {.name = "isa",
     .kind = MZ_OPTION_TEXT,
     .value = "SET",
     .choices = "auto|amx|avx512|avx2|neon|portable",
     .help = "instruction set of the cpu chip (default auto)"},
    {.name = "driver-path",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "where to look for vendor libraries first"},
    {.name = "fault-plan",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE",
     .help = "faults to inject, for tests"},
    {0}};
static const mz_option RANKS[] = {
    {.name = "ranks",
     .kind = MZ_OPTION_TEXT,
     .value = "LIST",
     .help =
         "instead of --chip, a part of the layers on each of several chips: "
         "'[{chip: cpu, layers: 10}, {chip: opencl:0}]'; without layers: what the others leave"},
    {0}};
static const mz_option SEED[] = {{.name = "seed",
                                  .kind = MZ_OPTION_INT,
                                  .value = "N",
                                  .help = "of random numbers (default 0)",
                                  .most = 9e18},
                                 {0}};
static const mz_option DTYPE[] = {{.name = "dtype",
                                   .kind = MZ_OPTION_TEXT,
                                   .value = "TYPE",
                                   .choices = "f32|bf16|f16|f64",
                                   .help = "numbers to compute with"},
                                  {0}};

static const mz_option SAMPLING[] = {
    {.name = "max-tokens",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "at most so many new tokens (default 128; chat 1024)",
     .most = 1e7},
    {.name = "temperature",
     .kind = MZ_OPTION_REAL,
     .value = "X",
     .help = "0 takes the likeliest (default 0; chat: as the model wants)",
     .most = 100},
    {.name = "top-p", .kind = MZ_OPTION_REAL, .value = "X", .help = "nucleus (1 = off)", .most = 1},
    {.name = "top-k",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "the N likeliest (0 = off)",
     .most = 1e9},
    {.name = "min-p",
     .kind = MZ_OPTION_REAL,
     .value = "X",
     .help = "at least X of the likeliest's probability (0 = off)",
     .most = 1},
    {.name = "repeat-penalty",
     .kind = MZ_OPTION_REAL,
     .value = "X",
     .help = "on the last 64 tokens (1 = off)",
     .least = 0.01,
     .most = 100},
    {.name = "stop",
     .kind = MZ_OPTION_TEXT,
     .value = "TEXT",
     .help = "end before this text",
     .many = true},
    {0}};

static const struct {
    unsigned bit; /* 0: every command */
    const mz_option *options;
} SHARED[] = {{MZ_COMMON_CHIP, CHIP},
              {MZ_COMMON_RANKS, RANKS},
              {MZ_COMMON_SEED, SEED},
              {MZ_COMMON_DTYPE, DTYPE},
              {MZ_COMMON_SAMPLING, SAMPLING},
              {MZ_COMMON_JSON, JSON},
              {0, HELP}};

const mz_option *mz_option_at(const mz_command *command, int i)
{
    if (command && command->options)
        for (const mz_option *o = command->options; o->name; o++)
            if (i-- == 0) return o;
    for (int k = 0; k < MZ_COUNT(SHARED); k++) {
        const unsigned bit = SHARED[k].bit;
        if (bit != 0 && !(command && command->common & bit)) continue;
        for (const mz_option *o = SHARED[k].options; o->name; o++)
            if (i-- == 0) return o;
    }
    return NULL;
}

const mz_option *mz_option_find(const mz_command *command, const char *name)
{
    const mz_option *o;
    for (int i = 0; (o = mz_option_at(command, i)); i++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

/* ---- help ---- */

enum { COLUMNS = 79, LEFT = 24 }; /* LEFT: where the text about an option begins */

void mz_help_all(mz_sheet *s, const mz_command *const *commands)
{
    mz_sheet_add(s, "usage: mizan COMMAND [ARGUMENTS] [OPTIONS]\n\n"
                    "Trains, distils and serves language models on unlike chips.\n\n");
    int widest = 0;
    for (int i = 0; commands[i]; i++) {
        const int n = (int)strlen(commands[i]->name);
        widest = n > widest ? n : widest;
    }
    for (int i = 0; commands[i]; i++) {
        if (commands[i]->hidden) continue;
        mz_sheet_addf(s, "  %-*s  ", widest, commands[i]->name);
        mz_sheet_fill(s, commands[i]->summary, widest + 4, COLUMNS);
        mz_sheet_add(s, "\n");
    }
    mz_sheet_add(s, "\nTopics, for `mizan help TOPIC`:\n\n");
    for (const mz_topic *t = mz_topics; t->name; t++)
        mz_sheet_addf(s, "  %-*s  %s\n", widest, t->name, t->summary);
    mz_sheet_add(s, "\n`mizan COMMAND --help` shows a command's options; `mizan --version` the "
                    "version;\n`mizan completion bash|zsh|fish` a shell's completion.\n");
}

static void add_option(mz_sheet *s, const mz_option *o)
{
    char left[96];
    const char *value = o->choices ? o->choices : o->value;
    if (o->kind == MZ_OPTION_FLAG)
        snprintf(left, sizeof left, "--%s", o->name);
    else
        snprintf(left, sizeof left, "--%s %s%s", o->name, value ? value : "VALUE",
                 o->many ? " ..." : "");
    if (strlen(left) > LEFT - 4)
        mz_sheet_addf(s, "  %s\n%*s", left, LEFT + 2, "");
    else
        mz_sheet_addf(s, "  %-*s", LEFT, left);
    mz_sheet_fill(s, o->help, LEFT + 2, COLUMNS);
    mz_sheet_add(s, "\n");
}

void mz_help_command(mz_sheet *s, const mz_command *command)
{
    const bool has_arguments = command->arguments && command->arguments[0];
    mz_sheet_addf(s, "usage: mizan %s%s%s [OPTIONS]\n\n", command->name, has_arguments ? " " : "",
                  has_arguments ? command->arguments : "");
    mz_sheet_fill(s, command->summary, 0, COLUMNS);
    mz_sheet_add(s, "\n\n");
    if (command->description) {
        mz_sheet_fill(s, command->description, 0, COLUMNS);
        mz_sheet_add(s, "\n\n");
    }
    const mz_option *o;
    for (int i = 0; (o = mz_option_at(command, i)); i++) add_option(s, o);
    if (!command->examples) return;
    mz_sheet_add(s, "\nexamples:\n  ");
    for (const char *c = command->examples; *c; c++)
        mz_sheet_addf(s, "%c%s", *c, *c == '\n' ? "  " : "");
    mz_sheet_add(s, "\n");
}
