/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock.c - the system's clocks. */
#include "base/clock.h"

#include <errno.h>
#include <time.h>

enum { NS_PER_S = 1000000000 };

static struct timespec read_clock(clockid_t id)
{
    struct timespec t = {0};
    (void)clock_gettime(id, &t); /* cannot fail for the three clocks asked here */
    return t;
}

static double seconds(struct timespec t)
{
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t mz_clock_ns(void)
{
    const struct timespec t = read_clock(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

double mz_clock_wall_s(void)
{
    return seconds(read_clock(CLOCK_REALTIME));
}

double mz_clock_cpu_s(void)
{
    return seconds(read_clock(CLOCK_PROCESS_CPUTIME_ID));
}

void mz_clock_sleep_ns(int64_t ns)
{
    if (ns <= 0) return;
    struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}
