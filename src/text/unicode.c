/* SPDX-License-Identifier: Apache-2.0 */
/* text/unicode.c - looks up generated runs; UTF-8. Floor: text. */
#include "text/unicode.h"

/* The value of the run that `point` lies in. */
static uint32_t run_value(const uint32_t *runs, int count, uint32_t point)
{
    int low = 0, high = count; /* runs before low begin at or before point */
    while (low < high) {
        const int middle = (low + high) / 2;
        if (runs[middle] >> 8 <= point)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? runs[low - 1] & 0xffu : 0;
}

uint16_t mz_unicode_beyond(uint32_t point)
{
    return (uint16_t)(run_value(mz_unicode_runs, mz_unicode_runs_count, point) |
                      run_value(mz_unicode_marks, mz_unicode_marks_count, point) << 8);
}

static void fill(mz_unicode *u, const uint32_t *runs, int count, int shift)
{
    for (int i = 0; i < count; i++) {
        const uint32_t value = (runs[i] & 0xffu) << shift;
        const uint32_t end = i + 1 < count ? runs[i + 1] >> 8 : MZ_UNICODE_FLAT;
        if (value == 0) continue;
        for (uint32_t p = runs[i] >> 8; p < end && p < MZ_UNICODE_FLAT; p++)
            u->flat[p] = (uint16_t)(u->flat[p] | value);
    }
}

void mz_unicode_init(mz_unicode *u)
{
    for (uint32_t p = 0; p < MZ_UNICODE_FLAT; p++) u->flat[p] = 0;
    fill(u, mz_unicode_runs, mz_unicode_runs_count, 0);
    fill(u, mz_unicode_marks, mz_unicode_marks_count, 8);
}

bool mz_unicode_is_late_digit(uint32_t point)
{
    for (int i = 0; i + 1 < mz_unicode_digits_later_count; i += 2)
        if (point >= mz_unicode_digits_later[i] && point <= mz_unicode_digits_later[i + 1])
            return true;
    return false;
}

size_t mz_utf8_write(char *out, uint32_t point)
{
    static const unsigned char mark[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    const size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (char)(mark[n] | point);
    return n;
}

bool mz_utf8_valid(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t at = 0; at < bytes;) {
        uint32_t point;
        const size_t n = mz_utf8_read(p + at, bytes - at, &point);
        if (n == 1 && p[at] >= 0x80) return false;
        at += n;
    }
    return true;
}

size_t mz_utf8_open_end(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t back = 1; back <= 3 && back <= bytes; back++) {
        const unsigned char c = p[bytes - back];
        if (c < 0x80) return 0;
        if (c < 0xc0) continue;
        const size_t n = c < 0xc2 || c > 0xf4 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        if (n <= back) return 0;
        if (back == 1) return back;
        /* The second byte decides whether a character can still come of it. */
        const unsigned char second = p[bytes - back + 1];
        const unsigned char least = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        const unsigned char most = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        return second >= least && second <= most ? back : 0;
    }
    return 0;
}
