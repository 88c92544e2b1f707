/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/quant.h - block formats: runs of 32 or 256 numbers that share their scales.
 *
 *   Q8_0, Q4_0, Q5_0   x = d q          Q4_1, Q5_1   x = d q + m
 *   Q4_K, Q5_K         x = d sc q - dmin mn, with sc and mn for each 32 of a block of 256
 *   Q6_K               x = d sc q, with sc for each 16 of a block of 256
 *
 * Expansion gives the bits of the formats' reference code: every product and sum is one f32
 * operation, in its order. So do the encoders, which are there for Q8_0 and Q4_0.
 * Source: ggml, docs of the GGUF block types (layout and reference formulas).
 * Floor:  tensor. May use base.
 * Errors: MZ_ENOTSUP: no encoder for this format; MZ_ENUMERIC: a number that is not finite, or too
 *         large for the format's half-precision scale, with its index as the offset of the note. */
#ifndef MZ_TENSOR_QUANT_H
#define MZ_TENSOR_QUANT_H

#include "tensor/dtype.h"

typedef enum mz_quant {
#define MZ_QUANT_ENUM(name, elements, bytes) MZ_QUANT_##name,
    MZ_BLOCK_LIST(MZ_QUANT_ENUM)
#undef MZ_QUANT_ENUM
        MZ_QUANT_COUNT
} mz_quant;

int64_t mz_quant_block(mz_quant q);             /* elements */
size_t mz_quant_block_bytes(mz_quant q);        /* of one block */
const char *mz_quant_name(mz_quant q);          /* "Q4_K" */
mz_dtype mz_quant_dtype(mz_quant q);            /* the dtype of tensors of such blocks */
bool mz_dtype_quant(mz_dtype d, mz_quant *out); /* false for plain types */

/* out    out [n] f32
 * blocks in  n / block blocks, unaligned
 * n      a multiple of the block */
mz_err mz_quant_expand(mz_quant q, float *out, const void *blocks, int64_t n);
/* The other way. blocks may be unaligned and does not overlap x. */
mz_err mz_quant_encode(mz_quant q, void *blocks, const float *x, int64_t n);
bool mz_quant_can_encode(mz_quant q);

#endif
