/* SPDX-License-Identifier: Apache-2.0 */
/* model/rope.h - reading and writing rope settings. Inside model/ only; the tables are declared in
 * config.h. Floor: model. */
#ifndef MZ_MODEL_ROPE_H
#define MZ_MODEL_ROPE_H

#include "model/config.h"
#include "model/fields.h"

/* Fills everything but `interleaved` from rope_theta, rope_scaling (4.x) and rope_parameters (5.x);
 * the two forms may both be there if they say the same. */
mz_err mz_rope_from_json(mz_rope_config *r, const mz_fields *f, int64_t dims, int64_t max_position);
/* rope_theta and rope_scaling into `object`. */
mz_err mz_rope_to_json(json_t *object, const mz_rope_config *r);
/* yarn's 0.1 mscale ln(factor) + 1; 1 for a factor of at most 1 */
double mz_rope_mscale(double factor, double mscale);

#endif
