/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/link.h - what the ranks of an emulated communicator share: a piece of memory without a
 * name, in which each has a seat and room for what it sends.
 *
 * Who makes it keeps it open, and says its process and number in the root info; the others open it
 * there, through /proc. So it is gone with the last of them, however they end. A step of a rank is
 * told by its seat's number; whoever waits sleeps at one bell. */
#ifndef MZ_EMU_ASCEND_LINK_H
#define MZ_EMU_ASCEND_LINK_H

#include "ascend/hccl.h"
#include "ascend/state.h"

#include <stdatomic.h>

enum {
    EMU_LINK_RANKS = EMU_DEVICES_MAX,
    EMU_LINK_STAGE = 1 << 20, /* bytes of a rank in a round of a collective */
    EMU_LINK_PAIR = 1 << 18,  /* bytes on the way from one rank to another */
    EMU_LINK_SETS = 2,        /* of pairs: for what is sent, and for collectives */
    EMU_LINK_SUBS = 32,       /* communicators that are being made of this one */
    EMU_LINK_KEY = 16,
    EMU_LINK_WHY = 200
};

/* What ranks must agree on, by the call. */
typedef struct emu_link_row {
    char call[32];
    uint64_t count;
    int type, op;
    uint32_t root;
} emu_link_row;

typedef struct emu_link_seat {
    _Atomic uint32_t taken;
    _Atomic uint32_t step;
    int process, device;
    uint64_t born; /* of the process, so that a number that is used again is another */
    emu_link_row row;
    int64_t clock; /* modelled: when it is ready for this collective */
} emu_link_seat;

/* What is on the way from one rank to another: one piece, until it is taken. */
typedef struct emu_link_pair {
    _Atomic uint32_t put, taken; /* pieces */
    uint64_t bytes;              /* of this piece */
    uint64_t all;                /* of what it is a piece of */
    int type;
    int64_t clock[2]; /* modelled: when the sender was ready, and the receiver */
} emu_link_pair;

/* Where it is found; lies in the root info. */
typedef struct emu_link_place {
    char magic[8];
    unsigned char key[EMU_LINK_KEY];
    int process, file;
} emu_link_place;

/* A communicator that is being made of this one. */
typedef struct emu_link_sub {
    /* 0 free, 1 being written, 2 to be found; and 4 for each time that it was taken. */
    _Atomic uint32_t state;
    uint64_t id;
    emu_link_place place;
} emu_link_sub;

typedef struct emu_link_shared {
    char magic[8];
    unsigned char key[EMU_LINK_KEY];
    _Atomic uint32_t n_ranks, joined; /* a bit for each rank */
    _Atomic uint32_t bell;
    _Atomic uint32_t broken; /* 1: by somebody; 2: and why is there */
    char why[EMU_LINK_WHY];
    emu_link_seat seat[EMU_LINK_RANKS];
    emu_link_pair pair[EMU_LINK_SETS][EMU_LINK_RANKS][EMU_LINK_RANKS]; /* from, to */
    emu_link_sub sub[EMU_LINK_SUBS];
} emu_link_shared;

/* 0, or an HcclResult that was noted. */
int emu_link_make(emu_link_place *place);
int emu_link_open(emu_link_shared **shared, const emu_link_place *place);
/* When all have joined: no other will come. Nothing where another process made it. */
void emu_link_made(const emu_link_place *place);
void emu_link_close(emu_link_shared *shared);
unsigned char *emu_link_stage(emu_link_shared *shared, int rank);
unsigned char *emu_link_piece(emu_link_shared *shared, int set, int from, int to);

/* Takes the seat and waits for the other ranks, `seconds` at most (< 0: does not wait). */
int emu_link_join(emu_link_shared *shared, int rank, int n, int device, int64_t seconds);

typedef enum emu_link_end {
    EMU_LINK_THERE,
    EMU_LINK_LATE,   /* the time is over */
    EMU_LINK_GONE,   /* one of them has ended */
    EMU_LINK_BROKEN, /* another rank has said why */
    EMU_LINK_LEFT    /* the stream goes */
} emu_link_end;

/* Waits until `missing` names no rank (a bit for each). s: the stream whose task waits, or NULL.
 * seconds 0: for ever. *who: the ranks that were missing. */
emu_link_end emu_link_wait(emu_link_shared *shared, emu_stream *s, int64_t seconds,
                           unsigned (*missing)(emu_link_shared *shared, void *data), void *data,
                           unsigned *who);
void emu_link_ring(emu_link_shared *shared);
/* Nothing on it works any more; the first that says why is heard. */
void emu_link_break(emu_link_shared *shared, const char *why);
/* "0 and 2" of a set of ranks. */
void emu_link_names(unsigned ranks, char *out, size_t bytes);

#endif
