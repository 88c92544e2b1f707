/* SPDX-License-Identifier: Apache-2.0 */
/* model/rope.c - rotary positions: settings in both of transformers' forms, and the tables.
 *
 *   f_j = theta^(-2j/dims), changed by the scaling;  cos, sin of position * f_j, times yarn's
 * factor
 *
 * Source: Su et al. 2021, arXiv:2104.09864 (rope); Peng et al. 2023, arXiv:2309.00071 (yarn);
 *         transformers' rope utilities for the order of roundings, which the tables follow: each
 *         step below is one f32 operation, so no two of them stand in one expression.
 * Floor:  model. May use base.
 * Errors: MZ_ECONFIG with field, value and what was expected; MZ_ECORRUPT for a wrong JSON type. */
#include "model/rope.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

static const double TWO_PI = 6.283185307179586;

static const struct {
    const char *name;
    mz_rope_scaling scaling;
} ROPE_TYPES[] = {{"default", MZ_ROPE_DEFAULT},
                  {"linear", MZ_ROPE_LINEAR},
                  {"yarn", MZ_ROPE_YARN},
                  {"llama3", MZ_ROPE_LLAMA3}};

static mz_err read_type(mz_rope_scaling *out, const mz_fields *f)
{
    const char *key = mz_field_is_set(f, "rope_type") ? "rope_type" : "type";
    const char *name = NULL;
    MZ_TRY(mz_field_text(f, key, "default", &name));
    for (int i = 0; i < MZ_COUNT(ROPE_TYPES); i++)
        if (strcmp(ROPE_TYPES[i].name, name) == 0) {
            *out = ROPE_TYPES[i].scaling;
            return MZ_OK;
        }
    return mz_field_refuse(f, key, MZ_ECONFIG, "default, linear, yarn or llama3");
}

static mz_err read_original_max(mz_rope_config *r, const mz_fields *f, const mz_fields *top,
                                int64_t max_position)
{
    const bool outside = mz_field_is_set(top, "original_max_position_embeddings");
    return mz_field_int(outside ? top : f, "original_max_position_embeddings", max_position, 1,
                        INT32_MAX, &r->original_max_position);
}

static mz_err read_yarn(mz_rope_config *r, const mz_fields *f)
{
    MZ_TRY(mz_field_real(f, "beta_fast", 0.0, 0.0, 1e6, &r->beta_fast));
    MZ_TRY(mz_field_real(f, "beta_slow", 0.0, 0.0, 1e6, &r->beta_slow));
    if (!(r->beta_fast > 0.0)) r->beta_fast = 32.0; /* 0 counts as absent in transformers too */
    if (!(r->beta_slow > 0.0)) r->beta_slow = 1.0;
    if (r->beta_fast < r->beta_slow)
        return mz_field_refuse(f, "beta_fast", MZ_ECONFIG, "at least beta_slow, %g", r->beta_slow);
    MZ_TRY(mz_field_real(f, "mscale", 0.0, 0.0, 1e3, &r->mscale));
    MZ_TRY(mz_field_real(f, "attention_factor", 0.0, 0.0, 1e6, &r->attention_factor));
    if (mz_field_is_set(f, "attention_factor") && !(r->attention_factor > 0.0))
        return mz_field_refuse(f, "attention_factor", MZ_ECONFIG, "a number above 0");
    MZ_TRY(mz_field_bool(f, "truncate", true, &r->truncate));
    if (!(fabs(r->theta - 1.0) > 0.0))
        return mz_field_refuse(f, "rope_theta", MZ_ECONFIG, "another number than 1 with yarn");
    return MZ_OK;
}

static mz_err read_llama3(mz_rope_config *r, const mz_fields *f)
{
    MZ_TRY(mz_field_real(f, "low_freq_factor", (double)NAN, 1e-6, 1e6, &r->low_freq_factor));
    MZ_TRY(mz_field_real(f, "high_freq_factor", (double)NAN, 1e-6, 1e6, &r->high_freq_factor));
    if (!(r->high_freq_factor > r->low_freq_factor))
        return mz_field_refuse(f, "high_freq_factor", MZ_ECONFIG, "more than low_freq_factor, %g",
                               r->low_freq_factor);
    return MZ_OK;
}

static mz_err read_theta(double *out, const mz_fields *f, const mz_fields *top)
{
    double outside = 0.0;
    MZ_TRY(mz_field_real(top, "rope_theta", 1e4, 1.0, 1e12, &outside));
    MZ_TRY(mz_field_real(f, "rope_theta", outside, 1.0, 1e12, out));
    if (mz_field_is_set(top, "rope_theta") && fabs(outside - *out) > 0.0)
        return mz_field_refuse(f, "rope_theta", MZ_ECONFIG, "what rope_theta outside says, %g",
                               outside);
    return MZ_OK;
}

/* One settings object; an empty one for a config that has none. */
static mz_err read_settings(mz_rope_config *r, const mz_fields *f, const mz_fields *top,
                            int64_t max_position)
{
    MZ_TRY(read_type(&r->scaling, f));
    MZ_TRY(read_theta(&r->theta, f, top));
    const mz_fields *const places[] = {top, f};
    for (int i = 0; i < MZ_COUNT(places); i++) {
        double part = 1.0;
        MZ_TRY(mz_field_real(places[i], "partial_rotary_factor", 1.0, 0.0, 1.0, &part));
        if (part < 1.0)
            return mz_field_refuse(places[i], "partial_rotary_factor", MZ_ECONFIG,
                                   "1 (a partly rotated head is not supported)");
    }
    r->factor = 1.0;
    r->truncate = true;
    if (r->scaling == MZ_ROPE_DEFAULT) return MZ_OK;
    MZ_TRY(mz_field_real(f, "mscale_all_dim", 0.0, 0.0, 1e3, &r->mscale_all_dim));
    if (r->scaling != MZ_ROPE_LINEAR) MZ_TRY(read_original_max(r, f, top, max_position));
    const double ratio = r->scaling == MZ_ROPE_YARN && json_object_get(f->object, "factor")
                             ? (double)max_position / (double)r->original_max_position
                             : (double)NAN; /* a factor of null is not a missing one */
    MZ_TRY(mz_field_real(f, "factor", ratio, 1.0, 1e6, &r->factor));
    if (r->scaling == MZ_ROPE_LINEAR) return MZ_OK;
    return r->scaling == MZ_ROPE_YARN ? read_yarn(r, f) : read_llama3(r, f);
}

static bool same_real(double a, double b)
{
    return !(fabs(a - b) > 0.0);
}

static bool same_rope(const mz_rope_config *a, const mz_rope_config *b)
{
    return a->scaling == b->scaling && same_real(a->theta, b->theta) &&
           same_real(a->factor, b->factor) &&
           a->original_max_position == b->original_max_position &&
           same_real(a->beta_fast, b->beta_fast) && same_real(a->beta_slow, b->beta_slow) &&
           same_real(a->mscale, b->mscale) && same_real(a->mscale_all_dim, b->mscale_all_dim) &&
           same_real(a->attention_factor, b->attention_factor) && a->truncate == b->truncate &&
           same_real(a->low_freq_factor, b->low_freq_factor) &&
           same_real(a->high_freq_factor, b->high_freq_factor);
}

mz_err mz_rope_from_json(mz_rope_config *r, const mz_fields *f, int64_t dims, int64_t max_position)
{
    const json_t *scaling = NULL, *parameters = NULL;
    MZ_TRY(mz_field_object(f, "rope_scaling", &scaling));
    MZ_TRY(mz_field_object(f, "rope_parameters", &parameters));
    const json_t *nested = json_object_get(parameters, "full_attention");
    if (json_is_object(nested)) parameters = nested;
    mz_fields in4 = {scaling, f->file, "rope_scaling."};
    mz_fields in5 = {parameters, f->file, "rope_parameters."};
    mz_rope_config four = {.dims = dims, .interleaved = r->interleaved}, five = four;
    MZ_TRY(read_settings(&four, &in4, f, max_position));
    MZ_TRY(read_settings(&five, &in5, f, max_position));
    if (json_object_size(scaling) > 0 && json_object_size(parameters) > 0 &&
        !same_rope(&four, &five))
        return mz_field_refuse(f, "rope_scaling", MZ_ECONFIG, "what rope_parameters says");
    *r = json_object_size(scaling) > 0 ? four : five;
    return MZ_OK;
}

static int put_yarn(json_t *o, const mz_rope_config *r)
{
    int bad = json_object_set_new(o, "beta_fast", json_real(r->beta_fast));
    bad |= json_object_set_new(o, "beta_slow", json_real(r->beta_slow));
    if (r->mscale > 0.0) bad |= json_object_set_new(o, "mscale", json_real(r->mscale));
    if (r->attention_factor > 0.0)
        bad |= json_object_set_new(o, "attention_factor", json_real(r->attention_factor));
    if (!r->truncate) bad |= json_object_set_new(o, "truncate", json_false());
    return bad;
}

mz_err mz_rope_to_json(json_t *object, const mz_rope_config *r)
{
    int bad = json_object_set_new(object, "rope_theta", json_real(r->theta));
    json_t *o = r->scaling == MZ_ROPE_DEFAULT ? json_null() : json_object();
    bad |= json_object_set_new(object, "rope_scaling", o);
    if (bad) return MZ_FAIL(MZ_ENOMEM, "no memory for a config");
    if (r->scaling == MZ_ROPE_DEFAULT) return MZ_OK;
    const char *name = ROPE_TYPES[0].name;
    for (int i = 0; i < MZ_COUNT(ROPE_TYPES); i++)
        if (ROPE_TYPES[i].scaling == r->scaling) name = ROPE_TYPES[i].name;
    bad |= json_object_set_new(o, "rope_type", json_string(name));
    bad |= json_object_set_new(o, "type", json_string(name)); /* before transformers 4.45 */
    bad |= json_object_set_new(o, "factor", json_real(r->factor));
    if (r->mscale_all_dim > 0.0)
        bad |= json_object_set_new(o, "mscale_all_dim", json_real(r->mscale_all_dim));
    if (r->scaling != MZ_ROPE_LINEAR)
        bad |= json_object_set_new(o, "original_max_position_embeddings",
                                   json_integer(r->original_max_position));
    if (r->scaling == MZ_ROPE_YARN) bad |= put_yarn(o, r);
    if (r->scaling == MZ_ROPE_LLAMA3) {
        bad |= json_object_set_new(o, "low_freq_factor", json_real(r->low_freq_factor));
        bad |= json_object_set_new(o, "high_freq_factor", json_real(r->high_freq_factor));
    }
    return bad ? MZ_FAIL(MZ_ENOMEM, "no memory for a config") : MZ_OK;
}

/* ---- tables ---- */

double mz_rope_mscale(double factor, double mscale)
{
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

double mz_rope_attention_factor(const mz_rope_config *r)
{
    if (r->scaling != MZ_ROPE_YARN) return 1.0;
    if (r->attention_factor > 0.0) return r->attention_factor;
    if (r->mscale > 0.0 && r->mscale_all_dim > 0.0)
        return mz_rope_mscale(r->factor, r->mscale) / mz_rope_mscale(r->factor, r->mscale_all_dim);
    return mz_rope_mscale(r->factor, 1.0);
}

/* The column where n rotations fit into the original context. */
static double correction(const mz_rope_config *r, double rotations)
{
    return (double)r->dims * log((double)r->original_max_position / (rotations * TWO_PI)) /
           (2.0 * log(r->theta));
}

static void scale_yarn(const mz_rope_config *r, const float *power, float *f)
{
    double low = correction(r, r->beta_fast), high = correction(r, r->beta_slow);
    if (r->truncate) low = floor(low), high = ceil(high);
    if (low < 0.0) low = 0.0;
    if (high > (double)(r->dims - 1)) high = (double)(r->dims - 1);
    if (same_real(low, high)) high += 0.001;
    const float from = (float)low, span = (float)(high - low), factor = (float)r->factor;
    for (int64_t j = 0; j < r->dims / 2; j++) {
        const float off = (float)j - from;
        float ramp = off / span;
        ramp = ramp > 1.0f ? 1.0f : (ramp > 0.0f ? ramp : 0.0f);
        const float keep = 1.0f - ramp;
        const float stretch = 1.0f - keep;
        const float longer = factor * power[j];
        const float inter = 1.0f / longer;
        const float a = inter * stretch;
        const float b = f[j] * keep;
        f[j] = a + b;
    }
}

static void scale_llama3(const mz_rope_config *r, float *f)
{
    const double old = (double)r->original_max_position;
    const float low = (float)r->low_freq_factor, factor = (float)r->factor, length = (float)old;
    const float longest = (float)(old / r->low_freq_factor);
    const float shortest = (float)(old / r->high_freq_factor);
    const float band = (float)(r->high_freq_factor - r->low_freq_factor);
    for (int64_t j = 0; j < r->dims / 2; j++) {
        const float period = 1.0f / f[j];
        const float wave = period * (float)TWO_PI;
        const float slow = f[j] / factor;
        if (wave > longest)
            f[j] = slow;
        else if (!(wave < shortest)) {
            const float per = 1.0f / wave;
            const float turns = per * length;
            const float above = turns - low;
            const float smooth = above / band;
            const float rest = 1.0f - smooth;
            const float part = rest * f[j];
            const float a = part / factor;
            const float b = smooth * f[j];
            f[j] = a + b;
        }
    }
}

static void frequencies(const mz_rope_config *r, float *power, float *f)
{
    for (int64_t j = 0; j < r->dims / 2; j++) {
        const float exponent = (float)(2 * j) / (float)r->dims;
        power[j] = (float)pow((double)(float)r->theta, (double)exponent);
        f[j] = 1.0f / power[j];
        if (r->scaling == MZ_ROPE_LINEAR) f[j] = f[j] / (float)r->factor;
    }
    if (r->scaling == MZ_ROPE_YARN) scale_yarn(r, power, f);
    if (r->scaling == MZ_ROPE_LLAMA3) scale_llama3(r, f);
}

mz_err mz_rope_frequencies(const mz_rope_config *r, float *out)
{
    MZ_NEED(r && out && r->dims > 0 && r->dims % 2 == 0, "rope dims are odd or none, or no room");
    float *scratch = NULL;
    MZ_TRY(mz_mem_new(&scratch, r->dims / 2, sizeof *scratch));
    frequencies(r, scratch, out);
    mz_mem_free(scratch);
    return MZ_OK;
}

mz_err mz_rope_tables(const mz_rope_config *r, int64_t positions, float *cos_out, float *sin_out)
{
    MZ_NEED(r && r->dims > 0 && r->dims % 2 == 0, "rope dims are odd or none");
    MZ_NEED(positions >= 0 && ((cos_out && sin_out) || positions == 0), "no room for rope tables");
    const int64_t half = r->dims / 2;
    float *scratch = NULL;
    MZ_TRY(mz_mem_new(&scratch, r->dims, sizeof *scratch));
    float *f = scratch + half;
    frequencies(r, scratch, f);
    const float scale = (float)mz_rope_attention_factor(r);
    for (int64_t p = 0; p < positions; p++)
        for (int64_t j = 0; j < half; j++) {
            const float angle = (float)p * f[j];
            const float c = (float)cos((double)angle), s = (float)sin((double)angle);
            cos_out[p * half + j] = c * scale;
            sin_out[p * half + j] = s * scale;
        }
    mz_mem_free(scratch);
    return MZ_OK;
}
