/* SPDX-License-Identifier: Apache-2.0 */
/* train/data_rows.c - samples out of JSONL, see data.h. */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
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
    d->cap_ids = cap;
    return MZ_OK;
}

static mz_err add_sample(const reader *r, const json_t *ids)
{
    mz_rows *d = r->rows;
    const int64_t n = (int64_t)json_array_size(ids);
    if (n < 2)
        return bad(r, MZ_ECORRUPT, "a sample of fewer than two ids has nothing to predict", NULL);
    if (n > r->o->seq + 1)
        return bad(r, MZ_ECORRUPT, "the sample is longer than data.seq",
                   "cut the sample, or raise data.seq");
    MZ_TRY(grow(d, n));
    for (int64_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, (size_t)i);
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= r->o->vocab)
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

static mz_err read_lines(mz_rows *d, const char *path, const mz_data_options *o, const mz_map *map)
{
    const char *text = (const char *)map->data;
    reader r = {.rows = d, .o = o, .path = path};
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

mz_err mz_rows_read(mz_rows *rows, const char *path, const mz_data_options *o,
                    char sha256[MZ_SHA256_HEX])
{
    mz_map map = {0};
    MZ_TRY(mz_map_open(&map, path));
    mz_err err = read_lines(rows, path, o, &map);
    if (err == MZ_OK) err = mz_sha256(sha256, map.data, map.bytes);
    mz_map_close(&map);
    return err;
}

void mz_rows_clear(mz_rows *rows)
{
    mz_mem_free(rows->ids);
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
                          .at = rows->line[i]};
}
