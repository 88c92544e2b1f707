/* SPDX-License-Identifier: Apache-2.0 */
/* base/file.h - mapped reading and durable writing.
 *
 * A file that Mizan writes appears whole or not at all: written under a temporary name in the same
 * folder, fsynced, renamed, and the folder fsynced.
 * Floor:  base.
 * Errors: MZ_EIO with the path and the system's text; MZ_ENOMEM.
 * Owner:  mz_map and mz_writer own what they open; close/abort frees. */
#ifndef MZ_BASE_FILE_H
#define MZ_BASE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct mz_map {
    const unsigned char *data; /* read-only; NULL for an empty file */
    size_t bytes;
    /* which file it is, and when it was written to last */
    uint64_t device, inode;
    int64_t changed_s, changed_ns;
} mz_map;
/* Maps a regular file read-only (not a folder, not a device, not a pipe). Whoever makes the file
 * shorter while it is mapped makes reading beyond its new end a SIGBUS, or zeros in a program that
 * called mz_torn_guard; Mizan's own writers replace files and never shorten them. */
mz_err mz_map_open(mz_map *map, const char *path);
/* MZ_EIO if the file became shorter or was written to since it was mapped: what was read may then
 * be of two files. To be asked when reading is done. A file that was replaced or removed is intact.
 */
mz_err mz_map_intact(const mz_map *map, const char *path);
void mz_map_close(mz_map *map);

/* Reads a whole small file (at most max_bytes, else MZ_ECORRUPT) into memory of mz_mem_new,
 * NUL-terminated. */
mz_err mz_file_read(const char *path, size_t max_bytes, char **text, size_t *bytes);

typedef struct mz_writer mz_writer;
/* A symbolic link under that name is replaced, not followed. */
mz_err mz_writer_open(mz_writer **w, const char *path);
mz_err mz_writer_put(mz_writer *w, const void *bytes, size_t n);
/* Makes the file durable under its name and frees w; on failure the new file is left under neither
 * name, and an old file of that name is still there. */
mz_err mz_writer_commit(mz_writer *w);
void mz_writer_abort(mz_writer *w);                                  /* NULL is legal */
mz_err mz_file_write(const char *path, const void *bytes, size_t n); /* the three in one */

bool mz_file_exists(const char *path);
bool mz_file_is_dir(const char *path);
mz_err mz_file_mkdirs(const char *path); /* like mkdir -p */
/* "dir/name" into out; MZ_EINVAL if it does not fit. */
mz_err mz_path_join(char *out, size_t out_bytes, const char *dir, const char *name);

/* Fault hook, like mz_mem_fail_at: the n-th file system call from now fails with `error` (an
 * errno). error 0: if it is a read or a write, it moves half of the bytes instead. Calls that only
 * clean up after a failure are not counted. */
void mz_file_fail_at(int64_t n, int error, bool for_good);

#endif
