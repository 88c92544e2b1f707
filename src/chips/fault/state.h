/* SPDX-License-Identifier: Apache-2.0 */
/* chips/fault/state.h - between fault's files. Floor: chips. */
#ifndef MZ_CHIPS_FAULT_STATE_H
#define MZ_CHIPS_FAULT_STATE_H

#include "chips/fault/fault.h"

#include <pthread.h>

typedef struct mz_fault_device {
    mz_device *inner;
    pthread_mutex_t lock; /* guards all that follows */
    mz_fault fault[MZ_FAULTS_MAX];
    int64_t seen[MZ_FAULTS_MAX]; /* calls that each fault has counted */
    int n;
    int64_t calls[MZ_FAULT_WHERE_COUNT], struck;
} mz_fault_device;

/* ---- plan.c ---- */
mz_err mz_fault_check(const mz_fault *fault);
mz_err mz_fault_read(mz_fault_device *f, const char *path);
/* Counts a call. True if a fault strikes it, which is then copied out. */
bool mz_fault_strikes(mz_fault_device *f, mz_fault_where where, mz_op_kind op, mz_fault *out);
const char *mz_fault_where_name(mz_fault_where where);

#endif
