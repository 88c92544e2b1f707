/* SPDX-License-Identifier: Apache-2.0 */
/* model/fields.h - typed reading of one JSON object, with the refusal that names field, value and
 * what was expected. For model/ and port/.
 *
 * A field that is absent or null takes its default; MZ_REQUIRED or NAN as the default means that it
 * must be there.
 * Floor:  model.
 * Errors: MZ_ECORRUPT: another JSON type than the field has; MZ_ECONFIG: missing, or out of range.
 */
#ifndef MZ_MODEL_FIELDS_H
#define MZ_MODEL_FIELDS_H

#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

#define MZ_REQUIRED INT64_MIN

typedef struct mz_fields {
    const json_t *object;
    const char *file;   /* for messages */
    const char *prefix; /* "rope_scaling." or "" */
} mz_fields;

bool mz_field_is_set(const mz_fields *f, const char *key); /* there, and not null */
mz_err mz_field_int(const mz_fields *f, const char *key, int64_t absent, int64_t least,
                    int64_t most, int64_t *out);
mz_err mz_field_real(const mz_fields *f, const char *key, double absent, double least, double most,
                     double *out);
mz_err mz_field_bool(const mz_fields *f, const char *key, bool absent, bool *out);
/* *out is borrowed from the JSON, or is `absent` itself */
mz_err mz_field_text(const mz_fields *f, const char *key, const char *absent, const char **out);
/* An object; NULL where the field is absent or null. */
mz_err mz_field_object(const mz_fields *f, const char *key, const json_t **out);

/* Refuses the field: notes "<prefix><key> is <its value>, expected <want>". Returns `code`. */
mz_err mz_field_refuse(const mz_fields *f, const char *key, mz_err code, const char *want, ...)
    MZ_PRINTF(4, 5);

#endif
