/* SPDX-License-Identifier: Apache-2.0 */
/* base/json.h - jansson behind Mizan's errors: strict reading with position, and atomic writing.
 *
 * Floor:  base.
 * Errors: MZ_ECORRUPT with file, byte offset and line (bad JSON, duplicate keys, nesting over 512,
 * not UTF-8); MZ_EIO; MZ_ENOMEM. Owner:  a json_t that comes out is a new reference; the caller
 * calls json_decref. */
#ifndef MZ_BASE_JSON_H
#define MZ_BASE_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* name is only for messages. */
mz_err mz_json_parse(json_t **out, const char *text, size_t bytes, const char *name);
mz_err mz_json_read(json_t **out, const char *path, size_t max_bytes);
mz_err mz_json_write(const json_t *value, const char *path); /* indented by 2, durable */
/* Where the value stands that these steps lead to, in bytes from the start of the file; -1 if the
 * file cannot be read or has none there. A step is the name of a member, or "#12" for element or
 * member 12 of what it is in. For messages: jansson forgets positions. Leaves the note alone. */
int64_t mz_json_offset(const char *path, const char *const *steps, int n);
/* json_real that maps NaN and infinities to null. New reference or NULL. */
json_t *mz_json_number(double x);

#endif
