/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_hccl.c - the emulated HCCL: collectives against plain sums, by ranks that are
 * processes and ranks that are threads; its contract; ranks that disagree, are late, or are killed;
 * planned faults; that nothing is left behind. Every team runs in processes of its own. */
#include "tests/emu/team.h"

#include <dirent.h>

enum { BIG = 270001 }; /* more than goes into a round */

static int differs(const rank *r, const char *call, const kind *k, int op, uint64_t i, uint64_t got,
                   uint64_t want)
{
    (void)fprintf(stderr, "rank %d of %d: %s %s op %d: element %llu is %llx, not %llx\n", r->rank,
                  r->n, call, k->name, op, (unsigned long long)i, (unsigned long long)got,
                  (unsigned long long)want);
    return 1;
}

/* ---- every collective ---- */

static int all_reduce(rank *r, const kind *k, int op, uint64_t seed, uint64_t count, bool in_place)
{
    void *x = give(r, k, seed, 0, count), *y = in_place ? x : give(r, k, 1, 0, count);
    NEED(x && y, 1);
    MUST(HcclAllReduce(x, y, count, k->type, op, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, count * k->size);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t want = reduced(k, op, seed, r->n, i);
        if (get(got, k, i) != want)
            return differs(r, "HcclAllReduce", k, op, i, get(got, k, i), want);
    }
    free(got);
    MUST(aclrtFree(x));
    if (!in_place) MUST(aclrtFree(y));
    return 0;
}

static int reduce_to_one(rank *r, const kind *k, int op, uint64_t seed, uint64_t count)
{
    const uint32_t root = (uint32_t)(seed % (uint64_t)r->n);
    void *x = give(r, k, seed, 0, count), *y = give(r, k, 1, 0, count);
    NEED(x && y, 1);
    MUST(HcclReduce(x, (uint32_t)r->rank == root ? y : NULL, count, k->type, op, root, r->comm,
                    r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, count * k->size);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t want =
            (uint32_t)r->rank == root ? reduced(k, op, seed, r->n, i) : given(k, 1, r->rank, i);
        if (get(got, k, i) != want) return differs(r, "HcclReduce", k, op, i, get(got, k, i), want);
    }
    free(got);
    MUST(aclrtFree(x));
    MUST(aclrtFree(y));
    return 0;
}

static int reduce_scatter(rank *r, const kind *k, int op, uint64_t seed, uint64_t count)
{
    const uint64_t n = (uint64_t)r->n, first = (uint64_t)r->rank * count;
    void *x = give(r, k, seed, 0, n * count), *y = give(r, k, 1, 0, count);
    NEED(x && y, 1);
    MUST(HcclReduceScatter(x, y, count, k->type, op, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, count * k->size);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t want = reduced(k, op, seed, r->n, first + i);
        if (get(got, k, i) != want)
            return differs(r, "HcclReduceScatter", k, op, i, get(got, k, i), want);
    }
    free(got);
    MUST(aclrtFree(x));
    MUST(aclrtFree(y));
    return 0;
}

static int all_gather(rank *r, const kind *k, uint64_t seed, uint64_t count)
{
    const uint64_t n = (uint64_t)r->n;
    void *x = give(r, k, seed, 0, count), *y = give(r, k, 1, 0, n * count);
    NEED(x && y, 1);
    MUST(HcclAllGather(x, y, count, k->type, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, n * count * k->size);
    for (uint64_t i = 0; i < n * count; i++) {
        const uint64_t want = given(k, seed, (int)(i / count), i % count);
        if (get(got, k, i) != want)
            return differs(r, "HcclAllGather", k, -1, i, get(got, k, i), want);
    }
    free(got);
    MUST(aclrtFree(x));
    MUST(aclrtFree(y));
    return 0;
}

static int broadcast(rank *r, const kind *k, uint64_t seed, uint64_t count)
{
    const uint32_t root = (uint32_t)(seed % (uint64_t)r->n);
    void *x = give(r, k, seed, 0, count);
    NEED(x != NULL, 1);
    MUST(HcclBroadcast(x, count, k->type, root, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(x, count * k->size);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t want = given(k, seed, (int)root, i);
        if (get(got, k, i) != want)
            return differs(r, "HcclBroadcast", k, -1, i, get(got, k, i), want);
    }
    free(got);
    MUST(aclrtFree(x));
    return 0;
}

static int scatter(rank *r, const kind *k, uint64_t seed, uint64_t count)
{
    const uint64_t n = (uint64_t)r->n, first = (uint64_t)r->rank * count;
    const uint32_t root = (uint32_t)(seed % n);
    void *x = give(r, k, seed, 0, n * count), *y = give(r, k, 1, 0, count);
    NEED(x && y, 1);
    MUST(HcclScatter((uint32_t)r->rank == root ? x : NULL, y, count, k->type, root, r->comm,
                     r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, count * k->size);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t want = given(k, seed, (int)root, first + i);
        if (get(got, k, i) != want)
            return differs(r, "HcclScatter", k, -1, i, get(got, k, i), want);
    }
    free(got);
    MUST(aclrtFree(x));
    MUST(aclrtFree(y));
    return 0;
}

static bool has_no(const kind *k, int op)
{
    return op == EMU_HCCL_PROD && (k->type == EMU_HCCL_INT16 || k->type == EMU_HCCL_BFP16);
}

static int every_one(rank *r)
{
    uint64_t seed = r->t->seed;
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        const kind *k = &KINDS[i];
        const uint64_t count = 1 + mix(seed + i) % 700;
        const uint64_t large = i < 2 && r->n == 2 ? (i + 1) * BIG : count;
        for (int op = EMU_HCCL_SUM; op <= EMU_HCCL_MIN; op++) {
            seed = mix(seed);
            if (has_no(k, op)) continue;
            const uint64_t here = op == EMU_HCCL_SUM ? large : count;
            if (all_reduce(r, k, op, seed, here, op % 2 == 0)) return 1;
            if (reduce_scatter(r, k, op, seed + 1, op == EMU_HCCL_MAX ? large : count)) return 1;
            if (reduce_to_one(r, k, op, seed + 2, count)) return 1;
        }
        if (all_gather(r, k, seed, large) || broadcast(r, k, seed, large)) return 1;
        if (scatter(r, k, seed, large)) return 1;
        MUST(HcclBarrier(r->comm, r->stream));
    }
    MUST(aclrtSynchronizeStream(r->stream));
    return 0;
}

static void processes_agree_with_plain_sums(void **state)
{
    (void)state;
    assert_int_equal(run_team(1, false, every_one, NULL), 0);
    assert_int_equal(run_team(2, false, every_one, NULL), 0);
    assert_int_equal(run_team(3, false, every_one, NULL), 0);
}

static void threads_agree_with_plain_sums(void **state)
{
    (void)state;
    assert_int_equal(run_team(2, true, every_one, NULL), 0);
    assert_int_equal(run_team(4, true, every_one, NULL), 0);
}

/* ---- asynchronous, and in order ---- */

/* Rank 0's calls are over before rank 1 begins with its own. */
static int ask_early(rank *r)
{
    const kind *k = &KINDS[0];
    const uint64_t count = 5000;
    team *t = r->t;
    void *x = give(r, k, t->seed, 0, count), *y = give(r, k, 1, 0, count);
    int status = 0;
    NEED(x && y, 1);
    if (r->rank == 1)
        while (!atomic_load(&t->flag[0])) (void)usleep(500);
    MUST(HcclAllReduce(x, y, count, k->type, EMU_HCCL_SUM, r->comm, r->stream));
    MUST(HcclAllReduce(y, x, count, k->type, EMU_HCCL_MAX, r->comm, r->stream));
    MUST(aclrtMemcpyAsync(y, count * 4, x, count * 4, 3, r->stream)); /* after both */
    if (r->rank == 0) {
        MUST(aclrtStreamQuery(r->stream, &status));
        NEED(status, 1);
        atomic_store(&t->flag[0], 1);
    }
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, count * 4);
    for (uint64_t i = 0; i < count; i++)
        NEED(get(got, k, i), reduced(k, EMU_HCCL_SUM, t->seed, 2, i));
    free(got);
    return 0;
}

static void calls_return_before_the_others_come(void **state)
{
    (void)state;
    assert_int_equal(run_team(2, false, ask_early, NULL), 0);
    assert_int_equal(run_team(2, true, ask_early, NULL), 0);
}

/* ---- the contract ---- */

static int refuses(rank *r)
{
    enum { N = 100 };
    void *x = give(r, &KINDS[0], 1, 0, N), *y = give(r, &KINDS[0], 1, 0, N);
    void *other = NULL, *host = malloc(N * 4);
    HcclComm gone = NULL;
    HcclResult error = -1;
    uint32_t n = 0;
    char name[EMU_HCCL_NAME] = "";
    aclrtStream s = r->stream, elsewhere = NULL;
    NEED(x && y && host, 1);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP32, 0, NULL, s), EMU_HCCL_PTR);
    SAYS("EI0003: HcclAllReduce: comm is NULL");
    NEED(HcclAllReduce(NULL, y, N, EMU_HCCL_FP32, 0, r->comm, s), EMU_HCCL_PTR);
    NEED(HcclAllReduce(x, NULL, N, EMU_HCCL_FP32, 0, r->comm, s), EMU_HCCL_PTR);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP32, 0, r->comm, NULL), EMU_HCCL_PTR);
    SAYS("stream is NULL");
    NEED(HcclAllReduce(host, y, N, EMU_HCCL_FP32, 0, r->comm, s), EMU_HCCL_PARA);
    SAYS("is not memory of a device");
    NEED(HcclAllReduce(x, y, N + 100, EMU_HCCL_FP32, 0, r->comm, s), EMU_HCCL_PARA);
    SAYS("are not all in one allocation");
    NEED(HcclAllReduce(x, y, UINT64_MAX / 4, EMU_HCCL_FP32, 0, r->comm, s), EMU_HCCL_PARA);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP64, 0, r->comm, s), EMU_HCCL_NOT_SUPPORT);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_UINT8, 0, r->comm, s), EMU_HCCL_NOT_SUPPORT);
    NEED(HcclAllReduce(x, y, N, 12, 0, r->comm, s), EMU_HCCL_NOT_SUPPORT);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP32, 4, r->comm, s), EMU_HCCL_NOT_SUPPORT);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_INT16, EMU_HCCL_PROD, r->comm, s), EMU_HCCL_NOT_SUPPORT);
    SAYS("prod has no int16");
    NEED(HcclBroadcast(x, N, EMU_HCCL_FP32, 1, r->comm, s), EMU_HCCL_PARA);
    SAYS("rank 1 of 1 ranks");
    MUST(aclrtSetDevice(1));
    MUST(aclrtMalloc(&other, N * 4, 0));
    MUST(aclrtCreateStream(&elsewhere));
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP32, 0, r->comm, elsewhere), EMU_HCCL_PARA);
    SAYS("the stream is of device 1");
    MUST(aclrtSetDevice(0));
    NEED(HcclAllReduce(x, other, N, EMU_HCCL_FP32, 0, r->comm, s), EMU_HCCL_PARA);
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP32, 0, r->comm, x), EMU_HCCL_PARA);
    NEED(HcclGetRankId(r->comm, NULL), EMU_HCCL_PTR);
    NEED(HcclGetRankSize(NULL, &n), EMU_HCCL_PTR);
    MUST(HcclGetRankSize(r->comm, &n));
    NEED(n, 1);
    MUST(HcclGetCommName(r->comm, name));
    NEED(name[0] != 0, 1);
    MUST(HcclGetCommAsyncError(r->comm, &error));
    NEED(error, 0);
    MUST(HcclAllReduce(NULL, NULL, 0, EMU_HCCL_FP32, 0, r->comm, s)); /* nothing to do */
    gone = r->comm;
    MUST(HcclCommDestroy(r->comm));
    r->comm = NULL;
    NEED(HcclCommDestroy(gone), EMU_HCCL_PARA);
    SAYS("no communicator that lives");
    NEED(HcclAllReduce(x, y, N, EMU_HCCL_FP32, 0, gone, s), EMU_HCCL_PARA);
    NEED(HcclGetCommAsyncError(gone, &error), EMU_HCCL_PARA);
    free(host);
    return 0;
}

static int refuses_to_join(rank *r)
{
    static char root[EMU_HCCL_ROOT_BYTES], empty[EMU_HCCL_ROOT_BYTES];
    HcclRootInfo *info = (HcclRootInfo *)(void *)root;
    HcclComm comm = NULL, comms[2] = {NULL, NULL};
    struct {
        size_t size;
        uint32_t magic, version;
        uint64_t reserved;
        uint32_t buffer_mb, deterministic;
        char name[128], rest[1000];
    } config = {.size = 300,
                .magic = 0xF0F0F0F0,
                .version = 5,
                .buffer_mb = 1,
                .deterministic = 1,
                .name = "the world"};
    const HcclCommConfig *c = (const void *)&config;
    char name[EMU_HCCL_NAME];
    NEED(HcclGetRootInfo(NULL), EMU_HCCL_PTR);
    MUST(HcclGetRootInfo(info));
    NEED(HcclCommInitRootInfo(1, NULL, 0, &comm), EMU_HCCL_PTR);
    NEED(HcclCommInitRootInfo(1, info, 0, NULL), EMU_HCCL_PTR);
    NEED(HcclCommInitRootInfo(0, info, 0, &comm), EMU_HCCL_PARA);
    NEED(HcclCommInitRootInfo(9, info, 0, &comm), EMU_HCCL_NOT_SUPPORT);
    NEED(HcclCommInitRootInfo(2, info, 2, &comm), EMU_HCCL_PARA);
    SAYS("rank 2 of 2");
    NEED(HcclCommInitRootInfo(1, (HcclRootInfo *)(void *)empty, 0, &comm), EMU_HCCL_PARA);
    NEED(HcclCommInitRootInfoConfig(1, info, 0, NULL, &comm), EMU_HCCL_PTR);
    config.magic = 0;
    NEED(HcclCommInitRootInfoConfig(1, info, 0, c, &comm), EMU_HCCL_PARA);
    SAYS("not initialised");
    config.magic = 0xF0F0F0F0;
    MUST(HcclCommInitRootInfoConfig(1, info, 0, c, &comm));
    MUST(HcclGetCommName(comm, name));
    NEED(strcmp(name, "the world"), 0);
    NEED(HcclCommInitRootInfo(1, info, 0, &comms[0]), EMU_HCCL_TIMEOUT); /* it is used */
    SAYS("EI0006");
    MUST(HcclCommDestroy(comm));
    int32_t devices[2] = {1, 1};
    NEED(HcclCommInitAll(2, devices, comms), EMU_HCCL_PARA);
    devices[0] = 0;
    MUST(HcclCommInitAll(2, devices, comms));
    int32_t now = -1;
    MUST(aclrtGetDevice(&now));
    NEED(now, 0);
    MUST(HcclCommDestroy(comms[0]));
    MUST(HcclCommDestroy(comms[1]));
    return 0;
}

static int stay_alone(rank *r)
{
    (void)r;
    return 0;
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    assert_int_equal(run_team(1, false, refuses, NULL), 0);
    assert_int_equal(run_team(1, false, refuses_to_join, stay_alone), 0);
}

/* A call that is not fit for its own rank is refused there; what the ranks see differently, at the
 * next wait of every rank. */
static int which;
static int disagree(rank *r)
{
    const kind *k = &KINDS[0];
    HcclResult error = 0;
    const bool odd = r->rank == 1;
    void *x = give(r, k, 1, 0, 100), *y = give(r, k, 1, 0, 400);
    const char *what = "";
    NEED(x && y, 1);
    switch (which) {
    case 0:
        what = "count is";
        MUST(HcclAllReduce(x, y, odd ? 99 : 100, k->type, 0, r->comm, r->stream));
        break;
    case 1:
        what = "dataType is";
        MUST(HcclAllReduce(x, y, 50, odd ? EMU_HCCL_FP16 : EMU_HCCL_FP32, 0, r->comm, r->stream));
        break;
    case 2:
        what = "op is";
        MUST(HcclAllReduce(x, y, 100, k->type, odd, r->comm, r->stream));
        break;
    case 3:
        what = "root is";
        MUST(HcclBroadcast(x, 100, k->type, odd, r->comm, r->stream));
        break;
    default:
        what = "the call is";
        if (odd) MUST(HcclAllGather(x, y, 100, k->type, r->comm, r->stream));
        if (!odd) MUST(HcclBroadcast(x, 100, k->type, 0, r->comm, r->stream));
    }
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    const char *said = aclGetRecentErrMsg();
    NEED(said && strstr(said, "EI0005") && strstr(said, what), 1);
    MUST(HcclGetCommAsyncError(r->comm, &error));
    NEED(error != 0, 1);
    MUST(HcclBarrier(r->comm, r->stream)); /* it does not come back */
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    return 0;
}

static void ranks_that_disagree_are_told(void **state)
{
    (void)state;
    for (which = 0; which < 5; which++) assert_int_equal(run_team(2, which % 2, disagree, NULL), 0);
}

/* ---- joining ---- */

static int join_twice(rank *r) /* as rank 0 both, or as two of different numbers of ranks */
{
    HcclComm comm = NULL;
    if (share_root(r) != 0) return 1;
    HcclRootInfo *info = (HcclRootInfo *)(void *)r->t->root;
    const uint32_t n = which ? 2 + (uint32_t)r->rank : 2, me = which ? (uint32_t)r->rank : 0;
    const HcclResult code = HcclCommInitRootInfo(n, info, me, &comm);
    NEED(code == EMU_HCCL_PARA || code == EMU_HCCL_TIMEOUT, 1);
    atomic_fetch_add(&r->t->flag[0], code == EMU_HCCL_PARA);
    return 0;
}

static int one_device(rank *r)
{
    if (share_root(r) != 0) return 1;
    MUST(aclrtSetDevice(3));
    NEED(HcclCommInitRootInfo(2, (HcclRootInfo *)(void *)r->t->root, (uint32_t)r->rank, &r->comm),
         EMU_HCCL_PARA);
    SAYS("both on device 3");
    MUST(aclrtSetDevice(r->rank));
    return 0;
}

static int nobody_comes(rank *r)
{
    HcclComm comm = NULL;
    if (share_root(r) != 0) return 1;
    NEED(HcclCommInitRootInfo(2, (HcclRootInfo *)(void *)r->t->root, 0, &comm), EMU_HCCL_TIMEOUT);
    SAYS("EI0006: rank 0 waited 1 s (HCCL_CONNECT_TIMEOUT) for rank 1");
    return 0;
}

static void joining_is_judged(void **state)
{
    (void)state;
    (void)setenv("HCCL_CONNECT_TIMEOUT", "1", 1);
    for (which = 0; which < 2; which++) {
        assert_int_equal(run_team(2, false, stay_alone, join_twice), 0);
        assert_true(atomic_load(&last_team->flag[0]) >= 1);
    }
    assert_int_equal(run_team(2, false, stay_alone, one_device), 0);
    assert_int_equal(run_team(1, false, stay_alone, nobody_comes), 0);
    (void)unsetenv("HCCL_CONNECT_TIMEOUT");
}

/* ---- ranks that do not come ---- */

static int lose_one(rank *r)
{
    HcclResult error = 0;
    void *x = give(r, &KINDS[0], 1, 0, 100);
    NEED(x != NULL, 1);
    MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    if (r->rank == 1) (void)kill(getpid(), SIGKILL);
    MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, r->stream));
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    const char *said = aclGetRecentErrMsg();
    NEED(said && strstr(said, "EI0002") && strstr(said, "rank 1"), 1);
    MUST(HcclGetCommAsyncError(r->comm, &error));
    NEED(error, EMU_HCCL_REMOTE);
    return 0;
}

static int come_late(rank *r)
{
    HcclResult error = 0;
    void *x = give(r, &KINDS[0], 1, 0, 100);
    NEED(x != NULL, 1);
    if (r->rank == 1) {
        while (!atomic_load(&r->t->flag[0])) (void)usleep(1000);
        MUST(HcclGetCommAsyncError(r->comm, &error));
        NEED(error, EMU_HCCL_REMOTE);
        MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, r->stream));
        NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
        return 0;
    }
    MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, r->stream));
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    SAYS("EI0002: HcclAllReduce: rank 0 waited 1 s (HCCL_EXEC_TIMEOUT) for rank 1");
    MUST(HcclGetCommAsyncError(r->comm, &error));
    NEED(error, EMU_HCCL_TIMEOUT);
    atomic_store(&r->t->flag[0], 1);
    return 0;
}

/* A stream that is destroyed does not wait for a rank that does not come. */
static int leave_early(rank *r)
{
    aclrtStream s = NULL;
    void *x = give(r, &KINDS[0], 1, 0, 100);
    NEED(x != NULL, 1);
    if (r->rank == 0) {
        MUST(aclrtCreateStream(&s));
        MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, s));
        MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, s));
        MUST(aclrtDestroyStreamForce(s));
        atomic_store(&r->t->flag[0], 1);
        return 0;
    }
    while (!atomic_load(&r->t->flag[0])) (void)usleep(1000);
    MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, r->stream));
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    SAYS("the stream of rank 0 was destroyed");
    return 0;
}

static void ranks_that_do_not_come_are_told(void **state)
{
    (void)state;
    assert_int_equal(run_team(2, false, lose_one, NULL), 9); /* rank 1 by a signal */
    (void)setenv("HCCL_EXEC_TIMEOUT", "1", 1);
    assert_int_equal(run_team(2, false, come_late, NULL), 0);
    assert_int_equal(run_team(2, true, come_late, NULL), 0);
    (void)unsetenv("HCCL_EXEC_TIMEOUT");
    assert_int_equal(run_team(2, false, leave_early, NULL), 0);
}

/* ---- planned faults ---- */

static int planned_error; /* that HcclGetCommAsyncError gives, 0: the call itself gave its code */
static int planned(rank *r)
{
    HcclResult error = 0;
    const kind *k = &KINDS[0];
    void *x = give(r, k, r->t->seed, 0, 10), *y = give(r, k, 1, 0, 10);
    NEED(x && y, 1);
    MUST(HcclAllReduce(x, y, 10, k->type, 0, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    const int code = HcclAllReduce(x, y, 10, k->type, 0, r->comm, r->stream);
    if (!planned_error) return code;
    MUST(code);
    const int waited = aclrtSynchronizeStream(r->stream);
    MUST(HcclGetCommAsyncError(r->comm, &error));
    NEED(error, r->rank == 0 ? planned_error : EMU_HCCL_REMOTE);
    NEED(waited, r->rank == 0 ? which : PEER_TIMEOUT);
    return 0;
}

/* Says nothing, and rank 0 has what was there before, or a wrong bit. */
static int planned_wrong(rank *r)
{
    const kind *k = &KINDS[0];
    void *x = give(r, k, r->t->seed, 0, 10), *y = give(r, k, 1, 0, 10);
    NEED(x && y, 1);
    MUST(HcclAllReduce(x, y, 10, k->type, 0, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    unsigned char *got = take(y, 40);
    for (uint64_t i = 0; i < 10; i++) {
        const uint64_t good = reduced(k, 0, r->t->seed, 2, i);
        const uint64_t bad = which ? good ^ (uint64_t)(i == 3) << 5 : given(k, 1, 0, i);
        NEED(get(got, k, i), r->rank == 0 ? bad : good);
    }
    free(got);
    return 0;
}

static int plan_and_run(const char *plan, int (*fn)(rank *))
{
    (void)setenv("MIZAN_EMU_ASCEND_FAULTS", plan, 1);
    const int ends = run_team(2, false, fn, NULL);
    (void)unsetenv("MIZAN_EMU_ASCEND_FAULTS");
    return ends;
}

static int refused_joining(rank *r)
{
    if (r->rank == 0) {
        NEED(HcclGetRootInfo((HcclRootInfo *)(void *)r->t->root), which);
        SAYS("(planned)");
    }
    return 0;
}

static void faults_are_as_planned(void **state)
{
    (void)state;
    which = PEER_TIMEOUT, planned_error = EMU_HCCL_TIMEOUT;
    assert_int_equal(plan_and_run("hccl_timeout call=HcclAllReduce device=0 at=2", planned), 0);
    which = 507015, planned_error = EMU_HCCL_REMOTE;
    assert_int_equal(plan_and_run("late call=HcclAllReduce device=0 at=2", planned), 0);
    which = 507054;
    assert_int_equal(plan_and_run("ecc call=Hccl* device=0 at=2", planned), 0);
    planned_error = 0; /* both ranks, whose calls give 4 and 3 */
    assert_int_equal(plan_and_run("error call=HcclAllReduce at=2", planned), 44);
    assert_int_equal(plan_and_run("out_of_memory call=HcclAllReduce at=2", planned), 33);
    which = 0;
    assert_int_equal(plan_and_run("silent call=HcclAllReduce device=0", planned_wrong), 0);
    which = 1;
    assert_int_equal(
        plan_and_run("flip call=HcclAllReduce device=0 element=3 bit=5", planned_wrong), 0);
    which = EMU_HCCL_TIMEOUT;
    (void)setenv("MIZAN_EMU_ASCEND_FAULTS", "hccl_timeout call=HcclGetRootInfo", 1);
    assert_int_equal(run_team(1, false, stay_alone, refused_joining), 0);
    (void)unsetenv("MIZAN_EMU_ASCEND_FAULTS");
}

/* ---- what is left behind ---- */

static int count_of(const char *folder, const char *part)
{
    int n = 0;
    char link[512], path[512];
    DIR *d = opendir(folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        (void)snprintf(path, sizeof path, "%s/%.200s", folder, e->d_name);
        const ssize_t length = readlink(path, link, sizeof link - 1);
        link[length > 0 ? length : 0] = 0;
        n += strstr(e->d_name, part) != NULL || strstr(link, part) != NULL;
    }
    if (d) (void)closedir(d);
    return n;
}

static int mapped(void)
{
    int n = 0;
    char line[1024];
    FILE *file = fopen("/proc/self/maps", "re");
    while (file && fgets(line, sizeof line, file)) n += strstr(line, "emulated-hccl") != NULL;
    if (file) (void)fclose(file);
    return n;
}

static int look_behind(rank *r)
{
    void *x = give(r, &KINDS[0], 1, 0, 100);
    size_t before = 0, within = 0, after = 0, total = 0;
    NEED(x != NULL, 1);
    MUST(aclrtGetMemInfo(1, &before, &total));
    MUST(HcclAllReduce(x, x, 100, EMU_HCCL_FP32, 0, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    MUST(aclrtGetMemInfo(1, &within, &total));
    NEED(before - within >= (size_t)400 << 20, 1);       /* two buffers of HCCL_BUFFSIZE */
    NEED(count_of("/proc/self/fd", "emulated-hccl"), 0); /* all have joined */
    NEED(mapped(), 1);
    MUST(HcclCommDestroy(r->comm));
    r->comm = NULL;
    NEED(mapped(), 0);
    MUST(aclrtGetMemInfo(1, &after, &total));
    NEED(after == before, 1);
    return 0;
}

static void nothing_is_left_behind(void **state)
{
    (void)state;
    const int before = count_of("/dev/shm", "hccl");
    which = 0;
    assert_int_equal(run_team(2, false, look_behind, NULL), 0);
    assert_int_equal(run_team(2, false, lose_one, NULL), 9);
    assert_int_equal(count_of("/dev/shm", "hccl"), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_agree_with_plain_sums),
        cmocka_unit_test(threads_agree_with_plain_sums),
        cmocka_unit_test(calls_return_before_the_others_come),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(ranks_that_disagree_are_told),
        cmocka_unit_test(joining_is_judged),
        cmocka_unit_test(ranks_that_do_not_come_are_told),
        cmocka_unit_test(faults_are_as_planned),
        cmocka_unit_test(nothing_is_left_behind),
    };
    (void)setenv("MIZAN_EMU_ASCEND_DEVICES", "8", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
