/* SPDX-License-Identifier: Apache-2.0 */
/* comms/local/ring.c - exchanges through shared memory: rings, bells, and the mapping they lie in.
 * Floor: comms.
 *
 * A rank that can neither write nor read sleeps on its bell, which others ring after they have
 * written to it or made room for it. It looks up ten times a second anyway, so that a bell that
 * was lost with its ringer ends no run. */
#include "comms/local/seat.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SLEEP_NS = 100 * 1000 * 1000, SPINS = 64 };

/* ---- the mapping ---- */

static size_t round_up(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

/* Pages that no ring uses are never made. */
mz_err mz_hall_open(mz_hall **out, int size)
{
    const size_t n = (size_t)size, head = round_up(sizeof(mz_hall)),
                 seats = round_up(n * sizeof(mz_seat)),
                 bytes = head + seats + n * n * sizeof(mz_ring);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return MZ_FAIL(MZ_ENOMEM, "no %zu bytes to share between %d ranks: %s", bytes, size,
                       strerror(errno));
    mz_hall *h = p;
    unsigned char *at = p;
    h->bytes = bytes;
    h->size = size;
    h->seats = (mz_seat *)(void *)(at + head);
    h->rings = (mz_ring *)(void *)(at + head + seats);
    atomic_store(&h->lost, -1);
    for (int r = 0; r < size; r++) atomic_store(&h->seats[r].waits_for, -1);
    *out = h;
    return MZ_OK;
}

void mz_hall_close(mz_hall *h)
{
    if (h) (void)munmap(h, h->bytes);
}

/* ---- bells ---- */

void mz_bell_ring(mz_seat *seat)
{
    (void)atomic_fetch_add(&seat->bell, 1);
    if (atomic_load(&seat->sleeps))
        (void)syscall(SYS_futex, &seat->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Unless the bell was rung since `seen`. */
static void sleep_on(mz_seat *seat, uint32_t seen)
{
    const struct timespec most = {.tv_nsec = SLEEP_NS};
    atomic_store(&seat->sleeps, 1);
    (void)syscall(SYS_futex, &seat->bell, FUTEX_WAIT, seen, &most, NULL, 0);
    atomic_store(&seat->sleeps, 0);
}

void mz_hall_give_up(mz_hall *h, int lost)
{
    atomic_store(&h->lost, lost);
    atomic_store(&h->gives_up, 1);
    for (int r = 0; r < h->size; r++) mz_bell_ring(&h->seats[r]);
}

/* ---- rings ---- */

/* A run of n bytes at place `at` of the endless sequence, as the one or two pieces it is. */
static void put(mz_ring *ring, uint64_t at, const unsigned char *data, size_t n)
{
    const size_t place = (size_t)(at % MZ_RING_BYTES);
    const size_t first = n < MZ_RING_BYTES - place ? n : MZ_RING_BYTES - place;
    memcpy(ring->bytes + place, data, first);
    memcpy(ring->bytes, data + first, n - first);
}

static void get(const mz_ring *ring, uint64_t at, unsigned char *data, size_t n)
{
    const size_t place = (size_t)(at % MZ_RING_BYTES);
    const size_t first = n < MZ_RING_BYTES - place ? n : MZ_RING_BYTES - place;
    memcpy(data, ring->bytes + place, first);
    memcpy(data + first, ring->bytes, n - first);
}

/* Bytes moved into the ring, 0 while it is full. */
static size_t push(mz_ring *ring, const unsigned char *data, size_t n)
{
    const uint64_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
    const uint64_t read = atomic_load_explicit(&ring->read, memory_order_acquire);
    const size_t room = MZ_RING_BYTES - (size_t)(written - read);
    const size_t moved = n < room ? n : room;
    if (moved == 0) return 0;
    put(ring, written, data, moved);
    atomic_store_explicit(&ring->written, written + moved, memory_order_release);
    return moved;
}

static size_t pull(mz_ring *ring, unsigned char *data, size_t n)
{
    const uint64_t read = atomic_load_explicit(&ring->read, memory_order_relaxed);
    const uint64_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
    const size_t there = (size_t)(written - read);
    const size_t moved = n < there ? n : there;
    if (moved == 0) return 0;
    get(ring, read, data, moved);
    atomic_store_explicit(&ring->read, read + moved, memory_order_release);
    return moved;
}

/* ---- the table ---- */

static mz_err given_up(const mz_sitting *s, int waited_for)
{
    const int lost = atomic_load(&s->hall->lost);
    if (lost >= 0) return MZ_FAIL(MZ_ETIMEOUT, "rank %d is gone", lost);
    return MZ_FAIL(MZ_ETIMEOUT, "the run was given up while rank %d waited for rank %d",
                   s->comm.rank, waited_for);
}

static mz_err wait(mz_sitting *s, int whom, uint32_t bell, int *turns)
{
    mz_seat *seat = s->seat;
    if (atomic_load(&s->hall->gives_up)) return given_up(s, whom);
    if ((*turns)++ < SPINS) return MZ_OK;
    atomic_store(&seat->waits_for, whom);
    sleep_on(seat, bell);
    return MZ_OK;
}

static mz_err exchange(mz_comm *c, const mz_exchange *x)
{
    mz_sitting *s = c->state;
    mz_hall *h = s->hall;
    mz_ring *to = &h->rings[c->rank * c->size + x->to];
    mz_ring *from = &h->rings[x->from * c->size + c->rank];
    size_t sent = 0, got = 0;
    mz_err err = MZ_OK;
    for (int turns = 0; err == MZ_OK;) {
        const uint32_t bell = atomic_load(&s->seat->bell);
        const unsigned char *out = x->out;
        unsigned char *in = x->in;
        const size_t up = sent < x->out_bytes ? push(to, out + sent, x->out_bytes - sent) : 0;
        const size_t down = got < x->in_bytes ? pull(from, in + got, x->in_bytes - got) : 0;
        sent += up;
        got += down;
        if (up > 0) mz_bell_ring(&h->seats[x->to]);
        if (down > 0) mz_bell_ring(&h->seats[x->from]);
        if (sent == x->out_bytes && got == x->in_bytes) break;
        if (up + down > 0)
            turns = 0;
        else
            err = wait(s, got < x->in_bytes ? x->from : x->to, bell, &turns);
    }
    atomic_store(&s->seat->waits_for, -1);
    return err;
}

static void phase(mz_comm *c, mz_phase phase, int64_t step)
{
    mz_sitting *s = c->state;
    atomic_store(&s->seat->step, step);
    atomic_store(&s->seat->phase, (uint32_t)phase);
    (void)atomic_fetch_add(&s->seat->moves, 1);
    if (s->local->on_phase) s->local->on_phase(s->local->user, c->rank, phase, step);
}

static void close_sitting(mz_comm *c)
{
    (void)c; /* it lives on the stack of mz_seat_take, and its mapping with the process */
}

const mz_comm_table mz_local_table = {
    .name = "local", .exchange = exchange, .phase = phase, .close = close_sitting};

bool mz_local_is_stopping(const mz_comm *comm)
{
    const mz_sitting *s = comm->state;
    return atomic_load(&s->hall->stops) != 0;
}
