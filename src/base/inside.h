/* SPDX-License-Identifier: Apache-2.0 */
/* base/inside.h - the one way from a name that a file gives to a file: never out of the folder.
 *
 * A name is relative, without "." or ".." in it, without backslashes, and the file it leads to,
 * links followed, lies inside the folder. One exception: in a hub cache (.../snapshots/REVISION)
 * files are links into .../blobs, and those are followed. Floor:  base. Errors: MZ_ECORRUPT with
 * `from` as the file and the name as the field: a name or a link that leaves the folder, a file
 * that is missing; MZ_EIO what the system says otherwise. */
#ifndef MZ_BASE_INSIDE_H
#define MZ_BASE_INSIDE_H

#include "base/err.h"

enum { MZ_INSIDE_BYTES = 4096 };

/* out: "folder/name", not the place that links lead to, so that messages show what was asked for.
 */
mz_err mz_inside(char out[MZ_INSIDE_BYTES], const char *folder, const char *name, const char *from);

/* The same for a file that is there under a name of our own, whose path the caller makes: only
 * whether it lies inside. */
mz_err mz_inside_check(const char *folder, const char *name);

#endif
