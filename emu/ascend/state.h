/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/state.h - between the emulated driver's files: devices, streams, errors, calls. */
#ifndef MZ_EMU_ASCEND_STATE_H
#define MZ_EMU_ASCEND_STATE_H

#include "ascend/aclnn.h"
#include "common/memory.h"
#include "common/queue.h"

#include <pthread.h>

enum { EMU_DEVICES_MAX = 8, EMU_RANK = 8, EMU_ARGS = 32, EMU_MESSAGE = 256, EMU_OPTIONS = 4 };

/* ---- the machine that is imitated (soc.c) ---- */
typedef struct emu_soc {
    const char *name;
    bool has_bf16, has_infnan;       /* without: numbers too large become the largest */
    int streams;                     /* how many a device has */
    size_t memory;                   /* bytes of a device */
    double cube_per_s, vector_per_s; /* FLOP in f16, published or made of published figures */
    double bytes_per_s, f32_share;   /* f32 on the cube: 1/f32_share of f16 */
} emu_soc;
/* MIZAN_EMU_ASCEND_SOC and _DEVICES choose; without the first it is an Ascend910B2, with a name
 * that is none aclInit fails. */
bool emu_soc_is_known(void);
const emu_soc *emu_soc_here(void);
/* ASCEND_RT_VISIBLE_DEVICES leaves some of the machine's devices, in their order: how many, and the
 * number on the machine of the client's device i, or -1. */
int emu_device_count(void);
int emu_device_visible(int i);

/* ---- runtime.c ---- */
typedef struct emu_device {
    int number, index; /* on the machine; of the client's devices */
    mze_memory *memory;
    struct emu_context *context; /* the implicit one */
    struct emu_stream *streams;  /* linked */
    int n_streams, n_made;
    int64_t option[EMU_OPTIONS]; /* aclSysParamOpt */
    int overflow;
    int dying; /* a task lost the device: later ones do nothing, and the next wait tells */
    int lost;  /* told: the code that every call gives from now on, or 0 */
} emu_device;

typedef struct emu_context {
    emu_device *device;
    struct emu_stream *stream; /* the default one */
} emu_context;

extern pthread_mutex_t emu_lock; /* of devices, contexts and lists of streams */

/* Notes the message for this thread and gives the code back. */
int emu_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* This thread's context; NULL (and 107002 noted) where no device was set. */
emu_context *emu_here(void);
/* The device whose memory that address is, or NULL. */
emu_device *emu_owner(const void *at);
/* The client's device i; NULL, which is noted, where it was not set. */
emu_device *emu_device_of(int i, const char *call);
bool emu_is_pinned(const void *at);
/* Counts so many allocations more, and how much is in use now. */
void emu_count_memory(const emu_device *d, int64_t allocations);
/* Whether this is a live object of that kind, and its number, which no other object ever had. */
uint64_t emu_object_new(const void *at);
uint64_t emu_object_of(const void *at); /* 0: there is none */
bool emu_object_end(const void *at);    /* false: there was none */

/* ---- stream.c ---- */
typedef struct emu_stream {
    struct emu_stream *next;
    emu_context *context;
    mze_queue *queue;
    pthread_mutex_t lock; /* of what follows */
    int fault;            /* of a task, told by the next wait */
    char message[EMU_MESSAGE];
    int number;     /* on its device, for the trace */
    int64_t clock;  /* modelled, ns: when its last task ends. Its own thread's, else under lock */
    bool is_ending; /* for a task without an end */
    pthread_cond_t changed; /* with lock */
} emu_stream;

/* NULL is the context's default stream. 0, or a code that was noted. */
int emu_stream_of(aclrtStream stream, emu_stream **out);
emu_stream *emu_stream_new(emu_context *context);
void emu_stream_delete(emu_stream *s, bool drop);
/* From a task: what the next wait tells; the first stays. */
void emu_stream_fault(emu_stream *s, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Waits and tells. */
int emu_stream_wait(emu_stream *s, int64_t ms);
/* From a task: moves its stream's modelled clock over ns, from `earliest` on at the earliest. Gives
 * the beginning. */
int64_t emu_stream_spend(emu_stream *s, int64_t earliest, int64_t ns);
/* From a task: until its stream goes. */
void emu_stream_hang(emu_stream *s);

/* ---- objects and calls (objects.c, call.c) ---- */
typedef struct emu_tensor {
    int type, rank;
    int64_t dim[EMU_RANK], stride[EMU_RANK]; /* elements */
    int64_t offset;                          /* elements from base */
    unsigned char *base;                     /* the client's address */
    unsigned char *at;                       /* while a task runs: element 0, in our view */
} emu_tensor;

typedef struct emu_arg {
    char kind; /* as in aclnn.h */
    int n;     /* of tensors or ints; 0: absent */
    emu_tensor *tensor;
    int64_t *ints;
    double *reals; /* N */
    int64_t i;     /* B C I U Y, and S of an integer type */
    double d;      /* F D, and S */
    int type;      /* of S */
    char text[16];
    const void *object; /* what was given, and its number: it must live until phase 2 */
    uint64_t id;
} emu_arg;

typedef struct emu_call {
    const struct emu_op *op;
    emu_device *device;
    emu_stream *stream;
    int n;
    emu_arg arg[EMU_ARGS];
    uint64_t workspace;
    bool is_repeatable;
} emu_call;

typedef struct emu_op {
    const char *name;
    aclnnStatus (*check)(emu_call *c); /* phase 1: 0, or a code that was noted */
    void (*run)(emu_call *c);          /* on the stream's thread; tensors are resolved */
} emu_op;

struct aclTensor {
    emu_tensor tensor;
};
struct aclScalar {
    int type;
    double d;
    int64_t i;
};
struct aclIntArray {
    int64_t n, *value;
};
struct aclTensorList {
    int64_t n;
    aclTensor **tensor;
};

struct aclScalarList {
    int64_t n;
    aclScalar **scalar;
};

typedef union emu_value {
    const void *p;
    int64_t i;
    double d;
} emu_value;

/* From a task: that tensor has this shape from now on, where it lives still. */
void emu_tensor_shape(const void *object, uint64_t id, int rank, const int64_t *dims);

const emu_op *emu_op_find(const char *name); /* NULL: there is none */
aclnnStatus emu_phase1(const char *name, const char *kinds, const emu_value *v, uint64_t *workspace,
                       aclOpExecutor **executor);
aclnnStatus emu_phase2(void *workspace, uint64_t bytes, aclOpExecutor *executor,
                       aclrtStream stream);

/* ---- workspace.c ---- */
uint64_t emu_workspace_of(const emu_call *c);
/* From a task: takes the workspace, whose contents go. False with a fault: it is none. */
bool emu_workspace_use(const emu_call *c, const void *workspace);

/* ---- element.c ---- */
size_t emu_size_of(int type); /* 0: a type that it does not have */
const char *emu_type_name(int type);
bool emu_is_float(int type);
int64_t emu_count(const emu_tensor *t);
/* Elements at + stride i, i < n, as doubles and back, rounded as the device does. */
void emu_load(double *to, int type, const unsigned char *at, int64_t stride, int64_t n);
void emu_store(int type, unsigned char *at, int64_t stride, const double *from, int64_t n,
               int overflow);
/* The same of integers: what is too wide for the type loses its upper bits. */
void emu_load_whole(int64_t *to, int type, const unsigned char *at, int64_t stride, int64_t n);
void emu_store_whole(int type, unsigned char *at, int64_t stride, const int64_t *from, int64_t n);

/* ---- the operators ---- */
extern const emu_op emu_ops_map[], emu_ops_matmul[], emu_ops_rows[], emu_ops_softmax[],
    emu_ops_order[], emu_ops_rope[], emu_ops_attention[], emu_ops_loss[], emu_ops_client[],
    emu_ops_foreach[], emu_ops_curve[], emu_ops_fold[], emu_ops_index[], emu_ops_found[],
    emu_ops_norm[], emu_ops_random[], emu_ops_conv[], emu_ops_moe[]; /* end with a NULL name */

/* Whether the chip that is imitated has no kernel of this operator (lacks.c). */
bool emu_soc_lacks(const char *op);

/* Whether argument i is there. */
static inline emu_tensor *emu_t(emu_call *c, int i)
{
    return c->arg[i].n ? c->arg[i].tensor : NULL;
}

#endif
