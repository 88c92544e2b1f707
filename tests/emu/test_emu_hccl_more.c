/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_hccl_more.c - the emulated HCCL where not every rank does the same: sending
 * and receiving, parts of several sizes, communicators of some ranks, groups of calls, suspended
 * ones, what is not emulated, what is counted, traced and modelled. */
#include "tests/emu/team.h"
#include "tests/scratch.h"

#include <jansson.h>

enum { LARGE = 200003 };

struct HcclSendRecvItemDef { /* as documented */
    int receives;
    void *at;
    uint64_t count;
    int type;
    uint32_t peer;
};

/* n elements at `at` are those of rank `from`, from number `first` on. */
static int are_of(const rank *r, const kind *k, void *at, int from, uint64_t first, uint64_t n)
{
    unsigned char *got = take(at, n * k->size);
    NEED(got != NULL, 1);
    for (uint64_t i = 0; i < n; i++) NEED(get(got, k, i), given(k, r->t->seed, from, first + i));
    free(got);
    return 0;
}

/* ---- from one to another ---- */

static int in_a_ring(rank *r)
{
    const int after = (r->rank + 1) % r->n, before = (r->rank + r->n - 1) % r->n;
    const uint64_t counts[] = {1, 777, LARGE};
    for (int i = 0; i < 3; i++) {
        const uint64_t n = counts[i];
        const kind *k = i == 2 ? &KINDS[6] : &KINDS[r->t->seed % 7]; /* the large ones in pieces */
        void *x = give(r, k, r->t->seed, 0, n), *y = give(r, k, 1, 0, n), *z = give(r, k, 1, 0, n);
        void *w = give(r, k, 1, 0, n);
        NEED(x && y && z && w, 1);
        for (int turn = 0; turn < 2; turn++)
            if ((r->rank + turn) % 2 == 0)
                MUST(HcclSend(x, n, k->type, (uint32_t)after, r->comm, r->stream));
            else
                MUST(HcclRecv(y, n, k->type, (uint32_t)before, r->comm, r->stream));
        const uint32_t to = (uint32_t)after, from = (uint32_t)before;
        const uint64_t half = n - n / 2, at = half * k->size;
        HcclSendRecvItem items[5] = {{0, x, half, k->type, to},
                                     {1, z, half, k->type, from},
                                     {0, x, 0, k->type, to}, /* nothing */
                                     {0, (char *)x + at, n / 2, k->type, to},
                                     {1, (char *)z + at, n / 2, k->type, from}};
        MUST(HcclBatchSendRecv(items, 5, r->comm, r->stream));
        MUST(HcclGroupStart());
        MUST(HcclRecv(w, half, k->type, from, r->comm, r->stream));
        MUST(HcclRecv((char *)w + at, n / 2, k->type, from, r->comm, r->stream));
        MUST(HcclSend(x, half, k->type, to, r->comm, r->stream));
        MUST(HcclSend((char *)x + at, n / 2, k->type, to, r->comm, r->stream));
        MUST(HcclGroupEnd());
        MUST(aclrtSynchronizeStream(r->stream));
        if (are_of(r, k, y, before, 0, n) || are_of(r, k, z, before, 0, n)) return 1;
        if (are_of(r, k, w, before, 0, n)) return 1;
        MUST(aclrtFree(w));
        MUST(aclrtFree(x));
        MUST(aclrtFree(y));
        MUST(aclrtFree(z));
    }
    return 0;
}

static void sends_and_receives(void **state)
{
    (void)state;
    assert_int_equal(run_team(2, false, in_a_ring, NULL), 0);
    assert_int_equal(run_team(4, true, in_a_ring, NULL), 0);
}

/* Ranks that both send first wait for ever, unless one stream sends and another receives. */
static int both_first(rank *r)
{
    const kind *k = &KINDS[0];
    aclrtStream other = NULL;
    HcclResult error = 0;
    const uint32_t peer = (uint32_t)(1 - r->rank);
    void *x = give(r, k, r->t->seed, 0, 10), *y = give(r, k, 1, 0, 10);
    NEED(x && y, 1);
    MUST(aclrtCreateStream(&other));
    MUST(HcclSend(x, 10, k->type, peer, r->comm, r->stream));
    MUST(HcclRecv(y, 10, k->type, peer, r->comm, other));
    MUST(aclrtSynchronizeStream(r->stream));
    MUST(aclrtSynchronizeStream(other));
    if (are_of(r, k, y, (int)peer, 0, 10)) return 1;
    MUST(HcclSend(x, 10, k->type, peer, r->comm, r->stream));
    MUST(HcclRecv(y, 10, k->type, peer, r->comm, r->stream));
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    MUST(HcclGetCommAsyncError(r->comm, &error));
    NEED(error == EMU_HCCL_TIMEOUT || error == EMU_HCCL_REMOTE, 1);
    return 0;
}

static int unlike_parts(rank *r)
{
    const kind *k = &KINDS[0];
    void *x = give(r, k, r->t->seed, 0, 10);
    NEED(x != NULL, 1);
    if (r->rank == 0) MUST(HcclSend(x, 10, k->type, 1, r->comm, r->stream));
    if (r->rank == 1) MUST(HcclRecv(x, 9, k->type, 0, r->comm, r->stream));
    NEED(aclrtSynchronizeStream(r->stream), PEER_TIMEOUT);
    const char *said = aclGetRecentErrMsg();
    NEED(said && strstr(said, "rank 0 sends 40 bytes of dataType 4, rank 1 takes 36 of 4"), 1);
    return 0;
}

static int sends_wrongly(rank *r)
{
    const kind *k = &KINDS[0];
    void *x = give(r, k, 1, 0, 10);
    HcclSendRecvItem items[2] = {{0, x, 10, k->type, 0}, {2, x, 10, k->type, 0}};
    NEED(x != NULL, 1);
    NEED(HcclSend(x, 10, k->type, 1, r->comm, r->stream), EMU_HCCL_PARA);
    SAYS("rank 1 of 1 ranks");
    NEED(HcclSend(x, 10, k->type, 0, r->comm, r->stream), EMU_HCCL_PARA);
    SAYS("to itself");
    NEED(HcclSend(NULL, 10, k->type, 0, r->comm, r->stream), EMU_HCCL_PARA);
    NEED(HcclRecv(x, 10, 99, 0, r->comm, r->stream), EMU_HCCL_NOT_SUPPORT);
    NEED(HcclBatchSendRecv(NULL, 1, r->comm, r->stream), EMU_HCCL_PTR);
    NEED(HcclBatchSendRecv(items, 2, r->comm, r->stream), EMU_HCCL_PARA);
    NEED(HcclGroupEnd(), EMU_HCCL_PARA);
    MUST(HcclGroupStart());
    MUST(HcclSend(x, 11, k->type, 0, r->comm, r->stream));
    NEED(HcclGroupEnd(), EMU_HCCL_PARA); /* beyond its memory: told with the group */
    NEED(HcclAlltoAll(x, 10, k->type, x, 10, k->type, r->comm, r->stream), EMU_HCCL_PARA);
    SAYS("are the same");
    NEED(HcclAlltoAll(x, 10, k->type, x, 9, k->type, r->comm, r->stream), EMU_HCCL_PARA);
    NEED(HcclAlltoAllV(x, NULL, NULL, 4, x, NULL, NULL, 4, r->comm, r->stream), EMU_HCCL_PTR);
    const uint64_t one[] = {10}, far[] = {UINT64_MAX - 3}, nowhere[] = {0};
    NEED(HcclAlltoAllV(x, one, far, 4, x, one, nowhere, 4, r->comm, r->stream), EMU_HCCL_PARA);
    SAYS("the part of rank 0 is too large");
    NEED(HcclAllGatherV(x, 9, x, one, nowhere, 4, r->comm, r->stream), EMU_HCCL_PARA);
    NEED(HcclReduceScatterV(x, one, nowhere, x, 9, 4, 0, r->comm, r->stream), EMU_HCCL_PARA);
    return 0;
}

static void what_does_not_meet_is_told(void **state)
{
    (void)state;
    (void)setenv("HCCL_EXEC_TIMEOUT", "1", 1);
    assert_int_equal(run_team(2, false, both_first, NULL), 0);
    (void)unsetenv("HCCL_EXEC_TIMEOUT");
    assert_int_equal(run_team(2, false, unlike_parts, NULL), 0);
    assert_int_equal(run_team(1, false, sends_wrongly, NULL), 0);
}

/* ---- a part for every rank ---- */

/* What rank a has for rank b, at element `first_of` of what it brings. */
static uint64_t part(uint64_t seed, int a, int b)
{
    const uint64_t x = mix(seed + (uint64_t)(a * RANKS + b));
    return x % 5 == 0 ? 0 : x % 5 == 1 ? 70000 + x % 1000 : x % 300;
}

static uint64_t first_of(uint64_t seed, int a, int b)
{
    uint64_t at = 0;
    for (int i = 0; i < b; i++) at += part(seed, a, i);
    return at;
}

static int all_to_all(rank *r)
{
    const kind *k = &KINDS[r->t->seed % 7];
    const uint64_t n = 1 + r->t->seed % 90000, all = n * (uint64_t)r->n;
    void *x = give(r, k, r->t->seed, 0, all), *y = give(r, k, 1, 0, all);
    NEED(x && y, 1);
    MUST(HcclAlltoAll(x, n, k->type, y, n, k->type, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    for (int i = 0; i < r->n; i++)
        if (are_of(r, k, (char *)y + (uint64_t)i * n * k->size, i, (uint64_t)r->rank * n, n))
            return 1;
    return 0;
}

static int parts_to_all(rank *r, bool by_matrix)
{
    const uint64_t seed = r->t->seed;
    const kind *k = &KINDS[seed % 7];
    uint64_t out[RANKS], out_at[RANKS], in[RANKS], in_at[RANKS], at = 0, matrix[RANKS * RANKS];
    for (int i = 0; i < r->n; i++) {
        out[i] = part(seed, r->rank, i), out_at[i] = first_of(seed, r->rank, i);
        in[i] = part(seed, i, r->rank), in_at[i] = at;
        at += in[i];
        for (int j = 0; j < r->n; j++) matrix[i * r->n + j] = part(seed, i, j);
    }
    void *x = give(r, k, seed, 0, first_of(seed, r->rank, r->n)), *y = give(r, k, 1, 0, at);
    NEED(x && y, 1);
    if (by_matrix)
        MUST(HcclAlltoAllVC(x, matrix, k->type, y, k->type, r->comm, r->stream));
    else
        MUST(HcclAlltoAllV(x, out, out_at, k->type, y, in, in_at, k->type, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    for (int i = 0; i < r->n; i++)
        if (are_of(r, k, (char *)y + in_at[i] * k->size, i, first_of(seed, i, r->rank), in[i]))
            return 1;
    return 0;
}

/* With a hole of 3 elements behind every part. */
static int parts_of_sizes(rank *r)
{
    const uint64_t seed = r->t->seed;
    const kind *k = &KINDS[seed % 7];
    uint64_t n[RANKS], at[RANKS], all = 0;
    for (int i = 0; i < r->n; i++) {
        n[i] = part(seed, i, 0), at[i] = all;
        all += n[i] + 3;
    }
    const uint64_t own = n[r->rank];
    void *x = give(r, k, seed, 0, all), *y = give(r, k, 1, 0, all), *z = give(r, k, 1, 0, own);
    NEED(x && y && z, 1);
    MUST(HcclAllGatherV(x, own, y, n, at, k->type, r->comm, r->stream));
    MUST(HcclReduceScatterV(x, n, at, z, own, k->type, EMU_HCCL_SUM, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    for (int i = 0; i < r->n; i++)
        if (are_of(r, k, (char *)y + at[i] * k->size, i, 0, n[i])) return 1;
    unsigned char *got = take(z, own * k->size), *holes = take(y, all * k->size);
    for (uint64_t i = 0; i < own; i++)
        NEED(get(got, k, i), reduced(k, EMU_HCCL_SUM, seed, r->n, at[r->rank] + i));
    NEED(get(holes, k, all - 1), given(k, 1, r->rank, all - 1));
    free(got);
    free(holes);
    return 0;
}

static int every_part(rank *r)
{
    for (int i = 0; i < 3; i++) {
        if (all_to_all(r) || parts_to_all(r, i % 2) || parts_of_sizes(r)) return 1;
        MUST(HcclBarrier(r->comm, r->stream)); /* before the seed changes */
        MUST(aclrtSynchronizeStream(r->stream));
        if (r->rank == 0) r->t->seed = mix(r->t->seed);
        MUST(HcclBarrier(r->comm, r->stream));
        MUST(aclrtSynchronizeStream(r->stream));
    }
    return 0;
}

static void parts_go_where_they_belong(void **state)
{
    (void)state;
    assert_int_equal(run_team(2, false, every_part, NULL), 0);
    assert_int_equal(run_team(3, false, every_part, NULL), 0);
    assert_int_equal(run_team(4, true, every_part, NULL), 0);
}

/* ---- communicators of others ---- */

typedef struct config_v5 {
    size_t size;
    uint32_t magic, version;
    uint64_t reserved;
    uint32_t buffer_mb, deterministic;
    char name[128], rest[140];
} config_v5;

static HcclCommConfig *config(config_v5 *c)
{
    *c = (config_v5){.size = 300, .magic = 0xF0F0F0F0, .version = 5, .buffer_mb = 1};
    return (HcclCommConfig *)(void *)c;
}

/* Two of the even and the odd ranks, three times; and all ranks the other way round. */
static int split(rank *r)
{
    const kind *k = &KINDS[0];
    config_v5 room;
    for (int i = 0; i < 40; i++) { /* of one number, more than there is room for */
        uint32_t ids[RANKS], n = 0, me = 0;
        HcclComm sub = NULL;
        const uint32_t odd = (uint32_t)r->rank % 2;
        for (uint32_t id = odd; id < (uint32_t)r->n; id += 2) {
            if (id == (uint32_t)r->rank) me = n;
            ids[n++] = id;
        }
        MUST(HcclCreateSubCommConfig(&r->comm, n, ids, odd, me, config(&room), &sub));
        void *x = give(r, k, r->t->seed, 0, 50), *y = give(r, k, 1, 0, 50 * RANKS);
        NEED(x && y, 1);
        MUST(HcclAllGather(x, y, 50, k->type, sub, r->stream));
        MUST(aclrtSynchronizeStream(r->stream));
        for (uint32_t j = 0; j < n; j++)
            if (are_of(r, k, (char *)y + (size_t)j * 50 * k->size, (int)ids[j], 0, 50)) return 1;
        MUST(HcclCommDestroy(sub));
    }
    uint32_t ids[RANKS];
    HcclComm sub = NULL;
    uint32_t me = 0;
    for (int i = 0; i < r->n; i++) ids[i] = (uint32_t)(r->n - 1 - i);
    MUST(HcclCreateSubCommConfig(&r->comm, (uint32_t)r->n, ids, 99, (uint32_t)(r->n - 1 - r->rank),
                                 config(&room), &sub));
    MUST(HcclGetRankId(sub, &me));
    NEED(me, r->n - 1 - r->rank);
    MUST(HcclCommDestroy(sub));
    NEED(HcclCreateSubCommConfig(&r->comm, 1, ids, 5, 1, config(&room), &sub), EMU_HCCL_PARA);
    ids[0] = (uint32_t)r->n;
    NEED(HcclCreateSubCommConfig(&r->comm, 1, ids, 5, 0, config(&room), &sub), EMU_HCCL_PARA);
    NEED(HcclCreateSubCommConfig(&r->comm, 1, NULL, 5, 0, config(&room), &sub), EMU_HCCL_PTR);
    MUST(HcclCreateSubCommConfig(&r->comm, 0, NULL, UINT32_MAX, 0, config(&room), &sub));
    NEED(sub == NULL, 1); /* of a rank that is not in it */
    return 0;
}

static void communicators_are_made_of_others(void **state)
{
    (void)state;
    assert_int_equal(run_team(4, false, split, NULL), 0);
    assert_int_equal(run_team(4, true, split, NULL), 0);
}

/* ---- the rest ---- */

static int answers(rank *r)
{
    const HcclConfigValue one = {1}, wrong = {7};
    HcclConfigValue got = {-1};
    void *x = give(r, &KINDS[0], 1, 0, 10);
    NEED(HcclSetConfig(0, wrong), EMU_HCCL_PARA);
    NEED(HcclSetConfig(9, one), EMU_HCCL_NOT_SUPPORT);
    MUST(HcclSetConfig(0, one));
    MUST(HcclGetConfig(0, &got));
    NEED(got.value, 1);
    MUST(HcclSetCommConfig(r->comm, 0, one));
    MUST(HcclGetCommConfig(r->comm, 0, &got));
    NEED(got.value, 1);
    NEED(HcclGetCommConfigCapability() >= 9, 1);
    NEED(strcmp(HcclGetErrorString(9), "timeout"), 0);
    NEED(HcclGetErrorString(-1) != NULL && HcclGetErrorString(4000) != NULL, 1);
    MUST(HcclCommSuspend(r->comm));
    NEED(HcclAllReduce(x, x, 10, 4, 0, r->comm, r->stream), EMU_HCCL_SUSPENDING);
    MUST(HcclCommResume(r->comm));
    MUST(HcclAllReduce(x, x, 10, 4, 0, r->comm, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    NEED(HcclCommSetMemoryRange(r->comm, x, 10, 1, 0), EMU_HCCL_NOT_SUPPORT);
    SAYS("HcclCommSetMemoryRange is not emulated");
    return 0;
}

/* 1 MiB of f32 over four ranks: each link carries two parts of a quarter, at 28 GB a second; each
 * rank sends six of them. Rank 1 comes 1 ms later in the model, and the others wait for it. */
static int is_counted(rank *r)
{
    float ms = 0.0F;
    aclrtEvent before = NULL, after = NULL;
    const uint64_t n = 1 << 18;
    void *x = give(r, &KINDS[0], 1, 0, n);
    NEED(x != NULL, 1);
    MUST(aclrtCreateEvent(&before));
    MUST(aclrtCreateEvent(&after));
    MUST(HcclBarrier(r->comm, r->stream));
    MUST(aclrtRecordEvent(before, r->stream));
    MUST(HcclAllReduce(x, x, n, 4, 0, r->comm, r->stream));
    MUST(aclrtRecordEvent(after, r->stream));
    MUST(aclrtSynchronizeStream(r->stream));
    MUST(aclrtEventElapsedTime(&ms, before, after));
    NEED(ms > 0.0187F + 0.003F - 0.0005F && ms < 0.0187F + 0.003F + 0.02F, 1);
    return 0;
}

static json_t *counters_of(const char *folder, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *o = json_load_file(path, 0, NULL);
    json_t *device = json_incref(json_array_get(json_object_get(o, "devices"), 0));
    json_decref(o);
    return device;
}

static void what_it_does_is_booked(void **state)
{
    (void)state;
    assert_int_equal(run_team(1, false, answers, NULL), 0);
    char folder[] = "/tmp/mizan-hccl-XXXXXX", trace[64], name[300];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(trace, sizeof trace, "%s/trace", folder);
    (void)setenv("MIZAN_EMU_ASCEND_COUNTERS", folder, 1);
    (void)setenv("MIZAN_EMU_ASCEND_TRACE", trace, 1);
    assert_int_equal(run_team(4, false, is_counted, NULL), 0);
    (void)unsetenv("MIZAN_EMU_ASCEND_COUNTERS");
    (void)unsetenv("MIZAN_EMU_ASCEND_TRACE");
    int files = 0;
    json_t *events = json_load_file(trace, 0, NULL);
    assert_non_null(events);
    size_t i = 0, tasks = 0;
    json_t *one;
    json_array_foreach(json_object_get(events, "traceEvents"), i, one)
    {
        const char *cat = json_string_value(json_object_get(one, "cat"));
        const char *call = json_string_value(json_object_get(one, "name"));
        tasks += cat && strcmp(cat, "device") == 0 && strcmp(call, "HcclAllReduce") == 0;
    }
    json_decref(events);
    assert_int_equal(tasks, 4);
    for (int pid = last_pids[0]; pid <= last_pids[3]; pid++) {
        (void)snprintf(name, sizeof name, "%d.json", pid);
        json_t *device = counters_of(folder, name);
        if (!device) continue;
        files++;
        assert_int_equal(json_integer_value(json_object_get(device, "collectives")), 2);
        assert_int_equal(json_integer_value(json_object_get(device, "link_bytes")), 6 << 18);
        json_decref(device);
        (void)snprintf(name, sizeof name, "%s/%d.json", folder, pid);
        (void)unlink(name);
    }
    assert_int_equal(files, 4);
    (void)unlink(trace);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_and_receives),
        cmocka_unit_test(what_does_not_meet_is_told),
        cmocka_unit_test(parts_go_where_they_belong),
        cmocka_unit_test(communicators_are_made_of_others),
        cmocka_unit_test(what_it_does_is_booked),
    };
    (void)setenv("MIZAN_EMU_ASCEND_DEVICES", "8", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
