/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored.c - cuts products with stored weights into blocks of c for the threads.
 *
 * A part is a block of c over the whole of K: up to ROWS rows of a and `group` rows of the weight.
 * Where the block's rows of a stay in cache, the weight is walked row by row, as it lies in memory;
 * else one piece of K after the other is taken for all of the part's columns, so that a's piece
 * stays. The order changes no sum. Floor: chips. */
#include "chips/cpu/stored.h"
#include "chips/cpu/split.h"

#include <string.h>

enum {
    ROWS = 96,      /* of a, in a part */
    COLS = 64,      /* rows of the weight, in a part, at most */
    COLS_LEAST = 8, /* and at least, where there would be too few parts */
    KC = MZ_CPU_STORED_K,
    STEP = MZ_CPU_STORED_COLS,
    UNIT = MZ_CPU_STORED_GROUP,
    A_FLOATS = ROWS * KC,
    CALLER_ONLY = 1 << 16, /* less work is not worth waking threads */
    PARTS_PER_THREAD = 4
};

typedef struct job {
    const mz_op *op;
    const mz_cpu_stored *p;
    const mz_cpu_stored_table *table;
    const mz_cpu_stored_kernel *kernel;
    mz_cpu_room room;
    int64_t cols, groups;
    int64_t *first; /* [count+1] running number of row blocks, NULL for one product */
} job;

/* A thread's scratch. */
typedef struct scratch {
    float *a;     /* [A_FLOATS] rows of a that are widened or filled up */
    float *panel; /* [STEP][KC] expanded rows of the weight */
    float *sum;   /* [ROWS][COLS] */
} scratch;

/* A block of c. */
typedef struct tile {
    int64_t i0, m, j0, n;
    const unsigned char *w; /* row j0 */
} tile;

/* Rows of a as the kernels read them, from k0 on. */
typedef struct rows {
    const float *at;
    int64_t pitch;
} rows;

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t filled(int64_t k)
{
    return (k + UNIT - 1) / UNIT * UNIT;
}

mz_cpu_kind mz_cpu_kind_of(mz_dtype dtype)
{
    mz_quant quant;
    if (mz_dtype_quant(dtype, &quant)) return (mz_cpu_kind)quant;
    return dtype == MZ_F16    ? MZ_CPU_KIND_F16
           : dtype == MZ_BF16 ? MZ_CPU_KIND_BF16
                              : MZ_CPU_KIND_F32;
}

mz_err mz_cpu_stored_need(mz_op_kind kind, mz_dtype dtype)
{
    if (dtype == MZ_F32 || dtype == MZ_BF16) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "cpu computes %s with stored weights in f32 and bf16, not in %s",
                   mz_op_name(kind), mz_dtype_name(dtype));
}

mz_cpu_room mz_cpu_stored_room(int64_t count)
{
    return (mz_cpu_room){.shared_bytes = (size_t)(count + 1) * sizeof(int64_t),
                         .thread_bytes =
                             (size_t)(A_FLOATS + STEP * KC + ROWS * COLS) * sizeof(float)};
}

static scratch scratch_of(const job *w, int thread)
{
    float *base = mz_cpu_room_thread(w->op, w->room, thread);
    return (scratch){.a = base, .panel = base + A_FLOATS, .sum = base + A_FLOATS + STEP * KC};
}

/* ---- one block ---- */

/* Whether the kernels can read a where it lies. */
static bool lies_ready(const mz_cpu_stored *p)
{
    return !p->a.is_bf16 && p->K % UNIT == 0;
}

/* Elements k0 .. k0+n-1 of the block's rows, widened, with zeros up to a whole group. */
static void widen_rows(const job *w, const tile *t, int64_t k0, int64_t n, float *to, int64_t pitch)
{
    const mz_cpu_gemm_table *gemm = mz_cpu_of(w->op->queue)->kernels.gemm;
    const mz_cpu_mat *a = &w->p->a;
    if (!to) __builtin_unreachable(); /* booked whenever rows do not lie ready */
    for (int64_t i = 0; i < t->m; i++, to += pitch) {
        const int64_t at = (t->i0 + i) * a->row + k0;
        if (a->is_bf16)
            gemm->widen(to, (const uint16_t *)a->data + at, n);
        else
            memcpy(to, (const float *)a->data + at, (size_t)n * sizeof *to);
        memset(to + n, 0, (size_t)(filled(n) - n) * sizeof *to);
    }
}

static rows rows_at(const job *w, const tile *t, int64_t k0, float *room)
{
    const mz_cpu_stored *p = w->p;
    if (lies_ready(p)) return (rows){(const float *)p->a.data + t->i0 * p->a.row + k0, p->a.row};
    widen_rows(w, t, k0, min64(KC, p->K - k0), room, KC);
    return (rows){room, KC};
}

/* Whether the product is one of bf16 by bf16, multiplied by pairs: a's rows are read as they lie.
 */
static bool is_pairs(const job *w)
{
    return w->table->pairs && w->p->a.is_bf16 && w->p->K % UNIT == 0;
}

/* Columns j .. j+3 of the block over one piece of K. The last column stands in for those behind it.
 */
static void add_pairs(const job *w, const tile *t, const scratch *s, int64_t j, int64_t k0)
{
    const mz_cpu_stored *p = w->p;
    const int64_t n = min64(KC, p->K - k0);
    const unsigned char *row = t->w + (size_t)j * p->w_row_bytes;
    uint16_t *panel = (uint16_t *)(void *)s->panel;
    mz_cpu_stored_pairs call = {.m = t->m,
                                .n = n,
                                .a = (const uint16_t *)p->a.data + t->i0 * p->a.row + k0,
                                .a_pitch = p->a.row,
                                .sum = s->sum + j,
                                .ld = COLS,
                                .add = k0 > 0};
    if (w->kernel->dot_round && t->m == 1 && j + STEP <= t->n) {
        w->kernel->dot_round(call.sum, row, p->w_row_bytes, call.a, k0, n);
        return;
    }
    for (int64_t i = 0; i < STEP; i++) {
        const unsigned char *at = row + (size_t)min64(i, t->n - 1 - j) * p->w_row_bytes;
        call.w[i] = w->kernel->round ? panel + i * KC : (const uint16_t *)(const void *)at + k0;
        if (w->kernel->round) w->kernel->round(panel + i * KC, at, k0, n);
    }
    w->table->pairs(&call);
}

/* Columns j .. j+3 of the block over one piece of K. */
static void add_step(const job *w, const tile *t, const scratch *s, const rows *a, int64_t j,
                     int64_t k0)
{
    const mz_cpu_stored *p = w->p;
    const int64_t n = min64(KC, p->K - k0), cols = min64(STEP, t->n - j);
    const unsigned char *row = t->w + (size_t)j * p->w_row_bytes;
    float *sum = s->sum + j;
    const bool is_rounded = p->a.is_bf16 && p->kind != MZ_CPU_KIND_BF16;
    if (t->m == 1 && cols == STEP && (!is_rounded || w->kernel->dot_rounded)) {
        (is_rounded ? w->kernel->dot_rounded : w->kernel->dot)(sum, row, p->w_row_bytes, a->at, k0,
                                                               n);
        return;
    }
    for (int64_t i = 0; i < STEP; i++)
        if (i < cols)
            w->kernel->expand(s->panel + i * KC, row + (size_t)i * p->w_row_bytes, k0, n);
        else
            memset(s->panel + i * KC, 0, (size_t)filled(n) * sizeof *s->panel);
    for (int64_t i = 0; is_rounded && i < cols; i++)
        w->table->to_bf16(s->panel + i * KC, filled(n));
    w->table->tile(&(mz_cpu_stored_tile){.m = t->m,
                                         .n = filled(n),
                                         .a = a->at,
                                         .panel = s->panel,
                                         .a_pitch = a->pitch,
                                         .sum = sum,
                                         .ld = COLS,
                                         .add = k0 > 0});
}

static void finish(const job *w, const tile *t, const float *sum)
{
    const mz_cpu_gemm_table *gemm = mz_cpu_of(w->op->queue)->kernels.gemm;
    const mz_cpu_stored *p = w->p;
    const float *bias = p->bias ? p->bias + t->j0 : NULL;
    for (int64_t i = 0; i < t->m; i++, sum += COLS) {
        const int64_t at = (t->i0 + i) * p->c_row + t->j0;
        if (p->c_is_bf16)
            gemm->finish_bf16((uint16_t *)p->c + at, sum, bias, t->n, p->add);
        else
            gemm->finish_f32((float *)p->c + at, sum, bias, t->n, p->add);
    }
}

static void compute(const job *w, const tile *t, int thread)
{
    const mz_cpu_stored *p = w->p;
    const scratch s = scratch_of(w, thread);
    const int64_t pitch = filled(p->K);
    if (p->K == 0) memset(s.sum, 0, (size_t)(t->m * COLS) * sizeof *s.sum);
    if (is_pairs(w)) {
        for (int64_t j = 0; j < t->n; j += STEP)
            for (int64_t k0 = 0; k0 < p->K; k0 += KC) add_pairs(w, t, &s, j, k0);
    } else if (t->m * pitch <= A_FLOATS) {
        rows all = {s.a, pitch};
        if (lies_ready(p))
            all = rows_at(w, t, 0, NULL);
        else
            widen_rows(w, t, 0, p->K, s.a, pitch);
        for (int64_t j = 0; j < t->n; j += STEP)
            for (int64_t k0 = 0; k0 < p->K; k0 += KC) {
                const rows a = {all.at + k0, all.pitch};
                add_step(w, t, &s, &a, j, k0);
            }
    } else {
        for (int64_t k0 = 0; k0 < p->K; k0 += KC) {
            const rows a = rows_at(w, t, k0, s.a);
            for (int64_t j = 0; j < t->n; j += STEP) add_step(w, t, &s, &a, j, k0);
        }
    }
    finish(w, t, s.sum);
}

/* ---- cutting ---- */

static int64_t blocks_of(int64_t M)
{
    return (M + ROWS - 1) / ROWS;
}

/* Block ib of rows from..from+M-1: about equal ones. */
static void rows_of(tile *t, int64_t from, int64_t M, int64_t ib)
{
    const int64_t blocks = blocks_of(M), each = (M + blocks - 1) / blocks;
    const int64_t skip = min64(ib * each, M);
    t->i0 = from + skip;
    t->m = min64(each, M - skip);
}

static void part_of(void *arg, int64_t part, int thread)
{
    const job *w = arg;
    const mz_cpu_stored *p = w->p;
    const int64_t block = part / w->groups; /* neighbours share rows of a */
    tile t = {.j0 = part % w->groups * w->cols, .w = p->w};
    t.n = min64(w->cols, p->N - t.j0);
    if (w->first) {
        const int64_t g = mz_cpu_owner(w->first, p->count, block);
        rows_of(&t, p->offsets[g], p->offsets[g + 1] - p->offsets[g], block - w->first[g]);
        t.w += (size_t)g * p->w_step_bytes;
    } else {
        rows_of(&t, 0, p->M, block);
    }
    t.w += (size_t)t.j0 * p->w_row_bytes;
    if (t.m > 0) compute(w, &t, thread);
}

/* Running numbers of row blocks; returns how many there are. */
static int64_t number_blocks(job *w)
{
    const mz_cpu_stored *p = w->p;
    if (p->count == 0) return blocks_of(p->M);
    w->first = mz_cpu_room_shared(w->op);
    w->first[0] = 0;
    for (int64_t g = 0; g < p->count; g++)
        w->first[g + 1] = w->first[g] + blocks_of(p->offsets[g + 1] - p->offsets[g]);
    return w->first[p->count];
}

void mz_cpu_stored_run(const mz_op *op, const mz_cpu_stored *p)
{
    const mz_cpu *cpu = mz_cpu_of(op->queue);
    job w = {.op = op,
             .p = p,
             .table = cpu->kernels.stored,
             .kernel = &cpu->kernels.stored->kernel[p->kind],
             .room = mz_cpu_stored_room(p->count)};
    if (p->M == 0 || p->N == 0) return;
    const int64_t blocks = number_blocks(&w);
    w.cols = COLS;
    while (w.cols > COLS_LEAST &&
           blocks * ((p->N + w.cols - 1) / w.cols) < (int64_t)PARTS_PER_THREAD * cpu->threads)
        w.cols /= 2;
    w.groups = (p->N + w.cols - 1) / w.cols;
    const int64_t parts = blocks * w.groups;
    if ((double)p->M * (double)p->N * (double)p->K > CALLER_ONLY)
        mz_cpu_run(op->queue, parts, part_of, &w);
    else
        for (int64_t i = 0; i < parts; i++) part_of(&w, i, 0);
}
