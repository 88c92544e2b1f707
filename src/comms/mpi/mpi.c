/* SPDX-License-Identifier: Apache-2.0 */
/* comms/mpi/mpi.c - see mpi.h. */
#include "comms/mpi/mpi.h"

#include "base/clock.h"
#include "base/mem.h"
#include "comms/mpi/abi.h"

#include <dlfcn.h>
#include <string.h>

enum { TAG = 77, PIECE = 1 << 30, SPINS = 2000, NAP_NS = 50 * 1000 };

typedef struct state {
    mz_comm comm;
    mz_mpi_abi mpi;
    void *library;
    double patience_s;
    bool in_order;
} state;

/* ---- opening ---- */

static mz_err find(void *library, const char *name, void *out)
{
    void *symbol = dlsym(library, name);
    if (!symbol) return MZ_FAIL(MZ_ENOTSUP, "the MPI library has no %s", name);
    memcpy(out, &symbol, sizeof symbol); /* also into a pointer to a function */
    return MZ_OK;
}

static mz_err bind(mz_mpi_abi *m, void *library)
{
    const struct {
        const char *name;
        void *out;
    } all[] = {
        {"MPI_Init_thread", &m->init_thread},
        {"MPI_Finalize", &m->finalize},
        {"MPI_Comm_rank", &m->comm_rank},
        {"MPI_Comm_size", &m->comm_size},
        {"MPI_Comm_set_errhandler", &m->comm_set_errhandler},
        {"MPI_Isend", &m->isend},
        {"MPI_Irecv", &m->irecv},
        {"MPI_Test", &m->test},
        {"MPI_Error_string", &m->error_string},
        {"ompi_mpi_comm_world", &m->world},
        {"ompi_mpi_byte", &m->byte},
        {"ompi_mpi_errors_return", &m->errors_return},
    };
    for (int i = 0; i < MZ_COUNT(all); i++) MZ_TRY(find(library, all[i].name, all[i].out));
    return MZ_OK;
}

/* Its plugins look for its symbols among everybody's. */
static mz_err load(state *s)
{
    static const char *const names[] = {"libmpi.so.40", "libmpi.so"};
    for (int i = 0; i < MZ_COUNT(names) && !s->library; i++)
        s->library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    if (!s->library) {
        const mz_err err = MZ_FAIL(MZ_ENOTSUP, "no MPI library: %s", dlerror());
        mz_note_fix("install Open MPI (libopenmpi3), or start without mpirun");
        return err;
    }
    return bind(&s->mpi, s->library);
}

static mz_err said(const state *s, int code, const char *call)
{
    char text[MZ_MPI_TEXT + 1] = "";
    int n = 0;
    if (code == MZ_MPI_SUCCESS) return MZ_OK;
    if (s->mpi.error_string(code, text, &n) != MZ_MPI_SUCCESS) text[0] = '\0';
    return MZ_FAIL(MZ_EIO, "%s: %.200s (%d)", call, text, code);
}

static mz_err start(state *s)
{
    const mz_mpi_abi *m = &s->mpi;
    int provided = 0;
    MZ_TRY(said(s, m->init_thread(NULL, NULL, MZ_MPI_THREAD_FUNNELED, &provided), "MPI_Init"));
    MZ_TRY(said(s, m->comm_set_errhandler(m->world, m->errors_return), "MPI_Comm_set_errhandler"));
    MZ_TRY(said(s, m->comm_rank(m->world, &s->comm.rank), "MPI_Comm_rank"));
    MZ_TRY(said(s, m->comm_size(m->world, &s->comm.size), "MPI_Comm_size"));
    if (provided < MZ_MPI_THREAD_FUNNELED)
        return MZ_FAIL(MZ_ENOTSUP, "this MPI allows no other threads in a process");
    return mz_comm_book(&s->comm);
}

/* ---- the table ---- */

typedef struct transfer { /* what is left of one direction */
    unsigned char *at;
    size_t left;
    int piece; /* bytes in flight, 0: none */
    mz_mpi_handle request;
} transfer;

/* Starts the next piece, or asks how the one in flight is. *moved: something happened. */
static mz_err drive(state *s, transfer *t, int other, bool sends, bool *moved)
{
    const mz_mpi_abi *m = &s->mpi;
    int is_done = 0;
    if (t->piece == 0) {
        if (t->left == 0) return MZ_OK;
        t->piece = t->left < PIECE ? (int)t->left : PIECE;
        *moved = true;
        return sends
                   ? said(s, m->isend(t->at, t->piece, m->byte, other, TAG, m->world, &t->request),
                          "MPI_Isend")
                   : said(s, m->irecv(t->at, t->piece, m->byte, other, TAG, m->world, &t->request),
                          "MPI_Irecv");
    }
    MZ_TRY(said(s, m->test(&t->request, &is_done, NULL), "MPI_Test"));
    if (!is_done) return MZ_OK;
    *moved = true;
    t->at += t->piece;
    t->left -= (size_t)t->piece;
    t->piece = 0;
    return MZ_OK;
}

static mz_err exchange(mz_comm *c, const mz_exchange *x)
{
    state *s = c->state;
    union { /* what is sent is not written to */
        const void *in;
        void *out;
    } from = {.in = x->out};
    transfer out = {.at = from.out, .left = x->out_bytes};
    transfer in = {.at = x->in, .left = x->in_bytes};
    int64_t since = mz_clock_ns();
    for (int turns = 0; out.left > 0 || in.left > 0; turns++) {
        bool moved = false;
        MZ_TRY(drive(s, &in, x->from, false, &moved));
        MZ_TRY(drive(s, &out, x->to, true, &moved));
        if (moved) {
            since = mz_clock_ns();
            turns = 0;
        } else if (turns > SPINS) {
            mz_clock_sleep_ns(NAP_NS);
            if (s->patience_s > 0.0 && (double)(mz_clock_ns() - since) * 1e-9 > s->patience_s)
                return MZ_FAIL(MZ_ETIMEOUT, "rank %d has not answered rank %d for %.0f s",
                               in.left > 0 ? x->from : x->to, c->rank, s->patience_s);
        }
    }
    return MZ_OK;
}

static void close_state(mz_comm *c)
{
    state *s = c->state;
    if (s->in_order) (void)s->mpi.finalize();
    mz_mem_free(s); /* the library stays: it cannot be started a second time */
}

static const mz_comm_table TABLE = {.name = "mpi", .exchange = exchange, .close = close_state};

/* ---- the calls ---- */

mz_err mz_mpi_open(mz_comm **comm, double patience_s)
{
    state *s = NULL;
    MZ_NEED(comm, "no place for a comm");
    MZ_TRY(mz_mem_new(&s, 1, sizeof *s));
    s->comm = (mz_comm){.table = &TABLE, .size = 1, .state = s};
    s->patience_s = patience_s;
    mz_err err = load(s);
    if (err == MZ_OK) err = start(s);
    if (err != MZ_OK) {
        mz_mem_free(s);
        return err;
    }
    *comm = &s->comm;
    return MZ_OK;
}

void mz_mpi_in_order(mz_comm *comm)
{
    state *s = comm->state;
    s->in_order = true;
}
