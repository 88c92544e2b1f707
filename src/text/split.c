/* SPDX-License-Identifier: Apache-2.0 */
/* text/split.c - the matchers. Each alternative of an expression is one branch, in its order; what
 * a branch relies on from those before it is said there. Floor: text. */
#include "text/split.h"

enum {
    WORD = MZ_LETTER | MZ_MARK,
    GRAPHIC = MZ_PUNCTUATION | MZ_SYMBOL,
    NOT_OTHER = MZ_SPACE | MZ_LETTER | MZ_NUMBER, /* what [^\s\p{L}\p{N}] leaves out */
};

void mz_split_begin(mz_split *s, mz_split_kind kind, const mz_unicode *u, const char *text,
                    size_t bytes)
{
    *s = (mz_split){.kind = kind, .unicode = u, .text = (const unsigned char *)text, .end = bytes};
}

/* The character at `at` < end: returns its bytes and what it is. */
static inline size_t look(const mz_split *s, size_t at, size_t end, unsigned *bits)
{
    const unsigned char c = s->text[at];
    uint32_t point = c;
    size_t n = 1;
    if (c >= 0x80) n = mz_utf8_read(s->text + at, end - at, &point);
    *bits = mz_unicode_entry(s->unicode, point);
    return n;
}

/* What the character at `at` is; nothing at the end. */
static inline unsigned bits_at(const mz_split *s, size_t at, size_t end)
{
    unsigned bits = 0;
    if (at < end) (void)look(s, at, end, &bits);
    return bits;
}

/* Past all characters with one of `mask` (run_in) or without any (run_out). */
static inline size_t run_in(const mz_split *s, size_t at, size_t end, unsigned mask)
{
    while (at < end) {
        unsigned bits;
        const size_t n = look(s, at, end, &bits);
        if (!(bits & mask)) break;
        at += n;
    }
    return at;
}

static inline size_t run_out(const mz_split *s, size_t at, size_t end, unsigned mask)
{
    while (at < end) {
        unsigned bits;
        const size_t n = look(s, at, end, &bits);
        if (bits & mask) break;
        at += n;
    }
    return at;
}

static inline bool is_newline(unsigned char c)
{
    return c == '\r' || c == '\n';
}

static size_t run_newlines(const mz_split *s, size_t at, size_t end)
{
    while (at < end && is_newline(s->text[at])) at++;
    return at;
}

/* \s*[\r\n]+ (if `newlines`), else \s+(?!\S), else \s+. A white space stands at `at`. */
static size_t white_space(const mz_split *s, size_t at, size_t end, bool newlines)
{
    size_t stop = at, last = at, line = 0;
    while (stop < end) {
        unsigned bits;
        const size_t n = look(s, stop, end, &bits);
        if (!(bits & MZ_SPACE)) break;
        if (newlines && is_newline(s->text[stop])) line = stop + 1;
        last = stop;
        stop += n;
    }
    if (line) return line;
    return stop == end || last == at ? stop : last; /* the last one belongs to what follows */
}

/* 's|'t|'re|'ve|'m|'ll|'d: an apostrophe stands at `at`. Returns the end, `at` if there is none.
 * Without case, s is also the long s (U+017F). */
static size_t contraction(const mz_split *s, size_t at, size_t end, bool fold)
{
    const size_t left = end - at - 1;
    const unsigned char *p = s->text + at + 1;
    const unsigned char bit = fold ? 0x20 : 0;
    const unsigned char a = left > 0 ? (unsigned char)(p[0] | bit) : 0;
    const unsigned char b = left > 1 ? (unsigned char)(p[1] | bit) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
    if (fold && left > 1 && p[0] == 0xc5 && p[1] == 0xbf) return at + 3;
    return at;
}

static size_t match_gpt2(const mz_split *s, size_t at, size_t end)
{
    const unsigned char c = s->text[at];
    if (c == '\'') {
        const size_t stop = contraction(s, at, end, false);
        if (stop > at) return stop;
    }
    size_t first = at;
    unsigned bits;
    size_t n = look(s, at, end, &bits);
    if (c == ' ' && at + 1 < end) { /* " ?" of the next three alternatives */
        unsigned next;
        const size_t m = look(s, at + 1, end, &next);
        if (!(next & MZ_SPACE)) bits = next, first = at + 1, n = m;
    }
    if (bits & MZ_SPACE) return white_space(s, at, end, false);
    if (bits & MZ_LETTER) return run_in(s, first + n, end, MZ_LETTER);
    if (bits & MZ_NUMBER) return run_in(s, first + n, end, MZ_NUMBER);
    return run_out(s, first + n, end, NOT_OTHER);
}

/* At most `most` numbers. */
static size_t numbers(const mz_split *s, size_t at, size_t end, int most)
{
    for (int i = 0; i < most && at < end; i++) {
        unsigned bits;
        const size_t n = look(s, at, end, &bits);
        if (!(bits & MZ_NUMBER)) break;
        at += n;
    }
    return at;
}

/* Qwen2 (digits = 1) and Llama-3 (digits = 3). */
static size_t match_qwen2(const mz_split *s, size_t at, size_t end, int digits)
{
    const unsigned char c = s->text[at];
    if (c == '\'') {
        const size_t stop = contraction(s, at, end, true);
        if (stop > at) return stop;
    }
    unsigned bits;
    const size_t n = look(s, at, end, &bits);
    if (bits & MZ_LETTER) return run_in(s, at + n, end, MZ_LETTER);
    if (bits & MZ_NUMBER) return numbers(s, at, end, digits);
    const unsigned next = bits_at(s, at + n, end);
    if (!is_newline(c) && (next & MZ_LETTER)) return run_in(s, at + n, end, MZ_LETTER);
    if (!(bits & MZ_SPACE) || (c == ' ' && at + 1 < end && !(next & NOT_OTHER)))
        return run_newlines(s, run_out(s, at + n, end, NOT_OTHER), end);
    return white_space(s, at, end, true);
}

/* The third split of DeepSeek-V3; `at` if nothing matches here. No number comes this far. */
static size_t match_deepseek3(const mz_split *s, size_t at, size_t end)
{
    const unsigned char c = s->text[at];
    unsigned bits;
    const size_t n = look(s, at, end, &bits);
    if (bits & WORD) return run_in(s, at + n, end, WORD);
    if (c < 0x80 && (bits & GRAPHIC)) {
        size_t stop = at + 1;
        while (stop < end && s->text[stop] < 0x80 && (bits_at(s, stop, end) & MZ_LETTER)) stop++;
        if (stop > at + 1) return stop;
    }
    const unsigned next = bits_at(s, at + n, end);
    if (!is_newline(c) && !(bits & GRAPHIC) && (next & WORD)) return run_in(s, at + n, end, WORD);
    if ((bits & GRAPHIC) || (c == ' ' && (next & GRAPHIC)))
        return run_newlines(s, run_in(s, at + n, end, GRAPHIC), end);
    return bits & MZ_SPACE ? white_space(s, at, end, true) : at;
}

/* [一-龥぀-ゟ゠-ヿ] */
static inline bool is_han_or_kana(uint32_t point)
{
    return (point >= 0x4e00 && point <= 0x9fa5) || (point >= 0x3040 && point <= 0x30ff);
}

/* \p{N}{1,3} and [一-龥぀-ゟ゠-ヿ]+ cut first: the end of what they leave whole at `at`.
 * *number: it is a number, which is a piece. */
static size_t chunk_deepseek3(const mz_split *s, size_t at, bool *number)
{
    const unsigned char *text = s->text;
    int kind = -1; /* 1 han or kana, 0 neither */
    *number = false;
    while (at < s->end) {
        uint32_t point = text[at];
        const size_t n = point < 0x80 ? 1 : mz_utf8_read(text + at, s->end - at, &point);
        if (mz_unicode_entry(s->unicode, point) & MZ_NUMBER) {
            *number = kind < 0;
            return kind < 0 ? numbers(s, at, s->end, 3) : at;
        }
        const int here = point >= 0x80 && is_han_or_kana(point);
        if (kind >= 0 && here != kind) return at;
        kind = here;
        at += n;
    }
    return at;
}

static size_t next_deepseek3(mz_split *s)
{
    bool number = false;
    if (s->at >= s->chunk) s->chunk = chunk_deepseek3(s, s->at, &number);
    if (number) return s->chunk;
    size_t stop = match_deepseek3(s, s->at, s->chunk);
    if (stop > s->at) return stop;
    do { /* a gap, up to where something matches */
        unsigned bits;
        stop += look(s, stop, s->chunk, &bits);
    } while (stop < s->chunk && match_deepseek3(s, stop, s->chunk) == stop);
    return stop;
}

static bool is_digit(const mz_split *s, size_t at, size_t *n)
{
    uint32_t point = s->text[at];
    *n = 1;
    if (point < 0x80) return point >= '0' && point <= '9';
    *n = mz_utf8_read(s->text + at, s->end - at, &point);
    return (mz_unicode_entry(s->unicode, point) & MZ_NUMBER) || mz_unicode_is_late_digit(point);
}

static size_t next_smollm(mz_split *s)
{
    if (s->at >= s->chunk) {
        size_t n;
        if (is_digit(s, s->at, &n)) return s->at + n;
        s->chunk = s->at + n;
        while (s->chunk < s->end && !is_digit(s, s->chunk, &n)) s->chunk += n;
    }
    return match_gpt2(s, s->at, s->chunk);
}

size_t mz_split_next(mz_split *s)
{
    size_t stop;
    switch (s->kind) {
    case MZ_SPLIT_DEEPSEEK3:
        stop = next_deepseek3(s);
        break;
    case MZ_SPLIT_QWEN2:
        stop = match_qwen2(s, s->at, s->end, 1);
        break;
    case MZ_SPLIT_LLAMA3:
        stop = match_qwen2(s, s->at, s->end, 3);
        break;
    case MZ_SPLIT_SMOLLM:
        stop = next_smollm(s);
        break;
    case MZ_SPLIT_DEEPSEEK_LLM:
    case MZ_SPLIT_DEEPSEEK_CODER:
        stop = mz_split_next_step(s);
        break;
    case MZ_SPLIT_GPT2:
    case MZ_SPLIT_COUNT:
    default:
        stop = match_gpt2(s, s->at, s->end);
        break;
    }
    s->at = stop;
    return stop;
}
