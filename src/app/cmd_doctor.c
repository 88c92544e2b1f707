/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_doctor.c - `mizan doctor`: what this machine has and lacks, each lack with the command
 * that mends it. Floor: app. */
#include "app/commands.h"
#include "app/completion.h"
#include "app/demo.h"
#include "app/packages.h"
#include "app/shell.h"
#include "base/file.h"
#include "base/str.h"
#include "runs/registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <langinfo.h>
#include <libfyaml.h>
#include <locale.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

static const mz_option OPTIONS[] = {
    {.name = "run-dir",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "the folder that runs will be written in (default: the current one)"},
    {0}};

/* An error is something that every run needs. */
typedef enum level { OK, NOTE, WARNING, ERROR } level;
static const char *const LEVELS[] = {"ok", "note", "warning", "error"};

enum { FINDINGS = 64 };

typedef struct finding {
    char name[32];
    level level;
    char what[256], fix[256];
} finding;

typedef struct findings {
    finding list[FINDINGS];
    int n;
} findings;

static const double GIB = 1073741824.0;

/* fix "" where there is nothing to mend. What is too long is cut. */
static void add(findings *f, const char *name, level l, const char *what, const char *fix)
{
    if (f->n == FINDINGS) return;
    finding *one = &f->list[f->n++];
    one->level = l;
    (void)snprintf(one->name, sizeof one->name, "%s", name);
    (void)snprintf(one->what, sizeof one->what, "%.*s", (int)sizeof one->what - 1, what);
    (void)snprintf(one->fix, sizeof one->fix, "%.*s", (int)sizeof one->fix - 1, l == OK ? "" : fix);
}

static void libraries(findings *f)
{
    char what[160];
    (void)snprintf(what, sizeof what, "jansson %s, libfyaml %s, zstd %s", jansson_version_str(),
                   fy_library_version(), ZSTD_versionString());
    add(f, "libraries", OK, what, "");
    add(f, "crypto", OK, OpenSSL_version(OPENSSL_VERSION), "");
}

/* Opened only to see that it is there; nothing is called in it. It stays mapped: what some do while
 * they are loaded (Open MPI of Ubuntu 22.04 puts text of its own into the environment) does not
 * survive that they go. */
static void opened(findings *f, const char *name, const char *file, mz_package package)
{
    void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    char what[160], fix[160];
    (void)snprintf(what, sizeof what, "%s %s", file, library ? "is there" : "is not installed");
    mz_package_fix(fix, sizeof fix, package, "");
    add(f, name, library ? OK : NOTE, what, fix);
    if (library) (void)dlclose(library);
}

static void demo_text(findings *f)
{
    char fix[160];
    const bool there = mz_demo_text_place() != NULL;
    mz_package_fix(fix, sizeof fix, MZ_PACKAGE_TEXT, "");
    add(f, "demo text", there ? OK : NOTE,
        there ? mz_demo_text_place() : "no text for `mizan demo` (or give it one: --text)", fix);
}

/* ---- chips, through their own openers ---- */

static void processor(findings *f, const mz_cli *cli)
{
    mz_device *device = NULL;
    const mz_chip_options options = mz_cli_chip_options(cli);
    char what[160];
    if (mz_device_open(&device, "cpu", &options) != MZ_OK) {
        add(f, "cpu", ERROR, mz_err_last()->message, "mizan chips");
        mz_err_clear();
        return;
    }
    (void)snprintf(what, sizeof what, "instructions %s, %d threads", device->info.isa,
                   device->info.threads);
    add(f, "cpu", OK, what, "");
    mz_device_close(device);
}

/* The name of a set of instructions in the system's list of them, as a whole word; the line has its
 * own name before it. */
static bool processor_lists(const char *flag)
{
    static char line[8192];
    bool found = false;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && !found && fgets(line, sizeof line, file)) {
        if (!mz_str_starts(line, "flags") && !mz_str_starts(line, "Features")) continue;
        const size_t n = strlen(flag);
        for (const char *at = line; !found && (at = strstr(at, flag)); at += n)
            found = at[-1] == ' ' && strchr(" \n", at[n]);
        break;
    }
    if (file) (void)fclose(file);
    return found;
}

static bool runs_set(const char *isa)
{
    mz_device *device = NULL;
    const mz_chip_options options = {.isa = isa};
    const bool runs = mz_device_open(&device, "cpu", &options) == MZ_OK;
    mz_device_close(device);
    mz_err_clear();
    return runs;
}

/* Every set that the processor has and this program could use is used, or it is said why not. */
static void instructions(findings *f)
{
    static const char *const sets[][2] = {
        {"amx", "amx_bf16"}, {"avx512", "avx512vl"}, {"avx2", "avx2"}, {"neon", "asimd"}};
    char usable[128] = "portable";
    for (int i = MZ_COUNT(sets) - 1; i >= 0; i--) {
        const size_t n = strlen(usable);
        if (runs_set(sets[i][0])) {
            (void)snprintf(usable + n, sizeof usable - n, ", %s", sets[i][0]);
            continue;
        }
        if (!processor_lists(sets[i][1])) continue;
        char what[160];
        (void)snprintf(what, sizeof what, "the processor has %s, and it cannot be used",
                       sets[i][0]);
        add(f, sets[i][0], WARNING, what,
            i == 0 ? "use Linux 5.16 or newer, which grants the tiles (arch_prctl), and a build by "
                     "a compiler that knows AMX"
                   : "build with a newer compiler");
    }
    add(f, "sets", OK, usable, "");
}

/* Chips that are neither the processor nor there for tests: usable, or why their driver is not. */
static void accelerators(findings *f, const mz_cli *cli)
{
    const mz_chip_options options = mz_cli_chip_options(cli);
    for (int i = 0; i < mz_chip_count(); i++) {
        const mz_chip *chip = mz_chip_get(i);
        mz_device *device = NULL;
        char what[256];
        if (chip->is_test || mz_complete_is_around(chip) || strcmp(chip->name, "cpu") == 0 ||
            strcmp(chip->name, "ref") == 0)
            continue;
        if (mz_device_open(&device, chip->name, &options) == MZ_OK) {
            (void)snprintf(what, sizeof what, "%s%s%s%s", device->info.model,
                           device->info.driver[0] ? ", " : "", device->info.driver,
                           device->info.emulated ? ", emulated" : "");
            add(f, chip->name, OK, what, "");
            mz_device_close(device);
        } else {
            const mz_err_info *why = mz_err_last();
            add(f, chip->name, NOTE, why->message,
                why->fix[0] ? why->fix : "install its driver, or point --driver-path at it");
            mz_err_clear();
        }
    }
}

/* A number in a file of the system; -1: none, or "max". */
static double number_in(const char *path)
{
    char text[64] = "";
    double x = -1.0;
    FILE *file = fopen(path, "r");
    if (!file) return -1.0;
    if (!fgets(text, sizeof text, file) || sscanf(text, "%lf", &x) != 1) x = -1.0;
    (void)fclose(file);
    return x;
}

static void memory(findings *f)
{
    char what[160], left[32];
    const double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    const double limit = number_in("/sys/fs/cgroup/memory.max");
    const bool bounded = limit > 0.0 && limit < all;
    const double most = bounded ? limit : all;
    (void)snprintf(what, sizeof what, "%s%s", mz_str_bytes(left, most),
                   bounded ? ", by the limit of the control group" : "");
    add(f, "memory", most < GIB ? WARNING : OK, what, "use a machine or a limit of 1 GiB or more");
}

/* Large models are walked through faster in pages of 2 MiB. */
static void pages(findings *f)
{
    char text[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file && !fgets(text, sizeof text, file)) text[0] = '\0';
    if (file) (void)fclose(file);
    text[strcspn(text, "\n")] = '\0';
    const bool never = !text[0] || strstr(text, "[never]");
    add(f, "huge pages", never ? NOTE : OK, text[0] ? text : "this system has none",
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

static void space(findings *f, const char *name, const char *path, double least, level bad,
                  const char *fix)
{
    struct statvfs fs;
    char what[160], left[32];
    if (statvfs(path, &fs) != 0) {
        (void)snprintf(what, sizeof what, "%.80s: %s", path, strerror(errno));
        add(f, name, bad, what, fix);
        return;
    }
    const double is_free = (double)fs.f_bavail * (double)fs.f_frsize;
    (void)snprintf(what, sizeof what, "%s free in %.80s", mz_str_bytes(left, is_free), path);
    add(f, name, is_free < least ? bad : OK, what, fix);
}

static void limit(findings *f, const char *name, __rlimit_resource_t which, double least,
                  const char *fix)
{
    struct rlimit r;
    char what[160], bytes[32];
    if (getrlimit(which, &r) != 0) return;
    const bool none = r.rlim_cur == RLIM_INFINITY;
    if (none)
        (void)snprintf(what, sizeof what, "no limit");
    else if (which == RLIMIT_NOFILE)
        (void)snprintf(what, sizeof what, "%llu", (unsigned long long)r.rlim_cur);
    else
        (void)snprintf(what, sizeof what, "%s", mz_str_bytes(bytes, (double)r.rlim_cur));
    add(f, name, none || (double)r.rlim_cur >= least ? OK : WARNING, what, fix);
}

/* That files can be made there; one that is not there yet can be made itself. */
static void folder_of(findings *f, const char *name, const char *path, level bad)
{
    char what[256];
    mz_str fix = {0};
    const bool writes = access(path, W_OK | X_OK) == 0;
    (void)snprintf(what, sizeof what, "%.200s: %s", path,
                   writes ? "can be written in" : strerror(errno));
    mz_err err = mz_str_addf(&fix, "mkdir -p ");
    if (err == MZ_OK) err = mz_shell_word(&fix, path);
    if (err == MZ_OK) err = mz_str_addf(&fix, " && chmod u+rwx ");
    if (err == MZ_OK) err = mz_shell_word(&fix, path);
    add(f, name, writes ? OK : bad, what, err == MZ_OK ? fix.text : "chmod u+rwx");
    mz_str_clear(&fix);
}

/* Where runs are noted; what is not there yet is made when it is wanted, if what it lies in can be
 * written in. */
static void registry(findings *f)
{
    char path[MZ_RUN_PATH], what[256], fix[256];
    mz_registry *r = NULL;
    mz_run_entries e = {0};
    mz_err err = mz_registry_where(path);
    if (err == MZ_OK) err = mz_registry_open(&r, path, false);
    if (err == MZ_OK) err = mz_registry_list(r, &e);
    const int64_t runs = e.n;
    mz_run_entries_clear(&e);
    mz_registry_close(r);
    if (err != MZ_OK) {
        const mz_err_info *why = mz_err_last();
        (void)snprintf(what, sizeof what, "%.255s", why->message);
        (void)snprintf(fix, sizeof fix, "%.255s", why->fix[0] ? why->fix : "mizan runs list");
        mz_err_clear();
        add(f, "registry", WARNING, what, fix);
        return;
    }
    (void)snprintf(what, sizeof what, "%lld runs in %.200s", (long long)runs, path);
    for (char *cut; access(path, F_OK) != 0 && (cut = strrchr(path, '/')) && cut > path;)
        *cut = '\0';
    if (access(path, W_OK) == 0)
        add(f, "registry", OK, what, "");
    else
        folder_of(f, "registry", path, WARNING);
}

static void surroundings(findings *f, const char *folder)
{
    folder_of(f, "run folder", folder, ERROR);
    registry(f);
    (void)setlocale(LC_CTYPE, "");
    const char *set = nl_langinfo(CODESET);
    add(f, "locale", strcmp(set, "UTF-8") == 0 ? OK : NOTE, set, "export LC_ALL=C.UTF-8");
    (void)setlocale(LC_CTYPE, "C");
    const time_t now = time(NULL);
    add(f, "clock", now > 1735689600 ? OK : WARNING, /* 2025 */
        now > 1735689600 ? "is set" : "stands before 2025", "timedatectl set-ntp true");
    add(f, "terminal", isatty(STDERR_FILENO) ? OK : NOTE,
        isatty(STDERR_FILENO) ? "progress is shown in place" : "progress is a line a second", "");
}

/* Nodes of devices that are there and that this user may not open. */
static void devices(findings *f)
{
    static const char *const nodes[] = {"/dev/dri/renderD128", "/dev/nvidia0", "/dev/davinci0"};
    char what[160], fix[160];
    for (int i = 0; i < MZ_COUNT(nodes); i++) {
        if (access(nodes[i], F_OK) != 0) continue;
        const bool may = access(nodes[i], R_OK | W_OK) == 0;
        (void)snprintf(what, sizeof what, "%s %s", nodes[i], may ? "can be used" : strerror(errno));
        (void)snprintf(fix, sizeof fix,
                       "sudo usermod -aG \"$(stat -c %%G %s)\" \"$USER\" (then log in again)",
                       nodes[i]);
        add(f, "device", may ? OK : WARNING, what, fix);
    }
}

static void look(findings *f, const mz_cli *cli, const char *folder)
{
    libraries(f);
    opened(f, "MPI", "libmpi.so.40", MZ_PACKAGE_MPI);
    opened(f, "OpenCL", "libOpenCL.so.1", MZ_PACKAGE_OPENCL);
    processor(f, cli);
    instructions(f);
    accelerators(f, cli);
    memory(f);
    pages(f);
    space(f, "disk", folder, GIB, WARNING, "free some space, or name another folder: --run-dir");
    space(f, "/dev/shm", "/dev/shm", 64.0 * 1048576.0, WARNING,
          "mount -o remount,size=1G /dev/shm (several ranks talk through it)");
    limit(f, "open files", RLIMIT_NOFILE, 1024.0, "ulimit -n 4096");
    limit(f, "locked", RLIMIT_MEMLOCK, 65536.0, "ulimit -l unlimited");
    limit(f, "stack", RLIMIT_STACK, 1048576.0, "ulimit -s 8192");
    surroundings(f, folder);
    devices(f);
    demo_text(f);
}

static mz_err print(const mz_cli *cli, const findings *f, bool usable)
{
    if (!mz_cli_flag(cli, "json")) {
        for (int i = 0; i < f->n; i++) {
            const finding *one = &f->list[i];
            printf("%-8s %-11s %s\n", LEVELS[one->level], one->name, one->what);
            if (one->fix[0]) printf("%20s mend: %s\n", "", one->fix);
        }
        return MZ_OK;
    }
    json_t *o = mz_cli_document(), *list = json_array();
    int bad = 0;
    for (int i = 0; i < f->n; i++) {
        const finding *one = &f->list[i];
        json_t *e = json_object();
        bad |= json_object_set_new(e, "name", json_string(one->name));
        bad |= json_object_set_new(e, "state", json_string(LEVELS[one->level]));
        bad |= json_object_set_new(e, "what", json_string(one->what));
        bad |= json_object_set_new(e, "fix", one->fix[0] ? json_string(one->fix) : json_null());
        bad |= json_array_append_new(list, e);
    }
    bad |= json_object_set_new(o, "usable", json_boolean(usable));
    bad |= json_object_set_new(o, "findings", list);
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli)
{
    findings f = {.n = 0};
    const finding *first = NULL;
    look(&f, cli, mz_cli_text(cli, "run-dir", "."));
    for (int i = f.n - 1; i >= 0; i--)
        if (f.list[i].level == ERROR) first = &f.list[i];
    MZ_TRY(print(cli, &f, !first));
    if (!first) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "%s: %s", first->name, first->what);
    mz_note_fix("%s", first->fix);
    return err;
}

const mz_command mz_cmd_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "what this machine has and lacks, and how to mend it",
    .description = "Each finding is ok, note, warning or error. An error is something that every\n"
                   "run needs: then it ends with 69, else with 0.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP,
    .examples = "mizan doctor\n"
                "mizan doctor --json --run-dir runs",
    .run = run,
};
