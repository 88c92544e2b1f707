/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/dtype.h - element types and their names in safetensors and PyTorch.
 *
 * Block types are runs of 32 or 256 numbers that share their scales (tensor/quant.h). A tensor of
 * one counts dims and strides in numbers like any other; its rows are whole blocks, so the last dim
 * and every stride but the last are multiples of the block. They are stored and multiplied with,
 * never computed in: mz_dtype_bits and mz_dtype_bytes, which speak of one element, say 0.
 * Floor: tensor. */
#ifndef MZ_TENSOR_DTYPE_H
#define MZ_TENSOR_DTYPE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* X(name, safetensors name, bits, is a float that Mizan computes with) */
#define MZ_DTYPE_LIST(X)                                                                           \
    X(F64, "F64", 64, true)                                                                        \
    X(F32, "F32", 32, true)                                                                        \
    X(BF16, "BF16", 16, true)                                                                      \
    X(F16, "F16", 16, true)                                                                        \
    X(F8_E4M3, "F8_E4M3", 8, false)                                                                \
    X(F8_E5M2, "F8_E5M2", 8, false)                                                                \
    X(F8_E8M0, "F8_E8M0", 8, false)                                                                \
    X(F8_E4M3FNUZ, "F8_E4M3FNUZ", 8, false)                                                        \
    X(F8_E5M2FNUZ, "F8_E5M2FNUZ", 8, false)                                                        \
    X(F6_E2M3, "F6_E2M3", 6, false)                                                                \
    X(F6_E3M2, "F6_E3M2", 6, false)                                                                \
    X(F4, "F4", 4, false)                                                                          \
    X(C64, "C64", 64, false)                                                                       \
    X(I64, "I64", 64, false)                                                                       \
    X(I32, "I32", 32, false)                                                                       \
    X(I16, "I16", 16, false)                                                                       \
    X(I8, "I8", 8, false)                                                                          \
    X(U64, "U64", 64, false)                                                                       \
    X(U32, "U32", 32, false)                                                                       \
    X(U16, "U16", 16, false)                                                                       \
    X(U8, "U8", 8, false)                                                                          \
    X(BOOL, "BOOL", 8, false)

/* X(name, elements in a block, bytes of a block) */
#define MZ_BLOCK_LIST(X)                                                                           \
    X(Q4_0, 32, 18)                                                                                \
    X(Q4_1, 32, 20)                                                                                \
    X(Q5_0, 32, 22)                                                                                \
    X(Q5_1, 32, 24)                                                                                \
    X(Q8_0, 32, 34)                                                                                \
    X(Q4_K, 256, 144)                                                                              \
    X(Q5_K, 256, 176)                                                                              \
    X(Q6_K, 256, 210)

typedef enum mz_dtype {
#define MZ_DTYPE_ENUM(name, text, bits, is_float) MZ_##name,
#define MZ_BLOCK_ENUM(name, elements, bytes) MZ_##name,
    MZ_DTYPE_LIST(MZ_DTYPE_ENUM) MZ_BLOCK_LIST(MZ_BLOCK_ENUM)
#undef MZ_BLOCK_ENUM
#undef MZ_DTYPE_ENUM
        MZ_DTYPE_COUNT,
    MZ_DTYPE_PLAIN_COUNT = MZ_Q4_0 /* those of safetensors come first, block types after them */
} mz_dtype;

int mz_dtype_bits(mz_dtype d);
size_t mz_dtype_bytes(mz_dtype d);     /* of one element; 0 for the types of less than a byte */
bool mz_dtype_is_float(mz_dtype d);    /* f64, f32, bf16 or f16 */
const char *mz_dtype_name(mz_dtype d); /* "BF16" */
bool mz_dtype_parse(const char *name,
                    mz_dtype *out); /* "BF16", "bf16", "bfloat16", "float32" ... */
bool mz_dtype_is_blocks(mz_dtype d);
int64_t mz_dtype_block(mz_dtype d);      /* elements of a block; 1 for plain types */
size_t mz_dtype_block_bytes(mz_dtype d); /* of a block; of an element for plain types */
/* What sums are kept in: f64 for f64, else f32. Also the dtype of weight gradients, norms and
 * biases. */
mz_dtype mz_dtype_acc(mz_dtype d);

#endif
