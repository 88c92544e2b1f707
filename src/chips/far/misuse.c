/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/misuse.c - mistakes found where no error can be returned: counted and logged.
 * Floor: chips. */
#include "base/log.h"
#include "chips/far/state.h"

#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t count;
static char last[256];

void mz_far_misuse(const char *fmt, ...)
{
    char text[sizeof last];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    count++;
    snprintf(last, sizeof last, "%s", text);
    pthread_mutex_unlock(&lock);
    mz_log(MZ_LOG_LOUD, "far: %s", text);
}

int64_t mz_far_misuses(void)
{
    pthread_mutex_lock(&lock);
    const int64_t n = count;
    pthread_mutex_unlock(&lock);
    return n;
}

void mz_far_last_misuse(char *text, size_t bytes)
{
    pthread_mutex_lock(&lock);
    snprintf(text, bytes, "%s", last);
    pthread_mutex_unlock(&lock);
}
