/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/tensor.h - a view on a buffer: where, what type, which shape. It owns nothing.
 *
 * Shapes: row-major, last index fastest. stride[i] counts elements and is >= 0; 0 repeats (only
 * where an operator says so). A dim may be 0. Floor:  tensor. The buffer itself is declared in
 * chip/buffer.h. Errors: MZ_EINVAL for shapes that overflow or do not fit. */
#ifndef MZ_TENSOR_TENSOR_H
#define MZ_TENSOR_TENSOR_H

#include "tensor/dtype.h"

enum { MZ_RANK_MAX = 4 };

typedef struct mz_buffer mz_buffer;

typedef struct mz_tensor {
    mz_buffer *buf;
    size_t offset_bytes; /* of element 0 */
    mz_dtype dtype;
    int rank;
    int64_t dim[MZ_RANK_MAX];
    int64_t stride[MZ_RANK_MAX]; /* elements */
} mz_tensor;

/* Overflow-checked: product of dims; bytes of a dense tensor. Negative dims are MZ_EINVAL. */
mz_err mz_shape_count(int rank, const int64_t *dim, int64_t *count);
mz_err mz_shape_bytes(mz_dtype dtype, int rank, const int64_t *dim, size_t *bytes);

/* The three below cannot fail: what makes no sense (a shape that mz_shape_count refuses, a range
 * outside the axis, half a byte) gives the null view, all zero with buf NULL, which front doors
 * refuse.
 * A dense view at offset_bytes of buf. No check against the buffer's size: the front doors do that.
 */
mz_tensor mz_view(mz_buffer *buf, size_t offset_bytes, mz_dtype dtype, int rank,
                  const int64_t *dim);
/* Sub-view start..start+count-1 of one axis. The caller has checked the range. */
mz_tensor mz_slice(const mz_tensor *t, int axis, int64_t start, int64_t count);
/* The same elements under another shape; t must be dense. */
mz_tensor mz_reshape(const mz_tensor *t, int rank, const int64_t *dim);
/* A tensor of blocks as the bytes it is made of, U8; others as they are. */
mz_tensor mz_as_bytes(const mz_tensor *t);
int64_t mz_count(const mz_tensor *t); /* elements */
bool mz_is_dense(
    const mz_tensor *t); /* no gaps, row-major; dims of 1 and empty tensors do not matter */
/* Whether the last axis is contiguous (or has at most one element). */
bool mz_rows_are_dense(const mz_tensor *t);
/* One past the last byte that the view touches, counted from the start of its buffer; 0 if it is
 * empty. */
size_t mz_extent_bytes(const mz_tensor *t);

#endif
