/* SPDX-License-Identifier: Apache-2.0 */
/* base/torn.h - mapped files that another process makes shorter.
 *
 * Reading past the new end of such a file is a SIGBUS. A program that called mz_torn_guard reads
 * zeros there instead, and is told afterwards (mz_map_intact, mz_torn_any). Floor:  base. Time: the
 * handler looks at a table of fixed size and calls mmap. */
#ifndef MZ_BASE_TORN_H
#define MZ_BASE_TORN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Installs the handler of SIGBUS. For programs, once, at their start: the process's signals are not
 * the library's. A SIGBUS elsewhere than in a watched map goes where it went before. */
mz_err mz_torn_guard(void);
/* Whether any map was torn since the program started. */
bool mz_torn_any(void);

/* For base/file alone: data is a map's, page-aligned. The first 1,024 maps are watched. */
void mz_torn_watch(const void *data, size_t bytes);
void mz_torn_forget(const void *data);
bool mz_torn_is(const void *data);

#endif
