/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/link.c - the memory that the ranks of an emulated communicator share, and waiting in
 * it: for ranks that are threads or processes, that are late, and that have died. */
#include "ascend/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char MAGIC[8] = "mzhccl1";

enum {
    HEAD = 64 << 10, /* bytes before the first stage */
    LOOK_MS = 50     /* how often a waiting rank looks whether the others live */
};
_Static_assert(sizeof(emu_link_shared) <= HEAD, "the head has no room");

static const size_t PAIRS = HEAD + (size_t)EMU_LINK_RANKS * EMU_LINK_STAGE;
static const size_t BYTES = HEAD + (size_t)EMU_LINK_RANKS * EMU_LINK_STAGE +
                            (size_t)EMU_LINK_SETS * EMU_LINK_RANKS * EMU_LINK_RANKS * EMU_LINK_PAIR;

/* Those that this process made, until all have joined. */
typedef struct made {
    struct made *next;
    emu_link_place place;
} made;
static made *all_made;
static pthread_mutex_t made_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- making, opening ---- */

static bool keep(const emu_link_place *place)
{
    made *m = malloc(sizeof *m);
    if (!m) return false;
    m->place = *place;
    pthread_mutex_lock(&made_lock);
    m->next = all_made;
    all_made = m;
    pthread_mutex_unlock(&made_lock);
    return true;
}

int emu_link_make(emu_link_place *place)
{
    emu_link_shared *shared = MAP_FAILED;
    *place = (emu_link_place){.process = (int)getpid()};
    memcpy(place->magic, MAGIC, sizeof MAGIC);
    place->file = memfd_create("mizan-emulated-hccl", MFD_CLOEXEC);
    bool is_good = place->file >= 0 && ftruncate(place->file, (off_t)BYTES) == 0 &&
                   getrandom(place->key, sizeof place->key, 0) == sizeof place->key;
    if (is_good) shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, place->file, 0);
    if (shared != MAP_FAILED) {
        memcpy(shared->magic, MAGIC, sizeof MAGIC);
        memcpy(shared->key, place->key, sizeof shared->key);
        (void)munmap(shared, BYTES);
    }
    if (is_good && shared != MAP_FAILED && keep(place)) return 0;
    const int why = errno;
    if (place->file >= 0) (void)close(place->file);
    return emu_fail(EMU_HCCL_SYSCALL, "no shared memory for a communicator: %s", strerror(why));
}

void emu_link_made(const emu_link_place *place)
{
    if (place->process != (int)getpid()) return;
    pthread_mutex_lock(&made_lock);
    made **p = &all_made;
    while (*p && memcmp((*p)->place.key, place->key, sizeof place->key) != 0) p = &(*p)->next;
    made *found = *p;
    if (found) *p = found->next;
    pthread_mutex_unlock(&made_lock);
    if (found) (void)close(found->place.file);
    free(found);
}

int emu_link_open(emu_link_shared **shared, const emu_link_place *place)
{
    char path[64];
    struct stat is;
    void *at = MAP_FAILED;
    if (memcmp(place->magic, MAGIC, sizeof MAGIC) != 0)
        return emu_fail(EMU_HCCL_PARA, "EI0003: the root info is none that HcclGetRootInfo made");
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", place->process, place->file);
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file >= 0 && fstat(file, &is) == 0 && (size_t)is.st_size == BYTES)
        at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) (void)close(file);
    *shared = at;
    if (at != MAP_FAILED && memcmp((*shared)->key, place->key, sizeof place->key) == 0) return 0;
    if (at != MAP_FAILED) (void)munmap(at, BYTES);
    *shared = NULL;
    return emu_fail(EMU_HCCL_TIMEOUT,
                    "EI0006: process %d, which made the root info, does not answer: it has ended, "
                    "or its communicator has all its ranks",
                    place->process);
}

void emu_link_close(emu_link_shared *shared)
{
    if (shared) (void)munmap(shared, BYTES);
}

unsigned char *emu_link_stage(emu_link_shared *shared, int rank)
{
    return (unsigned char *)shared + HEAD + (size_t)rank * EMU_LINK_STAGE;
}

unsigned char *emu_link_piece(emu_link_shared *shared, int set, int from, int to)
{
    const int i = (set * EMU_LINK_RANKS + from) * EMU_LINK_RANKS + to;
    return (unsigned char *)shared + PAIRS + (size_t)i * EMU_LINK_PAIR;
}

/* ---- whether a process lives ---- */

/* When it began, in ticks since the machine did; 0: it has ended, if only its parent does not know
 * yet. */
static uint64_t born(int process)
{
    char path[64], text[1024];
    unsigned long long ticks = 0;
    char state = 'X';
    (void)snprintf(path, sizeof path, "/proc/%d/stat", process);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    const size_t n = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[n] = 0;
    const char *after = strrchr(text, ')'); /* a name may hold anything */
    if (after && after[1]) state = after[2];
    /* Field 22, where the state is field 3. */
    for (int field = 3; after && field < 22; field++) after = strchr(after + 2, ' ');
    if (after) ticks = strtoull(after, NULL, 10);
    return state == 'Z' || state == 'X' ? 0 : (uint64_t)ticks;
}

static unsigned dead_of(const emu_link_shared *shared, unsigned ranks)
{
    unsigned dead = 0;
    for (int r = 0; r < EMU_LINK_RANKS; r++) {
        const emu_link_seat *seat = &shared->seat[r];
        if (!(ranks & 1U << r) || !(atomic_load(&shared->joined) & 1U << r)) continue;
        if (seat->process != (int)getpid() && born(seat->process) != seat->born) dead |= 1U << r;
    }
    return dead;
}

/* ---- waiting ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void emu_link_ring(emu_link_shared *shared)
{
    atomic_fetch_add(&shared->bell, 1);
    (void)syscall(SYS_futex, &shared->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void sleep_at(emu_link_shared *shared, uint32_t heard)
{
    const struct timespec most = {0, LOOK_MS * 1000000L};
    (void)syscall(SYS_futex, &shared->bell, FUTEX_WAIT, heard, &most, NULL, 0);
}

static bool is_going(emu_stream *s)
{
    if (!s) return false;
    pthread_mutex_lock(&s->lock);
    const bool is_ending = s->is_ending;
    pthread_mutex_unlock(&s->lock);
    return is_ending;
}

emu_link_end emu_link_wait(emu_link_shared *shared, emu_stream *s, int64_t seconds,
                           unsigned (*missing)(emu_link_shared *shared, void *data), void *data,
                           unsigned *who)
{
    const int64_t begin = now_ms();
    int64_t looked = begin;
    for (;;) {
        const uint32_t heard = atomic_load(&shared->bell);
        *who = missing(shared, data);
        if (!*who) return EMU_LINK_THERE; /* also where one has ended since */
        if (atomic_load(&shared->broken)) return EMU_LINK_BROKEN;
        if (is_going(s)) return EMU_LINK_LEFT;
        const int64_t now = now_ms();
        if (now - looked >= LOOK_MS) {
            const unsigned dead = dead_of(shared, *who);
            looked = now;
            /* what it did before it ended may have come meanwhile */
            if (dead && (missing(shared, data) & dead)) {
                *who = dead;
                return EMU_LINK_GONE;
            }
        }
        if (seconds > 0 && now - begin >= seconds * 1000) return EMU_LINK_LATE;
        sleep_at(shared, heard);
    }
}

void emu_link_break(emu_link_shared *shared, const char *why)
{
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong(&shared->broken, &nobody, 1)) return;
    (void)snprintf(shared->why, sizeof shared->why, "%s", why);
    atomic_store(&shared->broken, 2);
    emu_link_ring(shared);
}

void emu_link_names(unsigned ranks, char *out, size_t bytes)
{
    size_t n = 0;
    for (int r = 0; r < EMU_LINK_RANKS && n < bytes; r++)
        if (ranks & 1U << r) n += (size_t)snprintf(out + n, bytes - n, "%s%d", n ? " and " : "", r);
}

/* ---- joining ---- */

static unsigned not_joined(emu_link_shared *shared, void *data)
{
    const int *n = data;
    return ((1U << *n) - 1) & ~atomic_load(&shared->joined);
}

static int take_seat(emu_link_shared *shared, int rank, int n, int device)
{
    uint32_t none = 0, free_seat = 0;
    emu_link_seat *seat = &shared->seat[rank];
    if (!atomic_compare_exchange_strong(&shared->n_ranks, &none, (uint32_t)n) &&
        none != (uint32_t)n) {
        emu_link_break(shared, "EI0005: the ranks disagree on how many they are");
        return emu_fail(EMU_HCCL_PARA, "EI0005: rank %d says %d ranks, another %u", rank, n, none);
    }
    if (!atomic_compare_exchange_strong(&seat->taken, &free_seat, 1))
        return emu_fail(EMU_HCCL_PARA, "EI0003: there is a rank %d already", rank);
    seat->process = (int)getpid();
    seat->born = born(seat->process);
    seat->device = device;
    atomic_fetch_or(&shared->joined, 1U << rank);
    emu_link_ring(shared);
    return 0;
}

/* Every rank comes to the same verdict. */
static int check_devices(const emu_link_shared *shared, int n)
{
    for (int a = 0; a < n; a++)
        for (int b = 0; b < a; b++)
            if (shared->seat[a].device == shared->seat[b].device)
                return emu_fail(EMU_HCCL_PARA, "EI0003: ranks %d and %d are both on device %d", b,
                                a, shared->seat[a].device);
    return 0;
}

int emu_link_join(emu_link_shared *shared, int rank, int n, int device, int64_t seconds)
{
    char names[64] = "";
    unsigned who = 0;
    const int code = take_seat(shared, rank, n, device);
    if (code != 0 || seconds < 0) return code;
    const emu_link_end end = emu_link_wait(shared, NULL, seconds, not_joined, &n, &who);
    if (end == EMU_LINK_THERE) return check_devices(shared, n);
    if (end == EMU_LINK_BROKEN)
        return emu_fail(EMU_HCCL_PARA, "%s", atomic_load(&shared->broken) == 2 ? shared->why : "?");
    emu_link_names(who, names, sizeof names);
    return emu_fail(EMU_HCCL_TIMEOUT,
                    "EI0006: rank %d waited %lld s (HCCL_CONNECT_TIMEOUT) for rank %s", rank,
                    (long long)seconds, names);
}
