/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/finite.c - see finite.h. Eight bytes at a time: what has all exponent bits set becomes a
 * lane of zeros, and (t - 1) & ~t & top finds those. */
#include "tensor/finite.h"

#include <string.h>

/* An element of `bytes` bytes is not finite if these bits are all set. 0 bytes: never. */
typedef struct rule {
    int bytes;
    uint64_t mask;
} rule;

static rule rule_of(mz_dtype d)
{
    if (d == MZ_F64) return (rule){8, 0x7ff0000000000000u};
    if (d == MZ_F32) return (rule){4, 0x7f800000u};
    if (d == MZ_BF16) return (rule){2, 0x7f80u};
    if (d == MZ_F16) return (rule){2, 0x7c00u};
    if (d == MZ_F8_E4M3) return (rule){1, 0x7fu}; /* no infinities, one NaN */
    if (d == MZ_F8_E5M2) return (rule){1, 0x7cu};
    if (d == MZ_F8_E8M0) return (rule){1, 0xffu};
    return (rule){0};
}

/* The pattern in every lane of eight bytes. */
static uint64_t spread(uint64_t x, int bytes)
{
    for (int n = bytes; n < 8; n *= 2) x |= x << 8 * n;
    return x;
}

static bool is_bad(const unsigned char *p, const rule *r)
{
    uint64_t x = 0;
    for (int i = 0; i < r->bytes; i++) x |= (uint64_t)p[i] << 8 * i;
    return (x & r->mask) == r->mask;
}

int64_t mz_first_not_finite(const void *x, mz_dtype dtype, int64_t n)
{
    enum { WORDS = 64 };
    const rule r = rule_of(dtype);
    if (r.bytes == 0) return -1;
    const unsigned char *p = x;
    const uint64_t mask = spread(r.mask, r.bytes), one = spread(1, r.bytes),
                   top = one << (8 * r.bytes - 1);
    const int64_t each = 8 / r.bytes * WORDS;
    int64_t at = 0;
    for (; n - at >= each; at += each) {
        uint64_t seen = 0;
        for (int i = 0; i < WORDS; i++) {
            uint64_t w;
            memcpy(&w, p + at * r.bytes + 8 * i, sizeof w);
            const uint64_t t = (w & mask) ^ mask;
            seen |= (t - one) & ~t & top;
        }
        if (seen != 0) break;
    }
    for (; at < n; at++)
        if (is_bad(p + at * r.bytes, &r)) return at;
    return -1;
}
