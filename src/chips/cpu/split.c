/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/split.c - see split.h. Floor: chips. */
#include "chips/cpu/split.h"

enum { RANGE_ELEMENTS = 1 << 15 }; /* some ten microseconds of simple work */

typedef struct split {
    const mz_op *op;
    const mz_args *args;
    mz_cpu_range_fn *fn;
    mz_cpu_scratch_fn *scratch_fn; /* instead of fn */
    mz_cpu_room room;
    int64_t n, items; /* of a range */
} split;

static void run_range(void *arg, int64_t part, int thread)
{
    const split *s = arg;
    const int64_t first = part * s->items;
    const int64_t last = s->n - first < s->items ? s->n : first + s->items;
    if (s->fn)
        s->fn(s->op, s->args, first, last);
    else
        s->scratch_fn(s->op, s->args, first, last, mz_cpu_room_thread(s->op, s->room, thread));
}

int64_t mz_cpu_items(int64_t elements)
{
    return elements >= RANGE_ELEMENTS ? 1 : RANGE_ELEMENTS / (elements > 0 ? elements : 1);
}

void mz_cpu_split(const mz_op *op, const mz_args *args, int64_t n, int64_t items,
                  mz_cpu_range_fn *fn)
{
    split s = {.op = op, .args = args, .fn = fn, .n = n, .items = items};
    mz_cpu_run(op->queue, (n + items - 1) / items, run_range, &s);
}

void mz_cpu_split_scratch(const mz_op *op, const mz_args *args, int64_t n, int64_t items,
                          mz_cpu_room room, mz_cpu_scratch_fn *fn)
{
    split s = {.op = op, .args = args, .scratch_fn = fn, .room = room, .n = n, .items = items};
    mz_cpu_run(op->queue, (n + items - 1) / items, run_range, &s);
}

mz_err mz_cpu_need_f32_or_bf16(mz_op_kind kind, mz_dtype dtype)
{
    if (dtype == MZ_F32 || dtype == MZ_BF16) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "cpu computes %s in f32 and bf16, not in %s", mz_op_name(kind),
                   mz_dtype_name(dtype));
}

mz_err mz_cpu_check_ids(const mz_tensor *ids, int64_t lowest, int64_t limit, const char *name)
{
    const int64_t columns = ids->rank > 1 ? ids->dim[1] : 1;
    for (int64_t i = 0; i < ids->dim[0]; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t id = mz_cpu_id_at(ids, i, j);
            if (id < lowest || id >= limit)
                return MZ_FAIL(MZ_ECHIP, "%s[%lld,%lld] is %lld, want %lld..%lld", name,
                               (long long)i, (long long)j, (long long)id, (long long)lowest,
                               (long long)(limit - 1));
        }
    return MZ_OK;
}

mz_err mz_cpu_check_cu(const mz_tensor *cu, int64_t T)
{
    const int64_t n = cu->dim[0] - 1;
    for (int64_t i = 0; i <= n; i++) {
        const int64_t at = mz_cpu_id_at(cu, i, 0), before = i > 0 ? mz_cpu_id_at(cu, i - 1, 0) : 0;
        if (at < before || at > T || (i == 0 && at != 0) || (i == n && at != T))
            return MZ_FAIL(MZ_ECHIP, "cu[%lld] is %lld after %lld, with %lld tokens", (long long)i,
                           (long long)at, (long long)before, (long long)T);
    }
    return MZ_OK;
}
