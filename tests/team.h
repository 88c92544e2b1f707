/* SPDX-License-Identifier: Apache-2.0 */
/* tests/team.h - whole runs on several ranks, in a folder of the test's own. The processes of the
 * ranks are forked from the test's, which must not have opened a chip itself. */
#ifndef MZ_TESTS_TEAM_H
#define MZ_TESTS_TEAM_H

#include "train/ranks.h"

enum { TEAM_TEXT = 1024 };

int team_set_up(void **state); /* cmocka group set-up: folder, chips, rows.jsonl */
int team_tear_down(void **state);
const char *team_path(const char *name); /* eight may be in use at a time */
/* The network that a run begins with, "model.path: ..." or "model.config: ...". */
void team_network(const char *line);
/* Four layers of deepseek_v3 in small and so many MTP layers, as a config.json in the folder; gives
 * its path. */
const char *team_four_layers(bool tied, int mtp);
/* Configuration of run `name`: steps, then keys "KEY=VALUE" until NULL. */
mz_train_config team_config(const char *name, int steps, const char *const *keys);
/* Runs it. o may be NULL; its hooks are filled in where they are NULL. */
mz_err team_run(const mz_train_config *c, const mz_ranks_options *o);
void team_must_run(const char *name, int steps, const char *const *keys);
/* Losses of the log into out [n]; how many there were. */
int team_losses(const char *name, double *out, int n);
/* SHA-256 of weights and of the optimizer's state in the newest checkpoint, one after the other. */
void team_hash(const char *name, char out[160]);
void team_copy(const char *from, const char *to); /* a run folder */
void team_remove(const char *name);

#endif
