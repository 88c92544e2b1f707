/* SPDX-License-Identifier: Apache-2.0 */
/* app/sheet.h - text that is put together in many small pieces; the first failure stays. Floor:
 * app. Owner: mz_sheet_end clears it. */
#ifndef MZ_APP_SHEET_H
#define MZ_APP_SHEET_H

#include "base/str.h"

typedef struct mz_sheet {
    mz_str str;
    mz_err err;
} mz_sheet;

void mz_sheet_addf(mz_sheet *s, const char *fmt, ...) MZ_PRINTF(2, 3);
void mz_sheet_add(mz_sheet *s, const char *text);
/* Each character of `text`, those of `special` behind `mark`: "a-b" with "-" and "\\" is "a\-b". */
void mz_sheet_escape(mz_sheet *s, const char *text, const char *special, const char *mark);
/* Paragraphs of at most `columns`: lines that begin with a blank stay as they are, other lines run
 * into each other. The first line goes on at column `indent`, further ones begin there. */
void mz_sheet_fill(mz_sheet *s, const char *text, int indent, int columns);
/* To a file, or to stdout where path is NULL. Clears s; gives what went wrong before, too. */
mz_err mz_sheet_end(mz_sheet *s, const char *path);

#endif
