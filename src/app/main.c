/* SPDX-License-Identifier: Apache-2.0 */
/* app/main.c - finds the command, runs it, and says on stderr what went wrong. Floor: app. */
#include "app/commands.h"
#include "base/log.h"
#include "base/torn.h"
#include "lib/chips.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void log_line(void *user, mz_log_level level, const char *line)
{
    (void)user;
    if (level >= MZ_LOG_INFO) fprintf(stderr, "mizan: %s\n", line);
}

/* Whether --json stands on the command line, even one that could not be parsed. */
static bool wants_json(int argc, const char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

/* A string, or null if it is empty. Bytes that are not UTF-8 (a file's name, say) become '?'. */
static json_t *text_or_null(const char *text)
{
    char plain[sizeof mz_err_last()->message];
    if (!text[0]) return json_null();
    json_t *value = json_string(text);
    if (value) return value;
    size_t n = 0;
    for (; text[n] && n < sizeof plain - 1; n++)
        plain[n] = (signed char)text[n] < 0 ? '?' : text[n];
    plain[n] = '\0';
    return json_string(plain);
}

static void print_json_error(const mz_err_info *info, mz_err code)
{
    json_t *e = json_object(), *o = json_object();
    int bad = json_object_set_new(e, "code", json_string(mz_err_name(code)));
    bad |= json_object_set_new(e, "exit", json_integer(mz_err_exit(code)));
    bad |= json_object_set_new(e, "message", text_or_null(info->message));
    bad |= json_object_set_new(e, "file", text_or_null(info->file));
    bad |= json_object_set_new(e, "field", text_or_null(info->field));
    bad |= json_object_set_new(e, "offset",
                               info->offset < 0 ? json_null() : json_integer(info->offset));
    bad |= json_object_set_new(e, "fix", text_or_null(info->fix));
    bad |= json_object_set_new(o, "error", e);
    if (bad != 0 || json_dumpf(o, stderr, JSON_COMPACT) != 0)
        fprintf(stderr,
                "{\"error\":{\"code\":\"%s\",\"exit\":%d,\"message\":\"\",\"file\":null,"
                "\"field\":null,\"offset\":null,\"fix\":null}}",
                mz_err_name(code), mz_err_exit(code));
    fputc('\n', stderr);
    json_decref(o);
}

static void print_error(mz_err code, bool as_json)
{
    mz_err_info info = *mz_err_last();
    if (info.code != code) info = (mz_err_info){.code = code, .offset = -1};
    if (!info.message[0]) snprintf(info.message, sizeof info.message, "%s", mz_err_text(code));
    fprintf(stderr, "mizan: %s\n", info.message);
    if (info.file[0] && !strstr(info.message, info.file))
        fprintf(stderr, "  in %s%s%s\n", info.file, info.field[0] ? ": " : "", info.field);
    if (info.fix[0]) fprintf(stderr, "  %s\n", info.fix);
    if (code == MZ_EINVAL)
        fprintf(stderr, "  this is a mistake in Mizan itself, at %s:%d\n", info.source, info.line);
    if (as_json) print_json_error(&info, code);
}

static mz_err run(int argc, const char *const *argv)
{
    mz_cli *cli = NULL;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("mizan %s\n", MIZAN_VERSION);
        return MZ_OK;
    }
    MZ_TRY(mz_torn_guard());
    MZ_TRY(mz_lib_register_chips());
    MZ_TRY(mz_cli_parse(&cli, mz_app_commands(), argc, argv));
    const mz_command *command = mz_cli_command(cli);
    mz_err err = MZ_OK;
    mz_sheet sheet = {0};
    if (mz_cli_wants_help(cli)) {
        if (command)
            mz_help_command(&sheet, command);
        else
            mz_help_all(&sheet, mz_app_commands());
        err = mz_sheet_end(&sheet, NULL);
    } else if (command)
        err = command->run(cli);
    else {
        err = MZ_FAIL(MZ_EUSAGE, "no command");
        mz_note_fix("`mizan --help` lists the commands");
    }
    mz_cli_free(cli);
    if (err == MZ_OK && mz_torn_any())
        err = MZ_FAIL(MZ_EIO, "a file became shorter while it was being read");
    return err;
}

/* Whether the error is that of writing to a pipe that nobody reads. */
static bool reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return strncmp(mz_err_last()->message, "stdout:", 7) == 0 && poll(&out, 1, 0) == 1 &&
           (out.revents & POLLERR) != 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of write, not our death */
    mz_log_to(log_line, NULL);
    const char *const *words = (const char *const *)argv;
    mz_err err = run(argc, words);
    errno = 0;
    const bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (err == MZ_OK && lost)
        err = MZ_FAIL(MZ_EIO, "stdout: %s", errno ? strerror(errno) : "a write failed");
    if (err == MZ_EIO && reader_left()) return mz_err_exit(MZ_EIO); /* it knows why */
    if (err != MZ_OK) print_error(err, wants_json(argc, words));
    return err == MZ_OK ? mz_cli_end() : mz_err_exit(err);
}
