/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo_run.c - the demonstration's processes: commands of this program, started as a user would
 * start them, each of which Ctrl-C ends. Floor: app. */
#include "app/demo.h"

#include "app/shell.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOG_MOST = 1 << 28 };

static volatile sig_atomic_t was_told;

static void on_signal(int number)
{
    was_told = number;
}

void mz_demo_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

bool mz_demo_stopped(void)
{
    return was_told != 0;
}

const char *mz_demo_path(const mz_demo *d, const char *name)
{
    static char paths[64][MZ_DEMO_PATH];
    static int at;
    at = (at + 1) % MZ_COUNT(paths);
    (void)snprintf(paths[at], MZ_DEMO_PATH, "%s/%s", d->out, name);
    return paths[at];
}

bool mz_demo_has(const mz_demo *d, const char *name)
{
    return mz_file_exists(mz_demo_path(d, name));
}

void mz_demo_chip_words(const mz_demo *d, const char *words[MZ_DEMO_WORDS], int n,
                        bool without_chip)
{
    static char threads[32];
    if (d->threads > 0) {
        (void)snprintf(threads, sizeof threads, "%lld", (long long)d->threads);
        words[n++] = "--threads", words[n++] = threads;
    }
    if (d->chip && !without_chip) words[n++] = "--chip", words[n++] = d->chip;
    if (d->isa) words[n++] = "--isa", words[n++] = d->isa;
    if (d->driver_path) words[n++] = "--driver-path", words[n++] = d->driver_path;
    if (d->fault_plan) words[n++] = "--fault-plan", words[n++] = d->fault_plan;
    words[n] = NULL;
}

/* In the child: what it inherits would end it otherwise, or outlive us. */
static void become(const mz_demo *d, const char *const *words, const char *to)
{
    char *argv[MZ_DEMO_WORDS + 1] = {"mizan"};
    for (int i = 0; words[i] && i < MZ_DEMO_WORDS - 1; i++)
        memcpy(&argv[i + 1], &words[i], sizeof *argv);
    const int log = open(mz_demo_path(d, "commands.log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int out = to ? open(mz_demo_path(d, to), O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
    if (to && (out < 0 || dup2(out, STDOUT_FILENO) < 0)) _exit(74);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0) _exit(74);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)execv("/proc/self/exe", argv);
    _exit(74);
}

/* What is about to run, as one would type it. */
static mz_err note_command(const mz_demo *d, const char *const *words)
{
    mz_str s = {0};
    mz_appender log = {.fd = -1};
    mz_err err = mz_str_addf(&s, "$ mizan");
    for (int i = 0; words[i] && err == MZ_OK; i++) {
        err = mz_str_add(&s, " ", 1);
        if (err == MZ_OK) err = mz_shell_word(&s, words[i]);
    }
    if (err == MZ_OK) err = mz_str_add(&s, "\n", 1);
    if (err == MZ_OK) err = mz_appender_open(&log, mz_demo_path(d, "commands.log"));
    if (err == MZ_OK) err = mz_appender_put(&log, s.text, s.len);
    mz_appender_close(&log);
    mz_str_clear(&s);
    return err;
}

mz_err mz_demo_start(const mz_demo *d, const char *const *words, const char *to, int *pid)
{
    if (mz_demo_stopped()) return MZ_FAIL(MZ_EINTR, "stopped");
    MZ_TRY(note_command(d, words));
    fflush(NULL);
    *pid = fork();
    if (*pid == 0) become(d, words, to);
    if (*pid < 0) return MZ_FAIL(MZ_EIO, "no process could be started: %s", strerror(errno));
    return MZ_OK;
}

/* The last complaint in commands.log, "" where there is none. */
static void complaint(const mz_demo *d, char *out, size_t n)
{
    static const char mark[] = "mizan: ";
    char *text = NULL;
    size_t bytes = 0;
    out[0] = '\0';
    if (mz_file_read(mz_demo_path(d, "commands.log"), LOG_MOST, &text, &bytes) != MZ_OK) return;
    for (const char *at = text; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, mark, sizeof mark - 1) != 0) continue;
        const char *said = at + sizeof mark - 1;
        (void)snprintf(out, n, ": %.*s", (int)strcspn(said, "\n"), said);
    }
    mz_mem_free(text);
}

static mz_err kind_of(int code)
{
    static const struct {
        int code;
        mz_err err;
    } kinds[] = {{2, MZ_EUSAGE},    {69, MZ_ENOTSUP},  {75, MZ_EBUSY},
                 {76, MZ_ECORRUPT}, {77, MZ_ENUMERIC}, {78, MZ_ECONFIG}};
    for (int i = 0; i < MZ_COUNT(kinds); i++)
        if (kinds[i].code == code) return kinds[i].err;
    return MZ_EIO;
}

mz_err mz_demo_ended(const mz_demo *d, const char *const *words, int status)
{
    char why[400];
    if (mz_demo_stopped()) return MZ_FAIL(MZ_EINTR, "stopped");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return MZ_OK;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    complaint(d, why, sizeof why);
    const mz_err err = MZ_FAIL(kind_of(code), "`mizan %s` ended with %d%s", words[0], code, why);
    mz_note_fix("the end of %s says more", mz_demo_path(d, "commands.log"));
    return err;
}

/* Polled: a signal that comes just before a call that waits would be slept over. */
mz_err mz_demo_command(const mz_demo *d, const char *const *words, const char *to)
{
    int status = 0, pid = 0;
    bool told = false;
    pid_t gone;
    MZ_TRY(mz_demo_start(d, words, to, &pid));
    while ((gone = waitpid(pid, &status, WNOHANG)) == 0 || (gone < 0 && errno == EINTR)) {
        if (mz_demo_stopped() && !told) told = kill(pid, SIGTERM) == 0;
        mz_clock_sleep_ns(5000000);
    }
    return mz_demo_ended(d, words, status);
}
