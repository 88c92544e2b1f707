/* SPDX-License-Identifier: Apache-2.0 */
/* app/cli.h - one table of options a command: the parser, the help and the man pages read it.
 *
 * A command is a row in main.c's table and a cmd_*.c that runs it:
 *
 *   static const mz_option OPTIONS[] = {
 *       {.name = "tensors", .help = "list every tensor"},
 *       {.name = "greedy", .kind = MZ_OPTION_INT, .value = "N", .help = "...", .most = 1e6},
 *       {0}};
 *   const mz_command mz_cmd_inspect = {.name = "inspect", .arguments = "PATH", .least = 1,
 *       .most = 1, .summary = "...", .options = OPTIONS, .common = MZ_COMMON_JSON, .run = run};
 *
 * A name may have two words ("data build"); the longest name that fits wins. Values are checked
 * while parsing (number, range, choice), so that reading one cannot fail.
 * Floor:  app.
 * Errors: MZ_EUSAGE with what was meant, where something near exists. */
#ifndef MZ_APP_CLI_H
#define MZ_APP_CLI_H

#include "app/sheet.h"
#include "base/err.h"
#include "chip/chip.h"

#include <jansson.h>
#include <stdbool.h>

typedef enum mz_option_kind {
    MZ_OPTION_FLAG,
    MZ_OPTION_TEXT,
    MZ_OPTION_INT,
    MZ_OPTION_REAL
} mz_option_kind;

typedef struct mz_option {
    const char *name; /* "chip" for --chip; NULL ends a list */
    mz_option_kind kind;
    const char *value;   /* what help calls its value, "NAME" */
    const char *help;    /* one line */
    const char *choices; /* of a text: "auto|amx|avx512", or NULL for any */
    double least, most;  /* of a number, both included */
    bool many;           /* may be given more than once */
} mz_option;

/* Options that several commands share. --help is everywhere. */
enum {
    MZ_COMMON_JSON = 1,      /* --json */
    MZ_COMMON_CHIP = 2,      /* --chip --threads --isa --driver-path --fault-plan */
    MZ_COMMON_SEED = 4,      /* --seed */
    MZ_COMMON_DTYPE = 8,     /* --dtype */
    MZ_COMMON_RANKS = 32,    /* --ranks: app/placed.h */
    MZ_COMMON_SAMPLING = 16, /* --max-tokens --temperature --top-p ... --stop: app/sampling.h */
};

typedef struct mz_cli mz_cli;

typedef struct mz_command {
    const char *name;         /* "inspect", "data build" */
    const char *arguments;    /* "PATH", "" if none */
    int least, most;          /* number of arguments; most -1 = any */
    const char *summary;      /* one line, for the list */
    const char *description;  /* more lines for its own help, or NULL */
    const mz_option *options; /* its own, or NULL */
    unsigned common;
    const char *examples; /* command lines, for the man page, or NULL */
    const char *files;    /* what it reads or leaves, for the man page, or NULL */
    bool hidden;          /* not in the list of commands; documented all the same */
    mz_err (*run)(const mz_cli *cli);
} mz_command;

/* commands: NULL-terminated. On MZ_OK *cli is what was asked for; help and version are answered by
 * main. Free with mz_cli_free. Arguments are borrowed from argv. */
mz_err mz_cli_parse(mz_cli **cli, const mz_command *const *commands, int argc,
                    const char *const *argv);
void mz_cli_free(mz_cli *cli); /* NULL is legal */

const mz_command *mz_cli_command(const mz_cli *cli); /* NULL: none was named */
bool mz_cli_wants_help(const mz_cli *cli);
int mz_cli_count(const mz_cli *cli); /* arguments that are no options */
const char *mz_cli_argument(const mz_cli *cli, int i);

/* Names must be in the command's table; a wrong one is our own mistake (assert). */
bool mz_cli_flag(const mz_cli *cli, const char *name);
const char *mz_cli_text(const mz_cli *cli, const char *name, const char *absent); /* the last */
int mz_cli_texts(const mz_cli *cli, const char *name); /* how often it was given */
const char *mz_cli_text_at(const mz_cli *cli, const char *name, int i);
int64_t mz_cli_int(const mz_cli *cli, const char *name, int64_t absent);
double mz_cli_real(const mz_cli *cli, const char *name, double absent);

/* ---- what commands share ---- */
mz_chip_options mz_cli_chip_options(const mz_cli *cli); /* the environment below the options */
/* Opens --chip (or MIZAN_CHIP, or "cpu"); an unknown name is MZ_EUSAGE with the nearest one. */
mz_err mz_cli_open_chip(const mz_cli *cli, mz_device **device);
/* The same for a name that came in another way. */
mz_err mz_cli_open_named(const mz_cli *cli, const char *spec, mz_device **device);
mz_err mz_cli_dtype(const mz_cli *cli, mz_dtype absent, mz_dtype *out);

/* {"schema": 1}; NULL when out of memory, which mz_cli_print then reports. */
json_t *mz_cli_document(void);
/* Prints one document, indented by 2, to stdout. Takes the reference. */
mz_err mz_cli_print(json_t *document);
mz_err mz_cli_json_failed(void); /* MZ_ENOMEM with a note */
/* A command that ran another program ends as that did: what main returns after MZ_OK. */
void mz_cli_end_with(int exit_code);
int mz_cli_end(void); /* 0 unless a command said otherwise */

/* ---- help, from the same tables ---- */
void mz_help_all(mz_sheet *s, const mz_command *const *commands);
void mz_help_command(mz_sheet *s, const mz_command *command);

#endif
