/* SPDX-License-Identifier: Apache-2.0 */
/* app/progress.h - how far something is, on stderr: in place on a terminal, else a line at a time.
 * Floor: app. */
#ifndef MZ_APP_PROGRESS_H
#define MZ_APP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mz_progress_line {
    bool in_place, is_open; /* is_open: a line without its end stands on the terminal */
    int64_t begun_ns, shown_ns;
} mz_progress_line;

void mz_progress_begin(mz_progress_line *p);
/* Whether it is time for another line: ten a second on a terminal, else one. */
bool mz_progress_is_due(mz_progress_line *p);
/* Prints it; `last` ends it. */
void mz_progress_show(mz_progress_line *p, bool last, const char *line);
void mz_progress_end(mz_progress_line *p); /* of a line that is open */
/* "1:02:03" or "4:05". */
const char *mz_progress_time(char out[32], double seconds);

#endif
