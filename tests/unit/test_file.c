/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_file.c - a file appears whole or not at all, whichever system call fails. */
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char folder[PATH_MAX - 300], in_place[PATH_MAX];

/* A path inside the test's folder; four may be in use at a time. */
static const char *in_folder(const char *name)
{
    static char path[4][PATH_MAX];
    static unsigned turn;
    char *p = path[turn++ % 4];
    assert_int_equal(mz_path_join(p, PATH_MAX, folder, name), MZ_OK);
    return p;
}

static int count_entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    assert_int_equal(closedir(d), 0);
    return n;
}

static void clear_folder(void)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            assert_int_equal(remove(in_folder(e->d_name)), 0);
    assert_int_equal(closedir(d), 0);
}

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/mz-file-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    clear_folder();
    return rmdir(folder);
}

static int open_files(void)
{
    return count_entries("/proc/self/fd");
}

static void expect_content(const char *path, const void *want, size_t n)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(mz_file_read(path, SIZE_MAX, &text, &bytes), MZ_OK);
    assert_int_equal(bytes, n);
    assert_memory_equal(text, want, n);
    assert_int_equal(text[n], '\0');
    mz_mem_free(text);
}

/* Bytes that tell where they stand. */
static unsigned char *pattern(size_t n, unsigned seed)
{
    unsigned char *p;
    assert_int_equal(mz_mem_new(&p, (int64_t)n, 1), MZ_OK);
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)((i * 2654435761u + seed) >> 11);
    return p;
}

static void written_is_what_is_read(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
    for (int i = 0; i < MZ_COUNT(sizes); i++) {
        unsigned char *p = pattern(sizes[i], 1);
        const char *path = in_folder("a");
        assert_int_equal(mz_file_write(path, p, sizes[i]), MZ_OK);
        expect_content(path, p, sizes[i]);
        mz_map map;
        assert_int_equal(mz_map_open(&map, path), MZ_OK);
        assert_int_equal(map.bytes, sizes[i]);
        if (sizes[i] == 0) assert_null(map.data);
        if (sizes[i] > 0) assert_memory_equal(map.data, p, sizes[i]);
        mz_map_close(&map);
        assert_null(map.data);
        mz_map_close(&map);
        mz_mem_free(p);
    }
    assert_int_equal(count_entries(folder), 1);
    clear_folder();
}

/* Pieces of every size around the buffer's; what the writer buffers is not lost or doubled. */
static void pieces_come_out_in_order(void **state)
{
    (void)state;
    static const size_t pieces[] = {10, 65526, 1, 65535, 65536, 3, 200000, 65530, 7, 0, 5};
    size_t total = 0, at = 0;
    for (int i = 0; i < MZ_COUNT(pieces); i++) total += pieces[i];
    unsigned char *p = pattern(total, 2);
    for (int is_short = 0; is_short < 2; is_short++) {
        mz_writer *w = NULL;
        if (is_short) mz_file_fail_at(1, 0, true); /* every transfer moves half */
        assert_int_equal(mz_writer_open(&w, in_folder("b")), MZ_OK);
        at = 0;
        for (int i = 0; i < MZ_COUNT(pieces); at += pieces[i++])
            assert_int_equal(mz_writer_put(w, p + at, pieces[i]), MZ_OK);
        assert_false(mz_file_exists(in_folder("b"))); /* not before commit */
        assert_int_equal(mz_writer_commit(w), MZ_OK);
        expect_content(in_folder("b"), p, total); /* short reads too */
        mz_file_fail_at(0, 0, false);
        expect_content(in_folder("b"), p, total);
        clear_folder();
    }
    mz_mem_free(p);
}

static void abort_leaves_nothing(void **state)
{
    (void)state;
    mz_writer *w = NULL;
    const int files = open_files();
    const size_t used = mz_mem_bytes_used();
    assert_int_equal(mz_file_write(in_folder("c"), "old", 3), MZ_OK);
    assert_int_equal(mz_writer_open(&w, in_folder("c")), MZ_OK);
    assert_int_equal(mz_writer_put(w, "new", 3), MZ_OK);
    assert_int_equal(count_entries(folder), 2);
    mz_writer_abort(w);
    mz_writer_abort(NULL);
    assert_int_equal(count_entries(folder), 1);
    expect_content(in_folder("c"), "old", 3);
    assert_int_equal(open_files(), files);
    assert_int_equal(mz_mem_bytes_used(), used);
    clear_folder();
}

/* A write of two pieces, one through the buffer and one past it. */
static mz_err write_new(const char *path, const unsigned char *p, size_t n)
{
    mz_writer *w = NULL;
    MZ_TRY(mz_writer_open(&w, path));
    mz_err err = mz_writer_put(w, p, 100);
    if (err == MZ_OK) err = mz_writer_put(w, p + 100, n - 100);
    if (err == MZ_OK) return mz_writer_commit(w);
    mz_writer_abort(w);
    return err;
}

static void fail_each_call(bool has_old, int error, bool for_good)
{
    enum { N = 100000 };
    unsigned char *p = pattern(N, 3);
    const int files = open_files();
    const size_t used = mz_mem_bytes_used();
    int n = 1;
    for (;; n++) {
        const char *path = in_folder("d");
        if (has_old) assert_int_equal(mz_file_write(path, "old", 3), MZ_OK);
        mz_file_fail_at(n, error, for_good);
        const mz_err err = write_new(path, p, N);
        mz_file_fail_at(0, 0, false);
        assert_int_equal(open_files(), files);
        assert_int_equal(mz_mem_bytes_used(), used);
        if (err == MZ_OK) break;
        assert_int_equal(err, error == ENOMEM ? MZ_ENOMEM : MZ_EIO);
        assert_string_equal(mz_err_last()->file, path);
        assert_non_null(strstr(mz_err_last()->message, strerror(error)));
        assert_int_equal(count_entries(folder), has_old);
        if (has_old) expect_content(path, "old", 3);
    }
    /* open x 2, write x 2, fsync, close, link, rename, fsync of the folder */
    assert_int_equal(n, 10);
    assert_int_equal(count_entries(folder), 1);
    expect_content(in_folder("d"), p, N);
    mz_mem_free(p);
    clear_folder();
}

static void any_failed_call_keeps_the_old_file_or_none(void **state)
{
    (void)state;
    fail_each_call(false, EIO, false);
    fail_each_call(false, ENOSPC, true);
    fail_each_call(true, EIO, false);
    fail_each_call(true, ENOSPC, true);
    fail_each_call(true, ENOMEM, false);
}

static void any_failed_allocation_keeps_the_old_file(void **state)
{
    (void)state;
    const size_t used = mz_mem_bytes_used();
    assert_int_equal(mz_file_write(in_folder("e"), "old", 3), MZ_OK);
    for (int n = 1;; n++) {
        mz_mem_fail_at(n, false);
        const mz_err err = mz_file_write(in_folder("e"), "new", 3);
        const bool has_failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, has_failed ? MZ_ENOMEM : MZ_OK);
        assert_int_equal(count_entries(folder), 1);
        assert_int_equal(mz_mem_bytes_used(), used);
        expect_content(in_folder("e"), err == MZ_OK ? "new" : "old", 3);
        if (err == MZ_OK) break;
    }
    clear_folder();
}

static void a_failed_put_fails_the_commit(void **state)
{
    (void)state;
    mz_writer *w = NULL;
    unsigned char *p = pattern(70000, 4);
    assert_int_equal(mz_writer_open(&w, in_folder("f")), MZ_OK);
    mz_file_fail_at(1, ENOSPC, false);
    assert_int_equal(mz_writer_put(w, p, 70000), MZ_EIO);
    assert_int_equal(mz_writer_put(w, p, 1), MZ_EIO); /* the disk has room again: too late */
    assert_int_equal(mz_writer_commit(w), MZ_EIO);
    assert_int_equal(count_entries(folder), 0);
    mz_mem_free(p);
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    mz_map map = {.data = NULL, .bytes = 77};
    char *text = NULL;
    size_t bytes = 77;
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    const char *paths[] = {folder, "/dev/null", "/dev/zero", in_folder("pipe"), in_folder("none"),
                           ""};
    for (int i = 0; i < MZ_COUNT(paths); i++) {
        assert_int_equal(mz_map_open(&map, paths[i]), MZ_EIO);
        assert_string_equal(mz_err_last()->file, paths[i]);
        assert_int_equal(mz_file_read(paths[i], 10, &text, &bytes), MZ_EIO);
    }
    assert_true(!map.data && map.bytes == 77 && !text && bytes == 77);
    clear_folder();
}

static void reading_has_a_limit(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 77;
    unsigned char *p = pattern(10000, 5);
    assert_int_equal(mz_file_write(in_folder("g"), p, 10000), MZ_OK);
    assert_int_equal(mz_file_read(in_folder("g"), 9999, &text, &bytes), MZ_ECORRUPT);
    assert_true(!text && bytes == 77);
    assert_int_equal(mz_file_read(in_folder("g"), 10000, &text, &bytes), MZ_OK);
    assert_true(bytes == 10000 && memcmp(text, p, 10000) == 0 && text[10000] == '\0');
    mz_mem_free(text);
    text = NULL;
    /* a file that says it is empty and is not */
    assert_int_equal(mz_file_read("/proc/self/maps", 1 << 24, &text, &bytes), MZ_OK);
    assert_true(bytes > 100 && strlen(text) == bytes);
    mz_mem_free(text);
    text = NULL;
    assert_int_equal(mz_file_read("/proc/self/maps", 100, &text, &bytes), MZ_ECORRUPT);
    assert_null(text);
    assert_int_equal(mz_file_read("/proc/self/cmdline", 4000, &text, &bytes), MZ_OK);
    mz_mem_free(text);
    text = NULL;
    assert_int_equal(mz_file_read("/proc/self/cmdline", bytes - 1, &text, &bytes), MZ_ECORRUPT);
    assert_null(text);
    mz_mem_free(p);
    clear_folder();
}

static void any_failed_call_fails_the_reading(void **state)
{
    (void)state;
    unsigned char *p = pattern(5000, 6);
    const char *path = in_folder("h");
    assert_int_equal(mz_file_write(path, p, 5000), MZ_OK);
    const int files = open_files();
    const size_t used = mz_mem_bytes_used();
    for (int kind = 0; kind < 2; kind++) {
        int n = 1;
        for (;; n++) {
            char *text = NULL;
            size_t bytes;
            mz_map map = {0};
            mz_file_fail_at(n, EIO, false);
            const mz_err err =
                kind ? mz_map_open(&map, path) : mz_file_read(path, 5000, &text, &bytes);
            mz_file_fail_at(0, 0, false);
            assert_true(err == MZ_EIO || err == MZ_OK);
            if (err != MZ_OK) assert_true(!text && !map.data);
            mz_mem_free(text);
            mz_map_close(&map);
            assert_int_equal(open_files(), files);
            assert_int_equal(mz_mem_bytes_used(), used);
            if (err == MZ_OK) break;
        }
        assert_int_equal(n, kind ? 4 : 5); /* open, stat, map | read, read */
    }
    mz_mem_fail_at(1, false);
    char *text = NULL;
    size_t bytes;
    assert_int_equal(mz_file_read(path, 5000, &text, &bytes), MZ_ENOMEM);
    assert_int_equal(open_files(), files);
    mz_mem_free(p);
    clear_folder();
}

static void folders_are_made_like_mkdir_p(void **state)
{
    (void)state;
    assert_int_equal(mz_file_mkdirs(in_folder("x//y/z/")), MZ_OK);
    assert_true(mz_file_is_dir(in_folder("x/y/z")));
    assert_int_equal(mz_file_mkdirs(in_folder("x/y/z")), MZ_OK);
    assert_int_equal(mz_file_mkdirs("/"), MZ_OK);
    assert_int_equal(mz_file_mkdirs("."), MZ_OK);
    assert_int_equal(mz_file_mkdirs(""), MZ_EINVAL);
    assert_int_equal(mz_file_write(in_folder("x/file"), "", 0), MZ_OK);
    assert_int_equal(mz_file_mkdirs(in_folder("x/file")), MZ_EIO);
    assert_int_equal(mz_file_mkdirs(in_folder("x/file/y")), MZ_EIO);
    char big[PATH_MAX + 10];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(mz_file_mkdirs(big), MZ_EINVAL);
    static const char *const made[] = {"x/y/z", "x/y", "x/file", "x"};
    for (int i = 0; i < MZ_COUNT(made); i++) assert_int_equal(remove(in_folder(made[i])), 0);

    int n = 1;
    for (;; n++) { /* mkdir, open, fsync of the folder above; twice; a failed mkdir looks first */
        mz_file_fail_at(n, EIO, true);
        const mz_err err = mz_file_mkdirs(in_folder("p/q"));
        mz_file_fail_at(0, 0, false);
        const bool has_q = mz_file_is_dir(in_folder("p/q"));
        if (has_q) assert_int_equal(remove(in_folder("p/q")), 0);
        if (mz_file_exists(in_folder("p"))) assert_int_equal(remove(in_folder("p")), 0);
        if (err == MZ_OK) {
            assert_true(has_q);
            break;
        }
        assert_int_equal(err, MZ_EIO);
    }
    assert_true(n >= 7);
}

static void names_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(mz_file_write(in_folder("i"), "", 0), MZ_OK);
    assert_true(mz_file_exists(in_folder("i")) && !mz_file_is_dir(in_folder("i")));
    assert_true(mz_file_exists(folder) && mz_file_is_dir(folder));
    assert_false(mz_file_exists(in_folder("j")) || mz_file_is_dir(in_folder("j")));
    assert_false(mz_file_exists("") || mz_file_is_dir("") || mz_file_exists(NULL));
    clear_folder();

    char out[8] = "same";
    assert_int_equal(mz_path_join(out, sizeof out, "abc", "defg"), MZ_EINVAL);
    assert_string_equal(out, "same");
    assert_int_equal(mz_path_join(out, sizeof out, "abc", "def"), MZ_OK);
    assert_string_equal(out, "abc/def");
    assert_int_equal(mz_path_join(out, sizeof out, "/", "a"), MZ_OK);
    assert_string_equal(out, "/a");
    assert_int_equal(mz_path_join(out, sizeof out, "", "a"), MZ_OK);
    assert_string_equal(out, "a");
}

static void odd_targets(void **state)
{
    (void)state;
    char here[PATH_MAX];
    assert_int_equal(mz_file_write(in_folder("target"), "old", 3), MZ_OK);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    assert_int_equal(mz_file_write(in_folder("link"), "new", 3), MZ_OK);
    expect_content(in_folder("target"), "old", 3); /* the link was replaced */
    expect_content(in_folder("link"), "new", 3);

    assert_int_equal(mz_file_mkdirs(in_folder("dir")), MZ_OK);
    assert_int_equal(mz_file_write(in_folder("dir"), "x", 1), MZ_EIO);
    assert_int_equal(mz_file_write(in_folder("dir/"), "x", 1), MZ_EINVAL);
    assert_int_equal(mz_file_write(in_folder("none/x"), "x", 1), MZ_EIO);
    assert_int_equal(count_entries(folder), 3);

    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    mz_writer *w = NULL;
    const mz_err err = mz_writer_open(&w, "bare"); /* a name without a folder */
    assert_int_equal(chdir(here), 0);
    assert_int_equal(err, MZ_OK);
    assert_int_equal(mz_writer_commit(w), MZ_OK); /* lands where it was opened */
    expect_content(in_folder("bare"), "", 0);
    clear_folder();

    char name[256]; /* as long as a name may be: the temporary one must not be longer */
    memset(name, 'n', 255);
    name[255] = '\0';
    assert_int_equal(mz_file_write(in_folder(name), "x", 1), MZ_OK);
    const mode_t mask = umask(027);
    assert_int_equal(mz_file_write(in_folder("mode"), "x", 1), MZ_OK);
    (void)umask(mask);
    struct stat st;
    assert_int_equal(stat(in_folder("mode"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    clear_folder();
}

enum { BIG = 150000, WRITERS = 3 };

static void *write_often(void *arg)
{
    const unsigned char *p = arg;
    for (int i = 0; i < 30; i++)
        if (mz_file_write(in_place, p, BIG) != MZ_OK) return NULL;
    return arg;
}

/* Whoever reads meanwhile sees one of the versions, whole. */
static void writers_at_the_same_time_do_not_mix(void **state)
{
    (void)state;
    pthread_t id[WRITERS];
    unsigned char *p[WRITERS];
    void *result;
    (void)snprintf(in_place, sizeof in_place, "%s", in_folder("k"));
    for (int i = 0; i < WRITERS; i++) {
        p[i] = pattern(BIG, 0);
        memset(p[i], 'a' + i, BIG);
    }
    assert_int_equal(mz_file_write(in_place, p[0], BIG), MZ_OK);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&id[i], NULL, write_often, p[i]), 0);
    for (int round = 0; round < 60; round++) {
        char *text = NULL;
        size_t bytes;
        assert_int_equal(mz_file_read(in_place, BIG, &text, &bytes), MZ_OK);
        assert_int_equal(bytes, BIG);
        assert_memory_equal(text, p[text[0] - 'a'], BIG);
        mz_mem_free(text);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(id[i], &result), 0);
        assert_non_null(result);
        mz_mem_free(p[i]);
    }
    assert_int_equal(count_entries(folder), 1);
    clear_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_what_is_read),
        cmocka_unit_test(pieces_come_out_in_order),
        cmocka_unit_test(abort_leaves_nothing),
        cmocka_unit_test(any_failed_call_keeps_the_old_file_or_none),
        cmocka_unit_test(any_failed_allocation_keeps_the_old_file),
        cmocka_unit_test(a_failed_put_fails_the_commit),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(reading_has_a_limit),
        cmocka_unit_test(any_failed_call_fails_the_reading),
        cmocka_unit_test(folders_are_made_like_mkdir_p),
        cmocka_unit_test(names_are_told_apart),
        cmocka_unit_test(odd_targets),
        cmocka_unit_test(writers_at_the_same_time_do_not_mix),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
