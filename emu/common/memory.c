/* SPDX-License-Identifier: Apache-2.0 */
/* emu/common/memory.c - an emulated device's memory: two views of one file, blocks, poison. */
#include "common/memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* RANGE: addresses for each byte of capacity. PAGE: blocks begin at one, so that a freed one can be
 * given back to the system. */
enum { RANGE = 4, PAGE = 4096 };

typedef struct block {
    size_t at, bytes;
    bool is_page; /* no address of the client's */
} block;

struct mze_memory {
    pthread_mutex_t lock;
    unsigned char *client, *own;
    size_t capacity, range, used, cursor;
    block *blocks; /* by address */
    size_t n, room;
    int file;
};

mze_memory *mze_memory_new(size_t capacity)
{
    mze_memory *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->capacity = capacity;
    m->range = capacity * RANGE;
    m->own = m->client = MAP_FAILED;
    pthread_mutex_init(&m->lock, NULL);
    m->file = memfd_create("emulated device memory", MFD_CLOEXEC);
    if (m->file >= 0 && ftruncate(m->file, (off_t)m->range) == 0) {
        m->own =
            mmap(NULL, m->range, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->file, 0);
        m->client =
            mmap(NULL, m->range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (m->own != MAP_FAILED && m->client != MAP_FAILED) return m;
    mze_memory_delete(m);
    return NULL;
}

void mze_memory_delete(mze_memory *m)
{
    if (!m) return;
    if (m->own != MAP_FAILED) (void)munmap(m->own, m->range);
    if (m->client != MAP_FAILED) (void)munmap(m->client, m->range);
    if (m->file >= 0) (void)close(m->file);
    pthread_mutex_destroy(&m->lock);
    free(m->blocks);
    free(m);
}

/* The index of the first block that ends behind `at`. */
static size_t behind(const mze_memory *m, size_t at)
{
    size_t low = 0, high = m->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (m->blocks[middle].at + m->blocks[middle].bytes <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first gap of `bytes` at or behind `from`; SIZE_MAX: there is none. *index: before which
 * block. */
static size_t find_gap(const mze_memory *m, size_t from, size_t bytes, size_t *index)
{
    size_t at = from, i = behind(m, from);
    for (; i < m->n; i++) {
        if (m->blocks[i].at >= at && m->blocks[i].at - at >= bytes) break;
        at = (m->blocks[i].at + m->blocks[i].bytes + PAGE - 1) / PAGE * PAGE;
    }
    *index = i;
    return at <= m->range && m->range - at >= bytes ? at : SIZE_MAX;
}

static bool make_room(mze_memory *m)
{
    if (m->n < m->room) return true;
    const size_t room = m->room ? 2 * m->room : 64;
    block *blocks = realloc(m->blocks, room * sizeof *blocks);
    if (!blocks) return false;
    m->blocks = blocks;
    m->room = room;
    return true;
}

static bool take(mze_memory *m, size_t bytes, bool is_page, size_t *at)
{
    size_t index = 0;
    if (bytes > m->capacity - m->used || !make_room(m)) return false;
    size_t found = find_gap(m, m->cursor, bytes, &index);
    if (found == SIZE_MAX) found = find_gap(m, 0, bytes, &index);
    if (found == SIZE_MAX) return false;
    memmove(m->blocks + index + 1, m->blocks + index, (m->n - index) * sizeof *m->blocks);
    m->blocks[index] = (block){found, bytes, is_page};
    m->n++;
    m->used += bytes;
    /* a page between two blocks is nobody's: what runs over the end of one is seen */
    m->cursor = (found + bytes + 2 * PAGE - 1) / PAGE * PAGE;
    memset(m->own + found, 0xFF, bytes < MZE_POISON ? bytes : MZE_POISON);
    *at = found;
    return true;
}

bool mze_memory_alloc(mze_memory *m, size_t bytes, size_t align, void **at)
{
    size_t found = 0;
    if (!bytes || align > PAGE) return false; /* pages are aligned to anything smaller */
    pthread_mutex_lock(&m->lock);
    const bool done = take(m, bytes, false, &found);
    pthread_mutex_unlock(&m->lock);
    if (done) *at = m->client + found;
    return done;
}

/* Under the lock. False: no block of that kind begins there. */
static bool give(mze_memory *m, size_t at, bool is_page)
{
    const size_t i = behind(m, at);
    if (i == m->n || m->blocks[i].at != at || m->blocks[i].is_page != is_page) return false;
    const off_t bytes = (off_t)((m->blocks[i].bytes + PAGE - 1) / PAGE * PAGE);
    (void)fallocate(m->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, bytes);
    m->used -= m->blocks[i].bytes;
    m->n--;
    memmove(m->blocks + i, m->blocks + i + 1, (m->n - i) * sizeof *m->blocks);
    return true;
}

/* Of all addresses but reserved ones. */
static bool is_inside(const mze_memory *m, const void *at)
{
    const uintptr_t first = (uintptr_t)m->client;
    return (uintptr_t)at >= first && (uintptr_t)at < first + m->range;
}

bool mze_memory_free(mze_memory *m, const void *address)
{
    if (!is_inside(m, address)) return false;
    pthread_mutex_lock(&m->lock);
    const bool done = give(m, (size_t)((const unsigned char *)address - m->client), false);
    pthread_mutex_unlock(&m->lock);
    return done;
}

bool mze_memory_owns(const mze_memory *m, const void *at)
{
    return is_inside(m, at) || mze_ranges_own(m, at);
}

static void *view_inside(const mze_memory *m, size_t at, size_t bytes)
{
    const size_t i = behind(m, at);
    if (i == m->n || m->blocks[i].at > at || m->blocks[i].is_page) return NULL;
    return bytes <= m->blocks[i].at + m->blocks[i].bytes - at ? m->own + at : NULL;
}

void *mze_memory_view(mze_memory *m, const void *address, size_t bytes)
{
    if (!is_inside(m, address)) return mze_ranges_view(m, address, bytes);
    pthread_mutex_lock(&m->lock);
    void *view = view_inside(m, (size_t)((const unsigned char *)address - m->client), bytes);
    pthread_mutex_unlock(&m->lock);
    return view;
}

bool mze_memory_page_new(mze_memory *m, size_t bytes, mze_page *page)
{
    *page = (mze_page){.file = m->file, .bytes = bytes};
    pthread_mutex_lock(&m->lock);
    const bool done = take(m, bytes, true, &page->at);
    pthread_mutex_unlock(&m->lock);
    return done;
}

void mze_memory_page_delete(mze_memory *m, const mze_page *page)
{
    pthread_mutex_lock(&m->lock);
    (void)give(m, page->at, true);
    pthread_mutex_unlock(&m->lock);
}

void mze_memory_used(mze_memory *m, size_t *used, size_t *capacity, size_t *blocks)
{
    pthread_mutex_lock(&m->lock);
    *used = m->used;
    *capacity = m->capacity;
    *blocks = m->n;
    pthread_mutex_unlock(&m->lock);
}
