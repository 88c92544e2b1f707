/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/state.h - between the chip's files: device, queue, the table of operators. Floor:
 * chips. */
#ifndef MZ_CHIPS_ASCEND_STATE_H
#define MZ_CHIPS_ASCEND_STATE_H

#include "chips/ascend/api.h"
#include "chips/ascend/ascend.h"
#include "chips/ascend/npu.h"
#include "chips/ascend/soc.h"

#include <pthread.h>

/* MASK: rows and columns of the causal mask that the attention operators take. */
enum { MZ_ASCEND_MASK = 2048 };
/* PARTS: of the pinned memory that uploads go through. */
enum { MZ_ASCEND_STAGE = 4 << 20, MZ_ASCEND_PARTS = 4, MZ_ASCEND_LANDINGS = 256 };

typedef struct mz_ascend {
    const mz_acl *acl;
    const mz_ascend_soc *soc;
    int32_t number, wait_ms;
    aclrtContext context;
    void *mask;           /* of causal attention, BOOL: 1 where key > query */
    void *nowhere;        /* a little memory that plans point at */
    pthread_mutex_t lock; /* of what follows */
    mz_ascend_counts counts;
    int lost; /* the code that said that the device is gone; 0: it is there */
} mz_ascend;

/* A download that waits in pinned memory for the next sync. */
typedef struct mz_ascend_landing {
    void *host;
    const unsigned char *pinned;
    size_t bytes;
} mz_ascend_landing;

typedef struct mz_ascend_queue {
    mz_ascend *chip;
    aclrtStream stream;
    unsigned char *pinned; /* MZ_ASCEND_STAGE for uploads, as much for downloads */
    int part;              /* that uploads are written to */
    size_t part_used, landed;
    aclrtEvent left[MZ_ASCEND_PARTS]; /* passes when the device has read the part */
    bool is_left[MZ_ASCEND_PARTS];    /* recorded, and not known to have passed */
    mz_ascend_landing landing[MZ_ASCEND_LANDINGS];
    int n_landings;
    bool is_stuck;       /* a wait ran out: the next ones do not take as long again */
    void *comm;          /* HCCL's communicator; NULL: in no group */
    bool has_collective; /* enqueued since the last sync */
    void *spare;         /* workspace of calls that want more than was booked */
    size_t spare_bytes;
    mz_ascend_counts counts; /* since the last sync */
} mz_ascend_queue;

/* ---- ascend.c ---- */
/* Makes the device this thread's. MZ_ECHIP if it is lost. */
mz_err mz_ascend_here(mz_ascend *chip);
/* A code as our error, with a note; remembers that the device is lost. */
mz_err mz_ascend_fail(mz_ascend *chip, int code, const char *call);

/* ---- queue.c ---- */
mz_err mz_ascend_queue_open(mz_queue *q);
void mz_ascend_queue_close(mz_queue *q);
mz_err mz_ascend_queue_sync(mz_queue *q);
mz_err mz_ascend_upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes);
mz_err mz_ascend_download(mz_queue *q, void *host, const mz_buffer *src, size_t offset,
                          size_t bytes);
mz_err mz_ascend_copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                      size_t src_offset, size_t bytes);
mz_err mz_ascend_zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes);
/* Waits for the stream and lands downloads. */
mz_err mz_ascend_drain(mz_ascend_queue *q);
/* Waits, and reads the first `count` numbers of a dense I32 tensor; they stand until the next
 * download. */
mz_err mz_ascend_read_ids(mz_ascend_queue *q, const mz_tensor *t, int64_t count,
                          const int32_t **ids);

/* ---- ops.c: the slots ---- */
/* One operator: what its passes call. Both are run at bind too, where they only plan (npu.h). */
typedef struct mz_ascend_op {
    void (*forward)(mz_npu *n, const mz_desc *desc, const mz_args *args);
    void (*backward)(mz_npu *n, const mz_desc *desc, const mz_args *args); /* NULL: none */
    size_t (*saved)(const mz_desc *desc);                                  /* NULL: nothing */
    mz_err (*refuse)(const mz_desc *desc); /* MZ_ENOTSUP where it cannot; NULL: any */
} mz_ascend_op;
extern const mz_ascend_op mz_ascend_matmul, mz_ascend_rmsnorm, mz_ascend_swiglu, mz_ascend_embed,
    mz_ascend_xent, mz_ascend_adamw, mz_ascend_sumsq, mz_ascend_finite, mz_ascend_cast,
    mz_ascend_elementwise, mz_ascend_reduce, mz_ascend_rows, mz_ascend_rope, mz_ascend_attention,
    mz_ascend_decode, mz_ascend_router, mz_ascend_balance, mz_ascend_permute, mz_ascend_unpermute,
    mz_ascend_experts;
void mz_ascend_fill_slots(mz_slot slots[MZ_OP_COUNT]);

/* ---- largest.c ---- */
/* The views of a call of the largest shapes, all on `buf`; optional ones too. */
typedef struct mz_ascend_call {
    mz_args args;
    mz_tensor view[MZ_ARGS_MAX];
    int32_t cu[2];
} mz_ascend_call;
void mz_ascend_largest(mz_ascend_call *call, const mz_desc *desc, mz_pass pass, mz_buffer *buf);
/* The same with rows apart, where a caller may give such: CANN may want room for dense copies. */
void mz_ascend_spread(mz_ascend_call *call, const mz_desc *desc);

#endif
