/* SPDX-License-Identifier: Apache-2.0 */
/* runs/registry.c - see registry.h. */
#include "runs/registry.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/str.h"

#include <math.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct mz_registry {
    sqlite3 *db; /* NULL: there is none, and none was to be made */
    char path[MZ_RUN_PATH];
};

/* ---- rows ---- */

typedef enum kind { TEXT, WHOLE, REAL, STATE } kind;

typedef struct column {
    const char *name, *type;
    kind kind;
    size_t offset, bytes;
} column;

#define MEMBER(m) offsetof(mz_run_entry, m), sizeof(((mz_run_entry *)0)->m)
static const column COLUMNS[] = {
    {"id", "TEXT PRIMARY KEY NOT NULL", TEXT, MEMBER(id)},
    {"name", "TEXT NOT NULL", TEXT, MEMBER(name)},
    {"path", "TEXT UNIQUE NOT NULL", TEXT, MEMBER(path)},
    {"family", "TEXT", TEXT, MEMBER(family)},
    {"config", "TEXT", TEXT, MEMBER(config)},
    {"chips", "TEXT", TEXT, MEMBER(chips)},
    {"host", "TEXT", TEXT, MEMBER(host)},
    {"reason", "TEXT", TEXT, MEMBER(reason)},
    {"state", "TEXT NOT NULL", STATE, MEMBER(state)},
    {"parameters", "INTEGER", WHOLE, MEMBER(parameters)},
    {"pid", "INTEGER", WHOLE, MEMBER(pid)},
    {"step", "INTEGER", WHOLE, MEMBER(step)},
    {"steps", "INTEGER", WHOLE, MEMBER(steps)},
    {"tokens", "INTEGER", WHOLE, MEMBER(tokens)},
    {"best_step", "INTEGER", WHOLE, MEMBER(best_step)},
    {"loss", "REAL", REAL, MEMBER(loss)},
    {"best_loss", "REAL", REAL, MEMBER(best_loss)},
    {"started", "REAL", REAL, MEMBER(started)},
    {"ended", "REAL", REAL, MEMBER(ended)},
    {"seen", "REAL", REAL, MEMBER(seen)},
};
enum { COLUMN_COUNT = MZ_COUNT(COLUMNS) };

static const char *const STATES[MZ_RUN_STATES] = {"running", "finished", "stopped", "failed"};

const char *mz_run_state_name(mz_run_state s)
{
    return STATES[s];
}

bool mz_run_state_find(const char *name, mz_run_state *s)
{
    for (int i = 0; i < MZ_RUN_STATES; i++)
        if (strcmp(STATES[i], name) == 0) {
            *s = (mz_run_state)i;
            return true;
        }
    return false;
}

void mz_run_entries_clear(mz_run_entries *e)
{
    mz_mem_free(e->list);
    *e = (mz_run_entries){0};
}

/* ---- failures ---- */

static mz_err failed(const mz_registry *r, int code, const char *what)
{
    const char *why = r->db ? sqlite3_errmsg(r->db) : sqlite3_errstr(code);
    switch (code & 0xff) { /* the rest says more about the same */
    case SQLITE_BUSY:
    case SQLITE_LOCKED: {
        const mz_err err = MZ_FAIL(MZ_EBUSY, "%s is held by another process", r->path);
        mz_note_where(r->path, NULL, -1);
        return err;
    }
    case SQLITE_NOMEM:
        return MZ_FAIL(MZ_ENOMEM, "no memory for %s", r->path);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_ERROR: { /* a table that is none of ours, too */
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is no registry of runs: %s", r->path, why);
        mz_note_where(r->path, NULL, -1);
        mz_note_fix("move it away; `mizan runs add DIR` makes a new one from run folders");
        return err;
    }
    default: {
        const mz_err err = MZ_FAIL(MZ_EIO, "%s: cannot %s: %s", r->path, what, why);
        mz_note_where(r->path, NULL, -1);
        return err;
    }
    }
}

static mz_err execute(mz_registry *r, const char *sql)
{
    const int code = sqlite3_exec(r->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? MZ_OK : failed(r, code, "be written");
}

/* ---- opening ---- */

mz_err mz_registry_where(char path[MZ_RUN_PATH])
{
    mz_options o;
    mz_options_init(&o);
    int n = -1;
    if (o.state_home) /* one that is relative means nothing (XDG) */
        n = snprintf(path, MZ_RUN_PATH, "%s/mizan/runs.db", o.state_home);
    else if (o.home)
        n = snprintf(path, MZ_RUN_PATH, "%s/.local/state/mizan/runs.db", o.home);
    if (n > 0 && n < MZ_RUN_PATH) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_EIO, "there is no place for the registry of runs");
    mz_note_fix("set XDG_STATE_HOME or HOME to a folder of yours");
    return err;
}

static mz_err read_version(mz_registry *r, int *version)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(r->db, "PRAGMA user_version", -1, &s, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(s);
    if (code == SQLITE_ROW) *version = sqlite3_column_int(s, 0);
    const mz_err err = code == SQLITE_ROW ? MZ_OK : failed(r, code, "be read");
    (void)sqlite3_finalize(s);
    return err;
}

static mz_err check_version(mz_registry *r, int *version)
{
    MZ_TRY(read_version(r, version));
    if (*version <= MZ_REGISTRY_VERSION) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "%s is a registry of version %d, this Mizan knows %d: it is newer",
                r->path, *version, MZ_REGISTRY_VERSION);
    mz_note_where(r->path, NULL, -1);
    mz_note_fix("use the newer Mizan, or another XDG_STATE_HOME with this one");
    return err;
}

static mz_err create_table(mz_registry *r)
{
    mz_str sql = {0};
    mz_err err = mz_str_addf(&sql, "CREATE TABLE IF NOT EXISTS runs (");
    for (int i = 0; i < COLUMN_COUNT && err == MZ_OK; i++)
        err = mz_str_addf(&sql, "%s%s %s", i ? ", " : "", COLUMNS[i].name, COLUMNS[i].type);
    if (err == MZ_OK)
        err = mz_str_addf(&sql, "); PRAGMA user_version = %d; COMMIT", MZ_REGISTRY_VERSION);
    if (err == MZ_OK) err = execute(r, sql.text);
    mz_str_clear(&sql);
    return err;
}

/* Two processes may make it at once: the second finds it made. */
static mz_err make_table(mz_registry *r)
{
    int version = 0;
    /* one that cannot change it now finds it changed, or makes do without */
    (void)sqlite3_exec(r->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    MZ_TRY(execute(r, "BEGIN IMMEDIATE"));
    mz_err err = check_version(r, &version);
    if (err == MZ_OK) err = create_table(r);
    if (err == MZ_OK) return MZ_OK;
    (void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

static mz_err make_folder_of(const char *path)
{
    char folder[MZ_RUN_PATH];
    const char *end = strrchr(path, '/');
    if (!end || end == path) return MZ_OK;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(end - path), path);
    return mz_file_mkdirs(folder);
}

static mz_err open_db(mz_registry *r, bool writes)
{
    int version = 0;
    const int flags = SQLITE_OPEN_READWRITE | (writes ? SQLITE_OPEN_CREATE : 0);
    if (!writes && !mz_file_exists(r->path)) return MZ_OK;
    if (writes) MZ_TRY(make_folder_of(r->path));
    const int code = sqlite3_open_v2(r->path, &r->db, flags, NULL);
    if (code != SQLITE_OK) return failed(r, code, "be opened");
    (void)sqlite3_busy_timeout(r->db, MZ_REGISTRY_PATIENCE_MS);
    MZ_TRY(check_version(r, &version));
    if (version == 0 && writes) MZ_TRY(make_table(r));
    if (version == 0 && !writes) { /* being made, or nothing of ours: no rows either way */
        (void)sqlite3_close(r->db);
        r->db = NULL;
        return MZ_OK;
    }
    /* a power cut may lose the last rows, which the folders know; it does not damage the file */
    return execute(r, "PRAGMA synchronous = NORMAL");
}

mz_err mz_registry_open(mz_registry **out, const char *path, bool writes)
{
    mz_registry *r = NULL;
    char where[MZ_RUN_PATH];
    MZ_NEED(out, "no place for a registry");
    if (!path) MZ_TRY(mz_registry_where(where));
    if (!path) path = where;
    MZ_NEED(strlen(path) < MZ_RUN_PATH, "a path of %zu bytes", strlen(path));
    MZ_TRY(mz_mem_new(&r, 1, sizeof *r));
    memcpy(r->path, path, strlen(path) + 1);
    const mz_err err = open_db(r, writes);
    if (err != MZ_OK) {
        mz_registry_close(r);
        return err;
    }
    *out = r;
    return MZ_OK;
}

void mz_registry_close(mz_registry *r)
{
    if (!r) return;
    (void)sqlite3_close(r->db);
    mz_mem_free(r);
}

/* ---- reading ---- */

static void take_text(char *out, size_t bytes, const unsigned char *text)
{
    const size_t n = text ? strnlen((const char *)text, bytes - 1) : 0;
    if (n > 0) memcpy(out, text, n);
    out[n] = '\0';
}

static void take_row(sqlite3_stmt *s, mz_run_entry *e)
{
    *e = (mz_run_entry){0};
    for (int i = 0; i < COLUMN_COUNT; i++) {
        void *at = (char *)e + COLUMNS[i].offset;
        const bool is_null = sqlite3_column_type(s, i) == SQLITE_NULL;
        switch (COLUMNS[i].kind) {
        case TEXT:
            take_text(at, COLUMNS[i].bytes, sqlite3_column_text(s, i));
            break;
        case STATE: {
            const char *name = (const char *)sqlite3_column_text(s, i);
            if (!mz_run_state_find(name ? name : "", &e->state)) e->state = MZ_RUN_STOPPED;
            break;
        }
        case WHOLE:
            *(int64_t *)at = sqlite3_column_int64(s, i);
            break;
        case REAL:
            *(double *)at = is_null ? (double)NAN : sqlite3_column_double(s, i);
            break;
        }
    }
}

/* "SELECT id, name, ... FROM runs", and what comes after. */
static mz_err prepare_select(mz_registry *r, const char *rest, sqlite3_stmt **s)
{
    mz_str sql = {0};
    mz_err err = MZ_OK;
    for (int i = 0; i < COLUMN_COUNT && err == MZ_OK; i++)
        err = mz_str_addf(&sql, "%s%s", i ? ", " : "SELECT ", COLUMNS[i].name);
    if (err == MZ_OK) err = mz_str_addf(&sql, " FROM runs %s", rest);
    if (err == MZ_OK) {
        const int code = sqlite3_prepare_v2(r->db, sql.text, -1, s, NULL);
        if (code != SQLITE_OK) err = failed(r, code, "be read");
    }
    mz_str_clear(&sql);
    return err;
}

static mz_err add_rows(mz_registry *r, sqlite3_stmt *s, mz_run_entries *out)
{
    int64_t cap = 0;
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        if (out->n == cap) {
            cap = cap > 0 ? 2 * cap : 16;
            MZ_TRY(mz_mem_grow(&out->list, cap, sizeof *out->list));
        }
        take_row(s, &out->list[out->n++]);
    }
    return code == SQLITE_DONE ? MZ_OK : failed(r, code, "be read");
}

mz_err mz_registry_list(mz_registry *r, mz_run_entries *out)
{
    mz_run_entries found = {0};
    sqlite3_stmt *s = NULL;
    MZ_NEED(r && out, "no registry, or no place for its rows");
    mz_err err = MZ_OK;
    if (r->db) err = prepare_select(r, "ORDER BY started DESC, id", &s);
    if (r->db && err == MZ_OK) err = add_rows(r, s, &found);
    (void)sqlite3_finalize(s);
    if (err == MZ_OK)
        *out = found;
    else
        mz_run_entries_clear(&found);
    return err;
}

mz_err mz_registry_find(mz_registry *r, const char *id, mz_run_entry *out, bool *found)
{
    sqlite3_stmt *s = NULL;
    MZ_NEED(r && id && out && found, "an argument is NULL");
    *found = false;
    if (!r->db) return MZ_OK;
    mz_err err = prepare_select(r, "WHERE id = ?", &s);
    if (err == MZ_OK) {
        int code = sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
        if (code == SQLITE_OK) code = sqlite3_step(s);
        *found = code == SQLITE_ROW;
        if (*found) take_row(s, out);
        if (code != SQLITE_ROW && code != SQLITE_DONE) err = failed(r, code, "be read");
    }
    (void)sqlite3_finalize(s);
    return err;
}

/* ---- writing ---- */

/* What is not known is NULL. */
static int bind(sqlite3_stmt *s, int at, const column *c, const mz_run_entry *e)
{
    const void *value = (const char *)e + c->offset;
    switch (c->kind) {
    case TEXT:
        return sqlite3_bind_text(s, at, value, -1, SQLITE_STATIC);
    case STATE:
        return sqlite3_bind_text(s, at, STATES[e->state], -1, SQLITE_STATIC);
    case WHOLE:
        return sqlite3_bind_int64(s, at, *(const int64_t *)value);
    case REAL:
        break;
    }
    return sqlite3_bind_double(s, at, *(const double *)value); /* NaN becomes NULL */
}

static mz_err replace(mz_registry *r, const mz_run_entry *e)
{
    mz_str sql = {0};
    sqlite3_stmt *s = NULL;
    int code = SQLITE_OK;
    mz_err err = mz_str_addf(&sql, "INSERT OR REPLACE INTO runs (");
    for (int i = 0; i < COLUMN_COUNT && err == MZ_OK; i++)
        err = mz_str_addf(&sql, "%s%s", i ? ", " : "", COLUMNS[i].name);
    if (err == MZ_OK) err = mz_str_addf(&sql, ") VALUES (?");
    for (int i = 1; i < COLUMN_COUNT && err == MZ_OK; i++) err = mz_str_addf(&sql, ", ?");
    if (err == MZ_OK) err = mz_str_addf(&sql, ")");
    if (err == MZ_OK) {
        code = sqlite3_prepare_v2(r->db, sql.text, -1, &s, NULL);
        for (int i = 0; i < COLUMN_COUNT && code == SQLITE_OK; i++)
            code = bind(s, i + 1, &COLUMNS[i], e);
        if (code == SQLITE_OK) code = sqlite3_step(s);
        if (code != SQLITE_DONE) err = failed(r, code, "be written");
    }
    (void)sqlite3_finalize(s);
    mz_str_clear(&sql);
    return err;
}

static mz_err commit(mz_registry *r, mz_err err)
{
    if (err == MZ_OK) err = execute(r, "COMMIT");
    if (err != MZ_OK) (void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

mz_err mz_registry_put(mz_registry *r, const mz_run_entry *e)
{
    MZ_NEED(r && r->db && e && e->id[0], "no registry to write to, or no run");
    MZ_TRY(execute(r, "BEGIN IMMEDIATE"));
    return commit(r, replace(r, e));
}

mz_err mz_registry_put_seen(mz_registry *r, const mz_run_entry *e, double seen)
{
    mz_run_entry now;
    bool found = false;
    MZ_NEED(r && r->db && e && e->id[0], "no registry to write to, or no run");
    MZ_TRY(execute(r, "BEGIN IMMEDIATE"));
    mz_err err = mz_registry_find(r, e->id, &now, &found);
    if (err == MZ_OK && found && memcmp(&now.seen, &seen, sizeof seen) == 0) err = replace(r, e);
    return commit(r, err);
}

mz_err mz_registry_remove(mz_registry *r, const char *id)
{
    sqlite3_stmt *s = NULL;
    MZ_NEED(r && id, "no registry, or no run");
    if (!r->db) return MZ_OK;
    int code = sqlite3_prepare_v2(r->db, "DELETE FROM runs WHERE id = ?", -1, &s, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(s);
    const mz_err err = code == SQLITE_DONE ? MZ_OK : failed(r, code, "be written");
    (void)sqlite3_finalize(s);
    return err;
}
