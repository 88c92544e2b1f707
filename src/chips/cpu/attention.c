/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/attention.c - see chip/desc.h; the arithmetic is in flash.isa.c.
 *
 * forward   a part is (head, block of rows of one sequence): it meets its keys tile by tile.
 * backward  two sweeps, whose parts own what they write, so that no partial sums are needed:
 *             rows  (head, block of rows) meets its tiles: dq
 *             keys  (key head, tile)      meets the blocks of all its heads: dk, dv
 *           or, where sequences and key heads are enough to keep all threads busy, one sweep whose
 *           parts are (sequence, key head), which computes every weight once instead of twice.
 *           Both add the same numbers in the same order, so the choice does not show in the bits.
 * saved holds the log-sum-exp of each row, f32 [H][T], and for bf16 what rounding took from out,
 * bf16 [T][H][W]: dq and dk are small differences of numbers as large as dout . out, which an error
 * of 2^-9 in it would swamp.
 * Floor: chips. */
#include "chips/cpu/flash.h"
#include "chips/cpu/split.h"

#include <string.h>

enum { ROWS = MZ_FLASH_ROWS, KEYS = MZ_FLASH_KEYS };

/* Most f32 of dk and dv that a thread keeps for a whole sequence in the one sweep: 16 MiB. */
enum { WHOLE_MAX = 1 << 22 };

/* ---- scratch ---- */

static int64_t key_floats(const mz_attention_desc *d)
{
    return mz_flash_padded(d->K) + mz_flash_padded(d->W);
}

static bool whole_fits(const mz_attention_desc *d)
{
    return d->T_max <= WHOLE_MAX / key_floats(d);
}

static mz_cpu_room room_of(const mz_attention_desc *d)
{
    mz_cpu_flash f;
    const int64_t keys = whole_fits(d) && d->T_max > KEYS ? d->T_max : KEYS;
    const int64_t floats =
        mz_cpu_flash_lay_out(&f, d, NULL) + (d->backward ? keys * key_floats(d) : 0);
    return (mz_cpu_room){
        .shared_bytes = (size_t)(2 * (d->sequences_max + 1)) * sizeof(int64_t),
        .thread_bytes = (size_t)floats * sizeof(float),
    };
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_attention_desc *d = &desc->u.attention;
    MZ_TRY(mz_cpu_flash_need(desc->kind, d->dtype, d->K, d->W));
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, room_of(d));
    if (!d->backward) return MZ_OK;
    support->saved_bytes = (size_t)(d->T_max * d->H) * sizeof(float);
    if (d->dtype == MZ_BF16)
        support->saved_bytes += (size_t)(d->T_max * d->H * d->W) * sizeof(uint16_t);
    return MZ_OK;
}

/* ---- a call ---- */

typedef struct job {
    const mz_op *op;
    const mz_attention_desc *d;
    const mz_args *args;
    const mz_cpu_flash_table *flash;
    mz_cpu_room room;
    int64_t T, sequences;
    int64_t *blocks, *tiles; /* [sequences + 1] numbers of those before each sequence */
} job;

/* Tokens start + first .. start + first + n-1, of a sequence of len tokens from start on. */
typedef struct place {
    int64_t start, len, first, n;
} place;

static place sequence_at(const job *j, int64_t i)
{
    const int64_t start = mz_cpu_id_at(j->args->attention.cu, i, 0);
    return (place){.start = start, .len = mz_cpu_id_at(j->args->attention.cu, i + 1, 0) - start};
}

static void count(int64_t *before, const job *j, int64_t unit)
{
    before[0] = 0;
    for (int64_t i = 0; i < j->sequences; i++)
        before[i + 1] = before[i] + (sequence_at(j, i).len + unit - 1) / unit;
}

/* The i-th block or tile of `unit` tokens, counted through all sequences. */
static place place_at(const job *j, const int64_t *before, int64_t i, int64_t unit)
{
    const int64_t low = mz_cpu_owner(before, j->sequences, i);
    place p = sequence_at(j, low);
    p.first = (i - before[low]) * unit;
    p.n = p.len - p.first < unit ? p.len - p.first : unit;
    return p;
}

static mz_err job_of(job *j, const mz_op *op, const mz_args *args)
{
    const mz_tensor *cu = args->attention.cu;
    *j = (job){.op = op,
               .d = &op->desc.u.attention,
               .args = args,
               .flash = mz_cpu_ops_of(op)->flash,
               .room = room_of(&op->desc.u.attention),
               .T = args->attention.q->dim[0],
               .sequences = cu->dim[0] - 1,
               .blocks = mz_cpu_room_shared(op)};
    j->tiles = j->blocks + j->d->sequences_max + 1;
    MZ_TRY(mz_cpu_check_cu(cu, j->T));
    count(j->blocks, j, ROWS);
    count(j->tiles, j, KEYS);
    return MZ_OK;
}

static void *at(const mz_tensor *t, int64_t token, int64_t head)
{
    return mz_cpu_elem(t, token * t->stride[0] + head * t->stride[1]);
}

static void aim_at_keys(mz_cpu_keys *keys, const job *j, place p, int64_t g)
{
    keys->first = p.first;
    keys->n = p.n;
    for (int64_t i = 0; i < p.n; i++) {
        keys->k[i] = at(j->args->attention.k, p.start + p.first + i, g);
        keys->v[i] = at(j->args->attention.v, p.start + p.first + i, g);
    }
}

static place tile_of(place p, int64_t first)
{
    p.first = first;
    p.n = p.len - first < KEYS ? p.len - first : KEYS;
    return p;
}

static float *saved_lse(const job *j, int64_t h)
{
    return (float *)mz_cpu_data(j->args->attention.saved) + h * j->T;
}

static uint16_t *saved_rest(const job *j, int64_t token, int64_t h)
{
    uint16_t *rest = (uint16_t *)(void *)saved_lse(j, j->d->H);
    return rest + (token * j->d->H + h) * j->d->W;
}

static void aim_at_rows(mz_cpu_flash *f, const job *j, place p, int64_t h)
{
    f->rows = p.n;
    for (int64_t i = 0; i < p.n; i++) {
        if (f->bf16 && j->d->backward) f->rest[i] = saved_rest(j, p.start + p.first + i, h);
        f->q[i] = at(j->args->attention.q, p.start + p.first + i, h);
        f->limit[i] = j->d->causal ? p.first + i + 1 : p.len;
    }
}

/* One past the last key that a block sees. */
static int64_t end_of_keys(const mz_cpu_flash *f)
{
    return f->limit[f->rows - 1];
}

/* ---- forward ---- */

/* Later blocks see more keys: they go first, so that the threads end together. */
static void forward_part(void *arg, int64_t part, int thread)
{
    const job *j = arg;
    const int64_t blocks = j->blocks[j->sequences], h = part % j->d->H;
    const place p = place_at(j, j->blocks, blocks - 1 - part / j->d->H, ROWS);
    const int64_t g = h / (j->d->H / j->d->G);
    mz_cpu_flash f;
    mz_cpu_keys keys;
    void *out[ROWS];
    mz_cpu_flash_lay_out(&f, j->d, mz_cpu_room_thread(j->op, j->room, thread));
    aim_at_rows(&f, j, p, h);
    for (int64_t i = 0; i < p.n; i++) out[i] = at(j->args->attention.out, p.start + p.first + i, h);
    j->flash->start(&f);
    for (int64_t first = 0; first < end_of_keys(&f); first += KEYS) {
        aim_at_keys(&keys, j, tile_of(p, first), g);
        j->flash->tile(&f, &keys);
    }
    j->flash->finish(&f, out, j->d->backward ? saved_lse(j, h) + p.start + p.first : NULL);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    job j;
    MZ_TRY(job_of(&j, op, args));
    mz_cpu_run(op->queue, j.blocks[j.sequences] * j.d->H, forward_part, &j);
    return MZ_OK;
}

/* ---- backward ---- */

static void start_back(mz_cpu_flash *f, const job *j, place p, int64_t h)
{
    const float *lse = saved_lse(j, h) + p.start + p.first;
    aim_at_rows(f, j, p, h);
    for (int64_t i = 0; i < p.n; i++) {
        f->out[i] = at(j->args->attention.out, p.start + p.first + i, h);
        f->dout[i] = at(j->args->attention.dout, p.start + p.first + i, h);
        f->lse[i] = lse[i];
    }
    j->flash->back_start(f);
}

static void finish_rows(const mz_cpu_flash *f, const job *j, place p, int64_t h)
{
    void *dq[ROWS];
    for (int64_t i = 0; i < p.n; i++) dq[i] = at(j->args->attention.dq, p.start + p.first + i, h);
    j->flash->back_finish(f, dq);
}

/* dk [n][padded K] and after it dv [n][padded W] become n keys' gradients. */
static void store_keys(const job *j, place p, int64_t g, const float *dk)
{
    const int64_t K = mz_flash_padded(j->d->K), W = mz_flash_padded(j->d->W);
    const float *dv = dk + p.n * K;
    const bool bf16 = j->d->dtype == MZ_BF16;
    for (int64_t i = 0; i < p.n; i++) {
        const int64_t t = p.start + p.first + i;
        mz_cpu_ops_of(j->op)->cast(at(j->args->attention.dk, t, g), bf16, dk + i * K, false,
                                   j->d->K);
        mz_cpu_ops_of(j->op)->cast(at(j->args->attention.dv, t, g), bf16, dv + i * W, false,
                                   j->d->W);
    }
}

static void rows_part(void *arg, int64_t part, int thread)
{
    const job *j = arg;
    const int64_t blocks = j->blocks[j->sequences], h = part % j->d->H;
    const place p = place_at(j, j->blocks, blocks - 1 - part / j->d->H, ROWS);
    mz_cpu_flash f;
    mz_cpu_keys keys;
    mz_cpu_flash_lay_out(&f, j->d, mz_cpu_room_thread(j->op, j->room, thread));
    start_back(&f, j, p, h);
    for (int64_t first = 0; first < end_of_keys(&f); first += KEYS) {
        aim_at_keys(&keys, j, tile_of(p, first), h / (j->d->H / j->d->G));
        j->flash->back_tile(&f, &keys);
        j->flash->back_rows(&f, &keys);
    }
    finish_rows(&f, j, p, h);
}

static void keys_part(void *arg, int64_t part, int thread)
{
    const job *j = arg;
    const int64_t g = part % j->d->G, group = j->d->H / j->d->G;
    const place p = place_at(j, j->tiles, part / j->d->G, KEYS);
    const int64_t first = j->d->causal ? p.first / ROWS * ROWS : 0;
    mz_cpu_flash f;
    mz_cpu_keys keys;
    float *base = mz_cpu_room_thread(j->op, j->room, thread);
    float *dk = base + mz_cpu_flash_lay_out(&f, j->d, base),
          *dv = dk + p.n * mz_flash_padded(j->d->K);
    memset(dk, 0, (size_t)(p.n * key_floats(j->d)) * sizeof *dk);
    aim_at_keys(&keys, j, p, g);
    for (int64_t h = g * group; h < (g + 1) * group; h++)
        for (int64_t i = first; i < p.len; i += ROWS) {
            const place rows = {p.start, p.len, i, p.len - i < ROWS ? p.len - i : ROWS};
            start_back(&f, j, rows, h);
            j->flash->back_tile(&f, &keys);
            j->flash->back_keys(&f, &keys, dk, dv);
        }
    store_keys(j, p, g, dk);
}

/* One block of rows against all its tiles, for dq and for the dk and dv of the whole sequence. */
static void whole_block(const job *j, mz_cpu_flash *f, place p, int64_t h, float *dk)
{
    const int64_t K = mz_flash_padded(j->d->K), W = mz_flash_padded(j->d->W);
    float *dv = dk + p.len * K;
    mz_cpu_keys keys;
    start_back(f, j, p, h);
    for (int64_t first = 0; first < end_of_keys(f); first += KEYS) {
        aim_at_keys(&keys, j, tile_of(p, first), h / (j->d->H / j->d->G));
        j->flash->back_tile(f, &keys);
        j->flash->back_keys(f, &keys, dk + first * K, dv + first * W);
        j->flash->back_rows(f, &keys);
    }
    finish_rows(f, j, p, h);
}

static void whole_part(void *arg, int64_t part, int thread)
{
    const job *j = arg;
    const int64_t g = part % j->d->G, group = j->d->H / j->d->G;
    place p = sequence_at(j, part / j->d->G);
    mz_cpu_flash f;
    float *base = mz_cpu_room_thread(j->op, j->room, thread),
          *dk = base + mz_cpu_flash_lay_out(&f, j->d, base);
    memset(dk, 0, (size_t)(p.len * key_floats(j->d)) * sizeof *dk);
    for (int64_t h = g * group; h < (g + 1) * group; h++)
        for (p.first = 0; p.first < p.len; p.first += ROWS) {
            p.n = p.len - p.first < ROWS ? p.len - p.first : ROWS;
            whole_block(j, &f, p, h, dk);
        }
    p.first = 0;
    p.n = p.len;
    store_keys(j, p, g, dk);
}

/* Two sweeps cost about 7/5 of one, so one pays if its largest part leaves no thread alone for
 * longer than that. */
static bool whole_pays(const job *j)
{
    double most = 0.0, sum = 0.0;
    if (!whole_fits(j->d)) return false;
    for (int64_t i = 0; i < j->sequences; i++) {
        const double len = (double)sequence_at(j, i).len;
        most = len * len > most ? len * len : most;
        sum += len * len * (double)j->d->G;
    }
    return 5.0 * most * (double)mz_cpu_of(j->op->queue)->threads <= 7.0 * sum;
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    job j;
    MZ_TRY(job_of(&j, op, args));
    if (whole_pays(&j)) {
        mz_cpu_run(op->queue, j.sequences * j.d->G, whole_part, &j);
        return MZ_OK;
    }
    mz_cpu_run(op->queue, j.blocks[j.sequences] * j.d->H, rows_part, &j);
    mz_cpu_run(op->queue, j.tiles[j.sequences] * j.d->G, keys_part, &j);
    return MZ_OK;
}

const mz_slot mz_cpu_attention = {.query = query, .forward = forward, .backward = backward};
