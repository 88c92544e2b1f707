/* SPDX-License-Identifier: Apache-2.0 */
/* base/poison.h - bytes that nobody may touch, so that AddressSanitizer sees who does; in other
 * builds both calls do nothing. Private to base. Floor: base. */
#ifndef MZ_BASE_POISON_H
#define MZ_BASE_POISON_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define MZ_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MZ_HAS_ASAN 1
#endif
#endif

#ifdef MZ_HAS_ASAN
void __asan_poison_memory_region(const volatile void *p, size_t bytes);
void __asan_unpoison_memory_region(const volatile void *p, size_t bytes);
#endif

static inline void mz_poison(const volatile void *p, size_t bytes)
{
#ifdef MZ_HAS_ASAN
    __asan_poison_memory_region(p, bytes);
#else
    (void)p, (void)bytes;
#endif
}

static inline void mz_unpoison(const volatile void *p, size_t bytes)
{
#ifdef MZ_HAS_ASAN
    __asan_unpoison_memory_region(p, bytes);
#else
    (void)p, (void)bytes;
#endif
}

#endif
