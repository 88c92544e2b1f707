/* SPDX-License-Identifier: Apache-2.0 */
/* base/inside.c - see inside.h. Looks alone do not show where a name leads, so the system is asked.
 */
#include "base/inside.h"

#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mz_err bad(mz_err code, const char *from, const char *name, const char *what)
{
    const mz_err err = name[0] ? MZ_FAIL(code, "%s: %s: %s", from, name, what)
                               : MZ_FAIL(code, "%s: %s", from, what);
    mz_note_where(from, name, -1);
    return err;
}

static bool is_below(const char *path, const char *root)
{
    const size_t n = strlen(root);
    return n > 0 && strncmp(path, root, n) == 0 && path[n] == '/';
}

/* Whether name stays below a folder by its looks alone. */
static bool is_plain(const char *name)
{
    if (!name[0] || name[0] == '/' || strchr(name, '\\')) return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        const size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
    }
    return true;
}

/* Where a hub cache keeps the files of the snapshot at root; "" if it is none. */
static void blobs_of(char blobs[PATH_MAX], const char *root)
{
    static const char snapshots[] = "/snapshots";
    const char *slash = strrchr(root, '/');
    const size_t n = slash ? (size_t)(slash - root) : 0, tail = sizeof snapshots - 1;
    blobs[0] = '\0';
    if (n > tail && memcmp(slash - tail, snapshots, tail) == 0)
        (void)snprintf(blobs, PATH_MAX, "%.*s/blobs", (int)(n - tail), root);
}

mz_err mz_inside(char out[MZ_INSIDE_BYTES], const char *folder, const char *name, const char *from)
{
    char root[PATH_MAX], blobs[PATH_MAX], real[PATH_MAX];
    MZ_NEED(out && folder && name && from, "an argument is NULL");
    if (!is_plain(name)) return bad(MZ_ECORRUPT, from, name, "a file name that leaves the folder");
    if (mz_path_join(out, MZ_INSIDE_BYTES, folder, name) != MZ_OK)
        return bad(MZ_ECORRUPT, from, name, "a file name that is too long");
    if (!realpath(folder, root)) return bad(MZ_EIO, folder, "", strerror(errno));
    if (!realpath(out, real)) {
        const bool missing = errno == ENOENT || errno == ENOTDIR;
        const bool is_long = errno == ENAMETOOLONG;
        return bad(missing || is_long ? MZ_ECORRUPT : MZ_EIO, from, name,
                   missing ? "this file is missing" : strerror(errno));
    }
    blobs_of(blobs, root);
    if (!is_below(real, root) && !is_below(real, blobs))
        return bad(MZ_ECORRUPT, from, name, "a link that leaves the folder");
    return MZ_OK;
}

mz_err mz_inside_check(const char *folder, const char *name)
{
    char path[MZ_INSIDE_BYTES];
    return mz_inside(path, folder, name, folder);
}
