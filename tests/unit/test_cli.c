/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cli.c - the command line against a table: what is taken, what is refused and with
 * which hint. */
#include "app/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static mz_err nothing(const mz_cli *cli)
{
    (void)cli;
    return MZ_OK;
}

static const mz_option OPTIONS[] = {
    {.name = "tensors", .help = "a flag"},
    {.name = "greedy", .kind = MZ_OPTION_INT, .help = "a number", .least = 1, .most = 100},
    {.name = "rate", .kind = MZ_OPTION_REAL, .help = "a real", .most = 1},
    {.name = "stop", .kind = MZ_OPTION_TEXT, .help = "many", .many = true},
    {0}};
static const mz_command INSPECT = {.name = "inspect",
                                   .arguments = "PATH",
                                   .least = 1,
                                   .most = 2,
                                   .options = OPTIONS,
                                   .common = MZ_COMMON_JSON | MZ_COMMON_CHIP,
                                   .run = nothing};
static const mz_command DATA_BUILD = {.name = "data build", .arguments = "", .run = nothing};
static const mz_command CHIPS = {.name = "chips", .arguments = "", .run = nothing};
static const mz_command CHECK = {
    .name = "chips check", .arguments = "CHIP", .least = 1, .most = 1, .run = nothing};
static const mz_command EMU = {.name = "emu", .arguments = "X ...", .most = -1, .run = nothing};
static const mz_command *const COMMANDS[] = {&INSPECT, &DATA_BUILD, &CHECK, &CHIPS, &EMU, NULL};

enum { WORDS_MAX = 16 };

/* line: words separated by one space */
static mz_err parse(mz_cli **cli, const char *line)
{
    static char text[256];
    const char *argv[WORDS_MAX] = {"mizan"};
    int n = 1;
    strncpy(text, line, sizeof text - 1);
    for (char *p = text; *p;) {
        argv[n++] = p;
        p += strcspn(p, " ");
        if (*p) *p++ = '\0';
    }
    mz_err_clear();
    return mz_cli_parse(cli, COMMANDS, n, argv);
}

static mz_cli *good(const char *line)
{
    mz_cli *cli = NULL;
    if (parse(&cli, line) != MZ_OK) fail_msg("%s: %s", line, mz_err_last()->message);
    return cli;
}

static void options_and_arguments_are_told_apart(void **state)
{
    (void)state;
    mz_cli *cli = good("inspect a --greedy 7 --rate=0.5 --tensors --stop x --stop=--y b --json");
    assert_ptr_equal(mz_cli_command(cli), &INSPECT);
    assert_int_equal(mz_cli_count(cli), 2);
    assert_string_equal(mz_cli_argument(cli, 1), "b");
    assert_null(mz_cli_argument(cli, 2));
    assert_int_equal(mz_cli_int(cli, "greedy", 3), 7);
    assert_true(mz_cli_real(cli, "rate", 0.0) >= 0.5 && mz_cli_real(cli, "rate", 0.0) <= 0.5);
    assert_true(mz_cli_flag(cli, "tensors") && mz_cli_flag(cli, "json"));
    assert_int_equal(mz_cli_texts(cli, "stop"), 2);
    assert_string_equal(mz_cli_text_at(cli, "stop", 1), "--y");
    assert_string_equal(mz_cli_text(cli, "chip", "cpu"), "cpu");
    assert_int_equal(mz_cli_int(cli, "threads", 9), 9);
    mz_cli_free(cli);
}

static void the_longest_name_wins(void **state)
{
    (void)state;
    mz_cli *cli = good("chips");
    assert_ptr_equal(mz_cli_command(cli), &CHIPS);
    mz_cli_free(cli);
    cli = good("chips check cpu");
    assert_ptr_equal(mz_cli_command(cli), &CHECK);
    assert_string_equal(mz_cli_argument(cli, 0), "cpu");
    mz_cli_free(cli);
    cli = good("data build -h");
    assert_true(mz_cli_command(cli) == &DATA_BUILD && mz_cli_wants_help(cli));
    mz_cli_free(cli);
    cli = good("--help");
    assert_true(!mz_cli_command(cli) && mz_cli_wants_help(cli));
    mz_cli_free(cli);
    cli = good("inspect --help"); /* without its argument */
    mz_cli_free(cli);
}

static void what_follows_two_dashes_is_no_option(void **state)
{
    (void)state;
    mz_cli *cli = good("emu a -- --tensors -x");
    assert_int_equal(mz_cli_count(cli), 3);
    assert_string_equal(mz_cli_argument(cli, 1), "--tensors");
    mz_cli_free(cli);
    cli = good("inspect -"); /* by custom: the standard input */
    mz_cli_free(cli);
}

static const struct {
    const char *line, *says, *hint;
} BAD[] = {
    {"inspct a", "inspct", "inspect"},
    {"data", "data", "data build"},
    {"data biuld", "data", "data build"},
    {"xyzzy", "xyzzy", "--help"},
    {"inspect a --tensor", "--tensor", "--tensors"},
    {"inspect a --treads 3", "--treads", "--threads"},
    {"inspect a -x", "-x", "--help"},
    {"inspect", "PATH", "--help"},
    {"inspect a b c", "c", "--help"},
    {"chips check", "CHIP", "--help"},
    {"chips chekc", "chekc", "--help"},
    {"inspect a --greedy", "value", ""},
    {"inspect a --greedy x", "whole number", ""},
    {"inspect a --greedy 1.5", "whole number", ""},
    {"inspect a --greedy 0", "1 to 100", ""},
    {"inspect a --greedy 101", "1 to 100", ""},
    {"inspect a --greedy 99999999999999999999", "whole number", ""},
    {"inspect a --rate nan", "number", ""},
    {"inspect a --rate -0.5", "0 to 1", ""},
    {"inspect a --greedy 1 --greedy 2", "twice", ""},
    {"inspect a --tensors=1", "no value", ""},
    {"inspect a --isa avx3", "avx512", ""},
    {"inspect a --isa avx", "avx512", ""},
    {"chips --json", "--json", ""},
    {"--json", "--json", ""},
};

static void refusals_say_what_was_meant(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(BAD); i++) {
        mz_cli *cli = NULL;
        const mz_err err = parse(&cli, BAD[i].line);
        const mz_err_info *info = mz_err_last();
        if (err != MZ_EUSAGE || cli || !strstr(info->message, BAD[i].says) ||
            !strstr(info->fix, BAD[i].hint))
            fail_msg("%s: %s: %s (%s)", BAD[i].line, mz_err_name(err), info->message, info->fix);
    }
    assert_int_equal(mz_err_exit(MZ_EUSAGE), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_are_told_apart),
        cmocka_unit_test(the_longest_name_wins),
        cmocka_unit_test(what_follows_two_dashes_is_no_option),
        cmocka_unit_test(refusals_say_what_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
