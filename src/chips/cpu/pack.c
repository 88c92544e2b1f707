/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/pack.c - matmul's b in the order in which the panel kernels read it, packed once.
 *
 * Panels of nr columns, each over the whole of K (rounded up to k_unit): f32 [k][nr]; bf16 the
 * same, or [k/2][nr][2] where the instruction set multiplies pairs. Elements are moved, never
 * converted, so unpack gives back every bit. Decoding then reads b once, from front to end. */
#include "chips/cpu/gemm.h"

#include <string.h>

typedef struct job {
    unsigned char *packed, *plain;
    int64_t N, K;             /* b [K,N] */
    int64_t row, col;         /* element (k, n) of plain lies at k*row + n*col */
    int64_t nr, k_unit, pair; /* pair: elements of one column that lie side by side */
    bool is_bf16, unpacks;
} job;

static bool can_pack(const mz_matmul_desc *d)
{
    return (d->dtype == MZ_F32 || d->dtype == MZ_BF16) && d->batch_max == 0 && !d->backward;
}

mz_err mz_cpu_pack_bytes(const mz_queue *q, const mz_matmul_desc *d, size_t *bytes)
{
    *bytes = 0;
    if (can_pack(d))
        *bytes = mz_cpu_packed_bytes(mz_cpu_of(q), d->dtype == MZ_BF16, d->N_max, d->K_max);
    return MZ_OK;
}

static void move(const job *w, int64_t packed_at, int64_t plain_at)
{
    const size_t bytes = w->is_bf16 ? 2 : 4;
    unsigned char *a = w->packed + (size_t)packed_at * bytes;
    unsigned char *b = w->plain + (size_t)plain_at * bytes;
    if (w->is_bf16)
        memcpy(w->unpacks ? b : a, w->unpacks ? a : b, 2);
    else
        memcpy(w->unpacks ? b : a, w->unpacks ? a : b, 4);
}

/* One panel. A tile of 64 rows at a time keeps both sides in cache, whichever is contiguous. */
static void panel_part(void *arg, int64_t part, int thread)
{
    (void)thread;
    enum { ROWS = 64 };
    const job *w = arg;
    const int64_t k_full = (w->K + w->k_unit - 1) / w->k_unit * w->k_unit;
    const int64_t at = part * k_full * w->nr, n0 = part * w->nr;
    const int64_t n = w->N - n0 < w->nr ? w->N - n0 : w->nr;
    const size_t bytes = (size_t)(k_full * w->nr) * (w->is_bf16 ? 2 : 4);
    if (!w->unpacks && (n < w->nr || w->K < k_full))
        memset(w->packed + (size_t)part * bytes, 0, bytes);
    for (int64_t k0 = 0; k0 < w->K; k0 += ROWS) {
        const int64_t k1 = k0 + ROWS < w->K ? k0 + ROWS : w->K;
        for (int64_t j = 0; j < n; j++)
            for (int64_t k = k0; k < k1; k++)
                move(w, at + k / w->pair * w->pair * w->nr + j * w->pair + k % w->pair,
                     k * w->row + (n0 + j) * w->col);
    }
}

static mz_err run(mz_queue *q, const mz_matmul_desc *d, const mz_tensor *packed,
                  const mz_tensor *plain, bool unpacks)
{
    const mz_cpu *cpu = mz_cpu_of(q);
    MZ_NEED(can_pack(d), "this description has no packed form");
    const mz_cpu_family *f = mz_cpu_packed_family(cpu, d->dtype == MZ_BF16);
    const mz_cpu_mat m = mz_cpu_mat_of(plain, d->trans_b);
    job w = {.packed = mz_cpu_data(packed),
             .plain = mz_cpu_data(plain),
             .N = d->N_max,
             .K = d->K_max,
             .row = m.row,
             .col = m.col,
             .nr = f->nr,
             .k_unit = f->k_unit,
             .pair = f->elem_bytes == 2 ? 2 : 1,
             .is_bf16 = d->dtype == MZ_BF16,
             .unpacks = unpacks};
    mz_cpu_run(q, (d->N_max + f->nr - 1) / f->nr, panel_part, &w);
    return MZ_OK;
}

mz_err mz_cpu_pack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *packed,
                   const mz_tensor *plain)
{
    return run(q, desc, packed, plain, false);
}

mz_err mz_cpu_unpack(mz_queue *q, const mz_matmul_desc *desc, const mz_tensor *plain,
                     const mz_tensor *packed)
{
    return run(q, desc, packed, plain, true);
}
