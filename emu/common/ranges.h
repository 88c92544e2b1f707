/* SPDX-License-Identifier: Apache-2.0 */
/* emu/common/ranges.h - address ranges that a client reserves, and the memory that it puts there.
 *
 * Ranges are the process's; one becomes a device's with the first piece of memory that is mapped
 * there. A range has two views, as all of an emulated device's memory: the client's has no access,
 * the emulator's shows the pieces of a file that were mapped. Where nothing is mapped,
 * mze_ranges_view refuses; a task that was looking there already reads zeros.
 *
 * Threads: any. */
#ifndef MZ_EMU_COMMON_RANGES_H
#define MZ_EMU_COMMON_RANGES_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes and addresses are multiples of this, as the vendor's pages are. */
enum { MZE_RANGE_UNIT = 2 << 20 };

/* A piece of a file: whose memory it is, this process's or another's that handed it over. */
typedef struct mze_page {
    int file;
    size_t at, bytes;
} mze_page;

bool mze_ranges_reserve(size_t bytes, void **at);
/* False: none begins there, or something is still mapped. */
bool mze_ranges_release(const void *at);
/* False: not all of it is reserved and free, or another owner's, or the system does not map it. */
bool mze_ranges_map(const void *owner, const void *at, const mze_page *page);
/* False: no piece begins there. *page: what went. */
bool mze_ranges_unmap(const void *at, mze_page *page);
/* NULL: reserved, and nobody's. */
bool mze_ranges_own(const void *owner, const void *at);
/* NULL unless all of it is mapped, and this owner's. */
void *mze_ranges_view(const void *owner, const void *at, size_t bytes);

#endif
