/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_doctor.c - `mizan doctor`: what this machine has and lacks, each lack with the command
 * that mends it. Floor: app. */
#include "app/commands.h"
#include "base/str.h"

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

enum { FINDINGS = 32 };

typedef struct finding {
    const char *name;
    level level;
    char what[160], fix[160];
} finding;

typedef struct findings {
    finding list[FINDINGS];
    int n;
} findings;

static const double GIB = 1073741824.0;

/* fix "" where there is nothing to mend. */
static void add(findings *f, const char *name, level l, const char *what, const char *fix)
{
    if (f->n == FINDINGS) return;
    finding *one = &f->list[f->n++];
    one->name = name, one->level = l;
    (void)snprintf(one->what, sizeof one->what, "%.*s", (int)sizeof one->what - 1, what);
    (void)snprintf(one->fix, sizeof one->fix, "%s", l == OK ? "" : fix);
}

static void libraries(findings *f)
{
    char what[160];
    (void)snprintf(what, sizeof what, "jansson %s, libfyaml %s, zstd %s", jansson_version_str(),
                   fy_library_version(), ZSTD_versionString());
    add(f, "libraries", OK, what, "");
    add(f, "crypto", OK, OpenSSL_version(OPENSSL_VERSION), "");
}

/* Opened only to see that it is there; nothing is called in it. */
static void opened(findings *f, const char *name, const char *file, const char *fix)
{
    void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
    char what[160];
    (void)snprintf(what, sizeof what, "%s %s", file, library ? "is there" : "is not installed");
    add(f, name, library ? OK : NOTE, what, fix);
    if (library) (void)dlclose(library);
}

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
    char what[160];
    if (getrlimit(which, &r) != 0) return;
    const bool none = r.rlim_cur == RLIM_INFINITY;
    if (none)
        (void)snprintf(what, sizeof what, "no limit");
    else
        (void)snprintf(what, sizeof what, "%llu", (unsigned long long)r.rlim_cur);
    add(f, name, none || (double)r.rlim_cur >= least ? OK : WARNING, what, fix);
}

static void surroundings(findings *f, const char *folder)
{
    char what[160], fix[160];
    const bool writes = access(folder, W_OK | X_OK) == 0;
    (void)snprintf(what, sizeof what, "%.80s %s", folder,
                   writes ? "can be written in" : strerror(errno));
    (void)snprintf(fix, sizeof fix, "mkdir -p '%.60s'; chmod u+rwx '%.60s'", folder, folder);
    add(f, "run folder", writes ? OK : ERROR, what, fix);
    (void)setlocale(LC_CTYPE, "");
    const char *set = nl_langinfo(CODESET);
    (void)snprintf(what, sizeof what, "%s", set);
    add(f, "locale", strcmp(set, "UTF-8") == 0 ? OK : NOTE, what, "export LC_ALL=C.UTF-8");
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
        (void)snprintf(fix, sizeof fix, "usermod -aG \"$(stat -c %%G %s)\" \"$USER\"; newgrp",
                       nodes[i]);
        add(f, "device", may ? OK : WARNING, what, fix);
    }
}

static void look(findings *f, const mz_cli *cli, const char *folder)
{
    libraries(f);
    opened(f, "MPI", "libmpi.so.40", "apt-get install openmpi-bin");
    opened(f, "OpenCL", "libOpenCL.so.1", "apt-get install ocl-icd-libopencl1");
    processor(f, cli);
    memory(f);
    space(f, "disk", folder, GIB, WARNING, "free some space, or name another folder: --run-dir");
    space(f, "/dev/shm", "/dev/shm", 64.0 * 1048576.0, WARNING,
          "mount -o remount,size=1G /dev/shm (several ranks talk through it)");
    limit(f, "open files", RLIMIT_NOFILE, 1024.0, "ulimit -n 4096");
    limit(f, "locked", RLIMIT_MEMLOCK, 65536.0, "ulimit -l unlimited");
    limit(f, "stack", RLIMIT_STACK, 1048576.0, "ulimit -s 8192");
    surroundings(f, folder);
    devices(f);
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
