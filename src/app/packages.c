/* SPDX-License-Identifier: Apache-2.0 */
/* app/packages.c - see packages.h. Floor: app. */
#include "app/packages.h"

#include "base/err.h"
#include "base/file.h"

#include <stdio.h>
#include <unistd.h>

/* In the order of mz_package. brew is not for root. */
static const struct {
    const char *program, *install;
    const char *names[3];
} MANAGERS[] = {
    {"usr/bin/apt-get", "apt-get install", {"openmpi-bin", "ocl-icd-libopencl1", "fortunes"}},
    {"usr/bin/dnf", "dnf install", {"openmpi", "ocl-icd", "fortune-mod"}},
    {"usr/bin/pacman", "pacman -S", {"openmpi", "ocl-icd", "fortune-mod"}},
    {"usr/bin/zypper", "zypper install", {"openmpi4", "libOpenCL1", "fortune"}},
    {"opt/homebrew/bin/brew", "brew install", {"open-mpi", "ocl-icd", "fortune"}},
    {"home/linuxbrew/.linuxbrew/bin/brew", "brew install", {"open-mpi", "ocl-icd", "fortune"}},
};

void mz_package_fix(char *out, size_t n, mz_package package, const char *root)
{
    static const char *const names[] = {"Open MPI", "an OpenCL loader (ocl-icd)",
                                        "the text of fortune"};
    char path[512];
    for (int i = 0; i < MZ_COUNT(MANAGERS); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", root, MANAGERS[i].program);
        if (!mz_file_exists(path)) continue;
        const bool as_root = geteuid() == 0 || MANAGERS[i].install[0] == 'b';
        (void)snprintf(out, n, "%s%s %s", as_root ? "" : "sudo ", MANAGERS[i].install,
                       MANAGERS[i].names[package]);
        return;
    }
    (void)snprintf(out, n, "install %s with this system's package manager", names[package]);
}
