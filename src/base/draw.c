/* SPDX-License-Identifier: Apache-2.0 */
/* base/draw.c - see draw.h. Floor: base. */
#include "base/draw.h"

#include <math.h>

/* 2^f on [0,1]: 1 + f c1 + ... + f^6 c6, within 1.4 * 2^-24 relative, 1 at 0 and 2 at 1. Products
 * and sums stand in statements of their own, which is where a compiler may not fuse them. */
static float exp2_unit(float f)
{
    static const float c[] = {0x1.b49554p-13f,
                              0x1.4cb7b0p-10f,
                              0x1.3c487cp-7f,
                              0x1.c69f98p-5f,
                              0x1.ebfc3ep-3f,
                              0x1.62e430p-1f,
                              1.0f};
    float p = c[0];
    for (int i = 1; i < 7; i++) {
        const float product = p * f;
        p = product + c[i];
    }
    return p;
}

uint32_t mz_draw_weight(float d)
{
    const float y = d * 0x1.715476p+0f;
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
