/* SPDX-License-Identifier: Apache-2.0 */
/* model/fields.c - typed reading of JSON fields. Floor: model. */
#include "model/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool mz_field_is_set(const mz_fields *f, const char *key)
{
    const json_t *value = json_object_get(f->object, key);
    return value && !json_is_null(value);
}

/* prefix is "" or "object." */
static int64_t offset_of(const mz_fields *f, const char *key)
{
    char outer[64];
    const size_t n = strlen(f->prefix);
    const char *const steps[2] = {outer, key};
    if (n == 0) return mz_json_offset(f->file, steps + 1, 1);
    if (n > sizeof outer) return -1;
    memcpy(outer, f->prefix, n - 1);
    outer[n - 1] = '\0';
    return mz_json_offset(f->file, steps, 2);
}

mz_err mz_field_refuse(const mz_fields *f, const char *key, mz_err code, const char *want, ...)
{
    char expected[256], field[128];
    va_list args;
    va_start(args, want);
    vsnprintf(expected, sizeof expected, want, args);
    va_end(args);
    snprintf(field, sizeof field, "%s%s", f->prefix, key);
    const json_t *value = json_object_get(f->object, key);
    char text[80] = "";
    if (value) {
        const size_t n = json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
        text[n < sizeof text ? n : sizeof text - 1] = '\0'; /* a long value is cut */
        mz_note(code, __FILE__, __LINE__, "%s is %s, expected %s", field, text, expected);
    } else
        mz_note(code, __FILE__, __LINE__, "%s is missing, expected %s", field, expected);
    mz_note_where(f->file, field, value ? offset_of(f, key) : -1);
    return code;
}

mz_err mz_field_int(const mz_fields *f, const char *key, int64_t absent, int64_t least,
                    int64_t most, int64_t *out)
{
    const json_t *value = json_object_get(f->object, key);
    if (!value || json_is_null(value)) {
        if (absent == MZ_REQUIRED) return mz_field_refuse(f, key, MZ_ECONFIG, "an integer");
        *out = absent;
        return MZ_OK;
    }
    if (!json_is_integer(value)) return mz_field_refuse(f, key, MZ_ECORRUPT, "an integer");
    const int64_t x = (int64_t)json_integer_value(value);
    if (x < least || x > most)
        return mz_field_refuse(f, key, MZ_ECONFIG, "an integer of %lld to %lld", (long long)least,
                               (long long)most);
    *out = x;
    return MZ_OK;
}

mz_err mz_field_real(const mz_fields *f, const char *key, double absent, double least, double most,
                     double *out)
{
    const json_t *value = json_object_get(f->object, key);
    if (!value || json_is_null(value)) {
        if (isnan(absent)) return mz_field_refuse(f, key, MZ_ECONFIG, "a number");
        *out = absent;
        return MZ_OK;
    }
    if (!json_is_number(value)) return mz_field_refuse(f, key, MZ_ECORRUPT, "a number");
    const double x = json_number_value(value);
    if (!(x >= least && x <= most))
        return mz_field_refuse(f, key, MZ_ECONFIG, "a number of %g to %g", least, most);
    *out = x;
    return MZ_OK;
}

mz_err mz_field_bool(const mz_fields *f, const char *key, bool absent, bool *out)
{
    const json_t *value = json_object_get(f->object, key);
    if (!value || json_is_null(value)) {
        *out = absent;
        return MZ_OK;
    }
    if (!json_is_boolean(value)) return mz_field_refuse(f, key, MZ_ECORRUPT, "true or false");
    *out = json_is_true(value);
    return MZ_OK;
}

mz_err mz_field_text(const mz_fields *f, const char *key, const char *absent, const char **out)
{
    const json_t *value = json_object_get(f->object, key);
    if (!value || json_is_null(value)) {
        if (!absent) return mz_field_refuse(f, key, MZ_ECONFIG, "a string");
        *out = absent;
        return MZ_OK;
    }
    if (!json_is_string(value)) return mz_field_refuse(f, key, MZ_ECORRUPT, "a string");
    *out = json_string_value(value);
    return MZ_OK;
}

mz_err mz_field_object(const mz_fields *f, const char *key, const json_t **out)
{
    const json_t *value = json_object_get(f->object, key);
    if (value && !json_is_null(value) && !json_is_object(value))
        return mz_field_refuse(f, key, MZ_ECORRUPT, "an object or null");
    *out = value && json_is_object(value) ? value : NULL;
    return MZ_OK;
}
