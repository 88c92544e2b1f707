/* SPDX-License-Identifier: Apache-2.0 */
/* base/log.c - one sink behind one lock. Allocates nothing, so it may be called inside a step. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 2048 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mz_log_sink *current_sink;
static void *current_user;
/* A sink that calls something that logs would wait for itself. */
static _Thread_local bool inside;

void mz_log_to(mz_log_sink *sink, void *user)
{
    if (inside) return;
    pthread_mutex_lock(&lock);
    current_sink = sink;
    current_user = user;
    pthread_mutex_unlock(&lock);
}

void mz_log(mz_log_level level, const char *fmt, ...)
{
    if (inside) return;
    char line[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    const int len = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (len < 0) return;
    if (len >= LINE_BYTES) {
        size_t end = LINE_BYTES - 4;
        while (end > 0 && ((unsigned char)line[end] & 0xc0u) == 0x80u) end--; /* whole UTF-8 */
        memcpy(line + end, "...", 4);
    }
    pthread_mutex_lock(&lock);
    inside = true;
    if (current_sink) current_sink(current_user, level, line);
    inside = false;
    pthread_mutex_unlock(&lock);
}
