/* SPDX-License-Identifier: Apache-2.0 */
/* base/folder.h - folders as units: listed, renamed durably, removed, locked; and files that only
 * grow.
 *
 * Floor:  base.
 * Errors: MZ_EIO with the path and the system's text; MZ_ENOMEM; MZ_EBUSY from mz_lock_take.
 * Every call passes the gate of mz_file_fail_at. */
#ifndef MZ_BASE_FOLDER_H
#define MZ_BASE_FOLDER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mz_names {
    char **list; /* sorted by strcmp, without "." and ".." */
    int64_t n;
} mz_names;
/* A folder that is not there has no names; one that cannot be looked at is an error. */
mz_err mz_folder_list(mz_names *names, const char *path);
void mz_names_clear(mz_names *names);

/* Renames and fsyncs the folder that holds `to` (both paths lie in one folder). After a failure of
 * that fsync either name may be the one that survives a power cut. */
mz_err mz_folder_rename(const char *from, const char *to);
/* Removes a file, a link (not what it points to) or a folder with all that is in it. What is not
 * there is no error. */
mz_err mz_folder_remove(const char *path);

/* A lock on a file that is made for it; the system drops it when the process ends, however. */
typedef struct mz_lock {
    int fd; /* -1: none */
} mz_lock;
mz_err mz_lock_take(mz_lock *lock, const char *path);
void mz_lock_drop(mz_lock *lock);

/* Appending to a file, which is made if it is not there. */
typedef struct mz_appender {
    int fd; /* -1: closed */
    char path[1024];
} mz_appender;
mz_err mz_appender_open(mz_appender *a, const char *path);
/* All or a failure; after a failure a part may stand at the end of the file. */
mz_err mz_appender_put(mz_appender *a, const void *bytes, size_t n);
mz_err mz_appender_sync(mz_appender *a);
void mz_appender_close(mz_appender *a);

#endif
