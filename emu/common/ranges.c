/* SPDX-License-Identifier: Apache-2.0 */
/* emu/common/ranges.c - reserved addresses, and the pieces of files mapped there. */
#include "common/ranges.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct piece {
    size_t at; /* from the range's first byte */
    mze_page page;
} piece;

typedef struct range {
    struct range *next;
    unsigned char *client, *own;
    size_t bytes;
    const void *owner; /* of what is mapped */
    piece *pieces;     /* by address */
    size_t n, room;
    bool is_free; /* released: kept, because a task may still look there */
} range;

static range *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Zeros, which cost nothing until they are written. */
static void *empty(void *at, size_t bytes, int more)
{
    return mmap(at, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more, -1, 0);
}

/* The client's view is one unit larger than it has to be, so that an aligned address lies in it. */
static unsigned char *start_of(const range *x)
{
    const uintptr_t at = (uintptr_t)x->client;
    return x->client + (MZE_RANGE_UNIT - at % MZE_RANGE_UNIT) % MZE_RANGE_UNIT;
}

static range *released(size_t bytes)
{
    range *x = all;
    while (x && !(x->is_free && x->bytes == bytes)) x = x->next;
    return x;
}

static range *make(size_t bytes)
{
    range *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->bytes = bytes;
    x->client = mmap(NULL, bytes + MZE_RANGE_UNIT, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    x->own = empty(NULL, bytes, 0);
    if (x->client != MAP_FAILED && x->own != MAP_FAILED) return x;
    if (x->client != MAP_FAILED) (void)munmap(x->client, bytes + MZE_RANGE_UNIT);
    if (x->own != MAP_FAILED) (void)munmap(x->own, bytes);
    free(x);
    return NULL;
}

bool mze_ranges_reserve(size_t bytes, void **at)
{
    if (bytes > SIZE_MAX / 2 - MZE_RANGE_UNIT) return false;
    const size_t rounded = (bytes + MZE_RANGE_UNIT - 1) / MZE_RANGE_UNIT * MZE_RANGE_UNIT;
    pthread_mutex_lock(&lock);
    range *x = released(rounded);
    if (x) {
        x->is_free = false;
    } else {
        x = make(rounded);
        if (x) x->next = all, all = x;
    }
    pthread_mutex_unlock(&lock);
    if (x) *at = start_of(x);
    return x != NULL;
}

/* Under the lock. Where an address is reserved; *at: how far behind the range's first. */
static range *find(const void *address, size_t *at)
{
    range *x = all;
    for (; x; x = x->next) {
        const uintptr_t first = (uintptr_t)start_of(x), want = (uintptr_t)address;
        if (x->is_free || want < first || want - first >= x->bytes) continue;
        *at = want - first;
        break;
    }
    return x;
}

bool mze_ranges_release(const void *address)
{
    size_t at = 0;
    pthread_mutex_lock(&lock);
    range *x = find(address, &at);
    const bool done = x && at == 0 && x->n == 0;
    if (done) x->is_free = true;
    pthread_mutex_unlock(&lock);
    return done;
}

/* The index of the first piece that ends behind `at`. */
static size_t behind(const range *x, size_t at)
{
    size_t i = 0;
    while (i < x->n && x->pieces[i].at + x->pieces[i].page.bytes <= at) i++;
    return i;
}

static bool make_room(range *x)
{
    if (x->n < x->room) return true;
    const size_t room = x->room ? 2 * x->room : 16;
    piece *pieces = realloc(x->pieces, room * sizeof *pieces);
    if (!pieces) return false;
    x->pieces = pieces;
    x->room = room;
    return true;
}

static bool map(range *x, size_t at, const void *owner, const mze_page *page)
{
    if (page->bytes > x->bytes - at || (x->n && x->owner != owner) || !make_room(x)) return false;
    const size_t i = behind(x, at);
    if (i < x->n && x->pieces[i].at < at + page->bytes) return false;
    if (mmap(x->own + at, page->bytes, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | MAP_NORESERVE, page->file, (off_t)page->at) == MAP_FAILED)
        return false;
    memmove(x->pieces + i + 1, x->pieces + i, (x->n - i) * sizeof *x->pieces);
    x->pieces[i] = (piece){at, *page};
    x->n++;
    x->owner = owner;
    return true;
}

bool mze_ranges_map(const void *owner, const void *address, const mze_page *page)
{
    size_t at = 0;
    pthread_mutex_lock(&lock);
    range *x = find(address, &at);
    const bool done = x && map(x, at, owner, page);
    pthread_mutex_unlock(&lock);
    return done;
}

bool mze_ranges_unmap(const void *address, mze_page *page)
{
    size_t at = 0;
    pthread_mutex_lock(&lock);
    range *x = find(address, &at);
    const size_t i = x ? behind(x, at) : 0;
    const bool done = x && i < x->n && x->pieces[i].at == at;
    if (done) {
        *page = x->pieces[i].page;
        (void)empty(x->own + at, page->bytes, MAP_FIXED);
        if (--x->n == 0) x->owner = NULL;
        memmove(x->pieces + i, x->pieces + i + 1, (x->n - i) * sizeof *x->pieces);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

bool mze_ranges_own(const void *owner, const void *address)
{
    size_t at = 0;
    pthread_mutex_lock(&lock);
    const range *x = find(address, &at);
    const bool is_so = x && x->owner == owner;
    pthread_mutex_unlock(&lock);
    return is_so;
}

/* Pieces side by side are one memory to whoever works there. */
static void *view(const range *x, size_t at, size_t bytes)
{
    size_t upto = at;
    if (bytes > x->bytes - at) return NULL;
    for (size_t i = behind(x, at); i < x->n && x->pieces[i].at <= upto && upto < at + bytes; i++)
        upto = x->pieces[i].at + x->pieces[i].page.bytes;
    return upto >= at + bytes ? x->own + at : NULL;
}

void *mze_ranges_view(const void *owner, const void *address, size_t bytes)
{
    size_t at = 0;
    pthread_mutex_lock(&lock);
    const range *x = find(address, &at);
    void *found = x && x->owner == owner ? view(x, at, bytes) : NULL;
    pthread_mutex_unlock(&lock);
    return found;
}
