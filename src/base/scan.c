/* SPDX-License-Identifier: Apache-2.0 */
/* base/scan.c - a strict walk over JSON text. Floor: base. */
#include "base/scan.h"

#include <string.h>

mz_err mz_scan_bad(const mz_scan *s, size_t at, const char *what)
{
    const mz_err err =
        MZ_FAIL(MZ_ECORRUPT, "%s at byte %llu", what, (unsigned long long)(s->base + at));
    mz_note_where(s->path, s->field, (int64_t)(s->base + at));
    return err;
}

void mz_scan_space(mz_scan *s)
{
    while (s->at < s->end && (s->text[s->at] == ' ' || s->text[s->at] == '\t' ||
                              s->text[s->at] == '\n' || s->text[s->at] == '\r'))
        s->at++;
}

bool mz_scan_have(mz_scan *s, char c)
{
    mz_scan_space(s);
    if (s->at >= s->end || s->text[s->at] != (unsigned char)c) return false;
    s->at++;
    return true;
}

mz_err mz_scan_take(mz_scan *s, char c, const char *what)
{
    return mz_scan_have(s, c) ? MZ_OK : mz_scan_bad(s, s->at, what);
}

bool mz_scan_done(mz_scan *s)
{
    mz_scan_space(s);
    return s->at == s->end;
}

size_t mz_scan_utf8(const unsigned char *p, size_t left)
{
    const unsigned char c = p[0];
    if (left >= 2 && c >= 0xc2 && c < 0xe0) return (p[1] & 0xc0) == 0x80 ? 2 : 0;
    const size_t n = c < 0x80 ? 1 : (c >> 5) == 6 ? 2 : (c >> 4) == 14 ? 3 : (c >> 3) == 30 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    uint32_t point = n == 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        point = point << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return 0;
    return n;
}

static size_t utf8_write(char *out, uint32_t point)
{
    const size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char mark[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; out && i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    if (out) out[0] = (char)(mark[n] | point);
    return n;
}

static bool hex4(const mz_scan *s, size_t at, uint32_t *out)
{
    if (s->end - at < 4) return false;
    uint32_t x = 0;
    for (size_t i = 0; i < 4; i++) {
        const unsigned char c = s->text[at + i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) return false;
        x = x << 4 | (uint32_t)digit;
    }
    *out = x;
    return true;
}

/* After the backslash. *out receives the character. */
static mz_err escape(mz_scan *s, uint32_t *out)
{
    const size_t start = s->at - 1;
    if (s->at >= s->end) return mz_scan_bad(s, start, "an escape that does not end");
    const char c = (char)s->text[s->at++];
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        *out = (uint32_t)to[simple - from];
        return MZ_OK;
    }
    uint32_t high = 0, low = 0;
    if (c != 'u' || !hex4(s, s->at, &high)) return mz_scan_bad(s, start, "an unknown escape");
    s->at += 4;
    if (high >= 0xdc00 && high < 0xe000) return mz_scan_bad(s, start, "half a surrogate pair");
    if (high >= 0xd800 && high < 0xdc00) {
        if (s->end - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u' ||
            !hex4(s, s->at + 2, &low) || low < 0xdc00 || low > 0xdfff)
            return mz_scan_bad(s, start, "half a surrogate pair");
        s->at += 6;
        high = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
    }
    if (high == 0 && !s->nul) return mz_scan_bad(s, start, "a NUL in a string");
    *out = high;
    return MZ_OK;
}

/* Whether each of eight bytes is a character of ASCII that stands for itself in a string: none
 * above 0x7f, below 0x20, a quote or a backslash. Borrows can only make a good byte above a bad one
 * bad. */
static inline bool all_plain(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u, top = 0x8080808080808080u;
    const uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
    return ((x | (x - ones * 0x20) | (quote - ones) | (slash - ones)) & top) == 0;
}

/* Bytes from `start` on that stand for themselves; what ends them may be text that is not UTF-8. */
static size_t plain_run(const mz_scan *s, size_t start)
{
    size_t at = start;
    while (at < s->end) {
        const unsigned char c = s->text[at];
        if (c >= 0x80) {
            const size_t length = mz_scan_utf8(s->text + at, s->end - at);
            if (length == 0) break;
            at += length;
            continue;
        }
        uint64_t eight;
        if (s->end - at >= sizeof eight) {
            memcpy(&eight, s->text + at, sizeof eight);
            if (all_plain(eight)) {
                at += sizeof eight;
                continue;
            }
        }
        if (c < 0x20 || c == '"' || c == '\\') break;
        at++;
    }
    return at - start;
}

mz_err mz_scan_string(mz_scan *s, char *out, size_t *bytes)
{
    MZ_TRY(mz_scan_take(s, '"', "expected a string"));
    const size_t start = s->at - 1;
    size_t n = 0;
    for (;;) {
        const size_t length = plain_run(s, s->at);
        if (out) memcpy(out + n, s->text + s->at, length);
        n += length;
        s->at += length;
        if (s->at >= s->end) return mz_scan_bad(s, start, "a string that does not end");
        const unsigned char c = s->text[s->at];
        if (c == '"') break;
        if (c < 0x20) return mz_scan_bad(s, s->at, "a control character in a string");
        if (c != '\\') return mz_scan_bad(s, s->at, "text that is not UTF-8");
        uint32_t point = 0;
        s->at++;
        MZ_TRY(escape(s, &point));
        n += utf8_write(out ? out + n : NULL, point);
    }
    s->at++;
    if (out) out[n] = '\0';
    *bytes = n + 1;
    return MZ_OK;
}

mz_err mz_scan_text(mz_scan *s, char **room, const char **text, size_t *bytes)
{
    MZ_TRY(mz_scan_take(s, '"', "expected a string"));
    const size_t start = s->at, end = start + plain_run(s, start);
    if (end < s->end && s->text[end] == '"') {
        *text = (const char *)s->text + start;
        *bytes = end - start;
        s->at = end + 1;
        return MZ_OK;
    }
    size_t n = 0;
    s->at = start - 1;
    MZ_TRY(mz_scan_string(s, *room, &n));
    *text = *room;
    *bytes = n - 1;
    *room += n;
    return MZ_OK;
}

mz_err mz_scan_peek(const mz_scan *s, char *out, size_t out_bytes)
{
    mz_scan look = *s;
    size_t bytes = 0;
    out[0] = '\0';
    MZ_TRY(mz_scan_string(&look, NULL, &bytes));
    if (bytes > out_bytes) return MZ_OK;
    look = *s;
    return mz_scan_string(&look, out, &bytes);
}

static bool is_digit(const mz_scan *s, size_t at)
{
    return at < s->end && s->text[at] >= '0' && s->text[at] <= '9';
}

mz_err mz_scan_uint(mz_scan *s, uint64_t *out)
{
    mz_scan_space(s);
    const size_t start = s->at;
    uint64_t x = 0;
    for (; is_digit(s, s->at); s->at++) {
        const uint64_t digit = (uint64_t)(s->text[s->at] - '0');
        if (x > ((uint64_t)INT64_MAX - digit) / 10)
            return mz_scan_bad(s, start, "a number of more than 63 bits");
        x = x * 10 + digit;
    }
    if (s->at == start)
        return mz_scan_bad(s, start, "expected a whole number that is not negative");
    if (s->at - start > 1 && s->text[start] == '0')
        return mz_scan_bad(s, start, "a number with a leading zero");
    if (s->at < s->end && strchr(".eE", s->text[s->at]) && s->text[s->at])
        return mz_scan_bad(s, start, "expected a whole number, without point or exponent");
    *out = x;
    return MZ_OK;
}

static mz_err skip_number(mz_scan *s)
{
    const size_t start = s->at;
    if (s->at < s->end && s->text[s->at] == '-') s->at++;
    const size_t first = s->at;
    while (is_digit(s, s->at)) s->at++;
    bool good = s->at > first && (s->at - first == 1 || s->text[first] != '0');
    if (good && s->at < s->end && s->text[s->at] == '.') {
        const size_t point = ++s->at;
        while (is_digit(s, s->at)) s->at++;
        good = s->at > point;
    }
    if (good && s->at < s->end && (s->text[s->at] == 'e' || s->text[s->at] == 'E')) {
        s->at++;
        if (s->at < s->end && (s->text[s->at] == '+' || s->text[s->at] == '-')) s->at++;
        const size_t power = s->at;
        while (is_digit(s, s->at)) s->at++;
        good = s->at > power;
    }
    return good ? MZ_OK : mz_scan_bad(s, start, "expected a value");
}

static mz_err skip_members(mz_scan *s, bool named, int depth)
{
    const char close = named ? '}' : ']';
    if (mz_scan_have(s, close)) return MZ_OK;
    do {
        size_t bytes = 0;
        if (named) {
            MZ_TRY(mz_scan_string(s, NULL, &bytes));
            MZ_TRY(mz_scan_take(s, ':', "expected a colon"));
        }
        MZ_TRY(mz_scan_skip(s, depth));
    } while (mz_scan_have(s, ','));
    return mz_scan_take(s, close, named ? "expected , or }" : "expected , or ]");
}

mz_err mz_scan_skip(mz_scan *s, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    size_t bytes = 0;
    mz_scan_space(s);
    if (s->at >= s->end) return mz_scan_bad(s, s->at, "expected a value");
    if (s->text[s->at] == '"') return mz_scan_string(s, NULL, &bytes);
    for (int i = 0; i < MZ_COUNT(words); i++) {
        const size_t n = strlen(words[i]);
        if (s->end - s->at >= n && memcmp(s->text + s->at, words[i], n) == 0) {
            s->at += n;
            return MZ_OK;
        }
    }
    const bool named = s->text[s->at] == '{';
    if (!named && s->text[s->at] != '[') return skip_number(s);
    if (depth <= 0) return mz_scan_bad(s, s->at, "values nested too deep");
    s->at++;
    return skip_members(s, named, depth - 1);
}
