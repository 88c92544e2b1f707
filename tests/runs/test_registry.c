/* SPDX-License-Identifier: Apache-2.0 */
/* tests/runs/test_registry.c - rows there and back, many processes at once, and every way in which
 * the file may be none of ours. */
#include "runs/registry.h"

#include "base/file.h"
#include "base/mem.h"
#include "tests/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WRITERS = 8, ROWS = 6 };

static mz_run_entry entry(const char *id, const char *path)
{
    mz_run_entry e = {.state = MZ_RUN_RUNNING,
                      .parameters = 4700000,
                      .pid = 77,
                      .step = 12,
                      .steps = 40,
                      .tokens = 1 << 20,
                      .best_step = 10,
                      .loss = 3.25,
                      .best_loss = (double)NAN,
                      .started = 1.8e9 + 0.125,
                      .ended = (double)NAN,
                      .seen = 1.8e9 + 1.5};
    (void)snprintf(e.id, sizeof e.id, "%s", id);
    (void)snprintf(e.path, sizeof e.path, "%s", path);
    (void)snprintf(e.name, sizeof e.name, "first");
    (void)snprintf(e.family, sizeof e.family, "deepseek_v3");
    (void)snprintf(e.chips, sizeof e.chips, "cpu, far");
    (void)snprintf(e.reason, sizeof e.reason, "it's \"so\"; DROP TABLE runs");
    return e;
}

static mz_registry *opened(const char *path, bool writes)
{
    mz_registry *r = NULL;
    if (mz_registry_open(&r, path, writes) != MZ_OK) fail_msg("%s", mz_err_last()->message);
    return r;
}

static void assert_same(const mz_run_entry *a, const mz_run_entry *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->family, b->family);
    assert_string_equal(a->chips, b->chips);
    assert_string_equal(a->reason, b->reason);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->parameters, b->parameters);
    assert_int_equal(a->pid, b->pid);
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->tokens, b->tokens);
    assert_int_equal(a->best_step, b->best_step);
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_memory_equal(&a->started, &b->started, sizeof a->started);
    assert_memory_equal(&a->seen, &b->seen, sizeof a->seen);
    assert_true(isnan(b->best_loss) && isnan(b->ended));
}

static void rows_there_and_back(void **state)
{
    (void)state;
    scratch_clear();
    const char *path = scratch_path("a/b/runs.db");
    mz_run_entry a = entry("00000000000a", "/runs/a"), b = entry("00000000000b", "/runs/b"), got;
    mz_run_entries all = {0};
    bool found = true;
    mz_registry *r = opened(path, false); /* not there: no rows, and nothing is made */
    assert_int_equal(mz_registry_list(r, &all), MZ_OK);
    assert_int_equal(all.n, 0);
    assert_int_equal(mz_registry_find(r, a.id, &got, &found), MZ_OK);
    assert_false(found);
    mz_registry_close(r);
    assert_false(mz_file_exists(path));

    r = opened(path, true);
    b.started += 1.0;
    assert_int_equal(mz_registry_put(r, &a), MZ_OK);
    assert_int_equal(mz_registry_put(r, &b), MZ_OK);
    a.step = 13;
    assert_int_equal(mz_registry_put(r, &a), MZ_OK); /* in place of itself */
    mz_registry_close(r);

    r = opened(path, false);
    assert_int_equal(mz_registry_list(r, &all), MZ_OK);
    assert_int_equal(all.n, 2);
    assert_same(&b, &all.list[0]); /* the newest first */
    assert_same(&a, &all.list[1]);
    mz_run_entries_clear(&all);
    assert_int_equal(mz_registry_find(r, b.id, &got, &found), MZ_OK);
    assert_true(found);
    assert_same(&b, &got);
    mz_registry_close(r);
}

/* One folder is one run: a new one there takes the row of the old one. */
static void a_folder_is_one_run(void **state)
{
    (void)state;
    scratch_clear();
    mz_registry *r = opened(scratch_path("runs.db"), true);
    mz_run_entry a = entry("00000000000a", "/runs/a"), other = entry("00000000000b", "/runs/a");
    mz_run_entries all = {0};
    assert_int_equal(mz_registry_put(r, &a), MZ_OK);
    assert_int_equal(mz_registry_put(r, &other), MZ_OK);
    assert_int_equal(mz_registry_list(r, &all), MZ_OK);
    assert_int_equal(all.n, 1);
    assert_string_equal(all.list[0].id, other.id);
    mz_run_entries_clear(&all);
    assert_int_equal(mz_registry_remove(r, other.id), MZ_OK);
    assert_int_equal(mz_registry_remove(r, "none"), MZ_OK);
    assert_int_equal(mz_registry_list(r, &all), MZ_OK);
    assert_int_equal(all.n, 0);
    mz_registry_close(r);
}

/* Who has looked at a folder does not undo what its process has said meanwhile. */
static void what_was_seen_is_not_put_over_news(void **state)
{
    (void)state;
    scratch_clear();
    mz_registry *r = opened(scratch_path("runs.db"), true);
    mz_run_entry a = entry("00000000000a", "/runs/a"), got;
    bool found;
    assert_int_equal(mz_registry_put(r, &a), MZ_OK);
    const double seen = a.seen;
    a.state = MZ_RUN_FINISHED, a.seen = seen + 1.0; /* its process */
    assert_int_equal(mz_registry_put(r, &a), MZ_OK);
    a.state = MZ_RUN_FAILED, a.seen = seen + 2.0; /* somebody who read the row before */
    assert_int_equal(mz_registry_put_seen(r, &a, seen), MZ_OK);
    assert_int_equal(mz_registry_find(r, a.id, &got, &found), MZ_OK);
    assert_int_equal(got.state, MZ_RUN_FINISHED);
    assert_int_equal(mz_registry_put_seen(r, &a, seen + 1.0), MZ_OK);
    assert_int_equal(mz_registry_find(r, a.id, &got, &found), MZ_OK);
    assert_int_equal(got.state, MZ_RUN_FAILED);
    mz_registry_close(r);
}

/* All of them make the file, and then write as fast as they can. */
static void write_rows(const char *path, int writer)
{
    for (int i = 0; i < ROWS; i++) {
        char id[MZ_RUN_ID], where[32];
        mz_registry *r = NULL;
        (void)snprintf(id, sizeof id, "%06d%06d", writer, i);
        (void)snprintf(where, sizeof where, "/runs/%s", id);
        const mz_run_entry e = entry(id, where);
        if (mz_registry_open(&r, path, true) != MZ_OK || mz_registry_put(r, &e) != MZ_OK) _exit(1);
        mz_registry_close(r);
    }
    _exit(0);
}

static void many_processes_at_once(void **state)
{
    (void)state;
    scratch_clear();
    const char *path = scratch_path("runs.db");
    mz_run_entries all = {0};
    pid_t pids[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) write_rows(path, i);
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    mz_registry *r = opened(path, false);
    assert_int_equal(mz_registry_list(r, &all), MZ_OK);
    assert_int_equal(all.n, WRITERS * ROWS);
    mz_run_entries_clear(&all);
    mz_registry_close(r);
}

static sqlite3 *raw(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void one_that_is_held_is_busy(void **state)
{
    (void)state;
    scratch_clear();
    const char *path = scratch_path("runs.db");
    const mz_run_entry e = entry("00000000000a", "/runs/a");
    mz_registry_close(opened(path, true));
    sqlite3 *other = raw(path, "BEGIN IMMEDIATE");
    mz_registry *r = opened(path, true); /* its rows can still be read */
    assert_int_equal(mz_registry_put(r, &e), MZ_EBUSY);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(mz_registry_put(r, &e), MZ_OK);
    mz_registry_close(r);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

/* Neither read nor touched. */
static void a_newer_one_is_left_as_it_is(void **state)
{
    (void)state;
    scratch_clear();
    const char *path = scratch_path("runs.db");
    mz_registry *r = NULL;
    char *before = NULL, *after = NULL;
    size_t n = 0, m = 0;
    (void)sqlite3_close(raw(path, "CREATE TABLE runs (x); PRAGMA user_version = 2"));
    assert_int_equal(mz_file_read(path, 1 << 20, &before, &n), MZ_OK);
    for (int writes = 0; writes < 2; writes++) {
        assert_int_equal(mz_registry_open(&r, path, writes), MZ_ENOTSUP);
        assert_non_null(strstr(mz_err_last()->message, "newer"));
        assert_null(r);
    }
    assert_int_equal(mz_file_read(path, 1 << 20, &after, &m), MZ_OK);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    mz_mem_free(before);
    mz_mem_free(after);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    scratch_clear();
    char text[2048];
    mz_registry *r = NULL;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(mz_registry_open(&r, scratch_write("text", text), true), MZ_ECORRUPT);
    assert_int_equal(mz_registry_open(&r, scratch_path("text/runs.db"), true), MZ_EIO);
    assert_int_equal(mz_file_mkdirs(scratch_path("folder")), MZ_OK);
    assert_int_equal(mz_registry_open(&r, scratch_path("folder"), true), MZ_EIO);
    const char *other = scratch_path("other"); /* our version, not our table */
    (void)sqlite3_close(raw(other, "CREATE TABLE runs (x); PRAGMA user_version = 1"));
    mz_run_entries all = {0};
    r = opened(other, true);
    assert_int_equal(mz_registry_list(r, &all), MZ_ECORRUPT);
    assert_int_equal(all.n, 0);
    mz_registry_close(r);
}

/* Texts that are too long, numbers that are texts, nothing at all. */
static void rows_of_others_are_taken_as_far_as_they_fit(void **state)
{
    (void)state;
    scratch_clear();
    const char *path = scratch_path("runs.db");
    mz_run_entries all = {0};
    mz_registry_close(opened(path, true));
    (void)sqlite3_close(
        raw(path, "INSERT INTO runs (id, name, path, state, loss, step, started, chips) VALUES "
                  "(hex(zeroblob(500)), hex(zeroblob(500)), hex(zeroblob(5000)), 'flying', 'low', "
                  "'many', NULL, x'00ff00')"));
    mz_registry *r = opened(path, false);
    assert_int_equal(mz_registry_list(r, &all), MZ_OK);
    assert_int_equal(all.n, 1);
    const mz_run_entry *e = &all.list[0];
    assert_int_equal(strlen(e->id), MZ_RUN_ID - 1);
    assert_int_equal(strlen(e->name), MZ_RUN_NAME - 1);
    assert_int_equal(strlen(e->path), MZ_RUN_PATH - 1);
    assert_int_equal(e->state, MZ_RUN_STOPPED);
    assert_int_equal(e->step, 0);
    assert_true(isnan(e->started) && isnan(e->best_loss));
    mz_run_entries_clear(&all);
    mz_registry_close(r);
}

static void the_place_follows_xdg(void **state)
{
    (void)state;
    char path[MZ_RUN_PATH];
    assert_int_equal(setenv("HOME", "/home/one", 1), 0);
    assert_int_equal(setenv("XDG_STATE_HOME", "/state", 1), 0);
    assert_int_equal(mz_registry_where(path), MZ_OK);
    assert_string_equal(path, "/state/mizan/runs.db");
    assert_int_equal(setenv("XDG_STATE_HOME", "state", 1), 0); /* relative: means nothing */
    assert_int_equal(mz_registry_where(path), MZ_OK);
    assert_string_equal(path, "/home/one/.local/state/mizan/runs.db");
    assert_int_equal(unsetenv("HOME"), 0);
    assert_int_equal(mz_registry_where(path), MZ_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_there_and_back),
        cmocka_unit_test(a_folder_is_one_run),
        cmocka_unit_test(what_was_seen_is_not_put_over_news),
        cmocka_unit_test(many_processes_at_once),
        cmocka_unit_test(one_that_is_held_is_busy),
        cmocka_unit_test(a_newer_one_is_left_as_it_is),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(rows_of_others_are_taken_as_far_as_they_fit),
        cmocka_unit_test(the_place_follows_xdg),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
