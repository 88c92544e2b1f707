/* SPDX-License-Identifier: Apache-2.0 */
/* base/options.c - reads the environment, once, here only. */
#include "base/options.h"
#include "base/log.h"
#include "base/str.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 4096, WAIT_MAX_S = 1000000 };

/* An empty variable counts as none. */
static const char *text(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static const char *whole_path(const char *name)
{
    const char *value = text(name, NULL);
    return value && value[0] == '/' ? value : NULL;
}

/* A whole number from 0 to most; 0 where it is none. */
static int count(const char *name, int most)
{
    int64_t n = 0;
    const char *value = text(name, "0");
    if (mz_str_to_i64(value, &n) && n >= 0 && n <= most) return (int)n;
    mz_log(MZ_LOG_WARN, "%s is \"%s\", want 0 to %d; it is not used", name, value, most);
    return 0;
}

/* mpirun sets OMPI_COMM_WORLD_*; under srun --mpi=pmix, PMIX_RANK comes with SLURM_NTASKS. */
static int mpi_rank(void)
{
    int64_t n = 0, rank = -1;
    const char *by_srun = text("PMIX_RANK", NULL);
    const char *size = text("OMPI_COMM_WORLD_SIZE", by_srun ? text("SLURM_NTASKS", "1") : "1");
    const char *mine = text("OMPI_COMM_WORLD_RANK", by_srun ? by_srun : "-1");
    const bool several = mz_str_to_i64(size, &n) && n > 1;
    return several && mz_str_to_i64(mine, &rank) && rank >= 0 && rank < n ? (int)rank : -1;
}

static char cache[PATH_MAX];

/* One that does not fit is done without. */
static void find_cache(void)
{
    const char *given = text("XDG_CACHE_HOME", NULL), *home = text("HOME", NULL);
    const int n = given  ? snprintf(cache, sizeof cache, "%s/mizan", given)
                  : home ? snprintf(cache, sizeof cache, "%s/.cache/mizan", home)
                         : 0;
    if (n <= 0 || (size_t)n >= sizeof cache) cache[0] = '\0';
}

static const char *cache_path(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_cache);
    return cache[0] ? cache : NULL;
}

void mz_options_init(mz_options *o)
{
    *o = (mz_options){
        .threads = count("MIZAN_THREADS", THREADS_MAX),
        .isa = text("MIZAN_ISA", "auto"),
        .chip = text("MIZAN_CHIP", "cpu"),
        .driver_path = text("MIZAN_DRIVER_PATH", NULL),
        .fault_plan = text("MIZAN_FAULT_PLAN", NULL),
        .cache_path = cache_path(),
        .device_wait_s = count("MIZAN_DEVICE_WAIT", WAIT_MAX_S),
        .sync_each = strcmp(text("MIZAN_SYNC_EACH", "0"), "0") != 0,
        .no_color = text("NO_COLOR", NULL) != NULL,
        .state_home = whole_path("XDG_STATE_HOME"),
        .home = whole_path("HOME"),
        .library_path = text("LD_LIBRARY_PATH", NULL),
        .tmp = text("TMPDIR", "/tmp"),
        .mpi_rank = mpi_rank(),
    };
}

void mz_options_hand_on(const char *name, const char *value)
{
    if (value)
        (void)setenv(name, value, 1);
    else
        (void)unsetenv(name);
}
