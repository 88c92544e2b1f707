/* SPDX-License-Identifier: Apache-2.0 */
/* file/safetensors.c - reading one safetensors file: every rule of the format, checked at open.
 *
 * The header is walked twice: once to check it and count, once to fill arrays of just that size.
 * Order and duplicates are found by sorting, so that no choice of names makes it slow.
 * Floor:  file.
 * Errors: see the header. */
#include "file/safetensors.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/scan.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, DEPTH_MAX = 64 };
static const uint64_t HEADER_MAX = 100000000; /* upstream's limit */

typedef struct meta {
    const char *key, *value;
} meta;

struct mz_st_file {
    mz_map map;
    char *path;
    int64_t n, n_meta, n_dims;
    size_t text_bytes;
    mz_st_tensor *list;           /* [n] by offset */
    const mz_st_tensor **by_name; /* [n] */
    meta *meta;                   /* [n_meta] */
    int64_t *dims;                /* all shapes, one after the other */
    char *text;                   /* all names, keys and values, each with its NUL */
};

/* One walk over the header. While `fill` is false it only checks and counts. */
typedef struct walk {
    mz_scan scan;
    mz_st_file *file;
    bool fill, has_meta;
    char name[112]; /* of the entry being read, for messages */
    int64_t n, n_meta, n_dims;
    size_t text_bytes;
} walk;

static mz_err take_text(walk *w, const char **out)
{
    char *room = w->fill ? w->file->text + w->text_bytes : NULL;
    size_t bytes = 0;
    MZ_TRY(mz_scan_string(&w->scan, room, &bytes));
    w->text_bytes += bytes;
    if (out) *out = room;
    return MZ_OK;
}

static mz_err walk_meta(walk *w)
{
    mz_scan *s = &w->scan;
    if (w->has_meta) return mz_scan_bad(s, s->at, "__metadata__ twice");
    w->has_meta = true;
    if (s->end - s->at >= 4 && memcmp(s->text + s->at, "null", 4) == 0) {
        s->at += 4;
        return MZ_OK;
    }
    MZ_TRY(mz_scan_take(s, '{', "expected an object of strings"));
    if (mz_scan_have(s, '}')) return MZ_OK;
    do {
        meta m = {0};
        MZ_TRY(take_text(w, &m.key));
        MZ_TRY(mz_scan_take(s, ':', "expected a colon"));
        MZ_TRY(take_text(w, &m.value));
        if (w->fill) w->file->meta[w->n_meta] = m;
        w->n_meta++;
    } while (mz_scan_have(s, ','));
    return mz_scan_take(s, '}', "expected , or }");
}

static mz_err walk_dtype(walk *w, mz_st_tensor *t)
{
    mz_scan *s = &w->scan;
    const size_t start = s->at;
    char name[16];
    size_t bytes = 0;
    MZ_TRY(mz_scan_peek(s, name, sizeof name));
    MZ_TRY(mz_scan_string(s, NULL, &bytes));
    for (int d = 0; d < MZ_DTYPE_PLAIN_COUNT; d++)
        if (strcmp(name, mz_dtype_name((mz_dtype)d)) == 0) {
            t->dtype = (mz_dtype)d;
            return MZ_OK;
        }
    return mz_scan_bad(s, start, "an unknown dtype");
}

static mz_err walk_shape(walk *w, mz_st_tensor *t)
{
    mz_scan *s = &w->scan;
    const size_t start = s->at;
    uint64_t count = 1;
    t->dim = w->fill ? w->file->dims + w->n_dims : NULL;
    t->rank = 0;
    MZ_TRY(mz_scan_take(s, '[', "expected a list of sizes"));
    if (!mz_scan_have(s, ']')) {
        do {
            uint64_t dim = 0;
            MZ_TRY(mz_scan_uint(s, &dim));
            if (__builtin_mul_overflow(count, dim, &count) || count > INT64_MAX)
                return mz_scan_bad(s, start, "a shape of more elements than can be");
            if (w->fill) w->file->dims[w->n_dims] = (int64_t)dim;
            w->n_dims++;
            t->rank++;
        } while (mz_scan_have(s, ','));
        MZ_TRY(mz_scan_take(s, ']', "expected , or ]"));
    }
    t->count = (int64_t)count;
    return MZ_OK;
}

static mz_err walk_offsets(walk *w, uint64_t *begin, uint64_t *end)
{
    mz_scan *s = &w->scan;
    const size_t start = s->at;
    MZ_TRY(mz_scan_take(s, '[', "expected two offsets"));
    MZ_TRY(mz_scan_uint(s, begin));
    MZ_TRY(mz_scan_take(s, ',', "expected two offsets"));
    MZ_TRY(mz_scan_uint(s, end));
    MZ_TRY(mz_scan_take(s, ']', "expected two offsets"));
    return *begin <= *end ? MZ_OK : mz_scan_bad(s, start, "data that end before they begin");
}

/* Which of a tensor's fields a key is; 3 for one that we do not know, which is skipped. */
static mz_err which_field(mz_scan *s, int *out)
{
    static const char *const names[] = {"dtype", "shape", "data_offsets"};
    char key[16];
    size_t bytes = 0;
    MZ_TRY(mz_scan_peek(s, key, sizeof key));
    MZ_TRY(mz_scan_string(s, NULL, &bytes));
    *out = MZ_COUNT(names);
    for (int i = MZ_COUNT(names) - 1; i >= 0; i--)
        if (strcmp(key, names[i]) == 0) *out = i;
    return mz_scan_take(s, ':', "expected a colon");
}

static mz_err walk_tensor(walk *w, const char *name)
{
    mz_scan *s = &w->scan;
    const size_t start = s->at;
    mz_st_tensor t = {.name = name};
    uint64_t begin = 0, end = 0;
    int seen = 0;
    MZ_TRY(mz_scan_take(s, '{', "expected a tensor's object"));
    if (!mz_scan_have(s, '}')) {
        do {
            int field = 0;
            MZ_TRY(which_field(s, &field));
            if (field < 3 && (seen & 1 << field)) return mz_scan_bad(s, s->at, "a field twice");
            seen |= 1 << field;
            if (field == 0)
                MZ_TRY(walk_dtype(w, &t));
            else if (field == 1)
                MZ_TRY(walk_shape(w, &t));
            else if (field == 2)
                MZ_TRY(walk_offsets(w, &begin, &end));
            else
                MZ_TRY(mz_scan_skip(s, DEPTH_MAX));
        } while (mz_scan_have(s, ','));
        MZ_TRY(mz_scan_take(s, '}', "expected , or }"));
    }
    if ((seen & 7) != 7)
        return mz_scan_bad(s, start, "a tensor without dtype, shape or data_offsets");
    uint64_t bits = 0;
    if (__builtin_mul_overflow((uint64_t)t.count, (uint64_t)mz_dtype_bits(t.dtype), &bits))
        return mz_scan_bad(s, start, "a shape of more bytes than can be");
    if (bits % 8 != 0) return mz_scan_bad(s, start, "a shape that does not fill whole bytes");
    if (end - begin != bits / 8)
        return mz_scan_bad(s, start, "data_offsets that do not fit dtype and shape");
    t.offset = begin; /* until every tensor is known: from the start of the data */
    t.bytes = end - begin;
    if (w->fill) w->file->list[w->n] = t;
    w->n++;
    return MZ_OK;
}

/* The name for messages: as written, cut between two characters where it is long. */
static void name_entry(walk *w)
{
    const mz_scan *s = &w->scan;
    size_t n = 0;
    mz_scan_space(&w->scan);
    while (s->at + 1 + n < s->end && n < sizeof w->name && s->text[s->at + 1 + n] != '"') n++;
    if (n == sizeof w->name) do
            n--;
        while (n > 0 && (s->text[s->at + 1 + n] & 0xc0) == 0x80);
    memcpy(w->name, s->text + s->at + 1, n);
    w->name[n] = '\0';
}

static mz_err walk_entry(walk *w)
{
    mz_scan *s = &w->scan;
    char key[16];
    const char *name = NULL;
    size_t bytes = 0;
    s->field = "header";
    MZ_TRY(mz_scan_peek(s, key, sizeof key));
    name_entry(w);
    const bool is_meta = strcmp(key, "__metadata__") == 0;
    MZ_TRY(is_meta ? mz_scan_string(s, NULL, &bytes) : take_text(w, &name));
    s->field = w->name;
    MZ_TRY(mz_scan_take(s, ':', "expected a colon"));
    mz_scan_space(s);
    return is_meta ? walk_meta(w) : walk_tensor(w, name);
}

static mz_err walk_header(walk *w)
{
    mz_scan *s = &w->scan;
    s->field = "header";
    if (s->end == 0 || s->text[0] != '{') return mz_scan_bad(s, 0, "the first byte is not {");
    MZ_TRY(mz_scan_take(s, '{', "expected {"));
    if (!mz_scan_have(s, '}')) {
        do {
            MZ_TRY(walk_entry(w));
        } while (mz_scan_have(s, ','));
        MZ_TRY(mz_scan_take(s, '}', "expected , or }"));
    }
    s->field = "";
    return mz_scan_done(s) ? MZ_OK : mz_scan_bad(s, s->at, "text after the end of the object");
}

static int by_offset(const void *pa, const void *pb)
{
    const mz_st_tensor *a = pa, *b = pb;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_name(const void *pa, const void *pb)
{
    const mz_st_tensor *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static int by_key(const void *pa, const void *pb)
{
    const meta *a = pa, *b = pb;
    return strcmp(a->key, b->key);
}

static mz_err twice(const mz_st_file *f, const char *name)
{
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s stands twice in the header", name);
    mz_note_where(f->path, name, LENGTH_BYTES);
    return err;
}

static mz_err check_names(mz_st_file *f)
{
    for (int64_t i = 0; i < f->n; i++) f->by_name[i] = &f->list[i];
    qsort(f->by_name, (size_t)f->n, sizeof *f->by_name, by_name);
    for (int64_t i = 1; i < f->n; i++)
        if (strcmp(f->by_name[i - 1]->name, f->by_name[i]->name) == 0)
            return twice(f, f->by_name[i]->name);
    qsort(f->meta, (size_t)f->n_meta, sizeof *f->meta, by_key);
    for (int64_t i = 1; i < f->n_meta; i++)
        if (strcmp(f->meta[i - 1].key, f->meta[i].key) == 0) return twice(f, f->meta[i].key);
    return MZ_OK;
}

/* No holes, no overlaps, nothing left over; then offsets count from the start of the file. */
static mz_err check_layout(mz_st_file *f, uint64_t data_at)
{
    qsort(f->list, (size_t)f->n, sizeof *f->list, by_offset);
    const uint64_t data_bytes = f->map.bytes - data_at;
    uint64_t at = 0;
    const char *name = "";
    for (int64_t i = 0; i < f->n; i++) {
        mz_st_tensor *t = &f->list[i];
        if (t->offset != at) {
            const mz_err err =
                MZ_FAIL(MZ_ECORRUPT, "%s begins at byte %llu of the data, expected %llu (%s)",
                        t->name, (unsigned long long)t->offset, (unsigned long long)at,
                        t->offset > at ? "a hole" : "an overlap");
            mz_note_where(f->path, t->name, (int64_t)(data_at + at));
            return err;
        }
        at += t->bytes; /* cannot wrap: bytes = end - offset and end <= INT64_MAX */
        name = t->name;
        t->offset += data_at;
        t->data = f->map.data + t->offset;
        if (at > data_bytes) break;
    }
    if (at == data_bytes) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ECORRUPT, "the tensors need %llu bytes of data, the file has %llu",
                (unsigned long long)at, (unsigned long long)data_bytes);
    mz_note_where(f->path, at > data_bytes ? name : "data", (int64_t)f->map.bytes);
    return err;
}

static mz_err read_length(const mz_st_file *f, uint64_t *length)
{
    uint64_t n = 0;
    const char *what = NULL;
    if (f->map.bytes < LENGTH_BYTES)
        what = "is too short for a safetensors file";
    else {
        for (int i = LENGTH_BYTES - 1; i >= 0; i--) n = n << 8 | f->map.data[i];
        if (n > HEADER_MAX)
            what = "has a header length that is too large (no safetensors file?)";
        else if (n > f->map.bytes - LENGTH_BYTES)
            what = "ends inside its header (truncated?)";
    }
    *length = n;
    if (!what) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s %s: %zu bytes, header length %llu", f->path, what,
                               f->map.bytes, (unsigned long long)n);
    mz_note_where(f->path, "header length", 0);
    return err;
}

static mz_err read_header(mz_st_file *f)
{
    uint64_t length = 0;
    MZ_TRY(read_length(f, &length));
    walk w = {.file = f,
              .scan = {.text = f->map.data + LENGTH_BYTES,
                       .end = (size_t)length,
                       .base = LENGTH_BYTES,
                       .path = f->path,
                       .field = ""}};
    const walk again = w;
    MZ_TRY(walk_header(&w));
    f->n = w.n, f->n_meta = w.n_meta, f->n_dims = w.n_dims, f->text_bytes = w.text_bytes;
    MZ_TRY(mz_mem_new(&f->list, f->n, sizeof *f->list));
    MZ_TRY(mz_mem_new(&f->by_name, f->n, sizeof *f->by_name));
    MZ_TRY(mz_mem_new(&f->meta, f->n_meta, sizeof *f->meta));
    MZ_TRY(mz_mem_new(&f->dims, f->n_dims, sizeof *f->dims));
    MZ_TRY(mz_mem_new(&f->text, (int64_t)f->text_bytes, 1));
    w = again;
    w.fill = true;
    MZ_TRY(walk_header(&w));
    MZ_TRY(check_layout(f, LENGTH_BYTES + length));
    MZ_TRY(check_names(f));
    return mz_st_intact(f);
}

mz_err mz_st_open(mz_st_file **file, const char *path)
{
    MZ_NEED(file && path, "no path or no place for a file");
    mz_st_file *f = NULL;
    mz_err err = mz_mem_new(&f, 1, sizeof *f);
    if (err != MZ_OK) return err;
    MZ_TRY_GOTO(err, mz_mem_strdup(&f->path, path), fail);
    MZ_TRY_GOTO(err, mz_map_open(&f->map, path), fail);
    MZ_TRY_GOTO(err, read_header(f), fail);
    *file = f;
    return MZ_OK;
fail:
    mz_st_close(f);
    return err;
}

void mz_st_close(mz_st_file *file)
{
    if (!file) return;
    mz_mem_free(file->text);
    mz_mem_free(file->dims);
    mz_mem_free(file->meta);
    mz_mem_free(file->by_name);
    mz_mem_free(file->list);
    mz_map_close(&file->map);
    mz_mem_free(file->path);
    mz_mem_free(file);
}

mz_err mz_st_intact(const mz_st_file *file)
{
    return mz_map_intact(&file->map, file->path);
}

const char *mz_st_path(const mz_st_file *file)
{
    return file->path;
}

int64_t mz_st_count(const mz_st_file *file)
{
    return file->n;
}

const mz_st_tensor *mz_st_at(const mz_st_file *file, int64_t i)
{
    return i >= 0 && i < file->n ? &file->list[i] : NULL;
}

const mz_st_tensor *mz_st_find(const mz_st_file *file, const char *name)
{
    int64_t low = 0, high = file->n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(file->by_name[middle]->name, name);
        if (order == 0) return file->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int64_t mz_st_meta_count(const mz_st_file *file)
{
    return file->n_meta;
}

void mz_st_meta_at(const mz_st_file *file, int64_t i, const char **key, const char **value)
{
    *key = file->meta[i].key;
    *value = file->meta[i].value;
}
