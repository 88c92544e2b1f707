/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/trace.c - the modelled clock of the host, and a trace in Chrome's format: a group of
 * rows for the host and one for each device, a row for each thread and each stream.
 *
 * Every event is written at once, over the end of the file and with a new end behind it, so that
 * the file is whole JSON whenever this process dies. Several processes add to one file under its
 * lock. Source: "Trace Event Format", the JSON object form, events of phase X (complete) and M
 * (names). */
#include "ascend/book.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the clock ---- */

static _Atomic int64_t host_ns;

int64_t emu_host_now(void)
{
    return atomic_load(&host_ns);
}

void emu_host_until(int64_t ns)
{
    int64_t now = atomic_load(&host_ns);
    while (now < ns && !atomic_compare_exchange_weak(&host_ns, &now, ns)) {
    }
}

/* ---- the file ---- */

enum { EVENT = 2048, ROWS = 256, HOST_ROW = 1 << 20 };
static const char END[] = "\n]}\n";
static const char BEGINNING[] =
    "{\"displayTimeUnit\": \"ns\", \"otherData\": {\"emulated\": \"no NPU was used; every time is "
    "modelled from published figures (emu/chips.yaml), none was measured\"},\n\"traceEvents\": [";

static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;
static pid_t opened_by;
static int rows[ROWS], n_rows; /* those that were named */

/* Under file_lock, as what follows. */
static bool open_file(void)
{
    const char *path = getenv("MIZAN_EMU_ASCEND_TRACE");
    if (opened_by == getpid()) return file >= 0;
    opened_by = getpid(); /* a child has its own place in the file */
    n_rows = 0;
    file = path && *path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    return file >= 0;
}

static bool write_all(const char *text, size_t bytes, off_t at)
{
    while (bytes > 0) {
        const ssize_t n = pwrite(file, text, bytes, at);
        if (n <= 0) return false;
        text += n, bytes -= (size_t)n, at += n;
    }
    return true;
}

static void add(const char *event)
{
    char text[EVENT + sizeof BEGINNING + 16];
    struct stat about;
    if (flock(file, LOCK_EX) != 0 || fstat(file, &about) != 0) return;
    const off_t end = (off_t)sizeof END - 1;
    const bool is_new = about.st_size <= end;
    bool is_first = is_new;
    char last = 0;
    if (!is_new) is_first = pread(file, &last, 1, about.st_size - end - 1) == 1 && last == '[';
    const int n = snprintf(text, sizeof text, "%s%s\n%s%s", is_new ? BEGINNING : "",
                           is_first ? "" : ",", event, END);
    if (n > 0 && n < (int)sizeof text)
        (void)write_all(text, (size_t)n, is_new ? 0 : about.st_size - end);
    (void)flock(file, LOCK_UN);
}

/* A name for a row or a group, the first time that it is met. */
static bool is_new_row(int row)
{
    for (int i = 0; i < n_rows; i++)
        if (rows[i] == row) return false;
    if (n_rows == ROWS) return false;
    rows[n_rows++] = row;
    return true;
}

static void name_it(const char *what, int group, int row, const char *name)
{
    char event[EVENT];
    (void)snprintf(event, sizeof event,
                   "{\"ph\": \"M\", \"name\": \"%s\", \"pid\": %d, \"tid\": %d, \"args\": "
                   "{\"name\": \"%s\"}}",
                   what, group, row, name);
    add(event);
}

/* Groups are numbered by process and device, so that those of several processes stay apart. */
static int group_of(int device)
{
    return (int)getpid() * (EMU_DEVICES_MAX + 1) + device + 1;
}

static void name_group(int device)
{
    char name[160];
    if (!is_new_row(-1 - (device + 1))) return;
    if (device < 0)
        (void)snprintf(name, sizeof name, "host of process %d (modelled time)", (int)getpid());
    else
        (void)snprintf(name, sizeof name,
                       "emulated %s, device %d of process %d (modelled time, not measured)",
                       emu_soc_here()->name, device, (int)getpid());
    name_it("process_name", group_of(device), 0, name);
}

static void add_complete(int device, int row, const char *name, int64_t begin, int64_t ns,
                         const char *detail)
{
    char event[EVENT];
    const int n = snprintf(
        event, sizeof event,
        "{\"ph\": \"X\", \"name\": \"%s\", \"cat\": \"%s\", \"pid\": %d, \"tid\": %d, \"ts\": "
        "%" PRId64 ".%03d, \"dur\": %" PRId64 ".%03d, \"args\": {%s}}",
        name, device < 0 ? "host" : "device", group_of(device), row, begin / 1000,
        (int)(begin % 1000), ns / 1000, (int)(ns % 1000), detail);
    if (n > 0 && n < EVENT) add(event);
}

/* ---- events ---- */

bool emu_trace_is_on(void)
{
    pthread_mutex_lock(&file_lock);
    const bool is_on = open_file();
    pthread_mutex_unlock(&file_lock);
    return is_on;
}

int64_t emu_call_begin(void)
{
    return atomic_fetch_add(&host_ns, emu_time_of_host());
}

void emu_call_end(const char *call, int64_t begin)
{
    const int64_t ns = emu_host_now() - begin;
    pthread_mutex_lock(&file_lock);
    if (open_file()) {
        const int thread = (int)syscall(SYS_gettid);
        name_group(-1);
        if (is_new_row(HOST_ROW + thread)) {
            char name[32];
            (void)snprintf(name, sizeof name, "thread %d", thread);
            name_it("thread_name", group_of(-1), thread, name);
        }
        add_complete(-1, thread, call, begin, ns, "");
    }
    pthread_mutex_unlock(&file_lock);
}

void emu_trace_task(const emu_stream *s, const char *name, int64_t begin, int64_t ns,
                    const char *detail)
{
    const int device = s->context->device->number;
    pthread_mutex_lock(&file_lock);
    if (open_file()) {
        name_group(device);
        if (is_new_row(device * 4096 + s->number)) {
            char row[32];
            (void)snprintf(row, sizeof row, "stream %d", s->number);
            name_it("thread_name", group_of(device), s->number, row);
        }
        add_complete(device, s->number, name, begin, ns, detail);
    }
    pthread_mutex_unlock(&file_lock);
}

/* "FLOAT[2,3] BF16[4]": as far as there is room. */
static size_t add_tensors(char *out, size_t bytes, const emu_arg *a)
{
    size_t n = 0;
    for (int i = 0; a->tensor && i < a->n && n < bytes; i++) {
        const emu_tensor *t = &a->tensor[i];
        n += (size_t)snprintf(out + n, bytes - n, " %s[", emu_type_name(t->type));
        for (int k = 0; k < t->rank && n < bytes; k++)
            n += (size_t)snprintf(out + n, bytes - n, "%s%" PRId64, k ? "," : "", t->dim[k]);
        if (n < bytes) n += (size_t)snprintf(out + n, bytes - n, "]");
    }
    return n < bytes ? n : bytes - 1;
}

void emu_trace_detail(const emu_call *c, const emu_cost *cost, char *out, size_t bytes)
{
    char tensors[1024] = "";
    size_t n = 0;
    for (int i = 0; i < c->n && n + 1 < sizeof tensors; i++)
        n += add_tensors(tensors + n, sizeof tensors - n, &c->arg[i]);
    (void)snprintf(out, bytes,
                   "\"tensors\": \"%s\", \"cube_flop\": %.0f, \"vector_flop\": %.0f, \"bytes\": "
                   "%" PRId64,
                   tensors[0] ? tensors + 1 : "", cost->cube, cost->vector, cost->bytes);
}
