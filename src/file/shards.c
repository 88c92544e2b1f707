/* SPDX-License-Identifier: Apache-2.0 */
/* file/shards.c - reading, see shards.h. */
#include "file/shards.h"

#include "base/file.h"
#include "base/inside.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "file/shards_parts.h"

#include <stdio.h>
#include <string.h>

typedef struct shard {
    char path[MZ_SHARD_PATH];
    mz_map map;
    uint64_t documents, ids, largest, blocks, body; /* of the foot; body: bytes before the sums */
    uint64_t id_bytes, ends;                        /* ends: where the documents' ends stand */
    uint64_t first_id, first_document;              /* of all that stands in shards before */
    uint8_t *is_good;                               /* [blocks] */
} shard;

struct mz_shards {
    json_t *about;
    shard *list;
    int64_t n;
    uint64_t ids, documents, largest; /* largest: id + 1, 0 where there is none */
    char sha256[MZ_SHA256_HEX];
};

const char *mz_part_name(mz_part part)
{
    return part == MZ_PART_TRAIN ? "train" : "validation";
}

mz_err mz_shard_sum(uint64_t *sum, const void *bytes, size_t n)
{
    char hex[MZ_SHA256_HEX];
    uint64_t x = 0;
    MZ_TRY(mz_sha256(hex, bytes, n));
    for (int i = 0; i < 16; i++) {
        const char c = hex[i];
        x = x << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *sum = x;
    return MZ_OK;
}

static uint64_t read_u64(const shard *x, uint64_t at)
{
    uint64_t v;
    memcpy(&v, x->map.data + at, sizeof v);
    return v;
}

static mz_err damaged(const shard *x, const char *field, uint64_t at, const char *what)
{
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: %s %s", x->path, field, what);
    mz_note_where(x->path, field, (int64_t)at);
    mz_note_fix("make the data set again, or take this file from a copy");
    return err;
}

/* ---- one block ---- */

static mz_err check_block(shard *x, uint64_t block)
{
    const uint64_t at = block * MZ_SHARD_BLOCK;
    const uint64_t n = x->body - at < MZ_SHARD_BLOCK ? x->body - at : MZ_SHARD_BLOCK;
    uint64_t sum = 0;
    if (x->is_good[block]) return MZ_OK;
    MZ_TRY(mz_shard_sum(&sum, x->map.data + at, n));
    if (sum != read_u64(x, x->body + block * 8))
        return damaged(x, "ids", at, "do not have their checksum");
    x->is_good[block] = 1;
    return MZ_OK;
}

static mz_err check_bytes(shard *x, uint64_t at, uint64_t n)
{
    for (uint64_t b = at / MZ_SHARD_BLOCK; n > 0 && b <= (at + n - 1) / MZ_SHARD_BLOCK; b++)
        MZ_TRY(check_block(x, b));
    return MZ_OK;
}

/* ---- opening ---- */

/* Everything that the foot says, against the file's own size; nothing wraps because each number is
 * held against what is left before it is used. */
static mz_err read_foot(shard *x)
{
    const uint64_t size = x->map.bytes;
    uint32_t head[2];
    if (size < MZ_SHARD_HEAD + MZ_SHARD_FOOT || memcmp(x->map.data, "MZTOKENS", 8) != 0)
        return damaged(x, "magic", 0, "is not that of a token shard");
    memcpy(head, x->map.data + 8, sizeof head);
    if (head[0] != 1) return damaged(x, "version", 8, "is one that this build does not know");
    if (head[1] != 2 && head[1] != 4) return damaged(x, "id bytes", 12, "are neither 2 nor 4");
    const uint64_t foot = size - MZ_SHARD_FOOT;
    x->id_bytes = head[1];
    x->documents = read_u64(x, foot);
    x->ids = read_u64(x, foot + 8);
    x->largest = read_u64(x, foot + 16);
    x->blocks = read_u64(x, foot + 24);
    x->body = read_u64(x, foot + 32);
    if (x->body > foot || (foot - x->body) / 8 != x->blocks || (foot - x->body) % 8 != 0 ||
        x->body < MZ_SHARD_HEAD || x->blocks != (x->body + MZ_SHARD_BLOCK - 1) / MZ_SHARD_BLOCK)
        return damaged(x, "foot", foot, "does not fit the file");
    const uint64_t room = x->body - MZ_SHARD_HEAD;
    if (x->ids > room / x->id_bytes || x->documents > room / 8)
        return damaged(x, "foot", foot, "counts more than the file holds");
    const uint64_t id_room = (x->ids * x->id_bytes + 7) / 8 * 8;
    if (id_room + x->documents * 8 != room)
        return damaged(x, "foot", foot, "does not fit the file");
    x->ends = MZ_SHARD_HEAD + id_room;
    return MZ_OK;
}

static mz_err check_foot(shard *x)
{
    const uint64_t last = x->map.bytes - 8;
    uint64_t sum = 0;
    MZ_TRY(mz_shard_sum(&sum, x->map.data + x->body, last - x->body));
    if (sum != read_u64(x, last)) return damaged(x, "foot", last, "does not have its checksum");
    return MZ_OK;
}

/* In order, none empty, the last at the end: then every later look at them stays inside. */
static mz_err check_borders(shard *x)
{
    uint64_t before = 0;
    MZ_TRY(check_bytes(x, x->ends, x->documents * 8));
    for (uint64_t d = 0; d < x->documents; d++) {
        const uint64_t end = read_u64(x, x->ends + d * 8);
        if (end <= before || end > x->ids)
            return damaged(x, "ends", x->ends + d * 8, "are out of order");
        before = end;
    }
    return before == x->ids ? MZ_OK : damaged(x, "ends", x->ends, "leave ids over");
}

static mz_err open_shard(mz_shards *s, shard *x, const char *folder, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    if (!name || strchr(name, '/')) {
        const mz_err err =
            MZ_FAIL(MZ_ECORRUPT, "%s/data.json names no shard where it should", folder);
        mz_note_where(folder, "data.json", -1);
        return err;
    }
    char inside[MZ_INSIDE_BYTES];
    MZ_TRY(mz_inside(inside, folder, name, folder));
    MZ_TRY(mz_path_join(x->path, sizeof x->path, folder, name));
    MZ_TRY(mz_map_open(&x->map, x->path));
    MZ_TRY(read_foot(x));
    MZ_TRY(check_foot(x));
    MZ_TRY(mz_mem_new(&x->is_good, (int64_t)x->blocks, 1));
    MZ_TRY(check_borders(x));
    x->first_id = s->ids;
    x->first_document = s->documents;
    s->ids += x->ids;
    s->documents += x->documents;
    if (x->largest > s->largest) s->largest = x->largest;
    return MZ_OK;
}

/* The feet's sums stand for all that is in the files. */
static mz_err hash(mz_shards *s)
{
    uint64_t *sums = NULL;
    MZ_TRY(mz_mem_new(&sums, s->n, sizeof *sums));
    for (int64_t i = 0; i < s->n; i++) sums[i] = read_u64(&s->list[i], s->list[i].map.bytes - 8);
    const mz_err err = mz_sha256(s->sha256, sums, (size_t)s->n * sizeof *sums);
    mz_mem_free(sums);
    return err;
}

static mz_err open_all(mz_shards *s, const char *folder, mz_part part)
{
    char path[MZ_SHARD_PATH];
    MZ_TRY(mz_path_join(path, sizeof path, folder, "data.json"));
    MZ_TRY(mz_json_read(&s->about, path, 64 << 20));
    const json_t *shards = json_object_get(json_object_get(s->about, mz_part_name(part)), "shards");
    if (!json_is_array(shards)) {
        const mz_err err =
            MZ_FAIL(MZ_ECORRUPT, "%s lists no shards of %s", path, mz_part_name(part));
        mz_note_where(path, mz_part_name(part), -1);
        return err;
    }
    MZ_TRY(mz_mem_new(&s->list, (int64_t)json_array_size(shards), sizeof *s->list));
    for (size_t i = 0; i < json_array_size(shards); i++) {
        s->n++;
        MZ_TRY(open_shard(s, &s->list[i], folder, json_array_get(shards, i)));
    }
    MZ_NEED(s->ids < (uint64_t)INT64_MAX, "more ids than can be counted");
    return hash(s);
}

bool mz_shards_is(const char *folder)
{
    char path[MZ_SHARD_PATH];
    return mz_file_is_dir(folder) &&
           mz_path_join(path, sizeof path, folder, "data.json") == MZ_OK && mz_file_exists(path);
}

mz_err mz_shards_open(mz_shards **out, const char *folder, mz_part part)
{
    mz_shards *s = NULL;
    MZ_NEED(out && folder, "no folder, or no place for the data set");
    MZ_TRY(mz_mem_new(&s, 1, sizeof *s));
    const mz_err err = open_all(s, folder, part);
    if (err != MZ_OK) {
        mz_shards_close(s);
        return err;
    }
    *out = s;
    return MZ_OK;
}

void mz_shards_close(mz_shards *s)
{
    if (!s) return;
    for (int64_t i = 0; i < s->n; i++) {
        mz_map_close(&s->list[i].map);
        mz_mem_free(s->list[i].is_good);
    }
    mz_mem_free(s->list);
    json_decref(s->about);
    mz_mem_free(s);
}

int64_t mz_shards_ids(const mz_shards *s)
{
    return (int64_t)s->ids;
}

int64_t mz_shards_documents(const mz_shards *s)
{
    return (int64_t)s->documents;
}

int64_t mz_shards_largest(const mz_shards *s)
{
    return (int64_t)s->largest - 1;
}

const char *mz_shards_sha256(const mz_shards *s)
{
    return s->sha256;
}

const json_t *mz_shards_about(const mz_shards *s)
{
    return s->about;
}

/* ---- reading ---- */

static int64_t shard_with_id(const mz_shards *s, uint64_t at)
{
    int64_t low = 0, high = s->n - 1;
    while (low < high) { /* the last one that does not begin behind it */
        const int64_t mid = low + (high - low + 1) / 2;
        if (s->list[mid].first_id <= at)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

static mz_err read_from(shard *x, uint64_t first, uint64_t n, int32_t *ids)
{
    const uint64_t at = MZ_SHARD_HEAD + first * x->id_bytes;
    MZ_TRY(check_bytes(x, at, n * x->id_bytes));
    for (uint64_t i = 0; i < n; i++) {
        uint16_t narrow;
        uint32_t wide;
        if (x->id_bytes == 2) {
            memcpy(&narrow, x->map.data + at + i * 2, sizeof narrow);
            ids[i] = narrow;
        } else {
            memcpy(&wide, x->map.data + at + i * 4, sizeof wide);
            if (wide >= x->largest) return damaged(x, "ids", at + i * 4, "pass their largest one");
            ids[i] = (int32_t)wide;
        }
    }
    return MZ_OK;
}

mz_err mz_shards_read(mz_shards *s, int64_t first, int64_t n, int32_t *ids)
{
    MZ_NEED(s && (ids || n == 0), "no data set, or no place for ids");
    MZ_NEED(first >= 0 && n >= 0 && n <= (int64_t)s->ids - first, "ids %lld and %lld on of %lld",
            (long long)first, (long long)n, (long long)s->ids);
    for (uint64_t at = (uint64_t)first, left = (uint64_t)n; left > 0;) {
        shard *x = &s->list[shard_with_id(s, at)];
        const uint64_t from = at - x->first_id;
        const uint64_t here = x->ids - from < left ? x->ids - from : left;
        MZ_TRY(read_from(x, from, here, ids));
        ids += here, at += here, left -= here;
    }
    return MZ_OK;
}

int64_t mz_shards_document_of(const mz_shards *s, int64_t at)
{
    const shard *x = &s->list[shard_with_id(s, (uint64_t)at)];
    const uint64_t id = (uint64_t)at - x->first_id;
    uint64_t low = 0, high = x->documents - 1;
    while (low < high) { /* the first that ends behind it */
        const uint64_t mid = low + (high - low) / 2;
        if (read_u64(x, x->ends + mid * 8) > id)
            high = mid;
        else
            low = mid + 1;
    }
    return (int64_t)(x->first_document + low);
}

int64_t mz_shards_document_start(const mz_shards *s, int64_t document)
{
    const uint64_t d = (uint64_t)document;
    if (d >= s->documents) return (int64_t)s->ids;
    int64_t i = s->n - 1;
    while (i > 0 && s->list[i].first_document > d) i--;
    const shard *x = &s->list[i];
    const uint64_t own = d - x->first_document;
    return (int64_t)(x->first_id + (own > 0 ? read_u64(x, x->ends + (own - 1) * 8) : 0));
}

mz_err mz_shards_verify(mz_shards *s)
{
    MZ_NEED(s, "no data set");
    for (int64_t i = 0; i < s->n; i++)
        for (uint64_t b = 0; b < s->list[i].blocks; b++) MZ_TRY(check_block(&s->list[i], b));
    return MZ_OK;
}
