/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_view.h - a run as the commands show it. Floor: app. */
#ifndef MZ_APP_RUN_VIEW_H
#define MZ_APP_RUN_VIEW_H

#include "runs/registry.h"

#include <jansson.h>

/* "gone" where its folder is; else the state. */
const char *mz_run_state_now(const mz_run_entry *e);
/* All of it; unknown numbers are null. New reference or NULL. */
json_t *mz_run_json(const mz_run_entry *e);
/* The last whole line of RUN/log.jsonl; NULL: there is none. */
json_t *mz_run_last_record(const char *path);

/* Lines of RUN/name, which holds an object a line, whose "event" is that one; NULL: all. An array.
 */
json_t *mz_run_events(const char *path, const char *name, const char *event);

const char *mz_run_size(char out[16], int64_t parameters); /* "4.7M" */
const char *mz_run_age(char out[16], double since);        /* "3h"; "" for NaN */
const char *mz_run_number(char out[16], double x);         /* "3.2145", "-" for none */
/* Text of others (a name, a path) on one line: control characters become '?'. */
const char *mz_run_plain(char *out, size_t bytes, const char *text);

/* Columns of a terminal that UTF-8 takes; what is none takes one a byte. */
int mz_run_columns(const char *text);
/* The text in exactly so many columns: cut, or with blanks after it. Cut and shown as '?' is what
 * is no UTF-8, and what moves the cursor. */
const char *mz_run_cell(char *out, size_t bytes, const char *text, int columns);

#endif
