/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/tensor.c - arithmetic of shapes. A call that makes no sense gives the null view (all zero,
 * buf NULL), which every front door refuses, never an address outside the tensor. */
#include "tensor/tensor.h"
#include "base/size.h"

static const mz_tensor NOTHING;

/* Product of the dims, and of the dims with 1 for 0: the latter bounds every stride, so that
 * [0, 2^62, 2^62] is refused too. False if a dim is negative or that product does not fit. */
static bool multiply(int rank, const int64_t *dim, int64_t *count)
{
    int64_t product = 1, strides = 1;
    if (rank < 0 || rank > MZ_RANK_MAX || (rank > 0 && !dim)) return false;
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0 || !mz_mul_i64(strides, dim[i] > 0 ? dim[i] : 1, &strides)) return false;
        product *= dim[i]; /* 0, or strides */
    }
    *count = product;
    return true;
}

/* Bytes of `count` elements, rounded up for types of less than a byte; whole blocks or none. */
static bool to_bytes(mz_dtype dtype, int64_t count, size_t *bytes)
{
    const size_t bits = (size_t)mz_dtype_bits(dtype);
    size_t n, sum;
    if (mz_dtype_is_blocks(dtype)) {
        const int64_t block = mz_dtype_block(dtype);
        return count % block == 0 && mz_i64_to_size(count / block, &n) &&
               mz_mul(n, mz_dtype_block_bytes(dtype), bytes);
    }
    if (bits == 0 || !mz_i64_to_size(count, &n)) return false;
    if (bits % 8 == 0) return mz_mul(n, bits / 8, bytes);
    if (!mz_mul(n, bits, &sum) || !mz_add(sum, 7, &sum)) return false;
    *bytes = sum / 8;
    return true;
}

mz_err mz_shape_count(int rank, const int64_t *dim, int64_t *count)
{
    MZ_NEED(count, "count is NULL");
    MZ_NEED(multiply(rank, dim, count),
            "a shape of rank %d with a negative dim, or more elements than 2^63", rank);
    return MZ_OK;
}

mz_err mz_shape_bytes(mz_dtype dtype, int rank, const int64_t *dim, size_t *bytes)
{
    int64_t count;
    MZ_NEED(bytes, "bytes is NULL");
    MZ_TRY(mz_shape_count(rank, dim, &count));
    MZ_NEED(to_bytes(dtype, count, bytes), "%lld elements of dtype %s are more than a size_t",
            (long long)count, mz_dtype_name(dtype));
    return MZ_OK;
}

mz_tensor mz_view(mz_buffer *buf, size_t offset_bytes, mz_dtype dtype, int rank, const int64_t *dim)
{
    int64_t count, stride = 1;
    if (!multiply(rank, dim, &count)) return NOTHING;
    mz_tensor t = {.buf = buf, .offset_bytes = offset_bytes, .dtype = dtype, .rank = rank};
    for (int i = rank - 1; i >= 0; i--) {
        t.dim[i] = dim[i];
        t.stride[i] = stride;
        stride *= dim[i] > 0 ? dim[i] : 1;
    }
    return t;
}

/* An element of less than a byte has an address only where a byte begins, and one of a block only
 * where the block does. */
static bool skip_bytes(mz_dtype dtype, int64_t elements, size_t *skip)
{
    int64_t bits;
    if (mz_dtype_is_blocks(dtype)) return to_bytes(dtype, elements, skip);
    return mz_mul_i64(elements, mz_dtype_bits(dtype), &bits) && bits % 8 == 0 &&
           mz_i64_to_size(bits / 8, skip);
}

mz_tensor mz_slice(const mz_tensor *t, int axis, int64_t start, int64_t count)
{
    int64_t elements;
    size_t skip, offset;
    if (!t || axis < 0 || axis >= t->rank || start < 0 || count < 0 || start > t->dim[axis] ||
        count > t->dim[axis] - start)
        return NOTHING;
    if (!mz_mul_i64(start, t->stride[axis], &elements) || !skip_bytes(t->dtype, elements, &skip) ||
        !mz_add(t->offset_bytes, skip, &offset))
        return NOTHING;
    mz_tensor s = *t;
    s.offset_bytes = offset;
    s.dim[axis] = count;
    return s;
}

mz_tensor mz_reshape(const mz_tensor *t, int rank, const int64_t *dim)
{
    int64_t count;
    if (!t || !mz_is_dense(t) || !multiply(rank, dim, &count) || count != mz_count(t))
        return NOTHING;
    return mz_view(t->buf, t->offset_bytes, t->dtype, rank, dim);
}

int64_t mz_count(const mz_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++) count *= t->dim[i];
    return count;
}

static bool is_empty(const mz_tensor *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] == 0) return true;
    return false;
}

bool mz_is_dense(const mz_tensor *t)
{
    int64_t want = 1;
    if (is_empty(t)) return true;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] == 1) continue;
        if (t->stride[i] != want || !mz_mul_i64(want, t->dim[i], &want)) return false;
    }
    return true;
}

bool mz_rows_are_dense(const mz_tensor *t)
{
    return t->rank == 0 || t->dim[t->rank - 1] <= 1 || t->stride[t->rank - 1] == 1;
}

size_t mz_extent_bytes(const mz_tensor *t)
{
    int64_t last = 0; /* index of the last element */
    size_t bytes, end;
    if (is_empty(t)) return 0;
    for (int i = 0; i < t->rank; i++) {
        int64_t step;
        if (t->dim[i] < 0 || t->stride[i] < 0 || !mz_mul_i64(t->dim[i] - 1, t->stride[i], &step) ||
            !mz_add_i64(last, step, &last))
            return SIZE_MAX;
    }
    if (!mz_add_i64(last, 1, &last) || !to_bytes(t->dtype, last, &bytes) ||
        !mz_add(t->offset_bytes, bytes, &end))
        return SIZE_MAX;
    return end;
}

mz_tensor mz_as_bytes(const mz_tensor *t)
{
    const int64_t block = mz_dtype_block(t->dtype);
    const int64_t bytes = (int64_t)mz_dtype_block_bytes(t->dtype);
    mz_tensor s = *t;
    if (!mz_dtype_is_blocks(t->dtype) || t->rank == 0) return s;
    s.dtype = MZ_U8;
    for (int i = 0; i < t->rank - 1; i++) s.stride[i] = t->stride[i] / block * bytes;
    s.dim[t->rank - 1] = t->dim[t->rank - 1] / block * bytes;
    return s;
}
