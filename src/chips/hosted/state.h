/* SPDX-License-Identifier: Apache-2.0 */
/* chips/hosted/state.h - between hosted's files. Floor: chips. */
#ifndef MZ_CHIPS_HOSTED_STATE_H
#define MZ_CHIPS_HOSTED_STATE_H

#include "chip/wrap.h"
#include "chips/hosted/hosted.h"

#include <pthread.h>

typedef struct mz_hosted_device {
    mz_device *device, *host;
    pthread_mutex_t lock; /* guards counts */
    mz_hosted_counts counts;
} mz_hosted_device;

typedef struct mz_hosted_queue {
    mz_hosted_device *hosted;
    mz_queue *device, *host;
    mz_buffer *staging; /* on the host chip; the operators share it, as they do a workspace */
    bool pending;       /* uploads from it that nobody waited for */
} mz_hosted_queue;

/* Where each argument is staged. */
typedef struct mz_hosted_plan {
    size_t offset[MZ_ARGS_MAX], bytes[MZ_ARGS_MAX], total;
    int64_t indices; /* most entries of the index argument, 0 without one */
} mz_hosted_plan;

typedef struct mz_hosted_op {
    mz_op *inner; /* on the device, or NULL */
    mz_op *host;  /* or on the host */
    mz_hosted_plan plan;
    int32_t *rows; /* [plan.indices] rows of the table that this call stages */
} mz_hosted_op;

/* A table that an index argument points into. */
typedef struct mz_hosted_table {
    int index;    /* argument that holds the row numbers, -1 = this operator has no such table */
    int table[2]; /* arguments, the second -1 where there is one only */
} mz_hosted_table;
mz_hosted_table mz_hosted_table_of(const mz_desc *desc, mz_pass pass);

/* ---- plan.c ---- */
/* The largest dense copy of every argument, both directions. */
mz_err mz_hosted_plan_make(mz_hosted_plan *plan, const mz_desc *desc, size_t saved_bytes);

/* ---- run.c ---- */
mz_err mz_hosted_run(mz_op *op, mz_pass pass, const mz_args *args);

#endif
