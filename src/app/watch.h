/* SPDX-License-Identifier: Apache-2.0 */
/* app/watch.h - what `mizan runs watch` shows at one moment. Inside app/. */
#ifndef MZ_APP_WATCH_H
#define MZ_APP_WATCH_H

#include "app/sheet.h"
#include "app/terminal.h"
#include "runs/registry.h"

#include <jansson.h>

typedef struct mz_watch {
    mz_run_entry entry; /* of the registry or the folder, when it was last picked */
    mz_series series;
    json_t *faults, *starts; /* of ranks.jsonl */
    bool is_live;
} mz_watch;

/* Takes in what is new. */
mz_err mz_watch_read(mz_watch *w);
void mz_watch_clear(mz_watch *w);
/* Seconds to the last step; NaN: unknown. */
double mz_watch_left(const mz_watch *w);

/* A screen of it, no line wider than the terminal, and no more lines than it has. */
void mz_watch_screen(mz_sheet *s, const mz_watch *w, const mz_terminal *t);
/* One line, with its end. */
void mz_watch_line(mz_sheet *s, const mz_watch *w);
/* "finished", "failed: why", with its end. */
void mz_watch_end(mz_sheet *s, const mz_watch *w);
json_t *mz_watch_json(const mz_watch *w);

#endif
