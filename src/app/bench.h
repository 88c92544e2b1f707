/* SPDX-License-Identifier: Apache-2.0 */
/* app/bench.h - `mizan bench KIND ...`: one function a kind, listed in cmd_bench.c.
 *
 * Each prints the raw nanoseconds of every repetition and what they were spent on, so that anyone
 * can make his own statistics. Argument 0 is the kind, the rest are its own. Floor: app. */
#ifndef MZ_APP_BENCH_H
#define MZ_APP_BENCH_H

#include "app/cli.h"

typedef mz_err mz_bench_fn(const mz_cli *cli);

/* --repetitions, or what the kind takes without it. */
int64_t mz_bench_repetitions(const mz_cli *cli, int64_t absent);
/* Prints the document, and without --json as lines of text: key, and for an array of nanoseconds
 * its smallest and its median in milliseconds. Takes the reference. */
mz_err mz_bench_print(const mz_cli *cli, json_t *document);

mz_bench_fn mz_bench_tokenizer; /* SRC */
mz_bench_fn mz_bench_gemm, mz_bench_bandwidth, mz_bench_ops;
mz_bench_fn mz_bench_prefill, mz_bench_decode; /* MODEL */
mz_bench_fn mz_bench_step;                     /* CONFIG [KEY=VALUE...] */
/* The smallest of a list of nanoseconds; 0 for an empty one. */
int64_t mz_bench_best(const json_t *list);
/* bench_ops.c, on a queue that is open. */
mz_err mz_bench_ops_on(mz_queue *q, const mz_cli *cli, json_t *o);
/* Adds "bytes" and "read_ns": what reading that many bytes takes, again and again. */
mz_err mz_bench_read(mz_queue *q, int64_t times, json_t *o);

#endif
