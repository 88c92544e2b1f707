/* SPDX-License-Identifier: Apache-2.0 */
/* file/shards_parts.h - what reader and writer of token shards share. Inside file/. */
#ifndef MZ_FILE_SHARDS_PARTS_H
#define MZ_FILE_SHARDS_PARTS_H

#include "base/err.h"

#include <stddef.h>

enum { MZ_SHARD_HEAD = 64, MZ_SHARD_FOOT = 64, MZ_SHARD_BLOCK = 1 << 18 };

/* The first eight bytes of SHA-256, as one number. */
mz_err mz_shard_sum(uint64_t *sum, const void *bytes, size_t n);

#endif
