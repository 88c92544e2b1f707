/* SPDX-License-Identifier: Apache-2.0 */
/* train/order.c - see order.h. */
#include "train/order.h"

#include "base/rng.h"

enum { ROUNDS = 8 };

/* Streams of run.seed below this one belong to others (random weights are keyed by name). */
static const uint64_t EPOCH_STREAM = 0x65706f6368000000u;

static uint64_t permute(uint64_t seed, uint64_t stream, int half_bits, uint64_t x)
{
    const uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t left = x >> half_bits, right = x & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint32_t word[4];
        mz_philox(seed, stream, round << 32 | right, word);
        const uint64_t turned = left ^ (word[0] & mask);
        left = right;
        right = turned;
    }
    return left << half_bits | right;
}

int64_t mz_order_at(uint64_t seed, int64_t epoch, int64_t n, int64_t i)
{
    int half_bits = 1;
    while (half_bits < 31 && (int64_t)1 << 2 * half_bits < n) half_bits++;
    uint64_t x = (uint64_t)i;
    do x = permute(seed, EPOCH_STREAM + (uint64_t)epoch, half_bits, x);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}
