/* SPDX-License-Identifier: Apache-2.0 */
/* base/scan.h - a strict walk over JSON text that makes nothing but what its caller asks for.
 *
 * For headers that may be 100 MB: one pass, no tree, memory only where the caller puts a string.
 * Strict means RFC 8259: UTF-8 without overlong forms or surrogates, escapes checked, no control
 * characters in strings, numbers without leading zeros. A string with NUL in it is refused,
 * because names here are C strings (but see mz_scan.nul).
 * Floor:  base.
 * Errors: MZ_ECORRUPT with the file and the byte offset in it. */
#ifndef MZ_BASE_SCAN_H
#define MZ_BASE_SCAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mz_scan {
    const unsigned char *text; /* of `end` bytes; no NUL needed */
    size_t at, end;
    uint64_t base;     /* offset of text[0] in the file, for messages */
    const char *path;  /* likewise */
    const char *field; /* what is being read, "" at first */
    bool nul;          /* strings may hold NUL: they are texts, not names */
} mz_scan;

/* Notes `what` at byte `at` of the text. Returns MZ_ECORRUPT. */
mz_err mz_scan_bad(const mz_scan *s, size_t at, const char *what);
/* Skips white space, then takes `c` or fails with "expected <what>". */
mz_err mz_scan_take(mz_scan *s, char c, const char *what);
/* Skips white space, then takes `c` if it is there. */
bool mz_scan_have(mz_scan *s, char c);
void mz_scan_space(mz_scan *s); /* skips white space */
/* The string that stands here, unescaped, if it fits with its NUL; else out becomes "". Takes
 * nothing. */
mz_err mz_scan_peek(const mz_scan *s, char *out, size_t out_bytes);
/* Bytes of the UTF-8 sequence at p (RFC 3629), of which `left` bytes are there; 0 if it is none. */
size_t mz_scan_utf8(const unsigned char *p, size_t left);
/* Whether only white space is left (and skips it). */
bool mz_scan_done(mz_scan *s);
/* A string, unescaped. out NULL = checked only; else room for *bytes of the same call without out,
 * which counts the NUL at its end. */
mz_err mz_scan_string(mz_scan *s, char *out, size_t *bytes);
/* The same without a copy: *text points into the scanned text, or, where the string has escapes, to
 * *room, which then moves on. A string takes at most as many bytes there as it has in the file. */
mz_err mz_scan_text(mz_scan *s, char **room, const char **text, size_t *bytes);
/* An integer of 0 .. 2^63-1, written with digits only. */
mz_err mz_scan_uint(mz_scan *s, uint64_t *out);
/* Any value, checked and dropped; at most `depth` arrays and objects deep. */
mz_err mz_scan_skip(mz_scan *s, int depth);

#endif
