/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/reduce.c - the types of HCCL, which chip reduces which of them, and the arithmetic.
 *
 * Source: documentation of HcclAllReduce and HcclReduceOp, CANN 8.0 to 8.3 ("data types", and that
 * prod has no int16 and no bfp16 on A2 and A3, int16 only a sum on a 310P). The order of a chip's
 * own sums is not published; here it is that of the ranks. */
#include "ascend/collective.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 512 };

static const emu_hccl_type TYPES[] = {
    [EMU_HCCL_INT8] = {"int8", 1, EMU_INT8},       [EMU_HCCL_INT16] = {"int16", 2, EMU_INT16},
    [EMU_HCCL_INT32] = {"int32", 4, EMU_INT32},    [EMU_HCCL_FP16] = {"fp16", 2, EMU_FLOAT16},
    [EMU_HCCL_FP32] = {"fp32", 4, EMU_FLOAT},      [EMU_HCCL_INT64] = {"int64", 8, EMU_INT64},
    [EMU_HCCL_UINT64] = {"uint64", 8, EMU_UINT64}, [EMU_HCCL_UINT8] = {"uint8", 1, EMU_UINT8},
    [EMU_HCCL_UINT16] = {"uint16", 2, -1},         [EMU_HCCL_UINT32] = {"uint32", 4, -1},
    [EMU_HCCL_FP64] = {"fp64", 8, EMU_DOUBLE},     [EMU_HCCL_BFP16] = {"bfp16", 2, EMU_BF16},
};

const emu_hccl_type *emu_hccl_type_of(int type)
{
    const bool is_known = type >= 0 && type < (int)(sizeof TYPES / sizeof *TYPES);
    if (!is_known || (type == EMU_HCCL_BFP16 && !emu_soc_here()->has_bf16)) return NULL;
    return &TYPES[type];
}

const char *emu_hccl_cannot(int type, int op)
{
    const char *soc = emu_soc_here()->name;
    const bool is_310p = strncmp(soc, "Ascend310P", 10) == 0;
    const bool is_910a = strncmp(soc, "Ascend910A", 10) == 0;
    if (op < EMU_HCCL_SUM || op > EMU_HCCL_MIN) return "there is no such reduction";
    switch (type) {
    case EMU_HCCL_INT8:
    case EMU_HCCL_INT32:
    case EMU_HCCL_FP16:
    case EMU_HCCL_FP32:
        return NULL;
    case EMU_HCCL_INT64:
        return is_310p ? "this chip does not reduce int64" : NULL;
    case EMU_HCCL_INT16:
        if (is_910a) return "this chip does not reduce int16";
        if (is_310p) return op == EMU_HCCL_SUM ? NULL : "this chip only adds int16";
        return op == EMU_HCCL_PROD ? "prod has no int16" : NULL;
    case EMU_HCCL_BFP16:
        return op == EMU_HCCL_PROD ? "prod has no bfp16" : NULL;
    default:
        return "this type is not reduced";
    }
}

/* ---- integers ---- */

static int64_t read_integer(const unsigned char *at, size_t size)
{
    int8_t a;
    int16_t b;
    int32_t c;
    int64_t d;
    switch (size) {
    case 1:
        return memcpy(&a, at, sizeof a), a;
    case 2:
        return memcpy(&b, at, sizeof b), b;
    case 4:
        return memcpy(&c, at, sizeof c), c;
    default:
        return memcpy(&d, at, sizeof d), d;
    }
}

/* The lowest bytes, which is how integers wrap. */
static void write_integer(unsigned char *at, size_t size, int64_t x)
{
    for (size_t i = 0; i < size; i++) at[i] = (unsigned char)((uint64_t)x >> (8 * i));
}

static int64_t join_integers(int64_t a, int64_t b, int op)
{
    if (op == EMU_HCCL_SUM) return (int64_t)((uint64_t)a + (uint64_t)b);
    if (op == EMU_HCCL_PROD) return (int64_t)((uint64_t)a * (uint64_t)b);
    return (op == EMU_HCCL_MAX) == (a > b) ? a : b;
}

static void reduce_integers(unsigned char *to, const unsigned char *const *from, int ranks,
                            size_t n, size_t size, int op)
{
    for (size_t i = 0; i < n; i++) {
        int64_t x = read_integer(from[0] + i * size, size);
        for (int r = 1; r < ranks; r++)
            x = join_integers(x, read_integer(from[r] + i * size, size), op);
        write_integer(to + i * size, size, x);
    }
}

/* ---- floats ---- */

/* A double holds the sum and the product of two f32 well enough that rounding it once more to f32
 * is rounding once. A NaN stays one. */
static double join_floats(double a, double b, int op)
{
    if (op == EMU_HCCL_SUM) return (double)(float)(a + b);
    if (op == EMU_HCCL_PROD) return (double)(float)(a * b);
    if (isnan(a) || isnan(b)) return isnan(a) ? a : b;
    return (op == EMU_HCCL_MAX) == (a > b) ? a : b;
}

void emu_hccl_reduce(void *to, const unsigned char *const *from, int ranks, size_t n, int type,
                     int op, int overflow)
{
    const emu_hccl_type *t = &TYPES[type];
    unsigned char *out = to;
    double sum[BLOCK], next[BLOCK];
    if (!emu_is_float(t->element)) {
        reduce_integers(to, from, ranks, n, t->size, op);
        return;
    }
    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t here = n - at < BLOCK ? n - at : BLOCK;
        emu_load(sum, t->element, from[0] + at * t->size, 1, (int64_t)here);
        for (int r = 1; r < ranks; r++) {
            emu_load(next, t->element, from[r] + at * t->size, 1, (int64_t)here);
            for (size_t i = 0; i < here; i++) sum[i] = join_floats(sum[i], next[i], op);
        }
        emu_store(t->element, out + at * t->size, 1, sum, (int64_t)here, overflow);
    }
}
