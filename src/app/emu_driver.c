/* SPDX-License-Identifier: Apache-2.0 */
/* app/emu_driver.c - where the emulated driver of a chip lies, and what it knows. Floor: app. */
#include "app/emu.h"
#include "base/file.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAMES_MAX = 32 };

/* From this program's folder: where the build puts drivers, and where they are installed. */
static const char *const PLACES[] = {"emu", MIZAN_EMU_INSTALLED};

static mz_err own_folder(char folder[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    if (n <= 0) return MZ_FAIL(MZ_EIO, "/proc/self/exe: this program does not find itself");
    folder[n] = '\0';
    *strrchr(folder, '/') = '\0';
    return MZ_OK;
}

static mz_err look(mz_emu_driver *driver, const char *chip, mz_str *looked)
{
    char own[PATH_MAX], place[PATH_MAX], path[PATH_MAX];
    MZ_TRY(own_folder(own));
    for (int i = 0; i < MZ_COUNT(PLACES) && !driver->folder[0]; i++) {
        MZ_TRY(mz_path_join(place, sizeof place, own, PLACES[i]));
        MZ_TRY(mz_path_join(driver->folder, sizeof driver->folder, place, chip));
        MZ_TRY(mz_path_join(path, sizeof path, driver->folder, "libascendcl.so"));
        if (mz_file_exists(path)) break;
        MZ_TRY(mz_str_addf(looked, "%s%s", looked->len ? " and " : "", driver->folder));
        driver->folder[0] = '\0';
    }
    return MZ_OK;
}

static mz_err open_library(mz_emu_driver *driver)
{
    char path[PATH_MAX];
    MZ_TRY(mz_path_join(path, sizeof path, driver->folder, "libmizan_emu_ascend.so"));
    driver->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (driver->library) {
        *(void **)&driver->socs = dlsym(driver->library, "mizan_emulated_ascend_socs");
        *(void **)&driver->judge = dlsym(driver->library, "mizan_emulated_ascend_judge");
    }
    if (driver->socs && driver->judge) return MZ_OK;
    const char *why = dlerror();
    return MZ_FAIL(MZ_ENOTSUP, "the emulated driver does not open: %.300s", why ? why : path);
}

mz_err mz_emu_driver_open(mz_emu_driver *driver, const char *chip)
{
    mz_str looked = {0};
    *driver = (mz_emu_driver){.library = NULL};
    mz_err err = look(driver, chip, &looked);
    if (err == MZ_OK && !driver->folder[0]) {
        err = MZ_FAIL(MZ_ENOTSUP, "the emulated driver of %s is not there: looked in %.600s", chip,
                      looked.text);
        mz_note_fix("build it (`cmake --build BUILD` makes BUILD/emu/%s) or install Mizan whole",
                    chip);
    }
    mz_str_clear(&looked);
    return err == MZ_OK ? open_library(driver) : err;
}

void mz_emu_driver_close(mz_emu_driver *driver)
{
    if (driver->library) (void)dlclose(driver->library);
    driver->library = NULL;
}

mz_err mz_emu_driver_knows(const mz_emu_driver *driver, const char *soc)
{
    char list[512], *rest = NULL;
    const char *names[NAMES_MAX];
    int n = 0;
    (void)snprintf(list, sizeof list, "%s", driver->socs());
    for (char *name = strtok_r(list, " ", &rest); name && n < NAMES_MAX;
         name = strtok_r(NULL, " ", &rest))
        names[n++] = name;
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], soc) == 0) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_EUSAGE, "no chip %s is emulated: there are %s", soc, driver->socs());
    const char *near = mz_str_nearest(soc, names, n);
    if (near) mz_note_fix("did you mean --soc %s?", near);
    return err;
}
