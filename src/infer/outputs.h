/* SPDX-License-Identifier: Apache-2.0 */
/* infer/outputs.h - named arrays gathered on the host, then written as one safetensors file.
 *
 * Floor: infer.  Owner: mz_outputs owns every array; clear frees them. */
#ifndef MZ_INFER_OUTPUTS_H
#define MZ_INFER_OUTPUTS_H

#include "chip/chip.h"

typedef struct mz_output {
    char name[160];
    mz_dtype dtype;
    int rank;
    int64_t dim[MZ_RANK_MAX];
    int64_t count;
    void *data; /* dense, dtype */
} mz_output;

typedef struct mz_outputs {
    mz_output **list;
    int64_t n;
} mz_outputs;

/* Adds a zeroed array and gives its data. */
mz_err mz_outputs_add(mz_outputs *o, const char *name, mz_dtype dtype, int rank, const int64_t *dim,
                      void *data);
/* Downloads a dense tensor of any float or id dtype into `count` F32 or I64 values. Waits. */
mz_err mz_fetch_f32(mz_queue *q, const mz_tensor *t, float *out);
mz_err mz_fetch_i64(mz_queue *q, const mz_tensor *t, int64_t *out);
mz_err mz_outputs_write(const mz_outputs *o, const char *path);
void mz_outputs_clear(mz_outputs *o);

#endif
