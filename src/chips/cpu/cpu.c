/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/cpu.c - the chip table of the host processor: device, memory, queue, scratch. */
#include "chips/cpu/cpu.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINE = 64, /* bytes of a cache line */
    HUGE_PAGE = 2 << 20,
    HUGE_LEAST = 8 << 20 /* bytes of a block that is worth it */
};

/* ---- threads and scratch ---- */

void mz_cpu_run(const mz_queue *q, int64_t parts, mz_part_fn *fn, void *arg)
{
    mz_cpu *cpu = mz_cpu_of(q);
    if (parts <= 1 || cpu->threads == 1) {
        for (int64_t i = 0; i < parts; i++) fn(arg, i, 0);
        return;
    }
    pthread_mutex_lock(&cpu->lock);
    mz_pool_run(cpu->pool, parts, fn, arg);
    pthread_mutex_unlock(&cpu->lock);
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

size_t mz_cpu_room_bytes(const mz_queue *q, mz_cpu_room room)
{
    const size_t threads = (size_t)mz_cpu_of(q)->threads;
    return whole_lines(room.shared_bytes) + threads * whole_lines(room.thread_bytes);
}

void *mz_cpu_room_shared(const mz_op *op)
{
    const mz_tensor ws = mz_op_workspace(op);
    return ws.buf ? mz_cpu_data(&ws) : NULL;
}

void *mz_cpu_room_thread(const mz_op *op, mz_cpu_room room, int thread)
{
    unsigned char *base = mz_cpu_room_shared(op);
    const size_t skip = (size_t)thread * whole_lines(room.thread_bytes);
    return base ? base + whole_lines(room.shared_bytes) + skip : NULL;
}

mz_err mz_cpu_need_dtype(mz_op_kind kind, mz_dtype dtype)
{
    if (dtype == MZ_F32 || dtype == MZ_BF16 || dtype == MZ_F64) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "cpu computes %s in f32, bf16 and f64, not in %s", mz_op_name(kind),
                   mz_dtype_name(dtype));
}

/* ---- device ---- */

static int64_t memory_total(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (int64_t)pages * page_bytes : 0;
}

/* What the system thinks it could hand out without swapping; 0 where it does not say. */
static int64_t memory_free(void)
{
    long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) == 1) break;
    fclose(f);
    return kib * 1024;
}

static void fill_info(mz_device_info *info, const mz_cpu_id *id, const mz_cpu *cpu)
{
    (void)snprintf(info->name, sizeof info->name, "cpu");
    (void)snprintf(info->vendor, sizeof info->vendor, "%s", id->vendor);
    (void)snprintf(info->model, sizeof info->model, "%s", id->model);
    (void)snprintf(info->isa, sizeof info->isa, "%s", cpu->kernels.name);
    info->is_host = true;
    info->dtypes = 1u << MZ_F32 | 1u << MZ_BF16 | 1u << MZ_F64;
    info->memory_bytes = memory_total();
    info->memory_free_bytes = memory_free();
    info->threads = cpu->threads;
}

static mz_err cpu_open(mz_device *device, const char *arg)
{
    mz_cpu *cpu = NULL;
    mz_cpu_id id;
    mz_err err;
    if (arg[0])
        return MZ_FAIL(MZ_ENOTSUP, "chip cpu has no variants, \"%s\" follows its colon", arg);
    mz_cpu_id_read(&id);
    MZ_TRY(mz_mem_new(&cpu, 1, sizeof *cpu));
    const int threads = device->options.threads;
    cpu->threads = threads > 0 ? threads : mz_thread_default_count();
    MZ_TRY_GOTO(err, mz_cpu_isa_choose(device->options.isa, &id, &cpu->kernels), fail);
    MZ_TRY_GOTO(err, mz_pool_new(&cpu->pool, cpu->threads), fail);
    if (pthread_mutex_init(&cpu->lock, NULL) != 0) {
        err = MZ_FAIL(MZ_ENOMEM, "no mutex for the thread pool");
        goto fail;
    }
    fill_info(&device->info, &id, cpu);
    device->state = cpu;
    return MZ_OK;
fail:
    mz_pool_free(cpu->pool);
    mz_mem_free(cpu);
    return err;
}

static void cpu_close(mz_device *device)
{
    mz_cpu *cpu = device->state;
    pthread_mutex_destroy(&cpu->lock);
    mz_pool_free(cpu->pool);
    mz_mem_free(cpu);
    device->state = NULL;
}

/* ---- memory and queue ---- */

/* Large blocks in large pages, where the system gives some: fewer faults when they are touched
 * first, fewer misses of the page tables after. It is advice, so that a refusal is no failure. */
static void advise(void *host, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t begin = ((uintptr_t)host + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const uintptr_t end = ((uintptr_t)host + bytes) / HUGE_PAGE * HUGE_PAGE;
    if (bytes >= HUGE_LEAST && end > begin)
        (void)madvise((unsigned char *)host + (begin - (uintptr_t)host), end - begin,
                      MADV_HUGEPAGE);
#else
    (void)host, (void)bytes;
#endif
}

static mz_err cpu_alloc(mz_device *device, mz_buffer *buf)
{
    (void)device;
    void *host = NULL;
    MZ_NEED(buf->bytes <= INT64_MAX, "%zu bytes is more than any host has", buf->bytes);
    MZ_TRY(mz_mem_new(&host, (int64_t)buf->bytes, 1));
    advise(host, buf->bytes);
    buf->host = host;
    buf->handle = host;
    return MZ_OK;
}

static void cpu_free(mz_device *device, mz_buffer *buf)
{
    (void)device;
    mz_mem_free(buf->handle);
    buf->host = buf->handle = NULL;
}

static mz_err queue_open(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static void queue_close(mz_queue *q)
{
    (void)q;
}

static mz_err queue_sync(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static unsigned char *at(const mz_buffer *buf, size_t offset)
{
    return (unsigned char *)buf->host + offset;
}

/* Bytes that are set or copied, by all threads where there are many: pages that are touched first
 * take longest. from NULL: zeros. */
typedef struct span {
    unsigned char *to;
    const unsigned char *from;
    size_t bytes;
} span;

enum { SPAN_PART = 1 << 20, SPAN_LEAST = 8 << 20 };

static void span_part(void *arg, int64_t part, int thread)
{
    (void)thread;
    const span *s = arg;
    const size_t first = (size_t)part * SPAN_PART;
    const size_t n = s->bytes - first < SPAN_PART ? s->bytes - first : SPAN_PART;
    if (s->from)
        memcpy(s->to + first, s->from + first, n);
    else
        memset(s->to + first, 0, n);
}

static void run_span(const mz_queue *q, span s)
{
    const int64_t parts = (int64_t)((s.bytes + SPAN_PART - 1) / SPAN_PART);
    if (s.bytes >= SPAN_LEAST)
        mz_cpu_run(q, parts, span_part, &s);
    else
        for (int64_t i = 0; i < parts; i++) span_part(&s, i, 0);
}

static mz_err upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes)
{
    unsigned char *to = at(dst, offset);
    const uintptr_t a = (uintptr_t)to, b = (uintptr_t)host;
    if ((a > b ? a - b : b - a) >= bytes)
        run_span(q, (span){to, host, bytes});
    else
        memmove(to, host, bytes); /* of the buffer's own memory */
    return MZ_OK;
}

static mz_err download(mz_queue *q, void *host, const mz_buffer *src, size_t offset, size_t bytes)
{
    (void)q;
    memmove(host, at(src, offset), bytes);
    return MZ_OK;
}

static mz_err copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes)
{
    (void)q;
    memmove(at(dst, dst_offset), at(src, src_offset), bytes);
    return MZ_OK;
}

static mz_err zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes)
{
    run_span(q, (span){at(dst, offset), NULL, bytes});
    return MZ_OK;
}

/* ---- the table ---- */

/* Operators that exist; the others stay empty, which means "not supported". */
static const mz_slot *const SLOTS[MZ_OP_COUNT] = {
    [MZ_OP_MATMUL] = &mz_cpu_matmul,       [MZ_OP_EXPERTS] = &mz_cpu_experts,
    [MZ_OP_RMSNORM] = &mz_cpu_rmsnorm,     [MZ_OP_ROPE] = &mz_cpu_rope,
    [MZ_OP_ATTENTION] = &mz_cpu_attention, [MZ_OP_DECODE] = &mz_cpu_decode,
    [MZ_OP_SWIGLU] = &mz_cpu_swiglu,       [MZ_OP_EMBED] = &mz_cpu_embed,
    [MZ_OP_ROUTER] = &mz_cpu_router,       [MZ_OP_BALANCE] = &mz_cpu_balance,
    [MZ_OP_PERMUTE] = &mz_cpu_permute,     [MZ_OP_UNPERMUTE] = &mz_cpu_unpermute,
    [MZ_OP_XENT] = &mz_cpu_xent,           [MZ_OP_ADAMW] = &mz_cpu_adamw,
    [MZ_OP_SUMSQ] = &mz_cpu_sumsq,         [MZ_OP_FINITE] = &mz_cpu_finite,
    [MZ_OP_CAST] = &mz_cpu_cast,           [MZ_OP_ELEMENTWISE] = &mz_cpu_elementwise,
    [MZ_OP_REDUCE] = &mz_cpu_reduce,       [MZ_OP_ROWS] = &mz_cpu_rows,
    [MZ_OP_SAMPLE] = &mz_cpu_sample,
};

static mz_chip table = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "cpu",
    .summary = "the host's processor, with kernels of our own",
    .open = cpu_open,
    .close = cpu_close,
    .wraps = true,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .queue_open = queue_open,
    .queue_close = queue_close,
    .queue_sync = queue_sync,
    .upload = upload,
    .download = download,
    .copy = copy,
    .zero = zero,
    .pack_bytes = mz_cpu_pack_bytes,
    .pack = mz_cpu_pack,
    .unpack = mz_cpu_unpack,
};

static void fill_slots(void)
{
    for (int i = 0; i < MZ_OP_COUNT; i++)
        if (SLOTS[i]) table.op[i] = *SLOTS[i];
}

const mz_chip *mz_cpu_chip(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_slots);
    return &table;
}
