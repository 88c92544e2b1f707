/* SPDX-License-Identifier: Apache-2.0 */
/* app/emu.h - between cmd_emu.c and its parts: where an emulated driver lies, a plan of faults, a
 * folder of libraries that lacks what the plan says, and the sum at the end.
 *
 * The driver meets this program only through its folder, the environment, and two functions by
 * which it says which chips it knows and what is wrong with a plan. Floor: app. */
#ifndef MZ_APP_EMU_H
#define MZ_APP_EMU_H

#include "app/cli.h"
#include "base/str.h"

#include <limits.h>

typedef struct mz_emu_driver {
    char folder[PATH_MAX];
    void *library;
    const char *(*socs)(void);                         /* names with blanks between them */
    const char *(*judge)(const char *plan, int *line); /* what is wrong, or NULL */
} mz_emu_driver;

/* ---- emu_driver.c ---- */
/* Beside this program, or where it is installed. MZ_ENOTSUP with the folders that were looked at.
 */
mz_err mz_emu_driver_open(mz_emu_driver *driver, const char *chip);
void mz_emu_driver_close(mz_emu_driver *driver);
/* MZ_EUSAGE with the nearest chip and the list. */
mz_err mz_emu_driver_knows(const mz_emu_driver *driver, const char *soc);

/* ---- emu_plan.c ---- */
/* Reads a plan (YAML or JSON) as lines "KIND KEY=VALUE ...", which the driver has found good.
 * MZ_EIO; MZ_ECONFIG with FILE:LINE:COLUMN and what there is instead. */
mz_err mz_emu_plan_read(mz_str *lines, const char *path, const mz_emu_driver *driver);

/* ---- emu_folder.c ---- */
/* Whether the plan leaves out a library or a function. */
bool mz_emu_folder_is_needed(const char *lines);
/* Makes `into`: links to all of the driver's files but what the plan leaves out; a function that is
 * left out has another name in a copy. MZ_EIO; MZ_ECONFIG: the driver has no such thing. */
mz_err mz_emu_folder_make(const char *into, const char *lines, const mz_emu_driver *driver);

/* ---- emu_sum.c ---- */
/* What the processes left in the folder: {"processes": [...], "total": {...}}. */
mz_err mz_emu_sum(json_t **sum, const char *folder);
/* For people, on stderr. */
void mz_emu_sum_print(const json_t *sum, const char *soc);

#endif
