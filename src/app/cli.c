/* SPDX-License-Identifier: Apache-2.0 */
/* app/cli.c - the command line, read against the tables. Floor: app. */
#include "app/cli.h"

#include "app/options.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct given { /* one option on the command line */
    const mz_option *option;
    const char *text;
} given;

struct mz_cli {
    const mz_command *command;
    given *given;
    const char **arguments;
    int n_given, n_arguments;
};

/* Words of argv that the command's name takes; 0 if it is not this command. */
static int words_of(const mz_command *command, int argc, const char *const *argv)
{
    int words = 0;
    for (const char *name = command->name; *name; words++) {
        const size_t n = strcspn(name, " ");
        if (words + 1 >= argc || strlen(argv[words + 1]) != n ||
            memcmp(argv[words + 1], name, n) != 0)
            return 0;
        name += n + (name[n] == ' ');
    }
    return words;
}

static mz_err unknown_command(const mz_command *const *commands, int argc, const char *const *argv)
{
    enum { COMMANDS_MAX = 64 };
    const char *names[COMMANDS_MAX];
    char two[128] = "";
    int n = 0;
    while (n < COMMANDS_MAX && commands[n]) n++;
    for (int i = 0; i < n; i++) names[i] = commands[i]->name;
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "there is no command %s", argv[1]);
    if (argc > 2) snprintf(two, sizeof two, "%s %s", argv[1], argv[2]);
    const char *near = mz_str_nearest(two, names, n);
    if (!near) near = mz_str_nearest(argv[1], names, n);
    for (int i = 0; i < n && !near; i++) /* "data" alone: one of its commands */
        if (mz_str_starts(names[i], argv[1]) && names[i][strlen(argv[1])] == ' ') near = names[i];
    if (near)
        mz_note_fix("did you mean `mizan %s`?", near);
    else
        mz_note_fix("`mizan --help` lists the commands");
    return err;
}

static mz_err unknown_option(const mz_command *command, const char *name)
{
    enum { OPTIONS_MAX = 64 };
    const char *names[OPTIONS_MAX];
    int n = 0;
    const mz_option *o;
    while (n < OPTIONS_MAX && (o = mz_option_at(command, n))) names[n++] = o->name;
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "mizan%s%s has no option --%s", command ? " " : "",
                               command ? command->name : "", name);
    const char *near = mz_str_nearest(name, names, n);
    if (near)
        mz_note_fix("did you mean --%s?", near);
    else if (command)
        mz_note_fix("`mizan %s --help` lists its options", command->name);
    return err;
}

static bool is_choice(const char *choices, const char *text)
{
    const size_t n = strlen(text);
    for (const char *p = choices; p; p = strchr(p, '|')) {
        if (*p == '|') p++;
        if (strcspn(p, "|") == n && memcmp(p, text, n) == 0) return true;
    }
    return false;
}

static mz_err check_value(const mz_option *o, const char *text)
{
    int64_t whole = 0;
    double real = 0.0;
    if (o->kind == MZ_OPTION_TEXT && o->choices && !is_choice(o->choices, text))
        return MZ_FAIL(MZ_EUSAGE, "--%s is %s, expected one of %s", o->name, text, o->choices);
    if (o->kind == MZ_OPTION_INT) {
        if (!mz_str_to_i64(text, &whole))
            return MZ_FAIL(MZ_EUSAGE, "--%s is %s, expected a whole number", o->name, text);
        real = (double)whole;
    } else if (o->kind == MZ_OPTION_REAL && (!mz_str_to_f64(text, &real) || !isfinite(real)))
        return MZ_FAIL(MZ_EUSAGE, "--%s is %s, expected a number", o->name, text);
    const bool is_number = o->kind == MZ_OPTION_INT || o->kind == MZ_OPTION_REAL;
    if (is_number && !(real >= o->least && real <= o->most))
        return MZ_FAIL(MZ_EUSAGE, "--%s is %s, expected %g to %g", o->name, text, o->least,
                       o->most);
    return MZ_OK;
}

/* argv[*i] begins with "--". Moves *i to the last word that the option takes. */
static mz_err take_option(mz_cli *cli, int *i, int argc, const char *const *argv)
{
    char name[64];
    const char *word = argv[*i] + 2, *equals = strchr(word, '=');
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - word) : (int)strlen(word), word);
    const mz_option *o = mz_option_find(cli->command, name);
    if (!o) return unknown_option(cli->command, name);
    const char *text = equals ? equals + 1 : NULL;
    if (o->kind == MZ_OPTION_FLAG) {
        if (text) return MZ_FAIL(MZ_EUSAGE, "--%s takes no value", name);
        text = "";
    } else if (!text) {
        if (*i + 1 >= argc) return MZ_FAIL(MZ_EUSAGE, "--%s wants a value", name);
        text = argv[++*i];
    }
    for (int k = 0; k < cli->n_given && !o->many; k++)
        if (cli->given[k].option == o && o->kind != MZ_OPTION_FLAG)
            return MZ_FAIL(MZ_EUSAGE, "--%s is given twice", name);
    MZ_TRY(check_value(o, text));
    cli->given[cli->n_given++] = (given){o, text};
    return MZ_OK;
}

static mz_err take_help(mz_cli *cli)
{
    static const char *const argv[] = {"--help"};
    int at = 0;
    return take_option(cli, &at, 1, argv);
}

static mz_err take_words(mz_cli *cli, int first, int argc, const char *const *argv)
{
    bool options = true;
    for (int i = first; i < argc; i++) {
        const char *word = argv[i];
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strcmp(word, "-h") == 0)
            MZ_TRY(take_help(cli));
        else if (options && mz_str_starts(word, "--"))
            MZ_TRY(take_option(cli, &i, argc, argv));
        else if (options && word[0] == '-' && word[1])
            return unknown_option(cli->command, word + 1);
        else
            cli->arguments[cli->n_arguments++] = word;
    }
    return MZ_OK;
}

static mz_err check_arguments(const mz_cli *cli)
{
    const mz_command *c = cli->command;
    if (!c || mz_cli_wants_help(cli)) return MZ_OK;
    const bool too_few = cli->n_arguments < c->least;
    if (!too_few && (c->most < 0 || cli->n_arguments <= c->most)) return MZ_OK;
    const mz_err err =
        too_few ? MZ_FAIL(MZ_EUSAGE, "mizan %s wants %s", c->name, c->arguments)
                : MZ_FAIL(MZ_EUSAGE, "mizan %s does not take %s", c->name, cli->arguments[c->most]);
    mz_note_fix("`mizan %s --help` shows how it is used", c->name);
    return err;
}

mz_err mz_cli_parse(mz_cli **cli, const mz_command *const *commands, int argc,
                    const char *const *argv)
{
    MZ_NEED(cli && commands && argv && argc >= 1, "no command line");
    mz_cli *c = NULL;
    mz_err err = mz_mem_new(&c, 1, sizeof *c);
    if (err != MZ_OK) return err;
    MZ_TRY_GOTO(err, mz_mem_new(&c->given, argc, sizeof *c->given), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&c->arguments, argc, sizeof *c->arguments), fail);
    int words = 0;
    for (int i = 0; commands[i]; i++) {
        const int n = words_of(commands[i], argc, argv);
        if (n > words) words = n, c->command = commands[i];
    }
    if (!c->command && argc > 1 && argv[1][0] != '-')
        MZ_TRY_GOTO(err, unknown_command(commands, argc, argv), fail);
    MZ_TRY_GOTO(err, take_words(c, 1 + words, argc, argv), fail);
    MZ_TRY_GOTO(err, check_arguments(c), fail);
    *cli = c;
    return MZ_OK;
fail:
    mz_cli_free(c);
    return err;
}

void mz_cli_free(mz_cli *cli)
{
    if (!cli) return;
    mz_mem_free(cli->arguments);
    mz_mem_free(cli->given);
    mz_mem_free(cli);
}

const mz_command *mz_cli_command(const mz_cli *cli)
{
    return cli->command;
}

bool mz_cli_wants_help(const mz_cli *cli)
{
    return mz_cli_flag(cli, "help");
}

int mz_cli_count(const mz_cli *cli)
{
    return cli->n_arguments;
}

const char *mz_cli_argument(const mz_cli *cli, int i)
{
    return i >= 0 && i < cli->n_arguments ? cli->arguments[i] : NULL;
}

int mz_cli_texts(const mz_cli *cli, const char *name)
{
    assert(mz_option_find(cli->command, name));
    int n = 0;
    for (int i = 0; i < cli->n_given; i++) n += strcmp(cli->given[i].option->name, name) == 0;
    return n;
}

const char *mz_cli_text_at(const mz_cli *cli, const char *name, int i)
{
    for (int k = 0; k < cli->n_given; k++)
        if (strcmp(cli->given[k].option->name, name) == 0 && i-- == 0) return cli->given[k].text;
    return NULL;
}

bool mz_cli_flag(const mz_cli *cli, const char *name)
{
    return mz_cli_texts(cli, name) > 0;
}

const char *mz_cli_text(const mz_cli *cli, const char *name, const char *absent)
{
    const int n = mz_cli_texts(cli, name);
    return n > 0 ? mz_cli_text_at(cli, name, n - 1) : absent;
}

int64_t mz_cli_int(const mz_cli *cli, const char *name, int64_t absent)
{
    const char *text = mz_cli_text(cli, name, NULL);
    int64_t x = absent;
    return text && mz_str_to_i64(text, &x) ? x : absent;
}

double mz_cli_real(const mz_cli *cli, const char *name, double absent)
{
    const char *text = mz_cli_text(cli, name, NULL);
    double x = absent;
    return text && mz_str_to_f64(text, &x) ? x : absent;
}

/* ---- what commands share ---- */

mz_chip_options mz_cli_chip_options(const mz_cli *cli)
{
    mz_options env;
    mz_options_init(&env);
    return (mz_chip_options){.threads = (int)mz_cli_int(cli, "threads", env.threads),
                             .isa = mz_cli_text(cli, "isa", env.isa),
                             .driver_path = mz_cli_text(cli, "driver-path", env.driver_path),
                             .fault_plan = mz_cli_text(cli, "fault-plan", env.fault_plan),
                             .cache_path = env.cache_path,
                             .wait_s = env.device_wait_s,
                             .sync_each = env.sync_each};
}

static mz_err unknown_chip(const char *spec, const char *name)
{
    enum { CHIPS_MAX = 64 };
    const char *names[CHIPS_MAX];
    int n = 0;
    for (; n < mz_chip_count() && n < CHIPS_MAX; n++) names[n] = mz_chip_get(n)->name;
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "there is no chip %s", spec);
    const char *near = mz_str_nearest(name, names, n);
    if (near)
        mz_note_fix("did you mean --chip %s?", near);
    else
        mz_note_fix("`mizan chips --all` lists them");
    return err;
}

mz_err mz_cli_open_chip(const mz_cli *cli, mz_device **device)
{
    mz_options env;
    mz_options_init(&env);
    const char *spec = mz_cli_text(cli, "chip", env.chip);
    /* MIZAN_CHIP has a default, which the analyzer cannot see */
    return mz_cli_open_named(cli, spec ? spec : "cpu", device);
}

mz_err mz_cli_open_named(const mz_cli *cli, const char *spec, mz_device **device)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(spec, ":"), spec);
    if (!mz_chip_find(name)) return unknown_chip(spec, name);
    const mz_chip_options options = mz_cli_chip_options(cli);
    return mz_device_open(device, spec, &options);
}

mz_err mz_cli_dtype(const mz_cli *cli, mz_dtype absent, mz_dtype *out)
{
    const char *name = mz_cli_text(cli, "dtype", NULL);
    *out = absent;
    MZ_NEED(!name || mz_dtype_parse(name, out), "a dtype that the table allows and nobody knows");
    return MZ_OK;
}

mz_err mz_cli_json_failed(void)
{
    return MZ_FAIL(MZ_ENOMEM, "no memory for a JSON document");
}

static int end_code;

void mz_cli_end_with(int exit_code)
{
    end_code = exit_code;
}

int mz_cli_end(void)
{
    return end_code;
}

json_t *mz_cli_document(void)
{
    json_t *o = json_object();
    if (o && json_object_set_new(o, "schema", json_integer(1)) != 0) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

mz_err mz_cli_print(json_t *document)
{
    if (!document) return mz_cli_json_failed();
    const int bad = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(document);
    if (bad != 0 || putchar('\n') == EOF)
        return MZ_FAIL(MZ_EIO, "stdout: %s", strerror(errno ? errno : EIO));
    return MZ_OK;
}
