/* SPDX-License-Identifier: Apache-2.0 */
/* app/bench_chip.c - `mizan bench gemm` and `mizan bench bandwidth`: what everything else is a
 * share of. Floor: app. */
#include "app/bench.h"
#include "app/gauge.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/str.h"
#include "op/op.h"

#include <stdio.h>

enum {
    REPETITIONS = 7,
    READ_BYTES = 256 << 20,
    SIZE_MOST = 1 << 17,
    GAUGE_NS = 50000000,
    READS = 3
};

/* Squares, the maps of a small and a middling transformer in all three directions' sizes, a head,
 * and the few rows of decoding. */
static const int64_t SIZES[][3] = {
    {512, 512, 512},  {1024, 1024, 1024}, {2048, 2048, 2048}, {2048, 256, 256},  {2048, 768, 256},
    {2048, 256, 768}, {2048, 2048, 768},  {2048, 768, 2048},  {512, 32000, 768}, {1, 2048, 2048},
    {8, 2048, 2048},  {16, 2048, 2048},   {1, 32000, 768},    {127, 509, 251},
};

static mz_err add_ns(json_t *list, int64_t ns)
{
    return json_array_append_new(list, json_integer(ns)) == 0 ? MZ_OK : mz_cli_json_failed();
}

/* Numbers in [-1,1), so that no product is made of zeros or infinities. */
static mz_err fill(mz_queue *q, const mz_tensor *t, uint64_t stream)
{
    const int64_t n = mz_count(t);
    float *x = NULL;
    mz_rng rng;
    mz_rng_init(&rng, 0, stream);
    MZ_TRY(mz_mem_new(&x, n, sizeof *x));
    uint16_t *half = (uint16_t *)(void *)x;
    for (int64_t i = 0; i < n; i++) {
        const float y = 2.0f * mz_u32_to_unit(mz_rng_u32(&rng)) - 1.0f;
        if (t->dtype == MZ_F32)
            x[i] = y;
        else
            half[i] = mz_f64_to_bf16((double)y);
    }
    mz_err err = mz_upload(q, t, x);
    if (err == MZ_OK) err = mz_queue_sync(q);
    mz_mem_free(x);
    return err;
}

static mz_err time_product(mz_queue *q, mz_op *op, const mz_args *args, int64_t times, json_t *list)
{
    for (int64_t i = -1; i < times; i++) { /* the first touches memory and wakes threads */
        const int64_t start = mz_clock_ns();
        MZ_TRY(mz_forward(op, args));
        MZ_TRY(mz_queue_sync(q));
        if (i >= 0) MZ_TRY(add_ns(list, mz_clock_ns() - start));
    }
    return MZ_OK;
}

/* c [M,N] = a [M,K] w [N,K]^T */
static mz_err product(mz_queue *q, mz_dtype dtype, const int64_t mnk[3], int64_t times,
                      json_t *list)
{
    const int64_t dim[3][2] = {{mnk[0], mnk[2]}, {mnk[1], mnk[2]}, {mnk[0], mnk[1]}};
    const mz_desc desc = {.kind = MZ_OP_MATMUL,
                          .u.matmul = {.dtype = dtype,
                                       .out_dtype = dtype,
                                       .M_max = mnk[0],
                                       .N_max = mnk[1],
                                       .K_max = mnk[2],
                                       .trans_b = true}};
    mz_buffer *buf[3] = {NULL};
    mz_tensor t[3];
    mz_op *op = NULL;
    mz_err err = mz_bind(&op, q, &desc);
    for (int i = 0; i < 3 && err == MZ_OK; i++) {
        const size_t bytes = (size_t)(dim[i][0] * dim[i][1]) * mz_dtype_bytes(dtype);
        err = mz_buffer_new(&buf[i], q->device, bytes);
        t[i] = mz_view(buf[i], 0, dtype, 2, dim[i]);
        if (err == MZ_OK && i < 2) err = fill(q, &t[i], (uint64_t)i);
    }
    if (err == MZ_OK)
        err = time_product(q, op, &(mz_args){.matmul = {.c = &t[2], .a = &t[0], .b = &t[1]}}, times,
                           list);
    mz_op_free(op);
    for (int i = 0; i < 3; i++) mz_buffer_free(buf[i]);
    return err;
}

static mz_err add_product(mz_queue *q, json_t *all, mz_dtype dtype, const int64_t mnk[3],
                          int64_t times)
{
    json_t *o = json_object(), *list = json_array();
    int bad = json_object_set_new(o, "dtype", json_string(mz_dtype_name(dtype)));
    bad |= json_object_set_new(o, "m", json_integer(mnk[0]));
    bad |= json_object_set_new(o, "n", json_integer(mnk[1]));
    bad |= json_object_set_new(o, "k", json_integer(mnk[2]));
    bad |= json_object_set_new(o, "ns", list);
    bad |= json_array_append_new(all, o);
    return bad == 0 ? product(q, dtype, mnk, times, list) : mz_cli_json_failed();
}

static mz_err read_size(const mz_cli *cli, int64_t mnk[3])
{
    if (mz_cli_count(cli) != 4)
        return MZ_FAIL(MZ_EUSAGE, "bench gemm takes M, N and K, or nothing");
    for (int i = 0; i < 3; i++)
        if (!mz_str_to_i64(mz_cli_argument(cli, i + 1), &mnk[i]) || mnk[i] < 1 ||
            mnk[i] > SIZE_MOST)
            return MZ_FAIL(MZ_EUSAGE, "bench gemm: \"%.40s\" is no size from 1 to %d",
                           mz_cli_argument(cli, i + 1), SIZE_MOST);
    return MZ_OK;
}

static mz_err gemm(mz_queue *q, const mz_cli *cli, json_t *o)
{
    static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16};
    const bool own = mz_cli_count(cli) > 1;
    int64_t mnk[1][3];
    json_t *all = json_array();
    if (json_object_set_new(o, "gemm", all) != 0) return mz_cli_json_failed();
    if (own) MZ_TRY(read_size(cli, mnk[0]));
    for (int d = 0; d < MZ_COUNT(DTYPES); d++) {
        if (!(q->device->info.dtypes & 1u << DTYPES[d])) continue;
        for (int i = 0; i < (own ? 1 : MZ_COUNT(SIZES)); i++)
            MZ_TRY(add_product(q, all, DTYPES[d], own ? mnk[i] : SIZES[i],
                               mz_bench_repetitions(cli, REPETITIONS)));
    }
    return MZ_OK;
}

static void print_gemm(const json_t *o)
{
    size_t i;
    const json_t *g;
    json_array_foreach(json_object_get(o, "gemm"), i, g)
    {
        json_int_t size[3];
        static const char *const KEYS[3] = {"m", "n", "k"};
        for (int k = 0; k < 3; k++) size[k] = json_integer_value(json_object_get(g, KEYS[k]));
        const int64_t best = mz_bench_best(json_object_get(g, "ns"));
        const double flop = 2.0 * (double)size[0] * (double)size[1] * (double)size[2];
        printf("%-5s %5lld x %5lld x %5lld  %10.1f us at best  %8.1f GFLOP/s\n",
               json_string_value(json_object_get(g, "dtype")), (long long)size[0],
               (long long)size[1], (long long)size[2], (double)best * 1e-3, flop / (double)best);
    }
}

/* Reading alone: the search for what is not finite does little else. */
mz_err mz_bench_read(mz_queue *q, int64_t times, json_t *o)
{
    const int64_t n = READ_BYTES / 4, one = 1;
    const mz_desc desc = {.kind = MZ_OP_FINITE, .u.finite = {.dtype = MZ_F32, .N_max = n}};
    json_t *list = json_array();
    mz_buffer *buf = NULL, *count = NULL;
    mz_op *op = NULL;
    int bad = json_object_set_new(o, "bytes", json_integer(READ_BYTES));
    bad |= json_object_set_new(o, "read_ns", list);
    if (bad) return mz_cli_json_failed();
    mz_err err = mz_bind(&op, q, &desc);
    if (err == MZ_OK) err = mz_buffer_new(&buf, q->device, READ_BYTES);
    if (err == MZ_OK) err = mz_buffer_new(&count, q->device, 64);
    if (err == MZ_OK) {
        const mz_tensor x = mz_view(buf, 0, MZ_F32, 1, &n),
                        out = mz_view(count, 0, MZ_I32, 1, &one);
        err = fill(q, &x, 0); /* pages that were never written are all one page */
        if (err == MZ_OK)
            err = time_product(q, op, &(mz_args){.finite = {.out = &out, .x = &x}}, times, list);
    }
    mz_op_free(op);
    mz_buffer_free(buf);
    mz_buffer_free(count);
    return err;
}

static mz_err bandwidth(mz_queue *q, const mz_cli *cli, json_t *o)
{
    return mz_bench_read(q, mz_bench_repetitions(cli, REPETITIONS), o);
}

static mz_err run(const mz_cli *cli, const char *kind,
                  mz_err (*what)(mz_queue *q, const mz_cli *cli, json_t *o), json_t **out)
{
    mz_device *device = NULL;
    mz_queue *q = NULL;
    json_t *o = mz_cli_document();
    mz_err err = o ? mz_cli_open_chip(cli, &device) : mz_cli_json_failed();
    if (err == MZ_OK) err = mz_queue_open(&q, device);
    if (err == MZ_OK) {
        int bad = json_object_set_new(o, "kind", json_string(kind));
        bad |= json_object_set_new(o, "chip", json_string(device->info.name));
        bad |= json_object_set_new(o, "model", json_string(device->info.model));
        bad |= json_object_set_new(o, "isa", json_string(device->info.isa));
        bad |= json_object_set_new(o, "threads", json_integer(device->info.threads));
        err = bad == 0 ? what(q, cli, o) : mz_cli_json_failed();
    }
    mz_queue_close(q);
    mz_device_close(device);
    if (err == MZ_OK)
        *out = o;
    else
        json_decref(o);
    return err;
}

mz_err mz_bench_gemm(const mz_cli *cli)
{
    json_t *o = NULL;
    MZ_TRY(run(cli, "gemm", gemm, &o));
    if (!mz_cli_flag(cli, "json")) print_gemm(o);
    return mz_bench_print(cli, o);
}

/* Shares of what was measured beside: products for what multiplies, reading for what passes. */
static void print_ops(const json_t *o)
{
    size_t i;
    const json_t *x;
    const double read = (double)json_integer_value(json_object_get(o, "bytes")) /
                        (double)mz_bench_best(json_object_get(o, "read_ns"));
    json_array_foreach(json_object_get(o, "ops"), i, x)
    {
        const char *dtype = json_string_value(json_object_get(x, "dtype"));
        const double best = (double)mz_bench_best(json_object_get(x, "ns"));
        const double flops = json_real_value(json_object_get(x, "flop")) / best;
        const double bytes = (double)json_integer_value(json_object_get(x, "bytes")) / best;
        const double peak =
            json_real_value(json_object_get(json_object_get(o, "gemm_flop_per_s"), dtype));
        printf("%-12s %-9s %-5s %-9s %10.1f us at best  %7.1f GFLOP/s %3.0f %% of GEMM  %6.1f GB/s "
               "%4.0f %% of reading\n",
               json_string_value(json_object_get(x, "op")),
               json_string_value(json_object_get(x, "pass")), dtype,
               json_string_value(json_object_get(x, "state")), best * 1e-3, flops,
               peak > 0.0 ? 100.0 * flops * 1e9 / peak : 0.0, bytes, 100.0 * bytes / read);
    }
}

/* What the shares are of: the best of products alone, and reading alone. */
static mz_err add_limits(mz_queue *q, json_t *o)
{
    static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16};
    json_t *peaks = json_object();
    if (json_object_set_new(o, "gemm_flop_per_s", peaks) != 0) return mz_cli_json_failed();
    for (int i = 0; i < MZ_COUNT(DTYPES); i++) {
        double best = 0.0;
        if (!(q->device->info.dtypes & 1u << DTYPES[i])) continue;
        MZ_TRY(mz_gauge_gemm(q, DTYPES[i], GAUGE_NS, &best));
        if (json_object_set_new(peaks, mz_dtype_name(DTYPES[i]), json_real(best)) != 0)
            return mz_cli_json_failed();
    }
    return mz_bench_read(q, READS, o);
}

static mz_err ops(mz_queue *q, const mz_cli *cli, json_t *o)
{
    MZ_TRY(add_limits(q, o));
    return mz_bench_ops_on(q, cli, o);
}

mz_err mz_bench_ops(const mz_cli *cli)
{
    json_t *o = NULL;
    MZ_TRY(run(cli, "ops", ops, &o));
    if (!mz_cli_flag(cli, "json")) print_ops(o);
    return mz_bench_print(cli, o);
}

mz_err mz_bench_bandwidth(const mz_cli *cli)
{
    json_t *o = NULL;
    MZ_TRY(run(cli, "bandwidth", bandwidth, &o));
    return mz_bench_print(cli, o);
}
