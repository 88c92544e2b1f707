/* SPDX-License-Identifier: Apache-2.0 */
/* app/progress.c - see progress.h. Floor: app. */
#include "app/progress.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

void mz_progress_begin(mz_progress_line *p)
{
    *p = (mz_progress_line){.in_place = isatty(STDERR_FILENO) == 1, .begun_ns = mz_clock_ns()};
}

bool mz_progress_is_due(mz_progress_line *p)
{
    const int64_t now = mz_clock_ns();
    if (now - p->shown_ns < (p->in_place ? 100000000 : 1000000000)) return false;
    p->shown_ns = now;
    return true;
}

void mz_progress_show(mz_progress_line *p, bool last, const char *line)
{
    fprintf(stderr, "%s%s", p->in_place ? "\r\033[K" : "", line);
    p->is_open = p->in_place && !last;
    if (!p->is_open) fputc('\n', stderr);
    fflush(stderr);
}

void mz_progress_end(mz_progress_line *p)
{
    if (p->is_open) fputc('\n', stderr);
    p->is_open = false;
}

const char *mz_progress_time(char out[32], double seconds)
{
    const long long s = (long long)fmin(fmax(seconds, 0.0), 3.6e9);
    if (s >= 3600)
        (void)snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, 32, "%lld:%02lld", s / 60, s % 60);
    return out;
}
