/* SPDX-License-Identifier: Apache-2.0 */
/* base/mem.c - counted, aligned, zeroed host memory, and the arena.
 *
 * A block is calloc's: header, then the caller's bytes at the first multiple of 64. calloc rather
 * than memset, because fresh pages of a large block are zero already and stay untouched until used.
 * Under AddressSanitizer the header and the slack after the last byte are poisoned, so that a write
 * one byte beside the block is seen. */
#include "base/mem.h"
#include "base/poison.h"
#include "base/size.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 64, LARGE_PAGE = 2 << 20 /* of x86-64, and of 64-bit Arm with pages of 4 KiB */ };

typedef struct {
    void *base; /* what calloc gave */
    size_t bytes;
} block;

static atomic_size_t used, peak;
static atomic_llong allocations;

static struct {
    atomic_bool armed, for_good, struck;
    atomic_llong left;
} fault;

static _Thread_local int guard_depth;

void mz_guard_enter(void)
{
    guard_depth++;
}

void mz_guard_leave(void)
{
    guard_depth--;
}

bool mz_guard_is_on(void)
{
#ifdef MZ_STEP_GUARD
    return guard_depth > 0;
#else
    return false;
#endif
}

void mz_mem_fail_at(int64_t n, bool for_good)
{
    atomic_store(&fault.armed, false);
    if (n <= 0) return;
    atomic_store(&fault.left, n);
    atomic_store(&fault.for_good, for_good);
    atomic_store(&fault.struck, false);
    atomic_store(&fault.armed, true);
}

bool mz_mem_has_failed(void)
{
    return atomic_load(&fault.struck);
}

/* Whether the fault hook fails this allocation. */
static bool strikes(void)
{
    if (!atomic_load(&fault.armed)) return false;
    const long long left = atomic_fetch_sub(&fault.left, 1);
    if (left > 1 || (left < 1 && !atomic_load(&fault.for_good))) return false;
    atomic_store(&fault.struck, true);
    return true;
}

mz_err mz_mem_allow(void)
{
    MZ_NEED(!mz_guard_is_on(), "an allocation inside a step");
    if (strikes()) return MZ_FAIL(MZ_ENOMEM, "the fault hook failed this allocation");
    atomic_fetch_add(&allocations, 1);
    return MZ_OK;
}

static void count_in(size_t bytes)
{
    const size_t now = atomic_fetch_add(&used, bytes) + bytes;
    size_t top = atomic_load(&peak);
    while (now > top && !atomic_compare_exchange_weak(&peak, &top, now)) {
    }
}

static unsigned char *header_of(void *p)
{
    return (unsigned char *)p - sizeof(block);
}

static block read_header(void *p)
{
    block b;
    mz_unpoison(header_of(p), sizeof b);
    memcpy(&b, header_of(p), sizeof b);
    mz_poison(header_of(p), sizeof b);
    return b;
}

static mz_err new_block(void **out, int64_t count, size_t size)
{
    size_t n, bytes, total;
    MZ_NEED(count >= 0 && size > 0, "count %lld of %zu bytes", (long long)count, size);
    if (!mz_i64_to_size(count, &n) || !mz_mul(n, size, &bytes) ||
        !mz_add(bytes, sizeof(block) + ALIGN - 1, &total))
        return MZ_FAIL(MZ_ENOMEM, "%lld x %zu bytes are more than the address space",
                       (long long)count, size);
    MZ_TRY(mz_mem_allow());
    const block b = {.base = calloc(1, total), .bytes = bytes};
    if (!b.base) return MZ_FAIL(MZ_ENOMEM, "no %zu bytes of host memory", bytes);
    const uintptr_t at = (uintptr_t)b.base + sizeof b;
    unsigned char *p = (unsigned char *)b.base + sizeof b + (size_t)(-at % ALIGN);
    memcpy(p - sizeof b, &b, sizeof b);
    mz_poison(p - sizeof b, sizeof b);
    mz_poison(p + bytes, total - (size_t)(p - (unsigned char *)b.base) - bytes);
    count_in(bytes);
    *out = p;
    return MZ_OK;
}

mz_err mz_mem_new(void *pp, int64_t count, size_t size)
{
    void *p;
    MZ_NEED(pp, "pp is NULL");
    MZ_TRY(new_block(&p, count, size));
    memcpy(pp, &p, sizeof p);
    return MZ_OK;
}

mz_err mz_mem_grow(void *pp, int64_t count, size_t size)
{
    void *old, *p;
    MZ_NEED(pp, "pp is NULL");
    memcpy(&old, pp, sizeof old);
    MZ_TRY(new_block(&p, count, size));
    if (old) {
        const size_t had = read_header(old).bytes, has = read_header(p).bytes;
        memcpy(p, old, had < has ? had : has);
        mz_mem_free(old);
    }
    memcpy(pp, &p, sizeof p);
    return MZ_OK;
}

void mz_mem_free(void *p)
{
    if (!p) return;
    const block b = read_header(p);
    atomic_fetch_sub(&used, b.bytes);
    free(b.base);
}

void mz_mem_prefer_large_pages(void *p)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t bytes = p ? read_header(p).bytes : 0, mask = LARGE_PAGE - 1;
    const uintptr_t first = ((uintptr_t)p + mask) & ~mask, last = ((uintptr_t)p + bytes) & ~mask;
    if (last > first) (void)madvise((void *)first, last - first, MADV_HUGEPAGE);
#else
    (void)p;
#endif
}

mz_err mz_mem_strdup(char **out, const char *text)
{
    MZ_NEED(out && text, "out or text is NULL");
    const size_t len = strlen(text);
    char *copy;
    MZ_TRY(mz_mem_new(&copy, (int64_t)len + 1, 1));
    memcpy(copy, text, len);
    *out = copy;
    return MZ_OK;
}

size_t mz_mem_bytes_used(void)
{
    return atomic_load(&used);
}

size_t mz_mem_bytes_peak(void)
{
    return atomic_load(&peak);
}

int64_t mz_mem_count(void)
{
    return atomic_load(&allocations);
}

mz_err mz_arena_init(mz_arena *a, size_t bytes)
{
    size_t cap;
    MZ_NEED(a, "arena is NULL");
    if (!mz_align_up(bytes, ALIGN, &cap) || cap > INT64_MAX)
        return MZ_FAIL(MZ_ENOMEM, "an arena of %zu bytes", bytes);
    unsigned char *base;
    MZ_TRY(mz_mem_new(&base, (int64_t)cap, 1));
    *a = (mz_arena){.base = base, .cap = cap};
    return MZ_OK;
}

mz_err mz_arena_take(mz_arena *a, void *pp, size_t bytes)
{
    size_t room;
    MZ_NEED(a && a->base && pp, "arena or pp is NULL, or the arena is not open");
    if (!mz_align_up(bytes, ALIGN, &room) || room > a->cap - a->used)
        return MZ_FAIL(MZ_ENOMEM, "the arena has %zu of %zu bytes left, %zu are wanted",
                       a->cap - a->used, a->cap, bytes);
    void *p = a->base + a->used;
    a->used += room;
    memcpy(pp, &p, sizeof p);
    return MZ_OK;
}

void mz_arena_clear(mz_arena *a)
{
    if (!a) return;
    mz_mem_free(a->base);
    *a = (mz_arena){0};
}
