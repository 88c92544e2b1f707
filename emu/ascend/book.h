/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/book.h - what the emulated driver counts, models, traces, and makes fail on purpose.
 *
 * All of it is asked for in the environment, which `mizan emu` sets:
 *   MIZAN_EMU_ASCEND_FAULTS    the plan's text, one fault a line: KIND KEY=VALUE ...
 *   MIZAN_EMU_ASCEND_COUNTERS  a folder: PID.json there is written at every wait and at the end
 *   MIZAN_EMU_ASCEND_TRACE     a file in Chrome's trace format, which all processes add to
 *
 * Time is modelled, never measured: a task takes max(FLOP / peak, bytes / bandwidth) + launch,
 * after the one before it on its stream and after the host's call; a call on the host takes a fixed
 * time, a wait until its stream has come so far. One clock for a process's host, one for each
 * stream. */
#ifndef MZ_EMU_ASCEND_BOOK_H
#define MZ_EMU_ASCEND_BOOK_H

#include "ascend/state.h"

/* ---- what a call costs (cost.c), and how long that takes (soc.c) ---- */
typedef struct emu_cost {
    double cube, vector; /* FLOP */
    int64_t bytes;       /* of device memory, read and written */
    bool is_f32;
} emu_cost;

void emu_cost_of(const emu_call *c, emu_cost *cost);
int64_t emu_time_of(const emu_cost *cost); /* ns, modelled, as all below */
int64_t emu_time_of_copy(int64_t bytes, bool over_the_link);
int64_t emu_time_of_link(int64_t bytes); /* between two devices */
int64_t emu_time_of_host(void);

/* ---- counters of a device (counters.c) ---- */
#define EMU_COUNT_LIST(X)                                                                          \
    X(operators)    /* tasks that computed */                                                      \
    X(cube_flop)    /* of them, in products of matrices */                                         \
    X(vector_flop)  /* and elsewhere */                                                            \
    X(device_bytes) /* read and written by them */                                                 \
    X(bytes_up)     /* copied from the host */                                                     \
    X(bytes_down)   /* copied to the host */                                                       \
    X(bytes_within) /* copied on the device, and filled */                                         \
    X(collectives)  /* tasks of HCCL */                                                            \
    X(link_bytes)   /* sent to other ranks, as modelled: every device has a link to every other */ \
    X(host_waits)   /* calls that wait: for a stream, an event, the device, a copy */              \
    X(allocations)                                                                                 \
    X(bytes_in_use)                                                                                \
    X(bytes_peak)                                                                                  \
    X(faults)      /* of the plan, that struck */                                                  \
    X(modelled_ns) /* how far the busiest stream has come */

typedef enum emu_counter {
#define EMU_COUNT_ENUM(name) EMU_COUNT_##name,
    EMU_COUNT_LIST(EMU_COUNT_ENUM)
#undef EMU_COUNT_ENUM
        EMU_COUNTERS
} emu_counter;

void emu_tally(int device, emu_counter what, int64_t more);
void emu_tally_to(int device, emu_counter what, int64_t at_least);
void emu_tally_set(int device, emu_counter what, int64_t value);
/* What of a device's memory is in use, after an allocation or none. */
void emu_count_memory(const emu_device *d, int64_t allocations);
void emu_counters_write(void); /* where a folder was named */

/* ---- the modelled clock of the host (trace.c) ---- */
int64_t emu_host_now(void);
void emu_host_until(int64_t ns);
/* A call on the host begins and ends: moves the clock and is traced. emu_call_end takes what
 * emu_call_begin gave; a wait moves the clock first, with emu_host_until. */
int64_t emu_call_begin(void);
void emu_call_end(const char *call, int64_t begin);
/* A task of a stream. detail: members of a JSON object, or "". */
void emu_trace_task(const emu_stream *s, const char *name, int64_t begin, int64_t ns,
                    const char *detail);
bool emu_trace_is_on(void);
/* Shapes and types of a call's arguments, and its cost, as members of a JSON object. */
void emu_trace_detail(const emu_call *c, const emu_cost *cost, char *out, size_t bytes);

/* ---- faults (faults.c) ----
 * A fault counts the calls that it is for, on its device, and strikes from number `at` on, `times`
 * times. Calls of an operator are counted at phase 2 (aclnnMm), those of phase 1 by that name
 * (aclnnMmGetWorkspaceSize). The same plan and the same calls fail in the same way. */
typedef enum emu_fault_kind {
    EMU_FAULT_MEMORY,  /* out of memory */
    EMU_FAULT_ERROR,   /* the call does nothing and gives the code */
    EMU_FAULT_LATE,    /* the task does nothing, the next wait gives the code */
    EMU_FAULT_ENDLESS, /* the task never ends */
    EMU_FAULT_SILENT,  /* the task writes nothing, and that is all */
    EMU_FAULT_FLIP,    /* one bit of an output is wrong */
    EMU_FAULT_ECC,     /* the device is lost to a memory error: all later calls give the code */
    EMU_FAULT_LOST,    /* the same of its heartbeat */
    EMU_FAULT_HCCL,    /* a collective does not end in time */
    EMU_FAULT_LIBRARY, /* what `mizan emu` leaves out of the folder of libraries */
    EMU_FAULT_SYMBOL,  /* and out of their names */
    EMU_FAULT_VERSION  /* what aclrtGetVersion says */
} emu_fault_kind;

typedef struct emu_fault {
    emu_fault_kind kind;
    char call[64]; /* "aclnnMm", "aclnn*" */
    int device;    /* -1: any */
    int64_t at, times, seen;
    int code;
    int argument; /* of a flip: which tensor, from 1; 0: the last that is written */
    int64_t element, bit;
    char what[64]; /* of a library, symbol or version */
} emu_fault;

enum { EMU_FAULTS_ENTRY = 1 << EMU_FAULT_MEMORY | 1 << EMU_FAULT_ERROR };
enum {
    EMU_FAULTS_TASK = 1 << EMU_FAULT_LATE | 1 << EMU_FAULT_ENDLESS | 1 << EMU_FAULT_SILENT |
                      1 << EMU_FAULT_FLIP | 1 << EMU_FAULT_ECC | 1 << EMU_FAULT_LOST
};

/* Reads the plan, once. 0, or a code that was noted. */
int emu_faults_read(void);
/* Counts this call for every fault of those kinds; the first that strikes, or NULL. */
const emu_fault *emu_fault_next(const char *call, int device, unsigned kinds);
/* At the beginning of a call that works on this thread's device: 0, or what it must give back: the
 * code of a lost device, or of a fault. */
int emu_gate(const char *call);
/* The same for a call of HCCL: 0, or an HcclResult. */
int emu_gate_hccl(const char *call);
/* What a planned hccl_timeout makes of a call that makes a communicator: 0, or its code (9). */
int emu_gate_connect(const char *call);
/* "major.minor.patch" of the plan; false: nothing was planned. */
bool emu_fault_version(int32_t version[3]);
/* What a planned fault, or none, makes of a task on this stream. False: it is not to run. */
bool emu_survives(const emu_fault *f, emu_stream *s, const char *task);
void emu_flip(emu_call *c, const emu_fault *f); /* after the task ran */
void emu_flip_bytes(unsigned char *at, size_t bytes, const emu_fault *f);
/* From a task: none after it runs, and from the next wait on every call gives this code. What the
 * host is told so does not hang on which of both is faster. */
void emu_lose(emu_device *d, int code);
bool emu_is_dying(emu_device *d);
int emu_told_lost(emu_device *d); /* at a wait: 0, or the code */

#endif
