/* SPDX-License-Identifier: Apache-2.0 */
/* runs/events.c - see events.h. */
#include "runs/events.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "runs/series.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "events.out.tfevents.";
enum {
    DIGITS = 10, /* of the seconds in a name */
    SCALARS_BYTES = MZ_SCALARS_MAX * (MZ_SCALAR_TAG + 16),
    EVENT_BYTES = SCALARS_BYTES + 64,
    FRAME = 16 /* length, its checksum, and that of the bytes */
};
/* Fields of Event, Summary, Summary.Value and SessionLog, and kinds of fields, in protocol buffers.
 */
enum { TIME = 1, STEP = 2, VERSION = 3, SUMMARY = 5, SESSION = 7 };
enum { VALUE = 1, TAG = 1, SIMPLE = 2, STATUS = 1, START = 1 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* ---- protocol buffers ---- */

typedef struct bytes {
    unsigned char *at;
    size_t n;
} bytes;

static void put_varint(bytes *b, uint64_t x)
{
    for (; x >= 0x80; x >>= 7) b->at[b->n++] = (unsigned char)(x | 0x80);
    b->at[b->n++] = (unsigned char)x;
}

static void put_key(bytes *b, unsigned field, unsigned kind)
{
    put_varint(b, field << 3 | kind);
}

static void put_little(bytes *b, uint64_t x, int count)
{
    for (int i = 0; i < count; i++) b->at[b->n++] = (unsigned char)(x >> 8 * i);
}

static void put_f64(bytes *b, unsigned field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(b, field, FIXED64);
    put_little(b, bits, 8);
}

static void put_f32(bytes *b, unsigned field, double x)
{
    uint32_t bits;
    const float f = fabs(x) > (double)FLT_MAX ? (x > 0.0 ? INFINITY : -INFINITY) : (float)x;
    memcpy(&bits, &f, sizeof bits);
    put_key(b, field, FIXED32);
    put_little(b, bits, 4);
}

static void put_bytes(bytes *b, unsigned field, const void *from, size_t n)
{
    put_key(b, field, BYTES);
    put_varint(b, n);
    memcpy(b->at + b->n, from, n);
    b->n += n;
}

/* ---- records ---- */

/* CRC-32C (Castagnoli), a bit at a time: a record is some hundred bytes. */
static uint32_t checksum(const unsigned char *from, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= from[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u; /* so that none is of bytes that hold one */
}

/* The event in buffer + 12, framed in one write. */
static mz_err write_record(mz_events *e, unsigned char *buffer, size_t n)
{
    bytes b = {.at = buffer};
    put_little(&b, n, 8);
    put_little(&b, checksum(buffer, 8), 4);
    b.n += n;
    put_little(&b, checksum(buffer + 12, n), 4);
    return mz_appender_put(&e->file, buffer, b.n);
}

static mz_err write_start(mz_events *e, int64_t after_step)
{
    static const char version[] = "brain.Event:2";
    unsigned char buffer[EVENT_BYTES + FRAME], session[8];
    bytes b = {.at = buffer + 12}, s = {.at = session};
    put_f64(&b, TIME, mz_clock_wall_s());
    put_bytes(&b, VERSION, version, sizeof version - 1);
    MZ_TRY(write_record(e, buffer, b.n));
    b.n = 0;
    put_f64(&b, TIME, mz_clock_wall_s());
    put_key(&b, STEP, VARINT);
    put_varint(&b, (uint64_t)after_step + 1);
    put_key(&s, STATUS, VARINT);
    put_varint(&s, START);
    put_bytes(&b, SESSION, session, s.n);
    return write_record(e, buffer, b.n);
}

mz_err mz_events_put(mz_events *e, int64_t step, double time, const mz_scalar *list, int n)
{
    unsigned char buffer[EVENT_BYTES + FRAME], summary[SCALARS_BYTES];
    bytes b = {.at = buffer + 12}, s = {.at = summary};
    MZ_NEED(e && list && n >= 0 && n <= MZ_SCALARS_MAX && step >= 0, "%d scalars of step %lld", n,
            (long long)step);
    for (int i = 0; i < n; i++) {
        unsigned char value[MZ_SCALAR_TAG + 8];
        bytes v = {.at = value};
        const size_t length = strlen(list[i].tag);
        MZ_NEED(length < MZ_SCALAR_TAG, "the tag %s is too long", list[i].tag);
        put_bytes(&v, TAG, list[i].tag, length);
        put_f32(&v, SIMPLE, list[i].value);
        put_bytes(&s, VALUE, value, v.n);
    }
    put_f64(&b, TIME, time);
    put_key(&b, STEP, VARINT);
    put_varint(&b, (uint64_t)step);
    put_bytes(&b, SUMMARY, summary, s.n);
    return write_record(e, buffer, b.n);
}

/* ---- files ---- */

static mz_err remove_all(const char *folder, const mz_names *names)
{
    for (int64_t i = 0; i < names->n; i++) {
        char path[MZ_RUN_PATH];
        if (!mz_str_starts(names->list[i], NAME)) continue;
        MZ_TRY(mz_path_join(path, sizeof path, folder, names->list[i]));
        MZ_TRY(mz_folder_remove(path));
    }
    return MZ_OK;
}

/* Seconds for a name that sorts behind all of these. */
static int64_t behind(const mz_names *names)
{
    int64_t now = (int64_t)mz_clock_wall_s();
    for (int64_t i = 0; i < names->n; i++) {
        char digits[DIGITS + 1] = "";
        int64_t then = 0;
        if (!mz_str_starts(names->list[i], NAME)) continue;
        (void)snprintf(digits, sizeof digits, "%s", names->list[i] + sizeof NAME - 1);
        if (mz_str_to_i64(digits, &then) && then >= now) now = then + 1;
    }
    return now;
}

static mz_err name_file(char path[MZ_RUN_PATH], const char *folder, int64_t seconds)
{
    char host[64] = "", name[160];
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    for (char *c = host; *c; c++)
        if (*c == '/') *c = '-';
    (void)snprintf(name, sizeof name, "%s%0*lld.%s.%ld.0", NAME, DIGITS, (long long)seconds, host,
                   (long)getpid());
    return mz_path_join(path, MZ_RUN_PATH, folder, name);
}

mz_err mz_events_open(mz_events *e, const char *run, int64_t after_step, bool begins)
{
    char folder[MZ_RUN_PATH], path[MZ_RUN_PATH];
    mz_names names = {0};
    MZ_NEED(e && run && after_step >= 0, "no place, no run, or step %lld", (long long)after_step);
    MZ_TRY(mz_path_join(folder, sizeof folder, run, "tensorboard"));
    MZ_TRY(mz_file_mkdirs(folder));
    MZ_TRY(mz_folder_list(&names, folder));
    mz_err err = begins ? remove_all(folder, &names) : MZ_OK;
    if (err == MZ_OK) err = name_file(path, folder, behind(&names));
    mz_names_clear(&names);
    if (err == MZ_OK) err = mz_appender_open(&e->file, path);
    if (err == MZ_OK) err = write_start(e, after_step);
    if (err != MZ_OK) mz_events_close(e);
    return err;
}

mz_err mz_events_sync(mz_events *e)
{
    return mz_appender_sync(&e->file);
}

void mz_events_close(mz_events *e)
{
    mz_appender_close(&e->file);
}
