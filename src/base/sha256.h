/* SPDX-License-Identifier: Apache-2.0 */
/* base/sha256.h - SHA-256, for checksums in files that people compare with other tools.
 *
 * Floor:  base. OpenSSL's libcrypto does the work.
 * Errors: MZ_ENOMEM. */
#ifndef MZ_BASE_SHA256_H
#define MZ_BASE_SHA256_H

#include "base/err.h"

#include <stddef.h>

enum { MZ_SHA256_HEX = 65 }; /* 64 digits and the NUL */

mz_err mz_sha256(char hex[MZ_SHA256_HEX], const void *bytes, size_t n);
/* Of a file's bytes; *bytes, where not NULL, receives their number. */
mz_err mz_sha256_file(char hex[MZ_SHA256_HEX], const char *path, size_t *bytes);

#endif
