/* SPDX-License-Identifier: Apache-2.0 */
/* train/groups.c - see groups.h. Every decision is made by all ranks from the same data. */
#include "train/groups.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "chip/collective.h"
#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, HOST_BYTES = 65 };

/* What every rank tells all others. */
typedef struct notice {
    char kind[320]; /* what a group has alike, "" for a chip without collectives */
    char name[32];  /* of the collectives */
    mz_err_info why;
} notice;

typedef struct forming {
    mz_comm *comm;
    mz_queue *queue;
    const mz_train_config *config;
    mz_groups *groups;
    notice *all; /* [comm->size] */
    int64_t way; /* mz_collectives that is asked for; HOST also where it was so before */
    bool was_device;
    mz_err_info why; /* of the first rank that could not */
    int why_rank;    /* -1: there is none */
} forming;

/* ---- what was decided before ---- */

static mz_err path_of(char out[MZ_CHECKPOINT_PATH], const mz_train_config *c)
{
    return mz_path_join(out, MZ_CHECKPOINT_PATH, c->run_dir, "collectives.json");
}

/* NULL where the run is new, or nothing was written. */
static mz_err read_all(json_t **root, const mz_train_config *c)
{
    char path[MZ_CHECKPOINT_PATH];
    int64_t saved = -1;
    *root = NULL;
    MZ_TRY(path_of(path, c));
    MZ_TRY(mz_checkpoint_last(c->run_dir, &saved));
    return saved >= 0 && mz_file_exists(path) ? mz_json_read(root, path, FILE_MAX) : MZ_OK;
}

/* On rank 0: what these ranks did until now. */
static mz_err recall(forming *f)
{
    json_t *root = NULL;
    mz_str ranks = {0};
    MZ_TRY(read_all(&root, f->config));
    const mz_err err = mz_key_write(mz_key_find("ranks"), f->config, &ranks);
    if (err == MZ_OK) {
        const json_t *one = json_object_get(json_object_get(root, "ranks"), ranks.text);
        const char *by = json_string_value(json_object_get(one, "by"));
        f->was_device = by && strcmp(by, "host") != 0;
        if (by && !f->was_device) f->way = MZ_COLLECTIVES_HOST;
    }
    mz_str_clear(&ranks);
    json_decref(root);
    return err;
}

/* ---- agreeing ---- */

/* Everybody's notice to everybody. */
static mz_err tell(forming *f, const notice *mine)
{
    mz_comm *c = f->comm;
    MZ_TRY(mz_comm_gather(c, 0, mine, sizeof *mine, f->all));
    MZ_TRY(mz_comm_broadcast(c, 0, f->all, (size_t)c->size * sizeof *f->all));
    for (int r = 0; r < c->size; r++) f->all[r].why.source = __FILE__; /* of another process */
    return MZ_OK;
}

static mz_err settle_way(forming *f)
{
    int64_t said[2] = {f->config->run_collectives, 0};
    mz_err err = MZ_OK;
    if (f->comm->rank == 0 && said[0] == MZ_COLLECTIVES_AUTO) {
        f->way = said[0];
        err = recall(f);
        said[0] = err == MZ_OK ? f->way : -1;
        said[1] = f->was_device;
    }
    MZ_TRY(mz_comm_broadcast(f->comm, 0, said, sizeof said));
    if (err != MZ_OK) return err;
    if (said[0] < 0) return MZ_FAIL(MZ_EIO, "rank 0 cannot read collectives.json");
    f->way = said[0];
    f->was_device = said[1] != 0;
    return MZ_OK;
}

static void describe(const forming *f, notice *mine)
{
    char host[HOST_BYTES] = "", kind[200];
    const char *name = mz_collective_name(f->queue);
    if (!name) return;
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    mz_collective_kind(f->queue, kind, sizeof kind);
    (void)snprintf(mine->kind, sizeof mine->kind, "%s: %s", host, kind);
    (void)snprintf(mine->name, sizeof mine->name, "%s", name);
}

/* Like ranks, by what they said of themselves. */
static void match(forming *f)
{
    int *first = f->groups->first;
    for (int r = 0; r < f->comm->size; r++) {
        first[r] = r;
        for (int k = 0; k < r && first[r] == r; k++)
            if (f->all[r].kind[0] && strcmp(f->all[r].kind, f->all[k].kind) == 0) first[r] = k;
    }
}

static int size_of(const forming *f, int first)
{
    int n = 0;
    for (int r = 0; r < f->comm->size; r++) n += f->groups->first[r] == first;
    return n;
}

static bool is_in_group(const forming *f, int r)
{
    return size_of(f, f->groups->first[r]) > 1;
}

static bool any_group(const forming *f)
{
    for (int r = 0; r < f->comm->size; r++)
        if (is_in_group(f, r)) return true;
    return false;
}

/* The groups of ranks that could not do it are none. */
static void drop_failed(forming *f)
{
    int *first = f->groups->first;
    for (int r = 0; r < f->comm->size; r++) {
        if (f->all[r].why.code == MZ_OK) continue;
        if (f->why_rank < 0) {
            f->why = f->all[r].why;
            f->why_rank = r;
        }
        const int group = first[r];
        for (int k = 0; k < f->comm->size; k++)
            if (first[k] == group) first[k] = k;
    }
}

/* One step of forming: this rank's part of it, and what became of it everywhere. A rank whose group
 * is dropped meanwhile leaves it. */
static mz_err agree(forming *f, mz_err mine)
{
    notice n = f->all[f->comm->rank];
    n.why = *mz_err_last();
    n.why.code = mine;
    MZ_TRY(tell(f, &n));
    drop_failed(f);
    if (!is_in_group(f, f->comm->rank)) mz_collective_leave(f->queue);
    return MZ_OK;
}

static mz_err meet(forming *f)
{
    unsigned char roots[MZ_COLLECTIVE_ROOT], *mine = NULL;
    const int me = f->comm->rank, first = f->groups->first[me];
    mz_err err = MZ_OK;
    MZ_TRY(mz_mem_new(&mine, MZ_COLLECTIVE_ROOT, 1));
    if (is_in_group(f, me) && first == me) err = mz_collective_root(f->queue, mine);
    mz_err told = agree(f, err);
    for (int r = 0; told == MZ_OK && r < f->comm->size; r++) {
        if (f->groups->first[r] != r || !is_in_group(f, r)) continue;
        memcpy(roots, mine, sizeof roots);
        told = mz_comm_broadcast(f->comm, r, roots, sizeof roots);
        if (first == r) memcpy(mine, roots, sizeof roots);
    }
    err = MZ_OK;
    if (told == MZ_OK && is_in_group(f, me)) {
        int place = 0;
        for (int r = 0; r < me; r++) place += f->groups->first[r] == first;
        err = mz_collective_join(f->queue, mine, place, size_of(f, first));
    }
    mz_mem_free(mine);
    return told == MZ_OK ? agree(f, err) : told;
}

/* ---- what is said and kept ---- */

static json_t *groups_json(const forming *f)
{
    json_t *list = json_array();
    for (int r = 0; list && r < f->comm->size; r++) {
        if (f->groups->first[r] != r || !is_in_group(f, r)) continue;
        json_t *one = json_array();
        for (int k = r; one && k < f->comm->size; k++)
            if (f->groups->first[k] == r) (void)json_array_append_new(one, json_integer(k));
        (void)json_array_append_new(list, one);
    }
    return list;
}

static const char *by(const forming *f)
{
    for (int r = 0; r < f->comm->size; r++)
        if (is_in_group(f, r)) return f->all[r].name;
    return "host";
}

static mz_err keep(const forming *f)
{
    char path[MZ_CHECKPOINT_PATH];
    json_t *root = NULL;
    mz_str ranks = {0};
    MZ_TRY(path_of(path, f->config));
    MZ_TRY(read_all(&root, f->config));
    mz_err err = mz_key_write(mz_key_find("ranks"), f->config, &ranks);
    if (!json_is_object(json_object_get(root, "ranks"))) {
        json_decref(root);
        root = json_pack("{s:i, s:{}}", "schema", 1, "ranks");
    }
    if (err == MZ_OK) {
        json_t *one = json_pack("{s:s, s:o, s:s}", "by", by(f), "groups", groups_json(f), "why",
                                f->why_rank < 0 ? "" : f->why.message);
        if (!one || json_object_set_new(json_object_get(root, "ranks"), ranks.text, one) != 0)
            err = MZ_FAIL(MZ_ENOMEM, "no memory for collectives.json");
    }
    if (err == MZ_OK) err = mz_json_write(root, path);
    mz_str_clear(&ranks);
    json_decref(root);
    return err;
}

static void say(const forming *f)
{
    char list[256] = "";
    size_t at = 0;
    int n = 0;
    for (int r = 0; r < f->comm->size && at + 16 < sizeof list; r++) {
        if (!is_in_group(f, r)) continue;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%d", n++ ? ", " : "", r);
    }
    if (n > 0)
        mz_log(MZ_LOG_INFO, "%s adds up the gradients of ranks %s on their devices%s", by(f), list,
               f->groups->is_whole ? "" : "; between them and others the host does");
    if (f->why_rank >= 0)
        mz_log(MZ_LOG_WARN, "gradients are added up through the host: rank %d on %s: %s",
               f->why_rank, f->config->ranks[f->why_rank].chip, f->why.message);
    if (f->why_rank >= 0 && f->was_device)
        mz_log(MZ_LOG_WARN, "until now their devices did: the last bits may be others");
}

/* ---- the call ---- */

/* What was asked for and cannot be. */
static mz_err refuse(const forming *f)
{
    if (f->why_rank < 0) {
        const mz_err err = MZ_FAIL(
            MZ_ENOTSUP, "run.collectives is device, and no two ranks are chips of one kind on one "
                        "machine that have collectives");
        mz_note_fix("run.collectives: auto adds up through the host where it has to");
        return err;
    }
    mz_err_restore(&f->why);
    mz_note(f->why.code, f->why.source, f->why.line,
            "run.collectives is device, and rank %d on %s cannot: %.300s", f->why_rank,
            f->config->ranks[f->why_rank].chip, f->why.message);
    mz_note_fix("%s", f->why.fix);
    return f->why.code;
}

static mz_err form(forming *f)
{
    notice mine = {.kind = ""};
    MZ_TRY(settle_way(f));
    describe(f, &mine);
    MZ_TRY(tell(f, &mine));
    match(f);
    const bool could = any_group(f);
    const bool is_asked = f->way != MZ_COLLECTIVES_HOST;
    if (could && is_asked) {
        const bool has_part = is_in_group(f, f->comm->rank);
        MZ_TRY(agree(f, has_part ? mz_collective_ready(f->queue) : MZ_OK));
        MZ_TRY(meet(f));
    }
    if (!is_asked)
        for (int r = 0; r < f->comm->size; r++) f->groups->first[r] = r;
    f->groups->adds = is_in_group(f, f->comm->rank);
    f->groups->is_whole = size_of(f, 0) == f->comm->size;
    if (f->way == MZ_COLLECTIVES_DEVICE && (!any_group(f) || f->why_rank >= 0)) return refuse(f);
    if (!could || f->comm->rank != 0) return MZ_OK;
    if (!is_asked)
        mz_log(MZ_LOG_INFO, "gradients are added up through the host, as %s",
               f->config->run_collectives == MZ_COLLECTIVES_HOST
                   ? "run.collectives says"
                   : "they were until now; run.collectives: device has the devices do it");
    say(f);
    return keep(f);
}

mz_err mz_groups_form(mz_groups *groups, mz_comm *comm, const mz_train_config *c, mz_queue *q)
{
    MZ_NEED(groups && comm && c && q, "an argument is NULL");
    forming f = {.comm = comm, .queue = q, .config = c, .groups = groups, .why_rank = -1};
    *groups = (mz_groups){.adds = false};
    if (comm->size == 1) return MZ_OK;
    MZ_TRY(mz_mem_new(&f.all, comm->size, sizeof *f.all));
    mz_err_clear();
    const mz_err err = form(&f);
    mz_mem_free(f.all);
    return err;
}
