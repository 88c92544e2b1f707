/* SPDX-License-Identifier: Apache-2.0 */
/* app/sheet.c - text in small pieces, filled paragraphs among them. Floor: app. */
#include "app/sheet.h"

#include "base/file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 4096 };

void mz_sheet_add(mz_sheet *s, const char *text)
{
    if (s->err == MZ_OK) s->err = mz_str_add(&s->str, text, strlen(text));
}

void mz_sheet_addf(mz_sheet *s, const char *fmt, ...)
{
    char piece[PIECE];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    if (n >= 0 && n < PIECE)
        mz_sheet_add(s, piece);
    else if (s->err == MZ_OK)
        s->err = MZ_FAIL(MZ_EINVAL, "a piece of %d bytes, want less than %d", n, PIECE);
}

void mz_sheet_escape(mz_sheet *s, const char *text, const char *special, const char *mark)
{
    for (; *text; text++) {
        if (strchr(special, *text)) mz_sheet_add(s, mark);
        if (s->err == MZ_OK) s->err = mz_str_add(&s->str, text, 1);
    }
}

static void line_end(mz_sheet *s, int indent)
{
    mz_sheet_addf(s, "\n%*s", indent, "");
}

void mz_sheet_fill(mz_sheet *s, const char *text, int indent, int columns)
{
    int at = indent;
    bool is_first = true;
    while (*text) {
        if (*text == '\n') { /* one before a blank or another one is kept */
            text++;
            if (*text == ' ' || *text == '\n') {
                line_end(s, indent), at = indent, is_first = true;
                if (*text == '\n') continue;
            }
        }
        if (*text == ' ' && is_first) { /* as it is */
            const int n = (int)strcspn(text, "\n");
            mz_sheet_addf(s, "%.*s", n, text);
            text += n;
            if (text[0] == '\n' && text[1] && text[1] != ' ' && text[1] != '\n')
                line_end(s, indent);
            continue;
        }
        text += strspn(text, " ");
        const int n = (int)strcspn(text, " \n");
        if (!is_first && at + 1 + n > columns) line_end(s, indent), at = indent, is_first = true;
        mz_sheet_addf(s, "%s%.*s", is_first ? "" : " ", n, text);
        at += n + !is_first;
        is_first = false;
        text += n;
    }
}

mz_err mz_sheet_end(mz_sheet *s, const char *path)
{
    mz_err err = s->err;
    if (err == MZ_OK && path)
        err = mz_file_write(path, s->str.text ? s->str.text : "", s->str.len);
    else if (err == MZ_OK && fwrite(s->str.text, 1, s->str.len, stdout) != s->str.len)
        err = MZ_FAIL(MZ_EIO, "stdout: %s", strerror(errno ? errno : EIO));
    mz_str_clear(&s->str);
    *s = (mz_sheet){0};
    return err;
}
