/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/collective.h - between the files of the emulated HCCL: communicators, and collectives
 * as tasks of streams. */
#ifndef MZ_EMU_ASCEND_COLLECTIVE_H
#define MZ_EMU_ASCEND_COLLECTIVE_H

#include "ascend/book.h"
#include "ascend/link.h"

enum { EMU_RT_PEER_TIMEOUT = 507048 };

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
    uint64_t put, done; /* collectives; they run in the order in which they were given */
    int users;          /* tasks, and whoever holds the handle */
    bool ended;
    int error; /* for HcclGetCommAsyncError; nothing runs any more then */
} emu_comm;

/* ---- hccl.c: communicators ---- */
/* The communicator of a handle, for the device of this thread; 0, or a code that was noted. */
int emu_comm_of(HcclComm handle, const char *call, emu_comm **out);
void emu_comm_leave(emu_comm *c); /* one user less; it goes with the last */

/* ---- collective.c ---- */
typedef struct emu_collective emu_collective;
struct emu_collective {
    emu_link_row row; /* what the ranks must agree on */
    emu_comm *comm;
    emu_stream *stream;
    void *send, *recv; /* of the client */
    /* Says, once the communicator is known, what is not 0 of the next two lines. */
    void (*shape)(emu_collective *k);
    uint64_t n_send, n_recv; /* elements; 0: the address is not looked at */
    double on_link, sent;    /* modelled: elements over one link, and all that this rank sends */
    /* On the stream's thread. False: a fault was told. */
    bool (*run)(emu_collective *k);
    /* while it runs */
    const unsigned char *from;
    unsigned char *to;
    size_t size; /* of an element */
    const emu_fault *fault;
    uint64_t number;
    int64_t since, clock;
};

/* Checks it and puts it on its stream. Stages: gate, communicator, stream, type, addresses. */
HcclResult emu_collective_ask(emu_collective *k, HcclComm comm, aclrtStream stream);
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
