/* SPDX-License-Identifier: Apache-2.0 */
/* base/file.c - every file system call of Mizan's own passes a gate here, where tests let it fail.
 *
 * Commit, with the folder held open since mz_writer_open:
 *   fsync and close the temporary file; hard-link the old file, if any, to a second temporary name;
 *   rename over it; fsync the folder; drop the second name. If the last fsync fails the link brings
 *   the old file back, so a reported failure never leaves the new one.
 * Calls that clean up after a failure do not pass the gate: their result cannot be reported. */
#include "base/file.h"
#include "base/gate.h"
#include "base/leftover.h"
#include "base/mem.h"
#include "base/poison.h"
#include "base/size.h"
#include "base/torn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16, NAME_TRIES = 1000, READ_CAP_MIN = 4096 };

/* ---- the gate ---- */

static struct {
    atomic_bool armed, for_good;
    atomic_int error;
    atomic_llong left;
} fault;

void mz_file_fail_at(int64_t n, int error, bool for_good)
{
    atomic_store(&fault.armed, false);
    if (n <= 0) return;
    atomic_store(&fault.left, n);
    atomic_store(&fault.error, error);
    atomic_store(&fault.for_good, for_good);
    atomic_store(&fault.armed, true);
}

/* Whether this call is the one; *error is then what it fails with, 0 for a short transfer. */
static bool strikes(int *error)
{
    if (!atomic_load(&fault.armed)) return false;
    const long long left = atomic_fetch_sub(&fault.left, 1);
    if (left > 1 || (left < 1 && !atomic_load(&fault.for_good))) return false;
    *error = atomic_load(&fault.error);
    return true;
}

bool mz_gate_passes(void)
{
    int error;
    if (!strikes(&error) || error == 0) return true;
    errno = error;
    return false;
}

size_t mz_gate_passing(size_t n)
{
    int error;
    if (!strikes(&error)) return n;
    if (error == 0) return (n + 1) / 2;
    errno = error;
    return 0;
}

static int sys_open(int dir, const char *path, int flags)
{
    return mz_gate_passes() ? openat(dir, path, flags | O_CLOEXEC, 0666) : -1;
}

static int sys_stat(int dir, const char *path, struct stat *st)
{
    return mz_gate_passes() ? fstatat(dir, path, st, *path ? 0 : AT_EMPTY_PATH) : -1;
}

static ssize_t sys_read(int fd, void *to, size_t n)
{
    n = mz_gate_passing(n);
    return n > 0 ? read(fd, to, n) : -1;
}

static ssize_t sys_write(int fd, const void *from, size_t n)
{
    n = mz_gate_passing(n);
    return n > 0 ? write(fd, from, n) : -1;
}

static int sys_fsync(int fd)
{
    return mz_gate_passes() ? fsync(fd) : -1;
}

/* Closes in any case. */
static int sys_close(int fd)
{
    const bool is_passed = mz_gate_passes();
    const int error = errno, r = close(fd);
    if (is_passed) return r;
    errno = error;
    return -1;
}

/* ---- errors ---- */

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

static mz_err refuse(mz_err code, const char *path, const char *why)
{
    mz_note(code, __FILE__, __LINE__, "%s %s", path, why);
    mz_note_where(path, NULL, -1);
    return code;
}

/* ---- reading ---- */

/* Opens a regular file and says how long it is. O_NONBLOCK so that a pipe is refused, not waited
 * for. */
static mz_err open_regular(const char *path, int *fd_out, struct stat *st, size_t *bytes)
{
    const int fd = sys_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return failed("open", path);
    mz_err err = MZ_OK;
    if (sys_stat(fd, "", st) != 0)
        err = failed("look at", path);
    else if (!S_ISREG(st->st_mode))
        err = refuse(MZ_EIO, path, "is not a regular file");
    else if (!mz_i64_to_size(st->st_size, bytes))
        err = refuse(MZ_ENOMEM, path, "is larger than the address space");
    if (err == MZ_OK)
        *fd_out = fd;
    else
        (void)close(fd);
    return err;
}

/* Under AddressSanitizer what lies behind the file's end in its last page is poisoned, so that
 * reading past the end is seen. */
static size_t slack_of(const mz_map *map)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (page - map->bytes % page) % page;
}

mz_err mz_map_open(mz_map *map, const char *path)
{
    int fd;
    size_t bytes;
    struct stat st;
    MZ_NEED(map && path, "map or path is NULL");
    MZ_TRY(open_regular(path, &fd, &st, &bytes));
    void *data = NULL;
    if (bytes > 0)
        data = mz_gate_passes() ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    const mz_err err = data == MAP_FAILED ? failed("map", path) : MZ_OK;
    (void)close(fd); /* the mapping stays; there is nothing to lose in a file that was only read */
    if (err != MZ_OK) return err;
    *map = (mz_map){.data = data,
                    .bytes = bytes,
                    .device = (uint64_t)st.st_dev,
                    .inode = (uint64_t)st.st_ino,
                    .changed_s = (int64_t)st.st_mtim.tv_sec,
                    .changed_ns = (int64_t)st.st_mtim.tv_nsec};
    if (bytes == 0) return MZ_OK;
    mz_torn_watch(data, bytes);
    mz_poison(map->data + map->bytes, slack_of(map));
    return MZ_OK;
}

mz_err mz_map_intact(const mz_map *map, const char *path)
{
    struct stat st;
    MZ_NEED(map && path, "map or path is NULL");
    if (!map->data) return MZ_OK;
    const bool is_there = sys_stat(AT_FDCWD, path, &st) == 0;
    if (!is_there && errno != ENOENT && errno != ENOTDIR) return failed("look at", path);
    const bool other = !is_there || map->device != (uint64_t)st.st_dev ||
                       map->inode != (uint64_t)st.st_ino; /* what is mapped has no name any more */
    const bool same =
        other || (st.st_size == (off_t)map->bytes && map->changed_s == (int64_t)st.st_mtim.tv_sec &&
                  map->changed_ns == (int64_t)st.st_mtim.tv_nsec);
    if (same && !mz_torn_is(map->data)) return MZ_OK;
    return refuse(MZ_EIO, path, "was changed while it was being read");
}

void mz_map_close(mz_map *map)
{
    if (!map) return;
    if (map->data) {
        union {
            const unsigned char *in;
            void *out;
        } p = {.in = map->data}; /* munmap wants it without const */
        mz_unpoison(map->data + map->bytes, slack_of(map));
        mz_torn_forget(map->data);
        (void)munmap(p.out, map->bytes);
    }
    *map = (mz_map){0};
}

/* Reads until the end, which may lie elsewhere than the length said (/proc, a growing file). */
static mz_err read_all(int fd, const char *path, size_t limit, char **text, size_t *len)
{
    size_t cap = *len + 2; /* a byte to meet the end, a byte for the NUL */
    if (cap < READ_CAP_MIN) cap = READ_CAP_MIN;
    MZ_TRY(mz_mem_new(text, (int64_t)cap, 1));
    for (*len = 0;;) {
        if (*len + 1 == cap) {
            cap *= 2;
            MZ_TRY(mz_mem_grow(text, (int64_t)cap, 1));
        }
        const ssize_t n = sys_read(fd, *text + *len, cap - 1 - *len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed("read", path);
        if (n == 0) break;
        *len += (size_t)n;
        if (*len > limit) return refuse(MZ_ECORRUPT, path, "is too long");
    }
    (*text)[*len] = '\0';
    return MZ_OK;
}

mz_err mz_file_read(const char *path, size_t max_bytes, char **text, size_t *bytes)
{
    int fd;
    size_t len;
    char *all = NULL;
    MZ_NEED(path && text && bytes, "path, text or bytes is NULL");
    const size_t limit = max_bytes < INT64_MAX / 4 ? max_bytes : INT64_MAX / 4;
    struct stat st;
    MZ_TRY(open_regular(path, &fd, &st, &len));
    const mz_err err = len > limit ? refuse(MZ_ECORRUPT, path, "is too long")
                                   : read_all(fd, path, limit, &all, &len);
    (void)close(fd);
    if (err != MZ_OK) {
        mz_mem_free(all);
        return err;
    }
    *text = all;
    *bytes = len;
    return MZ_OK;
}

/* ---- writing ---- */

struct mz_writer {
    int dir, fd, held;
    char *path, *name; /* name points into path */
    char temp[MZ_LEFTOVER_NAME], old[MZ_LEFTOVER_NAME];
    int old_fd;    /* holds `old` against those who look for leftovers; -1 */
    bool is_new;   /* no file of that name was there */
    mz_err failed; /* of an earlier call: the file can no longer become whole */
    size_t used;
    unsigned char buffer[BUFFER_BYTES];
};

static mz_err open_folder(mz_writer *w)
{
    char *slash = strrchr(w->path, '/');
    w->name = slash ? slash + 1 : w->path;
    if (!*w->name) return refuse(MZ_EINVAL, w->path, "does not name a file");
    const char *folder = !slash ? "." : slash == w->path ? "/" : w->path;
    if (slash && slash != w->path) *slash = '\0';
    w->dir = sys_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    const int error = errno;
    if (slash) *slash = '/';
    errno = error;
    return w->dir < 0 ? failed("open the folder of", w->path) : MZ_OK;
}

static mz_err open_temp(mz_writer *w)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        mz_leftover_name(w->temp);
        w->fd = sys_open(w->dir, w->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
        if (w->fd < 0 && errno == EEXIST) continue;
        if (w->fd < 0) break;
        if (mz_leftover_claim(w->fd)) return MZ_OK;
        (void)close(w->fd);
    }
    w->fd = -1;
    return failed("write beside", w->path);
}

mz_err mz_writer_open(mz_writer **out, const char *path)
{
    mz_writer *w;
    mz_err err;
    MZ_NEED(out && path, "out or path is NULL");
    MZ_TRY(mz_mem_new(&w, 1, sizeof *w));
    w->dir = w->fd = w->held = w->old_fd = -1;
    MZ_TRY_GOTO(err, mz_mem_strdup(&w->path, path), fail);
    MZ_TRY_GOTO(err, open_folder(w), fail);
    mz_leftover_sweep(w->dir);
    MZ_TRY_GOTO(err, open_temp(w), fail);
    *out = w;
    return MZ_OK;
fail:
    mz_writer_abort(w);
    return err;
}

static mz_err write_all(mz_writer *w, const unsigned char *from, size_t n)
{
    while (n > 0) {
        const ssize_t done = sys_write(w->fd, from, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return w->failed = failed("write", w->path);
        from += done;
        n -= (size_t)done;
    }
    return MZ_OK;
}

static mz_err flush(mz_writer *w)
{
    const size_t n = w->used;
    w->used = 0;
    return write_all(w, w->buffer, n);
}

mz_err mz_writer_put(mz_writer *w, const void *bytes, size_t n)
{
    MZ_NEED(w && (bytes || n == 0), "writer or bytes is NULL");
    if (w->failed != MZ_OK) return refuse(w->failed, w->path, "failed to be written before");
    if (n > BUFFER_BYTES - w->used) MZ_TRY(flush(w));
    if (n >= BUFFER_BYTES) return write_all(w, bytes, n);
    if (n > 0) memcpy(w->buffer + w->used, bytes, n);
    w->used += n;
    return MZ_OK;
}

/* Some file systems have nothing to sync in a folder and say EINVAL. */
static bool sync_folder(int dir)
{
    return sys_fsync(dir) == 0 || errno == EINVAL;
}

/* Keeps the old file under a second name, in w->old; "" where there is none, or where the file
 * system knows no links (then a failed last fsync leaves the new file). */
static mz_err keep_old(mz_writer *w)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        mz_leftover_name(w->old);
        if (mz_gate_passes() && linkat(w->dir, w->name, w->dir, w->old, 0) == 0) {
            w->old_fd = openat(w->dir, w->old, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
            if (w->old_fd >= 0) (void)flock(w->old_fd, LOCK_SH | LOCK_NB);
            return MZ_OK;
        }
        if (errno != EEXIST) break;
    }
    w->old[0] = '\0';
    w->is_new = errno == ENOENT;
    switch (errno) {
    case ENOENT:
    case EPERM:
    case ENOSYS:
    case EOPNOTSUPP:
    case EMLINK:
        return MZ_OK;
    default:
        return failed("replace", w->path);
    }
}

static mz_err put_in_place(mz_writer *w)
{
    MZ_TRY(keep_old(w));
    if (!mz_gate_passes() || renameat(w->dir, w->temp, w->dir, w->name) != 0)
        return failed("replace", w->path);
    w->temp[0] = '\0';
    if (sync_folder(w->dir)) return MZ_OK;
    const mz_err err = failed("make durable", w->path);
    if (w->old[0] && renameat(w->dir, w->old, w->dir, w->name) == 0) w->old[0] = '\0';
    if (w->is_new) (void)unlinkat(w->dir, w->name, 0);
    (void)fsync(w->dir);
    return err;
}

mz_err mz_writer_commit(mz_writer *w)
{
    mz_err err;
    MZ_NEED(w, "writer is NULL");
    MZ_TRY_GOTO(err, mz_writer_put(w, NULL, 0), end); /* an earlier failure */
    MZ_TRY_GOTO(err, flush(w), end);
    if (sys_fsync(w->fd) != 0) {
        err = failed("make durable", w->path);
        goto end;
    }
    const int fd = w->fd;
    w->held = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* its lock lasts until the file has its name */
    w->fd = -1;
    if (sys_close(fd) != 0) { /* network file systems report late */
        err = failed("close", w->path);
        goto end;
    }
    err = put_in_place(w);
end:
    mz_writer_abort(w);
    return err;
}

void mz_writer_abort(mz_writer *w)
{
    if (!w) return;
    if (w->fd >= 0) (void)close(w->fd);
    if (w->held >= 0) (void)close(w->held);
    if (w->dir >= 0) {
        if (w->temp[0]) (void)unlinkat(w->dir, w->temp, 0);
        if (w->old[0]) (void)unlinkat(w->dir, w->old, 0);
        if (w->old_fd >= 0) (void)close(w->old_fd);
        (void)close(w->dir);
    }
    mz_mem_free(w->path);
    mz_mem_free(w);
}

mz_err mz_file_write(const char *path, const void *bytes, size_t n)
{
    mz_writer *w;
    MZ_TRY(mz_writer_open(&w, path));
    const mz_err err = mz_writer_put(w, bytes, n);
    if (err == MZ_OK) return mz_writer_commit(w);
    mz_writer_abort(w);
    return err;
}

/* ---- names and folders ---- */

bool mz_file_exists(const char *path)
{
    struct stat st;
    return path && *path && sys_stat(AT_FDCWD, path, &st) == 0;
}

bool mz_file_is_dir(const char *path)
{
    struct stat st;
    return path && *path && sys_stat(AT_FDCWD, path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder is as durable as its entry in the folder above. */
static mz_err sync_parent(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t len = slash ? (size_t)(slash - path) : 0;
    memcpy(parent, path, len);
    parent[len] = '\0';
    const int fd = sys_open(AT_FDCWD, len > 0 ? parent : slash ? "/" : ".", O_RDONLY | O_DIRECTORY);
    if (fd < 0) return failed("open the folder of", path);
    const mz_err err = sync_folder(fd) ? MZ_OK : failed("make durable", path);
    (void)close(fd);
    return err;
}

static mz_err make_folder(const char *path)
{
    if (mz_gate_passes() && mkdir(path, 0777) == 0) return sync_parent(path);
    const int error = errno; /* a folder that exists may also be refused as read-only */
    struct stat st;
    if (sys_stat(AT_FDCWD, path, &st) == 0 && S_ISDIR(st.st_mode)) return MZ_OK;
    errno = error;
    return failed("make the folder", path);
}

mz_err mz_file_mkdirs(const char *path)
{
    char part[PATH_MAX];
    MZ_NEED(path && *path, "path is NULL or empty");
    size_t len = strlen(path);
    if (len >= sizeof part) return refuse(MZ_EINVAL, path, "is too long a path");
    while (len > 1 && path[len - 1] == '/') len--;
    memcpy(part, path, len);
    part[len] = '\0';
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/' || part[i - 1] == '/') continue;
        part[i] = '\0';
        const mz_err err = make_folder(part);
        part[i] = '/';
        if (err != MZ_OK) return err;
    }
    return make_folder(part);
}

mz_err mz_path_join(char *out, size_t out_bytes, const char *dir, const char *name)
{
    MZ_NEED(out && dir && name, "out, dir or name is NULL");
    const size_t a = strlen(dir), b = strlen(name);
    const size_t slash = a > 0 && dir[a - 1] != '/';
    MZ_NEED(a + slash + b < out_bytes, "\"%s\" and \"%s\" do not fit into %zu bytes", dir, name,
            out_bytes);
    memmove(out, dir, a);
    if (slash) out[a] = '/';
    memcpy(out + a + slash, name, b + 1);
    return MZ_OK;
}
