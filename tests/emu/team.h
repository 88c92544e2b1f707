/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/team.h - ranks of the emulated HCCL: teams of processes or threads, which run in
 * processes of their own, and the numbers that they bring and should get. */
#ifndef MZ_TESTS_EMU_TEAM_H
#define MZ_TESTS_EMU_TEAM_H

#include "ascend/hccl.h"
#include "base/num.h"
#include "tests/near.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 8, MOST_SECONDS = 60 };
enum { PEER_TIMEOUT = 507048 };

/* What all ranks of a team see. */
struct rank;
typedef struct team {
    int n;
    uint64_t seed;
    bool as_threads;
    int (*fn)(struct rank *);
    int (*before)(struct rank *); /* in place of the usual joining */
    char root[EMU_HCCL_ROOT_BYTES];
    _Atomic int has_root, flag[RANKS];
} team;

typedef struct rank {
    team *t;
    int rank, n;
    aclrtStream stream;
    HcclComm comm;
} rank;

/* In a rank: says where, and ends it with 1. */
#define NEED(got, want)                                                                            \
    do {                                                                                           \
        const long long got_ = (long long)(got), want_ = (long long)(want);                        \
        if (got_ != want_) {                                                                       \
            const char *why_ = aclGetRecentErrMsg();                                               \
            (void)fprintf(stderr, "rank %d of %d, line %d: %s is %lld, want %lld (%s)\n", r->rank, \
                          r->n, __LINE__, #got, got_, want_, why_ ? why_ : "");                    \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)
#define MUST(call) NEED(call, 0)
#define SAYS(text)                                                                                 \
    do {                                                                                           \
        const char *said_ = aclGetRecentErrMsg();                                                  \
        if (!said_ || !strstr(said_, text)) {                                                      \
            (void)fprintf(stderr, "rank %d, line %d: \"%s\", want \"%s\"\n", r->rank, __LINE__,    \
                          said_ ? said_ : "", text);                                               \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

/* ---- teams ---- */

static inline int share_root(rank *r)
{
    team *t = r->t;
    if (r->rank == 0) {
        MUST(HcclGetRootInfo((HcclRootInfo *)(void *)t->root));
        atomic_store(&t->has_root, 1);
    }
    while (!atomic_load(&t->has_root)) (void)usleep(500);
    return 0;
}

static inline int join(rank *r)
{
    if (share_root(r) != 0) return 1;
    MUST(HcclCommInitRootInfo((uint32_t)r->n, (HcclRootInfo *)(void *)r->t->root, (uint32_t)r->rank,
                              &r->comm));
    return 0;
}

static inline int play(rank *r)
{
    MUST(aclrtSetDevice(r->rank));
    MUST(aclrtCreateStream(&r->stream));
    const int code = r->t->before ? r->t->before(r) : join(r);
    if (code != 0) return code;
    const int end = r->t->fn(r);
    if (end != 0) return end;
    if (r->comm) MUST(HcclCommDestroy(r->comm));
    MUST(aclrtDestroyStream(r->stream));
    return 0;
}

static inline void *play_thread(void *data)
{
    rank *r = data;
    return play(r) == 0 ? NULL : r;
}

static inline int play_threads(team *t)
{
    pthread_t thread[RANKS];
    rank ranks[RANKS];
    int bad = aclInit(NULL) != 0;
    for (int i = 0; i < t->n; i++) {
        ranks[i] = (rank){t, i, t->n, NULL, NULL};
        bad |= pthread_create(&thread[i], NULL, play_thread, &ranks[i]) != 0;
    }
    for (int i = 0; i < t->n; i++) {
        void *end = NULL;
        (void)pthread_join(thread[i], &end);
        bad |= end != NULL;
    }
    return bad;
}

static inline pid_t start(team *t, int i)
{
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid != 0) return pid;
    (void)alarm(MOST_SECONDS);
    rank r = {t, i, t->n, NULL, NULL};
    int code = t->as_threads ? play_threads(t) : aclInit(NULL);
    if (!t->as_threads && code == 0) code = play(&r);
    exit(code);
}

static inline int end_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

/* How the ranks ended, a digit each from rank 0 on; threads have one for all. */
static team *last_team;
static pid_t last_pids[RANKS];
static inline int run_team(int n, bool as_threads, int (*fn)(rank *), int (*before)(rank *))
{
    int ends = 0;
    team *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(t, MAP_FAILED);
    t->n = n, t->fn = fn, t->before = before, t->as_threads = as_threads;
    assert_int_equal(getrandom(&t->seed, sizeof t->seed, 0), sizeof t->seed);
    const int processes = as_threads ? 1 : n;
    for (int i = 0; i < processes; i++) last_pids[i] = start(t, i);
    for (int i = 0; i < processes; i++) {
        const int end = end_of(last_pids[i]);
        ends = 10 * ends + (end > 9 ? 9 : end);
    }
    if (ends) print_message("seed %llu\n", (unsigned long long)t->seed);
    (void)munmap(last_team, sizeof *t);
    last_team = t;
    return ends;
}

/* ---- numbers ---- */

typedef struct kind {
    int type;
    size_t size;
    const char *name;
} kind;
static const kind KINDS[] = {
    {EMU_HCCL_FP32, 4, "fp32"},   {EMU_HCCL_FP16, 2, "fp16"},   {EMU_HCCL_BFP16, 2, "bfp16"},
    {EMU_HCCL_INT8, 1, "int8"},   {EMU_HCCL_INT16, 2, "int16"}, {EMU_HCCL_INT32, 4, "int32"},
    {EMU_HCCL_INT64, 8, "int64"},
};

static inline bool is_float(const kind *k)
{
    return k->type == EMU_HCCL_FP32 || k->type == EMU_HCCL_FP16 || k->type == EMU_HCCL_BFP16;
}

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

/* Element i of what that rank gives, as its bits: floats between -2 and 2, integers of any size. */
static inline uint64_t given(const kind *k, uint64_t seed, int rank_of, uint64_t i)
{
    const uint64_t x = mix(seed + mix((uint64_t)rank_of * 1000003U + i));
    const float f = ((float)((double)(x >> 40) / (1 << 22) - 2.0)) / 3.0F * 2.9F;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    switch (k->type) {
    case EMU_HCCL_FP32:
        return bits;
    case EMU_HCCL_FP16:
        return mz_f32_to_f16(f);
    case EMU_HCCL_BFP16:
        return mz_f32_to_bf16(f);
    default:
        return k->size == 8 ? x : x & ((UINT64_C(1) << 8 * k->size) - 1);
    }
}

static inline float as_float(const kind *k, uint64_t bits)
{
    return k->type == EMU_HCCL_FP32   ? mz_f32_from_bits((uint32_t)bits)
           : k->type == EMU_HCCL_FP16 ? mz_f16_to_f32((uint16_t)bits)
                                      : mz_bf16_to_f32((uint16_t)bits);
}

static inline int64_t as_integer(const kind *k, uint64_t bits)
{
    return k->size == 1   ? (int8_t)bits
           : k->size == 2 ? (int16_t)bits
           : k->size == 4 ? (int32_t)bits
                          : (int64_t)bits;
}

/* What all ranks' elements i make, as bits. */
static inline uint64_t reduced(const kind *k, int op, uint64_t seed, int n, uint64_t i)
{
    uint64_t bits = given(k, seed, 0, i);
    float f = as_float(k, bits);
    int64_t x = as_integer(k, bits);
    for (int r = 1; r < n; r++) {
        const uint64_t next = given(k, seed, r, i);
        const float g = as_float(k, next);
        const int64_t y = as_integer(k, next);
        f = op == EMU_HCCL_SUM    ? f + g
            : op == EMU_HCCL_PROD ? f * g
            : op == EMU_HCCL_MAX  ? fmaxf(f, g)
                                  : fminf(f, g);
        x = op == EMU_HCCL_SUM    ? (int64_t)((uint64_t)x + (uint64_t)y)
            : op == EMU_HCCL_PROD ? (int64_t)((uint64_t)x * (uint64_t)y)
            : op == EMU_HCCL_MAX  ? (x > y ? x : y)
                                  : (x < y ? x : y);
        bits = 0; /* integers wrap at every step alike */
        if (k->size < 8) x = as_integer(k, (uint64_t)x);
    }
    if (!is_float(k))
        return k->size == 8 ? (uint64_t)x : (uint64_t)x & ((UINT64_C(1) << 8 * k->size) - 1);
    if (k->type == EMU_HCCL_FP16) return mz_f32_to_f16(f);
    if (k->type == EMU_HCCL_BFP16) return mz_f32_to_bf16(f);
    memcpy(&bits, &f, sizeof f);
    return bits & 0xFFFFFFFFU;
}

static inline void put(unsigned char *at, const kind *k, uint64_t i, uint64_t bits)
{
    memcpy(at + i * k->size, &bits, k->size); /* the low bytes are the first here */
}

static inline uint64_t get(const unsigned char *at, const kind *k, uint64_t i)
{
    uint64_t bits = 0;
    memcpy(&bits, at + i * k->size, k->size);
    return bits;
}

/* Device memory with n elements of this rank, from number `first` on; NULL: none was to be had. */
static inline void *give(const rank *r, const kind *k, uint64_t seed, uint64_t first, uint64_t n)
{
    void *at = NULL;
    unsigned char *host = malloc(n * k->size + 1);
    for (uint64_t i = 0; host && i < n; i++) put(host, k, i, given(k, seed, r->rank, first + i));
    const bool is_good = host && aclrtMalloc(&at, n * k->size + 1, 0) == 0 &&
                         aclrtMemcpy(at, n * k->size, host, n * k->size, 1) == 0;
    free(host);
    return is_good ? at : NULL;
}

static inline unsigned char *take(void *at, size_t bytes)
{
    unsigned char *host = malloc(bytes + 1);
    if (host && aclrtMemcpy(host, bytes, at, bytes, 2) == 0) return host;
    free(host);
    return NULL;
}

#endif
