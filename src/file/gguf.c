/* SPDX-License-Identifier: Apache-2.0 */
/* file/gguf.c - reading one GGUF file: every rule of the format, checked at open.
 *
 * The metadata is walked twice: once to check it and count the bytes of names, once to fill lists
 * of just that size. Values stay where they are in the mapped file; names are copied, because in
 * the file they have no NUL.
 * Floor:  file.
 * Errors: see the header. */
#include "file/gguf.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANK_MAX = 4, NAME_MAX_BYTES = 63, KEY_MAX_BYTES = 65535, HEADER_BYTES = 24 };
/* The least that a key (length 8, name 1, type 4, value 1) and a tensor (length 8, name 1, rank 4,
 * one dim 8, type 4, offset 8) take, so that a count cannot announce more than the file holds. */
enum { KEY_BYTES_LEAST = 14, TENSOR_BYTES_LEAST = 33 };
static const uint64_t ALIGNMENT_USUAL = 32, ALIGNMENT_LEAST = 8, ALIGNMENT_MOST = 1 << 20;
static const char ALIGNMENT[] = "general.alignment";

struct mz_gguf {
    mz_map map;
    char *path;
    uint32_t version;
    int64_t n, n_keys;
    size_t text_bytes;
    uint64_t alignment, data_at;
    mz_gguf_tensor *list;           /* [n] as in the file */
    const mz_gguf_tensor **by_name; /* [n] */
    mz_gguf_key *keys;              /* [n_keys] as in the file */
    const mz_gguf_key **by_key;     /* [n_keys] */
    char *text;                     /* all names, each with its NUL */
};

static const struct {
    const char *name;
    size_t bytes; /* 0: each value has a length of its own */
} VALUE[MZ_GGUF_TYPE_COUNT] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},  {"u32", 4},
                               {"i32", 4}, {"f32", 4}, {"bool", 1}, {"text", 0}, {"array", 0},
                               {"u64", 8}, {"i64", 8}, {"f64", 8}};

const char *mz_gguf_type_name(mz_gguf_type t)
{
    return t >= 0 && t < MZ_GGUF_TYPE_COUNT ? VALUE[t].name : "?";
}

/* One walk over the metadata. While `fill` is false it only checks and counts. */
typedef struct walk {
    mz_gguf *file;
    size_t at;
    bool fill;
    char field[120]; /* what is being read, for messages */
    size_t text_bytes;
    uint64_t data_bytes; /* of the tensors so far, padded */
} walk;

static mz_err bad(const walk *w, size_t at, const char *what)
{
    const mz_err err =
        MZ_FAIL(MZ_ECORRUPT, "%s%s%s at byte %zu", w->field, w->field[0] ? ": " : "", what, at);
    mz_note_where(w->file->path, w->field, (int64_t)at);
    return err;
}

static uint64_t word(const unsigned char *p, size_t bytes)
{
    uint64_t x = 0;
    for (size_t i = 0; i < bytes; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static mz_err take_word(walk *w, size_t bytes, const char *what, uint64_t *out)
{
    if (w->file->map.bytes - w->at < bytes) {
        char text[96];
        snprintf(text, sizeof text, "the file ends inside %s", what);
        return bad(w, w->at, text);
    }
    *out = word(w->file->map.data + w->at, bytes);
    w->at += bytes;
    return MZ_OK;
}

/* UTF-8 without NUL */
static mz_err check_text(const walk *w, size_t at, size_t bytes)
{
    const unsigned char *p = w->file->map.data + at;
    for (size_t i = 0; i < bytes;) {
        const size_t n = mz_scan_utf8(p + i, bytes - i);
        if (n == 0) return bad(w, at + i, "text that is not UTF-8");
        if (p[i] == 0) return bad(w, at + i, "a NUL in a text");
        i += n;
    }
    return MZ_OK;
}

/* A length and that many bytes; *at is where they begin. */
static mz_err take_text(walk *w, const char *what, size_t *at, size_t *bytes)
{
    uint64_t length = 0;
    const size_t start = w->at;
    MZ_TRY(take_word(w, 8, what, &length));
    if (length > w->file->map.bytes - w->at) {
        char text[96];
        snprintf(text, sizeof text, "%s of %llu bytes, more than the file has left", what,
                 (unsigned long long)length);
        return bad(w, start, text);
    }
    *at = w->at;
    *bytes = (size_t)length;
    MZ_TRY(check_text(w, *at, *bytes));
    w->at += *bytes;
    return MZ_OK;
}

/* The name of a key or a tensor, kept with its NUL; it is the field of messages from here on. */
static mz_err take_name(walk *w, const char *what, size_t most, const char **out)
{
    size_t at = 0, bytes = 0;
    const size_t start = w->at;
    MZ_TRY(take_text(w, what, &at, &bytes));
    if (bytes == 0 || bytes > most) return bad(w, start, "a name that is empty or too long");
    char *room = w->fill ? w->file->text + w->text_bytes : NULL;
    if (room) memcpy(room, w->file->map.data + at, bytes); /* its NUL is there already */
    w->text_bytes += bytes + 1;
    *out = room;
    const size_t shown = bytes < sizeof w->field ? bytes : sizeof w->field - 1;
    memcpy(w->field, w->file->map.data + at, shown);
    w->field[shown] = '\0';
    return MZ_OK;
}

/* ---- keys ---- */

static mz_err check_bools(const walk *w, size_t at, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (w->file->map.data[at + i] > 1)
            return bad(w, at + (size_t)i, "a bool that is neither 0 nor 1");
    return MZ_OK;
}

/* `count` values of key->type. */
static mz_err take_values(walk *w, mz_gguf_key *key)
{
    const size_t left = w->file->map.bytes - w->at, each = VALUE[key->type].bytes;
    key->offset = w->at;
    key->data = w->file->map.data + w->at;
    if (each > 0) {
        if (key->count > left / each)
            return bad(w, w->at, "values that go on past the end of the file");
        if (key->type == MZ_GGUF_BOOL) MZ_TRY(check_bools(w, w->at, key->count));
        w->at += (size_t)key->count * each;
    } else {
        if (key->count > left / 8) return bad(w, w->at, "more texts than the file has bytes for");
        for (uint64_t i = 0; i < key->count; i++) {
            size_t at, bytes;
            MZ_TRY(take_text(w, "a text", &at, &bytes));
        }
    }
    key->bytes = w->at - key->offset;
    return MZ_OK;
}

static mz_err take_type(walk *w, mz_gguf_type *out)
{
    uint64_t type = 0;
    MZ_TRY(take_word(w, 4, "a value's type", &type));
    if (type >= MZ_GGUF_TYPE_COUNT) return bad(w, w->at - 4, "an unknown type of value");
    *out = (mz_gguf_type)type;
    return MZ_OK;
}

static mz_err check_alignment(walk *w, const mz_gguf_key *key)
{
    if (strcmp(w->field, ALIGNMENT) != 0) return MZ_OK;
    if (key->type != MZ_GGUF_U32 || key->is_array)
        return bad(w, (size_t)key->offset, "an alignment that is not a u32");
    const uint64_t a = word(key->data, 4);
    if (a < ALIGNMENT_LEAST || a > ALIGNMENT_MOST || (a & (a - 1)) != 0)
        return bad(w, (size_t)key->offset, "an alignment that is no power of two from 8 to 2^20");
    w->file->alignment = a;
    return MZ_OK;
}

static mz_err take_key(walk *w, mz_gguf_key *out)
{
    mz_gguf_key key = {.count = 1};
    MZ_TRY(take_name(w, "a key", KEY_MAX_BYTES, &key.name));
    MZ_TRY(take_type(w, &key.type));
    if (key.type == MZ_GGUF_ARRAY) {
        key.is_array = true;
        MZ_TRY(take_type(w, &key.type));
        if (key.type == MZ_GGUF_ARRAY) return bad(w, w->at - 4, "an array of arrays");
        MZ_TRY(take_word(w, 8, "an array's length", &key.count));
    }
    MZ_TRY(take_values(w, &key));
    MZ_TRY(check_alignment(w, &key));
    *out = key;
    return MZ_OK;
}

/* ---- tensors ---- */

static mz_err take_shape(walk *w, mz_gguf_tensor *t)
{
    uint64_t rank = 0;
    MZ_TRY(take_word(w, 4, "a tensor's rank", &rank));
    if (rank < 1 || rank > RANK_MAX) return bad(w, w->at - 4, "a rank that is not 1 to 4");
    t->rank = (int)rank;
    t->count = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        uint64_t dim = 0;
        MZ_TRY(take_word(w, 8, "a tensor's shape", &dim));
        if (dim < 1 || dim > INT64_MAX) return bad(w, w->at - 8, "a size that is not at least 1");
        t->dim[i] = (int64_t)dim;
        if (!mz_mul_i64(t->count, t->dim[i], &t->count))
            return bad(w, w->at - 8, "a shape of more elements than can be");
    }
    return MZ_OK;
}

static mz_err take_ggml(walk *w, mz_gguf_tensor *t)
{
    static const uint32_t number[MZ_GGML_COUNT] = {
#define MZ_GGML_NUMBER(name, number, elements, bytes) number,
        MZ_GGML_LIST(MZ_GGML_NUMBER)
#undef MZ_GGML_NUMBER
    };
    uint64_t type = 0;
    const size_t start = w->at;
    MZ_TRY(take_word(w, 4, "a tensor's type", &type));
    int i = 0;
    while (i < MZ_GGML_COUNT && number[i] != type) i++;
    if (i == MZ_GGML_COUNT) return bad(w, start, "an unknown type of numbers");
    t->type = (mz_ggml)i;
    const int64_t block = mz_ggml_block(t->type);
    if (t->dim[t->rank - 1] % block != 0)
        return bad(w, start, "rows that are no whole number of this type's blocks");
    size_t blocks = 0, bytes = 0;
    if (!mz_i64_to_size(t->count / block, &blocks) ||
        !mz_mul(blocks, mz_ggml_block_bytes(t->type), &bytes))
        return bad(w, start, "a tensor of more bytes than can be");
    t->bytes = bytes;
    return MZ_OK;
}

static mz_err take_tensor(walk *w, mz_gguf_tensor *out)
{
    mz_gguf_tensor t = {0};
    uint64_t offset = 0;
    size_t end = 0;
    MZ_TRY(take_name(w, "a tensor's name", NAME_MAX_BYTES, &t.name));
    MZ_TRY(take_shape(w, &t));
    MZ_TRY(take_ggml(w, &t));
    MZ_TRY(take_word(w, 8, "a tensor's offset", &offset));
    if (offset != w->data_bytes)
        return bad(w, w->at - 8, "an offset that is not where the tensor before it ends");
    if (!mz_add((size_t)offset, (size_t)t.bytes, &end) ||
        !mz_align_up(end, (size_t)w->file->alignment, &end))
        return bad(w, w->at - 8, "a tensor that ends past what can be");
    w->data_bytes = end;
    t.offset = offset; /* from the start of the data; see place_data */
    *out = t;
    return MZ_OK;
}

/* ---- the whole ---- */

static mz_err take_header(walk *w)
{
    mz_gguf *f = w->file;
    uint64_t magic = 0, version = 0, n = 0, n_keys = 0;
    snprintf(w->field, sizeof w->field, "header");
    MZ_TRY(take_word(w, 4, "the magic number", &magic));
    if (magic == 0x47475546) return bad(w, 0, "a big-endian GGUF, expected a little-endian one");
    if (magic != 0x46554747) return bad(w, 0, "no GGUF file (it does not begin with \"GGUF\")");
    MZ_TRY(take_word(w, 4, "the version", &version));
    if (version == 0x02000000 || version == 0x03000000)
        return bad(w, 4, "a big-endian GGUF, expected a little-endian one");
    if (version < 2 || version > 3) return bad(w, 4, "a version that is not 2 or 3");
    MZ_TRY(take_word(w, 8, "the number of tensors", &n));
    MZ_TRY(take_word(w, 8, "the number of keys", &n_keys));
    const size_t left = f->map.bytes - HEADER_BYTES;
    if (n > left / TENSOR_BYTES_LEAST) return bad(w, 8, "more tensors than the file has bytes for");
    if (n_keys > left / KEY_BYTES_LEAST) return bad(w, 16, "more keys than the file has bytes for");
    if (n_keys == 0) return bad(w, 16, "no keys: every GGUF has general.architecture");
    f->version = (uint32_t)version;
    f->n = (int64_t)n;
    f->n_keys = (int64_t)n_keys;
    return MZ_OK;
}

static mz_err walk_all(walk *w)
{
    mz_gguf *f = w->file;
    mz_gguf_key key;
    mz_gguf_tensor tensor;
    f->alignment = ALIGNMENT_USUAL;
    MZ_TRY(take_header(w));
    for (int64_t i = 0; i < f->n_keys; i++) {
        snprintf(w->field, sizeof w->field, "key %lld", (long long)i); /* until its name is read */
        MZ_TRY(take_key(w, w->fill ? &f->keys[i] : &key));
    }
    for (int64_t i = 0; i < f->n; i++) {
        snprintf(w->field, sizeof w->field, "tensor %lld", (long long)i);
        MZ_TRY(take_tensor(w, w->fill ? &f->list[i] : &tensor));
    }
    return MZ_OK;
}

static int by_key_name(const void *pa, const void *pb)
{
    const mz_gguf_key *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static int by_tensor_name(const void *pa, const void *pb)
{
    const mz_gguf_tensor *const *a = pa, *const *b = pb;
    return strcmp((*a)->name, (*b)->name);
}

static void sort_names(mz_gguf *f)
{
    for (int64_t i = 0; i < f->n_keys; i++) f->by_key[i] = &f->keys[i];
    for (int64_t i = 0; i < f->n; i++) f->by_name[i] = &f->list[i];
    qsort(f->by_key, (size_t)f->n_keys, sizeof *f->by_key, by_key_name);
    qsort(f->by_name, (size_t)f->n, sizeof *f->by_name, by_tensor_name);
}

/* Duplicates stand side by side in the sorted lists; the later one in the file is reported. */
static mz_err check_once(const mz_gguf *f)
{
    for (int64_t i = 1; i < f->n_keys; i++) {
        const mz_gguf_key *a = f->by_key[i - 1], *b = f->by_key[i];
        if (strcmp(a->name, b->name) == 0)
            return mz_gguf_bad_key(f, a > b ? a : b, MZ_ECORRUPT, "this key stands twice");
    }
    for (int64_t i = 1; i < f->n; i++) {
        const mz_gguf_tensor *a = f->by_name[i - 1], *b = f->by_name[i];
        if (strcmp(a->name, b->name) == 0)
            return mz_gguf_bad_tensor(f, a > b ? a : b, MZ_ECORRUPT, "this tensor stands twice");
    }
    return MZ_OK;
}

/* The data begin at the next multiple of the alignment and end with the last tensor, or with the
 * padding behind it. */
static mz_err place_data(walk *w)
{
    mz_gguf *f = w->file;
    size_t start = 0;
    snprintf(w->field, sizeof w->field, "data");
    if (f->n == 0) {
        if (!mz_gguf_key_find(f, "tokenizer.ggml.tokens"))
            return bad(w, 8, "neither tensors nor a vocabulary");
        return MZ_OK;
    }
    if (!mz_align_up(w->at, (size_t)f->alignment, &start)) return bad(w, w->at, "no room for data");
    const uint64_t has = f->map.bytes > start ? f->map.bytes - start : 0;
    for (int64_t i = 0; i < f->n; i++) {
        mz_gguf_tensor *t = &f->list[i];
        /* the sum of both was checked when the tensor was read */
        if (t->offset + t->bytes > has) {
            snprintf(w->field, sizeof w->field, "%s", t->name);
            return bad(w, f->map.bytes, "the file ends inside this tensor's data");
        }
        t->offset += start;
        t->data = f->map.data + t->offset;
    }
    if (has > w->data_bytes)
        return bad(w, start + (size_t)w->data_bytes, "bytes that belong to no tensor");
    f->data_at = start;
    return MZ_OK;
}

static mz_err read_all(mz_gguf *f)
{
    walk w = {.file = f};
    MZ_TRY(walk_all(&w));
    MZ_TRY(mz_mem_new(&f->keys, f->n_keys, sizeof *f->keys));
    MZ_TRY(mz_mem_new(&f->by_key, f->n_keys, sizeof *f->by_key));
    MZ_TRY(mz_mem_new(&f->list, f->n, sizeof *f->list));
    MZ_TRY(mz_mem_new(&f->by_name, f->n, sizeof *f->by_name));
    MZ_TRY(mz_mem_new(&f->text, (int64_t)w.text_bytes, 1));
    w = (walk){.file = f, .fill = true};
    MZ_TRY(walk_all(&w));
    sort_names(f);
    MZ_TRY(place_data(&w));
    MZ_TRY(check_once(f));
    return mz_gguf_intact(f);
}

mz_err mz_gguf_open(mz_gguf **file, const char *path)
{
    MZ_NEED(file && path, "no path or no place for a file");
    mz_gguf *f = NULL;
    mz_err err = mz_mem_new(&f, 1, sizeof *f);
    if (err != MZ_OK) return err;
    MZ_TRY_GOTO(err, mz_mem_strdup(&f->path, path), fail);
    MZ_TRY_GOTO(err, mz_map_open(&f->map, path), fail);
    MZ_TRY_GOTO(err, read_all(f), fail);
    *file = f;
    return MZ_OK;
fail:
    mz_gguf_close(f);
    return err;
}

void mz_gguf_close(mz_gguf *f)
{
    if (!f) return;
    mz_mem_free(f->text);
    mz_mem_free(f->by_name);
    mz_mem_free(f->list);
    mz_mem_free(f->by_key);
    mz_mem_free(f->keys);
    mz_map_close(&f->map);
    mz_mem_free(f->path);
    mz_mem_free(f);
}

mz_err mz_gguf_intact(const mz_gguf *f)
{
    return mz_map_intact(&f->map, f->path);
}

bool mz_gguf_is(const char *path)
{
    mz_map map = {0};
    if (mz_map_open(&map, path) != MZ_OK) return false;
    const bool is = map.bytes >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    mz_map_close(&map);
    return is;
}

const char *mz_gguf_path(const mz_gguf *f)
{
    return f->path;
}

const void *mz_gguf_bytes(const mz_gguf *f, size_t *bytes)
{
    *bytes = f->map.bytes;
    return f->map.data;
}

int mz_gguf_version(const mz_gguf *f)
{
    return (int)f->version;
}

int64_t mz_gguf_key_count(const mz_gguf *f)
{
    return f->n_keys;
}

const mz_gguf_key *mz_gguf_key_at(const mz_gguf *f, int64_t i)
{
    return i >= 0 && i < f->n_keys ? &f->keys[i] : NULL;
}

const mz_gguf_key *mz_gguf_key_find(const mz_gguf *f, const char *name)
{
    const mz_gguf_key key = {.name = name}, *pointer = &key;
    const mz_gguf_key **found =
        f->n_keys ? bsearch(&pointer, f->by_key, (size_t)f->n_keys, sizeof *f->by_key, by_key_name)
                  : NULL;
    return found ? *found : NULL;
}

int64_t mz_gguf_count(const mz_gguf *f)
{
    return f->n;
}

const mz_gguf_tensor *mz_gguf_at(const mz_gguf *f, int64_t i)
{
    return i >= 0 && i < f->n ? &f->list[i] : NULL;
}

const mz_gguf_tensor *mz_gguf_find(const mz_gguf *f, const char *name)
{
    const mz_gguf_tensor key = {.name = name}, *pointer = &key;
    const mz_gguf_tensor **found =
        f->n ? bsearch(&pointer, f->by_name, (size_t)f->n, sizeof *f->by_name, by_tensor_name)
             : NULL;
    return found ? *found : NULL;
}

/* ---- values ---- */

static bool is_signed(mz_gguf_type t)
{
    return t == MZ_GGUF_I8 || t == MZ_GGUF_I16 || t == MZ_GGUF_I32 || t == MZ_GGUF_I64;
}

static bool is_unsigned(mz_gguf_type t)
{
    return t == MZ_GGUF_U8 || t == MZ_GGUF_U16 || t == MZ_GGUF_U32 || t == MZ_GGUF_U64;
}

bool mz_gguf_int(const mz_gguf_key *key, uint64_t i, int64_t *out)
{
    if (i >= key->count || (!is_signed(key->type) && !is_unsigned(key->type))) return false;
    const size_t bytes = VALUE[key->type].bytes;
    uint64_t x = word(key->data + i * bytes, bytes);
    if (is_unsigned(key->type) && x > INT64_MAX) return false;
    const uint64_t top = (uint64_t)1 << (8 * bytes - 1);
    if (is_signed(key->type) && bytes < 8 && (x & top)) x |= ~(top - 1);
    int64_t value;
    memcpy(&value, &x, sizeof value); /* the bits, whatever the sign */
    *out = value;
    return true;
}

bool mz_gguf_real(const mz_gguf_key *key, uint64_t i, double *out)
{
    int64_t whole;
    if (mz_gguf_int(key, i, &whole)) {
        *out = (double)whole;
        return true;
    }
    if (i >= key->count) return false;
    float f;
    if (key->type == MZ_GGUF_F32) {
        memcpy(&f, key->data + i * 4, 4);
        *out = (double)f;
        return true;
    }
    if (key->type != MZ_GGUF_F64) return false;
    memcpy(out, key->data + i * 8, 8);
    return true;
}

bool mz_gguf_bool(const mz_gguf_key *key, bool *out)
{
    if (key->type != MZ_GGUF_BOOL || key->is_array) return false;
    *out = key->data[0] != 0;
    return true;
}

bool mz_gguf_text_next(const mz_gguf_key *key, uint64_t *at, const char **text, size_t *bytes)
{
    if (key->type != MZ_GGUF_TEXT || *at >= key->bytes) return false;
    const unsigned char *p = key->data + *at;
    *bytes = (size_t)word(p, 8);
    *text = (const char *)p + 8;
    *at += 8 + *bytes;
    return true;
}

mz_err mz_gguf_bad_key(const mz_gguf *f, const mz_gguf_key *key, mz_err code, const char *what)
{
    const mz_err err = MZ_FAIL(code, "%s: %s", key->name, what);
    mz_note_where(f->path, key->name, (int64_t)key->offset);
    return err;
}

mz_err mz_gguf_bad_tensor(const mz_gguf *f, const mz_gguf_tensor *t, mz_err code, const char *what)
{
    const mz_err err = MZ_FAIL(code, "%s: %s", t->name, what);
    mz_note_where(f->path, t->name, (int64_t)t->offset);
    return err;
}
