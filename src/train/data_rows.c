/* SPDX-License-Identifier: Apache-2.0 */
/* train/data_rows.c - samples out of JSONL, see data.h. */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/answers.h"
#include "train/data_parts.h"

#include <stdio.h>
#include <string.h>

typedef struct reader {
    mz_rows *rows;
    const mz_data_options *o;
    const char *path;
    const char *text; /* the line's */
    size_t bytes;
    int64_t line, offset; /* offset: of the line's first byte */
    mz_answers *answers;  /* NULL until a line holds messages */
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

static mz_err grow(mz_rows *d, int64_t more_ids)
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
    if (d->counts) MZ_TRY(mz_mem_grow(&d->counts, cap, 1));
    d->cap_ids = cap;
    return MZ_OK;
}

static mz_err check_length(const reader *r, int64_t n)
{
    char what[96];
    if (n < 2)
        return bad(r, MZ_ECORRUPT, "a sample of fewer than two ids has nothing to predict", NULL);
    if (n <= r->o->seq + 1) return MZ_OK;
    (void)snprintf(what, sizeof what, "the sample is longer than data.seq: %lld ids", (long long)n);
    return bad(r, MZ_ECORRUPT, what, "cut the sample, or raise data.seq");
}

static void end_sample(const reader *r, int64_t n)
{
    mz_rows *d = r->rows;
    d->line[d->n] = r->line;
    d->start[d->n++] = d->n_ids;
    d->n_ids += n;
    d->start[d->n] = d->n_ids;
}

static mz_err add_ids(const reader *r, const json_t *ids)
{
    mz_rows *d = r->rows;
    const int64_t n = (int64_t)json_array_size(ids);
    MZ_TRY(check_length(r, n));
    MZ_TRY(grow(d, n));
    for (int64_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, (size_t)i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= r->o->vocab)
            return bad(r, MZ_ECORRUPT, "an id is not a whole number within the vocabulary",
                       "was the data made with this model's tokenizer?");
        d->ids[d->n_ids + i] = (int32_t)value;
        if (d->counts) d->counts[d->n_ids + i] = 1;
    }
    end_sample(r, n);
    return MZ_OK;
}

/* From the first conversation on every id has its mark. */
static mz_err begin_answers(reader *r)
{
    mz_rows *d = r->rows;
    if (!r->o->source)
        return bad(r, MZ_ECONFIG, "messages, and no tokenizer is known to read them",
                   "give data.tokenizer");
    MZ_TRY(mz_answers_open(&r->answers, r->o->source, r->o->chat ? r->o->chat : ""));
    if (d->counts) return MZ_OK;
    MZ_TRY(mz_mem_new(&d->counts, d->cap_ids > 0 ? d->cap_ids : 1, 1));
    if (d->n_ids > 0) memset(d->counts, 1, (size_t)d->n_ids);
    return MZ_OK;
}

static mz_err add_messages(reader *r, const json_t *messages)
{
    mz_rows *d = r->rows;
    const mz_ids *ids = NULL;
    const uint8_t *counts = NULL;
    if (!r->answers) MZ_TRY(begin_answers(r));
    const mz_err err = mz_answers_encode(r->answers, messages, &ids, &counts);
    if (err != MZ_OK) {
        const mz_err_info why = *mz_err_last();
        return bad(r, err, why.message, why.fix);
    }
    const int64_t n = (int64_t)ids->count;
    MZ_TRY(check_length(r, n));
    MZ_TRY(grow(d, n));
    for (int64_t i = 0; i < n; i++)
        if (ids->at[i] >= r->o->vocab)
            return bad(r, MZ_ECONFIG, "an id of the tokenizer is not in this network's vocabulary",
                       "is it this model's tokenizer?");
    memcpy(d->ids + d->n_ids, ids->at, (size_t)n * sizeof *d->ids);
    memcpy(d->counts + d->n_ids, counts, (size_t)n);
    end_sample(r, n);
    return MZ_OK;
}

static mz_err read_line(reader *r)
{
    json_t *root = NULL;
    mz_err err = mz_json_parse(&root, r->text, r->bytes, "the line");
    if (err != MZ_OK) return err == MZ_ECORRUPT ? bad(r, err, mz_err_last()->message, NULL) : err;
    const json_t *ids = json_object_get(root, "ids");
    const json_t *messages = json_object_get(root, "messages");
    if (json_is_array(ids) == json_is_array(messages)) /* neither, or both */
        err =
            bad(r, MZ_ECORRUPT, "the line is not {\"ids\": [...]} or {\"messages\": [...]}", NULL);
    else
        err = json_is_array(ids) ? add_ids(r, ids) : add_messages(r, messages);
    json_decref(root);
    return err;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]) || text[i] == '\0') return false;
    return true;
}

static mz_err read_lines(reader *r, const mz_map *map)
{
    const char *text = (const char *)map->data;
    for (size_t at = 0; at < map->bytes;) {
        const char *end = memchr(text + at, '\n', map->bytes - at);
        r->bytes = end ? (size_t)(end - (text + at)) : map->bytes - at;
        r->text = text + at;
        r->offset = (int64_t)at;
        r->line++;
        if (!is_blank(r->text, r->bytes)) MZ_TRY(read_line(r));
        at += r->bytes + 1;
    }
    if (r->rows->n > 0) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s holds no sample", r->path);
    mz_note_where(r->path, NULL, 0);
    return err;
}

/* Of conversations their ids are what counts: another tokenizer makes other data. */
static mz_err hash(const mz_rows *d, const mz_map *map, char sha256[MZ_SHA256_HEX])
{
    char sum[3][MZ_SHA256_HEX];
    MZ_TRY(mz_sha256(sum[0], map->data, map->bytes));
    memcpy(sha256, sum[0], sizeof sum[0]);
    if (!d->counts) return MZ_OK;
    MZ_TRY(mz_sha256(sum[1], d->ids, (size_t)d->n_ids * sizeof *d->ids));
    MZ_TRY(mz_sha256(sum[2], d->counts, (size_t)d->n_ids));
    return mz_sha256(sha256, sum, sizeof sum);
}

mz_err mz_rows_read(mz_rows *rows, const char *path, const mz_data_options *o,
                    char sha256[MZ_SHA256_HEX])
{
    mz_map map = {0};
    reader r = {.rows = rows, .o = o, .path = path};
    MZ_TRY(mz_map_open(&map, path));
    mz_err err = read_lines(&r, &map);
    if (err == MZ_OK) err = hash(rows, &map, sha256);
    mz_answers_close(r.answers);
    mz_map_close(&map);
    return err;
}

void mz_rows_clear(mz_rows *rows)
{
    mz_mem_free(rows->ids);
    mz_mem_free(rows->counts);
    mz_mem_free(rows->start);
    mz_mem_free(rows->line);
}

void mz_rows_sample(const mz_rows *rows, int64_t i, mz_sample *sample)
{
    static const int32_t none = 0;
    *sample = (mz_sample){.ids = rows->ids + rows->start[i],
                          .n = rows->start[i + 1] - rows->start[i],
                          .starts = &none,
                          .sequences = 1,
                          .counts = rows->counts ? rows->counts + rows->start[i] : NULL,
                          .at = rows->line[i]};
}
