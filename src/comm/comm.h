/* SPDX-License-Identifier: Apache-2.0 */
/* comm/comm.h - what the ranks of one run say to each other: a table of one call that moves bytes,
 * and the group calls that are built on it, the same for every transport.
 *
 * A transport (comms/local, comms/mpi) fills mz_comm_table. Sums are made here, on host memory, in
 * the order of the ranks: so their bits depend on the placement and on nothing else, neither on
 * timing nor on the transport.
 *
 * Floor:  comm. May use base.
 * Owner:  a comm belongs to the transport that opened it; mz_comm_close ends it.
 * Time:   group calls wait for the other ranks, which make the same calls in the same order. A rank
 *         that does not come makes them fail (what the transport notices, and when, is its part).
 * Repeat: bitwise, for the same number of ranks.
 * Errors: MZ_ETIMEOUT, naming whom was waited for, where a rank is gone or the run was given up;
 *         after any failure the comm is good for nothing but closing. Inside a step nothing is
 *         allocated: mz_comm_book comes before. */
#ifndef MZ_COMM_COMM_H
#define MZ_COMM_COMM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Where a rank is; what reports of faults name, and what tests of faults aim at. */
#define MZ_PHASE_LIST(X)                                                                           \
    X(START, "start")                                                                              \
    X(LOAD, "load")                                                                                \
    X(COMPUTE, "compute")                                                                          \
    X(REDUCE, "reduce")                                                                            \
    X(JUDGE, "judge")                                                                              \
    X(UPDATE, "update")                                                                            \
    X(SHARE, "share")                                                                              \
    X(COLLECT, "collect")                                                                          \
    X(SAVE, "save")                                                                                \
    X(END, "end")
typedef enum mz_phase {
#define MZ_PHASE_ENUM(name, text) MZ_PHASE_##name,
    MZ_PHASE_LIST(MZ_PHASE_ENUM)
#undef MZ_PHASE_ENUM
        MZ_PHASE_COUNT
} mz_phase;
const char *mz_phase_name(mz_phase phase);

typedef struct mz_comm mz_comm;

/* One message to a rank and one from a rank at the same time; bytes 0: none in that direction. Both
 * ends give the same number of bytes. */
typedef struct mz_exchange {
    int to, from;
    const void *out;
    void *in;
    size_t out_bytes, in_bytes;
} mz_exchange;

typedef struct mz_comm_table {
    const char *name;
    mz_err (*exchange)(mz_comm *c, const mz_exchange *x);
    void (*phase)(mz_comm *c, mz_phase phase, int64_t step); /* NULL: nobody watches */
    void (*close)(mz_comm *c);
} mz_comm_table;

struct mz_comm {
    const mz_comm_table *table;
    int rank, size;
    void *state;     /* the transport's */
    uint64_t *pulse; /* where a queue notes its operators (chip/chip.h), NULL: nowhere */
    void *room;      /* of mz_comm_book */
};

/* Books what group calls need. Once, by the transport. */
mz_err mz_comm_book(mz_comm *c);
size_t mz_comm_room(int size);  /* bytes of it */
void mz_comm_close(mz_comm *c); /* NULL is legal */

/* Says where this rank is. Cheap; never fails. */
void mz_comm_phase(mz_comm *c, mz_phase phase, int64_t step);

/* ---- two ranks ---- */
mz_err mz_comm_send(mz_comm *c, int to, const void *data, size_t bytes);
mz_err mz_comm_recv(mz_comm *c, int from, void *data, size_t bytes);

/* ---- all ranks ---- */
mz_err mz_comm_barrier(mz_comm *c);
/* data IN on root, OUT elsewhere. */
mz_err mz_comm_broadcast(mz_comm *c, int root, void *data, size_t bytes);
/* all [size * bytes] on root, in the order of the ranks; NULL elsewhere. */
mz_err mz_comm_gather(mz_comm *c, int root, const void *mine, size_t bytes, void *all);
/* x [n] IN-OUT: the sum over the ranks, added in their order in f64; the same bits on each. */
mz_err mz_comm_sum(mz_comm *c, double *x, int64_t n);
/* Rank r owns elements first[r] .. first[r+1]-1; first [size+1] is the same everywhere.
 * x IN-OUT: the own part becomes the sum over the ranks, added in their order in f64 and rounded
 * once; the rest is left as it was. */
mz_err mz_comm_sum_parts(mz_comm *c, float *x, const int64_t *first);
/* The same of ranks some of which have added up among themselves before: group[r] is the first rank
 * of r's group, r itself where it is alone. All of a group have its sum in x; it is added once, in
 * the place of its first rank. Read are the own part, and by a group's first rank those of ranks
 * outside. */
mz_err mz_comm_sum_groups(mz_comm *c, float *x, const int64_t *first, const int *group);
/* Bytes first[r] .. first[r+1]-1 of data come from rank r: IN there, OUT elsewhere. */
mz_err mz_comm_share(mz_comm *c, void *data, const int64_t *first);

/* ---- reduce.c: the sums themselves ---- */
/* out[i] = in[0][i] + in[1][i] + ... in f64, rounded once. out may be one of them. */
void mz_reduce_f32(float *out, const float *const *in, int n_in, int64_t n);
void mz_reduce_f64(double *out, const double *const *in, int n_in, int64_t n);
/* Sum of squares in f64, in an order that only n decides. */
double mz_reduce_squares(const float *x, int64_t n);

#endif
