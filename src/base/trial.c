/* SPDX-License-Identifier: Apache-2.0 */
/* base/trial.c - see trial.h. */
#include "base/trial.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
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

mz_err mz_trial_begin(mz_trial_run *t, const char *what, void (*fn)(const void *arg),
                      const void *arg, double seconds)
{
    const pid_t parent = getpid(), pid = fork();
    if (pid < 0) return MZ_FAIL(MZ_ENOMEM, "%s cannot be tried: %s", what, strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it may hold what its parent had locked */
        if (getppid() != parent) _exit(1);
        be_tried(fn, arg);
    }
    *t = (mz_trial_run){.pid = pid,
                        .what = what,
                        .seconds = seconds,
                        .until_ns = mz_clock_ns() + (int64_t)(seconds * 1e9)};
    return MZ_OK;
}

static mz_err judge(const mz_trial_run *t, int status)
{
    if (t->is_killed)
        return MZ_FAIL(MZ_ENOTSUP, "%s does not come back: it hung for %.0f seconds", t->what,
                       t->seconds);
    if (WIFSIGNALED(status))
        return MZ_FAIL(MZ_ENOTSUP, "%s crashes when it is opened: signal %d (%s)", t->what,
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return MZ_FAIL(MZ_ENOTSUP, "%s ends the process that opens it, with exit code %d", t->what,
                       WEXITSTATUS(status));
    return MZ_OK;
}

bool mz_trial_is_over(mz_trial_run *t, mz_err *how)
{
    int status = 0;
    const pid_t got = waitpid(t->pid, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) {
        if (mz_clock_ns() > t->until_ns && !t->is_killed) t->is_killed = kill(t->pid, SIGKILL) == 0;
        return false;
    }
    *how = judge(t, got < 0 ? 0 : status); /* < 0: somebody else has waited for it */
    t->pid = 0;
    return true;
}

void mz_trial_drop(mz_trial_run *t)
{
    if (t->pid == 0) return;
    (void)kill(t->pid, SIGKILL);
    for (int tries = 0; tries < 100 && waitpid(t->pid, NULL, WNOHANG) == 0; tries++)
        mz_clock_sleep_ns(POLL_NS);
    t->pid = 0;
}

mz_err mz_trial(const char *what, void (*fn)(const void *arg), const void *arg, double seconds)
{
    mz_trial_run t;
    mz_err how = MZ_OK;
    MZ_TRY(mz_trial_begin(&t, what, fn, arg, seconds));
    while (!mz_trial_is_over(&t, &how)) mz_clock_sleep_ns(POLL_NS);
    return how;
}
