/* SPDX-License-Identifier: Apache-2.0 */
/* file/safetensors.h - one safetensors file: read mapped, written streamed and crash-safe.
 *
 * Source: huggingface/safetensors, README.md and safetensors/src/tensor.rs (rules of the format).
 * Floor:  file. May use tensor, base.
 * Owner:  a file owns its map and its list; names and data pointers are borrowed until close.
 * Errors: MZ_ECORRUPT with file, tensor or field, and byte offset for every broken rule; MZ_EIO;
 *         MZ_ENOMEM.
 * Cost:   time and memory follow the header, not the data: nothing of the data is read by open. */
#ifndef MZ_FILE_SAFETENSORS_H
#define MZ_FILE_SAFETENSORS_H

#include "tensor/dtype.h"

typedef struct mz_st_tensor {
    const char *name;
    mz_dtype dtype;
    int rank;
    const int64_t *dim; /* [rank], outermost first; any rank */
    int64_t count;      /* elements */
    uint64_t offset;    /* of the first byte, from the start of the FILE */
    uint64_t bytes;
    const void *data; /* mapped, unaligned, little-endian */
} mz_st_tensor;

typedef struct mz_st_file mz_st_file;

mz_err mz_st_open(mz_st_file **file, const char *path);
void mz_st_close(mz_st_file *file); /* NULL is legal */
/* MZ_EIO if the file was made shorter or written to since it was opened: to be asked when its data
 * have been read. */
mz_err mz_st_intact(const mz_st_file *file);
const char *mz_st_path(const mz_st_file *file);
int64_t mz_st_count(const mz_st_file *file); /* tensors, in order of their offsets */
const mz_st_tensor *mz_st_at(const mz_st_file *file, int64_t i);
const mz_st_tensor *mz_st_find(const mz_st_file *file, const char *name); /* NULL if none */
int64_t mz_st_meta_count(const mz_st_file *file);
void mz_st_meta_at(const mz_st_file *file, int64_t i, const char **key, const char **value);

/* Writing: declare every tensor, begin, then put their bytes in the order that `begin` fixed (by
 * dtype, widest first, then by name, as upstream writes); commit makes the file durable. */
typedef struct mz_st_writer mz_st_writer;
mz_err mz_st_writer_new(mz_st_writer **w, const char *path);
mz_err mz_st_writer_meta(mz_st_writer *w, const char *key, const char *value);
mz_err mz_st_writer_declare(mz_st_writer *w, const char *name, mz_dtype dtype, int rank,
                            const int64_t *dim);
mz_err mz_st_writer_begin(mz_st_writer *w);
int64_t mz_st_writer_count(const mz_st_writer *w);
const mz_st_tensor *mz_st_writer_at(const mz_st_writer *w, int64_t i); /* in file order */
/* bytes must be exactly those of the next tensor in file order, in one or several puts */
mz_err mz_st_writer_put(mz_st_writer *w, const void *bytes, size_t n);
mz_err mz_st_writer_commit(mz_st_writer *w); /* frees w either way */
void mz_st_writer_abort(mz_st_writer *w);

#endif
