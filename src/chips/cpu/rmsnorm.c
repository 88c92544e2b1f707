/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/rmsnorm.c - see chip/desc.h. saved holds r[t], one f32 a token.
 *
 * dw is summed over blocks of tokens whose size depends on T alone: a partial sum a block in the
 * workspace, then the partial sums in order of the blocks. Floor: chips. */
#include "chips/cpu/split.h"

#include <string.h>

enum { BLOCK_TOKENS = 64, BLOCKS_MAX = 256 };

static int64_t block_tokens(int64_t T)
{
    const int64_t even = (T + BLOCKS_MAX - 1) / BLOCKS_MAX;
    return even > BLOCK_TOKENS ? even : BLOCK_TOKENS;
}

static int64_t blocks_of(int64_t T)
{
    return (T + block_tokens(T) - 1) / block_tokens(T);
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_rmsnorm_desc *d = &desc->u.rmsnorm;
    MZ_TRY(mz_cpu_need_f32_or_bf16(desc->kind, d->dtype));
    support->repeats = true;
    if (!d->backward) return MZ_OK;
    /* No T up to T_max has more blocks than this. */
    const int64_t most = (d->T_max + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    const int64_t blocks = most < BLOCKS_MAX ? most : BLOCKS_MAX;
    const mz_cpu_room room = {.shared_bytes = (size_t)(blocks * d->D) * sizeof(float)};
    support->saved_bytes = (size_t)d->T_max * sizeof(float);
    support->workspace_bytes = mz_cpu_room_bytes(q, room);
    return MZ_OK;
}

static mz_cpu_norm norm_of(const mz_op *op, const mz_args *args)
{
    return (mz_cpu_norm){.w = mz_cpu_data(args->rmsnorm.w),
                         .D = op->desc.u.rmsnorm.D,
                         .eps = op->desc.u.rmsnorm.eps,
                         .bf16 = op->desc.u.rmsnorm.dtype == MZ_BF16};
}

static void forward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_cpu_norm norm = norm_of(op, args);
    float *r = op->desc.u.rmsnorm.backward ? mz_cpu_data(args->rmsnorm.saved) : NULL;
    for (int64_t t = first; t < last; t++) {
        const float rt = mz_cpu_ops_of(op)->rmsnorm(&norm, mz_cpu_row(args->rmsnorm.y, t),
                                                    mz_cpu_row(args->rmsnorm.x, t));
        if (r) r[t] = rt;
    }
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, args->rmsnorm.x->dim[0], mz_cpu_items(op->desc.u.rmsnorm.D),
                 forward_rows);
    return MZ_OK;
}

typedef struct back_job {
    const mz_op *op;
    const mz_args *args;
} back_job;

static void backward_block(void *arg, int64_t block, int thread)
{
    const back_job *job = arg;
    const mz_args *a = job->args;
    const mz_cpu_norm norm = norm_of(job->op, a);
    const int64_t T = a->rmsnorm.x->dim[0], tokens = block_tokens(T), first = block * tokens;
    const int64_t last = T - first < tokens ? T : first + tokens;
    const float *r = mz_cpu_data(a->rmsnorm.saved);
    float *dw = (float *)mz_cpu_room_shared(job->op) + block * norm.D;
    (void)thread;
    memset(dw, 0, (size_t)norm.D * sizeof *dw);
    for (int64_t t = first; t < last; t++)
        mz_cpu_ops_of(job->op)->rmsnorm_back(&norm, mz_cpu_row(a->rmsnorm.dx, t), dw,
                                             mz_cpu_row(a->rmsnorm.dy, t),
                                             mz_cpu_row(a->rmsnorm.x, t), r[t]);
}

/* Columns first .. last-1 of dw. */
static void add_blocks(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const int64_t D = op->desc.u.rmsnorm.D, blocks = blocks_of(args->rmsnorm.x->dim[0]);
    const float *sums = mz_cpu_room_shared(op);
    float *dw = mz_cpu_data(args->rmsnorm.dw);
    for (int64_t b = 0; b < blocks; b++)
        mz_cpu_ops_of(op)->add(dw + first, sums + b * D + first, last - first, false);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const int64_t T = args->rmsnorm.x->dim[0], blocks = blocks_of(T);
    back_job job = {.op = op, .args = args};
    mz_cpu_run(op->queue, blocks, backward_block, &job);
    mz_cpu_split(op, args, op->desc.u.rmsnorm.D, MZ_CPU_COLUMNS, add_blocks);
    return MZ_OK;
}

const mz_slot mz_cpu_rmsnorm = {.query = query, .forward = forward, .backward = backward};
