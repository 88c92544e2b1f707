/* SPDX-License-Identifier: Apache-2.0 */
/* text/bpe.c - the vocabulary's tables. Floor: text. */
#include "text/bpe.h"
#include "base/mem.h"
#include "text/hash.h"
#include "text/unicode.h"

#include <stdio.h>
#include <string.h>

/* Ids take memory whether they are used or not: this many are granted, then a few for each token.
 */
enum { IDS_FREE = 1 << 20, IDS_PER_TOKEN = 4, BLOCK = 64, NONE = -1 };
/* Ten times the largest vocabulary there is. A merge makes a token, but some files list every way
 * to make one: Llama-3's has 280,147 for 128,000 tokens. */
enum { TOKENS_MAX = 1 << 21, MERGES_FREE = 1 << 16, MERGES_PER_TOKEN = 4 };
/* Ranks and places share the 31 bits of a key: ranks are below MERGES_PER_TOKEN * TOKENS_MAX +
 * MERGES_FREE. */
enum { PLACE_BITS = 7, PLACES = 1 << PLACE_BITS, NONE_KEY = INT32_MAX };
#define NO_JOIN UINT64_MAX
_Static_assert((int64_t)MERGES_PER_TOKEN *TOKENS_MAX + MERGES_FREE < INT32_MAX >> PLACE_BITS,
               "ranks");
_Static_assert((int)MZ_BPE_SHORT < (int)PLACES, "places");

static mz_err bad(const mz_vocab *v, const char *what, const char *list, int64_t i)
{
    char field[64];
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: %s %lld: %s", v->file ? v->file : "vocabulary",
                               list, (long long)i, what);
    (void)snprintf(field, sizeof field, "%s[%lld]", list, (long long)i);
    mz_note_where(v->file, field, -1);
    return err;
}

/* ---- the alphabet: each byte is written as a letter ---- */

uint32_t mz_bpe_letter(unsigned char byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173)) return byte;
    /* The 68 others, in order, from U+0100 on. */
    if (byte < 33) return 0x100u + byte;
    if (byte < 161) return 0x100u + 33 + byte - 127u;
    return 0x143;
}

/* The byte that a letter stands for, -1 if it is none of the alphabet. */
static int byte_of(uint32_t point)
{
    if (point < 0x100) return mz_bpe_letter((unsigned char)point) == point ? (int)point : -1;
    if (point < 0x100 + 33) return (int)(point - 0x100);
    if (point < 0x143) return (int)(point - 0x100 - 33 + 127);
    return point == 0x143 ? 173 : -1;
}

bool mz_bpe_unwrap(const char *text, size_t bytes, char *out, size_t *out_bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = 0;
    for (size_t at = 0; at < bytes;) {
        uint32_t point = p[at];
        if (point >= 0x80) {
            at += mz_utf8_read(p + at, bytes - at, &point);
        } else {
            at++;
        }
        const int byte = byte_of(point);
        if (byte < 0) return false;
        out[n++] = (char)byte;
    }
    *out_bytes = n;
    return true;
}

/* ---- tokens ---- */

/* A text on its way into the table. Tables of this size are not in any cache, so texts are looked
 * up in blocks: all of a block are asked for before the first is waited for. */
typedef struct probe {
    const char *bytes;
    mz_bpe_slot key; /* what belongs into the slot, but for the id */
    uint32_t at;     /* where to begin */
} probe;

static probe probe_of(const mz_bpe *bpe, const char *bytes, size_t n)
{
    probe p = {.bytes = bytes, .key.length = (uint32_t)n};
    uint64_t hash;
    if (n <= sizeof p.key.word) {
        memcpy(&p.key.word, bytes, n);
        hash = mz_hash_fold(p.key.word ^ 0x2d358dccaa6c78a5u, n ^ 0x8bb84b93962eacc9u);
    } else {
        p.key.word = hash = mz_hash_bytes(bytes, n);
    }
    p.at = (uint32_t)hash & bpe->slot_mask;
    __builtin_prefetch(&bpe->slots[p.at]);
    return p;
}

/* The slot of the text, or the empty one where it would go. */
static mz_bpe_slot *slot_of(const mz_bpe *bpe, const probe *p)
{
    for (uint32_t i = p->at;; i = (i + 1) & bpe->slot_mask) {
        mz_bpe_slot *slot = &bpe->slots[i];
        if (slot->id == 0) return slot;
        if (slot->word != p->key.word || slot->length != p->key.length) continue;
        const char *there = bpe->bytes + bpe->texts[slot->id - 1].start;
        if (slot->length <= sizeof slot->word || memcmp(there, p->bytes, slot->length) == 0)
            return slot;
    }
}

static int32_t find(const mz_bpe *bpe, const probe *p)
{
    const uint32_t id = slot_of(bpe, p)->id;
    return id ? (int32_t)(id - 1) : NONE;
}

int32_t mz_bpe_find(const mz_bpe *bpe, const char *bytes, size_t n)
{
    const probe p = probe_of(bpe, bytes, n);
    return find(bpe, &p);
}

static mz_err count_ids(const mz_vocab *v, int64_t *count, size_t *bytes)
{
    int64_t ids = 0;
    size_t sum = 0;
    if (v->n_tokens > TOKENS_MAX)
        return bad(v, "more than two million tokens", "vocab", TOKENS_MAX);
    const int64_t merges = MERGES_PER_TOKEN * v->n_tokens + MERGES_FREE;
    if (v->n_merges > merges) return bad(v, "many more merges than tokens", "merges", merges);
    for (int64_t i = 0; i < v->n_tokens; i++) {
        if (v->tokens[i].id < 0 || v->tokens[i].id >= INT32_MAX)
            return bad(v, "an id that is out of range", "vocab", i);
        if (v->tokens[i].id >= ids) ids = v->tokens[i].id + 1;
        sum += v->tokens[i].bytes;
        if (sum >= MZ_BPE_LITERAL) return bad(v, "more than 1 GiB of tokens", "vocab", i);
    }
    if (ids > IDS_FREE && ids / IDS_PER_TOKEN > v->n_tokens)
        return bad(v, "an id far beyond the number of tokens", "vocab", v->n_tokens - 1);
    *count = ids;
    *bytes = sum;
    return MZ_OK;
}

static mz_err power_of_two(int64_t least, uint32_t *out)
{
    uint32_t size = 64;
    while (size < least) {
        if (size > UINT32_MAX / 2) return MZ_FAIL(MZ_ENOMEM, "a table of %lld", (long long)least);
        size *= 2;
    }
    *out = size;
    return MZ_OK;
}

/* Token i into bpe->bytes and texts. *p is for the table; its length is 0 if it stays out of it. */
static mz_err take_token(mz_bpe *bpe, const mz_vocab *v, int64_t i, probe *p)
{
    const mz_vocab_token *t = &v->tokens[i];
    char *bytes = bpe->bytes + bpe->bytes_used;
    size_t n = 0;
    if (bpe->texts[t->id].start != UINT32_MAX) return bad(v, "its id is taken", "vocab", i);
    const bool literal = !mz_bpe_unwrap(t->text, t->bytes, bytes, &n);
    if (literal) memcpy(bytes, t->text, n = t->bytes);
    *p = probe_of(bpe, bytes, literal ? 0 : n);
    bpe->texts[t->id] = (mz_bpe_text){(uint32_t)bpe->bytes_used,
                                      (uint32_t)n | (literal ? (uint32_t)MZ_BPE_LITERAL : 0)};
    bpe->bytes_used += n;
    return MZ_OK;
}

static mz_err add_tokens(mz_bpe *bpe, const mz_vocab *v)
{
    probe probes[BLOCK];
    for (int64_t first = 0; first < v->n_tokens; first += BLOCK) {
        const int64_t n = v->n_tokens - first < BLOCK ? v->n_tokens - first : BLOCK;
        for (int64_t i = 0; i < n; i++) MZ_TRY(take_token(bpe, v, first + i, &probes[i]));
        for (int64_t i = 0; i < n; i++) {
            if (probes[i].key.length == 0) continue;
            mz_bpe_slot *slot = slot_of(bpe, &probes[i]);
            if (slot->id) return bad(v, "a token that stands twice", "vocab", first + i);
            *slot = probes[i].key;
            slot->id = (uint32_t)v->tokens[first + i].id + 1;
        }
    }
    for (int b = 0; b < 256; b++) {
        const char byte = (char)b;
        bpe->byte_id[b] = mz_bpe_find(bpe, &byte, 1);
        if (bpe->byte_id[b] < 0 && v->unknown >= 0) bpe->byte_id[b] = (int32_t)v->unknown;
    }
    return MZ_OK;
}

/* ---- merges ---- */

/* Its upper bits are the place in a table, its lower ones the bit of a filter. */
static inline uint32_t right_hash(uint32_t right)
{
    return right * 0x9e3779b1u;
}

/* The slot of `right` in the table of a left side, or the empty one where it would go. */
static inline mz_bpe_pair *pair_slot(const mz_bpe *bpe, uint32_t where, uint32_t right)
{
    mz_bpe_pair *table = bpe->pairs + (where >> 5);
    const uint32_t bits = where & 31, mask = ((uint32_t)1 << bits) - 1;
    uint32_t slot = right_hash(right) >> (32 - bits);
    while (table[slot].right != right && table[slot].right != UINT32_MAX) slot = (slot + 1) & mask;
    return &table[slot];
}

/* A merge on its way into the table. */
typedef struct merge_probe {
    probe a, b;
    size_t ab_bytes; /* b's text follows a's */
} merge_probe;

/* One whose texts are known. */
typedef struct merge {
    uint32_t left, right, id;
} merge;

/* The merge's texts into `room`, which moves on. */
static mz_err take_merge(const mz_bpe *bpe, const mz_vocab *v, int64_t i, char **room,
                         merge_probe *p)
{
    const mz_vocab_merge *m = &v->merges[i];
    char *text = *room;
    size_t a = 0, b = 0;
    if (!mz_bpe_unwrap(m->a, m->a_bytes, text, &a) ||
        !mz_bpe_unwrap(m->b, m->b_bytes, text + a, &b))
        return bad(v, "a merge outside the byte-level alphabet", "merges", i);
    p->a = probe_of(bpe, text, a);
    p->b = probe_of(bpe, text + a, b);
    p->ab_bytes = a + b;
    *room += a + b;
    return MZ_OK;
}

/* The id of a merge's text. Tokens are numbered as they were learned, so it is nearly always that
 * of the merge before (`last`) or the next one. */
static int32_t joined_id(const mz_bpe *bpe, const merge_probe *p, uint32_t last)
{
    for (uint32_t id = last; id <= last + 1 && id < bpe->count; id++)
        if (bpe->texts[id].start != UINT32_MAX && bpe->texts[id].length == p->ab_bytes &&
            memcmp(bpe->bytes + bpe->texts[id].start, p->a.bytes, p->ab_bytes) == 0)
            return (int32_t)id;
    return mz_bpe_find(bpe, p->a.bytes, p->ab_bytes);
}

static mz_err find_merge(const mz_bpe *bpe, const mz_vocab *v, int64_t i, const merge_probe *p,
                         merge *m)
{
    const uint32_t last = i > 0 ? m[-1].id : 0;
    const int32_t a = find(bpe, &p->a), b = find(bpe, &p->b), ab = joined_id(bpe, p, last);
    if (a < 0 || b < 0) return bad(v, "a merge of something that is no token", "merges", i);
    if (ab < 0) return bad(v, "a merge to something that is no token", "merges", i);
    *m = (merge){(uint32_t)a, (uint32_t)b, (uint32_t)ab};
    return MZ_OK;
}

static mz_err find_block(const mz_bpe *bpe, const mz_vocab *v, int64_t first, char *room, merge *m)
{
    merge_probe probes[BLOCK];
    const int64_t n = v->n_merges - first < BLOCK ? v->n_merges - first : BLOCK;
    for (int64_t i = 0; i < n; i++) MZ_TRY(take_merge(bpe, v, first + i, &room, &probes[i]));
    for (int64_t i = 0; i < n; i++)
        MZ_TRY(find_merge(bpe, v, first + i, &probes[i], &m[first + i]));
    return MZ_OK;
}

static mz_err find_merges(const mz_bpe *bpe, const mz_vocab *v, merge *merges)
{
    size_t longest = 0, block = 0; /* bytes of a block of merges */
    char *room = NULL;
    for (int64_t i = 0; i < v->n_merges; i++) {
        if (i % BLOCK == 0) block = 0;
        block += v->merges[i].a_bytes + v->merges[i].b_bytes;
        if (block > longest) longest = block;
    }
    MZ_TRY(mz_mem_new(&room, (int64_t)longest + 1, 1));
    mz_err err = MZ_OK;
    for (int64_t i = 0; err == MZ_OK && i < v->n_merges; i += BLOCK)
        err = find_block(bpe, v, i, room, merges);
    mz_mem_free(room);
    return err;
}

/* The place of each left side's table, a third of it empty at least; `where` has the number of its
 * pairs. Gives the size of all: less than 4 slots a merge, of which there are less than 2^24. */
static uint32_t place_tables(mz_bpe *bpe)
{
    uint32_t used = 0;
    for (int64_t i = 0; i < bpe->count; i++) {
        const uint32_t pairs = bpe->lefts[i].where, least = pairs + pairs / 2 + 1;
        uint32_t bits = 1;
        if (pairs == 0) continue;
        while ((uint32_t)1 << bits < least) bits++;
        bpe->lefts[i].where = used << 5 | bits;
        used += (uint32_t)1 << bits;
    }
    return used;
}

static void fill_tables(mz_bpe *bpe, const merge *merges, int64_t n)
{
    for (int64_t i = 0; i < n; i++) { /* one that stands twice counts by its last place */
        const merge *m = &merges[i];
        mz_bpe_left *left = &bpe->lefts[m->left];
        left->filter |= (uint32_t)1 << (right_hash(m->right) & 31);
        *pair_slot(bpe, left->where, m->right) =
            (mz_bpe_pair){.right = m->right, .rank = (uint32_t)i, .id = m->id};
    }
}

static mz_err add_merges(mz_bpe *bpe, const mz_vocab *v)
{
    merge *merges = NULL;
    MZ_TRY(mz_mem_new(&merges, v->n_merges, sizeof *merges));
    mz_err err = find_merges(bpe, v, merges);
    if (err == MZ_OK) {
        for (int64_t i = 0; i < v->n_merges; i++) bpe->lefts[merges[i].left].where++;
        const uint32_t slots = place_tables(bpe);
        err = mz_mem_new(&bpe->pairs, slots, sizeof *bpe->pairs);
        if (err == MZ_OK) {
            mz_mem_prefer_large_pages(bpe->pairs);
            for (uint32_t i = 0; i < slots; i++) bpe->pairs[i].right = UINT32_MAX;
            fill_tables(bpe, merges, v->n_merges);
        }
    }
    mz_mem_free(merges);
    return err;
}

/* rank << 32 | id, NO_JOIN if the two are not joined. */
static inline uint64_t joins(const mz_bpe *bpe, uint32_t left, uint32_t right)
{
    const mz_bpe_left at = bpe->lefts[left];
    if (!(at.filter >> (right_hash(right) & 31) & 1)) return NO_JOIN;
    const mz_bpe_pair *pair = pair_slot(bpe, at.where, right);
    return pair->right == right ? (uint64_t)pair->rank << 32 | pair->id : NO_JOIN;
}

/* All pairs of bytes. Nearly every look-up for a fresh piece of text is one of these, and here
 * those of one script lie together. */
static void fill_byte_joins(mz_bpe *bpe)
{
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            const int32_t left = bpe->byte_id[a], right = bpe->byte_id[b];
            bpe->byte_joins[a << 8 | b] =
                left < 0 || right < 0 ? NO_JOIN : joins(bpe, (uint32_t)left, (uint32_t)right);
        }
}

mz_err mz_bpe_init(mz_bpe *bpe, const mz_vocab *v)
{
    mz_bpe b = {.ignore_merges = v->ignore_merges};
    size_t bytes = 0;
    uint32_t slots = 0;
    MZ_TRY(count_ids(v, &b.count, &bytes));
    if (v->unknown >= b.count) return bad(v, "the unknown token is none", "vocab", v->unknown);
    MZ_TRY(power_of_two(v->n_tokens + v->n_tokens / 2, &slots));
    mz_err err;
    MZ_TRY_GOTO(err, mz_mem_new(&b.bytes, (int64_t)bytes + 1, 1), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&b.texts, b.count, sizeof *b.texts), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&b.slots, slots, sizeof *b.slots), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&b.lefts, b.count, sizeof *b.lefts), fail);
    b.slot_mask = slots - 1;
    mz_mem_prefer_large_pages(b.slots);
    for (int64_t i = 0; i < b.count; i++) b.texts[i].start = UINT32_MAX;
    MZ_TRY_GOTO(err, add_tokens(&b, v), fail);
    MZ_TRY_GOTO(err, add_merges(&b, v), fail);
    MZ_TRY_GOTO(err, mz_mem_new(&b.byte_joins, 1 << 16, sizeof *b.byte_joins), fail);
    fill_byte_joins(&b);
    *bpe = b;
    return MZ_OK;
fail:
    mz_bpe_clear(&b);
    return err;
}

void mz_bpe_clear(mz_bpe *bpe)
{
    mz_mem_free(bpe->bytes);
    mz_mem_free(bpe->texts);
    mz_mem_free(bpe->slots);
    mz_mem_free(bpe->lefts);
    mz_mem_free(bpe->pairs);
    mz_mem_free(bpe->byte_joins);
    *bpe = (mz_bpe){0};
}

/* ---- one piece ---- */

/* A piece that is being joined. `bytes` has one byte a symbol, NULL where some were dropped. */
typedef struct piece {
    const mz_bpe *bpe;
    const unsigned char *bytes;
    uint32_t *symbols;
    size_t n;
} piece;

static inline uint64_t first_join(const piece *p, size_t i)
{
    return p->bytes ? p->bpe->byte_joins[p->bytes[i] << 8 | p->bytes[i + 1]]
                    : joins(p->bpe, p->symbols[i], p->symbols[i + 1]);
}

/* Four keys at a time, which every processor that there is a build for can compare. */
typedef int32_t lanes __attribute__((vector_size(16)));

static inline lanes lower(lanes a, lanes b)
{
    const lanes less = a < b;
    return (a & less) | (b & ~less);
}

/* The least of key[0..n), INT32_MAX behind them up to a multiple of 8. Without a branch: where the
 * least stands is as good as random, and one guessed wrong costs more than the whole loop. */
static inline int32_t least_of(const int32_t *key, size_t n)
{
    lanes low = {NONE_KEY, NONE_KEY, NONE_KEY, NONE_KEY}, high = low, a, b;
    for (size_t i = 0; i < n; i += 8) {
        memcpy(&a, key + i, sizeof a);
        memcpy(&b, key + i + 4, sizeof b);
        low = lower(a, low), high = lower(b, high);
    }
    low = lower(low, high);
    const int32_t x = low[0] < low[1] ? low[0] : low[1], y = low[2] < low[3] ? low[2] : low[3];
    return x < y ? x : y;
}

/* What the symbol at `at` becomes with the one after it. */
static inline void set_join(mz_bpe_work *w, size_t at, uint64_t join)
{
    w->id[at] = (uint32_t)join;
    w->key[at] = join == NO_JOIN ? NONE_KEY : (int32_t)(join >> 32 << PLACE_BITS | at);
}

/* Symbols linked both ways; those that are gone keep their places. A key is rank and place, so that
 * the least is the join of the lowest rank, leftmost first. */
static size_t join_short(const piece *p, mz_bpe_work *w)
{
    uint32_t *symbols = p->symbols;
    const size_t n = p->n;
    for (size_t i = 0; i + 1 < n; i++) {
        set_join(w, i, first_join(p, i));
        w->next[i] = (unsigned char)(i + 1), w->last[i + 1] = (unsigned char)i;
    }
    w->next[n - 1] = (unsigned char)n;
    for (size_t i = n - 1; i < n || i % 8 != 0; i++) w->key[i] = NONE_KEY;
    for (int32_t key; (key = least_of(w->key, n)) != NONE_KEY;) {
        const size_t at = (size_t)key & (PLACES - 1), gone = w->next[at];
        const size_t next = w->next[gone];
        symbols[at] = w->id[at];
        w->key[gone] = NONE_KEY;
        w->next[at] = (unsigned char)next;
        w->last[next] = (unsigned char)at; /* one place more than symbols */
        set_join(w, at, next < n ? joins(p->bpe, symbols[at], symbols[next]) : NO_JOIN);
        if (at > 0) set_join(w, w->last[at], joins(p->bpe, symbols[w->last[at]], symbols[at]));
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i = w->next[i]) symbols[count++] = symbols[i];
    return count;
}

struct mz_bpe_join {
    uint32_t rank, at, id; /* symbols[at] and its right neighbour become id */
    uint32_t left, right;  /* what the two were */
};

static bool earlier(const struct mz_bpe_join *a, const struct mz_bpe_join *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct mz_bpe_join *heap, size_t *size, struct mz_bpe_join x)
{
    size_t i = (*size)++;
    for (; i > 0 && earlier(&x, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = x;
}

static struct mz_bpe_join heap_pop(struct mz_bpe_join *heap, size_t *size)
{
    const struct mz_bpe_join top = heap[0], x = heap[--*size];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *size; i = child) {
        if (child + 1 < *size && earlier(&heap[child + 1], &heap[child])) child++;
        if (!earlier(&heap[child], &x)) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
    return top;
}

static mz_err reserve(mz_bpe_work *w, size_t n)
{
    if (n <= w->cap) return MZ_OK;
    /* Each join pushes at most two and pops one, and there are fewer joins than bytes. */
    if (n > INT32_MAX / 4) return MZ_FAIL(MZ_ENOTSUP, "a piece of %zu bytes", n);
    const size_t cap = n < 1024 ? 1024 : n + n / 2;
    MZ_TRY(mz_mem_grow(&w->symbols, (int64_t)cap, sizeof *w->symbols));
    MZ_TRY(mz_mem_grow(&w->before, (int64_t)cap, sizeof *w->before));
    MZ_TRY(mz_mem_grow(&w->after, (int64_t)cap, sizeof *w->after));
    MZ_TRY(mz_mem_grow(&w->heap, 3 * (int64_t)cap, sizeof *w->heap));
    w->cap = cap;
    return MZ_OK;
}

void mz_bpe_work_clear(mz_bpe_work *w)
{
    mz_mem_free(w->symbols);
    mz_mem_free(w->before);
    mz_mem_free(w->after);
    mz_mem_free(w->heap);
    *w = (mz_bpe_work){0};
}

static void push_join(mz_bpe_work *w, size_t *size, uint32_t at, uint32_t next, uint64_t join)
{
    if (join == NO_JOIN) return;
    heap_push(w->heap, size,
              (struct mz_bpe_join){.rank = (uint32_t)(join >> 32),
                                   .at = at,
                                   .id = (uint32_t)join,
                                   .left = w->symbols[at],
                                   .right = w->symbols[next]});
}

static void consider(const mz_bpe *bpe, mz_bpe_work *w, size_t *size, uint32_t at, uint32_t next)
{
    push_join(w, size, at, next, joins(bpe, w->symbols[at], w->symbols[next]));
}

/* A list of symbols linked both ways and a heap of possible joins. A join that no longer holds is
 * found out when it is popped: its left side is gone (before[at] == at), or one of the two is
 * another by now. */
static size_t join_long(const piece *p, mz_bpe_work *w)
{
    const mz_bpe *bpe = p->bpe;
    const uint32_t end = (uint32_t)p->n;
    size_t size = 0;
    for (uint32_t i = 0; i < end; i++) w->before[i] = i - 1, w->after[i] = i + 1;
    for (uint32_t i = 0; i + 1 < end; i++) push_join(w, &size, i, i + 1, first_join(p, i));
    while (size > 0) {
        const struct mz_bpe_join top = heap_pop(w->heap, &size);
        const uint32_t right = w->after[top.at];
        if (w->before[top.at] == top.at || right == end) continue;
        if (w->symbols[top.at] != top.left || w->symbols[right] != top.right) continue;
        w->symbols[top.at] = top.id;
        w->before[right] = right;
        const uint32_t next = w->after[top.at] = w->after[right];
        if (next != end) {
            w->before[next] = top.at;
            consider(bpe, w, &size, top.at, next);
        }
        if (top.at > 0) consider(bpe, w, &size, w->before[top.at], top.at);
    }
    size_t count = 0;
    for (uint32_t i = 0; i < end; i = w->after[i]) w->symbols[count++] = w->symbols[i];
    return count;
}

mz_err mz_bpe_piece(const mz_bpe *bpe, mz_bpe_work *work, const char *bytes, size_t n, int32_t *out,
                    size_t *count)
{
    probe whole = {0};
    if (bpe->ignore_merges) whole = probe_of(bpe, bytes, n);
    MZ_TRY(reserve(work, n));
    uint32_t *symbols = work->symbols;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t id = bpe->byte_id[(unsigned char)bytes[i]];
        if (id >= 0) symbols[used++] = (uint32_t)id;
    }
    if (bpe->ignore_merges) { /* only now: its line of the table was on its way */
        out[0] = find(bpe, &whole);
        *count = 1;
        if (out[0] >= 0) return MZ_OK;
    }
    const piece p = {.bpe = bpe,
                     .bytes = used == n ? (const unsigned char *)bytes : NULL,
                     .symbols = symbols,
                     .n = used};
    if (used > 0) used = n > MZ_BPE_SHORT ? join_long(&p, work) : join_short(&p, work);
    for (size_t i = 0; i < used; i++) out[i] = (int32_t)symbols[i];
    *count = used;
    return MZ_OK;
}
