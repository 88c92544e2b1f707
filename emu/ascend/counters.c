/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/counters.c - what each device of this process did, and the file that says so.
 *
 * The file is written whole at every wait and at the end, so that it is there after a signal too.
 */
#include "ascend/book.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t counts[EMU_DEVICES_MAX][EMU_COUNTERS];
static pthread_mutex_t counts_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner; /* of the counts: a child begins with none */

static int64_t *find(int device, emu_counter what)
{
    static int64_t nowhere;
    if (owner != getpid()) {
        memset(counts, 0, sizeof counts);
        owner = getpid();
    }
    return device >= 0 && device < EMU_DEVICES_MAX ? &counts[device][what] : &nowhere;
}

void emu_tally(int device, emu_counter what, int64_t more)
{
    pthread_mutex_lock(&counts_lock);
    *find(device, what) += more;
    pthread_mutex_unlock(&counts_lock);
}

void emu_tally_to(int device, emu_counter what, int64_t at_least)
{
    pthread_mutex_lock(&counts_lock);
    int64_t *x = find(device, what);
    if (*x < at_least) *x = at_least;
    pthread_mutex_unlock(&counts_lock);
}

void emu_tally_set(int device, emu_counter what, int64_t value)
{
    pthread_mutex_lock(&counts_lock);
    *find(device, what) = value;
    pthread_mutex_unlock(&counts_lock);
}

/* ---- the file ---- */

enum { TEXT = 8192 };

static bool was_used(const int64_t *device)
{
    for (int i = 0; i < EMU_COUNTERS; i++)
        if (device[i]) return true;
    return false;
}

/* Under the lock. Always TEXT bytes, filled up with blanks, so that a later text covers an earlier.
 */
static void make_text(char text[TEXT + 1])
{
    static const char *const names[] = {
#define NAME(name) #name,
        EMU_COUNT_LIST(NAME)
#undef NAME
    };
    const char *gap = "";
    size_t n = (size_t)snprintf(text, TEXT, "{\"process\": %d, \"soc\": \"%s\", \"devices\": [",
                                (int)getpid(), emu_soc_here()->name);
    for (int d = 0; d < EMU_DEVICES_MAX; d++) {
        if (!was_used(counts[d])) continue;
        n += (size_t)snprintf(text + n, TEXT - n, "%s{\"device\": %d", gap, d);
        for (int i = 0; i < EMU_COUNTERS; i++)
            n += (size_t)snprintf(text + n, TEXT - n, ", \"%s\": %" PRId64, names[i], counts[d][i]);
        n += (size_t)snprintf(text + n, TEXT - n, "}");
        gap = ", ";
    }
    n += (size_t)snprintf(text + n, TEXT - n, "]}");
    memset(text + n, ' ', TEXT - n);
    text[TEXT - 1] = '\n';
}

void emu_counters_write(void)
{
    const char *folder = getenv("MIZAN_EMU_ASCEND_COUNTERS");
    char path[4096], text[TEXT + 1];
    if (!folder || owner != getpid()) return;
    (void)snprintf(path, sizeof path, "%s/%d.json", folder, (int)getpid());
    pthread_mutex_lock(&counts_lock);
    make_text(text);
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (pwrite(file, text, TEXT, 0) != TEXT) (void)unlink(path); /* no half of one */
        (void)close(file);
    }
    pthread_mutex_unlock(&counts_lock);
}

/* Of a process that returns from main or calls exit. */
__attribute__((destructor)) static void write_at_the_end(void)
{
    emu_counters_write();
}
