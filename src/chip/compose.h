/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose.h - between the files of compose: a composition is a list of parts (operators of the
 * same queue), scratch that lives across them, and two functions that run them in order.
 *
 * A part may be composed itself. That ends: every recipe asks for operators further down this list
 * only, or for a simpler description of its own.
 *     experts, unpermute, rope, embed, sumsq, reduce, matmul (batch, then bias and accumulate)
 *     rows, cast, elementwise: never composed
 * matmul's dbias asks for a reduce, whose matmul has no bias: still no circle.
 *
 * Floor:  chip. */
#ifndef MZ_CHIP_COMPOSE_H
#define MZ_CHIP_COMPOSE_H

#include "chip/chip.h"

enum { MZ_PARTS_MAX = 8, MZ_SCRATCH_MAX = 6 };

typedef struct mz_recipe {
    mz_desc part[MZ_PARTS_MAX];
    bool wanted[MZ_PARTS_MAX];      /* parts stand at fixed places; some calls need not all */
    size_t scratch[MZ_SCRATCH_MAX]; /* bytes */
    size_t host_bytes;              /* host memory for what the host must read */
    bool blocks_host;
    const char *reason;
} mz_recipe;

/* State of a bound composition. */
typedef struct mz_composed {
    mz_op *part[MZ_PARTS_MAX]; /* NULL where not wanted */
    size_t at[MZ_SCRATCH_MAX]; /* of each scratch in the op's workspace, behind that of the parts */
    void *host;
    mz_buffer *constant; /* numbers that never change, made by prepare */
} mz_composed;

typedef struct mz_composition {
    /* MZ_ENOTSUP where this description cannot be composed at all; r comes zeroed. */
    mz_err (*recipe)(const mz_desc *desc, mz_recipe *r);
    mz_err (*prepare)(mz_op *op, mz_composed *c); /* NULL = nothing to prepare */
    mz_slot slot; /* forward and backward; compose.c does the rest */
} mz_composition;

extern const mz_composition mz_compose_matmul, mz_compose_experts, mz_compose_rope,
    mz_compose_embed, mz_compose_unpermute, mz_compose_sumsq, mz_compose_reduce;

void mz_recipe_part(mz_recipe *r, int i, const mz_desc *desc);
mz_err mz_recipe_scratch(mz_recipe *r, int i, mz_dtype dtype, int64_t a, int64_t b, int64_t c);

/* A dense view of scratch i. */
mz_tensor mz_scratch(const mz_op *op, int i, mz_dtype dtype, int rank, const int64_t *dim);
/* The same bytes under other dims and strides, first element `shift` elements further. */
mz_tensor mz_restride(const mz_tensor *t, int64_t shift, const int64_t dim[3],
                      const int64_t stride[3]);
mz_err mz_part_run(const mz_op *op, int i, mz_pass pass, const mz_args *args);
/* The parts that most compositions have. */
mz_desc mz_desc_elementwise(mz_dtype dtype, mz_elementwise_fn fn, int64_t n);
mz_desc mz_desc_cast(mz_dtype from, mz_dtype to, int64_t T, int64_t n);
mz_err mz_part_elementwise(const mz_op *op, int i, const mz_tensor *y, const mz_tensor *a,
                           const mz_tensor *b);
mz_err mz_part_cast(const mz_op *op, int i, const mz_tensor *y, const mz_tensor *x);

#endif
