/* SPDX-License-Identifier: Apache-2.0 */
/* base/err.c - the thread's note and the tables made of MZ_ERR_LIST. Allocates nothing. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local mz_err_info note = {.offset = -1};

/* Copies text; what does not fit ends in "...", cut between two UTF-8 characters so that a report
 * in JSON stays valid. dst and src may overlap. */
static void copy_text(char *dst, size_t cap, const char *src)
{
    size_t len = strnlen(src, cap);
    if (len < cap) {
        memmove(dst, src, len + 1);
        return;
    }
    len = cap - 4;
    while (len > 0 && ((unsigned char)src[len] & 0xc0u) == 0x80u) len--;
    memmove(dst, src, len);
    memcpy(dst + len, "...", 4);
}

/* Formats into a buffer of its own first: an argument may be a piece of the old note. One byte more
 * than any field of the note, so that copy_text sees what does not fit. */
static void MZ_PRINTF(3, 0) format_text(char *dst, size_t cap, const char *fmt, va_list ap)
{
    char text[sizeof note.message + 1];
    if (vsnprintf(text, sizeof text, fmt, ap) < 0) copy_text(text, sizeof text, fmt);
    copy_text(dst, cap, text);
}

void mz_note(mz_err code, const char *source, int line, const char *fmt, ...)
{
    char message[sizeof note.message];
    va_list ap;
    va_start(ap, fmt);
    format_text(message, sizeof message, fmt, ap);
    va_end(ap);
    note = (mz_err_info){.code = code, .line = line, .source = source, .offset = -1};
    memcpy(note.message, message, sizeof message);
}

void mz_note_where(const char *file, const char *field, int64_t offset)
{
    if (file && *file) copy_text(note.file, sizeof note.file, file);
    if (field && *field) copy_text(note.field, sizeof note.field, field);
    if (offset >= 0) note.offset = offset;
}

void mz_note_fix(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    format_text(note.fix, sizeof note.fix, fmt, ap);
    va_end(ap);
}

const mz_err_info *mz_err_last(void)
{
    return &note;
}

void mz_err_clear(void)
{
    note = (mz_err_info){.offset = -1};
}

void mz_err_restore(const mz_err_info *info)
{
    if (info) memmove(&note, info, sizeof note);
}

static const struct {
    const char *name, *text;
    int exit_code;
} TABLE[MZ_ERR_COUNT] = {
#define ROW(name_, exit_, text_) [MZ_##name_] = {.name = #name_, .text = text_, .exit_code = exit_},
    MZ_ERR_LIST(ROW)
#undef ROW
};

/* An unknown code is a bug of ours, reported as one. */
static mz_err known(mz_err code)
{
    return (unsigned)code < MZ_ERR_COUNT ? code : MZ_EINVAL;
}

const char *mz_err_name(mz_err code)
{
    return TABLE[known(code)].name;
}

const char *mz_err_text(mz_err code)
{
    return TABLE[known(code)].text;
}

int mz_err_exit(mz_err code)
{
    return TABLE[known(code)].exit_code;
}
