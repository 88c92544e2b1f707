/* SPDX-License-Identifier: Apache-2.0 */
/* text/encode.c - text to ids: added tokens, normalisation, pieces, and a cache of pieces.
 *
 * Words repeat, so most pieces are found in a direct-mapped cache: 16 bytes of key (the piece and
 * its length) and up to three ids, half a cache line. Floor: text. */
#include "base/mem.h"
#include "text/hash.h"
#include "text/whole.h"

#include <string.h>

enum { CACHE_SIZE = 1 << 16, KEY_MAX = 15, CACHED_IDS = 3, AHEAD = 16 };
enum { LONG_SIZE = 1 << 15, LONG_MAX = 31, LONG_IDS = 7 };

typedef struct entry {
    uint64_t low, high; /* the piece, zeros, its length in the last byte */
    int32_t id[CACHED_IDS];
    uint32_t count;
} entry;

/* A line of the processor's cache for one piece that does not fit an entry. */
typedef struct long_entry {
    char bytes[LONG_MAX];
    unsigned char n; /* 0: none */
    int32_t id[LONG_IDS];
    uint32_t count;
} long_entry;

/* A piece of text on its way to ids. */
typedef struct span {
    size_t at, n;
    uint64_t low, high;
    uint64_t hash; /* of a piece that either cache may have */
} span;

struct mz_encoder {
    const mz_tokenizer *tokenizer;
    mz_bpe_work work;
    mz_str normal;
    span ahead[AHEAD];
    entry cache[CACHE_SIZE];
    long_entry longer[LONG_SIZE];
};

void mz_ids_clear(mz_ids *ids)
{
    mz_mem_free(ids->at);
    *ids = (mz_ids){0};
}

static mz_err ids_reserve(mz_ids *ids, size_t more)
{
    if (more <= ids->cap - ids->count) return MZ_OK;
    size_t cap = ids->cap < 256 ? 256 : ids->cap;
    if (more > INT64_MAX / 16 || ids->count > INT64_MAX / 16)
        return MZ_FAIL(MZ_ENOMEM, "%zu + %zu ids", ids->count, more);
    while (cap - ids->count < more) cap *= 2;
    MZ_TRY(mz_mem_grow(&ids->at, (int64_t)cap, sizeof *ids->at));
    ids->cap = cap;
    return MZ_OK;
}

mz_err mz_ids_add(mz_ids *ids, int64_t id)
{
    MZ_TRY(ids_reserve(ids, 1));
    ids->at[ids->count++] = (int32_t)id;
    return MZ_OK;
}

mz_err mz_encoder_new(mz_encoder **out, const mz_tokenizer *t)
{
    MZ_NEED(out && t, "encoder or tokenizer is NULL");
    mz_encoder *e = NULL;
    MZ_TRY(mz_mem_new(&e, 1, sizeof *e));
    mz_mem_prefer_large_pages(e);
    e->tokenizer = t;
    *out = e;
    return MZ_OK;
}

void mz_encoder_free(mz_encoder *e)
{
    if (!e) return;
    mz_bpe_work_clear(&e->work);
    mz_str_clear(&e->normal);
    mz_mem_free(e);
}

static mz_err add_uncached(mz_encoder *e, const char *piece, size_t n, mz_ids *ids, size_t *count)
{
    MZ_TRY(ids_reserve(ids, n));
    return mz_bpe_piece(&e->tokenizer->bpe, &e->work, piece, n, ids->at + ids->count, count);
}

/* n <= KEY_MAX. `left` bytes can be read from the piece on. */
static inline void key_of(const char *piece, size_t n, size_t left, uint64_t *low, uint64_t *high)
{
    uint64_t a = 0, b = 0;
    if (left >= 16) {
        memcpy(&a, piece, 8);
        memcpy(&b, piece + 8, 8);
        a = n < 8 ? a & (((uint64_t)1 << 8 * n) - 1) : a;
        b = n <= 8 ? 0 : b & (((uint64_t)1 << 8 * (n - 8)) - 1);
    } else {
        memcpy(&a, piece, n < 8 ? n : 8);
        if (n > 8) memcpy(&b, piece + 8, n - 8);
    }
    *low = a;
    *high = b | (uint64_t)n << 56;
}

/* The caches are larger than what is near the processor: entries are asked for some pieces ahead.
 */
static inline void prepare(mz_encoder *e, span *p, const char *text, size_t left)
{
    if (p->n <= KEY_MAX) {
        key_of(text, p->n, left, &p->low, &p->high);
        p->hash = mz_hash_fold(p->low ^ 0x2d358dccaa6c78a5u, p->high ^ 0x8bb84b93962eacc9u);
        __builtin_prefetch(&e->cache[p->hash % CACHE_SIZE]);
    } else if (p->n <= LONG_MAX) {
        p->hash = mz_hash_bytes(text, p->n);
        __builtin_prefetch(&e->longer[p->hash % LONG_SIZE]);
    }
}

static inline void take_ids(mz_ids *ids, const int32_t *id, size_t room, size_t count)
{
    memcpy(ids->at + ids->count, id, room * sizeof *id);
    ids->count += count;
}

/* A piece that is in no entry of the first cache. */
static mz_err add_longer(mz_encoder *e, const span *p, const char *text, mz_ids *ids)
{
    long_entry *c = p->n <= LONG_MAX ? &e->longer[p->hash % LONG_SIZE] : NULL;
    size_t count = 0;
    if (c && c->n == p->n && memcmp(c->bytes, text, p->n) == 0) {
        take_ids(ids, c->id, LONG_IDS, c->count);
        return MZ_OK;
    }
    MZ_TRY(add_uncached(e, text, p->n, ids, &count));
    const int32_t *id = ids->at + ids->count;
    if (p->n <= KEY_MAX && count <= CACHED_IDS) {
        entry *few = &e->cache[p->hash % CACHE_SIZE];
        *few = (entry){.low = p->low, .high = p->high, .count = (uint32_t)count};
        memcpy(few->id, id, count * sizeof *id);
    } else if (c && count <= LONG_IDS) {
        c->n = (unsigned char)p->n;
        c->count = (uint32_t)count;
        memcpy(c->bytes, text, p->n);
        memcpy(c->id, id, count * sizeof *id);
    }
    ids->count += count;
    return MZ_OK;
}

static inline mz_err add_piece(mz_encoder *e, const span *p, const char *text, mz_ids *ids)
{
    MZ_TRY(ids_reserve(ids, LONG_IDS));
    if (p->n <= KEY_MAX) {
        const entry *c = &e->cache[p->hash % CACHE_SIZE];
        if (c->low == p->low && c->high == p->high) {
            take_ids(ids, c->id, CACHED_IDS, c->count);
            return MZ_OK;
        }
    }
    return add_longer(e, p, text, ids);
}

static mz_err add_pieces(mz_encoder *e, const char *text, size_t bytes, mz_ids *ids)
{
    span *ahead = e->ahead;
    mz_split s;
    mz_split_begin(&s, e->tokenizer->split, &e->tokenizer->unicode, text, bytes);
    while (s.at < s.end) {
        int n = 0;
        for (; n < AHEAD && s.at < s.end; n++) {
            ahead[n].at = s.at;
            ahead[n].n = mz_split_next(&s) - ahead[n].at;
            prepare(e, &ahead[n], text + ahead[n].at, bytes - ahead[n].at);
        }
        for (int i = 0; i < n; i++) MZ_TRY(add_piece(e, &ahead[i], text + ahead[i].at, ids));
    }
    return MZ_OK;
}

/* What is left of a search when `trie` is used on this text: pieces between tokens go to `rest`. */
typedef mz_err between(mz_encoder *e, const mz_added_search *s, const char *text, size_t bytes,
                       mz_ids *ids);

static mz_err add_around(mz_encoder *e, mz_added_search *s, between *rest, mz_ids *ids)
{
    const mz_added_token *token;
    size_t first, end, done = 0;
    while (mz_added_next(s, &token, &first, &end)) {
        if (first > done) MZ_TRY(rest(e, s, s->text + done, first - done, ids));
        MZ_TRY(mz_ids_add(ids, token->id));
        done = end;
    }
    return done < s->bytes ? rest(e, s, s->text + done, s->bytes - done, ids) : MZ_OK;
}

static mz_err between_normalized(mz_encoder *e, const mz_added_search *s, const char *text,
                                 size_t bytes, mz_ids *ids)
{
    (void)s;
    return add_pieces(e, text, bytes, ids);
}

/* Text between the tokens that are looked for before normalisation. `s` NULL: none is. */
static mz_err between_raw(mz_encoder *e, const mz_added_search *s, const char *text, size_t bytes,
                          mz_ids *ids)
{
    const mz_tokenizer *t = e->tokenizer;
    const size_t raw_bytes = bytes;
    const char *raw = text;
    if (t->nfc) {
        bool same = true;
        e->normal.len = 0;
        MZ_TRY(mz_nfc(&t->unicode, text, bytes, &e->normal, &same));
        if (!same) text = e->normal.text, bytes = e->normal.len;
    }
    if (!s || t->added.normalized.count == 0) return add_pieces(e, text, bytes, ids);
    mz_added_search inner = *s;
    inner.trie = &t->added.normalized;
    inner.text = text, inner.at = 0, inner.bytes = bytes;
    inner.shift = s->shift + (size_t)(raw - s->text);
    if (text != raw && s->spans) {
        /* Places have moved: trusted as a whole or not at all. */
        for (int64_t i = 0; i < s->n_spans; i++)
            if (inner.shift >= s->spans[i].first && inner.shift + raw_bytes <= s->spans[i].end)
                inner.spans = NULL;
        if (inner.spans) inner.n_spans = 0;
    }
    return add_around(e, &inner, between_normalized, ids);
}

/* spans NULL: added tokens count wherever they stand. */
static mz_err encode_added(mz_encoder *e, const char *text, size_t bytes, const mz_span *spans,
                           int64_t n_spans, mz_ids *ids)
{
    const mz_tokenizer *t = e->tokenizer;
    mz_added_search s = {.added = &t->added,
                         .trie = &t->added.raw,
                         .unicode = &t->unicode,
                         .text = text,
                         .bytes = bytes,
                         .spans = spans,
                         .n_spans = n_spans};
    return add_around(e, &s, between_raw, ids);
}

mz_err mz_encode_spans(mz_encoder *e, const char *text, size_t bytes, const mz_span *trusted,
                       int64_t n_trusted, mz_ids *ids)
{
    MZ_NEED(e && ids && (text || bytes == 0), "encoder, text or ids is NULL");
    MZ_NEED(n_trusted >= 0 && (trusted || n_trusted == 0), "spans are NULL");
    const size_t before = ids->count;
    const mz_err err = n_trusted > 0 ? encode_added(e, text, bytes, trusted, n_trusted, ids)
                                     : between_raw(e, NULL, text, bytes, ids);
    if (err != MZ_OK) ids->count = before;
    return err;
}

mz_err mz_encode(mz_encoder *e, const char *text, size_t bytes, unsigned flags, mz_ids *ids)
{
    MZ_NEED(e && ids && (text || bytes == 0), "encoder, text or ids is NULL");
    const int64_t bos = e->tokenizer->bos;
    const size_t before = ids->count;
    mz_err err = MZ_OK;
    if (flags & MZ_ENCODE_BOS) {
        if (bos < 0) return MZ_FAIL(MZ_ENOTSUP, "this tokenizer has no bos token");
        err = mz_ids_add(ids, bos);
    }
    if (err == MZ_OK)
        err = flags & MZ_ENCODE_SPECIAL ? encode_added(e, text, bytes, NULL, 0, ids)
                                        : between_raw(e, NULL, text, bytes, ids);
    if (err != MZ_OK) ids->count = before;
    return err;
}
