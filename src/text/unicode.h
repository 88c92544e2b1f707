/* SPDX-License-Identifier: Apache-2.0 */
/* text/unicode.h - UTF-8, what kind of character a code point is, and composition (NFC).
 *
 * Source: The Unicode Standard, and the editions of it that the tokenizers library follows, since
 * ids are only equal if we follow it: classes 16.0, MZ_NUMERIC 17.0, composition 9.0
 * (tools/make_unicode.py holds them against that library for every code point).
 * Floor:  text. May use base.
 * Time:   tables are read-only once made; any number of threads may read one.
 * Not here: case folding; nothing needs it. */
#ifndef MZ_TEXT_UNICODE_H
#define MZ_TEXT_UNICODE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bits of a code point. */
enum {
    MZ_LETTER = 1,       /* L* */
    MZ_MARK = 2,         /* M* */
    MZ_NUMBER = 4,       /* N* */
    MZ_PUNCTUATION = 8,  /* P* */
    MZ_SYMBOL = 16,      /* S* */
    MZ_SPACE = 32,       /* White_Space */
    MZ_REORDERS = 64,    /* has a combining class */
    MZ_RECOMPOSES = 128, /* NFC_QC is not Yes: may change under NFC, or change what is before it */
};

enum { MZ_UNICODE_FLAT = 0x20000 }; /* code points below are looked up directly */

typedef struct mz_unicode {
    uint16_t flat[MZ_UNICODE_FLAT]; /* bits | combining class << 8 */
} mz_unicode;

void mz_unicode_init(mz_unicode *u);
uint16_t mz_unicode_beyond(uint32_t point);    /* for code points from MZ_UNICODE_FLAT on */
bool mz_unicode_is_late_digit(uint32_t point); /* a number of Unicode 17.0 that 16.0 lacks */

static inline uint16_t mz_unicode_entry(const mz_unicode *u, uint32_t point)
{
    return point < MZ_UNICODE_FLAT ? u->flat[point] : mz_unicode_beyond(point);
}

/* Reads one character at p (left > 0) and returns its bytes, 1..4. What is not UTF-8 (RFC 3629) is
 * one byte long and reads as U+FFFD, so that any bytes at all are text. */
static inline size_t mz_utf8_read(const unsigned char *p, size_t left, uint32_t *point)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char c = p[0];
    *point = c;
    if (c < 0x80) return 1;
    const size_t n = (c >> 5) == 6 ? 2 : (c >> 4) == 14 ? 3 : (c >> 3) == 30 ? 4 : 0;
    *point = 0xfffd;
    if (n == 0 || n > left) return 1;
    uint32_t x = c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 1;
        x = x << 6 | (p[i] & 0x3fu);
    }
    if (x < least[n] || x > 0x10ffff || (x >= 0xd800 && x < 0xe000)) return 1;
    *point = x;
    return n;
}

/* Bytes written to out (room for 4). point must be a scalar value. */
size_t mz_utf8_write(char *out, uint32_t point);
/* Whether all of it is UTF-8. */
bool mz_utf8_valid(const char *text, size_t bytes);
/* Bytes at the end of a text that begin a character and do not end it, 0..3. */
size_t mz_utf8_open_end(const char *text, size_t bytes);

/* Appends the NFC of a text to out. Bytes that are not UTF-8 stay as they are and compose with
 * nothing. *same (if not NULL): the text is NFC already, and nothing was appended. */
mz_err mz_nfc(const mz_unicode *u, const char *text, size_t bytes, mz_str *out, bool *same);

/* ---- the generated tables (unicode_classes.c, unicode_nfc.c) ---- */
/* code point << 8 | value: from there on, up to the next one */
extern const uint32_t mz_unicode_runs[], mz_unicode_marks[];
extern const int mz_unicode_runs_count, mz_unicode_marks_count;
/* first, last, first, last ... */
extern const uint32_t mz_unicode_digits_later[];
extern const int mz_unicode_digits_later_count;
/* code point (| 1 << 31 if NFC does not compose it), first, second or 0; by code point */
extern const uint32_t mz_unicode_pairs[];
extern const int mz_unicode_pairs_count;
/* The rows of mz_unicode_pairs that NFC composes, by first, then second. */
extern const uint32_t mz_unicode_composing[];
extern const int mz_unicode_composing_count;

#endif
