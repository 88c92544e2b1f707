/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_torn.c - files that change while they are mapped, and what writers leave behind
 * that were killed. */
#include "base/file.h"
#include "base/folder.h"
#include "base/torn.h"
#include "file/safetensors.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mz_torn_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    const struct rlimit none = {0, 0}; /* a child of ours dies of SIGBUS on purpose */
    (void)setrlimit(RLIMIT_CORE, &none);
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return mz_folder_remove(folder) == MZ_OK ? 0 : -1;
}

static const char *in(const char *name)
{
    static char path[8][128];
    static unsigned turn;
    char *p = path[turn++ % 8];
    assert_int_equal(mz_path_join(p, sizeof path[0], folder, name), MZ_OK);
    return p;
}

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void put_pages(const char *path, size_t pages)
{
    char *bytes = calloc(pages, page());
    assert_non_null(bytes);
    memset(bytes, 'x', pages * page());
    assert_int_equal(mz_file_write(path, bytes, pages * page()), MZ_OK);
    free(bytes);
}

static int touch(const mz_map *map, size_t at)
{
    return *(const volatile unsigned char *)(map->data + at);
}

/* ---- files that become shorter (G17) ---- */

/* Run first: the guard stays. */
static void without_the_guard_it_is_a_signal(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        mz_map map;
        put_pages(in("s"), 3);
        (void)signal(SIGBUS, SIG_DFL);
        if (mz_map_open(&map, in("s")) != MZ_OK || truncate(in("s"), (off_t)page()) != 0) _exit(2);
        _exit(touch(&map, 2 * page()) == 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void with_the_guard_it_is_an_error(void **state)
{
    (void)state;
    mz_map map = {0}, other = {0};
    assert_int_equal(mz_torn_guard(), MZ_OK);
    put_pages(in("a"), 4);
    put_pages(in("b"), 4);
    assert_int_equal(mz_map_open(&map, in("a")), MZ_OK);
    assert_int_equal(mz_map_open(&other, in("b")), MZ_OK);
    assert_int_equal(mz_map_intact(&map, in("a")), MZ_OK);
    assert_false(mz_torn_any());
    assert_int_equal(truncate(in("a"), (off_t)page()), 0);
    assert_int_equal(touch(&map, 0), 'x');
    assert_int_equal(touch(&map, 2 * page() + 5), 0);
    assert_int_equal(touch(&map, 4 * page() - 1), 0);
    assert_int_equal(touch(&map, page() + 1), 0); /* before the first fault */
    assert_true(mz_torn_any());
    assert_int_equal(mz_map_intact(&map, in("a")), MZ_EIO);
    assert_string_equal(mz_err_last()->file, in("a"));
    assert_non_null(strstr(mz_err_last()->message, "was changed while it was being read"));
    assert_int_equal(mz_map_intact(&other, in("b")), MZ_OK);
    mz_map_close(&map);
    assert_int_equal(touch(&other, 4 * page() - 1), 'x');
    mz_map_close(&other);
}

static void a_fault_elsewhere_still_kills(void **state)
{
    (void)state;
    put_pages(in("e"), 2);
    const pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGBUS, SIG_DFL);
        const int fd = open(in("e"), O_RDWR);
        const size_t bytes = 2 * page();
        if (fd < 0 || mz_torn_guard() != MZ_OK) _exit(2);
        const mz_map map = {.data =
                                mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0)}; /* unwatched */
        if (map.data == MAP_FAILED || ftruncate(fd, 0) != 0) _exit(3);
        _exit(touch(&map, page()) == 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void what_is_written_over_is_noticed(void **state)
{
    (void)state;
    mz_map map = {0};
    put_pages(in("c"), 1);
    assert_int_equal(mz_map_open(&map, in("c")), MZ_OK);
    assert_int_equal(mz_file_write(in("c"), "new", 3), MZ_OK); /* another file of that name */
    assert_int_equal(mz_map_intact(&map, in("c")), MZ_OK);
    assert_int_equal(unlink(in("c")), 0);
    assert_int_equal(mz_map_intact(&map, in("c")), MZ_OK);
    mz_map_close(&map);
    assert_int_equal(mz_file_write(in("c"), "new", 3), MZ_OK);
    assert_int_equal(mz_map_open(&map, in("c")), MZ_OK);
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, in("c"), old, 0), 0); /* as writing in place does */
    assert_int_equal(mz_map_intact(&map, in("c")), MZ_EIO);
    mz_map_close(&map);
    assert_int_equal(mz_file_write(in("c"), "", 0), MZ_OK);
    assert_int_equal(mz_map_open(&map, in("c")), MZ_OK); /* of no bytes */
    assert_int_equal(mz_map_intact(&map, in("c")), MZ_OK);
    mz_map_close(&map);
}

/* ---- leftovers ---- */

static int64_t count(const char *path)
{
    mz_names names = {0};
    assert_int_equal(mz_folder_list(&names, path), MZ_OK);
    const int64_t n = names.n;
    mz_names_clear(&names);
    return n;
}

/* A child that begins to write and then dies, or waits to be told to go on. */
static pid_t begin_writing(const char *path, const int go_on[2])
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        mz_writer *w = NULL;
        (void)close(ready[0]);
        if (mz_writer_open(&w, path) != MZ_OK || mz_writer_put(w, "half", 4) != MZ_OK) _exit(2);
        (void)close(ready[1]);
        if (!go_on) _exit(0);  /* as if killed: nothing is cleaned up */
        (void)close(go_on[1]); /* so that it ends when the test does */
        if (read(go_on[0], &byte, 1) != 1) _exit(3);
        _exit(mz_writer_commit(w) == MZ_OK ? 0 : 4);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 0); /* closed */
    (void)close(ready[0]);
    return child;
}

/* What a second folder is for: sweeping the same one twice in a row is left out. */
static void write_into(const char *name)
{
    assert_int_equal(mz_file_write(in("elsewhere/x"), "x", 1), MZ_OK);
    assert_int_equal(mz_file_write(in(name), "x", 1), MZ_OK);
}

static void leftovers_of_the_dead_are_swept(void **state)
{
    (void)state;
    int status = 0, go_on[2];
    assert_int_equal(mz_file_mkdirs(in("w")), MZ_OK);
    assert_int_equal(mz_file_mkdirs(in("elsewhere")), MZ_OK);
    assert_int_equal(waitpid(begin_writing(in("w/a"), NULL), &status, 0) > 0, 1);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(count(in("w")), 1); /* .mz-PID-N.tmp */
    assert_int_equal(pipe(go_on), 0);
    const pid_t alive = begin_writing(in("w/b"), go_on);
    assert_int_equal(count(in("w")), 1); /* the second writer swept the first one's */
    write_into("w/c");
    assert_int_equal(count(in("w")), 2); /* c, and what is being written */
    assert_int_equal(write(go_on[1], "x", 1), 1);
    assert_int_equal(waitpid(alive, &status, 0), alive);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(mz_file_exists(in("w/b")));
    assert_int_equal(count(in("w")), 2);
    (void)close(go_on[0]);
    (void)close(go_on[1]);
}

static void nothing_else_is_swept(void **state)
{
    (void)state;
    static const char *const names[] = {".mz-1-2.tmpx", ".mz--2.tmp",   ".mz-1.tmp",
                                        "mz-1-2.tmp",   ".mz-1-2x.tmp", ".mz-1-.tmp"};
    assert_int_equal(mz_file_mkdirs(in("n")), MZ_OK);
    for (int i = 0; i < MZ_COUNT(names); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "n/%s", names[i]);
        assert_int_equal(mz_file_write(in(name), "x", 1), MZ_OK);
    }
    assert_int_equal(mz_file_mkdirs(in("n/.mz-7-1.tmp")), MZ_OK); /* a folder */
    assert_int_equal(symlink("../elsewhere/x", in("n/.mz-7-2.tmp")), 0);
    assert_int_equal(mz_file_write(in("n/z"), "x", 1), MZ_OK);
    const int64_t before = count(in("n"));
    write_into("n/z");
    assert_int_equal(count(in("n")), before);
    const int fd = open(in("n/.mz-7-3.tmp"), O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    write_into("n/z");
    assert_int_equal(count(in("n")), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_guard_it_is_a_signal),
        cmocka_unit_test(with_the_guard_it_is_an_error),
        cmocka_unit_test(a_fault_elsewhere_still_kills),
        cmocka_unit_test(what_is_written_over_is_noticed),
        cmocka_unit_test(leftovers_of_the_dead_are_swept),
        cmocka_unit_test(nothing_else_is_swept),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
