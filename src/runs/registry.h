/* SPDX-License-Identifier: Apache-2.0 */
/* runs/registry.h - the list of runs that this user has begun, in SQLite.
 *
 * A run's folder is the truth; the registry knows where the folders are, by which name, and what
 * became of each run when it was last looked at. It can be made anew from folders. Several
 * processes use it at once (write-ahead log). Rows that another program wrote are taken as far as
 * they fit.
 *
 * Floor:  runs. May use base; SQLite keeps the file.
 * Time:   waits at most MZ_REGISTRY_PATIENCE_MS for other processes.
 * Owner:  the caller closes it, and clears lists. Not to be kept open across a fork.
 * Errors: MZ_EBUSY held by another process for too long; MZ_ECORRUPT no registry; MZ_ENOTSUP of a
 *         newer Mizan, and left as it is; MZ_EIO, MZ_ENOMEM. */
#ifndef MZ_RUNS_REGISTRY_H
#define MZ_RUNS_REGISTRY_H

#include "base/err.h"
#include "runs/series.h"

#include <stdbool.h>

enum { MZ_REGISTRY_VERSION = 1, MZ_REGISTRY_PATIENCE_MS = 1000, MZ_RUN_ID = 13, MZ_RUN_NAME = 96 };

typedef enum mz_run_state {
    MZ_RUN_RUNNING,
    MZ_RUN_FINISHED,
    MZ_RUN_STOPPED, /* saved, and the same command goes on */
    MZ_RUN_FAILED,
    MZ_RUN_STATES
} mz_run_state;
const char *mz_run_state_name(mz_run_state s);
bool mz_run_state_find(const char *name, mz_run_state *s);

/* Numbers that are not known are 0, times and losses NaN, texts "". */
typedef struct mz_run_entry {
    char id[MZ_RUN_ID], name[MZ_RUN_NAME], path[MZ_RUN_PATH];
    char family[32], config[65]; /* config: SHA-256 of the resolved configuration but run.dir */
    char chips[256], host[65], reason[256]; /* reason: why it stopped or failed */
    mz_run_state state;
    int64_t parameters, pid, step, steps, tokens, best_step;
    double loss, best_loss;      /* best_loss: of validation */
    double started, ended, seen; /* seconds since 1970; seen: when this was true */
} mz_run_entry;

typedef struct mz_run_entries {
    mz_run_entry *list; /* the newest first */
    int64_t n;
} mz_run_entries;
void mz_run_entries_clear(mz_run_entries *e);

typedef struct mz_registry mz_registry;

/* XDG_STATE_HOME/mizan/runs.db, below ~/.local/state by default. MZ_EIO where neither is known. */
mz_err mz_registry_where(char path[MZ_RUN_PATH]);
/* path NULL: that one. Made where it is not there, if `writes`; else one that is not there is
 * empty.
 */
mz_err mz_registry_open(mz_registry **r, const char *path, bool writes);
void mz_registry_close(mz_registry *r); /* NULL is legal */

mz_err mz_registry_list(mz_registry *r, mz_run_entries *out);
mz_err mz_registry_find(mz_registry *r, const char *id, mz_run_entry *out, bool *found);
/* In place of what has that id, and of what lay in that folder. */
mz_err mz_registry_put(mz_registry *r, const mz_run_entry *e);
/* The same only where the row is still the one that was seen then: whoever began the run anew
 * meanwhile knows better. */
mz_err mz_registry_put_seen(mz_registry *r, const mz_run_entry *e, double seen);
mz_err mz_registry_remove(mz_registry *r, const char *id);

#endif
