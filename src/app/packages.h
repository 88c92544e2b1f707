/* SPDX-License-Identifier: Apache-2.0 */
/* app/packages.h - how this machine installs what is missing. Floor: app. */
#ifndef MZ_APP_PACKAGES_H
#define MZ_APP_PACKAGES_H

#include <stddef.h>

typedef enum mz_package {
    MZ_PACKAGE_MPI,    /* Open MPI */
    MZ_PACKAGE_OPENCL, /* the loader of OpenCL drivers */
    MZ_PACKAGE_TEXT    /* English for `mizan demo` */
} mz_package;

/* "sudo apt-get install openmpi-bin", by the first of apt-get, dnf, pacman, zypper and brew that is
 * installed; where there is none, what to look for. root: "" (tests: a folder in its place). */
void mz_package_fix(char *out, size_t n, mz_package package, const char *root);

#endif
