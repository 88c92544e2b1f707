/* SPDX-License-Identifier: Apache-2.0 */
/* tests/comm/test_local.c - ranks on one machine: what the group calls give, in which order sums
 * are made, that nothing is lost in the rings, and that a rank that dies, hangs or fails is named.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "comms/local/local.h"
#include "tests/near.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const CHIPS[] = {"one", "two", "three", "four", "five"};

/* In a rank a failed check cannot reach cmocka: it becomes the error of its process. */
#define NEED(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) return MZ_FAIL(MZ_ENUMERIC, "line %d: %s", __LINE__, #cond);                  \
    } while (0)

static mz_err run_as(int size, mz_err (*body)(void *, mz_comm *), mz_local_report *report)
{
    const mz_local l = {.size = size, .chips = CHIPS, .body = body, .stall_s = 0.6};
    return mz_local_run(&l, report);
}

static void all_well(int size, mz_err (*body)(void *, mz_comm *))
{
    mz_local_report report;
    if (run_as(size, body, &report) != MZ_OK)
        fail_msg("%d ranks: rank %d: %s", size, report.rank, mz_err_last()->message);
    assert_int_equal(report.end, MZ_LOCAL_DONE);
}

/* ---- the group calls ---- */

static mz_err group_calls(void *user, mz_comm *c)
{
    (void)user;
    int64_t first[8] = {0}, n[5] = {3, 0, 40000, 7, 100000}; /* one part empty, one in pieces */
    int32_t word = c->rank == 1 % c->size ? 77 : 0, all[5] = {0}, mine = 10 + c->rank;
    MZ_TRY(mz_comm_barrier(c));
    MZ_TRY(mz_comm_broadcast(c, 1 % c->size, &word, sizeof word));
    NEED(word == 77);
    MZ_TRY(mz_comm_gather(c, 0, &mine, sizeof mine, all));
    for (int r = 0; r < c->size && c->rank == 0; r++) NEED(all[r] == 10 + r);
    double x[2] = {1.0 + c->rank, 1e-17};
    MZ_TRY(mz_comm_sum(c, x, 2));
    NEED(fabs(x[0] - 0.5 * c->size * (c->size + 1)) < 1e-12 &&
         fabs(x[1] - 1e-17 * c->size) < 1e-20);
    for (int r = 0; r < c->size; r++) first[r + 1] = first[r] + n[r];
    const int64_t total = first[c->size];
    float *g = NULL;
    MZ_TRY(mz_mem_new(&g, total, sizeof *g));
    for (int64_t i = 0; i < total; i++) g[i] = (float)(i % 1000) + (float)(1000 * c->rank);
    MZ_TRY(mz_comm_sum_parts(c, g, first));
    const float ranks = (float)c->size, above = 500.0f * ranks * (ranks - 1.0f);
    for (int64_t i = 0; i < total; i++) {
        const bool own = i >= first[c->rank] && i < first[c->rank + 1];
        const float base = (float)(i % 1000);
        NEED(fabsf(g[i] - (own ? ranks * base + above : base + 1000.0f * (float)c->rank)) < 0.5f);
        g[i] = own ? base : -1.0f;
    }
    for (int r = 0; r <= c->size; r++) first[r] *= (int64_t)sizeof *g;
    MZ_TRY(mz_comm_share(c, g, first));
    for (int64_t i = 0; i < total; i++) NEED(fabsf(g[i] - (float)(i % 1000)) < 0.5f);
    mz_mem_free(g);
    return mz_comm_barrier(c);
}

static void test_groups(void **state)
{
    (void)state;
    for (int size = 1; size <= 5; size++) all_well(size, group_calls);
}

/* 2^24 and two ones: in f32 they vanish one after the other, in f64 they do not. And 1e16 + 1 -
 * 1e16 in f64 says in which order the ranks were added. */
static mz_err order(void *user, mz_comm *c)
{
    (void)user;
    const int64_t first[4] = {0, 1, 2, 3};
    float g[3];
    for (int i = 0; i < 3; i++) g[i] = c->rank == 0 ? 16777216.0f : 1.0f;
    MZ_TRY(mz_comm_sum_parts(c, g, first));
    NEED(fabsf(g[c->rank] - 16777218.0f) < 0.5f);
    const double big[3] = {1e16, 1.0, -1e16}; /* (1e16 + 1) - 1e16 = 0 */
    double x = big[c->rank];
    MZ_TRY(mz_comm_sum(c, &x, 1));
    NEED(fabs(x) < 0.5);
    const double late[3] = {1e16, -1e16, 1.0};
    x = late[c->rank];
    MZ_TRY(mz_comm_sum(c, &x, 1));
    NEED(fabs(x - 1.0) < 1e-12);
    return MZ_OK;
}

static void test_order(void **state)
{
    (void)state;
    all_well(3, order);
}

/* Ranks 0 and 3 have added up among themselves, 1 and 2 are alone: of each slice the group's sum
 * comes once, and from rank 0, which alone reads what is outside of its own part. */
static mz_err sum_of_groups(void *user, mz_comm *c)
{
    (void)user;
    static const int group[4] = {0, 1, 2, 0};
    const int64_t first[5] = {0, 2, 70002, 70003, 70010};
    const float have[4] = {16777216.0f, 1.0f, 1.0f, 16777216.0f}; /* of a group: its sum */
    float *g = NULL;
    MZ_TRY(mz_mem_new(&g, first[4], sizeof *g));
    for (int64_t i = 0; i < first[4]; i++) {
        const bool own = i >= first[c->rank] && i < first[c->rank + 1];
        g[i] = c->rank != 3 || own ? have[c->rank] : (float)NAN;
    }
    MZ_TRY(mz_comm_sum_groups(c, g, first, group));
    for (int64_t i = first[c->rank]; i < first[c->rank + 1]; i++)
        NEED(fabsf(g[i] - 16777218.0f) < 0.5f);
    if (c->rank == 0) NEED(fabsf(g[first[3]] - have[0]) < 0.5f);
    mz_mem_free(g);
    return mz_comm_barrier(c);
}

static void test_sum_of_groups(void **state)
{
    (void)state;
    all_well(4, sum_of_groups);
}

/* Messages of all sizes around the ring's, both ways at once, against a stream both ends can draw.
 */
static mz_err storm(void *user, mz_comm *c)
{
    (void)user;
    enum { MOST = 700000, ROUNDS = 60 };
    unsigned char *out = NULL, *in = NULL;
    mz_rng sizes, mine, theirs;
    MZ_TRY(mz_mem_new(&out, MOST, 1));
    MZ_TRY(mz_mem_new(&in, MOST, 1));
    mz_rng_init(&sizes, 5, 0);
    mz_rng_init(&mine, 6, (uint64_t)c->rank);
    mz_rng_init(&theirs, 6, (uint64_t)(1 - c->rank));
    for (int i = 0; i < ROUNDS; i++) {
        size_t n[2];
        for (int k = 0; k < 2; k++) n[k] = (size_t)mz_rng_below(&sizes, i % 3 ? 300 : MOST);
        const mz_exchange x = {.to = 1 - c->rank,
                               .from = 1 - c->rank,
                               .out = out,
                               .in = in,
                               .out_bytes = n[c->rank],
                               .in_bytes = n[1 - c->rank]};
        const unsigned a = (unsigned)mz_rng_below(&mine, 255);
        const unsigned b = (unsigned)mz_rng_below(&theirs, 255);
        for (size_t k = 0; k < x.out_bytes; k++) out[k] = (unsigned char)(a + k * 7);
        MZ_TRY(c->table->exchange(c, &x));
        for (size_t k = 0; k < x.in_bytes; k++) NEED(in[k] == (unsigned char)(b + k * 7));
    }
    mz_mem_free(out);
    mz_mem_free(in);
    return MZ_OK;
}

static void test_storm(void **state)
{
    (void)state;
    all_well(2, storm);
}

/* ---- faults ---- */

static int64_t *fault_ns; /* shared with the ranks */

/* Rank 1 goes on in some way while the others wait for it. */
static mz_err fault(mz_comm *c, int signal_number)
{
    mz_comm_phase(c, MZ_PHASE_UPDATE, 7);
    MZ_TRY(mz_comm_barrier(c));
    if (c->rank == 1) {
        *c->pulse = 5u << 16 | (unsigned)MZ_OP_ADAMW << 1;
        *fault_ns = mz_clock_ns();
        (void)kill(getpid(), signal_number);
    }
    return mz_comm_barrier(c);
}

static mz_err dies(void *user, mz_comm *c)
{
    (void)user;
    return fault(c, SIGKILL);
}

static mz_err stops(void *user, mz_comm *c)
{
    (void)user;
    return fault(c, SIGSTOP);
}

static mz_err leaves(void *user, mz_comm *c)
{
    (void)user;
    if (c->rank == 2) _exit(3);
    return mz_comm_barrier(c);
}

static mz_err fails(void *user, mz_comm *c)
{
    (void)user;
    if (c->rank == 2) {
        const mz_err err = MZ_FAIL(MZ_ENUMERIC, "a loss of %d", 12);
        mz_note_where("rows.jsonl", "ids", 4);
        return err;
    }
    return mz_comm_barrier(c);
}

static double seconds_since_fault(const mz_local_report *r)
{
    return (double)(r->noticed_ns - *fault_ns) * 1e-9;
}

static void test_crash(void **state)
{
    (void)state;
    mz_local_report r;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(run_as(3, dies, &r), MZ_ETIMEOUT);
        assert_int_equal(r.end, MZ_LOCAL_CRASH);
        assert_int_equal(r.rank, 1);
        assert_int_equal(r.phase, MZ_PHASE_UPDATE);
        assert_int_equal(r.step, 7);
        assert_true(seconds_since_fault(&r) < 1.0);
        if (!strstr(mz_err_last()->message,
                    "rank 1 on two died of signal 9 (Killed), in phase update of step 7; its last "
                    "operator was adamw forward"))
            fail_msg("%s", mz_err_last()->message);
    }
    assert_int_equal(run_as(4, leaves, &r), MZ_ETIMEOUT);
    assert_int_equal(r.end, MZ_LOCAL_CRASH);
    assert_int_equal(r.rank, 2);
    assert_non_null(strstr(mz_err_last()->message, "ended with code 3 and said nothing"));
}

static void test_stall(void **state)
{
    (void)state;
    mz_local_report r;
    assert_int_equal(run_as(2, stops, &r), MZ_ETIMEOUT);
    assert_int_equal(r.end, MZ_LOCAL_STALL);
    assert_int_equal(r.rank, 1);
    assert_true(seconds_since_fault(&r) > 0.4 && seconds_since_fault(&r) < 4.0);
    const mz_local l = {.size = 2, .chips = CHIPS, .body = stops};
    assert_int_equal(mz_local_run(&l, &r), MZ_ETIMEOUT); /* as a run has it */
    assert_true(seconds_since_fault(&r) < 4.0);
}

static void test_failure(void **state)
{
    (void)state;
    mz_local_report r;
    assert_int_equal(run_as(4, fails, &r), MZ_ENUMERIC);
    assert_int_equal(r.end, MZ_LOCAL_FAILED);
    assert_int_equal(r.rank, 2);
    assert_string_equal(mz_err_last()->message, "a loss of 12");
    assert_string_equal(mz_err_last()->field, "ids");
    assert_int_equal(mz_err_last()->offset, 4);
}

/* A driver call that does not come back: the heart beats, the step does not move. The other rank
 * waits, and is not taken for it. */
static mz_err hangs(void *user, mz_comm *c)
{
    (void)user;
    mz_comm_phase(c, MZ_PHASE_COMPUTE, 3);
    for (int i = 0; c->rank == 0 && i < 1000; i++) mz_clock_sleep_ns(10000000); /* ten seconds */
    return mz_comm_barrier(c);
}

static void test_stuck(void **state)
{
    (void)state;
    mz_local_report r;
    const mz_local l = {.size = 2, .chips = CHIPS, .body = hangs, .stuck_s = 0.3};
    assert_int_equal(mz_local_run(&l, &r), MZ_ETIMEOUT);
    assert_int_equal(r.end, MZ_LOCAL_STUCK);
    assert_int_equal(r.rank, 0);
}

/* ---- ends ---- */

static bool always(void *user)
{
    (void)user;
    return true;
}

static mz_err until_told(void *user, mz_comm *c)
{
    (void)user;
    for (int i = 0; i < 500; i++) {
        if (mz_local_is_stopping(c)) return MZ_FAIL(MZ_EINTR, "told to stop");
        mz_clock_sleep_ns(10000000);
    }
    return MZ_OK;
}

static void test_told_to_stop(void **state)
{
    (void)state;
    mz_local_report r;
    const mz_local l = {.size = 2, .chips = CHIPS, .body = until_told, .stops = always};
    assert_int_equal(mz_local_run(&l, &r), MZ_EINTR);
    assert_int_equal(r.end, MZ_LOCAL_FAILED);
}

/* One that writes a checkpoint when another dies finishes it. */
static mz_err saves(void *user, mz_comm *c)
{
    (void)user;
    MZ_TRY(mz_comm_barrier(c));
    if (c->rank == 1) (void)kill(getpid(), SIGKILL);
    mz_comm_phase(c, MZ_PHASE_SAVE, 9);
    mz_clock_sleep_ns(1200000000); /* longer than those may stay that do not save */
    *fault_ns = 4711;
    return MZ_OK;
}

static void test_save_is_finished(void **state)
{
    (void)state;
    mz_local_report r;
    *fault_ns = 0;
    assert_int_equal(run_as(2, saves, &r), MZ_ETIMEOUT);
    assert_int_equal(r.rank, 1);
    assert_int_equal(*fault_ns, 4711);
}

/* The supervisor is killed: its ranks go with it. */
static void test_no_orphans(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    const pid_t supervisor = fork();
    assert_true(supervisor >= 0);
    if (supervisor == 0) {
        mz_local_report r;
        (void)close(ends[0]);
        (void)run_as(3, hangs, &r);
        _exit(0);
    }
    (void)close(ends[1]); /* the ranks hold the other one */
    mz_clock_sleep_ns(200000000);
    assert_int_equal(kill(supervisor, SIGKILL), 0);
    const int64_t begun = mz_clock_ns();
    assert_int_equal(read(ends[0], &byte, 1), 0); /* comes back when the last of them is gone */
    assert_true(mz_clock_ns() - begun < 2000000000);
    (void)close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),        cmocka_unit_test(test_order),
        cmocka_unit_test(test_sum_of_groups), cmocka_unit_test(test_storm),
        cmocka_unit_test(test_crash),         cmocka_unit_test(test_stall),
        cmocka_unit_test(test_failure),       cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_told_to_stop),  cmocka_unit_test(test_save_is_finished),
        cmocka_unit_test(test_no_orphans),
    };
    fault_ns =
        mmap(NULL, sizeof *fault_ns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return fault_ns == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
