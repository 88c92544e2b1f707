/* SPDX-License-Identifier: Apache-2.0 */
/* bench/gemm.c - times matmul of the cpu chip beside OpenBLAS and oneDNN in the same process, as
 * CSV.
 *
 *   gemm [THREADS [REPEATS]]          0 threads = all processors
 *
 * One row for each repetition, in raw nanoseconds, so that anyone can make his own statistics. All
 * take turns, so that they see the same machine. A peer is found at run time and has to give our
 * result first; without one there are only our rows. bf16 has no peer here: its products are timed
 * beside PyTorch's, which are oneDNN's newest. (oneDNN's own benchmark program is in no package.)
 */
#include "chip/chip.h"
#include "chips/cpu/cpu.h"
#include "op/op.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* cblas_sgemm's first three arguments: row-major, not transposed, transposed. */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
typedef void sgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                      const float *a, int lda, const float *b, int ldb, float beta, float *c,
                      int ldc);

/* oneDNN's, row-major as ours; 'N' or 'T'. */
typedef int dnnl_sgemm_fn(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                          const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                          float *c, int64_t ldc);

typedef struct shape {
    const char *what;
    int64_t m, n, k;
} shape;

/* b is [N,K], as a checkpoint's weights are. */
static const shape shapes[] = {
    {"square", 512, 512, 512},    {"square", 1024, 1024, 1024}, {"prefill", 512, 2048, 2048},
    {"prefill", 512, 5632, 2048}, {"decode", 1, 2048, 2048},    {"decode", 1, 5632, 2048},
    {"decode8", 8, 2048, 2048},   {"head", 1, 32000, 2048},     {"odd", 127, 509, 251},
};

/* What is timed beside ours, on a, b and its own c. */
typedef struct bench bench;
typedef struct peer {
    const char *name;
    void (*run)(const bench *x, const shape *s, const mz_tensor *const abc[3]);
    bool there;
} peer;

struct bench {
    mz_device *device;
    mz_queue *queue;
    sgemm_fn *sgemm;
    dnnl_sgemm_fn *dnnl;
    peer peer[2];
    int repeats;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void need(mz_err err)
{
    if (err == MZ_OK) return;
    fprintf(stderr, "gemm: %s: %s\n", mz_err_name(err), mz_err_last()->message);
    exit(mz_err_exit(err));
}

static sgemm_fn *find_blas(int threads)
{
    void *lib = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!lib) return NULL;
    sgemm_fn *sgemm = NULL;
    void (*set_threads)(int) = NULL;
    *(void **)&sgemm = dlsym(lib, "cblas_sgemm");
    *(void **)&set_threads = dlsym(lib, "openblas_set_num_threads");
    if (!sgemm || !set_threads) return NULL;
    set_threads(threads);
    return sgemm;
}

/* It asks OpenMP how many threads there are. */
static dnnl_sgemm_fn *find_dnnl(int threads)
{
    static const char *const NAMES[] = {"libdnnl.so.3", "libdnnl.so.2"};
    char number[16];
    (void)snprintf(number, sizeof number, "%d", threads);
    if (setenv("OMP_NUM_THREADS", number, 1) != 0) return NULL;
    void *lib = NULL;
    for (int i = 0; i < MZ_COUNT(NAMES) && !lib; i++) lib = dlopen(NAMES[i], RTLD_NOW | RTLD_LOCAL);
    dnnl_sgemm_fn *sgemm = NULL;
    if (lib) *(void **)&sgemm = dlsym(lib, "dnnl_sgemm");
    return sgemm;
}

static mz_tensor new_tensor(const bench *x, mz_dtype dtype, int64_t rows, int64_t cols)
{
    mz_tensor t = {.dtype = dtype, .rank = 2, .dim = {rows, cols}, .stride = {cols, 1}};
    mz_buffer *buffer = NULL;
    need(mz_buffer_new(&buffer, x->device, (size_t)(rows * cols) * mz_dtype_bytes(dtype)));
    t.buf = buffer;
    return t;
}

static void fill(const mz_tensor *t, uint32_t seed)
{
    for (int64_t i = 0; i < t->dim[0] * t->dim[1]; i++) {
        seed = seed * 1664525u + 1013904223u;
        mz_put(t, i, (double)(seed >> 8) / (double)(1 << 23) - 1.0);
    }
}

static void row(const shape *s, const char *who, const char *dtype, int repeat, int64_t ns)
{
    printf("%s,%lld,%lld,%lld,%s,%s,%d,%lld\n", s->what, (long long)s->m, (long long)s->n,
           (long long)s->k, dtype, who, repeat, (long long)ns);
}

static int64_t time_ours(const bench *x, mz_op *op, const mz_args *args)
{
    const int64_t begun = now_ns();
    need(mz_forward(op, args));
    need(mz_queue_sync(x->queue));
    return now_ns() - begun;
}

static void run_blas(const bench *x, const shape *s, const mz_tensor *const abc[3])
{
    const int m = (int)s->m, n = (int)s->n, k = (int)s->k;
    x->sgemm(ROW_MAJOR, NO_TRANS, TRANS, m, n, k, 1.0f, mz_host(abc[0]), k, mz_host(abc[1]), k,
             0.0f, mz_host(abc[2]), n);
}

static void run_dnnl(const bench *x, const shape *s, const mz_tensor *const abc[3])
{
    if (x->dnnl('N', 'T', s->m, s->n, s->k, 1.0f, mz_host(abc[0]), s->k, mz_host(abc[1]), s->k,
                0.0f, mz_host(abc[2]), s->n) != 0)
        memset(mz_host(abc[2]), 0, (size_t)(s->m * s->n) * sizeof(float)); /* so it disagrees */
}

static int64_t time_peer(const bench *x, const peer *p, const shape *s,
                         const mz_tensor *const abc[3])
{
    const int64_t begun = now_ns();
    p->run(x, s, abc);
    return now_ns() - begun;
}

static bool same(const shape *s, const mz_tensor *ours, const mz_tensor *theirs)
{
    double worst = 0.0;
    for (int64_t i = 0; i < s->m * s->n; i++)
        worst = fmax(worst, fabs(mz_at(ours, i) - mz_at(theirs, i)));
    return worst <= 1e-5 * (double)s->k; /* elements are in [-1,1) */
}

static void run(const bench *x, const shape *s, mz_dtype dtype)
{
    const mz_desc desc = {.kind = MZ_OP_MATMUL,
                          .u.matmul = {.dtype = dtype,
                                       .out_dtype = dtype,
                                       .M_max = s->m,
                                       .N_max = s->n,
                                       .K_max = s->k,
                                       .trans_b = true}};
    mz_op *op = NULL;
    need(mz_bind(&op, x->queue, &desc));
    const mz_tensor a = new_tensor(x, dtype, s->m, s->k), b = new_tensor(x, dtype, s->n, s->k);
    const mz_tensor c = new_tensor(x, dtype, s->m, s->n), d = new_tensor(x, dtype, s->m, s->n);
    const mz_tensor *const abd[3] = {&a, &b, &d};
    const mz_args args = {.matmul = {.c = &c, .a = &a, .b = &b}};
    fill(&a, 1), fill(&b, 2);
    time_ours(x, op, &args); /* the first touches memory and wakes threads */
    bool agrees[MZ_COUNT(x->peer)] = {false};
    for (int p = 0; p < MZ_COUNT(x->peer); p++) {
        if (!x->peer[p].there || dtype != MZ_F32) continue;
        time_peer(x, &x->peer[p], s, abd);
        agrees[p] = same(s, &c, &d);
        if (!agrees[p])
            fprintf(stderr, "gemm: %s disagrees at %s, left out\n", x->peer[p].name, s->what);
    }
    for (int i = 0; i < x->repeats; i++) {
        row(s, "mizan", mz_dtype_name(dtype), i, time_ours(x, op, &args));
        for (int p = 0; p < MZ_COUNT(x->peer); p++)
            if (agrees[p])
                row(s, x->peer[p].name, mz_dtype_name(dtype), i, time_peer(x, &x->peer[p], s, abd));
    }
    mz_op_free(op);
    mz_buffer_free(a.buf), mz_buffer_free(b.buf), mz_buffer_free(c.buf), mz_buffer_free(d.buf);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    const mz_chip_options options = {.threads = threads};
    bench x = {.repeats = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 20};
    need(mz_chip_register(mz_cpu_chip()));
    need(mz_device_open(&x.device, "cpu", &options));
    need(mz_queue_open(&x.queue, x.device));
    x.sgemm = find_blas(x.device->info.threads);
    x.dnnl = find_dnnl(x.device->info.threads);
    x.peer[0] = (peer){"openblas", run_blas, x.sgemm != NULL};
    x.peer[1] = (peer){"onednn", run_dnnl, x.dnnl != NULL};
    if (!x.sgemm) fprintf(stderr, "gemm: no libopenblas.so.0 here: it is left out\n");
    if (!x.dnnl) fprintf(stderr, "gemm: no libdnnl.so here: it is left out\n");
    printf("# %s, %s, %d threads\n", x.device->info.model, x.device->info.isa,
           x.device->info.threads);
    printf("what,m,n,k,dtype,who,repeat,ns\n");
    static const mz_dtype dtypes[] = {MZ_F32, MZ_BF16};
    for (int d = 0; d < MZ_COUNT(dtypes); d++)
        for (int i = 0; i < MZ_COUNT(shapes); i++) run(&x, &shapes[i], dtypes[d]);
    mz_queue_close(x.queue);
    mz_device_close(x.device);
    return 0;
}
