/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_entry.c - see run_entry.h. */
#include "app/run_entry.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/str.h"
#include "model/params.h"
#include "port/source.h"
#include "train/checkpoint.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_WHOLE_MOST = 1 << 26, TAIL = 20000 }; /* a longer log is not read as a whole each time */

/* ---- the folder ---- */

static bool has(const char *path, const char *name)
{
    char file[MZ_RUN_PATH];
    return mz_path_join(file, sizeof file, path, name) == MZ_OK && mz_file_exists(file);
}

bool mz_run_is_folder(const char *path)
{
    return has(path, "train.yaml") &&
           (has(path, "lock") || has(path, "log.jsonl") || has(path, "checkpoints"));
}

bool mz_run_is_gone(const mz_run_entry *e)
{
    return !has(e->path, "train.yaml");
}

bool mz_run_is_live(const char *path)
{
    char file[MZ_RUN_PATH];
    mz_lock lock = {-1};
    const mz_err_info before = *mz_err_last();
    if (mz_path_join(file, sizeof file, path, "lock") != MZ_OK || !mz_file_exists(file))
        return false;
    const bool is_live = mz_lock_take(&lock, file) == MZ_EBUSY;
    mz_lock_drop(&lock);
    mz_err_restore(&before);
    return is_live;
}

void mz_run_whole_path(char out[MZ_RUN_PATH], const char *path)
{
    char whole[PATH_MAX];
    const char *p = realpath(path, whole);
    if (!p || strlen(p) >= MZ_RUN_PATH) p = path;
    (void)snprintf(out, MZ_RUN_PATH, "%s", p);
}

/* "runs/first" is first; what lies in a folder of its own for it ("demo/run") is called by that. */
static void name_of(char name[MZ_RUN_NAME], const char *path)
{
    const char *end = path + strlen(path);
    while (end > path && end[-1] == '/') end--;
    const char *at = end;
    while (at > path && at[-1] != '/') at--;
    if (end - at == 3 && memcmp(at, "run", 3) == 0 && at > path + 1) {
        end = at - 1;
        at = end;
        while (at > path && at[-1] != '/') at--;
    }
    (void)snprintf(name, MZ_RUN_NAME, "%.*s", (int)(end - at), at);
}

/* "" where the folder has none. */
static void read_id(char id[MZ_RUN_ID], const char *path)
{
    char file[MZ_RUN_PATH], *text = NULL;
    size_t n = 0;
    id[0] = '\0';
    if (mz_path_join(file, sizeof file, path, "id") != MZ_OK || !mz_file_exists(file)) return;
    if (mz_file_read(file, 64, &text, &n) != MZ_OK) return;
    bool is_one = n == MZ_RUN_ID && text[MZ_RUN_ID - 1] == '\n';
    for (int i = 0; is_one && i < MZ_RUN_ID - 1; i++)
        is_one = isxdigit((unsigned char)text[i]) != 0;
    if (is_one) (void)snprintf(id, MZ_RUN_ID, "%.*s", MZ_RUN_ID - 1, text);
    mz_mem_free(text);
}

static void host_name(char host[65])
{
    if (gethostname(host, 65) != 0) host[0] = '\0';
    host[64] = '\0';
}

static mz_err new_id(mz_run_entry *e)
{
    char text[MZ_RUN_PATH + 160], hex[MZ_SHA256_HEX], file[MZ_RUN_PATH], host[65];
    host_name(host);
    const int n = snprintf(text, sizeof text, "%s %s %ld %.9f %lld", host, e->path, (long)getpid(),
                           mz_clock_wall_s(), (long long)mz_clock_ns());
    MZ_TRY(mz_sha256(hex, text, (size_t)n));
    (void)snprintf(e->id, sizeof e->id, "%.*s", MZ_RUN_ID - 1, hex);
    MZ_TRY(mz_path_join(file, sizeof file, e->path, "id"));
    (void)snprintf(text, sizeof text, "%s\n", e->id);
    return mz_file_write(file, text, MZ_RUN_ID);
}

mz_err mz_run_identify(mz_registry *r, mz_run_entry *e)
{
    mz_run_entry other;
    bool found = false;
    read_id(e->id, e->path);
    if (!e->id[0]) return new_id(e);
    if (r) MZ_TRY(mz_registry_find(r, e->id, &other, &found));
    if (!found || strcmp(other.path, e->path) == 0) return MZ_OK;
    read_id(other.id, other.path); /* a copy of it, or the same one moved */
    return strcmp(other.id, e->id) == 0 ? new_id(e) : MZ_OK;
}

/* ---- the configuration ---- */

static void take_network(mz_run_entry *e, const mz_config *n)
{
    mz_params p = {0};
    (void)snprintf(e->family, sizeof e->family, "%s", mz_family_name(n->family));
    if (mz_params_list(&p, n, MZ_F32) == MZ_OK) e->parameters = p.elements;
    mz_params_clear(&p);
}

static void read_network(mz_run_entry *e, const mz_train_config *c)
{
    char path[MZ_RUN_PATH];
    mz_config network;
    mz_source *source = NULL;
    if (c->model_path[0]) {
        if (mz_source_open(&source, c->model_path) == MZ_OK)
            take_network(e, mz_source_config(source));
        mz_source_close(source);
        return;
    }
    const bool is_folder = mz_file_is_dir(c->model_config);
    if (mz_path_join(path, sizeof path, c->model_config, "config.json") == MZ_OK &&
        mz_config_read(&network, is_folder ? path : c->model_config) == MZ_OK)
        take_network(e, &network);
}

/* What the run is told, wherever its folder lies. */
static void take_config(mz_run_entry *e, const mz_train_config *c)
{
    mz_train_config *same = NULL;
    mz_str yaml = {0};
    e->steps = c->run_steps;
    if (mz_mem_new(&same, 1, sizeof *same) != MZ_OK) return;
    *same = *c;
    (void)snprintf(same->run_dir, sizeof same->run_dir, "run");
    if (mz_config_write(same, &yaml) == MZ_OK && mz_sha256(e->config, yaml.text, yaml.len) != MZ_OK)
        e->config[0] = '\0';
    mz_str_clear(&yaml);
    mz_mem_free(same);
}

static void take_chips(mz_run_entry *e, const mz_train_config *c, const char *alone)
{
    int at = c->n_ranks > 0 ? 0 : snprintf(e->chips, sizeof e->chips, "%s", alone);
    for (int64_t i = 0; i < c->n_ranks && at < (int)sizeof e->chips; i++)
        at += snprintf(e->chips + at, sizeof e->chips - (size_t)at, "%s%s", i > 0 ? ", " : "",
                       c->ranks[i].chip);
}

/* A checkpoint's config.json: the one that train.yaml names may lie elsewhere by now. */
static void network_of_checkpoint(mz_run_entry *e)
{
    char folder[MZ_CHECKPOINT_PATH], path[MZ_CHECKPOINT_PATH];
    json_t *state = NULL;
    mz_config network;
    if (mz_checkpoint_newest(e->path, folder, &state) != MZ_OK || !state) return;
    json_decref(state);
    if (mz_path_join(path, sizeof path, folder, "config.json") == MZ_OK && mz_file_exists(path) &&
        mz_config_read(&network, path) == MZ_OK)
        take_network(e, &network);
}

mz_err mz_run_of_folder(mz_run_entry *e, const char *path)
{
    char yaml[MZ_RUN_PATH];
    mz_train_config *c = NULL;
    bool changed;
    *e = (mz_run_entry){.state = MZ_RUN_STOPPED};
    e->loss = e->best_loss = e->started = e->ended = (double)NAN;
    mz_run_whole_path(e->path, path);
    name_of(e->name, e->path);
    read_id(e->id, e->path);
    MZ_TRY(mz_path_join(yaml, sizeof yaml, e->path, "train.yaml"));
    MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
    if (mz_config_load(c, yaml, NULL, 0) == MZ_OK) {
        take_config(e, c);
        take_chips(e, c, "");
        read_network(e, c);
    }
    mz_mem_free(c);
    if (!e->family[0]) network_of_checkpoint(e);
    mz_err_clear(); /* what cannot be found out is not known */
    return mz_run_look(e, &changed);
}

/* ---- the log ---- */

static bool read_series(mz_series *s, const mz_run_entry *e, double *changed_at)
{
    char path[MZ_RUN_PATH];
    mz_map map = {0};
    if (mz_path_join(path, sizeof path, e->path, "log.jsonl") != MZ_OK || !mz_file_exists(path) ||
        mz_map_open(&map, path) != MZ_OK)
        return false;
    *changed_at = (double)map.changed_s + 1e-9 * (double)map.changed_ns;
    const bool is_long = map.bytes > LOG_WHOLE_MOST;
    mz_map_close(&map);
    return (is_long ? mz_series_read_tail(s, e->path, TAIL) : mz_series_read(s, e->path)) == MZ_OK;
}

/* Whether the log was touched since the row was true. */
static bool is_newer(const mz_run_entry *e)
{
    char path[MZ_RUN_PATH];
    mz_map map = {0};
    if (mz_path_join(path, sizeof path, e->path, "log.jsonl") != MZ_OK || !mz_file_exists(path) ||
        mz_map_open(&map, path) != MZ_OK)
        return false;
    const double at = (double)map.changed_s + 1e-9 * (double)map.changed_ns;
    mz_map_close(&map);
    return !(at <= e->seen);
}

static bool take_log(mz_run_entry *e, double *changed_at)
{
    mz_series s = {0};
    const mz_record *last;
    int64_t step;
    bool is_done = false;
    if (read_series(&s, e, changed_at) && (last = mz_series_last(&s))) {
        const double best = mz_series_best(&s, &step);
        const bool is_whole = s.list[0].step == 1;
        e->step = last->step, e->tokens = last->tokens;
        e->loss = last->value[MZ_METRIC_LOSS];
        if (is_whole || !(e->best_loss <= best)) e->best_loss = best, e->best_step = step;
        if (isnan(e->started)) e->started = s.list[0].time;
        is_done = last->is_done;
    }
    mz_series_clear(&s);
    return is_done;
}

static void take_state(mz_run_entry *e, bool is_live, bool is_done, double changed_at)
{
    char host[65];
    host_name(host);
    const bool was_running = e->state == MZ_RUN_RUNNING;
    if (is_live) {
        e->state = MZ_RUN_RUNNING;
        e->reason[0] = '\0';
        return;
    }
    if (is_done) {
        e->state = MZ_RUN_FINISHED;
        e->reason[0] = '\0';
    } else if (was_running && strcmp(host, e->host) == 0) { /* elsewhere it cannot be known */
        e->state = MZ_RUN_FAILED;
        (void)snprintf(e->reason, sizeof e->reason,
                       "its process is gone (killed, or the machine went down)");
    } else if (e->state == MZ_RUN_FINISHED) { /* it was made longer, and not by one that told us */
        e->state = MZ_RUN_STOPPED;
    }
    if (e->state != MZ_RUN_RUNNING && (was_running || isnan(e->ended))) e->ended = changed_at;
}

mz_err mz_run_look(mz_run_entry *e, bool *changed)
{
    double changed_at = (double)NAN;
    *changed = false;
    if (mz_run_is_gone(e)) return MZ_OK;
    const bool is_live = mz_run_is_live(e->path);
    if (!is_live && e->state != MZ_RUN_RUNNING && e->seen > 0.0 && !is_newer(e)) return MZ_OK;
    const double now = mz_clock_wall_s();
    const bool is_done = take_log(e, &changed_at);
    take_state(e, is_live, is_done, changed_at);
    e->seen = now;
    mz_err_clear();
    *changed = true;
    return MZ_OK;
}

void mz_run_row(const char *id, mz_run_entry *e, bool *found)
{
    mz_registry *r = NULL;
    *found = false;
    if (!id[0] || mz_registry_open(&r, NULL, false) != MZ_OK) return;
    if (mz_registry_find(r, id, e, found) != MZ_OK) *found = false;
    mz_registry_close(r);
}

mz_err mz_runs_all(mz_run_entries *out)
{
    mz_registry *r = NULL;
    bool is_written = true;
    MZ_TRY(mz_registry_open(&r, NULL, false));
    mz_err err = mz_registry_list(r, out);
    for (int64_t i = 0; i < out->n && err == MZ_OK; i++) {
        const double seen = out->list[i].seen;
        bool changed = false;
        err = mz_run_look(&out->list[i], &changed);
        /* one that cannot be written is looked at again the next time */
        if (changed && is_written && err == MZ_OK)
            is_written = mz_registry_put_seen(r, &out->list[i], seen) == MZ_OK;
    }
    mz_registry_close(r);
    if (err == MZ_OK) mz_err_clear();
    if (err != MZ_OK) mz_run_entries_clear(out);
    return err;
}

/* ---- of `mizan train` ---- */

static void warn(const char *what)
{
    static bool has_warned;
    if (!has_warned)
        mz_log(MZ_LOG_WARN, "%s: %s; the run goes on all the same", what, mz_err_last()->message);
    has_warned = true;
}

static mz_err put(mz_run_entry *e, bool begins)
{
    mz_registry *r = NULL;
    mz_run_entry before;
    bool found = false;
    mz_err err = mz_registry_open(&r, NULL, true);
    if (begins) {
        const mz_err_info why = *mz_err_last();
        const mz_err unnamed = mz_run_identify(err == MZ_OK ? r : NULL, e);
        if (err == MZ_OK)
            err = unnamed;
        else
            mz_err_restore(&why);
    }
    if (err == MZ_OK) err = mz_registry_find(r, e->id, &before, &found);
    if (err == MZ_OK && found && before.started > 0.0) e->started = before.started;
    if (err == MZ_OK) err = mz_registry_put(r, e);
    mz_registry_close(r);
    return err;
}

void mz_run_begun(mz_run_entry *e, const mz_train_config *c, const char *chips)
{
    double changed_at;
    *e = (mz_run_entry){.state = MZ_RUN_RUNNING, .pid = getpid()};
    e->loss = e->best_loss = e->ended = (double)NAN;
    e->started = e->seen = mz_clock_wall_s();
    mz_run_whole_path(e->path, c->run_dir);
    name_of(e->name, e->path);
    host_name(e->host);
    take_config(e, c);
    take_chips(e, c, chips);
    read_network(e, c);
    (void)take_log(e, &changed_at); /* of one that goes on */
    if (put(e, true) != MZ_OK) warn("the run is not in the registry");
    mz_err_clear();
}

void mz_run_ended(mz_run_entry *e, mz_err err)
{
    const mz_err_info why = *mz_err_last();
    double changed_at;
    if (!e->id[0]) return;
    (void)take_log(e, &changed_at);
    e->state = err == MZ_OK ? MZ_RUN_FINISHED : err == MZ_EINTR ? MZ_RUN_STOPPED : MZ_RUN_FAILED;
    if (err != MZ_OK)
        (void)snprintf(e->reason, sizeof e->reason, "%.*s", (int)sizeof e->reason - 1, why.message);
    e->ended = e->seen = mz_clock_wall_s();
    if (put(e, false) != MZ_OK) warn("how the run ended is not in the registry");
    mz_err_restore(&why);
}
