/* SPDX-License-Identifier: Apache-2.0 */
/* tests/scratch.c - see scratch.h. */
#include "tests/scratch.h"

#include "base/file.h"
#include "base/folder.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[512];

int scratch_make(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    const char *fast = mz_file_is_dir("/dev/shm") ? "/dev/shm" : "/tmp"; /* fsync costs nothing */
    (void)snprintf(folder, sizeof folder, "%s/mz-train-XXXXXX", tmp && *tmp ? tmp : fast);
    return mkdtemp(folder) ? 0 : -1;
}

int scratch_remove(void **state)
{
    (void)state;
    return mz_folder_remove(folder) == MZ_OK ? 0 : -1;
}

const char *scratch_path(const char *name)
{
    static char path[8][1024];
    static unsigned turn;
    char *p = path[turn++ % 8];
    assert_int_equal(mz_path_join(p, sizeof path[0], folder, name), MZ_OK);
    return p;
}

const char *scratch_write(const char *name, const char *text)
{
    const char *path = scratch_path(name);
    assert_int_equal(mz_file_write(path, text, strlen(text)), MZ_OK);
    return path;
}

void scratch_clear(void)
{
    assert_int_equal(mz_folder_remove(folder), MZ_OK);
    assert_int_equal(mz_file_mkdirs(folder), MZ_OK);
}
