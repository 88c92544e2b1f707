/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_entry.h - what a run folder says of its run, and the registry's row kept true to it.
 *
 *   RUN/id   twelve digits that stay when the folder is moved, or the registry made anew
 *
 * The registry never stops a run, nor does it slow one down: nothing is written between its first
 * step and its last, and what cannot be written is one warning.
 * Floor:  app. */
#ifndef MZ_APP_RUN_ENTRY_H
#define MZ_APP_RUN_ENTRY_H

#include "runs/registry.h"
#include "train/config.h"

/* Whether something was trained in this folder: train.yaml alone may be what someone trains from,
 * in a folder that has the name of a run in it. */
bool mz_run_is_folder(const char *path);
/* Whether the folder of a run is no longer there. */
bool mz_run_is_gone(const mz_run_entry *e);
/* Whether a process trains in the folder. */
bool mz_run_is_live(const char *path);

/* Everything that the folder at path (any form of it) says. An id only where it has one. */
mz_err mz_run_of_folder(mz_run_entry *e, const char *path);
/* Brings a row up to date: last step, losses, state. *changed: something is new. A folder that is
 * gone changes nothing. */
mz_err mz_run_look(mz_run_entry *e, bool *changed);
/* The row as it stands, not looked at. *found false also where the registry cannot be read. */
void mz_run_row(const char *id, mz_run_entry *e, bool *found);
/* Gives the folder an id if it has none, or that of another folder which is still there. */
mz_err mz_run_identify(mz_registry *r, mz_run_entry *e);
/* The rows of the registry (path NULL: the user's), brought up to date and written back where
 * somebody may. */
mz_err mz_runs_all(mz_run_entries *out);
/* Makes `path` whole; as it is where that cannot be done. */
void mz_run_whole_path(char out[MZ_RUN_PATH], const char *path);

/* ---- of `mizan train` ---- */

/* The run of this configuration has begun on these chips, in this process. Warns where the registry
 * cannot be written. */
void mz_run_begun(mz_run_entry *e, const mz_train_config *c, const char *chips);
/* It has ended with this; the note of the error stays. Nothing where it was never begun. */
void mz_run_ended(mz_run_entry *e, mz_err err);

#endif
