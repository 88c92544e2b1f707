/* SPDX-License-Identifier: Apache-2.0 */
/* comms/local/seat.h - what supervisor and ranks share. Private to comms/local. Floor: comms.
 *
 * Everything that two processes write or read at the same time is atomic. */
#ifndef MZ_COMMS_LOCAL_SEAT_H
#define MZ_COMMS_LOCAL_SEAT_H

#include "comms/local/local.h"

#include <stdatomic.h>
#include <sys/types.h>

enum { MZ_RING_BYTES = 1 << 18, MZ_LINE = 64 };

/* Bytes from one rank to another: one writes, one reads. */
typedef struct mz_ring {
    _Atomic uint64_t written;
    unsigned char pad1[MZ_LINE - 8];
    _Atomic uint64_t read;
    unsigned char pad2[MZ_LINE - 8];
    unsigned char bytes[MZ_RING_BYTES];
} mz_ring;

typedef struct mz_seat {
    _Atomic uint32_t bell;     /* counts what others did that this rank may wait for; a futex */
    _Atomic uint32_t sleeps;   /* 1: it waits on the bell */
    _Atomic int32_t waits_for; /* rank, -1: it does not wait */
    _Atomic uint32_t phase;
    _Atomic int64_t step;
    _Atomic uint64_t moves; /* phases entered so far */
    _Atomic uint64_t beats;
    uint64_t pulse;             /* see mz_queue.pulse */
    _Atomic uint32_t has_ended; /* `why` is complete */
    mz_err_info why;            /* code MZ_OK: it ended well */
    unsigned char pad[MZ_LINE];
} mz_seat;

typedef struct mz_hall {
    size_t bytes; /* of the mapping */
    int size;
    _Atomic uint32_t gives_up; /* 1: ends every wait */
    _Atomic uint32_t stops;    /* 1: the run is to end in order */
    _Atomic int32_t lost;      /* the rank that is gone, -1: none */
    mz_seat *seats;            /* [size] */
    mz_ring *rings;            /* [size * size], from * size + to */
} mz_hall;

mz_err mz_hall_open(mz_hall **hall, int size);
void mz_hall_close(mz_hall *hall);
void mz_hall_give_up(mz_hall *hall, int lost);

/* ---- rank.c: in the rank's process; does not return ---- */
_Noreturn void mz_seat_take(const mz_local *l, mz_hall *hall, int rank, pid_t supervisor);

/* ---- ring.c ---- */
typedef struct mz_sitting { /* mz_comm.state */
    mz_comm comm;
    mz_hall *hall;
    mz_seat *seat;
    const mz_local *local;
} mz_sitting;
extern const mz_comm_table mz_local_table;
void mz_bell_ring(mz_seat *seat);

#endif
