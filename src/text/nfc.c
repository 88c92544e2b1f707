/* SPDX-License-Identifier: Apache-2.0 */
/* text/nfc.c - canonical composition of what needs it.
 *
 * Nearly all text is NFC already, so a text is cut into windows: a character that may change (or
 * change its predecessor), with the starter before it and everything up to the next character that
 * begins anew. The rest is copied. A window is decomposed, its marks sorted by class between the
 * starters, and composed (UAX #15).
 * Floor: text. Time: O(n log n), windows of any length. */
#include "base/mem.h"
#include "text/unicode.h"

#include <string.h>

enum {
    HANGUL = 0xac00,
    HANGUL_END = HANGUL + 11172,
    LEADS = 0x1100,
    VOWELS = 0x1161,
    TAILS = 0x11a7,
    LEAD_COUNT = 19,
    VOWEL_COUNT = 21,
    TAIL_COUNT = 28,
    CHANGES = MZ_REORDERS | MZ_RECOMPOSES,
    BROKEN = 0x110000, /* + a byte that is not UTF-8 */
    SHORT_RUN = 16,
};

typedef struct window {
    uint32_t *points;
    int64_t count, cap;
} window;

static mz_err window_add(window *w, uint32_t point)
{
    if (w->count == w->cap) {
        const int64_t cap = w->cap > 0 ? 2 * w->cap : 64;
        MZ_TRY(mz_mem_grow(&w->points, cap, sizeof *w->points));
        w->cap = cap;
    }
    w->points[w->count++] = point;
    return MZ_OK;
}

/* The row of mz_unicode_pairs for a code point, NULL if it does not decompose. */
static const uint32_t *pair_of(uint32_t point)
{
    int low = 0, high = mz_unicode_pairs_count / 3;
    while (low < high) {
        const int middle = (low + high) / 2;
        const uint32_t there = mz_unicode_pairs[3 * middle] & 0x7fffffffu;
        if (there == point) return &mz_unicode_pairs[3 * middle];
        if (there < point)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static mz_err decompose(window *w, uint32_t point)
{
    if (point >= HANGUL && point < HANGUL_END) {
        const uint32_t index = point - HANGUL;
        MZ_TRY(window_add(w, LEADS + index / (VOWEL_COUNT * TAIL_COUNT)));
        MZ_TRY(window_add(w, VOWELS + index / TAIL_COUNT % VOWEL_COUNT));
        return index % TAIL_COUNT ? window_add(w, TAILS + index % TAIL_COUNT) : MZ_OK;
    }
    /* Only the first part decomposes further, at most three levels deep. */
    uint32_t seconds[4];
    int depth = 0;
    for (const uint32_t *pair = pair_of(point); pair && depth < MZ_COUNT(seconds);
         pair = pair_of(point)) {
        point = pair[1];
        seconds[depth++] = pair[2];
    }
    MZ_TRY(window_add(w, point));
    while (depth > 0)
        if (seconds[--depth]) MZ_TRY(window_add(w, seconds[depth]));
    return MZ_OK;
}

static uint8_t class_of(const mz_unicode *u, uint32_t point)
{
    return point >= BROKEN ? 0 : (uint8_t)(mz_unicode_entry(u, point) >> 8);
}

/* Stable, by combining class. A long run is counted, so that a megabyte of marks is no trouble. */
static mz_err sort_marks(const mz_unicode *u, uint32_t *points, int64_t n)
{
    if (n <= SHORT_RUN) {
        for (int64_t i = 1; i < n; i++) {
            const uint32_t x = points[i];
            const uint8_t rank = class_of(u, x);
            int64_t k = i;
            for (; k > 0 && class_of(u, points[k - 1]) > rank; k--) points[k] = points[k - 1];
            points[k] = x;
        }
        return MZ_OK;
    }
    int64_t start[257] = {0};
    uint32_t *sorted = NULL;
    MZ_TRY(mz_mem_new(&sorted, n, sizeof *sorted));
    for (int64_t i = 0; i < n; i++) start[class_of(u, points[i]) + 1]++;
    for (int i = 0; i < 256; i++) start[i + 1] += start[i];
    for (int64_t i = 0; i < n; i++) sorted[start[class_of(u, points[i])]++] = points[i];
    memcpy(points, sorted, (size_t)n * sizeof *points);
    mz_mem_free(sorted);
    return MZ_OK;
}

static mz_err reorder(const mz_unicode *u, window *w)
{
    for (int64_t i = 0; i < w->count;) {
        if (class_of(u, w->points[i]) == 0) {
            i++;
            continue;
        }
        const int64_t first = i;
        while (i < w->count && class_of(u, w->points[i]) != 0) i++;
        MZ_TRY(sort_marks(u, w->points + first, i - first));
    }
    return MZ_OK;
}

/* 0 if the two do not compose. */
static uint32_t composed(uint32_t first, uint32_t second)
{
    if (first >= LEADS && first < LEADS + LEAD_COUNT && second >= VOWELS &&
        second < VOWELS + VOWEL_COUNT)
        return HANGUL + ((first - LEADS) * VOWEL_COUNT + second - VOWELS) * TAIL_COUNT;
    if (first >= HANGUL && first < HANGUL_END && (first - HANGUL) % TAIL_COUNT == 0 &&
        second > TAILS && second < TAILS + TAIL_COUNT)
        return first + second - TAILS;
    int low = 0, high = mz_unicode_composing_count;
    while (low < high) {
        const int middle = (low + high) / 2;
        const uint32_t *pair = &mz_unicode_pairs[3 * mz_unicode_composing[middle]];
        if (pair[1] == first && pair[2] == second) return pair[0];
        if (pair[1] < first || (pair[1] == first && pair[2] < second))
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static void compose(const mz_unicode *u, window *w)
{
    int64_t starter = -1, kept = 0;
    uint8_t before = 0; /* the class of what was kept last after the starter, 0 if nothing was */
    for (int64_t i = 0; i < w->count; i++) {
        const uint32_t point = w->points[i];
        const uint8_t rank = class_of(u, point);
        const bool adjacent = starter >= 0 && kept == starter + 1;
        const bool blocked = starter < 0 || (!adjacent && before >= rank);
        const uint32_t whole = blocked || point >= BROKEN ? 0 : composed(w->points[starter], point);
        if (whole) {
            w->points[starter] = whole;
            continue;
        }
        if (rank == 0) starter = kept;
        before = rank;
        w->points[kept++] = point;
    }
    w->count = kept;
}

static mz_err write_window(const window *w, mz_str *out)
{
    for (int64_t i = 0; i < w->count; i++) {
        char bytes[4] = {(char)(w->points[i] - BROKEN)};
        const size_t n = w->points[i] >= BROKEN ? 1 : mz_utf8_write(bytes, w->points[i]);
        MZ_TRY(mz_str_add(out, bytes, n));
    }
    return MZ_OK;
}

/* A character of the text: its bytes, its code point (BROKEN + the byte if it is none). */
static size_t read_at(const char *text, size_t bytes, size_t at, uint32_t *point)
{
    const unsigned char *p = (const unsigned char *)text + at;
    const size_t n = mz_utf8_read(p, bytes - at, point);
    if (n == 1 && p[0] >= 0x80) *point = BROKEN + p[0];
    return n;
}

static bool changes(const mz_unicode *u, uint32_t point)
{
    return point < BROKEN && (mz_unicode_entry(u, point) & CHANGES) != 0;
}

/* From `at`: past the characters that need no look, up to the next window. *last is the start of
 * the last of them, which is the window's starter. */
static size_t skip_plain(const mz_unicode *u, const char *text, size_t bytes, size_t at,
                         size_t *last)
{
    uint32_t point;
    *last = at;
    while (at < bytes) {
        if ((unsigned char)text[at] < 0x80) {
            *last = at++;
            continue;
        }
        const size_t n = read_at(text, bytes, at, &point);
        if (changes(u, point)) break;
        *last = at;
        at += n;
    }
    return at;
}

/* Whether the characters of [at,end) are what NFC leaves alone: none recomposes, marks in order. */
static bool window_is_nfc(const mz_unicode *u, const char *text, size_t at, size_t end)
{
    uint8_t before = 0;
    while (at < end) {
        uint32_t point;
        at += read_at(text, end, at, &point);
        const uint16_t entry = point >= BROKEN ? 0 : mz_unicode_entry(u, point);
        const uint8_t rank = (uint8_t)(entry >> 8);
        if ((entry & MZ_RECOMPOSES) || (rank != 0 && rank < before)) return false;
        before = rank;
    }
    return true;
}

static mz_err normalise_window(const mz_unicode *u, window *w, const char *text, size_t at,
                               size_t end, mz_str *out)
{
    w->count = 0;
    while (at < end) {
        uint32_t point;
        at += read_at(text, end, at, &point);
        MZ_TRY(point >= BROKEN ? window_add(w, point) : decompose(w, point));
    }
    MZ_TRY(reorder(u, w));
    compose(u, w);
    return write_window(w, out);
}

mz_err mz_nfc(const mz_unicode *u, const char *text, size_t bytes, mz_str *out, bool *same)
{
    window w = {0};
    mz_err err = MZ_OK;
    size_t copied = 0; /* bytes of text that out has already */
    bool changed = false;
    for (size_t at = 0; err == MZ_OK && at < bytes;) {
        size_t start, end;
        at = skip_plain(u, text, bytes, at, &start);
        if (at == bytes) break;
        uint32_t point;
        for (end = at; end < bytes; end += read_at(text, bytes, end, &point)) {
            (void)read_at(text, bytes, end, &point);
            if (!changes(u, point)) break;
        }
        at = end;
        if (window_is_nfc(u, text, start, end)) continue;
        err = mz_str_add(out, text + copied, start - copied);
        if (err == MZ_OK) err = normalise_window(u, &w, text, start, end, out);
        copied = end;
        changed = true;
    }
    if (err == MZ_OK && (changed || !same)) err = mz_str_add(out, text + copied, bytes - copied);
    if (err == MZ_OK && same) *same = !changed;
    mz_mem_free(w.points);
    return err;
}
