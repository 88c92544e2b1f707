/* SPDX-License-Identifier: Apache-2.0 */
/* tests/shims/clock_back.c - put before the system's library by a test (LD_PRELOAD): the wall clock
 * goes back by a day after its first twelve readings, as when somebody sets it. */
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BEFORE = 12, DAY_S = 86400 };

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *t)
{
    static atomic_int readings;
    const int failed = (int)syscall(SYS_clock_gettime, id, t);
    if (failed == 0 && id == CLOCK_REALTIME && atomic_fetch_add(&readings, 1) >= BEFORE)
        t->tv_sec -= DAY_S;
    return failed;
}
