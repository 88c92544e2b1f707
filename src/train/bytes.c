/* SPDX-License-Identifier: Apache-2.0 */
/* train/bytes.c - see bytes.h. */
#include "train/bytes.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES_MAX = 1 << 30 };

static mz_err append(mz_bytes *b, const char *text, size_t len)
{
    MZ_TRY(mz_mem_grow(&b->text, (int64_t)(b->len + len + 1), 1));
    memcpy(b->text + b->len, text, len);
    b->len += len;
    b->files++;
    return MZ_OK;
}

/* is_listed: found in a folder, where what is no text is passed over. */
static mz_err add_file(mz_bytes *b, const char *path, bool is_listed)
{
    char *text = NULL;
    size_t len = 0;
    mz_err err = MZ_OK;
    MZ_TRY(mz_file_read(path, FILE_BYTES_MAX, &text, &len));
    if (!memchr(text, 0, len)) {
        err = append(b, text, len);
    } else if (!is_listed) {
        err = MZ_FAIL(MZ_ECORRUPT, "%s holds NUL bytes, so it is no text", path);
        mz_note_where(path, NULL, (int64_t)((char *)memchr(text, 0, len) - text));
    }
    mz_mem_free(text);
    return err;
}

typedef struct names {
    char **list;
    int64_t n;
} names;

static void clear_names(names *x)
{
    for (int64_t i = 0; i < x->n; i++) mz_mem_free(x->list[i]);
    mz_mem_free(x->list);
}

static mz_err read_names(names *x, const char *folder)
{
    DIR *dir = opendir(folder);
    mz_err err = MZ_OK;
    if (!dir) return MZ_FAIL(MZ_EIO, "cannot list %s: %s", folder, strerror(errno));
    for (const struct dirent *e = readdir(dir); e && err == MZ_OK; e = readdir(dir)) {
        if (e->d_name[0] == '.') continue;
        err = mz_mem_grow(&x->list, x->n + 1, sizeof *x->list);
        if (err == MZ_OK) err = mz_mem_strdup(&x->list[x->n], e->d_name);
        if (err == MZ_OK) x->n++;
    }
    (void)closedir(dir);
    return err;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static mz_err add_folder(mz_bytes *b, const char *folder)
{
    names x = {0};
    mz_err err = read_names(&x, folder);
    if (x.n > 1) qsort(x.list, (size_t)x.n, sizeof *x.list, by_name);
    for (int64_t i = 0; i < x.n && err == MZ_OK; i++) {
        char path[PATH_MAX];
        struct stat st;
        err = mz_path_join(path, sizeof path, folder, x.list[i]);
        if (err == MZ_OK && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            err = add_file(b, path, true);
    }
    clear_names(&x);
    return err;
}

mz_err mz_bytes_add(mz_bytes *b, const char *path)
{
    MZ_NEED(b && path, "an argument is NULL");
    return mz_file_is_dir(path) ? add_folder(b, path) : add_file(b, path, false);
}

void mz_bytes_hold_out(mz_bytes *b, double share)
{
    b->held_out = (size_t)((double)b->len * share);
}

void mz_bytes_clear(mz_bytes *b)
{
    mz_mem_free(b->text);
    *b = (mz_bytes){0};
}

static void copy_row(const unsigned char *from, int64_t T, int32_t *ids, int32_t *targets)
{
    for (int64_t t = 0; t < T; t++) {
        ids[t] = from[t];
        targets[t] = from[t + 1];
    }
}

void mz_bytes_row(const mz_bytes *b, uint64_t seed, uint64_t row, int64_t T, int32_t *ids,
                  int32_t *targets)
{
    mz_rng r;
    mz_rng_init(&r, seed, row);
    copy_row(b->text + mz_rng_below(&r, b->len - b->held_out - (size_t)T), T, ids, targets);
}

int mz_bytes_held_row(const mz_bytes *b, int64_t i, int64_t T, int32_t *ids, int32_t *targets)
{
    const size_t at = (size_t)(i * T);
    if (at + (size_t)T + 1 > b->held_out) return 0;
    copy_row(b->text + b->len - b->held_out + at, T, ids, targets);
    return 1;
}
