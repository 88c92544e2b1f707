/* SPDX-License-Identifier: Apache-2.0 */
/* text/train.c - counting, and the loop of joins.
 *
 * Pair counts are sums over words, kept as they change. A heap holds candidates with the count that
 * they had when they were pushed and the words in which they arose then; one whose count has fallen
 * goes back with the present one. Words of a candidate are its own: when two merges make the same
 * text, a pair can be listed twice, and each entry joins only where it was seen. Floor: text. */
#include "base/mem.h"
#include "text/bpe.h"
#include "text/hash.h"
#include "text/split.h"
#include "text/train_parts.h"

#include <string.h>

/* ---- numbered strings ---- */

const char *mz_strings_at(const mz_strings *s, int64_t number, size_t *n)
{
    const size_t first = number > 0 ? s->end[number - 1] : 0;
    *n = s->end[number] - first;
    return s->text.text + first;
}

static uint32_t strings_slot(const mz_strings *s, const char *bytes, size_t n)
{
    uint32_t slot = (uint32_t)mz_hash_bytes(bytes, n) & s->mask;
    for (; s->slots[slot]; slot = (slot + 1) & s->mask) {
        size_t there;
        const char *text = mz_strings_at(s, s->slots[slot] - 1, &there);
        if (there == n && memcmp(text, bytes, n) == 0) break;
    }
    return slot;
}

static mz_err strings_grow(mz_strings *s)
{
    const int64_t cap = s->cap ? 2 * s->cap : 1024;
    uint32_t *slots = NULL;
    if (cap > UINT32_MAX / 4) return MZ_FAIL(MZ_ENOTSUP, "more than 2^30 different words");
    MZ_TRY(mz_mem_grow(&s->end, cap, sizeof *s->end));
    MZ_TRY(mz_mem_new(&slots, 2 * cap, sizeof *slots));
    mz_mem_free(s->slots);
    s->slots = slots;
    s->cap = cap;
    s->mask = (uint32_t)(2 * cap - 1);
    for (int64_t i = 0; i < s->count; i++) {
        size_t n;
        const char *text = mz_strings_at(s, i, &n);
        s->slots[strings_slot(s, text, n)] = (uint32_t)i + 1;
    }
    return MZ_OK;
}

mz_err mz_strings_add(mz_strings *s, const char *bytes, size_t n, int64_t *number)
{
    if (s->count == s->cap) MZ_TRY(strings_grow(s));
    const uint32_t slot = strings_slot(s, bytes, n);
    if (!s->slots[slot]) {
        MZ_TRY(mz_str_add(&s->text, bytes, n));
        s->end[s->count] = s->text.len;
        s->slots[slot] = (uint32_t)++s->count;
    }
    *number = s->slots[slot] - 1;
    return MZ_OK;
}

void mz_strings_clear(mz_strings *s)
{
    mz_str_clear(&s->text);
    mz_mem_free(s->end);
    mz_mem_free(s->slots);
    *s = (mz_strings){0};
}

/* ---- words ---- */

mz_err mz_bpe_trainer_new(mz_bpe_trainer **out)
{
    mz_bpe_trainer *t = NULL;
    MZ_NEED(out, "trainer is NULL");
    MZ_TRY(mz_mem_new(&t, 1, sizeof *t));
    mz_unicode_init(&t->unicode);
    *out = t;
    return MZ_OK;
}

void mz_bpe_trainer_free(mz_bpe_trainer *t)
{
    if (!t) return;
    mz_strings_clear(&t->words);
    mz_strings_clear(&t->tokens);
    mz_mem_free(t->counts);
    mz_mem_free(t->merges);
    mz_mem_free(t);
}

static mz_err count_word(mz_bpe_trainer *t, const char *word, size_t n)
{
    int64_t number = 0;
    MZ_TRY(mz_strings_add(&t->words, word, n, &number));
    if (number >= t->counts_cap) {
        const int64_t cap = t->counts_cap ? 2 * t->counts_cap : 1024;
        MZ_TRY(mz_mem_grow(&t->counts, cap, sizeof *t->counts));
        t->counts_cap = cap;
    }
    t->counts[number]++;
    return MZ_OK;
}

mz_err mz_bpe_trainer_feed(mz_bpe_trainer *t, const char *line, size_t bytes)
{
    MZ_NEED(t && (line || bytes == 0), "trainer or line is NULL");
    MZ_NEED(t->tokens.count == 0, "the trainer has run already");
    if (!mz_utf8_valid(line, bytes)) return MZ_FAIL(MZ_ECORRUPT, "text that is not UTF-8");
    mz_split s;
    mz_split_begin(&s, MZ_SPLIT_GPT2, &t->unicode, line, bytes);
    while (s.at < s.end) {
        const size_t at = s.at;
        MZ_TRY(count_word(t, line + at, mz_split_next(&s) - at));
    }
    return MZ_OK;
}

/* ---- the state of a run ---- */

typedef struct pair_count {
    uint64_t key; /* left << 32 | right; UINT64_MAX where empty */
    int64_t count;
    int64_t round; /* in which `open` and `word` were set */
    uint32_t open; /* the candidate that is being gathered in this round */
    uint32_t word; /* the last word that it was given */
} pair_count;

typedef struct candidate {
    uint64_t key;
    int64_t count;
    size_t first, n; /* its words, in pool */
} candidate;

typedef struct sighting {
    uint32_t open, word;
} sighting;

typedef struct run {
    mz_bpe_trainer *t;
    uint32_t *symbols; /* of all words */
    size_t *start;     /* of word i in symbols; [words + 1] */
    uint32_t *length;  /* of word i now */
    pair_count *pairs;
    uint64_t pair_mask;
    int64_t n_pairs;
    candidate *heap, *open; /* open: of this round */
    size_t heap_size, heap_cap, n_open, open_cap;
    sighting *seen; /* of this round */
    size_t n_seen, seen_cap;
    uint32_t *pool; /* words of candidates, never given back: a join takes a symbol away */
    size_t pool_used, pool_cap;
    int64_t round;
} run;

static mz_err grow(void *pp, size_t *cap, size_t need, size_t size)
{
    size_t more = *cap ? *cap : 1024;
    if (need <= *cap) return MZ_OK;
    while (more < need) more *= 2;
    MZ_TRY(mz_mem_grow(pp, (int64_t)more, size));
    *cap = more;
    return MZ_OK;
}

static pair_count *pair_slot(const run *r, uint64_t key)
{
    uint64_t slot = mz_hash_pair(key) & r->pair_mask;
    while (r->pairs[slot].key != key && r->pairs[slot].key != UINT64_MAX)
        slot = (slot + 1) & r->pair_mask;
    return &r->pairs[slot];
}

static mz_err pairs_resize(run *r, uint64_t slots)
{
    pair_count *old = r->pairs;
    const uint64_t old_slots = old ? r->pair_mask + 1 : 0;
    pair_count *pairs = NULL;
    if (slots > UINT32_MAX) return MZ_FAIL(MZ_ENOTSUP, "more than 2^31 different pairs");
    MZ_TRY(mz_mem_new(&pairs, (int64_t)slots, sizeof *pairs));
    for (uint64_t i = 0; i < slots; i++) pairs[i].key = UINT64_MAX;
    r->pairs = pairs;
    r->pair_mask = slots - 1;
    for (uint64_t i = 0; i < old_slots; i++)
        if (old[i].key != UINT64_MAX) *pair_slot(r, old[i].key) = old[i];
    mz_mem_free(old);
    return MZ_OK;
}

/* ---- the heap: most frequent first, then the smaller pair ---- */

static bool goes_first(const candidate *a, const candidate *b)
{
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static mz_err heap_push(run *r, candidate x)
{
    MZ_TRY(grow(&r->heap, &r->heap_cap, r->heap_size + 1, sizeof *r->heap));
    size_t i = r->heap_size++;
    for (; i > 0 && goes_first(&x, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = x;
    return MZ_OK;
}

/* Lets x sink from the top. */
static void heap_sink(run *r, candidate x)
{
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < r->heap_size; i = child) {
        if (child + 1 < r->heap_size && goes_first(&r->heap[child + 1], &r->heap[child])) child++;
        if (!goes_first(&r->heap[child], &x)) break;
        r->heap[i] = r->heap[child];
    }
    r->heap[i] = x;
}

/* ---- changes of a round ---- */

/* `by` more (or fewer) of a pair in a word. A pair that became more frequent is a candidate. */
static mz_err change(run *r, uint32_t left, uint32_t right, int64_t by, uint32_t word)
{
    const uint64_t key = (uint64_t)left << 32 | right;
    pair_count *p = pair_slot(r, key);
    if (p->key == UINT64_MAX) {
        if (2 * (uint64_t)r->n_pairs > r->pair_mask) {
            MZ_TRY(pairs_resize(r, 2 * (r->pair_mask + 1)));
            p = pair_slot(r, key);
        }
        *p = (pair_count){.key = key, .round = -1};
        r->n_pairs++;
    }
    p->count += by * r->t->counts[word];
    if (by < 0) return MZ_OK;
    if (p->round != r->round) {
        MZ_TRY(grow(&r->open, &r->open_cap, r->n_open + 1, sizeof *r->open));
        p->round = r->round;
        p->open = (uint32_t)r->n_open;
        r->open[r->n_open++] = (candidate){.key = key};
    } else if (p->word == word) {
        return MZ_OK;
    }
    p->word = word;
    r->open[p->open].n++;
    MZ_TRY(grow(&r->seen, &r->seen_cap, r->n_seen + 1, sizeof *r->seen));
    r->seen[r->n_seen++] = (sighting){.open = p->open, .word = word};
    return MZ_OK;
}

/* Gives each candidate of the round its words and pushes those that are left with a count. */
static mz_err close_round(run *r)
{
    MZ_TRY(grow(&r->pool, &r->pool_cap, r->pool_used + r->n_seen, sizeof *r->pool));
    for (size_t i = 0; i < r->n_open; i++) {
        r->open[i].first = r->pool_used;
        r->pool_used += r->open[i].n;
        r->open[i].n = 0;
    }
    for (size_t i = 0; i < r->n_seen; i++) {
        candidate *c = &r->open[r->seen[i].open];
        r->pool[c->first + c->n++] = r->seen[i].word;
    }
    for (size_t i = 0; i < r->n_open; i++) {
        r->open[i].count = pair_slot(r, r->open[i].key)->count;
        if (r->open[i].count > 0) MZ_TRY(heap_push(r, r->open[i]));
    }
    r->n_open = r->n_seen = 0;
    r->round++;
    return MZ_OK;
}

/* Joins left and right to `id` in one word, from its beginning on. */
static mz_err join_in(run *r, uint32_t word, uint32_t left, uint32_t right, uint32_t id)
{
    uint32_t *s = r->symbols + r->start[word];
    const uint32_t n = r->length[word];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (s[i] != left || i + 1 == n || s[i + 1] != right) {
            s[kept++] = s[i];
            continue;
        }
        if (kept > 0) {
            MZ_TRY(change(r, s[kept - 1], left, -1, word));
            MZ_TRY(change(r, s[kept - 1], id, 1, word));
        }
        if (i + 2 < n) {
            MZ_TRY(change(r, right, s[i + 2], -1, word));
            MZ_TRY(change(r, id, s[i + 2], 1, word));
        }
        s[kept++] = id;
        i++;
    }
    r->length[word] = kept;
    return MZ_OK;
}

/* ---- the run ---- */

static mz_err first_tokens(mz_bpe_trainer *t, const mz_bpe_train_options *o)
{
    int64_t number;
    for (int64_t i = 0; i < o->n_special; i++) {
        MZ_NEED(o->special && o->special[i], "a special token is NULL");
        MZ_TRY(mz_strings_add(&t->tokens, o->special[i], strlen(o->special[i]), &number));
    }
    t->n_special = t->tokens.count;
    for (uint32_t letter = 0; letter < 0x144; letter++) { /* by code point */
        char text[4];
        bool is_letter = false;
        for (int b = 0; b < 256; b++) is_letter |= mz_bpe_letter((unsigned char)b) == letter;
        if (!is_letter) continue;
        MZ_TRY(mz_strings_add(&t->tokens, text, mz_utf8_write(text, letter), &number));
    }
    return MZ_OK;
}

static mz_err set_up(run *r)
{
    mz_bpe_trainer *t = r->t;
    const int64_t words = t->words.count;
    uint32_t ids[256];
    for (int b = 0; b < 256; b++) {
        char text[4];
        int64_t number = 0;
        MZ_TRY(mz_strings_add(&t->tokens, text,
                              mz_utf8_write(text, mz_bpe_letter((unsigned char)b)), &number));
        ids[b] = (uint32_t)number;
    }
    if (t->words.text.len > UINT32_MAX) return MZ_FAIL(MZ_ENOTSUP, "more than 4 GiB of words");
    MZ_TRY(mz_mem_new(&r->symbols, (int64_t)t->words.text.len, sizeof *r->symbols));
    MZ_TRY(mz_mem_new(&r->start, words, sizeof *r->start));
    MZ_TRY(mz_mem_new(&r->length, words, sizeof *r->length));
    MZ_TRY(pairs_resize(r, 1 << 16));
    for (int64_t w = 0; w < words; w++) {
        size_t n;
        const char *text = mz_strings_at(&t->words, w, &n);
        r->start[w] = w > 0 ? t->words.end[w - 1] : 0;
        r->length[w] = (uint32_t)n;
        for (size_t i = 0; i < n; i++) r->symbols[r->start[w] + i] = ids[(unsigned char)text[i]];
        for (size_t i = 1; i < n; i++)
            MZ_TRY(change(r, r->symbols[r->start[w] + i - 1], r->symbols[r->start[w] + i], 1,
                          (uint32_t)w));
    }
    return close_round(r);
}

/* The id of left's text followed by right's: a new one, unless that text is a token already. */
static mz_err joined_token(mz_bpe_trainer *t, uint32_t left, uint32_t right, uint32_t *id)
{
    mz_str text = {0};
    size_t n;
    int64_t number = 0;
    const char *part = mz_strings_at(&t->tokens, left, &n);
    mz_err err = mz_str_add(&text, part, n);
    part = mz_strings_at(&t->tokens, right, &n);
    if (err == MZ_OK) err = mz_str_add(&text, part, n);
    if (err == MZ_OK) err = mz_strings_add(&t->tokens, text.text, text.len, &number);
    if (err == MZ_OK) *id = (uint32_t)number;
    mz_str_clear(&text);
    return err;
}

static mz_err join(run *r, const candidate *c)
{
    mz_bpe_trainer *t = r->t;
    const uint32_t left = (uint32_t)(c->key >> 32), right = (uint32_t)c->key;
    uint32_t id = 0;
    MZ_TRY(joined_token(t, left, right, &id));
    if (t->n_merges == t->merges_cap) {
        const int64_t cap = t->merges_cap ? 2 * t->merges_cap : 1024;
        MZ_TRY(mz_mem_grow(&t->merges, cap, sizeof *t->merges));
        t->merges_cap = cap;
    }
    t->merges[t->n_merges++] = (mz_bpe_train_merge){left, right};
    for (size_t i = 0; i < c->n; i++) MZ_TRY(join_in(r, r->pool[c->first + i], left, right, id));
    return close_round(r);
}

static mz_err join_all(run *r, const mz_bpe_train_options *o)
{
    while (r->heap_size > 0 && r->t->tokens.count < o->vocab) {
        candidate top = r->heap[0];
        const int64_t now = pair_slot(r, top.key)->count;
        if (top.count != now) { /* back, with what it is worth now */
            top.count = now;
            heap_sink(r, top);
            continue;
        }
        if (top.count < 1 || top.count < o->min_frequency) break;
        const candidate last = r->heap[--r->heap_size];
        if (r->heap_size > 0) heap_sink(r, last);
        MZ_TRY(join(r, &top));
    }
    return MZ_OK;
}

mz_err mz_bpe_trainer_run(mz_bpe_trainer *t, const mz_bpe_train_options *o)
{
    MZ_NEED(t && o && o->n_special >= 0, "trainer or options are NULL");
    MZ_NEED(t->tokens.count == 0, "the trainer has run already");
    run r = {.t = t};
    mz_err err = first_tokens(t, o);
    if (err == MZ_OK) err = set_up(&r);
    if (err == MZ_OK) err = join_all(&r, o);
    mz_mem_free(r.symbols);
    mz_mem_free(r.start);
    mz_mem_free(r.length);
    mz_mem_free(r.pairs);
    mz_mem_free(r.heap);
    mz_mem_free(r.open);
    mz_mem_free(r.seen);
    mz_mem_free(r.pool);
    return err;
}

int64_t mz_bpe_trainer_tokens(const mz_bpe_trainer *t)
{
    return t->tokens.count;
}

int64_t mz_bpe_trainer_merges(const mz_bpe_trainer *t)
{
    return t->n_merges;
}

int64_t mz_bpe_trainer_words(const mz_bpe_trainer *t)
{
    return t->words.count;
}
