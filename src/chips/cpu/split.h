/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/split.h - how the operators share their rows out among threads, and small helpers on
 * views that all of them use.
 *
 * A range's borders depend on the shape alone. Where ranges meet in a sum, the operator keeps one
 * partial sum a range and adds them in order, so that bits do not depend on the number of threads.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_SPLIT_H
#define MZ_CHIPS_CPU_SPLIT_H

#include "chips/cpu/cpu.h"

/* Works on items first .. last-1. */
typedef void mz_cpu_range_fn(const mz_op *op, const mz_args *args, int64_t first, int64_t last);

/* Calls fn on all threads for ranges of `items` items that together are 0..n-1. */
void mz_cpu_split(const mz_op *op, const mz_args *args, int64_t n, int64_t items,
                  mz_cpu_range_fn *fn);
/* How many items of that many elements make a range worth a thread's while; at least 1. */
int64_t mz_cpu_items(int64_t elements);

/* The same with scratch of the running thread: room.thread_bytes bytes, with no given content. */
typedef void mz_cpu_scratch_fn(const mz_op *op, const mz_args *args, int64_t first, int64_t last,
                               void *scratch);
void mz_cpu_split_scratch(const mz_op *op, const mz_args *args, int64_t n, int64_t items,
                          mz_cpu_room room, mz_cpu_scratch_fn *fn);

/* The g with first[g] <= i < first[g+1], for first [count+1] that never descends. */
static inline int64_t mz_cpu_owner(const int64_t *first, int64_t count, int64_t i)
{
    int64_t low = 0, high = count;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (first[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    return low;
}

enum { MZ_CPU_COLUMNS = 256 }; /* of a range, where columns are shared out instead of rows */

/* MZ_OK for f32 and bf16; else MZ_ENOTSUP with the reason noted. */
mz_err mz_cpu_need_f32_or_bf16(mz_op_kind kind, mz_dtype dtype);
/* MZ_OK, or MZ_ECHIP naming the first of n numbers that is not in lowest..limit-1. */
mz_err mz_cpu_check_ids(const mz_tensor *ids, int64_t lowest, int64_t limit, const char *name);
/* MZ_OK if cu rises from 0 to T. */
mz_err mz_cpu_check_cu(const mz_tensor *cu, int64_t T);

static inline const mz_cpu_ops_table *mz_cpu_ops_of(const mz_op *op)
{
    return mz_cpu_of(op->queue)->kernels.ops;
}

static inline bool mz_cpu_is_bf16(const mz_tensor *t)
{
    return t->dtype == MZ_BF16;
}

/* Address of the element that lies `elements` elements after element 0. Floats and I32 only. */
static inline void *mz_cpu_elem(const mz_tensor *t, int64_t elements)
{
    const bool is_short = t->dtype == MZ_BF16 || t->dtype == MZ_F16;
    const int64_t bytes = is_short ? 2 : t->dtype == MZ_F64 ? 8 : 4;
    return (unsigned char *)mz_cpu_data(t) + elements * bytes;
}

static inline void *mz_cpu_row(const mz_tensor *t, int64_t i)
{
    return mz_cpu_elem(t, i * t->stride[0]);
}

static inline int32_t mz_cpu_id_at(const mz_tensor *t, int64_t i, int64_t j)
{
    const int32_t *ids = mz_cpu_data(t);
    return ids[i * t->stride[0] + (t->rank > 1 ? j * t->stride[1] : 0)];
}

#endif
