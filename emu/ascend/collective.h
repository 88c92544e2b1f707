/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/collective.h - between the files of the emulated HCCL: communicators, and collectives
 * as tasks of streams. */
#ifndef MZ_EMU_ASCEND_COLLECTIVE_H
#define MZ_EMU_ASCEND_COLLECTIVE_H

#include "ascend/book.h"
#include "ascend/link.h"

enum { EMU_RT_PEER_TIMEOUT = 507048 };

/* What is sent to each rank, received from each, and all collectives. */
enum { EMU_LANE_SEND = 0, EMU_LANE_RECV = EMU_LINK_RANKS, EMU_LANE_ALL = 2 * EMU_LINK_RANKS };
enum { EMU_LANES = EMU_LANE_ALL + 1 };

typedef struct emu_comm {
    emu_link_shared *shared;
    emu_link_place place;
    emu_device *device;
    int rank, n;
    char name[EMU_HCCL_NAME];
    int64_t exec_seconds; /* 0: for ever */
    size_t room;          /* bytes of the device's memory that it takes with its first collective */
    void *buffer;         /* those; the data do not go through them */
    uint32_t step;        /* of this rank; of the task whose turn it is */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    /* In each lane tasks run in the order in which they were given. */
    uint64_t put[EMU_LANES], done[EMU_LANES];
    int users; /* tasks, and whoever holds the handle */
    bool is_suspended;
    int deterministic;
    int error; /* for HcclGetCommAsyncError; nothing runs any more then */
} emu_comm;

/* ---- hccl.c: communicators ---- */
/* The communicator of a handle, for the device of this thread; 0, or a code that was noted. */
int emu_comm_of(HcclComm handle, const char *call, emu_comm **out);
void emu_comm_leave(emu_comm *c); /* one user less; it goes with the last */
/* A communicator of this thread's device, which takes its seat at that place and waits for the
 * others, unless seconds is < 0. config: NULL where there is none. */
int emu_comm_join(emu_comm **out, const emu_link_place *place, uint32_t n, uint32_t rank,
                  const HcclCommConfig *config, const char *call, int64_t seconds);
int64_t emu_comm_connect_seconds(void);

/* ---- collective.c ---- */
/* What goes to one rank, or comes from it. */
typedef struct emu_move {
    bool sends;
    int peer, type;
    void *at; /* of the client */
    uint64_t n;
    size_t size;
    unsigned char *view; /* while it runs; NULL: it is taken and dropped */
    uint64_t moved;      /* bytes */
    bool has_begun, is_over;
} emu_move;

typedef struct emu_collective emu_collective;
struct emu_collective {
    emu_link_row row; /* what the ranks must agree on */
    emu_comm *comm;
    emu_stream *stream;
    void *send, *recv; /* of the client */
    /* Says, once the communicator is known, what is not 0 of what follows: 0, or a code. NULL: all
     * is said. */
    int (*shape)(emu_collective *k);
    uint64_t n_send, n_recv; /* elements; 0: the address is not looked at */
    double on_link, sent;    /* modelled: elements over one link, and all that this rank sends */
    unsigned lanes;          /* 0: that of the collectives */
    emu_move *moves;         /* its own, where it has any */
    int n_moves;
    /* Parts for every rank, and from every rank, elements. */
    uint64_t out_n[EMU_LINK_RANKS], out_at[EMU_LINK_RANKS];
    uint64_t in_n[EMU_LINK_RANKS], in_at[EMU_LINK_RANKS];
    /* On the stream's thread. False: a fault was told. */
    bool (*run)(emu_collective *k);
    /* while it runs */
    const unsigned char *from;
    unsigned char *to;
    size_t size; /* of an element */
    const emu_fault *fault;
    uint64_t number[EMU_LANES];
    int64_t since, clock;
};

/* Checks it and puts it on its stream. Takes its moves. */
HcclResult emu_collective_ask(emu_collective *k, HcclComm comm, aclrtStream stream);
/* Tells it at the next wait for the stream, by HcclGetCommAsyncError, and to the other ranks.
 * Always false. */
bool emu_collective_fail(emu_collective *k, int code, int error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool emu_collective_fail_waiting(emu_collective *k, emu_link_end end, unsigned who);
/* Makes all moves at once, over that set of pairs. */
bool emu_moves_run(emu_collective *k, int set);
/* A round: every rank shows n bytes (at most EMU_LINK_STAGE), and after it may read what the others
 * show, until it says that it is done. */
bool emu_round_begin(emu_collective *k, const void *bytes, size_t n);
const unsigned char *emu_round_of(const emu_collective *k, int rank);
void emu_round_end(emu_collective *k);

/* ---- reduce.c ---- */
typedef struct emu_hccl_type {
    const char *name;
    size_t size;
    int element; /* of element.c, -1: it has none */
} emu_hccl_type;
const emu_hccl_type *emu_hccl_type_of(int type); /* NULL: there is none such, or not on this chip */
/* Why this chip does not reduce it so, or NULL. */
const char *emu_hccl_cannot(int type, int op);
/* to[i] = from[0][i] op from[1][i] ...: in the order of the ranks, floats in f32 and rounded once,
 * integers as they wrap. n elements. */
void emu_hccl_reduce(void *to, const unsigned char *const *from, int ranks, size_t n, int type,
                     int op, int overflow);

#endif
