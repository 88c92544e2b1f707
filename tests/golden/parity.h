/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/parity.h - every golden model on a chip, against what transformers makes of it in
 * float64 (tools/make_golden.py).
 *
 * f32    logits and hidden states within 3e-6 of their largest, loss 1e-6, each gradient 1e-5 in
 *        its L2 norm, router ids and 24 greedy tokens equal, cached decode like the whole batch
 * bf16   at most 1.25 times the error that transformers' own bf16 has, router ids forced
 * A tensor that is wanted and missing is a failure; MIZAN_PARITY_SHOW=1 prints the figures. */
#ifndef MZ_TESTS_GOLDEN_PARITY_H
#define MZ_TESTS_GOLDEN_PARITY_H

#include "chip/chip.h"

typedef struct mzt_parity_chip {
    const char *spec, *isa, *driver_path; /* isa, driver_path: NULL = what is there */
} mzt_parity_chip;

/* Fails where one of the models is further away. f64 is held to what f32 is. */
void mzt_parity_all(const mzt_parity_chip *chip, mz_dtype dtype);

#endif
