/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm.c - cuts products into blocks for the threads and feeds the panel kernels.
 *
 * A part of the work is a block of c: up to mc rows and N_GROUP columns over the whole of K, so no
 * two threads ever touch one sum. Inside, K goes in steps of the family's kc: a's block is packed
 * for the second cache, then one panel of b after the other passes through the first.
 *
 *   many rows, one product   b is packed once for all row blocks, in strips of at most STRIP_BYTES;
 *                            so is a, up to A_ALL_BYTES, if several groups of columns read it
 *   few rows, one product    a is packed once for all; each panel of b is packed by the part that
 *                            needs it, so that b streams through once (decoding)
 *   lists of products        both are packed by the part
 * Only the place where an operand is packed differs: bits never do. */
#include "chips/cpu/gemm.h"
#include "chips/cpu/split.h"

#include <string.h>

enum {
    N_GROUP = 512,          /* columns of a part, at most */
    STRIP_BYTES = 16 << 20, /* of packed b that all threads share */
    A_ALL_BYTES = 8 << 20,  /* of packed a that all threads share, where its blocks are many */
    CALLER_ONLY = 1 << 16,  /* less work is not worth waking threads */
    PARTS_PER_THREAD = 4,   /* below it parts are made smaller, for balance */
    LEAST_TILES = 8,        /* of mr rows in a block that was made smaller for balance */
    PACK_PANELS = 8,        /* of b that are packed together where its rows are contiguous */
    A_STAYS_BYTES = 192 << 10,
    SUM_ROWS = 256,
    SUM_COLS = 256,
};

typedef struct job {
    const mz_op *op;
    const mz_cpu_product *p;
    const mz_cpu_gemm_table *table;
    const mz_cpu_family *f;
    mz_cpu_room room;
    unsigned char *a_all, *strip; /* operands packed for all parts, NULL where parts pack */
    int64_t a_parts;              /* of packing a_all; those of the strip come after them */
    int64_t strip_j0;             /* first column of the strip */
    int64_t strip_n;
    int64_t groups, group_n; /* column groups of a product (or strip) and their width */
    int64_t row_blocks;      /* of one product where all are alike */
    double work;             /* multiplications of the whole */
    int64_t *first;          /* [count+1] running number of row blocks, NULL if alike */
} job;

/* A block of c. */
typedef struct tile {
    int64_t i0, m, j0, n;
} tile;

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t round_up(int64_t x, int64_t unit)
{
    return (x + unit - 1) / unit * unit;
}

static const void *moved(const void *data, int64_t elements, int elem_bytes)
{
    return (const unsigned char *)data + elements * elem_bytes;
}

static int elem_bytes(const mz_cpu_product *p, bool is_bf16)
{
    return p->is_f64 ? 8 : is_bf16 ? 2 : 4;
}

/* Product g of the list, by itself. */
static mz_cpu_product one_of(const mz_cpu_product *p, int64_t g)
{
    mz_cpu_product s = *p;
    int64_t a = g * p->a_step, b = g * p->b_step, c = g * p->c_step;
    if (p->cut != MZ_CPU_CUT_NONE) {
        const int64_t from = p->offsets[g], n = p->offsets[g + 1] - from;
        if (p->cut == MZ_CPU_CUT_M) {
            s.M = n;
            a += from * p->a.row;
            c += from * p->c_row;
        } else {
            s.K = n;
            a += from * p->a.col;
            b += from * p->b.row;
        }
    }
    s.a.data = moved(p->a.data, a, elem_bytes(p, p->a.is_bf16));
    s.b.data = moved(p->b.data, b, elem_bytes(p, p->b.is_bf16));
    s.c = (unsigned char *)p->c + c * elem_bytes(p, p->c_is_bf16);
    return s;
}

/* ---- scratch ---- */

static size_t packed_a_bytes(const mz_cpu_family *f, int64_t M, int64_t K)
{
    const int64_t k_blocks = (K + f->kc - 1) / f->kc;
    return (size_t)(k_blocks * f->kc * round_up(M, f->row_unit) * f->elem_bytes);
}

static size_t packed_b_bytes(const mz_cpu_family *f, int64_t N, int64_t K)
{
    return (size_t)(round_up(K, f->k_unit) * round_up(N, f->nr) * f->elem_bytes);
}

static size_t strip_bytes(const mz_cpu_family *f, int64_t N, int64_t K)
{
    const size_t all = packed_b_bytes(f, N, K), panel = packed_b_bytes(f, 1, K);
    const size_t most = panel > STRIP_BYTES ? panel : STRIP_BYTES;
    return all < most ? all : most;
}

/* A thread's scratch: a's block, panels of b, f32 sums of a block whose c is bf16. */
typedef struct scratch {
    void *a, *b;
    float *sum;
} scratch;

static size_t whole_lines(int64_t bytes)
{
    return (size_t)round_up(bytes, 64);
}

/* Rows of a block of unequal products, at most: every block packs b again, and in the second cache
 * there is room for half as many rows more where b's panel is small beside them. */
static int64_t list_rows(const mz_cpu_family *f)
{
    return f->mc + f->mc / 2;
}

static size_t scratch_a_bytes(const mz_cpu_family *f)
{
    return whole_lines(list_rows(f) * f->kc * f->elem_bytes);
}

static size_t scratch_b_bytes(const mz_cpu_family *f)
{
    return whole_lines((int64_t)PACK_PANELS * f->kc * f->nr * f->elem_bytes);
}

static mz_cpu_room family_room(const mz_cpu_family *f, int64_t M, int64_t N, int64_t K,
                               int64_t count)
{
    mz_cpu_room r = {0};
    if (!f->nr) return r;
    r.thread_bytes = scratch_a_bytes(f) + scratch_b_bytes(f) +
                     (size_t)(list_rows(f) * min64(round_up(N, f->nr), N_GROUP)) * sizeof(float);
    if (count > 0) {
        r.shared_bytes = (size_t)(count + 1) * sizeof(int64_t);
        return r;
    }
    const size_t all = packed_a_bytes(f, M, K), block = packed_a_bytes(f, min64(M, f->mc), K);
    const size_t most = all < A_ALL_BYTES ? all : A_ALL_BYTES;
    r.shared_bytes = whole_lines((int64_t)(block > most ? block : most));
    if (M > f->mc) r.shared_bytes += strip_bytes(f, N, K);
    return r;
}

mz_cpu_room mz_cpu_room_max(mz_cpu_room a, mz_cpu_room b)
{
    if (b.shared_bytes > a.shared_bytes) a.shared_bytes = b.shared_bytes;
    if (b.thread_bytes > a.thread_bytes) a.thread_bytes = b.thread_bytes;
    return a;
}

mz_cpu_room mz_cpu_product_room(const mz_cpu *cpu, int64_t M, int64_t N, int64_t K, int64_t count)
{
    return mz_cpu_room_max(family_room(&cpu->kernels.gemm->f32, M, N, K, count),
                           family_room(&cpu->kernels.gemm->bf16, M, N, K, count));
}

static scratch scratch_of(const job *w, int thread)
{
    unsigned char *base = mz_cpu_room_thread(w->op, w->room, thread);
    const size_t a = scratch_a_bytes(w->f), b = scratch_b_bytes(w->f);
    return (scratch){.a = base, .b = base + a, .sum = (float *)(void *)(base + a + b)};
}

/* ---- one block ---- */

/* Where the sums of a block are kept: in c, or in scratch where c is bf16. */
typedef struct sums {
    float *sum;
    int64_t ld;
} sums;

/* Panels of one k0 that are taken together: columns j..j+n-1 of the block. */
typedef struct step {
    int64_t j, n, k0;
    const void *a;
    void *scratch_b;
} step;

static mz_cpu_mat sub(mz_cpu_mat m, int64_t i, int64_t j)
{
    m.data = moved(m.data, i * m.row + j * m.col, m.is_bf16 ? 2 : 4);
    return m;
}

/* Rows i0.. and columns k0.. of a, packed. */
static const void *block_of_a(const job *w, const mz_cpu_product *p, const tile *t, int64_t k0,
                              void *scratch_a)
{
    const mz_cpu_family *f = w->f;
    const int64_t k = min64(f->kc, p->K - k0);
    if (w->a_all)
        return w->a_all + (k0 * round_up(p->M, f->row_unit) + t->i0 * f->kc) * f->elem_bytes;
    f->pack_a(scratch_a, sub(p->a, t->i0, k0), t->m, k);
    return scratch_a;
}

/* Packs the step's columns of b if that has not been done before. */
static void pack_step(const job *w, const mz_cpu_product *p, const tile *t, const step *at)
{
    const mz_cpu_family *f = w->f;
    if (w->strip || p->packed) return;
    f->pack_b(at->scratch_b, (int64_t)f->kc * f->nr, sub(p->b, at->k0, t->j0 + at->j),
              min64(f->kc, p->K - at->k0), at->n);
}

/* Packed bf16 weights that an f32 family multiplies with few rows. */
static bool widens_in_kernel(const job *w, const mz_cpu_product *p, const tile *t)
{
    return p->packed && p->b.is_bf16 && w->f->elem_bytes == 4 && t->m <= 2 * w->f->mr;
}

/* The step's panel that begins with column j of b. */
static const void *panel_of_b(const job *w, const mz_cpu_product *p, const tile *t, const step *at,
                              int64_t j)
{
    const mz_cpu_family *f = w->f;
    const int64_t pitch = round_up(p->K, f->k_unit) * f->nr; /* from panel to panel */
    if (w->strip)
        return w->strip + ((j - w->strip_j0) / f->nr * pitch + at->k0 * f->nr) * f->elem_bytes;
    if (!p->packed)
        return moved(at->scratch_b, (j - t->j0 - at->j) / f->nr * f->kc * f->nr, f->elem_bytes);
    const int64_t offset = j / f->nr * pitch + at->k0 * f->nr;
    if (f->elem_bytes == 2 || !p->b.is_bf16) return moved(p->packed, offset, f->elem_bytes);
    if (widens_in_kernel(w, p, t)) return moved(p->packed, offset, 2);
    w->table->widen(at->scratch_b, moved(p->packed, offset, 2),
                    min64(f->kc, p->K - at->k0) * f->nr);
    return at->scratch_b;
}

/* What is left to do when `sum` (c itself if c is f32) holds the products. */
static void finish(const job *w, const mz_cpu_product *p, const tile *t, float *sum, int64_t ld)
{
    const float *bias = p->bias ? (const float *)p->bias + t->j0 : NULL;
    for (int64_t i = 0; i < t->m; i++) {
        float *row = sum + i * ld;
        if (p->K == 0 && (p->c_is_bf16 || !p->add)) memset(row, 0, (size_t)t->n * sizeof *row);
        if (p->c_is_bf16)
            w->table->finish_bf16((uint16_t *)p->c + (t->i0 + i) * p->c_row + t->j0, row, bias,
                                  t->n, p->add);
        else if (bias)
            w->table->finish_f32(row, row, bias, t->n, false);
    }
}

/* Adds the products of one step to the block's sums. */
static void add_step(const job *w, const mz_cpu_product *p, const tile *t, const sums *to,
                     const step *at)
{
    const mz_cpu_family *f = w->f;
    pack_step(w, p, t, at);
    for (int64_t j = at->j; j < at->j + at->n; j += f->nr) {
        const mz_cpu_block work = {.m = t->m,
                                   .n = min64(f->nr, t->n - j),
                                   .k = min64(f->kc, p->K - at->k0),
                                   .a = at->a,
                                   .b = panel_of_b(w, p, t, at, t->j0 + j),
                                   .c = to->sum + j,
                                   .ldc = to->ld,
                                   .add = at->k0 > 0 || (p->add && !p->c_is_bf16)};
        if (widens_in_kernel(w, p, t))
            f->panel_widening(&work);
        else
            f->panel(&work);
    }
}

/* Two orders of the same steps. Where all of a stays in cache, a panel of b is walked from end to
 * end, so that plain rows of b are read as long streams (decoding); else a block of a serves all
 * panels before the next one is packed. */
static void compute(const job *w, const mz_cpu_product *p, const tile *t, int thread)
{
    const mz_cpu_family *f = w->f;
    const scratch s = scratch_of(w, thread);
    const sums to = {.sum = p->c_is_bf16 ? s.sum : (float *)p->c + t->i0 * p->c_row + t->j0,
                     .ld = p->c_is_bf16 ? t->n : p->c_row};
    step at = {.scratch_b = s.b};
    const int64_t most = f->nr * (p->b.col == 1 ? PACK_PANELS : 1);
    if (w->a_all && packed_a_bytes(f, t->m, p->K) <= A_STAYS_BYTES) {
        for (at.j = 0; at.j < t->n; at.j += most)
            for (at.k0 = 0; at.k0 < p->K; at.k0 += f->kc) {
                at.n = min64(most, t->n - at.j);
                at.a = block_of_a(w, p, t, at.k0, s.a);
                add_step(w, p, t, &to, &at);
            }
    } else {
        for (at.k0 = 0; at.k0 < p->K; at.k0 += f->kc) {
            at.a = block_of_a(w, p, t, at.k0, s.a);
            for (at.j = 0; at.j < t->n; at.j += most) {
                at.n = min64(most, t->n - at.j);
                add_step(w, p, t, &to, &at);
            }
        }
    }
    finish(w, p, t, to.sum, to.ld);
}

/* ---- cutting ---- */

static int64_t row_blocks_of(const mz_cpu_family *f, int64_t M)
{
    return (M + f->mc - 1) / f->mc;
}

/* The same for one product: as many for every thread, since a thread that has one more is waited
 * for (2,048 rows are eleven blocks of 192). */
static int64_t even_row_blocks(const job *w)
{
    const int64_t blocks = row_blocks_of(w->f, w->p->M);
    const int64_t even = round_up(blocks, mz_cpu_of(w->op->queue)->threads);
    return blocks > 1 && w->p->M / even >= (int64_t)LEAST_TILES * w->f->mr ? even : blocks;
}

/* Rows of block ib of so many: they are about equal, and multiples of mr but for the last. */
static void rows_of(const mz_cpu_family *f, int64_t M, int64_t blocks, int64_t ib, tile *t)
{
    const int64_t rows = round_up((M + blocks - 1) / blocks, f->mr);
    t->i0 = min64(ib * rows, M);
    t->m = min64(rows, M - t->i0);
}

static void set_groups(job *w, int64_t row_blocks, int64_t N)
{
    const int64_t threads = mz_cpu_of(w->op->queue)->threads, nr = w->f->nr;
    int64_t n = N_GROUP / nr * nr;
    while (n > 4 * nr && row_blocks * ((N + n - 1) / n) < PARTS_PER_THREAD * threads)
        n = round_up(n / 2, nr);
    w->group_n = n;
    w->groups = (N + n - 1) / n;
}

/* Wakes the threads only for work that is worth it; which threads run changes no result.
 * work: multiplications, or elements moved */
static void run_parts(job *w, int64_t parts, mz_part_fn *fn, double work)
{
    if (work > CALLER_ONLY)
        mz_cpu_run(w->op->queue, parts, fn, w);
    else
        for (int64_t i = 0; i < parts; i++) fn(w, i, 0);
}

/* ---- one product ---- */

static void single_part(void *arg, int64_t part, int thread)
{
    const job *w = arg;
    const mz_cpu_product *p = w->p;
    const int64_t end = w->strip ? w->strip_j0 + w->strip_n : p->N;
    tile t; /* neighbours share columns of b */
    rows_of(w->f, p->M, w->row_blocks, part % w->row_blocks, &t);
    t.j0 = w->strip_j0 + part / w->row_blocks * w->group_n;
    t.n = min64(w->group_n, end - t.j0);
    compute(w, p, &t, thread);
}

static void pack_a_part(const job *w, int64_t part)
{
    const mz_cpu_product *p = w->p;
    const mz_cpu_family *f = w->f;
    const int64_t k0 = part / w->row_blocks * f->kc;
    tile t;
    rows_of(f, p->M, w->row_blocks, part % w->row_blocks, &t);
    const int64_t at = k0 * round_up(p->M, f->row_unit) + t.i0 * f->kc;
    f->pack_a(w->a_all + at * f->elem_bytes, sub(p->a, t.i0, k0), t.m, min64(f->kc, p->K - k0));
}

static void pack_b_part(const job *w, int64_t part)
{
    const mz_cpu_product *p = w->p;
    const mz_cpu_family *f = w->f;
    const int64_t pitch = round_up(p->K, f->k_unit) * f->nr, j = part * PACK_PANELS * f->nr;
    const int64_t n = min64(PACK_PANELS * f->nr, w->strip_n - j);
    for (int64_t k0 = 0; k0 < p->K; k0 += f->kc) /* in steps that stay in cache */
        f->pack_b(w->strip + (part * PACK_PANELS * pitch + k0 * f->nr) * f->elem_bytes, pitch,
                  sub(p->b, k0, w->strip_j0 + j), min64(f->kc, p->K - k0), n);
}

static void pack_part(void *arg, int64_t part, int thread)
{
    (void)thread;
    const job *w = arg;
    if (part < w->a_parts)
        pack_a_part(w, part);
    else
        pack_b_part(w, part - w->a_parts);
}

/* Packs all of a for all parts; gives the bytes that it takes. */
static int64_t share_a(job *w)
{
    const mz_cpu_family *f = w->f;
    w->a_all = mz_cpu_room_shared(w->op);
    w->a_parts = (w->p->K + f->kc - 1) / f->kc * w->row_blocks;
    return (int64_t)whole_lines((int64_t)packed_a_bytes(f, w->p->M, w->p->K));
}

/* b is packed strip by strip; so is a, once, if more than one group of columns reads it. */
static void run_strips(job *w)
{
    const mz_cpu_product *p = w->p;
    const mz_cpu_family *f = w->f;
    const int64_t panel_bytes = (int64_t)packed_b_bytes(f, 1, p->K);
    const int64_t together = (int64_t)PACK_PANELS * f->nr;
    int64_t room = (int64_t)w->room.shared_bytes;
    w->strip = mz_cpu_room_shared(w->op);
    set_groups(w, w->row_blocks, p->N);
    if (w->groups > 1 && packed_a_bytes(f, p->M, p->K) <= A_ALL_BYTES) {
        const int64_t a_bytes = share_a(w);
        w->strip += a_bytes;
        room -= a_bytes;
    }
    for (int64_t j0 = 0; j0 < p->N; j0 += w->strip_n) {
        w->strip_j0 = j0;
        w->strip_n = min64(room / panel_bytes * f->nr, p->N - j0);
        run_parts(w, w->a_parts + (w->strip_n + together - 1) / together, pack_part, w->work);
        w->a_parts = 0;
        set_groups(w, w->row_blocks, w->strip_n);
        run_parts(w, w->row_blocks * w->groups, single_part, w->work);
    }
}

static void run_single(job *w)
{
    const mz_cpu_product *p = w->p;
    w->row_blocks = even_row_blocks(w);
    if (w->row_blocks > 1 && !p->packed && p->K > 0) {
        run_strips(w);
        return;
    }
    if (w->row_blocks == 1 && p->K > 0) {
        (void)share_a(w);
        run_parts(w, w->a_parts, pack_part, (double)p->M * (double)p->K);
    }
    set_groups(w, w->row_blocks, p->N);
    run_parts(w, w->row_blocks * w->groups, single_part, w->work);
}

/* ---- lists ---- */

static void list_part(void *arg, int64_t part, int thread)
{
    const job *w = arg;
    const int64_t block = part / w->groups;
    const int64_t g = w->first ? mz_cpu_owner(w->first, w->p->count, block) : block / w->row_blocks;
    const int64_t from = w->first ? w->first[g] : g * w->row_blocks;
    const int64_t blocks = w->first ? w->first[g + 1] - from : w->row_blocks;
    const int64_t local = part - from * w->groups;
    const mz_cpu_product p = one_of(w->p, g);
    tile t;
    rows_of(w->f, p.M, blocks, local % blocks, &t);
    t.j0 = local / blocks * w->group_n;
    t.n = min64(w->group_n, p.N - t.j0);
    compute(w, &p, &t, thread);
}

static void run_list(job *w)
{
    const mz_cpu_product *p = w->p;
    int64_t total;
    if (p->cut == MZ_CPU_CUT_M) {
        w->first = mz_cpu_room_shared(w->op);
        w->first[0] = 0;
        for (int64_t g = 0; g < p->count; g++) {
            const int64_t rows = p->offsets[g + 1] - p->offsets[g], most = list_rows(w->f);
            w->first[g + 1] = w->first[g] + (rows + most - 1) / most;
        }
        total = w->first[p->count];
    } else {
        w->row_blocks = row_blocks_of(w->f, p->M);
        total = w->row_blocks * p->count;
    }
    set_groups(w, total, p->N);
    run_parts(w, total * w->groups, list_part, w->work);
}

/* ---- f64 ---- */

enum { F64_ROWS = 8 };

static void f64_part(void *arg, int64_t part, int thread)
{
    (void)thread;
    const job *w = arg;
    const mz_cpu_product p = one_of(w->p, part / w->row_blocks);
    const int64_t i0 = part % w->row_blocks * F64_ROWS, i1 = min64(i0 + F64_ROWS, p.M);
    const double *a = p.a.data, *b = p.b.data, *bias = p.bias;
    double *c = p.c;
    for (int64_t j = 0; j < p.N; j++) {
        for (int64_t i = i0; i < i1; i++) {
            double sum = 0.0;
            for (int64_t k = 0; k < p.K; k++)
                sum += a[i * p.a.row + k * p.a.col] * b[k * p.b.row + j * p.b.col];
            double *y = c + i * p.c_row + j;
            *y = (p.add ? *y : 0.0) + sum + (bias ? bias[j] : 0.0);
        }
    }
}

static void run_f64(job *w)
{
    const mz_cpu_product *p = w->p;
    int64_t M = p->M;
    for (int64_t g = 0; p->cut == MZ_CPU_CUT_M && g < p->count; g++)
        M = max64(M, p->offsets[g + 1] - p->offsets[g]);
    w->row_blocks = (M + F64_ROWS - 1) / F64_ROWS;
    run_parts(w, w->row_blocks * max64(p->count, 1), f64_part, w->work);
}

static double work_of(const mz_cpu_product *p)
{
    const double rows = (double)p->M, cols = (double)p->N, k = (double)p->K;
    if (p->cut == MZ_CPU_CUT_NONE) return rows * cols * k * (double)max64(p->count, 1);
    const double cut = (double)(p->offsets[p->count] - p->offsets[0]);
    return cols * cut * (p->cut == MZ_CPU_CUT_M ? k : rows);
}

void mz_cpu_product_run(const mz_op *op, mz_cpu_room room, const mz_cpu_product *p)
{
    const mz_cpu_gemm_table *table = mz_cpu_of(op->queue)->kernels.gemm;
    const bool pairs = p->a.is_bf16 && p->b.is_bf16 && table->bf16.nr > 0;
    job w = {.op = op,
             .p = p,
             .table = table,
             .f = pairs ? &table->bf16 : &table->f32,
             .room = room,
             .work = work_of(p)};
    if (p->N == 0 || (p->M == 0 && p->cut != MZ_CPU_CUT_M)) return;
    if (p->is_f64)
        run_f64(&w);
    else if (p->count > 0)
        run_list(&w);
    else
        run_single(&w);
}

/* ---- sums of rows ---- */

typedef struct sum_job {
    const mz_cpu_gemm_table *table;
    void *sum;
    mz_cpu_mat x;
    bool is_f64;
    int64_t M, N;
} sum_job;

static void sum_part(void *arg, int64_t part, int thread)
{
    (void)thread;
    const sum_job *w = arg;
    const int64_t j0 = part * SUM_COLS, n = min64(SUM_COLS, w->N - j0);
    if (w->is_f64) {
        double *sum = (double *)w->sum + j0;
        const double *x = (const double *)w->x.data + j0;
        for (int64_t i = 0; i < w->M; i++)
            for (int64_t j = 0; j < n; j++) sum[j] += x[i * w->x.row + j];
        return;
    }
    for (int64_t i = 0; i < w->M; i += SUM_ROWS) {
        float block[SUM_COLS] = {0};
        float *sum = (float *)w->sum + j0;
        w->table->sum_rows(block, sub(w->x, i, j0), min64(SUM_ROWS, w->M - i), n);
        w->table->finish_f32(sum, block, NULL, n, true);
    }
}

void mz_cpu_sum_rows(const mz_op *op, void *sum, mz_cpu_mat x, bool is_f64, int64_t M, int64_t N)
{
    sum_job w = {mz_cpu_of(op->queue)->kernels.gemm, sum, x, is_f64, M, N};
    mz_cpu_run(op->queue, (N + SUM_COLS - 1) / SUM_COLS, sum_part, &w);
}

/* ---- packed weights ---- */

const mz_cpu_family *mz_cpu_packed_family(const mz_cpu *cpu, bool is_bf16)
{
    const mz_cpu_gemm_table *table = cpu->kernels.gemm;
    return is_bf16 && table->bf16.nr > 0 ? &table->bf16 : &table->f32;
}

size_t mz_cpu_packed_bytes(const mz_cpu *cpu, bool is_bf16, int64_t N, int64_t K)
{
    const mz_cpu_family *f = mz_cpu_packed_family(cpu, is_bf16);
    return (size_t)(round_up(K, f->k_unit) * round_up(N, f->nr)) * (is_bf16 ? 2u : 4u);
}
