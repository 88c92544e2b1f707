/* SPDX-License-Identifier: Apache-2.0 */
/* file/shards_writer.c - writing, see shards.h. Every shard is a durable file under its own name
 * before data.json is: a build that was cut short leaves no data set. */
#include "base/file.h"
#include "base/mem.h"
#include "file/shards.h"
#include "file/shards_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What is appended goes through one block, so that each block is summed as it leaves. */
typedef struct shard_file {
    mz_writer *out; /* NULL: none is open */
    char name[64];
    unsigned char *block; /* [MZ_SHARD_BLOCK] */
    size_t fill;
    uint64_t *sums, *ends;
    int64_t n_sums, sums_cap, ends_cap;
    uint64_t documents, ids, largest, body;
} shard_file;

typedef struct part {
    shard_file file;
    mz_shards_count count; /* committed shards and the open one */
    json_t *shards;
} part;

struct mz_shards_writer {
    mz_shards_options o;
    char folder[MZ_SHARD_PATH], made_by[256];
    uint32_t id_bytes;
    part part[MZ_PARTS];
};

static mz_err flush(shard_file *f)
{
    if (f->fill == 0) return MZ_OK;
    if (f->n_sums == f->sums_cap) {
        const int64_t cap = f->sums_cap ? 2 * f->sums_cap : 64;
        MZ_TRY(mz_mem_grow(&f->sums, cap, sizeof *f->sums));
        f->sums_cap = cap;
    }
    MZ_TRY(mz_shard_sum(&f->sums[f->n_sums], f->block, f->fill));
    f->n_sums++;
    MZ_TRY(mz_writer_put(f->out, f->block, f->fill));
    f->body += f->fill;
    f->fill = 0;
    return MZ_OK;
}

static mz_err append(shard_file *f, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    while (n > 0) {
        const size_t room = MZ_SHARD_BLOCK - f->fill, here = n < room ? n : room;
        memcpy(f->block + f->fill, from, here);
        f->fill += here, from += here, n -= here;
        if (f->fill == MZ_SHARD_BLOCK) MZ_TRY(flush(f));
    }
    return MZ_OK;
}

static mz_err begin(mz_shards_writer *w, mz_part which)
{
    char path[MZ_SHARD_PATH];
    unsigned char head[MZ_SHARD_HEAD] = "MZTOKENS";
    const uint32_t version = 1;
    part *p = &w->part[which];
    shard_file *f = &p->file;
    memcpy(head + 8, &version, sizeof version);
    memcpy(head + 12, &w->id_bytes, sizeof w->id_bytes);
    (void)snprintf(f->name, sizeof f->name, "%s-%05" PRId64 ".tokens", mz_part_name(which),
                   p->count.shards);
    f->fill = 0;
    f->n_sums = 0;
    f->documents = f->ids = f->largest = f->body = 0;
    if (!f->block) MZ_TRY(mz_mem_new(&f->block, MZ_SHARD_BLOCK, 1));
    MZ_TRY(mz_path_join(path, sizeof path, w->folder, f->name));
    MZ_TRY(mz_writer_open(&f->out, path));
    p->count.shards++;
    return append(f, head, sizeof head);
}

static mz_err put_foot(shard_file *f)
{
    static const unsigned char zeros[8];
    const uint64_t id_bytes = f->body + f->fill - MZ_SHARD_HEAD;
    MZ_TRY(append(f, zeros, (8 - id_bytes % 8) % 8));
    MZ_TRY(append(f, f->ends, f->documents * sizeof *f->ends));
    MZ_TRY(flush(f));
    const uint64_t foot[8] = {f->documents, f->ids, f->largest, (uint64_t)f->n_sums,
                              f->body,      0,      0,          0};
    const size_t sums = (size_t)f->n_sums * 8;
    unsigned char *tail = NULL;
    uint64_t sum = 0;
    MZ_TRY(mz_mem_new(&tail, (int64_t)(sums + sizeof foot), 1));
    memcpy(tail, f->sums, sums);
    memcpy(tail + sums, foot, sizeof foot);
    mz_err err = mz_shard_sum(&sum, tail, sums + sizeof foot - 8);
    memcpy(tail + sums + sizeof foot - 8, &sum, sizeof sum);
    if (err == MZ_OK) err = mz_writer_put(f->out, tail, sums + sizeof foot);
    mz_mem_free(tail);
    return err;
}

static mz_err end(mz_shards_writer *w, mz_part which)
{
    part *p = &w->part[which];
    shard_file *f = &p->file;
    if (!f->out) return MZ_OK;
    MZ_TRY(put_foot(f));
    mz_writer *out = f->out;
    f->out = NULL; /* commit frees it, also where it fails */
    MZ_TRY(mz_writer_commit(out));
    json_t *o = json_pack("{s:s, s:I, s:I}", "name", f->name, "documents", (json_int_t)f->documents,
                          "tokens", (json_int_t)f->ids);
    if (json_array_append_new(p->shards, o) != 0)
        return MZ_FAIL(MZ_ENOMEM, "no memory for the list of shards");
    return MZ_OK;
}

mz_err mz_shards_writer_new(mz_shards_writer **out, const mz_shards_options *o)
{
    mz_shards_writer *w = NULL;
    MZ_NEED(out && o && o->folder && o->vocab > 0 && o->shard_ids > 0,
            "no folder, vocabulary or size of a shard");
    if (mz_shards_is(o->folder)) {
        const mz_err err = MZ_FAIL(MZ_ECONFIG, "%s holds a data set already", o->folder);
        mz_note_where(o->folder, "data.json", -1);
        mz_note_fix("give another folder, or remove this one");
        return err;
    }
    MZ_TRY(mz_file_mkdirs(o->folder));
    MZ_TRY(mz_mem_new(&w, 1, sizeof *w));
    w->o = *o;
    w->id_bytes = o->vocab <= 65536 ? 2 : 4;
    (void)snprintf(w->made_by, sizeof w->made_by, "%s", o->made_by ? o->made_by : "");
    const bool fits =
        (size_t)snprintf(w->folder, sizeof w->folder, "%s", o->folder) < sizeof w->folder;
    mz_err err = fits ? MZ_OK : MZ_FAIL(MZ_ECONFIG, "the name of the folder is too long");
    for (int i = 0; i < MZ_PARTS && err == MZ_OK; i++) {
        w->part[i].shards = json_array();
        if (!w->part[i].shards) err = MZ_FAIL(MZ_ENOMEM, "no memory for the list of shards");
    }
    if (err != MZ_OK) {
        mz_shards_writer_abort(w);
        return err;
    }
    *out = w;
    return MZ_OK;
}

static mz_err put_ids(mz_shards_writer *w, shard_file *f, const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const uint32_t wide = (uint32_t)ids[i];
        const uint16_t narrow = (uint16_t)wide;
        MZ_NEED(ids[i] >= 0 && ids[i] < w->o.vocab, "id %d is outside the vocabulary", ids[i]);
        if (wide >= f->largest) f->largest = (uint64_t)wide + 1;
        MZ_TRY(w->id_bytes == 2 ? append(f, &narrow, 2) : append(f, &wide, 4));
    }
    return MZ_OK;
}

mz_err mz_shards_writer_put(mz_shards_writer *w, mz_part which, const int32_t *ids, int64_t n)
{
    MZ_NEED(w && ids && n > 0, "no writer, or a document without ids");
    part *p = &w->part[which];
    shard_file *f = &p->file;
    if (f->out && (int64_t)f->ids >= w->o.shard_ids) MZ_TRY(end(w, which));
    if (!f->out) MZ_TRY(begin(w, which));
    if ((int64_t)f->documents == f->ends_cap) {
        const int64_t cap = f->ends_cap ? 2 * f->ends_cap : 1024;
        MZ_TRY(mz_mem_grow(&f->ends, cap, sizeof *f->ends));
        f->ends_cap = cap;
    }
    MZ_TRY(put_ids(w, f, ids, n));
    f->ids += (uint64_t)n;
    f->ends[f->documents++] = f->ids;
    p->count.documents++;
    p->count.ids += n;
    return MZ_OK;
}

void mz_shards_writer_count(const mz_shards_writer *w, mz_part which, mz_shards_count *count)
{
    *count = w->part[which].count;
}

static mz_err write_about(const mz_shards_writer *w, int64_t text_bytes)
{
    char path[MZ_SHARD_PATH];
    json_t *o = json_pack("{s:i, s:s, s:I, s:I, s:I, s:I}", "schema", 1, "tokenizer", w->made_by,
                          "vocab", (json_int_t)w->o.vocab, "bos", (json_int_t)w->o.bos, "eos",
                          (json_int_t)w->o.eos, "text_bytes", (json_int_t)text_bytes);
    int bad = o ? 0 : -1;
    for (int i = 0; i < MZ_PARTS && bad == 0; i++) {
        const part *p = &w->part[i];
        json_t *one = json_pack("{s:I, s:I, s:O}", "documents", (json_int_t)p->count.documents,
                                "tokens", (json_int_t)p->count.ids, "shards", p->shards);
        bad = json_object_set_new(o, mz_part_name((mz_part)i), one);
    }
    mz_err err = bad == 0 ? MZ_OK : MZ_FAIL(MZ_ENOMEM, "no memory for data.json");
    if (err == MZ_OK) err = mz_path_join(path, sizeof path, w->folder, "data.json");
    if (err == MZ_OK) err = mz_json_write(o, path);
    json_decref(o);
    return err;
}

mz_err mz_shards_writer_commit(mz_shards_writer *w, int64_t text_bytes)
{
    MZ_NEED(w, "no writer");
    mz_err err = MZ_OK;
    for (int i = 0; i < MZ_PARTS && err == MZ_OK; i++) err = end(w, (mz_part)i);
    if (err == MZ_OK) err = write_about(w, text_bytes);
    mz_shards_writer_abort(w); /* nothing is open any more */
    return err;
}

void mz_shards_writer_abort(mz_shards_writer *w)
{
    if (!w) return;
    for (int i = 0; i < MZ_PARTS; i++) {
        part *p = &w->part[i];
        mz_writer_abort(p->file.out);
        mz_mem_free(p->file.block);
        mz_mem_free(p->file.sums);
        mz_mem_free(p->file.ends);
        json_decref(p->shards);
    }
    mz_mem_free(w);
}
