/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/state.h - what far's files share: memory records, commands, queues.
 *
 * Invariants:
 *  1. A client's mz_buffer is known by its address only; it is never followed after alloc.
 *  2. Memory that a queued command names outlives that command: free waits for the queues first.
 *  3. Only a queue's worker touches device bytes and the inner queue while commands are queued;
 *     whoever else wants the inner queue (query, bind, unbind) waits until the ring is empty.
 *  4. Lock order: device, then queue.
 *
 * Floor:  chips. */
#ifndef MZ_CHIPS_FAR_STATE_H
#define MZ_CHIPS_FAR_STATE_H

#include "chips/far/far.h"

#include <pthread.h>
#include <sys/types.h>

enum { FAR_RING = 256, FAR_USES = 2048, FAR_QUEUES = 64, FAR_BUCKETS = 256 };
enum { FAR_NAN_BYTE = 0xff, FAR_INT_BYTE = 0x81, FAR_CANARY = 0xc5, FAR_FENCE = 64 };

typedef struct mz_far_memory {
    const mz_buffer *owner; /* compared, never followed */
    mz_buffer inner;        /* the same bytes as the computing chip sees them */
    unsigned char *span;    /* whole reservation: handle range, guard, bytes, guard */
    size_t span_bytes;
    unsigned char *room; /* the readable and writable part; the bytes stand at its end */
    size_t room_bytes;
    off_t at;         /* of room in the device's memory file */
    uint64_t touched; /* a bit for each queue that used it and was not synced since */
    bool freed;
    struct mz_far_memory *next;
} mz_far_memory;

typedef struct mz_far_profile {
    bool f16, matmul, nobwd, lazy, slow;
    uint64_t seed;
    char inner[64];
} mz_far_profile;

struct mz_far_queue;

typedef struct mz_far_device {
    mz_device *inner;
    mz_far_profile profile;
    int memfd;
    pthread_mutex_t lock; /* guards all that follows */
    off_t end;            /* of the memory file; offsets are never used twice */
    mz_far_memory *bucket[FAR_BUCKETS];
    mz_far_memory *kept, **kept_end; /* freed, oldest first */
    size_t kept_bytes;
    int n_kept;
    struct mz_far_queue *queue[FAR_QUEUES];
    uint64_t ops;      /* bound so far; numbers them */
    mz_buffer nothing; /* what a view without elements stands on; never written */
} mz_far_device;

typedef struct mz_far_op {
    mz_op inner;
    uint64_t id;
    int64_t last;       /* number of its last command, 0 = none */
    int saved;          /* index of the argument `saved`, -1 = the operator has none */
    size_t inner_saved; /* bytes that the computing chip asked for */
} mz_far_op;

typedef enum mz_far_verb {
    FAR_FORWARD,
    FAR_BACKWARD,
    FAR_UPLOAD,
    FAR_DOWNLOAD,
    FAR_COPY,
    FAR_ZERO,
    FAR_PACK,
    FAR_UNPACK
} mz_far_verb;

/* Everything that a command needs is in here; nothing of the caller's stack is used later. */
typedef struct mz_far_command {
    mz_far_verb verb;
    int64_t number;
    mz_far_op *op;
    mz_args args;                       /* t[] is pointed at view[] by the worker */
    mz_tensor view[MZ_ARGS_MAX];        /* .buf is the computing chip's */
    mz_far_memory *memory[MZ_ARGS_MAX]; /* NULL: argument absent, or it has no elements */
    bool present[MZ_ARGS_MAX];
    mz_far_memory *workspace;
    mz_matmul_desc matmul;   /* pack, unpack */
    size_t offset[2], bytes; /* copies: of memory[0] and memory[1] */
    const void *from;        /* host side of an upload */
    void *to;                /* and of a download */
    uint64_t hash;           /* of host memory that must not change while queued */
} mz_far_command;

typedef struct mz_far_use {
    const mz_far_memory *memory;
    size_t low, high;
    bool write;
} mz_far_use;

typedef struct mz_far_queue {
    mz_far_device *far;
    mz_queue *outer, *inner;
    int index;       /* in far->queue; its bit in `touched` */
    mz_far_use *use; /* [FAR_USES] since the last sync; the device's lock guards it */
    int n_uses;
    mz_buffer workspace; /* lent to the inner queue while an operator runs; the worker's */
    pthread_t worker;
    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t filled, emptied;
    mz_far_command *ring;     /* [FAR_RING] */
    int64_t put, taken, done; /* commands enqueued, begun, finished */
    int64_t synced;           /* number of the last command that a sync waited for */
    int waiting;              /* threads that want the ring empty */
    bool quit;
    mz_err fault;
    char fault_text[400];
} mz_far_queue;

/* ---- misuse.c ---- */
void mz_far_misuse(const char *fmt, ...) MZ_PRINTF(1, 2);

/* ---- memory.c ---- */
mz_err mz_far_alloc(mz_device *device, mz_buffer *buf);
void mz_far_free(mz_device *device, mz_buffer *buf);
/* Device locked. NULL if no buffer of that address is alive. */
mz_far_memory *mz_far_find(mz_far_device *far, const mz_buffer *owner);
/* Whether nothing wrote around the bytes; renews the canaries, so that one mistake is told once. */
bool mz_far_check_canaries(const mz_far_memory *m);
void mz_far_memory_clear(mz_far_device *far); /* everything; counts what is still in use */

/* ---- queue.c ---- */
mz_err mz_far_queue_open(mz_queue *q);
void mz_far_queue_close(mz_queue *q);
mz_err mz_far_queue_sync(mz_queue *q);
void mz_far_wait_empty(mz_far_queue *q);
/* The next free place of the ring, zeroed (waits for one); it counts from mz_far_commit on. */
mz_far_command *mz_far_reserve(mz_far_queue *q);
void mz_far_commit(mz_far_queue *q, mz_far_command *c);
/* Keeps the first fault until the next sync. */
void mz_far_fault(mz_far_queue *q, mz_err code, const char *fmt, ...) MZ_PRINTF(3, 4);

/* ---- enqueue.c ---- */
mz_err mz_far_run_forward(mz_op *op, const mz_args *args);
mz_err mz_far_run_backward(mz_op *op, const mz_args *args);
mz_err mz_far_upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes);
mz_err mz_far_download(mz_queue *q, void *host, const mz_buffer *src, size_t offset, size_t bytes);
mz_err mz_far_copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes);
mz_err mz_far_zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes);
mz_err mz_far_pack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain);
mz_err mz_far_unpack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed);

/* ---- execute.c: on the worker ---- */
size_t mz_far_fenced_bytes(size_t bytes); /* a workspace with its canaries */
void mz_far_execute(mz_far_queue *q, mz_far_command *c);

/* ---- seal.c: what ties `saved` to the call that wrote it ---- */
enum { FAR_SEAL_BYTES = 32 };
size_t mz_far_sealed_bytes(size_t inner_saved); /* with the seal behind it */
void mz_far_seal(const mz_far_command *c);
/* NULL if the seal holds, else what is wrong. */
const char *mz_far_check_seal(const mz_far_command *c);
uint64_t mz_far_hash(uint64_t seed, const void *bytes, size_t n);
/* Calls fn for every contiguous piece of a view. */
typedef void mz_far_piece_fn(void *user, unsigned char *piece, size_t bytes);
void mz_far_each_piece(const mz_tensor *view, mz_far_piece_fn *fn, void *user);

#endif
