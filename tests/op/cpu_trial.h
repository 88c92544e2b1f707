/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/cpu_trial.h - random matrix products on the CPU, held against a plain double loop. */
#ifndef MZ_TESTS_OP_CPU_TRIAL_H
#define MZ_TESTS_OP_CPU_TRIAL_H

#include "tests/op/cpu_rig.h"

/* One random case, and the tensors of its call. */
typedef struct trial {
    mz_matmul_desc d;
    int64_t M, N, K, B; /* B matrices; 0: none */
    rig_layout at[8];   /* a b c bias dc da db dbias */
    uint64_t seed;
    mz_tensor a, b, c, bias, dc, da, db, dbias, old; /* old: what was in c, db or dbias before */
} trial;

int64_t trial_dim(mz_rng *rng); /* 0, 1, primes, powers of two ... */
/* Everything about a case follows from its seed. */
trial trial_random(uint64_t seed, bool backward);
/* Same numbers on every device: only `seed` decides. */
void trial_make(rig *r, trial *t);
/* Binds, runs one pass, asserts that nothing was allocated meanwhile. */
void trial_run(rig *r, trial *t);
bool trial_forward_is_right(const trial *t);
/* Asserts that 2, 3 and 8 threads give the bits of `first`. */
void trial_check_threads(const char *isa, const trial *first);
/* A whole case: made, run, compared, gaps watched, every fourth seed on more threads too. */
void trial_check_forward(const char *isa, uint64_t seed);
void trial_check_backward(const char *isa, uint64_t seed);
/* pack and unpack give back every bit, a NaN's payload too, and touch no gap. */
void trial_check_unpack(const char *isa, uint64_t seed);
/* The product with packed weights has the bits of the one with plain weights. */
void trial_check_packed(const char *isa, uint64_t seed);

#endif
