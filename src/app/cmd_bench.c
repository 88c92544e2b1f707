/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_bench.c - `mizan bench`: the table of what can be timed, and how it is printed.
 * Floor: app. */
#include "app/bench.h"
#include "app/commands.h"
#include "base/str.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mz_option OPTIONS[] = {
    {.name = "repetitions",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "how often (default: as many as make sense)",
     .least = 1,
     .most = 100000},
    {.name = "positions",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "prefill, decode: tokens of a text (default: 512)",
     .least = 1,
     .most = 1 << 20},
    {.name = "streams",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "decode: texts that grow together (default: 1)",
     .least = 1,
     .most = 512},
    {.name = "text",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE",
     .help = "tokenizer: what to encode (default: 2 MiB of the vocabulary's own words)"},
    {0}};

static const struct {
    const char *name;
    int least, most; /* arguments after the kind */
    mz_bench_fn *run;
} KINDS[] = {{"gemm", 0, 3, mz_bench_gemm},           {"ops", 0, 5, mz_bench_ops},
             {"bandwidth", 0, 0, mz_bench_bandwidth}, {"prefill", 1, 1, mz_bench_prefill},
             {"decode", 1, 1, mz_bench_decode},       {"tokenizer", 1, 1, mz_bench_tokenizer},
             {"step", 1, INT_MAX, mz_bench_step}};

int64_t mz_bench_repetitions(const mz_cli *cli, int64_t absent)
{
    return mz_cli_int(cli, "repetitions", absent);
}

static int by_size(const void *pa, const void *pb)
{
    const long long a = *(const long long *)pa, b = *(const long long *)pb;
    return a < b ? -1 : a > b;
}

static void print_times(const char *key, const json_t *list)
{
    enum { MOST = 1000 };
    long long ns[MOST];
    const size_t n = json_array_size(list) < MOST ? json_array_size(list) : MOST;
    for (size_t i = 0; i < n; i++) ns[i] = json_integer_value(json_array_get(list, i));
    qsort(ns, n, sizeof *ns, by_size);
    if (n > 0)
        printf("%-16s %.3f ms at best, %.3f in the middle of %zu\n", key, (double)ns[0] * 1e-6,
               (double)ns[n / 2] * 1e-6, n);
}

int64_t mz_bench_best(const json_t *list)
{
    int64_t best = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const int64_t ns = json_integer_value(json_array_get(list, i));
        if (i == 0 || ns < best) best = ns;
    }
    return best;
}

mz_err mz_bench_print(const mz_cli *cli, json_t *document)
{
    const char *key;
    json_t *value;
    if (mz_cli_flag(cli, "json") || !document) return mz_cli_print(document);
    json_object_foreach(document, key, value)
    {
        if (json_is_integer(json_array_get(value, 0))) print_times(key, value);
        if (json_is_real(value)) printf("%-16s %.3f\n", key, json_real_value(value));
        if (json_is_integer(value) && strcmp(key, "schema") != 0)
            printf("%-16s %lld\n", key, (long long)json_integer_value(value));
    }
    json_decref(document);
    return MZ_OK;
}

static mz_err unknown_kind(const char *name)
{
    char list[256] = "";
    const char *names[MZ_COUNT(KINDS)];
    for (int i = 0; i < MZ_COUNT(KINDS); i++) {
        names[i] = KINDS[i].name;
        const size_t at = strlen(list);
        (void)snprintf(list + at, sizeof list - at, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    const mz_err err = MZ_FAIL(MZ_EUSAGE, "bench has no kind \"%.40s\"", name);
    const char *near = mz_str_nearest(name, names, MZ_COUNT(KINDS));
    if (near)
        mz_note_fix("did you mean %s? There is: %s", near, list);
    else
        mz_note_fix("there is: %s", list);
    return err;
}

static mz_err run(const mz_cli *cli)
{
    const char *name = mz_cli_argument(cli, 0);
    for (int i = 0; i < MZ_COUNT(KINDS); i++) {
        if (strcmp(KINDS[i].name, name) != 0) continue;
        const int given = mz_cli_count(cli) - 1;
        if (given < KINDS[i].least || given > KINDS[i].most)
            return MZ_FAIL(MZ_EUSAGE, "bench %s takes %d arguments, not %d", name, KINDS[i].least,
                           given);
        return KINDS[i].run(cli);
    }
    return unknown_kind(name);
}

const mz_command mz_cmd_bench = {
    .name = "bench",
    .arguments = "KIND ...",
    .least = 1,
    .most = -1,
    .summary = "how long things take, every repetition",
    .description = "  bench gemm [M N K]    matrix products, of many sizes or one, f32 and bf16\n"
                   "  bench ops [NAME]      every operator alone, f32 and bf16, with its share\n"
                   "                        of products alone and of reading alone; matmul\n"
                   "                        M N K and experts ROWS N K E have that size\n"
                   "  bench bandwidth       reading 256 MiB\n"
                   "  bench prefill MODEL   a text of --positions tokens, with a cache\n"
                   "  bench decode MODEL    one token more for each of --streams such texts\n"
                   "  bench step CONFIG     whole steps of a training, nothing is kept\n"
                   "  bench tokenizer SRC   loading, encoding by lines and whole, decoding",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_SEED | MZ_COMMON_DTYPE,
    .examples = "mizan bench gemm --threads 2\n"
                "mizan bench step train.yaml batch.micro=4\n"
                "mizan bench decode MODEL --streams 8 --threads 2\n"
                "mizan bench tokenizer MODEL",
    .run = run,
};
