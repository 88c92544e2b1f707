/* SPDX-License-Identifier: Apache-2.0 */
/* app/order2.h - the order-2 byte model that the demonstration has to beat.
 *
 * A byte's probability is what followed the two bytes before it in the training text, mixed with
 * what followed the one before it, and so on down to 1/256 (Witten and Bell): with n sightings of a
 * context and t different bytes after it,  p = (count + t * p_shorter) / (n + t).
 *
 * Floor:  app.   Errors: MZ_ENOMEM; MZ_ECORRUPT for fewer than three bytes. */
#ifndef MZ_APP_ORDER2_H
#define MZ_APP_ORDER2_H

#include "base/err.h"

#include <stddef.h>

/* Bits a byte of `held` under the model fitted to `text`; the first two bytes are given. */
mz_err mz_order2_bits(const char *text, size_t n, const char *held, size_t n_held, double *bits);

#endif
