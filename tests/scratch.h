/* SPDX-License-Identifier: Apache-2.0 */
/* tests/scratch.h - a folder of the test's own, and files in it. */
#ifndef MZ_TESTS_SCRATCH_H
#define MZ_TESTS_SCRATCH_H

#include <stddef.h>

/* cmocka group set-up and tear-down: makes the folder, removes it with all that is in it. */
int scratch_make(void **state);
int scratch_remove(void **state);
/* A path in the folder; eight may be in use at a time. */
const char *scratch_path(const char *name);
const char *scratch_write(const char *name, const char *text); /* gives the path */
void scratch_clear(void);                                      /* empties the folder */

#endif
