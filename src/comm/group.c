/* SPDX-License-Identifier: Apache-2.0 */
/* comm/group.c - group calls out of exchanges between two. Floor: comm. May use base.
 *
 * Every rank talks to the one k places after it while it listens to the one k places before it, for
 * k = 1, 2, ...: all lines are busy, nobody waits in a circle, and no transport needs more. */
#include "base/mem.h"
#include "comm/comm.h"

#include <string.h>

enum { CHUNK = 1 << 15, RANKS_MAX = 64 }; /* doubles of each rank that are in flight at a time */

const char *mz_phase_name(mz_phase phase)
{
    static const char *const names[] = {
#define MZ_PHASE_TEXT(name, text) text,
        MZ_PHASE_LIST(MZ_PHASE_TEXT)
#undef MZ_PHASE_TEXT
    };
    return (unsigned)phase < MZ_PHASE_COUNT ? names[phase] : "nowhere";
}

size_t mz_comm_room(int size)
{
    return (size_t)size * CHUNK * sizeof(double);
}

mz_err mz_comm_book(mz_comm *c)
{
    MZ_NEED(c && c->size >= 1 && c->size <= RANKS_MAX && c->rank >= 0 && c->rank < c->size,
            "no comm, or a rank that is not in it");
    return mz_mem_new(&c->room, (int64_t)c->size * CHUNK, sizeof(double));
}

void mz_comm_close(mz_comm *c)
{
    if (!c) return;
    mz_mem_free(c->room);
    c->room = NULL;
    c->table->close(c);
}

void mz_comm_phase(mz_comm *c, mz_phase phase, int64_t step)
{
    if (c && c->table->phase) c->table->phase(c, phase, step);
}

static int after(const mz_comm *c, int k)
{
    return (c->rank + k) % c->size;
}

static int before(const mz_comm *c, int k)
{
    return (c->rank + c->size - k) % c->size;
}

/* ---- two ranks ---- */

mz_err mz_comm_send(mz_comm *c, int to, const void *data, size_t bytes)
{
    MZ_NEED(c && to >= 0 && to < c->size && to != c->rank, "rank %d sends to rank %d",
            c ? c->rank : -1, to);
    return c->table->exchange(c, &(mz_exchange){.to = to, .out = data, .out_bytes = bytes});
}

mz_err mz_comm_recv(mz_comm *c, int from, void *data, size_t bytes)
{
    MZ_NEED(c && from >= 0 && from < c->size && from != c->rank, "rank %d receives from rank %d",
            c ? c->rank : -1, from);
    return c->table->exchange(c, &(mz_exchange){.from = from, .in = data, .in_bytes = bytes});
}

/* ---- all ranks ---- */

/* After round k everybody has heard of 2k ranks, themselves among them. */
mz_err mz_comm_barrier(mz_comm *c)
{
    const unsigned char out = 1;
    unsigned char in = 0;
    for (int k = 1; k < c->size; k *= 2)
        MZ_TRY(c->table->exchange(c, &(mz_exchange){.to = after(c, k),
                                                    .from = before(c, k),
                                                    .out = &out,
                                                    .in = &in,
                                                    .out_bytes = 1,
                                                    .in_bytes = 1}));
    return MZ_OK;
}

mz_err mz_comm_broadcast(mz_comm *c, int root, void *data, size_t bytes)
{
    if (c->rank != root) return mz_comm_recv(c, root, data, bytes);
    for (int k = 1; k < c->size; k++) MZ_TRY(mz_comm_send(c, after(c, k), data, bytes));
    return MZ_OK;
}

mz_err mz_comm_gather(mz_comm *c, int root, const void *mine, size_t bytes, void *all)
{
    if (c->rank != root) return mz_comm_send(c, root, mine, bytes);
    unsigned char *at = all;
    for (int r = 0; r < c->size; r++, at += bytes) {
        if (r != root)
            MZ_TRY(mz_comm_recv(c, r, at, bytes));
        else if (bytes > 0)
            memcpy(at, mine, bytes);
    }
    return MZ_OK;
}

mz_err mz_comm_share(mz_comm *c, void *data, const int64_t *first)
{
    unsigned char *at = data;
    for (int k = 1; k < c->size; k++) {
        const int to = after(c, k), from = before(c, k);
        MZ_TRY(c->table->exchange(
            c, &(mz_exchange){.to = to,
                              .from = from,
                              .out = at + first[c->rank],
                              .in = at + first[from],
                              .out_bytes = (size_t)(first[c->rank + 1] - first[c->rank]),
                              .in_bytes = (size_t)(first[from + 1] - first[from])}));
    }
    return MZ_OK;
}

static mz_err sum_run(mz_comm *c, double *x, int64_t n)
{
    const double *in[RANKS_MAX];
    double *room = c->room;
    int64_t first[RANKS_MAX + 1];
    const int64_t bytes = n * (int64_t)sizeof *x;
    for (int r = 0; r <= c->size; r++) first[r] = r * bytes;
    for (int r = 0; r < c->size; r++) in[r] = room + r * n;
    memcpy(room + c->rank * n, x, (size_t)bytes);
    MZ_TRY(mz_comm_share(c, room, first));
    mz_reduce_f64(x, in, c->size, n);
    return MZ_OK;
}

mz_err mz_comm_sum(mz_comm *c, double *x, int64_t n)
{
    MZ_NEED(c && c->room && (x || n == 0), "no comm, or it was not booked");
    for (int64_t at = 0; at < n && c->size > 1; at += CHUNK)
        MZ_TRY(sum_run(c, x + at, n - at < CHUNK ? n - at : CHUNK));
    return MZ_OK;
}

/* Elements at .. at + CHUNK of rank r's part. */
static int64_t run_of(const int64_t *first, int r, int64_t at)
{
    const int64_t left = first[r + 1] - first[r] - at;
    return left < 0 ? 0 : left < CHUNK ? left : CHUNK;
}

/* Whether rank `from` has something to add to the part of rank `to`: of a group that has added up
 * among itself, its first rank has, and only to parts of others. */
static bool adds(const int *group, int from, int to)
{
    return !group || (group[from] == from && group[from] != group[to]);
}

/* One run of every rank's part: what others have of mine comes in, what I have of theirs goes. */
static mz_err sum_parts_run(mz_comm *c, float *x, const int64_t *first, const int *group,
                            int64_t at)
{
    const float *in[RANKS_MAX] = {NULL};
    float *room = c->room;
    const int64_t n = run_of(first, c->rank, at);
    int n_in = 0;
    for (int k = 1; k < c->size; k++) {
        const int to = after(c, k), from = before(c, k);
        const int64_t out = adds(group, c->rank, to) ? run_of(first, to, at) : 0;
        const int64_t come = adds(group, from, c->rank) ? n : 0;
        if (come > 0) in[from] = room + (int64_t)from * CHUNK;
        MZ_TRY(c->table->exchange(c, &(mz_exchange){.to = to,
                                                    .from = from,
                                                    .out = x + first[to] + (out > 0 ? at : 0),
                                                    .in = room + (int64_t)from * CHUNK,
                                                    .out_bytes = (size_t)out * sizeof *x,
                                                    .in_bytes = (size_t)come * sizeof *x}));
    }
    if (n == 0) return MZ_OK;
    float *mine = x + first[c->rank] + at;
    in[group ? group[c->rank] : c->rank] = mine;
    for (int r = 0; r < c->size; r++)
        if (in[r]) in[n_in++] = in[r];
    mz_reduce_f32(mine, in, n_in, n);
    return MZ_OK;
}

mz_err mz_comm_sum_groups(mz_comm *c, float *x, const int64_t *first, const int *group)
{
    MZ_NEED(c && c->room && x && first, "no comm, or it was not booked");
    int64_t longest = 0;
    for (int r = 0; r < c->size; r++)
        if (first[r + 1] - first[r] > longest) longest = first[r + 1] - first[r];
    for (int64_t at = 0; at < longest && c->size > 1; at += CHUNK)
        MZ_TRY(sum_parts_run(c, x, first, group, at));
    return MZ_OK;
}

mz_err mz_comm_sum_parts(mz_comm *c, float *x, const int64_t *first)
{
    return mz_comm_sum_groups(c, x, first, NULL);
}
