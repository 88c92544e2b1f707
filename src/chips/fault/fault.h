/* SPDX-License-Identifier: Apache-2.0 */
/* chips/fault/fault.h - any chip, failing on purpose: call N of a kind fails as a plan says.
 *
 * Spec:  "fault:SPEC", with the plan in options.fault_plan (a file) or set by mz_fault_plan.
 * File:  a JSON list of objects
 *          "at"     call that is struck, 1 = the first of its kind
 *          "where"  "alloc" "queue" "upload" "download" "copy" "zero" "query" "bind" "launch"
 * "sync" "op"     count only calls of this operator (query, bind, launch); optional "kind" "error"
 * the call fails at once and does nothing "late"     it succeeds, the next sync fails (copies and
 * launches) "hang_ms"  it takes "ms" longer (100) "nan"      one element of the first output
 * becomes NaN (launch) "flip"     one bit of the first output flips (launch); the host waits "oom"
 * out of memory (alloc, queue, bind) "element", "bit"    which, for nan and flip; 0 "for_good" all
 * later calls of the kind too; false Errors: MZ_ECHIP and MZ_ENOMEM as planned, "injected" in the
 * note; MZ_ECONFIG for a plan that makes no sense, with the field; MZ_EIO, MZ_ECORRUPT for its
 * file. Repeat: the same plan and the same calls fail the same way. */
#ifndef MZ_CHIPS_FAULT_FAULT_H
#define MZ_CHIPS_FAULT_FAULT_H

#include "chip/chip.h"

const mz_chip *mz_fault_chip(void);

#define MZ_FAULT_WHERE_LIST(X)                                                                     \
    X(ALLOC, "alloc")                                                                              \
    X(QUEUE, "queue")                                                                              \
    X(UPLOAD, "upload")                                                                            \
    X(DOWNLOAD, "download")                                                                        \
    X(COPY, "copy")                                                                                \
    X(ZERO, "zero")                                                                                \
    X(QUERY, "query")                                                                              \
    X(BIND, "bind")                                                                                \
    X(LAUNCH, "launch")                                                                            \
    X(SYNC, "sync")
typedef enum mz_fault_where {
#define MZ_FAULT_ENUM(NAME, text) MZ_FAULT_##NAME,
    MZ_FAULT_WHERE_LIST(MZ_FAULT_ENUM)
#undef MZ_FAULT_ENUM
        MZ_FAULT_WHERE_COUNT
} mz_fault_where;

#define MZ_FAULT_KIND_LIST(X)                                                                      \
    X(ERROR, "error")                                                                              \
    X(LATE, "late")                                                                                \
    X(HANG, "hang_ms")                                                                             \
    X(NAN, "nan")                                                                                  \
    X(FLIP, "flip")                                                                                \
    X(OOM, "oom")
typedef enum mz_fault_kind {
#define MZ_FAULT_ENUM(NAME, text) MZ_FAULT_##NAME,
    MZ_FAULT_KIND_LIST(MZ_FAULT_ENUM)
#undef MZ_FAULT_ENUM
        MZ_FAULT_KIND_COUNT
} mz_fault_kind;

typedef struct mz_fault {
    mz_fault_where where;
    mz_fault_kind kind;
    int64_t at;
    bool any_op; /* else only `op` counts */
    mz_op_kind op;
    bool for_good;
    double ms;            /* hang */
    int64_t element, bit; /* nan, flip */
} mz_fault;

enum { MZ_FAULTS_MAX = 64 };

/* Replaces the plan of a device that this chip opened, and counts from 1 again. */
mz_err mz_fault_plan(mz_device *device, const mz_fault *faults, int n);
int64_t mz_fault_calls(const mz_device *device, mz_fault_where where); /* since the plan was set */
int64_t mz_fault_struck(const mz_device *device);

#endif
