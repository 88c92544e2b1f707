/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz.c - see fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 4 };

static size_t used;

void mzf_check(bool ok, const char *file, int line, const char *what)
{
    if (ok) return;
    fprintf(stderr, "%s:%d: %s does not hold; the last note: %s\n", file, line, what,
            mz_err_last()->message);
    abort();
}

const char *mzf_file(int slot, const void *data, size_t size)
{
    static int fd[SLOTS] = {-1, -1, -1, -1};
    static char path[SLOTS][40];
    MZF_CHECK(slot >= 0 && slot < SLOTS);
    if (fd[slot] < 0) {
        fd[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        MZF_CHECK(fd[slot] >= 0);
        (void)snprintf(path[slot], sizeof path[slot], "/proc/self/fd/%d", fd[slot]);
    }
    MZF_CHECK(ftruncate(fd[slot], 0) == 0);
    MZF_CHECK(pwrite(fd[slot], data, size, 0) == (ssize_t)size);
    return path[slot];
}

static char folder[64];

static void drop_folder(void)
{
    (void)mz_folder_remove(folder);
}

static void be_quiet(void *user, mz_log_level level, const char *line)
{
    (void)user, (void)level, (void)line;
}

const char *mzf_folder(void)
{
    if (folder[0]) return folder;
    const bool fast = mz_file_is_dir("/dev/shm");
    (void)snprintf(folder, sizeof folder, "%s/mz-fuzz-XXXXXX", fast ? "/dev/shm" : "/tmp");
    MZF_CHECK(mkdtemp(folder) != NULL);
    (void)atexit(drop_folder);
    return folder;
}

void mzf_put(const char *name, const void *data, size_t size)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", mzf_folder(), name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    MZF_CHECK(fd >= 0);
    MZF_CHECK(write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
}

void mzf_answer(mz_err err, mz_err also)
{
    if (err == MZ_OK) return;
    MZF_CHECK(err == MZ_ECORRUPT || err == also);
    const mz_err_info *info = mz_err_last();
    MZF_CHECK(info->code == err && info->message[0] && info->file[0]);
}

void mzf_begin(void)
{
    mz_log_to(be_quiet, NULL);
    mz_err_clear();
    used = mz_mem_bytes_used();
}

void mzf_end(void)
{
    MZF_CHECK(mz_mem_bytes_used() == used);
}
