/* SPDX-License-Identifier: Apache-2.0 */
/* base/draw.c - see draw.h. Floor: base. */
#include "base/draw.h"

#include <math.h>

/* Products and sums stand in statements of their own, which is where a compiler may not fuse them.
 */
static float exp2_unit(float f)
{
    static const float c[] = MZ_DRAW_POLY;
    float p = c[0];
    for (int i = 1; i < 7; i++) {
        const float product = p * f;
        p = product + c[i];
    }
    return p;
}

uint32_t mz_draw_weight(float d)
{
    const float y = d * MZ_DRAW_LOG2E;
    if (!(y >= -31.0f)) return 0;
    const float below = floorf(y);
    return (uint32_t)(exp2_unit(y - below) * 0x1p30f) >> (int)-below;
}

uint64_t mz_draw_share(uint64_t total, double part)
{
    const uint64_t p = (uint64_t)(part * 0x1p32 + 0.5);
    return (total >> 32) * p + (((total & 0xffffffffu) * p) >> 32);
}

uint64_t mz_draw_point(uint64_t total, uint32_t word)
{
    const uint64_t u = word >> 8;
    return (total >> 24) * u + (((total & 0xffffffu) * u) >> 24);
}
