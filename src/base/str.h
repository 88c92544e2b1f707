/* SPDX-License-Identifier: Apache-2.0 */
/* base/str.h - a growing byte string and a few helpers on text.
 * Floor: base. Owner: mz_str owns its bytes; clear frees them. Always NUL-terminated after a
 * success. */
#ifndef MZ_BASE_STR_H
#define MZ_BASE_STR_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct mz_str {
    char *text; /* NULL while empty */
    size_t len, cap;
} mz_str;

/* Room for `more` bytes behind the text, which the caller then writes and counts in len. */
mz_err mz_str_reserve(mz_str *s, size_t more);
/* Neither bytes nor an argument of the format may be a part of s. */
mz_err mz_str_add(mz_str *s, const char *bytes, size_t len);
mz_err mz_str_addf(mz_str *s, const char *fmt, ...) MZ_PRINTF(2, 3);
/* In double quotes, as JSON and YAML have it; text is UTF-8. */
mz_err mz_str_add_quoted(mz_str *s, const char *text);
void mz_str_clear(mz_str *s);

bool mz_str_starts(const char *text, const char *prefix);
bool mz_str_ends(const char *text, const char *suffix);
/* The entry of names[0..n-1] nearest to `word` by edit distance, NULL if none is near. */
const char *mz_str_nearest(const char *word, const char *const *names, int n);
/* Whole-string parses: false if anything is left over or out of range. */
bool mz_str_to_i64(const char *text, int64_t *out);
bool mz_str_to_f64(const char *text, double *out);
/* "1.5 GiB", "12.3 MB/s" and the like are made here so that they look alike everywhere. */
const char *mz_str_bytes(char out[32], double bytes);

#endif
