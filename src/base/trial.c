/* SPDX-License-Identifier: Apache-2.0 */
/* base/trial.c - see trial.h. */
#include "base/trial.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t POLL_NS = 500000;

/* The child: quiet, without a core file, gone with its parent's patience. */
static _Noreturn void be_tried(void (*fn)(const void *arg), const void *arg)
{
    const struct rlimit none = {0, 0};
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)setrlimit(RLIMIT_CORE, &none);
    if (nowhere >= 0) (void)(dup2(nowhere, STDOUT_FILENO) | dup2(nowhere, STDERR_FILENO));
    for (int i = 0; i < 2; i++) (void)signal(i ? SIGTERM : SIGINT, SIG_DFL);
    fn(arg);
    _exit(0);
}

void mz_trial_failed(void)
{
    _exit(1);
}

/* Whether it ended in time; its status. */
static bool wait_for(pid_t pid, double seconds, int *status)
{
    const int64_t until = mz_clock_ns() + (int64_t)(seconds * 1e9);
    for (;;) {
        const pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid) return true;
        if (got < 0 && errno != EINTR) { /* somebody else has waited for it */
            *status = 0;
            return true;
        }
        if (mz_clock_ns() > until) break;
        mz_clock_sleep_ns(POLL_NS);
    }
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR) {
    }
    return false;
}

mz_err mz_trial(const char *what, void (*fn)(const void *arg), const void *arg, double seconds)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid < 0) return MZ_FAIL(MZ_ENOMEM, "%s cannot be tried: %s", what, strerror(errno));
    if (pid == 0) be_tried(fn, arg);
    if (!wait_for(pid, seconds, &status))
        return MZ_FAIL(MZ_ENOTSUP, "%s does not come back: it hung for %.0f seconds", what,
                       seconds);
    if (WIFSIGNALED(status))
        return MZ_FAIL(MZ_ENOTSUP, "%s crashes when it is opened: signal %d (%s)", what,
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return MZ_FAIL(MZ_ENOTSUP, "%s ends the process that opens it, with exit code %d", what,
                       WEXITSTATUS(status));
    return MZ_OK;
}
