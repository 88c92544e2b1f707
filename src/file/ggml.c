/* SPDX-License-Identifier: Apache-2.0 */
/* file/ggml.c - the element types of a GGUF. Floor: file. */
#include "file/gguf.h"

#include "tensor/convert.h"

static const struct {
    const char *name;
    int64_t block;
    size_t bytes;
} TYPE[MZ_GGML_COUNT] = {
#define MZ_GGML_ROW(name, number, elements, bytes) {#name, elements, bytes},
    MZ_GGML_LIST(MZ_GGML_ROW)
#undef MZ_GGML_ROW
};

static const struct {
    mz_ggml type;
    mz_dtype dtype;
} PLAIN[] = {{MZ_GGML_F32, MZ_F32}, {MZ_GGML_F16, MZ_F16}, {MZ_GGML_BF16, MZ_BF16},
             {MZ_GGML_F64, MZ_F64}, {MZ_GGML_I8, MZ_I8},   {MZ_GGML_I16, MZ_I16},
             {MZ_GGML_I32, MZ_I32}, {MZ_GGML_I64, MZ_I64}};

static const struct {
    mz_ggml type;
    mz_quant quant;
} BLOCKS[] = {{MZ_GGML_Q4_0, MZ_QUANT_Q4_0}, {MZ_GGML_Q4_1, MZ_QUANT_Q4_1},
              {MZ_GGML_Q5_0, MZ_QUANT_Q5_0}, {MZ_GGML_Q5_1, MZ_QUANT_Q5_1},
              {MZ_GGML_Q8_0, MZ_QUANT_Q8_0}, {MZ_GGML_Q4_K, MZ_QUANT_Q4_K},
              {MZ_GGML_Q5_K, MZ_QUANT_Q5_K}, {MZ_GGML_Q6_K, MZ_QUANT_Q6_K}};

const char *mz_ggml_name(mz_ggml t)
{
    return t >= 0 && t < MZ_GGML_COUNT ? TYPE[t].name : "?";
}

int64_t mz_ggml_block(mz_ggml t)
{
    return t >= 0 && t < MZ_GGML_COUNT ? TYPE[t].block : 0;
}

size_t mz_ggml_block_bytes(mz_ggml t)
{
    return t >= 0 && t < MZ_GGML_COUNT ? TYPE[t].bytes : 0;
}

bool mz_ggml_dtype(mz_ggml t, mz_dtype *out)
{
    for (int i = 0; i < MZ_COUNT(PLAIN); i++)
        if (PLAIN[i].type == t) {
            *out = PLAIN[i].dtype;
            return true;
        }
    return false;
}

bool mz_ggml_quant(mz_ggml t, mz_quant *out)
{
    for (int i = 0; i < MZ_COUNT(BLOCKS); i++)
        if (BLOCKS[i].type == t) {
            *out = BLOCKS[i].quant;
            return true;
        }
    return false;
}

bool mz_ggml_can_expand(mz_ggml t)
{
    mz_dtype dtype;
    mz_quant quant;
    return mz_ggml_quant(t, &quant) || (mz_ggml_dtype(t, &dtype) && mz_dtype_is_float(dtype));
}

mz_err mz_ggml_expand(mz_ggml t, float *out, const void *from, int64_t n)
{
    mz_dtype dtype;
    mz_quant quant;
    if (mz_ggml_quant(t, &quant)) return mz_quant_expand(quant, out, from, n);
    if (mz_ggml_dtype(t, &dtype) && mz_dtype_is_float(dtype))
        return mz_convert(out, MZ_F32, from, dtype, n);
    return MZ_FAIL(MZ_ENOTSUP, "numbers of type %s are not read", mz_ggml_name(t));
}
