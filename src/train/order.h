/* SPDX-License-Identifier: Apache-2.0 */
/* train/order.h - which of n samples comes at place i of an epoch, without a table: a permutation
 * that is computed, so that a data set of any size is shuffled in no memory and a cursor is all
 * there is to save.
 *
 * A Feistel network of eight rounds over the next even number of bits, Philox(seed, epoch) as its
 * round function; what falls outside 0 .. n-1 goes round again, at most 4 times on average.
 *
 * Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains" (cycle walking); Luby &
 * Rackoff 1988 (Feistel networks of random functions).
 * Floor:  train.   Repeat: bitwise, everywhere. */
#ifndef MZ_TRAIN_ORDER_H
#define MZ_TRAIN_ORDER_H

#include <stdint.h>

/* 0 <= i < n < 2^62. */
int64_t mz_order_at(uint64_t seed, int64_t epoch, int64_t n, int64_t i);

#endif
