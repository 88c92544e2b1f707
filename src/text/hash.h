/* SPDX-License-Identifier: Apache-2.0 */
/* text/hash.h - hashes of short byte strings and of pairs of ids. Floor: text. Inside text/ only.
 * The product of two 64-bit words, its halves folded: what fits the tables here; not for files. */
#ifndef MZ_TEXT_HASH_H
#define MZ_TEXT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 mz_u128;

static inline uint64_t mz_hash_fold(uint64_t a, uint64_t b)
{
    const mz_u128 product = (mz_u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t mz_hash_bytes(const char *bytes, size_t n)
{
    uint64_t h = 0x2d358dccaa6c78a5u ^ n;
    for (; n >= 8; n -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        h = mz_hash_fold(h ^ word, 0x8bb84b93962eacc9u);
    }
    uint64_t word = 0;
    if (n > 0) memcpy(&word, bytes, n);
    return mz_hash_fold(h ^ word, 0x4b33a62ed433d4a3u);
}

static inline uint32_t mz_hash_pair(uint64_t key)
{
    return (uint32_t)mz_hash_fold(key ^ 0x2d358dccaa6c78a5u, 0x8bb84b93962eacc9u);
}

#endif
