/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/memory.c - device memory that the host cannot reach, and cannot reuse unnoticed.
 *
 * One reservation a buffer:  [ handle range, never readable ][ guard ][ room, read-write ][ guard ]
 * The room is a piece of the device's memory file and the bytes stand at its end, so that a kernel
 * that runs past them traps at most 63 bytes later; the bytes before and after carry canaries.
 *
 * Floor:  chips.   Errors: MZ_ENOMEM. */
#include "base/mem.h"
#include "chips/far/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGN = 64, KEPT_MAX = 64 };
static const size_t KEPT_BYTES_MAX = (size_t)16 << 20;

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static mz_far_memory **bucket_of(mz_far_device *far, const mz_buffer *owner)
{
    return &far->bucket[((uintptr_t)owner >> 6) % FAR_BUCKETS];
}

mz_far_memory *mz_far_find(mz_far_device *far, const mz_buffer *owner)
{
    mz_far_memory *m = *bucket_of(far, owner);
    while (m && m->owner != owner) m = m->next;
    return m;
}

static unsigned char *data_of(const mz_far_memory *m)
{
    return m->inner.host;
}

static size_t before_data(const mz_far_memory *m)
{
    return (size_t)(data_of(m) - m->room);
}

static size_t behind_data(const mz_far_memory *m)
{
    return m->room_bytes - before_data(m) - m->inner.bytes;
}

static void write_canaries(const mz_far_memory *m)
{
    memset(m->room, FAR_CANARY, before_data(m));
    memset(data_of(m) + m->inner.bytes, FAR_CANARY, behind_data(m));
}

static bool is_canary(const unsigned char *p, size_t n)
{
    while (n && *p == FAR_CANARY) p++, n--;
    return n == 0;
}

bool mz_far_check_canaries(const mz_far_memory *m)
{
    const bool alive = is_canary(m->room, before_data(m)) &&
                       is_canary(data_of(m) + m->inner.bytes, behind_data(m));
    if (!alive) write_canaries(m);
    return alive;
}

/* Fills span, room, at. Device locked. */
static mz_err map(mz_far_device *far, mz_far_memory *m, size_t page)
{
    m->span_bytes = 2 * m->room_bytes + 2 * page;
    void *span =
        mmap(NULL, m->span_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (span == MAP_FAILED)
        return MZ_FAIL(MZ_ENOMEM, "far memory: no address space for %zu bytes", m->inner.bytes);
    m->span = span;
    m->room = m->span + m->room_bytes + page;
    m->at = far->end;
    if (ftruncate(far->memfd, far->end + (off_t)m->room_bytes) != 0 ||
        mmap(m->room, m->room_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, far->memfd,
             m->at) == MAP_FAILED) {
        munmap(m->span, m->span_bytes);
        return MZ_FAIL(MZ_ENOMEM, "far memory: %zu bytes: %s", m->inner.bytes, strerror(errno));
    }
    far->end += (off_t)m->room_bytes;
    return MZ_OK;
}

static void unmap(const mz_far_device *far, mz_far_memory *m)
{
    munmap(m->span, m->span_bytes);
    /* A hole gives the pages back; a memory file without holes only holds them until close. */
    (void)fallocate(far->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, m->at,
                    (off_t)m->room_bytes);
    mz_mem_free(m);
}

mz_err mz_far_alloc(mz_device *device, mz_buffer *buf)
{
    mz_far_device *far = device->state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    MZ_NEED(buf->bytes > 0, "0 bytes");
    if (buf->bytes > SIZE_MAX / 4) return MZ_FAIL(MZ_ENOMEM, "far memory: %zu bytes", buf->bytes);
    mz_far_memory *m = NULL;
    MZ_TRY(mz_mem_new(&m, 1, sizeof *m));
    m->owner = buf;
    m->inner = (mz_buffer){.device = far->inner, .bytes = buf->bytes};
    m->room_bytes = round_up(buf->bytes, page);
    pthread_mutex_lock(&far->lock);
    const mz_err err = map(far, m, page);
    if (err == MZ_OK) {
        const size_t shift = m->room_bytes - round_up(buf->bytes, ALIGN);
        m->inner.host = m->room + shift;
        m->inner.handle = m->inner.host;
        write_canaries(m);
        mz_far_memory **at = bucket_of(far, buf);
        m->next = *at;
        *at = m;
        buf->host = NULL;
        buf->handle = m->span + shift;
    }
    pthread_mutex_unlock(&far->lock);
    if (err != MZ_OK) mz_mem_free(m);
    return err;
}

/* Faults on every queue that used the memory and was not synced. Device locked. */
static bool report_early_free(mz_far_device *far, const mz_far_memory *m)
{
    for (int i = 0; i < FAR_QUEUES; i++)
        if (m->touched >> i & 1 && far->queue[i])
            mz_far_fault(far->queue[i], MZ_EINVAL,
                         "a buffer of %zu bytes was freed before the queue that used it was synced",
                         m->inner.bytes);
    return m->touched != 0;
}

/* Poisons freed memory and keeps it mapped, so that whoever kept an address meets NaN and no
 * younger buffer. Device locked. */
static void keep(mz_far_device *far, mz_far_memory *m)
{
    memset(m->room, FAR_NAN_BYTE, m->room_bytes);
    m->next = NULL;
    *far->kept_end = m;
    far->kept_end = &m->next;
    far->kept_bytes += m->room_bytes;
    far->n_kept++;
    while (far->kept && (far->n_kept > KEPT_MAX || far->kept_bytes > KEPT_BYTES_MAX)) {
        mz_far_memory *oldest = far->kept;
        far->kept = oldest->next;
        if (!far->kept) far->kept_end = &far->kept;
        far->kept_bytes -= oldest->room_bytes;
        far->n_kept--;
        unmap(far, oldest);
    }
}

void mz_far_free(mz_device *device, mz_buffer *buf)
{
    mz_far_device *far = device->state;
    pthread_mutex_lock(&far->lock);
    mz_far_memory *m = mz_far_find(far, buf);
    if (!m) {
        pthread_mutex_unlock(&far->lock);
        mz_far_misuse("a buffer was freed twice or on another device");
        return;
    }
    m->freed = true;
    const uint64_t touched = report_early_free(far, m) ? m->touched : 0;
    if (!touched && !mz_far_check_canaries(m))
        mz_far_misuse("something wrote outside a buffer of %zu bytes", m->inner.bytes);
    mz_far_memory **at = bucket_of(far, buf);
    while (*at != m) at = &(*at)->next;
    *at = m->next;
    pthread_mutex_unlock(&far->lock);
    for (int i = 0; i < FAR_QUEUES; i++)
        if (touched >> i & 1 && far->queue[i]) mz_far_wait_empty(far->queue[i]);
    pthread_mutex_lock(&far->lock);
    keep(far, m);
    pthread_mutex_unlock(&far->lock);
}

void mz_far_memory_clear(mz_far_device *far)
{
    int64_t n = 0;
    for (int i = 0; i < FAR_BUCKETS; i++)
        for (mz_far_memory *m = far->bucket[i], *next; m; m = next, n++) {
            next = m->next;
            unmap(far, m);
        }
    if (n) mz_far_misuse("a device was closed with %lld buffers", (long long)n);
    for (mz_far_memory *m = far->kept, *next; m; m = next) {
        next = m->next;
        unmap(far, m);
    }
}
