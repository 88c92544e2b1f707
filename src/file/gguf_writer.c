/* SPDX-License-Identifier: Apache-2.0 */
/* file/gguf_writer.c - writing one GGUF file (version 3, little-endian, alignment 32), streamed.
 *
 * Keys and shapes are gathered as the bytes that the file will have; after `begin` the tensors'
 * bytes only pass through. Nothing stands under the final name before commit.
 * Floor:  file.
 * Errors: MZ_EINVAL: a call out of order, a name twice or too long, a row that is no whole number
 *         of blocks, too few or too many bytes; MZ_EIO; MZ_ENOMEM. */
#include "file/gguf.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/size.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

enum { RANK_MAX = 4, NAME_BYTES_MOST = 63, ALIGNMENT = 32 };

typedef struct entry {
    char name[NAME_BYTES_MOST + 1];
    mz_ggml type;
    int rank;
    int64_t dim[RANK_MAX];
    size_t bytes;
} entry;

struct mz_gguf_writer {
    char *path;
    mz_writer *out; /* NULL before begin */
    mz_str keys;    /* as the file has them */
    char **names;   /* of the keys */
    int64_t n_keys;
    entry *list;
    int64_t n, cap;
    int64_t now;   /* tensor whose bytes come next */
    size_t so_far; /* of its bytes */
};

mz_err mz_gguf_writer_new(mz_gguf_writer **w, const char *path)
{
    MZ_NEED(w && path, "no path or no place for a writer");
    mz_gguf_writer *made = NULL;
    MZ_TRY(mz_mem_new(&made, 1, sizeof *made));
    const mz_err err = mz_mem_strdup(&made->path, path);
    if (err != MZ_OK) {
        mz_mem_free(made);
        return err;
    }
    *w = made;
    return MZ_OK;
}

static void free_writer(mz_gguf_writer *w)
{
    for (int64_t i = 0; i < w->n_keys; i++) mz_mem_free(w->names[i]);
    mz_mem_free(w->names);
    mz_str_clear(&w->keys);
    mz_mem_free(w->list);
    mz_mem_free(w->path);
    mz_mem_free(w);
}

void mz_gguf_writer_abort(mz_gguf_writer *w)
{
    if (!w) return;
    if (w->out) mz_writer_abort(w->out);
    free_writer(w);
}

/* ---- bytes ---- */

static mz_err add_word(mz_str *s, uint64_t x, size_t bytes)
{
    char raw[8];
    for (size_t i = 0; i < bytes; i++) raw[i] = (char)(x >> 8 * i & 0xff);
    return mz_str_add(s, raw, bytes);
}

static mz_err add_text(mz_str *s, const char *text, size_t bytes)
{
    MZ_TRY(add_word(s, bytes, 8));
    return mz_str_add(s, text, bytes);
}

/* ---- keys ---- */

/* Name and type; the value's bytes follow. A failure in between leaves half a key behind: the
 * writer is then only good for abort, which every caller does. */
static mz_err begin_key(mz_gguf_writer *w, const char *key, mz_gguf_type type)
{
    MZ_NEED(w && key && key[0] && strlen(key) <= 65535, "no writer, or no usable key");
    MZ_NEED(!w->out, "%s is set after begin", key);
    MZ_NEED(type >= 0 && type < MZ_GGUF_TYPE_COUNT, "%s has no known type", key);
    MZ_TRY(mz_mem_grow(&w->names, w->n_keys + 1, sizeof *w->names));
    MZ_TRY(mz_mem_strdup(&w->names[w->n_keys], key));
    w->n_keys++;
    MZ_TRY(add_text(&w->keys, key, strlen(key)));
    return add_word(&w->keys, (uint64_t)type, 4);
}

static mz_err begin_array(mz_gguf_writer *w, const char *key, mz_gguf_type type, uint64_t n)
{
    MZ_NEED(type != MZ_GGUF_ARRAY, "%s would be an array of arrays", key);
    MZ_TRY(begin_key(w, key, MZ_GGUF_ARRAY));
    MZ_TRY(add_word(&w->keys, (uint64_t)type, 4));
    return add_word(&w->keys, n, 8);
}

mz_err mz_gguf_writer_u32(mz_gguf_writer *w, const char *key, int64_t value)
{
    MZ_NEED(value >= 0 && value <= UINT32_MAX, "%s is %lld, which is no u32", key,
            (long long)value);
    MZ_TRY(begin_key(w, key, MZ_GGUF_U32));
    return add_word(&w->keys, (uint64_t)value, 4);
}

mz_err mz_gguf_writer_f32(mz_gguf_writer *w, const char *key, double value)
{
    const float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    MZ_TRY(begin_key(w, key, MZ_GGUF_F32));
    return add_word(&w->keys, bits, 4);
}

mz_err mz_gguf_writer_bool(mz_gguf_writer *w, const char *key, bool value)
{
    MZ_TRY(begin_key(w, key, MZ_GGUF_BOOL));
    return add_word(&w->keys, value, 1);
}

mz_err mz_gguf_writer_text(mz_gguf_writer *w, const char *key, const char *value)
{
    MZ_NEED(value, "no text");
    MZ_TRY(begin_key(w, key, MZ_GGUF_TEXT));
    return add_text(&w->keys, value, strlen(value));
}

mz_err mz_gguf_writer_array(mz_gguf_writer *w, const char *key, mz_gguf_type type, int64_t n,
                            const void *values)
{
    static const size_t size[MZ_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    MZ_NEED(type >= 0 && type < MZ_GGUF_TYPE_COUNT && size[type] > 0, "no array of numbers");
    MZ_NEED(n >= 0 && (values || n == 0), "no values");
    size_t bytes = 0;
    MZ_NEED(mz_mul((size_t)n, size[type], &bytes), "an array of more bytes than can be");
    MZ_TRY(begin_array(w, key, type, (uint64_t)n));
    return mz_str_add(&w->keys, values, bytes);
}

mz_err mz_gguf_writer_texts(mz_gguf_writer *w, const char *key, int64_t n, const char *const *texts,
                            const size_t *bytes)
{
    MZ_NEED(n >= 0 && (texts || n == 0), "no texts");
    MZ_TRY(begin_array(w, key, MZ_GGUF_TEXT, (uint64_t)n));
    for (int64_t i = 0; i < n; i++)
        MZ_TRY(add_text(&w->keys, texts[i], bytes ? bytes[i] : strlen(texts[i])));
    return MZ_OK;
}

mz_err mz_gguf_writer_copy(mz_gguf_writer *w, const mz_gguf_key *key)
{
    MZ_NEED(key, "no key");
    MZ_TRY(key->is_array ? begin_array(w, key->name, key->type, key->count)
                         : begin_key(w, key->name, key->type));
    return mz_str_add(&w->keys, (const char *)key->data, (size_t)key->bytes);
}

/* ---- tensors ---- */

mz_err mz_gguf_writer_declare(mz_gguf_writer *w, const char *name, mz_ggml type, int rank,
                              const int64_t *dim)
{
    MZ_NEED(w && name && dim && rank >= 1 && rank <= RANK_MAX, "no writer, name or shape");
    MZ_NEED(!w->out, "%s is declared after begin", name);
    MZ_NEED(name[0] && strlen(name) <= NAME_BYTES_MOST, "%s is no name of 1 to 63 bytes", name);
    const int64_t block = mz_ggml_block(type);
    int64_t count = 1;
    entry e = {.type = type, .rank = rank};
    MZ_NEED(block > 0, "%s has no known type", name);
    for (int i = 0; i < rank; i++) {
        MZ_NEED(dim[i] >= 1 && mz_mul_i64(count, dim[i], &count), "%s: a shape that cannot be",
                name);
        e.dim[i] = dim[i];
    }
    MZ_NEED(dim[rank - 1] % block == 0, "%s: rows of %lld are no whole number of %s's blocks", name,
            (long long)dim[rank - 1], mz_ggml_name(type));
    MZ_NEED(mz_mul((size_t)(count / block), mz_ggml_block_bytes(type), &e.bytes),
            "%s: a shape that cannot be", name);
    if (w->n == w->cap) {
        const int64_t cap = w->cap ? 2 * w->cap : 64;
        MZ_TRY(mz_mem_grow(&w->list, cap, sizeof *w->list));
        w->cap = cap;
    }
    memcpy(e.name, name, strlen(name));
    w->list[w->n++] = e;
    return MZ_OK;
}

static int by_text(const void *pa, const void *pb)
{
    const char *const *a = pa, *const *b = pb;
    return strcmp(*a, *b);
}

/* Sorts names; they are pointers that nobody needs in order. */
static mz_err check_once(const char **names, int64_t n)
{
    if (n > 0) qsort(names, (size_t)n, sizeof *names, by_text);
    for (int64_t i = 1; i < n; i++)
        MZ_NEED(strcmp(names[i - 1], names[i]) != 0, "%s is there twice", names[i]);
    return MZ_OK;
}

static mz_err check_names(const mz_gguf_writer *w)
{
    const char **names = NULL;
    const int64_t most = w->n > w->n_keys ? w->n : w->n_keys;
    MZ_TRY(mz_mem_new(&names, most, sizeof *names));
    for (int64_t i = 0; i < w->n_keys; i++) names[i] = w->names[i];
    mz_err err = check_once(names, w->n_keys);
    for (int64_t i = 0; i < w->n; i++) names[i] = w->list[i].name;
    if (err == MZ_OK) err = check_once(names, w->n);
    mz_mem_free(names);
    return err;
}

static mz_err add_padding(mz_str *s)
{
    static const char zeros[ALIGNMENT];
    const size_t over = s->len % ALIGNMENT;
    return over ? mz_str_add(s, zeros, ALIGNMENT - over) : MZ_OK;
}

static uint32_t number_of(mz_ggml type)
{
    static const uint32_t number[MZ_GGML_COUNT] = {
#define MZ_GGML_NUMBER(name, number, elements, bytes) number,
        MZ_GGML_LIST(MZ_GGML_NUMBER)
#undef MZ_GGML_NUMBER
    };
    return number[type];
}

static mz_err add_header(mz_str *s, const mz_gguf_writer *w)
{
    size_t at = 0;
    MZ_TRY(mz_str_add(s, "GGUF\3\0\0\0", 8));
    MZ_TRY(add_word(s, (uint64_t)w->n, 8));
    MZ_TRY(add_word(s, (uint64_t)w->n_keys, 8));
    MZ_TRY(mz_str_add(s, w->keys.text, w->keys.len));
    for (int64_t i = 0; i < w->n; i++) {
        const entry *e = &w->list[i];
        MZ_TRY(add_text(s, e->name, strlen(e->name)));
        MZ_TRY(add_word(s, (uint64_t)e->rank, 4));
        for (int k = e->rank - 1; k >= 0; k--) MZ_TRY(add_word(s, (uint64_t)e->dim[k], 8));
        MZ_TRY(add_word(s, number_of(e->type), 4));
        MZ_TRY(add_word(s, at, 8));
        MZ_NEED(mz_add(at, e->bytes, &at) && mz_align_up(at, ALIGNMENT, &at),
                "the tensors take more bytes than can be");
    }
    return add_padding(s);
}

mz_err mz_gguf_writer_begin(mz_gguf_writer *w)
{
    MZ_NEED(w && !w->out, "no writer, or begun twice");
    MZ_NEED(w->n_keys > 0, "%s: no keys", w->path);
    MZ_TRY(check_names(w));
    mz_str header = {0};
    mz_err err;
    MZ_TRY_GOTO(err, add_header(&header, w), done);
    MZ_TRY_GOTO(err, mz_writer_open(&w->out, w->path), done);
    MZ_TRY_GOTO(err, mz_writer_put(w->out, header.text, header.len), done);
done:
    mz_str_clear(&header);
    return err;
}

mz_err mz_gguf_writer_put(mz_gguf_writer *w, const void *bytes, size_t n)
{
    static const char zeros[ALIGNMENT];
    MZ_NEED(w && w->out && (bytes || n == 0), "no writer, not begun, or no bytes");
    if (n == 0) return MZ_OK;
    MZ_NEED(w->now < w->n && n <= w->list[w->now].bytes - w->so_far,
            "%zu bytes are more than tensor %lld of the file still wants", n, (long long)w->now);
    MZ_TRY(mz_writer_put(w->out, bytes, n));
    w->so_far += n;
    if (w->so_far < w->list[w->now].bytes) return MZ_OK;
    const size_t over = w->so_far % ALIGNMENT;
    w->now++;
    w->so_far = 0;
    return over ? mz_writer_put(w->out, zeros, ALIGNMENT - over) : MZ_OK;
}

mz_err mz_gguf_writer_commit(mz_gguf_writer *w)
{
    MZ_NEED(w, "no writer");
    if (!w->out || w->now < w->n) {
        const mz_err err = MZ_FAIL(MZ_EINVAL, "%s: commit with %lld of %lld tensors written",
                                   w->path, (long long)w->now, (long long)w->n);
        mz_gguf_writer_abort(w);
        return err;
    }
    const mz_err err = mz_writer_commit(w->out);
    free_writer(w);
    return err;
}
