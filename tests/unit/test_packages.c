/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_packages.c - which package manager a machine has, by a folder in place of its
 * root. */
#include "app/packages.h"
#include "base/err.h"
#include "base/file.h"
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void by_manager(void **state)
{
    static const struct {
        const char *folder, *file, *text, *mpi;
    } all[] = {
        {"a/usr/bin", "apt-get", "apt-get install fortunes", "apt-get install openmpi-bin"},
        {"d/usr/bin", "dnf", "dnf install fortune-mod", "dnf install openmpi"},
        {"p/usr/bin", "pacman", "pacman -S fortune-mod", "pacman -S openmpi"},
        {"z/usr/bin", "zypper", "zypper install fortune", "zypper install openmpi4"},
        {"b/opt/homebrew/bin", "brew", "brew install fortune", "brew install open-mpi"},
        {"n/usr/bin", "none", "the text of fortune", "Open MPI"},
    };
    (void)state;
    for (int i = 0; i < MZ_COUNT(all); i++) {
        char path[512], fix[160];
        (void)snprintf(path, sizeof path, "%s", scratch_path(all[i].folder));
        assert_int_equal(mz_file_mkdirs(path), MZ_OK);
        (void)snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", all[i].file);
        assert_int_equal(mz_file_write(path, "", 0), MZ_OK);
        const char root[] = {all[i].folder[0], '\0'};
        (void)snprintf(path, sizeof path, "%s", scratch_path(root));
        mz_package_fix(fix, sizeof fix, MZ_PACKAGE_TEXT, path);
        assert_non_null(strstr(fix, all[i].text));
        mz_package_fix(fix, sizeof fix, MZ_PACKAGE_MPI, path);
        assert_non_null(strstr(fix, all[i].mpi));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_manager),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
