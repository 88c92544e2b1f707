/* SPDX-License-Identifier: Apache-2.0 */
/* base/str.c - the growing string, strict number parsing, near names, readable byte counts. */
#include "base/str.h"
#include "base/mem.h"
#include "base/size.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAP_MIN = 64, WORD_MAX = 64 };

/* One more for the NUL. */
mz_err mz_str_reserve(mz_str *s, size_t more)
{
    size_t want, cap = s->cap < CAP_MIN ? CAP_MIN : s->cap;
    if (!mz_add(s->len, more, &want) || !mz_add(want, 1, &want) || want > INT64_MAX / 2)
        return MZ_FAIL(MZ_ENOMEM, "a text of %zu + %zu bytes", s->len, more);
    if (want <= s->cap) return MZ_OK;
    while (cap < want) cap *= 2;
    MZ_TRY(mz_mem_grow(&s->text, (int64_t)cap, 1));
    s->cap = cap;
    return MZ_OK;
}

mz_err mz_str_add(mz_str *s, const char *bytes, size_t len)
{
    MZ_NEED(s && (bytes || len == 0), "string or bytes is NULL");
    MZ_TRY(mz_str_reserve(s, len));
    if (len > 0) memcpy(s->text + s->len, bytes, len);
    s->len += len;
    s->text[s->len] = '\0';
    return MZ_OK;
}

mz_err mz_str_addf(mz_str *s, const char *fmt, ...)
{
    MZ_NEED(s && fmt, "string or format is NULL");
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    const int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    mz_err err;
    if (len < 0)
        err = MZ_FAIL(MZ_EINVAL, "this text cannot be formatted: %s", fmt);
    else
        err = mz_str_reserve(s, (size_t)len);
    if (err == MZ_OK) {
        (void)vsnprintf(s->text + s->len, (size_t)len + 1, fmt, again);
        s->len += (size_t)len;
    }
    va_end(again);
    return err;
}

mz_err mz_str_add_quoted(mz_str *s, const char *text)
{
    MZ_TRY(mz_str_add(s, "\"", 1));
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            MZ_TRY(mz_str_addf(s, "\\%c", *c));
        else if ((unsigned char)*c < 0x20)
            MZ_TRY(mz_str_addf(s, "\\u%04x", (unsigned)(unsigned char)*c));
        else
            MZ_TRY(mz_str_add(s, c, 1));
    }
    return mz_str_add(s, "\"", 1);
}

void mz_str_clear(mz_str *s)
{
    if (!s) return;
    mz_mem_free(s->text);
    *s = (mz_str){0};
}

bool mz_str_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool mz_str_ends(const char *text, const char *suffix)
{
    const size_t len = strlen(text), tail = strlen(suffix);
    return len >= tail && memcmp(text + len - tail, suffix, tail) == 0;
}

static int min3(int a, int b, int c)
{
    const int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edits (insert, drop, change, swap of neighbours) from a to b; b is shorter than WORD_MAX. */
static int distance(const char *a, const char *b)
{
    const int n = (int)strlen(a), m = (int)strlen(b);
    int row[3][WORD_MAX + 1]; /* two before, one before, this */
    int *before = row[0], *last = row[1], *now = row[2];
    for (int j = 0; j <= m; j++) last[j] = j;
    for (int i = 1; i <= n; i++) {
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            const int differs = a[i - 1] != b[j - 1];
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + differs);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        int *oldest = before;
        before = last, last = now, now = oldest;
    }
    return last[m];
}

const char *mz_str_nearest(const char *word, const char *const *names, int n)
{
    const size_t len = strlen(word);
    const char *best = NULL;
    /* A third of the letters wrong is still a slip; more is another word. */
    int limit = len < 3 ? 1 : (int)(len / 3);
    for (int i = 0; i < n; i++) {
        if (!names[i] || strlen(names[i]) >= WORD_MAX) continue;
        const int d = distance(word, names[i]);
        if (d > limit || (best && d == limit)) continue;
        best = names[i];
        limit = d;
    }
    return best;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool mz_str_to_i64(const char *text, int64_t *out)
{
    const bool negative = *text == '-';
    int64_t n = 0;
    if (negative) text++;
    if (!is_digit(*text)) return false;
    for (; is_digit(*text); text++) {
        const int64_t digit = *text - '0';
        if (!mz_mul_i64(n, 10, &n) || !mz_add_i64(n, negative ? -digit : digit, &n)) return false;
    }
    if (*text) return false;
    *out = n;
    return true;
}

static const char *skip_digits(const char *text)
{
    while (is_digit(*text)) text++;
    return text;
}

/* [-+] digits [. digits] [e [-+] digits], at least one digit before or after the point. strtod
 * alone would also take "0x1p3", "nan", "inf" and leading blanks. */
static bool is_decimal(const char *text)
{
    if (*text == '-' || *text == '+') text++;
    const char *end = skip_digits(text);
    int64_t digits = end - text;
    if (*end == '.') {
        text = end + 1;
        end = skip_digits(text);
        digits += end - text;
    }
    if (digits == 0) return false;
    if (*end == 'e' || *end == 'E') {
        text = end + 1;
        if (*text == '-' || *text == '+') text++;
        end = skip_digits(text);
        if (end == text) return false;
    }
    return *end == '\0';
}

bool mz_str_to_f64(const char *text, double *out)
{
    if (!is_decimal(text)) return false;
    char *end;
    const double x = strtod(text, &end);
    if (*end || !isfinite(x)) return false; /* another locale's decimal point; too large */
    *out = x;
    return true;
}

const char *mz_str_bytes(char out[32], double bytes)
{
    static const char *const UNIT[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int unit = 0;
    if (!isfinite(bytes)) {
        memcpy(out, "? B", 4);
        return out;
    }
    /* 1023.95 would be printed as 1024.0 of the smaller unit */
    while (unit < MZ_COUNT(UNIT) - 1 && fabs(bytes) >= (unit == 0 ? 1023.5 : 1023.95)) {
        bytes /= 1024.0;
        unit++;
    }
    if (fabs(bytes) < 1e6)
        (void)snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, UNIT[unit]);
    else
        (void)snprintf(out, 32, "%.3g %s", bytes, UNIT[unit]);
    return out;
}
