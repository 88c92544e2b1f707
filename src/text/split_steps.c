/* SPDX-License-Identifier: Apache-2.0 */
/* text/split_steps.c - kinds that are a list of small splits: each cuts the pieces of the one
 * before into its matches and what lies between them.
 *
 * DeepSeek-LLM, V2   [\r\n] | \s?[cased letters]+ | \s?[punctuation]+ | \s+$ | [Han, ...]+ | digits
 * DeepSeek-Coder     [\r\n] | \s?\p{L}+ | \s?\p{P}+ | [Han, ...]+ | digits
 * Floor: text. */
#include "text/split.h"

enum step { NEWLINE, CASED, MARKS, TRAILING, HAN, DIGIT, LETTERS, PUNCTUATION };

static const enum step LLM[] = {NEWLINE, CASED, MARKS, TRAILING, HAN, DIGIT};
static const enum step CODER[] = {NEWLINE, LETTERS, PUNCTUATION, HAN, DIGIT};

typedef struct range {
    uint32_t first, last;
} range;

/* Letters that have another case, as DeepSeek lists them; ascending. */
static const range CASED_LETTERS[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},
    {0xd8, 0xf6},       {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},
    {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x376},     {0x377, 0x377},
    {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},
    {0x38c, 0x38c},     {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},
    {0x48a, 0x52f},     {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},
    {0x13f8, 0x13fd},   {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},
    {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},
    {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},
    {0x1fb6, 0x1fbc},   {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},
    {0x1fd0, 0x1fd3},   {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},
    {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},
    {0x2115, 0x2115},   {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},
    {0x213c, 0x213f},   {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2183},
    {0x2184, 0x2184},   {0x2c00, 0x2c7b},   {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},
    {0x2cf2, 0x2cf2},   {0x2cf3, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},
    {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},   {0xab70, 0xabbf},
    {0xfb00, 0xfb06},   {0xfb13, 0xfb17},   {0xff21, 0xff3a},   {0xff41, 0xff5a},
    {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb}, {0x10c80, 0x10cb2},
    {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943}};

/* [!-/:-~！-／：-～‘-‟　-。] and [一-龥ࠀ-一가-퟿], ascending */
static const range MARK_RANGES[] = {{0x21, 0x2f},     {0x3a, 0x7e},     {0x2018, 0x201f},
                                    {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e}};
static const range HAN_RANGES[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}};

static bool is_in(const range *ranges, int count, uint32_t point)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && point >= ranges[low].first;
}

static bool belongs(const mz_split *s, enum step step, uint32_t point)
{
    const unsigned bits = mz_unicode_entry(s->unicode, point);
    switch (step) {
    case NEWLINE:
        return point == '\r' || point == '\n';
    case CASED:
        return is_in(CASED_LETTERS, MZ_COUNT(CASED_LETTERS), point);
    case MARKS:
        return is_in(MARK_RANGES, MZ_COUNT(MARK_RANGES), point);
    case TRAILING:
        return (bits & MZ_SPACE) != 0;
    case HAN:
        return is_in(HAN_RANGES, MZ_COUNT(HAN_RANGES), point);
    case DIGIT:
        return (bits & MZ_NUMBER) || mz_unicode_is_late_digit(point);
    case LETTERS:
        return (bits & MZ_LETTER) != 0;
    case PUNCTUATION:
    default:
        return (bits & MZ_PUNCTUATION) != 0;
    }
}

/* Whether the character at `at` < end belongs; *n are its bytes. */
static bool belongs_at(const mz_split *s, enum step step, size_t at, size_t end, size_t *n)
{
    uint32_t point;
    *n = mz_utf8_read(s->text + at, end - at, &point);
    return belongs(s, step, point);
}

static size_t run(const mz_split *s, enum step step, size_t at, size_t end)
{
    size_t n;
    while (at < end && belongs_at(s, step, at, end, &n)) at += n;
    return at;
}

/* The end of the step's match at `at`, `at` if there is none. */
static size_t match(const mz_split *s, enum step step, size_t at, size_t end)
{
    size_t n, space;
    const bool here = belongs_at(s, step, at, end, &n);
    if (here && (step == NEWLINE || step == DIGIT)) return at + n;
    if (step == TRAILING) return here && run(s, step, at, end) == end ? end : at;
    if (here) return run(s, step, at, end);
    if (step == HAN || step == NEWLINE || step == DIGIT) return at;
    /* \s? before it */
    if (!belongs_at(s, TRAILING, at, end, &space) || at + space == end) return at;
    const size_t stop = run(s, step, at + space, end);
    return stop > at + space ? stop : at;
}

/* The end of the piece that this step makes at `at`: its match, or all up to the next one. */
static size_t piece(const mz_split *s, enum step step, size_t at, size_t end)
{
    size_t stop = match(s, step, at, end), n;
    if (stop > at) return stop;
    do { /* white space that does not reach the end is passed as a whole */
        const bool space = belongs_at(s, step, stop, end, &n);
        stop = step == TRAILING && space ? run(s, step, stop, end) : stop + n;
    } while (stop < end && match(s, step, stop, end) == stop);
    return stop;
}

size_t mz_split_next_step(mz_split *s)
{
    const bool coder = s->kind == MZ_SPLIT_DEEPSEEK_CODER;
    const enum step *steps = coder ? CODER : LLM;
    const int count = coder ? MZ_COUNT(CODER) : MZ_COUNT(LLM);
    size_t end = s->end;
    for (int i = 0; i < count; i++) {
        if (s->at >= s->level[i]) s->level[i] = piece(s, steps[i], s->at, end);
        end = s->level[i];
    }
    return end;
}
