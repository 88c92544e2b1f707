/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_emu.c - `mizan emu CHIP -- COMMAND`: any program with an emulated driver before the
 * vendor's. Floor: app.
 *
 * The program is a child of ours: what we are sent it is sent too, but for what a terminal sends to
 * both, and its end is ours. It gets SIGTERM should we be gone. */
#include "app/commands.h"
#include "app/emu.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/options.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const mz_option OPTIONS[] = {
    {.name = "devices",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "how many devices there are (default 1)",
     .least = 1,
     .most = 8},
    {.name = "soc",
     .kind = MZ_OPTION_TEXT,
     .value = "NAME",
     .help = "which chip is imitated (default Ascend910B2; a wrong name lists them)"},
    {.name = "cann",
     .kind = MZ_OPTION_TEXT,
     .value = "VERSION",
     .help = "which CANN the driver says that it is, as in 8.2.RC1 (default 8.5.0)"},
    {.name = "fault-plan",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE",
     .help = "faults on purpose: YAML or JSON, as below"},
    {.name = "trace",
     .kind = MZ_OPTION_TEXT,
     .value = "T.json",
     .help = "what ran where, in modelled time, for chrome://tracing or Perfetto"},
    {0}};

static const char DEFAULT_SOC[] = "Ascend910B2";
enum { CANN_MAX = 64 };
static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

typedef struct emu {
    mz_emu_driver driver;
    const char *chip, *soc, *cann, *trace;
    char devices[16], trace_path[PATH_MAX];
    char scratch[PATH_MAX], counters[PATH_MAX], libraries[PATH_MAX];
    mz_str plan, library_path;
    bool as_json;
    char **argv;
} emu;

/* ---- before ---- */

static mz_err start_trace(emu *e)
{
    if (!e->trace) return MZ_OK;
    const int file = open(e->trace, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) return MZ_FAIL(MZ_EIO, "%s: %s", e->trace, strerror(errno));
    (void)close(file);
    if (!realpath(e->trace, e->trace_path)) /* the program may run in another folder */
        return MZ_FAIL(MZ_EIO, "%s: %s", e->trace, strerror(errno));
    return MZ_OK;
}

static mz_err make_folders(emu *e)
{
    mz_options env;
    mz_options_init(&env);
    const int n = snprintf(e->scratch, sizeof e->scratch, "%s/mizan-emu-XXXXXX", env.tmp);
    if (n <= 0 || (size_t)n >= sizeof e->scratch || !mkdtemp(e->scratch)) {
        const mz_err err =
            MZ_FAIL(MZ_EIO, "%s: no folder could be made: %s", env.tmp, strerror(errno));
        e->scratch[0] = '\0';
        mz_note_fix("TMPDIR names another place");
        return err;
    }
    MZ_TRY(mz_path_join(e->counters, sizeof e->counters, e->scratch, "counters"));
    MZ_TRY(mz_file_mkdirs(e->counters));
    if (!e->plan.len || !mz_emu_folder_is_needed(e->plan.text)) {
        memcpy(e->libraries, e->driver.folder, sizeof e->libraries);
        return MZ_OK;
    }
    MZ_TRY(mz_path_join(e->libraries, sizeof e->libraries, e->scratch, "lib"));
    return mz_emu_folder_make(e->libraries, e->plan.text, &e->driver);
}

static bool holds_a_driver(const char *folder)
{
    char path[PATH_MAX];
    return mz_path_join(path, sizeof path, folder, "libascendcl.so") == MZ_OK &&
           mz_file_exists(path);
}

/* Ours first, then what was there but for another driver, whose other libraries would mix with it.
 */
static mz_err make_library_path(emu *e)
{
    mz_options env;
    mz_options_init(&env);
    MZ_TRY(mz_str_addf(&e->library_path, "%s", e->libraries));
    for (const char *at = env.library_path; at && *at; at += *at == ':') {
        char folder[PATH_MAX];
        const size_t n = strcspn(at, ":");
        (void)snprintf(folder, sizeof folder, "%.*s", (int)n, at);
        at += n;
        if (holds_a_driver(folder))
            fprintf(stderr, "emulated %s: LD_LIBRARY_PATH without %s\n", e->soc, folder);
        else
            MZ_TRY(mz_str_addf(&e->library_path, ":%s", folder));
    }
    return MZ_OK;
}

/* Numbers and words between points, the first two numbers: what clients take apart. */
static mz_err check_cann(const char *version)
{
    static const char digits[] = "0123456789";
    const size_t major = version ? strspn(version, digits) : 1;
    if (!version) return MZ_OK;
    const char *rest = version + major;
    const bool is_one = major > 0 && rest[0] == '.' && strspn(rest + 1, digits) > 0 &&
                        strlen(version) < CANN_MAX &&
                        strspn(rest, "0123456789.abcdefghijklmnopqrstuvwxyzRC") == strlen(rest);
    return is_one ? MZ_OK
                  : MZ_FAIL(MZ_EUSAGE, "--cann %.40s: not a version such as 8.2.RC1", version);
}

static mz_err prepare(emu *e, const mz_cli *cli)
{
    const char *plan = mz_cli_text(cli, "fault-plan", NULL);
    e->chip = mz_cli_argument(cli, 0);
    e->soc = mz_cli_text(cli, "soc", DEFAULT_SOC);
    e->cann = mz_cli_text(cli, "cann", NULL);
    e->trace = mz_cli_text(cli, "trace", NULL);
    e->as_json = mz_cli_flag(cli, "json");
    (void)snprintf(e->devices, sizeof e->devices, "%lld", (long long)mz_cli_int(cli, "devices", 1));
    if (strcmp(e->chip, "ascend") != 0)
        return MZ_FAIL(MZ_EUSAGE, "there is no emulated driver of %s, only of ascend", e->chip);
    MZ_TRY(check_cann(e->cann));
    MZ_TRY(mz_emu_driver_open(&e->driver, e->chip));
    MZ_TRY(mz_emu_driver_knows(&e->driver, e->soc));
    if (plan) MZ_TRY(mz_emu_plan_read(&e->plan, plan, &e->driver));
    MZ_TRY(make_folders(e));
    MZ_TRY(start_trace(e));
    MZ_TRY(make_library_path(e));
    return MZ_OK;
}

/* ---- the program ---- */

/* In the child. A vendor's own installation is not looked at: variables that name it go. */
static void set_environment(const emu *e)
{
    static const char *const gone[] = {"ASCEND_HOME_PATH",       "ASCEND_TOOLKIT_HOME",
                                       "ASCEND_OPP_PATH",        "ASCEND_CUSTOM_OPP_PATH",
                                       "ASCEND_AICPU_PATH",      "MIZAN_EMU_ASCEND_CANN",
                                       "MIZAN_EMU_ASCEND_TRACE", "MIZAN_EMU_ASCEND_FAULTS"};
    mz_options env;
    mz_options_init(&env);
    for (int i = 0; i < MZ_COUNT(gone); i++) mz_options_hand_on(gone[i], NULL);
    if (env.driver_path && holds_a_driver(env.driver_path))
        mz_options_hand_on("MIZAN_DRIVER_PATH", NULL);
    mz_options_hand_on("LD_LIBRARY_PATH", e->library_path.text);
    mz_options_hand_on("MIZAN_EMU_ASCEND_SOC", e->soc);
    mz_options_hand_on("MIZAN_EMU_ASCEND_DEVICES", e->devices);
    mz_options_hand_on("MIZAN_EMU_ASCEND_COUNTERS", e->counters);
    if (e->cann) mz_options_hand_on("MIZAN_EMU_ASCEND_CANN", e->cann);
    if (e->plan.len) mz_options_hand_on("MIZAN_EMU_ASCEND_FAULTS", e->plan.text);
    if (e->trace) mz_options_hand_on("MIZAN_EMU_ASCEND_TRACE", e->trace_path);
}

/* Tells through the pipe why it could not; a program that starts closes it. */
static void become(const emu *e, const sigset_t *mask, int pipe_end, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(75);
    set_environment(e);
    if (e->as_json) (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout holds one document */
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    (void)execvp(e->argv[0], e->argv);
    const int why = errno;
    if (write(pipe_end, &why, sizeof why) != sizeof why) _exit(126);
    _exit(127);
}

/* Until the child ends; hands on what we are sent. */
static int wait_for(pid_t pid, const sigset_t *heard)
{
    int status = 0;
    for (;;) {
        siginfo_t got;
        const int number = sigwaitinfo(heard, &got);
        if (number == SIGCHLD || number < 0) {
            if (waitpid(pid, &status, WNOHANG) == pid) return status;
        } else if (got.si_code != SI_KERNEL) { /* what a terminal sends, the child has got */
            (void)kill(pid, number);
        }
    }
}

static mz_err start(const emu *e, int *status)
{
    int ends[2], why = 0;
    sigset_t heard, mask;
    const pid_t self = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0) return MZ_FAIL(MZ_EIO, "no pipe: %s", strerror(errno));
    (void)sigemptyset(&heard);
    (void)sigaddset(&heard, SIGCHLD);
    for (int i = 0; i < MZ_COUNT(SIGNALS); i++) (void)sigaddset(&heard, SIGNALS[i]);
    (void)sigprocmask(SIG_BLOCK, &heard, &mask);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) become(e, &mask, ends[1], self);
    (void)close(ends[1]);
    const ssize_t n = pid > 0 ? read(ends[0], &why, sizeof why) : 0;
    (void)close(ends[0]);
    if (pid > 0) *status = wait_for(pid, &heard);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    if (pid < 0) return MZ_FAIL(MZ_EIO, "no process could be made: %s", strerror(errno));
    if (n != sizeof why) return MZ_OK;
    return MZ_FAIL(MZ_EUSAGE, "%s cannot be started: %s", e->argv[0], strerror(why));
}

/* ---- after ---- */

static json_t *command_json(const emu *e)
{
    json_t *list = json_array();
    for (int i = 0; e->argv[i]; i++) (void)json_array_append_new(list, json_string(e->argv[i]));
    return list;
}

static mz_err report(const emu *e, int status)
{
    json_t *sum = NULL;
    MZ_TRY(mz_emu_sum(&sum, e->counters));
    if (!e->as_json) {
        mz_emu_sum_print(sum, e->soc);
        if (e->trace) fprintf(stderr, "emulated %s: the trace is %s\n", e->soc, e->trace);
        json_decref(sum);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "emulated", json_true());
    bad |= json_object_set_new(o, "chip", json_string(e->chip));
    bad |= json_object_set_new(o, "soc", json_string(e->soc));
    bad |= json_object_set_new(o, "command", command_json(e));
    bad |= json_object_set_new(o, "exit",
                               WIFEXITED(status) ? json_integer(WEXITSTATUS(status)) : json_null());
    bad |= json_object_set_new(o, "signal",
                               WIFSIGNALED(status) ? json_integer(WTERMSIG(status)) : json_null());
    bad |= json_object_set_new(o, "trace", e->trace ? json_string(e->trace) : json_null());
    bad |= json_object_update(o, sum);
    json_decref(sum);
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run_all(emu *e, const mz_cli *cli)
{
    int status = 0;
    MZ_TRY(prepare(e, cli));
    fprintf(stderr, "emulated %s, %s device%s: no NPU is used; times are modelled, not measured\n",
            e->soc, e->devices, strcmp(e->devices, "1") == 0 ? "" : "s");
    const mz_err err = start(e, &status);
    if (err != MZ_OK) return err;
    MZ_TRY(report(e, status));
    mz_cli_end_with(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return MZ_OK;
}

static mz_err run(const mz_cli *cli)
{
    emu e = {.chip = NULL};
    const int n = mz_cli_count(cli) - 1;
    mz_err err = mz_mem_new(&e.argv, n + 1, sizeof *e.argv);
    if (err != MZ_OK) return err;
    for (int i = 0; i < n; i++) { /* execvp does not write to them, and says that it may */
        const char *word = mz_cli_argument(cli, i + 1);
        memcpy(&e.argv[i], &word, sizeof word);
    }
    err = run_all(&e, cli);
    if (e.scratch[0]) {
        const mz_err_info said = *mz_err_last();
        (void)mz_folder_remove(e.scratch);
        if (err != MZ_OK) mz_err_restore(&said);
    }
    mz_emu_driver_close(&e.driver);
    mz_str_clear(&e.plan);
    mz_str_clear(&e.library_path);
    mz_mem_free(e.argv);
    return err;
}

const mz_command mz_cmd_emu = {
    .name = "emu",
    .arguments = "CHIP -- PROGRAM [ARGUMENTS...]",
    .least = 2,
    .most = -1,
    .summary = "run any program with an emulated driver in front",
    .description =
        "PROGRAM finds an emulated driver of the chip (ascend) where it would look for\n"
        "the vendor's: no NPU is needed, none is used, and nothing is a measurement.\n"
        "Everything is labelled so on standard error, where the sum of what the devices\n"
        "did comes at the end: operators, FLOP on cube and vector units, bytes, waits of\n"
        "the host, memory, planned faults, modelled time. With --json the sum is a\n"
        "document on standard output, and PROGRAM's own output goes to standard error.\n"
        "\n"
        "The exit code is PROGRAM's, or 128 and the number of the signal that ended it;\n"
        "signals are handed on to it.\n"
        "\n"
        "--trace writes what ran on which stream, with shapes and types, and the calls\n"
        "of the host; the file is whole JSON also where PROGRAM dies. Times in it are\n"
        "modelled from published peak and bandwidth figures.\n"
        "\n"
        "ASCEND_RT_VISIBLE_DEVICES hides and renumbers devices as it does on an NPU.\n"
        "\n"
        "A plan of faults is a list. Each strikes call number `at` (1) of a function on\n"
        "a device (any), `times` (1) times; a name may end in *:\n"
        "\n"
        "  - {kind: out_of_memory, at: 3}\n"
        "  - {kind: error, call: aclnnMm, code: 361001}\n"
        "  - {kind: late, call: aclnnMm, at: 20, device: 1}\n"
        "\n"
        "  out_of_memory    aclrtMalloc gives 207001\n"
        "  error            the call does nothing and gives the code\n"
        "  late             the operator fails, the next wait gives 507015\n"
        "  endless          the operator does not end\n"
        "  silent           the operator writes nothing and says nothing\n"
        "  flip             a bit of an output is wrong: argument, element, bit\n"
        "  ecc              the device is lost to a memory error, 507054\n"
        "  device_lost      the device's heartbeat is lost, 507010\n"
        "  hccl_timeout     a collective does not end in time, 507048\n"
        "  missing_library  library: libopapi_nn.so is not there\n"
        "  missing_symbol   symbol: aclnnMm is not there\n"
        "  version          version: 1.9.0 is what the driver says\n",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan emu ascend -- mizan chips check ascend\n"
                "mizan emu ascend --devices 2 --trace t.json -- python3 train.py\n"
                "mizan emu ascend --fault-plan faults.yaml -- mizan train c.yaml",
    .run = run,
};
