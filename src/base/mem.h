/* SPDX-License-Identifier: Apache-2.0 */
/* base/mem.h - host memory: every allocation of Mizan's own passes here, so that it can be counted,
 * forbidden inside a step, and failed on purpose.
 *
 * Floor:  base.
 * Errors: MZ_ENOMEM; inside a guard MZ_EINVAL (an allocation in a step is our own mistake).
 * Not here: device memory (chip/buffer.h). */
#ifndef MZ_BASE_MEM_H
#define MZ_BASE_MEM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* pp     out  address of a pointer of any type; receives count*size zeroed bytes, 64-byte aligned;
 *             untouched on failure. count 0 gives a valid pointer to free. */
mz_err mz_mem_new(void *pp, int64_t count, size_t size);
/* Like realloc for memory of mz_mem_new: keeps the first bytes, zeroes the rest. */
mz_err mz_mem_grow(void *pp, int64_t count, size_t size);
void mz_mem_free(void *p); /* NULL is legal */
/* Memory of mz_mem_new that is about to be written and then read here and there: large pages for
 * what there is of it, where the system has them. Changes nothing else, and cannot fail. */
void mz_mem_prefer_large_pages(void *p);
mz_err mz_mem_strdup(char **out, const char *text);

/* Bytes in use now and at most so far, through mz_mem_new, in this process. */
size_t mz_mem_bytes_used(void);
size_t mz_mem_bytes_peak(void);
int64_t mz_mem_count(void); /* allocations so far; tests read the difference */

/* For a library that brings an allocator hook of its own (jansson, SQLite): whether guard and fault
 * hook let one allocation pass. Counts it; its bytes are the library's. */
mz_err mz_mem_allow(void);

/* Between enter and leave this thread may not allocate: mz_mem_new fails with MZ_EINVAL. Nests.
 * The guard is on where MZ_STEP_GUARD is defined (dev and sanitizer builds), else it does nothing.
 */
void mz_guard_enter(void);
void mz_guard_leave(void);
bool mz_guard_is_on(void);

/* Fault hook: the n-th allocation from now (1 = the next) fails; with `for_good` all later ones
 * too. n = 0 turns it off. Process-wide. */
void mz_mem_fail_at(int64_t n, bool for_good);
bool mz_mem_has_failed(void); /* whether the hook struck since mz_mem_fail_at */

/* A bump arena over one block: init books, take deals out, clear frees at once. */
typedef struct mz_arena {
    unsigned char *base;
    size_t used, cap; /* bytes */
} mz_arena;
mz_err mz_arena_init(mz_arena *a, size_t bytes);
mz_err mz_arena_take(mz_arena *a, void *pp, size_t bytes); /* 64-byte aligned, not zeroed twice */
void mz_arena_clear(mz_arena *a);

#endif
