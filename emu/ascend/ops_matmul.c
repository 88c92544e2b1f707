/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_matmul.c - products of matrices as the cube unit makes them: factors of f16, bf16
 * or f32, sums in f32, BLOCK products of a column of blocks at a time and block after block. */
#include "ascend/state.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 };

/* C[M,N] = A[M,K] B[K,N], dense; c is overwritten. */
static void multiply(float *c, const float *a, const float *b, const int64_t mnk[3])
{
    const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
    float *block = malloc((size_t)n * sizeof *block);
    memset(c, 0, (size_t)(m * n) * sizeof *c);
    for (int64_t i = 0; block && i < m; i++) {
        for (int64_t start = 0; start < k; start += BLOCK) {
            const int64_t end = start + BLOCK < k ? start + BLOCK : k;
            memset(block, 0, (size_t)n * sizeof *block);
            for (int64_t p = start; p < end; p++) {
                const float x = a[i * k + p];
                for (int64_t j = 0; j < n; j++) block[j] += x * b[p * n + j];
            }
            for (int64_t j = 0; j < n; j++) c[i * n + j] += block[j];
        }
    }
    free(block);
}

/* The last two axes of a tensor at one place of the batch, dense, as floats. */
static void take(float *to, const emu_tensor *t, int64_t at)
{
    const int64_t rows = t->dim[t->rank - 2], columns = t->dim[t->rank - 1];
    const size_t size = emu_size_of(t->type);
    double row[BLOCK];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += BLOCK) {
            const int64_t n = columns - c < BLOCK ? columns - c : BLOCK;
            const int64_t first = at + r * t->stride[t->rank - 2] + c * t->stride[t->rank - 1];
            emu_load(row, t->type, t->at + (size_t)first * size, t->stride[t->rank - 1], n);
            for (int64_t i = 0; i < n; i++) to[r * columns + c + i] = (float)row[i];
        }
    }
}

/* y = alpha c + beta y; beta 0 reads no y. */
static void give(const emu_call *call, const emu_tensor *y, int64_t at, const float *c,
                 const double scale[2])
{
    const int64_t rows = y->dim[y->rank - 2], columns = y->dim[y->rank - 1];
    const int64_t step = y->stride[y->rank - 1];
    const size_t size = emu_size_of(y->type);
    double row[BLOCK], old[BLOCK] = {0};
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < columns; k += BLOCK) {
            const int64_t n = columns - k < BLOCK ? columns - k : BLOCK;
            unsigned char *p = y->at + (size_t)(at + r * y->stride[y->rank - 2] + k * step) * size;
            if (scale[1] < 0 || scale[1] > 0) emu_load(old, y->type, p, step, n);
            for (int64_t i = 0; i < n; i++)
                row[i] = scale[0] * (double)c[r * columns + k + i] + scale[1] * old[i];
            emu_store(y->type, p, step, row, n, call->device->overflow);
        }
    }
}

static void run_product(emu_call *call, const emu_tensor *a, const emu_tensor *b,
                        const emu_tensor *y, const double scale[2])
{
    const int64_t mnk[3] = {y->dim[y->rank - 2], y->dim[y->rank - 1], a->dim[a->rank - 1]};
    const int64_t batch = y->rank == 3 ? y->dim[0] : 1;
    float *fa = malloc((size_t)(mnk[0] * mnk[2] + 1) * sizeof *fa);
    float *fb = malloc((size_t)(mnk[2] * mnk[1] + 1) * sizeof *fb);
    float *fc = malloc((size_t)(mnk[0] * mnk[1] + 1) * sizeof *fc);
    if (!fa || !fb || !fc)
        emu_stream_fault(call->stream, EMU_RT_AICORE_EXCEPTION, "aclnn%s: no host memory",
                         call->op->name);
    for (int64_t i = 0; fa && fb && fc && i < batch && emu_count(y) > 0; i++) {
        take(fa, a, a->rank == 3 && a->dim[0] > 1 ? i * a->stride[0] : 0);
        take(fb, b, b->rank == 3 && b->dim[0] > 1 ? i * b->stride[0] : 0);
        multiply(fc, fa, fb, mnk);
        give(call, y, y->rank == 3 ? i * y->stride[0] : 0, fc, scale);
    }
    free(fa);
    free(fb);
    free(fc);
}

static bool is_factor(int type)
{
    return type == EMU_FLOAT || type == EMU_FLOAT16 || type == EMU_BF16;
}

static aclnnStatus check_product(const emu_call *c, const emu_tensor *a, const emu_tensor *b,
                                 const emu_tensor *y, int64_t cube)
{
    const char *name = c->op->name;
    if (!a || !b || !y) return emu_fail(EMU_NN_NULLPTR, "aclnn%s: a matrix is NULL", name);
    if (!is_factor(a->type) || a->type != b->type)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: factors %s and %s", name, emu_type_name(a->type),
                        emu_type_name(b->type));
    if (y->type != a->type)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: %s from factors %s", name, emu_type_name(y->type),
                        emu_type_name(a->type));
    if (cube < 0 || cube > 4 || (cube == 2 && a->type == EMU_BF16) ||
        (cube == 3 && a->type != EMU_FLOAT))
        return emu_fail(EMU_NN_INVALID, "aclnn%s: cubeMathType %d for %s", name, (int)cube,
                        emu_type_name(a->type));
    if (!emu_soc_here()->has_infnan && a->type == EMU_FLOAT && cube == 0)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: %s does not multiply FLOAT without rounding",
                        name, emu_soc_here()->name);
    const int rank = y->rank;
    bool is_good = rank >= 2 && rank <= 3 && a->rank == rank && b->rank == rank;
    is_good = is_good && a->dim[rank - 1] == b->dim[rank - 2] &&
              a->dim[rank - 2] == y->dim[rank - 2] && b->dim[rank - 1] == y->dim[rank - 1];
    if (is_good && rank == 3)
        is_good = (a->dim[0] == y->dim[0] || a->dim[0] == 1) &&
                  (b->dim[0] == y->dim[0] || b->dim[0] == 1);
    return is_good ? 0 : emu_fail(EMU_NN_INVALID, "aclnn%s: the shapes do not fit together", name);
}

static aclnnStatus check_mm(emu_call *c)
{
    return check_product(c, emu_t(c, 0), emu_t(c, 1), emu_t(c, 2), c->arg[3].i);
}

static void run_mm(emu_call *c)
{
    static const double plain[2] = {1.0, 0.0};
    run_product(c, emu_t(c, 0), emu_t(c, 1), emu_t(c, 2), plain);
}

/* y = beta y + alpha a b */
static aclnnStatus check_addmm(emu_call *c)
{
    if (!c->arg[3].n || !c->arg[4].n) return emu_fail(EMU_NN_NULLPTR, "aclnnInplaceAddmm: NULL");
    return check_product(c, emu_t(c, 1), emu_t(c, 2), emu_t(c, 0), c->arg[5].i);
}

static void run_addmm(emu_call *c)
{
    const double scale[2] = {c->arg[4].d, c->arg[3].d};
    run_product(c, emu_t(c, 1), emu_t(c, 2), emu_t(c, 0), scale);
}

const emu_op emu_ops_matmul[] = {
    {"Matmul", check_mm, run_mm},
    {"Mm", check_mm, run_mm},
    {"BatchMatMul", check_mm, run_mm},
    {"InplaceAddmm", check_addmm, run_addmm},
    {NULL, NULL, NULL},
};
