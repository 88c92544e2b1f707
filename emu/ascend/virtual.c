/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/virtual.c - the emulated driver's memory without an address, addresses without memory,
 * and the one put behind the other, as clients with growing pools do it.
 *
 * A handle may be given to another process: a small file of memory says which bytes of which file
 * they are and who may have them; both files are found through the giving process's descriptors. */
#include "ascend/book.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { UNIT = MZE_RANGE_UNIT, HUGE_PAGES = 1, PIDS_MAX = 128 };
static const char MAGIC[16] = "emulated Ascend";

/* What another process reads. */
typedef struct record {
    char magic[sizeof MAGIC], soc[32];
    mze_page page;
    bool is_for_all;
    int32_t n, pid[PIDS_MAX];
} record;

typedef struct physical {
    struct physical *next;
    emu_device *device;
    mze_page page;
    int maps;   /* how often it is mapped */
    int shared; /* the file of its record, or -1 */
    bool is_imported;
} physical;

static physical *all; /* under the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Under the lock. NULL: no handle that lives. */
static physical *find(const void *handle)
{
    physical *p = all;
    while (p && p != handle) p = p->next;
    return p;
}

static aclError add(physical *made, aclrtDrvMemHandle *handle)
{
    pthread_mutex_lock(&lock);
    made->next = all;
    all = made;
    pthread_mutex_unlock(&lock);
    *handle = made;
    return 0;
}

/* ---- addresses ---- */

aclError aclrtReserveMemAddress(void **at, size_t bytes, size_t align, void *wish, uint64_t flags)
{
    if (!at || !bytes)
        return emu_fail(EMU_RT_PARAM_INVALID, "aclrtReserveMemAddress: NULL or no bytes");
    if (align || wish || flags > HUGE_PAGES)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtReserveMemAddress: no alignment and no address can be wished for, "
                        "and flags are 0 or %d",
                        HUGE_PAGES);
    if (mze_ranges_reserve(bytes, at)) return 0;
    return emu_fail(EMU_RT_MEMORY_ALLOCATION, "aclrtReserveMemAddress: no %zu bytes of addresses",
                    bytes);
}

aclError aclrtReleaseMemAddress(void *at)
{
    if (mze_ranges_release(at)) return 0;
    return emu_fail(EMU_RT_PARAM_INVALID,
                    "aclrtReleaseMemAddress: no reserved addresses begin at %p, or memory is "
                    "still mapped there",
                    at);
}

/* ---- memory ---- */

static int check_prop(const aclrtPhysicalMemProp *p, const char *call)
{
    if (!p) return emu_fail(EMU_RT_PARAM_INVALID, "%s: NULL", call);
    if (p->handleType != 0 || p->allocationType != 0)
        return emu_fail(EMU_RT_PARAM_INVALID, "%s: handle type %d, allocation type %d", call,
                        p->handleType, p->allocationType);
    if (p->location.type != EMU_ON_DEVICE)
        return emu_fail(EMU_RT_FEATURE_NOT_SUPPORT, "%s: only memory of devices is emulated", call);
    if (p->memAttr != EMU_HBM_HUGE && p->memAttr != EMU_HBM_NORMAL &&
        p->memAttr != EMU_MEM_NORMAL && p->memAttr != EMU_MEM_HUGE)
        return emu_fail(EMU_RT_FEATURE_NOT_SUPPORT, "%s: no memory of kind %d", call, p->memAttr);
    return 0;
}

aclError aclrtMemGetAllocationGranularity(aclrtPhysicalMemProp *prop,
                                          aclrtMemGranularityOptions option, size_t *bytes)
{
    const int code = check_prop(prop, "aclrtMemGetAllocationGranularity");
    if (code != 0) return code;
    if (!bytes || option < 0 || option > 1)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMemGetAllocationGranularity: NULL, or option "
                        "%d of 0 and 1",
                        option);
    *bytes = UNIT;
    return 0;
}

aclError aclrtMallocPhysical(aclrtDrvMemHandle *handle, size_t bytes,
                             const aclrtPhysicalMemProp *prop, uint64_t flags)
{
    const int bad = check_prop(prop, "aclrtMallocPhysical");
    if (bad != 0) return bad;
    if (!handle || !bytes || bytes % UNIT || flags)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMallocPhysical: NULL, flags, or %zu bytes, where multiples of 2 MiB "
                        "are wanted",
                        bytes);
    emu_device *d = emu_device_of((int)prop->location.id, "aclrtMallocPhysical");
    if (!d) return EMU_RT_INVALID_DEVICEID;
    const int gate = emu_gate("aclrtMallocPhysical");
    if (gate != 0) return gate;
    physical *made = calloc(1, sizeof *made);
    if (!made || !mze_memory_page_new(d->memory, bytes, &made->page)) {
        free(made);
        return emu_fail(EMU_RT_MEMORY_ALLOCATION,
                        "aclrtMallocPhysical: %zu bytes do not fit into device %d", bytes,
                        d->number);
    }
    made->device = d;
    made->shared = -1;
    emu_count_memory(d, 1);
    return add(made, handle);
}

aclError aclrtFreePhysical(aclrtDrvMemHandle handle)
{
    pthread_mutex_lock(&lock);
    physical *p = find(handle);
    const int maps = p ? p->maps : 0;
    physical **link = &all;
    while (p && *link != p) link = &(*link)->next;
    if (p && maps == 0) *link = p->next;
    pthread_mutex_unlock(&lock);
    if (!p) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtFreePhysical: no handle: %p", handle);
    if (maps) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtFreePhysical: it is still mapped");
    if (p->shared >= 0) (void)close(p->shared);
    if (p->is_imported)
        (void)close(p->page.file);
    else
        mze_memory_page_delete(p->device->memory, &p->page);
    emu_count_memory(p->device, 0);
    free(p);
    return 0;
}

/* ---- the one behind the other ---- */

static int map_it(const physical *p, const void *at, size_t bytes)
{
    if (!p) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtMapMem: no handle that lives");
    if (bytes != p->page.bytes)
        return emu_fail(EMU_RT_PARAM_INVALID, "aclrtMapMem: %zu bytes of a handle of %zu", bytes,
                        p->page.bytes);
    if (mze_ranges_map(p->device->memory, at, &p->page)) return 0;
    return emu_fail(EMU_RT_PARAM_INVALID,
                    "aclrtMapMem: not all of %p and %zu bytes is reserved and free, or another "
                    "device's memory is there",
                    at, bytes);
}

static aclError map_memory(void *at, size_t bytes, size_t offset, aclrtDrvMemHandle handle,
                           uint64_t flags)
{
    if (!emu_here()) return EMU_RT_CONTEXT_NULL;
    if ((uintptr_t)at % UNIT || offset || flags)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMapMem: %p is not a multiple of 2 MiB, or there is an offset or a "
                        "flag",
                        at);
    const int gate = emu_gate("aclrtMapMem");
    if (gate != 0) return gate;
    pthread_mutex_lock(&lock);
    physical *p = find(handle);
    const int code = map_it(p, at, bytes);
    if (code == 0) p->maps++;
    pthread_mutex_unlock(&lock);
    return code;
}

aclError aclrtMapMem(void *at, size_t bytes, size_t offset, aclrtDrvMemHandle handle,
                     uint64_t flags)
{
    const int64_t begin = emu_call_begin();
    const aclError code = map_memory(at, bytes, offset, handle, flags);
    emu_call_end("aclrtMapMem", begin);
    return code;
}

aclError aclrtUnmapMem(void *at)
{
    mze_page page;
    pthread_mutex_lock(&lock);
    const bool is_done = mze_ranges_unmap(at, &page);
    for (physical *p = is_done ? all : NULL; p; p = p->next)
        if (p->page.file == page.file && p->page.at == page.at) p->maps--;
    pthread_mutex_unlock(&lock);
    return is_done ? 0
                   : emu_fail(EMU_RT_PARAM_INVALID, "aclrtUnmapMem: nothing is mapped at %p", at);
}

/* ---- between processes ---- */

static uint64_t shared_of(int file)
{
    return (uint64_t)(uint32_t)getpid() << 32 | (uint32_t)file;
}

static bool write_record(int file, const record *r)
{
    return pwrite(file, r, sizeof *r, 0) == (ssize_t)sizeof *r;
}

static int open_of(uint64_t process, int file)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%u/fd/%d", (unsigned)process, file);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* The record of a shared handle, and its file; -1: it is none. */
static int read_record(uint64_t shared, record *r)
{
    const int file = open_of(shared >> 32, (int)(uint32_t)shared);
    if (file < 0) return -1;
    if (pread(file, r, sizeof *r, 0) == (ssize_t)sizeof *r &&
        memcmp(r->magic, MAGIC, sizeof MAGIC) == 0)
        return file;
    (void)close(file);
    return -1;
}

aclError aclrtDeviceGetBareTgid(int32_t *pid)
{
    if (!pid) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtDeviceGetBareTgid: NULL");
    *pid = (int32_t)getpid();
    return 0;
}

aclError aclrtMemExportToShareableHandle(aclrtDrvMemHandle handle, aclrtMemHandleType type,
                                         uint64_t flags, uint64_t *shared)
{
    record r = {.is_for_all = flags == EMU_ANY_PROCESS};
    if (!shared || type != 0 || flags > EMU_ANY_PROCESS)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMemExportToShareableHandle: NULL, a type or a flag");
    pthread_mutex_lock(&lock);
    physical *p = find(handle);
    const bool is_ours = p && !p->is_imported;
    int file = is_ours ? p->shared : -1;
    if (is_ours && file < 0) {
        memcpy(r.magic, MAGIC, sizeof MAGIC);
        (void)snprintf(r.soc, sizeof r.soc, "%s", emu_soc_here()->name);
        r.page = p->page;
        file = memfd_create("emulated shareable handle", MFD_CLOEXEC);
        if (file >= 0 && !write_record(file, &r)) {
            (void)close(file);
            file = -1;
        }
        p->shared = file;
    }
    pthread_mutex_unlock(&lock);
    if (!is_ours)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMemExportToShareableHandle: no handle of this process's memory");
    if (file < 0) return emu_fail(EMU_BAD_ALLOC, "aclrtMemExportToShareableHandle: no file");
    *shared = shared_of(file);
    return 0;
}

aclError aclrtMemSetPidToShareableHandle(uint64_t shared, int32_t *pids, size_t n)
{
    record r;
    const int file = pids && n && shared >> 32 == (uint64_t)getpid() ? read_record(shared, &r) : -1;
    if (file < 0)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMemSetPidToShareableHandle: no processes, or no handle that this "
                        "one gave out");
    bool is_done = n <= (size_t)(PIDS_MAX - r.n);
    for (size_t i = 0; is_done && i < n; i++) r.pid[r.n++] = pids[i];
    is_done = is_done && write_record(file, &r);
    (void)close(file);
    return is_done ? 0
                   : emu_fail(EMU_RT_PARAM_INVALID,
                              "aclrtMemSetPidToShareableHandle: more than %d processes", PIDS_MAX);
}

static bool may_have(const record *r, uint64_t shared)
{
    bool may = r->is_for_all || shared >> 32 == (uint64_t)getpid();
    for (int i = 0; !may && i < r->n && i < PIDS_MAX; i++) may = r->pid[i] == (int32_t)getpid();
    return may;
}

aclError aclrtMemImportFromShareableHandle(uint64_t shared, int32_t device,
                                           aclrtDrvMemHandle *handle)
{
    record r;
    emu_device *d = emu_device_of(device, "aclrtMemImportFromShareableHandle");
    if (!d) return EMU_RT_INVALID_DEVICEID;
    const int file = handle ? read_record(shared, &r) : -1;
    if (file < 0)
        return emu_fail(EMU_RT_PARAM_INVALID,
                        "aclrtMemImportFromShareableHandle: NULL, or no shared handle");
    (void)close(file);
    if (!may_have(&r, shared))
        return emu_fail(EMU_RT_NO_PERMISSION,
                        "aclrtMemImportFromShareableHandle: process %d was not let in",
                        (int)getpid());
    physical *made = calloc(1, sizeof *made);
    const int memory = made ? open_of(shared >> 32, r.page.file) : -1;
    if (memory < 0) {
        free(made);
        return emu_fail(EMU_BAD_ALLOC, "aclrtMemImportFromShareableHandle: no memory");
    }
    *made = (physical){.device = d, .page = r.page, .shared = -1, .is_imported = true};
    made->page.file = memory;
    return add(made, handle);
}
