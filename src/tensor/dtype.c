/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/dtype.c - the tables made of MZ_DTYPE_LIST and PyTorch's names. */
#include "tensor/dtype.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    int bits;
    bool is_float;
    int64_t block; /* 0 for plain types */
    size_t block_bytes;
} TABLE[MZ_DTYPE_COUNT] = {
#define ROW(name_, text_, bits_, float_)                                                           \
    [MZ_##name_] = {.name = text_, .bits = bits_, .is_float = float_},
#define BLOCKS(name_, elements_, bytes_)                                                           \
    [MZ_##name_] = {.name = #name_, .block = elements_, .block_bytes = bytes_},
    MZ_DTYPE_LIST(ROW) MZ_BLOCK_LIST(BLOCKS)
#undef BLOCKS
#undef ROW
};

static const struct {
    const char *name;
    mz_dtype dtype;
} ALIAS[] = {
    {"float64", MZ_F64},
    {"double", MZ_F64},
    {"float32", MZ_F32},
    {"float", MZ_F32},
    {"bfloat16", MZ_BF16},
    {"float16", MZ_F16},
    {"half", MZ_F16},
    {"float8_e4m3fn", MZ_F8_E4M3},
    {"float8_e5m2", MZ_F8_E5M2},
    {"float8_e8m0fnu", MZ_F8_E8M0},
    {"float8_e4m3fnuz", MZ_F8_E4M3FNUZ},
    {"float8_e5m2fnuz", MZ_F8_E5M2FNUZ},
    {"complex64", MZ_C64},
    {"int64", MZ_I64},
    {"long", MZ_I64},
    {"int32", MZ_I32},
    {"int", MZ_I32},
    {"int16", MZ_I16},
    {"short", MZ_I16},
    {"int8", MZ_I8},
    {"uint64", MZ_U64},
    {"uint32", MZ_U32},
    {"uint16", MZ_U16},
    {"uint8", MZ_U8},
};

static bool is_known(mz_dtype d)
{
    return (unsigned)d < MZ_DTYPE_COUNT;
}

int mz_dtype_bits(mz_dtype d)
{
    return is_known(d) ? TABLE[d].bits : 0;
}

size_t mz_dtype_bytes(mz_dtype d)
{
    return (size_t)mz_dtype_bits(d) / 8;
}

bool mz_dtype_is_float(mz_dtype d)
{
    return is_known(d) && TABLE[d].is_float;
}

bool mz_dtype_is_blocks(mz_dtype d)
{
    return is_known(d) && TABLE[d].block > 0;
}

int64_t mz_dtype_block(mz_dtype d)
{
    return mz_dtype_is_blocks(d) ? TABLE[d].block : 1;
}

size_t mz_dtype_block_bytes(mz_dtype d)
{
    return mz_dtype_is_blocks(d) ? TABLE[d].block_bytes : mz_dtype_bytes(d);
}

const char *mz_dtype_name(mz_dtype d)
{
    return is_known(d) ? TABLE[d].name : "?";
}

bool mz_dtype_parse(const char *name, mz_dtype *out)
{
    if (!name) return false;
    if (strncmp(name, "torch.", 6) == 0) name += 6;
    for (int i = 0; i < MZ_DTYPE_PLAIN_COUNT; i++) {
        if (strcasecmp(name, TABLE[i].name) != 0) continue;
        *out = (mz_dtype)i;
        return true;
    }
    for (int i = 0; i < MZ_COUNT(ALIAS); i++) {
        if (strcasecmp(name, ALIAS[i].name) != 0) continue;
        *out = ALIAS[i].dtype;
        return true;
    }
    return false;
}

mz_dtype mz_dtype_acc(mz_dtype d)
{
    return d == MZ_F64 ? MZ_F64 : MZ_F32;
}
