/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/program.h - running build/mizan in a folder of the test's own. */
#ifndef MZ_TESTS_E2E_PROGRAM_H
#define MZ_TESTS_E2E_PROGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

enum { WORDS_MAX = 40, PATH_BYTES = 1024 };

int program_set_up(void **state);    /* skips the group where MIZAN_PROGRAM is not set */
int program_tear_down(void **state); /* removes the folder */
/* Path of a file in the folder; eight may be in use at a time. */
const char *program_path(const char *name);
const char *program_root(void); /* of the tree, where tests/golden lies */

/* A file that programs read from now on; NULL: the test's own stdin. */
void program_input(const char *path);

/* A descriptor that they write to instead of "out"; -1: "out" again. */
void program_output(int file);

/* words: what follows `mizan`, NULL-terminated. stdout and stderr go to files "out" and "err" in
 * the folder. file_bytes > 0: no file of the program may grow beyond (it gets EFBIG). */
pid_t program_start(const char *const *words, long file_bytes);
/* Waits; exit code, or 128 + signal. */
int program_wait(pid_t pid);
int program_run(const char *const *words);
/* What the last program wrote to "out" or "err", until the next call. */
char *program_text(const char *name);
json_t *program_json(void); /* "out" as JSON */
/* Whether `mizan chips` finds it usable. */
bool program_has_chip(const char *name);

#endif
