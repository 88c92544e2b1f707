/* SPDX-License-Identifier: Apache-2.0 */
/* chip/chip.h - THE table: what a chip is. A vendor is one folder that fills one mz_chip.
 *
 * Ask, bind, run. `query` answers whether the chip has an operator for a description, and what it
 * costs; `bind` prepares it once; forward and backward only enqueue. All questions are asked while
 * a model is bound, so nothing can turn out unsupported in the middle of a step.
 *
 * How the vendors' libraries fit: a cuBLASLt matmul keeps descriptors and algorithm from bind and
 * names its workspace in query; an aclnn operator runs phase 1 and 2 in forward with the workspace
 * booked by query, and puts the tensors that its gradient call wants into `saved`; CNNL sets the
 * dims of descriptors made in bind; a chip that can only multiply fills op[MZ_OP_MATMUL] and leaves
 * the rest NULL (chip/compose and chips/hosted do the rest, said aloud).
 *
 * Floor:  chip. May use tensor, base.
 * Owner:  a chip table is static and const. Devices, queues, ops: whoever opened them.
 * Time:   calls on one queue and its ops come from one thread. Everything between two syncs runs in
 * order. Errors: MZ_ENOTSUP from query and bind (the note carries the chip's reason); MZ_ECHIP from
 * a launch that failed, or from mz_queue_sync for what failed later. */
#ifndef MZ_CHIP_CHIP_H
#define MZ_CHIP_CHIP_H

#include "chip/buffer.h"
#include "chip/desc.h"

enum { MZ_CHIP_ABI = 1 };

typedef struct mz_chip mz_chip;
typedef struct mz_op mz_op;
typedef struct mz_profile mz_profile;       /* chip/profile.h */
typedef struct mz_work mz_work;             /* chip/work.h */
typedef struct mz_collective mz_collective; /* chip/collective.h */

typedef enum mz_state { MZ_STATE_NONE, MZ_STATE_NATIVE, MZ_STATE_COMPOSED, MZ_STATE_HOST } mz_state;
const char *mz_state_name(mz_state s); /* "native" ... */

/* What query fills; it comes zeroed with state NATIVE. */
typedef struct mz_support {
    mz_state state;
    size_t workspace_bytes; /* scratch for one call, of either direction; the queue's operators
                               share one block */
    size_t saved_bytes;     /* opaque, from forward to backward, for the largest shape; 0 without
                               backward */
    size_t staging_bytes;   /* host copies booked for it (chips/hosted) */
    bool repeats;           /* bit for bit the same on every run */
    bool blocks_host;       /* forward or backward waits for the queue */
    char reason[160];       /* why composed, on the host, or not at all; "" for native */
} mz_support;

/* One operator of the table. query NULL = the chip does not have it. backward NULL = forward only
 * (then query must refuse descriptions that ask for backward). bind and unbind may be NULL. */
typedef struct mz_slot {
    mz_err (*query)(const mz_queue *q, const mz_desc *desc, mz_support *support);
    mz_err (*bind)(mz_op *op);
    void (*unbind)(mz_op *op);
    mz_err (*forward)(mz_op *op, const mz_args *args);
    mz_err (*backward)(mz_op *op, const mz_args *args);
} mz_slot;

typedef struct mz_chip_options {
    int threads;             /* 0 = all processors */
    const char *isa;         /* NULL or "auto", else "amx", "avx512", "avx2", "neon", "portable" */
    const char *driver_path; /* where to look for vendor libraries first, or NULL */
    const char *fault_plan;  /* file that chips/fault reads, or NULL */
    const char *cache_path;  /* folder for programs compiled for a device, or NULL: none are kept */
    int wait_s;              /* how long a wait may take; 0 = as the chip has it */
    bool sync_each;          /* wait after every operator */
} mz_chip_options;           /* strings are borrowed until the device closes */

typedef struct mz_device_info {
    char name[64];   /* "cpu", "far:f16" */
    char vendor[64]; /* "AuthenticAMD" ... as the driver says */
    char model[96];
    char driver[64];                         /* driver and library versions, "" if none */
    char isa[32];                            /* instruction set chosen, "" if it does not apply */
    bool emulated, is_host;                  /* is_host: memory is host memory */
    uint32_t dtypes;                         /* bit 1 << MZ_F32 ...: compute dtypes */
    int64_t memory_bytes, memory_free_bytes; /* 0 = unknown */
    int threads;                             /* 0 = does not apply */
} mz_device_info;

struct mz_device {
    const mz_chip *chip;
    mz_device_info info;
    mz_chip_options options;
    void *state;
    size_t bytes_used, bytes_peak; /* kept by mz_buffer_new and mz_buffer_free */
};

/* First and last operator enqueued since the last good sync, for the report of an asynchronous
 * fault. */
typedef struct mz_trace {
    int64_t first_seq, last_seq; /* running numbers of calls; 0 = none */
    const char *first_op, *last_op;
    mz_pass first_pass, last_pass;
} mz_trace;

struct mz_queue {
    const mz_chip *chip;
    mz_device *device;
    void *state;
    mz_buffer *workspace; /* shared by the queue's operators, grown by mz_op_bind; NULL while
                             nothing needs one */
    int64_t seq;
    mz_trace trace;
    int rank; /* of this process in the run, for reports; 0 alone */
    /* where each call's operator is noted, seq << 16 | kind << 1 | pass, for who watches this
     * process from outside (comm/comm.h); NULL: nowhere */
    uint64_t *pulse;
    mz_profile *profile; /* notes each operator's time and shapes; NULL: nobody asks. Borrowed */
    mz_work *work;       /* counts operations; NULL: nobody asks. Borrowed */
    bool takes_uploads;  /* what an upload reads is free again when it returns; the chip says so */
    int64_t syncs;       /* waits so far that found no fault */
    bool is_lent;        /* the workspace is another queue's (chip/wrap.h): it is not grown here */
    bool stands_in;      /* for a device that lacks the operators: counted as the host's work */
    int n_ops;           /* bound and not yet freed */
    /* bit 1 << kind: bound so on this queue; told: mz_queue_tell has said it */
    uint32_t composed, hosted, told_composed, told_hosted;
};

struct mz_op {
    mz_queue *queue;
    const mz_slot *slot;
    mz_desc desc;
    mz_support support;
    void *state; /* of bind */
};

struct mz_chip {
    int abi;      /* MZ_CHIP_ABI */
    size_t bytes; /* sizeof(mz_chip) */
    const char *name;
    const char *summary; /* one line for `mizan chips` */
    bool is_test;        /* listed only with --all */
    /* variants for `mizan chips`: NULL-terminated list of what may follow the colon, or NULL */
    const char *const *variants;

    /* arg: what follows the colon in "name:arg", "" if nothing. Fills device->info and
     * device->state. MZ_ENOTSUP with the reason where such a chip is not usable here. */
    mz_err (*open)(mz_device *device, const char *arg);
    void (*close)(mz_device *device); /* NULL: open left nothing behind */

    /* Its memory is the host's own: operators, downloads and copies read any host memory through
     * buf->host, so that mz_buffer_wrap needs no call of the chip's. */
    bool wraps;
    mz_err (*alloc)(mz_device *device,
                    mz_buffer *buf); /* buf->bytes > 0 is set; fills host, handle; zeroed */
    void (*free)(mz_device *device, mz_buffer *buf);

    mz_err (*queue_open)(mz_queue *q); /* NULL, both: a queue has no state */
    void (*queue_close)(mz_queue *q);
    mz_err (*queue_sync)(mz_queue *q); /* waits, reports what failed since the last sync */
    mz_err (*upload)(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes);
    mz_err (*download)(mz_queue *q, void *host, const mz_buffer *src, size_t offset, size_t bytes);
    mz_err (*copy)(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes);
    mz_err (*zero)(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes);

    /* Weights in the chip's own layout. All three or none. pack_bytes: size of the packed form of
     * matmul's b, 0 if this description gains nothing. pack and unpack enqueue; packed is U8
     * [bytes]. */
    mz_err (*pack_bytes)(const mz_queue *q, const mz_matmul_desc *desc, size_t *bytes);
    mz_err (*pack)(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain);
    mz_err (*unpack)(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed);

    /* What its devices do among themselves; NULL: nothing. */
    const mz_collective *collective;
    /* Of a chip in front of another, whose buffers are as chip/wrap.h has them: the queue behind.
     */
    mz_queue *(*inner)(const mz_queue *q);

    /* Its operators tell mz_work_add (chip/work.h) what they launch. */
    bool counts;
    mz_slot op[MZ_OP_COUNT];
};

/* ---- registry ---- */
/* Tables are registered once at start by app/ or a test; MZ_EINVAL for a wrong abi or size, or a
 * name twice. */
mz_err mz_chip_register(const mz_chip *chip);
int mz_chip_count(void);
const mz_chip *mz_chip_get(int i);
const mz_chip *mz_chip_find(const char *name); /* NULL if there is none of that name */
/* spec: "cpu", "far:matmul", "hosted:far:matmul". options may be NULL. */
mz_err mz_device_open(mz_device **device, const char *spec, const mz_chip_options *options);
void mz_device_close(mz_device *device); /* NULL is legal */

/* ---- queues ---- */
mz_err mz_queue_open(mz_queue **q, mz_device *device);
void mz_queue_close(mz_queue *q); /* NULL is legal; all its ops are freed before */
/* Waits. A fault is noted as: code, rank, chip, the driver's text, first and last operator since
 * the last good sync. */
mz_err mz_queue_sync(mz_queue *q);
/* Nothing falls back in silence: the log hears which operators of those that were bound since the
 * last call are composed of others, and which run on the host. Whoever has bound a network says so.
 */
void mz_queue_tell(mz_queue *q);

/* ---- operators (the front doors of op/ call these) ---- */
/* Asks the chip, then chip/compose. MZ_ENOTSUP if neither has it; *support is filled either way. */
mz_err mz_op_query(const mz_queue *q, const mz_desc *desc, mz_support *support);
/* Query, book the workspace, bind. *op untouched on failure. */
mz_err mz_op_bind(mz_op **op, mz_queue *q, const mz_desc *desc);
/* NULL is legal; what the op enqueued was synced before. */
void mz_op_free(mz_op *op);
/* Enqueues one pass. Arguments were checked by the front door. Keeps the trace, and waits if
 * sync_each. */
mz_err mz_op_run(mz_op *op, mz_pass pass, const mz_args *args);
size_t mz_op_saved(const mz_op *op); /* bytes */
/* The op's share of the queue's workspace, as a U8 tensor; .buf is NULL if it asked for none. Every
 * op's share starts at the front of the block, so a composition that keeps scratch across its inner
 * ops asks for (largest of theirs + its own) and keeps its own behind theirs. */
mz_tensor mz_op_workspace(const mz_op *op);

/* chip/compose: what can be built from the chip's other operators. */
mz_err mz_compose_query(const mz_queue *q, const mz_desc *desc, mz_support *support);
const mz_slot *mz_compose_slot(mz_op_kind kind); /* NULL if there is no composition of that kind */

#endif
