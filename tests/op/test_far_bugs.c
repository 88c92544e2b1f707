/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_far_bugs.c - small programs against the chip table, each with one seeded bug of
 * lifetime, synchronisation or ordering, or with a chip that has one. far must notice every one of
 * them, in the way that is written beside it; without the bug it must be silent and right; and
 * where the last column says so, an ordinary host chip gives the right answer in spite of the bug,
 * which is why nobody would have found it there.
 *
 * Every program runs in a process of its own: some end in a trap. */
#include "base/log.h"
#include "chips/far/far.h"
#include "chips/ref/ref.h"
#include "op/op.h"
#include "tests/toy.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { T = 3, D = 5, N = T * D, BYTES = N * 4 };

/* How a bug is noticed. In this order when several apply. */
typedef enum notice {
    SILENT,  /* not at all, and the results are right */
    FAULT,   /* mz_queue_sync fails */
    REFUSED, /* a call fails at once */
    MISUSE,  /* counted, where no error can be returned */
    LOGGED,  /* said aloud */
    WRONG,   /* the results are NaN or wrong */
    TRAP,    /* the process ends */
    BROKEN   /* the program itself did not get that far */
} notice;

typedef struct world {
    bool bug;
    const char *spec;
    mz_device *device, *other;
    mz_queue *q, *q2;
    mz_op *add, *norm, *norm2;
    mz_buffer *buf[6];
    mz_tensor x, y, z, w, saved;
    bool failed, refused, wrong, logged;
} world;

static const int64_t TD[2] = {T, D};
static world *watched; /* for the log */

static void broken(const char *what)
{
    fprintf(stderr, "setting up %s: %s\n", what, mz_err_last()->message);
    _exit(BROKEN);
}

static void need(mz_err err, const char *what)
{
    if (err != MZ_OK) broken(what);
}

static void sync_now(world *s, mz_queue *q)
{
    if (mz_queue_sync(q) != MZ_OK) s->failed = true;
}

/* ---- the programs' furniture: x = 0 1 2 ..., z = twice that, w = 1 ---- */

static mz_tensor tensor(world *s, int i, mz_dtype d, int64_t rows, int64_t columns)
{
    const int64_t dim[2] = {rows, columns};
    size_t bytes = 0;
    need(mz_shape_bytes(d, 2, dim, &bytes), "shape");
    need(mz_buffer_new(&s->buf[i], s->device, bytes), "buffer");
    return mz_view(s->buf[i], 0, d, 2, dim);
}

static void furnish(world *s)
{
    const mz_desc add = {.kind = MZ_OP_ELEMENTWISE,
                         .u.elementwise = {.dtype = MZ_F32, .fn = MZ_EW_ADD, .N_max = N}};
    const mz_desc norm = {
        .kind = MZ_OP_RMSNORM,
        .u.rmsnorm = {.dtype = MZ_F32, .T_max = T, .D = D, .eps = 1e-6, .backward = true}};
    float x[N], z[N], w[D];
    for (int i = 0; i < N; i++) z[i] = 2.0f * (x[i] = (float)i);
    for (int i = 0; i < D; i++) w[i] = 1.0f;
    need(mz_device_open(&s->device, s->spec, NULL), "device");
    need(mz_queue_open(&s->q, s->device), "queue");
    need(mz_queue_open(&s->q2, s->device), "second queue");
    need(mz_op_bind(&s->add, s->q, &add), "add");
    need(mz_op_bind(&s->norm, s->q, &norm), "norm");
    need(mz_op_bind(&s->norm2, s->q, &norm), "norm2");
    s->x = tensor(s, 0, MZ_F32, T, D);
    s->y = tensor(s, 1, MZ_F32, T, D);
    s->z = tensor(s, 2, MZ_F32, T, D);
    s->w = tensor(s, 3, MZ_F32, 1, D);
    s->w = mz_reshape(&s->w, 1, &TD[1]);
    s->saved = tensor(s, 4, MZ_U8, 1, (int64_t)mz_op_saved(s->norm));
    const int64_t n = s->saved.dim[1];
    s->saved = mz_reshape(&s->saved, 1, &n);
    need(mz_upload(s->q, &s->x, x), "x");
    need(mz_upload(s->q, &s->z, z), "z");
    need(mz_upload(s->q, &s->w, w), "w");
    need(mz_queue_sync(s->q), "sync");
}

static void tear_down(world *s)
{
    if (s->q) sync_now(s, s->q);
    if (s->q2) sync_now(s, s->q2);
    mz_op_free(s->add);
    mz_op_free(s->norm);
    mz_op_free(s->norm2);
    for (int i = 0; i < MZ_COUNT(s->buf); i++) mz_buffer_free(s->buf[i]);
    mz_queue_close(s->q2);
    mz_queue_close(s->q);
    mz_device_close(s->other);
    mz_device_close(s->device);
}

static void run_add(world *s, const mz_tensor *y, const mz_tensor *a, const mz_tensor *b)
{
    if (mz_op_run(s->add, MZ_FORWARD, &(mz_args){.elementwise = {.y = y, .a = a, .b = b}}) != MZ_OK)
        s->refused = true;
}

static void run_norm(world *s, mz_op *op, mz_pass pass)
{
    const mz_args forward = {.rmsnorm = {.y = &s->y, .saved = &s->saved, .x = &s->x, .w = &s->w}};
    static mz_tensor dw; /* the gradient of w goes into z's first row */
    dw = mz_view(s->buf[2], 0, MZ_F32, 1, &TD[1]);
    const mz_args backward = {
        .rmsnorm = {
            .saved = &s->saved, .x = &s->x, .w = &s->w, .dy = &s->y, .dx = &s->y, .dw = &dw}};
    if (mz_op_run(op, pass, pass == MZ_FORWARD ? &forward : &backward) != MZ_OK) s->refused = true;
}

/* Whether t holds factor * 0 1 2 ...; waits. */
static void expect(world *s, mz_queue *q, const mz_tensor *t, float factor)
{
    float got[N];
    need(mz_download(q, got, t), "download");
    sync_now(s, q);
    for (int i = 0; i < N; i++)
        if (!(fabsf(got[i] - factor * (float)i) <= 1e-6f)) s->wrong = true;
}

/* Whether every row of y is normalised. */
static void expect_norm(world *s)
{
    float got[N];
    need(mz_download(s->q, got, &s->y), "download");
    sync_now(s, s->q);
    for (int t = 0; t < T; t++) {
        double ss = 0.0;
        for (int d = 0; d < D; d++) ss += (double)got[t * D + d] * (double)got[t * D + d];
        if (!(fabs(ss / D - 1.0) <= 1e-5)) s->wrong = true;
    }
}

/* ---- lifetime ---- */

static void use_after_free(world *s)
{
    if (s->bug) mz_buffer_free(s->buf[2]), s->buf[2] = NULL;
    run_add(s, &s->y, &s->x, &s->z);
    expect(s, s->q, &s->y, 3.0f);
}

static void free_before_sync(world *s)
{
    run_add(s, &s->y, &s->x, &s->z);
    if (!s->bug) sync_now(s, s->q);
    mz_buffer_free(s->buf[2]);
    s->buf[2] = NULL;
    expect(s, s->q, &s->y, 3.0f);
}

static void view_outlives_a_smaller_successor(world *s)
{
    mz_buffer_free(s->buf[2]);
    s->buf[2] = NULL;
    need(mz_buffer_new(&s->buf[2], s->device, s->bug ? BYTES / 2 : BYTES), "successor");
    s->z.buf = s->buf[2]; /* the view keeps the old shape */
    run_add(s, &s->y, &s->x, &s->z);
    expect(s, s->q, &s->y, 1.0f); /* the successor is zeroed */
}

static void op_freed_in_flight(world *s)
{
    run_add(s, &s->y, &s->x, &s->z);
    if (!s->bug) sync_now(s, s->q);
    mz_op_free(s->add);
    s->add = NULL;
    expect(s, s->q, &s->y, 3.0f);
}

static void upload_source_changed(world *s)
{
    float fresh[N];
    for (int i = 0; i < N; i++) fresh[i] = 4.0f * (float)i;
    need(mz_upload(s->q, &s->x, fresh), "upload");
    if (!s->bug) sync_now(s, s->q);
    fresh[7] = -1.0f;
    expect(s, s->q, &s->x, 4.0f);
}

static void *page(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) broken("page");
    return p;
}

static void upload_source_unmapped(world *s)
{
    float *p = page();
    for (int i = 0; i < N; i++) p[i] = 4.0f * (float)i;
    need(mz_upload(s->q, &s->x, p), "upload");
    if (!s->bug) sync_now(s, s->q);
    munmap(p, 4096);
    expect(s, s->q, &s->x, 4.0f);
}

static void download_target_unmapped(world *s)
{
    float *p = page();
    need(mz_download(s->q, p, &s->x), "download");
    if (!s->bug) sync_now(s, s->q);
    munmap(p, 4096);
    expect(s, s->q, &s->x, 1.0f);
}

static void queue_closed_with_ops(world *s)
{
    if (s->bug) {
        const mz_desc desc = s->add->desc;
        mz_op *lost = NULL;
        need(mz_op_bind(&lost, s->q2, &desc), "op");
        mz_queue_close(s->q2);
        s->q2 = NULL;
    }
    expect(s, s->q, &s->x, 1.0f);
}

static void device_closed_with_buffers(world *s)
{
    mz_buffer *lost = NULL;
    need(mz_device_open(&s->other, s->spec, NULL), "second device");
    need(mz_buffer_new(&lost, s->other, 100), "buffer");
    if (!s->bug) mz_buffer_free(lost);
    mz_device_close(s->other);
    s->other = NULL;
}

static void fault_never_asked_for(world *s)
{
    toy_flaw_now = TOY_FAILS;
    run_add(s, &s->y, &s->x, &s->z);
    if (!s->bug && mz_queue_sync(s->q) == MZ_OK) s->wrong = true; /* it must fail */
    mz_op_free(s->norm);
    mz_op_free(s->norm2);
    s->norm = s->norm2 = NULL;
    if (s->bug) {
        mz_queue *q = s->q;
        q->n_ops--; /* the op is leaked so that closing is the only thing wrong */
        s->add = NULL;
        s->q = NULL;
        mz_queue_close(q);
    }
    toy_flaw_now = TOY_NONE;
}

/* ---- synchronisation ---- */

/* An earlier round left the right numbers there: read early, they would do. */
static void download_read_early(world *s)
{
    float got[N];
    for (int i = 0; i < N; i++) got[i] = (float)i;
    need(mz_download(s->q, got, &s->x), "download");
    if (!s->bug) sync_now(s, s->q);
    for (int i = 0; i < N; i++)
        if (!(fabsf(got[i] - (float)i) <= 0.0f)) s->wrong = true;
    sync_now(s, s->q);
}

static void handle_followed(world *s)
{
    float got = 0.0f;
    if (s->bug)
        memcpy(&got, s->buf[0]->handle ? s->buf[0]->handle : s->buf[0]->host, sizeof got);
    else
        expect(s, s->q, &s->x, 1.0f);
    if (!(fabsf(got) <= 0.0f)) s->wrong = true;
}

static void handle_written(world *s)
{
    unsigned char *p = s->buf[0]->handle ? s->buf[0]->handle : s->buf[0]->host;
    if (s->bug) memset(p + BYTES - 1, 0, 1);
    expect(s, s->q, &s->x, 1.0f);
}

static void read_on_another_queue(world *s)
{
    run_add(s, &s->y, &s->x, &s->z);
    if (!s->bug) sync_now(s, s->q);
    expect(s, s->q2, &s->y, 3.0f);
}

static void overwritten_on_another_queue(world *s)
{
    run_add(s, &s->y, &s->x, &s->z);
    if (!s->bug) sync_now(s, s->q);
    need(mz_zero(s->q2, &s->z), "zero");
    sync_now(s, s->q2);
    expect(s, s->q, &s->y, 3.0f);
}

static void workspace_of_two_queues(world *s)
{
    const mz_desc desc = s->norm->desc;
    mz_op *second = NULL;
    need(mz_op_bind(&second, s->q2, &desc), "norm on the second queue");
    mz_buffer *own = s->q2->workspace;
    const mz_tensor left = tensor(s, 5, MZ_F32, T, D); /* unused rows of y for the second */
    if (s->bug) s->q2->workspace = s->q->workspace;
    const mz_args a = {.rmsnorm = {.y = &s->y, .saved = &s->saved, .x = &s->x, .w = &s->w}};
    const mz_args b = {.rmsnorm = {.y = &left, .x = &s->x, .w = &s->w}};
    if (mz_op_run(s->norm, MZ_FORWARD, &a) != MZ_OK) s->refused = true;
    if (mz_op_run(second, MZ_FORWARD, &b) != MZ_OK) s->refused = true;
    sync_now(s, s->q);
    sync_now(s, s->q2);
    s->q2->workspace = own;
    mz_op_free(second);
    expect_norm(s);
}

static void buffer_of_another_device(world *s)
{
    mz_buffer *foreign = NULL;
    need(mz_device_open(&s->other, s->spec, NULL), "second device");
    need(mz_buffer_new(&foreign, s->other, BYTES), "foreign buffer");
    const mz_tensor there = mz_view(foreign, 0, MZ_F32, 2, TD);
    run_add(s, &s->y, &s->x, s->bug ? &there : &s->z);
    expect(s, s->q, &s->y, s->bug ? 1.0f : 3.0f);
    mz_buffer_free(foreign);
}

/* ---- forward and backward ---- */

static void saved_of_another_op(world *s)
{
    run_norm(s, s->norm, MZ_FORWARD);
    run_norm(s, s->bug ? s->norm2 : s->norm, MZ_BACKWARD);
    sync_now(s, s->q);
}

static void saved_overwritten(world *s)
{
    run_norm(s, s->norm, MZ_FORWARD);
    const int64_t few = 8;
    const mz_tensor head = mz_view(s->buf[4], 0, MZ_U8, 1, &few);
    if (s->bug) need(mz_zero(s->q, &head), "zero");
    run_norm(s, s->norm, MZ_BACKWARD);
    sync_now(s, s->q);
}

static void input_changed_before_backward(world *s)
{
    run_norm(s, s->norm, MZ_FORWARD);
    if (s->bug) run_add(s, &s->x, &s->x, &s->z);
    run_norm(s, s->norm, MZ_BACKWARD);
    sync_now(s, s->q);
}

static void backward_without_forward(world *s)
{
    if (!s->bug) run_norm(s, s->norm, MZ_FORWARD);
    run_norm(s, s->norm, MZ_BACKWARD);
    sync_now(s, s->q);
}

static void saved_too_small(world *s)
{
    if (s->bug) s->saved.dim[0]--;
    run_norm(s, s->norm, MZ_FORWARD);
    expect_norm(s);
}

/* Gradients of activations are overwritten: this caller hopes that they add up. */
static void output_taken_for_a_sum(world *s)
{
    run_add(s, &s->y, &s->x, &s->z);
    if (s->bug) run_add(s, &s->y, &s->x, &s->z);
    expect(s, s->q, &s->y, s->bug ? 6.0f : 3.0f);
}

/* ---- chips with bugs ---- */

static void flaw(world *s, toy_flaw what)
{
    if (s->bug) toy_flaw_now = what;
}

static void chip_adds_to_its_output(world *s)
{
    flaw(s, TOY_ADDS);
    run_add(s, &s->y, &s->x, &s->z);
    expect(s, s->q, &s->y, 3.0f);
}

static void chip_writes_past_the_end(world *s)
{
    flaw(s, TOY_PAST_END);
    run_add(s, &s->y, &s->x, &s->z);
    expect(s, s->q, &s->y, 3.0f);
}

static void chip_trusts_its_workspace(world *s)
{
    flaw(s, TOY_DIRTY_SCRATCH);
    run_norm(s, s->norm, MZ_FORWARD);
    expect_norm(s);
}

static void chip_takes_more_workspace(world *s)
{
    flaw(s, TOY_PAST_SCRATCH);
    run_norm(s, s->norm, MZ_FORWARD);
    expect_norm(s);
}

static void chip_skips_a_row(world *s)
{
    float old[N];
    run_norm(s, s->norm, MZ_FORWARD); /* y holds the right rows already */
    need(mz_download(s->q, old, &s->y), "download");
    sync_now(s, s->q);
    flaw(s, TOY_SKIPS_ROW);
    run_norm(s, s->norm, MZ_FORWARD);
    expect_norm(s);
}

static void chip_fails_late(world *s)
{
    flaw(s, TOY_FAILS);
    run_add(s, &s->y, &s->x, &s->z);
    sync_now(s, s->q);
    toy_flaw_now = TOY_NONE;
}

/* ---- the list ---- */

typedef void program(world *s);
static const struct {
    const char *name;
    program *run;
    notice how;
    bool lazy_only;      /* a fast worker may be done before the bug strikes */
    bool silent_on_host; /* and the answer is right there */
} PROGRAMS[] = {
#define P(name) #name, name
    {P(use_after_free), FAULT, false, false},
    {P(free_before_sync), FAULT, false, true},
    {P(view_outlives_a_smaller_successor), FAULT, false, false},
    {P(op_freed_in_flight), FAULT, false, true},
    {P(upload_source_changed), FAULT, true, true},
    {P(upload_source_unmapped), FAULT, true, true},
    {P(download_target_unmapped), FAULT, true, true},
    {P(queue_closed_with_ops), MISUSE, false, false},
    {P(device_closed_with_buffers), MISUSE, false, false},
    {P(fault_never_asked_for), LOGGED, false, false},
    {P(download_read_early), WRONG, true, true},
    {P(handle_followed), TRAP, false, true},
    {P(handle_written), TRAP, false, false},
    {P(read_on_another_queue), FAULT, false, true},
    {P(overwritten_on_another_queue), FAULT, false, true},
    {P(workspace_of_two_queues), FAULT, false, true},
    {P(buffer_of_another_device), FAULT, false, true},
    {P(saved_of_another_op), FAULT, false, true},
    {P(saved_overwritten), FAULT, false, true},
    {P(input_changed_before_backward), FAULT, false, true},
    {P(backward_without_forward), FAULT, false, true},
    {P(saved_too_small), FAULT, false, true},
    {P(output_taken_for_a_sum), WRONG, false, false},
    {P(chip_adds_to_its_output), WRONG, false, true},
    {P(chip_writes_past_the_end), FAULT, false, false},
    {P(chip_trusts_its_workspace), WRONG, false, true},
    {P(chip_takes_more_workspace), FAULT, false, false},
    {P(chip_skips_a_row), WRONG, false, true},
    {P(chip_fails_late), FAULT, false, false},
#undef P
};

static void listen(void *user, mz_log_level level, const char *line)
{
    (void)user;
    if (watched && level == MZ_LOG_LOUD && line) watched->logged = true;
}

/* In the child: what was noticed becomes its exit code. */
static void live(program *run, const char *spec, bool bug)
{
    world s = {.bug = bug, .spec = spec};
    watched = &s;
    mz_log_to(listen, NULL);
    furnish(&s);
    run(&s);
    toy_flaw_now = TOY_NONE;
    tear_down(&s);
    if (s.failed) _exit(FAULT);
    if (s.refused) _exit(REFUSED);
    if (mz_far_misuses()) _exit(MISUSE);
    if (s.logged) _exit(LOGGED);
    _exit(s.wrong ? WRONG : SILENT);
}

static notice outcome(program *run, const char *spec, bool bug)
{
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* The test program's own handlers would go on with the next test. */
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        live(run, spec, bug);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? TRAP : (notice)WEXITSTATUS(status);
}

static void every_bug_is_noticed_and_nothing_else(void **state)
{
    (void)state;
    static const char *const specs[] = {"far:lazy,on=toy", "far:on=toy", "far:slow=5,on=toy"};
    int bad = 0;
    for (int i = 0; i < MZ_COUNT(PROGRAMS); i++)
        for (int k = 0; k < (PROGRAMS[i].lazy_only ? 1 : MZ_COUNT(specs)); k++) {
            const notice with = outcome(PROGRAMS[i].run, specs[k], true);
            const notice without = outcome(PROGRAMS[i].run, specs[k], false);
            if (with == PROGRAMS[i].how && without == SILENT) continue;
            print_error("%s on %s: noticed as %d, want %d; without the bug %d\n", PROGRAMS[i].name,
                        specs[k], (int)with, (int)PROGRAMS[i].how, (int)without);
            bad++;
        }
    assert_int_equal(bad, 0);
}

static void on_a_host_chip_most_of_them_stay_hidden(void **state)
{
    (void)state;
    int hidden = 0;
    for (int i = 0; i < MZ_COUNT(PROGRAMS); i++) {
        if (!PROGRAMS[i].silent_on_host) continue;
        const notice there = outcome(PROGRAMS[i].run, "toy", true);
        if (there != SILENT) print_error("%s on toy: %d\n", PROGRAMS[i].name, (int)there);
        assert_int_equal(there, SILENT);
        hidden++;
    }
    assert_true(hidden >= 15);
}

/* cu_host is the caller's memory until the sync, as uploads are. */
static void cu_host_changed(void **state)
{
    (void)state;
    int32_t cu[2] = {0, T};
    mz_device *device = NULL;
    mz_queue *q = NULL;
    mz_op *op = NULL;
    mz_buffer *buf = NULL, *ends = NULL;
    const mz_desc desc = {.kind = MZ_OP_ATTENTION,
                          .u.attention = {.dtype = MZ_F32,
                                          .T_max = T,
                                          .sequences_max = 1,
                                          .H = 1,
                                          .G = 1,
                                          .K = D,
                                          .W = D,
                                          .scale = 1.0,
                                          .causal = true}};
    const int64_t two = 2;
    assert_int_equal(mz_device_open(&device, "far:lazy,on=ref", NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&q, device), MZ_OK);
    assert_int_equal(mz_bind(&op, q, &desc), MZ_OK);
    assert_int_equal(mz_buffer_new(&buf, device, 64 + BYTES), MZ_OK);
    assert_int_equal(mz_buffer_new(&ends, device, sizeof cu), MZ_OK);
    const int64_t dim[3] = {T, 1, D};
    const mz_tensor x = mz_view(buf, 0, MZ_F32, 3, dim), y = mz_view(buf, 64, MZ_F32, 3, dim);
    const mz_tensor e = mz_view(ends, 0, MZ_I32, 1, &two);
    mz_args a = {.attention = {.out = &y, .q = &x, .k = &x, .v = &x, .cu = &e}};
    a.k.attention.cu_host = cu;
    assert_int_equal(mz_upload(q, &e, (const int32_t[]){0, T}), MZ_OK);
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    for (int bug = 0; bug < 2; bug++) {
        assert_int_equal(mz_forward(op, &a), MZ_OK);
        cu[1] -= bug;
        assert_int_equal(mz_queue_sync(q), bug ? MZ_EINVAL : MZ_OK);
    }
    assert_non_null(strstr(mz_err_last()->message, "cu_host changed"));
    mz_op_free(op);
    mz_buffer_free(buf);
    mz_buffer_free(ends);
    mz_queue_close(q);
    mz_device_close(device);
}

static int setup(void **state)
{
    (void)state;
    return mz_chip_register(toy_chip()) == MZ_OK && mz_chip_register(&mz_chip_ref) == MZ_OK &&
                   mz_chip_register(mz_far_chip()) == MZ_OK
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bug_is_noticed_and_nothing_else),
        cmocka_unit_test(on_a_host_chip_most_of_them_stay_hidden),
        cmocka_unit_test(cu_host_changed),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
