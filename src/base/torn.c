/* SPDX-License-Identifier: Apache-2.0 */
/* base/torn.c - see torn.h. The handler touches atomics and makes one system call; the pages from
 * the fault to the end of the map become zeros, so that whoever reads goes on at once. */
#include "base/torn.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 1024 };

static struct {
    atomic_uintptr_t start; /* 0: free */
    atomic_size_t bytes;    /* 0 while a slot is being filled */
    atomic_bool torn;
} slots[SLOTS];

static atomic_bool any;
static uintptr_t page_bytes;
static struct sigaction before;

static int slot_of(uintptr_t at)
{
    for (int i = 0; i < SLOTS; i++) {
        const uintptr_t start = atomic_load(&slots[i].start);
        if (start != 0 && at >= start && at - start < atomic_load(&slots[i].bytes)) return i;
    }
    return -1;
}

/* Zeros from the page of `at` to the end of the map. */
static bool patch(int i, uintptr_t at)
{
    const uintptr_t start = atomic_load(&slots[i].start), page = at - at % page_bytes;
    const size_t left = (size_t)(start + atomic_load(&slots[i].bytes) - page);
    union {
        uintptr_t number;
        void *pointer;
    } to = {.number = page};
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    return mmap(to.pointer, left, PROT_READ, flags, -1, 0) != MAP_FAILED;
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    const int error = errno;
    const int i = slot_of((uintptr_t)info->si_addr);
    (void)context;
    if (i >= 0 && patch(i, (uintptr_t)info->si_addr)) {
        atomic_store(&slots[i].torn, true);
        atomic_store(&any, true);
    } else {
        (void)sigaction(number, &before, NULL); /* the fault comes again, and goes there */
    }
    errno = error;
}

mz_err mz_torn_guard(void)
{
    struct sigaction how;
    memset(&how, 0, sizeof how);
    how.sa_sigaction = on_bus;
    how.sa_flags = SA_SIGINFO;
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, &how, &before) != 0)
        return MZ_FAIL(MZ_EIO, "no handler for files that become shorter: %s", strerror(errno));
    return MZ_OK;
}

bool mz_torn_any(void)
{
    return atomic_load(&any);
}

void mz_torn_watch(const void *data, size_t bytes)
{
    for (int i = 0; i < SLOTS; i++) {
        uintptr_t free_slot = 0;
        if (!atomic_compare_exchange_strong(&slots[i].start, &free_slot, (uintptr_t)data)) continue;
        atomic_store(&slots[i].torn, false);
        atomic_store(&slots[i].bytes, bytes);
        return;
    }
}

void mz_torn_forget(const void *data)
{
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_load(&slots[i].start) != (uintptr_t)data) continue;
        atomic_store(&slots[i].bytes, 0);
        atomic_store(&slots[i].start, 0);
        return;
    }
}

bool mz_torn_is(const void *data)
{
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&slots[i].start) == (uintptr_t)data) return atomic_load(&slots[i].torn);
    return false;
}
