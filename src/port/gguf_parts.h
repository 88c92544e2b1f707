/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_parts.h - which tensor of a GGUF holds which part of which parameter. Private to port/.
 *
 * A parameter is seen as `groups` equal groups of rows, and a tensor as as many groups of its own;
 * group g of one is made of group g of the other and of nothing else, so that both are read and
 * written a few groups at a time.
 * Floor:  port.
 * Errors: MZ_ENOTSUP: a parameter that the architecture has no name for; MZ_ENOMEM. */
#ifndef MZ_PORT_GGUF_PARTS_H
#define MZ_PORT_GGUF_PARTS_H

#include "file/gguf.h"
#include "model/params.h"

typedef enum mz_part_kind {
    MZ_PART_PLAIN,  /* as it is; a group is one row */
    MZ_PART_TURNED, /* the last `tail` rows of a group are interleaved: 2j is our j, 2j+1 our
                       j + tail/2 */
    MZ_PART_SCALED, /* the last `tail` rows stay in their order */
    MZ_PART_KEYS,   /* the first rows of a group, transposed */
    MZ_PART_VALUES  /* the last `out_rows` rows of a group */
} mz_part_kind;

typedef struct mz_gguf_part {
    char name[64];
    const mz_param *param;
    mz_part_kind kind;
    int64_t groups;
    int64_t in_rows, cols;      /* of a group of the parameter */
    int64_t out_rows, out_cols; /* of a group of the tensor */
    int64_t tail;
    float scale; /* the tensor's tail rows are the parameter's times this (TURNED, SCALED) */
    int rank;
    int64_t dim[4]; /* of the tensor, outermost first */
} mz_gguf_part;

/* "llama"; NULL if GGUF has no such architecture, with a note that says so. */
const char *mz_gguf_architecture(const mz_config *c);
/* *list [*n] in the order of the parameters, parts of one side by side; free with mz_mem_free. The
 * MTP layers are left out. split: kv_b is two tensors (else one, as old files have it). */
mz_err mz_gguf_parts(mz_gguf_part **list, int64_t *n, const mz_params *p, const mz_config *c,
                     bool split);
/* The part or the two parts of one parameter; *n is 0 for an MTP layer's. */
mz_err mz_gguf_part_of(mz_gguf_part part[2], int64_t *n, const mz_param *p, const mz_config *c,
                       bool split);
/* Where row i of the parameter's group stands in the tensor's, of a kind that moves whole rows. */
int64_t mz_gguf_part_row(const mz_gguf_part *part, int64_t i);
/* One group: out [out_rows,out_cols] overwritten, in [in_rows,cols]; and back, where only the rows
 * that this part holds are written. */
void mz_gguf_part_out(const mz_gguf_part *part, float *out, const float *in);
void mz_gguf_part_in(const mz_gguf_part *part, float *in, const float *out);

/* Whether the file has just the tensors that these parameters want, in shapes and types that can be
 * read. */
mz_err mz_gguf_check(const mz_params *p, const mz_config *c, const mz_gguf *file);

#endif
