/* SPDX-License-Identifier: Apache-2.0 */
/* train/data.c - see data.h. */
#include "train/data.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

/* Streams of run.seed below this one belong to others (random weights are keyed by name). */
static const uint64_t EPOCH_STREAM = 0x65706f6368000000u;

struct mz_data {
    mz_data_options o;
    char sha256[MZ_SHA256_HEX];
    int32_t *ids; /* of all samples, one after the other */
    int64_t n_ids, cap_ids;
    int64_t *start; /* [n+1] into ids */
    int64_t *line;  /* [n] */
    int64_t n, cap;
    int64_t *order; /* [n] of `epoch`; NULL without shuffling */
    int64_t epoch;  /* -1: none yet */
};

typedef struct reader {
    mz_data *data;
    const char *path;
    const char *text; /* the line's */
    size_t bytes;
    int64_t line, offset; /* offset: of the line's first byte */
} reader;

static mz_err bad(const reader *r, mz_err code, const char *what, const char *fix)
{
    char copy[sizeof mz_err_last()->message]; /* what may be a part of the note that is replaced */
    (void)snprintf(copy, sizeof copy, "%s", what);
    mz_note(code, __FILE__, __LINE__, "%s:%lld: %s", r->path, (long long)r->line, copy);
    mz_note_where(r->path, "ids", r->offset);
    if (fix) mz_note_fix("%s", fix);
    return code;
}

static mz_err grow(mz_data *d, int64_t more_ids)
{
    if (d->n + 1 >= d->cap) {
        const int64_t cap = d->cap ? 2 * d->cap : 64;
        MZ_TRY(mz_mem_grow(&d->start, cap + 1, sizeof *d->start));
        MZ_TRY(mz_mem_grow(&d->line, cap, sizeof *d->line));
        d->cap = cap;
    }
    if (d->n_ids + more_ids <= d->cap_ids) return MZ_OK;
    int64_t cap = d->cap_ids ? d->cap_ids : 4096;
    while (cap < d->n_ids + more_ids) cap *= 2;
    MZ_TRY(mz_mem_grow(&d->ids, cap, sizeof *d->ids));
    d->cap_ids = cap;
    return MZ_OK;
}

static mz_err add_sample(const reader *r, const json_t *ids)
{
    mz_data *d = r->data;
    const int64_t n = (int64_t)json_array_size(ids);
    if (n < 2)
        return bad(r, MZ_ECORRUPT, "a sample of fewer than two ids has nothing to predict", NULL);
    if (n > d->o.seq + 1)
        return bad(r, MZ_ECORRUPT, "the sample is longer than data.seq",
                   "cut the sample, or raise data.seq");
    MZ_TRY(grow(d, n));
    for (int64_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, (size_t)i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= d->o.vocab)
            return bad(r, MZ_ECORRUPT, "an id is not a whole number within the vocabulary",
                       "was the data made with this model's tokenizer?");
        d->ids[d->n_ids + i] = (int32_t)value;
    }
    d->line[d->n] = r->line;
    d->start[d->n++] = d->n_ids;
    d->n_ids += n;
    d->start[d->n] = d->n_ids;
    return MZ_OK;
}

static mz_err read_line(const reader *r)
{
    json_t *root = NULL;
    mz_err err = mz_json_parse(&root, r->text, r->bytes, "the line");
    if (err != MZ_OK) return err == MZ_ECORRUPT ? bad(r, err, mz_err_last()->message, NULL) : err;
    const json_t *ids = json_object_get(root, "ids");
    if (json_object_get(root, "messages"))
        err = bad(r, MZ_ENOTSUP, "chat messages are not built in yet", "give {\"ids\": [...]}");
    else if (!json_is_array(ids))
        err = bad(r, MZ_ECORRUPT, "the line is not {\"ids\": [...]}", NULL);
    else
        err = add_sample(r, ids);
    json_decref(root);
    return err;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]) || text[i] == '\0') return false;
    return true;
}

static mz_err read_lines(mz_data *d, const char *path, const mz_map *map)
{
    const char *text = (const char *)map->data;
    reader r = {.data = d, .path = path};
    for (size_t at = 0; at < map->bytes;) {
        const char *end = memchr(text + at, '\n', map->bytes - at);
        r.bytes = end ? (size_t)(end - (text + at)) : map->bytes - at;
        r.text = text + at;
        r.offset = (int64_t)at;
        r.line++;
        if (!is_blank(r.text, r.bytes)) MZ_TRY(read_line(&r));
        at += r.bytes + 1;
    }
    if (d->n > 0) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s holds no sample", path);
    mz_note_where(path, NULL, 0);
    return err;
}

mz_err mz_data_open(mz_data **out, const char *path, const mz_data_options *o)
{
    MZ_NEED(out && path && o && o->seq > 0 && o->vocab > 0, "no path, sequence or vocabulary");
    mz_data *d = NULL;
    mz_map map = {0};
    if (mz_file_is_dir(path)) {
        const mz_err err =
            MZ_FAIL(MZ_ENOTSUP, "%s is a folder: token shards are not built in yet", path);
        mz_note_where(path, "data.path", -1);
        return err;
    }
    MZ_TRY(mz_mem_new(&d, 1, sizeof *d));
    d->o = *o;
    d->epoch = -1;
    mz_err err = mz_map_open(&map, path);
    if (err == MZ_OK) err = read_lines(d, path, &map);
    if (err == MZ_OK) err = mz_sha256(d->sha256, map.data, map.bytes);
    if (err == MZ_OK && o->shuffle) err = mz_mem_new(&d->order, d->n, sizeof *d->order);
    mz_map_close(&map);
    if (err != MZ_OK) {
        mz_data_close(d);
        return err;
    }
    *out = d;
    return MZ_OK;
}

void mz_data_close(mz_data *d)
{
    if (!d) return;
    mz_mem_free(d->ids);
    mz_mem_free(d->start);
    mz_mem_free(d->line);
    mz_mem_free(d->order);
    mz_mem_free(d);
}

int64_t mz_data_count(const mz_data *d)
{
    return d->n;
}

int64_t mz_data_tokens(const mz_data *d)
{
    return d->n_ids;
}

const char *mz_data_sha256(const mz_data *d)
{
    return d->sha256;
}

static void shuffle(mz_data *d, int64_t epoch)
{
    mz_rng rng;
    mz_rng_init(&rng, d->o.seed, EPOCH_STREAM + (uint64_t)epoch);
    for (int64_t i = 0; i < d->n; i++) d->order[i] = i;
    for (int64_t i = d->n - 1; i > 0; i--) {
        const int64_t j = (int64_t)mz_rng_below(&rng, (uint64_t)i + 1), kept = d->order[i];
        d->order[i] = d->order[j];
        d->order[j] = kept;
    }
    d->epoch = epoch;
}

void mz_data_sample(mz_data *d, int64_t cursor, mz_sample *sample)
{
    const int64_t epoch = cursor / d->n;
    int64_t i = cursor % d->n;
    if (d->order) {
        if (epoch != d->epoch) shuffle(d, epoch);
        i = d->order[i];
    }
    *sample = (mz_sample){
        .ids = d->ids + d->start[i], .n = d->start[i + 1] - d->start[i], .line = d->line[i]};
}
