/* SPDX-License-Identifier: Apache-2.0 */
/* file/st_writer.c - writing one safetensors file, streamed, in upstream's order.
 *
 * The header is fixed by `begin`; after it the tensors' bytes only pass through. Nothing stands
 * under the final name before commit.
 * Source: huggingface/safetensors, safetensors/src/tensor.rs (order by dtype, then by name; header
 *         padded with spaces to a multiple of 8).
 * Floor:  file.
 * Errors: MZ_EINVAL: a call out of order, a name twice or not UTF-8, too few or too many bytes;
 *         MZ_EIO; MZ_ENOMEM. */
#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/str.h"
#include "file/safetensors.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry { /* its name and dim, as the caller sees them, are the writer's own */
    mz_st_tensor tensor;
    char *name;
    int64_t *dim;
} entry;

struct mz_st_writer {
    char *path;
    mz_writer *out; /* NULL before begin */
    entry *list;
    int64_t n, cap;
    char **meta; /* key, value, key, value ... */
    int64_t n_meta;
    int64_t now;     /* tensor whose bytes come next */
    uint64_t so_far; /* of its bytes */
};

/* Upstream's order of dtypes, widest first. */
static int rank_of(mz_dtype d)
{
    static const mz_dtype order[] = {
        MZ_U64,         MZ_I64,     MZ_F64,     MZ_C64,     MZ_F32, MZ_U32,
        MZ_I32,         MZ_BF16,    MZ_F16,     MZ_U16,     MZ_I16, MZ_F8_E5M2FNUZ,
        MZ_F8_E4M3FNUZ, MZ_F8_E8M0, MZ_F8_E4M3, MZ_F8_E5M2, MZ_I8,  MZ_U8,
        MZ_F6_E3M2,     MZ_F6_E2M3, MZ_F4,      MZ_BOOL};
    int i = 0;
    while (i < MZ_COUNT(order) && order[i] != d) i++;
    return i;
}

static int by_dtype(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    const int ra = rank_of(a->tensor.dtype), rb = rank_of(b->tensor.dtype);
    return ra != rb ? ra - rb : strcmp(a->name, b->name);
}

mz_err mz_st_writer_new(mz_st_writer **w, const char *path)
{
    MZ_NEED(w && path, "no path or no place for a writer");
    mz_st_writer *new_w = NULL;
    MZ_TRY(mz_mem_new(&new_w, 1, sizeof *new_w));
    const mz_err err = mz_mem_strdup(&new_w->path, path);
    if (err != MZ_OK) {
        mz_mem_free(new_w);
        return err;
    }
    *w = new_w;
    return MZ_OK;
}

static void free_writer(mz_st_writer *w)
{
    for (int64_t i = 0; i < w->n; i++) {
        mz_mem_free(w->list[i].name);
        mz_mem_free(w->list[i].dim);
    }
    for (int64_t i = 0; i < w->n_meta; i++) mz_mem_free(w->meta[i]);
    mz_mem_free(w->meta);
    mz_mem_free(w->list);
    mz_mem_free(w->path);
    mz_mem_free(w);
}

void mz_st_writer_abort(mz_st_writer *w)
{
    if (!w) return;
    if (w->out) mz_writer_abort(w->out);
    free_writer(w);
}

/* Appends `text` as a JSON string, and reads it back to know that it is UTF-8. */
static mz_err add_quoted(mz_str *s, const char *text)
{
    const size_t start = s->len;
    MZ_TRY(mz_str_add(s, "\"", 1));
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20)
            MZ_TRY(mz_str_addf(s, "\\u%04x", (unsigned)*p));
        else {
            if (*p == '"' || *p == '\\') MZ_TRY(mz_str_add(s, "\\", 1));
            MZ_TRY(mz_str_add(s, p, 1));
        }
    }
    MZ_TRY(mz_str_add(s, "\"", 1));
    mz_scan back = {.text = (const unsigned char *)s->text + start,
                    .end = s->len - start,
                    .path = "",
                    .field = ""};
    size_t bytes = 0;
    MZ_NEED(mz_scan_string(&back, NULL, &bytes) == MZ_OK, "a name that is not UTF-8");
    return MZ_OK;
}

mz_err mz_st_writer_meta(mz_st_writer *w, const char *key, const char *value)
{
    MZ_NEED(w && key && value, "no writer, key or value");
    MZ_NEED(!w->out, "metadata after begin");
    MZ_TRY(mz_mem_grow(&w->meta, w->n_meta + 2, sizeof *w->meta));
    char *own_key = NULL, *own_value = NULL;
    MZ_TRY(mz_mem_strdup(&own_key, key));
    const mz_err err = mz_mem_strdup(&own_value, value);
    if (err != MZ_OK) {
        mz_mem_free(own_key);
        return err;
    }
    w->meta[w->n_meta++] = own_key;
    w->meta[w->n_meta++] = own_value;
    return MZ_OK;
}

static mz_err shape_bytes(mz_st_tensor *t, int rank, const int64_t *dim)
{
    uint64_t count = 1, bits = 0;
    for (int i = 0; i < rank; i++) {
        MZ_NEED(dim[i] >= 0, "%s: size %d is negative", t->name, i);
        MZ_NEED(!__builtin_mul_overflow(count, (uint64_t)dim[i], &count) && count <= INT64_MAX,
                "%s: a shape of more elements than can be", t->name);
    }
    MZ_NEED(!__builtin_mul_overflow(count, (uint64_t)mz_dtype_bits(t->dtype), &bits) &&
                bits % 8 == 0,
            "%s: a shape that does not fill whole bytes", t->name);
    t->count = (int64_t)count;
    t->bytes = bits / 8;
    return MZ_OK;
}

mz_err mz_st_writer_declare(mz_st_writer *w, const char *name, mz_dtype dtype, int rank,
                            const int64_t *dim)
{
    MZ_NEED(w && name && rank >= 0 && (dim || rank == 0), "no writer, name or shape");
    MZ_NEED(!w->out, "a tensor is declared after begin");
    MZ_NEED(dtype >= 0 && dtype < MZ_DTYPE_PLAIN_COUNT, "no such dtype");
    entry e = {.tensor = {.name = name, .dtype = dtype, .rank = rank}};
    MZ_TRY(shape_bytes(&e.tensor, rank, dim));
    if (w->n == w->cap) {
        const int64_t cap = w->cap ? 2 * w->cap : 64;
        MZ_TRY(mz_mem_grow(&w->list, cap, sizeof *w->list));
        w->cap = cap;
    }
    MZ_TRY(mz_mem_strdup(&e.name, name));
    const mz_err err = mz_mem_new(&e.dim, rank, sizeof *e.dim);
    if (err != MZ_OK) {
        mz_mem_free(e.name);
        return err;
    }
    if (rank > 0) memcpy(e.dim, dim, (size_t)rank * sizeof *dim);
    e.tensor.name = e.name;
    e.tensor.dim = e.dim;
    w->list[w->n++] = e;
    return MZ_OK;
}

static int by_entry_name(const void *pa, const void *pb)
{
    const char *const *a = pa, *const *b = pb;
    return strcmp(*a, *b);
}

static mz_err check_once(const mz_st_writer *w)
{
    const char **names = NULL;
    MZ_TRY(mz_mem_new(&names, w->n, sizeof *names));
    for (int64_t i = 0; i < w->n; i++) names[i] = w->list[i].name;
    qsort(names, (size_t)w->n, sizeof *names, by_entry_name);
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < w->n && err == MZ_OK; i++)
        if (strcmp(names[i], "__metadata__") == 0 || (i > 0 && strcmp(names[i - 1], names[i]) == 0))
            err = MZ_FAIL(MZ_EINVAL, "tensor name %s twice, or reserved", names[i]);
    mz_mem_free(names);
    return err;
}

static mz_err add_meta(mz_str *s, const mz_st_writer *w)
{
    bool has_format = false;
    MZ_TRY(mz_str_addf(s, "{\"__metadata__\":{"));
    for (int64_t i = 0; i < w->n_meta; i += 2) {
        MZ_TRY(add_quoted(s, w->meta[i]));
        MZ_TRY(mz_str_add(s, ":", 1));
        MZ_TRY(add_quoted(s, w->meta[i + 1]));
        has_format |= strcmp(w->meta[i], "format") == 0;
        if (i + 2 < w->n_meta || !has_format) MZ_TRY(mz_str_add(s, ",", 1));
    }
    /* older transformers refuse a file that does not name its format */
    if (!has_format) MZ_TRY(mz_str_addf(s, "\"format\":\"pt\""));
    return mz_str_add(s, "}", 1);
}

static mz_err add_header(mz_str *s, mz_st_writer *w)
{
    uint64_t at = 0;
    MZ_TRY(mz_str_add(s, "\0\0\0\0\0\0\0\0", 8)); /* the length, below */
    MZ_TRY(add_meta(s, w));
    for (int64_t i = 0; i < w->n; i++) {
        mz_st_tensor *t = &w->list[i].tensor;
        MZ_TRY(mz_str_add(s, ",", 1));
        MZ_TRY(add_quoted(s, t->name));
        MZ_TRY(mz_str_addf(s, ":{\"dtype\":\"%s\",\"shape\":[", mz_dtype_name(t->dtype)));
        for (int k = 0; k < t->rank; k++)
            MZ_TRY(mz_str_addf(s, "%s%lld", k ? "," : "", (long long)t->dim[k]));
        MZ_TRY(mz_str_addf(s, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                           (unsigned long long)(at + t->bytes)));
        t->offset = at;
        at += t->bytes;
    }
    MZ_TRY(mz_str_add(s, "}", 1));
    while (s->len % 8 != 0) MZ_TRY(mz_str_add(s, " ", 1));
    for (int i = 0; i < 8; i++) s->text[i] = (char)((uint64_t)(s->len - 8) >> (8 * i) & 0xff);
    for (int64_t i = 0; i < w->n; i++) w->list[i].tensor.offset += s->len;
    return MZ_OK;
}

static void skip_empty(mz_st_writer *w)
{
    while (w->now < w->n && w->so_far == w->list[w->now].tensor.bytes) {
        w->now++;
        w->so_far = 0;
    }
}

mz_err mz_st_writer_begin(mz_st_writer *w)
{
    MZ_NEED(w && !w->out, "no writer, or begun twice");
    MZ_TRY(check_once(w));
    if (w->n > 0) qsort(w->list, (size_t)w->n, sizeof *w->list, by_dtype);
    mz_str header = {0};
    mz_err err;
    MZ_TRY_GOTO(err, add_header(&header, w), done);
    MZ_TRY_GOTO(err, mz_writer_open(&w->out, w->path), done);
    MZ_TRY_GOTO(err, mz_writer_put(w->out, header.text, header.len), done);
    skip_empty(w);
done:
    mz_str_clear(&header);
    return err;
}

int64_t mz_st_writer_count(const mz_st_writer *w)
{
    return w->n;
}

const mz_st_tensor *mz_st_writer_at(const mz_st_writer *w, int64_t i)
{
    return i >= 0 && i < w->n ? &w->list[i].tensor : NULL;
}

mz_err mz_st_writer_put(mz_st_writer *w, const void *bytes, size_t n)
{
    MZ_NEED(w && w->out && (bytes || n == 0), "no writer, not begun, or no bytes");
    if (n == 0) return MZ_OK;
    MZ_NEED(w->now < w->n && n <= w->list[w->now].tensor.bytes - w->so_far,
            "%zu bytes are more than tensor %lld of the file still wants", n, (long long)w->now);
    MZ_TRY(mz_writer_put(w->out, bytes, n));
    w->so_far += n;
    skip_empty(w);
    return MZ_OK;
}

mz_err mz_st_writer_commit(mz_st_writer *w)
{
    MZ_NEED(w, "no writer");
    mz_err err = MZ_OK;
    if (!w->out || w->now < w->n) {
        err = MZ_FAIL(MZ_EINVAL, "%s: commit with %lld of %lld tensors written", w->path,
                      (long long)w->now, (long long)w->n);
        mz_st_writer_abort(w);
        return err;
    }
    err = mz_writer_commit(w->out);
    free_writer(w);
    return err;
}
