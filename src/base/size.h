/* SPDX-License-Identifier: Apache-2.0 */
/* base/size.h - sums and products of sizes that notice when they do not fit. The only place where
 * Mizan multiplies sizes that come from a file, a caller or a command line.
 *
 * Each returns whether the result fits; *out is untouched if it does not.
 * Floor:  base.   Compiles as C++ too. */
#ifndef MZ_BASE_SIZE_H
#define MZ_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool mz_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline bool mz_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* To the next multiple of `to`, a power of two. */
static inline bool mz_align_up(size_t a, size_t to, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, to - 1, &r)) return false;
    *out = r & ~(to - 1);
    return true;
}

static inline bool mz_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline bool mz_add_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* False if negative, or wider than a size_t. */
static inline bool mz_i64_to_size(int64_t a, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, 0, &r)) return false;
    *out = r;
    return true;
}

#endif
