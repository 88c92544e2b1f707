/* SPDX-License-Identifier: Apache-2.0 */
/* emu/common/memory.h - an emulated device's memory: addresses that a client must not read or
 * write.
 *
 * One file of memory with two views. The client's addresses lie in a range without any access, so
 * that a host dereference traps; the emulator reads and writes through the other one. Addresses are
 * given out in a circle: those that were freed come again as late as possible, and until then
 * mze_memory_view refuses them. New memory holds 0xFF, which is a NaN in every float, in its first
 * MZE_POISON bytes.
 *
 * A client may also take memory without an address (a page) and put it behind addresses that it
 * reserved (ranges.h). Pages count as memory in use, reserved addresses do not.
 *
 * Threads: any. */
#ifndef MZ_EMU_COMMON_MEMORY_H
#define MZ_EMU_COMMON_MEMORY_H

#include "common/ranges.h"

#include <stdbool.h>
#include <stddef.h>

enum { MZE_POISON = 1 << 20 };

typedef struct mze_memory mze_memory;

/* NULL where this machine does not give the addresses. */
mze_memory *mze_memory_new(size_t capacity);
void mze_memory_delete(mze_memory *m); /* NULL is legal */
/* bytes > 0, align a power of two. False: it is full. */
bool mze_memory_alloc(mze_memory *m, size_t bytes, size_t align, void **at);
/* False: no block begins there. */
bool mze_memory_free(mze_memory *m, const void *at);
/* Whether the address is one of this device's, in use or not. */
bool mze_memory_owns(const mze_memory *m, const void *at);
/* The emulator's view of `bytes` from `at` on; NULL unless they all lie in one block in use. */
void *mze_memory_view(mze_memory *m, const void *at, size_t bytes);

/* Memory without an address of the client's, for mze_ranges_map with this memory as the owner.
 * False: it is full. */
bool mze_memory_page_new(mze_memory *m, size_t bytes, mze_page *page);
void mze_memory_page_delete(mze_memory *m, const mze_page *page);
void mze_memory_used(mze_memory *m, size_t *used, size_t *capacity, size_t *blocks);

#endif
