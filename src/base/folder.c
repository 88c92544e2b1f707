/* SPDX-License-Identifier: Apache-2.0 */
/* base/folder.c - see folder.h. */
#include "base/folder.h"
#include "base/gate.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16 }; /* of a folder that is removed */

/* Reads errno. */
static mz_err failed(const char *what, const char *path)
{
    const int error = errno;
    char room[128];
    const mz_err code = error == ENOMEM ? MZ_ENOMEM : MZ_EIO;
    mz_note(code, __FILE__, __LINE__, "cannot %s %s: %s", what, path,
            strerror_r(error, room, sizeof room));
    mz_note_where(path, NULL, -1);
    return code;
}

/* ---- listing ---- */

void mz_names_clear(mz_names *names)
{
    for (int64_t i = 0; i < names->n; i++) mz_mem_free(names->list[i]);
    mz_mem_free(names->list);
    *names = (mz_names){0};
}

static int by_text(const void *pa, const void *pb)
{
    const char *const *a = pa, *const *b = pb;
    return strcmp(*a, *b);
}

static mz_err read_names(mz_names *names, DIR *dir, const char *path)
{
    for (int64_t cap = 0;;) {
        errno = 0;
        const struct dirent *e = mz_gate_passes() ? readdir(dir) : NULL;
        if (!e) return errno == 0 ? MZ_OK : failed("list", path);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (names->n == cap) {
            cap = cap ? 2 * cap : 16;
            MZ_TRY(mz_mem_grow(&names->list, cap, sizeof *names->list));
        }
        MZ_TRY(mz_mem_strdup(&names->list[names->n], e->d_name));
        names->n++;
    }
}

mz_err mz_folder_list(mz_names *names, const char *path)
{
    MZ_NEED(names && path, "names or path is NULL");
    mz_names all = {0};
    DIR *dir = mz_gate_passes() ? opendir(path) : NULL;
    if (!dir && errno == ENOENT) {
        *names = all;
        return MZ_OK;
    }
    if (!dir) return failed("list", path);
    const mz_err err = read_names(&all, dir, path);
    (void)closedir(dir);
    if (err != MZ_OK) {
        mz_names_clear(&all);
        return err;
    }
    if (all.n > 0) qsort(all.list, (size_t)all.n, sizeof *all.list, by_text);
    *names = all;
    return MZ_OK;
}

/* ---- renaming and removing ---- */

static mz_err sync_parent(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t len = slash ? (size_t)(slash - path) : 0;
    MZ_NEED(len < sizeof parent, "%s is too long a path", path);
    memcpy(parent, path, len);
    parent[len] = '\0';
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    const char *name = len > 0 ? parent : slash ? "/" : ".";
    const int fd = mz_gate_passes() ? open(name, flags) : -1;
    if (fd < 0) return failed("open the folder of", path);
    /* some file systems have nothing to sync in a folder and say EINVAL */
    const bool is_synced = mz_gate_passes() && (fsync(fd) == 0 || errno == EINVAL);
    const mz_err err = is_synced ? MZ_OK : failed("make durable", path);
    (void)close(fd);
    return err;
}

mz_err mz_folder_rename(const char *from, const char *to)
{
    MZ_NEED(from && to, "a path is NULL");
    if (!mz_gate_passes() || rename(from, to) != 0) return failed("rename", from);
    return sync_parent(to);
}

static mz_err remove_at(const char *path, int depth)
{
    struct stat st;
    if (!mz_gate_passes() || lstat(path, &st) != 0)
        return errno == ENOENT ? MZ_OK : failed("look at", path);
    if (!S_ISDIR(st.st_mode)) {
        if (mz_gate_passes() && unlink(path) == 0) return MZ_OK;
        return failed("remove", path);
    }
    if (depth > DEPTH_MAX) return MZ_FAIL(MZ_EIO, "%s is too deep to be removed", path);
    mz_names names = {0};
    MZ_TRY(mz_folder_list(&names, path));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < names.n && err == MZ_OK; i++) {
        char inner[PATH_MAX];
        const int n = snprintf(inner, sizeof inner, "%s/%s", path, names.list[i]);
        err = n > 0 && n < (int)sizeof inner ? remove_at(inner, depth + 1)
                                             : MZ_FAIL(MZ_EIO, "%s is too long a path", path);
    }
    mz_names_clear(&names);
    if (err != MZ_OK) return err;
    return mz_gate_passes() && rmdir(path) == 0 ? MZ_OK : failed("remove", path);
}

mz_err mz_folder_remove(const char *path)
{
    MZ_NEED(path && *path, "path is NULL or empty");
    return remove_at(path, 0);
}

/* ---- locks ---- */

mz_err mz_lock_take(mz_lock *lock, const char *path)
{
    MZ_NEED(lock && path, "lock or path is NULL");
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    const int fd = mz_gate_passes() ? open(path, flags, 0666) : -1;
    if (fd < 0) return failed("open", path);
    if (mz_gate_passes() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        lock->fd = fd;
        return MZ_OK;
    }
    mz_err err;
    if (errno == EWOULDBLOCK) {
        err = MZ_FAIL(MZ_EBUSY, "%s is held by another process", path);
        mz_note_where(path, NULL, -1);
    } else {
        err = failed("lock", path);
    }
    (void)close(fd);
    return err;
}

void mz_lock_drop(mz_lock *lock)
{
    if (lock->fd >= 0) (void)close(lock->fd);
    lock->fd = -1;
}

/* ---- appending ---- */

mz_err mz_appender_open(mz_appender *a, const char *path)
{
    MZ_NEED(a && path && strlen(path) < sizeof a->path, "appender or path is NULL, or too long");
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    const int fd = mz_gate_passes() ? open(path, flags, 0666) : -1;
    if (fd < 0) return failed("open", path);
    a->fd = fd;
    memcpy(a->path, path, strlen(path) + 1);
    return MZ_OK;
}

mz_err mz_appender_put(mz_appender *a, const void *bytes, size_t n)
{
    MZ_NEED(a && a->fd >= 0 && (bytes || n == 0), "no open file or no bytes");
    const char *from = bytes;
    while (n > 0) {
        const size_t now = mz_gate_passing(n);
        const ssize_t done = now > 0 ? write(a->fd, from, now) : -1;
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return failed("write", a->path);
        from += done;
        n -= (size_t)done;
    }
    return MZ_OK;
}

mz_err mz_appender_sync(mz_appender *a)
{
    MZ_NEED(a && a->fd >= 0, "no open file");
    if (!mz_gate_passes() || fsync(a->fd) != 0) return failed("make durable", a->path);
    return sync_parent(a->path);
}

void mz_appender_close(mz_appender *a)
{
    if (a->fd >= 0) (void)close(a->fd);
    a->fd = -1;
}
