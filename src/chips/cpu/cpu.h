/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/cpu.h - the host processor as a chip: what its files share.
 *
 * Kernels are written once, in files named *.isa.c, and compiled once per instruction set
 * (cmake/isa.cmake). Each of those objects exports one const table of function pointers; isa.c
 * finds out at run time which sets the machine has and hands out the tables. Code outside *.isa.c
 * is compiled for the baseline, so nothing can hit an illegal instruction on an older machine.
 *
 * Floor:  chips. May use chip, tensor, base.
 * Time:   everything is done in the caller; queue_sync has nothing to wait for.
 * Repeat: bitwise, for one instruction set, on any number of threads: which thread computes an
 *         element never decides the order in which its sum is taken.
 * Memory: an operator books its scratch in query (mz_cpu_room) and allocates nothing later. */
#ifndef MZ_CHIPS_CPU_CPU_H
#define MZ_CHIPS_CPU_CPU_H

#include "base/thread.h"
#include "chip/chip.h"
#include "chips/cpu/isa.h"

#include <pthread.h>

typedef struct mz_cpu {
    mz_cpu_kernels kernels; /* of the instruction set chosen */
    mz_pool *pool;
    pthread_mutex_t lock; /* the pool serves one queue at a time */
    int threads;
} mz_cpu;

static inline mz_cpu *mz_cpu_of(const mz_queue *q)
{
    return q->device->state;
}

/* The chip's table, for mz_chip_register. Never NULL. */
const mz_chip *mz_cpu_chip(void);

/* The slots, one per operator, each defined in the file that computes it; cpu.c lists those that
 * exist. */
#define MZ_CPU_SLOT(NAME, field) extern const mz_slot mz_cpu_##field;
MZ_OP_LIST(MZ_CPU_SLOT)
#undef MZ_CPU_SLOT

/* fn(arg, i, thread) for i = 0..parts-1 on the device's threads; returns when all are done. */
void mz_cpu_run(const mz_queue *q, int64_t parts, mz_part_fn *fn, void *arg);

/* Scratch that an operator books in query: a part that all threads see, then one part a thread. */
typedef struct mz_cpu_room {
    size_t shared_bytes, thread_bytes;
} mz_cpu_room;

size_t mz_cpu_room_bytes(const mz_queue *q, mz_cpu_room room); /* for support->workspace_bytes */
/* 64-byte aligned; NULL if the op has no workspace. `room` is what query computed. */
void *mz_cpu_room_shared(const mz_op *op);
void *mz_cpu_room_thread(const mz_op *op, mz_cpu_room room, int thread);

/* MZ_OK for f32, bf16 and f64; else MZ_ENOTSUP with the reason noted. */
mz_err mz_cpu_need_dtype(mz_op_kind kind, mz_dtype dtype);

/* Address of element 0. */
static inline void *mz_cpu_data(const mz_tensor *t)
{
    return (unsigned char *)t->buf->host + t->offset_bytes;
}

/* Packed weights (pack.c). */
mz_err mz_cpu_pack_bytes(const mz_queue *q, const mz_matmul_desc *desc, size_t *bytes);
mz_err mz_cpu_pack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain);
mz_err mz_cpu_unpack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed);

#endif
