/* SPDX-License-Identifier: Apache-2.0 */
/* runs/series.h - RUN/log.jsonl (and resumed.jsonl) as columns of numbers, read at once or followed
 * while it grows.
 *
 * A last line without its end is being written: it is left for the next call. A run that goes on
 * from a checkpoint rewrites its log; who follows it then begins anew.
 *
 * Floor:  runs. May use base.
 * Owner:  the caller clears it. A zeroed mz_series is an empty one.
 * Errors: MZ_ECORRUPT with file and byte for a whole line that is no record; MZ_EIO, MZ_ENOMEM. */
#ifndef MZ_RUNS_SERIES_H
#define MZ_RUNS_SERIES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { MZ_RUN_PATH = 2048 };

typedef enum mz_metric {
    MZ_METRIC_LOSS,
    MZ_METRIC_LR,
    MZ_METRIC_GRAD_NORM,
    MZ_METRIC_SPEED,
    MZ_METRIC_EVAL, /* drawn as points on the loss */
    MZ_METRIC_COUNT
} mz_metric;

/* One line. Numbers that it does not have, or that were not finite, are NaN. */
typedef struct mz_record {
    int64_t step, samples, tokens, skipped; /* so far */
    double value[MZ_METRIC_COUNT], time;
    bool is_done;
    bool is_resumed; /* the first step after the run went on from a checkpoint */
} mz_record;

typedef struct mz_series {
    mz_record *list;
    int64_t n, cap;
    /* how far the file was read, which file it was, and its last bytes then */
    size_t at, n_tail;
    uint64_t device, inode;
    unsigned char tail[64];
} mz_series;

/* Takes in what the log has beyond what s has. A log that is not there has no lines. */
mz_err mz_series_read(mz_series *s, const char *run);
/* The last `most` lines only; not to be followed. */
mz_err mz_series_read_tail(mz_series *s, const char *run, int64_t most);
void mz_series_clear(mz_series *s);

/* NULL: none yet. */
const mz_record *mz_series_last(const mz_series *s);
/* Seconds a step took lately, by the clock of the log; NaN: unknown. */
double mz_series_pace(const mz_series *s);
/* Of the last steps; NaN: unknown. */
double mz_series_speed(const mz_series *s);
/* The lowest validation loss; NaN, *step 0: none. */
double mz_series_best(const mz_series *s, int64_t *step);
/* Whether steps were skipped in the one of record i (that of its own, or of several before it). */
bool mz_series_skipped(const mz_series *s, int64_t i);

const char *mz_metric_key(mz_metric m);             /* "grad_norm", as in the log */
const char *mz_metric_title(mz_metric m);           /* "gradient norm" */
bool mz_metric_find(const char *key, mz_metric *m); /* false: there is none */

#endif
