/* SPDX-License-Identifier: Apache-2.0 */
/* base/leftover.c - see leftover.h. Nothing here passes the gate of file.h: it cleans up, and what
 * it cannot clean up is left for the next writer. */
#include "base/leftover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char PREFIX[] = ".mz-", SUFFIX[] = ".tmp";

void mz_leftover_name(char name[MZ_LEFTOVER_NAME])
{
    static atomic_uint counter;
    (void)snprintf(name, MZ_LEFTOVER_NAME, "%s%ld-%u%s", PREFIX, (long)getpid(),
                   atomic_fetch_add(&counter, 1), SUFFIX);
}

/* Whether mz_leftover_name makes such names: .mz-PID-N.tmp. */
static bool is_ours(const char *name)
{
    static const char digits[] = "0123456789";
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return false;
    name += sizeof PREFIX - 1;
    const size_t pid = strspn(name, digits);
    if (pid == 0 || name[pid] != '-') return false;
    name += pid + 1;
    const size_t n = strspn(name, digits);
    return n > 0 && strcmp(name + n, SUFFIX) == 0;
}

bool mz_leftover_claim(int fd)
{
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
    return fstat(fd, &st) != 0 || st.st_nlink > 0;
}

/* Only a plain file of our own user, and only if nobody holds it. */
static void drop(int dir, const char *name)
{
    struct stat st;
    const int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(dir, name, 0);
    (void)close(fd);
}

/* A process that writes thousands of files into one folder lists it once. */
static bool is_last(int dir)
{
    static atomic_ullong last_device, last_inode;
    struct stat st;
    if (fstat(dir, &st) != 0) return true;
    const bool same = atomic_load(&last_device) == (uint64_t)st.st_dev &&
                      atomic_load(&last_inode) == (uint64_t)st.st_ino;
    atomic_store(&last_device, (uint64_t)st.st_dev);
    atomic_store(&last_inode, (uint64_t)st.st_ino);
    return same;
}

void mz_leftover_sweep(int dir)
{
    if (is_last(dir)) return;
    const int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) (void)close(fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(list)) != NULL;)
        if (is_ours(e->d_name)) drop(dir, e->d_name);
    (void)closedir(list);
}
