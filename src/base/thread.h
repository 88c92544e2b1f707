/* SPDX-License-Identifier: Apache-2.0 */
/* base/thread.h - a fixed pool of threads that split one loop.
 *
 * Floor:  base.
 * Time:   mz_pool_run blocks until every part is done. One caller at a time; parts may not call it.
 * Repeat: part i of n covers the same indices whichever thread runs it; the pool adds nothing to
 * results. Owner:  the caller owns the pool; free joins the threads. */
#ifndef MZ_BASE_THREAD_H
#define MZ_BASE_THREAD_H

#include "base/err.h"

typedef struct mz_pool mz_pool;

/* threads >= 1, the calling thread included (1 starts none). */
mz_err mz_pool_new(mz_pool **pool, int threads);
void mz_pool_free(mz_pool *pool); /* NULL is legal */
int mz_pool_threads(const mz_pool *pool);

/* Calls fn(arg, i, thread) for i = 0..parts-1, each once; threads take the next part as they get
 * free. thread is 0..threads-1: two parts that run at the same time have different ones (scratch
 * memory). */
typedef void mz_part_fn(void *arg, int64_t part, int thread);
void mz_pool_run(mz_pool *pool, int64_t parts, mz_part_fn *fn, void *arg);

int mz_thread_default_count(void); /* processors this process may use, at least 1 */

#endif
